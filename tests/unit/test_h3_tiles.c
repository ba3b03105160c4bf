/* test_h3_tiles.c - how H3's video VAE cuts space into tiles and time into chunks, and joins them
 * again. Goal: the layouts of spec/minimax-h3.md 6.3 and 6.4; a stitched plane is the closed form
 * of three raw tiles; configs with impossible values are refused with file and field. Method:
 * tables, and a slow second way to compute each cell. Ranks: 1. Needs: models/demo/vae/config.json.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "model/h3/audio_config.h"
#include "model/h3/tiles.h"
#include "model/h3/video_vae.h"
#include "tests/support/scratch.h"

/* ---- axes ---- */
static const struct {
    int64_t length, count, start[8], overlap[7];
    const char *reason;
} axes[] = {
    {16, 1, {0}, {0}, "smaller than a tile"},
    {256, 1, {0}, {0}, "exactly a tile"},
    {272, 2, {0, 16}, {240}, "one unit more: nearly all is overlap"},
    {448, 2, {0, 192}, {64}, "two tiles, no slack"},
    {480, 3, {0, 112, 224}, {144, 144}, "spec table"},
    {544, 3, {0, 144, 288}, {112, 112}, "spec table"},
    {768, 4, {0, 160, 336, 512}, {96, 80, 80}, "spec table: uneven overlaps"},
    {864, 5, {0, 144, 288, 448, 608}, {112, 112, 96, 96}, "spec table"},
    {960, 5, {0, 176, 352, 528, 704}, {80, 80, 80, 80}, "spec table"},
    {1344, 7, {0, 176, 352, 528, 704, 896, 1088}, {80, 80, 80, 80, 64, 64}, "spec table"},
};

static void axes_are_the_specs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof axes / sizeof *axes; i++) {
        const lt_h3_axis axis = lt_h3_axis_split(axes[i].length, 256, 64, 16);
        if (axis.count != axes[i].count)
            fail_msg("%s: %d: %d tiles", axes[i].reason, (int)axes[i].length, (int)axis.count);
        assert_int_equal(lt_h3_axis_cover(&axis), axes[i].length);
        for (int64_t k = 0; k < axis.count; k++)
            assert_int_equal(lt_h3_axis_start(&axis, k), axes[i].start[k]);
        for (int64_t k = 0; k + 1 < axis.count; k++)
            assert_int_equal(lt_h3_axis_overlap(&axis, k), axes[i].overlap[k]);
        const lt_h3_axis coarse = lt_h3_axis_coarser(&axis, 16);
        for (int64_t k = 0; k < axis.count; k++)
            assert_int_equal(lt_h3_axis_start(&coarse, k), axes[i].start[k] / 16);
        assert_int_equal(lt_h3_axis_cover(&coarse), axes[i].length / 16);
    }
}

/* What any axis owes: whole cover, wide enough overlaps, as few tiles as possible. */
static void axes_keep_their_promises(void **state)
{
    (void)state;
    for (int64_t length = 1; length <= 4096; length++) {
        const lt_h3_axis axis = lt_h3_axis_split(length, 256, 64, 16);
        assert_true(axis.tile == (length < 256 ? length : 256));
        assert_int_equal(lt_h3_axis_start(&axis, 0), 0);
        assert_int_equal(lt_h3_axis_cover(&axis), length);
        assert_true(lt_h3_axis_size(&axis, axis.count - 1) > (axis.count > 1 ? 240 : 0));
        for (int64_t k = 0; k + 1 < axis.count; k++) {
            assert_true(lt_h3_axis_overlap(&axis, k) >= 64 && lt_h3_axis_overlap(&axis, k) < 256);
            assert_int_equal(lt_h3_axis_start(&axis, k) + 256 - lt_h3_axis_overlap(&axis, k),
                             lt_h3_axis_start(&axis, k + 1));
        }
        if (axis.count > 1)
            assert_true(256 * (axis.count - 1) - 64 * (axis.count - 2) < length);
    }
}

/* ---- stitching ---- */
/* A raw tile's cell: any function that tells tiles and cells apart. */
static float raw(int64_t plane, int64_t i, int64_t j, int64_t y, int64_t x)
{
    return (float)((plane * 31 + i * 17 + j * 13 + y * 7 + x * 3) % 101) / 101.0f;
}

