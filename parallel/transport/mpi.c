/* mpi.c - the transport over MPI: groups, begin and end. Beside it mpi_calls.c (who may call MPI),
 * mpi_requests.c (one message under way), mpi_exchange.c (all of an exchange at once), mpi_start.c,
 * and liveness/mpi_heartbeat.c: the files that know mpi.h.
 *
 * Each group is a communicator of its own (a duplicate or a split), so that our messages meet no
 * other program's. MPI returns errors to us (MPI_ERRORS_RETURN); they become LT_EPEER with MPI's
 * text and the peer. Waits poll: Open MPI 4 has no background progress (spec/platform.md 1). */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/transport/mpi_impl.h"
#include "parallel/transport/spare.h"

static const lt_transport mpi_transport;

/* ---- groups ---- */

/* Its first words: Open MPI adds its packager, MPICH its configuration. */
const char *lt_mpi_library(void)
{
    static char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    if (text[0] == '\0' && MPI_Get_library_version(text, &length) == MPI_SUCCESS)
        text[strcspn(text, ",\n")] = '\0';
    return text;
}

/* Takes comm, also when it fails. world_size 0: it is the world itself. */
static lt_status wrap(MPI_Comm comm, int world_size, lt_group **out)
{
    lt_mpi_group *group = calloc(1, sizeof *group);
    if (group == NULL) {
        (void)MPI_Comm_free(&comm);
        LT_FAIL(LT_ENOMEM, "MPI transport: no memory for a group");
    }
    group->head.transport = &mpi_transport;
    group->comm = comm;
    int code = MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    if (code == MPI_SUCCESS)
        code = MPI_Comm_rank(comm, &group->head.rank);
    if (code == MPI_SUCCESS)
        code = MPI_Comm_size(comm, &group->head.size);
    if (code != MPI_SUCCESS) {
        (void)MPI_Comm_free(&comm);
        free(group);
        return lt_mpi_failed(code, "a new communicator");
    }
    group->head.world_size = world_size > 0 ? world_size : group->head.size;
    *out = &group->head;
    return LT_OK;
}

static lt_status split_here(lt_group *parent, const int *ranks, int count, lt_group **out)
{
    int key = -1;
    for (int i = 0; i < count; i++)
        if (ranks[i] == parent->rank)
            key = i;
    MPI_Comm comm = MPI_COMM_NULL;
    const int color =
        key < 0 ? MPI_UNDEFINED : ranks[0]; /* lists are disjoint: the leader names one */
    LT_MPI(MPI_Comm_split(((lt_mpi_group *)parent)->comm, color, key < 0 ? 0 : key, &comm));
    if (comm == MPI_COMM_NULL)
        return LT_OK;
    return wrap(comm, parent->world_size, out);
}

static lt_status mpi_split(lt_group *parent, const int *ranks, int count, lt_group **group)
{
    LT_TRY(lt_mpi_meet((lt_mpi_group *)parent));
    lt_mpi_enter();
    return lt_mpi_out(split_here(parent, ranks, count, group));
}

static void mpi_free(lt_group *group)
{
    lt_mpi_enter();
    (void)MPI_Comm_free(&((lt_mpi_group *)group)->comm);
    lt_mpi_leave();
    free(group);
}

static void mpi_close(void)
{
    lt_spare_free();
    (void)MPI_Finalize();
}

static void mpi_abort(int exit_code)
{
    lt_mpi_enter();
    (void)MPI_Abort(MPI_COMM_WORLD, exit_code);
}

static const lt_transport mpi_transport = {"mpi",
                                           mpi_split,
                                           mpi_free,
                                           lt_mpi_exchange,
                                           lt_mpi_request_begin,
                                           lt_mpi_request_test,
                                           lt_mpi_request_drop,
                                           lt_mpi_request_probe,
                                           mpi_close,
                                           mpi_abort};

/* The world gets a communicator of its own, once all ranks have come. */
lt_status lt_mpi_open(lt_group **world)
{
    int level = 0;
    MPI_Comm comm;
    LT_MPI(MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level));
    if (level < MPI_THREAD_SERIALIZED)
        LT_FAIL(LT_EUNAVAIL, "MPI: wanted thread level SERIALIZED, found %d", level);
    LT_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    LT_TRY(lt_mpi_limit_messages(MPI_COMM_WORLD));
    LT_TRY(lt_mpi_start_call(MPI_COMM_WORLD));
    LT_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    LT_TRY(wrap(comm, 0, world));
    return LT_OK;
}
