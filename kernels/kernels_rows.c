/* kernels_rows.c - the checked ops of row operations.
 * See kernels.c for what a checked op does. */
#include <assert.h>

#include "kernels/check.h"
#include "kernels/kernels.h"

/* x of some act dtype, y of one in `y_dtypes` (0: x's), same rows and width. */
static lt_status check_pair(const char *op, const lt_tensor *x, unsigned y_dtypes,
                            const lt_tensor *y)
{
    LT_TRY(lt_check_rows(op, "x", x, LT_SET_ACT, LT_ANY, LT_ANY));
    return lt_check_rows(op, "y", y, y_dtypes != 0 ? y_dtypes : LT_SET(x->dtype), lt_row_count(x),
                         lt_row_width(x));
}

/* Columns [first, first + width) lie inside the table. */
static lt_status check_columns(const char *op, const char *argument, const lt_tensor *table,
                               int64_t first, int64_t width)
{
    if (first < 0 || first > lt_row_width(table) - width)
        LT_FAIL(LT_ESHAPE, "%s: %s: want %lld columns inside a table of %lld, found first %lld", op,
                argument, (long long)width, (long long)lt_row_width(table), (long long)first);
    return LT_OK;
}

lt_status lt_copy(lt_queue *q, const lt_tensor *x, lt_tensor *y)
{
    LT_TRY(lt_check_rows("copy", "x", x, ~0u, LT_ANY, LT_ANY));
    LT_TRY(lt_check_rows("copy", "y", y, ~0u, lt_row_count(x), lt_row_width(x)));
    LT_TRY(lt_check_cast("copy", x, y));
    const lt_op op = {.kind = LT_OP_COPY, .in = {*x}, .out = {*y}};
    return lt_check_submit(q, &op);
}

lt_status lt_fill(lt_queue *q, lt_tensor *y, float value)
{
    LT_TRY(lt_check_rows("fill", "y", y, LT_SET_FLOAT, LT_ANY, LT_ANY));
    const lt_op op = {.kind = LT_OP_FILL, .out = {*y}, .a = value};
    return lt_check_submit(q, &op);
}

lt_status lt_axpby(lt_queue *q, float a, const lt_tensor *x, float b, lt_tensor *y)
{
    LT_TRY(check_pair("axpby", x, LT_SET_ACT, y));
    const lt_op op = {.kind = LT_OP_AXPBY, .in = {*x}, .out = {*y}, .a = a, .b = b};
    return lt_check_submit(q, &op);
}

lt_status lt_mul(lt_queue *q, const lt_tensor *x, lt_tensor *y)
{
    LT_TRY(check_pair("mul", x, 0, y));
    const lt_op op = {.kind = LT_OP_MUL, .in = {*x}, .out = {*y}};
    return lt_check_submit(q, &op);
}

lt_status lt_scale_add(lt_queue *q, const lt_tensor *x, const lt_tensor *scale, lt_tensor *y)
{
    LT_TRY(check_pair("scale_add", x, LT_SET_ACT, y));
    LT_TRY(lt_check_vector("scale_add", "scale", scale, LT_SET_F32, lt_row_width(x)));
    const lt_op op = {.kind = LT_OP_SCALE_ADD, .in = {*x, *scale}, .out = {*y}};
    return lt_check_submit(q, &op);
}

lt_status lt_activate(lt_queue *q, const lt_tensor *x, lt_activation f, lt_tensor *y)
{
    LT_TRY(check_pair("activate", x, LT_SET_ACT, y));
    const lt_op op = {.kind = LT_OP_ACTIVATION, .in = {*x}, .out = {*y}, .activation = f};
    return lt_check_submit(q, &op);
}

lt_status lt_clamp(lt_queue *q, const lt_tensor *x, float lo, float hi, lt_tensor *y)
{
    LT_TRY(check_pair("clamp", x, 0, y));
    if (!(lo <= hi))
        LT_FAIL(LT_ESHAPE, "clamp: lo, hi: want lo <= hi, found %g and %g", (double)lo, (double)hi);
    const lt_op op = {.kind = LT_OP_CLAMP, .in = {*x}, .out = {*y}, .a = lo, .b = hi};
    return lt_check_submit(q, &op);
}

lt_status lt_rms_norm(lt_queue *q, const lt_tensor *x, const lt_tensor *w, float eps,
                      lt_rounding rounding, lt_tensor *y)
{
    LT_TRY(check_pair("rms_norm", x, LT_SET_ACT, y));
    if (w != NULL)
        LT_TRY(lt_check_vector("rms_norm", "w", w, LT_SET_ACT, lt_row_width(x)));
    lt_op op = {.kind = LT_OP_RMS_NORM, .in = {*x}, .out = {*y}, .eps = eps, .rounding = rounding};
    if (w != NULL)
        op.in[1] = *w;
    return lt_check_submit(q, &op);
}

