/* span.h - what took from when to when: the records behind a trace.
 *
 * Off unless lt_span_open was called; then a span costs two clocks and one store into a block that
 * is taken at the start. Spans past its end are counted, not kept. All functions are Local and
 * never fail unless they say so; lt_span_end may be called from any thread (docs/design.md 4,
 * threads of a rank). */
#ifndef LT_SPAN_H
#define LT_SPAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Spans of a track nest among themselves; messages overlap freely, and so may a collective of the
 * main thread and one of the comm queue. */
typedef enum lt_span_track {
    LT_SPAN_STAGE,      /* stages of the run, and the steps of the denoising inside theirs */
    LT_SPAN_LAYER,      /* one layer of a network, as the main thread queues (CPU: computes) it */
    LT_SPAN_COMPUTE,    /* one operation of the compute queue, or its wait for another queue */
    LT_SPAN_COLLECTIVE, /* its copies and its exchange, on whichever thread they run */
    LT_SPAN_MESSAGE,    /* from its begin until its end was seen */
    LT_SPAN_TRACKS
} lt_span_track;

/* name and detail (NULL: none) are literals. Seconds of lt_seconds, less lt_span_zero. */
typedef struct lt_span {
    const char *name, *detail;
    double begin, end;
    uint64_t bytes;
    int32_t track, step, layer; /* layer -1: in none */
} lt_span;

/* Record from here on, count spans at most. Now is 0 s. Errors: LT_ENOMEM. */
lt_status lt_span_open(size_t count);
void lt_span_close(void);
int lt_span_is_on(void);
/* Now, or a negative number when nothing is recorded: give it to lt_span_end, which then does
 * nothing. */
double lt_span_begin(void);
void lt_span_end(lt_span_track track, const char *name, const char *detail, double begin,
                 uint64_t bytes);
/* The step that spans from here on belong to. */
void lt_span_step(int step);
/* The run is in this stage from here on; NULL: in none. Main thread only. */
void lt_span_stage(const char *name);
/* The layer that this thread's spans from here on belong to; -1: none. Returns the one before. Work
 * that runs later on another thread takes its layer along. */
int lt_span_layer(int layer);
int lt_span_layer_now(void);
/* What was recorded, in the order of the ends; *dropped: what had no room. */
const lt_span *lt_span_all(size_t *count, size_t *dropped);

#endif
