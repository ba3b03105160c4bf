/* test_weights.c - layers made from slices of a checkpoint, applied and compared with plain sums.
 * Goal: rows, columns, joins, biases and roundings are those asked for; dry asks for the same
 * memory and reads nothing; closing gives all back. Method: a small checkpoint made here, one row
 * of ones and a ramp through each layer on the backend ref. Ranks: 1. Needs: nothing. */
#include "tests/support/check.h"
#include "tests/support/scratch.h"

#include <math.h>

#include "model/weights/weights.h"

enum { OUT = 6, IN = 4 };

/* Held exactly by bf16. */
static float weight_at(int64_t row, int64_t column) { return (float)(row * 4 + column + 1); }
static float bias_at(int64_t row) { return (float)(100 + row); }
/* Not held by bf16: 1 + a thousandth. */
static float fine_at(int64_t row, int64_t column)
{
    return 1.0f + (float)(row * 4 + column + 1) * 0.001f;
}

typedef struct fixture {
    scratch s;
    lt_checkpoint *checkpoint;
    lt_engine engine;
} fixture;

static void open_fixture(fixture *f, const lt_backend *backend)
{
    float fine[OUT * IN], fine_bias[OUT], table[3] = {0.5f, -1.25f, 3};
    uint16_t coarse[OUT * IN], coarse_bias[OUT];
    for (int64_t r = 0; r < OUT; r++) {
        for (int64_t c = 0; c < IN; c++) {
            coarse[r * IN + c] = lt_f32_to_bf16(weight_at(r, c));
            fine[r * IN + c] = fine_at(r, c);
        }
        coarse_bias[r] = lt_f32_to_bf16(bias_at(r));
        fine_bias[r] = 1.001f;
    }
    const lt_tensor tensors[] = {
        lt_tensor_wrap(coarse, "coarse.weight", LT_BF16, LT_DIMS(OUT, IN)),
        lt_tensor_wrap(coarse_bias, "coarse.bias", LT_BF16, LT_DIMS(OUT)),
        lt_tensor_wrap(fine, "fine.weight", LT_F32, LT_DIMS(OUT, IN)),
        lt_tensor_wrap(fine_bias, "fine.bias", LT_F32, LT_DIMS(OUT)),
        lt_tensor_wrap(table, "table", LT_F32, LT_DIMS(3)),
    };
    scratch_new(&f->s);
    assert_int_equal(
        lt_safetensors_write(scratch_path(&f->s, "w.safetensors"), tensors, 5, LT_REPLACE), LT_OK);
    assert_int_equal(lt_checkpoint_open(f->s.folder, NULL, &f->checkpoint), LT_OK);
    if (lt_engine_open(backend, 0, 1, NULL, 1 << 20, 1 << 20, &f->engine) != LT_OK)
        fail_msg("%s", lt_error_text());
}

static void close_fixture(fixture *f)
{
    lt_engine_close(&f->engine);
    lt_checkpoint_close(&f->checkpoint);
    scratch_free(&f->s);
}

/* y[out] of one row x = (1, 2, ..., in). */
static void apply(fixture *f, const lt_linear *w, float *out)
{
    float x[IN] = {1, 2, 3, 4};
    uint16_t narrow[IN];
    lt_tensor tx, ty;
    const lt_mark mark = lt_arena_mark(f->engine.step);
    lt_convert(x, LT_F32, narrow, LT_BF16, IN);
    OK(lt_tensor_new(f->engine.step, "x", w->compute, &tx, LT_DIMS(1, w->in)));
    OK(lt_tensor_new(f->engine.step, "y", LT_F32, &ty, LT_DIMS(1, w->out)));
    OK(lt_upload(f->engine.compute, &tx, w->compute == LT_F32 ? (void *)x : (void *)narrow));
    OK(lt_linear_apply(f->engine.compute, w, &tx, LT_ACT_NONE, &ty));
    OK(lt_download(f->engine.compute, out, &ty));
    OK(lt_sync(f->engine.compute));
    lt_arena_release(f->engine.step, mark);
}

