/* tensors.c - the tensors that an H3 config asks for.
 * One function a part, in the order in which the network uses them. tests/unit/test_inspect.c holds
 * this list to the published indexes: same names, same total of bytes. */
#include "model/h3/tensors.h"

#include <stdio.h>

#include "base/file.h"
#include "model/h3/names.h"
#include "model/text/qwen3vl_tensors.h"

/* NAME.weight [out, in, k, k, k] and NAME.bias [out]. */
static lt_status conv(const lt_wanter *to, const char *name, int64_t out, int64_t in, int64_t k)
{
    LT_TRY(lt_want(to, LT_DIMS(out, in, k, k, k), "%s.weight", name));
    LT_TRY(lt_want(to, LT_DIMS(out), "%s.bias", name));
    return LT_OK;
}

/* ---- DiT ---- */

static lt_status dit_block(const lt_wanter *to, const lt_h3_dit_config *c, const char *at,
                           int64_t i)
{
    static const char *const qkv[] = {"to_q", "to_k", "to_v"};
    const long long n = (long long)i;
    const int64_t inner = c->heads * c->head_dim;
    for (int k = 0; k < 3; k++)
        LT_TRY(lt_want(to, LT_DIMS(inner, c->hidden), "%s.%lld.attn.%s.weight", at, n, qkv[k]));
    LT_TRY(lt_want(to, LT_DIMS(c->head_dim), "%s.%lld.attn.norm_q.weight", at, n));
    LT_TRY(lt_want(to, LT_DIMS(c->head_dim), "%s.%lld.attn.norm_k.weight", at, n));
    LT_TRY(lt_want(to, LT_DIMS(c->hidden, inner), "%s.%lld.attn.to_out.0.weight", at, n));
    LT_TRY(lt_want(to, LT_DIMS(2 * c->ffn, c->hidden), "%s.%lld.ff.net.0.proj.weight", at, n));
    LT_TRY(lt_want(to, LT_DIMS(c->hidden, c->ffn), "%s.%lld.ff.net.2.weight", at, n));
    LT_TRY(lt_want(to, LT_DIMS(c->hidden), "%s.%lld.norm1.weight", at, n));
    LT_TRY(lt_want(to, LT_DIMS(c->hidden), "%s.%lld.norm2.weight", at, n));
    return LT_OK;
}

lt_status lt_h3_dit_tensors(const lt_h3_dit_config *config, const lt_wanter *to)
{
    const lt_wanter tables = {to->fn, to->ctx, LT_NEED_TABLES};
    const lt_h3_dit_config c = *config;
    /* Six numbers for each of three kinds of row. */
    enum { MODULATIONS = 18 };
    char name[64];
    const int64_t video = lt_h3_dit_video_width(&c);
    LT_TRY(lt_want_linear(to, "proj_in", c.hidden, video));
    LT_TRY(lt_want_linear(to, "audio_proj_in", c.hidden, c.audio_channels));
    LT_TRY(lt_want_linear(to, "context_embedder", c.hidden, c.text_dim));
    LT_TRY(lt_want_linear(&tables, "time_embedder.linear_1", c.time_hidden, c.freq_dim));
    LT_TRY(lt_want_linear(&tables, "time_embedder.linear_2", c.time_dim, c.time_hidden));
    LT_TRY(lt_want(to, LT_DIMS(c.hidden), "token_refiner.final_norm.weight"));
    for (int64_t i = 0; i < c.refiner_layers; i++)
        LT_TRY(dit_block(to, &c, "token_refiner.refiner_blocks", i));
    for (int64_t i = 0; i < c.layers; i++) {
        LT_TRY(dit_block(to, &c, "transformer_blocks", i));
        (void)snprintf(name, sizeof name, "transformer_blocks.%lld.adaln_proj.linear",
                       (long long)i);
        LT_TRY(lt_want_linear(&tables, name, MODULATIONS * c.hidden, c.time_dim));
    }
    LT_TRY(lt_want_linear(&tables, "norm_out.linear", 2 * c.hidden, c.time_dim));
    LT_TRY(lt_want(to, LT_DIMS(c.hidden), "norm_out.norm.weight"));
    LT_TRY(lt_want_linear(to, "proj_out", video, c.hidden));
    LT_TRY(lt_want_linear(to, "audio_proj_out", c.audio_channels, c.hidden));
    return LT_OK;
}

