/* test_kernels_norm.c - norms, adaLN and rotation of cpu and far against ref.
 * Goal and method as in test_kernels_rows.c. Ranks: 1. Needs: nothing.
 *
 * Tolerances: f32 sums over a row err by about 1e-7 * sqrt(width) of the row's norm: 4e-6 of the
 * largest value. bf16: where a rounding is followed by another, a flipped bit of the first may show
 * as two ulps of the result (or as 2^-8 of an operand that cancels): 2 ulps and 2^-8 of the
 * largest, but only for the few values that lie near a tie. */
#include "kernel_test.h"

typedef struct {
    const char *name;
    int64_t rows, width, gap;
    lt_dtype x, y;
} shape;

static const shape shapes[] = {
    {"one row, odd width", 1, 37, 0, LT_F32, LT_F32},
    {"no rows", 0, 24, 0, LT_F32, LT_F32},
    {"strided", 7, 68, 3, LT_F32, LT_F32},
    {"wide", 40, 1538, 0, LT_F32, LT_F32},
    {"bf16, one row", 1, 38, 0, LT_BF16, LT_BF16},
    {"bf16, strided", 9, 83, 5, LT_BF16, LT_BF16},
    {"bf16, wide", 40, 1538, 0, LT_BF16, LT_BF16},
    {"f32 into bf16", 6, 41, 2, LT_F32, LT_BF16},
    {"bf16 into f32", 6, 41, 2, LT_BF16, LT_F32},
};

static void each_shape(void (*run)(kt_rig *, const void *), int unequal, int roundings)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        kt_tol tol = {4e-6, 1.01, 1e-2};
        if (!unequal && shapes[i].x != shapes[i].y)
            continue;
        if (shapes[i].y == LT_BF16 && roundings > 1)
            tol = (kt_tol){1.0 / 256, 2.01, 1e-2};
        kt_case(shapes[i].name, run, &shapes[i], tol);
    }
}

#define IN_PARTS(call)                                                                             \
    do {                                                                                           \
        lt_range range[KT_PARTS_MAX];                                                              \
        const int parts = kt_parts(r, c->rows, range);                                             \
        for (int p = 0; p < parts; p++) {                                                          \
            const lt_tensor vx = lt_view_outer(x, range[p]);                                       \
            lt_tensor vy = lt_view_outer(y, range[p]);                                             \
            KT_OK(call);                                                                           \
        }                                                                                          \
    } while (0)

static void rms(kt_rig *r, const shape *c, int weighted, lt_dtype w_dtype, lt_rounding rounding)
{
    const lt_tensor *w = weighted ? kt_take(r, "w", KT_IN, w_dtype, LT_DIMS(c->width), 0, 1) : NULL;
    lt_tensor *x = kt_take(r, "x", KT_IN, c->x, LT_DIMS(c->rows, c->width), c->gap, 3);
    lt_tensor *y = kt_take(r, "y", KT_OUT, c->y, LT_DIMS(c->rows, c->width), c->gap, 1);
    IN_PARTS(lt_rms_norm(r->q, &vx, w, 1e-5f, rounding, &vy));
}

static void run_rms_bare(kt_rig *r, const void *c) { rms(r, c, 0, LT_F32, LT_ROUND_ONCE); }
static void run_rms_once(kt_rig *r, const void *c) { rms(r, c, 1, LT_F32, LT_ROUND_ONCE); }
static void run_rms_bf16_w(kt_rig *r, const void *c) { rms(r, c, 1, LT_BF16, LT_ROUND_ONCE); }
static void run_rms_twice(kt_rig *r, const void *c) { rms(r, c, 1, LT_BF16, LT_ROUND_TWICE); }

static void run_rms_in_place(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    const lt_tensor *w = kt_take(r, "w", KT_IN, c->x, LT_DIMS(c->width), 0, 1);
    lt_tensor *y = kt_take(r, "y", KT_INOUT, c->y, LT_DIMS(c->rows, c->width), c->gap, 3), *x = y;
    IN_PARTS(lt_rms_norm(r->q, &vx, w, 1e-6f, LT_ROUND_TWICE, &vy));
}

