/* test_texts.c - the text rows that a window sees where prompts blend.
 * Goal: one prompt's rows are its own, not a copy; a mixture begins and ends bit for bit as the
 * prompts on its sides, has as many rows as the heavier, moves smoothly where both have rows, and
 * shows no row that no prompt has. Method: rows of known values. Ranks: 1. Needs: nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "run/denoise/texts.h"

enum { WIDTH = 2, SHORT = 3, LONG = 5 };

static const float a[SHORT * WIDTH] = {1, 2, 3, 4, 5, 6};
static const float b[LONG * WIDTH] = {-1, -2, -3, -4, -5, -6, -7, -8, -9, -10};
static const lt_text pair[2] = {{0, a, SHORT}, {100, b, LONG}};
static const lt_texts both = {pair, 2, 40};

static void far_from_a_border_rows_are_a_prompts_own(void **state)
{
    (void)state;
    static const struct {
        int64_t first, count;
        const float *rows;
        int64_t tokens;
    } cases[] = {{0, 90, a, SHORT}, {40, 80, a, SHORT}, {80, 80, b, LONG}, {150, 10, b, LONG}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lt_text_at at = lt_texts_at(&both, (lt_range){cases[i].first, cases[i].count});
        const float *rows = NULL;
        float *made = NULL;
        assert_int_equal(lt_texts_rows(&both, at, WIDTH, &rows, &made), LT_OK);
        assert_ptr_equal(rows, cases[i].rows);
        assert_null(made);
        assert_int_equal(lt_texts_count(&both, at), cases[i].tokens);
    }
}

static void a_mixture_has_the_heaviers_rows(void **state)
{
    (void)state;
    static const double weights[] = {1e-9, 0.25, 0.499, 0.5, 0.75, 1 - 1e-9};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        const lt_text_at at = {0, weights[i]};
        const float w = (float)weights[i];
        const int64_t count = weights[i] < 0.5 ? SHORT : LONG;
        const float *rows = NULL;
        float *made = NULL;
        assert_int_equal(lt_texts_rows(&both, at, WIDTH, &rows, &made), LT_OK);
        assert_int_equal(lt_texts_count(&both, at), count);
        for (int64_t k = 0; k < count * WIDTH; k++) {
            const float want = k < SHORT * WIDTH ? (1 - w) * a[k] + w * b[k] : b[k];
            if (!(fabsf(rows[k] - want) <= 1e-6f * fabsf(b[k])))
                fail_msg("weight %g: row value %lld: want %g, found %g", weights[i], (long long)k,
                         (double)want, (double)rows[k]);
        }
        free(made);
    }
}

/* As the centre crosses the border the values move by little steps, but where the number of rows
 * changes: once, at the middle. */
static void rows_move_smoothly(void **state)
{
    (void)state;
    float last = a[0];
    int jumps = 0;
    int64_t count = SHORT;
    for (int64_t first = 0; first < 180; first++) {
        const lt_text_at at = lt_texts_at(&both, (lt_range){first, 20});
        const float *rows = NULL;
        float *made = NULL;
        assert_int_equal(lt_texts_rows(&both, at, WIDTH, &rows, &made), LT_OK);
        assert_true(fabsf(rows[0] - last) <= 0.08f); /* 2 (1.5 / 40), the steepest of 3x2 - 2x3 */
        last = rows[0];
        jumps += lt_texts_count(&both, at) != count;
        count = lt_texts_count(&both, at);
        free(made);
    }
    assert_true(last <= b[0] && last >= b[0]);
    assert_int_equal(jumps, 1);
}

static void on_dry_only_counts_are_known(void **state)
{
    (void)state;
    const lt_text dry[2] = {{0, NULL, SHORT}, {100, NULL, LONG}};
    const lt_texts texts = {dry, 2, 40}, none = {NULL, 0, 0};
    const float *rows = a;
    float *made = NULL;
    assert_int_equal(lt_texts_rows(&texts, (lt_text_at){0, 0.75}, WIDTH, &rows, &made), LT_OK);
    assert_null(rows);
    assert_null(made);
    assert_int_equal(lt_texts_count(&texts, (lt_text_at){0, 0.75}), LONG);
    assert_int_equal(lt_texts_count(&none, lt_texts_at(&none, (lt_range){0, 1})), 0);
    assert_int_equal(lt_texts_rows(&none, (lt_text_at){0, 0}, 0, &rows, &made), LT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(far_from_a_border_rows_are_a_prompts_own),
        cmocka_unit_test(a_mixture_has_the_heaviers_rows),
        cmocka_unit_test(rows_move_smoothly),
        cmocka_unit_test(on_dry_only_counts_are_known),
    };
    return cmocka_run_group_tests_name("texts", tests, NULL, NULL);
}
