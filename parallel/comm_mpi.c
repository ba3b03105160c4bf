/* comm_mpi.c - the transport over MPI; with comm_mpi_watch.c the files that know mpi.h.
 * Level 2: parallel
 *
 * Every group is a communicator of its own (a duplicate or a split), so that our messages meet
 * nobody else's. Errors return to us (MPI_ERRORS_RETURN) and become LT_EPEER with MPI's text and
 * the peer. Waits poll MPI_Testall: Open MPI 4 has no background progress (spec/platform.md 1), and
 * more ranks than cores need a waiting rank to give up its core, so a wait yields while the bytes
 * may be on their way, then sleeps 100 us a turn. Messages above 1 GiB are cut, since MPI counts
 * are int.
 *
 * MPI is used by several threads, one at a time: the main thread, the comm queue's, which runs the
 * collectives of tensors, the watch's (watch.c), which beats, and moves the decoding pool's posts
 * while the main thread computes, and one that may serve a model's files (posts only). Every call
 * lies between lt_mpi_enter and lt_mpi_leave; nobody keeps MPI while it waits. Where MPI itself
 * waits for other ranks (split), all of them have met before.
 *
 * An exchange is a post of all its transfers, receives first. What a rank sends itself is copied. A
 * post that fails is dropped: receives are cancelled, so that no peer writes into freed memory. */
#include <assert.h>
#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/span.h"
#include "kernels/kernels.h"
#include "parallel/comm_mpi_impl.h"
#include "parallel/transport_impl.h"
#include "parallel/watch_impl.h"

enum { TAG_EXCHANGE = 1024, TAG_MEET = 1025, PIECE_BYTES = 1 << 30 };

typedef struct {
    lt_group head;
    MPI_Comm comm;
} mpi_group;

/* One MPI message: at most PIECE_BYTES of a transfer. */
typedef struct {
    int peer, bytes, is_send;
} piece;

struct lt_post {
    int used, room;
    const char *axis; /* as the next two: of a post, for the trace */
    double began;
    uint64_t bytes;
    MPI_Status *status; /* [room], as are the next two; one block of memory, behind the struct */
    MPI_Request *request;
    piece *of;
};

static const lt_transport mpi_transport;

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
    int length = 0;
    MPI_Error_string(code, text, &length);
    LT_FAIL(LT_EPEER, "MPI: %s: %s", what, text);
}

#define LT_MPI(call)                                                                               \
    do {                                                                                           \
        const int code_ = (call);                                                                  \
        if (code_ != MPI_SUCCESS)                                                                  \
            return failed(code_, #call);                                                           \
    } while (0)

/* Takes comm, also when it fails. */
static lt_status wrap(MPI_Comm comm, lt_group **out)
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
    *out = &group->head;
    return LT_OK;
}

/* Out of MPI with a status. Where a peer seems to be gone, the watch may know more: it ends the
 * process with its own line. */
