/* test_rework.c - --rework: a film whose joins are over budget is made again, and the better kept.
 * Goal: the second film has a wider overlap and else the same job; the one that is kept is the
 * better by what the events say, and it lies under the name that was asked for, with its sheet;
 * RUN's events and manifest say so; a window without room, a film without joins are left alone; two
 * ranks do the same. Method: films of the demo model after one evaluation, whose joins are bad,
 * fused without a fade. Ranks: 1 and 2. Needs: models/demo, libx264. */
#include <jansson.h>
#include <math.h>
#include <sys/stat.h>

#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

#define JOB                                                                                        \
    "render", "-p", "A red ball bounces on a wooden floor.", "--mode", "windows", "--steps", "2",  \
        "--size", "64x64", "--seed", "1", "--fuse", "flat", "--rework"

static int is_there(const char *name)
{
    struct stat info;
    return stat(scratch_path(&s, name), &info) == 0;
}

static json_t *json_of(const char *name)
{
    json_t *value = json_load_file(scratch_path(&s, name), 0, NULL);
    if (value == NULL)
        fail_msg("%s: want JSON", name);
    return value;
}

/* The last event, which is of the rework. */
static json_t *event_of(const char *name)
{
    char *text = run_text(scratch_path(&s, name));
    assert_non_null(text);
    const char *at = strstr(text, "{\"event\":\"rework\"");
    if (at == NULL)
        fail_msg("%s: want an event 'rework'", name);
    assert_non_null(strstr(text, "{\"event\":\"end\""));
    assert_true(strstr(text, "{\"event\":\"end\"") < at);
    json_t *event = json_loads(at, JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(event);
    free(text);
    return event;
}

static double real(const json_t *of, const char *key)
{
    const json_t *value = json_object_get(of, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* The rule of cmd/rework.h. */
static int second_is_better(const json_t *event)
{
    const json_t *a = json_object_get(event, "before"), *b = json_object_get(event, "after");
    const double share_a = real(a, "outstanding_joins") / real(a, "places");
    const double share_b = real(b, "outstanding_joins") / real(b, "places");
    assert_true(share_a >= 0 && share_b >= 0);
    return fabs(share_a - share_b) > 1e-9 ? share_b < share_a
                                          : real(b, "step_ratio") < real(a, "step_ratio");
}

static int same_bytes(const char *a, const char *b)
{
    const char *const argv[] = {"cmp", "-s", a, b, NULL};
    run_result r = run_argv(&s, argv, RUN_LIMIT_S);
    const int same = r.code == 0;
    run_free(&r);
    return same;
}

static void check_kept(const char *stem, const char *answer)
{
    char name[64], path[512];
    (void)snprintf(name, sizeof name, "%s.run/events.ndjson", stem);
    json_t *event = event_of(name);
    const int second = strcmp(json_string_value(json_object_get(event, "kept")), "after") == 0;
    assert_int_equal(second, second_is_better(event));
    assert_int_equal(json_integer_value(json_object_get(event, "overlap")), 90);
    (void)snprintf(name, sizeof name, "%s.run/manifest.json", stem);
    json_t *manifest = json_of(name);
    const json_t *told = json_object_get(manifest, "rework");
    assert_true(json_equal(json_object_get(told, "kept"), json_object_get(event, "kept")));
    assert_true(fabs(real(json_object_get(told, "after"), "step_ratio") -
                     real(json_object_get(event, "after"), "step_ratio")) < 1e-6);
    (void)snprintf(path, sizeof path, "%s%s", scratch_path(&s, stem),
                   second ? ".rework.run" : ".run");
    assert_non_null(strstr(answer, path));
    char film[512], kept[600];
    (void)snprintf(film, sizeof film, "%s.mp4", scratch_path(&s, stem));
    (void)snprintf(kept, sizeof kept, "%s/out.mp4", path);
    assert_true(same_bytes(film, kept));
    json_decref(event);
    json_decref(manifest);
}

static void the_better_is_kept(void **state)
{
    (void)state;
    for (int ranks = 1; ranks <= 2; ranks++) {
        char stem[16], film[32], sheet[32];
        (void)snprintf(stem, sizeof stem, "r%d", ranks);
        (void)snprintf(film, sizeof film, "%s.mp4", stem);
        (void)snprintf(sheet, sizeof sheet, "%s.png", stem);
        run_result r =
            run_longtake(&s, ranks,
                         RUN_WORDS(JOB, "--frames", "243", "--window", "141", "--mesh",
                                   ranks == 2 ? "win=2" : "win=1", "-q", "--json", "--sheet",
                                   scratch_path(&s, sheet), "-o", scratch_path(&s, film)));
        if (r.code != 0)
            fail_msg("%d ranks: exit code %d: %s", ranks, r.code, r.err);
        check_kept(stem, r.out);
        run_free(&r);
    }
    assert_true(is_there("r1.png") && !is_there("r1.rework.png") && !is_there("r1.rework.mp4"));
    json_t *first = json_of("r1.run/plan.json"), *second = json_of("r1.rework.run/plan.json");
    assert_int_equal(json_integer_value(json_object_get(first, "overlap")), 39);
    assert_int_equal(json_integer_value(json_object_get(second, "overlap")), 90);
    assert_true(json_equal(json_object_get(first, "seed"), json_object_get(second, "seed")));
    assert_true(json_equal(json_object_get(first, "prompt"), json_object_get(second, "prompt")));
    assert_string_equal(json_string_value(json_object_get(second, "fuse")), "flat");
    json_decref(first);
    json_decref(second);
    char *job = run_text(scratch_path(&s, "r1.rework.run/job.yaml"));
    assert_non_null(strstr(job, "overlap: 90\n"));
    assert_null(strstr(job, "rework: true"));
    free(job);
}

static void others_are_left_alone(void **state)
{
    (void)state;
    run_result r = run_longtake(
        &s, 1,
        RUN_WORDS(JOB, "--frames", "141", "--window", "90", "-o", scratch_path(&s, "w.mp4")));
    assert_int_equal(r.code, 0);
    if (strstr(r.err, "a window of 90 frames has no room for a wider overlap") == NULL)
        fail_msg("want to be told that there is no room, found %s", r.err);
    run_free(&r);
    assert_true(is_there("w.mp4") && !is_there("w.rework.run"));
    run_well(&s, 1,
             RUN_WORDS("render", "-p", "A red ball.", "--steps", "2", "--size", "64x64", "--frames",
                       "22", "--rework", "-q", "-o", scratch_path(&s, "s.mp4")));
    assert_true(is_there("s.mp4") && !is_there("s.rework.run"));
    /* A second film that cannot be made takes nothing from the first. */
    scratch_text(&s, "t.rework.run", "mine\n");
    r = run_longtake(
        &s, 1,
        RUN_WORDS(JOB, "--frames", "243", "--window", "141", "-o", scratch_path(&s, "t.mp4")));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.err, "--rework: the first film is kept: "));
    assert_true(is_there("t.mp4") && !is_there("t.rework.mp4"));
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_better_is_kept),
        cmocka_unit_test(others_are_left_alone),
    };
    return cmocka_run_group_tests_name("rework", tests, scratch_setup, scratch_teardown);
}
