/* estimate_copies.c - memory of what waits for the disk while a run denoises. */
#include "run/denoise/denoise.h"
#include "run/estimate.h"

/* On rank 0 what the groups own whose first rank does not see RUN: it comes here to be written. */
static lt_status remote_bytes(const lt_estimate_of *of, const lt_plan *plan, size_t *out)
{
    const lt_mesh *mesh = of->mesh[LT_PHASE_DIT];
    lt_holding holding;
    *out = 0;
    if (of->sees == NULL || lt_group_rank(mesh->world) != 0)
        return LT_OK;
    LT_TRY(lt_denoise_holding(of->model, plan, mesh, &holding));
    for (int g = 0; g < holding.groups; g++)
        for (int s = 0; !of->sees[holding.answers[g]] && s < plan->stream_count; s++) {
            const lt_stream *stream = &plan->stream[s];
            *out += (size_t)(lt_stream_outer(stream) * holding.own[g][s].count *
                             lt_stream_inner(stream)) *
                    sizeof(float);
        }
    lt_holding_free(&holding);
    return LT_OK;
}

lt_status lt_estimate_copies(const lt_estimate_of *of, const lt_plan *plan, int timesteps,
                             size_t clip, size_t *out)
{
    const lt_mesh *mesh = of->mesh[LT_PHASE_DIT];
    const lt_family *family = of->model->family;
    size_t bytes = clip;
    *out = 0;
    if (!of->keeps_states)
        return LT_OK;
    LT_TRY(remote_bytes(of, plan, out));
    for (int axis = 0; axis < LT_AXIS_COUNT; axis++)
        if (axis != LT_AXIS_WIN && mesh->at[axis] != 0)
            bytes = 0;
    if (lt_group_rank(mesh->world) == 0 && family->tables_bytes != NULL)
        bytes += family->tables_bytes(of->model, plan->dtype, timesteps);
    *out += bytes;
    return LT_OK;
}
