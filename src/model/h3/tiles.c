/* tiles.c - how the H3 video VAE cuts a frame into tiles and joins them.
 *
 * The reference blends a tile first with the raw tile above, then with the raw left neighbour, and
 * crops what the next tiles will cover. So a cell depends on at most three raw tiles, and a row of
 * tiles needs no more of the row above than its lowest strip: that strip, and the right edge of the
 * tile that came last, are all that is kept. The arithmetic is the reference's, product by product,
 * in f32. */
#include "model/h3/tiles.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

lt_h3_axis lt_h3_axis_split(int64_t length, int64_t tile, int64_t overlap_min, int64_t unit)
{
    assert(length >= 1 && overlap_min > 0 && tile > overlap_min && unit >= 1);
    if (length <= tile)
        return (lt_h3_axis){.tile = length, .last = length, .count = 1, .unit = unit};
    /* smallest count with tile*count - overlap_min*(count - 1) >= length */
    const int64_t step = tile - overlap_min;
    const int64_t count = (length - overlap_min + step - 1) / step;
    const int64_t slack = tile * count - overlap_min * (count - 1) - length;
    const int64_t units = slack / unit;
    lt_h3_axis axis = {
        .tile = tile,
        .count = count,
        .overlap = overlap_min + units / (count - 1) * unit,
        .extra = units % (count - 1),
        .unit = unit,
    };
    axis.last = length - lt_h3_axis_start(&axis, count - 1);
    return axis;
}

int64_t lt_h3_axis_start(const lt_h3_axis *axis, int64_t i)
{
    assert(i >= 0 && i < axis->count);
    return i * (axis->tile - axis->overlap) - smaller(i, axis->extra) * axis->unit;
}

int64_t lt_h3_axis_size(const lt_h3_axis *axis, int64_t i)
{
    assert(i >= 0 && i < axis->count);
    return i == axis->count - 1 ? axis->last : axis->tile;
}

int64_t lt_h3_axis_overlap(const lt_h3_axis *axis, int64_t i)
{
    assert(i >= 0 && i < axis->count - 1);
    return axis->overlap + (i < axis->extra ? axis->unit : 0);
}

int64_t lt_h3_axis_cover(const lt_h3_axis *axis)
{
    return lt_h3_axis_start(axis, axis->count - 1) + axis->last;
}

lt_h3_axis lt_h3_axis_coarser(const lt_h3_axis *axis, int64_t ratio)
{
    assert(ratio >= 1);
    if (axis->count == 1)
        return (lt_h3_axis){
            .tile = axis->last / ratio, .last = axis->last / ratio, .count = 1, .unit = 1};
    assert(axis->tile % ratio == 0 && axis->overlap % ratio == 0 && axis->unit % ratio == 0);
    return (lt_h3_axis){
        .tile = axis->tile / ratio,
        .last = axis->last / ratio,
        .count = axis->count,
        .overlap = axis->overlap / ratio,
        .extra = axis->extra,
        .unit = axis->unit / ratio,
    };
}

static int64_t overlap_widest(const lt_h3_axis *axis)
{
    return axis->count > 1 ? lt_h3_axis_overlap(axis, 0) : 0;
}

static size_t above_floats(const lt_h3_axis *y, const lt_h3_axis *x, int64_t planes)
{
    return (size_t)(x->count * planes * overlap_widest(y) * x->tile);
}

static size_t left_floats(const lt_h3_axis *y, const lt_h3_axis *x, int64_t planes)
{
    return (size_t)(planes * y->tile * overlap_widest(x));
}

size_t lt_h3_stitch_bytes(const lt_h3_axis *y, const lt_h3_axis *x, int64_t planes)
{
    return (above_floats(y, x, planes) + left_floats(y, x, planes)) * sizeof(float);
}

