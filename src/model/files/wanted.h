/* wanted.h - which tensors a network's config asks for.
 * A network has one list: a function that calls another for each tensor, in the order of use.
 * Opening holds a checkpoint against it, loading is held against it (lt_checkpoint_load), inspect
 * compares names with it, tests write files by it.
 * Local, Blocking. Tested: tests/unit/test_inspect.c (published indexes). */
#ifndef LT_WANTED_H
#define LT_WANTED_H

#include "model/files/checkpoint.h"

typedef enum lt_need {
    LT_NEED_RUN,    /* in memory while the part works */
    LT_NEED_TABLES, /* read once to make tables, layer by layer */
    LT_NEED_NOT     /* text to video runs without it */
} lt_need;

typedef struct lt_wanted {
    const char *name; /* good during the call */
    lt_need need;
    lt_dims dims;
} lt_wanted;

typedef lt_status (*lt_want_fn)(void *ctx, const lt_wanted *wanted);

/* Whom a list calls, and of what need its tensors are. */
typedef struct lt_wanter {
    lt_want_fn fn;
    void *ctx;
    lt_need need;
} lt_wanter;

/* One tensor, by name. Errors: fn's. */
lt_status lt_want(const lt_wanter *to, lt_dims dims, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* NAME.weight [out, in] and NAME.bias [out]. */
lt_status lt_want_linear(const lt_wanter *to, const char *name, int64_t out, int64_t in);
/* NAME.weight and NAME.bias [n]. */
lt_status lt_want_norm(const lt_wanter *to, const char *name, int64_t n);

/* An lt_want_fn for open, ctx an lt_checkpoint: each tensor that is needed is there with its shape,
 * and is marked as used; one that is not needed is passed over. Errors: as lt_checkpoint_check. */
lt_status lt_wanted_check(void *checkpoint, const lt_wanted *wanted);

/* A kind of part, for code that looks at folders. */
typedef struct lt_part_kind {
    const lt_name_map *names; /* or NULL */
    /* Call fn for every tensor that the config in folder asks for. Errors: those of reading the
     * config (LT_ENOINPUT, LT_EDATA), and fn's. */
    lt_status (*tensors)(const char *folder, lt_want_fn fn, void *ctx);
    const char *const *unlisted; /* known beginnings of names that are not listed; or NULL */
} lt_part_kind;

#endif
