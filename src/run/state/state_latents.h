/* state_latents.h - the latents of a run whose last step counts, where there is no latents.h5.
 *
 * A run that ended behind its last step, or whose latents.h5 was lost, still has all of them in
 * RUN/state: `decode` puts them together as a latents.h5 of its own and reads that. What the files
 * say is compared with the plan; every position of every stream must be there, once.
 *
 * Rank 0 only, Blocking. Memory: what one state file holds of a stream. Tested:
 * tests/film/test_decode_state.c. */
#ifndef LT_STATE_LATENTS_H
#define LT_STATE_LATENTS_H

#include "run/plan_shots.h"
#include "run/state/state_folder.h"
#include "run/store_hdf5.h"

/* The files of the newest step in RUN/state that counts, which must be the film's last; plan: RUN's
 * plan.json, its streams known. The caller owns *out, also after an error. Errors: LT_ENOINPUT
 * (there is none, or it is not the last), LT_ENOMEM. */
lt_status lt_state_complete(const char *run, const lt_plan *plan, lt_commit *out);

/* Put all that they hold: stream s of shot i is dataset i x stream_count + s. Errors: LT_EDATA
 * (another shape, positions that are missing or there twice), LT_EIO, LT_ENOMEM, lt_latents_put's.
 */
lt_status lt_state_latents(const char *run, const lt_commit *commit, const lt_film_shot *shot,
                           int shots, lt_latents_writer *to);

#endif
