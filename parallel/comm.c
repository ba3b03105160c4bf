/* comm.c - packing, gathers and ordered sums over exchange.                       Level 2: parallel
 *
 * Host collectives first, device collectives after. A device collective is in order on the comm
 * queue: the queue waits for `after`, the host drains it (MPI reads memory, not queues), the bytes
 * move, results are uploaded, `done` is marked. A backend whose memory the CPU may read
 * (host_access) sends from and receives into tensors; else both sides are staged.
 *
 * Copies on such a backend, beside what the transport does: a gather copies my rows to their place;
 * a sum copies my share of my own partials; all-to-all packs what leaves (or unpacks what arrives)
 * once and copies what stays once, strided tensors included.
 *
 * On `dry` nothing moves: the same list of transfers is made, with addresses that nobody follows,
 * and counted; scratch is taken, so that peaks are right.
 *
 * Sums. Partial sums of a row-split layer are [S, E] on every rank. Rank r owns the r-th share of
 * rows: everyone sends it that share (reduce-scatter), it adds them in rank order, and the sums are
 * gathered. 2 (P-1)/P of the bytes move (where y is narrower than f32, less), and the order of
 * addition never depends on timing. */
#include "parallel/comm.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "parallel/engine.h"
#include "parallel/transport_impl.h"
#include "parallel/watch.h"

/* Where this rank is, for whoever must say it when another is lost. */
#define NAMED(name, group, expr)                                                                   \
    do {                                                                                           \
        lt_note_begin(name, (group)->axis);                                                        \
        const lt_status named_ = (expr);                                                           \
        lt_note_end();                                                                             \
        return named_;                                                                             \
    } while (0)

static lt_status move_all(lt_group *group, const lt_transfer *list, int count, int dry)
{
    if (!dry)
        return lt_exchange(group, list, count);
    lt_traffic_count(group, list, count);
    return LT_OK;
}

/* ---- host ---- */

static lt_status broadcast(lt_group *group, int root, void *data, size_t bytes)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    assert(root >= 0 && root < size);
    if (size == 1 || bytes == 0)
        return LT_OK;
    /* A binomial tree: round k doubles the ranks that hold the data. */
    const int me = (rank - root + size) % size;
    for (int span = 1; span < size; span *= 2) {
        lt_transfer move = {0};
        if (me < span && me + span < size) {
            move =
                (lt_transfer){.peer = (me + span + root) % size, .send = data, .send_bytes = bytes};
            LT_TRY(lt_exchange(group, &move, 1));
        } else if (me >= span && me < 2 * span) {
            move =
                (lt_transfer){.peer = (me - span + root) % size, .recv = data, .recv_bytes = bytes};
            LT_TRY(lt_exchange(group, &move, 1));
        }
    }
    return LT_OK;
}

lt_status lt_broadcast(lt_group *group, int root, void *data, size_t bytes)
{
    NAMED("broadcast", group, broadcast(group, root, data, bytes));
}

lt_status lt_broadcast_text(lt_group *group, int root, char **data, size_t *bytes)
{
    const int is_root = lt_group_rank(group) == root;
    uint64_t length = is_root ? *bytes : 0;
    char *text = NULL;
    lt_status st = LT_OK;
    LT_TRY(lt_broadcast(group, root, &length, sizeof length));
    if (!is_root) {
        text = length < SIZE_MAX ? malloc((size_t)length + 1) : NULL;
        if (text == NULL)
            st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "no memory for a message of %llu bytes",
                         (unsigned long long)length);
    }
    LT_TRY_GOTO(lt_agree(group, st), st, failed); /* one without room must not leave alone */
    LT_TRY_GOTO(lt_broadcast(group, root, is_root ? *data : text, (size_t)length), st, failed);
    if (!is_root) {
        assert(text != NULL); /* else lt_agree had failed */
        text[length] = '\0';
        *data = text;
        *bytes = (size_t)length;
    }
    return LT_OK;
failed:
    free(text);
    return st;
}

static lt_status barrier(lt_group *group)
{
    /* Dissemination: after ceil(log2 P) rounds everyone has heard from everyone. */
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    for (int span = 1; span < size; span *= 2) {
        char mine = 1, theirs = 0;
        const lt_transfer moves[2] = {
            {.peer = (rank + span) % size, .send = &mine, .send_bytes = 1},
            {.peer = (rank - span + size) % size, .recv = &theirs, .recv_bytes = 1}};
        LT_TRY(lt_exchange(group, moves, 2));
    }
    return LT_OK;
}

