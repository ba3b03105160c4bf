/* mpi.c - the transport over MPI; with mpi_heartbeat.c the files that know mpi.h.
 *
 * Each group is a communicator of its own (a duplicate or a split), so that our messages meet no
 * other program's. MPI returns errors to us (MPI_ERRORS_RETURN); they become LT_EPEER with MPI's
 * text and the peer. Waits poll MPI_Testall: Open MPI 4 has no background progress
 * (spec/platform.md 1). With more ranks than cores a waiting rank must leave its core to others, so
 * a wait yields while the bytes may be on their way, then sleeps 100 us between polls. A transfer
 * above 1 GiB is cut into several messages, since MPI counts are int.
 *
 * Several threads use MPI, one at a time (docs/design.md 4, threads of a rank): the main thread;
 * the comm queue's, which runs collectives of tensors; the detector's, which sends heartbeats and
 * moves requests while the main thread computes; the file server's (requests only). Every call lies
 * between lt_mpi_enter and lt_mpi_leave; no thread keeps MPI while it waits. Where MPI itself waits
 * for other ranks (split), all of them have met before.
 *
 * No receive starts before its message is there and has the size that this end wants: Open MPI 4
 * writes all of a longer message (from 4 KiB on in shared memory, 64 KiB over TCP) behind the
 * buffer and reports MPI_ERR_TRUNCATE then. So each poll first probes (MPI_Improbe, which takes the
 * message away from every other probe), compares the sizes, and only then receives. A receive whose
 * probe has found nothing yet is unmatched. Of the messages of one peer with one tag the next one
 * is probed for when the one before it is matched, which keeps their order. The detector's thread
 * probes too for what a request waits for.
 *
 * An exchange is one request that holds all its messages. What a rank sends to itself is copied. A
 * request that fails is dropped: receives are cancelled, so that no peer writes into freed memory.
 */
#include <assert.h>
#include <limits.h>
#include <mpi.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/span.h"
#include "parallel/liveness/detector_impl.h"
#include "parallel/transport/detected.h"
#include "parallel/transport/mpi_impl.h"
#include "parallel/transport/op_record.h"
#include "parallel/transport/spare.h"
#include "parallel/transport/transport_impl.h"

enum { TAG_EXCHANGE = 1024, TAG_MEET = 1025, MESSAGE_BYTES_MAX = 1 << 30 };

typedef void (*wake_function)(void);

typedef struct {
    lt_group head;
    MPI_Comm comm;
} mpi_group;

/* At most MESSAGE_BYTES_MAX of a transfer. */
typedef struct {
    int peer, bytes, is_send;
    int unmatched; /* a receive whose message has not been found yet */
    int before;    /* the receive from the same peer ahead of this one, -1: none */
    char *data;
} message;

struct lt_request {
    lt_request_head head;
    int used, capacity;
    MPI_Comm comm;
    int tag;
    int unmatched, first_unmatched; /* how many receives are; the first of them */
    int refused, found; /* the receive whose message has another size, and that; -1: none */
    int code;           /* of a probe or receive that failed */
    lt_request *next, *previous; /* all requests of this rank, in their order */
    const char *axis;            /* as the next two: for the trace */
    double began;
    uint64_t bytes;
    MPI_Status *status; /* [capacity], as the next two: one block of memory behind the struct */
    MPI_Request *handle;
    message *message;
};

static const lt_transport mpi_transport;
static lt_request *first_request, *last_request; /* only between enter and leave */
static pthread_mutex_t token = PTHREAD_MUTEX_INITIALIZER;
static atomic_int wanted, busy; /* busy: requests on their way */
static _Atomic(wake_function) wake_on_busy;

/* ---- one thread in MPI at a time ---- */

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

int lt_mpi_is_busy(void) { return atomic_load(&busy) > 0; }
void lt_mpi_on_busy(void (*wake)(void)) { atomic_store(&wake_on_busy, wake); }

static void count_requests(int more)
{
    const wake_function wake = atomic_load(&wake_on_busy);
    if (atomic_fetch_add(&busy, more) == 0 && wake != NULL)
        wake();
}

MPI_Comm lt_mpi_comm(const lt_group *group) { return ((const mpi_group *)group)->comm; }

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

static lt_status failed(int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0, begun = 0;
    if (MPI_Initialized(&begun) == MPI_SUCCESS && begun) /* before, it ends the process */
        (void)MPI_Error_string(code, text, &length);
    else
        (void)snprintf(text, sizeof text, "error %d", code);
    LT_FAIL(LT_EPEER, "MPI: %s: %s", what, text);
}

