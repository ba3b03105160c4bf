/* sigmas.c - the noise levels that a film passes through.
 * Formulas: spec/minimax-h3.md 5. The grid is torch 2.15's linspace, which is one fused
 * multiply-add from the nearer end: equal to the last bit for N from 2 to 1000. The shift is f32,
 * operation by operation. */
#include "scheduler/sigmas.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

lt_status lt_sigmas_shifted(int n, double shift, float *sigmas, float *timesteps)
{
    assert(sigmas && timesteps);
    if (n < 2 || n > LT_SIGMAS_MAX)
        LT_FAIL(LT_EUSAGE, "--steps %d: want 2 to %d (grid points, the final 0 counted)", n,
                LT_SIGMAS_MAX);
    if (!(shift > 0.0) || !isfinite((float)shift))
        LT_FAIL(LT_EUSAGE, "sigma shift %g: want a positive number", shift);
    const float s = (float)shift, s1 = (float)(shift - 1.0);
    const float step = -1.0f / (float)(n - 1);
    for (int i = 0; i < n; i++) {
        const float b =
            i < n / 2 ? fmaf(step, (float)i, 1.0f) : fmaf(-step, (float)(n - 1 - i), 0.0f);
        const float numerator = s * b, denominator = 1.0f + s1 * b;
        sigmas[i] = numerator / denominator;
        if (i > 0 && !(sigmas[i] < sigmas[i - 1]))
            LT_FAIL(LT_EUSAGE, "sigma shift %g with --steps %d: levels %d and %d fall together",
                    shift, n, i - 1, i);
    }
    for (int i = 0; i < n - 1; i++)
        timesteps[i] = 1.0f - sigmas[i];
    return LT_OK;
}

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int lt_timesteps_union(const float *a, int na, const float *b, int nb, float *out)
{
    assert(na >= 0 && nb >= 0 && out);
    int count = 0, kept = 0;
    for (int i = 0; i < na; i++)
        out[count++] = a[i];
    for (int i = 0; i < nb; i++)
        out[count++] = b[i];
    qsort(out, (size_t)count, sizeof *out, compare_floats);
    for (int i = 0; i < count; i++)
        if (kept == 0 || out[kept - 1] < out[i])
            out[kept++] = out[i];
    return kept;
}

int lt_timestep_find(const float *timesteps, int count, float t)
{
    assert(count >= 0);
    int lo = 0, hi = count;
    while (lo < hi) {
        const int mid = lo + (hi - lo) / 2;
        if (timesteps[mid] < t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < count && timesteps[lo] <= t ? lo : -1;
}
