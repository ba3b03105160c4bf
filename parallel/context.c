/* context.c - the engine: a backend, its queues and arenas, opened together. */
#include "parallel/context.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "parallel/collective/exchange.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"

lt_status lt_engine_open(const lt_backend *backend, int device, int threads, const lt_mesh *mesh,
                         size_t phase_bytes, size_t step_bytes, lt_engine *out)
{
    memset(out, 0, sizeof *out);
    lt_device described;
    lt_status st = LT_OK;
    LT_TRY(lt_backend_open(backend, device, threads));
    out->backend = backend;
    out->mesh = mesh;
    backend->describe(device, &described);
    out->row_block = described.row_block;
    out->query_chunk = described.query_chunk;
    out->device = device;
    out->threads = threads;
    LT_TRY_GOTO(backend->queue_open(LT_QUEUE_COMPUTE, &out->compute), st, failed);
    LT_TRY_GOTO(backend->queue_open(LT_QUEUE_COMM, &out->comm), st, failed);
    LT_TRY_GOTO(backend->queue_open(LT_QUEUE_COPY, &out->copy), st, failed);
    LT_TRY_GOTO(lt_comm_memory_new(backend, out->comm, &out->memory), st, failed);
    LT_TRY_GOTO(lt_links_new(backend, out->memory, &out->links), st, failed);
    LT_TRY_GOTO(lt_arena_new("phase", backend->memory, phase_bytes, &out->phase), st, failed);
    LT_TRY_GOTO(lt_arena_new("step", backend->memory, step_bytes, &out->step), st, failed);
    return LT_OK;
failed:
    lt_engine_close(out);
    return st;
}

void lt_engine_close(lt_engine *engine)
{
    if (engine->backend == NULL)
        return;
    lt_queue **const queue[] = {&engine->copy, &engine->comm, &engine->compute};
    for (size_t i = 0; i < sizeof queue / sizeof *queue; i++)
        if (*queue[i] != NULL)
            (void)lt_sync(*queue[i]); /* nothing may still use the arenas */
    lt_arena_free(&engine->step);
    lt_arena_free(&engine->phase);
    for (size_t i = 0; i < sizeof queue / sizeof *queue; i++)
        if (*queue[i] != NULL)
            engine->backend->queue_close(queue[i]);
    lt_links_free(&engine->links);
    lt_comm_memory_free(&engine->memory); /* what was dropped may have named it until here */
    engine->backend->close();
    memset(engine, 0, sizeof *engine);
}

/* The queue's thread, where it has one, begins here. */
static lt_status nothing(void *work, const lt_host_call *call)
{
    (void)work, (void)call;
    return LT_OK;
}

enum { WHY_BYTES = 256 };

/* Rank 0 says for all why some group's tensors go another way than they could: the lowest rank's
 * words. Collective on world. */
static lt_status say_without(lt_group *world, const char without[WHY_BYTES])
{
    const int size = lt_group_size(world);
    char *all = calloc((size_t)size, WHY_BYTES);
    lt_status st = all != NULL ? LT_OK
                               : lt_fail(LT_ENOMEM, __FILE__, __LINE__,
                                         "comm: no memory for words of %d ranks", size);
    st = lt_agree(world, st);
    if (st == LT_OK)
        st = lt_all_gather_host(world, without, WHY_BYTES, all);
    for (int i = 0; st == LT_OK && i < size; i++)
        if (all[i * WHY_BYTES] != '\0') {
            lt_warn("%.*s: tensors go through host memory", WHY_BYTES - 1, all + i * WHY_BYTES);
            break;
        }
    free(all);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_engine_connect(lt_engine *engine, const lt_mesh *mesh, const lt_comm_need *need)
{
    int ranks = 1;
    lt_status refused = LT_OK;
    char why[WHY_BYTES], without[WHY_BYTES] = "";
    for (int axis = -1; axis < LT_AXIS_COUNT; axis++) {
        lt_group *group = axis < 0 ? mesh->tokens : mesh->axis[axis];
        const lt_status st = lt_links_connect(engine->links, group, why, sizeof why);
        if (st == LT_EUNAVAIL) /* all of this group know; others of the axis go on */
            refused = st;
        else
            LT_TRY(st);
        if (without[0] == '\0')
            memcpy(without, why, strlen(why));
        ranks *= lt_group_size(group);
    }
    LT_TRY(refused);
    if (ranks > 1 && !engine->backend->host_access && !engine->backend->is_dry)
        LT_TRY(say_without(mesh->world, without));
    LT_TRY(lt_comm_memory_reserve(engine->memory, need));
    if (ranks > 1)
        LT_TRY(lt_host(engine->comm, nothing, NULL, 0));
    return LT_OK;
}

size_t lt_engine_connect_bytes(const lt_backend *backend, const lt_mesh *const *mesh, int count)
{
    enum { GROUPS_MAX = 32 };
    const lt_group *seen[GROUPS_MAX];
    int groups = 0;
    size_t bytes = 0;
    assert(count * (LT_AXIS_COUNT + 1) <= GROUPS_MAX);
    for (int i = 0; i < count; i++)
        for (int axis = -1; mesh[i] != NULL && axis < LT_AXIS_COUNT; axis++) {
            const lt_group *group = axis < 0 ? mesh[i]->tokens : mesh[i]->axis[axis];
            int known = 0;
            for (int k = 0; k < groups; k++)
                known |= seen[k] == group;
            if (!known)
                bytes += lt_links_device_bytes(backend, group);
            seen[groups++] = group;
        }
    return bytes;
}

lt_comm_need lt_engine_comm_need(const lt_engine *engine)
{
    return engine->memory != NULL ? lt_comm_memory_need(engine->memory) : (lt_comm_need){0};
}

void lt_engine_cancel(lt_engine *engine)
{
    if (engine->backend == NULL)
        return;
    lt_links_abort(engine->links);
    lt_cancel(engine->comm);
    lt_cancel(engine->copy);
    lt_cancel(engine->compute);
}
