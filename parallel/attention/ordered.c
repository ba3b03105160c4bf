/* ordered.c - partial results by chunks of the keys, merged along their tree.
 *
 * A block is some whole subtrees. Each is computed for one chunk of queries after the other, down
 * to its chunks of keys and up again, in scratch of one chunk of queries a level; only its result
 * is as long as my queries and lies in an entry of the partial-result pool. Blocks come in the
 * ring's order, so a result may have to wait in the pool for its neighbour in the tree: all ring
 * steps are gone through once without computing, to count the entries.
 *
 *     ring of 3, rank 1 holds chunks 6..10     6-7, 8-9, 10 come first, then 0-3, 4-5 of rank 0
 *     (4-5 and 6-7 make 4-7, with 0-3 0-7), then 11, 12-15 of rank 2                  5 entries
 */
#include "parallel/attention/ordered.h"

#include <assert.h>
#include <string.h>

#include "parallel/fixed_tree.h"

struct lt_partial_pool {
    int64_t rows; /* of all ranks: what is cut */
    lt_fixed_tree tree;
    lt_tensor y[LT_TREE_LEVELS], lse[LT_TREE_LEVELS]; /* f32, a chunk of queries: right children */
    lt_partial entry[LT_CHUNKS];
    int used[LT_CHUNKS], count;
};

static int64_t rows_of_all(const lt_attention_share *share)
{
    const lt_range last = share->blocks[lt_group_size(share->ring) - 1];
    return last.first + last.count;
}

static int block_nodes(const lt_attention_share *share, int whose,
                       lt_tree_node out[LT_TREE_NODES_MAX])
{
    return lt_tree_nodes(rows_of_all(share), lt_chunks_of(lt_group_size(share->ring), whose), out);
}

static int pool_take(lt_partial_pool *s)
{
    int entry = 0;
    while (entry < LT_CHUNKS && s->used[entry])
        entry++;
    assert(entry < LT_CHUNKS); /* results are of different nodes */
    s->used[entry] = 1;
    return entry;
}

/* How many entries of the pool my order of blocks takes. */
static int pool_entries(const lt_attention_share *share)
{
    const int size = lt_group_size(share->ring), me = lt_group_rank(share->ring);
    lt_partial_pool s = {.count = 0};
    lt_fixed_tree_new(rows_of_all(share), &s.tree);
    for (int step = 0; step < size; step++) {
        lt_tree_node node[LT_TREE_NODES_MAX];
        const int n = block_nodes(share, (me - step + size) % size, node);
        for (int i = 0; i < n; i++) {
            const int entry = pool_take(&s);
            int to, from;
            s.count = entry + 1 > s.count ? entry + 1 : s.count;
            lt_fixed_tree_put(&s.tree, node[i], entry);
            while (lt_fixed_tree_join(&s.tree, &to, &from))
                s.used[from] = 0;
        }
    }
    return s.count;
}

size_t lt_ordered_attention_bytes(void) { return sizeof(lt_partial_pool); }

lt_status lt_ordered_attention_begin(lt_part_work *work, int64_t rows)
{
    lt_arena *step = work->engine->step;
    const int64_t width = work->share->width;
    lt_partial_pool *s = work->share->descriptions;
    memset(s, 0, sizeof *s);
    work->pool = s;
    s->rows = rows_of_all(work->share);
    s->count = pool_entries(work->share);
    lt_fixed_tree_new(s->rows, &s->tree);
    for (int i = 0; i < LT_TREE_LEVELS; i++) {
        LT_TRY(lt_tensor_new(step, "attention.leaf", LT_F32, &s->y[i],
                             LT_DIMS(work->y2.dim[0], work->y2.dim[1])));
        LT_TRY(lt_tensor_new(step, "attention.leaf.lse", LT_F32, &s->lse[i],
                             LT_DIMS(work->lse2.dim[0])));
    }
    for (int i = 0; i < s->count; i++) {
        LT_TRY(lt_tensor_new(step, "attention.node", LT_F32, &s->entry[i].y,
                             LT_DIMS(rows, work->heads * width)));
        LT_TRY(lt_tensor_new(step, "attention.node.lse", LT_F32, &s->entry[i].lse,
                             LT_DIMS(work->heads * rows)));
    }
    return LT_OK;
}