lt_status lt_barrier(lt_group *group) { NAMED("barrier", group, barrier(group)); }

static lt_status all_gather_host(lt_group *group, const void *mine, size_t bytes, void *all)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    if (bytes == 0)
        return LT_OK;
    memmove((char *)all + (size_t)rank * bytes, mine, bytes);
    if (size == 1)
        return LT_OK;
    lt_transfer *moves = calloc((size_t)size, sizeof *moves);
    if (moves == NULL)
        LT_FAIL(LT_ENOMEM, "gather: no memory for %d transfers", size);
    int count = 0;
    for (int step = 1; step < size; step++) {
        const int peer = (rank + step) % size;
        moves[count++] = (lt_transfer){peer, (char *)all + (size_t)rank * bytes, bytes,
                                       (char *)all + (size_t)peer * bytes, bytes};
    }
    const lt_status st = lt_exchange(group, moves, count);
    free(moves);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_all_gather_host(lt_group *group, const void *mine, size_t bytes, void *all)
{
    NAMED("all_gather_host", group, all_gather_host(group, mine, bytes, all));
}

/* Bytes move, or (on dry) are only counted: whole is then an address that nobody follows. */
static lt_status gather_ranges(lt_group *group, char *whole, size_t row_bytes,
                               const lt_range *ranges, int dry)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    if (size == 1 || row_bytes == 0)
        return LT_OK;
    lt_transfer *moves = calloc((size_t)size, sizeof *moves);
    if (moves == NULL)
        LT_FAIL(LT_ENOMEM, "gather: no memory for %d transfers", size);
    int count = 0;
    for (int step = 1; step < size; step++) {
        const int peer = (rank + step) % size;
        moves[count++] = (lt_transfer){peer, whole + (size_t)ranges[rank].first * row_bytes,
                                       (size_t)ranges[rank].count * row_bytes,
                                       whole + (size_t)ranges[peer].first * row_bytes,
                                       (size_t)ranges[peer].count * row_bytes};
    }
    const lt_status st = move_all(group, moves, count, dry);
    free(moves);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_all_gather_ranges(lt_group *group, void *whole, size_t row_bytes,
                               const lt_range *ranges)
{
    return gather_ranges(group, whole, row_bytes, ranges, 0);
}

/* ---- agreement ---- */

/* What is known of a set of ranks. Merging two of these twice changes nothing, so the rounds of the
 * barrier spread it: no memory is taken, and no rank can fail alone on the way. */
typedef struct {
    int32_t first_failed, status; /* lowest failed rank, or the group's size */
    int32_t lowest, highest;      /* of the ranks' counts of agreements */
} verdict;

/* The failed rank's words, sent only when there are some. */
typedef struct {
    char text[1024], hint[1024];
} words;

static lt_status agreed_on = LT_OK;

int lt_agreed_failure(lt_status *original)
{
    *original = agreed_on;
    return agreed_on != LT_OK;
}

static void merge(verdict *mine, const verdict *theirs)
{
    if (theirs->first_failed < mine->first_failed) {
        mine->first_failed = theirs->first_failed;
        mine->status = theirs->status;
    }
    mine->lowest = theirs->lowest < mine->lowest ? theirs->lowest : mine->lowest;
    mine->highest = theirs->highest > mine->highest ? theirs->highest : mine->highest;
}

/* The lowest failed rank keeps its own error and trail; the others take its words. */
static lt_status take_words(lt_group *group, const verdict *v, lt_status mine)
{
    words w = {{0}, {0}};
    const int is_first = lt_group_rank(group) == v->first_failed;
    if (is_first) {
        const char *text = lt_error_text();
        if (text[0] == '\0') /* a status made without lt_fail */
            text = lt_status_name(mine);
        (void)snprintf(w.text, sizeof w.text, "%s", text);
        (void)snprintf(w.hint, sizeof w.hint, "%s", lt_hint_text());
    }
    LT_TRY(lt_broadcast(group, v->first_failed, &w, sizeof w));
    if (lt_group_size(group) >= lt_world_size())
        agreed_on = (lt_status)v->status;
    if (is_first)
        return mine;
    lt_error_clear();
    if (w.hint[0] != '\0')
        lt_hint("%s", w.hint);
    LT_FAIL(mine != LT_OK ? mine : LT_EPEER, "%s", w.text);
}

