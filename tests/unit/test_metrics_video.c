/* test_metrics_video.c - figures of synthetic frames whose seams, drifts and loops are known.
 * Goal: what was put in is seen, in its size, and nothing else is. Method: two waves that move a
 * known way each frame; at a join the video jumps, brightens, turns or stays. Ranks: 1. Needs:
 * nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "metrics/drift.h"
#include "metrics/flow.h"
#include "metrics/seams.h"
#include "metrics/statistics.h"
#include "metrics/video_series.h"
#include "tests/support/check.h"

enum { W = 96, H = 64, FRAMES = 120, JOIN = 51 };

/* What the frames show: waves that move by `speed` pixels a frame, until frame `turn` to the right
 * and then to the left; from `from` on by jump pixels further and by light codes brighter; and all
 * along by drift codes a frame brighter. period > 0: begins anew every so many frames. */
typedef struct scene {
    double speed, jump, light, drift;
    int from, turn, period;
    double border; /* codes that the columns from 40 on are brighter */
} scene;

static double moved(const scene *s, int t)
{
    if (s->period > 0)
        t %= s->period;
    const int forth = s->turn > 0 && t > s->turn ? s->turn : t;
    return s->speed * (2 * forth - t) + (s->from > 0 && t >= s->from ? s->jump : 0);
}

static void draw(const scene *s, int t, uint8_t *y)
{
    const double at = moved(s, t);
    const double light = (s->from > 0 && t >= s->from ? s->light : 0) + s->drift * t;
    for (int r = 0; r < H; r++)
        for (int c = 0; c < W; c++)
            y[r * W + c] =
                (uint8_t)lrint(110 + light + 40 * sin((c - at) / 6) + 25 * sin((r + 0.3 * at) / 5) +
                               10 * sin((c + r - at) / 2.3) + (c >= 40) * s->border);
}

static lt_video_series *series_of(const scene *s, int frames)
{
    static uint8_t y[W * H], cb[W * H / 4], cr[W * H / 4];
    lt_video_series *series = NULL;
    OK(lt_video_series_new(W, H, &series));
    for (int t = 0; t < frames; t++) {
        draw(s, t, y);
        for (int i = 0; i < W * H / 4; i++) {
            cb[i] = 128 + 3;
            cr[i] = 128 - 4;
        }
        const lt_frame_planes planes = {y, cb, cr, W, H, W / 2, H / 2};
        OK(lt_video_series_add(series, &planes));
    }
    assert_int_equal(lt_video_series_frames(series), frames);
    return series;
}

static lt_seam_value compare(const lt_video_series *series, lt_series which, int64_t join,
                             int64_t period)
{
    const int64_t n = lt_video_series_frames(series);
    const double *values = lt_video_series_values(series, which);
    double *e = malloc((size_t)n * sizeof *e);
    lt_seam_value out;
    const lt_seams seams = {&join, 1, period, NULL, 0};
    assert_non_null(e);
    OK(lt_seam_normalise(values, n, &seams, e));
    OK(lt_seam_compare(which == LT_SERIES_STEP ? e : values, n, &seams, &out));
    free(e);
    return out;
}

static double ratio(const lt_video_series *series, lt_series which, int64_t period)
{
    const lt_seam_value v = compare(series, which, JOIN, period);
    return lt_seam_ratio(&v);
}

/* ---- seams ---- */

