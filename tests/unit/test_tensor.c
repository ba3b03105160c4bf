/* test_tensor.c - sizes, views and the messages of wrong shapes.
 * Goal: a view names exactly the elements that it says. Method: number the elements, read through
 * the view. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/tensor.h"

/* Element (row, column) of an i32 tensor. */
static int32_t at(const lt_tensor *x, int64_t row, int64_t column)
{
    return ((const int32_t *)x->data)[row * x->row_stride + column];
}

static lt_arena *arena(void)
{
    lt_arena *a = NULL;
    assert_int_equal(lt_arena_new("test", &lt_memory_host, 1 << 16, &a), LT_OK);
    return a;
}

static void new_tensors_are_dense(void **state)
{
    (void)state;
    lt_arena *a = arena();
    lt_tensor x;
    assert_int_equal(lt_tensor_new(a, "x", LT_BF16, &x, LT_DIMS(3, 5, 7)), LT_OK);
    assert_int_equal(x.ndim, 3);
    assert_int_equal(x.row_stride, 7);
    assert_int_equal(lt_elements(&x), 105);
    assert_int_equal(lt_row_count(&x), 15);
    assert_int_equal(lt_row_width(&x), 7);
    assert_int_equal(lt_tensor_bytes(&x), 210);
    assert_true(lt_is_dense(&x));
    assert_int_equal(lt_tensor_new(a, "v", LT_F32, &x, LT_DIMS(9)), LT_OK);
    assert_int_equal(lt_row_count(&x), 1);
    assert_int_equal(lt_tensor_new(a, "none", LT_F32, &x, LT_DIMS(0, 9)), LT_OK);
    assert_int_equal(lt_elements(&x), 0);
    assert_non_null(x.data);
    lt_arena_free(&a);
}

static void bad_shapes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        lt_dims dims;
        lt_status want;
    } cases[] = {
        {"negative", {2, {3, -1}}, LT_ESHAPE},
        {"negative beside zero", {2, {0, -1}}, LT_ESHAPE},
        {"2^63 elements", {2, {(int64_t)1 << 32, (int64_t)1 << 31}}, LT_ESHAPE},
        {"wraps to 0 in 64 bits", {2, {(int64_t)1 << 32, (int64_t)1 << 32}}, LT_ESHAPE},
        {"2^62 + more bytes", {1, {((int64_t)1 << 60) + 1}}, LT_ESHAPE},
        {"2^62 bytes: a shape, but no memory", {1, {(int64_t)1 << 60}}, LT_ENOMEM},
        {"zero first, then huge", {3, {0, INT64_MAX, INT64_MAX}}, LT_ESHAPE},
    };
    lt_arena *a = arena();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_tensor x;
        const lt_status st = lt_tensor_new(a, "bad", LT_F32, &x, cases[i].dims);
        if (st != cases[i].want)
            fail_msg("%s: %s", cases[i].name, lt_status_name(st));
        assert_non_null(strstr(lt_error_text(), "bad"));
    }
    assert_int_equal(lt_arena_used(a), 0);
    lt_arena_free(&a);
}

static void views_name_the_same_elements(void **state)
{
    (void)state;
    int32_t data[4 * 3 * 6];
    for (int32_t i = 0; i < 4 * 3 * 6; i++)
        data[i] = i;
    const lt_tensor x = lt_tensor_wrap(data, "x", LT_I32, LT_DIMS(4, 3, 6));
    const lt_tensor outer = lt_view_outer(&x, (lt_range){1, 2});
    assert_int_equal(outer.dim[0], 2);
    assert_int_equal(at(&outer, 0, 0), 18);
    assert_int_equal(at(&outer, 5, 5), 53);
    const lt_tensor columns = lt_view_columns(&outer, (lt_range){2, 3});
    assert_int_equal(lt_row_width(&columns), 3);
    assert_false(lt_is_dense(&columns));
    assert_int_equal(at(&columns, 0, 0), 20);
    assert_int_equal(at(&columns, 4, 2), 18 + 24 + 4);
    const lt_tensor inner = lt_view_outer(&columns, (lt_range){1, 1}); /* a view of a view */
    assert_int_equal(at(&inner, 0, 0), 38);
    const lt_tensor flat = lt_view_as(&columns, LT_DIMS(6, 3)); /* not dense: rows stay rows */
    assert_int_equal(flat.row_stride, 6);
    assert_int_equal(at(&flat, 5, 1), at(&columns, 5, 1));
    const lt_tensor wide = lt_view_as(&outer, LT_DIMS(2, 18));
    assert_int_equal(wide.row_stride, 18);
    assert_int_equal(at(&wide, 1, 17), 53);
    const lt_tensor v = lt_tensor_wrap(data, "v", LT_I32, LT_DIMS(10));
    const lt_tensor part = lt_view_outer(&v, (lt_range){4, 3});
    assert_int_equal(at(&part, 0, 0), 4);
    assert_int_equal(lt_elements(&part), 3);
    const lt_tensor none = lt_view_outer(&x, (lt_range){4, 0}); /* an empty share at the end */
    assert_int_equal(lt_elements(&none), 0);
    assert_true(lt_is_dense(&none));
    const lt_tensor row = lt_view_columns(&part, (lt_range){1, 2}); /* one row is dense, always */
    assert_int_equal(at(&row, 0, 1), 6);
}

static lt_status want(const lt_tensor *hidden, int64_t S, int64_t N, int64_t D)
{
    LT_WANT(hidden, S, N, D);
    return LT_OK;
}

static void wrong_shapes_are_named(void **state)
{
    (void)state;
    const lt_tensor x = lt_tensor_wrap(NULL, "attn.q", LT_F32, LT_DIMS(2, 24, 7));
    assert_int_equal(want(&x, 2, 24, 7), LT_OK);
    assert_int_equal(want(&x, 2, 24, 8), LT_ESHAPE);
    assert_string_equal(lt_error_text(),
                        "hidden (attn.q): want [S, N, D] = [2, 24, 8], found [2, 24, 7] F32");
    const lt_tensor flat = lt_tensor_wrap(NULL, NULL, LT_F32, LT_DIMS(336));
    assert_int_equal(want(&flat, 2, 24, 7), LT_ESHAPE);
    char text[64];
    assert_string_equal(lt_shape_text(&x, text, sizeof text), "[2, 24, 7] F32");
    char small[5]; /* a short buffer cuts, no more */
    assert_string_equal(lt_shape_text(&x, small, sizeof small), "[2, ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_tensors_are_dense),
        cmocka_unit_test(bad_shapes_are_refused),
        cmocka_unit_test(views_name_the_same_elements),
        cmocka_unit_test(wrong_shapes_are_named),
    };
    return cmocka_run_group_tests_name("tensor", tests, NULL, NULL);
}
