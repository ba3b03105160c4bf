/* refine.c - a coarse clip, then windows and tiles of the full canvas from a lower noise level.
 *
 *     coarse canvas, the whole clip in one window -> latents
 *     upsampled; x = (1 - sigma) up + sigma noise, sigma = --refine-from
 *     windows x rows x columns, fused, from there on (joint.c)
 *
 * What the windows have in common comes from the coarse pass, which sees the clip as a whole; from
 * sigma <= 0.6 on a window cannot leave it any more (spec/long-video.md 6, 11, 12 M9). The audio is
 * the coarse pass's: clean context of every tile, not denoised again. */
#include <stdlib.h>

#include "parallel/transport/agree.h"
#include "run/denoise/loop.h"
#include "run/denoise/upsample.h"
#include "run/plan_windowing.h"

/* x, which is noise of the positions `has` = (1 - sigma) upsampled coarse + sigma x. coarse: the
 * whole stream `from`. */
static lt_status renoise_stream(const lt_stream *from, const float *coarse, const lt_stream *to,
                                lt_range has, float sigma, float *x)
{
    const int64_t taken = lt_stream_outer(from) * has.count * lt_stream_inner(from);
    const int64_t made = lt_stream_outer(to) * has.count * lt_stream_inner(to);
    const lt_range whole = {0, lt_stream_units(from)};
    float *low = malloc((size_t)taken * sizeof *low), *up = malloc((size_t)made * sizeof *up);
    const int enough = low != NULL && up != NULL;
    if (enough) {
        lt_stream_copy(from, has, coarse, whole, low, has);
        lt_upsample(low, from->dim[0] * has.count, from->dim[2], from->dim[3], up, to->dim[2],
                    to->dim[3]);
    }
    for (int64_t i = 0; enough && i < made; i++) {
        const float kept = (1.0f - sigma) * up[i], added = sigma * x[i];
        x[i] = kept + added;
    }
    free(low);
    free(up);
    if (!enough)
        LT_FAIL(LT_ENOMEM, "refine: no memory for %lld latents", (long long)made);
    return LT_OK;
}

/* What this rank holds of the second pass's begin; audio: the coarse clip's. */
static lt_status renoise(const lt_plan *plan, const lt_plan *coarse_plan, const lt_clip *coarse,
                         lt_clip *clip)
{
    for (int s = 0; s < clip->count; s++) {
        const lt_stream *to = &plan->stream[s], *from = &coarse_plan->stream[s];
        const lt_range has = clip->range[s];
        if (has.count == 0)
            continue;
        if (to->ndim != 4)
            lt_stream_copy(to, has, coarse->data[s], coarse->range[s], clip->data[s], has);
        else
            LT_TRY(renoise_stream(from, coarse->data[s], to, has, plan->windowing.refine_from,
                                  clip->data[s]));
    }
    return LT_OK;
}

/* The loop on the coarse canvas: its own plan, states and progress behind the same counters. It is
 * one window, of the first group, and out is whole on every rank: each takes what it holds. */
static lt_status coarse_pass(lt_loop *loop, const lt_plan *plan, const lt_pass *pass, lt_clip *out)
{
    lt_loop coarse = *loop;
    lt_holding holding = {0};
    lt_clip part = {0};
    coarse.plan = plan;
    coarse.holding = &holding;
    coarse.goes_on = 1;
    lt_states_open(loop->model, loop->states.texts, &coarse.states);
    lt_status st = lt_holding_new(plan, pass->evaluations, loop->mesh, &holding);
    if (st == LT_OK)
        st = lt_holding_clip(&holding, plan, &part);
    if (st == LT_OK)
        st = lt_clip_new(plan, out);
    LT_TRY_GOTO(lt_agree(loop->mesh->world, st), st, done);
    lt_clip_noise(plan, &part);
    if (loop->first > 0)
        LT_TRY_GOTO(lt_loop_restore(&coarse, 0, &part), st, done);
    st = lt_denoise_joint(&coarse, pass, &part);
    loop->done = coarse.done;
    loop->first = 0;
    if (st == LT_OK)
        st = lt_holding_gather(&holding, plan, loop->mesh, &part, out);
done:
    lt_states_close(&coarse.states);
    lt_clip_free(&part);
    lt_holding_free(&holding);
    return st;
}

lt_status lt_denoise_refine(lt_loop *loop, const lt_levels *levels, const lt_pass *whole_range,
                            const lt_clip *given, lt_clip *clip)
{
    lt_plan coarse_plan;
    lt_clip made = {0}, audio = {0};
    lt_pass pass = {.evaluations = levels->refine_evaluations};
    for (int s = 0; s < levels->count; s++) { /* only the video's are used */
        pass.sigma[s] = levels->refine_sigma;
        pass.timestep[s] = levels->refine_timestep;
    }
    lt_status st = LT_OK;
    LT_TRY_GOTO(lt_agree(loop->mesh->world, lt_plan_coarse(loop->plan, loop->model, &coarse_plan)),
                st, done);
    if (loop->first > whole_range->evaluations) { /* the coarse pass is in what it left */
        LT_TRY_GOTO(lt_loop_restore(loop, 1, clip), st, done);
        loop->first -= whole_range->evaluations;
    } else {
        if (given == NULL)
            LT_TRY_GOTO(coarse_pass(loop, &coarse_plan, whole_range, &made), st, done);
        LT_TRY_GOTO(lt_agree(loop->mesh->world, renoise(loop->plan, &coarse_plan,
                                                        given != NULL ? given : &made, clip)),
                    st, done);
    }
    lt_clip_free(&made);
    audio = *clip; /* borrowed: the streams that are given clean, the others NULL */
    for (int s = 0; s < clip->count; s++)
        if (loop->plan->stream[s].ndim == 4)
            audio.data[s] = NULL;
    loop->given = &audio;
    loop->part.place.pass = 1;
    st = lt_denoise_joint(loop, &pass, clip);
    loop->given = NULL;
done:
    lt_clip_free(&made);
    return st;
}
