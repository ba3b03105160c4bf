/* arena.c - memory that is taken in blocks and given back by marks.
 *
 * base                                       used              capacity
 *  |  block 0  |pad|  block 1  |pad| ...       |   free           |
 *
 * Blocks begin at multiples of 64 bytes: a cache line, and an AVX-512 register. The name of each is
 * written in a table beside it that doubles as it fills: it never shrinks, so taking a block calls
 * malloc a few times in an arena's life, not once a block.
 *
 * Under AddressSanitizer each block of host memory is followed by GAP_BYTES of poison, and what was
 * released is poisoned. The gaps must not change what fits, or a plan made by a dry run would be
 * wrong in the very build that looks for errors: such an arena reserves twice its capacity, and the
 * place of a block (with gaps) is kept apart from the count of used bytes (without). Fresh memory
 * past the last block is left alone: poisoning a generous capacity would touch an eighth of it. */
#include "base/arena.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifndef HAVE_ASAN
#define HAVE_ASAN 0
#endif
#if HAVE_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum { ALIGN_BYTES = 64, GAP_BYTES = HAVE_ASAN ? 64 : 0, BLOCKS_FIRST = 256 };

typedef struct block {
    const char *what;
    size_t used;  /* the arena's used before this block */
    size_t place; /* bytes from the arena's base */
    size_t bytes;
} block;

struct lt_arena {
    const char *name;
    lt_memory mem;
    void *base;
    size_t capacity, used, peak;
    size_t reserved; /* bytes that mem was asked for */
    size_t place;    /* where the next block begins: used plus the gaps */
    size_t touched;  /* highest place ever: what AddressSanitizer may have poisoned */
    block *blocks;   /* [block_room], a stack */
    size_t block_count, block_room;
};

static lt_status host_alloc(void *ctx, size_t bytes, void **out)
{
    (void)ctx;
    void *p = mmap(NULL, bytes > 0 ? bytes : 1, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        LT_FAIL(LT_ENOMEM, "host memory: cannot reserve %zu bytes: %s", bytes, strerror(errno));
    (void)madvise(p, bytes, MADV_HUGEPAGE); /* a wish: fewer faults and page walks */
    *out = p;
    return LT_OK;
}

static void host_release(void *ctx, void *p, size_t bytes)
{
    (void)ctx;
    const int gone = munmap(p, bytes > 0 ? bytes : 1);
    assert(gone == 0);
    (void)gone;
}

const lt_memory lt_memory_host = {"host", NULL, host_alloc, host_release, NULL, 1, 0};

/* Backends may hand out addresses that no code can follow, so no pointer arithmetic. */
static void *at(const lt_arena *a, size_t place) { return (void *)((uintptr_t)a->base + place); }

/* Are its gaps poisoned? */
static int has_gaps(const lt_memory *mem) { return HAVE_ASAN && mem->host && !mem->is_part; }

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
}

lt_status lt_arena_new(const char *name, const lt_memory *mem, size_t capacity_bytes,
                       lt_arena **out)
{
    assert(name != NULL && mem != NULL && mem->alloc != NULL && mem->release != NULL);
    *out = NULL;
    if (capacity_bytes > SIZE_MAX / 4)
        LT_FAIL(LT_ENOMEM, "arena %s: %zu bytes are more than any memory", name, capacity_bytes);
    lt_arena *a = calloc(1, sizeof *a);
    if (a == NULL)
        LT_FAIL(LT_ENOMEM, "arena %s: no memory for its description", name);
    a->name = name;
    a->mem = *mem;
    a->capacity = capacity_bytes;
    a->reserved = aligned(capacity_bytes);
    if (has_gaps(mem))
        a->reserved += a->reserved / ALIGN_BYTES * GAP_BYTES;
    lt_status st = LT_OK;
    LT_TRY_GOTO(mem->alloc(mem->ctx, a->reserved, &a->base), st, no_base);
    assert((uintptr_t)a->base % ALIGN_BYTES == 0);
    *out = a;
    return LT_OK;
no_base:
    free(a);
    return st;
}

void lt_arena_free(lt_arena **arena)
{
    lt_arena *a = *arena;
    if (a == NULL)
        return;
    if (has_gaps(&a->mem))
        ASAN_UNPOISON_MEMORY_REGION(a->base, a->touched);
    a->mem.release(a->mem.ctx, a->base, a->reserved);
    free(a->blocks);
    free(a);
    *arena = NULL;
}

