/* rows.cu - operations whose elements, or whole rows, stand alone: copies, sums, gates, gathers.
 *
 * Each is a small struct with its views and a function `at`, which does eight neighbouring elements
 * of a row; prims.cuh's `each` calls it for all of them. All are bound by memory: a chunk is 16
 * bytes of bf16 or twice 16 of f32 in one thread, neighbours beside each other. The dtype is asked
 * at run time, by a branch that all threads take alike: so one kernel serves every pairing.
 * Contracts and rounding places: kernels/kernels.h. */
#include "kernels/cuda/prims.cuh"

/* ---- copies ---- */

/* Bits of rows, one unit of 1 to 16 bytes a thread; row_at (or NULL) gives x's row, or y's if
 * scatters. Its columns are counted in chunks: `each` hands out one unit a chunk. */
struct copy_bits {
    const char *x;
    char *y;
    int64_t x_stride, y_stride; /* units */
    int32_t unit;
    int32_t scatters;
    const int32_t *row_at;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        (void)left;
        const int64_t other = row_at != NULL ? (int64_t)row_at[row] : row;
        const int64_t from = (scatters ? row : other) * x_stride + column / LT_CHUNK;
        const int64_t to = (scatters ? other : row) * y_stride + column / LT_CHUNK;
        if (unit == 16)
            ((quad *)y)[to] = ((const quad *)x)[from];
        else if (unit == 8)
            ((uint64_t *)y)[to] = ((const uint64_t *)x)[from];
        else if (unit == 4)
            ((uint32_t *)y)[to] = ((const uint32_t *)x)[from];
        else if (unit == 2)
            ((uint16_t *)y)[to] = ((const uint16_t *)x)[from];
        else
            y[to] = x[from];
    }
};

struct copy_cast {
    view x, y;
    int32_t scatters;
    const int32_t *row_at;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK];
        const int64_t other = row_at != NULL ? (int64_t)row_at[row] : row;
        load(x, scatters ? row : other, column, left, v);
        store(y, scatters ? other : row, column, left, v);
    }
};

/* The largest unit that divides both addresses and all that lies between rows. */
static int32_t unit_of(const lt_tensor *x, const lt_tensor *y)
{
    const size_t size = lt_dtype_bytes(x->dtype);
    const size_t all = (uintptr_t)x->data | (uintptr_t)y->data | (size_t)x->row_stride * size |
                       (size_t)y->row_stride * size | (size_t)lt_row_width(x) * size;
    int32_t unit = 16;
    while (all % (size_t)unit != 0)
        unit /= 2;
    return unit;
}

static lt_status copy_rows(lt_cuda_queue *q, const char *what, const lt_tensor *x,
                           const lt_tensor *y, const int32_t *row_at, int scatters, int64_t rows)
{
    if (x->dtype != y->dtype) {
        const copy_cast op = {view_of(x), view_of(y), scatters, row_at};
        return launch_each(q, what, op, rows, lt_row_width(x));
    }
    const int64_t size = (int64_t)lt_dtype_bytes(x->dtype);
    const int32_t unit = unit_of(x, y);
    const copy_bits op = {(const char *)x->data,
                          (char *)y->data,
                          x->row_stride * size / unit,
                          y->row_stride * size / unit,
                          unit,
                          scatters,
                          row_at};
    return launch_each(q, what, op, rows, lt_row_width(x) * size / unit * LT_CHUNK);
}

lt_status lt_cuda_copy(lt_cuda_queue *q, const lt_op *op)
{
    return copy_rows(q, "copy", &op->in[0], &op->out[0], NULL, 0, lt_row_count(&op->out[0]));
}

lt_status lt_cuda_gather_rows(lt_cuda_queue *q, const lt_op *op)
{
    return copy_rows(q, "gather_rows", &op->in[0], &op->out[0], (const int32_t *)op->in[1].data, 0,
                     lt_elements(&op->in[1]));
}

lt_status lt_cuda_scatter_rows(lt_cuda_queue *q, const lt_op *op)
{
    return copy_rows(q, "scatter_rows", &op->in[0], &op->out[0], (const int32_t *)op->in[1].data, 1,
                     lt_elements(&op->in[1]));
}

struct fill_op {
    view y;
    float value;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK];
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            v[i] = value;
        store(y, row, column, left, v);
    }
};

lt_status lt_cuda_fill(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *y = &op->out[0];
    const fill_op f = {view_of(y), op->a};
    return launch_each(q, "fill", f, lt_row_count(y), lt_row_width(y));
}

/* ---- sums and products ---- */

struct axpby_op {
    view x, y;
    float a, b;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK], w[LT_CHUNK];
        load(x, row, column, left, v);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            v[i] = a * v[i];
        if (b != 0) { /* else y may be anything, NaN too */
            load(y, row, column, left, w);
            LT_UNROLL
            for (int i = 0; i < LT_CHUNK; i++)
                v[i] += b * w[i];
        }
        store(y, row, column, left, v);
    }
};

lt_status lt_cuda_axpby(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *y = &op->out[0];
    const axpby_op f = {view_of(&op->in[0]), view_of(y), op->a, op->b};
    return launch_each(q, "axpby", f, lt_row_count(y), lt_row_width(y));
}

