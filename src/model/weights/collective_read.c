/* collective_read.c - ranks that load one part together.
 *
 * A matrix [R, C] on P ranks, of which rank q wants columns C_q:
 *
 *     rank p reads   rows R_p (its share), all C, so many at a time as fit BLOCK_BYTES
 *     agreement      all could read their block, or all leave
 *     rank p packs   C_0 | C_1 | ... of its block's rows, dense
 *     exchange       p -> q: rows of p's block, columns C_q; they arrive where they belong, since
 *                    the result [R, |C_q|] is dense and the block's rows lie together in it
 *
 * The blocks are as many on all ranks: the first share is the largest. Ranks whose share of rows is
 * used up go on exchanging. Values are looked at and converted by the rank that reads them. */
#include "model/weights/collective_read.h"
#include "parallel/transport/agree.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 16 << 20 };

lt_loading lt_loading_new(lt_group *group) { return (lt_loading){.group = group}; }

static lt_status meet(lt_loading *l, lt_status mine)
{
    const lt_status st = lt_agree(l->group, mine);
    if (st != LT_OK)
        l->over = 1;
    return st;
}

lt_status lt_loading_end(lt_loading *loading, lt_status mine)
{
    const lt_status st = loading->over ? mine : meet(loading, mine);
    loading->over = 1;
    return st;
}

lt_range lt_columns_rows(const lt_loading *loading, lt_dims dims)
{
    return lt_share(dims.dim[0], lt_group_size(loading->group), lt_group_rank(loading->group));
}

/* One matrix on its way. */
typedef struct transit {
    lt_checkpoint *checkpoint;
    const char *name;
    lt_dims dims;
    lt_dtype want;
    size_t element;      /* bytes */
    int64_t rows, width; /* of the whole */
    int64_t at_a_time;   /* rows of a block */
    int size, rank;
    lt_range *columns;    /* [size] */
    lt_transfer *list;    /* [size] */
    char *block, *packed; /* [at_a_time, width] */
    char *to;
} transit;

/* Rows of a block, of `rows` in all. */
static int64_t block_rows(int64_t rows, size_t row_bytes)
{
    const int64_t fit = row_bytes > 0 ? (int64_t)(BLOCK_BYTES / row_bytes) : rows;
    return fit < 1 ? 1 : fit < rows ? fit : rows;
}

int64_t lt_columns_bytes(lt_dims dims, lt_dtype want)
{
    const lt_slice whole = lt_slice_whole(dims);
    const size_t row_bytes = (size_t)whole.columns.count * lt_dtype_bytes(want);
    return 2 * block_rows(whole.rows.count, row_bytes) * (int64_t)row_bytes;
}

static lt_status take(const lt_loading *l, transit *t)
{
    const size_t row_bytes = (size_t)t->width * t->element;
    t->size = lt_group_size(l->group);
    t->rank = lt_group_rank(l->group);
    t->at_a_time = block_rows(t->rows, row_bytes);
    t->columns = calloc((size_t)t->size, sizeof *t->columns);
    t->list = calloc((size_t)t->size, sizeof *t->list);
    t->block = malloc((size_t)t->at_a_time * row_bytes);
    t->packed = malloc((size_t)t->at_a_time * row_bytes);
    if (t->columns == NULL || t->list == NULL || t->block == NULL || t->packed == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu bytes to exchange its columns by", t->name,
                2 * (size_t)t->at_a_time * row_bytes);
    return LT_OK;
}

/* Every rank's columns. */
static lt_status gather_columns(const lt_loading *l, transit *t, lt_range mine)
{
    for (int q = 0; q < t->size; q++)
        t->list[q] = (lt_transfer){q, &mine, sizeof mine, &t->columns[q], sizeof mine};
    LT_TRY(lt_exchange(l->group, t->list, t->size, NULL));
    for (int q = 0; q < t->size; q++) {
        const lt_range c = t->columns[q];
        if (c.first < 0 || c.count < 0 || c.first > t->width - c.count)
            LT_FAIL(LT_EINTERNAL, "%s: rank %d wants columns [%lld, +%lld) of %lld", t->name, q,
                    (long long)c.first, (long long)c.count, (long long)t->width);
    }
    return LT_OK;
}

