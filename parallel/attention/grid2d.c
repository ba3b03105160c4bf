/* grid2d.c - the ring's ranks as a grid of rows x columns.
 * Source of the algorithm: 2-D attention (USP/"LoongTrain", Gu et al. 2024, describe relatives);
 * here plain gathers along both axes.
 *
 *     rank r = i * columns + j            columns j
 *                                   0    1    2
 *                     rows i   0  [ r0   r1   r2 ]   Q is gathered along a row,
 *                              1  [ r3   r4   r5 ]   K and V along a column
 *
 * Rank (i, j) computes, for each Q of its row, the part over the keys of its column; the columns
 * together hold all keys. The part of another rank's Q goes back to that rank, which merges the
 * parts of its row by ascending j, its own first. Three kinds of exchange are queued on comm, in
 * this order on all ranks: all Qs of the row; all K and V of the column; and columns - 1 times the
 * parts, in round s to the rank s columns on and from the rank s columns back, queued once the part
 * is made. So a rank computes its own Q over its own keys while the first two travel, and sends
 * each part while it computes the next. */
#include "parallel/attention/grid2d.h"
#include "parallel/transport/traffic.h"

static const char *const exchange_name = "grid2d_attention";

typedef struct grid {
    lt_engine *engine;
    const lt_attention_share *share;
    const lt_part_work *work;
    int rows, columns, i, j;
    const lt_tensor *q, *kv;   /* mine */
    lt_tensor *q_of, *kv_of;   /* [columns], [rows]: mine and the others' */
    lt_tensor *part_of, *back; /* [columns]: f32, flat: what I make for others; what others made */
    lt_tensor_transfer *list;  /* [columns + rows] */
    lt_event q_here, kv_here;
    lt_event *back_here; /* [columns] */
} grid;

static int row_rank(const grid *g, int j) { return g->i * g->columns + j; }
static int column_rank(const grid *g, int i) { return i * g->columns + g->j; }
static int64_t rows_of(const grid *g, int rank) { return g->share->blocks[rank].count; }

int lt_grid2d_columns(int size, int64_t width, lt_dtype act, double *cost, double *ring_cost)
{
    const double element = (double)lt_dtype_bytes(act) * (double)width;
    int best = 1;
    *ring_cost = 2 * element * (size - 1);
    *cost = *ring_cost; /* one column: K and V are gathered, Q stays */
    for (int columns = 2; columns <= size; columns++) {
        if (size % columns != 0)
            continue;
        const double sent = (element + 4.0 * (double)(width + 1)) * (columns - 1) +
                            2 * element * (size / columns - 1);
        if (sent < *cost) {
            *cost = sent;
            best = columns;
        }
    }
    return best;
}

size_t lt_grid2d_bytes(const lt_attention_share *share)
{
    const size_t columns = (size_t)share->grid_columns, rows = (size_t)share->grid_rows;
    return (columns + rows) * sizeof(lt_tensor_transfer) +
           (3 * columns + rows) * sizeof(lt_tensor) + columns * sizeof(lt_event);
}

/* y and lse in one flat tensor, so that one message carries both. */
static lt_partial partial_of(const grid *g, const lt_tensor *flat, int64_t rows)
{
    const int64_t heads = g->work->heads, width = heads * g->share->width;
    const lt_tensor y = lt_view_outer(flat, (lt_range){0, rows * width});
    lt_partial p = {.begun = 0};
    p.y = lt_view_as(&y, LT_DIMS(rows, width));
    p.lse = lt_view_outer(flat, (lt_range){rows * width, rows * heads});
    return p;
}

static lt_status scratch_new(grid *g)
{
    lt_arena *step = g->engine->step;
    const int64_t heads = g->work->heads, width = heads * g->share->width;
    const int64_t part = heads * (g->share->width + 1), mine = g->q->dim[0];
    g->q_of[g->j] = *g->q;
    g->kv_of[g->i] = *g->kv;
    for (int i = 0; i < g->rows; i++)
        if (i != g->i)
            LT_TRY(lt_tensor_new(step, "grid.kv", g->kv->dtype, &g->kv_of[i],
                                 LT_DIMS(2 * rows_of(g, column_rank(g, i)), width)));
    for (int j = 0; j < g->columns; j++) {
        const int64_t rows = rows_of(g, row_rank(g, j));
        if (j == g->j)
            continue;
        LT_TRY(lt_tensor_new(step, "grid.q", g->q->dtype, &g->q_of[j], LT_DIMS(rows, width)));
        LT_TRY(lt_tensor_new(step, "grid.part", LT_F32, &g->part_of[j], LT_DIMS(rows * part)));
        LT_TRY(lt_tensor_new(step, "grid.back", LT_F32, &g->back[j], LT_DIMS(mine * part)));
    }
    return LT_OK;
}

