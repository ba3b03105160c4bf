/* test_kernels_far.c - the tests' device must catch what a GPU would punish.
 * Goal: its memory cannot be followed; uploads read late and downloads write late; events order
 * queues and nothing else does; released memory becomes NaN after the work that was queued before;
 * layers may be freed while their work is queued. Method: small programs with the mistake and
 * without it, under many seeds: without it the result is always right, with it some seed shows it.
 * Ranks: 1. Needs: nothing. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel_test.h"

enum { SEEDS = 30 };

typedef struct {
    lt_arena *arena;
    lt_queue *compute, *comm, *copy;
} device;

static void open_device(device *d, uint64_t seed)
{
    KT_OK(lt_backend_open(&lt_backend_far, 0, 1));
    lt_far_seed(seed);
    KT_OK(lt_arena_new("far", lt_backend_far.memory, 1 << 16, &d->arena));
    KT_OK(lt_backend_far.queue_open(LT_QUEUE_COMPUTE, &d->compute));
    KT_OK(lt_backend_far.queue_open(LT_QUEUE_COMM, &d->comm));
    KT_OK(lt_backend_far.queue_open(LT_QUEUE_COPY, &d->copy));
}

static void close_device(device *d)
{
    lt_backend_far.queue_close(&d->copy);
    lt_backend_far.queue_close(&d->compute);
    lt_backend_far.queue_close(&d->comm);
    lt_arena_free(&d->arena);
    lt_backend_far.close();
}

static lt_tensor fresh(device *d, const char *name)
{
    lt_tensor x;
    KT_OK(lt_tensor_new(d->arena, name, LT_F32, &x, LT_DIMS(4)));
    return x;
}

static int is(const float *v, float wanted)
{
    return v[0] == wanted && v[1] == wanted && v[2] == wanted && v[3] == wanted;
}

static void memory_cannot_be_followed(void **state)
{
    (void)state;
    device d;
    open_device(&d, 0);
    const lt_tensor x = fresh(&d, "x");
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile char *)x.data = 1;
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
    close_device(&d);
}

static void fresh_memory_is_nan(void **state)
{
    (void)state;
    device d;
    float host[4] = {0};
    open_device(&d, 0);
    const lt_tensor x = fresh(&d, "x");
    KT_OK(lt_download(d.compute, host, &x));
    KT_OK(lt_sync(d.compute));
    for (int i = 0; i < 4; i++)
        assert_true(isnan(host[i]));
    close_device(&d);
}

/* The host changes its memory before, or after, the queue has passed. */
static int changed_source(uint64_t seed, int early)
{
    device d;
    float from[4] = {3, 3, 3, 3}, to[4] = {0};
    open_device(&d, seed);
    const lt_tensor x = fresh(&d, "x");
    KT_OK(lt_upload(d.compute, &x, from));
    if (!early)
        KT_OK(lt_sync(d.compute));
    for (int i = 0; i < 4; i++)
        from[i] = 9;
    KT_OK(lt_download(d.compute, to, &x));
    KT_OK(lt_sync(d.compute));
    close_device(&d);
    return is(to, 3);
}

/* The host reads a download before, or after, the sync. */
static int read_download(uint64_t seed, int early)
{
    device d;
    float from[4] = {3, 3, 3, 3}, to[4] = {0};
    open_device(&d, seed);
    const lt_tensor x = fresh(&d, "x");
    KT_OK(lt_upload(d.compute, &x, from));
    KT_OK(lt_download(d.compute, to, &x));
    if (!early)
        KT_OK(lt_sync(d.compute));
    const int right = is(to, 3);
    KT_OK(lt_sync(d.compute));
    close_device(&d);
    return right;
}

/* copy uploads, compute doubles, comm downloads; with or without the events between them. */
static int across_queues(uint64_t seed, int forgot)
{
    device d;
    float from[4] = {3, 3, 3, 3}, to[4] = {0};
    lt_event uploaded, doubled;
    open_device(&d, seed);
    lt_tensor x = fresh(&d, "x"), y = fresh(&d, "y");
    KT_OK(lt_upload(d.copy, &x, from));
    KT_OK(lt_mark_event(d.copy, &uploaded));
    if (forgot != 1)
        KT_OK(lt_wait(d.compute, &uploaded));
    KT_OK(lt_axpby(d.compute, 2, &x, 0, &y));
    KT_OK(lt_mark_event(d.compute, &doubled));
    if (forgot != 2)
        KT_OK(lt_wait(d.comm, &doubled));
    KT_OK(lt_download(d.comm, to, &y));
    KT_OK(lt_sync(d.comm));
    const int right = is(to, 6);
    close_device(&d);
    return right;
}

static int forgot_first_wait(uint64_t seed, int wrong)
{
    return across_queues(seed, wrong ? 1 : 0);
}
static int forgot_second_wait(uint64_t seed, int wrong)
{
    return across_queues(seed, wrong ? 2 : 0);
}

