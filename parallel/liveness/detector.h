/* detector.h - which ranks live, and what is printed when one doesn't.
 *
 * Under MPI with more than one rank a thread of its own, the failure detector, watches the others
 * while the main thread computes (docs/design.md 4, threads of a rank); detector.c says how. With
 * one rank nothing here starts. */
#ifndef LT_DETECTOR_H
#define LT_DETECTOR_H

#include <stdint.h>

#include "base/host.h"
#include "base/status.h"
#include "parallel/liveness/verdict.h"

/* What a rank sends. Fixed size, plain bytes. The receiver trusts little: the sender's number must
 * be the one that the transport gives, the kind must be known, texts end where their field ends and
 * are shown without control bytes; all else is dropped and counted. */
typedef enum lt_heartbeat_kind {
    LT_HEARTBEAT_ALIVE, /* every heartbeat_s */
    LT_HEARTBEAT_ASK,   /* alive, and answer at once */
    LT_HEARTBEAT_LEAVE, /* leave message: I am silent from here on */
    LT_HEARTBEAT_DEAD,  /* rank `about` is dead, for the reason in text */
    LT_HEARTBEAT_STUCK, /* nothing moves: all end */
    LT_HEARTBEAT_STOP,  /* the user's signal `about` came to this rank: all stop */
    LT_HEARTBEAT_ABORT, /* abort message: I failed, said why, and end the job */
    LT_HEARTBEAT_OTHER  /* a message that is no heartbeat; from here on kinds are dropped */
} lt_heartbeat_kind;

typedef struct lt_heartbeat {
    int32_t kind, rank, about, step, chunk, waits;
    uint32_t calls; /* collectives begun: grows while the rank makes progress */
    char stage[12], name[40], axis[16], text[96];
} lt_heartbeat;

/* One rank as it is known at the start. */
typedef struct lt_detector_peer {
    lt_host_id host;
    int32_t pid;
} lt_detector_peer;

/* What the transport lends to the thread. take and give bracket all use of the library behind it;
 * take returns 0 after so many seconds without success. send drops a heartbeat while the one before
 * is still on its way, unless it must go: then it waits a moment. receive also lets the library
 * progress. */
typedef struct lt_detector_wire {
    int (*take)(double seconds_max);
    void (*give)(void);
    void (*send)(int peer, const lt_heartbeat *heartbeat, int must);
    /* 1: there was one, from this rank; what it holds is as it came. */
    int (*receive)(lt_heartbeat *heartbeat, int *from);
    int (*busy)(void); /* requests are on their way: poll often */
} lt_detector_wire;

/* Begin to watch; peers [size] is copied. Collective on the world in the sense that all ranks
 * start, at about the same time. Errors: LT_ENOMEM, LT_EUNAVAIL (no thread). */
lt_status lt_detector_start(const lt_detector_wire *wire, int rank, int size,
                            const lt_detector_peer *peers, const lt_detector_limits *limits);
/* Send the leave message, wait for those of all others, end the thread. Collective on the world,
 * Blocking. */
void lt_detector_stop(void);
/* Send the abort message to all peers: this rank failed and ends the job. Local, Blocking for at
 * most 0.5 s. */
void lt_detector_send_abort(void);
/* How many heartbeats were dropped. Local. */
int lt_detector_dropped(void);
/* "rank 1 on HOST, at step 3 in sum_partials (tp, call 17)" for the one line of a rank that fails
 * alone; "" when no rank is watched. Does not return if the job is ending already. Local. */
const char *lt_detector_me(void);

#endif
