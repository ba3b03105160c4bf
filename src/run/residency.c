/* residency.c - which of a model's networks are in memory. */
#include "run/residency.h"

#include <assert.h>

#include "model/files/same_reads.h"
#include "parallel/transport/agree.h"

void lt_residency_open(lt_residency *r, lt_group *world, lt_model *model, const lt_engine *engine,
                       const lt_mesh *const mesh[LT_PHASES])
{
    *r = (lt_residency){.world = world, .model = model};
    for (int i = 0; i < LT_PHASES; i++) {
        r->engine[i] = *engine;
        r->engine[i].mesh = mesh[i];
    }
}

static lt_status open_phase(lt_residency *r, lt_phase phase, const lt_plan *plan,
                            const lt_levels *levels)
{
    const lt_family *family = r->model->family;
    lt_engine *engine = &r->engine[phase];
    if (engine->mesh == NULL)
        return LT_OK;
    engine->resident_layers =
        phase == LT_PHASE_TEXT ? plan->resident_text_layers : plan->resident_layers;
    engine->layers_at_peers = phase == LT_PHASE_DIT && plan->layers_at_peers;
    if (phase == LT_PHASE_TEXT)
        return family->text_open(r->model, engine, plan->dtype);
    if (phase == LT_PHASE_DIT) {
        assert(levels != NULL);
        return family->dit_open(r->model, engine, plan->dtype, levels->timesteps,
                                levels->timestep_count);
    }
    return family->decode_open(r->model, engine);
}

/* The arenas are stacks, so what was opened last is closed first. */
static void drop_all(lt_residency *r)
{
    const lt_family *family = r->model->family;
    while (r->count > 0) {
        const lt_phase phase = r->resident[--r->count];
        if (phase == LT_PHASE_TEXT)
            family->text_close(r->model);
        else if (phase == LT_PHASE_DIT)
            family->dit_close(r->model);
        else
            family->decode_close(r->model);
    }
}

lt_status lt_residency_need(lt_residency *r, lt_phase phase, const lt_plan *plan,
                            const lt_levels *levels)
{
    assert(phase < LT_PHASES);
    for (int i = 0; i < r->count; i++)
        if (r->resident[i] == phase)
            return LT_OK;
    const int beside = phase == LT_PHASE_DECODE && plan->decoding == LT_DECODING_BESIDE &&
                       r->count == 1 && r->resident[0] == LT_PHASE_DIT;
    if (!beside)
        drop_all(r);
    r->resident[r->count++] = phase; /* a part of it may be open after an error */
    lt_status st = lt_agree(r->world, open_phase(r, phase, plan, levels));
    if (st == LT_OK)
        st = lt_same_reads_check(r->world);
    if (st != LT_OK)
        lt_engine_cancel(&r->engine[phase]);
    LT_TRY(st);
    return LT_OK;
}

void lt_residency_close(lt_residency *r)
{
    if (r->model != NULL)
        drop_all(r);
    *r = (lt_residency){0};
}
