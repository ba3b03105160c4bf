/* collective.c - collectives of tensors, queued on comm.
 *
 * Each is lt_copy of views into dense scratch where a peer's part is not dense, one exchange of
 * dense tensors (exchange.h), and lt_copy out of scratch. What stays on this rank is copied once,
 * straight to its place: by the exchange where it is dense, beside the messages. Nothing here waits
 * or follows a pointer, so a device's own library can carry all of it.
 *
 * On `dry` nothing moves: the same lists are made and counted, and scratch is taken, so that peaks
 * are right.
 *
 * All-reduce. The partial sums of a row-parallel layer are [S, E] on every rank. Rank r owns the
 * r-th share of rows: all ranks send it that share (reduce-scatter), it adds them in rank order,
 * and the sums are gathered (all-gather). 2 (P-1)/P of the bytes move (where y is narrower than
 * f32, less), and the order of addition never depends on timing. Where they are few bytes, what
 * counts is how often ranks wait for each other: all send all of theirs to all (one exchange, not
 * two), and each adds everything, in the same order, to the same bits. */
#include <assert.h>
#include <stdlib.h>

#include "parallel/collective/exchange.h"
#include "parallel/context.h"

static lt_status wait_for(lt_engine *engine, const lt_event *after)
{
    return after != NULL ? lt_wait(engine->comm, after) : LT_OK;
}

static lt_status mark_done(lt_engine *engine, lt_event *done)
{
    return done != NULL ? lt_mark_event(engine->comm, done) : LT_OK;
}

/* As rows of a matrix, whatever the dims were. */
static lt_tensor as_rows(const lt_tensor *x, int64_t rows)
{
    return lt_is_dense(x) && rows > 0 ? lt_view_as(x, LT_DIMS(rows, lt_elements(x) / rows)) : *x;
}

static lt_status copy(lt_engine *engine, const lt_tensor *from, const lt_tensor *to)
{
    lt_tensor y = *to;
    if (lt_elements(from) == 0 || from->data == to->data)
        return LT_OK;
    return lt_copy(engine->comm, from, &y);
}

/* x itself where it is dense, else scratch like it; filled: with its elements. */
static lt_status dense(lt_engine *engine, const lt_tensor *x, int filled, lt_tensor *out)
{
    *out = *x;
    if (lt_is_dense(x) || lt_elements(x) == 0)
        return LT_OK;
    LT_TRY(
        lt_comm_scratch(engine->memory, x->dtype, LT_DIMS(lt_row_count(x), lt_row_width(x)), out));
    return filled ? copy(engine, x, out) : LT_OK;
}

/* own [owns]: what stays on this rank, dense; list has space for it. */
static lt_status exchange(lt_engine *engine, lt_group *group, const char *name,
                          lt_tensor_transfer *list, int count, const lt_tensor_transfer *own,
                          int owns)
{
    lt_link *link = lt_links_find(engine->links, group);
    const int beside = count > 0 && link->how->takes_own;
    for (int i = 0; i < owns; i++) {
        if (lt_elements(&own[i].send) == 0 || own[i].send.data == own[i].recv.data)
            continue;
        if (beside)
            list[count++] = own[i];
        else
            LT_TRY(copy(engine, &own[i].send, &own[i].recv));
    }
    if (count == 0)
        return LT_OK;
    if (link->how->poll != NULL)
        LT_TRY(link->how->poll(link));
    return link->how->exchange(link, engine->comm, name, list, count);
}

/* ---- gather ---- */

static lt_status gather_rows(lt_engine *engine, lt_group *group, const char *name,
                             const lt_tensor *x, const int64_t *counts, lt_tensor *y)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    int64_t first = 0, all = 0;
    for (int i = 0; i < size; i++) {
        first += i < rank ? counts[i] : 0;
        all += counts[i];
    }
    assert(x->dtype == y->dtype && lt_row_count(x) == counts[rank]);
    assert(lt_row_width(x) == lt_row_width(y) && lt_row_count(y) == all);
    const size_t mark = lt_comm_mark(engine->memory);
    lt_tensor whole;
    lt_tensor_transfer *list;
    LT_TRY(dense(engine, y, 0, &whole));
    whole = as_rows(&whole, all);
    LT_TRY(lt_comm_transfers(engine->memory, size, &list));
    const lt_tensor mine = lt_view_outer(&whole, (lt_range){all > 0 ? first : 0, counts[rank]});
    const lt_tensor_transfer own = {rank, *x, mine};
    const int is_dense = lt_is_dense(x);
    int count = 0;
    if (!is_dense)
        LT_TRY(copy(engine, x, &mine));
    for (int step = 1; step < size; step++) {
        const int peer = (rank + step) % size;
        int64_t before = 0;
        for (int i = 0; i < peer; i++)
            before += counts[i];
        list[count++] = (lt_tensor_transfer){
            peer, is_dense ? *x : mine, lt_view_outer(&whole, (lt_range){before, counts[peer]})};
    }
    LT_TRY(exchange(engine, group, name, list, count, &own, is_dense));
    LT_TRY(copy(engine, &whole, y));
    lt_comm_release(engine->memory, mark);
    return LT_OK;
}

