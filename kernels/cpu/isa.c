/* isa.c - which of the compiled inner loops this machine runs.
 * __builtin_cpu_supports asks cpuid and whether the operating system keeps the registers (XCR0). */
#include <string.h>

#include "kernels/cpu/cpu.h"

static const lt_cpu_isa *chosen;

static const lt_cpu_isa *widest(void)
{
#if defined(__x86_64__) && !defined(LT_PORTABLE)
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        return &lt_cpu_isa_avx512;
    if (avx2)
        return &lt_cpu_isa_avx2;
#endif
    return &lt_cpu_isa_plain;
}

const lt_cpu_isa *lt_cpu_isa_now(void)
{
    if (chosen == NULL)
        chosen = widest();
    return chosen;
}

lt_status lt_cpu_isa_set(const char *name)
{
    const lt_cpu_isa *best = widest();
    if (strcmp(name, "auto") == 0 || strcmp(name, best->name) == 0) {
        chosen = best;
        return LT_OK;
    }
    if (strcmp(name, "plain") == 0) {
        chosen = &lt_cpu_isa_plain;
        return LT_OK;
    }
#if defined(__x86_64__) && !defined(LT_PORTABLE)
    if (strcmp(name, "avx2") == 0 && best == &lt_cpu_isa_avx512) {
        chosen = &lt_cpu_isa_avx2;
        return LT_OK;
    }
#endif
    LT_FAIL(LT_EUNAVAIL, "cpu: no instruction set %s here, the widest is %s", name, best->name);
}

int lt_cpu_has_bf16(void)
{
#if defined(__x86_64__) && !defined(LT_PORTABLE)
    return lt_cpu_isa_now() == &lt_cpu_isa_avx512 && __builtin_cpu_supports("avx512bf16");
#else
    return 0;
#endif
}
