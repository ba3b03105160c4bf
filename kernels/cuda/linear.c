/* linear.c - linear layers: weights on the device, one product by cuBLASLt, what is left behind it.
 *
 * The layer is W [out, ld] in the arithmetic's dtype, ld such that rows begin at LT_CUDA_ALIGN
 * bytes, then b in f32. The product writes y itself where nothing is left to do: no activation, no
 * bias that is not exact in y's dtype, an aligned y. Else its f32 sums go to the workspace (or to
 * y, if that is f32) and one pass finishes them: so there is one rounding, as the contract says. An
 * x that cuBLASLt cannot be given (a view at an odd column) is copied to the workspace first. What
 * uses the workspace goes in chunks of rows. */
#include <assert.h>
#include <stdlib.h>

#include "kernels/cuda/cuda.h"

typedef struct cuda_linear {
    lt_linear base;
    lt_cuda_gemm *into_y;    /* result in `result`'s dtype, with the bias if that is f32 */
    lt_cuda_gemm *into_bf16; /* bf16 operands: a bf16 y without bias; else NULL */
    void *weights;
    const float *bias; /* or NULL */
    int64_t ld;
} cuda_linear;

/* Elements from row to row, so that each begins at LT_CUDA_ALIGN bytes. */
static int64_t padded(int64_t width, lt_dtype dtype)
{
    const int64_t unit = LT_CUDA_ALIGN / (int64_t)lt_dtype_bytes(dtype);
    return (width + unit - 1) / unit * unit;
}

static size_t weights_bytes(const lt_linear_spec *spec)
{
    const size_t bytes =
        (size_t)spec->out * (size_t)padded(spec->in, spec->compute) * lt_dtype_bytes(spec->compute);
    return (bytes + 63) / 64 * 64;
}

size_t lt_cuda_linear_bytes(const lt_linear_spec *spec)
{
    return weights_bytes(spec) + (spec->has_bias ? (size_t)spec->out * sizeof(float) : 0);
}

/* Rows of weights, cast on the host, to the device. */
static lt_status upload_weights(const lt_linear_spec *spec, char *to, int64_t ld)
{
    enum { ROWS = 256 };
    const size_t size = lt_dtype_bytes(spec->compute), from = lt_dtype_bytes(spec->weights_dtype);
    const size_t width = (size_t)spec->in * size;
    char *cast = malloc(ROWS * width + 1);
    if (cast == NULL)
        LT_FAIL(LT_ENOMEM, "linear: no memory to cast %d rows of %lld", (int)ROWS,
                (long long)spec->in);
    lt_status status = LT_OK;
    for (int64_t o = 0; o < spec->out && width > 0 && status == LT_OK; o += ROWS) {
        const size_t rows = (size_t)(spec->out - o < ROWS ? spec->out - o : ROWS);
        lt_convert((const char *)spec->weights + (size_t)(o * spec->in) * from, spec->weights_dtype,
                   cast, spec->compute, rows * (size_t)spec->in);
        status = lt_cuda_fill_device("linear", to + (size_t)(o * ld) * size, (size_t)ld * size,
                                     cast, width, width, rows);
    }
    free(cast);
    return status;
}

static lt_status make_products(cuda_linear *l)
{
    lt_cuda_gemm_spec s = {.n = l->base.out,
                           .k = l->base.in,
                           .ldw = l->ld,
                           .operands = l->base.compute,
                           .result = LT_F32,
                           .has_bias = l->bias != NULL};
    if (l->base.in == 0 || l->base.out == 0)
        return LT_OK;
    LT_TRY(lt_cuda_gemm_new(&s, l->weights, &l->into_y));
    if (l->base.compute != LT_BF16 || l->bias != NULL)
        return LT_OK;
    s.result = LT_BF16;
    return lt_cuda_gemm_new(&s, l->weights, &l->into_bf16);
}

lt_status lt_cuda_linear_prepare(const lt_linear_spec *spec, void *memory, lt_linear **out)
{
    assert(spec->weights != NULL || spec->in * spec->out == 0);
    LT_TRY(lt_cuda_idle()); /* what had this memory before may still be read */
    cuda_linear *l = calloc(1, sizeof *l);
    if (l == NULL)
        LT_FAIL(LT_ENOMEM, "linear: no memory for a layer's description");
    l->base = (lt_linear){NULL, spec->in, spec->out, spec->has_bias, spec->compute};
    l->weights = memory;
    l->ld = padded(spec->in, spec->compute);
    lt_linear *made = &l->base;
    float *bias = (float *)((char *)memory + weights_bytes(spec));
    l->bias = spec->has_bias ? bias : NULL;
    lt_status status;
    LT_TRY_GOTO(upload_weights(spec, memory, l->ld), status, failed);
    if (spec->has_bias) {
        const size_t bytes = (size_t)spec->out * sizeof(float);
        LT_TRY_GOTO(lt_cuda_fill_device("linear", bias, bytes, spec->bias, bytes, bytes, 1), status,
                    failed);
    }
    LT_TRY_GOTO(make_products(l), status, failed);
    *out = made;
    return LT_OK;
failed:
    lt_cuda_linear_release(&made);
    return status;
}