lt_status lt_all_gather_rows(lt_engine *engine, lt_group *group, const lt_event *after,
                             const lt_tensor *x, const int64_t *counts, lt_tensor *y,
                             lt_event *done)
{
    LT_TRY(wait_for(engine, after));
    LT_TRY(gather_rows(engine, group, "all_gather_rows", x, counts, y));
    return mark_done(engine, done);
}

/* ---- all-reduce ---- */

static const char *const sum_name = "sum_partials";

/* So few bytes, received by a rank, that one exchange takes less time than two of a share each.
 * Measured on two ranks of one host: bench/LOG.md. */
static const int64_t one_exchange_bytes = 128 << 10;

int lt_all_reduce_is_small(int size, int64_t elements)
{
    return (size - 1) * elements * (int64_t)sizeof(float) <= one_exchange_bytes;
}

static lt_status reduce_at_once(lt_engine *engine, lt_group *group, const lt_tensor *x,
                                lt_tensor *y)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    const int64_t rows = lt_row_count(x), width = lt_row_width(x);
    const size_t mark = lt_comm_mark(engine->memory);
    lt_tensor whole, flat;
    lt_tensor_transfer own = {.peer = rank}, *list;
    LT_TRY(dense(engine, x, 1, &whole));
    LT_TRY(lt_comm_scratch(engine->memory, LT_F32, LT_DIMS(size * rows, width), &flat));
    LT_TRY(lt_comm_transfers(engine->memory, size, &list));
    int count = 0;
    for (int peer = 0; peer < size; peer++) {
        const lt_tensor to = lt_view_outer(&flat, (lt_range){peer * rows, rows});
        *(peer == rank ? &own : &list[count++]) = (lt_tensor_transfer){peer, whole, to};
    }
    LT_TRY(exchange(engine, group, sum_name, list, count, &own, 1));
    const lt_tensor parts = lt_view_as(&flat, LT_DIMS(size, rows, width));
    LT_TRY(lt_sum_parts(engine->comm, &parts, y));
    lt_comm_release(engine->memory, mark);
    return LT_OK;
}

/* Send each rank its share of my partial sums; parts [P, mine, E] in the order of ranks. */
static lt_status scatter_partials(lt_engine *engine, lt_group *group, const lt_tensor *x,
                                  const lt_tensor *parts)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    const int64_t rows = lt_row_count(x), mine = lt_share(rows, size, rank).count;
    lt_tensor_transfer own = {.peer = rank};
    lt_tensor whole;
    lt_tensor_transfer *list;
    LT_TRY(dense(engine, x, 1, &whole));
    LT_TRY(lt_comm_transfers(engine->memory, size, &list));
    int count = 0;
    for (int peer = 0; peer < size; peer++) {
        const lt_tensor theirs = lt_view_outer(&whole, lt_share(rows, size, peer));
        const lt_tensor to = lt_view_outer(parts, (lt_range){peer * mine, mine});
        *(peer == rank ? &own : &list[count++]) = (lt_tensor_transfer){peer, theirs, to};
    }
    return exchange(engine, group, sum_name, list, count, &own, 1);
}

static lt_status gather_sums(lt_engine *engine, lt_group *group, lt_tensor *y)
{
    enum { FEW = 64 };
    const int size = lt_group_size(group);
    const lt_tensor sums = lt_view_outer(y, lt_share(lt_row_count(y), size, lt_group_rank(group)));
    int64_t few[FEW] = {0}, *counts = size <= FEW ? few : malloc((size_t)size * sizeof *counts);
    if (counts == NULL)
        LT_FAIL(LT_ENOMEM, "sum: no memory for %d counts", size);
    for (int peer = 0; peer < size; peer++)
        counts[peer] = lt_share(lt_row_count(y), size, peer).count;
    const lt_status st = gather_rows(engine, group, sum_name, &sums, counts, y);
    if (counts != few)
        free(counts);
    return st;
}