static lt_status want_dit(const char *folder, lt_want_fn fn, void *ctx)
{
    lt_h3_dit_config config;
    char path[LT_PATH_BYTES];
    LT_TRY(lt_path_join(path, sizeof path, folder, "config.json"));
    LT_TRY(lt_h3_dit_config_read(path, &config));
    const lt_wanter to = {fn, ctx, LT_NEED_RUN};
    return lt_h3_dit_tensors(&config, &to);
}

/* ---- video VAE ---- */

lt_status lt_h3_video_encoder_tensors(const lt_h3_video_config *c, const lt_wanter *to)
{
    char name[96];
    int64_t in = c->channels[0];
    LT_TRY(conv(to, "encoder.conv_in", in, c->pixel_channels, 3));
    for (long long i = 0; i < c->levels; i++) {
        for (long long j = 0; j < c->layers_per_block; j++) {
            const int64_t out = c->channels[i];
            const int at =
                snprintf(name, sizeof name, "encoder.down_blocks.%lld.resnets.%lld", i, j);
            const size_t left = sizeof name - (size_t)at;
            (void)snprintf(name + at, left, ".norm1");
            LT_TRY(lt_want_norm(to, name, in));
            (void)snprintf(name + at, left, ".conv1");
            LT_TRY(conv(to, name, out, in, 3));
            (void)snprintf(name + at, left, ".norm2");
            LT_TRY(lt_want_norm(to, name, out));
            (void)snprintf(name + at, left, ".conv2");
            LT_TRY(conv(to, name, out, out, 3));
            (void)snprintf(name + at, left, ".conv_shortcut");
            if (in != out)
                LT_TRY(conv(to, name, out, in, 1));
            in = out;
        }
        (void)snprintf(name, sizeof name, "encoder.down_blocks.%lld.downsamplers.0.conv", i);
        if (c->space_factor[i] > 1)
            LT_TRY(conv(to, name, in, in, 3));
    }
    LT_TRY(lt_want_norm(to, "encoder.norm_out", in));
    LT_TRY(conv(to, "encoder.conv_out", 2 * c->latent_channels, in, 3));
    LT_TRY(conv(to, "quant_conv", 2 * c->latent_channels, 2 * c->latent_channels, 1));
    return LT_OK;
}

lt_status lt_h3_video_decoder_tensors(const lt_h3_video_config *config, const lt_wanter *to)
{
    static const char *const layers[] = {"attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"};
    static const char *const vectors[] = {"norm1.weight", "norm2.weight", "scale1", "scale2"};
    const lt_h3_video_config c = *config;
    char name[96];
    const int64_t dim = c.heads * c.head_dim, ffn = c.ffn_mult * dim;
    const int64_t patch = c.pixel_channels * c.time_ratio * c.space_ratio * c.space_ratio;
    LT_TRY(conv(to, "post_quant_conv", c.latent_channels, c.latent_channels, 1));
    LT_TRY(lt_want_linear(to, "decoder.proj_in", dim, c.latent_channels));
    LT_TRY(lt_want(to, LT_DIMS(1, c.registers, dim), "decoder.register_tokens"));
    for (long long i = 0; i < c.layers; i++) {
        const int at = snprintf(name, sizeof name, "decoder.transformer_blocks.%lld.", i);
        const size_t left = sizeof name - (size_t)at;
        for (int k = 0; k < 4; k++) {
            (void)snprintf(name + at, left, "%s", layers[k]);
            LT_TRY(lt_want_linear(to, name, dim, dim));
        }
        (void)snprintf(name + at, left, "ff.net.0.proj");
        LT_TRY(lt_want_linear(to, name, 2 * ffn, dim));
        (void)snprintf(name + at, left, "ff.net.2");
        LT_TRY(lt_want_linear(to, name, dim, ffn));
        for (int k = 0; k < 4; k++)
            LT_TRY(lt_want(to, LT_DIMS(dim), "decoder.transformer_blocks.%lld.%s", i, vectors[k]));
    }
    LT_TRY(lt_want_norm(to, "decoder.norm_out", dim));
    LT_TRY(lt_want_linear(to, "decoder.proj_out", patch, dim));
    return LT_OK;
}

