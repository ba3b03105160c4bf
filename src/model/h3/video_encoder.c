/* video_encoder.c - H3's video encoder: frames to the moments of latents.
 *
 * A tile of a chunk is [T, H, W, channels] on the device. Four flat buffers of the largest
 * activation serve all layers, since a layer's result outlives its scratch and an arena gives back
 * last things first:
 *
 *     x --norm1,silu--> a --reflect--> padded --conv1--> b --norm2,silu--> b --reflect--> padded
 * --conv2--> a x (or its 1x1 shortcut, in b) is added to a; then a and x change roles
 *
 * Convolutions look back in time only: two zero frames come before, none after. Norms see one frame
 * each, since time takes the place of the batch. */
#include "model/h3/video_encoder.h"

#include "model/h3/tensors.h"
#include "model/h3/tiles.h"
#include "model/h3/vae_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef struct norm {
    lt_tensor w, b;
} norm;
typedef struct resnet {
    int64_t in, out;
    norm norm1, norm2;
    lt_conv *conv1, *conv2;
    lt_linear *shortcut; /* NULL where in == out */
} resnet;
typedef struct level {
    resnet *resnets;
    lt_conv *down;
} level;

struct lt_h3_video_encoder {
    lt_h3_video_config config;
    lt_engine *engine;
    lt_weights *weights;
    int dry;
    lt_conv *conv_in, *conv_out;
    norm norm_out;
    lt_linear *quant;
    level levels[LT_H3_VAE_LEVELS_MAX];
};

/* ---- opening ---- */
static lt_status open_conv(lt_weights *weights, const char *name, int64_t in, int64_t out,
                           int64_t time_stride, int64_t space_stride, lt_conv **conv)
{
    const lt_conv_spec spec = {
        .in = in,
        .out = out,
        .kernel = {3, 3, 3},
        .stride = {time_stride, space_stride, space_stride},
        .dilation = {1, 1, 1},
        .pad_before = {2, 0, 0},
    };
    return lt_h3_conv3d(weights, name, &spec, conv);
}

static lt_status open_norm(lt_weights *weights, const char *prefix, int64_t channels, norm *out)
{
    char name[LT_H3_NAME_BYTES];
    lt_h3_name(name, "%s.weight", prefix);
    LT_TRY(lt_weights_tensor(weights, name, LT_DIMS(channels), LT_F32, &out->w));
    lt_h3_name(name, "%s.bias", prefix);
    return lt_weights_tensor(weights, name, LT_DIMS(channels), LT_F32, &out->b);
}

static lt_status open_resnet(lt_weights *weights, int64_t l, int64_t i, int64_t in, int64_t out,
                             resnet *r)
{
    char prefix[LT_H3_NAME_BYTES / 2], name[LT_H3_NAME_BYTES];
    (void)snprintf(prefix, sizeof prefix, "encoder.down_blocks.%d.resnets.%d", (int)l, (int)i);
    *r = (resnet){.in = in, .out = out};
    lt_h3_name(name, "%s.norm1", prefix);
    LT_TRY(open_norm(weights, name, in, &r->norm1));
    lt_h3_name(name, "%s.conv1", prefix);
    LT_TRY(open_conv(weights, name, in, out, 1, 1, &r->conv1));
    lt_h3_name(name, "%s.norm2", prefix);
    LT_TRY(open_norm(weights, name, out, &r->norm2));
    lt_h3_name(name, "%s.conv2", prefix);
    LT_TRY(open_conv(weights, name, out, out, 1, 1, &r->conv2));
    lt_h3_name(name, "%s.conv_shortcut", prefix);
    return in != out ? lt_h3_pointwise(weights, name, out, in, 3, &r->shortcut) : LT_OK;
}

