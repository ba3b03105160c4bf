/* attention_parts.c - what ring and 2-D share.                                    Level 2: parallel
 *
 * Pieces. Open MPI 4 moves nothing while nobody calls it, and a kernel over a whole block takes
 * seconds on a processor. So a block goes through the kernels in pieces, and messages are polled
 * between them. A piece is some heads of one chunk of queries: neither cut changes a bit or needs a
 * merge, as cutting keys would. Heads are cut first, since the processor packs the keys of each
 * head anew in every call: 256 queries a call cost 45 % more than all of them, 2,048 nothing to
 * speak of. Only one piece of scratch is needed beside the result. Other devices get whole chunks.
 */
#include "parallel/attention_parts.h"

#include <assert.h>
#include <stdlib.h>

#include "parallel/transport_impl.h"

/* ---- messages ---- */

static int is_dry(const lt_courier *c) { return c->engine->backend == &lt_backend_dry; }
static int is_staged(const lt_courier *c) { return !c->engine->backend->host_access; }

lt_status lt_courier_open(lt_engine *engine, lt_group *group, int parcels, lt_courier *out)
{
    *out = (lt_courier){.engine = engine, .group = group, .count = parcels};
    out->parcel = calloc((size_t)parcels + 1, sizeof *out->parcel);
    if (out->parcel == NULL)
        LT_FAIL(LT_ENOMEM, "attention: no memory for %d messages", parcels);
    return LT_OK;
}

lt_status lt_courier_close(lt_courier *courier)
{
    lt_status st = LT_OK;
    int copies = 0, under_way = 0;
    for (int i = 0; i < courier->count; i++) {
        copies |= courier->parcel[i].host != NULL;
        under_way |= courier->parcel[i].post != NULL;
    }
    if (copies)
        st = lt_sync(courier->engine->comm); /* uploads read the copies */
    if (!under_way && st == LT_OK) {
        for (int i = 0; i < courier->count; i++)
            free(courier->parcel[i].host);
        free(courier->parcel);
    }
    *courier = (lt_courier){.count = 0};
    LT_TRY(st);
    return LT_OK;
}

static lt_status host_reserve(lt_parcel *parcel, size_t bytes)
{
    if (parcel->host_bytes >= bytes)
        return LT_OK;
    free(parcel->host);
    parcel->host_bytes = 0;
    parcel->host = malloc(bytes);
    if (parcel->host == NULL)
        LT_FAIL(LT_ENOMEM, "attention: no memory for a message of %zu bytes", bytes);
    parcel->host_bytes = bytes;
    return LT_OK;
}

lt_status lt_courier_send(lt_courier *courier, int parcel, int peer, int tag, const lt_tensor *x,
                          const lt_event *after)
{
    lt_parcel *p = &courier->parcel[parcel];
    lt_queue *comm = courier->engine->comm;
    const size_t bytes = lt_tensor_bytes(x);
    assert(parcel < courier->count && p->post == NULL && lt_is_dense(x));
    LT_TRY(lt_wait(comm, after));
    if (bytes == 0)
        return LT_OK;
    if (is_dry(courier)) {
        lt_traffic_count(courier->group, &(lt_transfer){.peer = peer, .send_bytes = bytes}, 1);
        return LT_OK;
    }
    const void *data = x->data;
    if (is_staged(courier)) {
        LT_TRY(host_reserve(p, bytes));
        LT_TRY(lt_download(comm, p->host, x));
        data = p->host;
    }
    LT_TRY(lt_sync(comm));
    return lt_post_send(courier->group, peer, tag, data, bytes, &p->post);
}

