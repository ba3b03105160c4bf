/* dnn_case.c - one case of what test_cudnn.c runs: attention of kernels/cuda with cuDNN's stand-in.
 *
 *     dnn_case CASE [BUG]    0: as it should be, 3: refused at open (a line says why), else a line
 *                            says what was found
 *
 * The backend is kernels/cuda as code of the host (tests/shim); built as part_dnn_case the
 * longtake_cuda.so that ships (tests/emu). BUG names a seeded one: cudnn.c and attention_cudnn.c
 * with one line changed (bugs.sh), built into dnn_bugs.
 *
 *     results   shapes that cuDNN takes, listed, against kernels/ref
 *     bits      a row's bits do not depend on the number of queries, or on the run
 *     mixed     what it does not take: our own kernels, also behind a list
 *     unlisted  a shape that was not listed is said to be our bug
 *     merge     a partial result in bf16, as cuDNN makes them, into one in f32
 *     nothing   no list: our own kernels */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

#ifdef LT_EMU_PART
#include "tests/emu/part.h"
#define BACKEND lt_emu_backend()
#else
extern const lt_backend lt_backend_cuda;
#define BACKEND (&lt_backend_cuda)
#endif

typedef lt_status (*expect_fn)(lt_queue *, lt_arena *, const lt_op *, int64_t);
static void (*close_bug)(void); /* what lt_backend.close does not know of */

#ifdef LT_BUGS
typedef struct lt_cuda_queue lt_cuda_queue;
lt_status lt_cuda_attention_merge_merge_of_floats(lt_cuda_queue *, const lt_op *);
#define BUG(name)                                                                                  \
    lt_status lt_cuda_expect_##name(lt_queue *, lt_arena *, const lt_op *, int64_t);               \
    void lt_cuda_dnn_close_##name(void);
#include "dnn_bugs.inc"
#undef BUG
static const struct {
    const char *name;
    expect_fn expect;
    void (*close)(void);
} bugs[] = {
#define BUG(name) {#name, lt_cuda_expect_##name, lt_cuda_dnn_close_##name},
#include "dnn_bugs.inc"
#undef BUG
};
#endif

