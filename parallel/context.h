/* context.h - the engine: what a network needs to compute on this rank.
 * A backend that is open, its three queues, the arenas of the part at work and the mesh. The run
 * opens one; networks borrow it. `phase` holds weights and tables, `step` holds scratch that a mark
 * gives back: the release waits while the comm queue holds work that uses it. Both are device
 * memory of the backend. On `dry` nothing is computed: peaks are the result. The main thread calls
 * all of this; on the CPU the comm queue has a thread (docs/design.md 4, threads of a rank). */
#ifndef LT_CONTEXT_H
#define LT_CONTEXT_H

#include "kernels/kernels.h"
#include "parallel/collective/collective.h"
#include "parallel/mesh.h"

/* What collectives need beside the tensors that they are given (collective/exchange.h), bytes. */
typedef struct lt_comm_need {
    size_t scratch_bytes;       /* device memory: packed blocks, partial sums */
    size_t out_bytes, in_bytes; /* host memory: the largest exchange, where it is staged */
} lt_comm_need;
typedef struct lt_comm_memory lt_comm_memory;
typedef struct lt_links lt_links;

struct lt_engine {
    const lt_backend *backend;
    lt_queue *compute, *comm, *copy;
    lt_arena *phase, *step;
    const lt_mesh *mesh;
    int device, threads;
    int resident_layers; /* of a network of many equal layers, those that stay in memory; 0: all
                            (src/model/weights/layers.h). For its opener to set, as is: */
    int layers_at_peers; /* 1: the others are shared out over mesh->tokens */
    int64_t row_block, query_chunk; /* as the device wants them (backend.h); one kind of device on
                                       all ranks, since messages follow them */
    int act_partials; /* backend.h; for its opener to set, as is what was listed (expect): 0 */
    lt_comm_memory *memory; /* what collectives pack, stage and add up in */
    lt_links *links;        /* how the groups' tensors travel */
};

/* Open backend, queues and arenas of these capacities. device: which of the host's (backend.h), the
 * rank's number on its host. backend and mesh are borrowed. After an error *out is empty. Local,
 * Blocking. Errors: LT_ENOMEM, the backend's. */
lt_status lt_engine_open(const lt_backend *backend, int device, int threads, const lt_mesh *mesh,
                         size_t phase_bytes, size_t step_bytes, lt_engine *out);
/* Agree, on each group of mesh, on how its tensors travel, connect, and take what a dry run found
 * that collectives need (lt_engine_comm_need): after it they allocate and connect nothing. Without
 * it memory grows, and a group's tensors travel by direct or staged exchange. Collective on the
 * groups of mesh, Blocking. Errors: LT_EUNAVAIL (ranks of a group name different exchanges),
 * LT_ENOMEM, the transport's. */
lt_status lt_engine_connect(lt_engine *engine, const lt_mesh *mesh, const lt_comm_need *need);
/* Device memory that it takes to connect the groups of these meshes (NULL: none), each once, beside
 * what `need` says. Local. */
size_t lt_engine_connect_bytes(const lt_backend *backend, const lt_mesh *const *mesh, int count);
/* Waits for the queues. An empty engine is allowed. Local, Blocking. */
void lt_engine_close(lt_engine *engine);

/* This rank has failed with work queued: cancel it, so that nothing waits for peers that may never
 * come, and keep the error text. The engine can only be closed after it. An empty engine is
 * allowed. Local, Blocking for as long as one poll takes. */
void lt_engine_cancel(lt_engine *engine);

/* What collectives have needed so far beside the arenas; on dry, what they would. Local. */
lt_comm_need lt_engine_comm_need(const lt_engine *engine);

#endif
