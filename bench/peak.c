/* peak.c - the machine's roof: multiply-adds from registers, and the STREAM triad.
 *
 * Twelve independent sums a thread hide the multiply-add's latency (4 cycles x 2 a cycle = 8 are
 * needed). They start and stay at a fixed point, so no value overflows or turns subnormal. Each
 * width is the same loop over the compiler's vector type, compiled for its target; the choice is
 * made as in kernels/cpu/isa.c. Source of the triad: McCalpin, STREAM. */
#include "peak.h"

#include <omp.h>
#include <stdint.h>
#include <stdlib.h>

#include "kernels/cpu/cpu.h"

enum { SUMS = 12, TRIES = 7, PEAK_TRIES = 300 };
#define STEPS        200000L
#define TRIAD_FLOATS ((int64_t)16 << 20)

/* s = s * 0.5 + 0.5 stays at 1. */
#define CHAINS(name, lanes)                                                                        \
    typedef float name##_vec __attribute__((vector_size(4 * (lanes))));                            \
    static __attribute__((noinline)) float name(long steps)                                        \
    {                                                                                              \
        const float half = (float)(steps > 0) * 0.5f;                                              \
        name##_vec s[SUMS], m = {0};                                                               \
        m += half;                                                                                 \
        for (int i = 0; i < SUMS; i++)                                                             \
            s[i] = m + m;                                                                          \
        for (long k = 0; k < steps; k++) {                                                         \
            _Pragma("GCC unroll 12") for (int i = 0; i < SUMS; i++) s[i] = s[i] * m + m;           \
        }                                                                                          \
        float all = 0;                                                                             \
        for (int i = 0; i < SUMS; i++)                                                             \
            all += s[i][0];                                                                        \
        return all;                                                                                \
    }

CHAINS(chains_plain, 4)
#if defined(__x86_64__) && !defined(LT_PORTABLE)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
CHAINS(chains_avx2, 8)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
CHAINS(chains_avx512, 16)
#pragma clang attribute pop
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
CHAINS(chains_avx2, 8)
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f")
CHAINS(chains_avx512, 16)
#pragma GCC pop_options
#endif
#endif

static float (*pick(int *lanes))(long)
{
#if defined(__x86_64__) && !defined(LT_PORTABLE)
    if (__builtin_cpu_supports("avx512f")) {
        *lanes = 16;
        return chains_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        *lanes = 8;
        return chains_avx2;
    }
#endif
    *lanes = 4;
    return chains_plain;
}

double lt_bench_peak_gflops(int threads)
{
    int lanes = 0;
    float (*const chains)(long) = pick(&lanes);
    double all = 0;
#pragma omp parallel num_threads(threads) reduction(+ : all)
    {
        /* Each thread's own best of many short tries: a neighbour's time slice spoils some, not
         * all. */
        double best = 0;
        for (int t = 0; t < PEAK_TRIES; t++) {
            const double began = omp_get_wtime();
            const float kept = chains(STEPS);
            const double rate =
                2.0 * SUMS * lanes * (double)STEPS / (omp_get_wtime() - began) / 1e9;
            best = kept > 0 && rate > best ? rate : best;
        }
        all += best;
    }
    return all;
}

double lt_bench_triad_gbytes(int threads)
{
    float *a = malloc(3 * (size_t)TRIAD_FLOATS * sizeof *a);
    if (a == NULL)
        return 0;
    float *b = a + TRIAD_FLOATS, *c = b + TRIAD_FLOATS;
    double best = 0;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < TRIAD_FLOATS; i++) {
        a[i] = 0;
        b[i] = 1;
        c[i] = 2;
    }
    for (int t = 0; t < TRIES; t++) {
        const float s = (float)t;
        const double began = omp_get_wtime();
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t i = 0; i < TRIAD_FLOATS; i++)
            a[i] = b[i] + s * c[i];
        const double rate = 12.0 * (double)TRIAD_FLOATS / (omp_get_wtime() - began) / 1e9;
        best = rate > best ? rate : best;
    }
    best = a[TRIAD_FLOATS / 2] == 1.0f + 2.0f * (TRIES - 1) ? best : 0;
    free(a);
    return best;
}
