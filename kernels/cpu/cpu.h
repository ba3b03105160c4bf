/* cpu.h - what the files of the fast backend share.
 *
 * Design. All inner loops are written once, in the simd_*.inc files, over vectors of LT_LANES
 * floats (the compilers' vector types). Three translation units include them: simd_plain.c (4
 * lanes, any machine), simd_avx2_x86.c (8 lanes) and simd_avx512_x86.c (16 lanes). Each ends in one
 * const table, lt_cpu_isa; isa.c picks one at open. So what is tested on one machine is the source
 * that runs on all, and the files outside simd_* hold only loops over blocks and the split over
 * threads.
 *
 * Threads: every parallel region says num_threads(lt_cpu_threads()); the split never changes how a
 * number is computed, so bits do not depend on it. The main thread calls kernels; the comm
 * queue's thread calls row kernels too, and has no team and takes no scratch (docs/design.md 4).
 *
 * All functions here are Local and Blocking. */
#ifndef LT_CPU_H
#define LT_CPU_H

#include "kernels/backend.h"

/* Block sizes. LT_CPU_DEPTH is part of the result's bits (a contracted dimension is summed in
 * blocks of it, and the blocks' sums are added in order), the others are not. Measured in
 * bench/LOG.md. */
enum {
    LT_CPU_DEPTH = 256,   /* of the contracted dimension */
    LT_CPU_ROWS = 96,     /* a task's rows: a multiple of every tile height */
    LT_CPU_COLUMNS = 512, /* a task's columns at most: a multiple of every tile width */
    LT_CPU_KEYS = 256,    /* keys of one softmax step; counted from key 0 */
    LT_CPU_TILE_MAX = 32, /* widest tile of all ISAs */
    /* floats of a product's scratch: block of rows, widened panel, sums */
    LT_CPU_GEMM_SCRATCH =
        LT_CPU_ROWS * LT_CPU_DEPTH + LT_CPU_DEPTH * LT_CPU_TILE_MAX + LT_CPU_ROWS * LT_CPU_COLUMNS
};

/* A tile of lt_snake_aa: `width` channels side by side over time; arrays are [time][width] dense.
 * x holds times [first - 6, first + count + 6) with the edges repeated; even and odd are scratch of
 * (count + 8) * width + LT_CPU_TILE_MAX floats, x has that much behind it too; a and b are e^alpha
 * and 1 / (e^beta + 1e-9) of the channels, repeated for width + LT_CPU_TILE_MAX floats. */
typedef struct lt_cpu_snake {
    int64_t first, count, length, width;
    const float *x, *a, *b, *up, *down;
    float *even, *odd, *y;
} lt_cpu_snake;

typedef struct lt_cpu_isa {
    const char *name;
    int tile_columns; /* width of a packed panel of weights */

    /* c[rows, tile_columns] = a[rows, depth] b[depth, tile_columns] (add: += ), b dense. Each row
     * is its own chain of multiply-adds over depth, whatever rows is. */
    void (*panel)(int64_t rows, int64_t depth, const float *a, int64_t a_stride, const float *b,
                  float *c, int64_t c_stride, int add);
    void (*widen)(const uint16_t *from, float *to, int64_t count); /* bf16 -> f32 */
    /* to[rows, count] = from[rows, count], both f32, rows apart by their strides. */
    void (*copy_rows)(int64_t rows, int64_t count, const float *from, int64_t from_stride,
                      float *to, int64_t to_stride);
    /* y[rows, columns] = round(act(c + bias)); bias may be NULL; y f32 or bf16. */
    void (*finish)(int64_t rows, int64_t columns, const float *c, int64_t c_stride,
                   const float *bias, lt_activation activation, void *y, lt_dtype y_dtype,
                   int64_t y_stride);
    /* One row's softmax step over count logits p: p becomes e^(scale*p - m'), *m and *sum follow,
     * out[width] is scaled by e^(m - m'). count may be 0. */
    void (*softmax)(float *p, int64_t count, float scale, float *m, float *sum, float *out,
                    int64_t width);
    /* y[count] = round(o * factor) */
    void (*scale_out)(const float *o, float factor, int64_t count, void *y, lt_dtype y_dtype);
    /* sums[c] = sum over rows of x[r][c], or of (x[r][c] - mean[c])^2 unless mean is NULL. */
    void (*column_sums)(int64_t rows, int64_t columns, const float *x, const float *mean,
                        float *sums);
    /* y[r][c] = act((x[r][c] - mean[c]) * factor[c] + bias[c]); all dense. */
    void (*column_affine)(int64_t rows, int64_t columns, const float *x, const float *mean,
                          const float *factor, const float *bias, lt_activation activation,
                          float *y);
    /* Anti-aliased snake on one tile; see audio.c. */
    void (*snake_tile)(const lt_cpu_snake *tile);
    /* Row kernels: rows [first, first + count) of op's out[0]. NULL where an op is no row kernel.
     */
    void (*rows[LT_OP_COUNT])(const lt_op *op, int64_t first, int64_t count);
} lt_cpu_isa;

