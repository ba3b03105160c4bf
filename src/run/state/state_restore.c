/* state_restore.c - rank 0 reads a step's files and hands them out, block by block.
 *
 * Every rank keeps of each block what its clip holds, so the ranks that go on may be of any number,
 * with ranges of any kind. Memory: one block (state_file.h). Bytes: each rank gets all of the clip
 * once, which is what its noise alone would have taken to make. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "run/state/run_state_internal.h"

/* What goes before each block. */
typedef struct passage {
    int32_t ends; /* nothing follows: all was read, or rank 0 failed */
    int32_t stream;
    lt_range range;       /* of the time axis, that the block's array holds */
    int64_t first, count; /* elements of that array */
} passage;

/* ---- what a block says ---- */

/* Elements [first, first + count) of a dense [outer, range, inner] array into a clip. A row is the
 * inner elements of one position. */
static void scatter(const lt_stream *stream, const passage *p, const float *values, lt_clip *clip)
{
    const int64_t inner = lt_stream_inner(stream);
    const lt_range has = clip->range[p->stream];
    float *data = clip->data[p->stream];
    for (int64_t at = p->first; at < p->first + p->count;) {
        const int64_t row = at / inner, within = at % inner;
        const int64_t left = p->first + p->count - at;
        const int64_t n = inner - within < left ? inner - within : left;
        const int64_t o = row / p->range.count, t = p->range.first + row % p->range.count;
        if (t >= has.first && t < has.first + has.count)
            memcpy(data + (o * has.count + t - has.first) * inner + within,
                   values + (at - p->first), (size_t)n * sizeof *values);
        at += n;
    }
}

/* ---- rank 0 ---- */

typedef struct restoring {
    lt_run_state *state;
    const lt_plan *plan;
    const lt_state_pick *pick;
    lt_clip *clip;
    float *block;
    lt_range *seen[LT_STREAMS_MAX]; /* [seen_count]: what the files hold, in any order */
    int seen_count[LT_STREAMS_MAX];
} restoring;

static lt_status pass_on(const restoring *r, const passage *p)
{
    passage copy = *p;
    LT_TRY(lt_broadcast(r->state->world, 0, &copy, sizeof copy));
    if (p->ends)
        return LT_OK;
    LT_TRY(lt_broadcast(r->state->world, 0, r->block, (size_t)p->count * sizeof(float)));
    scatter(&r->plan->stream[p->stream], p, r->block, r->clip);
    return LT_OK;
}

lt_status lt_state_stream(const char *path, const lt_state_array *a, const lt_plan *plan,
                          int *stream)
{
    for (int s = 0; s < plan->stream_count; s++) {
        const lt_stream *want = &plan->stream[s];
        if (strcmp(want->name, a->name) != 0)
            continue;
        int fits = a->dtype == LT_F32 && a->ndim == want->ndim && a->axis == want->time_axis &&
                   a->units == lt_stream_units(want);
        for (int i = 0; i < a->ndim && fits; i++)
            fits = i == want->time_axis || a->dim[i] == want->dim[i];
        if (!fits)
            LT_FAIL(LT_EDATA,
                    "%s: %s: dims: want F32 of the plan's shape, with %lld positions, "
                    "found another, with %lld",
                    path, a->name, (long long)lt_stream_units(want), (long long)a->units);
        *stream = s;
        return LT_OK;
    }
    LT_FAIL(LT_EDATA, "%s: arrays: want the plan's streams, found '%s'", path, a->name);
}

/* May a file hold `range` where one read before holds `before`, which it meets? Only of a chunk of
 * `extend` that fades in. */
static int may_follow(const lt_plan *plan, lt_range before, lt_range range)
{
    return plan->windowing.mode == LT_MODE_EXTEND && plan->windowing.fade > 0 &&
           range.first > before.first && range.first + range.count > before.first + before.count;
}

