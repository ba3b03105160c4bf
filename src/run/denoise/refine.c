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
#include <string.h>

#include "parallel/transport/agree.h"
#include "run/denoise/loop.h"
#include "run/denoise/upsample.h"
#include "run/plan_windowing.h"

/* clip, which is noise = (1 - sigma) upsampled coarse + sigma clip; audio: the coarse clip's. */
static lt_status renoise(const lt_plan *plan, const lt_plan *coarse_plan, const lt_clip *coarse,
                         lt_clip *clip)
{
    const float sigma = plan->windowing.refine_from;
    for (int s = 0; s < clip->count; s++) {
        const lt_stream *to = &plan->stream[s], *from = &coarse_plan->stream[s];
        float *x = clip->data[s];
        if (to->ndim != 4) {
            memcpy(x, coarse->data[s], (size_t)clip->elements[s] * sizeof *x);
            continue;
        }
        float *up = malloc((size_t)clip->elements[s] * sizeof *up);
        if (up == NULL)
            LT_FAIL(LT_ENOMEM, "refine: no memory for %lld latents", (long long)clip->elements[s]);
        lt_upsample(coarse->data[s], from->dim[0] * from->dim[1], from->dim[2], from->dim[3], up,
                    to->dim[2], to->dim[3]);
        for (int64_t i = 0; i < clip->elements[s]; i++) {
            const float kept = (1.0f - sigma) * up[i], added = sigma * x[i];
            x[i] = kept + added;
        }
        free(up);
    }
    return LT_OK;
}

/* The loop on the coarse canvas: its own plan, states and progress behind the same counters. */
static lt_status coarse_pass(lt_loop *loop, const lt_plan *plan, const lt_pass *pass, lt_clip *out)
{
    lt_loop coarse = *loop;
    coarse.plan = plan;
    lt_states_open(loop->model, loop->states.texts, &coarse.states);
    LT_TRY(lt_agree(loop->mesh->world, lt_clip_new(plan, out)));
    lt_clip_noise(plan, out);
    const lt_status st = lt_denoise_joint(&coarse, pass, out);
    lt_states_close(&coarse.states);
    loop->done = coarse.done;
    LT_TRY(st);
    return LT_OK;
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
    if (given == NULL)
        LT_TRY_GOTO(coarse_pass(loop, &coarse_plan, whole_range, &made), st, done);
    LT_TRY_GOTO(lt_agree(loop->mesh->world,
                         renoise(loop->plan, &coarse_plan, given != NULL ? given : &made, clip)),
                st, done);
    lt_clip_free(&made);
    audio = *clip; /* borrowed: the streams that are given clean, the others NULL */
    for (int s = 0; s < clip->count; s++)
        if (loop->plan->stream[s].ndim == 4)
            audio.data[s] = NULL;
    loop->given = &audio;
    st = lt_denoise_joint(loop, &pass, clip);
    loop->given = NULL;
done:
    lt_clip_free(&made);
    return st;
}
