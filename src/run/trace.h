/* trace.h - a timeline of all ranks in Chrome's trace format.
 * Open it in chrome://tracing or ui.perfetto.dev: a process a rank, in it a row each for stages and
 * steps, layers, compute and collectives, and the decoding pool's messages. Compute beside a
 * collective is overlap, "wait" beside it what was not hidden. */
#ifndef LT_TRACE_H
#define LT_TRACE_H

#include "base/new_file.h"
#include "parallel/transport/transport.h"

/* Begin to record (base/span.h) at the same moment on all ranks. Collective on world, Blocking.
 * Errors: LT_ENOMEM, and those of an agreement. */
lt_status lt_trace_begin(lt_group *world);
/* Write what all ranks recorded to path, which rank 0 makes, and stop. Collective on world,
 * Blocking; does nothing if nothing is recorded. Errors: LT_ENOMEM, LT_ECREATE, LT_EIO. */
lt_status lt_trace_write(lt_group *world, const char *path, lt_replace replace);

#endif