static lt_status note_range(restoring *r, const char *path, const lt_state_array *a, int s)
{
    const lt_range range = {a->first, a->dim[a->axis]};
    for (int i = 0; i < r->seen_count[s]; i++)
        if (lt_overlap(r->seen[s][i], range).count > 0 &&
            !may_follow(r->plan, r->seen[s][i], range))
            LT_FAIL(LT_EDATA,
                    "%s: %s: first: want positions that no other file has, found %lld to "
                    "%lld again",
                    path, a->name, (long long)range.first,
                    (long long)(range.first + range.count - 1));
    lt_range *more = realloc(r->seen[s], (size_t)(r->seen_count[s] + 1) * sizeof *more);
    if (more == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for its ranges", path);
    r->seen[s] = more;
    r->seen[s][r->seen_count[s]++] = range;
    return LT_OK;
}

static lt_status check_arrays(restoring *r, const char *path, const lt_state_reader *reader,
                              int stream_of[LT_STATE_ARRAYS_MAX])
{
    for (int i = 0; i < lt_state_reader_count(reader); i++) {
        const lt_state_array *a = lt_state_reader_array(reader, i);
        LT_TRY(lt_state_stream(path, a, r->plan, &stream_of[i]));
        LT_TRY(note_range(r, path, a, stream_of[i]));
    }
    return LT_OK;
}

/* *sent: how passing a block on fared, which all ranks share; the result is rank 0's own. */
static lt_status read_blocks(restoring *r, const char *path, lt_state_reader *reader,
                             lt_status *sent)
{
    int stream_of[LT_STATE_ARRAYS_MAX];
    lt_state_block b;
    LT_TRY(check_arrays(r, path, reader, stream_of));
    while (*sent == LT_OK) {
        LT_TRY(lt_state_reader_next(reader, &b));
        if (b.count == 0)
            break;
        const lt_state_array *a = lt_state_reader_array(reader, b.array);
        const passage p = {.stream = stream_of[b.array],
                           .range = {a->first, a->dim[a->axis]},
                           .first = b.first,
                           .count = b.count};
        memcpy(r->block, b.values, (size_t)b.count * sizeof(float));
        *sent = pass_on(r, &p);
    }
    return LT_OK;
}

static lt_status read_file(restoring *r, const char *name, lt_status *sent)
{
    char path[LT_PATH_BYTES];
    lt_state_reader *reader = NULL;
    LT_TRY(lt_path_join(path, sizeof path, r->state->folder, name));
    LT_TRY(lt_state_reader_open(path, &reader));
    const lt_state_head *head = lt_state_reader_head(reader);
    lt_status st = LT_OK;
    if (head->kind == LT_STATE_LATENTS && head->place.shot == r->pick->shot &&
        head->place.pass == r->pick->pass && head->place.chunk >= r->pick->chunks.first &&
        head->place.chunk - r->pick->chunks.first < r->pick->chunks.count)
        st = read_blocks(r, path, reader, sent);
    lt_state_reader_close(&reader);
    return st;
}

static int by_first(const void *a, const void *b)
{
    const lt_range *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

static void tell_found(restoring *r, lt_range found[LT_STREAMS_MAX])
{
    for (int s = 0; s < r->plan->stream_count; s++) {
        if (r->seen_count[s] > 1)
            qsort(r->seen[s], (size_t)r->seen_count[s], sizeof *r->seen[s], by_first);
        const int64_t first = r->seen_count[s] > 0 ? r->seen[s][0].first : 0;
        int64_t end = first;
        for (int i = 0; i < r->seen_count[s] && r->seen[s][i].first <= end; i++)
            end = r->seen[s][i].first + r->seen[s][i].count;
        found[s] = (lt_range){first, end - first};
    }
}

static lt_status hand_out(restoring *r, lt_range found[LT_STREAMS_MAX])
{
    const lt_commit *from = &r->state->start;
    lt_status sent = LT_OK, mine = LT_OK;
    for (int i = 0; i < from->count && mine == LT_OK && sent == LT_OK; i++)
        mine = read_file(r, from->file[i].name, &sent);
    LT_TRY(sent);
    LT_TRY(pass_on(r, &(passage){.ends = 1}));
    tell_found(r, found);
    return mine;
}

/* ---- the others ---- */

static lt_status take_in(const restoring *r)
{
    for (;;) {
        passage p;
        LT_TRY(lt_broadcast(r->state->world, 0, &p, sizeof p));
        if (p.ends)
            return LT_OK;
        LT_TRY(lt_broadcast(r->state->world, 0, r->block, (size_t)p.count * sizeof(float)));
        scatter(&r->plan->stream[p.stream], &p, r->block, r->clip);
    }
}

lt_status lt_run_state_restore(lt_run_state *state, const lt_plan *plan, const lt_state_pick *pick,
                               lt_clip *clip, lt_range found[LT_STREAMS_MAX])
{
    const int root = lt_group_rank(state->world) == 0;
    restoring r = {.state = state, .plan = plan, .pick = pick, .clip = clip};
    lt_status st = LT_OK;
    memset(found, 0, LT_STREAMS_MAX * sizeof *found);
    assert(clip->count == plan->stream_count);
    r.block = malloc(LT_STATE_BLOCK_BYTES);
    if (r.block == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "states: no memory for a block");
    LT_TRY_GOTO(lt_agree(state->world, st), st, done);
    st = root ? hand_out(&r, found) : take_in(&r);
    LT_TRY_GOTO(lt_agree(state->world, st), st, done);
    LT_TRY_GOTO(lt_broadcast(state->world, 0, found, LT_STREAMS_MAX * sizeof *found), st, done);
done:
    for (int s = 0; s < LT_STREAMS_MAX; s++)
        free(r.seen[s]);
    free(r.block);
    return st;
}
