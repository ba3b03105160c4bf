/* denoise.c - the denoising loop over streams and steps.
 *
 * The clip lives on the host in f32 between evaluations. Mode `single`: one window, the whole clip.
 * Each rank holds the whole latents of its window and takes the same solver step on them, so no
 * latent is ever sent; what the ranks share is inside the forward. One window without guidance is
 * one forward: the ranks at win = 0, cfg = 0 compute it and the others get its velocities, so that
 * any mesh runs. Every step ends in an agreement:
 * a rank that failed is known to all before the next collective begins.
 *
 * Streams step together by index (H3 zips its two schedules); each has its own sigmas. The tables
 * that depend on timesteps alone are made once, for the sorted union of all streams' timesteps. */
#include "run/denoise.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/philox.h"
#include "base/stop.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/op_record.h"
#include "scheduler/sigmas.h"

lt_status lt_clip_new(const lt_plan *plan, lt_clip *out)
{
    memset(out, 0, sizeof *out);
    out->count = plan->stream_count;
    for (int s = 0; s < plan->stream_count; s++) {
        int64_t n = 1;
        for (int i = 0; i < plan->stream[s].ndim; i++)
            n *= plan->stream[s].dim[i];
        out->elements[s] = n;
        out->data[s] = calloc((size_t)n, sizeof(float));
        if (out->data[s] == NULL) {
            lt_clip_free(out);
            LT_FAIL(LT_ENOMEM, "latents '%s': no memory for %lld values", plan->stream[s].name,
                    (long long)n);
        }
    }
    return LT_OK;
}

void lt_clip_free(lt_clip *clip)
{
    for (int s = 0; s < LT_STREAMS_MAX; s++) {
        free(clip->data[s]);
        clip->data[s] = NULL;
    }
}

void lt_clip_noise(const lt_plan *plan, lt_clip *clip)
{
    for (int s = 0; s < clip->count; s++) {
        const lt_stream *stream = &plan->stream[s];
        if (stream->is_audio) {
            assert(stream->ndim == 3 && stream->dim[0] == 2);
            lt_noise_audio(plan->seed, LT_STREAM_INITIAL + LT_STREAM_AUDIO, 0, 0, stream->dim[1],
                           stream->dim[2], clip->data[s]);
        } else {
            assert(stream->ndim == 4);
            lt_noise_video(plan->seed, LT_STREAM_INITIAL, 0, 0, stream->dim[0], stream->dim[1],
                           stream->dim[2], stream->dim[3], clip->data[s]);
        }
    }
}

lt_status lt_levels_make(const lt_model *model, const lt_plan *plan, int has_context,
                         lt_levels *out)
{
    const lt_family *family = model->family;
    const int streams = plan->stream_count, evaluations = family->evaluations(plan->steps);
    lt_status st = LT_OK;
    assert(evaluations >= 1);
    /* of each stream its own and its context's */
    *out =
        (lt_levels){.timesteps = calloc((size_t)(evaluations + 1) * (size_t)streams, sizeof(float)),
                    .evaluations = evaluations,
                    .count = streams};
    int enough = out->timesteps != NULL;
    for (int s = 0; s < streams; s++) {
        out->sigma[s] = calloc((size_t)evaluations + 1, sizeof(float));
        out->timestep[s] = calloc((size_t)evaluations, sizeof(float));
        enough &= out->sigma[s] != NULL && out->timestep[s] != NULL;
    }
    if (!enough)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "sigmas: no memory for %d steps", plan->steps);
    for (int s = 0; s < streams && st == LT_OK; s++) {
        st = family->sigmas(model, s, plan->steps, out->sigma[s], out->timestep[s]);
        if (st == LT_OK)
            out->timestep_count = lt_timesteps_union(out->timesteps, out->timestep_count,
                                                     out->timestep[s], evaluations, out->timesteps);
    }
    if (st == LT_OK && has_context)
        out->timestep_count = lt_timesteps_union(out->timesteps, out->timestep_count,
                                                 family->context_timestep, streams, out->timesteps);
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
    free(levels->timesteps);
    memset(levels, 0, sizeof *levels);
}

/* What the loop works with: the clip's text and shape, each stream's sampler, this step's velocity.
 */
typedef struct loop {
    lt_model *model;
    const lt_mesh *mesh;
    const lt_plan *plan;
    const lt_levels *levels;
    lt_clip *clip, velocity;
    lt_sampler *sampler[LT_STREAMS_MAX];
    lt_dit_state *state;
} loop;

static lt_status loop_open(loop *l)
{
    LT_TRY(lt_clip_new(l->plan, &l->velocity));
    for (int s = 0; s < l->clip->count; s++)
        LT_TRY(lt_sampler_open(l->model->family->sampler, l->levels->sigma[s],
                               l->levels->timestep[s], l->levels->evaluations + 1,
                               l->clip->elements[s], &l->sampler[s]));
    return LT_OK;
}

