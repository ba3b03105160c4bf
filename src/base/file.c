/* file.c - whole small files, exact reads, paths, free space. */
#include "base/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Linux gives at most 2^31 - 4096 bytes a call; smaller calls let a signal be seen in time. */
static const size_t io_bytes_max = (size_t)1 << 30;

lt_status lt_file_unopened(const char *path, int e)
{
    const int ours = e == EIO || e == ENFILE || e == EMFILE; /* the file itself may be there */
    LT_FAIL(e == ENOMEM ? LT_ENOMEM
            : ours      ? LT_EIO
                        : LT_ENOINPUT,
            "%s: cannot be opened: %s", path, strerror(e));
}

lt_status lt_file_pread_full(int fd, const char *path, void *to, size_t bytes, int64_t offset)
{
    assert(offset >= 0);
    size_t done = 0;
    while (done < bytes) {
        const size_t want = bytes - done < io_bytes_max ? bytes - done : io_bytes_max;
        const ssize_t got = pread(fd, (char *)to + done, want, (off_t)(offset + (int64_t)done));
        if (got > 0) {
            done += (size_t)got;
            continue;
        }
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            LT_FAIL(LT_EIO, "%s: reading %zu bytes at offset %lld: %s", path, bytes,
                    (long long)offset, strerror(errno));
        LT_FAIL(LT_EIO, "%s: wanted %zu bytes at offset %lld, found %zu: the file ends there", path,
                bytes, (long long)offset, done);
    }
    return LT_OK;
}

lt_status lt_file_write_full(int fd, const char *path, const void *data, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        const size_t want = bytes - done < io_bytes_max ? bytes - done : io_bytes_max;
        const ssize_t put = write(fd, (const char *)data + done, want);
        if (put > 0) {
            done += (size_t)put;
            continue;
        }
        if (put < 0 && errno == EINTR)
            continue;
        LT_FAIL(LT_EIO, "%s: writing: %zu of %zu bytes written: %s", path, done, bytes,
                put < 0 ? strerror(errno) : "nothing was taken");
    }
    return LT_OK;
}

/* The size that fstat gives is a first guess only: files of /proc say 0, and a file may grow. */
static lt_status read_all(int fd, const char *path, size_t bytes_max, char **out, size_t *bytes)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        LT_FAIL(LT_EIO, "%s: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode))
        LT_FAIL(LT_ENOINPUT, "%s: want a file, found a folder", path);
    if (S_ISREG(info.st_mode) && (uintmax_t)info.st_size > bytes_max)
        LT_FAIL(LT_EDATA, "%s: want at most %zu bytes, found %lld", path, bytes_max,
                (long long)info.st_size);
    size_t room = (S_ISREG(info.st_mode) && info.st_size > 0) ? (size_t)info.st_size + 1 : 4096;
    size_t done = 0;
    char *data = malloc(room + 1);
    while (data != NULL) {
        const ssize_t got = read(fd, data + done, room - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            free(data);
            LT_FAIL(errno == EBADF ? LT_ENOINPUT : LT_EIO, "%s: reading at offset %zu: %s", path,
                    done, strerror(errno)); /* EBADF: a stdin that came closed */
        }
        done += (size_t)got;
        if (done > bytes_max) {
            free(data);
            LT_FAIL(LT_EDATA, "%s: want at most %zu bytes, found more", path, bytes_max);
        }
        if (got == 0) {
            data[done] = '\0';
            *out = data;
            *bytes = done;
            return LT_OK;
        }
        if (done == room) {
            room *= 2;
            char *more = realloc(data, room + 1);
            if (more == NULL)
                free(data);
            data = more;
        }
    }
    LT_FAIL(LT_ENOMEM, "%s: no memory for %zu bytes", path, room);
}

lt_status lt_file_read_fd(int fd, const char *name, size_t bytes_max, char **out, size_t *bytes)
{
    *out = NULL;
    *bytes = 0;
    return read_all(fd, name, bytes_max, out, bytes);
}

