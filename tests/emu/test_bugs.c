/* test_bugs.c - bugs that are put into longtake_cuda.so's kernels and calls, one at a time.
 * Goal: what the interpreter promises to see, it sees: each bug of the tables is caught, by a line
 * that names it or by a result that is off; and nothing is caught where there is no bug. Method: a
 * kernel's PTX is patched when it is loaded (lt_emu_patch), or the stand-in leaves out what a
 * backend could forget (lt_emu_set_bug); an op that uses it runs, under seeds 0 to 2 and all three
 * models of tensor cores' sums where that is said, and is compared with kernels/ref. Ranks: 1.
 * Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "kernels/kernels.h"
#include "tests/emu/part.h"
#include "tests/support/table.h"

enum { TENSORS = 8, SAYS = 400 };

typedef struct rig {
    const lt_backend *backend;
    lt_arena *arena;
    lt_queue *q;
    void *host[TENSORS];
    int count;
    lt_tensor y; /* the op's result */
} rig;

/* Normal numbers times scale, a function of how many tensors came before. */
static lt_status take(rig *r, lt_dtype dtype, lt_dims dims, float scale, lt_tensor *out)
{
    LT_TRY(lt_tensor_new(r->arena, "x", dtype, out, dims));
    const size_t n = (size_t)lt_elements(out);
    float *v = malloc((n + 4) * sizeof *v);
    void *cast = malloc((n + 4) * sizeof *v);
    assert_true(v != NULL && cast != NULL && r->count < TENSORS);
    for (size_t i = 0; i < n; i += 4) {
        const uint32_t key[2] = {5, 77}, at[4] = {(uint32_t)i, (uint32_t)r->count, 0, 0};
        uint32_t word[4];
        lt_philox4x32(at, key, word);
        for (int j = 0; j < 4; j++)
            v[i + (size_t)j] = scale * lt_normal_from_u32(word[j]);
    }
    lt_convert(v, LT_F32, cast, dtype, n);
    free(v);
    r->host[r->count++] = cast;
    return lt_upload(r->q, out, cast);
}

/* Without a value: what an op does not write is read as such, and shows. */
static lt_status make(rig *r, lt_dtype dtype, lt_dims dims)
{
    return lt_tensor_new(r->arena, "y", dtype, &r->y, dims);
}

/* ---- ops ---- */

static lt_status attend(rig *r, lt_dtype dtype, int64_t width, int64_t queries, int64_t keys,
                        int give_lse)
{
    enum { HEADS = 2 };
    lt_tensor q, k, v, lse;
    LT_TRY(take(r, dtype, LT_DIMS(queries, HEADS * width), 1, &q));
    LT_TRY(take(r, dtype, LT_DIMS(keys, HEADS * width), 1, &k));
    LT_TRY(take(r, dtype, LT_DIMS(keys, HEADS * width), 1, &v));
    LT_TRY(make(r, dtype, LT_DIMS(queries, HEADS * width)));
    LT_TRY(lt_tensor_new(r->arena, "lse", LT_F32, &lse, LT_DIMS(HEADS, queries)));
    LT_TRY(
        lt_attention(r->q, &q, &k, &v, HEADS, HEADS, 1 / sqrtf((float)width), 0, 0, &r->y, &lse));
    if (give_lse)
        r->y = lse;
    return LT_OK;
}

static lt_status mma_64(rig *r) { return attend(r, LT_BF16, 64, 37, 100, 0); }
static lt_status mma_64_lse(rig *r) { return attend(r, LT_BF16, 64, 37, 100, 1); }
static lt_status mma_128(rig *r) { return attend(r, LT_BF16, 128, 20, 70, 0); }
static lt_status attend_33(rig *r) { return attend(r, LT_F32, 33, 20, 150, 0); }
static lt_status attend_65(rig *r) { return attend(r, LT_F32, 65, 5, 150, 0); }
static lt_status attend_200(rig *r) { return attend(r, LT_F32, 200, 3, 150, 0); }

static lt_status rms_norm(rig *r)
{
    lt_tensor x, w;
    LT_TRY(take(r, LT_F32, LT_DIMS(9, 4100), 3, &x));
    LT_TRY(take(r, LT_F32, LT_DIMS(4100), 1, &w));
    LT_TRY(make(r, LT_F32, LT_DIMS(9, 4100)));
    return lt_rms_norm(r->q, &x, &w, 1e-5f, LT_ROUND_ONCE, &r->y);
}

