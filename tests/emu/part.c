/* part.c - see part.h. */
#include "tests/emu/part.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/gpu_part_open.h"

const lt_backend *lt_emu_backend(void)
{
    static const lt_gpu_part *part;
    if (part == NULL)
        part = gpu_part_open(LT_EMU_PART);
    return part->backend;
}

/* "_Z4eachI9swiglu_opEvT_ll" as "each<swiglu_op>". */
static void plain_name(const char *mangled, char *out, size_t bytes)
{
    const char *at = mangled;
    size_t used = 0;
    int names = 0;
    if (strncmp(at, "_Z", 2) == 0)
        at += 2;
    out[0] = '\0';
    while (*at >= '0' && *at <= '9' && used < bytes) {
        char *name = NULL;
        const int length = (int)strtol(at, &name, 10);
        const int n =
            snprintf(out + used, bytes - used, "%s%.*s", names > 0 ? "<" : "", length, name);
        used += n > 0 ? (size_t)n : 0;
        names++;
        at = name + length;
        if (*at != 'I' || names == 2)
            break;
        at++;
    }
    if (names == 2 && used < bytes)
        (void)snprintf(out + used, bytes - used, ">");
}

uint64_t lt_emu_row(const char *name, const lt_tensor *x, double worst)
{
    enum { LINE = 160 };
    static int begun;
    char kernel[64], shape[64];
    const lt_emu_counts c = lt_emu_count();
    size_t used = 0;
    if (!begun)
        (void)printf("%-28s %-38s %-22s %9s %12s\n", "kernel", "case", "of", "error",
                     "instructions");
    begun = 1;
    plain_name(c.kernel, kernel, sizeof kernel);
    used = (size_t)snprintf(shape, sizeof shape, "%s", lt_dtype_name(x->dtype));
    for (int d = 0; d < x->ndim && used < sizeof shape; d++)
        used += (size_t)snprintf(shape + used, sizeof shape - used, " %" PRId64, x->dim[d]);
    (void)printf("%-28.28s %-38.38s %-22.22s %9.2g %12" PRIu64 "%s\n",
                 c.products > 0 && c.launches == 0 ? "cuBLASLt" : kernel, name, shape, worst,
                 c.instructions, c.products > 0 && c.launches > 0 ? " + cuBLASLt" : "");
    (void)fflush(stdout);
    return c.instructions;
}

void lt_emu_each_order(void (*check)(const lt_backend *))
{
    enum { ORDERS = 3 };
    const lt_backend *b = lt_emu_backend();
    for (int i = 0; i < ORDERS; i++) {
        lt_emu_seed((uint64_t)i);
        lt_emu_sums(i);
        (void)lt_emu_count();
        check(b);
        const lt_emu_counts c = lt_emu_count();
        (void)printf("    order %d: %" PRIu64 " launches, %" PRIu64 " products, %" PRIu64
                     " instructions of warps, %" PRIu64 " mma\n",
                     i, c.launches, c.products, c.instructions, c.mma);
    }
    lt_emu_seed(0);
    lt_emu_sums(LT_EMU_SUMS_ORDERED);
}