static void loop_close(loop *l)
{
    for (int s = 0; s < LT_STREAMS_MAX; s++)
        lt_sampler_close(&l->sampler[s]);
    lt_clip_free(&l->velocity);
}

static lt_status check_velocity(const lt_plan *plan, const lt_clip *velocity, int step)
{
    for (int s = 0; s < velocity->count; s++) {
        const int64_t at =
            lt_first_not_finite(velocity->data[s], LT_F32, (size_t)velocity->elements[s]);
        if (at >= 0)
            LT_FAIL(LT_EDATA,
                    "step %d, window 0: the velocity of '%s' is not finite (element %lld): the "
                    "step is dropped",
                    step + 1, plan->stream[s].name, (long long)at);
    }
    return LT_OK;
}

/* Is there nothing for ranks further out on win and cfg to do? */
static int has_idle(const lt_mesh *mesh)
{
    return mesh->spec.size[LT_AXIS_WIN] * mesh->spec.size[LT_AXIS_CFG] > 1;
}

static int is_idle(const lt_mesh *mesh)
{
    return mesh->at[LT_AXIS_WIN] > 0 || mesh->at[LT_AXIS_CFG] > 0;
}

/* From the ranks that computed to the others with the same place in ring, uly and tp: over cfg
 * first, then over win. */
static lt_status share_velocity(const lt_mesh *mesh, const lt_clip *velocity)
{
    for (int s = 0; s < velocity->count; s++) {
        const size_t bytes = (size_t)velocity->elements[s] * sizeof(float);
        if (mesh->at[LT_AXIS_WIN] == 0)
            LT_TRY(lt_broadcast(mesh->axis[LT_AXIS_CFG], 0, velocity->data[s], bytes));
        LT_TRY(lt_broadcast(mesh->axis[LT_AXIS_WIN], 0, velocity->data[s], bytes));
    }
    return LT_OK;
}

static lt_status one_step(loop *l, int i)
{
    const lt_mesh *mesh = l->mesh;
    lt_clip *clip = l->clip, *velocity = &l->velocity;
    lt_forward forward = {0};
    for (int s = 0; s < clip->count; s++) {
        forward.latent[s] = clip->data[s];
        forward.timestep[s] = l->levels->timestep[s][i];
        forward.velocity[s] = velocity->data[s];
    }
    lt_status st = lt_fault_step(lt_group_rank(mesh->world), i + 1);
    if (st == LT_OK && !is_idle(mesh))
        st = l->model->family->dit_forward(l->model, l->state, &forward);
    if (has_idle(mesh))
        st = lt_agree(mesh->world, st); /* idle ranks must not wait for what never comes */
    LT_TRY(st);
    LT_TRY(share_velocity(mesh, velocity));
    LT_TRY(check_velocity(l->plan, velocity, i));
    for (int s = 0; s < clip->count; s++)
        lt_sampler_step(l->sampler[s], clip->data[s], velocity->data[s]);
    return LT_OK;
}

static lt_status stop_here(int step, int steps)
{
    if (!lt_stop_asked())
        return LT_OK;
    LT_FAIL(
        LT_ETEMP,
        "stopped by %s after step %d of %d: nothing is kept before the last one, the same command "
        "begins again",
        lt_stop_name(lt_stop_signal()), step, steps);
}

static lt_status all_steps(loop *l, lt_progress *progress, double *seconds_out)
{
    lt_group *world = l->mesh->world;
    const int evaluations = l->levels->evaluations;
    lt_progress_stage(progress, "denoise", "evaluation", evaluations);
    lt_stop_arm(lt_group_rank(world) == 0);
    for (int i = 0; i < evaluations; i++) {
        const double began = lt_seconds();
        lt_operation_step(i + 1, 0);
        lt_status st = one_step(l, i);
        if (st == LT_OK && i + 1 < evaluations)
            st = stop_here(i + 1, evaluations);
        LT_TRY(lt_agree(world, st));
        if (seconds_out != NULL)
            seconds_out[i] = lt_seconds() - began;
        lt_progress_step(progress, i + 1);
    }
    lt_operation_step(0, 0);
    return LT_OK;
}

lt_status lt_denoise(lt_model *model, lt_engine *engine, const lt_plan *plan,
                     const lt_levels *levels, const float *text_rows, int64_t text_count,
                     lt_clip *clip, lt_progress *progress, double *seconds_out)
{
    lt_group *world = engine->mesh->world;
    loop l = {.model = model, .mesh = engine->mesh, .plan = plan, .levels = levels, .clip = clip};
    lt_status st = loop_open(&l);
    if (st == LT_OK)
        st = model->family->dit_begin(model, &(lt_window){.shape = plan->shape}, text_rows,
                                      text_count, &l.state);
    if (st == LT_OK)
        st = lt_fault_step(lt_group_rank(world), -1);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    LT_TRY_GOTO(all_steps(&l, progress, seconds_out), st, done);
done:
    if (st != LT_OK)
        lt_engine_cancel(engine);
    model->family->dit_end(&l.state);
    lt_progress_done(progress);
    loop_close(&l);
    return st;
}
