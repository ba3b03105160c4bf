/* video_vae.c - H3's video decoder: latents to frames, chunk by chunk, tile by tile.
 *
 *   z [C,7,h,w] --cut--> tokens of a tile --h3_vit--> rows of pixels --unpack--> [28*3, 256, 256]
 *       --stitch--> raw frames [28, 3, H, W] --finish--> 17 (22) frames
 *
 * The stitcher keeps strips only (tiles.c). Unpacking and stitching are host work, some
 * hundredths of a tile's network. */
#include "model/h3/video_vae.h"

#include "model/h3/tiles.h"
#include "model/h3/vit.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ImageNet's statistics, per colour: the VAE's pixel space (spec/minimax-h3.md 6). */
static const float pixel_mean[3] = {0.485f, 0.456f, 0.406f};
static const float pixel_std[3] = {0.229f, 0.224f, 0.225f};

/* What a chunk needs beside its frames. Cells are latent, the tiles' pixels are space_ratio times
 * as many. */
typedef struct chunk_work {
    int64_t t, h, w;        /* of the chunk */
    int64_t tile_h, tile_w; /* of a tile */
    int64_t tile_values;    /* pixels of a tile of all planes */
    lt_h3_axis y, x;        /* in pixels */
    float *tokens;          /* [t*tile_h*tile_w, C] */
    /* not where this rank only helps others */
    int keeps;
    int64_t dry_bytes; /* dry: what these buffers would take */
    lt_h3_stitch stitch;
    float *rows; /* [t*tile_h*tile_w, 3*pt*p*p] */
    float *tile; /* [pt*t, 3, p*tile_h, p*tile_w] */
} chunk_work;

struct lt_h3_video_decoder {
    lt_h3_video_config config;
    lt_engine *engine;
    lt_weights *weights;
    lt_h3_vit *vit;
    chunk_work work; /* of the last chunk: the next one of that size takes its buffers over */
    int dry;
};

static void chunk_close(chunk_work *work)
{
    free(work->tokens);
    free(work->rows);
    free(work->tile);
    lt_h3_stitch_close(&work->stitch);
    lt_dry_host(-work->dry_bytes);
    *work = (chunk_work){0};
}

lt_status lt_h3_video_decoder_open(lt_checkpoint *checkpoint, lt_engine *engine,
                                   const lt_h3_video_config *config, lt_h3_video_decoder **out)
{
    *out = NULL;
    static const char *const others[] = {"encoder.", "quant_conv.", NULL};
    lt_h3_video_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL)
        LT_FAIL(LT_ENOMEM, "video VAE: no memory for its description");
    decoder->config = *config;
    decoder->engine = engine;
    lt_status st;
    LT_TRY_GOTO(lt_weights_open(checkpoint, engine, LT_F32, &decoder->weights), st, failed);
    decoder->dry = lt_weights_is_dry(decoder->weights);
    LT_TRY_GOTO(lt_h3_vit_open(decoder->weights, &decoder->config, &decoder->vit), st, failed);
    LT_TRY_GOTO(lt_checkpoint_all_used(checkpoint, others), st, failed);
    lt_weights_rest(decoder->weights);
    *out = decoder;
    return LT_OK;
failed:
    lt_h3_video_decoder_close(&decoder);
    return st;
}

void lt_h3_video_decoder_close(lt_h3_video_decoder **decoder)
{
    if (*decoder == NULL)
        return;
    chunk_close(&(*decoder)->work);
    lt_h3_vit_close(&(*decoder)->vit);
    lt_weights_close(&(*decoder)->weights);
    free(*decoder);
    *decoder = NULL;
}

void lt_h3_video_denormalise(const lt_h3_video_config *config, const float *latents, int64_t count,
                             float *z)
{
    assert(count >= 0);
    for (int64_t c = 0; c < config->latent_channels; c++)
        for (int64_t i = c * count; i < (c + 1) * count; i++)
            z[i] = latents[i] * config->latents_std[c] + config->latents_mean[c];
}

void lt_h3_video_chunk_take(const lt_h3_video_config *config, const float *z, int64_t latent_frames,
                            int64_t h, int64_t w, int64_t chunk, float *out)
{
    assert(chunk >= 0 && chunk < lt_h3_video_chunk_count(config, latent_frames));
    const int64_t length = lt_h3_video_chunk_latents(config), cells = h * w;
    for (int64_t c = 0; c < config->latent_channels; c++)
        for (int64_t k = 0; k < length; k++) {
            const int64_t want = chunk * config->stride_latents + k;
            const int64_t from = want < latent_frames ? want : latent_frames - 1;
            memcpy(out + (c * length + k) * cells, z + (c * latent_frames + from) * cells,
                   (size_t)cells * sizeof *out);
        }
}