/* One node over all my queries. */
typedef struct node_run {
    const lt_part_work *work;
    const lt_tensor *q, *kv;
    int64_t first; /* row of all that the block begins with */
    lt_tree_node node;
    lt_partial *to;
} node_run;

/* One chunk of queries of one node: y [rows, heads * width], lse [heads, rows]. */
typedef struct chunk_run {
    const node_run *of;
    lt_range rows;
} chunk_run;

static lt_status key_chunk(const chunk_run *c, int index, lt_tensor *y, lt_tensor *lse)
{
    const node_run *of = c->of;
    const int64_t block = of->kv->dim[0] / 2, n = of->work->heads;
    lt_range keys = lt_chunk_elements(of->work->pool->rows, index);
    keys.first -= of->first;
    const lt_tensor k = lt_view_outer(of->kv, keys);
    const lt_tensor v = lt_view_outer(of->kv, (lt_range){block + keys.first, keys.count});
    const lt_tensor q = lt_view_outer(of->q, c->rows);
    return lt_attention(of->work->engine->compute, &q, &k, &v, n, n, of->work->scale, 0, 0, y, lse);
}

/* At most LT_TREE_LEVELS deep. */
static lt_status chunk_of_node(const chunk_run *c, lt_tree_node node, lt_tensor *y, lt_tensor *lse)
{
    const lt_part_work *work = c->of->work;
    const lt_partial_pool *s = work->pool;
    if (node.level == 0)
        return key_chunk(c, node.index, y, lse);
    const lt_tree_node left = {node.level - 1, 2 * node.index};
    const lt_tree_node right = {node.level - 1, 2 * node.index + 1};
    if (lt_tree_node_elements(s->rows, left).count == 0)
        return chunk_of_node(c, right, y, lse);
    LT_TRY(chunk_of_node(c, left, y, lse));
    if (lt_tree_node_elements(s->rows, right).count == 0)
        return LT_OK;
    const lt_range front = {0, c->rows.count};
    lt_tensor y2 = lt_view_outer(&s->y[right.level], front);
    lt_tensor lse2 = lt_part_lse(work, &s->lse[right.level], front);
    LT_TRY(chunk_of_node(c, right, &y2, &lse2));
    return lt_attention_merge(work->engine->compute, &y2, &lse2, work->heads, y, lse);
}

static lt_status node_chunk(void *ctx, lt_range rows)
{
    const node_run *run = ctx;
    const chunk_run chunk = {run, rows};
    lt_tensor y = lt_view_outer(&run->to->y, rows);
    lt_tensor lse = lt_part_lse(run->work, &run->to->lse, rows);
    return chunk_of_node(&chunk, run->node, &y, &lse);
}

lt_status lt_ordered_attention_add(const lt_part_work *work, const lt_tensor *q,
                                   const lt_tensor *kv, int whose)
{
    lt_partial_pool *s = work->pool;
    lt_tree_node node[LT_TREE_NODES_MAX];
    const int n = block_nodes(work->share, whose, node);
    assert(kv->dim[0] == 2 * work->share->blocks[whose].count);
    for (int i = 0; i < n; i++) {
        const int entry = pool_take(s);
        int to, from;
        assert(entry < s->count);
        node_run run = {work, q, kv, work->share->blocks[whose].first, node[i], &s->entry[entry]};
        LT_TRY(lt_part_each(work, q->dim[0], node_chunk, &run));
        lt_fixed_tree_put(&s->tree, node[i], entry);
        while (lt_fixed_tree_join(&s->tree, &to, &from)) {
            LT_TRY(lt_part_merge(work, &s->entry[from], &s->entry[to]));
            s->used[from] = 0;
        }
    }
    return LT_OK;
}

lt_status lt_ordered_attention_end(const lt_part_work *work, lt_partial *out)
{
    const lt_partial_pool *s = work->pool;
    const int root = lt_fixed_tree_root(&s->tree);
    assert(root >= 0 || s->rows == 0);
    if (root >= 0)
        LT_TRY(lt_copy(work->engine->compute, &s->entry[root].y, &out->y));
    out->begun = 1;
    return LT_OK;
}