/* spec/minimax-h3.md 6.3's closed form. */
static float closed_form(const lt_h3_axis *ay, const lt_h3_axis *ax, int64_t plane, int64_t Y,
                         int64_t X)
{
    int64_t i = ay->count - 1, j = ax->count - 1;
    while (lt_h3_axis_start(ay, i) > Y)
        i--;
    while (lt_h3_axis_start(ax, j) > X)
        j--;
    const int64_t y = Y - lt_h3_axis_start(ay, i), x = X - lt_h3_axis_start(ax, j);
    float v = raw(plane, i, j, y, x);
    const int64_t oy = i > 0 ? lt_h3_axis_overlap(ay, i - 1) : 0,
                  ox = j > 0 ? lt_h3_axis_overlap(ax, j - 1) : 0;
    if (y < oy) {
        const float w = (float)y / (float)oy;
        v = raw(plane, i - 1, j, ay->tile - oy + y, x) * (1 - w) + v * w;
    }
    if (x < ox) {
        const float w = (float)x / (float)ox;
        v = raw(plane, i, j - 1, y, ax->tile - ox + x) * (1 - w) + v * w;
    }
    return v;
}

static const struct {
    int64_t height, width, tile, overlap, unit;
    const char *reason;
} canvases[] = {
    {5, 7, 16, 4, 1, "one tile"},
    {5, 40, 16, 4, 2, "tiles across only, uneven overlaps"},
    {40, 5, 16, 4, 2, "tiles down only"},
    {43, 30, 16, 4, 1, "tiles both ways"},
    {17, 17, 16, 4, 1, "overlaps wider than what is kept"},
    {41, 37, 16, 4, 4, "short last tiles"},
};

static void stitching_is_the_closed_form(void **state)
{
    (void)state;
    enum { PLANES = 3 };
    for (size_t n = 0; n < sizeof canvases / sizeof *canvases; n++) {
        const lt_h3_axis y = lt_h3_axis_split(canvases[n].height, canvases[n].tile,
                                              canvases[n].overlap, canvases[n].unit);
        const lt_h3_axis x = lt_h3_axis_split(canvases[n].width, canvases[n].tile,
                                              canvases[n].overlap, canvases[n].unit);
        const int64_t H = lt_h3_axis_cover(&y), W = lt_h3_axis_cover(&x);
        float *tile = calloc((size_t)(PLANES * y.tile * x.tile), sizeof *tile);
        float *out = calloc((size_t)(PLANES * H * W), sizeof *out);
        lt_h3_stitch stitch;
        assert_true(tile != NULL && out != NULL);
        assert_int_equal(lt_h3_stitch_open(&y, &x, PLANES, 2, &stitch), LT_OK);
        for (int64_t i = 0; i < y.count; i++)
            for (int64_t j = 0; j < x.count; j++) {
                const int64_t h = lt_h3_axis_size(&y, i), w = lt_h3_axis_size(&x, j);
                for (int64_t k = 0; k < PLANES * h * w; k++)
                    tile[k] = raw(k / w / h, i, j, k / w % h, k % w);
                lt_h3_stitch_tile(&stitch, i, j, tile, out);
            }
        for (int64_t k = 0; k < PLANES * H * W; k++) {
            const float want = closed_form(&y, &x, k / W / H, k / W % H, k % W);
            if (!(out[k] == want)) /* the same products and sums: the same bits */
                fail_msg("%s: cell %d is %.9g, want %.9g", canvases[n].reason, (int)k,
                         (double)out[k], (double)want);
        }
        lt_h3_stitch_close(&stitch);
        free(tile);
        free(out);
    }
}

/* ---- time ---- */
static const char demo[] = LT_SOURCE_DIR "/models/demo/vae/config.json";

static const struct {
    int64_t latents, chunks, frames;
    const char *reason;
} lengths[] = {
    {0, 0, 0, "nothing"},
    {1, 0, 0, "one latent frame: the reference fails"},
    {2, 0, 0, "two: the reference fails"},
    {3, 1, 9, "filled up by four, 13 frames cut"},
    {4, 1, 13, "filled up by three"},
    {6, 1, 18, "filled up by one: index 6 stands for 4 frames"},
    {7, 1, 22, "5n+2"},
    {8, 2, 26, "one more than a clip"},
    {12, 2, 39, "5n+2"},
    {37, 7, 124, "the released model's shortest"},
};

