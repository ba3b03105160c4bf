/* upsample.c - a small canvas's latents on a larger one.
 * Built without contraction (CMakeLists.txt): products are rounded before they are added. */
#include "run/denoise/upsample.h"

#include <string.h>

typedef struct {
    int64_t low, high;
    float share; /* of high */
} between;

static between place(int64_t at, int64_t from, int64_t to)
{
    /* (at + 1/2) from / to - 1/2, as a fraction over 2 to */
    const int64_t twice = (2 * at + 1) * from - to;
    if (twice <= 0)
        return (between){0, 0, 0.0f};
    const int64_t low = twice / (2 * to);
    if (low >= from - 1)
        return (between){from - 1, from - 1, 0.0f};
    return (between){low, low + 1, (float)(twice - low * 2 * to) / (float)(2 * to)};
}

void lt_upsample(const float *from, int64_t planes, int64_t h, int64_t w, float *to, int64_t H,
                 int64_t W)
{
    if (h == H && w == W) {
        memcpy(to, from, (size_t)(planes * h * w) * sizeof *to);
        return;
    }
    for (int64_t p = 0; p < planes; p++)
        for (int64_t y = 0; y < H; y++) {
            const between v = place(y, h, H);
            const float *above = from + (p * h + v.low) * w, *below = from + (p * h + v.high) * w;
            for (int64_t x = 0; x < W; x++) {
                const between u = place(x, w, W);
                const float a = (1.0f - u.share) * above[u.low], b = u.share * above[u.high];
                const float c = (1.0f - u.share) * below[u.low], d = u.share * below[u.high];
                const float top = (1.0f - v.share) * (a + b), bottom = v.share * (c + d);
                *to++ = top + bottom;
            }
        }
}