/* A rank that failed waits for the others for seconds only: they may be in a collective that it
 * never came to, and then cannot come. It goes with its own error, which nobody agreed on. */
static lt_status agree(lt_group *group, lt_status mine)
{
    char own[sizeof(words)];
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    agreed_on = LT_OK;
    if (size == 1) {
        if (lt_world_size() == 1)
            agreed_on = mine;
        return mine;
    }
    (void)snprintf(own, sizeof own, "%s",
                   lt_error_text()[0] != '\0' ? lt_error_text() : lt_status_name(mine));
    const int32_t turn = ++group->agreements;
    verdict v = {mine != LT_OK ? rank : size, (int32_t)mine, turn, turn};
    for (int span = 1; span < size; span *= 2) {
        const verdict sent = v;
        verdict theirs = v;
        const lt_transfer moves[2] = {
            {.peer = (rank + span) % size, .send = &sent, .send_bytes = sizeof sent},
            {.peer = (rank - span + size) % size, .recv = &theirs, .recv_bytes = sizeof theirs}};
        group->wait_seconds_max = mine != LT_OK ? 3 + 0.1 * (rank % 10) : 0;
        const lt_status moved = lt_exchange(group, moves, 2);
        group->wait_seconds_max = 0;
        if (moved != LT_OK && mine != LT_OK) {
            lt_error_clear();
            LT_FAIL(mine, "%s", own);
        }
        LT_TRY(moved);
        merge(&v, &theirs);
    }
    if (v.lowest != v.highest)
        LT_FAIL(LT_EINTERNAL, "ranks came to an agreement from different places: turns %d to %d",
                (int)v.lowest, (int)v.highest);
    return v.first_failed < size ? take_words(group, &v, mine) : LT_OK;
}

lt_status lt_agree(lt_group *group, lt_status mine)
{
    /* The note of a rank that failed stays where it failed. */
    NAMED(mine == LT_OK ? "agree" : NULL, group, agree(group, mine));
}

/* ---- device ---- */

/* Host buffers that grow and stay. */
typedef struct {
    char *data;
    size_t bytes;
} staging;
static staging outgoing, incoming, blocks;

static lt_status stage_reserve(staging *stage, size_t bytes)
{
    if (stage->data != NULL && stage->bytes >= bytes)
        return LT_OK;
    free(stage->data);
    stage->bytes = 0;
    stage->data = malloc(bytes > 0 ? bytes : 1);
    if (stage->data == NULL)
        LT_FAIL(LT_ENOMEM, "comm: no memory for %zu staging bytes", bytes);
    stage->bytes = bytes;
    return LT_OK;
}

static int is_dry(const lt_engine *engine) { return engine->backend == &lt_backend_dry; }

/* A matrix as the CPU sees it: in place or staged. */
typedef struct {
    char *data;
    size_t pitch; /* bytes from one row to the next */
} view;

static size_t dense_pitch(const lt_tensor *x)
{
    return (size_t)lt_row_width(x) * lt_dtype_bytes(x->dtype);
}

static view in_place(const lt_tensor *x)
{
    const size_t pitch = (size_t)x->row_stride * lt_dtype_bytes(x->dtype);
    return (view){x->data, lt_is_dense(x) ? dense_pitch(x) : pitch};
}

/* x after `after`; dense: only as one block, else any pitch will do. Drains comm, so it comes
 * before `writable` in every collective. */
static lt_status readable(lt_engine *engine, const lt_event *after, const lt_tensor *x, int dense,
                          view *out)
{
    if (after != NULL)
        LT_TRY(lt_wait(engine->comm, after));
    *out = in_place(x);
    if (is_dry(engine))
        return LT_OK;
    if (engine->backend->host_access && (!dense || lt_is_dense(x)))
        return lt_sync(engine->comm);
    LT_TRY(stage_reserve(&outgoing, lt_tensor_bytes(x)));
    LT_TRY(lt_download(engine->comm, outgoing.data, x));
    *out = (view){outgoing.data, dense_pitch(x)};
    return lt_sync(engine->comm);
}

