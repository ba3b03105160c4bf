/* split_linear.h - linear layers that the ranks of an axis share.
 *
 * A dimension of `total` units (heads, FFN columns), each of `unit` columns, is split over a group.
 * Two layers meet on it:
 *
 *     column-parallel   W [out, in], outputs split: each rank has the columns of y that are its own
 *     row-parallel      W [out, in], inputs split: each rank's product is a partial sum, f32, and
 *                       all ranks get the whole y, rounded once
 *
 * Plain: a rank's share is lt_share's, one product, partial sums added in rank order. Ordered: the
 * dimension is cut into 16 chunks (parallel/fixed_tree.h), each a layer of its own, so that what a
 * backend does for a shape cannot depend on a rank's share; partial sums are added along the
 * chunks' tree, first those of the subtrees that a rank holds whole, then over the ranks
 * (ordered_reduce.h): the same bits for any size of the group.
 *
 * A row-parallel layer takes its rows in blocks, and the sum of one block is under way while the
 * next is multiplied: two sets of buffers, and compute waits for sum b before it starts product
 * b + 2. The order of collectives depends on the blocks alone, so ranks without a share take part
 * by the same calls.
 *
 * src/model/weights/split_weights.h prepares layers; they are borrowed here.
 * Tested: tests/ranks/test_deterministic.c, test_dit_ranks.c, test_text_ranks.c, test_vae_ranks.c.
 */
#ifndef LT_SPLIT_LINEAR_H
#define LT_SPLIT_LINEAR_H

#include "parallel/context.h"
#include "parallel/fixed_tree.h"

typedef struct lt_split {
    lt_group *group; /* NULL: one rank has all */
    int ordered;
    lt_partition partition; /* total, unit; my chunks where ordered */
    lt_range units;         /* mine */
    lt_range columns;       /* mine: units times unit */
} lt_split;

/* group may be NULL. Local. */
lt_split lt_split_of(int64_t total, int64_t unit, lt_group *group, int ordered);
/* Are results sums over ranks or chunks? Local. */
int lt_split_has_sums(const lt_split *split);

enum { LT_SPLIT_PARTS = 3 };

/* Up to three layers with the same inputs (q, k, v; value, gate), results beside each other. */
typedef struct lt_column_linear {
    int count;
    lt_split split[LT_SPLIT_PARTS]; /* of each part's outputs; all ordered or none */
    lt_linear *joined;              /* plain: all parts in one product; NULL: nothing is mine */
    lt_linear *chunk[LT_SPLIT_PARTS][LT_CHUNKS]; /* ordered; NULL: not mine, or without units */
} lt_column_linear;

/* y [S, my columns of all parts] act = x [S, in] W^T + b. Does nothing where nothing is mine.
 * Queued on q, Local. */
lt_status lt_column_linear_apply(lt_queue *q, const lt_column_linear *layer, const lt_tensor *x,
                                 lt_tensor *y);

typedef struct lt_row_linear {
    lt_split split; /* of the inputs */
    int64_t out;
    lt_linear *mine;             /* plain; NULL: this rank adds nothing */
    lt_linear *chunk[LT_CHUNKS]; /* ordered; NULL: not mine, or without units */
} lt_row_linear;

/* Buffers of row-parallel layers with the same outputs, taken from an arena. */
typedef struct lt_row_scratch {
    int sets;             /* 1 where nothing is sent */
    lt_tensor out[2];     /* act [B, E] */
    lt_tensor partial[2]; /* f32 [B, n E], n the most subtrees of any layer; where there are sums */
    lt_tensor chunk_sums; /* f32 [LT_TREE_LEVELS * B, E], ordered */
} lt_row_scratch;

/* For blocks of at most `rows` rows and layers over these splits. lent: act [rows, out] that is
 * idle while products are made, in place of a buffer where nothing is summed; or NULL. Local.
 * Errors: LT_ENOMEM. */
lt_status lt_row_scratch_new(lt_arena *arena, const lt_split *const *splits, int count,
                             lt_dtype act, int64_t rows, int64_t out, const lt_tensor *lent,
                             lt_row_scratch *scratch);

/* What becomes of a block's result y [rows.count, out] act: queued on compute, it reads y. */
typedef lt_status (*lt_row_result_fn)(void *ctx, lt_range rows, const lt_tensor *y);

/* One layer over a sequence of row blocks:
 *     lt_row_pass pass = lt_row_begin(engine, layer, &scratch, fn, ctx);
 *     for each block: ...; LT_TRY(lt_row_block(&pass, rows, &x));
 *     LT_TRY(lt_row_finish(&pass));
 * fn is called once a block, in order, the last time by finish. */
typedef struct lt_row_pass {
    lt_engine *engine;
    const lt_row_linear *layer;
    const lt_row_scratch *scratch;
    lt_row_result_fn fn;
    void *ctx;
    lt_range pending; /* rows whose sum is under way; count 0: none */
    int set;          /* their buffers */
    lt_event done;
} lt_row_pass;

lt_row_pass lt_row_begin(lt_engine *engine, const lt_row_linear *layer,
                         const lt_row_scratch *scratch, lt_row_result_fn fn, void *ctx);
/* x act [rows.count, my columns]. Queued, Collective on the split's group; all ranks bring the same
 * rows. Errors: as lt_all_reduce, lt_ordered_reduce, fn. */
lt_status lt_row_block(lt_row_pass *pass, lt_range rows, const lt_tensor *x);
lt_status lt_row_finish(lt_row_pass *pass);

#endif
