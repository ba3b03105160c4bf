/* test_kernels_media.c - convolutions, padding and Snake of cpu and far against ref.
 * Goal: 1-D, 2-D and 3-D, strides, dilations, one-sided pads, transposed; small channel counts; the
 * same bits for any number of threads. Method: kernel_test.h (batch is never cut). Ranks: 1. Needs:
 * nothing.
 *
 * Tolerance: a convolution sums taps * in products: 2e-6 of the largest |y| per 1,000 of them, at
 * least 2e-6. Snake: 2e-6 covers a polynomial sine and exp. */
#include "kernel_test.h"

typedef struct {
    const char *name;
    int64_t in, out, kernel[3], stride[3], dilation[3], before[3], after[3];
    int transposed, bias;
    int64_t x[4]; /* B, T, H, W */
} layer;

static const layer layers[] = {
    {"one of all", 1, 1, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0}, {0}, 0, 1, {1, 1, 1, 1}},
    {"no clips", 3, 2, {1, 1, 3}, {1, 1, 1}, {1, 1, 1}, {0, 0, 1}, {0, 0, 1}, 0, 1, {0, 1, 1, 5}},
    {"pointwise sound", 5, 7, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0}, {0}, 0, 1, {2, 1, 1, 33}},
    {"sound k7", 6, 9, {1, 1, 7}, {1, 1, 1}, {1, 1, 1}, {0, 0, 3}, {0, 0, 3}, 0, 1, {2, 1, 1, 70}},
    {"sound dilated",
     4,
     4,
     {1, 1, 11},
     {1, 1, 1},
     {1, 1, 5},
     {0, 0, 25},
     {0, 0, 25},
     0,
     1,
     {1, 1, 1, 90}},
    {"input shorter than the pads",
     4,
     4,
     {1, 1, 11},
     {1, 1, 1},
     {1, 1, 5},
     {0, 0, 25},
     {0, 0, 25},
     0,
     1,
     {1, 1, 1, 3}},
    {"sound strided, encoder",
     3,
     8,
     {1, 1, 8},
     {1, 1, 4},
     {1, 1, 1},
     {0, 0, 2},
     {0, 0, 2},
     0,
     1,
     {2, 1, 1, 64}},
    {"to one channel, no bias",
     8,
     1,
     {1, 1, 7},
     {1, 1, 1},
     {1, 1, 1},
     {0, 0, 3},
     {0, 0, 3},
     0,
     0,
     {1, 1, 1, 401}},
    {"from one channel",
     1,
     16,
     {1, 1, 7},
     {1, 1, 1},
     {1, 1, 1},
     {0, 0, 3},
     {0, 0, 3},
     0,
     1,
     {1, 1, 1, 401}},
    {"sound upsampled x5",
     8,
     4,
     {1, 1, 9},
     {1, 1, 5},
     {1, 1, 1},
     {0, 0, 2},
     {0, 0, 2},
     1,
     1,
     {2, 1, 1, 17}},
    {"sound upsampled x2",
     6,
     3,
     {1, 1, 4},
     {1, 1, 2},
     {1, 1, 1},
     {0, 0, 1},
     {0, 0, 1},
     1,
     1,
     {1, 1, 1, 40}},
    {"upsampled, one cell",
     6,
     3,
     {1, 1, 4},
     {1, 1, 2},
     {1, 1, 1},
     {0, 0, 1},
     {0, 0, 1},
     1,
     0,
     {1, 1, 1, 1}},
    {"upsampled, kernel shorter than stride",
     3,
     5,
     {1, 1, 2},
     {1, 1, 3},
     {1, 1, 1},
     {0},
     {0},
     1,
     1,
     {1, 1, 1, 9}},
    {"picture 3x3",
     5,
     6,
     {1, 3, 3},
     {1, 1, 1},
     {1, 1, 1},
     {0, 1, 1},
     {0, 1, 1},
     0,
     1,
     {1, 2, 9, 7}},
    {"picture, halved, padded behind",
     3,
     8,
     {1, 3, 3},
     {1, 2, 2},
     {1, 1, 1},
     {0},
     {0, 1, 1},
     0,
     1,
     {1, 1, 8, 10}},
    {"video, causal in time",
     4,
     6,
     {3, 3, 3},
     {1, 1, 1},
     {1, 1, 1},
     {2, 1, 1},
     {0, 1, 1},
     0,
     1,
     {1, 5, 6, 7}},
    {"video, strided",
     2,
     3,
     {3, 2, 2},
     {2, 2, 1},
     {1, 1, 2},
     {1, 0, 1},
     {1, 0, 1},
     0,
     0,
     {2, 5, 4, 6}},
    {"many channels",
     96,
     72,
     {1, 1, 3},
     {1, 1, 1},
     {1, 1, 3},
     {0, 0, 3},
     {0, 0, 3},
     0,
     1,
     {1, 1, 1, 150}},
    {"long", 16, 16, {1, 1, 7}, {1, 1, 1}, {1, 1, 3}, {0, 0, 9}, {0, 0, 9}, 0, 1, {2, 1, 1, 1500}},
};

