/* memory.h - the device's memory, and pinned memory of the host, as the stand-ins have it.
 *
 * A device address is a place in memory that the host cannot touch (PROT_NONE): host code that
 * follows one ends with SIGSEGV. The bytes lie elsewhere, each with what is known of it: whether it
 * has a value, and which block of which launch wrote it. A block that reads or writes what another
 * block of the same launch has written is wrong, whatever the order was.
 *
 * All functions are Local; the caller holds emu_lock. Tested: tests/emu/test_ptx.c. */
#ifndef LT_EMU_MEMORY_H
#define LT_EMU_MEMORY_H

#include <stddef.h>
#include <stdint.h>

typedef struct emu_range {
    uint64_t address; /* as the program sees it */
    size_t bytes;
    unsigned char *data;
    unsigned char *known; /* 1: has a value. NULL: pinned, which the host may write at any time */
    uint32_t *stamp;      /* the block that wrote it last (ptx_block.stamp) */
    int is_pinned;
    struct emu_range *next;
} emu_range;

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t emu_draw(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 where the device has no room left (device memory is counted, pinned is not). */
uint64_t emu_memory_new(size_t bytes, int is_pinned);
/* 0: no such memory begins there. */
int emu_memory_free(uint64_t address, int is_pinned);
/* What [address, address + bytes) lies in, or NULL. */
emu_range *emu_memory_find(uint64_t address, size_t bytes);
/* Whether address lies in the device's memory, or just before or behind a piece of it. */
int emu_memory_is_device(uint64_t address);

size_t emu_memory_limit(void); /* LT_EMU_MEMORY; else 4 GiB */
void emu_memory_set_limit(size_t bytes);
size_t emu_memory_used(void);

#endif