static lt_status rms_norm_narrow(rig *r)
{
    lt_tensor x, w;
    LT_TRY(take(r, LT_BF16, LT_DIMS(9, 75), 3, &x));
    LT_TRY(take(r, LT_F32, LT_DIMS(75), 1, &w));
    LT_TRY(make(r, LT_BF16, LT_DIMS(9, 75)));
    return lt_rms_norm(r->q, &x, &w, 1e-5f, LT_ROUND_ONCE, &r->y);
}

static lt_status layer_norm(rig *r)
{
    lt_tensor x, w, b;
    LT_TRY(take(r, LT_F32, LT_DIMS(9, 4100), 3, &x));
    LT_TRY(take(r, LT_F32, LT_DIMS(4100), 1, &w));
    LT_TRY(take(r, LT_F32, LT_DIMS(4100), 1, &b));
    LT_TRY(make(r, LT_F32, LT_DIMS(9, 4100)));
    return lt_layer_norm(r->q, &x, &w, &b, 1e-5f, &r->y);
}

static lt_status group_norm(rig *r)
{
    lt_tensor x, w, b;
    LT_TRY(take(r, LT_F32, LT_DIMS(2, 105, 12), 3, &x));
    LT_TRY(take(r, LT_F32, LT_DIMS(12), 1, &w));
    LT_TRY(take(r, LT_F32, LT_DIMS(12), 1, &b));
    LT_TRY(make(r, LT_F32, LT_DIMS(2, 105, 12)));
    return lt_group_norm(r->q, &x, &w, &b, 4, 1e-5f, LT_ACT_NONE, &r->y);
}

static lt_status swiglu(rig *r)
{
    lt_tensor x;
    LT_TRY(take(r, LT_BF16, LT_DIMS(9, 2 * 83), 2, &x));
    LT_TRY(make(r, LT_BF16, LT_DIMS(9, 83)));
    return lt_swiglu(r->q, &x, &r->y);
}

static lt_status axpby(rig *r)
{
    lt_tensor x;
    LT_TRY(take(r, LT_F32, LT_DIMS(9, 83), 2, &x));
    LT_TRY(take(r, LT_F32, LT_DIMS(9, 83), 2, &r->y));
    return lt_axpby(r->q, -1.3f, &x, 0.6f, &r->y);
}

static lt_status linear(rig *r)
{
    enum { IN = 75, OUT = 21 };
    static float w[IN * OUT], b[OUT];
    lt_tensor x;
    for (int i = 0; i < IN * OUT; i++)
        w[i] = (float)(i * 7 % 23 - 11) / 16;
    for (int i = 0; i < OUT; i++)
        b[i] = (float)(i % 5 - 2) / 3;
    const lt_linear_spec spec = {.in = IN,
                                 .out = OUT,
                                 .weights = w,
                                 .weights_dtype = LT_F32,
                                 .bias = b,
                                 .has_bias = 1,
                                 .compute = LT_BF16};
    lt_linear *l = NULL;
    LT_TRY(lt_linear_prepare(r->backend, r->arena, "layer", &spec, &l));
    lt_status st = take(r, LT_BF16, LT_DIMS(9, IN), 1, &x);
    if (st == LT_OK)
        st = make(r, LT_BF16, LT_DIMS(9, OUT));
    if (st == LT_OK)
        st = lt_linear_apply(r->q, l, &x, LT_ACT_SILU, &r->y);
    lt_linear_free(&l);
    return st;
}

typedef lt_status (*op_fn)(rig *r);

/* The op on a backend, from open to close; its result as f32, the caller's to free. */
static lt_status run_op(const lt_backend *backend, op_fn op, float **out, int64_t *count)
{
    rig r = {.backend = backend};
    void *got = NULL;
    *out = NULL;
    LT_TRY(lt_backend_open(backend, 0, 1));
    lt_status st = lt_arena_new("test", backend->memory, (size_t)6 << 20, &r.arena);
    if (st == LT_OK)
        st = backend->queue_open(LT_QUEUE_COMPUTE, &r.q);
    if (st == LT_OK)
        st = op(&r);
    if (st == LT_OK) {
        *count = lt_elements(&r.y);
        got = malloc((size_t)*count * sizeof(float));
        *out = malloc((size_t)*count * sizeof **out);
        assert_true(got != NULL && *out != NULL);
        st = lt_download(r.q, got, &r.y);
    }
    if (st == LT_OK)
        st = lt_sync(r.q);
    if (st == LT_OK)
        lt_convert(got, r.y.dtype, *out, LT_F32, (size_t)*count);
    free(got);
    if (r.q != NULL)
        backend->queue_close(&r.q);
    lt_arena_free(&r.arena);
    backend->close();
    for (int i = 0; i < r.count; i++)
        free(r.host[i]);
    return st;
}

