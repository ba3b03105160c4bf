/* new_file.c - the one way to make a file.
 *
 *      open            write ...          done
 *   .longtake-new-X  ------------->  fdatasync, close, X gets the wanted name, fsync of the folder
 *
 * The order matters: without the first sync the name may point to an empty file after a power cut,
 * without the second the old name may still be there. Some network file systems refuse fsync on a
 * folder with EINVAL: that is not an error.
 *
 * "X gets the wanted name, unless something has it" has no call that all file systems know:
 * renameat2 with RENAME_NOREPLACE (local ones), link and unlink (NFS; not vfat), and where both are
 * refused, a look and a rename. Between these two another's file could be replaced; what is
 * owned (run/lease.h) cannot be ours. NFS may answer a link that it made with EEXIST, since its
 * first answer was lost: two names of our file say better. */
#include "base/new_file.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/owner.h"

enum { UNFINISHED_MAX = 64, TRIES = 8 };

/* Unfinished files, for lt_new_file_abandon. state: 0 free, 1 being filled in, 2 in use. */
static struct {
    atomic_int state;
    int folder;
    pid_t pid;
    char own[LT_NEW_FILE_OWN_BYTES];
} unfinished[UNFINISHED_MAX];
static void (*_Atomic also_abandon)(void);
static lt_status (*_Atomic guard)(void);

static int remember(int folder, const char *own)
{
    for (int i = 0; i < UNFINISHED_MAX; i++) {
        int free_slot = 0;
        if (!atomic_compare_exchange_strong(&unfinished[i].state, &free_slot, 1))
            continue;
        unfinished[i].folder = folder;
        unfinished[i].pid = getpid();
        (void)snprintf(unfinished[i].own, sizeof unfinished[i].own, "%s", own);
        atomic_store(&unfinished[i].state, 2);
        return i + 1;
    }
    return 0; /* more than anybody makes at a time: the next owner sweeps */
}

static void forget(lt_new_file *file)
{
    if (file->slot > 0)
        atomic_store(&unfinished[file->slot - 1].state, 0);
    file->slot = 0;
}

void lt_new_file_abandon(void)
{
    const pid_t me = getpid(); /* a child of fork has its parent's table, not its files */
    for (int i = 0; i < UNFINISHED_MAX; i++)
        if (atomic_load(&unfinished[i].state) == 2 && unfinished[i].pid == me)
            (void)unlinkat(unfinished[i].folder, unfinished[i].own, 0);
    void (*also)(void) = atomic_load(&also_abandon);
    if (also != NULL)
        also();
}

void lt_new_file_at_abandon(void (*also)(void)) { atomic_store(&also_abandon, also); }
void lt_new_file_guard(lt_status (*may)(void)) { atomic_store(&guard, may); }

lt_status lt_new_file_ask(void)
{
    lt_status (*may)(void) = atomic_load(&guard);
    return may != NULL ? may() : LT_OK;
}

static uint64_t unforeseen(void)
{
    uint64_t bits = 0;
    struct timespec now;
    if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) == (ssize_t)sizeof bits)
        return bits;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* a kernel without entropy yet: still its own */
    return (uint64_t)now.tv_nsec * 0x9e3779b97f4a7c15u ^ (uint64_t)now.tv_sec;
}

static void own_name(char out[LT_NEW_FILE_OWN_BYTES])
{
    static _Thread_local lt_owner me; /* asked once: it is several files of /proc */
    if (me.pid != (int64_t)getpid())
        lt_owner_me(&me);
    (void)snprintf(out, LT_NEW_FILE_OWN_BYTES,
                   LT_NEW_FILE_PREFIX "%08" PRIx32 "-%08" PRIx32 "-%" PRIx64 "-%" PRId64 "-%" PRIu64
                                      "-%016" PRIx64,
                   lt_owner_hash(me.host), lt_owner_hash(me.boot), me.space, me.pid, me.start,
                   unforeseen());
}

