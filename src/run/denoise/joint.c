/* joint.c - all windows at every step, fused; the modes `windows` and `single`, and the second pass
 * of `refine`.
 *
 * For each step, on a rank:
 *
 *     post what comes of other groups' windows
 *     for each window of mine, those that others wait for first:
 *         latents -> forward -> velocities, sent to whom they concern
 *     wait; fuse in ascending order of windows; one solver step on all that I hold
 *     agree
 *
 * A rank holds the range of the clip that its windows reach in any step (dithered windows move),
 * and takes the solver's step on all of it, also where a neighbour does the same: so no latent is
 * ever sent before the end. One window is the plain loop: no copy, no fusion, no message. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "parallel/shard.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/op_record.h"
#include "run/denoise/loop.h"

typedef struct joint {
    lt_loop *loop;
    const lt_pass *pass;
    int groups, group;       /* of `win`; mine */
    lt_window_set set;       /* of the step */
    const lt_held *held;     /* [groups] */
    lt_clip local, velocity; /* local: the caller's */
    lt_sampler *sampler[LT_STREAMS_MAX];
    /* one window's latents, and the velocities of each of mine: [most][LT_STREAMS_MAX] */
    float *latent[LT_STREAMS_MAX], *(*mine)[LT_STREAMS_MAX];
    int64_t most, *order;
    float *anchors, *anchors_seen; /* [C, all, h, w], [C, seen, h, w] */
} joint;

static int is_stepped(const joint *j, int stream)
{
    return j->loop->given == NULL || j->loop->given->data[stream] == NULL;
}

static lt_status set_of(joint *j, int step)
{
    lt_window_set_free(&j->set);
    LT_TRY(lt_window_set_new(j->loop->plan, step, j->pass->evaluations, &j->set));
    return LT_OK;
}

/* How many windows of mine one step can have. */
static lt_status find_most(joint *j)
{
    const int steps = j->loop->plan->windowing.dither ? j->pass->evaluations : 1;
    for (int i = 0; i < steps; i++) {
        LT_TRY(set_of(j, i));
        const lt_range run = lt_windowing_run(lt_window_set_count(&j->set), j->groups, j->group);
        j->most = run.count > j->most ? run.count : j->most;
    }
    return LT_OK;
}

static int is_plain(const joint *j) { return lt_window_set_count(&j->set) == 1; }

/* The largest box of a stream in this layout. Layouts of all steps have windows of one length, so
 * the first step's does for all. */
static int64_t largest_box(const joint *j, int stream)
{
    int64_t most = 0;
    for (int64_t t = 0; t < lt_window_set_count(&j->set); t++) {
        const lt_box box = lt_window_set_box(&j->set, stream, t);
        const int64_t n = lt_box_elements(&j->loop->plan->stream[stream], &box);
        most = n > most ? n : most;
    }
    return most;
}

static lt_status buffers_new(joint *j)
{
    const lt_plan *plan = j->loop->plan;
    j->order = calloc((size_t)j->most + 1, sizeof *j->order);
    j->mine = calloc((size_t)j->most + 1, sizeof *j->mine);
    if (j->order == NULL || j->mine == NULL)
        LT_FAIL(LT_ENOMEM, "windows: no memory for %lld windows", (long long)j->most);
    for (int s = 0; s < plan->stream_count && !is_plain(j) && lt_loop_computes(j->loop); s++) {
        const size_t bytes = (size_t)largest_box(j, s) * sizeof(float);
        int enough = (j->latent[s] = malloc(bytes)) != NULL;
        for (int64_t k = 0; k < j->most; k++)
            enough &= (j->mine[k][s] = calloc(1, bytes)) != NULL;
        if (!enough)
            LT_FAIL(LT_ENOMEM, "windows: no memory for %lld windows of '%s', %zu bytes each",
                    (long long)j->most + 1, plan->stream[s].name, bytes);
    }
    if (plan->windowing.anchors > 0) {
        const lt_stream *video = &plan->stream[0];
        const size_t bytes =
            (size_t)(lt_stream_outer(video) * plan->windowing.anchors * lt_stream_inner(video)) *
            sizeof(float);
        j->anchors = malloc(bytes);
        j->anchors_seen = malloc(bytes);
        if (j->anchors == NULL || j->anchors_seen == NULL)
            LT_FAIL(LT_ENOMEM, "windows: no memory for %d anchors", plan->windowing.anchors);
    }
    return LT_OK;
}

