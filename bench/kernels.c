/* kernels.c - bench_kernels: the cpu backend's operations as shares of what the machine can do.
 *
 *   bench_kernels [--threads N] [--seconds S]      CSV on stdout, one row a case
 *
 * Columns: kernel, shape, dtype, milliseconds (median of the runs), gflops or gbytes a second,
 * share of the measured roof (multiply-adds for products and attention, triad bandwidth for row
 * kernels), runs, the largest difference from kernels/ref on the first rows as a share of the
 * largest value, and `wrong` (1: above what kernels.h allows, or NaN). Rows do not depend on each
 * other (kernels.h), so the reference computes only as many as take it a moment. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/philox.h"
#include "kernels/kernels.h"
#include "peak.h"

enum { RUNS_MAX = 200, TENSORS_MAX = 8, CHECKED_ROWS = 48 };

typedef enum { LINEAR, ATTENTION, NORM, ROPE, SWIGLU, MODULATE } kind;

typedef struct bench_case {
    const char *name;
    kind what;
    lt_dtype dtype;
    int64_t rows, in,
        out;        /* linear: in, out; attention: heads, head width; row kernels: width, - */
    double allowed; /* of the largest value; kernels.h's contract, bf16 one ulp of it (2^-8) */
} bench_case;

/* The shapes of a mid-size H3 step (hidden 1024, 4,000 rows), the demo's, and a text encoder's few
 * rows. */
static const bench_case cases[] = {
    {"linear qkv", LINEAR, LT_F32, 4000, 1024, 1024, 4e-6},
    {"linear ffn up", LINEAR, LT_F32, 4000, 1024, 5632, 4e-6},
    {"linear ffn down", LINEAR, LT_F32, 4000, 2816, 1024, 8e-6},
    {"linear ffn up", LINEAR, LT_BF16, 4000, 1024, 5632, 8e-3},
    {"linear demo", LINEAR, LT_F32, 756, 192, 1152, 4e-6},
    {"linear few rows", LINEAR, LT_F32, 16, 1024, 5632, 4e-6},
    {"linear few rows", LINEAR, LT_BF16, 16, 1024, 5632, 8e-3},
    {"attention", ATTENTION, LT_F32, 4000, 8, 128, 2e-6},
    {"attention", ATTENTION, LT_F32, 4000, 16, 64, 2e-6},
    {"attention", ATTENTION, LT_BF16, 4000, 8, 128, 8e-3},
    {"attention demo", ATTENTION, LT_F32, 756, 3, 64, 2e-6},
    {"rms norm", NORM, LT_F32, 4000, 1024, 0, 4e-6},
    {"rms norm", NORM, LT_BF16, 4000, 1024, 0, 8e-3},
    {"head norm + rope", ROPE, LT_F32, 4000, 8, 128, 4e-6},
    {"head norm + rope", ROPE, LT_BF16, 4000, 8, 128, 1.6e-2},
    {"swiglu", SWIGLU, LT_F32, 4000, 2816, 0, 4e-6},
    {"swiglu", SWIGLU, LT_BF16, 4000, 2816, 0, 1.6e-2},
    {"norm + modulate", MODULATE, LT_F32, 4000, 1024, 0, 4e-6},
    {"norm + modulate", MODULATE, LT_BF16, 4000, 1024, 0, 1.6e-2},
};

/* A backend with the case's tensors on it; both rigs of a case are filled with the same numbers. */
typedef struct rig {
    const bench_case *c;
    const lt_backend *backend;
    lt_arena *arena;
    lt_queue *q;
    lt_tensor x[TENSORS_MAX];
    lt_linear *linear;
    int64_t rows;
} rig;

static double peak_gflops, peak_gbytes;

static void die(void)
{
    (void)fprintf(stderr, "bench_kernels: error: %s\n", lt_error_text());
    abort();
}

#define OK(expr)                                                                                   \
    do {                                                                                           \
        if ((expr) != LT_OK)                                                                       \
            die();                                                                                 \
    } while (0)

static float *normals(uint32_t which, int64_t count)
{
    float *v = malloc((size_t)(count + 4) * sizeof *v);
    if (v == NULL)
        abort();
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i += 4) {
        const uint32_t key[2] = {2026, 4}, counter[4] = {(uint32_t)(i / 4), which, 0, 0};
        uint32_t word[4];
        lt_philox4x32(counter, key, word);
        for (int j = 0; j < 4; j++)
            v[i + j] = lt_normal_from_u32(word[j]);
    }
    return v;
}

