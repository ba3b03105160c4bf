/* inspect_internal.h - what the files of inspect share. */
#ifndef LT_INSPECT_INTERNAL_H
#define LT_INSPECT_INTERNAL_H

#include <jansson.h>
#include <stdio.h>

#include "model/files/wanted.h"

enum { LT_INSPECT_NAMES_MAX = 20 };

/* The first content that is wrong, kept while the rest is looked at. */
typedef struct lt_inspect_fault {
    lt_status status;
    char text[1024];
} lt_inspect_fault;

/* A part with weights: fills class, config, weights, tensors, memory, problems of `out`. Faults of
 * content become problems and the first one is kept in *fault. Errors: LT_ENOMEM. */
lt_status lt_inspect_weights(const char *folder, const lt_part_kind *kind, json_t *out,
                             lt_inspect_fault *fault);
/* Counts of what a checkpoint stores: {tensors, parameters, bytes, dtypes}. */
lt_status lt_inspect_stored(const lt_checkpoint *checkpoint, json_t *out);

/* Remember the thread's last error as a problem of this part (and as the fault, if it is the
 * first). */
void lt_inspect_problem(json_t *part, lt_inspect_fault *fault, lt_status status);

void lt_inspect_print(const json_t *report, FILE *to);

#endif