/* What is kept of each step: of what I hold, what no group before me does. */
static void hold_part(joint *j)
{
    lt_state_part *part = &j->loop->part;
    part->plan = j->loop->plan;
    part->clip = &j->local;
    memcpy(part->own, j->loop->holding->own[j->group], sizeof part->own);
}

static lt_status joint_open(joint *j, lt_clip *clip)
{
    const int last = j->pass->evaluations - 1;
    LT_TRY(find_most(j));
    LT_TRY(set_of(j, j->loop->first < last ? j->loop->first : last));
    for (int s = 0; s < clip->count; s++)
        assert(clip->range[s].first == j->held[j->group][s].first &&
               clip->range[s].count == j->held[j->group][s].count);
    LT_TRY(lt_holding_clip(j->loop->holding, j->loop->plan, &j->velocity));
    LT_TRY(buffers_new(j));
    for (int s = 0; s < clip->count; s++)
        if (is_stepped(j, s) && j->local.elements[s] > 0)
            LT_TRY(lt_sampler_open(j->loop->model->family->sampler, j->pass->sigma[s],
                                   j->pass->timestep[s], j->pass->evaluations + 1,
                                   j->local.elements[s], &j->sampler[s]));
    for (int s = 0; s < clip->count; s++)
        if (j->sampler[s] != NULL)
            lt_sampler_go(j->sampler[s], j->loop->first);
    hold_part(j);
    return LT_OK;
}

static void joint_close(joint *j)
{
    for (int s = 0; s < LT_STREAMS_MAX; s++) {
        lt_sampler_close(&j->sampler[s]);
        free(j->latent[s]);
        for (int64_t k = 0; j->mine != NULL && k < j->most; k++)
            free(j->mine[k][s]);
    }
    free(j->mine);
    free(j->order);
    free(j->anchors);
    free(j->anchors_seen);
    lt_clip_free(&j->velocity);
    lt_window_set_free(&j->set);
}

/* ---- anchors ---- */

/* The first group that holds a latent. */
static int holder_of(const joint *j, int64_t latent)
{
    int group = 0;
    while (lt_overlap(j->held[group][0], (lt_range){latent, 1}).count == 0)
        group++;
    return group;
}

/* Every group gets the latents of all anchors as they are now. */
static lt_status share_anchors(joint *j)
{
    const lt_windowing *w = &j->loop->plan->windowing;
    const lt_stream *video = &j->loop->plan->stream[0];
    const int64_t inner = lt_stream_inner(video), held = j->local.range[0].count;
    const size_t bytes = (size_t)inner * sizeof(float);
    for (int i = 0; i < w->anchors; i++) {
        const int holder = holder_of(j, w->anchor[i]);
        const int64_t at = w->anchor[i] - j->local.range[0].first;
        for (int64_t c = 0; c < lt_stream_outer(video); c++) {
            float *to = j->anchors + (c * w->anchors + i) * inner;
            if (holder == j->group)
                memcpy(to, j->local.data[0] + (c * held + at) * inner, bytes);
            LT_TRY(lt_broadcast(j->loop->mesh->axis[LT_AXIS_WIN], holder, to, bytes));
        }
    }
    return LT_OK;
}

/* Those of the anchors that this window does not hold: their latents go to anchors_seen. */
static void see_anchors(joint *j, int64_t tile, int64_t *seen, lt_evaluation *e)
{
    const lt_windowing *w = &j->loop->plan->windowing;
    const lt_stream *video = &j->loop->plan->stream[0];
    const int64_t inner = lt_stream_inner(video);
    const int64_t window = lt_window_set_at(&j->set, tile).window;
    e->anchors = lt_layout_anchors(&j->set.time[0], window, w->anchor, w->anchors, seen);
    e->anchor = seen;
    for (int n = 0; n < e->anchors; n++) {
        int i = 0;
        while (w->anchor[i] != seen[n])
            i++;
        for (int64_t c = 0; c < lt_stream_outer(video); c++)
            memcpy(j->anchors_seen + (c * e->anchors + n) * inner,
                   j->anchors + (c * w->anchors + i) * inner, (size_t)inner * sizeof(float));
    }
    e->forward.anchor_latent = e->anchors > 0 ? j->anchors_seen : NULL;
    e->forward.anchor_timestep = e->forward.timestep[0];
}

