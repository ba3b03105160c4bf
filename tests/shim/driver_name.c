/* driver_name.c - a libcuda.so.1 that is there, and nothing else: the shim needs none of it. */
int cuInit(unsigned flags);

int cuInit(unsigned flags)
{
    (void)flags;
    return 100; /* CUDA_ERROR_NO_DEVICE */
}
