/* state_copies.c - one step's way to the disk.
 *
 *     a rank that sees RUN     copy -> its thread: step-N.eE.wW.lt
 *     one that does not        copy -> requests -> rank 0: copy -> its thread: the same file
 *
 * Copies live until all ranks know how the copy fared, so that one that stays can be tried again.
 * Requests are begun and tested by the main thread at a step's end; meanwhile the detector's thread
 * moves their bytes (docs/design.md 4). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "run/state/run_state_internal.h"

enum { TAG_STATE = 64 }; /* + stream */

/* An array's dims: the stream's, but along its time axis only what is owned. */
static void describe(const lt_stream *stream, lt_range own, lt_state_array *out)
{
    *out = (lt_state_array){.dtype = LT_F32,
                            .ndim = stream->ndim,
                            .axis = stream->time_axis,
                            .first = own.first,
                            .units = lt_stream_units(stream)};
    (void)snprintf(out->name, sizeof out->name, "%s", stream->name);
    for (int i = 0; i < stream->ndim; i++)
        out->dim[i] = i == stream->time_axis ? own.count : stream->dim[i];
}

static float *room_for(const lt_state_array *a)
{
    return malloc((size_t)lt_state_elements(a) * sizeof(float) + 1);
}

int lt_step_copy_part(const lt_run_state *state, const lt_state_part *part)
{
    int64_t owned = 0;
    for (int s = 0; s < part->clip->count; s++)
        owned += part->own[s].count;
    return state->writes && owned > 0 ? state->mesh->at[LT_AXIS_WIN] : -1;
}

static void copy_part(const lt_state_part *part, lt_step_copy *p)
{
    for (int s = 0; s < part->clip->count; s++) {
        const lt_stream *stream = &part->plan->stream[s];
        const lt_range own = part->own[s];
        if (own.count == 0)
            continue;
        lt_state_array *a = &p->array[p->count];
        describe(stream, own, a);
        float *values = room_for(a);
        p->failed |= values == NULL;
        if (values != NULL)
            lt_stream_copy(stream, own, part->clip->data[s], part->clip->range[s], values, own);
        a->data = values;
        p->count++;
    }
}

lt_status lt_step_copy_new(const lt_run_state *state, const lt_state_part *part, lt_step_copy **out)
{
    const int rank = lt_group_rank(state->meet), size = lt_group_size(state->world);
    lt_step_copy *p = calloc(1, sizeof *p);
    *out = p;
    if (p != NULL)
        p->part = malloc((size_t)size * sizeof *p->part);
    if (p == NULL || p->part == NULL) {
        lt_step_copy_free(out);
        LT_FAIL(LT_ENOMEM, "states: no memory for %d ranks", size);
    }
    p->place = part->place;
    p->stays = part->stays;
    for (int r = 0; r < size; r++)
        p->part[r] = r < lt_group_size(state->meet) ? state->report[r].part : -1;
    for (int r = 1; r < size && state->meet != state->world; r++)
        assert(p->part[r] < 0); /* numbers of meet are the world's for rank 0 alone */
    if (p->part[rank] >= 0)
        copy_part(part, p);
    return LT_OK;
}

static void arrays_free(lt_step_copy *p)
{
    for (int i = 0; i < p->count; i++) {
        free((void *)(uintptr_t)p->array[i].data);
        p->array[i].data = NULL;
    }
    p->count = 0;
}

void lt_step_copy_free(lt_step_copy **copy)
{
    if (*copy != NULL) {
        arrays_free(*copy);
        free((*copy)->part);
    }
    free(*copy);
    *copy = NULL;
}

/* ---- to the thread ---- */

static lt_status write_copy(lt_run_state *state, const lt_step_copy *p, int part)
{
    lt_state_write w = {.name = {p->place.step, state->epoch, part},
                        .head = {.kind = LT_STATE_LATENTS,
                                 .job = state->job,
                                 .epoch = state->epoch,
                                 .place = p->place,
                                 .chosen = state->chosen},
                        .count = p->count,
                        .stays = p->stays};
    (void)snprintf(w.head.mode, sizeof w.head.mode, "%s", state->mode);
    memcpy(w.array, p->array, (size_t)p->count * sizeof *w.array);
    LT_TRY(lt_state_thread_write(state->thread, &w));
    return LT_OK;
}

/* ---- to rank 0 ---- */

