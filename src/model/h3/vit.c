/* vit.c - the decoder network of H3's video VAE: one tile of one clip.
 *
 * What lies in engine->step while a tile is at work (S = t*h*w + registers + 1 rows, E = heads*D,
 * M = 4E; e and m are the columns of E and M that this rank has: all of them without tp):
 *
 *     x       [S, E]       the residual
 *     qkv     [S, 3e]      one joined linear; attention reads its slices as strided views
 *     attention_out [S, e] attention's output
 *     normed  [rows, E]    \
 *     gated   [rows, 2m]    } row blocks: the FFN's middle would be 8 times x
 *     inner   [rows, m]    /
 *     and what the sums over tp take
 *
 * All but attention is local to a row, so each block runs as: norm and qkv by row blocks;
 * attention; then by row blocks the output projection; then by row blocks the second norm and the
 * FFN. Rows of a block are as even as can be: a last block of a few rows would cost a kernel as
 * much as a full one. Only the pixels' rows take part after the last attention: registers and the
 * zero token end there.
 *
 * Under tp a rank has some heads, whole, and some columns of the FFN, value and gate together, so
 * that attention and SwiGLU need no other rank; what leads back into x is row-parallel
 * (split_linear.h), its bias in rank 0's product. The rest, some hundredths of the work, each rank
 * does whole, and so all hold the same bits of x. */
#include "model/h3/vit.h"

#include "model/h3/tensors.h"
#include "model/h3/vae_parts.h"
#include "model/weights/split_weights.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/log.h"

enum { BLOCK_ROWS = 512 }; /* scratch of the FFN: 512 x 24,576 f32 = 50 MB in the released model */

typedef struct vit_layer {
    lt_column_linear qkv, up; /* up: value, gate */
    lt_row_linear out, down;
    lt_tensor norm1, norm2, scale1, scale2;
} vit_layer;

struct lt_h3_vit {
    const lt_h3_video_config *config;
    lt_engine *engine;
    int64_t width, middle, pixels; /* E; M; values that a token becomes */
    lt_group *tp;                  /* the ranks that share the blocks; NULL: none */
    lt_split heads, columns;       /* of the heads and of M */
    lt_linear *post_quant, *proj_in, *proj_out;
    lt_tensor registers, norm_out_w, norm_out_b;
    vit_layer *layers;
    int dry;
    /* the rotary rows of the last tile size */
    int64_t t, h, w;
    float *cos, *sin; /* [S, rope_dim / 2] */
};

/* ---- opening ---- */
static lt_status open_attention(lt_weights *weights, const lt_h3_vit *vit, const char *prefix,
                                vit_layer *layer)
{
    static const char *const tails[] = {"to_q", "to_k", "to_v"};
    const int64_t width = vit->width;
    char name[3][LT_H3_NAME_BYTES], out[LT_H3_NAME_BYTES];
    lt_column_part parts[3];
    for (int i = 0; i < 3; i++) {
        lt_h3_name(name[i], "%s.attn.%s", prefix, tails[i]);
        parts[i] = (lt_column_part){name[i], width, 0, &vit->heads};
    }
    lt_h3_name(out, "%s.attn.to_out.0", prefix);
    LT_TRY(lt_column_linear_load(weights, parts, 3, width, 1, &layer->qkv));
    return lt_row_linear_load(weights, out, width, &vit->heads, 1, &layer->out);
}

static lt_status open_ffn(lt_weights *weights, const lt_h3_vit *vit, const char *prefix,
                          vit_layer *layer)
{
    const int64_t middle = vit->middle;
    char up[LT_H3_NAME_BYTES], down[LT_H3_NAME_BYTES];
    lt_h3_name(up, "%s.ff.net.0.proj", prefix);
    lt_h3_name(down, "%s.ff.net.2", prefix);
    const lt_column_part parts[] = {{up, 2 * middle, 0, &vit->columns},
                                    {up, 2 * middle, middle, &vit->columns}};
    LT_TRY(lt_column_linear_load(weights, parts, 2, vit->width, 1, &layer->up));
    return lt_row_linear_load(weights, down, vit->width, &vit->columns, 1, &layer->down);
}

static lt_status open_layer(lt_weights *weights, const lt_h3_vit *vit, int64_t index,
                            vit_layer *layer)
{
    char prefix[LT_H3_NAME_BYTES], name[LT_H3_NAME_BYTES];
    lt_h3_name(prefix, "decoder.transformer_blocks.%d", (int)index);
    LT_TRY(open_attention(weights, vit, prefix, layer));
    LT_TRY(open_ffn(weights, vit, prefix, layer));
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
        lt_h3_name(name, "%s.%s", prefix, rows[r].tail);
        LT_TRY(lt_weights_tensor(weights, name, LT_DIMS(vit->width), LT_F32, rows[r].to));
    }
    return LT_OK;
}

