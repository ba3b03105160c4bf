/* mux_whole.c - a plain MP4 or MOV of a finished fragmented one.
 * Packets are copied, not encoded again. The sample tables stand in front of the data
 * (`faststart`), so that a file on a web server plays at once. Edit lists are written anew from the
 * packets' times: both streams begin at 0 and last as long as the film. Memory grows by some 50
 * bytes a packet (the tables). */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/mux_internal.h"

typedef struct rewrite {
    AVFormatContext *from, *to;
    AVPacket *packet;
    lt_new_file made;
    /* "file:PATH", so that no colon is taken for a protocol; PATH is the file's whatever its name
     */
    char from_url[LT_PATH_BYTES + 8], to_url[LT_PATH_BYTES + 8];
} rewrite;

static lt_status av_error(const char *path, const char *what, int code)
{
    LT_FAIL(code == AVERROR(ENOMEM) ? LT_ENOMEM : LT_EIO, "%s: %s: %s", path, what,
            av_err2str(code));
}

static lt_status names_make(rewrite *r, const lt_new_file *from)
{
    char via[LT_PATH_BYTES];
    LT_TRY(lt_new_file_via(from, via, sizeof via));
    snprintf(r->from_url, sizeof r->from_url, "file:%s", via);
    LT_TRY(lt_new_file_open(from->path, &r->made));
    LT_TRY(lt_new_file_via(&r->made, via, sizeof via));
    snprintf(r->to_url, sizeof r->to_url, "file:%s", via);
    r->packet = av_packet_alloc();
    if (!r->packet)
        LT_FAIL(LT_ENOMEM, "%s: no memory for a packet", from->path);
    return LT_OK;
}

static lt_status streams_copy(rewrite *r, const char *path)
{
    for (unsigned i = 0; i < r->from->nb_streams; i++) {
        const AVStream *from = r->from->streams[i];
        AVStream *to = avformat_new_stream(r->to, NULL);
        if (!to || avcodec_parameters_copy(to->codecpar, from->codecpar) < 0)
            LT_FAIL(LT_ENOMEM, "%s: no memory for a stream", path);
        to->time_base = from->time_base;
        to->avg_frame_rate = from->avg_frame_rate;
        to->sample_aspect_ratio = from->sample_aspect_ratio;
    }
    return LT_OK;
}

static lt_status packets_copy(rewrite *r, const char *path)
{
    for (;;) {
        int code = av_read_frame(r->from, r->packet);
        if (code == AVERROR_EOF)
            return LT_OK;
        if (code < 0)
            return av_error(path, "reading back", code);
        const int i = r->packet->stream_index;
        av_packet_rescale_ts(r->packet, r->from->streams[i]->time_base,
                             r->to->streams[i]->time_base);
        r->packet->pos = -1;
        code = av_interleaved_write_frame(r->to, r->packet);
        if (code < 0)
            return av_error(path, "writing", code);
    }
}

static lt_status rewrite_run(rewrite *r, const char *path, const char *muxer, int timescale,
                             const AVDictionary *tags)
{
    int code = avformat_open_input(&r->from, r->from_url, NULL, NULL);
    if (code < 0 || (code = avformat_find_stream_info(r->from, NULL)) < 0)
        return av_error(path, "reading back", code);
    if (avformat_alloc_output_context2(&r->to, NULL, muxer, r->to_url) < 0)
        LT_FAIL(LT_ENOMEM, "%s: no memory for a muxer", path);
    r->to->flags |= AVFMT_FLAG_BITEXACT; /* as in mux.c */
    LT_TRY(streams_copy(r, path));
    code = avio_open(&r->to->pb, r->to_url, AVIO_FLAG_WRITE);
    if (code < 0)
        return av_error(path, "creating", code);
    AVDictionary *options = NULL;
    const int failed = av_dict_set(&options, "movflags", "faststart", 0) < 0 ||
                       av_dict_set_int(&options, "movie_timescale", timescale, 0) < 0;
    code = av_dict_copy(&r->to->metadata, tags, 0);
    if (code >= 0)
        code = failed ? AVERROR(ENOMEM) : avformat_write_header(r->to, &options);
    av_dict_free(&options);
    if (code < 0)
        return av_error(path, "writing the head", code);
    LT_TRY(packets_copy(r, path));
    code = av_write_trailer(r->to);
    if (code < 0)
        return av_error(path, "finishing", code);
    code = avio_closep(&r->to->pb);
    if (code < 0)
        return av_error(path, "closing", code);
    return LT_OK;
}

lt_status lt_mux_whole(const lt_new_file *from, const char *muxer, int timescale,
                       const AVDictionary *tags, lt_replace replace)
{
    assert(from && muxer);
    rewrite *r = calloc(1, sizeof *r);
    if (!r)
        LT_FAIL(LT_ENOMEM, "%s: no memory", from->path);
    lt_status status = names_make(r, from);
    if (status == LT_OK)
        status = rewrite_run(r, from->path, muxer, timescale, tags);
    if (status == LT_OK)
        status = lt_new_file_done(&r->made, replace);
    if (r->to) {
        avio_closep(&r->to->pb);
        avformat_free_context(r->to);
    }
    lt_new_file_drop(&r->made);
    avformat_close_input(&r->from);
    av_packet_free(&r->packet);
    free(r);
    return status;
}
