/* span.c - what took from when to when: the records behind a trace. */
#include "base/span.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"

static lt_span *spans;
static size_t room;
static atomic_size_t used;
static atomic_int on, step_now;
static double zero;
static _Thread_local int layer_now = -1;
static const char *stage_name;
static double stage_began = -1;

lt_status lt_span_open(size_t count)
{
    if (atomic_load(&on))
        return LT_OK;
    spans = calloc(count, sizeof *spans);
    if (spans == NULL)
        LT_FAIL(LT_ENOMEM, "trace: no memory for %zu spans", count);
    room = count;
    zero = lt_seconds();
    atomic_store(&used, 0);
    atomic_store(&on, 1);
    return LT_OK;
}

void lt_span_close(void)
{
    atomic_store(&on, 0);
    free(spans);
    spans = NULL;
    room = 0;
}

int lt_span_is_on(void) { return atomic_load_explicit(&on, memory_order_relaxed); }
double lt_span_begin(void) { return lt_span_is_on() ? lt_seconds() - zero : -1; }
void lt_span_step(int step) { atomic_store(&step_now, step); }

int lt_span_layer(int layer)
{
    const int before = layer_now;
    layer_now = layer;
    return before;
}

int lt_span_layer_now(void) { return layer_now; }

void lt_span_stage(const char *name)
{
    if (stage_name != NULL)
        lt_span_end(LT_SPAN_STAGE, stage_name, NULL, stage_began, 0);
    stage_name = name;
    stage_began = lt_span_begin();
}

void lt_span_end(lt_span_track track, const char *name, const char *detail, double begin,
                 uint64_t bytes)
{
    if (begin < 0 || !lt_span_is_on())
        return;
    const size_t at = atomic_fetch_add(&used, 1);
    if (at < room)
        spans[at] = (lt_span){name,
                              detail,
                              begin,
                              lt_seconds() - zero,
                              bytes,
                              (int32_t)track,
                              atomic_load(&step_now),
                              layer_now};
}

const lt_span *lt_span_all(size_t *count, size_t *dropped)
{
    const size_t n = atomic_load(&used);
    *count = n < room ? n : room;
    *dropped = n - *count;
    return spans;
}