static void seams_are_seen(void **state)
{
    (void)state;
    /* Bounds: a smooth clip is 1 but for the rounding of codes; what jumps is far from it. */
    static const struct {
        const char *name;
        scene s;
        double step_low, step_high, bend_low, bend_high;
    } cases[] = {
        {"smooth", {.speed = 1}, 0.9, 1.1, 0.9, 1.1},
        {"jumps by 4 pixels", {.speed = 1, .from = JOIN, .jump = 4}, 5, 1e9, 5, 1e9},
        {"jumps by 1 pixel", {.speed = 1, .from = JOIN, .jump = 1}, 2, 1e9, 5, 1e9},
        {"brighter by 6 codes", {.speed = 0.3, .from = JOIN, .light = 6}, 3, 1e9, 5, 1e9},
        /* A ping-pong: no step is larger, only the acceleration shows it. */
        {"turns", {.speed = 1, .turn = JOIN - 1}, 0.9, 1.1, 2, 1e9},
        /* Elsewhere: what jumps between the joins is no seam. */
        {"jumps at 80", {.speed = 1, .from = 80, .jump = 4}, 0.9, 1.1, 0.9, 1.1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_video_series *series = series_of(&cases[i].s, FRAMES);
        for (int period = 1; period <= 17; period += 16) {
            const double step = ratio(series, LT_SERIES_STEP, period);
            const double bend = ratio(series, LT_SERIES_ACCELERATION, period);
            if (!(step >= cases[i].step_low && step <= cases[i].step_high &&
                  bend >= cases[i].bend_low && bend <= cases[i].bend_high))
                fail_msg("%s, period %d: step %.4g, acceleration %.4g", cases[i].name, period, step,
                         bend);
        }
        lt_video_series_free(&series);
    }
}

/* The steps in numbers: a wave that brightens by 6 codes at once has d = 36 there. */
static void steps_have_their_size(void **state)
{
    (void)state;
    const scene s = {.from = JOIN, .light = 6};
    lt_video_series *series = series_of(&s, FRAMES);
    const double *step = lt_video_series_values(series, LT_SERIES_STEP);
    const double *bend = lt_video_series_values(series, LT_SERIES_ACCELERATION);
    for (int t = 0; t < FRAMES - 1; t++)
        assert_true(step[t] == (t == JOIN - 1 ? 36 : 0));
    for (int t = 1; t < FRAMES - 1; t++)
        assert_true(bend[t] == (t == JOIN - 1 || t == JOIN ? 36 : 0));
    assert_true(isnan(step[FRAMES - 1]) && isnan(bend[0]) && isnan(bend[FRAMES - 1]));
    /* 36 / 4 = 9: 10 log10(255^2 / 9) */
    assert_true(fabs(lt_seam_psnr_db(bend[JOIN]) - 38.588) < 1e-3);
    assert_true(lt_seam_psnr_db(0) == 100 && isnan(lt_seam_psnr_db(NAN)));
    lt_video_series_free(&series);
}

/* A decoder whose every 17th step is larger: the same phase knows that, all frames do not. */
static void phases_are_compared_with_their_own(void **state)
{
    (void)state;
    enum { N = 340 };
    double v[N];
    for (int i = 0; i < N; i++)
        v[i] = i % 17 == 16 ? 3 : 1; /* into frames 17 k */
    const int64_t join = 170;
    lt_seam_value out;
    const lt_seams own = {&join, 1, 17, NULL, 0}, all = {&join, 1, 1, NULL, 0};
    OK(lt_seam_compare(v, N, &own, &out));
    assert_true(lt_seam_ratio(&out) == 1 && out.same_phase && out.share == 1);
    assert_int_equal(out.compared, 19); /* 17, 34, ... 340 without 170 */
    OK(lt_seam_compare(v, N, &all, &out));
    assert_true(lt_seam_ratio(&out) == 3);
    v[169] = 6; /* twice its phase's; of 319 others by their phases one is as large */
    v[99] = 4;  /* touches frames 99 and 100 */
    OK(lt_seam_compare(v, N, &own, &out));
    assert_true(lt_seam_ratio(&out) == 2 && out.compared == 19);
    assert_true(fabs(out.share - 2.0 / (N - 3)) < 1e-12);
    v[169] = 3;
    v[99] = 1;
    /* A film with one frame of the phase: all others are taken, and it is said. */
    OK(lt_seam_compare(v + 160, 15, &(lt_seams){(int64_t[]){10}, 1, 17, NULL, 0}, &out));
    assert_true(!out.same_phase && lt_seam_ratio(&out) == 3);
    OK(lt_seam_compare(v, 1, &(lt_seams){(int64_t[]){1}, 1, 1, NULL, 0}, &out));
    assert_true(out.compared == 0 && isnan(lt_seam_ratio(&out)));
}

/* Bursts: each step is divided by its neighbourhood, so a join in a lively stretch is none. */
static void bursts_are_no_seams(void **state)
{
    (void)state;
    enum { N = 200 };
    double d[N], e[N];
    for (int i = 0; i < N; i++)
        d[i] = i >= 80 && i < 120 ? 50 : 2;
    const int64_t join = 100;
    lt_seam_value out;
    OK(lt_seam_normalise(d, N, &(lt_seams){.period = 1}, e));
    OK(lt_seam_compare(e, N, &(lt_seams){&join, 1, 1, NULL, 0}, &out));
    const double r = lt_seam_ratio(&out);
    if (!(r > 0.95 && r < 1.15))
        fail_msg("found %.4g", r);
    d[99] = 150;
    OK(lt_seam_normalise(d, N, &(lt_seams){.period = 1}, e));
    OK(lt_seam_compare(e, N, &(lt_seams){&join, 1, 1, NULL, 0}, &out));
    assert_true(lt_seam_ratio(&out) > 2.5 && out.share < 0.02);
}

/* A storyboard: the step into a shot is none, its neighbourhood and its phase are its own. */
static void cuts_are_no_frames_like_others(void **state)
{
    (void)state;
    enum { N = 200, CUT = 100 };
    double d[N], e[N];
    const int64_t join = 151, cut = CUT; /* frame 51 of the second shot: the phase of 17 k */
    for (int i = 0; i < N; i++) {
        const int f = i + 1, of_shot = f < CUT ? f : f - CUT;
        d[i] = (f < CUT ? 20 : 40) * (of_shot % 17 == 0 ? 3 : 1);
    }
    d[CUT - 1] = 9000;
    const lt_seams with = {&join, 1, 17, &cut, 1}, without = {&join, 1, 17, NULL, 0};
    lt_seam_value out;
    OK(lt_seam_normalise(d, N, &with, e));
    assert_true(isnan(e[CUT - 1]));
    assert_true(e[CUT - 2] < 1.1 && e[CUT - 2] > 0.5); /* not by the next shot's steps */
    assert_true(e[CUT] < 1.1 && e[CUT] > 0.5);
    OK(lt_seam_compare(e, N, &with, &out));
    assert_true(fabs(lt_seam_ratio(&out) - 1) < 0.35 && out.same_phase);
    /* 17, 34, ... 85 of both shots, not 51 of the second and not what stands beside the cut */
    assert_int_equal(out.compared, 9);
    /* Without the cut frame 151 is of phase 15, which the first shot's borders are not of. */
    OK(lt_seam_normalise(d, N, &without, e));
    OK(lt_seam_compare(e, N, &without, &out));
    assert_true(lt_seam_ratio(&out) > 1.35);
}

/* A decoder that draws its cells of 16 pixels: a border of tiles on one is held against those. */
static void cells_are_compared_with_their_own(void **state)
{
    (void)state;
    enum { WIDE = 256 };
    double d[WIDE], r = 0, worst = 0;
    const int64_t borders[] = {96, 160};
    for (int x = 0; x < WIDE; x++)
        d[x] = x % 16 == 0 ? 3 : 1;
    OK(lt_tile_seams(d, WIDE, borders, 2, 16, &r, &worst));
    assert_true(r == 1 && worst == 1);
    OK(lt_tile_seams(d, WIDE, borders, 2, 8, &r, &worst)); /* half of the others lie inside one */
    assert_true(r > 1.4);
    d[160] = 4.5;
    OK(lt_tile_seams(d, WIDE, borders, 2, 16, &r, &worst));
    assert_true(fabs(worst - 1.5) < 0.01 && fabs(r - 1.25) < 0.01);
}

static void flow_finds_the_way(void **state)
{
    (void)state;
    static uint8_t a[W * H], b[W * H];
    lt_shift shift[(W / 16) * (H / 16)];
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            a[y * W + x] = (uint8_t)(x * 37 + y * 101 + x * y % 59);
            const int u = x - 3, v = y + 2;
            b[y * W + x] = (uint8_t)(u * 37 + v * 101 + u * v % 59);
        }
    lt_flow_match(a, b, W, H, shift);
    for (int r = 1; r + 1 < H / 16; r++) /* what leaves the frame has no match */
        for (int c = 0; c + 1 < W / 16; c++)
            assert_true(shift[r * (W / 16) + c].x == 3 && shift[r * (W / 16) + c].y == -2);
    lt_flow_match(a, a, W, H, shift);
    assert_true(lt_flow_length(shift, 24) == 0);
    const lt_shift before = {1, 0}, now = {4, 4}, after = {1, 0};
    assert_true(lt_flow_jump(&before, &now, &after, 1) == 5 &&
                isnan(lt_flow_jump(NULL, NULL, NULL, 0)));
    const scene still = {.speed = 2}, jump = {.speed = 2, .from = JOIN, .jump = -4};
    lt_video_series *s = series_of(&still, FRAMES), *j = series_of(&jump, FRAMES);
    const double moves = lt_mean(lt_video_series_values(s, LT_SERIES_MOTION), 0, FRAMES);
    const lt_seam_value smooth = compare(s, LT_SERIES_FLOW_JUMP, JOIN, 1),
                        turned = compare(j, LT_SERIES_FLOW_JUMP, JOIN, 1);
    if (!(moves > 1.5 && moves < 2.5 && smooth.at - smooth.rest < 0.5 &&
          turned.at - turned.rest > 2))
        fail_msg("found motion %.3g, jumps %.3g and %.3g", moves, smooth.at - smooth.rest,
                 turned.at - turned.rest);
    lt_video_series_free(&s);
    lt_video_series_free(&j);
}