/* At once: queued products keep no address of this. */
void lt_cuda_linear_release(lt_linear **linear)
{
    cuda_linear *l = (cuda_linear *)*linear;
    lt_cuda_gemm_free(&l->into_y);
    lt_cuda_gemm_free(&l->into_bf16);
    free(l);
    *linear = NULL;
}

static int is_aligned(const lt_tensor *x)
{
    return (uintptr_t)x->data % LT_CUDA_ALIGN == 0 &&
           (lt_row_count(x) <= 1 ||
            (size_t)x->row_stride * lt_dtype_bytes(x->dtype) % LT_CUDA_ALIGN == 0);
}

/* x and y as [rows, width], so that rows of them are views. */
static lt_tensor as_rows(const lt_tensor *x)
{
    return lt_view_as(x, LT_DIMS(lt_row_count(x), lt_row_width(x)));
}

/* A tensor of `rows` rows in the workspace, from *used on. */
static lt_tensor in_workspace(const lt_cuda_queue *q, size_t *used, const char *name,
                              lt_dtype dtype, int64_t rows, int64_t width)
{
    lt_tensor t = lt_tensor_wrap((char *)q->workspace + *used, name, dtype, LT_DIMS(rows, width));
    t.row_stride = padded(width, dtype);
    *used += (size_t)(rows * t.row_stride) * lt_dtype_bytes(dtype);
    *used = (*used + 255) / 256 * 256;
    return t;
}

/* One chunk of rows: x to where cuBLASLt can read it, product, finish. */
static lt_status run_chunk(lt_cuda_queue *q, const cuda_linear *l, const lt_op *op,
                           const lt_tensor *x, const lt_tensor *y, int finish)
{
    size_t used = 0;
    lt_tensor a = *x, d = *y;
    if (!is_aligned(x)) {
        a = in_workspace(q, &used, "x", x->dtype, lt_row_count(x), lt_row_width(x));
        const lt_op copy = {.kind = LT_OP_COPY, .in = {*x}, .out = {a}};
        LT_TRY(lt_cuda_copy(q, &copy));
    }
    if (finish && (y->dtype != LT_F32 || !is_aligned(y)))
        d = in_workspace(q, &used, "sums", LT_F32, lt_row_count(y), lt_row_width(y));
    assert(used <= q->workspace_bytes);
    const lt_cuda_gemm *gemm = d.dtype == LT_F32 ? l->into_y : l->into_bf16;
    LT_TRY(lt_cuda_gemm_run(q, gemm, lt_row_count(&a), a.data, a.row_stride, l->weights,
                            d.dtype == LT_F32 ? l->bias : NULL, d.data, d.row_stride));
    return finish ? lt_cuda_finish_linear(q, &d, NULL, op->activation, y) : LT_OK;
}

lt_status lt_cuda_linear(lt_cuda_queue *q, const lt_op *op)
{
    const cuda_linear *l = (const cuda_linear *)op->linear;
    const lt_tensor x = as_rows(&op->in[0]), y = as_rows(&op->out[0]);
    if (l->base.in == 0)
        return lt_cuda_finish_linear(q, NULL, l->bias, op->activation, &y);
    const int direct = y.dtype == LT_F32 || l->into_bf16 != NULL;
    const int finish = op->activation != LT_ACT_NONE || !direct || !is_aligned(&y);
    const int in_place = is_aligned(&x) && (!finish || (y.dtype == LT_F32 && is_aligned(&y)));
    const size_t row = (size_t)padded(l->base.in, x.dtype) * lt_dtype_bytes(x.dtype) +
                       (size_t)padded(l->base.out, LT_F32) * sizeof(float);
    int64_t most = in_place ? y.dim[0] : (int64_t)((q->workspace_bytes - 512) / row);
    if (most < 1)
        LT_FAIL(LT_EUNAVAIL, "linear: want a workspace for one row of %lld and %lld, found %zu MiB",
                (long long)l->base.in, (long long)l->base.out, q->workspace_bytes >> 20);
    for (int64_t first = 0; first < y.dim[0]; first += most) {
        const lt_range rows = {first, y.dim[0] - first < most ? y.dim[0] - first : most};
        const lt_tensor vx = lt_view_outer(&x, rows), vy = lt_view_outer(&y, rows);
        LT_TRY(run_chunk(q, l, op, &vx, &vy, finish));
    }
    return LT_OK;
}
