/* prims.cuh - all that a kernel says to the device beside plain C++: launches, shared memory,
 * barriers and shuffles, rounding, and the only inline PTX of the project.
 *
 * Under nvcc these are CUDA. Under g++ and clang++ the same names come from tests/shim/device.h,
 * so that a kernel runs on the host. Rules for kernels (docs/spec/gpu-verification.md 5): no asm
 * elsewhere, no printf, comparisons that keep NaN, no exchange inside a warp without its _sync
 * form, a reference and odd sizes for each.
 *
 *     LT_LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...)
 *     LT_SHARED(type, name);          one object of the block, without a constructor
 *     LT_DYNAMIC(type, name);         the launch's shared_bytes, aligned to 128
 *     LT_UNROLL for (...)             all steps side by side; LT_ROLLED: four
 *
 * All functions are for device code but view_of; Local. */
#ifndef LT_CUDA_PRIMS_CUH
#define LT_CUDA_PRIMS_CUH

#include "kernels/cuda/cuda.h"

#ifdef __CUDACC__

/* Each kernel that a launch names, on a list since the library was opened (lt_cuda_known). */
struct known_kernel : lt_cuda_kernel_name {
    explicit known_kernel(const void *kernel)
    {
        this->kernel = kernel;
        next = lt_cuda_known;
        lt_cuda_known = this;
    }
};
template <auto KERNEL> struct known {
    static inline known_kernel here{(const void *)KERNEL};
};

#define LT_LAUNCH(kernel, grid, block, shared, stream, ...)                                        \
    do {                                                                                           \
        (void)&known<(kernel)>::here;                                                              \
        kernel<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__);                              \
    } while (0)
#define LT_SHARED(type, name) __shared__ type name
#define LT_DYNAMIC(type, name)                                                                     \
    extern __shared__ __align__(128) unsigned char lt_dynamic_[];                                  \
    type *name = (type *)lt_dynamic_
#define LT_UNROLL _Pragma("unroll")
#define LT_ROLLED _Pragma("unroll 4")
#define LT_DEVICE static __device__ __forceinline__
#define LT_MEMBER __device__ __forceinline__

LT_DEVICE float from_bf16(uint16_t h) { return __uint_as_float((uint32_t)h << 16); }

LT_DEVICE uint16_t to_bf16(float f)
{
    uint16_t h;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}

LT_DEVICE float from_f16(uint16_t h)
{
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}

LT_DEVICE uint16_t to_f16(float f)
{
    uint16_t h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}

LT_DEVICE float power_of_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Two f32 as bf16, the first in the lower half. */
LT_DEVICE uint32_t pack_bf16(float low, float high)
{
    uint32_t both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

/* 16 bytes to shared memory, `bytes` of them from `from`, the rest zero; both aligned. They are
 * there once the group that copy_commit ended has been waited for. */
LT_DEVICE void copy_async_16(void *to, const void *from, int bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     (uint32_t)__cvta_generic_to_shared(to)),
                 "l"(from), "r"(bytes)
                 : "memory");
}

LT_DEVICE void copy_commit(void) { asm volatile("cp.async.commit_group;" ::: "memory"); }

/* Until at most N of this thread's groups are under way. */
template <int N> LT_DEVICE void copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* Four 8 x 8 matrices of 16 bits: lanes 8i to 8i + 7 name the rows of matrix i; the lane gets two
 * neighbours of row lane / 4 of each. */
