/* cuda_runtime_api.h - the names of CUDA's runtime that kernels/cuda uses, for the host.
 *
 * What the shim build finds in place of CUDA's own header. Device memory is the heap's (so that
 * AddressSanitizer sees it), a stream is a queue of work that runs late, in an order that a seed
 * chooses (stream.cpp), a kernel runs on fibers (block.cpp). Each call fails as the real one where
 * its arguments are wrong. LT_SHIM_SEED in the environment, or lt_shim_seed, chooses the orders;
 * LT_SHIM_DEVICES says how many devices there are (1). */
#ifndef LT_SHIM_RUNTIME_H
#define LT_SHIM_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600
} cudaError_t;

typedef struct lt_shim_stream *cudaStream_t;
typedef struct lt_shim_event *cudaEvent_t;

enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaEventBlockingSync = 1 };
enum { cudaHostAllocDefault = 0, cudaHostAllocMapped = 2 };
enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};

typedef struct {
    char bytes[16];
} cudaUUID_t;

struct cudaDeviceProp {
    char name[256];
    cudaUUID_t uuid;
    size_t totalGlobalMem;
    int major, minor, multiProcessorCount;
};

const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError(void);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int device);
cudaError_t cudaMemGetInfo(size_t *left, size_t *all);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaDriverGetVersion(int *version);
enum cudaDeviceP2PAttr { cudaDevP2PAttrNativeAtomicSupported = 3 };
cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer);
cudaError_t cudaDeviceGetP2PAttribute(int *value, enum cudaDeviceP2PAttr which, int device,
                                      int peer);
struct cudaFuncAttributes {
    int maxThreadsPerBlock;
};
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *out, const void *kernel);

cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                         size_t width, size_t rows, enum cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t rows, enum cudaMemcpyKind kind,
                              cudaStream_t stream);

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest);
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int priority);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, void (*fn)(void *data), void *data);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);

/* What kernels/cuda/driver.c is on a device. */
cudaError_t lt_cuda_wait_value(cudaStream_t stream, const uint32_t *at, uint32_t value);

/* ---- the shim's own ---- */

/* Begin the sequences that choose when queued work runs, and in which order threads of a block do.
 * 0: at once, in order. */
void lt_shim_seed(uint64_t seed);
/* Queue fn(work) with a copy of work [bytes]; the cuBLASLt stand-in's products. */
cudaError_t lt_shim_enqueue(cudaStream_t stream, void (*fn)(void *work), const void *work,
                            size_t bytes);
/* How many kernels and products ran since the last call. */
long lt_shim_launches(void);
/* How often device or pinned memory was taken since the last call. */
long lt_shim_allocations(void);

#ifdef __cplusplus
}
#endif
#endif
