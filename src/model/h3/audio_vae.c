/* audio_vae.c - H3's audio decoder: latents to samples, in chunks.
 *
 * One item of the batch and one range of ticks at a time. Each layer widens what its input must
 * cover; so the ranges are found backwards, from the samples that are wanted to the ticks that are
 * needed (ranges_of), and the forward pass cuts after every stage what only served as context:
 *
 *     ticks      |<-- context -->|== wanted ==|<-- context -->|
 *     stage 0         |<------- >|============|<------->|          most of the context ends here:
 *     stage 1               |<-->|============|<-->|               a stage of r times the rate
 * needs
 *     ...                       |>============<|                   1/r of the time
 *
 * A layer runs on its range as if that were the whole, with the network's own paddings; what they
 * spoil lies within the layer's reach of a cut and is dropped later. At the true ends nothing is
 * cut and they are right.
 *
 * Five buffers of the largest range serve all stages (x: what the blocks share; sum: their mean;
 * run: a block's running value; act, conv: inside a pair), so memory depends on the range alone. */
#include "model/h3/audio_vae.h"

#include "model/h3/tensors.h"
#include "model/h3/vae_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The wider a chunk, the less context is computed twice (12 % at 256 ticks = 6.4 s); its buffers
 * grow with it: 5 x 9 MB in the released model. */
enum { CHUNK_TICKS = 256 };
enum { FILTER_TAPS = 12, FILTER_REACH = 5, ENDS_KERNEL = 7 };

typedef struct snake_aa {
    lt_tensor alpha, beta, up, down;
} snake_aa;
typedef struct pair {
    snake_aa act[2];
    lt_conv *conv[2];
} pair;
typedef struct amp_block {
    pair pairs[LT_H3_AUDIO_DILATIONS_MAX];
} amp_block;
typedef struct stage {
    lt_conv *up;
    amp_block blocks[LT_H3_AUDIO_BLOCKS_MAX];
} stage;

struct lt_h3_audio_decoder {
    lt_h3_audio_config config;
    lt_engine *engine;
    lt_weights *weights;
    int dry;
    lt_linear *in_proj;
    lt_conv *pre, *post;
    snake_aa act_post;
    stage *stages;
};

/* ---- opening ---- */
static lt_status open_act(lt_weights *weights, const char *prefix, int64_t channels, snake_aa *act)
{
    char name[LT_H3_NAME_BYTES];
    lt_h3_name(name, "%s.act.alpha", prefix);
    LT_TRY(lt_weights_tensor(weights, name, LT_DIMS(channels), LT_F32, &act->alpha));
    lt_h3_name(name, "%s.act.beta", prefix);
    LT_TRY(lt_weights_tensor(weights, name, LT_DIMS(channels), LT_F32, &act->beta));
    lt_h3_name(name, "%s.upsample.filter", prefix);
    LT_TRY(lt_weights_tensor(weights, name, LT_DIMS(1, 1, FILTER_TAPS), LT_F32, &act->up));
    lt_h3_name(name, "%s.downsample.lowpass.filter", prefix);
    LT_TRY(lt_weights_tensor(weights, name, LT_DIMS(1, 1, FILTER_TAPS), LT_F32, &act->down));
    act->up = lt_view_as(&act->up, LT_DIMS(FILTER_TAPS));
    act->down = lt_view_as(&act->down, LT_DIMS(FILTER_TAPS));
    return LT_OK;
}

static lt_status open_block(lt_weights *weights, const lt_h3_audio_config *c, int64_t index,
                            int64_t block, amp_block *out)
{
    char name[LT_H3_NAME_BYTES];
    const int number = (int)(index * c->blocks + block);
    const int64_t channels = lt_h3_audio_stage_channels(c, index), kernel = c->block_kernel[block];
    for (int64_t d = 0; d < c->dilations[block]; d++)
        for (int64_t half = 0; half < 2; half++) {
            const int64_t dilation = half == 0 ? c->dilation[block][d] : 1;
            const lt_h3_conv1d_spec spec = {
                .in = channels,
                .out = channels,
                .kernel = kernel,
                .stride = 1,
                .dilation = dilation,
                .pad = (kernel - 1) / 2 * dilation,
                .bias = 1,
            };
            lt_h3_name(name, "decoder.resblocks.%d.activations.%d", number, (int)(2 * d + half));
            LT_TRY(open_act(weights, name, channels, &out->pairs[d].act[half]));
            lt_h3_name(name, "decoder.resblocks.%d.convs%d.%d", number, (int)half + 1, (int)d);
            LT_TRY(lt_h3_conv1d_normed(weights, name, &spec, &out->pairs[d].conv[half]));
        }
    return LT_OK;
}

