/* levels.h - the noise levels of a run, and all its timesteps. */
#ifndef LT_LEVELS_H
#define LT_LEVELS_H

#include "run/plan.h"

typedef struct lt_levels {
    int count;                                               /* streams */
    int evaluations;                                         /* of the whole range of noise */
    float *sigma[LT_STREAMS_MAX], *timestep[LT_STREAMS_MAX]; /* [evaluations + 1], [evaluations] */
    /* refine: from --refine-from on, then the grid's levels of the video below it; else 0 */
    int refine_evaluations;
    float *refine_sigma, *refine_timestep;
    /* [timestep_count] ascending, each once: of all streams, both passes, and clean context where
     * the mode has some; what the DiT's tables are made for */
    float *timesteps;
    int timestep_count;
} lt_levels;

/* Local. Errors: LT_ENOMEM, LT_EUSAGE (--steps). After an error nothing is held. */
lt_status lt_levels_make(const lt_model *model, const lt_plan *plan, lt_levels *out);
/* A zeroed one is allowed. Local. */
void lt_levels_free(lt_levels *levels);

#endif
