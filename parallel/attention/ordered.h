/* ordered.h - partial results by chunks of the keys, merged along their tree.
 *
 * For ring.c. The keys are cut into the 16 chunks of all rows (fixed_tree.h). For each chunk the
 * attention of my queries over its keys alone is a partial result; partial results are merged by
 * their log-sum-exp along the tree, left child first, all in f32. A ring rank's block is a union of
 * chunks, so the rank that holds the queries computes each chunk whole: no bit depends on the mesh.
 * All functions are Local; what computes is Queued on compute. */
#ifndef LT_ORDERED_ATTENTION_H
#define LT_ORDERED_ATTENTION_H

#include "parallel/attention/partial.h"

/* Bytes of the partial-result pool, which lies in share->descriptions. Local. */
size_t lt_ordered_attention_bytes(void);
/* Take work->pool for `rows` queries: scratch of step, not given back. Errors: LT_ENOMEM. */
lt_status lt_ordered_attention_begin(lt_part_work *work, int64_t rows);
/* Add the block of ring rank `whose`: kv act [2 * its rows, heads * width], K above V. */
lt_status lt_ordered_attention_add(const lt_part_work *work, const lt_tensor *q,
                                   const lt_tensor *kv, int whose);
/* All blocks are in: out->y (f32) is the whole; out->lse is left as it was. */
lt_status lt_ordered_attention_end(const lt_part_work *work, lt_partial *out);

#endif