lt_status lt_h3_stitch_open(const lt_h3_axis *y, const lt_h3_axis *x, int64_t planes, int threads,
                            lt_h3_stitch *out)
{
    assert(planes >= 0 && threads >= 1);
    *out = (lt_h3_stitch){.y = *y, .x = *x, .planes = planes, .threads = threads};
    out->above_rows = overlap_widest(y);
    out->left_columns = overlap_widest(x);
    out->above = malloc(above_floats(y, x, planes) * sizeof(float) + 1);
    out->left = malloc(left_floats(y, x, planes) * sizeof(float) + 1);
    if (out->above == NULL || out->left == NULL) {
        lt_h3_stitch_close(out);
        LT_FAIL(LT_ENOMEM, "tiles: no memory for %zu bytes of overlapping strips",
                lt_h3_stitch_bytes(y, x, planes));
    }
    return LT_OK;
}

void lt_h3_stitch_close(lt_h3_stitch *stitch)
{
    free(stitch->above);
    free(stitch->left);
    stitch->above = stitch->left = NULL;
}

/* line fades in over count cells, `from` fades out: the weight of cell k is k / extent. */
static void fade_columns(float *line, const float *from, int64_t count, int64_t extent)
{
    for (int64_t k = 0; k < count; k++) {
        const float w = (float)k / (float)extent;
        line[k] = from[k] * (1 - w) + line[k] * w;
    }
}

/* The same down the rows: one weight for the whole line. */
static void fade_row(float *line, const float *from, int64_t count, float w)
{
    for (int64_t k = 0; k < count; k++)
        line[k] = from[k] * (1 - w) + line[k] * w;
}

/* One plane of tile (i, j). */
static void stitch_plane(lt_h3_stitch *s, int64_t i, int64_t j, int64_t plane, const float *tile,
                         float *out)
{
    const int64_t tile_h = lt_h3_axis_size(&s->y, i), tile_w = lt_h3_axis_size(&s->x, j);
    const int64_t keep_h = i < s->y.count - 1 ? tile_h - lt_h3_axis_overlap(&s->y, i) : tile_h;
    const int64_t keep_w = j < s->x.count - 1 ? tile_w - lt_h3_axis_overlap(&s->x, j) : tile_w;
    const int64_t fade_h = i > 0 ? lt_h3_axis_overlap(&s->y, i - 1) : 0;
    const int64_t fade_w = j > 0 ? lt_h3_axis_overlap(&s->x, j - 1) : 0;
    const int64_t out_w = lt_h3_axis_cover(&s->x);
    float *above = s->above + (j * s->planes + plane) * s->above_rows * s->x.tile;
    float *left = s->left + plane * s->y.tile * s->left_columns;

    for (int64_t y = 0; y < keep_h; y++) {
        float *line = out + y * out_w;
        memcpy(line, tile + y * tile_w, (size_t)keep_w * sizeof *line);
        if (y < fade_h)
            fade_row(line, above + y * tile_w, keep_w, (float)y / (float)fade_h);
        if (fade_w > 0)
            fade_columns(line, left + y * s->left_columns, smaller(fade_w, keep_w), fade_w);
    }
    if (i < s->y.count - 1)
        memcpy(above, tile + keep_h * tile_w, (size_t)((tile_h - keep_h) * tile_w) * sizeof *above);
    if (j < s->x.count - 1)
        for (int64_t y = 0; y < tile_h; y++)
            memcpy(left + y * s->left_columns, tile + y * tile_w + keep_w,
                   (size_t)(tile_w - keep_w) * sizeof *left);
}

void lt_h3_stitch_tile(lt_h3_stitch *stitch, int64_t i, int64_t j, const float *tile, float *out)
{
    assert(i >= 0 && i < stitch->y.count && j >= 0 && j < stitch->x.count);
    const int64_t out_h = lt_h3_axis_cover(&stitch->y), out_w = lt_h3_axis_cover(&stitch->x);
    const int64_t first = lt_h3_axis_start(&stitch->y, i) * out_w + lt_h3_axis_start(&stitch->x, j);
    const int64_t tile_cells = lt_h3_axis_size(&stitch->y, i) * lt_h3_axis_size(&stitch->x, j);
#pragma omp parallel for schedule(static) num_threads(stitch->threads)
    for (int64_t plane = 0; plane < stitch->planes; plane++)
        stitch_plane(stitch, i, j, plane, tile + plane * tile_cells,
                     out + plane * out_h * out_w + first);
}