static const struct {
    const char *name; /* why */
    const char *layer;
    lt_range rows[2], columns;
    int bias, bias_none;
    lt_dtype compute;
} cases[] = {
    {"whole", "coarse", {{0, 6}, {0, 0}}, {0, 4}, 1, 0, LT_F32},
    {"whole in bf16", "coarse", {{0, 6}, {0, 0}}, {0, 4}, 1, 0, LT_BF16},
    {"f32 weights stay", "fine", {{0, 6}, {0, 0}}, {0, 4}, 1, 0, LT_F32},
    {"f32 weights and bias are rounded when bf16 is asked",
     "fine",
     {{0, 6}, {0, 0}},
     {0, 4},
     1,
     0,
     LT_BF16},
    {"rows of a rank", "coarse", {{2, 3}, {0, 0}}, {0, 4}, 1, 0, LT_F32},
    {"rows of both halves", "coarse", {{1, 2}, {4, 2}}, {0, 4}, 1, 0, LT_F32},
    {"the second range alone", "coarse", {{0, 0}, {5, 1}}, {0, 4}, 1, 0, LT_F32},
    {"columns of a rank, bias with another", "coarse", {{0, 6}, {0, 0}}, {1, 2}, 0, 1, LT_F32},
    {"columns of a rank, rounded", "fine", {{0, 6}, {0, 0}}, {3, 1}, 1, 0, LT_BF16},
    {"a rank without rows", "coarse", {{3, 0}, {0, 0}}, {0, 4}, 1, 0, LT_F32},
    {"a rank without columns", "coarse", {{0, 6}, {0, 0}}, {4, 0}, 1, 0, LT_F32},
};

static double expected(int i, int64_t k)
{
    const int64_t row = k < cases[i].rows[0].count
                            ? cases[i].rows[0].first + k
                            : cases[i].rows[1].first + k - cases[i].rows[0].count;
    const int fine = strcmp(cases[i].layer, "fine") == 0, round = cases[i].compute == LT_BF16;
    double sum = 0;
    for (int64_t c = 0; c < cases[i].columns.count; c++) {
        const int64_t column = cases[i].columns.first + c;
        const float w = fine ? fine_at(row, column) : weight_at(row, column);
        sum += (double)(round ? lt_round_bf16(w) : w) * (double)(c + 1);
    }
    const float b = fine ? 1.001f : bias_at(row);
    return cases[i].bias ? sum + (double)(round ? lt_round_bf16(b) : b) : sum;
}

static void layers_compute_what_was_asked(void **state)
{
    (void)state;
    fixture f;
    lt_weights *w = NULL;
    open_fixture(&f, &lt_backend_ref);
    OK(lt_weights_open(f.checkpoint, &f.engine, LT_F32, &w));
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
        float y[OUT];
        lt_linear *layer = NULL;
        char name[16]; /* must not be needed once the call is over */
        const lt_layer_spec spec = {.out = OUT,
                                    .in = IN,
                                    .rows = {cases[i].rows[0], cases[i].rows[1]},
                                    .columns = cases[i].columns,
                                    .bias = cases[i].bias,
                                    .bias_none = cases[i].bias_none,
                                    .compute = cases[i].compute};
        (void)snprintf(name, sizeof name, "%s", cases[i].layer);
        OK(lt_weights_linear(w, name, &spec, &layer));
        memset(name, 'z', sizeof name);
        assert_int_equal(layer->out, cases[i].rows[0].count + cases[i].rows[1].count);
        assert_int_equal(layer->in, cases[i].columns.count);
        apply(&f, layer, y);
        for (int64_t k = 0; k < layer->out; k++) {
            const double want = expected(i, k);
            /* at most 5 terms: an f32 rounding each */
            if (!(fabs((double)y[k] - want) <= 4e-7 * (fabs(want) + 1)))
                fail_msg("%s: row %lld: want %.9g, found %.9g", cases[i].name, (long long)k, want,
                         (double)y[k]);
        }
    }
    lt_weights_close(&w);
    assert_int_equal(lt_arena_used(f.engine.phase), 0);
    close_fixture(&f);
}

