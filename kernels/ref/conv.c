/* conv.c - the reference's convolution over [B, T, H, W, C], plain and transposed.
 *
 * The prepared layer is W in f32 as [kT, kH, kW, out, in], then b, whichever way the file had it:
 * so both kinds read one dense vector of `in` weights per tap and output channel.
 *
 * Both are written from the output: output cell t meets tap k at the input cell
 *     plain       t * stride - pad_before + k * dilation
 *     transposed  (t + pad_before - k * dilation) / stride, where that divides
 * and cells outside the input count as zero. Source: the definitions of torch's Conv3d and
 * ConvTranspose3d. Sums are f64. */
#include <stdlib.h>

#include "kernels/ref/ref.h"
#include "kernels/ref/values.h"

typedef struct {
    lt_conv base;
    const float *weights;
    const float *bias; /* or NULL */
} ref_conv;

static int64_t taps_of(const lt_conv_spec *spec)
{
    return spec->kernel[0] * spec->kernel[1] * spec->kernel[2];
}

size_t lt_ref_conv_bytes(const lt_conv_spec *spec)
{
    const int64_t count = taps_of(spec) * spec->in * spec->out;
    assert(count >= 0);
    return (size_t)(count + spec->out) * sizeof(float);
}

lt_status lt_ref_conv_prepare(const lt_conv_spec *spec, void *memory, lt_conv **out)
{
    const int64_t taps = taps_of(spec), in = spec->in, channels = spec->out;
    assert(spec->weights != NULL);
    ref_conv *l = calloc(1, sizeof *l);
    if (l == NULL)
        LT_FAIL(LT_ENOMEM, "conv: no memory for a layer's description");
    float *w = memory;
    for (int64_t o = 0; o < channels; o++)
        for (int64_t i = 0; i < in; i++) {
            const int64_t pair = spec->transposed ? i * channels + o : o * in + i;
            for (int64_t k = 0; k < taps; k++)
                w[(k * channels + o) * in + i] = spec->weights[pair * taps + k];
        }
    l->base.spec = *spec;
    l->base.spec.weights = NULL;
    l->base.spec.bias = NULL;
    l->weights = w;
    if (spec->has_bias) {
        float *b = w + taps * channels * in;
        for (int64_t o = 0; o < channels; o++)
            b[o] = spec->bias[o];
        l->bias = b;
    }
    *out = &l->base;
    return LT_OK;
}

void lt_ref_conv_release(lt_conv **conv)
{
    free(*conv);
    *conv = NULL;
}

/* The input cell that output cell t meets at tap k along an axis, or -1. */
static int64_t meets(const lt_conv_spec *spec, int axis, int64_t t, int64_t k, int64_t length)
{
    int64_t at;
    if (spec->transposed) {
        at = t + spec->pad_before[axis] - k * spec->dilation[axis];
        if (at < 0 || at % spec->stride[axis] != 0)
            return -1;
        at /= spec->stride[axis];
    } else {
        at = t * spec->stride[axis] - spec->pad_before[axis] + k * spec->dilation[axis];
    }
    return at >= 0 && at < length ? at : -1;
}

/* One output cell, all its channels: sum [out] f64. */
static void conv_cell(const ref_conv *l, const lt_tensor *x, int64_t batch, const int64_t at[3],
                      double *sum)
{
    const lt_conv_spec *spec = &l->base.spec;
    const int64_t T = x->dim[1], H = x->dim[2], W = x->dim[3], in = spec->in;
    const float *w = l->weights;
    for (int64_t kt = 0; kt < spec->kernel[0]; kt++)
        for (int64_t kh = 0; kh < spec->kernel[1]; kh++)
            for (int64_t kw = 0; kw < spec->kernel[2]; kw++, w += spec->out * in) {
                const int64_t t = meets(spec, 0, at[0], kt, T);
                const int64_t h = meets(spec, 1, at[1], kh, H);
                const int64_t v = meets(spec, 2, at[2], kw, W);
                if (t < 0 || h < 0 || v < 0)
                    continue;
                const float *cell = lt_ref_row(x, ((batch * T + t) * H + h) * W + v);
                for (int64_t o = 0; o < spec->out; o++)
                    for (int64_t i = 0; i < in; i++)
                        sum[o] += (double)cell[i] * (double)w[o * in + i];
            }
}

lt_status lt_ref_conv(const lt_op *op)
{
    const ref_conv *l = (const ref_conv *)op->conv;
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    const int64_t channels = l->base.spec.out;
    assert(x->ndim == 5 && y->ndim == 5);
    double *sum = malloc((size_t)(channels + 1) * sizeof *sum);
    if (sum == NULL)
        LT_FAIL(LT_ENOMEM, "conv: no memory for %lld sums", (long long)channels);
    int64_t row = 0;
    for (int64_t b = 0; b < y->dim[0]; b++)
        for (int64_t t = 0; t < y->dim[1]; t++)
            for (int64_t h = 0; h < y->dim[2]; h++)
                for (int64_t v = 0; v < y->dim[3]; v++, row++) {
                    for (int64_t o = 0; o < channels; o++)
                        sum[o] = 0;
                    conv_cell(l, x, b, (const int64_t[3]){t, h, v}, sum);
                    for (int64_t o = 0; o < channels; o++)
                        lt_ref_put(y, row, o, (float)sum[o] + (l->bias != NULL ? l->bias[o] : 0));
                }
    free(sum);
    return LT_OK;
}