#define LT_MPI(call)                                                                               \
    do {                                                                                           \
        const int code_ = (call);                                                                  \
        if (code_ != MPI_SUCCESS)                                                                  \
            return failed(code_, #call);                                                           \
    } while (0)

/* Takes comm, also when it fails. world_size 0: it is the world itself. */
static lt_status wrap(MPI_Comm comm, int world_size, lt_group **out)
{
    mpi_group *group = calloc(1, sizeof *group);
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
        return failed(code, "a new communicator");
    }
    group->head.world_size = world_size > 0 ? world_size : group->head.size;
    *out = &group->head;
    return LT_OK;
}

/* Out of MPI with a status. Where a peer seems to be dead, the detector may know more: it ends the
 * process with its own line. */
static lt_status out(lt_status st)
{
    lt_mpi_leave();
    if (st == LT_EPEER)
        lt_detected_wait_for_verdict();
    return st;
}

static lt_status meet(mpi_group *group);

static lt_status split_here(lt_group *parent, const int *ranks, int count, lt_group **out)
{
    int key = -1;
    for (int i = 0; i < count; i++)
        if (ranks[i] == parent->rank)
            key = i;
    MPI_Comm comm = MPI_COMM_NULL;
    const int color =
        key < 0 ? MPI_UNDEFINED : ranks[0]; /* lists are disjoint: the leader names one */
    LT_MPI(MPI_Comm_split(((mpi_group *)parent)->comm, color, key < 0 ? 0 : key, &comm));
    if (comm == MPI_COMM_NULL)
        return LT_OK;
    return wrap(comm, parent->world_size, out);
}

static lt_status mpi_split(lt_group *parent, const int *ranks, int count, lt_group **group)
{
    LT_TRY(meet((mpi_group *)parent));
    lt_mpi_enter();
    return out(split_here(parent, ranks, count, group));
}

static void mpi_free(lt_group *group)
{
    lt_mpi_enter();
    (void)MPI_Comm_free(&((mpi_group *)group)->comm);
    lt_mpi_leave();
    free(group);
}

static size_t messages(size_t bytes)
{
    return bytes / MESSAGE_BYTES_MAX + (bytes % MESSAGE_BYTES_MAX != 0);
}

static lt_status request_new(mpi_group *group, int tag, size_t capacity, lt_request **out)
{
    const size_t each = sizeof(MPI_Status) + sizeof(MPI_Request) + sizeof(message);
    lt_request *request =
        capacity <= INT_MAX ? lt_spare_take(sizeof *request + capacity * each) : NULL;
    if (request == NULL)
        LT_FAIL(LT_ENOMEM, "MPI transport: no memory for %zu messages", capacity);
    memset(request, 0, sizeof *request + capacity * each);
    request->head.transport = &mpi_transport;
    request->capacity = (int)capacity;
    request->comm = group->comm;
    request->tag = tag;
    request->refused = -1;
    request->status = (MPI_Status *)(request + 1);
    request->handle = (MPI_Request *)(request->status + capacity);
    request->message = (message *)(request->handle + capacity);
    *out = request;
    return LT_OK;
}

static void drop(lt_request **request)
{
    for (int i = 0; i < (*request)->used; i++) {
        if ((*request)->handle[i] == MPI_REQUEST_NULL)
            continue;
        if (!(*request)->message[i].is_send)
            (void)MPI_Cancel(&(*request)->handle[i]);
        (void)MPI_Request_free(&(*request)->handle[i]);
    }
    lt_spare_give(*request);
    *request = NULL;
}

/* Send one transfer. */
static lt_status start_send(lt_request *request, int peer, const char *data, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += MESSAGE_BYTES_MAX) {
        const int count = (int)(bytes - at < MESSAGE_BYTES_MAX ? bytes - at : MESSAGE_BYTES_MAX);
        assert(request->used < request->capacity);
        MPI_Request *handle = &request->handle[request->used];
        LT_MPI(MPI_Isend(data + at, count, MPI_BYTE, peer, request->tag, request->comm, handle));
        request->message[request->used++] = (message){.peer = peer, .bytes = count, .is_send = 1};
    }
    return LT_OK;
}

/* Expect one transfer: none of its messages is received before it is matched. */
static void expect(lt_request *request, int peer, char *data, size_t bytes)
{
    int before = -1;
    for (int i = request->used - 1; bytes > 0 && i >= 0 && before < 0; i--)
        if (!request->message[i].is_send && request->message[i].peer == peer)
            before = i;
    for (size_t at = 0; at < bytes; at += MESSAGE_BYTES_MAX) {
        const int count = (int)(bytes - at < MESSAGE_BYTES_MAX ? bytes - at : MESSAGE_BYTES_MAX);
        assert(request->used < request->capacity);
        if (request->unmatched++ == 0)
            request->first_unmatched = request->used;
        request->handle[request->used] = MPI_REQUEST_NULL;
        request->message[request->used] = (message){
            .peer = peer, .bytes = count, .unmatched = 1, .before = before, .data = data + at};
        before = request->used++;
    }
}

