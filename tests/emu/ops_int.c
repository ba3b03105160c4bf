/* ops_int.c - whole numbers, bits, predicates, moves, selection.
 *
 * What is computed for a lane that does not take part is thrown away, so loops run over all lanes
 * and the compiler makes vectors of them; only a division looks at its divisor first. Registers of
 * 16 bits lie in words, zero-extended. */
#include "tests/emu/warp.h"

/* d = the lanes' of r, the others' as they were. */
static void put32(uint32_t *d, const uint32_t *r, uint32_t lanes)
{
    if (lanes == PTX_ALL) {
        memcpy(d, r, PTX_LANES * sizeof *d);
        return;
    }
    for (int lane = 0; lane < PTX_LANES; lane++)
        d[lane] = lanes >> lane & 1 ? r[lane] : d[lane];
}

static void put64(uint64_t *d, const uint64_t *r, uint32_t lanes)
{
    if (lanes == PTX_ALL) {
        memcpy(d, r, PTX_LANES * sizeof *d);
        return;
    }
    for (int lane = 0; lane < PTX_LANES; lane++)
        d[lane] = lanes >> lane & 1 ? r[lane] : d[lane];
}

static void put_mask(ptx_warp *w, const ptx_ins *i, uint32_t mask, uint32_t lanes)
{
    uint32_t *d = ptx_words(w, i, 0);
    *d = (*d & ~lanes) | (mask & lanes);
}

/* x, y, z: the operands' values, of the widths that the name says. */
#define FN32(name, expr)                                                                           \
    static void name(ptx_warp *w, const ptx_ins *i, uint32_t lanes)                                \
    {                                                                                              \
        const uint32_t *a = ptx_words(w, i, 1), *b = ptx_words(w, i, 2), *c = ptx_words(w, i, 3);  \
        uint32_t r[PTX_LANES];                                                                     \
        for (int lane = 0; lane < PTX_LANES; lane++) {                                             \
            const uint32_t x = a[lane], y = b[lane], z = c[lane];                                  \
            (void)x, (void)y, (void)z;                                                             \
            r[lane] = (uint32_t)(expr);                                                            \
        }                                                                                          \
        put32(ptx_words(w, i, 0), r, lanes);                                                       \
    }
#define FN64(name, expr)                                                                           \
    static void name(ptx_warp *w, const ptx_ins *i, uint32_t lanes)                                \
    {                                                                                              \
        const uint64_t *a = ptx_longs(w, i, 1), *b = ptx_longs(w, i, 2), *c = ptx_longs(w, i, 3);  \
        uint64_t r[PTX_LANES];                                                                     \
        for (int lane = 0; lane < PTX_LANES; lane++) {                                             \
            const uint64_t x = a[lane], y = b[lane], z = c[lane];                                  \
            (void)x, (void)y, (void)z;                                                             \
            r[lane] = (uint64_t)(expr);                                                            \
        }                                                                                          \
        put64(ptx_longs(w, i, 0), r, lanes);                                                       \
    }
/* 64 bits by a count of 32. */
#define FN_SHIFT64(name, expr)                                                                     \
    static void name(ptx_warp *w, const ptx_ins *i, uint32_t lanes)                                \
    {                                                                                              \
        const uint64_t *a = ptx_longs(w, i, 1);                                                    \
        const uint32_t *b = ptx_words(w, i, 2);                                                    \
        uint64_t r[PTX_LANES];                                                                     \
        for (int lane = 0; lane < PTX_LANES; lane++) {                                             \
            const uint64_t x = a[lane];                                                            \
            const uint32_t y = b[lane];                                                            \
            r[lane] = (uint64_t)(expr);                                                            \
        }                                                                                          \
        put64(ptx_longs(w, i, 0), r, lanes);                                                       \
    }
/* 64 bits of two (and one of 64) of 32. */
#define FN_WIDE(name, expr)                                                                        \
    static void name(ptx_warp *w, const ptx_ins *i, uint32_t lanes)                                \
    {                                                                                              \
        const uint32_t *a = ptx_words(w, i, 1), *b = ptx_words(w, i, 2);                           \
        const uint64_t *c = ptx_longs(w, i, 3);                                                    \
        uint64_t r[PTX_LANES];                                                                     \
        for (int lane = 0; lane < PTX_LANES; lane++) {                                             \
            const uint32_t x = a[lane], y = b[lane];                                               \
            const uint64_t z = c[lane];                                                            \
            (void)z;                                                                               \
            r[lane] = (uint64_t)(expr);                                                            \
        }                                                                                          \
        put64(ptx_longs(w, i, 0), r, lanes);                                                       \
    }
