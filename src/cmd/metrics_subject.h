/* metrics_subject.h - what is measured: a film's file, and where its joins, cuts and tiles are.
 * Of a run folder plan.json says it. Local, Blocking. Tested: tests/film/test_metrics.c. */
#ifndef LT_METRICS_SUBJECT_H
#define LT_METRICS_SUBJECT_H

#include <jansson.h>

#include "base/file.h"
#include "cmd/metrics_measure.h"

/* A zeroed one holds nothing. Lists are owned, ascending, each value once. */
typedef struct lt_metrics_subject {
    char film[LT_PATH_BYTES];
    const char *run; /* borrowed; NULL: a file */
    json_t *plan;    /* of a run */
    int64_t *joins, *cuts, *columns, *rows;
    lt_join_kind *kinds; /* of joins */
    size_t join_count, cut_count, column_count, row_count;
    int64_t period, cell;
} lt_metrics_subject;

/* A film without a run: nothing is known of it. path: its file. Errors: LT_ENOINPUT (too long). */
lt_status lt_metrics_subject_film(const char *path, lt_metrics_subject *out);
/* RUN/out.SUFFIX, or the output that the run was for, with all that the plan says. *out may be
 * freed after an error too. Errors: LT_ENOINPUT (no plan, no film), LT_EDATA, LT_ENOMEM. */
lt_status lt_metrics_subject_run(const char *run, lt_metrics_subject *out);
void lt_metrics_subject_free(lt_metrics_subject *subject);

/* What to ask of it; borrows its lists. */
lt_metrics_ask lt_metrics_subject_ask(const lt_metrics_subject *subject);

#endif