#define OK(expr)                                                                                   \
    do {                                                                                           \
        if ((expr) != LT_OK) {                                                                     \
            (void)printf("%s: %s\n", #expr, lt_error_text());                                      \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define WANT(condition, ...)                                                                       \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)printf(__VA_ARGS__);                                                             \
            (void)printf("\n");                                                                    \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

typedef struct shape {
    const char *reason;
    int64_t queries, keys, heads, kv_heads, width;
    int64_t q_gap, kv_gap, y_gap; /* elements from a row's end to the next */
    lt_dtype dtype, y;
    int causal, has_lse;
    int64_t offset; /* of q, elements */
} shape;

static const shape planned[] = {
    {"dense, ragged keys", 40, 77, 2, 2, 64, 0, 0, 0, LT_BF16, LT_BF16, 0, 1, 0},
    {"the same, q and k rows as in one packed q, k, v", 40, 77, 2, 2, 64, 256, 256, 0, LT_BF16,
     LT_BF16, 0, 1, 0},
    {"the same, y in a wider row", 40, 77, 2, 2, 64, 0, 0, 64, LT_BF16, LT_BF16, 0, 1, 0},
    {"the same, without lse", 40, 77, 2, 2, 64, 0, 0, 0, LT_BF16, LT_BF16, 0, 0, 0},
    {"released DiT's head", 70, 150, 3, 3, 128, 0, 0, 0, LT_BF16, LT_BF16, 0, 1, 0},
    {"seven heads", 33, 40, 7, 7, 128, 0, 0, 0, LT_BF16, LT_BF16, 0, 1, 0},
    {"grouped heads", 20, 31, 6, 2, 64, 0, 0, 0, LT_BF16, LT_BF16, 0, 1, 0},
    {"heads of 96", 9, 17, 2, 1, 96, 0, 0, 0, LT_BF16, LT_BF16, 0, 1, 0},
    {"one query, one key", 1, 1, 2, 2, 64, 0, 0, 0, LT_BF16, LT_BF16, 0, 1, 0},
    {"more queries than edges", 400, 20, 1, 1, 64, 0, 0, 0, LT_BF16, LT_BF16, 0, 1, 0},
};
enum { PLANNED = sizeof planned / sizeof *planned };

static const shape others[] = {
    {"f32", 12, 20, 2, 2, 64, 0, 0, 0, LT_F32, LT_F32, 0, 1, 0},
    {"a result that is merged later", 12, 20, 2, 2, 64, 0, 0, 0, LT_BF16, LT_F32, 0, 1, 0},
    {"causal", 12, 12, 2, 2, 64, 0, 0, 0, LT_BF16, LT_BF16, 1, 1, 0},
    {"a head of another width", 12, 20, 2, 2, 40, 0, 0, 0, LT_BF16, LT_BF16, 0, 1, 0},
    {"no keys", 5, 0, 2, 2, 64, 0, 0, 0, LT_BF16, LT_BF16, 0, 1, 0},
    {"no queries", 0, 5, 2, 2, 64, 0, 0, 0, LT_BF16, LT_BF16, 0, 1, 0},
    {"a view at an odd column", 12, 20, 2, 2, 64, 8, 0, 0, LT_BF16, LT_BF16, 0, 1, 3},
    {"rows of an odd stride", 12, 20, 2, 2, 64, 0, 1, 0, LT_BF16, LT_BF16, 0, 1, 0},
};
enum { OTHERS = sizeof others / sizeof *others };

enum { VALUES_MAX = 1 << 16 };
typedef struct result {
    float y[VALUES_MAX], lse[VALUES_MAX];
} result;

typedef struct rig {
    const lt_backend *backend;
    lt_queue *q;
    lt_arena *arena;
} rig;

static const size_t arena_bytes = (size_t)8 << 20;

static rig open_rig(const lt_backend *b)
{
    rig r = {.backend = b};
    OK(lt_backend_open(b, 0, 1));
    OK(b->queue_open(LT_QUEUE_COMPUTE, &r.q));
    OK(lt_arena_new("case", b->memory, arena_bytes, &r.arena));
    return r;
}

static void close_rig(rig *r)
{
    if (close_bug != NULL && r->backend != &lt_backend_ref)
        close_bug();
    r->backend->queue_close(&r->q);
    lt_arena_free(&r->arena);
    r->backend->close();
}

/* In [-1, 1); of its tensor, row and column alone. */
static float number(int which, int64_t row, int64_t column)
{
    uint64_t z = (uint64_t)which << 56 ^ (uint64_t)row << 20 ^ (uint64_t)column;
    z = (z + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (float)(z >> 40) * 0x1p-23f - 1;
}

static lt_tensor input(rig *r, const shape *s, int which, int64_t rows, int64_t width, int64_t gap,
                       int64_t offset)
{
    lt_tensor block;
    const size_t size = lt_dtype_bytes(s->dtype);
    char *host = calloc((size_t)(rows * width) + 1, size);
    WANT(host != NULL, "no memory");
    OK(lt_tensor_new(r->arena, "x", s->dtype, &block, LT_DIMS(rows, width + gap)));
    OK(lt_fill(r->q, &block, 0));
    lt_tensor x = lt_view_columns(&block, (lt_range){offset, width});
    for (int64_t i = 0; i < rows * width; i++) {
        const float f = 2 * number(which, i / width, i % width);
        lt_convert(&f, LT_F32, host + (size_t)i * size, s->dtype, 1);
    }
    OK(lt_upload(r->q, &x, host));
    OK(lt_sync(r->q));
    free(host);
    return x;
}

static void as_floats(rig *r, const lt_tensor *x, float *out)
{
    const int64_t count = lt_elements(x);
    enum { ELEMENT_MOST = 4 };
    char *host = calloc((size_t)count + 1, ELEMENT_MOST);
    WANT(host != NULL && count <= VALUES_MAX, "no memory");
    OK(lt_download(r->q, host, x));
    OK(lt_sync(r->q));
    lt_convert(host, x->dtype, out, LT_F32, (size_t)count);
    free(host);
}

static float scale_of(const shape *s) { return 1 / sqrtf((float)s->width); }

/* What kernels.h says when it is asked; a status, since it may be refused. */
static lt_status attend(rig *r, const shape *s, result *out)
{
    lt_tensor block, lse = {.ndim = 0};
    const lt_mark mark = lt_arena_mark(r->arena);
    const int64_t wide = s->heads * s->width, kv_wide = s->kv_heads * s->width;
    const lt_tensor q = input(r, s, 0, s->queries, wide, s->q_gap, s->offset);
    const lt_tensor k = input(r, s, 1, s->keys, kv_wide, s->kv_gap, 0);
    const lt_tensor v = input(r, s, 2, s->keys, kv_wide, s->kv_gap, 0);
    OK(lt_tensor_new(r->arena, "y", s->y, &block, LT_DIMS(s->queries, wide + s->y_gap)));
    lt_tensor y = lt_view_columns(&block, (lt_range){0, wide});
    if (s->has_lse)
        OK(lt_tensor_new(r->arena, "lse", LT_F32, &lse, LT_DIMS(s->heads, s->queries)));
    LT_TRY(lt_attention(r->q, &q, &k, &v, s->heads, s->kv_heads, scale_of(s), s->causal, 0, &y,
                        s->has_lse ? &lse : NULL));
    as_floats(r, &y, out->y);
    if (s->has_lse)
        as_floats(r, &lse, out->lse);
    lt_arena_release(r->arena, mark);
    return LT_OK;
}

/* As a dry run lists it: addresses that nobody follows. */
static lt_op listed(const shape *s)
{
    char *nowhere = (char *)((uintptr_t)1 << 55);
    const int64_t wide = s->heads * s->width, kv_wide = s->kv_heads * s->width;
    lt_tensor t[4];
    const int64_t rows[] = {s->queries, s->keys, s->keys, s->queries};
    const int64_t width[] = {wide, kv_wide, kv_wide, wide};
    const int64_t gap[] = {s->q_gap, s->kv_gap, s->kv_gap, s->y_gap};
    for (int i = 0; i < 4; i++) {
        const lt_dtype dtype = i == 3 ? s->y : s->dtype;
        t[i] = lt_tensor_wrap(nowhere + (i == 0 ? (size_t)s->offset * 2 : 0), "x", dtype,
                              LT_DIMS(rows[i], width[i] + gap[i]));
        t[i] = lt_view_columns(&t[i], (lt_range){0, width[i]});
    }
    lt_op op = {.kind = LT_OP_ATTENTION,
                .in = {t[0], t[1], t[2]},
                .out = {t[3]},
                .heads = s->heads,
                .kv_heads = s->kv_heads,
                .a = scale_of(s),
                .causal = s->causal};
    if (s->has_lse)
        op.out[1] = lt_tensor_wrap(nowhere, "lse", LT_F32, LT_DIMS(s->heads, s->queries));
    return op;
}

static void list(rig *r, expect_fn expect, const shape *shapes, int count)
{
    lt_op ops[PLANNED + OTHERS];
    for (int i = 0; i < count; i++)
        ops[i] = listed(&shapes[i]);
    if (expect(r->q, r->arena, ops, count) != LT_OK) {
        (void)printf("refused: %s: %s\n", lt_status_name(lt_error_status()), lt_error_text());
        exit(3);
    }
    WANT(lt_arena_used(r->arena) == 0, "the comparison left %zu bytes in the arena",
         lt_arena_used(r->arena));
}

/* Tolerance: kernels.h's, |v| being up to 2; lse 1e-3, as logits of f32 sums of bf16 products. */
static void compare(const shape *s, const result *found, const result *want)
{
    const double y_tol = s->dtype == LT_BF16 ? 2 * 0x1p-7 : 4e-6, lse_tol = 1e-3;
    for (int64_t i = 0; i < s->queries * s->heads * s->width; i++)
        WANT(fabs((double)found->y[i] - (double)want->y[i]) <= y_tol,
             "%s: y[%lld]: found %g, want %g", s->reason, (long long)i, (double)found->y[i],
             (double)want->y[i]);
    for (int64_t i = 0; s->has_lse && i < s->queries * s->heads; i++)
        WANT(found->lse[i] == want->lse[i] || /* -inf */
                 fabs((double)found->lse[i] - (double)want->lse[i]) <= lse_tol,
             "%s: lse[%lld]: found %g, want %g", s->reason, (long long)i, (double)found->lse[i],
             (double)want->lse[i]);
}

static void each_against_ref(rig *r, const shape *shapes, int count)
{
    static result found, want;
    rig ref = open_rig(&lt_backend_ref);
    for (int i = 0; i < count; i++) {
        OK(attend(r, &shapes[i], &found));
        OK(attend(&ref, &shapes[i], &want));
        compare(&shapes[i], &found, &want);
    }
    close_rig(&ref);
}

static int are_same(const result *a, const result *b)
{
    for (int i = 0; i < VALUES_MAX; i++)
        if (!(a->y[i] == b->y[i] && a->lse[i] == b->lse[i])) /* so written, NaN differs */
            return 0;
    return 1;
}

static void same_bits(rig *r)
{
    static result most, fewer, again;
    shape few = planned[0];
    few.queries = 33;
    OK(attend(r, &planned[0], &most));
    OK(attend(r, &planned[0], &again));
    OK(attend(r, &few, &fewer));
    WANT(are_same(&most, &again), "bits: two runs differ");
    WANT(memcmp(most.y, fewer.y, (size_t)(few.queries * few.heads * few.width) * sizeof(float)) ==
             0,
         "bits: y depends on the number of queries");
    for (int64_t i = 0; i < few.heads * few.queries; i++) {
        const int64_t head = i / few.queries, row = i % few.queries;
        WANT(most.lse[head * planned[0].queries + row] == fewer.lse[i],
             "bits: lse depends on the number of queries");
    }
}

static void say_unlisted(rig *r)
{
    static result found;
    shape other = planned[4];
    other.keys++;
    const lt_status status = attend(r, &other, &found);
    WANT(status == LT_EINTERNAL && strstr(lt_error_text(), "was not listed") != NULL,
         "unlisted: status %s: %s", lt_status_name(status), lt_error_text());
    lt_error_clear();
}

/* y2 bf16 over other keys into y f32. */
static void merge(rig *r, const char *bug, result *out)
{
    const shape *s = &planned[0];
    const shape floats = {.dtype = LT_F32};
    const int64_t wide = s->heads * s->width;
    const lt_mark mark = lt_arena_mark(r->arena);
    const lt_tensor y2 = input(r, s, 0, s->queries, wide, 0, 0);
    const lt_tensor lse2 = input(r, &floats, 1, s->heads, s->queries, 0, 0);
    lt_tensor y = input(r, &floats, 2, s->queries, wide, 0, 0);
    lt_tensor lse = input(r, &floats, 3, s->heads, s->queries, 0, 0);
    (void)bug;
#ifdef LT_BUGS
    const lt_op op = {
        .kind = LT_OP_ATTENTION_MERGE, .in = {y2, lse2}, .out = {y, lse}, .heads = s->heads};
    if (bug != NULL && r->backend != &lt_backend_ref)
        OK(lt_cuda_attention_merge_merge_of_floats((lt_cuda_queue *)r->q, &op));
    else
#endif
        OK(lt_attention_merge(r->q, &y2, &lse2, s->heads, &y, &lse));
    as_floats(r, &y, out->y);
    as_floats(r, &lse, out->lse);
    lt_arena_release(r->arena, mark);
}

static void merges(rig *r, const char *bug)
{
    static result found, want;
    shape s = planned[0];
    rig ref = open_rig(&lt_backend_ref);
    s.reason = "merge";
    s.dtype = LT_F32;
    merge(r, bug, &found);
    merge(&ref, NULL, &want);
    compare(&s, &found, &want);
    close_rig(&ref);
}

int main(int argc, char **argv)
{
    rig r = open_rig(BACKEND);
    expect_fn expect = r.backend->expect;
    const char *name = argc > 1 ? argv[1] : "";
#ifdef LT_BUGS
    if (strcmp(name, "merge") != 0)
        expect = NULL;
    for (size_t i = 0; i < sizeof bugs / sizeof *bugs && argc > 2; i++)
        if (strcmp(bugs[i].name, argv[2]) == 0) {
            expect = bugs[i].expect;
            close_bug = bugs[i].close;
        }
#endif
    WANT(expect != NULL, "want a backend with a list, and a bug that exists");
    if (strcmp(name, "results") == 0) {
        list(&r, expect, planned, PLANNED);
        each_against_ref(&r, planned, PLANNED);
    } else if (strcmp(name, "bits") == 0) {
        shape two[] = {planned[0], planned[0]};
        two[1].queries = 33;
        list(&r, expect, two, 2);
        same_bits(&r);
    } else if (strcmp(name, "mixed") == 0) {
        list(&r, expect, planned, 1);
        list(&r, expect, others, OTHERS);
        each_against_ref(&r, others, OTHERS);
    } else if (strcmp(name, "unlisted") == 0) {
        list(&r, expect, planned, PLANNED);
        say_unlisted(&r);
    } else if (strcmp(name, "merge") == 0) {
        merges(&r, argc > 2 ? argv[2] : NULL);
    } else if (strcmp(name, "nothing") == 0) {
        each_against_ref(&r, planned, PLANNED);
    } else {
        WANT(0, "no case '%s'", name);
    }
    close_rig(&r);
    (void)printf("%s: as it should be\n", name);
    return 0;
}