static lt_status want_video(const char *folder, lt_want_fn fn, void *ctx)
{
    const lt_wanter encoder = {fn, ctx, LT_NEED_NOT}, decoder = {fn, ctx, LT_NEED_RUN};
    lt_h3_video_config config;
    LT_TRY(lt_h3_video_config_read(folder, &config));
    LT_TRY(lt_h3_video_encoder_tensors(&config, &encoder));
    return lt_h3_video_decoder_tensors(&config, &decoder);
}

/* ---- audio VAE ---- */

/* A convolution with its norm apart: weight_v, weight_g. */
static lt_status normed_conv(const lt_wanter *to, const char *name, lt_dims v, int64_t bias)
{
    LT_TRY(lt_want(to, v, "%s.weight_v", name));
    LT_TRY(lt_want(to, LT_DIMS(v.dim[0], 1, 1), "%s.weight_g", name));
    if (bias > 0)
        LT_TRY(lt_want(to, LT_DIMS(bias), "%s.bias", name));
    return LT_OK;
}

static lt_status snake(const lt_wanter *to, const char *name, int64_t channels)
{
    LT_TRY(lt_want(to, LT_DIMS(channels), "%s.act.alpha", name));
    LT_TRY(lt_want(to, LT_DIMS(channels), "%s.act.beta", name));
    LT_TRY(lt_want(to, LT_DIMS(1, 1, 12), "%s.upsample.filter", name));
    LT_TRY(lt_want(to, LT_DIMS(1, 1, 12), "%s.downsample.lowpass.filter", name));
    return LT_OK;
}

static lt_status audio_block(const lt_wanter *to, const lt_h3_audio_config *c, int64_t stage,
                             int64_t block)
{
    char name[96];
    const int64_t width = lt_h3_audio_stage_channels(c, stage);
    const long long number = (long long)(stage * c->blocks + block);
    for (long long p = 0; p < c->dilations[block]; p++)
        for (int half = 1; half <= 2; half++) {
            (void)snprintf(name, sizeof name, "decoder.resblocks.%lld.convs%d.%lld", number, half,
                           p);
            LT_TRY(normed_conv(to, name, LT_DIMS(width, width, c->block_kernel[block]), width));
            (void)snprintf(name, sizeof name, "decoder.resblocks.%lld.activations.%lld", number,
                           2 * p + half - 1);
            LT_TRY(snake(to, name, width));
        }
    return LT_OK;
}

lt_status lt_h3_audio_decoder_tensors(const lt_h3_audio_config *config, const lt_wanter *to)
{
    const lt_h3_audio_config c = *config;
    char name[96];
    LT_TRY(lt_want(to, LT_DIMS(c.latent_dim, c.latent_channels, 1), "dec_in_proj.weight"));
    LT_TRY(lt_want(to, LT_DIMS(c.latent_dim), "dec_in_proj.bias"));
    LT_TRY(normed_conv(to, "decoder.conv_pre", LT_DIMS(c.decoder_dim, c.latent_dim, 7),
                       c.decoder_dim));
    int64_t width = c.decoder_dim;
    for (int64_t i = 0; i < c.stages; i++) {
        const int64_t next = lt_h3_audio_stage_channels(&c, i);
        (void)snprintf(name, sizeof name, "decoder.ups.%lld.0", (long long)i);
        LT_TRY(normed_conv(to, name, LT_DIMS(width, next, c.kernel[i]), next));
        for (int64_t block = 0; block < c.blocks; block++)
            LT_TRY(audio_block(to, &c, i, block));
        width = next;
    }
    LT_TRY(snake(to, "decoder.activation_post", width));
    LT_TRY(normed_conv(to, "decoder.conv_post", LT_DIMS(1, width, 7), 0));
    return LT_OK;
}

