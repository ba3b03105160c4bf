/* test_h3_layout.c - the packed sequence against the published pipeline, and the patch order.
 * Goal: positions to the last bit of f64, tags and indices equal, for several lengths and shapes;
 * a window's rows are those of the clip; what isn't on the grid is refused; latents survive the way
 * to rows and back. Ranks: 1. Needs: tests/parity/golden/layout_*.safetensors. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/files/checkpoint.h"
#include "model/h3/h3.h"

static void compare(const char *name, const char *tensor, const void *found, lt_dtype dtype,
                    lt_dims dims)
{
    char path[512];
    lt_checkpoint *file;
    int64_t count = 1;
    for (int i = 0; i < dims.ndim; i++)
        count *= dims.dim[i];
    const size_t bytes = (size_t)count * lt_dtype_bytes(dtype);
    void *wanted = malloc(bytes + 1);
    assert_non_null(wanted);
    (void)snprintf(path, sizeof path, LT_SOURCE_DIR "/tests/parity/golden/layout_%s.safetensors",
                   name);
    if (lt_checkpoint_open(path, NULL, &file) != LT_OK ||
        lt_checkpoint_read(file, tensor, dims, lt_slice_whole(dims), dtype, wanted) != LT_OK)
        fail_msg("%s", lt_error_text());
    for (size_t i = 0; i < bytes; i += lt_dtype_bytes(dtype))
        if (memcmp((const char *)found + i, (const char *)wanted + i, lt_dtype_bytes(dtype)) != 0)
            fail_msg("%s: %s: element %zu differs", name, tensor, i / lt_dtype_bytes(dtype));
    lt_checkpoint_close(&file);
    free(wanted);
}

static const struct {
    const char *name;
    int64_t frames, width, height, text;
    int anchors; /* 1: a keyframe at the first frame, which is an anchor at distance 0 */
} cases[] = {
    {"124_64x64_0", 124, 64, 64, 0, 0}, /* square: spans [0, 32); no text */
    {"22_32x64_1", 22, 32, 64, 1, 0},   /* shortest film; one column: first and last width agree */
    {"22_64x32_7", 22, 64, 32, 7, 0},
    {"345_64x32_5", 345, 64, 32, 5, 0}, /* longest published: prefix sums over 102 latents */
    {"39_96x96_12", 39, 96, 96, 12,
     0}, /* three cells a side: the step is not a short binary fraction */
    {"5_96x32_3", 5, 96, 32, 3, 0},         /* two latents */
    {"90_160x96_23", 90, 160, 96, 23, 0},   /* 5:3 */
    {"22_64x96_9_first", 22, 64, 96, 9, 1}, /* rows behind the text, first of the video's */
};

static void agrees_with_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_h3_layout *l;
        const int64_t keyframe = 0;
        const lt_window w = {.shape = {cases[i].frames, cases[i].width, cases[i].height},
                             .anchor = &keyframe,
                             .anchors = cases[i].anchors};
        if (lt_h3_layout_window(&w, cases[i].text, &l) != LT_OK)
            fail_msg("%s: %s", cases[i].name, lt_error_text());
        const int64_t latent_frames = lt_h3_latent_frames(cases[i].frames);
        const int64_t ticks = lt_h3_audio_ticks(cases[i].frames);
        compare(cases[i].name, "position_ids", l->position_ids, LT_F64, LT_DIMS(l->rows, 3));
        compare(cases[i].name, "token_tags", l->token_tags, LT_I64, LT_DIMS(l->rows));
        compare(cases[i].name, "video_indices", l->video_indices, LT_I64, LT_DIMS(l->video_rows));
        compare(cases[i].name, "audio_indices", l->audio_indices, LT_I64, LT_DIMS(l->audio_rows));
        if (l->text_rows > 0)
            compare(cases[i].name, "text_indices", l->text_indices, LT_I64, LT_DIMS(l->text_rows));
        compare(cases[i].name, "latent_frames", &latent_frames, LT_I64, LT_DIMS(1));
        compare(cases[i].name, "audio_latents", &ticks, LT_I64, LT_DIMS(1));
        lt_h3_layout_free(&l);
        assert_null(l);
    }
}