/* Bytes that may still be taken. The last block's padding may reach past the capacity. */
static size_t left_in(const lt_arena *a)
{
    return a->used < a->capacity ? a->capacity - a->used : 0;
}

/* The largest block that is held, or NULL. Only an error asks, so a walk is cheap enough. */
static const block *largest_block(const lt_arena *a)
{
    const block *best = NULL;
    for (size_t i = 0; i < a->block_count; i++)
        if (best == NULL || a->blocks[i].bytes > best->bytes)
            best = &a->blocks[i];
    return best;
}

static lt_status full(const lt_arena *a, const char *what, size_t bytes)
{
    const block *p = largest_block(a);
    if (p == NULL)
        LT_FAIL(LT_ENOMEM, "arena %s (%s): %s wants %zu bytes, %zu of %zu left; nothing is held",
                a->name, a->mem.name, what, bytes, left_in(a), a->capacity);
    LT_FAIL(LT_ENOMEM,
            "arena %s (%s): %s wants %zu bytes, %zu of %zu left; largest of %zu: %s, %zu bytes",
            a->name, a->mem.name, what, bytes, left_in(a), a->capacity, a->block_count, p->what,
            p->bytes);
}

/* Room for one block more. */
static lt_status block_room(lt_arena *a, const char *what)
{
    if (a->block_count < a->block_room)
        return LT_OK;
    const size_t room = a->block_room > 0 ? 2 * a->block_room : BLOCKS_FIRST;
    block *more = realloc(a->blocks, room * sizeof *more);
    if (more == NULL)
        LT_FAIL(LT_ENOMEM, "arena %s (%s): %s: no memory for a table of %zu pieces", a->name,
                a->mem.name, what, room);
    a->blocks = more;
    a->block_room = room;
    return LT_OK;
}

lt_status lt_arena_alloc(lt_arena *arena, const char *what, size_t bytes, void **out)
{
    lt_arena *a = arena;
    assert(a != NULL && what != NULL && a->used % ALIGN_BYTES == 0);
    *out = NULL;
    if (bytes > left_in(a))
        return full(a, what, bytes);
    LT_TRY(block_room(a, what));
    *out = at(a, a->place);
    if (bytes == 0)
        return LT_OK;
    const size_t taken = aligned(bytes);
    const size_t gap = has_gaps(&a->mem) ? GAP_BYTES : 0;
    assert(a->place + taken + gap <= a->reserved);
    if (gap > 0) {
        ASAN_UNPOISON_MEMORY_REGION(*out, bytes);
        ASAN_POISON_MEMORY_REGION(at(a, a->place + bytes), taken - bytes + gap);
    }
    a->blocks[a->block_count++] = (block){what, a->used, a->place, bytes};
    a->used += taken;
    a->place += taken + gap;
    if (a->used > a->peak)
        a->peak = a->used;
    if (a->place > a->touched)
        a->touched = a->place;
    return LT_OK;
}

lt_mark lt_arena_mark(const lt_arena *arena) { return (lt_mark){arena->used}; }

void lt_arena_release(lt_arena *arena, lt_mark mark)
{
    lt_arena *a = arena;
    assert(mark.used <= a->used && mark.used % ALIGN_BYTES == 0);
    const size_t end = a->place;
    while (a->block_count > 0 && a->blocks[a->block_count - 1].used >= mark.used)
        a->place = a->blocks[--a->block_count].place;
    a->used = mark.used;
    if (end == a->place)
        return;
    if (a->mem.discard != NULL)
        a->mem.discard(a->mem.ctx, at(a, a->place), end - a->place);
    if (has_gaps(&a->mem))
        ASAN_POISON_MEMORY_REGION(at(a, a->place), end - a->place);
}

size_t lt_arena_used(const lt_arena *arena) { return arena->used; }
size_t lt_arena_peak(const lt_arena *arena) { return arena->peak; }
void lt_arena_peak_reset(lt_arena *arena) { arena->peak = arena->used; }
size_t lt_arena_capacity(const lt_arena *arena) { return arena->capacity; }
int lt_arena_is_host(const lt_arena *arena) { return arena->mem.host; }
