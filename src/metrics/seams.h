/* seams.h - does the film jump where two windows, or two tiles, meet?
 *
 * A seam is at frame F, the first that the later window owns. The two steps that touch it are
 * values[F - 1] (into F) and values[F] (out of it); the larger one counts, at the seam and wherever
 * it is compared with: all frames of the same phase, F mod period, that are no seam and no
 * neighbour of one. Decoders have borders of their own, which the phase keeps out of the comparison
 * (H3: period 17). Where no frame of the phase is left, all others are compared.
 *
 * Cuts are no seams, and nothing is compared across them: the step into a cut's first frame is no
 * step, a neighbourhood ends there, and the phase begins anew, since a shot is decoded as a film of
 * its own. All functions are Local, Blocking and pure.
 * Source: spec/long-video.md 8.1 to 8.4. Tested: tests/unit/test_metrics_video.c. */
#ifndef LT_SEAMS_H
#define LT_SEAMS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { LT_SEAM_NEAR = 6 };     /* frames on each side that make a step's neighbourhood */
#define LT_SEAM_RATIO_MAX 1.15 /* the budget of a step's ratio: DESIGN section 6 */
/* Steps are bursty: two of five frames of a lively film lie above the budget, joins or not. A join
 * that is over it stands out only where at most this share of all others is as large. */
#define LT_SEAM_SHARE_MAX 0.05

typedef struct lt_seams {
    const int64_t *frames; /* ascending, each 1 or more and below the film's frames */
    size_t count;
    int64_t period;      /* of the decoder's own borders; 1: none */
    const int64_t *cuts; /* first frames of the shots but the first, ascending, inside the film */
    size_t cut_count;
} lt_seams;

/* One seam held against the rest. */
typedef struct lt_seam_value {
    double at;    /* the larger of the two; NaN where neither is defined */
    double rest;  /* median of the same over the frames it is compared with; NaN of none */
    double share; /* of all frames that are no seams, each by its own phase's median, how many are
                     at least as large as at / rest: 0 to 1. A phase alone may have few frames */
    int64_t compared; /* how many they are */
    int same_phase;   /* 1: all of the seam's own phase */
} lt_seam_value;

/* e: each step divided by its neighbourhood, the median of `step` within LT_SEAM_NEAR on each side
 * and in the same shot, itself left out, and a little (a twentieth of the film's median step, and
 * 0.01, so that a still film has small numbers and no infinite ones). NaN of the step into a cut.
 * Of seams the cuts alone count. e [count] may not be step. Errors: LT_ENOMEM. */
lt_status lt_seam_normalise(const double *step, int64_t count, const lt_seams *seams, double *e);

/* Hold values [count] at each seam against the rest; out [seams->count]. Errors: LT_ENOMEM. */
lt_status lt_seam_compare(const double *values, int64_t count, const lt_seams *seams,
                          lt_seam_value *out);

/* at / rest; NaN where one is not defined or rest is 0. */
double lt_seam_ratio(const lt_seam_value *value);

/* Quality, in dB, of a frame as the mean of its neighbours: from its acceleration a, of 8-bit
 * codes, 10 log10(255^2 / (a / 4)), at most 100. */
double lt_seam_psnr_db(double acceleration);

/* Mean |difference| across a line of pixels, by column or row as lt_video_series_columns gives it,
 * at `borders` (each 1 to count - 1) against all others of the same place in a block of `block`
 * pixels (encoders and decoders have borders of their own: 8 pixels of a codec, the pixels of a
 * latent cell), each divided by its neighbourhood as above. *ratio: the median over borders by the
 * median over the others; *ratio_max: the largest border's. NaN of no border. Errors: LT_ENOMEM,
 * LT_ESHAPE (a border outside). */
enum { LT_SEAM_CODEC_BLOCK = 8 };
lt_status lt_tile_seams(const double *difference, int64_t count, const int64_t *borders,
                        size_t border_count, int64_t block, double *ratio, double *ratio_max);

#endif
