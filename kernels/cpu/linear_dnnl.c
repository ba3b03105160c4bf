/* linear_dnnl.c - linear layers by oneDNN's matmul with packed weights.
 *
 * Used where it wins: bf16 on CPUs with avx512_bf16 or AMX (twice the f32 speed or more; in f32 the
 * product of gemm.c is as fast and its bits do not depend on row and thread counts: bench/LOG.md).
 * A primitive always sees ROWS rows and one block of columns, and was made for one thread; threads
 * take different blocks. Its f32 result lands in scratch; bias, activation and the one rounding are
 * ours. Source of the API: developer guides of oneDNN 2.6 and 3.7, "Matrix Multiplication". */
#include "kernels/cpu/linear_dnnl.h"

#include <assert.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cpu/cpu.h"

enum { ROWS = 128, COLUMNS = 512, STREAMS_MAX = 1024 };

/* oneDNN 2 and 3 (Debian 12 and 13) differ in what holds a tensor's description: in 2 it is a value
 * without an end, in 3 a pointer that its maker destroys. lent is what calls take; lend,
 * describe, undescribe and matmul_desc hide the rest. */
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t lent;
#else
typedef const dnnl_memory_desc_t *lent;
#endif

typedef struct dnnl_block {
    dnnl_primitive_t primitive;
    lent weights, scratchpad; /* owned by desc */
    dnnl_primitive_desc_t desc;
    lt_range columns;
    void *packed;
} dnnl_block;

struct lt_cpu_dnnl {
    int64_t in, out, blocks;
    size_t scratchpad_bytes;
    lt_dtype compute;
    dnnl_block *block;
};

static dnnl_engine_t engine;
static dnnl_stream_t streams[STREAMS_MAX];
static int forced;

static lt_status check(dnnl_status_t st, const char *what)
{
    if (st != dnnl_success)
        LT_FAIL(LT_EDEVICE, "oneDNN: %s failed with status %d", what, (int)st);
    return LT_OK;
}

#define DNNL(call) LT_TRY(check((call), #call))

static dnnl_data_type_t type_of(lt_dtype dtype)
{
    assert(dtype == LT_F32 || dtype == LT_BF16);
    return dtype == LT_F32 ? dnnl_f32 : dnnl_bf16;
}

#if DNNL_VERSION_MAJOR >= 3
static lent lend(const dnnl_memory_desc_t *md) { return *md; }

static void undescribe(dnnl_memory_desc_t *md) { (void)dnnl_memory_desc_destroy(*md); }

static dnnl_status_t describe(dnnl_memory_desc_t *md, int64_t rows, int64_t columns,
                              dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    const dnnl_dims_t dims = {rows, columns};
    return dnnl_memory_desc_create_with_tag(md, 2, dims, type, tag);
}

static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *out, lent a, lent b, lent c,
                                 const_dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(out, engine, a, b, NULL, c, attr);
}
#else
static lent lend(const dnnl_memory_desc_t *md) { return md; }

static void undescribe(dnnl_memory_desc_t *md) { (void)md; }

/* dims as the array of DNNL_MAX_NDIMS that the header declares. */
static dnnl_status_t describe(dnnl_memory_desc_t *md, int64_t rows, int64_t columns,
                              dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    const dnnl_dims_t dims = {rows, columns};
    return dnnl_memory_desc_init_by_tag(md, 2, dims, type, tag);
}

static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *out, lent a, lent b, lent c,
                                 const_dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t matmul;
    const dnnl_status_t st = dnnl_matmul_desc_init(&matmul, a, b, NULL, c);
    return st != dnnl_success ? st : dnnl_primitive_desc_create(out, &matmul, attr, engine, NULL);
}
#endif

static lt_status start(void)
{
    if (engine == NULL)
        DNNL(dnnl_engine_create(&engine, dnnl_cpu, 0));
    for (int t = 0; t < lt_cpu_threads(); t++)
        if (streams[t] == NULL)
            DNNL(dnnl_stream_create(&streams[t], engine, dnnl_stream_default_flags));
    return LT_OK;
}

