/* fixed_tree.c - a dimension as 16 chunks of one fixed binary tree: integers only. */
#include "parallel/fixed_tree.h"

#include <assert.h>
#include <string.h>

/* The floor form spreads what 16 doesn't divide over the tree: 56 heads on 2 ranks are 28 and 28,
 * where lt_share's longer shares first would make 32 and 24. */
static int64_t begin_of(int64_t total, int64_t chunk)
{
    assert(total >= 0 && total <= INT64_MAX / LT_CHUNKS && chunk >= 0 && chunk <= LT_CHUNKS);
    return total * chunk / LT_CHUNKS;
}

lt_range lt_chunks_elements(int64_t total, lt_range chunks)
{
    const int64_t first = begin_of(total, chunks.first);
    return (lt_range){first, begin_of(total, chunks.first + chunks.count) - first};
}

lt_range lt_chunk_elements(int64_t total, int chunk)
{
    return lt_chunks_elements(total, (lt_range){chunk, 1});
}

static lt_range chunks_of_node(lt_tree_node node)
{
    assert(node.level >= 0 && node.level <= LT_TREE_LEVELS && node.index >= 0);
    const int64_t count = (int64_t)1 << node.level;
    return (lt_range){node.index * count, count};
}

lt_range lt_tree_node_elements(int64_t total, lt_tree_node node)
{
    return lt_chunks_elements(total, chunks_of_node(node));
}

lt_range lt_chunks_of(int size, int rank) { return lt_share(LT_CHUNKS, size, rank); }

int64_t lt_chunks_share_max(int64_t total, int size)
{
    int64_t most = 0;
    for (int rank = 0; rank < size; rank++) {
        const int64_t count = lt_chunks_elements(total, lt_chunks_of(size, rank)).count;
        most = count > most ? count : most;
    }
    return most;
}

double lt_chunks_imbalance(int64_t total, int size)
{
    return total > 0 ? (double)lt_chunks_share_max(total, size) * size / (double)total - 1 : 0;
}

int lt_tree_nodes(int64_t total, lt_range chunks, lt_tree_node out[LT_TREE_NODES_MAX])
{
    int count = 0;
    const int64_t end = chunks.first + chunks.count;
    assert(chunks.first >= 0 && chunks.count >= 0 && end <= LT_CHUNKS);
    for (int64_t at = chunks.first; at < end;) {
        int level = 0;
        while (level < LT_TREE_LEVELS && at % ((int64_t)2 << level) == 0 &&
               at + ((int64_t)2 << level) <= end)
            level++;
        const lt_tree_node node = {level, (int)(at >> level)};
        if (lt_tree_node_elements(total, node).count > 0) {
            assert(count < LT_TREE_NODES_MAX);
            out[count++] = node;
        }
        at += (int64_t)1 << level;
    }
    return count;
}

lt_partition lt_partition_of(int64_t total, int64_t unit, int size, int rank)
{
    assert(unit >= 0);
    return (lt_partition){total, unit, lt_chunks_of(size, rank)};
}

static lt_range columns_of(const lt_partition *partition, lt_range elements)
{
    return (lt_range){elements.first * partition->unit, elements.count * partition->unit};
}

lt_range lt_partition_mine(const lt_partition *partition)
{
    return columns_of(partition, lt_chunks_elements(partition->total, partition->chunks));
}

lt_range lt_partition_chunk(const lt_partition *partition, int chunk)
{
    return columns_of(partition, lt_chunk_elements(partition->total, chunk));
}

void lt_fixed_tree_new(int64_t total, lt_fixed_tree *out)
{
    memset(out, 0, sizeof *out);
    out->total = total;
}

void lt_fixed_tree_put(lt_fixed_tree *tree, lt_tree_node node, int entry)
{
    assert(entry >= 0 && entry < 127 && tree->entry[node.level][node.index] == 0);
    tree->entry[node.level][node.index] = (signed char)(entry + 1);
    tree->last = node;
}

int lt_fixed_tree_join(lt_fixed_tree *tree, int *to, int *from)
{
    while (tree->last.level < LT_TREE_LEVELS) {
        const lt_tree_node at = tree->last, beside = {at.level, at.index ^ 1};
        const lt_tree_node above = {at.level + 1, at.index / 2};
        signed char *entries = tree->entry[at.level];
        const int empty = lt_tree_node_elements(tree->total, beside).count == 0;
        if (!empty && entries[beside.index] == 0)
            return 0;
        const int left = at.index & ~1;
        *to = (empty ? entries[at.index] : entries[left]) - 1;
        *from = entries[left + 1] - 1;
        entries[left] = entries[left + 1] = 0;
        tree->entry[above.level][above.index] = (signed char)(*to + 1);
        tree->last = above;
        if (!empty)
            return 1;
    }
    return 0;
}

int lt_fixed_tree_root(const lt_fixed_tree *tree) { return tree->entry[LT_TREE_LEVELS][0] - 1; }