/* Tensor number i of the rig, [rows, width] of dtype, with normals. */
static void make(rig *r, int i, lt_dtype dtype, int64_t rows, int64_t width)
{
    static const char *const names[TENSORS_MAX] = {"y", "x1", "x2", "x3", "x4", "x5", "x6", "x7"};
    OK(lt_tensor_new(r->arena, names[i], dtype, &r->x[i], LT_DIMS(rows, width)));
    float *v = normals((uint32_t)i, rows * width);
    if (dtype == LT_BF16)
        for (int64_t k = 0; k < rows * width; k++)
            ((uint16_t *)(void *)v)[k] = lt_f32_to_bf16(v[k]);
    OK(lt_upload(r->q, &r->x[i], v));
    OK(lt_sync(r->q));
    free(v);
}

static void make_linear(rig *r)
{
    const bench_case *c = r->c;
    float *w = normals(100, c->in * c->out);
    const lt_linear_spec spec = {
        .in = c->in, .out = c->out, .weights = w, .weights_dtype = LT_F32, .compute = c->dtype};
    OK(lt_linear_prepare(r->backend, r->arena, "w", &spec, &r->linear));
    free(w);
}

static void make_index(rig *r, int i)
{
    OK(lt_tensor_new(r->arena, "index", LT_I32, &r->x[i], LT_DIMS(r->rows)));
    int32_t *v = malloc((size_t)(r->rows + 1) * sizeof *v);
    if (v == NULL)
        abort();
    for (int64_t k = 0; k < r->rows; k++)
        v[k] = (int32_t)(k % 2);
    OK(lt_upload(r->q, &r->x[i], v));
    OK(lt_sync(r->q));
    free(v);
}

/* x[0] is the output of every case. keys: rows of what a row attends to. */
static void make_tensors(rig *r, int64_t keys)
{
    const bench_case *c = r->c;
    const int64_t w = c->what == ATTENTION || c->what == ROPE ? c->in * c->out : c->in;
    if (c->what == LINEAR)
        make_linear(r);
    make(r, 0, c->dtype, r->rows, c->what == LINEAR ? c->out : w);
    make(r, 1, c->dtype, r->rows, c->what == SWIGLU ? 2 * w : w);
    if (c->what == ATTENTION) {
        make(r, 2, c->dtype, keys, w);
        make(r, 3, c->dtype, keys, w);
    } else if (c->what == ROPE) {
        make(r, 2, c->dtype, r->rows, c->out / 4);
        make(r, 3, c->dtype, r->rows, c->out / 4);
    } else if (c->what == MODULATE) {
        make(r, 2, c->dtype, 2, 6 * w);
        make_index(r, 3);
    }
}

static void run(rig *r)
{
    const bench_case *c = r->c;
    lt_tensor *x = r->x;
    const lt_tensor row = lt_view_outer(&x[1], (lt_range){0, 1}); /* serves as the norm's weight */
    const lt_tensor flat = lt_view_as(&row, LT_DIMS(lt_row_width(&row)));
    switch (c->what) {
    case LINEAR:
        OK(lt_linear_apply(r->q, r->linear, &x[1], LT_ACT_NONE, &x[0]));
        break;
    case ATTENTION:
        OK(lt_attention(r->q, &x[1], &x[2], &x[3], c->in, c->in, 1.0f / sqrtf((float)c->out), 0, 0,
                        &x[0], NULL));
        break;
    case NORM:
        OK(lt_rms_norm(r->q, &x[1], &flat, 1e-5f, LT_ROUND_ONCE, &x[0]));
        break;
    case ROPE:
        OK(lt_head_norm_rope(r->q, &x[0], c->in, NULL, 1e-5f, LT_ROUND_ONCE, &x[2], &x[3]));
        break;
    case SWIGLU:
        OK(lt_swiglu(r->q, &x[1], &x[0]));
        break;
    case MODULATE:
        OK(lt_norm_modulate(r->q, &x[1], &flat, 1e-5f, &x[2], &x[3], 0, c->in, &x[0]));
        break;
    }
    OK(lt_sync(r->q));
}

static void open_rig(rig *r, const bench_case *c, const lt_backend *backend, int threads,
                     int64_t rows)
{
    *r = (rig){.c = c, .backend = backend, .rows = rows};
    OK(lt_backend_open(backend, 0, threads));
    OK(lt_arena_new("bench", backend->memory, (size_t)1 << 31, &r->arena));
    OK(backend->queue_open(LT_QUEUE_COMPUTE, &r->q));
    make_tensors(r, c->rows);
}

