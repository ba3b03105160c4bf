/* norm.cu - norms of rows, adaLN, and the rotation of heads.
 *
 * Who sums a row goes by its width alone: a warp up to WARP_WIDTH, else a block of eight warps.
 * Each lane takes chunks of eight, lanes beside each other; the lanes' sums meet along a fixed
 * tree. A row is read twice, for the sum and for the result; the second time it is in L1 (21 KB of
 * f32 at 5,376). What a row needs of tables is picked by its index on the way.
 * Contracts and rounding places: kernels/kernels.h; sources: spec/minimax-h3.md 3.1, 4.4, 4.5. */
#include "kernels/cuda/prims.cuh"

enum { WARP_WIDTH = 2048, WARPS_MAX = LT_BLOCK / LT_WARP };

/* The sum over the row's threads; all of them call it. */
template <int WARPS> LT_DEVICE float row_sum(float v)
{
    v = warp_sum(v);
    if (WARPS == 1)
        return v;
    struct parts {
        float of_warp[WARPS_MAX];
    };
    LT_SHARED(parts, shared);
    __syncthreads(); /* the last sum has been read */
    if (threadIdx.x % LT_WARP == 0)
        shared.of_warp[threadIdx.x / LT_WARP] = v;
    __syncthreads();
    float sum = 0;
    LT_UNROLL
    for (int i = 0; i < WARPS; i++)
        sum += shared.of_warp[i];
    return sum;
}

template <int WARPS>
LT_DEVICE float sum_of_squares(const view &x, int64_t row, int64_t width, float mean)
{
    float sum = 0, v[LT_CHUNK];
    for (int64_t c = (int64_t)threadIdx.x * LT_CHUNK; c < width; c += WARPS * LT_WARP * LT_CHUNK) {
        const int left = width - c < LT_CHUNK ? (int)(width - c) : (int)LT_CHUNK;
        load(x, row, c, left, v);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            if (i < left) {
                const float d = v[i] - mean;
                sum = fmaf(d, d, sum);
            }
    }
    return row_sum<WARPS>(sum);
}

template <int WARPS> LT_DEVICE float row_mean(const view &x, int64_t row, int64_t width)
{
    float sum = 0, v[LT_CHUNK];
    for (int64_t c = (int64_t)threadIdx.x * LT_CHUNK; c < width; c += WARPS * LT_WARP * LT_CHUNK) {
        const int left = width - c < LT_CHUNK ? (int)(width - c) : (int)LT_CHUNK;
        load(x, row, c, left, v);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            sum += v[i];
    }
    return row_sum<WARPS>(sum) / (float)width;
}

LT_DEVICE float factor_of(float squares, int64_t width, float eps)
{
    return 1.0f / sqrtf(squares / (float)width + eps);
}

/* op.prepare<WARPS>(row) by all threads of a row, then op.at(row, column, left, prepared). */
template <int WARPS, class Op>
__global__ void __launch_bounds__(LT_BLOCK, 4) by_rows(const Op op, int64_t rows, int64_t width)
{
    const int64_t row = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) /* a whole warp; with WARPS > 1 there is no such block */
        return;
    const typename Op::prepared of_row = op.template prepare<WARPS>(row, width);
    for (int64_t c = (int64_t)threadIdx.x * LT_CHUNK; c < width; c += WARPS * LT_WARP * LT_CHUNK)
        op.at(row, c, width - c < LT_CHUNK ? (int)(width - c) : (int)LT_CHUNK, of_row);
}

template <class Op>
static lt_status launch_rows(lt_cuda_queue *q, const char *what, const Op &op, int64_t rows,
                             int64_t width)
{
    if (rows == 0 || width == 0)
        return LT_OK;
    if (width <= WARP_WIDTH) {
        const unsigned blocks = (unsigned)((rows + WARPS_MAX - 1) / WARPS_MAX);
        LT_LAUNCH((by_rows<1, Op>), dim3(blocks), dim3(LT_WARP, WARPS_MAX), 0, q->stream, op, rows,
                  width);
    } else {
        LT_LAUNCH((by_rows<WARPS_MAX, Op>), dim3((unsigned)rows), dim3(LT_BLOCK), 0, q->stream, op,
                  rows, width);
    }
    return lt_cuda_try(what, cudaGetLastError());
}

