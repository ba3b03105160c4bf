/* bind.h - what every verb that computes begins with: processors, device, mesh. */
#ifndef LT_BIND_H
#define LT_BIND_H

#include "run/place.h"
#include "run/plan.h"

typedef struct lt_binding {
    lt_placed placed;
    const lt_backend *backend;
    int device_ranks; /* of this host's ranks, those that compute on this one's device */
    lt_mesh mesh;     /* stays where it is: engines point at it */
} lt_binding;

/* Give this rank its processors, find the plan's device, claim it and open its mesh. Of the plan it
 * reads threads, device, mesh, placement, attention and deterministic. After an error lt_unbind is
 * due too. Collective on world, Blocking. Errors: LT_EUNAVAIL (no such device), those of lt_place
 * and lt_mesh_open_placed. */
lt_status lt_bind(lt_group *world, const lt_plan *plan, lt_binding *out);
/* An engine on the binding's mesh and on this rank's device. Local, Blocking. Errors:
 * lt_engine_open's. */
lt_status lt_bind_engine(const lt_binding *binding, size_t phase_bytes, size_t step_bytes,
                         lt_engine *out);
/* A zeroed binding is allowed. Local. */
void lt_unbind(lt_binding *binding);

#endif
