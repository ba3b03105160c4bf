/* memory.c - see memory.h. */
#include "tests/emu/memory.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Room between two pieces, so that what runs past one is in none. */
enum { GAP = 1 << 16, PAGE = 4096 };

/* Device addresses count up from here and are never given twice; no process of this kind of
 * machine has anything there (the kernel gives addresses from above). */
#define FIRST_ADDRESS ((uint64_t)0x200000000000u)

static emu_range *ranges;
static uint64_t next_address = FIRST_ADDRESS;
static size_t limit, used;

size_t emu_memory_limit(void)
{
    enum { MIB = 1 << 20, DEFAULT_MIB = 4096 };
    if (limit == 0) {
        const char *text = getenv("LT_EMU_MEMORY");
        char *unit = NULL;
        limit = text != NULL ? (size_t)strtoull(text, &unit, 10) : DEFAULT_MIB;
        limit *= unit != NULL && *unit == 'B' ? 1 : MIB;
    }
    return limit;
}

void emu_memory_set_limit(size_t bytes) { limit = bytes; }

size_t emu_memory_used(void) { return used; }

static size_t pages(size_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }

static void *map(void *at, size_t bytes, int protection)
{
    void *p =
        mmap(at, pages(bytes), protection,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at != NULL ? MAP_FIXED : 0), -1, 0);
    return p != MAP_FAILED ? p : NULL;
}

static void unmap(emu_range *r)
{
    if (r->data != NULL)
        (void)munmap(r->data, pages(r->bytes));
    if (r->known != NULL)
        (void)munmap(r->known, pages(r->bytes));
    if (r->stamp != NULL)
        (void)munmap(r->stamp, pages(r->bytes * sizeof *r->stamp));
    if (!r->is_pinned)
        (void)munmap((void *)(uintptr_t)r->address, pages(r->bytes));
    free(r);
}

static int map_device(emu_range *r)
{
    r->address = next_address;
    next_address += pages(r->bytes) + GAP;
    r->data = map(NULL, r->bytes, PROT_READ | PROT_WRITE);
    r->known = map(NULL, r->bytes, PROT_READ | PROT_WRITE);
    r->stamp = map(NULL, r->bytes * sizeof *r->stamp, PROT_READ | PROT_WRITE);
    return r->data != NULL && r->known != NULL && r->stamp != NULL &&
           map((void *)(uintptr_t)r->address, r->bytes, PROT_NONE) != NULL;
}

uint64_t emu_memory_new(size_t bytes, int is_pinned)
{
    if (!is_pinned && (bytes > emu_memory_limit() || used > emu_memory_limit() - bytes))
        return 0;
    emu_range *r = calloc(1, sizeof *r);
    if (r == NULL)
        return 0;
    r->bytes = bytes;
    r->is_pinned = is_pinned;
    if (is_pinned) {
        r->data = map(NULL, bytes, PROT_READ | PROT_WRITE);
        r->address = (uint64_t)(uintptr_t)r->data;
    }
    if (is_pinned ? r->data == NULL : !map_device(r)) {
        unmap(r);
        return 0;
    }
    used += is_pinned ? 0 : bytes;
    r->next = ranges;
    ranges = r;
    return r->address;
}

int emu_memory_free(uint64_t address, int is_pinned)
{
    for (emu_range **at = &ranges; *at != NULL; at = &(*at)->next)
        if ((*at)->address == address && (*at)->is_pinned == is_pinned) {
            emu_range *r = *at;
            *at = r->next;
            used -= is_pinned ? 0 : r->bytes;
            unmap(r);
            return 1;
        }
    return 0;
}

emu_range *emu_memory_find(uint64_t address, size_t bytes)
{
    for (emu_range *r = ranges; r != NULL; r = r->next)
        if (address >= r->address && bytes <= r->bytes && address - r->address <= r->bytes - bytes)
            return r;
    return NULL;
}

int emu_memory_is_device(uint64_t address)
{
    return address >= FIRST_ADDRESS - GAP && address < next_address;
}
