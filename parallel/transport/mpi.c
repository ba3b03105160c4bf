/* mpi.c - the transport over MPI; with mpi_heartbeat.c the files that know mpi.h.
 *
 * Every group is a communicator of its own (a duplicate or a split), so that our messages meet
 * nobody else's. Errors return to us (MPI_ERRORS_RETURN) and become LT_EPEER with MPI's text and
 * the peer. Waits poll MPI_Testall: Open MPI 4 has no background progress (spec/platform.md 1), and
 * more ranks than cores need a waiting rank to give up its core, so a wait yields while the bytes
 * may be on their way, then sleeps 100 us a turn. Messages above 1 GiB are cut, since MPI counts
 * are int.
 *
 * MPI is used by several threads, one at a time: the main thread, the comm queue's, which runs the
 * collectives of tensors, the detector's, which sends heartbeats, and moves the decoding pool's
 * posts while the main thread computes, and one that may serve a model's files (posts only). Every
 * call lies between lt_mpi_enter and lt_mpi_leave; nobody keeps MPI while it waits. Where MPI
 * itself waits for other ranks (split), all of them have met before.
 *
 * No receive is posted before its message is there and has the size that this end wants: Open MPI 4
 * writes all of a longer message (from 4 KiB on in shared memory, 64 KiB over TCP) behind the
 * buffer and reports MPI_ERR_TRUNCATE then. So each look first probes (MPI_Improbe, which takes the
 * message away from every other probe), compares, and only then receives. Of the messages of one
 * peer with one tag the next one is looked for when the one before it has been found, which keeps
 * their order. What a post waits for is also looked for by the detector's thread.
 *
 * An exchange is a post of all its transfers. What a rank sends itself is copied. A post that fails
 * is dropped: receives are cancelled, so that no peer writes into freed memory. */
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

enum { TAG_EXCHANGE = 1024, TAG_MEET = 1025, PIECE_BYTES = 1 << 30 };

typedef void (*wake_function)(void);

typedef struct {
    lt_group head;
    MPI_Comm comm;
} mpi_group;

/* One MPI message: at most PIECE_BYTES of a transfer. */
typedef struct {
    int peer, bytes, is_send;
    int awaited; /* a receive whose message has not been found yet */
    int before;  /* the receive from the same peer ahead of this one, -1: none */
    char *data;
} piece;

struct lt_request {
    lt_request_head head;
    int used, room;
    MPI_Comm comm;
    int tag;
    int awaited, first_awaited;  /* receives whose message is not found; the first of them */
    int refused, found;          /* the piece whose message has another size, and that; -1: none */
    int code;                    /* of a probe or receive that failed */
    lt_request *next, *previous; /* all posts of this rank, in their order */
    const char *axis;            /* as the next two: of a post, for the trace */
    double began;
    uint64_t bytes;
    MPI_Status *status; /* [room], as are the next two; one block of memory, behind the struct */
    MPI_Request *request;
    piece *of;
};

static const lt_transport mpi_transport;
static lt_request *first_post, *last_post; /* only between enter and leave */
static pthread_mutex_t token = PTHREAD_MUTEX_INITIALIZER;
static atomic_int wanted, busy; /* busy: posts on their way */
static _Atomic(wake_function) wake_on_busy;

/* ---- who uses MPI ---- */

/* A mutex isn't fair, and a main thread that polls takes it at once again: the thread that is
 * seldom here says so, and the other lets it in. */
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

static void more_posts(int more)
{
    const wake_function wake = atomic_load(&wake_on_busy);
    if (atomic_fetch_add(&busy, more) == 0 && wake != NULL)
        wake();
}

MPI_Comm lt_mpi_comm(const lt_group *group) { return ((const mpi_group *)group)->comm; }

/* ---- groups ---- */

/* Its first words: Open MPI adds who packed it, MPICH tells how it was configured. */
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

/* Out of MPI with a status. Where a peer seems to be gone, the detector may know more: it ends the
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

static size_t pieces(size_t bytes) { return bytes / PIECE_BYTES + (bytes % PIECE_BYTES != 0); }

static lt_status post_new(mpi_group *group, int tag, size_t room, lt_request **out)
{
    const size_t each = sizeof(MPI_Status) + sizeof(MPI_Request) + sizeof(piece);
    lt_request *post = room <= INT_MAX ? lt_spare_take(sizeof *post + room * each) : NULL;
    if (post == NULL)
        LT_FAIL(LT_ENOMEM, "MPI transport: no memory for %zu messages", room);
    memset(post, 0, sizeof *post + room * each);
    post->head.transport = &mpi_transport;
    post->room = (int)room;
    post->comm = group->comm;
    post->tag = tag;
    post->refused = -1;
    post->status = (MPI_Status *)(post + 1);
    post->request = (MPI_Request *)(post->status + room);
    post->of = (piece *)(post->request + room);
    *out = post;
    return LT_OK;
}

static void drop(lt_request **post)
{
    for (int i = 0; i < (*post)->used; i++) {
        if ((*post)->request[i] == MPI_REQUEST_NULL)
            continue;
        if (!(*post)->of[i].is_send)
            (void)MPI_Cancel(&(*post)->request[i]);
        (void)MPI_Request_free(&(*post)->request[i]);
    }
    lt_spare_give(*post);
    *post = NULL;
}

/* Send all pieces of one message. */
static lt_status start_send(lt_request *post, int peer, const char *data, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += PIECE_BYTES) {
        const int count = (int)(bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES);
        assert(post->used < post->room);
        MPI_Request *request = &post->request[post->used];
        LT_MPI(MPI_Isend(data + at, count, MPI_BYTE, peer, post->tag, post->comm, request));
        post->of[post->used++] = (piece){.peer = peer, .bytes = count, .is_send = 1};
    }
    return LT_OK;
}

