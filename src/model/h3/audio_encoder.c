/* audio_encoder.c - H3's audio encoder: samples to the mean of latents.
 *
 * A stack of residual units and strided convolutions on [time, channels], then one transformer
 * block that narrows latent_dim to the latent channels:
 *
 *     y = proj(LN3(x)) + attn(LN1(x));  y = y + mlp(LN2(y));  mean = mean_proj(y)
 *
 * The attention's heads are averaged, their channels pooled to fewer, and a linear follows: three
 * linear maps in a row, folded at load into one matrix on the heads' concatenation (open_mixer). */
#include "model/h3/audio_encoder.h"

#include "model/h3/tensors.h"
#include "model/h3/vae_parts.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum { UNITS = 3, MLP_RATIO = 2 };
static const int64_t unit_dilation[UNITS] = {1, 3, 9};
static const float norm_eps = 1e-5f; /* torch.nn.LayerNorm's default */

typedef struct unit {
    lt_tensor alpha1, alpha2;
    lt_conv *conv1, *conv2;
} unit;
typedef struct stage {
    unit units[UNITS];
    lt_tensor alpha;
    lt_conv *down;
    int64_t in, rate;
} stage;
typedef struct norm {
    lt_tensor w, b;
} norm;

struct lt_h3_audio_encoder {
    lt_h3_audio_config config;
    lt_engine *engine;
    lt_weights *weights;
    int dry;
    lt_conv *first, *last;
    lt_tensor last_alpha;
    stage *stages;
    norm norm1, norm2, norm3, mlp_norm;
    lt_linear *qkv, *mixer, *proj, *mlp0, *mlp1, *mlp2, *mean;
};

/* ---- opening ---- */
static lt_status open_alpha(lt_weights *weights, const char *prefix, int64_t channels,
                            lt_tensor *out)
{
    char name[LT_H3_NAME_BYTES];
    lt_h3_name(name, "%s.alpha", prefix);
    LT_TRY(lt_weights_tensor(weights, name, LT_DIMS(1, channels, 1), LT_F32, out));
    *out = lt_view_as(out, LT_DIMS(channels));
    return LT_OK;
}

static lt_status open_conv(lt_weights *weights, const char *name, int64_t in, int64_t out,
                           int64_t kernel, int64_t stride, int64_t dilation, int64_t pad,
                           lt_conv **conv)
{
    const lt_h3_conv1d_spec spec = {
        .in = in,
        .out = out,
        .kernel = kernel,
        .stride = stride,
        .dilation = dilation,
        .pad = pad,
        .bias = 1,
    };
    return lt_h3_conv1d_normed(weights, name, &spec, conv);
}

static lt_status open_unit(lt_weights *weights, const char *prefix, int64_t channels,
                           int64_t dilation, unit *u)
{
    char name[LT_H3_NAME_BYTES];
    lt_h3_name(name, "%s.0", prefix);
    LT_TRY(open_alpha(weights, name, channels, &u->alpha1));
    lt_h3_name(name, "%s.1", prefix);
    LT_TRY(open_conv(weights, name, channels, channels, 7, 1, dilation, 3 * dilation, &u->conv1));
    lt_h3_name(name, "%s.2", prefix);
    LT_TRY(open_alpha(weights, name, channels, &u->alpha2));
    lt_h3_name(name, "%s.3", prefix);
    return open_conv(weights, name, channels, channels, 1, 1, 1, 0, &u->conv2);
}