static void lengths_are_the_references(void **state)
{
    (void)state;
    lt_h3_video_config c;
    assert_int_equal(lt_h3_video_config_read(demo, &c), LT_OK);
    assert_int_equal(lt_h3_video_chunk_latents(&c), 7);
    assert_int_equal(lt_h3_video_chunk_frames(&c), 28);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        if (lt_h3_video_chunk_count(&c, lengths[i].latents) != lengths[i].chunks)
            fail_msg("%s: %d clips", lengths[i].reason,
                     (int)lt_h3_video_chunk_count(&c, lengths[i].latents));
        if (lt_h3_video_frame_count(&c, lengths[i].latents) != lengths[i].frames)
            fail_msg("%s: %d frames", lengths[i].reason,
                     (int)lt_h3_video_frame_count(&c, lengths[i].latents));
    }
}

/* Frames of one pixel, numbered, so that every frame's way shows. */
static void clips_are_joined(void **state)
{
    (void)state;
    lt_h3_video_config c;
    assert_int_equal(lt_h3_video_config_read(demo, &c), LT_OK);
    const int64_t values = 3 * 16 * 16;
    float *frames = calloc((size_t)(28 * values), sizeof *frames),
          *overlap = calloc((size_t)(5 * values), sizeof *overlap);
    assert_true(frames != NULL && overlap != NULL);
    for (int last = 0; last < 2; last++) {
        int64_t count = 0;
        for (int64_t i = 0; i < 28 * values; i++)
            frames[i] = (float)(i / values);
        for (int64_t i = 0; i < 5 * values; i++)
            overlap[i] = 100 + (float)(i / values);
        assert_true(lt_h3_video_overlap(&c, frames, 1, 1)[0] == 23);
        const float *done = lt_h3_video_finish_chunk(&c, frames, 1, 1, overlap, last, &count);
        assert_int_equal(count, last ? 22 : 17);
        for (int64_t k = 0; k < count; k++) {
            const float w = (float)k / 5.0f, raw_frame = (float)(k < 17 ? 3 + k : 6 + k);
            const float want = k < 5 ? (100 + (float)k) * (1 - w) + raw_frame * w : raw_frame;
            assert_true(done[k * values] == want && done[(k + 1) * values - 1] == want);
        }
    }
    free(frames);
    free(overlap);
}

/* ---- integers ---- */
static void colours_are_rounded_half_to_even(void **state)
{
    (void)state;
    const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
    float x[2][3][6];
    uint8_t bytes[2][3][6];
    uint16_t words[2][3][6];
    const float level[6] = {-1, 0, 0.25f, 0.5f, 1, 2};
    for (int n = 0; n < 36; n++)
        (&x[0][0][0])[n] = (level[n % 6] - mean[n / 6 % 3]) / std[n / 6 % 3];
    x[1][2][5] = NAN;
    lt_h3_video_to_u8(&x[0][0][0], 2, 6, 2, &bytes[0][0][0]);
    lt_h3_video_to_u16(&x[0][0][0], 2, 6, 2, &words[0][0][0]);
    for (int n = 0; n < 35; n++) {
        const float v = (&x[0][0][0])[n] * std[n / 6 % 3] + mean[n / 6 % 3];
        const float clamped = fminf(fmaxf(v, 0), 1);
        assert_int_equal((&bytes[0][0][0])[n], (int)rintf(clamped * 255));
        assert_int_equal((&words[0][0][0])[n], (int)rintf(clamped * 65535));
    }
    assert_int_equal(bytes[1][2][5], 0); /* NaN is black, never undefined */
}

/* ---- configs ---- */
static const struct {
    const char *key, *value, *word;
} spoiled[] = {
    {"latent_channels", "0", "latent_channels"},
    {"latent_channels", "1000000000000", "latent_channels"},
    {"decoder_num_layers", "2000000000", "decoder_num_layers"},
    {"decoder_num_layers", "\"4\"", "decoder_num_layers"},
    {"decoder_attention_head_dim", "-32", "decoder_attention_head_dim"},
    {"decoder_rope_dim_ratio", "0.7", "rope_dim_ratio"},
    {"decoder_rope_dim_ratio", "1.5", "rope_dim_ratio"},
    {"block_out_channels", "[4, 12, 24]", "downsample_factors"},
    {"block_out_channels", "[]", "block_out_channels"},
    {"block_out_channels", "[3, 12, 24, 48, 64, 64]", "norm groups"},
    {"spatial_downsample_factors", "[2, 2, 2, 2, 1, 3]", "spatial_downsample_factors"},
    {"temporal_downsample_factors", "[1, 2, 2, 1, 2, 1]", "time factor"},
    {"spatial_padding_mode", "\"zeros\"", "spatial_padding_mode"},
    {"clip_length", "0", "clip_length"},
    {"token_drop", "5", "token_drop"},
    {"latents_std", "[1, 1]", "latents_std"},
    {"latents_mean", "\"none\"", "latents_mean"},
};

