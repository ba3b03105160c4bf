/* test_fuse.c - fusing windows' velocities.
 * Goal: weights sum to 1 and leave out no position; a clip of one window keeps its bits; what all
 * windows agree on comes out as it is; bits depend neither on who holds what nor on how a window is
 * cut into parts. Method: all lengths, overlaps, kinds and layouts for the weights; parts against
 * the whole for every number of ranks 1..4, in time and in tiles. Ranks: 1. Needs: nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/philox.h"
#include "parallel/shard.h"
#include "scheduler/fuse.h"

static const lt_grid oracle = {
    .unit = 1, .step = 1, .least = 1, .latent_frames = 1, .tick_frames = 1};
static const lt_grid h3 = {.unit = 15,
                           .tail = 12,
                           .step = 5,
                           .rest = 2,
                           .least = 7,
                           .period = 5,
                           .latent_frames = 4,
                           .ticks = 5,
                           .tick_frames = 3};
static const lt_fuse_kind kinds[] = {LT_FUSE_FLAT, LT_FUSE_TRAPEZOID, LT_FUSE_HANN,
                                     LT_FUSE_OWNER_CUT};
static const lt_layout_kind layouts[] = {LT_LAYOUT_BALANCED, LT_LAYOUT_DITHERED, LT_LAYOUT_LOOPED,
                                         LT_LAYOUT_EXTEND};
static const int64_t overlaps[] = {0, 2, 4, 5, 8, 10, 16};
enum { KINDS = 4, LAYOUTS = 4, OVERLAPS = 7, WINDOW = 21, LONGEST = 399 };

static lt_layout layout(const lt_grid *grid, lt_layout_kind kind, int64_t latents, int64_t window,
                        int64_t overlap, int64_t step)
{
    const lt_layout_spec spec = {kind, latents, window, overlap};
    lt_layout l;
    assert_int_equal(lt_layout_new(grid, &spec, step, &l), LT_OK);
    return l;
}

static lt_fuse fuse_of(lt_fuse_kind kind, const lt_layout *l)
{
    lt_fuse f;
    assert_int_equal(lt_fuse_new(kind, l, &f), LT_OK);
    return f;
}

/* Sums of the weights as they are used, in f32: each is rounded by 2^-24 of itself at most, so
 * their sum is off by 6e-8 at most, however many windows overlap (six, for O = 16). */
static void check_sums(const lt_layout *l, const lt_fuse *f)
{
    double sum[2 * LONGEST] = {0};
    int leads[2 * LONGEST] = {0};
    assert_true(l->total <= 2 * LONGEST);
    for (int64_t k = 0; k < l->count; k++)
        for (int64_t n = 0; n < l->window[k].count; n++) {
            const int64_t at = (l->window[k].first + n) % l->total;
            const float w = (float)lt_fuse_weights(f, k)[n];
            assert_true(w >= 0.0f && w <= 1.0f);
            sum[at] += (double)w;
            leads[at] += f->leads[f->begin[k] + n];
        }
    for (int64_t at = 0; at < l->total; at++) {
        assert_int_equal(leads[at], 1);
        if (!(fabs(sum[at] - 1.0) <= 1e-7))
            fail_msg("T %lld: weights at %lld sum to 1 + %g", (long long)l->total, (long long)at,
                     sum[at] - 1.0);
    }
}

static void weights_sum_to_one(void **state)
{
    (void)state;
    for (int64_t T = 1; T <= LONGEST; T++)
        for (int o = 0; o < OVERLAPS; o++)
            for (int i = 0; i < LAYOUTS; i++) {
                lt_layout l = layout(&oracle, layouts[i], T, WINDOW, overlaps[o], T % 16);
                for (int k = 0; k < KINDS; k++) {
                    lt_fuse f = fuse_of(kinds[k], &l);
                    check_sums(&l, &f);
                    lt_fuse_free(&f);
                }
                lt_layout_free(&l);
            }
}