lt_status lt_all_reduce(lt_engine *engine, lt_group *group, const lt_event *after,
                        const lt_tensor *x, lt_tensor *y, lt_event *done)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    const int64_t rows = lt_row_count(x), width = lt_row_width(x);
    assert(x->dtype == LT_F32 && x->ndim == 2 && y->ndim == 2);
    assert(lt_row_count(y) == rows && lt_row_width(y) == width);
    LT_TRY(wait_for(engine, after));
    if (size == 1) {
        LT_TRY(lt_copy(engine->comm, x, y));
        return mark_done(engine, done);
    }
    if (lt_all_reduce_is_small(size, rows * width)) {
        LT_TRY(reduce_at_once(engine, group, x, y));
        return mark_done(engine, done);
    }
    const lt_range mine = lt_share(rows, size, rank);
    const size_t mark = lt_comm_mark(engine->memory);
    lt_tensor flat, sums = lt_view_outer(y, mine);
    LT_TRY(lt_comm_scratch(engine->memory, LT_F32, LT_DIMS(size * mine.count, width), &flat));
    LT_TRY(scatter_partials(engine, group, x, &flat));
    const lt_tensor parts = lt_view_as(&flat, LT_DIMS(size, mine.count, width));
    LT_TRY(lt_sum_parts(engine->comm, &parts, &sums));
    LT_TRY(gather_sums(engine, group, y));
    lt_comm_release(engine->memory, mark);
    return mark_done(engine, done);
}

/* ---- all to all ---- */

/* One all-to-all. by_rows: sequence-sharded, my rows with all heads; by_heads: head-sharded, all
 * rows with my heads. A peer's part of by_rows lies packed in a block of scratch, or where it is if
 * that is dense (one row); its part of by_heads is a range of rows. */
typedef struct crossing {
    lt_tensor by_rows, by_heads;
    const lt_range *rows, *heads; /* of the ranks */
    int64_t width;
    int size, rank, to_heads;
} crossing;

static lt_tensor columns_of(const crossing *c, int peer)
{
    return lt_view_columns(
        &c->by_rows, (lt_range){c->heads[peer].first * c->width, c->heads[peer].count * c->width});
}

/* Fill the list, one block of scratch a peer. */
static lt_status pack(lt_engine *engine, const crossing *c, lt_tensor_transfer *list)
{
    for (int step = 1; step < c->size; step++) {
        const int peer = (c->rank + step) % c->size;
        const lt_tensor columns = columns_of(c, peer);
        const lt_tensor slab = lt_view_outer(&c->by_heads, c->rows[peer]);
        lt_tensor block;
        LT_TRY(dense(engine, &columns, c->to_heads, &block));
        list[step - 1] = c->to_heads ? (lt_tensor_transfer){peer, block, slab}
                                     : (lt_tensor_transfer){peer, slab, block};
    }
    return LT_OK;
}

