/* ulysses.h - rows against heads, inside one ring rank.
 * For attention.c; attention.h has the closed forms and the words. */
#ifndef LT_ULYSSES_H
#define LT_ULYSSES_H

#include "parallel/attention/attention.h"
#include "parallel/transport/traffic.h"

/* Sequence-sharded -> head-sharded: my rows with all heads -> my block's rows with my heads: q into
 * q_heads [S_b, n*D], k and v into kv_heads [2 * S_b, n*D], K above V. Collective on share->uly,
 * Queued on comm. */
lt_status lt_ulysses_out(lt_engine *engine, const lt_attention_share *share, const lt_event *after,
                         const lt_tensor *q, const lt_tensor *k, const lt_tensor *v,
                         lt_tensor *q_heads, lt_tensor *kv_heads, lt_event *done);
/* The way back, head-sharded -> sequence-sharded: y_heads [S_b, n*D] -> y [S_m, N*D]. Collective on
 * share->uly, Queued on comm. */
lt_status lt_ulysses_back(lt_engine *engine, const lt_attention_share *share, const lt_event *after,
                          const lt_tensor *y_heads, lt_tensor *y, lt_event *done);
/* Adds this rank's bytes. Local. */
void lt_ulysses_traffic(const lt_attention_share *share, lt_traffic *to);

#endif
