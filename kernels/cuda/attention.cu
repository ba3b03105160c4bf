/* attention.cu - softmax attention for any head width, f32 or bf16, and the merge of partial
 * results. attention_mma.cu takes what it can of bf16; the rest comes here.
 *
 * Design. A block is QUERIES rows of one head: eight warps of ROWS rows each. Keys come in tiles of
 * 32, a lane a key for the logits, a lane a channel for the result:
 *
 *     for each tile of keys
 *         for each slice of 32 channels: q and k slices to shared memory; s[row] += q . k
 *         running maximum m, weights p = e^(s - m), running sum l      (one value a lane, shuffles)
 *         for each slice of 32 channels of v: acc[row][slice] += p_j v_j, key after key
 *
 * A warp keeps SLICES x ROWS results a lane. Heads wider than SLICES * 32 = 256 go in several
 * blocks (blockIdx.z), each of which makes the logits again. A key that a row does not see takes no
 * part in that row's sums, so that nothing in it, NaN either, shows. The order of a row's sums goes
 * by key numbers alone. */
#include "kernels/cuda/prims.cuh"

enum {
    TILE = LT_WARP,
    ROWS = 4,
    ATTENTION_WARPS = 8,
    QUERIES = ROWS * ATTENTION_WARPS,
    SLICES_MAX = 8
};

struct attention_args {
    view q, k, v, y;
    float *lse; /* [heads, queries] or NULL */
    int64_t queries, keys, heads, kv_heads, width, q_first;
    float scale;
    int32_t causal;
};

struct attention_tile {
    float q[QUERIES][TILE], kv[TILE][TILE + 1];
};

/* How many keys query i sees. */
LT_DEVICE int64_t keys_seen(const attention_args &a, int64_t query)
{
    if (query >= a.queries)
        return 0;
    int64_t seen = a.causal ? query + a.q_first + 1 : a.keys;
    seen = seen < 0 ? 0 : seen;
    return seen < a.keys ? seen : a.keys;
}

/* rows x TILE of x from (row, column) on; zeros past `rows_left` and past the head. */
template <int STRIDE>
LT_DEVICE void fetch(const view &x, int64_t row, int64_t rows_left, int rows, int64_t column,
                     int64_t columns_left, float (*to)[STRIDE])
{
    for (int i = (int)threadIdx.y; i < rows; i += ATTENTION_WARPS)
        to[i][threadIdx.x] = i < rows_left && (int64_t)threadIdx.x < columns_left
                                 ? get(x, row + i, column + threadIdx.x)
                                 : 0.0f;
}

/* A warp's logits of the tile from key k0 on, its lane's key. */
LT_DEVICE void logits_of(const attention_args &a, attention_tile &t, int64_t q0, int64_t k0,
                         int64_t q_column, int64_t kv_column, float (&s)[ROWS])
{
    LT_UNROLL
    for (int r = 0; r < ROWS; r++)
        s[r] = 0;
    for (int64_t c = 0; c < a.width; c += TILE) {
        __syncthreads();
        fetch<TILE>(a.q, q0, a.queries - q0, QUERIES, q_column + c, a.width - c, t.q);
        fetch<TILE + 1>(a.k, k0, a.keys - k0, TILE, kv_column + c, a.width - c, t.kv);
        __syncthreads();
        for (int d = 0; d < TILE; d++) {
            const float k = t.kv[threadIdx.x][d];
            LT_UNROLL
            for (int r = 0; r < ROWS; r++)
                s[r] = fmaf(t.q[threadIdx.y * ROWS + r][d], k, s[r]);
        }
    }
}

