/* conv.c - convolutions over [B, T, H, W, C] as products: inputs in rows, times weights.
 *
 * A "part" is a plain convolution from input cells m * step + first + tap * tap_step to output
 * cells m * out_step + out_first. A plain layer is one part. A transposed one of stride s is a part
 * for each remainder of the output's index by s along each axis: along an axis those outputs meet
 * every (s / gcd(s, dilation))-th tap only, at input cells that lie dilation / gcd apart. So no
 * product is made with a zero that was put between inputs.
 *
 * A part's weights are W [out, depth] f32, depth = taps * in, rows padded to LT_CUDA_ALIGN. The
 * part goes in chunks of output cells: im2col into the workspace, product, and where y cannot take
 * the product itself (a transposed layer's cells lie apart; rows that don't begin at 16 bytes),
 * a pass that puts it to its places with the bias. A remainder that meets no tap is the bias. */
#include <assert.h>
#include <stdlib.h>

#include "kernels/cuda/cuda.h"

typedef struct conv_part {
    lt_cuda_gemm *gemm; /* NULL: depth 0 */
    float *weights;
    int64_t depth, ld;
    int64_t first[3], taps[3], tap_step[3]; /* where taps read */
    int64_t tap_first[3], tap_every[3];     /* which taps of the kernel these are */
    int64_t out_first[3];
} conv_part;

typedef struct cuda_conv {
    lt_conv base;
    const float *bias; /* device, or NULL */
    int64_t parts;
    conv_part *part;
} cuda_conv;

static int64_t gcd(int64_t a, int64_t b) { return b == 0 ? a : gcd(b, a % b); }

static int64_t parts_of(const lt_conv_spec *spec)
{
    return spec->transposed ? spec->stride[0] * spec->stride[1] * spec->stride[2] : 1;
}

/* A part's taps along an axis. remainder: of the output's index by the stride (transposed). */
static void part_axis(const lt_conv_spec *spec, int axis, int64_t remainder, conv_part *p)
{
    const int64_t stride = spec->stride[axis], dilation = spec->dilation[axis];
    const int64_t kernel = spec->kernel[axis], before = spec->pad_before[axis];
    p->out_first[axis] = remainder;
    if (!spec->transposed) {
        p->first[axis] = -before;
        p->taps[axis] = kernel;
        p->tap_step[axis] = dilation;
        p->tap_first[axis] = 0;
        p->tap_every[axis] = 1;
        return;
    }
    /* k meets where (remainder + before - k * dilation) is a multiple of stride. */
    const int64_t every = stride / gcd(stride, dilation);
    p->taps[axis] = 0;
    p->tap_every[axis] = every;
    for (int64_t k = 0; k < kernel && p->taps[axis] == 0; k++)
        if ((remainder + before - k * dilation) % stride == 0) {
            p->tap_first[axis] = k;
            p->taps[axis] = (kernel - k + every - 1) / every;
            p->first[axis] = (remainder + before - k * dilation) / stride;
            p->tap_step[axis] = -(every * dilation / stride);
        }
}

static conv_part part_of(const lt_conv_spec *spec, int64_t number)
{
    conv_part p = {.depth = spec->in};
    const int64_t remainder[3] = {spec->transposed ? number / spec->stride[2] / spec->stride[1] : 0,
                                  spec->transposed ? number / spec->stride[2] % spec->stride[1] : 0,
                                  spec->transposed ? number % spec->stride[2] : 0};
    for (int axis = 0; axis < 3; axis++) {
        part_axis(spec, axis, remainder[axis], &p);
        p.depth *= p.taps[axis];
    }
    p.ld = (p.depth + 3) / 4 * 4;
    return p;
}

static size_t part_bytes(const conv_part *p, int64_t out)
{
    return ((size_t)(out * p->ld) * sizeof(float) + 63) / 64 * 64;
}

static size_t bias_bytes(const lt_conv_spec *spec)
{
    return spec->has_bias ? ((size_t)spec->out * sizeof(float) + 63) / 64 * 64 : 0;
}

