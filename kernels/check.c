/* check.c - checks of arguments, see check.h. */
#include "kernels/check.h"

#include <assert.h>

#include "base/pulse.h"
#include "base/span.h"

enum { TEXT_BYTES = 160 };

/* "F32 or BF16" */
static const char *set_text(unsigned dtypes, char *buffer, size_t bytes)
{
    size_t used = 0;
    buffer[0] = 0;
    for (int d = 0; d < LT_DTYPE_COUNT; d++) {
        if (!(dtypes & LT_SET(d)))
            continue;
        const int n = snprintf(buffer + used, bytes - used, "%s%s", used > 0 ? " or " : "",
                               lt_dtype_name((lt_dtype)d));
        assert(n > 0 && (size_t)n < bytes - used);
        used += (size_t)n;
    }
    return buffer;
}

static lt_status check_description(const char *op, const char *argument, const lt_tensor *x)
{
    if (x == NULL)
        LT_FAIL(LT_ESHAPE, "%s: %s: want a tensor, found none", op, argument);
    if (x->ndim < 1 || x->ndim > LT_DIMS_MAX)
        LT_FAIL(LT_ESHAPE, "%s: %s: want 1 to %d dims, found %d", op, argument, LT_DIMS_MAX,
                x->ndim);
    if ((int)x->dtype < 0 || x->dtype >= LT_DTYPE_COUNT)
        LT_FAIL(LT_ESHAPE, "%s: %s: want a known dtype, found number %d", op, argument,
                (int)x->dtype);
    for (int i = 0; i < x->ndim; i++)
        if (x->dim[i] < 0)
            LT_FAIL(LT_ESHAPE, "%s: %s: dim %d: want 0 or more, found %lld", op, argument, i,
                    (long long)x->dim[i]);
    if (x->row_stride < lt_row_width(x) && lt_row_count(x) > 1)
        LT_FAIL(LT_ESHAPE, "%s: %s: want rows %lld or more elements apart, found %lld", op,
                argument, (long long)lt_row_width(x), (long long)x->row_stride);
    if (x->data == NULL && lt_elements(x) > 0)
        LT_FAIL(LT_ESHAPE, "%s: %s: want an address, found none", op, argument);
    return LT_OK;
}

lt_status lt_check_rows(const char *op, const char *argument, const lt_tensor *x, unsigned dtypes,
                        int64_t rows, int64_t width)
{
    char shape[TEXT_BYTES], set[TEXT_BYTES], rows_text[32] = "any";
    LT_TRY(check_description(op, argument, x));
    if ((dtypes & LT_SET(x->dtype)) && (rows == LT_ANY || lt_row_count(x) == rows) &&
        (width == LT_ANY || lt_row_width(x) == width))
        return LT_OK;
    if (rows != LT_ANY)
        snprintf(rows_text, sizeof rows_text, "%lld", (long long)rows);
    if (width == LT_ANY)
        LT_FAIL(LT_ESHAPE, "%s: %s: want %s rows of %s, found %s", op, argument, rows_text,
                set_text(dtypes, set, sizeof set), lt_shape_text(x, shape, sizeof shape));
    LT_FAIL(LT_ESHAPE, "%s: %s: want %s rows of %lld %s, found %s", op, argument, rows_text,
            (long long)width, set_text(dtypes, set, sizeof set),
            lt_shape_text(x, shape, sizeof shape));
}

static lt_status check_gaps(const char *op, const char *argument, const lt_tensor *x)
{
    if (lt_row_count(x) > 1 && x->row_stride != lt_row_width(x))
        LT_FAIL(LT_ESHAPE, "%s: %s: want dense rows of %lld, found rows %lld apart", op, argument,
                (long long)lt_row_width(x), (long long)x->row_stride);
    return LT_OK;
}

lt_status lt_check_dense(const char *op, const char *argument, const lt_tensor *x, unsigned dtypes,
                         int64_t rows, int64_t width)
{
    LT_TRY(lt_check_rows(op, argument, x, dtypes, rows, width));
    return check_gaps(op, argument, x);
}

lt_status lt_check_vector(const char *op, const char *argument, const lt_tensor *x, unsigned dtypes,
                          int64_t count)
{
    char shape[TEXT_BYTES], set[TEXT_BYTES];
    LT_TRY(check_description(op, argument, x));
    if (!(dtypes & LT_SET(x->dtype)) || lt_elements(x) != count)
        LT_FAIL(LT_ESHAPE, "%s: %s: want %lld of %s, found %s", op, argument, (long long)count,
                set_text(dtypes, set, sizeof set), lt_shape_text(x, shape, sizeof shape));
    return check_gaps(op, argument, x);
}

lt_status lt_check_dims(const char *op, const char *argument, const lt_tensor *x, unsigned dtypes,
                        lt_dims dims)
{
    char wanted[TEXT_BYTES], shape[TEXT_BYTES], set[TEXT_BYTES];
    LT_TRY(check_description(op, argument, x));
    int same = (dtypes & LT_SET(x->dtype)) && x->ndim == dims.ndim;
    for (int i = 0; same && i < dims.ndim; i++)
        same = x->dim[i] == dims.dim[i];
    if (same)
        return check_gaps(op, argument, x);
    size_t used = 0;
    for (int i = 0; i < dims.ndim; i++) {
        const int n = snprintf(wanted + used, sizeof wanted - used, "%s%lld", i > 0 ? ", " : "",
                               (long long)dims.dim[i]);
        assert(n > 0 && (size_t)n < sizeof wanted - used);
        used += (size_t)n;
    }
    LT_FAIL(LT_ESHAPE, "%s: %s: want [%s] %s, found %s", op, argument, wanted,
            set_text(dtypes, set, sizeof set), lt_shape_text(x, shape, sizeof shape));
}

lt_status lt_check_cast(const char *op, const lt_tensor *from, const lt_tensor *to)
{
    const unsigned floats = LT_SET_FLOAT;
    if (from->dtype == to->dtype)
        return LT_OK;
    if (!(floats & LT_SET(from->dtype)) || !(floats & LT_SET(to->dtype)))
        LT_FAIL(LT_ESHAPE, "%s: y: want x's dtype or a cast among F32, BF16, F16, found %s to %s",
                op, lt_dtype_name(from->dtype), lt_dtype_name(to->dtype));
    return LT_OK;
}

lt_status lt_check_submit(lt_queue *q, const lt_op *op)
{
    assert(q != NULL && q->backend != NULL);
    if (lt_elements(&op->out[0]) == 0)
        return LT_OK;
    const double began = lt_span_begin();
    const lt_status st = q->backend->submit(q, op);
    if (q->kind == LT_QUEUE_COMPUTE)
        lt_span_end(LT_SPAN_COMPUTE, lt_op_name(op->kind), NULL, began, 0);
    if (q->kind == LT_QUEUE_COMPUTE && lt_pulse_is_heard())
        lt_pulse(lt_op_flops(op));
    return st;
}
