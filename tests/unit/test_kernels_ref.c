/* test_kernels_ref.c - the reference itself.
 * Goal: ref's formulas and layouts, and every place where it rounds to bf16.
 * Method: tiny inputs sin(a*i + b) against values of torch 2.15 in f64 (functional.linear, silu,
 * gelu, rms_norm, layer_norm, group_norm, conv1d, conv3d, conv_transpose1d, pad reflect; attention,
 * Snake and BigVGAN's activation written with them); rounding places against kernels.h's formulas
 * on scalars, for a thousand inputs each, of which some must tell the formula from its unrounded
 * form. Ranks: 1. Needs: nothing. Tolerance: 2e-7 of values near 1 to 4, f32's own spacing. */
#include "kernel_test.h"

static const float gold_linear[4] = {1.52617547f, 0.688726171f, 2.28943853f, 1.24545699f};
static const float gold_linear_silu[4] = {1.25367082f, 0.458473646f, 2.07880688f, 0.967112865f};
static const float gold_silu[5] = {-0.14227762f, -0.188770334f, 0.0f, 0.467731441f, 1.76159416f};
static const float gold_tanh_[5] = {-0.00363739208f, -0.15428599f, 0.0f, 0.530570135f, 1.95459769f};
static const float gold_erf_[5] = {-0.00404969409f, -0.154268769f, 0.0f, 0.530625443f, 1.95449974f};
static const float gold_rms[8] = {0.0501833396f, 0.665770186f, 1.00316895f,  0.205001014f,
                                  0.369006261f,  1.07696551f,  0.782007622f, 0.0753232939f};
static const float gold_layer[8] = {0.214342119f, 0.623503539f, 1.5036101f,   0.976796272f,
                                    0.951510573f, 1.58734474f,  0.819977424f, 0.590602731f};
static const float gold_group[24] = {
    0.292120129f, 0.822497414f,   1.36791444f,   0.686222554f,  0.765358559f,   1.7848236f,
    1.33431207f,  0.59432036f,    0.274635561f,  -0.163593494f, -0.0228192394f, 0.379776159f,
    0.166951456f, -0.0778914786f, -0.147363974f, 0.418889932f,  0.35791044f,    0.822889932f,
    0.997150008f, 0.652273632f,   0.730552692f,  1.89263206f,   1.59295311f,    0.645818879f};
static const float gold_full[16] = {-0.0256305658f, 0.0531166242f,  0.0831031851f, 0.224285905f,
                                    -0.196108095f,  -0.20405602f,   -0.111751656f, -0.134515609f,
                                    -0.192395414f,  -0.0719801048f, -0.31883535f,  -0.208868155f,
                                    0.552295541f,   0.701501269f,   0.449737945f,  0.573660963f};
static const float gold_full_lse[8] = {1.16233625f, 1.0717482f, 1.2709908f,  1.067848f,
                                       1.76863425f, 1.3106672f, 1.43935691f, 1.153059f};
static const float gold_causal[16] = {-0.100444783f, 0.492248269f,   0.0668198757f, 0.638587193f,
                                      0.461877646f,  -0.434262542f,  0.494189284f,  -0.26792143f,
                                      -0.192395414f, -0.0719801048f, -0.31883535f,  -0.208868155f,
                                      0.552295541f,  0.701501269f,   0.449737945f,  0.573660963f};
static const float gold_causal_lse[8] = {0.75788565f, 1.0717482f, 0.938970999f, 1.067848f,
                                         1.09133176f, 1.3106672f, 0.855228353f, 1.153059f};
static const float gold_conv[9] = {2.01864815f,  -0.605142584f, 1.70314979f,
                                   2.1897592f,   -0.823688757f, 1.96880874f,
                                   0.102681234f, 1.21415598f,   -0.0167970705f};
static const float gold_transposed[18] = {
    0.796071008f, 1.12164288f,  -0.40123189f, 1.34903899f, 2.00921653f,  -1.88084127f,
    2.11738185f,  0.986031662f, -1.5809624f,  2.46970148f, 1.88231198f,  -2.86901334f,
    3.35580517f,  0.251589935f, -2.05261655f, 2.24133352f, 0.468711947f, -1.16482383f};
