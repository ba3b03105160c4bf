/* denoise.h - from noise to clean latents: evaluations x solver steps. */
#ifndef LT_DENOISE_H
#define LT_DENOISE_H

#include "run/plan.h"
#include "run/progress.h"

/* The clip's latents on the host, one array a stream. */
typedef struct lt_clip {
    float *data[LT_STREAMS_MAX];
    int64_t elements[LT_STREAMS_MAX];
    int count;
} lt_clip;

lt_status lt_clip_new(const lt_plan *plan, lt_clip *out);
void lt_clip_free(lt_clip *clip);
/* Fill with the job's noise: a function of (seed, stream, coordinates) alone. Local. */
void lt_clip_noise(const lt_plan *plan, lt_clip *clip);

/* The noise levels of all streams, and all their timesteps: what the DiT's tables are made for. */
typedef struct lt_levels {
    float *sigma[LT_STREAMS_MAX], *timestep[LT_STREAMS_MAX]; /* [evaluations + 1], [evaluations] */
    float *timesteps; /* [timestep_count] of all streams, ascending, each once */
    int evaluations, timestep_count, count;
} lt_levels;

/* has_context: forwards will see clean context, so the family's context timesteps are among them.
 * Local. Errors: LT_ENOMEM, LT_EUSAGE (--steps). After an error nothing is held. */
lt_status lt_levels_make(const lt_model *model, const lt_plan *plan, int has_context,
                         lt_levels *out);
/* A zeroed one is allowed. Local. */
void lt_levels_free(lt_levels *levels);

/* Run all steps on clip in place, by the DiT that is open on engine for these levels.
 * text_rows [text_count, width] host. From the first step on a signal waits for the step's end
 * (lt_stop_arm), and still does when this returns, since nothing is stored yet.
 * Collective on the mesh, Blocking. A velocity with NaN or Inf is LT_EDATA naming step and stream;
 * after an error the engine is cancelled. progress may be NULL. seconds_out (may be NULL)
 * [evaluations] gets each step's time. */
lt_status lt_denoise(lt_model *model, lt_engine *engine, const lt_plan *plan,
                     const lt_levels *levels, const float *text_rows, int64_t text_count,
                     lt_clip *clip, lt_progress *progress, double *seconds_out);

#endif
