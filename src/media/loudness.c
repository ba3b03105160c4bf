/* loudness.c - the audio's loudness, measured and set.
 *
 * The limiter looks at blocks of a second with some milliseconds around each:
 *
 *     needed[i]  the gain that brings the true peak at sample i under the ceiling, at most 1
 *     least[i]   the least of needed within REACH on each side
 *     gain[i]    the mean of least within REACH on each side
 *
 * Each of the means' terms is at most needed[i], so gain[i] is too; and it moves by at most 1 in
 * 2 REACH samples. What the limiter takes away lowers the loudness, so the gain before it is found
 * by a few rounds that write nothing. A block is written in place once the next one's context has
 * been kept. */
#include "media/loudness.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef LT_HAVE_EBUR128
#include <ebur128.h>
#endif

enum {
    FINER = 4,  /* BS.1770: true peaks four times finer than the samples */
    TAPS = 12,  /* of each of the interpolator's phases */
    ROUNDS = 8, /* of finding the gain */
    CHANNELS = 2
};

#ifdef LT_HAVE_EBUR128

const char *lt_loudness_library(void)
{
    static char text[32];
    int major = 0, minor = 0, patch = 0;
    ebur128_get_version(&major, &minor, &patch);
    (void)snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}

lt_status lt_loudness_check(void) { return LT_OK; }

typedef struct limiter {
    lt_timeline *timeline;
    int rate, channels, reach, around; /* around: samples of context on each side of a block */
    double ceiling;
    double phase[FINER][TAPS];
    float *kept[CHANNELS];         /* [around]: the block before's last samples as they were */
    float *in[CHANNELS];           /* [around + block + around] */
    float *out;                    /* [block, channels], as the meter takes them */
    float *plane[CHANNELS];        /* [block] */
    double *needed, *least, *gain; /* [around + block + around] */
    int64_t *queue;
} limiter;

static void limiter_free(limiter *l)
{
    for (int c = 0; c < CHANNELS; c++) {
        free(l->kept[c]);
        free(l->in[c]);
        free(l->plane[c]);
    }
    free(l->out);
    free(l->needed);
    free(l->least);
    free(l->gain);
    free(l->queue);
}

/* A windowed sinc: what lies p / FINER behind a sample, from TAPS samples around it. */
static void make_phases(limiter *l)
{
    const double pi = acos(-1);
    for (int p = 0; p < FINER; p++) {
        double sum = 0;
        for (int k = 0; k < TAPS; k++) {
            const double x = k - (TAPS / 2 - 1) - (double)p / FINER;
            const double window = 0.5 + 0.5 * cos(2 * pi * x / TAPS);
            l->phase[p][k] = (fabs(x) < 1e-12 ? 1 : sin(pi * x) / (pi * x)) * window;
            sum += l->phase[p][k];
        }
        for (int k = 0; k < TAPS; k++)
            l->phase[p][k] /= sum;
    }
}

static lt_status limiter_new(lt_timeline *timeline, limiter *l)
{
    *l = (limiter){.timeline = timeline,
                   .rate = lt_timeline_rate(timeline),
                   .channels = lt_timeline_channels(timeline),
                   .ceiling = pow(10, LT_LOUDNESS_PEAK_DB / 20)};
    assert(l->channels >= 1 && l->channels <= CHANNELS);
    l->reach = l->rate / 200 + 1;
    l->around = 2 * l->reach + TAPS;
    const size_t room = (size_t)(l->rate + 2 * l->around);
    int enough = 1;
    for (int c = 0; c < l->channels; c++) {
        l->kept[c] = calloc((size_t)l->around, sizeof(float));
        l->in[c] = calloc(room, sizeof(float));
        l->plane[c] = malloc((size_t)l->rate * sizeof(float));
        enough &= l->kept[c] != NULL && l->in[c] != NULL && l->plane[c] != NULL;
    }
    l->out = malloc((size_t)(l->rate * l->channels) * sizeof *l->out);
    l->needed = malloc(room * sizeof *l->needed);
    l->least = malloc(room * sizeof *l->least);
    l->gain = malloc(room * sizeof *l->gain);
    l->queue = malloc(room * sizeof *l->queue);
    if (!enough || l->out == NULL || l->needed == NULL || l->least == NULL || l->gain == NULL ||
        l->queue == NULL)
        LT_FAIL(LT_ENOMEM, "loudness: no memory");
    make_phases(l);
    return LT_OK;
}

