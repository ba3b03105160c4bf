/* tensors.h - the tensors that an H3 config asks for, without opening a weight.
 * Source: spec/minimax-h3.md 1, 3, 4, 6, 7. inspect holds checkpoints against it, and the DiT opens
 * by it. Names are diffusers'. Local, Blocking. */
#ifndef LT_INSPECT_WANT_H
#define LT_INSPECT_WANT_H

#include "model/files/checkpoint.h"
#include "model/h3/dit.h"

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

/* A kind of part, for whoever looks at folders. */
typedef struct lt_part_kind {
    const lt_name_map *names; /* or NULL */
    /* Call fn for every tensor that the config in folder asks for. Errors: those of reading the
     * config (LT_ENOINPUT, LT_EDATA), and fn's. */
    lt_status (*tensors)(const char *folder, lt_want_fn fn, void *ctx);
    const char *const *unlisted; /* known beginnings of names that are not listed; or NULL */
} lt_part_kind;

/* The DiT's alone, of a config that was read: what lt_h3_dit_open checks. */
lt_status lt_h3_dit_tensors(const lt_h3_dit_config *config, lt_want_fn fn, void *ctx);

extern const lt_part_kind lt_h3_part_dit, lt_h3_part_text, lt_h3_part_video, lt_h3_part_audio;

#endif
