/* attention.c - one attention over the ranks that share a window's rows. Chooses and joins the
 * layers that attention.h draws. Tensors of one call (head-sharded: my block's rows, my heads):
 *
 *              uly = 1             uly > 1
 *     q        the caller's        head-sharded
 *     k, v     ring = 1, not ordered: the caller's; else packed into kv by a copy;
 *              uly > 1: they land in kv
 *     result   ring = 1, not ordered: act, straight into y or its head-sharded tensor;
 *              else a partial result in f32: that tensor itself in f32, else cast into it once
 */
#include "parallel/attention/attention.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "parallel/attention/grid2d.h"
#include "parallel/attention/ordered.h"
#include "parallel/attention/partial.h"
#include "parallel/attention/ring.h"
#include "parallel/attention/ulysses.h"
#include "parallel/fixed_tree.h"
#include "parallel/transport/traffic.h"

enum { GROUPS_MAX = 4, MESSAGE_BYTES_LEAST = 256 << 10 };

static void choose_algorithm(lt_attention_algorithm algorithm, int grid_columns,
                             lt_attention_share *out)
{
    double cost, ring_cost;
    const int size = lt_group_size(out->ring);
    const int best = lt_grid2d_columns(size, out->width, out->act, &cost, &ring_cost);
    const int fewer = cost < ring_cost * 2 / 3;
    if (out->ordered && algorithm == LT_ATTENTION_2D)
        lt_warn("--attention 2d: --deterministic goes over the ring");
    if (size == 1 || out->ordered || algorithm == LT_ATTENTION_RING ||
        (algorithm == LT_ATTENTION_AUTO && !fewer))
        return;
    out->grid_columns = grid_columns > 0 ? grid_columns : best;
    assert(size % out->grid_columns == 0);
    out->grid_rows = size / out->grid_columns;
}

/* A message is an uly-th of an uly-th of a block's tensor: groups must leave it large enough to be
 * worth sending. */
static void choose_groups(int64_t rows, lt_attention_share *out)
{
    const int64_t ring = lt_group_size(out->ring), uly = lt_group_size(out->uly);
    const int64_t message =
        rows / ring / uly * (out->heads / uly) * out->width * (int64_t)lt_dtype_bytes(out->act);
    int64_t groups = message / MESSAGE_BYTES_LEAST;
    groups = groups < out->heads / uly ? groups : out->heads / uly;
    out->groups = groups < 1 ? 1 : groups > GROUPS_MAX ? GROUPS_MAX : (int)groups;
}

static void rows_share(lt_attention_share *out, int64_t rows)
{
    const int ring = lt_group_size(out->ring), uly = lt_group_size(out->uly);
    for (int i = 0; i < ring * uly; i++) {
        if (out->ordered) {
            const lt_range block = lt_chunks_elements(rows, lt_chunks_of(ring, i / uly));
            out->rows[i] = lt_share(block.count, uly, i % uly);
            out->rows[i].first += block.first;
        } else {
            out->rows[i] = lt_share(rows, ring * uly, i);
        }
    }
    for (int i = 0; i < ring; i++) {
        const lt_range last = out->rows[i * uly + uly - 1];
        const int64_t first = out->rows[i * uly].first;
        out->blocks[i] = (lt_range){first, last.first + last.count - first};
    }
}

int lt_attention_row_owner(const lt_attention_share *share, int64_t row)
{
    int low = 0, high = lt_group_size(share->ring) * lt_group_size(share->uly) - 1;
    while (low < high) { /* the first rank whose rows end behind it */
        const int middle = (low + high) / 2;
        if (row < share->rows[middle].first + share->rows[middle].count)
            high = middle;
        else
            low = middle + 1;
    }
    assert(row >= share->rows[low].first && row - share->rows[low].first < share->rows[low].count);
    return low;
}

