/* ops_warp.c - branches, barriers, exchanges between lanes, tensor cores, asynchronous copies.
 *
 * mma.m16n8k16: with g = lane / 4 and q = 2 (lane % 4), a lane holds of A rows g and g + 8, of each
 * columns q, q + 1 (registers 0 and 1) and q + 8, q + 9 (2 and 3); of B rows q, q + 1 and q + 8,
 * q + 9 of column g; of C rows g and g + 8, columns q, q + 1 (PTX ISA 9.0, 9.7.14.5.8, and
 * CUTLASS's mma_traits_sm80.hpp). How the cores add is not documented, so there are three models:
 * f32 in order; exact with one rounding; eight products at a time, cut at the largest one's 24th
 * bit, as measured by others (MMA-Sim, arXiv 2511.10909). */
#include <math.h>

#include "tests/emu/warp.h"

/* ---- who goes where ---- */

static void branch(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    const uint32_t stay = w->active & ~lanes;
    if (stay == 0) {
        w->pc = i->target;
        return;
    }
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (w->active >> lane & 1)
            w->lane_pc[lane] = lanes >> lane & 1 ? i->target : w->pc;
    w->active = 0;
    ptx_regroup(w);
}

static void leave(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    (void)i;
    w->live &= ~lanes;
    w->active &= ~lanes;
    if (w->active == 0)
        ptx_regroup(w);
}

static void barrier(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    if (lanes != w->active || i->number != 0) {
        ptx_fault(w, i, __builtin_ctz(lanes), "want one barrier for all threads", 0);
        return;
    }
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (lanes >> lane & 1)
            w->lane_pc[lane] = w->pc;
    w->at_barrier |= lanes;
    w->active = 0;
    ptx_regroup(w);
}

static void warp_barrier(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    const uint32_t named = ptx_words(w, i, 0)[__builtin_ctz(lanes)];
    if (ptx_converged(w, i, named))
        w->synced = ++w->block->now;
}

/* ---- exchanges ---- */

enum { SHFL_IDX, SHFL_BFLY, SHFL_UP, SHFL_DOWN };

/* The manual's rule: from which lane, and is that one in this lane's segment? */
static int source_of(int mode, uint32_t lane, uint32_t b, uint32_t c, uint32_t *from)
{
    const uint32_t mask = c >> 8 & 31, most = (lane & mask) | (c & 31 & ~mask);
    const uint32_t by = b & 31;
    *from = mode == SHFL_IDX    ? (lane & mask) | (by & ~mask)
            : mode == SHFL_BFLY ? lane ^ by
            : mode == SHFL_UP   ? lane - by
                                : lane + by;
    const int inside = mode == SHFL_UP ? (int32_t)*from >= (int32_t)most : *from <= most;
    if (!inside)
        *from = lane;
    return inside;
}

/* d|p, a, b, c, members */
static void shuffle(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    const uint32_t *a = ptx_words(w, i, 2), *b = ptx_words(w, i, 3), *c = ptx_words(w, i, 4);
    const uint32_t named = ptx_words(w, i, 5)[__builtin_ctz(lanes)];
    uint32_t r[PTX_LANES], inside = 0, from = 0;
    if (!ptx_converged(w, i, named))
        return;
    lanes = w->active;
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (lanes >> lane & 1) {
            inside |= (uint32_t)source_of(i->row->mode, (uint32_t)lane, b[lane], c[lane], &from)
                      << lane;
            if (!(named >> lane & 1) || !(named >> from & 1) || !(lanes >> from & 1)) {
                ptx_fault(w, i, lane, "takes from a lane that is not there", 0);
                return;
            }
            r[lane] = a[from];
        }
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (lanes >> lane & 1)
            ptx_words(w, i, 0)[lane] = r[lane];
    if (i->operand[1] >= 0)
        *ptx_words(w, i, 1) = (*ptx_words(w, i, 1) & ~lanes) | (inside & lanes);
}

/* All 32 lanes are here, or wait. */
static int whole_warp(ptx_warp *w, const ptx_ins *i)
{
    if (!ptx_converged(w, i, PTX_ALL))
        return 0;
    if (w->active != PTX_ALL || i->guard >= 0) {
        ptx_fault(w, i, 0, "want a whole warp", 0);
        return 0;
    }
    return 1;
}

/* ---- tensor cores ---- */

