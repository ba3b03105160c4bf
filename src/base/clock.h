/* clock.h - what time it is.
 * All functions are Local, never fail, and are safe in a signal handler. */
#ifndef LT_CLOCK_H
#define LT_CLOCK_H

/* Monotonic seconds since the first call of the program. */
double lt_seconds(void);

enum { LT_UTC_BYTES = 32 };
/* Now by the wall clock, "2026-11-30T22:15:04.071Z" (RFC 3339, UTC). Returns out. */
const char *lt_utc_now(char out[LT_UTC_BYTES]);

#endif
