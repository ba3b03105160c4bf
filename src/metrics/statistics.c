/* statistics.c - median, mean and slope of series with holes. */
#include "metrics/statistics.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double lt_median(double *values, int64_t count)
{
    assert(count >= 0);
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++)
        if (!isnan(values[i]))
            values[n++] = values[i];
    if (n == 0)
        return NAN;
    qsort(values, (size_t)n, sizeof *values, ascending);
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

double lt_mean(const double *values, int64_t first, int64_t end)
{
    assert(first >= 0);
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = first; i < end; i++)
        if (!isnan(values[i])) {
            sum += values[i];
            n++;
        }
    return n > 0 ? sum / (double)n : NAN;
}

double lt_slope(const double *values, int64_t count)
{
    assert(count >= 0);
    double index = 0, value = 0, both = 0, square = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++)
        if (!isnan(values[i])) {
            index += (double)i;
            value += values[i];
            n++;
        }
    if (n < 2)
        return NAN;
    index /= (double)n;
    value /= (double)n;
    for (int64_t i = 0; i < count; i++)
        if (!isnan(values[i])) {
            both += ((double)i - index) * (values[i] - value);
            square += ((double)i - index) * ((double)i - index);
        }
    return both / square;
}
