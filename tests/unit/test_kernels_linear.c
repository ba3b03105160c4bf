/* test_kernels_linear.c - prepared linear layers of cpu and far against ref.
 * Goal: every pairing of weights', arithmetic's and output's dtype, odd sizes, empty sizes (a rank
 * that holds no head), strided views, bias and activation; the same bits for a row whatever rows
 * come with it and however many threads work. Method: kernel_test.h. Ranks: 1. Needs: nothing.
 *
 * Tolerance: kernels.h's, 2e-6 of the largest |y| per 1,000 of `in`, at least 2e-6; a bf16 output
 * may be one ulp off where it lies near a tie. */
#include "kernel_test.h"

typedef struct {
    const char *name;
    int64_t rows, in, out, gap;
    lt_dtype weights, compute, y;
    int bias;
    lt_activation activation;
} layer;

static const layer layers[] = {
    {"one of all", 1, 1, 1, 0, LT_F32, LT_F32, LT_F32, 1, LT_ACT_NONE},
    {"no rows", 0, 8, 8, 0, LT_F32, LT_F32, LT_F32, 1, LT_ACT_NONE},
    {"no inputs: the bias", 4, 0, 9, 0, LT_F32, LT_F32, LT_F32, 1, LT_ACT_SILU},
    {"no inputs, no bias: zero", 4, 0, 9, 0, LT_F32, LT_F32, LT_F32, 0, LT_ACT_NONE},
    {"no inputs, bf16", 4, 0, 9, 0, LT_BF16, LT_BF16, LT_BF16, 1, LT_ACT_NONE},
    {"no outputs", 4, 9, 0, 0, LT_F32, LT_F32, LT_F32, 1, LT_ACT_NONE},
    {"odd, strided", 7, 37, 53, 3, LT_F32, LT_F32, LT_F32, 1, LT_ACT_NONE},
    {"rows past every tile", 131, 64, 48, 0, LT_F32, LT_F32, LT_F32, 0, LT_ACT_SILU},
    {"deep: several blocks", 5, 1100, 35, 0, LT_F32, LT_F32, LT_F32, 1, LT_ACT_GELU_TANH},
    {"wide: several panels", 3, 40, 1037, 0, LT_F32, LT_F32, LT_F32, 1, LT_ACT_GELU_ERF},
    {"bf16 weights, f32 sums", 19, 130, 70, 0, LT_BF16, LT_F32, LT_F32, 1, LT_ACT_NONE},
    {"f32 into bf16", 19, 130, 70, 1, LT_F32, LT_F32, LT_BF16, 1, LT_ACT_NONE},
    {"bf16", 19, 130, 70, 0, LT_BF16, LT_BF16, LT_BF16, 0, LT_ACT_NONE},
    {"bf16, bias and SiLU", 67, 257, 65, 5, LT_BF16, LT_BF16, LT_BF16, 1, LT_ACT_SILU},
    {"bf16 into f32", 9, 96, 33, 0, LT_BF16, LT_BF16, LT_F32, 1, LT_ACT_NONE},
    {"f32 weights rounded to bf16", 9, 96, 33, 0, LT_F32, LT_BF16, LT_F32, 1, LT_ACT_NONE},
    {"large", 200, 512, 384, 0, LT_F32, LT_F32, LT_F32, 1, LT_ACT_NONE},
};

static void run_linear(kt_rig *r, const void *arg)
{
    const layer *c = arg;
    const int64_t count = c->in * c->out;
    float *w = kt_normals(r, 100, count, 1), *b = kt_normals(r, 101, c->out, 1);
    void *cast = malloc((size_t)(count + 1) * sizeof(float));
    assert_non_null(cast);
    lt_convert(w, LT_F32, cast, c->weights, (size_t)count);
    const lt_linear_spec spec = {.in = c->in,
                                 .out = c->out,
                                 .weights = cast,
                                 .weights_dtype = c->weights,
                                 .bias = c->bias ? b : NULL,
                                 .has_bias = c->bias,
                                 .compute = c->compute};
    lt_linear *l = NULL;
    KT_OK(lt_linear_prepare(r->backend, r->arena, "layer", &spec, &l));
    memset(cast, 0xff, (size_t)count * sizeof(float)); /* packed: the caller's copy may go */
    free(cast);
    free(w);
    free(b);
    lt_tensor *x = kt_take(r, "x", KT_IN, c->compute, LT_DIMS(c->rows, c->in), c->gap, 1);
    lt_tensor *y = kt_take(r, "y", KT_OUT, c->y, LT_DIMS(c->rows, c->out), c->gap, 1);
    lt_range range[KT_PARTS_MAX];
    const int parts = kt_parts(r, c->rows, range);
    for (int p = 0; p < parts; p++) {
        const lt_tensor vx = lt_view_outer(x, range[p]);
        lt_tensor vy = lt_view_outer(y, range[p]);
        KT_OK(lt_linear_apply(r->q, l, &vx, c->activation, &vy));
    }
    lt_linear_free(&l); /* queued work keeps what it needs */
    assert_null(l);
}

static void agrees_with_ref(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const double f32 = 2e-6 * fmax(1, (double)layers[i].in / 1000);
        kt_case(layers[i].name, run_linear, &layers[i], (kt_tol){f32, 1.01, 1e-2});
    }
}

/* x and y may have any leading dims. */
static void run_leading_dims(kt_rig *r, const void *arg)
{
    (void)arg;
    float *w = kt_normals(r, 100, 6 * 5, 1);
    const lt_linear_spec spec = {
        .in = 6, .out = 5, .weights = w, .weights_dtype = LT_F32, .compute = LT_F32};
    lt_linear *l = NULL;
    KT_OK(lt_linear_prepare(r->backend, r->arena, "layer", &spec, &l));
    free(w);
    const lt_tensor *x = kt_take(r, "x", KT_IN, LT_F32, LT_DIMS(2, 3, 4, 6), 0, 1);
    lt_tensor *y = kt_take(r, "y", KT_OUT, LT_F32, LT_DIMS(24, 5), 0, 1);
    KT_OK(lt_linear_apply(r->q, l, x, LT_ACT_NONE, y));
    lt_linear_free(&l);
}

static void takes_leading_dims(void **state)
{
    (void)state;
    kt_case("[2, 3, 4, 6] -> [24, 5]", run_leading_dims, NULL, (kt_tol){2e-6, 0, 0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_ref),
                                       cmocka_unit_test(takes_leading_dims)};
    return cmocka_run_group_tests_name("kernels_linear", tests, NULL, NULL);
}
