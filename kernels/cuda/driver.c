/* driver.c - the one call of the driver that the runtime has no name for.
 * The library is not linked against libcuda, so that it loads, and says what lacks, without one. */
#include <cuda.h>

#include "kernels/cuda/cuda.h"

cudaError_t lt_cuda_wait_value(cudaStream_t stream, const uint32_t *at, uint32_t value)
{
    enum { SINCE = 12000 }; /* the call's version 2, which every driver of CUDA 12 on has */
    typedef CUresult (*wait_value)(CUstream, CUdeviceptr, cuuint32_t, unsigned);
    void *found = NULL;
    enum cudaDriverEntryPointQueryResult how;
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuStreamWaitValue32", &found, SINCE,
                                                               cudaEnableDefault, &how);
    if (error != cudaSuccess)
        return error;
    if (how != cudaDriverEntryPointSuccess || found == NULL)
        return cudaErrorNotSupported;
    wait_value call;
    memcpy(&call, &found, sizeof call);
    const CUresult result =
        call((CUstream)stream, (CUdeviceptr)(uintptr_t)at, value, CU_STREAM_WAIT_VALUE_GEQ);
    return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorUnknown;
}