/* ---- one chunk ---- */
static void chunk_sizes(const lt_h3_video_config *c, int64_t t, int64_t h, int64_t w,
                        chunk_work *work)
{
    const int64_t p = c->space_ratio;
    *work = (chunk_work){.t = t, .h = h, .w = w};
    work->y = lt_h3_axis_split(h * p, c->tile, c->tile_overlap_min, p);
    work->x = lt_h3_axis_split(w * p, c->tile, c->tile_overlap_min, p);
    work->tile_h = work->y.tile / p;
    work->tile_w = work->x.tile / p;
    work->tile_values = c->time_ratio * t * c->pixel_channels * work->y.tile * work->x.tile;
}

static size_t token_floats(const lt_h3_video_config *c, const chunk_work *work)
{
    return (size_t)(work->t * work->tile_h * work->tile_w * c->latent_channels);
}

/* Host bytes that decoding one chunk of h x w latent cells takes beside its frames. */
static size_t chunk_host_bytes(const lt_h3_video_config *config, int64_t h, int64_t w)
{
    chunk_work work;
    chunk_sizes(config, lt_h3_video_chunk_latents(config), h, w, &work);
    const int64_t planes = lt_h3_video_chunk_frames(config) * config->pixel_channels;
    return (token_floats(config, &work) + 2 * (size_t)work.tile_values) * sizeof(float) +
           lt_h3_stitch_bytes(&work.y, &work.x, planes);
}

/* On dry: what chunk_open would take. */
static void chunk_count(const lt_h3_video_config *c, int64_t t, int64_t h, int64_t w, int keeps,
                        chunk_work *work)
{
    const size_t whole = chunk_host_bytes(c, h, w);
    chunk_close(work);
    chunk_sizes(c, t, h, w, work);
    work->dry_bytes = (int64_t)(keeps ? whole : token_floats(c, work) * sizeof(float));
    lt_dry_host(work->dry_bytes);
}

static lt_status chunk_buffers(const lt_h3_video_config *c, int threads, chunk_work *work)
{
    const int64_t planes = c->time_ratio * work->t * c->pixel_channels, values = work->tile_values;
    work->tokens = malloc(token_floats(c, work) * sizeof(float));
    if (work->tokens == NULL)
        LT_FAIL(LT_ENOMEM, "video VAE: no memory for a tile's %zu latents", token_floats(c, work));
    if (!work->keeps)
        return LT_OK;
    work->rows = malloc((size_t)values * sizeof(float));
    work->tile = malloc((size_t)values * sizeof(float));
    if (work->rows == NULL || work->tile == NULL)
        LT_FAIL(LT_ENOMEM, "video VAE: no memory for a tile of %lld values", (long long)values);
    return lt_h3_stitch_open(&work->y, &work->x, planes, threads, &work->stitch);
}

/* Buffers for chunks of this size; on failure there are none, and the next chunk tries anew. */
static lt_status chunk_open(const lt_h3_video_config *c, int threads, int64_t t, int64_t h,
                            int64_t w, int keeps, chunk_work *work)
{
    if (work->t == t && work->h == h && work->w == w && work->keeps >= keeps)
        return LT_OK;
    chunk_close(work);
    chunk_sizes(c, t, h, w, work);
    work->keeps = keeps;
    const lt_status st = chunk_buffers(c, threads, work);
    if (st != LT_OK)
        chunk_close(work);
    return st;
}

/* The cells of tile (i, j) as token rows. */
static void cut_tokens(const lt_h3_video_config *c, const chunk_work *work, const float *z,
                       int64_t i, int64_t j)
{
    const int64_t y0 = lt_h3_axis_start(&work->y, i) / c->space_ratio;
    const int64_t x0 = lt_h3_axis_start(&work->x, j) / c->space_ratio;
    const int64_t channels = c->latent_channels;
    float *to = work->tokens;
    for (int64_t t = 0; t < work->t; t++)
        for (int64_t y = 0; y < work->tile_h; y++)
            for (int64_t x = 0; x < work->tile_w; x++, to += channels) {
                const float *from = z + (t * work->h + y0 + y) * work->w + x0 + x;
                for (int64_t k = 0; k < channels; k++)
                    to[k] = from[k * work->t * work->h * work->w];
            }
}