/* Rows of a rank's b-th block. */
static lt_range block_of(const transit *t, int rank, int64_t b)
{
    const lt_range share = lt_share(t->rows, t->size, rank);
    const int64_t first = b * t->at_a_time < share.count ? b * t->at_a_time : share.count;
    const int64_t left = share.count - first;
    return (lt_range){share.first + first, left < t->at_a_time ? left : t->at_a_time};
}

static lt_status read_block(const transit *t, lt_range rows)
{
    if (rows.count == 0)
        return LT_OK;
    const lt_slice slice = {rows, {0, t->width}};
    return lt_checkpoint_read(t->checkpoint, t->name, t->dims, slice, t->want, t->block);
}

/* Columns of each rank of my block, dense, one rank after the other. */
static void pack(transit *t, lt_range rows)
{
    char *out = t->packed;
    const size_t pitch = (size_t)t->width * t->element;
    for (int q = 0; q < t->size; q++) {
        const size_t at = (size_t)t->columns[q].first * t->element;
        const size_t bytes = (size_t)t->columns[q].count * t->element;
        t->list[q].send = out;
        t->list[q].send_bytes = (size_t)rows.count * bytes;
        for (int64_t i = 0; i < rows.count && bytes > 0; i++, out += bytes)
            memcpy(out, t->block + (size_t)i * pitch + at, bytes);
    }
}

static void place(transit *t, int64_t b)
{
    const size_t row_bytes = (size_t)t->columns[t->rank].count * t->element;
    for (int p = 0; p < t->size; p++) {
        const lt_range rows = block_of(t, p, b);
        t->list[p].recv_bytes = (size_t)rows.count * row_bytes;
        t->list[p].recv = t->list[p].recv_bytes > 0 ? t->to + (size_t)rows.first * row_bytes : NULL;
    }
}

static lt_status exchange_all(lt_loading *l, transit *t, lt_range columns)
{
    LT_TRY(gather_columns(l, t, columns));
    const int64_t most = lt_share_max(t->rows, t->size);
    const int64_t blocks = (most + t->at_a_time - 1) / t->at_a_time;
    size_t columns_all = 0;
    for (int q = 0; q < t->size; q++)
        columns_all += (size_t)t->columns[q].count;
    if (columns_all > (size_t)t->width)
        LT_FAIL(LT_EINTERNAL, "%s: %zu columns wanted by %d ranks, %lld there are", t->name,
                columns_all, t->size, (long long)t->width);
    for (int64_t b = 0; b < blocks; b++) {
        const lt_range rows = block_of(t, t->rank, b);
        LT_TRY(meet(l, read_block(t, rows)));
        pack(t, rows);
        place(t, b);
        LT_TRY(lt_exchange(l->group, t->list, t->size, NULL));
    }
    return LT_OK;
}

lt_status lt_columns_read(lt_loading *loading, lt_checkpoint *checkpoint, const char *name,
                          lt_dims dims, lt_range columns, lt_dtype want, void *to)
{
    const lt_slice whole = lt_slice_whole(dims);
    if (lt_group_size(loading->group) == 1) {
        const lt_slice slice = {whole.rows, columns};
        return lt_checkpoint_read(checkpoint, name, dims, slice, want, to);
    }
    assert(!loading->over);
    transit t = {.checkpoint = checkpoint,
                 .name = name,
                 .dims = dims,
                 .want = want,
                 .element = lt_dtype_bytes(want),
                 .rows = whole.rows.count,
                 .width = whole.columns.count,
                 .to = to};
    lt_status st = LT_OK;
    if (t.rows == 0 || t.width == 0)
        return lt_checkpoint_load(checkpoint, name, dims);
    LT_TRY_GOTO(meet(loading, take(loading, &t)), st, done);
    LT_TRY_GOTO(exchange_all(loading, &t, columns), st, done);
done:
    free(t.columns);
    free(t.list);
    free(t.block);
    free(t.packed);
    return st;
}
