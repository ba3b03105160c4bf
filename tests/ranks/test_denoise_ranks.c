/* test_denoise_ranks.c - the denoising loop where win and cfg have nothing to do.
 * Goal: a mesh with win or cfg above 1 runs a clip of one window: its further ranks get the
 * velocities, so all ranks end with the same latents, bit for bit those of the mesh without these
 * axes. Method: two steps of the nano model from noise; rank 0's latents are sent to all. Ranks: as
 * launched; meshes with more are left out. Needs: tests/parity/nano. */
#include "tests/support/denoise.h"

#include <math.h>
#include <stdlib.h>

enum { STEPS = 3 };

static lt_model *model;

static void denoise_spec(lt_group *group, const lt_mesh_spec *spec, lt_clip *clip)
{
    const lt_plan plan =
        denoise_plan(model, spec, STEPS, (lt_shape){.frames = 22, .width = 64, .height = 32},
                     (lt_windows_asked){0});
    *clip = (lt_clip){0};
    denoise_on(model, group, &plan, &lt_backend_cpu, 0, NULL, clip);
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
    denoise_spec(self, &(lt_mesh_spec){{1, 1, 1, 1, 1}}, &alone);
    OK(lt_barrier(world));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_mesh_spec spec;
        lt_clip clip;
        lt_group *group = mesh_group(cases[i].mesh, &spec);
        if (group != NULL) {
            denoise_spec(group, &spec, &clip);
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
