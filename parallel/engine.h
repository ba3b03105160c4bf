/* engine.h - what a network needs to compute on this rank.                        Level 2: parallel
 * A backend that is open, its three queues, the arenas of the part at work and the mesh. The run
 * makes one; networks borrow it. `phase` holds weights and tables, `step` scratch that a mark gives
 * back: the comm queue may hold nothing that uses it by then, or the host waits. Both are device
 * memory of the backend. On `dry` nothing is computed: peaks are the answer. */
#ifndef LT_ENGINE_H
#define LT_ENGINE_H

#include "kernels/kernels.h"
#include "parallel/comm.h"
#include "parallel/mesh.h"

typedef struct lt_comm_room lt_comm_room;

struct lt_engine {
    const lt_backend *backend;
    lt_queue *compute, *comm, *copy;
    lt_arena *phase, *step;
    const lt_mesh *mesh;
    int threads;
    lt_comm_room *room; /* what device collectives stage in and add up in (comm_task.c) */
};

/* Open backend, queues and arenas of these capacities. backend and mesh are borrowed. After an
 * error *out is empty. Local, Blocking. Errors: LT_ENOMEM, the backend's. */
lt_status lt_engine_open(const lt_backend *backend, int threads, const lt_mesh *mesh,
                         size_t phase_bytes, size_t step_bytes, lt_engine *out);
/* Waits for the queues. An empty engine is allowed. Local, Blocking. */
void lt_engine_close(lt_engine *engine);

/* This rank has failed with work queued: drop it, so that nothing waits for peers that may never
 * come, and keep the error text. The engine can only be closed after it. An empty engine is
 * allowed. Local, Blocking for as long as one look at a message takes. */
void lt_engine_give_up(lt_engine *engine);

/* Device memory that collectives have taken so far, beside the arenas; on dry, that they would
 * take. Local. */
size_t lt_engine_comm_bytes(const lt_engine *engine);
/* Host memory that they stage and pack in, likewise. Local. */
size_t lt_engine_comm_host_bytes(const lt_engine *engine);

#endif
