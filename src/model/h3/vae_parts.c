/* vae_parts.c - layers that H3's VAEs share.
 * Source of the weight norm: torch.nn.utils.weight_norm(dim=0). The norm's sum is taken in f64: it
 * is folded once, and no order of summation then shows. */
#include "model/h3/vae_parts.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void lt_h3_name(char name[LT_H3_NAME_BYTES], const char *format, ...)
{
    va_list list;
    va_start(list, format);
    const int count = vsnprintf(name, LT_H3_NAME_BYTES, format, list);
    va_end(list);
    assert(count > 0 && count < LT_H3_NAME_BYTES);
    (void)count;
}

lt_status lt_h3_read(lt_weights *weights, const char *name, lt_dims dims, float **out)
{
    *out = NULL;
    lt_checkpoint *checkpoint = lt_weights_checkpoint(weights);
    if (lt_weights_is_dry(weights))
        return lt_checkpoint_load(checkpoint, name, dims);
    size_t bytes = sizeof(float);
    for (int i = 0; i < dims.ndim; i++)
        if (__builtin_mul_overflow(bytes, (size_t)dims.dim[i], &bytes))
            LT_FAIL(LT_EDATA, "%s: more elements than a computer holds", name);
    /* Presence and shape first: a config with wild sizes must not make us allocate them. */
    LT_TRY(lt_checkpoint_load(checkpoint, name, dims));
    float *values = malloc(bytes > 0 ? bytes : 1);
    if (values == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu bytes", name, bytes);
    const lt_status st =
        lt_checkpoint_read(checkpoint, name, dims, lt_slice_whole(dims), LT_F32, values);
    if (st != LT_OK) {
        free(values);
        return lt_error_trace(st, "lt_checkpoint_read", __FILE__, __LINE__);
    }
    *out = values;
    return LT_OK;
}

lt_status lt_h3_conv3d(lt_weights *weights, const char *name, const lt_conv_spec *spec,
                       lt_conv **out)
{
    char tensor[LT_H3_NAME_BYTES];
    float *w = NULL, *b = NULL;
    lt_status st;
    const int64_t *k = spec->kernel;
    lt_h3_name(tensor, "%s.weight", name);
    LT_TRY_GOTO(lt_h3_read(weights, tensor, LT_DIMS(spec->out, spec->in, k[0], k[1], k[2]), &w), st,
                done);
    lt_h3_name(tensor, "%s.bias", name);
    LT_TRY_GOTO(lt_h3_read(weights, tensor, LT_DIMS(spec->out), &b), st, done);
    lt_conv_spec full = *spec;
    full.weights = w;
    full.bias = b;
    full.has_bias = 1;
    LT_TRY_GOTO(lt_weights_conv_from(weights, name, &full, out), st, done);
done:
    free(w);
    free(b);
    return st;
}

/* v [rows, width] *= g[row] / |v[row]|. */
static lt_status fold_norm(const char *name, float *v, const float *g, int64_t rows, int64_t width)
{
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t i = 0; i < width; i++)
            sum += (double)v[r * width + i] * (double)v[r * width + i];
        if (!(sum > 0))
            LT_FAIL(LT_EDATA, "%s.weight_v: want a direction, found only zeros in row %d", name,
                    (int)r);
        const double scale = (double)g[r] / sqrt(sum);
        for (int64_t i = 0; i < width; i++)
            v[r * width + i] = (float)((double)v[r * width + i] * scale);
    }
    return LT_OK;
}

lt_status lt_h3_conv1d_normed(lt_weights *weights, const char *name, const lt_h3_conv1d_spec *spec,
                              lt_conv **out)
{
    assert(spec->in >= 1 && spec->out >= 1 && spec->kernel >= 1 && spec->pad >= 0);
    char tensor[LT_H3_NAME_BYTES];
    float *v = NULL, *g = NULL, *b = NULL;
    lt_status st;
    const int64_t rows = spec->transposed ? spec->in : spec->out;
    const int64_t columns = spec->transposed ? spec->out : spec->in;
    lt_h3_name(tensor, "%s.weight_v", name);
    LT_TRY_GOTO(lt_h3_read(weights, tensor, LT_DIMS(rows, columns, spec->kernel), &v), st, done);
    lt_h3_name(tensor, "%s.weight_g", name);
    LT_TRY_GOTO(lt_h3_read(weights, tensor, LT_DIMS(rows, 1, 1), &g), st, done);
    if (spec->bias) {
        lt_h3_name(tensor, "%s.bias", name);
        LT_TRY_GOTO(lt_h3_read(weights, tensor, LT_DIMS(spec->out), &b), st, done);
    }
    if (v != NULL)
        LT_TRY_GOTO(fold_norm(name, v, g, rows, columns * spec->kernel), st, done);
    const lt_conv_spec full = {
        .in = spec->in,
        .out = spec->out,
        .kernel = {1, 1, spec->kernel},
        .stride = {1, 1, spec->stride},
        .dilation = {1, 1, spec->dilation},
        .pad_before = {0, 0, spec->pad},
        .pad_after = {0, 0, spec->pad},
        .transposed = spec->transposed,
        .weights = v,
        .bias = b,
        .has_bias = spec->bias,
    };
    LT_TRY_GOTO(lt_weights_conv_from(weights, name, &full, out), st, done);
done:
    free(v);
    free(g);
    free(b);
    return st;
}

lt_status lt_h3_pointwise(lt_weights *weights, const char *name, int64_t out, int64_t in,
                          int spatial_dims, lt_linear **linear)
{
    assert(spatial_dims >= 0 && spatial_dims <= 3);
    char tensor[LT_H3_NAME_BYTES];
    float *w = NULL, *b = NULL;
    lt_status st;
    lt_dims dims = LT_DIMS(out, in, 1, 1, 1);
    dims.ndim = 2 + spatial_dims;
    lt_h3_name(tensor, "%s.weight", name);
    LT_TRY_GOTO(lt_h3_read(weights, tensor, dims, &w), st, done);
    lt_h3_name(tensor, "%s.bias", name);
    LT_TRY_GOTO(lt_h3_read(weights, tensor, LT_DIMS(out), &b), st, done);
    const lt_linear_spec spec = {
        .in = in,
        .out = out,
        .weights = w,
        .weights_dtype = LT_F32,
        .bias = b,
        .has_bias = 1,
        .compute = LT_F32,
    };
    LT_TRY_GOTO(lt_weights_linear_from(weights, name, &spec, linear), st, done);
done:
    free(w);
    free(b);
    return st;
}
