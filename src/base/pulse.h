/* pulse.h - tells whoever shows progress that work goes on.
 * A step may take minutes, in which nothing returns to the loop over steps. Whoever does the work
 * reports each bit of it here; the listener (run/progress.c) draws by time. Each
 * thread has a listener of its own, or none. Local. Tested: tests/unit/test_pulse.c. */
#ifndef LT_PULSE_H
#define LT_PULSE_H

typedef void (*lt_pulse_fn)(void *ctx, double work);

/* fn NULL: nobody listens. The calling thread is the one whose reports count. */
void lt_pulse_listen(lt_pulse_fn fn, void *ctx);
int lt_pulse_is_heard(void);
/* work: in the listener's unit (operations of a kernel). */
void lt_pulse(double work);

#endif