size_t lt_cuda_conv_bytes(const lt_conv_spec *spec)
{
    size_t bytes = bias_bytes(spec);
    for (int64_t i = 0; i < parts_of(spec); i++) {
        const conv_part p = part_of(spec, i);
        bytes += part_bytes(&p, spec->out);
    }
    return bytes;
}

/* W [out, ld] of a part on the host. The file has [out, in, taps]; transposed, [in, out, taps]. */
static void pack(const lt_conv_spec *spec, const conv_part *p, float *to)
{
    const int64_t taps = spec->kernel[0] * spec->kernel[1] * spec->kernel[2];
    for (int64_t o = 0; o < spec->out; o++) {
        float *row = to + o * p->ld;
        for (int64_t i = p->depth; i < p->ld; i++)
            row[i] = 0;
        for (int64_t t = 0; t < p->taps[0]; t++)
            for (int64_t h = 0; h < p->taps[1]; h++)
                for (int64_t w = 0; w < p->taps[2]; w++) {
                    const int64_t kt = p->tap_first[0] + t * p->tap_every[0];
                    const int64_t kh = p->tap_first[1] + h * p->tap_every[1];
                    const int64_t kw = p->tap_first[2] + w * p->tap_every[2];
                    const int64_t tap = (kt * spec->kernel[1] + kh) * spec->kernel[2] + kw;
                    for (int64_t i = 0; i < spec->in; i++, row++) {
                        const int64_t pair =
                            spec->transposed ? i * spec->out + o : o * spec->in + i;
                        *row = spec->weights[pair * taps + tap];
                    }
                }
    }
}

static lt_status prepare_part(const lt_conv_spec *spec, conv_part *p, int has_bias)
{
    const size_t bytes = part_bytes(p, spec->out);
    if (p->depth == 0)
        return LT_OK;
    float *packed = malloc(bytes);
    if (packed == NULL)
        LT_FAIL(LT_ENOMEM, "conv: no memory to pack %lld weights",
                (long long)(p->depth * spec->out));
    pack(spec, p, packed);
    const size_t width = (size_t)(spec->out * p->ld) * sizeof(float);
    const lt_status status =
        lt_cuda_fill_device("conv", p->weights, width, packed, width, width, 1);
    free(packed);
    LT_TRY(status);
    const lt_cuda_gemm_spec s = {.n = spec->out,
                                 .k = p->depth,
                                 .ldw = p->ld,
                                 .operands = LT_F32,
                                 .result = LT_F32,
                                 .has_bias = has_bias};
    return lt_cuda_gemm_new(&s, p->weights, &p->gemm);
}

lt_status lt_cuda_conv_prepare(const lt_conv_spec *spec, void *memory, lt_conv **out)
{
    assert(spec->weights != NULL);
    LT_TRY(lt_cuda_idle()); /* what had this memory before may still be read */
    cuda_conv *l = calloc(1, sizeof *l);
    const int64_t parts = parts_of(spec);
    if (l == NULL || (l->part = calloc((size_t)parts, sizeof *l->part)) == NULL) {
        free(l);
        LT_FAIL(LT_ENOMEM, "conv: no memory for a layer's description");
    }
    lt_conv *made = &l->base;
    lt_status status;
    char *at = (char *)memory + bias_bytes(spec);
    l->parts = parts;
    l->base.spec = *spec;
    l->base.spec.weights = NULL;
    l->base.spec.bias = NULL;
    if (spec->has_bias) {
        const size_t bytes = (size_t)spec->out * sizeof(float);
        LT_TRY_GOTO(lt_cuda_fill_device("conv", memory, bytes, spec->bias, bytes, bytes, 1), status,
                    failed);
        l->bias = memory;
    }
    for (int64_t i = 0; i < parts; i++) {
        conv_part *p = &l->part[i];
        *p = part_of(spec, i);
        p->weights = (float *)at;
        at += part_bytes(p, spec->out);
        LT_TRY_GOTO(prepare_part(spec, p, l->bias != NULL && parts == 1), status, failed);
    }
    *out = made;
    return LT_OK;
failed:
    lt_cuda_conv_release(&made);
    return status;
}

void lt_cuda_conv_release(lt_conv **conv)
{
    cuda_conv *l = (cuda_conv *)*conv;
    for (int64_t i = 0; i < l->parts; i++)
        lt_cuda_gemm_free(&l->part[i].gemm);
    free(l->part);
    free(l);
    *conv = NULL;
}