/* ---- windows of a longer clip ---- */

enum { TEXT = 9, CLIP_FRAMES = 379, CLIP_WIDTH = 160, CLIP_HEIGHT = 96 };

static void same_rows(const char *what, const lt_h3_layout *a, const int64_t *rows,
                      const lt_h3_layout *whole, const int64_t *whole_rows, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (memcmp(a->position_ids + 3 * rows[i], whole->position_ids + 3 * whole_rows[i],
                   3 * sizeof(double)) != 0 ||
            a->token_tags[rows[i]] != whole->token_tags[whole_rows[i]])
            fail_msg("%s: row %lld is not the clip's", what, (long long)i);
}

/* Video rows of the window's latent k, which is latent `at` of the clip. */
static void same_latent(const lt_window *w, const lt_h3_layout *a, int64_t k,
                        const lt_h3_layout *whole, int64_t at)
{
    const int64_t rows = a->latent_height / 2, columns = a->latent_width / 2;
    const int64_t whole_rows = whole->latent_height / 2, whole_columns = whole->latent_width / 2;
    for (int64_t y = 0; y < rows; y++)
        same_rows("video", a, a->video_indices + (k * rows + y) * columns, whole,
                  whole->video_indices + (at * whole_rows + w->row / 2 + y) * whole_columns +
                      w->column / 2,
                  columns);
}

/* Every row of the window, its anchors' too, has the position and the tag that the clip's row has.
 */
static void same_as_in_clip(const lt_window *w, const lt_h3_layout *whole)
{
    const lt_grid *g = lt_family_h3.grid;
    lt_h3_layout *a;
    assert_int_equal(lt_h3_layout_window(w, TEXT, &a), LT_OK);
    const lt_range ticks = lt_grid_tick_range(g, (lt_range){w->latent, a->latent_frames});
    assert_int_equal(ticks.count, a->audio_ticks);
    assert_int_equal(a->rows, a->text_rows + a->audio_rows + a->video_rows);
    same_rows("text", a, a->text_indices, whole, whole->text_indices, TEXT);
    for (int64_t c = 0; c < LT_H3_AUDIO_CHANNELS; c++)
        same_rows("audio", a, a->audio_indices + c * ticks.count, whole,
                  whole->audio_indices + c * whole->audio_ticks + ticks.first, ticks.count);
    for (int k = 0; k < w->anchors; k++)
        same_latent(w, a, k, whole, w->latent + w->anchor[k]);
    for (int64_t t = 0; t < a->latent_frames; t++)
        same_latent(w, a, w->anchors + t, whole, w->latent + t);
    lt_h3_layout_free(&a);
}

static lt_layout windows_of_clip(lt_layout_kind kind)
{
    const lt_grid *g = lt_family_h3.grid;
    lt_layout_spec spec = {.kind = kind, .latents = lt_grid_latents(g, CLIP_FRAMES)};
    lt_layout windows;
    assert_int_equal(lt_grid_window(g, 141, &spec.window), LT_OK);
    assert_int_equal(lt_grid_overlap(g, spec.window, 39, &spec.overlap), LT_OK);
    assert_int_equal(lt_layout_new(g, &spec, 1, &windows), LT_OK);
    assert_true(windows.count > 2);
    return windows;
}

