/* h3_dit_blocks.c - a block of H3's denoiser or refiner over this rank's rows.     Level 3: model
 * Formulas and roundings: spec/minimax-h3.md 4.5 (2, 5).
 *
 *     h -> norm, modulate -> qkv -> norm, rotate q and k -> attention over all S (attention_dist.h)
 *     h <- gate, add <- o <- to_out <--------------------------|
 *     h -> norm, modulate -> value and gate -> swiglu -> ff out -> o -> gate, add -> h
 *
 * Row-local work goes block by block, so that only q, k, v and attention's output are as long as
 * this rank's rows. Under tp each rank has the product over its own heads or columns only: f32
 * parts, summed in rank order; deterministic, f32 parts of leaves, summed along their tree whatever
 * tp is (leaf_linear.h, sum_tree.h). The sum of one row block is under way while the next is
 * multiplied: two sets of buffers, and compute waits for sum b before it starts product b + 2, so
 * neither set is overwritten early. The order of collectives depends on the shape alone, so ranks
 * without heads, rows or columns take part by the same loops. */
#include "model/h3_dit_internal.h"

#include <assert.h>
#include <math.h>

#include "parallel/sum_tree.h"

lt_tensor lt_h3_rows_at(const lt_tensor *x, int64_t first, int64_t count)
{
    return lt_view_outer(x, (lt_range){first, count});
}

lt_status lt_h3_up(const lt_h3_dit *dit, const lt_tensor *to, const void *from)
{
    return dit->dry ? LT_OK : lt_upload(dit->engine->compute, to, from);
}

lt_status lt_h3_down(const lt_h3_dit *dit, void *to, const lt_tensor *from)
{
    return dit->dry ? LT_OK : lt_download(dit->engine->compute, to, from);
}

static int64_t block_rows(int64_t rows, int64_t first)
{
    return rows - first < LT_H3_ROW_BLOCK ? rows - first : LT_H3_ROW_BLOCK;
}

/* Are results sums of f32 parts? */
static int is_split(const lt_h3_dit *dit) { return dit->by_leaves || lt_group_size(dit->tp) > 1; }

/* How wide a row of parts is, in units of hidden: deterministic parts are one for each subtree of
 * leaves that this rank holds whole. */
static int64_t parts_max(const lt_h3_dit *dit)
{
    if (!dit->by_leaves)
        return 1;
    const int heads = lt_leaf_inputs_nodes(&dit->cut_heads);
    const int ffn = lt_leaf_inputs_nodes(&dit->cut_ffn);
    return heads > ffn ? heads : ffn;
}

lt_status lt_h3_pass_new(const lt_h3_dit *dit, const lt_tensor *h, const lt_attention_share *share,
                         lt_h3_pass *out)
{
    lt_arena *step = dit->engine->step;
    const lt_dtype act = dit->compute;
    const int64_t E = dit->config.hidden, inner = dit->tp_heads.count * dit->config.head_dim;
    const int64_t rows = h->dim[0], B = rows < LT_H3_ROW_BLOCK ? rows : LT_H3_ROW_BLOCK;
    *out = (lt_h3_pass){.h = *h, .share = share};
    if (lt_group_size(dit->tokens) == 1 && !dit->by_leaves)
        out->share = NULL;
    LT_TRY(lt_tensor_new(step, "dit.u", act, &out->u, LT_DIMS(B, E)));
    LT_TRY(lt_tensor_new(step, "dit.qkv", act, &out->qkv, LT_DIMS(rows, 3 * inner)));
    LT_TRY(lt_tensor_new(step, "dit.attention", act, &out->mixed, LT_DIMS(rows, inner)));
    LT_TRY(lt_tensor_new(step, "dit.ff.in", act, &out->p, LT_DIMS(B, 2 * dit->tp_ffn.count)));
    LT_TRY(lt_tensor_new(step, "dit.ff.product", act, &out->s, LT_DIMS(B, dit->tp_ffn.count)));
    for (int i = 0; i < (is_split(dit) ? 2 : 1); i++) {
        LT_TRY(lt_tensor_new(step, "dit.o", act, &out->o[i], LT_DIMS(B, E)));
        if (is_split(dit))
            LT_TRY(lt_tensor_new(step, "dit.partial", LT_F32, &out->partial[i],
                                 LT_DIMS(B, parts_max(dit) * E)));
    }
    if (dit->by_leaves)
        LT_TRY(lt_tensor_new(step, "dit.leaves", LT_F32, &out->leaf_sums,
                             LT_DIMS(LT_LEAF_LEVELS * B, E)));
    return LT_OK;
}