/* ---- rms_norm ---- */

struct rms_norm_op {
    view x, w, y;
    float eps;
    int32_t has_w, twice;

    typedef float prepared;

    template <int WARPS> LT_MEMBER float prepare(int64_t row, int64_t width) const
    {
        return factor_of(sum_of_squares<WARPS>(x, row, width, 0), width, eps);
    }

    LT_MEMBER void at(int64_t row, int64_t column, int left, float factor) const
    {
        float v[LT_CHUNK], s[LT_CHUNK];
        load(x, row, column, left, v);
        if (has_w)
            load(w, 0, column, left, s);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++) {
            v[i] *= factor;
            if (has_w)
                v[i] = (twice ? round_to(y.dtype, v[i]) : v[i]) * s[i];
        }
        store(y, row, column, left, v);
    }
};

lt_status lt_cuda_rms_norm(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *w = &op->in[1], *y = &op->out[0];
    const int has_w = w->ndim != 0;
    const rms_norm_op f = {view_of(x), view_of(has_w ? w : x),        view_of(y), op->eps,
                           has_w,      op->rounding == LT_ROUND_TWICE};
    return launch_rows(q, "rms_norm", f, lt_row_count(y), lt_row_width(y));
}

/* ---- layer_norm ---- */

struct mean_and_factor {
    float mean, factor;
};

struct layer_norm_op {
    view x, w, b, y;
    float eps;

    typedef mean_and_factor prepared;

    template <int WARPS> LT_MEMBER mean_and_factor prepare(int64_t row, int64_t width) const
    {
        mean_and_factor p;
        p.mean = row_mean<WARPS>(x, row, width);
        p.factor = factor_of(sum_of_squares<WARPS>(x, row, width, p.mean), width, eps);
        return p;
    }

    LT_MEMBER void at(int64_t row, int64_t column, int left, mean_and_factor p) const
    {
        float v[LT_CHUNK], s[LT_CHUNK], t[LT_CHUNK];
        load(x, row, column, left, v);
        load(w, 0, column, left, s);
        load(b, 0, column, left, t);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            v[i] = (v[i] - p.mean) * p.factor * s[i] + t[i];
        store(y, row, column, left, v);
    }
};

lt_status lt_cuda_layer_norm(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *y = &op->out[0];
    const layer_norm_op f = {view_of(&op->in[0]), view_of(&op->in[1]), view_of(&op->in[2]),
                             view_of(y), op->eps};
    return launch_rows(q, "layer_norm", f, lt_row_count(y), lt_row_width(y));
}

/* ---- norm_modulate ---- */

struct norm_modulate_op {
    view x, w, shift, scale, y; /* shift, scale: columns of the table */
    const int32_t *row_at;
    float eps;

    typedef float prepared;

    template <int WARPS> LT_MEMBER float prepare(int64_t row, int64_t width) const
    {
        return factor_of(sum_of_squares<WARPS>(x, row, width, 0), width, eps);
    }

    LT_MEMBER void at(int64_t row, int64_t column, int left, float factor) const
    {
        float v[LT_CHUNK], s[LT_CHUNK];
        const int64_t at = row_at[row];
        load(x, row, column, left, v);
        load(w, 0, column, left, s);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            v[i] = round_to(y.dtype, v[i] * factor * s[i]);
        load(scale, at, column, left, s);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            v[i] = round_to(y.dtype, v[i] * round_to(y.dtype, 1.0f + s[i]));
        load(shift, at, column, left, s);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            v[i] += s[i];
        store(y, row, column, left, v);
    }
};

