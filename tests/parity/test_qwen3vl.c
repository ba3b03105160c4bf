/* test_qwen3vl.c - H3's text encoder against the published implementation.
 * Goal: text rows agree with golden tensors (tests/parity/golden/text*), on every backend; a dry
 * run takes the same path; layers that add nothing are left out without a change. Method: tiny
 * random checkpoints of 52 layers whose sizes divide by nothing, each text encoded whole.
 * Tolerances: f32 1e-5 of the largest value (DESIGN 9); bf16 twice the distance that the reference
 * itself shows between bf16 and f32. Ranks: 1. Needs: tests/parity/nano*, models/demo. */
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/new_file.h"
#include "model/text/qwen3vl.h"
#include "tests/parity/golden.h"
#include "tests/support/alone.h"

typedef struct golden {
    int64_t count, width;
    int32_t *ids;
    float *want, *want_f32; /* want_f32: NULL in f32 files */
} golden;

static float *golden_rows(const golden_file *file, const char *name, golden *g)
{
    int64_t dim[5], count = 0;
    float *rows = golden_find(file, name, LT_F32, dim, &count);
    if (rows == NULL)
        return NULL;
    assert_true(dim[0] == g->count && count == g->count * dim[1]);
    g->width = dim[1];
    return rows;
}

static void golden_open(const char *name, golden *g)
{
    golden_file file;
    int64_t dim[5];
    *g = (golden){0};
    golden_file_open(&file, name);
    int64_t *wide = golden_read(&file, "input_ids", LT_I64, dim);
    g->count = dim[0];
    g->ids = malloc((size_t)g->count * sizeof *g->ids);
    assert_non_null(g->ids);
    for (int64_t i = 0; i < g->count; i++)
        g->ids[i] = (int32_t)wide[i];
    free(wide);
    g->want = golden_rows(&file, "hidden_states", g);
    g->want_f32 = golden_rows(&file, "hidden_states_f32", g);
    assert_non_null(g->want);
    golden_file_close(&file);
}

static void golden_close(golden *g)
{
    free(g->ids);
    free(g->want);
    free(g->want_f32);
}

typedef struct run {
    lt_engine engine;
    lt_checkpoint *files;
    lt_qwen3vl_config config;
    lt_qwen3vl *text;
} run;

static int stay; /* layers that stay in memory; 0: all */

static void run_open(run *r, const char *folder, const lt_backend *backend, lt_dtype compute)
{
    char path[512];
    *r = (run){0};
    OK(lt_engine_open(backend, 0, 2, &mesh, (size_t)1 << 26, (size_t)1 << 26, &r->engine));
    r->engine.resident_layers = stay;
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    OK(lt_qwen3vl_config_read(path, &r->config));
    OK(lt_checkpoint_open(folder, NULL, &r->files));
    OK(lt_qwen3vl_open(r->files, &r->engine, &r->config, compute, &r->text));
}

static void run_close(run *r)
{
    assert_int_equal(lt_arena_used(r->engine.step), 0);
    lt_qwen3vl_close(&r->text);
    assert_null(r->text);
    assert_int_equal(lt_arena_used(r->engine.phase), 0);
    lt_checkpoint_close(&r->files);
    lt_engine_close(&r->engine);
}

static float *encode(run *r, const int32_t *ids, int64_t count)
{
    float *rows = malloc((size_t)(count * r->config.hidden) * sizeof *rows);
    assert_non_null(rows);
    OK(lt_qwen3vl_encode(r->text, ids, count, rows));
    return rows;
}

static const struct {
    const char *golden, *model;
    lt_dtype compute;
} cases[] = {
    {"text_f32", "nano", LT_F32},
    {"text_one_f32", "nano", LT_F32}, /* one row: attention over a single key */
    {"text_one_bf16", "nano-bf16", LT_BF16},
    {"text_bf16", "nano-bf16", LT_BF16}, /* every cast of spec 3.1 */
};

static void agrees_on(const lt_backend *backend)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[512];
        golden g;
        run r;
        (void)snprintf(folder, sizeof folder, DATA "%s/text_encoder", cases[i].model);
        golden_open(cases[i].golden, &g);
        run_open(&r, folder, backend, cases[i].compute);
        assert_int_equal(r.config.hidden, g.width);
        float *rows = encode(&r, g.ids, g.count);
        const int64_t all = g.count * g.width;
        const double allowed =
            g.want_f32 != NULL ? 2 * distance(g.want, g.want_f32, all) : tolerance;
        const double found = distance(rows, g.want, all);
        compare(backend->name, cases[i].golden, found, allowed);
        free(rows);
        run_close(&r);
        golden_close(&g);
    }
}

