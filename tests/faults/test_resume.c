/* test_resume.c - what a signal stopped goes on, on other ranks too, to the same bits.
 * Goal: TERM, USR1 and INT in each stage, alone and on two ranks, to one rank, to all, to the
 * launcher, and the run's own time limit: 75 within 10 s, a line and how to go on; a second signal
 * ends at once; `render --resume RUN` ends with the latents of the undisturbed run, bit for bit
 * (--deterministic), on 1 to 3 ranks; the manifest tells of every start. Method: as test_signals.c;
 * LONGTAKE_FAULT holds a stage until the stop is asked for, or for ever. Ranks: 1 to 3. Needs:
 * mpirun, /proc, tests/parity/nano. */
#include <jansson.h>

#include "tests/support/film.h"
#include "tests/support/rank_process.h"
#include "tests/support/the_scratch.h"

#define STEPS "12"
enum { LIMIT_S = 100, WITHIN_S = 10 };
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LAUNCHER_WAITS_S "15" /* a process that looks for leaks takes seconds to end */
enum { LAUNCHER_WITHIN_S = 45 };
#else
#define LAUNCHER_WAITS_S "5"
enum { LAUNCHER_WITHIN_S = 20 };
#endif
enum { TO_LAUNCHER = -1, TO_ALL = -2, TO_NOBODY = -3 };

static char film_path[600], run[600], events[700], out[600], err[600], codes[600];
static latents whole;

typedef struct row {
    const char *name, *fault, *until;
    int ranks, to, number, again; /* again: a second signal 1.5 s later */
    int resumed_by;
    const char *says;
    double within_s; /* 0: WITHIN_S */
} row;

/* Each stage, held until it is asked to stop. */
static const struct {
    const char *name, *fault, *until, *says;
    int on_two; /* one of the signals on two ranks */
} stages[] = {
    {"text", "0:0:wait", "\"stage\":\"text\"", "while the text is encoded: what is whole is kept",
     1},
    {"load", "0:-1:wait", "\"stage\":\"load\"", "while weights are loaded: what is whole is kept",
     1},
    {"denoise", "0:5:wait", "\"stage\":\"denoise\",\"done\":4,",
     "after step 5 of 11: kept up to step 5", 0},
    {"store", "0:store:wait", "\"stage\":\"store\"",
     "while latents are stored: the latents are kept", 1},
    {"sound", "0:sound:wait", "\"stage\":\"decode\"", "while decoding: the latents are kept", 0},
    {"decode", "0:-2:wait", "\"stage\":\"decode\"", "while decoding: the latents are kept", 1},
    {"mux", "0:mux:wait", "\"stage\":\"decode\",\"done\":1,",
     "while decoding: the latents are kept", 1},
};
static const struct {
    int number;
    const char *says;
} signals[] = {{SIGTERM, "stopped by SIGTERM "},
               {SIGUSR1, "stopped by SIGUSR1 "},
               {SIGINT, "stopped by SIGINT "}};
enum { STAGES = sizeof stages / sizeof *stages, SIGNALS = sizeof signals / sizeof *signals };

