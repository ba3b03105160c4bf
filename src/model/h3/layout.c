/* layout.c - how H3's text, audio and video lie in one packed sequence.
 * Formulas: spec/minimax-h3.md 4.2-4.4. The order of the f64 operations is the published code's
 * (numpy's linspace without end point, torch's cumsum), since the positions are compared to the
 * last bit. */
#include "model/h3/layout.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    FRAMES_PER_CHUNK = 17,
    LATENTS_PER_CHUNK = 5,
    FRAMES_TAIL = 5,
    LATENTS_TAIL = 2
};                                          /* spec 0 */
static const double TIME_SCALE = 5.0 / 3.0; /* one unit is one audio latent: 40/s at 24 frames/s */
static const double SPACE_SCALE = 32.0;

int lt_h3_frames_on_grid(int64_t frames)
{
    return frames >= FRAMES_PER_CHUNK + FRAMES_TAIL &&
           (frames - FRAMES_TAIL) % FRAMES_PER_CHUNK == 0;
}

int64_t lt_h3_latent_frames(int64_t frames)
{
    assert(frames >= FRAMES_TAIL && (frames - FRAMES_TAIL) % FRAMES_PER_CHUNK == 0);
    return (frames - FRAMES_TAIL) / FRAMES_PER_CHUNK * LATENTS_PER_CHUNK + LATENTS_TAIL;
}

int64_t lt_h3_frames_next(int64_t frames)
{
    assert(frames >= 0 && frames <= INT64_C(1) << 40);
    if (frames <= FRAMES_PER_CHUNK + FRAMES_TAIL)
        return FRAMES_PER_CHUNK + FRAMES_TAIL;
    const int64_t chunks = (frames - FRAMES_TAIL + FRAMES_PER_CHUNK - 1) / FRAMES_PER_CHUNK;
    return chunks * FRAMES_PER_CHUNK + FRAMES_TAIL;
}

/* The multiple next below (up 0) or above (up 1), within what is allowed. */
static int64_t multiple_near(int64_t pixels, int up)
{
    const int64_t most = LT_H3_SIZE_MAX;
    const int64_t near =
        (pixels + (up ? LT_H3_SIZE_MULTIPLE - 1 : 0)) / LT_H3_SIZE_MULTIPLE * LT_H3_SIZE_MULTIPLE;
    return near < LT_H3_SIZE_MULTIPLE ? LT_H3_SIZE_MULTIPLE : near > most ? most : near;
}

lt_status lt_h3_size_check(int64_t width, int64_t height)
{
    if (width >= LT_H3_SIZE_MULTIPLE && height >= LT_H3_SIZE_MULTIPLE && width <= LT_H3_SIZE_MAX &&
        height <= LT_H3_SIZE_MAX && width % LT_H3_SIZE_MULTIPLE == 0 &&
        height % LT_H3_SIZE_MULTIPLE == 0)
        return LT_OK;
    const int64_t below[2] = {multiple_near(width, 0), multiple_near(height, 0)},
                  above[2] = {multiple_near(width, 1), multiple_near(height, 1)};
    if (memcmp(below, above, sizeof below) == 0)
        lt_hint("nearest: --size %lldx%lld", (long long)below[0], (long long)below[1]);
    else
        lt_hint("nearest: --size %lldx%lld or --size %lldx%lld", (long long)below[0],
                (long long)below[1], (long long)above[0], (long long)above[1]);
    LT_FAIL(LT_EUSAGE, "--size %lldx%lld: want multiples of %d, %d to %d", (long long)width,
            (long long)height, LT_H3_SIZE_MULTIPLE, LT_H3_SIZE_MULTIPLE, LT_H3_SIZE_MAX);
}

int64_t lt_h3_audio_ticks(int64_t frames)
{
    assert(frames >= 0 && frames <= INT64_C(1) << 40);
    return (5 * frames + 1) / 3;
}

static int64_t frame_rows(const lt_h3_layout *l)
{
    return (l->latent_height / LT_H3_PATCH) * (l->latent_width / LT_H3_PATCH);
}

int64_t lt_h3_layout_anchor_rows(const lt_h3_layout *l) { return l->anchors * frame_rows(l); }

