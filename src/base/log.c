/* log.c - what a run says on stderr while it works.                               Level 0: base
 * A line is put together first and written by one call, so that the lines of several ranks on one
 * terminal, and of several threads, do not mix. */
#include "base/log.h"

#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/record.h"
#include "base/text.h"

enum { LINE_BYTES = 2048, WARNED_MAX = 512 };

static atomic_int log_rank = 0, log_size = 1, log_level = 1;
static pthread_once_t start_once = PTHREAD_ONCE_INIT;
static struct timespec start;
static pthread_mutex_t warned_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t warned[WARNED_MAX];
static int warned_count;

static void start_set(void) { (void)clock_gettime(CLOCK_MONOTONIC, &start); }

double lt_seconds(void)
{
    struct timespec now;
    (void)pthread_once(&start_once, start_set);
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec);
}

void lt_log_open(int rank, int size, int level)
{
    assert(size >= 1 && rank >= 0 && rank < size);
    (void)lt_seconds();
    atomic_store(&log_rank, rank);
    atomic_store(&log_size, size);
    atomic_store(&log_level, level);
}

int lt_log_level(void) { return atomic_load(&log_level); }

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
    (void)fwrite(line, 1, n, stderr);
    (void)fflush(stderr);
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
