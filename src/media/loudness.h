/* loudness.h - the audio's loudness, measured and set.
 *
 * Integrated loudness after EBU R 128 and ITU-R BS.1770 (libebur128): LUFS over the whole timeline,
 * gated, so that pauses do not count. Setting it is one gain for all samples; where that lifts the
 * true peak (the wave between the samples, four times finer) above LT_LOUDNESS_PEAK_DB, a limiter
 * holds it there, by a gain that bends within some milliseconds around each peak and never jumps,
 * and a little more gain makes up for what it takes. The timeline must be whole: a film's loudness
 * is known once its last sample is.
 *
 * All functions are Local and Blocking. Memory does not grow with the timeline but for 8 bytes
 * each 100 ms. Tested: tests/unit/test_loudness.c, tests/film/test_loudness_film.c. */
#ifndef LT_LOUDNESS_H
#define LT_LOUDNESS_H

#include "media/timeline.h"

#define LT_LOUDNESS_PEAK_DB (-1.0) /* dBTP: room for what a lossy codec adds (EBU R 128) */
#define LT_LOUDNESS_NEAR_LU 0.1    /* as near as it is set */

typedef struct lt_loudness {
    double integrated; /* LUFS; -INFINITY of silence, and of less than 400 ms */
    double true_peak;  /* dBTP; -INFINITY of silence */
} lt_loudness;

/* Errors: LT_EUNAVAIL: this build has no libebur128. */
lt_status lt_loudness_check(void);
const char *lt_loudness_library(void); /* "1.2.6"; NULL: none. Valid for ever */

/* Of a timeline of 1 or 2 channels. Errors: LT_EUNAVAIL, LT_ENOMEM, LT_EDATA (NaN), those of
 * lt_timeline_read. */
lt_status lt_loudness_measure(const lt_timeline *timeline, lt_loudness *out);
/* Bring the timeline to target LUFS; silence stays as it is. before and after: what it was and is;
 * after->integrated is further off than LT_LOUDNESS_NEAR_LU only where the limiter cannot give
 * more. Errors: as above; lt_timeline_write's. */
lt_status lt_loudness_set(lt_timeline *timeline, double target, lt_loudness *before,
                          lt_loudness *after);

#endif
