/* extend.c - chunk by chunk, each from noise to data, behind clean context.
 *
 *     chunk 0   |=========================|
 *     chunk 1                  |~~context~~|===============|
 *     chunk 2                               |~~context~~|==========|    the last is shorter
 *
 * Context is the end of the chunk before, as it was made: kept latents, never decoded and encoded
 * again. Its rows lie in place, leading, at the family's level for clean context (H3: video 0.999
 * with noise of stream 2, audio 1), and their velocities are not used: only other positions are
 * stepped, each chunk by a solver of its own. Anchors are clean in the same way, and only those
 * that are final by then are seen.
 *
 * The last positions of the overlap (--fade) are no context. A chunk makes them again, from the
 * noise that they had, and then goes over from what was there to what it made, by weights that
 * rise evenly: so what it makes otherwise than it is told comes bit by bit, and errors of a chunk's
 * end are not handed on.
 *
 *     before    ==========================|
 *     chunk 1                  |~~~~|/////=============|      / goes over
 *
 * Chunks follow each other, so more groups on `win` have nothing
 * to do for them. Each but the last is final while the next is made, and goes out (denoise.h,
 * lt_denoise_beside). Source: spec/long-video.md 12 (M5), 14. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/philox.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/op_record.h"
#include "run/denoise/loop.h"

/* One chunk at work, by stream. */
typedef struct chunk {
    lt_range window, made, again;  /* positions; made: the end of window that is stepped; again:
                                      those of it that the chunk before has made */
    float *latent, *velocity;      /* [outer, window, inner]: what the forward sees and gives */
    float *fresh, *fresh_velocity; /* [outer, made, inner]: what is stepped */
    float *timestep;               /* [window] */
    lt_sampler *sampler;
} chunk;

typedef struct extend {
    lt_loop *loop;
    const lt_pass *pass;
    lt_window_set set;
    lt_clip *clip;
    chunk of[LT_STREAMS_MAX];
    float *anchors; /* [C, seen, h, w] */
    int64_t seen[LT_ANCHORS_MAX];
    int seen_count;
    int computes;
} extend;

static void chunk_free(extend *e)
{
    for (int s = 0; s < LT_STREAMS_MAX; s++) {
        chunk *c = &e->of[s];
        lt_sampler_close(&c->sampler);
        free(c->latent);
        free(c->velocity);
        free(c->fresh);
        free(c->fresh_velocity);
        free(c->timestep);
        *c = (chunk){0};
    }
    free(e->anchors);
    e->anchors = NULL;
}

/* Clean latents at the family's level for context: x = (1 - sigma) z + sigma noise. */
static lt_status to_context(const extend *e, int s, lt_range what, float *x)
{
    const lt_plan *plan = e->loop->plan;
    const lt_stream *stream = &plan->stream[s];
    const float sigma = e->loop->model->family->context_sigma[s];
    const int64_t n = lt_stream_outer(stream) * what.count * lt_stream_inner(stream);
    if (sigma <= 0.0f || n == 0)
        return LT_OK;
    float *noise = malloc((size_t)n * sizeof *noise);
    if (noise == NULL)
        LT_FAIL(LT_ENOMEM, "extend: no memory for the noise of %lld values of context",
                (long long)n);
    lt_stream_noise(stream, plan->seed, LT_STREAM_CONTEXT, what, noise);
    const float kept = 1.0f - sigma;
    for (int64_t i = 0; i < n; i++) {
        const float clean = kept * x[i];
        x[i] = clean + sigma * noise[i];
    }
    free(noise);
    return LT_OK;
}

static lt_status place_context(extend *e, int s)
{
    chunk *c = &e->of[s];
    const lt_stream *stream = &e->loop->plan->stream[s];
    const lt_range context = {c->window.first, c->window.count - c->made.count};
    const size_t n = (size_t)(lt_stream_outer(stream) * context.count * lt_stream_inner(stream));
    float *packed = malloc(n * sizeof *packed + 1);
    if (packed == NULL)
        LT_FAIL(LT_ENOMEM, "extend: no memory for %zu values of context", n);
    lt_stream_copy(stream, context, e->clip->data[s], e->clip->range[s], packed, context);
    const lt_status st = to_context(e, s, context, packed);
    if (st == LT_OK)
        lt_stream_copy(stream, context, packed, context, c->latent, c->window);
    free(packed);
    return st;
}

