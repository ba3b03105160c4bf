/* test_loudness.c - the loudness of a timeline, measured and set.
 * Goal: EBU's own test tones have their loudness; a tone is brought to its target by one gain, bit
 * for bit the same everywhere; peaks are held under the ceiling without a jump of the gain, and the
 * target is met all the same; silence stays. Method: tones and clicks whose loudness is known (EBU
 * Tech 3341, cases 1 and 2), a timeline of several blocks. Ranks: 1. Needs: libebur128; a build
 * without it must say so. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "media/loudness.h"
#include "tests/support/check.h"

enum { RATE = 32000, SECONDS = 10, SAMPLES = SECONDS * RATE + 777 };

static float pcm[2][SAMPLES], out[2][SAMPLES];

/* A tone of 1 kHz whose peak is so far below full scale. */
static void tone(double peak_db)
{
    for (int i = 0; i < SAMPLES; i++)
        pcm[0][i] = pcm[1][i] =
            (float)(pow(10, peak_db / 20) * sin(2 * acos(-1) * 1000 * i / RATE));
}

static lt_timeline *timeline_of(void)
{
    lt_timeline *t = NULL;
    OK(lt_timeline_new(RATE, 2, SAMPLES, NULL, &t));
    OK(lt_timeline_write(t, 0, (const float *const[]){pcm[0], pcm[1]}, SAMPLES));
    return t;
}

static void read_out(lt_timeline *t)
{
    OK(lt_timeline_read(t, 0, (float *const[]){out[0], out[1]}, SAMPLES));
}

static int has_library(void)
{
    if (lt_loudness_library() != NULL)
        return 1;
    lt_timeline *t = timeline_of();
    lt_loudness l;
    assert_int_equal(lt_loudness_measure(t, &l), LT_EUNAVAIL);
    assert_non_null(strstr(lt_error_text(), "has no libebur128"));
    lt_timeline_free(&t);
    return 0;
}

/* Tech 3341: a stereo tone of 1 kHz at -23 dBFS is -23.0 LUFS within 0.1; so is -33. */
static void tones_have_their_loudness(void **state)
{
    (void)state;
    for (int db = -23; db >= -33 && has_library(); db -= 10) {
        lt_loudness l;
        tone(db);
        lt_timeline *t = timeline_of();
        OK(lt_loudness_measure(t, &l));
        if (!(fabs(l.integrated - db) < 0.1 && fabs(l.true_peak - db) < 0.2))
            fail_msg("want %d, found %.2f LUFS, %.2f dBTP", db, l.integrated, l.true_peak);
        lt_timeline_free(&t);
    }
}

static void a_gain_alone_is_one_gain(void **state)
{
    (void)state;
    lt_loudness before, after;
    if (!has_library())
        return;
    tone(-40);
    for (int i = 0; i < SAMPLES; i++)
        pcm[1][i] *= 0.5f;
    lt_timeline *t = timeline_of();
    OK(lt_loudness_set(t, -20, &before, &after));
    assert_true(fabs(after.integrated + 20) < LT_LOUDNESS_NEAR_LU);
    read_out(t);
    const double gain = pow(10, (-20 - before.integrated) / 20);
    for (int c = 0; c < 2; c++)
        for (int i = 0; i < SAMPLES; i++)
            assert_true(out[c][i] == (float)(gain * pcm[c][i]));
    lt_timeline_free(&t);
}

/* Clicks on a quiet tone: they alone need the limiter. One lies on the border of two blocks. */
static void peaks_are_held(void **state)
{
    (void)state;
    lt_loudness before, after;
    const double ceiling = pow(10, LT_LOUDNESS_PEAK_DB / 20);
    if (!has_library())
        return;
    tone(-30);
    for (int i = 0; i < SAMPLES; i += RATE / 2)
        for (int k = 0; k < 40 && i + k < SAMPLES; k++)
            pcm[k % 2][i + k] += (float)(0.7 * sin(0.9 * k));
    lt_timeline *t = timeline_of();
    OK(lt_loudness_set(t, -16, &before, &after));
    if (!(before.true_peak - before.integrated > 15.5 && fabs(after.integrated + 16) < 0.3 &&
          after.true_peak < LT_LOUDNESS_PEAK_DB + 0.2))
        fail_msg("found %.2f LUFS %.2f dBTP -> %.2f, %.2f", before.integrated, before.true_peak,
                 after.integrated, after.true_peak);
    read_out(t);
    double last = 0, most = 0, least = INFINITY;
    for (int i = 0; i < SAMPLES; i++)
        for (int c = 0; c < 2; c++) {
            assert_true(fabs(out[c][i]) <= ceiling * 1.001);
            if (fabs(pcm[c][i]) < 1e-3)
                continue;
            const double gain = out[c][i] / pcm[c][i];
            if (last > 0)
                assert_true(fabs(gain - last) / last < 0.05);
            last = gain;
            most = fmax(most, gain);
            least = fmin(least, gain);
        }
    assert_true(least < 0.8 * most); /* it was held at all */
    lt_timeline_free(&t);
}

static void silence_stays(void **state)
{
    (void)state;
    lt_loudness before, after;
    if (!has_library())
        return;
    memset(pcm, 0, sizeof pcm);
    lt_timeline *t = timeline_of();
    OK(lt_loudness_set(t, -16, &before, &after));
    assert_true(isinf(before.integrated) && isinf(after.integrated) && isinf(after.true_peak));
    read_out(t);
    for (int i = 0; i < SAMPLES; i++)
        assert_true(out[0][i] == 0);
    lt_timeline_free(&t);
    pcm[0][5] = NAN;
    t = timeline_of();
    assert_int_equal(lt_loudness_measure(t, &before), LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "sample 5 of channel 0"));
    lt_timeline_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tones_have_their_loudness),
        cmocka_unit_test(a_gain_alone_is_one_gain),
        cmocka_unit_test(peaks_are_held),
        cmocka_unit_test(silence_stays),
    };
    return cmocka_run_group_tests_name("loudness", tests, NULL, NULL);
}