static const float gold_conv3[2] = {3.35390682f, 3.52639525f};
static const float gold_reflect[18] = {
    0.925211521f, 0.999815615f, 0.939099356f, 0.999815615f, 0.925211521f, 0.999815615f,
    0.751280405f, 0.461779176f, 0.109778301f, 0.461779176f, 0.751280405f, 0.461779176f,
    0.925211521f, 0.999815615f, 0.939099356f, 0.999815615f, 0.925211521f, 0.999815615f};
static const float gold_snake_aa[10] = {0.171465283f, 0.574190259f, 1.26228421f, 1.18606914f,
                                        1.85346163f,  1.21967357f,  1.20954297f, 0.473803642f,
                                        0.119609335f, -0.246239585f};
static const float gold_snake[4] = {0.11579789f, 0.779983541f, 1.02046491f, 1.39332087f};

static float *ramp(int64_t count, double a, double b)
{
    float *v = malloc((size_t)count * sizeof *v);
    assert_non_null(v);
    for (int64_t i = 0; i < count; i++)
        v[i] = (float)sin(a * (double)i + b);
    return v;
}

static lt_tensor *take_ramp(kt_rig *r, const char *name, lt_dims dims, double a, double b)
{
    const lt_tensor shape = lt_tensor_wrap(NULL, name, LT_F32, dims);
    float *v = ramp(lt_elements(&shape), a, b);
    lt_tensor *x = kt_place(r, name, KT_IN, LT_F32, dims, 0, v);
    free(v);
    return x;
}

static lt_tensor *out(kt_rig *r, lt_dims dims)
{
    return kt_place(r, "y", KT_OUT, LT_F32, dims, 0, NULL);
}

/* The rig's latest output. */
static void is_gold(kt_rig *r, const char *what, const float *gold, int64_t count)
{
    const kt_operand *p = &r->operand[r->count - 1];
    kt_finish(r, what);
    assert_int_equal(lt_elements(&p->x), count);
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(kt_value(p, p->after, i) - (double)gold[i]) <=
              2e-7 * (1 + fabs((double)gold[i]))))
            fail_msg("%s[%lld]: %.9g, torch %.9g", what, (long long)i, kt_value(p, p->after, i),
                     (double)gold[i]);
}

