/* test_kernels_attention.c - attention and merge of cpu and far against ref.
 * Goal: odd sizes, grouped heads, causal masks with an offset, no keys, log-sum-exp, and that
 * partial results over key ranges merge to the whole. Method: kernel_test.h. Ranks: 1. Needs:
 * nothing.
 *
 * Tolerance: kernels.h's: y within 1e-6 of the largest |v| in f32 and 2^-7 of it in bf16; |v|
 * reaches about 4 and a mean |y| about 1, so in terms of the largest |y| 4e-6 and 2^-6. bf16
 * probabilities may be rounded on the way, so any share of bf16 results may differ. lse: 4e-6 of
 * the largest. */
#include "kernel_test.h"

typedef struct {
    const char *name;
    int64_t queries, keys, heads, kv_heads, width, gap;
    lt_dtype dtype;
    int causal;
    int64_t q_first;
    int lse;
    int wide; /* y f32, whatever q is */
} shape;

static const shape shapes[] = {
    {"one of all", 1, 1, 1, 1, 1, 0, LT_F32, 0, 0, 1, 0},
    {"one key: y is v", 3, 1, 2, 2, 8, 0, LT_F32, 0, 0, 1, 0},
    {"no queries", 0, 5, 2, 2, 8, 0, LT_F32, 0, 0, 1, 0},
    {"no keys: zero, lse -inf", 3, 0, 2, 2, 8, 0, LT_F32, 0, 0, 1, 0},
    {"odd, strided", 7, 13, 3, 3, 11, 5, LT_F32, 0, 0, 1, 0},
    {"without lse", 7, 13, 3, 3, 16, 0, LT_F32, 0, 0, 0, 0},
    {"grouped heads", 9, 10, 6, 2, 16, 0, LT_F32, 0, 0, 1, 0},
    {"one kv head", 5, 21, 4, 1, 32, 0, LT_F32, 1, 16, 1, 0},
    {"causal", 33, 33, 2, 2, 24, 0, LT_F32, 1, 0, 1, 0},
    {"causal, later queries", 6, 40, 2, 2, 24, 0, LT_F32, 1, 34, 1, 0},
    {"causal, queries before every key", 6, 4, 2, 2, 24, 0, LT_F32, 1, -3, 1, 0},
    {"several key tiles", 10, 700, 2, 2, 64, 0, LT_F32, 0, 0, 1, 0},
    {"several query tiles", 300, 70, 2, 1, 40, 0, LT_F32, 0, 0, 1, 0},
    {"causal over tiles", 290, 290, 1, 1, 64, 0, LT_F32, 1, 0, 1, 0},
    {"released DiT's head", 65, 260, 2, 2, 128, 0, LT_F32, 0, 0, 1, 0},
    {"wide head", 5, 9, 1, 1, 256, 0, LT_F32, 0, 0, 1, 0},
    {"bf16", 65, 260, 2, 2, 128, 0, LT_BF16, 0, 0, 1, 0},
    {"bf16, grouped, causal, strided", 37, 37, 4, 2, 64, 8, LT_BF16, 1, 0, 1, 0},
    {"bf16, aligned, grouped, causal, ragged", 70, 90, 4, 2, 64, 0, LT_BF16, 1, 20, 1, 0},
    {"bf16, aligned, queries before every key", 20, 10, 2, 2, 64, 0, LT_BF16, 1, -13, 1, 0},
    {"bf16, aligned, one key", 3, 1, 2, 1, 128, 0, LT_BF16, 0, 0, 1, 0},
    {"bf16 to f32, aligned, causal over tiles", 130, 140, 1, 1, 128, 0, LT_BF16, 1, 5, 1, 1},
    {"bf16, odd", 7, 13, 3, 3, 11, 5, LT_BF16, 0, 0, 0, 0},
    {"bf16 to f32: a partial result", 65, 260, 2, 2, 128, 0, LT_BF16, 0, 0, 1, 1},
    {"bf16 to f32, odd, strided", 7, 13, 3, 3, 11, 5, LT_BF16, 0, 0, 1, 1},
    {"bf16 to f32, no keys", 3, 0, 2, 2, 8, 0, LT_BF16, 0, 0, 1, 1},
};

static lt_tensor *take(kt_rig *r, const char *name, const shape *c, int64_t rows, int64_t heads)
{
    return kt_take(r, name, KT_IN, c->dtype, LT_DIMS(rows, heads * c->width), c->gap, 1);
}

