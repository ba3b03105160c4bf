/* comm_thread.c - work items for the host, run in order by a thread of its own.
 *
 * One lock guards the ring of work items and the counts; it is not held while an item runs.
 * `running` says that the thread or a waiter has taken the first item: nothing takes the next one
 * before that is done, which keeps the order. While a thread waits for the queue it runs the items
 * itself: ops among them then have the whole team of threads.
 *
 * A push wakes no thread. A collective is several items: a thread that wakes for the first one
 * takes the processor from the thread that pushes the next, and takes the items from a wait that
 * follows at once.
 *
 * An item that waits for other ranks asks its call (host_call.h) what to do between two polls.
 * Without a waiter the processor belongs to the compute beside it, and the thread sleeps. With a
 * waiter nothing better is left than to poll again at once, so a wait ends the sleep. */
#include "kernels/cpu/comm_thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/span.h"
#include "kernels/kernels.h"

/* Work items lie one behind the other in a ring of bytes, which is allocated when the queue is
 * opened: a push allocates nothing. An item that would not fit before the ring's end begins at its
 * start, and a filler lies between. Where the ring is full, the pushing thread runs the oldest. */
enum { RING_BYTES = 1 << 20, WORK_ALIGN = 64 };

/* A work item. */
typedef struct work {
    size_t bytes;  /* with this head */
    lt_host_fn fn; /* NULL: a filler */
    _Alignas(16) char context[];
} work;

struct lt_comm_thread {
    lt_host_call call; /* what the thread gives its work items */
    pthread_mutex_t lock;
    pthread_cond_t more, done, hurry; /* pushed; finished; a thread began to wait */
    pthread_t thread;
    void (*begin)(void);
    char *ring;
    uint64_t head, tail; /* bytes taken out of the ring and put into it since it was last empty */
    _Atomic uint64_t pushed, finished;
    int running, waiting, closing, cancelled;
    lt_status failed;
    char text[1024], hint[1024];
};

static work *work_at(const lt_comm_thread *q, uint64_t at)
{
    return (work *)(void *)(q->ring + at % RING_BYTES);
}

/* Run the first work item; call is NULL where a waiter does it. The lock is held before and after,
 * not meanwhile. */
static void run_first(lt_comm_thread *q, const lt_host_call *call)
{
    work *w = work_at(q, q->head);
    if (w->fn == NULL) {
        q->head += w->bytes;
        w = work_at(q, q->head);
    }
    const int skip = q->failed != LT_OK;
    q->running = 1;
    (void)pthread_mutex_unlock(&q->lock);
    const lt_status st = skip ? LT_OK : w->fn(w->context, call);
    (void)pthread_mutex_lock(&q->lock);
    if (st != LT_OK && q->failed == LT_OK) {
        q->failed = st;
        (void)snprintf(q->text, sizeof q->text, "%s", lt_error_text());
        (void)snprintf(q->hint, sizeof q->hint, "%s", lt_hint_text());
    }
    q->head += w->bytes;
    q->running = 0;
    atomic_fetch_add(&q->finished, 1);
    (void)pthread_cond_broadcast(&q->done);
}

