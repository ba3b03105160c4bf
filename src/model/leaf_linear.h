/* leaf_linear.h - linear layers cut into the leaves of a dimension.               Level 3: model
 *
 * For results that must not show the mesh (parallel/leaves.h). Two ways to cut W [out, in]:
 *   outputs   each leaf's rows of W are a layer of their own, so that what a backend does for a
 *             shape (oneDNN's blocks, cuBLAS's choice of a kernel) cannot depend on a rank's share
 *   inputs    each leaf's columns of W are a layer of their own, whose results are partial sums:
 *             f32, added along the tree as far as this rank holds whole subtrees; lt_sum_tree
 *             (sum_tree.h) adds the rest over the ranks
 * Layers have no bias. Tested: tests/ranks/test_deterministic.c, test_text_ranks.c. */
#ifndef LT_LEAF_LINEAR_H
#define LT_LEAF_LINEAR_H

#include "model/weights.h"
#include "parallel/leaves.h"

typedef struct lt_leaf_linear {
    lt_cut cut;
    lt_linear *layer[LT_LEAVES]; /* NULL: not mine, or a leaf without things */
} lt_leaf_linear;

/* My leaves of layer `name`, `out` x `in` as a whole; its outputs are cut, those of the leaves
 * lying from first_row on (the second half of a SwiGLU's). Layers live as long as weights. Local,
 * Blocking. Errors: as weights.h. */
lt_status lt_leaf_outputs_load(lt_weights *weights, const char *name, int64_t out, int64_t in,
                               int64_t first_row, const lt_cut *cut, lt_leaf_linear *to);
/* The same with the inputs cut: cut->total * cut->unit is `in`. All ranks of the weights' loading
 * come here, also those without leaves. Collective on its group, Blocking. */
lt_status lt_leaf_inputs_load(lt_weights *weights, const char *name, int64_t out, int64_t in,
                              const lt_cut *cut, lt_leaf_linear *to);

/* y [S, my columns] act = x W^T. Queued on q, Local. */
lt_status lt_leaf_outputs_apply(lt_queue *q, const lt_leaf_linear *layers, const lt_tensor *x,
                                lt_tensor *y);
/* parts f32 [S, nodes * out]: x [S, my columns] act times W^T, summed over each of my nodes
 * (lt_leaf_nodes; their number is lt_leaf_inputs_nodes), beside each other. scratch f32
 * [LT_LEAF_LEVELS * S', out], S' >= S. Queued on q, Local. */
lt_status lt_leaf_inputs_apply(lt_queue *q, const lt_leaf_linear *layers, const lt_tensor *x,
                               const lt_tensor *scratch, lt_tensor *parts);
int lt_leaf_inputs_nodes(const lt_cut *cut);

#endif
