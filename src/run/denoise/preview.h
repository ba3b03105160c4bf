/* preview.h - what the clip looks like so far, while it is denoised.
 *
 * After every N-th step RUN/preview/step-000012.png (12: evaluations done, of the whole film) shows
 * up to 12 moments of the clip at hand, evenly spaced, by the model's map from latents to colours
 * (model/preview_map.h): of the clean latents as the step estimates them, x + sigma velocity. Of
 * `extend` what is made and what is being made; the rest is grey.
 *
 * All ranks call the same functions with the same numbers, since latents lie where their windows
 * do; rank 0 draws. A preview that cannot be written ends no film: a warning, and no more of them.
 * Tested: tests/film/test_preview.c. */
#ifndef LT_PREVIEW_H
#define LT_PREVIEW_H

#include "run/plan.h"
#include "run/progress.h"

enum { LT_PREVIEW_COLUMNS = 4, LT_PREVIEW_ROWS = 3 };

typedef struct lt_preview lt_preview;

/* Every `every` steps, 0: never, as rank 0 has it; then, and where the model has no map, *out is
 * NULL, which all functions here accept. run: RUN. Collective on world, Blocking. Errors:
 * LT_ENOMEM. */
lt_status lt_preview_open(const lt_model *model, lt_group *world, const char *run, int64_t every,
                          lt_progress *progress, lt_preview **out);
void lt_preview_close(lt_preview **preview);
/* Of a job that wants previews, before work: warns where the model has no map, and how one is
 * fitted. Rank 0 only. Errors: LT_EDATA: a map whose number of channels is not the clip's. */
lt_status lt_preview_check(const lt_model *model, const lt_plan *plan);
/* Host memory that rank 0 takes for it, of a plan's canvas. */
size_t lt_preview_host_bytes(const lt_model *model, const lt_plan *plan);

/* Is one due after this many evaluations? */
int lt_preview_is_due(const lt_preview *preview, int done);
/* Memory for one of a clip of this plan. The caller agrees on the result, and calls
 * lt_preview_end also after an error. Errors: LT_ENOMEM, LT_ESHAPE. */
lt_status lt_preview_begin(lt_preview *preview, const lt_plan *plan);
/* Moments that are shown, and the latent of each. */
int lt_preview_moments(const lt_preview *preview);
int64_t lt_preview_latent(const lt_preview *preview, int moment);
/* Room for one latent of the video stream, [C, h, w]. */
float *lt_preview_room(lt_preview *preview, size_t *bytes);
/* What lies in the room is this moment's. */
void lt_preview_show(lt_preview *preview, int moment);
/* Write it (rank 0), and free what was taken. */
void lt_preview_end(lt_preview *preview, int done);

#endif
