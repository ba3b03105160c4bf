/* test_comm_solo.c - every collective on one rank without MPI, and what dry counts.
 * Goal: solo gives what a group of one must give, in f32 and bf16, on cpu and far; failures pass
 * lt_agree unchanged. Method: against the input itself. Ranks: 1. Needs: no launcher. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "parallel/context.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/traffic.h"
#include "parallel/transport/transport_impl.h"
#include "parallel/world.h"
#include "tests/support/alone.h"

/* Under a launcher the world is another: tests/ranks is for that. */
static int setup(void **state)
{
    const int failed = alone_setup(state);
    return failed == 0 && strcmp(lt_group_transport(world), "solo") == 0 ? 0 : -1;
}

static void host_collectives(void **state)
{
    (void)state;
    char data[] = "abcdef", all[8] = {0};
    char *text = data;
    size_t bytes = 6;
    OK(lt_broadcast(world, 0, data, sizeof data));
    OK(lt_broadcast_text(world, 0, &text, &bytes));
    assert_ptr_equal(text, data);
    OK(lt_barrier(world));
    OK(lt_all_gather_host(world, data, 6, all));
    assert_string_equal(all, "abcdef");
    OK(lt_all_gather_host(world, NULL, 0, NULL));
    OK(lt_all_gather_ranges(world, data, 2, (lt_range[]){{0, 3}}));
    assert_string_equal(data, "abcdef");
    assert_int_equal(lt_traffic_read().calls, 0);
}

static void exchange_with_oneself(void **state)
{
    (void)state;
    int a = 1, b = 2, c = 0, d = 0;
    const lt_transfer list[] = {{.peer = 0, .send = &a, .send_bytes = sizeof a},
                                {.peer = 0, .recv = &c, .recv_bytes = sizeof c},
                                {.peer = 0}, /* nothing either way */
                                {0, &b, sizeof b, &d, sizeof d}};
    OK(lt_exchange(world, list, 4, NULL)); /* the k-th send meets the k-th receive */
    assert_int_equal(c, 1);
    assert_int_equal(d, 2);
    OK(lt_exchange(world, NULL, 0, NULL));
    lt_request *request = NULL;
    OK(lt_request_wait(&request)); /* no request at all: done */
}

static void agreement(void **state)
{
    (void)state;
    lt_status first = LT_EIO;
    OK(lt_agree(world, LT_OK));
    assert_false(lt_agreed_failure(&first));
    (void)lt_fail(LT_EDATA, "file", 1, "the words");
    assert_int_equal(lt_agree(world, LT_EDATA), LT_EDATA);
    assert_true(lt_agreed_failure(&first));
    assert_int_equal(first, LT_EDATA);
    assert_string_equal(lt_error_text(), "the words");
    OK(lt_agree(world, LT_OK));
    assert_false(lt_agreed_failure(&first)); /* the last one counts */
    lt_world_abort(3);                       /* returns on solo */
}

static const struct {
    const lt_backend *backend;
    lt_dtype dtype;
    int64_t rows;
} cases[] = {
    {&lt_backend_cpu, LT_F32, 5}, {&lt_backend_cpu, LT_BF16, 5}, {&lt_backend_cpu, LT_F32, 0},
    {&lt_backend_far, LT_F32, 5}, {&lt_backend_far, LT_BF16, 5}, {&lt_backend_far, LT_F32, 0},
};

/* x goes through the collective and comes back; sums of one part in f32 are the part. */
static void one_device_case(const lt_backend *backend, lt_dtype dtype, int64_t rows)
{
    enum { WIDTH = 6, HEAD = 3, ROOM = 64 };
    lt_engine e;
    lt_tensor x, y, z;
    lt_event after, done;
    unsigned char in[ROOM * 4], out[ROOM * 4];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)(i % 4 == 3 || i % 2 == 1 ? 63 : i); /* no NaN in either dtype */
    OK(lt_engine_open(backend, 0, 1, &mesh, 0, 1 << 16, &e));
    OK(lt_tensor_new(e.step, "x", dtype, &x, LT_DIMS(rows, WIDTH)));
    OK(lt_tensor_new(e.step, "y", dtype, &y, LT_DIMS(rows, WIDTH)));
    OK(lt_tensor_new(e.step, "z", dtype, &z, LT_DIMS(rows, WIDTH)));
    OK(lt_upload(e.compute, &x, in));
    OK(lt_mark_event(e.compute, &after));
    OK(lt_all_gather_rows(&e, world, &after, &x, &rows, &y, &done));
    const lt_range all_rows = {0, rows}, heads = {0, WIDTH / HEAD};
    OK(lt_all_to_all_heads(&e, world, NULL, &y, &all_rows, &heads, HEAD, &z, NULL));
    OK(lt_all_to_all_rows(&e, world, NULL, &z, &all_rows, &heads, HEAD, &y, &done));
    if (dtype == LT_F32) {
        OK(lt_all_reduce(&e, world, NULL, &y, &z, &done));
        y = z;
    }
    OK(lt_wait(e.compute, &done));
    memset(out, 0, sizeof out);
    OK(lt_download(e.compute, out, &y));
    OK(lt_sync(e.compute));
    if (memcmp(in, out, lt_tensor_bytes(&y)) != 0)
        fail_msg("%s: %lld rows came back otherwise", backend->name, (long long)rows);
    lt_engine_close(&e);
    lt_engine_close(&e); /* an empty engine is allowed */
}

static void device_collectives(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        one_device_case(cases[i].backend, cases[i].dtype, cases[i].rows);
}

static void engine_too_large(void **state)
{
    (void)state;
    lt_engine e;
    assert_int_equal(lt_engine_open(&lt_backend_cpu, 0, 1, &mesh, 1 << 10, SIZE_MAX, &e),
                     LT_ENOMEM);
    assert_null(e.backend);
    lt_engine_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_collectives), cmocka_unit_test(exchange_with_oneself),
        cmocka_unit_test(agreement),        cmocka_unit_test(device_collectives),
        cmocka_unit_test(engine_too_large),
    };
    return cmocka_run_group_tests_name("comm_solo", tests, setup, alone_teardown);
}