static float from_bf16(uint32_t half)
{
    const uint32_t u = half << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* x, without the bits below 2^low. */
static double cut(double x, int low) { return ldexp(trunc(ldexp(x, -low)), low); }

/* Towards zero to f32. */
static float cut_to_f32(double x)
{
    const float r = (float)x;
    return fabs((double)r) > fabs(x) ? nextafterf(r, 0) : r;
}

static float add_cut(const float *a, const float *b, float c)
{
    enum { TOGETHER = 8, KEPT = 24, K = 16 };
    for (int first = 0; first < K; first += TOGETHER) {
        int largest = -2000, e = 0;
        double sum = 0;
        for (int k = first; k < first + TOGETHER; k++) {
            if (!isfinite(a[k] * b[k]) || !isfinite(c))
                return a[k] * b[k] + c;
            if (a[k] * b[k] != 0) {
                (void)frexp((double)a[k] * b[k], &e);
                largest = e > largest ? e : largest;
            }
        }
        if (c != 0) {
            (void)frexp(c, &e);
            largest = e > largest ? e : largest;
        }
        if (largest == -2000)
            continue;
        for (int k = first; k < first + TOGETHER; k++)
            sum += cut((double)a[k] * b[k], largest - KEPT);
        c = cut_to_f32(sum + cut(c, largest - KEPT));
    }
    return c;
}

static float add_exactly(const float *a, const float *b, float c)
{
    enum { K = 16 };
    double sum = c;
    for (int k = 0; k < K; k++)
        sum += (double)a[k] * b[k];
    return (float)sum;
}

static void multiply(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    enum { M = 16, N = 8, K = 16, A = 4, B = 8, C = 10 };
    float a[M][K], b[N][K], c[M][N];
    (void)lanes;
    if (!whole_warp(w, i))
        return;
    w->block->counts.mma++;
    for (int lane = 0; lane < PTX_LANES; lane++)
        for (int h = 0; h < 2; h++) {
            const int g = lane / 4, q = 2 * (lane % 4) + h;
            for (int r = 0; r < 4; r++)
                a[g + 8 * (r & 1)][q + 8 * (r >> 1)] =
                    from_bf16(ptx_words(w, i, A + r)[lane] >> 16 * h & 0xffff);
            for (int r = 0; r < 2; r++) {
                b[g][q + 8 * r] = from_bf16(ptx_words(w, i, B + r)[lane] >> 16 * h & 0xffff);
                c[g + 8 * r][q] = ptx_floats(w, i, C + 2 * r + h)[lane];
            }
        }
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) {
            if (w->block->sums == PTX_SUMS_WIDE) {
                c[m][n] = add_exactly(a[m], b[n], c[m][n]);
            } else if (w->block->sums == PTX_SUMS_TRUNCATED) {
                c[m][n] = add_cut(a[m], b[n], c[m][n]);
            } else {
                for (int k = 0; k < K; k++)
                    c[m][n] += a[m][k] * b[n][k];
            }
        }
    for (int lane = 0; lane < PTX_LANES; lane++)
        for (int r = 0; r < 4; r++)
            ptx_floats(w, i, r)[lane] = c[lane / 4 + 8 * (r >> 1)][2 * (lane % 4) + (r & 1)];
}

/* Four matrices of 8 x 8: lanes 8k to 8k + 7 name the rows of matrix k. */
static void load_matrices(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    enum { ROW_BYTES = 16 };
    uint16_t row[PTX_LANES][ROW_BYTES / 2];
    (void)lanes;
    if (!whole_warp(w, i))
        return;
    for (int lane = 0; lane < PTX_LANES; lane++) {
        const uint64_t address = ptx_value(w, i, 4, lane) + (uint64_t)i->add[0];
        const unsigned char *p = ptx_shared(w, i, lane, (uint32_t)address, ROW_BYTES, 0);
        if (p == NULL)
            return;
        memcpy(row[lane], p, ROW_BYTES);
    }
    for (int k = 0; k < 4; k++)
        for (int lane = 0; lane < PTX_LANES; lane++) {
            const int r = lane / 4, q = 2 * (lane % 4);
            ptx_words(w, i, k)[lane] =
                i->row->mode == 0 ? row[8 * k + r][q] | (uint32_t)row[8 * k + r][q + 1] << 16
                                  : row[8 * k + q][r] | (uint32_t)row[8 * k + q + 1][r] << 16;
        }
}

/* ---- asynchronous copies ---- */

/* [to], [from], 16, bytes that are read */
static void copy_async(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    enum { WHOLE = 16 };
    uint64_t from[PTX_LANES];
    uint32_t reading = 0;
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (lanes >> lane & 1) {
            const int bytes = (int)ptx_words(w, i, 2)[lane];
            from[lane] = ptx_value(w, i, 1, lane) + (uint64_t)i->add[1];
            reading |= (uint32_t)(bytes > 0) << lane;
            ptx_copy_begin(w, i, lane, (uint32_t)(ptx_value(w, i, 0, lane) + (uint64_t)i->add[0]),
                           from[lane], bytes);
        }
    if (reading != 0)
        ptx_count_request(&w->block->counts.loads, from, reading, WHOLE);
}

static void copy_commit(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    (void)i;
    for (int lane = 0; lane < PTX_LANES; lane++)
        w->groups[lane] += lanes >> lane & 1;
}

static void copy_wait(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    ptx_copy_wait(w, i, lanes, (uint32_t)i->number);
}

const ptx_row ptx_rows_warp[] = {
    {"bra", "T", branch, 0, 0, 0},
    {"bra.uni", "T", branch, 0, 0, 0},
    {"ret", "", leave, 0, 0, 0},
    {"exit", "", leave, 0, 0, 0},
    {"bar.sync", "n", barrier, 0, 0, 0},
    {"bar.warp.sync", "w", warp_barrier, 0, 0, 0},
    {"shfl.sync.idx.b32", "W?wwww", shuffle, 0, 0, SHFL_IDX},
    {"shfl.sync.bfly.b32", "W?wwww", shuffle, 0, 0, SHFL_BFLY},
    {"shfl.sync.up.b32", "W?wwww", shuffle, 0, 0, SHFL_UP},
    {"shfl.sync.down.b32", "W?wwww", shuffle, 0, 0, SHFL_DOWN},
    {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "WWWWwwwwwwwwww", multiply, 0, 0, 0},
    {"ldmatrix.sync.aligned.m8n8.x4.shared.b16", "WWWW@", load_matrices, 0, 0, 0},
    {"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", "WWWW@", load_matrices, 0, 0, 1},
    {"cp.async.cg.shared.global", "@@nw", copy_async, 0, 0, 0},
    {"cp.async.commit_group", "", copy_commit, 0, 0, 0},
    {"cp.async.wait_group", "n", copy_wait, 0, 0, 0},
    {NULL, NULL, NULL, 0, 0, 0},
};