/* Wait for all pieces of one message: none is received before it has been seen. */
static void await(lt_request *post, int peer, char *data, size_t bytes)
{
    int before = -1;
    for (int i = post->used - 1; bytes > 0 && i >= 0 && before < 0; i--)
        if (!post->of[i].is_send && post->of[i].peer == peer)
            before = i;
    for (size_t at = 0; at < bytes; at += PIECE_BYTES) {
        const int count = (int)(bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES);
        assert(post->used < post->room);
        if (post->awaited++ == 0)
            post->first_awaited = post->used;
        post->request[post->used] = MPI_REQUEST_NULL;
        post->of[post->used] = (piece){
            .peer = peer, .bytes = count, .awaited = 1, .before = before, .data = data + at};
        before = post->used++;
    }
}

/* Look for the message of one piece, and receive it if it has the size that both ends agreed on. */
static int find_piece(lt_request *post, int i)
{
    MPI_Message message;
    MPI_Status status;
    int found = 0, bytes = 0;
    piece *p = &post->of[i];
    int code = MPI_Improbe(p->peer, post->tag, post->comm, &found, &message, &status);
    if (code != MPI_SUCCESS || !found)
        return code;
    code = MPI_Get_count(&status, MPI_BYTE, &bytes);
    if (code == MPI_SUCCESS && bytes != p->bytes) {
        post->refused = i;
        post->found = bytes;
        return code;
    }
    if (code == MPI_SUCCESS)
        code = MPI_Imrecv(p->data, bytes, MPI_BYTE, &message, &post->request[i]);
    p->awaited = 0;
    post->awaited--;
    return code;
}

/* Look for what has come. What goes wrong is kept for whoever polls: this may be another thread. */
static void find(lt_request *post)
{
    int first = post->used;
    for (int i = post->first_awaited;
         post->awaited > 0 && i < post->used && post->refused < 0 && post->code == MPI_SUCCESS;
         i++) {
        const piece *p = &post->of[i];
        if (p->awaited && (p->before < 0 || !post->of[p->before].awaited))
            post->code = find_piece(post, i);
        if (p->awaited && i < first)
            first = i;
    }
    post->first_awaited = first;
}

/* Does a post ahead of this one wait for a message that this one would take? Of a post all
 * transfers are with one peer. */
static int is_behind(const lt_request *post)
{
    for (const lt_request *p = post->previous; p != NULL; p = p->previous)
        if (p->awaited > 0 && p->tag == post->tag && p->comm == post->comm &&
            p->of[0].peer == post->of[0].peer)
            return 1;
    return 0;
}

void lt_mpi_move_requests(void)
{
    for (lt_request *p = first_post; p != NULL; p = p->next)
        if (p->awaited > 0 && !is_behind(p))
            find(p);
}

static void enlist(lt_request *post)
{
    post->previous = last_post;
    *(last_post != NULL ? &last_post->next : &first_post) = post;
    last_post = post;
}

static void delist(lt_request *post)
{
    *(post->previous != NULL ? &post->previous->next : &first_post) = post->next;
    *(post->next != NULL ? &post->next->previous : &last_post) = post->previous;
}

/* The piece that failed says more than MPI_ERR_IN_STATUS. */
static lt_status failed_piece(int code, const lt_request *post)
{
    for (int i = 0; code == MPI_ERR_IN_STATUS && i < post->used; i++) {
        const int own = post->status[i].MPI_ERROR;
        if (own == MPI_SUCCESS || own == MPI_ERR_PENDING)
            continue;
        char what[64];
        (void)snprintf(what, sizeof what, "%d bytes %s rank %d", post->of[i].bytes,
                       post->of[i].is_send ? "to" : "from", post->of[i].peer);
        return failed(own, what);
    }
    return failed(code, "MPI_Testall");
}

/* After a look for what has come. Both ends agree on sizes; where they don't, two collectives have
 * met that don't belong together. */
static lt_status poll_post(lt_request *post, int *done)
{
    *done = 0;
    if (post->refused >= 0)
        LT_FAIL(LT_EINTERNAL, "MPI: message from rank %d: want %d bytes, found %d",
                post->of[post->refused].peer, post->of[post->refused].bytes, post->found);
    if (post->code != MPI_SUCCESS)
        return failed(post->code, "look for a message");
    const int code = MPI_Testall(post->used, post->request, done, post->status);
    if (code != MPI_SUCCESS)
        return failed_piece(code, post);
    *done = *done && post->awaited == 0;
    return LT_OK;
}