static void tile_borders_are_seen(void **state)
{
    (void)state;
    const int64_t border = 40;
    for (int k = 0; k < 2; k++) {
        const scene s = {.speed = 1, .border = k * 12};
        lt_video_series *series = series_of(&s, FRAMES);
        double *columns = NULL, *rows = NULL, r = 0, worst = 0;
        OK(lt_video_series_columns(series, &columns));
        OK(lt_video_series_rows(series, &rows));
        OK(lt_tile_seams(columns, W, &border, 1, 8, &r, &worst));
        if (!(k == 0 ? r > 0.9 && r < 1.15 : r > 1.5) || r != worst)
            fail_msg("border of %g codes: found %.4g", s.border, r);
        OK(lt_tile_seams(rows, H, &border, 1, 8, &r, &worst));
        assert_true(r > 0.9 && r < 1.15);
        OK(lt_tile_seams(rows, H, NULL, 0, 8, &r, &worst));
        assert_true(isnan(r) && isnan(worst));
        assert_int_equal(lt_tile_seams(rows, H, (int64_t[]){H}, 1, 8, &r, &worst), LT_ESHAPE);
        free(columns);
        free(rows);
        lt_video_series_free(&series);
    }
}

/* ---- drift, freeze, loop ---- */

static void drift_has_its_size(void **state)
{
    (void)state;
    const double fps = 24;
    const scene s = {.drift = 0.25};
    lt_video_series *series = series_of(&s, FRAMES);
    const lt_drift luma =
        lt_drift_of(lt_video_series_values(series, LT_SERIES_LUMA_MEAN), FRAMES, fps);
    /* 0.25 codes a frame: 6 a second, and 24 from the first second to the last of five. */
    if (!(fabs(luma.per_second - 6) < 0.3 && fabs(luma.last - luma.first - 24) < 1))
        fail_msg("found %.3g a second, %.3g", luma.per_second, luma.last - luma.first);
    const lt_drift blue =
        lt_drift_of(lt_video_series_values(series, LT_SERIES_CB_MEAN), FRAMES, fps);
    assert_true(blue.first == 3 && blue.last == 3 && blue.per_second == 0);
    assert_true(lt_video_series_values(series, LT_SERIES_CR_MEAN)[7] == -4);
    assert_true(fabs(lt_video_series_values(series, LT_SERIES_SATURATION)[7] - 5) < 1e-12);
    const double *bins[8];
    for (int i = 0; i < 8; i++)
        bins[i] = lt_video_series_values(series, (lt_series)(LT_SERIES_HISTOGRAM + i));
    assert_true(lt_drift_histogram(bins, FRAMES, fps) > 0.1);
    assert_true(lt_drift_histogram(bins, 2, fps) < 0.1);
    lt_video_series_free(&series);
    const double two[] = {1, 3};
    const lt_drift shortest = lt_drift_of(two, 2, fps), single = lt_drift_of(two, 1, fps);
    assert_true(shortest.first == 1 && shortest.last == 3 && shortest.per_second == 48);
    assert_true(single.first == 1 && single.last == 1 && isnan(single.per_second));
}

