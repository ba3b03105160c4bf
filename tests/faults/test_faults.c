/* test_faults.c - a rank is killed, stopped, hangs, fails, differs; a user's signal.
 * Goal: whatever happens to one rank, all are gone within 10 s, and one line names host, rank, step
 * and collective; exit code 75, or what mpirun makes of it. A user's signal ends a denoising after
 * its present step. Method: mpirun on the real program and a tiny model; LONGTAKE_FAULT makes one
 * rank go wrong as it begins a step. Ranks: 2 and 3, each in turn. Needs: mpirun,
 * tests/parity/nano. */
#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

enum { LIMIT_S = 30 };
/* 10 s from the fault on, and what the start takes on a machine with more ranks than cores. */
static const double seconds_max = 10 + 10;

static char host[64];

static int setup(void **state)
{
    (void)scratch_setup(state);
    run_tell_sanitizers(2);
    run_tell_mpirun();
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    return 0;
}

/* The one error line, a copy; fails if there is none or more than one. */
static void error_line(const char *name, const char *err, char *line, size_t bytes)
{
    static const char head[] = "longtake: error: ";
    if (count_of(err, head) != 1)
        fail_msg("%s: want one error line, found %d: %s", name, count_of(err, head), err);
    const char *from = strstr(err, head);
    (void)snprintf(line, bytes, "%.*s", (int)strcspn(from, "\n"), from);
}

static const struct {
    const char *name, *fault, *ranks, *mesh;
    int code;
    const char *holds[5]; /* all of them, of `one|other` one; %s is the host */
} rows[] = {
    /* mpirun's own code is 128 + the signal's number */
    {"killed",
     "1:3:kill",
     "3",
     "ring=3",
     137,
     {"rank 1 on %s is lost (its process is gone)", "rank 0 on %s waits at step 3",
      "in ring_attention (ring, call ", "rank 1 was last heard of"}},
    /* the lowest survivor speaks, whoever it is */
    {"rank 0 killed",
     "0:3:kill",
     "3",
     "uly=3",
     137,
     {"rank 0 on %s is lost (its process is gone)", "rank 1 on %s waits at step 3",
      "in all_to_all_heads (uly, call "}},
    /* its process lives: only its silence tells */
    {"stopped",
     "1:3:stop",
     "3",
     "ring=3",
     75,
     {"rank 1 on %s is lost (silent for 5.", "rank 0 on %s waits at step 3",
      "in ring_attention (ring, call "}},
    /* its thread sends heartbeats: only that nothing moves tells. Its last operation is the step's
     * agreement, or the gather by which ranks tell each other of states */
    {"hangs",
     "1:3:hang",
     "2",
     "uly=2",
     75,
     {"no progress anywhere for ", "rank 0 on %s waits at step 3 in all_to_all_heads (uly, call ",
      "rank 1 on %s is at step 3 after agree (|rank 1 on %s is at step 3 after all_gather_host ("}},
    /* the others are inside a forward pass, to which the failed rank never came */
    {"fails alone",
     "1:3:error",
     "3",
     "uly=3",
     75,
     {"rank 1 on %s at step 3 after agree (|rank 1 on %s at step 3 after all_gather_host (",
      "device cpu on %s: a fault that LONGTAKE_FAULT asked for"}},
    /* found before the first collective of the work */
    {"another model",
     "1:0:model",
     "2",
     "tp=2",
     65,
     {"tests/parity/nano: want the same on all ranks, found another on rank 1 "}},
    {"another program",
     "1:0:program",
     "3",
     "tp=3",
     64,
     {"the program (version ", "want the same on all ranks, found another on rank 1 "}},
};

static void launch(const char **argv, const char *ranks, const char *mesh, const char *steps)
{
    static char film[600];
    (void)snprintf(film, sizeof film, "%s/film.mp4", s.folder);
    const char *const words[] = {"mpirun",      "--oversubscribe",
                                 "--bind-to",   "none",
                                 "-n",          ranks,
                                 LT_PROGRAM,    "render",
                                 "--model",     LT_SOURCE_DIR "/tests/parity/nano",
                                 "--size",      "96x64",
                                 "--frames",    "39",
                                 "--steps",     steps,
                                 "--mesh",      mesh,
                                 "--overwrite", "--prompt",
                                 "A ball.",     "-o",
                                 film,          NULL};
    memcpy(argv, words, sizeof words);
}

/* Does a line hold these words, or one of those between |? */
static int says(const char *line, const char *words)
{
    char want[256];
    size_t n = 0;
    for (const char *at = words;; at++) {
        if (*at == '|' || *at == '\0') {
            want[n] = '\0';
            if (strstr(line, want) != NULL)
                return 1;
            if (*at == '\0')
                return 0;
            n = 0;
            continue;
        }
        const int is_host = at[0] == '%' && at[1] == 's';
        const size_t take = is_host ? strlen(host) : 1;
        assert_true(n + take < sizeof want);
        memcpy(want + n, is_host ? host : at, take);
        n += take;
        at += is_host;
    }
}

