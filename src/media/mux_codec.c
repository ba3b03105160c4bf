/* mux_codec.c - which codecs and containers there are, and whether they fit.
 *
 * Checks are made before any work: a suffix, a codec and a size that cannot be written together
 * must not be found out after an hour of denoising. What a container may hold is asked of FFmpeg
 * where it knows (avformat_query_codec); a trial opening of the encoders finds the rest (presets,
 * sizes, builds). Quality: the defaults are visually lossless or nearly so for generated film,
 * which has little grain; the encoder's time is small beside the models'. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "media/mux_internal.h"

#define TAG_HVC1 MKTAG('h', 'v', 'c', '1') /* parameter sets in the head only: what Apple plays */

#define PRESETS_X26X "ultrafast superfast veryfast faster fast medium slow slower veryslow placebo"
#define PRESETS_SVT  "0 1 2 3 4 5 6 7 8 9 10 11 12 13"

static const mux_codec_row codecs[] = {
    {"h264", "libx264", "aac", ".mp4 .mkv .mov", AV_PIX_FMT_YUV420P, 8, 0.05, 18, 51, "medium",
     PRESETS_X26X, 0},
    {"hevc", "libx265", "aac", ".mp4 .mkv .mov", AV_PIX_FMT_YUV420P10LE, 10, 0.05, 14, 51, "fast",
     PRESETS_X26X, TAG_HVC1},
    {"av1", "libsvtav1", NULL, ".mp4 .mkv", AV_PIX_FMT_YUV420P10LE, 10, 0.05, 18, 63, "8",
     PRESETS_SVT, 0},
    {"ffv1", "ffv1", "pcm_s24le", ".mkv .mov", AV_PIX_FMT_YUV444P16LE, 16, 4.0, 0, 0, NULL, NULL,
     0},
    {"prores", "prores_ks", "pcm_s24le", ".mov .mkv", AV_PIX_FMT_YUV422P10LE, 10, 0.6, 0, 0, NULL,
     NULL, 0},
};

static const struct {
    const char *suffix, *muxer, *audio; /* NULL: as the codec's row says */
} containers[] = {
    {".mp4", "mp4", "aac"},
    /* This FFmpeg's MKV muxer has no CodecDelay for AAC, so that its priming would be heard. */
    {".mkv", "matroska", "flac"},
    {".mov", "mov", NULL},
};

enum { SIZE_MAX_PIXELS = 16384, BIT_RATE_AUDIO = 192000, THREADS_MAX = 64 };

const char *lt_mux_suffix(const char *path)
{
    const size_t bytes = strlen(path);
    for (size_t i = 0; i < sizeof containers / sizeof *containers; i++) {
        const size_t suffix_bytes = strlen(containers[i].suffix);
        if (bytes >= suffix_bytes && !strcasecmp(path + bytes - suffix_bytes, containers[i].suffix))
            return containers[i].suffix;
    }
    return NULL;
}

/* FFmpeg's word on whether the container takes this video and the audio that goes with it. */
static int holds(const mux_codec_row *row, size_t container)
{
    const char *its = containers[container].audio;
    const AVOutputFormat *format = av_guess_format(containers[container].muxer, NULL, NULL);
    const AVCodec *video = avcodec_find_encoder_by_name(row->encoder);
    const AVCodec *audio =
        its || row->audio_mov ? avcodec_find_encoder_by_name(its ? its : row->audio_mov) : NULL;
    return format && video && audio &&
           avformat_query_codec(format, video->id, FF_COMPLIANCE_NORMAL) == 1 &&
           avformat_query_codec(format, audio->id, FF_COMPLIANCE_NORMAL) == 1;
}

enum { SUFFIXES_BYTES = 32 };

/* ".mp4 .mkv": of the suffixes that we write this codec into, those that this FFmpeg can. */
static const char *suffixes(const mux_codec_row *row, char out[SUFFIXES_BYTES])
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof containers / sizeof *containers; i++)
        if (strstr(row->suffixes, containers[i].suffix) && holds(row, i))
            n += (size_t)snprintf(out + n, SUFFIXES_BYTES - n, "%s%s", n > 0 ? " " : "",
                                  containers[i].suffix);
    return out;
}

