/* gpu_smoke.c - what only a card can say of longtake_cuda.so: speed, and bits at sizes that no
 * interpreter takes. tools/gpu_smoke.sh calls it and makes a table of its rows.
 *
 *     gpu_smoke PART SUITE [--tiny] [--peak TFLOPS] [--ctas N]
 *
 * PART is longtake_cuda.so, opened whatever it says that it lacks. A suite's rows go to stdout:
 * WHAT, VALUE, NOTE, and ok, wrong or skipped, tab-separated. --tiny: sizes for an interpreter, no
 * times. --peak: of bf16, dense, for shares. --ctas: what
 * NCCL_MAX_CTAS says, for ring's row.
 *
 *     device     what there is
 *     gemm       linear layers of H3's widths: time; a few results against sums in f64
 *     rows       a row's bits over row counts and offsets: linear layers, attention
 *     attention  our kernel: time; y and log-sum-exp against f64, ragged, 7 heads
 *     cudnn      the same by cuDNN, where it is used, beside ours; a row's bits; over 2^31 elements
 *     huge       over 2^31 elements: copies, SwiGLU, linear, attention; rows that are equal stay so
 *     ring       (2 ranks or more) a hop of keys and values beside attention, and each alone
 *
 * Exit: 0; 1 a row is wrong; 64 usage; 69 no part, no device. Tested: ctest -R gpu_smoke in
 * build/cuda, on the interpreter. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/gpu_smoke.h"

int smoke_wrong;

void smoke_row(const char *what, const char *value, const char *note, const char *verdict)
{
    (void)printf("%s\t%s\t%s\t%s\n", what, value, note, verdict);
    (void)fflush(stdout);
    smoke_wrong |= strcmp(verdict, "wrong") == 0;
}

void smoke_failed(const char *expr, int line)
{
    (void)fprintf(stderr, "gpu_smoke: line %d: %s: %s\n", line, expr, lt_error_text());
    _Exit(1); /* what is queued may never end */
}

/* ---- memory ---- */

void smoke_open(smoke *s, size_t bytes)
{
    OK(lt_backend_open(s->backend, 0, 1));
    OK(lt_arena_new("gpu_smoke", s->backend->memory, bytes, &s->arena));
    OK(s->backend->queue_open(LT_QUEUE_COMPUTE, &s->q));
}

void smoke_close(smoke *s)
{
    s->backend->queue_close(&s->q);
    lt_arena_free(&s->arena);
    s->backend->close();
}

lt_tensor smoke_make(smoke *s, lt_dtype dtype, lt_dims dims)
{
    lt_tensor x;
    OK(lt_tensor_new(s->arena, "x", dtype, &x, dims));
    return x;
}

float smoke_value(int64_t i, uint32_t seed)
{
    uint64_t z = (uint64_t)i * 0x9e3779b97f4a7c15ull + seed * 0xd1b54a32d192ed03ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (float)(z >> 40) / (float)(1 << 23) - 1; /* [-1, 1) */
}

lt_tensor smoke_take(smoke *s, lt_dtype dtype, int64_t rows, int64_t width, uint32_t seed)
{
    enum { PERIOD = SMOKE_PERIOD };
    lt_tensor x = smoke_make(s, dtype, LT_DIMS(rows, width));
    const int64_t first = rows < PERIOD ? rows : PERIOD;
    float *v = malloc((size_t)(first * width + 1) * sizeof *v);
    void *cast = malloc((size_t)(first * width + 1) * sizeof *v);
    if (v == NULL || cast == NULL)
        abort();
    for (int64_t i = 0; i < first * width; i++)
        v[i] = smoke_value(i, seed);
    lt_convert(v, LT_F32, cast, dtype, (size_t)(first * width));
    const lt_tensor head = lt_view_outer(&x, (lt_range){0, first});
    OK(lt_upload(s->q, &head, cast));
    for (int64_t have = first; have < rows;) { /* each time as many again, a multiple of PERIOD */
        const int64_t more = rows - have < have ? rows - have : have;
        const lt_tensor from = lt_view_outer(&x, (lt_range){0, more});
        lt_tensor to = lt_view_outer(&x, (lt_range){have, more});
        OK(lt_copy(s->q, &from, &to));
        have += more;
    }
    OK(lt_sync(s->q));
    free(v);
    free(cast);
    return x;
}

