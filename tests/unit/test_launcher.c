/* test_launcher.c - what started this process, by the environment alone.
 * Goal: each launcher's count and rank; a shell of Slurm's is no task; a count above the world's is
 * refused with both. Method: rows of variables, as the launchers set them. Ranks: 1. Needs:
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "parallel/transport/launcher.h"

enum { SET_MAX = 5 };

static const struct {
    const char *reason;
    const char *set[SET_MAX]; /* NAME=VALUE */
    const char *name;
    int rank, size, has_mpi, is_refused; /* in a world of one */
} rows[] = {
    {"by hand", {NULL}, NULL, 0, 0, 0, 0},
    {"Open MPI's mpirun, whose world MPI sees or not",
     {"OMPI_COMM_WORLD_SIZE=2", "OMPI_COMM_WORLD_RANK=1", "PMIX_RANK=1"},
     "mpirun",
     1,
     2,
     1,
     1},
    {"one process under mpirun",
     {"OMPI_COMM_WORLD_SIZE=1", "OMPI_COMM_WORLD_RANK=0"},
     "mpirun",
     0,
     1,
     1,
     0},
    {"MPICH's mpiexec", {"PMI_SIZE=4", "PMI_RANK=3"}, "mpiexec", 3, 4, 1, 1},
    {"srun without MPI: each would be alone",
     {"SLURM_STEP_ID=0", "SLURM_NTASKS=2", "SLURM_PROCID=1"},
     "srun",
     1,
     2,
     0,
     1},
    {"its first task too",
     {"SLURM_STEP_ID=0", "SLURM_NTASKS=2", "SLURM_PROCID=0"},
     "srun",
     0,
     2,
     0,
     1},
    {"the step's count, where the job's is larger",
     {"SLURM_STEP_ID=3", "SLURM_STEP_NUM_TASKS=1", "SLURM_NTASKS=8", "SLURM_PROCID=0"},
     "srun",
     0,
     1,
     0,
     0},
    {"srun --mpi=pmix",
     {"SLURM_STEP_ID=0", "SLURM_STEP_NUM_TASKS=2", "SLURM_PROCID=1", "PMIX_RANK=1"},
     "srun",
     1,
     2,
     1,
     1},
    {"the shell of a batch script, older Slurm",
     {"SLURM_NTASKS=2", "SLURM_PROCID=0"},
     NULL,
     0,
     0,
     0,
     0},
    {"the same, with a step of Slurm's own",
     {"SLURM_STEP_ID=4294967291", "SLURM_NTASKS=2", "SLURM_PROCID=0"},
     NULL,
     0,
     0,
     0,
     0},
    {"the shell of salloc, a step of Slurm's own",
     {"SLURM_STEP_ID=4294967290", "SLURM_STEP_NUM_TASKS=1", "SLURM_NTASKS=2", "SLURM_PROCID=0"},
     NULL,
     0,
     0,
     0,
     0},
    {"a task above 0 is no shell", {"SLURM_NTASKS=2", "SLURM_PROCID=1"}, "srun", 1, 2, 0, 1},
    {"an mpirun inside a Slurm step: one orted a node",
     {"SLURM_STEP_ID=0", "SLURM_STEP_NUM_TASKS=4", "SLURM_PROCID=2", "OMPI_COMM_WORLD_SIZE=1",
      "OMPI_COMM_WORLD_RANK=0"},
     "mpirun",
     0,
     1,
     1,
     0},
    {"counts that are none",
     {"SLURM_STEP_ID=0", "SLURM_NTASKS=two", "SLURM_PROCID=0"},
     "srun",
     0,
     0,
     0,
     0},
};

static void clear(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE",
                                        "OMPI_COMM_WORLD_RANK",
                                        "PMIX_RANK",
                                        "PMI_SIZE",
                                        "PMI_RANK",
                                        "JSM_NAMESPACE_SIZE",
                                        "FLUX_JOB_SIZE",
                                        "SLURM_STEP_ID",
                                        "SLURM_STEP_NUM_TASKS",
                                        "SLURM_NTASKS",
                                        "SLURM_PROCID"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)unsetenv(names[i]);
}

static void each_launcher(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        clear();
        for (int k = 0; k < SET_MAX && rows[i].set[k] != NULL; k++)
            (void)putenv((char *)(uintptr_t)rows[i].set[k]);
        const lt_launcher found = lt_launcher_find();
        if ((found.name == NULL) != (rows[i].name == NULL) ||
            (found.name != NULL && strcmp(found.name, rows[i].name) != 0) ||
            found.rank != rows[i].rank || found.size != rows[i].size ||
            found.has_mpi != rows[i].has_mpi)
            fail_msg("%s: found %s, rank %d of %d, MPI %d", rows[i].reason,
                     found.name != NULL ? found.name : "none", found.rank, found.size,
                     found.has_mpi);
        assert_int_equal(lt_launcher_prints(), !rows[i].has_mpi || rows[i].rank == 0);
        lt_error_clear();
        if ((lt_launcher_check(1) != LT_OK) != rows[i].is_refused)
            fail_msg("%s: want %s", rows[i].reason, rows[i].is_refused ? "a refusal" : "none");
        if (rows[i].is_refused) {
            assert_int_equal(lt_error_status(), LT_EUNAVAIL);
            assert_non_null(strstr(lt_error_text(), " processes, and MPI sees 1: "));
        }
        assert_int_equal(lt_launcher_check(rows[i].size), LT_OK);
    }
    clear();
    lt_error_clear();
}

/* Nobody was started beside a process that was started by hand. */
static void nobody_is_absent(void **state)
{
    char words[256] = "none";
    (void)state;
    clear();
    assert_string_equal(lt_launcher_absent(words, sizeof words), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_launcher),
                                       cmocka_unit_test(nobody_is_absent)};
    return cmocka_run_group_tests_name("launcher", tests, NULL, NULL);
}
