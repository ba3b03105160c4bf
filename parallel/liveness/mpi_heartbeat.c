/* mpi_heartbeat.c - what the detector's thread does with MPI: heartbeats, and progress.
 * Heartbeats have a communicator of their own, so that they overtake nothing and match nothing
 * else. The thread probes for them, as for all messages (mpi.c), and drops one of another size.
 * A probe also moves every other message of the rank (Open MPI progresses all in any call), and the
 * thread probes for what requests wait for: so requests go on while the main thread decodes. One
 * heartbeat a peer may be on its way: a peer that reads nothing costs no memory. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/host.h"
#include "base/log.h"
#include "parallel/liveness/detector.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/mpi_impl.h"
#include "parallel/transport/transport_impl.h"

enum { TAG_HEARTBEAT = 1 };

typedef struct {
    lt_heartbeat heartbeat;
    MPI_Request request;
} outgoing;

static MPI_Comm comm = MPI_COMM_NULL;
static outgoing *out_box; /* [size] */
static int world;

static void nap(long ns) { (void)nanosleep(&(struct timespec){0, ns}, NULL); }

static int sent(outgoing *o)
{
    int done = 1;
    if (o->request != MPI_REQUEST_NULL &&
        MPI_Test(&o->request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS)
        done = 1;
    return done;
}

static void send_heartbeat(int peer, const lt_heartbeat *heartbeat, int must)
{
    enum { POLLS_MAX = 100 };
    outgoing *o = &out_box[peer];
    for (int i = 0; !sent(o) && must && i < POLLS_MAX; i++)
        nap(1000000);
    if (!sent(o))
        return;
    o->heartbeat = *heartbeat;
    if (MPI_Isend(&o->heartbeat, (int)sizeof o->heartbeat, MPI_BYTE, peer, TAG_HEARTBEAT, comm,
                  &o->request) != MPI_SUCCESS)
        o->request = MPI_REQUEST_NULL;
    for (int i = 0; must && !sent(o) && i < POLLS_MAX; i++)
        nap(1000000);
}

/* A message of another size is no heartbeat: it stays where it is, since nothing is known of it. */
static int receive_heartbeat(lt_heartbeat *heartbeat, int *from)
{
    MPI_Message message;
    MPI_Status status;
    int found = 0, bytes = 0;
    if (lt_mpi_is_busy())
        lt_mpi_move_requests();
    if (MPI_Improbe(MPI_ANY_SOURCE, TAG_HEARTBEAT, comm, &found, &message, &status) !=
            MPI_SUCCESS ||
        !found)
        return 0;
    *from = status.MPI_SOURCE;
    memset(heartbeat, 0, sizeof *heartbeat);
    heartbeat->kind = LT_HEARTBEAT_OTHER;
    if (MPI_Get_count(&status, MPI_BYTE, &bytes) == MPI_SUCCESS && bytes == (int)sizeof *heartbeat)
        (void)MPI_Mrecv(heartbeat, bytes, MPI_BYTE, &message, MPI_STATUS_IGNORE);
    return 1;
}

static lt_status gather_peers(lt_group *group, lt_detector_peer *peers)
{
    lt_detector_peer me;
    memset(&me, 0, sizeof me);
    lt_host_me(&me.host);
    me.pid = (int32_t)getpid();
    LT_TRY(lt_all_gather_host(group, &me, sizeof me, peers));
    return LT_OK;
}

/* All ranks have met by now: this waits for no rank for long. */
static lt_status open_comm(const lt_group *group)
{
    lt_mpi_enter();
    int code = MPI_Comm_dup(lt_mpi_comm(group), &comm);
    if (code == MPI_SUCCESS)
        code = MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    lt_mpi_leave();
    if (code != MPI_SUCCESS)
        LT_FAIL(LT_EPEER, "MPI: no communicator for heartbeats: error %d", code);
    return LT_OK;
}

lt_status lt_mpi_detector_open(lt_group *group)
{
    const int rank = lt_group_rank(group), size = lt_group_size(group);
    static const lt_detector_wire wire = {lt_mpi_try_enter, lt_mpi_leave, send_heartbeat,
                                          receive_heartbeat, lt_mpi_is_busy};
    world = size;
    if (size == 1)
        return LT_OK;
    LT_TRY(open_comm(group));
    lt_detector_peer *peers = calloc((size_t)size, sizeof *peers);
    out_box = calloc((size_t)size, sizeof *out_box);
    if (peers == NULL || out_box == NULL) {
        free(peers);
        LT_FAIL(LT_ENOMEM, "watch: no memory for %d ranks", size);
    }
    for (int i = 0; i < size; i++)
        out_box[i].request = MPI_REQUEST_NULL;
    lt_detector_limits limits = lt_detector_defaults;
    if (lt_fault_hangs()) {
        limits.progress_s = 3;
        limits.progress_steps = 1; /* a busy machine's steps take seconds */
    }
    lt_status st = gather_peers(group, peers);
    if (st == LT_OK)
        st = lt_detector_start(&wire, rank, size, peers, &limits);
    free(peers);
    LT_TRY(st);
    return LT_OK;
}

void lt_mpi_detector_close(void)
{
    lt_detector_stop();
    for (int i = 0; out_box != NULL && i < world; i++)
        if (out_box[i].request != MPI_REQUEST_NULL)
            (void)MPI_Request_free(&out_box[i].request);
    free(out_box);
    out_box = NULL;
    if (comm != MPI_COMM_NULL)
        (void)MPI_Comm_free(&comm);
}
