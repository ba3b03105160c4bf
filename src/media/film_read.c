/* film_read.c - a finished film, frame by frame and sample by sample.
 *
 *   file --pread--> AVIOContext --> demuxer --packets--> two decoders --frames--> 4:2:0 8 bit, f32
 *   film_read_io.c                  here                               film_read_convert.c */
#include "media/film_read.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "media/film_read_internal.h"
#include "media/mux_log.h"

enum {
    THREADS = 4,         /* of the video's decoder */
    EMPTY_MAX = 1 << 20, /* packets in a row that bring nothing */
    CHANNELS_MAX = 64
};
#define PIXELS_MAX_TEXT "67108864" /* LT_FILM_PIXELS_MAX, as FFmpeg's option wants it */

static const char *const stream_names[STREAMS] = {"video", "audio"};

/* ---- opening ---- */

/* FFmpeg decodes a little to find out about streams: with our limits. */
static int find_streams(lt_film *f)
{
    const unsigned n = f->format->nb_streams;
    AVDictionary **limits = n > 0 ? av_calloc(n, sizeof *limits) : NULL;
    if (n > 0 && limits == NULL)
        return AVERROR(ENOMEM);
    for (unsigned i = 0; i < n; i++) {
        (void)av_dict_set(&limits[i], "max_pixels", PIXELS_MAX_TEXT, 0);
        (void)av_dict_set(&limits[i], "threads", "1", 0);
    }
    const int code = avformat_find_stream_info(f->format, limits);
    for (unsigned i = 0; i < n; i++)
        av_dict_free(&limits[i]);
    av_free(limits);
    return code;
}

