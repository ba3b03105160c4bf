/* test_ptx.c - the interpreter of PTX, on texts of its own.
 * Goal: each instruction gives what the manual says, for the lanes that take part and no others;
 * what is wrong in a kernel is named. Method: a kernel a case, written here, run on 32 threads or
 * more; results against instruction_cases.inc, layouts of tensor cores against the manual's
 * formulas, in double. A row that no case tries fails. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/emu/warp.h"

enum { TEXT = 16384, BUFFER = 1 << 16 };

typedef struct bench {
    char text[TEXT], why[PTX_WHY];
    size_t used;
    ptx_counts counts;
    uint64_t in, out; /* device memory; out has no value yet */
} bench;

static emu_range *range_of(uint64_t address) { return emu_memory_find(address, 1); }

static void begin(bench *b)
{
    memset(b, 0, sizeof *b);
    b->in = emu_memory_new(BUFFER, 0);
    b->out = emu_memory_new(BUFFER, 0);
    assert_true(b->in != 0 && b->out != 0);
}

static void end(bench *b)
{
    assert_true(emu_memory_free(b->in, 0));
    assert_true(emu_memory_free(b->out, 0));
}

__attribute__((format(printf, 2, 3))) static void add(bench *b, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    const int n = vsnprintf(b->text + b->used, TEXT - b->used, format, list);
    va_end(list);
    assert_true(n >= 0 && b->used + (size_t)n < TEXT);
    b->used += (size_t)n;
}

/* Names that every text has: %rd1 in, %rd2 out, %r1 the thread's number, %rd3 eight times that. */
static void head(bench *b)
{
    b->used = 0;
    add(b, ".version 9.0\n.target sm_80\n.address_size 64\n.extern .shared .align 128 .b8 dyn[];\n"
           ".visible .entry t(.param .u64 t_0, .param .u64 t_1)\n{\n"
           ".reg .pred %%p<8>;\n.reg .b16 %%rs<24>;\n.reg .b32 %%r<40>;\n.reg .f32 %%f<40>;\n"
           ".reg .b64 %%rd<40>;\n.shared .align 16 .b8 s[4096];\n"
           "ld.param.u64 %%rd1, [t_0];\nld.param.u64 %%rd2, [t_1];\nmov.u32 %%r1, %%tid.x;\n"
           "mul.wide.u32 %%rd3, %%r1, 8;\nadd.s64 %%rd4, %%rd2, %%rd3;\nadd.s64 %%rd5, %%rd1, "
           "%%rd3;\n");
}

/* 0: all went well. */
static int run(bench *b, uint32_t blocks, uint32_t threads, uint64_t seed, int sums)
{
    add(b, "ret;\n}\n");
    ptx_module *m = ptx_parse(b->text, b->why);
    if (m == NULL)
        return 1;
    const uint64_t params[2] = {b->in, b->out};
    const ptx_launch l = {.module = m,
                          .f = ptx_find(m, "t"),
                          .grid = {blocks, 1, 1},
                          .size = {threads, 1, 1},
                          .dynamic_bytes = 4096,
                          .params = params,
                          .seed = seed,
                          .sums = sums};
    assert_non_null(l.f);
    const int failed = ptx_run_launch(&l, &b->counts, b->why);
    ptx_free(&m);
    return failed;
}

static const uint64_t *longs_out(const bench *b)
{
    return (const uint64_t *)(const void *)range_of(b->out)->data;
}

static void put_in(bench *b, size_t at, const void *data, size_t bytes)
{
    emu_range *r = range_of(b->in);
    memcpy(r->data + at, data, bytes);
    memset(r->known + at, 1, bytes);
}

/* ---- one instruction ---- */

static const struct {
    const char *spelling;
    uint64_t in[3], out;
    const char *why;
} cases[] = {
#include "tests/emu/instruction_cases.inc"
};

