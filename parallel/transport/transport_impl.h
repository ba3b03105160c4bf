/* transport_impl.h - what a transport fills in; for parallel/ and tests only. */
#ifndef LT_TRANSPORT_IMPL_H
#define LT_TRANSPORT_IMPL_H

#include "parallel/transport/transport.h"

typedef struct lt_transport {
    const char *name;
    lt_status (*split)(lt_group *parent, const int *ranks, int count, lt_group **out);
    void (*free_group)(lt_group *group);
    lt_status (*exchange)(lt_group *group, const lt_transfer *list, int count,
                          const lt_host_call *call);
    /* send: data is read; recv: data is written */
    lt_status (*request_begin)(lt_group *group, int peer, int tag, void *data, size_t bytes,
                               int is_send, lt_request **out);
    lt_status (*request_test)(lt_request **request, int *done);
    void (*request_drop)(lt_request **request);
    lt_status (*request_probe)(lt_group *group, int tag, int *peer); /* as lt_request_probe */
    void (*close)(void); /* of the world: the last call */
    void (*abort)(int exit_code);
} lt_transport;

/* Head of each transport's group struct. */
struct lt_group {
    const lt_transport *transport;
    int rank, size, world_size;
    int32_t
        agreements; /* lt_agree calls so far: ranks that come from different places must notice */
    double wait_seconds_max; /* of an exchange; 0: LT_PEER_SILENCE_SECONDS */
    const char *axis;        /* for messages; NULL: none */
};

/* Each transport defines its own struct lt_request; it begins with this. */
typedef struct lt_request_head {
    const lt_transport *transport;
} lt_request_head;

/* Local. */
static inline double lt_wait_seconds(const lt_group *group)
{
    return group->wait_seconds_max > 0 ? group->wait_seconds_max : LT_PEER_SILENCE_SECONDS;
}

lt_status lt_solo_open(lt_group **world);
#ifdef LT_HAVE_MPI
lt_status lt_mpi_open(lt_group **world);
const char *lt_mpi_library(void);

/* From here to the end of the start there is a limit, LONGTAKE_START_SECONDS (60; 0: none). Once it
 * has passed, one rank names those that have not come and all leave with exit code 75. Local. */
void lt_mpi_start_begin(void);
void lt_mpi_start_end(void);

/* Watch the ranks of the world, by heartbeats over MPI; with one rank nothing is started.
 * Collective on the world, Blocking. Errors: LT_ENOMEM, LT_EUNAVAIL, LT_EPEER. */
lt_status lt_mpi_detector_open(lt_group *world);
/* Nothing where nothing was opened. Collective on the world, Blocking. */
void lt_mpi_detector_close(void);
#endif

/* Count what an exchange of this list moves to and from others, without moving it (dry). Local. */
void lt_traffic_count(const lt_group *group, const lt_transfer *list, int count);

/* Copy what a list sends to its own rank: the k-th send meets the k-th receive. Local. */
void lt_self_copy(const lt_transfer *list, int count, int rank);

#endif
