/* attention_mma.cu - softmax attention in bf16 on tensor cores: mma.sync m16n8k16, ldmatrix,
 * cp.async. Heads of 64 and 128 channels, rows that begin at 16 bytes; attention.cu has the rest.
 *
 * Design. A block is QUERIES rows of one head, four warps of 16 rows. A warp keeps its queries as
 * A operands in registers, its 16 x D result in f32, and per row a running maximum m and sum l.
 * Keys and values come in tiles of KEYS, two stages in shared memory: while one is worked on, the
 * next is on its way.
 *
 *     queries -> stage 0 -> registers; tile 0 -> stage 0
 *     for each tile i:  tile i + 1 -> the other stage (cp.async), wait for tile i, barrier
 *         S = Q K^T       16 x KEYS a warp; keys that a row does not see: -inf
 *         m, l, P = 2^(S - m), rounded to bf16 (kernels.h allows it); result *= 2^(old m - m)
 *         result += P V   P's A operands are S's own registers, packed
 *         barrier
 *
 * Logits are in units of log 2: scale * log2(e) goes into one factor. A row of the stage is D + 8
 * elements, an odd number of 16 bytes, so that the eight rows of an ldmatrix lie in other banks.
 * Rows past the keys are zeros (cp.async of 0 bytes), so that nothing behind the end, NaN either,
 * takes part. A masked key of a tile that others see has weight 0: a NaN in its v would show.
 * Who works on a row, and in which order, goes by key numbers alone.
 *
 * Registers of a lane, g = lane / 4, t = lane % 4 (PTX ISA, m16n8k16):
 *     A  rows g, g + 8; columns 2t, 2t + 1, and 8 further     C  rows g, g + 8; columns 2t, 2t + 1
 *     B  k 2t, 2t + 1, and 8 further; column g */
#include "kernels/cuda/prims.cuh"

enum { QUERIES = 64, KEYS = 32, WARPS = 4, THREADS = WARPS * LT_WARP, PAD = 8, STAGES = 2 };

struct mma_args {
    const uint16_t *q, *k, *v;
    int64_t q_stride, k_stride, v_stride;
    view y;
    float *lse; /* [heads, queries] or NULL */
    int64_t queries, keys, heads, kv_heads, q_first;
    float factor; /* scale * log2(e) */
    int32_t causal;
};

LT_DEVICE int64_t seen_by(const mma_args &a, int64_t query)
{
    int64_t seen = a.causal ? query + a.q_first + 1 : a.keys;
    seen = seen < 0 ? 0 : seen;
    return seen < a.keys ? seen : a.keys;
}

/* `rows` rows of D elements from row `first` on into shared memory; zeros from row `limit` on. */
template <int D>
LT_DEVICE void fetch_rows(uint16_t *to, const uint16_t *from, int64_t stride, int64_t first,
                          int64_t limit, int rows)
{
    enum { PARTS = D / 8 };
    for (int i = (int)threadIdx.x; i < rows * PARTS; i += THREADS) {
        const int row = i / PARTS, part = i % PARTS;
        const int inside = first + row < limit;
        const uint16_t *source = from + (inside ? (first + row) * stride + part * 8 : 0);
        copy_async_16(to + row * (D + PAD) + part * 8, source, inside ? 16 : 0);
    }
}

template <int D> struct lane_state {
    uint32_t q[D / 16][4];
    float acc[D / 8][4];
    float m[2], l[2]; /* rows g and g + 8 */
};

/* S of a warp's 16 rows and the tile's KEYS. */
template <int D>
LT_DEVICE void logits(const lane_state<D> &s, const uint16_t *k, float (&c)[KEYS / 8][4])
{
    const int lane = (int)threadIdx.x % LT_WARP;
    LT_UNROLL
    for (int n = 0; n < KEYS / 8; n++)
        LT_UNROLL
    for (int i = 0; i < 4; i++)
        c[n][i] = 0;
    LT_UNROLL
    for (int n = 0; n < KEYS / 16; n++) {
        const int row = n * 16 + lane % 8 + lane / 16 * 8, column = lane / 8 % 2 * 8;
        LT_UNROLL
        for (int d = 0; d < D / 16; d++) {
            uint32_t b[4];
            load_matrices(b, k + row * (D + PAD) + d * 16 + column);
            multiply(c[2 * n], s.q[d], b[0], b[1]);
            multiply(c[2 * n + 1], s.q[d], b[2], b[3]);
        }
    }
}

