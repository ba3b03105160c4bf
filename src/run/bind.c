/* bind.c - what every verb that computes begins with: processors, device, mesh. */
#include "run/bind.h"

#include <string.h>

#include "base/log.h"
#include "kernels/gpu_part.h"
#include "parallel/collective/exchange.h"
#include "parallel/transport/agree.h"

/* The GPU part's own way between devices, where it is what computes. */
static void take_exchange(const lt_backend *backend, int ranks)
{
    if (strcmp(backend->name, "cuda") != 0)
        return;
    const lt_gpu *gpu = lt_gpu_look();
    if (gpu->found == LT_GPU_READY && gpu->part->exchange != NULL)
        lt_exchange_register(gpu->part->exchange); /* says itself what it cannot */
    else if (ranks > 1)
        lt_warn("%s: tensors go through host memory", gpu->exchange);
}

lt_status lt_bind(lt_group *world, const lt_plan *plan, lt_binding *out)
{
    memset(out, 0, sizeof *out);
    LT_TRY(lt_place(world, plan->threads, &out->placed));
    LT_TRY(lt_agree(world, lt_backend_find(plan->device, &out->backend)));
    take_exchange(out->backend, lt_group_size(world));
    LT_TRY(lt_mesh_open_placed(world, &plan->mesh, plan->placement, &out->mesh));
    out->mesh.attention = plan->attention;
    out->mesh.deterministic = plan->deterministic;
    return LT_OK;
}

lt_status lt_bind_engine(const lt_binding *binding, size_t phase_bytes, size_t step_bytes,
                         lt_engine *out)
{
    const lt_placed *placed = &binding->placed;
    LT_TRY(lt_engine_open(binding->backend, placed->local_rank, placed->threads, &binding->mesh,
                          phase_bytes, step_bytes, out));
    return LT_OK;
}

void lt_unbind(lt_binding *binding) { lt_mesh_close(&binding->mesh); }
