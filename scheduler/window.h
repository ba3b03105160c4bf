/* window.h - how a clip is cut into windows.
 *
 * A layout is a list of ranges that cover an axis, each with the part of it that it owns. It is a
 * function of the job alone (and of the step, if dithered), never of ranks: so a clip has the same
 * windows on any mesh. Source: spec/long-video.md 3.3, 12 and 14.
 *
 * Windows lie on the family's grid. They begin at whole units, and a window of b units has
 * `tail + b unit` latents, so that both of its ends are places where video and audio are whole.
 * Two neighbours share `tail + j unit` latents. In units, j = 1, b = 3:
 *
 *     units      0     1     2     3     4     5   U
 *     window 0   |-----------------|~~~|              ~ is the tail
 *     window 1               |-----------------|~~~|
 *     shared                 |-----|~~~|
 *     owned      |     0         |        1        |
 *
 * A clip of T latents has U = ceil((T - tail) / unit) units, and the last window ends with the
 * clip: it is shorter than the others by less than a unit. (It could be longer instead; then it
 * would see more latents than the model was trained on.) With tail = 0 and unit = 1 this is the
 * spec's plain latent axis. Cut in the middle of what two neighbours share, the earlier takes the
 * middle: of windows of one length that is the window with the nearest centre.
 *
 * All functions are Local and pure; host memory only. Arguments that a user gave are checked by
 * lt_grid_window and lt_grid_overlap; everything else is asserted.
 * Tested: tests/unit/test_window.c, by exhaustion. */
#ifndef LT_WINDOW_H
#define LT_WINDOW_H

#include "base/tensor.h"

/* Facts of a family, in latent frames of its video stream.
 *                 unit tail  step rest least  period latent_frames  ticks tick_frames
 *     MiniMax-H3    15   12     5    2     7       5             4      5           3
 *     Wan            1    0     1    0     1       0             4      0           1
 *     oracle         1    0     1    0     1       0             1      0           1
 * H3: 51 frames = 15 latents = 85 ticks; windows of 39 + 51 b frames (spec/minimax-h3.md 4). */
typedef struct lt_grid {
    int64_t unit; /* windows begin at multiples of it */
    int64_t tail; /* what a window has beyond whole units */
    /* a clip has rest + step n latents, least or more; step divides unit and tail - rest */
    int64_t step, rest, least;
    /* the first of each `period` latents holds one frame, the others latent_frames; 0: only the
     * clip's first latent does */
    int64_t period, latent_frames;
    int64_t ticks, tick_frames; /* audio has `ticks` ticks in `tick_frames` frames; 0 in 1: none */
} lt_grid;

/* Frames before a latent: the first frame that it holds. H3: 5n + 2 -> 17n + 5. */
int64_t lt_grid_frames(const lt_grid *grid, int64_t latent);
/* Latents of the shortest clip on the grid with at least so many frames, 1 <= frames < 2^40. What
 * it has too many is trimmed from the decoded video. */
int64_t lt_grid_latents(const lt_grid *grid, int64_t frames);
/* Ticks before a frame: round(frames ticks / tick_frames), a tie upwards. */
int64_t lt_grid_ticks(const lt_grid *grid, int64_t frames);
/* What a range of latents is in frames and in ticks of audio. Neighbouring ranges stay
 * neighbours. */
lt_range lt_grid_frame_range(const lt_grid *grid, lt_range latents);
lt_range lt_grid_tick_range(const lt_grid *grid, lt_range latents);

/* Frames that the family decodes alike, again and again: H3: 17, Wan: 4, oracle: 1. */
int64_t lt_grid_period_frames(const lt_grid *grid);

/* `--window` and `--overlap`, in frames, to latents. A window has 1 unit or more; an
 * overlap is counted inside the clip (Wan: 4 frames a latent) and is shorter than the window by a
 * unit or more. H3: 90, 141, 192 ... and 39, 90, ...
 * Errors: LT_EUSAGE naming the option, what it may be, and as the hint a length near it. */
lt_status lt_grid_window(const lt_grid *grid, int64_t frames, int64_t *latents);
lt_status lt_grid_overlap(const lt_grid *grid, int64_t window, int64_t frames, int64_t *latents);
/* `--fade`, in frames, to the latents at an overlap's end that have no more frames; one latent or
 * more of it stays context. Errors: LT_EUSAGE. */
lt_status lt_grid_fade(const lt_grid *grid, int64_t overlap, int64_t frames, int64_t *latents);