static void run_layer_norm(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    const lt_tensor *w = kt_take(r, "w", KT_IN, LT_F32, LT_DIMS(c->width), 0, 1);
    const lt_tensor *b = kt_take(r, "b", KT_IN, LT_F32, LT_DIMS(c->width), 0, 1);
    lt_tensor *x = kt_take(r, "x", KT_IN, c->x, LT_DIMS(c->rows, c->width), c->gap, 3);
    lt_tensor *y = kt_take(r, "y", KT_OUT, c->y, LT_DIMS(c->rows, c->width), c->gap, 1);
    IN_PARTS(lt_layer_norm(r->q, &vx, w, b, 1e-5f, &vy));
}

static void run_norm_modulate(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    const lt_tensor *w = kt_take(r, "w", KT_IN, c->x, LT_DIMS(c->width), 0, 1);
    const lt_tensor *table =
        kt_take(r, "table", KT_IN, c->x, LT_DIMS(4, 6 * c->width + 1), c->gap, 1);
    const lt_tensor *index = kt_take_index(r, c->rows, 4, 0);
    lt_tensor *x = kt_take(r, "x", KT_IN, c->x, LT_DIMS(c->rows, c->width), c->gap, 3);
    lt_tensor *y = kt_take(r, "y", KT_OUT, c->y, LT_DIMS(c->rows, c->width), c->gap, 1);
    lt_range range[KT_PARTS_MAX];
    const int parts = kt_parts(r, c->rows, range);
    for (int p = 0; p < parts; p++) {
        const lt_tensor vx = lt_view_outer(x, range[p]), vi = lt_view_outer(index, range[p]);
        lt_tensor vy = lt_view_outer(y, range[p]);
        KT_OK(lt_norm_modulate(r->q, &vx, w, 1e-5f, table, &vi, 2 * c->width + 1, c->width, &vy));
    }
}

static void rms_norm(void **state)
{
    (void)state;
    each_shape(run_rms_bare, 1, 1);
    each_shape(run_rms_once, 1, 1);
    each_shape(run_rms_bf16_w, 1, 1);
    each_shape(run_rms_twice, 1, 2);
    each_shape(run_rms_in_place, 0, 2);
}

static void layer_norm(void **state)
{
    (void)state;
    each_shape(run_layer_norm, 0, 1);
}

static void norm_modulate(void **state)
{
    (void)state;
    each_shape(run_norm_modulate, 0, 3);
}

/* ---- head_norm_rope ---- */

typedef struct {
    const char *name;
    int64_t rows, heads, width, half, gap;
    lt_dtype dtype;
    int norm, weighted; /* norm 0: eps < 0 */
    lt_rounding rounding;
} rope_shape;

static const rope_shape ropes[] = {
    {"one row", 1, 1, 8, 4, 0, LT_F32, 1, 1, LT_ROUND_ONCE},
    {"no rows", 0, 2, 8, 4, 0, LT_F32, 1, 1, LT_ROUND_ONCE},
    {"part of a head turns", 5, 3, 20, 7, 0, LT_F32, 1, 1, LT_ROUND_ONCE},
    {"no weight", 5, 3, 20, 10, 4, LT_F32, 1, 0, LT_ROUND_ONCE},
    {"no norm", 6, 2, 24, 9, 3, LT_F32, 0, 0, LT_ROUND_ONCE},
    {"norm alone", 6, 2, 24, 0, 3, LT_F32, 1, 1, LT_ROUND_ONCE},
    {"released model's head", 33, 6, 128, 48, 0, LT_F32, 1, 1, LT_ROUND_ONCE},
    {"bf16 once", 33, 6, 128, 48, 0, LT_BF16, 1, 1, LT_ROUND_ONCE},
    {"bf16 twice, whole head", 17, 4, 128, 64, 8, LT_BF16, 1, 1, LT_ROUND_TWICE},
    {"bf16 odd", 5, 3, 22, 5, 1, LT_BF16, 1, 1, LT_ROUND_TWICE},
    {"bf16 no norm", 5, 3, 22, 11, 1, LT_BF16, 0, 0, LT_ROUND_ONCE},
};