static lt_status open_level(lt_h3_video_encoder *e, int64_t l)
{
    const lt_h3_video_config *c = &e->config;
    const int64_t out = c->channels[l], before = l > 0 ? c->channels[l - 1] : c->channels[0];
    level *to = &e->levels[l];
    to->resnets = calloc((size_t)c->layers_per_block, sizeof *to->resnets);
    if (to->resnets == NULL)
        LT_FAIL(LT_ENOMEM, "video encoder: no memory for %d layers' descriptions",
                (int)c->layers_per_block);
    for (int64_t i = 0; i < c->layers_per_block; i++)
        LT_TRY(open_resnet(e->weights, l, i, i == 0 ? before : out, out, &to->resnets[i]));
    if (c->space_factor[l] == 1)
        return LT_OK;
    char name[LT_H3_NAME_BYTES];
    lt_h3_name(name, "encoder.down_blocks.%d.downsamplers.0.conv", (int)l);
    return open_conv(e->weights, name, out, out, c->time_factor[l], 2, &to->down);
}

static lt_status open_parts(lt_h3_video_encoder *e)
{
    const lt_h3_video_config *c = &e->config;
    const int64_t last = c->channels[c->levels - 1], moments = 2 * c->latent_channels;
    LT_TRY(open_conv(e->weights, "encoder.conv_in", c->pixel_channels, c->channels[0], 1, 1,
                     &e->conv_in));
    for (int64_t l = 0; l < c->levels; l++)
        LT_TRY(open_level(e, l));
    LT_TRY(open_norm(e->weights, "encoder.norm_out", last, &e->norm_out));
    LT_TRY(open_conv(e->weights, "encoder.conv_out", last, moments, 1, 1, &e->conv_out));
    return lt_h3_pointwise(e->weights, "quant_conv", moments, moments, 3, &e->quant);
}

lt_status lt_h3_video_encoder_open(lt_checkpoint *checkpoint, lt_engine *engine,
                                   const lt_h3_video_config *config, lt_h3_video_encoder **out)
{
    *out = NULL;
    static const char *const others[] = {"decoder.", "post_quant_conv.", NULL};
    lt_h3_video_encoder *e = calloc(1, sizeof *e);
    if (e == NULL)
        LT_FAIL(LT_ENOMEM, "video encoder: no memory for its description");
    e->config = *config;
    e->engine = engine;
    lt_status st;
    LT_TRY_GOTO(lt_weights_open(checkpoint, engine, LT_F32, &e->weights), st, failed);
    e->dry = lt_weights_is_dry(e->weights);
    const lt_wanter check = {lt_wanted_check, checkpoint, LT_NEED_RUN};
    LT_TRY_GOTO(lt_h3_video_encoder_tensors(config, &check), st, failed);
    LT_TRY_GOTO(open_parts(e), st, failed);
    LT_TRY_GOTO(lt_checkpoint_all_used(checkpoint, others), st, failed);
    *out = e;
    return LT_OK;
failed:
    lt_h3_video_encoder_close(&e);
    return st;
}

void lt_h3_video_encoder_close(lt_h3_video_encoder **encoder)
{
    if (*encoder == NULL)
        return;
    lt_weights_close(&(*encoder)->weights);
    for (int64_t l = 0; l < LT_H3_VAE_LEVELS_MAX; l++)
        free((*encoder)->levels[l].resnets);
    free(*encoder);
    *encoder = NULL;
}

/* ---- sizes ---- */
/* What is at work on the device: [t, h, w, channels]. */
typedef struct volume {
    int64_t t, h, w;
} volume;

static int64_t cells(volume v) { return v.t * v.h * v.w; }
static int64_t padded_cells(volume v) { return v.t * (v.h + 2) * (v.w + 2); }

static volume after_down(const lt_h3_video_config *c, int64_t l, volume v)
{
    /* Time is filled up at its start (rounds up), space by one at its end against a kernel of three
     * (rounds down). */
    const int64_t time = c->time_factor[l], space = c->space_factor[l];
    return (volume){(v.t + time - 1) / time, v.h / space, v.w / space};
}

