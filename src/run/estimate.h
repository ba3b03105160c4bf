/* estimate.h - how much memory and time a plan takes, before work.                 Level 4: run
 *
 * Memory. Each phase is walked on the backend `dry` as this rank, with the code that will run. What
 * the walk counts, what the run itself allocates, and what this process holds already make
 * `peak_bytes`: the largest resident set that this rank will have. It is the truth of plan.json: a
 * job is refused where it does not fit. Tested: tests/film/test_estimate.c, against the peak that
 * the system counts. */
#ifndef LT_ESTIMATE_H
#define LT_ESTIMATE_H

#include "run/plan.h"

/* Each phase's mesh. text NULL: this rank encodes no text. What is not walked may be NULL. */
typedef struct lt_phase_meshes {
    const lt_mesh *text, *dit, *decode;
} lt_phase_meshes;
/* Walk the phases on `dry` as this rank; fills plan->memory. Local: no communication. token_count:
 * text rows of the prompt. parts: bit i set walks phase i. */
lt_status lt_estimate_walk(lt_plan *plan, lt_model *model, const lt_phase_meshes *meshes,
                           int64_t token_count, unsigned parts);
/* The largest of the walked phases, with room for alignment. Local. */
void lt_estimate_arenas(const lt_plan *plan, size_t *phase_bytes, size_t *step_bytes);
/* What this rank will hold beside what was walked, and the largest resident set: fills
 * plan->memory[].resident_bytes and plan->peak_bytes, from what this process holds now. Local. */
void lt_estimate_peak(lt_plan *plan, const lt_model *model, const lt_phase_meshes *meshes,
                      unsigned parts);
/* Refuse at once a clip whose latents cannot fit: the walk would take long to find that out. Local.
 * Errors: LT_ENOMEM with numbers. */
lt_status lt_estimate_fits_latents(const lt_plan *plan, int local_ranks);
/* Refuse what cannot fit into this rank's part of the host's memory, or under a limit of this
 * process (ulimit -v, -d). Local. Errors: LT_ENOMEM with numbers. */
lt_status lt_estimate_fits(const lt_plan *plan, int local_ranks);

/* How long each stage takes here: fills plan->seconds. Short jobs are not measured unless `always`.
 * The engine is open and its queues idle. Local, Blocking for some 40 ms. Errors: the backend's. */
lt_status lt_estimate_time(lt_plan *plan, const lt_model *model, const lt_phase_meshes *meshes,
                           lt_engine *engine, unsigned parts, int always);
/* Say what takes a minute or more, warn of hours, and of a prompt that takes long to encode. Rank 0
 * only. */
void lt_estimate_say(const lt_plan *plan, int ranks, int64_t token_count);

#endif
