/* world.c - opens and closes the world: picks a transport, starts the failure detector.
 * MPI is initialised only under a launcher: a program started alone must not depend on an MPI
 * runtime that can find nothing to talk to, and starts 0.3 s sooner. */
#include "parallel/world.h"

#include <assert.h>
#include <time.h>

#include "base/leave.h"
#include "base/new_file.h"
#include "parallel/liveness/detector.h"
#include "parallel/transport/launcher.h"
#include "parallel/transport/transport_impl.h"

static const lt_transport *world_transport;

const char *lt_transport_library(void)
{
#ifdef LT_HAVE_MPI
    return lt_mpi_library();
#else
    return "none";
#endif
}

#ifdef LT_HAVE_MPI
/* Until all ranks are watched the start has a limit: a dead one would never be noticed. */
static lt_status open_mpi(lt_group **world)
{
    lt_mpi_start_begin();
    lt_status st = lt_mpi_open(world);
    if (st == LT_OK)
        st = lt_mpi_detector_open(*world);
    lt_mpi_start_end();
    LT_TRY(st);
    return LT_OK;
}
#endif

lt_status lt_world_open(lt_group **world)
{
    lt_status st = LT_OK;
    assert(world_transport == NULL);
    if (!lt_launcher_find().has_mpi) {
        LT_TRY(lt_launcher_check(1));
        LT_TRY(lt_solo_open(world));
    } else {
#ifdef LT_HAVE_MPI
        st = open_mpi(world);
#else
        lt_hint("build with -DLT_MPI=ON, or start longtake without a launcher");
        LT_FAIL(LT_EUNAVAIL, "started by an MPI launcher, but this build has no MPI");
#endif
    }
    if (*world != NULL) /* also after a failure, so that it can be aborted */
        world_transport = (*world)->transport;
    LT_TRY(st);
    return LT_OK;
}

void lt_world_close(lt_group **world)
{
    if (*world == NULL)
        return;
    const lt_transport *transport = (*world)->transport;
    transport->free_group(*world);
    *world = NULL;
#ifdef LT_HAVE_MPI
    lt_mpi_detector_close();
#endif
    transport->close();
    world_transport = NULL;
}

void lt_world_abort(int exit_code)
{
    lt_new_file_abandon();
    if (world_transport == NULL)
        return;
    lt_detector_send_abort();
    /* Open MPI 5's mpirun closes the ranks' stderr with the job: the line has to be through. */
    const long ms = LT_LEAVE_PRINTER_MS;
    (void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
    world_transport->abort(exit_code);
}
