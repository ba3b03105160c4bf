/* tensor.c - shapes, views and their checks.
 * Addresses are moved as integers: a device's address is not ours to follow, and on the backend
 * `dry` it may be NULL. */
#include "base/tensor.h"

#include <assert.h>
#include <stdio.h>

static const int64_t bytes_max = (int64_t)1 << 62;

static void *moved(void *data, int64_t elements, lt_dtype dtype)
{
    const uintptr_t bytes = (uintptr_t)elements * lt_dtype_bytes(dtype);
    return (void *)((uintptr_t)data + bytes);
}

static void dims_text(const int64_t *dim, int ndim, char *buffer, size_t bytes)
{
    size_t n = 0;
    buffer[0] = '\0';
    for (int i = 0; i < ndim && n < bytes; i++) {
        const int more =
            snprintf(buffer + n, bytes - n, "%s%lld", i == 0 ? "[" : ", ", (long long)dim[i]);
        n += more > 0 ? (size_t)more : 0;
    }
    if (n < bytes)
        (void)snprintf(buffer + n, bytes - n, "]");
}

lt_status lt_tensor_new(lt_arena *arena, const char *name, lt_dtype dtype, lt_tensor *out,
                        lt_dims dims)
{
    assert(dims.ndim >= 1 && dims.ndim <= LT_DIMS_MAX);
    char text[128];
    int64_t bytes = (int64_t)lt_dtype_bytes(dtype);
    int empty = 0;
    for (int i = 0; i < dims.ndim; i++) {
        dims_text(dims.dim, dims.ndim, text, sizeof text);
        if (dims.dim[i] < 0)
            LT_FAIL(LT_ESHAPE, "%s: %s has a negative dim", name, text);
        if (dims.dim[i] == 0)
            empty = 1;
        else if (bytes > bytes_max / dims.dim[i])
            LT_FAIL(LT_ESHAPE, "%s: %s %s is more than 2^62 bytes", name, text,
                    lt_dtype_name(dtype));
        else
            bytes *= dims.dim[i];
    }
    void *data = NULL;
    LT_TRY(lt_arena_alloc(arena, name, empty ? 0 : (size_t)bytes, &data));
    *out = lt_tensor_wrap(data, name, dtype, dims);
    return LT_OK;
}

lt_tensor lt_tensor_wrap(void *data, const char *name, lt_dtype dtype, lt_dims dims)
{
    assert(dims.ndim >= 1 && dims.ndim <= LT_DIMS_MAX);
    lt_tensor x = {.data = data, .dtype = dtype, .ndim = dims.ndim, .name = name};
    for (int i = 0; i < dims.ndim; i++) {
        assert(dims.dim[i] >= 0);
        x.dim[i] = dims.dim[i];
    }
    x.row_stride = x.dim[x.ndim - 1];
    return x;
}

int64_t lt_elements(const lt_tensor *x)
{
    int64_t n = 1;
    for (int i = 0; i < x->ndim; i++)
        n *= x->dim[i];
    return n;
}

int64_t lt_row_count(const lt_tensor *x)
{
    int64_t n = 1;
    for (int i = 0; i + 1 < x->ndim; i++)
        n *= x->dim[i];
    return n;
}

int64_t lt_row_width(const lt_tensor *x)
{
    assert(x->ndim >= 1 && x->ndim <= LT_DIMS_MAX);
    return x->dim[x->ndim - 1];
}

int lt_is_dense(const lt_tensor *x)
{
    return x->row_stride == lt_row_width(x) || lt_row_count(x) <= 1;
}

size_t lt_tensor_bytes(const lt_tensor *x)
{
    return (size_t)lt_elements(x) * lt_dtype_bytes(x->dtype);
}

lt_tensor lt_view_outer(const lt_tensor *x, lt_range range)
{
    assert(range.first >= 0 && range.count >= 0 && range.first <= x->dim[0] - range.count);
    lt_tensor y = *x;
    int64_t step = 1; /* elements from one index of dim 0 to the next */
    if (x->ndim > 1) {
        step = x->row_stride;
        for (int i = 1; i + 1 < x->ndim; i++)
            step *= x->dim[i];
    }
    y.data = moved(x->data, range.first * step, x->dtype);
    y.dim[0] = range.count;
    return y;
}

lt_tensor lt_view_columns(const lt_tensor *x, lt_range range)
{
    assert(range.first >= 0 && range.count >= 0 && range.first <= lt_row_width(x) - range.count);
    lt_tensor y = *x;
    y.data = moved(x->data, range.first, x->dtype);
    y.dim[y.ndim - 1] = range.count;
    return y;
}

lt_tensor lt_view_as(const lt_tensor *x, lt_dims dims)
{
    assert(dims.ndim >= 1 && dims.ndim <= LT_DIMS_MAX);
    lt_tensor y = lt_tensor_wrap(x->data, x->name, x->dtype, dims);
    assert(lt_elements(&y) == lt_elements(x));
    if (!lt_is_dense(x)) {
        assert(lt_row_width(&y) == lt_row_width(x) && lt_row_count(&y) == lt_row_count(x));
        y.row_stride = x->row_stride;
    }
    return y;
}

const char *lt_shape_text(const lt_tensor *x, char *buffer, size_t bytes)
{
    assert(bytes > 0);
    char text[128];
    dims_text(x->dim, x->ndim, text, sizeof text);
    (void)snprintf(buffer, bytes, "%s %s", text, lt_dtype_name(x->dtype));
    return buffer;
}

lt_status lt_tensor_want(const lt_tensor *x, lt_dims dims, const char *argument,
                         const char *letters)
{
    int same = x->ndim == dims.ndim;
    for (int i = 0; same && i < dims.ndim; i++)
        same = x->dim[i] == dims.dim[i];
    if (same)
        return LT_OK;
    char want[128], found[160];
    dims_text(dims.dim, dims.ndim, want, sizeof want);
    LT_FAIL(LT_ESHAPE, "%s (%s): want %s = %s, found %s", argument, x->name ? x->name : "unnamed",
            letters, want, lt_shape_text(x, found, sizeof found));
}
