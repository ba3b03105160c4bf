/* standin.c - NCCL's sends and receives between ranks of one host, strictly.
 *
 * It is what exchange_nccl.c is tested against, and refuses what the library documents as wrong as
 * well as what our own rules forbid:
 *
 *     - Not blocking alone. A communicator is in progress from its making until all ranks have come
 *       and it was polled, and from ncclGroupEnd until the group is on the stream; until then every
 *       call but ncclCommGetAsyncError is an error.
 *     - A group comes onto the stream at one of the next polls, as NCCL's own thread would put it
 *       there, and at the latest 20 ms after ncclGroupEnd, so that an event that is recorded in
 *       between lies in front of it.
 *     - On the stream a group starts in the stream's order; what it receives into is overwritten
 *       with NaN then. It ends when every message has been taken, or given, by its peer's own call.
 *       A peer that doesn't come is waited for without end, by ncclCommFinalize too.
 *     - Count and type are what the peer says, else both have ncclInvalidUsage; and so it is with
 *       the order: each message between two processes has a turn, over all communicators.
 *     - A pair meets at its first message: both have to be in ncclGroupEnd, and each takes device
 *       memory. All communicators of a process are used on one stream.
 *
 * A thread moves messages (wire.h), and keeps asking the streams that wait for one, since the
 * devices of tests/shim run only when they are asked. Only CUDA's own names are used, so that it
 * stands behind the shim (linked in) and as libnccl.so.2 behind longtake_cuda.so alike. */
#include "tests/emu/nccl/standin_impl.h"

enum { OUR_RING_CTAS = 8 };

standin_state standin = {.lock = PTHREAD_MUTEX_INITIALIZER};
static pthread_t thread;
static int thread_runs;

/* ---- words ---- */

lt_emu_nccl_counts lt_emu_nccl_read(void)
{
    (void)pthread_mutex_lock(&standin.lock);
    const lt_emu_nccl_counts read = standin.counts;
    (void)pthread_mutex_unlock(&standin.lock);
    return read;
}

void lt_emu_nccl_fail(long at, int result)
{
    (void)pthread_mutex_lock(&standin.lock);
    standin.fail_at = at > 0 ? standin.groups_ended + at : 0;
    standin.fail_with = result;
    (void)pthread_mutex_unlock(&standin.lock);
}

static void write_log(void)
{
    const lt_emu_nccl_counts c = lt_emu_nccl_read();
    FILE *f = fopen(getenv("LT_EMU_NCCL_LOG"), "a");
    if (f == NULL)
        return;
    (void)fprintf(f,
                  "{\"communicators\": %ld, \"limited\": %ld, \"groups\": %ld, \"sends\": %ld, "
                  "\"receives\": %ld, \"empty\": %ld, \"connects\": %ld, \"late_ends\": %ld}\n",
                  c.communicators, c.limited, c.groups, c.sends, c.receives, c.empty, c.connects,
                  c.late_ends);
    (void)fclose(f);
}

__attribute__((constructor)) static void read_environment(void)
{
    const char *text = getenv("LT_EMU_NCCL_FAIL");
    if (text != NULL && sscanf(text, "%ld:%d", &standin.fail_at, &standin.fail_with) != 2)
        standin.fail_at = 0;
    if (getenv("LT_EMU_NCCL_LOG") != NULL)
        (void)atexit(write_log);
}

const char *ncclGetErrorString(ncclResult_t result)
{
    static const char *const words[] = {"no error",
                                        "unhandled cuda error",
                                        "unhandled system error",
                                        "internal error",
                                        "invalid argument",
                                        "invalid usage",
                                        "remote process exited or there was a network error",
                                        "NCCL operation in progress"};
    return (unsigned)result < sizeof words / sizeof *words ? words[result] : "unknown result code";
}

const char *ncclGetLastError(ncclComm_t comm) { return comm != NULL ? comm->words : ""; }

ncclResult_t ncclGetVersion(int *version)
{
    const char *text = getenv("LT_EMU_NCCL_VERSION");
    *version = text != NULL ? (int)strtol(text, NULL, 10) : NCCL_VERSION_CODE;
    return ncclSuccess;
}

/* This communicator is of no use from here on, on any rank. The lock is held. */
ncclResult_t standin_break(ncclComm_t comm, ncclResult_t result, const char *why)
{
    wire *w = comm->wire;
    int none = 0;
    if (atomic_compare_exchange_strong(&w->broken, &none, (int)result)) {
        (void)snprintf(w->words, sizeof w->words, "rank %d: %s", comm->rank, why);
        atomic_store(&w->broken_words, 1);
    }
    comm->state = result;
    (void)snprintf(comm->words, sizeof comm->words, "rank %d: %s", comm->rank, why);
    return result;
}

/* What another rank found wrong. The lock is held. */
void standin_look_if_broken(ncclComm_t comm)
{
    wire *w = comm->wire;
    if (!atomic_load(&w->broken_words) || (comm->state != ncclSuccess && comm->words[0] != '\0'))
        return;
    comm->state = (ncclResult_t)atomic_load(&w->broken);
    (void)snprintf(comm->words, sizeof comm->words, "%s", w->words);
}

