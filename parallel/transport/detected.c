/* detected.c - what the failure detector has found. */
#include "parallel/transport/detected.h"

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "base/clock.h"

static atomic_int running, ending;
static _Atomic int64_t moved_ms, silence_ms;

static void nap(void) { (void)nanosleep(&(struct timespec){0, 10000000}, NULL); }

void lt_detected_begin(double silence_s)
{
    atomic_store(&ending, 0);
    atomic_store(&silence_ms, (int64_t)(1e3 * silence_s));
    lt_detected_moved(lt_seconds());
    atomic_store(&running, 1);
}

void lt_detected_end(void) { atomic_store(&running, 0); }
void lt_detected_moved(double now) { atomic_store(&moved_ms, (int64_t)(1e3 * now)); }
void lt_detected_ending(void) { atomic_store(&ending, 1); }

double lt_detected_since_progress_s(void)
{
    if (!atomic_load(&running))
        return 1e30;
    return lt_seconds() - 1e-3 * (double)atomic_load(&moved_ms);
}

void lt_detected_wait_for_verdict(void)
{
    if (!atomic_load(&running))
        return;
    const double began = lt_seconds(), patience = 1e-3 * (double)atomic_load(&silence_ms) + 1;
    while (lt_seconds() - began < patience || atomic_load(&ending))
        nap();
}

void lt_detected_stay(void)
{
    while (atomic_load(&running) && atomic_load(&ending))
        nap();
}
