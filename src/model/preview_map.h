/* preview_map.h - the colours of a latent, roughly, without a decoder.
 *
 * A latent's C values go by one matrix to the colours of scale x scale points of the square of
 * pixels that it stands for: enough to see what the film becomes, at the cost of nothing. Degree 1
 * takes the values as they are, which does for a learned latent space; degree 2 their products by
 * twos as well (the demo model's space is designed: a colour counts only where there is a ball).
 * The matrix is fitted by least squares over films that the model's own decoder made
 * (tools/preview_map.c) and kept in the model's longtake.json:
 *
 *     "preview": {"scale": 4, "channels": 24, "degree": 1, "rows": [[24 weights, constant], ...]}
 *
 * rows: for each point from top to bottom, left to right, red, green, blue: 3 scale^2 of them, each
 * of lt_preview_terms weights. A row's sum is a full-range code, 0 to 255. Local.
 * Tested: tests/unit/test_preview_map.c. */
#ifndef LT_PREVIEW_MAP_H
#define LT_PREVIEW_MAP_H

#include "base/json.h"

enum {
    LT_PREVIEW_SCALE_MAX = 16,
    LT_PREVIEW_CHANNELS_MAX = 1024,
    LT_PREVIEW_TERMS_MAX = 2145 /* 64 channels of degree 2 */
};

typedef struct lt_preview_map {
    int scale, degree;
    int64_t channels;
    float *row; /* [3 scale^2][lt_preview_terms] owned */
} lt_preview_map;

/* Weights of a row: of degree 1 channels + 1, of degree 2 also one a pair, channels (channels + 1)
 * / 2. */
int64_t lt_preview_terms(int64_t channels, int degree);
/* What the weights go with, [terms]: the values, value `stride` apart; their products with
 * themselves and those behind them; 1. */
void lt_preview_terms_of(const float *values, int64_t stride, int64_t channels, int degree,
                         float *terms);

/* The object `preview` of longtake.json. The caller owns *out, also after an error:
 * lt_preview_map_free. Errors: LT_EDATA, LT_ENOMEM. */
lt_status lt_preview_map_read(const lt_json_at *at, lt_preview_map **out);
void lt_preview_map_free(lt_preview_map **map); /* NULL inside is allowed */

/* latent [channels, h, w] -> rgb [3, scale h, scale w], codes that may lie a little outside 0 to
 * 255. */
void lt_preview_map_apply(const lt_preview_map *map, const float *latent, int64_t h, int64_t w,
                          float *rgb);

#endif
