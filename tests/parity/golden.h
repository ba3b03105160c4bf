/* golden.h - tensors that the published Python made, and how a result is held against them.
 * Files lie in tests/parity/golden; tools/golden makes them. What is read is the caller's to free.
 */
#ifndef LT_TEST_GOLDEN_H
#define LT_TEST_GOLDEN_H

#include <stdlib.h>
#include <string.h>

#include "model/files/checkpoint.h"
#include "parallel/context.h"
#include "tests/support/check.h"
#include "tests/support/each_isa.h"
#ifdef LT_PART
#include "tests/emu/part.h"
#endif

#define DATA LT_SOURCE_DIR "/tests/parity/"

/* f32 against the reference, share of its largest value: DESIGN section 9. */
static const double tolerance = 1e-5;

typedef struct golden_file {
    lt_checkpoint *file;
    char path[512];
} golden_file;

static inline void golden_file_open(golden_file *g, const char *name)
{
    (void)snprintf(g->path, sizeof g->path, DATA "golden/%s.safetensors", name);
    OK(lt_checkpoint_open(g->path, NULL, &g->file));
}

static inline void golden_file_close(golden_file *g) { lt_checkpoint_close(&g->file); }

/* A whole tensor; its sizes to dim, their product to *count. NULL when it isn't there. */
static inline void *golden_find(const golden_file *g, const char *name, lt_dtype want,
                                int64_t dim[5], int64_t *count)
{
    lt_tensor_info info;
    if (!lt_checkpoint_find(g->file, name, &info))
        return NULL;
    lt_dims dims = {.ndim = info.ndim};
    *count = 1;
    for (int i = 0; i < info.ndim; i++) {
        dims.dim[i] = dim[i] = info.dim[i];
        *count *= info.dim[i];
    }
    void *data = calloc((size_t)*count + 1, lt_dtype_bytes(want));
    assert_non_null(data);
    OK(lt_checkpoint_read(g->file, name, dims, lt_slice_whole(dims), want, data));
    return data;
}

/* The same of one that must be there. */
static inline void *golden_read(const golden_file *g, const char *name, lt_dtype want,
                                int64_t dim[5])
{
    int64_t count = 0;
    void *data = golden_find(g, name, want, dim, &count);
    if (data == NULL)
        fail_msg("%s: no tensor %s", g->path, name);
    return data;
}

static inline int golden_has(const golden_file *g, const char *name)
{
    lt_tensor_info info;
    return lt_checkpoint_find(g->file, name, &info);
}

/* Every result is compared the same way, and a failure names backend and golden. */
static inline void compare(const char *backend, const char *name, double worst, double allowed)
{
    if (!(worst <= allowed))
        fail_msg("%s on %s: worst %.3g of the largest value, allowed %.3g", name, backend, worst,
                 allowed);
    print_message("    %-24s %-4s %.2e, allowed %.2e\n", name, backend, worst, allowed);
}

/* check with each set of the cpu backend's inner loops that this machine has; with LT_PART defined
 * (tests/emu) on longtake_cuda.so's backend too, in several orders. */
static inline void on_each_isa(void (*check)(const lt_backend *))
{
    for (int i = 0; i < ISA_COUNT; i++)
        if (isa_take(i))
            check(&lt_backend_cpu);
    isa_leave();
#ifdef LT_PART
    lt_emu_each_order(check);
#endif
}

static inline void engine_open(lt_engine *engine, const lt_backend *backend)
{
    OK(lt_engine_open(backend, 0, 2, NULL, (size_t)256 << 20, (size_t)256 << 20, engine));
}

#endif