/* The arrays of a layout whose counts are set. */
static lt_status layout_alloc(const lt_h3_layout *counts, lt_h3_layout **out)
{
    lt_h3_layout *l = malloc(sizeof *l);
    if (!l)
        LT_FAIL(LT_ENOMEM, "packed layout: no memory for its description");
    *l = *counts;
    const size_t S = (size_t)l->rows;
    l->position_ids = calloc(S * 3 + 1, sizeof *l->position_ids);
    l->token_tags = calloc(S + 1, sizeof *l->token_tags);
    l->video_indices = calloc((size_t)l->video_rows + 1, sizeof *l->video_indices);
    l->audio_indices = calloc((size_t)l->audio_rows + 1, sizeof *l->audio_indices);
    l->text_indices = calloc((size_t)l->text_rows + 1, sizeof *l->text_indices);
    if (!l->position_ids || !l->token_tags || !l->video_indices || !l->audio_indices ||
        !l->text_indices) {
        lt_h3_layout_free(&l);
        LT_FAIL(LT_ENOMEM, "packed layout: no memory for %lld rows", (long long)counts->rows);
    }
    *out = l;
    return LT_OK;
}

void lt_h3_layout_free(lt_h3_layout **layout)
{
    if (!layout || !*layout)
        return;
    free((*layout)->position_ids);
    free((*layout)->token_tags);
    free((*layout)->video_indices);
    free((*layout)->audio_indices);
    free((*layout)->text_indices);
    free(*layout);
    *layout = NULL;
}

/* Coordinate k of an axis of `cells` latent cells: the axis is as long as its share of the square
 * root of the frame's area, centred on the unit interval, so that a square frame spans [0, 32).
 */
static double axis_at(int64_t cells, double sqrt_area, int64_t k)
{
    const double ratio = (double)cells / sqrt_area;
    const double left = (1.0 - ratio) / 2.0;
    const double stop = left + ratio;
    const double step = (stop - left) / (double)(cells / LT_H3_PATCH);
    return ((double)k * step + left) * SPACE_SCALE;
}

/* Where a window's rows stand in space: patches of the whole frame, which it may be a tile of. */
typedef struct frame_grid {
    int64_t height, width; /* of the whole, in latent cells */
    double sqrt_area;
    int64_t row, column; /* of the window's first patch */
} frame_grid;

static frame_grid frame_of(const lt_window *w)
{
    const int64_t cell = LT_H3_CELL_PIXELS, patch = LT_H3_PATCH;
    const int is_whole = w->whole_width == 0 && w->whole_height == 0;
    const int64_t height = is_whole ? w->shape.height : w->whole_height;
    const int64_t width = is_whole ? w->shape.width : w->whole_width;
    assert(height % (cell * patch) == 0 && width % (cell * patch) == 0);
    assert(w->row >= 0 && w->row % patch == 0 && w->row * cell + w->shape.height <= height);
    assert(w->column >= 0 && w->column % patch == 0 && w->column * cell + w->shape.width <= width);
    return (frame_grid){.height = height / cell,
                        .width = width / cell,
                        .sqrt_area = sqrt((double)((height / cell) * (width / cell))),
                        .row = w->row / patch,
                        .column = w->column / patch};
}

/* How long a latent lasts. */
static double span_of(int64_t latent)
{
    return TIME_SCALE * (latent % LATENTS_PER_CHUNK == 0 ? 1.0 : 4.0);
}

/* When a latent begins: prefix sum, frame by frame: another order differs in the last bit. */
static double time_of(int64_t latent)
{
    double elapsed = 0.0;
    for (int64_t t = 0; t < latent; t++)
        elapsed += span_of(t);
    for (int64_t t = -1; t >= latent; t--)
        elapsed -= span_of(t);
    return elapsed;
}

static void fill_text(lt_h3_layout *l)
{
    for (int64_t i = 0; i < l->text_rows; i++) {
        l->position_ids[3 * i] = (double)i;
        l->token_tags[i] = LT_H3_TAG_TEXT;
        l->text_indices[i] = i;
    }
}