/* Lane by lane: an odd one gets the result, an even one keeps what it had. */
static void one(bench *b, size_t c)
{
    static const char *const class[] = {"%p", "%rs", "%r", "%rd"};
    const ptx_row *row = ptx_row_of(cases[c].spelling, strlen(cases[c].spelling));
    if (row == NULL)
        fail_msg("%s: no such row", cases[c].spelling);
    head(b);
    add(b, "and.b32 %%r2, %%r1, 1;\nsetp.ne.s32 %%p1, %%r2, 0;\nsetp.ne.s32 %%p2, 0, 0;\n"
           "mov.b16 %%rs10, 0x55;\nmov.b32 %%r10, 0x55;\nmov.b64 %%rd10, 0x55;\n");
    const char *letters = row->operands;
    for (int k = 1; letters[k] != '\0'; k++) {
        const unsigned long long v = cases[c].in[k - 1];
        if (letters[k] == 'p' || letters[k] == 'q')
            add(b, "setp.ne.s32 %%p%d, %llu, 0;\n", 2 + k, v);
        else if (letters[k] == 'h')
            add(b, "mov.b16 %%rs%d, %llu;\n", 10 + k, v);
        else if (letters[k] == 'w')
            add(b, "mov.b32 %%r%d, 0x%llx;\n", 10 + k, v);
        else
            add(b, "mov.b64 %%rd%d, 0x%llx;\n", 10 + k, v);
    }
    add(b, "@%%p1 %s", row->spelling);
    for (int k = 0; letters[k] != '\0'; k++) {
        const int kind =
            (int)(strchr("phwd", letters[k] == 'q' ? 'p' : letters[k] | 0x20) - "phwd");
        add(b, "%s%s%d", k > 0 ? ", " : " ", class[kind < 0 || kind > 3 ? 0 : kind],
            kind == 0 ? 2 + k : 10 + k);
    }
    add(b, ";\n");
    if (letters[0] == 'P')
        add(b, "selp.b64 %%rd10, 1, 0, %%p2;\n");
    else if (letters[0] == 'H')
        add(b, "cvt.u32.u16 %%r10, %%rs10;\ncvt.u64.u32 %%rd10, %%r10;\n");
    else if (letters[0] == 'W')
        add(b, "cvt.u64.u32 %%rd10, %%r10;\n");
    add(b, "st.global.u64 [%%rd4], %%rd10;\n");
    if (run(b, 1, PTX_LANES, 0, 0))
        fail_msg("%s: %s", cases[c].spelling, b->why);
    for (int lane = 0; lane < PTX_LANES; lane++) {
        const uint64_t kept = letters[0] == 'P' ? 0 : 0x55, got = longs_out(b)[lane];
        const uint64_t wanted = lane & 1 ? cases[c].out : kept;
        if (got != wanted)
            fail_msg("%s 0x%llx, 0x%llx, 0x%llx: %s: lane %d: 0x%llx, want 0x%llx",
                     cases[c].spelling, (unsigned long long)cases[c].in[0],
                     (unsigned long long)cases[c].in[1], (unsigned long long)cases[c].in[2],
                     cases[c].why, lane, (unsigned long long)got, (unsigned long long)wanted);
    }
}

static int is_tried(const char *spelling)
{
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        if (strcmp(cases[c].spelling, spelling) == 0)
            return 1;
    return strchr(spelling, ':') != NULL; /* mov.b32 {}: below */
}

static void instructions_give_what_the_manual_says(void **state)
{
    (void)state;
    static bench b;
    const ptx_row *const tables[] = {ptx_rows_int, ptx_rows_float, ptx_rows_convert};
    begin(&b);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        one(&b, c);
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const ptx_row *r = tables[t]; r->spelling != NULL; r++)
            if (!is_tried(r->spelling) && strstr(r->spelling, "approx") == NULL)
                fail_msg("%s: no case tries it", r->spelling);
    end(&b);
}

