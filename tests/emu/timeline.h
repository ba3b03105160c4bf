/* timeline.h - what a program asked of the runtime between its launches, in order.
 *
 * LT_EMU_LOG=FILE: a process that ends appends its timeline to FILE, a line an entry:
 *
 *     PROCESS KIND CALL COUNT LAUNCHES EXCHANGES
 *
 * COUNT such calls came one after the other when LAUNCHES kernels and products and EXCHANGES were
 * queued. An exchange is a wait for a word that the host sets: what staged exchanges and the groups
 * of NCCL's stand-in put on a stream. All functions are Local, from any thread. Tested:
 * tests/emu/test_calls.c. */
#ifndef LT_EMU_TIMELINE_H
#define LT_EMU_TIMELINE_H

typedef enum {
    EMU_BLOCK, /* the main thread waits for the device, or asks whether a stream is done */
    EMU_TAKE,  /* memory, the device's or pinned */
    EMU_GIVE,
    EMU_MAKE, /* a stream, an event */
    EMU_LOAD, /* a kernel that was not on the device yet: a driver loads it when it is first used */
    EMU_LAUNCH,
    EMU_EXCHANGE
} emu_kind;

void emu_note(emu_kind kind, const char *call);

#endif
