/* plan_json.h - a plan as the text of plan.json, and back.                        Level 4: run
 * One table (plan_json.c) has every key with its type, its place in lt_plan and its limits; writer
 * and reader both walk it, so that neither can know a key that the other does not. */
#ifndef LT_PLAN_JSON_H
#define LT_PLAN_JSON_H

#include "run/plan.h"

/* plan.json's content; the caller owns *out. Local. Errors: LT_ENOMEM, LT_EINTERNAL. */
lt_status lt_plan_to_json(const lt_plan *plan, json_t **out);
/* And back: all but the streams, which the model gives (lt_plan_streams), and what was computed for
 * the reader alone (memory, estimate, order, windows). The caller owns *out also after an error.
 * Local. Errors: LT_EDATA, LT_EUSAGE (the mesh), LT_ENOMEM. */
lt_status lt_plan_from_json(const char *text, size_t bytes, lt_plan *out);

#endif
