/* sigmas.h - the noise levels that a film passes through.
 * Source: spec/minimax-h3.md 5; the published MiniMaxH3Scheduler.
 * sigma = 1 is noise, 0 is clean; the DiT is told t = 1 - sigma. N counts grid points, the last 0
 * among them, so N - 1 evaluations are made. All functions are Local, pure, host memory only.
 * Tested: tests/unit/test_sigmas.c. */
#ifndef LT_SIGMAS_H
#define LT_SIGMAS_H

#include "base/status.h"

enum { LT_SIGMAS_MAX = 10000 };

/* The shifted grid of flow matching. sigmas [n], timesteps [n - 1]: b_i = 1 - i/(n - 1), sigma =
 * s b / (1 + (s - 1) b), in f32; shift s > 1 bends the even grid towards noise.
 * Errors: LT_EUSAGE: --steps outside 2..LT_SIGMAS_MAX; a shift that is not positive and finite or
 * makes two levels fall together. */
lt_status lt_sigmas_shifted(int n, double shift, float *sigmas, float *timesteps);

/* All values of a and b, ascending, each once: what modulation tables are made for. out [na + nb]
 * may be a itself; returns the count. */
int lt_timesteps_union(const float *a, int na, const float *b, int nb, float *out);
/* Index of exactly t among count ascending values, or -1. */
int lt_timestep_find(const float *timesteps, int count, float t);

#endif
