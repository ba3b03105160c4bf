/* traffic.h - how much this rank has sent and received.
 * All functions are Local, never fail, and may be called from any thread. */
#ifndef LT_TRAFFIC_H
#define LT_TRAFFIC_H

#include <stdint.h>

/* Bytes since the last reset (not to itself); calls counts transfers with another rank that weren't
 * empty. On dry: what would have moved. */
typedef struct lt_traffic {
    uint64_t sent_bytes, received_bytes, calls;
} lt_traffic;
lt_traffic lt_traffic_read(void);
void lt_traffic_reset(void);

/* Count one message or pair of messages with another rank; empty ones don't count. */
void lt_traffic_add(uint64_t sent_bytes, uint64_t received_bytes);
/* What this thread has sent since it began, bytes. */
uint64_t lt_traffic_of_thread(void);

#endif