lt_status lt_courier_receive(lt_courier *courier, int parcel, int peer, int tag, const lt_tensor *x,
                             const lt_event *after)
{
    lt_parcel *p = &courier->parcel[parcel];
    lt_queue *comm = courier->engine->comm;
    const size_t bytes = lt_tensor_bytes(x);
    assert(parcel < courier->count && p->post == NULL && lt_is_dense(x));
    if (bytes == 0)
        return LT_OK;
    if (is_dry(courier)) {
        lt_traffic_count(courier->group, &(lt_transfer){.peer = peer, .recv_bytes = bytes}, 1);
        return LT_OK;
    }
    void *data = x->data;
    if (is_staged(courier)) {
        LT_TRY(lt_sync(comm)); /* an earlier upload may still read the copy */
        LT_TRY(host_reserve(p, bytes));
        p->to = *x;
        p->after = *after;
        data = p->host;
    } else {
        LT_TRY(lt_wait(comm, after));
        LT_TRY(lt_sync(comm));
    }
    return lt_post_recv(courier->group, peer, tag, data, bytes, &p->post);
}

lt_status lt_courier_poll(lt_courier *courier)
{
    for (int i = 0; i < courier->count; i++) {
        int done;
        LT_TRY(lt_post_test(&courier->parcel[i].post, &done));
    }
    return LT_OK;
}

lt_status lt_courier_wait(lt_courier *courier, int parcel)
{
    lt_parcel *p = &courier->parcel[parcel];
    LT_TRY(lt_post_wait(&p->post));
    if (p->to.ndim == 0)
        return LT_OK;
    LT_TRY(lt_wait(courier->engine->comm, &p->after));
    LT_TRY(lt_upload(courier->engine->comm, &p->to, p->host));
    p->to.ndim = 0;
    return LT_OK;
}

/* ---- partial results ---- */

int64_t lt_attention_heads(const lt_attention_share *share)
{
    return share->inner_heads[lt_group_rank(share->uly)].count;
}

int64_t lt_attention_block(const lt_attention_share *share)
{
    return share->blocks[lt_group_rank(share->ring)].count;
}

/* A kernel call of about this many flops takes a few milliseconds on one core. */
static const double piece_flops = 2e8;

static int64_t heads_of_piece(const lt_attention_share *share, const lt_engine *engine,
                              int64_t heads, int64_t chunk)
{
    int64_t keys = 1;
    for (int i = 0; i < lt_group_size(share->ring); i++)
        keys = share->blocks[i].count > keys ? share->blocks[i].count : keys;
    const double one = 4.0 * (double)keys * (double)chunk * (double)share->width;
    if (!engine->backend->host_access || one * (double)heads <= piece_flops)
        return heads;
    return one >= piece_flops ? 1 : (int64_t)(piece_flops / one);
}

lt_status lt_part_work_new(const lt_attention_share *share, lt_courier *courier, float scale,
                           int64_t rows, lt_part_work *out)
{
    lt_arena *step = courier->engine->step;
    const int64_t heads = lt_attention_heads(share);
    const int64_t chunk = rows < LT_ATTENTION_CHUNK ? rows : LT_ATTENTION_CHUNK;
    *out = (lt_part_work){.share = share, .courier = courier, .heads = heads, .scale = scale};
    out->piece = heads_of_piece(share, courier->engine, heads, chunk);
    LT_TRY(lt_tensor_new(step, "attention.part", LT_F32, &out->y2,
                         LT_DIMS(chunk, out->piece * share->width)));
    return lt_tensor_new(step, "attention.part.lse", LT_F32, &out->lse2,
                         LT_DIMS(out->piece * chunk));
}

static lt_range chunk_at(int64_t rows, int64_t first)
{
    const int64_t left = rows - first;
    return (lt_range){first, left < LT_ATTENTION_CHUNK ? left : LT_ATTENTION_CHUNK};
}

lt_tensor lt_part_piece(const lt_part_work *work, const lt_tensor *x, lt_range rows, lt_range heads)
{
    const lt_tensor part = lt_view_outer(x, rows);
    const int64_t width = work->share->width;
    return lt_view_columns(&part, (lt_range){heads.first * width, heads.count * width});
}

