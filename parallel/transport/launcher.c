/* launcher.c - what started this process.
 *
 * Slurm's variables need care. A step (srun) has SLURM_STEP_ID and counts its tasks in
 * SLURM_STEP_NUM_TASKS; SLURM_NTASKS is the job's, also in the shell of sbatch or salloc, where one
 * process alone is right. The step ids from 2^32 - 16 on are Slurm's own (the batch script, the
 * shell of salloc). A task above 0 is never such a shell. */
#include "parallel/transport/launcher.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"

/* A whole number of a variable, or `otherwise`. */
static long long number_of(const char *name, long long otherwise)
{
    const char *text = lt_env(name);
    char *end = NULL;
    const long long value = text != NULL ? strtoll(text, &end, 10) : 0;
    return text != NULL && end != text && *end == '\0' && value >= 0 ? value : otherwise;
}

static int count_of(long long value) { return value > 0 && value < 1 << 24 ? (int)value : 0; }

static int is_slurm_task(void)
{
    static const long long own_ids = 0xfffffff0LL;
    const long long step = number_of("SLURM_STEP_ID", -1);
    return number_of("SLURM_PROCID", -1) > 0 || (step >= 0 && step < own_ids);
}

static int slurm_size(void)
{
    return count_of(number_of("SLURM_STEP_NUM_TASKS", number_of("SLURM_NTASKS", 0)));
}

lt_launcher lt_launcher_find(void)
{
    static const struct {
        const char *name, *size, *rank;
    } known[] = {
        {"mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"}, /* Open MPI */
        {"jsrun", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK"},      /* IBM */
        {"flux run", "FLUX_JOB_SIZE", "FLUX_TASK_RANK"},
        {"mpiexec", "PMI_SIZE", "PMI_RANK"}, /* MPICH, Intel MPI; srun --mpi=pmi2 */
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (lt_env(known[i].size) != NULL)
            return (lt_launcher){.name = is_slurm_task() && i == 3 ? "srun" : known[i].name,
                                 .rank = (int)number_of(known[i].rank, 0),
                                 .size = count_of(number_of(known[i].size, 0)),
                                 .has_mpi = 1};
    const int mpi = lt_env("PMIX_RANK") != NULL || lt_env("PMI_RANK") != NULL;
    const int slurm = is_slurm_task();
    if (!mpi && !slurm)
        return (lt_launcher){0};
    return (lt_launcher){
        .name = slurm ? "srun" : "the launcher",
        .rank = (int)number_of("PMIX_RANK", number_of("PMI_RANK", number_of("SLURM_PROCID", 0))),
        .size = slurm ? slurm_size() : 0,
        .has_mpi = mpi};
}

int lt_launcher_prints(void)
{
    const lt_launcher from = lt_launcher_find();
    return !from.has_mpi || from.rank == 0;
}

lt_status lt_launcher_check(int world_size)
{
    const lt_launcher from = lt_launcher_find();
    if (from.size <= world_size)
        return LT_OK;
    if (!from.has_mpi)
        lt_hint("`srun --mpi=pmix` lets MPI know of the tasks (`srun --mpi=list` shows what there "
                "is), or start one: srun -n 1");
    else
        lt_hint("use the launcher of the MPI that this program was built with (`longtake --version "
                "-v` names it)");
    LT_FAIL(LT_EUNAVAIL,
            "%s started %d processes, and MPI sees %d: each would render the whole film by itself",
            from.name, from.size, world_size);
}

/* ---- ranks that are not there ---- */

/* The file behind a link of /proc without its folder; "" if it cannot be read. */
static void program_of(const char *pid, char *out, size_t bytes)
{
    char link[64], path[512];
    assert(bytes <= INT_MAX);
    (void)snprintf(link, sizeof link, "/proc/%.20s/exe", pid);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    const char *name = strrchr(path, '/');
    (void)snprintf(out, bytes, "%.*s", (int)bytes - 1, name != NULL ? name + 1 : path);
    for (char *p = out; *p != '\0'; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
}

/* The first bytes of a file of /proc, with a NUL behind; their number. */
static size_t read_some(const char *pid, const char *file, char *out, size_t bytes)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%.20s/%s", pid, file);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t got = 0;
    for (ssize_t n = 1; fd >= 0 && n > 0 && got + 1 < bytes; got += n > 0 ? (size_t)n : 0)
        n = read(fd, out + got, bytes - 1 - got);
    if (fd >= 0)
        (void)close(fd);
    out[got] = '\0';
    return got;
}

static long parent_of(const char *pid)
{
    char text[512];
    long parent = -1;
    (void)read_some(pid, "stat", text, sizeof text);
    const char *behind = strrchr(text, ')'); /* the name before it may hold anything */
    return behind != NULL && sscanf(behind, ") %*c %ld", &parent) == 1 ? parent : -1;
}

/* The rank that a process was given, -1: none. */
static int rank_of(const char *pid)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK=", "PMIX_RANK=", "PMI_RANK="};
    static char text[1 << 17];
    const size_t bytes = read_some(pid, "environ", text, sizeof text);
    for (const char *p = text; p < text + bytes; p += strlen(p) + 1)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (strncmp(p, names[i], strlen(names[i])) == 0)
                return (int)strtol(p + strlen(names[i]), NULL, 10);
    return -1;
}

static void add(char *out, size_t bytes, const char *text)
{
    const size_t used = strlen(out);
    (void)snprintf(out + used, bytes - used, "%s%s", used > 0 ? ", " : "", text);
}

/* All ranks of the world if this host has them all and this process is the launcher's own child,
 * else 0. */
static long long ranks_here(void)
{
    static const char *const launchers[] = {"mpirun",  "mpiexec", "orterun", "orted",
                                            "prterun", "prte",    "prted"};
    char parent[24], name[64];
    (void)snprintf(parent, sizeof parent, "%ld", (long)getppid());
    program_of(parent, name, sizeof name);
    const long long size = number_of("OMPI_COMM_WORLD_SIZE", 0);
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++)
        if (strcmp(name, launchers[i]) == 0 && size == number_of("OMPI_COMM_WORLD_LOCAL_SIZE", -1))
            return size;
    return 0;
}

