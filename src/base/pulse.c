/* pulse.c - reports to the progress line that work goes on. */
#include "base/pulse.h"

#include <stddef.h>

static _Thread_local lt_pulse_fn listener;
static _Thread_local void *listener_ctx;

void lt_pulse_listen(lt_pulse_fn fn, void *ctx)
{
    listener = fn;
    listener_ctx = ctx;
}

int lt_pulse_is_heard(void) { return listener != NULL; }

void lt_pulse(double work)
{
    if (listener != NULL)
        listener(listener_ctx, work);
}