/* All Qs of my row, then all K and V of my column, are under way. */
static lt_status gather_all(grid *g)
{
    lt_event ready;
    int count = 0;
    LT_TRY(lt_mark_event(g->engine->compute, &ready));
    for (int j = 0; j < g->columns; j++)
        if (j != g->j)
            g->list[count++] = (lt_tensor_transfer){row_rank(g, j), *g->q, g->q_of[j]};
    LT_TRY(lt_exchange_tensors(g->engine, g->share->ring, exchange_name, &ready, g->list, count,
                               &g->q_here));
    count = 0;
    for (int i = 0; i < g->rows; i++)
        if (i != g->i)
            g->list[count++] = (lt_tensor_transfer){column_rank(g, i), *g->kv, g->kv_of[i]};
    return lt_exchange_tensors(g->engine, g->share->ring, exchange_name, &ready, g->list, count,
                               &g->kv_here);
}

/* p over the column's foreign keys. */
static lt_status add_column(const grid *g, const lt_tensor *q, lt_partial *p)
{
    LT_TRY(lt_wait(g->engine->compute, &g->kv_here));
    for (int i = 0; i < g->rows; i++)
        if (i != g->i)
            LT_TRY(lt_part_add(g->work, q, &g->kv_of[i], p));
    return LT_OK;
}

/* The parts of my row's other Qs, each sent as soon as it is there. */
static lt_status serve_others(grid *g)
{
    LT_TRY(lt_wait(g->engine->compute, &g->q_here));
    for (int round = 1; round < g->columns; round++) {
        const int to = (g->j + round) % g->columns, from = (g->j - round + g->columns) % g->columns;
        lt_partial p = partial_of(g, &g->part_of[to], rows_of(g, row_rank(g, to)));
        lt_event made;
        LT_TRY(lt_part_add(g->work, &g->q_of[to], g->kv, &p));
        LT_TRY(add_column(g, &g->q_of[to], &p));
        LT_TRY(lt_mark_event(g->engine->compute, &made));
        g->list[0] = (lt_tensor_transfer){.peer = row_rank(g, from), .recv = g->back[from]};
        g->list[1] = (lt_tensor_transfer){.peer = row_rank(g, to), .send = g->part_of[to]};
        LT_TRY(lt_exchange_tensors(g->engine, g->share->ring, exchange_name, &made, g->list, 2,
                                   &g->back_here[from]));
    }
    return LT_OK;
}

static lt_status grid_run(grid *g, lt_partial *out)
{
    LT_TRY(gather_all(g));
    LT_TRY(lt_part_add(g->work, g->q, g->kv, out));
    LT_TRY(serve_others(g));
    LT_TRY(add_column(g, g->q, out));
    for (int j = 0; j < g->columns; j++) {
        if (j == g->j)
            continue;
        LT_TRY(lt_wait(g->engine->compute, &g->back_here[j]));
        const lt_partial p = partial_of(g, &g->back[j], g->q->dim[0]);
        LT_TRY(lt_part_merge(g->work, &p, out));
    }
    return LT_OK;
}

lt_status lt_grid2d_attention(lt_engine *engine, const lt_attention_share *share, float scale,
                              const lt_tensor *q, const lt_tensor *kv, lt_partial *out)
{
    const int me = lt_group_rank(share->ring), rows = share->grid_rows,
              columns = share->grid_columns;
    int64_t largest = 0;
    for (int i = 0; i < rows * columns; i++)
        largest = share->blocks[i].count > largest ? share->blocks[i].count : largest;
    lt_part_work work;
    grid g = {.engine = engine,
              .share = share,
              .work = &work,
              .rows = rows,
              .columns = columns,
              .i = me / columns,
              .j = me % columns,
              .q = q,
              .kv = kv};
    g.list = share->descriptions;
    g.q_of = (lt_tensor *)(void *)(g.list + columns + rows);
    g.part_of = g.q_of + columns;
    g.back = g.part_of + columns;
    g.kv_of = g.back + columns;
    g.back_here = (lt_event *)(void *)(g.kv_of + rows);
    LT_TRY(lt_part_work_new(engine, share, scale, largest, &work));
    LT_TRY(scratch_new(&g));
    return grid_run(&g, out);
}

void lt_grid2d_traffic(const lt_attention_share *share, lt_traffic *to)
{
    const int me = lt_group_rank(share->ring), columns = share->grid_columns;
    const int64_t heads = lt_attention_heads(share), block = lt_attention_block(share);
    const uint64_t row = (uint64_t)(heads * share->width) * lt_dtype_bytes(share->act);
    const uint64_t part = 4 * (uint64_t)(heads * (share->width + 1));
    int64_t row_others = -block, column_others = -block;
    for (int j = 0; j < columns; j++)
        row_others += share->blocks[me / columns * columns + j].count;
    for (int i = 0; i < share->grid_rows; i++)
        column_others += share->blocks[i * columns + me % columns].count;
    to->sent_bytes += row * (uint64_t)(block * (columns - 1 + 2 * (share->grid_rows - 1))) +
                      part * (uint64_t)row_others;
    to->received_bytes +=
        row * (uint64_t)(row_others + 2 * column_others) + part * (uint64_t)(block * (columns - 1));
}
