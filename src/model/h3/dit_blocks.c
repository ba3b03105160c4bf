/* dit_blocks.c - a block of H3's denoiser or refiner over this rank's rows.
 * Formulas and roundings: spec/minimax-h3.md 4.5 (2, 5).
 *
 *     h -> norm, modulate -> qkv -> norm, rotate q and k -> attention over all S (attention.h)
 *     h <- gate, add <- o <- to_out <--------------------------|
 *     h -> norm, modulate -> value and gate -> swiglu -> ff out -> o -> gate, add -> h
 *
 * Row-local work goes block by block, so that only q, k, v and attention's output are as long as
 * this rank's rows. Under tp each rank has some heads and some FFN columns: what leads in is
 * column-parallel, what leads back row-parallel (split_linear.h), with the sum of one row block
 * under way while the next is multiplied. */
#include "model/h3/dit_internal.h"

#include <assert.h>
#include <math.h>

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

static int64_t block_rows(const lt_h3_dit *dit, int64_t rows, int64_t first)
{
    return rows - first < dit->row_block ? rows - first : dit->row_block;
}

lt_status lt_h3_pass_new(const lt_h3_dit *dit, const lt_tensor *h, const lt_attention_share *share,
                         lt_h3_pass *out)
{
    lt_arena *step = dit->engine->step;
    const lt_dtype act = dit->compute;
    const int64_t E = dit->config.hidden, inner = dit->heads.units.count * dit->config.head_dim;
    const int64_t rows = h->dim[0], B = rows < dit->row_block ? rows : dit->row_block;
    *out = (lt_h3_pass){.h = *h, .share = share};
    if (lt_group_size(dit->tokens) == 1 && !dit->heads.ordered)
        out->share = NULL;
    LT_TRY(lt_tensor_new(step, "dit.u", act, &out->u, LT_DIMS(B, E)));
    LT_TRY(lt_tensor_new(step, "dit.qkv", act, &out->qkv, LT_DIMS(rows, 3 * inner)));
    LT_TRY(lt_tensor_new(step, "dit.attention", act, &out->attention_out, LT_DIMS(rows, inner)));
    LT_TRY(lt_tensor_new(step, "dit.ff.in", act, &out->p, LT_DIMS(B, 2 * dit->ffn.units.count)));
    LT_TRY(lt_tensor_new(step, "dit.ff.product", act, &out->s, LT_DIMS(B, dit->ffn.units.count)));
    const lt_split *const splits[] = {&dit->heads, &dit->ffn};
    return lt_row_scratch_new(step, splits, 2, act, B, E, NULL, &out->back);
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

/* Where the results of a row-parallel layer go. */
typedef struct target {
    const lt_h3_dit *dit;
    const lt_h3_pass *pass;
    const lt_tensor *table;
    int chunk;
} target;

static lt_status add_result(void *ctx, lt_range rows, const lt_tensor *o)
{
    const target *t = ctx;
    return add_rows(t->dit, t->pass, t->table, t->chunk, rows.first, o);
}

/* q, k, v of my rows: columns of qkv. */
static lt_tensor qkv_slice(const lt_h3_dit *dit, const lt_tensor *qkv, int which)
{
    const int64_t inner = dit->heads.units.count * dit->config.head_dim;
    return lt_view_columns(qkv, (lt_range){which * inner, inner});
}

static lt_status project_qkv(const lt_h3_dit *dit, const lt_h3_block *block, const lt_tensor *table,
                             lt_h3_pass *p)
{
    lt_queue *compute = dit->engine->compute;
    const int64_t rows = p->h.dim[0];
    for (int64_t first = 0; first < rows; first += dit->row_block) {
        const int64_t count = block_rows(dit, rows, first);
        const lt_tensor u = lt_h3_rows_at(&p->u, 0, count);
        lt_tensor y = lt_h3_rows_at(&p->qkv, first, count);
        LT_TRY(norm_rows(dit, p, &block->norm1, table, LT_H3_SHIFT_ATTN, first, &u));
        LT_TRY(lt_column_linear_apply(compute, &block->qkv, &u, &y));
        lt_tensor cos, sin;
        if (p->cos.ndim) {
            cos = lt_h3_rows_at(&p->cos, first, count);
            sin = lt_h3_rows_at(&p->sin, first, count);
        }
        for (int which = 0; which < 2; which++) {
            lt_tensor x = qkv_slice(dit, &y, which);
            LT_TRY(lt_head_norm_rope(compute, &x, dit->heads.units.count,
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
    const int64_t heads = dit->heads.units.count;
    const lt_tensor q = qkv_slice(dit, &p->qkv, 0), k = qkv_slice(dit, &p->qkv, 1),
                    v = qkv_slice(dit, &p->qkv, 2);
    if (p->share != NULL)
        return lt_attention_dist(dit->engine, p->share, scale, &q, &k, &v, &p->attention_out);
    if (q.dim[0] == 0)
        return LT_OK;
    return lt_attention(dit->engine->compute, &q, &k, &v, heads, heads, scale, 0, 0,
                        &p->attention_out, NULL);
}

static lt_status attention_run(const lt_h3_dit *dit, const lt_h3_block *block,
                               const lt_tensor *table, lt_h3_pass *p)
{
    const int64_t rows = p->h.dim[0];
    if (dit->heads.units.count > 0) {
        LT_TRY(project_qkv(dit, block, table, p));
        LT_TRY(attend(dit, p));
    }
    target to = {dit, p, table, LT_H3_GATE_ATTN};
    lt_row_pass back = lt_row_begin(dit->engine, &block->out, &p->back, add_result, &to);
    for (int64_t first = 0; first < rows; first += dit->row_block) {
        const lt_range range = {first, block_rows(dit, rows, first)};
        const lt_tensor x = lt_view_outer(&p->attention_out, range);
        LT_TRY(lt_row_block(&back, range, &x));
    }
    return lt_row_finish(&back);
}

static lt_status ffn_run(const lt_h3_dit *dit, const lt_h3_block *block, const lt_tensor *table,
                         lt_h3_pass *p)
{
    lt_queue *compute = dit->engine->compute;
    const int64_t rows = p->h.dim[0];
    target to = {dit, p, table, LT_H3_GATE_FFN};
    lt_row_pass back = lt_row_begin(dit->engine, &block->ff_out, &p->back, add_result, &to);
    for (int64_t first = 0; first < rows; first += dit->row_block) {
        const int64_t count = block_rows(dit, rows, first);
        const lt_tensor u = lt_h3_rows_at(&p->u, 0, count);
        lt_tensor x = lt_h3_rows_at(&p->p, 0, count), s = lt_h3_rows_at(&p->s, 0, count);
        if (dit->ffn.units.count > 0) {
            LT_TRY(norm_rows(dit, p, &block->norm2, table, LT_H3_SHIFT_FFN, first, &u));
            LT_TRY(lt_column_linear_apply(compute, &block->ff_in, &u, &x));
            LT_TRY(lt_swiglu(compute, &x, &s));
        }
        LT_TRY(lt_row_block(&back, (lt_range){first, count}, &s));
    }
    return lt_row_finish(&back);
}

lt_status lt_h3_block_run(const lt_h3_dit *dit, const lt_h3_block *block, const lt_tensor *table,
                          lt_h3_pass *pass)
{
    assert(!table || pass->index.ndim == 1);
    LT_TRY(attention_run(dit, block, table, pass));
    return ffn_run(dit, block, table, pass);
}