static void registers_come_apart_and_together(void **state)
{
    (void)state;
    static bench b;
    begin(&b);
    head(&b);
    add(&b, "mov.b32 %%r2, 0x12345678;\nmov.b32 {%%rs1, %%rs2}, %%r2;\n"
            "mov.b32 %%r3, {%%rs2, %%rs1};\nmov.b32 %%r4, 0x9abcdef0;\n"
            "mov.b64 %%rd6, {%%r3, %%r4};\nmov.b64 {%%r5, %%r6}, %%rd6;\n"
            "mov.b64 %%rd7, {%%r6, %%r5};\nst.global.u64 [%%rd4], %%rd7;\n");
    assert_int_equal(run(&b, 1, PTX_LANES, 0, 0), 0);
    assert_true(longs_out(&b)[31] == 0x567812349abcdef0u);
    end(&b);
}

/* Not exact, but near, and twice the same: exp2 and 1/x over many sizes. */
static void approximations_keep_their_bounds(void **state)
{
    (void)state;
    static bench b;
    begin(&b);
    for (int which = 0; which < 2; which++) {
        int off = 0;
        for (int round = 0; round < 64; round++) {
            uint64_t x[PTX_LANES], seed = (uint64_t)round + 1;
            for (int lane = 0; lane < PTX_LANES; lane++) {
                const float v = (float)((double)(emu_draw(&seed) >> 11) * 0x1p-53 * 200 - 100);
                x[lane] = 0;
                memcpy(&x[lane], &v, sizeof v);
            }
            put_in(&b, 0, x, sizeof x);
            head(&b);
            add(&b,
                "ld.global.f32 %%f1, [%%rd5];\n%s.approx.ftz.f32 %%f2, %%f1;\n"
                "%s.approx.ftz.f32 %%f3, %%f1;\nst.global.v2.f32 [%%rd4], {%%f2, %%f3};\n",
                which ? "rcp" : "ex2", which ? "rcp" : "ex2");
            assert_int_equal(run(&b, 1, PTX_LANES, 0, 0), 0);
            for (int lane = 0; lane < PTX_LANES; lane++) {
                float v, got[2];
                memcpy(&v, &x[lane], sizeof v);
                memcpy(got, &longs_out(&b)[lane], sizeof got);
                const double exact = which ? 1 / (double)v : exp2((double)v);
                assert_true(got[0] == got[1]);
                assert_true(fabs(got[0] - exact) <= 2 * ldexp(exact < 0 ? -exact : exact, -23));
                off += got[0] != (float)exact;
            }
        }
        assert_true(off > 500); /* of 2,048 */
    }
    end(&b);
}

/* ---- memory ---- */

/* Bytes that are read by one row and written by its fellow come back as they were. */
static void loads_and_stores_move_bytes(void **state)
{
    (void)state;
    static bench b;
    unsigned char bytes[PTX_LANES * 32];
    begin(&b);
    for (size_t k = 0; k < sizeof bytes; k++)
        bytes[k] = (unsigned char)(k * 7 + 3);
    put_in(&b, 0, bytes, sizeof bytes);
    for (const ptx_row *r = ptx_rows_memory; r->spelling != NULL; r++) {
        if (strncmp(r->spelling, "ld.global", 9) != 0)
            continue;
        const int width = r->bytes * r->vector;
        const char *type = strrchr(r->spelling, '.') + 1, *reg = r->bytes == 8 ? "%rd" : "%r";
        const char *v = r->vector == 4 ? ".v4" : r->vector == 2 ? ".v2" : "";
        const char *to = strcmp(type, "s32") == 0 ? "u32" : type;
        char list[80];
        (void)snprintf(list, sizeof list,
                       r->vector == 4   ? "{%s20, %s21, %s22, %s23}"
                       : r->vector == 2 ? "{%s20, %s21}"
                                        : "%s20",
                       reg, reg, reg, reg);
        if (width > 16)
            continue; /* wider than a lane's access can be */
        head(&b);
        add(&b,
            "mul.wide.u32 %%rd6, %%r1, %d;\nadd.s64 %%rd7, %%rd1, %%rd6;\nadd.s64 %%rd8, "
            "%%rd2, %%rd6;\nmov.u64 %%rd9, s;\nadd.s64 %%rd9, %%rd9, %%rd6;\n",
            width);
        add(&b,
            "%s %s, [%%rd7];\nst.shared%s.%s [%%rd9], %s;\nld.shared%s.%s %s, [%%rd9];\n"
            "st.global%s.%s [%%rd8], %s;\n",
            r->spelling, list, v, to, list, v, type, list, v, to, list);
        if (run(&b, 1, PTX_LANES, 0, 0))
            fail_msg("%s: %s", r->spelling, b.why);
        if (memcmp(range_of(b.out)->data, bytes, (size_t)(PTX_LANES * width)) != 0)
            fail_msg("%s: other bytes came back", r->spelling);
    }
    end(&b);
}

