/* ops_convert.c - cvt: widths of whole numbers, f32 to whole and back, bf16 and f16.
 *
 * Written from the formats, not from base/dtype.h, so that both cannot share an error: a float of b
 * bits behind the point and smallest exponent e is a multiple of 2^(max(exponent, e) - b), and rint
 * of the quotient, exact in double, is the nearest, ties to even. */
#include <math.h>

#include "tests/emu/warp.h"

typedef struct format {
    int bits, least; /* behind the point; the smallest normal exponent */
    double most;
} format;

static const format bf16 = {7, -126, 0x1.fep127}, f16 = {10, -14, 65504};

/* As bits: sign, exponent, fraction; NaN is 0x7fff. */
static uint32_t narrow(format f, float x)
{
    int exponent = 0;
    const uint32_t sign = signbit(x) ? 0x8000u : 0;
    if (isnan(x))
        return 0x7fff;
    if (x == 0)
        return sign;
    const double v = fabs((double)x);
    (void)frexp(v, &exponent);
    exponent = exponent - 1 > f.least ? exponent - 1 : f.least;
    const double quantum = ldexp(1, exponent - f.bits), r = rint(v / quantum) * quantum;
    const uint32_t infinity = (uint32_t)(f.bits == 7 ? 0x7f80 : 0x7c00);
    if (r > f.most)
        return sign | infinity;
    /* A subnormal is its count of quanta; exponent e adds e - least times the first bit. */
    return sign | (((uint32_t)(exponent - f.least) << f.bits) + (uint32_t)(r / quantum));
}

static float widen_f16(uint32_t h)
{
    const uint32_t exponent = h >> 10 & 31, fraction = h & 1023;
    const double v = exponent == 31  ? (fraction != 0 ? NAN : INFINITY)
                     : exponent == 0 ? ldexp((double)fraction, -24)
                                     : ldexp((double)(fraction + 1024), (int)exponent - 25);
    return (float)(h & 0x8000 ? -v : v);
}

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

#define FN(name, from, take_from, to, take_to, expr)                                               \
    static void name(ptx_warp *w, const ptx_ins *i, uint32_t lanes)                                \
    {                                                                                              \
        const from *a = (const from *)(const void *)take_from(w, i, 1);                            \
        to *d = (to *)(void *)take_to(w, i, 0);                                                    \
        for (int lane = 0; lane < PTX_LANES; lane++)                                               \
            if (lanes >> lane & 1) {                                                               \
                const from x = a[lane];                                                            \
                d[lane] = (to)(expr);                                                              \
            }                                                                                      \
    }

FN(cut16, uint32_t, ptx_words, uint32_t, ptx_words, x & 0xffff)
FN(cut32, uint64_t, ptx_longs, uint32_t, ptx_words, x)
FN(copy32, uint32_t, ptx_words, uint32_t, ptx_words, x)
FN(widen_u32, uint32_t, ptx_words, uint64_t, ptx_longs, x)
FN(widen_s32, int32_t, ptx_words, int64_t, ptx_longs, x)
FN(widen_s16, uint32_t, ptx_words, int32_t, ptx_words, (int16_t)x)
FN(from_s32, int32_t, ptx_words, float, ptx_words, x)
FN(from_u32, uint32_t, ptx_words, float, ptx_words, x)
FN(from_s64, int64_t, ptx_longs, float, ptx_words, x)
FN(saturate, float, ptx_words, float, ptx_words, !(x > 0) ? 0 : x < 1 ? x : 1)
FN(nearest, float, ptx_words, float, ptx_words, rintf(x))
FN(toward_zero, float, ptx_words, float, ptx_words, truncf(x))
FN(downward, float, ptx_words, float, ptx_words, floorf(x))
FN(to_bf16, float, ptx_words, uint32_t, ptx_words, narrow(bf16, x))
FN(to_f16, float, ptx_words, uint32_t, ptx_words, narrow(f16, x))
FN(from_f16, uint32_t, ptx_words, float, ptx_words, widen_f16(x))
FN(from_bf16, uint32_t, ptx_words, float, ptx_words, float_of(x << 16))

/* Two at once: the first operand is the upper half. */
static void to_bf16_pair(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    const float *high = ptx_floats(w, i, 1), *low = ptx_floats(w, i, 2);
    uint32_t *d = ptx_words(w, i, 0);
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (lanes >> lane & 1)
            d[lane] = narrow(bf16, high[lane]) << 16 | narrow(bf16, low[lane]);
}

#define ROW(spelling, letters, fn)                                                                 \
    {                                                                                              \
        spelling, letters, fn, 0, 0, 0                                                             \
    }

const ptx_row ptx_rows_convert[] = {
    ROW("cvt.u16.u32", "Hw", cut16),
    ROW("cvt.u32.u16", "Wh", copy32),
    ROW("cvt.s32.s16", "Wh", widen_s16),
    ROW("cvt.u32.u64", "Wd", cut32),
    ROW("cvt.u64.u32", "Dw", widen_u32),
    ROW("cvt.s64.s32", "Dw", widen_s32),
    ROW("cvt.rn.f32.s32", "Ww", from_s32),
    ROW("cvt.rn.f32.u32", "Ww", from_u32),
    ROW("cvt.rn.f32.s64", "Wd", from_s64),
    ROW("cvt.sat.f32.f32", "Ww", saturate),
    ROW("cvt.rni.f32.f32", "Ww", nearest),
    ROW("cvt.rzi.f32.f32", "Ww", toward_zero),
    ROW("cvt.rmi.f32.f32", "Ww", downward),
    ROW("cvt.rn.bf16.f32", "Hw", to_bf16),
    ROW("cvt.rn.f16.f32", "Hw", to_f16),
    ROW("cvt.rn.bf16x2.f32", "Www", to_bf16_pair),
    ROW("cvt.f32.f16", "Wh", from_f16),
    ROW("cvt.f32.bf16", "Wh", from_bf16),
    ROW(NULL, NULL, NULL),
};
