/* drift.h - what changes slowly over a film, stands still, or comes back.
 * All functions are Local, Blocking and pure. Source: spec/long-video.md 8.5 and 8.6.
 * Tested: tests/unit/test_metrics_video.c. */
#ifndef LT_DRIFT_H
#define LT_DRIFT_H

#include <stdint.h>

#include "base/status.h"

enum { LT_LOOP_LAG_MIN = 13, LT_LOOP_LAG_MAX = 4096 }; /* frames: more than 12; 170 s at 24 */
#define LT_FREEZE_STEP 0.05 /* codes squared: one pixel in twenty moved by one code */

/* Of one value a frame. */
typedef struct lt_drift {
    double per_second;  /* the least-squares line's slope */
    double first, last; /* means of the first and the last second (or half, of a shorter film) */
} lt_drift;
lt_drift lt_drift_of(const double *values, int64_t frames, double fps);

/* Chi-squared distance of the mean 8-bin histograms of the first and the last second: sum of
 * (a - b)^2 / (a + b), 0 to 2. bin: eight series. */
double lt_drift_histogram(const double *const bin[8], int64_t frames, double fps);

/* Share of steps below LT_FREEZE_STEP; NaN of none. */
double lt_freeze_share(const double *step, int64_t count);

/* What comes back: the largest normalised autocorrelation, and its lag in frames. */
typedef struct lt_loop {
    double correlation; /* -1 to 1; NaN where the film is too short or nothing moves */
    int64_t lag;        /* 0 then */
} lt_loop;

/* Of a series, at lags from LT_LOOP_LAG_MIN to half its length or LT_LOOP_LAG_MAX.
 * Errors: LT_ENOMEM. */
lt_status lt_loop_of(const double *values, int64_t count, lt_loop *out);

/* Of thumbnails [count, pixels], stride frames apart: the two that are the most alike, more than 12
 * frames apart, their mean over the film taken away. Errors: LT_ENOMEM. */
lt_status lt_loop_of_thumbs(const uint8_t *thumbs, int64_t count, int64_t stride, int pixels,
                            lt_loop *out);

#endif
