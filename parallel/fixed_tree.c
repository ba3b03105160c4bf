/* fixed_tree.c - a dimension as 16 leaves of one fixed binary tree: integers only.
 */
#include "parallel/fixed_tree.h"

#include <assert.h>
#include <string.h>

/* The floor form spreads what 16 doesn't divide over the tree: 56 heads on 2 ranks are 28 and 28,
 * where lt_share's longer shares first would make 32 and 24. */
static int64_t begin_of(int64_t total, int64_t leaf)
{
    assert(total >= 0 && total <= INT64_MAX / LT_LEAVES && leaf >= 0 && leaf <= LT_LEAVES);
    return total * leaf / LT_LEAVES;
}

lt_range lt_leaves_things(int64_t total, lt_range leaves)
{
    const int64_t first = begin_of(total, leaves.first);
    return (lt_range){first, begin_of(total, leaves.first + leaves.count) - first};
}

lt_range lt_leaf_things(int64_t total, int leaf)
{
    return lt_leaves_things(total, (lt_range){leaf, 1});
}

static lt_range leaves_of_node(lt_leaf_node node)
{
    assert(node.level >= 0 && node.level <= LT_LEAF_LEVELS && node.index >= 0);
    const int64_t count = (int64_t)1 << node.level;
    return (lt_range){node.index * count, count};
}

lt_range lt_leaf_node_things(int64_t total, lt_leaf_node node)
{
    return lt_leaves_things(total, leaves_of_node(node));
}

lt_range lt_leaves_of(int size, int rank) { return lt_share(LT_LEAVES, size, rank); }

int64_t lt_leaves_share_max(int64_t total, int size)
{
    int64_t most = 0;
    for (int rank = 0; rank < size; rank++) {
        const int64_t count = lt_leaves_things(total, lt_leaves_of(size, rank)).count;
        most = count > most ? count : most;
    }
    return most;
}

double lt_leaves_imbalance(int64_t total, int size)
{
    return total > 0 ? (double)lt_leaves_share_max(total, size) * size / (double)total - 1 : 0;
}

int lt_leaf_nodes(int64_t total, lt_range leaves, lt_leaf_node out[LT_LEAF_NODES_MAX])
{
    int count = 0;
    const int64_t end = leaves.first + leaves.count;
    assert(leaves.first >= 0 && leaves.count >= 0 && end <= LT_LEAVES);
    for (int64_t at = leaves.first; at < end;) {
        int level = 0;
        while (level < LT_LEAF_LEVELS && at % ((int64_t)2 << level) == 0 &&
               at + ((int64_t)2 << level) <= end)
            level++;
        const lt_leaf_node node = {level, (int)(at >> level)};
        if (lt_leaf_node_things(total, node).count > 0) {
            assert(count < LT_LEAF_NODES_MAX);
            out[count++] = node;
        }
        at += (int64_t)1 << level;
    }
    return count;
}

lt_cut lt_cut_of(int64_t total, int64_t unit, int size, int rank)
{
    assert(unit >= 0);
    return (lt_cut){total, unit, lt_leaves_of(size, rank)};
}

static lt_range columns_of(const lt_cut *cut, lt_range things)
{
    return (lt_range){things.first * cut->unit, things.count * cut->unit};
}

lt_range lt_cut_mine(const lt_cut *cut)
{
    return columns_of(cut, lt_leaves_things(cut->total, cut->leaves));
}

lt_range lt_cut_leaf(const lt_cut *cut, int leaf)
{
    return columns_of(cut, lt_leaf_things(cut->total, leaf));
}

void lt_leaf_tree_new(int64_t total, lt_leaf_tree *out)
{
    memset(out, 0, sizeof *out);
    out->total = total;
}

void lt_leaf_tree_put(lt_leaf_tree *tree, lt_leaf_node node, int slot)
{
    assert(slot >= 0 && slot < 127 && tree->slot[node.level][node.index] == 0);
    tree->slot[node.level][node.index] = (signed char)(slot + 1);
    tree->last = node;
}

int lt_leaf_tree_join(lt_leaf_tree *tree, int *to, int *from)
{
    while (tree->last.level < LT_LEAF_LEVELS) {
        const lt_leaf_node at = tree->last, beside = {at.level, at.index ^ 1};
        const lt_leaf_node above = {at.level + 1, at.index / 2};
        signed char *slots = tree->slot[at.level];
        const int empty = lt_leaf_node_things(tree->total, beside).count == 0;
        if (!empty && slots[beside.index] == 0)
            return 0;
        const int left = at.index & ~1;
        *to = (empty ? slots[at.index] : slots[left]) - 1;
        *from = slots[left + 1] - 1;
        slots[left] = slots[left + 1] = 0;
        tree->slot[above.level][above.index] = (signed char)(*to + 1);
        tree->last = above;
        if (!empty)
            return 1;
    }
    return 0;
}

int lt_leaf_tree_root(const lt_leaf_tree *tree) { return tree->slot[LT_LEAF_LEVELS][0] - 1; }
