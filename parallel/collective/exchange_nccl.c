/* exchange_nccl.c - tensors from device to device, by NCCL's grouped sends and receives.
 *
 * A group of ranks has a communicator of its own. All communicators are used on one stream, the
 * comm queue's, which has the highest priority, and in the order of the program, which is the same
 * on all ranks: so exchanges of different groups never wait for each other in a circle.
 *
 *     open       unique id of the group's first rank over the host transport; communicator made
 *                (not blocking) and polled; then every pair of ranks exchanges a word, and compares
 *                it: NCCL connects a pair, and takes memory, when it is first used
 *     exchange   ncclGroupStart, a send and a receive a transfer (empty ones on neither side),
 *                ncclGroupEnd; then poll until NCCL says that the group is on the stream
 *     behind it  the collective's own work on comm, and `done`: an event that is recorded sooner
 *                would lie in front of the exchange, and its waiters would read what is not there
 *
 * NCCL only carries. Sums are added above, in rank order, so that the same mesh gives the same
 * bits.
 *
 * Whoever waits polls, so that the failure detector's verdicts, which end the process, and
 * deadlines hold: open and exchange here, sync by lt_cuda.waiting, which asks every communicator
 * for what went wrong meanwhile and tells the operation record which exchange the device is in.
 * After a failure nothing here is aborted or destroyed: ncclCommAbort wants all ranks, and hangs
 * without them (docs/spec/gpu-options.md 3). The process prints and leaves.
 *
 * The ring's communicator takes at most RING_CTAS processors of the GPU, since attention runs
 * beside it. uly and tp have nothing to hide behind: NCCL's own choice. win and cfg exchange on the
 * host.
 *
 * Part of longtake_cuda.so alone. Tested: tests/emu/nccl, against a strict stand-in. */
#include <assert.h>
#include <nccl.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "kernels/cuda/cuda.h"
#include "parallel/collective/exchange.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/detected.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/op_record.h"
#include "parallel/transport/traffic.h"
#include "parallel/transport/transport_impl.h"

enum { RING_CTAS = 8, VERSION_LEAST = 21800, QUEUED_MAX = LT_CUDA_EVENTS, WORDS = 4 };

typedef struct nccl_link {
    lt_link head;
    ncclComm_t comm;
    int given_up; /* this rank has failed: NCCL is asked for nothing any more */
    struct nccl_link *next;
} nccl_link;

static nccl_link *links; /* that are open */
static nccl_link *left;  /* NCCL's threads may still use them: they stay until the process ends */

/* ---- what went wrong ---- */

static const char *axis_of(const lt_group *group) { return group->axis != NULL ? group->axis : ""; }

/* Another rank may be dead: then the detector ends this process while it waits here. */
static lt_status failed(const nccl_link *link, const char *what, ncclResult_t result)
{
    const char *axis = axis_of(link->head.group);
    const char *more = link->comm != NULL ? ncclGetLastError(link->comm) : "";
    lt_status status = LT_EINTERNAL;
    if (result == ncclRemoteError || result == ncclSystemError)
        status = LT_EPEER;
    else if (result == ncclUnhandledCudaError)
        status = LT_EDEVICE;
    if (status != LT_EINTERNAL)
        lt_detected_wait_for_verdict();
    LT_FAIL(status, "NCCL: %s (%s): %s%s%s", what, axis, ncclGetErrorString(result),
            more != NULL && more[0] != '\0' ? ": " : "", more != NULL ? more : "");
}

/* Local, never blocks. */
static lt_status check(const nccl_link *link, const char *what, int *is_ready)
{
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(link->comm, &state);
    if (asked != ncclSuccess)
        return failed(link, what, asked);
    if (state != ncclSuccess && state != ncclInProgress)
        return failed(link, what, state);
    *is_ready = state == ncclSuccess;
    return LT_OK;
}

static lt_status nccl_poll(lt_link *link)
{
    int is_ready;
    return check((nccl_link *)link, "an exchange that was queued", &is_ready);
}