static lt_status open_stage(lt_weights *weights, const lt_h3_audio_config *c, int64_t index,
                            stage *s)
{
    char name[LT_H3_NAME_BYTES];
    const int number = (int)index + 1;
    const int64_t rate = c->encoder_rate[index];
    s->in = c->encoder_dim << index;
    s->rate = rate;
    for (int i = 0; i < UNITS; i++) {
        lt_h3_name(name, "encoder.block.%d.block.%d.block", number, i);
        LT_TRY(open_unit(weights, name, s->in, unit_dilation[i], &s->units[i]));
    }
    lt_h3_name(name, "encoder.block.%d.block.%d", number, UNITS);
    LT_TRY(open_alpha(weights, name, s->in, &s->alpha));
    lt_h3_name(name, "encoder.block.%d.block.%d", number, UNITS + 1);
    return open_conv(weights, name, s->in, 2 * s->in, 2 * rate, rate, 1, (rate + 1) / 2, &s->down);
}

static lt_status open_norm(lt_weights *weights, const char *prefix, int64_t width, norm *out)
{
    char name[LT_H3_NAME_BYTES];
    lt_h3_name(name, "%s.weight", prefix);
    LT_TRY(lt_weights_tensor(weights, name, LT_DIMS(width), LT_F32, &out->w));
    lt_h3_name(name, "%s.bias", prefix);
    return lt_weights_tensor(weights, name, LT_DIMS(width), LT_F32, &out->b);
}

/* One matrix [3E, E]; its bias is three tensors, the middle one zeros by construction but stored.
 */
static lt_status open_qkv(lt_h3_audio_encoder *e)
{
    const int64_t width = e->config.latent_dim;
    const char *const part[3] = {"pre_block.attn.q_bias", "pre_block.attn.zero_k_bias",
                                 "pre_block.attn.v_bias"};
    float *w = NULL, *bias = NULL, *slice = NULL;
    lt_status st;
    LT_TRY_GOTO(lt_h3_read(e->weights, "pre_block.attn.qkv.weight", LT_DIMS(3 * width, width), &w),
                st, done);
    bias = calloc((size_t)(3 * width), sizeof *bias);
    if (bias == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "audio encoder: no memory for %lld biases",
                     (long long)(3 * width));
    for (int i = 0; i < 3; i++) {
        LT_TRY_GOTO(lt_h3_read(e->weights, part[i], LT_DIMS(width), &slice), st, done);
        for (int64_t k = 0; k < width && slice != NULL; k++)
            bias[i * width + k] = slice[k];
        free(slice);
        slice = NULL;
    }
    const lt_linear_spec spec = {
        .in = width,
        .out = 3 * width,
        .weights = w,
        .weights_dtype = LT_F32,
        .bias = e->dry ? NULL : bias,
        .has_bias = 1,
        .compute = LT_F32,
    };
    LT_TRY_GOTO(lt_weights_linear_from(e->weights, "pre_block.attn.qkv", &spec, &e->qkv), st, done);
done:
    free(w);
    free(bias);
    free(slice);
    return st;
}

/* proj [C, C] after pooling [C bins of D] after averaging N heads: W[o, n*D + d] = sum over the
 * bins b that hold d of proj[o, b] / (N * size of b). Bin b holds [floor(b*D/C), ceil((b+1)*D/C)):
 * torch's adaptive average pool. */
static void fold_mixer(const lt_h3_audio_config *c, const float *proj, float *folded)
{
    const int64_t outs = c->latent_channels, width = c->latent_dim, head = width / c->heads;
    for (int64_t o = 0; o < outs; o++)
        for (int64_t d = 0; d < head; d++) {
            double sum = 0;
            for (int64_t b = 0; b < outs; b++) {
                const int64_t first = b * head / outs, end = ((b + 1) * head + outs - 1) / outs;
                if (d >= first && d < end)
                    sum += (double)proj[o * outs + b] / (double)(end - first);
            }
            for (int64_t n = 0; n < c->heads; n++)
                folded[o * width + n * head + d] = (float)(sum / (double)c->heads);
        }
}