lt_status lt_file_read(const char *path, size_t bytes_max, char **out, size_t *bytes)
{
    assert(bytes_max < SIZE_MAX / 4);
    *out = NULL;
    *bytes = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return lt_file_unopened(path, errno);
    const lt_status st = read_all(fd, path, bytes_max, out, bytes);
    (void)close(fd);
    if (st != LT_OK)
        return lt_error_trace(st, "lt_file_read", __FILE__, __LINE__);
    return LT_OK;
}

lt_status lt_file_read_regular(const char *path, size_t bytes_max, char **out, size_t *bytes)
{
    struct stat info;
    assert(bytes_max < SIZE_MAX / 4);
    *out = NULL;
    *bytes = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return lt_file_unopened(path, errno);
    lt_status st = LT_OK;
    if (fstat(fd, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
        LT_FAIL_GOTO(LT_ENOINPUT, st, done, "%s: want a regular file", path);
    st = read_all(fd, path, bytes_max, out, bytes);
done:
    (void)close(fd);
    if (st != LT_OK)
        return lt_error_trace(st, "lt_file_read_regular", __FILE__, __LINE__);
    return LT_OK;
}

lt_status lt_path_join(char *out, size_t bytes, const char *folder, const char *name)
{
    assert(out != NULL && bytes > 0);
    const size_t n = strlen(folder);
    const char *slash = (n > 0 && folder[n - 1] != '/') ? "/" : "";
    const int wanted = snprintf(out, bytes, "%s%s%s", folder, slash, name);
    if (wanted < 0 || (size_t)wanted >= bytes)
        LT_FAIL(LT_EUSAGE, "path %.120s...: want at most %zu bytes, found %d", folder, bytes - 1,
                wanted);
    return LT_OK;
}

lt_status lt_path_folder(char *out, size_t bytes, const char *path)
{
    assert(out != NULL && bytes > 1);
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') /* "a/b/" is b's folder a, as dirname(1) has it */
        n--;
    while (n > 0 && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    const char *from = n > 0 ? path : ".";
    n = n > 0 ? n : 1;
    if (n >= bytes)
        LT_FAIL(LT_EUSAGE, "path %.120s...: want at most %zu bytes, found %zu", path, bytes - 1, n);
    memcpy(out, from, n);
    out[n] = '\0';
    return LT_OK;
}

lt_status lt_dir_make(const char *path)
{
    if (mkdir(path, 0777) == 0)
        return LT_OK;
    const int e = errno;
    if (e == EEXIST && lt_file_is_dir(path))
        return LT_OK;
    LT_FAIL(LT_ECREATE, "%s: the folder cannot be made: %s", path, strerror(e));
}

static _Thread_local int unseen;

/* 1: there, 0: not there, -1: it cannot be looked at. */
static int look(const char *path, struct stat *out)
{
    if (stat(path, out) == 0)
        return 1;
    if (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG || errno == ELOOP)
        return 0;
    unseen = unseen != 0 ? unseen : errno;
    return -1;
}

int lt_file_exists(const char *path)
{
    struct stat info;
    return look(path, &info) != 0;
}

int lt_file_is_dir(const char *path)
{
    struct stat info;
    return look(path, &info) == 1 && S_ISDIR(info.st_mode);
}

int lt_file_unseen(void)
{
    const int was = unseen;
    unseen = 0;
    return was;
}

lt_status lt_file_bytes(const char *path, int64_t *out)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return lt_file_unopened(path, errno);
    if (!S_ISREG(info.st_mode))
        LT_FAIL(LT_ENOINPUT, "%s: want a regular file", path);
    *out = (int64_t)info.st_size;
    return LT_OK;
}

lt_status lt_disk_free_bytes(const char *path, int64_t *out)
{
    struct statvfs info;
    char folder[LT_PATH_BYTES];
    if (statvfs(path, &info) != 0) {
        LT_TRY(lt_path_folder(folder, sizeof folder, path));
        if (statvfs(folder, &info) != 0)
            LT_FAIL(LT_ENOINPUT, "%s: free space unknown: %s", folder, strerror(errno));
    }
    const uint64_t block = info.f_frsize;
    const uint64_t blocks = info.f_bavail;
    const int fits = block == 0 || blocks <= (uint64_t)INT64_MAX / block;
    *out = fits ? (int64_t)(blocks * block) : INT64_MAX;
    return LT_OK;
}