static volume after_all(const lt_h3_video_config *c, volume v)
{
    for (int64_t l = 0; l < c->levels; l++)
        v = after_down(c, l, v);
    return v;
}

/* Elements that the buffers must hold: of an activation, of a padded one. */
static void largest_volumes(const lt_h3_video_config *c, volume v, int64_t *plain, int64_t *padded)
{
    *plain = 0;
    *padded = padded_cells(v) * c->pixel_channels;
    for (int64_t l = 0; l <= c->levels; l++) {
        /* The level's widest value: it comes in with the channels of the level before; after the
         * last level, conv_out gives the moments. */
        const int64_t own = l < c->levels ? c->channels[l] : 2 * c->latent_channels;
        const int64_t before = l > 0 ? c->channels[l - 1] : c->channels[0];
        const int64_t most = own > before ? own : before;
        *plain = cells(v) * most > *plain ? cells(v) * most : *plain;
        *padded = padded_cells(v) * most > *padded ? padded_cells(v) * most : *padded;
        if (l < c->levels)
            v = after_down(c, l, v);
    }
}

static int64_t chunk_frames(const lt_h3_video_config *c, int64_t frames)
{
    return frames == 1 ? 1 : c->clip_length;
}

lt_status lt_h3_video_moments_shape(const lt_h3_video_config *config, int64_t frames,
                                    int64_t height, int64_t width, int64_t shape[4])
{
    const lt_h3_video_config *c = config;
    const int64_t side_max = (int64_t)1 << 20;
    if (frames < 1 || frames > (int64_t)1 << 40)
        LT_FAIL(LT_EDATA, "sample: want 1 frame or more, found %lld", (long long)frames);
    const int64_t side[2] = {height, width};
    for (int i = 0; i < 2; i++) {
        if (side[i] < 2 * c->space_ratio || side[i] > side_max)
            LT_FAIL(LT_EDATA, "sample: want a %s of %lld to %lld pixels, found %lld",
                    i == 0 ? "height" : "width", (long long)(2 * c->space_ratio),
                    (long long)side_max, (long long)side[i]);
        const lt_h3_axis axis =
            lt_h3_axis_split(side[i], c->tile, c->tile_overlap_min, c->space_ratio);
        const lt_h3_axis coarse = lt_h3_axis_coarser(&axis, c->space_ratio);
        shape[2 + i] = lt_h3_axis_cover(&coarse);
    }
    const int64_t chunks = frames == 1 ? 1 : (frames + c->clip_length - 1) / c->clip_length;
    const volume chunk = after_all(c, (volume){chunk_frames(c, frames), height, width});
    shape[0] = 2 * c->latent_channels;
    shape[1] = chunks * chunk.t - (frames == 1 ? 0 : c->token_drop);
    return LT_OK;
}

/* ---- one tile ---- */
typedef struct buffers {
    lt_tensor x, a, b, padded;
} buffers;

static lt_tensor shaped(const lt_tensor *buffer, volume v, int64_t channels)
{
    const lt_tensor flat = lt_view_outer(buffer, (lt_range){0, cells(v) * channels});
    return lt_view_as(&flat, LT_DIMS(1, v.t, v.h, v.w, channels));
}

/* y = conv(x with its edges reflected by 1 on the sides that `before` and `after` say). */
static lt_status pad_and_conv(lt_queue *q, const lt_conv *conv, const lt_tensor *x, volume v,
                              int64_t before, const buffers *buf, lt_tensor *y)
{
    const volume wide = {v.t, v.h + before + 1, v.w + before + 1};
    lt_tensor padded = shaped(&buf->padded, wide, x->dim[4]);
    LT_TRY(lt_pad_reflect(q, x, before, 1, before, 1, &padded));
    return lt_conv_apply(q, conv, &padded, y);
}

