/* conv.c - convolutions over [B, T, H, W, C] as products of gemm.c.
 *
 * Design. With channels last, an output cell is a row: its inputs under all taps, side by side,
 * times weights [taps * in, out]. Nothing is laid out in memory beforehand: each task gathers its
 * own block of LT_CPU_ROWS x LT_CPU_DEPTH inputs and multiplies it. So strides, dilation and
 * padding only change where the gather reads, and the product is the linear layers', with the same
 * fixed order of sums.
 *
 * A "part" is a plain convolution from input cells m * in_step + tap to output cells
 * m * out_step + out_first. A plain layer is one part. A transposed one of stride s is a part for
 * each remainder of the output's index by s along each axis: those outputs meet every s-th tap
 * only.
 *
 * Taps that follow each other along W in the input, in ascending order, form a "run": their
 * channels are one stretch of memory, copied at once, and what leaves the line is zero. */
#include <assert.h>
#include <omp.h>
#include <stdlib.h>

#include "kernels/cpu/cpu.h"

typedef struct conv_run {
    int64_t at[3]; /* input cell of its first tap, relative to m * in_step */
    int64_t first; /* depth of its first channel */
    int64_t depth; /* taps * in */
} conv_run;

typedef struct conv_part {
    lt_cpu_weights weights;
    int64_t in_step[3], out_step[3], out_first[3];
    int64_t runs;
    conv_run *run;
} conv_part;

typedef struct cpu_conv {
    lt_conv base;
    int64_t parts;
    conv_part *part;
} cpu_conv;

/* What a part covers in one call. */
typedef struct conv_call {
    const conv_part *part;
    const lt_tensor *x, *y;
    int64_t count[3]; /* output cells along T, H, W */
} conv_call;

static size_t round_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

static int64_t parts_of(const lt_conv_spec *spec)
{
    return spec->transposed ? spec->stride[0] * spec->stride[1] * spec->stride[2] : 1;
}

/* The remainders of part number p along the axes. */
static void remainders(const lt_conv_spec *spec, int64_t p, int64_t out[3])
{
    out[2] = p % spec->stride[2];
    out[1] = p / spec->stride[2] % spec->stride[1];
    out[0] = p / spec->stride[2] / spec->stride[1];
}

/* Where tap k of an axis reads, relative to m * in_step; 0 if this remainder does not meet it. */
static int tap_meets(const lt_conv_spec *spec, int axis, int64_t remainder, int64_t k, int64_t *at)
{
    if (!spec->transposed) {
        *at = k * spec->dilation[axis] - spec->pad_before[axis];
        return 1;
    }
    const int64_t full = remainder + spec->pad_before[axis] - k * spec->dilation[axis];
    *at = full / spec->stride[axis];
    return full % spec->stride[axis] == 0;
}

/* Taps of part p along an axis, in ascending order of what they read; returns how many. */
static int64_t taps_along(const lt_conv_spec *spec, int axis, int64_t remainder, int64_t *tap,
                          int64_t *at)
{
    const int64_t n = spec->kernel[axis];
    int64_t found = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = spec->transposed ? n - 1 - i : i;
        if (tap_meets(spec, axis, remainder, k, &at[found]))
            tap[found++] = k;
    }
    return found;
}

static int64_t tap_count(const lt_conv_spec *spec, int axis, int64_t remainder)
{
    int64_t found = 0, at;
    for (int64_t k = 0; k < spec->kernel[axis]; k++)
        found += tap_meets(spec, axis, remainder, k, &at);
    return found;
}

static int64_t part_depth(const lt_conv_spec *spec, int64_t p)
{
    int64_t r[3] = {0, 0, 0};
    if (spec->transposed)
        remainders(spec, p, r);
    return tap_count(spec, 0, r[0]) * tap_count(spec, 1, r[1]) * tap_count(spec, 2, r[2]) *
           spec->in;
}

size_t lt_cpu_conv_bytes(const lt_conv_spec *spec)
{
    size_t bytes = round_up(spec->has_bias ? (size_t)spec->out * sizeof(float) : 0);
    for (int64_t p = 0; p < parts_of(spec); p++)
        bytes += round_up(lt_cpu_packed_bytes(part_depth(spec, p), spec->out, LT_F32));
    return bytes;
}