static void run_attention(kt_rig *r, const void *arg)
{
    const shape *c = arg;
    const float scale = 1 / sqrtf((float)c->width);
    const lt_tensor *q = take(r, "q", c, c->queries, c->heads);
    const lt_tensor *k = take(r, "k", c, c->keys, c->kv_heads);
    const lt_tensor *v = take(r, "v", c, c->keys, c->kv_heads);
    lt_tensor *y = kt_take(r, "y", KT_OUT, c->wide ? LT_F32 : c->dtype,
                           LT_DIMS(c->queries, c->heads * c->width), c->gap, 1);
    lt_tensor *lse =
        c->lse ? kt_take(r, "lse", KT_OUT, LT_F32, LT_DIMS(c->heads, c->queries), 0, 1) : NULL;
    lt_range range[KT_PARTS_MAX];
    const int parts = kt_parts(r, c->queries, range);
    if (lse != NULL && parts > 1) /* lse is dense, so parts of it are not views: whole first */
        KT_OK(lt_attention(r->q, q, k, v, c->heads, c->kv_heads, scale, c->causal, c->q_first, y,
                           lse));
    for (int p = 0; p < parts; p++) {
        const lt_tensor vq = lt_view_outer(q, range[p]);
        lt_tensor vy = lt_view_outer(y, range[p]);
        KT_OK(lt_attention(r->q, &vq, k, v, c->heads, c->kv_heads, scale, c->causal,
                           c->q_first + range[p].first, &vy, parts > 1 ? NULL : lse));
    }
}

static void agrees_with_ref(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const kt_tol f32 = {4e-6, 0, 0}, bf16 = {1.0 / 64, 1.01, 1};
        /* Into f32 cpu rounds nothing, so that the parts of a whole may be merged. */
        const int exact = shapes[i].dtype == LT_F32 || (shapes[i].wide && !KT_ROUNDS_WEIGHTS);
        kt_case(shapes[i].name, run_attention, &shapes[i], exact ? f32 : bf16);
    }
}

/* Keys in three ranges, one of them empty, merged in two orders: both are the whole within
 * rounding. */
typedef struct {
    const char *name;
    int64_t queries, keys, heads, width, cut;
    int causal, backwards;
} split;

static const split splits[] = {
    {"in two", 9, 40, 3, 16, 17, 0, 0},
    {"in two, later keys first", 9, 40, 3, 16, 17, 0, 1},
    {"first part empty", 5, 20, 2, 8, 0, 0, 0},
    {"causal: some queries see nothing of the later part", 30, 30, 2, 8, 12, 1, 0},
    {"large", 70, 300, 2, 64, 130, 0, 0},
};

static void attend_range(kt_rig *r, const split *c, const lt_tensor *q, const lt_tensor *k,
                         const lt_tensor *v, lt_range keys, lt_tensor *y, lt_tensor *lse)
{
    const lt_tensor vk = lt_view_outer(k, keys), vv = lt_view_outer(v, keys);
    KT_OK(
        lt_attention(r->q, q, &vk, &vv, c->heads, c->heads, 0.3f, c->causal, -keys.first, y, lse));
}

/* The difference from the whole is an output: ref's is tiny, and so must the other's be. */
static void run_merge(kt_rig *r, const void *arg)
{
    const split *c = arg;
    const lt_dims rows = LT_DIMS(c->queries, c->heads * c->width);
    const lt_dims sums = LT_DIMS(c->heads, c->queries);
    const lt_tensor *q = kt_take(r, "q", KT_IN, LT_F32, rows, 0, 1);
    const lt_tensor *k =
        kt_take(r, "k", KT_IN, LT_F32, LT_DIMS(c->keys, c->heads * c->width), 0, 1);
    const lt_tensor *v =
        kt_take(r, "v", KT_IN, LT_F32, LT_DIMS(c->keys, c->heads * c->width), 0, 1);
    lt_tensor *y = kt_take(r, "y", KT_OUT, LT_F32, rows, 0, 1);
    lt_tensor *lse = kt_take(r, "lse", KT_OUT, LT_F32, sums, 0, 1);
    lt_tensor *y2 = kt_take(r, "y2", KT_OUT, LT_F32, rows, 0, 1);
    lt_tensor *lse2 = kt_take(r, "lse2", KT_OUT, LT_F32, sums, 0, 1);
    lt_tensor *all = kt_take(r, "all", KT_OUT, LT_F32, rows, 0, 1);
    lt_tensor *lse_all = kt_take(r, "lse_all", KT_OUT, LT_F32, sums, 0, 1);
    const lt_range first = {0, c->cut}, second = {c->cut, c->keys - c->cut};
    attend_range(r, c, q, k, v, c->backwards ? second : first, y, lse);
    attend_range(r, c, q, k, v, c->backwards ? first : second, y2, lse2);
    KT_OK(lt_attention_merge(r->q, y2, lse2, c->heads, y, lse));
    attend_range(r, c, q, k, v, (lt_range){0, c->keys}, all, lse_all);
}

