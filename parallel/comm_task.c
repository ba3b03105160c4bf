/* comm_task.c - how a device collective reaches the comm queue.                   Level 2: parallel
 */
#include "parallel/comm_task.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"
#include "parallel/transport/op_record.h"
#include "parallel/transport/traffic.h"
#include "parallel/transport/transport_impl.h"

int lt_comm_is_dry(const lt_engine *engine) { return engine->backend == &lt_backend_dry; }

size_t lt_dense_pitch(const lt_tensor *x)
{
    return (size_t)lt_row_width(x) * lt_dtype_bytes(x->dtype);
}

/* ---- memory ---- */

typedef enum { ROOM_OUT, ROOM_IN, ROOM_BLOCKS, ROOM_COUNT } room_kind;

struct lt_comm_room {
    char *host[ROOM_COUNT];
    size_t host_bytes[ROOM_COUNT];
    lt_arena *device;
    lt_tensor scratch; /* f32 [elements], all of device */
};

lt_status lt_comm_room_new(lt_comm_room **out)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        LT_FAIL(LT_ENOMEM, "comm: no memory");
    return LT_OK;
}

void lt_comm_room_free(lt_comm_room **room)
{
    if (*room == NULL)
        return;
    for (int i = 0; i < ROOM_COUNT; i++)
        free((*room)->host[i]);
    lt_arena_free(&(*room)->device);
    free(*room);
    *room = NULL;
}

size_t lt_comm_room_device_bytes(const lt_comm_room *room)
{
    return room->device != NULL ? lt_arena_capacity(room->device) : 0;
}

size_t lt_comm_room_host_bytes(const lt_comm_room *room)
{
    size_t bytes = 0;
    for (int i = 0; i < ROOM_COUNT; i++)
        bytes += room->host_bytes[i];
    return bytes;
}

static lt_status host_room(lt_engine *engine, room_kind kind, size_t bytes, char **out)
{
    lt_comm_room *room = engine->room;
    if (lt_comm_is_dry(engine)) { /* nobody follows it: any address will do */
        room->host_bytes[kind] = bytes > room->host_bytes[kind] ? bytes : room->host_bytes[kind];
        *out = (char *)room;
        return LT_OK;
    }
    if (room->host[kind] == NULL || room->host_bytes[kind] < bytes) {
        LT_TRY(lt_sync(engine->comm)); /* what is queued uses the smaller one */
        free(room->host[kind]);
        room->host_bytes[kind] = 0;
        room->host[kind] = malloc(bytes > 0 ? bytes : 1);
        if (room->host[kind] == NULL)
            LT_FAIL(LT_ENOMEM, "comm: no memory for %zu staging bytes", bytes);
        room->host_bytes[kind] = bytes;
    }
    *out = room->host[kind];
    return LT_OK;
}

lt_status lt_comm_blocks(lt_engine *engine, size_t bytes, char **out)
{
    return host_room(engine, ROOM_BLOCKS, bytes, out);
}

lt_status lt_comm_scratch(lt_engine *engine, lt_dims dims, lt_tensor *out)
{
    lt_comm_room *room = engine->room;
    int64_t elements = 1;
    for (int i = 0; i < dims.ndim; i++)
        elements *= dims.dim[i];
    if (room->device == NULL || lt_elements(&room->scratch) < elements) {
        const int64_t room_for = elements > 0 ? elements : 1;
        LT_TRY(lt_sync(engine->comm));
        lt_arena_free(&room->device);
        LT_TRY(lt_arena_new("comm", engine->backend->memory, (size_t)room_for * sizeof(float),
                            &room->device));
        LT_TRY(
            lt_tensor_new(room->device, "comm.scratch", LT_F32, &room->scratch, LT_DIMS(room_for)));
    }
    const lt_tensor front = lt_view_outer(&room->scratch, (lt_range){0, elements});
    *out = lt_view_as(&front, dims);
    return LT_OK;
}

/* ---- both sides of the task ---- */

