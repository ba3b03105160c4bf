/* test_kernels_dry.c - the backend that counts.
 * Goal: flops and bytes of the ops that matter, by hand; a layer of any size runs dry without a
 * page of memory; prepared layers take what the target says; arenas record the peak. Ranks: 1.
 * Needs: nothing. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel_test.h"

static kt_rig rig;

static int open_rig(void **state)
{
    (void)state;
    rig = (kt_rig){.backend = &lt_backend_dry};
    KT_OK(lt_backend_open(&lt_backend_dry, 0, 1));
    KT_OK(lt_arena_new("dry", lt_backend_dry.memory, (size_t)1 << 40, &rig.arena)); /* 1 TiB */
    KT_OK(lt_backend_dry.queue_open(LT_QUEUE_COMPUTE, &rig.q));
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    kt_close(&rig);
    return 0;
}

static lt_tensor fresh(lt_dtype dtype, lt_dims dims)
{
    lt_tensor x;
    KT_OK(lt_tensor_new(rig.arena, "x", dtype, &x, dims));
    return x;
}

static void linear(void **state)
{
    (void)state;
    /* the released DiT's FFN at 20,000 rows: 2 * 20000 * 5376 * 28672 flops */
    const lt_linear_spec s = {
        .in = 5376, .out = 28672, .weights_dtype = LT_BF16, .has_bias = 1, .compute = LT_BF16};
    lt_dry_target(&lt_backend_ref);
    const size_t before = lt_arena_used(rig.arena);
    lt_linear *l = NULL;
    KT_OK(lt_linear_prepare(&lt_backend_dry, rig.arena, "ffn", &s, &l));
    const size_t weights = lt_backend_ref.linear_bytes(&s);
    assert_true(lt_arena_used(rig.arena) - before >= weights);
    assert_true(lt_arena_used(rig.arena) - before < weights + 4096);
    const lt_tensor x = fresh(LT_BF16, LT_DIMS(20000, 5376));
    lt_tensor y = fresh(LT_BF16, LT_DIMS(20000, 28672)), empty = y;
    lt_dry_reset();
    KT_OK(lt_linear_apply(rig.q, l, &x, LT_ACT_NONE, &y));
    KT_OK(lt_linear_apply(rig.q, l, &x, LT_ACT_NONE, &y));
    lt_tensor no_rows = x;
    no_rows.dim[0] = empty.dim[0] = 0;
    KT_OK(lt_linear_apply(rig.q, l, &no_rows, LT_ACT_NONE, &empty)); /* never reaches the backend */
    const lt_dry_counts c = lt_dry_read();
    assert_int_equal(c.calls[LT_OP_LINEAR], 2);
    assert_true(c.flops[LT_OP_LINEAR] == 2 * 2.0 * 20000 * 5376 * 28672);
    assert_true(c.bytes[LT_OP_LINEAR] ==
                2 * (2.0 * 20000 * 5376 + 2.0 * 20000 * 28672 + (double)weights));
    lt_linear_free(&l);
    assert_null(l);
    lt_dry_target(NULL);
    assert_true(lt_backend_dry.linear_bytes(&s) == lt_backend_cpu.linear_bytes(&s));
}

static void attention(void **state)
{
    (void)state;
    const lt_tensor q = fresh(LT_F32, LT_DIMS(10, 32)), k = fresh(LT_F32, LT_DIMS(8, 16));
    lt_tensor y = fresh(LT_F32, LT_DIMS(10, 32)), lse = fresh(LT_F32, LT_DIMS(4, 10));
    lt_dry_reset();
    KT_OK(lt_attention(rig.q, &q, &k, &k, 4, 2, 1, 0, 0, &y, &lse));
    assert_true(lt_dry_read().flops[LT_OP_ATTENTION] == 4.0 * 10 * 8 * 32);
    assert_true(lt_dry_read().bytes[LT_OP_ATTENTION] == 4.0 * (2 * 320 + 2 * 128 + 40));
    lt_dry_reset();
    /* queries 0..9 from -1 on see 0, 1, ..., 7, 8, 8 keys: 44 pairs */
    KT_OK(lt_attention(rig.q, &q, &k, &k, 4, 2, 1, 1, -1, &y, NULL));
    assert_true(lt_dry_read().flops[LT_OP_ATTENTION] == 4.0 * 44 * 32);
    lt_dry_reset();
    assert_true(lt_dry_read().calls[LT_OP_ATTENTION] == 0);
}

