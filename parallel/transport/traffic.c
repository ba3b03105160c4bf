/* traffic.c - counters of what moves. */
#include "parallel/transport/traffic.h"

#include <stdatomic.h>

static _Atomic uint64_t sent, received, calls;
static _Thread_local uint64_t sent_here;

void lt_traffic_add(uint64_t sent_bytes, uint64_t received_bytes)
{
    if (sent_bytes == 0 && received_bytes == 0)
        return;
    atomic_fetch_add(&sent, sent_bytes);
    atomic_fetch_add(&received, received_bytes);
    atomic_fetch_add(&calls, 1);
    sent_here += sent_bytes;
}

uint64_t lt_traffic_of_thread(void) { return sent_here; }

lt_traffic lt_traffic_read(void)
{
    return (lt_traffic){atomic_load(&sent), atomic_load(&received), atomic_load(&calls)};
}

void lt_traffic_reset(void)
{
    atomic_store(&sent, 0);
    atomic_store(&received, 0);
    atomic_store(&calls, 0);
}
