/* outputs.c - the files that a job names, and the room that they need. */
#include "run/outputs.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "run/plan_shots.h"

lt_status lt_outputs_add(lt_outputs *all, const char *option, const char *path, const char *suffix)
{
    if (path == NULL)
        return LT_OK;
    assert(all->count < LT_OUTPUTS_MAX);
    if (path[0] == '\0')
        LT_FAIL(LT_EUSAGE, "%s: want a file's name, found an empty one", option);
    const size_t n = strlen(path), m = suffix != NULL ? strlen(suffix) : 0;
    if (suffix != NULL && (n <= m || strcasecmp(path + n - m, suffix) != 0))
        LT_FAIL(LT_EUSAGE, "%s %s: want a name that ends in %s", option, path, suffix);
    all->at[all->count++] = (lt_output){.option = option, .path = path};
    return LT_OK;
}

/* ---- places ---- */

/* Where a name is: its folder, whatever that is called, and the last part of the name. */
typedef struct spot {
    dev_t device;
    ino_t inode;
    const char *last;
    size_t length;
} spot;

/* 0: the folder is not there. Slashes at the end do not count. */
static int spot_of(const char *path, spot *out)
{
    char folder[LT_PATH_BYTES];
    struct stat info;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    const char *end = path + n, *from = end;
    while (from > path && from[-1] != '/')
        from--;
    if (lt_path_folder(folder, sizeof folder, path) != LT_OK || stat(folder, &info) != 0)
        return 0;
    *out = (spot){info.st_dev, info.st_ino, from, (size_t)(end - from)};
    return 1;
}

static int same_spot(const char *one, const char *other)
{
    spot a, b;
    return spot_of(one, &a) && spot_of(other, &b) && a.device == b.device && a.inode == b.inode &&
           a.length == b.length && memcmp(a.last, b.last, a.length) == 0;
}

/* A folder that is a run in use: no other process puts anything there meanwhile. */
static lt_status check_folder(const lt_output *output)
{
    char folder[LT_PATH_BYTES];
    LT_TRY(lt_path_folder(folder, sizeof folder, output->path));
    if (!lt_file_is_dir(folder))
        LT_FAIL(LT_ECREATE, "%s %s: cannot be made: the folder %s is not there", output->option,
                output->path, folder);
    LT_TRY(lt_lease_run_free(folder));
    return LT_OK;
}

lt_status lt_outputs_check(const lt_outputs *all, const char *run)
{
    for (int i = 0; i < all->count; i++) {
        const lt_output *o = &all->at[i];
        for (int k = 0; k < i; k++)
            if (same_spot(o->path, all->at[k].path))
                LT_FAIL(LT_EUSAGE, "%s %s: names the same place as %s %s", o->option, o->path,
                        all->at[k].option, all->at[k].path);
        if (run != NULL && (strcmp(o->path, run) == 0 || same_spot(o->path, run)) &&
            !lt_file_is_dir(run))
            LT_FAIL(LT_EUSAGE, "--run %s: names the same place as %s %s", run, o->option, o->path);
        LT_TRY(check_folder(o));
        LT_TRY(lt_lease_output_free(o->option, o->path));
        LT_TRY(lt_new_file_try(o->option, o->path, all->replace));
    }
    return LT_OK;
}

lt_status lt_outputs_check_log(const lt_job *job)
{
    const struct {
        const char *option, *path;
    } others[] = {
        {"-o", job->output}, {"--sheet", job->sheet}, {"--wav", job->wav}, {"--out", job->out}};
    if (job->log == NULL)
        return LT_OK;
    if (job->log[0] == '\0')
        LT_FAIL(LT_EUSAGE, "--log: want a file's name, found an empty one");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].path != NULL && same_spot(job->log, others[i].path))
            LT_FAIL(LT_EUSAGE, "--log %s: names the same place as %s %s", job->log,
                    others[i].option, others[i].path);
    return LT_OK;
}

lt_status lt_outputs_take(lt_outputs *all)
{
    lt_status st = LT_OK;
    for (int i = 0; i < all->count && st == LT_OK; i++)
        st = lt_lease_output(all->at[i].option, all->at[i].path, &all->at[i].lease);
    /* Who owned it before may have finished it since the check. */
    for (int i = 0; i < all->count && st == LT_OK; i++)
        st = lt_new_file_try(all->at[i].option, all->at[i].path, all->replace);
    if (st != LT_OK)
        lt_outputs_end(all);
    return st;
}

void lt_outputs_end(lt_outputs *all)
{
    for (int i = 0; i < all->count; i++)
        lt_lease_end(&all->at[i].lease);
}

/* ---- room ---- */

enum { DISKS_MAX = LT_OUTPUTS_MAX + 1, SMALL_FILES_BYTES = 64 << 10 };

/* What goes to one file system. */
typedef struct disk {
    dev_t device;
    char folder[LT_PATH_BYTES];
    int64_t certain, estimated;
} disk;

typedef struct disks {
    disk at[DISKS_MAX];
    int count;
} disks;