/* What others call our codecs. */
static void hint_codec(const char *name)
{
    static const struct {
        const char *theirs, *ours;
    } names[] = {{"h265", "hevc"},        {"x265", "hevc"},        {"libx265", "hevc"},
                 {"h.265", "hevc"},       {"x264", "h264"},        {"libx264", "h264"},
                 {"h.264", "h264"},       {"avc", "h264"},         {"avc1", "h264"},
                 {"hvc1", "hevc"},        {"libsvtav1", "av1"},    {"svtav1", "av1"},
                 {"svt-av1", "av1"},      {"av01", "av1"},         {"libaom-av1", "av1"},
                 {"prores_ks", "prores"}, {"prores_hq", "prores"}, {"apch", "prores"},
                 {"lossless", "ffv1"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcasecmp(names[i].theirs, name))
            lt_hint("--codec %s is what %s is called here", names[i].ours, name);
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (!strcasecmp(codecs[i].name, name))
            lt_hint("did you mean --codec %s?", codecs[i].name);
}

static const mux_codec_row *codec_find(const char *name)
{
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (!strcmp(name, codecs[i].name))
            return &codecs[i];
    return NULL;
}

lt_dtype lt_mux_pixels(const char *codec)
{
    const mux_codec_row *row = codec_find(codec);
    return row != NULL && row->bits == 8 ? LT_U8 : LT_U16;
}

double lt_mux_pixel_bytes(const char *codec)
{
    const mux_codec_row *row = codec_find(codec);
    return row != NULL ? row->pixel_bytes : 0.05;
}

/* Suffix, codec, and whether the one may hold the other. */
static lt_status plan_container(const lt_mux_spec *spec, mux_plan *plan)
{
    const char *given = spec->suffix ? spec->suffix : spec->path;
    plan->suffix = lt_mux_suffix(given);
    if (!plan->suffix)
        LT_FAIL(LT_EUSAGE, "-o %s: want a name that ends in .mp4, .mkv or .mov", given);
    for (size_t i = 0; i < sizeof containers / sizeof *containers; i++)
        if (!strcmp(containers[i].suffix, plan->suffix)) {
            plan->muxer = containers[i].muxer;
            plan->audio = containers[i].audio;
        }
    plan->fragments = strcmp(plan->suffix, ".mkv") != 0;
    plan->keep_fragments = spec->keep_fragments;
    plan->codec = spec->codec ? codec_find(spec->codec) : NULL;
    if (!plan->codec && spec->codec)
        hint_codec(spec->codec);
    if (!plan->codec)
        LT_FAIL(LT_EUSAGE, "--codec: want h264, hevc, av1, ffv1 or prores, found %s",
                spec->codec ? spec->codec : "none");
    const mux_codec_row *row = plan->codec;
    const AVCodec *encoder = avcodec_find_encoder_by_name(row->encoder);
    if (!encoder) {
        lt_hint("install an FFmpeg that has %s, or choose another --codec", row->encoder);
        LT_FAIL(LT_EUNAVAIL, "--codec %s: this FFmpeg has no encoder %s", row->name, row->encoder);
    }
    char fit[SUFFIXES_BYTES];
    if (!strstr(suffixes(row, fit), plan->suffix)) {
        if (!fit[0])
            LT_FAIL(LT_EUNAVAIL, "--codec %s: this FFmpeg puts %s into none of .mp4, .mkv, .mov",
                    row->name, row->encoder);
        LT_FAIL(LT_EUSAGE, "--codec %s with -o %s: want a name that ends in one of: %s", row->name,
                given, fit);
    }
    if (!plan->audio)
        plan->audio = row->audio_mov;
    return LT_OK;
}

/* Asked here, since x264 complains on stderr before it can be told where to log. */
static int preset_known(const mux_codec_row *row, const char *preset)
{
    const size_t bytes = strlen(preset);
    const char *at = row->presets;
    while (at && bytes && (at = strstr(at, preset)) != NULL) {
        if ((at == row->presets || at[-1] == ' ') && (at[bytes] == ' ' || !at[bytes]))
            return 1;
        at += bytes;
    }
    return 0;
}

static lt_status plan_video(const lt_mux_spec *spec, mux_plan *plan)
{
    const mux_codec_row *row = plan->codec;
    if (spec->width < 1 || spec->height < 1 || spec->width > SIZE_MAX_PIXELS ||
        spec->height > SIZE_MAX_PIXELS)
        LT_FAIL(LT_EUSAGE, "--size: want 1x1 to %dx%d, found %dx%d", (int)SIZE_MAX_PIXELS,
                (int)SIZE_MAX_PIXELS, spec->width, spec->height);
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(row->format);
    if (spec->width % (1 << format->log2_chroma_w) || spec->height % (1 << format->log2_chroma_h))
        LT_FAIL(LT_EUSAGE, "--size: %s wants width divisible by %d and height by %d, found %dx%d",
                row->name, 1 << format->log2_chroma_w, 1 << format->log2_chroma_h, spec->width,
                spec->height);
    if (spec->frames < 1 || spec->frames > INT64_MAX / 1000000)
        LT_FAIL(LT_EUSAGE, "--frames: want 1 or more, found %lld", (long long)spec->frames);
    if (spec->fps_num < 0 || spec->fps_den < 0 || (spec->fps_num == 0) != (spec->fps_den == 0) ||
        spec->fps_num > 1000000 || spec->fps_den > 1000000)
        LT_FAIL(LT_EUSAGE, "frame rate: want a fraction of whole numbers, found %d/%d",
                spec->fps_num, spec->fps_den);
    if (spec->crf > 0 && row->crf_max == 0)
        LT_FAIL(LT_EUSAGE, "--crf %d: %s has no such setting: want h264, hevc or av1", spec->crf,
                row->name);
    if (spec->crf < 0 || (spec->crf > 0 && spec->crf > row->crf_max))
        LT_FAIL(LT_EUSAGE, "--crf: %s wants 1 to %d, found %d", row->name, row->crf_max, spec->crf);
    plan->width = spec->width;
    plan->height = spec->height;
    plan->frames = spec->frames;
    plan->fps_num = spec->fps_num ? spec->fps_num : 24;
    plan->fps_den = spec->fps_den ? spec->fps_den : 1;
    plan->crf = spec->crf ? spec->crf : row->crf;
    plan->threads = spec->threads < 1             ? 1
                    : spec->threads > THREADS_MAX ? THREADS_MAX
                                                  : spec->threads;
    const char *preset = spec->preset ? spec->preset : row->preset ? row->preset : "";
    if (spec->preset && !row->presets)
        LT_FAIL(LT_EUSAGE, "--preset %s: %s has no such setting: want h264, hevc or av1", preset,
                row->name);
    if (spec->preset && !preset_known(row, preset))
        LT_FAIL(LT_EUSAGE, "--preset: %s wants one of: %s, found %s", row->name, row->presets,
                preset);
    snprintf(plan->preset, sizeof plan->preset, "%s", preset);
    return LT_OK;
}

/* The rates that an encoder takes, up to a 0; NULL: any. */
static const int *sample_rates(const AVCodec *encoder)
{
#if LIBAVCODEC_VERSION_INT >=                                                                      \
    AV_VERSION_INT(61, 13, 100) /* the member is deprecated from here on */
    const void *rates = NULL;
    (void)avcodec_get_supported_config(NULL, encoder, AV_CODEC_CONFIG_SAMPLE_RATE, 0, &rates, NULL);
    return rates;
#else
    return encoder->supported_samplerates;
#endif
}

static lt_status plan_audio(const lt_mux_spec *spec, mux_plan *plan)
{
    plan->channels = spec->channels ? spec->channels : 2;
    plan->sample_rate = spec->sample_rate;
    plan->samples = spec->samples;
    if (plan->channels != 1 && plan->channels != 2)
        LT_FAIL(LT_EUSAGE, "sound: want 1 or 2 channels, found %d", spec->channels);
    if (spec->sample_rate < 0 || spec->samples < 0 || spec->samples > INT64_MAX / 1000000 ||
        (spec->sample_rate == 0 && spec->samples != 0))
        LT_FAIL(LT_EUSAGE,
                "sound: want a rate above 0 and samples of 0 or more, found %d Hz, %lld samples",
                spec->sample_rate, (long long)spec->samples);
    const AVCodec *audio = avcodec_find_encoder_by_name(plan->audio);
    const int *rate = audio ? sample_rates(audio) : NULL;
    while (rate && *rate && *rate != plan->sample_rate)
        rate++;
    if (plan->sample_rate && rate && !*rate)
        LT_FAIL(LT_EUSAGE, "sound: %s cannot hold %d Hz", plan->audio, plan->sample_rate);
    return LT_OK;
}

lt_status lt_mux_plan(const lt_mux_spec *spec, mux_plan *plan)
{
    assert(spec->path || spec->suffix);
    memset(plan, 0, sizeof *plan);
    lt_mux_log_open();
    LT_TRY(plan_container(spec, plan));
    LT_TRY(plan_video(spec, plan));
    return plan_audio(spec, plan);
}

/* Options by the encoder's own names. Unknown names fail in avcodec_open2's leftovers. */
static lt_status video_options(const mux_plan *plan, AVCodecContext *c, AVDictionary **options)
{
    char text[96];
    const char *name = plan->codec->encoder;
    int failed = 0;
    if (plan->codec->preset)
        failed |= av_dict_set(options, "preset", plan->preset, 0) < 0;
    if (plan->codec->crf)
        failed |= av_dict_set_int(options, "crf", plan->crf, 0) < 0;
    if (!strcmp(name, "libx265")) {
        snprintf(text, sizeof text, "log-level=none:pools=%d:frame-threads=1", plan->threads);
        failed |= av_dict_set(options, "x265-params", text, 0) < 0;
    } else if (!strcmp(name, "libsvtav1")) {
        /* Its temporal filter takes a ramp of 877 levels down to 650. */
        snprintf(text, sizeof text, "lp=%d:enable-tf=0", plan->threads);
        failed |= av_dict_set(options, "svtav1-params", text, 0) < 0;
    } else if (!strcmp(name, "ffv1")) {
        c->level = 3;    /* slices with checksums: a damaged file loses slices, not the film */
        c->gop_size = 1; /* each frame stands alone */
        failed |= av_dict_set(options, "slicecrc", "1", 0) < 0;
        if ((int64_t)plan->width * plan->height <= 3840 * 2176) /* larger: its choice */
            failed |= av_dict_set(options, "slices", "4", 0) < 0;
    } else if (!strcmp(name, "prores_ks")) {
        failed |= av_dict_set(options, "profile", "hq", 0) < 0;
        failed |=
            av_dict_set(options, "vendor", "apl0", 0) < 0; /* some editors refuse other makers */
    }
    if (failed)
        LT_FAIL(LT_ENOMEM, "no memory for the options of %s", name);
    return LT_OK;
}

lt_status lt_mux_open_video(const mux_plan *plan, int global_header, AVCodecContext **out)
{
    const mux_codec_row *row = plan->codec;
    const AVCodec *encoder = avcodec_find_encoder_by_name(row->encoder);
    AVCodecContext *c = encoder ? avcodec_alloc_context3(encoder) : NULL;
    if (!c)
        LT_FAIL(LT_ENOMEM, "no memory for the encoder %s", row->encoder);
    c->width = plan->width;
    c->height = plan->height;
    c->pix_fmt = row->format;
    c->time_base = (AVRational){plan->fps_den, plan->fps_num};
    c->framerate = (AVRational){plan->fps_num, plan->fps_den};
    c->sample_aspect_ratio = (AVRational){1, 1};
    c->gop_size =
        (2 * plan->fps_num + plan->fps_den - 1) / plan->fps_den; /* 2 s: seeks, fragments */
    c->thread_count = plan->threads;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    c->colorspace = AVCOL_SPC_BT709;
    c->color_range = AVCOL_RANGE_MPEG;
    c->chroma_sample_location = AVCHROMA_LOC_LEFT;
    if (global_header)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    AVDictionary *options = NULL;
    lt_status status = video_options(plan, c, &options);
    if (status != LT_OK) {
        av_dict_free(&options);
        avcodec_free_context(&c);
        return status;
    }
    char words[256];
    lt_mux_log_last(words, sizeof words); /* forget older ones */
    const int code = avcodec_open2(c, encoder, &options);
    const AVDictionaryEntry *left = av_dict_get(options, "", NULL, AV_DICT_IGNORE_SUFFIX);
    if (code < 0 || left) {
        lt_mux_log_last(words, sizeof words);
        status = lt_fail(code == AVERROR(ENOMEM) ? LT_ENOMEM : LT_EUNAVAIL, __FILE__, __LINE__,
                         "--codec %s: %s refuses %dx%d%s%s%s%s: %s", row->name, row->encoder,
                         plan->width, plan->height, plan->preset[0] ? ", preset " : "",
                         plan->preset, left ? ", option " : "", left ? left->key : "",
                         words[0] ? words : av_err2str(code));
        avcodec_free_context(&c);
    }
    av_dict_free(&options);
    *out = c;
    return status;
}

/* SVT-AV1 1.4 waits for ever when it is closed without having been told the end, and cannot end
 * before its first frame: so it gets both, and its packets are dropped. */
static void end_unfinished(AVCodecContext *c, int64_t frames_sent)
{
    if (frames_sent == 0) {
        AVFrame *frame = av_frame_alloc();
        if (frame) {
            frame->format = c->pix_fmt;
            frame->width = c->width;
            frame->height = c->height;
            frame->pts = 0;
            if (av_frame_get_buffer(frame, 64) >= 0) {
                for (int i = 0; i < AV_NUM_DATA_POINTERS && frame->buf[i]; i++)
                    memset(frame->buf[i]->data, 0, frame->buf[i]->size);
                (void)avcodec_send_frame(c, frame);
            }
            av_frame_free(&frame);
        }
    }
    AVPacket *packet = av_packet_alloc();
    (void)avcodec_send_frame(c, NULL);
    while (packet && avcodec_receive_packet(c, packet) >= 0)
        av_packet_unref(packet);
    av_packet_free(&packet);
}

void lt_mux_close_video(AVCodecContext **encoder, int64_t frames_sent, int ended)
{
    if (*encoder && !ended && !strcmp((*encoder)->codec->name, "libsvtav1"))
        end_unfinished(*encoder, frames_sent);
    avcodec_free_context(encoder);
}

lt_status lt_mux_open_audio(const mux_plan *plan, int global_header, AVCodecContext **out)
{
    const AVCodec *encoder = avcodec_find_encoder_by_name(plan->audio);
    AVCodecContext *c = encoder ? avcodec_alloc_context3(encoder) : NULL;
    if (!c)
        LT_FAIL(LT_ENOMEM, "no memory for the encoder %s", plan->audio);
    c->sample_rate = plan->sample_rate;
    c->sample_fmt = encoder->id == AV_CODEC_ID_AAC ? AV_SAMPLE_FMT_FLTP : AV_SAMPLE_FMT_S32;
    c->time_base = (AVRational){1, plan->sample_rate};
    av_channel_layout_default(&c->ch_layout, plan->channels);
    if (encoder->id == AV_CODEC_ID_AAC)
        c->bit_rate = BIT_RATE_AUDIO;
    else
        c->bits_per_raw_sample = 24;
    if (global_header)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    char words[256];
    lt_mux_log_last(words, sizeof words);
    const int code = avcodec_open2(c, encoder, NULL);
    if (code < 0) {
        lt_mux_log_last(words, sizeof words);
        avcodec_free_context(&c);
        LT_FAIL(LT_EUNAVAIL, "sound: %s refuses %d Hz, %d channels: %s", plan->audio,
                plan->sample_rate, plan->channels, words[0] ? words : av_err2str(code));
    }
    *out = c;
    return LT_OK;
}

/* 1 if the encoder takes this size; forgets why not. */
static int takes(const mux_plan *plan, int width, int height)
{
    mux_plan other = *plan;
    AVCodecContext *trial = NULL;
    other.width = width;
    other.height = height;
    const int yes = lt_mux_open_video(&other, 1, &trial) == LT_OK;
    lt_mux_close_video(&trial, 0, 0);
    lt_error_clear();
    return yes;
}

/* After a refusal, which says no more than FFmpeg's number: is it the size? Encoders do not tell
 * their limits, so larger sizes are tried, then smaller ones. The first that is taken differs from
 * the wanted one in as few pixels as powers of two allow. */
static lt_status refuse_size(const mux_plan *plan)
{
    const int w = plan->width, h = plan->height;
    for (int least = 32; least <= 512; least *= 2) {
        const int wide = w > least ? w : least, high = h > least ? h : least;
        if ((wide != w || high != h) && takes(plan, wide, high)) {
            lt_hint("another --codec, or --size %dx%d when rendering", wide, high);
            LT_FAIL(LT_EUSAGE, "--codec %s: %s wants %dx%d or more, found --size %dx%d",
                    plan->codec->name, plan->codec->encoder, wide, high, w, h);
        }
    }
    for (int most = SIZE_MAX_PIXELS / 2; most >= 1024; most /= 2) {
        const int wide = w < most ? w : most, high = h < most ? h : most;
        if ((wide != w || high != h) && takes(plan, wide, high)) {
            lt_hint("another --codec, or --size %dx%d when rendering", wide, high);
            LT_FAIL(LT_EUSAGE,
                    "--codec %s: %s wants a smaller picture, such as %dx%d, found "
                    "--size %dx%d",
                    plan->codec->name, plan->codec->encoder, wide, high, w, h);
        }
    }
    return LT_OK; /* it isn't */
}

lt_status lt_mux_check(const lt_mux_spec *spec)
{
    mux_plan plan;
    LT_TRY(lt_mux_plan(spec, &plan));
    AVCodecContext *trial = NULL;
    const lt_status st = lt_mux_open_video(&plan, 1, &trial);
    if (st == LT_ENOMEM)
        return lt_error_trace(st, "lt_mux_check", __FILE__, __LINE__);
    if (st != LT_OK) {
        LT_TRY(refuse_size(&plan));
        LT_TRY(lt_mux_open_video(&plan, 1, &trial)); /* its own words again */
    }
    lt_mux_close_video(&trial, 0, 0);
    if (plan.sample_rate) {
        LT_TRY(lt_mux_open_audio(&plan, 1, &trial));
        avcodec_free_context(&trial);
    }
    return LT_OK;
}

size_t lt_mux_codecs(lt_mux_codec *out, size_t max)
{
    enum { COUNT = sizeof codecs / sizeof *codecs };
    static char fit[COUNT][SUFFIXES_BYTES]; /* the same bytes whoever writes them */
    const size_t count = COUNT;
    for (size_t i = 0; i < count && i < max; i++) {
        const mux_codec_row *row = &codecs[i];
        out[i] = (lt_mux_codec){.name = row->name,
                                .encoder = row->encoder,
                                .suffixes = suffixes(row, fit[i]),
                                .bits = row->bits};
        out[i].available = fit[i][0] != '\0';
    }
    return count;
}

const char *lt_mux_library(void)
{
    static char text[128]; /* the same bytes whoever writes them */
    const unsigned codec = avcodec_version(), format = avformat_version();
    snprintf(text, sizeof text, "libavcodec %u.%u.%u, libavformat %u.%u.%u (%s)", codec >> 16,
             (codec >> 8) & 255, codec & 255, format >> 16, (format >> 8) & 255, format & 255,
             avcodec_license());
    return text;
}