static lt_host_view in_place(const lt_tensor *x)
{
    const size_t pitch = (size_t)x->row_stride * lt_dtype_bytes(x->dtype);
    return (lt_host_view){x->data, lt_is_dense(x) ? lt_dense_pitch(x) : pitch};
}

/* May the CPU take x as it lies there? */
static int is_direct(const lt_engine *engine, const lt_tensor *x, int dense)
{
    const int in_reach = lt_comm_is_dry(engine) || engine->backend->host_access; /* dry: as cpu */
    return in_reach && (!dense || lt_is_dense(x));
}

static lt_status stage(lt_engine *engine, room_kind kind, const lt_tensor *x, size_t total,
                       size_t *at, lt_host_view *out)
{
    char *base = NULL;
    LT_TRY(host_room(engine, kind, total, &base));
    assert(*at + lt_tensor_bytes(x) <= total);
    *out = (lt_host_view){base + *at, lt_dense_pitch(x)};
    *at += lt_tensor_bytes(x);
    return LT_OK;
}

lt_status lt_comm_readable(lt_engine *engine, const lt_event *after, const lt_tensor *x, int dense,
                           size_t total, size_t *at, lt_host_view *out)
{
    if (after != NULL)
        LT_TRY(lt_wait(engine->comm, after));
    *out = in_place(x);
    if (is_direct(engine, x, dense))
        return LT_OK;
    LT_TRY(stage(engine, ROOM_OUT, x, total, at, out));
    return lt_download(engine->comm, out->data, x);
}

lt_status lt_comm_writable(lt_engine *engine, const lt_tensor *y, int dense, size_t total,
                           size_t *at, lt_host_view *out)
{
    *out = in_place(y);
    return is_direct(engine, y, dense) ? LT_OK : stage(engine, ROOM_IN, y, total, at, out);
}

lt_status lt_comm_written(lt_engine *engine, const lt_tensor *y, const lt_host_view *from)
{
    if (from->data == (char *)y->data || lt_elements(y) == 0)
        return LT_OK;
    return lt_upload(engine->comm, y, from->data);
}

/* ---- the task ---- */

lt_status lt_comm_task_new(const char *name, lt_group *group, int moves, int befores, int afters,
                           lt_comm_task **out)
{
    lt_comm_task *t = calloc(1, sizeof *t + (size_t)moves * sizeof *t->move +
                                    (size_t)(befores + afters) * sizeof *t->before);
    if (t == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %d transfers", name, moves);
    t->name = name;
    t->group = group;
    t->layer = lt_span_layer_now();
    t->move = (lt_transfer *)(t + 1);
    t->before = (lt_block_copy *)(t->move + moves);
    t->after = t->before + befores;
    *out = t;
    return LT_OK;
}

static void copy_blocks(const lt_block_copy *list, int count)
{
    for (int i = 0; i < count; i++) {
        const lt_block_copy *c = &list[i];
        if (c->from == c->to || c->bytes == 0)
            continue;
        for (int64_t r = 0; r < c->rows; r++)
            memcpy(c->to + (size_t)r * c->to_pitch, c->from + (size_t)r * c->from_pitch, c->bytes);
    }
}

static lt_status run(void *work, const lt_host_call *call)
{
    lt_comm_task *t = *(lt_comm_task **)work;
    const int layer = lt_span_layer(t->layer);
    lt_note_begin(t->name, t->group->axis, call);
    copy_blocks(t->before, t->befores);
    const lt_status st = t->moves > 0 ? lt_exchange(t->group, t->move, t->moves, call) : LT_OK;
    if (st == LT_OK)
        copy_blocks(t->after, t->afters);
    lt_note_end(call);
    (void)lt_span_layer(layer);
    free(t);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_comm_task_queue(lt_engine *engine, lt_comm_task *task)
{
    if (!lt_comm_is_dry(engine)) {
        const lt_status st = lt_host(engine->comm, run, &task, sizeof task);
        if (st != LT_OK)
            free(task);
        LT_TRY(st);
        return LT_OK;
    }
    lt_traffic_count(task->group, task->move, task->moves);
    free(task);
    return LT_OK;
}
