/* entry.c - what longtake_cuda.so shows the program (kernels/gpu_part.h). */
#include "kernels/cuda/cuda.h"
#include "kernels/gpu_part.h"

/* What stands between this part and a film on a card; tests/shim builds it without. */
#ifndef LT_CUDA_MISSING
#define LT_CUDA_MISSING "a first run on a card (kernels/cuda/README.md)"
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

static void driver(char *text, size_t bytes)
{
    int theirs = 0, ours = 0;
    (void)cudaDriverGetVersion(&theirs);
    (void)cudaRuntimeGetVersion(&ours);
    (void)snprintf(text, bytes, "for CUDA %d.%d; this GPU part calls %d.%d", theirs / 1000,
                   theirs % 1000 / 10, ours / 1000, ours % 1000 / 10);
}

/* NVLink gives atomic operations on a peer's memory, PCIe does not. */
static void links(char *text, size_t bytes)
{
    int count = 0, pairs = 0, reached = 0, atomic = 0;
    text[0] = '\0';
    if (cudaGetDeviceCount(&count) != cudaSuccess || count < 2)
        return;
    for (int from = 0; from < count; from++)
        for (int to = 0; to < count; to++) {
            int can = 0, native = 0;
            if (from == to)
                continue;
            pairs++;
            (void)cudaDeviceCanAccessPeer(&can, from, to);
            if (can)
                (void)cudaDeviceGetP2PAttribute(&native, cudaDevP2PAttrNativeAtomicSupported, from,
                                                to);
            reached += can;
            atomic += native;
        }
    (void)cudaGetLastError();
    (void)snprintf(text, bytes,
                   "%d of %d pairs of devices reach each other's memory, %d with atomics (NVLink)",
                   reached, pairs, atomic);
}

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
                                     .attention_found = attention_found,
                                     .driver = driver,
                                     .links = links};
    return &part;
}
