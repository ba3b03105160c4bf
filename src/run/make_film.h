/* make_film.h - what render and decode share: from latents to a published film. */
#ifndef LT_MAKE_FILM_H
#define LT_MAKE_FILM_H

#include "base/file.h"
#include "run/decode/decode.h"
#include "run/pipeline.h"
#include "run/session.h"

/* Progress for people, events for RUN; then the first event. Rank 0 only, Blocking.
 * Errors (render): LT_ECREATE. */
lt_status lt_film_progress(const lt_job *job, lt_session *session, const lt_plan *plan,
                           int is_render);

/* A film on its way: where it grows, who decodes it. It stays where it is; zeroed at first. */
typedef struct lt_film_making {
    lt_session *session;
    const lt_plan *plan;
    char film[LT_PATH_BYTES], audio[LT_PATH_BYTES];
    int is_render;
    lt_decode_outputs outputs;
    lt_decoding *decoding;
} lt_film_making;

/* Load the decoders, beside the DiT where plan->decoding says so and it is there, and begin the
 * film's file. denoises: as lt_decode_in's. shot [shots], source, job and outcome are borrowed.
 * lt_film_end comes after it whatever happens. Collective on world, Blocking. Errors: the
 * networks', lt_decoding_open's. */
lt_status lt_film_begin(lt_session *session, const lt_plan *plan, const lt_job *job,
                        const lt_film_shot *shot, int shots, lt_latent_source *source,
                        const char *denoises, int is_render, lt_outcome *outcome,
                        lt_film_making *out);
/* Decode what is not yet decoded, mux, publish: plan->output is there, and the manifest (of a
 * render) tells of it. Collective on world, Blocking. Errors: lt_decoding_finish's; LT_ECREATE,
 * LT_EIO. */
lt_status lt_film_finish(lt_film_making *making, lt_outcome *outcome);
/* st: how it went. What is not whole is removed. Local. */
void lt_film_end(lt_film_making *making, lt_status st);

/* What is told of a film is the caller's only where there is one. Local. */
void lt_outcome_end(lt_status st, lt_outcome *out);

#endif
