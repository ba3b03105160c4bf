/* test_cpu_isa.c - the cpu backend's other paths: narrower instruction sets, and oneDNN.
 * Goal: each set of inner loops that this machine can run agrees with ref, not only the widest;
 * what two sets with fused multiply-adds give for a product is the same bits; layers through oneDNN
 * (on this machine perhaps taken for bf16 only, so it is forced here, in f32) agree with ref, and a
 * row's bits don't depend on rows and threads there either. Method: kernel_test.h. Ranks: 1. Needs:
 * nothing.
 *
 * Tolerance: as in test_kernels_*.c: 2e-6 of the largest |y| per 1,000 products, at least 2e-6;
 * attention 4e-6; bf16 one ulp near a tie. */
#include "kernel_test.h"

#include "kernels/cpu/linear_dnnl.h"

typedef struct shape {
    const char *name;
    int64_t rows, in, out, gap;
    lt_dtype dtype;
    lt_activation activation;
} shape;

static const shape shapes[] = {
    {"one row", 1, 40, 24, 0, LT_F32, LT_ACT_NONE},
    {"tails of rows, columns and depth", 27, 301, 71, 3, LT_F32, LT_ACT_SILU},
    {"two blocks of rows", 130, 70, 33, 0, LT_F32, LT_ACT_GELU_TANH},
    {"more than one block of columns", 9, 64, 530, 0, LT_F32, LT_ACT_NONE},
    {"bf16", 27, 301, 71, 3, LT_BF16, LT_ACT_SILU},
};

static void run_linear(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    float *w = kt_normals(r, 100, c->in * c->out, 1), *b = kt_normals(r, 101, c->out, 1);
    const lt_linear_spec spec = {.in = c->in,
                                 .out = c->out,
                                 .weights = w,
                                 .weights_dtype = LT_F32,
                                 .bias = b,
                                 .has_bias = 1,
                                 .compute = c->dtype};
    lt_linear *l = NULL;
    KT_OK(lt_linear_prepare(r->backend, r->arena, "layer", &spec, &l));
    free(w);
    free(b);
    lt_tensor *x = kt_take(r, "x", KT_IN, c->dtype, LT_DIMS(c->rows, c->in), c->gap, 1);
    lt_tensor *y = kt_take(r, "y", KT_OUT, c->dtype, LT_DIMS(c->rows, c->out), c->gap, 1);
    lt_range range[KT_PARTS_MAX];
    const int parts = kt_parts(r, c->rows, range);
    for (int p = 0; p < parts; p++) {
        const lt_tensor vx = lt_view_outer(x, range[p]);
        lt_tensor vy = lt_view_outer(y, range[p]);
        KT_OK(lt_linear_apply(r->q, l, &vx, c->activation, &vy));
    }
    lt_linear_free(&l);
}

static void run_attention(kt_rig *r, const void *arg)
{
    const shape *c = arg; /* rows queries and in keys, 2 heads of 40 over 1 */
    const lt_tensor *q = kt_take(r, "q", KT_IN, c->dtype, LT_DIMS(c->rows, 80), c->gap, 1);
    const lt_tensor *k = kt_take(r, "k", KT_IN, c->dtype, LT_DIMS(c->in, 40), c->gap, 1);
    const lt_tensor *v = kt_take(r, "v", KT_IN, c->dtype, LT_DIMS(c->in, 40), c->gap, 1);
    lt_tensor *y = kt_take(r, "y", KT_OUT, c->dtype, LT_DIMS(c->rows, 80), c->gap, 1);
    KT_OK(lt_attention(r->q, q, k, v, 2, 1, 0.158f, 1, c->in - c->rows, y, NULL));
}

static void run_rows(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    const lt_tensor *x = kt_take(r, "x", KT_IN, c->dtype, LT_DIMS(c->rows, c->in), c->gap, 1);
    const lt_tensor *w = kt_take(r, "w", KT_IN, c->dtype, LT_DIMS(c->in), 0, 1);
    lt_tensor *y = kt_take(r, "y", KT_OUT, c->dtype, LT_DIMS(c->rows, c->in), c->gap, 1);
    lt_tensor *z = kt_take(r, "z", KT_OUT, c->dtype, LT_DIMS(c->rows, c->in), c->gap, 1);
    lt_tensor *s = kt_take(r, "s", KT_OUT, LT_F32, LT_DIMS(c->rows, c->in), c->gap, 1);
    KT_OK(lt_rms_norm(r->q, x, w, 1e-6f, LT_ROUND_TWICE, y));
    KT_OK(lt_activate(r->q, x, LT_ACT_GELU_TANH, z));
    KT_OK(lt_axpby(r->q, 0.75f, x, 0, s));
}