/* ---- lanes ---- */

static const struct {
    const char *name, *mode;
    int by;
    uint32_t c;
    int wanted[4]; /* where lanes 0, 5, 17 and 31 take from */
} shuffles[] = {
    {"from one lane", "idx", 3, 31, {3, 3, 3, 3}},
    {"over the half", "bfly", 16, 31, {16, 21, 1, 15}},
    {"up, the first keep theirs", "up", 2, 0, {0, 3, 15, 29}},
    {"down, the last keep theirs", "down", 4, 31, {4, 9, 21, 31}},
    {"in eights", "idx", 1, 0x181f, {1, 1, 17, 25}},
};

static void shuffles_take_from_the_manuals_lanes(void **state)
{
    (void)state;
    static bench b;
    static const int lanes[4] = {0, 5, 17, 31};
    begin(&b);
    for (size_t s = 0; s < sizeof shuffles / sizeof *shuffles; s++) {
        head(&b);
        add(&b, "mad.lo.s32 %%r2, %%r1, 10, 7;\n");
        add(&b, "shfl.sync.%s.b32 %%r3|%%p1, %%r2, %d, %u, -1;\n", shuffles[s].mode, shuffles[s].by,
            shuffles[s].c);
        add(&b, "cvt.u64.u32 %%rd6, %%r3;\nst.global.u64 [%%rd4], %%rd6;\n");
        if (run(&b, 1, PTX_LANES, 0, 0))
            fail_msg("%s: %s", shuffles[s].name, b.why);
        for (int k = 0; k < 4; k++)
            if (longs_out(&b)[lanes[k]] != (uint64_t)(10 * shuffles[s].wanted[k] + 7))
                fail_msg("%s: lane %d has %llu, want that of %d", shuffles[s].name, lanes[k],
                         (unsigned long long)longs_out(&b)[lanes[k]], shuffles[s].wanted[k]);
    }
    end(&b);
}

static uint16_t bf16_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return (uint16_t)(u >> 16);
}

/* A [16, 16] and B [16, 8] by ldmatrix from shared memory (B as [k, n], so transposed), C of
 * numbers: D = A B + C, small whole numbers, so that every model of sums is exact. */