/* ---- one step ---- */

static lt_status one_window(joint *j, int step, int64_t tile, float **v)
{
    int64_t seen[LT_ANCHORS_MAX];
    lt_evaluation e = {.set = &j->set, .tile = tile, .step = step};
    const lt_loop *loop = j->loop;
    for (int s = 0; s < loop->plan->stream_count; s++) {
        const lt_clip *from = is_stepped(j, s) ? &j->local : loop->given;
        const lt_box box = lt_window_set_box(&j->set, s, tile);
        e.forward.latent[s] = from->data[s];
        if (!is_plain(j)) {
            lt_box_copy(&loop->plan->stream[s], &box, from->data[s], from->range[s], j->latent[s]);
            e.forward.latent[s] = j->latent[s];
        }
        e.forward.timestep[s] = is_stepped(j, s) ? j->pass->timestep[s][step]
                                                 : loop->model->family->context_timestep[s];
        e.forward.velocity[s] = v[s];
    }
    if (loop->plan->windowing.anchors > 0)
        see_anchors(j, tile, seen, &e);
    return lt_loop_evaluate(j->loop, &e);
}

static void fuse_all(joint *j, const lt_window_exchange *overlap, lt_range run)
{
    for (int64_t t = 0; t < lt_window_set_count(&j->set); t++)
        for (int s = 0; s < j->set.streams; s++) {
            lt_range part = lt_window_set_box(&j->set, s, t).time;
            const float *v = NULL;
            if (t >= run.first && t < run.first + run.count)
                v = j->mine[t - run.first][s];
            else
                v = lt_window_exchange_part(overlap, t, s, &part);
            if (v != NULL && is_stepped(j, s))
                lt_window_set_fuse(&j->set, s, t, part, v, j->velocity.range[s],
                                   j->velocity.data[s]);
        }
}

/* My windows and those of others, to one velocity. Whatever fails here, all that others wait for is
 * sent. */
static lt_status windows_of_step(joint *j, int step, lt_status st)
{
    const lt_range run = lt_windowing_run(lt_window_set_count(&j->set), j->groups, j->group);
    if (is_plain(j)) {
        if (run.count > 0 && st == LT_OK)
            st = one_window(j, step, 0, j->velocity.data);
        return st;
    }
    lt_window_exchange overlap;
    const lt_status begun =
        lt_window_exchange_begin(j->loop->mesh->axis[LT_AXIS_WIN], &j->set, j->held, &overlap);
    if (begun != LT_OK) { /* on all of them */
        lt_window_exchange_end(&overlap);
        return begun;
    }
    lt_window_exchange_order(&overlap, run, j->order);
    for (int64_t i = 0; i < run.count; i++) {
        float **v = j->mine[j->order[i] - run.first];
        lt_progress_window(j->loop->progress, (int)i + 1, (int)run.count);
        if (st == LT_OK)
            st = one_window(j, step, j->order[i], v);
        const lt_status sent = lt_window_exchange_send(&overlap, j->order[i], v);
        st = st == LT_OK ? sent : st;
    }
    const lt_status came = lt_window_exchange_wait(&overlap);
    st = st == LT_OK ? came : st;
    if (st == LT_OK)
        fuse_all(j, &overlap, run);
    lt_window_exchange_end(&overlap);
    return st;
}

/* From the ranks that computed to those further out on cfg, which hold the same latents. */
static lt_status share_velocity(joint *j)
{
    lt_group *cfg = j->loop->mesh->axis[LT_AXIS_CFG];
    for (int s = 0; lt_group_size(cfg) > 1 && s < j->velocity.count; s++)
        if (j->velocity.elements[s] > 0)
            LT_TRY(lt_broadcast(cfg, 0, j->velocity.data[s],
                                (size_t)j->velocity.elements[s] * sizeof(float)));
    return LT_OK;
}

