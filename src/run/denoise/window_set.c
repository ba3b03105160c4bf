/* window_set.c - the windows of one step, and who has them. */
#include "run/denoise/window_set.h"

#include <assert.h>
#include <string.h>

static lt_status fill(lt_window_set *out, int step, lt_fuse_kind kind)
{
    const lt_plan *plan = out->plan;
    const lt_grid *grid = plan->grid;
    const lt_windowing *w = &plan->windowing;
    const lt_stream *video = &plan->stream[0];
    assert(!video->is_audio);
    for (int s = 0; s < out->streams; s++) {
        if (s == 0)
            LT_TRY(lt_windowing_layout(w, grid, step, &out->time[0]));
        else if (plan->stream[s].is_audio)
            LT_TRY(lt_layout_in_ticks(grid, &out->time[0], &out->time[s]));
        else
            LT_TRY(lt_windowing_layout(w, grid, step, &out->time[s]));
        LT_TRY(lt_fuse_new(kind, &out->time[s], &out->fuse[s]));
    }
    const int tiles = video->ndim == 4;
    LT_TRY(lt_windowing_space(w, tiles ? video->dim[2] : 1, w->tile_rows, &out->rows));
    LT_TRY(lt_windowing_space(w, tiles ? video->dim[3] : 1, w->tile_columns, &out->columns));
    LT_TRY(lt_fuse_new(kind, &out->rows, &out->row_fuse));
    LT_TRY(lt_fuse_new(kind, &out->columns, &out->column_fuse));
    out->is_tiled = out->rows.count * out->columns.count > 1;
    return LT_OK;
}

lt_status lt_window_set_new(const lt_plan *plan, int step, int steps, lt_window_set *out)
{
    memset(out, 0, sizeof *out);
    out->plan = plan;
    out->streams = plan->stream_count;
    const lt_windowing *w = &plan->windowing;
    const lt_status st = fill(out, step, lt_fuse_at(w->fuse, step, steps, w->owner_cut_steps));
    if (st != LT_OK)
        lt_window_set_free(out);
    LT_TRY(st);
    return LT_OK;
}

void lt_window_set_free(lt_window_set *set)
{
    for (int s = 0; s < LT_STREAMS_MAX; s++) {
        lt_fuse_free(&set->fuse[s]);
        lt_layout_free(&set->time[s]);
    }
    lt_fuse_free(&set->row_fuse);
    lt_fuse_free(&set->column_fuse);
    lt_layout_free(&set->rows);
    lt_layout_free(&set->columns);
    memset(set, 0, sizeof *set);
}

static lt_tiling tiling_of(const lt_window_set *set)
{
    return (lt_tiling){set->time[0], set->rows, set->columns};
}

int64_t lt_window_set_count(const lt_window_set *set)
{
    const lt_tiling tiling = tiling_of(set);
    return lt_tiling_count(&tiling);
}

lt_tile lt_window_set_at(const lt_window_set *set, int64_t tile)
{
    const lt_tiling tiling = tiling_of(set);
    return lt_tiling_at(&tiling, tile);
}

lt_box lt_window_set_box(const lt_window_set *set, int stream, int64_t tile)
{
    const lt_tile at = lt_window_set_at(set, tile);
    lt_box box = {set->time[stream].window[at.window], {0, 1}, {0, 1}};
    if (set->plan->stream[stream].ndim == 4) {
        box.rows = set->rows.window[at.row];
        box.columns = set->columns.window[at.column];
    }
    return box;
}

lt_range lt_window_set_held(const lt_window_set *set, int stream, lt_range tiles)
{
    if (tiles.count == 0)
        return (lt_range){0, 0};
    const int64_t first = lt_window_set_at(set, tiles.first).window;
    const int64_t last = lt_window_set_at(set, tiles.first + tiles.count - 1).window;
    return lt_layout_held(&set->time[stream], (lt_range){first, last - first + 1});
}

static lt_range in_stream(const lt_window_set *set, int stream, lt_range latents)
{
    return set->plan->stream[stream].is_audio ? lt_grid_tick_range(set->plan->grid, latents)
                                              : latents;
}

lt_range lt_window_set_stepped(const lt_window_set *set, int stream, int64_t k)
{
    return in_stream(set, stream, lt_layout_stepped(&set->time[0], k, set->plan->windowing.fade));
}

lt_range lt_window_set_final(const lt_window_set *set, int stream, int64_t k)
{
    return in_stream(set, stream, lt_layout_final(&set->time[0], k, set->plan->windowing.fade));
}

int64_t lt_window_set_cells(const lt_window_set *set)
{
    int64_t cells = 0;
    for (int64_t t = 0; t < lt_window_set_count(set); t++) {
        const lt_box box = lt_window_set_box(set, 0, t);
        cells += box.time.count * box.rows.count * box.columns.count;
    }
    return cells;
}

int64_t lt_box_elements(const lt_stream *stream, const lt_box *box)
{
    return lt_stream_outer(stream) * box->time.count *
           (stream->ndim == 4 ? box->rows.count * box->columns.count : lt_stream_inner(stream));
}

void lt_box_copy(const lt_stream *stream, const lt_box *box, const float *from, lt_range has,
                 float *to)
{
    if (stream->ndim != 4 ||
        (box->rows.count == stream->dim[2] && box->columns.count == stream->dim[3])) {
        lt_stream_copy(stream, box->time, from, has, to, box->time);
        return;
    }
    const int64_t h = stream->dim[2], w = stream->dim[3];
    const size_t bytes = (size_t)box->columns.count * sizeof *to;
    for (int64_t c = 0; c < stream->dim[0]; c++)
        for (int64_t t = 0; t < box->time.count; t++)
            for (int64_t y = 0; y < box->rows.count; y++, to += box->columns.count) {
                const int64_t at = c * has.count + box->time.first - has.first + t;
                memcpy(to, from + (at * h + box->rows.first + y) * w + box->columns.first, bytes);
            }
}

void lt_window_set_fuse(const lt_window_set *set, int stream, int64_t tile, lt_range part,
                        const float *v, lt_range held, float *out)
{
    const lt_stream *s = &set->plan->stream[stream];
    const lt_tile at = lt_window_set_at(set, tile);
    const lt_fuse_axis time = {&set->fuse[stream], at.window, part, held};
    if (!set->is_tiled || s->ndim != 4) {
        lt_fuse_add(&time, 1, lt_stream_outer(s), lt_stream_inner(s), v, out);
        return;
    }
    const lt_box box = lt_window_set_box(set, stream, tile);
    const lt_fuse_axis axis[3] = {time,
                                  {&set->row_fuse, at.row, box.rows, {0, s->dim[2]}},
                                  {&set->column_fuse, at.column, box.columns, {0, s->dim[3]}}};
    lt_fuse_add(axis, 3, s->dim[0], 1, v, out);
}