void *smoke_fetch(smoke *s, const lt_tensor *x, lt_range rows)
{
    const lt_tensor view = lt_view_outer(x, rows);
    void *out = malloc(lt_tensor_bytes(&view) + 1);
    if (out == NULL)
        abort();
    OK(lt_download(s->q, out, &view));
    OK(lt_sync(s->q));
    return out;
}

/* ---- time ---- */

double smoke_time(smoke *s, void (*fn)(smoke *s, void *arg), void *arg)
{
    const double wanted_s = 0.2;
    int times = 1;
    fn(s, arg);
    OK(lt_sync(s->q));
    if (s->tiny)
        return 0;
    for (;;) {
        const double began = lt_seconds();
        for (int i = 0; i < times; i++)
            fn(s, arg);
        OK(lt_sync(s->q));
        const double took = lt_seconds() - began;
        if (took >= wanted_s)
            return took / times;
        times = took > 0 ? (int)fmin(times * wanted_s / took * 1.2 + 1, 1000.0 * times) : 2 * times;
    }
}

void smoke_rate(const smoke *s, char *out, size_t bytes, double flops, double seconds)
{
    if (s->tiny)
        (void)snprintf(out, bytes, "not timed");
    else if (s->peak > 0)
        (void)snprintf(out, bytes, "%.3f ms, %.1f TFLOP/s, %.1f %% of peak", 1e3 * seconds,
                       flops / seconds / 1e12, 100 * flops / seconds / 1e12 / s->peak);
    else
        (void)snprintf(out, bytes, "%.3f ms, %.1f TFLOP/s", 1e3 * seconds, flops / seconds / 1e12);
}

/* ---- linear layers ---- */

typedef struct layer {
    lt_linear *linear;
    uint16_t *weights; /* bf16, [out, in] */
    int64_t in, out;
    lt_tensor x, y;
} layer;

static void layer_make(smoke *s, layer *l, int64_t in, int64_t out)
{
    const size_t count = (size_t)(in * out);
    l->in = in;
    l->out = out;
    l->weights = malloc(count * sizeof *l->weights);
    if (l->weights == NULL)
        abort();
    for (size_t i = 0; i < count; i++) { /* of the upper half of an f32: bf16 */
        const float v = smoke_value((int64_t)i, 9);
        lt_convert(&v, LT_F32, &l->weights[i], LT_BF16, 1);
    }
    const lt_linear_spec spec = {
        .in = in, .out = out, .weights = l->weights, .weights_dtype = LT_BF16, .compute = LT_BF16};
    OK(lt_linear_prepare(s->backend, s->arena, "layer", &spec, &l->linear));
}

static void layer_free(smoke *s, layer *l)
{
    OK(lt_sync(s->q));
    lt_linear_free(&l->linear);
    free(l->weights);
}

static void layer_run(smoke *s, void *arg)
{
    layer *l = arg;
    OK(lt_linear_apply(s->q, l->linear, &l->x, LT_ACT_NONE, &l->y));
}

/* Some of y against sums in f64: the largest difference, as a share of the largest. */
static double layer_error(smoke *s, const layer *l, int64_t rows)
{
    enum { ROWS = 3, COLUMNS = 40 };
    double worst = 0, largest = 0;
    for (int r = 0; r < ROWS; r++) {
        const int64_t row = r * (rows - 1) / (ROWS - 1);
        uint16_t *x = smoke_fetch(s, &l->x, (lt_range){row, 1});
        float *y = smoke_fetch(s, &l->y, (lt_range){row, 1});
        for (int c = 0; c < COLUMNS; c++) {
            const int64_t column = c * (l->out - 1) / (COLUMNS - 1);
            double sum = 0;
            for (int64_t k = 0; k < l->in; k++)
                sum += (double)lt_bf16_to_f32(x[k]) *
                       (double)lt_bf16_to_f32(l->weights[column * l->in + k]);
            const double d = fabs(sum - (double)y[column]);
            worst = d <= worst ? worst : d; /* so written, NaN stays */
            largest = fmax(largest, fabs(sum));
        }
        free(x);
        free(y);
    }
    return worst / largest;
}

