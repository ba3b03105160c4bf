/* held.c - which ranks hold which latents of a clip. */
#include "run/denoise/held.h"

#include <stdlib.h>
#include <string.h>

#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "run/denoise/window_set.h"

static lt_range hull(lt_range a, lt_range b)
{
    if (a.count == 0 || b.count == 0)
        return a.count == 0 ? b : a;
    const int64_t first = a.first < b.first ? a.first : b.first;
    const int64_t end_a = a.first + a.count, end_b = b.first + b.count;
    return (lt_range){first, (end_a > end_b ? end_a : end_b) - first};
}

/* What the windows of one step add to it. */
static lt_status add_step(const lt_plan *plan, int step, int evaluations, lt_holding *h)
{
    lt_window_set set;
    LT_TRY(lt_window_set_new(plan, step, evaluations, &set));
    for (int g = 0; g < h->groups; g++) {
        const lt_range run = lt_windowing_run(lt_window_set_count(&set), h->groups, g);
        for (int s = 0; s < set.streams; s++)
            h->held[g][s] = hull(h->held[g][s], lt_window_set_held(&set, s, run));
    }
    lt_window_set_free(&set);
    return LT_OK;
}

/* The positions of a group that no group before it holds. */
static lt_range owned(const lt_holding *h, int group, int stream)
{
    const lt_range mine = h->held[group][stream];
    int64_t first = mine.first;
    for (int g = 0; g < group; g++) {
        const lt_range before = h->held[g][stream];
        const int64_t end = before.first + before.count;
        first = before.count > 0 && end > first ? end : first;
    }
    const int64_t count = mine.first + mine.count - first;
    return (lt_range){first, mine.count > 0 && count > 0 ? count : 0};
}

static lt_status fill(const lt_plan *plan, int evaluations, lt_holding *h)
{
    const lt_windowing *w = &plan->windowing;
    const int steps = w->dither && w->mode != LT_MODE_EXTEND ? evaluations : 1;
    if (w->mode == LT_MODE_EXTEND)
        for (int s = 0; s < plan->stream_count; s++)
            h->held[0][s] = (lt_range){0, lt_stream_units(&plan->stream[s])};
    else
        for (int i = 0; i < steps; i++)
            LT_TRY(add_step(plan, i, evaluations, h));
    for (int g = 0; g < h->groups; g++)
        for (int s = 0; s < plan->stream_count; s++)
            h->own[g][s] = owned(h, g, s);
    return LT_OK;
}

lt_status lt_holding_new(const lt_plan *plan, int evaluations, const lt_mesh *mesh, lt_holding *out)
{
    const int groups = lt_group_size(mesh->axis[LT_AXIS_WIN]);
    const int each = lt_group_size(mesh->world) / groups; /* win is the outermost axis */
    *out = (lt_holding){.groups = groups, .group = lt_group_rank(mesh->axis[LT_AXIS_WIN])};
    out->held = calloc((size_t)groups, sizeof *out->held);
    out->own = calloc((size_t)groups, sizeof *out->own);
    out->answers = calloc((size_t)groups, sizeof *out->answers);
    lt_status st = LT_OK;
    if (out->held == NULL || out->own == NULL || out->answers == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "latents: no memory for %d groups", groups);
    if (st == LT_OK)
        st = fill(plan, evaluations, out);
    for (int g = 0; st == LT_OK && g < groups; g++)
        out->answers[g] = mesh->rank_at[g * each];
    if (st != LT_OK)
        lt_holding_free(out);
    LT_TRY(st);
    return LT_OK;
}

void lt_holding_free(lt_holding *holding)
{
    free(holding->held);
    free(holding->own);
    free(holding->answers);
    *holding = (lt_holding){0};
}

lt_status lt_holding_clip(const lt_holding *holding, const lt_plan *plan, lt_clip *out)
{
    return lt_clip_new_ranges(plan, holding->held[holding->group], out);
}

static lt_status gather_from(const lt_holding *h, int group, int stream, const lt_plan *plan,
                             const lt_mesh *mesh, const lt_clip *part, lt_clip *whole)
{
    const lt_stream *s = &plan->stream[stream];
    const lt_range what = h->own[group][stream];
    const size_t bytes =
        (size_t)(lt_stream_outer(s) * what.count * lt_stream_inner(s)) * sizeof(float);
    float *packed = malloc(bytes + 1);
    lt_status st = LT_OK;
    if (packed == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "latents: no memory for %zu bytes", bytes);
    LT_TRY_GOTO(lt_agree(mesh->world, st), st, done);
    if (h->group == group)
        lt_stream_copy(s, what, part->data[stream], part->range[stream], packed, what);
    LT_TRY_GOTO(lt_broadcast(mesh->axis[LT_AXIS_WIN], group, packed, bytes), st, done);
    lt_stream_copy(s, what, packed, what, whole->data[stream], whole->range[stream]);
done:
    free(packed);
    return st;
}

lt_status lt_holding_gather(const lt_holding *holding, const lt_plan *plan, const lt_mesh *mesh,
                            const lt_clip *part, lt_clip *whole)
{
    for (int g = 0; g < holding->groups; g++)
        for (int s = 0; s < whole->count; s++)
            if (holding->own[g][s].count > 0)
                LT_TRY(gather_from(holding, g, s, plan, mesh, part, whole));
    return LT_OK;
}
