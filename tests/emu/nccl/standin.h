/* standin.h - what a test may ask of the stand-in for NCCL, and tell it.
 * For programs that are linked with it. Environment, for those that are not:
 *     LT_EMU_NCCL_VERSION=21700    what it says that it is
 *     LT_EMU_NCCL_FAIL=N:CODE      this process's N-th group (from 1) ends in that error
 *     LT_EMU_NCCL_LOG=FILE         at the end, the counts below as a line of JSON, appended */
#ifndef LT_EMU_NCCL_H
#define LT_EMU_NCCL_H

typedef struct lt_emu_nccl_counts {
    long communicators, limited; /* made; with maxCTAs 8 */
    long groups, sends, receives, empty;
    long connects;  /* ends of a pair that met for the first time, each of which takes memory */
    long late_ends; /* groups that came onto the stream though nobody polled for it */
} lt_emu_nccl_counts;

/* Since the program began. */
lt_emu_nccl_counts lt_emu_nccl_read(void);
/* The N-th group from now on (1: the next) ends in this ncclResult_t; 0: none. */
void lt_emu_nccl_fail(long group, int result);

#endif
