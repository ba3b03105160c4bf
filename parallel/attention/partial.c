/* partial.c - what ring and 2-D share.
 * A block goes through the kernels in chunks of queries, so that only one chunk of scratch is
 * needed beside the result. Cutting queries changes no bit and needs no merge, as cutting keys
 * would; 2,048 of them cost nothing to speak of, 256 would cost 45 %, since the processor packs the
 * keys of each head anew in every call. */
#include "parallel/attention/partial.h"

int64_t lt_attention_heads(const lt_attention_share *share)
{
    return share->inner_heads[lt_group_rank(share->uly)].count;
}

int64_t lt_attention_block(const lt_attention_share *share)
{
    return share->blocks[lt_group_rank(share->ring)].count;
}

lt_status lt_part_work_new(lt_engine *engine, const lt_attention_share *share, float scale,
                           int64_t rows, lt_part_work *out)
{
    const int64_t heads = lt_attention_heads(share);
    const int64_t most = engine->query_chunk, chunk = rows < most ? rows : most;
    *out = (lt_part_work){.engine = engine, .share = share, .heads = heads, .scale = scale};
    const lt_dtype dtype = engine->act_partials && !share->ordered ? share->act : LT_F32;
    LT_TRY(lt_tensor_new(engine->step, "attention.part", dtype, &out->y2,
                         LT_DIMS(chunk, heads * share->width)));
    return lt_tensor_new(engine->step, "attention.part.lse", LT_F32, &out->lse2,
                         LT_DIMS(heads * chunk));
}

lt_tensor lt_part_lse(const lt_part_work *work, const lt_tensor *lse, lt_range rows)
{
    const lt_tensor flat =
        lt_view_outer(lse, (lt_range){work->heads * rows.first, work->heads * rows.count});
    return lt_view_as(&flat, LT_DIMS(work->heads, rows.count));
}

lt_status lt_part_each(const lt_part_work *work, int64_t rows, lt_part_fn fn, void *ctx)
{
    const int64_t most = work->engine->query_chunk;
    for (int64_t first = 0; first < rows && work->heads > 0; first += most) {
        const int64_t left = rows - first;
        LT_TRY(fn(ctx, (lt_range){first, left < most ? left : most}));
    }
    return LT_OK;
}

/* kv into p. */
typedef struct addition {
    const lt_part_work *work;
    const lt_tensor *q, *kv;
    lt_partial *p;
} addition;

static lt_status add_chunk(void *ctx, lt_range rows)
{
    const addition *a = ctx;
    const lt_part_work *work = a->work;
    lt_queue *compute = work->engine->compute;
    const int64_t keys = a->kv->dim[0] / 2, n = work->heads;
    const lt_tensor k = lt_view_outer(a->kv, (lt_range){0, keys});
    const lt_tensor v = lt_view_outer(a->kv, (lt_range){keys, keys});
    const lt_tensor query = lt_view_outer(a->q, rows);
    lt_tensor y = lt_view_outer(&a->p->y, rows), lse = lt_part_lse(work, &a->p->lse, rows);
    const lt_range front = {0, rows.count};
    lt_tensor y2 = lt_view_outer(&work->y2, front), lse2 = lt_part_lse(work, &work->lse2, front);
    if (!a->p->begun) {
        lt_tensor *first = y2.dtype != LT_F32 ? &y2 : &y;
        LT_TRY(lt_attention(compute, &query, &k, &v, n, n, work->scale, 0, 0, first, &lse));
        return first != &y ? lt_copy(compute, &y2, &y) : LT_OK;
    }
    LT_TRY(lt_attention(compute, &query, &k, &v, n, n, work->scale, 0, 0, &y2, &lse2));
    return lt_attention_merge(compute, &y2, &lse2, n, &y, &lse);
}

lt_status lt_part_add(const lt_part_work *work, const lt_tensor *q, const lt_tensor *kv,
                      lt_partial *p)
{
    addition a = {work, q, kv, p};
    if (work->heads == 0 || (kv->dim[0] == 0 && p->begun))
        return LT_OK;
    LT_TRY(lt_part_each(work, q->dim[0], add_chunk, &a));
    p->begun = 1;
    return LT_OK;
}

/* from into p. */
typedef struct joining {
    const lt_part_work *work;
    const lt_partial *from;
    lt_partial *p;
} joining;

static lt_status merge_chunk(void *ctx, lt_range rows)
{
    const joining *j = ctx;
    const lt_tensor y2 = lt_view_outer(&j->from->y, rows);
    const lt_tensor lse2 = lt_part_lse(j->work, &j->from->lse, rows);
    lt_tensor y = lt_view_outer(&j->p->y, rows), lse = lt_part_lse(j->work, &j->p->lse, rows);
    return lt_attention_merge(j->work->engine->compute, &y2, &lse2, j->work->heads, &y, &lse);
}

lt_status lt_part_merge(const lt_part_work *work, const lt_partial *from, lt_partial *p)
{
    joining j = {work, from, p};
    return lt_part_each(work, p->y.dim[0], merge_chunk, &j);
}
