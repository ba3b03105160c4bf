/* host_call.h - what a queue tells a function that it runs on the host.
 *
 * Work for the host, an exchange with other ranks above all, waits. How it should wait depends on
 * who runs it and on who needs it: beside a main thread that computes it sleeps between two looks,
 * once the main thread is blocked until it is done it looks again at once, and after a failure it
 * ends. So each run gets a call to ask, which is handed down to whatever waits. NULL is the call of
 * a function that the main thread runs itself: somebody waits for it, and nobody can cancel it.
 * Local. Tested: tests/unit/test_comm_thread.c. */
#ifndef LT_HOST_CALL_H
#define LT_HOST_CALL_H

#include "base/status.h"

typedef enum lt_pause {
    LT_PAUSE_SLEPT,   /* for so many seconds: nobody waits for this queue */
    LT_PAUSE_AWAITED, /* a thread is blocked until this queue gets on: look again at once */
    LT_PAUSE_GIVEN_UP /* fail: the queue was cancelled */
} lt_pause;

typedef struct lt_host_call lt_host_call;
struct lt_host_call {
    /* Sleep so long (0: not at all), but only while nobody waits and nothing is cancelled. */
    lt_pause (*pause)(void *queue, double seconds);
    void *queue;
};

/* What a queue runs on the host: may wait for other ranks; uses no queue. */
typedef lt_status (*lt_host_fn)(void *work, const lt_host_call *call);

/* Between two looks at what is waited for. */
static inline lt_pause lt_host_pause(const lt_host_call *call, double seconds)
{
    return call != NULL ? call->pause(call->queue, seconds) : LT_PAUSE_AWAITED;
}

#endif