/* H3's video and its audio, whose windows have other lengths. */
static void weights_of_both_streams(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 80; n++)
        for (int64_t b = 1; b <= 3; b++)
            for (int k = 0; k < KINDS; k++) {
                lt_layout l = layout(&h3, LT_LAYOUT_BALANCED, 5 * n + 2, 12 + 15 * b, 12, 0), s;
                assert_int_equal(lt_layout_in_ticks(&h3, &l, &s), LT_OK);
                lt_fuse f = fuse_of(kinds[k], &l);
                check_sums(&l, &f);
                lt_fuse_free(&f);
                if (s.total <= 2 * LONGEST) {
                    f = fuse_of(kinds[k], &s);
                    check_sums(&s, &f);
                    lt_fuse_free(&f);
                }
                lt_layout_free(&l);
                lt_layout_free(&s);
            }
}

/* Values of the formulas, T = 38, L = 21, O = 4: windows at 0 and 17. */
static void weights_by_hand(void **state)
{
    (void)state;
    lt_layout l = layout(&oracle, LT_LAYOUT_BALANCED, 38, WINDOW, 4, 0);
    assert_int_equal(l.count, 2);
    for (int k = 0; k < KINDS; k++) {
        lt_fuse f = fuse_of(kinds[k], &l);
        for (int i = 0; i < 4; i++) { /* positions 17 + i */
            const double pi = acos(-1.0), left = sin(pi * (17 + i + 0.5) / 21);
            const double right = sin(pi * (i + 0.5) / 21);
            const double want[KINDS] = {0.5, (i + 1) / 5.0,
                                        right * right / (left * left + right * right), i >= 2};
            if (!(fabs(lt_fuse_weights(&f, 1)[i] - want[k]) <= 1e-15 &&
                  fabs(lt_fuse_weights(&f, 0)[17 + i] - (1.0 - want[k])) <= 1e-15))
                fail_msg("kind %d, position %d: %g", k, 17 + i, lt_fuse_weights(&f, 1)[i]);
        }
        for (int n = 0; n < 17; n++)
            assert_true(lt_fuse_weights(&f, 0)[n] == 1.0 && lt_fuse_weights(&f, 1)[4 + n] == 1.0);
        lt_fuse_free(&f);
    }
    lt_layout_free(&l);
}

/* Hann over a whole window, its middle too: T = 24, windows at 0 and 3. */
static void hann_is_a_sine(void **state)
{
    (void)state;
    lt_layout l = layout(&oracle, LT_LAYOUT_BALANCED, 24, WINDOW, 10, 0);
    lt_fuse f = fuse_of(LT_FUSE_HANN, &l);
    assert_int_equal(l.window[1].first, 3);
    for (int n = 0; n < WINDOW - 3; n++) {
        const double pi = acos(-1.0), left = sin(pi * (n + 3.5) / WINDOW);
        const double right = sin(pi * (n + 0.5) / WINDOW);
        const double want = right * right / (left * left + right * right);
        assert_true(fabs(lt_fuse_weights(&f, 1)[n] - want) <= 1e-15);
    }
    lt_fuse_free(&f);
    lt_layout_free(&l);
}

/* Noise with every kind of value that a float can round badly, and -0. */
static float *values(int64_t count, uint32_t seed)
{
    float *v = malloc((size_t)count * sizeof *v);
    assert_non_null(v);
    lt_noise_video(seed, 0, 0, 0, 1, 1, 1, count, v);
    for (int64_t i = 0; i < count; i += 7)
        v[i] = i % 2 ? -0.0f : v[i] * 1e6f;
    return v;
}

static void one_window_keeps_its_bits(void **state)
{
    (void)state;
    enum { OUTER = 3, INNER = 5 };
    for (int64_t T = 1; T <= WINDOW; T++)
        for (int i = 0; i < LAYOUTS; i++)
            for (int k = 0; k < KINDS; k++) {
                lt_layout l = layout(&oracle, layouts[i], T, WINDOW, 4, 1);
                lt_fuse f = fuse_of(kinds[k], &l);
                const int64_t n = OUTER * T * INNER;
                float *v = values(n, 1), *out = values(n, 2);
                const lt_fuse_axis axis = {&f, 0, {0, T}, {0, T}};
                lt_fuse_add(&axis, 1, OUTER, INNER, v, out);
                assert_memory_equal(v, out, (size_t)n * sizeof *v);
                free(v);
                free(out);
                lt_fuse_free(&f);
                lt_layout_free(&l);
            }
}

/* Each product is rounded before it is added: against the same in single steps. With a fused
 * multiply-add in place of the second product other bits come out, so the check can see one. */
