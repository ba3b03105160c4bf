/* metrics_answer.h - figures of a film as JSON and as text for people.
 * Keys: docs/run-folder.md, "Answers: `metrics`". Local. */
#ifndef LT_METRICS_ANSWER_H
#define LT_METRICS_ANSWER_H

#include <jansson.h>
#include <stdio.h>

#include "cmd/metrics_measure.h"

/* The key of a drift, its name for people, what it is counted in. */
typedef struct lt_drift_name {
    const char *key, *name, *unit;
} lt_drift_name;
extern const lt_drift_name lt_drift_names[LT_METRICS_DRIFTS];

/* "join" or "overlap". */
const char *lt_join_kind_name(lt_join_kind kind);

/* run NULL: the film alone. NULL: no memory. */
json_t *lt_metrics_json(const lt_metrics *metrics, const char *film, const char *run);

/* A table of the joins, then the figures of the whole film. film and run are printable. */
void lt_metrics_text(const lt_metrics *metrics, const char *film, FILE *to);

#endif
