/* dtype.c - element types and exact conversions between them.
 * Source of the formats: IEEE 754-2008 (binary16, binary32, binary64); bfloat16 is the upper half
 * of binary32. Elements are read and written through memcpy: file data need not be aligned. */
#include "base/dtype.h"

#include <assert.h>

static const struct {
    const char *name;
    size_t bytes;
} dtypes[LT_DTYPE_COUNT] = {
    [LT_F32] = {"F32", 4}, [LT_BF16] = {"BF16", 2}, [LT_F16] = {"F16", 2}, [LT_F64] = {"F64", 8},
    [LT_I32] = {"I32", 4}, [LT_I64] = {"I64", 8},   [LT_U8] = {"U8", 1},   [LT_U16] = {"U16", 2},
};

size_t lt_dtype_bytes(lt_dtype dtype)
{
    assert((unsigned)dtype < LT_DTYPE_COUNT);
    return dtypes[dtype].bytes;
}

const char *lt_dtype_name(lt_dtype dtype)
{
    assert((unsigned)dtype < LT_DTYPE_COUNT);
    return dtypes[dtype].name;
}

int lt_dtype_parse(const char *name, lt_dtype *out)
{
    for (int i = 0; i < LT_DTYPE_COUNT; i++)
        if (strcmp(name, dtypes[i].name) == 0) {
            *out = (lt_dtype)i;
            return 1;
        }
    return 0;
}

static float f32_of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t bits_of_f32(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float lt_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t magnitude = h & 0x7fffu;
    if (magnitude >= 0x7c00u) /* Inf and NaN: all exponent bits, payload kept, NaN made quiet */
        return f32_of_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13 |
                           (magnitude > 0x7c00u ? 0x400000u : 0));
    if (magnitude >= 0x400u) /* normal: exponent bias 15 -> 127 */
        return f32_of_bits(sign | ((magnitude << 13) + 0x38000000u));
    /* Subnormal: a multiple of 2^-24, exact in f32. */
    const float f = (float)magnitude * 0x1p-24f;
    return f32_of_bits(sign | bits_of_f32(f));
}

uint16_t lt_f32_to_f16(float f)
{
    const uint32_t u = bits_of_f32(f);
    const uint32_t sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x1ffu));
    if (magnitude >= 0x477ff000u) /* 65520 and above round to Inf */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude >= 0x38800000u) { /* 2^-14 and above: normal, carry may pass into the exponent */
        const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
        return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
    }
    /* Subnormal: adding 0.5 lets f32's own rounding (nearest, even) drop all below 2^-24. */
    const float shifted = f32_of_bits(magnitude) + 0.5f;
    return (uint16_t)(sign | (bits_of_f32(shifted) - 0x3f000000u));
}

/* f64 to f32 by rounding to odd: what is inexact ends in a 1, so that a second rounding to 8 or 11
 * bits sees on which side of a tie the value lay. f32 has more than two bits beyond either, which
 * suffices (Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums"). */
static float f64_to_f32_odd(double d)
{
    const float f = (float)d;
    if ((double)f == d || f != f)
        return f;
    uint32_t u = bits_of_f32(f);
    const double wide = (double)f;
    if ((wide < 0 ? -wide : wide) > (d < 0 ? -d : d))
        u--; /* rounded away from zero: take the lower neighbour */
    return f32_of_bits(u | 1u);
}

#define GET(type, p, i, v)                                                                         \
    type v;                                                                                        \
    memcpy(&v, (const char *)(p) + (i) * sizeof(type), sizeof(type))
#define PUT(type, p, i, v)                                                                         \
    do {                                                                                           \
        const type put_ = (v);                                                                     \
        memcpy((char *)(p) + (i) * sizeof(type), &put_, sizeof(type));                             \
    } while (0)
#define EACH(from_type, to_type, expr)                                                             \
    for (size_t i = 0; i < count; i++) {                                                           \
        GET(from_type, from, i, v);                                                                \
        PUT(to_type, to, i, (expr));                                                               \
    }                                                                                              \
    return

