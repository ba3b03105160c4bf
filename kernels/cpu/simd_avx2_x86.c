/* simd_avx2_x86.c - the inner loops for x86 with AVX2 and FMA: 8 lanes.
 * Everything below the pragma is compiled for that target; isa.c calls it only where the CPU and
 * the operating system have it. */
#if defined(__x86_64__) && !defined(LT_PORTABLE)
#include <assert.h>
#include <immintrin.h>
#include <math.h>

#include "kernels/cpu/cpu.h"

#define LT_LANES     8
#define LT_TILE_ROWS 6
#define LT_ISA       lt_cpu_isa_avx2
#define LT_ISA_NAME  "avx2"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#include "kernels/cpu/simd_types.inc"

static inline vec vec_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline vec vec_max(vec a, vec b) { return _mm256_max_ps(a, b); }
static inline vec vec_min(vec a, vec b) { return _mm256_min_ps(a, b); }

/* GCC 12 takes converted vectors apart element by element; these are one and two instructions. */
static inline vecu vec_widen(vech h) { return (vecu)_mm256_cvtepu16_epi32((__m128i)h); }

static inline vech vec_narrow(vecu u)
{
    const __m256i pairs = _mm256_packus_epi32((__m256i)u, (__m256i)u);
    return (vech)_mm256_castsi256_si128(_mm256_permute4x64_epi64(pairs, 0x08));
}

#define LT_HAS_PARTIAL
static const int32_t partial[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

INLINE vec vec_load_n(const float *p, int64_t n)
{
    if (n >= LT_LANES)
        return vec_load(p);
    return _mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i *)(partial + 8 - n)));
}

INLINE void vec_store_n(float *p, vec v, int64_t n)
{
    if (n >= LT_LANES)
        vec_store(p, v);
    else
        _mm256_maskstore_ps(p, _mm256_loadu_si256((const __m256i *)(partial + 8 - n)), v);
}

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
typedef int lt_cpu_no_avx2; /* a file must declare something */
#endif
