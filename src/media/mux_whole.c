/* mux_whole.c - a plain MP4 or MOV of a finished fragmented one.                  Level 3: media
 * Packets are copied, not encoded again. The sample tables stand in front of the data
 * (`faststart`), so that a file on a web server plays at once. Edit lists are written anew from the
 * packets' times: both streams begin at 0 and last as long as the film. Memory grows by some 50
 * bytes a packet (the tables). */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "media/mux_internal.h"

typedef struct rewrite {
    AVFormatContext *from, *to;
    AVPacket *packet;
    char *from_url, *to_url; /* "file:PATH", so that a colon in PATH is not taken for a protocol */
    const char *to_path;     /* inside to_url */
} rewrite;

static lt_status av_error(const char *path, const char *what, int code)
{
    LT_FAIL(code == AVERROR(ENOMEM) ? LT_ENOMEM : LT_EIO, "%s: %s: %s", path, what,
            av_err2str(code));
}

static lt_status names_make(rewrite *r, const char *path)
{
    const size_t bytes = strlen(path) + sizeof "file:.whole";
    r->from_url = malloc(bytes);
    r->to_url = malloc(bytes);
    r->packet = av_packet_alloc();
    if (!r->from_url || !r->to_url || !r->packet)
        LT_FAIL(LT_ENOMEM, "no memory for a path");
    snprintf(r->from_url, bytes, "file:%s", path);
    snprintf(r->to_url, bytes, "file:%s.whole", path);
    r->to_path = r->to_url + strlen("file:");
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
            return av_error(r->to_path, "writing", code);
    }
}

static lt_status rewrite_run(rewrite *r, const char *path, const char *muxer, int timescale,
                             const AVDictionary *tags)
{
    LT_TRY(names_make(r, path));
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the names are r's, its closing frees them. */
    int code = avformat_open_input(&r->from, r->from_url, NULL, NULL);
    if (code < 0 || (code = avformat_find_stream_info(r->from, NULL)) < 0)
        return av_error(path, "reading back", code);
    if (avformat_alloc_output_context2(&r->to, NULL, muxer, r->to_url) < 0)
        LT_FAIL(LT_ENOMEM, "%s: no memory for a muxer", path);
    r->to->flags |= AVFMT_FLAG_BITEXACT; /* as in mux.c */
    LT_TRY(streams_copy(r, path));
    code = avio_open(&r->to->pb, r->to_url, AVIO_FLAG_WRITE);
    if (code < 0)
        return av_error(r->to_path, "creating", code);
    AVDictionary *options = NULL;
    av_dict_set(&options, "movflags", "faststart", 0);
    av_dict_set_int(&options, "movie_timescale", timescale, 0);
    code = av_dict_copy(&r->to->metadata, tags, 0);
    if (code >= 0)
        code = avformat_write_header(r->to, &options);
    av_dict_free(&options);
    if (code < 0)
        return av_error(r->to_path, "writing the head", code);
    LT_TRY(packets_copy(r, path));
    code = av_write_trailer(r->to);
    if (code < 0)
        return av_error(r->to_path, "finishing", code);
    code = avio_closep(&r->to->pb);
    if (code < 0)
        return av_error(r->to_path, "closing", code);
    return LT_OK;
}

/* The rewritten file's bytes on disk, then its name. */
static lt_status rewrite_publish(const rewrite *r, const char *path)
{
    const int fd = open(r->to_path, O_RDONLY | O_CLOEXEC);
    const int bad = fd < 0 || fdatasync(fd);
    const int saved = errno;
    if (fd >= 0)
        (void)close(fd);
    if (bad)
        LT_FAIL(LT_EIO, "%s: %s", r->to_path, strerror(saved));
    if (rename(r->to_path, path))
        LT_FAIL(LT_EIO, "%s: renaming: %s", r->to_path, strerror(errno));
    return LT_OK;
}

lt_status lt_mux_whole(const char *path, const char *muxer, int timescale, const AVDictionary *tags)
{
    assert(path && muxer);
    rewrite r = {0};
    lt_status status = rewrite_run(&r, path, muxer, timescale, tags);
    if (status == LT_OK)
        status = rewrite_publish(&r, path);
    if (r.to) {
        avio_closep(&r.to->pb);
        avformat_free_context(r.to);
    }
    if (status != LT_OK && r.to_path)
        (void)unlink(r.to_path);
    avformat_close_input(&r.from);
    av_packet_free(&r.packet);
    free(r.from_url);
    free(r.to_url);
    return status;
}
