/* test_plan_windowing.c - from options to windows.
 * Goal: `auto` takes one window as long as the model knows the length; defaults lie on the grid;
 * what is not on it, out of order, or of another mode is refused in words; frames become the
 * latents that hold them; the coarse canvas and tiles follow the model's own size. Method: the demo
 * model, opened without its weights, and the oracle. Ranks: 1. Needs: models/demo. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/oracle_family.h"
#include "run/plan_windowing.h"
#include "run/state/film_state.h"

static lt_model *demo;

static lt_job job_of(const char *mode)
{
    return (lt_job){.mode = mode, .overlap = -1, .fade = -1, .quiet = 1};
}

static lt_status make(const lt_job *job, lt_shape shape, lt_plan *plan)
{
    *plan = (lt_plan){.shape = shape, .frames = shape.frames, .steps = 3};
    LT_TRY(lt_plan_windows_asked(job, demo, plan));
    return lt_plan_streams(plan, demo);
}

static void auto_goes_by_length(void **state)
{
    (void)state;
    static const struct {
        int64_t frames;
        lt_mode mode;
        int64_t count;
    } cases[] = {{90, LT_MODE_SINGLE, 1},
                 {124, LT_MODE_SINGLE, 1},
                 {141, LT_MODE_WINDOWS, 2},
                 {243, LT_MODE_WINDOWS, 4},
                 {1450, LT_MODE_WINDOWS, 28}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_plan plan;
        int64_t count = 0;
        const lt_job job = job_of("auto");
        assert_int_equal(make(&job, (lt_shape){cases[i].frames, 128, 128}, &plan), LT_OK);
        assert_int_equal(plan.windowing.mode, cases[i].mode);
        assert_int_equal(lt_plan_windows(&plan, &count), LT_OK);
        assert_int_equal(count, cases[i].count);
    }
}

static void what_is_refused(void **state)
{
    (void)state;
    static const struct {
        lt_job job;
        const char *words;
    } cases[] = {
        {{.mode = "windows", .window = 91, .overlap = -1}, "--window 91: want 90 + 51 n frames"},
        {{.mode = "windows", .window = 90, .overlap = 40}, "--overlap 40: want 39 + 51 n frames"},
        {{.mode = "windows", .window = 90, .overlap = 90}, "--overlap 90: want 39 + 51 n frames"},
        {{.mode = "single", .overlap = -1, .anchors = "0"}, "--anchors: want --mode windows or"},
        {{.mode = "windows", .overlap = -1, .anchors = "5,5"}, "--anchors 5,5: want frames"},
        {{.mode = "windows", .overlap = -1, .anchors = "0,243"}, "--anchors 0,243: want frames"},
        {{.mode = "windows", .overlap = -1, .anchors = "x"}, "--anchors x: want frames"},
        {{.mode = "extend", .overlap = -1, .fade = 39}, "--fade 39: want fewer frames than"},
        {{.mode = "windows", .overlap = -1, .fade = 17}, "--fade: want --mode extend, found"},
        {{.mode = "extend", .overlap = -1, .refine_from = 0.5},
         "--refine-from: want --mode refine"},
        {{.mode = "refine", .overlap = -1, .tile = {48, 64}}, "--tile 48x64: want multiples of 32"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_plan plan;
        const lt_status st = make(&cases[i].job, (lt_shape){243, 128, 128}, &plan);
        if (st != LT_EUSAGE || strstr(lt_error_text(), cases[i].words) == NULL)
            fail_msg("want '%s', found %d '%s'", cases[i].words, st, lt_error_text());
    }
}

static void frames_become_latents(void **state)
{
    (void)state;
    lt_plan plan;
    lt_job job = job_of("windows");
    job.anchors = "0,1,17,100";
    assert_int_equal(make(&job, (lt_shape){243, 128, 128}, &plan), LT_OK);
    assert_int_equal(plan.windowing.window, 27);
    assert_int_equal(plan.windowing.overlap, 12);
    assert_int_equal(plan.windowing.anchors, 4);
    static const int64_t wanted[] = {0, 1, 5, 29}; /* 100 = 5 * 17 + 15: the fifth of its clip */
    for (int i = 0; i < 4; i++) {
        const int64_t latent = plan.windowing.anchor[i];
        assert_int_equal(latent, wanted[i]);
        assert_true(lt_grid_frames(plan.grid, latent) <= plan.asked.anchor[i]);
    }
}

