/* audio_jumps.h - does the audio's level or colour jump where two windows meet?
 *
 * The audio comes as short blocks, LT_AUDIO_HOPS a second: mean power, and the power in bands. At a
 * sample, the mean over LT_AUDIO_REACH before it is held against the mean over as much behind it;
 * blocks that straddle the sample count for neither. Audio is bursty, so each jump has its
 * neighbourhood taken away: the median of the same jump at places within a second, none of which
 * sees the sample itself. Source: spec/long-video.md 8.1, last sentence but one.
 * All functions are Local, Blocking and pure. Tested: tests/unit/test_metrics_audio.c. */
#ifndef LT_AUDIO_JUMPS_H
#define LT_AUDIO_JUMPS_H

#include <stdint.h>

#include "base/status.h"

enum { LT_AUDIO_BANDS = 16, LT_AUDIO_HOPS = 100, LT_AUDIO_REACH = 10 /* blocks */ };
#define LT_AUDIO_LEVEL_MAX_DB                                                                      \
    1.0 /* the budget of a level jump above its neighbourhood: section 7 */

/* What short blocks of the audio come to; media/spectrum.h makes it. Borrowed. */
typedef struct lt_audio_series {
    int rate;           /* samples a second */
    int64_t hop;        /* samples of a block: block i is [i hop, (i + 1) hop) */
    int64_t window;     /* samples of a spectrum: spectrum i is [i hop, i hop + window) */
    int64_t blocks;     /* of power, and of low and high */
    int64_t spectra;    /* of bands; no more than blocks */
    const float *power; /* [blocks]: mean square over the channels; 1 is full scale */
    const float *bands; /* [spectra, LT_AUDIO_BANDS]: power by band */
    const float *low;   /* [blocks]: least and largest sample, for waveforms */
    const float *high;
} lt_audio_series;

typedef struct lt_audio_jump {
    double level_share; /* of the neighbourhood's level jumps, how many are at least as large */
    double level_db;    /* |level behind - level before|, dB */
    double spectrum_db; /* mean over bands of |change of the band's share of the power|, dB */
} lt_audio_jump;

/* At a sample, as it is, level_share NaN; NaN where one side is shorter than three blocks. */
lt_audio_jump lt_audio_jump_at(const lt_audio_series *audio, double sample);

/* The same less the median of its neighbourhood (which may leave it below 0). */
lt_audio_jump lt_audio_jump_above(const lt_audio_series *audio, double sample);

#endif
