/* plan_json.h - a plan as the text of plan.json, and back.
 * One table (plan_json.c) has every key with its type, its place in lt_plan and its limits; writer
 * and reader both walk it, so that neither can know a key that the other does not. */
#ifndef LT_PLAN_JSON_H
#define LT_PLAN_JSON_H

#include "run/estimate.h"
#include "run/plan.h"

/* What the ranks found of a draft, for readers of the file. All is borrowed. */
typedef struct lt_plan_found {
    int threads;                   /* of rank 0 */
    const int *order;              /* [ranks of the mesh]: the rank of each position */
    const lt_footprint *footprint; /* of rank 0 */
    size_t peak_bytes;             /* of the rank that needs the most */
    lt_decoding_when decoding;     /* what auto became */
    const char *decoding_why;      /* in words */
} lt_plan_found;

/* plan.json's text, malloc'ed, ending in a newline. found NULL: a draft, without memory, order and
 * estimate, and with the threads that were asked for. Local. Errors: LT_ENOMEM, LT_EINTERNAL. */
lt_status lt_plan_to_text(const lt_plan *draft, const lt_plan_found *found, char **out);
/* And back, with a copy of the text: all but the streams, which the model gives (lt_plan_streams);
 * what is for readers alone (memory, estimate, order, windows) is in the text only. The caller owns
 * *out also after an error. Local. Errors: LT_EDATA, LT_EUSAGE (the mesh), LT_ENOMEM. */
lt_status lt_plan_from_json(const char *text, size_t bytes, lt_plan *out);

#endif
