/* test_kernels_checked.c - what the checked ops refuse, and how backends are found and opened.
 * Goal: each refusal is LT_ESHAPE with op, argument, wanted and found, nothing is queued or
 * written; an incomplete backend is refused with the list of what it lacks; lt_conv_length is
 * torch's formula. Method: a table of calls on ref. Ranks: 1. Needs: nothing. */
#include "kernel_test.h"

static kt_rig rig;
static lt_tensor f45, f46, f5, f4, b45, b4, i4, i5, f345, f22, five, narrow, none, negative;

static lt_tensor fresh(const char *name, lt_dtype dtype, lt_dims dims)
{
    lt_tensor x;
    KT_OK(lt_tensor_new(rig.arena, name, dtype, &x, dims));
    return x;
}

static int open_rig(void **state)
{
    (void)state;
    kt_open(&rig, &lt_backend_ref, 1, 1, 1);
    f45 = fresh("f45", LT_F32, LT_DIMS(4, 5));
    f46 = fresh("f46", LT_F32, LT_DIMS(4, 6));
    f5 = fresh("f5", LT_F32, LT_DIMS(5));
    f4 = fresh("f4", LT_F32, LT_DIMS(4));
    b45 = fresh("b45", LT_BF16, LT_DIMS(4, 5));
    b4 = fresh("b4", LT_BF16, LT_DIMS(4));
    i4 = fresh("i4", LT_I32, LT_DIMS(4));
    i5 = fresh("i5", LT_I32, LT_DIMS(5));
    f345 = fresh("f345", LT_F32, LT_DIMS(3, 4, 5));
    f22 = fresh("f22", LT_F32, LT_DIMS(2, 2));
    five = fresh("five", LT_F32, LT_DIMS(1, 2, 3, 4, 5));
    narrow = f45;
    narrow.row_stride = 4;
    none = (lt_tensor){0};
    negative = f45;
    negative.dim[0] = -1;
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    kt_close(&rig);
    return 0;
}

/* The call fails so, and its message has all the words. */
#define REFUSED(call, ...) refused((call), #call, (const char *[]){__VA_ARGS__, NULL})

static void refused(lt_status status, const char *call, const char **words)
{
    if (status != LT_ESHAPE)
        fail_msg("%s: %s, wanted LT_ESHAPE", call, lt_status_name(status));
    for (; *words != NULL; words++)
        if (strstr(lt_error_text(), *words) == NULL)
            fail_msg("%s: \"%s\" lacks \"%s\"", call, lt_error_text(), *words);
}

static void descriptions(void **state)
{
    (void)state;
    lt_queue *q = rig.q;
    lt_tensor nowhere = f45, strange = f45;
    nowhere.data = NULL;
    strange.dtype = LT_DTYPE_COUNT;
    REFUSED(lt_copy(q, &none, &f45), "copy: x", "1 to 5 dims", "found 0");
    REFUSED(lt_copy(q, &f45, NULL), "copy: y", "found none");
    REFUSED(lt_copy(q, &negative, &f45), "copy: x", "dim 0", "found -1");
    REFUSED(lt_copy(q, &narrow, &f45), "copy: x", "5 or more", "found 4");
    REFUSED(lt_copy(q, &nowhere, &f45), "copy: x", "address");
    REFUSED(lt_copy(q, &strange, &f45), "copy: x", "dtype");
}

static void rows(void **state)
{
    (void)state;
    lt_queue *q = rig.q;
    REFUSED(lt_copy(q, &f45, &f46), "copy: y", "4 rows of 5", "[4, 6] F32");
    REFUSED(lt_copy(q, &i4, &f4), "copy: y", "I32 to F32");
    REFUSED(lt_fill(q, &i4, 1), "fill: y", "F32 or BF16 or F16", "[4] I32");
    REFUSED(lt_axpby(q, 1, &f45, 1, &f46), "axpby: y");
    REFUSED(lt_axpby(q, 1, &i4, 1, &f4), "axpby: x", "F32 or BF16", "[4] I32");
    REFUSED(lt_mul(q, &f45, &b45), "mul: y", "F32", "[4, 5] BF16");
    REFUSED(lt_scale_add(q, &f45, &f4, &f45), "scale_add: scale", "want 5", "[4] F32");
    REFUSED(lt_activate(q, &f45, LT_ACT_SILU, &f46), "activate: y");
    REFUSED(lt_clamp(q, &f45, 1, 0, &f45), "clamp", "lo <= hi");
    REFUSED(lt_clamp(q, &f45, NAN, 0, &f45), "clamp", "lo <= hi");
    REFUSED(lt_swiglu(q, &f45, &f4), "swiglu: x", "even", "found 5");
    REFUSED(lt_swiglu(q, &f46, &f45), "swiglu: y", "4 rows of 3", "[4, 5]");
    REFUSED(lt_gather_rows(q, &f45, &i5, &f45), "gather_rows: index", "want 4", "[5] I32");
    REFUSED(lt_gather_rows(q, &f45, &f4, &f45), "gather_rows: index", "I32", "[4] F32");
    REFUSED(lt_gather_rows(q, &f45, &i4, &f46), "gather_rows: y", "rows of 5");
    REFUSED(lt_scatter_rows(q, &f45, &i5, &f45), "scatter_rows: index", "want 4");
    REFUSED(lt_sum_parts(q, &f345, &f46), "sum_parts: y", "4 rows of 5", "[4, 6]");
    REFUSED(lt_sum_parts(q, &f5, &f5), "sum_parts: x", "[P, S, E]");
}

