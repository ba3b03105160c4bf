/* test_comm_thread.c - host functions in a queue's order, beside the main thread.
 * Goal: order, waits, memory that must outlive the work, failures and back-off of lt_host on every
 * backend that runs it. Method: work items that write down that they ran, and one that is blocked
 * until the main thread lets it go, so that what must not have happened yet is seen. */
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "kernels/kernels.h"

enum { ORDER_MAX = 64 };

static int order[ORDER_MAX], ran;
static sem_t gate, begun;
static lt_backoff ended;

typedef struct {
    int number;
    lt_status answer;
    int at_gate, polls;
} job;

static lt_status run(void *work, const lt_host_call *call)
{
    const job *j = work;
    if (j->at_gate)
        while (sem_wait(&gate) != 0)
            ;
    if (j->polls) {
        (void)sem_post(&begun);
        while (lt_host_backoff(call, 20) ==
               LT_BACKOFF_ELAPSED) /* far longer than the test: a wait ends it */
            ;
        ended = lt_host_backoff(call, 0);
    }
    if (ran < ORDER_MAX)
        order[ran++] = j->number;
    if (j->answer != LT_OK)
        LT_FAIL(j->answer, "job %d fails", j->number);
    return LT_OK;
}

typedef struct {
    const lt_backend *backend;
    lt_queue *compute, *comm;
    lt_arena *arena;
} rig;

static void open_rig(rig *r, const lt_backend *backend)
{
    memset(r, 0, sizeof *r);
    ran = 0;
    assert_int_equal(sem_init(&gate, 0, 0), 0);
    assert_int_equal(sem_init(&begun, 0, 0), 0);
    r->backend = backend;
    assert_int_equal(lt_backend_open(backend, 0, 2), LT_OK);
    assert_int_equal(backend->queue_open(LT_QUEUE_COMPUTE, &r->compute), LT_OK);
    assert_int_equal(backend->queue_open(LT_QUEUE_COMM, &r->comm), LT_OK);
    assert_int_equal(lt_arena_new("test", backend->memory, 1 << 16, &r->arena), LT_OK);
}

static void close_rig(rig *r)
{
    lt_arena_free(&r->arena);
    r->backend->queue_close(&r->comm);
    r->backend->queue_close(&r->compute);
    r->backend->close();
    (void)sem_destroy(&gate);
    (void)sem_destroy(&begun);
}

/* Host work, ops between it, and waits on another queue, on each backend. */
static void in_order(void **state)
{
    static const lt_backend *const backends[] = {&lt_backend_ref, &lt_backend_cpu, &lt_backend_far};
    (void)state;
    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
        rig r;
        lt_tensor x, y;
        float got[8] = {0};
        lt_event done;
        open_rig(&r, backends[b]);
        assert_int_equal(lt_tensor_new(r.arena, "x", LT_F32, &x, LT_DIMS(8)), LT_OK);
        assert_int_equal(lt_tensor_new(r.arena, "y", LT_F32, &y, LT_DIMS(8)), LT_OK);
        for (int i = 0; i < 20; i++) {
            assert_int_equal(lt_host(r.comm, run, &(job){.number = i}, sizeof(job)), LT_OK);
            assert_int_equal(lt_fill(r.comm, &x, (float)i), LT_OK);
            assert_int_equal(lt_axpby(r.comm, 1, &x, i == 0 ? 0 : 1, &y), LT_OK);
        }
        assert_int_equal(lt_mark_event(r.comm, &done), LT_OK);
        assert_int_equal(lt_wait(r.compute, &done), LT_OK);
        assert_int_equal(lt_download(r.compute, got, &y), LT_OK);
        assert_int_equal(lt_sync(r.compute), LT_OK);
        assert_int_equal(ran, 20);
        for (int i = 0; i < 20; i++)
            assert_int_equal(order[i], i);
        for (int i = 0; i < 8; i++)
            assert_float_equal(got[i], 190, 0);
        close_rig(&r);
    }
}

/* cpu: the caller goes on while the work stands; whoever waits gets the first failure only. */
static void beside_the_main_thread(void **state)
{
    rig r;
    lt_tensor x;
    lt_event early, done;
    (void)state;
    open_rig(&r, &lt_backend_cpu);
    assert_int_equal(lt_mark_event(r.comm, &early), LT_OK);
    assert_int_equal(lt_host(r.comm, run, &(job){.number = 1, .at_gate = 1}, sizeof(job)), LT_OK);
    assert_int_equal(lt_host(r.comm, run, &(job){.number = 2}, sizeof(job)), LT_OK);
    assert_int_equal(lt_mark_event(r.comm, &done), LT_OK);
    assert_int_equal(lt_tensor_new(r.arena, "x", LT_F32, &x, LT_DIMS(8)), LT_OK);
    assert_int_equal(lt_fill(r.compute, &x, 1), LT_OK); /* compute is not held up */
    assert_int_equal(lt_wait(r.compute, &early), LT_OK);
    assert_int_equal(ran, 0);
    assert_int_equal(sem_post(&gate), 0);
    assert_int_equal(lt_wait(r.compute, &done), LT_OK);
    assert_int_equal(ran, 2);
    close_rig(&r);
}

