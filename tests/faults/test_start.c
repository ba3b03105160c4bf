/* test_start.c - ranks that never come, launchers that MPI does not know, answers under mpirun.
 * Goal: a launch in which a process is no rank of ours ends by the start's limit in one line that
 * says who it is; tasks that MPI does not see are refused before anything is made; help, a wrong
 * verb and inspect speak once. Method: mpirun with several programs, variables as Slurm sets them.
 * Ranks: 1 and 2. Needs: mpirun, sleep, true, tests/parity/nano. */
#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

enum { LIMIT_S = 60 };

static int setup(void **state)
{
    (void)scratch_setup(state);
    run_tell_sanitizers(2);
    run_tell_mpirun();
    return 0;
}

static void want_one_line(const char *name, const run_result *r, int code, const char *holds)
{
    if (count_of(r->err, "longtake: error: ") != 1 || strstr(r->err, holds) == NULL)
        fail_msg("%s: want one error line with '%s', found: %s", name, holds, r->err);
    if (r->code != code)
        fail_msg("%s: want exit code %d, found %d", name, code, r->code);
    print_message("%s: %.1f s\n", name, r->seconds);
}

static int add(const char **argv, int n, const char *const *words)
{
    for (; *words != NULL; words++)
        argv[n++] = *words;
    argv[n] = NULL;
    return n;
}

static const char *film;
static int add_render(const char **argv, int n)
{
    static char path[600];
    (void)snprintf(path, sizeof path, "%s/film.mp4", s.folder);
    film = path;
    return add(argv, n,
               RUN_WORDS(LT_PROGRAM, "render", "--model", LT_SOURCE_DIR "/tests/parity/nano",
                         "--size", "64x64", "--frames", "5", "--steps", "2", "-p", "A ball.", "-o",
                         film));
}

/* One launch of one program, a shell that becomes what its rank is to be: mpirun of Open MPI 5.0.7
 * faults on two programs with ":" between them. $1 is the other program's rank, $2 its command. */
static const char becomes[] =
    "if [ \"$OMPI_COMM_WORLD_RANK\" = \"$1\" ]; then exec $2; fi; shift 2; exec \"$@\"";

static const struct {
    const char *name, *rank, *other, *holds;
} strangers[] = {
    {"sleeps in place of rank 1", "1", "sleep 1000", "rank 1 is another program (sleep, process "},
    {"sleeps in place of rank 0", "0", "sleep 1000", "rank 0 is another program (sleep, process "},
    {"ended at once", "1", "true", "rank 1 has ended"},
};

static void ranks_that_never_come(void **state)
{
    (void)state;
    (void)setenv("LONGTAKE_START_SECONDS", "2", 1);
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        const char *argv[RUN_WORDS_MAX];
        int n =
            add(argv, 0, RUN_WORDS("mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2"));
        n = add(argv, n, RUN_WORDS("sh", "-c", becomes, "sh", strangers[i].rank));
        n = add(argv, n, RUN_WORDS(strangers[i].other));
        (void)add_render(argv, n);
        run_result r = run_argv(&s, argv, LIMIT_S);
        want_one_line(strangers[i].name, &r, 75, strangers[i].holds);
        run_free(&r);
        assert_false(run_exists(film));
    }
    (void)unsetenv("LONGTAKE_START_SECONDS");
}

/* Two tasks of srun without MPI: both refuse, the first one says why. */
static void tasks_without_mpi(void **state)
{
    (void)state;
    (void)setenv("SLURM_JOB_ID", "7", 1);
    (void)setenv("SLURM_STEP_ID", "0", 1);
    (void)setenv("SLURM_NTASKS", "2", 1);
    for (int task = 0; task < 2; task++) {
        const char *argv[RUN_WORDS_MAX];
        (void)setenv("SLURM_PROCID", task == 0 ? "0" : "1", 1);
        (void)add_render(argv, 0);
        run_result r = run_argv(&s, argv, LIMIT_S);
        if (task == 0)
            want_one_line("srun, task 0", &r, 69,
                          "srun started 2 processes, and MPI sees 1: each would render");
        else
            assert_true(r.code == 69 && count_of(r.err, "longtake: error: ") == 0);
        run_free(&r);
        assert_false(run_exists(film));
    }
    (void)unsetenv("SLURM_JOB_ID");
    (void)unsetenv("SLURM_STEP_ID");
    (void)unsetenv("SLURM_NTASKS");
    (void)unsetenv("SLURM_PROCID");
}

static const struct {
    const char *words[3], *once;
    int code;
} answers[] = {
    {{"--help"}, "Usage: longtake VERB", 0},
    {{"render", "--help"}, "Usage: longtake render", 0},
    {{"--version"}, "longtake ", 0},
    {{"nonsense"}, "longtake: error: unknown verb", 64},
    {{"inspect", LT_SOURCE_DIR "/tests/parity/nano"}, "model folder, diffusers layout", 0},
    {{"inspect", "/not/there"}, "longtake: error: ", 66},
    {{"inspect", "--nonsense"}, "longtake: error: ", 64},
};

static void two_ranks_speak_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        const char *argv[RUN_WORDS_MAX];
        int n =
            add(argv, 0,
                RUN_WORDS("mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2", LT_PROGRAM));
        (void)add(argv, n, answers[i].words);
        run_result r = run_argv(&s, argv, LIMIT_S);
        const int said = count_of(r.out, answers[i].once) + count_of(r.err, answers[i].once);
        if (said != 1 || r.code != answers[i].code)
            fail_msg("%s: want it once and exit code %d, found %d times and %d: %s%s",
                     answers[i].words[0], answers[i].code, said, r.code, r.out, r.err);
        run_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ranks_that_never_come),
                                       cmocka_unit_test(tasks_without_mpi),
                                       cmocka_unit_test(two_ranks_speak_once)};
    return cmocka_run_group_tests_name("start", tests, setup, scratch_teardown);
}
