/* ring.h - K and V travel the ring.
 * For attention.c; attention.h has the closed forms and the words. */
#ifndef LT_RING_H
#define LT_RING_H

#include "parallel/attention/partial.h"
#include "parallel/transport/traffic.h"

/* out = attention of q [S_b, n*D] over the blocks of all ranks of the ring. kv [2 * S_b, n*D] is
 * mine, K above V, dense, behind compute. out->y and out->lse are given. Scratch of step, not given
 * back: two blocks of K and V, one chunk of queries. Queued on compute, Collective on share->ring.
 */
lt_status lt_ring_attention(lt_engine *engine, const lt_attention_share *share, float scale,
                            const lt_tensor *q, const lt_tensor *kv, lt_partial *out);
/* Adds this rank's bytes. Local. */
void lt_ring_traffic(const lt_attention_share *share, lt_traffic *to);

#endif