/* The model's own, nothing, and what is asked. */
static void chunks_fade_and_keep_to_anchors(void **state)
{
    (void)state;
    static const struct {
        const char *anchors;
        int64_t fade;
        int latents, count;
    } cases[] = {{NULL, -1, 10, 3}, {"none", 0, 0, 0}, {"5", 17, 5, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_plan plan;
        lt_job job = job_of("extend");
        job.anchors = cases[i].anchors;
        job.fade = cases[i].fade;
        assert_int_equal(make(&job, (lt_shape){243, 128, 128}, &plan), LT_OK);
        assert_int_equal(plan.windowing.fade, cases[i].latents);
        assert_int_equal(plan.windowing.anchors, cases[i].count);
    }
    lt_plan plan;
    lt_job job = job_of("windows");
    assert_int_equal(make(&job, (lt_shape){243, 128, 128}, &plan), LT_OK);
    assert_int_equal(plan.windowing.fade, 0);
    assert_int_equal(plan.windowing.anchors, 0);
}

/* Steps that another fade made are another job's. */
static void a_fade_is_part_of_the_job(void **state)
{
    (void)state;
    static const int64_t fades[] = {34, 36, 17}; /* 36: the same whole latents as 34 */
    uint64_t hash[3] = {0};
    for (int i = 0; i < 3; i++) {
        lt_plan plan;
        json_t *chosen = NULL;
        char model[] = LT_SOURCE_DIR "/models/demo", empty[] = "";
        lt_job job = job_of("extend");
        job.fade = fades[i];
        assert_int_equal(make(&job, (lt_shape){243, 128, 128}, &plan), LT_OK);
        plan.model = model;
        plan.prompt = plan.output = plan.run = empty;
        assert_int_equal(lt_film_job(&plan, &hash[i], &chosen), LT_OK);
        assert_int_equal(json_integer_value(json_object_get(chosen, "fade")), i < 2 ? 34 : 17);
        json_decref(chosen);
    }
    assert_true(hash[0] == hash[1]);
    assert_true(hash[0] != hash[2]);
}

static void canvases_follow_the_model(void **state)
{
    (void)state;
    lt_plan plan, coarse;
    const lt_job job = {.refine_from = 0.5, .overlap = -1, .quiet = 1};
    assert_int_equal(make(&job, (lt_shape){90, 256, 128}, &plan), LT_OK); /* it knows 128x128 */
    assert_int_equal(plan.windowing.mode, LT_MODE_REFINE);
    assert_int_equal(plan.asked.coarse_width, 128);
    assert_int_equal(plan.asked.coarse_height, 64);
    assert_int_equal(plan.windowing.tile_rows, 4);
    assert_int_equal(plan.windowing.tile_columns, 8);
    assert_int_equal(plan.windowing.tile_overlap, 2);
    assert_int_equal(lt_plan_coarse(&plan, demo, &coarse), LT_OK);
    assert_int_equal(coarse.windowing.mode, LT_MODE_SINGLE);
    assert_int_equal(coarse.stream[0].dim[3], 8);
    assert_int_equal(coarse.stream[1].dim[2], plan.stream[1].dim[2]);
    const lt_job small = {.mode = "refine", .overlap = -1, .quiet = 1};
    assert_int_equal(make(&small, (lt_shape){90, 128, 64}, &plan), LT_OK);
    assert_int_equal(plan.asked.coarse_width, 64);
    assert_int_equal(plan.asked.coarse_height, 32);
}

int main(void)
{
    if (lt_model_open(LT_SOURCE_DIR "/models/demo", &demo) != LT_OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(auto_goes_by_length),
                                       cmocka_unit_test(what_is_refused),
                                       cmocka_unit_test(frames_become_latents),
                                       cmocka_unit_test(chunks_fade_and_keep_to_anchors),
                                       cmocka_unit_test(a_fade_is_part_of_the_job),
                                       cmocka_unit_test(canvases_follow_the_model)};
    const int failed = cmocka_run_group_tests_name("plan_windowing", tests, NULL, NULL);
    lt_model_close(&demo);
    return failed;
}
