/* test_h3_dit.c - H3's denoiser against the published implementation.
 * Goal: velocities and two intermediates agree with golden tensors (tests/parity/golden/dit_*), on
 * every backend, in both weight layouts; a dry run takes the same path. Method: tiny random
 * checkpoints whose sizes divide by nothing, one whole forward each. Tolerances: f32 1e-5 of the
 * largest value (DESIGN 9); bf16 twice the distance that the reference itself shows between bf16
 * and f32. Ranks: 1. Needs: tests/parity/nano*. */
#include "model/h3/dit.h"
#include "model/h3/names.h"
#include "tests/parity/golden.h"
#include "tests/support/alone.h"

/* A whole tensor; *count its elements. NULL when it isn't there. */
static void *tensor(const golden_file *file, const char *name, lt_dtype want, int64_t *count)
{
    int64_t dim[5];
    return golden_find(file, name, want, dim, count);
}

typedef struct golden {
    golden_file file;
    lt_h3_layout *layout;
    int64_t video_count, audio_count, text_count, timestep_count, scratch;
    float *video, *audio, *text, *timestep;
    float *want_video, *want_audio, *f32_video, *f32_audio, *want_block, *want_text;
    int32_t *index;
} golden;

static void golden_open(const char *name, golden *g)
{
    *g = (golden){0};
    golden_file_open(&g->file, name);
    lt_h3_layout a = {0};
    a.position_ids = tensor(&g->file, "position_ids", LT_F64, &g->scratch);
    a.token_tags = tensor(&g->file, "token_tags", LT_I64, &a.rows);
    a.video_indices = tensor(&g->file, "video_indices", LT_I64, &a.video_rows);
    a.audio_indices = tensor(&g->file, "audio_indices", LT_I64, &a.audio_rows);
    a.text_indices = tensor(&g->file, "text_indices", LT_I64, &a.text_rows);
    OK(lt_h3_layout_from(g->file.path, &a, &g->layout));
    int64_t *indices = tensor(&g->file, "timestep_indices", LT_I64, &g->scratch);
    g->index = calloc((size_t)a.rows, sizeof *g->index);
    for (int64_t i = 0; i < a.rows; i++)
        g->index[i] = (int32_t)indices[i];
    g->video = tensor(&g->file, "hidden_states", LT_F32, &g->video_count);
    g->audio = tensor(&g->file, "audio_hidden_states", LT_F32, &g->audio_count);
    g->text = tensor(&g->file, "encoder_hidden_states", LT_F32, &g->text_count);
    g->timestep = tensor(&g->file, "timestep", LT_F32, &g->timestep_count);
    g->want_video = tensor(&g->file, "sample", LT_F32, &g->scratch);
    g->want_audio = tensor(&g->file, "audio_sample", LT_F32, &g->scratch);
    g->f32_video = tensor(&g->file, "sample_f32", LT_F32, &g->scratch);
    g->f32_audio = tensor(&g->file, "audio_sample_f32", LT_F32, &g->scratch);
    g->want_block = tensor(&g->file, "block_0", LT_F32, &g->scratch);
    g->want_text = tensor(&g->file, "refined_text", LT_F32, &g->scratch);
    free(a.position_ids);
    free(a.token_tags);
    free(a.video_indices);
    free(a.audio_indices);
    free(a.text_indices);
    free(indices);
}

static void golden_close(golden *g)
{
    void *const arrays[] = {g->video,      g->audio,      g->text,      g->timestep,
                            g->want_video, g->want_audio, g->f32_video, g->f32_audio,
                            g->want_block, g->want_text,  g->index};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
    lt_h3_layout_free(&g->layout);
    golden_file_close(&g->file);
}

typedef struct run {
    lt_engine engine;
    lt_checkpoint *files;
    lt_h3_dit *dit;
    float *video, *audio; /* velocities */
    const golden *g;
    double block_worst, text_worst;
} run;

