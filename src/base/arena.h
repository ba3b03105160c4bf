/* arena.h - memory that is taken in blocks and given back by marks.
 *
 * A rank has four arenas: `run` (plan, options), `phase` (weights and tables of the part at work),
 * `clip` (latents, on the host) and `step` (released after each sigma). An arena takes its whole
 * capacity once from an lt_memory; host memory is mapped without being touched, so that capacity
 * costs addresses alone until it is used (`ulimit -v` counts those: a plan asks for what its dry
 * run found). Blocks are 64-byte aligned and carry a name: a full arena says who filled it. Under
 * AddressSanitizer the gaps between blocks are poisoned (host memory).
 *
 * All functions are Local and Blocking. An arena belongs to one thread at a time; an
 * engine's to the main thread (docs/design.md 4, threads of a rank). */
#ifndef LT_ARENA_H
#define LT_ARENA_H

#include <stddef.h>

#include "status.h"

/* Where an arena's bytes come from. ctx is handed back to each function.
 * discard (may be NULL) is told that [p, p + bytes) holds nothing of worth any more, in the order
 * of the owner's queues: the backend `far` fills it with NaN. */
typedef struct lt_memory {
    const char *name;
    void *ctx;
    lt_status (*alloc)(void *ctx, size_t bytes, void **out);
    void (*release)(void *ctx, void *p, size_t bytes);
    void (*discard)(void *ctx, void *p, size_t bytes);
    int host;    /* 1: the CPU may follow pointers into it */
    int is_part; /* 1: a block of another arena, copied as a whole: nothing in it is poisoned */
} lt_memory;

/* Anonymous pages of this process, reserved lazily (MAP_NORESERVE). */
extern const lt_memory lt_memory_host;

typedef struct lt_arena lt_arena;
typedef struct lt_mark {
    size_t used;
} lt_mark;

/* name and mem must outlive the arena. Errors: LT_ENOMEM with name and numbers. */
lt_status lt_arena_new(const char *name, const lt_memory *mem, size_t capacity_bytes,
                       lt_arena **out);
void lt_arena_free(lt_arena **arena);

/* bytes = 0 gives a valid, aligned address of no bytes. what must outlive the arena (a literal).
 * Errors: LT_ENOMEM: arena, what, wanted, left, and the largest block held. */
lt_status lt_arena_alloc(lt_arena *arena, const char *what, size_t bytes, void **out);

/* All that was taken after the mark is given back at once. */
lt_mark lt_arena_mark(const lt_arena *arena);
void lt_arena_release(lt_arena *arena, lt_mark mark);

size_t lt_arena_used(const lt_arena *arena);
size_t lt_arena_peak(const lt_arena *arena); /* highest use since new or the last reset */
void lt_arena_peak_reset(lt_arena *arena);
size_t lt_arena_capacity(const lt_arena *arena);
int lt_arena_is_host(const lt_arena *arena);

#endif
