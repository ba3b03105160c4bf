/* registry.c - which backends there are.
 * A file of its own above them: backends use backend.c, which names none of them. */
#include <string.h>

#include "kernels/backend.h"

static const lt_backend *const backends[] = {&lt_backend_cpu, &lt_backend_ref, &lt_backend_far,
                                             &lt_backend_dry};

lt_status lt_backend_find(const char *name, const lt_backend **out)
{
    const char *wanted = name == NULL || strcmp(name, "auto") == 0 ? "cpu" : name;
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (strcmp(backends[i]->name, wanted) == 0) {
            *out = backends[i];
            return LT_OK;
        }
    if (strcmp(wanted, "cuda") == 0) {
        lt_hint("use --device cpu");
        LT_FAIL(LT_EUNAVAIL, "device cuda: this build has no GPU part (longtake_cuda.so)");
    }
    LT_FAIL(LT_EUNAVAIL, "device %s: want auto, cpu, cuda, ref, far or dry", name);
}
