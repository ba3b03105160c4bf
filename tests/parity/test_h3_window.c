/* test_h3_window.c - H3's DiT by the family's windows: what rows they become, and their timesteps.
 * Goal: a clip by itself gives the published velocities, by units' timesteps too; a window with
 * context and anchors gives the bits of lt_h3_dit_forward on a layout and indices made by hand;
 * what is not asked for changes nothing; a dry run has the wet one's peaks. Ranks: 1. Needs:
 * tests/parity/nano, golden/dit_*_f32. */
#include "model/h3/h3.h"
#include "run/denoise/levels.h"
#include "tests/parity/golden.h"
#include "tests/support/alone.h"
#include "tests/support/window_case.h"

typedef struct fixture {
    lt_model *model;
    lt_engine engine;
} fixture;

static void fixture_open(fixture *f, const lt_backend *backend, const float *timesteps, int count)
{
    OK(lt_model_open(DATA "nano", &f->model));
    OK(lt_engine_open(backend, 0, 2, &mesh, (size_t)1 << 28, (size_t)1 << 28, &f->engine));
    OK(f->model->family->dit_open(f->model, &f->engine, LT_F32, timesteps, count));
}

static void fixture_close(fixture *f)
{
    f->model->family->dit_close(f->model);
    assert_int_equal(lt_arena_used(f->engine.phase), 0);
    assert_int_equal(lt_arena_used(f->engine.step), 0);
    lt_engine_close(&f->engine);
    lt_model_close(&f->model);
}

static lt_status evaluate(fixture *f, const lt_window *window, const float *text,
                          int64_t text_count, const lt_forward *forward)
{
    const lt_family *family = f->model->family;
    lt_dit_state *state = NULL;
    OK(family->dit_begin(f->model, window, text, text_count, &state));
    const lt_status st = family->dit_forward(f->model, state, forward);
    family->dit_end(&state);
    return st;
}

/* ---- against the published implementation ---- */

static const struct {
    const char *golden;
    lt_shape shape;
} published[] = {
    {"dit_f32", {22, 64, 32}},        /* two timesteps, 21 text rows */
    {"dit_single_f32", {22, 32, 64}}, /* one timestep, one text row */
    {"dit_wide_f32", {39, 96, 96}},   /* audio's t below video's */
};

static float *constant(int64_t count, float value)
{
    float *x = calloc((size_t)count, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++)
        x[i] = value;
    return x;
}

/* Whole rows of the golden against latents: what the family put out, as rows. */
static void hold(const char *name, const fixture *f, const golden_file *g, const lt_stream *stream,
                 const lt_forward *forward)
{
    const lt_h3_dit_config *config = &((lt_h3_model *)f->model)->dit_config;
    int64_t dim[5];
    float *video = golden_read(g, "sample", LT_F32, dim);
    const int64_t video_count = dim[0] * dim[1];
    float *audio = golden_read(g, "audio_sample", LT_F32, dim);
    const int64_t audio_count = dim[0] * dim[1];
    float *rows = calloc((size_t)(video_count + audio_count), sizeof *rows);
    lt_h3_patchify(forward->velocity[0], config->channels, stream[0].dim[1], stream[0].dim[2],
                   stream[0].dim[3], rows);
    lt_h3_audio_to_rows(forward->velocity[1], config->audio_channels, stream[1].dim[2],
                        rows + video_count);
    compare(name, "sample", distance(rows, video, video_count), tolerance);
    compare(name, "audio_sample", distance(rows + video_count, audio, audio_count), tolerance);
    free(video);
    free(audio);
    free(rows);
}

