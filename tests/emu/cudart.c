/* cudart.c - the entry points of libcudart.so.13 that longtake_cuda.so imports beside streams.
 *
 * The device is one of capability 9.0 with LT_EMU_MEMORY MiB. A launch is held to the card's
 * limits, and to the kernel's own bound on threads. The first eight names are what nvcc's host code
 * calls; they are no part of CUDA's manual (crt/host_runtime.h has them). */
#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/emu/stream.h"
#include "tests/emu/timeline.h"

/* ---- kernels ---- */

void **__cudaRegisterFatBinary(void *wrapper);
void __cudaRegisterFatBinaryEnd(void **handle);
void __cudaUnregisterFatBinary(void **handle);
void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name,
                            int threads, uint3 *tid, uint3 *bid, dim3 *block, dim3 *grid,
                            int *size);
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream);
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream);
cudaError_t __cudaGetKernel(cudaKernel_t *out, const void *host);
/* The driver's, when a kernel is first used. */
static void load(emu_kernel *k)
{
    if (!k->is_loaded)
        emu_note(EMU_LOAD, k->name);
    k->is_loaded = 1;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **args,
                               size_t shared, cudaStream_t stream);

void **__cudaRegisterFatBinary(void *wrapper)
{
    emu_enter();
    emu_module *m = emu_modules_register(wrapper);
    emu_leave();
    return (void **)(void *)m;
}

void __cudaRegisterFatBinaryEnd(void **handle) { (void)handle; }

void __cudaUnregisterFatBinary(void **handle)
{
    emu_enter();
    emu_modules_remove((emu_module *)(void *)handle);
    emu_leave();
}

void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name,
                            int threads, uint3 *tid, uint3 *bid, dim3 *block, dim3 *grid, int *size)
{
    (void)device, (void)threads, (void)tid, (void)bid, (void)block, (void)grid, (void)size;
    emu_enter();
    emu_modules_kernel((emu_module *)(void *)handle, host, name);
    emu_leave();
}

typedef struct configuration {
    dim3 grid, block;
    size_t shared;
    void *stream;
} configuration;

static _Thread_local configuration next_launch;

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream)
{
    next_launch = (configuration){grid, block, shared, stream};
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream)
{
    *grid = next_launch.grid;
    *block = next_launch.block;
    *shared = next_launch.shared;
    memcpy(stream, &next_launch.stream, sizeof next_launch.stream);
    return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t *out, const void *host)
{
    emu_enter();
    emu_kernel *k = emu_modules_find(host);
    const cudaError_t error =
        k != NULL ? cudaSuccess
                  : emu_fails(cudaErrorInvalidDeviceFunction, "want a kernel, found none");
    *out = (cudaKernel_t)(void *)k;
    emu_leave();
    return error;
}

/* CUDA's programming guide, "Compute Capabilities"; 48 KiB is what needs no opt-in. */
static int is_launch(const ptx_function *f, dim3 grid, dim3 block, size_t shared, char *why)
{
    enum { THREADS = 1024, DEPTH = 64, GRID_YZ = 65535, SHARED = 48 << 10 };
    const uint64_t threads = (uint64_t)block.x * block.y * block.z;
    const int fits = threads >= 1 && threads <= THREADS && block.z <= DEPTH && grid.x >= 1 &&
                     grid.y >= 1 && grid.z >= 1 && grid.x <= 0x7fffffffu && grid.y <= GRID_YZ &&
                     grid.z <= GRID_YZ && shared + f->shared_bytes <= SHARED &&
                     (f->threads_max == 0 || threads <= f->threads_max);
    if (!fits)
        (void)snprintf(why, PTX_WHY,
                       "%s: a grid of %u x %u x %u, blocks of %u x %u x %u, %zu bytes of dynamic "
                       "shared memory cannot be launched",
                       f->name, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared);
    return fits;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **args,
                               size_t shared, cudaStream_t stream)
{
    enum { PARAMS = 4096 };
    emu_kernel *k = (emu_kernel *)(void *)kernel;
    char why[PTX_WHY];
    _Alignas(16) unsigned char params[PARAMS];
    emu_enter();
    const ptx_function *f = emu_modules_function(k, why);
    cudaError_t error = emu_state();
    if (f == NULL)
        error = emu_fails(cudaErrorInvalidDeviceFunction, why);
    else if (!is_launch(f, grid, block, shared, why))
        error = emu_fails(cudaErrorInvalidConfiguration, why);
    else
        load(k);
    emu_leave();
    if (error != cudaSuccess)
        return error;
    for (int p = 0; p < f->param_count; p++)
        memcpy(params + f->param_at[p], args[p], (size_t)f->param_bytes[p]);
    const ptx_launch launch = {.module = k->module->parsed,
                               .f = f,
                               .grid = {grid.x, grid.y, grid.z},
                               .size = {block.x, block.y, block.z},
                               .dynamic_bytes = (uint32_t)shared,
                               .params = params};
    return emu_queue_kernel(stream, &launch);
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *out, const void *host)
{
    char why[PTX_WHY];
    memset(out, 0, sizeof *out);
    emu_enter();
    emu_kernel *k = emu_modules_find(host);
    const ptx_function *f = k != NULL ? emu_modules_function(k, why) : NULL;
    cudaError_t error = cudaSuccess;
    if (f == NULL)
        error = emu_fails(cudaErrorInvalidDeviceFunction,
                          k != NULL ? why : "want a kernel, found none");
    else {
        load(k);
        out->sharedSizeBytes = (size_t)f->shared_bytes;
    }
    emu_leave();
    return error;
}