/* Left stands at the first width coordinate of the whole frame, right at the last. */
static void fill_audio(lt_h3_layout *l, int64_t first_tick, const frame_grid *g)
{
    const double left = axis_at(g->width, g->sqrt_area, 0);
    const double right = axis_at(g->width, g->sqrt_area, g->width / LT_H3_PATCH - 1);
    const int64_t first = l->text_rows + lt_h3_layout_anchor_rows(l);
    for (int64_t i = 0; i < l->audio_rows; i++) {
        const int64_t row = first + i;
        double *at = l->position_ids + 3 * row;
        at[0] = (double)l->text_rows + (double)(first_tick + i % l->audio_ticks);
        at[2] = i < l->audio_ticks ? left : right;
        l->token_tags[row] = LT_H3_TAG_AUDIO;
        l->audio_indices[i] = row;
    }
}

/* One latent: video rows from `slot` on, in the sequence from `row` on. */
static void fill_latent(lt_h3_layout *l, const frame_grid *g, double time, int64_t slot,
                        int64_t row)
{
    const int64_t rows = l->latent_height / LT_H3_PATCH, columns = l->latent_width / LT_H3_PATCH;
    for (int64_t y = 0; y < rows; y++)
        for (int64_t x = 0; x < columns; x++, slot++, row++) {
            double *at = l->position_ids + 3 * row;
            at[0] = (double)l->text_rows + time;
            at[1] = axis_at(g->height, g->sqrt_area, g->row + y);
            at[2] = axis_at(g->width, g->sqrt_area, g->column + x);
            l->token_tags[row] = LT_H3_TAG_VIDEO;
            l->video_indices[slot] = row;
        }
}

static void fill_video(lt_h3_layout *l, const lt_window *w, const frame_grid *g)
{
    const int64_t rows = frame_rows(l), anchor_rows = lt_h3_layout_anchor_rows(l);
    const int64_t first = l->text_rows + anchor_rows + l->audio_rows;
    for (int64_t k = 0; k < l->anchors; k++)
        fill_latent(l, g, time_of(w->latent + w->anchor[k]), k * rows, l->text_rows + k * rows);
    double time = time_of(w->latent);
    for (int64_t t = 0; t < l->latent_frames; t++) {
        fill_latent(l, g, time, anchor_rows + t * rows, first + t * rows);
        time += span_of(w->latent + t);
    }
}

static lt_status sizes_check(const lt_window *window, int64_t text_rows)
{
    const int64_t frames = window->shape.frames, width = window->shape.width,
                  height = window->shape.height;
    const int64_t step = LT_H3_PATCH * LT_H3_CELL_PIXELS, side_max = 1 << 20;
    if (frames != FRAMES_TAIL && !lt_h3_frames_on_grid(frames)) {
        const int64_t next =
            frames < 0 || frames > INT64_C(1) << 40 ? 22 : lt_h3_frames_next(frames);
        LT_FAIL(LT_EUSAGE, "--frames %lld: want 17n + 5 with n >= 1 (next: %lld)",
                (long long)frames, (long long)next);
    }
    if (width < step || height < step || width % step || height % step || width > side_max ||
        height > side_max)
        LT_FAIL(LT_EUSAGE, "--size %lldx%lld: want multiples of %lld, at least %lld",
                (long long)width, (long long)height, (long long)step, (long long)step);
    const int64_t rows_per_frame = (width / step) * (height / step);
    const int64_t rows_max = INT32_MAX; /* a row's number travels as an i32 */
    if (frames > rows_max || text_rows > rows_max / 4 ||
        lt_h3_latent_frames(frames) + window->anchors >
            (rows_max / 2 - 2 * lt_h3_audio_ticks(frames) / 4) / rows_per_frame)
        LT_FAIL(LT_EUSAGE,
                "--frames %lld at --size %lldx%lld: the packed sequence would pass 2^30 rows",
                (long long)frames, (long long)width, (long long)height);
    return LT_OK;
}