static void from_f32(const void *from, void *to, lt_dtype to_dtype, size_t count)
{
    if (to_dtype == LT_BF16) {
        EACH(float, uint16_t, lt_f32_to_bf16(v));
    }
    if (to_dtype == LT_F16) {
        EACH(float, uint16_t, lt_f32_to_f16(v));
    }
    assert(to_dtype == LT_F64);
    EACH(float, double, (double)v);
}

static void from_bf16(const void *from, void *to, lt_dtype to_dtype, size_t count)
{
    if (to_dtype == LT_F32) {
        EACH(uint16_t, float, lt_bf16_to_f32(v));
    }
    if (to_dtype == LT_F16) {
        EACH(uint16_t, uint16_t, lt_f32_to_f16(lt_bf16_to_f32(v)));
    }
    assert(to_dtype == LT_F64);
    EACH(uint16_t, double, (double)lt_bf16_to_f32(v));
}

static void from_f16(const void *from, void *to, lt_dtype to_dtype, size_t count)
{
    if (to_dtype == LT_F32) {
        EACH(uint16_t, float, lt_f16_to_f32(v));
    }
    if (to_dtype == LT_BF16) {
        EACH(uint16_t, uint16_t, lt_f32_to_bf16(lt_f16_to_f32(v)));
    }
    assert(to_dtype == LT_F64);
    EACH(uint16_t, double, (double)lt_f16_to_f32(v));
}

static void from_f64(const void *from, void *to, lt_dtype to_dtype, size_t count)
{
    if (to_dtype == LT_F32) {
        EACH(double, float, (float)v);
    }
    if (to_dtype == LT_BF16) {
        EACH(double, uint16_t, lt_f32_to_bf16(f64_to_f32_odd(v)));
    }
    assert(to_dtype == LT_F16);
    EACH(double, uint16_t, lt_f32_to_f16(f64_to_f32_odd(v)));
}

void lt_convert(const void *from, lt_dtype from_dtype, void *to, lt_dtype to_dtype, size_t count)
{
    assert(count <= SIZE_MAX / lt_dtype_bytes(to_dtype));
    if (from_dtype == to_dtype) {
        if (from != to && count > 0)
            memcpy(to, from, count * lt_dtype_bytes(from_dtype));
        return;
    }
    switch (from_dtype) {
    case LT_F32:
        from_f32(from, to, to_dtype, count);
        return;
    case LT_BF16:
        from_bf16(from, to, to_dtype, count);
        return;
    case LT_F16:
        from_f16(from, to, to_dtype, count);
        return;
    case LT_F64:
        from_f64(from, to, to_dtype, count);
        return;
    default:
        assert(0 && "integers convert only to themselves");
    }
}

/* The first element whose exponent bits are all set, in [first, count). */
static int64_t first_special(const void *x, size_t bytes, uint64_t exponent, size_t first,
                             size_t count)
{
    for (size_t i = first; i < count; i++) {
        uint64_t u = 0;
        memcpy(&u, (const char *)x + i * bytes, bytes); /* little endian: the low bytes of u */
        if ((u & exponent) == exponent)
            return (int64_t)i;
    }
    return -1;
}

int64_t lt_first_not_finite(const void *x, lt_dtype dtype, size_t count)
{
    assert(count <= (size_t)INT64_MAX);
    switch (dtype) {
    case LT_BF16:
        return first_special(x, 2, 0x7f80u, 0, count);
    case LT_F16:
        return first_special(x, 2, 0x7c00u, 0, count);
    case LT_F64:
        return first_special(x, 8, 0x7ff0000000000000u, 0, count);
    default:
        assert(dtype == LT_F32);
    }
    /* Whole clips are checked each step, so f32 goes by blocks that vectorise. */
    enum { BLOCK = 1024 };
    size_t first = 0;
    for (; first + BLOCK <= count; first += BLOCK) {
        uint32_t bad = 0;
        for (size_t i = first; i < first + BLOCK; i++) {
            GET(uint32_t, x, i, u);
            bad |= (uint32_t)((u & 0x7f800000u) == 0x7f800000u);
        }
        if (bad != 0)
            break;
    }
    return first_special(x, 4, 0x7f800000u, first, count);
}
