/* mpi_requests.c - one message to or from one peer, under way beside everything else.
 *
 * No receive starts before its message is there and has the size that this end wants: each poll
 * first probes (MPI_Improbe, which takes the message away from every other probe), compares the
 * sizes, and only then receives. What a request has not found yet is unmatched. Of the messages of
 * one peer with one tag the next one is probed for when the one before it is matched, which keeps
 * their order, over requests too. The detector's thread probes as well (lt_mpi_move_requests): the
 * main thread may compute for long. It finds the first of them within its nap of 2 ms; to wake it
 * for each costs short messages more than that saves (bench/LOG.md).
 *
 * A request that fails is dropped. What it has not matched nobody writes any more; what it has, MPI
 * can't take back: MPI_Cancel leaves a matched receive as it is (transport.h, lt_request_drop). */
#include <assert.h>
#include <limits.h>
#include <mpi.h>
#include <stdatomic.h>
#include <string.h>

#include "base/span.h"
#include "parallel/transport/mpi_impl.h"
#include "parallel/transport/spare.h"

struct lt_request {
    lt_request_head head;
    MPI_Comm comm;
    int peer, tag, is_send;
    char *data;
    size_t bytes;
    int count, started;          /* messages: all, those that are sent or matched */
    int found;                   /* of the next one: a size that is not wanted; -1: none */
    int code;                    /* of a probe or receive that failed */
    lt_request *next, *previous; /* all requests of this rank, in their order */
    const char *axis;            /* as the next one: for the trace */
    double began;
    MPI_Status *status; /* [count], as the next one: one block of memory behind the struct */
    MPI_Request *handle;
};

static lt_request *first_request, *last_request; /* only between enter and leave */
static atomic_int busy;                          /* requests on their way */

int lt_mpi_is_busy(void) { return atomic_load(&busy) > 0; }

static void enlist(lt_request *request)
{
    request->previous = last_request;
    *(last_request != NULL ? &last_request->next : &first_request) = request;
    last_request = request;
}

static void delist(lt_request *request)
{
    *(request->previous != NULL ? &request->previous->next : &first_request) = request->next;
    *(request->next != NULL ? &request->next->previous : &last_request) = request->previous;
}

static char *message_data(const lt_request *request, int i)
{
    return request->data + (size_t)i * lt_mpi_message_bytes_max();
}

static void drop(lt_request **request)
{
    for (int i = 0; i < (*request)->started; i++)
        if ((*request)->handle[i] != MPI_REQUEST_NULL)
            (void)MPI_Request_free(&(*request)->handle[i]);
    lt_spare_give(*request);
    *request = NULL;
}

/* ---- begin ---- */

static lt_status request_new(const lt_group *group, size_t bytes, lt_request **out)
{
    const size_t count = lt_mpi_messages(bytes);
    const size_t each = sizeof(MPI_Status) + sizeof(MPI_Request);
    lt_request *request = count <= INT_MAX ? lt_spare_take(sizeof *request + count * each) : NULL;
    if (request == NULL)
        LT_FAIL(LT_ENOMEM, "MPI transport: no memory for %zu messages", count);
    *request = (lt_request){.head.transport = group->transport,
                            .comm = lt_mpi_comm(group),
                            .bytes = bytes,
                            .count = (int)count,
                            .found = -1,
                            .axis = group->axis};
    request->status = (MPI_Status *)(request + 1);
    request->handle = (MPI_Request *)(request->status + count);
    for (size_t i = 0; i < count; i++)
        request->handle[i] = MPI_REQUEST_NULL;
    *out = request;
    return LT_OK;
}

static lt_status send_all(lt_request *request)
{
    for (int i = 0; i < request->count; i++) {
        const int bytes = lt_mpi_message_bytes(request->bytes, (size_t)i);
        LT_MPI(MPI_Isend(message_data(request, i), bytes, MPI_BYTE, request->peer, request->tag,
                         request->comm, &request->handle[i]));
        request->started++;
    }
    return LT_OK;
}

lt_status lt_mpi_request_begin(lt_group *group, int peer, int tag, void *data, size_t bytes,
                               int is_send, lt_request **made)
{
    lt_request *request = NULL;
    lt_status st = LT_OK;
    assert(tag >= 0 && tag < LT_MPI_TAG_MEET);
    LT_TRY(request_new(group, bytes, &request));
    request->peer = peer;
    request->tag = tag;
    request->is_send = is_send;
    request->data = data;
    lt_mpi_enter();
    if (is_send)
        st = send_all(request);
    if (st == LT_OK) {
        request->began = lt_span_begin();
        enlist(request);
    } else {
        drop(&request);
    }
    st = lt_mpi_out(st);
    if (st != LT_OK)
        return lt_error_trace(st, "start", __FILE__, __LINE__);
    (void)atomic_fetch_add(&busy, 1);
    *made = request;
    return LT_OK;
}