static void watch(void *ctx, const char *what, int64_t layer, lt_range rows, const float *values)
{
    run *r = ctx;
    const int64_t hidden = 28, count = rows.count * hidden; /* nano's hidden_size */
    if (strcmp(what, "refiner") == 0)
        r->text_worst = distance(values, r->g->want_text, count);
    else if (layer == 0)
        r->block_worst = distance(values, r->g->want_block, count);
}

static void run_open(run *r, const char *model, const lt_backend *backend, lt_dtype compute)
{
    char path[512];
    lt_h3_dit_config config;
    *r = (run){0};
    OK(lt_engine_open(backend, 0, 2, &mesh, (size_t)1 << 26, (size_t)1 << 26, &r->engine));
    (void)snprintf(path, sizeof path, DATA "%s/transformer/config.json", model);
    OK(lt_h3_dit_config_read(path, &config));
    assert_int_equal(config.hidden, 28);
    (void)snprintf(path, sizeof path, DATA "%s/transformer", model);
    OK(lt_checkpoint_open(
        path, (const lt_name_map[]){lt_h3_names(&lt_h3_dit_names, config.head_dim)}, &r->files));
    OK(lt_h3_dit_open(r->files, &r->engine, &config, compute, &r->dit));
}

static void run_close(run *r)
{
    lt_h3_dit_close(&r->dit);
    lt_checkpoint_close(&r->files);
    lt_engine_close(&r->engine);
    free(r->video);
    free(r->audio);
}

static void run_forward(run *r, const golden *g)
{
    r->g = g;
    r->block_worst = r->text_worst = NAN; /* until the tap has seen them */
    lt_h3_dit_set_tap(r->dit, watch, r);
    r->video = calloc((size_t)g->video_count, sizeof *r->video);
    r->audio = calloc((size_t)g->audio_count, sizeof *r->audio);
    lt_h3_dit_state *state = NULL;
    OK(lt_h3_dit_begin(r->dit, g->layout, g->text, LT_F32, &state));
    OK(lt_h3_dit_forward(r->dit, state, g->video, g->audio, g->index, r->video, r->audio));
    lt_h3_dit_end(&state);
    assert_null(state);
    assert_int_equal(lt_arena_used(r->engine.step), 0);
}

static const struct {
    const char *golden, *model;
    lt_dtype compute;
} cases[] = {
    {"dit_f32", "nano", LT_F32},        /* two timesteps, 21 text rows */
    {"dit_single_f32", "nano", LT_F32}, /* step 0: one timestep; one text row */
    {"dit_wide_f32", "nano", LT_F32},   /* another video shape */
    {"dit_anchors_f32", "nano",
     LT_F32}, /* keyframe rows: indices that are not one run, three timesteps */
    {"dit_f32", "nano-original", LT_F32}, /* interleaved qkv, swapped halves, other config words */
    {"dit_bf16", "nano-bf16", LT_BF16},   /* every cast of spec 4.5 */
    {"dit_single_bf16", "nano-bf16", LT_BF16},
    {"dit_wide_bf16", "nano-bf16", LT_BF16},
    {"dit_anchors_bf16", "nano-bf16", LT_BF16},
};

static void agrees_on(const lt_backend *backend)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[128];
        golden g;
        run r;
        (void)snprintf(name, sizeof name, "%s %s %s", backend->name, cases[i].model,
                       cases[i].golden);
        golden_open(cases[i].golden, &g);
        run_open(&r, cases[i].model, backend, cases[i].compute);
        OK(lt_h3_dit_tables(r.dit, g.timestep, (int)g.timestep_count));
        run_forward(&r, &g);
        double video = tolerance, audio = tolerance, inner = tolerance;
        if (cases[i].compute == LT_BF16) {
            video = 2 * distance(g.want_video, g.f32_video, g.video_count);
            audio = 2 * distance(g.want_audio, g.f32_audio, g.audio_count);
            inner = 0.02; /* a few roundings of 2^-8 */
        }
        compare(name, "refined text", r.text_worst, inner);
        compare(name, "block 0", r.block_worst, inner);
        compare(name, "sample", distance(r.video, g.want_video, g.video_count), video);
        compare(name, "audio_sample", distance(r.audio, g.want_audio, g.audio_count), audio);
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

