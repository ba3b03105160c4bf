/* test_step_memory.c - a denoiser's evaluation takes no memory of the host once one was made.
 * Goal: from the second forward on not one allocation of ours, on rings, uly, 2-D, tp and with
 * --deterministic. Method: the linker sends our calls of malloc, calloc, realloc and aligned_alloc
 * by count_allocations.h; libraries (MPI, OpenMP) keep their own. The collectives' memory is what a
 * dry run found, as in a render. A window with context and anchors is counted likewise, through the
 * family, and its dry run must know the arenas' peaks. Ranks: as launched; meshes with more are
 * left out. Needs: tests/parity/nano. */
#include "tests/support/count_allocations.h"
#include "tests/support/ranks.h"
#include "tests/support/window_case.h"

#include "model/h3/dit.h"
#include "model/h3/names.h"
#include "parallel/collective/exchange.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"
#define DATA NANO "/transformer"

enum { TIMES = 3 };
static const float timesteps[] = {0.0f, 0.25f, 0.5f};

/* What goes in and comes out. */
typedef struct rows {
    lt_h3_layout *layout;
    float *video, *audio, *text, *video_out, *audio_out;
    int32_t *index;
} rows;

/* TIMES + 1 evaluations; on dry one, to ask what collectives need. Returns what those behind the
 * first took. */
static int evaluate(const lt_backend *backend, const lt_mesh *mesh, const lt_h3_dit_config *config,
                    const rows *r, lt_comm_need *need)
{
    lt_engine engine;
    lt_checkpoint *files;
    lt_h3_dit *dit;
    lt_h3_dit_state *state;
    int before = 0;
    OK(lt_engine_open(backend, 0, 1, mesh, (size_t)1 << 26, (size_t)1 << 28, &engine));
    if (!backend->is_dry)
        OK(lt_engine_connect(&engine, mesh, need));
    OK(lt_checkpoint_open(DATA, &lt_h3_dit_names, &files));
    OK(lt_h3_dit_open(files, &engine, config, LT_F32, &dit));
    OK(lt_h3_dit_tables(dit, timesteps, 3));
    OK(lt_h3_dit_begin(dit, r->layout, r->text, LT_F32, &state));
    if (backend->is_dry)
        OK(lt_h3_dit_forward(dit, state, NULL, NULL, NULL, NULL, NULL));
    for (int i = 0; !backend->is_dry && i <= TIMES; i++) {
        OK(lt_h3_dit_forward(dit, state, r->video, r->audio, r->index, r->video_out, r->audio_out));
        before = i == 0 ? atomic_load(&counted) : before;
    }
    const int took = atomic_load(&counted) - before;
    *need = lt_engine_comm_need(&engine);
    lt_h3_dit_end(&state);
    lt_h3_dit_close(&dit);
    lt_checkpoint_close(&files);
    lt_engine_close(&engine);
    return took;
}

typedef struct request {
    const char *mesh;
    const lt_h3_dit_config *config;
    const rows *rows;
    lt_attention_algorithm algorithm;
    int deterministic;
} request;

static const request meshes[] = {
    {"ring=2", NULL, NULL, LT_ATTENTION_RING, 0},
    {"ring=4", NULL, NULL, LT_ATTENTION_2D, 0},
    {"uly=2", NULL, NULL, LT_ATTENTION_AUTO, 0},
    {"tp=2", NULL, NULL, LT_ATTENTION_AUTO, 0},
    {"ring=2,uly=2", NULL, NULL, LT_ATTENTION_RING, 0},
    {"ring=2", NULL, NULL, LT_ATTENTION_AUTO, 1},
    {"tp=2", NULL, NULL, LT_ATTENTION_AUTO, 1},
    {"ring=2,uly=2", NULL, NULL, LT_ATTENTION_AUTO, 1},
};
enum { MESHES = sizeof meshes / sizeof *meshes };

static void count(const lt_mesh *given, void *ctx)
{
    const request *q = ctx;
    lt_mesh mesh = *given;
    lt_comm_need need;
    mesh.attention = q->algorithm;
    mesh.deterministic = q->deterministic;
    (void)evaluate(&lt_backend_dry, &mesh, q->config, q->rows, &need);
    const int took = evaluate(&lt_backend_cpu, &mesh, q->config, q->rows, &need);
    want(atomic_load(&counted) > 0, q->mesh, "allocations in all: more than 0", 0, 0);
    want(took == 0, q->mesh, "allocations from the second evaluation on", took, 0);
}

