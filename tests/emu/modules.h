/* modules.h - the fat binaries that longtake_cuda.so registered, and their kernels.
 * All functions are Local; the caller holds the lock of stream.h. */
#ifndef LT_EMU_MODULES_H
#define LT_EMU_MODULES_H

#include "tests/emu/ptx.h"

typedef struct emu_module {
    const void *fat;    /* as it was registered */
    char *shipped;      /* its PTX */
    ptx_module *parsed; /* NULL: not yet, or patched since */
    char *patched;      /* NULL: as shipped */
    struct emu_module *next;
} emu_module;

typedef struct emu_kernel {
    const void *host; /* the host's function that launches it */
    char *name;
    emu_module *module;
    int is_loaded; /* cudart.c */
    struct emu_kernel *next;
} emu_kernel;

/* wrapper: what __cudaRegisterFatBinary is given. Ends the program where it has no PTX. */
emu_module *emu_modules_register(const void *wrapper);
void emu_modules_remove(emu_module *m);
void emu_modules_kernel(emu_module *m, const void *host, const char *name);
emu_kernel *emu_modules_find(const void *host);
/* Parsed where it was not; NULL: why. */
const ptx_function *emu_modules_function(emu_kernel *k, char why[PTX_WHY]);
int emu_modules_patch(const char *kernel, const char *from, const char *to, int nth);

#endif