static lt_conv_spec spec_of(const layer *c, const float *w, const float *b)
{
    lt_conv_spec s = {.in = c->in,
                      .out = c->out,
                      .transposed = c->transposed,
                      .weights = w,
                      .bias = c->bias ? b : NULL,
                      .has_bias = c->bias};
    for (int i = 0; i < 3; i++) {
        s.kernel[i] = c->kernel[i];
        s.stride[i] = c->stride[i];
        s.dilation[i] = c->dilation[i];
        s.pad_before[i] = c->before[i];
        s.pad_after[i] = c->after[i];
    }
    return s;
}

static int64_t taps_of(const layer *c) { return c->kernel[0] * c->kernel[1] * c->kernel[2]; }

static void run_conv(kt_rig *r, const void *arg)
{
    const layer *c = arg;
    float *w = kt_normals(r, 100, c->in * c->out * taps_of(c), 1),
          *b = kt_normals(r, 101, c->out, 1);
    const lt_conv_spec spec = spec_of(c, w, b);
    lt_conv *l = NULL;
    KT_OK(lt_conv_prepare(r->backend, r->arena, "layer", &spec, &l));
    free(w);
    free(b);
    const lt_tensor *x =
        kt_take(r, "x", KT_IN, LT_F32, LT_DIMS(c->x[0], c->x[1], c->x[2], c->x[3], c->in), 0, 1);
    lt_tensor *y = kt_take(r, "y", KT_OUT, LT_F32,
                           LT_DIMS(c->x[0], lt_conv_length(&spec, 0, c->x[1]),
                                   lt_conv_length(&spec, 1, c->x[2]),
                                   lt_conv_length(&spec, 2, c->x[3]), c->out),
                           0, 1);
    KT_OK(lt_conv_apply(r->q, l, x, y));
    lt_conv_free(&l);
}

static void conv(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const double terms = (double)(taps_of(&layers[i]) * layers[i].in);
        kt_case(layers[i].name, run_conv, &layers[i], (kt_tol){2e-6 * fmax(1, terms / 1000), 0, 0});
    }
}

typedef struct {
    const char *name;
    int64_t x[5], pad[4];
} padding;

static const padding paddings[] = {
    {"none", {1, 2, 3, 4, 5}, {0, 0, 0, 0}},
    {"no clips", {0, 2, 3, 4, 5}, {1, 1, 1, 1}},
    {"one side each", {1, 1, 4, 5, 3}, {3, 0, 0, 2}},
    {"as far as it goes", {2, 3, 4, 5, 3}, {3, 3, 4, 4}},
    {"large", {1, 4, 40, 30, 16}, {8, 9, 10, 11}},
};

static void run_pad(kt_rig *r, const void *arg)
{
    const padding *c = arg;
    const lt_tensor *x =
        kt_take(r, "x", KT_IN, LT_F32, LT_DIMS(c->x[0], c->x[1], c->x[2], c->x[3], c->x[4]), 0, 1);
    lt_tensor *y = kt_take(r, "y", KT_OUT, LT_F32,
                           LT_DIMS(c->x[0], c->x[1], c->x[2] + c->pad[0] + c->pad[1],
                                   c->x[3] + c->pad[2] + c->pad[3], c->x[4]),
                           0, 1);
    KT_OK(lt_pad_reflect(r->q, x, c->pad[0], c->pad[1], c->pad[2], c->pad[3], y));
}