static void merges_to_the_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++)
        for (int b = 0; b < KT_BACKENDS; b++) {
            kt_rig r;
            kt_run_on(&r, kt_backend(b), 2, 1, splits[i].name, run_merge, &splits[i]);
            for (int out = 3; out <= 4; out++) /* y, lse against all, lse_all */
                for (int64_t e = 0; e < lt_elements(&r.operand[out].x); e++) {
                    const double got = kt_value(&r.operand[out], r.operand[out].after, e);
                    const double all = kt_value(&r.operand[out + 4], r.operand[out + 4].after, e);
                    if (got != all && !(fabs(got - all) <= 4e-6 * (1 + fabs(all))))
                        fail_msg("%s: %s: %s[%lld]: merged %.9g, whole %.9g", kt_backend(b)->name,
                                 splits[i].name, r.operand[out].name, (long long)e, got, all);
                }
            kt_forget(&r);
        }
}

static void merge_agrees_with_ref(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++)
        kt_case(splits[i].name, run_merge, &splits[i], (kt_tol){4e-6, 0, 0});
}

/* A partial result that a library has rounded to bf16: its values, not their bits as f32. */
typedef struct {
    const char *name;
    int64_t rows, heads, width, gap;
} rounded;

static const rounded rounded_parts[] = {
    {"bf16 into f32", 33, 3, 64, 0},
    {"bf16 into f32, odd, strided", 7, 3, 11, 5},
    {"bf16 into f32, one row", 1, 2, 128, 0},
};

static void run_rounded(kt_rig *r, const void *arg)
{
    const rounded *c = arg;
    const lt_dims rows = LT_DIMS(c->rows, c->heads * c->width), sums = LT_DIMS(c->heads, c->rows);
    lt_tensor *y = kt_take(r, "y", KT_INOUT, LT_F32, rows, 0, 1);
    lt_tensor *lse = kt_take(r, "lse", KT_INOUT, LT_F32, sums, 0, 1);
    const lt_tensor *y2 = kt_take(r, "y2", KT_IN, LT_BF16, rows, c->gap, 1);
    const lt_tensor *lse2 = kt_take(r, "lse2", KT_IN, LT_F32, sums, 0, 1);
    KT_OK(lt_attention_merge(r->q, y2, lse2, c->heads, y, lse));
}

static void merges_what_is_rounded(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rounded_parts / sizeof *rounded_parts; i++)
        kt_case(rounded_parts[i].name, run_rounded, &rounded_parts[i], (kt_tol){4e-6, 0, 0});
}

/* -inf on either side is the identity, and both at once stays "nothing seen", never NaN. */
static void run_identity(kt_rig *r, const void *arg)
{
    (void)arg;
    const float lse_values[3] = {-INFINITY, 0.5f, -INFINITY};
    const float lse2_values[3] = {1.5f, -INFINITY, -INFINITY};
    const float y_values[6] = {0, 0, 1, 2, 0, 0}, y2_values[6] = {3, 4, 0, 0, 0, 0};
    lt_tensor *y = kt_place(r, "y", KT_INOUT, LT_F32, LT_DIMS(3, 2), 0, y_values);
    lt_tensor *lse = kt_place(r, "lse", KT_INOUT, LT_F32, LT_DIMS(1, 3), 0, lse_values);
    lt_tensor *y2 = kt_place(r, "y2", KT_IN, LT_F32, LT_DIMS(3, 2), 0, y2_values);
    lt_tensor *lse2 = kt_place(r, "lse2", KT_IN, LT_F32, LT_DIMS(1, 3), 0, lse2_values);
    KT_OK(lt_attention_merge(r->q, y2, lse2, 1, y, lse));
}

static void minus_infinity_is_the_identity(void **state)
{
    (void)state;
    const double y[6] = {3, 4, 1, 2, 0, 0}, lse[3] = {1.5, 0.5, -INFINITY};
    for (int b = 0; b < KT_BACKENDS; b++) {
        kt_rig r;
        kt_run_on(&r, kt_backend(b), 1, 1, "identity", run_identity, NULL);
        for (int i = 0; i < 6; i++)
            assert_true(kt_value(&r.operand[0], r.operand[0].after, i) == y[i]);
        for (int i = 0; i < 3; i++)
            assert_true(kt_value(&r.operand[1], r.operand[1].after, i) == lse[i]);
        kt_forget(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_ref),
        cmocka_unit_test(merges_to_the_whole),
        cmocka_unit_test(merge_agrees_with_ref),
        cmocka_unit_test(merges_what_is_rounded),
        cmocka_unit_test(minus_infinity_is_the_identity),
    };
    return cmocka_run_group_tests_name("kernels_attention", tests, NULL, NULL);
}