/* How far b is from a, of a's largest; NaN where one is. */
static double apart(const float *a, const float *b, int64_t count)
{
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)a[i]));
        const double d = fabs((double)a[i] - (double)b[i]);
        worst = d <= worst ? worst : d; /* so written, NaN stays */
    }
    return worst / largest;
}

/* What was wrong: a line, "a result that is off by ...", or "". */
static void look(op_fn op, double tolerance, uint64_t seed, char *says, size_t bytes)
{
    float *wanted = NULL, *got = NULL;
    int64_t count = 0;
    says[0] = '\0';
    if (run_op(&lt_backend_ref, op, &wanted, &count) != LT_OK)
        fail_msg("the reference: %s", lt_error_text());
    lt_emu_seed(seed);
    const lt_status st = run_op(lt_emu_backend(), op, &got, &count);
    lt_emu_seed(0);
    if (lt_emu_wrong()[0] != '\0')
        (void)snprintf(says, bytes, "%s", lt_emu_wrong());
    else if (st != LT_OK)
        (void)snprintf(says, bytes, "%s", lt_error_text());
    else if (!(apart(wanted, got, count) <= tolerance))
        (void)snprintf(says, bytes, "a result that is off by %.2g", apart(wanted, got, count));
    lt_error_clear();
    lt_emu_forgive();
    free(wanted);
    free(got);
}

/* ---- bugs in kernels ---- */

static const struct {
    const char *name;
    op_fn op;
    double tolerance; /* of the largest value; the tables of tests/unit have the sharp ones */
} ops[] = {
    {"attention, bf16, 64", mma_64, 0.02},
    {"its log-sum-exp", mma_64_lse, 0.005},
    {"attention, bf16, 128", mma_128, 0.02},
    {"attention, f32, 33", attend_33, 1e-5},
    {"attention, f32, 65", attend_65, 1e-5},
    {"attention, f32, 200", attend_200, 1e-5},
    {"rms_norm", rms_norm, 1e-5},
    {"rms_norm, bf16, narrow", rms_norm_narrow, 0.005},
    {"layer_norm", layer_norm, 1e-5},
    {"group_norm", group_norm, 1e-5},
    {"swiglu, bf16", swiglu, 0.002},
    {"axpby", axpby, 1e-6},
    {"linear, bf16, SiLU", linear, 0.005},
};

static void nothing_is_wrong_as_shipped(void **state)
{
    (void)state;
    char says[SAYS];
    (void)lt_emu_backend();
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        for (int sums = LT_EMU_SUMS_ORDERED; sums <= LT_EMU_SUMS_TRUNCATED; sums++) {
            lt_emu_sums(sums);
            look(ops[i].op, ops[i].tolerance, (uint64_t)sums, says, sizeof says);
            if (says[0] != '\0')
                fail_msg("%s, sums %d: %s", ops[i].name, sums, says);
        }
    lt_emu_sums(LT_EMU_SUMS_ORDERED);
}

