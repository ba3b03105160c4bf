/* rows.c - the reference's row operations: copies, sums, products, gates, gathers.
 * Every function walks (row, column) and applies kernels.h's formula to one element at a time. */
#include "kernels/ref/ref.h"
#include "kernels/ref/values.h"

static void copy_row(const lt_tensor *x, int64_t from, const lt_tensor *y, int64_t to)
{
    const int64_t width = lt_row_width(y);
    if (x->dtype == y->dtype) { /* whatever the type: bits */
        memmove(lt_ref_row(y, to), lt_ref_row(x, from), (size_t)width * lt_dtype_bytes(x->dtype));
        return;
    }
    for (int64_t c = 0; c < width; c++)
        lt_ref_put(y, to, c, lt_ref_get(x, from, c));
}

lt_status lt_ref_copy(const lt_op *op)
{
    for (int64_t s = 0; s < lt_row_count(&op->out[0]); s++)
        copy_row(&op->in[0], s, &op->out[0], s);
    return LT_OK;
}

lt_status lt_ref_fill(const lt_op *op)
{
    const lt_tensor *y = &op->out[0];
    for (int64_t s = 0; s < lt_row_count(y); s++)
        for (int64_t c = 0; c < lt_row_width(y); c++)
            lt_ref_put(y, s, c, op->a);
    return LT_OK;
}

lt_status lt_ref_axpby(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    for (int64_t s = 0; s < lt_row_count(y); s++)
        for (int64_t c = 0; c < lt_row_width(y); c++) {
            float v = op->a * lt_ref_get(x, s, c);
            if (op->b != 0) /* else y may be anything, NaN too */
                v += op->b * lt_ref_get(y, s, c);
            lt_ref_put(y, s, c, v);
        }
    return LT_OK;
}

lt_status lt_ref_mul(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    for (int64_t s = 0; s < lt_row_count(y); s++)
        for (int64_t c = 0; c < lt_row_width(y); c++)
            lt_ref_put(y, s, c, lt_ref_get(x, s, c) * lt_ref_get(y, s, c));
    return LT_OK;
}

lt_status lt_ref_scale_add(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *scale = &op->in[1], *y = &op->out[0];
    for (int64_t s = 0; s < lt_row_count(y); s++)
        for (int64_t c = 0; c < lt_row_width(y); c++)
            lt_ref_put(y, s, c,
                       lt_ref_get(y, s, c) + lt_ref_get(x, s, c) * lt_ref_get(scale, 0, c));
    return LT_OK;
}

lt_status lt_ref_activation(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    for (int64_t s = 0; s < lt_row_count(y); s++)
        for (int64_t c = 0; c < lt_row_width(y); c++)
            lt_ref_put(y, s, c, lt_ref_activate(op->activation, lt_ref_get(x, s, c)));
    return LT_OK;
}

lt_status lt_ref_clamp(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    for (int64_t s = 0; s < lt_row_count(y); s++)
        for (int64_t c = 0; c < lt_row_width(y); c++) {
            const float v = lt_ref_get(x, s, c); /* so written, NaN stays NaN */
            lt_ref_put(y, s, c, v < op->a ? op->a : v > op->b ? op->b : v);
        }
    return LT_OK;
}

lt_status lt_ref_swiglu(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    const int64_t half = lt_row_width(y);
    for (int64_t s = 0; s < lt_row_count(y); s++)
        for (int64_t c = 0; c < half; c++) {
            const float gate = lt_ref_activate(LT_ACT_SILU, lt_ref_get(x, s, half + c));
            lt_ref_put(y, s, c, lt_ref_get(x, s, c) * lt_ref_round(y->dtype, gate));
        }
    return LT_OK;
}

lt_status lt_ref_gate_add(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *table = &op->in[1], *index = &op->in[2], *y = &op->out[0];
    for (int64_t s = 0; s < lt_row_count(y); s++) {
        const int64_t at = lt_ref_index(index, s, lt_row_count(table));
        for (int64_t c = 0; c < lt_row_width(y); c++) {
            const float gate = lt_ref_get(table, at, op->column_a + c);
            const float add = lt_ref_round(y->dtype, gate * lt_ref_get(x, s, c));
            lt_ref_put(y, s, c, lt_ref_get(y, s, c) + add);
        }
    }
    return LT_OK;
}

lt_status lt_ref_gather_rows(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *index = &op->in[1], *y = &op->out[0];
    for (int64_t i = 0; i < lt_elements(index); i++)
        copy_row(x, lt_ref_index(index, i, lt_row_count(x)), y, i);
    return LT_OK;
}

lt_status lt_ref_scatter_rows(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *index = &op->in[1], *y = &op->out[0];
    for (int64_t i = 0; i < lt_elements(index); i++)
        copy_row(x, i, y, lt_ref_index(index, i, lt_row_count(y)));
    return LT_OK;
}

/* f32 additions in rank order: the order is the contract, so no f64 here. */
lt_status lt_ref_sum_parts(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    const int64_t parts = x->dim[0], rows = lt_row_count(y);
    assert(parts >= 1);
    for (int64_t s = 0; s < rows; s++)
        for (int64_t c = 0; c < lt_row_width(y); c++) {
            float sum = lt_ref_get(x, s, c);
            for (int64_t p = 1; p < parts; p++)
                sum += lt_ref_get(x, p * rows + s, c);
            lt_ref_put(y, s, c, sum);
        }
    return LT_OK;
}