#define IS_GOLD(r, name)                                                                           \
    is_gold((r), #name, gold_##name, (int64_t)(sizeof gold_##name / sizeof(float)))

static void open_ref(kt_rig *r) { kt_open(r, &lt_backend_ref, 1, 1, 3); }

static void shut(kt_rig *r)
{
    kt_close(r);
    kt_forget(r);
}

static void linear(void **state)
{
    (void)state;
    kt_rig r;
    open_ref(&r);
    float *w = ramp(6, 0.71, 0.2), *b = ramp(2, 1.3, 0.4);
    const lt_linear_spec spec = {.in = 3,
                                 .out = 2,
                                 .weights = w,
                                 .weights_dtype = LT_F32,
                                 .bias = b,
                                 .has_bias = 1,
                                 .compute = LT_F32};
    lt_linear *l = NULL;
    KT_OK(lt_linear_prepare(r.backend, r.arena, "layer", &spec, &l));
    lt_tensor *x = take_ramp(&r, "x", LT_DIMS(2, 3), 0.37, 0.11);
    KT_OK(lt_linear_apply(r.q, l, x, LT_ACT_NONE, out(&r, LT_DIMS(2, 2))));
    IS_GOLD(&r, linear);
    KT_OK(lt_linear_apply(r.q, l, x, LT_ACT_SILU, out(&r, LT_DIMS(2, 2))));
    IS_GOLD(&r, linear_silu);
    lt_linear_free(&l);
    free(w);
    free(b);
    shut(&r);
}

static void activations(void **state)
{
    (void)state;
    kt_rig r;
    open_ref(&r);
    const float v[5] = {-3, -0.5f, 0, 0.7f, 2};
    const lt_tensor *x = kt_place(&r, "x", KT_IN, LT_F32, LT_DIMS(5), 0, v);
    KT_OK(lt_activate(r.q, x, LT_ACT_SILU, out(&r, LT_DIMS(5))));
    IS_GOLD(&r, silu);
    KT_OK(lt_activate(r.q, x, LT_ACT_GELU_TANH, out(&r, LT_DIMS(5))));
    IS_GOLD(&r, tanh_);
    KT_OK(lt_activate(r.q, x, LT_ACT_GELU_ERF, out(&r, LT_DIMS(5))));
    IS_GOLD(&r, erf_);
    shut(&r);
}

static void norms(void **state)
{
    (void)state;
    kt_rig r;
    open_ref(&r);
    const lt_tensor *x = take_ramp(&r, "x", LT_DIMS(2, 4), 0.37, 0.11);
    const lt_tensor *w = take_ramp(&r, "w", LT_DIMS(4), 0.9, 0.3);
    const lt_tensor *b = take_ramp(&r, "b", LT_DIMS(4), 0.5, 0.7);
    KT_OK(lt_rms_norm(r.q, x, w, 1e-5f, LT_ROUND_ONCE, out(&r, LT_DIMS(2, 4))));
    IS_GOLD(&r, rms);
    KT_OK(lt_layer_norm(r.q, x, w, b, 1e-5f, out(&r, LT_DIMS(2, 4))));
    IS_GOLD(&r, layer);
    const lt_tensor *clips = take_ramp(&r, "clips", LT_DIMS(2, 3, 4), 0.37, 0.11);
    KT_OK(lt_group_norm(r.q, clips, w, b, 2, 1e-6f, LT_ACT_SILU, out(&r, LT_DIMS(2, 3, 4))));
    IS_GOLD(&r, group);
    shut(&r);
}

static void attention(void **state)
{
    (void)state;
    kt_rig r;
    open_ref(&r);
    const lt_tensor *q = take_ramp(&r, "q", LT_DIMS(2, 8), 0.37, 0.11);
    const lt_tensor *k = take_ramp(&r, "k", LT_DIMS(3, 4), 0.7, 0.3);
    const lt_tensor *v = take_ramp(&r, "v", LT_DIMS(3, 4), 1.1, 0.5);
    for (int causal = 0; causal <= 1; causal++) {
        lt_tensor *lse = kt_place(&r, "lse", KT_OUT, LT_F32, LT_DIMS(4, 2), 0, NULL);
        KT_OK(lt_attention(r.q, q, k, v, 4, 2, 0.6f, causal, 1, out(&r, LT_DIMS(2, 8)), lse));
        if (causal)
            IS_GOLD(&r, causal);
        else
            IS_GOLD(&r, full);
        KT_OK(lt_copy(r.q, lse, out(&r, LT_DIMS(4, 2))));
        if (causal)
            IS_GOLD(&r, causal_lse);
        else
            IS_GOLD(&r, full_lse);
    }
    shut(&r);
}

static void conv_case(kt_rig *r, lt_conv_spec spec, double wa, lt_dims x_dims, lt_dims y_dims)
{
    const int64_t taps = spec.kernel[0] * spec.kernel[1] * spec.kernel[2];
    float *w = ramp(spec.in * spec.out * taps, wa, 0.2), *b = ramp(spec.out, 1.3, 0.4);
    spec.weights = w;
    spec.bias = spec.has_bias ? b : NULL;
    for (int i = 0; i < 3; i++)
        if (spec.stride[i] == 0)
            spec.stride[i] = spec.dilation[i] = 1;
    lt_conv *l = NULL;
    KT_OK(lt_conv_prepare(r->backend, r->arena, "layer", &spec, &l));
    const lt_tensor *x = take_ramp(r, "x", x_dims, 0.37, 0.11);
    KT_OK(lt_conv_apply(r->q, l, x, out(r, y_dims)));
    lt_conv_free(&l);
    free(w);
    free(b);
}

static void conv(void **state)
{
    (void)state;
    kt_rig r;
    open_ref(&r);
    conv_case(&r,
              (lt_conv_spec){.in = 2,
                             .out = 3,
                             .kernel = {1, 1, 3},
                             .stride = {1, 1, 2},
                             .dilation = {1, 1, 2},
                             .pad_before = {0, 0, 2},
                             .pad_after = {0, 0, 1},
                             .has_bias = 1},
              0.53, LT_DIMS(1, 1, 1, 7, 2), LT_DIMS(1, 1, 1, 3, 3));
    IS_GOLD(&r, conv);
    conv_case(&r,
              (lt_conv_spec){.in = 2,
                             .out = 3,
                             .kernel = {1, 1, 4},
                             .stride = {1, 1, 2},
                             .dilation = {1, 1, 1},
                             .pad_before = {0, 0, 1},
                             .pad_after = {0, 0, 1},
                             .transposed = 1,
                             .has_bias = 1},
              0.53, LT_DIMS(1, 1, 1, 3, 2), LT_DIMS(1, 1, 1, 6, 3));
    IS_GOLD(&r, transposed);
    conv_case(&r, (lt_conv_spec){.in = 1, .out = 1, .kernel = {2, 2, 2}}, 0.53,
              LT_DIMS(1, 2, 2, 3, 1), LT_DIMS(1, 1, 1, 2, 1));
    IS_GOLD(&r, conv3);
    shut(&r);
}

static void video_and_audio(void **state)
{
    (void)state;
    kt_rig r;
    open_ref(&r);
    const lt_tensor *x = take_ramp(&r, "x", LT_DIMS(1, 1, 2, 3, 1), 0.37, 0.11);
    KT_OK(lt_pad_reflect(r.q, x, 1, 0, 2, 1, out(&r, LT_DIMS(1, 1, 3, 6, 1))));
    IS_GOLD(&r, reflect);
    const float half[6] = {0.00202896469f, 0.00938946567f, -0.0255434588f,
                           -0.0576573834f, 0.128572583f,   0.443209797f};
    float f[12];
    for (int i = 0; i < 12; i++)
        f[i] = half[i < 6 ? i : 11 - i];
    const float a[2] = {0.2f, -0.3f}, b[2] = {0.1f, 0.4f}, alpha_values[2] = {0.5f, 2};
    const lt_tensor *filter = kt_place(&r, "filter", KT_IN, LT_F32, LT_DIMS(12), 0, f);
    const lt_tensor *la = kt_place(&r, "alpha", KT_IN, LT_F32, LT_DIMS(2), 0, a);
    const lt_tensor *lb = kt_place(&r, "beta", KT_IN, LT_F32, LT_DIMS(2), 0, b);
    const lt_tensor *audio = take_ramp(&r, "sound", LT_DIMS(1, 5, 2), 0.37, 0.11);
    KT_OK(lt_snake_aa(r.q, audio, la, lb, filter, filter, out(&r, LT_DIMS(1, 5, 2))));
    IS_GOLD(&r, snake_aa);
    const lt_tensor *alpha = kt_place(&r, "alpha", KT_IN, LT_F32, LT_DIMS(2), 0, alpha_values);
    const lt_tensor *two = take_ramp(&r, "two", LT_DIMS(1, 2, 2), 0.37, 0.11);
    KT_OK(lt_snake(r.q, two, alpha, out(&r, LT_DIMS(1, 2, 2))));
    IS_GOLD(&r, snake);
    shut(&r);
}

/* ---- where bf16 is rounded ---- */

enum { COUNT = 1000 };

static lt_tensor *take_bf16(kt_rig *r, const char *name, kt_role role, int64_t width)
{
    return kt_take(r, name, role, LT_BF16, LT_DIMS(COUNT, width), 0, 1.5f);
}

/* Element i of the tensor before anything ran. */
static float was(const kt_rig *r, int operand, int64_t i)
{
    return (float)kt_value(&r->operand[operand], r->operand[operand].before, i);
}

typedef float (*formula)(const kt_rig *r, int64_t i, int rounded);

static float rb(float v, int rounded) { return rounded ? lt_round_bf16(v) : v; }

/* Output `operand` is the formula everywhere, and the unrounded one is told apart somewhere. */
static void rounds_as(kt_rig *r, const char *what, int operand, formula f)
{
    int told = 0;
    kt_finish(r, what);
    const kt_operand *p = &r->operand[operand];
    for (int64_t i = 0; i < lt_elements(&p->x); i++) {
        const float want = lt_round_bf16(f(r, i, 1));
        told += want != lt_round_bf16(f(r, i, 0));
        if (!((float)kt_value(p, p->after, i) == want))
            fail_msg("%s[%lld]: %.9g, the formula %.9g", what, (long long)i,
                     kt_value(p, p->after, i), (double)want);
    }
    if (told == 0)
        fail_msg("%s: no input tells where it rounds", what);
}

static float silu(float v) { return (float)((double)v / (1 + exp(-(double)v))); }

static float swiglu_formula(const kt_rig *r, int64_t i, int rounded)
{
    return was(r, 0, 2 * i) * rb(silu(was(r, 0, 2 * i + 1)), rounded);
}

/* operands: x, table, index, y */
static float gate_formula(const kt_rig *r, int64_t i, int rounded)
{
    return was(r, 3, i) + rb(was(r, 1, i) * was(r, 0, i), rounded);
}

/* operands: x [1], w, table [shift | scale], index, y; a row of one value has the norm 1 or -1 */
static float modulate_formula(const kt_rig *r, int64_t i, int rounded)
{
    const float norm = was(r, 0, i) < 0 ? -1 : 1, scale = rb(1 + was(r, 2, 2 * i + 1), rounded);
    return rb(rb(norm * was(r, 1, 0), rounded) * scale, rounded) + was(r, 2, 2 * i);
}

/* operands: cos, sin, x [2] */
static float rope_formula(const kt_rig *r, int64_t i, int rounded)
{
    const float u = was(r, 2, i / 2 * 2), v = was(r, 2, i / 2 * 2 + 1);
    const float c = was(r, 0, i / 2), s = was(r, 1, i / 2);
    return i % 2 == 0 ? rb(u * c, rounded) - rb(v * s, rounded)
                      : rb(v * c, rounded) + rb(u * s, rounded);
}

/* operands: x [2], w [2], y */
static float twice_formula(const kt_rig *r, int64_t i, int rounded)
{
    const double a = was(r, 0, i / 2 * 2), b = was(r, 0, i / 2 * 2 + 1);
    const float factor = (float)(1 / sqrt((a * a + b * b) / 2 + (double)1e-6f));
    return rb(was(r, 0, i) * factor, rounded) * was(r, 1, i % 2);
}

static void rounding_places(void **state)
{
    (void)state;
    kt_rig r;
    int32_t numbers[COUNT];
    for (int i = 0; i < COUNT; i++)
        numbers[i] = i;
    open_ref(&r);
    const lt_tensor *x = take_bf16(&r, "x", KT_IN, 2);
    KT_OK(lt_swiglu(r.q, x, take_bf16(&r, "y", KT_OUT, 1)));
    rounds_as(&r, "swiglu", 1, swiglu_formula);
    shut(&r);

    open_ref(&r);
    x = take_bf16(&r, "x", KT_IN, 1);
    const lt_tensor *table = take_bf16(&r, "table", KT_IN, 1);
    const lt_tensor *index = kt_place(&r, "index", KT_IN, LT_I32, LT_DIMS(COUNT), 0, numbers);
    KT_OK(lt_gate_add(r.q, x, table, index, 0, take_bf16(&r, "y", KT_INOUT, 1)));
    rounds_as(&r, "gate_add", 3, gate_formula);
    shut(&r);

    open_ref(&r);
    const float w_value = 1.0123f; /* f32, so that the first rounding shows */
    x = take_bf16(&r, "x", KT_IN, 1);
    const lt_tensor *w = kt_place(&r, "w", KT_IN, LT_F32, LT_DIMS(1), 0, &w_value);
    table = take_bf16(&r, "table", KT_IN, 2);
    index = kt_place(&r, "index", KT_IN, LT_I32, LT_DIMS(COUNT), 0, numbers);
    KT_OK(lt_norm_modulate(r.q, x, w, 0, table, index, 0, 1, take_bf16(&r, "y", KT_OUT, 1)));
    rounds_as(&r, "norm_modulate", 4, modulate_formula);
    shut(&r);

    open_ref(&r);
    const lt_tensor *c = take_bf16(&r, "cos", KT_IN, 1), *s = take_bf16(&r, "sin", KT_IN, 1);
    KT_OK(
        lt_head_norm_rope(r.q, take_bf16(&r, "x", KT_INOUT, 2), 1, NULL, -1, LT_ROUND_ONCE, c, s));
    rounds_as(&r, "head_norm_rope", 2, rope_formula);
    shut(&r);

    open_ref(&r);
    x = take_bf16(&r, "x", KT_IN, 2);
    w = kt_take(&r, "w", KT_IN, LT_BF16, LT_DIMS(2), 0, 1);
    KT_OK(lt_rms_norm(r.q, x, w, 1e-6f, LT_ROUND_TWICE, take_bf16(&r, "y", KT_OUT, 2)));
    rounds_as(&r, "rms_norm twice", 2, twice_formula);
    shut(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear),
        cmocka_unit_test(activations),
        cmocka_unit_test(norms),
        cmocka_unit_test(attention),
        cmocka_unit_test(conv),
        cmocka_unit_test(video_and_audio),
        cmocka_unit_test(rounding_places),
    };
    return cmocka_run_group_tests_name("kernels_ref", tests, NULL, NULL);
}
