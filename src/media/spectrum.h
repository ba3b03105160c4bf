/* spectrum.h - audio as short blocks: their power, their reach, and their power in bands.
 *
 * Samples come in parts of any length. A block is rate / LT_SPECTRUM_HOPS samples; a spectrum
 * begins with each block and is the largest power of two within rate / 25 samples long (32 kHz:
 * 1024), Hann window, its bins summed into LT_SPECTRUM_BANDS bands, equally wide in octaves from
 * LT_SPECTRUM_LOW_HZ to half the rate. Two channels are added as power. What does not fill the last
 * block or spectrum is left out. 80 bytes a block: an hour is 29 MB. FFmpeg's libavutil transforms.
 * All functions are Local and Blocking; one object belongs to one thread.
 * Tested: tests/unit/test_metrics_audio.c. */
#ifndef LT_SPECTRUM_H
#define LT_SPECTRUM_H

#include <stdint.h>

#include "base/status.h"

enum {
    LT_SPECTRUM_BANDS = 16,
    LT_SPECTRUM_HOPS = 100, /* blocks a second */
    LT_SPECTRUM_LOW_HZ = 60,
    LT_SPECTRUM_RATE_MIN = 2000,
    LT_SPECTRUM_RATE_MAX = 768000
};

typedef struct lt_spectrum lt_spectrum;

/* channels: 1 or 2. Errors: LT_ESHAPE (a rate or number of channels outside), LT_ENOMEM,
 * LT_EDATA from add (more than 60 hours). */
lt_status lt_spectrum_new(int rate, int channels, lt_spectrum **out);
void lt_spectrum_free(lt_spectrum **spectrum); /* NULL inside is allowed */

/* The next count samples, one pointer a channel, each finite. Errors: LT_ENOMEM, LT_EDATA. */
lt_status lt_spectrum_add(lt_spectrum *spectrum, const float *const *pcm, int64_t count);

/* What there is by now; the pointers stay until the next add. */
typedef struct lt_spectrum_view {
    int rate;
    int64_t hop, window, samples, blocks, spectra;
    const float *power, *low, *high; /* [blocks] mean square; least and largest sample */
    const float *bands;              /* [spectra, LT_SPECTRUM_BANDS] */
} lt_spectrum_view;
lt_spectrum_view lt_spectrum_look(const lt_spectrum *spectrum);

#endif
