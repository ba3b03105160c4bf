/* bind.c - what every verb that computes begins with: processors, device, mesh. */
#include "run/bind.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kernels/gpu_part.h"
#include "parallel/collective/exchange.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"

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

/* Two ranks of a host have two cards, or share one; a host's processor is all its ranks'. Once all
 * have claimed theirs, so that none takes more of another's. */
static lt_status count_device_ranks(lt_group *world, lt_binding *b)
{
    enum { ID_BYTES = sizeof((lt_device *)NULL)->id };
    static const char none[ID_BYTES];
    const int size = lt_group_size(world);
    lt_device device;
    b->backend->describe(b->placed.local_rank, &device);
    char(*all)[ID_BYTES] = calloc((size_t)size, sizeof *all);
    lt_status st =
        all != NULL ? LT_OK
                    : lt_fail(LT_ENOMEM, __FILE__, __LINE__, "bind: no memory for %d ranks", size);
    st = lt_agree(world, st);
    if (st == LT_OK)
        st = lt_all_gather_host(world, device.id, sizeof device.id, all);
    b->device_ranks = 0;
    for (int r = 0; st == LT_OK && r < size; r++)
        b->device_ranks += memcmp(all[r], device.id, sizeof device.id) == 0;
    if (memcmp(device.id, none, sizeof none) == 0)
        b->device_ranks = b->placed.local_ranks;
    free(all);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_bind(lt_group *world, const lt_plan *plan, lt_binding *out)
{
    memset(out, 0, sizeof *out);
    lt_status st = LT_OK;
    LT_TRY(lt_place(world, plan->threads, &out->placed));
    LT_TRY(lt_agree(world, lt_backend_find(plan->device, &out->backend)));
    if (out->backend->claim != NULL)
        st = out->backend->claim(out->placed.local_rank);
    LT_TRY(lt_agree(world, st));
    LT_TRY(count_device_ranks(world, out));
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
