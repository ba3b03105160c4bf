/* ulysses.h - rows against heads, inside one ring rank.
 * For attention.c; closed forms and words there. */
#ifndef LT_ULYSSES_H
#define LT_ULYSSES_H

#include "parallel/attention/attention.h"
#include "parallel/transport/traffic.h"

/* My rows with all heads -> my block's rows with my heads: q into q_tall [S_b, n*D], k and v into
 * kv_tall [2 * S_b, n*D], K above V. Collective on share->uly, Queued on comm. */
lt_status lt_ulysses_out(lt_engine *engine, const lt_attention_share *share, const lt_event *after,
                         const lt_tensor *q, const lt_tensor *k, const lt_tensor *v,
                         lt_tensor *q_tall, lt_tensor *kv_tall, lt_event *done);
/* The way back: tall [S_b, n*D] -> y [S_m, N*D]. Collective on share->uly, Queued on comm. */
lt_status lt_ulysses_back(lt_engine *engine, const lt_attention_share *share, const lt_event *after,
                          const lt_tensor *tall, lt_tensor *y, lt_event *done);
/* Adds this rank's bytes. Local. */
void lt_ulysses_traffic(const lt_attention_share *share, lt_traffic *to);

#endif
