/* test_philox.c - known answers, the shape of the normal, and noise in parts.
 * Goal: noise depends on seed, stream, draw and coordinates alone, and is normal. Method: published
 * vectors; moments over all 2^24 words; parts against the whole. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "tests/support/distance.h"

/* Random123's own table of known answers (kat_vectors, philox4x32 10). */
static void known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        lt_philox4x32(cases[i].counter, cases[i].key, out);
        assert_memory_equal(out, cases[i].want, sizeof out);
    }
}

/* The error of n in units of max(1, |n|), by erfc in f64. Allowed 1e-6: f32 has 6e-8, AS 241's
 * PPND7 claims 1e-7 for its own arithmetic; measured worst over all words 3.6e-7. */
static void inverse_is_accurate(void **state)
{
    (void)state;
    double worst = 0;
    float largest = 0, before = -9;
    int falls = 0;
    for (uint32_t k = 0; k < 1u << 23; k += 61) {
        const double u = ((double)k + 0.5) * 0x1p-24;
        const double n = (double)lt_normal_from_u32(k << 8);
        /* To first order n is off by (Phi(n) - u) / phi(n). */
        const double phi = exp(-n * n / 2) / sqrt(2 * 3.14159265358979323846);
        worst = worse(worst, fabs((0.5 * erfc(-n / sqrt(2)) - u) / phi) / fmax(1, fabs(n)));
        falls += !((float)n >= before);
        before = (float)n;
    }
    if (!(worst <= 1e-6))
        fail_msg("worst error %.3g, allowed 1e-6", worst);
    assert_int_equal(falls, 0); /* 61 words apart the steps are larger than the rounding */
    largest = fmaxf(-lt_normal_from_u32(0), lt_normal_from_u32(UINT32_MAX));
    if (!(largest > 5.41f && largest < 5.43f)) /* u = 2^-25: 5.41999 */
        fail_msg("largest %g", (double)largest);
}

static void normal_has_its_moments(void **state)
{
    (void)state;
    double sums[5] = {0};
    for (uint32_t k = 0; k < 1u << 24; k += 3) {
        const double n = (double)lt_normal_from_u32(k << 8), m = n * n;
        sums[0] += 1;
        sums[1] += n;
        sums[2] += m;
        sums[3] += m * n;
        sums[4] += m * m;
    }
    /* An even sweep is a quadrature, not a sample, so the moments are near exact. */
    static const double want[5] = {1, 0, 1, 0, 3}, tol[5] = {0, 1e-5, 2e-5, 1e-4, 1e-3};
    for (int i = 1; i < 5; i++)
        if (!(fabs(sums[i] / sums[0] - want[i]) <= tol[i]))
            fail_msg("moment %d is %.9g", i, sums[i] / sums[0]);
    for (uint32_t k = 0; k < 1u << 23; k += 977) /* the halves mirror each other to the bit */
        assert_true(lt_normal_from_u32(k << 8) == -lt_normal_from_u32((0xffffffu - k) << 8));
}

/* The bits are part of what a seed means: a film made elsewhere, or years ago, must come again. The
 * hash is FNV-1a over the words' bits; gcc 12 and clang 14 agree on it at -O0 and -O3, with and
 * without the CPU's own fma. */
static void bits_stay(void **state)
{
    (void)state;
    uint64_t hash = 14695981039346656037u;
    for (uint32_t k = 0; k < 1u << 24; k += 13) {
        const float n = lt_normal_from_u32(k << 8);
        uint32_t bits;
        memcpy(&bits, &n, sizeof bits);
        hash = (hash ^ bits) * 1099511628211u;
    }
    if (hash != 0xa7bde77439a5196bu)
        fail_msg("hash %016llx", (unsigned long long)hash);
}

enum { C = 6, F = 7, H = 5, W = 4 };

static void video_noise_is_the_same_in_parts(void **state)
{
    (void)state;
    static float whole[C * F * H * W], part[C * F * H * W];
    const uint64_t seed = 0x123456789abcdefu;
    lt_noise_video(seed, LT_STREAM_INITIAL, 3, 10, C, F, H, W, whole);
    for (int64_t first = 0; first < F; first++)
        for (int64_t n = 1; first + n <= F; n++) {
            lt_noise_video(seed, LT_STREAM_INITIAL, 3, 10 + first, C, n, H, W, part);
            for (int64_t c = 0; c < C; c++)
                assert_memory_equal(part + c * n * H * W, whole + (c * F + first) * H * W,
                                    (size_t)(n * H * W) * sizeof(float));
        }
    /* A larger frame holds the smaller one in its corner. */
    static float larger[C * F * (H + 2) * (W + 3)];
    lt_noise_video(seed, LT_STREAM_INITIAL, 3, 10, C, F, H + 2, W + 3, larger);
    for (int64_t i = 0; i < C * F; i++)
        for (int64_t y = 0; y < H; y++)
            assert_memory_equal(larger + (i * (H + 2) + y) * (W + 3), whole + (i * H + y) * W,
                                W * sizeof(float));
    /* The layout of the counter, by the one call that the header describes: channel 5, frame 12,
     * (3, 2). */
    const uint32_t counter[4] = {2u + (3u << 16), 12, 1, 3};
    const uint32_t key[2] = {0x89abcdefu, 0x1234567u};
    uint32_t words[4];
    lt_philox4x32(counter, key, words);
    assert_true(whole[((5 * F + 2) * H + 3) * W + 2] == lt_normal_from_u32(words[1]));
}