const char *lt_launcher_absent(char *out, size_t bytes)
{
    enum { RANKS_MAX = 1024, SAID_MAX = 3 };
    char mine[64], theirs[64], text[128];
    static char seen[RANKS_MAX];
    const long long here = ranks_here();
    int said = 0;
    DIR *all = opendir("/proc");
    out[0] = '\0';
    memset(seen, 0, sizeof seen);
    program_of("self", mine, sizeof mine);
    for (const struct dirent *e = all != NULL ? readdir(all) : NULL; e != NULL; e = readdir(all)) {
        if (!isdigit((unsigned char)e->d_name[0]) || parent_of(e->d_name) != (long)getppid())
            continue;
        const int rank = rank_of(e->d_name);
        if (rank < 0 || rank >= RANKS_MAX)
            continue;
        program_of(e->d_name, theirs, sizeof theirs);
        seen[rank] = theirs[0] != '\0'; /* a process that has ended has no program */
        if (theirs[0] == '\0' || strcmp(mine, theirs) == 0 || said++ >= SAID_MAX)
            continue;
        (void)snprintf(text, sizeof text, "rank %d is another program (%s, process %.20s)", rank,
                       theirs, e->d_name);
        add(out, bytes, text);
    }
    if (all != NULL)
        (void)closedir(all);
    for (int rank = 0; rank < here && rank < RANKS_MAX && said < SAID_MAX; rank++)
        if (!seen[rank]) {
            (void)snprintf(text, sizeof text, "rank %d has ended", rank);
            add(out, bytes, text);
            said++;
        }
    return out;
}