/* Where the CPU may write y's elements; `written` uploads them if that was not y itself. */
static lt_status writable(lt_engine *engine, const lt_tensor *y, int dense, view *out)
{
    *out = in_place(y);
    if (is_dry(engine) || (engine->backend->host_access && (!dense || lt_is_dense(y))))
        return LT_OK;
    LT_TRY(stage_reserve(&incoming, lt_tensor_bytes(y)));
    *out = (view){incoming.data, dense_pitch(y)};
    return LT_OK;
}

/* The upload may run late: staging is used again only after the next collective has drained comm.
 */
static lt_status written(lt_engine *engine, const lt_tensor *y, const view *from, lt_event *done)
{
    if (from->data != (char *)y->data)
        LT_TRY(lt_upload(engine->comm, y, from->data));
    return done != NULL ? lt_mark_event(engine->comm, done) : LT_OK;
}

static lt_status all_gather_rows(lt_engine *engine, lt_group *group, const lt_event *after,
                                 const lt_tensor *x, const int64_t *counts, lt_tensor *y,
                                 lt_event *done)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    const size_t row_bytes = dense_pitch(x);
    lt_range *ranges = calloc((size_t)size, sizeof *ranges);
    if (ranges == NULL)
        LT_FAIL(LT_ENOMEM, "gather: no memory for %d ranges", size);
    for (int i = 0; i < size; i++)
        ranges[i] = (lt_range){i == 0 ? 0 : ranges[i - 1].first + ranges[i - 1].count, counts[i]};
    assert(x->dtype == y->dtype && lt_row_count(x) == counts[rank]);
    assert(lt_row_width(x) == lt_row_width(y));
    assert(lt_row_count(y) == ranges[size - 1].first + ranges[size - 1].count);
    lt_status st = LT_OK;
    view from, to;
    LT_TRY_GOTO(readable(engine, after, x, 1, &from), st, done);
    LT_TRY_GOTO(writable(engine, y, 1, &to), st, done);
    char *mine = to.data + (size_t)ranges[rank].first * row_bytes;
    if (!is_dry(engine) && counts[rank] > 0 && mine != from.data)
        memmove(mine, from.data, (size_t)counts[rank] * row_bytes);
    LT_TRY_GOTO(gather_ranges(group, to.data, row_bytes, ranges, is_dry(engine)), st, done);
    LT_TRY_GOTO(written(engine, y, &to, done), st, done);
done:
    free(ranges);
    return st;
}

lt_status lt_all_gather_rows(lt_engine *engine, lt_group *group, const lt_event *after,
                             const lt_tensor *x, const int64_t *counts, lt_tensor *y,
                             lt_event *done)
{
    NAMED("all_gather_rows", group, all_gather_rows(engine, group, after, x, counts, y, done));
}

/* Send each rank its share of my partial sums; parts [P, mine, E] in the order of ranks. */
static lt_status scatter_partials(lt_engine *engine, lt_group *group, const lt_event *after,
                                  const lt_tensor *x, lt_tensor *parts)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    const int64_t rows = lt_row_count(x);
    const size_t row_bytes = dense_pitch(x);
    const lt_range mine = lt_share(rows, size, rank);
    view from, to;
    LT_TRY(readable(engine, after, x, 1, &from));
    LT_TRY(writable(engine, parts, 1, &to));
    lt_transfer *moves = calloc((size_t)size, sizeof *moves);
    if (moves == NULL)
        LT_FAIL(LT_ENOMEM, "sum: no memory for %d transfers", size);
    const size_t bytes = (size_t)mine.count * row_bytes;
    for (int peer = 0; peer < size; peer++) {
        const lt_range theirs = lt_share(rows, size, peer);
        moves[peer] =
            (lt_transfer){peer, from.data + (size_t)theirs.first * row_bytes,
                          (size_t)theirs.count * row_bytes, to.data + (size_t)peer * bytes, bytes};
    }
    const lt_status st = move_all(group, moves, size, is_dry(engine));
    free(moves);
    LT_TRY(st);
    return written(engine, parts, &to, NULL);
}

