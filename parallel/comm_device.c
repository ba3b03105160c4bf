/* comm_device.c - collectives of tensors, queued on comm.                         Level 2: parallel
 *
 * Each makes the list of what moves and hands it to comm_task.h; nothing here waits, but where
 * staging grows. A backend whose memory the CPU may read (host_access) sends from and receives into
 * tensors; else both sides are staged.
 *
 * Copies on such a backend, beside what the transport does: a gather copies my rows to their place;
 * a sum copies my share of my own partials; all-to-all packs what leaves (or unpacks what arrives)
 * once and copies what stays once, strided tensors included.
 *
 * On `dry` nothing moves: the same lists are made, with addresses that nobody follows, and counted;
 * scratch is taken, so that peaks are right.
 *
 * Sums. Partial sums of a row-split layer are [S, E] on every rank. Rank r owns the r-th share of
 * rows: everyone sends it that share (reduce-scatter), it adds them in rank order, and the sums are
 * gathered. 2 (P-1)/P of the bytes move (where y is narrower than f32, less), and the order of
 * addition never depends on timing. */
#include <assert.h>
#include <stdlib.h>

#include "parallel/comm_task.h"
#include "parallel/transport/transport_impl.h"

static lt_status mark_done(lt_engine *engine, lt_event *done)
{
    return done != NULL ? lt_mark_event(engine->comm, done) : LT_OK;
}

/* ---- gather ---- */

static lt_status gather_rows(lt_engine *engine, lt_group *group, const char *name,
                             const lt_event *after, const lt_tensor *x, const int64_t *counts,
                             lt_tensor *y, lt_event *done)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    const size_t row_bytes = lt_dense_pitch(x);
    int64_t first = 0, all = 0;
    for (int i = 0; i < size; i++) {
        first += i < rank ? counts[i] : 0;
        all += counts[i];
    }
    assert(x->dtype == y->dtype && lt_row_count(x) == counts[rank]);
    assert(lt_row_width(x) == lt_row_width(y) && lt_row_count(y) == all);
    lt_host_view from, to;
    size_t out_at = 0, in_at = 0;
    LT_TRY(lt_comm_readable(engine, after, x, 1, lt_tensor_bytes(x), &out_at, &from));
    LT_TRY(lt_comm_writable(engine, y, 1, lt_tensor_bytes(y), &in_at, &to));
    lt_comm_task *t = NULL;
    LT_TRY(lt_comm_task_new(name, group, size, 1, 0, &t));
    char *mine = to.data + (size_t)first * row_bytes;
    const size_t bytes = (size_t)counts[rank] * row_bytes;
    t->before[t->befores++] = (lt_block_copy){mine, from.data, bytes, bytes, bytes, 1};
    for (int step = 1; step < size; step++) {
        const int peer = (rank + step) % size;
        int64_t before = 0;
        for (int i = 0; i < peer; i++)
            before += counts[i];
        t->move[t->moves++] = (lt_transfer){peer, mine, bytes, to.data + (size_t)before * row_bytes,
                                            (size_t)counts[peer] * row_bytes};
    }
    LT_TRY(lt_comm_task_queue(engine, t));
    LT_TRY(lt_comm_written(engine, y, &to));
    return mark_done(engine, done);
}

lt_status lt_all_gather_rows(lt_engine *engine, lt_group *group, const lt_event *after,
                             const lt_tensor *x, const int64_t *counts, lt_tensor *y,
                             lt_event *done)
{
    return gather_rows(engine, group, "all_gather_rows", after, x, counts, y, done);
}

/* ---- sum ---- */

static const char *const sum_name = "sum_partials";