/* path's last part into name, its folder opened into *folder. */
static lt_status open_folder(const char *path, char name[LT_NAME_BYTES], int *folder)
{
    char text[LT_PATH_BYTES];
    const char *slash = strrchr(path, '/');
    const char *last = slash != NULL ? slash + 1 : path;
    const size_t n = strlen(last);
    if (n == 0 || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
        LT_FAIL(LT_ECREATE, "'%s': cannot be made: want a file's name, found %s", path,
                path[0] == '\0' ? "nothing" : "a folder's");
    if (strlen(path) >= LT_PATH_BYTES)
        LT_FAIL(LT_ECREATE, "%.200s...: cannot be made: the path is longer than %d bytes", path,
                LT_PATH_BYTES - 1);
    if (n >= LT_NAME_BYTES)
        LT_FAIL(LT_ECREATE, "%s: cannot be made: the name has %zu bytes, want at most %d", path, n,
                LT_NAME_BYTES - 1);
    memcpy(name, last, n + 1);
    LT_TRY(lt_path_folder(text, sizeof text, path));
    *folder = open(text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*folder < 0 && errno == EACCES) /* a drop box: to be written, not listed */
        *folder = open(text, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*folder < 0)
        LT_FAIL(LT_ECREATE, "%s: cannot be made: %s: %s", path, text, strerror(errno));
    return LT_OK;
}

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode)    ? "a folder"
           : S_ISFIFO(mode) ? "a pipe"
           : S_ISSOCK(mode) ? "a socket"
           : S_ISCHR(mode)  ? "a device"
           : S_ISBLK(mode)  ? "a device"
           : S_ISLNK(mode)  ? "a link"
                            : "a file";
}

/* What has the wanted name must be one that gives way. A link gives way itself, but one that stands
 * for a terminal or a pipe (/dev/stdout) is meant as that, and we write none. */
static lt_status may_take(int folder, const char *name, const char *shown, lt_replace replace)
{
    struct stat there, behind, home, dev;
    if (fstatat(folder, name, &there, AT_SYMLINK_NOFOLLOW) != 0)
        return LT_OK; /* nothing, or what the rename will tell */
    mode_t mode = there.st_mode;
    if (S_ISLNK(mode) && fstatat(folder, name, &behind, 0) == 0 && !S_ISREG(behind.st_mode) &&
        !S_ISDIR(behind.st_mode))
        mode = behind.st_mode;
    if (S_ISLNK(mode) && fstat(folder, &home) == 0 && stat("/dev", &dev) == 0 &&
        home.st_dev == dev.st_dev && home.st_ino == dev.st_ino)
        mode = S_IFCHR; /* /dev/stdout, sent to a file just now: root could replace the link */
    if (!S_ISREG(mode) && !S_ISLNK(mode))
        LT_FAIL(LT_ECREATE, "%s: cannot be made: want a file, found %s of that name", shown,
                kind_of(mode));
    if (replace == LT_REPLACE)
        return LT_OK;
    lt_hint("--overwrite replaces it; another name keeps both");
    LT_FAIL(LT_ECREATE, "%s: cannot be made: %s of that name is there", shown, kind_of(mode));
}

