/* gpu_part_open.h - longtake_cuda.so, opened by a program that stands for `longtake`.
 * The program must have all of longtake_core and export it, for the part to take lt_* from. */
#ifndef LT_TEST_GPU_PART_OPEN_H
#define LT_TEST_GPU_PART_OPEN_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/gpu_part.h"

/* Whatever it says that it lacks. Ends the program where it cannot be opened or is of another
 * version. */
static inline const lt_gpu_part *gpu_part_open(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    lt_gpu_part_fn entry = NULL;
    if (library == NULL) {
        (void)fprintf(stderr, "%s\n", dlerror());
        exit(69);
    }
    void *symbol = dlsym(library, LT_GPU_PART_ENTRY);
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from an object's address */
    const lt_gpu_part *part = entry != NULL ? entry() : NULL;
    if (part == NULL || part->api != LT_GPU_PART_API || part->backend_api != LT_BACKEND_API ||
        part->op_bytes != sizeof(lt_op)) {
        (void)fprintf(stderr, "%s: want a part of this version, found another\n", path);
        exit(69);
    }
    return part;
}

#endif
