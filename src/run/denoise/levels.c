/* levels.c - the noise levels of a run, and all its timesteps.
 * Streams step together by index (H3 zips its two schedules); each has its own sigmas. The tables
 * that depend on timesteps alone are made once, for the sorted union of all of them. */
#include "run/denoise/levels.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/sigmas.h"

static int has_context(const lt_plan *plan)
{
    return plan->windowing.mode == LT_MODE_EXTEND || plan->windowing.mode == LT_MODE_REFINE;
}

/* At most so many. */
static int timesteps_most(const lt_model *model, const lt_plan *plan)
{
    const int evaluations = model->family->evaluations(plan->steps);
    return plan->stream_count * (evaluations + has_context(plan)) +
           (plan->windowing.mode == LT_MODE_REFINE ? evaluations + 1 : 0);
}

static float *floats(int count) { return calloc((size_t)count, sizeof(float)); }

static lt_status arrays_new(const lt_model *model, const lt_plan *plan, lt_levels *out)
{
    const int n = out->evaluations;
    out->timesteps = floats(timesteps_most(model, plan));
    out->refine_sigma = floats(n + 2);
    out->refine_timestep = floats(n + 1);
    int enough =
        out->timesteps != NULL && out->refine_sigma != NULL && out->refine_timestep != NULL;
    for (int s = 0; s < out->count; s++) {
        out->sigma[s] = floats(n + 1);
        out->timestep[s] = floats(n);
        enough &= out->sigma[s] != NULL && out->timestep[s] != NULL;
    }
    if (!enough)
        LT_FAIL(LT_ENOMEM, "sigmas: no memory for %d steps", plan->steps);
    return LT_OK;
}

static void also(lt_levels *l, const float *timesteps, int count)
{
    l->timestep_count =
        lt_timesteps_union(l->timesteps, l->timestep_count, timesteps, count, l->timesteps);
}

/* --refine-from, then what of the video's grid lies below it. */
static void refine_levels(const lt_model *model, const lt_plan *plan, lt_levels *l)
{
    const float from = plan->windowing.refine_from;
    int n = 0;
    l->refine_sigma[n++] = from;
    for (int i = 0; i <= l->evaluations; i++)
        if (l->sigma[0][i] < from)
            l->refine_sigma[n++] = l->sigma[0][i];
    l->refine_evaluations = n - 1;
    l->refine_timestep[0] = model->family->timestep_of(from);
    for (int i = 1; i < n - 1; i++)
        l->refine_timestep[i] = l->timestep[0][l->evaluations - (n - 1) + i];
    also(l, l->refine_timestep, l->refine_evaluations);
}

static lt_status fill(const lt_model *model, const lt_plan *plan, lt_levels *l)
{
    LT_TRY(arrays_new(model, plan, l));
    for (int s = 0; s < l->count; s++) {
        LT_TRY(model->family->sigmas(model, s, plan->steps, l->sigma[s], l->timestep[s]));
        also(l, l->timestep[s], l->evaluations);
        if (has_context(plan))
            also(l, &model->family->context_timestep[s], 1);
    }
    if (plan->windowing.mode == LT_MODE_REFINE)
        refine_levels(model, plan, l);
    return LT_OK;
}

lt_status lt_levels_make(const lt_model *model, const lt_plan *plan, lt_levels *out)
{
    *out = (lt_levels){.count = plan->stream_count,
                       .evaluations = model->family->evaluations(plan->steps)};
    assert(out->evaluations >= 1);
    const lt_status st = fill(model, plan, out);
    if (st != LT_OK)
        lt_levels_free(out);
    LT_TRY(st);
    return LT_OK;
}

void lt_levels_free(lt_levels *levels)
{
    for (int s = 0; s < levels->count; s++) {
        free(levels->sigma[s]);
        free(levels->timestep[s]);
    }
    free(levels->refine_sigma);
    free(levels->refine_timestep);
    free(levels->timesteps);
    memset(levels, 0, sizeof *levels);
}
