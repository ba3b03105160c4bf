/* loop.c - what the modes of denoising share. */
#include "run/denoise/loop.h"

#include <assert.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/stop.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/op_record.h"
#include "run/resume/fence.h"

int lt_loop_computes(const lt_loop *loop) { return loop->mesh->at[LT_AXIS_CFG] == 0; }

static lt_status check_finite(const lt_evaluation *e)
{
    for (int s = 0; s < e->set->streams; s++) {
        const lt_stream *stream = &e->set->plan->stream[s];
        const lt_box box = lt_window_set_box(e->set, s, e->tile);
        const int64_t at = lt_first_not_finite(e->forward.velocity[s], LT_F32,
                                               (size_t)lt_box_elements(stream, &box));
        if (at >= 0)
            LT_FAIL(LT_EDATA,
                    "step %d, window %lld: the velocity of '%s' is not finite (element %lld): the "
                    "step is dropped",
                    e->step + 1, (long long)e->tile, stream->name, (long long)at);
    }
    return LT_OK;
}

void lt_loop_window(const lt_window_set *set, int64_t tile, const int64_t *distance, int anchors,
                    lt_window *out)
{
    const lt_plan *plan = set->plan;
    const lt_box box = lt_window_set_box(set, 0, tile);
    *out = (lt_window){.shape = plan->shape, .anchor = distance, .anchors = anchors};
    out->shape.frames = lt_grid_frames(plan->grid, box.time.count);
    if (set->is_tiled) {
        out->shape.width = plan->shape.width / plan->stream[0].dim[3] * box.columns.count;
        out->shape.height = plan->shape.height / plan->stream[0].dim[2] * box.rows.count;
    }
    if (plan->windowing.global_positions) {
        out->latent = box.time.first;
        out->row = box.rows.first;
        out->column = box.columns.first;
        out->whole_width = plan->shape.width;
        out->whole_height = plan->shape.height;
    }
}

lt_text_at lt_loop_text(const lt_texts *texts, const lt_window_set *set, int64_t tile)
{
    if (texts->count <= 1)
        return (lt_text_at){0, 0.0};
    const lt_layout *time = &set->time[0];
    const int64_t window = lt_window_set_at(set, tile).window;
    const int is_chunk = set->plan->windowing.mode == LT_MODE_EXTEND;
    const lt_range latents = is_chunk ? time->own[window] : time->window[window];
    return lt_texts_at(texts, lt_grid_frame_range(set->plan->grid, latents));
}

lt_status lt_loop_evaluate(lt_loop *loop, const lt_evaluation *e)
{
    const lt_range time = lt_window_set_box(e->set, 0, e->tile).time;
    int64_t distance[LT_ANCHORS_MAX];
    lt_window window;
    lt_dit_state *state = NULL;
    for (int i = 0; i < e->anchors; i++)
        distance[i] = e->anchor[i] - time.first;
    lt_loop_window(e->set, e->tile, distance, e->anchors, &window);
    LT_TRY(lt_states_get(&loop->states, &window, lt_loop_text(loop->states.texts, e->set, e->tile),
                         &state));
    LT_TRY(loop->model->family->dit_forward(loop->model, state, &e->forward));
    return check_finite(e);
}

/* The newest step that the run could go on from. */
static int64_t kept_step(const lt_loop *loop)
{
    if (loop->state == NULL)
        return 0;
    const int64_t mine = lt_run_state_counts(loop->state).last;
    return mine > 0 ? mine : lt_run_state_from(loop->state).step;
}

static lt_status stop_here(const lt_loop *loop)
{
    if (!lt_stop_asked() || loop->done == loop->of)
        return LT_OK;
    const int64_t kept = kept_step(loop);
    if (kept > 0)
        LT_FAIL(LT_ETEMP, "stopped by %s after step %d of %d: kept up to step %lld",
                lt_stop_name(lt_stop_signal()), loop->done, loop->of, (long long)kept);
    LT_FAIL(LT_ETEMP, "stopped by %s after step %d of %d: no step is kept",
            lt_stop_name(lt_stop_signal()), loop->done, loop->of);
}

/* The step is whole on all ranks: it is kept, and if one of them is to stop, all do. */
static lt_status keep_step(lt_loop *loop)
{
    int stops = lt_stop_asked() && loop->done < loop->of;
    loop->part.place.step = loop->done;
    loop->part.place.steps = loop->of;
    LT_TRY(lt_run_state_step(loop->state, &loop->part, stops, &stops));
    return stops ? lt_agree(loop->meet, stop_here(loop)) : LT_OK;
}

lt_status lt_loop_step_end(lt_loop *loop, lt_status mine, double began)
{
    loop->done++;
    lt_stop_step(lt_seconds() - began);
    if (mine == LT_OK)
        mine = lt_fence_check();
    if (mine == LT_OK && loop->state == NULL)
        mine = stop_here(loop);
    if (mine == LT_OK && loop->meet != loop->mesh->world && loop->beside->step != NULL)
        mine = loop->beside->step(loop->beside->ctx);
    LT_TRY(lt_agree(loop->meet, mine));
    if (loop->state != NULL)
        LT_TRY(keep_step(loop));
    if (loop->seconds != NULL)
        loop->seconds[loop->done - 1] = lt_seconds() - began;
    lt_progress_step(loop->progress, loop->done);
    return LT_OK;
}

static lt_status restore(lt_loop *loop, const lt_state_pick *pick, const lt_range *wanted,
                         lt_clip *clip)
{
    lt_range found[LT_STREAMS_MAX];
    assert(loop->state != NULL && loop->first > 0);
    LT_TRY(lt_run_state_restore(loop->state, loop->plan, pick, clip, found));
    for (int s = 0; s < clip->count; s++) {
        const int64_t begin = wanted[s].first, end = begin + wanted[s].count;
        const int64_t has = found[s].first <= begin ? found[s].first + found[s].count : begin;
        if (has < end)
            LT_FAIL(LT_EDATA,
                    "the files of step %lld: %s: want positions %lld to %lld, found none at %lld",
                    (long long)lt_run_state_from(loop->state).step, loop->plan->stream[s].name,
                    (long long)begin, (long long)end - 1, (long long)(has > begin ? has : begin));
    }
    return LT_OK;
}

lt_status lt_loop_restore(lt_loop *loop, int pass, lt_clip *clip)
{
    const lt_state_pick pick = {loop->part.place.shot, pass, {0, 1}};
    lt_range wanted[LT_STREAMS_MAX];
    for (int s = 0; s < clip->count; s++)
        wanted[s] = (lt_range){0, lt_stream_units(&loop->plan->stream[s])};
    return restore(loop, &pick, wanted, clip);
}

lt_status lt_loop_restore_chunks(lt_loop *loop, lt_range chunks, const lt_range *wanted,
                                 lt_clip *clip)
{
    const lt_state_pick pick = {loop->part.place.shot, 0, chunks};
    return restore(loop, &pick, wanted, clip);
}
