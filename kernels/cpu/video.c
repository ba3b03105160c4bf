/* video.c - group norm and reflected padding, for the video encoder.
 *
 * A group norm's rows are cut into chunks of CHUNK, whatever the number of threads; each gives f32
 * sums a channel, which are added in f64 in chunk order: first for the mean, then for the squared
 * distance from it, then the rows are written. */
#include <assert.h>
#include <math.h>

#include "kernels/cpu/cpu.h"

enum { CHUNK = 256 };

typedef struct group_call {
    const lt_op *op;
    int64_t rows, channels, chunks;
    float *sums;                 /* [chunks][channels] */
    float *mean, *factor, *bias; /* [channels] */
} group_call;

static lt_range chunk_of(const group_call *g, int64_t i)
{
    const int64_t left = g->rows - i * CHUNK;
    return (lt_range){i * CHUNK, left < CHUNK ? left : CHUNK};
}

/* Sum over one group's channels and all chunks. */
static double group_sum(const group_call *g, int64_t first, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < g->chunks; i++)
        for (int64_t c = first; c < first + count; c++)
            sum += (double)g->sums[i * g->channels + c];
    return sum;
}

/* Statistics and result of one batch item at x, y. */
static void group_norm_item(const group_call *g, const float *x, float *y)
{
    const lt_cpu_isa *isa = lt_cpu_isa_now();
    const lt_op *op = g->op;
    const int64_t C = g->channels, width = C / op->groups;
    const float *w = op->in[1].data, *b = op->in[2].data;
    const double count = (double)(g->rows * width);
    const int team = lt_cpu_team(g->chunks, CHUNK * (double)C / 2);
    for (int pass = 0; pass < 2; pass++) {
#pragma omp parallel for schedule(static) num_threads(team)
        for (int64_t i = 0; i < g->chunks; i++) {
            const lt_range r = chunk_of(g, i);
            isa->column_sums(r.count, C, x + r.first * C, pass == 0 ? NULL : g->mean,
                             g->sums + i * C);
        }
        for (int64_t group = 0; group < op->groups; group++) {
            const double sum = group_sum(g, group * width, width);
            for (int64_t c = group * width; c < (group + 1) * width; c++)
                if (pass == 0)
                    g->mean[c] = (float)(sum / count);
                else
                    g->factor[c] = (float)(1 / sqrt(sum / count + (double)op->eps)) * w[c];
        }
    }
    memcpy(g->bias, b, (size_t)C * sizeof *b);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < g->chunks; i++) {
        const lt_range r = chunk_of(g, i);
        isa->column_affine(r.count, C, x + r.first * C, g->mean, g->factor, g->bias, op->activation,
                           y + r.first * C);
    }
}

static int64_t chunks_of(int64_t rows) { return (rows + CHUNK - 1) / CHUNK; }

lt_scratch lt_cpu_group_norm_scratch(const lt_op *op)
{
    const lt_tensor *x = &op->in[0];
    const int64_t floats = (chunks_of(x->dim[1]) + 3) * x->dim[2];
    return (lt_scratch){(size_t)floats * sizeof(float), 0};
}

lt_status lt_cpu_group_norm(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    assert(x->ndim == 3 && op->groups > 0 && x->dim[2] % op->groups == 0);
    group_call g = {.op = op, .rows = x->dim[1], .channels = x->dim[2]};
    if (lt_elements(x) == 0)
        return LT_OK;
    g.chunks = chunks_of(g.rows);
    void *shared = NULL;
    LT_TRY(lt_cpu_shared_reserve(lt_cpu_group_norm_scratch(op).shared_bytes, &shared));
    g.sums = shared;
    g.mean = g.sums + g.chunks * g.channels;
    g.factor = g.mean + g.channels;
    g.bias = g.factor + g.channels;
    for (int64_t b = 0; b < x->dim[0]; b++) {
        const int64_t at = b * g.rows * g.channels;
        group_norm_item(&g, (const float *)x->data + at, (float *)y->data + at);
    }
    return LT_OK;
}

/* torch's 'reflect': -1 reads 1, length reads length - 2. */
static int64_t reflect(int64_t at, int64_t length)
{
    const int64_t low = at < 0 ? -at : at;
    return low >= length ? 2 * (length - 1) - low : low;
}

lt_status lt_cpu_pad_reflect(const lt_op *op)
{
    const lt_tensor *x = &op->in[0], *y = &op->out[0];
    assert(x->ndim == 5 && y->ndim == 5);
    const int64_t H = x->dim[2], W = x->dim[3], C = x->dim[4],
                  lines = y->dim[0] * y->dim[1] * y->dim[2];
    const int64_t left = op->pad[2], right = y->dim[3] - W - left;
    const int team = lt_cpu_team(lines, (double)(y->dim[3] * C) / 8);
    assert(op->pad[0] < H && op->pad[1] < H && left < W && right < W);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < lines; i++) {
        const int64_t plane = i / y->dim[2], h = reflect(i % y->dim[2] - op->pad[0], H);
        const float *from = (const float *)x->data + (plane * H + h) * W * C;
        float *to = (float *)y->data + i * y->dim[3] * C;
        for (int64_t j = 0; j < left; j++)
            memcpy(to + j * C, from + (left - j) * C, (size_t)C * sizeof *to);
        memcpy(to + left * C, from, (size_t)(W * C) * sizeof *to);
        for (int64_t j = 0; j < right; j++)
            memcpy(to + (left + W + j) * C, from + (W - 2 - j) * C, (size_t)C * sizeof *to);
    }
    return LT_OK;
}
