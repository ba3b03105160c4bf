/* media.c - the reference's operations on video and audio: padding and Snake.
 * Source: spec/minimax-h3.md 6 (reflected edges), 7.2 (Snake), 7.3 (anti-aliased SnakeBeta). */
#include "kernels/ref/ref.h"
#include "kernels/ref/values.h"

/* torch's 'reflect': -1 is 1, length is length - 2; the pad is shorter than the length. */
static int64_t reflect(int64_t at, int64_t length)
{
    if (at < 0)
        at = -at;
    if (at >= length)
        at = 2 * (length - 1) - at;
    assert(at >= 0 && at < length);
    return at;
}

lt_status lt_ref_pad_reflect(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    assert(x->ndim == 5 && y->ndim == 5);
    const int64_t planes = y->dim[0] * y->dim[1], H = x->dim[2], W = x->dim[3];
    int64_t row = 0;
    for (int64_t p = 0; p < planes; p++)
        for (int64_t h = 0; h < y->dim[2]; h++)
            for (int64_t v = 0; v < y->dim[3]; v++, row++) {
                const int64_t from_h = reflect(h - op->pad[0], H);
                const int64_t from_v = reflect(v - op->pad[2], W);
                memcpy(lt_ref_row(y, row), lt_ref_row(x, (p * H + from_h) * W + from_v),
                       (size_t)x->dim[4] * sizeof(float));
            }
    return LT_OK;
}

static double square_of_sine(double x)
{
    const double s = sin(x);
    return s * s;
}

lt_status lt_ref_snake(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *alpha = &op->in[1], *y = &op->out[0];
    for (int64_t s = 0; s < lt_row_count(y); s++)
        for (int64_t c = 0; c < lt_row_width(y); c++) {
            const double v = lt_ref_get(x, s, c), a = lt_ref_get(alpha, 0, c);
            lt_ref_put(y, s, c, (float)(v + square_of_sine(a * v) / (a + 1e-9)));
        }
    return LT_OK;
}

static int64_t clamp_index(int64_t at, int64_t length)
{
    return at < 0 ? 0 : at >= length ? length - 1 : at;
}

/* Sample `at` of one channel at twice the rate, then SnakeBeta. first: the clip's first row. */
static double upsampled(const lt_op *op, int64_t first, int64_t length, int64_t channel, int64_t at)
{
    const lt_tensor *x = &op->in[0], *up = &op->in[3];
    const double a = exp((double)lt_ref_get(&op->in[1], 0, channel));
    const double b = exp((double)lt_ref_get(&op->in[2], 0, channel));
    const int64_t m = at / 2, odd = at % 2;
    double v = 0;
    for (int64_t j = 0; j < 6;
         j++) { /* even samples meet the filter's odd taps, odd its even ones */
        const int64_t from = clamp_index(m + 2 + odd - j, length);
        v += (double)lt_ref_get(up, 0, 2 * j + 1 - odd) *
             (double)lt_ref_get(x, first + from, channel);
    }
    v *= 2;
    return v + square_of_sine(a * v) / (b + 1e-9);
}

lt_status lt_ref_snake_aa(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *down = &op->in[4], *y = &op->out[0];
    assert(x->ndim == 3);
    const int64_t length = x->dim[1];
    for (int64_t b = 0; b < x->dim[0]; b++)
        for (int64_t c = 0; c < x->dim[2]; c++)
            for (int64_t t = 0; t < length; t++) {
                double v = 0;
                for (int64_t k = 0; k < 12; k++) {
                    const int64_t at = clamp_index(2 * t + k - 5, 2 * length);
                    v += (double)lt_ref_get(down, 0, k) * upsampled(op, b * length, length, c, at);
                }
                lt_ref_put(y, b * length + t, c, (float)v);
            }
    return LT_OK;
}