/* Gather the part's runs and its weights as [depth][out] into matrix. */
static void part_layout(const lt_conv_spec *spec, const int64_t r[3], int64_t *tap[3],
                        int64_t *at[3], conv_part *part, float *matrix)
{
    int64_t n[3], depth = 0;
    for (int axis = 0; axis < 3; axis++)
        n[axis] = taps_along(spec, axis, r[axis], tap[axis], at[axis]);
    const int64_t volume = spec->kernel[0] * spec->kernel[1] * spec->kernel[2];
    for (int64_t i = 0; i < n[0] * n[1] * n[2]; i++) {
        const int64_t t = i / n[2] / n[1], h = i / n[2] % n[1], w = i % n[2];
        const int64_t k = (tap[0][t] * spec->kernel[1] + tap[1][h]) * spec->kernel[2] + tap[2][w];
        if (w == 0 || at[2][w] != at[2][w - 1] + 1)
            part->run[part->runs++] = (conv_run){{at[0][t], at[1][h], at[2][w]}, depth, 0};
        part->run[part->runs - 1].depth += spec->in;
        for (int64_t c = 0; c < spec->in; c++, depth++)
            for (int64_t o = 0; o < spec->out; o++) {
                const int64_t pair = spec->transposed ? c * spec->out + o : o * spec->in + c;
                matrix[depth * spec->out + o] = spec->weights[pair * volume + k];
            }
    }
    part->weights.depth = depth;
    part->weights.columns = spec->out;
}

static lt_status part_prepare(const lt_conv_spec *spec, int64_t p, void *memory, conv_part *part)
{
    const int64_t depth = part_depth(spec, p), taps = spec->in > 0 ? depth / spec->in : 0;
    int64_t r[3] = {0, 0, 0}, *lists = NULL, *tap[3], *at[3];
    int64_t longest = spec->kernel[0] > spec->kernel[1] ? spec->kernel[0] : spec->kernel[1];
    longest = longest > spec->kernel[2] ? longest : spec->kernel[2];
    float *matrix = malloc((size_t)(depth * spec->out + 1) * sizeof *matrix);
    part->run = malloc((size_t)(taps + 1) * sizeof *part->run);
    lists = malloc((size_t)(6 * longest + 1) * sizeof *lists);
    if (matrix == NULL || part->run == NULL || lists == NULL) {
        free(matrix);
        free(lists);
        LT_FAIL(LT_ENOMEM, "conv: no memory to pack %lld weights", (long long)(depth * spec->out));
    }
    if (spec->transposed)
        remainders(spec, p, r);
    for (int axis = 0; axis < 3; axis++) {
        tap[axis] = lists + 2 * axis * longest;
        at[axis] = tap[axis] + longest;
        part->in_step[axis] = spec->transposed ? 1 : spec->stride[axis];
        part->out_step[axis] = spec->transposed ? spec->stride[axis] : 1;
        part->out_first[axis] = r[axis];
    }
    part_layout(spec, r, tap, at, part, matrix);
    part->weights.dtype = LT_F32;
    part->weights.packed = memory;
    lt_cpu_pack(depth, spec->out, matrix, LT_F32, 1, spec->out, LT_F32, memory);
    free(matrix);
    free(lists);
    return LT_OK;
}

void lt_cpu_conv_release(lt_conv **conv)
{
    cpu_conv *l = (cpu_conv *)*conv;
    if (l != NULL)
        for (int64_t p = 0; p < l->parts; p++)
            free(l->part[p].run);
    if (l != NULL)
        free(l->part);
    free(l);
    *conv = NULL;
}

