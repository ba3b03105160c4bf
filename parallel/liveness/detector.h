/* detector.h - who of the ranks still lives, and what is said when one doesn't.  Level 2: parallel
 *
 * Under MPI with more than one rank a thread of its own watches the others while the main thread
 * computes; detector.c tells how. Alone, nothing here starts. */
#ifndef LT_DETECTOR_H
#define LT_DETECTOR_H

#include <stdint.h>

#include "base/host.h"
#include "base/status.h"
#include "parallel/liveness/verdict.h"

/* What a rank says. Fixed size, plain bytes. Who hears it believes little: the sender's number must
 * be the one that the transport gives, the kind must be known, texts end where their room ends and
 * are shown without control bytes; what is not so is dropped and counted. */
typedef enum lt_beat_kind {
    LT_BEAT_ALIVE,  /* every beat_s */
    LT_BEAT_ASK,    /* alive, and answer at once */
    LT_BEAT_BYE,    /* the world closes: I am silent from here on */
    LT_BEAT_LOST,   /* rank `about` is lost, for the reason in text */
    LT_BEAT_STUCK,  /* nothing moves: all end */
    LT_BEAT_STOP,   /* the user's signal `about` came to this rank: all stop */
    LT_BEAT_POISON, /* I failed, said why, and end the job */
    LT_BEAT_OTHER   /* a message that is no beat; from here on kinds are dropped */
} lt_beat_kind;

typedef struct lt_beat {
    int32_t kind, rank, about, step, item, waits;
    uint32_t calls; /* collectives begun: grows as long as the rank gets on */
    char stage[12], name[40], axis[16], text[96];
} lt_beat;

/* One rank as it is known at the start. */
typedef struct lt_watch_peer {
    lt_host_id host;
    int32_t pid;
} lt_watch_peer;

/* What the transport lends to the thread. take and give bracket all use of the library behind it;
 * take gives up after so many seconds (0 then). send drops a beat whose forerunner is still on its
 * way, unless it must go: then it waits a moment. receive also lets the library progress. */
typedef struct lt_watch_wire {
    int (*take)(double seconds_max);
    void (*give)(void);
    void (*send)(int peer, const lt_beat *beat, int must);
    /* 1: there was one, from this rank; what it holds is as it came. */
    int (*receive)(lt_beat *beat, int *from);
    int (*busy)(void); /* posts are on their way: poll often */
} lt_watch_wire;

/* Begin to watch; peers [size] is copied. Collective on the world in the sense that all ranks
 * start, at about the same time. Errors: LT_ENOMEM, LT_EUNAVAIL (no thread). */
lt_status lt_watch_start(const lt_watch_wire *wire, int rank, int size, const lt_watch_peer *peers,
                         const lt_watch_limits *limits);
/* Say farewell, wait for everybody's, end the thread. Collective on the world, Blocking. */
void lt_watch_stop(void);
/* A post has begun: poll now. Local. */
void lt_watch_wake(void);
/* Tell all peers that this rank failed and ends the job. Local, Blocking for at most 0.5 s. */
void lt_watch_poison(void);
/* How many heartbeats were dropped. Local. */
int lt_watch_dropped(void);
/* "rank 1 on HOST, at step 3 in sum_partials (tp, call 17)" for the one line of a rank that fails
 * alone; "" when nothing is watched. Does not return if the job is ending already. Local. */
const char *lt_watch_me(void);

#endif
