/* norm.c - the reference's norms.
 * Sums are f64; the factor 1/sqrt is rounded to f32 once, and what follows is f32, step by step as
 * kernels.h writes it (torch does the same, so bf16 results agree bit for bit but for rare ties).
 * Source of the rounding places: spec/minimax-h3.md 3.1 and 4.5. */
#include "kernels/ref/ref.h"
#include "kernels/ref/values.h"

static float rms_factor(const lt_tensor *x, int64_t row, float eps)
{
    const int64_t width = lt_row_width(x);
    double sum = 0;
    for (int64_t c = 0; c < width; c++) {
        const double v = lt_ref_get(x, row, c);
        sum += v * v;
    }
    return (float)(1.0 / sqrt(sum / (double)width + (double)eps));
}

lt_status lt_ref_rms_norm(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *w = &op->in[1], *y = &op->out[0];
    for (int64_t s = 0; s < lt_row_count(y); s++) {
        const float factor = rms_factor(x, s, op->eps);
        for (int64_t c = 0; c < lt_row_width(y); c++) {
            float v = lt_ref_get(x, s, c) * factor;
            if (w->ndim != 0) {
                if (op->rounding == LT_ROUND_TWICE)
                    v = lt_ref_round(y->dtype, v);
                v *= lt_ref_get(w, 0, c);
            }
            lt_ref_put(y, s, c, v);
        }
    }
    return LT_OK;
}

lt_status lt_ref_layer_norm(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *w = &op->in[1], *b = &op->in[2], *y = &op->out[0];
    const int64_t width = lt_row_width(x);
    for (int64_t s = 0; s < lt_row_count(y); s++) {
        double sum = 0, square = 0;
        for (int64_t c = 0; c < width; c++)
            sum += lt_ref_get(x, s, c);
        const double mean = sum / (double)width;
        for (int64_t c = 0; c < width; c++) {
            const double d = lt_ref_get(x, s, c) - mean;
            square += d * d;
        }
        const double factor = 1.0 / sqrt(square / (double)width + (double)op->eps);
        for (int64_t c = 0; c < width; c++) {
            const float v = (float)((lt_ref_get(x, s, c) - mean) * factor);
            lt_ref_put(y, s, c, v * lt_ref_get(w, 0, c) + lt_ref_get(b, 0, c));
        }
    }
    return LT_OK;
}

/* One group of one clip: x, y are [rows of width C]; the group's channels are [first, first +
 * count). */
static void group_norm_one(const lt_op *op, int64_t row, int64_t rows, int64_t first, int64_t count)
{
    const lt_tensor *x = &op->in[0], *w = &op->in[1], *b = &op->in[2], *y = &op->out[0];
    double sum = 0, square = 0;
    for (int64_t s = row; s < row + rows; s++)
        for (int64_t c = first; c < first + count; c++)
            sum += lt_ref_get(x, s, c);
    const double mean = sum / (double)(rows * count);
    for (int64_t s = row; s < row + rows; s++)
        for (int64_t c = first; c < first + count; c++) {
            const double d = lt_ref_get(x, s, c) - mean;
            square += d * d;
        }
    const double factor = 1.0 / sqrt(square / (double)(rows * count) + (double)op->eps);
    for (int64_t s = row; s < row + rows; s++)
        for (int64_t c = first; c < first + count; c++) {
            const float v = (float)((lt_ref_get(x, s, c) - mean) * factor);
            const float affine = v * lt_ref_get(w, 0, c) + lt_ref_get(b, 0, c);
            lt_ref_put(y, s, c, lt_ref_activate(op->activation, affine));
        }
}

lt_status lt_ref_group_norm(const lt_op *op)
{
    const lt_tensor *x = &op->in[0];
    const int64_t batch = x->dim[0], rows = x->dim[1], channels = x->dim[2];
    assert(x->ndim == 3 && op->groups > 0 && channels % op->groups == 0);
    const int64_t count = channels / op->groups;
    for (int64_t i = 0; i < batch; i++)
        for (int64_t g = 0; g < op->groups; g++)
            group_norm_one(op, i * rows, rows, g * count, count);
    return LT_OK;
}

lt_status lt_ref_norm_modulate(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *w = &op->in[1], *table = &op->in[2], *index = &op->in[3];
    const lt_tensor *y = &op->out[0];
    const lt_dtype dtype = y->dtype;
    for (int64_t s = 0; s < lt_row_count(y); s++) {
        const int64_t at = lt_ref_index(index, s, lt_row_count(table));
        const float factor = rms_factor(x, s, op->eps);
        for (int64_t c = 0; c < lt_row_width(y); c++) {
            const float shift = lt_ref_get(table, at, op->column_a + c);
            const float scale = lt_ref_round(dtype, 1.0f + lt_ref_get(table, at, op->column_b + c));
            float v = lt_ref_get(x, s, c) * factor * lt_ref_get(w, 0, c);
            v = lt_ref_round(dtype, v);
            v = lt_ref_round(dtype, v * scale);
            lt_ref_put(y, s, c, v + shift);
        }
    }
    return LT_OK;
}