/* Send each rank its share of my partial sums; parts [P, mine, E] in the order of ranks. */
static lt_status scatter_partials(lt_engine *engine, lt_group *group, const lt_event *after,
                                  const lt_tensor *x, lt_tensor *parts)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    const int64_t rows = lt_row_count(x);
    const size_t row_bytes = lt_dense_pitch(x);
    const size_t bytes = (size_t)lt_share(rows, size, rank).count * row_bytes;
    lt_host_view from, to;
    size_t out_at = 0, in_at = 0;
    LT_TRY(lt_comm_readable(engine, after, x, 1, lt_tensor_bytes(x), &out_at, &from));
    LT_TRY(lt_comm_writable(engine, parts, 1, lt_tensor_bytes(parts), &in_at, &to));
    lt_comm_task *t = NULL;
    LT_TRY(lt_comm_task_new(sum_name, group, size, 0, 0, &t));
    for (int peer = 0; peer < size; peer++) {
        const lt_range theirs = lt_share(rows, size, peer);
        t->move[t->moves++] =
            (lt_transfer){peer, from.data + (size_t)theirs.first * row_bytes,
                          (size_t)theirs.count * row_bytes, to.data + (size_t)peer * bytes, bytes};
    }
    LT_TRY(lt_comm_task_queue(engine, t));
    return lt_comm_written(engine, parts, &to);
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
    const lt_status st = gather_rows(engine, group, sum_name, NULL, &sums, counts, y, done);
    free(counts);
    return st;
}

lt_status lt_sum_partials(lt_engine *engine, lt_group *group, const lt_event *after,
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
        return mark_done(engine, done);
    }
    const lt_range mine = lt_share(rows, size, rank);
    lt_tensor parts, sums = lt_view_outer(y, mine);
    LT_TRY(lt_comm_scratch(engine, LT_DIMS(size, mine.count, width), &parts));
    LT_TRY(scatter_partials(engine, group, after, x, &parts));
    LT_TRY(lt_sum_parts(engine->comm, &parts, &sums));
    return gather_sums(engine, group, mine, y, done);
}

/* ---- all to all ---- */

/* One all-to-all. wide: my rows with all heads (x on the way there, y on the way back); tall: all
 * rows with my heads. What a peer gets or sends of wide lies packed in block[peer]; mine lies in
 * tall. Where the CPU cannot read the device, wide is not staged: its columns are downloaded to, or
 * uploaded from, those places. */
typedef struct crossing {
    const lt_tensor *wide_at; /* the tensor itself */
    lt_host_view wide, tall;  /* wide: only where it is direct */
    const lt_range *rows, *heads;
    size_t head_bytes;
    int size, rank, to_heads, staged;
    char *block;
} crossing;

/* Where the columns of wide that belong to peer lie packed. */
static char *packed(const crossing *c, int peer)
{
    if (peer == c->rank)
        return c->tall.data + (size_t)c->rows[peer].first * c->tall.pitch;
    return c->block + (size_t)c->rows[c->rank].count * (size_t)c->heads[peer].first * c->head_bytes;
}

/* Columns of wide <-> their packed place, by the task. */
static void cross_local(const crossing *c, int peer, lt_comm_task *t)
{
    const int64_t rows = c->rows[c->rank].count;
    const size_t bytes = (size_t)c->heads[peer].count * c->head_bytes;
    const size_t at = (size_t)c->heads[peer].first * c->head_bytes;
    if (rows == 0 || bytes == 0)
        return;
    char *wide = c->wide.data + at, *other = packed(c, peer);
    const size_t pitch = peer == c->rank ? c->tall.pitch : bytes;
    if (c->to_heads)
        t->before[t->befores++] = (lt_block_copy){other, wide, pitch, c->wide.pitch, bytes, rows};
    else
        t->after[t->afters++] = (lt_block_copy){wide, other, c->wide.pitch, pitch, bytes, rows};
}

/* The same by the queue, before or after the task. */
static lt_status cross_staged(const crossing *c, lt_engine *engine, int64_t width)
{
    const int64_t rows = c->rows[c->rank].count;
    lt_tensor flat = *c->wide_at;
    if (rows == 0)
        return LT_OK;
    if (lt_is_dense(&flat))
        flat = lt_view_as(&flat, LT_DIMS(rows, lt_elements(&flat) / rows));
    for (int peer = 0; peer < c->size; peer++) {
        const lt_range heads = c->heads[peer];
        const lt_tensor columns =
            lt_view_columns(&flat, (lt_range){heads.first * width, heads.count * width});
        if (heads.count == 0)
            continue;
        if (c->to_heads)
            LT_TRY(lt_download(engine->comm, packed(c, peer), &columns));
        else
            LT_TRY(lt_upload(engine->comm, &columns, packed(c, peer)));
    }
    return LT_OK;
}