static void norms(void **state)
{
    (void)state;
    lt_queue *q = rig.q;
    const lt_tensor *table = &f345, *i = &i4;
    REFUSED(lt_rms_norm(q, &f45, &f4, 0, LT_ROUND_ONCE, &f45), "rms_norm: w", "want 5", "[4]");
    REFUSED(lt_rms_norm(q, &f45, &i5, 0, LT_ROUND_ONCE, &f45), "rms_norm: w", "I32");
    REFUSED(lt_layer_norm(q, &f45, &f5, &f4, 0, &f45), "layer_norm: b", "want 5", "[4]");
    REFUSED(lt_group_norm(q, &f345, &f5, &f5, 2, 0, LT_ACT_NONE, &f345), "group_norm: x",
            "2 groups");
    REFUSED(lt_group_norm(q, &f45, &f5, &f5, 1, 0, LT_ACT_NONE, &f45), "group_norm: x", "2 dims");
    REFUSED(lt_norm_modulate(q, &f45, &f5, 0, table, i, 1, 0, &f45), "norm_modulate: shift_column",
            "table of 5", "first 1");
    REFUSED(lt_norm_modulate(q, &f45, &f5, 0, table, i, 0, -1, &f45),
            "norm_modulate: scale_column");
    REFUSED(lt_norm_modulate(q, &f45, &f5, 0, table, &i5, 0, 0, &f45), "norm_modulate: index");
    REFUSED(lt_norm_modulate(q, &f45, &f5, 0, &b45, i, 0, 0, &f45), "norm_modulate: table", "BF16");
    REFUSED(lt_gate_add(q, &f45, table, i, 1, &f45), "gate_add: gate_column");
    REFUSED(lt_head_norm_rope(q, &f45, 2, NULL, 0, LT_ROUND_ONCE, NULL, NULL), "head_norm_rope: x",
            "whole heads", "5 for 2");
    REFUSED(lt_head_norm_rope(q, &f46, 2, &f4, 0, LT_ROUND_ONCE, NULL, NULL), "head_norm_rope: w",
            "want 3");
    REFUSED(lt_head_norm_rope(q, &f46, 2, NULL, 0, LT_ROUND_ONCE, &f45, &f45),
            "head_norm_rope: cos", "half a head of 3", "found 5");
    REFUSED(lt_head_norm_rope(q, &f46, 2, NULL, 0, LT_ROUND_ONCE, &f22, &f22),
            "head_norm_rope: cos", "4 rows");
}

static void attention(void **state)
{
    (void)state;
    lt_queue *q = rig.q;
    lt_tensor *x = &f46;
    REFUSED(lt_attention(q, x, x, x, 4, 4, 1, 0, 0, x, NULL), "attention: q", "6 for 4");
    REFUSED(lt_attention(q, x, x, x, 3, 2, 1, 0, 0, x, NULL), "attention: heads", "3 and 2");
    REFUSED(lt_attention(q, x, x, x, 3, 0, 1, 0, 0, x, NULL), "attention: heads", "3 and 0");
    REFUSED(lt_attention(q, x, x, x, 3, 1, 1, 0, 0, x, NULL), "attention: k", "rows of 2");
    REFUSED(lt_attention(q, x, x, &f345, 1, 1, 1, 0, 0, x, NULL), "attention: v", "4 rows of 6");
    REFUSED(lt_attention(q, x, x, x, 2, 2, 1, 0, 0, x, &f22), "attention: lse", "[2, 4]", "[2, 2]");
    REFUSED(lt_attention(q, x, x, x, 2, 2, 1, 0, 0, &b45, NULL), "attention: y", "[4, 5] BF16");
    REFUSED(lt_attention_merge(q, x, &f22, 2, x, &f22), "attention_merge: lse2", "[2, 4]");
    REFUSED(lt_attention_merge(q, &b45, &f22, 2, x, &f22), "attention_merge: y2", "BF16");
}