static void add(disks *all, const char *path, int64_t certain, int64_t estimated)
{
    char folder[LT_PATH_BYTES];
    struct stat info;
    if (lt_path_folder(folder, sizeof folder, path) != LT_OK || stat(folder, &info) != 0) {
        lt_error_clear(); /* that was said already */
        return;
    }
    int i = 0;
    while (i < all->count && all->at[i].device != info.st_dev)
        i++;
    if (i == all->count) {
        assert(i < DISKS_MAX);
        all->count++;
        all->at[i].device = info.st_dev;
        memcpy(all->at[i].folder, folder, sizeof folder);
    }
    all->at[i].certain += certain;
    all->at[i].estimated += estimated;
}

static double film_bytes(const lt_plan *plan)
{
    const double pixels =
        (double)plan->frames * (double)plan->shape.width * (double)plan->shape.height;
    return pixels * lt_mux_pixel_bytes(plan->codec) + (double)plan->samples * 6;
}

static lt_status check_disk(const disk *d)
{
    int64_t free_bytes = 0;
    LT_TRY(lt_disk_free_bytes(d->folder, &free_bytes));
    const double mega = 1e6, wanted = (double)(d->certain + d->estimated);
    if (d->certain > free_bytes) {
        lt_hint("-o, --run, --wav and --sheet may lie on other disks");
        LT_FAIL(LT_ECREATE, "%s: no room: the job writes %.2f MB there, and %.2f MB are free",
                d->folder, (double)d->certain / mega, (double)free_bytes / mega);
    }
    if (wanted > (double)free_bytes)
        lt_warn("%s: the job may write %.2f MB there (an estimate), and %.2f MB are free",
                d->folder, wanted / mega, (double)free_bytes / mega);
    return LT_OK;
}

/* The longest files that the job writes: are they allowed? */
static lt_status check_file_limit(int64_t certain, int64_t estimated)
{
    struct rlimit limit;
    const double mega = 1e6;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return LT_OK;
    if ((rlim_t)certain > limit.rlim_cur)
        LT_FAIL(LT_ECREATE,
                "ulimit -f: the job writes a file of %.2f MB, and a file may have %.2f MB",
                (double)certain / mega, (double)limit.rlim_cur / mega);
    if ((rlim_t)estimated > limit.rlim_cur)
        lt_warn("ulimit -f: the film may have %.2f MB (an estimate), and a file may have %.2f MB",
                (double)estimated / mega, (double)limit.rlim_cur / mega);
    return LT_OK;
}

/* Tried, since it is not known what libraries and launcher hold open. */
static lt_status check_open_limit(int want)
{
    enum { WANT_MAX = 64 };
    int fd[WANT_MAX], n = 0;
    struct rlimit limit = {0};
    assert(want <= WANT_MAX);
    const int some = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (some < 0 && errno != EMFILE && errno != ENFILE)
        return LT_OK; /* for another reason than the limit */
    while (some >= 0 && n < want && (fd[n] = fcntl(some, F_DUPFD_CLOEXEC, 0)) >= 0)
        n++;
    for (int i = 0; i < n; i++)
        (void)close(fd[i]);
    if (some >= 0)
        (void)close(some);
    if (n < want && getrlimit(RLIMIT_NOFILE, &limit) == 0)
        LT_FAIL(LT_EUNAVAIL, "ulimit -n: want %d more files open at a time, found %d (of %llu)",
                want, n, (unsigned long long)limit.rlim_cur);
    return LT_OK;
}

/* latents.h5 and, where it comes in ranges, these as they lie beside it until it is whole
 * (store_hdf5_write.c): chunk by chunk, or from several groups of ranks. */
static int64_t latents_bytes(const lt_plan *plan)
{
    int ranges = plan->asked.mode == LT_MODE_EXTEND || plan->mesh.size[LT_AXIS_WIN] > 1;
    for (int i = 0; i < plan->board.shots; i++)
        ranges |= plan->board.shot[i].mode == LT_MODE_EXTEND;
    return (ranges ? 2 : 1) * lt_film_clip_bytes(plan);
}

lt_status lt_outputs_room(const lt_outputs *all, const lt_plan *plan, const char *run)
{
    enum { OPEN_FILES = 11, OPEN_FILES_AN_OUTPUT = 3 /* a lease's two, and the file */ };
    char inside[LT_PATH_BYTES];
    disks need = {.count = 0};
    const int64_t film = (int64_t)film_bytes(plan);
    const int64_t audio = plan->samples * 2 * (int64_t)sizeof(float);
    assert(all->count > 0);
    if (run != NULL) {
        LT_TRY(lt_path_join(inside, sizeof inside, run, "latents.h5"));
        const char *const at = lt_file_is_dir(run) ? inside : run;
        add(&need, at, audio + latents_bytes(plan) + SMALL_FILES_BYTES, film);
        add(&need, all->at[0].path, 0, film);
    } else {
        add(&need, all->at[0].path, audio, 2 * film); /* fragments, and the plain file of them */
    }
    for (int i = 1; i < all->count; i++) {
        const int is_wav = strcmp(all->at[i].option, "--wav") == 0;
        add(&need, all->at[i].path, is_wav ? plan->samples * 2 * 3 : 0, 0);
    }
    const int64_t latents = run != NULL ? lt_film_clip_bytes(plan) : 0;
    LT_TRY(check_open_limit(OPEN_FILES + OPEN_FILES_AN_OUTPUT * all->count));
    LT_TRY(check_file_limit(latents > audio ? latents : audio, film));
    for (int i = 0; i < need.count; i++)
        LT_TRY(check_disk(&need.at[i]));
    return LT_OK;
}
