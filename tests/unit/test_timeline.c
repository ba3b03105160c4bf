/* test_timeline.c - samples in any order, gaps noticed, and the WAV file of it.
 * Goal: what was written is read, from memory and from a file alike; what was not is an error.
 * Method: the value of a sample is a function of its place. Ranks: 1. Needs: nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "media/timeline.h"

enum { SAMPLES = 10000 };

static char folder[64];
static char path[128];

static float value(int channel, int64_t i)
{
    return (float)(i % 977) / 977.0f - (float)channel / 2;
}

static lt_status put(lt_timeline *t, int64_t first, int64_t count)
{
    float *left = malloc((size_t)(count + 1) * sizeof *left),
          *right = malloc((size_t)(count + 1) * sizeof *right);
    assert_true(left && right);
    for (int64_t i = 0; i < count; i++) {
        left[i] = value(0, first + i);
        right[i] = value(1, first + i);
    }
    const float *pcm[2] = {left, right};
    const lt_status status = lt_timeline_write(t, first, pcm, count);
    free(left);
    free(right);
    return status;
}

static const struct {
    const char *why;
    int count;
    int64_t range[6][2]; /* first, count */
    int64_t gap;         /* first sample that is missing */
} writings[] = {
    {"nothing", 0, {{0}}, 0},
    {"at once", 1, {{0, SAMPLES}}, SAMPLES},
    {"in order", 3, {{0, 4000}, {4000, 1}, {4001, 5999}}, SAMPLES},
    {"backwards", 3, {{4001, 5999}, {4000, 1}, {0, 4000}}, SAMPLES},
    {"a hole of one sample", 2, {{0, 4000}, {4001, 5999}}, 4000},
    {"the beginning is missing", 1, {{1, 9999}}, 0},
    {"the end is missing", 1, {{0, 9999}}, 9999},
    {"over each other", 4, {{100, 200}, {0, 150}, {250, 100}, {50, 9950}}, SAMPLES},
    {"one joins many", 5, {{0, 10}, {20, 10}, {40, 10}, {60, 10}, {5, 9995}}, SAMPLES},
    {"empty writes", 3, {{0, 0}, {10000, 0}, {0, 10}}, 10},
};

static void check_reading(const char *why, const lt_timeline *t, int64_t gap)
{
    static float left[SAMPLES], right[SAMPLES];
    float *pcm[2] = {left, right};
    assert_int_equal(lt_timeline_gap(t, 0), gap);
    if (lt_timeline_read(t, 0, pcm, gap) != LT_OK)
        fail_msg("%s: %s", why, lt_error_text());
    for (int64_t i = 0; i < gap; i++)
        if (!(left[i] == value(0, i)) || !(right[i] == value(1, i)))
            fail_msg("%s: sample %lld", why, (long long)i);
    if (gap < SAMPLES)
        assert_int_equal(lt_timeline_read(t, 0, pcm, gap + 1), LT_ESHAPE);
}

static void keeps_what_was_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof writings / sizeof *writings; i++)
        for (int on_disk = 0; on_disk < 2; on_disk++) {
            lt_timeline *t = NULL;
            assert_int_equal(lt_timeline_new(32000, 2, SAMPLES, on_disk ? path : NULL, &t), LT_OK);
            assert_int_not_equal(access(path, F_OK), 0); /* the file has no name */
            for (int k = 0; k < writings[i].count; k++)
                assert_int_equal(put(t, writings[i].range[k][0], writings[i].range[k][1]), LT_OK);
            check_reading(writings[i].why, t, writings[i].gap);
            lt_timeline_free(&t);
            assert_null(t);
        }
}

static void refuses_what_is_outside(void **state)
{
    (void)state;
    static const int64_t outside[][2] = {{-1, 1}, {SAMPLES, 1},   {SAMPLES - 1, 2},
                                         {0, -1}, {INT64_MAX, 1}, {1, INT64_MAX}};
    lt_timeline *t = NULL;
    assert_int_equal(lt_timeline_new(32000, 2, SAMPLES, NULL, &t), LT_OK);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        assert_int_equal(lt_timeline_write(t, outside[i][0], NULL, outside[i][1]), LT_ESHAPE);
        assert_int_equal(lt_timeline_read(t, outside[i][0], NULL, outside[i][1]), LT_ESHAPE);
    }
    lt_timeline_free(&t);
    assert_int_equal(lt_timeline_new(0, 2, 1, NULL, &t), LT_ESHAPE);
    assert_int_equal(lt_timeline_new(1, 0, 1, NULL, &t), LT_ESHAPE);
    assert_int_equal(lt_timeline_new(1, 2, -1, NULL, &t), LT_ESHAPE);
    assert_int_equal(lt_timeline_new(1, 2, 1, "/nowhere/pcm", &t), LT_ECREATE);
    assert_non_null(strstr(lt_error_text(), "/nowhere/pcm"));
    lt_timeline_free(&t); /* of NULL */
}

