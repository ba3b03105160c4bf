/* group_norm.cu - group norm over [B, M, C], f32 dense.
 *
 * A group's elements are M rows of count = C / groups neighbouring channels: far too many for one
 * block. So its rows are cut into SLICES, however many rows there are, a block each. Three kernels
 * in a row: sums by slice, squares about the mean by slice, result. The slices' sums lie in the
 * queue's workspace and are added in their order by whoever needs the whole. */
#include "kernels/cuda/prims.cuh"

enum { SLICES = 64, WARPS = LT_BLOCK / LT_WARP };

struct group_args {
    const float *x, *w, *b;
    float *y;
    int64_t rows, channels, groups, count; /* count: channels of a group */
    float eps;
    int32_t f;
    float *sums, *squares; /* [B * groups, SLICES] */
};

LT_DEVICE float block_sum(float v)
{
    struct parts {
        float of_warp[WARPS];
    };
    LT_SHARED(parts, shared);
    v = warp_sum(v);
    if (threadIdx.x % LT_WARP == 0)
        shared.of_warp[threadIdx.x / LT_WARP] = v;
    __syncthreads();
    float sum = 0;
    LT_UNROLL
    for (int i = 0; i < WARPS; i++)
        sum += shared.of_warp[i];
    return sum;
}

LT_DEVICE float sum_of_slices(const float *of_slice)
{
    float sum = 0;
    for (int i = 0; i < SLICES; i++)
        sum += of_slice[i];
    return sum;
}

/* A block is (slice, group of a clip); SQUARES: about the mean that group_sums<0> gave. */
template <int SQUARES> __global__ void __launch_bounds__(LT_BLOCK) group_sums(const group_args a)
{
    const int64_t unit = blockIdx.y, clip = unit / a.groups, group = unit % a.groups;
    const int64_t share = (a.rows + SLICES - 1) / SLICES, first = (int64_t)blockIdx.x * share;
    const int64_t last = first + share < a.rows ? first + share : a.rows;
    const int64_t elements = last > first ? (last - first) * a.count : 0;
    const float all = (float)(a.rows * a.count);
    const float mean = SQUARES ? sum_of_slices(a.sums + unit * SLICES) / all : 0.0f;
    const float *x = a.x + (clip * a.rows + first) * a.channels + group * a.count;
    float sum = 0;
    for (int64_t e = threadIdx.x; e < elements; e += LT_BLOCK) {
        const float v = x[e / a.count * a.channels + e % a.count];
        const float d = v - mean;
        sum = SQUARES ? fmaf(d, d, sum) : sum + v;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        (SQUARES ? a.squares : a.sums)[unit * SLICES + blockIdx.x] = sum;
}

__global__ void __launch_bounds__(LT_BLOCK) group_apply(const group_args a)
{
    const int64_t unit = blockIdx.y, clip = unit / a.groups, group = unit % a.groups;
    const float all = (float)(a.rows * a.count);
    const float mean = sum_of_slices(a.sums + unit * SLICES) / all;
    const float factor = 1.0f / sqrtf(sum_of_slices(a.squares + unit * SLICES) / all + a.eps);
    const int64_t base = clip * a.rows * a.channels + group * a.count;
    for (int64_t e = (int64_t)blockIdx.x * LT_BLOCK + threadIdx.x; e < a.rows * a.count;
         e += (int64_t)gridDim.x * LT_BLOCK) {
        const int64_t channel = e % a.count, at = base + e / a.count * a.channels + channel;
        const float w = a.w[group * a.count + channel], b = a.b[group * a.count + channel];
        const float v = (a.x[at] - mean) * factor * w + b;
        a.y[at] = activate(a.f, v);
    }
}

lt_status lt_cuda_group_norm(lt_cuda_queue *q, const lt_op *op)
{
    enum { GRID_Y_MAX = 65535 };
    const lt_tensor *x = &op->in[0];
    const int64_t units = x->dim[0] * op->groups, count = x->dim[2] / op->groups;
    const size_t need = (size_t)units * SLICES * 2 * sizeof(float);
    if (units > GRID_Y_MAX || need > q->workspace_bytes)
        LT_FAIL(LT_EUNAVAIL, "group_norm: want at most %d groups of all clips, found %lld",
                (int)GRID_Y_MAX, (long long)units);
    float *sums = (float *)q->workspace;
    const group_args a = {(const float *)x->data,
                          (const float *)op->in[1].data,
                          (const float *)op->in[2].data,
                          (float *)op->out[0].data,
                          x->dim[1],
                          x->dim[2],
                          op->groups,
                          count,
                          op->eps,
                          (int32_t)op->activation,
                          sums,
                          sums + units * SLICES};
    const int64_t blocks = (a.rows * count + LT_BLOCK - 1) / LT_BLOCK;
    const dim3 all((unsigned)(blocks < SLICES ? blocks : (int64_t)SLICES), (unsigned)units);
    const dim3 slices(SLICES, (unsigned)units);
    LT_LAUNCH(group_sums<0>, slices, dim3(LT_BLOCK), 0, q->stream, a);
    LT_LAUNCH(group_sums<1>, slices, dim3(LT_BLOCK), 0, q->stream, a);
    LT_LAUNCH(group_apply, all, dim3(LT_BLOCK), 0, q->stream, a);
    return lt_cuda_try("group_norm", cudaGetLastError());
}
