/* test_windows.c - every mode of the denoising loop, on every number of groups.
 * Goal: latents have the same bits for win = 1 to 4, with cfg beside it, and on `far`, in all
 * modes; the modes differ from each other; the loop has the oracle's figures (spec/long-video.md
 * 11). Method: the nano model, three steps; the oracle, 50 steps on columns that work out the
 * loop's linear map. Ranks: as launched; meshes with more are left out. Needs: tests/parity/nano.
 * */
#include "tests/support/denoise.h"
#include "tests/support/denoise_modes.h"
#include "tests/support/oracle_grade.h"

#include <math.h>

#include "model/oracle_family.h"

/* ---- the nano model ---- */

enum { STEPS = 3 };

static const char *const meshes[] = {"win=2", "win=3", "win=4", "win=2,cfg=2", "cfg=2"};

static lt_model *nano;

static XXH64_hash_t nano_on(lt_group *group, const lt_mesh_spec *spec, const lt_backend *backend,
                            int mode)
{
    const lt_plan plan =
        denoise_plan(nano, spec, STEPS, denoise_modes[mode].shape, denoise_modes[mode].asked);
    lt_clip clip = {0};
    denoise_on(nano, group, &plan, backend, 0, NULL, &clip);
    for (int s = 0; s < clip.count; s++)
        want(lt_first_not_finite(clip.data[s], LT_F32, (size_t)clip.elements[s]) < 0,
             denoise_modes[mode].name, "finite", 0, 0);
    const XXH64_hash_t h = clip_hash(&clip);
    lt_clip_free(&clip);
    return h;
}

static void same_bits_on_all_meshes(void **state)
{
    (void)state;
    XXH64_hash_t alone[DENOISE_MODES];
    static const lt_mesh_spec one = {{1, 1, 1, 1, 1}};
    lt_group *self = group_of_one();
    for (int m = 0; m < DENOISE_MODES; m++) {
        alone[m] = nano_on(self, &one, &lt_backend_cpu, m);
        print_message("%-26s %016llx\n", denoise_modes[m].name, (unsigned long long)alone[m]);
        for (int before = 0; before < m; before++) /* shapes that differ differ anyway */
            want(alone[m] != alone[before], denoise_modes[m].name, "differs from an earlier mode",
                 m, before);
        const XXH64_hash_t far = nano_on(self, &one, &lt_backend_far, m);
        want(far == alone[m], denoise_modes[m].name, "bits on far", 0, 0);
    }
    lt_group_free(&self);
    OK(lt_barrier(world));
    for (size_t i = 0; i < sizeof meshes / sizeof *meshes; i++) {
        lt_mesh_spec spec;
        lt_group *group = mesh_group(meshes[i], &spec);
        for (int m = 0; group != NULL && m < DENOISE_MODES; m++) {
            const XXH64_hash_t h = nano_on(group, &spec, &lt_backend_cpu, m);
            if (h != alone[m])
                stop(meshes[i], denoise_modes[m].name, __LINE__);
        }
        lt_group_free(&group);
        OK(lt_barrier(world));
    }
}

/* ---- the oracle ---- */

/* clang-format off */
enum { SINGLE = LT_MODE_SINGLE, WINDOWS = LT_MODE_WINDOWS, EXTEND = LT_MODE_EXTEND,
       REFINE = LT_MODE_REFINE };
enum { FLAT = LT_FUSE_FLAT, TRAP = LT_FUSE_TRAPEZOID, HANN = LT_FUSE_HANN,
       CUT = LT_FUSE_OWNER_CUT };
/* spec 11's second table, and of the first the rows that do not depend on the layout; -1: not
 * printed there. "no overlap" is a fault that a grade must see. */
