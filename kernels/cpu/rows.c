/* rows.c - the row kernels' split over threads.
 *
 * Rows are cut into as many equal ranges as there are threads; small tensors stay on the caller's
 * thread. Element-by-element ops on dense tensors are seen as rows of FLAT elements first, so that
 * a picture with rows of 7 and a vector of a million both run at full width. */
#include <assert.h>

#include "kernels/cpu/cpu.h"

enum { FLAT = 4096 };

static int is_flat_op(lt_op_kind kind)
{
    return kind == LT_OP_COPY || kind == LT_OP_FILL || kind == LT_OP_AXPBY || kind == LT_OP_MUL ||
           kind == LT_OP_ACTIVATION || kind == LT_OP_CLAMP;
}

/* Elementary steps of one element, roughly: exponentials and sines cost more than moving. */
static double cost_of(lt_op_kind kind)
{
    switch ((int)kind) {
    case LT_OP_SWIGLU:
    case LT_OP_ACTIVATION:
    case LT_OP_SNAKE:
        return 1.0;
    default:
        return 0.25;
    }
}

static void run(const lt_op *op, int64_t rows, int64_t width)
{
    void (*kernel)(const lt_op *, int64_t, int64_t) = lt_cpu_isa_now()->rows[op->kind];
    const int team = lt_cpu_team(rows, cost_of(op->kind) * (double)width);
    assert(kernel != NULL);
    if (team == 1) {
        kernel(op, 0, rows);
        return;
    }
#pragma omp parallel for schedule(static, 1) num_threads(team)
    for (int t = 0; t < team; t++) {
        const int64_t first = rows * t / team;
        kernel(op, first, rows * (t + 1) / team - first);
    }
}

/* The same op over dense elements [first, first + rows * width) of x and y. */
static void run_flat(const lt_op *op, int64_t first, int64_t rows, int64_t width)
{
    lt_op flat = *op;
    lt_tensor *both[2] = {&flat.in[0], &flat.out[0]};
    for (int i = 0; i < 2; i++) {
        if (both[i]->ndim == 0)
            continue;
        both[i]->data = (char *)both[i]->data + (size_t)first * lt_dtype_bytes(both[i]->dtype);
        both[i]->ndim = 2;
        both[i]->dim[0] = rows;
        both[i]->dim[1] = both[i]->row_stride = width;
    }
    if (rows * width > 0)
        run(&flat, rows, width);
}

lt_status lt_cpu_rows(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    if (is_flat_op(op->kind) && lt_is_dense(y) && (x->ndim == 0 || lt_is_dense(x))) {
        const int64_t count = lt_elements(y), whole = count / FLAT;
        run_flat(op, 0, whole, FLAT);
        run_flat(op, whole * FLAT, 1, count - whole * FLAT);
        return LT_OK;
    }
    const int64_t rows = op->kind == LT_OP_SCATTER_ROWS || op->kind == LT_OP_GATHER_ROWS
                             ? lt_elements(&op->in[1])
                             : lt_row_count(y);
    const int64_t width = lt_row_width(y);
    if (rows > 0 && width > 0)
        run(op, rows, width);
    return LT_OK;
}
