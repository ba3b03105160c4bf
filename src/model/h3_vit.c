/* h3_vit.c - the decoder network of H3's video VAE: one tile of one clip.         Level 3: model
 *
 * What lies in engine->step while a tile is at work (S = t*h*w + registers + 1 rows, E = heads*D):
 *
 *     x       [S, E]       the residual
 *     qkv     [S, 3E]      one joined linear; attention reads its thirds as strided views
 *     mixed   [S, E]       attention's result
 *     normed  [rows, E]    \
 *     gated   [rows, 2M]    } row blocks: with M = 4E the FFN's middle would be 8 times x
 *     inner   [rows, M]    /
 *
 * All but attention is local to a row, so each block runs as: norm and qkv by row blocks;
 * attention; then by row blocks the output projection, the second norm and the FFN. Rows of a block
 * are as even as can be: a last block of a few rows would cost a kernel as much as a full one. Only
 * the pixels' rows take part after the last attention: registers and the zero token end there. */
#include "model/h3_vit.h"

#include "model/h3_vae_parts.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum { BLOCK_ROWS = 512 }; /* scratch of the FFN: 512 x 24,576 f32 = 50 MB in the released model */

typedef struct vit_layer {
    lt_linear *qkv, *out, *up, *down;
    lt_tensor norm1, norm2, scale1, scale2;
} vit_layer;

struct lt_h3_vit {
    const lt_h3_video_config *config;
    lt_engine *engine;
    int64_t width, middle, pixels; /* E; M; values that a token becomes */
    lt_linear *post_quant, *proj_in, *proj_out;
    lt_tensor registers, norm_out_w, norm_out_b;
    vit_layer *layers;
    int dry;
    /* the rotary rows of the last tile size */
    int64_t t, h, w;
    float *cos, *sin; /* [S, rope_dim / 2] */
};

/* ---- opening ---- */
static lt_status open_layer(lt_weights *weights, const lt_h3_vit *vit, int64_t index,
                            vit_layer *layer)
{
    const int64_t width = vit->width, middle = vit->middle;
    char q[LT_H3_NAME_BYTES], k[LT_H3_NAME_BYTES], v[LT_H3_NAME_BYTES], name[LT_H3_NAME_BYTES];
    const char *prefix = "decoder.transformer_blocks";
    const int i = (int)index;
    lt_h3_name(q, "%s.%d.attn.to_q", prefix, i);
    lt_h3_name(k, "%s.%d.attn.to_k", prefix, i);
    lt_h3_name(v, "%s.%d.attn.to_v", prefix, i);
    const lt_layer_spec square = lt_layer_whole(weights, width, width, 1);
    LT_TRY(lt_weights_linear_joined(weights, (const char *const[]){q, k, v},
                                    (const lt_layer_spec[]){square, square, square}, 3,
                                    &layer->qkv));
    lt_h3_name(name, "%s.%d.attn.to_out.0", prefix, i);
    LT_TRY(lt_weights_linear(weights, name, &square, &layer->out));
    lt_h3_name(name, "%s.%d.ff.net.0.proj", prefix, i);
    const lt_layer_spec up = lt_layer_whole(weights, 2 * middle, width, 1);
    LT_TRY(lt_weights_linear(weights, name, &up, &layer->up));
    lt_h3_name(name, "%s.%d.ff.net.2", prefix, i);
    const lt_layer_spec down = lt_layer_whole(weights, width, middle, 1);
    LT_TRY(lt_weights_linear(weights, name, &down, &layer->down));
    const struct {
        const char *tail;
        lt_tensor *to;
    } rows[] = {
        {"norm1.weight", &layer->norm1},
        {"norm2.weight", &layer->norm2},
        {"scale1", &layer->scale1},
        {"scale2", &layer->scale2},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        lt_h3_name(name, "%s.%d.%s", prefix, i, rows[r].tail);
        LT_TRY(lt_weights_tensor(weights, name, LT_DIMS(width), LT_F32, rows[r].to));
    }
    return LT_OK;
}

