/* window_set.h - the windows of one step, and who has them.
 *
 * A window is cut in time, and with mode `refine` in rows and columns too: then it is a tile. Tiles
 * are numbered by window, then row, then column. Along each stream's time axis a window has a range
 * of its own (video: latents, audio: ticks; one moment for both). Each group of ranks of the axis
 * `win` computes a run of neighbouring tiles.
 *
 * The audio is not tiled: where there are tiles it is not denoised at all but given, clean, to each
 * of them (denoise.h).
 *
 * Functions are Local; host memory. Tested: tests/unit/test_window_set.c. */
#ifndef LT_WINDOW_SET_H
#define LT_WINDOW_SET_H

#include "run/denoise/clip.h"

typedef struct lt_window_set {
    const lt_plan *plan;
    int streams;
    lt_layout time[LT_STREAMS_MAX]; /* each in units of its stream */
    lt_layout rows, columns;        /* of the video's latents; one each without tiles */
    lt_fuse fuse[LT_STREAMS_MAX], row_fuse, column_fuse;
    int is_tiled; /* more than one row or column */
} lt_window_set;

/* A box of the video's latents: time, rows, columns. */
typedef struct lt_box {
    lt_range time, rows, columns;
} lt_box;

/* The windows of step `step` of `steps` (evaluations, from 0). The plan is borrowed. The caller
 * owns *out: lt_window_set_free, which takes a zeroed one too. out stays where it is: its parts
 * point to each other. Errors: LT_ENOMEM. */
lt_status lt_window_set_new(const lt_plan *plan, int step, int steps, lt_window_set *out);
void lt_window_set_free(lt_window_set *set);

int64_t lt_window_set_count(const lt_window_set *set); /* tiles */
lt_tile lt_window_set_at(const lt_window_set *set, int64_t tile);
/* What a tile holds of a stream; audio: rows and columns are {0, 1}. */
lt_box lt_window_set_box(const lt_window_set *set, int stream, int64_t tile);
/* Positions of a stream's time axis from the first of these tiles' to the last one's. */
lt_range lt_window_set_held(const lt_window_set *set, int stream, lt_range tiles);

/* Of mode `extend`, positions of a stream's time axis: what chunk k steps, and what is final once
 * it has (lt_layout_stepped, lt_layout_final). */
lt_range lt_window_set_stepped(const lt_window_set *set, int stream, int64_t k);
lt_range lt_window_set_final(const lt_window_set *set, int stream, int64_t k);

/* Latents of all tiles, what neighbours share counted by each: what a step of them weighs. */
int64_t lt_window_set_cells(const lt_window_set *set);

/* Elements of a stream in a box. */
int64_t lt_box_elements(const lt_stream *stream, const lt_box *box);
/* Copy a box out of an array that holds time positions `has` of the whole canvas, into a dense
 * [outer, time, rows, columns] array. */
void lt_box_copy(const lt_stream *stream, const lt_box *box, const float *from, lt_range has,
                 float *to);
/* Add what tile `tile` says of the time positions `part`, v [outer, part, rows, columns], to the
 * velocity out of the positions `held` (lt_fuse_add: in ascending order of tiles). */
void lt_window_set_fuse(const lt_window_set *set, int stream, int64_t tile, lt_range part,
                        const float *v, lt_range held, float *out);

#endif