/* What is made again begins as the chunk before did. */
static lt_status noise_again(extend *e, int s)
{
    const chunk *c = &e->of[s];
    const lt_stream *stream = &e->loop->plan->stream[s];
    const size_t n = (size_t)(lt_stream_outer(stream) * c->again.count * lt_stream_inner(stream));
    if (n == 0)
        return LT_OK;
    float *noise = malloc(n * sizeof *noise);
    if (noise == NULL)
        LT_FAIL(LT_ENOMEM, "extend: no memory for the noise of %zu values", n);
    lt_stream_noise(stream, e->loop->plan->seed, LT_STREAM_INITIAL, c->again, noise);
    lt_stream_copy(stream, c->again, noise, c->again, c->fresh, c->made);
    free(noise);
    return LT_OK;
}

static lt_status place_anchors(extend *e, int64_t k)
{
    const lt_windowing *w = &e->loop->plan->windowing;
    const lt_stream *video = &e->loop->plan->stream[0];
    const int64_t inner = lt_stream_inner(video), outer = lt_stream_outer(video);
    e->seen_count = lt_layout_anchors(&e->set.time[0], k, w->anchor, w->anchors, e->seen);
    if (e->seen_count == 0)
        return LT_OK;
    float *one = malloc((size_t)(outer * inner) * sizeof *one);
    e->anchors = malloc((size_t)(outer * e->seen_count * inner) * sizeof *e->anchors);
    lt_status st = LT_OK;
    if (one == NULL || e->anchors == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "extend: no memory for %d anchors",
                     e->seen_count);
    for (int i = 0; i < e->seen_count && st == LT_OK; i++) {
        const lt_range at = {e->seen[i], 1};
        lt_stream_copy(video, at, e->clip->data[0], e->clip->range[0], one, at);
        st = to_context(e, 0, at, one);
        for (int64_t c = 0; c < outer; c++)
            memcpy(e->anchors + (c * e->seen_count + i) * inner, one + c * inner,
                   (size_t)inner * sizeof *one);
    }
    free(one);
    return st;
}

/* Room for chunk k, and its noise: the clip's of what is new. */
static lt_status chunk_new(extend *e, int64_t k)
{
    for (int s = 0; s < e->set.streams; s++) {
        chunk *c = &e->of[s];
        const lt_stream *stream = &e->loop->plan->stream[s];
        const lt_range own = e->set.time[s].own[k];
        c->window = e->set.time[s].window[k];
        c->made = lt_window_set_stepped(&e->set, s, k);
        c->again = (lt_range){c->made.first, own.first - c->made.first};
        assert(c->made.first + c->made.count == c->window.first + c->window.count);
        const int64_t row = lt_stream_outer(stream) * lt_stream_inner(stream);
        const size_t all = (size_t)(row * c->window.count) * sizeof(float);
        const size_t fresh = (size_t)(row * c->made.count) * sizeof(float);
        c->latent = malloc(all);
        c->velocity = malloc(all);
        c->fresh = malloc(fresh);
        c->fresh_velocity = malloc(fresh);
        c->timestep = calloc((size_t)c->window.count, sizeof *c->timestep);
        if (c->latent == NULL || c->velocity == NULL || c->fresh == NULL ||
            c->fresh_velocity == NULL || c->timestep == NULL)
            LT_FAIL(LT_ENOMEM, "extend: no memory for a chunk of %lld positions of '%s'",
                    (long long)c->window.count, stream->name);
        LT_TRY(noise_again(e, s));
        lt_stream_copy(stream, own, e->clip->data[s], e->clip->range[s], c->fresh, c->made);
    }
    return LT_OK;
}