static void pad_reflect(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof paddings / sizeof *paddings; i++)
        kt_case(paddings[i].name, run_pad, &paddings[i], (kt_tol){0, 0, 0});
}

typedef struct {
    const char *name;
    int64_t batch, length, channels;
    float scale;
} wave;

static const wave waves[] = {
    {"one of all", 1, 1, 1, 1},
    {"no samples", 2, 0, 3, 1},
    {"shorter than the filter", 2, 3, 5, 1},
    {"odd channels", 1, 50, 13, 1},
    {"few channels, long", 2, 1400, 2, 1},
    {"many channels", 1, 90, 96, 1},
    {"large arguments of the sine", 1, 40, 24, 40},
};

static void run_snake(kt_rig *r, const void *arg)
{
    const wave *c = arg;
    const lt_dims dims = LT_DIMS(c->batch, c->length, c->channels);
    float *a = kt_normals(r, 100, c->channels, 1);
    for (int64_t i = 0; i < c->channels; i++)
        a[i] = 0.3f + fabsf(a[i]); /* what training leaves: alpha > 0 */
    const lt_tensor *alpha = kt_place(r, "alpha", KT_IN, LT_F32, LT_DIMS(c->channels), 0, a);
    free(a);
    const lt_tensor *x = kt_take(r, "x", KT_IN, LT_F32, dims, 0, c->scale);
    lt_tensor *y = kt_take(r, "y", KT_OUT, LT_F32, dims, 0, 1);
    lt_tensor *z = kt_take(r, "z", KT_INOUT, LT_F32, dims, 0, c->scale);
    KT_OK(lt_snake(r->q, x, alpha, y));
    KT_OK(lt_snake(r->q, z, alpha, z));
}

static void run_snake_aa(kt_rig *r, const void *arg)
{
    const wave *c = arg;
    /* spec/minimax-h3.md 7.3, the stored half; the down filter differs, so that a swap shows */
    const float half[6] = {0.00202896469f, 0.00938946567f, -0.0255434588f,
                           -0.0576573834f, 0.128572583f,   0.443209797f};
    float up[12], down[12];
    for (int i = 0; i < 12; i++) {
        up[i] = half[i < 6 ? i : 11 - i];
        down[i] = up[i] + 0.01f * (float)(i - 4);
    }
    const lt_dims dims = LT_DIMS(c->batch, c->length, c->channels);
    const lt_tensor *alpha = kt_take(r, "alpha", KT_IN, LT_F32, LT_DIMS(c->channels), 0, 0.5f);
    const lt_tensor *beta = kt_take(r, "beta", KT_IN, LT_F32, LT_DIMS(c->channels), 0, 0.5f);
    const lt_tensor *u = kt_place(r, "up", KT_IN, LT_F32, LT_DIMS(12), 0, up);
    const lt_tensor *d = kt_place(r, "down", KT_IN, LT_F32, LT_DIMS(12), 0, down);
    const lt_tensor *x = kt_take(r, "x", KT_IN, LT_F32, dims, 0, c->scale);
    lt_tensor *y = kt_take(r, "y", KT_OUT, LT_F32, dims, 0, 1);
    KT_OK(lt_snake_aa(r->q, x, alpha, beta, u, d, y));
}

/* Arguments near 40 carry an f32 error of 40 * 2^-24 into the sine: 5e-6 of a value near 1, beside
 * results up to 100: still within 2e-6 of the largest. */
static void snake(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof waves / sizeof *waves; i++) {
        kt_case(waves[i].name, run_snake, &waves[i], (kt_tol){2e-6, 0, 0});
        kt_case(waves[i].name, run_snake_aa, &waves[i], (kt_tol){2e-6, 0, 0});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(conv), cmocka_unit_test(pad_reflect),
                                       cmocka_unit_test(snake)};
    return cmocka_run_group_tests_name("kernels_media", tests, NULL, NULL);
}