/* Are the windows, or their weights, others than in the step before? */
static int differs_from_last(const joint *j, int step)
{
    const lt_windowing *w = &j->loop->plan->windowing;
    return step > 0 && (w->dither || step == j->pass->evaluations - w->owner_cut_steps);
}

static lt_status one_step(joint *j, int step)
{
    lt_loop *loop = j->loop;
    lt_status st = lt_fault_step(lt_group_rank(loop->mesh->world), loop->done + 1);
    if (differs_from_last(j, step))
        LT_TRY(lt_agree(loop->mesh->world, set_of(j, step)));
    if (loop->plan->windowing.anchors > 0)
        LT_TRY(share_anchors(j));
    if (lt_loop_computes(loop))
        st = windows_of_step(j, step, st);
    const lt_status shared = share_velocity(j);
    LT_TRY(st);
    LT_TRY(shared);
    for (int s = 0; s < j->local.count; s++)
        if (j->sampler[s] != NULL)
            lt_sampler_step(j->sampler[s], j->local.data[s], j->velocity.data[s]);
    return LT_OK;
}

/* Of a latent that this rank holds: what the step before makes of it, x + sigma velocity; sigma is
 * the level that it has come to. */
static void estimate_of(const joint *j, int64_t latent, float sigma, float *out)
{
    const lt_stream *video = &j->loop->plan->stream[0];
    const int64_t inner = lt_stream_inner(video), held = j->local.range[0].count;
    for (int64_t c = 0; c < lt_stream_outer(video); c++) {
        const int64_t at = (c * held + latent - j->local.range[0].first) * inner;
        for (int64_t i = 0; i < inner; i++)
            out[c * inner + i] = j->local.data[0][at + i] + sigma * j->velocity.data[0][at + i];
    }
}

static lt_status preview(joint *j, int step)
{
    lt_loop *loop = j->loop;
    size_t bytes = 0;
    if (!lt_preview_is_due(loop->preview, loop->done))
        return LT_OK;
    lt_status st = lt_agree(loop->mesh->world, lt_preview_begin(loop->preview, loop->plan));
    for (int k = 0; st == LT_OK && k < lt_preview_moments(loop->preview); k++) {
        const int64_t latent = lt_preview_latent(loop->preview, k);
        const int holder = holder_of(j, latent);
        float *room = lt_preview_room(loop->preview, &bytes);
        if (holder == j->group)
            estimate_of(j, latent, j->pass->sigma[0][step + 1], room);
        st = lt_broadcast(loop->mesh->axis[LT_AXIS_WIN], holder, room, bytes);
        if (st == LT_OK)
            lt_preview_show(loop->preview, k);
    }
    lt_preview_end(loop->preview, loop->done);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_denoise_joint(lt_loop *loop, const lt_pass *pass, lt_clip *clip)
{
    joint j = {.loop = loop,
               .pass = pass,
               .groups = lt_group_size(loop->mesh->axis[LT_AXIS_WIN]),
               .group = lt_group_rank(loop->mesh->axis[LT_AXIS_WIN]),
               .held = loop->holding->held,
               .local = *clip};
    lt_status st = lt_agree(loop->mesh->world, joint_open(&j, clip));
    if (st == LT_OK)
        lt_progress_weight(loop->progress, (double)lt_window_set_cells(&j.set));
    for (int i = loop->first; i < pass->evaluations && st == LT_OK; i++) {
        const double began = lt_seconds();
        lt_operation_step(loop->done + 1, 0);
        loop->part.stays = !loop->goes_on && i + 1 == pass->evaluations;
        st = lt_loop_step_end(loop, one_step(&j, i), began);
        if (st == LT_OK)
            st = preview(&j, i);
    }
    if (st == LT_OK) /* else a line is to say where it was */
        lt_operation_step(0, 0);
    joint_close(&j);
    LT_TRY(st);
    return LT_OK;
}