/* Samples [first, first + count) of the timeline and `around` on each side into `in`: silence
 * outside, and in front what was there before this pass wrote over it. */
static lt_status read_block(limiter *l, int64_t first, int64_t count)
{
    const int64_t all = lt_timeline_samples(l->timeline);
    const int64_t end = first + count + l->around < all ? first + count + l->around : all;
    float *to[CHANNELS];
    for (int c = 0; c < l->channels; c++) {
        memset(l->in[c], 0, (size_t)(count + 2 * l->around) * sizeof(float));
        memcpy(l->in[c], l->kept[c], (size_t)l->around * sizeof(float));
        to[c] = l->in[c] + l->around;
    }
    LT_TRY(lt_timeline_read(l->timeline, first, to, end - first));
    for (int c = 0; c < l->channels; c++) {
        memcpy(l->kept[c], l->in[c] + count, (size_t)l->around * sizeof(float));
        for (int64_t i = 0; i < count; i++)
            if (!isfinite(to[c][i]))
                LT_FAIL(LT_EDATA, "loudness: sample %lld of channel %d is no number",
                        (long long)(first + i), c);
    }
    return LT_OK;
}

/* The largest value that the wave has at sample i or between it and the next. */
static double peak_at(const limiter *l, int64_t i, int64_t room)
{
    double most = 0;
    for (int c = 0; c < l->channels; c++)
        for (int p = 0; p < FINER; p++) {
            double sum = 0;
            for (int k = 0; k < TAPS; k++) {
                const int64_t at = i + k - (TAPS / 2 - 1);
                if (at >= 0 && at < room)
                    sum += l->phase[p][k] * l->in[c][at];
            }
            most = fmax(most, fabs(sum));
        }
    return most;
}

/* out[i] = the least of in[i - reach .. i + reach], by a queue of what may still be the least. */
static void least_within(const double *in, int64_t count, int reach, int64_t *queue, double *out)
{
    int64_t head = 0, tail = 0;
    for (int64_t i = 0; i < count + reach; i++) {
        if (i < count) {
            while (tail > head && in[queue[tail - 1]] >= in[i])
                tail--;
            queue[tail++] = i;
        }
        if (i - reach >= 0) {
            while (queue[head] < i - 2 * (int64_t)reach)
                head++;
            out[i - reach] = in[queue[head]];
        }
    }
}

static void mean_within(const double *in, int64_t count, int reach, double *out)
{
    double sum = 0;
    int64_t first = 0, end = 0; /* what sum holds */
    for (int64_t i = 0; i < count; i++) {
        while (end < count && end <= i + reach)
            sum += in[end++];
        while (first < i - reach)
            sum -= in[first++];
        out[i] = sum / (double)(end - first);
    }
}

/* One block at this gain, limited, into plane and out. */
static lt_status limit_block(limiter *l, int64_t first, int64_t count, double gain)
{
    const int64_t room = count + 2 * l->around;
    int is_over = 0;
    LT_TRY(read_block(l, first, count));
    for (int64_t i = 0; i < room; i++) {
        const double peak = gain * peak_at(l, i, room);
        l->needed[i] = peak > l->ceiling ? l->ceiling / peak : 1;
        is_over |= peak > l->ceiling;
    }
    if (is_over) {
        least_within(l->needed, room, l->reach, l->queue, l->least);
        mean_within(l->least, room, l->reach, l->gain);
    }
    for (int c = 0; c < l->channels; c++)
        for (int64_t i = 0; i < count; i++) {
            const double limited = is_over ? l->gain[l->around + i] : 1;
            const float x = (float)(gain * limited * l->in[c][l->around + i]);
            l->plane[c][i] = l->out[i * l->channels + c] = x;
        }
    return LT_OK;
}

