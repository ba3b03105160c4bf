/* test_denoise_ranks.c - the denoising loop where win and cfg have nothing to do.
 * Goal: a mesh with win or cfg above 1 runs a clip of one window: its further ranks get the
 * velocities, so all ranks end with the same latents, bit for bit those of the mesh without these
 * axes. Method: two steps of the nano model from noise; rank 0's latents are sent to all. Ranks: as
 * launched; meshes with more are left out. Needs: tests/parity/nano. */
#include "parallel/transport/host_collectives.h"
#include "tests/support/ranks.h"

#include <math.h>
#include <stdlib.h>

#include "run/denoise.h"

enum { TEXT_ROWS = 5, STEPS = 3 };

static lt_model *model;

static lt_plan plan_of(const lt_mesh_spec *spec)
{
    lt_plan plan = {.mesh = *spec, .steps = STEPS, .seed = 11, .dtype = LT_F32};
    plan.shape = (lt_shape){.frames = 22, .width = 64, .height = 32};
    OK(lt_plan_streams(&plan, model));
    return plan;
}

static void denoise_on(lt_group *group, const lt_mesh_spec *spec, lt_clip *clip)
{
    lt_mesh mesh;
    lt_engine engine;
    lt_levels levels;
    const lt_plan plan = plan_of(spec);
    const int64_t values = TEXT_ROWS * model->family->text_width(model);
    float *text = calloc((size_t)values, sizeof *text);
    WANT(text != NULL);
    for (int64_t i = 0; i < values; i++)
        text[i] = (float)(hash(i, 0, 0) >> 8) / 8388608.0f - 1.0f;
    OK(lt_mesh_open(group, spec, &mesh));
    OK(lt_engine_open(&lt_backend_cpu, 0, 1, &mesh, (size_t)1 << 26, (size_t)1 << 28, &engine));
    OK(lt_clip_new(&plan, clip));
    lt_clip_noise(&plan, clip);
    OK(lt_levels_make(model, &plan, 0, &levels));
    OK(model->family->dit_open(model, &engine, plan.dtype, levels.timesteps,
                               levels.timestep_count));
    OK(lt_denoise(model, &engine, &plan, &levels, text, TEXT_ROWS, clip, NULL, NULL));
    model->family->dit_close(model);
    lt_levels_free(&levels);
    lt_engine_close(&engine);
    lt_mesh_close(&mesh);
    free(text);
}

static double clips_differ(const lt_clip *a, const lt_clip *b)
{
    double worst = 0;
    for (int s = 0; s < a->count; s++)
        worst = worse(worst, distance(a->data[s], b->data[s], a->elements[s]));
    return worst;
}

static const struct {
    const char *mesh;
    double tol; /* 0: the same bits as alone */
} cases[] = {
    {"win=2", 0},           {"cfg=2", 0},       {"win=2,cfg=2", 0},
    {"win=3", 0},           {"cfg=2,uly=2", 0}, /* Ulysses alone changes no sum */
    {"win=2,ring=2", 1e-5},                     /* measured 1.3e-7: merged sums, two evaluations */
};

static void idle_ranks_follow(void **state)
{
    (void)state;
    lt_clip alone;
    lt_group *self = group_of_one();
    denoise_on(self, &(lt_mesh_spec){{1, 1, 1, 1, 1}}, &alone);
    OK(lt_barrier(world));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_mesh_spec spec;
        lt_clip clip;
        lt_group *group = mesh_group(cases[i].mesh, &spec);
        if (group != NULL) {
            denoise_on(group, &spec, &clip);
            const double off = clips_differ(&clip, &alone);
            want(off <= cases[i].tol, cases[i].mesh, "latents", off, cases[i].tol);
            for (int k = 0; k < clip.count; k++)
                same_on_all(group, cases[i].mesh, "latents on all ranks (bits)", clip.data[k],
                            clip.elements[k]);
            lt_clip_free(&clip);
        }
        lt_group_free(&group);
        OK(lt_barrier(world));
    }
    lt_clip_free(&alone);
    lt_group_free(&self);
}

int main(void)
{
    const int failed_open = ranks_open();
    if (failed_open != 0)
        return failed_open;
    OK(lt_model_open(LT_SOURCE_DIR "/tests/parity/nano", &model));
    const struct CMUnitTest tests[] = {cmocka_unit_test(idle_ranks_follow)};
    const int failed = cmocka_run_group_tests_name("denoise_ranks", tests, NULL, NULL);
    lt_model_close(&model);
    ranks_close();
    return failed;
}
