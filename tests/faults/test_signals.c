/* test_signals.c - what asks a program to end: signals, limits, a rank that goes in decode.
 * Goal: in every stage, alone and on ranks, whichever rank gets it: exactly one error line, which
 * says what is kept, and exit code 75. Method: LONGTAKE_FAULT holds one rank in a stage; the signal
 * is sent once the run's events show that stage. Ranks: 1 and 2. Needs:
 * mpirun, /proc, tests/parity/nano. */
#include "tests/support/rank_process.h"
#include "tests/support/the_scratch.h"

enum { LIMIT_S = 60 };

static char film[600], events[600], out[600], err[600];

static int setup(void **state)
{
    (void)scratch_setup(state);
    run_tell_sanitizers(2);
    run_tell_mpirun();
    (void)snprintf(film, sizeof film, "%s/film.mp4", s.folder);
    (void)snprintf(events, sizeof events, "%s/film.run/events.ndjson", s.folder);
    (void)snprintf(out, sizeof out, "%s/.stdout", s.folder);
    (void)snprintf(err, sizeof err, "%s/.stderr", s.folder);
    return 0;
}

typedef struct row {
    const char *name, *fault; /* fault holds a rank where the events show `until` */
    int ranks, to, number;    /* to: the rank that gets the signal */
    const char *until, *holds, *hint;
    int code;
} row;

static const char kept[] = "what is whole is kept";
static const char resume[] = "hint: `longtake render --resume ";

static const row rows[] = {
    {"HUP, text", "0:0:wait", 1, 0, SIGHUP, "\"stage\":\"text\"", "stopped by SIGHUP while ", NULL,
     75},
    {"QUIT, text, at once", "0:0:hang", 1, 0, SIGQUIT, "\"stage\":\"text\"",
     "stopped by SIGQUIT while ", NULL, 75},
    {"USR2, text", "0:0:wait", 1, 0, SIGUSR2, "\"stage\":\"text\"", "stopped by SIGUSR2 while ",
     NULL, 75},
    {"XCPU, load", "0:-1:wait", 1, 0, SIGXCPU, "\"stage\":\"load\"",
     "stopped by SIGXCPU while weights are loaded: ", NULL, 75},
    {"TERM, steps", "", 1, 0, SIGTERM, "\"stage\":\"denoise\",\"done\":2,",
     "stopped by SIGTERM after step ", NULL, 75},
    {"XCPU, steps", "", 1, 0, SIGXCPU, "\"stage\":\"denoise\",\"done\":2,",
     "stopped by SIGXCPU after step ", NULL, 75},
    {"QUIT does not wait for the step", "0:3:hang", 1, 0, SIGQUIT,
     "\"stage\":\"denoise\",\"done\":2,", "stopped by SIGQUIT while it denoises: ", NULL, 75},
    {"TERM to rank 0, steps", "", 2, 0, SIGTERM, "\"stage\":\"denoise\",\"done\":2,",
     "stopped by SIGTERM after step ", NULL, 75},
    {"TERM to rank 1, steps", "", 2, 1, SIGTERM, "\"stage\":\"denoise\",\"done\":2,",
     "stopped by SIGTERM after step ", NULL, 75},
    {"rank 1 lost in decode", "1:-2:hang", 2, 1, SIGKILL, "\"stage\":\"decode\"", " stage decode",
     resume, 137},
};