/* ---- the device ---- */

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorInvalidDeviceFunction:
        return "invalid device function";
    case cudaErrorInvalidResourceHandle:
        return "invalid resource handle";
    case cudaErrorNotReady:
        return "device not ready";
    case cudaErrorLaunchFailure:
        return "unspecified launch failure";
    default:
        return "unrecognized error code";
    }
}

static cudaError_t fails(cudaError_t error, const char *what)
{
    emu_enter();
    const cudaError_t given = emu_fails(error, what);
    emu_leave();
    return given;
}

/* One; or, for ranks that have one each, as many as LT_EMU_DEVICES says. */
static int device_count(void)
{
    const char *text = getenv("LT_EMU_DEVICES");
    return text != NULL ? (int)strtol(text, NULL, 10) : 1;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = device_count();
    return *count > 0 ? cudaSuccess : fails(cudaErrorNoDevice, NULL);
}

cudaError_t cudaSetDevice(int device)
{
    return device >= 0 && device < device_count() ? cudaSuccess
                                                  : fails(cudaErrorInvalidDevice, NULL);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int device)
{
    enum { PROCESSORS = 4, MAJOR = 9 };
    memset(out, 0, sizeof *out);
    if (device < 0 || device >= device_count())
        return fails(cudaErrorInvalidDevice, NULL);
    out->uuid.bytes[0] = (char)(device + 1);
    (void)snprintf(out->name, sizeof out->name, "an interpreter of PTX");
    emu_enter();
    out->totalGlobalMem = emu_memory_limit();
    emu_leave();
    out->major = MAJOR;
    out->multiProcessorCount = PROCESSORS;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

/* Each reaches each other, as over NVLink. */
cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer)
{
    if (device == peer || device < 0 || peer < 0 || device >= device_count() ||
        peer >= device_count())
        return fails(cudaErrorInvalidDevice, NULL);
    *can = 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetP2PAttribute(int *value, enum cudaDeviceP2PAttr which, int device,
                                      int peer)
{
    if (which != cudaDevP2PAttrNativeAtomicSupported)
        return fails(cudaErrorInvalidValue, "asks for a link's property that we do not use");
    return cudaDeviceCanAccessPeer(value, device, peer);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}

/* ---- memory ---- */

cudaError_t cudaMemGetInfo(size_t *left, size_t *all)
{
    emu_enter();
    *all = emu_memory_limit();
    *left = *all > emu_memory_used() ? *all - emu_memory_used() : 0;
    emu_leave();
    return cudaSuccess;
}

static cudaError_t take(void **out, size_t bytes, int is_pinned)
{
    emu_note(EMU_TAKE, is_pinned ? "cudaHostAlloc" : "cudaMalloc");
    emu_enter();
    cudaError_t error = emu_state();
    const uint64_t address = error == cudaSuccess ? emu_memory_new(bytes, is_pinned) : 0;
    *out = (void *)(uintptr_t)address;
    if (error == cudaSuccess && address == 0)
        error = emu_fails(cudaErrorMemoryAllocation, NULL);
    emu_leave();
    return error;
}

/* CUDA may wait for the device here: what is queued runs first. */
static cudaError_t give(void *p, int is_pinned)
{
    cudaError_t error = cudaSuccess;
    emu_note(EMU_GIVE, is_pinned ? "cudaFreeHost" : "cudaFree");
    emu_enter();
    emu_run_all();
    if (p != NULL && !emu_memory_free((uint64_t)(uintptr_t)p, is_pinned))
        error = emu_fails(cudaErrorInvalidValue, "gives back memory that was not taken so");
    emu_leave();
    return error;
}

cudaError_t cudaMalloc(void **out, size_t bytes) { return take(out, bytes, 0); }
cudaError_t cudaFree(void *p) { return give(p, 0); }
cudaError_t cudaFreeHost(void *p) { return give(p, 1); }

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags)
{
    if (flags != cudaHostAllocDefault && flags != cudaHostAllocMapped)
        return fails(cudaErrorInvalidValue, "pinned memory of a kind that we do not use");
    return take(out, bytes, 1);
}

