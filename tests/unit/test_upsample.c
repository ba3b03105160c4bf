/* test_upsample.c - a small canvas's latents on a larger one.
 * Goal: equal sizes are a copy; a constant stays; a plane that is linear in both directions stays
 * linear inside; borders repeat; cells lie where the formula says, also for ratios that are no
 * whole numbers. Method: against the formula in f64. Ranks: 1. Needs: nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "run/denoise/upsample.h"

enum { MOST = 40 };

static double clamp(double x, double most) { return x < 0 ? 0 : x > most ? most : x; }

static float cell(int64_t plane, double y, double x)
{
    return (float)((double)plane + 3 * y - 2 * x);
}

static void linear_stays_linear(void **state)
{
    (void)state;
    static const int64_t sizes[][4] = {/* h, w, H, W */
                                       {2, 2, 4, 4},   {4, 6, 8, 12}, {3, 5, 7, 11},  {1, 1, 4, 2},
                                       {8, 8, 20, 36}, {1, 7, 3, 7},  {20, 20, 10, 5}};
    static float from[2 * MOST * MOST], to[2 * MOST * MOST];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t h = sizes[i][0], w = sizes[i][1], H = sizes[i][2], W = sizes[i][3];
        for (int64_t p = 0; p < 2; p++)
            for (int64_t y = 0; y < h; y++)
                for (int64_t x = 0; x < w; x++)
                    from[(p * h + y) * w + x] = cell(p, (double)y, (double)x);
        lt_upsample(from, 2, h, w, to, H, W);
        for (int64_t p = 0; p < 2; p++)
            for (int64_t y = 0; y < H; y++)
                for (int64_t x = 0; x < W; x++) {
                    const double v =
                        clamp(((double)y + 0.5) * (double)h / (double)H - 0.5, (double)h - 1.0);
                    const double u =
                        clamp(((double)x + 0.5) * (double)w / (double)W - 0.5, (double)w - 1.0);
                    /* six roundings of values up to 120 */
                    if (!(fabs((double)to[(p * H + y) * W + x] - (double)cell(p, v, u)) <= 1e-4))
                        fail_msg("%lldx%lld to %lldx%lld: row %lld, column %lld: want %g, found %g",
                                 (long long)w, (long long)h, (long long)W, (long long)H,
                                 (long long)y, (long long)x, (double)cell(p, v, u),
                                 (double)to[(p * H + y) * W + x]);
                }
    }
}

static void the_same_size_is_a_copy(void **state)
{
    (void)state;
    float from[30], to[30];
    for (int i = 0; i < 30; i++)
        from[i] = sinf((float)i);
    from[7] = NAN;
    lt_upsample(from, 2, 3, 5, to, 3, 5);
    assert_memory_equal(to, from, sizeof from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(linear_stays_linear),
                                       cmocka_unit_test(the_same_size_is_a_copy)};
    return cmocka_run_group_tests_name("upsample", tests, NULL, NULL);
}
