/* pipeline.h - the arrows of DESIGN section 2, in order. */
#ifndef LT_PIPELINE_H
#define LT_PIPELINE_H

#include "run/decode/film_file.h"
#include "run/job.h"
#include "run/plan.h"

/* What render and decode say at the end (rank 0). */
typedef struct lt_outcome {
    char output[4096], run[4096];
    int64_t frames, samples;
    json_t *stages;         /* seconds by stage; the caller frees */
    json_t *plan;           /* of a dry run, in place of all else; the caller frees */
    lt_decode_extra beside; /* of sheet and wav, on rank 0: the film is whole all the same */
} lt_outcome;

/* prompt -> film. job is complete on every rank (each parsed the same flags), but only rank 0's
 * counts: it makes the plan and broadcasts it. options: whose dump becomes RUN/job.yaml. Collective
 * on world, Blocking. Nothing is left behind when it is refused before work, or with job->dry_run,
 * which ends there: out->plan has the rest. */
lt_status lt_render(const lt_job *job, const lt_options *options, lt_group *world, lt_outcome *out);

/* RUN's latents -> film, again, alone or over ranks. run is the folder (or a latents.h5).
 * options says whether --placement was given; if not, the stored plan's holds. Collective on
 * world, Blocking. Errors: as lt_render's; LT_ENOINPUT, LT_EDATA (the latents). */
lt_status lt_decode_run(const lt_job *job, const lt_options *options, const char *run,
                        lt_group *world, lt_outcome *out);

/* The job's model, or else the demo's. Errors: LT_EUSAGE, LT_ENOINPUT. Local. */
lt_status lt_job_model(const lt_job *job, char *out, size_t bytes);
/* Where the demo model is: beside the executable, in its share/, or in a source tree above it.
 * Errors: LT_ENOINPUT. Local. */
lt_status lt_default_model(char *out, size_t bytes);

#endif
