/* test_mux.c - films written by lt_mux, read back with FFmpeg's own decoders.
 * Goal: exact counts of frames and samples, audio that begins at 0, BT.709 in limited range and
 * said so, ten bits that are ten bits, and a refusal in one line for what cannot be. Method: a
 * frame whose upper half is a 16-bit grey ramp and whose lower half is eight colours; audio with
 * three clicks. Ranks: 1. Needs: FFmpeg with the encoders of mux.h; a missing one skips its case.
 */
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "media/mux.h"

/* x265 3.5 forgets some of its parameters at each closing; asked by LeakSanitizer. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libx265"; }

enum { W = 1024, H = 64, FRAMES = 30, RATE = 32000, CLICK = 12345 };

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* ---- what is written ---- */

static const double colours[8][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1},         {1, 1, 0},
                                     {0, 1, 1}, {1, 0, 1}, {0.5, 0.25, 0.75}, {0.1, 0.6, 0.3}};

static double pattern(int channel, int x, int y)
{
    return y < H / 2 ? x / (double)(W - 1) : colours[x / (W / 8)][channel];
}

static void frame_fill(void *rgb, lt_dtype dtype)
{
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                const int at = (c * H + y) * W + x;
                if (dtype == LT_U16)
                    ((uint16_t *)rgb)[at] = (uint16_t)lrint(pattern(c, x, y) * 65535);
                else
                    ((uint8_t *)rgb)[at] = (uint8_t)lrint(pattern(c, x, y) * 255);
            }
}

static float click_at(int64_t i, int64_t samples)
{
    return i == 0 ? 0.9f : i == CLICK ? 0.8f : i == samples - 1 ? 0.7f : 0.0f;
}

static lt_status film_write(const lt_mux_spec *spec, lt_dtype dtype, int64_t frames,
                            int64_t samples)
{
    lt_mux *mux = NULL;
    LT_TRY(lt_mux_open(spec, &mux));
    void *rgb = malloc((size_t)(3 * W * H) * lt_dtype_bytes(dtype));
    float *left = malloc((size_t)(samples + 1) * sizeof *left);
    assert_true(rgb && left);
    frame_fill(rgb, dtype);
    for (int64_t i = 0; i < samples; i++)
        left[i] = click_at(i, samples);
    lt_status status = LT_OK;
    int64_t at = 0;
    for (int64_t i = 0; i < frames && status == LT_OK; i++) {
        const int64_t until = samples * (i + 1) / frames;
        const float *pcm[2] = {left + at, left + at};
        status = lt_mux_video(mux, rgb, dtype);
        if (status == LT_OK && until > at)
            status = lt_mux_audio(mux, pcm, until - at);
        at = until;
    }
    free(rgb);
    free(left);
    if (status != LT_OK) {
        lt_mux_abort(&mux);
        return status;
    }
    return lt_mux_close(&mux);
}

/* ---- what is read ---- */

typedef struct film {
    int64_t frames, samples;
    double video_start, audio_start, video_seconds, audio_seconds;
    int clicks;
    int64_t click[8];
    int levels;          /* different luma codes in the last frame's ramp row */
    double ramp_worst;   /* luma, in codes of the file's depth, at most 10 bit */
    double colour_worst; /* luma and chroma in the middle of the colours, likewise */
    int tagged;          /* BT.709, limited, in stream and container */
} film;

static int sample_of(const AVFrame *f, int plane, int x, int y, int bits)
{
    const uint8_t *row = f->data[plane] + (ptrdiff_t)y * f->linesize[plane];
    return bits > 8 ? ((const uint16_t *)(const void *)row)[x] : row[x];
}

/* ITU-R BT.709-6, limited range, in codes of `bits`. */
static double expected(int plane, const double rgb[3], int bits)
{
    const double y = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
    const double scale = 1 << (bits - 8);
    if (plane == 0)
        return (16 + 219 * y) * scale;
    return (128 + 224 * (plane == 1 ? (rgb[2] - y) / 1.8556 : (rgb[0] - y) / 1.5748)) * scale;
}

