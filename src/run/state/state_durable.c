/* state_durable.c - a step that counts becomes durable: a round of syncs on all ranks that write.
 *
 *     step 12 goes out     its copy; on ranks that write the file: the order to sync it
 *     step 13 ends         rank 0: record 12, the order to sync file and record
 *     ...                  nobody waits; steps go on counting
 *     step 19 ends         nobody is busy any more: 12 is durable, what was kept for it may go
 *
 * The first round is for the step that the run goes on from: the start that made it may have been
 * killed before its own.
 *
 * One round at a time, and one a second at most: where steps are short, a disk that is never done
 * would slow down the very files that make steps count. */
#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/record.h"
#include "run/state/run_state_internal.h"

static const double gap_seconds = 1.0;

/* Rank 0: the files of the step that the run goes on from. */
static lt_status add_start(lt_run_state *state, lt_state_sync *sync)
{
    const lt_commit *from = &state->start;
    char name[LT_STATE_NAME_BYTES], path[LT_PATH_BYTES];
    const lt_state_name record = {from->place.step, from->epoch, -1};
    for (int i = 0; i <= from->count; i++) {
        const char *one = i < from->count ? from->file[i].name : lt_state_name_text(&record, name);
        LT_TRY(lt_path_join(path, sizeof path, state->folder, one));
        LT_TRY(lt_state_sync_add(sync, path, from->place.step, 1));
    }
    return LT_OK;
}

lt_status lt_durable_open(lt_run_state *state)
{
    state->sync_began = lt_seconds() - gap_seconds;
    if (!state->is_on || state->from.step == 0)
        return LT_OK;
    state->sync_step = state->from.step;
    if (lt_group_rank(state->world) != 0)
        return LT_OK;
    lt_state_sync *sync = lt_state_thread_syncs(state->thread);
    LT_TRY(add_start(state, sync));
    lt_state_sync_begin(sync, state->sync_step);
    return LT_OK;
}

void lt_durable_report(const lt_run_state *state, lt_state_report *mine)
{
    mine->sync_due = lt_seconds() - state->sync_began >= gap_seconds;
    if (state->sync_step == 0 || state->thread == NULL)
        return;
    mine->sync_busy = state->sync_waits || lt_state_thread_is_syncing(state->thread);
    if (mine->sync_busy)
        return;
    const lt_state_outcome outcome = lt_state_sync_outcome(lt_state_thread_syncs(state->thread));
    mine->sync_status = (int32_t)outcome.status;
    (void)snprintf(mine->sync_text, sizeof mine->sync_text, "%s", outcome.text);
}

lt_status lt_durable_begin(lt_run_state *state, int64_t step, int follows)
{
    const int root = lt_group_rank(state->world) == 0;
    assert(state->sync_step == 0 && step > 0);
    state->sync_step = step;
    state->sync_void = 0;
    state->sync_waits = root && follows;
    state->sync_began = lt_seconds();
    if (state->thread != NULL && !state->sync_waits)
        LT_TRY(lt_state_thread_sync(state->thread, step));
    return LT_OK;
}

lt_status lt_durable_follow(lt_run_state *state)
{
    if (!state->sync_waits || state->out->place.step != state->sync_step)
        return LT_OK;
    LT_TRY(lt_state_thread_sync(state->thread, state->sync_step));
    state->sync_waits = 0;
    return LT_OK;
}

static void tell(const lt_run_state *state)
{
    lt_record_event("durable", json_pack("{s:I}", "step", (json_int_t)state->durable));
}

void lt_durable_settle(lt_run_state *state)
{
    const int root = lt_group_rank(state->world) == 0;
    const int64_t step = state->sync_step;
    const char *why = NULL;
    for (int r = lt_group_size(state->meet) - 1; r >= 0; r--)
        if (state->report[r].sync_status != LT_OK)
            why = state->report[r].sync_text;
    state->sync_step = 0;
    if (why != NULL) {
        state->sync_gave_up = 1;
        if (root)
            lt_warn("step %lld counts, but a power failure may take it: %s", (long long)step, why);
    } else if (!state->sync_void && (step == state->from.step || state->report[0].last >= step)) {
        state->durable = step;
        state->counts.durable = step;
        if (root) {
            lt_state_sync_durable(lt_state_thread_syncs(state->thread), step);
            tell(state);
        }
    }
}