static lt_status gather_sums(lt_engine *engine, lt_group *group, lt_range mine, lt_tensor *y,
                             lt_event *done)
{
    const int size = lt_group_size(group);
    const lt_tensor sums = lt_view_outer(y, mine);
    int64_t *counts = calloc((size_t)size, sizeof *counts);
    if (counts == NULL)
        LT_FAIL(LT_ENOMEM, "sum: no memory for %d counts", size);
    for (int peer = 0; peer < size; peer++)
        counts[peer] = lt_share(lt_row_count(y), size, peer).count;
    const lt_status st = lt_all_gather_rows(engine, group, NULL, &sums, counts, y, done);
    free(counts);
    return st;
}

static lt_status sum_partials(lt_engine *engine, lt_group *group, const lt_event *after,
                              const lt_tensor *x, lt_tensor *y, lt_event *done)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    const int64_t rows = lt_row_count(x), width = lt_row_width(x);
    assert(x->dtype == LT_F32 && x->ndim == 2 && y->ndim == 2);
    assert(lt_row_count(y) == rows && lt_row_width(y) == width);
    if (size == 1) {
        if (after != NULL)
            LT_TRY(lt_wait(engine->comm, after));
        LT_TRY(lt_copy(engine->comm, x, y));
        return done != NULL ? lt_mark_event(engine->comm, done) : LT_OK;
    }
    const lt_range mine = lt_share(rows, size, rank);
    const lt_mark mark = lt_arena_mark(engine->step);
    lt_status st = LT_OK;
    lt_tensor parts, sums = lt_view_outer(y, mine);
    LT_TRY(
        lt_tensor_new(engine->step, "sum.parts", LT_F32, &parts, LT_DIMS(size, mine.count, width)));
    LT_TRY_GOTO(scatter_partials(engine, group, after, x, &parts), st, done);
    LT_TRY_GOTO(lt_sum_parts(engine->comm, &parts, &sums), st, done);
    LT_TRY_GOTO(gather_sums(engine, group, mine, y, done), st, done);
done:
    lt_arena_release(engine->step, mark);
    return st;
}

lt_status lt_sum_partials(lt_engine *engine, lt_group *group, const lt_event *after,
                          const lt_tensor *x, lt_tensor *y, lt_event *done)
{
    NAMED("sum_partials", group, sum_partials(engine, group, after, x, y, done));
}

static void copy_columns(const char *from, size_t from_pitch, int64_t rows, size_t bytes, char *to,
                         size_t to_pitch)
{
    for (int64_t i = 0; i < rows && bytes > 0; i++)
        memcpy(to + (size_t)i * to_pitch, from + (size_t)i * from_pitch, bytes);
}

/* One all-to-all. wide: my rows with all heads (x on the way there, y on the way back); tall: all
 * rows with my heads. What a peer gets or sends of wide lies packed in block[peer]. */
typedef struct {
    view wide, tall;
    const lt_range *rows, *heads;
    size_t head_bytes;
    int size, rank, to_heads, dry;
    char *block;
} crossing;

/* Columns of wide that belong to peer <-> its packed block; mine <-> tall, without a block. */
static void cross_local(const crossing *c, int peer)
{
    const int64_t rows = c->rows[c->rank].count;
    const size_t bytes = (size_t)c->heads[peer].count * c->head_bytes;
    const size_t at = (size_t)c->heads[peer].first * c->head_bytes;
    if (c->dry || rows == 0 || bytes == 0)
        return;
    char *wide = c->wide.data + at;
    char *other = c->block + (size_t)rows * at;
    size_t pitch = bytes;
    if (peer == c->rank) {
        pitch = c->tall.pitch;
        other = c->tall.data + (size_t)c->rows[peer].first * pitch;
    }
    if (c->to_heads)
        copy_columns(wide, c->wide.pitch, rows, bytes, other, pitch);
    else
        copy_columns(other, pitch, rows, bytes, wide, c->wide.pitch);
}

