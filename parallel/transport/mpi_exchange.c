/* mpi_exchange.c - all messages of an exchange at once, and the barrier.
 *
 * A message's tag is its size. So a receive that is started before its message is there cannot take
 * one of another size (mpi.c says what Open MPI would do with it), and MPI brings both together by
 * itself: to probe first costs a second search in MPI's lists for each message, which short ones
 * feel (bench/LOG.md).
 *
 * Ends that name different sizes wait for each other for ever, so a wait that has gone on for long
 * looks for strays: a message from a peer that we still receive from, and which no receive takes.
 * One may be a later exchange's, sent by a peer that has ended this one while its last bytes are
 * under way to us, over another rail. They come within moments: a stray counts once ten looks in
 * ten seconds have met one beside the same receive. Looks are counted, so that the time in which
 * this process was stopped is none. The detector, which knows nothing of sizes, calls a standstill
 * after a minute (verdict.h): this has to come before.
 *
 * With more ranks than cores a waiting rank must leave its core to others: a wait yields while the
 * bytes may be on their way, then sleeps 100 us between polls. What a rank sends to itself is
 * copied. */
#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "parallel/transport/detected.h"
#include "parallel/transport/mpi_impl.h"
#include "parallel/transport/op_record.h"
#include "parallel/transport/spare.h"

typedef struct message {
    int peer, bytes, is_send;
} message;

typedef struct messages {
    MPI_Comm comm;
    int used;
    size_t bytes;       /* of all */
    MPI_Status *status; /* as the next two: one block of memory behind the struct */
    MPI_Request *handle;
    message *message;
} messages;

static lt_status messages_new(const lt_mpi_group *group, size_t capacity, messages **out)
{
    const size_t each = sizeof(MPI_Status) + sizeof(MPI_Request) + sizeof(message);
    messages *m = capacity <= INT_MAX ? lt_spare_take(sizeof *m + capacity * each) : NULL;
    if (m == NULL)
        LT_FAIL(LT_ENOMEM, "MPI transport: no memory for %zu messages", capacity);
    *m = (messages){.comm = group->comm};
    m->status = (MPI_Status *)(m + 1);
    m->handle = (MPI_Request *)(m->status + capacity);
    m->message = (message *)(m->handle + capacity);
    *out = m;
    return LT_OK;
}

/* Of those that have not ended, receives are cancelled. One whose bytes are coming can't be: they
 * are written all the same, as what is being sent is read. */
static void messages_free(messages *m)
{
    lt_mpi_enter();
    for (int i = 0; i < m->used; i++) {
        if (m->handle[i] == MPI_REQUEST_NULL)
            continue;
        if (!m->message[i].is_send)
            (void)MPI_Cancel(&m->handle[i]);
        (void)MPI_Request_free(&m->handle[i]);
    }
    lt_mpi_leave();
    lt_spare_give(m);
}

static lt_status start_one(messages *m, const message *one, void *data, int tag)
{
    MPI_Request *handle = &m->handle[m->used];
    LT_MPI(one->is_send ? MPI_Isend(data, one->bytes, MPI_BYTE, one->peer, tag, m->comm, handle)
                        : MPI_Irecv(data, one->bytes, MPI_BYTE, one->peer, tag, m->comm, handle));
    m->message[m->used++] = *one;
    m->bytes += (size_t)one->bytes;
    return LT_OK;
}

static lt_status start(messages *m, int peer, void *data, size_t bytes, int is_send)
{
    for (size_t i = 0; i < lt_mpi_messages(bytes); i++) {
        const message one = {peer, lt_mpi_message_bytes(bytes, i), is_send};
        char *at = (char *)data + i * lt_mpi_message_bytes_max();
        LT_TRY(start_one(m, &one, at, LT_MPI_TAG_SIZED + one.bytes));
    }
    return LT_OK;
}

/* Receives first: what arrives finds its place. */
static lt_status start_all(messages *m, const lt_transfer *list, int count, int rank)
{
    for (int i = 0; i < count; i++)
        if (list[i].peer != rank)
            LT_TRY(start(m, list[i].peer, list[i].recv, list[i].recv_bytes, 0));
    for (int i = 0; i < count; i++)
        if (list[i].peer != rank)
            LT_TRY(start(m, list[i].peer, (void *)(uintptr_t)list[i].send, list[i].send_bytes, 1));
    return LT_OK;
}

/* ---- wait ---- */

/* The message that failed says more than MPI_ERR_IN_STATUS. */
static lt_status failed_message(int code, const messages *m)
{
    for (int i = 0; code == MPI_ERR_IN_STATUS && i < m->used; i++) {
        const int own = m->status[i].MPI_ERROR;
        if (own == MPI_SUCCESS || own == MPI_ERR_PENDING)
            continue;
        char what[64];
        (void)snprintf(what, sizeof what, "%d bytes %s rank %d", m->message[i].bytes,
                       m->message[i].is_send ? "to" : "from", m->message[i].peer);
        return lt_mpi_failed(own, what);
    }
    return lt_mpi_failed(code, "MPI_Testall");
}

static lt_status poll(messages *m, int *done)
{
    const int code = MPI_Testall(m->used, m->handle, done, m->status);
    return code == MPI_SUCCESS ? LT_OK : failed_message(code, m);
}

/* The first receive that has not ended whose peer has sent what no receive takes, and that one's
 * bytes; -1: none. */
