/* statistics.h - median, mean and slope of series with holes.
 * A value that is not there is NaN and is passed over. All functions are Local, Blocking and pure.
 * Tested: tests/unit/test_metrics_video.c. */
#ifndef LT_STATISTICS_H
#define LT_STATISTICS_H

#include <stdint.h>

/* The middle value (of an even number, the mean of both), NaN of none. Sorts values in place. */
double lt_median(double *values, int64_t count);

/* Of what is there in values[first, end); NaN if nothing is. */
double lt_mean(const double *values, int64_t first, int64_t end);

/* The least-squares line's slope of values over their index, per index; NaN of fewer than two. */
double lt_slope(const double *values, int64_t count);

#endif