/* A result is fetched after its memory was given back, or before. */
static int read_released(uint64_t seed, int late)
{
    device d;
    float from[4] = {3, 3, 3, 3}, to[4] = {0};
    open_device(&d, seed);
    const lt_mark mark = lt_arena_mark(d.arena);
    const lt_tensor x = fresh(&d, "x");
    KT_OK(lt_upload(d.compute, &x, from));
    if (!late)
        KT_OK(lt_download(d.compute, to, &x));
    lt_arena_release(d.arena, mark);
    if (late)
        KT_OK(lt_download(d.compute, to, &x));
    KT_OK(lt_sync(d.compute));
    close_device(&d);
    return is(to, 3);
}

/* comm still reads x when x is given back and taken again: the release makes compute wait for comm,
 * so compute's use of the new tensor is safe; the copy queue's only if it waits for compute. */
static int reuse_memory(uint64_t seed, int wrong)
{
    device d;
    float first[4] = {3, 3, 3, 3}, second[4] = {5, 5, 5, 5}, got[4] = {0}, new_got[4] = {0};
    lt_event uploaded, released, again;
    open_device(&d, seed);
    const lt_mark mark = lt_arena_mark(d.arena);
    const lt_tensor x = fresh(&d, "x");
    KT_OK(lt_upload(d.compute, &x, first));
    KT_OK(lt_mark_event(d.compute, &uploaded));
    KT_OK(lt_wait(d.comm, &uploaded));
    KT_OK(lt_download(d.comm, got, &x));
    lt_arena_release(d.arena, mark);
    const lt_tensor y = fresh(&d, "y");
    assert_ptr_equal(y.data, x.data);
    KT_OK(lt_mark_event(d.compute, &released));
    if (!wrong)
        KT_OK(lt_wait(d.copy, &released));
    KT_OK(lt_upload(d.copy, &y, second));
    KT_OK(lt_mark_event(d.copy, &again));
    KT_OK(lt_wait(d.compute, &again));
    KT_OK(lt_download(d.compute, new_got, &y));
    KT_OK(lt_sync(d.compute));
    KT_OK(lt_sync(d.comm));
    const int right = is(got, 3) && is(new_got, 5);
    close_device(&d);
    return right;
}

static void mistakes_show(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int (*run)(uint64_t seed, int wrong);
    } cases[] = {
        {"upload's source changed early", changed_source},
        {"download read before sync", read_download},
        {"compute does not wait for the upload", forgot_first_wait},
        {"comm does not wait for compute", forgot_second_wait},
        {"read after release", read_released},
        {"memory taken again without waiting", reuse_memory},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int shown = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            if (!cases[i].run(seed, 0))
                fail_msg("%s: wrong without the mistake, seed %d", cases[i].name, (int)seed);
            shown += !cases[i].run(seed, 1);
        }
        if (shown == 0)
            fail_msg("%s: no seed of %d shows it", cases[i].name, SEEDS);
    }
}

static void an_event_is_not_the_future(void **state)
{
    (void)state;
    device d;
    float one[4] = {1, 1, 1, 1}, got[4] = {0};
    lt_event event;
    open_device(&d, 1); /* the laziest order: nothing runs but what is needed */
    lt_tensor x = fresh(&d, "x"), y = fresh(&d, "y");
    KT_OK(lt_upload(d.copy, &x, one));
    KT_OK(lt_mark_event(d.copy, &event));
    KT_OK(lt_copy(d.copy, &x, &y)); /* after the mark */
    KT_OK(lt_wait(d.compute, &event));
    KT_OK(lt_download(d.compute, got, &y));
    KT_OK(lt_sync(d.compute));
    assert_true(isnan(got[0])); /* compute waited for x alone */
    KT_OK(lt_sync(d.copy));
    KT_OK(lt_download(d.compute, got, &y));
    KT_OK(lt_sync(d.compute));
    assert_true(is(got, 1));
    const lt_event happened = {NULL, 0};
    KT_OK(lt_wait(d.compute, &happened));
    KT_OK(lt_sync(d.compute));
    close_device(&d);
}

static void layers_outlive_their_release(void **state)
{
    (void)state;
    const float w[16] = {2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2};
    const lt_linear_spec s = {
        .in = 4, .out = 4, .weights = w, .weights_dtype = LT_F32, .compute = LT_F32};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        device d;
        float from[4] = {3, 3, 3, 3}, got[4] = {0};
        open_device(&d, seed);
        lt_tensor x = fresh(&d, "x"), y = fresh(&d, "y");
        const lt_mark mark = lt_arena_mark(d.arena);
        for (int again = 0; again < 2; again++) { /* the second packs where a discard is queued */
            lt_linear *l = NULL;
            KT_OK(lt_linear_prepare(&lt_backend_far, d.arena, "l", &s, &l));
            KT_OK(lt_upload(d.compute, &x, from));
            KT_OK(lt_linear_apply(d.compute, l, &x, LT_ACT_NONE, &y));
            KT_OK(lt_download(d.compute, got, &y));
            lt_linear_free(&l);
            lt_arena_release(d.arena, mark);
        }
        KT_OK(lt_sync(d.compute));
        assert_true(is(got, 6));
        close_device(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_cannot_be_followed),
        cmocka_unit_test(fresh_memory_is_nan),
        cmocka_unit_test(mistakes_show),
        cmocka_unit_test(an_event_is_not_the_future),
        cmocka_unit_test(layers_outlive_their_release),
    };
    return cmocka_run_group_tests_name("kernels_far", tests, NULL, NULL);
}
