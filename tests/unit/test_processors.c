/* test_processors.c - threads from processors, quotas and variables.
 * Goal: the smallest limit counts, at every level of either version of control groups; texts that
 * are no count are nothing. Method: a root folder with the files of Linux; rows of limits. Ranks:
 * 1. Needs: a folder in /tmp. */
#include "tests/support/scratch.h"

#include "run/processors.h"

static void quotas(void **state)
{
    (void)state;
    scratch s;
    static const char *const folders[] = {"proc",
                                          "proc/self",
                                          "sys",
                                          "sys/fs",
                                          "sys/fs/cgroup",
                                          "sys/fs/cgroup/job",
                                          "sys/fs/cgroup/job/step",
                                          "sys/fs/cgroup/cpu,cpuacct",
                                          "sys/fs/cgroup/cpu,cpuacct/slurm"};
    scratch_new(&s);
    assert_int_equal(lt_processor_quota_under(s.folder), -1); /* nothing says anything */
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        scratch_folder(&s, folders[i]);
    /* Version 2: the step has no quota, its job has, and so has the container. */
    scratch_text(&s, "proc/self/cgroup", "0::/job/step\n");
    scratch_text(&s, "sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
    assert_int_equal(lt_processor_quota_under(s.folder), -1);
    scratch_text(&s, "sys/fs/cgroup/job/cpu.max", "250000 100000\n");
    assert_int_equal(lt_processor_quota_under(s.folder), 2500);
    scratch_text(&s, "sys/fs/cgroup/cpu.max", "50000 100000\n");
    assert_int_equal(lt_processor_quota_under(s.folder), 500);
    /* The path is the host's and leads nowhere: the mount's root counts. */
    scratch_text(&s, "proc/self/cgroup", "0::/docker/abc\n");
    assert_int_equal(lt_processor_quota_under(s.folder), 500);
    /* Version 1, where -1 is none. */
    scratch_text(&s, "sys/fs/cgroup/cpu.max", "max 100000\n");
    scratch_text(&s, "proc/self/cgroup", "5:cpu,cpuacct:/slurm\n4:memory:/slurm\n");
    scratch_text(&s, "sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_quota_us", "-1\n");
    scratch_text(&s, "sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_period_us", "100000\n");
    assert_int_equal(lt_processor_quota_under(s.folder), -1);
    scratch_text(&s, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "400000\n");
    scratch_text(&s, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    assert_int_equal(lt_processor_quota_under(s.folder), 4000);
    scratch_text(&s, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "0\n");
    scratch_text(&s, "proc/self/cgroup", "garbage\n:::\n5:cpu,cpuacct:/slurm\n");
    assert_int_equal(lt_processor_quota_under(s.folder), -1);
    scratch_free(&s);
}

static const struct {
    const char *reason;
    int mine, here;
    int64_t quota;
    const char *omp, *slurm;
    int threads;
    const char *why;
} rows[] = {
    {"nothing but its share", 8, 2, -1, NULL, NULL, 8, "its processors"},
    {"no processor of its own", 0, 4, -1, NULL, NULL, 1, "its processors"},
    {"a container's quota", 8, 1, 2500, NULL, NULL, 2, "the control group's CPU quota"},
    {"half a processor", 8, 1, 500, NULL, NULL, 1, "the control group's CPU quota"},
    {"a quota that two ranks share", 8, 2, 4000, NULL, NULL, 2, "the control group's CPU quota"},
    {"a quota above the share", 2, 1, 16000, NULL, NULL, 2, "its processors"},
    {"the user's word", 8, 1, -1, "1", NULL, 1, "OMP_NUM_THREADS"},
    {"its first level", 8, 1, -1, "4,2", NULL, 4, "OMP_NUM_THREADS"},
    {"more than there is", 2, 1, -1, "64", "64", 2, "its processors"},
    {"Slurm's word", 8, 1, -1, NULL, "3", 3, "SLURM_CPUS_PER_TASK"},
    {"the least of all", 8, 1, 6000, "5", "3", 3, "SLURM_CPUS_PER_TASK"},
    {"no counts", 8, 1, -1, "many", "0", 8, "its processors"},
    {"nor these", 8, 1, -1, "", "-2", 8, "its processors"},
};

static void threads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *why = NULL;
        const int found = lt_processor_threads(rows[i].mine, rows[i].here, rows[i].quota,
                                               rows[i].omp, rows[i].slurm, &why);
        if (found != rows[i].threads || strcmp(why, rows[i].why) != 0)
            fail_msg("%s: want %d (%s), found %d (%s)", rows[i].reason, rows[i].threads,
                     rows[i].why, found, why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(quotas), cmocka_unit_test(threads)};
    return cmocka_run_group_tests_name("processors", tests, NULL, NULL);
}