static lt_status open_stage(lt_weights *weights, const lt_h3_audio_config *c, int64_t index,
                            stage *out)
{
    char name[LT_H3_NAME_BYTES];
    const lt_h3_conv1d_spec up = {
        .in = c->decoder_dim >> index,
        .out = lt_h3_audio_stage_channels(c, index),
        .kernel = c->kernel[index],
        .stride = c->rate[index],
        .dilation = 1,
        .pad = (c->kernel[index] - c->rate[index]) / 2,
        .transposed = 1,
        .bias = 1,
    };
    lt_h3_name(name, "decoder.ups.%d.0", (int)index);
    LT_TRY(lt_h3_conv1d_normed(weights, name, &up, &out->up));
    for (int64_t j = 0; j < c->blocks; j++)
        LT_TRY(open_block(weights, c, index, j, &out->blocks[j]));
    return LT_OK;
}

static lt_status open_parts(lt_h3_audio_decoder *d)
{
    const lt_h3_audio_config *c = &d->config;
    const int64_t last = lt_h3_audio_stage_channels(c, c->stages - 1);
    const lt_h3_conv1d_spec pre = {.in = c->latent_dim,
                                   .out = c->decoder_dim,
                                   .kernel = ENDS_KERNEL,
                                   .stride = 1,
                                   .dilation = 1,
                                   .pad = ENDS_KERNEL / 2,
                                   .bias = 1};
    const lt_h3_conv1d_spec post = {.in = last,
                                    .out = 1,
                                    .kernel = ENDS_KERNEL,
                                    .stride = 1,
                                    .dilation = 1,
                                    .pad = ENDS_KERNEL / 2};
    LT_TRY(lt_h3_pointwise(d->weights, "dec_in_proj", c->latent_dim, c->latent_channels, 1,
                           &d->in_proj));
    LT_TRY(lt_h3_conv1d_normed(d->weights, "decoder.conv_pre", &pre, &d->pre));
    for (int64_t i = 0; i < c->stages; i++)
        LT_TRY(open_stage(d->weights, c, i, &d->stages[i]));
    LT_TRY(open_act(d->weights, "decoder.activation_post", last, &d->act_post));
    return lt_h3_conv1d_normed(d->weights, "decoder.conv_post", &post, &d->post);
}

lt_status lt_h3_audio_decoder_open(lt_checkpoint *checkpoint, lt_engine *engine,
                                   const lt_h3_audio_config *config, lt_h3_audio_decoder **out)
{
    *out = NULL;
    static const char *const others[] = {"encoder.", "pre_block.", "mean_proj.", "logs_proj.",
                                         NULL};
    lt_h3_audio_decoder *d = calloc(1, sizeof *d);
    stage *stages = calloc((size_t)config->stages, sizeof *stages);
    if (d == NULL || stages == NULL) {
        free(d);
        free(stages);
        LT_FAIL(LT_ENOMEM, "audio VAE: no memory for its description");
    }
    d->config = *config;
    d->engine = engine;
    d->stages = stages;
    lt_status st;
    LT_TRY_GOTO(lt_weights_open(checkpoint, engine, LT_F32, &d->weights), st, failed);
    d->dry = lt_weights_is_dry(d->weights);
    const lt_wanter check = {lt_wanted_check, checkpoint, LT_NEED_RUN};
    LT_TRY_GOTO(lt_h3_audio_decoder_tensors(config, &check), st, failed);
    LT_TRY_GOTO(open_parts(d), st, failed);
    LT_TRY_GOTO(lt_checkpoint_all_used(checkpoint, others), st, failed);
    lt_weights_rest(d->weights);
    *out = d;
    return LT_OK;
failed:
    lt_h3_audio_decoder_close(&d);
    return st;
}

void lt_h3_audio_decoder_close(lt_h3_audio_decoder **decoder)
{
    if (*decoder == NULL)
        return;
    lt_weights_close(&(*decoder)->weights);
    free((*decoder)->stages);
    free(*decoder);
    *decoder = NULL;
}

