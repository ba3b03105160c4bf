/* ordered.h - partial results by leaves of the keys, joined along their tree.
 *
 * For ring.c. Keys are cut into the 16 leaves of all rows (fixed_tree.h). For each leaf the
 * attention of my queries over its keys alone is a partial result; partial results are merged by
 * their log-sum-exp along the tree, left child first, all in f32. A ring rank's block is a union of
 * leaves, so every leaf is computed whole by whoever holds the queries: no bit depends on the mesh.
 * All functions are Local; what computes is Queued on compute. */
#ifndef LT_ORDERED_ATTENTION_H
#define LT_ORDERED_ATTENTION_H

#include "parallel/attention/partial.h"

/* Of share->descriptions, which holds the stash. Local. */
size_t lt_ordered_attention_bytes(void);
/* work->stash for `rows` queries: scratch of step, not given back. Errors: LT_ENOMEM. */
lt_status lt_ordered_attention_begin(lt_part_work *work, int64_t rows);
/* The block of ring rank `whose`: kv act [2 * its rows, heads * width], K above V. */
lt_status lt_ordered_attention_add(const lt_part_work *work, const lt_tensor *q,
                                   const lt_tensor *kv, int whose);
/* All blocks are in: out->y (f32) is the whole; out->lse is left as it was. */
lt_status lt_ordered_attention_end(const lt_part_work *work, lt_partial *out);

#endif