static lt_status open_mixer(lt_h3_audio_encoder *e)
{
    const lt_h3_audio_config *c = &e->config;
    const int64_t outs = c->latent_channels;
    float *proj = NULL, *bias = NULL, *folded = NULL;
    lt_status st;
    LT_TRY_GOTO(lt_h3_read(e->weights, "pre_block.attn.proj.weight", LT_DIMS(outs, outs), &proj),
                st, done);
    LT_TRY_GOTO(lt_h3_read(e->weights, "pre_block.attn.proj.bias", LT_DIMS(outs), &bias), st, done);
    if (!e->dry) {
        folded = malloc((size_t)(outs * c->latent_dim) * sizeof *folded);
        if (folded == NULL)
            LT_FAIL_GOTO(LT_ENOMEM, st, done,
                         "audio encoder: no memory for its attention's projection");
        fold_mixer(c, proj, folded);
    }
    const lt_linear_spec spec = {
        .in = c->latent_dim,
        .out = outs,
        .weights = folded,
        .weights_dtype = LT_F32,
        .bias = bias,
        .has_bias = 1,
        .compute = LT_F32,
    };
    LT_TRY_GOTO(lt_weights_linear_from(e->weights, "pre_block.attn.proj", &spec, &e->mixer), st,
                done);
done:
    free(proj);
    free(bias);
    free(folded);
    return st;
}

static lt_status open_block(lt_h3_audio_encoder *e)
{
    lt_weights *w = e->weights;
    const int64_t width = e->config.latent_dim, outs = e->config.latent_channels,
                  inner = MLP_RATIO * outs;
    LT_TRY(open_norm(w, "pre_block.norm1", width, &e->norm1));
    LT_TRY(open_norm(w, "pre_block.norm2", outs, &e->norm2));
    LT_TRY(open_norm(w, "pre_block.norm3", width, &e->norm3));
    LT_TRY(open_norm(w, "pre_block.mlp.norm", outs, &e->mlp_norm));
    LT_TRY(open_qkv(e));
    LT_TRY(open_mixer(e));
    const lt_layer_spec proj = lt_layer_whole(w, outs, width, 1);
    LT_TRY(lt_weights_linear(w, "pre_block.proj", &proj, &e->proj));
    const lt_layer_spec up = lt_layer_whole(w, inner, outs, 1),
                        down = lt_layer_whole(w, outs, inner, 1);
    LT_TRY(lt_weights_linear(w, "pre_block.mlp.w0", &up, &e->mlp0));
    LT_TRY(lt_weights_linear(w, "pre_block.mlp.w1", &up, &e->mlp1));
    LT_TRY(lt_weights_linear(w, "pre_block.mlp.w2", &down, &e->mlp2));
    return lt_h3_pointwise(w, "mean_proj", outs, outs, 1, &e->mean);
}

static lt_status open_parts(lt_h3_audio_encoder *e)
{
    const lt_h3_audio_config *c = &e->config;
    const int64_t n = c->encoder_stages, width = c->encoder_dim << n;
    char name[LT_H3_NAME_BYTES];
    LT_TRY(open_conv(e->weights, "encoder.block.0", 1, c->encoder_dim, 7, 1, 1, 3, &e->first));
    for (int64_t i = 0; i < n; i++)
        LT_TRY(open_stage(e->weights, c, i, &e->stages[i]));
    lt_h3_name(name, "encoder.block.%d", (int)n + 1);
    LT_TRY(open_alpha(e->weights, name, width, &e->last_alpha));
    lt_h3_name(name, "encoder.block.%d", (int)n + 2);
    LT_TRY(open_conv(e->weights, name, width, c->latent_dim, 3, 1, 1, 1, &e->last));
    return open_block(e);
}