static void audio_noise_is_the_same_in_parts(void **state)
{
    (void)state;
    enum { CHANNELS = 5, TICKS = 40 };
    static float whole[2 * CHANNELS * TICKS], part[2 * CHANNELS * TICKS];
    const int64_t first = 65520; /* the tick's upper part changes inside */
    lt_noise_audio(9, LT_STREAM_SDE, 0, first, CHANNELS, TICKS, whole);
    for (int64_t at = 0; at < TICKS; at += 7) {
        const int64_t n = TICKS - at < 11 ? TICKS - at : 11;
        lt_noise_audio(9, LT_STREAM_SDE | LT_STREAM_AUDIO, 0, first + at, CHANNELS, n, part);
        for (int64_t c = 0; c < 2 * CHANNELS; c++)
            assert_memory_equal(part + c * n, whole + c * TICKS + at, (size_t)n * sizeof(float));
    }
    const uint32_t counter[4] = {(65520 + 20 - 65536) + (1u << 16), 1,
                                 1 + ((LT_STREAM_SDE + LT_STREAM_AUDIO) << 8), 0};
    const uint32_t key[2] = {9, 0};
    uint32_t words[4];
    lt_philox4x32(counter, key, words);
    assert_true(whole[(CHANNELS + 4) * TICKS + 20] == lt_normal_from_u32(words[0]));
}

/* Any change of seed, stream, draw or frame gives unrelated numbers: correlation of 4,800 pairs has
 * a standard deviation of 0.0144; 0.08 is 5.5 of them. */
static void streams_are_unrelated(void **state)
{
    (void)state;
    enum { N = 8 * 6 * 10 * 10 };
    static float a[N], b[N];
    static const struct {
        const char *name;
        uint64_t seed;
        uint32_t stream, draw;
        int64_t frame;
    } cases[] = {{"seed's low half", 2, 0, 0, 0},
                 {"seed's high half", 1 + (1ull << 32), 0, 0, 0},
                 {"stream", 1, 2, 0, 0},
                 {"draw", 1, 0, 1, 0},
                 {"frames", 1, 0, 0, 6}};
    lt_noise_video(1, 0, 0, 0, 8, 6, 10, 10, a);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_noise_video(cases[i].seed, cases[i].stream, cases[i].draw, cases[i].frame, 8, 6, 10, 10,
                       b);
        double sum = 0;
        for (size_t j = 0; j < N; j++)
            sum += (double)a[j] * (double)b[j];
        if (!(fabs(sum / N) < 0.08))
            fail_msg("%s: correlation %.3f", cases[i].name, sum / N);
    }
    lt_noise_video(1, 0, 0, 0, 8, 6, 10, 10, b);
    assert_memory_equal(a, b, sizeof a);
}

static void noise_has_no_shape_limits_of_its_own(void **state)
{
    (void)state;
    float one = 7;
    lt_noise_video(1, 0, 0, 5, 0, 3, 4, 4, &one); /* nothing asked, nothing written */
    lt_noise_video(1, 0, 0, 5, 3, 0, 4, 4, &one);
    lt_noise_audio(1, 0, 0, 5, 3, 0, &one);
    assert_true(one == 7);
    lt_noise_video(1, 0, 0, ((int64_t)1 << 32) - 1, 1, 1, 1, 1, &one);
    assert_true(isfinite(one) && one != 7);
}

/* splitmix64 of state 0 begins e220a8397b1dcdaf, 6e789e6aa1b965f4, 06c45d188009454f (Vigna's code).
 */
static void shot_seeds(void **state)
{
    (void)state;
    assert_true(lt_shot_seed(0, 0) == 0xe220a8397b1dcdafu);
    assert_true(lt_shot_seed(0, 1) == 0x6e789e6aa1b965f4u);
    assert_true(lt_shot_seed(0, 2) == 0x06c45d188009454fu);
    assert_true(lt_shot_seed(5, 2) != lt_shot_seed(6, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(inverse_is_accurate),
        cmocka_unit_test(normal_has_its_moments),
        cmocka_unit_test(bits_stay),
        cmocka_unit_test(video_noise_is_the_same_in_parts),
        cmocka_unit_test(audio_noise_is_the_same_in_parts),
        cmocka_unit_test(streams_are_unrelated),
        cmocka_unit_test(noise_has_no_shape_limits_of_its_own),
        cmocka_unit_test(shot_seeds),
    };
    return cmocka_run_group_tests_name("philox", tests, NULL, NULL);
}
