/* emu.h - what tests and the other stand-ins see of the stand-in for libcudart.
 *
 * The library has libcudart's soname and the entry points that longtake_cuda.so imports, so that
 * the very file that ships runs on it. It takes the PTX out of the fat binary that the file
 * registers and runs it (ptx.h). What is wrong in a kernel or a call ends as an error of CUDA's
 * that stays, as on a card, and a line on stderr says what it was.
 *
 * Streams keep their work. With seed 0 it runs at once, in order. With another it runs when
 * something needs it, or when the seed's sequence says so, of any stream whose head is ready;
 * copies read host memory when they run; blocks and warps are shuffled. LT_EMU_SEED is the seed of
 * a program that knows nothing of this; LT_EMU_MEMORY the device's memory in MiB, or in bytes with
 * a B behind.
 *
 * Any thread; Local. Tested: tests/emu/test_part.c. */
#ifndef LT_EMU_H
#define LT_EMU_H

#include <stddef.h>
#include <stdint.h>

/* How tensor cores add (warp.h). */
enum { LT_EMU_SUMS_ORDERED, LT_EMU_SUMS_EXACT, LT_EMU_SUMS_TRUNCATED };

/* What a backend could forget: the stand-in forgets it instead, so that a test sees it show. */
typedef enum lt_emu_bug {
    LT_EMU_NO_BUG,
    LT_EMU_NO_WAIT,   /* cudaStreamWaitEvent does nothing */
    LT_EMU_NO_SYNC,   /* cudaStreamSynchronize returns at once */
    LT_EMU_NO_VALUE,  /* a stream does not wait for the word that the host sets */
    LT_EMU_SHORT_COPY /* copies of several rows leave out the last */
} lt_emu_bug;

typedef struct lt_emu_counts {
    uint64_t launches, blocks, instructions, lanes, mma;
    uint64_t products; /* of cuBLASLt */
    char kernel[96];   /* the one with the most instructions in a launch */
} lt_emu_counts;

/* Of global memory (warp.h): requests of warps, pieces of 32 bytes that they touch, and how many
 * would do for what is asked for. */
typedef struct lt_emu_traffic {
    uint64_t requests, sectors, ideal;
} lt_emu_traffic;

/* All launches of one kernel. threads, dynamic_bytes: the largest block's. */
typedef struct lt_emu_kernel {
    char name[96]; /* as the PTX has it */
    uint64_t launches, instructions, mma;
    lt_emu_traffic loads, stores;
    uint32_t threads, dynamic_bytes;
} lt_emu_kernel;

void lt_emu_seed(uint64_t seed);
void lt_emu_sums(int kind);
void lt_emu_set_bug(lt_emu_bug bug);
void lt_emu_set_memory(size_t bytes);
/* Since the last call. */
lt_emu_counts lt_emu_count(void);

/* What was launched since the last call, a row a kernel in order of first use; how many: at most
 * `rows` of them are written. */
int lt_emu_kernels(lt_emu_kernel *out, int rows);

/* The text `from` of a kernel (a part of its name), the nth time that it stands there from 0 on, is
 * `to` from now on; $1 to $9 in `from` are any register or number, and the same in `to`. 0: it does
 * not stand there. from NULL: all kernels are as they shipped. */
int lt_emu_patch(const char *kernel, const char *from, const char *to, int nth);

/* What was wrong first, or "". forgive: it is forgotten, and CUDA's error with it. */
const char *lt_emu_wrong(void);
void lt_emu_forgive(void);
/* Also say it on stderr (the default)? */
void lt_emu_say(int loud);

/* ---- for the stand-in of cuBLASLt ---- */

/* fn(payload) in the stream's order; 0: no such stream. */
int lt_emu_enqueue(void *stream, void (*fn)(void *payload), const void *payload, size_t bytes);
/* While fn runs: `bytes` at a device address, which must have values where they are read (is_write
 * 2: a workspace, the first of which has none from now on). NULL: it is none of the device's, or
 * has none; who: a product's name, for the line. */
void *lt_emu_at(const char *who, const void *address, size_t bytes, int is_write);
/* A kernel of the library is loaded, under this name (timeline.h). */
void lt_emu_load(const char *name);
/* A call that the library would refuse. */
void lt_emu_refuse(const char *what);

#endif