/* The description of one block's product; made for one thread. */
static lt_status block_desc(int64_t in, int64_t columns, lt_dtype compute,
                            dnnl_primitive_desc_t *out)
{
    dnnl_memory_desc_t a = {0}, b = {0}, c = {0};
    dnnl_primitive_attr_t attr = NULL;
    LT_TRY(start());
    dnnl_status_t st = describe(&a, ROWS, in, type_of(compute), dnnl_ab);
    if (st == dnnl_success)
        st = describe(&b, in, columns, type_of(compute), dnnl_format_tag_any);
    if (st == dnnl_success)
        st = describe(&c, ROWS, columns, dnnl_f32, dnnl_ab);
    if (st == dnnl_success)
        st = dnnl_primitive_attr_create(&attr);
    if (st == dnnl_success)
        st = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    const int before = omp_get_max_threads();
    omp_set_num_threads(1);
    if (st == dnnl_success)
        st = matmul_desc(out, lend(&a), lend(&b), lend(&c), attr);
    omp_set_num_threads(before);
    (void)dnnl_primitive_attr_destroy(attr);
    undescribe(&a);
    undescribe(&b);
    undescribe(&c);
    return check(st, "describing a product");
}

/* oneDNN may be held to an older instruction set than the CPU has: ask it, once. */
static int native_bf16(void)
{
    static int answer = -1;
    if (!lt_cpu_has_bf16()) /* may change: lt_cpu_isa_set */
        return 0;
    if (answer < 0) {
        dnnl_primitive_desc_t desc = NULL;
        answer = block_desc(64, 64, LT_BF16, &desc) == LT_OK;
        if (desc != NULL)
            (void)dnnl_primitive_desc_destroy(desc);
        if (!answer)
            lt_error_clear();
    }
    return answer;
}

void lt_cpu_dnnl_force(int on) { forced = on; }

int lt_cpu_dnnl_takes(const lt_linear_spec *spec)
{
    if (spec->in == 0 || spec->out == 0)
        return 0;
    return forced || (spec->compute == LT_BF16 && native_bf16());
}

static size_t round_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

static int64_t blocks_of(int64_t out) { return (out + COLUMNS - 1) / COLUMNS; }

static lt_range columns_of(int64_t out, int64_t block)
{
    const int64_t left = out - block * COLUMNS;
    return (lt_range){block * COLUMNS, left < COLUMNS ? left : COLUMNS};
}

size_t lt_cpu_dnnl_bytes(const lt_linear_spec *spec)
{
    const int64_t blocks = blocks_of(spec->out);
    size_t bytes = 0;
    for (int64_t b = 0; b < blocks; b++) {
        if (b > 0 && b < blocks - 1) { /* as the first one */
            bytes += bytes / (size_t)b;
            continue;
        }
        dnnl_primitive_desc_t desc = NULL;
        const lt_range columns = columns_of(spec->out, b);
        if (block_desc(spec->in, columns.count, spec->compute, &desc) != LT_OK)
            return 0; /* prepare will say why */
        bytes += round_up(dnnl_memory_desc_get_size(
            dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0)));
        (void)dnnl_primitive_desc_destroy(desc);
    }
    return bytes;
}

