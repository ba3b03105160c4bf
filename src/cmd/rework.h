/* rework.h - --rework: a film whose joins are over budget is rendered again with a wider overlap.
 *
 * The finished film is measured as `longtake metrics RUN` does. Where a join stands out, or the
 * joins' median step or level jump is over budget, the same job is rendered with the next wider
 * overlap that its window has room for, into a run folder of its own (a.rework.run beside a.run),
 * and measured too. The better of both films is kept under the name that was asked for, with its
 * sheet and WAV: first by the share of places that stand out, then by the median step. RUN's events
 * and manifest tell of it. The whole film is made twice: shots and windows that were well are not
 * spared. Tested: tests/film/test_rework.c. */
#ifndef LT_REWORK_H
#define LT_REWORK_H

#include "run/pipeline.h"

/* After lt_render has made outcome's film: of the job with --rework; another job is left alone.
 * outcome->run becomes the run of the film that is kept. A second film that could not be made is a
 * warning, for the first one is whole. Collective on world, Blocking. Errors: LT_ETEMP (a signal;
 * the first film is there). */
lt_status lt_rework(const lt_job *job, const lt_options *options, lt_group *world,
                    lt_outcome *outcome);

#endif
