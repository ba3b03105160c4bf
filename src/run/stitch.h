/* stitch.h - the latents of several runs as one run, cut after cut.
 *
 *     a.run: shots 1, 2     b.run: shot 1     ->     film.run: shots 1, 2, 3
 *
 * For shots that were rendered apart, as the tasks of a Slurm array: what `longtake render --shot
 * N` made of each shot is put together to what `longtake render` makes of the storyboard, bit for
 * bit. Runs without a storyboard count as one shot. No model's weights are read and nothing is
 * computed; `longtake decode` makes the film.
 *
 * Tested: tests/film/test_stitch.c. */
#ifndef LT_STITCH_H
#define LT_STITCH_H

#include <jansson.h>

#include "run/job.h"

/* Make the run folder job->run of the latents in runs [count], folders or latents.h5: job.yaml,
 * which renders the same film anew, plan.json, latents.h5, and the first line of events.ndjson. The
 * runs must have been made alike: model, size, steps, windows; what differs is refused, naming run,
 * key, wanted and found. Nothing stays of a folder that was made where that fails. *plan: what
 * plan.json says, the caller's. Local, Blocking. Errors: LT_EUSAGE, LT_ENOINPUT, LT_EDATA,
 * LT_ECREATE, LT_EIO, LT_ENOMEM. */
lt_status lt_stitch(const lt_job *job, const char *const *runs, size_t count, json_t **plan);

#endif
