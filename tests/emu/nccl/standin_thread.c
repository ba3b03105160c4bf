/* standin_thread.c - what happens to a group once it has ended: it comes onto the stream, starts
 * there, and its messages move. */
#include "tests/emu/nccl/standin_impl.h"

/* kernels/cuda/driver.c: the stream goes on once the word has reached value. */
cudaError_t lt_cuda_wait_value(cudaStream_t stream, const uint32_t *at, uint32_t value);

/* A group that nobody polls for comes onto the stream after so long. */
static const double late_s = 0.02;

static void say_order(group *g, const wire_end *end, int peer, const wire_message *theirs)
{
    char why[WIRE_WORDS_BYTES - 16];
    if (theirs->turn != end->message.turn)
        (void)snprintf(why, sizeof why,
                       "message %llu between two ranks meets message %llu: their calls have "
                       "another order",
                       (unsigned long long)end->message.turn, (unsigned long long)theirs->turn);
    else
        (void)snprintf(why, sizeof why,
                       "a receive of %llu elements of type %d from rank %d meets a send of %llu of "
                       "type %d",
                       (unsigned long long)end->message.count, (int)end->message.type, peer,
                       (unsigned long long)theirs->count, (int)theirs->type);
    (void)standin_break(g->comm, ncclInvalidUsage, why);
}

/* Is the message that this receive waits for already there, in another communicator? */
static int came_elsewhere(const group *g, int at)
{
    const int32_t process = g->comm->wire->process[g->peer[at]];
    for (ncclComm_t c = standin.comms; c != NULL; c = c->next)
        for (int peer = 0; peer < c->size && c != g->comm; peer++)
            if (peer != c->rank && c->wire->process[peer] == process &&
                wire_has_turn(&c->wire->channel[peer][c->rank], g->end[at].message.turn))
                return 1;
    return 0;
}

/* Messages of one pair and direction go one after the other. */
static int is_first(const group *g, int at)
{
    for (int i = 0; i < at; i++)
        if (!g->done[i] && g->peer[i] == g->peer[at] && g->end[i].is_send == g->end[at].is_send)
            return 0;
    return 1;
}

/* 1: all of its messages are through. */
static int move_group(group *g)
{
    ncclComm_t c = g->comm;
    int done = 1;
    for (int i = 0; i < g->count && c->state == ncclSuccess; i++) {
        wire_end *end = &g->end[i];
        wire_message theirs = end->message;
        const int peer = g->peer[i];
        wire_channel *channel =
            end->is_send ? &c->wire->channel[c->rank][peer] : &c->wire->channel[peer][c->rank];
        if (g->done[i])
            continue;
        const int moved = is_first(g, i) ? wire_move(channel, end, &theirs) : 0;
        g->done[i] = moved > 0;
        done &= moved > 0;
        if (moved < 0)
            say_order(g, end, peer, &theirs);
        else if (moved == 0 && !end->is_send && !end->announced && came_elsewhere(g, i)) {
            theirs.turn = 0;
            say_order(g, end, peer, &theirs);
        }
    }
    return done && c->state == ncclSuccess;
}

static void soil(group *g)
{
    for (int i = 0; i < g->count; i++)
        if (!g->end[i].is_send)
            wire_soil(&g->end[i]);
    g->soiled = 1;
}

static int is_connected(const group *g)
{
    const ncclComm_t c = g->comm;
    for (int i = 0; i < g->count; i++) {
        const int peer = g->peer[i], send = g->end[i].is_send;
        wire_channel *channel =
            send ? &c->wire->channel[c->rank][peer] : &c->wire->channel[peer][c->rank];
        if (!atomic_load(&channel->connected[0]) || !atomic_load(&channel->connected[1]))
            return 0;
    }
    return 1;
}

static void start_group(void *work) { atomic_store(&((group *)work)->started, 1); }

/* The pending group, if it may go; it is among those on the stream then. The lock is held. */
group *standin_take_pending(ncclComm_t comm)
{
    group *g = comm->pending;
    if (g == NULL || comm->state != ncclInProgress || !is_connected(g))
        return NULL;
    comm->pending = NULL;
    *(comm->first == NULL ? &comm->first : &comm->last->next) = g;
    comm->last = g;
    return g;
}

void standin_put_on_stream(group *g)
{
    ncclComm_t c = g->comm;
    const int taken = cudaLaunchHostFunc(g->stream, start_group, g) == cudaSuccess &&
                      lt_cuda_wait_value(g->stream, c->word, g->number) == cudaSuccess;
    (void)pthread_mutex_lock(&standin.lock);
    if (!taken)
        (void)standin_break(c, ncclUnhandledCudaError, "the stream did not take a group");
    else if (c->state == ncclInProgress)
        c->state = ncclSuccess;
    (void)pthread_mutex_unlock(&standin.lock);
}

/* Everything that can move; the lock is held. *late: a group that nobody polled for. Returns
 * whether a stream waits for something. */
static int move_all(group **late)
{
    int waits = 0;
    *late = NULL;
    for (ncclComm_t c = standin.comms; c != NULL; c = c->next) {
        standin_look_if_broken(c);
        group *g = c->first;
        if (g != NULL && atomic_load(&g->started) && !g->soiled)
            soil(g);
        if (g != NULL && atomic_load(&g->started) && move_group(g)) {
            c->first = g->next;
            __atomic_store_n(c->word, g->number, __ATOMIC_RELEASE);
            free(g);
        }
        waits |= c->first != NULL;
        if (*late == NULL && c->pending != NULL && standin_now_s() - c->pending->ended_at > late_s)
            *late = standin_take_pending(c);
        standin.counts.late_ends += *late != NULL && (*late)->comm == c;
    }
    return waits;
}

void *standin_thread(void *unused)
{
    (void)unused;
    for (int stops = 0; !stops;) {
        group *late;
        (void)pthread_mutex_lock(&standin.lock);
        const int waits = move_all(&late);
        const cudaStream_t stream = standin.stream;
        stops = standin.stops;
        (void)pthread_mutex_unlock(&standin.lock);
        if (late != NULL)
            standin_put_on_stream(late);
        if (waits) /* only this thread ends what it waits for: it is still there */
            (void)cudaStreamQuery(stream);
        (void)nanosleep(&(struct timespec){0, waits ? 20000 : 200000}, NULL);
    }
    return NULL;
}
