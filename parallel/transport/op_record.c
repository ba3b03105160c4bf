/* op_record.c - what this rank is doing.
 * The detector's thread reads what the main thread and the comm queue's write here. Each of the two
 * has a place of its own: while the main thread computes, that the queue waits for a peer is no
 * wait of this rank, unless the main thread is blocked on the queue. */
#include "parallel/transport/op_record.h"

#include <pthread.h>

#include "base/log.h"
#include "base/span.h"
#include "base/stop.h"
#include "parallel/transport/traffic.h"

lt_operation_record lt_operation;

/* A collective and whether its thread is in it. */
typedef struct {
    const char *name, *axis;
    int inside, has_waiter;
} place;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static place of_main = {.name = "start", .axis = "", .has_waiter = 1}, of_queue;
static const place *latest = &of_main;
static double step_began, span_of_step = -1;

/* Of the collective that this thread is in. */
static _Thread_local int depth, counted;
static _Thread_local double span_began = -1;
static _Thread_local uint64_t span_bytes;
static _Thread_local const char *span_name, *span_axis;

static place *place_of(const lt_host_call *call) { return call != NULL ? &of_queue : &of_main; }

void lt_operation_waiter(int has_waiter, const lt_host_call *call)
{
    if (call == NULL)
        return; /* what the main thread is in holds it up */
    (void)pthread_mutex_lock(&lock);
    of_queue.has_waiter = has_waiter;
    (void)pthread_mutex_unlock(&lock);
}

void lt_operation_read(const char **name, const char **axis, int *waits)
{
    (void)pthread_mutex_lock(&lock);
    const place *p = latest;
    *waits = 1;
    if (of_main.inside)
        p = &of_main;
    else if (of_queue.inside && of_queue.has_waiter)
        p = &of_queue;
    else
        *waits = 0;
    *name = p->name;
    *axis = p->axis;
    (void)pthread_mutex_unlock(&lock);
}

void lt_operation_begin(const char *name, const char *axis, const lt_host_call *call)
{
    if (depth++ > 0 || name == NULL)
        return;
    span_name = name;
    span_axis = axis != NULL ? axis : "";
    span_began = lt_span_begin();
    span_bytes = lt_traffic_of_thread();
    atomic_fetch_add(&lt_operation.calls, 1);
    place *p = place_of(call);
    (void)pthread_mutex_lock(&lock);
    *p = (place){name, span_axis, 1, p == &of_main};
    latest = p;
    (void)pthread_mutex_unlock(&lock);
    counted = 1;
}

void lt_operation_end(const lt_host_call *call)
{
    if (--depth > 0)
        return;
    depth = 0;
    if (!counted)
        return;
    counted = 0;
    (void)pthread_mutex_lock(&lock);
    place_of(call)->inside = 0;
    (void)pthread_mutex_unlock(&lock);
    lt_span_end(LT_SPAN_COLLECTIVE, span_name, span_axis, span_began,
                lt_traffic_of_thread() - span_bytes);
}

void lt_operation_device(const char *name, const char *axis, int moved)
{
    if (depth > 0) /* the collective that it is in says more */
        return;
    if (moved)
        atomic_fetch_add(&lt_operation.calls, 1);
    (void)pthread_mutex_lock(&lock);
    of_main.inside = name != NULL;
    if (name != NULL) {
        of_main = (place){name, axis != NULL ? axis : "", 1, 1};
        latest = &of_main;
    }
    (void)pthread_mutex_unlock(&lock);
}

void lt_operation_step(int step, double predicted_s)
{
    const double now = lt_seconds();
    const int before = atomic_load(&lt_operation.step);
    double longest = before > 0 ? now - step_began : 0;
    if (predicted_s > longest)
        longest = predicted_s;
    /* Rounded up: a step of less than a millisecond is known too, and its deadline counts. */
    const int64_t longest_ms = longest > 0 ? (int64_t)(1000 * longest) + 1 : 0;
    if (step <= 0)
        atomic_store(&lt_operation.longest_ms, 0);
    else if (longest_ms > atomic_load(&lt_operation.longest_ms))
        atomic_store(&lt_operation.longest_ms, longest_ms);
    if (before > 0)
        lt_span_end(LT_SPAN_STAGE, "step", NULL, span_of_step, 0);
    lt_span_step(step);
    span_of_step = lt_span_begin();
    step_began = now;
    atomic_store(&lt_operation.step, step);
}

void lt_operation_stage(const char *stage)
{
    atomic_store(&lt_operation.chunk, 0);
    atomic_store(&lt_operation.stage, stage);
    lt_stop_stage(stage);
}

void lt_operation_chunk(int chunk) { atomic_store(&lt_operation.chunk, chunk); }
