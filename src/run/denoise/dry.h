/* dry.h - the denoising loop's dry run: what it takes, before work.
 *
 * With an engine on the backend `dry` and the DiT open on it, lt_denoise_dry begins the states that
 * the loop will hold at once and evaluates the largest window of each pass, with the code that will
 * run. Local but for what dit_begin says. */
#ifndef LT_DENOISE_DRY_H
#define LT_DENOISE_DRY_H

#include "kernels/backend.h"
#include "parallel/context.h"
#include "run/denoise/levels.h"
#include "run/denoise/texts.h"

/* Counts of one step, the mean over the passes' steps, on this rank, or on the one of `win` that
 * computes the most; what the states take of engine's step arena between two forwards. Errors: the
 * networks', LT_ENOMEM. */
lt_status lt_denoise_dry(lt_model *model, const lt_engine *engine, const lt_plan *plan,
                         const lt_levels *levels, const lt_texts *texts, lt_dry_counts *step,
                         size_t *states_bytes);
/* Host memory of this rank: of its range of the clip, and of the loop, that included. Local.
 * Errors: LT_ENOMEM. */
lt_status lt_denoise_host_bytes(const lt_model *model, const lt_mesh *mesh, const lt_plan *plan,
                                size_t *clip_bytes, size_t *loop_bytes);

#endif