/* Cells of a part along an axis: outputs remainder, remainder + stride, ... below length. */
static int64_t cells_along(const lt_conv_spec *spec, int axis, int64_t first, int64_t length)
{
    const int64_t step = spec->transposed ? spec->stride[axis] : 1;
    return first < length ? (length - first + step - 1) / step : 0;
}

typedef struct part_call {
    lt_cuda_cells cells;
    lt_cuda_places places;
    int64_t rows; /* over all clips */
} part_call;

static part_call call_of(const cuda_conv *l, const conv_part *p, const lt_op *op)
{
    const lt_conv_spec *spec = &l->base.spec;
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    part_call c = {.rows = x->dim[0]};
    c.cells.channels = spec->in;
    c.places.channels = spec->out;
    for (int axis = 0; axis < 3; axis++) {
        const int64_t count = cells_along(spec, axis, p->out_first[axis], y->dim[1 + axis]);
        c.cells.length[axis] = x->dim[1 + axis];
        c.cells.count[axis] = c.places.count[axis] = count;
        c.cells.step[axis] = spec->transposed ? 1 : spec->stride[axis];
        c.cells.first[axis] = p->first[axis];
        c.cells.taps[axis] = p->taps[axis];
        c.cells.tap_step[axis] = p->tap_step[axis];
        c.places.length[axis] = y->dim[1 + axis];
        c.places.step[axis] = spec->transposed ? spec->stride[axis] : 1;
        c.places.first[axis] = p->out_first[axis];
        c.rows *= count;
    }
    return c;
}

static lt_status run_part(lt_cuda_queue *q, const cuda_conv *l, const conv_part *p, const lt_op *op)
{
    enum { ROWS_MAX = 8192 };
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    const int64_t out = l->base.spec.out, ldd = (out + 3) / 4 * 4;
    const part_call c = call_of(l, p, op);
    const int direct = l->parts == 1 && out % 4 == 0 && (uintptr_t)y->data % LT_CUDA_ALIGN == 0;
    const size_t row = (size_t)(p->ld + ldd) * sizeof(float);
    int64_t most = (int64_t)((q->workspace_bytes - 512) / row);
    if (most < 1)
        LT_FAIL(LT_EUNAVAIL, "conv: want a workspace for one cell of %lld inputs, found %zu MiB",
                (long long)p->depth, q->workspace_bytes >> 20);
    most = most < ROWS_MAX ? most : ROWS_MAX;
    float *a = q->workspace, *sums = a + (most * p->ld + 63) / 64 * 64;
    for (int64_t first = 0; first < c.rows; first += most) {
        const int64_t rows = c.rows - first < most ? c.rows - first : most;
        float *d = direct ? (float *)y->data + first * out : sums;
        LT_TRY(lt_cuda_im2col(q, &c.cells, x->data, first, rows, a, p->ld));
        LT_TRY(lt_cuda_gemm_run(q, p->gemm, rows, a, p->ld, p->weights,
                                l->parts == 1 ? l->bias : NULL, d, direct ? out : ldd));
        if (!direct)
            LT_TRY(lt_cuda_place(q, &c.places, d, ldd, first, rows, l->parts == 1 ? NULL : l->bias,
                                 y->data));
    }
    return LT_OK;
}

/* Outputs that meet no tap: the bias, or zero. */
static lt_status run_empty(lt_cuda_queue *q, const cuda_conv *l, const conv_part *p,
                           const lt_op *op)
{
    const part_call c = call_of(l, p, op);
    return lt_cuda_place(q, &c.places, NULL, 0, 0, c.rows, l->bias, op->out[0].data);
}

lt_status lt_cuda_conv(lt_cuda_queue *q, const lt_op *op)
{
    const cuda_conv *l = (const cuda_conv *)op->conv;
    for (int64_t i = 0; i < l->parts; i++) {
        const conv_part *p = &l->part[i];
        LT_TRY(p->depth == 0 ? run_empty(q, l, p, op) : run_part(q, l, p, op));
    }
    return LT_OK;
}
