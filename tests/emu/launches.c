/* launches.c - what a launch of each kernel of longtake_cuda.so does, counted by the interpreter.
 *
 * Each op runs once, with rows as wide as the released model's (docs/spec/minimax-h3.md) where that
 * matters, dense and aligned, few of them; no result is looked at. A line a kernel and case on
 * stdout, in tab-separated columns:
 *
 *     kernel case threads dynamic instructions mma  requests sectors ideal  requests sectors ideal
 *
 * threads and dynamic shared bytes of a block; instructions and mma of warps; of global memory the
 * loads, then the stores. tests/static/launches.sh holds it against a table. Not 0: a call or a
 * kernel failed, and stderr says which. Needs: nothing. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/kernels.h"
#include "tests/emu/part.h"

enum {
    ROWS = 16,
    NARROW = 512,
    WIDE = 7168,
    FFN = 8192,
    CHANNELS = 256,
    TENSORS = 16,
    KERNELS = 8
};

typedef struct rig {
    const lt_backend *backend;
    lt_arena *arena;
    lt_queue *q;
    lt_tensor tensor[TENSORS];
    void *host[TENSORS];
    int count;
    lt_dtype dtype; /* of what the case is about */
} rig;

#define OK(expr)                                                                                   \
    do {                                                                                           \
        if ((expr) != LT_OK) {                                                                     \
            (void)fprintf(stderr, "launches: %s: %s\n", #expr, lt_error_text());                   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static lt_tensor *make(rig *r, lt_dtype dtype, lt_dims dims)
{
    if (r->count == TENSORS)
        abort();
    lt_tensor *x = &r->tensor[r->count++];
    OK(lt_tensor_new(r->arena, "x", dtype, x, dims));
    return x;
}

/* With values: -1 to 1; of i32: rows below 4. */
static lt_tensor *take(rig *r, lt_dtype dtype, lt_dims dims)
{
    lt_tensor *x = make(r, dtype, dims);
    const size_t n = (size_t)lt_elements(x);
    float *v = malloc((n + 1) * sizeof *v);
    void *cast = malloc((n + 1) * sizeof *v);
    if (v == NULL || cast == NULL)
        abort();
    for (size_t i = 0; i < n; i++)
        v[i] = (float)(i * 37 % 64) / 32 - 1;
    if (dtype == LT_I32)
        for (size_t i = 0; i < n; i++)
            ((int32_t *)cast)[i] = (int32_t)(i % 4);
    else
        lt_convert(v, LT_F32, cast, dtype, n);
    free(v);
    r->host[r->count - 1] = cast;
    OK(lt_upload(r->q, x, cast));
    return x;
}

static lt_tensor *rows_of(rig *r, int64_t width) { return take(r, r->dtype, LT_DIMS(ROWS, width)); }
static lt_tensor *table_of(rig *r) { return take(r, r->dtype, LT_DIMS(4, 2 * WIDE)); }
static lt_tensor *index_of(rig *r) { return take(r, LT_I32, LT_DIMS(ROWS)); }
static lt_tensor *weights_of(rig *r, int64_t width) { return take(r, LT_F32, LT_DIMS(width)); }

/* ---- cases ---- */

static void attention(rig *r, int64_t width, int64_t queries, int64_t keys)
{
    enum { HEADS = 2 };
    const lt_tensor *q = take(r, r->dtype, LT_DIMS(queries, HEADS * width));
    const lt_tensor *k = take(r, r->dtype, LT_DIMS(keys, HEADS * width));
    const lt_tensor *v = take(r, r->dtype, LT_DIMS(keys, HEADS * width));
    lt_tensor *y = make(r, r->dtype, LT_DIMS(queries, HEADS * width));
    lt_tensor *lse = make(r, LT_F32, LT_DIMS(HEADS, queries));
    OK(lt_attention(r->q, q, k, v, HEADS, HEADS, 1 / sqrtf((float)width), 0, 0, y, lse));
}

static void attention_64(rig *r) { attention(r, 64, 64, r->dtype == LT_BF16 ? 4096 : 128); }
static void attention_128(rig *r) { attention(r, 128, 64, r->dtype == LT_BF16 ? 4096 : 128); }
static void attention_256(rig *r) { attention(r, 256, 64, 128); }

static void merge(rig *r)
{
    enum { HEADS = 56, WIDTH = 128 };
    const lt_tensor *y2 = take(r, LT_F32, LT_DIMS(ROWS, HEADS * WIDTH));
    const lt_tensor *lse2 = take(r, LT_F32, LT_DIMS(HEADS, ROWS));
    lt_tensor *y = take(r, LT_F32, LT_DIMS(ROWS, HEADS * WIDTH));
    OK(lt_attention_merge(r->q, y2, lse2, HEADS, y, take(r, LT_F32, LT_DIMS(HEADS, ROWS))));
}

static void rms_norm(rig *r, int64_t width)
{
    const lt_tensor *x = rows_of(r, width), *w = weights_of(r, width);
    OK(lt_rms_norm(r->q, x, w, 1e-5f, LT_ROUND_ONCE, make(r, r->dtype, LT_DIMS(ROWS, width))));
}
static void rms_norm_narrow(rig *r) { rms_norm(r, NARROW); }
static void rms_norm_wide(rig *r) { rms_norm(r, WIDE); }

static void layer_norm(rig *r, int64_t width)
{
    const lt_tensor *x = rows_of(r, width), *w = weights_of(r, width), *b = weights_of(r, width);
    OK(lt_layer_norm(r->q, x, w, b, 1e-5f, make(r, r->dtype, LT_DIMS(ROWS, width))));
}
static void layer_norm_narrow(rig *r) { layer_norm(r, NARROW); }
static void layer_norm_wide(rig *r) { layer_norm(r, WIDE); }

static void norm_modulate(rig *r, int64_t width)
{
    const lt_tensor *x = rows_of(r, width), *w = weights_of(r, width), *table = table_of(r);
    OK(lt_norm_modulate(r->q, x, w, 1e-5f, table, index_of(r), 0, WIDE,
                        make(r, r->dtype, LT_DIMS(ROWS, width))));
}
static void norm_modulate_narrow(rig *r) { norm_modulate(r, NARROW); }
static void norm_modulate_wide(rig *r) { norm_modulate(r, WIDE); }

static void gate_add(rig *r)
{
    const lt_tensor *x = rows_of(r, WIDE), *table = table_of(r), *index = index_of(r);
    OK(lt_gate_add(r->q, x, table, index, WIDE, rows_of(r, WIDE)));
}

static void head_norm_rope(rig *r)
{
    enum { HEADS = 8, WIDTH = 128, HALF = 48 };
    const lt_tensor *w = weights_of(r, WIDTH);
    const lt_tensor *c = take(r, r->dtype, LT_DIMS(ROWS, HALF));
    const lt_tensor *s = take(r, r->dtype, LT_DIMS(ROWS, HALF));
    OK(lt_head_norm_rope(r->q, rows_of(r, HEADS * WIDTH), HEADS, w, 1e-5f, LT_ROUND_ONCE, c, s));
}

static void group_norm(rig *r)
{
    enum { GROUPS = 32 };
    const lt_tensor *w = weights_of(r, CHANNELS), *b = weights_of(r, CHANNELS);
    const lt_tensor *x = take(r, LT_F32, LT_DIMS(1, 1024, CHANNELS));
    OK(lt_group_norm(r->q, x, w, b, GROUPS, 1e-6f, LT_ACT_SILU,
                     make(r, LT_F32, LT_DIMS(1, 1024, CHANNELS))));
}

static void copy(rig *r)
{
    OK(lt_copy(r->q, rows_of(r, WIDE), make(r, r->dtype, LT_DIMS(ROWS, WIDE))));
}

static void cast(rig *r)
{
    const lt_dtype other = r->dtype == LT_F32 ? LT_BF16 : LT_F32;
    OK(lt_copy(r->q, rows_of(r, WIDE), make(r, other, LT_DIMS(ROWS, WIDE))));
}

static void gather(rig *r)
{
    const lt_tensor *x = rows_of(r, WIDE), *index = index_of(r);
    OK(lt_gather_rows(r->q, x, index, make(r, r->dtype, LT_DIMS(ROWS, WIDE))));
}

static void fill(rig *r) { OK(lt_fill(r->q, make(r, r->dtype, LT_DIMS(ROWS, WIDE)), 0.5f)); }
static void add(rig *r) { OK(lt_axpby(r->q, 1, rows_of(r, WIDE), 1, rows_of(r, WIDE))); }
static void mul(rig *r) { OK(lt_mul(r->q, rows_of(r, WIDE), rows_of(r, WIDE))); }

static void scale_add(rig *r)
{
    const lt_tensor *x = rows_of(r, WIDE), *scale = weights_of(r, WIDE);
    OK(lt_scale_add(r->q, x, scale, rows_of(r, WIDE)));
}

static void silu(rig *r)
{
    OK(lt_activate(r->q, rows_of(r, WIDE), LT_ACT_SILU, make(r, r->dtype, LT_DIMS(ROWS, WIDE))));
}

static void clamp(rig *r)
{
    OK(lt_clamp(r->q, rows_of(r, WIDE), -1, 1, make(r, r->dtype, LT_DIMS(ROWS, WIDE))));
}

static void swiglu(rig *r)
{
    OK(lt_swiglu(r->q, rows_of(r, 2 * FFN), make(r, r->dtype, LT_DIMS(ROWS, FFN))));
}

static void sum_parts(rig *r)
{
    const lt_tensor *x = take(r, LT_F32, LT_DIMS(4, ROWS, WIDE));
    OK(lt_sum_parts(r->q, x, make(r, r->dtype, LT_DIMS(ROWS, WIDE))));
}

/* What preparing a layer ran (a first product) is no case's. */
static void prepared(rig *r)
{
    lt_emu_kernel unused[1];
    OK(lt_sync(r->q));
    (void)lt_emu_kernels(unused, 1);
}

static void linear(rig *r)
{
    enum { IN = 64, OUT = 512 };
    static float w[IN * OUT], b[OUT];
    lt_linear *layer = NULL;
    const lt_linear_spec spec = {.in = IN,
                                 .out = OUT,
                                 .weights = w,
                                 .weights_dtype = LT_F32,
                                 .bias = b,
                                 .has_bias = 1,
                                 .compute = LT_BF16};
    OK(lt_linear_prepare(r->backend, r->arena, "layer", &spec, &layer));
    prepared(r);
    const lt_tensor *x = rows_of(r, IN);
    OK(lt_linear_apply(r->q, layer, x, LT_ACT_SILU, make(r, r->dtype, LT_DIMS(ROWS, OUT))));
    OK(lt_sync(r->q));
    lt_linear_free(&layer);
}

/* The sound decoder's upsampling. */
static void conv_transposed(rig *r)
{
    enum { C = 64, TAPS = 4, LENGTH = 64 };
    static float w[C * C * TAPS], b[C];
    lt_conv *layer = NULL;
    const lt_conv_spec spec = {.in = C,
                               .out = C,
                               .kernel = {1, 1, TAPS},
                               .stride = {1, 1, 2},
                               .dilation = {1, 1, 1},
                               .pad_before = {0, 0, 1},
                               .pad_after = {0, 0, 1},
                               .transposed = 1,
                               .weights = w,
                               .bias = b,
                               .has_bias = 1};
    OK(lt_conv_prepare(r->backend, r->arena, "layer", &spec, &layer));
    prepared(r);
    const lt_tensor *x = take(r, LT_F32, LT_DIMS(1, 1, 1, LENGTH, C));
    OK(lt_conv_apply(r->q, layer, x,
                     make(r, LT_F32, LT_DIMS(1, 1, 1, lt_conv_length(&spec, 2, LENGTH), C))));
    OK(lt_sync(r->q));
    lt_conv_free(&layer);
}

static void conv(rig *r)
{
    enum { C = 64, TAPS = 9, SIDE = 16 };
    static float w[C * C * TAPS], b[C];
    lt_conv *layer = NULL;
    const lt_conv_spec spec = {.in = C,
                               .out = C,
                               .kernel = {1, 3, 3},
                               .stride = {1, 1, 1},
                               .dilation = {1, 1, 1},
                               .pad_before = {0, 1, 1},
                               .pad_after = {0, 1, 1},
                               .weights = w,
                               .bias = b,
                               .has_bias = 1};
    OK(lt_conv_prepare(r->backend, r->arena, "layer", &spec, &layer));
    prepared(r);
    const lt_tensor *x = take(r, LT_F32, LT_DIMS(1, 1, SIDE, SIDE, C));
    OK(lt_conv_apply(r->q, layer, x, make(r, LT_F32, LT_DIMS(1, 1, SIDE, SIDE, C))));
    OK(lt_sync(r->q));
    lt_conv_free(&layer);
}

static void pad(rig *r)
{
    enum { SIDE = 16, BY = 2, C = 64 };
    const lt_tensor *x = take(r, LT_F32, LT_DIMS(1, 1, SIDE, SIDE, C));
    OK(lt_pad_reflect(r->q, x, BY, BY, BY, BY,
                      make(r, LT_F32, LT_DIMS(1, 1, SIDE + 2 * BY, SIDE + 2 * BY, C))));
}

static void snake(rig *r)
{
    const lt_tensor *a = weights_of(r, CHANNELS), *x = take(r, LT_F32, LT_DIMS(1, 64, CHANNELS));
    OK(lt_snake(r->q, x, a, make(r, LT_F32, LT_DIMS(1, 64, CHANNELS))));
}

static void snake_aa(rig *r)
{
    const lt_tensor *a = weights_of(r, CHANNELS), *b = weights_of(r, CHANNELS);
    const lt_tensor *up = weights_of(r, 12), *down = weights_of(r, 12);
    const lt_tensor *x = take(r, LT_F32, LT_DIMS(1, 64, CHANNELS));
    OK(lt_snake_aa(r->q, x, a, b, up, down, make(r, LT_F32, LT_DIMS(1, 64, CHANNELS))));
}

static const struct {
    const char *name;
    void (*run)(rig *r);
    lt_dtype dtype;
} cases[] = {
    {"attention_64", attention_64, LT_BF16},
    {"attention_128", attention_128, LT_BF16},
    {"attention_64", attention_64, LT_F32},
    {"attention_128", attention_128, LT_F32},
    {"attention_256", attention_256, LT_F32},
    {"merge", merge, LT_F32},
    {"rms_norm_narrow", rms_norm_narrow, LT_BF16},
    {"rms_norm_wide", rms_norm_wide, LT_BF16},
    {"layer_norm_narrow", layer_norm_narrow, LT_BF16},
    {"layer_norm_wide", layer_norm_wide, LT_BF16},
    {"norm_modulate_narrow", norm_modulate_narrow, LT_BF16},
    {"norm_modulate_wide", norm_modulate_wide, LT_BF16},
    {"norm_modulate_wide", norm_modulate_wide, LT_F32},
    {"gate_add", gate_add, LT_BF16},
    {"gate_add", gate_add, LT_F32},
    {"head_norm_rope", head_norm_rope, LT_BF16},
    {"group_norm", group_norm, LT_F32},
    {"copy", copy, LT_BF16},
    {"cast", cast, LT_BF16},
    {"cast", cast, LT_F32},
    {"gather_rows", gather, LT_BF16},
    {"fill", fill, LT_F32},
    {"add", add, LT_BF16},
    {"add", add, LT_F32},
    {"mul", mul, LT_BF16},
    {"scale_add", scale_add, LT_F32},
    {"silu", silu, LT_BF16},
    {"clamp", clamp, LT_F32},
    {"swiglu", swiglu, LT_BF16},
    {"sum_parts", sum_parts, LT_F32},
    {"sum_parts", sum_parts, LT_BF16},
    {"linear_silu", linear, LT_BF16},
    {"conv_3x3", conv, LT_F32},
    {"conv_transposed", conv_transposed, LT_F32},
    {"pad_reflect", pad, LT_F32},
    {"snake", snake, LT_F32},
    {"snake_aa", snake_aa, LT_F32},
};

static void say(const char *name, lt_dtype dtype, const lt_emu_kernel *k)
{
    (void)printf("%s\t%s_%s\t%u\t%u\t%" PRIu64 "\t%" PRIu64, k->name, name, lt_dtype_name(dtype),
                 k->threads, k->dynamic_bytes, k->instructions, k->mma);
    for (int i = 0; i < 2; i++) {
        const lt_emu_traffic *t = i == 0 ? &k->loads : &k->stores;
        (void)printf("\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64, t->requests, t->sectors, t->ideal);
    }
    (void)printf("\n");
}

int main(void)
{
    const lt_backend *b = lt_emu_backend();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rig r = {.backend = b, .dtype = cases[i].dtype};
        lt_emu_kernel kernels[KERNELS];
        OK(lt_backend_open(b, 0, 1));
        OK(lt_arena_new("launches", b->memory, (size_t)32 << 20, &r.arena));
        OK(b->queue_open(LT_QUEUE_COMPUTE, &r.q));
        (void)lt_emu_kernels(kernels, KERNELS);
        cases[i].run(&r);
        OK(lt_sync(r.q));
        const int count = lt_emu_kernels(kernels, KERNELS);
        for (int k = 0; k < count && k < KERNELS; k++)
            say(cases[i].name, cases[i].dtype, &kernels[k]);
        b->queue_close(&r.q);
        lt_arena_free(&r.arena);
        b->close();
        for (int k = 0; k < r.count; k++)
            free(r.host[k]);
    }
    return lt_emu_wrong()[0] != '\0';
}