static lt_status open_parts(lt_weights *weights, lt_h3_vit *vit)
{
    const lt_h3_video_config *c = vit->config;
    const int64_t width = vit->width;
    LT_TRY(lt_h3_pointwise(weights, "post_quant_conv", c->latent_channels, c->latent_channels, 3,
                           &vit->post_quant));
    const lt_layer_spec in = lt_layer_whole(weights, width, c->latent_channels, 1);
    LT_TRY(lt_weights_linear(weights, "decoder.proj_in", &in, &vit->proj_in));
    LT_TRY(lt_weights_tensor(weights, "decoder.register_tokens", LT_DIMS(1, c->registers, width),
                             LT_F32, &vit->registers));
    LT_TRY(lt_weights_tensor(weights, "decoder.norm_out.weight", LT_DIMS(width), LT_F32,
                             &vit->norm_out_w));
    LT_TRY(lt_weights_tensor(weights, "decoder.norm_out.bias", LT_DIMS(width), LT_F32,
                             &vit->norm_out_b));
    const lt_layer_spec out = lt_layer_whole(weights, vit->pixels, width, 1);
    LT_TRY(lt_weights_linear(weights, "decoder.proj_out", &out, &vit->proj_out));
    for (int64_t i = 0; i < c->layers; i++)
        LT_TRY(open_layer(weights, vit, i, &vit->layers[i]));
    return LT_OK;
}

lt_status lt_h3_vit_open(lt_weights *weights, const lt_h3_video_config *config, lt_h3_vit **out)
{
    *out = NULL;
    lt_h3_vit *vit = calloc(1, sizeof *vit);
    vit_layer *layers = calloc((size_t)config->layers, sizeof *layers);
    if (vit == NULL || layers == NULL) {
        free(vit);
        free(layers);
        LT_FAIL(LT_ENOMEM, "video VAE: no memory for %d layers' descriptions", (int)config->layers);
    }
    vit->config = config;
    vit->engine = lt_weights_engine(weights);
    vit->layers = layers;
    vit->dry = lt_weights_is_dry(weights);
    vit->width = config->heads * config->head_dim;
    vit->middle = vit->width * config->ffn_mult;
    vit->pixels =
        config->pixel_channels * config->time_ratio * config->space_ratio * config->space_ratio;
    const lt_status st = open_parts(weights, vit);
    if (st != LT_OK) {
        lt_h3_vit_close(&vit);
        return lt_trail(st, "open_parts", __FILE__, __LINE__);
    }
    *out = vit;
    return LT_OK;
}

void lt_h3_vit_close(lt_h3_vit **vit)
{
    if (*vit == NULL)
        return;
    free((*vit)->cos);
    free((*vit)->sin);
    free((*vit)->layers);
    free(*vit);
    *vit = NULL;
}

/* ---- rotary rows ---- */
/* One axis' angles of one position: 2 pi * pos * inv_freq, rounded as the reference rounds. */
static void fill_axis(const lt_h3_vit *vit, float position, float *cos_row, float *sin_row)
{
    const int64_t count = vit->config->rope_dim / 6;
    const double step = 6.0 / (double)vit->config->rope_dim;
    for (int64_t j = 0; j < count; j++) {
        const float exponent = (float)((double)j * step);
        const float inv_freq = 1.0f / powf(vit->config->rope_theta, exponent);
        const float turn = (float)(2.0 * 3.14159265358979323846) * position;
        const float angle = turn * inv_freq;
        cos_row[j] = (float)cos((double)angle);
        sin_row[j] = (float)sin((double)angle);
    }
}

/* Centre of cell i of size cells in [-1, 1]. */
static float position_of(int64_t i, int64_t size)
{
    return 2.0f * (((float)i + 0.5f) / (float)size) - 1.0f;
}

/* cos and sin [S, R]: R = time, row, column angles; the suffix stands at position 0. */
static lt_status rotary_rows(lt_h3_vit *vit, int64_t t, int64_t h, int64_t w)
{
    if (vit->dry || (vit->cos != NULL && vit->t == t && vit->h == h && vit->w == w))
        return LT_OK;
    const int64_t third = vit->config->rope_dim / 6, width = 3 * third;
    const int64_t suffix = vit->config->registers + 1, rows = t * h * w + suffix;
    free(vit->cos);
    free(vit->sin);
    vit->cos = malloc((size_t)(rows * width) * sizeof(float));
    vit->sin = malloc((size_t)(rows * width) * sizeof(float));
    if (vit->cos == NULL || vit->sin == NULL)
        LT_FAIL(LT_ENOMEM, "video VAE: no memory for %lld rotary rows", (long long)rows);
    vit->t = t, vit->h = h, vit->w = w;
    float *c = vit->cos, *s = vit->sin;
    for (int64_t row = 0; row < rows; row++, c += width, s += width) {
        const int is_cell = row < t * h * w;
        const int64_t at[3] = {row / (h * w), row / w % h, row % w}, size[3] = {t, h, w};
        for (int axis = 0; axis < 3; axis++)
            fill_axis(vit, is_cell ? position_of(at[axis], size[axis]) : 0, c + axis * third,
                      s + axis * third);
    }
    return LT_OK;
}

