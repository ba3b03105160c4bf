/* fence.c - a copy of a run that a newer copy has overtaken ends. */
#include "run/resume/fence.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/new_file.h"
#include "base/record.h"

enum { ASK_EVERY_S = 1 };

static struct {
    const lt_lease *lease;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int ends;        /* under lock */
    char found[512]; /* written once, before overtaken */
    atomic_int open, overtaken, finds;
} f = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The first thread that finds it keeps the words. */
static void keep(lt_status st)
{
    int first = 0;
    if (st != LT_EUNAVAIL || !atomic_compare_exchange_strong(&f.finds, &first, 1))
        return;
    (void)snprintf(f.found, sizeof f.found, "%s", lt_error_text());
    lt_record_close(); /* RUN's events are the newer copy's from here on */
    atomic_store(&f.overtaken, 1);
}

lt_status lt_fence_ask(void)
{
    if (!atomic_load(&f.open))
        return LT_OK;
    const lt_status st = lt_lease_ask(f.lease);
    keep(st);
    return st;
}

lt_status lt_fence_check(void)
{
    if (!atomic_load(&f.overtaken))
        return LT_OK;
    LT_FAIL(LT_EUNAVAIL, "%s", f.found);
}

static void *fence_main(void *unused)
{
    (void)unused;
    (void)pthread_setname_np(pthread_self(), "lt-fence");
    (void)pthread_mutex_lock(&f.lock);
    while (!f.ends && !atomic_load(&f.overtaken)) {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += ASK_EVERY_S;
        (void)pthread_cond_timedwait(&f.wake, &f.lock, &until);
        (void)pthread_mutex_unlock(&f.lock);
        (void)lt_fence_ask(); /* a server that is away for a while ends no work here */
        lt_error_clear();
        (void)pthread_mutex_lock(&f.lock);
    }
    (void)pthread_mutex_unlock(&f.lock);
    return NULL;
}

lt_status lt_fence_begin(const lt_lease *lease)
{
    pthread_condattr_t monotonic;
    sigset_t all, before;
    assert(!atomic_load(&f.open) && lease->held);
    f.lease = lease;
    f.ends = 0;
    atomic_store(&f.overtaken, 0);
    atomic_store(&f.finds, 0);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&f.wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    (void)sigfillset(&all); /* signals are for the other threads */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&f.thread, NULL, fence_main, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        (void)pthread_cond_destroy(&f.wake);
        LT_FAIL(LT_EUNAVAIL, "fence: no thread: %s", strerror(error));
    }
    atomic_store(&f.open, 1);
    lt_new_file_guard(lt_fence_ask);
    return lt_fence_ask();
}

void lt_fence_end(void)
{
    if (!atomic_load(&f.open))
        return;
    lt_new_file_guard(NULL);
    (void)pthread_mutex_lock(&f.lock);
    f.ends = 1;
    (void)pthread_cond_signal(&f.wake);
    (void)pthread_mutex_unlock(&f.lock);
    (void)pthread_join(f.thread, NULL);
    (void)pthread_cond_destroy(&f.wake);
    atomic_store(&f.open, 0);
}
