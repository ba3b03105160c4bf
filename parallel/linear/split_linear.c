/* split_linear.c - linear layers that the ranks of an axis share.
 *
 * Ordered, how a block becomes its result, on a rank that holds chunks 0 to 5 of 16:
 *
 *     x columns of chunk 0 .. 3 -> products -> joined along the tree -> partial columns [0, E)
 *     x columns of chunk 4, 5   -> products -> joined                -> partial columns [E, 2E)
 *     partial -> lt_ordered_reduce over the group -> y
 *
 * Partial sums of a subtree go down to its chunks and up again, left child first; the right child
 * of a level has a buffer of its own in chunk_sums, so five results are alive at most. */
#include "parallel/linear/split_linear.h"

#include <assert.h>

#include "parallel/collective/ordered_reduce.h"

lt_split lt_split_of(int64_t total, int64_t unit, lt_group *group, int ordered)
{
    const int size = group != NULL ? lt_group_size(group) : 1;
    const int rank = group != NULL ? lt_group_rank(group) : 0;
    lt_split split = {.group = group, .ordered = ordered};
    split.partition = lt_partition_of(total, unit, size, rank);
    split.units =
        ordered ? lt_chunks_elements(total, split.partition.chunks) : lt_share(total, size, rank);
    split.columns = (lt_range){split.units.first * unit, split.units.count * unit};
    return split;
}

int lt_split_has_sums(const lt_split *split)
{
    return split->ordered || (split->group != NULL && lt_group_size(split->group) > 1);
}

/* Subtrees of chunks that this rank holds whole: its partial sums, beside each other. */
static int nodes_of(const lt_split *split, lt_tree_node node[LT_TREE_NODES_MAX])
{
    return lt_tree_nodes(split->partition.total, split->partition.chunks, node);
}

/* Columns of a chunk, counted from my first. */
static lt_range place_of(const lt_split *split, int chunk)
{
    lt_range columns = lt_partition_chunk(&split->partition, chunk);
    columns.first -= split->columns.first;
    return columns;
}

/* ---- outputs split ---- */

lt_status lt_column_linear_apply(lt_queue *q, const lt_column_linear *layer, const lt_tensor *x,
                                 lt_tensor *y)
{
    if (layer->joined != NULL)
        return lt_linear_apply(q, layer->joined, x, LT_ACT_NONE, y);
    int64_t first = 0;
    for (int i = 0; i < layer->count; i++) {
        const lt_split *split = &layer->split[i];
        lt_tensor part = lt_view_columns(y, (lt_range){first, split->columns.count});
        for (int chunk = 0; chunk < LT_CHUNKS; chunk++) {
            if (layer->chunk[i][chunk] == NULL)
                continue;
            lt_tensor to = lt_view_columns(&part, place_of(split, chunk));
            LT_TRY(lt_linear_apply(q, layer->chunk[i][chunk], x, LT_ACT_NONE, &to));
        }
        first += split->columns.count;
    }
    return LT_OK;
}

/* ---- inputs split ---- */

lt_status lt_row_scratch_new(lt_arena *arena, const lt_split *const *splits, int count,
                             lt_dtype act, int64_t rows, int64_t out, const lt_tensor *lent,
                             lt_row_scratch *scratch)
{
    assert(count > 0);
    const int sums = lt_split_has_sums(splits[0]), ordered = splits[0]->ordered;
    const int sent = splits[0]->group != NULL && lt_group_size(splits[0]->group) > 1;
    int parts = 1;
    lt_tree_node node[LT_TREE_NODES_MAX];
    for (int i = 0; i < count && ordered; i++) {
        const int nodes = nodes_of(splits[i], node);
        parts = nodes > parts ? nodes : parts;
    }
    *scratch = (lt_row_scratch){.sets = sent ? 2 : 1};
    for (int i = 0; i < scratch->sets; i++) {
        if (lent != NULL && !sums)
            scratch->out[i] = *lent;
        else
            LT_TRY(lt_tensor_new(arena, "split.out", act, &scratch->out[i], LT_DIMS(rows, out)));
        if (sums)
            LT_TRY(lt_tensor_new(arena, "split.partial", LT_F32, &scratch->partial[i],
                                 LT_DIMS(rows * parts * out)));
    }
    if (ordered)
        LT_TRY(lt_tensor_new(arena, "split.leaves", LT_F32, &scratch->chunk_sums,
                             LT_DIMS(LT_TREE_LEVELS * rows, out)));
    return LT_OK;
}