static void one_published(const char *name, const lt_shape *shape)
{
    fixture f;
    golden_file g;
    lt_stream stream[LT_STREAMS_MAX];
    int streams = 0;
    int64_t dim[5], count[2], text[5];
    golden_file_open(&g, name);
    float *timestep = golden_read(&g, "timestep", LT_F32, dim);
    const int times = (int)dim[0];
    int64_t *index = golden_read(&g, "timestep_indices", LT_I64, dim);
    int64_t *first_video = golden_read(&g, "video_indices", LT_I64, dim);
    int64_t *first_audio = golden_read(&g, "audio_indices", LT_I64, dim);
    float *text_rows = golden_read(&g, "encoder_hidden_states", LT_F32, text);
    float *video = golden_read(&g, "hidden_states", LT_F32, dim);
    count[0] = dim[0] * dim[1];
    float *audio = golden_read(&g, "audio_hidden_states", LT_F32, dim);
    count[1] = dim[0] * dim[1];
    fixture_open(&f, &lt_backend_cpu, timestep, times);
    OK(f.model->family->streams(f.model, shape, stream, &streams));
    float *latent[2], *velocity[2], *again[2];
    for (int s = 0; s < 2; s++) {
        latent[s] = calloc((size_t)count[s], sizeof *latent[s]);
        velocity[s] = calloc((size_t)count[s], sizeof *velocity[s]);
        again[s] = calloc((size_t)count[s], sizeof *again[s]);
    }
    lt_h3_unpatchify(video, stream[0].dim[0], stream[0].dim[1], stream[0].dim[2], stream[0].dim[3],
                     latent[0]);
    lt_h3_rows_to_audio(audio, stream[1].dim[1], stream[1].dim[2], latent[1]);
    lt_forward forward = {
        .latent = {latent[0], latent[1]},
        .timestep = {timestep[index[first_video[0]]], timestep[index[first_audio[0]]]},
        .velocity = {velocity[0], velocity[1]}};
    const lt_window window = {.shape = *shape};
    OK(evaluate(&f, &window, text_rows, text[0], &forward));
    hold(name, &f, &g, stream, &forward);

    float *unit[2] = {constant(stream[0].dim[1], forward.timestep[0]),
                      constant(stream[1].dim[2], forward.timestep[1])};
    for (int s = 0; s < 2; s++) {
        forward.unit_timestep[s] = unit[s];
        forward.velocity[s] = again[s];
    }
    OK(evaluate(&f, &window, text_rows, text[0], &forward));
    for (int s = 0; s < 2; s++) {
        assert_memory_equal(again[s], velocity[s], (size_t)count[s] * sizeof *again[s]);
        free(latent[s]);
        free(velocity[s]);
        free(again[s]);
        free(unit[s]);
    }
    free(timestep);
    free(index);
    free(first_video);
    free(first_audio);
    free(text_rows);
    free(video);
    free(audio);
    fixture_close(&f);
    golden_file_close(&g);
}

static void agrees_with_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++)
        one_published(published[i].golden, &published[i].shape);
}

/* ---- against rows that are made by hand ---- */

enum { FRAME_ROWS = 6, ROWS_AHEAD = WINDOW_TEXT + WINDOW_ANCHORS * FRAME_ROWS }; /* 96 x 64 */

/* [text | anchors | audio, left then right | video], into window_timesteps. */
static void index_by_hand(int32_t *index)
{
    enum { T_AUDIO = 1, T_VIDEO = 2, T_CONTEXT = 3, T_CLEAN = 4 };
    for (int i = 0; i < WINDOW_TEXT; i++)
        *index++ = T_VIDEO;
    for (int i = 0; i < WINDOW_ANCHORS * FRAME_ROWS; i++)
        *index++ = T_CONTEXT;
    for (int c = 0; c < 2; c++)
        for (int t = 0; t < WINDOW_TICKS; t++)
            *index++ = t < WINDOW_CONTEXT_TICKS ? T_CLEAN : T_AUDIO;
    for (int i = 0; i < WINDOW_LATENTS * FRAME_ROWS; i++)
        *index++ = i < WINDOW_CONTEXT * FRAME_ROWS ? T_CONTEXT : T_VIDEO;
}

static void by_hand(fixture *f, const window_case *c, float *video_out, float *audio_out)
{
    lt_h3_model *m = (lt_h3_model *)f->model;
    const int64_t C = m->dit_config.channels, Ca = m->dit_config.audio_channels;
    const int64_t ahead = WINDOW_ANCHORS * FRAME_ROWS * 4 * C;
    lt_h3_layout *layout;
    lt_h3_dit_state *state;
    OK(lt_h3_layout_window(&c->window, WINDOW_TEXT, &layout));
    assert_int_equal(layout->rows, ROWS_AHEAD + 2 * WINDOW_TICKS + WINDOW_LATENTS * FRAME_ROWS);
    int32_t *index = calloc((size_t)layout->rows, sizeof *index);
    float *video = calloc((size_t)(2 * (ahead + c->values[0])), sizeof *video);
    float *audio = calloc((size_t)(2 * c->values[1]), sizeof *audio);
    float *video_velocity = video + ahead + c->values[0], *audio_velocity = audio + c->values[1];
    index_by_hand(index);
    lt_h3_patchify(c->anchor_latent, C, WINDOW_ANCHORS, 4, 6, video);
    lt_h3_patchify(c->latent[0], C, WINDOW_LATENTS, 4, 6, video + ahead);
    lt_h3_audio_to_rows(c->latent[1], Ca, WINDOW_TICKS, audio);
    OK(lt_h3_dit_begin(m->dit, layout, c->text, LT_F32, &state));
    OK(lt_h3_dit_forward(m->dit, state, video, audio, index, video_velocity, audio_velocity));
    lt_h3_dit_end(&state);
    lt_h3_unpatchify(video_velocity + ahead, C, WINDOW_LATENTS, 4, 6, video_out);
    lt_h3_rows_to_audio(audio_velocity, Ca, WINDOW_TICKS, audio_out);
    lt_h3_layout_free(&layout);
    free(index);
    free(video);
    free(audio);
}

