/* pulse.h - reports to the progress line that work goes on.
 * A step may take minutes, in which nothing returns to the loop over steps. Code that works reports
 * each bit of it here; the listener (run/progress.c) draws by time. A thread has a listener of its
 * own, or none: the main thread's counts (docs/design.md 4, threads of a rank). Local. Tested:
 * tests/unit/test_pulse.c. */
#ifndef LT_PULSE_H
#define LT_PULSE_H

typedef void (*lt_pulse_fn)(void *ctx, double work);

/* fn NULL: there is no listener. Reports of the calling thread count, no other's. */
void lt_pulse_listen(lt_pulse_fn fn, void *ctx);
int lt_pulse_is_heard(void);
/* work: in the listener's unit (operations of a kernel). */
void lt_pulse(double work);

#endif