/* The same rule as the transport's: no progress of any rank for so long. */
static lt_status check_deadline(const lt_group *group, const char *what, double since)
{
    const double most = lt_wait_seconds(group);
    if (lt_seconds() - since > most && lt_detected_since_progress_s() > most)
        LT_FAIL(LT_EPEER, "NCCL: %s (%s): a peer said nothing for %.0f s: it is gone or stuck",
                what, axis_of(group), most);
    return LT_OK;
}

/* Until what the communicator was told to do is done, or, of an exchange, on the stream. */
static lt_status settle(const nccl_link *link, const char *what)
{
    static const double yield_s = 5e-4;
    const double begin = lt_seconds();
    for (;;) {
        int is_ready = 0;
        LT_TRY(check(link, what, &is_ready));
        if (is_ready)
            return LT_OK;
        LT_TRY(check_deadline(link->head.group, what, begin));
        if (lt_seconds() - begin < yield_s)
            (void)sched_yield();
        else
            (void)nanosleep(&(struct timespec){0, 50000}, NULL);
    }
}

/* ---- which exchange the device is in ---- */

/* Exchanges that are queued and not known to be done, the oldest first: a ring. Where it is full,
 * the oldest gives way: as many marks as a queue tells apart lie behind it. */
typedef struct {
    lt_event behind;
    const char *name;
    const lt_group *group;
} queued;
static struct {
    queued at[QUEUED_MAX];
    uint64_t first, end, shown;
    double shown_since;
} under_way;

static const queued *oldest(void)
{
    for (; under_way.first < under_way.end; under_way.first++) {
        const queued *q = &under_way.at[under_way.first % QUEUED_MAX];
        if (lt_queue_done(q->behind.queue) < q->behind.seq)
            return q;
    }
    return NULL;
}

static lt_status remember(lt_queue *comm, const char *name, const lt_group *group)
{
    queued *q = &under_way.at[under_way.end % QUEUED_MAX];
    LT_TRY(lt_mark_event(comm, &q->behind));
    q->name = name;
    q->group = group;
    under_way.end++;
    if (under_way.end - under_way.first > QUEUED_MAX)
        under_way.first++;
    return LT_OK;
}

/* lt_cuda.waiting: the main thread sits in a sync. */
static lt_status while_waiting(int over)
{
    if (over) {
        lt_operation_device(NULL, NULL, 0);
        return LT_OK;
    }
    const queued *q = oldest();
    const int moved = q != NULL && under_way.shown != under_way.first + 1;
    lt_operation_device(q != NULL ? q->name : NULL, q != NULL ? axis_of(q->group) : "", moved);
    for (nccl_link *link = links; link != NULL; link = link->next)
        if (!link->given_up)
            LT_TRY(nccl_poll(&link->head));
    if (moved) {
        under_way.shown = under_way.first + 1;
        under_way.shown_since = lt_seconds();
    }
    return q != NULL ? check_deadline(q->group, q->name, under_way.shown_since) : LT_OK;
}

/* ---- an exchange ---- */

/* What the library compares is what both ends say: so it is told the elements, not their bytes. */
static ncclDataType_t type_of(lt_dtype dtype)
{
    switch (dtype) {
    case LT_F32:
        return ncclFloat32;
    case LT_BF16:
        return ncclBfloat16;
    case LT_F16:
        return ncclFloat16;
    case LT_F64:
        return ncclFloat64;
    case LT_I32:
        return ncclInt32;
    case LT_I64:
        return ncclInt64;
    case LT_U8:
    case LT_U16:
    case LT_DTYPE_COUNT:
        break;
    }
    return ncclUint8;
}

static size_t count_of(const lt_tensor *x)
{
    return type_of(x->dtype) == ncclUint8 ? lt_link_bytes(x) : (size_t)lt_elements(x);
}

static ncclResult_t queue_one(const nccl_link *link, cudaStream_t stream,
                              const lt_tensor_transfer *t)
{
    ncclResult_t result = ncclSuccess;
    if (lt_link_bytes(&t->recv) > 0)
        result = ncclRecv(t->recv.data, count_of(&t->recv), type_of(t->recv.dtype), t->peer,
                          link->comm, stream);
    if (result == ncclSuccess && lt_link_bytes(&t->send) > 0)
        result = ncclSend(t->send.data, count_of(&t->send), type_of(t->send.dtype), t->peer,
                          link->comm, stream);
    return result;
}