static void suite_gemm(smoke *s)
{
    static const int64_t wide[][2] = {{7168, 21504}, {7168, 7168}, {7168, 28672}, {14336, 7168}};
    static const int64_t narrow[][2] = {{64, 192}, {64, 64}, {64, 256}, {128, 64}};
    const int64_t rows = s->tiny ? 40 : 8192;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        char what[80], value[80], note[80];
        layer l;
        const int64_t *size = s->tiny ? narrow[i] : wide[i];
        smoke_open(s, s->tiny ? (size_t)8 << 20 : (size_t)4 << 30);
        layer_make(s, &l, size[0], size[1]);
        l.x = smoke_take(s, LT_BF16, rows, l.in, 1);
        l.y = smoke_make(s, LT_F32, LT_DIMS(rows, l.out));
        const double took = smoke_time(s, layer_run, &l);
        const double error = layer_error(s, &l, rows);
        (void)snprintf(what, sizeof what, "linear %lld x %lld -> %lld", (long long)rows,
                       (long long)l.in, (long long)l.out);
        smoke_rate(s, value, sizeof value, 2.0 * (double)rows * (double)(l.in * l.out), took);
        (void)snprintf(note, sizeof note, "off by %.2g of the largest", error);
        /* f32 sums in any order: kernels.h */
        smoke_row(what, value, note, error <= 2e-6 * fmax(1, (double)l.in / 1000) ? "ok" : "wrong");
        layer_free(s, &l);
        smoke_close(s);
    }
}

/* ---- a row's bits ---- */

static void suite_rows(smoke *s)
{
    static const int64_t counts[] = {1, 2, 7, 63, 64, 65, 200, 1000, 4096, 8191};
    const int64_t width = s->tiny ? 64 : 7168, all = s->tiny ? 70 : 8192;
    const size_t row_bytes = (size_t)width * sizeof(float);
    layer l;
    int differ = 0, tried = 0;
    char value[80], note[80] = "";
    smoke_open(s, s->tiny ? (size_t)16 << 20 : (size_t)4 << 30);
    layer_make(s, &l, width, width);
    l.x = smoke_take(s, LT_BF16, all, width, 1);
    l.y = smoke_make(s, LT_F32, LT_DIMS(all, width));
    layer_run(s, &l);
    char *whole = smoke_fetch(s, &l.y, (lt_range){0, all});
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int64_t first = 0; first <= 5; first += 5) { /* and rows that begin elsewhere */
            const lt_range part = {first, counts[i]};
            if (first + counts[i] > all)
                continue;
            layer cut = l;
            cut.x = lt_view_outer(&l.x, part);
            cut.y = lt_view_outer(&l.y, part);
            OK(lt_fill(s->q, &cut.y, NAN));
            layer_run(s, &cut);
            char *got = smoke_fetch(s, &l.y, part);
            tried++;
            if (memcmp(got, whole + (size_t)first * row_bytes, (size_t)counts[i] * row_bytes) !=
                    0 &&
                differ++ == 0)
                (void)snprintf(note, sizeof note, "first at %lld rows from row %lld",
                               (long long)counts[i], (long long)first);
            free(got);
        }
    (void)snprintf(value, sizeof value, "%d of %d row counts and offsets differ", differ, tried);
    smoke_row("a row's bits, linear bf16", value, note, differ == 0 ? "ok" : "wrong");
    free(whole);
    layer_free(s, &l);
    smoke_close(s);
    smoke_attention_rows(s);
}

/* ---- over 2^31 elements ---- */

/* Rows a period apart went in equal: do they come out so? The last ones against the first. */
static void huge_row(smoke *s, const char *what, const lt_tensor *y)
{
    char value[80];
    const int64_t rows = lt_row_count(y), last = (rows - 1) / SMOKE_PERIOD * SMOKE_PERIOD;
    const lt_range tail = {last, rows - last}, head = {0, rows - last};
    char *a = smoke_fetch(s, y, head), *b = smoke_fetch(s, y, tail);
    const lt_tensor view = lt_view_outer(y, tail);
    const int same = memcmp(a, b, lt_tensor_bytes(&view)) == 0;
    (void)snprintf(value, sizeof value, "%.3g elements", (double)lt_elements(y));
    smoke_row(what, value,
              same ? "the last rows have the first ones' bits" : "the last rows differ",
              same ? "ok" : "wrong");
    free(a);
    free(b);
}

