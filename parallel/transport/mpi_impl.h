/* mpi_impl.h - what the files that know MPI share, no other file. */
#ifndef LT_MPI_IMPL_H
#define LT_MPI_IMPL_H

#include "parallel/transport/transport_impl.h"
#include <mpi.h>

typedef struct lt_mpi_group {
    lt_group head;
    MPI_Comm comm;
} lt_mpi_group;

/* Bracket a thread's use of MPI (docs/design.md 4, threads of a rank). Local; may wait for another
 * thread's few calls. */
void lt_mpi_enter(void);
void lt_mpi_leave(void);
/* For a thread that is seldom here, beside one that polls: the others let it in. 0 if they did not
 * within so many seconds. Local. */
int lt_mpi_try_enter(double seconds_max);
/* Probe for the messages that requests wait for. Between enter and leave. Local. */
void lt_mpi_move_requests(void);
/* Are requests on their way? Local. */
int lt_mpi_is_busy(void);
/* The communicator of a group. Local. */
MPI_Comm lt_mpi_comm(const lt_group *group);
/* lt_mpi_leave with a status. Where a peer seems to be dead, the detector may know more: it ends
 * the process with its own line. Local; may wait for that. */
lt_status lt_mpi_out(lt_status st);
/* LT_EPEER with MPI's words for a code. Local. */
lt_status lt_mpi_failed(int code, const char *what);
/* The bytes of a transfer's i-th message and how many it has: what exceeds one message's most is
 * cut, since MPI counts and tags are int. Local, after lt_mpi_open. */
size_t lt_mpi_messages(size_t bytes);
int lt_mpi_message_bytes(size_t bytes, size_t i);
size_t lt_mpi_message_bytes_max(void);
/* Learn how large a tag, and so a message, may be. Local, once. Errors: LT_EUNAVAIL. */
lt_status lt_mpi_limit_messages(MPI_Comm launch);

#define LT_MPI(call)                                                                               \
    do {                                                                                           \
        const int code_ = (call);                                                                  \
        if (code_ != MPI_SUCCESS)                                                                  \
            return lt_mpi_failed(code_, #call);                                                    \
    } while (0)

/* Tags of a group's communicator: requests have theirs below LT_MPI_TAG_MEET, an exchange's message
 * of n bytes has LT_MPI_TAG_SIZED + n. */
enum { LT_MPI_TAG_MEET = 1024, LT_MPI_TAG_SIZED = 1024 };

/* ---- what a transport does (mpi_exchange.c, mpi_requests.c; transport_impl.h) ---- */

/* A barrier. Collective on group, Blocking. Errors: LT_EPEER. */
lt_status lt_mpi_meet(lt_mpi_group *group);
lt_status lt_mpi_exchange(lt_group *group, const lt_transfer *list, int count,
                          const lt_host_call *call);
lt_status lt_mpi_request_begin(lt_group *group, int peer, int tag, void *data, size_t bytes,
                               int is_send, lt_request **out);
lt_status lt_mpi_request_test(lt_request **request, int *done);
void lt_mpi_request_drop(lt_request **request);
lt_status lt_mpi_request_probe(lt_group *group, int tag, int *peer);

/* ---- the start (mpi_start.c) ---- */

/* All ranks of the launch's communicator report to rank 0. Collective on it, Blocking. Errors:
 * LT_EPEER, LT_EUSAGE (a rank runs another program). */
lt_status lt_mpi_start_call(MPI_Comm launch);
#endif