static void media(void **state)
{
    (void)state;
    lt_queue *q = rig.q;
    REFUSED(lt_pad_reflect(q, &f345, 0, 0, 0, 0, &f345), "pad_reflect: x", "3 dims");
    REFUSED(lt_pad_reflect(q, &five, 3, 0, 0, 0, &five), "pad_reflect: pads", "side of 3",
            "found 3");
    REFUSED(lt_pad_reflect(q, &five, 0, 0, -1, 0, &five), "pad_reflect: pads", "found -1");
    REFUSED(lt_pad_reflect(q, &five, 1, 0, 0, 0, &five), "pad_reflect: y", "[1, 2, 4, 4, 5]");
    REFUSED(lt_snake(q, &f345, &f4, &f345), "snake: alpha", "want 5");
    REFUSED(lt_snake_aa(q, &f45, &f5, &f5, &f5, &f5, &f45), "snake_aa: x", "[B, T, C]");
    REFUSED(lt_snake_aa(q, &f345, &f5, &f5, &f5, &f5, &f345), "snake_aa: up", "want 12");
}

static void layers(void **state)
{
    (void)state;
    const float w[12] = {1}, b[3] = {1};
    lt_linear_spec s = {.in = 4,
                        .out = 3,
                        .weights = w,
                        .weights_dtype = LT_F32,
                        .bias = b,
                        .has_bias = 1,
                        .compute = LT_F32};
    lt_linear *l = NULL;
    KT_OK(lt_linear_prepare(&lt_backend_ref, rig.arena, "l", &s, &l));
    REFUSED(lt_linear_apply(rig.q, l, &f45, LT_ACT_NONE, &f45), "linear: x", "rows of 4", "[4, 5]");
    REFUSED(lt_linear_apply(rig.q, l, &b4, LT_ACT_NONE, &f5), "linear: x", "F32", "BF16");
    REFUSED(lt_linear_apply(rig.q, l, &f4, LT_ACT_NONE, &f45), "linear: y", "1 rows of 3");
    lt_linear_free(&l);
    assert_null(l);
    lt_linear_free(&l); /* nothing to free is fine */
    s.has_bias = 0;
    REFUSED(lt_linear_prepare(&lt_backend_ref, rig.arena, "l", &s, &l), "l: bias");
    s.has_bias = 1;
    s.compute = LT_F16;
    REFUSED(lt_linear_prepare(&lt_backend_ref, rig.arena, "l", &s, &l), "l: compute", "F16");
    s.compute = LT_F32;
    s.in = -4;
    REFUSED(lt_linear_prepare(&lt_backend_ref, rig.arena, "l", &s, &l), "l: size 0", "found -4");
    s.in = (int64_t)1 << 40;
    s.out = (int64_t)1 << 40;
    REFUSED(lt_linear_prepare(&lt_backend_ref, rig.arena, "l", &s, &l), "2^60");

    lt_conv_spec c = {.in = 2,
                      .out = 2,
                      .kernel = {1, 1, 3},
                      .stride = {1, 1, 1},
                      .dilation = {1, 1, 1},
                      .weights = w};
    lt_conv *v = NULL;
    KT_OK(lt_conv_prepare(&lt_backend_ref, rig.arena, "v", &c, &v));
    lt_tensor x = lt_tensor_wrap(f45.data, "x", LT_F32, LT_DIMS(1, 1, 1, 4, 2)), y = x;
    REFUSED(lt_conv_apply(rig.q, v, &x, &y), "conv: y", "[1, 1, 1, 2, 2]", "[1, 1, 1, 4, 2]");
    x.dim[3] = 2;
    REFUSED(lt_conv_apply(rig.q, v, &x, &y), "conv: x", "axis 2", "found 2");
    REFUSED(lt_conv_apply(rig.q, v, &f22, &y), "conv: x", "2 dims");
    lt_conv_free(&v);
    assert_null(v);
    c.stride[1] = 0;
    REFUSED(lt_conv_prepare(&lt_backend_ref, rig.arena, "v", &c, &v), "v: axis 1", "found 0");
    c.stride[1] = 1;
    c.kernel[0] = 0;
    REFUSED(lt_conv_prepare(&lt_backend_ref, rig.arena, "v", &c, &v), "v: size 2", "found 0");
}

static void a_full_arena_says_so(void **state)
{
    (void)state;
    const float w[1] = {1};
    const lt_linear_spec s = {
        .in = 1 << 20, .out = 1 << 10, .weights = w, .weights_dtype = LT_F32, .compute = LT_F32};
    lt_linear *l = NULL;
    assert_int_equal(lt_linear_prepare(&lt_backend_ref, rig.arena, "big", &s, &l), LT_ENOMEM);
    assert_non_null(strstr(lt_error_text(), "big"));
    assert_null(l);
}

