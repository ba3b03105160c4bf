/* test_deterministic.c - --deterministic: the same bits on every mesh.
 * Goal: velocities of H3's denoiser, and latents of a whole denoising loop, have one hash over
 * meshes of tp, uly, ring, win and their products: uneven chunks (3 heads, 44 columns), ranks
 * without heads, rows or columns, several row blocks, f32 and bf16, oneDNN's products, the device
 * `far`. The result lies as near to the plain one as a change of order may put it, and the plain
 * mode does differ between meshes (else this test would see nothing). Method: the first P ranks of
 * the world form a mesh; rank 0 hashes (XXH64) and all compare. Ranks: as launched; meshes with
 * more are left out. Needs: tests/parity/nano*. */
#include "parallel/transport/host_collectives.h"
#include "tests/support/ranks.h"

#include <math.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/log.h"
#include "kernels/cpu/linear_dnnl.h"
#include "model/h3/dit.h"
#include "model/h3/names.h"
#include "tests/support/denoise.h"

#define DATA LT_SOURCE_DIR "/tests/parity/"

typedef struct request {
    const char *name, *model;
    lt_dtype compute;
    const lt_backend *backend;
    lt_h3_layout *layout;
    float *video, *audio, *text;
    int32_t *index;
    int64_t video_count, audio_count;
} request;

static const float timesteps[] = {0.0f, 0.25f, 0.5f};

static const char *const meshes[] = {
    "tp=1",
    "tp=2",
    "tp=3",
    "tp=4",
    "uly=2",
    "uly=3",
    "uly=4",
    "ring=2",
    "ring=3",
    "ring=4",
    "ring=2,tp=2",
    "uly=2,tp=2",
    "ring=2,uly=2",
    "win=2,ring=2",
    "cfg=2,tp=2",
    "ring=5",
    "tp=6",
    "ring=3,tp=2",
    "uly=3,tp=2",
    "ring=2,uly=2,tp=2",
    "win=2,ring=2,tp=2",
    "ring=8",
    "tp=8",
    "uly=4,ring=2",
};
enum { MESHES = sizeof meshes / sizeof *meshes };

static void read_config(const char *model, lt_h3_dit_config *config)
{
    char path[512];
    (void)snprintf(path, sizeof path, DATA "%s/transformer/config.json", model);
    OK(lt_h3_dit_config_read(path, config));
}

static void request_new(request *q)
{
    lt_h3_dit_config config;
    const lt_h3_layout *l = q->layout;
    read_config(q->model, &config);
    q->video_count = l->video_rows * lt_h3_dit_video_width(&config);
    q->audio_count = l->audio_rows * config.audio_channels;
    q->video = spread(q->video_count, 1);
    q->audio = spread(q->audio_count, 2);
    q->text = spread(l->text_rows * config.text_dim, 3);
    q->index = calloc((size_t)l->rows, sizeof *q->index);
    lt_h3_layout_timesteps(l, 2, 1, q->index);
}

static void request_free(request *q)
{
    free(q->video);
    free(q->audio);
    free(q->text);
    free(q->index);
    lt_h3_layout_free(&q->layout);
}

/* Velocities, video then audio. */
static float *evaluate(const request *q, const lt_mesh *mesh)
{
    char path[512];
    lt_h3_dit_config config;
    lt_engine engine;
    lt_checkpoint *files;
    lt_h3_dit *dit;
    lt_h3_dit_state *state;
    float *out = calloc((size_t)(q->video_count + q->audio_count) + 1, sizeof *out);
    WANT(out != NULL);
    read_config(q->model, &config);
    OK(lt_engine_open(q->backend, 0, 1, mesh, (size_t)1 << 26, (size_t)1 << 28, &engine));
    (void)snprintf(path, sizeof path, DATA "%s/transformer", q->model);
    OK(lt_checkpoint_open(path, &lt_h3_dit_names, &files));
    OK(lt_h3_dit_open(files, &engine, &config, q->compute, &dit));
    OK(lt_h3_dit_tables(dit, timesteps, 3));
    OK(lt_h3_dit_load(dit));
    OK(lt_h3_dit_begin(dit, q->layout, q->text, LT_F32, &state));
    for (int twice = 0; twice < 2; twice++) /* a second evaluation must find nothing of the first */
        OK(lt_h3_dit_forward(dit, state, q->video, q->audio, q->index, out, out + q->video_count));
    lt_h3_dit_end(&state);
    lt_h3_dit_close(&dit);
    lt_checkpoint_close(&files);
    lt_engine_close(&engine);
    return out;
}

