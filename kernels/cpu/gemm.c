/* gemm.c - packed weights and the blocked product behind linear and conv.
 *
 * Design. Weights are packed once as panels of tile_columns columns, each [depth][tile_columns], in
 * f32 or as the bf16 they came in. A task owns some rows and columns of the result and walks the
 * depth in blocks of LT_CPU_DEPTH: it lays its rows' block densely (a), takes panel by panel (16 KB
 * in f32: it stays in the first-level cache while all rows pass), and adds into its sums (c).
 *     c[r][n] = ((0 + block_0) + block_1) + ...,  block_b = chain of multiply-adds over its depth
 * This order is the same for every row count, thread count and split, and the same with 8 and 16
 * lanes: that is row independence. oneDNN's f32 product does not have it (table in
 * bench/LOG.md). */
#include <assert.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

static int64_t panels_of(int64_t columns)
{
    const int64_t wide = lt_cpu_isa_now()->tile_columns;
    return (columns + wide - 1) / wide;
}

size_t lt_cpu_packed_bytes(int64_t depth, int64_t columns, lt_dtype dtype)
{
    assert(depth >= 0 && columns >= 0);
    return (size_t)panels_of(columns) * (size_t)lt_cpu_isa_now()->tile_columns * (size_t)depth *
           lt_dtype_bytes(dtype);
}

void lt_cpu_pack(int64_t depth, int64_t columns, const void *from, lt_dtype from_dtype,
                 int64_t column_stride, int64_t depth_stride, lt_dtype dtype, void *packed)
{
    const int64_t wide = lt_cpu_isa_now()->tile_columns, panels = panels_of(columns);
    assert(dtype == LT_F32 || dtype == LT_BF16);
    assert(from_dtype == LT_F32 || from_dtype == LT_BF16);
#pragma omp parallel for schedule(static) num_threads(lt_cpu_team(panels, (double)(depth * wide)))
    for (int64_t p = 0; p < panels; p++)
        for (int64_t j = 0; j < wide; j++) {
            const int64_t column = p * wide + j;
            for (int64_t k = 0; k < depth; k++) {
                const int64_t at = column * column_stride + k * depth_stride;
                const int64_t to = (p * depth + k) * wide + j;
                float v = 0;
                if (column < columns)
                    v = from_dtype == LT_F32 ? ((const float *)from)[at]
                                             : lt_bf16_to_f32(((const uint16_t *)from)[at]);
                if (dtype == LT_F32)
                    ((float *)packed)[to] = v;
                else
                    ((uint16_t *)packed)[to] = lt_f32_to_bf16(v);
            }
        }
}

void lt_cpu_gemm_block(const lt_cpu_weights *w, lt_range columns, lt_range depth, int64_t rows,
                       const float *a, float *b_scratch, float *c, int64_t c_stride)
{
    const lt_cpu_isa *isa = lt_cpu_isa_now();
    const int64_t wide = isa->tile_columns;
    assert(columns.first % wide == 0 && depth.count <= LT_CPU_DEPTH);
    for (int64_t n = 0; n < columns.count; n += wide) {
        const int64_t at = ((columns.first + n) / wide * w->depth + depth.first) * wide;
        const float *b = b_scratch;
        if (w->dtype == LT_F32)
            b = (const float *)w->packed + at;
        else
            isa->widen((const uint16_t *)w->packed + at, b_scratch, depth.count * wide);
        isa->panel(rows, depth.count, a, LT_CPU_DEPTH, b, c + n, c_stride, depth.first > 0);
    }
}

int64_t lt_cpu_column_step(int64_t columns, int64_t row_blocks)
{
    const int64_t threads = lt_cpu_threads(), wide = lt_cpu_isa_now()->tile_columns;
    int64_t step = LT_CPU_COLUMNS;
    if (threads > 1 && row_blocks < 4 * threads) {
        const int64_t blocks = (2 * threads + row_blocks - 1) / row_blocks;
        const int64_t even = ((columns + blocks - 1) / blocks + wide - 1) / wide * wide;
        step = even < step ? even : step;
    }
    return step < 2 * wide ? 2 * wide : step;
}
