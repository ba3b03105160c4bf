/* gpu_smoke_attention.c - attention on a card: time, and y and log-sum-exp against f64. */
#include <math.h>
#include <unistd.h>

#include "tools/gpu_smoke.h"

typedef struct shape {
    const char *name;
    int64_t queries, keys, heads, kv_heads, width;
} shape;

/* The released DiT's head; a ragged end on both sides; a head count that no power of two divides;
 * shared keys (text encoder); the other width. */
static const shape shapes[] = {
    {"full", 16384, 16384, 8, 8, 128},    {"ragged", 10007, 9973, 8, 8, 128},
    {"7 heads", 16384, 16384, 7, 7, 128}, {"few queries", 1797, 30011, 56, 56, 128},
    {"grouped", 4096, 4096, 32, 8, 128},  {"64 channels", 16384, 16384, 8, 8, 64},
};
static const shape tiny_shapes[] = {
    {"full", 64, 96, 2, 2, 128},    {"ragged", 37, 101, 2, 2, 128},
    {"7 heads", 16, 40, 7, 7, 128}, {"few queries", 3, 70, 3, 3, 128},
    {"grouped", 20, 33, 4, 2, 128}, {"64 channels", 64, 96, 2, 2, 64},
};

typedef struct call {
    const shape *c;
    lt_tensor q, k, v, y, lse;
    float scale;
} call;

static void call_make(smoke *s, call *a, const shape *c)
{
    a->c = c;
    a->scale = 1 / sqrtf((float)c->width);
    a->q = smoke_take(s, LT_BF16, c->queries, c->heads * c->width, 1);
    a->k = smoke_take(s, LT_BF16, c->keys, c->kv_heads * c->width, 2);
    a->v = smoke_take(s, LT_BF16, c->keys, c->kv_heads * c->width, 3);
    a->y = smoke_make(s, LT_BF16, LT_DIMS(c->queries, c->heads * c->width));
    a->lse = smoke_make(s, LT_F32, LT_DIMS(c->heads, c->queries));
}

static size_t call_bytes(const shape *c)
{
    return (size_t)((2 * c->queries * c->heads + 2 * c->keys * c->kv_heads) * c->width) * 2 +
           (size_t)(c->queries * c->heads) * 4 + ((size_t)64 << 20);
}

static void call_run(smoke *s, void *arg)
{
    call *a = arg;
    OK(lt_attention(s->q, &a->q, &a->k, &a->v, a->c->heads, a->c->kv_heads, a->scale, 0, 0, &a->y,
                    &a->lse));
}

/* One query of one head in f64: y [width] and the log-sum-exp. */
static double exact(const call *a, const uint16_t *q, const uint16_t *k, const uint16_t *v,
                    int64_t head, double *y)
{
    const shape *c = a->c;
    const int64_t kv = head / (c->heads / c->kv_heads), row = c->kv_heads * c->width;
    double *logit = malloc((size_t)c->keys * sizeof *logit), most = -INFINITY, sum = 0;
    if (logit == NULL)
        abort();
    for (int64_t i = 0; i < c->keys; i++) {
        double dot = 0;
        for (int64_t d = 0; d < c->width; d++)
            dot += (double)lt_bf16_to_f32(q[head * c->width + d]) *
                   (double)lt_bf16_to_f32(k[i * row + kv * c->width + d]);
        logit[i] = dot * (double)a->scale;
        most = fmax(most, logit[i]);
    }
    for (int64_t d = 0; d < c->width; d++)
        y[d] = 0;
    for (int64_t i = 0; i < c->keys; i++) {
        const double w = exp(logit[i] - most);
        sum += w;
        for (int64_t d = 0; d < c->width; d++)
            y[d] += w * (double)lt_bf16_to_f32(v[i * row + kv * c->width + d]);
    }
    for (int64_t d = 0; d < c->width; d++)
        y[d] /= sum;
    free(logit);
    return most + log(sum);
}

/* Some rows, the first, the last and one between, first and last head: how far y is off, of the
 * largest of y; and the log-sum-exp, absolute. */
static void call_check(smoke *s, const call *a, double *y_off, double *lse_off)
{
    enum { WIDTH_MAX = 128, ROWS = 3 };
    const shape *c = a->c;
    double want[WIDTH_MAX], largest = 0, worst = 0;
    uint16_t *k = smoke_fetch(s, &a->k, (lt_range){0, c->keys});
    uint16_t *v = smoke_fetch(s, &a->v, (lt_range){0, c->keys});
    float *lse = smoke_fetch(s, &a->lse, (lt_range){0, c->heads});
    *lse_off = 0;
    for (int r = 0; r < ROWS; r++) {
        const lt_range row = {r * (c->queries - 1) / (ROWS - 1), 1};
        uint16_t *q = smoke_fetch(s, &a->q, row), *y = smoke_fetch(s, &a->y, row);
        for (int64_t head = 0; head<c->heads; head += c->heads> 1 ? c->heads - 1 : 1) {
            const double l = exact(a, q, k, v, head, want);
            const double d = fabs(l - (double)lse[head * c->queries + row.first]);
            *lse_off = d <= *lse_off ? *lse_off : d; /* so written, NaN stays */
            for (int64_t i = 0; i < c->width; i++) {
                const double e = fabs(want[i] - (double)lt_bf16_to_f32(y[head * c->width + i]));
                worst = e <= worst ? worst : e;
                largest = fmax(largest, fabs(want[i]));
            }
        }
        free(q);
        free(y);
    }
    *y_off = worst / largest;
    free(k);
    free(v);
    free(lse);
}

