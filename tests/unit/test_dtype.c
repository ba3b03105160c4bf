/* test_dtype.c - conversions against a definition written another way.
 * Goal: every narrowing is the nearest value, ties to even. Method: all 65,536 values of bf16 and
 * f16 there and back; then values around every tie between neighbours, where the right answer is
 * known from the neighbours themselves. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/dtype.h"

static double value_of(lt_dtype dtype, uint16_t bits)
{
    double out;
    lt_convert(&bits, dtype, &out, LT_F64, 1);
    return out;
}

static uint16_t from_f64(lt_dtype dtype, double x)
{
    uint16_t out;
    lt_convert(&x, LT_F64, &out, dtype, 1);
    return out;
}

static uint16_t from_f32(lt_dtype dtype, float x)
{
    uint16_t out;
    lt_convert(&x, LT_F32, &out, dtype, 1);
    return out;
}

/* The value of f16 by its definition: sign, exponent, fraction. */
static double f16_by_definition(uint16_t h)
{
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const double sign = h >> 15 ? -1 : 1;
    if (exponent == 31)
        return fraction ? (double)NAN : sign * (double)INFINITY;
    return exponent == 0 ? sign * ldexp(fraction, -24)
                         : sign * ldexp(1024 + fraction, exponent - 25);
}

static void every_half_value_survives(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        const uint16_t h = (uint16_t)i;
        const double x = f16_by_definition(h);
        if (isnan(x)) {
            assert_true(isnan(value_of(LT_F16, h)));
            assert_true(isnan(value_of(LT_F16, from_f32(LT_F16, lt_f16_to_f32(h)))));
        } else {
            assert_true(value_of(LT_F16, h) == x);
            assert_int_equal(from_f64(LT_F16, x), h);
            assert_int_equal(from_f32(LT_F16, (float)x), h);
        }
        const float b = lt_bf16_to_f32(h);
        if (isnan(b))
            assert_true(isnan(lt_round_bf16(b)));
        else
            assert_int_equal(from_f32(LT_BF16, b), h);
    }
}

/* Around the middle of each pair of neighbours: exactly there, the even one; beside it, the nearer.
 */
static void ties_go_to_even(lt_dtype dtype, uint16_t largest)
{
    for (uint16_t low = 0; low < largest; low++) {
        const uint16_t high = (uint16_t)(low + 1);
        const double a = value_of(dtype, low), b = value_of(dtype, high), middle = (a + b) / 2;
        const uint16_t even = low % 2 == 0 ? low : high;
        const float under = nextafterf((float)middle, 0),
                    over = nextafterf((float)middle, INFINITY);
        if ((double)(float)middle == middle) { /* true but for the subnormals of bf16 */
            assert_int_equal(from_f32(dtype, (float)middle), even);
            assert_int_equal(from_f32(dtype, under), low);
            assert_int_equal(from_f32(dtype, over), high);
            assert_int_equal(from_f32(dtype, -over), high | 0x8000);
        }
        /* f64 has 29 bits more than f32: rounding by way of f32 would call these a tie. */
        assert_int_equal(from_f64(dtype, middle), even);
        assert_int_equal(from_f64(dtype, nextafter(middle, 0)), low);
        assert_int_equal(from_f64(dtype, nextafter(middle, INFINITY)), high);
        assert_int_equal(from_f64(dtype, -nextafter(middle, INFINITY)), high | 0x8000);
    }
}

static void narrowing_rounds_to_nearest_even(void **state)
{
    (void)state;
    ties_go_to_even(LT_F16, 0x7bff);
    ties_go_to_even(LT_BF16, 0x7f7f);
}

static void ends_of_the_range(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double x;
        uint16_t f16, bf16;
    } cases[] = {
        {"f16's largest", 65504, 0x7bff, 0x4780},
        {"the tie above it goes to Inf", 65520, 0x7c00, 0x4780},
        {"just under that tie", 65519.996, 0x7bff, 0x4780},
        {"f32's largest is bf16's Inf", 3.4028234663852886e38, 0x7c00, 0x7f80},
        {"past f32", 1e300, 0x7c00, 0x7f80},
        {"half of f16's least goes to zero", 0x1p-25, 0x0000, 0x3300},
        {"a little more does not", 0x1.0001p-25, 0x0001, 0x3300},
        {"minus zero keeps its sign", -0.0, 0x8000, 0x8000},
        {"Inf", (double)INFINITY, 0x7c00, 0x7f80},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint16_t f16 = from_f64(LT_F16, cases[i].x), bf16 = from_f64(LT_BF16, cases[i].x);
        if (f16 != cases[i].f16 || bf16 != cases[i].bf16)
            fail_msg("%s: f16 %04x, bf16 %04x", cases[i].name, f16, bf16);
    }
    /* A NaN whose payload lies in the bits that are cut must not become Inf. */
    const uint32_t low_nan = 0x7f800001u;
    float f;
    memcpy(&f, &low_nan, sizeof f);
    assert_true(isnan(lt_bf16_to_f32(lt_f32_to_bf16(f))));
    assert_true(isnan(lt_f16_to_f32(lt_f32_to_f16(f))));
}