static void *thread_main(void *queue)
{
    lt_comm_thread *q = queue;
    const struct sched_param none = {.sched_priority = 0};
    /* A wish: a work item must not take the processor from the thread that pushed it, just before
     * that gives a device its next work. */
    (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
    if (q->begin != NULL)
        q->begin();
    (void)pthread_mutex_lock(&q->lock);
    for (;;) {
        if (q->head != q->tail && !q->running && (!q->waiting || q->closing))
            run_first(q, &q->call);
        else if (q->closing && q->head == q->tail)
            break;
        else
            (void)pthread_cond_wait(q->running ? &q->done : &q->more, &q->lock);
    }
    (void)pthread_mutex_unlock(&q->lock);
    return NULL;
}

static lt_backoff backoff(void *queue, double seconds)
{
    lt_comm_thread *q = queue;
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(seconds * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_mutex_lock(&q->lock);
    if (q->waiting == 0 && !q->cancelled)
        (void)pthread_cond_timedwait(&q->hurry, &q->lock, &until);
    const int cancelled = q->cancelled, waiting = q->waiting;
    (void)pthread_mutex_unlock(&q->lock);
    return cancelled ? LT_BACKOFF_CANCELLED : waiting > 0 ? LT_BACKOFF_WAITER : LT_BACKOFF_ELAPSED;
}

static int start(lt_comm_thread *q)
{
    pthread_condattr_t monotonic;
    sigset_t all, before;
    (void)pthread_mutex_init(&q->lock, NULL);
    (void)pthread_cond_init(&q->more, NULL);
    (void)pthread_cond_init(&q->done, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&q->hurry, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)sigfillset(&all); /* signals are for the other threads */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&q->thread, NULL, thread_main, q);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static void destroy(lt_comm_thread *q)
{
    (void)pthread_mutex_destroy(&q->lock);
    (void)pthread_cond_destroy(&q->more);
    (void)pthread_cond_destroy(&q->done);
    (void)pthread_cond_destroy(&q->hurry);
    free(q->ring);
    free(q);
}

lt_status lt_comm_thread_open(void (*begin)(void), lt_comm_thread **out)
{
    lt_comm_thread *q = calloc(1, sizeof *q);
    if (q == NULL || (q->ring = aligned_alloc(WORK_ALIGN, RING_BYTES)) == NULL) {
        free(q);
        LT_FAIL(LT_ENOMEM, "queue: no memory");
    }
    q->call = (lt_host_call){backoff, q};
    q->begin = begin;
    const int error = start(q);
    if (error != 0) {
        destroy(q);
        LT_FAIL(LT_EUNAVAIL, "queue: no thread: %s", strerror(error));
    }
    *out = q;
    return LT_OK;
}

void lt_comm_thread_close(lt_comm_thread **queue)
{
    lt_comm_thread *q = *queue;
    (void)pthread_mutex_lock(&q->lock);
    q->closing = 1;
    q->waiting++;
    (void)pthread_cond_broadcast(&q->more);
    (void)pthread_cond_broadcast(&q->hurry);
    (void)pthread_mutex_unlock(&q->lock);
    (void)pthread_join(q->thread, NULL);
    destroy(q);
    *queue = NULL;
}

/* Run or wait for the first seq work items; the lock is held. */
static void finish(lt_comm_thread *q, uint64_t seq)
{
    if (q->finished >= seq)
        return;
    q->waiting++;
    (void)pthread_cond_broadcast(&q->hurry);
    while (q->finished < seq) {
        if (q->running)
            (void)pthread_cond_wait(&q->done, &q->lock);
        else
            run_first(q, NULL);
    }
    q->waiting--;
    if (q->head != q->tail)
        (void)pthread_cond_broadcast(&q->more);
}

/* Bytes up to the ring's end that a work item of so many leaves unused. */
static size_t filler(const lt_comm_thread *q, size_t bytes)
{
    const size_t to_end = RING_BYTES - (size_t)(q->tail % RING_BYTES);
    return bytes <= to_end ? 0 : to_end;
}

lt_status lt_comm_thread_push(lt_comm_thread *q, lt_host_fn fn, const void *context, size_t bytes)
{
    const size_t all = (sizeof(work) + bytes + WORK_ALIGN - 1) / WORK_ALIGN * WORK_ALIGN;
    if (bytes > RING_BYTES / 2 - 2 * WORK_ALIGN) /* else it fits once the ring is empty */
        LT_FAIL(LT_ENOMEM, "queue: work of %zu bytes: at most %d fit", bytes,
                RING_BYTES / 2 - 2 * WORK_ALIGN);
    (void)pthread_mutex_lock(&q->lock);
    while (RING_BYTES - (size_t)(q->tail - q->head) < filler(q, all) + all)
        finish(q, q->finished + 1);
    if (q->head == q->tail) /* begin anew where the memory is in cache */
        q->head = q->tail = 0;
    const size_t unused = filler(q, all);
    if (unused > 0)
        *work_at(q, q->tail) = (work){.bytes = unused, .fn = NULL};
    q->tail += unused;
    work *w = work_at(q, q->tail);
    w->bytes = all;
    w->fn = fn;
    if (bytes > 0)
        memcpy(w->context, context, bytes);
    q->tail += all;
    atomic_fetch_add(&q->pushed, 1);
    (void)pthread_mutex_unlock(&q->lock);
    return LT_OK;
}

/* Without the lock: the pushes were made under it, so the thread sees them or sleeps by now. */
void lt_comm_thread_begin(lt_comm_thread *q) { (void)pthread_cond_signal(&q->more); }

uint64_t lt_comm_thread_done(const lt_comm_thread *q) { return atomic_load(&q->finished); }

uint64_t lt_comm_thread_last(const lt_comm_thread *q) { return atomic_load(&q->pushed); }

int lt_comm_thread_idle(lt_comm_thread *q)
{
    (void)pthread_mutex_lock(&q->lock);
    const int idle = q->finished == q->pushed;
    (void)pthread_mutex_unlock(&q->lock);
    return idle;
}

void lt_comm_thread_drain(lt_comm_thread *q)
{
    (void)pthread_mutex_lock(&q->lock);
    finish(q, q->pushed);
    (void)pthread_mutex_unlock(&q->lock);
}

void lt_comm_thread_cancel(lt_comm_thread *q)
{
    (void)pthread_mutex_lock(&q->lock);
    q->cancelled = 1;
    if (q->failed == LT_OK) {
        q->failed = LT_EPEER;
        (void)snprintf(q->text, sizeof q->text, "given up after a failure");
    }
    (void)pthread_cond_broadcast(&q->hurry);
    finish(q, q->pushed);
    (void)pthread_mutex_unlock(&q->lock);
}

lt_status lt_comm_thread_wait(lt_comm_thread *q, uint64_t seq)
{
    char text[sizeof q->text], hint[sizeof q->hint];
    (void)pthread_mutex_lock(&q->lock);
    const double began = q->finished < seq ? lt_span_begin() : -1;
    finish(q, seq);
    const lt_status failed = q->failed;
    const int cancelled = q->cancelled;
    if (failed != LT_OK) {
        memcpy(text, q->text, sizeof text);
        memcpy(hint, q->hint, sizeof hint);
    }
    (void)pthread_mutex_unlock(&q->lock);
    lt_span_end(LT_SPAN_COMPUTE, "wait", NULL, began, 0);
    if (failed == LT_OK || cancelled) /* cancelled: the caller has an error of its own */
        return failed;
    if (hint[0] != '\0')
        lt_hint("%s", hint);
    LT_FAIL(failed, "%s", text);
}
