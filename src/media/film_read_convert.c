/* film_read_convert.c - what a decoder gave becomes 8-bit 4:2:0 planes and f32 samples. */
#include <libavutil/pixdesc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/film_read_internal.h"

enum { RGB_SIDE_MAX = 4096 };

/* ---- a frame ---- */

static void note_start(lt_film *f, int which)
{
    if (f->count[which] > 0)
        return;
    const int64_t at = f->frame[which]->best_effort_timestamp;
    const AVStream *s = f->format->streams[f->stream[which]];
    f->first_s[which] = at != AV_NOPTS_VALUE ? (double)at * av_q2d(s->time_base) : 0;
    if (f->count[!which] > 0) {
        const double start = f->first_s[AUDIO] - f->first_s[VIDEO];
        f->facts.audio_start_s = fabs(start) < 3600 ? start : 0;
    }
}

/* A context that takes the frame to another format and size; BT.709, the frame's own range. */
static struct SwsContext *converter(struct SwsContext *old, const AVFrame *from, int width,
                                    int height, enum AVPixelFormat format)
{
    struct SwsContext *c =
        sws_getCachedContext(old, from->width, from->height, from->format, width, height, format,
                             SWS_AREA | SWS_ACCURATE_RND, NULL, NULL, NULL);
    const int *matrix = sws_getCoefficients(SWS_CS_ITU709);
    const int is_rgb = format == AV_PIX_FMT_GBRP;
    if (c != NULL)
        (void)sws_setColorspaceDetails(c, matrix, from->color_range == AVCOL_RANGE_JPEG, matrix,
                                       is_rgb, 0, 1 << 16, 1 << 16);
    return c;
}

static void copy_plane(uint8_t *to, const AVFrame *from, int plane, int width, int height)
{
    for (int y = 0; y < height; y++)
        memcpy(to + (int64_t)y * width, from->data[plane] + (ptrdiff_t)y * from->linesize[plane],
               (size_t)width);
}