/* A group that was begun is ended, whatever came of its calls. */
static lt_status queue_group(const nccl_link *link, lt_queue *comm, const char *name,
                             const lt_tensor_transfer *list, int count)
{
    const cudaStream_t stream = ((lt_cuda_queue *)comm)->stream;
    ncclResult_t result = ncclGroupStart();
    if (result != ncclSuccess)
        return failed(link, name, result);
    for (int i = 0; i < count && result == ncclSuccess; i++)
        result = queue_one(link, stream, &list[i]);
    const ncclResult_t ended = ncclGroupEnd();
    if (result != ncclSuccess)
        return failed(link, name, result);
    if (ended != ncclSuccess && ended != ncclInProgress)
        return failed(link, name, ended);
    return settle(link, name);
}

static int is_empty(const lt_tensor_transfer *t)
{
    return lt_link_bytes(&t->send) == 0 && lt_link_bytes(&t->recv) == 0;
}

static lt_status nccl_exchange(lt_link *link, lt_queue *comm, const char *name,
                               const lt_tensor_transfer *list, int count)
{
    int moves = 0;
    for (int i = 0; i < count; i++) {
        assert(list[i].peer != link->group->rank && list[i].peer < link->group->size);
        lt_traffic_add(lt_link_bytes(&list[i].send), lt_link_bytes(&list[i].recv));
        moves |= !is_empty(&list[i]);
    }
    if (!moves)
        return LT_OK;
    lt_operation_begin(name, link->group->axis, NULL);
    lt_status st = queue_group((nccl_link *)link, comm, name, list, count);
    lt_operation_end(NULL);
    if (st == LT_OK)
        st = remember(comm, name, link->group);
    LT_TRY(st);
    return LT_OK;
}

/* ---- open ---- */

/* What a rank says before a communicator is made. */
typedef struct facts {
    int32_t version;
    char device[16]; /* the GPU's own id, unique in the world */
    ncclUniqueId id; /* of rank 0 */
} facts;

static lt_status my_facts(const lt_group *group, facts *out)
{
    struct cudaDeviceProp device;
    int version = 0;
    memset(out, 0, sizeof *out);
    if (ncclGetVersion(&version) != ncclSuccess)
        LT_FAIL(LT_EDEVICE, "NCCL: it does not say its version");
    out->version = version;
    LT_TRY(lt_cuda_try("NCCL", cudaGetDeviceProperties(&device, lt_cuda.device)));
    memcpy(out->device, &device.uuid, sizeof out->device);
    if (group->rank != 0)
        return LT_OK;
    const ncclResult_t result = ncclGetUniqueId(&out->id);
    if (result != ncclSuccess)
        LT_FAIL(LT_EDEVICE, "NCCL: no unique id: %s", ncclGetErrorString(result));
    return LT_OK;
}

/* "2.28.9" */
static void version_text(int version, char *out, size_t bytes)
{
    (void)snprintf(out, bytes, "%d.%d.%d", version / 10000, version / 100 % 100, version % 100);
}

/* The same answer and words on all ranks. */
static lt_status can_connect(const lt_group *group, const facts *all)
{
    char found[32], other[32];
    const char *axis = axis_of(group);
    version_text(all[0].version, found, sizeof found);
    for (int i = 0; i < group->size; i++) {
        version_text(all[i].version, other, sizeof other);
        if (all[i].version < VERSION_LEAST)
            LT_FAIL(LT_EUNAVAIL, "NCCL: want 2.18 or later, found %s (rank %d of %s)", other, i,
                    axis);
        if (all[i].version != all[0].version)
            LT_FAIL(LT_EUNAVAIL,
                    "NCCL: want one version on all ranks, found %s (rank 0 of %s) and %s (rank %d)",
                    found, axis, other, i);
        for (int k = 0; k < i; k++)
            if (memcmp(all[i].device, all[k].device, sizeof all[i].device) == 0)
                LT_FAIL(LT_EUNAVAIL, "NCCL: ranks %d and %d of %s share a GPU", k, i, axis);
    }
    return LT_OK;
}