int smoke_fits(smoke *s, const char *what, size_t bytes)
{
    lt_device d;
    char note[80];
    s->backend->describe(0, &d);
    if (d.left_bytes < 0 || (size_t)d.left_bytes > bytes + ((size_t)1 << 30))
        return 1;
    (void)snprintf(note, sizeof note, "wants %.0f GB of memory, %.0f are free", (double)bytes / 1e9,
                   (double)d.left_bytes / 1e9);
    smoke_row(what, "", note, "skipped");
    return 0;
}

static void suite_huge(smoke *s)
{
    const int64_t rows = s->tiny ? 300 : 300001, ffn = s->tiny ? 64 : 8192;
    const int64_t width = s->tiny ? 256 : 7168, heads = width / 128;
    const size_t swiglu_bytes = (size_t)(3 * rows * ffn) * 2 + ((size_t)64 << 20);
    if (smoke_fits(s, "SwiGLU over 2^31", swiglu_bytes)) {
        smoke_open(s, swiglu_bytes);
        const lt_tensor x = smoke_take(s, LT_BF16, rows, 2 * ffn, 1);
        lt_tensor y = smoke_make(s, LT_BF16, LT_DIMS(rows, ffn));
        OK(lt_swiglu(s->q, &x, &y));
        huge_row(s, "copies over 2^31", &x);
        huge_row(s, "SwiGLU over 2^31", &y);
        smoke_close(s);
    }
    const size_t linear_bytes = (size_t)(2 * rows * width + width * width) * 2 + ((size_t)64 << 20);
    if (smoke_fits(s, "linear over 2^31", linear_bytes)) {
        layer l;
        smoke_open(s, linear_bytes);
        layer_make(s, &l, width, width);
        l.x = smoke_take(s, LT_BF16, rows, width, 1);
        l.y = smoke_make(s, LT_BF16, LT_DIMS(rows, width));
        layer_run(s, &l);
        huge_row(s, "linear over 2^31", &l.y);
        layer_free(s, &l);
        smoke_close(s);
    }
    const size_t attention_bytes =
        (size_t)(2 * rows * width) * 2 + (size_t)(rows * heads) * 4 + ((size_t)64 << 20);
    if (smoke_fits(s, "attention over 2^31", attention_bytes)) {
        enum { KEYS = 100 };
        smoke_open(s, attention_bytes);
        const lt_tensor q = smoke_take(s, LT_BF16, rows, width, 1);
        const lt_tensor k = smoke_take(s, LT_BF16, KEYS, width, 2);
        const lt_tensor v = smoke_take(s, LT_BF16, KEYS, width, 3);
        lt_tensor y = smoke_make(s, LT_BF16, LT_DIMS(rows, width));
        lt_tensor lse = smoke_make(s, LT_F32, LT_DIMS(heads, rows));
        OK(lt_attention(s->q, &q, &k, &v, heads, heads, 0.088f, 0, 0, &y, &lse));
        huge_row(s, "attention over 2^31", &y);
        smoke_close(s);
    }
}

static void suite_device(smoke *s)
{
    char devices[300];
    lt_device d;
    s->backend->describe(0, &d);
    (void)s->part->devices(devices, sizeof devices);
    smoke_row("device", d.name, devices, "ok");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(smoke *s);
    } suites[] = {{"device", suite_device}, {"gemm", suite_gemm},
                  {"rows", suite_rows},     {"attention", smoke_attention},
                  {"cudnn", smoke_cudnn},   {"huge", suite_huge},
                  {"ring", smoke_ring}};
    smoke s = {.tiny = 0};
    char devices[300];
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--tiny") == 0)
            s.tiny = 1;
        else if (strcmp(argv[i], "--peak") == 0 && i + 1 < argc)
            s.peak = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--ctas") == 0 && i + 1 < argc)
            s.ctas = argv[++i];
    }
    for (size_t i = 0; argc > 2 && i < sizeof suites / sizeof *suites; i++)
        if (strcmp(argv[2], suites[i].name) == 0) {
            s.part = gpu_part_open(argv[1]);
            s.backend = s.part->backend;
            if (s.part->devices(devices, sizeof devices) < 1) {
                (void)fprintf(stderr, "gpu_smoke: no device: %s\n", devices);
                return 69;
            }
            suites[i].run(&s);
            return smoke_wrong;
        }
    (void)fprintf(
        stderr,
        "gpu_smoke: want PART.so and one of device, gemm, rows, attention, cudnn, huge, ring\n");
    return 64;
}
