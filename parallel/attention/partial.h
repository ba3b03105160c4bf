/* partial.h - partial results of attention, which ring and 2-D share. For attention.c, ring.c,
 * grid2d.c, ordered.c only. */
#ifndef LT_ATTENTION_PARTS_H
#define LT_ATTENTION_PARTS_H

#include "parallel/attention/attention.h"

/* Attention of some queries over the keys seen so far. y f32 [rows, heads * width]. lse f32
 * [heads * rows]: per chunk of rows [heads, rows of the chunk], chunk after chunk. A chunk is
 * engine->query_chunk rows, the most of one kernel call: it bounds the scratch, and is part of what
 * a message holds. */
typedef struct lt_partial {
    lt_tensor y, lse;
    int begun; /* 0: nothing seen yet, y and lse hold nothing */
} lt_partial;

typedef struct lt_partial_pool lt_partial_pool;
/* What adding to partial results takes. */
typedef struct lt_part_work {
    lt_engine *engine;
    const lt_attention_share *share;
    int64_t heads; /* mine */
    float scale;
    lt_tensor y2, lse2;    /* one chunk of queries: f32, but y2 in act where the device wants it */
    lt_partial_pool *pool; /* deterministic: by chunks of keys (ordered.h), else NULL */
} lt_part_work;

/* Of a partial result's lse, the chunk of these queries, [heads, rows]. Local. */
lt_tensor lt_part_lse(const lt_part_work *work, const lt_tensor *lse, lt_range rows);
/* fn for each chunk of `rows` queries. Local. */
typedef lt_status (*lt_part_fn)(void *ctx, lt_range rows);
lt_status lt_part_each(const lt_part_work *work, int64_t rows, lt_part_fn fn, void *ctx);
/* Take the scratch for one chunk of at most `rows` queries from step. Local. Errors: LT_ENOMEM. */
lt_status lt_part_work_new(lt_engine *engine, const lt_attention_share *share, float scale,
                           int64_t rows, lt_part_work *out);
/* p over more keys: kv act [2 * keys, heads * width], K above V. Queued on compute. */
lt_status lt_part_add(const lt_part_work *work, const lt_tensor *q, const lt_tensor *kv,
                      lt_partial *p);
/* Merge `from`, over other keys, into p; both have begun. Queued on compute. */
lt_status lt_part_merge(const lt_part_work *work, const lt_partial *from, lt_partial *p);

/* My heads while attention runs. Local. */
int64_t lt_attention_heads(const lt_attention_share *share);
/* My block's rows. Local. */
int64_t lt_attention_block(const lt_attention_share *share);

#endif
