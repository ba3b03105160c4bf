/* standin_impl.h - what the stand-in's files share. The lock protects all of it. */
#ifndef LT_EMU_NCCL_IMPL_H
#define LT_EMU_NCCL_IMPL_H

#include "tests/emu/nccl/standin.h"

#include <nccl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/emu/nccl/wire.h"

enum { ENDS_MAX = 128 };

typedef struct group {
    ncclComm_t comm;
    cudaStream_t stream;
    uint32_t number;
    _Atomic int started;
    int soiled, count, done[ENDS_MAX], peer[ENDS_MAX], polls_left;
    wire_end end[ENDS_MAX];
    double ended_at;
    struct group *next;
} group;

struct ncclComm {
    wire *wire;
    wire_id id;
    int rank, size, finalised; /* 1: asked, 2: and nothing is on the stream any more */
    ncclResult_t state;
    char words[WIRE_WORDS_BYTES];
    group *pending;        /* ended, not on the stream yet */
    group *first, *last;   /* on the stream */
    uint32_t *word, count; /* groups done; queued */
    unsigned char met[2][WIRE_RANKS_MAX];
    void *memory[2][WIRE_RANKS_MAX];
    ncclComm_t next;
};

typedef struct standin_state {
    pthread_mutex_t lock;
    ncclComm_t comms;
    cudaStream_t stream; /* of this process's groups, while there are communicators */
    lt_emu_nccl_counts counts;
    long fail_at, groups_ended;
    int fail_with, stops;
} standin_state;
extern standin_state standin;

static inline double standin_now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* standin.c, with the lock: this communicator is of no use from here on, on any rank; what another
 * rank found wrong. */
ncclResult_t standin_break(ncclComm_t comm, ncclResult_t result, const char *why);
void standin_look_if_broken(ncclComm_t comm);

/* standin_thread.c: the thread. Then, with the lock, the pending group if it may go, which is among
 * those on the stream from here on; and, without it, for the stream may start it now, onto the
 * stream with it. */
void *standin_thread(void *unused);
group *standin_take_pending(ncclComm_t comm);
void standin_put_on_stream(group *g);

#endif