/* Every rank by itself. */
static float *evaluate_alone(const request *q, int deterministic)
{
    lt_mesh mesh;
    lt_group *self = group_of_one();
    OK(lt_mesh_open(self, &(lt_mesh_spec){{1, 1, 1, 1, 1}}, &mesh));
    mesh.deterministic = deterministic;
    float *out = evaluate(q, &mesh);
    lt_mesh_close(&mesh);
    lt_group_free(&self);
    OK(lt_barrier(world));
    return out;
}

static XXH64_hash_t hash_of(const request *q, const float *out)
{
    return XXH64(out, (size_t)(q->video_count + q->audio_count) * sizeof *out, 0);
}

static void same_hash(const char *what, const char *mesh, XXH64_hash_t found, XXH64_hash_t wanted)
{
    char text[128];
    (void)snprintf(text, sizeof text, "%s: hash %016llx, alone %016llx", mesh,
                   (unsigned long long)found, (unsigned long long)wanted);
    if (found != wanted)
        stop(what, text, __LINE__);
}

/* One hash over every n-th of the meshes that fit. */
static void some_meshes(request *q, double tolerance, int n)
{
    request_new(q);
    float *plain = evaluate_alone(q, 0), *alone = evaluate_alone(q, 1);
    const XXH64_hash_t wanted = hash_of(q, alone);
    const double off = distance(alone, plain, q->video_count + q->audio_count);
    want(off <= tolerance, q->name, "deterministic against plain", off, tolerance);
    int count = 0;
    for (int i = 0; i < MESHES; i += n) {
        lt_mesh_spec spec;
        lt_mesh mesh;
        lt_group *group = mesh_group(meshes[i], &spec);
        count += lt_mesh_ranks(&spec) <= lt_group_size(world);
        if (group != NULL) {
            OK(lt_mesh_open(group, &spec, &mesh));
            mesh.deterministic = 1;
            float *out = evaluate(q, &mesh);
            same_hash(q->name, meshes[i], hash_of(q, out), wanted);
            free(out);
            lt_mesh_close(&mesh);
            lt_group_free(&group);
        }
        OK(lt_barrier(world));
    }
    print_message("%s: velocities %016llx on %d meshes; from plain %.2g\n", q->name,
                  (unsigned long long)wanted, count, off);
    free(plain);
    free(alone);
    request_free(q);
}

static void all_meshes(request *q, double tolerance) { some_meshes(q, tolerance, 1); }

/* The order of f32 sums alone: measured below 1e-6 on the nano models. */
static const double tolerance_f32 = 1e-5;

static void window_in_f32(void **state)
{
    (void)state;
    request q = {.name = "f32", .model = "nano", .compute = LT_F32, .backend = &lt_backend_cpu};
    OK(lt_h3_layout_new(39, 96, 64, 13, &q.layout));
    all_meshes(&q, tolerance_f32);
}

/* As in test_dit_ranks.c: one value that rounds otherwise is 2^-9 off and grows over the blocks. */
static void window_in_bf16(void **state)
{
    (void)state;
    request q = {
        .name = "bf16", .model = "nano-bf16", .compute = LT_BF16, .backend = &lt_backend_cpu};
    OK(lt_h3_layout_new(39, 96, 64, 13, &q.layout));
    all_meshes(&q, 0.01);
}

static void window_on_far(void **state)
{
    (void)state;
    request q = {
        .name = "f32 on far", .model = "nano", .compute = LT_F32, .backend = &lt_backend_far};
    OK(lt_h3_layout_new(22, 64, 32, 5, &q.layout));
    some_meshes(&q, tolerance_f32, 5); /* late queues: 0.6 s a mesh */
}

/* Products in blocks of columns, whose shapes a rank's share of columns would change. */
static void window_by_onednn(void **state)
{
    (void)state;
    request q = {
        .name = "f32 by oneDNN", .model = "nano", .compute = LT_F32, .backend = &lt_backend_cpu};
    OK(lt_h3_layout_new(22, 64, 32, 5, &q.layout));
    lt_cpu_dnnl_force(1);
    some_meshes(&q, tolerance_f32, 2); /* a primitive a chunk: 0.3 s a mesh */
    lt_cpu_dnnl_force(0);
}

