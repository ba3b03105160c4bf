/* onsets.c - do audio and video begin things together? */
#include "metrics/onsets.h"

#include <assert.h>
#include <math.h>

#include "metrics/statistics.h"

/* What ends is an event too (a ball that lands), but less than what begins: so a flash of one frame
 * has one time. */
static double strength(double change) { return change > 0 ? change : -0.5 * change; }

void lt_onsets_of_video(const double *step, const double *luma_mean, int64_t frames, double *out)
{
    assert(frames >= 0);
    for (int64_t t = 0; t < frames; t++) {
        out[t] = 0;
        if (t >= 1)
            out[t] += strength(luma_mean[t] - luma_mean[t - 1]);
        if (t >= 2) /* step[t - 1] is what frame t brought */
            out[t] += strength(sqrt(step[t - 1]) - sqrt(step[t - 2]));
    }
}

void lt_onsets_of_audio(const lt_audio_series *audio, double start_s, int64_t frames, double fps,
                        double *out)
{
    assert(frames >= 0 && fps > 0);
    for (int64_t t = 0; t < frames; t++)
        out[t] = 0;
    for (int64_t i = 1; i < audio->blocks; i++) {
        const double middle = ((double)i + 0.5) * (double)audio->hop / audio->rate + start_s;
        const double t = floor(middle * fps);
        /* 60 dB below full scale counts as silence, so that a codec's noise is no onset. */
        const double rise = 10 * log10((audio->power[i] + 1e-6) / (audio->power[i - 1] + 1e-6));
        if (t >= 0 && t < (double)frames && rise > 0)
            out[(int64_t)t] += rise;
    }
}

lt_onset_offset lt_onset_offset_of(const double *video, const double *audio, int64_t frames)
{
    lt_onset_offset best = {0, NAN};
    const double v = lt_mean(video, 0, frames), a = lt_mean(audio, 0, frames);
    double video_square = 0, audio_square = 0;
    for (int64_t t = 0; t < frames; t++) {
        video_square += (video[t] - v) * (video[t] - v);
        audio_square += (audio[t] - a) * (audio[t] - a);
    }
    if (!(video_square > 0 && audio_square > 0))
        return best;
    for (int64_t lag = -LT_ONSET_LAG_MAX; lag <= LT_ONSET_LAG_MAX; lag++) {
        double sum = 0;
        for (int64_t t = 0; t < frames; t++)
            if (t + lag >= 0 && t + lag < frames)
                sum += (video[t] - v) * (audio[t + lag] - a);
        const double r = sum / sqrt(video_square * audio_square);
        if (!(r <= best.correlation)) /* so written, the first one counts */
            best = (lt_onset_offset){lag, r};
    }
    return best;
}