static void close_rig(rig *r)
{
    lt_linear_free(&r->linear);
    r->backend->queue_close(&r->q);
    lt_arena_free(&r->arena);
    r->backend->close();
}

static float *fetch(rig *r, int64_t rows)
{
    const lt_tensor part = lt_view_outer(&r->x[0], (lt_range){0, rows});
    const int64_t count = rows * lt_row_width(&part);
    float *v = malloc((size_t)(count + 1) * sizeof *v);
    if (v == NULL)
        abort();
    OK(lt_download(r->q, v, &part));
    OK(lt_sync(r->q));
    if (part.dtype == LT_BF16)
        for (int64_t i = count - 1; i >= 0; i--)
            v[i] = lt_bf16_to_f32(((uint16_t *)(void *)v)[i]);
    return v;
}

/* Largest difference over the first rows, as a share of the largest value; NaN stays one. */
static double off_from_reference(const bench_case *c, const float *got, int64_t rows)
{
    rig ref;
    open_rig(&ref, c, &lt_backend_ref, 1, rows);
    run(&ref);
    float *want = fetch(&ref, rows);
    const int64_t count = rows * lt_row_width(&ref.x[0]);
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        const double off = fabs((double)got[i] - (double)want[i]);
        largest = fmax(largest, fabs((double)want[i]));
        if (isnan(off)) {
            worst = off;
            break;
        }
        worst = fmax(worst, off);
    }
    close_rig(&ref);
    free(want);
    return worst / largest;
}

/* One thread's CPU time tells the same as the wall and does not count other programs' turns. */
static double now(int threads)
{
    struct timespec t;
    if (threads > 1 || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0)
        return omp_get_wtime();
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}

/* Floating-point operations (products), or bytes read and written (row kernels). */
static double work_of(const bench_case *c)
{
    const double rows = (double)c->rows, in = (double)c->in, out = (double)c->out;
    const double each = (double)lt_dtype_bytes(c->dtype);
    switch (c->what) {
    case LINEAR:
        return 2 * rows * in * out;
    case ATTENTION:
        return 4 * rows * rows * in * out;
    case ROPE:
        return rows * (2 * in * out + out / 2) * each;
    case SWIGLU:
        return 3 * rows * in * each;
    default:
        return 2 * rows * in * each;
    }
}

static void bench(const bench_case *c, int threads, double seconds)
{
    rig r;
    double times[RUNS_MAX];
    int runs = 0;
    const int64_t checked = c->rows < CHECKED_ROWS ? c->rows : CHECKED_ROWS;
    open_rig(&r, c, &lt_backend_cpu, threads, c->rows);
    run(&r); /* warms up; head norm + rope works in place, so this is what is checked */
    float *got = fetch(&r, checked);
    const double began = omp_get_wtime();
    while (runs < RUNS_MAX && (runs < 5 || omp_get_wtime() - began < seconds)) {
        const double start = now(threads);
        run(&r);
        times[runs++] = now(threads) - start;
    }
    close_rig(&r);
    qsort(times, (size_t)runs, sizeof *times, by_value);
    const double median = times[runs / 2], rate = work_of(c) / median / 1e9;
    const int product = c->what == LINEAR || c->what == ATTENTION;
    const double worst = off_from_reference(c, got, checked);
    free(got);
    printf("%s,%lldx%lldx%lld,%s,%.3f,", c->name, (long long)c->rows, (long long)c->in,
           (long long)c->out, c->dtype == LT_F32 ? "f32" : "bf16", 1e3 * median);
    printf(product ? "%.1f,,%.0f%%," : ",%.1f,%.0f%%,", rate,
           100 * rate / (product ? peak_gflops : peak_gbytes));
    printf("%d,%.1e,%d\n", runs, worst, !(worst <= c->allowed));
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    int threads = omp_get_num_procs();
    double seconds = 0.5;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--threads") == 0)
            threads = (int)strtol(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(argv[i + 1], NULL);
    }
    threads = threads < 1 ? 1 : threads;
    peak_gflops = lt_bench_peak_gflops(threads);
    peak_gbytes = lt_bench_triad_gbytes(threads);
    printf("kernel,shape,dtype,ms,gflops,gbytes,of_peak,runs,worst_of_max,wrong\n");
    printf("peak fma f32,%d threads,f32,,%.1f,,100%%,,,0\n", threads, peak_gflops);
    printf("peak triad,%d threads,f32,,,%.1f,100%%,,,0\n", threads, peak_gbytes);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        bench(&cases[i], threads, seconds);
    return 0;
}