/* 13 of 16 chunks of rows are empty, and most ranks hold nothing. */
static void three_rows(void **state)
{
    (void)state;
    double positions[9] = {0, 0, 0, 1, 2, 3, 4, 5, 6};
    int64_t tags[] = {LT_H3_TAG_VIDEO, LT_H3_TAG_TEXT, LT_H3_TAG_AUDIO};
    int64_t video[] = {0}, text[] = {1}, audio[] = {2};
    const lt_h3_layout arrays = {.rows = 3,
                                 .video_rows = 1,
                                 .audio_rows = 1,
                                 .text_rows = 1,
                                 .position_ids = positions,
                                 .token_tags = tags,
                                 .video_indices = video,
                                 .audio_indices = audio,
                                 .text_indices = text};
    request q = {
        .name = "three rows", .model = "nano", .compute = LT_F32, .backend = &lt_backend_cpu};
    OK(lt_h3_layout_from("test", &arrays, &q.layout));
    all_meshes(&q, tolerance_f32);
}

/* Without the flag a ring of two merges in another order than one rank adds. */
static void plain_mode_differs(void **state)
{
    (void)state;
    request q = {.name = "plain", .model = "nano", .compute = LT_F32, .backend = &lt_backend_cpu};
    lt_mesh_spec spec;
    lt_mesh mesh;
    if (lt_group_size(world) < 2)
        skip();
    OK(lt_h3_layout_new(39, 96, 64, 13, &q.layout));
    request_new(&q);
    float *alone = evaluate_alone(&q, 0);
    lt_group *group = mesh_group("ring=2", &spec);
    if (group != NULL) {
        OK(lt_mesh_open(group, &spec, &mesh));
        float *out = evaluate(&q, &mesh);
        WANT(hash_of(&q, out) != hash_of(&q, alone));
        free(out);
        lt_mesh_close(&mesh);
        lt_group_free(&group);
    }
    OK(lt_barrier(world));
    free(alone);
    request_free(&q);
}

/* ---- the loop ---- */

enum { STEPS = 4 };

static XXH64_hash_t denoise_spec(lt_model *model, lt_group *group, const lt_mesh_spec *spec)
{
    const lt_plan plan =
        denoise_plan(model, spec, STEPS, (lt_shape){.frames = 22, .width = 64, .height = 32},
                     (lt_windows_asked){0});
    lt_clip clip = {0};
    denoise_on(model, group, &plan, &lt_backend_cpu, 1, NULL, &clip);
    const XXH64_hash_t h = clip_hash(&clip);
    lt_clip_free(&clip);
    return h;
}

static void whole_loop(void **state)
{
    (void)state;
    lt_model *model;
    OK(lt_model_open(DATA "nano", &model));
    lt_group *self = group_of_one();
    const XXH64_hash_t wanted = denoise_spec(model, self, &(lt_mesh_spec){{1, 1, 1, 1, 1}});
    lt_group_free(&self);
    OK(lt_barrier(world));
    for (int i = 0; i < MESHES; i++) {
        lt_mesh_spec spec;
        lt_group *group = mesh_group(meshes[i], &spec);
        if (group != NULL)
            same_hash("latents", meshes[i], denoise_spec(model, group, &spec), wanted);
        lt_group_free(&group);
        OK(lt_barrier(world));
    }
    print_message("latents %016llx\n", (unsigned long long)wanted);
    lt_model_close(&model);
}

int main(void)
{
    const int failed_open = ranks_open();
    if (failed_open != 0)
        return failed_open;
    lt_log_open(lt_group_rank(world), lt_group_size(world), 0); /* idle ranks are the point here */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window_in_f32), cmocka_unit_test(window_in_bf16),
        cmocka_unit_test(window_on_far), cmocka_unit_test(window_by_onednn),
        cmocka_unit_test(three_rows),    cmocka_unit_test(plain_mode_differs),
        cmocka_unit_test(whole_loop),
    };
    const int failed = cmocka_run_group_tests_name("deterministic", tests, NULL, NULL);
    ranks_close();
    return failed;
}