static lt_status cross(const crossing *c, lt_engine *engine, lt_group *group)
{
    const int64_t rows = c->rows[c->rank].count;
    lt_comm_task *t = NULL;
    LT_TRY(lt_comm_task_new(c->to_heads ? "all_to_all_heads" : "all_to_all_rows", group, c->size,
                            c->size, c->size, &t));
    for (int step = 1; step < c->size; step++) {
        const int peer = (c->rank + step) % c->size;
        char *slab = c->tall.data + (size_t)c->rows[peer].first * c->tall.pitch;
        const size_t block_bytes = (size_t)(rows * c->heads[peer].count) * c->head_bytes;
        const size_t slab_bytes = (size_t)c->rows[peer].count * c->tall.pitch;
        if (c->to_heads)
            t->move[t->moves++] =
                (lt_transfer){peer, packed(c, peer), block_bytes, slab, slab_bytes};
        else
            t->move[t->moves++] =
                (lt_transfer){peer, slab, slab_bytes, packed(c, peer), block_bytes};
    }
    for (int peer = 0; peer < c->size && !c->staged; peer++)
        cross_local(c, peer, t);
    return lt_comm_task_queue(engine, t);
}

static int64_t end_of(const lt_range *ranges, int size, int gaps)
{
    int64_t end = 0;
    for (int i = 0; i < size; i++) {
        assert(ranges[i].count >= 0 && (ranges[i].first == end || (gaps && ranges[i].first > end)));
        end = ranges[i].first + ranges[i].count;
    }
    return end;
}

/* Places for both sides; comm waits for `after`. */
static lt_status cross_places(lt_engine *engine, const lt_event *after, const lt_tensor *tall,
                              int64_t heads, crossing *c)
{
    size_t at = 0;
    const int64_t my_rows = c->rows[c->rank].count;
    if (after != NULL)
        LT_TRY(lt_wait(engine->comm, after));
    if (c->to_heads)
        LT_TRY(lt_comm_writable(engine, tall, 1, lt_tensor_bytes(tall), &at, &c->tall));
    else
        LT_TRY(lt_comm_readable(engine, NULL, tall, 1, lt_tensor_bytes(tall), &at, &c->tall));
    c->tall.pitch = /* dense, also if given as [S, N, D] */
        (size_t)c->heads[c->rank].count * c->head_bytes;
    c->wide.data = c->wide_at->data;
    c->wide.pitch = lt_is_dense(c->wide_at)
                        ? (size_t)heads * c->head_bytes
                        : (size_t)c->wide_at->row_stride * lt_dtype_bytes(c->wide_at->dtype);
    c->block = c->wide.data; /* on dry an address like another */
    if (!lt_comm_is_dry(engine) && c->size > 1)
        LT_TRY(lt_comm_blocks(engine, (size_t)(my_rows * heads) * c->head_bytes, &c->block));
    return LT_OK;
}

static lt_status all_to_all(lt_engine *engine, lt_group *group, const lt_event *after,
                            const lt_tensor *x, crossing *c, int64_t width, lt_tensor *y,
                            lt_event *done)
{
    const lt_tensor *tall = c->to_heads ? y : x;
    c->size = lt_group_size(group);
    c->rank = lt_group_rank(group);
    c->head_bytes = (size_t)width * lt_dtype_bytes(x->dtype);
    c->staged = !engine->backend->host_access && !lt_comm_is_dry(engine);
    c->wide_at = c->to_heads ? x : y;
    const int64_t rows = end_of(c->rows, c->size, 0);
    const int64_t my_heads = c->heads[c->rank].count, my_rows = c->rows[c->rank].count;
    const int64_t heads = my_rows > 0 ? lt_elements(c->wide_at) / (my_rows * width) : 0;
    assert(x->dtype == y->dtype);
    assert(lt_is_dense(c->wide_at) || lt_row_width(c->wide_at) == heads * width);
    assert(lt_elements(c->wide_at) == my_rows * heads * width);
    assert(my_rows == 0 || end_of(c->heads, c->size, 1) <= heads);
    assert(lt_elements(tall) == rows * my_heads * width);
    LT_TRY(cross_places(engine, after, tall, heads, c));
    if (c->staged && c->to_heads)
        LT_TRY(cross_staged(c, engine, width));
    LT_TRY(cross(c, engine, group));
    if (c->to_heads)
        LT_TRY(lt_comm_written(engine, y, &c->tall));
    else if (c->staged)
        LT_TRY(cross_staged(c, engine, width));
    return mark_done(engine, done);
}

