/* oracle.c - a denoiser that is known exactly.
 *
 * K = A S A + diag(s^2) is symmetric and positive: where s is 0 the 0.05 on S's diagonal is left,
 * where s is 1 the 1. With K = L L', the estimate's map G = S A K^-1 is found row by row: K g = A S
 * e_i, for K and S are symmetric. */
#include "model/oracle.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

double lt_oracle_covariance(int64_t i, int64_t j)
{
    const double d = (double)(i < j ? j - i : i - j), near = d / 4.0;
    return 0.7 * exp(-0.5 * near * near) + 0.25 * exp(-d / 400.0) + (i == j ? 0.05 : 0.0);
}

/* The lower triangle of k [n, n] becomes L, k = L L'. */
static void cholesky(double *k, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        double *row = k + j * n;
        for (int64_t i = 0; i < j; i++)
            row[j] -= row[i] * row[i];
        assert(row[j] > 0.0);
        row[j] = sqrt(row[j]);
        for (int64_t m = j + 1; m < n; m++) {
            double *below = k + m * n;
            for (int64_t i = 0; i < j; i++)
                below[j] -= below[i] * row[i];
            below[j] /= row[j];
        }
    }
}

/* b becomes (L L')^-1 b. */
static void solve(const double *l, int64_t n, double *b)
{
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < i; j++)
            b[i] -= l[i * n + j] * b[j];
        b[i] /= l[i * n + i];
    }
    for (int64_t i = n - 1; i >= 0; i--) {
        for (int64_t j = i + 1; j < n; j++)
            b[i] -= l[j * n + i] * b[j];
        b[i] /= l[i * n + i];
    }
}

lt_status lt_oracle_new(const int64_t *frame, const double *sigma, int64_t n, lt_oracle *out)
{
    assert(n >= 1 && n <= 1 << 20);
    const size_t bytes = (size_t)(n * n) * sizeof(double);
    double *k = malloc(bytes);
    *out = (lt_oracle){n, malloc(bytes)};
    if (k == NULL || out->map == NULL) {
        free(k);
        lt_oracle_free(out);
        LT_FAIL(LT_ENOMEM, "oracle: no memory for a window of %lld frames", (long long)n);
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            const double a = (1.0 - sigma[i]) * (1.0 - sigma[j]);
            assert(sigma[i] >= 0.0 && sigma[i] <= 1.0);
            k[i * n + j] = a * lt_oracle_covariance(frame[i], frame[j]);
            if (i == j)
                k[i * n + j] += sigma[i] * sigma[i];
        }
    cholesky(k, n);
    for (int64_t i = 0; i < n; i++) {
        double *g = out->map + i * n;
        for (int64_t j = 0; j < n; j++)
            g[j] = (1.0 - sigma[j]) * lt_oracle_covariance(frame[i], frame[j]);
        solve(k, n, g);
        for (int64_t j = 0; j < n; j++)
            g[j] = sigma[i] > 0.0 ? ((i == j ? 1.0 : 0.0) - g[j]) / sigma[i] : 0.0;
    }
    free(k);
    return LT_OK;
}

void lt_oracle_free(lt_oracle *oracle)
{
    free(oracle->map);
    *oracle = (lt_oracle){0};
}

void lt_oracle_velocity(const lt_oracle *oracle, int64_t cells, const float *x, float *v)
{
    assert(cells >= 0 && x != v);
    enum { BLOCK = 64 }; /* cells summed together, so that rows of x are read along */
    const int64_t n = oracle->n;
    for (int64_t first = 0; first < cells; first += BLOCK) {
        const int64_t count = cells - first < BLOCK ? cells - first : BLOCK;
        for (int64_t i = 0; i < n; i++) {
            double sum[BLOCK] = {0};
            for (int64_t j = 0; j < n; j++)
                for (int64_t c = 0; c < count; c++)
                    sum[c] += oracle->map[i * n + j] * (double)x[j * cells + first + c];
            for (int64_t c = 0; c < count; c++)
                v[i * cells + first + c] = (float)sum[c];
        }
    }
}
