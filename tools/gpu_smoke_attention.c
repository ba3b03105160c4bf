/* gpu_smoke_attention.c - attention on a card: time, and y and log-sum-exp against f64. */
#include <math.h>

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

static void call_row(smoke *s, const char *who, call *a)
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
}

void smoke_attention(smoke *s)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const shape *c = s->tiny ? &tiny_shapes[i] : &shapes[i];
        call a;
        smoke_open(s, call_bytes(c));
        call_make(s, &a, c);
        call_row(s, "ours", &a);
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
