/* denoise.h - from noise to clean latents.
 *
 *     clip.c        latents on the host       levels.c   sigmas, timesteps
 *     window_set.c  the windows of a step     exchange.c  what groups tell each other
 *     joint.c       single, windows           extend.c   chunk by chunk
 *     refine.c      a coarse pass, then tiles  dry.c     what all of it takes
 *     loop.c, states.c  what they share    preview.c  what the clip looks like so far
 *
 * Each mode's loop is described at the head of its file; the modes in scheduler/windowing.h. */
#ifndef LT_DENOISE_H
#define LT_DENOISE_H

#include "run/denoise/held.h"
#include "run/denoise/levels.h"
#include "run/denoise/preview.h"
#include "run/denoise/texts.h"
#include "run/progress.h"
#include "run/state/run_state.h"

/* What goes on while a clip is denoised (run/streaming.h). */
typedef struct lt_denoise_beside {
    void *ctx;
    /* 1: in `extend` the groups of `win` but the first `work` and do not wait; the team, NULL on
     * them, agrees by itself until all meet at the end */
    int is_apart;
    lt_group *team;
    /* Part `part` of the clip (parts.h), which is not the last, is final on the ranks that hold it.
     * Called by the ranks that denoise, or all, behind the same step; then they agree. */
    lt_status (*part)(void *ctx, int64_t part);
    lt_status (*step)(void *ctx); /* behind each step, by the team; never waits. NULL: nothing */
    lt_status (*work)(void *ctx); /* by the others: until the team has called `last` */
    lt_status (*last)(void *ctx); /* by the team: no further parts, whatever has happened */
} lt_denoise_beside;

typedef struct lt_denoise_in {
    lt_model *model;
    const lt_mesh *mesh;
    const lt_plan *plan;
    const lt_holding *holding; /* lt_denoise_holding */
    const lt_levels *levels;
    const lt_texts *texts; /* rows on the host */
    /* refine: the coarse clip, as lt_plan_coarse has it; NULL: made here, from noise */
    const lt_clip *coarse;
    /* of a film of several shots: steps of the shots before this one, and of all; 0, 0: alone */
    int steps_before, steps_all;
    double weight_all;   /* of all shots, as lt_denoise_weight; 0: alone */
    int shot;            /* its number, from 0 */
    lt_run_state *state; /* keeps the steps, and has those that the run goes on from; may be NULL */
    const lt_denoise_beside *beside; /* NULL: nothing */
    lt_progress *progress;           /* may be NULL */
    lt_preview *preview;             /* may be NULL */
    double *seconds;                 /* [lt_denoise_steps] gets each step's time; may be NULL */
} lt_denoise_in;

/* Steps of all passes and chunks: what progress counts. 0: no memory. Local. */
int lt_denoise_steps(const lt_model *model, const lt_plan *plan, int has_coarse);
/* What they weigh beside each other: latents that their forwards see. 0: unknown. Local. */
double lt_denoise_weight(const lt_model *model, const lt_plan *plan, int has_coarse);

/* Who holds what of the clip (held.h). The caller owns *out. Local. Errors: LT_ENOMEM. */
lt_status lt_denoise_holding(const lt_model *model, const lt_plan *plan, const lt_mesh *mesh,
                             lt_holding *out);

/* Run all steps on clip in place, by the DiT that is open on engine for these levels: what
 * in->holding says of this rank, the job's noise at first, and no rank has more of it at the end.
 * Steps that the state's run has behind it are read. From the first step on a signal waits for the
 * step's end (lt_stop_arm), and still does when this returns, since latents.h5 is not whole yet.
 * Collective on the mesh, Blocking. A velocity with NaN or Inf is LT_EDATA naming step, window and
 * stream; after an error the engine is given up. Progress and messages count the steps of all
 * shots: the stage begins with the first and ends with the last. */
lt_status lt_denoise(const lt_denoise_in *in, lt_engine *engine, lt_clip *clip);

#endif