/* first: steps of the chunk that an earlier run has made; what they left is there. */
static lt_status chunk_begin(extend *e, int64_t k, int first)
{
    if (e->of[0].latent == NULL)
        LT_TRY(chunk_new(e, k));
    for (int s = 0; s < e->set.streams; s++) {
        chunk *c = &e->of[s];
        const lt_stream *stream = &e->loop->plan->stream[s];
        const int64_t row = lt_stream_outer(stream) * lt_stream_inner(stream);
        LT_TRY(place_context(e, s));
        LT_TRY(lt_sampler_open(e->loop->model->family->sampler, e->pass->sigma[s],
                               e->pass->timestep[s], e->pass->evaluations + 1, row * c->made.count,
                               &c->sampler));
        lt_sampler_go(c->sampler, first);
    }
    return place_anchors(e, k);
}

/* From what was there to what was made. */
static void fade(const extend *e, int s)
{
    const chunk *c = &e->of[s];
    const lt_stream *stream = &e->loop->plan->stream[s];
    const lt_range has = e->clip->range[s];
    const int64_t inner = lt_stream_inner(stream);
    for (int64_t i = 0; i < c->again.count; i++) {
        const float weight = (float)(i + 1) / (float)(c->again.count + 1);
        for (int64_t o = 0; o < lt_stream_outer(stream); o++) {
            const int64_t at = o * has.count + c->again.first + i - has.first;
            const float *was = e->clip->data[s] + at * inner;
            float *x = c->fresh + (o * c->made.count + i) * inner;
            for (int64_t j = 0; j < inner; j++)
                x[j] = was[j] + weight * (x[j] - was[j]);
        }
    }
}

static lt_status chunk_step(extend *e, int64_t k, int step)
{
    lt_evaluation ev = {.set = &e->set,
                        .tile = k,
                        .step = step,
                        .anchor = e->seen,
                        .anchors = e->seen_count,
                        .forward = {.anchor_latent = e->anchors}};
    const float *clean = e->loop->model->family->context_timestep;
    ev.forward.anchor_timestep = clean[0];
    for (int s = 0; s < e->set.streams; s++) {
        chunk *c = &e->of[s];
        const lt_stream *stream = &e->loop->plan->stream[s];
        lt_stream_copy(stream, c->made, c->fresh, c->made, c->latent, c->window);
        for (int64_t i = 0; i < c->window.count; i++)
            c->timestep[i] =
                i < c->window.count - c->made.count ? clean[s] : e->pass->timestep[s][step];
        ev.forward.latent[s] = c->latent;
        ev.forward.velocity[s] = c->velocity;
        ev.forward.timestep[s] = e->pass->timestep[s][step];
        ev.forward.unit_timestep[s] = c->made.count < c->window.count ? c->timestep : NULL;
    }
    LT_TRY(lt_loop_evaluate(e->loop, &ev));
    for (int s = 0; s < e->set.streams; s++) {
        chunk *c = &e->of[s];
        lt_stream_copy(&e->loop->plan->stream[s], c->made, c->velocity, c->window,
                       c->fresh_velocity, c->made);
        lt_sampler_step(c->sampler, c->fresh, c->fresh_velocity);
        if (step + 1 == e->pass->evaluations)
            fade(e, s);
    }
    return LT_OK;
}

/* What was made goes to the clip, also on the ranks of the group that only wait (further out on
 * cfg). */
static lt_status chunk_keep(extend *e, int64_t k)
{
    lt_group *cfg = e->loop->mesh->axis[LT_AXIS_CFG];
    lt_status st = LT_OK;
    if (e->loop->mesh->at[LT_AXIS_WIN] != 0)
        return LT_OK;
    for (int s = 0; s < e->set.streams && st == LT_OK; s++) {
        const lt_stream *stream = &e->loop->plan->stream[s];
        const lt_range made = lt_window_set_stepped(&e->set, s, k);
        const size_t bytes =
            (size_t)(lt_stream_outer(stream) * made.count * lt_stream_inner(stream)) *
            sizeof(float);
        chunk *c = &e->of[s];
        if (c->fresh == NULL)
            c->fresh = malloc(bytes);
        if (c->fresh == NULL)
            st = lt_fail(LT_ENOMEM, __FILE__, __LINE__,
                         "extend: no memory for %lld positions of '%s'", (long long)made.count,
                         stream->name);
        st = lt_agree(cfg, st);
        if (st == LT_OK)
            st = lt_broadcast(cfg, 0, c->fresh, bytes);
        if (st == LT_OK)
            lt_stream_copy(stream, made, c->fresh, made, e->clip->data[s], e->clip->range[s]);
    }
    return st;
}

