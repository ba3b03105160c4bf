/* upsample.h - a small canvas's latents on a larger one.
 *
 * Bilinear in space: cell y of the larger canvas lies at (y + 1/2) h' / h - 1/2 of the smaller one,
 * clamped to it; time and channels stay. Between cells of a latent space no better kernel is known
 * to pay; what it blurs, the second pass of `refine` draws. f32, each product rounded.
 * Local; host memory. Tested: tests/unit/test_upsample.c. */
#ifndef LT_UPSAMPLE_H
#define LT_UPSAMPLE_H

#include <stdint.h>

/* from [planes, h, w] -> to [planes, H, W]; all at least 1. Equal sizes: a copy. */
void lt_upsample(const float *from, int64_t planes, int64_t h, int64_t w, float *to, int64_t H,
                 int64_t W);

#endif