lt_status lt_cuda_norm_modulate(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *y = &op->out[0], *table = &op->in[2];
    const lt_range at_shift = {op->column_a, lt_row_width(y)};
    const lt_range at_scale = {op->column_b, lt_row_width(y)};
    const lt_tensor shift = lt_view_columns(table, at_shift);
    const lt_tensor scale = lt_view_columns(table, at_scale);
    const norm_modulate_op f = {view_of(&op->in[0]),
                                view_of(&op->in[1]),
                                view_of(&shift),
                                view_of(&scale),
                                view_of(y),
                                (const int32_t *)op->in[3].data,
                                op->eps};
    return launch_rows(q, "norm_modulate", f, lt_row_count(y), lt_row_width(y));
}

/* ---- head_norm_rope ---- */

/* A warp a head of a row. The lane that turns a pair reads and writes both its elements, so that
 * no lane reads what another has written. */
struct head_args {
    view x, w, cosines, sines;
    int64_t heads, width, half; /* half: pairs that turn; 0: none */
    float eps;                  /* < 0: no norm */
    int32_t has_w, twice;
};

LT_DEVICE float normed(const head_args &a, float v, float factor, int64_t channel)
{
    if (a.eps < 0)
        return v;
    v *= factor;
    if (a.has_w)
        v = (a.twice ? round_to(a.x.dtype, v) : v) * get(a.w, 0, channel);
    return round_to(a.x.dtype, v);
}

__global__ void __launch_bounds__(LT_BLOCK, 4) head_norm_rope(const head_args a, int64_t rows)
{
    const int64_t unit = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
    if (unit >= rows * a.heads) /* a whole warp */
        return;
    const int64_t row = unit / a.heads, first = unit % a.heads * a.width;
    float squares = 0;
    if (a.eps >= 0)
        for (int64_t c = threadIdx.x; c < a.width; c += LT_WARP) {
            const float v = get(a.x, row, first + c);
            squares = fmaf(v, v, squares);
        }
    const float factor = factor_of(warp_sum(squares), a.width, a.eps < 0 ? 1.0f : a.eps);
    __syncwarp();
    for (int64_t c = threadIdx.x; c < a.half; c += LT_WARP) {
        const float u = normed(a, get(a.x, row, first + c), factor, c);
        const float v = normed(a, get(a.x, row, first + c + a.half), factor, c + a.half);
        const float cosine = get(a.cosines, row, c), sine = get(a.sines, row, c);
        const int32_t dtype = a.x.dtype;
        put(a.x, row, first + c, round_to(dtype, u * cosine) - round_to(dtype, v * sine));
        put(a.x, row, first + c + a.half, round_to(dtype, v * cosine) + round_to(dtype, u * sine));
    }
    if (a.eps >= 0)
        for (int64_t c = 2 * a.half + threadIdx.x; c < a.width; c += LT_WARP)
            put(a.x, row, first + c, normed(a, get(a.x, row, first + c), factor, c));
}

lt_status lt_cuda_head_norm_rope(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *x = &op->out[0], *w = &op->in[0], *cosines = &op->in[1], *sines = &op->in[2];
    const int turns = cosines->ndim != 0;
    const int64_t rows = lt_row_count(x), units = rows * op->heads;
    const head_args a = {view_of(x),
                         view_of(w->ndim != 0 ? w : x),
                         view_of(turns ? cosines : x),
                         view_of(turns ? sines : x),
                         op->heads,
                         lt_row_width(x) / op->heads,
                         turns ? lt_row_width(cosines) : 0,
                         op->eps,
                         w->ndim != 0,
                         op->rounding == LT_ROUND_TWICE};
    const unsigned blocks = (unsigned)((units + WARPS_MAX - 1) / WARPS_MAX);
    LT_LAUNCH(head_norm_rope, dim3(blocks), dim3(LT_WARP, WARPS_MAX), 0, q->stream, a, rows);
    return lt_cuda_try("head_norm_rope", cudaGetLastError());
}