/* The counts of a layout; its arrays are NULL. */
static lt_status layout_counts(const lt_window *window, int64_t text_rows, lt_h3_layout *n)
{
    const int64_t frames = window->shape.frames;
    assert(text_rows >= 0 && window->anchors >= 0 && window->latent >= 0);
    assert(window->latent % (3 * LATENTS_PER_CHUNK) == 0); /* 51 frames, 85 ticks */
    LT_TRY(sizes_check(window, text_rows));
    *n = (lt_h3_layout){0};
    n->latent_frames = lt_h3_latent_frames(frames);
    n->latent_height = window->shape.height / LT_H3_CELL_PIXELS;
    n->latent_width = window->shape.width / LT_H3_CELL_PIXELS;
    n->anchors = window->anchors;
    n->audio_ticks = lt_h3_audio_ticks(frames);
    n->text_rows = text_rows;
    n->audio_rows = LT_H3_AUDIO_CHANNELS * n->audio_ticks;
    n->video_rows = (n->anchors + n->latent_frames) * frame_rows(n);
    n->rows = n->text_rows + n->audio_rows + n->video_rows;
    return LT_OK;
}

lt_status lt_h3_layout_dry(const lt_window *window, int64_t text_rows, lt_h3_layout **out)
{
    assert(window && out);
    *out = NULL;
    lt_h3_layout n;
    LT_TRY(layout_counts(window, text_rows, &n));
    *out = malloc(sizeof **out);
    if (!*out)
        LT_FAIL(LT_ENOMEM, "packed layout: no memory for its description");
    **out = n;
    return LT_OK;
}

size_t lt_h3_layout_bytes(const lt_h3_layout *l)
{
    const int64_t named = l->video_rows + l->audio_rows + l->text_rows;
    return (size_t)l->rows * (3 * sizeof *l->position_ids + sizeof *l->token_tags) +
           (size_t)named * sizeof *l->video_indices;
}

lt_status lt_h3_layout_window(const lt_window *window, int64_t text_rows, lt_h3_layout **out)
{
    assert(window && out);
    *out = NULL;
    lt_h3_layout n;
    LT_TRY(layout_counts(window, text_rows, &n));
    lt_h3_layout *l = NULL;
    LT_TRY(layout_alloc(&n, &l));
    const frame_grid g = frame_of(window);
    fill_text(l);
    fill_audio(l, lt_h3_audio_ticks(window->latent / LATENTS_PER_CHUNK * FRAMES_PER_CHUNK), &g);
    fill_video(l, window, &g);
    *out = l;
    return LT_OK;
}

lt_status lt_h3_layout_new(int64_t frames, int64_t width, int64_t height, int64_t text_rows,
                           lt_h3_layout **out)
{
    const lt_window clip = {.shape = {.frames = frames, .width = width, .height = height}};
    return lt_h3_layout_window(&clip, text_rows, out);
}

/* Every index inside the sequence, none named before (seen [S]). */
static lt_status indices_check(const char *source, const char *name, const int64_t *indices,
                               int64_t count, int64_t rows, unsigned char *seen)
{
    for (int64_t i = 0; i < count; i++) {
        if (indices[i] < 0 || indices[i] >= rows)
            LT_FAIL(LT_EDATA, "%s: %s[%lld]: want 0 to %lld, found %lld", source, name,
                    (long long)i, (long long)(rows - 1), (long long)indices[i]);
        if (seen[indices[i]])
            LT_FAIL(LT_EDATA, "%s: %s[%lld]: want each row named once, found row %lld again",
                    source, name, (long long)i, (long long)indices[i]);
        seen[indices[i]] = 1;
    }
    return LT_OK;
}

static lt_status arrays_check(const char *source, const lt_h3_layout *a)
{
    if (a->rows < 1 || a->rows > INT32_MAX)
        LT_FAIL(LT_EDATA, "%s: position_ids: want 1 to %d rows, found %lld", source, INT32_MAX,
                (long long)a->rows);
    for (int64_t i = 0; i < a->rows; i++) {
        if (a->token_tags[i] < 0 || a->token_tags[i] >= LT_H3_TAGS)
            LT_FAIL(LT_EDATA, "%s: token_tags[%lld]: want 0, 1 or 2, found %lld", source,
                    (long long)i, (long long)a->token_tags[i]);
        for (int k = 0; k < 3; k++)
            if (!isfinite(a->position_ids[3 * i + k]))
                LT_FAIL(LT_EDATA, "%s: position_ids[%lld, %d]: want a finite number", source,
                        (long long)i, k);
    }
    unsigned char *seen = calloc((size_t)a->rows, 1);
    if (!seen)
        LT_FAIL(LT_ENOMEM, "packed layout: no memory for %lld rows", (long long)a->rows);
    lt_status st;
    LT_TRY_GOTO(
        indices_check(source, "video_indices", a->video_indices, a->video_rows, a->rows, seen), st,
        done);
    LT_TRY_GOTO(
        indices_check(source, "audio_indices", a->audio_indices, a->audio_rows, a->rows, seen), st,
        done);
    LT_TRY_GOTO(indices_check(source, "text_indices", a->text_indices, a->text_rows, a->rows, seen),
                st, done);
done:
    free(seen);
    return st;
}