static void products_are_rounded(void **state)
{
    (void)state;
    enum { INNER = 1000 };
    lt_layout l = layout(&oracle, LT_LAYOUT_BALANCED, 38, WINDOW, 4, 0);
    lt_fuse f = fuse_of(LT_FUSE_TRAPEZOID, &l);
    float *a = values(INNER, 1), *b = values(INNER, 2), *out = values(INNER, 3);
    const lt_fuse_axis first = {&f, 0, {18, 1}, {18, 1}}, second = {&f, 1, {18, 1}, {18, 1}};
    lt_fuse_add(&first, 1, 1, INNER, a, out);
    lt_fuse_add(&second, 1, 1, INNER, b, out);
    int fused_differs = 0;
    for (int i = 0; i < INNER; i++) {
        const volatile float p = 0.6f * a[i], q = 0.4f * b[i];
        const volatile float want = p + q;
        if (!(out[i] == want && !signbit(out[i]) == !signbit(want)))
            fail_msg("value %d: %a, want %a", i, (double)out[i], (double)want);
        fused_differs += fmaf(0.4f, b[i], p) != want;
    }
    assert_true(fused_differs > 0);
    free(a);
    free(b);
    free(out);
    lt_fuse_free(&f);
    lt_layout_free(&l);
}

/* A model whose output depends on the frame alone: fused, it is what one window would give. A
 * constant and an affine one too. 4 windows: 4 roundings of the products and 3 of the sums, 2^-24
 * each, of 1: 1e-6. */
static void agreement_comes_out(void **state)
{
    (void)state;
    for (int64_t T = 22; T <= 120; T++)
        for (int o = 0; o < OVERLAPS; o++)
            for (int i = 0; i < LAYOUTS; i++)
                for (int k = 0; k < KINDS; k++) {
                    lt_layout l = layout(&oracle, layouts[i], T, WINDOW, overlaps[o], 5);
                    lt_fuse f = fuse_of(kinds[k], &l);
                    float out[120], v[WINDOW];
                    for (size_t at = 0; at < sizeof out / sizeof *out; at++)
                        out[at] = NAN; /* left over: the first window writes */
                    for (int64_t w = 0; w < l.count; w++) {
                        for (int64_t n = 0; n < l.window[w].count; n++)
                            v[n] = 1.0f - 0.01f * (float)((l.window[w].first + n) % T);
                        const lt_fuse_axis axis = {&f, w, l.window[w], {0, T}};
                        lt_fuse_add(&axis, 1, 1, 1, v, out);
                    }
                    for (int64_t at = 0; at < T; at++) {
                        const float want = 1.0f - 0.01f * (float)at;
                        if (!(fabsf(out[at] - want) <= 1e-6f))
                            fail_msg("T %lld: %g at %lld", (long long)T, (double)out[at],
                                     (long long)at);
                        if (kinds[k] == LT_FUSE_OWNER_CUT)
                            assert_true(out[at] == want);
                    }
                    lt_fuse_free(&f);
                    lt_layout_free(&l);
                }
}

/* The clip's windows on `ranks` ranks: contiguous runs; a rank holds its windows' positions, and
 * takes from others the parts that lie there, cut in two once more. What each one holds must be
 * the whole clip's bits. */
static void on_ranks(const lt_layout *l, const lt_fuse *f, int ranks, float *const *v,
                     const float *whole)
{
    enum { OUTER = 2, INNER = 3 };
    for (int rank = 0; rank < ranks; rank++) {
        const lt_range held = lt_layout_held(l, lt_share(l->count, ranks, rank));
        float *mine = values(OUTER * held.count * INNER + 1, 9); /* left over from a step before */
        for (int64_t k = 0; k < l->count; k++) {
            const lt_range w = l->window[k], shared = lt_overlap(w, held);
            if (shared.count == 0)
                continue;
            const int64_t half = shared.count / 2;
            const lt_range halves[2] = {{shared.first, half},
                                        {shared.first + half, shared.count - half}};
            for (int p = 1; p >= 0; p--) { /* in any order: they share no position */
                const lt_range at = halves[p];
                float *part = values(OUTER * at.count * INNER + 1, 8);
                for (int64_t o = 0; o < OUTER; o++)
                    memcpy(part + o * at.count * INNER,
                           v[k] + (o * w.count + at.first - w.first) * INNER,
                           (size_t)(at.count * INNER) * sizeof(float));
                const lt_fuse_axis axis = {f, k, at, held};
                lt_fuse_add(&axis, 1, OUTER, INNER, part, mine);
                free(part);
            }
        }
        for (int64_t o = 0; o < OUTER; o++)
            assert_memory_equal(mine + o * held.count * INNER,
                                whole + (o * l->total + held.first) * INNER,
                                (size_t)(held.count * INNER) * sizeof(float));
        free(mine);
    }
}

