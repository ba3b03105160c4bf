/* test_fence.c - of two copies of a run the newer one counts, wherever the older one stood.
 * Goal: a copy that was stopped (SIGSTOP) in any stage while another resumed the run, and wakes
 * when that one is done, leaves with 69 and one line, and latents.h5, film and plan are what the
 * newer one made, byte by byte and file by file. Method: LONGTAKE_FAULT stops rank 0 in a stage,
 * the test the other rank and wakes both. Ranks: 1 and 2. Needs: mpirun, /proc, tests/parity/nano.
 */
#include "tests/support/rank_process.h"
#include "tests/support/the_scratch.h"

enum { LIMIT_S = 100 };

static char film[600], run[600], events[700], out[600], err[600];

static int setup(void **state)
{
    (void)scratch_setup(state);
    (void)snprintf(film, sizeof film, "%s/film.mp4", s.folder);
    (void)snprintf(run, sizeof run, "%s/film.run", s.folder);
    (void)snprintf(events, sizeof events, "%s/film.run/events.ndjson", s.folder);
    (void)snprintf(out, sizeof out, "%s/.old-stdout", s.folder);
    (void)snprintf(err, sizeof err, "%s/.old-stderr", s.folder);
    return 0;
}

static const struct {
    const char *name, *fault, *until; /* until: what the events show by then */
    int ranks, newer;                 /* of the older copy, of the newer one */
} rows[] = {
    {"text", "0:0:stop", "\"stage\":\"text\"", 1, 1},
    {"loading", "0:-1:stop", "\"stage\":\"load\"", 1, 1},
    {"a step", "0:3:stop", "\"stage\":\"denoise\",\"done\":2,", 1, 1},
    {"muxing", "0:-2:stop", "\"stage\":\"decode\"", 1, 1},
    {"a step, two ranks, resumed by one", "0:3:stop", "\"stage\":\"denoise\",\"done\":2,", 2, 1},
    {"muxing, resumed by two ranks", "0:-2:stop", "\"stage\":\"decode\"", 1, 2},
};

/* Is it stopped? */
static int is_stopped(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    char *text = run_text(path);
    const char *at = text != NULL ? strrchr(text, ')') : NULL;
    const int stopped = at != NULL && at[1] == ' ' && at[2] == 'T';
    free(text);
    return stopped;
}

/* Name, inode, size and content of all that counts: nothing was touched, and nothing replaced by
 * the same. */
static char *state_of_all(void)
{
    char command[2000];
    (void)snprintf(
        command, sizeof command,
        "cd '%s' && for f in film.mp4 film.run/latents.h5 film.run/out.mp4 "
        "film.run/plan.json film.run/manifest.json film.run/job.yaml film.run/state/*; do "
        "[ -e \"$f\" ] && stat -c '%%n %%i %%s %%y' \"$f\" && cksum \"$f\"; done",
        s.folder);
    run_result r = run_argv(&s, (const char *const[]){"sh", "-c", command, NULL}, 60);
    char *text = strdup(r.out);
    run_free(&r);
    return text;
}

static pid_t start_older(size_t i)
{
    const char *argv[RUN_WORDS_MAX];
    int n = run_launcher(rows[i].ranks, argv);
    const char *const *words = RUN_WORDS(
        LT_PROGRAM, "render", "--model", LT_SOURCE_DIR "/tests/parity/nano", "--size", "64x64",
        "--frames", "5", "--steps", "6", "--overwrite", "-p", "A ball.", "-o", film);
    for (; *words != NULL; words++)
        argv[n++] = *words;
    argv[n] = NULL;
    (void)unlink(film); /* of the row before; the folder gives way to --overwrite */
    (void)unlink(events);
    (void)setenv("LONGTAKE_FAULT", rows[i].fault, 1);
    const pid_t pid = run_spawn(argv, out, err);
    (void)unsetenv("LONGTAKE_FAULT");
    return pid;
}

static void the_older_copy_leaves_with_69(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const pid_t older = start_older(i);
        pid_t rank[2] = {-1, -1};
        if (!run_await(events, rows[i].until, LIMIT_S))
            fail_msg("%s: the older copy does not come to it: %s", rows[i].name, run_text(err));
        for (int k = 0; k < rows[i].ranks; k++)
            rank[k] = run_rank_process(older, rows[i].ranks, k, film);
        for (int k = 0; k < 2000 && !is_stopped(rank[0]); k++)
            (void)nanosleep(&(struct timespec){0, 5000000}, NULL);
        assert_true(is_stopped(rank[0]));
        if (rank[1] > 0)
            assert_int_equal(kill(rank[1], SIGSTOP), 0);
        run_well(&s, rows[i].newer, RUN_WORDS("render", "-q", "--resume", run));
        char *made = state_of_all();
        assert_non_null(strstr(made, "film.run/latents.h5"));
        for (int k = 0; k < rows[i].ranks; k++)
            assert_int_equal(kill(rank[k], SIGCONT), 0);
        const int code = run_await_end(older, LIMIT_S);
        char *said = run_text(err), *left = state_of_all();
        if (code != 69 || count_of(said, "longtake: error: ") != 1 ||
            strstr(said, "has resumed it") == NULL)
            fail_msg("%s: want exit code 69 and one line, found %d: %s", rows[i].name, code, said);
        if (strcmp(made, left) != 0)
            fail_msg("%s: want\n%s\nas the newer copy left it, found\n%s", rows[i].name, made,
                     left);
        free(said);
        free(made);
        free(left);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_older_copy_leaves_with_69)};
    return cmocka_run_group_tests_name("fence", tests, setup, scratch_teardown);
}
