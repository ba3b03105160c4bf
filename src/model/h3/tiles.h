/* tiles.h - how the H3 video VAE cuts a frame into tiles and joins them.
 * Source: spec/minimax-h3.md 6.3; diffusers, AutoencoderKLMiniMaxH3._split_tiles and _stitch_tiles.
 *
 * An axis of `length` cells is covered by `count` tiles of `tile` cells. Neighbours overlap by at
 * least a minimum; what is left over is dealt out in units, round-robin from the first overlap on,
 * so the first `extra` overlaps are one unit wider than the others.
 *
 *     tile 0  |-----------|
 *     tile 1         |-----------|
 *     tile 2                |-----------|
 *     kept    |  0   |  1   |     2     |
 *
 * Cells of the result belong to the last tile that starts at or before them; over an overlap they
 * fade from the tile before (unblended) into their own.
 *
 * Everything here is host memory, Local and Blocking. Tested: tests/unit/test_h3_tiles.c. */
#ifndef LT_H3_TILES_H
#define LT_H3_TILES_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct lt_h3_axis {
    int64_t tile; /* cells of each tile but the last */
    int64_t
        last; /* cells of the last one: fewer only where the length is no multiple of the unit */
    int64_t count;   /* tiles, 1 or more */
    int64_t overlap; /* cells that neighbours share, at least */
    int64_t extra;   /* the first `extra` overlaps are `unit` wider */
    int64_t unit;
} lt_h3_axis;

/* length >= 1; a length up to `tile` is one tile of that length. 0 < overlap_min < tile. Local. */
lt_h3_axis lt_h3_axis_split(int64_t length, int64_t tile, int64_t overlap_min, int64_t unit);
/* First cell and cells of tile i; cells shared by tiles i and i + 1; cells covered in all. Local.
 */
int64_t lt_h3_axis_start(const lt_h3_axis *axis, int64_t i);
int64_t lt_h3_axis_size(const lt_h3_axis *axis, int64_t i);
int64_t lt_h3_axis_overlap(const lt_h3_axis *axis, int64_t i);
int64_t lt_h3_axis_cover(const lt_h3_axis *axis);
/* The same tiles on a grid that is `ratio` times coarser; what is left of the last tile is dropped.
 * Local. */
lt_h3_axis lt_h3_axis_coarser(const lt_h3_axis *axis, int64_t ratio);

/* Joins tiles that arrive in reading order (row 0 from left to right, then row 1, ...). It keeps
 * the overlapping strips of the row above and of the left neighbour, never whole tiles. */
typedef struct lt_h3_stitch {
    lt_h3_axis y, x;
    int64_t planes;
    int threads;
    int64_t above_rows, left_columns; /* widest overlaps */
    float *above;                     /* [x.count, planes, above_rows, x.tile] */
    float *left;                      /* [planes, y.tile, left_columns] */
} lt_h3_stitch;

/* Bytes of the strips. Local. */
size_t lt_h3_stitch_bytes(const lt_h3_axis *y, const lt_h3_axis *x, int64_t planes);
/* Errors: LT_ENOMEM. The caller closes. Local. */
lt_status lt_h3_stitch_open(const lt_h3_axis *y, const lt_h3_axis *x, int64_t planes, int threads,
                            lt_h3_stitch *out);
void lt_h3_stitch_close(lt_h3_stitch *stitch);
/* tile [planes, size(y, i), size(x, j)]; out [planes, cover(y), cover(x)]: writes the cells that
 * tile (i, j) keeps. Local. */
void lt_h3_stitch_tile(lt_h3_stitch *stitch, int64_t i, int64_t j, const float *tile, float *out);

#endif