static void tensor_cores_multiply(void **state)
{
    (void)state;
    static bench b;
    float a[16][16], w[16][8];
    uint16_t block[16 * 16 + 16 * 8];
    begin(&b);
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 16; k++)
            block[16 * i + k] = bf16_of(a[i][k] = (float)((3 * i + 5 * k) % 13 - 6));
    for (int k = 0; k < 16; k++)
        for (int n = 0; n < 8; n++)
            block[256 + 8 * k + n] = bf16_of(w[k][n] = (float)((7 * k + 2 * n) % 11 - 5));
    put_in(&b, 0, block, sizeof block);
    for (int sums = 0; sums < PTX_SUMS_KINDS; sums++) {
        head(&b);
        /* 24 pieces of 32 bytes to shared memory, by cp.async, 16 bytes twice */
        add(&b, "setp.lt.u32 %%p1, %%r1, 24;\nshl.b32 %%r2, %%r1, 5;\ncvt.u64.u32 %%rd6, %%r2;\n"
                "add.s64 %%rd7, %%rd1, %%rd6;\nmov.u32 %%r3, s;\nadd.s32 %%r4, %%r3, %%r2;\n"
                "@%%p1 cp.async.cg.shared.global [%%r4], [%%rd7], 16, 16;\n"
                "@%%p1 cp.async.cg.shared.global [%%r4+16], [%%rd7+16], 16, 16;\n"
                "cp.async.commit_group;\ncp.async.wait_group 0;\nbar.sync 0;\n");
        /* a's matrices: rows 0-7 and 8-15 of columns 0-7, then of 8-15 */
        add(&b, "and.b32 %%r5, %%r1, 15;\nshl.b32 %%r5, %%r5, 5;\nshr.u32 %%r6, %%r1, 4;\n"
                "shl.b32 %%r6, %%r6, 4;\nadd.s32 %%r7, %%r5, %%r6;\nadd.s32 %%r7, %%r7, %%r3;\n"
                "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%%r10,%%r11,%%r12,%%r13}, [%%r7];\n");
        /* b's rows 0-7 and 8-15, transposed; the other two matrices are the same again */
        add(&b, "and.b32 %%r8, %%r1, 15;\nshl.b32 %%r8, %%r8, 4;\nadd.s32 %%r8, %%r8, %%r3;\n"
                "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%%r14,%%r15,%%r16,%%r17}, "
                "[%%r8+512];\n");
        add(&b, "cvt.rn.f32.s32 %%f4, %%r1;\nmov.f32 %%f5, 0f3F800000;\nmov.f32 %%f6, 0f40000000;\n"
                "mov.f32 %%f7, 0f00000000;\n"
                "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%%f4,%%f5,%%f6,%%f7}, "
                "{%%r10,%%r11,%%r12,%%r13}, {%%r14,%%r15}, {%%f4,%%f5,%%f6,%%f7};\n"
                "mul.wide.u32 %%rd8, %%r1, 16;\nadd.s64 %%rd9, %%rd2, %%rd8;\n"
                "st.global.v4.f32 [%%rd9], {%%f4, %%f5, %%f6, %%f7};\n");
        if (run(&b, 1, PTX_LANES, 0, sums))
            fail_msg("model %d: %s", sums, b.why);
        assert_int_equal(b.counts.mma, sums + 1);
        const float *d = (const float *)(const void *)range_of(b.out)->data;
        for (int lane = 0; lane < PTX_LANES; lane++)
            for (int r = 0; r < 4; r++) {
                const int i = lane / 4 + 8 * (r / 2), n = 2 * (lane % 4) + r % 2;
                double wanted = r == 0 ? lane : r == 1 ? 1 : r == 2 ? 2 : 0;
                for (int k = 0; k < 16; k++)
                    wanted += (double)a[i][k] * w[k][n];
                if ((double)d[4 * lane + r] != wanted)
                    fail_msg("model %d: [%d, %d]: %g, want %g", sums, i, n, (double)d[4 * lane + r],
                             wanted);
            }
    }
    end(&b);
}

/* Lanes that part in a loop of as many turns as their number, and meet again. */
static void lanes_part_and_meet(void **state)
{
    (void)state;
    static bench b;
    begin(&b);
    for (uint64_t seed = 0; seed < 3; seed++) {
        head(&b);
        add(&b, "mov.u32 %%r2, 0;\nmov.u32 %%r3, 0;\n$L_0:\nsetp.ge.s32 %%p1, %%r2, %%r1;\n"
                "@%%p1 bra $L_1;\nadd.s32 %%r3, %%r3, %%r2;\nadd.s32 %%r2, %%r2, 1;\n"
                "bra.uni $L_0;\n$L_1:\nshfl.sync.bfly.b32 %%r4|%%p2, %%r3, 1, 31, -1;\n"
                "cvt.u64.u32 %%rd6, %%r4;\nst.global.u64 [%%rd4], %%rd6;\n");
        assert_int_equal(run(&b, 1, 96, seed, 0), 0);
        for (uint64_t t = 0; t < 96; t++)
            assert_true(longs_out(&b)[t] == (t ^ 1) * ((t ^ 1) - 1) / 2);
    }
    end(&b);
}