lt_status lt_attention_share_new(const lt_mesh *mesh, int64_t rows, int64_t heads, int64_t width,
                                 lt_dtype act, int grid_columns, lt_attention_share *out)
{
    *out = (lt_attention_share){.ring = mesh->axis[LT_AXIS_RING],
                                .uly = mesh->axis[LT_AXIS_ULY],
                                .heads = heads,
                                .width = width,
                                .act = act,
                                .ordered = mesh->deterministic};
    const int ring = lt_group_size(out->ring), uly = lt_group_size(out->uly);
    const int total = ring * uly, block = lt_group_rank(out->ring);
    assert(total == lt_group_size(mesh->tokens) && rows >= 0 && heads >= 0 && width > 0);
    out->rows = calloc((size_t)(total + (2 + GROUPS_MAX) * uly + ring), sizeof *out->rows);
    if (out->rows == NULL)
        LT_FAIL(LT_ENOMEM, "attention: no memory for the shares of %d ranks", total);
    out->inner = out->rows + total;
    out->inner_heads = out->inner + uly;
    out->blocks = out->inner_heads + uly;
    out->group_heads = out->blocks + ring;
    rows_share(out, rows);
    for (int i = 0; i < uly; i++) {
        out->inner[i] = out->rows[block * uly + i];
        out->inner[i].first -= out->blocks[block].first;
        out->inner_heads[i] = lt_share(heads, uly, i);
    }
    choose_algorithm(mesh->attention, grid_columns, out);
    choose_groups(rows, out);
    if (out->ordered || out->grid_rows > 0)
        out->descriptions =
            calloc(1, out->ordered ? lt_ordered_attention_bytes() : lt_grid2d_bytes(out));
    if ((out->ordered || out->grid_rows > 0) && out->descriptions == NULL)
        LT_FAIL(LT_ENOMEM, "attention: no memory for partial results of %d ranks", total);
    return LT_OK;
}

void lt_attention_share_free(lt_attention_share *share)
{
    free(share->descriptions);
    free(share->rows);
    memset(share, 0, sizeof *share);
}

lt_traffic lt_attention_traffic(const lt_attention_share *share)
{
    lt_traffic traffic = {0};
    lt_ulysses_traffic(share, &traffic);
    if (share->grid_rows > 0)
        lt_grid2d_traffic(share, &traffic);
    else
        lt_ring_traffic(share, &traffic);
    return traffic;
}

/* K above V, dense, in step. */
static lt_status pack(lt_engine *engine, const lt_tensor *k, const lt_tensor *v, lt_tensor *kv)
{
    const int64_t rows = k->dim[0];
    LT_TRY(lt_tensor_new(engine->step, "attention.kv", k->dtype, kv,
                         LT_DIMS(2 * rows, lt_row_width(k))));
    lt_tensor k_to = lt_view_outer(kv, (lt_range){0, rows});
    lt_tensor v_to = lt_view_outer(kv, (lt_range){rows, rows});
    LT_TRY(lt_copy(engine->compute, k, &k_to));
    return lt_copy(engine->compute, v, &v_to);
}

/* y [S_b, n*D] = attention of q over all blocks; q and kv are behind compute. */
static lt_status over_ring(lt_engine *engine, const lt_attention_share *share, float scale,
                           const lt_tensor *q, const lt_tensor *kv, lt_tensor *y)
{
    const int64_t heads = lt_attention_heads(share), rows = q->dim[0];
    lt_partial out = {.y = *y};
    lt_tensor query = *q;
    if (y->dtype != LT_F32)
        LT_TRY(lt_tensor_new(engine->step, "attention.sum", LT_F32, &out.y,
                             LT_DIMS(rows, heads * share->width)));
    LT_TRY(lt_tensor_new(engine->step, "attention.lse", LT_F32, &out.lse, LT_DIMS(heads * rows)));
    if (share->grid_rows > 0 && !lt_is_dense(q)) { /* a message is dense */
        LT_TRY(lt_tensor_new(engine->step, "attention.q", q->dtype, &query,
                             LT_DIMS(rows, lt_row_width(q))));
        LT_TRY(lt_copy(engine->compute, q, &query));
    }
    LT_TRY(share->grid_rows > 0 ? lt_grid2d_attention(engine, share, scale, &query, kv, &out)
                                : lt_ring_attention(engine, share, scale, &query, kv, &out));
    return y->dtype != LT_F32 ? lt_copy(engine->compute, &out.y, y) : LT_OK;
}

static lt_status block_attention(lt_engine *engine, const lt_attention_share *share, float scale,
                                 const lt_tensor *q, const lt_tensor *k, const lt_tensor *v,
                                 lt_tensor *y)
{
    const int64_t heads = lt_attention_heads(share);
    if (lt_group_size(share->ring) == 1 && !share->ordered)
        return heads == 0 || q->dim[0] == 0
                   ? LT_OK
                   : lt_attention(engine->compute, q, k, v, heads, heads, scale, 0, 0, y, NULL);
    lt_tensor kv;
    LT_TRY(pack(engine, k, v, &kv));
    return over_ring(engine, share, scale, q, &kv, y);
}

