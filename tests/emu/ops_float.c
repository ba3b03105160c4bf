/* ops_float.c - f32 arithmetic, comparisons, the approximate functions.
 *
 * .rn is C's own arithmetic (this folder is built with -ffp-contract=off). What the manual calls
 * approximate (PTX ISA 9.0: ex2.approx.ftz.f32 and rcp.approx.ftz.f32) is off here by up to one
 * unit in the last place, by a hash of the result: within what the manual allows (2 and 1 units),
 * and the same for the same input, so that what a kernel promises about bits still holds. */
#include <math.h>

#include "tests/emu/warp.h"

static void put(float *d, const float *r, uint32_t lanes)
{
    if (lanes == PTX_ALL) {
        memcpy(d, r, PTX_LANES * sizeof *d);
        return;
    }
    for (int lane = 0; lane < PTX_LANES; lane++)
        d[lane] = lanes >> lane & 1 ? r[lane] : d[lane];
}

#define FN(name, expr)                                                                             \
    static void name(ptx_warp *w, const ptx_ins *i, uint32_t lanes)                                \
    {                                                                                              \
        const float *a = ptx_floats(w, i, 1), *b = ptx_floats(w, i, 2), *c = ptx_floats(w, i, 3);  \
        float r[PTX_LANES];                                                                        \
        for (int lane = 0; lane < PTX_LANES; lane++) {                                             \
            const float x = a[lane], y = b[lane], z = c[lane];                                     \
            (void)x, (void)y, (void)z;                                                             \
            r[lane] = (expr);                                                                      \
        }                                                                                          \
        put(ptx_floats(w, i, 0), r, lanes);                                                        \
    }
#define FN_TEST(name, expr)                                                                        \
    static void name(ptx_warp *w, const ptx_ins *i, uint32_t lanes)                                \
    {                                                                                              \
        const float *a = ptx_floats(w, i, 1), *b = ptx_floats(w, i, 2);                            \
        uint32_t mask = 0, *d = ptx_words(w, i, 0);                                                \
        for (int lane = 0; lane < PTX_LANES; lane++) {                                             \
            const float x = a[lane], y = b[lane];                                                  \
            mask |= (uint32_t)(expr) << lane;                                                      \
        }                                                                                          \
        *d = (*d & ~lanes) | (mask & lanes);                                                       \
    }

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* x y + z, rounded down: the product of two floats is exact in double; what the sum leaves out
 * there is known (Knuth's two-sum), so the float below is found by its sign. */
static float fma_down(float x, float y, float z)
{
    const double p = (double)x * (double)y, q = (double)z, s = p + q;
    const double back = s - p, rest = (p - (s - back)) + (q - back);
    float r = (float)s;
    if (!isfinite(s))
        return r;
    if ((double)r > s || ((double)r == s && rest < 0))
        r = nextafterf(r, -INFINITY);
    return r;
}

static float flush(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x; }

/* r, or a neighbour of it. */
static float off_by_one(float r)
{
    if (!isfinite(r) || r == 0)
        return r;
    uint64_t state = bits_of(r);
    const uint64_t which = emu_draw(&state) % 3;
    return flush(float_of(bits_of(r) + (uint32_t)which - 1));
}

static float ex2(float x)
{
    const float in = flush(x);
    if (in == 0)
        return 1;
    return off_by_one(flush((float)exp2((double)in)));
}

static float rcp(float x) { return off_by_one(flush((float)(1.0 / (double)flush(x)))); }

/* PTX: the sign of the first, the rest of the second. */
static float sign_of(float x, float y)
{
    return float_of((bits_of(x) & 0x80000000u) | (bits_of(y) & 0x7fffffffu));
}

/* The manual's min and max: a NaN gives way to a number. */
static float smaller(float x, float y) { return isnan(x) ? y : isnan(y) || x < y ? x : y; }
static float greater(float x, float y) { return isnan(x) ? y : isnan(y) || x > y ? x : y; }

FN(add, x + y)
FN(sub, x - y)
FN(mul, x *y)
FN(fma_rn, fmaf(x, y, z))
FN(fma_rm, fma_down(x, y, z))
FN(div_rn, x / y)
FN(rcp_rn, 1.0f / x)
FN(sqrt_rn, sqrtf(x))
FN(neg, float_of(bits_of(x) ^ 0x80000000u))
FN(magnitude, float_of(bits_of(x) & 0x7fffffffu))
FN(copy_sign, sign_of(x, y))
FN(min_of, smaller(x, y))
FN(max_of, greater(x, y))
FN(ex2_approx, ex2(x))
FN(rcp_approx, rcp(x))

FN_TEST(eq, x == y)
FN_TEST(ne, x<y || x> y)
FN_TEST(lt, x < y)
FN_TEST(le, x <= y)
FN_TEST(gt, x > y)
FN_TEST(ge, x >= y)
FN_TEST(equ, !(x < y || x > y))
FN_TEST(neu, !(x == y))
FN_TEST(ltu, !(x >= y))
FN_TEST(leu, !(x > y))
FN_TEST(gtu, !(x <= y))
FN_TEST(geu, !(x < y))
FN_TEST(num, x == x && y == y)
FN_TEST(nan_of, x != x || y != y)

#define ROW(spelling, letters, fn)                                                                 \
    {                                                                                              \
        spelling, letters, fn, 0, 0, 0                                                             \
    }

const ptx_row ptx_rows_float[] = {
    ROW("add.rn.f32", "Www", add),
    ROW("add.f32", "Www", add),
    ROW("sub.rn.f32", "Www", sub),
    ROW("sub.f32", "Www", sub),
    ROW("mul.rn.f32", "Www", mul),
    ROW("mul.f32", "Www", mul),
    ROW("fma.rn.f32", "Wwww", fma_rn),
    ROW("fma.rm.f32", "Wwww", fma_rm),
    ROW("div.rn.f32", "Www", div_rn),
    ROW("rcp.rn.f32", "Ww", rcp_rn),
    ROW("sqrt.rn.f32", "Ww", sqrt_rn),
    ROW("neg.f32", "Ww", neg),
    ROW("abs.f32", "Ww", magnitude),
    ROW("copysign.f32", "Www", copy_sign),
    ROW("min.f32", "Www", min_of),
    ROW("max.f32", "Www", max_of),
    ROW("ex2.approx.ftz.f32", "Ww", ex2_approx),
    ROW("rcp.approx.ftz.f32", "Ww", rcp_approx),
    ROW("setp.eq.f32", "Pww", eq),
    ROW("setp.ne.f32", "Pww", ne),
    ROW("setp.lt.f32", "Pww", lt),
    ROW("setp.le.f32", "Pww", le),
    ROW("setp.gt.f32", "Pww", gt),
    ROW("setp.ge.f32", "Pww", ge),
    ROW("setp.equ.f32", "Pww", equ),
    ROW("setp.neu.f32", "Pww", neu),
    ROW("setp.ltu.f32", "Pww", ltu),
    ROW("setp.leu.f32", "Pww", leu),
    ROW("setp.gtu.f32", "Pww", gtu),
    ROW("setp.geu.f32", "Pww", geu),
    ROW("setp.num.f32", "Pww", num),
    ROW("setp.nan.f32", "Pww", nan_of),
    ROW(NULL, NULL, NULL),
};