static lt_status cross(const crossing *c, lt_group *group)
{
    const int64_t rows = c->rows[c->rank].count;
    lt_transfer *moves = calloc((size_t)c->size, sizeof *moves);
    if (moves == NULL)
        LT_FAIL(LT_ENOMEM, "all-to-all: no memory for %d transfers", c->size);
    int count = 0;
    for (int step = 1; step < c->size; step++) {
        const int peer = (c->rank + step) % c->size;
        const size_t width = (size_t)c->heads[peer].count * c->head_bytes;
        char *block = c->block + (size_t)rows * (size_t)c->heads[peer].first * c->head_bytes;
        char *slab = c->tall.data + (size_t)c->rows[peer].first * c->tall.pitch;
        const size_t block_bytes = (size_t)rows * width;
        const size_t slab_bytes = (size_t)c->rows[peer].count * c->tall.pitch;
        if (c->to_heads)
            moves[count++] = (lt_transfer){peer, block, block_bytes, slab, slab_bytes};
        else
            moves[count++] = (lt_transfer){peer, slab, slab_bytes, block, block_bytes};
    }
    for (int peer = 0; peer < c->size && c->to_heads; peer++)
        cross_local(c, peer);
    const lt_status st = move_all(group, moves, count, c->dry);
    free(moves);
    LT_TRY(st);
    for (int peer = 0; peer < c->size && !c->to_heads; peer++)
        cross_local(c, peer);
    return LT_OK;
}

static int64_t end_of(const lt_range *ranges, int size)
{
    for (int i = 0; i < size; i++)
        assert(ranges[i].count >= 0 &&
               ranges[i].first == (i == 0 ? 0 : ranges[i - 1].first + ranges[i - 1].count));
    return ranges[size - 1].first + ranges[size - 1].count;
}

static lt_status all_to_all(lt_engine *engine, lt_group *group, const lt_event *after,
                            const lt_tensor *x, crossing *c, int64_t width, lt_tensor *y,
                            lt_event *done)
{
    c->size = lt_group_size(group);
    c->rank = lt_group_rank(group);
    c->dry = is_dry(engine);
    c->head_bytes = (size_t)width * lt_dtype_bytes(x->dtype);
    const int64_t heads = end_of(c->heads, c->size), rows = end_of(c->rows, c->size);
    const int64_t my_heads = c->heads[c->rank].count, my_rows = c->rows[c->rank].count;
    const lt_tensor *wide = c->to_heads ? x : y, *tall = c->to_heads ? y : x;
    assert(x->dtype == y->dtype);
    assert(lt_is_dense(wide) || lt_row_width(wide) == heads * width);
    assert(lt_elements(wide) == my_rows * heads * width);
    assert(lt_elements(tall) == rows * my_heads * width);
    const size_t block_bytes = (size_t)(my_rows * heads) * c->head_bytes;
    if (c->to_heads) {
        LT_TRY(readable(engine, after, x, 0, &c->wide));
        LT_TRY(writable(engine, y, 1, &c->tall));
    } else {
        LT_TRY(readable(engine, after, x, 1, &c->tall));
        LT_TRY(writable(engine, y, 0, &c->wide));
    }
    c->tall.pitch = (size_t)my_heads * c->head_bytes; /* dense, also if given as [S, N, D] */
    if (lt_is_dense(wide) || c->wide.data != (char *)wide->data)
        c->wide.pitch = (size_t)heads * c->head_bytes;
    c->block = c->wide.data;
    if (!c->dry && c->size > 1) {
        LT_TRY(stage_reserve(&blocks, block_bytes));
        c->block = blocks.data;
    }
    LT_TRY(cross(c, group));
    return written(engine, y, c->to_heads ? &c->tall : &c->wide, done);
}

lt_status lt_all_to_all_heads(lt_engine *engine, lt_group *group, const lt_event *after,
                              const lt_tensor *x, const lt_range *rows, const lt_range *heads,
                              int64_t width, lt_tensor *y, lt_event *done)
{
    crossing c = {.rows = rows, .heads = heads, .to_heads = 1};
    NAMED("all_to_all_heads", group, all_to_all(engine, group, after, x, &c, width, y, done));
}

lt_status lt_all_to_all_rows(lt_engine *engine, lt_group *group, const lt_event *after,
                             const lt_tensor *x, const lt_range *rows, const lt_range *heads,
                             int64_t width, lt_tensor *y, lt_event *done)
{
    crossing c = {.rows = rows, .heads = heads, .to_heads = 0};
    NAMED("all_to_all_rows", group, all_to_all(engine, group, after, x, &c, width, y, done));
}