/* The same attention over the g-th part of each rank's heads. */
static lt_attention_share group_of(const lt_attention_share *share, int g)
{
    lt_attention_share part = *share;
    lt_range *heads = share->group_heads + g * lt_group_size(share->uly);
    for (int i = 0; i < lt_group_size(share->uly); i++) {
        heads[i] = lt_share(share->inner_heads[i].count, share->groups, g);
        heads[i].first += share->inner_heads[i].first;
    }
    part.inner_heads = heads;
    return part;
}

/* Head-sharded tensors of a group of heads, and when they are there. */
typedef struct group_run {
    lt_attention_share share;
    lt_tensor q, kv, y;
    lt_event here, back;
} group_run;

static lt_status group_begin(lt_engine *engine, const lt_event *after, const lt_tensor *q,
                             const lt_tensor *k, const lt_tensor *v, group_run *g)
{
    const int64_t rows = lt_attention_block(&g->share);
    const int64_t width = lt_attention_heads(&g->share) * g->share.width;
    LT_TRY(lt_tensor_new(engine->step, "attention.q", q->dtype, &g->q, LT_DIMS(rows, width)));
    LT_TRY(lt_tensor_new(engine->step, "attention.kv", q->dtype, &g->kv, LT_DIMS(2 * rows, width)));
    LT_TRY(lt_tensor_new(engine->step, "attention.tall", q->dtype, &g->y, LT_DIMS(rows, width)));
    return lt_ulysses_out(engine, &g->share, after, q, k, v, &g->q, &g->kv, &g->here);
}

static lt_status group_compute(lt_engine *engine, float scale, group_run *g, lt_tensor *y)
{
    const int64_t rows = lt_attention_block(&g->share);
    lt_event made;
    LT_TRY(lt_wait(engine->compute, &g->here));
    if (lt_group_size(g->share.ring) == 1 && !g->share.ordered) {
        const lt_tensor k = lt_view_outer(&g->kv, (lt_range){0, rows});
        const lt_tensor v = lt_view_outer(&g->kv, (lt_range){rows, rows});
        LT_TRY(block_attention(engine, &g->share, scale, &g->q, &k, &v, &g->y));
    } else {
        LT_TRY(over_ring(engine, &g->share, scale, &g->q, &g->kv, &g->y));
    }
    LT_TRY(lt_mark_event(engine->compute, &made));
    return lt_ulysses_back(engine, &g->share, &made, &g->y, y, &g->back);
}

/* Sequence-sharded to head-sharded first, and back at the end. */
static lt_status over_uly(lt_engine *engine, const lt_attention_share *share, float scale,
                          const lt_tensor *q, const lt_tensor *k, const lt_tensor *v, lt_tensor *y)
{
    const int groups = share->groups;
    lt_event after;
    group_run g[GROUPS_MAX];
    assert(groups >= 1 && groups <= GROUPS_MAX);
    LT_TRY(lt_mark_event(engine->compute, &after));
    for (int i = 0; i < groups; i++) {
        g[i].share = group_of(share, i);
        LT_TRY(group_begin(engine, &after, q, k, v, &g[i]));
    }
    for (int i = 0; i < groups; i++)
        LT_TRY(group_compute(engine, scale, &g[i], y));
    return lt_wait(engine->compute, &g[groups - 1].back);
}

lt_status lt_attention_dist(lt_engine *engine, const lt_attention_share *share, float scale,
                            const lt_tensor *q, const lt_tensor *k, const lt_tensor *v,
                            lt_tensor *y)
{
    const int me =
        lt_group_rank(share->ring) * lt_group_size(share->uly) + lt_group_rank(share->uly);
    assert(q->ndim == 2 && k->ndim == 2 && v->ndim == 2 && y->ndim == 2);
    assert(q->dim[0] == share->rows[me].count && k->dim[0] == q->dim[0] && v->dim[0] == q->dim[0] &&
           y->dim[0] == q->dim[0]);
    assert(q->dim[1] == share->heads * share->width && q->dtype == share->act &&
           y->dtype == share->act);
    const lt_mark mark = lt_arena_mark(engine->step);
    const lt_status st = lt_group_size(share->uly) > 1
                             ? over_uly(engine, share, scale, q, k, v, y)
                             : block_attention(engine, share, scale, q, k, v, y);
    LT_TRY(st); /* queued work may still use what was taken */
    lt_arena_release(engine->step, mark);
    return LT_OK;
}