/* rows [t, h, w, (channel, frame, row, column)] -> tile [frame of t, channel, row of h, column of
 * w]. */
static void unpack_pixels(const lt_h3_video_config *c, const chunk_work *work, int threads)
{
    const int64_t p = c->space_ratio, pt = c->time_ratio, colours = c->pixel_channels;
    const int64_t tile_h = work->tile_h, tile_w = work->tile_w;
    const int64_t row_values = colours * pt * p * p, planes = work->t * pt * colours;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t plane = 0; plane < planes; plane++) {
        const int64_t colour = plane % colours, a = plane / colours % pt, t = plane / colours / pt;
        float *to = work->tile + plane * tile_h * p * tile_w * p;
        for (int64_t y = 0; y < tile_h * p; y++)
            for (int64_t x = 0; x < tile_w; x++, to += p) {
                const float *row = work->rows + ((t * tile_h + y / p) * tile_w + x) * row_values;
                memcpy(to, row + ((colour * pt + a) * p + y % p) * p, (size_t)p * sizeof *to);
            }
    }
}

lt_status lt_h3_video_decode_chunk(lt_h3_video_decoder *decoder, const float *z, int64_t t,
                                   int64_t h, int64_t w, float *frames)
{
    const lt_h3_video_config *c = &decoder->config;
    const int threads = decoder->engine->threads;
    if (t < 1 || h < 1 || w < 1)
        LT_FAIL(LT_ESHAPE,
                "video decode: want latents of at least 1 frame, row and column, found %lld, %lld, "
                "%lld",
                (long long)t, (long long)h, (long long)w);
    chunk_work *work = &decoder->work;
    if (decoder->dry)
        chunk_count(c, t, h, w, frames != NULL, work);
    else
        LT_TRY(chunk_open(c, threads, t, h, w, frames != NULL, work));
    float *rows = frames != NULL ? work->rows : NULL;
    for (int64_t i = 0; i < work->y.count; i++)
        for (int64_t j = 0; j < work->x.count; j++) {
            if (!decoder->dry)
                cut_tokens(c, work, z, i, j);
            LT_TRY(lt_h3_vit_tile(decoder->vit, work->tokens, t, work->tile_h, work->tile_w, rows));
            if (decoder->dry || frames == NULL)
                continue;
            unpack_pixels(c, work, threads);
            lt_h3_stitch_tile(&work->stitch, i, j, work->tile, frames);
        }
    return LT_OK;
}

/* ---- chunks in time ---- */
static int64_t frame_values(const lt_h3_video_config *c, int64_t h, int64_t w)
{
    return c->pixel_channels * c->space_ratio * c->space_ratio * h * w;
}

const float *lt_h3_video_overlap(const lt_h3_video_config *config, const float *raw, int64_t h,
                                 int64_t w)
{
    const int64_t first = lt_h3_video_chunk_frames(config) - config->overlap_frames;
    return raw + first * frame_values(config, h, w);
}

float *lt_h3_video_finish_chunk(const lt_h3_video_config *config, float *raw, int64_t h, int64_t w,
                                const float *overlap_before, int last, int64_t *count)
{
    const int64_t values = frame_values(config, h, w), fade = config->overlap_frames;
    float *body = raw + config->pre_frames * values;
    assert(raw != NULL && fade <= config->clip_length);
    for (int64_t k = 0; k < fade && overlap_before != NULL; k++) {
        const float weight = (float)k / (float)fade;
        float *to = body + k * values;
        const float *from = overlap_before + k * values;
        for (int64_t i = 0; i < values; i++)
            to[i] = from[i] * (1 - weight) + to[i] * weight;
    }
    *count = config->clip_length;
    if (last && fade > 0) {
        memmove(body + config->clip_length * values, lt_h3_video_overlap(config, raw, h, w),
                (size_t)(fade * values) * sizeof *raw);
        *count += fade;
    }
    return body;
}

/* Buffers of lt_h3_video_decode. */
typedef struct film {
    float *z, *raw, *overlap;
} film;

static lt_status film_open(const lt_h3_video_config *c, int64_t h, int64_t w, film *f)
{
    const int64_t values = frame_values(c, h, w);
    const size_t latents = (size_t)(c->latent_channels * lt_h3_video_chunk_latents(c) * h * w);
    f->z = malloc(latents * sizeof(float));
    f->raw = malloc((size_t)(lt_h3_video_chunk_frames(c) * values) * sizeof(float));
    f->overlap = malloc((size_t)(c->overlap_frames * values) * sizeof(float) + 1);
    if (f->z == NULL || f->raw == NULL || f->overlap == NULL)
        LT_FAIL(LT_ENOMEM, "video VAE: no memory for a clip of %lld frames of %lld values",
                (long long)lt_h3_video_chunk_frames(c), (long long)values);
    return LT_OK;
}

