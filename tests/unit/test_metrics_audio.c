/* test_metrics_audio.c - figures of tones whose jumps are known.
 * Goal: a step of 3 dB is seen as 3 dB, a tone that changes its pitch as a change of spectrum.
 * Method: samples go through media/spectrum in parts of odd lengths. Ranks: 1. Needs: FFmpeg's
 * libavutil. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "media/spectrum.h"
#include "metrics/audio_jumps.h"
#include "tests/support/check.h"

enum { RATE = 32000, SECONDS = 5, SAMPLES = RATE * SECONDS };
#define FPS  24.0
#define JOIN (61.0 / FPS * RATE) /* no multiple of a block */

static float left[SAMPLES], right[SAMPLES];

static lt_spectrum *spectrum_of(int channels)
{
    lt_spectrum *s = NULL;
    OK(lt_spectrum_new(RATE, channels, &s));
    for (int64_t at = 0, n = 1; at < SAMPLES; at += n) {
        n = at % 977 + 1 < SAMPLES - at ? at % 977 + 1 : SAMPLES - at;
        OK(lt_spectrum_add(s, (const float *const[]){left + at, right + at}, n));
    }
    return s;
}

static lt_audio_series series_of(const lt_spectrum *s)
{
    const lt_spectrum_view v = lt_spectrum_look(s);
    return (lt_audio_series){.rate = v.rate,
                             .hop = v.hop,
                             .window = v.window,
                             .blocks = v.blocks,
                             .spectra = v.spectra,
                             .power = v.power,
                             .bands = v.bands,
                             .low = v.low,
                             .high = v.high};
}

/* A tone of hz until the join, of hz_behind and gain times as loud from it on. */
static void tone(double hz, double hz_behind, double gain)
{
    for (int i = 0; i < SAMPLES; i++) {
        const int behind = i >= JOIN;
        const double x =
            0.2 * (behind ? gain : 1) * sin(2 * acos(-1) * (behind ? hz_behind : hz) * i / RATE);
        left[i] = (float)x;
        right[i] = (float)(0.5 * x);
    }
}

static void jumps_have_their_size(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double hz, hz_behind, gain, level_low, level_high, spectrum_low, spectrum_high;
    } cases[] = {
        /* Blocks of 10 ms hold whole waves of 400 Hz: what is left is rounding to f32. */
        {"steady", 400, 400, 1, -0.01, 0.01, -0.05, 0.05},
        {"3 dB", 400, 400, 1.4125, 2.99, 3.01, -0.05, 0.05},
        {"3 dB down", 400, 400, 0.7079, 2.99, 3.01, -0.05, 0.05},
        {"another pitch", 400, 3000, 1, -0.05, 0.05, 3, 100},
        {"silence behind", 400, 400, 0, 60, 100, 1, 60},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int channels = 1; channels <= 2; channels++) {
            tone(cases[i].hz, cases[i].hz_behind, cases[i].gain);
            lt_spectrum *s = spectrum_of(channels);
            const lt_audio_series a = series_of(s);
            const lt_audio_jump j = lt_audio_jump_above(&a, JOIN);
            const lt_audio_jump elsewhere = lt_audio_jump_above(&a, JOIN - 1.5 * RATE);
            if (!(j.level_db >= cases[i].level_low && j.level_db <= cases[i].level_high &&
                  j.spectrum_db >= cases[i].spectrum_low &&
                  j.spectrum_db <= cases[i].spectrum_high && fabs(elsewhere.level_db) < 0.01))
                fail_msg("%s: level %.4g dB, spectrum %.4g dB; elsewhere %.4g dB", cases[i].name,
                         j.level_db, j.spectrum_db, elsewhere.level_db);
            lt_spectrum_free(&s);
        }
}

/* The ends, and what is too short. */
static void ends_have_no_jump(void **state)
{
    (void)state;
    tone(400, 400, 2);
    lt_spectrum *s = spectrum_of(2);
    lt_audio_series a = series_of(s);
    const double places[] = {-1, 0, 900, SAMPLES - 900, SAMPLES, SAMPLES + 1, NAN};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const lt_audio_jump j = lt_audio_jump_above(&a, places[i]);
        assert_true(isnan(j.level_db) && isnan(j.spectrum_db));
    }
    a.blocks = a.spectra = 0;
    assert_true(isnan(lt_audio_jump_above(&a, 0).level_db));
    lt_spectrum_free(&s);
}

static void spectrum_has_the_power(void **state)
{
    (void)state;
    tone(1000, 1000, 1);
    lt_spectrum *s = spectrum_of(2);
    const lt_spectrum_view v = lt_spectrum_look(s);
    assert_true(v.hop == 320 && v.window == 1024 && v.samples == SAMPLES);
    assert_true(v.blocks == SAMPLES / 320 && v.spectra == (SAMPLES - 1024) / 320 + 1);
    const double want = (0.2 * 0.2 / 2 + 0.1 * 0.1 / 2) / 2; /* mean of both channels */
    double all = 0, most = 0;
    for (int b = 0; b < LT_SPECTRUM_BANDS; b++) {
        all += v.bands[10 * LT_SPECTRUM_BANDS + b];
        most = fmax(most, v.bands[10 * LT_SPECTRUM_BANDS + b]);
    }
    if (!(fabs(v.power[10] / want - 1) < 1e-3 && fabs(all / want - 1) < 2e-2 && most > 0.8 * all))
        fail_msg("want %.4g, found power %.4g, bands %.4g, one %.4g", want, v.power[10], all, most);
    assert_true(v.high[10] > 0.19f && v.high[10] <= 0.2f && v.low[10] < -0.19f);
    lt_spectrum_free(&s);
    assert_int_equal(lt_spectrum_new(1999, 1, &s), LT_ESHAPE);
    assert_int_equal(lt_spectrum_new(48000, 3, &s), LT_ESHAPE);
    static const int rates[] = {2000, 8000, 44100, 48000, 768000};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        OK(lt_spectrum_new(rates[i], 1, &s));
        OK(lt_spectrum_add(s, (const float *const[]){left}, 40000));
        assert_true(lt_spectrum_look(s).spectra <= lt_spectrum_look(s).blocks);
        lt_spectrum_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jumps_have_their_size),
        cmocka_unit_test(ends_have_no_jump),
        cmocka_unit_test(spectrum_has_the_power),
    };
    return cmocka_run_group_tests_name("metrics_audio", tests, NULL, NULL);
}
