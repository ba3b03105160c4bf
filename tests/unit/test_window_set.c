/* test_window_set.c - the windows of one step, and who has them.
 * Goal: boxes cover the canvas; both streams of a window are the same moment; runs of groups are a
 * partition whose held ranges ascend; what one value everywhere says is fused to that value; a tile
 * copied out is the canvas's cells. Method: H3's grid with hand-made streams; windows alone and
 * tiles. Ranks: 1. Needs: nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/h3/h3.h"
#include "run/denoise/window_set.h"

enum { C = 2, H = 8, W = 12, LATENTS = 72, TICKS = 405 }; /* 243 frames */

static lt_plan plan_of(lt_mode mode, int64_t tile_rows, int64_t tile_columns)
{
    lt_plan plan = {.stream_count = 2, .grid = lt_family_h3.grid, .steps = 3};
    plan.stream[0] = (lt_stream){.ndim = 4, .time_axis = 1, .dim = {C, LATENTS, H, W}};
    plan.stream[1] = (lt_stream){.ndim = 3, .time_axis = 2, .is_audio = 1, .dim = {2, 3, TICKS}};
    plan.windowing = (lt_windowing){.mode = mode,
                                    .latents = LATENTS,
                                    .window = 27,
                                    .overlap = 12,
                                    .fuse = LT_FUSE_TRAPEZOID,
                                    .tile_rows = tile_rows,
                                    .tile_columns = tile_columns,
                                    .tile_overlap = 2,
                                    .tile_unit = 2};
    return plan;
}

static void one_moment_for_both_streams(void **state)
{
    (void)state;
    const lt_plan plan = plan_of(LT_MODE_WINDOWS, 0, 0);
    lt_window_set set;
    assert_int_equal(lt_window_set_new(&plan, 0, 2, &set), LT_OK);
    assert_int_equal(lt_window_set_count(&set), 4);
    assert_false(set.is_tiled);
    for (int64_t t = 0; t < 4; t++) {
        const lt_range video = lt_window_set_box(&set, 0, t).time;
        const lt_range audio = lt_window_set_box(&set, 1, t).time;
        const lt_range ticks = lt_grid_tick_range(plan.grid, video);
        assert_int_equal(audio.first, ticks.first);
        assert_int_equal(audio.count, ticks.count);
    }
    lt_window_set_free(&set);
}

static void runs_are_a_partition(void **state)
{
    (void)state;
    const lt_plan plan = plan_of(LT_MODE_REFINE, 4, 6);
    lt_window_set set;
    assert_int_equal(lt_window_set_new(&plan, 0, 2, &set), LT_OK);
    const int64_t tiles = lt_window_set_count(&set);
    assert_int_equal(tiles, 4 * 3 * 3); /* 4 of 8 rows, 2 shared: at 0, 2, 4; 6 of 12: 0, 4, 6 */
    for (int groups = 1; groups <= 40; groups++) {
        int64_t next = 0, first = 0, end = 0;
        for (int g = 0; g < groups; g++) {
            const lt_range run = lt_windowing_run(tiles, groups, g);
            const lt_range held = lt_window_set_held(&set, 0, run);
            assert_int_equal(run.first, next);
            next += run.count;
            for (int64_t t = run.first; t < next;
                 t++) /* tile k is group floor(k groups / tiles)'s */
                assert_int_equal(t * groups / tiles, g);
            if (run.count > 0) {
                assert_true(held.first >= first && held.first + held.count >= end);
                first = held.first;
                end = held.first + held.count;
            } else {
                assert_int_equal(held.count, 0);
            }
        }
        assert_int_equal(next, tiles);
        assert_int_equal(end, LATENTS);
    }
    lt_window_set_free(&set);
}

/* What every window says of a cell is the cell's own number: fused, and copied out, it stays. */
static void fusion_gives_back_what_all_say(void **state)
{
    (void)state;
    static float canvas[C * LATENTS * H * W], out[C * LATENTS * H * W], box_of[C * LATENTS * H * W];
    for (int i = 0; i < C * LATENTS * H * W; i++)
        canvas[i] = (float)i;
    for (int tiled = 0; tiled < 2; tiled++) {
        const lt_plan plan = plan_of(LT_MODE_REFINE, tiled ? 4 : 0, tiled ? 6 : 0);
        const lt_stream *video = &plan.stream[0];
        const lt_range all = {0, LATENTS};
        lt_window_set set;
        assert_int_equal(lt_window_set_new(&plan, 0, 2, &set), LT_OK);
        memset(out, 0x7f, sizeof out); /* it need not be cleared */
        for (int64_t t = 0; t < lt_window_set_count(&set); t++) {
            const lt_box box = lt_window_set_box(&set, 0, t);
            lt_box_copy(video, &box, canvas, all, box_of);
            const int64_t y = box.rows.first, x = box.columns.first, f = box.time.first;
            assert_true(tiled || (box.rows.count == H && box.columns.count == W));
            if (tiled)
                assert_true(box_of[0] == canvas[(f * H + y) * W + x]);
            lt_window_set_fuse(&set, 0, t, box.time, box_of, all, out);
        }
        for (int i = 0; i < C * LATENTS * H * W; i++)
            /* at most 4 x 3 x 3 products, each rounded, of values up to 13,824 */
            assert_true(fabsf(out[i] - canvas[i]) <= 0.01f);
        lt_window_set_free(&set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_moment_for_both_streams),
                                       cmocka_unit_test(runs_are_a_partition),
                                       cmocka_unit_test(fusion_gives_back_what_all_say)};
    return cmocka_run_group_tests_name("window_set", tests, NULL, NULL);
}
