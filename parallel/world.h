/* world.h - all ranks of the job: opened once, closed or aborted once.
 * Tested: tests/ranks, tests/faults. */
#ifndef LT_WORLD_H
#define LT_WORLD_H

#include "parallel/transport/transport.h"

/* Open the world: MPI under a launcher of MPI (launcher.h), else solo. Call once, from the main
 * thread, before threads exist; docs/design.md 4 (threads of a rank) says which other threads use
 * the world, and for what. With more than one rank the failure detector's thread begins
 * (detector.h): from here on a dead rank ends this process with exit code 75. Until then the start
 * has a limit (LONGTAKE_START_SECONDS), after which one rank names the ranks that have not come and
 * all leave with 75. Blocking, Collective on the world. Errors: LT_EUNAVAIL (launcher present, MPI
 * missing in this build or refused; a launcher that started more processes than MPI sees),
 * LT_EUSAGE (a rank runs another program). */
lt_status lt_world_open(lt_group **world);
/* Finalize; after an error on this rank alone use lt_world_abort instead. Collective on the world.
 */
void lt_world_close(lt_group **world);
/* Print nothing, make the other ranks and the launcher end the job with this exit code (mpirun
 * prints a banner of its own). Does not return under MPI; returns at once on solo. Local. */
void lt_world_abort(int exit_code);

/* The MPI library that this program runs with, "Open MPI v4.1.4", or "none". Valid for ever. Local,
 * also before a world is open. */
const char *lt_transport_library(void);

#endif
