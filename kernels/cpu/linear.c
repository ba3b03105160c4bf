/* linear.c - y = round(act(x W^T + b)) by the packed product of gemm.c.
 *
 * Tasks are (block of columns) x (block of rows), columns outermost: threads at work at the same
 * time read the same weights. Few rows make narrower column blocks, so that all threads have one.
 * Weights that came as bf16, or that must be rounded to it, stay bf16 in memory and are widened by
 * panels. Where the CPU multiplies bf16 natively, linear_dnnl.c takes layers whose x is bf16. */
#include <assert.h>
#include <omp.h>
#include <stdlib.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/linear_dnnl.h"

typedef struct cpu_linear {
    lt_linear base;
    lt_cpu_weights weights;
    lt_cpu_dnnl *dnnl; /* NULL: gemm.c */
} cpu_linear;

static lt_dtype kept_dtype(const lt_linear_spec *spec)
{
    return spec->compute == LT_BF16 || spec->weights_dtype == LT_BF16 ? LT_BF16 : LT_F32;
}

static size_t round_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

static size_t product_bytes(const lt_linear_spec *spec)
{
    if (lt_cpu_dnnl_takes(spec))
        return round_up(lt_cpu_dnnl_bytes(spec));
    return round_up(lt_cpu_packed_bytes(spec->in, spec->out, kept_dtype(spec)));
}

size_t lt_cpu_linear_bytes(const lt_linear_spec *spec)
{
    return product_bytes(spec) + round_up(spec->has_bias ? (size_t)spec->out * sizeof(float) : 0);
}

lt_status lt_cpu_linear_prepare(const lt_linear_spec *spec, void *memory, lt_linear **out)
{
    assert(spec->in >= 0 && spec->out >= 0 && (spec->weights != NULL || spec->in * spec->out == 0));
    cpu_linear *l = calloc(1, sizeof *l);
    if (l == NULL)
        LT_FAIL(LT_ENOMEM, "linear: no memory for a layer's description");
    l->base = (lt_linear){NULL, spec->in, spec->out, spec->has_bias, spec->compute};
    l->weights = (lt_cpu_weights){spec->in, spec->out, kept_dtype(spec), memory, NULL};
    if (lt_cpu_dnnl_takes(spec)) {
        const lt_status st = lt_cpu_dnnl_prepare(spec, memory, &l->dnnl);
        if (st != LT_OK) {
            free(l);
            return lt_error_trace(st, "lt_cpu_dnnl_prepare", __FILE__, __LINE__);
        }
    } else {
        lt_cpu_pack(spec->in, spec->out, spec->weights, spec->weights_dtype, spec->in, 1,
                    kept_dtype(spec), memory);
    }
    if (spec->has_bias) {
        float *bias = (float *)(void *)((char *)memory + product_bytes(spec));
        memcpy(bias, spec->bias, (size_t)spec->out * sizeof *bias);
        l->weights.bias = bias;
    }
    *out = &l->base;
    return LT_OK;
}

void lt_cpu_linear_release(lt_linear **linear)
{
    cpu_linear *l = (cpu_linear *)*linear;
    if (l != NULL)
        lt_cpu_dnnl_release(&l->dnnl);
    free(l);
    *linear = NULL;
}

/* One task: rows x columns, all of the depth. */
static void task(const lt_op *op, const lt_cpu_weights *w, lt_range rows, lt_range columns,
                 float *scratch)
{
    const lt_cpu_isa *isa = lt_cpu_isa_now();
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    float *a = scratch, *b = a + LT_CPU_ROWS * LT_CPU_DEPTH,
          *c = b + LT_CPU_DEPTH * LT_CPU_TILE_MAX;
    for (int64_t k = 0; k < w->depth || k == 0; k += LT_CPU_DEPTH) {
        const int64_t left = w->depth - k;
        const lt_range depth = {k, left < LT_CPU_DEPTH ? left : LT_CPU_DEPTH};
        const int64_t at = rows.first * x->row_stride + k;
        if (x->dtype == LT_F32)
            isa->copy_rows(rows.count, depth.count, (const float *)x->data + at, x->row_stride, a,
                           LT_CPU_DEPTH);
        else
            for (int64_t r = 0; r < rows.count; r++)
                isa->widen((const uint16_t *)x->data + at + r * x->row_stride, a + r * LT_CPU_DEPTH,
                           depth.count);
        lt_cpu_gemm_block(w, columns, depth, rows.count, a, b, c, LT_CPU_COLUMNS);
    }
    const float *bias = w->bias != NULL ? w->bias + columns.first : NULL;
    const int64_t to = rows.first * y->row_stride + columns.first;
    isa->finish(rows.count, columns.count, c, LT_CPU_COLUMNS, bias, op->activation,
                (char *)y->data + (size_t)to * lt_dtype_bytes(y->dtype), y->dtype, y->row_stride);
}

lt_scratch lt_cpu_linear_scratch(const lt_op *op)
{
    const lt_linear *l = op->linear;
    const lt_linear_spec spec = {.in = l->in, .out = l->out, .compute = l->compute};
    const size_t bytes = lt_cpu_dnnl_takes(&spec) ? lt_cpu_dnnl_scratch(l->in, l->compute)
                                                  : LT_CPU_GEMM_SCRATCH * sizeof(float);
    return (lt_scratch){0, bytes};
}

lt_status lt_cpu_linear(const lt_op *op)
{
    const cpu_linear *l = (const cpu_linear *)op->linear;
    const lt_cpu_weights *w = &l->weights;
    const int64_t rows = lt_row_count(&op->out[0]);
    if (rows == 0 || w->columns == 0)
        return LT_OK;
    if (l->dnnl != NULL)
        return lt_cpu_dnnl_apply(l->dnnl, op, w->bias);
    const int64_t row_blocks = (rows + LT_CPU_ROWS - 1) / LT_CPU_ROWS;
    const int64_t step = lt_cpu_column_step(w->columns, row_blocks);
    const int64_t column_blocks = (w->columns + step - 1) / step;
    LT_TRY(lt_cpu_scratch_reserve(LT_CPU_GEMM_SCRATCH * sizeof(float)));
    const double cost = (double)w->depth * (double)step * (double)(rows < 96 ? rows : 96) / 16;
#pragma omp parallel for schedule(dynamic, 1)                                                      \
    num_threads(lt_cpu_team(row_blocks *column_blocks, cost))
    for (int64_t i = 0; i < row_blocks * column_blocks; i++) {
        lt_range r = {i % row_blocks * LT_CPU_ROWS, LT_CPU_ROWS}, n = {i / row_blocks * step, step};
        r.count = rows - r.first < r.count ? rows - r.first : r.count;
        n.count = w->columns - n.first < n.count ? w->columns - n.first : n.count;
        task(op, w, r, n, lt_cpu_scratch_get(omp_get_thread_num()));
    }
    return LT_OK;
}