static void agrees_on_ref(void **state)
{
    (void)state;
    agrees_on(&lt_backend_ref);
}

static void agrees_on_cpu_with_each_isa(void **state)
{
    (void)state;
    on_each_isa(agrees_on);
}

/* far's memory cannot be read from here: a pointer followed above kernels/ is a crash, an early
 * free or a missing wait is a NaN. */
static void far_gives_cpu_bits(void **state)
{
    (void)state;
    golden g;
    run r;
    golden_open("text_bf16", &g);
    run_open(&r, DATA "nano-bf16/text_encoder", &lt_backend_cpu, LT_BF16);
    float *want = encode(&r, g.ids, g.count);
    run_close(&r);
    for (uint64_t seed = 0; seed < 3; seed++) { /* three orders: sometimes, never, mostly early */
        lt_far_seed(seed);
        run_open(&r, DATA "nano-bf16/text_encoder", &lt_backend_far, LT_BF16);
        float *rows = encode(&r, g.ids, g.count);
        assert_memory_equal(rows, want, (size_t)(g.count * g.width) * sizeof *rows);
        free(rows);
        run_close(&r);
    }
    free(want);
    golden_close(&g);
}

/* Layers that take turns, over two texts: the bits of those that stay. */
static void turns_give_the_same_bits(void **state)
{
    (void)state;
    static const lt_backend *const backends[] = {&lt_backend_cpu, &lt_backend_far};
    golden g;
    run r;
    golden_open("text_bf16", &g);
    run_open(&r, DATA "nano-bf16/text_encoder", &lt_backend_cpu, LT_BF16);
    float *want = encode(&r, g.ids, g.count);
    run_close(&r);
    for (int i = 0; i < 4; i++) {
        stay = 1 + i / 2;
        run_open(&r, DATA "nano-bf16/text_encoder", backends[i % 2], LT_BF16);
        for (int text = 0; text < 2; text++) {
            float *rows = encode(&r, g.ids, g.count);
            assert_memory_equal(rows, want, (size_t)(g.count * g.width) * sizeof *rows);
            free(rows);
        }
        run_close(&r);
    }
    stay = 0;
    free(want);
    golden_close(&g);
}

/* A row depends on itself and those before alone; more rows than a row block take the same bits. */
static void rows_do_not_depend_on_later_ones(void **state)
{
    (void)state;
    enum { LONG = 700, SHORT = 33 };
    int32_t ids[LONG];
    run r;
    run_open(&r, DATA "nano/text_encoder", &lt_backend_cpu, LT_F32);
    for (int i = 0; i < LONG; i++)
        ids[i] = (i * 37 + 11) % 392;
    float *all = encode(&r, ids, LONG), *some = encode(&r, ids, SHORT);
    const double worst = distance(all, some, SHORT * r.config.hidden);
    if (!(worst <= 1e-5)) /* attention may block its keys differently */
        fail_msg("the first %d of %d rows differ by %.3g", SHORT, LONG, worst);
    for (int64_t i = 0; i < LONG * r.config.hidden; i++)
        assert_true(isfinite(all[i]));
    free(all);
    free(some);
    run_close(&r);
}

static void refuses_ids(void **state)
{
    (void)state;
    run r;
    float rows[3 * 12];
    run_open(&r, DATA "nano/text_encoder", &lt_backend_ref, LT_F32);
    assert_int_equal(lt_qwen3vl_encode(r.text, (int32_t[]){1, 392, 2}, 3, rows), LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "input_ids[1]: want 0 to 391, found 392"));
    assert_int_equal(lt_qwen3vl_encode(r.text, (int32_t[]){-1}, 1, rows), LT_EDATA);
    OK(lt_qwen3vl_encode(r.text, NULL, 0, NULL)); /* an empty prompt has no rows */
    OK(lt_qwen3vl_encode(r.text, (int32_t[]){1, 391, 2}, 3, rows));
    run_close(&r);
}

/* The dry run that plans memory: same calls, no host arrays, and the peak that the real run has. */
static void dry_run_predicts(void **state)
{
    (void)state;
    golden g;
    run wet, dry;
    golden_open("text_f32", &g);
    run_open(&wet, DATA "nano/text_encoder", &lt_backend_cpu, LT_F32);
    free(encode(&wet, g.ids, g.count));
    run_open(&dry, DATA "nano/text_encoder", &lt_backend_dry, LT_F32);
    OK(lt_qwen3vl_encode(dry.text, NULL, g.count, NULL));
    assert_int_equal(lt_arena_peak(dry.engine.phase), lt_arena_peak(wet.engine.phase));
    assert_int_equal(lt_arena_peak(dry.engine.step), lt_arena_peak(wet.engine.step));
    run_close(&dry);
    run_close(&wet);
    golden_close(&g);
}

