/* clip.h - latents on the host: the clip's, or a range of them in time.
 *
 * A stream's array has the stream's dims, but along its time axis only the positions that are held:
 *
 *     [outer, range.count, inner]     video [C, T, h, w]: outer C, inner h w
 *                                     audio [2, Ca, A]: outer 2 Ca, inner 1
 *
 * f32, C order. Functions are Local; host memory. */
#ifndef LT_CLIP_H
#define LT_CLIP_H

#include "run/plan.h"

typedef struct lt_clip {
    float *data[LT_STREAMS_MAX];      /* owned */
    lt_range range[LT_STREAMS_MAX];   /* positions of the time axis that data has */
    int64_t elements[LT_STREAMS_MAX]; /* of data */
    int count;
} lt_clip;

/* What lies around a stream's time axis, and how long the axis is. */
int64_t lt_stream_outer(const lt_stream *stream);
int64_t lt_stream_inner(const lt_stream *stream);
int64_t lt_stream_units(const lt_stream *stream);

/* The whole clip, zeros. The caller owns *out: lt_clip_free, which takes a zeroed one too. Errors:
 * LT_ENOMEM. */
lt_status lt_clip_new(const lt_plan *plan, lt_clip *out);
/* These ranges of it; a range of count 0 holds nothing. */
lt_status lt_clip_new_ranges(const lt_plan *plan, const lt_range *range, lt_clip *out);
void lt_clip_free(lt_clip *clip);

/* Noise of a range of a stream, into [outer, range.count, inner]: a function of (seed, kind, place)
 * alone, so ranges agree with the whole. kind: LT_STREAM_INITIAL, _CONTEXT, _STAGE2 (philox.h). */
void lt_stream_noise(const lt_stream *stream, uint64_t seed, uint32_t kind, lt_range range,
                     float *out);
/* Fill what the clip holds with the job's initial noise; of mode `refine`, with what the second
 * pass begins from. */
void lt_clip_noise(const lt_plan *plan, lt_clip *clip);

/* Copy the positions that `to` holds; from holds all of them. */
void lt_clip_copy(const lt_plan *plan, const lt_clip *from, lt_clip *to);
/* Copy the positions of `what` between two arrays of one stream; both hold all of them. */
void lt_stream_copy(const lt_stream *stream, lt_range what, const float *from, lt_range from_has,
                    float *to, lt_range to_has);

#endif
