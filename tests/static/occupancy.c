/* occupancy.c - how much of a multiprocessor a kernel's blocks fill, by NVIDIA's own rule.
 *
 * The rule is cuda_occupancy.h of the toolkit; what it must be told of a card stands in
 * "Technical Specifications per Compute Capability" of CUDA's programming guide. Lines in:
 * ARCH REGISTERS SHARED STACK SPILLED THREADS DYNAMIC KERNEL; out: the same, with the share of
 * resident threads in percent behind DYNAMIC. A share is of blocks that fit by registers, shared
 * memory, threads and number: nothing says that more of it is faster.
 * Needs: CUDA's headers. Exit: 0; 65 a line that cannot be computed, named. */
#include <cuda_occupancy.h>
#include <stdio.h>

enum { KIB = 1024, NAME = 256 };

static const struct {
    int arch, threads, shared_kib, shared_block_kib;
} cards[] = {
    {80, 2048, 164, 163}, {90, 2048, 228, 227}, {100, 2048, 228, 227}, {120, 1536, 100, 99}};

/* Percent; -1: no such card, or the block does not fit. */
static int occupancy(int arch, int registers, int shared, int threads, int dynamic)
{
    enum { REGISTERS = 65536, THREADS = 1024, WARP = 32, DEFAULT_SHARED = 48 * KIB };
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++) {
        if (cards[i].arch != arch)
            continue;
        const cudaOccDeviceProp card = {
            .computeMajor = arch / 10,
            .computeMinor = arch % 10,
            .maxThreadsPerBlock = THREADS,
            .maxThreadsPerMultiprocessor = cards[i].threads,
            .regsPerBlock = REGISTERS,
            .regsPerMultiprocessor = REGISTERS,
            .warpSize = WARP,
            .sharedMemPerBlock = DEFAULT_SHARED,
            .sharedMemPerMultiprocessor = (size_t)cards[i].shared_kib * KIB,
            .numSms = 1,
            .sharedMemPerBlockOptin = (size_t)cards[i].shared_block_kib * KIB,
            .reservedSharedMemPerBlock = KIB};
        const cudaOccFuncAttributes kernel = {.maxThreadsPerBlock = THREADS,
                                              .numRegs = registers,
                                              .sharedSizeBytes = (size_t)shared,
                                              .partitionedGCConfig = PARTITIONED_GC_OFF,
                                              .shmemLimitConfig = FUNC_SHMEM_LIMIT_DEFAULT,
                                              .numBlockBarriers = 1};
        const cudaOccDeviceState state = {.cacheConfig = CACHE_PREFER_NONE, .carveoutConfig = -1};
        cudaOccResult out;
        if (cudaOccMaxActiveBlocksPerMultiprocessor(&out, &card, &kernel, &state, threads,
                                                    (size_t)dynamic) != CUDA_OCC_SUCCESS ||
            out.activeBlocksPerMultiprocessor < 1)
            return -1;
        return out.activeBlocksPerMultiprocessor * threads * 100 / cards[i].threads;
    }
    return -1;
}

int main(void)
{
    int arch = 0, registers = 0, shared = 0, stack = 0, spilled = 0, threads = 0, dynamic = 0;
    char kernel[NAME];
    while (scanf("sm_%d %d %d %d %d %d %d %255s ", &arch, &registers, &shared, &stack, &spilled,
                 &threads, &dynamic, kernel) == 8) {
        const int share = occupancy(arch, registers, shared, threads, dynamic);
        if (share < 0) {
            (void)fprintf(stderr, "occupancy: sm_%d %s: a card that is not known, or too large\n",
                          arch, kernel);
            return 65;
        }
        (void)printf("sm_%d %d %d %d %d %d %d %d %s\n", arch, registers, shared, stack, spilled,
                     threads, dynamic, share, kernel);
    }
    return feof(stdin) ? 0 : 65;
}