lt_status lt_h3_audio_encoder_open(lt_checkpoint *checkpoint, lt_engine *engine,
                                   const lt_h3_audio_config *config, lt_h3_audio_encoder **out)
{
    *out = NULL;
    static const char *const others[] = {"decoder.", "dec_in_proj.", "logs_proj.", NULL};
    lt_h3_audio_encoder *e = calloc(1, sizeof *e);
    stage *stages = calloc((size_t)config->encoder_stages, sizeof *stages);
    if (e == NULL || stages == NULL) {
        free(e);
        free(stages);
        LT_FAIL(LT_ENOMEM, "audio encoder: no memory for its description");
    }
    e->config = *config;
    e->engine = engine;
    e->stages = stages;
    lt_status st;
    LT_TRY_GOTO(lt_weights_open(checkpoint, engine, LT_F32, &e->weights), st, failed);
    e->dry = lt_weights_is_dry(e->weights);
    const lt_wanter check = {lt_wanted_check, checkpoint, LT_NEED_RUN};
    LT_TRY_GOTO(lt_h3_audio_encoder_tensors(config, &check), st, failed);
    LT_TRY_GOTO(open_parts(e), st, failed);
    LT_TRY_GOTO(lt_checkpoint_all_used(checkpoint, others), st, failed);
    *out = e;
    return LT_OK;
failed:
    lt_h3_audio_encoder_close(&e);
    return st;
}

void lt_h3_audio_encoder_close(lt_h3_audio_encoder **encoder)
{
    if (*encoder == NULL)
        return;
    lt_weights_close(&(*encoder)->weights);
    free((*encoder)->stages);
    free(*encoder);
    *encoder = NULL;
}

/* ---- convolutions ---- */
typedef struct buffers {
    lt_tensor x, a, b;
} buffers;

static lt_tensor shaped(const lt_tensor *buffer, int64_t rows, int64_t channels)
{
    const lt_tensor flat = lt_view_outer(buffer, (lt_range){0, rows * channels});
    return lt_view_as(&flat, LT_DIMS(rows, channels));
}

static lt_status apply_conv(lt_queue *q, const lt_conv *conv, const lt_tensor *x, lt_tensor *y)
{
    const lt_tensor x5 = lt_view_as(x, LT_DIMS(1, 1, 1, x->dim[0], x->dim[1]));
    lt_tensor y5 = lt_view_as(y, LT_DIMS(1, 1, 1, y->dim[0], y->dim[1]));
    return lt_conv_apply(q, conv, &x5, &y5);
}

static lt_status apply_snake(lt_queue *q, const lt_tensor *alpha, const lt_tensor *x, lt_tensor *y)
{
    const lt_tensor x3 = lt_view_as(x, LT_DIMS(1, x->dim[0], x->dim[1]));
    lt_tensor y3 = lt_view_as(y, LT_DIMS(1, y->dim[0], y->dim[1]));
    return lt_snake(q, &x3, alpha, &y3);
}

static void swap(lt_tensor *a, lt_tensor *b)
{
    const lt_tensor c = *a;
    *a = *b;
    *b = c;
}

/* Buffer x holds [rows, s->in]; afterwards [rows / rate, 2 * s->in]. */
static lt_status apply_stage(lt_queue *q, const stage *s, int64_t rows, buffers *buf)
{
    lt_tensor x = shaped(&buf->x, rows, s->in), a = shaped(&buf->a, rows, s->in),
              b = shaped(&buf->b, rows, s->in);
    for (int i = 0; i < UNITS; i++) {
        const unit *u = &s->units[i];
        LT_TRY(apply_snake(q, &u->alpha1, &x, &a));
        LT_TRY(apply_conv(q, u->conv1, &a, &b));
        LT_TRY(apply_snake(q, &u->alpha2, &b, &b));
        LT_TRY(apply_conv(q, u->conv2, &b, &a));
        LT_TRY(lt_axpby(q, 1, &a, 1, &x));
    }
    lt_tensor next = shaped(&buf->b, rows / s->rate, 2 * s->in);
    LT_TRY(apply_snake(q, &s->alpha, &x, &a));
    LT_TRY(apply_conv(q, s->down, &a, &next));
    swap(&buf->x, &buf->b);
    return LT_OK;
}