static void video_look(const AVFrame *f, film *out)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
    const int bits = d->comp[0].depth;
    const double code = bits > 10 ? 1 << (bits - 10) : 1;
    static unsigned char seen[1 << 16];
    memset(seen, 0, sizeof seen);
    out->levels = 0;
    for (int x = 0; x < W; x++) {
        const double v = pattern(0, x, 0), grey[3] = {v, v, v};
        const int y = sample_of(f, 0, x, H / 4, bits);
        out->ramp_worst = fmax(out->ramp_worst, fabs(y - expected(0, grey, bits)) / code);
        out->levels += !seen[y];
        seen[y] = 1;
    }
    for (int i = 0; i < 8; i++)
        for (int plane = 0; plane < 3; plane++) {
            const int x = (i * W + W / 2) / 8 >> (plane ? d->log2_chroma_w : 0);
            const int y = H * 3 / 4 >> (plane ? d->log2_chroma_h : 0);
            const double off =
                fabs(sample_of(f, plane, x, y, bits) - expected(plane, colours[i], bits));
            out->colour_worst = fmax(out->colour_worst, off / code);
        }
}

static void audio_look(const AVFrame *f, film *out)
{
    for (int i = 0; i < f->nb_samples; i++, out->samples++) {
        const double x =
            f->format == AV_SAMPLE_FMT_FLTP ? ((const float *)(const void *)f->data[0])[i]
            : f->format == AV_SAMPLE_FMT_S32
                ? ((const int32_t *)(const void *)f->data[0])[i * f->ch_layout.nb_channels] /
                      2147483648.0
                : 0.0;
        if (fabs(x) > 0.3 && out->clicks < 8)
            out->click[out->clicks++] = out->samples;
    }
}

static void drain(AVCodecContext *c, AVFrame *f, film *out)
{
    while (avcodec_receive_frame(c, f) >= 0) {
        if (c->codec_type == AVMEDIA_TYPE_VIDEO) {
            video_look(f, out);
            out->tagged = out->tagged && f->color_range == AVCOL_RANGE_MPEG &&
                          f->colorspace == AVCOL_SPC_BT709 && f->color_trc == AVCOL_TRC_BT709 &&
                          f->color_primaries == AVCOL_PRI_BT709;
            out->frames++;
        } else {
            audio_look(f, out);
        }
    }
}

/* As any player does it: all streams, edit lists and skips honoured by FFmpeg. 0 if it does not
 * open. */
static int film_read(const char *path, film *out)
{
    AVFormatContext *file = NULL;
    AVCodecContext *decoder[2] = {NULL, NULL};
    *out = (film){.tagged = 1};
    if (avformat_open_input(&file, path, NULL, NULL) < 0)
        return 0;
    assert_true(avformat_find_stream_info(file, NULL) >= 0);
    for (unsigned i = 0; i < file->nb_streams && i < 2; i++) {
        const AVStream *s = file->streams[i];
        const AVCodec *codec = avcodec_find_decoder(s->codecpar->codec_id);
        assert_non_null(codec);
        decoder[i] = avcodec_alloc_context3(codec);
        assert_true(avcodec_parameters_to_context(decoder[i], s->codecpar) >= 0);
        decoder[i]->pkt_timebase = s->time_base;
        assert_true(avcodec_open2(decoder[i], codec, NULL) >= 0);
        const double start = (double)s->start_time * av_q2d(s->time_base);
        const double seconds = s->duration == AV_NOPTS_VALUE
                                   ? (double)file->duration / AV_TIME_BASE
                                   : (double)s->duration * av_q2d(s->time_base);
        if (s->codecpar->codec_type == AVMEDIA_TYPE_VIDEO) {
            out->video_start = start;
            out->video_seconds = seconds;
            /* MOV's own box of colours has no range; ProRes is limited always, and FFmpeg 7 says so
             * with each frame only. */
            const enum AVColorRange range =
                s->codecpar->codec_id == AV_CODEC_ID_PRORES &&
                        s->codecpar->color_range == AVCOL_RANGE_UNSPECIFIED
                    ? AVCOL_RANGE_MPEG
                    : s->codecpar->color_range;
            out->tagged = range == AVCOL_RANGE_MPEG &&
                          s->codecpar->color_space == AVCOL_SPC_BT709 &&
                          s->codecpar->color_trc == AVCOL_TRC_BT709 &&
                          s->codecpar->color_primaries == AVCOL_PRI_BT709;
        } else {
            out->audio_start = start;
            out->audio_seconds = seconds;
        }
    }
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    while (av_read_frame(file, packet) >= 0) {
        AVCodecContext *c = decoder[packet->stream_index];
        if (avcodec_send_packet(c, packet) >= 0)
            drain(c, frame, out);
        av_packet_unref(packet);
    }
    for (int i = 0; i < 2; i++) {
        if (decoder[i] && avcodec_send_packet(decoder[i], NULL) >= 0)
            drain(decoder[i], frame, out);
        avcodec_free_context(&decoder[i]);
    }
    av_packet_free(&packet);
    av_frame_free(&frame);
    avformat_close_input(&file);
    return 1;
}