/* The whole timeline at this gain, measured, and with `writes` written. */
static lt_status pass(limiter *l, double gain, int writes, lt_loudness *out)
{
    const int64_t all = lt_timeline_samples(l->timeline);
    ebur128_state *meter = ebur128_init((unsigned)l->channels, (unsigned long)l->rate,
                                        EBUR128_MODE_I | EBUR128_MODE_TRUE_PEAK);
    lt_status st = LT_OK;
    if (meter == NULL)
        LT_FAIL(LT_ENOMEM, "loudness: no memory for a meter of %d Hz", l->rate);
    for (int c = 0; c < l->channels; c++)
        memset(l->kept[c], 0, (size_t)l->around * sizeof(float));
    for (int64_t first = 0; first < all && st == LT_OK; first += l->rate) {
        const int64_t count = all - first < l->rate ? all - first : l->rate;
        st = limit_block(l, first, count, gain);
        const float *const plane[CHANNELS] = {l->plane[0], l->plane[1]};
        if (st == LT_OK && writes)
            st = lt_timeline_write(l->timeline, first, plane, count);
        if (st == LT_OK &&
            ebur128_add_frames_float(meter, l->out, (size_t)count) != EBUR128_SUCCESS)
            st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "loudness: no memory");
    }
    double peak = 0;
    *out = (lt_loudness){-INFINITY, -INFINITY};
    if (st == LT_OK && ebur128_loudness_global(meter, &out->integrated) != EBUR128_SUCCESS)
        st = lt_fail(LT_EINTERNAL, __FILE__, __LINE__, "loudness: the meter does not answer");
    for (unsigned c = 0; c < (unsigned)l->channels && st == LT_OK; c++)
        if (ebur128_true_peak(meter, c, &peak) == EBUR128_SUCCESS && peak > 0)
            out->true_peak = fmax(out->true_peak, 20 * log10(peak));
    ebur128_destroy(&meter);
    LT_TRY(st);
    return LT_OK;
}

/* As it is: a gain of 1 and no ceiling. */
lt_status lt_loudness_measure(const lt_timeline *timeline, lt_loudness *out)
{
    limiter l;
    lt_timeline *same = (lt_timeline *)(uintptr_t)timeline; /* nothing is written */
    lt_status st = limiter_new(same, &l);
    l.ceiling = INFINITY;
    if (st == LT_OK)
        st = pass(&l, 1, 0, out);
    limiter_free(&l);
    return st;
}

lt_status lt_loudness_set(lt_timeline *timeline, double target, lt_loudness *before,
                          lt_loudness *after)
{
    limiter l;
    LT_TRY(lt_loudness_measure(timeline, before));
    *after = *before;
    if (!isfinite(before->integrated)) /* silence */
        return LT_OK;
    lt_status st = limiter_new(timeline, &l);
    double gain_db = target - before->integrated;
    /* A gain alone is exact. Where the limiter takes some of it away, more is tried. */
    for (int i = 0; i < ROUNDS && st == LT_OK && before->true_peak + gain_db > LT_LOUDNESS_PEAK_DB;
         i++) {
        st = pass(&l, pow(10, gain_db / 20), 0, after);
        const double missing = target - after->integrated;
        if (st != LT_OK || fabs(missing) < LT_LOUDNESS_NEAR_LU / 2)
            break;
        gain_db += missing;
    }
    if (st == LT_OK)
        st = pass(&l, pow(10, gain_db / 20), 1, after);
    limiter_free(&l);
    return st;
}

#else

const char *lt_loudness_library(void) { return NULL; }

lt_status lt_loudness_check(void)
{
    LT_FAIL(LT_EUNAVAIL, "--loudness: this build has no libebur128, which measures it");
}

lt_status lt_loudness_measure(const lt_timeline *timeline, lt_loudness *out)
{
    (void)timeline;
    *out = (lt_loudness){-INFINITY, -INFINITY};
    return lt_loudness_check();
}

lt_status lt_loudness_set(lt_timeline *timeline, double target, lt_loudness *before,
                          lt_loudness *after)
{
    (void)target;
    *after = (lt_loudness){-INFINITY, -INFINITY};
    return lt_loudness_measure(timeline, before);
}

#endif
