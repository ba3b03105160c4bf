/* test_shot_fade.c - the sound of one shot fades into the next one's, to the sample.
 * Goal: at every sample the gain of the formula, of each of the two shots, and no other sample
 * changes a bit; whatever the parts in which samples come; shots that are made longer than they
 * are asked for, just as long, shorter, and shorter than a fade. Method: shots of one value each,
 * against a mix that is made from the formula sample by sample. Ranks: 1. Needs: nothing. */
#include <stdlib.h>
#include <string.h>

#include "run/decode/shot_fade.h"
#include "tests/support/check.h"

enum { SHOTS = 4, SAMPLES_MAX = 4000 };

static const struct {
    const char *name;
    int64_t samples;
    lt_shot_audio audio[SHOTS];
} cases[] = {
    {"made longer", 320, {{1000, 1700}, {900, 1300}, {1000, 1320}, {700, 800}}},
    {"made just as long", 320, {{1000, 1000}, {900, 900}, {1000, 1000}, {700, 700}}},
    {"one longer, by less than a fade", 320, {{1000, 1100}, {900, 901}, {1000, 1000}, {700, 750}}},
    {"made shorter", 320, {{1000, 990}, {900, 600}, {1000, 999}, {700, 690}}},
    {"shorter than a fade", 320, {{1000, 1700}, {100, 400}, {50, 50}, {700, 900}}},
    {"one sample", 1, {{1000, 1700}, {1, 2}, {1, 1}, {700, 900}}},
    {"no fade", 0, {{1000, 1700}, {900, 1300}, {1000, 1000}, {700, 800}}},
};

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* What a shot gives at a sample of it, out of its own value: the formula of the header. */
static double gain_of(size_t c, int shot, int64_t at)
{
    const lt_shot_audio *a = cases[c].audio;
    const double pi = acos(-1);
    double gain = at < a[shot].made ? 1 : 0;
    if (shot > 0) {
        const int64_t rise = least(cases[c].samples, least(a[shot].asked, a[shot].made));
        if (at < rise)
            gain *= sin(pi / 2 * ((double)at + 0.5) / (double)rise);
    }
    if (shot + 1 < SHOTS) {
        const int64_t next = least(cases[c].samples, least(a[shot + 1].asked, a[shot + 1].made));
        const int64_t end = least(a[shot].made, a[shot].asked + next);
        const int64_t fall = least(cases[c].samples, end);
        if (at >= end)
            gain = 0;
        else if (at >= end - fall)
            gain *= cos(pi / 2 * ((double)(at - end + fall) + 0.5) / (double)fall);
    }
    return gain;
}

static float value_of(int shot, int channel, int64_t at)
{
    return (channel == 0 ? 1.0f : -0.3f) * (float)(0.1 * (shot + 1) + 1e-4 * (double)(at % 97));
}

/* The whole film in parts of these many samples, as it reaches the timeline. */
static int64_t film_of(size_t c, int64_t part, float *left, float *right)
{
    lt_shot_fade *fade = NULL;
    int64_t begin = 0;
    OK(lt_shot_fade_new(cases[c].audio, SHOTS, cases[c].samples, &fade));
    for (int s = 0; s < SHOTS; s++) {
        const lt_shot_audio a = cases[c].audio[s];
        for (int64_t first = 0; first < a.made; first += part) {
            const int64_t count = least(part, a.made - first);
            float pcm[2][SAMPLES_MAX];
            for (int k = 0; k < 2; k++)
                for (int64_t i = 0; i < count; i++)
                    pcm[k][i] = value_of(s, k, first + i);
            lt_shot_fade_samples(fade, s, first, (float *const[]){pcm[0], pcm[1]}, count);
            for (int64_t i = 0; i < count && first + i < a.asked; i++) {
                left[begin + first + i] = pcm[0][i];
                right[begin + first + i] = pcm[1][i];
            }
        }
        begin += a.asked;
    }
    lt_shot_fade_free(&fade);
    return begin;
}

static void check_shot(size_t c, int shot, int64_t begin, int channel, const float *found)
{
    const lt_shot_audio *a = cases[c].audio;
    for (int64_t at = 0; at < a[shot].asked; at++) {
        const int64_t before = shot > 0 ? a[shot - 1].asked + at : 0; /* of the shot before */
        const double gain = gain_of(c, shot, at);
        double want = gain * value_of(shot, channel, at);
        if (shot > 0 && before < a[shot - 1].made)
            want += gain_of(c, shot - 1, before) * value_of(shot - 1, channel, before);
        const float x = found[begin + at];
        const int is_same = memcmp(&x, &(float){value_of(shot, channel, at)}, sizeof x) == 0;
        const int is_faded = gain < 1 || fabs(want - value_of(shot, channel, at)) > 0;
        if (!(fabs(x - want) <= 1e-7) || (!is_faded && !is_same))
            fail_msg("%s: shot %d, sample %lld: want %.9g, found %.9g", cases[c].name, shot,
                     (long long)at, want, (double)x);
    }
}

static void every_sample_has_its_gain(void **state)
{
    (void)state;
    static const int64_t parts[] = {1, 7, 320, 1000, SAMPLES_MAX};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
            static float film[2][SAMPLES_MAX];
            int64_t begin = 0;
            memset(film, 0, sizeof film);
            (void)film_of(c, parts[p], film[0], film[1]);
            for (int s = 0; s < SHOTS; s++) {
                for (int k = 0; k < 2; k++)
                    check_shot(c, s, begin, k, film[k]);
                begin += cases[c].audio[s].asked;
            }
        }
}

/* The sum of both powers stays where there is enough of the shot before. */
static void power_stays(void **state)
{
    (void)state;
    for (int64_t at = 0; at < 320; at++) {
        const double up = gain_of(0, 1, at), down = gain_of(0, 0, 1000 + at);
        assert_true(fabs(up * up + down * down - 1) < 1e-12);
    }
}

static void one_shot_stays_as_it_is(void **state)
{
    (void)state;
    float pcm[2][500], same[2][500];
    lt_shot_fade *fade = NULL;
    for (int i = 0; i < 1000; i++)
        pcm[i / 500][i % 500] = same[i / 500][i % 500] = (float)sin(i);
    OK(lt_shot_fade_new(&(lt_shot_audio){400, 500}, 1, 320, &fade));
    lt_shot_fade_samples(fade, 0, 0, (float *const[]){pcm[0], pcm[1]}, 500);
    assert_memory_equal(pcm, same, sizeof pcm);
    lt_shot_fade_free(&fade);
    assert_null(fade);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sample_has_its_gain),
        cmocka_unit_test(power_stays),
        cmocka_unit_test(one_shot_stays_as_it_is),
    };
    return cmocka_run_group_tests_name("shot_fade", tests, NULL, NULL);
}