/* Source: spec/minimax-h3.md 7.2. Three units a stage, then what makes it shorter. */
static lt_status audio_encoder_stage(const lt_wanter *to, const lt_h3_audio_config *c, int64_t i)
{
    enum { UNITS = 3 };
    const int64_t in = c->encoder_dim << i;
    char name[96];
    for (int unit = 0; unit < UNITS; unit++) {
        const int at =
            snprintf(name, sizeof name, "encoder.block.%d.block.%d.block.", (int)i + 1, unit);
        LT_TRY(lt_want(to, LT_DIMS(1, in, 1), "%s0.alpha", name));
        LT_TRY(lt_want(to, LT_DIMS(1, in, 1), "%s2.alpha", name));
        (void)snprintf(name + at, sizeof name - (size_t)at, "1");
        LT_TRY(normed_conv(to, name, LT_DIMS(in, in, 7), in));
        (void)snprintf(name + at, sizeof name - (size_t)at, "3");
        LT_TRY(normed_conv(to, name, LT_DIMS(in, in, 1), in));
    }
    LT_TRY(lt_want(to, LT_DIMS(1, in, 1), "encoder.block.%d.block.%d.alpha", (int)i + 1, UNITS));
    (void)snprintf(name, sizeof name, "encoder.block.%d.block.%d", (int)i + 1, UNITS + 1);
    return normed_conv(to, name, LT_DIMS(2 * in, in, 2 * c->encoder_rate[i]), 2 * in);
}

lt_status lt_h3_audio_encoder_tensors(const lt_h3_audio_config *c, const lt_wanter *to)
{
    static const char *const biases[] = {"q_bias", "zero_k_bias", "v_bias"};
    const int64_t width = c->latent_dim, outs = c->latent_channels, inner = 2 * outs;
    const int64_t last = c->encoder_dim << c->encoder_stages;
    const int end = (int)c->encoder_stages + 1;
    char name[96];
    LT_TRY(normed_conv(to, "encoder.block.0", LT_DIMS(c->encoder_dim, 1, 7), c->encoder_dim));
    for (int64_t i = 0; i < c->encoder_stages; i++)
        LT_TRY(audio_encoder_stage(to, c, i));
    LT_TRY(lt_want(to, LT_DIMS(1, last, 1), "encoder.block.%d.alpha", end));
    (void)snprintf(name, sizeof name, "encoder.block.%d", end + 1);
    LT_TRY(normed_conv(to, name, LT_DIMS(width, last, 3), width));
    LT_TRY(lt_want_norm(to, "pre_block.norm1", width));
    LT_TRY(lt_want_norm(to, "pre_block.norm2", outs));
    LT_TRY(lt_want_norm(to, "pre_block.norm3", width));
    LT_TRY(lt_want_norm(to, "pre_block.mlp.norm", outs));
    LT_TRY(lt_want(to, LT_DIMS(3 * width, width), "pre_block.attn.qkv.weight"));
    for (int i = 0; i < 3; i++)
        LT_TRY(lt_want(to, LT_DIMS(width), "pre_block.attn.%s", biases[i]));
    LT_TRY(lt_want_linear(to, "pre_block.attn.proj", outs, outs));
    LT_TRY(lt_want_linear(to, "pre_block.proj", outs, width));
    LT_TRY(lt_want_linear(to, "pre_block.mlp.w0", inner, outs));
    LT_TRY(lt_want_linear(to, "pre_block.mlp.w1", inner, outs));
    LT_TRY(lt_want_linear(to, "pre_block.mlp.w2", outs, inner));
    LT_TRY(lt_want(to, LT_DIMS(outs, outs, 1), "mean_proj.weight"));
    return lt_want(to, LT_DIMS(outs), "mean_proj.bias");
}

static lt_status want_audio(const char *folder, lt_want_fn fn, void *ctx)
{
    const lt_wanter encoder = {fn, ctx, LT_NEED_NOT}, decoder = {fn, ctx, LT_NEED_RUN};
    lt_h3_audio_config config;
    LT_TRY(lt_h3_audio_config_read(folder, &config));
    LT_TRY(lt_h3_audio_encoder_tensors(&config, &encoder));
    return lt_h3_audio_decoder_tensors(&config, &decoder);
}

/* Of the encoder more may be stored than it reads: logs_proj gives a deviation, unused. */
static const char *const audio_unlisted[] = {"encoder.", "pre_block.", "mean_proj.", "logs_proj.",
                                             NULL};

const lt_part_kind lt_h3_part_dit = {&lt_h3_dit_names, want_dit, NULL};
const lt_part_kind lt_h3_part_text = {NULL, lt_qwen3vl_folder_tensors, NULL};
const lt_part_kind lt_h3_part_video = {&lt_h3_video_names, want_video, NULL};
const lt_part_kind lt_h3_part_audio = {NULL, want_audio, audio_unlisted};
