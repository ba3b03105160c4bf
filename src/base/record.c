/* record.c - the events of a run, one JSON object a line.
 * Two ways to a line: by jansson, and by hand for those who may not take memory or a lock (signal
 * handlers, and the thread that ends a job while the others stand still). */
#include "base/record.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"

/* Warnings that come before the run folder is there; one that is longer is cut. */
enum { KEPT_MAX = 32, KEPT_BYTES = 512, LAST_BYTES = 2048 };

static atomic_int record_fd = -1;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static char kept[KEPT_MAX][KEPT_BYTES];
static int kept_count;

/* ---- lines ---- */

static void write_all(const char *text, size_t bytes)
{
    const int fd = atomic_load(&record_fd);
    while (fd >= 0 && bytes > 0) {
        const ssize_t n = write(fd, text, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        text += n;
        bytes -= (size_t)n;
    }
}

static void write_event(const char *name, json_t *fields)
{
    char now[LT_UTC_BYTES];
    json_t *line = json_pack("{s:s, s:s, s:f, s:I}", "event", name, "time", lt_utc_now(now),
                             "seconds", lt_seconds(), "process", (json_int_t)getpid());
    if (line != NULL && fields != NULL)
        (void)json_object_update(line, fields);
    char *text = line != NULL ? lt_json_text(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    if (text != NULL) { /* its NUL becomes the newline: one write */
        const size_t bytes = strlen(text);
        text[bytes] = '\n';
        write_all(text, bytes + 1);
    }
    free(text);
    json_decref(line);
    json_decref(fields);
}

static void tell_warning(const char *text)
{
    char shown[LAST_BYTES]; /* a path in it may be no UTF-8 */
    (void)snprintf(shown, sizeof shown, "%s", text);
    write_event("warning", json_pack("{s:s}", "text", lt_text_printable(shown)));
}

static void tell_kept(void)
{
    (void)pthread_mutex_lock(&kept_lock);
    for (int i = 0; i < kept_count; i++)
        tell_warning(kept[i]);
    kept_count = 0;
    (void)pthread_mutex_unlock(&kept_lock);
}

void lt_record_event(const char *name, json_t *fields)
{
    if (atomic_load(&record_fd) < 0) {
        json_decref(fields);
        return;
    }
    write_event(name, fields);
    tell_kept();
}

void lt_record_warning(const char *text)
{
    if (atomic_load(&record_fd) >= 0) {
        tell_warning(text);
        return;
    }
    (void)pthread_mutex_lock(&kept_lock);
    if (kept_count < KEPT_MAX) {
        (void)snprintf(kept[kept_count++], KEPT_BYTES, "%s", text);
    }
    (void)pthread_mutex_unlock(&kept_lock);
}

void lt_record_open(int fd) { atomic_store(&record_fd, fd); }

void lt_record_close(void) { atomic_store(&record_fd, -1); }

static char *put_text(char *at, const char *end, const char *text)
{
    while (*text != '\0' && at < end)
        *at++ = *text++;
    return at;
}

/* No escapes but those that JSON demands; what is not ASCII becomes '?'. */
static char *put_quoted(char *at, const char *end, const char *text)
{
    for (; *text != '\0' && at + 2 < end; text++) {
        if (*text == '"' || *text == '\\')
            *at++ = '\\';
        *at++ = *text >= 0x20 && *text < 0x7f ? *text : '?';
    }
    return at;
}

void lt_record_last(const char *text)
{
    char line[LAST_BYTES], now[LT_UTC_BYTES], digits[16];
    const char *const end = line + sizeof line - 32; /* the tail always fits */
    const int kept_errno = errno;
    const double seconds = lt_seconds();
    char *at = put_text(line, end, "{\"event\":\"error\",\"time\":\"");
    at = put_text(at, end, lt_utc_now(now));
    at = put_text(at, end, "\",\"seconds\":");
    *lt_text_digits(digits, (int64_t)seconds, 9) = '\0';
    at = put_text(at, end, digits + strspn(digits, "0") - (digits[strspn(digits, "0")] == '\0'));
    at = put_text(at, end, ".");
    *lt_text_digits(digits, (int64_t)(seconds * 1000) % 1000, 3) = '\0';
    at = put_text(at, end, digits);
    at = put_text(at, end, ",\"process\":");
    *lt_text_digits(digits, (int64_t)getpid(), 9) = '\0';
    at = put_text(at, end, digits + strspn(digits, "0"));
    at = put_text(at, end, ",\"text\":\"");
    at = put_quoted(at, end, text);
    static const char tail[] = "\",\"exit_code\":75}\n";
    memcpy(at, tail, sizeof tail - 1);
    write_all(line, (size_t)(at - line) + sizeof tail - 1);
    errno = kept_errno;
}
