/* mux_memory.c - how much memory an encoder and a muxer take.
 *
 * Encoders keep frames: the ones that they look ahead at before they code the first, and those that
 * later ones are predicted from. Each is padded on all sides, so that small frames cost more a
 * pixel than large ones. A codec's need is thus
 *
 *     fixed + frames waiting x bytes of one + frames kept x bytes of one + pixels x rest
 *
 * Sizes of frames are the libraries' own: x264 0.164, common/frame.c (PADH2 = 96, PADV = 32, rows
 * aligned to 64, four planes at half size for the look-ahead) and common/frame.h (per macroblock:
 * vectors and costs for 3 B-frames); x265 3.5, common/picyuv.cpp (margins of 96 on each side, 16
 * bits a sample) and common/lowres.cpp. The fixed parts and `rest` are measured with lt_mux alone:
 * 64x64, 256x256, 32x2048 and 1024x1024, 5 to 200 frames, 1 to 4 threads (Debian 12). */
#include <string.h>

#include "media/mux_internal.h"

static int64_t aligned(int64_t n) { return (n + 63) / 64 * 64; }

static int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

/* Frames that x264 and x265 look ahead at, by preset (x264: common/base.c, x265: common/param.cpp);
 * -1 where the encoder has none of that name. */
static int64_t look_ahead(const char *preset, int is_x265)
{
    static const struct {
        const char *preset;
        int64_t x264, x265;
    } rows[] = {{"ultrafast", 0, 5}, {"superfast", 0, 10}, {"veryfast", 10, 15},
                {"faster", 20, 15},  {"fast", 30, 15},     {"medium", 40, 20},
                {"slow", 50, 25},    {"slower", 60, 40},   {"veryslow", 60, 40},
                {"placebo", 60, 60}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].preset, preset) == 0)
            return is_x265 ? rows[i].x265 : rows[i].x264;
    return 40;
}

static int64_t x264_bytes(const mux_plan *p, int64_t *fixed)
{
    const int64_t w = (p->width + 15) / 16 * 16, h = (p->height + 15) / 16 * 16;
    const int64_t blocks = w / 16 * (h / 16), luma = aligned(w + 96) * (h + 64);
    const int64_t low = 4 * aligned(w / 2 + 96) * (h / 2 + 64);
    const int64_t waiting = lesser(p->frames, look_ahead(p->preset, 0) + 5 + p->threads);
    const int64_t source = luma * 3 / 2 + low + 165 * blocks + 8192;
    const int64_t kept = luma * 9 / 2 + 64 * blocks; /* with the three planes between samples */
    *fixed = (int64_t)9 << 20;
    return waiting * source + (4 + p->threads) * kept + 7 * w * h;
}

static int64_t x265_bytes(const mux_plan *p, int64_t *fixed)
{
    const int64_t w = p->width, h = p->height;
    const int64_t source = 3 * (w + 192) * (h + 192) + 8 * (w / 2 + 192) * (h / 2 + 192);
    const int64_t waiting = lesser(p->frames, look_ahead(p->preset, 1) + 11);
    *fixed = (int64_t)15 << 20;
    return waiting * source + 64 * w * h;
}

/* SVT-AV1 1.4 takes most of it when it is opened. */
static int64_t svt_bytes(const mux_plan *p, int64_t *fixed)
{
    const int64_t w = p->width, h = p->height;
    *fixed = (int64_t)24 << 20;
    return lesser(p->frames, 44) * (w + 64) * (h + 64) * 17 / 5 + 105 * w * h;
}

size_t lt_mux_memory_bytes(const lt_mux_spec *spec)
{
    mux_plan plan;
    int64_t fixed = (int64_t)9 << 20, bytes = 0;
    if (lt_mux_plan(spec, &plan) != LT_OK) { /* refused elsewhere, in words */
        lt_error_clear();
        return 0;
    }
    const int64_t pixels = (int64_t)plan.width * plan.height;
    const char *name = plan.codec->encoder;
    if (strcmp(name, "libx264") == 0)
        bytes = x264_bytes(&plan, &fixed);
    else if (strcmp(name, "libx265") == 0)
        bytes = x265_bytes(&plan, &fixed);
    else if (strcmp(name, "ffv1") == 0)
        bytes = 200 * pixels; /* four slices, each with room for its worst case */
    else if (strcmp(name, "libsvtav1") == 0)
        bytes = svt_bytes(&plan, &fixed);
    else { /* ProRes: its worst frame, and those that are on their way into the file */
        bytes = 45 * pixels;
        fixed = (int64_t)7 << 20;
    }
    return (size_t)(fixed + bytes);
}