/* ---- films ---- */

static const struct {
    const char *name, *codec, *suffix;
    int keep_fragments, channels;
    int64_t samples;
    lt_dtype dtype;
    int levels;                  /* at least; 10 bit has 877 from black to white, 8 bit 220 */
    double ramp_tol, colour_tol; /* codes of the file, at most 10 bit */
} films[] = {
    /* Ramp: 2 codes are what the film's users are promised; measured 1.1 of 8 bit (h264), 1.4 and
     * 1.5 of 10 bit (hevc, av1), 0.51 (prores: rounding), 0.02 (lossless). Colours: x2 of measured.
     */
    {"default", "h264", ".mp4", 0, 2, 40000, LT_U8, 190, 2.0, 1.5},
    {"8 bit dithered from 16", "h264", ".mp4", 0, 2, 40000, LT_U16, 190, 2.0, 1.5},
    {"samples that fill no AAC block", "h264", ".mp4", 0, 2, 39999, LT_U8, 190, 2.0, 1.5},
    {"samples that fill AAC blocks", "h264", ".mp4", 0, 2, 40960, LT_U8, 190, 2.0, 1.5},
    {"fragments kept", "h264", ".mp4", 1, 2, 40000, LT_U8, 190, 2.0, 1.5},
    {"mono", "h264", ".mp4", 0, 1, 40000, LT_U8, 190, 2.0, 1.5},
    {"AAC in MOV", "h264", ".mov", 0, 2, 40000, LT_U8, 190, 2.0, 1.5},
    {"FLAC in MKV", "h264", ".mkv", 0, 2, 40001, LT_U8, 190, 2.0, 1.5},
    {"no sound", "h264", ".mp4", 0, 2, 0, LT_U8, 190, 2.0, 1.5},
    {"hevc", "hevc", ".mp4", 0, 2, 40000, LT_U16, 700, 2.0, 2.0},
    {"av1", "av1", ".mp4", 0, 2, 40000, LT_U16, 700, 2.0, 2.5},
    {"ffv1", "ffv1", ".mkv", 0, 2, 40001, LT_U16, 1000, 0.1, 0.1},
    {"prores", "prores", ".mov", 0, 2, 40001, LT_U16, 700, 1.0, 1.0},
};

static int has_codec(const char *name)
{
    lt_mux_codec rows[16];
    const size_t count = lt_mux_codecs(rows, 16);
    assert_true(count >= 5 && count <= 16);
    for (size_t i = 0; i < count; i++)
        if (!strcmp(rows[i].name, name))
            return rows[i].available;
    fail_msg("%s is not in the list", name);
    return 0;
}

static void clicks_check(const char *name, const film *f, int64_t samples)
{
    const int64_t wanted[3] = {0, CLICK, samples - 1};
    if (f->clicks != 3)
        fail_msg("%s: want 3 clicks, found %d", name, f->clicks);
    for (int i = 0; i < 3; i++)
        if (f->click[i] != wanted[i])
            fail_msg("%s: want click %d at %lld, found %lld", name, i, (long long)wanted[i],
                     (long long)f->click[i]);
}