/* Start it, wait until its events hold the row's words, send the signal, wait for its end. */
static int run_row(const row *r, const char *steps)
{
    const char *argv[RUN_WORDS_MAX];
    int n = run_launcher(r->ranks, argv), status = 0, begun = 0;
    const char *const *words = RUN_WORDS(
        LT_PROGRAM, "render", "--model", LT_SOURCE_DIR "/tests/parity/nano", "--size", "64x64",
        "--frames", "5", "--steps", steps, "--overwrite", "-p", "A ball.", "-o", film);
    for (; *words != NULL; words++)
        argv[n++] = *words;
    argv[n] = NULL;
    (void)unlink(events);
    if (r->fault[0] != '\0')
        (void)setenv("LONGTAKE_FAULT", r->fault, 1);
    const double start = run_now();
    const pid_t pid = run_spawn(argv, out, err);
    (void)unsetenv("LONGTAKE_FAULT");
    while (!begun && run_now() - start < LIMIT_S) {
        char *text = run_text(events);
        begun = text != NULL && strstr(text, r->until) != NULL;
        free(text);
        (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    const pid_t to = run_rank_process(pid, r->ranks, r->to, film);
    if (begun && to > 0)
        (void)kill(to, r->number);
    const double sent = run_now();
    pid_t gone = 0;
    while (gone == 0 && run_now() - sent < LIMIT_S) {
        gone = waitpid(pid, &status, WNOHANG);
        (void)nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    if (gone == 0)
        (void)kill(-pid, SIGKILL);
    if (!begun || to <= 0 || gone == 0)
        fail_msg("%s: begun %d, process %d, gone %d", r->name, begun, (int)to, (int)gone);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void one_line_in_every_stage(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int code = run_row(&rows[i], strstr(rows[i].until, "decode") ? "3" : "10000");
        char *said = run_text(err);
        assert_non_null(said);
        if (count_of(said, "longtake: error: ") != 1 || strstr(said, rows[i].holds) == NULL)
            fail_msg("%s: want one error line with '%s', found: %s", rows[i].name, rows[i].holds,
                     said);
        if (strstr(rows[i].holds, "while ") != NULL && strstr(said, kept) == NULL)
            fail_msg("%s: does not say what is kept: %s", rows[i].name, said);
        if (strstr(said, resume) == NULL)
            fail_msg("%s: does not say how to go on: %s", rows[i].name, said);
        if (rows[i].hint != NULL && strstr(said, rows[i].hint) == NULL)
            fail_msg("%s: want the hint '%s', found: %s", rows[i].name, rows[i].hint, said);
        if (code != rows[i].code)
            fail_msg("%s: want exit code %d, found %d: %s", rows[i].name, rows[i].code, code, said);
        if (rows[i].hint == NULL && run_exists(film))
            fail_msg("%s: there is a film: %s", rows[i].name, said);
        free(said);
    }
}

/* Limits of a shell: what is known not to fit is refused before work, what shows only later has a
 * line of the write's own, and the latents that are whole stay. 39 frames: 416 kB of audio; -f
 * counts 512 bytes. */
static const struct {
    const char *name, *limit;
    int code;
    const char *says, *hints;
    int keeps_latents;
} limits[] = {
    {"no file as long", "-f 80", 73, "ulimit -f: the job writes a file of", "", 0},
    {"the film is longer", "-f 840", 74, "too large", "hint: `longtake render --resume ", 1},
    {"too few files open", "-n 17", 69, "ulimit -n: want ", "", 0},
};

static void limits_of_a_shell(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        char run[600], latents[600], command[4096];
        (void)snprintf(run, sizeof run, "%s/limit%zu.run", s.folder, i);
        (void)snprintf(latents, sizeof latents, "%s/limit%zu.run/latents.h5", s.folder, i);
        (void)snprintf(command, sizeof command,
                       "ulimit %s; exec '%s' render --model '%s/tests/parity/nano' --size 96x64 "
                       "--frames 39 --steps 3 --codec ffv1 -p 'A ball.' -o '%s/limit%zu.mkv'",
                       limits[i].limit, LT_PROGRAM, LT_SOURCE_DIR, s.folder, i);
        run_result r = run_argv(&s, (const char *const[]){"sh", "-c", command, NULL}, 60);
        if (r.code != limits[i].code || count_of(r.err, "longtake: error: ") != 1 ||
            strstr(r.err, limits[i].says) == NULL || strstr(r.err, limits[i].hints) == NULL)
            fail_msg("%s: want exit code %d and \"%s\" in one line, found %d: %s", limits[i].name,
                     limits[i].code, limits[i].says, r.code, r.err);
        assert_int_equal(run_exists(latents), limits[i].keeps_latents);
        assert_int_equal(run_exists(run), limits[i].keeps_latents);
        run_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_line_in_every_stage),
                                       cmocka_unit_test(limits_of_a_shell)};
    return cmocka_run_group_tests_name("signals", tests, setup, scratch_teardown);
}