/* ---- the block at the end ---- */
/* x [T, latent_dim] -> mean [T, C]. */
static lt_status apply_block(lt_h3_audio_encoder *e, const lt_tensor *x, int64_t rows,
                             lt_tensor *mean)
{
    lt_queue *q = e->engine->compute;
    lt_arena *step = e->engine->step;
    const lt_h3_audio_config *c = &e->config;
    const int64_t width = c->latent_dim, outs = c->latent_channels, inner = MLP_RATIO * outs;
    lt_tensor normed, qkv, attention_out, y, more, narrow, gate, value;
    LT_TRY(lt_tensor_new(step, "encoder.normed", LT_F32, &normed, LT_DIMS(rows, width)));
    LT_TRY(lt_tensor_new(step, "encoder.qkv", LT_F32, &qkv, LT_DIMS(rows, 3 * width)));
    LT_TRY(lt_tensor_new(step, "encoder.mixed", LT_F32, &attention_out, LT_DIMS(rows, width)));
    LT_TRY(lt_tensor_new(step, "encoder.y", LT_F32, &y, LT_DIMS(rows, outs)));
    LT_TRY(lt_tensor_new(step, "encoder.more", LT_F32, &more, LT_DIMS(rows, outs)));
    LT_TRY(lt_tensor_new(step, "encoder.narrow", LT_F32, &narrow, LT_DIMS(rows, outs)));
    LT_TRY(lt_tensor_new(step, "encoder.gate", LT_F32, &gate, LT_DIMS(rows, inner)));
    LT_TRY(lt_tensor_new(step, "encoder.value", LT_F32, &value, LT_DIMS(rows, inner)));

    LT_TRY(lt_layer_norm(q, x, &e->norm3.w, &e->norm3.b, norm_eps, &normed));
    LT_TRY(lt_linear_apply(q, e->proj, &normed, LT_ACT_NONE, &y));
    LT_TRY(lt_layer_norm(q, x, &e->norm1.w, &e->norm1.b, norm_eps, &normed));
    LT_TRY(lt_linear_apply(q, e->qkv, &normed, LT_ACT_NONE, &qkv));
    const lt_tensor query = lt_view_columns(&qkv, (lt_range){0, width});
    const lt_tensor key = lt_view_columns(&qkv, (lt_range){width, width});
    const lt_tensor val = lt_view_columns(&qkv, (lt_range){2 * width, width});
    const float scale = (float)(1.0 / sqrt((double)(width / c->heads)));
    LT_TRY(
        lt_attention(q, &query, &key, &val, c->heads, c->heads, scale, 1, 0, &attention_out, NULL));
    LT_TRY(lt_linear_apply(q, e->mixer, &attention_out, LT_ACT_NONE, &more));
    LT_TRY(lt_axpby(q, 1, &more, 1, &y));

    LT_TRY(lt_layer_norm(q, &y, &e->norm2.w, &e->norm2.b, norm_eps, &more));
    LT_TRY(lt_layer_norm(q, &more, &e->mlp_norm.w, &e->mlp_norm.b, norm_eps, &narrow));
    LT_TRY(lt_linear_apply(q, e->mlp0, &narrow, LT_ACT_GELU_TANH, &gate));
    LT_TRY(lt_linear_apply(q, e->mlp1, &narrow, LT_ACT_NONE, &value));
    LT_TRY(lt_mul(q, &gate, &value));
    LT_TRY(lt_linear_apply(q, e->mlp2, &value, LT_ACT_NONE, &more));
    LT_TRY(lt_axpby(q, 1, &more, 1, &y));
    return lt_linear_apply(q, e->mean, &y, LT_ACT_NONE, mean);
}

int64_t lt_h3_audio_tick_count(const lt_h3_audio_config *config, int64_t samples)
{
    assert(samples >= 0);
    return samples / config->hop + (samples % config->hop != 0);
}