static void layers_are_joined(void **state)
{
    (void)state;
    fixture f;
    lt_weights *w = NULL;
    lt_linear *layer = NULL;
    float y[OUT + OUT];
    open_fixture(&f, &lt_backend_ref);
    OK(lt_weights_open(f.checkpoint, &f.engine, LT_F32, &w));
    lt_layer_spec specs[2] = {lt_layer_whole(w, OUT, IN, 0), lt_layer_whole(w, OUT, IN, 1)};
    specs[0].rows[0] = (lt_range){4, 2};
    specs[0].bias_none = 1;
    OK(lt_weights_linear_joined(w, (const char *const[]){"fine", "coarse"}, specs, 2, &layer));
    assert_int_equal(layer->out, 8);
    apply(&f, layer, y);
    for (int64_t k = 0; k < 8; k++) {
        double want = k < 2 ? 0 : (double)bias_at(k - 2); /* the layer without a bias gets zeros */
        for (int64_t c = 0; c < IN; c++)
            want += (double)(c + 1) * (double)(k < 2 ? fine_at(k + 4, c) : weight_at(k - 2, c));
        if (!(fabs((double)y[k] - want) <= 4e-7 * (fabs(want) + 1)))
            fail_msg("row %lld: want %.9g, found %.9g", (long long)k, want, (double)y[k]);
    }
    lt_weights_close(&w);
    close_fixture(&f);
}

static void tensors_as_asked_for(void **state)
{
    (void)state;
    fixture f;
    lt_weights *w = NULL;
    lt_tensor t;
    const float table[3] = {0.5f, -1.25f, 3};
    float got[OUT];
    uint16_t narrow[OUT];
    open_fixture(&f, &lt_backend_ref);
    OK(lt_weights_open(f.checkpoint, &f.engine, LT_F32, &w));
    OK(lt_weights_tensor(w, "table", LT_DIMS(3), LT_F32, &t));
    OK(lt_download(f.engine.compute, got, &t));
    OK(lt_sync(f.engine.compute));
    assert_memory_equal(got, table, sizeof table);
    OK(lt_weights_tensor(w, "fine.bias", LT_DIMS(OUT), LT_BF16, &t));
    OK(lt_download(f.engine.compute, narrow, &t));
    OK(lt_sync(f.engine.compute));
    for (int i = 0; i < OUT; i++)
        assert_int_equal(narrow[i], lt_f32_to_bf16(1.001f));
    assert_int_equal(lt_weights_tensor(w, "table", LT_DIMS(4), LT_F32, &t), LT_EDATA);
    assert_int_equal(lt_weights_tensor(w, "absent", LT_DIMS(4), LT_F32, &t), LT_EDATA);
    lt_weights_close(&w);
    close_fixture(&f);
}

static void missing_and_misshapen_layers(void **state)
{
    (void)state;
    static const lt_backend *const backends[] = {&lt_backend_ref, &lt_backend_dry};
    for (int b = 0; b < 2; b++) {
        fixture f;
        lt_weights *w = NULL;
        lt_linear *layer = NULL;
        open_fixture(&f, backends[b]);
        OK(lt_weights_open(f.checkpoint, &f.engine, LT_F32, &w));
        lt_layer_spec spec = lt_layer_whole(w, OUT, IN + 1, 1);
        assert_int_equal(lt_weights_linear(w, "coarse", &spec, &layer), LT_EDATA);
        assert_non_null(strstr(lt_error_text(), "tensor coarse.weight: want [6, 5], found [6, 4]"));
        spec = lt_layer_whole(w, OUT, IN, 1);
        assert_int_equal(lt_weights_linear(w, "absent", &spec, &layer), LT_EDATA);
        assert_non_null(strstr(lt_error_text(), "tensor absent.weight is missing"));
        assert_int_equal(lt_weights_linear(w, "table", &spec, &layer), LT_EDATA);
        assert_null(layer);
        /* A bias that the caller forgot is an unexpected tensor in the end. */
        spec = lt_layer_whole(w, OUT, IN, 0);
        OK(lt_weights_linear(w, "coarse", &spec, &layer));
        assert_int_equal(
            lt_checkpoint_all_used(f.checkpoint, (const char *const[]){"fine", "table", NULL}),
            LT_EDATA);
        assert_non_null(strstr(lt_error_text(), "coarse.bias"));
        lt_weights_close(&w);
        close_fixture(&f);
    }
}

