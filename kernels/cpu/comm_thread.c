/* comm_thread.c - work for the host, in order, on a thread of its own.
 *
 * One lock guards the list and the counts; it is not held while work runs. `running` says that
 * somebody, the thread or a waiter, has taken the first piece: nobody takes the next one before it
 * is back, which is all the order there is. While somebody waits, the pieces are his: ops among
 * them then have the whole team of threads.
 *
 * Pushing wakes nobody: a collective is several pieces, and a thread that wakes for the first one
 * takes the processor from who pushes the next, and the pieces from a wait that follows at once.
 *
 * A piece that waits for other ranks asks its call (host_call.h) what to do between two looks.
 * While nobody waits for the queue, the processor belongs to the compute that goes on beside it:
 * the thread sleeps. Once somebody waits there is nothing better to do than to look again at once,
 * so a wait ends the sleep. */
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

/* Pieces lie one behind the other in a ring of bytes, which is taken when the queue is opened: what
 * is pushed costs no allocation. A piece that would not fit before the ring's end begins at its
 * start; then a filler lies between. Where the ring is full, who pushes runs what is oldest. */
enum { RING_BYTES = 1 << 20, PIECE_ALIGN = 64 };

typedef struct piece {
    size_t bytes;  /* with this head */
    lt_host_fn fn; /* NULL: a filler */
    _Alignas(16) char work[];
} piece;

struct lt_comm_thread {
    lt_host_call call; /* what the thread gives its pieces */
    pthread_mutex_t lock;
    pthread_cond_t more, done, hurry; /* pushed; finished; somebody began to wait */
    pthread_t thread;
    void (*begin)(void);
    char *ring;
    uint64_t head, tail; /* bytes that were taken out of the ring and put into it, ever */
    uint64_t pushed;
    _Atomic uint64_t finished;
    int running, waiting, closing, given_up;
    lt_status failed;
    char text[1024], hint[1024];
};

static piece *piece_at(const lt_comm_thread *q, uint64_t at)
{
    return (piece *)(void *)(q->ring + at % RING_BYTES);
}

/* Run the first piece; call is NULL where a waiter does it. The lock is held before and after, not
 * meanwhile. */
static void run_first(lt_comm_thread *q, const lt_host_call *call)
{
    piece *p = piece_at(q, q->head);
    if (p->fn == NULL) {
        q->head += p->bytes;
        p = piece_at(q, q->head);
    }
    const int skip = q->failed != LT_OK;
    q->running = 1;
    (void)pthread_mutex_unlock(&q->lock);
    const lt_status st = skip ? LT_OK : p->fn(p->work, call);
    (void)pthread_mutex_lock(&q->lock);
    if (st != LT_OK && q->failed == LT_OK) {
        q->failed = st;
        (void)snprintf(q->text, sizeof q->text, "%s", lt_error_text());
        (void)snprintf(q->hint, sizeof q->hint, "%s", lt_hint_text());
    }
    q->head += p->bytes;
    q->running = 0;
    atomic_fetch_add(&q->finished, 1);
    (void)pthread_cond_broadcast(&q->done);
}

static void *thread_main(void *queue)
{
    lt_comm_thread *q = queue;
    const struct sched_param none = {.sched_priority = 0};
    /* A wish: what is pushed must not take the processor from who pushes it, just before he gives a
     * device its next work. */
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

static lt_pause pause_of(void *queue, double seconds)
{
    lt_comm_thread *q = queue;
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(seconds * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_mutex_lock(&q->lock);
    if (q->waiting == 0 && !q->given_up)
        (void)pthread_cond_timedwait(&q->hurry, &q->lock, &until);
    const int given_up = q->given_up, waiting = q->waiting;
    (void)pthread_mutex_unlock(&q->lock);
    return given_up ? LT_PAUSE_GIVEN_UP : waiting > 0 ? LT_PAUSE_AWAITED : LT_PAUSE_SLEPT;
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
    if (q == NULL || (q->ring = aligned_alloc(PIECE_ALIGN, RING_BYTES)) == NULL) {
        free(q);
        LT_FAIL(LT_ENOMEM, "queue: no memory");
    }
    q->call = (lt_host_call){pause_of, q};
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

/* Run or wait for the first seq pieces; the lock is held. */
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

/* Bytes up to the ring's end that a piece of so many leaves unused. */
static size_t filler(const lt_comm_thread *q, size_t bytes)
{
    const size_t to_end = RING_BYTES - (size_t)(q->tail % RING_BYTES);
    return bytes <= to_end ? 0 : to_end;
}

lt_status lt_comm_thread_push(lt_comm_thread *q, lt_host_fn fn, const void *work, size_t bytes)
{
    const size_t all = (sizeof(piece) + bytes + PIECE_ALIGN - 1) / PIECE_ALIGN * PIECE_ALIGN;
    if (bytes > RING_BYTES / 2 - 2 * PIECE_ALIGN) /* else it fits once the ring is empty */
        LT_FAIL(LT_ENOMEM, "queue: work of %zu bytes: at most %d fit", bytes,
                RING_BYTES / 2 - 2 * PIECE_ALIGN);
    (void)pthread_mutex_lock(&q->lock);
    while (RING_BYTES - (size_t)(q->tail - q->head) < filler(q, all) + all)
        finish(q, q->finished + 1);
    const size_t unused = filler(q, all);
    if (unused > 0)
        *piece_at(q, q->tail) = (piece){.bytes = unused, .fn = NULL};
    q->tail += unused;
    piece *p = piece_at(q, q->tail);
    p->bytes = all;
    p->fn = fn;
    if (bytes > 0)
        memcpy(p->work, work, bytes);
    q->tail += all;
    q->pushed++;
    (void)pthread_mutex_unlock(&q->lock);
    return LT_OK;
}

void lt_comm_thread_begin(lt_comm_thread *q)
{
    (void)pthread_mutex_lock(&q->lock);
    if (q->head != q->tail)
        (void)pthread_cond_signal(&q->more);
    (void)pthread_mutex_unlock(&q->lock);
}

uint64_t lt_comm_thread_done(const lt_comm_thread *q) { return atomic_load(&q->finished); }

uint64_t lt_comm_thread_last(lt_comm_thread *q)
{
    (void)pthread_mutex_lock(&q->lock);
    const uint64_t last = q->pushed;
    (void)pthread_mutex_unlock(&q->lock);
    return last;
}

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

void lt_comm_thread_give_up(lt_comm_thread *q)
{
    (void)pthread_mutex_lock(&q->lock);
    q->given_up = 1;
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
    const int given_up = q->given_up;
    memcpy(text, q->text, sizeof text);
    memcpy(hint, q->hint, sizeof hint);
    (void)pthread_mutex_unlock(&q->lock);
    lt_span_end(LT_SPAN_COMPUTE, "wait", NULL, began, 0);
    if (failed == LT_OK || given_up) /* given up: the caller has an error of its own */
        return failed;
    if (hint[0] != '\0')
        lt_hint("%s", hint);
    LT_FAIL(failed, "%s", text);
}
