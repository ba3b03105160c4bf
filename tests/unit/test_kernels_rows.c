/* test_kernels_rows.c - row operations of cpu and far against ref.
 * Goal: agreement on odd widths, single and no rows, strided views, f32 and bf16; rounding places;
 * row independence; nothing written beside the output. Method: kernel_test.h. Ranks: 1. Needs:
 * nothing.
 *
 * Tolerances: these ops are a few f32 operations an element. f32: 2e-6 of the largest value covers
 * one fused multiply-add more or less and a polynomial exp. bf16: one ulp, and only where a value
 * lies near a tie (2e-6 / 2^-8 of them per rounding); 1e-2 is a wide bound for that share. */
#include "kernel_test.h"

typedef struct {
    const char *name;
    int64_t rows, width, gap;
    lt_dtype x, y;
} shape;

static const shape shapes[] = {
    {"one element", 1, 1, 0, LT_F32, LT_F32},
    {"one row, odd width", 1, 37, 0, LT_F32, LT_F32},
    {"no rows", 0, 24, 0, LT_F32, LT_F32},
    {"rows of one vector", 5, 8, 0, LT_F32, LT_F32},
    {"strided, not a multiple of any vector", 7, 67, 3, LT_F32, LT_F32},
    {"large enough for several threads", 90, 515, 0, LT_F32, LT_F32},
    {"bf16, one row", 1, 37, 0, LT_BF16, LT_BF16},
    {"bf16, strided", 9, 83, 5, LT_BF16, LT_BF16},
    {"bf16, large", 90, 515, 0, LT_BF16, LT_BF16},
    {"f32 into bf16", 6, 41, 2, LT_F32, LT_BF16},
    {"bf16 into f32", 6, 41, 2, LT_BF16, LT_F32},
};

static const kt_tol tolerance = {2e-6, 1.01, 1e-2};

static void each_shape(void (*run)(kt_rig *, const void *), int unequal)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (unequal || shapes[i].x == shapes[i].y)
            kt_case(shapes[i].name, run, &shapes[i], tolerance);
}

static lt_tensor *take_x(kt_rig *r, const shape *c)
{
    return kt_take(r, "x", KT_IN, c->x, LT_DIMS(c->rows, c->width), c->gap, 2);
}

static lt_tensor *take_y(kt_rig *r, const shape *c, kt_role role)
{
    return kt_take(r, "y", role, c->y, LT_DIMS(c->rows, c->width), c->gap, 1);
}

/* Run `call` with vx and vy, the parts' views of x and y. */
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

static void run_copy(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *x = take_x(r, c), *y = take_y(r, c, KT_OUT);
    IN_PARTS(lt_copy(r->q, &vx, &vy));
}

static void run_copy_f16(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *x = take_x(r, c);
    lt_tensor *y = kt_take(r, "y", KT_OUT, LT_F16, LT_DIMS(c->rows, c->width), c->gap, 1);
    lt_tensor *z = take_y(r, c, KT_OUT);
    IN_PARTS(lt_copy(r->q, &vx, &vy));
    KT_OK(lt_copy(r->q, y, z));
}

static void run_fill(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *x = take_x(r, c), *y = take_y(r, c, KT_OUT);
    IN_PARTS(((void)vx, lt_fill(r->q, &vy, 0.7f)));
}

static void run_axpby(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *x = take_x(r, c), *y = take_y(r, c, KT_INOUT);
    IN_PARTS(lt_axpby(r->q, -1.3f, &vx, 0.6f, &vy));
}

static void run_axpby_unread(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *x = take_x(r, c), *y = take_y(r, c, KT_OUT); /* NaN: b = 0 must not read it */
    IN_PARTS(lt_axpby(r->q, 0.5f, &vx, 0, &vy));
}

static void run_add(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *x = take_x(r, c), *y = take_y(r, c, KT_INOUT);
    IN_PARTS(lt_axpby(r->q, 1, &vx, 1, &vy));
}

static void run_mul(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *x = take_x(r, c), *y = take_y(r, c, KT_INOUT);
    IN_PARTS(lt_mul(r->q, &vx, &vy));
}

static void run_scale_add(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *x = take_x(r, c), *y = take_y(r, c, KT_INOUT);
    const lt_tensor *scale = kt_take(r, "scale", KT_IN, LT_F32, LT_DIMS(c->width), 0, 1);
    IN_PARTS(lt_scale_add(r->q, &vx, scale, &vy));
}

static void run_silu(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *x = take_x(r, c), *y = take_y(r, c, KT_OUT);
    IN_PARTS(lt_activate(r->q, &vx, LT_ACT_SILU, &vy));
}

static void run_gelu_tanh(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *x = take_x(r, c), *y = take_y(r, c, KT_OUT);
    IN_PARTS(lt_activate(r->q, &vx, LT_ACT_GELU_TANH, &vy));
}

