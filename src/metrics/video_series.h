/* video_series.h - a film's frames, looked at one by one, as a few numbers each.
 *
 * Frames are shown in order; four of them are kept, and of each a row of scalars, so that an
 * hour of film is some 14 MB. What is computed from the rows stands in seams.h, drift.h and
 * onsets.h. Values are codes of 8-bit luma and chroma as the file has them (BT.709, limited
 * range: 16 to 235); sums over pixels are integers, so they are exact. Source: spec/long-video.md
 * 8.1, 8.2, 8.4-8.6. All functions are Local and Blocking; one object belongs to one thread.
 * Tested: tests/unit/test_metrics_video.c. */
#ifndef LT_VIDEO_SERIES_H
#define LT_VIDEO_SERIES_H

#include <stdint.h>

#include "base/status.h"

/* One value a frame; NaN where it is not defined. y is luma, t the frame. */
typedef enum lt_series {
    LT_SERIES_STEP,         /* mean |y[t + 1] - y[t]|^2; NaN at the last frame */
    LT_SERIES_ACCELERATION, /* mean |y[t + 1] - 2 y[t] + y[t - 1]|^2; NaN at the first and last */
    LT_SERIES_SPAN,         /* mean |y[t + 2] - y[t - 1]|^2; NaN at the first and the last two */
    LT_SERIES_FLOW_JUMP, /* mean |u[t] - (u[t - 1] + u[t + 1]) / 2|, pixels of the film; u[t]: the
                               flow from t to t + 1. NaN at the first and the last two */
    LT_SERIES_MOTION,    /* mean |u[t]|, pixels; NaN at the last */
    LT_SERIES_LUMA_MEAN,
    LT_SERIES_LUMA_STD,
    LT_SERIES_CB_MEAN,    /* less 128: blue positive */
    LT_SERIES_CR_MEAN,    /* less 128: red positive */
    LT_SERIES_SATURATION, /* mean sqrt(cb^2 + cr^2) */
    LT_SERIES_SHARPNESS,  /* variance of the Laplacian of luma (4 neighbours) */
    LT_SERIES_HISTOGRAM,  /* and the next seven: share of luma in eighths of 0 to 255 */
    LT_SERIES_COUNT = LT_SERIES_HISTOGRAM + 8
} lt_series;

enum {
    LT_SERIES_FRAMES_MAX = 24 * 3600 * 60, /* 60 hours of 24 frames a second, some 900 MB */
    LT_SERIES_SIDE_MAX = 16384,            /* pixels: a row's sums fit 32 bits */
    LT_THUMB_SIDE = 32,
    LT_THUMBS_MAX = 2048
};

/* One frame, dense rows. Chroma planes of any size from 1 x 1 on. */
typedef struct lt_frame_planes {
    const uint8_t *luma, *cb, *cr;
    int width, height, chroma_width, chroma_height;
} lt_frame_planes;

typedef struct lt_video_series lt_video_series;

/* For frames of this size. Errors: LT_ESHAPE (a side below 1 or above LT_SERIES_SIDE_MAX),
 * LT_ENOMEM. */
lt_status lt_video_series_new(int width, int height, lt_video_series **out);
void lt_video_series_free(lt_video_series **series); /* NULL inside is allowed */

/* The next frame. Errors: LT_ESHAPE (another size), LT_EDATA (more than LT_SERIES_FRAMES_MAX),
 * LT_ENOMEM. */
lt_status lt_video_series_add(lt_video_series *series, const lt_frame_planes *frame);

int64_t lt_video_series_frames(const lt_video_series *series);
/* [frames] values; they stay until the next frame. */
const double *lt_video_series_values(const lt_video_series *series, lt_series which);

/* Mean |difference| over all frames between column x - 1 and x, at [x], x >= 1 ([0] is NaN); and of
 * rows. The caller owns *out, [width] or [height]: free. Errors: LT_ENOMEM. */
lt_status lt_video_series_columns(const lt_video_series *series, double **out);
lt_status lt_video_series_rows(const lt_video_series *series, double **out);

/* Frames as LT_THUMB_SIDE squared luma, at most LT_THUMBS_MAX of them: frame i * stride at [i].
 * stride is a power of two. */
const uint8_t *lt_video_series_thumbs(const lt_video_series *series, int64_t *count,
                                      int64_t *stride);

#endif
