/* session.h - what one run of the program holds open: model, mesh, engine.
 *
 *     draft (rank 0) --share--> draft --open--> meshes, footprint, engine --plan--> plan
 *
 * The plan is the same on all ranks; what differs by rank stands here. */
#ifndef LT_SESSION_H
#define LT_SESSION_H

#include "run/bind.h"
#include "run/denoise/preview.h"
#include "run/estimate.h"
#include "run/job.h"
#include "run/lease.h"
#include "run/outputs.h"
#include "run/plan.h"
#include "run/progress.h"
#include "run/prompts.h"
#include "run/records.h"
#include "run/residency.h"
#include "run/state/run_state.h"

typedef struct lt_session {
    lt_group *world; /* borrowed */
    lt_model *model;
    lt_binding bound; /* its mesh is the DiT's */
    lt_mesh text_mesh, decode_mesh;
    lt_group *text_group;   /* the ranks that share the text encoder; NULL on the others */
    lt_engine engine;       /* on the DiT's mesh */
    lt_residency residency; /* its copies on each phase's mesh, and what is loaded on them */
    lt_tokens tokens;
    lt_nodes nodes;            /* of the world's ranks; a render's */
    lt_progress *progress;     /* rank 0 */
    lt_preview *preview;       /* of a render that shows some; else NULL */
    lt_run_state *state;       /* of a render that denoises; else NULL */
    lt_footprint footprint;    /* the plan's on this rank */
    lt_decoding_when decoding; /* what the draft's became, and why */
    char decoding_why[160];
    size_t peak_bytes;  /* planned, of the rank that needs the most */
    lt_outputs outputs; /* rank 0: what the job names, owned until the end */
    lt_lease run_lease; /* rank 0 of a render */
    json_t *exchanges;  /* rank 0, once connected: {phase: {axis: exchange}} (device_facts.h) */
    json_t *memory;     /* rank 0, once measured: {"estimated_peak_bytes", "peak_bytes": [ranks]} */
} lt_session;

/* Rank 0, before work: container, codec, all outputs' places and room (run/outputs.h). run: the run
 * folder of a render, NULL for a decode. Errors: LT_EUSAGE, LT_EUNAVAIL, LT_ECREATE. */
lt_status lt_session_check(lt_session *session, const lt_job *job, const lt_plan *plan,
                           const char *run);
/* Compare the ranks' copies of rank 0's model folder, and serve the ranks without it
 * (source.h), until lt_session_close or lt_source_end. path [bytes]: rank 0's, not empty; on
 * all ranks afterwards. Collective on world, Blocking. Errors: lt_source_share's. */
lt_status lt_session_source(lt_group *world, char *path, size_t bytes);
/* Broadcast rank 0's draft of a plan, and its tokens; the other ranks open the model and get the
 * same draft. Collective on world, Blocking. */
lt_status lt_session_share(lt_session *session, lt_plan *draft);
/* Place threads, open the meshes of the phases from first on, run these phases dry, refuse what
 * cannot fit, open the engine, say how long it takes where that is long; with --dry-run
 * measure short jobs too. Fills footprint and peak_bytes. draft: gets windows where `auto` took a
 * single one that does not fit. job: what rank 0 was asked for.
 * Collective on world, Blocking. */
lt_status lt_session_open(lt_session *session, lt_plan *draft, const lt_job *job, lt_phase first);
/* Rank 0 adds to the draft what the ranks found, and broadcasts the text: the plan, the same bytes
 * on every rank, which no rank changes. The caller owns *out also after an error. Collective on
 * world, Blocking. */
lt_status lt_session_plan(lt_session *session, const lt_plan *draft, lt_plan *out);
/* The peak of every rank so far beside the plan's: fills session->memory on rank 0, for the
 * manifest and the last event. Collective on world, Blocking. */
lt_status lt_session_measure(lt_session *session);
/* This start of the run so far, for the manifest; ended: why, NULL: it goes on. Rank 0 only. */
lt_epoch lt_session_epoch(const lt_session *session, const char *ended);
/* Release all of it, also after a failed open. Local. */
void lt_session_close(lt_session *session);

#endif