static const struct {
    const char *name;
    int mode, fuse;
    int64_t overlap;
    int dither, anchors;
    double from;
    oracle_figures wanted;
} grades[] = {
    {"full attention", SINGLE,  FLAT, 0, 0, 0, 1,  {.00212, 0.758, .921, .28, .24, .22}},
    {"no overlap",     WINDOWS, FLAT, 0, 0, 0, 1,  {.0636,  2.03,  .691, .18, .00, .00}},
    {"O=4 flat",       WINDOWS, FLAT, 4, 0, 0, 1,  {.0497,  1.504, .795, -1,  .01, .00}},
    {"O=4 trapezoid",  WINDOWS, TRAP, 4, 0, 0, 1,  {.0471,  0.965, .849, -1,  .01, .00}},
    {"O=4 hann",       WINDOWS, HANN, 4, 0, 0, 1,  {.0471,  0.819, .868, -1,  .01, .00}},
    {"O=4 owner-cut",  WINDOWS, CUT,  4, 0, 0, 1,  {.0473,  0.869, .872, -1,  .01, .00}},
    {"O=8 flat",       WINDOWS, FLAT, 8, 0, 0, 1,  {.0524,  1.490, .727, -1,  -1,  .00}},
    {"O=8 trapezoid",  WINDOWS, TRAP, 8, 0, 0, 1,  {.0464,  0.893, .848, -1,  -1,  .00}},
    {"O=8 hann",       WINDOWS, HANN, 8, 0, 0, 1,  {.0463,  0.789, .890, -1,  -1,  .00}},
    {"O=8 owner-cut",  WINDOWS, CUT,  8, 0, 0, 1,  {.0467,  0.795, .899, -1,  -1,  .00}},
    {"dithered O=4",   WINDOWS, TRAP, 4, 1, 0, 1,  {.0465,  0.90,  .83,  .19, .00, .00}},
    {"extend O=1",     EXTEND,  FLAT, 1, 0, 0, 1,  {.0319,  0.824, .905, -1,  .07, .01}},
    {"extend O=4",     EXTEND,  FLAT, 4, 0, 0, 1,  {.0300,  0.816, .895, -1,  .07, .01}},
    {"extend O=8",     EXTEND,  FLAT, 8, 0, 0, 1,  {.0248,  0.813, .891, -1,  .09, .01}},
    {"anchor 0",       EXTEND,  FLAT, 4, 0, 1, 1,  {.0171,  0.82,  -1,   -1,  -1,  .10}},
    {"3 anchors",      EXTEND,  FLAT, 4, 0, 3, 1,  {.0068,  0.82,  -1,   -1,  -1,  .21}},
    {"refine from .9", REFINE,  TRAP, 4, 0, 0, .9, {.0352,  0.960, -1,   -1,  -1,  -1}},
    {"refine from .8", REFINE,  TRAP, 4, 0, 0, .8, {.0155,  0.943, -1,   -1,  -1,  -1}},
    {"refine from .6", REFINE,  TRAP, 4, 0, 0, .6, {.0026,  0.901, -1,   -1,  -1,  -1}},
    {"refine from .4", REFINE,  TRAP, 4, 0, 0, .4, {.0013,  0.863, -1,   -1,  -1,  -1}},
};
/* clang-format on */
enum { GRADES = sizeof grades / sizeof *grades, ORACLE_STEPS = 50 };

static void oracle_on(lt_model *oracle, lt_group *group, const lt_mesh_spec *spec, int i,
                      lt_clip *clip)
{
    static const int64_t anchors[] = {0, 10, 20};
    const lt_shape shape = {.frames = ORACLE_FRAMES, .width = 1, .height = ORACLE_COLUMNS};
    lt_windows_asked asked = {.mode = (lt_mode)grades[i].mode,
                              .window = 21,
                              .overlap = grades[i].overlap,
                              .fuse = (lt_fuse_kind)grades[i].fuse,
                              .dither = grades[i].dither,
                              .anchors = grades[i].anchors,
                              .refine_from = grades[i].from,
                              .coarse_width = 1,
                              .coarse_height = ORACLE_COLUMNS,
                              .tile_width = 1,
                              .tile_height = ORACLE_COLUMNS};
    memcpy(asked.anchor, anchors, sizeof anchors);
    const lt_plan plan = denoise_plan(oracle, spec, ORACLE_STEPS, shape, asked);
    lt_clip coarse = {0};
    OK(lt_clip_new(&plan, clip));
    oracle_begin(clip->data[0]);
    if (asked.mode == LT_MODE_REFINE) {
        OK(lt_clip_new(&plan, &coarse));
        oracle_true_clip(coarse.data[0]);
    }
    denoise_on(oracle, group, &plan, &lt_backend_cpu, 0, coarse.count > 0 ? &coarse : NULL, clip);
    lt_clip_free(&coarse);
}

static void the_oracles_table(void **state)
{
    (void)state;
    XXH64_hash_t alone[GRADES];
    static const lt_mesh_spec one = {{1, 1, 1, 1, 1}};
    lt_model *oracle = NULL;
    int wrong = 0;
    OK(lt_family_oracle.open("oracle:", &oracle));
    lt_group *self = group_of_one();
    for (int i = 0; i < GRADES; i++) {
        lt_clip clip = {0};
        oracle_on(oracle, self, &one, i, &clip);
        alone[i] = clip_hash(&clip);
        if (lt_group_rank(world) == 0) {
            const oracle_figures found = oracle_grade(clip.data[0]);
            wrong += oracle_is_off(grades[i].name, &found, &grades[i].wanted);
        }
        lt_clip_free(&clip);
    }
    WANT(wrong == 0);
    lt_group_free(&self);
    OK(lt_barrier(world));
    for (size_t m = 0; m < sizeof meshes / sizeof *meshes; m++) {
        lt_mesh_spec spec;
        lt_group *group = mesh_group(meshes[m], &spec);
        for (int i = 0; group != NULL && i < GRADES; i++) {
            lt_clip clip = {0};
            oracle_on(oracle, group, &spec, i, &clip);
            if (clip_hash(&clip) != alone[i])
                stop(meshes[m], grades[i].name, __LINE__);
            lt_clip_free(&clip);
        }
        lt_group_free(&group);
        OK(lt_barrier(world));
    }
    lt_model_close(&oracle);
}

int main(void)
{
    const int failed_open = ranks_open();
    if (failed_open != 0)
        return failed_open;
    OK(lt_model_open(LT_SOURCE_DIR "/tests/parity/nano", &nano));
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits_on_all_meshes),
                                       cmocka_unit_test(the_oracles_table)};
    const int failed = cmocka_run_group_tests_name("windows", tests, NULL, NULL);
    lt_model_close(&nano);
    ranks_close();
    return failed;
}
