/* values.h - how the reference reads, writes and rounds one element.
 *
 * Every kernel of ref goes through these few functions, so that an op's code shows its formula and
 * its rounding places and nothing else. An element is found by (row, column); rows lie row_stride
 * elements apart. All functions are Local and never fail; they assert on misuse. */
#ifndef LT_REF_VALUES_H
#define LT_REF_VALUES_H

#include <assert.h>
#include <math.h>

#include "kernels/backend.h"

static inline void *lt_ref_row(const lt_tensor *x, int64_t row)
{
    return (char *)x->data + (size_t)(row * x->row_stride) * lt_dtype_bytes(x->dtype);
}

static inline float lt_ref_load(const void *row, lt_dtype dtype, int64_t column)
{
    if (dtype == LT_F32)
        return ((const float *)row)[column];
    if (dtype == LT_BF16)
        return lt_bf16_to_f32(((const uint16_t *)row)[column]);
    assert(dtype == LT_F16);
    return lt_f16_to_f32(((const uint16_t *)row)[column]);
}

/* Rounds to dtype. */
static inline void lt_ref_store(void *row, lt_dtype dtype, int64_t column, float value)
{
    if (dtype == LT_F32) {
        ((float *)row)[column] = value;
    } else if (dtype == LT_BF16) {
        ((uint16_t *)row)[column] = lt_f32_to_bf16(value);
    } else {
        assert(dtype == LT_F16);
        ((uint16_t *)row)[column] = lt_f32_to_f16(value);
    }
}

static inline float lt_ref_get(const lt_tensor *x, int64_t row, int64_t column)
{
    return lt_ref_load(lt_ref_row(x, row), x->dtype, column);
}

static inline void lt_ref_put(const lt_tensor *y, int64_t row, int64_t column, float value)
{
    lt_ref_store(lt_ref_row(y, row), y->dtype, column, value);
}

/* The contract's round(): nothing in f32. */
static inline float lt_ref_round(lt_dtype dtype, float value)
{
    return dtype == LT_BF16 ? lt_round_bf16(value) : value;
}

static inline int32_t lt_ref_index(const lt_tensor *index, int64_t i, int64_t limit)
{
    const int32_t at = ((const int32_t *)index->data)[i];
    assert(at >= 0 &&
           at < limit); /* the device could not say it either: a wrong index is our bug */
    (void)limit;
    return at;
}

/* In f64, so that the reference's error is half an ulp of f32. */
static inline float lt_ref_activate(lt_activation f, float x)
{
    const double v = x;
    switch (f) {
    case LT_ACT_SILU:
        return (float)(v / (1.0 + exp(-v)));
    case LT_ACT_GELU_TANH: /* sqrt(2/pi) and 0.044715: Hendrycks and Gimpel, arXiv:1606.08415 */
        return (float)(0.5 * v * (1.0 + tanh(0.7978845608028654 * (v + 0.044715 * v * v * v))));
    case LT_ACT_GELU_ERF:
        return (float)(0.5 * v * (1.0 + erf(v * 0.7071067811865476)));
    case LT_ACT_NONE:
        break;
    }
    return x;
}

#endif