/* Memory that the queue may still use is not handed out again before it has run. */
static void memory_waits(void **state)
{
    rig r;
    lt_tensor x;
    (void)state;
    open_rig(&r, &lt_backend_cpu);
    const lt_mark mark = lt_arena_mark(r.arena);
    assert_int_equal(lt_tensor_new(r.arena, "x", LT_F32, &x, LT_DIMS(8)), LT_OK);
    assert_int_equal(sem_post(&gate), 0);
    assert_int_equal(lt_host(r.comm, run, &(job){.number = 1, .at_gate = 1}, sizeof(job)), LT_OK);
    lt_arena_release(r.arena, mark);
    assert_int_equal(ran, 1);
    close_rig(&r);
}

static void failures_on(const lt_backend *backend)
{
    rig r;
    lt_event done;
    open_rig(&r, backend);
    lt_far_seed(1); /* nothing runs before it is asked for */
    assert_int_equal(lt_host(r.comm, run, &(job){.number = 1, .answer = LT_EPEER}, sizeof(job)),
                     LT_OK);
    assert_int_equal(lt_host(r.comm, run, &(job){.number = 2, .answer = LT_EIO}, sizeof(job)),
                     LT_OK);
    assert_int_equal(lt_mark_event(r.comm, &done), LT_OK);
    for (int i = 0; i < 2; i++) { /* it stays */
        lt_error_clear();
        lt_status st = lt_wait(r.compute, &done);
        if (st == LT_OK)
            st = lt_sync(r.compute);
        assert_int_equal(st, LT_EPEER);
        assert_string_equal(lt_error_text(), "job 1 fails");
    }
    assert_int_equal(lt_sync(r.comm), LT_EPEER);
    assert_int_equal(ran, 1); /* nothing behind it ran */
    lt_error_clear();
    close_rig(&r);
    lt_far_seed(0);
}

static void failures(void **state)
{
    (void)state;
    failures_on(&lt_backend_cpu);
    failures_on(&lt_backend_far);
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A back-off lasts until the queue has a waiter; without a call there is none. */
static void back_off(void **state)
{
    const double began = now();
    (void)state;
    assert_int_equal(lt_host_backoff(NULL, 20), LT_BACKOFF_WAITER);
    for (int i = 0; i < 20; i++) {
        rig r;
        open_rig(&r, &lt_backend_cpu);
        assert_int_equal(lt_host(r.comm, run, &(job){.number = i, .polls = 1}, sizeof(job)), LT_OK);
        assert_int_equal(sem_wait(&begun), 0); /* by the queue's thread */
        assert_int_equal(lt_sync(r.comm), LT_OK);
        assert_int_equal(ran, 1);
        assert_int_equal(ended, LT_BACKOFF_WAITER);
        close_rig(&r);
    }
    assert_true(now() - began < 20); /* not one of them ran out */
}

/* What runs is told to end, what has not begun never runs, and the caller's error stays. */
static void cancelling(void **state)
{
    rig r;
    (void)state;
    open_rig(&r, &lt_backend_cpu);
    assert_int_equal(lt_host(r.comm, run, &(job){.number = 1, .polls = 1}, sizeof(job)), LT_OK);
    assert_int_equal(lt_host(r.comm, run, &(job){.number = 2}, sizeof(job)), LT_OK);
    assert_int_equal(sem_wait(&begun), 0);
    (void)lt_fail(LT_EDEVICE, __FILE__, __LINE__, "why it is given up");
    lt_cancel(r.comm);
    assert_string_equal(lt_error_text(), "why it is given up");
    assert_int_equal(ended, LT_BACKOFF_CANCELLED);
    assert_int_equal(ran, 1);
    assert_int_equal(lt_sync(r.comm), LT_EPEER);
    lt_error_clear();
    close_rig(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),     cmocka_unit_test(beside_the_main_thread),
        cmocka_unit_test(memory_waits), cmocka_unit_test(failures),
        cmocka_unit_test(back_off),     cmocka_unit_test(cancelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