/* One tile's weights into s; m, l and acc follow. */
template <int SLICES>
LT_DEVICE void weigh(const attention_args &a, const int64_t (&seen)[ROWS], int64_t k0,
                     float (&s)[ROWS], float (&m)[ROWS], float (&l)[ROWS],
                     float (&acc)[ROWS][SLICES])
{
    LT_UNROLL
    for (int r = 0; r < ROWS; r++) {
        const bool sees = k0 + threadIdx.x < seen[r];
        s[r] = sees ? s[r] * a.scale : -INFINITY;
        const float most = larger(m[r], warp_max(s[r]));
        if (most == -INFINITY) { /* nothing seen so far: the whole warp agrees */
            s[r] = 0;
            continue;
        }
        const float old = expf(m[r] - most);
        s[r] = sees ? expf(s[r] - most) : 0.0f;
        l[r] = l[r] * old + warp_sum(s[r]);
        m[r] = most;
        LT_UNROLL
        for (int i = 0; i < SLICES; i++)
            acc[r][i] *= old;
    }
}

template <int SLICES>
LT_DEVICE void add_values(const attention_args &a, attention_tile &t, int64_t k0, int64_t column,
                          int64_t columns_left, const int64_t (&seen)[ROWS], const float (&s)[ROWS],
                          float (&acc)[ROWS][SLICES])
{
    LT_UNROLL
    for (int i = 0; i < SLICES; i++) {
        __syncthreads();
        fetch<TILE + 1>(a.v, k0, a.keys - k0, TILE, column + i * TILE, columns_left - i * TILE,
                        t.kv);
        __syncthreads();
        LT_UNROLL
        for (int r = 0; r < ROWS; r++) {
            const int64_t left = seen[r] - k0;
            LT_ROLLED
            for (int j = 0; j < TILE; j++) {
                const float p = __shfl_sync(0xffffffffu, s[r], j);
                if (j < left)
                    acc[r][i] = fmaf(p, t.kv[j][threadIdx.x], acc[r][i]);
            }
        }
    }
}

template <int SLICES> __global__ void __launch_bounds__(LT_BLOCK, 1) attend(const attention_args a)
{
    LT_SHARED(attention_tile, tile);
    const int64_t q0 = (int64_t)blockIdx.x * QUERIES, head = blockIdx.y;
    const int64_t kv_head = head / (a.heads / a.kv_heads);
    const int64_t first = (int64_t)blockIdx.z * SLICES * TILE; /* channels of this block */
    const int64_t last = q0 + QUERIES < a.queries ? q0 + QUERIES - 1 : a.queries - 1;
    const int64_t most_seen = keys_seen(a, last); /* later queries see no fewer */
    int64_t seen[ROWS];
    float m[ROWS], l[ROWS], acc[ROWS][SLICES];
    LT_UNROLL
    for (int r = 0; r < ROWS; r++) {
        seen[r] = keys_seen(a, q0 + threadIdx.y * ROWS + r);
        m[r] = -INFINITY;
        l[r] = 0;
        LT_UNROLL
        for (int i = 0; i < SLICES; i++)
            acc[r][i] = 0;
    }
    for (int64_t k0 = 0; k0 < most_seen; k0 += TILE) {
        float s[ROWS];
        logits_of(a, tile, q0, k0, head * a.width, kv_head * a.width, s);
        weigh<SLICES>(a, seen, k0, s, m, l, acc);
        add_values<SLICES>(a, tile, k0, kv_head * a.width + first, a.width - first, seen, s, acc);
    }
    LT_UNROLL
    for (int r = 0; r < ROWS; r++) {
        const int64_t query = q0 + threadIdx.y * ROWS + r;
        if (query >= a.queries)
            continue;
        LT_UNROLL
        for (int i = 0; i < SLICES; i++) {
            const int64_t column = first + i * TILE + threadIdx.x;
            if (column < a.width)
                put(a.y, query, head * a.width + column, seen[r] > 0 ? acc[r][i] / l[r] : 0.0f);
        }
        if (a.lse != NULL && threadIdx.x == 0 && blockIdx.z == 0)
            a.lse[head * a.queries + query] = seen[r] > 0 ? m[r] + logf(l[r]) : -INFINITY;
    }
}

