/* status.c - the thread's error: text, hint and trace.
 *
 * A hint may be given before the failure that it belongs to or after it, so two texts are kept: the
 * hint of the present failure, and one that waits for the next lt_fail. lt_error_trace drops the
 * waiting one: from there on it belongs to the failure that is passed on, not to a later, unrelated
 * one. */
#include "base/status.h"

#include <assert.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"

enum { TEXT_BYTES = 1024, TRACE_MAX = 32, WHAT_BYTES = 104 };

typedef struct trace_line {
    char what[WHAT_BYTES];
    const char *file; /* __FILE__ of the caller: a literal */
    int line;
} trace_line;

typedef struct trouble {
    lt_status status;
    char text[TEXT_BYTES];
    char hint[TEXT_BYTES];
    char waiting_hint[TEXT_BYTES];
    const char *file;
    int line;
    int kept, dropped;
    trace_line trace[TRACE_MAX];
} trouble;

static _Thread_local trouble t;

static const struct {
    const char *name;
    int exit_code;
} statuses[LT_STATUS_COUNT] = {
    [LT_OK] = {"LT_OK", 0},
    [LT_EUSAGE] = {"LT_EUSAGE", 64},
    [LT_EDATA] = {"LT_EDATA", 65},
    [LT_ENOINPUT] = {"LT_ENOINPUT", 66},
    [LT_EUNAVAIL] = {"LT_EUNAVAIL", 69},
    [LT_ENOMEM] = {"LT_ENOMEM", 69},
    [LT_EDEVICE] = {"LT_EDEVICE", 69},
    [LT_ESHAPE] = {"LT_ESHAPE", 70},
    [LT_EINTERNAL] = {"LT_EINTERNAL", 70},
    [LT_ECREATE] = {"LT_ECREATE", 73},
    [LT_EIO] = {"LT_EIO", 74},
    [LT_ETEMP] = {"LT_ETEMP", 75},
    [LT_EPEER] = {"LT_EPEER", 75},
};

static atomic_int work_begun;

void lt_status_work_begins(void) { atomic_store(&work_begun, 1); }

int lt_exit_code(lt_status status)
{
    assert((unsigned)status < LT_STATUS_COUNT);
    if (status == LT_EDEVICE && atomic_load(&work_begun))
        return statuses[LT_ETEMP].exit_code;
    return statuses[status].exit_code;
}

const char *lt_status_name(lt_status status)
{
    assert((unsigned)status < LT_STATUS_COUNT);
    return statuses[status].name;
}

/* Keep one line of printable bytes. The cut of a long text must not leave half a UTF-8 character:
 * step back over the continuation bytes and the lead byte before them. */
static void keep_line(char *to, size_t bytes, const char *format, va_list args)
{
    char text[TEXT_BYTES + 8];
    assert(bytes >= 1 && bytes <= TEXT_BYTES);
    const int wanted = vsnprintf(text, sizeof text, format, args);
    if (wanted < 0)
        text[0] = '\0';
    size_t n = strnlen(text, sizeof text);
    if (n > bytes - 1) {
        n = bytes - 1;
        while (n > 0 && ((unsigned char)text[n] & 0xc0u) == 0x80u)
            n--;
    }
    text[n] = '\0';
    (void)snprintf(to, bytes, "%s", lt_text_printable(text));
}

lt_status lt_fail(lt_status status, const char *file, int line, const char *format, ...)
{
    assert(status != LT_OK);
    va_list args;
    char text[TEXT_BYTES]; /* the arguments may hold lt_error_text() of the failure before */
    va_start(args, format);
    keep_line(text, sizeof text, format, args);
    va_end(args);
    memcpy(t.text, text, sizeof text);
    memcpy(t.hint, t.waiting_hint, sizeof t.hint);
    t.waiting_hint[0] = '\0';
    t.status = status;
    t.file = file;
    t.line = line;
    t.kept = t.dropped = 0;
    return status;
}

static void trace_add(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void trace_add(const char *file, int line, const char *format, ...)
{
    if (t.kept == TRACE_MAX) {
        t.dropped++;
        return;
    }
    trace_line *l = &t.trace[t.kept++];
    va_list args;
    va_start(args, format);
    keep_line(l->what, sizeof l->what, format, args);
    va_end(args);
    l->file = file;
    l->line = line;
}

lt_status lt_error_trace(lt_status status, const char *what, const char *file, int line)
{
    assert(status != LT_OK);
    t.waiting_hint[0] = '\0';
    if (t.status == LT_OK) /* a status made without lt_fail: still say something */
        (void)lt_fail(status, file, line, "%s failed: %s", what, lt_status_name(status));
    trace_add(file, line, "%s", what);
    return status;
}

void lt_hint(const char *format, ...)
{
    va_list args;
    char text[TEXT_BYTES];
    va_start(args, format);
    keep_line(text, sizeof text, format, args);
    va_end(args);
    if (t.status != LT_OK && t.hint[0] == '\0')
        memcpy(t.hint, text, sizeof text);
    if (t.waiting_hint[0] == '\0')
        memcpy(t.waiting_hint, text, sizeof text);
}

const char *lt_error_text(void) { return t.text; }
const char *lt_hint_text(void) { return t.hint; }
lt_status lt_error_status(void) { return t.status; }

void lt_error_clear(void)
{
    t.status = LT_OK;
    t.text[0] = t.hint[0] = t.waiting_hint[0] = '\0';
    t.file = NULL;
    t.line = 0;
    t.kept = t.dropped = 0;
}

void lt_error_print(FILE *to, int verbose)
{
    assert(to != NULL);
    fprintf(to, "longtake: error: %s\n", t.text);
    if (t.hint[0] != '\0')
        fprintf(to, "longtake: hint: %s\n", t.hint);
    if (!verbose || t.status == LT_OK)
        return;
    fprintf(to, "  %s at %s:%d\n", lt_status_name(t.status), t.file ? t.file : "?", t.line);
    for (int i = 0; i < t.kept; i++)
        fprintf(to, "  in %s at %s:%d\n", t.trace[i].what, t.trace[i].file, t.trace[i].line);
    if (t.dropped > 0)
        fprintf(to, "  and %d more\n", t.dropped);
}
