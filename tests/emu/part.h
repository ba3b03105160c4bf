/* part.h - longtake_cuda.so as a test has it: opened, on the stand-ins that it is linked with.
 *
 * LT_EMU_PART is its path; it takes lt_* from the test's own program, as from `longtake`.
 * All functions are Local. */
#ifndef LT_EMU_PART_H
#define LT_EMU_PART_H

#include "kernels/backend.h"
#include "tests/emu/emu.h"

/* The part's backend; ends the program where the part cannot be opened or is of another version. */
const lt_backend *lt_emu_backend(void);

/* A line of the table on stdout: the kernel with the most instructions since the last line, the
 * case, the last tensor's dtype and shape, how far from the reference, instructions of warps; the
 * last, again. */
uint64_t lt_emu_row(const char *name, const lt_tensor *x, double worst);

/* check on the part's backend, in order and in two other orders of streams, blocks and warps, each
 * with another model of tensor cores' sums; a line of counts for each. */
void lt_emu_each_order(void (*check)(const lt_backend *));

#endif