/* ---- on the way ---- */

/* Probe for the next message, and receive it if it has the size that both ends agreed on. A failure
 * is kept for the thread that polls the request: this may be another one. */
static int match_next(lt_request *request)
{
    MPI_Message matched;
    MPI_Status status;
    int found = 0, bytes = 0;
    const int i = request->started, wanted = lt_mpi_message_bytes(request->bytes, (size_t)i);
    request->code =
        MPI_Improbe(request->peer, request->tag, request->comm, &found, &matched, &status);
    if (request->code != MPI_SUCCESS || !found)
        return 0;
    request->code = MPI_Get_count(&status, MPI_BYTE, &bytes);
    if (request->code == MPI_SUCCESS && bytes != wanted) {
        request->found = bytes;
        return 0;
    }
    if (request->code == MPI_SUCCESS)
        request->code =
            MPI_Imrecv(message_data(request, i), bytes, MPI_BYTE, &matched, &request->handle[i]);
    request->started++;
    return request->code == MPI_SUCCESS;
}

/* Does a request ahead of this one wait for a message that this one would take? */
static int is_behind(const lt_request *request)
{
    for (const lt_request *p = request->previous; p != NULL; p = p->previous)
        if (p->started < p->count && p->tag == request->tag && p->comm == request->comm &&
            p->peer == request->peer && !p->is_send)
            return 1;
    return 0;
}

void lt_mpi_move_requests(void)
{
    for (lt_request *p = first_request; p != NULL; p = p->next) {
        if (p->is_send || p->started == p->count || is_behind(p))
            continue;
        while (p->started < p->count && p->found < 0 && p->code == MPI_SUCCESS && match_next(p))
            ;
    }
}

/* The message that failed says more than MPI_ERR_IN_STATUS. */
static lt_status failed_message(int code, const lt_request *request)
{
    for (int i = 0; code == MPI_ERR_IN_STATUS && i < request->started; i++) {
        const int own = request->status[i].MPI_ERROR;
        if (own == MPI_SUCCESS || own == MPI_ERR_PENDING)
            continue;
        char what[64];
        (void)snprintf(what, sizeof what, "%d bytes %s rank %d",
                       lt_mpi_message_bytes(request->bytes, (size_t)i),
                       request->is_send ? "to" : "from", request->peer);
        return lt_mpi_failed(own, what);
    }
    return lt_mpi_failed(code, "MPI_Testall");
}

/* Both ends agree on sizes; where they don't, two requests have met that don't belong together. */
static lt_status poll(lt_request *request, int *done)
{
    if (request->found >= 0)
        LT_FAIL(LT_EINTERNAL, "MPI: message from rank %d: want %d bytes, found %d", request->peer,
                lt_mpi_message_bytes(request->bytes, (size_t)request->started), request->found);
    if (request->code != MPI_SUCCESS)
        return lt_mpi_failed(request->code, "look for a message");
    const int code = MPI_Testall(request->started, request->handle, done, request->status);
    if (code != MPI_SUCCESS)
        return failed_message(code, request);
    *done = *done && request->started == request->count;
    return LT_OK;
}

lt_status lt_mpi_request_test(lt_request **request, int *done)
{
    *done = 0;
    lt_mpi_enter();
    lt_mpi_move_requests();
    const lt_status st = poll(*request, done);
    if (st != LT_OK || *done) {
        delist(*request);
        if ((*request)->count > 0)
            lt_span_end(LT_SPAN_MESSAGE, (*request)->is_send ? "send" : "receive", (*request)->axis,
                        (*request)->began, (*request)->bytes);
        drop(request);
        (void)atomic_fetch_sub(&busy, 1);
    }
    LT_TRY(lt_mpi_out(st));
    return LT_OK;
}

void lt_mpi_request_drop(lt_request **request)
{
    lt_mpi_enter();
    delist(*request);
    drop(request);
    lt_mpi_leave();
    (void)atomic_fetch_sub(&busy, 1);
}

static lt_status probe_here(lt_group *group, int tag, int *peer)
{
    MPI_Status status;
    int found = 0;
    LT_MPI(MPI_Iprobe(MPI_ANY_SOURCE, tag, lt_mpi_comm(group), &found, &status));
    *peer = found ? status.MPI_SOURCE : -1;
    return LT_OK;
}

lt_status lt_mpi_request_probe(lt_group *group, int tag, int *peer)
{
    lt_mpi_enter();
    return lt_mpi_out(probe_here(group, tag, peer));
}
