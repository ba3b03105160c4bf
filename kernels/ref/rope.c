/* rope.c - the reference's per-head RMS norm and rotation of pairs (a, a + R), in place.
 * Source: spec/minimax-h3.md 4.4 and 4.5 (partial rotary, R < D/2), 3.1 (R = D/2). */
#include "kernels/ref/ref.h"
#include "kernels/ref/values.h"

static void norm_head(const lt_op *op, int64_t row, int64_t first, int64_t width)
{
    const lt_tensor *x = &op->out[0], *w = &op->in[0];
    double sum = 0;
    for (int64_t c = 0; c < width; c++) {
        const double v = lt_ref_get(x, row, first + c);
        sum += v * v;
    }
    const float factor = (float)(1.0 / sqrt(sum / (double)width + (double)op->eps));
    for (int64_t c = 0; c < width; c++) {
        float v = lt_ref_get(x, row, first + c) * factor;
        if (w->ndim != 0) {
            if (op->rounding == LT_ROUND_TWICE)
                v = lt_ref_round(x->dtype, v);
            v *= lt_ref_get(w, 0, c);
        }
        lt_ref_put(x, row, first + c, v);
    }
}

static void rotate_head(const lt_op *op, int64_t row, int64_t first)
{
    const lt_tensor *x = &op->out[0], *cos_ = &op->in[1], *sin_ = &op->in[2];
    const int64_t half = lt_row_width(cos_);
    for (int64_t a = 0; a < half; a++) {
        const float u = lt_ref_get(x, row, first + a), v = lt_ref_get(x, row, first + a + half);
        const float c = lt_ref_get(cos_, row, a), s = lt_ref_get(sin_, row, a);
        const float uc = lt_ref_round(x->dtype, u * c), us = lt_ref_round(x->dtype, u * s);
        const float vc = lt_ref_round(x->dtype, v * c), vs = lt_ref_round(x->dtype, v * s);
        lt_ref_put(x, row, first + a, uc - vs);
        lt_ref_put(x, row, first + a + half, vc + us);
    }
}

lt_status lt_ref_head_norm_rope(const lt_op *op)
{
    const lt_tensor *x = &op->out[0];
    assert(op->heads > 0 && lt_row_width(x) % op->heads == 0);
    const int64_t width = lt_row_width(x) / op->heads;
    for (int64_t s = 0; s < lt_row_count(x); s++)
        for (int64_t h = 0; h < op->heads; h++) {
            if (op->eps >= 0)
                norm_head(op, s, h * width, width);
            if (op->in[1].ndim != 0)
                rotate_head(op, s, h * width);
        }
    return LT_OK;
}