static lt_status start(nccl_link *link, ncclUniqueId id)
{
    const lt_group *group = link->head.group;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    if (strcmp(axis_of(group), "ring") == 0)
        config.maxCTAs = RING_CTAS;
    const ncclResult_t result =
        ncclCommInitRankConfig(&link->comm, group->size, id, group->rank, &config);
    if (result != ncclSuccess && result != ncclInProgress)
        return failed(link, "open", result);
    return settle(link, "open");
}

/* A word to and from every rank, through device memory: rows [0, size) leave, the others come.
 * host: [2 * size * WORDS]. */
static lt_status meet(nccl_link *link, lt_tensor *rows, int32_t *host, lt_tensor_transfer *list)
{
    const lt_group *group = link->head.group;
    const int size = group->size, rank = group->rank;
    lt_queue *comm = lt_comm_memory_queue(link->head.memory);
    int count = 0;
    for (int i = 0; i < 2 * size * WORDS; i++)
        host[i] = i < size * WORDS ? rank * size + i / WORDS : -1;
    for (int step = 1; step < size; step++) {
        const int peer = (rank + step) % size;
        list[count++] = (lt_tensor_transfer){peer, lt_view_outer(rows, (lt_range){peer, 1}),
                                             lt_view_outer(rows, (lt_range){size + peer, 1})};
    }
    LT_TRY(lt_upload(comm, rows, host));
    LT_TRY(queue_group(link, comm, "connect", list, count));
    LT_TRY(lt_download(comm, host, rows));
    LT_TRY(lt_sync(comm));
    for (int i = 0; i < size * WORDS; i++)
        if (i / WORDS != rank && host[size * WORDS + i] != i / WORDS * size + rank)
            LT_FAIL(LT_EDEVICE, "NCCL: connect (%s): rank %d: want %d from rank %d, found %d",
                    axis_of(group), rank, i / WORDS * size + rank, i / WORDS,
                    host[size * WORDS + i]);
    return LT_OK;
}

static lt_status connect_all(nccl_link *link)
{
    const int size = link->head.group->size;
    lt_comm_memory *memory = link->head.memory;
    lt_tensor rows;
    lt_status st = LT_OK;
    int32_t *host = calloc((size_t)(2 * size * WORDS), sizeof *host);
    lt_tensor_transfer *list = calloc((size_t)size, sizeof *list);
    const size_t mark = lt_comm_mark(memory);
    if (host == NULL || list == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "NCCL: no memory to connect %d ranks", size);
    LT_TRY_GOTO(lt_comm_scratch(memory, LT_I32, LT_DIMS(2 * size, WORDS), &rows), st, done);
    st = meet(link, &rows, host, list);
done:
    lt_comm_release(memory, mark);
    free(host);
    free(list);
    return st;
}

/* Until a link is in `links` no sync looks at its communicator. */
static lt_status open_here(nccl_link *link, facts *mine, facts *all)
{
    lt_group *group = link->head.group;
    lt_status st = all != NULL ? my_facts(group, mine)
                               : lt_fail(LT_ENOMEM, __FILE__, __LINE__,
                                         "NCCL: no memory for a group of %d ranks", group->size);
    LT_TRY(lt_agree(group, st));
    LT_TRY(lt_all_gather_host(group, mine, sizeof *mine, all));
    LT_TRY(can_connect(group, all));
    st = start(link, all[0].id);
    link->next = links;
    links = link;
    lt_cuda.waiting = while_waiting;
    if (st == LT_OK)
        st = connect_all(link);
    LT_TRY(lt_agree(group, st));
    return LT_OK;
}

static void take_out(nccl_link *link)
{
    nccl_link **at = &links;
    while (*at != NULL && *at != link)
        at = &(*at)->next;
    if (*at == link)
        *at = link->next;
    if (links == NULL)
        lt_cuda.waiting = NULL;
}

