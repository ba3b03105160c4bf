/* placement.h - which rank stands at which position of the mesh: integers only.
 *
 * A position is a place in the mesh's count (mesh.h: its digits are the coordinates, tp fastest).
 * tp adds partial sums twice a layer and uly changes rows for heads around every attention; ring
 * hides its messages behind the attention, cfg and win exchange once a step. So tp belongs inside
 * a node, then tp x uly, then the ring; placement.c says how.
 *
 * Pure functions, the same result on every rank. Local. Tested: tests/unit/test_placement.c, all
 * meshes of 1 to 16 ranks on all kinds of nodes. */
#ifndef LT_PLACEMENT_H
#define LT_PLACEMENT_H

#include "parallel/mesh.h"

/* rank_at[position] = rank, a permutation; both arrays [lt_mesh_ranks(spec)]. node_of: 0.., nodes
 * in the order of their lowest ranks (nodes.h). Rank 0 is at position 0. No other order has more tp
 * groups, or more tp x uly blocks, or windows, that are whole inside a node. It is the identity on
 * one node, and where the ranks of each node follow each other and are one block of equal size.
 * Errors: LT_ENOMEM. */
lt_status lt_placement_make(const lt_mesh_spec *spec, const int *node_of, int *rank_at);

/* The mesh where none is named: first win, as far as `windows` windows of one step (1: the clip is
 * one) can be shared evenly; then uly inside the nodes, as far as there are heads to assign and
 * their sizes have a common divisor, ring over the rest. heads 0: not known. */
lt_mesh_spec lt_placement_auto(int ranks, const lt_nodes *nodes, int64_t heads, int64_t windows);

/* Groups of an axis that have members on more than one node. */
typedef struct lt_crossing {
    int groups, crossing;
    int first; /* position of the first such group's first member; -1: none */
} lt_crossing;
lt_crossing lt_placement_crossing(const lt_mesh_spec *spec, lt_axis axis, const int *node_of,
                                  const int *rank_at);

#endif
