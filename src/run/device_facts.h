/* device_facts.h - what a manifest says of devices: which they are, how tensors go between them.
 * All functions are Local. Tested: tests/shim/test_gpu_part.c. */
#ifndef LT_DEVICE_FACTS_H
#define LT_DEVICE_FACTS_H

#include <jansson.h>

#include "parallel/context.h"

/* {"devices", "driver", "links", "NCCL", "attention"} of this host, where `device` is "cuda"; else
 * null. The caller's; NULL: no memory. */
json_t *lt_device_facts(const char *device);

/* Into all, by axis: how the tensors of this rank's groups of more than one rank travel. Of an
 * engine that is connected. */
void lt_device_exchanges(const lt_engine *engine, const lt_mesh *mesh, const char *phase,
                         json_t *all);

#endif