static emu_copy copy_of(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                        size_t width, size_t rows, enum cudaMemcpyKind kind)
{
    const emu_copy c = {.to = (uint64_t)(uintptr_t)to,
                        .from = (uint64_t)(uintptr_t)from,
                        .to_pitch = to_pitch,
                        .from_pitch = from_pitch,
                        .width = width,
                        .rows = rows,
                        .kind = kind};
    return c;
}

/* At once: the default stream waits for none of those that do not wait for it. */
cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                         size_t width, size_t rows, enum cudaMemcpyKind kind)
{
    const emu_copy c = copy_of(to, to_pitch, from, from_pitch, width, rows, kind);
    if (width > to_pitch || width > from_pitch)
        return fails(cudaErrorInvalidValue, "a copy of rows wider than their pitch");
    emu_note(EMU_BLOCK, "cudaMemcpy2D");
    emu_enter();
    if (emu_state() == cudaSuccess)
        (void)emu_do_copy(&c);
    const cudaError_t error = emu_state();
    emu_leave();
    return error;
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t rows, enum cudaMemcpyKind kind,
                              cudaStream_t stream)
{
    const emu_copy c = copy_of(to, to_pitch, from, from_pitch, width, rows, kind);
    if (width > to_pitch || width > from_pitch)
        return fails(cudaErrorInvalidValue, "a copy of rows wider than their pitch");
    return emu_queue_copy(stream, &c);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    const emu_copy c = copy_of(to, bytes, from, bytes, bytes, 1, kind);
    return emu_queue_copy(stream, &c);
}

/* ---- the driver's one call ---- */

static CUresult wait_value(CUstream stream, CUdeviceptr at, cuuint32_t value, unsigned flags)
{
    emu_enter();
    const emu_range *r = emu_memory_find((uint64_t)at, sizeof value);
    const int good =
        r != NULL && r->is_pinned && at % sizeof value == 0 && flags == CU_STREAM_WAIT_VALUE_GEQ;
    if (!good)
        (void)emu_fails(cudaErrorInvalidValue, "want a word in pinned memory to wait for");
    emu_leave();
    if (!good)
        return CUDA_ERROR_INVALID_VALUE;
    return emu_queue_value((cudaStream_t)stream, (const uint32_t *)(uintptr_t)at, value) ==
                   cudaSuccess
               ? CUDA_SUCCESS
               : CUDA_ERROR_LAUNCH_FAILED;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **out, unsigned version,
                                             unsigned long long flags,
                                             enum cudaDriverEntryPointQueryResult *result)
{
    CUresult (*fn)(CUstream, CUdeviceptr, cuuint32_t, unsigned) = wait_value;
    const int known =
        strcmp(name, "cuStreamWaitValue32") == 0 && version >= 12000 && flags == cudaEnableDefault;
    *out = NULL;
    *result = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    if (known)
        memcpy(out, &fn, sizeof fn);
    return cudaSuccess;
}
