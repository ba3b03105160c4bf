/* ordered_reduce.h - the all-reduce whose bits are the same for any number of ranks: partial sums
 * are added along a fixed tree. Tested: tests/ranks/test_deterministic.c. */
#ifndef LT_ORDERED_REDUCE_H
#define LT_ORDERED_REDUCE_H

#include "parallel/context.h"
#include "parallel/fixed_tree.h"

/* y = round(sum over the 16 chunks of a dimension of `total` elements, along fixed_tree.h's tree),
 * the same bits on every rank and for every size of the group. x f32 [S, nodes * E] dense: beside
 * each other the sums of my subtrees, lt_tree_nodes(total, lt_chunks_of(size, rank)) in their
 * order; y [S, E] act. No element at all: zeros. Bytes sent, n_r the nodes of rank r, S_r its share
 * of rows, a the bytes of an act element: 4 E n_r (S - S_r) + a E S_r (P - 1). Scratch of the
 * engine: S_r * E * (nodes of all ranks) floats. Collective on group, Queued on comm, as
 * collective.h says; `after` and `done` may be NULL. Errors: LT_ENOMEM, the transport's, the
 * backend's. */
lt_status lt_ordered_reduce(lt_engine *engine, lt_group *group, int64_t total,
                            const lt_event *after, const lt_tensor *x, lt_tensor *y,
                            lt_event *done);

#endif