/* What is made and what is being made; this rank has all of it, or is not rank 0. */
static lt_status preview(extend *e, int step)
{
    lt_loop *loop = e->loop;
    const chunk *c = &e->of[0];
    const lt_stream *video = &loop->plan->stream[0];
    const int64_t inner = lt_stream_inner(video), outer = lt_stream_outer(video);
    const int64_t end = c->made.first + c->made.count;
    const float sigma = e->pass->sigma[0][step + 1];
    size_t bytes = 0;
    lt_status st = lt_agree(loop->meet, lt_preview_begin(loop->preview, loop->plan));
    for (int k = 0; e->computes && st == LT_OK && k < lt_preview_moments(loop->preview); k++) {
        const lt_range at = {lt_preview_latent(loop->preview, k), 1};
        float *room = lt_preview_room(loop->preview, &bytes);
        if (at.first >= end)
            break;
        if (at.first < c->made.first)
            lt_stream_copy(video, at, e->clip->data[0], e->clip->range[0], room, at);
        for (int64_t i = 0; at.first >= c->made.first && i < outer * inner; i++) {
            const int64_t from =
                (i / inner * c->made.count + at.first - c->made.first) * inner + i % inner;
            room[i] = c->fresh[from] + sigma * c->fresh_velocity[from];
        }
        lt_preview_show(loop->preview, k);
    }
    lt_preview_end(loop->preview, loop->done);
    LT_TRY(st);
    return LT_OK;
}

/* What chunk k makes final is there on the ranks that hold it. st: how that went here. */
static lt_status goes_out(extend *e, int64_t k, lt_status st)
{
    const lt_denoise_beside *beside = e->loop->beside;
    if (st == LT_OK && beside != NULL && k + 1 < e->set.time[0].count)
        st = beside->part(beside->ctx, k);
    return lt_agree(e->loop->meet, st);
}

/* What is kept of a chunk's steps is what it makes; *view shows it as a clip. */
static void hold_part(extend *e, int64_t k, lt_clip *view)
{
    lt_state_part *part = &e->loop->part;
    *view = (lt_clip){.count = e->set.streams};
    *part = (lt_state_part){.plan = e->loop->plan, .place = part->place, .clip = view};
    part->place.chunk = k;
    for (int s = 0; s < e->set.streams && e->computes; s++) {
        view->data[s] = e->of[s].fresh;
        view->range[s] = part->own[s] = e->of[s].made;
    }
}

static lt_status one_chunk(extend *e, int64_t k, int first)
{
    lt_loop *loop = e->loop;
    lt_clip view;
    lt_status st = e->computes ? chunk_begin(e, k, first) : LT_OK;
    LT_TRY(lt_agree(loop->meet, st));
    const lt_box box = lt_window_set_box(&e->set, 0, k);
    lt_progress_window(loop->progress, (int)k + 1, (int)e->set.time[0].count);
    lt_progress_weight(loop->progress,
                       (double)(box.time.count * box.rows.count * box.columns.count));
    hold_part(e, k, &view);
    for (int i = first; i < e->pass->evaluations; i++) {
        const double began = lt_seconds();
        lt_operation_step(loop->done + 1, 0);
        st = lt_fault_step(lt_group_rank(loop->mesh->world), loop->done + 1);
        if (st == LT_OK && e->computes)
            st = chunk_step(e, k, i);
        loop->part.stays = i + 1 == e->pass->evaluations;
        LT_TRY(lt_loop_step_end(loop, st, began));
        if (lt_preview_is_due(loop->preview, loop->done))
            LT_TRY(preview(e, i));
    }
    st = chunk_keep(e, k);
    chunk_free(e);
    return goes_out(e, k, st);
}

