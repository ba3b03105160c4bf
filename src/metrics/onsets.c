/* onsets.c - do audio and video happen together? */
#include "metrics/onsets.h"

#include <assert.h>
#include <math.h>

#include "metrics/statistics.h"

enum { AROUND = 3 }; /* steps that a start or a stop is held against */
#define START_SHARE    0.5
#define STOP_SHARE     0.25
#define START_LEAD     0.25 /* frames */
#define SILENCE        1e-6
#define BELOW_THE_MEAN 0.1

/* Something of that strength at a time, in frames. */
static void mark(double *out, int64_t frames, double at, double strength)
{
    const int64_t n = frames * LT_ONSET_PARTS;
    const double middle = at * LT_ONSET_PARTS;
    int64_t i = (int64_t)ceil(middle - LT_ONSET_PARTS);
    for (i = i < 0 ? 0 : i; i < n && (double)i < middle + LT_ONSET_PARTS; i++)
        out[i] += strength * (1 - fabs((double)i - middle) / LT_ONSET_PARTS);
}

static double root(double energy) { return energy > 0 ? sqrt(energy) : 0; }

/* The root of the largest of steps [from, until), those that are there. */
static double most(const double *step, int64_t frames, int64_t from, int64_t until)
{
    double d = 0;
    for (int64_t t = from < 0 ? 0 : from; t < until && t < frames - 1; t++)
        d = fmax(d, step[t]);
    return sqrt(d);
}

void lt_onsets_of_video(const double *step, const double *acceleration, const double *span,
                        int64_t frames, double *out)
{
    assert(frames >= 0);
    for (int64_t i = 0; i < frames * LT_ONSET_PARTS; i++)
        out[i] = 0;
    for (int64_t t = 1; t + 1 < frames; t++) {
        const double mean = (step[t - 1] + step[t]) / 2;
        /* |a - b|^2 + |a + b|^2 = 2 |a|^2 + 2 |b|^2, of the steps to frame t and from it. */
        const double over_two = 4 * mean - acceleration[t];
        mark(out, frames, (double)t, root(mean - over_two));
        if (t + 2 < frames)
            mark(out, frames, (double)t + 0.5, root((step[t - 1] + step[t + 1]) / 2 - span[t]));
        const double start = sqrt(step[t]) - 3 * most(step, frames, t - AROUND, t);
        const double stop = sqrt(step[t - 1]) - 3 * most(step, frames, t, t + AROUND);
        if (start > 0)
            mark(out, frames, (double)t + 1 - START_LEAD, START_SHARE * start);
        if (stop > 0)
            mark(out, frames, (double)t, STOP_SHARE * stop);
    }
}

void lt_onsets_of_audio(const lt_audio_series *audio, double start_s, int64_t frames, double fps,
                        double *out)
{
    assert(frames >= 0 && fps > 0);
    double mean = 0;
    for (int64_t i = 0; i < frames * LT_ONSET_PARTS; i++)
        out[i] = 0;
    for (int64_t i = 0; i < audio->blocks; i++)
        mean += audio->power[i] / (double)audio->blocks;
    const double least = SILENCE + BELOW_THE_MEAN * mean;
    for (int64_t i = AROUND; i < audio->blocks; i++) {
        double before = 0;
        for (int64_t k = i - AROUND; k < i; k++)
            before = fmax(before, audio->power[k]);
        const double rise = 10 * log10((audio->power[i] + least) / (before + least));
        const double middle = ((double)i + 0.5) * (double)audio->hop / audio->rate + start_s;
        if (rise > 0)
            mark(out, frames, middle * fps, rise);
    }
}

/* Of v, and of a that comes lag places later, both n values around their means. */
static double product(const double *v, double v_mean, const double *a, double a_mean, int64_t n,
                      int64_t lag)
{
    double sum = 0;
    for (int64_t i = 0, k = (lag % n + n) % n; i < n; i++, k = k + 1 < n ? k + 1 : 0)
        sum += (v[i] - v_mean) * (a[k] - a_mean);
    return sum;
}

lt_onset_offset lt_onset_offset_of(const double *video, const double *audio, int64_t frames)
{
    lt_onset_offset best = {0, NAN, NAN};
    const int64_t n = frames * LT_ONSET_PARTS, near = LT_ONSET_LAG_MAX * LT_ONSET_PARTS;
    int64_t most_far = near + LT_ONSET_LAG_FAR * LT_ONSET_PARTS, far = 0;
    if (most_far > (n - 1) / 2)
        most_far = (n - 1) / 2;
    const double v = lt_mean(video, 0, n), a = lt_mean(audio, 0, n);
    double video_square = 0, audio_square = 0, sum = 0, square = 0;
    for (int64_t t = 0; t < n; t++) {
        video_square += (video[t] - v) * (video[t] - v);
        audio_square += (audio[t] - a) * (audio[t] - a);
    }
    if (!(video_square > 0 && audio_square > 0))
        return best;
    for (int64_t lag = -most_far; lag <= most_far; lag++) {
        const double r = product(video, v, audio, a, n, lag) / sqrt(video_square * audio_square);
        if (lag < -near || lag > near) {
            sum += r;
            square += r * r;
            far++;
        } else if (!(r <= best.correlation)) { /* so written, the first one counts */
            best.frames = (double)lag / LT_ONSET_PARTS;
            best.correlation = r;
        }
    }
    const double mean = sum / (double)far, spread = sqrt(square / (double)far - mean * mean);
    if (far > 1 && spread > 0)
        best.deviations = (best.correlation - mean) / spread;
    return best;
}

int lt_onset_says(const lt_onset_offset *offset, double seconds)
{
    return offset->correlation >= LT_ONSET_CORRELATION ||
           (seconds >= LT_ONSET_LONG_S && offset->deviations >= LT_ONSET_DEVIATIONS);
}