typedef enum lt_layout_kind {
    LT_LAYOUT_BALANCED, /* W = ceil((U - b) / d) + 1 windows, d = b - j, at
                         * s_k = floor((2 k (U - b) + W - 1) / (2 (W - 1))) units */
    LT_LAYOUT_DITHERED, /* 0, U - b, and what lies between of off + m d (m d if off = 0), where off
                         * = floor(d R / 2^16), R the step's 16 bits reversed */
    LT_LAYOUT_LOOPED,   /* on the circle: W = ceil(U / d), s_k = floor((2 k U + W) / (2 W)) */
    LT_LAYOUT_EXTEND    /* chunks: 0, d, 2 d ...; the last is shortened, its context is not */
} lt_layout_kind;

typedef struct lt_layout_spec {
    lt_layout_kind kind;
    int64_t latents;         /* of the clip, on the grid; looped: a multiple of the unit */
    int64_t window, overlap; /* latents, as lt_grid_window and lt_grid_overlap give them */
} lt_layout_spec;

/* Ranges along one axis: latents, ticks, frames, rows or columns. */
typedef struct lt_layout {
    lt_layout_kind kind;
    int64_t total;    /* positions of the axis */
    int64_t count;    /* windows, 1 or more */
    lt_range *window; /* [count], starts and ends ascend. Looped: positions are taken mod total */
    lt_range *own;    /* [count], a partition of the axis, none empty. Extend: what a chunk makes */
} lt_layout;

/* The windows of a step (from 0; only `dithered` looks at it). A clip no longer than the window is
 * one window, whatever the kind. The caller owns *out: lt_layout_free. Errors: LT_ENOMEM. */
lt_status lt_layout_new(const lt_grid *grid, const lt_layout_spec *spec, int64_t step,
                        lt_layout *out);
/* Rows or columns of a frame in latent cells, cut as `balanced`: tile, overlap multiples of unit
 * (H3: 2, a patch), overlap < tile. Errors: LT_ENOMEM. */
lt_status lt_layout_space(int64_t length, int64_t tile, int64_t overlap, int64_t unit,
                          lt_layout *out);
/* A layout over latents in frames, and in ticks. A join is one moment for both streams: the
 * the window that owns a moment's video owns its audio. plan.json's joins are own[k].first of k >=
 * 1 in frames. Errors: LT_ENOMEM. */
lt_status lt_layout_in_frames(const lt_grid *grid, const lt_layout *latents, lt_layout *out);
lt_status lt_layout_in_ticks(const lt_grid *grid, const lt_layout *latents, lt_layout *out);
/* Of an extend layout in latents: what chunk k steps, which is what it makes and, behind another
 * chunk, `fade` latents before that; and what of the clip is final once it has. The latter follow
 * each other. fade < the overlap. */
lt_range lt_layout_stepped(const lt_layout *layout, int64_t k, int64_t fade);
lt_range lt_layout_final(const lt_layout *layout, int64_t k, int64_t fade);
/* Takes a layout that is all zero, too. */
void lt_layout_free(lt_layout *layout);

/* Positions that a rank holds which computes this run of windows: from the first one's start to the
 * last one's end. An empty run holds nothing. */
lt_range lt_layout_held(const lt_layout *layout, lt_range windows);

/* Anchors: latents that a window sees beside its own. Of anchor [count], 0 <= anchor < total, those
 * that window k does not hold anyway; in `extend` only what is final by then, which lies before the
 * chunk. out [count]; returns how many. */
int lt_layout_anchors(const lt_layout *layout, int64_t k, const int64_t *anchor, int count,
                      int64_t *out);

/* `refine` cuts in time and in space. Tiles are numbered by window, then row, then column. Audio is
 * not tiled: it has the windows in time alone. */
typedef struct lt_tiling {
    lt_layout time, rows, columns;
} lt_tiling;

typedef struct lt_tile {
    int64_t window, row, column;
} lt_tile;

int64_t lt_tiling_count(const lt_tiling *tiling);
lt_tile lt_tiling_at(const lt_tiling *tiling, int64_t tile);

/* A storyboard's entries, and the shots that they make. A cut begins a shot, which is rendered like
 * a clip of its own: own grid, own layout, own noise, its video trimmed to its frames. So no
 * window can cross a cut. A blend is no cut: its entries are prompts of one shot (text_at.h). */
typedef struct lt_shot_entry {
    int64_t frames; /* 1 or more */
    int blends; /* into this one from the one before; a cut otherwise. The first: not looked at */
} lt_shot_entry;

typedef struct lt_shot {
    int64_t first_frame, frames; /* in the clip */
    int64_t latents;             /* to be rendered: its grid length */
    int first_entry, entries;
} lt_shot;

/* out [count], count >= 1; returns how many shots there are. */
int lt_shots_place(const lt_grid *grid, const lt_shot_entry *entry, int count, lt_shot *out);

#endif
