/* fault.h - faults that tests put into a rank.
 *
 * LONGTAKE_FAULT=RANK:STEP:KIND makes that rank, as it begins that step (0: the text, -1: the end
 * of loading, -2: the first clip to decode), kill itself (kill), stop itself (stop), wait for ever
 * (hang; the least time without progress is then 3 s), or fail (error: LT_EDEVICE). `model` and
 * `program` at step 0 make the rank's hash of that name differ (lt_fault_is). Without the variable
 * nothing happens. All functions are Local. Used by tests/faults. */
#ifndef LT_FAULT_H
#define LT_FAULT_H

#include "base/status.h"

/* Errors: LT_EDEVICE where KIND is error. */
lt_status lt_fault_step(int rank, int step);
int lt_fault_is(int rank, const char *kind);
int lt_fault_hangs(void); /* any rank */

#endif