extern const lt_cpu_isa lt_cpu_isa_plain, lt_cpu_isa_avx2, lt_cpu_isa_avx512;

/* The table in use; the widest that this machine can run unless lt_cpu_isa_set chose another. */
const lt_cpu_isa *lt_cpu_isa_now(void);
/* "plain", "avx2", "avx512" or "auto", for tests and benches. Layers prepared before keep the old
 * packing and must not be used after. Errors: LT_EUNAVAIL. */
lt_status lt_cpu_isa_set(const char *name);
/* 1 where the CPU multiplies bf16 natively (avx512_bf16 or AMX) and this build can use it. */
int lt_cpu_has_bf16(void);

int lt_cpu_threads(void);
void lt_cpu_threads_set(int threads);

/* Thread-local scratch: reserve (outside of parallel regions) makes at least `bytes` for each
 * thread, get gives thread's part, 64-aligned. Reserve grows, so steady state allocates nothing.
 * The shared part is one more buffer, for what threads fill together. Errors: LT_ENOMEM. */
lt_status lt_cpu_scratch_reserve(size_t bytes);
void *lt_cpu_scratch_get(int thread);
lt_status lt_cpu_shared_reserve(size_t bytes, void **out);
void lt_cpu_scratch_free(void);

/* How many threads for `tasks` independent ones of about `cost` elementary steps each: 1 where
 * waking the others costs more than it saves. */
int lt_cpu_team(int64_t tasks, double cost);
/* From here on 1 on the calling thread, whose kernels run beside the main thread's. */
void lt_cpu_run_alone(void);

/* The product behind linear and conv (gemm.c). packed is [panel][depth][tile_columns] of dtype. */
typedef struct lt_cpu_weights {
    int64_t depth, columns;
    lt_dtype dtype; /* LT_F32 or LT_BF16 */
    const void *packed;
    const float *bias; /* [columns] or NULL */
} lt_cpu_weights;

size_t lt_cpu_packed_bytes(int64_t depth, int64_t columns, lt_dtype dtype);
/* Fill packed from a matrix read by (column c, depth k) at from[c * column_stride + k *
 * depth_stride], elements of from_dtype; depth [0, depth). */
void lt_cpu_pack(int64_t depth, int64_t columns, const void *from, lt_dtype from_dtype,
                 int64_t column_stride, int64_t depth_stride, lt_dtype dtype, void *packed);
/* Accumulate c[rows, columns] (stride c_stride, tile-padded) for columns [first, first + count) of
 * w, one block of depth: a [rows, depth_count] f32. first is a multiple of tile_columns. */
void lt_cpu_gemm_block(const lt_cpu_weights *w, lt_range columns, lt_range depth, int64_t rows,
                       const float *a, float *b_scratch, float *c, int64_t c_stride);
/* Columns of a task: as many as fit, fewer where there would be less than two tasks a thread. */
int64_t lt_cpu_column_step(int64_t columns, int64_t row_blocks);

/* Kernels with drivers of their own, and what they reserve. */
lt_scratch lt_cpu_linear_scratch(const lt_op *op);
lt_scratch lt_cpu_attention_scratch(const lt_op *op);
lt_scratch lt_cpu_snake_aa_scratch(const lt_op *op);
lt_scratch lt_cpu_group_norm_scratch(const lt_op *op);
lt_status lt_cpu_linear(const lt_op *op);
lt_status lt_cpu_conv(const lt_op *op);
lt_status lt_cpu_attention(const lt_op *op);
lt_status lt_cpu_snake_aa(const lt_op *op);
lt_status lt_cpu_group_norm(const lt_op *op);
lt_status lt_cpu_pad_reflect(const lt_op *op);
lt_status lt_cpu_rows(const lt_op *op); /* all row kernels */

/* Backend members. */
void lt_cpu_describe(int device, lt_device *out);
lt_scratch lt_cpu_op_scratch(const lt_op *op);
size_t lt_cpu_linear_bytes(const lt_linear_spec *spec);
lt_status lt_cpu_linear_prepare(const lt_linear_spec *spec, void *memory, lt_linear **out);
void lt_cpu_linear_release(lt_linear **linear);
size_t lt_cpu_conv_bytes(const lt_conv_spec *spec);
lt_status lt_cpu_conv_prepare(const lt_conv_spec *spec, void *memory, lt_conv **out);
void lt_cpu_conv_release(lt_conv **conv);

#endif