static void arenas_of_another_backend(void **state)
{
    (void)state;
    const float w[1] = {1};
    const lt_linear_spec s = {
        .in = 1, .out = 1, .weights = w, .weights_dtype = LT_F32, .compute = LT_F32};
    lt_linear *l = NULL;
    assert_int_equal(lt_linear_prepare(&lt_backend_dry, rig.arena, "l", &s, &l), LT_EINTERNAL);
    assert_non_null(strstr(lt_error_text(), "dry"));
}

static void finding(void **state)
{
    (void)state;
    const lt_backend *b = NULL;
    static const struct {
        const char *name;
        const lt_backend *is;
    } known[] = {
        {"auto", &lt_backend_cpu}, {"cpu", &lt_backend_cpu}, {"ref", &lt_backend_ref},
        {"far", &lt_backend_far},  {"dry", &lt_backend_dry},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        KT_OK(lt_backend_find(known[i].name, &b));
        assert_ptr_equal(b, known[i].is);
        KT_OK(lt_backend_check(b));
    }
    assert_int_equal(lt_backend_find("tpu", &b), LT_EUNAVAIL);
    assert_non_null(strstr(lt_error_text(), "tpu"));
    assert_non_null(strstr(lt_error_text(), "cpu"));
    assert_int_equal(lt_backend_find("", &b), LT_EUNAVAIL);
    assert_int_equal(lt_backend_find("cuda", &b), LT_EUNAVAIL);
    assert_non_null(strstr(lt_error_text(), "cuda"));
}

static void incomplete_backends(void **state)
{
    (void)state;
    lt_kernel kernels[LT_OP_COUNT];
    memcpy(kernels, lt_backend_ref.kernels, sizeof kernels);
    kernels[LT_OP_SNAKE] = kernels[LT_OP_ATTENTION] = NULL;
    lt_backend b = lt_backend_ref;
    b.kernels = kernels;
    b.wait = NULL;
    assert_int_equal(lt_backend_open(&b, 0, 1), LT_EINTERNAL);
    assert_non_null(strstr(lt_error_text(), "ref lacks: wait attention snake"));
    b = lt_backend_ref;
    b.api++;
    assert_int_equal(lt_backend_open(&b, 0, 1), LT_EINTERNAL);
    assert_non_null(strstr(lt_error_text(), "api"));
    for (int i = 0; i < LT_OP_COUNT; i++)
        assert_null(strstr(lt_op_name((lt_op_kind)i), "without a name"));
}

/* torch: floor((L + pads - dilation * (kernel - 1) - 1) / stride) + 1;
 * transposed: (L - 1) * stride - pads + dilation * (kernel - 1) + 1. */
static void conv_length(void **state)
{
    (void)state;
    static const struct {
        int64_t kernel, stride, dilation, before, after, transposed, from, to;
    } c[] = {
        {1, 1, 1, 0, 0, 0, 7, 7},   {3, 1, 1, 1, 1, 0, 7, 7},    {3, 2, 1, 0, 1, 0, 8, 4},
        {8, 4, 1, 2, 2, 0, 64, 16}, {11, 1, 5, 25, 25, 0, 3, 3}, {3, 1, 1, 0, 0, 0, 2, 0},
        {3, 2, 2, 2, 1, 0, 7, 3},   {9, 5, 1, 2, 2, 1, 17, 85},  {4, 2, 1, 1, 1, 1, 40, 80},
        {2, 3, 1, 0, 0, 1, 9, 26},  {3, 1, 1, 1, 1, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        const lt_conv_spec s = {.in = 1,
                                .out = 1,
                                .kernel = {1, 1, c[i].kernel},
                                .stride = {1, 1, c[i].stride},
                                .dilation = {1, 1, c[i].dilation},
                                .pad_before = {0, 0, c[i].before},
                                .pad_after = {0, 0, c[i].after},
                                .transposed = (int)c[i].transposed};
        assert_int_equal(lt_conv_length(&s, 2, c[i].from), c[i].to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptions),
        cmocka_unit_test(rows),
        cmocka_unit_test(norms),
        cmocka_unit_test(attention),
        cmocka_unit_test(media),
        cmocka_unit_test(layers),
        cmocka_unit_test(a_full_arena_says_so),
        cmocka_unit_test(arenas_of_another_backend),
        cmocka_unit_test(finding),
        cmocka_unit_test(incomplete_backends),
        cmocka_unit_test(conv_length),
    };
    return cmocka_run_group_tests_name("kernels_checked", tests, open_rig, close_rig);
}
