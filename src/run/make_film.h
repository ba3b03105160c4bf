/* make_film.h - what render and decode share: from whole latents to a published film. */
#ifndef LT_MAKE_FILM_H
#define LT_MAKE_FILM_H

#include "run/pipeline.h"
#include "run/session.h"

/* Progress for people, events for RUN; then the first event. Rank 0 only, Blocking.
 * Errors (render): LT_ECREATE. */
lt_status lt_film_progress(const lt_job *job, lt_session *session, const lt_plan *plan,
                           int is_render);

/* Decode source's latents, mux, publish: plan->output is there, and the manifest (of a render)
 * tells of it. Collective on world, Blocking. Errors: lt_decode's; LT_ECREATE, LT_EIO. */
lt_status lt_film_make(lt_session *session, const lt_plan *plan, const lt_job *job,
                       const lt_latent_source *source, int is_render, lt_outcome *out);

/* What is told of a film is the caller's only where there is one. Local. */
void lt_outcome_end(lt_status st, lt_outcome *out);

#endif
