/* fence.h - a copy of a run that a newer copy has overtaken ends, and touches nothing any more.
 *
 * A run that is resumed while an older copy of it still lives (a host that was given up too early,
 * a stopped process that wakes) has two processes at work in one folder. The newer one has the
 * higher lease. The older one asks for it
 *
 *     before a file of any kind takes its name      by base/new_file.h's guard, at once
 *     once a second, from RUN's making to the end   by a thread, which the loops look at
 *
 * and ends with LT_EUNAVAIL, exit code 69; its events are written no more. Between the question and
 * the rename lie microseconds, in which a process can be stopped: what is renamed then is still
 * whole, and the newer copy makes its own over it.
 *
 * Rank 0 has the fence; the other ranks learn of it in the next agreement.
 * Tested: tests/faults/test_fence.c. */
#ifndef LT_FENCE_H
#define LT_FENCE_H

#include "run/lease.h"

/* From here on, for this lease of a run, which must outlive it. Rank 0 only, Blocking. Errors:
 * LT_EUNAVAIL (no thread; a newer copy came already). */
lt_status lt_fence_begin(const lt_lease *lease);
/* No more, before the lease is let go. Local. */
void lt_fence_end(void);

/* What the thread has found so far; LT_OK where no fence is. Local, never waits. Errors:
 * LT_EUNAVAIL. */
lt_status lt_fence_check(void);
/* The same, asked now. Local, Blocking. Errors: LT_EUNAVAIL; LT_EIO (nobody answers). */
lt_status lt_fence_ask(void);

#endif
