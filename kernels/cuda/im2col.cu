/* im2col.cu - what a convolution does around its product: inputs laid out in rows, results put to
 * their places. conv.c says what a part is.
 *
 * im2col works on rows of `channels` elements: row cell * taps + tap is the channels that the cell
 * meets under that tap, one stretch of memory, or zeros outside the input. */
#include "kernels/cuda/prims.cuh"

struct im2col_op {
    lt_cuda_cells c;
    view x, to; /* x: [B * T * H * W, channels]; to: rows of channels, see at */
    int64_t begin, ld, taps;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK];
        const int64_t here = row / taps, tap = row % taps;
        int64_t cell = begin + here, k = tap, from[3];
        int inside = 1;
        LT_UNROLL
        for (int i = 2; i >= 0; i--) {
            from[i] = cell % c.count[i] * c.step[i] + c.first[i] + k % c.taps[i] * c.tap_step[i];
            cell /= c.count[i];
            k /= c.taps[i];
            inside = inside && from[i] >= 0 && from[i] < c.length[i];
        }
        const int64_t at_x =
            ((cell * c.length[0] + from[0]) * c.length[1] + from[1]) * c.length[2] + from[2];
        if (inside) {
            load(x, at_x, column, left, v);
        } else {
            LT_UNROLL
            for (int i = 0; i < LT_CHUNK; i++)
                v[i] = 0;
        }
        store(to, 0, here * ld + tap * c.channels + column, left, v);
    }
};

lt_status lt_cuda_im2col(lt_cuda_queue *q, const lt_cuda_cells *cells, const float *x,
                         int64_t begin, int64_t rows, float *to, int64_t ld)
{
    const int64_t taps = cells->taps[0] * cells->taps[1] * cells->taps[2], in = cells->channels;
    const int32_t wide = in % 4 == 0; /* rows of x and taps of `to` then begin at 16 bytes */
    const im2col_op f = {*cells,
                         {(void *)(uintptr_t)x, in, LT_F32, wide && (uintptr_t)x % 16 == 0},
                         {to, 0, LT_F32, wide},
                         begin,
                         ld,
                         taps};
    return launch_each(q, "conv", f, rows * taps, in);
}

struct place_op {
    lt_cuda_places p;
    view from, y;
    const float *bias;
    int64_t begin;

    LT_MEMBER void at(int64_t row, int64_t column, int left) const
    {
        float v[LT_CHUNK];
        int64_t cell = begin + row, to[3];
        LT_UNROLL
        for (int i = 2; i >= 0; i--) {
            to[i] = cell % p.count[i] * p.step[i] + p.first[i];
            cell /= p.count[i];
        }
        if (from.data != NULL) {
            load(from, row, column, left, v);
        } else {
            LT_UNROLL
            for (int i = 0; i < LT_CHUNK; i++)
                v[i] = 0;
        }
        LT_UNROLL
        for (int i = 0; i < LT_CHUNK; i++)
            if (bias != NULL && i < left)
                v[i] += bias[column + i];
        const int64_t at_y =
            ((cell * p.length[0] + to[0]) * p.length[1] + to[1]) * p.length[2] + to[2];
        store(y, at_y, column, left, v);
    }
};

lt_status lt_cuda_place(lt_cuda_queue *q, const lt_cuda_places *places, const float *from,
                        int64_t ld, int64_t begin, int64_t rows, const float *bias, float *y)
{
    const int64_t out = places->channels;
    const place_op f = {*places,
                        {(void *)(uintptr_t)from, ld, LT_F32, ld % 4 == 0},
                        {y, out, LT_F32, out % 4 == 0 && (uintptr_t)y % 16 == 0},
                        bias,
                        begin};
    return launch_each(q, "conv", f, rows, out);
}
