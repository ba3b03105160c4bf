/* test_resume.c - what a signal stopped goes on, on other ranks too, to the same bits.
 * Goal: TERM, USR1, INT and the run's own time limit, in each stage, to one rank, to all, to the
 * launcher: 75 within 10 s, a line and how to go on; `render --resume RUN` ends with the latents of
 * the undisturbed run, bit for bit (--deterministic), on 1 to 3 ranks; the manifest tells of every
 * start. A second signal ends at once. Method: as test_signals.c; LONGTAKE_FAULT holds a stage that
 * would be over too soon. Ranks: 1 to 3. Needs: mpirun, /proc, tests/parity/nano. */
#include <jansson.h>

#include "tests/support/film.h"
#include "tests/support/rank_process.h"
#include "tests/support/the_scratch.h"

#define STEPS "700"
enum { LIMIT_S = 100, WITHIN_S = 10 };
enum { TO_LAUNCHER = -1, TO_ALL = -2, TO_NOBODY = -3 };

static char film_path[600], run[600], events[700], out[600], err[600];
static latents whole;

typedef struct row {
    const char *name, *fault, *until;
    int ranks, to, number, again; /* again: a second signal 1.5 s later */
    int resumed_by;
    const char *says;
} row;

static const row rows[] = {
    {"TERM, text", "0:0:hang", "\"stage\":\"text\"", 1, 0, SIGTERM, 0, 2,
     "while the text is encoded"},
    {"USR1 to the launcher, loading", "1:-1:hang", "\"stage\":\"load\"", 2, TO_LAUNCHER, SIGUSR1, 0,
     1, "stopped by SIGUSR1 while "},
    {"TERM to all, a step", "", "\"stage\":\"denoise\",\"done\":20,", 2, TO_ALL, SIGTERM, 0, 3,
     "stopped by SIGTERM after step "},
    {"INT to one rank, a step", "", "\"stage\":\"denoise\",\"done\":20,", 2, 1, SIGINT, 0, 1,
     "stopped by SIGINT after step "},
    {"USR1 to the launcher, a step", "", "\"stage\":\"denoise\",\"done\":20,", 2, TO_LAUNCHER,
     SIGUSR1, 0, 2, "stopped by SIGUSR1 after step "},
    {"TERM twice, muxing", "0:-2:hang", "\"stage\":\"decode\"", 1, 0, SIGTERM, 1, 2,
     "the latents are kept"},
    {"the time limit, a step", "", "\"stage\":\"denoise\"", 1, TO_NOBODY, 0, 0, 2,
     "stopped by the time limit "},
};

static int words_of(const char **argv, int n, int has_limit)
{
    const char *const *words =
        RUN_WORDS(LT_PROGRAM, "render", "--model", LT_SOURCE_DIR "/tests/parity/nano", "--size",
                  "64x64", "--frames", "5", "--steps", STEPS, "--deterministic", "--overwrite",
                  "-q", "-p", "A ball.", "-o", film_path);
    for (; *words != NULL; words++)
        argv[n++] = *words;
    if (has_limit) {
        argv[n++] = "--time-limit";
        argv[n++] = "0.8";
    }
    argv[n] = NULL;
    return n;
}

static int setup(void **state)
{
    const char *argv[RUN_WORDS_MAX];
    (void)scratch_setup(state);
    (void)snprintf(film_path, sizeof film_path, "%s/film.mp4", s.folder);
    (void)snprintf(run, sizeof run, "%s/film.run", s.folder);
    (void)snprintf(events, sizeof events, "%s/film.run/events.ndjson", s.folder);
    (void)snprintf(out, sizeof out, "%s/.old-stdout", s.folder);
    (void)snprintf(err, sizeof err, "%s/.old-stderr", s.folder);
    (void)words_of(argv, 0, 0);
    run_result r = run_argv(&s, argv, RUN_LIMIT_S);
    if (r.code != 0)
        fail_msg("the undisturbed run: %d: %s", r.code, r.err);
    run_free(&r);
    latents_read(run, &whole);
    return 0;
}

static int teardown(void **state)
{
    latents_free(&whole);
    return scratch_teardown(state);
}

