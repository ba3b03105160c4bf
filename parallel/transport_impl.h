/* transport_impl.h - what a transport fills in; for transport.c and comm_*.c only. Level 2:
 * parallel */
#ifndef LT_TRANSPORT_IMPL_H
#define LT_TRANSPORT_IMPL_H

#include "parallel/transport.h"

typedef struct lt_transport {
    const char *name;
    lt_status (*split)(lt_group *parent, const int *ranks, int count, lt_group **out);
    void (*free_group)(lt_group *group);
    lt_status (*exchange)(lt_group *group, const lt_transfer *list, int count,
                          const lt_host_call *call);
    /* send: data is read; recv: data is written */
    lt_status (*post)(lt_group *group, int peer, int tag, void *data, size_t bytes, int is_send,
                      lt_post **out);
    lt_status (*post_test)(lt_post **post, int *done);
    void (*post_drop)(lt_post **post);
    lt_status (*post_probe)(lt_group *group, int tag, int *peer); /* as lt_post_probe */
    void (*close)(void);                                          /* of the world: the last call */
    void (*abort)(int exit_code);
} lt_transport;

/* Head of each transport's group struct. */
struct lt_group {
    const lt_transport *transport;
    int rank, size;
    int32_t
        agreements; /* lt_agree calls so far: ranks that come from different places must notice */
    double wait_seconds_max; /* of an exchange; 0: LT_PEER_SILENCE_SECONDS */
    const char *axis;        /* for messages; NULL: none */
};

/* Local. */
static inline double lt_wait_seconds(const lt_group *group)
{
    return group->wait_seconds_max > 0 ? group->wait_seconds_max : LT_PEER_SILENCE_SECONDS;
}

lt_status lt_solo_open(lt_group **world);
#ifdef LT_HAVE_MPI
lt_status lt_mpi_open(lt_group **world);
const char *lt_mpi_library(void);
#endif

/* Count one message or pair of messages with another rank for lt_traffic_read; empty ones don't
 * count. */
void lt_traffic_add(uint64_t sent_bytes, uint64_t received_bytes);
/* What this thread has sent since it began, bytes. Local. */
uint64_t lt_traffic_of_thread(void);
/* Count what an exchange of this list moves to and from others, without moving it (dry). Local. */
void lt_traffic_count(const lt_group *group, const lt_transfer *list, int count);

/* Copy what a list sends to its own rank: the k-th send meets the k-th receive. Local. */
void lt_self_copy(const lt_transfer *list, int count, int rank);

/* Ranks of the world that is open; 0 when none is. Local. */
int lt_world_size(void);

#endif
