/* mux_video.c - planar RGB to what the encoder takes.
 * BT.709's matrix and limited range by swscale: full-range R'G'B' in, Y'CbCr out (ITU-R BT.709-6,
 * 3). swscale's own default is BT.601's matrix, which shifts greens and reds visibly in HD players:
 * hence sws_setColorspaceDetails. Chroma is sited as H.264 and HEVC assume by default (left,
 * between rows). */
#include <assert.h>
#include <libavutil/opt.h>
#include <string.h>

#include "media/mux_internal.h"

static lt_status frame_new(lt_mux *mux, enum AVPixelFormat format, AVFrame **out)
{
    AVFrame *frame = av_frame_alloc();
    *out = frame;
    if (!frame)
        LT_FAIL(LT_ENOMEM, "no memory for a frame");
    frame->format = format;
    frame->width = mux->plan.width;
    frame->height = mux->plan.height;
    frame->color_range = AVCOL_RANGE_MPEG;
    frame->color_primaries = AVCOL_PRI_BT709;
    frame->color_trc = AVCOL_TRC_BT709;
    frame->colorspace = AVCOL_SPC_BT709;
    frame->chroma_location = AVCHROMA_LOC_LEFT;
    if (av_frame_get_buffer(frame, 64) < 0)
        LT_FAIL(LT_ENOMEM, "no memory for a frame of %dx%d", mux->plan.width, mux->plan.height);
    return LT_OK;
}

static lt_status convert_new(lt_mux *mux, enum AVPixelFormat from)
{
    const mux_plan *plan = &mux->plan;
    const AVPixFmtDescriptor *to = av_pix_fmt_desc_get(plan->codec->format);
    struct SwsContext *c = sws_alloc_context();
    mux->convert = c;
    if (!c)
        LT_FAIL(LT_ENOMEM, "no memory for the colour conversion");
    const struct {
        const char *name;
        int64_t value;
    } options[] = {
        {"srcw", plan->width},
        {"srch", plan->height},
        {"src_format", from},
        {"src_range", 1},
        {"dstw", plan->width},
        {"dsth", plan->height},
        {"dst_format", plan->codec->format},
        {"dst_range", 0},
        {"sws_flags", SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP},
        {"dst_h_chr_pos", to->log2_chroma_w ? 0 : -513},   /* 0: on the left luma sample */
        {"dst_v_chr_pos", to->log2_chroma_h ? 128 : -513}, /* 128: halfway between two rows */
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (av_opt_set_int(c, options[i].name, options[i].value, 0) < 0)
            LT_FAIL(LT_EINTERNAL, "swscale has no option %s", options[i].name);
    const int *matrix = sws_getCoefficients(SWS_CS_ITU709);
    if (sws_init_context(c, NULL, NULL) < 0 ||
        sws_setColorspaceDetails(c, matrix, 1, matrix, 0, 0, 1 << 16, 1 << 16) < 0)
        LT_FAIL(LT_EUNAVAIL, "swscale cannot convert %s to %s", av_get_pix_fmt_name(from),
                av_get_pix_fmt_name(plan->codec->format));
    return LT_OK;
}

/* On the first frame, when the dtype is known. */
static lt_status video_begin(lt_mux *mux, lt_dtype dtype)
{
    const int bits = mux->plan.codec->bits;
    if (dtype != LT_U16 && (dtype != LT_U8 || bits > 8))
        LT_FAIL(LT_ESHAPE, "frames for %s (%d bit): want U16%s, found %s", mux->plan.codec->name,
                bits, bits > 8 ? "" : " or U8", lt_dtype_name(dtype));
    const enum AVPixelFormat from = dtype == LT_U16 ? AV_PIX_FMT_GBRP16 : AV_PIX_FMT_GBRP;
    LT_TRY(frame_new(mux, from, &mux->frame_in));
    LT_TRY(frame_new(mux, mux->plan.codec->format, &mux->frame_out));
    LT_TRY(convert_new(mux, from));
    mux->convert_dtype = dtype;
    return LT_OK;
}

/* Copied, because swscale's vector code reads past the end of rows; av_frame_get_buffer pads.
 * swscale takes 255 * 256 for white in 16 bit, not 65535: unscaled, white would come out 3 codes of
 * 10 bit too bright (measured on a ramp; the error is a gain of 257/256). */
static void frame_copy(lt_mux *mux, const void *rgb, lt_dtype dtype)
{
    static const int plane_of[3] = {2, 0, 1}; /* R, G, B stand in planes G, B, R */
    const size_t width = (size_t)mux->plan.width, height = (size_t)mux->plan.height;
    for (size_t channel = 0; channel < 3; channel++)
        for (size_t y = 0; y < height; y++) {
            const size_t from = (channel * height + y) * width;
            uint8_t *to = mux->frame_in->data[plane_of[channel]] +
                          (ptrdiff_t)y * mux->frame_in->linesize[plane_of[channel]];
            if (dtype == LT_U8) {
                memcpy(to, (const uint8_t *)rgb + from, width);
                continue;
            }
            const uint16_t *wide = (const uint16_t *)rgb + from;
            uint16_t *wide_to = (uint16_t *)(void *)to;
            for (size_t x = 0; x < width; x++)
                wide_to[x] = (uint16_t)((wide[x] * 256u + 128u) / 257u);
        }
}

lt_status lt_mux_video_frame(lt_mux *mux, const void *rgb, lt_dtype dtype)
{
    if (!mux->convert)
        LT_TRY(video_begin(mux, dtype));
    if (dtype != mux->convert_dtype)
        LT_FAIL(LT_ESHAPE, "%s: frames of one film: want %s, found %s", mux->path,
                lt_dtype_name(mux->convert_dtype), lt_dtype_name(dtype));
    frame_copy(mux, rgb, dtype);
    if (av_frame_make_writable(mux->frame_out) < 0) /* the encoder may still hold the last one */
        LT_FAIL(LT_ENOMEM, "no memory for a frame of %dx%d", mux->plan.width, mux->plan.height);
    const int rows = sws_scale(mux->convert, (const uint8_t *const *)mux->frame_in->data,
                               mux->frame_in->linesize, 0, mux->plan.height, mux->frame_out->data,
                               mux->frame_out->linesize);
    if (rows < 0)
        return lt_mux_fail(mux, rows, "colour conversion");
    if (rows != mux->plan.height)
        LT_FAIL(LT_EINTERNAL, "%s: colour conversion made %d of %d rows", mux->path, rows,
                mux->plan.height);
    return LT_OK;
}