static double call_row(smoke *s, const char *who, call *a)
{
    char what[100], value[80], note[100];
    const shape *c = a->c;
    double y_off = 0, lse_off = 0;
    const double took = smoke_time(s, call_run, a);
    const double flops = 4.0 * (double)(c->queries * c->heads) * (double)(c->keys * c->width);
    call_check(s, a, &y_off, &lse_off);
    (void)snprintf(what, sizeof what, "attention %s, %s: %lld x %lld, %lld x %lld", who, c->name,
                   (long long)c->queries, (long long)c->keys, (long long)c->heads,
                   (long long)c->width);
    smoke_rate(s, value, sizeof value, flops, took);
    (void)snprintf(note, sizeof note, "y off by %.2g of the largest, lse by %.2g", y_off, lse_off);
    /* kernels.h: bf16 y 1/64 of the largest; lse is a sum of weights that may be rounded to bf16 */
    smoke_row(what, value, note, y_off <= 1.0 / 64 && lse_off <= 1.0 / 128 ? "ok" : "wrong");
    return took;
}

void smoke_attention(smoke *s)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const shape *c = s->tiny ? &tiny_shapes[i] : &shapes[i];
        call a;
        smoke_open(s, call_bytes(c));
        call_make(s, &a, c);
        (void)call_row(s, "ours", &a);
        smoke_close(s);
    }
}

void smoke_attention_rows(smoke *s)
{
    static const int64_t counts[] = {1, 2, 63, 64, 65, 1000, 4095};
    static const shape large = {"", 4096, 5000, 8, 8, 128}, small = {"", 70, 50, 2, 2, 128};
    const shape *c = s->tiny ? &small : &large;
    const int64_t width = c->heads * c->width;
    int differ = 0, tried = 0;
    char value[80];
    call a;
    smoke_open(s, call_bytes(c));
    call_make(s, &a, c);
    call_run(s, &a);
    char *whole = smoke_fetch(s, &a.y, (lt_range){0, c->queries});
    for (size_t i = 0; i < sizeof counts / sizeof *counts && counts[i] <= c->queries; i++) {
        const lt_range part = {c->queries - counts[i], counts[i]};
        const lt_tensor q = lt_view_outer(&a.q, part);
        lt_tensor y = lt_view_outer(&a.y, part);
        OK(lt_fill(s->q, &y, NAN));
        OK(lt_attention(s->q, &q, &a.k, &a.v, c->heads, c->kv_heads, a.scale, 0, 0, &y, NULL));
        char *got = smoke_fetch(s, &a.y, part);
        tried++;
        differ += memcmp(got, whole + (size_t)(part.first * width) * sizeof(uint16_t),
                         (size_t)(part.count * width) * sizeof(uint16_t)) != 0;
        free(got);
    }
    (void)snprintf(value, sizeof value, "%d of %d row counts differ", differ, tried);
    smoke_row("a row's bits, attention ours", value, "", differ == 0 ? "ok" : "wrong");
    free(whole);
    smoke_close(s);
}

/* ---- cuDNN ---- */

/* What will come, as a verb's dry run would list it (lt_backend.expect). */
static lt_op op_of(const call *a, const lt_tensor *q, const lt_tensor *y, int with_lse)
{
    lt_op op = {.kind = LT_OP_ATTENTION,
                .in = {*q, a->k, a->v},
                .out = {*y},
                .heads = a->c->heads,
                .kv_heads = a->c->kv_heads,
                .a = a->scale};
    if (with_lse)
        op.out[1] = a->lse;
    for (int i = 0; i < 3; i++)
        op.in[i].data = NULL;
    op.out[0].data = op.out[1].data = NULL;
    return op;
}

/* List them. The part says on stderr what cuDNN does not take and our own kernel does: then 0, and
 * its words. The arena has room for what it compares with, too. */
static int expect(smoke *s, const lt_op *ops, int count, size_t bytes, char *why, size_t room)
{
    lt_arena *step = NULL;
    FILE *said = tmpfile();
    const int voice = dup(STDERR_FILENO);
    if (said == NULL || voice < 0)
        abort();
    OK(lt_arena_new("expect", s->backend->memory, 3 * bytes, &step));
    (void)dup2(fileno(said), STDERR_FILENO);
    const lt_status st = s->backend->expect(s->q, step, ops, count);
    (void)dup2(voice, STDERR_FILENO);
    (void)close(voice);
    lt_arena_free(&step);
    OK(st);
    rewind(said);
    why[0] = '\0';
    (void)(fgets(why, (int)room, said) == NULL);
    why[strcspn(why, "\n")] = '\0';
    (void)fclose(said);
    return why[0] == '\0';
}