static lt_status send_out(lt_run_state *state)
{
    const lt_step_copy *p = state->out;
    for (int i = 0; i < p->count; i++)
        LT_TRY(lt_request_send(state->world, 0, TAG_STATE + i, p->array[i].data,
                               (size_t)lt_state_elements(&p->array[i]) * sizeof(float),
                               &state->sending[i]));
    return LT_OK;
}

/* A rank whose part goes by rank 0. */
static int is_remote(const lt_run_state *state, const lt_step_copy *p, int rank)
{
    return p->part[rank] >= 0 && !state->sees[rank];
}

/* What comes: rank 0 knows no dims. */
typedef struct parcel {
    int32_t count, failed;
    lt_state_array array[LT_STREAMS_MAX];
} parcel;

/* all [ranks]: on rank 0. */
static lt_status exchange_parcels(const lt_run_state *state, parcel *all)
{
    const lt_step_copy *p = state->out;
    const int rank = lt_group_rank(state->world), size = lt_group_size(state->world);
    parcel mine = {.count = p->count, .failed = p->failed};
    memcpy(mine.array, p->array, sizeof mine.array);
    const lt_transfer to = {.peer = 0, .send = &mine, .send_bytes = sizeof mine};
    if (rank != 0)
        return is_remote(state, p, rank) ? lt_exchange(state->world, &to, 1, NULL) : LT_OK;
    lt_transfer *list = calloc((size_t)size, sizeof *list);
    int count = 0;
    if (list == NULL)
        LT_FAIL(LT_ENOMEM, "states: no memory for %d ranks", size);
    for (int r = 1; r < size; r++)
        if (is_remote(state, p, r))
            list[count++] = (lt_transfer){.peer = r, .recv = &all[r], .recv_bytes = sizeof all[r]};
    const lt_status st = lt_exchange(state->world, list, count, NULL);
    free(list);
    return st;
}

/* Rank 0 expects what a rank sends. */
static lt_status expect(lt_run_state *state, int rank, const parcel *p)
{
    lt_remote *out = &state->remote[state->remotes++];
    *out = (lt_remote){.rank = rank, .part = state->out->part[rank]};
    out->copy.place = state->out->place;
    for (int i = 0; i < p->count; i++) {
        lt_state_array *a = &out->copy.array[i];
        *a = p->array[i];
        float *to = room_for(a);
        a->data = to;
        out->copy.count = i + 1;
        if (to == NULL)
            LT_FAIL(LT_ENOMEM, "states: no memory for %lld values of rank %d",
                    (long long)lt_state_elements(a), rank);
        LT_TRY(lt_request_recv(state->world, rank, TAG_STATE + i, to,
                               (size_t)lt_state_elements(a) * sizeof(float), &out->request[i]));
    }
    return LT_OK;
}

static lt_status expect_all(lt_run_state *state, const parcel *all)
{
    const int size = lt_group_size(state->world);
    state->remote = calloc((size_t)size, sizeof *state->remote);
    if (state->remote == NULL)
        LT_FAIL(LT_ENOMEM, "states: no memory for %d ranks", size);
    for (int r = 1; r < size; r++)
        if (is_remote(state, state->out, r) && !all[r].failed)
            LT_TRY(expect(state, r, &all[r]));
    return LT_OK;
}

static lt_status announce(lt_run_state *state)
{
    const int root = lt_group_rank(state->world) == 0, size = lt_group_size(state->world);
    parcel *all = root ? calloc((size_t)size, sizeof *all) : NULL;
    if (root && all == NULL)
        LT_FAIL(LT_ENOMEM, "states: no memory for %d ranks", size);
    lt_status st = exchange_parcels(state, all);
    if (st == LT_OK && root)
        st = expect_all(state, all);
    free(all);
    return st;
}

lt_status lt_step_copy_send(lt_run_state *state)
{
    const lt_step_copy *p = state->out;
    const int rank = lt_group_rank(state->world), size = lt_group_size(state->world);
    int by_rank_0 = 0;
    assert(p != NULL && state->remotes == 0);
    state->record_queued = 0;
    if (state->thread != NULL)
        lt_state_thread_files_begin(state->thread);
    for (int r = 1; r < size; r++)
        by_rank_0 |= is_remote(state, p, r);
    if (by_rank_0)
        LT_TRY(announce(state));
    if (p->count > 0 && !p->failed)
        LT_TRY(state->sees[rank] ? write_copy(state, p, p->part[rank]) : send_out(state));
    return LT_OK;
}