static lt_status find_stray(const messages *m, int *at, int *bytes)
{
    *at = -1;
    for (int i = 0; i < m->used && *at < 0; i++) {
        MPI_Status status;
        int ended = 0, found = 0;
        if (m->message[i].is_send || m->handle[i] == MPI_REQUEST_NULL)
            continue;
        LT_MPI(MPI_Request_get_status(m->handle[i], &ended, MPI_STATUS_IGNORE));
        if (ended)
            continue;
        LT_MPI(MPI_Iprobe(m->message[i].peer, MPI_ANY_TAG, m->comm, &found, &status));
        if (found && status.MPI_TAG > LT_MPI_TAG_SIZED) {
            *at = i;
            *bytes = status.MPI_TAG - LT_MPI_TAG_SIZED;
        }
    }
    return LT_OK;
}

/* What a wait has seen of strays. */
typedef struct strays {
    int beside, looks; /* this receive; so often in a row */
    double look_at;    /* the next look: a look costs a search for each receive */
} strays;

/* How long a stray must have stood. */
static double stray_seconds(double wait_seconds)
{
    static const double most = 10;
    return wait_seconds / 30 < most ? wait_seconds / 30 : most;
}

/* Two collectives have met that don't belong together. */
static lt_status refuse_stray(const messages *m, double now, double seconds, strays *seen)
{
    enum { LOOKS = 10 };
    int at = -1, bytes = 0;
    if (now < seen->look_at)
        return LT_OK;
    lt_mpi_enter();
    LT_TRY(lt_mpi_out(find_stray(m, &at, &bytes)));
    seen->looks = at >= 0 && at == seen->beside ? seen->looks + 1 : 0;
    seen->beside = at;
    seen->look_at = now + seconds / LOOKS;
    if (seen->looks >= LOOKS)
        LT_FAIL(LT_EINTERNAL, "MPI: message from rank %d: want %d bytes, found %d",
                m->message[at].peer, m->message[at].bytes, bytes);
    return LT_OK;
}

/* A sleep costs more than a short message, and moves nothing of a long one: with a waiter, yield
 * for half a millisecond and for the time that all bytes take at a slow 1 GB/s, and sleep after
 * that. Without a waiter the main thread computes. Each poll takes the processor from it for some
 * microseconds, and a long message between ranks of one host needs but a few polls (one of them
 * copies it whole): sleep between polls, longer each time. */
static lt_status wait_for(messages *m, double seconds_max, const lt_host_call *call)
{
    const double begin = lt_seconds(), patience = 5e-4 + (double)m->bytes * 1e-9;
    double backoff = 2e-5, waiter_since = -1; /* when a thread began to wait for this one */
    strays seen = {.beside = -1, .look_at = begin + patience};
    for (;;) {
        int done = 0;
        lt_mpi_enter();
        LT_TRY(lt_mpi_out(poll(m, &done)));
        if (done)
            return LT_OK;
        const double now = lt_seconds();
        if (now - begin > seconds_max && lt_detected_since_progress_s() > seconds_max)
            LT_FAIL(LT_EPEER, "MPI: a peer said nothing for %.0f s: it is gone or stuck",
                    seconds_max);
        LT_TRY(refuse_stray(m, now, stray_seconds(seconds_max), &seen));
        const lt_backoff why = lt_host_backoff(call, backoff);
        lt_operation_waiter(why == LT_BACKOFF_WAITER, call);
        if (why == LT_BACKOFF_CANCELLED)
            LT_FAIL(LT_EPEER, "given up after a failure");
        if (why == LT_BACKOFF_ELAPSED) {
            backoff = backoff < 2.5e-4 ? 2 * backoff : 5e-4;
            continue;
        }
        if (waiter_since < 0)
            waiter_since = now;
        if (now - waiter_since < patience)
            sched_yield();
        else
            nanosleep(&(struct timespec){0, 100000}, NULL);
    }
}

/* ---- the transport's ---- */

lt_status lt_mpi_exchange(lt_group *group, const lt_transfer *list, int count,
                          const lt_host_call *call)
{
    size_t capacity = 0;
    for (int i = 0; i < count; i++)
        if (list[i].peer != group->rank)
            capacity += lt_mpi_messages(list[i].send_bytes) + lt_mpi_messages(list[i].recv_bytes);
    if (capacity == 0) {
        lt_self_copy(list, count, group->rank);
        return LT_OK;
    }
    messages *m = NULL;
    LT_TRY(messages_new((const lt_mpi_group *)group, capacity, &m));
    lt_mpi_enter();
    lt_status st = lt_mpi_out(start_all(m, list, count, group->rank));
    if (st == LT_OK) {
        lt_self_copy(list, count, group->rank); /* while the others' bytes travel */
        st = wait_for(m, lt_wait_seconds(group), call);
    }
    messages_free(m);
    return st;
}

/* After ceil(log2 P) rounds a word of every rank has reached every other. All have one size. */
lt_status lt_mpi_meet(lt_mpi_group *group)
{
    const int size = group->head.size, rank = group->head.rank;
    for (int span = 1; span < size; span *= 2) {
        char mine = 1, theirs = 0;
        const message from = {(rank - span + size) % size, 1, 0}, to = {(rank + span) % size, 1, 1};
        messages *m = NULL;
        LT_TRY(messages_new(group, 2, &m));
        lt_mpi_enter();
        lt_status st = start_one(m, &from, &theirs, LT_MPI_TAG_MEET);
        if (st == LT_OK)
            st = start_one(m, &to, &mine, LT_MPI_TAG_MEET);
        st = lt_mpi_out(st);
        if (st == LT_OK)
            st = wait_for(m, LT_PEER_SILENCE_SECONDS, NULL);
        messages_free(m);
        LT_TRY(st);
    }
    return LT_OK;
}
