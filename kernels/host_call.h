/* host_call.h - what a queue gives a host function.
 *
 * A host function, an exchange with other ranks above all, polls for what it waits for. How long it
 * may sleep between two polls depends on what else the rank does. Beside a main thread that
 * computes it sleeps. Once a thread is blocked until it ends (a waiter) it polls again at once.
 * After a failure it ends. So each run gets a call to ask, which is handed down to whatever waits.
 * NULL is the call of a function that the main thread runs itself: it has a waiter, and cannot be
 * cancelled.
 * Local. Tested: tests/unit/test_comm_thread.c. */
#ifndef LT_HOST_CALL_H
#define LT_HOST_CALL_H

#include "base/status.h"

typedef enum lt_backoff {
    LT_BACKOFF_ELAPSED,  /* it has slept so many seconds: the queue has no waiter */
    LT_BACKOFF_WAITER,   /* a thread is blocked until this queue gets on: poll again at once */
    LT_BACKOFF_CANCELLED /* fail: the queue was cancelled */
} lt_backoff;

typedef struct lt_host_call lt_host_call;
struct lt_host_call {
    /* Sleep so long (0: not at all), but only while the queue has no waiter and isn't cancelled. */
    lt_backoff (*backoff)(void *queue, double seconds);
    void *queue;
};

/* What a queue runs on the host: may wait for other ranks; uses no queue. */
typedef lt_status (*lt_host_fn)(void *work, const lt_host_call *call);

/* Between two polls. */
static inline lt_backoff lt_host_backoff(const lt_host_call *call, double seconds)
{
    return call != NULL ? call->backoff(call->queue, seconds) : LT_BACKOFF_WAITER;
}

#endif
