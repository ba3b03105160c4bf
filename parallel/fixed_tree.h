/* fixed_tree.h - a dimension as 16 chunks of one fixed binary tree: integers only.
 *
 * A result that must have the same bits on every mesh is cut where no mesh shows: a dimension of
 * `total` elements (heads, columns, rows) has 16 chunks, chunk i the elements
 * [i total / 16, (i + 1) total / 16), and all that is joined over it (sums, log-sum-exp merges) is
 * joined along the tree
 *
 *     level 4                        0
 *     level 3            0                       1
 *     level 2      0           1           2           3
 *     level 1   0     1     2     3     4     5     6     7
 *     level 0  0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15     left child first, then right
 *
 * A rank of an axis holds lt_share(16, size, rank) chunks: it joins the subtrees that it holds
 * whole (at most 6) and sends those; the rank that has all of them joins the rest. So the joins are
 * those of one rank, whatever the size. A chunk without elements joins nothing: its neighbour in
 * the tree goes up as it is; that depends on `total` alone. Beyond 16 ranks of an axis the further
 * ones hold nothing.
 *
 * All functions are Local and pure. Tested: tests/unit/test_fixed_tree.c, 1 to 16 ranks. */
#ifndef LT_FIXED_TREE_H
#define LT_FIXED_TREE_H

#include "parallel/shard.h"

enum { LT_CHUNKS = 16, LT_TREE_LEVELS = 4, LT_TREE_NODES_MAX = 6 };

/* The subtree over chunks [index << level, (index + 1) << level). */
typedef struct lt_tree_node {
    int level, index;
} lt_tree_node;

/* Elements of a chunk, of a contiguous range of chunks, of a node; maybe none. */
lt_range lt_chunk_elements(int64_t total, int chunk);
lt_range lt_chunks_elements(int64_t total, lt_range chunks);
lt_range lt_tree_node_elements(int64_t total, lt_tree_node node);
/* Chunks of a rank. */
lt_range lt_chunks_of(int size, int rank);
int64_t lt_chunks_share_max(int64_t total, int size); /* elements of the rank that has the most */
/* Largest share of elements over the mean share, minus 1: 0.125 for three ranks of many
 * elements. */
double lt_chunks_imbalance(int64_t total, int size);
/* The largest subtrees inside a range of chunks that hold elements at all, ascending; their number.
 */
int lt_tree_nodes(int64_t total, lt_range chunks, lt_tree_node out[LT_TREE_NODES_MAX]);

/* One rank's part of a dimension of total * unit columns, of which `unit` stay together. */
typedef struct lt_partition {
    int64_t total, unit;
    lt_range chunks; /* mine */
} lt_partition;
lt_partition lt_partition_of(int64_t total, int64_t unit, int size, int rank);
lt_range lt_partition_mine(const lt_partition *partition); /* columns */
lt_range lt_partition_chunk(const lt_partition *partition,
                            int chunk); /* columns of a chunk, of mine or not */

/* Results of nodes that come in any order, each in an entry of the caller's (0..): put one, then
 * make the joins that it allows, until there are no more.
 *     lt_fixed_tree_put(&tree, node, entry);
 *     while (lt_fixed_tree_join(&tree, &to, &from))
 *         to = join(to, from); entry `from` is free again */
typedef struct lt_fixed_tree {
    int64_t total;
    lt_tree_node last;                                /* whose joins are being made */
    signed char entry[LT_TREE_LEVELS + 1][LT_CHUNKS]; /* 1 + entry; 0: not here */
} lt_fixed_tree;
void lt_fixed_tree_new(int64_t total, lt_fixed_tree *out);
void lt_fixed_tree_put(lt_fixed_tree *tree, lt_tree_node node, int entry);
int lt_fixed_tree_join(lt_fixed_tree *tree, int *to, int *from);
/* Entry of the whole; -1 while it isn't there. */
int lt_fixed_tree_root(const lt_fixed_tree *tree);

#endif