/* u = norm(h) of a row block, modulated where the pass is. */
static lt_status norm_rows(const lt_h3_dit *dit, const lt_h3_pass *p, const lt_tensor *w,
                           const lt_tensor *table, int chunk, int64_t first, const lt_tensor *u)
{
    const int64_t E = dit->config.hidden;
    const lt_tensor x = lt_h3_rows_at(&p->h, first, u->dim[0]);
    lt_tensor y = *u;
    if (!table)
        return lt_rms_norm(dit->engine->compute, &x, w, (float)dit->config.norm_eps, LT_ROUND_ONCE,
                           &y);
    const lt_tensor index = lt_h3_rows_at(&p->index, first, u->dim[0]);
    return lt_norm_modulate(dit->engine->compute, &x, w, (float)dit->config.norm_eps, table, &index,
                            chunk * E, (chunk + 1) * E, &y);
}

/* h += o of a row block, gated where the pass is modulated. */
static lt_status add_rows(const lt_h3_dit *dit, const lt_h3_pass *p, const lt_tensor *table,
                          int chunk, int64_t first, const lt_tensor *o)
{
    lt_tensor h = lt_h3_rows_at(&p->h, first, o->dim[0]);
    if (!table)
        return lt_axpby(dit->engine->compute, 1.0f, o, 1.0f, &h);
    const lt_tensor index = lt_h3_rows_at(&p->index, first, o->dim[0]);
    return lt_gate_add(dit->engine->compute, o, table, &index, chunk * dit->config.hidden, &h);
}

/* One row block's way back into the residual stream: x W^T, summed over tp, gated, added. */
typedef struct tail {
    const lt_h3_dit *dit;
    lt_h3_pass *pass;
    const lt_linear *layer;       /* NULL: this rank adds nothing */
    const lt_leaf_linear *leaves; /* not NULL: instead of layer */
    const lt_tensor *table;
    int chunk;
    int64_t pending, pending_count; /* first row of the block whose sum is under way; -1: none */
    int slot;                       /* buffers of that block */
    lt_event done;
} tail;

static lt_status tail_finish(tail *t)
{
    if (t->pending < 0)
        return LT_OK;
    LT_TRY(lt_wait(t->dit->engine->compute, &t->done));
    const lt_tensor o = lt_h3_rows_at(&t->pass->o[t->slot], 0, t->pending_count);
    LT_TRY(add_rows(t->dit, t->pass, t->table, t->chunk, t->pending, &o));
    t->pending = -1;
    return LT_OK;
}

/* The f32 parts of a row block -> o on all ranks of tp. Queued on comm. */
static lt_status tail_sum(const tail *t, const lt_tensor *x, const lt_tensor *partial, lt_tensor *o,
                          lt_event *done)
{
    const lt_h3_dit *dit = t->dit;
    lt_queue *compute = dit->engine->compute;
    lt_event after;
    const int64_t count = x->dim[0], E = dit->config.hidden;
    if (t->leaves) {
        const lt_tensor flat = lt_view_as(partial, LT_DIMS(lt_elements(partial)));
        const int64_t width = lt_leaf_inputs_nodes(&t->leaves->cut) * E;
        const lt_tensor front = lt_view_outer(&flat, (lt_range){0, count * width});
        lt_tensor parts = lt_view_as(&front, LT_DIMS(count, width));
        LT_TRY(lt_leaf_inputs_apply(compute, t->leaves, x, &t->pass->leaf_sums, &parts));
        LT_TRY(lt_mark_event(compute, &after));
        return lt_sum_tree(dit->engine, dit->tp, t->leaves->cut.total, &after, &parts, o, done);
    }
    lt_tensor part = lt_h3_rows_at(partial, 0, count);
    if (t->layer)
        LT_TRY(lt_linear_apply(compute, t->layer, x, LT_ACT_NONE, &part));
    else
        LT_TRY(lt_fill(compute, &part, 0.0f));
    LT_TRY(lt_mark_event(compute, &after));
    return lt_sum_partials(dit->engine, dit->tp, &after, &part, o, done);
}

static lt_status tail_rows(tail *t, int64_t first, const lt_tensor *x)
{
    const lt_h3_dit *dit = t->dit;
    lt_queue *compute = dit->engine->compute;
    const int64_t count = x->dim[0];
    if (!is_split(dit)) {
        lt_tensor o = lt_h3_rows_at(&t->pass->o[0], 0, count);
        LT_TRY(lt_linear_apply(compute, t->layer, x, LT_ACT_NONE, &o));
        return add_rows(dit, t->pass, t->table, t->chunk, first, &o);
    }
    const int slot = 1 - t->slot;
    lt_tensor o = lt_h3_rows_at(&t->pass->o[slot], 0, count);
    lt_event done;
    LT_TRY(tail_sum(t, x, &t->pass->partial[slot], &o, &done));
    LT_TRY(tail_finish(t));
    t->slot = slot;
    t->pending = first;
    t->pending_count = count;
    t->done = done;
    return LT_OK;
}

/* q, k, v of my rows: columns of qkv. */
static lt_tensor third(const lt_h3_dit *dit, const lt_tensor *qkv, int which)
{
    const int64_t inner = dit->tp_heads.count * dit->config.head_dim;
    return lt_view_columns(qkv, (lt_range){which * inner, inner});
}