/* Reorder (and cast) columns of the caller's [out, in] weights into block->packed. */
static lt_status block_pack(const lt_linear_spec *spec, dnnl_block *block)
{
    dnnl_memory_desc_t plain = {0};
    dnnl_memory_t from = NULL, to = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t reorder = NULL;
    const size_t skip =
        (size_t)(block->columns.first * spec->in) * lt_dtype_bytes(spec->weights_dtype);
    char *weights = (char *)(uintptr_t)spec->weights + skip;
    const dnnl_data_type_t type = type_of(spec->weights_dtype);
    dnnl_status_t st = describe(&plain, spec->in, block->columns.count, type, dnnl_ba);
    if (st == dnnl_success)
        st = dnnl_memory_create(&from, lend(&plain), engine, weights);
    if (st == dnnl_success)
        st = dnnl_memory_create(&to, block->weights, engine, block->packed);
    if (st == dnnl_success)
        st = dnnl_reorder_primitive_desc_create(&desc, lend(&plain), engine, block->weights, engine,
                                                NULL);
    if (st == dnnl_success)
        st = dnnl_primitive_create(&reorder, desc);
    if (st == dnnl_success) {
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
        st = dnnl_primitive_execute(reorder, streams[0], 2, args);
    }
    if (st == dnnl_success)
        st = dnnl_stream_wait(streams[0]);
    (void)dnnl_primitive_destroy(reorder);
    (void)dnnl_primitive_desc_destroy(desc);
    (void)dnnl_memory_destroy(from);
    (void)dnnl_memory_destroy(to);
    undescribe(&plain);
    return check(st, "packing weights");
}

static lt_status block_prepare(const lt_linear_spec *spec, dnnl_block *block)
{
    LT_TRY(block_desc(spec->in, block->columns.count, spec->compute, &block->desc));
    block->weights = dnnl_primitive_desc_query_md(block->desc, dnnl_query_weights_md, 0);
    block->scratchpad = dnnl_primitive_desc_query_md(block->desc, dnnl_query_scratchpad_md, 0);
    const int before = omp_get_max_threads();
    omp_set_num_threads(1);
    const dnnl_status_t st = dnnl_primitive_create(&block->primitive, block->desc);
    omp_set_num_threads(before);
    LT_TRY(check(st, "dnnl_primitive_create"));
    return block_pack(spec, block);
}

void lt_cpu_dnnl_release(lt_cpu_dnnl **dnnl)
{
    lt_cpu_dnnl *l = *dnnl;
    if (l != NULL) {
        for (int64_t b = 0; b < l->blocks; b++) {
            (void)dnnl_primitive_destroy(l->block[b].primitive);
            (void)dnnl_primitive_desc_destroy(l->block[b].desc);
        }
        free(l->block);
    }
    free(l);
    *dnnl = NULL;
}

lt_status lt_cpu_dnnl_prepare(const lt_linear_spec *spec, void *memory, lt_cpu_dnnl **out)
{
    char *at = memory;
    lt_cpu_dnnl *l = calloc(1, sizeof *l);
    if (l == NULL || (l->block = calloc((size_t)blocks_of(spec->out), sizeof *l->block)) == NULL) {
        free(l);
        LT_FAIL(LT_ENOMEM, "linear: no memory for a layer's description");
    }
    l->in = spec->in;
    l->out = spec->out;
    l->compute = spec->compute;
    l->blocks = blocks_of(spec->out);
    for (int64_t b = 0; b < l->blocks; b++) {
        dnnl_block *block = &l->block[b];
        block->columns = columns_of(spec->out, b);
        block->packed = at;
        const lt_status st = block_prepare(spec, block);
        if (st != LT_OK) {
            lt_cpu_dnnl_release(&l);
            return lt_error_trace(st, "block_prepare", __FILE__, __LINE__);
        }
        at += round_up(dnnl_memory_desc_get_size(block->weights));
        const size_t bytes = dnnl_memory_desc_get_size(block->scratchpad);
        l->scratchpad_bytes = bytes > l->scratchpad_bytes ? bytes : l->scratchpad_bytes;
    }
    *out = l;
    return LT_OK;
}