static void bits_show_no_ranks(void **state)
{
    (void)state;
    enum { OUTER = 2, INNER = 3, WINDOWS_MAX = 32 };
    for (int64_t T = 22; T <= 100; T += 3)
        for (int o = 0; o < OVERLAPS; o++)
            for (int i = 0; i < 2 * KINDS; i++) {
                const lt_layout_kind kind = i < KINDS ? LT_LAYOUT_BALANCED : LT_LAYOUT_DITHERED;
                lt_layout l = layout(&oracle, kind, T, WINDOW, overlaps[o], 3);
                lt_fuse f = fuse_of(kinds[i % KINDS], &l);
                float *v[WINDOWS_MAX], *whole = values(OUTER * T * INNER, 10);
                assert_true(l.count <= WINDOWS_MAX);
                for (int64_t k = 0; k < l.count; k++) {
                    v[k] = values(OUTER * l.window[k].count * INNER, (uint32_t)(11 + k));
                    const lt_fuse_axis axis = {&f, k, l.window[k], {0, T}};
                    lt_fuse_add(&axis, 1, OUTER, INNER, v[k], whole);
                }
                for (int ranks = 1; ranks <= 4; ranks++)
                    on_ranks(&l, &f, ranks, v, whole);
                for (int64_t k = 0; k < l.count; k++)
                    free(v[k]);
                free(whole);
                lt_fuse_free(&f);
                lt_layout_free(&l);
            }
}

/* Tiles in time, rows and columns. A grid of one tile keeps the window's bits; any grid gives the
 * agreed value; held in two parts it gives the bits of the whole. */
enum { T = 38, H = 12, W = 16 };

static void fuse_tiles(const lt_tiling *t, const lt_fuse f[3], lt_range rows, float *out)
{
    for (int64_t i = 0; i < lt_tiling_count(t); i++) {
        const lt_tile at = lt_tiling_at(t, i);
        const lt_range part[3] = {t->time.window[at.window], t->rows.window[at.row],
                                  t->columns.window[at.column]};
        const lt_fuse_axis axis[3] = {{&f[0], at.window, part[0], {0, T}},
                                      {&f[1], at.row, part[1], rows},
                                      {&f[2], at.column, part[2], {0, W}}};
        float *v = values(2 * part[0].count * part[1].count * part[2].count, (uint32_t)i);
        lt_fuse_add(axis, 3, 2, 1, v, out);
        free(v);
    }
}