lt_status lt_layer_norm(lt_queue *q, const lt_tensor *x, const lt_tensor *w, const lt_tensor *b,
                        float eps, lt_tensor *y)
{
    LT_TRY(check_pair("layer_norm", x, 0, y));
    LT_TRY(lt_check_vector("layer_norm", "w", w, LT_SET_F32, lt_row_width(x)));
    LT_TRY(lt_check_vector("layer_norm", "b", b, LT_SET_F32, lt_row_width(x)));
    const lt_op op = {.kind = LT_OP_LAYER_NORM, .in = {*x, *w, *b}, .out = {*y}, .eps = eps};
    return lt_check_submit(q, &op);
}

lt_status lt_group_norm(lt_queue *q, const lt_tensor *x, const lt_tensor *w, const lt_tensor *b,
                        int64_t groups, float eps, lt_activation activation, lt_tensor *y)
{
    const char *name = "group_norm";
    LT_TRY(lt_check_dense(name, "x", x, LT_SET_F32, LT_ANY, LT_ANY));
    if (x->ndim != 3 || groups < 1 || x->dim[2] % groups != 0)
        LT_FAIL(LT_ESHAPE,
                "%s: x: want [B, M, C] with C a multiple of %lld groups, found %d dims of %lld "
                "channels",
                name, (long long)groups, x->ndim, (long long)lt_row_width(x));
    LT_TRY(lt_check_dims(name, "y", y, LT_SET_F32, LT_DIMS(x->dim[0], x->dim[1], x->dim[2])));
    LT_TRY(lt_check_vector(name, "w", w, LT_SET_F32, x->dim[2]));
    LT_TRY(lt_check_vector(name, "b", b, LT_SET_F32, x->dim[2]));
    const lt_op op = {.kind = LT_OP_GROUP_NORM,
                      .in = {*x, *w, *b},
                      .out = {*y},
                      .groups = groups,
                      .eps = eps,
                      .activation = activation};
    return lt_check_submit(q, &op);
}

lt_status lt_norm_modulate(lt_queue *q, const lt_tensor *x, const lt_tensor *w, float eps,
                           const lt_tensor *table, const lt_tensor *index, int64_t shift_column,
                           int64_t scale_column, lt_tensor *y)
{
    const char *name = "norm_modulate";
    LT_TRY(check_pair(name, x, 0, y));
    LT_TRY(lt_check_vector(name, "w", w, LT_SET_ACT, lt_row_width(x)));
    LT_TRY(lt_check_rows(name, "table", table, LT_SET(x->dtype), LT_ANY, LT_ANY));
    LT_TRY(lt_check_vector(name, "index", index, LT_SET_I32, lt_row_count(x)));
    LT_TRY(check_columns(name, "shift_column", table, shift_column, lt_row_width(x)));
    LT_TRY(check_columns(name, "scale_column", table, scale_column, lt_row_width(x)));
    const lt_op op = {.kind = LT_OP_NORM_MODULATE,
                      .in = {*x, *w, *table, *index},
                      .out = {*y},
                      .eps = eps,
                      .column_a = shift_column,
                      .column_b = scale_column};
    return lt_check_submit(q, &op);
}

lt_status lt_gate_add(lt_queue *q, const lt_tensor *x, const lt_tensor *table,
                      const lt_tensor *index, int64_t gate_column, lt_tensor *y)
{
    const char *name = "gate_add";
    LT_TRY(check_pair(name, x, 0, y));
    LT_TRY(lt_check_rows(name, "table", table, LT_SET(x->dtype), LT_ANY, LT_ANY));
    LT_TRY(lt_check_vector(name, "index", index, LT_SET_I32, lt_row_count(x)));
    LT_TRY(check_columns(name, "gate_column", table, gate_column, lt_row_width(x)));
    const lt_op op = {
        .kind = LT_OP_GATE_ADD, .in = {*x, *table, *index}, .out = {*y}, .column_a = gate_column};
    return lt_check_submit(q, &op);
}

