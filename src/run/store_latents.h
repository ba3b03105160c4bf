/* store_latents.h - a clip and its plan in RUN/latents.h5, and back.              Level 4: run */
#ifndef LT_STORE_LATENTS_H
#define LT_STORE_LATENTS_H

#include "run/denoise.h"
#include "run/job.h"
#include "run/store_hdf5.h"

/* Write RUN/latents.h5: each stream a dataset, the plan as attributes. Rank 0 only, Blocking.
 * Errors: LT_ECREATE, LT_EIO. */
lt_status lt_store_latents(const lt_plan *plan, const lt_clip *clip);

/* The file that a run folder (or the path of a latents.h5 itself) means. Errors: LT_ENOINPUT.
 * Local. */
lt_status lt_store_file(const char *run, char *out, size_t bytes);

/* Open the latents and read the plan back, with the job's output, codec, threads and model (if
 * given) in place of the old ones. The caller closes *store, after an error too. Rank 0 only.
 * Errors: LT_ENOINPUT, LT_EDATA, LT_EUSAGE. */
lt_status lt_store_plan(const char *run, const lt_job *job, lt_latents **store, lt_plan *out);
/* Complete that plan with its model, now open: are the datasets those that it decodes? Rank 0 only.
 * Errors: LT_EDATA, LT_EUSAGE. */
lt_status lt_store_check(const char *run, const lt_latents *store, const lt_model *model,
                         lt_plan *plan);

#endif