static void tiles_in_space(void **state)
{
    (void)state;
    lt_tiling t = {.time = layout(&oracle, LT_LAYOUT_BALANCED, T, WINDOW, 4, 0)};
    lt_fuse f[3];
    assert_int_equal(lt_layout_space(H, 8, 2, 2, &t.rows), LT_OK);
    assert_int_equal(lt_layout_space(W, 8, 4, 2, &t.columns), LT_OK);
    assert_int_equal(lt_tiling_count(&t), 2 * 2 * 3);
    f[0] = fuse_of(LT_FUSE_TRAPEZOID, &t.time);
    f[1] = fuse_of(LT_FUSE_TRAPEZOID, &t.rows);
    f[2] = fuse_of(LT_FUSE_TRAPEZOID, &t.columns);
    float *whole = values(2 * T * H * W, 1), *half = values(2 * T * H * W, 2);
    fuse_tiles(&t, f, (lt_range){0, H}, whole);
    for (int64_t first = 0; first < H; first += H / 2) { /* held by rows 0..5, and 6..11 */
        fuse_tiles(&t, f, (lt_range){first, H / 2}, half);
        for (int64_t i = 0; i < 2 * T; i++)
            assert_memory_equal(half + i * (H / 2) * W, whole + (i * H + first) * W,
                                (size_t)(H / 2 * W) * sizeof(float));
    }
    /* weights: a velocity of 1 everywhere; up to 8 tiles share a cell */
    for (int64_t i = 0; i < lt_tiling_count(&t); i++) {
        const lt_tile at = lt_tiling_at(&t, i);
        const lt_fuse_axis axis[3] = {{&f[0], at.window, t.time.window[at.window], {0, T}},
                                      {&f[1], at.row, t.rows.window[at.row], {0, H}},
                                      {&f[2], at.column, t.columns.window[at.column], {0, W}}};
        float ones[WINDOW * 8 * 8];
        for (size_t n = 0; n < sizeof ones / sizeof *ones; n++)
            ones[n] = 1.0f;
        lt_fuse_add(axis, 3, 1, 1, ones, half);
    }
    for (int64_t i = 0; i < T * H * W; i++)
        if (!(fabsf(half[i] - 1.0f) <= 5e-7f)) /* 8 products and 7 sums, 2^-24 each */
            fail_msg("cell %lld: %.9g", (long long)i, (double)half[i]);
    free(whole);
    free(half);
    for (int i = 0; i < 3; i++)
        lt_fuse_free(&f[i]);
    lt_layout_free(&t.time);
    lt_layout_free(&t.rows);
    lt_layout_free(&t.columns);
}

static void one_tile_is_untiled(void **state)
{
    (void)state;
    lt_tiling t = {.time = layout(&oracle, LT_LAYOUT_BALANCED, T, WINDOW, 4, 0)};
    assert_int_equal(lt_layout_space(H, 32, 8, 2, &t.rows), LT_OK);
    assert_int_equal(lt_layout_space(W, 32, 8, 2, &t.columns), LT_OK);
    lt_fuse time = fuse_of(LT_FUSE_HANN, &t.time), rows = fuse_of(LT_FUSE_HANN, &t.rows);
    lt_fuse columns = fuse_of(LT_FUSE_HANN, &t.columns);
    float *tiled = values(T * H * W, 1), *plain = values(T * H * W, 2);
    for (int64_t k = 0; k < t.time.count; k++) {
        float *v = values(WINDOW * H * W, (uint32_t)k);
        const lt_fuse_axis axis[3] = {{&time, k, t.time.window[k], {0, T}},
                                      {&rows, 0, {0, H}, {0, H}},
                                      {&columns, 0, {0, W}, {0, W}}};
        lt_fuse_add(axis, 3, 1, 1, v, tiled);
        lt_fuse_add(axis, 1, 1, H * W, v, plain);
        free(v);
    }
    assert_memory_equal(tiled, plain, T * H * W * sizeof *tiled);
    free(tiled);
    free(plain);
    lt_fuse_free(&time);
    lt_fuse_free(&rows);
    lt_fuse_free(&columns);
    lt_layout_free(&t.time);
    lt_layout_free(&t.rows);
    lt_layout_free(&t.columns);
}

static void last_steps_cut(void **state)
{
    (void)state;
    for (int step = 0; step < 20; step++) {
        const lt_fuse_kind kind = lt_fuse_at(LT_FUSE_HANN, step, 20, 5);
        assert_int_equal(kind, step < 15 ? LT_FUSE_HANN : LT_FUSE_OWNER_CUT);
        assert_int_equal(lt_fuse_at(LT_FUSE_FLAT, step, 20, 0), LT_FUSE_FLAT);
        assert_int_equal(lt_fuse_at(LT_FUSE_FLAT, step, 20, 99), LT_FUSE_OWNER_CUT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_sum_to_one),
        cmocka_unit_test(weights_of_both_streams),
        cmocka_unit_test(weights_by_hand),
        cmocka_unit_test(hann_is_a_sine),
        cmocka_unit_test(one_window_keeps_its_bits),
        cmocka_unit_test(products_are_rounded),
        cmocka_unit_test(agreement_comes_out),
        cmocka_unit_test(bits_show_no_ranks),
        cmocka_unit_test(tiles_in_space),
        cmocka_unit_test(one_tile_is_untiled),
        cmocka_unit_test(last_steps_cut),
    };
    return cmocka_run_group_tests_name("fuse", tests, NULL, NULL);
}
