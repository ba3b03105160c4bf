/* test_run_status.c - `longtake status RUN` says where a run stands, from its folder alone.
 * Goal: of a run at work, a killed one, one that an owner on another host holds, a finished one:
 * state, stage, step, the newest commit and its age, the owner; what was cut or is not there yet is
 * null; no run folder is 66. Method: LONGTAKE_FAULT holds a render at a step; the rest by hand.
 * Ranks: 1. Needs: tests/parity/nano. */
#include <jansson.h>

#include "tests/support/rank_process.h"
#include "tests/support/the_scratch.h"

static json_t *status_of(const char *run)
{
    run_result r = run_longtake(&s, 1, RUN_WORDS("status", run, "--json"));
    if (r.code != 0)
        fail_msg("status: exit code %d: %s", r.code, r.err);
    json_t *status = json_loads(r.out, 0, NULL);
    assert_non_null(status);
    run_free(&r);
    return status;
}

static void want_text(const json_t *of, const char *key, const char *want)
{
    const char *found = json_string_value(json_object_get(of, key));
    if (found == NULL || strcmp(found, want) != 0)
        fail_msg("%s: want '%s', found '%s'", key, want, found != NULL ? found : "none");
}

static void want_state(const char *run, const char *state, const char *owner)
{
    json_t *status = status_of(run);
    want_text(status, "state", state);
    want_text(json_object_get(status, "owner"), "state", owner);
    json_decref(status);
}

static void from_its_start_to_its_end(void **state)
{
    (void)state;
    char film[600], run[600], events[700], path[700];
    (void)snprintf(film, sizeof film, "%s/a.mp4", s.folder);
    (void)snprintf(run, sizeof run, "%s/a.run", s.folder);
    (void)snprintf(events, sizeof events, "%s/events.ndjson", run);
    (void)snprintf(path, sizeof path, "%s/.err", s.folder);
    (void)setenv("LONGTAKE_FAULT", "0:5:hang", 1);
    const pid_t pid = run_spawn(
        RUN_WORDS(LT_PROGRAM, "render", "--model", LT_SOURCE_DIR "/tests/parity/nano", "--size",
                  "64x64", "--frames", "5", "--steps", "8", "-p", "A ball.", "-o", film),
        path, path);
    (void)unsetenv("LONGTAKE_FAULT");
    assert_true(run_await(events, "\"stage\":\"denoise\",\"done\":4,", 60));
    json_t *status = NULL;
    for (int i = 0; i < 200; i++) { /* its I/O thread goes on */
        json_decref(status);
        status = status_of(run);
        if (json_is_object(json_object_get(status, "commit")))
            break;
        (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    want_text(status, "state", "running");
    want_text(status, "stage", "denoise");
    assert_int_equal(json_integer_value(json_object_get(status, "done")), 4);
    assert_int_equal(json_integer_value(json_object_get(status, "total")), 7);
    assert_int_equal(json_integer_value(json_object_get(status, "epoch")), 1);
    const json_t *owner = json_object_get(status, "owner"),
                 *commit = json_object_get(status, "commit");
    assert_int_equal(json_integer_value(json_object_get(owner, "pid")), pid);
    want_text(owner, "state", "runs");
    const int64_t step = json_integer_value(json_object_get(commit, "step"));
    assert_true(step >= 1 && step <= 4);
    assert_true(json_real_value(json_object_get(commit, "age_seconds")) < 60);
    assert_true(json_is_false(json_object_get(status, "latents")));
    assert_true(json_is_null(json_object_get(status, "film")));
    json_decref(status);

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(run_await_end(pid, 30), 128 + SIGKILL);
    want_state(run, "stopped", "ended");
    run_result r = run_longtake(&s, 1, RUN_WORDS("status", run));
    assert_int_equal(r.code, 0);
    if (strstr(r.out, "denoise 4 of 7") == NULL ||
        strstr(r.out, "`longtake render --resume ") == NULL)
        fail_msg("want stage, step and how to go on, found: %s", r.out);
    run_free(&r);

    scratch_text(&s, "a.run/lease/000002",
                 "{\"host\": \"node17\", \"boot\": \"b\", \"space\": 1, \"pid\": 4711, "
                 "\"start\": 1}");
    want_state(run, "unknown", "unknown");

    FILE *f = fopen(events, "ab"); /* a writer that was killed in mid-line */
    assert_non_null(f);
    assert_true(fputs("{\"event\":\"st", f) >= 0);
    assert_int_equal(fclose(f), 0);
    run_well(&s, 1, RUN_WORDS("render", "-q", "--resume", run));
    status = status_of(run);
    want_text(status, "state", "finished");
    assert_int_equal(json_integer_value(json_object_get(status, "epoch")), 3);
    assert_true(json_is_true(json_object_get(status, "latents")));
    want_text(status, "film", film);
    json_decref(status);
}

static void what_is_no_run(void **state)
{
    (void)state;
    scratch_folder(&s, "empty");
    scratch_text(&s, "file", "x");
    static const char *const names[] = {"none", "empty", "file"};
    for (size_t i = 0; i < 3; i++) {
        run_result r =
            run_longtake(&s, 1, RUN_WORDS("status", "--json", scratch_path(&s, names[i])));
        assert_int_equal(r.code, 66);
        assert_int_equal(count_of(r.err, "longtake: error: "), 1);
        assert_non_null(strstr(r.out, "\"longtake-error\""));
        run_free(&r);
    }
    run_result r = run_longtake(&s, 1, RUN_WORDS("status"));
    assert_int_equal(r.code, 64);
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(from_its_start_to_its_end),
                                       cmocka_unit_test(what_is_no_run)};
    return cmocka_run_group_tests_name("run_status", tests, scratch_setup, scratch_teardown);
}
