/* caches.h - what a run has made of its prompts and noise levels, so that going on opens neither
 * the text encoder nor the modulation weights.
 *
 *     RUN/cache/text.lt      arrays ids (I32, of all prompts) and rows (F32)
 *     RUN/cache/tables.lt    arrays timesteps (F32) and tables (U8: the family's own bytes)
 *
 * State files (state_file.h) of kind text and tables, with the job's hash; the first array is
 * compared, the second is used. One that is not this run's, or not whole, is named in a warning and
 * made again. They are written by rank 0's I/O thread, of a copy; where there is no memory for one,
 * or no room on the disk, a warning says so, and going on takes longer.
 * Tested: tests/faults/test_state_days.c. */
#ifndef LT_CACHES_H
#define LT_CACHES_H

#include "run/denoise/levels.h"
#include "run/prompts.h"
#include "run/state/run_state.h"

/* rows [tokens->all, width] of this run, on all ranks; *hit 0: they are to be made. state NULL, or
 * one that keeps nothing: *hit 0. Collective on the state's world, Blocking. */
lt_status lt_cache_text(lt_run_state *state, const lt_tokens *tokens, int64_t width, float *rows,
                        int *hit);
/* They were made. Rank 0 only, never waits, never fails. */
void lt_cache_keep_text(lt_run_state *state, const lt_tokens *tokens, int64_t width,
                        const float *rows);

/* The tables of these levels in this dtype, malloc'ed, on all ranks, for family->tables_give; *out
 * NULL: there are none. The caller frees. Collective on the state's world, Blocking. Errors:
 * LT_ENOMEM, LT_EPEER. */
lt_status lt_cache_tables(lt_run_state *state, const lt_model *model, lt_dtype dtype,
                          const lt_levels *levels, void **out, size_t *bytes);
/* The DiT that is open made them. Rank 0 only, never waits, never fails. */
void lt_cache_keep_tables(lt_run_state *state, const lt_model *model, lt_dtype dtype,
                          const lt_levels *levels);

/* Wait until what was kept is on the disk, so long at most: closing drops what has not begun.
 * state may be NULL. Local, never fails. */
void lt_cache_finish(lt_run_state *state, double seconds);

#endif
