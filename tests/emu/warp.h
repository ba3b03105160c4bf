/* warp.h - what runs: a warp, its block, a launch; what the tables of instructions share.
 *
 * Lanes of a warp run in step. Where they part, the ones at the lowest place in the code go first
 * and are joined by the others when they come there: compiled code is laid out so that this is
 * where they meet. An instruction with a mask of lanes (shfl.sync, bar.warp.sync, mma, ldmatrix)
 * waits until all that it names have come.
 *
 * All functions are Local and Blocking. */
#ifndef LT_PTX_WARP_H
#define LT_PTX_WARP_H

#include <string.h>

#include "tests/emu/memory.h"
#include "tests/emu/ptx.h"

enum { PTX_WARPS = 32, PTX_COPIES = 4096, PTX_ALL = 0xffffffff };

/* A byte of shared memory: who touched it last, and when (ptx_block.now). */
typedef struct ptx_byte {
    uint32_t written, read;
    uint16_t writer, reader; /* a thread; PTX_PENDING, PTX_SEVERAL + warp, PTX_MANY */
} ptx_byte;
enum { PTX_SEVERAL = 0x4000, PTX_MANY = 0xfffd, PTX_PENDING = 0xfffe };

/* A cp.async that has not been waited for. */
typedef struct ptx_copy {
    uint64_t from;
    uint32_t to, group;
    uint8_t lane, bytes;
} ptx_copy;

/* Of global memory: instructions; pieces of 32 bytes that their lanes touch; how many would do for
 * the bytes that they ask for, each once. */
typedef struct ptx_traffic {
    uint64_t requests, sectors, ideal;
} ptx_traffic;

typedef struct ptx_counts {
    uint64_t instructions, lanes; /* a warp's; of all lanes */
    uint64_t blocks, launches;
    uint64_t mma;
    ptx_traffic loads, stores; /* a cp.async is a load */
} ptx_counts;

typedef struct ptx_block ptx_block;

struct ptx_warp {
    unsigned char *file;
    ptx_block *block;
    int number;
    uint32_t live, active;
    uint32_t waiting;    /* at an instruction that wants more lanes */
    uint32_t at_barrier; /* of the block */
    int32_t pc, join;    /* join: the lowest place at which other lanes stand */
    int32_t lane_pc[PTX_LANES];
    uint32_t synced;            /* ptx_block.now at the last bar.warp.sync */
    uint32_t groups[PTX_LANES]; /* cp.async groups that a lane has ended */
    ptx_copy *copies;
    int copy_count;
};

struct ptx_block {
    const ptx_module *module;
    const ptx_function *f;
    uint32_t grid[3], size[3], index[3];
    uint32_t stamp; /* this block's number, of all that ever ran; the launch began at first_stamp */
    uint32_t first_stamp;
    unsigned char *params;
    unsigned char *shared;
    ptx_byte *bytes; /* of shared */
    uint32_t shared_bytes;
    uint32_t now;        /* counts barriers, of the block and of warps */
    uint32_t begun, met; /* now, when the block began; at its last barrier */
    ptx_warp warp[PTX_WARPS];
    int warps;
    int sums;        /* how mma adds: PTX_SUMS_* */
    emu_range *last; /* where the last access to global memory was */
    ptx_counts counts;
    char *why; /* PTX_WHY bytes; not "": something is wrong, nothing goes on */
};

enum { PTX_SUMS_ORDERED, PTX_SUMS_WIDE, PTX_SUMS_TRUNCATED, PTX_SUMS_KINDS };

typedef struct ptx_launch {
    const ptx_module *module;
    const ptx_function *f;
    uint32_t grid[3], size[3];
    uint32_t dynamic_bytes;
    const void *params; /* f->params_bytes */
    uint64_t seed;      /* 0: blocks and warps in order */
    int sums;
} ptx_launch;

/* Run all blocks. Not 0: why says what was wrong, with kernel, place and instruction. */
int ptx_run_launch(const ptx_launch *l, ptx_counts *counts, char why[PTX_WHY]);

void ptx_add_counts(ptx_counts *to, const ptx_counts *from);

/* What is wrong, at an instruction; address: of what, or 0. The first one stays. */
void ptx_fault(ptx_warp *w, const ptx_ins *i, int lane, const char *what, uint64_t address);

/* All lanes of `named` that live are here: 1. Else they wait: 0, and another group runs. */
int ptx_converged(ptx_warp *w, const ptx_ins *i, uint32_t named);
/* After a branch, an exit, a barrier: who goes on. */
void ptx_regroup(ptx_warp *w);

static inline uint32_t *ptx_words(const ptx_warp *w, const ptx_ins *i, int k)
{
    return (uint32_t *)(void *)(w->file + i->operand[k]);
}

static inline uint64_t *ptx_longs(const ptx_warp *w, const ptx_ins *i, int k)
{
    return (uint64_t *)(void *)(w->file + i->operand[k]);
}

static inline float *ptx_floats(const ptx_warp *w, const ptx_ins *i, int k)
{
    return (float *)(void *)(w->file + i->operand[k]);
}

/* Of a register of either width. */
static inline uint64_t ptx_value(const ptx_warp *w, const ptx_ins *i, int k, int lane)
{
    return i->wide >> k & 1 ? ptx_longs(w, i, k)[lane] : ptx_words(w, i, k)[lane];
}

/* ---- shared.c ---- */

/* bytes of the block's shared memory for a lane, checked: bounds, alignment, races, no value. NULL
 * after a fault. */
unsigned char *ptx_shared(ptx_warp *w, const ptx_ins *i, int lane, uint64_t address, int bytes,
                          int is_write);
void ptx_copy_begin(ptx_warp *w, const ptx_ins *i, int lane, uint64_t to, uint64_t from, int bytes);
/* What of the lanes' groups is not among their last `left` arrives. */
void ptx_copy_wait(ptx_warp *w, const ptx_ins *i, uint32_t lanes, uint32_t left);

/* ---- ops_memory.c ---- */

/* The same of global memory. */
unsigned char *ptx_global(ptx_warp *w, const ptx_ins *i, int lane, uint64_t address, int bytes,
                          int is_write);
/* A request of the lanes, each for as many bytes at an address that they divide. */
void ptx_count_request(ptx_traffic *to, const uint64_t *address, uint32_t lanes, int bytes);

#endif
