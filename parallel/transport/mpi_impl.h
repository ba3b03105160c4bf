/* mpi_impl.h - what the files that know MPI share, no other file. */
#ifndef LT_MPI_IMPL_H
#define LT_MPI_IMPL_H

#include "parallel/transport/transport.h"
#include <mpi.h>

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
/* What to call when the first of them begins; NULL: nothing. Local. */
void lt_mpi_on_busy(void (*wake)(void));
/* The communicator of a group. Local. */
MPI_Comm lt_mpi_comm(const lt_group *group);

/* ---- the start (mpi_start.c) ---- */

/* All ranks of the launch's communicator report to rank 0. Collective on it, Blocking. Errors:
 * LT_EPEER, LT_EUSAGE (a rank runs another program). */
lt_status lt_mpi_start_call(MPI_Comm launch);
#endif
