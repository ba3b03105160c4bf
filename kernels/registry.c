/* registry.c - which backends there are.
 * A file of its own above them: backends use backend.c, which names none of them. */
#include <string.h>

#include "base/log.h"
#include "kernels/backend.h"
#include "kernels/gpu_part.h"

static const lt_backend *const backends[] = {&lt_backend_cpu, &lt_backend_ref, &lt_backend_far,
                                             &lt_backend_dry};

/* cuda, where there is a device for it; a part that cannot be used says once why. */
static const char *best(void)
{
    const lt_gpu *gpu = lt_gpu_look();
    if (gpu->found == LT_GPU_UNUSABLE)
        lt_warn("%s: on the processor", gpu->text);
    return gpu->found == LT_GPU_READY ? "cuda" : "cpu";
}

lt_status lt_backend_find(const char *name, const lt_backend **out)
{
    const char *wanted = name == NULL || strcmp(name, "auto") == 0 ? best() : name;
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (strcmp(backends[i]->name, wanted) == 0) {
            *out = backends[i];
            return LT_OK;
        }
    if (strcmp(wanted, "cuda") == 0) {
        const lt_gpu *gpu = lt_gpu_look();
        if (gpu->found == LT_GPU_READY) {
            *out = gpu->part->backend;
            return LT_OK;
        }
        lt_hint("use --device cpu");
        LT_FAIL(LT_EUNAVAIL, "device cuda: %s", gpu->text);
    }
    LT_FAIL(LT_EUNAVAIL, "device %s: want auto, cpu, cuda, ref, far or dry", name);
}