static void send(const row *r, pid_t pid)
{
    if (r->to == TO_LAUNCHER)
        assert_int_equal(kill(pid, r->number), 0);
    for (int k = 0; k < r->ranks; k++)
        if (r->to == TO_ALL || r->to == k) {
            const pid_t rank = run_rank_process(pid, r->ranks, k, film_path);
            assert_true(rank > 0);
            assert_int_equal(kill(rank, r->number), 0);
        }
}

/* Start it, stop it; what it said, and in *seconds how long it took from the signal on. */
static char *stop(const row *r, double *seconds, int *code)
{
    const char *argv[RUN_WORDS_MAX];
    const int n = run_launcher(r->ranks, argv);
    (void)words_of(argv, n, r->to == TO_NOBODY);
    (void)unlink(film_path);
    (void)unlink(events);
    if (r->fault[0] != '\0')
        (void)setenv("LONGTAKE_FAULT", r->fault, 1);
    const pid_t pid = run_spawn(argv, out, err);
    (void)unsetenv("LONGTAKE_FAULT");
    if (r->to != TO_NOBODY && !run_await(events, r->until, LIMIT_S))
        fail_msg("%s: it does not come to it: %s", r->name, run_text(err));
    const double sent = run_now();
    send(r, pid);
    if (r->again) {
        (void)nanosleep(&(struct timespec){1, 500000000}, NULL);
        send(r, pid);
    }
    *code = run_await_end(pid, LIMIT_S);
    *seconds = run_now() - sent;
    return run_text(err);
}

/* Of each start, in order: why it ended, and steps that follow each other. */
static void check_epochs(const char *name)
{
    char path[700];
    (void)snprintf(path, sizeof path, "%s/manifest.json", run);
    json_t *manifest = json_load_file(path, 0, NULL);
    const json_t *epochs = json_object_get(manifest, "epochs");
    const size_t n = json_array_size(epochs);
    assert_true(n == 2);
    const json_t *first = json_array_get(epochs, 0), *last = json_array_get(epochs, 1);
    const json_t *to = json_object_get(first, "to_step"),
                 *from = json_object_get(last, "from_step");
    if (json_integer_value(json_object_get(first, "epoch")) + 1 !=
        json_integer_value(json_object_get(last, "epoch")))
        fail_msg("%s: epochs do not follow each other", name);
    if (json_is_integer(from) && json_integer_value(from) > 0 &&
        json_integer_value(to) != json_integer_value(from))
        fail_msg("%s: to_step %lld, from_step %lld", name, (long long)json_integer_value(to),
                 (long long)json_integer_value(from));
    assert_string_equal(json_string_value(json_object_get(last, "ended")), "whole");
    json_decref(manifest);
}

static void stopped_and_resumed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *r = &rows[i];
        double seconds = 0;
        int code = 0;
        char *said = stop(r, &seconds, &code);
        if (count_of(said, "longtake: error: ") != 1 || strstr(said, r->says) == NULL ||
            strstr(said, "hint: `longtake render --resume ") == NULL)
            fail_msg("%s: want one error line with '%s' and how to go on, found: %s", r->name,
                     r->says, said);
        if (r->to != TO_LAUNCHER && code != 75) /* mpirun has its own codes for its own signals */
            fail_msg("%s: want exit code 75, found %d: %s", r->name, code, said);
        if (code < 0 || seconds > (r->again ? 8 : WITHIN_S))
            fail_msg("%s: ended %.1f s after the signal: %s", r->name, seconds, said);
        free(said);
        assert_false(run_exists(film_path));
        latents found;
        run_well(&s, r->resumed_by, RUN_WORDS("render", "-q", "--resume", run));
        latents_read(run, &found);
        const double differ = latents_differ(&whole, &found);
        if (!(differ == 0))
            fail_msg("%s: the latents differ by %g from the undisturbed run's", r->name, differ);
        latents_free(&found);
        assert_true(run_exists(film_path));
        check_epochs(r->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(stopped_and_resumed)};
    return cmocka_run_group_tests_name("resume", tests, setup, teardown);
}