static void rows_by_hand_give_the_same_bits(const lt_backend *backend)
{
    fixture f;
    window_case c;
    float *want[2];
    fixture_open(&f, backend, window_timesteps, WINDOW_TIMESTEPS);
    window_case_new(f.model, &c);
    for (int s = 0; s < 2; s++)
        want[s] = calloc((size_t)c.values[s], sizeof *want[s]);
    by_hand(&f, &c, want[0], want[1]);
    OK(evaluate(&f, &c.window, c.text, WINDOW_TEXT, &c.forward));
    for (int s = 0; s < 2; s++) {
        assert_true(distance(c.velocity[s], want[s], c.values[s]) <= 0); /* NaN and zeros fail */
        assert_memory_equal(c.velocity[s], want[s], (size_t)c.values[s] * sizeof *want[s]);
        free(want[s]);
    }
    window_case_free(&c);
    fixture_close(&f);
}

static void rows_by_hand(void **state)
{
    (void)state;
    rows_by_hand_give_the_same_bits(&lt_backend_cpu);
    rows_by_hand_give_the_same_bits(&lt_backend_far);
}

/* ---- what is asked for shows, what is not does nothing ---- */

typedef void change(window_case *c);

static void nothing(window_case *c) { (void)c; }

static void no_anchors(window_case *c)
{
    c->window.anchors = 0;
    c->forward.anchor_latent = NULL;
}

static void no_anchors_but_a_list(window_case *c)
{
    no_anchors(c);
    c->forward.anchor_timestep = 123; /* no table has it */
}

static void no_anchors_and_no_list(window_case *c)
{
    no_anchors(c);
    c->window.anchor = NULL;
}

static void local(window_case *c)
{
    no_anchors(c);
    c->window.latent = 0;
}

static void local_by_its_own_size(window_case *c)
{
    local(c);
    c->window.whole_width = c->window.shape.width;
    c->window.whole_height = c->window.shape.height;
}

static void a_tile(window_case *c)
{
    local_by_its_own_size(c);
    c->window.whole_width += 64;
}

static void a_tile_further_right(window_case *c)
{
    a_tile(c);
    c->window.column = 4;
}

static void no_context(window_case *c)
{
    c->forward.unit_timestep[0] = c->forward.unit_timestep[1] = NULL;
}

static void no_audio_context(window_case *c) { c->forward.unit_timestep[1] = NULL; }

static void anchors_at_another_level(window_case *c) { c->forward.anchor_timestep = 0.25f; }

static void anchors_in_another_order(window_case *c)
{
    static const int64_t other[WINDOW_ANCHORS] = {-1, -15};
    c->window.anchor = other;
}

static const struct {
    const char *name;
    change *a, *b;
    int same;
} pairs[] = {
    {"a list of no anchors", no_anchors, no_anchors_but_a_list, 1},
    {"no list of anchors", no_anchors, no_anchors_and_no_list, 1},
    {"a tile that is the whole", local, local_by_its_own_size, 1},
    {"anchors", nothing, no_anchors, 0},
    {"the anchors' level", nothing, anchors_at_another_level, 0},
    {"the anchors' distances", nothing, anchors_in_another_order, 0},
    {"context", nothing, no_context, 0},
    {"audio's context", nothing, no_audio_context, 0},
    {"where a window stands", no_anchors, local, 0},
    {"the whole of a tile", local, a_tile, 0},
    {"where a tile stands", a_tile, a_tile_further_right, 0},
};

static void evaluate_changed(fixture *f, change *how, window_case *c)
{
    window_case_new(f->model, c);
    how(c);
    OK(evaluate(f, &c->window, c->text, WINDOW_TEXT, &c->forward));
}

