/* mux.c - the file: its head, its streams, its end.
 *
 *   rgb frame --> mux_video.c --> video encoder --+
 *                 (copy, convert)                     |--> mux_packets.c --> write_bytes --> fd
 *   pcm ------> mux_audio.c ----> audio encoder ------+    (interleave)
 *               (pad, cut into the encoder's blocks)
 *
 * Bytes reach the file through our own callbacks, not through FFmpeg's file protocol: so errno of
 * the first failing write is known, a path with a colon is a path, and the head can be amended.
 *
 * MP4 and MOV are written as fragments of two seconds. `delay_moov` holds the head back until the
 * first fragment is there, which is what makes this FFmpeg write edit lists into a fragmented file:
 * H.264's reordering and AAC's priming are then cut by players, and both streams begin at 0 (plain
 * `empty_moov` has no edit lists: the audio is 32 ms late). mux_boxes.c adds what FFmpeg's own
 * reader needs. In a fragmented file ffprobe still counts the padding into the audio's duration,
 * and no reader knows the number of frames before the end; so a finished file is made plain by
 * mux_whole.c. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "media/mux_internal.h"

enum { BUFFER_BYTES = 1 << 16 };

/* What a write callback is given: FFmpeg 7 made the bytes const. */
#if LIBAVFORMAT_VERSION_MAJOR >= 61
typedef const uint8_t given_byte;
#else
typedef uint8_t given_byte;
#endif