static const struct {
    const char *what;
    op_fn op;
    double tolerance;
    const char *kernel, *from, *to;
    int nth;
} bugs[] = {
    {"a cp.async wait one too few", mma_64, 0.02, "attend_mmaILi64", "cp.async.wait_group 1",
     "cp.async.wait_group 2", 0},
    {"no wait for the first tile", mma_64, 0.02, "attend_mmaILi64", "cp.async.wait_group 0",
     "cp.async.wait_group 1", 0},
    {"a cp.async that no group has", mma_64, 0.02, "attend_mmaILi64", "cp.async.commit_group;", "",
     1},
    {"one key past the last is seen", mma_64_lse, 5e-4, "attend_mmaILi64", "setp.gt.s64",
     "setp.ge.s64", 1},
    {"two operands of mma change places", mma_64, 0.02, "attend_mmaILi64",
     "{$1,$2,$3,$4}, {$5,$6,$7,$8}, {$9,", "{$1,$2,$3,$4}, {$5,$7,$6,$8}, {$9,", 0},
    {"the same, in the second product", mma_128, 0.02, "attend_mmaILi128",
     "{$1,$2,$3,$4}, {$5,$6,$7,$8}, {$9,", "{$1,$2,$3,$4}, {$5,$7,$6,$8}, {$9,", 40},
    {"a matrix that is not transposed", mma_64, 0.02, "attend_mmaILi64", ".x4.trans.shared",
     ".x4.shared", 0},
    {"probabilities in the wrong halves", mma_64, 0.02, "attend_mmaILi64",
     "cvt.rn.bf16x2.f32 $1, $2, $3;", "cvt.rn.bf16x2.f32 $1, $3, $2;", 0},
    {"a maximum over half of the lanes", mma_64, 0.02, "attend_mmaILi64",
     "shfl.sync.bfly.b32 $1|$2, $3, $4, $5, $6;", "mov.b32 $1, $3;", 4},
    {"the log-sum-exp is not written", mma_64_lse, 0.005, "attend_mmaILi64",
     "st.global.f32 [$1+32], $2;\n\n", "\n\n", 0},
    {"a sum over half of the lanes", rms_norm, 1e-5, "by_rowsILi8E11rms_norm",
     "shfl.sync.bfly.b32 $1|$2, $3, $4, $5, $6;", "mov.b32 $1, 0;", 0},
    {"rounded by cutting", rms_norm_narrow, 0.003, "by_rowsILi1E11rms_norm",
     "cvt.rn.bf16.f32 $1, $2;", "mov.b32 {$1, $1}, $2;", 19},
    {"eight elements are not stored", rms_norm, 1e-5, "by_rowsILi8E11rms_norm",
     "st.global.v4.f32 [$1], {$2, $3, $4, $5};", "", 0},
    {"a tail that is one too long", axpby, 1e-6, "axpby_op", "setp.ge.s64", "setp.gt.s64", 0},
    {"a chunk of 8 beside a row's end", axpby, 1e-6, "axpby_op", "min.s64 $1, $2, 8",
     "mov.s64 $1, 8", 0},
    {"a factor that is not used", axpby, 1e-6, "axpby_op", "mul.rn.f32 $1, $2, $3;",
     "mov.f32 $1, $2;", 0},
    {"an exponential of the wrong sign", swiglu, 0.002, "swiglu_op", "neg.f32 $1, $2;",
     "mov.f32 $1, $2;", 0},
    {"a division that is a product", swiglu, 0.002, "swiglu_op", "div.rn.f32", "mul.rn.f32", 0},
    {"a product not finished", linear, 0.005, "finish_op", "div.rn.f32", "mul.rn.f32", 1},
    {"32 bits of an address", swiglu, 0.002, "swiglu_op", "cvta.to.global.u64 $1, $2;",
     "cvt.u32.u64 %r1, $2; cvt.u64.u32 $1, %r1;", 0},
};

static void every_bug_is_caught(void **state)
{
    (void)state;
    int missed = 0;
    (void)lt_emu_backend();
    lt_emu_say(0);
    (void)printf("%-36s %s\n", "bug", "caught by");
    for (size_t i = 0; i < sizeof bugs / sizeof *bugs; i++) {
        char says[SAYS] = "";
        if (!lt_emu_patch(bugs[i].kernel, bugs[i].from, bugs[i].to, bugs[i].nth))
            fail_msg("%s: '%s' does not stand in %s: the table wants another text", bugs[i].what,
                     bugs[i].from, bugs[i].kernel);
        for (uint64_t seed = 0; seed < 3 && says[0] == '\0'; seed++)
            look(bugs[i].op, bugs[i].tolerance, seed, says, sizeof says);
        (void)lt_emu_patch("", NULL, NULL, 0);
        (void)printf("%-36s %.120s\n", bugs[i].what, says[0] != '\0' ? says : "NOTHING");
        table_row("bug\t%s\t%s", bugs[i].what, says[0] != '\0' ? says : "NOTHING");
        missed += says[0] == '\0';
    }
    lt_emu_say(1);
    if (missed > 0)
        fail_msg("%d bugs were not caught: see the table", missed);
}

/* Each barrier of each kernel that has some, left out alone. free: those whose loss is no bug with
 * these sizes, a bit each: nothing comes behind them. */