static lt_status out(lt_status st)
{
    lt_mpi_leave();
    if (st == LT_EPEER)
        lt_watch_linger();
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
    return wrap(comm, out);
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

static lt_status post_new(size_t room, lt_post **out)
{
    const size_t each = sizeof(MPI_Status) + sizeof(MPI_Request) + sizeof(piece);
    lt_post *post = room <= INT_MAX ? calloc(1, sizeof *post + room * each) : NULL;
    if (post == NULL)
        LT_FAIL(LT_ENOMEM, "MPI transport: no memory for %zu messages", room);
    post->room = (int)room;
    post->status = (MPI_Status *)(post + 1);
    post->request = (MPI_Request *)(post->status + room);
    post->of = (piece *)(post->request + room);
    *out = post;
    return LT_OK;
}

static void drop(lt_post **post)
{
    for (int i = 0; i < (*post)->used; i++) {
        if ((*post)->request[i] == MPI_REQUEST_NULL)
            continue;
        if (!(*post)->of[i].is_send)
            (void)MPI_Cancel(&(*post)->request[i]);
        (void)MPI_Request_free(&(*post)->request[i]);
    }
    free(*post);
    *post = NULL;
}

/* Start all pieces of one message. */
static lt_status start(mpi_group *group, lt_post *post, int peer, int tag, char *data, size_t bytes,
                       int is_send)
{
    for (size_t at = 0; at < bytes; at += PIECE_BYTES) {
        const int count = (int)(bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES);
        assert(post->used < post->room);
        MPI_Request *request = &post->request[post->used];
        if (is_send)
            LT_MPI(MPI_Isend(data + at, count, MPI_BYTE, peer, tag, group->comm, request));
        else
            LT_MPI(MPI_Irecv(data + at, count, MPI_BYTE, peer, tag, group->comm, request));
        post->of[post->used++] = (piece){peer, count, is_send};
    }
    return LT_OK;
}

/* Both ends agree on sizes; where they don't, two collectives have met that don't belong together.
 */
static lt_status check_sizes(const lt_post *post)
{
    for (int i = 0; i < post->used; i++) {
        int bytes = 0;
        if (post->of[i].is_send)
            continue;
        LT_MPI(MPI_Get_count(&post->status[i], MPI_BYTE, &bytes));
        if (bytes != post->of[i].bytes)
            LT_FAIL(LT_EINTERNAL, "MPI: message from rank %d: want %d bytes, found %d",
                    post->of[i].peer, post->of[i].bytes, bytes);
    }
    return LT_OK;
}

/* The piece that failed says more than MPI_ERR_IN_STATUS. */
static lt_status failed_piece(int code, const lt_post *post)
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

static lt_status poll_post(lt_post *post, int *done)
{
    const int code = MPI_Testall(post->used, post->request, done, post->status);
    if (code != MPI_SUCCESS)
        return failed_piece(code, post);
    return *done ? check_sizes(post) : LT_OK;
}

/* A sleep costs more than a short message, and moves nothing of a long one: yield for half a
 * millisecond and for the time that all bytes take at a slow 1 GB/s, sleep after that. Beside a
 * main thread that computes, each look takes the processor from it for some microseconds, and a
 * long message between ranks of one host needs but a few (one of them copies it whole): sleep
 * between looks, longer each time, until somebody waits. */
static lt_status wait_post(lt_post *post, size_t bytes, double seconds_max)
{
    const double begin = lt_seconds(), patience = 5e-4 + (double)bytes * 1e-9;
    double pause = 2e-5, awaited = -1; /* since when somebody waits for us */
    for (;;) {
        int done = 0;
        lt_mpi_enter();
        LT_TRY(out(poll_post(post, &done)));
        if (done)
            return LT_OK;
        const double now = lt_seconds();
        if (now - begin > seconds_max && lt_watch_quiet_s() > seconds_max)
            LT_FAIL(LT_EPEER, "MPI: a peer said nothing for %.0f s: it is gone or stuck",
                    seconds_max);
        const lt_pause why = lt_host_pause(pause);
        lt_note_awaited(why == LT_PAUSE_AWAITED);
        if (why == LT_PAUSE_GIVEN_UP)
            LT_FAIL(LT_EPEER, "given up after a failure");
        if (why == LT_PAUSE_SLEPT) {
            pause = pause < 2.5e-4 ? 2 * pause : 5e-4;
            continue;
        }
        if (awaited < 0)
            awaited = now;
        if (now - awaited < patience)
            sched_yield();
        else
            nanosleep(&(struct timespec){0, 100000}, NULL);
    }
}

static lt_status start_all(mpi_group *group, const lt_transfer *list, int count, lt_post *post)
{
    for (int i = 0; i < count; i++) /* receives first: messages then need no buffer in between */
        if (list[i].peer != group->head.rank)
            LT_TRY(start(group, post, list[i].peer, TAG_EXCHANGE, list[i].recv, list[i].recv_bytes,
                         0));
    for (int i = 0; i < count; i++)
        if (list[i].peer != group->head.rank)
            LT_TRY(start(group, post, list[i].peer, TAG_EXCHANGE, (char *)(uintptr_t)list[i].send,
                         list[i].send_bytes, 1));
    return LT_OK;
}

static lt_status mpi_exchange(lt_group *base, const lt_transfer *list, int count)
{
    size_t room = 0, bytes = 0;
    for (int i = 0; i < count; i++) {
        if (list[i].peer == base->rank)
            continue;
        room += pieces(list[i].send_bytes) + pieces(list[i].recv_bytes);
        bytes += list[i].send_bytes + list[i].recv_bytes;
    }
    lt_post *post = NULL;
    lt_status st = LT_OK;
    if (room > 0) {
        LT_TRY(post_new(room, &post));
        lt_mpi_enter();
        LT_TRY_GOTO(out(start_all((mpi_group *)base, list, count, post)), st, done);
    }
    lt_self_copy(list, count, base->rank); /* while the others' bytes travel */
    if (post != NULL)
        LT_TRY_GOTO(wait_post(post, bytes, lt_wait_seconds(base)), st, done);
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
        lt_post *post = NULL;
        LT_TRY(post_new(2, &post));
        lt_mpi_enter();
        lt_status st = start(group, post, (rank - span + size) % size, TAG_MEET, &theirs, 1, 0);
        if (st == LT_OK)
            st = start(group, post, (rank + span) % size, TAG_MEET, &mine, 1, 1);
        st = out(st);
        if (st == LT_OK)
            st = wait_post(post, 2, LT_PEER_SILENCE_SECONDS);
        lt_mpi_enter();
        drop(&post);
        LT_TRY(out(st));
    }
    return LT_OK;
}