/* ---- under way ---- */

/* 1 in *done: all of these requests are. */
static lt_status test_all(lt_request *request[LT_STREAMS_MAX], int *done)
{
    *done = 1;
    for (int i = 0; i < LT_STREAMS_MAX; i++) {
        int one = 1;
        if (request[i] != NULL)
            LT_TRY(lt_request_test(&request[i], &one));
        *done &= one;
    }
    return LT_OK;
}

/* All parts of the copy are rank 0's to write, and with its thread: so is the record. */
static lt_status queue_record(lt_run_state *state)
{
    lt_commit commit;
    for (int r = 1; r < lt_group_size(state->world); r++)
        if (state->out->part[r] >= 0 && state->sees[r])
            return LT_OK; /* another rank writes too */
    for (int i = 0; i < state->remotes; i++)
        if (state->remote[i].part >= 0)
            return LT_OK; /* it has not come */
    LT_TRY(lt_step_copy_commit(state, 0, &commit));
    state->record_queued = 1;
    if (commit.count > 0)
        LT_TRY(lt_state_thread_commit(state->thread, &commit));
    lt_commit_free(&commit);
    return lt_durable_follow(state);
}

lt_status lt_step_copy_move(lt_run_state *state)
{
    int done = 1;
    if (state->out == NULL)
        return LT_OK;
    LT_TRY(test_all(state->sending, &done));
    for (int i = 0; i < state->remotes; i++) {
        lt_remote *r = &state->remote[i];
        if (r->part < 0)
            continue;
        LT_TRY(test_all(r->request, &done));
        if (!done)
            continue;
        LT_TRY(write_copy(state, &r->copy, r->part));
        r->part = -1; /* with the thread */
    }
    if (lt_group_rank(state->world) == 0 && !state->record_queued)
        LT_TRY(queue_record(state));
    return LT_OK;
}

int lt_step_copy_is_busy(const lt_run_state *state)
{
    int busy = state->thread != NULL && lt_state_thread_is_busy(state->thread);
    for (int i = 0; i < LT_STREAMS_MAX; i++)
        busy |= state->sending[i] != NULL;
    for (int i = 0; i < state->remotes; i++)
        busy |= state->remote[i].part >= 0;
    return busy;
}

lt_status lt_step_copy_commit(const lt_run_state *state, int with_sums, lt_commit *out)
{
    const int size = lt_group_size(state->world);
    const lt_step_copy *p = state->out;
    *out = (lt_commit){.job = state->job, .epoch = state->epoch, .place = p->place};
    out->file = calloc((size_t)(state->stays_count + size), sizeof *out->file);
    if (out->file == NULL)
        LT_FAIL(LT_ENOMEM, "states: no memory for a commit record");
    for (int i = 0; i < state->stays_count; i++)
        out->file[out->count++] = state->stays[i];
    const int before = out->count;
    for (int r = 0; r < size; r++) {
        if (p->part[r] < 0)
            continue;
        lt_commit_file *f = &out->file[out->count++];
        const lt_state_name name = {p->place.step, state->epoch, p->part[r]};
        (void)lt_state_name_text(&name, f->name);
        f->stays = p->stays;
        if (with_sums)
            f->sum = r == 0 || !state->sees[r] ? lt_state_thread_sum(state->thread, f->name)
                                               : state->report[r].sum;
    }
    if (out->count == before) /* nobody owned anything */
        lt_commit_free(out);
    return LT_OK;
}

void lt_step_copy_end(lt_run_state *state)
{
    for (int i = 0; i < LT_STREAMS_MAX; i++)
        if (state->sending[i] != NULL) {
            lt_request_drop(&state->sending[i]);
            state->out->count = 0; /* what a dropped send was given may still be read */
        }
    for (int i = 0; i < state->remotes; i++) {
        for (int k = 0; k < LT_STREAMS_MAX; k++)
            if (state->remote[i].request[k] != NULL) {
                lt_request_drop(&state->remote[i].request[k]);
                state->remote[i].copy.count = 0; /* and what comes, written */
            }
        arrays_free(&state->remote[i].copy);
    }
    free(state->remote);
    state->remote = NULL;
    state->remotes = 0;
}