static void bad_configs_are_refused(void **state)
{
    (void)state;
    scratch s;
    lt_h3_video_config c;
    scratch_new(&s);
    const char *path = scratch_path(&s, "config.json");
    for (size_t i = 0; i < sizeof spoiled / sizeof *spoiled; i++) {
        json_t *document = NULL, *value = json_loads(spoiled[i].value, JSON_DECODE_ANY, NULL);
        assert_int_equal(lt_json_read(demo, &document), LT_OK);
        assert_non_null(value);
        json_object_set_new(document, spoiled[i].key, value);
        assert_int_equal(json_dump_file(document, path, 0), 0);
        json_decref(document);
        const lt_status st = lt_h3_video_config_read(path, &c);
        if (st != LT_EDATA || strstr(lt_error_text(), spoiled[i].word) == NULL ||
            strstr(lt_error_text(), "config.json") == NULL)
            fail_msg("%s = %s: %s: %s", spoiled[i].key, spoiled[i].value, lt_status_name(st),
                     lt_error_text());
    }
    assert_int_equal(lt_h3_video_config_read(scratch_path(&s, "absent.json"), &c), LT_ENOINPUT);
    scratch_free(&s);
}

static const struct {
    const char *key, *value, *word;
} spoiled_audio[] = {
    {"latent_dim", "129", "latent_dim"},
    {"num_attention_heads", "7", "latent_dim"},
    {"encoder_dim", "65536", "encoder_dim"},
    {"encoder_rates", "[64, 64, 64, 64]", "encoder_rates"},
    {"decoder_rates", "[5, 5, 2, 2, 2, 2, 4]", "decoder_rates"},
    {"decoder_rates", "[5, 5]", "decoder_kernel_sizes"},
    {"decoder_kernel_sizes", "[9, 9, 4, 4, 4, 4, 3]", "decoder_kernel_sizes[6]"},
    {"decoder_dim", "64", "decoder_dim"},
    {"resblock_kernel_sizes", "[3, 4]", "resblock_kernel_sizes[1]"},
    {"resblock_dilation_sizes", "[[1]]", "resblock_dilation_sizes"},
    {"resblock_dilation_sizes", "[[1], [0]]", "resblock_dilation_sizes[1][0]"},
    {"resblock_dilation_sizes", "[[1], 3]", "resblock_dilation_sizes[1]"},
    {"sampling_rate", "0", "sampling_rate"},
    {"latents_std", "[0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", "latents_std[0]"},
};

static void bad_audio_configs_are_refused(void **state)
{
    (void)state;
    scratch s;
    lt_h3_audio_config c;
    scratch_new(&s);
    const char *path = scratch_path(&s, "config.json");
    for (size_t i = 0; i < sizeof spoiled_audio / sizeof *spoiled_audio; i++) {
        json_t *document = NULL, *value = json_loads(spoiled_audio[i].value, JSON_DECODE_ANY, NULL);
        assert_int_equal(
            lt_json_read(LT_SOURCE_DIR "/models/demo/audio_vae/config.json", &document), LT_OK);
        assert_non_null(value);
        json_object_set_new(document, spoiled_audio[i].key, value);
        assert_int_equal(json_dump_file(document, path, 0), 0);
        json_decref(document);
        const lt_status st = lt_h3_audio_config_read(path, &c);
        if (st != LT_EDATA || strstr(lt_error_text(), spoiled_audio[i].word) == NULL)
            fail_msg("%s = %s: %s: %s", spoiled_audio[i].key, spoiled_audio[i].value,
                     lt_status_name(st), lt_error_text());
    }
    scratch_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axes_are_the_specs),
        cmocka_unit_test(axes_keep_their_promises),
        cmocka_unit_test(stitching_is_the_closed_form),
        cmocka_unit_test(lengths_are_the_references),
        cmocka_unit_test(clips_are_joined),
        cmocka_unit_test(colours_are_rounded_half_to_even),
        cmocka_unit_test(bad_configs_are_refused),
        cmocka_unit_test(bad_audio_configs_are_refused),
    };
    return cmocka_run_group_tests_name("h3_tiles", tests, NULL, NULL);
}