/* ---- forward ---- */
typedef struct vit_scratch {
    lt_tensor x, qkv, mixed, cos, sin;
    lt_tensor normed, gated, inner; /* row blocks */
    int64_t cells, rows, block;     /* tokens that become pixels; all tokens; rows of a block */
} vit_scratch;

static lt_status take_scratch(lt_h3_vit *vit, int64_t cells, vit_scratch *s)
{
    lt_arena *step = vit->engine->step;
    const int64_t width = vit->width, half = vit->config->rope_dim / 2;
    s->cells = cells;
    s->rows = cells + vit->config->registers + 1;
    const int64_t blocks = (s->rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
    s->block = (s->rows + blocks - 1) / blocks;
    LT_TRY(lt_tensor_new(step, "vae.x", LT_F32, &s->x, LT_DIMS(s->rows, width)));
    LT_TRY(lt_tensor_new(step, "vae.qkv", LT_F32, &s->qkv, LT_DIMS(s->rows, 3 * width)));
    LT_TRY(lt_tensor_new(step, "vae.mixed", LT_F32, &s->mixed, LT_DIMS(s->rows, width)));
    LT_TRY(lt_tensor_new(step, "vae.cos", LT_F32, &s->cos, LT_DIMS(s->rows, half)));
    LT_TRY(lt_tensor_new(step, "vae.sin", LT_F32, &s->sin, LT_DIMS(s->rows, half)));
    LT_TRY(lt_tensor_new(step, "vae.normed", LT_F32, &s->normed, LT_DIMS(s->block, width)));
    LT_TRY(lt_tensor_new(step, "vae.gated", LT_F32, &s->gated, LT_DIMS(s->block, 2 * vit->middle)));
    return lt_tensor_new(step, "vae.inner", LT_F32, &s->inner, LT_DIMS(s->block, vit->middle));
}

/* x = [proj_in(post_quant_conv(tokens)); registers; 0]. */
static lt_status embed(lt_h3_vit *vit, const float *tokens, vit_scratch *s)
{
    lt_queue *q = vit->engine->compute;
    const int64_t channels = vit->config->latent_channels, registers = vit->config->registers;
    lt_tensor z, latent;
    LT_TRY(lt_tensor_new(vit->engine->step, "vae.z", LT_F32, &z, LT_DIMS(s->cells, channels)));
    LT_TRY(lt_tensor_new(vit->engine->step, "vae.latent", LT_F32, &latent,
                         LT_DIMS(s->cells, channels)));
    LT_TRY(lt_h3_upload(q, &z, tokens));
    LT_TRY(lt_h3_upload(q, &s->cos, vit->cos));
    LT_TRY(lt_h3_upload(q, &s->sin, vit->sin));
    LT_TRY(lt_linear_apply(q, vit->post_quant, &z, LT_ACT_NONE, &latent));
    lt_tensor cells = lt_view_outer(&s->x, (lt_range){0, s->cells});
    LT_TRY(lt_linear_apply(q, vit->proj_in, &latent, LT_ACT_NONE, &cells));
    lt_tensor suffix = lt_view_outer(&s->x, (lt_range){s->cells, registers});
    const lt_tensor learned = lt_view_as(&vit->registers, LT_DIMS(registers, vit->width));
    LT_TRY(lt_copy(q, &learned, &suffix));
    lt_tensor zero = lt_view_outer(&s->x, (lt_range){s->cells + registers, 1});
    return lt_fill(q, &zero, 0);
}

/* Rows [first, first + count) of the first `rows` of a block of scratch. */
static lt_range block_at(int64_t first, int64_t block, int64_t rows)
{
    return (lt_range){first, first + block < rows ? block : rows - first};
}

static lt_status attend(lt_h3_vit *vit, const vit_layer *layer, vit_scratch *s)
{
    lt_queue *q = vit->engine->compute;
    const lt_h3_video_config *c = vit->config;
    const int64_t width = vit->width;
    for (int64_t first = 0; first < s->rows; first += s->block) {
        const lt_range range = block_at(first, s->block, s->rows);
        const lt_tensor x = lt_view_outer(&s->x, range);
        lt_tensor normed = lt_view_outer(&s->normed, (lt_range){0, range.count});
        lt_tensor qkv = lt_view_outer(&s->qkv, range);
        LT_TRY(lt_rms_norm(q, &x, &layer->norm1, c->decoder_norm_eps, LT_ROUND_ONCE, &normed));
        LT_TRY(lt_linear_apply(q, layer->qkv, &normed, LT_ACT_NONE, &qkv));
    }
    /* q and k lie side by side: as 2 * heads heads they are normed and turned in one go. */
    lt_tensor both = lt_view_columns(&s->qkv, (lt_range){0, 2 * width});
    LT_TRY(lt_head_norm_rope(q, &both, 2 * c->heads, NULL, c->decoder_norm_eps, LT_ROUND_ONCE,
                             &s->cos, &s->sin));
    const lt_tensor query = lt_view_columns(&s->qkv, (lt_range){0, width});
    const lt_tensor key = lt_view_columns(&s->qkv, (lt_range){width, width});
    const lt_tensor value = lt_view_columns(&s->qkv, (lt_range){2 * width, width});
    const float scale = (float)(1.0 / sqrt((double)c->head_dim));
    return lt_attention(q, &query, &key, &value, c->heads, c->heads, scale, 0, 0, &s->mixed, NULL);
}

/* x += out(mixed) * scale1; x += ff(norm2(x)) * scale2, for the first `rows` rows. */
static lt_status feed_forward(lt_h3_vit *vit, const vit_layer *layer, int64_t rows, vit_scratch *s)
{
    lt_queue *q = vit->engine->compute;
    for (int64_t first = 0; first < rows; first += s->block) {
        const lt_range range = block_at(first, s->block, rows);
        const lt_range front = {0, range.count};
        const lt_tensor mixed = lt_view_outer(&s->mixed, range);
        lt_tensor x = lt_view_outer(&s->x, range);
        lt_tensor normed = lt_view_outer(&s->normed, front);
        lt_tensor gated = lt_view_outer(&s->gated, front);
        lt_tensor inner = lt_view_outer(&s->inner, front);
        LT_TRY(lt_linear_apply(q, layer->out, &mixed, LT_ACT_NONE, &normed));
        LT_TRY(lt_scale_add(q, &normed, &layer->scale1, &x));
        LT_TRY(lt_rms_norm(q, &x, &layer->norm2, vit->config->decoder_norm_eps, LT_ROUND_ONCE,
                           &normed));
        LT_TRY(lt_linear_apply(q, layer->up, &normed, LT_ACT_NONE, &gated));
        LT_TRY(lt_swiglu(q, &gated, &inner));
        LT_TRY(lt_linear_apply(q, layer->down, &inner, LT_ACT_NONE, &normed));
        LT_TRY(lt_scale_add(q, &normed, &layer->scale2, &x));
    }
    return LT_OK;
}

/* pixels = proj_out(norm_out(x)), straight to the host, block by block. */
static lt_status project(lt_h3_vit *vit, vit_scratch *s, float *pixels)
{
    lt_queue *q = vit->engine->compute;
    lt_tensor values;
    LT_TRY(lt_tensor_new(vit->engine->step, "vae.pixels", LT_F32, &values,
                         LT_DIMS(s->cells, vit->pixels)));
    for (int64_t first = 0; first < s->cells; first += s->block) {
        const lt_range range = block_at(first, s->block, s->cells);
        const lt_tensor x = lt_view_outer(&s->x, range);
        lt_tensor normed = lt_view_outer(&s->normed, (lt_range){0, range.count});
        lt_tensor rows = lt_view_outer(&values, range);
        LT_TRY(lt_layer_norm(q, &x, &vit->norm_out_w, &vit->norm_out_b,
                             vit->config->decoder_norm_eps, &normed));
        LT_TRY(lt_linear_apply(q, vit->proj_out, &normed, LT_ACT_NONE, &rows));
    }
    LT_TRY(lt_h3_download(q, pixels, &values));
    return lt_sync(q);
}

lt_status lt_h3_vit_tile(lt_h3_vit *vit, const float *tokens, int64_t t, int64_t h, int64_t w,
                         float *pixels)
{
    assert(t >= 1 && h >= 1 && w >= 1);
    LT_TRY(rotary_rows(vit, t, h, w));
    lt_arena *step = vit->engine->step;
    const lt_mark mark = lt_arena_mark(step);
    vit_scratch s;
    lt_status st;
    LT_TRY_GOTO(take_scratch(vit, t * h * w, &s), st, done);
    LT_TRY_GOTO(embed(vit, tokens, &s), st, done);
    for (int64_t i = 0; i < vit->config->layers; i++) {
        const int is_last = i == vit->config->layers - 1;
        LT_TRY_GOTO(attend(vit, &vit->layers[i], &s), st, done);
        LT_TRY_GOTO(feed_forward(vit, &vit->layers[i], is_last ? s.cells : s.rows, &s), st, done);
    }
    LT_TRY_GOTO(project(vit, &s, pixels), st, done);
done:
    lt_arena_release(step, mark);
    return st;
}
