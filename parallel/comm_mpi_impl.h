/* comm_mpi_impl.h - what the two files that know MPI share, nobody else.               Level 2:
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

#endif