static lt_status all_chunks(extend *e)
{
    const int behind = e->loop->first, each = e->pass->evaluations;
    for (int64_t k = 0; k < e->set.time[0].count; k++) {
        const int64_t first = behind - k * each;
        if (first >= each) /* an earlier run has made it */
            LT_TRY(goes_out(e, k, LT_OK));
        else
            LT_TRY(one_chunk(e, k, first > 0 ? (int)first : 0));
    }
    lt_operation_step(0, 0);
    return LT_OK;
}

/* Chunks on the first group of `win`, while the others do what goes on beside them; all meet at the
 * end. */
static lt_status chunks_apart(extend *e)
{
    lt_loop *loop = e->loop;
    const lt_denoise_beside *beside = loop->beside;
    lt_status st = LT_OK;
    if (beside->team == NULL) {
        st = beside->work(beside->ctx);
        loop->done += e->pass->evaluations * (int)e->set.time[0].count - loop->first;
    } else {
        loop->meet = beside->team;
        lt_run_state_meet(loop->state, beside->team);
        st = all_chunks(e);
        lt_run_state_meet(loop->state, NULL);
        loop->meet = loop->mesh->world;
        const lt_status told = beside->last(beside->ctx);
        st = st == LT_OK ? told : st;
    }
    return lt_agree(loop->mesh->world, st);
}

/* The chunks that are whole, into the clip. */
static lt_status restore_whole(extend *e, int64_t count)
{
    lt_range wanted[LT_STREAMS_MAX];
    for (int s = 0; s < e->set.streams; s++) {
        const lt_range last = e->set.time[s].own[count - 1];
        wanted[s] = (lt_range){0, last.first + last.count};
    }
    LT_TRY(lt_loop_restore_chunks(e->loop, (lt_range){0, count}, wanted, e->clip));
    return LT_OK;
}

/* The one that the last step was of, where it is made. */
static lt_status restore_begun(extend *e, int64_t k)
{
    lt_range wanted[LT_STREAMS_MAX];
    lt_clip view = {.count = e->set.streams};
    const lt_status st = e->computes ? chunk_new(e, k) : LT_OK;
    LT_TRY(lt_agree(e->loop->mesh->world, st));
    for (int s = 0; s < e->set.streams; s++) {
        wanted[s] = lt_window_set_stepped(&e->set, s, k);
        view.data[s] = e->of[s].fresh;
        view.range[s] = e->of[s].made; /* nothing where another rank computes */
    }
    LT_TRY(lt_loop_restore_chunks(e->loop, (lt_range){k, 1}, wanted, &view));
    return LT_OK;
}

static lt_status restore(extend *e)
{
    const int64_t whole = e->loop->first / e->pass->evaluations;
    if (whole > 0)
        LT_TRY(restore_whole(e, whole));
    if (e->loop->first % e->pass->evaluations > 0)
        LT_TRY(restore_begun(e, whole));
    return LT_OK;
}

lt_status lt_denoise_extend(lt_loop *loop, const lt_pass *pass, lt_clip *clip)
{
    extend e = {.loop = loop,
                .pass = pass,
                .clip = clip,
                .computes = lt_loop_computes(loop) && loop->mesh->at[LT_AXIS_WIN] == 0};
    lt_status st = lt_window_set_new(loop->plan, 0, pass->evaluations, &e.set);
    LT_TRY_GOTO(lt_agree(loop->mesh->world, st), st, done);
    if (loop->first > 0)
        LT_TRY_GOTO(restore(&e), st, done);
    st = loop->beside != NULL && loop->beside->is_apart ? chunks_apart(&e) : all_chunks(&e);
done:
    chunk_free(&e);
    lt_window_set_free(&e.set);
    return st;
}
