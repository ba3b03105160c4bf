/* loop.h - what the modes of denoising share; for this room only. */
#ifndef LT_DENOISE_LOOP_H
#define LT_DENOISE_LOOP_H

#include "run/denoise/denoise.h"
#include "run/denoise/exchange.h"
#include "run/denoise/preview.h"
#include "run/denoise/states.h"
#include "run/state/run_state.h"

typedef struct lt_loop {
    lt_model *model;
    const lt_mesh *mesh;
    const lt_plan *plan;       /* whose clip is denoised: a coarse pass has a plan of its own */
    const lt_holding *holding; /* of that clip */
    lt_states states;
    lt_progress *progress;
    lt_preview *preview;             /* or NULL */
    double *seconds;                 /* [steps] or NULL */
    int done, of;                    /* steps, of all passes */
    const lt_denoise_beside *beside; /* NULL: nothing */
    lt_group *meet;                  /* who agrees on each step: the world, or a team of it */
    const lt_clip
        *given;  /* streams that are not denoised, clean; data NULL of the others; or NULL */
    int first;   /* steps of the shot, then of the pass, that an earlier run has made */
    int goes_on; /* another pass follows: its last step is one like others */
    lt_run_state *state; /* what keeps the steps, or NULL */
    lt_state_part part;  /* what is kept of the step at hand: a mode says what it holds */
} lt_loop;

/* Levels of one pass. */
typedef struct lt_pass {
    int evaluations;
    const float *sigma[LT_STREAMS_MAX], *timestep[LT_STREAMS_MAX];
} lt_pass;

/* One forward of a window or tile. latent and velocity [outer, time, rows, columns] of its box. */
typedef struct lt_evaluation {
    const lt_window_set *set;
    int64_t tile;
    int step; /* from 0, for messages */
    lt_forward forward;
    const int64_t *anchor; /* latents of the clip, those that the window does not hold */
    int anchors;
} lt_evaluation;

/* What a forward of a tile is told of it (family.h); distance [anchors] is borrowed. Local. */
void lt_loop_window(const lt_window_set *set, int64_t tile, const int64_t *distance, int anchors,
                    lt_window *out);
/* The text that a tile of `set` sees, by the centre of its window's frames; in `extend` by that of
 * the frames that the chunk makes. Local. */
lt_text_at lt_loop_text(const lt_texts *texts, const lt_window_set *set, int64_t tile);
/* Does this rank compute windows at all? (Ranks further out on cfg get what others computed.) */
int lt_loop_computes(const lt_loop *loop);
/* Local but for the forward, which is Collective on tokens and tp. A velocity that is not finite is
 * LT_EDATA naming step, window and stream. */
lt_status lt_loop_evaluate(lt_loop *loop, const lt_evaluation *evaluation);
/* One more step is behind us: agreement, what is kept of it (loop->part), signals, progress. mine:
 * how this rank fared. began: lt_seconds() at its begin. Collective on loop->meet. */
lt_status lt_loop_step_end(lt_loop *loop, lt_status mine, double began);
/* Of a run that goes on (loop->first > 0): what the steps before have left of pass `pass` of the
 * shot into clip, as far as it holds it; there must be no gap. Collective on the world. Errors:
 * lt_run_state_restore's; LT_EDATA where positions are missing. */
lt_status lt_loop_restore(lt_loop *loop, int pass, lt_clip *clip);
/* The same of some chunks of `extend`, whose files must hold all of wanted [streams]. */
lt_status lt_loop_restore_chunks(lt_loop *loop, lt_range chunks, const lt_range *wanted,
                                 lt_clip *clip);
/* The modes: clip is what the loop's holding says of this rank, noise in (or what lt_loop_restore
 * left), data out. They begin behind loop->first steps. Collective on the mesh. */
lt_status lt_denoise_joint(lt_loop *loop, const lt_pass *pass, lt_clip *clip);
lt_status lt_denoise_extend(lt_loop *loop, const lt_pass *pass, lt_clip *clip);
/* whole_range: the coarse pass's levels; given: its clip, or NULL. */
lt_status lt_denoise_refine(lt_loop *loop, const lt_levels *levels, const lt_pass *whole_range,
                            const lt_clip *given, lt_clip *clip);

#endif
