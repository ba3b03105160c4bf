/* residency.h - which of a model's networks are in memory.
 *
 * Text encoder, DiT and decoders are opened and closed here and nowhere else: code that encodes,
 * denoises or decodes finds them open. One phase is resident at a time, as the plan counts: the
 * engine's arenas have the size of the largest phase (estimate.h), so the next one takes the place
 * of the last. Of a plan that decodes beside the denoising the decoders come on top of the DiT, and
 * the arenas have room for both. What is asked for again while it is resident is not loaded again.
 */
#ifndef LT_RESIDENCY_H
#define LT_RESIDENCY_H

#include "run/denoise/levels.h"
#include "run/estimate.h"

typedef struct lt_residency {
    lt_group *world; /* borrowed, as are model and what the engines share */
    lt_model *model;
    lt_engine engine[LT_PHASES];  /* queues and arenas of one engine, each on its phase's mesh */
    lt_phase resident[LT_PHASES]; /* in the order in which they were opened */
    int count;
} lt_residency;

/* mesh: of each phase; NULL: this rank has no part in it. model, engine and meshes stay until
 * lt_residency_close. Local. */
void lt_residency_open(lt_residency *residency, lt_group *world, lt_model *model,
                       const lt_engine *engine, const lt_mesh *const mesh[LT_PHASES]);
/* Have a phase's networks in memory; what is there gives way, but for the DiT of a plan that
 * decodes beside it. levels: the DiT's tables are made for their timesteps; NULL
 * for other phases. Ends in an agreement, after which all ranks have read the same bytes; after an
 * error the engine is cancelled. Collective on world, Blocking. Errors: the networks', LT_EPEER. */
lt_status lt_residency_need(lt_residency *residency, lt_phase phase, const lt_plan *plan,
                            const lt_levels *levels);
/* Drop what is resident, also after an error. A zeroed residency is allowed. Local, Blocking. */
void lt_residency_close(lt_residency *residency);

#endif
