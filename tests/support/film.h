/* film.h - what a film file holds, as any player sees it, and what a run folder's latents are.
 * Frames and samples are counted by decoding all of them with FFmpeg; edit lists and skips are
 * honoured. */
#ifndef LT_TEST_FILM_H
#define LT_TEST_FILM_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/pixdesc.h>
#include <math.h>

#include "run/store_hdf5.h"
#include "tests/support/distance.h"
#include "tests/support/run.h"

typedef struct film {
    int64_t frames, samples;
    int width, height, bits, channels, rate;
    enum AVCodecID video, audio;
    double video_start, audio_start, fps;
    int tagged;      /* BT.709, limited range, in the stream and in every frame */
    double loudness; /* RMS of the first channel */
    float *pcm;      /* of the first channel, if it is kept: film_free */
    int64_t pcm_room;
    /* Called for each frame, if not NULL. */
    void (*look)(void *user, int64_t index, const AVFrame *frame);
    void *user;
} film;

static inline void film_free(film *f)
{
    free(f->pcm);
    f->pcm = NULL;
}

static inline int film_is_709(enum AVColorRange range, enum AVColorSpace space,
                              enum AVColorTransferCharacteristic trc,
                              enum AVColorPrimaries primaries)
{
    return range == AVCOL_RANGE_MPEG && space == AVCOL_SPC_BT709 && trc == AVCOL_TRC_BT709 &&
           primaries == AVCOL_PRI_BT709;
}

static inline float film_sample(const AVFrame *f, int i)
{
    const int step = av_sample_fmt_is_planar(f->format) ? 1 : f->ch_layout.nb_channels;
    switch (av_get_packed_sample_fmt(f->format)) {
    case AV_SAMPLE_FMT_FLT:
        return ((const float *)(const void *)f->data[0])[i * step];
    case AV_SAMPLE_FMT_S32:
        return (float)((const int32_t *)(const void *)f->data[0])[i * step] / 2147483648.0f;
    case AV_SAMPLE_FMT_S16:
        return (float)((const int16_t *)(const void *)f->data[0])[i * step] / 32768.0f;
    default:
        fail_msg("sound format %s", av_get_sample_fmt_name(f->format));
        return 0;
    }
}

static inline void film_take(AVCodecContext *c, AVFrame *f, film *out)
{
    while (avcodec_receive_frame(c, f) >= 0) {
        if (c->codec_type == AVMEDIA_TYPE_VIDEO) {
            out->tagged = out->tagged && film_is_709(f->color_range, f->colorspace, f->color_trc,
                                                     f->color_primaries);
            if (out->look != NULL)
                out->look(out->user, out->frames, f);
            out->frames++;
            continue;
        }
        for (int i = 0; i < f->nb_samples; i++, out->samples++) {
            if (out->samples == out->pcm_room) {
                out->pcm_room = out->pcm_room > 0 ? 2 * out->pcm_room : 65536;
                out->pcm = realloc(out->pcm, (size_t)out->pcm_room * sizeof *out->pcm);
                assert_non_null(out->pcm);
            }
            out->pcm[out->samples] = film_sample(f, i);
        }
    }
}

static inline AVCodecContext *film_decoder(const AVStream *s, film *out)
{
    const AVCodecParameters *p = s->codecpar;
    const AVCodec *codec = avcodec_find_decoder(p->codec_id);
    assert_non_null(codec);
    AVCodecContext *c = avcodec_alloc_context3(codec);
    assert_true(avcodec_parameters_to_context(c, p) >= 0);
    c->pkt_timebase = s->time_base;
    c->thread_count = 1;
    assert_true(avcodec_open2(c, codec, NULL) >= 0);
    const double start = (double)s->start_time * av_q2d(s->time_base);
    if (p->codec_type == AVMEDIA_TYPE_VIDEO) {
        const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(p->format);
        out->video = p->codec_id;
        out->video_start = start;
        out->width = p->width;
        out->height = p->height;
        out->fps = av_q2d(s->avg_frame_rate);
        out->bits = d != NULL ? d->comp[0].depth : 0;
        /* MOV's box of colours has no range: FFmpeg 7 says ProRes's, always limited, with each
         * frame only. */
        const int left_out =
            p->codec_id == AV_CODEC_ID_PRORES && p->color_range == AVCOL_RANGE_UNSPECIFIED;
        out->tagged = film_is_709(left_out ? AVCOL_RANGE_MPEG : p->color_range, p->color_space,
                                  p->color_trc, p->color_primaries);
    } else {
        out->audio = p->codec_id;
        out->audio_start = start;
        out->channels = p->ch_layout.nb_channels;
        out->rate = p->sample_rate;
    }
    return c;
}