lt_status lt_all_to_all_heads(lt_engine *engine, lt_group *group, const lt_event *after,
                              const lt_tensor *x, const lt_range *rows, const lt_range *heads,
                              int64_t width, lt_tensor *y, lt_event *done)
{
    crossing c = {.rows = rows, .heads = heads, .to_heads = 1};
    return all_to_all(engine, group, after, x, &c, width, y, done);
}

lt_status lt_all_to_all_rows(lt_engine *engine, lt_group *group, const lt_event *after,
                             const lt_tensor *x, const lt_range *rows, const lt_range *heads,
                             int64_t width, lt_tensor *y, lt_event *done)
{
    crossing c = {.rows = rows, .heads = heads, .to_heads = 0};
    return all_to_all(engine, group, after, x, &c, width, y, done);
}

/* ---- exchange ---- */

static size_t bytes_of(const lt_tensor *x) { return x->ndim > 0 ? lt_tensor_bytes(x) : 0; }

/* Where the bytes of list come from and go to; to: [count], for what must be uploaded. */
static lt_status list_moves(lt_engine *engine, const lt_tensor_transfer *list, int count,
                            lt_host_view *to, lt_comm_task *t)
{
    size_t out_bytes = 0, in_bytes = 0, out_at = 0, in_at = 0;
    for (int i = 0; i < count; i++) {
        out_bytes += bytes_of(&list[i].send);
        in_bytes += bytes_of(&list[i].recv);
    }
    for (int i = 0; i < count; i++) {
        const lt_tensor *send = &list[i].send, *recv = &list[i].recv;
        lt_host_view from = {NULL, 0};
        assert(list[i].peer != t->group->rank);
        if (bytes_of(send) > 0)
            LT_TRY(lt_comm_readable(engine, NULL, send, 1, out_bytes, &out_at, &from));
        if (bytes_of(recv) > 0)
            LT_TRY(lt_comm_writable(engine, recv, 1, in_bytes, &in_at, &to[i]));
        t->move[t->moves++] =
            (lt_transfer){list[i].peer, from.data, bytes_of(send), to[i].data, bytes_of(recv)};
    }
    return LT_OK;
}

lt_status lt_exchange_tensors(lt_engine *engine, lt_group *group, const char *name,
                              const lt_event *after, const lt_tensor_transfer *list, int count,
                              lt_event *done)
{
    lt_comm_task *t = NULL;
    lt_status st = LT_OK;
    lt_host_view *to = calloc((size_t)count + 1, sizeof *to);
    if (to == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %d transfers", name, count);
    if (after != NULL)
        LT_TRY_GOTO(lt_wait(engine->comm, after), st, done);
    LT_TRY_GOTO(lt_comm_task_new(name, group, count, 0, 0, &t), st, done);
    st = list_moves(engine, list, count, to, t);
    if (st != LT_OK) {
        free(t);
        goto done;
    }
    LT_TRY_GOTO(lt_comm_task_queue(engine, t), st, done);
    for (int i = 0; i < count; i++)
        if (bytes_of(&list[i].recv) > 0)
            LT_TRY_GOTO(lt_comm_written(engine, &list[i].recv, &to[i]), st, done);
    LT_TRY_GOTO(mark_done(engine, done), st, done);
done:
    free(to);
    return st;
}
