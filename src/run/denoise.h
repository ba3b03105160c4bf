/* denoise.h - from noise to clean latents: evaluations x solver steps.            Level 4: run */
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

/* Load the DiT, run all steps on clip in place, release it. text_rows [text_count, width] host.
 * From the first step on a signal waits for the step's end (lt_stop_arm), and still does when this
 * returns, since nothing is stored yet.
 * Collective on the mesh, Blocking. A velocity with NaN or Inf is LT_EDATA naming step and stream.
 * progress may be NULL. seconds_out (may be NULL) [steps - 1] gets each step's time. */
lt_status lt_denoise(lt_model *model, lt_engine *engine, const lt_plan *plan,
                     const float *text_rows, int64_t text_count, lt_clip *clip,
                     lt_progress *progress, double *seconds_out);

#endif