LT_DEVICE void load_matrices(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

/* The same, of the transposed matrices. */
LT_DEVICE void load_matrices_transposed(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

/* c += A B: m16n8k16, bf16, f32 sums. */
LT_DEVICE void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#else
#include "tests/shim/device.h"
#endif

enum { LT_CHUNK = 8, LT_BLOCK = 256, LT_WARP = 32 };

/* A tensor as a kernel sees it. wide: chunks of eight elements may be read and written as 16 bytes
 * (f32: twice). */
typedef struct view {
    void *data;
    int64_t stride; /* elements from row to row */
    int32_t dtype;  /* lt_dtype */
    int32_t wide;
} view;

static inline view view_of(const lt_tensor *x)
{
    const size_t size = lt_dtype_bytes(x->dtype);
    const int wide = (uintptr_t)x->data % 16 == 0 &&
                     (lt_row_count(x) <= 1 || (size_t)x->row_stride * size % 16 == 0);
    const view v = {x->data, x->row_stride, (int32_t)x->dtype, wide};
    return v;
}

typedef struct alignas(16) quad {
    uint32_t word[4];
} quad;

typedef struct alignas(16) quad_f32 {
    float x[4];
} quad_f32;

/* A half-width value of dtype LT_BF16 or LT_F16. */
LT_DEVICE float widen(int32_t dtype, uint16_t h)
{
    return dtype == LT_BF16 ? from_bf16(h) : from_f16(h);
}

LT_DEVICE uint16_t narrow(int32_t dtype, float f)
{
    return dtype == LT_BF16 ? to_bf16(f) : to_f16(f);
}

/* The contract's round(): nothing in f32. */
LT_DEVICE float round_to(int32_t dtype, float f)
{
    return dtype == LT_BF16 ? from_bf16(to_bf16(f)) : f;
}

/* left (1 to 8) elements from column on; what is past them is 0. */
LT_DEVICE void load(const view &x, int64_t row, int64_t column, int left, float (&v)[LT_CHUNK])
{
    const int64_t at = row * x.stride + column;
    if (x.dtype == LT_F32) {
        const float *p = (const float *)x.data + at;
        if (x.wide && left == LT_CHUNK) {
            const quad_f32 a = ((const quad_f32 *)p)[0], b = ((const quad_f32 *)p)[1];
            LT_UNROLL
            for (int i = 0; i < 4; i++) {
                v[i] = a.x[i];
                v[4 + i] = b.x[i];
            }
            return;
        }
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            v[i] = i < left ? p[i] : 0.0f;
        return;
    }
    const uint16_t *p = (const uint16_t *)x.data + at;
    if (x.wide && left == LT_CHUNK) {
        const quad a = *(const quad *)p;
        LT_UNROLL
        for (int i = 0; i < 4; i++) {
            v[2 * i] = widen(x.dtype, (uint16_t)(a.word[i] & 0xffffu));
            v[2 * i + 1] = widen(x.dtype, (uint16_t)(a.word[i] >> 16));
        }
        return;
    }
    LT_UNROLL
    for (int i = 0; i < LT_CHUNK; i++)
        v[i] = i < left ? widen(x.dtype, p[i]) : 0.0f;
}

LT_DEVICE void store(const view &y, int64_t row, int64_t column, int left,
                     const float (&v)[LT_CHUNK])
{
    const int64_t at = row * y.stride + column;
    if (y.dtype == LT_F32) {
        float *p = (float *)y.data + at;
        if (y.wide && left == LT_CHUNK) {
            quad_f32 a, b;
            LT_UNROLL
            for (int i = 0; i < 4; i++) {
                a.x[i] = v[i];
                b.x[i] = v[4 + i];
            }
            ((quad_f32 *)p)[0] = a;
            ((quad_f32 *)p)[1] = b;
            return;
        }
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            if (i < left)
                p[i] = v[i];
        return;
    }
    uint16_t *p = (uint16_t *)y.data + at;
    if (y.wide && left == LT_CHUNK) {
        quad a;
        LT_UNROLL
        for (int i = 0; i < 4; i++)
            a.word[i] =
                (uint32_t)narrow(y.dtype, v[2 * i]) | (uint32_t)narrow(y.dtype, v[2 * i + 1]) << 16;
        *(quad *)p = a;
        return;
    }
    LT_UNROLL
    for (int i = 0; i < LT_CHUNK; i++)
        if (i < left)
            p[i] = narrow(y.dtype, v[i]);
}

/* One element of a float tensor. */
LT_DEVICE float get(const view &x, int64_t row, int64_t column)
{
    const int64_t at = row * x.stride + column;
    return x.dtype == LT_F32 ? ((const float *)x.data)[at]
                             : widen(x.dtype, ((const uint16_t *)x.data)[at]);
}

LT_DEVICE void put(const view &y, int64_t row, int64_t column, float v)
{
    const int64_t at = row * y.stride + column;
    if (y.dtype == LT_F32)
        ((float *)y.data)[at] = v;
    else
        ((uint16_t *)y.data)[at] = narrow(y.dtype, v);
}

/* Along a fixed tree; every lane gets the sum. All lanes of the warp call it. */
LT_DEVICE float warp_sum(float v)
{
    LT_UNROLL
    for (int d = LT_WARP / 2; d > 0; d /= 2)
        v += __shfl_xor_sync(0xffffffffu, v, d);
    return v;
}

/* The larger; a NaN stays. */
LT_DEVICE float larger(float a, float b) { return a > b || a != a ? a : b; }

LT_DEVICE float warp_max(float v)
{
    LT_UNROLL
    for (int d = LT_WARP / 2; d > 0; d /= 2)
        v = larger(v, __shfl_xor_sync(0xffffffffu, v, d));
    return v;
}

/* ---- activations (lt_activation) ---- */

LT_DEVICE float silu(float v) { return v / (1.0f + expf(-v)); }

LT_DEVICE float activate(int32_t f, float v)
{
    if (f == LT_ACT_SILU)
        return silu(v);
    if (f == LT_ACT_GELU_TANH) /* (1 + tanh u) / 2 = 1 / (1 + e^-2u): nothing cancels */
        return v / (1.0f + expf(-1.5957691216f * (v + 0.044715f * v * v * v)));
    if (f == LT_ACT_GELU_ERF)
        return 0.5f * v * erfcf(v * -0.7071067812f);
    return v;
}

/* ---- ops whose elements stand alone ---- */

/* op.at(row, column, left) for each chunk of each row. A block is tx chunks by ty rows, so that
 * narrow rows fill it too; no division. */
template <class Op>
__global__ void __launch_bounds__(LT_BLOCK, 4) each(const Op op, int64_t rows, int64_t width)
{
    const int64_t chunks = (width + LT_CHUNK - 1) / LT_CHUNK;
    const int64_t row_step = (int64_t)gridDim.y * blockDim.y;
    const int64_t chunk_step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t row = (int64_t)blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += row_step)
        for (int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; c < chunks;
             c += chunk_step) {
            const int64_t left = width - c * LT_CHUNK;
            op.at(row, c * LT_CHUNK, left < LT_CHUNK ? (int)left : (int)LT_CHUNK);
        }
}

template <class Op>
static lt_status launch_each(lt_cuda_queue *q, const char *what, const Op &op, int64_t rows,
                             int64_t width)
{
    enum { GRID_Y_MAX = 65535 };
    if (rows == 0 || width == 0)
        return LT_OK;
    const int64_t chunks = (width + LT_CHUNK - 1) / LT_CHUNK;
    unsigned tx = 1;
    while (tx < LT_BLOCK && (int64_t)tx < chunks)
        tx *= 2;
    const unsigned ty = LT_BLOCK / tx;
    const int64_t across = (chunks + tx - 1) / tx, down = (rows + ty - 1) / ty;
    const dim3 grid((unsigned)(across < 0x7fffffff ? across : 0x7fffffff),
                    (unsigned)(down < GRID_Y_MAX ? down : (int64_t)GRID_Y_MAX));
    LT_LAUNCH(each<Op>, grid, dim3(tx, ty), 0, q->stream, op, rows, width);
    return lt_cuda_try(what, cudaGetLastError());
}

#endif