lt_status lt_cpu_conv_prepare(const lt_conv_spec *spec, void *memory, lt_conv **out)
{
    assert(spec->in > 0 && spec->out >= 0 && spec->weights != NULL);
    char *at = memory;
    const float *bias = NULL;
    cpu_conv *l = calloc(1, sizeof *l);
    lt_conv *base = (lt_conv *)l;
    if (l == NULL || (l->part = calloc((size_t)parts_of(spec), sizeof *l->part)) == NULL) {
        free(l);
        LT_FAIL(LT_ENOMEM, "conv: no memory for a layer's description");
    }
    l->base.spec = *spec;
    l->base.spec.weights = l->base.spec.bias = NULL;
    l->parts = parts_of(spec);
    if (spec->has_bias) {
        memcpy(at, spec->bias, (size_t)spec->out * sizeof *bias);
        bias = (const float *)(const void *)at;
        at += round_up((size_t)spec->out * sizeof *bias);
    }
    for (int64_t p = 0; p < l->parts; p++) {
        const lt_status st = part_prepare(spec, p, at, &l->part[p]);
        if (st != LT_OK) {
            lt_cpu_conv_release(&base);
            return lt_error_trace(st, "part_prepare", __FILE__, __LINE__);
        }
        l->part[p].weights.bias = bias;
        at += round_up(lt_cpu_packed_bytes(part_depth(spec, p), spec->out, LT_F32));
    }
    *out = base;
    return LT_OK;
}

/* ---- one call ---- */

/* One stretch of `count` floats at position `at` (may be negative) of a line of `length` floats. */
static void gather_stretch(const float *line, int64_t at, int64_t count, int64_t length, float *to)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = at + i >= 0 && at + i < length ? line[at + i] : 0;
}

/* `rows` cells side by side, from cell m on: the part of a run at depth [from, from + count) of it.
 * to: rows LT_CPU_DEPTH apart. */
static void gather_run(const conv_call *call, const conv_run *run, int64_t b, const int64_t m[3],
                       int64_t rows, int64_t from, int64_t count, float *to)
{
    const lt_tensor *x = call->x;
    const conv_part *part = call->part;
    const int64_t C = x->dim[4], length = x->dim[3] * C, step = part->in_step[2] * C;
    const int64_t t = m[0] * part->in_step[0] + run->at[0],
                  h = m[1] * part->in_step[1] + run->at[1];
    const int inside = t >= 0 && t < x->dim[1] && h >= 0 && h < x->dim[2];
    const int64_t at = (m[2] * part->in_step[2] + run->at[2]) * C + from;
    if (!inside) {
        for (int64_t r = 0; r < rows; r++)
            memset(to + r * LT_CPU_DEPTH, 0, (size_t)count * sizeof *to);
        return;
    }
    const float *line = (const float *)x->data + ((b * x->dim[1] + t) * x->dim[2] + h) * length;
    int64_t r = 0;
    for (; r < rows && at + r * step < 0; r++)
        gather_stretch(line, at + r * step, count, length, to + r * LT_CPU_DEPTH);
    int64_t whole = (length - count - at) < 0 ? 0 : (length - count - at) / step + 1;
    whole = whole < rows ? whole : rows;
    if (whole > r) {
        lt_cpu_isa_now()->copy_rows(whole - r, count, line + at + r * step, step,
                                    to + r * LT_CPU_DEPTH, LT_CPU_DEPTH);
        r = whole;
    }
    for (; r < rows; r++)
        gather_stretch(line, at + r * step, count, length, to + r * LT_CPU_DEPTH);
}

/* The cell of row number `row` of a part, and how many rows from there on share its line. */
static int64_t cell_of(const conv_call *call, int64_t row, int64_t *b, int64_t m[3])
{
    m[2] = row % call->count[2];
    row /= call->count[2];
    m[1] = row % call->count[1];
    row /= call->count[1];
    m[0] = row % call->count[0];
    *b = row / call->count[0];
    return call->count[2] - m[2];
}

static void gather_block(const conv_call *call, lt_range rows, lt_range depth, float *a)
{
    const conv_part *part = call->part;
    int64_t begin = 0;
    while (begin < part->runs && part->run[begin].first + part->run[begin].depth <= depth.first)
        begin++;
    for (int64_t r = 0; r < rows.count;) {
        int64_t b, m[3], n = cell_of(call, rows.first + r, &b, m);
        n = n < rows.count - r ? n : rows.count - r;
        for (int64_t i = begin; i < part->runs; i++) {
            const conv_run *run = &part->run[i];
            const int64_t end = depth.first + depth.count;
            if (run->first >= end)
                break;
            const int64_t from = run->first > depth.first ? run->first : depth.first;
            const int64_t to = run->first + run->depth < end ? run->first + run->depth : end;
            gather_run(call, run, b, m, n, from - run->first, to - from,
                       a + r * LT_CPU_DEPTH + from - depth.first);
        }
        r += n;
    }
}