static void film_check(size_t i)
{
    const char *name = films[i].name,
               *path = in_folder("film.part"); /* an ending that says nothing */
    const int64_t samples = films[i].samples;
    const lt_mux_spec spec = {.path = path,
                              .suffix = films[i].suffix,
                              .codec = films[i].codec,
                              .width = W,
                              .height = H,
                              .frames = FRAMES,
                              .samples = samples,
                              .sample_rate = samples ? RATE : 0,
                              .channels = films[i].channels,
                              .threads = 2,
                              .keep_fragments = films[i].keep_fragments};
    if (lt_mux_check(&spec) != LT_OK || film_write(&spec, films[i].dtype, FRAMES, samples) != LT_OK)
        fail_msg("%s: %s", name, lt_error_text());
    film f;
    if (!film_read(path, &f))
        fail_msg("%s: does not open", name);
    if (f.frames != FRAMES || f.samples != samples)
        fail_msg("%s: found %lld frames, %lld samples", name, (long long)f.frames,
                 (long long)f.samples);
    if (!(f.video_start == 0) || (samples && !(fabs(f.audio_start) < 1e-9)))
        fail_msg("%s: starts at %g, %g", name, f.video_start, f.audio_start);
    const double off = fabs(f.video_seconds - FRAMES / 24.0); /* MKV counts milliseconds */
    if (!films[i].keep_fragments && !(off < 1e-3 + 1e-9))
        fail_msg("%s: picture lasts %g", name, f.video_seconds);
    if (samples && !films[i].keep_fragments && strcmp(films[i].suffix, ".mkv") != 0 &&
        !(fabs(f.audio_seconds - (double)samples / RATE) < 1e-9))
        fail_msg("%s: sound lasts %g", name, f.audio_seconds);
    if (samples)
        clicks_check(name, &f, samples);
    if (!f.tagged)
        fail_msg("%s: not tagged BT.709, limited", name);
    if (f.levels < films[i].levels || !(f.ramp_worst <= films[i].ramp_tol) ||
        !(f.colour_worst <= films[i].colour_tol))
        fail_msg("%s: %d levels (want %d), ramp %g codes off (allowed %g), colours %g (allowed %g)",
                 name, f.levels, films[i].levels, f.ramp_worst, films[i].ramp_tol, f.colour_worst,
                 films[i].colour_tol);
    print_message("%s: %d levels, ramp %.2f codes off, colours %.2f\n", name, f.levels,
                  f.ramp_worst, f.colour_worst);
    char whole[160];
    snprintf(whole, sizeof whole, "%s.whole", path);
    assert_int_not_equal(access(whole, F_OK), 0);
    unlink(path);
}

static void reads_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof films / sizeof *films; i++) {
        if (has_codec(films[i].codec))
            film_check(i);
        else
            print_message("%s: skipped, no encoder\n", films[i].name);
    }
}

/* A file that is cut off while it grows plays up to there, and its audio is in place. */
static void plays_while_it_grows(void **state)
{
    (void)state;
    static const char *const suffixes[] = {".mp4", ".mkv", ".mov"};
    static uint8_t rgb[3 * W * H];
    static float silence[RATE];
    frame_fill(rgb, LT_U8);
    for (size_t k = 0; k < 3; k++) {
        const char *path = in_folder("grows");
        const lt_mux_spec spec = {.path = path,
                                  .suffix = suffixes[k],
                                  .codec = "h264",
                                  .width = W,
                                  .height = H,
                                  .frames = 1000,
                                  .samples = 1000000,
                                  .sample_rate = RATE,
                                  .preset = "ultrafast"};
        lt_mux *mux = NULL;
        if (lt_mux_open(&spec, &mux) != LT_OK)
            fail_msg("%s", lt_error_text());
        for (int i = 0; i < 150; i++) {
            const float *pcm[2] = {silence, silence};
            silence[0] = i == 0 ? 0.9f : 0.0f;
            assert_int_equal(lt_mux_video(mux, rgb, LT_U8), LT_OK);
            assert_int_equal(lt_mux_audio(mux, pcm, 1333), LT_OK);
        }
        assert_true(lt_mux_bytes(mux) > 1000);
        film f;
        if (!film_read(path, &f) || f.frames < 48 || f.samples < 2 * RATE - 4096 || f.clicks != 1 ||
            f.click[0] != 0)
            fail_msg("%s: %lld frames, %lld samples, %d clicks, first at %lld", suffixes[k],
                     (long long)f.frames, (long long)f.samples, f.clicks, (long long)f.click[0]);
        lt_mux_abort(&mux);
        assert_int_not_equal(access(path, F_OK), 0); /* what is not finished goes */
    }
}