void lt_h3_audio_denormalise(const lt_h3_audio_config *config, const float *latents, int64_t count,
                             float *out)
{
    assert(count >= 0);
    for (int64_t c = 0; c < config->latent_channels; c++)
        for (int64_t i = c * count; i < (c + 1) * count; i++)
            out[i] = latents[i] * config->latents_std[c] + config->latents_mean[c];
}

/* ---- which range each layer needs ---- */
/* Ranges are absolute, counted at the rate of the place that they are for. */
typedef struct stage_range {
    lt_range in;  /* what the upsampler reads, at the rate before */
    lt_range out; /* what the blocks read, at the rate after; its sum is right on `kept` */
    lt_range kept;
} stage_range;
typedef struct audio_ranges {
    lt_range ticks; /* what conv_pre reads */
    stage_range stages[LT_H3_AUDIO_STAGES_MAX];
} audio_ranges;

static lt_range widen(lt_range range, int64_t by, int64_t length)
{
    const int64_t first = range.first > by ? range.first - by : 0;
    const int64_t end =
        range.first + range.count + by < length ? range.first + range.count + by : length;
    return (lt_range){first, end - first};
}

/* How far a stage's blocks look: each pair is two activations and two convolutions. */
static int64_t blocks_reach(const lt_h3_audio_config *c)
{
    int64_t worst = 0;
    for (int64_t j = 0; j < c->blocks; j++) {
        const int64_t half = c->block_kernel[j] / 2;
        int64_t reach = 0;
        for (int64_t d = 0; d < c->dilations[j]; d++)
            reach += 2 * FILTER_REACH + half * c->dilation[j][d] + half;
        worst = reach > worst ? reach : worst;
    }
    return worst;
}

/* Inputs of an upsampler for outputs `out`: output o = rate * i - pad + k with 0 <= k < kernel. */
static lt_range before_up(const lt_h3_audio_config *c, int64_t i, lt_range out, int64_t length)
{
    const int64_t rate = c->rate[i], kernel = c->kernel[i], pad = (kernel - rate) / 2;
    const int64_t low = out.first + pad - (kernel - 1), high = out.first + out.count - 1 + pad;
    const int64_t first = low <= 0 ? 0 : (low + rate - 1) / rate;
    const int64_t end = high / rate + 1 < length ? high / rate + 1 : length;
    return (lt_range){first, end - first};
}

static audio_ranges ranges_of(const lt_h3_audio_config *c, int64_t ticks, int64_t first,
                              int64_t count)
{
    audio_ranges r;
    int64_t length = ticks * c->hop;
    lt_range need = {first * c->hop, count * c->hop};
    need = widen(need, ENDS_KERNEL / 2, length);
    need = widen(need, FILTER_REACH, length);
    for (int64_t i = c->stages - 1; i >= 0; i--) {
        stage_range *s = &r.stages[i];
        s->kept = need;
        s->out = widen(need, blocks_reach(c), length);
        length /= c->rate[i];
        s->in = before_up(c, i, s->out, length);
        need = s->in;
    }
    r.ticks = widen(need, ENDS_KERNEL / 2, length);
    return r;
}

lt_range lt_h3_audio_context(const lt_h3_audio_config *config, int64_t ticks, int64_t first,
                             int64_t count)
{
    assert(first >= 0 && count >= 0 && first + count <= ticks);
    if (count == 0)
        return (lt_range){first, 0};
    return ranges_of(config, ticks, first, count).ticks;
}

/* ---- forward ---- */
typedef struct audio_buffers {
    lt_tensor x, sum, run, act, conv;
} audio_buffers;

/* [rows, channels] at the front of a flat buffer. */
static lt_tensor front(const lt_tensor *buffer, int64_t rows, int64_t channels)
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

static lt_status apply_act(lt_queue *q, const snake_aa *act, const lt_tensor *x, lt_tensor *y)
{
    const lt_tensor x3 = lt_view_as(x, LT_DIMS(1, x->dim[0], x->dim[1]));
    lt_tensor y3 = lt_view_as(y, LT_DIMS(1, y->dim[0], y->dim[1]));
    return lt_snake_aa(q, &x3, &act->alpha, &act->beta, &act->up, &act->down, &y3);
}