lt_tensor lt_part_lse(const lt_part_work *work, const lt_tensor *lse, lt_range rows, lt_range heads)
{
    const lt_tensor flat =
        lt_view_outer(lse, (lt_range){work->heads * rows.first + heads.first * rows.count,
                                      heads.count * rows.count});
    return lt_view_as(&flat, LT_DIMS(heads.count, rows.count));
}

/* kv into p. */
typedef struct addition {
    const lt_part_work *work;
    const lt_tensor *q, *kv;
    lt_partial *p;
} addition;

static lt_status add_piece(void *ctx, lt_range rows, lt_range heads)
{
    const addition *a = ctx;
    const lt_part_work *work = a->work;
    const lt_tensor *q = a->q, *kv = a->kv;
    lt_partial *p = a->p;
    lt_queue *compute = work->courier->engine->compute;
    const int64_t keys = kv->dim[0] / 2, n = heads.count;
    const lt_tensor k = lt_part_piece(work, kv, (lt_range){0, keys}, heads);
    const lt_tensor v = lt_part_piece(work, kv, (lt_range){keys, keys}, heads);
    const lt_tensor query = lt_part_piece(work, q, rows, heads);
    lt_tensor y = lt_part_piece(work, &p->y, rows, heads),
              lse = lt_part_lse(work, &p->lse, rows, heads);
    if (!p->begun)
        return lt_attention(compute, &query, &k, &v, n, n, work->scale, 0, 0, &y, &lse);
    lt_tensor y2 = lt_part_piece(work, &work->y2, (lt_range){0, rows.count}, (lt_range){0, n});
    lt_tensor lse2 = lt_part_lse(work, &work->lse2, (lt_range){0, rows.count}, (lt_range){0, n});
    LT_TRY(lt_attention(compute, &query, &k, &v, n, n, work->scale, 0, 0, &y2, &lse2));
    return lt_attention_merge(compute, &y2, &lse2, n, &y, &lse);
}

lt_status lt_part_each(const lt_part_work *work, int64_t rows, lt_part_fn fn, void *ctx)
{
    if (work->heads == 0)
        return LT_OK;
    for (int64_t first = 0; first < rows; first += LT_ATTENTION_CHUNK) {
        const lt_range chunk = chunk_at(rows, first);
        for (int64_t head = 0; head < work->heads; head += work->piece) {
            const int64_t left = work->heads - head;
            const lt_range heads = {head, left < work->piece ? left : work->piece};
            LT_TRY(fn(ctx, chunk, heads));
            LT_TRY(lt_courier_poll(work->courier));
        }
    }
    return LT_OK;
}

lt_status lt_part_add(const lt_part_work *work, const lt_tensor *q, const lt_tensor *kv,
                      lt_partial *p)
{
    addition a = {work, q, kv, p};
    if (work->heads == 0 || (kv->dim[0] == 0 && p->begun))
        return LT_OK;
    LT_TRY(lt_part_each(work, q->dim[0], add_piece, &a));
    p->begun = 1;
    return LT_OK;
}

lt_status lt_part_merge(const lt_part_work *work, const lt_partial *from, lt_partial *p)
{
    const int64_t rows = p->y.dim[0];
    const lt_range heads = {0, work->heads};
    if (work->heads == 0)
        return LT_OK;
    for (int64_t first = 0; first < rows; first += LT_ATTENTION_CHUNK) {
        const lt_range chunk = chunk_at(rows, first);
        const lt_tensor y2 = lt_view_outer(&from->y, chunk);
        const lt_tensor lse2 = lt_part_lse(work, &from->lse, chunk, heads);
        lt_tensor y = lt_view_outer(&p->y, chunk), lse = lt_part_lse(work, &p->lse, chunk, heads);
        LT_TRY(
            lt_attention_merge(work->courier->engine->compute, &y2, &lse2, work->heads, &y, &lse));
    }
    return LT_OK;
}