static void freezes_are_counted(void **state)
{
    (void)state;
    const scene moves = {.speed = 1}, still = {.speed = 0};
    lt_video_series *m = series_of(&moves, 40), *s = series_of(&still, 40);
    assert_true(lt_freeze_share(lt_video_series_values(m, LT_SERIES_STEP), 40) == 0);
    assert_true(lt_freeze_share(lt_video_series_values(s, LT_SERIES_STEP), 40) == 1);
    assert_true(isnan(lt_freeze_share(NULL, 0)));
    lt_loop loop;
    OK(lt_loop_of(lt_video_series_values(s, LT_SERIES_STEP), 40, &loop));
    assert_true(isnan(loop.correlation) && loop.lag == 0);
    lt_video_series_free(&m);
    lt_video_series_free(&s);
}

static void loops_are_found(void **state)
{
    (void)state;
    const scene loops = {.speed = 1.3, .period = 30};
    lt_video_series *series = series_of(&loops, FRAMES);
    int64_t count = 0, stride = 0;
    const uint8_t *thumbs = lt_video_series_thumbs(series, &count, &stride);
    lt_loop loop;
    assert_true(count == FRAMES && stride == 1);
    OK(lt_loop_of_thumbs(thumbs, count, stride, 32 * 32, &loop));
    assert_true(loop.correlation > 0.999 && loop.lag % 30 == 0);
    OK(lt_loop_of(lt_video_series_values(series, LT_SERIES_STEP), FRAMES - 1, &loop));
    assert_true(loop.correlation > 0.99 && loop.lag == 30);
    OK(lt_loop_of_thumbs(thumbs, 13, 1, 32 * 32, &loop)); /* too short for one */
    assert_true(isnan(loop.correlation));
    lt_video_series_free(&series);
}

