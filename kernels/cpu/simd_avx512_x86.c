/* simd_avx512_x86.c - the inner loops for x86 with AVX-512: 16 lanes.
 * Everything below the pragma is compiled for that target; isa.c calls it only where the CPU and
 * the operating system have it. */
#if defined(__x86_64__) && !defined(LT_PORTABLE)
#include <assert.h>
#include <immintrin.h>
#include <math.h>

#include "kernels/cpu/cpu.h"

#define LT_LANES     16
#define LT_TILE_ROWS 12
#define LT_ISA       lt_cpu_isa_avx512
#define LT_ISA_NAME  "avx512"

#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")
#endif

#include "kernels/cpu/simd_types.inc"

static inline vec vec_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline vec vec_max(vec a, vec b) { return _mm512_max_ps(a, b); }
static inline vec vec_min(vec a, vec b) { return _mm512_min_ps(a, b); }

static inline vecu vec_widen(vech h) { return (vecu)_mm512_cvtepu16_epi32((__m256i)h); }
static inline vech vec_narrow(vecu u) { return (vech)_mm512_cvtepi32_epi16((__m512i)u); }

#define LT_HAS_PARTIAL

INLINE __mmask16 first_lanes(int64_t n)
{
    return (__mmask16)(n >= LT_LANES ? 0xffff : (1 << n) - 1);
}

INLINE vec vec_load_n(const float *p, int64_t n)
{
    return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
INLINE void vec_store_n(float *p, vec v, int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }

#include "kernels/cpu/simd.inc"
#include "kernels/cpu/simd_audio.inc"
#include "kernels/cpu/simd_gemm.inc"
#include "kernels/cpu/simd_rows.inc"
#include "kernels/cpu/simd_table.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
typedef int lt_cpu_no_avx512; /* a file must declare something */
#endif