/* Probe for one message, and receive it if it has the size that both ends agreed on. */
static int match(lt_request *request, int i)
{
    MPI_Message matched;
    MPI_Status status;
    int found = 0, bytes = 0;
    message *p = &request->message[i];
    int code = MPI_Improbe(p->peer, request->tag, request->comm, &found, &matched, &status);
    if (code != MPI_SUCCESS || !found)
        return code;
    code = MPI_Get_count(&status, MPI_BYTE, &bytes);
    if (code == MPI_SUCCESS && bytes != p->bytes) {
        request->refused = i;
        request->found = bytes;
        return code;
    }
    if (code == MPI_SUCCESS)
        code = MPI_Imrecv(p->data, bytes, MPI_BYTE, &matched, &request->handle[i]);
    p->unmatched = 0;
    request->unmatched--;
    return code;
}

/* Probe for all messages that are due. A failure is kept for the thread that polls the request:
 * this may be another one. */
static void match_all(lt_request *request)
{
    int first = request->used;
    for (int i = request->first_unmatched; request->unmatched > 0 && i < request->used &&
                                           request->refused < 0 && request->code == MPI_SUCCESS;
         i++) {
        const message *p = &request->message[i];
        if (p->unmatched && (p->before < 0 || !request->message[p->before].unmatched))
            request->code = match(request, i);
        if (p->unmatched && i < first)
            first = i;
    }
    request->first_unmatched = first;
}

/* Does a request ahead of this one wait for a message that this one would take? All messages of a
 * request in the list are with one peer. */
static int is_behind(const lt_request *request)
{
    for (const lt_request *p = request->previous; p != NULL; p = p->previous)
        if (p->unmatched > 0 && p->tag == request->tag && p->comm == request->comm &&
            p->message[0].peer == request->message[0].peer)
            return 1;
    return 0;
}

void lt_mpi_move_requests(void)
{
    for (lt_request *p = first_request; p != NULL; p = p->next)
        if (p->unmatched > 0 && !is_behind(p))
            match_all(p);
}

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

/* The message that failed says more than MPI_ERR_IN_STATUS. */
static lt_status failed_message(int code, const lt_request *request)
{
    for (int i = 0; code == MPI_ERR_IN_STATUS && i < request->used; i++) {
        const int own = request->status[i].MPI_ERROR;
        if (own == MPI_SUCCESS || own == MPI_ERR_PENDING)
            continue;
        char what[64];
        (void)snprintf(what, sizeof what, "%d bytes %s rank %d", request->message[i].bytes,
                       request->message[i].is_send ? "to" : "from", request->message[i].peer);
        return failed(own, what);
    }
    return failed(code, "MPI_Testall");
}

/* After match_all. Both ends agree on sizes; where they don't, two collectives have met that don't
 * belong together. */
static lt_status poll_request(lt_request *request, int *done)
{
    *done = 0;
    if (request->refused >= 0)
        LT_FAIL(LT_EINTERNAL, "MPI: message from rank %d: want %d bytes, found %d",
                request->message[request->refused].peer, request->message[request->refused].bytes,
                request->found);
    if (request->code != MPI_SUCCESS)
        return failed(request->code, "look for a message");
    const int code = MPI_Testall(request->used, request->handle, done, request->status);
    if (code != MPI_SUCCESS)
        return failed_message(code, request);
    *done = *done && request->unmatched == 0;
    return LT_OK;
}

/* A sleep costs more than a short message, and moves nothing of a long one: with a waiter, yield
 * for half a millisecond and for the time that all bytes take at a slow 1 GB/s, and sleep after
 * that. Without a waiter the main thread computes. Each poll takes the processor from it for some
 * microseconds, and a long message between ranks of one host needs but a few polls (one of them
 * copies it whole): sleep between polls, longer each time. */
