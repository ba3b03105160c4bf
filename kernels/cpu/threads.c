/* threads.c - how many threads, and the memory that each works in. */
#include <assert.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/cpu/cpu.h"

enum { PAGE = 4096, HUGE_PAGE = 2 << 20, THREADS_MAX = 1024 };

/* Waking a team costs about 5 microseconds, some 20,000 vector steps (bench/LOG.md). */
#define TEAM_COST 20000.0

static int thread_count = 1;
static _Thread_local int runs_alone; /* beside the main thread, which has the team */
static struct {
    void *part[THREADS_MAX];
    size_t bytes[THREADS_MAX];
    void *shared;
    size_t shared_bytes;
} scratch;

int lt_cpu_threads(void) { return thread_count; }

/* Holds a team of idle threads for as long as the process lives. */
static void *hold_crowd(void *size)
{
    static int came; /* something to do, or the compiler drops the region */
    const int threads = *(const int *)size;
#pragma omp parallel num_threads(threads)
    (void)__atomic_add_fetch(&came, 1, __ATOMIC_RELAXED);
    for (;;)
        (void)pause();
    return NULL;
}

/* libgomp lets a waiting thread spin for 300,000 rounds (some 7 ms) before it sleeps, unless it
 * manages more threads than there are processors: then for 1,000 (some 20 us: still longer than the
 * gaps between our ops). On processors that others use too the long spin eats the very time slices
 * that the awaited thread needs: 0.13 s became 1.3 s (bench/LOG.md). Its settings are read before
 * main, so we make it count more threads instead. They sleep; where this fails, nothing else does.
 */
static void shorten_spins(void)
{
    static int size; /* outlives this call: the thread reads it */
    pthread_t thread;
    sigset_t all, before;
    const int spare = omp_get_num_procs() - thread_count;
    if (size != 0 || thread_count < 2)
        return;
    size = spare > 0 ? spare + 2 : 2;
    (void)sigfillset(&all); /* signals are for the other threads */
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return;
    if (pthread_create(&thread, NULL, hold_crowd, &size) == 0)
        (void)pthread_detach(thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void lt_cpu_threads_set(int threads)
{
    assert(threads >= 1 && threads <= THREADS_MAX);
    thread_count = threads;
    shorten_spins();
}

static lt_status grow(void **p, size_t *have, size_t bytes)
{
    if (*have >= bytes)
        return LT_OK;
    const size_t unit = bytes >= HUGE_PAGE ? HUGE_PAGE : PAGE;
    const size_t rounded = (bytes + unit - 1) / unit * unit;
    void *fresh = rounded < bytes ? NULL : aligned_alloc(unit, rounded);
    if (fresh == NULL)
        LT_FAIL(LT_ENOMEM, "cpu: no memory for %zu bytes of kernel scratch", bytes);
    if (unit == HUGE_PAGE)
        (void)madvise(fresh, rounded, MADV_HUGEPAGE); /* a wish: fewer page walks */
    free(*p);
    *p = fresh;
    *have = rounded;
    return LT_OK;
}

lt_status lt_cpu_scratch_reserve(size_t bytes)
{
    for (int t = 0; t < thread_count; t++)
        LT_TRY(grow(&scratch.part[t], &scratch.bytes[t], bytes));
    return LT_OK;
}

void *lt_cpu_scratch_get(int thread)
{
    assert(thread >= 0 && thread < thread_count);
    return scratch.part[thread];
}

lt_status lt_cpu_shared_reserve(size_t bytes, void **out)
{
    LT_TRY(grow(&scratch.shared, &scratch.shared_bytes, bytes));
    *out = scratch.shared;
    return LT_OK;
}

void lt_cpu_scratch_free(void)
{
    for (int t = 0; t < THREADS_MAX; t++) {
        free(scratch.part[t]);
        scratch.part[t] = NULL;
        scratch.bytes[t] = 0;
    }
    free(scratch.shared);
    scratch.shared = NULL;
    scratch.shared_bytes = 0;
}

void lt_cpu_run_alone(void) { runs_alone = 1; }

int lt_cpu_team(int64_t tasks, double cost)
{
    if (runs_alone || tasks < 2 || (double)tasks * cost < TEAM_COST)
        return 1;
    /* All or one: libgomp ends the threads that a smaller team leaves over and makes them anew. */
    return thread_count;
}
