/* seams.c - does the film jump where two windows, or two tiles, meet? */
#include "metrics/seams.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/statistics.h"

enum { CODEC_BLOCK = 8 };

static double *copy_of(const double *values, int64_t count)
{
    double *copy = malloc((size_t)(count > 0 ? count : 1) * sizeof *copy);
    if (copy != NULL && count > 0)
        memcpy(copy, values, (size_t)count * sizeof *copy);
    return copy;
}

/* values[i] by the median of those within LT_SEAM_NEAR of it, itself left out, and a little. */
static double normalised(const double *values, int64_t count, int64_t i, double little)
{
    double near[2 * LT_SEAM_NEAR];
    int64_t n = 0;
    for (int64_t k = i - LT_SEAM_NEAR; k <= i + LT_SEAM_NEAR; k++)
        if (k >= 0 && k < count && k != i && !isnan(values[k]))
            near[n++] = values[k];
    return n > 0 ? values[i] / (lt_median(near, n) + little) : NAN;
}

lt_status lt_seam_normalise(const double *step, int64_t count, double *e)
{
    assert(count >= 0 && step != e);
    double *sorted = copy_of(step, count);
    if (sorted == NULL)
        LT_FAIL(LT_ENOMEM, "metrics: no memory for %lld steps", (long long)count);
    const double median = lt_median(sorted, count);
    const double little = 0.01 + (isnan(median) ? 0 : 0.05 * median);
    free(sorted);
    for (int64_t i = 0; i < count; i++)
        e[i] = normalised(step, count, i, little);
    return LT_OK;
}

/* The larger of the two values that touch frame f. */
static double touching(const double *values, int64_t count, int64_t f)
{
    const double into = f >= 1 && f - 1 < count ? values[f - 1] : NAN;
    const double out = f >= 0 && f < count ? values[f] : NAN;
    return fmax(into, out); /* a NaN gives way */
}

/* Is frame f a seam or beside one? */
static int is_near_seam(const lt_seams *seams, int64_t f)
{
    size_t low = 0, high = seams->count; /* the first seam at f - 1 or later */
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (seams->frames[middle] < f - 1)
            low = middle + 1;
        else
            high = middle;
    }
    return low < seams->count && seams->frames[low] <= f + 1;
}

/* The frames of this phase (-1: of all) that are no seams, into others [count + 1]. */
static int64_t others_of(const double *values, int64_t count, const lt_seams *seams, int64_t phase,
                         double *others)
{
    int64_t n = 0;
    for (int64_t f = phase > 0 ? phase : 0; f <= count; f += phase >= 0 ? seams->period : 1) {
        const double value = touching(values, count, f);
        if (f >= 1 && !isnan(value) && !is_near_seam(seams, f))
            others[n++] = value;
    }
    return n;
}

/* What all seams of one phase are held against. */
typedef struct yardstick {
    double rest;
    int64_t compared;
    int same_phase;
} yardstick;

static yardstick yardstick_of(const double *values, int64_t count, const lt_seams *seams,
                              int64_t phase, double *others)
{
    const int64_t own = others_of(values, count, seams, phase, others);
    const int64_t n = own > 0 ? own : others_of(values, count, seams, -1, others);
    return (yardstick){lt_median(others, n), n, own > 0};
}

/* All frames that are no seams, each divided by its own phase's median, into others. */
static lt_status divided(const double *values, int64_t count, const lt_seams *seams, double *others,
                         int64_t *n)
{
    const int64_t phases = seams->period < count + 1 ? seams->period : count + 1;
    double *rest = malloc((size_t)phases * sizeof *rest);
    if (rest == NULL)
        LT_FAIL(LT_ENOMEM, "metrics: no memory for %lld phases", (long long)phases);
    for (int64_t phase = 0; phase < phases; phase++)
        rest[phase] = lt_median(others, others_of(values, count, seams, phase, others));
    *n = 0;
    for (int64_t f = 1; f <= count; f++) {
        const double value = touching(values, count, f), by = rest[f % seams->period];
        if (!isnan(value) && by > 0 && !is_near_seam(seams, f))
            others[(*n)++] = value / by;
    }
    free(rest);
    return LT_OK;
}

lt_status lt_seam_compare(const double *values, int64_t count, const lt_seams *seams,
                          lt_seam_value *out)
{
    assert(count >= 0 && seams->period >= 1);
    double *others = malloc((size_t)(count + 1) * sizeof *others);
    if (others == NULL)
        LT_FAIL(LT_ENOMEM, "metrics: no memory for %lld values", (long long)count);
    yardstick yard = {NAN, 0, 0};
    for (size_t i = 0; i < seams->count; i++) {
        const int64_t f = seams->frames[i], phase = f % seams->period;
        assert(i == 0 || f > seams->frames[i - 1]);
        if (i == 0 || phase != seams->frames[i - 1] % seams->period) /* most films have one */
            yard = yardstick_of(values, count, seams, phase, others);
        out[i] = (lt_seam_value){.at = touching(values, count, f),
                                 .rest = yard.rest,
                                 .share = NAN,
                                 .compared = yard.compared,
                                 .same_phase = yard.same_phase};
    }
    int64_t n = 0;
    const lt_status st = divided(values, count, seams, others, &n);
    for (size_t i = 0; i < seams->count && st == LT_OK; i++) {
        const double ratio = lt_seam_ratio(&out[i]);
        int64_t as_large = 0;
        for (int64_t k = 0; k < n; k++)
            as_large += others[k] >= ratio;
        if (n > 0 && !isnan(ratio))
            out[i].share = (double)as_large / (double)n;
    }
    free(others);
    LT_TRY(st);
    return LT_OK;
}

double lt_seam_ratio(const lt_seam_value *v)
{
    return v->rest > 0 ? v->at / v->rest : NAN; /* at NaN: NaN */
}

double lt_seam_psnr_db(double acceleration)
{
    if (isnan(acceleration))
        return NAN;
    const double error = acceleration / 4;
    return error > 255.0 * 255.0 * 1e-10 ? 10 * log10(255.0 * 255.0 / error) : 100;
}

static int is_one_of(const int64_t *list, size_t count, int64_t x)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == x)
            return 1;
    return 0;
}

lt_status lt_tile_seams(const double *difference, int64_t count, const int64_t *borders,
                        size_t border_count, double *ratio, double *ratio_max)
{
    *ratio = *ratio_max = NAN;
    for (size_t i = 0; i < border_count; i++)
        if (borders[i] < 1 || borders[i] >= count)
            LT_FAIL(LT_ESHAPE, "metrics: want tile borders from 1 to %lld, found %lld",
                    (long long)count - 1, (long long)borders[i]);
    double *at = malloc(2 * (size_t)(count > 0 ? count : 1) * sizeof *at), *others = at + count;
    if (at == NULL)
        LT_FAIL(LT_ENOMEM, "metrics: no memory for %lld borders", (long long)count);
    int64_t seam_count = 0, other_count = 0;
    double largest = NAN;
    for (int64_t x = 1; x < count; x++) {
        const double e = normalised(difference, count, x, 0.01);
        int same = 0;
        for (size_t i = 0; i < border_count; i++)
            same |= borders[i] % CODEC_BLOCK == x % CODEC_BLOCK;
        if (is_one_of(borders, border_count, x)) {
            at[seam_count++] = e;
            largest = fmax(largest, e);
        } else if (same) {
            others[other_count++] = e;
        }
    }
    const double rest = lt_median(others, other_count);
    if (rest > 0) {
        *ratio = lt_median(at, seam_count) / rest;
        *ratio_max = largest / rest;
    }
    free(at);
    return LT_OK;
}
