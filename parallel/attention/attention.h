/* attention.h - one attention over the ranks that share a window's rows.
 *
 * Rows lie on the ranks of mesh->tokens in contiguous ranges, ring outer and uly inner, so that the
 * members of one ring rank hold neighbouring rows: its block. While attention runs, uly splits the
 * heads (of this rank's tp share). Two layers, each absent where its axis is 1:
 *
 *     sequence-sharded:   ==ulysses.c==>  head-sharded:              ==ring.c or grid2d.c==>  same
 *     my rows, all heads  <==ulysses.c==  my block's rows, my heads
 *
 * ring     K and V of each block travel the ring, packed in one message, while the block at hand is
 *          computed; scratch: my block's partial result and two more blocks of K and V
 * 2-D      the ring's ranks form a grid of rows x columns; Q is gathered over my row, K and V over
 *          my column, partial results go back over the row; fewer bytes from six ranks or so on,
 *          for the price of scratch: `columns` blocks of Q and of results, `rows` of K and V
 *
 * Over uly each rank's heads go in groups: while one is computed, the next is on its way there and
 * the one before on its way back. Groups change no bit, and no byte.
 *
 * Partial results are f32 with their log-sum-exp and are merged in an order that depends on the
 * mesh alone; y is rounded once. Any share may be empty: rows, heads, blocks. Tested: tests/ranks/
 * test_attention_dist.c. Bytes that a rank sends and receives for one call, e = bytes of an act
 * element, S_b = rows of my block, S_m = my rows, n = my heads, N = heads, D = width:
 *
 *     ulysses    sent      e D (3 S_m (N - n) + (S_b - S_m) n)      (q, k, v out; y back)
 *                received  e D (3 (S_b - S_m) n + S_m (N - n))
 *     ring       sent      2 e n D (S - rows of the next rank's block)
 *                received  2 e n D (S - S_b)
 *     2-D, R and C the rows of the others in my row and in my column:
 *                sent      e n D S_b (columns - 1 + 2 (rows - 1)) + 4 n (D + 1) R
 *                received  e n D (R + 2 C) + 4 n (D + 1) S_b (columns - 1)
 *
 * Where mesh->deterministic is set the result has the same bits for every ring and uly: blocks are
 * unions of the 16 chunks of the rows, partial results are made for each chunk and merged along the
 * tree (fixed_tree.h, ordered.h). Only the ring does so: 2-D is not taken. Bytes are the ring's.
 * Scratch instead of the ring's partial result: up to 6 of them. Uly may cut a block anywhere,
 * since rows and heads are whole there before keys are looked at.
 *
 * Partial results of 2-D carry a log-sum-exp beside D values, all f32. */
#ifndef LT_ATTENTION_DIST_H
#define LT_ATTENTION_DIST_H

#include "parallel/context.h"
#include "parallel/transport/traffic.h"

/* Who holds what, for one length and one set of heads. Groups are borrowed from the mesh. */
typedef struct lt_attention_share {
    lt_group *ring, *uly;
    int64_t heads, width; /* of my tp share; of one head */
    lt_dtype act;
    lt_range *rows;              /* [ring * uly]: of each rank of tokens */
    lt_range *inner;             /* [uly]: of my block's members, from 0 */
    lt_range *inner_heads;       /* [uly] */
    lt_range *blocks;            /* [ring] */
    int grid_rows, grid_columns; /* 2-D; both 0: ring */
    int ordered;                 /* 1: mesh->deterministic, see above */
    int groups;            /* heads go over uly in so many parts, 1 to 4, the same on all ranks */
    lt_range *group_heads; /* [4 * uly]: inner_heads of the parts of a call */
    void *descriptions;    /* deterministic, 2-D: tensors of a call, one at a time; else NULL */
} lt_attention_share;

/* Cut `rows` rows (lt_share over tokens; deterministic: chunks over ring, lt_share over uly) and
 * `heads` heads. mesh->attention names the algorithm: `auto` takes 2-D where it moves less than
 * two thirds of the ring's bytes. grid_columns: ranks of a 2-D row, a divisor of the ring's size; 0
 * takes what moves the least. groups is set so that messages stay large. Without communication.
 * Free with _free, also after an error. Local. Errors: LT_ENOMEM. */
lt_status lt_attention_share_new(const lt_mesh *mesh, int64_t rows, int64_t heads, int64_t width,
                                 lt_dtype act, int grid_columns, lt_attention_share *out);
/* Which rank of tokens holds a row. Local. */
int lt_attention_row_owner(const lt_attention_share *share, int64_t row);
void lt_attention_share_free(lt_attention_share *share);

/* Bytes that one call sends and receives on this rank, by the closed forms above; calls stays 0.
 * Local. */
lt_traffic lt_attention_traffic(const lt_attention_share *share);

/* y = attention(q, k, v) over the rows of all ranks, not causal. q, k, v, y: my rows, all heads of
 * my tp share, [S/P, N*D] act; rows may lie apart. Logits scale * q.k. In order on the compute
 * queue: it reads what compute has made, and y may be read on compute by what is queued next; comm
 * moves the bytes between. Scratch is taken from the step arena and given back. On `dry` bytes are
 * counted. Queued, Collective on mesh->tokens. Errors: LT_ENOMEM, the transport's, the backend's;
 * after one, abort. */
lt_status lt_attention_dist(lt_engine *engine, const lt_attention_share *share, float scale,
                            const lt_tensor *q, const lt_tensor *k, const lt_tensor *v,
                            lt_tensor *y);

#endif