static void windows_have_the_clips_positions(void **state)
{
    (void)state;
    static const lt_layout_kind kinds[] = {LT_LAYOUT_BALANCED, LT_LAYOUT_DITHERED,
                                           LT_LAYOUT_EXTEND};
    const lt_grid *g = lt_family_h3.grid;
    lt_h3_layout *whole;
    assert_int_equal(lt_h3_layout_new(CLIP_FRAMES, CLIP_WIDTH, CLIP_HEIGHT, TEXT, &whole), LT_OK);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        lt_layout windows = windows_of_clip(kinds[i]);
        for (int64_t k = 0; k < windows.count; k++) {
            const lt_range at = windows.window[k];
            const lt_shape shape = {lt_grid_frame_range(g, at).count, CLIP_WIDTH, CLIP_HEIGHT};
            /* the clip's first and last latent, the one before the window or its first */
            const int64_t anchor[] = {-at.first, whole->latent_frames - 1 - at.first,
                                      at.first > 0 ? -1 : 0};
            lt_window w = {.shape = shape, .latent = at.first};
            same_as_in_clip(&w, whole);
            w.anchor = anchor;
            w.anchors = 3;
            same_as_in_clip(&w, whole);
            w.shape.width = 64; /* a tile of it */
            w.shape.height = 32;
            w.whole_width = CLIP_WIDTH;
            w.whole_height = CLIP_HEIGHT;
            same_as_in_clip(&w, whole);
            w.row = 4;
            w.column = 6;
            same_as_in_clip(&w, whole);
        }
        lt_layout_free(&windows);
    }
    lt_h3_layout_free(&whole);
}

/* Where no latent of a clip is, before its first, spans go on: 1, 4, 4, 4, 4 frames backwards. */
static void anchors_before_a_local_window(void **state)
{
    (void)state;
    static const int64_t anchor[] = {-1, -5, -6, -15};
    static const double frames[] = {-4, -17, -21, -51}; /* before the window */
    const lt_window w = {.shape = {22, 32, 32}, .anchor = anchor, .anchors = 4};
    lt_h3_layout *l, *plain;
    assert_int_equal(lt_h3_layout_window(&w, TEXT, &l), LT_OK);
    assert_int_equal(lt_h3_layout_new(22, 32, 32, TEXT, &plain), LT_OK);
    assert_int_equal(l->anchors, 4);
    assert_int_equal(lt_h3_layout_anchor_rows(l), 4);
    for (int k = 0; k < 4; k++) {
        const double at = l->position_ids[3 * l->video_indices[k]];
        assert_true(fabs(at - (TEXT + frames[k] * 5 / 3)) < 1e-12); /* a few roundings of 2^-53 */
    }
    for (int64_t t = 0; t < plain->latent_frames; t++) /* what is not an anchor is as without */
        same_latent(&w, l, 4 + t, plain, t);
    same_rows("audio", l, l->audio_indices, plain, plain->audio_indices, plain->audio_rows);
    lt_h3_layout_free(&l);
    lt_h3_layout_free(&plain);
}

static void grid(void **state)
{
    (void)state;
    static const struct {
        int64_t asked, next, latents, ticks;
    } rows[] = {
        {0, 22, 7, 37},      {1, 22, 7, 37},      {22, 22, 7, 37},
        {23, 39, 12, 65},    {39, 39, 12, 65},    {107, 107, 32, 178},
        {108, 124, 37, 207}, {124, 124, 37, 207}, {346, 362, 107, 603},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int64_t next = lt_h3_frames_next(rows[i].asked);
        assert_int_equal(next, rows[i].next);
        assert_int_equal(lt_h3_latent_frames(next), rows[i].latents);
        assert_int_equal(lt_h3_audio_ticks(next), rows[i].ticks);
        assert_true(lt_h3_frames_on_grid(next));
    }
    assert_false(lt_h3_frames_on_grid(5));
    assert_false(lt_h3_frames_on_grid(-12));
    assert_false(lt_h3_frames_on_grid(100));
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t frames, width, height, text;
    } bad[] = {
        {"off the grid", 100, 64, 64, 1},
        {"no frames", 0, 64, 64, 1},
        {"negative frames", -12, 64, 64, 1},
        {"frames past all limits", INT64_MAX, 64, 64, 1},
        {"width not a multiple of 32", 22, 48, 64, 1},
        {"no height", 22, 64, 0, 1},
        {"negative width", 22, -64, 64, 1},
        {"side past all limits", 22, INT64_C(1) << 40, 64, 1},
        {"rows past i32", 17 * 1000000 + 5, 4096, 4096, 1},
        {"text past i32", 22, 64, 64, INT64_C(1) << 40},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lt_h3_layout *l;
        if (lt_h3_layout_new(bad[i].frames, bad[i].width, bad[i].height, bad[i].text, &l) !=
            LT_EUSAGE)
            fail_msg("%s: accepted", bad[i].name);
        assert_null(l);
    }
}

