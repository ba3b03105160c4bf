/* standin_group.c - the calls of a group: ncclGroupStart, sends and receives, ncclGroupEnd. */
#include "tests/emu/nccl/standin_impl.h"

enum { CONNECT_BYTES = 1 << 16, PROCESSES_MAX = 64 };

static struct {
    int32_t process;
    uint64_t out, in;
} turns[PROCESSES_MAX];

static _Thread_local int depth;
static _Thread_local group *building;

static size_t type_bytes(ncclDataType_t type)
{
    switch (type) {
    case ncclInt8:
    case ncclUint8:
        return 1;
    case ncclFloat16:
    case ncclBfloat16:
        return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
        return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
        return 8;
    default:
        return 0;
    }
}

ncclResult_t ncclGroupStart(void)
{
    if (depth++ > 0)
        return ncclSuccess;
    building = calloc(1, sizeof *building);
    return building != NULL ? ncclSuccess : ncclSystemError;
}

/* Why a call is refused; NULL: it isn't. The lock is held. */
static const char *refusal(ncclComm_t comm, cudaStream_t stream, const void *at,
                           ncclDataType_t type, int peer)
{
    if (building == NULL || depth != 1)
        return "a send or receive outside of one group";
    if (comm->state == ncclInProgress)
        return "a call while the communicator is in progress";
    if (building->comm != NULL && building->comm != comm)
        return "two communicators in one group";
    if (peer < 0 || peer >= comm->size || peer == comm->rank)
        return "no such peer, or the rank itself";
    if (at == NULL || type_bytes(type) == 0)
        return "no memory, or no such type";
    if (standin.stream != NULL && standin.stream != stream)
        return "communicators on two streams";
    if (building->count == ENDS_MAX)
        return "more calls in a group than the stand-in takes";
    return NULL;
}

static ncclResult_t add(int is_send, void *at, size_t count, ncclDataType_t type, int peer,
                        ncclComm_t comm, cudaStream_t stream)
{
    if (comm == NULL)
        return ncclInvalidArgument;
    (void)pthread_mutex_lock(&standin.lock);
    standin_look_if_broken(comm);
    ncclResult_t result =
        comm->state != ncclSuccess && comm->state != ncclInProgress ? comm->state : ncclSuccess;
    const char *why = result == ncclSuccess ? refusal(comm, stream, at, type, peer) : NULL;
    if (why != NULL)
        result = standin_break(comm, ncclInvalidUsage, why);
    if (result == ncclSuccess) {
        group *g = building;
        standin.stream = g->stream = stream;
        g->comm = comm;
        g->peer[g->count] = peer;
        g->end[g->count++] =
            (wire_end){.message = {.count = count, .bytes = count * type_bytes(type), .type = type},
                       .at = at,
                       .is_send = is_send};
        standin.counts.sends += is_send;
        standin.counts.receives += !is_send;
        standin.counts.empty += count == 0;
    }
    (void)pthread_mutex_unlock(&standin.lock);
    return result;
}

ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream)
{
    return add(1, (void *)(uintptr_t)from, count, type, peer, comm, stream);
}

ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    return add(0, to, count, type, peer, comm, stream);
}

/* Its messages' turns, in the order of calls. The lock is held. */
static void number_messages(group *g)
{
    for (int i = 0; i < g->count; i++) {
        const int32_t process = g->comm->wire->process[g->peer[i]];
        int at = 0;
        while (at < PROCESSES_MAX - 1 && turns[at].process != 0 && turns[at].process != process)
            at++;
        turns[at].process = process;
        g->end[i].message.turn = g->end[i].is_send ? ++turns[at].out : ++turns[at].in;
    }
}

/* This end of each pair that had no message yet. */
static ncclResult_t connect(group *g)
{
    ncclComm_t c = g->comm;
    for (int i = 0; i < g->count; i++) {
        const int peer = g->peer[i], send = g->end[i].is_send;
        if (c->met[send][peer])
            continue;
        if (cudaMalloc(&c->memory[send][peer], CONNECT_BYTES) != cudaSuccess)
            return ncclUnhandledCudaError;
        c->met[send][peer] = 1;
        wire_channel *channel =
            send ? &c->wire->channel[c->rank][peer] : &c->wire->channel[peer][c->rank];
        atomic_store(&channel->connected[send ? 0 : 1], 1);
        (void)pthread_mutex_lock(&standin.lock);
        standin.counts.connects++;
        (void)pthread_mutex_unlock(&standin.lock);
    }
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void)
{
    group *g = building;
    if (depth == 0)
        return ncclInvalidUsage;
    if (--depth > 0)
        return ncclSuccess;
    building = NULL;
    if (g == NULL || g->count == 0) {
        free(g);
        return g != NULL ? ncclSuccess : ncclSystemError;
    }
    ncclComm_t c = g->comm;
    ncclResult_t result = connect(g);
    (void)pthread_mutex_lock(&standin.lock);
    if (result != ncclSuccess)
        (void)standin_break(c, result, "no memory to connect a pair");
    if (c->state == ncclSuccess && ++standin.groups_ended == standin.fail_at)
        (void)standin_break(c, (ncclResult_t)standin.fail_with, "a failure that a test asked for");
    result = c->state;
    if (result == ncclSuccess) {
        number_messages(g);
        standin.counts.groups++;
        g->number = ++c->count;
        g->polls_left = (int)(g->number % 3); /* some are quick */
        g->ended_at = standin_now_s();
        c->pending = g;
        c->state = result = ncclInProgress;
        g = NULL;
    }
    (void)pthread_mutex_unlock(&standin.lock);
    free(g);
    return result;
}