/* Per frame: time takes the place of the batch. */
static lt_status apply_norm(const lt_h3_video_encoder *e, const norm *n, const lt_tensor *x,
                            volume v, lt_tensor *y)
{
    const int64_t channels = x->dim[4];
    const lt_tensor x3 = lt_view_as(x, LT_DIMS(v.t, v.h * v.w, channels));
    lt_tensor y3 = lt_view_as(y, LT_DIMS(v.t, v.h * v.w, channels));
    return lt_group_norm(e->engine->compute, &x3, &n->w, &n->b, e->config.norm_groups,
                         e->config.norm_eps, LT_ACT_SILU, &y3);
}

static void swap(lt_tensor *a, lt_tensor *b)
{
    const lt_tensor c = *a;
    *a = *b;
    *b = c;
}

static lt_status apply_resnet(const lt_h3_video_encoder *e, const resnet *r, volume v, buffers *buf)
{
    lt_queue *q = e->engine->compute;
    const lt_tensor x = shaped(&buf->x, v, r->in);
    lt_tensor normed = shaped(&buf->a, v, r->in), middle = shaped(&buf->b, v, r->out);
    lt_tensor sum = shaped(&buf->a, v, r->out);
    LT_TRY(apply_norm(e, &r->norm1, &x, v, &normed));
    LT_TRY(pad_and_conv(q, r->conv1, &normed, v, 1, buf, &middle));
    LT_TRY(apply_norm(e, &r->norm2, &middle, v, &middle));
    LT_TRY(pad_and_conv(q, r->conv2, &middle, v, 1, buf, &sum));
    lt_tensor carried = x;
    if (r->shortcut != NULL) {
        carried = middle;
        LT_TRY(lt_linear_apply(q, r->shortcut, &x, LT_ACT_NONE, &carried));
    }
    LT_TRY(lt_axpby(q, 1, &carried, 1, &sum));
    swap(&buf->x, &buf->a);
    return LT_OK;
}

static lt_status apply_level(const lt_h3_video_encoder *e, int64_t l, volume *v, buffers *buf)
{
    const lt_h3_video_config *c = &e->config;
    const level *lev = &e->levels[l];
    for (int64_t i = 0; i < c->layers_per_block; i++)
        LT_TRY(apply_resnet(e, &lev->resnets[i], *v, buf));
    if (lev->down == NULL)
        return LT_OK;
    /* One more row and column, at the end only; the convolution itself pads nothing. */
    const volume next = after_down(c, l, *v);
    const lt_tensor x = shaped(&buf->x, *v, c->channels[l]);
    lt_tensor y = shaped(&buf->a, next, c->channels[l]);
    LT_TRY(pad_and_conv(e->engine->compute, lev->down, &x, *v, 0, buf, &y));
    swap(&buf->x, &buf->a);
    *v = next;
    return LT_OK;
}

