/* sampler.c - from one noise level to the next.                                  Level 3: scheduler
 * Formulas: spec/minimax-h3.md 5. Built without contraction: a fused multiply-add would change
 * bits. */
#include "scheduler/sampler.h"

#include <assert.h>

void lt_euler_h3_step(float *x, const float *v, int64_t count, float sigma, float sigma_next,
                      float timestep)
{
    assert(count >= 0 && sigma > 0.0f);
    const float level = 1.0f - timestep, r = sigma_next / sigma, rest = 1.0f - r;
    for (int64_t i = 0; i < count; i++) {
        const float clean = x[i] + level * v[i];
        x[i] = r * x[i] + rest * clean;
    }
}