/* One load of all kinds of things; the arena's peak and the staging say what it took. */
static void load_all(const lt_backend *backend, size_t *phase_bytes, size_t *staging_bytes,
                     uint64_t *read_bytes)
{
    fixture f;
    lt_weights *w = NULL;
    lt_linear *layer = NULL;
    lt_conv *conv = NULL;
    lt_tensor t;
    static const float taps[2 * 3 * 5] = {1};
    open_fixture(&f, backend);
    OK(lt_weights_open(f.checkpoint, &f.engine, LT_BF16, &w));
    const int dry = lt_weights_is_dry(w);
    const uint64_t before = lt_checkpoint_bytes_read();
    const lt_layer_spec spec = lt_layer_whole(w, OUT, IN, 1);
    OK(lt_weights_linear(w, "fine", &spec, &layer));
    OK(lt_weights_linear(w, "coarse", &spec, &layer));
    OK(lt_weights_tensor(w, "table", LT_DIMS(3), LT_F32, &t));
    const lt_conv_spec c = {.in = 3,
                            .out = 2,
                            .kernel = {1, 1, 5},
                            .stride = {1, 1, 1},
                            .dilation = {1, 1, 1},
                            .weights = dry ? NULL : taps};
    OK(lt_weights_conv_from(w, "conv", &c, &conv));
    const lt_linear_spec made = {.in = 5,
                                 .out = 6,
                                 .weights = dry ? NULL : taps,
                                 .weights_dtype = LT_F32,
                                 .compute = LT_F32};
    OK(lt_weights_linear_from(w, "made", &made, &layer));
    OK(lt_checkpoint_all_used(f.checkpoint, NULL));
    *phase_bytes = lt_arena_peak(f.engine.phase);
    *staging_bytes = lt_weights_staging_bytes(w);
    *read_bytes = lt_checkpoint_bytes_read() - before;
    lt_weights_close(&w);
    assert_int_equal(lt_arena_used(f.engine.phase), 0);
    close_fixture(&f);
}

static void dry_asks_for_the_same_memory(void **state)
{
    (void)state;
    size_t phase[2], staging[2];
    uint64_t read[2];
    lt_dry_target(&lt_backend_ref);
    load_all(&lt_backend_ref, &phase[0], &staging[0], &read[0]);
    load_all(&lt_backend_dry, &phase[1], &staging[1], &read[1]);
    assert_int_equal(phase[0], phase[1]);
    assert_int_equal(staging[0], staging[1]);
    assert_int_equal(read[0],
                     OUT * IN * 6 + OUT * 6 + 3 * 4); /* bf16 and f32 once each, and the table */
    assert_int_equal(read[1], 0);
}

/* Late queues: the staging buffer is used again only when its content was taken. */
static void far_takes_what_was_staged(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t rows;
    } read[] = {{"coarse.bias", OUT}, {"table", 3}, {"fine.bias", OUT}};
    enum { READS = sizeof read / sizeof *read, ROUNDS = 3 };
    fixture f;
    lt_weights *w = NULL;
    lt_tensor t[ROUNDS][READS];
    float want[OUT], got[OUT];
    open_fixture(&f, &lt_backend_far);
    OK(lt_weights_open(f.checkpoint, &f.engine, LT_F32, &w));
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < READS; i++)
            OK(lt_weights_tensor(w, read[i].name, LT_DIMS(read[i].rows), LT_F32, &t[round][i]));
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < READS; i++) {
            const lt_dims dims = LT_DIMS(read[i].rows);
            OK(lt_checkpoint_read(f.checkpoint, read[i].name, dims, lt_slice_whole(dims), LT_F32,
                                  want));
            OK(lt_download(f.engine.compute, got, &t[round][i]));
            OK(lt_sync(f.engine.compute));
            assert_memory_equal(got, want, (size_t)read[i].rows * sizeof *got);
        }
    lt_weights_close(&w);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_compute_what_was_asked),
        cmocka_unit_test(layers_are_joined),
        cmocka_unit_test(tensors_as_asked_for),
        cmocka_unit_test(missing_and_misshapen_layers),
        cmocka_unit_test(dry_asks_for_the_same_memory),
        cmocka_unit_test(far_takes_what_was_staged),
    };
    return cmocka_run_group_tests_name("weights", tests, NULL, NULL);
}
