/* denoise.h - what tests of the denoising loop share: a run of it on the ranks of a group.
 * For the one file of each program under mpirun (ranks.h). */
#ifndef LT_TEST_DENOISE_H
#define LT_TEST_DENOISE_H

#include <xxhash.h>

#include "run/denoise/denoise.h"
#include "tests/support/ranks.h"

enum { DENOISE_TEXT_ROWS = 5 };

/* A plan of this model; streams and windowing follow from what the caller has set. */
static inline lt_plan denoise_plan(const lt_model *model, const lt_mesh_spec *spec, int steps,
                                   lt_shape shape, lt_windows_asked asked)
{
    lt_plan plan = {.mesh = *spec, .steps = steps, .seed = 11, .dtype = LT_F32, .shape = shape};
    plan.evaluations = model->family->evaluations(steps);
    plan.asked = asked;
    OK(lt_plan_streams(&plan, model));
    return plan;
}

/* From the plan's noise, or from what clip holds if it holds something, to data: each rank moves
 * what it holds, then the whole clip is put together. The caller frees *clip. settings: of what
 * keeps the steps, whose counts come back; NULL: nothing does. Collective on the group. Returns
 * lt_denoise's. */
static inline lt_status denoise_kept(lt_model *model, lt_group *group, const lt_plan *plan,
                                     const lt_backend *backend, int deterministic,
                                     const lt_clip *coarse, const lt_state_settings *settings,
                                     lt_state_counts *counts, lt_clip *clip)
{
    lt_run_state *state = NULL;
    lt_mesh mesh;
    lt_engine engine;
    lt_levels levels;
    const int has_text = model->family->text_width != NULL;
    const int64_t values = has_text ? DENOISE_TEXT_ROWS * model->family->text_width(model) : 0;
    float *text = calloc((size_t)values + 1, sizeof *text);
    WANT(text != NULL);
    for (int64_t i = 0; i < values; i++)
        text[i] = (float)(hash(i, 0, 0) >> 8) / 8388608.0f - 1.0f;
    OK(lt_mesh_open(group, &plan->mesh, &mesh));
    mesh.deterministic = deterministic;
    OK(lt_engine_open(backend, 0, 1, &mesh, (size_t)1 << 26, (size_t)1 << 28, &engine));
    engine.resident_layers = plan->resident_layers;
    engine.layers_at_peers = plan->layers_at_peers;
    if (clip->count == 0) {
        OK(lt_clip_new(plan, clip));
        lt_clip_noise(plan, clip);
    }
    lt_holding holding;
    lt_clip part;
    OK(lt_denoise_holding(model, plan, &mesh, &holding));
    OK(lt_holding_clip(&holding, plan, &part));
    lt_clip_copy(plan, clip, &part);
    OK(lt_levels_make(model, plan, &levels));
    OK(model->family->dit_open(model, &engine, plan->dtype, levels.timesteps,
                               levels.timestep_count));
    if (settings != NULL)
        OK(lt_run_state_open(&mesh, settings, &state));
    const lt_text text_of = {0, text, DENOISE_TEXT_ROWS};
    const lt_texts texts = {&text_of, has_text, 0};
    const lt_denoise_in in = {.model = model,
                              .mesh = &mesh,
                              .plan = plan,
                              .holding = &holding,
                              .levels = &levels,
                              .texts = &texts,
                              .coarse = coarse,
                              .state = state};
    const lt_status st = lt_denoise(&in, &engine, &part);
    if (state != NULL && st == LT_OK)
        OK(lt_run_state_finish(state, 20));
    if (state != NULL)
        *counts = lt_run_state_counts(state);
    lt_run_state_close(&state);
    for (int s = 0; s < clip->count; s++) /* so that nothing of what was there is taken for it */
        memset(clip->data[s], 0xff, (size_t)clip->elements[s] * sizeof(float));
    OK(lt_holding_gather(&holding, plan, &mesh, &part, clip));
    lt_clip_free(&part);
    lt_holding_free(&holding);
    model->family->dit_close(model);
    lt_levels_free(&levels);
    lt_engine_close(&engine);
    lt_mesh_close(&mesh);
    free(text);
    return st;
}

static inline void denoise_on(lt_model *model, lt_group *group, const lt_plan *plan,
                              const lt_backend *backend, int deterministic, const lt_clip *coarse,
                              lt_clip *clip)
{
    OK(denoise_kept(model, group, plan, backend, deterministic, coarse, NULL, NULL, clip));
}

static inline XXH64_hash_t clip_hash(const lt_clip *clip)
{
    XXH64_hash_t h = 0;
    for (int s = 0; s < clip->count; s++)
        h = XXH64(clip->data[s], (size_t)clip->elements[s] * sizeof(float), h);
    return h;
}

#endif