struct mul_op {
    view x, y;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK], w[LT_CHUNK];
        load(x, row, column, left, v);
        load(y, row, column, left, w);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            v[i] *= w[i];
        store(y, row, column, left, v);
    }
};

lt_status lt_cuda_mul(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *y = &op->out[0];
    const mul_op f = {view_of(&op->in[0]), view_of(y)};
    return launch_each(q, "mul", f, lt_row_count(y), lt_row_width(y));
}

struct scale_add_op {
    view x, scale, y;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK], s[LT_CHUNK], w[LT_CHUNK];
        load(x, row, column, left, v);
        load(scale, 0, column, left, s);
        load(y, row, column, left, w);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            w[i] += v[i] * s[i];
        store(y, row, column, left, w);
    }
};

lt_status lt_cuda_scale_add(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *y = &op->out[0];
    const scale_add_op f = {view_of(&op->in[0]), view_of(&op->in[1]), view_of(y)};
    return launch_each(q, "scale_add", f, lt_row_count(y), lt_row_width(y));
}

/* In rank order, as the contract says. */
struct sum_parts_op {
    view x, y;
    int64_t parts, rows;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float sum[LT_CHUNK], v[LT_CHUNK];
        load(x, row, column, left, sum);
        for (int64_t p = 1; p < parts; p++) {
            load(x, p * rows + row, column, left, v);
            LT_UNROLL
            for (int i = 0; i < LT_CHUNK; i++)
                sum[i] += v[i];
        }
        store(y, row, column, left, sum);
    }
};

lt_status lt_cuda_sum_parts(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *y = &op->out[0];
    const sum_parts_op f = {view_of(&op->in[0]), view_of(y), op->in[0].dim[0], lt_row_count(y)};
    return launch_each(q, "sum_parts", f, lt_row_count(y), lt_row_width(y));
}

/* ---- activations ---- */

struct activation_op {
    view x, y;
    int32_t f;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK];
        load(x, row, column, left, v);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            v[i] = activate(f, v[i]);
        store(y, row, column, left, v);
    }
};

lt_status lt_cuda_activation(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *y = &op->out[0];
    const activation_op f = {view_of(&op->in[0]), view_of(y), (int32_t)op->activation};
    return launch_each(q, "activation", f, lt_row_count(y), lt_row_width(y));
}

struct clamp_op {
    view x, y;
    float low, high;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK];
        load(x, row, column, left, v);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++) /* so written, NaN stays NaN */
            v[i] = v[i] < low ? low : v[i] > high ? high : v[i];
        store(y, row, column, left, v);
    }
};

lt_status lt_cuda_clamp(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *y = &op->out[0];
    const clamp_op f = {view_of(&op->in[0]), view_of(y), op->a, op->b};
    return launch_each(q, "clamp", f, lt_row_count(y), lt_row_width(y));
}

/* gate: the second half of x's columns, as a view of its own. */
struct swiglu_op {
    view x, gate, y;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK], g[LT_CHUNK];
        load(x, row, column, left, v);
        load(gate, row, column, left, g);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            v[i] *= round_to(y.dtype, silu(g[i]));
        store(y, row, column, left, v);
    }
};

lt_status lt_cuda_swiglu(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    const lt_range half = {lt_row_width(y), lt_row_width(y)};
    const lt_tensor gate = lt_view_columns(x, half);
    const swiglu_op f = {view_of(x), view_of(&gate), view_of(y)};
    return launch_each(q, "swiglu", f, lt_row_count(y), lt_row_width(y));
}

struct gate_add_op {
    view x, gate, y; /* gate: the columns of the table */
    const int32_t *row_at;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK], g[LT_CHUNK], w[LT_CHUNK];
        load(x, row, column, left, v);
        load(gate, row_at[row], column, left, g);
        load(y, row, column, left, w);
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            w[i] += round_to(y.dtype, g[i] * v[i]);
        store(y, row, column, left, w);
    }
};

lt_status lt_cuda_gate_add(lt_cuda_queue *q, const lt_op *op)
{
    const lt_tensor *y = &op->out[0];
    const lt_range columns = {op->column_a, lt_row_width(y)};
    const lt_tensor gate = lt_view_columns(&op->in[1], columns);
    const gate_add_op f = {view_of(&op->in[0]), view_of(&gate), view_of(y),
                           (const int32_t *)op->in[2].data};
    return launch_each(q, "gate_add", f, lt_row_count(y), lt_row_width(y));
}

/* ---- behind a product ---- */

struct finish_op {
    view sums, y;
    const float *bias;
    int32_t f, has_sums;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK];
        if (has_sums) {
            load(sums, row, column, left, v);
        } else {
            LT_UNROLL
            for (int i = 0; i < LT_CHUNK; i++)
                v[i] = 0;
        }
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++) {
            if (bias != NULL && i < left)
                v[i] += bias[column + i];
            v[i] = activate(f, v[i]);
        }
        store(y, row, column, left, v);
    }
};

lt_status lt_cuda_finish_linear(lt_cuda_queue *q, const lt_tensor *sums, const float *bias,
                                lt_activation activation, const lt_tensor *y)
{
    const finish_op f = {view_of(sums != NULL ? sums : y), view_of(y), bias, (int32_t)activation,
                         sums != NULL};
    return launch_each(q, "linear", f, lt_row_count(y), lt_row_width(y));
}
