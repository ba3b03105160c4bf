/* simd_plain.c - the inner loops for any machine: 4 lanes, no intrinsics.
 * The only ISA of the preset `portable` and of other CPUs than x86. */
#include <assert.h>
#include <math.h>

#include "kernels/cpu/cpu.h"

#define LT_LANES     4
#define LT_TILE_ROWS 6
#define LT_ISA       lt_cpu_isa_plain
#define LT_ISA_NAME  "plain"

#include "kernels/cpu/simd_types.inc"

static inline vec vec_fma(vec a, vec b, vec c)
{
#if defined(__FP_FAST_FMAF)
    vec r;
    for (int i = 0; i < LT_LANES; i++)
        r[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return r;
#else
    return a * b + c;
#endif
}

static inline vec vec_max(vec a, vec b)
{
    const veci m = a > b;
    return (vec)((m & (veci)a) | (~m & (veci)b));
}

static inline vec vec_min(vec a, vec b)
{
    const veci m = a < b;
    return (vec)((m & (veci)a) | (~m & (veci)b));
}

static inline vecu vec_widen(vech h) { return __builtin_convertvector(h, vecu); }
static inline vech vec_narrow(vecu u) { return __builtin_convertvector(u, vech); }

#include "kernels/cpu/simd.inc"
#include "kernels/cpu/simd_audio.inc"
#include "kernels/cpu/simd_gemm.inc"
#include "kernels/cpu/simd_rows.inc"
#include "kernels/cpu/simd_table.inc"