/* far's memory cannot be read from here: a pointer followed above kernels/ is a crash. Same bits as
 * cpu. */
static void far_gives_cpu_bits(void **state)
{
    (void)state;
    golden g;
    run a, b;
    golden_open("dit_anchors_f32", &g);
    run_open(&a, "nano", &lt_backend_cpu, LT_F32);
    OK(lt_h3_dit_tables(a.dit, g.timestep, (int)g.timestep_count));
    run_forward(&a, &g);
    float *video = a.video, *audio = a.audio;
    a.video = a.audio = NULL;
    run_close(&a);
    run_open(&b, "nano", &lt_backend_far, LT_F32);
    OK(lt_h3_dit_tables(b.dit, g.timestep, (int)g.timestep_count));
    run_forward(&b, &g);
    assert_memory_equal(b.video, video, (size_t)g.video_count * sizeof *video);
    assert_memory_equal(b.audio, audio, (size_t)g.audio_count * sizeof *audio);
    run_close(&b);
    free(video);
    free(audio);
    golden_close(&g);
}

/* Made anew, for more timesteps in another order, tables make the same bits. */
static void tables_are_of_timesteps(void **state)
{
    (void)state;
    golden g;
    run r;
    golden_open("dit_f32", &g);
    assert_int_equal(g.timestep_count, 2);
    run_open(&r, "nano", &lt_backend_ref, LT_F32);
    OK(lt_h3_dit_tables(r.dit, g.timestep, 2));
    run_forward(&r, &g);
    float *video = r.video;
    free(r.audio);
    const float more[] = {0.125f, g.timestep[1], 1.0f, g.timestep[0]};
    for (int64_t i = 0; i < g.layout->rows; i++)
        g.index[i] = g.index[i] ? 1 : 3;
    OK(lt_h3_dit_tables(r.dit, more, 4));
    run_forward(&r, &g);
    assert_memory_equal(r.video, video, (size_t)g.video_count * sizeof *video);
    free(video);
    run_close(&r);
    golden_close(&g);
}

/* What cannot work is refused before anything is queued. */
static void refuses(void **state)
{
    (void)state;
    golden g;
    run r;
    golden_open("dit_f32", &g);
    run_open(&r, "nano", &lt_backend_ref, LT_F32);
    const float bad = NAN;
    assert_int_equal(lt_h3_dit_tables(r.dit, &bad, 1), LT_EDATA);
    lt_h3_dit_state *begun = NULL;
    OK(lt_h3_dit_begin(r.dit, g.layout, g.text, LT_F32, &begun));
    assert_int_equal(
        lt_h3_dit_forward(r.dit, begun, g.video, g.audio, g.index, g.want_video, g.want_audio),
        LT_EUSAGE);
    OK(lt_h3_dit_tables(r.dit, g.timestep, 2));
    g.index[3] = 2;
    assert_int_equal(
        lt_h3_dit_forward(r.dit, begun, g.video, g.audio, g.index, g.want_video, g.want_audio),
        LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "timestep_indices[3]"));
    lt_h3_dit_end(&begun);
    run_close(&r);
    golden_close(&g);
}

enum { TOGETHER = 3 };

/* Velocities, video then audio. */
static void forward_into(run *r, lt_h3_dit_state *state, const golden *g, float *out)
{
    OK(lt_h3_dit_forward(r->dit, state, g->video, g->audio, g->index, out, out + g->video_count));
}

/* Several states at once: other texts, other shapes, forwards between each other, ends in an order
 * that is not the beginnings'. Each gives the bits that it gives alone, and nothing is left. */
