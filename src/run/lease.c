/* lease.c - a run folder and an output belong to one process until it ends.
 *
 * Why one of many wins. Within one folder of leases the highest epoch is never removed by anybody
 * but by renaming the folder, which only its living owner does. So who looked and saw E as the
 * highest, its owner ended, and then makes E + 1, has either the only E + 1 there will ever be, or
 * comes late: E + 1 was made, left behind and removed meanwhile, and then a higher one is there,
 * which the second look sees. And who made its lease in a folder that was renamed meanwhile sees
 * that the name stands for another folder now. */
#include "run/lease.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/new_file.h"
#include "base/owner.h"
#include "base/text.h"

enum { TRIES = 200, LEASE_BYTES_MAX = 4096, HELD_MAX = 16, EPOCH_DIGITS_MAX = 15, OVER_MAX = 256 };
static const struct timespec a_moment = {0, 2000000};

/* Leases that are held, for lt_new_file_abandon. */
static lt_lease *_Atomic held[HELD_MAX];
static atomic_long held_by; /* a child of fork has its parent's table, not its leases */

/* Owners of the run that is resumed: what they hold gives way. */
static struct {
    lt_owner owner[OVER_MAX];
    int count;
} over;

/* What is looked at: where, and how messages name it. */
typedef struct place {
    const char *option, *path; /* "--run", RUN */
    char home[LT_PATH_BYTES], folder[LT_PATH_BYTES];
    char name[LT_LEASE_NAME_BYTES];
    int passing, by_number; /* by_number: whoever holds it */
} place;

static lt_status place_run(const char *run, place *out)
{
    *out = (place){.option = "--run", .path = run, .name = "lease"};
    (void)snprintf(out->home, sizeof out->home, "%s", run);
    LT_TRY(lt_path_join(out->folder, sizeof out->folder, run, out->name));
    return LT_OK;
}

static lt_status place_output(const char *option, const char *path, place *out)
{
    const char *slash = strrchr(path, '/'), *last = slash != NULL ? slash + 1 : path;
    *out = (place){.option = option, .path = path, .passing = 1};
    LT_TRY(lt_path_folder(out->home, sizeof out->home, path));
    (void)snprintf(out->name, sizeof out->name, ".longtake-use-%016" PRIx64,
                   (uint64_t)XXH64(last, strlen(last), 0));
    LT_TRY(lt_path_join(out->folder, sizeof out->folder, out->home, out->name));
    return LT_OK;
}

/* ---- one look ---- */

/* The number of a lease's name; 0 if it is none. ended: it is a lease's second name. */
static int64_t epoch_of(const char *name, int *ended)
{
    const size_t digits = strspn(name, "0123456789");
    *ended = strcmp(name + digits, ".ended") == 0;
    if (digits < 6 || digits > EPOCH_DIGITS_MAX || (name[digits] != '\0' && !*ended))
        return 0;
    return strtoll(name, NULL, 10);
}

/* The highest epoch in an open folder, 0: none, -1: the folder cannot be read. */
static int64_t highest_in(int folder, int *ended)
{
    int64_t highest = 0;
    *ended = 0;
    const int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *all = again >= 0 ? fdopendir(again) : NULL;
    if (all == NULL) {
        if (again >= 0)
            (void)close(again);
        return -1;
    }
    errno = 0;
    for (const struct dirent *e = readdir(all); e != NULL; e = readdir(all)) {
        int is_end = 0;
        const int64_t epoch = epoch_of(e->d_name, &is_end);
        if (epoch > highest) {
            highest = epoch;
            *ended = is_end;
        } else if (epoch == highest && epoch > 0) {
            *ended |= is_end;
        }
    }
    if (errno != 0)
        highest = -1;
    (void)closedir(all);
    return highest;
}

static void lease_name(char out[LT_LEASE_NAME_BYTES], int64_t epoch, const char *end)
{
    (void)snprintf(out, LT_LEASE_NAME_BYTES, "%06" PRId64 "%s", epoch, end);
}