/* y = the node's sum; at most LT_TREE_LEVELS deep. */
static lt_status node_sum(lt_queue *q, const lt_row_linear *layer, const lt_tensor *x,
                          const lt_tensor *chunk_sums, lt_tree_node node, lt_tensor *y)
{
    const int64_t total = layer->split.partition.total;
    if (node.level == 0) {
        const lt_tensor part = lt_view_columns(x, place_of(&layer->split, node.index));
        return lt_linear_apply(q, layer->chunk[node.index], &part, LT_ACT_NONE, y);
    }
    const lt_tree_node left = {node.level - 1, 2 * node.index};
    const lt_tree_node right = {node.level - 1, 2 * node.index + 1};
    if (lt_tree_node_elements(total, left).count == 0)
        return node_sum(q, layer, x, chunk_sums, right, y);
    LT_TRY(node_sum(q, layer, x, chunk_sums, left, y));
    if (lt_tree_node_elements(total, right).count == 0)
        return LT_OK;
    const int64_t rows = x->dim[0];
    lt_tensor other = lt_view_outer(chunk_sums, (lt_range){right.level * rows, rows});
    LT_TRY(node_sum(q, layer, x, chunk_sums, right, &other));
    return lt_axpby(q, 1, &other, 1, y);
}

/* x W^T summed over each of my subtrees, then over the ranks. */
static lt_status sum_chunks(const lt_row_pass *pass, const lt_tensor *x, const lt_tensor *partial,
                            lt_tensor *y, lt_event *done)
{
    const lt_row_linear *layer = pass->layer;
    lt_queue *compute = pass->engine->compute;
    lt_tree_node node[LT_TREE_NODES_MAX];
    const int nodes = nodes_of(&layer->split, node);
    const int64_t rows = x->dim[0], E = layer->out;
    const lt_tensor front = lt_view_outer(partial, (lt_range){0, rows * nodes * E});
    lt_tensor parts = lt_view_as(&front, LT_DIMS(rows, nodes * E));
    lt_event after;
    for (int i = 0; i < nodes; i++) {
        lt_tensor to = lt_view_columns(&parts, (lt_range){i * E, E});
        LT_TRY(node_sum(compute, layer, x, &pass->scratch->chunk_sums, node[i], &to));
    }
    LT_TRY(lt_mark_event(compute, &after));
    return lt_ordered_reduce(pass->engine, layer->split.group, layer->split.partition.total, &after,
                             &parts, y, done);
}

/* x W^T over my columns, then the sum over the ranks. */
static lt_status sum_ranks(const lt_row_pass *pass, const lt_tensor *x, const lt_tensor *partial,
                           lt_tensor *y, lt_event *done)
{
    lt_queue *compute = pass->engine->compute;
    const int64_t rows = x->dim[0], E = pass->layer->out;
    const lt_tensor front = lt_view_outer(partial, (lt_range){0, rows * E});
    lt_tensor part = lt_view_as(&front, LT_DIMS(rows, E));
    lt_event after;
    if (pass->layer->mine != NULL)
        LT_TRY(lt_linear_apply(compute, pass->layer->mine, x, LT_ACT_NONE, &part));
    else
        LT_TRY(lt_fill(compute, &part, 0.0f));
    LT_TRY(lt_mark_event(compute, &after));
    return lt_all_reduce(pass->engine, pass->layer->split.group, &after, &part, y, done);
}

lt_row_pass lt_row_begin(lt_engine *engine, const lt_row_linear *layer,
                         const lt_row_scratch *scratch, lt_row_result_fn fn, void *ctx)
{
    return (lt_row_pass){
        .engine = engine, .layer = layer, .scratch = scratch, .fn = fn, .ctx = ctx};
}

lt_status lt_row_finish(lt_row_pass *pass)
{
    const lt_range rows = pass->pending;
    if (rows.count == 0)
        return LT_OK;
    LT_TRY(lt_wait(pass->engine->compute, &pass->done));
    const lt_tensor y = lt_view_outer(&pass->scratch->out[pass->set], (lt_range){0, rows.count});
    pass->pending.count = 0;
    return pass->fn(pass->ctx, rows, &y);
}

lt_status lt_row_block(lt_row_pass *pass, lt_range rows, const lt_tensor *x)
{
    const lt_row_scratch *s = pass->scratch;
    const lt_split *split = &pass->layer->split;
    assert(x->dim[0] == rows.count);
    if (!lt_split_has_sums(split)) {
        lt_tensor y = lt_view_outer(&s->out[0], (lt_range){0, rows.count});
        LT_TRY(lt_linear_apply(pass->engine->compute, pass->layer->mine, x, LT_ACT_NONE, &y));
        return pass->fn(pass->ctx, rows, &y);
    }
    const int set = s->sets > 1 ? 1 - pass->set : 0;
    lt_tensor y = lt_view_outer(&s->out[set], (lt_range){0, rows.count});
    lt_event done;
    LT_TRY(split->ordered ? sum_chunks(pass, x, &s->partial[set], &y, &done)
                          : sum_ranks(pass, x, &s->partial[set], &y, &done));
    LT_TRY(lt_row_finish(pass)); /* the block before: its sum had this product's time */
    pass->set = set;
    pass->pending = rows;
    pass->done = done;
    return s->sets > 1 ? LT_OK : lt_row_finish(pass);
}