static lt_status wait_for(lt_request *request, size_t bytes, double seconds_max,
                          const lt_host_call *call)
{
    const double begin = lt_seconds(), patience = 5e-4 + (double)bytes * 1e-9;
    double backoff = 2e-5, waiter_since = -1; /* when a thread began to wait for this one */
    for (;;) {
        int done = 0;
        lt_mpi_enter();
        match_all(request);
        LT_TRY(out(poll_request(request, &done)));
        if (done)
            return LT_OK;
        const double now = lt_seconds();
        if (now - begin > seconds_max && lt_detected_since_progress_s() > seconds_max)
            LT_FAIL(LT_EPEER, "MPI: a peer said nothing for %.0f s: it is gone or stuck",
                    seconds_max);
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

static lt_status start_all(const lt_transfer *list, int count, int rank, lt_request *request)
{
    for (int i = 0; i < count; i++)
        if (list[i].peer != rank)
            LT_TRY(start_send(request, list[i].peer, list[i].send, list[i].send_bytes));
    for (int i = 0; i < count; i++)
        if (list[i].peer != rank)
            expect(request, list[i].peer, list[i].recv, list[i].recv_bytes);
    return LT_OK;
}

static lt_status mpi_exchange(lt_group *base, const lt_transfer *list, int count,
                              const lt_host_call *call)
{
    size_t capacity = 0, bytes = 0;
    for (int i = 0; i < count; i++) {
        if (list[i].peer == base->rank)
            continue;
        capacity += messages(list[i].send_bytes) + messages(list[i].recv_bytes);
        bytes += list[i].send_bytes + list[i].recv_bytes;
    }
    lt_request *request = NULL;
    lt_status st = LT_OK;
    if (capacity > 0) {
        LT_TRY(request_new((mpi_group *)base, TAG_EXCHANGE, capacity, &request));
        lt_mpi_enter();
        LT_TRY_GOTO(out(start_all(list, count, base->rank, request)), st, done);
    }
    lt_self_copy(list, count, base->rank); /* while the others' bytes travel */
    if (request != NULL)
        LT_TRY_GOTO(wait_for(request, bytes, lt_wait_seconds(base), call), st, done);
done:
    if (request != NULL) {
        lt_mpi_enter();
        drop(&request);
        lt_mpi_leave();
    }
    return st;
}

/* A barrier: after ceil(log2 P) rounds a word of every rank has reached every other. */
static lt_status meet(mpi_group *group)
{
    const int size = group->head.size, rank = group->head.rank;
    for (int span = 1; span < size; span *= 2) {
        char mine = 1, theirs = 0;
        lt_request *request = NULL;
        LT_TRY(request_new(group, TAG_MEET, 2, &request));
        expect(request, (rank - span + size) % size, &theirs, 1);
        lt_mpi_enter();
        lt_status st = out(start_send(request, (rank + span) % size, &mine, 1));
        if (st == LT_OK)
            st = wait_for(request, 2, LT_PEER_SILENCE_SECONDS, NULL);
        lt_mpi_enter();
        drop(&request);
        LT_TRY(out(st));
    }
    return LT_OK;
}

static lt_status mpi_request_begin(lt_group *base, int peer, int tag, void *data, size_t bytes,
                                   int is_send, lt_request **made)
{
    lt_request *request = NULL;
    lt_status st = LT_OK;
    LT_TRY(request_new((mpi_group *)base, tag, messages(bytes), &request));
    lt_mpi_enter();
    if (is_send)
        st = start_send(request, peer, data, bytes);
    else
        expect(request, peer, data, bytes);
    if (st == LT_OK)
        enlist(request);
    else
        drop(&request);
    st = out(st);
    if (st != LT_OK)
        return lt_error_trace(st, "start", __FILE__, __LINE__);
    request->axis = base->axis;
    request->began = lt_span_begin();
    request->bytes = bytes;
    count_requests(1);
    *made = request;
    return LT_OK;
}

static lt_status mpi_request_test(lt_request **request, int *done)
{
    *done = 0;
    lt_mpi_enter();
    lt_mpi_move_requests();
    const lt_status st = poll_request(*request, done);
    if (st != LT_OK || *done) {
        delist(*request);
        if ((*request)->used > 0)
            lt_span_end(LT_SPAN_MESSAGE, (*request)->message[0].is_send ? "send" : "receive",
                        (*request)->axis, (*request)->began, (*request)->bytes);
        drop(request);
        count_requests(-1);
    }
    LT_TRY(out(st));
    return LT_OK;
}

static lt_status probe_here(lt_group *base, int tag, int *peer)
{
    MPI_Status status;
    int found = 0;
    LT_MPI(MPI_Iprobe(MPI_ANY_SOURCE, tag, ((mpi_group *)base)->comm, &found, &status));
    *peer = found ? status.MPI_SOURCE : -1;
    return LT_OK;
}

static lt_status mpi_request_probe(lt_group *base, int tag, int *peer)
{
    lt_mpi_enter();
    return out(probe_here(base, tag, peer));
}

static void mpi_request_drop(lt_request **request)
{
    lt_mpi_enter();
    delist(*request);
    drop(request);
    lt_mpi_leave();
    count_requests(-1);
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
                                           mpi_exchange,
                                           mpi_request_begin,
                                           mpi_request_test,
                                           mpi_request_drop,
                                           mpi_request_probe,
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
    LT_TRY(lt_mpi_start_call(MPI_COMM_WORLD));
    LT_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    LT_TRY(wrap(comm, 0, world));
    return LT_OK;
}