#define FN_TEST(name, type, take, expr)                                                            \
    static void name(ptx_warp *w, const ptx_ins *i, uint32_t lanes)                                \
    {                                                                                              \
        const type *a = (const type *)(const void *)take(w, i, 1);                                 \
        const type *b = (const type *)(const void *)take(w, i, 2);                                 \
        uint32_t mask = 0;                                                                         \
        for (int lane = 0; lane < PTX_LANES; lane++) {                                             \
            const type x = a[lane], y = b[lane];                                                   \
            mask |= (uint32_t)(expr) << lane;                                                      \
        }                                                                                          \
        put_mask(w, i, mask, lanes);                                                               \
    }
#define TESTS(name, type, take)                                                                    \
    FN_TEST(name##_eq, type, take, x == y)                                                         \
    FN_TEST(name##_ne, type, take, x != y)                                                         \
    FN_TEST(name##_lt, type, take, x < y)                                                          \
    FN_TEST(name##_le, type, take, x <= y)                                                         \
    FN_TEST(name##_gt, type, take, x > y)                                                          \
    FN_TEST(name##_ge, type, take, x >= y)

FN32(move32, x)
FN64(move64, x)
FN32(add32, x + y)
FN64(add64, x + y)
FN32(sub32, x - y)
FN64(sub64, x - y)
FN32(mul32, x *y)
FN64(mul64, x *y)
FN32(mad32, x *y + z)
FN64(mad64, x *y + z)
FN32(mul_hi_u32, (uint64_t)x *y >> 32)
FN32(mul_hi_s32, (uint64_t)((int64_t)(int32_t)x *(int32_t)y) >> 32)
FN_WIDE(mul_wide_u32, (uint64_t)x *y)
FN_WIDE(mul_wide_s32, (int64_t)(int32_t)x *(int32_t)y)
FN_WIDE(mad_wide_u32, (uint64_t)x *y + z)
FN_WIDE(mad_wide_s32, (uint64_t)((int64_t)(int32_t)x *(int32_t)y) + z)
/* What a division by zero gives is not defined: all ones. */
FN32(div_u32, y != 0 ? x / y : PTX_ALL)
FN32(div_s32, y == 0 ? PTX_ALL : y == PTX_ALL ? 0 - x : (uint32_t)((int32_t)x / (int32_t)y))
FN64(div_u64, y != 0 ? x / y : ~0ull)
FN64(div_s64, y == 0 ? ~0ull : y == ~0ull ? 0 - x : (uint64_t)((int64_t)x / (int64_t)y))
FN32(rem_u32, y != 0 ? x % y : x)
FN32(rem_s32, y == 0 || y == PTX_ALL ? 0 : (uint32_t)((int32_t)x % (int32_t)y))
FN64(rem_u64, y != 0 ? x % y : x)
FN64(rem_s64, y == 0 || y == ~0ull ? 0 : (uint64_t)((int64_t)x % (int64_t)y))
FN32(neg32, 0 - x)
FN64(neg64, 0 - x)
FN32(abs_s32, (int32_t)x < 0 ? 0 - x : x)
FN64(abs_s64, (int64_t)x < 0 ? 0 - x : x)
FN32(min_s32, (int32_t)x < (int32_t)y ? x : y)
FN32(max_s32, (int32_t)x > (int32_t)y ? x : y)
FN32(min_u32, x < y ? x : y)
FN32(max_u32, x > y ? x : y)
FN64(min_s64, (int64_t)x < (int64_t)y ? x : y)
FN64(max_s64, (int64_t)x > (int64_t)y ? x : y)
FN64(min_u64, x < y ? x : y)
FN64(max_u64, x > y ? x : y)
FN32(and32, x &y)
FN32(or32, x | y)
FN32(xor32, x ^ y)
FN32(not32, ~x)
FN32(not16, ~x & 0xffff)
FN64(and64, x &y)
FN64(or64, x | y)
FN64(xor64, x ^ y)
FN64(not64, ~x)
FN32(shl32, y < 32 ? x << y : 0)
FN32(shr_u32, y < 32 ? x >> y : 0)
FN32(shr_s32, (int32_t)x >> (y < 32 ? y : 31))
FN_SHIFT64(shl64, y < 64 ? x << y : 0)
FN_SHIFT64(shr_u64, y < 64 ? x >> y : 0)
FN_SHIFT64(shr_s64, (int64_t)x >> (y < 64 ? y : 63))
FN32(funnel_left, ((uint64_t)y << 32 | x) >> (32 - (z & 31)))
FN32(funnel_right, ((uint64_t)y << 32 | x) >> (z & 31))
FN32(popc32, __builtin_popcount(x))
FN32(clz32, x != 0 ? __builtin_clz(x) : 32)
FN32(together32, x | y << 16)

TESTS(test_u32, uint32_t, ptx_words)
TESTS(test_s32, int32_t, ptx_words)
TESTS(test_u64, uint64_t, ptx_longs)
TESTS(test_s64, int64_t, ptx_longs)

static void apart32(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    uint32_t low[PTX_LANES], high[PTX_LANES];
    const uint32_t *a = ptx_words(w, i, 2);
    for (int lane = 0; lane < PTX_LANES; lane++) {
        low[lane] = a[lane] & 0xffff;
        high[lane] = a[lane] >> 16;
    }
    put32(ptx_words(w, i, 0), low, lanes);
    put32(ptx_words(w, i, 1), high, lanes);
}

static void apart64(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    uint32_t low[PTX_LANES], high[PTX_LANES];
    const uint64_t *a = ptx_longs(w, i, 2);
    for (int lane = 0; lane < PTX_LANES; lane++) {
        low[lane] = (uint32_t)a[lane];
        high[lane] = (uint32_t)(a[lane] >> 32);
    }
    put32(ptx_words(w, i, 0), low, lanes);
    put32(ptx_words(w, i, 1), high, lanes);
}

FN_WIDE(together64, x | (uint64_t)y << 32)

static void select32(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    const uint32_t p = *ptx_words(w, i, 3);
    uint32_t r[PTX_LANES];
    const uint32_t *a = ptx_words(w, i, 1), *b = ptx_words(w, i, 2);
    for (int lane = 0; lane < PTX_LANES; lane++)
        r[lane] = p >> lane & 1 ? a[lane] : b[lane];
    put32(ptx_words(w, i, 0), r, lanes);
}

static void select64(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    const uint32_t p = *ptx_words(w, i, 3);
    uint64_t r[PTX_LANES];
    const uint64_t *a = ptx_longs(w, i, 1), *b = ptx_longs(w, i, 2);
    for (int lane = 0; lane < PTX_LANES; lane++)
        r[lane] = p >> lane & 1 ? a[lane] : b[lane];
    put64(ptx_longs(w, i, 0), r, lanes);
}

/* ---- predicates ---- */

static void and_predicate(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    put_mask(w, i, *ptx_words(w, i, 1) & *ptx_words(w, i, 2), lanes);
}

static void or_predicate(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    put_mask(w, i, *ptx_words(w, i, 1) | *ptx_words(w, i, 2), lanes);
}

static void xor_predicate(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    put_mask(w, i, *ptx_words(w, i, 1) ^ *ptx_words(w, i, 2), lanes);
}

static void not_predicate(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    put_mask(w, i, ~*ptx_words(w, i, 1), lanes);
}

/* Of a predicate, or of -1 and 0. */
static void move_predicate(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    put_mask(w, i, i->number >= 0 ? 0 - (uint32_t)i->number : *ptx_words(w, i, 1), lanes);
}

#define SETP(type, letters, fn)                                                                    \
    {"setp.eq." type, letters, fn##_eq, 0, 0, 0}, {"setp.ne." type, letters, fn##_ne, 0, 0, 0},    \
        {"setp.lt." type, letters, fn##_lt, 0, 0, 0},                                              \
        {"setp.le." type, letters, fn##_le, 0, 0, 0},                                              \
        {"setp.gt." type, letters, fn##_gt, 0, 0, 0},                                              \
    {                                                                                              \
        "setp.ge." type, letters, fn##_ge, 0, 0, 0                                                 \
    }
#define ROW(spelling, letters, fn)                                                                 \
    {                                                                                              \
        spelling, letters, fn, 0, 0, 0                                                             \
    }

const ptx_row ptx_rows_int[] = {
    ROW("mov.b16", "Hh", move32),
    ROW("mov.u16", "Hh", move32),
    ROW("mov.b32", "Ww", move32),
    ROW("mov.u32", "Ww", move32),
    ROW("mov.s32", "Ww", move32),
    ROW("mov.f32", "Ww", move32),
    ROW("mov.b64", "Dd", move64),
    ROW("mov.u64", "Dd", move64),
    ROW("mov.s64", "Dd", move64),
    ROW("mov.pred", "Pq", move_predicate),
    ROW("mov.b32:apart", "HHw", apart32),
    ROW("mov.b32:together", "Whh", together32),
    ROW("mov.b64:apart", "WWd", apart64),
    ROW("mov.b64:together", "Dww", together64),
    ROW("cvta.to.global.u64", "Dd", move64),
    ROW("add.s32", "Www", add32),
    ROW("add.u32", "Www", add32),
    ROW("add.s64", "Ddd", add64),
    ROW("add.u64", "Ddd", add64),
    ROW("sub.s32", "Www", sub32),
    ROW("sub.s64", "Ddd", sub64),
    ROW("mul.lo.s32", "Www", mul32),
    ROW("mul.lo.u32", "Www", mul32),
    ROW("mul.lo.s64", "Ddd", mul64),
    ROW("mul.hi.u32", "Www", mul_hi_u32),
    ROW("mul.hi.s32", "Www", mul_hi_s32),
    ROW("mul.wide.u32", "Dww", mul_wide_u32),
    ROW("mul.wide.s32", "Dww", mul_wide_s32),
    ROW("mad.lo.s32", "Wwww", mad32),
    ROW("mad.lo.s64", "Dddd", mad64),
    ROW("mad.wide.u32", "Dwwd", mad_wide_u32),
    ROW("mad.wide.s32", "Dwwd", mad_wide_s32),
    ROW("div.u32", "Www", div_u32),
    ROW("div.s32", "Www", div_s32),
    ROW("div.u64", "Ddd", div_u64),
    ROW("div.s64", "Ddd", div_s64),
    ROW("rem.u32", "Www", rem_u32),
    ROW("rem.s32", "Www", rem_s32),
    ROW("rem.u64", "Ddd", rem_u64),
    ROW("rem.s64", "Ddd", rem_s64),
    ROW("neg.s32", "Ww", neg32),
    ROW("neg.s64", "Dd", neg64),
    ROW("abs.s32", "Ww", abs_s32),
    ROW("abs.s64", "Dd", abs_s64),
    ROW("min.s32", "Www", min_s32),
    ROW("min.u32", "Www", min_u32),
    ROW("min.s64", "Ddd", min_s64),
    ROW("min.u64", "Ddd", min_u64),
    ROW("max.s32", "Www", max_s32),
    ROW("max.u32", "Www", max_u32),
    ROW("max.s64", "Ddd", max_s64),
    ROW("max.u64", "Ddd", max_u64),
    ROW("and.b16", "Hhh", and32),
    ROW("and.b32", "Www", and32),
    ROW("and.b64", "Ddd", and64),
    ROW("and.pred", "Ppp", and_predicate),
    ROW("or.b16", "Hhh", or32),
    ROW("or.b32", "Www", or32),
    ROW("or.b64", "Ddd", or64),
    ROW("or.pred", "Ppp", or_predicate),
    ROW("xor.b32", "Www", xor32),
    ROW("xor.b64", "Ddd", xor64),
    ROW("xor.pred", "Ppp", xor_predicate),
    ROW("not.b16", "Hh", not16),
    ROW("not.b32", "Ww", not32),
    ROW("not.b64", "Dd", not64),
    ROW("not.pred", "Pp", not_predicate),
    ROW("shl.b32", "Www", shl32),
    ROW("shl.b64", "Ddw", shl64),
    ROW("shr.u32", "Www", shr_u32),
    ROW("shr.s32", "Www", shr_s32),
    ROW("shr.u64", "Ddw", shr_u64),
    ROW("shr.s64", "Ddw", shr_s64),
    ROW("shf.l.wrap.b32", "Wwww", funnel_left),
    ROW("shf.r.wrap.b32", "Wwww", funnel_right),
    ROW("popc.b32", "Ww", popc32),
    ROW("clz.b32", "Ww", clz32),
    ROW("selp.b32", "Wwwp", select32),
    ROW("selp.u32", "Wwwp", select32),
    ROW("selp.s32", "Wwwp", select32),
    ROW("selp.f32", "Wwwp", select32),
    ROW("selp.b64", "Dddp", select64),
    SETP("s32", "Pww", test_s32),
    SETP("u32", "Pww", test_u32),
    SETP("b32", "Pww", test_u32),
    SETP("s64", "Pdd", test_s64),
    SETP("u64", "Pdd", test_u64),
    SETP("b64", "Pdd", test_u64),
    ROW(NULL, NULL, NULL),
};