static const row rows[] = {
    {"USR1 to the launcher, a step", "1:5:wait", "\"stage\":\"denoise\",\"done\":4,", 2,
     TO_LAUNCHER, SIGUSR1, 0, 2, "stopped by SIGUSR1 after step ", 0},
    {"TERM, and a stage that does not look", "0:-1:hang", "\"stage\":\"load\"", 2, 1, SIGTERM, 0, 1,
     "stopped by SIGTERM while weights are loaded", 12},
    {"TERM twice, such a stage", "0:0:hang", "\"stage\":\"text\"", 2, TO_ALL, SIGTERM, 1, 3,
     "stopped by SIGTERM while the text is encoded", 7},
    {"TERM twice, muxing", "0:mux:hang", "\"stage\":\"decode\"", 1, 0, SIGTERM, 1, 2,
     "the latents are kept", 7},
    {"the time limit, a step", "0:5:wait", "\"stage\":\"denoise\"", 1, TO_NOBODY, 0, 0, 2,
     "stopped by the time limit ", 0},
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
    (void)snprintf(codes, sizeof codes, "%s/codes", s.folder);
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

/* Start these words, stop them; what they said, and in *seconds how long it took from the signal.
 */
static char *stop_words(const row *r, const char *const *argv, double *seconds, int *code)
{
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

static char *stop(const row *r, double *seconds, int *code)
{
    const char *argv[RUN_WORDS_MAX];
    const int n = run_launcher(r->ranks, argv);
    (void)words_of(argv, n, r->to == TO_NOBODY);
    return stop_words(r, argv, seconds, code);
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

/* It ended as it should, and goes on to the bits of the undisturbed run. */
static void check_stop(const row *r, const char *said, double seconds, int code)
{
    char text[700];
    if (count_of(said, "longtake: error: ") != 1 || strstr(said, r->says) == NULL ||
        strstr(said, "hint: `longtake render --resume ") == NULL)
        fail_msg("%s: want one error line with '%s' and how to go on, found: %s", r->name, r->says,
                 said);
    if (r->to != TO_LAUNCHER && code != 75) /* mpirun has its own codes for its own signals */
        fail_msg("%s: want exit code 75, found %d: %s", r->name, code, said);
    if (code < 0 || seconds > (r->within_s > 0 ? r->within_s : WITHIN_S))
        fail_msg("%s: ended %.1f s after the signal: %s", r->name, seconds, said);
    assert_false(run_exists(film_path));
    (void)snprintf(text, sizeof text, "%s/cache/text.lt", run);
    if (r->to != TO_NOBODY && run_exists(text) != (strstr(r->says, "text") == NULL))
        fail_msg("%s: the text's rows are there: %d: %s", r->name, run_exists(text), said);
}

static void check_resumed(const row *r)
{
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

static void stop_and_resume(const row *r)
{
    double seconds = 0;
    int code = 0;
    char *said = stop(r, &seconds, &code);
    check_stop(r, said, seconds, code);
    free(said);
    check_resumed(r);
}

static void each_signal_in_each_stage(void **state)
{
    (void)state;
    for (int i = 0; i < STAGES * SIGNALS; i++) {
        const int stage = i / SIGNALS, number = i % SIGNALS;
        const int on_two = stages[stage].on_two && stage % SIGNALS == number;
        const int to = !on_two ? 0 : number == 0 ? TO_ALL : 1;
        char name[64], says[160];
        (void)snprintf(name, sizeof name, "%s, %s", signals[number].says, stages[stage].name);
        (void)snprintf(says, sizeof says, "%s%s", signals[number].says, stages[stage].says);
        const row r = {name,
                       stages[stage].fault,
                       stages[stage].until,
                       1 + on_two,
                       to,
                       signals[number].number,
                       0,
                       1,
                       says,
                       0};
        stop_and_resume(&r);
    }
}

static void stopped_and_resumed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        stop_and_resume(&rows[i]);
}

/* Open MPI 4's mpirun passes a TERM on after odls_base_sigkill_timeout, kills after as long again,
 * and has a code of its own; 15 s, as README has it, is 30 s in all. Each rank's own code is seen
 * by a shell, which gets the TERM too. */
static void term_to_the_launcher(void **state)
{
    (void)state;
    static const char script[] =
        "trap : TERM; \"$@\"; echo \"code $?\" >>\"$0\"; trap - TERM; exit 75";
    static const row r = {"TERM to mpirun",
                          "0:5:wait",
                          "\"stage\":\"denoise\",\"done\":4,",
                          2,
                          TO_LAUNCHER,
                          SIGTERM,
                          0,
                          2,
                          "stopped by SIGTERM after step 5 of 11: kept up to step 5",
                          LAUNCHER_WITHIN_S};
    const char *argv[RUN_WORDS_MAX];
    int n = run_launcher(r.ranks, argv);
    const char *const more[] = {
        "--mca", "odls_base_sigkill_timeout", LAUNCHER_WAITS_S, "sh", "-c", script, codes};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        argv[n++] = more[i];
    (void)words_of(argv, n, 0);
    double seconds = 0;
    int code = 0;
    char *said = stop_words(&r, argv, &seconds, &code);
    check_stop(&r, said, seconds, code);
    char *found = run_text(codes);
    assert_non_null(found);
    if (count_of(found, "code 75\n") != r.ranks || count_of(found, "code ") != r.ranks)
        fail_msg("want code 75 of %d ranks, found %s: %s", r.ranks, found, said);
    free(found);
    free(said);
    check_resumed(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_signal_in_each_stage),
                                       cmocka_unit_test(stopped_and_resumed),
                                       cmocka_unit_test(term_to_the_launcher)};
    return cmocka_run_group_tests_name("resume", tests, setup, teardown);
}
