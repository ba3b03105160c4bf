/* fault.h - faults that tests put into a rank.
 *
 * LONGTAKE_FAULT=RANK:WHERE:KIND makes that rank, as it comes there, kill itself (kill), stop
 * itself (stop), wait for ever (hang; the least time without progress is then 3 s), wait until it
 * is asked to stop (wait; a minute at most), or fail (error: LT_EDEVICE). WHERE is the number of a
 * step that begins (0: the text, -1: the end of loading, -2: the first clip to decode), or
 *
 *     store   before latents.h5 is finished
 *     sound   a piece of sound is next
 *     mux     all is decoded, and the film's file is to be finished
 *
 * `model` and `program` at step 0 make the rank's hash of that name differ (lt_fault_is). Without
 * the variable nothing happens. All functions are Local. Used by tests/faults. */
#ifndef LT_FAULT_H
#define LT_FAULT_H

#include "base/status.h"

/* Errors: LT_EDEVICE where KIND is error. */
lt_status lt_fault_step(int rank, int step);
lt_status lt_fault_at(int rank, const char *where);
int lt_fault_is(int rank, const char *kind);
int lt_fault_hangs(void); /* any rank */

#endif