static void sizes_are_answered_with_the_nearest(void **state)
{
    (void)state;
    static const struct {
        const char *reason;
        int64_t width, height;
        const char *hint; /* NULL: it is taken */
    } sizes[] = {
        {"as it should be", 1344, 768, NULL},
        {"smallest", 32, 32, NULL},
        {"largest", 16384, 16384, NULL},
        {"a screen's", 1920, 1080, "nearest: --size 1920x1056 or --size 1920x1088"},
        {"both off", 100, 200, "nearest: --size 96x192 or --size 128x224"},
        {"too small", 8, 40, "nearest: --size 32x32 or --size 32x64"},
        {"too small, one answer", 8, 64, "nearest: --size 32x64"},
        {"too large", 20000, 64, "nearest: --size 16384x64"},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        lt_error_clear();
        const lt_status st = lt_h3_size_check(sizes[i].width, sizes[i].height);
        if (sizes[i].hint == NULL ? st != LT_OK
                                  : st != LT_EUSAGE || strcmp(lt_hint_text(), sizes[i].hint) != 0)
            fail_msg("%s: found %d %s", sizes[i].reason, st, lt_hint_text());
    }
}

static void arrays_are_checked(void **state)
{
    (void)state;
    double positions[9] = {0, 0, 0, 1, 0, 0, 2, 0, 0};
    int64_t tags[3] = {1, 2, 0}, video[1] = {2}, audio[1] = {1}, text[1] = {0};
    const lt_h3_layout good = {.rows = 3,
                               .video_rows = 1,
                               .audio_rows = 1,
                               .text_rows = 1,
                               .position_ids = positions,
                               .token_tags = tags,
                               .video_indices = video,
                               .audio_indices = audio,
                               .text_indices = text};
    lt_h3_layout *l;
    assert_int_equal(lt_h3_layout_from("a.safetensors", &good, &l), LT_OK);
    assert_int_equal(l->video_indices[0], 2);
    lt_h3_layout_free(&l);
    video[0] = 3; /* outside */
    assert_int_equal(lt_h3_layout_from("a.safetensors", &good, &l), LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "a.safetensors: video_indices[0]"));
    video[0] = 1; /* twice */
    assert_int_equal(lt_h3_layout_from("a.safetensors", &good, &l), LT_EDATA);
    video[0] = 2;
    tags[1] = 3; /* no such tag */
    assert_int_equal(lt_h3_layout_from("a.safetensors", &good, &l), LT_EDATA);
    tags[1] = 2;
    positions[4] = 0.0 / 0.0 * positions[0];
    assert_int_equal(lt_h3_layout_from("a.safetensors", &good, &l), LT_EDATA);
}

static void timesteps_by_row(void **state)
{
    (void)state;
    lt_h3_layout *l;
    assert_int_equal(lt_h3_layout_new(22, 64, 32, 2, &l), LT_OK);
    int32_t *index = malloc((size_t)l->rows * sizeof *index);
    lt_h3_layout_timesteps(l, 7, 4, index);
    for (int64_t i = 0; i < l->rows; i++)
        assert_int_equal(index[i], i >= 2 && i < 2 + 74 ? 4 : 7);
    free(index);
    lt_h3_layout_free(&l);
}