/* pixels [t, h, w, 3] host -> moments [cells of the latent tile, 2C] host. */
static lt_status encode_tile(lt_h3_video_encoder *e, const float *pixels, volume v, float *moments)
{
    lt_queue *q = e->engine->compute;
    lt_arena *step = e->engine->step;
    const lt_h3_video_config *c = &e->config;
    const int64_t last = c->channels[c->levels - 1], outs = 2 * c->latent_channels;
    int64_t plain, padded;
    buffers buf;
    lt_tensor input;
    largest_volumes(c, v, &plain, &padded);
    LT_TRY(lt_tensor_new(step, "encoder.pixels", LT_F32, &input,
                         LT_DIMS(1, v.t, v.h, v.w, c->pixel_channels)));
    LT_TRY(lt_tensor_new(step, "encoder.x", LT_F32, &buf.x, LT_DIMS(plain)));
    LT_TRY(lt_tensor_new(step, "encoder.a", LT_F32, &buf.a, LT_DIMS(plain)));
    LT_TRY(lt_tensor_new(step, "encoder.b", LT_F32, &buf.b, LT_DIMS(plain)));
    LT_TRY(lt_tensor_new(step, "encoder.padded", LT_F32, &buf.padded, LT_DIMS(padded)));
    LT_TRY(lt_upload(q, &input, pixels));
    lt_tensor x = shaped(&buf.x, v, c->channels[0]);
    LT_TRY(pad_and_conv(q, e->conv_in, &input, v, 1, &buf, &x));
    for (int64_t l = 0; l < c->levels; l++)
        LT_TRY(apply_level(e, l, &v, &buf));
    x = shaped(&buf.x, v, last);
    lt_tensor normed = shaped(&buf.a, v, last), latent = shaped(&buf.b, v, outs),
              result = shaped(&buf.a, v, outs);
    LT_TRY(apply_norm(e, &e->norm_out, &x, v, &normed));
    LT_TRY(pad_and_conv(q, e->conv_out, &normed, v, 1, &buf, &latent));
    LT_TRY(lt_linear_apply(q, e->quant, &latent, LT_ACT_NONE, &result));
    LT_TRY(lt_download(q, moments, &result));
    return lt_sync(q);
}

/* ---- the whole ---- */
typedef struct encode_work {
    int64_t frames, height, width; /* of the sample */
    int64_t chunk, chunks;         /* frames a chunk */
    volume tile, coarse;           /* the largest tile's pixels and latent cells */
    lt_h3_axis y, x, coarse_y, coarse_x;
    lt_h3_stitch stitch;
    float *pixels;   /* [chunk, tile.h, tile.w, 3] */
    float *rows;     /* [cells of coarse, 2C] */
    float *planes;   /* [2C, cells of coarse] */
    float *stitched; /* [2C, coarse.t, h, w] of the chunk */
} encode_work;

static lt_status work_open(const lt_h3_video_encoder *e, encode_work *k)
{
    const lt_h3_video_config *c = &e->config;
    k->chunk = chunk_frames(c, k->frames);
    k->chunks = (k->frames + k->chunk - 1) / k->chunk;
    k->y = lt_h3_axis_split(k->height, c->tile, c->tile_overlap_min, c->space_ratio);
    k->x = lt_h3_axis_split(k->width, c->tile, c->tile_overlap_min, c->space_ratio);
    k->coarse_y = lt_h3_axis_coarser(&k->y, c->space_ratio);
    k->coarse_x = lt_h3_axis_coarser(&k->x, c->space_ratio);
    k->tile = (volume){k->chunk, k->y.tile, k->x.tile};
    k->coarse = after_all(c, k->tile);
    assert(k->coarse.h == k->coarse_y.tile && k->coarse.w == k->coarse_x.tile);
    if (e->dry)
        return LT_OK;
    const int64_t outs = 2 * c->latent_channels;
    const size_t moments = (size_t)(cells(k->coarse) * outs) * sizeof(float);
    const int64_t whole =
        k->coarse.t * lt_h3_axis_cover(&k->coarse_y) * lt_h3_axis_cover(&k->coarse_x) * outs;
    k->pixels = malloc((size_t)(cells(k->tile) * c->pixel_channels) * sizeof(float));
    k->rows = malloc(moments);
    k->planes = malloc(moments);
    k->stitched = malloc((size_t)whole * sizeof(float));
    if (k->pixels == NULL || k->rows == NULL || k->planes == NULL || k->stitched == NULL)
        LT_FAIL(LT_ENOMEM, "video encoder: no memory for a tile of %lld pixels",
                (long long)cells(k->tile));
    return lt_h3_stitch_open(&k->coarse_y, &k->coarse_x, outs * k->coarse.t, e->engine->threads,
                             &k->stitch);
}

static void work_close(encode_work *k)
{
    free(k->pixels);
    free(k->rows);
    free(k->planes);
    free(k->stitched);
    lt_h3_stitch_close(&k->stitch);
}