static void run_gelu_erf(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *x = take_x(r, c), *y = take_y(r, c, KT_OUT);
    IN_PARTS(lt_activate(r->q, &vx, LT_ACT_GELU_ERF, &vy));
}

static void run_activate_in_place(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *y = take_y(r, c, KT_INOUT), *x = y;
    IN_PARTS(lt_activate(r->q, &vx, LT_ACT_SILU, &vy));
}

static void run_clamp(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *x = take_x(r, c), *y = take_y(r, c, KT_OUT);
    IN_PARTS(lt_clamp(r->q, &vx, -0.75f, 1.25f, &vy));
}

static void run_swiglu(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *x = kt_take(r, "x", KT_IN, c->x, LT_DIMS(c->rows, 2 * c->width), c->gap, 2);
    lt_tensor *y = take_y(r, c, KT_OUT);
    IN_PARTS(lt_swiglu(r->q, &vx, &vy));
}

static void run_gate_add(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    lt_tensor *x = take_x(r, c), *y = take_y(r, c, KT_INOUT);
    const lt_tensor *table =
        kt_take(r, "table", KT_IN, c->x, LT_DIMS(5, 3 * c->width + 2), c->gap, 1);
    const lt_tensor *index = kt_take_index(r, c->rows, 5, 0);
    lt_range range[KT_PARTS_MAX];
    const int parts = kt_parts(r, c->rows, range);
    for (int p = 0; p < parts; p++) {
        const lt_tensor vx = lt_view_outer(x, range[p]), vi = lt_view_outer(index, range[p]);
        lt_tensor vy = lt_view_outer(y, range[p]);
        KT_OK(lt_gate_add(r->q, &vx, table, &vi, c->width + 1, &vy));
    }
}

static void run_gather(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    const lt_tensor *x = kt_take(r, "x", KT_IN, c->x, LT_DIMS(11, c->width), c->gap, 1);
    const lt_tensor *index = kt_take_index(r, c->rows, 11, 0);
    lt_tensor *y = take_y(r, c, KT_OUT);
    lt_range range[KT_PARTS_MAX];
    const int parts = kt_parts(r, c->rows, range);
    for (int p = 0; p < parts; p++) {
        const lt_tensor vi = lt_view_outer(index, range[p]);
        lt_tensor vy = lt_view_outer(y, range[p]);
        KT_OK(lt_gather_rows(r->q, x, &vi, &vy));
    }
}

static void run_scatter(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    const lt_tensor *x = take_x(r, c);
    const lt_tensor *index = kt_take_index(r, c->rows, c->rows + 3, 1);
    lt_tensor *y = kt_take(r, "y", KT_INOUT, c->y, LT_DIMS(c->rows + 3, c->width), c->gap, 1);
    lt_range range[KT_PARTS_MAX];
    const int parts = kt_parts(r, c->rows, range);
    for (int p = 0; p < parts; p++) {
        const lt_tensor vi = lt_view_outer(index, range[p]), vx = lt_view_outer(x, range[p]);
        KT_OK(lt_scatter_rows(r->q, &vx, &vi, y));
    }
}

static void run_sum_parts(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    for (int64_t parts = 1; parts <= 4; parts += 3) {
        const lt_tensor *x =
            kt_take(r, "x", KT_IN, LT_F32, LT_DIMS(parts, c->rows, c->width), 0, 1);
        KT_OK(lt_sum_parts(r->q, x, take_y(r, c, KT_OUT)));
    }
}

static void copies(void **state)
{
    (void)state;
    each_shape(run_copy, 1);
    each_shape(run_copy_f16, 1);
    each_shape(run_fill, 1);
}

static void sums(void **state)
{
    (void)state;
    each_shape(run_axpby, 1);
    each_shape(run_axpby_unread, 1);
    each_shape(run_add, 1);
    each_shape(run_mul, 0);
    each_shape(run_scale_add, 1);
    each_shape(run_sum_parts, 1);
}

static void activations(void **state)
{
    (void)state;
    each_shape(run_silu, 1);
    each_shape(run_gelu_tanh, 1);
    each_shape(run_gelu_erf, 1);
    each_shape(run_activate_in_place, 0);
    each_shape(run_clamp, 0);
}

static void gates(void **state)
{
    (void)state;
    each_shape(run_gate_add, 0);
    each_shape(run_swiglu, 0);
}

static void gathers(void **state)
{
    (void)state;
    each_shape(run_gather, 1);
    each_shape(run_scatter, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies), cmocka_unit_test(sums),    cmocka_unit_test(activations),
        cmocka_unit_test(gates),  cmocka_unit_test(gathers),
    };
    return cmocka_run_group_tests_name("kernels_rows", tests, NULL, NULL);
}
