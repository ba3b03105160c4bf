/* seams.c - does the film jump where two windows, or two tiles, meet? */
#include "metrics/seams.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/statistics.h"

static double *copy_of(const double *values, int64_t count)
{
    double *copy = malloc((size_t)(count > 0 ? count : 1) * sizeof *copy);
    if (copy != NULL && count > 0)
        memcpy(copy, values, (size_t)count * sizeof *copy);
    return copy;
}

/* values[i] by the median of those within LT_SEAM_NEAR of it and in [first, end), itself left out,
 * and a little. */
static double normalised(const double *values, int64_t first, int64_t end, int64_t i, double little)
{
    double near[2 * LT_SEAM_NEAR];
    int64_t n = 0;
    for (int64_t k = i - LT_SEAM_NEAR; k <= i + LT_SEAM_NEAR; k++)
        if (k >= first && k < end && k != i && !isnan(values[k]))
            near[n++] = values[k];
    return n > 0 ? values[i] / (lt_median(near, n) + little) : NAN;
}

/* How many of list [count], which ascends, are below x. */
static size_t below(const int64_t *list, size_t count, int64_t x)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (list[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

lt_status lt_seam_normalise(const double *step, int64_t count, const lt_seams *seams, double *e)
{
    assert(count >= 0 && step != e);
    double *sorted = copy_of(step, count);
    if (sorted == NULL)
        LT_FAIL(LT_ENOMEM, "metrics: no memory for %lld steps", (long long)count);
    const double median = lt_median(sorted, count);
    const double little = 0.01 + (isnan(median) ? 0 : 0.05 * median);
    free(sorted);
    int64_t first = 0;
    for (size_t shot = 0; shot <= seams->cut_count; shot++) {
        /* the steps of a shot; that into the next one's first frame lies between the two */
        const int64_t cut = shot < seams->cut_count ? seams->cuts[shot] : count + 1;
        assert(cut > first);
        for (int64_t i = first; i < cut - 1 && i < count; i++)
            e[i] = normalised(step, first, cut - 1 < count ? cut - 1 : count, i, little);
        if (cut - 1 < count)
            e[cut - 1] = NAN;
        first = cut;
    }
    return LT_OK;
}

/* The larger of the two values that touch frame f. */
static double touching(const double *values, int64_t count, int64_t f)
{
    const double into = f >= 1 && f - 1 < count ? values[f - 1] : NAN;
    const double out = f >= 0 && f < count ? values[f] : NAN;
    return fmax(into, out); /* a NaN gives way */
}

static int is_near(const int64_t *list, size_t count, int64_t f)
{
    const size_t at = below(list, count, f - 1);
    return at < count && list[at] <= f + 1;
}

/* Is frame f a seam or a cut, or beside one? */
static int is_near_seam(const lt_seams *seams, int64_t f)
{
    return is_near(seams->frames, seams->count, f) || is_near(seams->cuts, seams->cut_count, f);
}

static int64_t phase_of(const lt_seams *seams, int64_t f)
{
    const size_t shot = below(seams->cuts, seams->cut_count, f + 1);
    return (f - (shot > 0 ? seams->cuts[shot - 1] : 0)) % seams->period;
}

/* What seams are held against: the values at all frames that are none, in order of their phases,
 * and the median of each phase. */
typedef struct yardstick {
    int64_t phases, count;
    int64_t *first; /* [phases + 1]: where a phase's values begin */
    double *value;  /* [count] */
    double *median; /* [phases]; NaN where a phase has none */
    double all;     /* median of all */
} yardstick;

static void yardstick_free(yardstick *r)
{
    free(r->first);
    free(r->value);
    free(r->median);
}

/* The value at frame f, and its phase in *phase; NaN where f is not compared with. */
static double other_at(const double *values, int64_t count, const lt_seams *seams, int64_t f,
                       int64_t *phase)
{
    *phase = phase_of(seams, f);
    return is_near_seam(seams, f) ? NAN : touching(values, count, f);
}

static lt_status yardstick_new(const double *values, int64_t count, const lt_seams *seams,
                               yardstick *out)
{
    const int64_t phases = seams->period < count + 1 ? seams->period : count + 1;
    *out = (yardstick){.phases = phases,
                       .first = calloc((size_t)phases + 2, sizeof *out->first),
                       .value = malloc(((size_t)count + 1) * sizeof *out->value),
                       .median = malloc((size_t)phases * sizeof *out->median)};
    double *all = malloc(((size_t)count + 1) * sizeof *all);
    if (out->first == NULL || out->value == NULL || out->median == NULL || all == NULL) {
        free(all);
        LT_FAIL(LT_ENOMEM, "metrics: no memory for %lld values", (long long)count);
    }
    int64_t phase = 0, *next = out->first + 1; /* while it is filled: where phase's next one goes */
    for (int64_t f = 1; f <= count; f++)
        if (!isnan(other_at(values, count, seams, f, &phase)))
            next[phase + 1]++;
    for (int64_t i = 0; i < phases; i++)
        next[i + 1] += next[i];
    for (int64_t f = 1; f <= count; f++) {
        const double value = other_at(values, count, seams, f, &phase);
        if (!isnan(value))
            out->value[next[phase]++] = value;
    }
    out->count = out->first[phases];
    if (out->count > 0)
        memcpy(all, out->value, (size_t)out->count * sizeof *all);
    out->all = lt_median(all, out->count);
    free(all);
    for (int64_t i = 0; i < phases; i++)
        out->median[i] = lt_median(out->value + out->first[i], out->first[i + 1] - out->first[i]);
    return LT_OK;
}

/* Of all values, each by its own phase's median, how many are at least `ratio`. */
static double share_of(const yardstick *r, double ratio)
{
    int64_t known = 0, as_large = 0;
    for (int64_t phase = 0; phase < r->phases; phase++)
        for (int64_t k = r->first[phase]; r->median[phase] > 0 && k < r->first[phase + 1]; k++) {
            known++;
            as_large += r->value[k] / r->median[phase] >= ratio;
        }
    return known > 0 && !isnan(ratio) ? (double)as_large / (double)known : NAN;
}

lt_status lt_seam_compare(const double *values, int64_t count, const lt_seams *seams,
                          lt_seam_value *out)
{
    assert(count >= 0 && seams->period >= 1);
    yardstick r = {0};
    lt_status st = yardstick_new(values, count, seams, &r);
    for (size_t i = 0; i < seams->count && st == LT_OK; i++) {
        const int64_t f = seams->frames[i], phase = phase_of(seams, f);
        assert(i == 0 || f > seams->frames[i - 1]);
        const int64_t own = phase < r.phases ? r.first[phase + 1] - r.first[phase] : 0;
        out[i] = (lt_seam_value){.at = touching(values, count, f),
                                 .rest = own > 0 ? r.median[phase] : r.all,
                                 .compared = own > 0 ? own : r.count,
                                 .same_phase = own > 0};
        out[i].share = share_of(&r, lt_seam_ratio(&out[i]));
    }
    yardstick_free(&r);
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
                        size_t border_count, int64_t block, double *ratio, double *ratio_max)
{
    assert(block >= 1);
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
        const double e = normalised(difference, 0, count, x, 0.01);
        int same = 0;
        for (size_t i = 0; i < border_count; i++)
            same |= borders[i] % block == x % block;
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
