/* fuse.c - one velocity for the clip from the velocities of its windows.
 * Built without contraction (CMakeLists.txt): products are rounded before they are added. */
#include "scheduler/fuse.h"

#include <assert.h>
#include <stdlib.h>

lt_fuse_kind lt_fuse_at(lt_fuse_kind kind, int step, int steps, int owner_cut_steps)
{
    assert(step >= 0 && step < steps && owner_cut_steps >= 0);
    return step >= steps - owner_cut_steps ? LT_FUSE_OWNER_CUT : kind;
}

/* How many positions window k shares with the one before it (side 0) or after it (side 1). */
static int64_t shared(const lt_layout *l, int64_t k, int side)
{
    const int loops = l->kind == LT_LAYOUT_LOOPED && l->count > 1;
    const int64_t a = side == 0 ? k - 1 : k, b = a + 1;
    if ((a < 0 || b == l->count) && !loops)
        return 0;
    const lt_range before = l->window[a < 0 ? l->count - 1 : a];
    const lt_range after = l->window[b == l->count ? 0 : b];
    const int64_t around = a < 0 || b == l->count ? l->total : 0;
    const int64_t count = before.first + before.count - (after.first + around);
    return count > 0 ? count : 0;
}

/* i / (r + 1) for the i-th of r positions counted from the window's edge, 1 beyond them. */
static double ramp(int64_t from_edge, int64_t r)
{
    return from_edge < r ? (double)(from_edge + 1) / (double)(r + 1) : 1.0;
}

/* sin^2(pi (n + 1/2) / L), the same bits at both ends and on every machine: the angle is at most
 * pi / 2, where the 14th term of sine's series is below 1e-22. */
static double hann(int64_t n, int64_t length)
{
    const double pi = 3.14159265358979323846;
    const int64_t from_edge = n < length - 1 - n ? n : length - 1 - n;
    const double x = pi * ((double)from_edge + 0.5) / (double)length;
    double term = x, sum = x;
    for (int i = 1; i < 14; i++) {
        term *= -x * x / (double)(2 * i * (2 * i + 1));
        sum += term;
    }
    return sum * sum;
}

static void raw_weights(lt_fuse_kind kind, const lt_layout *l, int64_t k, double *weight)
{
    const lt_range w = l->window[k], own = l->own[k];
    const int64_t left = shared(l, k, 0), right = shared(l, k, 1);
    for (int64_t n = 0; n < w.count; n++) {
        double value = 1.0;
        if (kind == LT_FUSE_TRAPEZOID)
            value = ramp(n, left) * ramp(w.count - 1 - n, right);
        else if (kind == LT_FUSE_HANN)
            value = hann(n, w.count);
        else if (kind == LT_FUSE_OWNER_CUT) {
            const int64_t at = w.first + n;
            value = at >= own.first && at < own.first + own.count ? 1.0 : 0.0;
        }
        weight[n] = value;
    }
}

/* Divide by the sum over all windows, taken in ascending order, so that every rank divides by the
 * same bits. The sum of no position is 0: one of its windows owns it, or has a weight above 0. */
static void normalise(lt_fuse *f, double *sum)
{
    const lt_layout *l = f->layout;
    for (int64_t k = 0; k < l->count; k++)
        for (int64_t n = 0; n < l->window[k].count; n++) {
            const int64_t at = (l->window[k].first + n) % l->total;
            const double value = f->weight[f->begin[k] + n];
            f->leads[f->begin[k] + n] = sum[at] <= 0.0 && value > 0.0;
            sum[at] += value;
        }
    for (int64_t k = 0; k < l->count; k++)
        for (int64_t n = 0; n < l->window[k].count; n++) {
            const double whole = sum[(l->window[k].first + n) % l->total];
            assert(whole > 0.0);
            f->weight[f->begin[k] + n] /= whole;
        }
}