static void put_block(const conv_call *call, lt_range rows, lt_range columns, const float *c)
{
    const conv_part *part = call->part;
    const lt_tensor *y = call->y;
    const float *bias = part->weights.bias != NULL ? part->weights.bias + columns.first : NULL;
    for (int64_t r = 0; r < rows.count;) {
        int64_t b, m[3], n = cell_of(call, rows.first + r, &b, m);
        n = n < rows.count - r ? n : rows.count - r;
        for (int axis = 0; axis < 3; axis++)
            m[axis] = m[axis] * part->out_step[axis] + part->out_first[axis];
        const int64_t cell = ((b * y->dim[1] + m[0]) * y->dim[2] + m[1]) * y->dim[3] + m[2];
        lt_cpu_isa_now()->finish(n, columns.count, c + r * LT_CPU_COLUMNS, LT_CPU_COLUMNS, bias,
                                 LT_ACT_NONE, (float *)y->data + cell * y->dim[4] + columns.first,
                                 LT_F32, part->out_step[2] * y->dim[4]);
        r += n;
    }
}

static void task(const conv_call *call, lt_range rows, lt_range columns, float *scratch)
{
    const lt_cpu_weights *w = &call->part->weights;
    float *a = scratch, *b = a + LT_CPU_ROWS * LT_CPU_DEPTH,
          *c = b + LT_CPU_DEPTH * LT_CPU_TILE_MAX;
    for (int64_t k = 0; k < w->depth || k == 0; k += LT_CPU_DEPTH) {
        const int64_t left = w->depth - k;
        const lt_range depth = {k, left < LT_CPU_DEPTH ? left : LT_CPU_DEPTH};
        gather_block(call, rows, depth, a);
        lt_cpu_gemm_block(w, columns, depth, rows.count, a, b, c, LT_CPU_COLUMNS);
    }
    put_block(call, rows, columns, c);
}

lt_status lt_cpu_conv(const lt_op *op)
{
    const cpu_conv *l = (const cpu_conv *)op->conv;
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    assert(x->ndim == 5 && y->ndim == 5);
    if (lt_elements(y) == 0)
        return LT_OK;
    LT_TRY(lt_cpu_scratch_reserve(LT_CPU_GEMM_SCRATCH * sizeof(float)));
    for (int64_t p = 0; p < l->parts; p++) {
        const conv_part *part = &l->part[p];
        conv_call call = {part, x, y, {0, 0, 0}};
        for (int axis = 0; axis < 3; axis++) {
            const int64_t left = y->dim[axis + 1] - part->out_first[axis], s = part->out_step[axis];
            call.count[axis] = left > 0 ? (left + s - 1) / s : 0;
        }
        const int64_t rows = x->dim[0] * call.count[0] * call.count[1] * call.count[2];
        const int64_t row_blocks = (rows + LT_CPU_ROWS - 1) / LT_CPU_ROWS;
        if (rows == 0)
            continue;
        const int64_t step = lt_cpu_column_step(y->dim[4], row_blocks);
        const int64_t tasks = row_blocks * ((y->dim[4] + step - 1) / step);
        const double cost = (double)(part->weights.depth * (step < y->dim[4] ? step : y->dim[4]));
#pragma omp parallel for schedule(dynamic, 1) num_threads(lt_cpu_team(tasks, cost))
        for (int64_t i = 0; i < tasks; i++) {
            lt_range r = {i % row_blocks * LT_CPU_ROWS, LT_CPU_ROWS},
                     n = {i / row_blocks * step, step};
            r.count = rows - r.first < r.count ? rows - r.first : r.count;
            n.count = y->dim[4] - n.first < n.count ? y->dim[4] - n.first : n.count;
            task(&call, r, n, lt_cpu_scratch_get(omp_get_thread_num()));
        }
    }
    return LT_OK;
}