/* A sleep costs more than a short message, and moves nothing of a long one: yield for half a
 * millisecond and for the time that all bytes take at a slow 1 GB/s, sleep after that. Beside a
 * main thread that computes, each look takes the processor from it for some microseconds, and a
 * long message between ranks of one host needs but a few (one of them copies it whole): sleep
 * between looks, longer each time, until somebody waits. */
static lt_status wait_post(lt_request *post, size_t bytes, double seconds_max,
                           const lt_host_call *call)
{
    const double begin = lt_seconds(), patience = 5e-4 + (double)bytes * 1e-9;
    double backoff = 2e-5, waiter_since = -1; /* when a thread began to wait for this one */
    for (;;) {
        int done = 0;
        lt_mpi_enter();
        find(post);
        LT_TRY(out(poll_post(post, &done)));
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

static lt_status start_all(const lt_transfer *list, int count, int rank, lt_request *post)
{
    for (int i = 0; i < count; i++)
        if (list[i].peer != rank)
            LT_TRY(start_send(post, list[i].peer, list[i].send, list[i].send_bytes));
    for (int i = 0; i < count; i++)
        if (list[i].peer != rank)
            await(post, list[i].peer, list[i].recv, list[i].recv_bytes);
    return LT_OK;
}

static lt_status mpi_exchange(lt_group *base, const lt_transfer *list, int count,
                              const lt_host_call *call)
{
    size_t room = 0, bytes = 0;
    for (int i = 0; i < count; i++) {
        if (list[i].peer == base->rank)
            continue;
        room += pieces(list[i].send_bytes) + pieces(list[i].recv_bytes);
        bytes += list[i].send_bytes + list[i].recv_bytes;
    }
    lt_request *post = NULL;
    lt_status st = LT_OK;
    if (room > 0) {
        LT_TRY(post_new((mpi_group *)base, TAG_EXCHANGE, room, &post));
        lt_mpi_enter();
        LT_TRY_GOTO(out(start_all(list, count, base->rank, post)), st, done);
    }
    lt_self_copy(list, count, base->rank); /* while the others' bytes travel */
    if (post != NULL)
        LT_TRY_GOTO(wait_post(post, bytes, lt_wait_seconds(base), call), st, done);
done:
    if (post != NULL) {
        lt_mpi_enter();
        drop(&post);
        lt_mpi_leave();
    }
    return st;
}

/* After ceil(log2 P) rounds everyone has heard from everyone. */
static lt_status meet(mpi_group *group)
{
    const int size = group->head.size, rank = group->head.rank;
    for (int span = 1; span < size; span *= 2) {
        char mine = 1, theirs = 0;
        lt_request *post = NULL;
        LT_TRY(post_new(group, TAG_MEET, 2, &post));
        await(post, (rank - span + size) % size, &theirs, 1);
        lt_mpi_enter();
        lt_status st = out(start_send(post, (rank + span) % size, &mine, 1));
        if (st == LT_OK)
            st = wait_post(post, 2, LT_PEER_SILENCE_SECONDS, NULL);
        lt_mpi_enter();
        drop(&post);
        LT_TRY(out(st));
    }
    return LT_OK;
}

static lt_status mpi_post(lt_group *base, int peer, int tag, void *data, size_t bytes, int is_send,
                          lt_request **made)
{
    lt_request *post = NULL;
    lt_status st = LT_OK;
    LT_TRY(post_new((mpi_group *)base, tag, pieces(bytes), &post));
    lt_mpi_enter();
    if (is_send)
        st = start_send(post, peer, data, bytes);
    else
        await(post, peer, data, bytes);
    if (st == LT_OK)
        enlist(post);
    else
        drop(&post);
    st = out(st);
    if (st != LT_OK)
        return lt_trail(st, "start", __FILE__, __LINE__);
    post->axis = base->axis;
    post->began = lt_span_begin();
    post->bytes = bytes;
    more_posts(1);
    *made = post;
    return LT_OK;
}

static lt_status mpi_post_test(lt_request **post, int *done)
{
    *done = 0;
    lt_mpi_enter();
    lt_mpi_move_requests();
    const lt_status st = poll_post(*post, done);
    if (st != LT_OK || *done) {
        delist(*post);
        if ((*post)->used > 0)
            lt_span_end(LT_SPAN_MESSAGE, (*post)->of[0].is_send ? "send" : "receive", (*post)->axis,
                        (*post)->began, (*post)->bytes);
        drop(post);
        more_posts(-1);
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

static lt_status mpi_post_probe(lt_group *base, int tag, int *peer)
{
    lt_mpi_enter();
    return out(probe_here(base, tag, peer));
}

static void mpi_post_drop(lt_request **post)
{
    lt_mpi_enter();
    delist(*post);
    drop(post);
    lt_mpi_leave();
    more_posts(-1);
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

static const lt_transport mpi_transport = {"mpi",     mpi_split,     mpi_free,      mpi_exchange,
                                           mpi_post,  mpi_post_test, mpi_post_drop, mpi_post_probe,
                                           mpi_close, mpi_abort};

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