/* Chunk number `chunk`, from z to the sink. */
static lt_status decode_one(lt_h3_video_decoder *decoder, const float *z, int64_t latent_frames,
                            int64_t h, int64_t w, int64_t chunk, const film *f,
                            lt_h3_frames_sink sink, void *ctx)
{
    const lt_h3_video_config *c = &decoder->config;
    const int64_t length = lt_h3_video_chunk_latents(c),
                  total = lt_h3_video_frame_count(c, latent_frames);
    const int last = chunk == lt_h3_video_chunk_count(c, latent_frames) - 1;
    if (decoder->dry)
        return lt_h3_video_decode_chunk(decoder, NULL, length, h, w, NULL);
    lt_h3_video_chunk_take(c, z, latent_frames, h, w, chunk, f->z);
    LT_TRY(lt_h3_video_decode_chunk(decoder, f->z, length, h, w, f->raw));
    const int64_t first = chunk * c->clip_length;
    int64_t count = 0;
    const float *done = NULL;
    const size_t overlap_bytes =
        (size_t)(c->overlap_frames * frame_values(c, h, w)) * sizeof(float);
    /* The old overlap frames are faded in first; then the new ones take their place. */
    done = lt_h3_video_finish_chunk(c, f->raw, h, w, chunk > 0 ? f->overlap : NULL, last, &count);
    if (!last)
        memcpy(f->overlap, lt_h3_video_overlap(c, f->raw, h, w), overlap_bytes);
    if (count > total - first)
        count = total - first;
    return count > 0 ? sink(ctx, first, count, done) : LT_OK;
}

lt_status lt_h3_video_decode(lt_h3_video_decoder *decoder, const float *z, int64_t latent_frames,
                             int64_t h, int64_t w, lt_h3_frames_sink sink, void *ctx)
{
    const lt_h3_video_config *c = &decoder->config;
    const int64_t chunks = lt_h3_video_chunk_count(c, latent_frames);
    if (chunks < 1)
        LT_FAIL(LT_EDATA, "latents: want at least %lld latent frames, found %lld",
                (long long)(c->overlap_latents + 1), (long long)latent_frames);
    if (h < 1 || w < 1)
        LT_FAIL(LT_EDATA, "latents: want at least 1 row and column, found %lld x %lld",
                (long long)h, (long long)w);
    film f = {0};
    lt_status st = LT_OK;
    if (!decoder->dry)
        LT_TRY_GOTO(film_open(c, h, w, &f), st, done);
    for (int64_t chunk = 0; chunk < chunks; chunk++)
        LT_TRY_GOTO(decode_one(decoder, z, latent_frames, h, w, chunk, &f, sink, ctx), st, done);
done:
    free(f.z);
    free(f.raw);
    free(f.overlap);
    return st;
}

/* ---- to integers ---- */
/* x in VAE space -> [0, top], rounded half to even; NaN gives 0. */
static float quantise(float x, float std, float mean, float top)
{
    const float v = x * std + mean;
    const float clamped = v > 0 ? (v < 1 ? v : 1.0f) : 0.0f;
    return rintf(clamped * top);
}

void lt_h3_video_to_u8(const float *frames, int64_t n, int64_t pixels, int threads, uint8_t *out)
{
    assert(n >= 0 && pixels >= 0 && threads >= 1);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t plane = 0; plane < 3 * n; plane++)
        for (int64_t i = plane * pixels; i < (plane + 1) * pixels; i++)
            out[i] =
                (uint8_t)quantise(frames[i], pixel_std[plane % 3], pixel_mean[plane % 3], 255.0f);
}

void lt_h3_video_to_u16(const float *frames, int64_t n, int64_t pixels, int threads, uint16_t *out)
{
    assert(n >= 0 && pixels >= 0 && threads >= 1);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t plane = 0; plane < 3 * n; plane++)
        for (int64_t i = plane * pixels; i < (plane + 1) * pixels; i++)
            out[i] = (uint16_t)quantise(frames[i], pixel_std[plane % 3], pixel_mean[plane % 3],
                                        65535.0f);
}
