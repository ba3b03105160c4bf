/* timeline.h - the film's audio: one line of samples, written in any order.
 *
 * A timeline has a fixed number of samples, f32, addressed from 0. Stretches may be written out of
 * order and over each other (the last one counts); reading what was never written is an error, so
 * that a gap cannot pass for silence. It lives in memory (8 bytes a stereo sample) or in a file
 * that is removed when the process ends, whatever ends it; then its memory does not grow with the
 * film.
 *
 * All functions are Local and Blocking; one timeline belongs to one thread at a time.
 * Tested: tests/unit/test_timeline.c. */
#ifndef LT_TIMELINE_H
#define LT_TIMELINE_H

#include <stdint.h>

#include "base/new_file.h"
#include "base/status.h"

typedef struct lt_timeline lt_timeline;

/* path: the samples lie in a file without a name in path's folder; NULL: memory.
 * rate 1 or more, channels 1 to 8, samples 0 or more.
 * Errors: LT_ECREATE (file and errno's text), LT_ENOMEM, LT_ESHAPE (numbers out of range). */
lt_status lt_timeline_new(int rate, int channels, int64_t samples, const char *path,
                          lt_timeline **out);
void lt_timeline_free(lt_timeline **timeline); /* NULL inside is allowed */

int lt_timeline_rate(const lt_timeline *timeline);
int lt_timeline_channels(const lt_timeline *timeline);
int64_t lt_timeline_samples(const lt_timeline *timeline);

/* Samples [first, first + count) of all channels, one pointer a channel (planar).
 * Errors: LT_ESHAPE (outside), LT_EIO (disk full), LT_ENOMEM. */
lt_status lt_timeline_write(lt_timeline *timeline, int64_t first, const float *const *pcm,
                            int64_t count);

/* The same back. Errors: LT_ESHAPE (outside, or a part was never written: which), LT_EIO. */
lt_status lt_timeline_read(const lt_timeline *timeline, int64_t first, float *const *pcm,
                           int64_t count);

/* First sample at or after `from` that was never written; lt_timeline_samples if there is none. */
int64_t lt_timeline_gap(const lt_timeline *timeline, int64_t from);

/* The whole timeline as a WAV file, PCM 24 bit (rounded to nearest, clipped beyond -1..1),
 * whole or not at all (base/new_file.h). Errors: LT_ESHAPE (not all written), LT_EUSAGE (4 GiB or
 * more), LT_EDATA (NaN), LT_ECREATE, LT_EIO. */
lt_status lt_wav_write(const char *path, const lt_timeline *timeline, lt_replace replace);

#endif