static void run_audio(kt_rig *r, const void *arg)
{
    (void)arg; /* odd channels, longer than a tile of the anti-aliased snake */
    float *w = kt_normals(r, 100, 5 * 7 * 11, 0.2f);
    const lt_conv_spec spec = {.in = 5,
                               .out = 7,
                               .kernel = {1, 1, 11},
                               .stride = {1, 1, 1},
                               .dilation = {1, 1, 3},
                               .pad_before = {0, 0, 15},
                               .pad_after = {0, 0, 15},
                               .weights = w};
    lt_conv *conv = NULL;
    KT_OK(lt_conv_prepare(r->backend, r->arena, "layer", &spec, &conv));
    free(w);
    const lt_tensor *x = kt_take(r, "x", KT_IN, LT_F32, LT_DIMS(2, 1, 1, 1300, 5), 0, 1);
    const lt_tensor *a = kt_take(r, "alpha", KT_IN, LT_F32, LT_DIMS(7), 0, 0.5f);
    const lt_tensor *b = kt_take(r, "beta", KT_IN, LT_F32, LT_DIMS(7), 0, 0.5f);
    const lt_tensor *up = kt_take(r, "up", KT_IN, LT_F32, LT_DIMS(12), 0, 0.3f);
    const lt_tensor *down = kt_take(r, "down", KT_IN, LT_F32, LT_DIMS(12), 0, 0.3f);
    lt_tensor *y = kt_take(r, "y", KT_OUT, LT_F32, LT_DIMS(2, 1, 1, 1300, 7), 0, 1);
    lt_tensor *z = kt_take(r, "z", KT_OUT, LT_F32, LT_DIMS(2, 1300, 7), 0, 1);
    KT_OK(lt_conv_apply(r->q, conv, x, y));
    const lt_tensor flat = lt_view_as(y, LT_DIMS(2, 1300, 7));
    KT_OK(lt_snake_aa(r->q, &flat, a, b, up, down, z));
    lt_conv_free(&conv);
}

/* Against ref on two threads; the whole comparison of kt_case is the other tests' work. */
static void near_ref(const char *what, void (*run)(kt_rig *, const void *), const void *c,
                     kt_tol tol)
{
    kt_rig ref, got;
    kt_run_on(&ref, &lt_backend_ref, 1, 1, what, run, c);
    kt_run_on(&got, &lt_backend_cpu, 2, 1, what, run, c);
    kt_agree(&ref, &got, tol, what);
    kt_forget(&ref);
    kt_forget(&got);
}

static void each_set_agrees_with_ref(void **state)
{
    (void)state;
    int ran = 0;
    for (int s = 0; s < ISA_COUNT; s++) {
        if (!isa_take(s))
            continue; /* not on this machine, or not in this build */
        ran++;
        assert_string_equal(lt_cpu_isa_now()->name, isa_names[s]);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            near_ref(shapes[i].name, run_linear, &shapes[i], (kt_tol){2e-6, 1.01, 2e-2});
            near_ref(shapes[i].name, run_attention, &shapes[i], (kt_tol){4e-6, 1.01, 1});
            near_ref(shapes[i].name, run_rows, &shapes[i], (kt_tol){2e-6, 1.01, 2e-2});
        }
        near_ref("sound", run_audio, NULL, (kt_tol){1e-5, 0, 0}); /* a snake of a convolution */
    }
    assert_true(ran >= 1); /* plain runs anywhere */
    KT_OK(lt_cpu_isa_set("auto"));
}

static void sets_with_fma_give_the_same_products(void **state)
{
    (void)state;
    kt_rig narrow, wide;
    if (lt_cpu_isa_set("avx512") != LT_OK) {
        print_message("skipped: needs AVX-512\n");
        skip();
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        shape c = shapes[i];
        c.activation = LT_ACT_NONE;
        KT_OK(lt_cpu_isa_set("avx512"));
        kt_run_on(&wide, &lt_backend_cpu, 2, 1, c.name, run_linear, &c);
        KT_OK(lt_cpu_isa_set("avx2"));
        kt_run_on(&narrow, &lt_backend_cpu, 2, 1, c.name, run_linear, &c);
        if (c.dtype == LT_F32) /* bf16 may go through oneDNN */
            kt_same_bits(&narrow, &wide, c.name, "with AVX-512 than with AVX2");
        kt_forget(&narrow);
        kt_forget(&wide);
    }
    KT_OK(lt_cpu_isa_set("auto"));
}

static void unknown_set_is_refused(void **state)
{
    (void)state;
    assert_int_equal(lt_cpu_isa_set("avx3"), LT_EUNAVAIL);
    assert_non_null(strstr(lt_error_text(), "avx3"));
}

/* Whichever set was asked about first: the answer belongs to the set in use. */
static void bf16_goes_to_dnnl_where_the_processor_multiplies_it(void **state)
{
    (void)state;
    const lt_linear_spec spec = {.in = 64, .out = 64, .compute = LT_BF16};
    KT_OK(lt_cpu_isa_set("plain"));
    assert_false(lt_cpu_has_bf16());
    assert_false(lt_cpu_dnnl_takes(&spec));
    KT_OK(lt_cpu_isa_set("auto"));
    print_message("bf16 here: %s\n", lt_cpu_has_bf16() ? "the processor's, by oneDNN" : "widened");
    assert_int_equal(lt_cpu_dnnl_takes(&spec), lt_cpu_has_bf16());
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        shape c = shapes[i];
        c.dtype = LT_BF16;
        if (c.activation == LT_ACT_GELU_TANH) /* cancels: roundings before it show behind it */
            c.activation = LT_ACT_NONE;
        kt_case(c.name, run_linear, &c, (kt_tol){2e-6, 1.01, 2e-2});
    }
}

static void dnnl_agrees_with_ref(void **state)
{
    (void)state;
    lt_cpu_dnnl_force(1);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (shapes[i].dtype == LT_F32)
            kt_case(shapes[i].name, run_linear, &shapes[i], (kt_tol){2e-6, 0, 0});
    lt_cpu_dnnl_force(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_set_agrees_with_ref),
        cmocka_unit_test(sets_with_fma_give_the_same_products),
        cmocka_unit_test(unknown_set_is_refused),
        cmocka_unit_test(bf16_goes_to_dnnl_where_the_processor_multiplies_it),
        cmocka_unit_test(dnnl_agrees_with_ref),
    };
    return cmocka_run_group_tests_name("cpu_isa", tests, NULL, NULL);
}