/* Known lists of other files: said so before they are opened. What is not here ends at io_open. */
static int is_list(const AVInputFormat *format)
{
    static const char *const names[] = {"hls", "concat", "dash", "imf", "sdp", "rtsp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(format->name, names[i]) == 0)
            return 1;
    return (format->flags & AVFMT_NOFILE) != 0;
}

static lt_status open_format(lt_film *f)
{
    AVDictionary *options = NULL;
    const AVInputFormat *kind = NULL;
    static_assert(LT_FILM_PIXELS_MAX == 67108864, "as PIXELS_MAX_TEXT says");
    (void)av_dict_set(&options, "protocol_whitelist", "none", 0);
    int code = av_probe_input_buffer2(f->io, &kind, NULL, NULL, 0, 0);
    f->refused = code >= 0 && is_list(kind);
    if (code >= 0 && !f->refused) /* frees format if it fails */
        code = avformat_open_input(&f->format, NULL, kind, &options);
    av_dict_free(&options);
    if (f->refused)
        return lt_film_fail(f, code, "");
    if (code < 0)
        return lt_film_fail(f, code, "want a film, found nothing that FFmpeg knows");
    code = find_streams(f);
    if (code < 0)
        return lt_film_fail(f, code, "its streams");
    f->facts.container = f->format->iformat->name;
    for (unsigned i = 0; i < f->format->nb_streams; i++)
        f->format->streams[i]->discard = AVDISCARD_ALL;
    return LT_OK;
}

static lt_status check_video(lt_film *f, const AVStream *s)
{
    const AVCodecParameters *p = s->codecpar;
    if (p->width < 1 || p->height < 1 || p->width > LT_FILM_SIDE_MAX ||
        p->height > LT_FILM_SIDE_MAX || (int64_t)p->width * p->height > LT_FILM_PIXELS_MAX)
        LT_FAIL(LT_EDATA, "%s: want frames of 1 to %d pixels each way, %d in all, found %dx%d",
                f->path, LT_FILM_SIDE_MAX, LT_FILM_PIXELS_MAX, p->width, p->height);
    const AVRational rate =
        av_guess_frame_rate(f->format, f->format->streams[f->stream[VIDEO]], NULL);
    const double fps = rate.den > 0 ? av_q2d(rate) : 0;
    if (!(fps >= 0.1 && fps <= 1000))
        LT_FAIL(LT_EDATA, "%s: want 0.1 to 1000 frames a second, found %d/%d", f->path, rate.num,
                rate.den);
    f->facts.width = p->width;
    f->facts.height = p->height;
    f->facts.fps = fps;
    f->facts.frames = s->nb_frames > 0 ? s->nb_frames : 0;
    f->facts.video_codec = avcodec_get_name(p->codec_id);
    return LT_OK;
}

static lt_status check_audio(lt_film *f, const AVStream *s)
{
    const AVCodecParameters *p = s->codecpar;
    if (p->sample_rate < LT_FILM_RATE_MIN || p->sample_rate > LT_FILM_RATE_MAX ||
        p->ch_layout.nb_channels < 1 || p->ch_layout.nb_channels > CHANNELS_MAX)
        LT_FAIL(LT_EDATA,
                "%s: want audio of %d to %d samples a second, 1 to %d channels, found %d, %d",
                f->path, LT_FILM_RATE_MIN, LT_FILM_RATE_MAX, CHANNELS_MAX, p->sample_rate,
                p->ch_layout.nb_channels);
    f->facts.sample_rate = p->sample_rate;
    f->facts.channels = p->ch_layout.nb_channels == 1 ? 1 : 2;
    f->facts.audio_codec = avcodec_get_name(p->codec_id);
    return LT_OK;
}

static lt_status open_decoder(lt_film *f, int which)
{
    AVStream *s = f->format->streams[f->stream[which]];
    LT_TRY(which == VIDEO ? check_video(f, s) : check_audio(f, s));
    const AVCodec *codec = avcodec_find_decoder(s->codecpar->codec_id);
    if (codec == NULL)
        LT_FAIL(LT_EUNAVAIL, "%s: its %s is %s, for which this FFmpeg has no decoder", f->path,
                stream_names[which], avcodec_get_name(s->codecpar->codec_id));
    AVCodecContext *c = avcodec_alloc_context3(codec);
    f->decoder[which] = c;
    if (c == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for a decoder", f->path);
    int code = avcodec_parameters_to_context(c, s->codecpar);
    c->pkt_timebase = s->time_base;
    c->max_pixels = LT_FILM_PIXELS_MAX;
    c->max_samples = LT_FILM_BLOCK_MAX;
    c->thread_count = which == VIDEO ? THREADS : 1;
    if (code >= 0)
        code = avcodec_open2(c, codec, NULL);
    if (code < 0)
        return lt_film_fail(f, code, which == VIDEO ? "its video" : "its audio");
    s->discard = AVDISCARD_DEFAULT;
    return LT_OK;
}

static int is_cover(const AVStream *s)
{
    return (s->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0;
}

/* Of the best streams; a cover is no video. */
static lt_status choose_streams(lt_film *f)
{
    const AVFormatContext *format = f->format;
    f->stream[VIDEO] = av_find_best_stream(f->format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    f->stream[AUDIO] = av_find_best_stream(f->format, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0);
    if (f->stream[VIDEO] >= 0 && is_cover(format->streams[f->stream[VIDEO]])) {
        f->stream[VIDEO] = -1;
        for (int i = (int)format->nb_streams - 1; i >= 0; i--)
            if (format->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
                !is_cover(format->streams[i]))
                f->stream[VIDEO] = i;
    }
    if (f->stream[VIDEO] < 0)
        LT_FAIL(LT_EDATA, "%s: want a film, found %s without video", f->path, f->facts.container);
    LT_TRY(open_decoder(f, VIDEO));
    f->done[AUDIO] = f->stream[AUDIO] < 0;
    if (f->stream[AUDIO] >= 0)
        LT_TRY(open_decoder(f, AUDIO));
    return LT_OK;
}

static lt_status make_room(lt_film *f)
{
    const size_t luma = (size_t)f->facts.width * (size_t)f->facts.height;
    const size_t chroma = (size_t)((f->facts.width + 1) / 2) * (size_t)((f->facts.height + 1) / 2);
    int whole = (f->packet = av_packet_alloc()) != NULL;
    for (int i = 0; i < STREAMS; i++)
        whole &= (f->frame[i] = av_frame_alloc()) != NULL;
    whole &= (f->plain = av_frame_alloc()) != NULL;
    for (int i = 0; i < 3; i++)
        whole &= (f->planes[i] = malloc(i == 0 ? luma : chroma)) != NULL;
    if (!whole)
        LT_FAIL(LT_ENOMEM, "%s: no memory for frames of %dx%d", f->path, f->facts.width,
                f->facts.height);
    return LT_OK;
}

static lt_status open_all(lt_film *f)
{
    LT_TRY(lt_film_io_open(f));
    LT_TRY(open_format(f));
    LT_TRY(choose_streams(f));
    LT_TRY(make_room(f));
    return LT_OK;
}

lt_status lt_film_open(const char *path, lt_film **out)
{
    *out = NULL;
    if (strlen(path) >= LT_PATH_BYTES)
        LT_FAIL(LT_ENOINPUT, "%.200s...: a path of %zu bytes is too long", path, strlen(path));
    lt_film *f = calloc(1, sizeof *f);
    if (f == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory", path);
    (void)snprintf(f->path, sizeof f->path, "%s", path);
    f->fd = -1;
    lt_mux_log_open();
    char words[256];
    lt_mux_log_last(words, sizeof words); /* what was said before is none of this film's */
    const lt_status st = open_all(f);
    if (st != LT_OK)
        lt_film_close(&f);
    LT_TRY(st);
    *out = f;
    return LT_OK;
}

void lt_film_close(lt_film **film)
{
    lt_film *f = *film;
    *film = NULL;
    if (f == NULL)
        return;
    av_packet_free(&f->packet);
    for (int i = 0; i < STREAMS; i++) {
        av_frame_free(&f->frame[i]);
        avcodec_free_context(&f->decoder[i]);
    }
    av_frame_free(&f->plain);
    avformat_close_input(&f->format);
    if (f->io != NULL)
        av_freep(&f->io->buffer); /* FFmpeg may have replaced it */
    avio_context_free(&f->io);
    sws_freeContext(f->to_plain);
    sws_freeContext(f->to_rgb);
    swr_free(&f->resampler);
    av_channel_layout_uninit(&f->layout);
    for (int i = 0; i < 3; i++)
        free(f->planes[i]);
    free(f->pcm[0]);
    free(f->pcm[1]);
    if (f->fd >= 0)
        (void)close(f->fd);
    free(f);
}

const lt_film_facts *lt_film_look(const lt_film *film) { return &film->facts; }

/* ---- the way through ---- */

/* What a decoder has by now. *got: something came. */
static lt_status receive(lt_film *f, int which, lt_film_event *event, int *got)
{
    const int code = avcodec_receive_frame(f->decoder[which], f->frame[which]);
    *got = code >= 0;
    if (code == AVERROR_EOF)
        f->done[which] = 1;
    if (code == AVERROR_EOF || code == AVERROR(EAGAIN))
        return LT_OK;
    if (code >= 0)
        return which == VIDEO ? lt_film_take_frame(f, event) : lt_film_take_samples(f, event);
    char what[64];
    (void)snprintf(what, sizeof what, which == VIDEO ? "frame %lld" : "audio sample %lld",
                   (long long)f->count[which]);
    return lt_film_fail(f, code, what);
}

/* One packet to its decoder, or the end to both. */
static lt_status feed(lt_film *f)
{
    int code = av_read_frame(f->format, f->packet);
    if (code == AVERROR_EOF || (code < 0 && f->io_errno == 0 && f->at >= f->bytes)) {
        f->draining = 1;
        f->ends_short = code != AVERROR_EOF;
        for (int i = 0; i < STREAMS; i++)
            if (!f->done[i])
                (void)avcodec_send_packet(f->decoder[i], NULL);
        return LT_OK;
    }
    if (code < 0)
        return lt_film_fail(f, code, "its packets");
    int which = f->packet->stream_index == f->stream[VIDEO]   ? VIDEO
                : f->packet->stream_index == f->stream[AUDIO] ? AUDIO
                                                              : STREAMS;
    const int damaged = which < STREAMS && (f->packet->flags & AV_PKT_FLAG_CORRUPT) != 0;
    if (which < STREAMS && !f->done[which] && !damaged)
        code = avcodec_send_packet(f->decoder[which], f->packet);
    av_packet_unref(f->packet);
    if (damaged)
        LT_FAIL(LT_EDATA, "%s: its %s is cut off or damaged behind %s %lld", f->path,
                stream_names[which], which == VIDEO ? "frame" : "sample",
                (long long)f->count[which]);
    if (code < 0) {
        char what[64];
        (void)snprintf(what, sizeof what, "its %s behind %s %lld", stream_names[which],
                       which == VIDEO ? "frame" : "sample", (long long)f->count[which]);
        return lt_film_fail(f, code, what);
    }
    return LT_OK;
}

lt_status lt_film_next(lt_film *f, lt_film_event *event)
{
    *event = (lt_film_event){.kind = LT_FILM_END};
    for (int empty = 0; empty < EMPTY_MAX; empty++) {
        for (int i = 0; i < STREAMS; i++) {
            int got = 0;
            if (f->done[i])
                continue;
            LT_TRY(receive(f, i, event, &got));
            if (got)
                return LT_OK;
        }
        if (f->done[VIDEO] && f->done[AUDIO]) {
            if (f->count[VIDEO] == 0)
                LT_FAIL(LT_EDATA, "%s: want a film, found no frame that can be decoded", f->path);
            if (f->ends_short && f->count[VIDEO] < f->facts.frames)
                LT_FAIL(LT_EDATA, "%s: want %lld frames, found the end of the file behind %lld",
                        f->path, (long long)f->facts.frames, (long long)f->count[VIDEO]);
            return LT_OK;
        }
        if (!f->draining)
            LT_TRY(feed(f));
    }
    LT_FAIL(LT_EDATA, "%s: %d packets in a row bring neither frame nor sample", f->path, EMPTY_MAX);
}