/* Memory of thumbnails is bounded: they thin out, and their places stay right. */
static void thumbnails_thin_out(void **state)
{
    (void)state;
    enum { MANY = 2 * LT_THUMBS_MAX + 3 };
    lt_video_series *series = NULL;
    OK(lt_video_series_new(32, 32, &series));
    uint8_t y[32 * 32], grey[1] = {128};
    for (int t = 0; t < MANY; t++) {
        for (int i = 0; i < 32 * 32; i++)
            y[i] = (uint8_t)(t >> (i % 2 ? 4 : 8));
        const lt_frame_planes planes = {y, grey, grey, 32, 32, 1, 1};
        OK(lt_video_series_add(series, &planes));
    }
    int64_t count = 0, stride = 0;
    const uint8_t *thumbs = lt_video_series_thumbs(series, &count, &stride);
    assert_int_equal(stride, 4);
    assert_int_equal(count, (MANY + 3) / 4);
    for (int64_t i = 0; i < count; i++)
        assert_true(thumbs[i * 1024 + 1] == (uint8_t)(4 * i >> 4) &&
                    thumbs[i * 1024] == 4 * i >> 8);
    lt_video_series_free(&series);
}

static void wrong_frames_are_refused(void **state)
{
    (void)state;
    lt_video_series *series = NULL;
    assert_int_equal(lt_video_series_new(0, 8, &series), LT_ESHAPE);
    assert_int_equal(lt_video_series_new(8, LT_SERIES_SIDE_MAX + 1, &series), LT_ESHAPE);
    assert_null(series);
    OK(lt_video_series_new(1, 1, &series)); /* nothing of it moves, has edges or blocks */
    const uint8_t grey = 128;
    for (int t = 0; t < 5; t++)
        OK(lt_video_series_add(series, &(lt_frame_planes){&grey, &grey, &grey, 1, 1, 1, 1}));
    assert_true(isnan(lt_video_series_values(series, LT_SERIES_SHARPNESS)[2]));
    assert_true(isnan(lt_video_series_values(series, LT_SERIES_MOTION)[2]));
    assert_int_equal(
        lt_video_series_add(series, &(lt_frame_planes){&grey, &grey, &grey, 2, 1, 1, 1}),
        LT_ESHAPE);
    assert_int_equal(lt_video_series_frames(series), 5);
    lt_video_series_free(&series);
    lt_video_series_free(&series);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seams_are_seen),
        cmocka_unit_test(steps_have_their_size),
        cmocka_unit_test(phases_are_compared_with_their_own),
        cmocka_unit_test(bursts_are_no_seams),
        cmocka_unit_test(cuts_are_no_frames_like_others),
        cmocka_unit_test(cells_are_compared_with_their_own),
        cmocka_unit_test(flow_finds_the_way),
        cmocka_unit_test(tile_borders_are_seen),
        cmocka_unit_test(drift_has_its_size),
        cmocka_unit_test(freezes_are_counted),
        cmocka_unit_test(loops_are_found),
        cmocka_unit_test(thumbnails_thin_out),
        cmocka_unit_test(wrong_frames_are_refused),
    };
    return cmocka_run_group_tests_name("metrics_video", tests, NULL, NULL);
}