static dnnl_status_t execute(const dnnl_block *block, dnnl_stream_t stream, void *x, void *y,
                             void *pad)
{
    void *data[4] = {x, block->packed, y, pad};
    const lent md[4] = {
        dnnl_primitive_desc_query_md(block->desc, dnnl_query_src_md, 0), block->weights,
        dnnl_primitive_desc_query_md(block->desc, dnnl_query_dst_md, 0), block->scratchpad};
    dnnl_exec_arg_t args[4] = {{DNNL_ARG_SRC, NULL},
                               {DNNL_ARG_WEIGHTS, NULL},
                               {DNNL_ARG_DST, NULL},
                               {DNNL_ARG_SCRATCHPAD, NULL}};
    dnnl_status_t st = dnnl_success;
    for (int i = 0; i < 4 && st == dnnl_success; i++)
        st = dnnl_memory_create(&args[i].memory, md[i], engine, data[i]);
    if (st == dnnl_success)
        st = dnnl_primitive_execute(block->primitive, stream, 4, args);
    if (st == dnnl_success)
        st = dnnl_stream_wait(stream);
    for (int i = 0; i < 4; i++)
        (void)dnnl_memory_destroy(args[i].memory);
    return st;
}

static dnnl_status_t task(const lt_cpu_dnnl *l, const lt_op *op, const float *bias, lt_range rows,
                          const dnnl_block *block, int thread)
{
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    const size_t element = lt_dtype_bytes(x->dtype), width = (size_t)l->in * element;
    char *result = lt_cpu_scratch_get(thread), *copy = result + ROWS * COLUMNS * sizeof(float);
    char *pad = copy + round_up(ROWS * width);
    char *from = (char *)x->data + (size_t)(rows.first * x->row_stride) * element;
    omp_set_num_threads(1); /* of this thread's implicit task: oneDNN must not open a team */
    if (rows.count < ROWS || x->row_stride != l->in) {
        for (int64_t r = 0; r < ROWS; r++)
            if (r < rows.count)
                memcpy(copy + (size_t)r * width, from + (size_t)(r * x->row_stride) * element,
                       width);
            else
                memset(copy + (size_t)r * width, 0, width);
        from = copy;
    }
    const dnnl_status_t st = execute(block, streams[thread], from, result, pad);
    if (st != dnnl_success)
        return st;
    const int64_t n = block->columns.first, to = rows.first * y->row_stride + n;
    lt_cpu_isa_now()->finish(rows.count, block->columns.count, (const float *)(const void *)result,
                             block->columns.count, bias != NULL ? bias + n : NULL, op->activation,
                             (char *)y->data + (size_t)to * lt_dtype_bytes(y->dtype), y->dtype,
                             y->row_stride);
    return dnnl_success;
}

size_t lt_cpu_dnnl_scratch(int64_t in, lt_dtype compute)
{
    return ROWS * COLUMNS * sizeof(float) + round_up(ROWS * (size_t)in * lt_dtype_bytes(compute)) +
           64;
}

lt_status lt_cpu_dnnl_apply(const lt_cpu_dnnl *l, const lt_op *op, const float *bias)
{
    const int64_t rows = lt_row_count(&op->out[0]), row_blocks = (rows + ROWS - 1) / ROWS;
    const int64_t tasks = row_blocks * l->blocks;
    LT_TRY(start());
    LT_TRY(lt_cpu_scratch_reserve(lt_cpu_dnnl_scratch(l->in, op->in[0].dtype) +
                                  round_up(l->scratchpad_bytes)));
    int worst = dnnl_success;
#pragma omp parallel for schedule(dynamic, 1) reduction(max                                        \
                                                        : worst)                                   \
    num_threads(lt_cpu_team(tasks, (double)l->in *COLUMNS))
    for (int64_t i = 0; i < tasks; i++) {
        lt_range r = {i % row_blocks * ROWS, ROWS};
        r.count = rows - r.first < r.count ? rows - r.first : r.count;
        const int st = (int)task(l, op, bias, r, &l->block[i / row_blocks], omp_get_thread_num());
        worst = st > worst ? st : worst;
    }
    return check((dnnl_status_t)worst, "matmul");
}

const char *lt_cpu_dnnl_version(void)
{
    static char text[48];
    const dnnl_version_t *v = dnnl_version();
    (void)snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}
