/* attention.c - tiled softmax attention with log-sum-exp.
 *
 * Design. Work goes head group by head group. First the threads pack the group's keys and values as
 * f32 panels, each key tile of LT_CPU_KEYS keys on its own:
 *     keys    [tile][key panel][D][tile_columns]    (transposed: a panel is some keys, all of D)
 *     values  [tile][D panel][key][tile_columns]
 * Then a task is one head's LT_CPU_ROWS queries. It walks the key tiles in ascending order:
 *     logits [rows, keys] = q k^T;  m, sum, out follow the running maximum;  out += e^(logit - m) v
 * and both products are the micro-kernel of gemm. A query's numbers depend on its own row and on
 * the tiles alone, which are counted from key 0; keys that causality hides weigh exactly 0. */
#include <assert.h>
#include <math.h>
#include <omp.h>

#include "kernels/cpu/cpu.h"

/* Packed heads at a time: as many as fit into this many bytes, at least one. */
#define GROUP_BYTES ((int64_t)64 << 20)

typedef struct attention_call {
    const lt_op *op;
    int64_t queries, keys, width, shared; /* shared: query heads a kv head */
    int64_t wide, wide_out;               /* tile_columns; D padded to it */
    int64_t tiles;                        /* of keys */
    int64_t head_floats; /* packed keys (and as many values are values_floats) of one head */
    int64_t values_floats;
    float *packed; /* kv heads [first_head, ...) of this group */
    int64_t first_head;
} attention_call;

static int64_t round_to(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

static float element(const lt_tensor *x, int64_t row, int64_t column)
{
    const int64_t at = row * x->row_stride + column;
    return x->dtype == LT_F32 ? ((const float *)x->data)[at]
                              : lt_bf16_to_f32(((const uint16_t *)x->data)[at]);
}

static void row_to_f32(const lt_tensor *x, int64_t row, int64_t first, int64_t count, float *to)
{
    const lt_cpu_isa *isa = lt_cpu_isa_now();
    const int64_t at = row * x->row_stride + first;
    if (x->dtype == LT_F32)
        isa->copy_rows(1, count, (const float *)x->data + at, 0, to, 0);
    else
        isa->widen((const uint16_t *)x->data + at, to, count);
}

/* Pack one key tile of one kv head (index within the group). */
static void pack_tile(const attention_call *a, int64_t head, int64_t tile)
{
    const lt_tensor *k = &a->op->in[1], *v = &a->op->in[2];
    const int64_t D = a->width, wide = a->wide, column = (a->first_head + head) * D;
    const int64_t first = tile * LT_CPU_KEYS;
    const int64_t n = a->keys - first < LT_CPU_KEYS ? a->keys - first : LT_CPU_KEYS;
    float *keys = a->packed + head * (a->head_floats + a->values_floats) + tile * LT_CPU_KEYS * D;
    float *values = a->packed + head * (a->head_floats + a->values_floats) + a->head_floats +
                    tile * LT_CPU_KEYS * a->wide_out;
    for (int64_t j = 0; j < round_to(n, wide); j++) {
        float *to = keys + j / wide * wide * D + j % wide;
        for (int64_t d = 0; d < D; d++)
            to[d * wide] = j < n ? element(k, first + j, column + d) : 0;
    }
    for (int64_t d = 0; d < a->wide_out; d += wide) {
        const int64_t count = D - d < wide ? D - d : wide;
        for (int64_t j = 0; j < n; j++) {
            float *to = values + d * n + j * wide;
            row_to_f32(v, first + j, column + d, count, to);
            for (int64_t i = count; i < wide; i++)
                to[i] = 0;
        }
    }
}

/* How many keys from 0 on query i sees. */
static int64_t seen_by(const attention_call *a, int64_t i)
{
    if (!a->op->causal)
        return a->keys;
    const int64_t seen = i + a->op->q_first + 1;
    return seen < 0 ? 0 : seen < a->keys ? seen : a->keys;
}

/* One key tile for `rows` queries from `first` on. */
static void tile_step(const attention_call *a, int64_t head, int64_t tile, int64_t first,
                      int64_t rows, const float *q, float *p, float *out, float *m, float *sum)
{
    const lt_cpu_isa *isa = lt_cpu_isa_now();
    const int64_t D = a->width, wide = a->wide, key = tile * LT_CPU_KEYS;
    const int64_t n = a->keys - key < LT_CPU_KEYS ? a->keys - key : LT_CPU_KEYS;
    const float *keys = a->packed + head * (a->head_floats + a->values_floats) + key * D;
    const float *values =
        a->packed + head * (a->head_floats + a->values_floats) + a->head_floats + key * a->wide_out;
    for (int64_t j = 0; j < n; j += wide)
        isa->panel(rows, D, q, D, keys + j * D, p + j, LT_CPU_KEYS, 0);
    for (int64_t r = 0; r < rows; r++) {
        int64_t seen = seen_by(a, first + r) - key;
        seen = seen < 0 ? 0 : seen < n ? seen : n;
        float *row = p + r * LT_CPU_KEYS;
        isa->softmax(row, seen, a->op->a, &m[r], &sum[r], out + r * a->wide_out, a->wide_out);
        for (int64_t j = seen; j < n; j++)
            row[j] = 0;
    }
    for (int64_t d = 0; d < a->wide_out; d += wide)
        isa->panel(rows, n, p, LT_CPU_KEYS, values + d * n, out + d, a->wide_out, 1);
}

/* One head's queries [first, first + rows). head is a query head; scratch as scratch_floats says.
 */
static void task(const attention_call *a, int64_t head, int64_t first, int64_t rows, float *scratch)
{
    const lt_op *op = a->op;
    const lt_tensor *y = &op->out[0], *lse = &op->out[1];
    const int64_t D = a->width, kv_head = head / a->shared - a->first_head;
    float *q = scratch, *p = q + LT_CPU_ROWS * round_to(D, 16);
    float *out = p + LT_CPU_ROWS * LT_CPU_KEYS, *m = out + LT_CPU_ROWS * a->wide_out;
    float *sum = m + LT_CPU_ROWS;
    for (int64_t r = 0; r < rows; r++) {
        row_to_f32(&op->in[0], first + r, head * D, D, q + r * D);
        m[r] = -INFINITY;
        sum[r] = 0;
    }
    memset(out, 0, (size_t)(rows * a->wide_out) * sizeof *out);
    const int64_t last = seen_by(a, first + rows - 1);
    for (int64_t t = 0; t * LT_CPU_KEYS < last; t++)
        tile_step(a, kv_head, t, first, rows, q, p, out, m, sum);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t at = (first + r) * y->row_stride + head * D;
        const int none = seen_by(a, first + r) == 0;
        lt_cpu_isa_now()->scale_out(out + r * a->wide_out, none ? 0 : 1 / sum[r], D,
                                    (char *)y->data + (size_t)at * lt_dtype_bytes(y->dtype),
                                    y->dtype);
        if (lse->ndim != 0)
            ((float *)lse->data)[head * lse->row_stride + first + r] =
                none ? -INFINITY : m[r] + logf(sum[r]);
    }
}

