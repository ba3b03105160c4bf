/* each_isa.h - run something with every set of the cpu backend's inner loops that this machine has.
 *
 *     for (int i = 0; i < ISA_COUNT; i++)
 *         if (isa_take(i)) ... with isa_names[i]
 *     isa_leave();
 *
 * Sets that the machine or the build lacks are passed over: plain is everywhere. No backend may be
 * open. */
#ifndef LT_TEST_EACH_ISA_H
#define LT_TEST_EACH_ISA_H

#include "kernels/cpu/cpu.h"

enum { ISA_COUNT = 3 };
static const char *const isa_names[ISA_COUNT] = {"plain", "avx2", "avx512"};

static inline int isa_take(int index)
{
    const int here = lt_cpu_isa_set(isa_names[index]) == LT_OK;
    if (!here)
        lt_error_clear();
    return here;
}

/* Back to the widest. */
static inline void isa_leave(void) { (void)lt_cpu_isa_set("auto"); }

#endif
