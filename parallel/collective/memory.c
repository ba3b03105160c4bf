/* memory.c - what the collectives of an engine need beside their tensors.
 *
 * Scratch lies in chunks. A dry run finds the peak, which is then one chunk; where nothing was
 * reserved (tests, benches) a chunk is added when the last one is full, and none is given back
 * before the end, since what is queued may use it.
 *
 *     | taken by the collective that is being queued | free ... |
 *       ^ mark                                       ^ used
 *
 * Staging buffers that are too small are replaced once the queue has run to its end. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"
#include "parallel/collective/exchange.h"
#include "parallel/transport/op_record.h"
#include "parallel/transport/transport_impl.h"

enum { CHUNKS_MAX = 32, ALIGN = 64 };

typedef struct {
    void *at;
    size_t bytes;
} block;

/* A work item of the comm queue: this, and the list behind it. */
typedef struct {
    const char *name;
    lt_group *group;
    int count, layer; /* layer: that it was queued in, for traces */
    lt_transfer list[];
} queued_exchange;

struct lt_comm_memory {
    const lt_backend *backend;
    lt_queue *comm;
    block chunk[CHUNKS_MAX], out, in;
    int chunks;
    size_t used, left_behind; /* of all chunks; of those before the last one */
    lt_comm_need need;
    queued_exchange *queued;
    lt_tensor_transfer *list;
    int queued_capacity, list_capacity;
};

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

lt_status lt_comm_memory_new(const lt_backend *backend, lt_queue *comm, lt_comm_memory **out)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        LT_FAIL(LT_ENOMEM, "comm: no memory");
    (*out)->backend = backend;
    (*out)->comm = comm;
    lt_transfer *list;
    lt_tensor_transfer *transfers;
    lt_status st = lt_comm_list(*out, 1, &list);
    if (st == LT_OK)
        st = lt_comm_transfers(*out, 1, &transfers);
    if (st != LT_OK)
        lt_comm_memory_free(out);
    LT_TRY(st);
    return LT_OK;
}

/* Host memory that the device copies from and to. */
static const lt_memory *staging_memory(const lt_comm_memory *m)
{
    return m->backend->pinned != NULL ? m->backend->pinned : &lt_memory_host;
}

static void block_free(const lt_memory *memory, block *b)
{
    if (b->at != NULL)
        memory->release(memory->ctx, b->at, b->bytes);
    *b = (block){NULL, 0};
}

static lt_status block_new(const lt_memory *memory, size_t bytes, block *out)
{
    *out = (block){NULL, 0};
    LT_TRY(memory->alloc(memory->ctx, bytes, &out->at));
    out->bytes = bytes;
    return LT_OK;
}

void lt_comm_memory_free(lt_comm_memory **memory)
{
    lt_comm_memory *m = *memory;
    if (m == NULL)
        return;
    for (int i = 0; i < m->chunks; i++)
        block_free(m->backend->memory, &m->chunk[i]);
    block_free(staging_memory(m), &m->out);
    block_free(staging_memory(m), &m->in);
    free(m->queued);
    free(m->list);
    free(m);
    *memory = NULL;
}

lt_comm_need lt_comm_memory_need(const lt_comm_memory *memory) { return memory->need; }
lt_queue *lt_comm_memory_queue(const lt_comm_memory *memory) { return memory->comm; }

/* ---- scratch ---- */

static lt_status add_chunk(lt_comm_memory *m, size_t bytes)
{
    if (m->chunks == CHUNKS_MAX)
        LT_FAIL(LT_ENOMEM, "comm: no scratch beyond %zu bytes", m->used);
    LT_TRY(block_new(m->backend->memory, bytes, &m->chunk[m->chunks]));
    m->left_behind = m->used;
    m->chunks++;
    return LT_OK;
}

size_t lt_comm_mark(const lt_comm_memory *memory) { return memory->used; }

void lt_comm_release(lt_comm_memory *memory, size_t mark)
{
    assert(mark <= memory->used);
    memory->used = mark;
    if (mark < memory->left_behind) /* the last chunk is empty: begin there */
        memory->left_behind = mark;
}

lt_status lt_comm_scratch(lt_comm_memory *m, lt_dtype dtype, lt_dims dims, lt_tensor *out)
{
    *out = lt_tensor_wrap(NULL, "comm.scratch", dtype, dims);
    const size_t bytes = (lt_tensor_bytes(out) + ALIGN - 1) / ALIGN * ALIGN;
    const block *last = m->chunks > 0 ? &m->chunk[m->chunks - 1] : NULL;
    if (last == NULL || last->bytes - (m->used - m->left_behind) < bytes) {
        const size_t doubled = last != NULL ? 2 * last->bytes : 0;
        LT_TRY(add_chunk(m, larger(larger(bytes, doubled), ALIGN)));
        last = &m->chunk[m->chunks - 1];
    }
    out->data = (char *)last->at + (m->used - m->left_behind);
    m->used += bytes;
    m->need.scratch_bytes = larger(m->need.scratch_bytes, m->used);
    return LT_OK;
}