/* run = block(x): for each pair run += conv(act(conv(act(run)))), the first from x. */
static lt_status apply_block(lt_queue *q, const amp_block *block, int64_t pairs, const lt_tensor *x,
                             lt_tensor *run, lt_tensor *act, lt_tensor *conv)
{
    for (int64_t d = 0; d < pairs; d++) {
        const pair *p = &block->pairs[d];
        lt_tensor *result = d == 0 ? run : conv;
        LT_TRY(apply_act(q, &p->act[0], d == 0 ? x : run, act));
        LT_TRY(apply_conv(q, p->conv[0], act, conv));
        LT_TRY(apply_act(q, &p->act[1], conv, act));
        LT_TRY(apply_conv(q, p->conv[1], act, result));
        LT_TRY(lt_axpby(q, 1, d == 0 ? x : conv, 1, run));
    }
    return LT_OK;
}

/* sum holds range->in; afterwards range->out, of which range->kept is right. */
static lt_status apply_stage(lt_h3_audio_decoder *d, int64_t index, const lt_tensor *in,
                             const stage_range *range, audio_buffers *b, lt_tensor *sum)
{
    lt_queue *q = d->engine->compute;
    const lt_h3_audio_config *c = &d->config;
    const int64_t channels = lt_h3_audio_stage_channels(c, index), rows = range->out.count;
    lt_tensor up = front(&b->x, range->in.count * c->rate[index], channels);
    LT_TRY(apply_conv(q, d->stages[index].up, in, &up));
    const int64_t skip = range->out.first - range->in.first * c->rate[index];
    const lt_tensor x = lt_view_outer(&up, (lt_range){skip, rows});
    lt_tensor run = front(&b->run, rows, channels), act = front(&b->act, rows, channels);
    lt_tensor conv = front(&b->conv, rows, channels);
    *sum = front(&b->sum, rows, channels);
    for (int64_t j = 0; j < c->blocks; j++) {
        const amp_block *block = &d->stages[index].blocks[j];
        LT_TRY(apply_block(q, block, c->dilations[j], &x, j == 0 ? sum : &run, &act, &conv));
        const float share = j == c->blocks - 1 ? (float)(1.0 / (double)c->blocks) : 1;
        if (j > 0)
            LT_TRY(lt_axpby(q, share, &run, share, sum));
    }
    return LT_OK;
}

static lt_status take_buffers(const lt_h3_audio_decoder *d, const audio_ranges *r, audio_buffers *b)
{
    const lt_h3_audio_config *c = &d->config;
    int64_t most = r->ticks.count * c->decoder_dim;
    for (int64_t i = 0; i < c->stages; i++) {
        const int64_t values =
            r->stages[i].in.count * c->rate[i] * lt_h3_audio_stage_channels(c, i);
        most = values > most ? values : most;
    }
    lt_arena *step = d->engine->step;
    LT_TRY(lt_tensor_new(step, "audio.x", LT_F32, &b->x, LT_DIMS(most)));
    LT_TRY(lt_tensor_new(step, "audio.sum", LT_F32, &b->sum, LT_DIMS(most)));
    LT_TRY(lt_tensor_new(step, "audio.run", LT_F32, &b->run, LT_DIMS(most)));
    LT_TRY(lt_tensor_new(step, "audio.act", LT_F32, &b->act, LT_DIMS(most)));
    return lt_tensor_new(step, "audio.conv", LT_F32, &b->conv, LT_DIMS(most));
}

/* sum = conv_pre(in_proj(z)). */
static lt_status embed(lt_h3_audio_decoder *d, const float *z, int64_t rows, audio_buffers *b,
                       lt_tensor *sum)
{
    lt_queue *q = d->engine->compute;
    const lt_h3_audio_config *c = &d->config;
    lt_tensor latent, trunk;
    LT_TRY(lt_tensor_new(d->engine->step, "audio.z", LT_F32, &latent,
                         LT_DIMS(rows, c->latent_channels)));
    LT_TRY(lt_tensor_new(d->engine->step, "audio.trunk", LT_F32, &trunk,
                         LT_DIMS(rows, c->latent_dim)));
    *sum = front(&b->sum, rows, c->decoder_dim);
    LT_TRY(lt_upload(q, &latent, z));
    LT_TRY(lt_linear_apply(q, d->in_proj, &latent, LT_ACT_NONE, &trunk));
    return apply_conv(q, d->pre, &trunk, sum);
}