static int write_bytes(void *opaque, given_byte *data, int bytes)
{
    lt_mux *mux = opaque;
    int done = 0;
    while (done < bytes) {
        const ssize_t n = write(mux->fd, data + done, (size_t)(bytes - done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (!mux->io_errno)
                mux->io_errno = n < 0 ? errno : ENOSPC;
            return AVERROR(mux->io_errno);
        }
        done += (int)n;
    }
    const off_t at = lseek(mux->fd, 0, SEEK_CUR);
    if (at > mux->bytes)
        mux->bytes = at;
    return bytes;
}

static int64_t seek_bytes(void *opaque, int64_t offset, int whence)
{
    lt_mux *mux = opaque;
    if (whence & AVSEEK_SIZE)
        return mux->bytes;
    const off_t at = lseek(mux->fd, offset, whence & ~AVSEEK_FORCE);
    return at < 0 ? AVERROR(errno) : at;
}

static lt_status open_file(lt_mux *mux, const char *path)
{
    mux->path = strdup(path);
    if (!mux->path)
        LT_FAIL(LT_ENOMEM, "no memory for a path");
    LT_TRY(lt_new_file_open(path, &mux->made));
    mux->fd = mux->made.fd;
    if (avformat_alloc_output_context2(&mux->file, NULL, mux->plan.muxer, NULL) < 0)
        LT_FAIL(LT_EUNAVAIL, "this FFmpeg has no muxer %s", mux->plan.muxer);
    mux->packet = av_packet_alloc();
    uint8_t *buffer = av_malloc(BUFFER_BYTES);
    if (buffer)
        mux->file->pb =
            avio_alloc_context(buffer, BUFFER_BYTES, 1, mux, NULL, write_bytes, seek_bytes);
    if (!mux->file->pb || !mux->packet) {
        if (!mux->file->pb)
            av_free(buffer);
        LT_FAIL(LT_ENOMEM, "no memory for a file buffer");
    }
    /* Bit-exact: no random identifier in MKV, no library's name, so that the same film has the same
     * bytes. */
    mux->file->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_FLUSH_PACKETS | AVFMT_FLAG_BITEXACT;
    return LT_OK;
}

static lt_status open_streams(lt_mux *mux)
{
    const mux_plan *plan = &mux->plan;
    const int global = (mux->file->oformat->flags & AVFMT_GLOBALHEADER) != 0;
    LT_TRY(lt_mux_open_video(plan, global, &mux->video));
    mux->video_stream = avformat_new_stream(mux->file, NULL);
    if (!mux->video_stream ||
        avcodec_parameters_from_context(mux->video_stream->codecpar, mux->video) < 0)
        LT_FAIL(LT_ENOMEM, "no memory for a stream");
    mux->video_stream->time_base = mux->video->time_base;
    mux->video_stream->avg_frame_rate = mux->video->framerate;
    mux->video_stream->sample_aspect_ratio = mux->video->sample_aspect_ratio;
    if (plan->fragments && plan->codec->tag)
        mux->video_stream->codecpar->codec_tag = plan->codec->tag;
    if (!plan->sample_rate)
        return LT_OK;
    LT_TRY(lt_mux_open_audio(plan, global, &mux->audio));
    mux->audio_stream = avformat_new_stream(mux->file, NULL);
    if (!mux->audio_stream ||
        avcodec_parameters_from_context(mux->audio_stream->codecpar, mux->audio) < 0)
        LT_FAIL(LT_ENOMEM, "no memory for a stream");
    mux->audio_stream->time_base = mux->audio->time_base;
    return lt_mux_audio_begin(mux);
}

/* The smallest number of units a second that counts frames and samples exactly, if there is one of
 * use; else samples. FFmpeg's 1000 would cut audio off by up to a millisecond. */
static int movie_timescale(const mux_plan *plan)
{
    const int64_t rate = plan->sample_rate ? plan->sample_rate : plan->fps_num;
    const int64_t both = rate / av_gcd(rate, plan->fps_num) * plan->fps_num;
    return (int)(both <= 10000000 ? both : rate);
}

static lt_status write_header(lt_mux *mux)
{
    AVDictionary *options = NULL;
    int failed = 0;
    if (av_dict_copy(&mux->file->metadata, mux->tags, 0) < 0)
        LT_FAIL(LT_ENOMEM, "no memory for a file's tags");
    if (mux->plan.fragments) {
        failed |=
            av_dict_set(&options, "movflags", "frag_keyframe+delay_moov+default_base_moof", 0) < 0;
        if (!mux->plan.codec
                 ->crf) /* every frame is a key frame: two seconds a fragment, not one frame */
            failed |= av_dict_set(&options, "movflags", "delay_moov+default_base_moof", 0) < 0;
        failed |= av_dict_set(&options, "frag_duration", "2000000", 0) < 0;
        failed |= av_dict_set_int(&options, "movie_timescale", movie_timescale(&mux->plan), 0) < 0;
        if (mux->audio_padding)
            failed |= av_dict_set(&mux->file->metadata, "genre", lt_mux_head_slot, 0) < 0;
    }
    const int code = failed ? AVERROR(ENOMEM) : avformat_write_header(mux->file, &options);
    av_dict_free(&options);
    if (code < 0 || mux->io_errno)
        return lt_mux_fail(mux, code, "writing the head");
    mux->head_bytes = mux->bytes;
    return LT_OK;
}

static lt_status copy_tags(const lt_mux_spec *spec, AVDictionary **tags)
{
    if ((spec->title != NULL && av_dict_set(tags, "title", spec->title, 0) < 0) ||
        (spec->comment != NULL && av_dict_set(tags, "comment", spec->comment, 0) < 0))
        LT_FAIL(LT_ENOMEM, "no memory for a file's tags");
    return LT_OK;
}

lt_status lt_mux_open(const lt_mux_spec *spec, lt_mux **out)
{
    assert(spec->path);
    *out = NULL;
    lt_mux *mux = calloc(1, sizeof *mux);
    if (!mux)
        LT_FAIL(LT_ENOMEM, "no memory for a muxer");
    mux->fd = -1;
    lt_status status;
    mux->replace = spec->replace;
    mux->hidden = spec->hidden;
    LT_TRY_GOTO(lt_mux_plan(spec, &mux->plan), status, fail);
    LT_TRY_GOTO(copy_tags(spec, &mux->tags), status, fail);
    LT_TRY_GOTO(open_file(mux, spec->path), status, fail);
    LT_TRY_GOTO(open_streams(mux), status, fail);
    LT_TRY_GOTO(write_header(mux), status, fail);
    *out = mux;
    return LT_OK;
fail:
    lt_mux_abort(&mux);
    return status;
}

lt_status lt_mux_video(lt_mux *mux, const void *rgb, lt_dtype dtype)
{
    assert(mux && rgb);
    if (mux->frames_in >= mux->plan.frames)
        LT_FAIL(LT_ESHAPE, "%s: frame %lld of %lld", mux->path, (long long)mux->frames_in + 1,
                (long long)mux->plan.frames);
    LT_TRY(lt_mux_video_frame(mux, rgb, dtype));
    mux->frame_out->pts = mux->frames_in++;
    return lt_mux_encode(mux, mux->video, mux->video_stream, mux->frame_out);
}

lt_status lt_mux_audio(lt_mux *mux, const float *const *pcm, int64_t count)
{
    assert(mux && pcm && count >= 0);
    if (count > mux->plan.samples - mux->samples_in)
        LT_FAIL(LT_ESHAPE, "%s: sample %lld of %lld", mux->path,
                (long long)(mux->samples_in + count), (long long)mux->plan.samples);
    return lt_mux_audio_append(mux, pcm, count);
}

int64_t lt_mux_bytes(const lt_mux *mux) { return mux->bytes; }

static lt_status finish(lt_mux *mux)
{
    if (mux->frames_in != mux->plan.frames || mux->samples_in != mux->plan.samples)
        LT_FAIL(LT_EINTERNAL, "%s: want %lld frames and %lld samples, found %lld and %lld",
                mux->path, (long long)mux->plan.frames, (long long)mux->plan.samples,
                (long long)mux->frames_in, (long long)mux->samples_in);
    LT_TRY(lt_mux_encode(mux, mux->video, mux->video_stream, NULL));
    if (mux->frames_out != mux->plan.frames)
        LT_FAIL(LT_EINTERNAL, "%s: %s made %lld packets of %lld frames", mux->path,
                mux->video->codec->name, (long long)mux->frames_out, (long long)mux->plan.frames);
    if (mux->audio)
        LT_TRY(lt_mux_audio_end(mux));
    const int code = av_write_trailer(mux->file);
    avio_flush(mux->file->pb);
    if (code < 0 || mux->io_errno || mux->file->pb->error < 0)
        return lt_mux_fail(mux, code < 0 ? code : mux->file->pb->error, "finishing");
    LT_TRY(lt_mux_boxes_amend(mux));
    return LT_OK;
}

lt_status lt_mux_close(lt_mux **mux)
{
    assert(mux && *mux);
    lt_mux *m = *mux;
    const mux_plan *plan = &m->plan;
    lt_status status = finish(m);
    const lt_replace replace = m->made.shown ? LT_REPLACE : m->replace; /* what is shown is ours */
    if (status == LT_OK && plan->fragments && !plan->keep_fragments) {
        if (lt_mux_whole(&m->made, plan->muxer, movie_timescale(plan), m->tags, replace) == LT_OK) {
            lt_mux_abort(mux); /* the fragments go */
            return LT_OK;
        }
        lt_warn("%s: stays fragmented: %s", m->path, lt_error_text());
        lt_error_clear();
    }
    if (status == LT_OK)
        status = lt_new_file_done(&m->made, replace);
    lt_mux_abort(mux);
    return status;
}

void lt_mux_abort(lt_mux **mux)
{
    lt_mux *m = *mux;
    *mux = NULL;
    if (!m)
        return;
    lt_mux_close_video(&m->video, m->frames_in, m->video_ended);
    avcodec_free_context(&m->audio);
    av_frame_free(&m->frame_in);
    av_frame_free(&m->frame_out);
    av_frame_free(&m->audio_frame);
    sws_freeContext(m->convert);
    av_packet_free(&m->packet);
    if (m->file) {
        if (m->file->pb) {
            /* What is still buffered must not reach the file: closing does not write. */
            av_freep(&m->file->pb->buffer);
            avio_context_free(&m->file->pb);
        }
        avformat_free_context(m->file);
    }
    lt_new_file_drop(&m->made);
    av_dict_free(&m->tags);
    free(m->path);
    free(m);
}
