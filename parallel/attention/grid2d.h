/* grid2d.h - attention over the ring's ranks as a grid of rows x columns.
 * For attention.c; attention.h has the closed forms and the words. */
#ifndef LT_GRID2D_H
#define LT_GRID2D_H

#include "parallel/attention/partial.h"
#include "parallel/transport/traffic.h"

/* The number of columns that moves the least for equal blocks: a divisor of size (1 for a prime
 * that is not worth more). *cost, *ring_cost: bytes a rank sends for one row and head, 2-D
 * and ring. Local. */
int lt_grid2d_columns(int size, int64_t width, lt_dtype act, double *cost, double *ring_cost);
/* Of share->descriptions. Local. */
size_t lt_grid2d_bytes(const lt_attention_share *share);
/* As lt_ring_attention (ring.h), by 2-D; q must be dense. Collective on share->ring. */
lt_status lt_grid2d_attention(lt_engine *engine, const lt_attention_share *share, float scale,
                              const lt_tensor *q, const lt_tensor *kv, lt_partial *out);
/* Adds this rank's bytes. Local. */
void lt_grid2d_traffic(const lt_attention_share *share, lt_traffic *to);

#endif
