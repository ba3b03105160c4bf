/* clip.c - latents on the host. */
#include "run/denoise/clip.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"

static int64_t product(const lt_stream *stream, int first, int end)
{
    int64_t n = 1;
    for (int i = first; i < end; i++)
        n *= stream->dim[i];
    return n;
}

int64_t lt_stream_outer(const lt_stream *stream) { return product(stream, 0, stream->time_axis); }

int64_t lt_stream_inner(const lt_stream *stream)
{
    return product(stream, stream->time_axis + 1, stream->ndim);
}

int64_t lt_stream_units(const lt_stream *stream) { return stream->dim[stream->time_axis]; }

lt_status lt_clip_new_ranges(const lt_plan *plan, const lt_range *range, lt_clip *out)
{
    memset(out, 0, sizeof *out);
    out->count = plan->stream_count;
    for (int s = 0; s < plan->stream_count; s++) {
        const lt_stream *stream = &plan->stream[s];
        assert(range[s].first >= 0 && range[s].first + range[s].count <= lt_stream_units(stream));
        out->range[s] = range[s];
        out->elements[s] = lt_stream_outer(stream) * range[s].count * lt_stream_inner(stream);
        if (out->elements[s] == 0)
            continue;
        out->data[s] = calloc((size_t)out->elements[s], sizeof(float));
        if (out->data[s] == NULL) {
            lt_clip_free(out);
            LT_FAIL(
                LT_ENOMEM, "latents '%s': no memory for %lld values", stream->name,
                (long long)(lt_stream_outer(stream) * range[s].count * lt_stream_inner(stream)));
        }
    }
    return LT_OK;
}

lt_status lt_clip_new(const lt_plan *plan, lt_clip *out)
{
    lt_range whole[LT_STREAMS_MAX] = {{0, 0}};
    for (int s = 0; s < plan->stream_count; s++)
        whole[s].count = lt_stream_units(&plan->stream[s]);
    LT_TRY(lt_clip_new_ranges(plan, whole, out));
    return LT_OK;
}

void lt_clip_free(lt_clip *clip)
{
    for (int s = 0; s < LT_STREAMS_MAX; s++)
        free(clip->data[s]);
    memset(clip, 0, sizeof *clip);
}

void lt_stream_noise(const lt_stream *stream, uint64_t seed, uint32_t kind, lt_range range,
                     float *out)
{
    if (range.count == 0)
        return;
    if (stream->is_audio) {
        assert(stream->ndim == 3 && stream->dim[0] == 2);
        lt_noise_audio(seed, kind + LT_STREAM_AUDIO, 0, range.first, stream->dim[1], range.count,
                       out);
    } else {
        assert(stream->ndim == 4);
        lt_noise_video(seed, kind, 0, range.first, stream->dim[0], range.count, stream->dim[2],
                       stream->dim[3], out);
    }
}

void lt_clip_noise(const lt_plan *plan, lt_clip *clip)
{
    const uint32_t kind =
        plan->windowing.mode == LT_MODE_REFINE ? LT_STREAM_STAGE2 : LT_STREAM_INITIAL;
    for (int s = 0; s < clip->count; s++)
        lt_stream_noise(&plan->stream[s], plan->seed, kind, clip->range[s], clip->data[s]);
}

void lt_stream_copy(const lt_stream *stream, lt_range what, const float *from, lt_range from_has,
                    float *to, lt_range to_has)
{
    assert(what.count == 0 || (what.first >= from_has.first && what.first >= to_has.first));
    assert(what.first + what.count <= from_has.first + from_has.count);
    assert(what.first + what.count <= to_has.first + to_has.count);
    const int64_t outer = lt_stream_outer(stream), inner = lt_stream_inner(stream);
    const size_t bytes = (size_t)(what.count * inner) * sizeof *to;
    for (int64_t o = 0; o < outer; o++)
        memcpy(to + (o * to_has.count + what.first - to_has.first) * inner,
               from + (o * from_has.count + what.first - from_has.first) * inner, bytes);
}

void lt_clip_copy(const lt_plan *plan, const lt_clip *from, lt_clip *to)
{
    for (int s = 0; s < to->count; s++)
        if (to->elements[s] > 0)
            lt_stream_copy(&plan->stream[s], to->range[s], from->data[s], from->range[s],
                           to->data[s], to->range[s]);
}
