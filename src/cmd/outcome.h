/* outcome.h - what render and decode say of a finished film.                     Level 5: cmd */
#ifndef LT_OUTCOME_H
#define LT_OUTCOME_H

#include "run/job.h"
#include "run/pipeline.h"

/* With --json one object of this format on stdout; else the film's name on stdout and, unless
 * --quiet, a line with lengths and seconds on stderr. Rank 0 only, Blocking. */
void lt_outcome_say(const lt_job *job, const char *format, const lt_outcome *outcome);

#endif