static lt_status load_all(lt_weights *weights, lt_h3_vit *vit)
{
    const lt_h3_video_config *c = vit->config;
    const int64_t width = vit->width;
    const lt_wanter check = {lt_wanted_check, lt_weights_checkpoint(weights), LT_NEED_RUN};
    LT_TRY(lt_h3_video_decoder_tensors(c, &check));
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

/* The ranks of tp together. */
static lt_status load(lt_weights *weights, lt_h3_vit *vit)
{
    if (vit->tp == NULL)
        return load_all(weights, vit);
    lt_loading loading = lt_loading_new(vit->tp);
    lt_weights_load_with(weights, &loading);
    const lt_status st = load_all(weights, vit);
    lt_weights_load_with(weights, NULL);
    return vit->dry ? st : lt_loading_end(&loading, st);
}

static void init_shares(lt_h3_vit *vit)
{
    const lt_mesh *mesh = vit->engine->mesh;
    const int64_t heads = vit->config->heads;
    int size = 1;
    if (mesh != NULL && lt_group_size(mesh->axis[LT_AXIS_TP]) > 1) {
        vit->tp = mesh->axis[LT_AXIS_TP];
        size = lt_group_size(vit->tp);
    }
    vit->heads = lt_split_of(heads, vit->config->head_dim, vit->tp, 0);
    vit->columns = lt_split_of(vit->middle, 1, vit->tp, 0);
    if (size > heads && !vit->dry) /* the dry run says nothing; the run does */
        lt_warn("tp=%d: the video decoder has %lld heads: tp ranks from %lld on attend to nothing",
                size, (long long)heads, (long long)heads);
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
    init_shares(vit);
    const lt_status st = load(weights, vit);
    if (st != LT_OK) {
        lt_h3_vit_close(&vit);
        return lt_error_trace(st, "load", __FILE__, __LINE__);
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
    const int64_t axis_width = vit->config->rope_dim / 6, width = 3 * axis_width;
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
            fill_axis(vit, is_cell ? position_of(at[axis], size[axis]) : 0, c + axis * axis_width,
                      s + axis * axis_width);
    }
    return LT_OK;
}

/* ---- forward ---- */
typedef struct vit_scratch {
    lt_tensor x, qkv, attention_out, cos, sin;
    lt_tensor normed, gated, inner; /* row blocks */
    lt_row_scratch back;            /* row blocks; without tp normed serves */
    int64_t cells, rows, block;     /* tokens that become pixels; all tokens; rows of a block */
} vit_scratch;

static lt_status take_scratch(lt_h3_vit *vit, int64_t cells, vit_scratch *s)
{
    lt_arena *step = vit->engine->step;
    const int64_t width = vit->width, half = vit->config->rope_dim / 2;
    const int64_t mine = vit->heads.columns.count, columns = vit->columns.columns.count;
    s->cells = cells;
    s->rows = cells + vit->config->registers + 1;
    const int64_t blocks = (s->rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
    s->block = (s->rows + blocks - 1) / blocks;
    LT_TRY(lt_tensor_new(step, "vae.x", LT_F32, &s->x, LT_DIMS(s->rows, width)));
    LT_TRY(lt_tensor_new(step, "vae.qkv", LT_F32, &s->qkv, LT_DIMS(s->rows, 3 * mine)));
    LT_TRY(lt_tensor_new(step, "vae.mixed", LT_F32, &s->attention_out, LT_DIMS(s->rows, mine)));
    LT_TRY(lt_tensor_new(step, "vae.cos", LT_F32, &s->cos, LT_DIMS(s->rows, half)));
    LT_TRY(lt_tensor_new(step, "vae.sin", LT_F32, &s->sin, LT_DIMS(s->rows, half)));
    LT_TRY(lt_tensor_new(step, "vae.normed", LT_F32, &s->normed, LT_DIMS(s->block, width)));
    LT_TRY(lt_tensor_new(step, "vae.gated", LT_F32, &s->gated, LT_DIMS(s->block, 2 * columns)));
    LT_TRY(lt_tensor_new(step, "vae.inner", LT_F32, &s->inner, LT_DIMS(s->block, columns)));
    const lt_split *const splits[] = {&vit->heads, &vit->columns};
    return lt_row_scratch_new(step, splits, 2, LT_F32, s->block, width, &s->normed, &s->back);
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
    LT_TRY(lt_upload(q, &z, tokens));
    LT_TRY(lt_upload(q, &s->cos, vit->cos));
    LT_TRY(lt_upload(q, &s->sin, vit->sin));
    LT_TRY(lt_linear_apply(q, vit->post_quant, &z, LT_ACT_NONE, &latent));
    lt_tensor cells = lt_view_outer(&s->x, (lt_range){0, s->cells});
    LT_TRY(lt_linear_apply(q, vit->proj_in, &latent, LT_ACT_NONE, &cells));
    lt_tensor suffix = lt_view_outer(&s->x, (lt_range){s->cells, registers});
    const lt_tensor learned = lt_view_as(&vit->registers, LT_DIMS(registers, vit->width));
    LT_TRY(lt_copy(q, &learned, &suffix));
    lt_tensor zero = lt_view_outer(&s->x, (lt_range){s->cells + registers, 1});
    return lt_fill(q, &zero, 0);
}

/* The block that starts at row `first`: `block` rows, or what is left of `rows`. */
static lt_range block_at(int64_t first, int64_t block, int64_t rows)
{
    return (lt_range){first, first + block < rows ? block : rows - first};
}

static lt_status attend(lt_h3_vit *vit, const vit_layer *layer, vit_scratch *s)
{
    lt_queue *q = vit->engine->compute;
    const lt_h3_video_config *c = vit->config;
    const int64_t heads = vit->heads.units.count, mine = vit->heads.columns.count;
    if (heads == 0)
        return LT_OK;
    for (int64_t first = 0; first < s->rows; first += s->block) {
        const lt_range range = block_at(first, s->block, s->rows);
        const lt_tensor x = lt_view_outer(&s->x, range);
        lt_tensor normed = lt_view_outer(&s->normed, (lt_range){0, range.count});
        lt_tensor qkv = lt_view_outer(&s->qkv, range);
        LT_TRY(lt_rms_norm(q, &x, &layer->norm1, c->decoder_norm_eps, LT_ROUND_ONCE, &normed));
        LT_TRY(lt_column_linear_apply(q, &layer->qkv, &normed, &qkv));
    }
    /* q and k lie side by side: as 2 * heads heads they are normed and turned in one go. */
    lt_tensor both = lt_view_columns(&s->qkv, (lt_range){0, 2 * mine});
    LT_TRY(lt_head_norm_rope(q, &both, 2 * heads, NULL, c->decoder_norm_eps, LT_ROUND_ONCE, &s->cos,
                             &s->sin));
    const lt_tensor query = lt_view_columns(&s->qkv, (lt_range){0, mine});
    const lt_tensor key = lt_view_columns(&s->qkv, (lt_range){mine, mine});
    const lt_tensor value = lt_view_columns(&s->qkv, (lt_range){2 * mine, mine});
    const float scale = (float)(1.0 / sqrt((double)c->head_dim));
    return lt_attention(q, &query, &key, &value, heads, heads, scale, 0, 0, &s->attention_out,
                        NULL);
}

/* Where the results of a row-parallel layer go: x += y * scale. */
typedef struct target {
    lt_queue *compute;
    const lt_tensor *x, *scale;
} target;

static lt_status add_result(void *ctx, lt_range rows, const lt_tensor *y)
{
    const target *t = ctx;
    lt_tensor x = lt_view_outer(t->x, rows);
    return lt_scale_add(t->compute, y, t->scale, &x);
}

/* x += out(attention_out) * scale1 for the first `rows` rows. */
static lt_status add_attention(const lt_h3_vit *vit, const vit_layer *layer, int64_t rows,
                               const vit_scratch *s)
{
    target to = {vit->engine->compute, &s->x, &layer->scale1};
    lt_row_pass back = lt_row_begin(vit->engine, &layer->out, &s->back, add_result, &to);
    for (int64_t first = 0; first < rows; first += s->block) {
        const lt_range range = block_at(first, s->block, rows);
        const lt_tensor attention_out = lt_view_outer(&s->attention_out, range);
        LT_TRY(lt_row_block(&back, range, &attention_out));
    }
    return lt_row_finish(&back);
}

/* x += ff(norm2(x)) * scale2 for the first `rows` rows. */
static lt_status feed_forward(const lt_h3_vit *vit, const vit_layer *layer, int64_t rows,
                              const vit_scratch *s)
{
    lt_queue *q = vit->engine->compute;
    target to = {q, &s->x, &layer->scale2};
    lt_row_pass back = lt_row_begin(vit->engine, &layer->down, &s->back, add_result, &to);
    for (int64_t first = 0; first < rows; first += s->block) {
        const lt_range range = block_at(first, s->block, rows);
        const lt_range front = {0, range.count};
        const lt_tensor x = lt_view_outer(&s->x, range);
        lt_tensor normed = lt_view_outer(&s->normed, front);
        lt_tensor gated = lt_view_outer(&s->gated, front);
        lt_tensor inner = lt_view_outer(&s->inner, front);
        if (vit->columns.units.count > 0) {
            LT_TRY(lt_rms_norm(q, &x, &layer->norm2, vit->config->decoder_norm_eps, LT_ROUND_ONCE,
                               &normed));
            LT_TRY(lt_column_linear_apply(q, &layer->up, &normed, &gated));
            LT_TRY(lt_swiglu(q, &gated, &inner));
        }
        LT_TRY(lt_row_block(&back, range, &inner));
    }
    return lt_row_finish(&back);
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
    LT_TRY(lt_download(q, pixels, &values));
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
        const int64_t rows = i == vit->config->layers - 1 ? s.cells : s.rows;
        LT_TRY_GOTO(attend(vit, &vit->layers[i], &s), st, done);
        LT_TRY_GOTO(add_attention(vit, &vit->layers[i], rows, &s), st, done);
        LT_TRY_GOTO(feed_forward(vit, &vit->layers[i], rows, &s), st, done);
    }
    if (pixels != NULL || vit->dry)
        LT_TRY_GOTO(project(vit, &s, pixels), st, done);
    else
        LT_TRY_GOTO(lt_sync(vit->engine->compute), st, done); /* tokens have been read */
done:
    lt_arena_release(step, mark);
    return st;
}
