/* sampler.h - how a velocity moves the latents from level to level.
 *
 * A sampler is one stream's way through its noise levels: it knows the levels, where on the way it
 * stands, and what a solver remembers of earlier steps (Euler's: nothing). Streams that step
 * together have a sampler each. All ranks that hold the same latents make the same steps, so the
 * latents stay the same without being sent.
 *
 * All functions are Local, Blocking, f32 on the host. Tested: tests/unit/test_sampler.c. */
#ifndef LT_SAMPLER_H
#define LT_SAMPLER_H

#include <stdint.h>

#include "base/status.h"

typedef enum lt_sampler_kind {
    /* Euler's step for a velocity that points towards the data (spec/minimax-h3.md 5):
     *   x0 = x + (1 - timestep) v;  r = sigma_next / sigma;  x = r x + (1 - r) x0
     * The level comes from the timestep in x0 and from the grid in r, each operation rounded to
     * f32: below 0.5 the two levels differ in the last bit, and the reference keeps them apart. */
    LT_SAMPLER_EULER
} lt_sampler_kind;

typedef struct lt_sampler lt_sampler;

/* At the first of points levels. sigmas [points] fall, only the last may be 0; timesteps
 * [points - 1] are what the network is told; both are copied. elements: of the latents, the same
 * for every step. Local. Errors: LT_ENOMEM. */
lt_status lt_sampler_open(lt_sampler_kind kind, const float *sigmas, const float *timesteps,
                          int points, int64_t elements, lt_sampler **out);
/* Move x [elements] to the next level, in place. v [elements]: the velocity at this one, not
 * changed. Asserts that there is a next level. Local. */
void lt_sampler_step(lt_sampler *sampler, float *x, const float *v);
/* Stand at level `at`, from 0, as after so many steps: a run that goes on from kept latents.
 * Euler's solver remembers nothing of earlier steps; what one remembers is to be kept beside the
 * latents (src/run/state). Local. */
void lt_sampler_go(lt_sampler *sampler, int at);
/* NULL is allowed. Local. */
void lt_sampler_close(lt_sampler **sampler);

#endif