static lt_status project_qkv(const lt_h3_dit *dit, const lt_h3_block *block, const lt_tensor *table,
                             lt_h3_pass *p)
{
    lt_queue *compute = dit->engine->compute;
    const int64_t rows = p->h.dim[0];
    for (int64_t first = 0; first < rows; first += LT_H3_ROW_BLOCK) {
        const int64_t count = block_rows(rows, first);
        const lt_tensor u = lt_h3_rows_at(&p->u, 0, count);
        lt_tensor y = lt_h3_rows_at(&p->qkv, first, count);
        LT_TRY(norm_rows(dit, p, &block->norm1, table, LT_H3_SHIFT_ATTN, first, &u));
        if (block->leaves)
            LT_TRY(lt_h3_leaves_qkv(dit, block->leaves, &u, &y));
        else
            LT_TRY(lt_linear_apply(compute, block->qkv, &u, LT_ACT_NONE, &y));
        lt_tensor cos, sin;
        if (p->cos.ndim) {
            cos = lt_h3_rows_at(&p->cos, first, count);
            sin = lt_h3_rows_at(&p->sin, first, count);
        }
        for (int which = 0; which < 2; which++) {
            lt_tensor x = third(dit, &y, which);
            LT_TRY(lt_head_norm_rope(compute, &x, dit->tp_heads.count,
                                     which ? &block->norm_k : &block->norm_q,
                                     (float)dit->config.qk_norm_eps, LT_ROUND_ONCE,
                                     p->cos.ndim ? &cos : NULL, p->cos.ndim ? &sin : NULL));
        }
    }
    return LT_OK;
}

static lt_status attend(const lt_h3_dit *dit, lt_h3_pass *p)
{
    const float scale = (float)(1.0 / sqrt((double)dit->config.head_dim));
    const int64_t heads = dit->tp_heads.count;
    const lt_tensor q = third(dit, &p->qkv, 0), k = third(dit, &p->qkv, 1),
                    v = third(dit, &p->qkv, 2);
    if (p->share != NULL)
        return lt_attention_dist(dit->engine, p->share, scale, &q, &k, &v, &p->mixed);
    if (q.dim[0] == 0)
        return LT_OK;
    return lt_attention(dit->engine->compute, &q, &k, &v, heads, heads, scale, 0, 0, &p->mixed,
                        NULL);
}

static lt_status attention_run(const lt_h3_dit *dit, const lt_h3_block *block,
                               const lt_tensor *table, lt_h3_pass *p)
{
    const int64_t rows = p->h.dim[0];
    if (dit->tp_heads.count > 0) {
        LT_TRY(project_qkv(dit, block, table, p));
        LT_TRY(attend(dit, p));
    }
    tail t = {.dit = dit,
              .pass = p,
              .layer = block->out,
              .leaves = block->leaves ? &block->leaves->out : NULL,
              .table = table,
              .chunk = LT_H3_GATE_ATTN,
              .pending = -1};
    for (int64_t first = 0; first < rows; first += LT_H3_ROW_BLOCK) {
        const lt_tensor x = lt_h3_rows_at(&p->mixed, first, block_rows(rows, first));
        LT_TRY(tail_rows(&t, first, &x));
    }
    return tail_finish(&t);
}

static lt_status ffn_run(const lt_h3_dit *dit, const lt_h3_block *block, const lt_tensor *table,
                         lt_h3_pass *p)
{
    lt_queue *compute = dit->engine->compute;
    const int64_t rows = p->h.dim[0];
    tail t = {.dit = dit,
              .pass = p,
              .layer = block->ff_out,
              .leaves = block->leaves ? &block->leaves->ff_out : NULL,
              .table = table,
              .chunk = LT_H3_GATE_FFN,
              .pending = -1};
    for (int64_t first = 0; first < rows; first += LT_H3_ROW_BLOCK) {
        const int64_t count = block_rows(rows, first);
        const lt_tensor u = lt_h3_rows_at(&p->u, 0, count);
        lt_tensor x = lt_h3_rows_at(&p->p, 0, count), s = lt_h3_rows_at(&p->s, 0, count);
        if (dit->tp_ffn.count > 0) {
            LT_TRY(norm_rows(dit, p, &block->norm2, table, LT_H3_SHIFT_FFN, first, &u));
            if (block->leaves)
                LT_TRY(lt_h3_leaves_ff_in(dit, block->leaves, &u, &x));
            else
                LT_TRY(lt_linear_apply(compute, block->ff_in, &u, LT_ACT_NONE, &x));
            LT_TRY(lt_swiglu(compute, &x, &s));
        }
        LT_TRY(tail_rows(&t, first, &s));
    }
    return tail_finish(&t);
}

lt_status lt_h3_block_run(const lt_h3_dit *dit, const lt_h3_block *block, const lt_tensor *table,
                          lt_h3_pass *pass)
{
    assert(!table || pass->index.ndim == 1);
    LT_TRY(attention_run(dit, block, table, pass));
    return ffn_run(dit, block, table, pass);
}
