/* test_oracle.c - what a denoiser that is too strong does to each way of cutting a clip.
 * Goal: a grade sees a fault (spec/long-video.md 11): with a gain of 1.03, clips that are extended
 * chunk by chunk drift, joint windows do not; and a clip that closes on itself has no seam. The
 * table of all modes with the right denoiser is ranks/test_windows, through the loop that renders.
 * Method: the whole run (50 Euler steps, shift 5, 81 frames, windows of 21) is a linear map M from
 * noise to data (tests/support/oracle_grade.h), worked out by window.c and fuse.c in a loop of this
 * file's own, since no other has a denoiser that is wrong. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/philox.h"
#include "model/oracle.h"
#include "scheduler/fuse.h"
#include "tests/support/oracle_grade.h"

enum { T = ORACLE_FRAMES, COLUMNS = ORACLE_COLUMNS, WINDOW = 21, STEPS = 50 };
#define SHIFT 5.0

static const lt_grid grid = {
    .unit = 1, .step = 1, .least = 1, .latent_frames = 1, .tick_frames = 1};

/* A clip's latents: a row a frame, a column for each independent normal value behind it. */
typedef struct {
    float x[T][COLUMNS];
} clip;

typedef struct {
    double sigma[STEPS + 1];
    int steps;
} levels;

static levels all_levels(void)
{
    levels l = {{0}, STEPS};
    for (int i = 0; i <= STEPS; i++) {
        const double u = 1.0 - (double)i / STEPS;
        l.sigma[i] = SHIFT * u / (1.0 + (SHIFT - 1.0) * u);
    }
    return l;
}

/* v of n frames from `first` on, of which the first `known` are clean; gain: of the estimate of the
 * data, 1 is right. */
static void forward(double gain, const clip *f, int64_t first, int known, int n, double sigma,
                    float *v)
{
    int64_t frame[WINDOW];
    double at[WINDOW];
    float *x = malloc((size_t)n * COLUMNS * sizeof *x);
    lt_oracle o;
    assert_non_null(x);
    for (int i = 0; i < n; i++) {
        frame[i] = first + i;
        at[i] = i < known ? 0.0 : sigma;
        memcpy(x + (size_t)i * COLUMNS, f->x[first + i], sizeof f->x[0]);
    }
    assert_int_equal(lt_oracle_new(frame, at, n, &o), LT_OK);
    lt_oracle_velocity(&o, COLUMNS, x, v);
    for (int i = 0; i < n * COLUMNS; i++) {
        const double clean = gain * ((double)x[i] - sigma * (double)v[i]);
        v[i] = (float)(((double)x[i] - clean) / sigma);
    }
    lt_oracle_free(&o);
    free(x);
}

static void euler(float *x, const float *v, double from, double to)
{
    for (int c = 0; c < COLUMNS; c++)
        x[c] += (float)(to - from) * v[c];
}

static lt_layout layout_of(lt_layout_kind kind, int64_t overlap)
{
    const lt_layout_spec spec = {kind, T, WINDOW, overlap};
    lt_layout l;
    assert_int_equal(lt_layout_new(&grid, &spec, 0, &l), LT_OK);
    return l;
}

/* All windows in each step, their velocities fused, one solver. */
static void joint(double gain, clip *f)
{
    static float v[WINDOW * COLUMNS], fused[T * COLUMNS];
    const levels s = all_levels();
    lt_layout l = layout_of(LT_LAYOUT_BALANCED, 8);
    lt_fuse w;
    assert_int_equal(lt_fuse_new(LT_FUSE_TRAPEZOID, &l, &w), LT_OK);
    for (int step = 0; step < s.steps; step++) {
        for (int64_t k = 0; k < l.count; k++) {
            forward(gain, f, l.window[k].first, 0, (int)l.window[k].count, s.sigma[step], v);
            const lt_fuse_axis axis = {&w, k, l.window[k], {0, T}};
            lt_fuse_add(&axis, 1, 1, COLUMNS, v, fused);
        }
        for (int i = 0; i < T; i++)
            euler(f->x[i], fused + (size_t)i * COLUMNS, s.sigma[step], s.sigma[step + 1]);
    }
    lt_fuse_free(&w);
    lt_layout_free(&l);
}

/* Chunk by chunk: what it shares with the one before is clean context. */
static void extend(double gain, clip *f)
{
    static float v[WINDOW * COLUMNS];
    const levels s = all_levels();
    lt_layout l = layout_of(LT_LAYOUT_EXTEND, 8);
    for (int64_t k = 0; k < l.count; k++) {
        const lt_range w = l.window[k];
        const int known = (int)(l.own[k].first - w.first);
        for (int step = 0; step < s.steps; step++) {
            forward(gain, f, w.first, known, (int)w.count, s.sigma[step], v);
            for (int i = known; i < (int)w.count; i++)
                euler(f->x[w.first + i], v + (size_t)i * COLUMNS, s.sigma[step], s.sigma[step + 1]);
        }
    }
    lt_layout_free(&l);
}