/* wave [ticks * hop] -> rows [ticks, C], both host. */
static lt_status encode_one(lt_h3_audio_encoder *e, const float *wave, int64_t ticks, float *means)
{
    lt_queue *q = e->engine->compute;
    lt_arena *step = e->engine->step;
    const lt_h3_audio_config *c = &e->config;
    int64_t rows = ticks * c->hop, most = rows * c->encoder_dim;
    /* A stage doubles the channels and divides the time, by 2 at the least or by 1: look at all. */
    for (int64_t i = 0, left = rows; i < c->encoder_stages; i++) {
        left /= c->encoder_rate[i];
        const int64_t values = left * (c->encoder_dim << (i + 1));
        most = values > most ? values : most;
    }
    most = ticks * c->latent_dim > most ? ticks * c->latent_dim : most;
    buffers buf;
    lt_tensor input, mean;
    LT_TRY(lt_tensor_new(step, "encoder.wave", LT_F32, &input, LT_DIMS(rows, 1)));
    LT_TRY(lt_tensor_new(step, "encoder.mean", LT_F32, &mean, LT_DIMS(ticks, c->latent_channels)));
    LT_TRY(lt_tensor_new(step, "encoder.x", LT_F32, &buf.x, LT_DIMS(most)));
    LT_TRY(lt_tensor_new(step, "encoder.a", LT_F32, &buf.a, LT_DIMS(most)));
    LT_TRY(lt_tensor_new(step, "encoder.b", LT_F32, &buf.b, LT_DIMS(most)));
    LT_TRY(lt_upload(q, &input, wave));
    lt_tensor x = shaped(&buf.x, rows, c->encoder_dim);
    LT_TRY(apply_conv(q, e->first, &input, &x));
    for (int64_t i = 0; i < c->encoder_stages; i++) {
        LT_TRY(apply_stage(q, &e->stages[i], rows, &buf));
        rows /= c->encoder_rate[i];
    }
    assert(rows == ticks);
    x = shaped(&buf.x, rows, c->encoder_dim << c->encoder_stages);
    lt_tensor trunk = shaped(&buf.b, rows, c->latent_dim);
    LT_TRY(apply_snake(q, &e->last_alpha, &x, &x));
    LT_TRY(apply_conv(q, e->last, &x, &trunk));
    LT_TRY(apply_block(e, &trunk, rows, &mean));
    LT_TRY(lt_download(q, means, &mean));
    return lt_sync(q);
}

lt_status lt_h3_audio_encode(lt_h3_audio_encoder *encoder, const float *samples, int64_t batch,
                             int64_t n, float *means)
{
    const lt_h3_audio_config *c = &encoder->config;
    if (n < 1 || n > (int64_t)1 << 40 || batch < 0)
        LT_FAIL(LT_EDATA, "sample: want 1 sample or more, found %lld", (long long)n);
    const int64_t ticks = lt_h3_audio_tick_count(c, n), channels = c->latent_channels;
    float *wave = calloc((size_t)(ticks * c->hop), sizeof *wave);
    float *rows = malloc((size_t)(ticks * channels) * sizeof *rows);
    lt_status st = LT_OK;
    if (wave == NULL || rows == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "audio encoder: no memory for %lld samples",
                     (long long)n);
    for (int64_t item = 0; item < batch; item++) {
        for (int64_t i = 0; i < n && !encoder->dry; i++)
            wave[i] = samples[item * n + i];
        const lt_mark mark = lt_arena_mark(encoder->engine->step);
        st = encode_one(encoder, wave, ticks, rows);
        lt_arena_release(encoder->engine->step, mark);
        LT_TRY_GOTO(st, st, done);
        for (int64_t i = 0; i < ticks * channels && !encoder->dry; i++)
            means[item * ticks * channels + i % channels * ticks + i / channels] = rows[i];
    }
done:
    free(wave);
    free(rows);
    return st;
}
