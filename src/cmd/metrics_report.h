/* metrics_report.h - a film's figures as one page for people.
 * Local, Blocking. Tested: tests/film/test_metrics.c. */
#ifndef LT_METRICS_REPORT_H
#define LT_METRICS_REPORT_H

#include <jansson.h>

#include "base/new_file.h"
#include "cmd/metrics_measure.h"

/* Write path: one HTML file with plots as SVG and small frames as a PNG inside; its own policy
 * forbids scripts and anything from outside, and all text from outside is escaped. plan: of a run,
 * for its prompt and facts; may be NULL. Errors: LT_ECREATE, LT_EIO, LT_ENOMEM. */
lt_status lt_metrics_report(const lt_metrics *metrics, const char *film, const char *run,
                            const json_t *plan, const char *path, lt_replace replace);

#endif