/* ---- refusals ---- */

#define SPEC .frames = 10, .sample_rate = 32000, .samples = 10
static const struct {
    const char *why, *says;
    lt_status status;
    lt_mux_spec spec;
} refusals[] = {
    {"no suffix",
     "film",
     LT_EUSAGE,
     {.path = "film", .codec = "h264", .width = 64, .height = 64, SPEC}},
    {"other suffix",
     ".avi",
     LT_EUSAGE,
     {.path = "f.avi", .codec = "h264", .width = 64, .height = 64, SPEC}},
    {"unknown codec",
     "vp3",
     LT_EUSAGE,
     {.path = "f.mp4", .codec = "vp3", .width = 64, .height = 64, SPEC}},
    {"no codec", "--codec", LT_EUSAGE, {.path = "f.mp4", .width = 64, .height = 64, SPEC}},
    {"av1 in MOV",
     ".mp4 .mkv",
     LT_EUSAGE,
     {.path = "f.mov", .codec = "av1", .width = 64, .height = 64, SPEC}},
    {"ffv1 in MP4",
     ".mkv",
     LT_EUSAGE,
     {.path = "f.mp4", .codec = "ffv1", .width = 64, .height = 64, SPEC}},
    {"prores in MP4",
     ".mov",
     LT_EUSAGE,
     {.path = "f.mp4", .codec = "prores", .width = 64, .height = 64, SPEC}},
    {"odd width",
     "63x64",
     LT_EUSAGE,
     {.path = "f.mp4", .codec = "h264", .width = 63, .height = 64, SPEC}},
    {"odd height",
     "64x63",
     LT_EUSAGE,
     {.path = "f.mp4", .codec = "hevc", .width = 64, .height = 63, SPEC}},
    {"no width",
     "0x64",
     LT_EUSAGE,
     {.path = "f.mp4", .codec = "h264", .width = 0, .height = 64, SPEC}},
    {"too wide",
     "99999",
     LT_EUSAGE,
     {.path = "f.mp4", .codec = "h264", .width = 99999, .height = 64, SPEC}},
    {"no frames",
     "--frames",
     LT_EUSAGE,
     {.path = "f.mp4", .codec = "h264", .width = 64, .height = 64}},
    {"AAC has no such rate",
     "12345",
     LT_EUSAGE,
     {.path = "f.mp4",
      .codec = "h264",
      .width = 64,
      .height = 64,
      .frames = 1,
      .sample_rate = 12345}},
    {"six channels",
     "channels",
     LT_EUSAGE,
     {.path = "f.mp4", .codec = "h264", .width = 64, .height = 64, .channels = 6, SPEC}},
    {"quality past the end",
     "--crf",
     LT_EUSAGE,
     {.path = "f.mp4", .codec = "h264", .width = 64, .height = 64, .crf = 60, SPEC}},
    {"no such preset",
     "warp",
     LT_EUSAGE,
     {.path = "f.mp4", .codec = "h264", .width = 64, .height = 64, .preset = "warp", SPEC}},
    {"a preset where there is none",
     "--preset",
     LT_EUSAGE,
     {.path = "f.mov", .codec = "prores", .width = 64, .height = 64, .preset = "slow", SPEC}},
};

