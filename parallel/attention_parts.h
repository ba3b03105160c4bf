/* attention_parts.h - what ring and 2-D share: partial results, and messages that travel while the
 * compute queue works. For attention_dist.c, ring.c, grid2d.c only.               Level 2: parallel
 */
#ifndef LT_ATTENTION_PARTS_H
#define LT_ATTENTION_PARTS_H

#include "parallel/attention_dist.h"

/* ---- messages ---- */

/* One message under way. Where the CPU reads device memory the tensor itself is sent or filled,
 * else a host copy. */
typedef struct lt_parcel {
    lt_post *post;
    char *host; /* the copy; grows and stays until the courier closes */
    size_t host_bytes;
    lt_tensor to;   /* of a receipt that is not yet on the device; ndim 0: none */
    lt_event after; /* of a receipt: `to` may be written behind it */
} lt_parcel;

/* The messages of one attention. */
typedef struct lt_courier {
    lt_engine *engine;
    lt_group *group;
    lt_parcel *parcel; /* [count] */
    int count;
} lt_courier;

/* Local. Errors: LT_ENOMEM. */
lt_status lt_courier_open(lt_engine *engine, lt_group *group, int parcels, lt_courier *out);
/* Drains comm where host copies were used. Messages that are still under way (after an error) keep
 * their copies. Local, Blocking. */
lt_status lt_courier_close(lt_courier *courier);
/* Begin to send x (dense) behind `after` / to fill x behind `after`. A parcel is free again after
 * its wait. Blocks until `after` has passed where the CPU reads device memory or x must be copied
 * first. Empty tensors send nothing. Local; the peer makes the matching call, same tag, same bytes.
 */
lt_status lt_courier_send(lt_courier *courier, int parcel, int peer, int tag, const lt_tensor *x,
                          const lt_event *after);
lt_status lt_courier_receive(lt_courier *courier, int parcel, int peer, int tag, const lt_tensor *x,
                             const lt_event *after);
/* Let MPI move what is under way. Local, never blocks. */
lt_status lt_courier_poll(lt_courier *courier);
/* Wait for one message; what came is on the device behind the comm queue. Local, Blocking. */
lt_status lt_courier_wait(lt_courier *courier, int parcel);

/* ---- partial results ---- */

/* Queries of one kernel call at most: part of what a message holds, so the same on all ranks. */
enum { LT_ATTENTION_CHUNK = 2048 };

/* Attention of some queries over the keys seen so far. y f32 [rows, heads * width]. lse f32
 * [heads * rows]: per chunk of rows [heads, rows of the chunk], chunk after chunk. */
typedef struct lt_partial {
    lt_tensor y, lse;
    int begun; /* 0: nothing seen yet, y and lse hold nothing */
} lt_partial;

typedef struct lt_leaf_stash lt_leaf_stash;
/* What it takes to add to partial results. */
typedef struct lt_part_work {
    const lt_attention_share *share;
    lt_courier *courier;  /* polled between kernels */
    int64_t heads, piece; /* mine; at most so many in a kernel call */
    float scale;
    lt_tensor y2, lse2; /* f32, one piece */
    lt_leaf_stash
        *stash; /* deterministic: partial results by leaves (leaf_attention.h), else NULL */
} lt_part_work;

/* Rows and heads of x [.., heads * width]; the same of a partial result's lse. Local. */
lt_tensor lt_part_piece(const lt_part_work *work, const lt_tensor *x, lt_range rows,
                        lt_range heads);
lt_tensor lt_part_lse(const lt_part_work *work, const lt_tensor *lse, lt_range rows,
                      lt_range heads);
/* fn for each piece of `rows` queries and all my heads, messages polled after each. Local. */
typedef lt_status (*lt_part_fn)(void *ctx, lt_range rows, lt_range heads);
lt_status lt_part_each(const lt_part_work *work, int64_t rows, lt_part_fn fn, void *ctx);
/* Take the scratch for one piece of at most `rows` queries from step. Local. Errors: LT_ENOMEM. */
lt_status lt_part_work_new(const lt_attention_share *share, lt_courier *courier, float scale,
                           int64_t rows, lt_part_work *out);
/* p over more keys: kv act [2 * keys, heads * width], K above V. Queued on compute. */
lt_status lt_part_add(const lt_part_work *work, const lt_tensor *q, const lt_tensor *kv,
                      lt_partial *p);
/* Fold `from`, over other keys, into p; neither may be empty-handed. Queued on compute. */
lt_status lt_part_merge(const lt_part_work *work, const lt_partial *from, lt_partial *p);

/* My heads while attention runs. Local. */
int64_t lt_attention_heads(const lt_attention_share *share);
/* My block's rows. Local. */
int64_t lt_attention_block(const lt_attention_share *share);

#endif
