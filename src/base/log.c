/* log.c - what a run says on stderr while it works.
 * A line is put together first and written by one call, so that the lines of several ranks on one
 * terminal, and of several threads, do not mix. */
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/new_file.h"
#include "base/record.h"
#include "base/text.h"

enum { LINE_BYTES = 2048, WARNED_MAX = 512 };

static atomic_int log_rank = 0, log_size = 1, log_level = 1;
static pthread_mutex_t warned_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t warned[WARNED_MAX];
static int warned_count;

void lt_log_open(int rank, int size, int level)
{
    assert(size >= 1 && rank >= 0 && rank < size);
    (void)lt_seconds();
    atomic_store(&log_rank, rank);
    atomic_store(&log_size, size);
    atomic_store(&log_level, level);
}

int lt_log_level(void) { return atomic_load(&log_level); }

static atomic_int log_file = -1;

static void write_all(int fd, const char *text, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = write(fd, text + done, bytes - done);
        if (n <= 0 && errno != EINTR)
            return; /* no reader, or no room: work goes on */
        done += n > 0 ? (size_t)n : 0;
    }
}

/* Line by line, each one write: ranks and threads may share the file. */
static void keep(const char *text, size_t bytes)
{
    const int fd = atomic_load(&log_file);
    while (fd >= 0 && bytes > 0) {
        char line[LINE_BYTES + LT_UTC_BYTES];
        const char *end = memchr(text, '\n', bytes);
        const size_t n = end != NULL ? (size_t)(end - text) : bytes;
        const size_t stamp = strlen(lt_utc_now(line)), most = sizeof line - stamp - 2;
        const size_t kept = n < most ? n : most;
        line[stamp] = ' ';
        memcpy(line + stamp + 1, text, kept);
        line[stamp + 1 + kept] = '\n';
        write_all(fd, line, stamp + kept + 2);
        text += n + (end != NULL);
        bytes -= n + (end != NULL);
    }
}

void lt_log_text(const char *text, size_t bytes)
{
    write_all(STDERR_FILENO, text, bytes);
    keep(text, bytes);
}

/* Does it begin as a log does, with a time (RFC 3339)? One that nothing was said to is empty. */
static int is_log(int fd)
{
    enum { STAMP_BYTES = 19 };
    static const char like[] = "0000-00-00T00:00:00";
    char head[STAMP_BYTES];
    const ssize_t n = pread(fd, head, sizeof head, 0);
    if (n != (ssize_t)sizeof head)
        return n == 0;
    for (size_t i = 0; i < sizeof head; i++)
        if (like[i] == '0' ? head[i] < '0' || head[i] > '9' : head[i] != like[i])
            return 0;
    return 1;
}

/* The same words once more, as after a stop, go on in the log that they began. */
static int open_older(const char *path)
{
    int fd = -1;
    if (lt_own_file_append(path, &fd) == LT_OK && !is_log(fd)) {
        (void)close(fd);
        fd = -1;
    }
    lt_error_clear();
    return fd;
}

lt_status lt_log_file_open(const char *path, int replace)
{
    lt_new_file file;
    const int older = replace ? -1 : open_older(path);
    if (older >= 0) {
        lt_log_file_close();
        atomic_store(&log_file, older);
        return LT_OK;
    }
    LT_TRY(lt_new_file_try("--log", path, replace ? LT_REPLACE : LT_KEEP));
    LT_TRY(lt_new_file_open(path, &file));
    /* Finished at once, so that it stays whatever happens; lines are written to a duplicate. */
    const int fd = fcntl(file.fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    lt_status st = LT_OK;
    if (fd < 0)
        st = lt_fail(LT_ECREATE, __FILE__, __LINE__, "--log %s: %s", path, strerror(errno));
    else
        st = lt_new_file_done(&file, replace ? LT_REPLACE : LT_KEEP);
    lt_new_file_drop(&file);
    if (st != LT_OK) {
        if (fd >= 0)
            (void)close(fd);
        return lt_error_trace(st, "lt_log_file_open", __FILE__, __LINE__);
    }
    lt_log_file_close();
    atomic_store(&log_file, fd);
    return LT_OK;
}

void lt_log_file_close(void)
{
    const int fd = atomic_exchange(&log_file, -1);
    if (fd >= 0)
        (void)close(fd);
}

void lt_log_kept(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    keep(lt_text_printable(line), strlen(line));
}

/* head, then the text, then a newline, cut to LINE_BYTES; one write. */
static void say(const char *head, const char *format, va_list args)
{
    char line[LINE_BYTES];
    size_t n = strnlen(head, sizeof line / 2);
    memcpy(line, head, n);
    const int more = vsnprintf(line + n, sizeof line - n - 1, format, args);
    if (more > 0)
        n += strlen(lt_text_printable(line + n));
    line[n++] = '\n';
    lt_log_text(line, n);
}

static void say_with_place(const char *area, const char *format, va_list args)
{
    char head[96];
    (void)snprintf(head, sizeof head, "%9.3f %d/%d %s: ", lt_seconds(), atomic_load(&log_rank),
                   atomic_load(&log_size), area);
    say(head, format, args);
}

void lt_log(int level, const char *area, const char *format, ...)
{
    if (level > lt_log_level())
        return;
    va_list args;
    va_start(args, format);
    say_with_place(area, format, args);
    va_end(args);
}

void lt_log0(int level, const char *area, const char *format, ...)
{
    if (level > lt_log_level() || atomic_load(&log_rank) != 0)
        return;
    va_list args;
    va_start(args, format);
    say_with_place(area, format, args);
    va_end(args);
}

/* 1 the first time that a text is seen. Texts are known by FNV-1a's 64 bits (Fowler, Noll, Vo);
 * past WARNED_MAX of them each is taken as new: a repeated warning is better than a lost one. */
static int first_time(const char *text)
{
    uint64_t h = 14695981039346656037u;
    for (const char *p = text; *p != '\0'; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211u;
    int new = 1;
    (void)pthread_mutex_lock(&warned_lock);
    for (int i = 0; i < warned_count && new; i++)
        new = warned[i] != h;
    if (new &&warned_count < WARNED_MAX)
        warned[warned_count++] = h;
    (void)pthread_mutex_unlock(&warned_lock);
    return new;
}

static void warn_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void warn_text(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say("longtake: warning: ", format, args);
    va_end(args);
}

void lt_warn(const char *format, ...)
{
    if (atomic_load(&log_rank) != 0)
        return;
    char text[LINE_BYTES - 64];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!first_time(text))
        return;
    lt_record_warning(text);
    if (lt_log_level() >= 1)
        warn_text("%s", text);
}

void lt_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say("", format, args);
    va_end(args);
}
