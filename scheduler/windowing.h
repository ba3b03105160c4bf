/* windowing.h - how a clip is denoised: what --mode, --window, --overlap ... became.
 *
 *     single    one window, the whole clip
 *     windows   all windows at every step; their velocities are fused (fuse.h)
 *     extend    chunk by chunk, each from noise to data, behind clean context of the one before
 *     refine    a coarse clip first, on a smaller canvas; then windows, in time and in space, from
 *               a noise level where the coarse clip still shows through
 *
 * Plain data, a function of the job alone. Lengths are latents of the video stream; spec:
 * long-video.md 12 and 14. */
#ifndef LT_WINDOWING_H
#define LT_WINDOWING_H

#include "scheduler/fuse.h"

typedef enum lt_mode {
    LT_MODE_SINGLE,
    LT_MODE_WINDOWS,
    LT_MODE_EXTEND,
    LT_MODE_REFINE,
    LT_MODES
} lt_mode;
extern const char *const lt_mode_names[LT_MODES];
extern const char *const lt_fuse_names[];

enum { LT_ANCHORS_MAX = 16 };

typedef struct lt_windowing {
    lt_mode mode;
    int64_t latents;         /* of the clip */
    int64_t window, overlap; /* window >= latents: one window */
    int64_t fade; /* extend: the last latents of an overlap, made again and faded in; < overlap */
    lt_fuse_kind fuse;              /* windows, refine */
    int dither;                     /* windows, refine: another layout each step */
    int owner_cut_steps;            /* the last so many steps cut instead of fading */
    int global_positions;           /* a window's place in the clip is told to the model */
    int64_t anchor[LT_ANCHORS_MAX]; /* latents that every window sees, ascending */
    int anchors;
    float refine_from;               /* refine: the first sigma, 0 < sigma < 1 */
    int64_t tile_rows, tile_columns; /* refine: cells of a tile; 0: the canvas is one tile */
    int64_t tile_overlap, tile_unit; /* cells that neighbours share; what tiles are multiples of */
} lt_windowing;

/* The layout of one step, in latents. Dithered ones differ by step. The caller owns *out:
 * lt_layout_free. Local. Errors: LT_ENOMEM. */
lt_status lt_windowing_layout(const lt_windowing *w, const lt_grid *grid, int step, lt_layout *out);

/* Rows or columns of a canvas of `length` cells; tile 0: all of them. Errors: LT_ENOMEM. */
lt_status lt_windowing_space(const lt_windowing *w, int64_t length, int64_t tile, lt_layout *out);

/* Tiles of a group of `groups` ranks' groups: runs of neighbours, as even as they can be. Tile k is
 * group floor(k groups / tiles)'s. Local. */
lt_range lt_windowing_run(int64_t tiles, int groups, int group);

#endif