static void run_rope(kt_rig *r, const void *arg)
{
    const rope_shape *c = arg;
    const lt_tensor *w =
        c->weighted ? kt_take(r, "w", KT_IN, c->dtype, LT_DIMS(c->width), 0, 1) : NULL;
    const lt_tensor *cos_ =
        c->half > 0 ? kt_take(r, "cos", KT_IN, c->dtype, LT_DIMS(c->rows, c->half), 0, 1) : NULL;
    const lt_tensor *sin_ =
        c->half > 0 ? kt_take(r, "sin", KT_IN, c->dtype, LT_DIMS(c->rows, c->half), 2, 1) : NULL;
    lt_tensor *x =
        kt_take(r, "x", KT_INOUT, c->dtype, LT_DIMS(c->rows, c->heads * c->width), c->gap, 2);
    lt_range range[KT_PARTS_MAX];
    const int parts = kt_parts(r, c->rows, range);
    for (int p = 0; p < parts; p++) {
        lt_tensor vx = lt_view_outer(x, range[p]), vc = {0}, vs = {0};
        if (cos_ != NULL) {
            vc = lt_view_outer(cos_, range[p]);
            vs = lt_view_outer(sin_, range[p]);
        }
        KT_OK(lt_head_norm_rope(r->q, &vx, c->heads, w, c->norm ? 1e-5f : -1, c->rounding,
                                cos_ != NULL ? &vc : NULL, cos_ != NULL ? &vs : NULL));
    }
}

static void head_norm_rope(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ropes / sizeof *ropes; i++) {
        const kt_tol f32 = {2e-6, 0, 0}, bf16 = {1.0 / 256, 2.01, 1e-2};
        kt_case(ropes[i].name, run_rope, &ropes[i], ropes[i].dtype == LT_F32 ? f32 : bf16);
    }
}

/* ---- group_norm ---- */

typedef struct {
    const char *name;
    int64_t batch, rows, channels, groups;
    lt_activation activation;
} group_shape;

static const group_shape group_shapes[] = {
    {"one of all", 1, 1, 6, 1, LT_ACT_NONE},    {"no clips", 0, 4, 6, 2, LT_ACT_NONE},
    {"odd groups", 2, 15, 21, 3, LT_ACT_SILU},  {"one channel a group", 2, 40, 5, 5, LT_ACT_NONE},
    {"decoder's", 2, 700, 64, 32, LT_ACT_SILU},
};

static void run_group_norm(kt_rig *r, const void *arg)
{
    const group_shape *c = arg;
    const lt_dims dims = LT_DIMS(c->batch, c->rows, c->channels);
    const lt_tensor *w = kt_take(r, "w", KT_IN, LT_F32, LT_DIMS(c->channels), 0, 1);
    const lt_tensor *b = kt_take(r, "b", KT_IN, LT_F32, LT_DIMS(c->channels), 0, 1);
    const lt_tensor *x = kt_take(r, "x", KT_IN, LT_F32, dims, 0, 2);
    lt_tensor *y = kt_take(r, "y", KT_OUT, LT_F32, dims, 0, 1);
    lt_tensor *z = kt_take(r, "z", KT_INOUT, LT_F32, dims, 0, 2);
    KT_OK(lt_group_norm(r->q, x, w, b, c->groups, 1e-6f, c->activation, y));
    KT_OK(lt_group_norm(r->q, z, w, b, c->groups, 1e-6f, c->activation, z));
}

static void group_norm(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof group_shapes / sizeof *group_shapes; i++)
        kt_case(group_shapes[i].name, run_group_norm, &group_shapes[i], (kt_tol){4e-6, 0, 0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rms_norm),      cmocka_unit_test(layer_norm),
        cmocka_unit_test(norm_modulate), cmocka_unit_test(head_norm_rope),
        cmocka_unit_test(group_norm),
    };
    return cmocka_run_group_tests_name("kernels_norm", tests, NULL, NULL);
}