static const struct {
    const char *kernel;
    op_fn op;
    double tolerance;
    int barriers;
    uint32_t free;
} barriers[] = {
    {"attend_mmaILi64", mma_64, 0.02, 4, 0},
    {"attend_mmaILi128", mma_128, 0.02, 4, 0},
    {"attendILi2E", attend_33, 1e-5, 6, 0},
    {"attendILi4E", attend_65, 1e-5, 10, 0},
    {"attendILi8E", attend_200, 1e-5, 18, 0},
    {"by_rowsILi8E11rms_norm", rms_norm, 1e-5, 2, 1},
    {"by_rowsILi8E13layer_norm", layer_norm, 1e-5, 4, 1},
    {"group_sumsILi0E", group_norm, 1e-5, 1, 0},
    {"group_sumsILi1E", group_norm, 1e-5, 1, 0},
};

static void every_barrier_is_needed(void **state)
{
    (void)state;
    int missed = 0;
    (void)lt_emu_backend();
    lt_emu_say(0);
    for (size_t i = 0; i < sizeof barriers / sizeof *barriers; i++) {
        int count = 0;
        for (; lt_emu_patch(barriers[i].kernel, "bar.sync 0;", "", count); count++) {
            char says[SAYS] = "";
            for (uint64_t seed = 0; seed < 3 && says[0] == '\0'; seed++)
                look(barriers[i].op, barriers[i].tolerance, seed, says, sizeof says);
            (void)lt_emu_patch("", NULL, NULL, 0);
            const int wanted = !(barriers[i].free >> count & 1);
            (void)printf("%s without barrier %d: %.140s\n", barriers[i].kernel, count,
                         says[0] != '\0' ? says : "NOTHING");
            missed += wanted != (says[0] != '\0');
            if (wanted)
                table_row("bug\tbarrier %d of %s left out\t%s", count, barriers[i].kernel,
                          says[0] != '\0' ? says : "NOTHING");
        }
        if (count != barriers[i].barriers)
            fail_msg("%s has %d barriers, the table says %d", barriers[i].kernel, count,
                     barriers[i].barriers);
    }
    lt_emu_say(1);
    if (missed > 0)
        fail_msg("%d barriers are not as the table says", missed);
}

/* ---- bugs between streams ---- */

enum { ROWS = 7, WIDTH = 33, STRIDE = 48 };

typedef struct halve_work {
    const float *from;
    float *to;
} halve_work;

static lt_status halve(void *work, const lt_host_call *call)
{
    const halve_work *w = work;
    (void)call;
    for (int i = 0; i < ROWS * WIDTH; i++)
        w->to[i] = w->from[i] / 2;
    return LT_OK;
}

typedef struct queues {
    lt_queue *compute, *comm, *copy;
    lt_tensor x, y, z;
    float *sent, *received; /* pinned */
} queues;

/* queue goes on when `other` has done what it has now. */
static lt_status behind(const lt_backend *b, lt_queue *queue, lt_queue *other)
{
    lt_event event;
    LT_TRY(b->mark(other, &event));
    return b->wait(queue, &event);
}

/* copy brings x, compute makes y = 3 x, comm brings y to the host, halves it there and brings it
 * back as z, compute makes z = z - x, which the caller gets: x / 2. */
static lt_status pass(const lt_backend *b, queues *s, const float *x, float *out)
{
    LT_TRY(lt_upload(s->copy, &s->x, x));
    LT_TRY(behind(b, s->compute, s->copy));
    LT_TRY(lt_fill(s->compute, &s->y, 0));
    LT_TRY(lt_axpby(s->compute, 3, &s->x, 0, &s->y));
    LT_TRY(behind(b, s->comm, s->compute));
    LT_TRY(lt_download(s->comm, s->sent, &s->y));
    const halve_work work = {s->sent, s->received};
    LT_TRY(b->host(s->comm, halve, &work, sizeof work));
    LT_TRY(lt_upload(s->comm, &s->z, s->received));
    LT_TRY(behind(b, s->compute, s->comm));
    LT_TRY(lt_axpby(s->compute, -1, &s->x, 1, &s->z));
    LT_TRY(lt_download(s->compute, out, &s->z));
    return lt_sync(s->compute);
}

static lt_status open_queues(const lt_backend *b, lt_arena *arena, queues *s)
{
    lt_tensor *all[3] = {&s->x, &s->y, &s->z};
    void *pinned[2] = {NULL, NULL};
    for (int i = 0; i < 3; i++) {
        lt_tensor whole;
        LT_TRY(lt_tensor_new(arena, "x", LT_F32, &whole, LT_DIMS(ROWS, STRIDE)));
        *all[i] = lt_view_columns(&whole, (lt_range){3, WIDTH});
    }
    LT_TRY(b->queue_open(LT_QUEUE_COMPUTE, &s->compute));
    LT_TRY(b->queue_open(LT_QUEUE_COMM, &s->comm));
    LT_TRY(b->queue_open(LT_QUEUE_COPY, &s->copy));
    for (int i = 0; i < 2; i++)
        LT_TRY(b->pinned->alloc(b->pinned->ctx, ROWS * WIDTH * sizeof(float), &pinned[i]));
    s->sent = pinned[0];
    s->received = pinned[1];
    return LT_OK;
}