static void rows_and_back(void **state)
{
    (void)state;
    enum { C = 3, T = 2, H = 4, W = 6, A = 5, N = C * T * H * W, M = 2 * C * A };
    float x[N], rows[N], back[N], s[M], s_rows[M], s_back[M];
    for (int i = 0; i < N; i++)
        x[i] = (float)i;
    lt_h3_patchify(x, C, T, H, W, rows);
    /* row (t 1, y 1, x 2), channel 2, dy 1, dx 0 */
    assert_true(rows[((1 * 2 + 1) * 3 + 2) * 4 * C + 2 * 4 + 2] ==
                x[((2 * T + 1) * H + 3) * W + 4]);
    lt_h3_unpatchify(rows, C, T, H, W, back);
    assert_memory_equal(back, x, sizeof x);
    for (int i = 0; i < M; i++)
        s[i] = (float)i;
    lt_h3_audio_to_rows(s, C, A, s_rows);
    assert_true(s_rows[(1 * A + 3) * C + 2] ==
                s[(1 * C + 2) * A + 3]); /* right, tick 3, channel 2 */
    lt_h3_rows_to_audio(s_rows, C, A, s_back);
    assert_memory_equal(s_back, s, sizeof s);
}

/* What a dry run counts by is what a run gets; the longest film allocates nothing. */
static void dry_has_the_same_counts(void **state)
{
    (void)state;
    lt_h3_layout *whole = NULL, *dry = NULL;
    assert_int_equal(lt_h3_layout_new(39, 96, 64, 7, &whole), LT_OK);
    assert_int_equal(lt_h3_layout_dry(&(lt_window){.shape = {39, 96, 64}}, 7, &dry), LT_OK);
    assert_true(dry->rows == whole->rows && dry->video_rows == whole->video_rows &&
                dry->audio_rows == whole->audio_rows && dry->text_rows == whole->text_rows &&
                dry->latent_frames == whole->latent_frames &&
                dry->audio_ticks == whole->audio_ticks);
    assert_true(dry->position_ids == NULL && dry->video_indices == NULL);
    assert_int_equal(lt_h3_layout_bytes(dry), lt_h3_layout_bytes(whole));
    lt_h3_layout_free(&whole);
    lt_h3_layout_free(&dry);
    static const int64_t anchor[] = {-3, 40};
    const lt_window w = {.shape = {39, 96, 64}, .latent = 15, .anchor = anchor, .anchors = 2};
    assert_int_equal(lt_h3_layout_window(&w, 7, &whole), LT_OK);
    assert_int_equal(lt_h3_layout_dry(&w, 7, &dry), LT_OK);
    assert_true(dry->rows == whole->rows && dry->video_rows == whole->video_rows &&
                dry->anchors == whole->anchors);
    assert_int_equal(lt_h3_layout_anchor_rows(dry), 2 * 3 * 2);
    assert_int_equal(lt_h3_layout_bytes(dry), lt_h3_layout_bytes(whole));
    lt_h3_layout_free(&whole);
    lt_h3_layout_free(&dry);
    assert_int_equal(lt_h3_layout_dry(&(lt_window){.shape = {86416, 1344, 768}}, 7, &dry), LT_OK);
    lt_h3_layout_free(&dry);
    assert_int_equal(lt_h3_layout_dry(&(lt_window){.shape = {40, 96, 64}}, 7, &dry), LT_EUSAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dry_has_the_same_counts),
        cmocka_unit_test(agrees_with_published),
        cmocka_unit_test(windows_have_the_clips_positions),
        cmocka_unit_test(anchors_before_a_local_window),
        cmocka_unit_test(grid),
        cmocka_unit_test(refuses),
        cmocka_unit_test(sizes_are_answered_with_the_nearest),
        cmocka_unit_test(arrays_are_checked),
        cmocka_unit_test(timesteps_by_row),
        cmocka_unit_test(rows_and_back),
    };
    return cmocka_run_group_tests_name("h3_layout", tests, NULL, NULL);
}