static void names_and_sizes(void **state)
{
    (void)state;
    static const size_t bytes[LT_DTYPE_COUNT] = {4, 2, 2, 8, 4, 8, 1, 2};
    for (int i = 0; i < LT_DTYPE_COUNT; i++) {
        lt_dtype back = LT_DTYPE_COUNT;
        assert_int_equal(lt_dtype_bytes((lt_dtype)i), bytes[i]);
        assert_int_equal(lt_dtype_parse(lt_dtype_name((lt_dtype)i), &back), 1);
        assert_int_equal(back, i);
    }
    lt_dtype out = LT_U8;
    assert_int_equal(lt_dtype_parse("F8_E4M3", &out), 0);
    assert_int_equal(lt_dtype_parse("f32", &out), 0);
    assert_int_equal(lt_dtype_parse("", &out), 0);
    assert_int_equal(out, LT_U8);
}

static void first_not_finite_is_found(void **state)
{
    (void)state;
    static const size_t places[] = {0, 1, 1023, 1024, 2999};
    static float x[3000];
    static double d[3000];
    static uint16_t h[3000];
    for (size_t i = 0; i < 3000; i++) {
        x[i] = 3.4e38f; /* large, but finite */
        d[i] = 1e308;
        h[i] = 0x7bff;
    }
    assert_int_equal(lt_first_not_finite(x, LT_F32, 3000), -1);
    assert_int_equal(lt_first_not_finite(d, LT_F64, 3000), -1);
    assert_int_equal(lt_first_not_finite(h, LT_F16, 3000), -1);
    assert_int_equal(lt_first_not_finite(x, LT_F32, 0), -1);
    for (size_t i = sizeof places / sizeof *places;
         i-- > 0;) { /* from the end: each is the first */
        const size_t p = places[i];
        x[p] = i % 2 ? NAN : -INFINITY;
        d[p] = i % 2 ? (double)NAN : (double)INFINITY;
        h[p] = i % 2 ? 0x7e00 : 0xfc00;
        assert_int_equal(lt_first_not_finite(x, LT_F32, 3000), p);
        assert_int_equal(lt_first_not_finite(d, LT_F64, 3000), p);
        assert_int_equal(lt_first_not_finite(h, LT_F16, 3000), p);
    }
    h[0] = 0x7f80; /* bf16's Inf */
    assert_int_equal(lt_first_not_finite(h, LT_BF16, 1), 0);
}

static void unaligned_and_same_type(void **state)
{
    (void)state;
    char bytes[1 + 4 * sizeof(float)];
    const float in[4] = {1, -2, 0.5f, 65504};
    float out[4];
    memcpy(bytes + 1, in, sizeof in);
    lt_convert(bytes + 1, LT_F32, out, LT_F32, 4);
    assert_memory_equal(out, in, sizeof in);
    uint16_t h[4];
    lt_convert(bytes + 1, LT_F32, h, LT_F16, 4);
    assert_int_equal(h[3], 0x7bff);
    const int64_t ids[2] = {-5, INT64_MAX};
    int64_t same[2];
    lt_convert(ids, LT_I64, same, LT_I64, 2);
    assert_memory_equal(same, ids, sizeof ids);
    lt_convert(in, LT_F32, h, LT_BF16, 0); /* no elements: h keeps what it had */
    assert_int_equal(h[3], 0x7bff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_value_survives),
        cmocka_unit_test(narrowing_rounds_to_nearest_even),
        cmocka_unit_test(ends_of_the_range),
        cmocka_unit_test(names_and_sizes),
        cmocka_unit_test(first_not_finite_is_found),
        cmocka_unit_test(unaligned_and_same_type),
    };
    return cmocka_run_group_tests_name("dtype", tests, NULL, NULL);
}
