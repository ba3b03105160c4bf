/* plan_windowing.h - how a plan's clip is cut: from options to windows.
 * Everything in a plan is in frames and pixels, as the options and plan.json have it; what the loop
 * works with, in latents (scheduler/windowing.h), follows from it and the family's grid.
 * lt_plan_streams (plan.h) is defined here too. Local. Tested: tests/unit/test_plan_windowing.c. */
#ifndef LT_PLAN_WINDOWING_H
#define LT_PLAN_WINDOWING_H

#include "run/plan.h"

/* Of a draft whose shape and steps are known: what --mode and the options beside it say, or the
 * default, into out->asked. Rank 0 only: says why `auto` chose what it chose. Errors: LT_EUSAGE
 * naming the option. */
lt_status lt_plan_windows_asked(const lt_job *job, const lt_model *model, lt_plan *out);
/* Did `auto` take one window for a clip that windows could cut too, of a job that begins? Rank 0's
 * answer counts. */
int lt_plan_may_cut(const lt_job *job, const lt_plan *draft);
/* What is cut in time, of a clip of so many latents in this mode; tiles are left out. Errors:
 * LT_EUSAGE naming the option. */
lt_status lt_plan_time_windows(const lt_windows_asked *asked, const lt_grid *grid, lt_mode mode,
                               int64_t latents, lt_windowing *out);
/* The plan of refine's coarse pass: the same job on the coarse canvas, in one window. Its strings
 * are the plan's; not to be freed. Errors: LT_EUSAGE. */
lt_status lt_plan_coarse(const lt_plan *plan, const lt_model *model, lt_plan *out);

/* Windows, or tiles, of one step that may be computed side by side. Errors: LT_ENOMEM. */
lt_status lt_plan_windows(const lt_plan *plan, int64_t *count);

#endif