/* How far apart two bf16 results of our size are, of the largest; NaN where one is. */
static double apart(const uint16_t *a, const uint16_t *b, int64_t count)
{
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        const double d = fabs((double)lt_bf16_to_f32(a[i]) - (double)lt_bf16_to_f32(b[i]));
        worst = d <= worst ? worst : d;
        largest = fmax(largest, fabs((double)lt_bf16_to_f32(a[i])));
    }
    return worst / largest;
}

/* 0: cuDNN did not take it. What comes behind is not compared either: a warning is said once. */
static int against(smoke *s, const shape *c)
{
    char what[100], value[80], note[80], why[200];
    const lt_range all = {0, c->queries};
    call a;
    smoke_open(s, call_bytes(c));
    call_make(s, &a, c);
    const double ours = smoke_time(s, call_run, &a);
    uint16_t *own = smoke_fetch(s, &a.y, all);
    const lt_op op = op_of(&a, &a.q, &a.y, 1);
    (void)snprintf(what, sizeof what, "cuDNN against ours, %s", c->name);
    if (!expect(s, &op, 1, call_bytes(c), why, sizeof why)) {
        smoke_row(what, "", why, "skipped");
        free(own);
        smoke_close(s);
        return 0;
    }
    OK(lt_fill(s->q, &a.y, NAN));
    const double theirs = call_row(s, "cuDNN", &a);
    uint16_t *got = smoke_fetch(s, &a.y, all);
    const double off = apart(own, got, lt_elements(&a.y));
    if (s->tiny)
        (void)snprintf(value, sizeof value, "not timed");
    else
        (void)snprintf(value, sizeof value, "%.2f times as fast", ours / theirs);
    (void)snprintf(note, sizeof note, "y apart by %.2g of the largest", off);
    smoke_row(what, value, note, off <= 1.0 / 32 ? "ok" : "wrong");
    free(own);
    free(got);
    smoke_close(s);
    return 1;
}

/* Not known until a card says so: ours is used where it matters (--deterministic). */
static void cudnn_rows(smoke *s)
{
    enum { COUNTS = 6 };
    static const int64_t counts[COUNTS] = {1, 64, 65, 128, 1000, 4095};
    static const shape large = {"", 4096, 5000, 8, 8, 128}, small = {"", 70, 50, 2, 2, 128};
    const shape *c = s->tiny ? &small : &large;
    const int64_t width = c->heads * c->width;
    lt_op ops[COUNTS + 1];
    int differ = 0, tried = 0;
    char value[80], why[200];
    call a;
    smoke_open(s, call_bytes(c));
    call_make(s, &a, c);
    ops[0] = op_of(&a, &a.q, &a.y, 1);
    for (int i = 0; i < COUNTS && counts[i] <= c->queries; i++) {
        const lt_range part = {0, counts[i]};
        const lt_tensor q = lt_view_outer(&a.q, part), y = lt_view_outer(&a.y, part);
        ops[++tried] = op_of(&a, &q, &y, 0);
    }
    if (!expect(s, ops, tried + 1, call_bytes(c), why, sizeof why)) {
        smoke_row("a row's bits, attention cuDNN", "", why, "skipped");
        smoke_close(s);
        return;
    }
    call_run(s, &a);
    char *whole = smoke_fetch(s, &a.y, (lt_range){0, c->queries});
    for (int i = 0; i < tried; i++) {
        const lt_range part = {0, counts[i]};
        const lt_tensor q = lt_view_outer(&a.q, part);
        lt_tensor y = lt_view_outer(&a.y, part);
        OK(lt_fill(s->q, &y, NAN));
        OK(lt_attention(s->q, &q, &a.k, &a.v, c->heads, c->kv_heads, a.scale, 0, 0, &y, NULL));
        char *got = smoke_fetch(s, &y, part);
        differ += memcmp(got, whole, (size_t)(part.count * width) * sizeof(uint16_t)) != 0;
        free(got);
    }
    (void)snprintf(value, sizeof value, "%d of %d row counts differ", differ, tried);
    smoke_row("a row's bits, attention cuDNN", value, "ours alone is held to it", "ok");
    free(whole);
    smoke_close(s);
}

void smoke_cudnn(smoke *s)
{
    static const shape huge = {"over 2^31", 300001, 100, 56, 56, 128};
    static const shape tiny_huge = {"over 2^31", 300, 100, 2, 2, 128};
    const shape *c = s->tiny ? &tiny_huge : &huge;
    char text[160];
    const int found = s->part->attention_found(text, sizeof text);
    smoke_row("attention by cuDNN", "", text, found ? "ok" : "skipped");
    if (!found)
        return;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (!against(s, s->tiny ? &tiny_shapes[i] : &shapes[i]))
            return;
    cudnn_rows(s);
    if (smoke_fits(s, "cuDNN over 2^31", 3 * call_bytes(c)))
        (void)against(s, c);
}
