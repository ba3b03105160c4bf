/* vae_golden.h - golden tensors and engines for the two VAEs' parity tests. */
#ifndef LT_VAE_GOLDEN_H
#define LT_VAE_GOLDEN_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/checkpoint.h"
#include "parallel/engine.h"
#include "tests/support/each_isa.h"

#define DATA LT_SOURCE_DIR "/tests/parity/"

/* f32 against the reference, share of its largest value: DESIGN section 9. */
static const double tolerance = 1e-5;

static void ok(lt_status st, const char *what)
{
    if (st != LT_OK) {
        lt_error_print(stderr, 1);
        fail_msg("%s: %s", what, lt_error_text());
    }
}
#define OK(expr) ok((expr), #expr)

typedef struct golden {
    lt_checkpoint *file;
    char path[512];
} golden;

static inline void golden_open(golden *g, const char *name)
{
    (void)snprintf(g->path, sizeof g->path, DATA "golden/%s.safetensors", name);
    OK(lt_checkpoint_open(g->path, LT_PART_ANY, &g->file));
}

/* A whole tensor, the caller frees; its sizes to dim. */
static inline void *golden_read(golden *g, const char *name, lt_dtype want, int64_t dim[5])
{
    lt_tensor_info info;
    if (!lt_checkpoint_find(g->file, name, &info))
        fail_msg("%s: no tensor %s", g->path, name);
    lt_dims dims = {.ndim = info.ndim};
    size_t count = 1;
    for (int i = 0; i < info.ndim; i++) {
        dims.dim[i] = dim[i] = info.dim[i];
        count *= (size_t)info.dim[i];
    }
    void *data = calloc(count + 1, lt_dtype_bytes(want));
    assert_non_null(data);
    OK(lt_checkpoint_read(g->file, name, dims, lt_slice_whole(dims), want, data));
    return data;
}

static inline int golden_has(golden *g, const char *name)
{
    lt_tensor_info info;
    return lt_checkpoint_find(g->file, name, &info);
}

/* Largest |a - b| over the largest |b|; a NaN on either side fails any comparison. */
static inline double distance(const float *a, const float *b, int64_t count)
{
    double worst = 0.0, largest = 0.0;
    for (int64_t i = 0; i < count; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= worst))
            worst = d;
        largest = fmax(largest, fabs((double)b[i]));
    }
    return worst / largest;
}

/* Every run is judged the same way, and a failure names backend and golden. */
static inline void judge(const char *backend, const char *name, double worst)
{
    if (!(worst <= tolerance))
        fail_msg("%s on %s: worst %.3g of the largest value, allowed %.3g", name, backend, worst,
                 tolerance);
    print_message("    %-24s %-4s %.2e\n", name, backend, worst);
}

static inline void engine_open(lt_engine *engine, const lt_backend *backend)
{
    OK(lt_engine_open(backend, 2, NULL, (size_t)256 << 20, (size_t)256 << 20, engine));
}

#endif