lt_status lt_fuse_new(lt_fuse_kind kind, const lt_layout *layout, lt_fuse *out)
{
    lt_status st = LT_OK;
    double *sum = calloc((size_t)layout->total, sizeof *sum);
    *out = (lt_fuse){.layout = layout};
    out->begin = calloc((size_t)layout->count + 1, sizeof *out->begin);
    if (sum == NULL || out->begin == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "fusion: no memory for %lld positions",
                     (long long)layout->total);
    for (int64_t k = 0; k < layout->count; k++)
        out->begin[k + 1] = out->begin[k] + layout->window[k].count;
    const size_t values = (size_t)out->begin[layout->count];
    out->weight = calloc(values, sizeof *out->weight);
    out->leads = calloc(values, 1);
    if (out->weight == NULL || out->leads == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "fusion: no memory for %zu weights", values);
    for (int64_t k = 0; k < layout->count; k++)
        raw_weights(kind, layout, k, out->weight + out->begin[k]);
    normalise(out, sum);
done:
    free(sum);
    if (st != LT_OK)
        lt_fuse_free(out);
    return st;
}

void lt_fuse_free(lt_fuse *fuse)
{
    free(fuse->begin);
    free(fuse->weight);
    free(fuse->leads);
    *fuse = (lt_fuse){0};
}

const double *lt_fuse_weights(const lt_fuse *fuse, int64_t k)
{
    assert(k >= 0 && k < fuse->layout->count);
    return fuse->weight + fuse->begin[k];
}

/* Where position i of the part lies among what is held, or -1; its weight; does it lead? */
typedef struct {
    int64_t at;
    double weight;
    int leads;
} place;

static place place_of(const lt_fuse_axis *axis, int64_t i)
{
    const lt_fuse *f = axis->fuse;
    const int64_t position = axis->part.first + i;
    const int64_t value = f->begin[axis->window] + position - f->layout->window[axis->window].first;
    const int64_t at = position % f->layout->total - axis->held.first;
    const int held = at >= 0 && at < axis->held.count && f->weight[value] > 0.0;
    return (place){held ? at : -1, f->weight[value], f->leads[value]};
}

static void add_line(const float *v, int64_t count, float weight, int leads, float *out)
{
    for (int64_t i = 0; i < count; i++) {
        const float product = weight * v[i];
        out[i] = leads ? product : out[i] + product;
    }
}

static void check_axis(const lt_fuse_axis *axis)
{
    assert(axis->window >= 0 && axis->window < axis->fuse->layout->count);
    const lt_range w = axis->fuse->layout->window[axis->window];
    assert(axis->part.count >= 0 && axis->part.first >= w.first);
    assert(axis->part.first + axis->part.count <= w.first + w.count);
}

/* One frame of a tile: rows and columns, whose weights multiply the frame's. */
static void add_frame(const lt_fuse_axis *axis, place t, int64_t inner, const float *v, float *out)
{
    const lt_range rows = axis[1].part, columns = axis[2].part;
    for (int64_t y = 0; y < rows.count; y++) {
        const place p = place_of(&axis[1], y);
        for (int64_t x = 0; x < columns.count && p.at >= 0; x++) {
            const place q = place_of(&axis[2], x);
            if (q.at >= 0)
                add_line(v + (y * columns.count + x) * inner, inner,
                         (float)(t.weight * p.weight * q.weight), t.leads && p.leads && q.leads,
                         out + (p.at * axis[2].held.count + q.at) * inner);
        }
    }
}

void lt_fuse_add(const lt_fuse_axis *axis, int axes, int64_t outer, int64_t inner, const float *v,
                 float *out)
{
    assert((axes == 1 || axes == 3) && outer >= 0 && inner >= 0);
    int64_t given = inner, held = inner; /* values of one position in time */
    for (int i = 0; i < axes; i++)
        check_axis(&axis[i]);
    for (int i = 1; i < axes; i++) {
        given *= axis[i].part.count;
        held *= axis[i].held.count;
    }
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < axis[0].part.count; i++) {
            const place t = place_of(&axis[0], i);
            if (t.at < 0)
                continue;
            const float *from = v + (o * axis[0].part.count + i) * given;
            float *to = out + (o * axis[0].held.count + t.at) * held;
            if (axes == 1)
                add_line(from, inner, (float)t.weight, t.leads, to);
            else
                add_frame(axis, t, inner, from, to);
        }
}