lt_status lt_swiglu(lt_queue *q, const lt_tensor *x, lt_tensor *y)
{
    LT_TRY(lt_check_rows("swiglu", "x", x, LT_SET_ACT, LT_ANY, LT_ANY));
    if (lt_row_width(x) % 2 != 0)
        LT_FAIL(LT_ESHAPE, "swiglu: x: want an even width, found %lld", (long long)lt_row_width(x));
    LT_TRY(lt_check_rows("swiglu", "y", y, LT_SET(x->dtype), lt_row_count(x), lt_row_width(x) / 2));
    const lt_op op = {.kind = LT_OP_SWIGLU, .in = {*x}, .out = {*y}};
    return lt_check_submit(q, &op);
}

lt_status lt_head_norm_rope(lt_queue *q, lt_tensor *x, int64_t heads, const lt_tensor *w, float eps,
                            lt_rounding rounding, const lt_tensor *cos, const lt_tensor *sin)
{
    const char *name = "head_norm_rope";
    LT_TRY(lt_check_rows(name, "x", x, LT_SET_ACT, LT_ANY, LT_ANY));
    const int64_t width = lt_row_width(x);
    if (heads < 0 || (heads == 0 ? width != 0 : width % heads != 0))
        LT_FAIL(LT_ESHAPE, "%s: x: want a width of whole heads, found %lld for %lld heads", name,
                (long long)width, (long long)heads);
    if (heads == 0)
        return LT_OK; /* more ranks than heads: this one holds none */
    const int64_t head = width / heads;
    lt_op op = {.kind = LT_OP_HEAD_NORM_ROPE,
                .out = {*x},
                .heads = heads,
                .eps = eps,
                .rounding = rounding};
    if (w != NULL && eps >= 0) {
        LT_TRY(lt_check_vector(name, "w", w, LT_SET_ACT, head));
        op.in[0] = *w;
    }
    if (cos != NULL) {
        LT_TRY(lt_check_rows(name, "cos", cos, LT_SET(x->dtype), lt_row_count(x), LT_ANY));
        LT_TRY(
            lt_check_rows(name, "sin", sin, LT_SET(x->dtype), lt_row_count(x), lt_row_width(cos)));
        if (lt_row_width(cos) > head / 2)
            LT_FAIL(LT_ESHAPE, "%s: cos: want at most half a head of %lld, found %lld", name,
                    (long long)head, (long long)lt_row_width(cos));
        op.in[1] = *cos;
        op.in[2] = *sin;
    }
    return lt_check_submit(q, &op);
}

lt_status lt_gather_rows(lt_queue *q, const lt_tensor *x, const lt_tensor *index, lt_tensor *y)
{
    LT_TRY(lt_check_rows("gather_rows", "x", x, ~0u, LT_ANY, LT_ANY));
    LT_TRY(lt_check_rows("gather_rows", "y", y, ~0u, LT_ANY, lt_row_width(x)));
    LT_TRY(lt_check_vector("gather_rows", "index", index, LT_SET_I32, lt_row_count(y)));
    LT_TRY(lt_check_cast("gather_rows", x, y));
    const lt_op op = {.kind = LT_OP_GATHER_ROWS, .in = {*x, *index}, .out = {*y}};
    return lt_check_submit(q, &op);
}

lt_status lt_scatter_rows(lt_queue *q, const lt_tensor *x, const lt_tensor *index, lt_tensor *y)
{
    LT_TRY(lt_check_rows("scatter_rows", "x", x, ~0u, LT_ANY, LT_ANY));
    LT_TRY(lt_check_rows("scatter_rows", "y", y, ~0u, LT_ANY, lt_row_width(x)));
    LT_TRY(lt_check_vector("scatter_rows", "index", index, LT_SET_I32, lt_row_count(x)));
    LT_TRY(lt_check_cast("scatter_rows", x, y));
    if (lt_elements(x) == 0)
        return LT_OK;
    const lt_op op = {.kind = LT_OP_SCATTER_ROWS, .in = {*x, *index}, .out = {*y}};
    return lt_check_submit(q, &op);
}

lt_status lt_sum_parts(lt_queue *q, const lt_tensor *x, lt_tensor *y)
{
    LT_TRY(lt_check_dense("sum_parts", "x", x, LT_SET_F32, LT_ANY, LT_ANY));
    if (x->ndim < 2 || x->dim[0] < 1)
        LT_FAIL(LT_ESHAPE, "sum_parts: x: want [P, S, E] with 1 or more parts, found %d dims",
                x->ndim);
    LT_TRY(lt_check_rows("sum_parts", "y", y, LT_SET_ACT, lt_row_count(x) / x->dim[0],
                         lt_row_width(x)));
    const lt_op op = {.kind = LT_OP_SUM_PARTS, .in = {*x}, .out = {*y}};
    return lt_check_submit(q, &op);
}
