/* sha256_x86.c - SHA-256 by the processor's own instructions (Goldmont, Zen, Ice Lake and on).
 *                                                                               Level 1: kernels
 * Four rounds a step: two words of the schedule times two. States are held as ABEF and CDGH, as the
 * instruction wants them. About 2 GB/s; plain C has a fifth of it. */
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#include "kernels/cpu/sha256.h"

int lt_sha256_has_x86(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    static int known = -1; /* the same answer whoever asks first */
    if (known < 0)
        known = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1) &&
                __builtin_cpu_supports("sse4.1");
    return known;
}

__attribute__((target("sha,sse4.1"))) void lt_sha256_blocks_x86(uint32_t state[8],
                                                                const uint8_t *data, size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i t = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xb1);
    __m128i y =
        _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1b);
    __m128i x = _mm_alignr_epi8(t, y, 8); /* ABEF */
    y = _mm_blend_epi16(y, t, 0xf0);      /* CDGH */
    for (; blocks > 0; blocks--, data += 64) {
        const __m128i x0 = x, y0 = y;
        __m128i w[4];
        for (int i = 0; i < 16; i++) {
            __m128i *now = &w[i % 4];
            if (i < 4)
                *now = _mm_shuffle_epi8(
                    _mm_loadu_si128((const __m128i *)(const void *)(data + 16 * i)), swap);
            else
                *now = _mm_sha256msg2_epu32(
                    _mm_add_epi32(_mm_sha256msg1_epu32(*now, w[(i + 1) % 4]),
                                  _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4)),
                    w[(i + 3) % 4]);
            const __m128i k = _mm_add_epi32(
                *now, _mm_loadu_si128((const __m128i *)(const void *)(lt_sha256_k + 4 * i)));
            y = _mm_sha256rnds2_epu32(y, x, k);
            x = _mm_sha256rnds2_epu32(x, y, _mm_shuffle_epi32(k, 0x0e));
        }
        x = _mm_add_epi32(x, x0);
        y = _mm_add_epi32(y, y0);
    }
    t = _mm_shuffle_epi32(x, 0x1b); /* FEBA */
    y = _mm_shuffle_epi32(y, 0xb1); /* DCHG */
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(t, y, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(y, t, 8));
}
#endif
