/* device.h - the device's words of kernels/cuda/prims.cuh, for the host.
 *
 * A block's threads are fibers of one host thread (block.cpp). A fiber runs until it meets a
 * barrier or an exchange of its warp; which one is next, a seed says. Shared memory begins as NaN
 * at each block, with gaps that AddressSanitizer guards. An exchange that not all lanes of a warp
 * reach, or a barrier that not all threads reach, ends the program with block and thread. */
#ifndef LT_SHIM_DEVICE_H
#define LT_SHIM_DEVICE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/dtype.h"

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

struct lt_shim_place {
    uint3 thread, block;
    dim3 threads, blocks;
};
extern lt_shim_place lt_shim_now; /* of the fiber that runs */

#define threadIdx (lt_shim_now.thread)
#define blockIdx  (lt_shim_now.block)
#define blockDim  (lt_shim_now.threads)
#define gridDim   (lt_shim_now.blocks)
#define __global__
#define __launch_bounds__(...)

#define LT_DEVICE static inline
#define LT_MEMBER inline
#define LT_UNROLL
#define LT_ROLLED
#define LT_SHARED(type, name)  type &name = *(type *)lt_shim_shared(sizeof(type))
#define LT_DYNAMIC(type, name) type *name = (type *)lt_shim_dynamic()
#define LT_LAUNCH(kernel, grid, block, shared, stream, ...)                                        \
    lt_shim_launch_as((grid), (block), (shared), (stream), [=]() { (kernel)(__VA_ARGS__); })

void lt_shim_launch(dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                    void (*fn)(const void *), const void *work, size_t bytes);

template <class F> static void lt_shim_call(const void *work) { (*(const F *)work)(); }

template <class F>
static void lt_shim_launch_as(dim3 grid, dim3 block, size_t shared, cudaStream_t stream, F f)
{
    lt_shim_launch(grid, block, shared, stream, lt_shim_call<F>, &f, sizeof f);
}

void *lt_shim_shared(size_t bytes);
void *lt_shim_dynamic(void);
void __syncthreads(void);
void __syncwarp(void);
/* Each lane gives 8 bytes and takes those of lane `from`. */
uint64_t lt_shim_exchange(uint64_t mine, int from);
int lt_shim_lane(void);

template <class T> static inline T lt_shim_take(T mine, int from)
{
    uint64_t word = 0;
    memcpy(&word, &mine, sizeof mine);
    word = lt_shim_exchange(word, from);
    memcpy(&mine, &word, sizeof mine);
    return mine;
}

template <class T> static inline T __shfl_sync(unsigned mask, T v, int from)
{
    (void)mask;
    return lt_shim_take(v, from & 31);
}

template <class T> static inline T __shfl_xor_sync(unsigned mask, T v, int bits)
{
    (void)mask;
    return lt_shim_take(v, lt_shim_lane() ^ bits);
}

/* What prims.cuh says of these. copy_async_16 soils its 16 bytes at once and fills them when they
 * are waited for. */
void copy_async_16(void *to, const void *from, int bytes);
void copy_commit(void);
void lt_shim_copy_wait(int groups);
void load_matrices(uint32_t (&r)[4], const void *row);
void load_matrices_transposed(uint32_t (&r)[4], const void *row);
void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

template <int N> static inline void copy_wait(void) { lt_shim_copy_wait(N); }

static inline float power_of_two(float x) { return exp2f(x); }

static inline uint32_t pack_bf16(float low, float high)
{
    return (uint32_t)lt_f32_to_bf16(low) | (uint32_t)lt_f32_to_bf16(high) << 16;
}

static inline float from_bf16(uint16_t h) { return lt_bf16_to_f32(h); }
static inline uint16_t to_bf16(float f) { return lt_f32_to_bf16(f); }
static inline float from_f16(uint16_t h) { return lt_f16_to_f32(h); }
static inline uint16_t to_f16(float f) { return lt_f32_to_f16(f); }

#endif