static volume tile_at(const encode_work *k, int64_t i, int64_t j)
{
    return (volume){k->chunk, lt_h3_axis_size(&k->y, i), lt_h3_axis_size(&k->x, j)};
}

/* The pixels of tile (i, j) of a chunk; past the end the last frame is repeated. */
static void cut_pixels(const encode_work *k, int64_t colours, const float *sample, int64_t chunk,
                       int64_t i, int64_t j)
{
    const volume tile = tile_at(k, i, j);
    const int64_t y0 = lt_h3_axis_start(&k->y, i), x0 = lt_h3_axis_start(&k->x, j);
    float *to = k->pixels;
    for (int64_t t = 0; t < k->chunk; t++) {
        const int64_t want = chunk * k->chunk + t, frame = want < k->frames ? want : k->frames - 1;
        for (int64_t y = 0; y < tile.h; y++)
            for (int64_t x = 0; x < tile.w; x++, to += colours)
                for (int64_t colour = 0; colour < colours; colour++)
                    to[colour] =
                        sample[((colour * k->frames + frame) * k->height + y0 + y) * k->width + x0 +
                               x];
    }
}

static void rows_to_planes(const encode_work *k, int64_t outs, int64_t i, int64_t j)
{
    const int64_t count =
        k->coarse.t * lt_h3_axis_size(&k->coarse_y, i) * lt_h3_axis_size(&k->coarse_x, j);
    for (int64_t cell = 0; cell < count; cell++)
        for (int64_t o = 0; o < outs; o++)
            k->planes[o * count + cell] = k->rows[cell * outs + o];
}

/* Put a chunk's latent frames where they belong; those past the end are the dropped ones. */
static void place_chunk(const encode_work *k, int64_t chunk, const int64_t shape[4], float *moments)
{
    const int64_t frame = shape[2] * shape[3], first = chunk * k->coarse.t;
    const int64_t count = shape[1] - first < k->coarse.t ? shape[1] - first : k->coarse.t;
    for (int64_t o = 0; o < shape[0] && count > 0; o++)
        memcpy(moments + (o * shape[1] + first) * frame, k->stitched + o * k->coarse.t * frame,
               (size_t)(count * frame) * sizeof *moments);
}

static lt_status encode_chunk(lt_h3_video_encoder *e, encode_work *k, const float *sample,
                              int64_t chunk)
{
    const lt_h3_video_config *c = &e->config;
    for (int64_t i = 0; i < k->y.count; i++)
        for (int64_t j = 0; j < k->x.count; j++) {
            if (!e->dry)
                cut_pixels(k, c->pixel_channels, sample, chunk, i, j);
            const lt_mark mark = lt_arena_mark(e->engine->step);
            const lt_status st = encode_tile(e, k->pixels, tile_at(k, i, j), k->rows);
            lt_arena_release(e->engine->step, mark);
            LT_TRY(st);
            if (e->dry)
                continue;
            rows_to_planes(k, 2 * c->latent_channels, i, j);
            lt_h3_stitch_tile(&k->stitch, i, j, k->planes, k->stitched);
        }
    return LT_OK;
}

lt_status lt_h3_video_encode(lt_h3_video_encoder *encoder, const float *sample, int64_t frames,
                             int64_t height, int64_t width, float *moments)
{
    int64_t shape[4];
    LT_TRY(lt_h3_video_moments_shape(&encoder->config, frames, height, width, shape));
    encode_work k = {.frames = frames, .height = height, .width = width};
    lt_status st;
    LT_TRY_GOTO(work_open(encoder, &k), st, done);
    for (int64_t chunk = 0; chunk < k.chunks; chunk++) {
        LT_TRY_GOTO(encode_chunk(encoder, &k, sample, chunk), st, done);
        if (!encoder->dry)
            place_chunk(&k, chunk, shape, moments);
    }
done:
    work_close(&k);
    return st;
}
