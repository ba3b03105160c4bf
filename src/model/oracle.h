/* oracle.h - a denoiser that is known exactly.
 *
 * Data without a network: each latent cell is a Gaussian process over frames, independent of the
 * others, with covariance
 *     S(d) = 0.7 exp(-(d / 4)^2 / 2) + 0.25 exp(-d / 400) + 0.05 [d = 0],   d = |i - j|.
 * For frames w with levels s_i, x_i = (1 - s_i) x0_i + s_i noise, the best estimate is linear:
 *     E[x0 | x] = S_w A (A S_w A + diag(s^2))^-1 x,   A = diag(1 - s),   v = (x - E[x0 | x]) / s.
 * So a whole run of any scheduler is a linear map from noise to data, and what it makes of the
 * data's statistics can be computed, not sampled: test_oracle.c grades every mode so.
 * Source: spec/long-video.md 11.
 *
 * The factorisation is a Cholesky of our own, in f64: n is a window's frames, a few hundred at
 * most, and this is the only place that would want LAPACK, which every build would then need.
 * All functions are Local; host memory. Tested: tests/unit/test_oracle.c. */
#ifndef LT_ORACLE_H
#define LT_ORACLE_H

#include <stdint.h>

#include "base/status.h"

/* S(|i - j|) of the head. */
double lt_oracle_covariance(int64_t i, int64_t j);

typedef struct lt_oracle {
    int64_t n;
    double *map; /* [n, n]: velocity = map x */
} lt_oracle;

/* The denoiser of n different frames (places in the clip, in any order) at sigma [n], 0 <= sigma <=
 * 1. A frame at sigma 0 is known, clean context; its velocity is 0. The caller owns *out:
 * lt_oracle_free. Errors: LT_ENOMEM. */
lt_status lt_oracle_new(const int64_t *frame, const double *sigma, int64_t n, lt_oracle *out);
void lt_oracle_free(lt_oracle *oracle);

/* v = map x for x, v [n, cells]: noise minus data, sums in f64 in ascending frame order, rounded
 * once. A cell's bits do not depend on the others. v is not x. */
void lt_oracle_velocity(const lt_oracle *oracle, int64_t cells, const float *x, float *v);

#endif
