/* distance.h - how far two results are apart, so that a NaN on either side is the worst of all.
 * `if (!(d <= worst)) worst = d;` keeps the last value, and so forgets a NaN at the next one. */
#ifndef LT_TEST_DISTANCE_H
#define LT_TEST_DISTANCE_H

#include <math.h>
#include <stdint.h>

/* The larger of two; NaN, once there, stays. */
static inline double worse(double a, double b) { return isnan(a) || a > b ? a : b; }

/* Largest |a - b| over the largest |b|. NaN fails any comparison: one in a or b, values that are
 * the same infinity, and no values or zeros alone in b, which prove nothing. */
static inline double distance(const float *a, const float *b, int64_t count)
{
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        worst = worse(worst, fabs((double)a[i] - (double)b[i]));
        largest = worse(largest, fabs((double)b[i]));
    }
    return worst / largest;
}

#endif
