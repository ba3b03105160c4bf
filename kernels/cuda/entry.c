/* entry.c - what longtake_cuda.so shows the program (kernels/gpu_part.h). */
#include "kernels/cuda/cuda.h"
#include "kernels/gpu_part.h"

/* What stands between this part and a film on a card; tests/shim builds it without. */
#ifndef LT_CUDA_MISSING
#define LT_CUDA_MISSING "a plan of its memory, and a first run on a card (kernels/cuda/README.md)"
#endif

/* "2: NVIDIA H100 80GB HBM3 (sm_90), NVIDIA H100 80GB HBM3 (sm_90)" */
static int devices(char *text, size_t bytes)
{
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count < 1) {
        (void)cudaGetLastError();
        (void)snprintf(text, bytes, "%s", cudaGetErrorString(error));
        return 0;
    }
    size_t used = (size_t)snprintf(text, bytes, "%d:", count);
    for (int i = 0; i < count && used < bytes; i++) {
        lt_device d;
        lt_backend_cuda.describe(i, &d);
        const int n =
            snprintf(text + used, bytes - used, "%s %s (%s)", i > 0 ? "," : "", d.name, d.isa);
        used += n > 0 ? (size_t)n : 0;
    }
    return count;
}

#ifdef LT_HAVE_NCCL
#define LT_EXCHANGE &lt_exchange_nccl
static int exchange_found(char *text, size_t bytes) { return lt_nccl_found(text, bytes); }
#else
#define LT_EXCHANGE NULL
static int exchange_found(char *text, size_t bytes)
{
    (void)snprintf(text, bytes, "this GPU part was built without NCCL");
    return 0;
}
#endif

static int attention_found(char *text, size_t bytes)
{
    struct cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, 0) == cudaSuccess)
        return lt_cuda_dnn_found(p.major, text, bytes);
    (void)cudaGetLastError();
    (void)snprintf(text, bytes, "our own attention: no device");
    return 0;
}

__attribute__((visibility("default"))) const lt_gpu_part *lt_gpu_part_entry(void)
{
    static const lt_gpu_part part = {.api = LT_GPU_PART_API,
                                     .backend_api = LT_BACKEND_API,
                                     .op_bytes = sizeof(lt_op),
                                     .version = LT_VERSION,
                                     .backend = &lt_backend_cuda,
                                     .missing = LT_CUDA_MISSING,
                                     .devices = devices,
                                     .exchange = LT_EXCHANGE,
                                     .exchange_found = exchange_found,
                                     .attention_found = attention_found};
    return &part;
}
