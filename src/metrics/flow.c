/* flow.c - bounded block matching on a smaller frame. */
#include "metrics/flow.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* What a pixel of length costs, summed over a block: half a code each on a quarter of its pixels.
 * Less than what a block with anything to see gains by the right shift. */
enum { LENGTH_COST = LT_FLOW_BLOCK * LT_FLOW_BLOCK / 8 };

int lt_flow_factor(int width)
{
    assert(width > 0);
    return (width + LT_FLOW_WIDTH - 1) / LT_FLOW_WIDTH;
}

void lt_flow_shrink(const uint8_t *from, int width, int height, int factor, uint8_t *to)
{
    assert(factor >= 1);
    const int w = width / factor, h = height / factor;
    const uint32_t area = (uint32_t)(factor * factor);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            uint32_t sum = area / 2;
            for (int i = 0; i < factor; i++)
                for (int k = 0; k < factor; k++)
                    sum += from[(int64_t)(y * factor + i) * width + x * factor + k];
            to[(int64_t)y * w + x] = (uint8_t)(sum / area);
        }
}

/* Sum of absolute differences of two blocks. */
static int difference(const uint8_t *a, const uint8_t *b, int width)
{
    int sum = 0;
    for (int y = 0; y < LT_FLOW_BLOCK; y++)
        for (int x = 0; x < LT_FLOW_BLOCK; x++)
            sum += abs(a[(int64_t)y * width + x] - b[(int64_t)y * width + x]);
    return sum;
}

static lt_shift best_shift(const uint8_t *from, const uint8_t *to, int width, int height, int x,
                           int y)
{
    const uint8_t *block = from + (int64_t)y * width + x;
    lt_shift best = {0, 0};
    double least = difference(block, to + (int64_t)y * width + x, width);
    for (int dy = -LT_FLOW_REACH; dy <= LT_FLOW_REACH && least > 0; dy++)
        for (int dx = -LT_FLOW_REACH; dx <= LT_FLOW_REACH; dx++) {
            if (x + dx < 0 || y + dy < 0 || x + dx + LT_FLOW_BLOCK > width ||
                y + dy + LT_FLOW_BLOCK > height)
                continue;
            const double cost = LENGTH_COST * sqrt((double)(dx * dx + dy * dy));
            if (cost >= least)
                continue;
            const double found =
                cost + difference(block, to + (int64_t)(y + dy) * width + x + dx, width);
            if (found < least) {
                least = found;
                best = (lt_shift){dx, dy};
            }
        }
    return best;
}

void lt_flow_match(const uint8_t *from, const uint8_t *to, int width, int height, lt_shift *out)
{
    assert(width > 0 && height > 0);
    const int columns = width / LT_FLOW_BLOCK, rows = height / LT_FLOW_BLOCK;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            out[r * columns + c] =
                best_shift(from, to, width, height, c * LT_FLOW_BLOCK, r * LT_FLOW_BLOCK);
}

double lt_flow_jump(const lt_shift *before, const lt_shift *now, const lt_shift *after,
                    int64_t count)
{
    assert(count >= 0);
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        const double x = now[i].x - 0.5 * (before[i].x + after[i].x);
        const double y = now[i].y - 0.5 * (before[i].y + after[i].y);
        sum += sqrt(x * x + y * y);
    }
    return count > 0 ? sum / (double)count : NAN;
}

double lt_flow_length(const lt_shift *shift, int64_t count)
{
    assert(count >= 0);
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += sqrt((double)(shift[i].x * shift[i].x + shift[i].y * shift[i].y));
    return count > 0 ? sum / (double)count : NAN;
}
