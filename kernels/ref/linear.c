/* linear.c - the reference's linear layer: y = round(act(x W^T + b)).
 * The prepared layer is W in f32, [out, in] as the file has it, then b. Sums are f64. */
#include <stdlib.h>

#include "kernels/ref/ref.h"
#include "kernels/ref/values.h"

typedef struct {
    lt_linear base;
    const float *weights; /* [out, in] in the caller's memory */
    const float *bias;    /* [out] behind them, or NULL */
} ref_linear;

size_t lt_ref_linear_bytes(const lt_linear_spec *spec)
{
    assert(spec->in >= 0 && spec->out >= 0);
    return ((size_t)spec->in * (size_t)spec->out + (size_t)spec->out) * sizeof(float);
}

lt_status lt_ref_linear_prepare(const lt_linear_spec *spec, void *memory, lt_linear **out)
{
    assert(spec->weights != NULL || spec->in * spec->out == 0);
    ref_linear *l = calloc(1, sizeof *l);
    if (l == NULL)
        LT_FAIL(LT_ENOMEM, "linear: no memory for a layer's description");
    const int64_t count = spec->in * spec->out;
    float *w = memory;
    if (count > 0)
        lt_convert(spec->weights, spec->weights_dtype, w, LT_F32, (size_t)count);
    if (spec->compute == LT_BF16)
        for (int64_t i = 0; i < count; i++)
            w[i] = lt_round_bf16(w[i]);
    l->base = (lt_linear){NULL, spec->in, spec->out, spec->has_bias, spec->compute};
    l->weights = w;
    if (spec->has_bias) {
        for (int64_t i = 0; i < spec->out; i++)
            w[count + i] = spec->bias[i];
        l->bias = w + count;
    }
    *out = &l->base;
    return LT_OK;
}

void lt_ref_linear_release(lt_linear **linear)
{
    free(*linear);
    *linear = NULL;
}

lt_status lt_ref_linear(const lt_op *op)
{
    const ref_linear *l = (const ref_linear *)op->linear;
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    const int64_t in = l->base.in, rows = lt_row_count(y);
    float *row = malloc((size_t)(in > 0 ? in : 1) * sizeof *row);
    if (row == NULL)
        LT_FAIL(LT_ENOMEM, "linear: no memory for one row of %lld", (long long)in);
    for (int64_t s = 0; s < rows; s++) {
        for (int64_t i = 0; i < in; i++)
            row[i] = lt_ref_get(x, s, i);
        for (int64_t o = 0; o < l->base.out; o++) {
            const float *w = l->weights + o * in;
            double sum = 0;
            for (int64_t i = 0; i < in; i++)
                sum += (double)row[i] * (double)w[i];
            float v = (float)sum;
            if (l->bias != NULL)
                v += l->bias[o];
            lt_ref_put(y, s, o, lt_ref_activate(op->activation, v));
        }
    }
    free(row);
    return LT_OK;
}
