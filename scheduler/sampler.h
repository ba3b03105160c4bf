/* sampler.h - from one noise level to the next.                                  Level 3: scheduler
 * Source: spec/minimax-h3.md 5; the published MiniMaxH3Scheduler.step.
 * Local, pure, host memory, f32. Tested: tests/unit/test_sampler.c. */
#ifndef LT_SAMPLER_H
#define LT_SAMPLER_H

#include <stdint.h>

/* Euler's step for a velocity that points towards the data, in place on x [count]:
 *   x0 = x + (1 - timestep) v;  r = sigma_next / sigma;  x = r x + (1 - r) x0
 * The level comes from the timestep in x0 and from the grid in r, each operation rounded to f32:
 * below 0.5 the two levels differ in the last bit, and the reference keeps them apart. v [count] is
 * not changed. Asserts sigma > 0. */
void lt_euler_h3_step(float *x, const float *v, int64_t count, float sigma, float sigma_next,
                      float timestep);

#endif