/* Pack and attend to kv heads [a->first_head, a->first_head + heads). */
static void run_group(const attention_call *a, int64_t heads)
{
    const int64_t blocks = (a->queries + LT_CPU_ROWS - 1) / LT_CPU_ROWS;
    const int64_t packs = heads * a->tiles, tasks = heads * a->shared * blocks;
    const double rows = (double)(a->queries < LT_CPU_ROWS ? a->queries : LT_CPU_ROWS);
    const int team = lt_cpu_team(tasks > packs ? tasks : packs,
                                 rows * (double)a->keys * (double)(a->width + 8) / 8);
#pragma omp parallel num_threads(team)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < packs; i++)
            pack_tile(a, i / a->tiles, i % a->tiles);
            /* Later queries see more keys when causal: they are handed out one by one. */
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < tasks; i++) {
            const int64_t first = i % blocks * LT_CPU_ROWS;
            const int64_t left = a->queries - first;
            task(a, a->first_head * a->shared + i / blocks, first,
                 left < LT_CPU_ROWS ? left : LT_CPU_ROWS, lt_cpu_scratch_get(omp_get_thread_num()));
        }
    }
}

static attention_call call_of(const lt_op *op)
{
    assert(op->heads > 0 && op->kv_heads > 0 && op->heads % op->kv_heads == 0);
    attention_call a = {
        .op = op, .queries = lt_row_count(&op->in[0]), .keys = lt_row_count(&op->in[1])};
    a.width = lt_row_width(&op->in[0]) / op->heads;
    a.shared = op->heads / op->kv_heads;
    a.wide = lt_cpu_isa_now()->tile_columns;
    a.wide_out = round_to(a.width, a.wide);
    a.tiles = (a.keys + LT_CPU_KEYS - 1) / LT_CPU_KEYS;
    a.head_floats = round_to(a.keys, a.wide) * a.width;
    a.values_floats = a.keys * a.wide_out;
    return a;
}

static int64_t head_bytes(const attention_call *a)
{
    return (a->head_floats + a->values_floats) * (int64_t)sizeof(float) + 1;
}

/* kv heads that are packed at a time */
static int64_t group_of(const attention_call *a)
{
    const int64_t group = GROUP_BYTES / head_bytes(a);
    return group < 1 ? 1 : group < a->op->kv_heads ? group : a->op->kv_heads;
}

lt_scratch lt_cpu_attention_scratch(const lt_op *op)
{
    const attention_call a = call_of(op);
    const int64_t floats =
        LT_CPU_ROWS * (round_to(a.width, 16) + LT_CPU_KEYS + a.wide_out + 2) + LT_CPU_TILE_MAX;
    return (lt_scratch){(size_t)(group_of(&a) * head_bytes(&a)), (size_t)floats * sizeof(float)};
}

lt_status lt_cpu_attention(const lt_op *op)
{
    attention_call a = call_of(op);
    if (a.queries == 0)
        return LT_OK;
    const int64_t group = group_of(&a);
    const lt_scratch scratch = lt_cpu_attention_scratch(op);
    void *packed = NULL;
    LT_TRY(lt_cpu_shared_reserve(scratch.shared_bytes, &packed));
    a.packed = packed;
    LT_TRY(lt_cpu_scratch_reserve(scratch.thread_bytes));
    for (; a.first_head < op->kv_heads; a.first_head += group) {
        const int64_t left = op->kv_heads - a.first_head;
        run_group(&a, left < group ? left : group);
    }
    return LT_OK;
}
