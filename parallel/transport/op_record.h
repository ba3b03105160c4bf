/* op_record.h - what this rank is doing: the operation record.
 *
 * The record travels with the heartbeats, so that a survivor can print in which collective a dead
 * rank was. It knows no transport, and costs a few stores. All functions are Local and never fail;
 * strings must live as long as the program. The main thread and the comm queue's write it, the
 * failure detector's reads it (docs/design.md 4, threads of a rank). */
#ifndef LT_OP_RECORD_H
#define LT_OP_RECORD_H

#include <stdatomic.h>
#include <stdint.h>

#include "kernels/host_call.h"

/* This thread enters, and leaves, the collective `name` of an axis ("" or NULL: none).
 * They nest: the outermost name counts; with NULL as a name the last one stays. call is what a
 * queue gave its host function; NULL: the main thread itself waits. */
void lt_operation_begin(const char *name, const char *axis, const lt_host_call *call);
void lt_operation_end(const lt_host_call *call);
/* Main thread only, while it waits for a device: this collective is what the device is in, or (name
 * NULL) none. moved: another one than at the last call, which is progress. */
void lt_operation_device(const char *name, const char *axis, int moved);
/* Main thread only. The step at work, from 1; 0: none. The longest step so far (at least
 * predicted_s, 0: not known) gives the deadline for no progress; outside steps only the deadline of
 * a wait holds. */
void lt_operation_step(int step, double predicted_s);

/* The stage of the run ("text", "load", "denoise", "store", "sound", "decode"; NULL: none), also
 * for a signal's line (base/stop.h), and the chunk of it at work, from 1 (0: none). */
void lt_operation_stage(const char *stage);
void lt_operation_chunk(int chunk);

/* ---- for the failure detector and the transports ---- */

typedef struct lt_operation_record {
    atomic_int step, chunk;
    _Atomic(const char *) stage;
    atomic_uint calls;          /* collectives begun, of both threads */
    _Atomic int64_t longest_ms; /* the longest step so far; 0: not known */
} lt_operation_record;
extern lt_operation_record lt_operation;

/* Where this rank is: the collective that its main thread waits in, its own or one of the comm
 * queue that it waits for (*waits 1), else the last one begun. */
void lt_operation_read(const char **name, const char **axis, int *waits);
/* From inside a collective that a queue runs: does it have a waiter, the main thread? */
void lt_operation_waiter(int has_waiter, const lt_host_call *call);

#endif
