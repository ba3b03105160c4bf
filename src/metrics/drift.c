/* drift.c - what changes slowly over a film, stands still, or comes back. */
#include "metrics/drift.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "metrics/statistics.h"

/* Frames of the first and of the last second; of a film of less than two, its halves. */
static int64_t second_of(int64_t frames, double fps)
{
    assert(fps > 0);
    const int64_t second = (int64_t)(fps + 0.5), half = frames / 2;
    const int64_t n = second < half ? second : half;
    return n > 0 ? n : frames;
}

lt_drift lt_drift_of(const double *values, int64_t frames, double fps)
{
    const int64_t second = second_of(frames, fps);
    return (lt_drift){.per_second = lt_slope(values, frames) * fps,
                      .first = lt_mean(values, 0, second),
                      .last = lt_mean(values, frames - second, frames)};
}

double lt_drift_histogram(const double *const bin[8], int64_t frames, double fps)
{
    const int64_t second = second_of(frames, fps);
    double sum = 0;
    for (int i = 0; i < 8; i++) {
        const double a = lt_mean(bin[i], 0, second), b = lt_mean(bin[i], frames - second, frames);
        if (a + b > 0)
            sum += (a - b) * (a - b) / (a + b);
    }
    return frames > 0 ? sum : NAN;
}

double lt_freeze_share(const double *step, int64_t count)
{
    int64_t still = 0, all = 0;
    for (int64_t i = 0; i < count; i++) {
        still += step[i] < LT_FREEZE_STEP;
        all += !isnan(step[i]);
    }
    return all > 0 ? (double)still / (double)all : NAN;
}

lt_status lt_loop_of(const double *values, int64_t count, lt_loop *out)
{
    *out = (lt_loop){NAN, 0};
    double *x = malloc((size_t)(count > 0 ? count : 1) * sizeof *x), square = 0;
    if (x == NULL)
        LT_FAIL(LT_ENOMEM, "metrics: no memory for %lld values", (long long)count);
    const double mean = lt_mean(values, 0, count);
    for (int64_t i = 0; i < count; i++) {
        x[i] = isnan(values[i]) ? 0 : values[i] - mean;
        square += x[i] * x[i];
    }
    const int64_t lags = count / 2 < LT_LOOP_LAG_MAX ? count / 2 : LT_LOOP_LAG_MAX;
    for (int64_t lag = LT_LOOP_LAG_MIN; lag <= lags && square > 0; lag++) {
        double both = 0, early = 0, late = 0;
        for (int64_t i = 0; i + lag < count; i++) {
            both += x[i] * x[i + lag];
            early += x[i] * x[i];
            late += x[i + lag] * x[i + lag];
        }
        const double r = early > 0 && late > 0 ? both / sqrt(early * late) : NAN;
        if (!isnan(r) && !(r <= out->correlation))
            *out = (lt_loop){r, lag};
    }
    free(x);
    return LT_OK;
}

/* Each thumbnail less the film's mean one, of length 1; one that is the mean itself is all 0. */
static void centre(const uint8_t *thumbs, int64_t count, int pixels, float *to)
{
    for (int k = 0; k < pixels; k++) {
        double sum = 0;
        for (int64_t i = 0; i < count; i++)
            sum += thumbs[i * pixels + k];
        for (int64_t i = 0; i < count; i++)
            to[i * pixels + k] = (float)(thumbs[i * pixels + k] - sum / (double)count);
    }
    for (int64_t i = 0; i < count; i++) {
        double square = 0;
        for (int k = 0; k < pixels; k++)
            square += (double)to[i * pixels + k] * to[i * pixels + k];
        const float scale = square > 1e-9 ? (float)(1 / sqrt(square)) : 0;
        for (int k = 0; k < pixels; k++)
            to[i * pixels + k] *= scale;
    }
}

static double product(const float *a, const float *b, int pixels)
{
    float part[16] = {0}; /* a fixed order that vectorises */
    int k = 0;
    for (; k + 16 <= pixels; k += 16)
        for (int i = 0; i < 16; i++)
            part[i] += a[k + i] * b[k + i];
    double sum = 0;
    for (int i = 0; i < 16; i++)
        sum += part[i];
    for (; k < pixels; k++)
        sum += (double)a[k] * b[k];
    return sum;
}

lt_status lt_loop_of_thumbs(const uint8_t *thumbs, int64_t count, int64_t stride, int pixels,
                            lt_loop *out)
{
    assert(count >= 0 && stride >= 1 && pixels >= 1);
    *out = (lt_loop){NAN, 0};
    float *x = malloc((size_t)(count > 0 ? count : 1) * (size_t)pixels * sizeof *x);
    if (x == NULL)
        LT_FAIL(LT_ENOMEM, "metrics: no memory for %lld thumbnails", (long long)count);
    centre(thumbs, count, pixels, x);
    const int64_t apart = (LT_LOOP_LAG_MIN + stride - 1) / stride;
    int moves = 0;
    for (int64_t i = 0; i < count * pixels && !moves; i++)
        moves = x[i] != 0;
    for (int64_t i = 0; i < count && moves; i++)
        for (int64_t k = i + apart; k < count; k++) {
            const double r = product(x + i * pixels, x + k * pixels, pixels);
            if (!(r <= out->correlation))
                *out = (lt_loop){r, (k - i) * stride};
        }
    free(x);
    return LT_OK;
}
