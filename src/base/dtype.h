/* dtype.h - element types and exact conversions between them.
 * bf16 and f16 are kept as uint16_t. Conversions to a narrower type round to nearest, ties to even;
 * NaN stays NaN, overflow of f16 becomes Inf. Local, never fail. */
#ifndef LT_DTYPE_H
#define LT_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum lt_dtype {
    LT_F32,
    LT_BF16,
    LT_F16,
    LT_F64,
    LT_I32,
    LT_I64,
    LT_U8,
    LT_U16,
    LT_DTYPE_COUNT
} lt_dtype;

size_t lt_dtype_bytes(lt_dtype dtype);     /* of one element */
const char *lt_dtype_name(lt_dtype dtype); /* "F32", "BF16", ...: the words of safetensors */
int lt_dtype_parse(const char *name, lt_dtype *out); /* 1 if known, else 0 */

static inline float lt_bf16_to_f32(uint16_t b)
{
    const uint32_t u = (uint32_t)b << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint16_t lt_f32_to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((u >> 16) | 0x40u); /* quiet the NaN, never round it to Inf */
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

/* x rounded to bf16 and back. */
static inline float lt_round_bf16(float f) { return lt_bf16_to_f32(lt_f32_to_bf16(f)); }

float lt_f16_to_f32(uint16_t h);
uint16_t lt_f32_to_f16(float f);

/* count elements, from and to may not overlap unless equal dtype and address. Any pair of F32,
 * BF16, F16, F64; integers only to themselves (assert). */
void lt_convert(const void *from, lt_dtype from_dtype, void *to, lt_dtype to_dtype, size_t count);

/* Index of the first NaN or Inf among count elements of a float type, or -1. */
int64_t lt_first_not_finite(const void *x, lt_dtype dtype, size_t count);

#endif