static uint32_t le(const uint8_t *p, int bytes)
{
    uint32_t value_read = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value_read = value_read << 8 | p[i];
    return value_read;
}

/* Every byte of the head, and samples at both ends of the range, for even and odd lengths. */
static void writes_wav(void **state)
{
    (void)state;
    static const float given[5] = {0.5f, 1.0f, -1.0f, 2.0f, -0.25f};
    static const int32_t wanted[5] = {4194304, 8388607, -8388608, 8388607, -2097152};
    for (int64_t samples = 4; samples <= 5; samples++) {
        lt_timeline *t = NULL;
        const float *pcm[1] = {given};
        assert_int_equal(lt_timeline_new(44100, 1, samples, NULL, &t), LT_OK);
        assert_int_equal(lt_wav_write(path, t, LT_KEEP), LT_ESHAPE); /* nothing there yet */
        assert_int_not_equal(access(path, F_OK), 0);
        assert_int_equal(lt_timeline_write(t, 0, pcm, samples), LT_OK);
        assert_int_equal(lt_wav_write(path, t, LT_KEEP), LT_OK);
        uint8_t file[128];
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        const uint32_t bytes = (uint32_t)fread(file, 1, sizeof file, f);
        fclose(f);
        const uint32_t data = (uint32_t)samples * 3;
        assert_int_equal(bytes, 44 + data + data % 2);
        assert_memory_equal(file, "RIFF", 4);
        assert_int_equal(le(file + 4, 4), bytes - 8);
        assert_memory_equal(file + 8, "WAVEfmt ", 8);
        assert_int_equal(le(file + 16, 4), 16);
        assert_int_equal(le(file + 20, 2), 1); /* PCM */
        assert_int_equal(le(file + 22, 2), 1); /* channels */
        assert_int_equal(le(file + 24, 4), 44100);
        assert_int_equal(le(file + 28, 4), 44100 * 3); /* bytes a second */
        assert_int_equal(le(file + 32, 2), 3);         /* bytes of a sample of all channels */
        assert_int_equal(le(file + 34, 2), 24);
        assert_memory_equal(file + 36, "data", 4);
        assert_int_equal(le(file + 40, 4), data);
        for (int i = 0; i < (int)samples; i++)
            assert_int_equal(le(file + 44 + 3 * i, 3), (uint32_t)wanted[i] & 0xffffff);
        lt_timeline_free(&t);
        unlink(path);
    }
}

static void wav_refusals(void **state)
{
    (void)state;
    lt_timeline *t = NULL;
    const float bad[2] = {0, NAN}, *pcm[2] = {bad, bad};
    assert_int_equal(lt_timeline_new(32000, 2, 2, NULL, &t), LT_OK);
    assert_int_equal(lt_timeline_write(t, 0, pcm, 2), LT_OK);
    assert_int_equal(lt_wav_write(path, t, LT_KEEP), LT_EDATA);
    assert_int_equal(lt_wav_write("/nowhere/x.wav", t, LT_KEEP), LT_ECREATE);
    lt_timeline_free(&t);
    assert_int_equal(lt_timeline_new(32000, 2, INT64_C(800000000), path, &t),
                     LT_OK); /* 4.8 GB of 24 bit */
    assert_int_equal(lt_wav_write(path, t, LT_KEEP), LT_EUSAGE);
    lt_timeline_free(&t);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lt_test_timeline.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/sound", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails if a test left something behind */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_was_written),
        cmocka_unit_test(refuses_what_is_outside),
        cmocka_unit_test(writes_wav),
        cmocka_unit_test(wav_refusals),
    };
    return cmocka_run_group_tests_name("timeline", tests, make_folder, remove_folder);
}