/* ---- what is wrong ---- */

static const struct {
    const char *says, *body;
    uint32_t blocks, threads;
} wrongs[] = {
    {"writes outside of the device's memory", "st.global.u32 [%rd2+65536], %r1;", 1, 32},
    {"reads outside of the device's memory", "ld.global.u32 %r2, [%rd1+-4];", 1, 32},
    {"outside of the device's memory", "ld.global.u32 %r2, [s];", 1, 32},
    {"misaligned in global memory", "ld.global.u32 %r2, [%rd1+2];", 1, 32},
    {"misaligned in global memory", "ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%rd1+8];", 1, 32},
    {"reads global memory that has no value", "ld.global.u32 %r2, [%rd2];", 1, 32},
    {"touches global memory that another block writes", "st.global.u32 [%rd2], %r1;", 2, 1},
    {"outside of the parameters", "ld.param.u32 %r2, [t_1+8];", 1, 1},
    {"out of bounds in shared memory", "mov.u32 %r2, s; st.shared.u32 [%r2+8192], %r1;", 1, 1},
    {"misaligned in shared memory", "mov.u32 %r2, s; st.shared.u32 [%r2+2], %r1;", 1, 1},
    {"reads shared memory that has no value", "mov.u32 %r2, s; ld.shared.u32 %r3, [%r2];", 1, 1},
    {"reads shared memory that another thread wrote",
     "mov.u32 %r2, s; mad.lo.s32 %r3, %r1, 4, %r2; st.shared.u32 [%r3], %r1; xor.b32 %r4, %r1, 32; "
     "mad.lo.s32 %r5, %r4, 4, %r2; setp.ge.s32 %p1, %r1, 32; @%p1 ld.shared.u32 %r6, [%r5];",
     1, 64},
    {"reads shared memory that another thread wrote", /* in one warp: lanes in step hide it */
     "mov.u32 %r2, s; mad.lo.s32 %r3, %r1, 4, %r2; st.shared.u32 [%r3], %r1; xor.b32 %r4, %r1, 1; "
     "mad.lo.s32 %r5, %r4, 4, %r2; ld.shared.u32 %r6, [%r5];",
     1, 32},
    {"writes shared memory that another thread wrote", "mov.u32 %r2, s; st.shared.u32 [%r2], %r1;",
     1, 32},
    {"writes shared memory that another thread reads",
     "mov.u32 %r2, s; setp.eq.s32 %p1, %r1, 0; @%p1 st.shared.u32 [%r2], %r1; bar.sync 0; "
     "ld.shared.u32 %r3, [%r2]; @%p1 st.shared.u32 [%r2], %r3;",
     1, 64},
    {"reads shared memory before its cp.async was waited for",
     "mov.u32 %r2, s; cp.async.cg.shared.global [%r2], [%rd1], 16, 16; cp.async.commit_group; "
     "cp.async.wait_group 1; ld.shared.u32 %r3, [%r2];",
     1, 1},
    {"reads shared memory before its cp.async was waited for",
     "mov.u32 %r2, s; cp.async.cg.shared.global [%r2], [%rd1], 16, 16; cp.async.wait_group 0; "
     "ld.shared.u32 %r3, [%r2];",
     1, 1},
    {"writes shared memory that a cp.async is under way to",
     "mov.u32 %r2, s; cp.async.cg.shared.global [%r2], [%rd1], 16, 16; st.shared.u32 [%r2], %r1;",
     1, 1},
    {"reads global memory that has no value", /* when it arrives */
     "mov.u32 %r2, s; cp.async.cg.shared.global [%r2], [%rd2], 16, 16; cp.async.commit_group; "
     "cp.async.wait_group 0;",
     1, 1},
    {"takes from a lane that is not there",
     "setp.lt.s32 %p1, %r1, 16; @%p1 shfl.sync.bfly.b32 %r2|%p2, %r1, 16, 31, 65535;", 1, 32},
    {"waits for lanes that do not come",
     "setp.lt.s32 %p1, %r1, 16; @%p1 bra $A; bar.sync 0; bra.uni $B; $A: "
     "shfl.sync.bfly.b32 %r2|%p2, %r1, 1, 31, -1; $B:",
     1, 32},
    {"a barrier that not all lanes reach",
     "setp.lt.s32 %p1, %r1, 16; @%p1 bra $A; bar.sync 0; bra.uni $B; $A: bar.sync 0; $B:", 1, 32},
    {"want one barrier for all threads", "setp.lt.s32 %p1, %r1, 16; @%p1 bar.sync 0;", 1, 32},
    {"want a whole warp", "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r2, %r3, %r4, %r5}, [%r1];",
     1, 16},
    {"want an instruction that the interpreter knows, found 'wgmma.fence", "wgmma.fence.sync;", 1,
     1},
    {"want a register of another width", "add.s32 %r2, %r1, %rd1;", 1, 1},
    {"want a label of this function", "bra $NOWHERE;", 1, 1},
    {"want a register, found 'dyn", "add.s32 dyn, %r1, %r1;", 1, 1},
    {"want the end of the instruction", "mov.u32 %r2, %r1, %r1;", 1, 1},
};

