/* media.cu - operations on video and audio: reflected edges, Snake, BigVGAN's anti-aliased Snake.
 * f32, dense. Source: spec/minimax-h3.md 6, 7.2, 7.3. */
#include "kernels/cuda/prims.cuh"

/* sin(z)^2. Its period is pi: z is reduced to [-pi/2, pi/2] with pi in three parts (exact products
 * up to |z| = 25,000), then Taylor to degree 13 (next term 7e-10). CUDA's own sine would put a
 * table for huge arguments on each thread's stack. NaN stays. */
LT_DEVICE float sine_squared(float z)
{
    const float n = rintf(z * 0.318309886f);
    float r = fmaf(n, -3.140625f, z);
    r = fmaf(n, -9.67502593994140625e-4f, r);
    r = fmaf(n, -1.509957990978376432e-7f, r);
    r = r < -1.57079637f ? -1.57079637f : r > 1.57079637f ? 1.57079637f : r;
    const float square = r * r;
    float p = 1.0f / 6227020800.0f;
    p = fmaf(p, square, -1.0f / 39916800);
    p = fmaf(p, square, 1.0f / 362880);
    p = fmaf(p, square, -1.0f / 5040);
    p = fmaf(p, square, 1.0f / 120);
    p = fmaf(p, square, -1.0f / 6);
    const float s = fmaf(p * square, r, r);
    return s * s;
}

/* ---- pad_reflect ---- */

/* torch's 'reflect': -1 is 1, length is length - 2; the pad is shorter than the length. */
LT_DEVICE int64_t reflect(int64_t at, int64_t length)
{
    at = at < 0 ? -at : at;
    return at >= length ? 2 * (length - 1) - at : at;
}

struct pad_op {
    view x, y;
    int64_t height, width, padded_height, padded_width, top, before;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK];
        const int64_t line = row / padded_width, plane = line / padded_height;
        const int64_t h = reflect(line % padded_height - top, height);
        const int64_t w = reflect(row % padded_width - before, width);
        load(x, (plane * height + h) * width + w, column, left, v);
        store(y, row, column, left, v);
    }
};

lt_status lt_cuda_pad_reflect(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    const pad_op f = {view_of(x), view_of(y), x->dim[2],  x->dim[3],
                      y->dim[2],  y->dim[3],  op->pad[0], op->pad[2]};
    return launch_each(q, "pad_reflect", f, lt_row_count(y), lt_row_width(y));
}

/* ---- snake ---- */

struct snake_op {
    view x, alpha, y;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK], a[LT_CHUNK];
        load(x, row, column, left, v);
        load(alpha, 0, column, left, a);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            v[i] += sine_squared(a[i] * v[i]) / (a[i] + 1e-9f);
        store(y, row, column, left, v);
    }
};

lt_status lt_cuda_snake(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *y = &op->out[0];
    const snake_op f = {view_of(&op->in[0]), view_of(&op->in[1]), view_of(y)};
    return launch_each(q, "snake", f, lt_row_count(y), lt_row_width(y));
}

/* ---- snake_aa ---- */

/* A thread makes RUN samples of one channel; neighbouring threads have neighbouring channels. The
 * twelve samples at twice the rate that a result needs move along in registers, two a result. */
enum { RUN = 16, TAPS = 12 };

struct snake_aa_args {
    const float *x, *alpha, *beta, *up, *down;
    float *y;
    int64_t length, channels;
};

LT_DEVICE int64_t clamped(int64_t at, int64_t length)
{
    return at < 0 ? 0 : at >= length ? length - 1 : at;
}

/* Sample `at` (clamped) of x's channel at twice the rate, then SnakeBeta with a and 1 / b. */
LT_DEVICE float doubled(const snake_aa_args &p, const float *x, int64_t at, float a, float over_b)
{
    at = clamped(at, 2 * p.length);
    const int64_t m = at / 2, odd = at % 2;
    float v = 0;
    LT_UNROLL
    for (int j = 0; j < TAPS / 2; j++)
        v = fmaf(p.up[2 * j + 1 - odd], x[clamped(m + 2 + odd - j, p.length) * p.channels], v);
    v *= 2;
    return fmaf(sine_squared(a * v), over_b, v);
}

__global__ void __launch_bounds__(LT_BLOCK) snake_aa(const snake_aa_args p)
{
    const int64_t channel = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t first = ((int64_t)blockIdx.y * blockDim.y + threadIdx.y) * RUN;
    if (channel >= p.channels)
        return;
    const int64_t clip = (int64_t)blockIdx.z * p.length * p.channels + channel;
    const float a = expf(p.alpha[channel]), over_b = 1.0f / (expf(p.beta[channel]) + 1e-9f);
    float window[TAPS], taps[TAPS];
    LT_UNROLL
    for (int k = 0; k < TAPS; k++)
        taps[k] = p.down[k];
    LT_UNROLL
    for (int k = 2; k < TAPS; k++)
        window[k] = doubled(p, p.x + clip, 2 * first + k - 7, a, over_b);
    for (int64_t t = first; t < first + RUN && t < p.length; t++) {
        LT_UNROLL
        for (int k = 0; k < TAPS - 2; k++)
            window[k] = window[k + 2];
        window[TAPS - 2] = doubled(p, p.x + clip, 2 * t + 5, a, over_b);
        window[TAPS - 1] = doubled(p, p.x + clip, 2 * t + 6, a, over_b);
        float v = 0;
        LT_UNROLL
        for (int k = 0; k < TAPS; k++)
            v = fmaf(taps[k], window[k], v);
        p.y[clip + t * p.channels] = v;
    }
}

lt_status lt_cuda_snake_aa(lt_cuda_queue *q, const lt_op *op)
{
    enum { GRID_MAX = 65535, TX = 32, TY = 8 };
    const lt_tensor *x = &op->in[0];
    const snake_aa_args p = {(const float *)x->data,
                             (const float *)op->in[1].data,
                             (const float *)op->in[2].data,
                             (const float *)op->in[3].data,
                             (const float *)op->in[4].data,
                             (float *)op->out[0].data,
                             x->dim[1],
                             x->dim[2]};
    const int64_t down = (p.length + RUN * TY - 1) / (RUN * TY);
    if (x->dim[0] > GRID_MAX || down > GRID_MAX)
        LT_FAIL(LT_EUNAVAIL, "snake_aa: want at most %d clips of %lld samples, found [%lld, %lld]",
                (int)GRID_MAX, (long long)GRID_MAX * RUN * TY, (long long)x->dim[0],
                (long long)p.length);
    const dim3 grid((unsigned)((p.channels + TX - 1) / TX), (unsigned)down, (unsigned)x->dim[0]);
    LT_LAUNCH(snake_aa, grid, dim3(TX, TY), 0, q->stream, p);
    return lt_cuda_try("snake_aa", cudaGetLastError());
}