static void states_do_not_meet(const lt_backend *backend, lt_dtype compute)
{
    static const char *const names[TOGETHER] = {"dit_f32", "dit_wide_f32", "dit_single_f32"};
    golden g[TOGETHER];
    float *alone[TOGETHER], *together[TOGETHER];
    lt_h3_dit_state *begun[TOGETHER] = {NULL};
    run r;
    run_open(&r, "nano", backend, compute);
    for (int i = 0; i < TOGETHER; i++)
        golden_open(names[i], &g[i]);
    OK(lt_h3_dit_tables(r.dit, g[0].timestep, 2));
    for (int i = 0; i < TOGETHER; i++) {
        const size_t count = (size_t)(g[i].video_count + g[i].audio_count);
        lt_h3_dit_state *one = NULL;
        alone[i] = calloc(count, sizeof **alone);
        together[i] = calloc(count, sizeof **together);
        OK(lt_h3_dit_begin(r.dit, g[i].layout, g[i].text, LT_F32, &one));
        forward_into(&r, one, &g[i], alone[i]);
        lt_h3_dit_end(&one);
    }
    for (int i = 0; i < TOGETHER; i++)
        OK(lt_h3_dit_begin(r.dit, g[i].layout, g[i].text, LT_F32, &begun[i]));
    static const int order[] = {2, 0, 1, 1, 0, 2}, ends[TOGETHER] = {1, 0, 2};
    for (size_t k = 0; k < sizeof order / sizeof *order; k++)
        forward_into(&r, begun[order[k]], &g[order[k]], together[order[k]]);
    lt_h3_dit_end(&begun[ends[0]]);
    forward_into(&r, begun[0], &g[0], together[0]); /* the memory of an ended one is not used yet */
    forward_into(&r, begun[2], &g[2], together[2]);
    for (int i = 1; i < TOGETHER; i++)
        lt_h3_dit_end(&begun[ends[i]]);
    assert_int_equal(lt_arena_used(r.engine.step), 0);
    for (int i = 0; i < TOGETHER; i++) {
        const size_t count = (size_t)(g[i].video_count + g[i].audio_count);
        assert_memory_equal(alone[i], together[i], count * sizeof(float));
        assert_true(alone[i][0] == alone[i][0]);
        free(alone[i]);
        free(together[i]);
        golden_close(&g[i]);
    }
    run_close(&r);
}

static void states_live_together(void **state)
{
    (void)state;
    states_do_not_meet(&lt_backend_cpu, LT_F32);
    states_do_not_meet(&lt_backend_cpu, LT_BF16);
    states_do_not_meet(&lt_backend_far, LT_F32);
}

/* The dry run that plans memory: same calls, no host arrays, and the peak that the real run has. */
static void dry_run_predicts(void **state)
{
    (void)state;
    golden g;
    run wet, dry;
    golden_open("dit_wide_f32", &g);
    run_open(&wet, "nano", &lt_backend_cpu, LT_F32);
    OK(lt_h3_dit_tables(wet.dit, g.timestep, 2));
    run_forward(&wet, &g);
    run_open(&dry, "nano", &lt_backend_dry, LT_F32);
    OK(lt_h3_dit_tables(dry.dit, NULL, 2));
    lt_h3_dit_state *begun = NULL;
    OK(lt_h3_dit_begin(dry.dit, g.layout, NULL, LT_F32, &begun));
    OK(lt_h3_dit_forward(dry.dit, begun, NULL, NULL, NULL, NULL, NULL));
    lt_h3_dit_end(&begun);
    assert_int_equal(lt_arena_peak(dry.engine.phase), lt_arena_peak(wet.engine.phase));
    assert_int_equal(lt_arena_peak(dry.engine.step), lt_arena_peak(wet.engine.step));
    run_close(&dry);
    run_close(&wet);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_on_ref),
        cmocka_unit_test(agrees_on_cpu_with_each_isa),
        cmocka_unit_test(far_gives_cpu_bits),
        cmocka_unit_test(tables_are_of_timesteps),
        cmocka_unit_test(refuses),
        cmocka_unit_test(states_live_together),
        cmocka_unit_test(dry_run_predicts),
    };
    return cmocka_run_group_tests_name("h3_dit", tests, alone_setup, alone_teardown);
}