static void names_what_is_wrong(void **state)
{
    (void)state;
    static bench b;
    begin(&b);
    uint32_t some[64] = {0};
    for (size_t k = 0; k < sizeof wrongs / sizeof *wrongs; k++) {
        (void)emu_memory_free(b.out, 0);
        b.out = emu_memory_new(BUFFER, 0); /* without values */
        put_in(&b, 0, some, sizeof some);
        head(&b);
        add(&b, "%s\n", wrongs[k].body);
        if (!run(&b, wrongs[k].blocks, wrongs[k].threads, 0, 0))
            fail_msg("'%s': nothing was wrong", wrongs[k].body);
        if (strstr(b.why, wrongs[k].says) == NULL)
            fail_msg("'%s': want '%s', found '%s'", wrongs[k].body, wrongs[k].says, b.why);
        if (strstr(b.why, "line ") == NULL)
            fail_msg("'%s': no line in '%s'", wrongs[k].body, b.why);
    }
    end(&b);
}

/* What looks like it and is right. */
static const char *const rights[] = {
    "mov.u32 %r2, s; mad.lo.s32 %r3, %r1, 4, %r2; st.shared.u32 [%r3], %r1; bar.sync 0; "
    "xor.b32 %r4, %r1, 32; mad.lo.s32 %r5, %r4, 4, %r2; ld.shared.u32 %r6, [%r5]; bar.sync 0; "
    "st.shared.u32 [%r5], %r6;",
    "mov.u32 %r2, s; mad.lo.s32 %r3, %r1, 4, %r2; st.shared.u32 [%r3], %r1; bar.warp.sync -1; "
    "xor.b32 %r4, %r1, 1; mad.lo.s32 %r5, %r4, 4, %r2; ld.shared.u32 %r6, [%r5];",
    /* a thread's own copy needs no barrier; nothing is read where no byte is asked for */
    "mov.u32 %r2, s; mad.lo.s32 %r3, %r1, 16, %r2; "
    "cp.async.cg.shared.global [%r3], [%rd1+999999], 16, 0; cp.async.commit_group; "
    "cp.async.wait_group 0; ld.shared.u32 %r6, [%r3]; cvt.u64.u32 %rd6, %r6; "
    "st.global.u64 [%rd4], %rd6;",
};

static void lets_right_ones_pass(void **state)
{
    (void)state;
    static bench b;
    begin(&b);
    for (size_t k = 0; k < sizeof rights / sizeof *rights; k++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            head(&b);
            add(&b, "%s\n", rights[k]);
            if (run(&b, 1, 64, seed, 0))
                fail_msg("'%s': %s", rights[k], b.why);
        }
    assert_true(longs_out(&b)[63] == 0);
    end(&b);
}