/* ---- communicators ---- */

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    wire_id made;
    memset(id, 0, sizeof *id);
    if (wire_new(&made) != 0)
        return ncclSystemError;
    memcpy(id->internal, &made, sizeof made);
    return ncclSuccess;
}

static int is_sane(const ncclConfig_t *config, int size, int rank)
{
    return config != NULL && config->magic == 0xcafebeef &&
           config->size >= offsetof(ncclConfig_t, netName) && config->blocking == 0 && size >= 1 &&
           size <= WIRE_RANKS_MAX && rank >= 0 && rank < size;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    if (!is_sane(config, size, rank))
        return ncclInvalidArgument;
    ncclComm_t c = calloc(1, sizeof *c);
    void *word = NULL;
    if (c == NULL || cudaHostAlloc(&word, sizeof *c->word, cudaHostAllocMapped) != cudaSuccess) {
        free(c);
        return ncclUnhandledCudaError;
    }
    c->word = word;
    *c->word = 0;
    c->rank = rank;
    c->size = size;
    memcpy(&c->id, id.internal, sizeof c->id);
    if (wire_open(&c->id, &c->wire) != 0) {
        (void)cudaFreeHost(word);
        free(c);
        return ncclSystemError;
    }
    c->state = ncclInProgress;
    c->wire->process[rank] = (int32_t)getpid();
    atomic_fetch_add(&c->wire->arrived, 1);
    (void)pthread_mutex_lock(&standin.lock);
    c->next = standin.comms;
    standin.comms = c;
    standin.counts.communicators++;
    standin.counts.limited += config->maxCTAs == OUR_RING_CTAS;
    if (!thread_runs) {
        standin.stops = 0;
        thread_runs = pthread_create(&thread, NULL, standin_thread, NULL) == 0;
    }
    const int runs = thread_runs;
    (void)pthread_mutex_unlock(&standin.lock);
    *out = c;
    return runs ? ncclInProgress : ncclSystemError;
}

/* The lock is held. */
static void look_if_there(ncclComm_t c)
{
    if (c->finalised) {
        if (c->finalised == 1 && c->first == NULL) { /* what is on the stream has ended */
            c->finalised = 2;
            atomic_fetch_add(&c->wire->finalised, 1);
        }
        if (atomic_load(&c->wire->finalised) == c->size)
            c->state = ncclSuccess;
    } else if (c->pending == NULL && c->first == NULL && c->count == 0 &&
               atomic_load(&c->wire->arrived) == c->size) {
        if (c->rank == 0)
            wire_forget(&c->id);
        c->state = ncclSuccess;
    }
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *state)
{
    group *ready = NULL;
    if (comm == NULL || state == NULL)
        return ncclInvalidArgument;
    (void)pthread_mutex_lock(&standin.lock);
    standin_look_if_broken(comm);
    if (comm->state == ncclInProgress && comm->pending != NULL && --comm->pending->polls_left < 0)
        ready = standin_take_pending(comm);
    else if (comm->state == ncclInProgress && comm->pending == NULL)
        look_if_there(comm);
    *state = comm->state;
    (void)pthread_mutex_unlock(&standin.lock);
    if (ready != NULL)
        standin_put_on_stream(ready); /* the next poll says so */
    return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    if (comm == NULL)
        return ncclInvalidArgument;
    (void)pthread_mutex_lock(&standin.lock);
    ncclResult_t result = comm->state;
    if (result == ncclInProgress || comm->finalised)
        result =
            standin_break(comm, ncclInvalidUsage, "finalised while it is in progress, or twice");
    if (result == ncclSuccess) {
        comm->finalised = 1;
        comm->state = result = ncclInProgress;
    }
    (void)pthread_mutex_unlock(&standin.lock);
    return result;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    if (comm == NULL)
        return ncclInvalidArgument;
    (void)pthread_mutex_lock(&standin.lock);
    if (!comm->finalised || comm->state != ncclSuccess) {
        const ncclResult_t result =
            standin_break(comm, ncclInvalidUsage, "destroyed before it was finalised on all ranks");
        (void)pthread_mutex_unlock(&standin.lock);
        return result;
    }
    ncclComm_t *at = &standin.comms;
    while (*at != comm)
        at = &(*at)->next;
    *at = comm->next;
    const int last = standin.comms == NULL;
    standin.stops = last;
    if (last)
        standin.stream = NULL;
    (void)pthread_mutex_unlock(&standin.lock);
    if (last) {
        (void)pthread_join(thread, NULL);
        thread_runs = 0;
    }
    for (int way = 0; way < 2; way++)
        for (int peer = 0; peer < comm->size; peer++)
            if (comm->memory[way][peer] != NULL)
                (void)cudaFree(comm->memory[way][peer]);
    (void)cudaFreeHost(comm->word);
    wire_close(comm->wire);
    free(comm);
    return ncclSuccess;
}