/* Fill out from the file; look and user may be set before. Fails the test if it is no film of one
 * video and one audio stream. */
static inline void film_read(const char *path, film *out)
{
    AVFormatContext *file = NULL;
    AVCodecContext *decoder[2] = {NULL, NULL};
    av_log_set_level(AV_LOG_ERROR);
    if (avformat_open_input(&file, path, NULL, NULL) < 0)
        fail_msg("%s: FFmpeg does not open it", path);
    assert_true(avformat_find_stream_info(file, NULL) >= 0);
    if (file->nb_streams != 2)
        fail_msg("%s: want 2 streams, found %u", path, file->nb_streams);
    for (int i = 0; i < 2; i++)
        decoder[i] = film_decoder(file->streams[i], out);
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    while (av_read_frame(file, packet) >= 0) {
        AVCodecContext *c = decoder[packet->stream_index];
        if (avcodec_send_packet(c, packet) < 0)
            fail_msg("%s: a packet of stream %d does not decode", path, packet->stream_index);
        film_take(c, frame, out);
        av_packet_unref(packet);
    }
    for (int i = 0; i < 2; i++) {
        if (avcodec_send_packet(decoder[i], NULL) >= 0)
            film_take(decoder[i], frame, out);
        avcodec_free_context(&decoder[i]);
    }
    av_packet_free(&packet);
    av_frame_free(&frame);
    avformat_close_input(&file);
    double sum = 0;
    for (int64_t i = 0; i < out->samples; i++)
        sum += (double)out->pcm[i] * out->pcm[i];
    out->loudness = out->samples > 0 ? sqrt(sum / (double)out->samples) : 0;
}

/* ---- latents of a run ---- */

typedef struct latents {
    float *data[2]; /* video, audio */
    int64_t count[2];
} latents;

static inline void latents_free(latents *l)
{
    free(l->data[0]);
    free(l->data[1]);
    *l = (latents){{NULL, NULL}, {0, 0}};
}

/* Of a shot: group "shot-01/"; of a film without shots "". */
static inline void latents_read_shot(const char *run, const char *group, latents *out)
{
    static const char *const names[2] = {"latents", "audio_latents"};
    char path[8192], name[64];
    lt_latents *file = NULL;
    (void)snprintf(path, sizeof path, "%s/latents.h5", run);
    if (lt_latents_open(path, 0, &file) != LT_OK)
        fail_msg("%s", lt_error_text());
    for (int i = 0; i < 2; i++) {
        size_t index = 0;
        (void)snprintf(name, sizeof name, "%s%s", group, names[i]);
        if (lt_latents_find(file, name, &index) != LT_OK)
            fail_msg("%s", lt_error_text());
        const lt_latents_stream *s = lt_latents_stream_at(file, index);
        out->count[i] = 1;
        for (int k = 0; k < s->ndim; k++)
            out->count[i] *= s->dims[k];
        out->data[i] = malloc((size_t)out->count[i] * sizeof(float));
        assert_non_null(out->data[i]);
        if (lt_latents_read(file, index, out->data[i], (size_t)out->count[i]) != LT_OK)
            fail_msg("%s", lt_error_text());
    }
    lt_latents_close(&file);
}

static inline void latents_read(const char *run, latents *out) { latents_read_shot(run, "", out); }

/* The worst distance of the two streams; NaN stays (latents that are all 0 prove nothing), other
 * sizes are Inf. 0 only if all bits are the same, but for the sign of zero. */
static inline double latents_differ(const latents *a, const latents *b)
{
    double worst = 0;
    for (int s = 0; s < 2; s++) {
        if (a->count[s] != b->count[s])
            return INFINITY;
        worst = worse(worst, distance(a->data[s], b->data[s], a->count[s]));
    }
    return worst;
}

/* plan.json says which rank stands where. */
static inline void want_order(const char *run, const char *placement, const char *order)
{
    char path[800];
    (void)snprintf(path, sizeof path, "%s/plan.json", run);
    json_t *plan = json_load_file(path, 0, NULL);
    assert_non_null(plan);
    char *found = json_dumps(json_object_get(plan, "order"), JSON_COMPACT);
    assert_non_null(found);
    assert_string_equal(found, order);
    assert_string_equal(json_string_value(json_object_get(plan, "placement")), placement);
    free(found);
    json_decref(plan);
}

#endif