static void close_queues(const lt_backend *b, queues *s)
{
    b->queue_close(&s->comm);
    b->queue_close(&s->copy);
    b->queue_close(&s->compute);
    b->pinned->release(b->pinned->ctx, s->sent, ROWS * WIDTH * sizeof(float));
    b->pinned->release(b->pinned->ctx, s->received, ROWS * WIDTH * sizeof(float));
}

/* 1: something was wrong. */
static int streams_are_wrong(uint64_t seed, char *says, size_t bytes)
{
    const lt_backend *b = lt_emu_backend();
    lt_arena *arena = NULL;
    queues s = {.compute = NULL};
    static float x[ROWS * WIDTH], out[ROWS * WIDTH];
    int off = 0;
    says[0] = '\0';
    for (int i = 0; i < ROWS * WIDTH; i++) {
        x[i] = (float)(i % 19 - 9);
        out[i] = NAN;
    }
    lt_emu_seed(seed);
    assert_int_equal(lt_backend_open(b, 0, 1), LT_OK);
    assert_int_equal(lt_arena_new("test", b->memory, (size_t)1 << 20, &arena), LT_OK);
    assert_int_equal(open_queues(b, arena, &s), LT_OK);
    for (int i = 0; i < ROWS * WIDTH; i++)
        s.sent[i] = s.received[i] = NAN;
    const lt_status st = pass(b, &s, x, out);
    for (int i = 0; i < ROWS * WIDTH; i++)
        off += !(out[i] == x[i] / 2);
    if (lt_emu_wrong()[0] != '\0')
        (void)snprintf(says, bytes, "%s", lt_emu_wrong());
    else if (st != LT_OK || off > 0)
        (void)snprintf(says, bytes, "%d of %d numbers", off, ROWS * WIDTH);
    lt_emu_set_bug(LT_EMU_NO_BUG);
    lt_emu_forgive();
    lt_emu_seed(0);
    close_queues(b, &s);
    lt_arena_free(&arena);
    b->close();
    lt_error_clear();
    return says[0] != '\0';
}

static const struct {
    const char *what;
    lt_emu_bug bug;
} forgotten[] = {
    {"nothing", LT_EMU_NO_BUG},
    {"a queue that does not wait for an event", LT_EMU_NO_WAIT},
    {"a sync that does not wait", LT_EMU_NO_SYNC},
    {"a stream that does not wait for the host", LT_EMU_NO_VALUE},
    {"the last row of a copy", LT_EMU_SHORT_COPY},
};

static void what_is_forgotten_between_streams_shows(void **state)
{
    enum { SEEDS = 6 };
    (void)state;
    for (size_t i = 0; i < sizeof forgotten / sizeof *forgotten; i++) {
        int wrong = 0;
        char says[SAYS], first[SAYS] = "nothing";
        lt_emu_say(0);
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            lt_emu_set_bug(forgotten[i].bug);
            if (streams_are_wrong(seed, says, sizeof says) && wrong++ == 0)
                (void)snprintf(first, sizeof first, "%s", says);
        }
        lt_emu_say(1);
        (void)printf("%-42s %d of %d orders: %.100s\n", forgotten[i].what, wrong, (int)SEEDS,
                     first);
        if (forgotten[i].bug != LT_EMU_NO_BUG)
            table_row("bug\tforgotten: %s\t%d of %d orders: %s", forgotten[i].what, wrong,
                      (int)SEEDS, wrong > 0 ? first : "NOTHING");
        if ((forgotten[i].bug != LT_EMU_NO_BUG) != (wrong > 0))
            fail_msg("%s: %d of %d orders: %s", forgotten[i].what, wrong, (int)SEEDS, first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_wrong_as_shipped),
        cmocka_unit_test(every_bug_is_caught),
        cmocka_unit_test(every_barrier_is_needed),
        cmocka_unit_test(what_is_forgotten_between_streams_shows),
    };
    return cmocka_run_group_tests_name("bugs", tests, NULL, NULL);
}
