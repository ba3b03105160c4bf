/* driver.c - a libcuda.so.1 that has no device and in which loading code succeeds.
 * cuDNN makes plans for a described device without one, but takes its kernels apart with the
 * driver's calls: all that it looks up by name must be there. What it asks for is a handle that
 * nobody opens. */
#define EXPORT __attribute__((visibility("default")))

/* name() succeeds. */
#define WELL(name)                                                                                 \
    EXPORT int name(void);                                                                         \
    EXPORT int name(void) { return 0; }
/* name(out) gives a handle. */
#define GIVES(name)                                                                                \
    EXPORT int name(void **out);                                                                   \
    EXPORT int name(void **out)                                                                    \
    {                                                                                              \
        *out = (void *)out;                                                                        \
        return 0;                                                                                  \
    }
/* name(out) gives 0. */
#define ZERO(name)                                                                                 \
    EXPORT int name(int *out);                                                                     \
    EXPORT int name(int *out)                                                                      \
    {                                                                                              \
        *out = 0;                                                                                  \
        return 0;                                                                                  \
    }

enum { NO_DEVICE = 100, DRIVER = 13000 };

EXPORT int cuInit(unsigned flags);
EXPORT int cuInit(unsigned flags)
{
    (void)flags;
    return NO_DEVICE;
}

EXPORT int cuDriverGetVersion(int *version);
EXPORT int cuDriverGetVersion(int *version)
{
    *version = DRIVER;
    return 0;
}

EXPORT int cuGetErrorString(int error, const char **text);
EXPORT int cuGetErrorString(int error, const char **text)
{
    (void)error;
    *text = "an error of a test's driver";
    return 0;
}

EXPORT int cuGetErrorName(int error, const char **text);
EXPORT int cuGetErrorName(int error, const char **text) { return cuGetErrorString(error, text); }

GIVES(cuLibraryLoadData)
GIVES(cuLibraryLoadFromFile)
GIVES(cuLibraryGetKernel)
GIVES(cuLibraryGetModule)
GIVES(cuLibraryGetGlobal)
GIVES(cuKernelGetFunction)
GIVES(cuModuleLoad)
GIVES(cuModuleLoadData)
GIVES(cuModuleGetFunction)
GIVES(cuModuleGetGlobal)
GIVES(cuModuleGetGlobal_v2)
GIVES(cuStreamGetCtx)
GIVES(cuCtxGetCurrent)
ZERO(cuKernelGetAttribute)
ZERO(cuFuncGetAttribute)
WELL(cuLibraryUnload)
WELL(cuKernelSetAttribute)
WELL(cuKernelSetCacheConfig)
WELL(cuFuncSetAttribute)
WELL(cuFuncSetCacheConfig)
WELL(cuModuleUnload)
WELL(cuLaunchKernel)
WELL(cuLaunchKernelEx)
WELL(cuLaunchCooperativeKernel)
WELL(cuOccupancyMaxActiveBlocksPerMultiprocessor)
WELL(cuOccupancyMaxActiveClusters)
WELL(cuOccupancyMaxPotentialClusterSize)
WELL(cuTensorMapEncodeTiled)
WELL(cuTensorMapEncodeIm2col)
WELL(cuCtxSetCurrent)
WELL(cuCtxPushCurrent)
WELL(cuCtxPushCurrent_v2)
WELL(cuCtxPopCurrent)
WELL(cuCtxPopCurrent_v2)
WELL(cuCtxGetLimit)
WELL(cuDeviceGet)
WELL(cuDeviceGetCount)
WELL(cuDeviceGetAttribute)
WELL(cuMemcpyHtoD_v2)
WELL(cuMemcpyHtoDAsync_v2)
WELL(cuMemsetD8Async)
WELL(cuMemsetD32Async)
WELL(cuLinkCreate)
WELL(cuLinkAddData)
WELL(cuLinkComplete)
WELL(cuLinkDestroy)
