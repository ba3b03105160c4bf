/* fuse.h - one velocity for the clip from the velocities of its windows.
 *
 *     v(f) = sum_k w_k(f) v_k(f),   sum_k w_k(f) = 1
 *
 * What the model puts out is fused, never the latents, so a clip has one solver state. Weights are
 * normalised in f64 over the windows that hold a position, then rounded to f32. Each product is
 * rounded to f32, then added, in ascending window order; a window that is first at a position
 * writes there. No fused multiply-add: it would round one of two products and not the other. So a
 * position's bits depend on the windows alone, not on which rank holds it or in how many parts it
 * comes, and a position that one window holds alone keeps that window's bits.
 *
 * All functions are Local and pure, host memory, f32 data.
 * Source: spec/long-video.md 3.2, 10, 11. Tested: tests/unit/test_fuse.c, test_oracle.c. */
#ifndef LT_FUSE_H
#define LT_FUSE_H

#include "scheduler/window.h"

/* Weights before they are normalised; n = position in the window from 0, L its length. */
typedef enum lt_fuse_kind {
    LT_FUSE_FLAT,      /* 1 */
    LT_FUSE_TRAPEZOID, /* i / (r + 1), i = 1..r, over the r positions that it shares with each
                        * neighbour, falling towards it; 1 elsewhere (LTX-2, tiling.py) */
    LT_FUSE_HANN,     /* sin^2(pi (n + 1/2) / L), by a series of our own: libm differs by machine */
    LT_FUSE_OWNER_CUT /* 1 where the layout says that it owns, 0 elsewhere */
} lt_fuse_kind;

/* What a step uses: with --owner-cut-steps N the last N of `steps` cut. step counts from 0. */
lt_fuse_kind lt_fuse_at(lt_fuse_kind kind, int step, int steps, int owner_cut_steps);

/* Weights of one axis. */
typedef struct lt_fuse {
    const lt_layout *layout; /* the caller's; outlives this */
    int64_t *begin;          /* [count + 1]: where window k's values lie */
    double *weight;          /* [sum of lengths], normalised */
    unsigned char *leads;    /* [sum of lengths]: no window before has a weight there */
} lt_fuse;

/* The caller owns *out: lt_fuse_free. Errors: LT_ENOMEM. */
lt_status lt_fuse_new(lt_fuse_kind kind, const lt_layout *layout, lt_fuse *out);
/* Takes one that is all zero, too. */
void lt_fuse_free(lt_fuse *fuse);
/* Window k's normalised weights [window[k].count]. */
const double *lt_fuse_weights(const lt_fuse *fuse, int64_t k);

/* One axis of a part of a window: positions [part.first, part.first + part.count) of window k, to
 * be added where the receiver holds [held.first, held.first + held.count). Positions that are not
 * held are passed over. */
typedef struct lt_fuse_axis {
    const lt_fuse *fuse;
    int64_t window;
    lt_range part, held;
} lt_fuse_axis;

/* Add a part of a window. axes is 1 (time) or 3 (time, rows, columns; the weight is the product).
 *   v   [outer, part 0, (part 1, part 2,) inner]
 *   out [outer, held 0, (held 1, held 2,) inner]
 * A video [C, T, h, w] in windows: 1 axis, outer C, inner h w; in tiles: 3 axes, inner 1. Audio
 * [2, Ca, A]: 1 axis, outer 2 Ca, inner 1. For each position, parts must come in ascending window
 * order (tiles: in their numbers' order) and each window once; out need not be cleared, for the
 * first one writes. Asserts that the part lies in its window. */
void lt_fuse_add(const lt_fuse_axis *axis, int axes, int64_t outer, int64_t inner, const float *v,
                 float *out);

#endif