static void conv_and_rows(void **state)
{
    (void)state;
    lt_conv_spec s = {.in = 6,
                      .out = 4,
                      .kernel = {1, 1, 9},
                      .stride = {1, 1, 5},
                      .dilation = {1, 1, 1},
                      .pad_before = {0, 0, 2},
                      .pad_after = {0, 0, 2},
                      .transposed = 1};
    lt_conv *l = NULL;
    KT_OK(lt_conv_prepare(&lt_backend_dry, rig.arena, "up", &s, &l));
    const lt_tensor x = fresh(LT_F32, LT_DIMS(2, 1, 1, 7, 6));
    lt_tensor y = fresh(LT_F32, LT_DIMS(2, 1, 1, 35, 4));
    lt_dry_reset();
    KT_OK(lt_conv_apply(rig.q, l, &x, &y));
    assert_true(lt_dry_read().flops[LT_OP_CONV] == 2.0 * 14 * 6 * 4 * 9);
    assert_true(lt_dry_read().bytes[LT_OP_CONV] ==
                4.0 * (14 * 6 + 70 * 4) + (double)lt_backend_cpu.conv_bytes(&s));
    lt_conv_free(&l);
    const lt_tensor table = fresh(LT_BF16, LT_DIMS(1000, 8)), index = fresh(LT_I32, LT_DIMS(3));
    lt_tensor picked = fresh(LT_F32, LT_DIMS(3, 8));
    KT_OK(lt_gather_rows(rig.q, &table, &index, &picked)); /* 3 rows of it, not a thousand */
    assert_true(lt_dry_read().bytes[LT_OP_GATHER_ROWS] == 3 * 8 * 2 + 3 * 4 + 3 * 8 * 4);
    KT_OK(lt_axpby(rig.q, 1, &picked, 1, &picked)); /* reads x and y, writes y */
    assert_true(lt_dry_read().bytes[LT_OP_AXPBY] == 3 * 3 * 8 * 4);
}

static lt_status no_plans(lt_queue *q, lt_arena *step, const lt_op *ops, int64_t count)
{
    (void)q, (void)step, (void)ops, (void)count;
    return LT_OK;
}

static void attend_rows(int64_t queries, int64_t gap)
{
    const lt_tensor wide = fresh(LT_BF16, LT_DIMS(queries, 8 + gap));
    const lt_tensor q = lt_view_columns(&wide, (lt_range){0, 8}), k = fresh(LT_BF16, LT_DIMS(6, 8));
    lt_tensor y = fresh(LT_BF16, LT_DIMS(queries, 8));
    KT_OK(lt_attention(rig.q, &q, &k, &k, 2, 2, 1, 0, 0, &y, NULL));
}

/* What a backend can be told of attention that will come: each shape once, and none for who does
 * not ask. */
static void lists_attention(void **state)
{
    (void)state;
    lt_backend asks = lt_backend_ref;
    asks.expect = no_plans;
    int64_t count = -1;
    lt_dry_attention_reset();
    assert_false(lt_dry_lists_attention());
    attend_rows(4, 0);
    (void)lt_dry_attention(&count);
    assert_int_equal(count, 0);
    lt_dry_target(&asks);
    assert_true(lt_dry_lists_attention());
    for (int i = 0; i < 3; i++) {
        attend_rows(4, 0);
        attend_rows(4, 8); /* rows lie apart */
        attend_rows(5, 0);
    }
    const lt_op *ops = lt_dry_attention(&count);
    assert_int_equal(count, 3);
    assert_int_equal(ops[1].in[0].row_stride, 16);
    assert_int_equal(lt_row_count(&ops[2].in[0]), 5);
    lt_dry_attention_reset();
    (void)lt_dry_attention(&count);
    assert_int_equal(count, 0);
    lt_dry_target(NULL);
}

static void order_costs_nothing(void **state)
{
    (void)state;
    lt_tensor x = fresh(LT_F32, LT_DIMS(4));
    float host[4] = {1, 2, 3, 4};
    lt_event event;
    lt_dry_reset();
    KT_OK(lt_upload(rig.q, &x, host));
    KT_OK(lt_mark_event(rig.q, &event));
    KT_OK(lt_wait(rig.q, &event));
    KT_OK(lt_download(rig.q, host, &x));
    KT_OK(lt_sync(rig.q));
    assert_true(host[0] == 1 && host[3] == 4); /* a download leaves host memory as it is */
    for (int i = 0; i < LT_OP_COUNT; i++)
        assert_int_equal(lt_dry_read().calls[i], 0);
}

static void touching_memory_ends_the_process(void **state)
{
    (void)state;
    const lt_tensor x = fresh(LT_F32, LT_DIMS(4));
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        _exit(*(volatile char *)x.data);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear),
        cmocka_unit_test(attention),
        cmocka_unit_test(conv_and_rows),
        cmocka_unit_test(lists_attention),
        cmocka_unit_test(order_costs_nothing),
        cmocka_unit_test(touching_memory_ends_the_process),
    };
    return cmocka_run_group_tests_name("kernels_dry", tests, open_rig, close_rig);
}