/* Variance of the last 10 frames over the first 10's. */
static double drift(const clip *f)
{
    double first = 0, last = 0;
    for (int i = 0; i < 10; i++) {
        first += oracle_covariance_of(f->x[0], i, i);
        last += oracle_covariance_of(f->x[0], T - 1 - i, T - 1 - i);
    }
    return last / first;
}

/* The specification's 0.98 of joint windows is of a layout whose last window is pulled back; here
 * overlaps are the same everywhere, so both ends of the clip are equal. */
static void a_gain_shows_as_drift(void **state)
{
    (void)state;
    static clip f;
    oracle_begin(f.x[0]);
    joint(1.03, &f);
    print_message("joint, gain 1.03: drift %.3f\n", drift(&f));
    assert_true(fabs(drift(&f) - 1.00) <= 0.02 * 1.00);
    oracle_begin(f.x[0]);
    extend(1.03, &f);
    print_message("extend, gain 1.03: drift %.3f\n", drift(&f));
    assert_true(fabs(drift(&f) - 1.06) <= 0.02 * 1.06);
    const oracle_figures fault = oracle_grade(f.x[0]);
    const oracle_figures right = {.0248, 0.813, .891, -1, .09, .01};
    assert_true(oracle_is_off("extend, gain 1.03", &fault, &right)); /* the table would see it */
}

/* A clip that closes on itself: four windows on a circle. */
enum { CIRCLE = 68, APART = 17, CELLS = 5 };

static void run_circle(lt_fuse_kind kind, float (*x)[CELLS])
{
    const levels s = all_levels();
    const lt_layout_spec spec = {LT_LAYOUT_LOOPED, CIRCLE, WINDOW, WINDOW - APART};
    static float mine[WINDOW][CELLS], v[WINDOW][CELLS], fused[CIRCLE][CELLS];
    lt_layout l;
    lt_fuse w;
    assert_int_equal(lt_layout_new(&grid, &spec, 0, &l), LT_OK);
    assert_int_equal(lt_fuse_new(kind, &l, &w), LT_OK);
    for (int step = 0; step < s.steps; step++) {
        int64_t frame[WINDOW];
        double sigma[WINDOW];
        lt_oracle o;
        for (int i = 0; i < WINDOW; i++) {
            frame[i] = i; /* a window's own places: it does not know where it lies */
            sigma[i] = s.sigma[step];
        }
        assert_int_equal(lt_oracle_new(frame, sigma, WINDOW, &o), LT_OK);
        for (int64_t k = 0; k < l.count; k++) {
            for (int i = 0; i < WINDOW; i++)
                memcpy(mine[i], x[(l.window[k].first + i) % CIRCLE], sizeof mine[i]);
            lt_oracle_velocity(&o, CELLS, mine[0], v[0]);
            const lt_fuse_axis axis = {&w, k, l.window[k], {0, CIRCLE}};
            lt_fuse_add(&axis, 1, 1, CELLS, v[0], fused[0]);
        }
        for (int i = 0; i < CIRCLE; i++)
            for (int c = 0; c < CELLS; c++)
                x[i][c] += (float)(s.sigma[step + 1] - s.sigma[step]) * fused[i][c];
        lt_oracle_free(&o);
    }
    lt_fuse_free(&w);
    lt_layout_free(&l);
}

/* Noise that is turned by the windows' distance gives the clip turned, bit for bit: where it closes
 * is a place like the others. Two windows share a position, so their order cannot show. */
static void a_loop_has_no_seam(void **state)
{
    (void)state;
    for (int kind = LT_FUSE_FLAT; kind <= LT_FUSE_OWNER_CUT; kind++) {
        static float noise[CIRCLE][CELLS], x[CIRCLE][CELLS], turned[CIRCLE][CELLS];
        lt_noise_video(7, LT_STREAM_INITIAL, 0, 0, 1, CIRCLE, 1, CELLS, noise[0]);
        memcpy(x, noise, sizeof x);
        for (int i = 0; i < CIRCLE; i++)
            memcpy(turned[(i + APART) % CIRCLE], noise[i], sizeof noise[i]);
        run_circle((lt_fuse_kind)kind, x);
        run_circle((lt_fuse_kind)kind, turned);
        assert_memory_not_equal(x, noise, sizeof x);
        for (int i = 0; i < CIRCLE; i++)
            assert_memory_equal(x[i], turned[(i + APART) % CIRCLE], sizeof x[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_gain_shows_as_drift),
                                       cmocka_unit_test(a_loop_has_no_seam)};
    return cmocka_run_group_tests_name("oracle", tests, NULL, NULL);
}
