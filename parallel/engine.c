/* engine.c - a backend, its queues and arenas, opened together.                   Level 2: parallel
 */
#include "parallel/engine.h"

#include <string.h>

#include "parallel/comm_task.h"

lt_status lt_engine_open(const lt_backend *backend, int threads, const lt_mesh *mesh,
                         size_t phase_bytes, size_t step_bytes, lt_engine *out)
{
    memset(out, 0, sizeof *out);
    lt_status st = LT_OK;
    LT_TRY(lt_backend_open(backend, 0, threads));
    out->backend = backend;
    out->mesh = mesh;
    out->threads = threads;
    LT_TRY_GOTO(backend->queue_open(LT_QUEUE_COMPUTE, &out->compute), st, failed);
    LT_TRY_GOTO(backend->queue_open(LT_QUEUE_COMM, &out->comm), st, failed);
    LT_TRY_GOTO(backend->queue_open(LT_QUEUE_COPY, &out->copy), st, failed);
    LT_TRY_GOTO(lt_comm_room_new(&out->room), st, failed);
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
    lt_comm_room_free(&engine->room); /* what was dropped may have named it until here */
    engine->backend->close();
    memset(engine, 0, sizeof *engine);
}

size_t lt_engine_comm_bytes(const lt_engine *engine)
{
    return engine->room != NULL ? lt_comm_room_device_bytes(engine->room) : 0;
}

size_t lt_engine_comm_host_bytes(const lt_engine *engine)
{
    return engine->room != NULL ? lt_comm_room_host_bytes(engine->room) : 0;
}

void lt_engine_give_up(lt_engine *engine)
{
    if (engine->backend == NULL)
        return;
    lt_give_up(engine->comm);
    lt_give_up(engine->copy);
    lt_give_up(engine->compute);
}