static void what_is_asked_for_shows(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &lt_backend_cpu, window_timesteps, WINDOW_TIMESTEPS);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        window_case a, b;
        evaluate_changed(&f, pairs[i].a, &a);
        evaluate_changed(&f, pairs[i].b, &b);
        for (int s = 0; s < 2; s++) {
            const double off = distance(a.velocity[s], b.velocity[s], a.values[s]);
            /* measured 2.7e-3 and more where it must show; rounding is 1e-7 */
            if (pairs[i].same ? !(off <= 0) : !(off > 1e-5))
                fail_msg("%s: stream %d: velocities are %.3g apart", pairs[i].name, s, off);
            print_message("    %-26s stream %d  %.2e apart\n", pairs[i].name, s, off);
        }
        window_case_free(&a);
        window_case_free(&b);
    }
    fixture_close(&f);
}

/* What a run with clean context opens its DiT for, and how that is noised. */
static void context_is_among_the_levels(void **state)
{
    (void)state;
    lt_model *model;
    lt_levels plain, context;
    lt_plan plan = {.steps = 5, .shape = {22, 64, 32}};
    OK(lt_model_open(DATA "nano", &model));
    OK(lt_plan_streams(&plan, model));
    OK(lt_levels_make(model, &plan, &plain));
    plan.windowing.mode = LT_MODE_EXTEND;
    OK(lt_levels_make(model, &plan, &context));
    assert_int_equal(plain.evaluations, 4);
    assert_int_equal(plain.timestep_count, 7); /* 0 is both streams' */
    assert_int_equal(context.timestep_count, 9);
    assert_memory_equal(context.timesteps, plain.timesteps, 7 * sizeof(float));
    assert_true(context.timesteps[7] == 0.999f && context.timesteps[8] == 1.0f);
    for (int s = 0; s < 2; s++) { /* x = (1 - sigma) z + sigma noise = t z + (1 - t) noise */
        const float sigma = model->family->context_sigma[s];
        assert_true(sigma == 1.0f - model->family->context_timestep[s]);
        assert_true(1.0f - sigma == model->family->context_timestep[s]);
    }
    lt_levels_free(&plain);
    lt_levels_free(&context);
    lt_model_close(&model);
}

/* A level that dit_open was not told, whoever names it. */
static void levels_without_tables_are_refused(void **state)
{
    (void)state;
    fixture f;
    window_case c;
    fixture_open(&f, &lt_backend_cpu, window_timesteps, WINDOW_TIMESTEPS);
    window_case_new(f.model, &c);
    c.unit[0][26] = 0.75f;
    assert_int_equal(evaluate(&f, &c.window, c.text, WINDOW_TEXT, &c.forward), LT_EINTERNAL);
    assert_non_null(strstr(lt_error_text(), "timestep 0.75"));
    c.unit[0][26] = 0.5f;
    c.unit[1][0] = 0.75f;
    assert_int_equal(evaluate(&f, &c.window, c.text, WINDOW_TEXT, &c.forward), LT_EINTERNAL);
    c.unit[1][0] = 0.5f;
    c.forward.anchor_timestep = 0.998f;
    assert_int_equal(evaluate(&f, &c.window, c.text, WINDOW_TEXT, &c.forward), LT_EINTERNAL);
    c.forward.anchor_timestep = 0.999f;
    OK(evaluate(&f, &c.window, c.text, WINDOW_TEXT, &c.forward));
    window_case_free(&c);
    fixture_close(&f);
}

/* Same calls, no host arrays of rows, the peaks of the wet run. */
static void dry_run_predicts(void **state)
{
    (void)state;
    static change *const all[] = {nothing, no_anchors, no_context, local};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        fixture wet, dry;
        window_case c;
        fixture_open(&wet, &lt_backend_cpu, window_timesteps, WINDOW_TIMESTEPS);
        evaluate_changed(&wet, all[i], &c);
        fixture_open(&dry, &lt_backend_dry, window_timesteps, WINDOW_TIMESTEPS);
        const lt_forward forward = window_dry(&c);
        OK(evaluate(&dry, &c.window, NULL, WINDOW_TEXT, &forward));
        assert_int_equal(lt_arena_peak(dry.engine.phase), lt_arena_peak(wet.engine.phase));
        assert_int_equal(lt_arena_peak(dry.engine.step), lt_arena_peak(wet.engine.step));
        window_case_free(&c);
        fixture_close(&dry);
        fixture_close(&wet);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_published),
        cmocka_unit_test(rows_by_hand),
        cmocka_unit_test(what_is_asked_for_shows),
        cmocka_unit_test(context_is_among_the_levels),
        cmocka_unit_test(levels_without_tables_are_refused),
        cmocka_unit_test(dry_run_predicts),
    };
    return cmocka_run_group_tests_name("h3_window", tests, alone_setup, alone_teardown);
}
