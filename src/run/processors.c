/* processors.c - how many processors this process was given.
 * Sources: Documentation/admin-guide/cgroup-v2.rst (cpu.max) and Documentation/scheduler/
 * sched-bwc.rst (cpu.cfs_quota_us) of Linux; OpenMP 5.0, OMP_NUM_THREADS; sbatch(1).
 *
 * As for memory (base/memory.c) a limit may stand at any level of the path that /proc/self/cgroup
 * names, and in a container that path may lead nowhere below our mount: then its root counts. */
#include "run/processors.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { SMALL_FILE_BYTES = 1 << 16 };

static int64_t smaller(int64_t a, int64_t b)
{
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    return a < b ? a : b;
}

/* A small file's text, "" if there is none. */
static void text_of(const char *folder, const char *name, char *out, size_t bytes)
{
    char path[LT_PATH_BYTES];
    const int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
    out[file != NULL ? fread(out, 1, bytes - 1, file) : 0] = '\0';
    if (file != NULL)
        (void)fclose(file);
}

/* What one group allows: "QUOTA PERIOD" of version 2, two files of version 1. */
static int64_t group_quota(const char *folder, int is_v2)
{
    char text[64], second[64];
    long long quota = -1, period = 0;
    text_of(folder, is_v2 ? "cpu.max" : "cpu.cfs_quota_us", text, sizeof text);
    if (!is_v2)
        text_of(folder, "cpu.cfs_period_us", second, sizeof second);
    const int read = is_v2 ? sscanf(text, "%lld %lld", &quota, &period)
                           : sscanf(text, "%lld", &quota) + sscanf(second, "%lld", &period);
    if (read != 2 || quota <= 0 || period <= 0 || quota > INT64_MAX / 1000)
        return -1;
    return (int64_t)(quota * 1000 / period);
}

/* The group at mount/path and its parents; path begins with '/'. */
static int64_t path_quota(const char *mount, const char *path, int is_v2)
{
    char folder[LT_PATH_BYTES];
    int64_t least = -1;
    const size_t root = strlen(mount);
    const int n = snprintf(folder, sizeof folder, "%s%s", mount, path);
    if (n < 0 || (size_t)n >= sizeof folder)
        return -1;
    for (;;) {
        least = smaller(least, group_quota(folder, is_v2));
        char *slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < root)
            return least;
        *slash = '\0';
    }
}

/* line is "id:controllers:/path" of /proc/self/cgroup. */
static int64_t line_quota(const char *root, char *line)
{
    static const char *const v1[] = {"cpu", "cpu,cpuacct", "cpuacct,cpu"};
    char mount[LT_PATH_BYTES];
    int64_t least = -1;
    char *controllers = strchr(line, ':');
    char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    if (path == NULL || path[1] != '/' || strlen(root) > sizeof mount - 64)
        return -1;
    *path++ = '\0';
    controllers++;
    if (controllers[0] == '\0') { /* version 2, alone or beside version 1 */
        (void)snprintf(mount, sizeof mount, "%s/sys/fs/cgroup", root);
        least = path_quota(mount, path, 1);
        (void)snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/unified", root);
        return smaller(least, path_quota(mount, path, 1));
    }
    for (size_t i = 0; i < sizeof v1 / sizeof *v1; i++)
        if (strcmp(controllers, "cpu") == 0 || strcmp(controllers, "cpu,cpuacct") == 0 ||
            strcmp(controllers, "cpuacct,cpu") == 0) {
            (void)snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/%s", root, v1[i]);
            least = smaller(least, path_quota(mount, path, 0));
        }
    return least;
}

int64_t lt_processor_quota_under(const char *root)
{
    assert(root != NULL);
    char folder[LT_PATH_BYTES];
    int64_t least = -1;
    const int n = snprintf(folder, sizeof folder, "%s/proc/self", root);
    char *groups = n > 0 && (size_t)n < sizeof folder ? malloc(SMALL_FILE_BYTES) : NULL;
    if (groups == NULL)
        return -1;
    text_of(folder, "cgroup", groups, SMALL_FILE_BYTES);
    char *save = NULL;
    for (char *line = strtok_r(groups, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save))
        least = smaller(least, line_quota(root, line));
    free(groups);
    return least;
}

/* A whole number above 0, or the first of a list ("4,2": OpenMP's levels); -1: none. */
static int64_t count_of(const char *text)
{
    char *end = NULL;
    const long long value = text != NULL ? strtoll(text, &end, 10) : -1;
    return text != NULL && end != text && (*end == '\0' || *end == ',') && value > 0 ? value : -1;
}

int lt_processor_threads(int mine, int here, int64_t quota, const char *omp, const char *slurm,
                         const char **why)
{
    assert(mine >= 0 && here >= 1);
    const struct {
        int64_t count;
        const char *why;
    } limits[] = {{quota < 0 ? -1 : quota / 1000 / here, "the control group's CPU quota"},
                  {count_of(omp), "OMP_NUM_THREADS"},
                  {count_of(slurm), "SLURM_CPUS_PER_TASK"}};
    int64_t least = mine;
    *why = "its processors";
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (limits[i].count >= 0 && limits[i].count < least) {
            least = limits[i].count;
            *why = limits[i].why;
        }
    return least > 0 ? (int)least : 1;
}