/* Who holds an epoch. Returns 0 if there is no such file any more, -1 if it cannot be read. */
static int read_owner(int folder, int64_t epoch, lt_owner *owner)
{
    char name[LT_LEASE_NAME_BYTES], text[LEASE_BYTES_MAX];
    const char *host = NULL, *boot = NULL;
    json_int_t space = 0, pid = 0, start = 0;
    struct stat info;
    lease_name(name, epoch, "");
    const int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    const ssize_t n =
        fstat(fd, &info) == 0 && S_ISREG(info.st_mode) ? read(fd, text, sizeof text) : -1;
    (void)close(fd);
    json_t *value = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
    const int whole =
        value != NULL && json_unpack(value, "{s:s, s:s, s:I, s:I, s:I}", "host", &host, "boot",
                                     &boot, "space", &space, "pid", &pid, "start", &start) == 0;
    memset(owner, 0, sizeof *owner);
    if (whole) {
        (void)snprintf(owner->host, sizeof owner->host, "%s", host);
        (void)snprintf(owner->boot, sizeof owner->boot, "%s", boot);
        owner->space = (uint64_t)space;
        owner->pid = (int64_t)pid;
        owner->start = (uint64_t)start;
    }
    json_decref(value);
    return whole ? 1 : -1;
}

static int is_same_owner(const lt_owner *a, const lt_owner *b)
{
    return a->pid == b->pid && a->start == b->start && a->space == b->space &&
           strcmp(a->host, b->host) == 0 && strcmp(a->boot, b->boot) == 0;
}

static int gives_way(const lt_owner *owner)
{
    for (int i = 0; i < over.count; i++)
        if (is_same_owner(&over.owner[i], owner))
            return 1;
    return 0;
}

/* Is the highest epoch held by no running process? *again: the folder changed meanwhile, look
 * anew. */
static lt_status look(const place *p, int folder, int64_t *highest, int *again)
{
    int ended = 0;
    lt_owner owner;
    *again = 0;
    *highest = highest_in(folder, &ended);
    if (*highest < 0)
        LT_FAIL(LT_ECREATE, "%s %s: who uses it cannot be read: %s", p->option, p->path,
                strerror(errno));
    if (*highest == 0 || ended || p->by_number)
        return LT_OK;
    const int found = read_owner(folder, *highest, &owner);
    if (found == 0) {
        *again = 1;
        return LT_OK;
    }
    const lt_owner_state state = found > 0 ? lt_owner_look(&owner) : LT_OWNER_UNKNOWN;
    if (state == LT_OWNER_GONE || (found > 0 && gives_way(&owner)))
        return LT_OK;
    if (state == LT_OWNER_RUNS) {
        lt_hint("another name lets both run; else wait for it, or end that process");
        LT_FAIL(LT_ECREATE, "%s %s: in use by process %" PRId64 " on %s", p->option, p->path,
                owner.pid, owner.host);
    }
    char file[LT_PATH_BYTES], name[LT_LEASE_NAME_BYTES], word[LT_PATH_BYTES];
    lease_name(name, *highest, "");
    LT_TRY(lt_path_join(file, sizeof file, p->folder, name));
    lt_hint("if that process has ended, `rm %s`", lt_text_quoted(file, word, sizeof word));
    if (found < 0)
        LT_FAIL(LT_ECREATE, "%s %s: in use: its lease cannot be read", p->option, p->path);
    LT_FAIL(LT_ECREATE,
            "%s %s: in use by process %" PRId64 " on %s, as far as can be told from here",
            p->option, p->path, owner.pid, owner.host);
}