/* Weights of the tile from key k0 on into c; m, l and the result follow. */
template <int D>
LT_DEVICE void weights(const mma_args &a, lane_state<D> &s, const int64_t (&seen)[2], int64_t k0,
                       float (&c)[KEYS / 8][4])
{
    const int column = (int)threadIdx.x % 4 * 2;
    LT_UNROLL
    for (int r = 0; r < 2; r++) {
        const int64_t left = seen[r] - k0;
        float most = s.m[r];
        LT_UNROLL
        for (int n = 0; n < KEYS / 8; n++)
            LT_UNROLL
        for (int i = 0; i < 2; i++) {
            float &x = c[n][2 * r + i];
            x = n * 8 + column + i < left ? x * a.factor : -INFINITY;
            most = larger(most, x);
        }
        most = larger(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = larger(most, __shfl_xor_sync(0xffffffffu, most, 2));
        const float base = most == -INFINITY ? 0.0f : most; /* nothing seen: all weights are 0 */
        const float old = power_of_two(s.m[r] - base);
        float sum = 0;
        LT_UNROLL
        for (int n = 0; n < KEYS / 8; n++)
            LT_UNROLL
        for (int i = 0; i < 2; i++) {
            c[n][2 * r + i] = power_of_two(c[n][2 * r + i] - base);
            sum += c[n][2 * r + i];
        }
        s.l[r] = s.l[r] * old + sum; /* of this lane's keys: lanes meet at the end */
        s.m[r] = most;
        LT_UNROLL
        for (int n = 0; n < D / 8; n++) {
            s.acc[n][2 * r] *= old;
            s.acc[n][2 * r + 1] *= old;
        }
    }
}

template <int D>
LT_DEVICE void add_values(lane_state<D> &s, const uint16_t *v, const float (&c)[KEYS / 8][4])
{
    const int lane = (int)threadIdx.x % LT_WARP;
    LT_UNROLL
    for (int j = 0; j < KEYS / 16; j++) {
        const uint32_t p[4] = {pack_bf16(c[2 * j][0], c[2 * j][1]),
                               pack_bf16(c[2 * j][2], c[2 * j][3]),
                               pack_bf16(c[2 * j + 1][0], c[2 * j + 1][1]),
                               pack_bf16(c[2 * j + 1][2], c[2 * j + 1][3])};
        const int row = j * 16 + lane % 16, column = lane / 16 * 8;
        LT_UNROLL
        for (int n = 0; n < D / 16; n++) {
            uint32_t b[4];
            load_matrices_transposed(b, v + row * (D + PAD) + n * 16 + column);
            multiply(s.acc[2 * n], p, b[0], b[1]);
            multiply(s.acc[2 * n + 1], p, b[2], b[3]);
        }
    }
}

template <int D> LT_DEVICE void start(lane_state<D> &s, const uint16_t *queries)
{
    const int lane = (int)threadIdx.x % LT_WARP, warp = (int)threadIdx.x / LT_WARP;
    const int row = warp * 16 + lane % 16, column = lane / 16 * 8;
    LT_UNROLL
    for (int d = 0; d < D / 16; d++)
        load_matrices(s.q[d], queries + row * (D + PAD) + d * 16 + column);
    LT_UNROLL
    for (int r = 0; r < 2; r++) {
        s.m[r] = -INFINITY;
        s.l[r] = 0;
    }
    LT_UNROLL
    for (int n = 0; n < D / 8; n++)
        LT_UNROLL
    for (int i = 0; i < 4; i++)
        s.acc[n][i] = 0;
}

template <int D>
LT_DEVICE void finish(const mma_args &a, lane_state<D> &s, const int64_t (&seen)[2], int64_t row,
                      int64_t head)
{
    const int t = (int)threadIdx.x % 4;
    LT_UNROLL
    for (int r = 0; r < 2; r++) {
        float sum = s.l[r] + __shfl_xor_sync(0xffffffffu, s.l[r], 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        const int64_t query = row + 8 * r;
        if (query >= a.queries)
            continue;
        const float over = seen[r] > 0 ? 1.0f / sum : 0.0f;
        LT_UNROLL
        for (int n = 0; n < D / 8; n++)
            LT_UNROLL
        for (int i = 0; i < 2; i++)
            put(a.y, query, head * D + n * 8 + t * 2 + i, s.acc[n][2 * r + i] * over);
        if (a.lse != NULL && t == 0)
            a.lse[head * a.queries + query] =
                seen[r] > 0 ? s.m[r] * 0.6931471806f + logf(sum) : -INFINITY;
    }
}

template <int D> __global__ void __launch_bounds__(THREADS, 2) attend_mma(const mma_args a)
{
    enum { TILE = KEYS * (D + PAD), STAGE = 2 * TILE };
    LT_DYNAMIC(uint16_t, stages); /* STAGES of k and v; at first the queries */
    const int64_t q0 = (int64_t)blockIdx.x * QUERIES, head = blockIdx.y;
    const int64_t kv_first = head / (a.heads / a.kv_heads) * D;
    const int64_t last = q0 + QUERIES < a.queries ? q0 + QUERIES - 1 : a.queries - 1;
    const int64_t most_seen = seen_by(a, last);
    const int64_t row = q0 + (int64_t)(threadIdx.x / LT_WARP) * 16 + threadIdx.x % LT_WARP / 4;
    const int64_t seen[2] = {row < a.queries ? seen_by(a, row) : 0,
                             row + 8 < a.queries ? seen_by(a, row + 8) : 0};
    lane_state<D> s;
    fetch_rows<D>(stages, a.q + head * D, a.q_stride, q0, a.queries, QUERIES);
    copy_commit();
    copy_wait<0>();
    __syncthreads();
    start<D>(s, stages);
    __syncthreads();
    for (int64_t k0 = -KEYS; k0 < most_seen; k0 += KEYS) {
        const int64_t next = k0 + KEYS;
        uint16_t *to = stages + next / KEYS % STAGES * STAGE;
        if (next < most_seen) {
            fetch_rows<D>(to, a.k + kv_first, a.k_stride, next, a.keys, KEYS);
            fetch_rows<D>(to + TILE, a.v + kv_first, a.v_stride, next, a.keys, KEYS);
        }
        copy_commit();
        if (k0 < 0)
            continue;
        copy_wait<1>(); /* all but the newest: tile k0 is here */
        __syncthreads();
        const uint16_t *k = stages + k0 / KEYS % STAGES * STAGE;
        float c[KEYS / 8][4];
        logits<D>(s, k, c);
        weights<D>(a, s, seen, k0, c);
        add_values<D>(s, k + TILE, c);
        __syncthreads(); /* this stage may be filled again */
    }
    finish<D>(a, s, seen, row, head);
}

template <int D> static lt_status launch_mma(lt_cuda_queue *q, const mma_args &a)
{
    const size_t shared = STAGES * 2 * KEYS * (D + PAD) * sizeof(uint16_t);
    const dim3 grid((unsigned)((a.queries + QUERIES - 1) / QUERIES), (unsigned)a.heads);
    LT_LAUNCH(attend_mma<D>, grid, dim3(THREADS), shared, q->stream, a);
    return lt_cuda_try("attention", cudaGetLastError());
}

int lt_cuda_attention_is_mma(const lt_op *op)
{
    const int64_t width = op->heads > 0 ? lt_row_width(&op->in[0]) / op->heads : 0;
    for (int i = 0; i < 3; i++)
        if (op->in[i].dtype != LT_BF16 || !view_of(&op->in[i]).wide)
            return 0;
    return (width == 64 || width == 128) && lt_row_count(&op->in[1]) > 0;
}

lt_status lt_cuda_attention_mma(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *x = op->in, *lse = &op->out[1];
    const mma_args a = {(const uint16_t *)x[0].data,
                        (const uint16_t *)x[1].data,
                        (const uint16_t *)x[2].data,
                        x[0].row_stride,
                        x[1].row_stride,
                        x[2].row_stride,
                        view_of(&op->out[0]),
                        lse->ndim != 0 ? (float *)lse->data : NULL,
                        lt_row_count(&x[0]),
                        lt_row_count(&x[1]),
                        op->heads,
                        op->kv_heads,
                        op->q_first,
                        op->a * 1.4426950409f,
                        op->causal};
    return lt_row_width(&x[0]) / op->heads == 64 ? launch_mma<64>(q, a) : launch_mma<128>(q, a);
}
