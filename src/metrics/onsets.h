/* onsets.h - do audio and video begin things together?
 *
 * A bounce is seen and heard at once. Onset strengths, one value a frame each: of video, by how
 * much its movement (root of the step energy) and its brightness grew, or half of what they fell;
 * of audio, by how much its level grew, in dB, over the blocks that fall into the frame. Their
 * cross-correlation over a few
 * frames says by how much one is late. All functions are Local, Blocking and pure. Source:
 * spec/long-video.md 8 and DESIGN section 9; the measure is ours. Tested:
 * tests/unit/test_metrics_audio.c. */
#ifndef LT_ONSETS_H
#define LT_ONSETS_H

#include <stdint.h>

#include "metrics/audio_jumps.h"

enum { LT_ONSET_LAG_MAX = 12 };  /* frames each way */
#define LT_ONSET_CORRELATION 0.5 /* below it the offset says nothing */

/* out [frames]; step and luma_mean as lt_series has them. */
void lt_onsets_of_video(const double *step, const double *luma_mean, int64_t frames, double *out);

/* out [frames]. start_s: when sample 0 is heard, seconds after the first frame is shown. */
void lt_onsets_of_audio(const lt_audio_series *audio, double start_s, int64_t frames, double fps,
                        double *out);

typedef struct lt_onset_offset {
    int64_t frames;     /* above 0: audio is late */
    double correlation; /* at that offset, -1 to 1; NaN where one has no onsets (frames is 0) */
} lt_onset_offset;
lt_onset_offset lt_onset_offset_of(const double *video, const double *audio, int64_t frames);

#endif
