/* audio.c - the anti-aliased snake over tiles of time and channels.
 *
 * A task is one clip's CHANNELS_MAX channels over a stretch of time. It copies its input with six
 * times of margin, edges repeated, and lets simd_audio.inc do all three passes while the tile is in
 * the second-level cache. Nothing of the double rate ever reaches memory. */
#include <assert.h>
#include <math.h>
#include <omp.h>

#include "kernels/cpu/cpu.h"

enum { CHANNELS_MAX = 64, TILE_FLOATS = 8192, MARGIN = 6 };

typedef struct snake_call {
    const lt_op *op;
    int64_t length, channels, width, step, blocks, tiles;
    const float *a, *b; /* [blocks][width + LT_CPU_TILE_MAX] patterns */
} snake_call;

/* Patterns of all channel blocks. */
static void fill_patterns(const snake_call *call, float *a, float *b)
{
    const float *alpha = call->op->in[1].data, *beta = call->op->in[2].data;
    const int64_t stride = call->width + LT_CPU_TILE_MAX;
    for (int64_t k = 0; k < call->blocks; k++) {
        const int64_t first = k * call->width, left = call->channels - first;
        const int64_t width = left < call->width ? left : call->width;
        for (int64_t i = 0; i < width + LT_CPU_TILE_MAX; i++) {
            const int64_t c = first + i % width;
            a[k * stride + i] = (float)exp((double)alpha[c]);
            b[k * stride + i] = (float)(1 / (exp((double)beta[c]) + 1e-9));
        }
    }
}

static void task(const snake_call *call, int64_t clip, int64_t block, int64_t tile, float *scratch)
{
    const lt_cpu_isa *isa = lt_cpu_isa_now();
    const int64_t first = tile * call->step, C = call->channels, column = block * call->width;
    const int64_t width = C - column < call->width ? C - column : call->width;
    const int64_t left = call->length - first, count = left < call->step ? left : call->step;
    const int64_t floats = (call->step + 2 * MARGIN + 2) * call->width + 2 * LT_CPU_TILE_MAX;
    const float *x = (const float *)call->op->in[0].data + clip * call->length * C + column;
    float *y = (float *)call->op->out[0].data + (clip * call->length + first) * C + column;
    float *copy = scratch;
    for (int64_t m = first - MARGIN; m < first + count + MARGIN;) {
        const int64_t at = m < 0 ? 0 : m >= call->length ? call->length - 1 : m;
        const int inside = m >= 0 && m < call->length;
        int64_t rows = inside ? call->length - m : 1;
        rows = rows < first + count + MARGIN - m ? rows : first + count + MARGIN - m;
        isa->copy_rows(rows, width, x + at * C, C, copy + (m - first + MARGIN) * width, width);
        m += rows;
    }
    const int64_t pattern = block * (call->width + LT_CPU_TILE_MAX);
    const lt_cpu_snake t = {
        .first = first,
        .count = count,
        .length = call->length,
        .width = width,
        .x = copy,
        .a = call->a + pattern,
        .b = call->b + pattern,
        .up = call->op->in[3].data,
        .down = call->op->in[4].data,
        .even = scratch + floats,
        .odd = scratch + 2 * floats,
        .y = width == C ? y : scratch + 3 * floats,
    };
    isa->snake_tile(&t);
    if (t.y != y)
        isa->copy_rows(count, width, t.y, width, y, C);
}

static snake_call call_of(const lt_op *op)
{
    const lt_tensor *x = &op->in[0];
    assert(x->ndim == 3 && x->dim[2] > 0);
    snake_call call = {.op = op, .length = x->dim[1], .channels = x->dim[2]};
    call.width = call.channels < CHANNELS_MAX ? call.channels : CHANNELS_MAX;
    call.step = TILE_FLOATS / call.width;
    call.blocks = (call.channels + call.width - 1) / call.width;
    call.tiles = (call.length + call.step - 1) / call.step;
    return call;
}

static int64_t pattern_floats(const snake_call *call)
{
    return call->blocks * (call->width + LT_CPU_TILE_MAX);
}

lt_scratch lt_cpu_snake_aa_scratch(const lt_op *op)
{
    const snake_call call = call_of(op);
    const int64_t floats = (call.step + 2 * MARGIN + 2) * call.width + 2 * LT_CPU_TILE_MAX;
    return (lt_scratch){(size_t)(2 * pattern_floats(&call)) * sizeof(float),
                        (size_t)(4 * floats) * sizeof(float)};
}

lt_status lt_cpu_snake_aa(const lt_op *op)
{
    const lt_tensor *x = &op->in[0];
    if (lt_elements(x) == 0)
        return LT_OK;
    snake_call call = call_of(op);
    const lt_scratch scratch = lt_cpu_snake_aa_scratch(op);
    void *shared = NULL;
    LT_TRY(lt_cpu_shared_reserve(scratch.shared_bytes, &shared));
    fill_patterns(&call, shared, (float *)shared + pattern_floats(&call));
    call.a = shared;
    call.b = call.a + pattern_floats(&call);
    LT_TRY(lt_cpu_scratch_reserve(scratch.thread_bytes));
    const int64_t tasks = x->dim[0] * call.blocks * call.tiles;
    const int64_t times = call.length < call.step ? call.length : call.step;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(lt_cpu_team(tasks, (double)(times * call.width) * 4))
    for (int64_t i = 0; i < tasks; i++)
        task(&call, i / call.tiles / call.blocks, i / call.tiles % call.blocks, i % call.tiles,
             lt_cpu_scratch_get(omp_get_thread_num()));
    return LT_OK;
}