/* One item: z [ticks in r, C] -> samples [count * hop]. */
static lt_status decode_one(lt_h3_audio_decoder *d, const audio_ranges *r, const float *z,
                            int64_t first, int64_t count, float *samples)
{
    lt_queue *q = d->engine->compute;
    const lt_h3_audio_config *c = &d->config;
    audio_buffers b;
    lt_tensor sum;
    LT_TRY(take_buffers(d, r, &b));
    LT_TRY(embed(d, z, r->ticks.count, &b, &sum));
    lt_range held = r->ticks; /* what sum covers */
    for (int64_t i = 0; i < c->stages; i++) {
        const stage_range *s = &r->stages[i];
        const lt_tensor in = lt_view_outer(&sum, (lt_range){s->in.first - held.first, s->in.count});
        LT_TRY(apply_stage(d, i, &in, s, &b, &sum));
        held = s->out;
    }
    const lt_range kept = r->stages[c->stages - 1].kept;
    const lt_tensor end = lt_view_outer(&sum, (lt_range){kept.first - held.first, kept.count});
    lt_tensor act = front(&b.act, kept.count, end.dim[1]), wave = front(&b.conv, kept.count, 1);
    LT_TRY(apply_act(q, &d->act_post, &end, &act));
    LT_TRY(apply_conv(q, d->post, &act, &wave));
    LT_TRY(lt_clamp(q, &wave, -1, 1, &wave));
    const lt_tensor wanted =
        lt_view_outer(&wave, (lt_range){first * c->hop - kept.first, count * c->hop});
    LT_TRY(lt_download(q, samples, &wanted));
    return lt_sync(q);
}

/* latents [C, ticks] -> rows [range, C]. */
static void cut_ticks(const float *latents, int64_t channels, int64_t ticks, lt_range range,
                      float *rows)
{
    for (int64_t t = 0; t < range.count; t++)
        for (int64_t k = 0; k < channels; k++)
            rows[t * channels + k] = latents[k * ticks + range.first + t];
}

lt_status lt_h3_audio_decode_range(lt_h3_audio_decoder *decoder, const float *latents,
                                   int64_t batch, int64_t ticks, int64_t first, int64_t count,
                                   float *samples)
{
    const lt_h3_audio_config *c = &decoder->config;
    if (batch < 0 || first < 0 || count < 0 || first > ticks || count > ticks - first)
        LT_FAIL(LT_ESHAPE, "audio decode: want a range of the %lld ticks, found [%lld, +%lld)",
                (long long)ticks, (long long)first, (long long)count);
    if (count == 0)
        return LT_OK;
    const audio_ranges r = ranges_of(c, ticks, first, count);
    float *rows = malloc((size_t)(r.ticks.count * c->latent_channels) * sizeof *rows);
    if (rows == NULL)
        LT_FAIL(LT_ENOMEM, "audio decode: no memory for %lld ticks", (long long)r.ticks.count);
    lt_status st = LT_OK;
    for (int64_t item = 0; item < batch && st == LT_OK; item++) {
        const lt_mark mark = lt_arena_mark(decoder->engine->step);
        if (!decoder->dry)
            cut_ticks(latents + item * c->latent_channels * ticks, c->latent_channels, ticks,
                      r.ticks, rows);
        float *to = samples == NULL ? NULL : samples + item * count * c->hop;
        st = decode_one(decoder, &r, rows, first, count, to);
        lt_arena_release(decoder->engine->step, mark);
    }
    free(rows);
    return st == LT_OK ? st : lt_error_trace(st, "decode_one", __FILE__, __LINE__);
}

lt_status lt_h3_audio_decode(lt_h3_audio_decoder *decoder, const float *latents, int64_t batch,
                             int64_t ticks, float *samples)
{
    const lt_h3_audio_config *c = &decoder->config;
    const int64_t one_latents = c->latent_channels * ticks, one_samples = c->hop * ticks;
    for (int64_t item = 0; item < batch; item++)
        for (int64_t first = 0; first < ticks; first += CHUNK_TICKS) {
            const int64_t count = ticks - first < CHUNK_TICKS ? ticks - first : CHUNK_TICKS;
            const float *from = decoder->dry ? NULL : latents + item * one_latents;
            float *to = decoder->dry ? NULL : samples + item * one_samples + first * c->hop;
            LT_TRY(lt_h3_audio_decode_range(decoder, from, 1, ticks, first, count, to));
        }
    return LT_OK;
}
