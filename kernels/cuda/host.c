/* host.c - work of the host in a stream's order, on a thread of its own.
 *
 * A host function may wait for other ranks and may call CUDA, so it cannot be a driver's callback.
 * Each has a number n. Queued on the stream: an event, then a wait until the word `done` has
 * reached n. On the thread (comm_thread.h): wait for the event, run the function, set `done` to n.
 * So the stream goes on when the work is done, and the main thread never waits for it. After a
 * failure `done` is set far ahead: the stream runs to its end, and waits and syncs say what failed.
 * The device compares `done` cyclically (cuStreamWaitValue32, GEQ), so n may wrap. */
#include <stdlib.h>

#include "kernels/cpu/comm_thread.h"
#include "kernels/cuda/cuda.h"

enum { FAR_AHEAD = 0x40000000, ITEMS = 1024 };

struct lt_cuda_host {
    lt_comm_thread *thread;
    uint32_t *done; /* mapped pinned memory, which the device polls */
    uint32_t queued;
    int device;
    cudaEvent_t before[ITEMS]; /* an item's number chooses: none is made once work runs */
};

typedef struct host_item {
    lt_cuda_host *host;
    cudaEvent_t before; /* one of the host's */
    uint32_t number;
    lt_host_fn fn;
} host_item;

static void set_done(lt_cuda_host *h, uint32_t number)
{
    __atomic_store_n(h->done, number, __ATOMIC_RELEASE);
}

/* item, and fn's work behind it. */
static lt_status run_item(void *item, const lt_host_call *call)
{
    const host_item *i = item;
    lt_status status = lt_cuda_try("host", cudaSetDevice(i->host->device));
    if (status == LT_OK)
        status = lt_cuda_try("host", cudaEventSynchronize(i->before));
    if (status == LT_OK)
        status = i->fn((char *)item + sizeof *i, call);
    set_done(i->host, status == LT_OK ? i->number : i->number + FAR_AHEAD);
    return status;
}

static void drop_events(lt_cuda_host *h)
{
    for (int i = 0; i < ITEMS; i++)
        if (h->before[i] != NULL)
            (void)cudaEventDestroy(h->before[i]);
}

static lt_status open_host(lt_cuda_queue *q)
{
    void *word = NULL;
    lt_cuda_host *h = calloc(1, sizeof *h);
    if (h == NULL)
        LT_FAIL(LT_ENOMEM, "cuda: no memory for the host's queue");
    h->device = lt_cuda.device;
    lt_status st;
    LT_TRY_GOTO(lt_cuda_try("host", cudaHostAlloc(&word, sizeof *h->done, cudaHostAllocMapped)), st,
                failed);
    h->done = word;
    set_done(h, 0);
    for (int i = 0; i < ITEMS; i++)
        LT_TRY_GOTO(
            lt_cuda_try("host", cudaEventCreateWithFlags(&h->before[i], cudaEventDisableTiming |
                                                                            cudaEventBlockingSync)),
            st, failed);
    LT_TRY_GOTO(lt_comm_thread_open(NULL, &h->thread), st, failed);
    q->host = h;
    return LT_OK;
failed:
    drop_events(h);
    if (word != NULL)
        (void)cudaFreeHost(word);
    free(h);
    return st;
}

/* The event of the item that comes next: the one that had it before, ITEMS ago, has run. */
static lt_status next_event(lt_cuda_host *h, cudaEvent_t *out)
{
    const uint64_t pushed = lt_comm_thread_last(h->thread);
    if (pushed >= ITEMS)
        LT_TRY(lt_comm_thread_wait(h->thread, pushed - ITEMS + 1));
    *out = h->before[pushed % ITEMS];
    return LT_OK;
}

lt_status lt_cuda_host_push(lt_cuda_queue *q, lt_host_fn fn, const void *work, size_t bytes)
{
    if (q->host == NULL)
        LT_TRY(open_host(q));
    lt_cuda_host *h = q->host;
    LT_TRY(lt_cuda_host_failure(q));
    host_item *item = malloc(sizeof *item + bytes);
    if (item == NULL)
        LT_FAIL(LT_ENOMEM, "cuda: no memory for work of the host");
    *item = (host_item){h, NULL, h->queued + 1, fn};
    if (bytes > 0)
        memcpy(item + 1, work, bytes);
    lt_status st;
    LT_TRY_GOTO(next_event(h, &item->before), st, done);
    LT_TRY_GOTO(lt_cuda_try("host", cudaEventRecord(item->before, q->stream)), st, done);
    LT_TRY_GOTO(lt_comm_thread_push(h->thread, run_item, item, sizeof *item + bytes), st, done);
    h->queued = item->number;
    lt_comm_thread_begin(h->thread);
    st = lt_cuda_try("host", lt_cuda_wait_value(q->stream, h->done, item->number));
done:
    free(item);
    return st;
}

lt_status lt_cuda_host_failure(const lt_cuda_queue *q)
{
    return q->host != NULL ? lt_comm_thread_wait(q->host->thread, 0) : LT_OK;
}

lt_status lt_cuda_host_wait(lt_cuda_queue *q)
{
    lt_cuda_host *h = q->host;
    return h != NULL ? lt_comm_thread_wait(h->thread, lt_comm_thread_last(h->thread)) : LT_OK;
}

void lt_cuda_host_cancel(lt_cuda_queue *q)
{
    if (q->host == NULL)
        return;
    lt_comm_thread_cancel(q->host->thread);
    set_done(q->host, q->host->queued + FAR_AHEAD);
}

void lt_cuda_host_close(lt_cuda_queue *q)
{
    lt_cuda_host *h = q->host;
    if (h == NULL)
        return;
    lt_comm_thread_close(&h->thread);
    set_done(h, h->queued + FAR_AHEAD);
    if (lt_cuda_stream_wait("close", q->stream) == LT_OK) {
        drop_events(h);
        (void)cudaFreeHost(h->done);
    }
    free(h);
    q->host = NULL;
}