static void copy_i64(int64_t *to, const int64_t *from, int64_t count)
{
    if (count > 0)
        memcpy(to, from, (size_t)count * sizeof *to);
}

lt_status lt_h3_layout_from(const char *source, const lt_h3_layout *arrays, lt_h3_layout **out)
{
    assert(source && arrays && out);
    *out = NULL;
    LT_TRY(arrays_check(source, arrays));
    lt_h3_layout *l = NULL;
    LT_TRY(layout_alloc(arrays, &l));
    memcpy(l->position_ids, arrays->position_ids, (size_t)l->rows * 3 * sizeof *l->position_ids);
    copy_i64(l->token_tags, arrays->token_tags, l->rows);
    copy_i64(l->video_indices, arrays->video_indices, l->video_rows);
    copy_i64(l->audio_indices, arrays->audio_indices, l->audio_rows);
    copy_i64(l->text_indices, arrays->text_indices, l->text_rows);
    *out = l;
    return LT_OK;
}

void lt_h3_layout_timesteps(const lt_h3_layout *layout, int32_t video_index, int32_t audio_index,
                            int32_t *out)
{
    assert(layout && out && video_index >= 0 && audio_index >= 0);
    for (int64_t i = 0; i < layout->rows; i++)
        out[i] = layout->token_tags[i] == LT_H3_TAG_AUDIO ? audio_index : video_index;
}

/* Where the cell (c, t, y, x) of [C, T, h, w] stands among the rows. */
static int64_t row_place(int64_t C, int64_t h, int64_t w, int64_t c, int64_t t, int64_t y,
                         int64_t x)
{
    const int64_t p = LT_H3_PATCH;
    const int64_t row = (t * (h / p) + y / p) * (w / p) + x / p;
    return row * C * p * p + (c * p + y % p) * p + x % p;
}

void lt_h3_patchify(const float *latents, int64_t C, int64_t T, int64_t h, int64_t w, float *rows)
{
    assert(C > 0 && T >= 0 && h >= 0 && w >= 0 && h % LT_H3_PATCH == 0 && w % LT_H3_PATCH == 0);
    for (int64_t c = 0; c < C; c++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t y = 0; y < h; y++)
                for (int64_t x = 0; x < w; x++)
                    rows[row_place(C, h, w, c, t, y, x)] = *latents++;
}

void lt_h3_unpatchify(const float *rows, int64_t C, int64_t T, int64_t h, int64_t w, float *latents)
{
    assert(C > 0 && T >= 0 && h >= 0 && w >= 0 && h % LT_H3_PATCH == 0 && w % LT_H3_PATCH == 0);
    for (int64_t c = 0; c < C; c++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t y = 0; y < h; y++)
                for (int64_t x = 0; x < w; x++)
                    *latents++ = rows[row_place(C, h, w, c, t, y, x)];
}

void lt_h3_audio_to_rows(const float *latents, int64_t C, int64_t A, float *rows)
{
    assert(C > 0 && A >= 0);
    for (int64_t ch = 0; ch < LT_H3_AUDIO_CHANNELS; ch++)
        for (int64_t c = 0; c < C; c++)
            for (int64_t k = 0; k < A; k++)
                rows[(ch * A + k) * C + c] = latents[(ch * C + c) * A + k];
}

void lt_h3_rows_to_audio(const float *rows, int64_t C, int64_t A, float *latents)
{
    assert(C > 0 && A >= 0);
    for (int64_t ch = 0; ch < LT_H3_AUDIO_CHANNELS; ch++)
        for (int64_t c = 0; c < C; c++)
            for (int64_t k = 0; k < A; k++)
                latents[(ch * C + c) * A + k] = rows[(ch * A + k) * C + c];
}
