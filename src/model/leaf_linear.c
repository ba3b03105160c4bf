/* leaf_linear.c - linear layers cut into the leaves of a dimension.               Level 3: model
 * Partial sums of a subtree go down to its leaves and up again, left child first; the right child
 * of a level has a scratch of its own, so five results are alive at most. */
#include "model/leaf_linear.h"

#include <assert.h>
#include <string.h>

lt_status lt_leaf_outputs_load(lt_weights *weights, const char *name, int64_t out, int64_t in,
                               int64_t first_row, const lt_cut *cut, lt_leaf_linear *to)
{
    assert(first_row >= 0 && first_row + cut->total * cut->unit <= out);
    *to = (lt_leaf_linear){.cut = *cut};
    for (int64_t i = 0; i < cut->leaves.count; i++) {
        const int leaf = (int)(cut->leaves.first + i);
        const lt_range rows = lt_cut_leaf(cut, leaf);
        lt_layer_spec spec = lt_layer_whole(weights, out, in, 0);
        spec.rows[0] = (lt_range){first_row + rows.first, rows.count};
        if (rows.count > 0)
            LT_TRY(lt_weights_linear(weights, name, &spec, &to->layer[leaf]));
    }
    return LT_OK;
}

lt_status lt_leaf_inputs_load(lt_weights *weights, const char *name, int64_t out, int64_t in,
                              const lt_cut *cut, lt_leaf_linear *to)
{
    lt_range ranges[LT_LEAVES];
    lt_linear *layers[LT_LEAVES];
    const int count = (int)cut->leaves.count;
    assert(cut->total * cut->unit == in);
    *to = (lt_leaf_linear){.cut = *cut};
    for (int i = 0; i < count; i++)
        ranges[i] = lt_cut_leaf(cut, (int)cut->leaves.first + i);
    lt_layer_spec spec = lt_layer_whole(weights, out, in, 0);
    spec.columns = lt_cut_mine(cut);
    LT_TRY(lt_weights_linear_columns(weights, name, &spec, ranges, count, layers));
    for (int i = 0; i < count; i++)
        to->layer[cut->leaves.first + i] = layers[i];
    return LT_OK;
}

/* Columns of a leaf, counted from my first. */
static lt_range place_of(const lt_leaf_linear *layers, int leaf)
{
    lt_range columns = lt_cut_leaf(&layers->cut, leaf);
    columns.first -= lt_cut_mine(&layers->cut).first;
    return columns;
}

lt_status lt_leaf_outputs_apply(lt_queue *q, const lt_leaf_linear *layers, const lt_tensor *x,
                                lt_tensor *y)
{
    assert(lt_row_width(y) == lt_cut_mine(&layers->cut).count);
    for (int leaf = 0; leaf < LT_LEAVES; leaf++) {
        if (layers->layer[leaf] == NULL)
            continue;
        lt_tensor part = lt_view_columns(y, place_of(layers, leaf));
        LT_TRY(lt_linear_apply(q, layers->layer[leaf], x, LT_ACT_NONE, &part));
    }
    return LT_OK;
}

int lt_leaf_inputs_nodes(const lt_cut *cut)
{
    lt_leaf_node node[LT_LEAF_NODES_MAX];
    return lt_leaf_nodes(cut->total, cut->leaves, node);
}

/* y = the node's sum; at most LT_LEAF_LEVELS deep. */
static lt_status node_sum(lt_queue *q, const lt_leaf_linear *layers, const lt_tensor *x,
                          const lt_tensor *scratch, lt_leaf_node node, lt_tensor *y)
{
    if (node.level == 0) {
        const lt_tensor part = lt_view_columns(x, place_of(layers, node.index));
        return lt_linear_apply(q, layers->layer[node.index], &part, LT_ACT_NONE, y);
    }
    const lt_leaf_node left = {node.level - 1, 2 * node.index};
    const lt_leaf_node right = {node.level - 1, 2 * node.index + 1};
    if (lt_leaf_node_things(layers->cut.total, left).count == 0)
        return node_sum(q, layers, x, scratch, right, y);
    LT_TRY(node_sum(q, layers, x, scratch, left, y));
    if (lt_leaf_node_things(layers->cut.total, right).count == 0)
        return LT_OK;
    const int64_t rows = x->dim[0];
    lt_tensor other = lt_view_outer(scratch, (lt_range){right.level * rows, rows});
    LT_TRY(node_sum(q, layers, x, scratch, right, &other));
    return lt_axpby(q, 1, &other, 1, y);
}

lt_status lt_leaf_inputs_apply(lt_queue *q, const lt_leaf_linear *layers, const lt_tensor *x,
                               const lt_tensor *scratch, lt_tensor *parts)
{
    lt_leaf_node node[LT_LEAF_NODES_MAX];
    const int n = lt_leaf_nodes(layers->cut.total, layers->cut.leaves, node);
    const int64_t width = lt_row_width(scratch);
    assert(parts->dtype == LT_F32 && scratch->dtype == LT_F32);
    assert(lt_row_width(parts) == n * width && scratch->dim[0] >= LT_LEAF_LEVELS * x->dim[0]);
    for (int i = 0; i < n; i++) {
        lt_tensor y = lt_view_columns(parts, (lt_range){i * width, width});
        LT_TRY(node_sum(q, layers, x, scratch, node[i], &y));
    }
    return LT_OK;
}
