/* device_facts.c - see device_facts.h. */
#include "run/device_facts.h"

#include <string.h>

#include "kernels/gpu_part.h"
#include "parallel/collective/exchange.h"

json_t *lt_device_facts(const char *device)
{
    if (strcmp(device, "cuda") != 0)
        return json_null();
    const lt_gpu *gpu = lt_gpu_look();
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "devices", gpu->text, "driver", gpu->driver,
                     "links", gpu->links, "NCCL", gpu->exchange, "attention", gpu->attention);
}

static void tell(const lt_engine *engine, const lt_group *group, const char *name, json_t *all)
{
    if (group != NULL && lt_group_size(group) > 1)
        (void)json_object_set_new(all, name, json_string(lt_links_name(engine->links, group)));
}

void lt_device_exchanges(const lt_engine *engine, const lt_mesh *mesh, const char *phase,
                         json_t *all)
{
    json_t *axes = json_object();
    for (int axis = LT_AXIS_RING; axis < LT_AXIS_COUNT; axis++) /* win and cfg: on the host */
        tell(engine, mesh->axis[axis], lt_axis_names[axis], axes);
    if (mesh->spec.size[LT_AXIS_RING] > 1 && mesh->spec.size[LT_AXIS_ULY] > 1)
        tell(engine, mesh->tokens, "tokens", axes);
    if (json_object_size(axes) > 0)
        (void)json_object_set(all, phase, axes);
    json_decref(axes);
}
