/* film_state.h - a render's states: whose they are, and where it goes on.
 * Tested: tests/faults/test_state_days.c, tests/ranks/test_state_ranks.c. */
#ifndef LT_FILM_STATE_H
#define LT_FILM_STATE_H

#include "run/state/run_state.h"

/* What settles the bits of a film's latents: the keys of the plan that a resumed run may not change
 * (run/resume/resume.h), and the model's files (names, sizes, heads). *hash: of all that. *chosen:
 * of it what `auto` may have chosen (mode, windows, dtype, steps, size, seed), for the heads of
 * state files; the caller's. Rank 0 only, Blocking. Errors: LT_ENOMEM. */
lt_status lt_film_job(const lt_plan *plan, uint64_t *hash, json_t **chosen);

/* What `auto` chose, as the head of RUN's cache/text.lt says, or of the newest state file that is
 * whole; from: its path. NULL: none is. The caller's. Rank 0 only, Blocking, never fails. */
json_t *lt_film_chosen(const char *run, char *from, size_t bytes);

/* The states of a render in plan->run. Rank 0's count on all ranks. goes_on: find the newest step
 * that counts, tell it, and go on from it; else what lies there is no concern. epoch: of the run's
 * lease. every, keep: --checkpoint-every, --keep-steps. Collective on mesh->world, Blocking.
 * Errors: lt_state_find's, lt_run_state_open's. */
typedef struct lt_film_state_args {
    const lt_plan *plan;
    int64_t epoch, every, keep;
    int goes_on;
} lt_film_state_args;
lt_status lt_film_state_open(const lt_film_state_args *args, const lt_mesh *mesh,
                             lt_run_state **out);
/* {"committed", "last_step", "durable", "skipped", "failed", "bytes"} of steps so far, for manifest
 * and events; NULL: none are kept, or no memory (lt_json_starved). The caller's. Rank 0 only. */
json_t *lt_film_state_json(lt_run_state *state);

#endif