/* The demo's encoder is made of layers that add nothing but for a few: they are not loaded, which a
 * dry run knows too, and the state is that of the embedding plus the few. */
static void leaves_out_identities(void **state)
{
    (void)state;
    const char *folder = LT_SOURCE_DIR "/models/demo/text_encoder";
    run wet, dry;
    run_open(&wet, folder, &lt_backend_cpu, LT_F32);
    run_open(&dry, folder, &lt_backend_dry, LT_F32);
    const lt_qwen3vl_config *c = &wet.config;
    const int64_t layer = c->hidden * (2 * (c->heads + c->kv_heads) * c->head_dim + 3 * c->ffn);
    const size_t full = (size_t)(c->hidden_state * layer) * sizeof(float);
    const size_t used = lt_arena_used(wet.engine.phase);
    print_message("demo: %zu of %zu bytes of layers loaded\n", used, full);
    assert_true(used > 0 && used < full / 2);
    assert_int_equal(lt_arena_used(dry.engine.phase), used);
    float *rows = encode(&wet, (int32_t[]){5, 300, 990}, 3);
    for (int64_t i = 0; i < 3 * wet.config.hidden; i++)
        assert_true(isfinite(rows[i]));
    free(rows);
    run_close(&dry);
    run_close(&wet);
}

/* ---- the config ---- */

#define TEXT(more)                                                                                 \
    "{\"model_type\": \"qwen3_vl\", \"text_config\": {\"hidden_size\": 12, "                       \
    "\"num_hidden_layers\": 52, \"intermediate_size\": 16, \"vocab_size\": 392, "                  \
    "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 8, "                    \
    "\"rms_norm_eps\": 1e-6" more "}}"
#define NEW_ROPE                                                                                   \
    ", \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 7, \"mrope_section\": "   \
    "[2, 1, 1]}"

static const struct {
    const char *why, *text, *place; /* place NULL: read */
} configs[] = {
    {"transformers 5's words", TEXT(NEW_ROPE), NULL},
    {"another model", "{\"model_type\": \"llama\"}", "model_type"},
    {"no text model", "{\"model_type\": \"qwen3_vl\"}", "text_config"},
    {"no theta", TEXT(""), "rope_theta"},
    {"stretched rope", TEXT(", \"rope_theta\": 1, \"rope_scaling\": {\"rope_type\": \"yarn\"}"),
     "rope_type"},
    {"sections cut", TEXT(", \"rope_theta\": 1, \"rope_scaling\": {\"mrope_section\": [1]}"),
     "mrope_section"},
    {"biases", TEXT(NEW_ROPE ", \"attention_bias\": true"), "attention_bias"},
    {"another activation", TEXT(NEW_ROPE ", \"hidden_act\": \"gelu\""), "hidden_act"},
    {"50 layers: the last state would be normed",
     "{\"text_config\": {\"hidden_size\": 12, \"num_hidden_layers\": 50}}", "num_hidden_layers"},
    {"a size to overflow with", "{\"text_config\": {\"hidden_size\": 4611686018427387904}}",
     "hidden_size"},
};

static void reads_configs(void **state)
{
    (void)state;
    char path[] = "/tmp/lt-test-qwen3vl-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        lt_qwen3vl_config c;
        OK(lt_new_file_write(path, configs[i].text, strlen(configs[i].text), LT_REPLACE));
        const lt_status st = lt_qwen3vl_config_read(path, &c);
        if (configs[i].place == NULL) {
            OK(st);
            assert_true(c.rope_theta == 7 && c.hidden_state == 50 && c.mrope_section[0] == 2);
        } else if (st != LT_EDATA || strstr(lt_error_text(), configs[i].place) == NULL) {
            fail_msg("%s: status %s, \"%s\"", configs[i].why, lt_status_name(st), lt_error_text());
        }
    }
    (void)unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_on_ref),
        cmocka_unit_test(agrees_on_cpu_with_each_isa),
        cmocka_unit_test(far_gives_cpu_bits),
        cmocka_unit_test(turns_give_the_same_bits),
        cmocka_unit_test(rows_do_not_depend_on_later_ones),
        cmocka_unit_test(refuses_ids),
        cmocka_unit_test(dry_run_predicts),
        cmocka_unit_test(leaves_out_identities),
        cmocka_unit_test(reads_configs),
    };
    return cmocka_run_group_tests_name("qwen3vl", tests, alone_setup, alone_teardown);
}
