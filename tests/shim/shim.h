/* shim.h - what block.cpp and stream.cpp know of each other. */
#ifndef LT_SHIM_H
#define LT_SHIM_H

#include "cuda_runtime_api.h"
#include "tests/shim/device.h"

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t lt_shim_draw(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Run all blocks of a launch now, on the calling thread. seed 0: in order. */
void lt_shim_run_blocks(dim3 grid, dim3 block, size_t shared, void (*fn)(const void *),
                        const void *work, uint64_t seed);

#endif