/* ---- what a request touches ---- */

static const struct {
    const char *text;
    ptx_traffic loads, stores;
} requests[] = {
    {"ld.global.u64 %rd6, [%rd5];", {1, 8, 8}, {0, 0, 0}},
    {"ld.global.u64 %rd6, [%rd5+8];", {1, 9, 8}, {0, 0, 0}},
    {"ld.global.f32 %f1, [%rd5];", {1, 8, 4}, {0, 0, 0}},
    {"ld.global.u64 %rd6, [%rd1];", {1, 1, 1}, {0, 0, 0}},
    {"setp.lt.u32 %p1, %r1, 16;\n@%p1 ld.global.u64 %rd6, [%rd5];", {1, 4, 4}, {0, 0, 0}},
    {"setp.lt.u32 %p1, %r1, 0;\n@%p1 ld.global.u64 %rd6, [%rd5];", {0, 0, 0}, {0, 0, 0}},
    {"shl.b64 %rd6, %rd3, 2;\nadd.s64 %rd6, %rd2, %rd6;\nmov.b16 %rs1, 7;\n"
     "st.global.u16 [%rd6], %rs1;",
     {0, 0, 0},
     {1, 32, 2}},
    {"and.b32 %r2, %r1, 1;\nmul.wide.u32 %rd6, %r2, 4096;\nadd.s64 %rd6, %rd5, %rd6;\n"
     "st.global.u64 [%rd6], %rd3;",
     {0, 0, 0},
     {1, 16, 8}},
    {"mov.u32 %r3, s;\nshl.b32 %r2, %r1, 4;\nadd.s32 %r4, %r3, %r2;\nshl.b64 %rd6, %rd3, 1;\n"
     "add.s64 %rd6, %rd1, %rd6;\nsetp.lt.u32 %p1, %r1, 8;\nselp.b32 %r5, 16, 0, %p1;\n"
     "cp.async.cg.shared.global [%r4], [%rd6], 16, %r5;\ncp.async.commit_group;\n"
     "cp.async.wait_group 0;",
     {1, 4, 4},
     {0, 0, 0}},
};

static void same_traffic(const char *text, ptx_traffic a, ptx_traffic wanted)
{
    if (a.requests != wanted.requests || a.sectors != wanted.sectors || a.ideal != wanted.ideal)
        fail_msg("'%s': %d requests, %d pieces, %d would do; want %d, %d, %d", text,
                 (int)a.requests, (int)a.sectors, (int)a.ideal, (int)wanted.requests,
                 (int)wanted.sectors, (int)wanted.ideal);
}

static void requests_touch_pieces(void **state)
{
    (void)state;
    static bench b;
    static const unsigned char zeros[BUFFER];
    for (size_t k = 0; k < sizeof requests / sizeof *requests; k++) {
        begin(&b);
        put_in(&b, 0, zeros, sizeof zeros);
        head(&b);
        add(&b, "%s\n", requests[k].text);
        if (run(&b, 1, PTX_LANES, 0, 0))
            fail_msg("'%s': %s", requests[k].text, b.why);
        same_traffic(requests[k].text, b.counts.loads, requests[k].loads);
        same_traffic(requests[k].text, b.counts.stores, requests[k].stores);
        end(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instructions_give_what_the_manual_says),
        cmocka_unit_test(registers_come_apart_and_together),
        cmocka_unit_test(approximations_keep_their_bounds),
        cmocka_unit_test(loads_and_stores_move_bytes),
        cmocka_unit_test(shuffles_take_from_the_manuals_lanes),
        cmocka_unit_test(tensor_cores_multiply),
        cmocka_unit_test(lanes_part_and_meet),
        cmocka_unit_test(names_what_is_wrong),
        cmocka_unit_test(lets_right_ones_pass),
        cmocka_unit_test(requests_touch_pieces),
    };
    return cmocka_run_group_tests_name("ptx", tests, NULL, NULL);
}
