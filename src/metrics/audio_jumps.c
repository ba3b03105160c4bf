/* audio_jumps.c - does the audio's level or colour jump where two windows meet? */
#include "metrics/audio_jumps.h"

#include <assert.h>
#include <math.h>

#include "metrics/statistics.h"

enum { LEAST_BLOCKS = 3, PLACES = 2 * LT_AUDIO_HOPS };

/* 90 dB below full scale: what is quieter is silence. */
static const double SILENCE = 1e-9;

static double decibels(double power) { return 10 * log10(power + SILENCE); }

/* Mean power of blocks [first, end); NaN of too few. */
static double power_of(const lt_audio_series *a, int64_t first, int64_t end)
{
    double sum = 0;
    if (first < 0 || end > a->blocks || end - first < LEAST_BLOCKS)
        return NAN;
    for (int64_t i = first; i < end; i++)
        sum += a->power[i];
    return sum / (double)(end - first);
}

static void bands_of(const lt_audio_series *a, int64_t first, int64_t end, double *to)
{
    for (int b = 0; b < LT_AUDIO_BANDS; b++) {
        to[b] = 0;
        for (int64_t i = first; i < end; i++)
            to[b] += a->bands[i * LT_AUDIO_BANDS + b];
        to[b] /= (double)(end - first);
    }
}

/* Each side's bands as shares of its own power, so that the level's change is gone; a share of less
 * than a millionth is the codec's noise. */
static double spectrum_jump(const double *before, const double *behind)
{
    const double least = 1e-6;
    double all_before = SILENCE, all_behind = SILENCE, sum = 0;
    for (int b = 0; b < LT_AUDIO_BANDS; b++) {
        all_before += before[b];
        all_behind += behind[b];
    }
    for (int b = 0; b < LT_AUDIO_BANDS; b++)
        sum +=
            fabs(10 * log10((behind[b] / all_behind + least) / (before[b] / all_before + least)));
    return sum / LT_AUDIO_BANDS;
}

lt_audio_jump lt_audio_jump_at(const lt_audio_series *a, double sample)
{
    assert(a->hop >= 1 && a->window >= 1);
    lt_audio_jump jump = {NAN, NAN, NAN};
    const double hop = (double)a->hop, reach = LT_AUDIO_REACH * hop;
    if (!(sample >= 0 && sample <= (double)a->blocks * hop))
        return jump;
    /* Blocks and spectra that lie whole on one side, from the reach on. */
    const int64_t first = (int64_t)ceil(fmax(0, sample - reach) / hop);
    const int64_t before = (int64_t)floor(sample / hop), behind = (int64_t)ceil(sample / hop);
    int64_t end = (int64_t)floor((sample + reach) / hop);
    end = end < a->blocks ? end : a->blocks;
    jump.level_db = fabs(decibels(power_of(a, behind, end)) - decibels(power_of(a, first, before)));
    const int64_t spectra_before = (int64_t)floor((sample - (double)a->window) / hop) + 1;
    int64_t spectra_end = (int64_t)floor((sample + reach - (double)a->window) / hop) + 1;
    spectra_end = spectra_end < a->spectra ? spectra_end : a->spectra;
    if (spectra_before - first >= LEAST_BLOCKS && spectra_end - behind >= LEAST_BLOCKS) {
        double left[LT_AUDIO_BANDS], right[LT_AUDIO_BANDS];
        bands_of(a, first, spectra_before, left);
        bands_of(a, behind, spectra_end, right);
        jump.spectrum_db = spectrum_jump(left, right);
    }
    return jump;
}

lt_audio_jump lt_audio_jump_above(const lt_audio_series *a, double sample)
{
    double level[PLACES], spectrum[PLACES];
    int64_t n = 0, known = 0, as_large = 0;
    lt_audio_jump here = lt_audio_jump_at(a, sample);
    for (int k = LT_AUDIO_REACH + 1; k < LT_AUDIO_REACH + LT_AUDIO_HOPS; k++)
        for (int side = -1; side <= 1; side += 2) {
            const lt_audio_jump there = lt_audio_jump_at(a, sample + side * k * (double)a->hop);
            known += !isnan(there.level_db);
            as_large += there.level_db >= here.level_db;
            level[n] = there.level_db;
            spectrum[n++] = there.spectrum_db;
        }
    assert(n <= PLACES);
    if (known > 0 && !isnan(here.level_db))
        here.level_share = (double)as_large / (double)known;
    here.level_db -= lt_median(level, n);
    here.spectrum_db -= lt_median(spectrum, n);
    return here;
}