/* Rank 0 lives and leaves at once: its last words are in the run's events too. */
static void want_event(const char *name, const char *words)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/film.run/events.ndjson", s.folder);
    char *text = run_text(path), *last = text != NULL ? strstr(text, "\"event\":\"error\"") : NULL;
    if (last == NULL || !says(last, words))
        fail_msg("%s: want an event with '%s', found %s", name, words,
                 text != NULL ? text : "none");
    free(text);
}

static void each_fault(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *argv[RUN_WORDS_MAX];
        char line[2048];
        launch(argv, rows[i].ranks, rows[i].mesh, "6");
        (void)setenv("LONGTAKE_FAULT", rows[i].fault, 1);
        run_result r = run_argv(&s, argv, LIMIT_S);
        (void)unsetenv("LONGTAKE_FAULT");
        error_line(rows[i].name, r.err, line, sizeof line);
        print_message("%s: %.1f s with the start, exit code %d: %s\n", rows[i].name, r.seconds,
                      r.code, line);
        if (r.code != rows[i].code)
            fail_msg("%s: want exit code %d, found %d", rows[i].name, rows[i].code, r.code);
        if (!(r.seconds <= seconds_max))
            fail_msg("%s: want an end within %.0f s, found %.1f", rows[i].name, seconds_max,
                     r.seconds);
        for (int k = 0; k < 5 && rows[i].holds[k] != NULL; k++) {
            if (!says(line, rows[i].holds[k]))
                fail_msg("%s: the line does not say '%s'", rows[i].name, rows[i].holds[k]);
            if (k == 0 && strncmp(rows[i].fault, "1:3:", 4) == 0 &&
                strcmp(rows[i].fault, "1:3:error") != 0)
                want_event(rows[i].name, rows[i].holds[k]);
        }
        run_free(&r);
    }
}

/* Open MPI 5's mpirun kills 0.2 s after it has passed a TERM on, whatever it is told (4's: 1 s, or
 * odls_base_sigkill_timeout): a step that takes longer is cut off there, its line with it. */
static int mpirun_is_hasty(void)
{
    run_result r = run_argv(&s, (const char *[]){"mpirun", "--version", NULL}, LIMIT_S);
    int major = 0;
    assert_int_equal(sscanf(strstr(r.out, "MPI) "), "MPI) %d", &major), 1);
    run_free(&r);
    return major >= 5;
}

/* A denoising of ten thousand steps is sent a signal as soon as it has made one. */
static void a_signal(int number, int code)
{
    const char *argv[RUN_WORDS_MAX];
    char out[600], err[600], events[600], line[2048];
    int status = 0;
    launch(argv, "2", "uly=2", "10000");
    (void)snprintf(out, sizeof out, "%s/.stdout", s.folder);
    (void)snprintf(err, sizeof err, "%s/.stderr", s.folder);
    (void)snprintf(events, sizeof events, "%s/film.run/events.ndjson", s.folder);
    (void)unlink(events);
    const double start = run_now();
    const pid_t pid = run_spawn(argv, out, err);
    for (int begun = 0; !begun && run_now() - start < LIMIT_S;) {
        char *text = run_text(events);
        begun = text != NULL && strstr(text, "\"stage\":\"denoise\",\"done\":2,") != NULL;
        free(text);
        (void)nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    const double sent = run_now();
    assert_int_equal(kill(pid, number), 0);
    pid_t gone = 0;
    while (gone == 0 && run_now() - sent < LIMIT_S) {
        gone = waitpid(pid, &status, WNOHANG);
        (void)nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    if (gone == 0)
        (void)kill(-pid, SIGKILL);
    char *said = run_text(err);
    assert_non_null(said);
    if (number == SIGTERM && mpirun_is_hasty() && strstr(said, "longtake: error: ") == NULL) {
        print_message("%s: %.1f s, exit code %d, cut off by mpirun\n", strsignal(number),
                      run_now() - sent, WEXITSTATUS(status));
        assert_true(run_now() - sent <= seconds_max);
        assert_int_equal(WEXITSTATUS(status), code);
        free(said);
        return;
    }
    error_line(strsignal(number), said, line, sizeof line);
    print_message("%s: %.1f s, exit code %d: %s\n", strsignal(number), run_now() - sent,
                  WEXITSTATUS(status), line);
    if (strstr(line, " after step ") == NULL || strstr(line, " of 9999: ") == NULL)
        fail_msg("%s: the line does not name the step", strsignal(number));
    assert_true(run_now() - sent <= seconds_max);
    if (WEXITSTATUS(status) != code)
        fail_msg("%s: want exit code %d, found %d", strsignal(number), code, WEXITSTATUS(status));
    free(said);
}

/* mpirun passes USR1 on, and takes TERM for itself: it ends the ranks and exits with 1. */
static void users_signals(void **state)
{
    (void)state;
    a_signal(SIGUSR1, 75);
    a_signal(SIGTERM, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_fault),
                                       cmocka_unit_test(users_signals)};
    return cmocka_run_group_tests_name("faults", tests, setup, scratch_teardown);
}