static void refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        lt_error_clear();
        const lt_status status = lt_mux_check(&refusals[i].spec);
        if (status != refusals[i].status || !strstr(lt_error_text(), refusals[i].says))
            fail_msg("%s: %s: %s", refusals[i].why, lt_status_name(status), lt_error_text());
    }
}

static void reports_file_errors(void **state)
{
    (void)state;
    static const char *const suffixes[] = {".mp4", ".mkv"};
    lt_mux_spec spec = {.codec = "h264",
                        .width = W,
                        .height = H,
                        .frames = 200,
                        .sample_rate = RATE,
                        .samples = 200000,
                        .preset = "ultrafast"};
    for (size_t k = 0; k < 2; k++) {
        spec.suffix = suffixes[k];
        spec.path = "/nowhere/film";
        assert_int_equal(film_write(&spec, LT_U8, 200, 200000), LT_ECREATE);
        assert_non_null(
            strstr(lt_error_text(), "/nowhere/film: cannot be made: /nowhere: No such"));
        spec.path = "/dev/full";
        assert_int_equal(film_write(&spec, LT_U8, 200, 200000), LT_ECREATE);
        assert_non_null(strstr(lt_error_text(), "found a device of that name"));
        /* Writes past the limit fail, as on a full disk; nothing is left then. */
        struct rlimit old, small = {1 << 12, 1 << 12};
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        small.rlim_max = old.rlim_max;
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &small);
        spec.path = in_folder("full");
        const lt_status status = film_write(&spec, LT_U8, 200, 200000);
        setrlimit(RLIMIT_FSIZE, &old);
        signal(SIGXFSZ, SIG_DFL);
        assert_int_equal(status, LT_EIO);
        assert_non_null(strstr(lt_error_text(), "File too large"));
    }
}

static void counts_are_kept(void **state)
{
    (void)state;
    lt_mux_spec spec = {.path = in_folder("counts"),
                        .suffix = ".mp4",
                        .codec = "h264",
                        .width = W,
                        .height = H,
                        .frames = 5,
                        .sample_rate = RATE,
                        .samples = 5000};
    assert_int_equal(film_write(&spec, LT_U8, 4, 5000), LT_EINTERNAL); /* a frame short */
    assert_int_equal(film_write(&spec, LT_U8, 5, 4999), LT_EINTERNAL); /* a sample short */
    assert_int_equal(film_write(&spec, LT_U8, 6, 5000), LT_ESHAPE);    /* a frame too many */
    assert_int_equal(film_write(&spec, LT_U8, 5, 5001), LT_ESHAPE);    /* a sample too many */
    spec.codec = "ffv1";
    spec.suffix = ".mkv";
    assert_int_equal(film_write(&spec, LT_U8, 5, 5000), LT_ESHAPE); /* 8 bit into a codec of more */
    spec.codec = "h264";
    lt_mux *mux = NULL;
    assert_int_equal(lt_mux_open(&spec, &mux), LT_OK);
    const float bad[3] = {0, 0, NAN}, *pcm[2] = {bad, bad};
    assert_int_equal(lt_mux_audio(mux, pcm, 3), LT_EDATA);
    lt_mux_abort(&mux);
    unlink(spec.path);
}

static void knows_suffixes(void **state)
{
    (void)state;
    assert_string_equal(lt_mux_suffix("a/b.MP4"), ".mp4");
    assert_string_equal(lt_mux_suffix("x.mkv"), ".mkv");
    assert_null(lt_mux_suffix("mp4"));
    assert_null(lt_mux_suffix(""));
    assert_non_null(strstr(lt_mux_library(), "libavcodec"));
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lt_test_mux.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails if a test left something behind */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_back),      cmocka_unit_test(plays_while_it_grows),
        cmocka_unit_test(refuses),         cmocka_unit_test(reports_file_errors),
        cmocka_unit_test(counts_are_kept), cmocka_unit_test(knows_suffixes),
    };
    return cmocka_run_group_tests_name("mux", tests, make_folder, remove_folder);
}