lt_status lt_new_file_open(const char *path, lt_new_file *out)
{
    struct stat there;
    memset(out, 0, sizeof *out);
    LT_TRY(open_folder(path, out->name, &out->folder));
    (void)snprintf(out->path, sizeof out->path, "%s", path);
    out->fd = -1;
    const lt_status st = may_take(out->folder, out->name, path, LT_REPLACE);
    if (st != LT_OK)
        (void)close(out->folder);
    LT_TRY(st);
    for (int i = 0; i < TRIES && out->fd < 0; i++) {
        own_name(out->own);
        out->fd =
            openat(out->folder, out->own, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (out->fd < 0 && errno != EEXIST)
            break;
    }
    int error = errno;
    if (out->fd >= 0 && fstat(out->fd, &there) == 0) {
        out->is_open = 1;
        out->slot = remember(out->folder, out->own);
        out->device = (uint64_t)there.st_dev;
        out->inode = (uint64_t)there.st_ino;
        /* A name that this file system does not take shows now, and not when the work is done. */
        if (fstatat(out->folder, out->name, &there, AT_SYMLINK_NOFOLLOW) == 0 || errno == ENOENT)
            return LT_OK;
        error = errno;
        lt_new_file_drop(out);
    } else {
        if (out->fd >= 0) {
            error = errno; /* fstat's */
            (void)close(out->fd);
            (void)unlinkat(out->folder, out->own, 0);
        }
        (void)close(out->folder);
    }
    LT_FAIL(LT_ECREATE, "%s: cannot be made: %s", path, strerror(error));
}

static int rename_if_free(int from_folder, const char *from, int to_folder, const char *to)
{
#if defined(SYS_renameat2)
    enum { NOREPLACE = 1 }; /* RENAME_NOREPLACE of linux/fs.h */
    if (syscall(SYS_renameat2, from_folder, from, to_folder, to, (unsigned)NOREPLACE) == 0)
        return 0;
    return errno;
#else
    (void)from_folder, (void)from, (void)to_folder, (void)to;
    return ENOSYS;
#endif
}

/* Returns 0 or errno's number. */
static int take_free_name(int from_folder, const char *from, int to_folder, const char *to)
{
    struct stat info;
    int error = rename_if_free(from_folder, from, to_folder, to);
    if (error == 0 || error == EEXIST || error == EXDEV)
        return error;
    if (linkat(from_folder, from, to_folder, to, 0) == 0 ||
        (fstatat(from_folder, from, &info, AT_SYMLINK_NOFOLLOW) == 0 && info.st_nlink == 2)) {
        (void)unlinkat(from_folder, from, 0);
        return 0;
    }
    error = errno;
    if (error == EEXIST)
        return error;
    if (fstatat(to_folder, to, &info, AT_SYMLINK_NOFOLLOW) == 0)
        return EEXIST;
    return renameat(from_folder, from, to_folder, to) == 0 ? 0 : errno;
}

static lt_status give_name(int from_folder, const char *from, int to_folder, const char *to,
                           const char *shown, lt_replace replace)
{
    LT_TRY(may_take(to_folder, to, shown, replace));
    LT_TRY(lt_new_file_ask());
    const int error = replace == LT_KEEP ? take_free_name(from_folder, from, to_folder, to)
                      : renameat(from_folder, from, to_folder, to) != 0 ? errno
                                                                        : 0;
    if (error == EEXIST) /* since the look above: another's, just now */
        LT_TRY(may_take(to_folder, to, shown, replace));
    if (error != 0)
        LT_FAIL(LT_ECREATE, "%s: cannot be made: %s", shown, strerror(error));
    return LT_OK;
}

lt_status lt_new_file_show(lt_new_file *file, lt_replace replace)
{
    assert(file->is_open && !file->shown);
    LT_TRY(give_name(file->folder, file->own, file->folder, file->name, file->path, replace));
    forget(file);
    file->shown = 1;
    return LT_OK;
}

lt_status lt_new_file_move(const char *from, const char *path, lt_replace replace)
{
    char from_name[LT_NAME_BYTES], name[LT_NAME_BYTES];
    int from_folder = -1, folder = -1;
    LT_TRY(open_folder(from, from_name, &from_folder));
    lt_status st = open_folder(path, name, &folder);
    if (st == LT_OK)
        st = give_name(from_folder, from_name, folder, name, path, replace);
    if (folder >= 0) {
        (void)fsync(folder);
        (void)close(folder);
    }
    (void)close(from_folder);
    return st;
}

/* Not an error: file systems and descriptors that know no sync. */
static int sync_failed(int error) { return error != EINVAL && error != ENOTSUP && error != EBADF; }

/* syncs: the disk is waited for. */
static lt_status finish(lt_new_file *file, lt_replace replace, int syncs)
{
    assert(file->is_open);
    lt_status st = LT_OK;
    if (syncs && fdatasync(file->fd) != 0 && sync_failed(errno))
        LT_FAIL_GOTO(LT_EIO, st, done, "%s: fdatasync: %s", file->path, strerror(errno));
    if (!file->shown)
        LT_TRY_GOTO(lt_new_file_show(file, replace), st, done);
    else
        LT_TRY_GOTO(lt_new_file_ask(), st, done);
    const int fd = file->fd;
    file->fd = -1;
    if (close(fd) != 0) /* NFS reports a full disk only here */
        LT_FAIL_GOTO(LT_EIO, st, done, "%s: close: %s", file->path, strerror(errno));
    if (syncs && fsync(file->folder) != 0 && sync_failed(errno))
        LT_FAIL_GOTO(LT_EIO, st, done, "%s: fsync of its folder: %s", file->path, strerror(errno));
    (void)close(file->folder);
    file->is_open = 0;
done:
    lt_new_file_drop(file);
    return st;
}

lt_status lt_new_file_done(lt_new_file *file, lt_replace replace)
{
    return finish(file, replace, 1);
}

lt_status lt_new_file_place(lt_new_file *file, lt_replace replace)
{
    return finish(file, replace, 0);
}

lt_status lt_new_file_sync(const char *path)
{
    const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return lt_file_unopened(path, errno);
    const int error = fsync(fd) != 0 && sync_failed(errno) ? errno : 0;
    (void)close(fd);
    if (error != 0)
        LT_FAIL(LT_EIO, "%s: fsync: %s", path, strerror(error));
    return LT_OK;
}

/* A shown file goes only if the name is still its own. */
static int is_mine(const lt_new_file *file)
{
    struct stat there;
    return fstatat(file->folder, file->name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           (uint64_t)there.st_dev == file->device && (uint64_t)there.st_ino == file->inode;
}

void lt_new_file_drop(lt_new_file *file)
{
    if (!file->is_open)
        return;
    const int saved = errno;
    if (!file->shown)
        (void)unlinkat(file->folder, file->own, 0);
    else if (is_mine(file))
        (void)unlinkat(file->folder, file->name, 0);
    forget(file);
    if (file->fd >= 0)
        (void)close(file->fd);
    (void)close(file->folder);
    file->is_open = 0;
    errno = saved;
}

lt_status lt_new_file_via(const lt_new_file *file, char *out, size_t bytes)
{
    char folder[LT_PATH_BYTES];
    struct stat there;
    assert(file->is_open);
    const int n = snprintf(out, bytes, "/proc/self/fd/%d", file->fd);
    if (n > 0 && (size_t)n < bytes && stat(out, &there) == 0 &&
        (uint64_t)there.st_dev == file->device && (uint64_t)there.st_ino == file->inode)
        return LT_OK;
    LT_TRY(lt_path_folder(folder, sizeof folder, file->path));
    LT_TRY(lt_path_join(out, bytes, folder, file->shown ? file->name : file->own));
    return LT_OK;
}

lt_status lt_new_file_scratch(const char *path, int *fd)
{
    lt_new_file file;
    *fd = -1;
    LT_TRY(lt_new_file_open(path, &file));
    *fd = file.fd;
    file.fd = -1; /* the caller's now; the name goes */
    lt_new_file_drop(&file);
    return LT_OK;
}

lt_status lt_own_file_append(const char *path, int *fd)
{
    struct stat file, folder;
    char name[LT_PATH_BYTES];
    LT_TRY(lt_path_folder(name, sizeof name, path));
    *fd = open(path, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (*fd < 0)
        LT_FAIL(LT_ECREATE, "%s: cannot be appended to: %s", path, strerror(errno));
    if (fstat(*fd, &file) == 0 && stat(name, &folder) == 0 && S_ISREG(file.st_mode) &&
        file.st_nlink == 1 && (file.st_uid == folder.st_uid || file.st_uid == geteuid()))
        return LT_OK;
    (void)close(*fd);
    *fd = -1;
    LT_FAIL(LT_ECREATE,
            "%s: cannot be appended to: want a file of its folder's owner with one name", path);
}

static lt_status write_file(const char *path, const void *data, size_t bytes, lt_replace replace,
                            int syncs)
{
    lt_new_file file;
    LT_TRY(lt_new_file_open(path, &file));
    lt_status st = lt_file_write_full(file.fd, path, data, bytes);
    if (st == LT_OK)
        st = finish(&file, replace, syncs);
    lt_new_file_drop(&file);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_new_file_write(const char *path, const void *data, size_t bytes, lt_replace replace)
{
    return write_file(path, data, bytes, replace, 1);
}

lt_status lt_new_file_put(const char *path, const void *data, size_t bytes, lt_replace replace)
{
    return write_file(path, data, bytes, replace, 0);
}

lt_status lt_new_file_try(const char *option, const char *path, lt_replace replace)
{
    lt_new_file file;
    char shown[LT_PATH_BYTES + 64];
    (void)snprintf(shown, sizeof shown, "%s %s", option, path);
    if (path[0] == '\0')
        LT_FAIL(LT_EUSAGE, "%s: want a name, found an empty one", option);
    lt_status st = lt_new_file_open(path, &file);
    if (st != LT_OK) {
        char text[1024];
        (void)snprintf(text, sizeof text, "%s %s", option, lt_error_text());
        LT_FAIL(st, "%s", text);
    }
    st = may_take(file.folder, file.name, shown, replace);
    lt_new_file_drop(&file);
    LT_TRY(st);
    return LT_OK;
}

/* Whose file is it, by its name? 0: no own name of ours. */
static int read_own_name(const char *name, uint32_t *host, uint32_t *boot, lt_owner *owner)
{
    uint64_t bits = 0;
    int end = 0;
    memset(owner, 0, sizeof *owner);
    return sscanf(name,
                  LT_NEW_FILE_PREFIX "%8" SCNx32 "-%8" SCNx32 "-%" SCNx64 "-%" SCNd64 "-%" SCNu64
                                     "-%16" SCNx64 "%n",
                  host, boot, &owner->space, &owner->pid, &owner->start, &bits, &end) == 6 &&
           name[end] == '\0';
}

void lt_new_file_sweep(const char *folder)
{
    uint32_t host = 0, boot = 0;
    lt_owner owner;
    DIR *all = opendir(folder);
    if (all == NULL)
        return;
    for (const struct dirent *e = readdir(all); e != NULL; e = readdir(all))
        if (read_own_name(e->d_name, &host, &boot, &owner) &&
            lt_owner_look_hashed(host, boot, &owner) == LT_OWNER_GONE)
            (void)unlinkat(dirfd(all), e->d_name, 0);
    (void)closedir(all);
}
