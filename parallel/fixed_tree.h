/* fixed_tree.h - a dimension as 16 leaves of one fixed binary tree: integers only.
 *
 * What must come out with the same bits on every mesh is cut where no mesh is seen: a dimension of
 * `total` things (heads, columns, rows) has 16 leaves, leaf i the things [i total / 16, (i + 1)
 * total / 16), and whatever is joined over it (sums, log-sum-exp merges) is joined along the tree
 *
 *     level 4                        0
 *     level 3            0                       1
 *     level 2      0           1           2           3
 *     level 1   0     1     2     3     4     5     6     7
 *     level 0  0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15     left child first, then right
 *
 * A rank of an axis holds lt_share(16, size, rank) leaves: it joins the subtrees that it holds
 * whole (at most 6), sends those, and whoever has all of them joins the rest. So the joins are
 * those of one rank, whatever the size. A leaf without things joins nothing: its sibling goes up as
 * it is; that depends on `total` alone. Beyond 16 ranks of an axis the further ones hold nothing.
 *
 * All functions are Local and pure. Tested: tests/unit/test_leaves.c, 1 to 16 ranks. */
#ifndef LT_LEAVES_H
#define LT_LEAVES_H

#include "parallel/shard.h"

enum { LT_LEAVES = 16, LT_LEAF_LEVELS = 4, LT_LEAF_NODES_MAX = 6 };

/* The subtree over leaves [index << level, (index + 1) << level). */
typedef struct lt_leaf_node {
    int level, index;
} lt_leaf_node;

/* Things of a leaf, of a contiguous range of leaves, of a node; maybe none. */
lt_range lt_leaf_things(int64_t total, int leaf);
lt_range lt_leaves_things(int64_t total, lt_range leaves);
lt_range lt_leaf_node_things(int64_t total, lt_leaf_node node);
/* Leaves of a rank. */
lt_range lt_leaves_of(int size, int rank);
int64_t lt_leaves_share_max(int64_t total, int size); /* things of the rank that has the most */
/* Largest share of things over the mean share, minus 1: 0.125 for three ranks of many things. */
double lt_leaves_imbalance(int64_t total, int size);
/* The largest subtrees inside a range of leaves that hold things at all, ascending; their number.
 */
int lt_leaf_nodes(int64_t total, lt_range leaves, lt_leaf_node out[LT_LEAF_NODES_MAX]);

/* One rank's part of a dimension of total * unit columns, of which `unit` stay together. */
typedef struct lt_cut {
    int64_t total, unit;
    lt_range leaves; /* mine */
} lt_cut;
lt_cut lt_cut_of(int64_t total, int64_t unit, int size, int rank);
lt_range lt_cut_mine(const lt_cut *cut);           /* columns */
lt_range lt_cut_leaf(const lt_cut *cut, int leaf); /* columns of a leaf, of mine or not */

/* Results of nodes that come in any order, each in a slot of the caller's (0..): put one, then make
 * the joins that it allows, until there are no more.
 *     lt_leaf_tree_put(&tree, node, slot);
 *     while (lt_leaf_tree_join(&tree, &to, &from))   to = join(to, from); slot `from` is free again
 */
typedef struct lt_leaf_tree {
    int64_t total;
    lt_leaf_node last;                               /* whose joins are being made */
    signed char slot[LT_LEAF_LEVELS + 1][LT_LEAVES]; /* 1 + slot; 0: not here */
} lt_leaf_tree;
void lt_leaf_tree_new(int64_t total, lt_leaf_tree *out);
void lt_leaf_tree_put(lt_leaf_tree *tree, lt_leaf_node node, int slot);
int lt_leaf_tree_join(lt_leaf_tree *tree, int *to, int *from);
/* Slot of the whole; -1 while it isn't there. */
int lt_leaf_tree_root(const lt_leaf_tree *tree);

#endif
