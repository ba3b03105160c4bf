/* test_contact_sheet.c - the contact sheet's cells, averages and waveform.
 * Goal: the right frames in the right cells, area averages (not samples), audio where it is loud.
 * Method: frames of one grey each; stripes of one pixel that must average to grey; the PNG read
 * back by libpng. Ranks: 1. Needs: nothing. */
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "media/contact_sheet.h"

enum { W = 960, H = 544, GAP = 4 }; /* GAP as in sheet.c */

static char folder[64];
static char path[128];

static uint8_t pixel(const lt_contact_sheet *s, int64_t x, int64_t y, int channel)
{
    int64_t width = 0, height = 0;
    const uint8_t *p = lt_contact_sheet_pixels(s, &width, &height);
    assert_true(x >= 0 && x < width && y >= 0 && y < height);
    return p[(y * width + x) * 3 + channel];
}

static const struct {
    const char *why;
    int64_t frames;
    int columns, rows;
    int64_t shown[6]; /* the frames in reading order, -1: an empty cell */
} grids[] = {
    {"the ends are shown", 101, 3, 2, {0, 20, 40, 60, 80, 100}},
    {"as many frames as cells", 6, 3, 2, {0, 1, 2, 3, 4, 5}},
    {"fewer frames than cells", 4, 3, 2, {0, 1, 2, 3, -1, -1}},
    {"one frame", 1, 3, 2, {0, -1, -1, -1, -1, -1}},
};

static void shows_the_right_frames(void **state)
{
    (void)state;
    uint8_t *rgb = malloc(3 * W * H);
    assert_non_null(rgb);
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++) {
        lt_contact_sheet *s = NULL;
        assert_int_equal(
            lt_contact_sheet_new(grids[i].frames, W, H, grids[i].columns, grids[i].rows, &s),
            LT_OK);
        for (int64_t f = 0; f < grids[i].frames; f++) {
            memset(rgb, (int)(100 + f), 3 * W * H);
            assert_int_equal(lt_contact_sheet_frame(s, f, rgb, LT_U8), LT_OK);
        }
        int64_t width = 0, height = 0;
        (void)lt_contact_sheet_pixels(s, &width, &height);
        const int64_t cell_w = (width - GAP) / grids[i].columns,
                      cell_h = (height - GAP) / grids[i].rows;
        for (int k = 0; k < grids[i].columns * grids[i].rows; k++) {
            const int64_t x = GAP + k % grids[i].columns * cell_w + cell_w / 2;
            const int64_t y = GAP + k / grids[i].columns * cell_h + cell_h / 2;
            const int64_t wanted = grids[i].shown[k] < 0 ? 24 : 100 + grids[i].shown[k];
            if (pixel(s, x, y, 0) != wanted)
                fail_msg("%s: cell %d: want %lld, found %d", grids[i].why, k, (long long)wanted,
                         pixel(s, x, y, 0));
        }
        lt_contact_sheet_free(&s);
    }
    free(rgb);
}

/* Stripes finer than a cell's pixel must come out as their mean in both depths; sampling would not.
 */
static void averages_areas(void **state)
{
    (void)state;
    uint16_t *rgb = malloc(3 * W * H * sizeof *rgb);
    assert_non_null(rgb);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++)
                rgb[(c * H + y) * W + x] = (uint16_t)((x + y) % 2 ? 65535 : c * 10000);
    lt_contact_sheet *s = NULL;
    assert_int_equal(lt_contact_sheet_new(1, W, H, 6, 1, &s),
                     LT_OK); /* 4 and a bit pixels into one */
    assert_int_equal(lt_contact_sheet_frame(s, 0, rgb, LT_U16), LT_OK);
    for (int c = 0; c < 3; c++)
        for (int64_t y = GAP; y < GAP + 100; y += 7)
            for (int64_t x = GAP; x < GAP + 200; x += 3) {
                const int wanted = (65535 + c * 10000) / 2 / 257, found = pixel(s, x, y, c);
                if (abs(found - wanted) > 8) /* an odd pixel more at a cell pixel's edge */
                    fail_msg("channel %d at %lld,%lld: want about %d, found %d", c, (long long)x,
                             (long long)y, wanted, found);
            }
    lt_contact_sheet_free(&s);
    free(rgb);
}

static void draws_the_audio(void **state)
{
    (void)state;
    static float left[32000], right[32000];
    const float *pcm[2] = {left, right};
    for (int i = 16000; i < 32000; i++)
        left[i] = i % 2 ? 1.0f : -1.0f; /* loud in the second half of the left channel */
    lt_timeline *t = NULL;
    lt_contact_sheet *s = NULL;
    assert_int_equal(lt_timeline_new(32000, 2, 32000, NULL, &t), LT_OK);
    assert_int_equal(lt_timeline_write(t, 0, pcm, 32000), LT_OK);
    assert_int_equal(lt_contact_sheet_new(1, 64, 64, 4, 1, &s), LT_OK);
    assert_int_equal(lt_contact_sheet_audio(s, t), LT_OK);
    int64_t width = 0, height = 0;
    (void)lt_contact_sheet_pixels(s, &width, &height);
    const int64_t strips = GAP + 64 + GAP; /* below one row of 64 pixels */
    assert_int_equal(height, strips + 2 * (64 + GAP));
    assert_int_equal(pixel(s, width / 4, strips + 5, 0), 40); /* quiet: background off the middle */
    assert_int_equal(pixel(s, width * 3 / 4, strips + 5, 0),
                     120); /* loud: the wave reaches up there */
    assert_int_equal(pixel(s, width * 3 / 4, strips + 68 + 5, 0),
                     40); /* the right channel is quiet */
    assert_int_equal(lt_contact_sheet_write(s, path, LT_REPLACE), LT_OK);
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_int_equal(png_image_begin_read_from_file(&image, path), 1);
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    png_image_free(&image);
    unlink(path);
    assert_int_equal(lt_contact_sheet_write(s, "/nowhere/sheet.png", LT_KEEP), LT_ECREATE);
    lt_contact_sheet_free(&s);
    lt_timeline_free(&t);
}

static void refuses(void **state)
{
    (void)state;
    lt_contact_sheet *s = NULL;
    static const uint8_t rgb[12];
    assert_int_equal(lt_contact_sheet_new(0, 2, 2, 1, 1, &s), LT_ESHAPE);
    assert_int_equal(lt_contact_sheet_new(1, 0, 2, 1, 1, &s), LT_ESHAPE);
    assert_int_equal(lt_contact_sheet_new(1, 2, 2, 65, 1, &s), LT_ESHAPE);
    assert_int_equal(lt_contact_sheet_new(1, 2, 2, 1, 1, &s), LT_OK);
    assert_int_equal(lt_contact_sheet_frame(s, 1, rgb, LT_U8), LT_ESHAPE);
    assert_int_equal(lt_contact_sheet_frame(s, 0, rgb, LT_F32), LT_ESHAPE);
    lt_contact_sheet_free(&s);
    lt_contact_sheet_free(&s); /* of NULL */
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lt_test_sheet.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/sheet.png", folder);
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
        cmocka_unit_test(shows_the_right_frames),
        cmocka_unit_test(averages_areas),
        cmocka_unit_test(draws_the_audio),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests_name("sheet", tests, make_folder, remove_folder);
}