static void leave_behind(nccl_link *link)
{
    link->next = left;
    left = link;
}

static lt_status nccl_open(lt_group *group, const lt_backend *backend, lt_comm_memory *memory,
                           lt_link **out)
{
    (void)backend;
    facts mine;
    nccl_link *link = calloc(1, sizeof *link);
    if (link != NULL)
        link->head = (lt_link){&lt_exchange_nccl, group, memory};
    LT_TRY(lt_agree(group, link != NULL ? LT_OK
                                        : lt_fail(LT_ENOMEM, __FILE__, __LINE__,
                                                  "NCCL: no memory for a link")));
    facts *all = calloc((size_t)group->size, sizeof *all);
    lt_operation_begin("nccl_connect", group->axis, NULL);
    const lt_status st = open_here(link, &mine, all);
    lt_operation_end(NULL);
    free(all);
    if (st == LT_OK) {
        *out = &link->head;
        return LT_OK;
    }
    take_out(link);
    if (link->comm == NULL)
        free(link);
    else
        leave_behind(link);
    LT_TRY(st);
    return LT_OK;
}

/* ---- the rest ---- */

static int nccl_fits(const lt_group *group, const lt_backend *backend)
{
    const char *axis = group != NULL ? axis_of(group) : "";
    return backend == &lt_backend_cuda && strcmp(axis, "win") != 0 && strcmp(axis, "cfg") != 0;
}

/* A buffer of 4 MiB a channel and peer, each way (docs/spec/gpu-options.md 3); channels are shared
 * out over peers, one at least. Read, not measured. */
static size_t nccl_device_bytes(const lt_group *group)
{
    enum { BUFFER_BYTES = 4 << 20, WAYS = 2, CTAS = 32 };
    const int most = strcmp(axis_of(group), "ring") == 0 ? RING_CTAS : CTAS;
    const int peers = group->size - 1;
    return (size_t)(peers > most ? peers : most) * WAYS * BUFFER_BYTES;
}

/* It stays among `links`: streams may hold what never ends, as lt_cuda.waiting says to a cancel. */
static void nccl_abort(lt_link *link) { ((nccl_link *)link)->given_up = 1; }

/* All ranks of the group come here, in the same order; one that failed doesn't. */
static void nccl_close(lt_link **link)
{
    static const double patience_s = 5;
    nccl_link *l = (nccl_link *)*link;
    *link = NULL;
    under_way.first = under_way.end; /* their queue has ended */
    take_out(l);
    if (l->given_up) {
        leave_behind(l);
        return;
    }
    const double begin = lt_seconds();
    ncclResult_t state = ncclCommFinalize(l->comm);
    while (state == ncclInProgress && lt_seconds() - begin < patience_s) {
        (void)nanosleep(&(struct timespec){0, 100000}, NULL);
        if (ncclCommGetAsyncError(l->comm, &state) != ncclSuccess)
            state = ncclInternalError;
    }
    if (state == ncclSuccess && ncclCommDestroy(l->comm) == ncclSuccess)
        free(l);
    else
        leave_behind(l);
}

int lt_nccl_found(char *text, size_t bytes)
{
    char found[32];
    int version = 0;
    if (ncclGetVersion(&version) != ncclSuccess) {
        (void)snprintf(text, bytes, "NCCL does not say its version");
        return 0;
    }
    version_text(version, found, sizeof found);
    (void)snprintf(text, bytes, "NCCL %s%s", found,
                   version < VERSION_LEAST ? ": want 2.18 or later" : "");
    return version >= VERSION_LEAST;
}

const lt_device_exchange lt_exchange_nccl = {.name = "nccl",
                                             .takes_own = 0,
                                             .fits = nccl_fits,
                                             .open = nccl_open,
                                             .device_bytes = nccl_device_bytes,
                                             .exchange = nccl_exchange,
                                             .poll = nccl_poll,
                                             .abort = nccl_abort,
                                             .close = nccl_close};