static lt_status check_frame(lt_film *f, const AVFrame *frame)
{
    if (frame->width != f->facts.width || frame->height != f->facts.height)
        LT_FAIL(LT_EDATA, "%s: frame %lld: want %dx%d as the first one, found %dx%d", f->path,
                (long long)f->count[VIDEO], f->facts.width, f->facts.height, frame->width,
                frame->height);
    if (frame->decode_error_flags != 0 || (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0)
        LT_FAIL(LT_EDATA, "%s: frame %lld is damaged", f->path, (long long)f->count[VIDEO]);
    if (!sws_isSupportedInput(frame->format))
        LT_FAIL(LT_EDATA, "%s: frame %lld: its pixels are %s, which cannot be converted", f->path,
                (long long)f->count[VIDEO], av_get_pix_fmt_name(frame->format));
    return LT_OK;
}

lt_status lt_film_take_frame(lt_film *f, lt_film_event *event)
{
    const AVFrame *frame = f->frame[VIDEO], *from = frame;
    const int w = f->facts.width, h = f->facts.height, cw = (w + 1) / 2, ch = (h + 1) / 2;
    LT_TRY(check_frame(f, frame));
    note_start(f, VIDEO);
    if (frame->format != AV_PIX_FMT_YUV420P || frame->color_range == AVCOL_RANGE_JPEG) {
        f->to_plain = converter(f->to_plain, frame, w, h, AV_PIX_FMT_YUV420P);
        if (f->plain->data[0] == NULL) {
            f->plain->format = AV_PIX_FMT_YUV420P;
            f->plain->width = w;
            f->plain->height = h;
            if (av_frame_get_buffer(f->plain, 0) < 0)
                LT_FAIL(LT_ENOMEM, "%s: no memory for a frame of %dx%d", f->path, w, h);
        }
        if (f->to_plain == NULL ||
            sws_scale(f->to_plain, (const uint8_t *const *)frame->data, frame->linesize, 0, h,
                      f->plain->data, f->plain->linesize) != h)
            LT_FAIL(LT_EDATA, "%s: frame %lld cannot be converted from %s", f->path,
                    (long long)f->count[VIDEO], av_get_pix_fmt_name(frame->format));
        from = f->plain;
    }
    copy_plane(f->planes[0], from, 0, w, h);
    copy_plane(f->planes[1], from, 1, cw, ch);
    copy_plane(f->planes[2], from, 2, cw, ch);
    f->count[VIDEO]++;
    *event = (lt_film_event){.kind = LT_FILM_VIDEO,
                             .luma = f->planes[0],
                             .cb = f->planes[1],
                             .cr = f->planes[2],
                             .width = w,
                             .height = h,
                             .chroma_width = cw,
                             .chroma_height = ch};
    return LT_OK;
}

lt_status lt_film_rgb(lt_film *f, int width, int height, uint8_t *rgb)
{
    const AVFrame *frame = f->frame[VIDEO];
    if (f->count[VIDEO] == 0 || frame->data[0] == NULL || width < 1 || height < 1 ||
        width > RGB_SIDE_MAX || height > RGB_SIDE_MAX)
        LT_FAIL(LT_ESHAPE, "%s: want a frame in 1 to %d pixels each way, found %dx%d", f->path,
                RGB_SIDE_MAX, width, height);
    AVFrame *to = av_frame_alloc();
    if (to != NULL) {
        to->format = AV_PIX_FMT_GBRP;
        to->width = width;
        to->height = height;
    }
    if (to == NULL || av_frame_get_buffer(to, 0) < 0) {
        av_frame_free(&to);
        LT_FAIL(LT_ENOMEM, "%s: no memory for a frame of %dx%d", f->path, width, height);
    }
    f->to_rgb = converter(f->to_rgb, frame, width, height, AV_PIX_FMT_GBRP);
    const int made = f->to_rgb != NULL
                         ? sws_scale(f->to_rgb, (const uint8_t *const *)frame->data,
                                     frame->linesize, 0, frame->height, to->data, to->linesize)
                         : -1;
    static const int plane_of[3] = {2, 0, 1}; /* GBRP: green, blue, red */
    for (int c = 0; c < 3 && made == height; c++)
        copy_plane(rgb + (int64_t)c * width * height, to, plane_of[c], width, height);
    av_frame_free(&to);
    if (made != height)
        LT_FAIL(LT_EDATA, "%s: frame %lld cannot be converted from %s", f->path,
                (long long)f->count[VIDEO] - 1, av_get_pix_fmt_name(frame->format));
    return LT_OK;
}

/* ---- samples ---- */

/* The first block decides; one that differs later is refused. */
static lt_status open_resampler(lt_film *f, AVFrame *frame)
{
    const int is_mono = f->facts.channels == 1;
    AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO, stereo = AV_CHANNEL_LAYOUT_STEREO;
    int code = av_channel_layout_copy(&f->layout, &frame->ch_layout);
    f->sample_format = frame->format;
    AVChannelLayout from = {0};
    if (frame->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&from, frame->ch_layout.nb_channels);
    else if (code >= 0)
        code = av_channel_layout_copy(&from, &frame->ch_layout);
    /* A frame of one channel needs no mixing, whatever its layout calls it. */
    if (code >= 0 && is_mono && from.nb_channels == 1)
        from = mono;
    if (code >= 0)
        code = swr_alloc_set_opts2(&f->resampler, is_mono ? &mono : &stereo, AV_SAMPLE_FMT_FLTP,
                                   f->facts.sample_rate, &from, frame->format, f->facts.sample_rate,
                                   0, NULL);
    if (code >= 0)
        code = swr_init(f->resampler);
    av_channel_layout_uninit(&from);
    return code >= 0 ? LT_OK : lt_film_fail(f, code, "its audio cannot be mixed to two channels");
}

static lt_status check_block(lt_film *f, AVFrame *frame)
{
    if (frame->nb_samples < 0 || frame->nb_samples > LT_FILM_BLOCK_MAX)
        LT_FAIL(LT_EDATA, "%s: audio sample %lld: want at most %d samples in a block, found %d",
                f->path, (long long)f->count[AUDIO], LT_FILM_BLOCK_MAX, frame->nb_samples);
    if (frame->decode_error_flags != 0 || (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0)
        LT_FAIL(LT_EDATA, "%s: audio sample %lld is damaged", f->path, (long long)f->count[AUDIO]);
    if (frame->sample_rate != f->facts.sample_rate ||
        (frame->ch_layout.nb_channels == 1) != (f->facts.channels == 1))
        LT_FAIL(LT_EDATA,
                "%s: audio sample %lld: want %d samples a second in %d channels, found %d, %d",
                f->path, (long long)f->count[AUDIO], f->facts.sample_rate, f->facts.channels,
                frame->sample_rate, frame->ch_layout.nb_channels);
    if (f->resampler == NULL)
        return open_resampler(f, frame);
    if (frame->format != f->sample_format ||
        av_channel_layout_compare(&frame->ch_layout, &f->layout) != 0)
        LT_FAIL(LT_EDATA, "%s: audio sample %lld: its format changes", f->path,
                (long long)f->count[AUDIO]);
    return LT_OK;
}

lt_status lt_film_take_samples(lt_film *f, lt_film_event *event)
{
    AVFrame *frame = f->frame[AUDIO];
    LT_TRY(check_block(f, frame));
    note_start(f, AUDIO);
    if (frame->nb_samples > f->pcm_room)
        for (int c = 0; c < 2; c++) {
            float *room = realloc(f->pcm[c], (size_t)frame->nb_samples * sizeof *room);
            if (room == NULL)
                LT_FAIL(LT_ENOMEM, "%s: no memory for %d samples", f->path, frame->nb_samples);
            f->pcm[c] = room;
        }
    f->pcm_room = frame->nb_samples > f->pcm_room ? frame->nb_samples : f->pcm_room;
    uint8_t *to[2] = {(uint8_t *)f->pcm[0], (uint8_t *)f->pcm[1]};
    const int n = swr_convert(f->resampler, to, f->pcm_room,
                              (const uint8_t **)(uintptr_t)frame->extended_data, frame->nb_samples);
    if (n < 0)
        return lt_film_fail(f, n, "its audio cannot be converted");
    for (int c = 0; c < f->facts.channels; c++)
        for (int i = 0; i < n; i++)
            if (!isfinite(f->pcm[c][i]))
                LT_FAIL(LT_EDATA, "%s: audio sample %lld is no number", f->path,
                        (long long)f->count[AUDIO] + i);
    f->count[AUDIO] += n;
    *event = (lt_film_event){
        .kind = LT_FILM_AUDIO, .pcm = {f->pcm[0], f->pcm[f->facts.channels - 1]}, .samples = n};
    return LT_OK;
}
