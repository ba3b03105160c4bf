/* gpu_part.h - longtake_cuda.so: the part of the program that needs CUDA, opened at run time.
 *
 * The program itself knows no CUDA and runs on any node. Beside it (or in ../lib/longtake of its
 * folder) there may be longtake_cuda.so, a plug-in: kernels/cuda, linked with CUDA's libraries. It
 * takes lt_* from the program and gives one function, lt_gpu_part_entry. It is opened once, when
 * there is a driver (libcuda.so.1), and refused unless it is of this very version.
 *
 * All functions are Local and for the main thread. Tested: tests/shim/test_gpu_part.c. */
#ifndef LT_GPU_PART_H
#define LT_GPU_PART_H

#include "kernels/backend.h"

enum { LT_GPU_PART_API = 4 }; /* bump when a member is added, moved or changes meaning */

#define LT_GPU_PART_FILE  "longtake_cuda.so"
#define LT_GPU_PART_ENTRY "lt_gpu_part_entry"

/* What the plug-in gives. The first four members never move: they are what is compared. */
typedef struct lt_gpu_part {
    uint32_t api, backend_api; /* LT_GPU_PART_API, LT_BACKEND_API */
    uint32_t op_bytes;         /* sizeof(lt_op) */
    const char *version;       /* LT_VERSION */
    const lt_backend *backend;
    const char *missing; /* what it cannot do yet, so that it is not used; "": nothing */
    /* How many devices there are. text: their names, or why there are none. */
    int (*devices)(char *text, size_t bytes);
    /* How tensors go from device to device (parallel/collective/exchange.h); NULL: only through
     * host memory. */
    const struct lt_device_exchange *exchange;
    /* 1: it is of use here. text: its library and version, or why not. */
    int (*exchange_found)(char *text, size_t bytes);
    /* What computes attention on the first device. 1: a library; text: it and its version, or "our
     * own attention" and why. */
    int (*attention_found)(char *text, size_t bytes);
    /* Up to which CUDA the driver goes, and ours. */
    void (*driver)(char *text, size_t bytes);
    /* Which devices reach each other's memory; "": there is one. */
    void (*links)(char *text, size_t bytes);
} lt_gpu_part;

typedef const lt_gpu_part *(*lt_gpu_part_fn)(void);

typedef enum lt_gpu_found {
    LT_GPU_NO_PART,  /* this build or installation has none */
    LT_GPU_UNUSABLE, /* the part is there, something else is not: text says what */
    LT_GPU_READY     /* text: the devices */
} lt_gpu_found;

typedef struct lt_gpu {
    lt_gpu_found found;
    const lt_gpu_part *part;     /* NULL: not opened */
    char text[512];              /* one line, without an end */
    int has_exchange;            /* between devices; else through host memory */
    char exchange[160];          /* its library and version, or why there is none; "": no part */
    int has_attention;           /* by a library, else by our own kernels */
    char driver[64], links[128]; /* "": no part, no device; one device has no links */
    char attention[160];         /* its name and version, or why it is our own; "": no part */
} lt_gpu;

/* Looks once. The answer stays. Blocking. */
const lt_gpu *lt_gpu_look(void);

#endif
