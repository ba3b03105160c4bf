/* test_fade.c - what chunks of `extend` make again.
 * Goal: what is final with each chunk covers the axis in order, a chunk steps what it makes and its
 * fade, and frames become latents of each family's grid. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/window.h"

static const lt_grid oracle = {
    .unit = 1, .step = 1, .least = 1, .latent_frames = 1, .tick_frames = 1};
static const lt_grid wan = {.unit = 1, .step = 1, .least = 1, .latent_frames = 4, .tick_frames = 1};
static const lt_grid h3 = {.unit = 15,
                           .tail = 12,
                           .step = 5,
                           .rest = 2,
                           .least = 7,
                           .period = 5,
                           .latent_frames = 4,
                           .ticks = 5,
                           .tick_frames = 3};

enum { WINDOW = 21, SHORTEST = 22 };

static int64_t end_of(lt_range r) { return r.first + r.count; }

/* What becomes final covers the axis, in order; a chunk steps what it makes and `fade` before. */
static void fades_are_final_with_the_next_chunk(void **state)
{
    (void)state;
    for (int64_t T = SHORTEST; T <= 120; T++)
        for (int64_t fade = 0; fade < 8; fade++) {
            const lt_layout_spec spec = {LT_LAYOUT_EXTEND, T, WINDOW, 8};
            lt_layout l;
            assert_int_equal(lt_layout_new(&oracle, &spec, 0, &l), LT_OK);
            int64_t end = 0;
            for (int64_t k = 0; k < l.count; k++) {
                const lt_range steps = lt_layout_stepped(&l, k, fade);
                const lt_range final = lt_layout_final(&l, k, fade);
                assert_int_equal(steps.first, l.own[k].first - (k > 0 ? fade : 0));
                assert_int_equal(end_of(steps), end_of(l.own[k]));
                assert_int_equal(final.first, end);
                assert_true(end_of(final) <= end_of(steps));
                assert_int_equal(end_of(steps) - end_of(final), k + 1 < l.count ? fade : 0);
                end = end_of(final);
            }
            assert_int_equal(end, T);
            lt_layout_free(&l);
        }
}

/* Frames of latents at an overlap's end; the overlap's first latent stays context. */
static void fades_in_frames(void **state)
{
    (void)state;
    static const struct {
        const lt_grid *grid;
        int64_t overlap, frames, latents;
    } cases[] = {{&h3, 12, 0, 0},   {&h3, 12, 3, 0},    {&h3, 12, 4, 1},    {&h3, 12, 5, 2},
                 {&h3, 12, 17, 5},  {&h3, 12, 33, 9},   {&h3, 12, 34, 10},  {&h3, 12, 38, 11},
                 {&h3, 27, 85, 25}, {&oracle, 8, 7, 7}, {&oracle, 0, 0, 0}, {&wan, 5, 8, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t latents = -1;
        assert_int_equal(lt_grid_fade(cases[i].grid, cases[i].overlap, cases[i].frames, &latents),
                         LT_OK);
        if (latents != cases[i].latents)
            fail_msg("case %zu: want %lld, found %lld", i, (long long)cases[i].latents,
                     (long long)latents);
    }
    int64_t latents = -1;
    assert_int_equal(lt_grid_fade(&h3, 12, 39, &latents), LT_EUSAGE);
    assert_non_null(strstr(lt_error_text(), "--fade 39: want fewer frames than the overlap's 39"));
    assert_int_equal(lt_grid_fade(&h3, 12, -1, &latents), LT_EUSAGE);
    lt_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fades_are_final_with_the_next_chunk),
                                       cmocka_unit_test(fades_in_frames)};
    return cmocka_run_group_tests_name("fade", tests, NULL, NULL);
}
