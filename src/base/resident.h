/* resident.h - how much memory this process has now and had at most.
 * Source: Documentation/filesystems/proc.rst of Linux, /proc/self/status: RSS and its parts, whose
 * counters may lag by some pages a thread. Local. */
#ifndef LT_RESIDENT_H
#define LT_RESIDENT_H

#include <stdint.h>

typedef struct lt_resident {
    int64_t now, peak;          /* bytes: VmRSS, VmHWM */
    int64_t anon, file, shared; /* parts of now: ours, files' pages, shared memory */
    int64_t addresses, data;    /* VmSize, VmData: what `ulimit -v` and `-d` count */
} lt_resident;

/* All 0 where the system does not say. Tested: tests/unit/test_resident.c. */
lt_resident lt_resident_now(void);

#endif
