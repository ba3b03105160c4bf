/* onsets.h - do audio and video happen together?
 *
 * A bounce is seen and heard at once. Two series of strengths, LT_ONSET_PARTS values a frame, say
 * when something happens; their correlation says by how much one is late. d is the step energy.
 *
 *     video   turns   where movement goes back: frames on both sides of a moment are more alike
 *                     than neighbours are. Of a moment at frame t: the root of
 *                     (d[t - 1] + d[t]) / 2 - |y[t + 1] - y[t - 1]|^2, above 0; of one half-way
 *                     to frame t + 1: of (d[t - 1] + d[t + 1]) / 2 - |y[t + 2] - y[t - 1]|^2
 *             starts  half of what a step (root of d) has above three times the largest of the
 *                     three before it; a quarter of a frame before the frame that shows it
 *             stops   a quarter of what it has above three times the largest of the three behind
 *     audio           dB by which a block of 10 ms is louder than each of the three before it;
 *                     what is 10 dB below the film's mean power, or 60 dB below full scale, counts
 *                     as that loud
 *
 * A step alone would be late: as a ball bounces its step energy falls for a frame, and rises again
 * up to two frames after the sound. A film that samples a world shows what starts up to a frame
 * late, one that begins a sound with a frame does not; the quarter frame is between them. What
 * moves and goes on moving is neither. Each moment counts over a frame on both sides, less the
 * further. All functions are Local, Blocking and pure. Source: spec/long-video.md 8.9; the measure
 * is ours. Tested: tests/unit/test_metrics_onsets.c. */
#ifndef LT_ONSETS_H
#define LT_ONSETS_H

#include <stdint.h>

#include "metrics/audio_jumps.h"

enum {
    LT_ONSET_PARTS = 4,     /* of a frame */
    LT_ONSET_LAG_MAX = 12,  /* frames each way that audio may be late */
    LT_ONSET_LAG_FAR = 720, /* and further ones, with which these are compared */
};
/* Where an offset says something: a correlation that no other film's audio reaches (measured on
 * pairs of films of bouncing balls: one in a hundred), or, of a long film, one that stands out. */
#define LT_ONSET_CORRELATION 0.6
#define LT_ONSET_DEVIATIONS  5.0
#define LT_ONSET_LONG_S      10.0

/* out [frames LT_ONSET_PARTS]; the series of lt_series by these names. */
void lt_onsets_of_video(const double *step, const double *acceleration, const double *span,
                        int64_t frames, double *out);

/* out [frames LT_ONSET_PARTS]. start_s: when sample 0 is heard, seconds after the first frame is
 * shown. */
void lt_onsets_of_audio(const lt_audio_series *audio, double start_s, int64_t frames, double fps,
                        double *out);

typedef struct lt_onset_offset {
    double frames;      /* above 0: audio is late; a multiple of 1 / LT_ONSET_PARTS */
    double correlation; /* at that offset, -1 to 1; NaN where one has no onsets (frames is 0) */
    double deviations;  /* of the correlation from its mean over further offsets; NaN: too short */
} lt_onset_offset;

/* Both as a ring, so that all offsets have as many values. */
lt_onset_offset lt_onset_offset_of(const double *video, const double *audio, int64_t frames);

/* Does it say anything, of a film of so many seconds? */
int lt_onset_says(const lt_onset_offset *offset, double seconds);

#endif
