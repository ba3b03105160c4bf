/* store_latents.h - a film's latents and its plan in RUN/latents.h5, and back. */
#ifndef LT_STORE_LATENTS_H
#define LT_STORE_LATENTS_H

#include "run/denoise/clip.h"
#include "run/job.h"
#include "run/plan_shots.h"
#include "run/store_hdf5.h"

/* Begin RUN/latents.h5: each stream of each shot a dataset, the plan as attributes. shot [count];
 * stream s of shot i is dataset i x stream_count + s. lt_latents_put and lt_latents_finish do the
 * rest. Rank 0 only, Blocking. Errors: LT_ECREATE, LT_EIO. */
lt_status lt_store_create(const lt_plan *plan, const lt_film_shot *shot, int count,
                          lt_latents_writer **out);
/* The same in a file of another name. */
lt_status lt_store_create_at(const char *file, const lt_plan *plan, const lt_film_shot *shot,
                             int count, lt_latents_writer **out);

/* Before lt_latents_finish: the hash of all of the model's bytes, if it is known by now
 * (resume/model_hash.h). Errors: LT_EIO. */
lt_status lt_store_tell_hash(lt_latents_writer *writer);

/* All of it at once, of whole clips [count]. Rank 0 only, Blocking. Errors: LT_ECREATE, LT_EIO. */
lt_status lt_store_latents(const lt_plan *plan, const lt_film_shot *shot, const lt_clip *clip,
                           int count);

/* The file that a run folder (or the path of a latents.h5 itself) means. Errors: LT_ENOINPUT.
 * Local. */
lt_status lt_store_file(const char *run, char *out, size_t bytes);

/* Open the latents and read the plan back, with the job's output, codec, threads and model (if
 * given) in place of the old ones; job->unsealed as lt_latents_open's. What the file says of the
 * plan in attributes of its own must be what the plan says. The caller closes *store, after an
 * error too. Rank 0 only. Errors: LT_ENOINPUT, LT_EDATA, LT_EUSAGE. */
lt_status lt_store_plan(const char *run, const lt_job *job, lt_latents **store, lt_plan *out);
/* The same of RUN/plan.json, where there are no latents yet. Errors: LT_ENOINPUT, LT_EDATA,
 * LT_EUSAGE. */
lt_status lt_store_plan_json(const char *run, const lt_job *job, lt_plan *out);
/* Open RUN's latents alone. Errors: as lt_store_plan's. */
lt_status lt_store_open(const char *run, int unsealed, lt_latents **store);
/* Complete that plan with its model, now open: do lengths, rates and grid belong together, and are
 * the datasets just those that it decodes, in shape and order? Rank 0 only. Errors: LT_EDATA,
 * LT_EUSAGE. */
lt_status lt_store_check(const char *run, const lt_latents *store, const lt_model *model,
                         lt_plan *plan);
#endif
