/* outcome.h - what render and decode say of a finished film. */
#ifndef LT_OUTCOME_H
#define LT_OUTCOME_H

#include "parallel/transport/transport.h"
#include "run/job.h"
#include "run/pipeline.h"

/* With --json one object of this format on stdout; else the film's name on stdout and, unless
 * --quiet, a line with lengths and seconds on stderr. Frees outcome's stages. Rank 0 prints.
 * Collective on world, Blocking. Errors: LT_EIO, and what went wrong with a file beside the film;
 * the film is there all the same. */
lt_status lt_outcome_say(const lt_job *job, const char *format, lt_group *world,
                         lt_outcome *outcome);
/* What a dry run found: with --json the plan, else some lines for people; frees outcome's plan.
 * Rank 0 prints. Collective on world, Blocking. Errors: LT_EIO. */
lt_status lt_outcome_plan(const lt_job *job, lt_group *world, lt_outcome *outcome);

#endif