static lt_status free_now(const place *p)
{
    int64_t highest = 0;
    int again = 1;
    for (int i = 0; i < TRIES && again; i++) {
        const int folder = open(p->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (folder < 0)
            return LT_OK; /* no owner was there, or taking it will show */
        const lt_status st = look(p, folder, &highest, &again);
        (void)close(folder);
        LT_TRY(st);
    }
    return LT_OK;
}

/* ---- taking ---- */

static int same_folder(int one, int other)
{
    struct stat a, b;
    return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

static char *owner_text(int64_t epoch)
{
    lt_owner me;
    lt_owner_me(&me);
    json_t *value =
        json_pack("{s:s, s:i, s:I, s:s, s:s, s:I, s:I, s:I}", "format", "longtake-lease", "version",
                  1, "epoch", (json_int_t)epoch, "host", me.host, "boot", me.boot, "space",
                  (json_int_t)me.space, "pid", (json_int_t)me.pid, "start", (json_int_t)me.start);
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    return text;
}

/* Make the lease of an epoch in an open folder. *again: another owner has it, or the folder is
 * gone.
 */
static lt_status make(const place *p, int folder, int64_t epoch, int *again)
{
    char path[LT_PATH_BYTES], name[LT_LEASE_NAME_BYTES];
    lt_new_file file;
    *again = 1;
    lease_name(name, epoch, "");
    LT_TRY(lt_path_join(path, sizeof path, p->folder, name));
    lt_status st = lt_new_file_open(path, &file);
    if (st == LT_OK && same_folder(folder, file.folder)) {
        char *text = owner_text(epoch);
        if (text == NULL)
            st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "%s: no memory", path);
        else
            st = lt_file_write_full(file.fd, path, text, strlen(text));
        free(text);
        *again = st == LT_OK;
        if (st == LT_OK)
            st = lt_new_file_done(&file, LT_KEEP);
        if (st == LT_OK)
            *again = 0;
    }
    lt_new_file_drop(&file);
    if (!*again && st != LT_OK) {
        char text[512];
        (void)snprintf(text, sizeof text, "%s", lt_error_text());
        LT_FAIL(st, "%s %s: cannot be taken: %s", p->option, p->path, text);
    }
    return LT_OK;
}

/* Where a file system knows neither link nor RENAME_NOREPLACE, another may have been renamed over
 * it. */
static int is_mine(int folder, int64_t epoch)
{
    lt_owner me, owner;
    lt_owner_me(&me);
    return read_owner(folder, epoch, &owner) > 0 && owner.pid == me.pid &&
           owner.start == me.start && strcmp(owner.host, me.host) == 0;
}

/* After making it: is it the highest, in the folder that the name stands for? */
static int holds(const place *p, int folder, int64_t epoch)
{
    int ended = 0, yes = 0;
    const int now = open(p->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (now >= 0) {
        yes = same_folder(folder, now) && highest_in(folder, &ended) == epoch &&
              is_mine(folder, epoch);
        (void)close(now);
    }
    return yes;
}

/* Older leases have no meaning any more; what ended processes left unfinished goes too. */
static void remove_older(const place *p, int folder, int64_t epoch)
{
    const int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *all = again >= 0 ? fdopendir(again) : NULL;
    if (all == NULL) {
        if (again >= 0)
            (void)close(again);
        return;
    }
    for (const struct dirent *e = readdir(all); e != NULL; e = readdir(all)) {
        int ended = 0;
        const int64_t found = epoch_of(e->d_name, &ended);
        if (found > 0 && found < epoch)
            (void)unlinkat(folder, e->d_name, 0);
    }
    (void)closedir(all);
    lt_new_file_sweep(p->folder);
}

static void end_all(void)
{
    if (atomic_load(&held_by) != (long)getpid())
        return;
    for (int i = 0; i < HELD_MAX; i++) {
        lt_lease *lease = atomic_load(&held[i]);
        if (lease != NULL)
            lt_lease_end(lease);
    }
}

static void remember(lt_lease *lease)
{
    atomic_store(&held_by, (long)getpid());
    lt_new_file_at_abandon(end_all);
    for (int i = 0; i < HELD_MAX; i++) {
        lt_lease *none = NULL;
        if (atomic_compare_exchange_strong(&held[i], &none, lease))
            return;
    }
}

/* What owners left that were killed while they let go: folders whose name is never looked at. */
static void remove_last_names(const char *home)
{
    static const char prefix[] = ".longtake-end-";
    DIR *all = opendir(home);
    if (all == NULL)
        return;
    for (const struct dirent *e = readdir(all); e != NULL; e = readdir(all)) {
        if (strncmp(e->d_name, prefix, sizeof prefix - 1) != 0)
            continue;
        const int folder =
            openat(dirfd(all), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *inside = folder >= 0 ? fdopendir(folder) : NULL;
        int ended = 0;
        if (inside != NULL) {
            for (const struct dirent *i = readdir(inside); i != NULL; i = readdir(inside))
                if (epoch_of(i->d_name, &ended) > 0)
                    (void)unlinkat(folder, i->d_name, 0);
            (void)closedir(inside);
        } else if (folder >= 0) {
            (void)close(folder);
        }
        (void)unlinkat(dirfd(all), e->d_name, AT_REMOVEDIR);
    }
    (void)closedir(all);
}

static lt_status take_open(const place *p, int folder, lt_lease *out, int *again)
{
    int64_t highest = 0;
    LT_TRY(look(p, folder, &highest, again));
    if (*again)
        return LT_OK;
    LT_TRY(make(p, folder, highest + 1, again));
    if (*again)
        return LT_OK;
    lease_name(out->mine, highest + 1, "");
    lease_name(out->next, highest + 2, "");
    if (!holds(p, folder, highest + 1)) {
        (void)unlinkat(folder, out->mine, 0);
        if (p->by_number)
            LT_FAIL(LT_EUNAVAIL, "%s: a newer copy of this run came at the same time", p->path);
        *again = 1;
        return LT_OK;
    }
    out->epoch = highest + 1;
    if (p->passing)
        remove_older(p, folder, out->epoch);
    else
        lt_new_file_sweep(p->folder);
    return LT_OK;
}

static lt_status take(const place *p, lt_lease *out)
{
    int again = 1, error = 0;
    lt_status st = LT_OK;
    memset(out, 0, sizeof *out);
    const int home = open(p->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (home < 0)
        LT_FAIL(LT_ECREATE, "%s %s: %s: %s", p->option, p->path, p->home, strerror(errno));
    int folder = -1;
    for (int i = 0; i < TRIES && again && st == LT_OK; i++) {
        if (i > 0)
            (void)nanosleep(&a_moment, NULL);
        if (folder >= 0)
            (void)close(folder);
        error = mkdirat(home, p->name, 0775) != 0 && errno != EEXIST ? errno : 0;
        folder = openat(home, p->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (folder < 0) {
            error = error != 0 ? error : errno;
            if (error != ENOENT)
                break;
            continue;
        }
        lt_error_clear();
        st = take_open(p, folder, out, &again);
    }
    if (st == LT_OK && !again) {
        out->folder = folder;
        out->home = home;
        out->passing = p->passing;
        (void)snprintf(out->name, sizeof out->name, "%s", p->name);
        if (p->passing)
            (void)snprintf(out->ended, sizeof out->ended, ".longtake-end-%016" PRIx64,
                           (uint64_t)XXH64(out->mine, strlen(out->mine), (XXH64_hash_t)getpid()) ^
                               (uint64_t)time(NULL));
        else
            lease_name(out->ended, out->epoch, ".ended");
        out->held = 1;
        remember(out);
        lt_new_file_sweep(p->home);
        if (p->passing)
            remove_last_names(p->home);
        return LT_OK;
    }
    if (p->passing) /* nothing of it stays, unless a process is in it */
        (void)unlinkat(home, p->name, AT_REMOVEDIR);
    if (folder >= 0)
        (void)close(folder);
    (void)close(home);
    LT_TRY(st);
    if (lt_error_status() != LT_OK)
        return lt_error_trace(lt_error_status(), "lease", __FILE__, __LINE__);
    LT_FAIL(LT_ECREATE, "%s %s: cannot be taken: %s: %s", p->option, p->path, p->folder,
            error != 0 ? strerror(error) : "others come and go");
}

/* ---- the header's ---- */

lt_status lt_lease_run(const char *run, lt_lease *out)
{
    place p;
    LT_TRY(place_run(run, &p));
    return take(&p, out);
}

lt_status lt_lease_run_over(const char *run, lt_lease *out)
{
    place p;
    LT_TRY(place_run(run, &p));
    p.option = "--resume";
    p.by_number = 1;
    return take(&p, out);
}

lt_status lt_lease_output(const char *option, const char *path, lt_lease *out)
{
    place p;
    LT_TRY(place_output(option, path, &p));
    return take(&p, out);
}

lt_status lt_lease_run_free(const char *run)
{
    place p;
    LT_TRY(place_run(run, &p));
    return free_now(&p);
}

lt_status lt_lease_output_free(const char *option, const char *path)
{
    place p;
    LT_TRY(place_output(option, path, &p));
    return free_now(&p);
}

void lt_lease_give_way(const char *run)
{
    place p;
    int ended = 0;
    if (place_run(run, &p) != LT_OK) {
        lt_error_clear();
        return;
    }
    const int folder = open(p.folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return;
    over.count = 0;
    for (int64_t e = highest_in(folder, &ended); e > 0 && over.count < OVER_MAX; e--)
        over.count += read_owner(folder, e, &over.owner[over.count]) > 0;
    (void)close(folder);
}

lt_status lt_lease_look(const char *run, lt_lease_holder *out)
{
    place p;
    *out = (lt_lease_holder){.state = LT_OWNER_UNKNOWN};
    LT_TRY(place_run(run, &p));
    const int folder = open(p.folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0 && errno == ENOENT)
        return LT_OK;
    if (folder < 0)
        return lt_file_unopened(p.folder, errno);
    out->epoch = highest_in(folder, &out->ended);
    if (out->epoch > 0 && read_owner(folder, out->epoch, &out->owner) > 0)
        out->state = out->ended ? LT_OWNER_GONE : lt_owner_look(&out->owner);
    (void)close(folder);
    if (out->epoch < 0)
        LT_FAIL(LT_ENOINPUT, "%s: cannot be read", p.folder);
    return LT_OK;
}

/* NFS answers a look-up of a name that was not there from its cache, until it learns that the
 * folder has changed: so it is made to ask the server for the folder first, and for the name. */
lt_status lt_lease_ask(const lt_lease *lease)
{
    struct statx info;
    lt_owner owner;
    const int sync = AT_STATX_FORCE_SYNC | AT_SYMLINK_NOFOLLOW;
    assert(!lease->passing);
    if (!lease->held) /* the process leaves */
        return LT_OK;
    (void)statx(lease->folder, "", sync | AT_EMPTY_PATH, STATX_BASIC_STATS, &info);
    if (statx(lease->folder, lease->next, sync, STATX_TYPE, &info) != 0) {
        if (errno == ENOENT)
            return LT_OK;
        LT_FAIL(LT_EIO, "lease %s: who has the run cannot be asked: %s", lease->mine,
                strerror(errno));
    }
    if (read_owner(lease->folder, lease->epoch + 1, &owner) <= 0)
        LT_FAIL(LT_EUNAVAIL, "this copy of the run (epoch %" PRId64 ") ends: a newer one has it",
                lease->epoch);
    LT_FAIL(LT_EUNAVAIL,
            "this copy of the run (epoch %" PRId64 ") ends: process %" PRId64
            " on %s has resumed it",
            lease->epoch, owner.pid, owner.host);
}

int lt_lease_marks(const char *run)
{
    place p;
    lt_owner owner;
    int ended = 0;
    if (place_run(run, &p) != LT_OK)
        return 0;
    const int folder = open(p.folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return 0;
    const int64_t highest = highest_in(folder, &ended);
    const int ours = highest > 0 && read_owner(folder, highest, &owner) > 0;
    (void)close(folder);
    return ours;
}

/* Calls of the system alone: it may run in a signal handler. A taker that looked just now may have
 * a file of its own in the folder for a moment; hence the tries. */
void lt_lease_end(lt_lease *lease)
{
    enum { END_TRIES = 50 };
    struct stat newer;
    if (!lease->held)
        return;
    lease->held = 0;
    for (int i = 0; i < HELD_MAX; i++) {
        lt_lease *mine = lease;
        if (atomic_compare_exchange_strong(&held[i], &mine, NULL))
            break;
    }
    if (!lease->passing) {
        if (linkat(lease->folder, lease->mine, lease->folder, lease->ended, 0) != 0)
            (void)symlinkat(lease->mine, lease->folder, lease->ended);
    } else if (fstatat(lease->folder, lease->next, &newer, AT_SYMLINK_NOFOLLOW) == 0) {
        (void)unlinkat(lease->folder, lease->mine, 0); /* a newer copy of the run has it */
    } else if (renameat(lease->home, lease->name, lease->home, lease->ended) == 0) {
        (void)unlinkat(lease->folder, lease->mine, 0);
        for (int i = 0; i < END_TRIES; i++) {
            if (unlinkat(lease->home, lease->ended, AT_REMOVEDIR) == 0 || errno == ENOENT)
                break;
            (void)nanosleep(&a_moment, NULL);
        }
    }
    (void)close(lease->folder);
    (void)close(lease->home);
}