static void no_memory_in_a_step(void **state)
{
    lt_h3_dit_config config;
    rows r;
    (void)state;
    OK(lt_h3_dit_config_read(DATA "/config.json", &config));
    OK(lt_h3_layout_new(39, 96, 64, 13, &r.layout));
    const int64_t video = r.layout->video_rows * lt_h3_dit_video_width(&config);
    const int64_t audio = r.layout->audio_rows * config.audio_channels;
    r.video = spread(video, 1);
    r.audio = spread(audio, 2);
    r.text = spread(r.layout->text_rows * config.text_dim, 3);
    r.video_out = calloc((size_t)video, sizeof *r.video_out);
    r.audio_out = calloc((size_t)audio, sizeof *r.audio_out);
    r.index = calloc((size_t)r.layout->rows, sizeof *r.index);
    lt_h3_layout_timesteps(r.layout, 2, 1, r.index);
    for (int i = 0; i < MESHES; i++) {
        request q = meshes[i];
        q.config = &config;
        q.rows = &r;
        on_mesh(q.mesh, count, &q);
    }
    free(r.video);
    free(r.audio);
    free(r.text);
    free(r.video_out);
    free(r.audio_out);
    free(r.index);
    lt_h3_layout_free(&r.layout);
}

/* ---- a window, by the family ---- */

typedef struct peaks {
    size_t phase, step;
} peaks;

static int evaluate_window(const lt_backend *backend, const lt_mesh *mesh, lt_model *model,
                           const window_case *c, lt_comm_need *need, peaks *peak)
{
    const lt_family *family = model->family;
    const int times = backend->is_dry ? 0 : TIMES;
    const lt_forward forward = backend->is_dry ? window_dry(c) : c->forward;
    lt_engine engine;
    lt_dit_state *state;
    int before = 0;
    OK(lt_engine_open(backend, 0, 1, mesh, (size_t)1 << 26, (size_t)1 << 28, &engine));
    if (!backend->is_dry)
        OK(lt_engine_connect(&engine, mesh, need));
    OK(family->dit_open(model, &engine, LT_F32, window_timesteps, WINDOW_TIMESTEPS));
    OK(family->dit_begin(model, &c->window, c->text, WINDOW_TEXT, &state));
    for (int i = 0; i <= times; i++) {
        OK(family->dit_forward(model, state, &forward));
        before = i == 0 ? atomic_load(&counted) : before;
    }
    const int took = atomic_load(&counted) - before;
    *need = lt_engine_comm_need(&engine);
    *peak = (peaks){lt_arena_peak(engine.phase), lt_arena_peak(engine.step)};
    family->dit_end(&state);
    family->dit_close(model);
    lt_engine_close(&engine);
    return took;
}

static void count_window(const lt_mesh *given, void *ctx)
{
    const request *q = ctx;
    lt_mesh mesh = *given;
    lt_comm_need need;
    lt_model *model;
    window_case c;
    peaks dry, wet;
    mesh.attention = q->algorithm;
    mesh.deterministic = q->deterministic;
    OK(lt_model_open(NANO, &model));
    window_case_new(model, &c);
    (void)evaluate_window(&lt_backend_dry, &mesh, model, &c, &need, &dry);
    const int took = evaluate_window(&lt_backend_cpu, &mesh, model, &c, &need, &wet);
    want(took == 0, q->mesh, "allocations of a window from the second evaluation on", took, 0);
    want(dry.phase == wet.phase, q->mesh, "a window's phase", (double)dry.phase, (double)wet.phase);
    want(dry.step == wet.step, q->mesh, "a window's step", (double)dry.step, (double)wet.step);
    window_case_free(&c);
    lt_model_close(&model);
}

static void no_memory_in_a_windows_step(void **state)
{
    (void)state;
    for (int i = 0; i < MESHES; i++) {
        request q = meshes[i];
        on_mesh(q.mesh, count_window, &q);
    }
}

int main(void)
{
    if (ranks_open() != 0)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory_in_a_step),
                                       cmocka_unit_test(no_memory_in_a_windows_step)};
    const int failed = cmocka_run_group_tests_name("step_memory", tests, NULL, NULL);
    ranks_close();
    return failed;
}
