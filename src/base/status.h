/* status.h - what a function says when it cannot do its work.
 *
 * A function that can fail returns lt_status. The first site that sees the failure says what was
 * wrong, with the values (LT_FAIL); each caller that passes it on adds one line to a trace that the
 * thread keeps (LT_TRY). Only main prints. assert() is for our own bugs, LT_FAIL for the world's.
 *
 *     lt_status frames_check(int64_t frames)
 *     {
 *         if (frames < 1)
 *             LT_FAIL(LT_EUSAGE, "--frames: want 1 or more, found %lld", (long long)frames);
 *         return LT_OK;
 *     }
 *
 * All functions here are Local and never fail. The trace is per thread, of fixed size: no
 * allocation. */
#ifndef LT_STATUS_H
#define LT_STATUS_H

#include <stdio.h>

/* The comment's number is the process's exit code (sysexits.h), see lt_exit_code. */
typedef enum lt_status {
    LT_OK = 0,
    LT_EUSAGE,    /* 64: a flag or a job key is wrong */
    LT_EDATA,     /* 65: a file's content is wrong */
    LT_ENOINPUT,  /* 66: a file is not there or cannot be read */
    LT_EUNAVAIL,  /* 69: this build or machine lacks a codec, a device, ranks for this mesh */
    LT_ENOMEM,    /* 69: the work does not fit into memory; the text holds the numbers */
    LT_EDEVICE,   /* 69: a device failed; 75 once work has begun */
    LT_ESHAPE,    /* 70: tensors do not fit each other: our bug once inputs were checked */
    LT_EINTERNAL, /* 70: our bug */
    LT_ECREATE,   /* 73: an output cannot be made */
    LT_EIO,       /* 74: reading or writing failed on the way (disk full) */
    LT_ETEMP,     /* 75: stopped in order; --resume goes on */
    LT_EPEER,     /* 75: another rank failed; that rank said why */
    LT_STATUS_COUNT
} lt_status;

/* The sysexits code of a status; 0 for LT_OK. */
int lt_exit_code(lt_status status);
/* From here on a run can be gone on with: a device that fails is 75, since another may do better.
 */
void lt_status_work_begins(void);

/* The enum's name, e.g. "LT_EDATA". */
const char *lt_status_name(lt_status status);

/* Begin a trace: forget the thread's old one, keep the text (one line, at most 1023 bytes, what a
 * terminal would obey shown as '?': base/text.h) and the place. Returns status, so that
 * `return lt_fail(...)` reads well. */
lt_status lt_fail(lt_status status, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Add one line to the trace (the deepest 32 are kept). Returns status. */
lt_status lt_error_trace(lt_status status, const char *what, const char *file, int line);

/* What may be done about it, printed after the error as "longtake: hint: ...". At most one is kept:
 * call it before LT_FAIL's return or after a failed call; the first one of a trace stays. */
void lt_hint(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The text of the last failure ("" if none), its hint ("" if none), its status. */
const char *lt_error_text(void);
const char *lt_hint_text(void);
lt_status lt_error_status(void);

/* Forget text, hint and trace. */
void lt_error_clear(void);

/* Print "longtake: error: TEXT", then "longtake: hint: ..." if there is one, then, if verbose, the
 * trace with places. */
void lt_error_print(FILE *to, int verbose);

/* Each returns the status that was tested, not the one that lt_fail or lt_error_trace gives back
 * (the same): so a static analyser sees that what was refused is never taken for LT_OK by the
 * caller. */
#define LT_FAIL(status, ...)                                                                       \
    do {                                                                                           \
        const lt_status fail_ = (status);                                                          \
        (void)lt_fail(fail_, __FILE__, __LINE__, __VA_ARGS__);                                     \
        return fail_;                                                                              \
    } while (0)

#define LT_TRY(expr)                                                                               \
    do {                                                                                           \
        const lt_status st_ = (expr);                                                              \
        if (st_ != LT_OK) {                                                                        \
            (void)lt_error_trace(st_, #expr, __FILE__, __LINE__);                                  \
            return st_;                                                                            \
        }                                                                                          \
    } while (0)

/* The same where something must be undone: sets st and goes to label. */
#define LT_TRY_GOTO(expr, st, label)                                                               \
    do {                                                                                           \
        (st) = (expr);                                                                             \
        if ((st) != LT_OK) {                                                                       \
            (void)lt_error_trace((st), #expr, __FILE__, __LINE__);                                 \
            goto label;                                                                            \
        }                                                                                          \
    } while (0)

#define LT_FAIL_GOTO(status, st, label, ...)                                                       \
    do {                                                                                           \
        (st) = (status);                                                                           \
        (void)lt_fail((st), __FILE__, __LINE__, __VA_ARGS__);                                      \
        goto label;                                                                                \
    } while (0)

#endif