lt_status lt_cuda_attention(lt_cuda_queue *q, const lt_op *op)
{
    int is_done = 0;
    if (lt_cuda.planned != NULL)
        LT_TRY(lt_cuda.planned(q, op, &is_done));
    return is_done ? LT_OK : lt_cuda_attention_own(q, op);
}

lt_status lt_cuda_attention_own(lt_cuda_queue *q, const lt_op *op)
{
    enum { GRID_MAX = 65535 };
    const lt_tensor *qx = &op->in[0], *y = &op->out[0], *lse = &op->out[1];
    const int64_t width = lt_row_width(qx) / op->heads;
    const attention_args a = {view_of(qx),
                              view_of(&op->in[1]),
                              view_of(&op->in[2]),
                              view_of(y),
                              lse->ndim != 0 ? (float *)lse->data : NULL,
                              lt_row_count(qx),
                              lt_row_count(&op->in[1]),
                              op->heads,
                              op->kv_heads,
                              width,
                              op->q_first,
                              op->a,
                              op->causal};
    const int64_t slices = (width + TILE - 1) / TILE, deep = (slices + SLICES_MAX - 1) / SLICES_MAX;
    if (op->heads <= GRID_MAX && lt_cuda_attention_is_mma(op))
        return lt_cuda_attention_mma(q, op);
    if (op->heads > GRID_MAX || deep > GRID_MAX)
        LT_FAIL(LT_EUNAVAIL, "attention: want at most %d heads, found %lld of %lld", (int)GRID_MAX,
                (long long)op->heads, (long long)width);
    const dim3 grid((unsigned)((a.queries + QUERIES - 1) / QUERIES), (unsigned)op->heads,
                    (unsigned)deep);
    const dim3 block(LT_WARP, ATTENTION_WARPS);
    if (slices <= 2)
        LT_LAUNCH(attend<2>, grid, block, 0, q->stream, a);
    else if (slices <= 4)
        LT_LAUNCH(attend<4>, grid, block, 0, q->stream, a);
    else
        LT_LAUNCH(attend<SLICES_MAX>, grid, block, 0, q->stream, a);
    return lt_cuda_try("attention", cudaGetLastError());
}

/* ---- merge ---- */

struct merge_op {
    view y2, y;
    const float *lse2, *lse; /* [heads, rows] */
    int64_t rows, width;     /* of a head */

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK], v2[LT_CHUNK];
        load(y, row, column, left, v);
        load(y2, row, column, left, v2);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++) {
            if (i >= left)
                continue;
            const int64_t at_lse = (column + i) / width * rows + row;
            const float l1 = lse[at_lse], l2 = lse2[at_lse];
            if (l2 == -INFINITY)
                continue; /* the merge's identity, also where neither has seen a key */
            const float most = larger(l1, l2);
            const float w1 = expf(l1 - most), w2 = expf(l2 - most);
            v[i] = (w1 * v[i] + w2 * v2[i]) / (w1 + w2);
        }
        store(y, row, column, left, v);
    }
};

/* Behind merge_op, which reads the old lse. */
struct merge_lse_op {
    const float *lse2;
    float *lse;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        (void)row;
        for (int i = 0; i < left; i++) {
            const float l1 = lse[column + i], l2 = lse2[column + i];
            if (l2 == -INFINITY)
                continue;
            const float most = larger(l1, l2);
            lse[column + i] = most + logf(expf(l1 - most) + expf(l2 - most));
        }
    }
};

lt_status lt_cuda_attention_merge(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *y = &op->out[0], *lse = &op->out[1];
    const float *lse2 = (const float *)op->in[1].data;
    const int64_t rows = lt_row_count(y), width = lt_row_width(y);
    const merge_op f = {view_of(&op->in[0]),      view_of(y), lse2,
                        (const float *)lse->data, rows,       width / op->heads};
    const merge_lse_op g = {lse2, (float *)lse->data};
    LT_TRY(launch_each(q, "attention_merge", f, rows, width));
    return launch_each(q, "attention_merge", g, 1, op->heads * rows);
}