/* ---- staging ---- */

static lt_status at_least(lt_comm_memory *m, block *b, size_t bytes)
{
    if (b->at != NULL && b->bytes >= bytes)
        return LT_OK;
    LT_TRY(lt_sync(m->comm)); /* what is queued uses the smaller one */
    block_free(staging_memory(m), b);
    LT_TRY(block_new(staging_memory(m), larger(bytes, ALIGN), b));
    return LT_OK;
}

lt_status lt_comm_staging(lt_comm_memory *m, size_t out_bytes, size_t in_bytes, char **out,
                          char **in)
{
    m->need.out_bytes = larger(m->need.out_bytes, out_bytes);
    m->need.in_bytes = larger(m->need.in_bytes, in_bytes);
    *out = *in = NULL;
    if (m->backend->is_dry)
        return LT_OK;
    LT_TRY(at_least(m, &m->out, out_bytes));
    LT_TRY(at_least(m, &m->in, in_bytes));
    *out = m->out.at;
    *in = m->in.at;
    return LT_OK;
}

lt_status lt_comm_memory_reserve(lt_comm_memory *m, const lt_comm_need *need)
{
    char *out, *in;
    assert(m->used == 0);
    if (m->backend->is_dry)
        return LT_OK;
    if (m->chunks == 0 || m->chunk[m->chunks - 1].bytes < need->scratch_bytes)
        LT_TRY(add_chunk(m, larger(need->scratch_bytes, ALIGN)));
    if (!m->backend->host_access)
        LT_TRY(lt_comm_staging(m, need->out_bytes, need->in_bytes, &out, &in));
    return LT_OK;
}

/* ---- work items ---- */

enum { TRANSFERS_MIN = 64 }; /* transfers that every collective may have */

lt_status lt_comm_transfers(lt_comm_memory *m, int count, lt_tensor_transfer **out)
{
    const int capacity = count > TRANSFERS_MIN ? count : TRANSFERS_MIN;
    *out = m->list;
    if (m->list_capacity >= capacity)
        return LT_OK;
    lt_tensor_transfer *more = realloc(m->list, (size_t)capacity * sizeof *more);
    if (more == NULL)
        LT_FAIL(LT_ENOMEM, "comm: no memory for %d transfers", count);
    *out = m->list = more;
    m->list_capacity = capacity;
    return LT_OK;
}

lt_status lt_comm_list(lt_comm_memory *m, int count, lt_transfer **out)
{
    if (m->queued == NULL || m->queued_capacity < count) {
        const int capacity = count > TRANSFERS_MIN ? count : TRANSFERS_MIN;
        free(m->queued); /* the queue has a copy of what it was given */
        m->queued_capacity = 0;
        m->queued = malloc(sizeof *m->queued + (size_t)capacity * sizeof m->queued->list[0]);
        if (m->queued == NULL)
            LT_FAIL(LT_ENOMEM, "comm: no memory for %d transfers", count);
        m->queued_capacity = capacity;
    }
    *out = m->queued->list;
    return LT_OK;
}

static lt_status run(void *work, const lt_host_call *call)
{
    const queued_exchange *t = work;
    const int layer = lt_span_layer(t->layer);
    lt_operation_begin(t->name, t->group->axis, call);
    const lt_status st = lt_exchange(t->group, t->list, t->count, call);
    lt_operation_end(call);
    (void)lt_span_layer(layer);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_comm_push(lt_link *link, lt_queue *comm, const char *name, int count)
{
    queued_exchange *t = link->memory->queued;
    assert(link->group != NULL && count <= link->memory->queued_capacity);
    t->name = name;
    t->group = link->group;
    t->count = count;
    t->layer = lt_span_layer_now();
    return lt_host(comm, run, t, sizeof *t + (size_t)count * sizeof t->list[0]);
}

/* ---- plain links ---- */

lt_status lt_link_plain(const lt_device_exchange *how, lt_group *group, lt_comm_memory *memory,
                        lt_link **out)
{
    lt_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        LT_FAIL(LT_ENOMEM, "comm: no memory for a link");
    *link = (lt_link){how, group, memory};
    *out = link;
    return LT_OK;
}

void lt_link_plain_close(lt_link **link)
{
    free(*link);
    *link = NULL;
}

size_t lt_link_bytes(const lt_tensor *x) { return x->ndim > 0 ? lt_tensor_bytes(x) : 0; }