static lt_status unpack(lt_engine *engine, const crossing *c, const lt_tensor_transfer *list)
{
    for (int i = 0; i < c->size - 1; i++) {
        if (lt_elements(&list[i].recv) == 0)
            continue;
        const lt_tensor columns = columns_of(c, list[i].peer);
        LT_TRY(copy(engine, &list[i].recv, &columns));
    }
    return LT_OK;
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

/* The two forms of x and y as they are: c->by_heads dense, in scratch where y or x is not. */
static lt_status begin_crossing(lt_engine *engine, const lt_tensor *x, const lt_tensor *y,
                                crossing *c)
{
    const lt_tensor *by_heads = c->to_heads ? y : x, *by_rows = c->to_heads ? x : y;
    const int64_t rows = end_of(c->rows, c->size, 0);
    const int64_t my_heads = c->heads[c->rank].count, my_rows = c->rows[c->rank].count;
    const int64_t heads = my_rows > 0 ? lt_elements(by_rows) / (my_rows * c->width) : 0;
    assert(x->dtype == y->dtype);
    assert(lt_is_dense(by_rows) || lt_row_width(by_rows) == heads * c->width);
    assert(lt_elements(by_rows) == my_rows * heads * c->width);
    const int64_t heads_end = end_of(c->heads, c->size, 1);
    assert(my_rows == 0 || heads_end <= heads);
    assert(lt_elements(by_heads) == rows * my_heads * c->width);
    LT_TRY(dense(engine, by_heads, !c->to_heads, &c->by_heads));
    c->by_heads = lt_view_as(&c->by_heads, LT_DIMS(rows, my_heads * c->width));
    c->by_rows =
        lt_view_as(by_rows, LT_DIMS(my_rows, (my_rows > 0 ? heads : heads_end) * c->width));
    return LT_OK;
}

static lt_tensor_transfer own_part(const crossing *c)
{
    const lt_tensor mine = lt_view_outer(&c->by_heads, c->rows[c->rank]);
    const lt_tensor columns = columns_of(c, c->rank);
    return c->to_heads ? (lt_tensor_transfer){c->rank, columns, mine}
                       : (lt_tensor_transfer){c->rank, mine, columns};
}

/* Of by_heads it always is. */
static int own_is_dense(const crossing *c)
{
    const lt_tensor columns = columns_of(c, c->rank);
    return lt_is_dense(&columns);
}

/* `tensors` all-to-alls of one form in one exchange; c[0] says which. */
static lt_status all_to_all(lt_engine *engine, lt_group *group, const lt_event *after,
                            const lt_tensor *const *x, crossing *c, int tensors,
                            lt_tensor *const *y, lt_event *done)
{
    const int size = lt_group_size(group), peers = size - 1;
    const size_t mark = lt_comm_mark(engine->memory);
    lt_tensor_transfer own[LT_ALL_TO_ALL_MAX], *list;
    int owns = 0;
    assert(tensors >= 1 && tensors <= LT_ALL_TO_ALL_MAX);
    LT_TRY(wait_for(engine, after));
    LT_TRY(lt_comm_transfers(engine->memory, size * tensors, &list));
    for (int i = 0; i < tensors; i++) {
        c[i] = c[0];
        c[i].size = size;
        c[i].rank = lt_group_rank(group);
        LT_TRY(begin_crossing(engine, x[i], y[i], &c[i]));
        LT_TRY(pack(engine, &c[i], list + i * peers));
        if (own_is_dense(&c[i]))
            own[owns++] = own_part(&c[i]);
    }
    LT_TRY(exchange(engine, group, c->to_heads ? "all_to_all_heads" : "all_to_all_rows", list,
                    peers * tensors, own, owns));
    for (int i = 0; i < tensors; i++) {
        const lt_tensor_transfer part = own_part(&c[i]);
        if (!own_is_dense(&c[i]))
            LT_TRY(copy(engine, &part.send, &part.recv));
        if (!c->to_heads)
            LT_TRY(unpack(engine, &c[i], list + i * peers));
        else if (!lt_is_dense(y[i]))
            LT_TRY(copy(engine, &c[i].by_heads, y[i]));
    }
    lt_comm_release(engine->memory, mark);
    return mark_done(engine, done);
}

lt_status lt_all_to_all_heads_each(lt_engine *engine, lt_group *group, const lt_event *after,
                                   const lt_tensor *const *x, int tensors, const lt_range *rows,
                                   const lt_range *heads, int64_t width, lt_tensor *const *y,
                                   lt_event *done)
{
    crossing c[LT_ALL_TO_ALL_MAX] = {{.rows = rows, .heads = heads, .width = width, .to_heads = 1}};
    return all_to_all(engine, group, after, x, c, tensors, y, done);
}

lt_status lt_all_to_all_heads(lt_engine *engine, lt_group *group, const lt_event *after,
                              const lt_tensor *x, const lt_range *rows, const lt_range *heads,
                              int64_t width, lt_tensor *y, lt_event *done)
{
    return lt_all_to_all_heads_each(engine, group, after, &x, 1, rows, heads, width, &y, done);
}

lt_status lt_all_to_all_rows(lt_engine *engine, lt_group *group, const lt_event *after,
                             const lt_tensor *x, const lt_range *rows, const lt_range *heads,
                             int64_t width, lt_tensor *y, lt_event *done)
{
    crossing c = {.rows = rows, .heads = heads, .width = width, .to_heads = 0};
    return all_to_all(engine, group, after, &x, &c, 1, &y, done);
}

/* ---- exchange ---- */

lt_status lt_exchange_tensors(lt_engine *engine, lt_group *group, const char *name,
                              const lt_event *after, const lt_tensor_transfer *list, int count,
                              lt_event *done)
{
    const size_t mark = lt_comm_mark(engine->memory);
    lt_tensor_transfer *dense_list;
    LT_TRY(wait_for(engine, after));
    LT_TRY(lt_comm_transfers(engine->memory, count, &dense_list));
    for (int i = 0; i < count; i++) {
        assert(list[i].peer != lt_group_rank(group));
        dense_list[i] = list[i];
        if (list[i].send.ndim > 0)
            LT_TRY(dense(engine, &list[i].send, 1, &dense_list[i].send));
        if (list[i].recv.ndim > 0)
            LT_TRY(dense(engine, &list[i].recv, 0, &dense_list[i].recv));
    }
    LT_TRY(exchange(engine, group, name, dense_list, count, NULL, 0));
    for (int i = 0; i < count; i++)
        if (list[i].recv.ndim > 0)
            LT_TRY(copy(engine, &dense_list[i].recv, &list[i].recv));
    lt_comm_release(engine->memory, mark);
    return mark_done(engine, done);
}