static lt_status mpi_post(lt_group *base, int peer, int tag, void *data, size_t bytes, int is_send,
                          lt_post **made)
{
    lt_post *post = NULL;
    LT_TRY(post_new(pieces(bytes), &post));
    lt_mpi_enter();
    lt_status st = start((mpi_group *)base, post, peer, tag, data, bytes, is_send);
    if (st != LT_OK)
        drop(&post);
    st = out(st);
    if (st != LT_OK)
        return lt_trail(st, "start", __FILE__, __LINE__);
    post->axis = base->axis;
    post->began = lt_span_begin();
    post->bytes = bytes;
    lt_mpi_busy(1);
    *made = post;
    return LT_OK;
}

static lt_status mpi_post_test(lt_post **post, int *done)
{
    *done = 0;
    lt_mpi_enter();
    const lt_status st = poll_post(*post, done);
    if (st != LT_OK || *done) {
        if ((*post)->used > 0)
            lt_span_end(LT_SPAN_MESSAGE, (*post)->of[0].is_send ? "send" : "receive", (*post)->axis,
                        (*post)->began, (*post)->bytes);
        drop(post);
        lt_mpi_busy(-1);
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

static void mpi_post_drop(lt_post **post)
{
    lt_mpi_enter();
    drop(post);
    lt_mpi_leave();
    lt_mpi_busy(-1);
}

static lt_status local_here(lt_group *base, int *local_rank, int *local_size)
{
    MPI_Comm node;
    LT_MPI(MPI_Comm_split_type(((mpi_group *)base)->comm, MPI_COMM_TYPE_SHARED, base->rank,
                               MPI_INFO_NULL, &node));
    LT_MPI(MPI_Comm_rank(node, local_rank));
    LT_MPI(MPI_Comm_size(node, local_size));
    LT_MPI(MPI_Comm_free(&node));
    return LT_OK;
}

static lt_status mpi_local(lt_group *base, int *local_rank, int *local_size)
{
    LT_TRY(meet((mpi_group *)base));
    lt_mpi_enter();
    return out(local_here(base, local_rank, local_size));
}

static void mpi_close(void)
{
    lt_mpi_watch_close();
    (void)MPI_Finalize();
}

static void mpi_abort(int exit_code)
{
    lt_watch_poison();
    lt_mpi_enter();
    (void)MPI_Abort(MPI_COMM_WORLD, exit_code);
}

static const lt_transport mpi_transport = {"mpi",     mpi_split,     mpi_free,      mpi_exchange,
                                           mpi_post,  mpi_post_test, mpi_post_drop, mpi_post_probe,
                                           mpi_local, mpi_close,     mpi_abort};

lt_status lt_mpi_open(lt_group **world)
{
    int level = 0;
    LT_MPI(MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level));
    if (level < MPI_THREAD_SERIALIZED)
        LT_FAIL(LT_EUNAVAIL, "MPI: wanted thread level SERIALIZED, found %d", level);
    MPI_Comm comm, beats;
    LT_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    LT_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    LT_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &beats));
    LT_MPI(MPI_Comm_set_errhandler(beats, MPI_ERRORS_RETURN));
    LT_TRY(wrap(comm, world));
    return lt_mpi_watch_open(beats, (*world)->rank, (*world)->size);
}
