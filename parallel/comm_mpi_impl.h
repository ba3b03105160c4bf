/* comm_mpi_impl.h - what the files that know MPI share, nobody else.               Level 2:
 * parallel
 */
#ifndef LT_COMM_MPI_IMPL_H
#define LT_COMM_MPI_IMPL_H

#include "parallel/transport.h"
#include <mpi.h>

/* Bracket a thread's use of MPI. Local, may wait for the watch's thread (a few calls). */
void lt_mpi_enter(void);
void lt_mpi_leave(void);
/* Look for the messages that posts wait for. Between enter and leave. Local. */
void lt_mpi_move_posts(void);
/* So many more posts are on their way. Local. */
void lt_mpi_busy(int more);
/* Watch the ranks of the world, over beats, which is taken; with one rank nothing is started.
 * Collective on the world, Blocking. */
lt_status lt_mpi_watch_open(MPI_Comm beats, lt_group *world);
void lt_mpi_watch_close(void);

/* ---- before the watch begins (comm_mpi_start.c) ---- */

/* From here to the end of the start there is a limit, LONGTAKE_START_SECONDS (60; 0: none). Once it
 * has passed, one rank says who has not come and all leave with exit code 75. Local. */
void lt_mpi_start_begin(void);
/* All ranks of the launch's communicator report to rank 0. Collective on it, Blocking. Errors:
 * LT_EPEER, LT_EUSAGE (a rank runs another program). */
lt_status lt_mpi_start_call(MPI_Comm launch);
/* Local. */
void lt_mpi_start_end(void);

#endif
