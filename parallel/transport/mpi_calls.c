/* mpi_calls.c - who may call MPI and when, what an error becomes, how large a message may be.
 *
 * Several threads use MPI, one at a time (docs/design.md 4, threads of a rank): the main thread;
 * the comm queue's, which runs collectives of tensors; the detector's, which sends heartbeats and
 * moves requests while the main thread computes; the file server's (requests only). Every call lies
 * between lt_mpi_enter and lt_mpi_leave; no thread keeps MPI while it waits. Where MPI itself waits
 * for other ranks (split), all of them have met before.
 *
 * No receive takes a message of another size than its own: Open MPI 4 writes all of a longer one
 * (from 4 KiB on in shared memory, 64 KiB over TCP) behind the buffer and reports MPI_ERR_TRUNCATE
 * then. Requests look at a message before they receive it; an exchange writes the size into the
 * tag, so that MPI itself brings together what belongs together. */
#include <mpi.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "base/log.h"
#include "parallel/transport/detected.h"
#include "parallel/transport/mpi_impl.h"

static pthread_mutex_t token = PTHREAD_MUTEX_INITIALIZER;
static atomic_int wanted;
static size_t message_bytes_max = 1 << 30;

/* A mutex isn't fair: a main thread that polls takes it again at once. A thread that is seldom here
 * sets `wanted`, and the polling one lets it in. */
void lt_mpi_enter(void)
{
    for (int i = 0; i < 50 && atomic_load(&wanted); i++)
        (void)sched_yield();
    (void)pthread_mutex_lock(&token);
}

void lt_mpi_leave(void) { (void)pthread_mutex_unlock(&token); }

int lt_mpi_try_enter(double seconds_max)
{
    const double began = lt_seconds();
    int held = pthread_mutex_trylock(&token) == 0;
    if (held)
        return 1;
    atomic_store(&wanted, 1);
    do {
        (void)nanosleep(&(struct timespec){0, 20000}, NULL);
        held = pthread_mutex_trylock(&token) == 0;
    } while (!held && lt_seconds() - began < seconds_max);
    atomic_store(&wanted, 0);
    return held;
}

MPI_Comm lt_mpi_comm(const lt_group *group) { return ((const lt_mpi_group *)group)->comm; }

lt_status lt_mpi_out(lt_status st)
{
    lt_mpi_leave();
    if (st == LT_EPEER)
        lt_detected_wait_for_verdict();
    return st;
}

lt_status lt_mpi_failed(int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0, begun = 0;
    if (MPI_Initialized(&begun) == MPI_SUCCESS && begun) /* before, it ends the process */
        (void)MPI_Error_string(code, text, &length);
    else
        (void)snprintf(text, sizeof text, "error %d", code);
    LT_FAIL(LT_EPEER, "MPI: %s: %s", what, text);
}

/* ---- sizes of messages ---- */

size_t lt_mpi_message_bytes_max(void) { return message_bytes_max; }

size_t lt_mpi_messages(size_t bytes)
{
    return bytes / message_bytes_max + (bytes % message_bytes_max != 0);
}

int lt_mpi_message_bytes(size_t bytes, size_t i)
{
    const size_t left = bytes - i * message_bytes_max;
    return (int)(left < message_bytes_max ? left : message_bytes_max);
}

/* A message's size has to fit into a tag. Open MPI's largest tag is INT_MAX over its own transports
 * and 2^23 - 1 over UCX; MPI promises 32767. */
lt_status lt_mpi_limit_messages(MPI_Comm launch)
{
    int *largest = NULL, found = 0;
    LT_MPI(MPI_Comm_get_attr(launch, MPI_TAG_UB, &largest, &found));
    if (!found || *largest < 32767)
        LT_FAIL(LT_EUNAVAIL, "MPI: want tags up to 32767, found %d", found ? *largest : 0);
    const size_t most = (size_t)(*largest - LT_MPI_TAG_SIZED);
    message_bytes_max = most < message_bytes_max ? most : message_bytes_max;
    return LT_OK;
}
