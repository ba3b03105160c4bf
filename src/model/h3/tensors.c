/* tensors.c - the tensors that an H3 config asks for.
 * One function a part, in the order in which the network uses them. tests/unit/test_inspect.c holds
 * this list to the published indexes: same names, same total of bytes. */
#include "model/h3/tensors.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/file.h"
#include "base/json.h"
#include "model/h3/audio_config.h"
#include "model/h3/dit.h"
#include "model/h3/names.h"
#include "model/h3/video_config.h"

/* Hidden state 50 is what H3 reads: decoder layers 0 to 49 run (spec 2.3). */
enum { TEXT_LAYERS_RUN = 50 };

typedef struct want {
    lt_want_fn fn;
    void *ctx;
} want;

static lt_status tensor(const want *w, lt_need need, lt_dims dims, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static lt_status tensor(const want *w, lt_need need, lt_dims dims, const char *format, ...)
{
    char name[160];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(name, sizeof name, format, args);
    va_end(args);
    assert(n > 0 && n < (int)sizeof name);
    const lt_wanted wanted = {.name = name, .need = need, .dims = dims};
    return w->fn(w->ctx, &wanted);
}

/* NAME.weight [out, in] and NAME.bias [out]. */
static lt_status layer(const want *w, lt_need need, const char *name, int64_t out, int64_t in)
{
    LT_TRY(tensor(w, need, LT_DIMS(out, in), "%s.weight", name));
    LT_TRY(tensor(w, need, LT_DIMS(out), "%s.bias", name));
    return LT_OK;
}

/* NAME.weight and NAME.bias [n]. */
static lt_status norm(const want *w, lt_need need, const char *name, int64_t n)
{
    LT_TRY(tensor(w, need, LT_DIMS(n), "%s.weight", name));
    LT_TRY(tensor(w, need, LT_DIMS(n), "%s.bias", name));
    return LT_OK;
}

/* NAME.weight [out, in, k, k, k] and NAME.bias [out]. */
static lt_status conv(const want *w, lt_need need, const char *name, int64_t out, int64_t in,
                      int64_t k)
{
    LT_TRY(tensor(w, need, LT_DIMS(out, in, k, k, k), "%s.weight", name));
    LT_TRY(tensor(w, need, LT_DIMS(out), "%s.bias", name));
    return LT_OK;
}

/* ---- DiT ---- */

static lt_status dit_block(const want *w, const lt_h3_dit_config *c, const char *at, int64_t i)
{
    static const char *const qkv[] = {"to_q", "to_k", "to_v"};
    const long long n = (long long)i;
    const int64_t inner = c->heads * c->head_dim;
    for (int k = 0; k < 3; k++)
        LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(inner, c->hidden), "%s.%lld.attn.%s.weight", at, n,
                      qkv[k]));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(c->head_dim), "%s.%lld.attn.norm_q.weight", at, n));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(c->head_dim), "%s.%lld.attn.norm_k.weight", at, n));
    LT_TRY(
        tensor(w, LT_NEED_RUN, LT_DIMS(c->hidden, inner), "%s.%lld.attn.to_out.0.weight", at, n));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(2 * c->ffn, c->hidden), "%s.%lld.ff.net.0.proj.weight",
                  at, n));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(c->hidden, c->ffn), "%s.%lld.ff.net.2.weight", at, n));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(c->hidden), "%s.%lld.norm1.weight", at, n));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(c->hidden), "%s.%lld.norm2.weight", at, n));
    return LT_OK;
}

lt_status lt_h3_dit_tensors(const lt_h3_dit_config *config, lt_want_fn fn, void *ctx)
{
    const want all = {fn, ctx}, *w = &all;
    const lt_h3_dit_config c = *config;
    /* Six numbers for each of three kinds of row. */
    enum { MODULATIONS = 18 };
    char name[64];
    const int64_t video = lt_h3_dit_video_width(&c);
    LT_TRY(layer(w, LT_NEED_RUN, "proj_in", c.hidden, video));
    LT_TRY(layer(w, LT_NEED_RUN, "audio_proj_in", c.hidden, c.audio_channels));
    LT_TRY(layer(w, LT_NEED_RUN, "context_embedder", c.hidden, c.text_dim));
    LT_TRY(layer(w, LT_NEED_TABLES, "time_embedder.linear_1", c.time_hidden, c.freq_dim));
    LT_TRY(layer(w, LT_NEED_TABLES, "time_embedder.linear_2", c.time_dim, c.time_hidden));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(c.hidden), "token_refiner.final_norm.weight"));
    for (int64_t i = 0; i < c.refiner_layers; i++)
        LT_TRY(dit_block(w, &c, "token_refiner.refiner_blocks", i));
    for (int64_t i = 0; i < c.layers; i++) {
        LT_TRY(dit_block(w, &c, "transformer_blocks", i));
        (void)snprintf(name, sizeof name, "transformer_blocks.%lld.adaln_proj.linear",
                       (long long)i);
        LT_TRY(layer(w, LT_NEED_TABLES, name, MODULATIONS * c.hidden, c.time_dim));
    }
    LT_TRY(layer(w, LT_NEED_TABLES, "norm_out.linear", 2 * c.hidden, c.time_dim));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(c.hidden), "norm_out.norm.weight"));
    LT_TRY(layer(w, LT_NEED_RUN, "proj_out", video, c.hidden));
    LT_TRY(layer(w, LT_NEED_RUN, "audio_proj_out", c.audio_channels, c.hidden));
    return LT_OK;
}

static lt_status want_dit(const char *folder, lt_want_fn fn, void *ctx)
{
    lt_h3_dit_config config;
    char path[LT_PATH_BYTES];
    LT_TRY(lt_path_join(path, sizeof path, folder, "config.json"));
    LT_TRY(lt_h3_dit_config_read(path, &config));
    return lt_h3_dit_tensors(&config, fn, ctx);
}

/* ---- text encoder ---- */

/* Far above any model's, and so small that products of three fit. */
static const int64_t size_max = 1 << 20;

typedef struct text_sizes {
    int64_t hidden, ffn, layers, heads, kv_heads, head_dim, vocab;
} text_sizes;

static lt_status text_layer(const want *w, const text_sizes *c, int64_t i)
{
    const char *at = "model.language_model.layers";
    const long long n = (long long)i;
    const lt_need need = i < TEXT_LAYERS_RUN ? LT_NEED_RUN : LT_NEED_NOT;
    const int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    LT_TRY(tensor(w, need, LT_DIMS(c->hidden), "%s.%lld.input_layernorm.weight", at, n));
    LT_TRY(tensor(w, need, LT_DIMS(q, c->hidden), "%s.%lld.self_attn.q_proj.weight", at, n));
    LT_TRY(tensor(w, need, LT_DIMS(kv, c->hidden), "%s.%lld.self_attn.k_proj.weight", at, n));
    LT_TRY(tensor(w, need, LT_DIMS(kv, c->hidden), "%s.%lld.self_attn.v_proj.weight", at, n));
    LT_TRY(tensor(w, need, LT_DIMS(c->head_dim), "%s.%lld.self_attn.q_norm.weight", at, n));
    LT_TRY(tensor(w, need, LT_DIMS(c->head_dim), "%s.%lld.self_attn.k_norm.weight", at, n));
    LT_TRY(tensor(w, need, LT_DIMS(c->hidden, q), "%s.%lld.self_attn.o_proj.weight", at, n));
    LT_TRY(tensor(w, need, LT_DIMS(c->hidden), "%s.%lld.post_attention_layernorm.weight", at, n));
    LT_TRY(tensor(w, need, LT_DIMS(c->ffn, c->hidden), "%s.%lld.mlp.gate_proj.weight", at, n));
    LT_TRY(tensor(w, need, LT_DIMS(c->ffn, c->hidden), "%s.%lld.mlp.up_proj.weight", at, n));
    LT_TRY(tensor(w, need, LT_DIMS(c->hidden, c->ffn), "%s.%lld.mlp.down_proj.weight", at, n));
    return LT_OK;
}

static lt_status merger(const want *w, const char *name, int64_t norm_width, int64_t wide,
                        int64_t out)
{
    char full[96];
    (void)snprintf(full, sizeof full, "%s.norm", name);
    LT_TRY(norm(w, LT_NEED_NOT, full, norm_width));
    (void)snprintf(full, sizeof full, "%s.linear_fc1", name);
    LT_TRY(layer(w, LT_NEED_NOT, full, wide, wide));
    (void)snprintf(full, sizeof full, "%s.linear_fc2", name);
    LT_TRY(layer(w, LT_NEED_NOT, full, out, wide));
    return LT_OK;
}

static lt_status want_vision(const want *w, const lt_json_at *v)
{
    static const struct {
        const char *name;
        int norm, out, in;
    } parts[] = {
        {"norm1", 1, 1, 0}, {"attn.qkv", 0, 3, 1}, {"attn.proj", 0, 1, 1}, {"norm2", 1, 1, 0}};
    int64_t depth, hidden, ffn, channels, patch, patch_time, merge, positions, out, deep[64];
    size_t deep_count = 0;
    char name[96];
    LT_TRY(lt_json_int(v, "depth", 1, 1024, &depth));
    LT_TRY(lt_json_int(v, "hidden_size", 1, size_max, &hidden));
    LT_TRY(lt_json_int(v, "intermediate_size", 1, size_max, &ffn));
    LT_TRY(lt_json_int(v, "in_channels", 1, 64, &channels));
    LT_TRY(lt_json_int(v, "patch_size", 1, 1024, &patch));
    LT_TRY(lt_json_int(v, "temporal_patch_size", 1, 64, &patch_time));
    LT_TRY(lt_json_int(v, "spatial_merge_size", 1, 16, &merge));
    LT_TRY(lt_json_int(v, "num_position_embeddings", 1, size_max, &positions));
    LT_TRY(lt_json_int(v, "out_hidden_size", 1, size_max, &out));
    LT_TRY(lt_json_ints(v, "deepstack_visual_indexes", 0, 1024, deep, 64, &deep_count));
    LT_TRY(tensor(w, LT_NEED_NOT, LT_DIMS(hidden, channels, patch_time, patch, patch),
                  "model.visual.patch_embed.proj.weight"));
    LT_TRY(tensor(w, LT_NEED_NOT, LT_DIMS(hidden), "model.visual.patch_embed.proj.bias"));
    LT_TRY(tensor(w, LT_NEED_NOT, LT_DIMS(positions, hidden), "model.visual.pos_embed.weight"));
    for (long long i = 0; i < depth; i++) {
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
            (void)snprintf(name, sizeof name, "model.visual.blocks.%lld.%s", i, parts[k].name);
            LT_TRY(parts[k].norm ? norm(w, LT_NEED_NOT, name, hidden)
                                 : layer(w, LT_NEED_NOT, name, parts[k].out * hidden, hidden));
        }
        (void)snprintf(name, sizeof name, "model.visual.blocks.%lld.mlp.linear_fc1", i);
        LT_TRY(layer(w, LT_NEED_NOT, name, ffn, hidden));
        (void)snprintf(name, sizeof name, "model.visual.blocks.%lld.mlp.linear_fc2", i);
        LT_TRY(layer(w, LT_NEED_NOT, name, hidden, ffn));
    }
    const int64_t wide = hidden * merge * merge;
    LT_TRY(merger(w, "model.visual.merger", hidden, wide, out));
    for (size_t i = 0; i < deep_count; i++) {
        (void)snprintf(name, sizeof name, "model.visual.deepstack_merger_list.%zu", i);
        LT_TRY(merger(w, name, wide, wide, out));
    }
    return LT_OK;
}

static lt_status want_text_of(const want *w, const lt_json_at *root)
{
    text_sizes c;
    lt_json_at t, vision;
    LT_TRY(lt_json_member(root, "text_config", &t));
    LT_TRY(lt_json_int(&t, "hidden_size", 1, size_max, &c.hidden));
    LT_TRY(lt_json_int(&t, "intermediate_size", 1, size_max, &c.ffn));
    LT_TRY(lt_json_int(&t, "num_hidden_layers", 1, 4096, &c.layers));
    LT_TRY(lt_json_int(&t, "num_attention_heads", 1, 4096, &c.heads));
    LT_TRY(lt_json_int(&t, "num_key_value_heads", 1, 4096, &c.kv_heads));
    LT_TRY(lt_json_int(&t, "head_dim", 1, 4096, &c.head_dim));
    LT_TRY(lt_json_int(&t, "vocab_size", 1, 1 << 24, &c.vocab));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(c.vocab, c.hidden),
                  "model.language_model.embed_tokens.weight"));
    for (int64_t i = 0; i < c.layers; i++)
        LT_TRY(text_layer(w, &c, i));
    LT_TRY(tensor(w, LT_NEED_NOT, LT_DIMS(c.hidden), "model.language_model.norm.weight"));
    LT_TRY(tensor(w, LT_NEED_NOT, LT_DIMS(c.vocab, c.hidden), "lm_head.weight"));
    if (lt_json_has(root, "vision_config")) {
        LT_TRY(lt_json_member(root, "vision_config", &vision));
        LT_TRY(want_vision(w, &vision));
    }
    return LT_OK;
}

static lt_status want_text(const char *folder, lt_want_fn fn, void *ctx)
{
    const want all = {fn, ctx}, *w = &all;
    char path[LT_PATH_BYTES];
    json_t *config = NULL;
    lt_status st = LT_OK;
    LT_TRY(lt_path_join(path, sizeof path, folder, "config.json"));
    LT_TRY(lt_json_read(path, &config));
    const lt_json_at root = lt_json_root(config, path);
    LT_TRY_GOTO(want_text_of(w, &root), st, done);
done:
    json_decref(config);
    return st;
}

/* ---- video VAE ---- */

static lt_status video_encoder(const want *w, const lt_h3_video_config *c)
{
    char name[96];
    int64_t in = c->channels[0];
    LT_TRY(conv(w, LT_NEED_NOT, "encoder.conv_in", in, c->pixel_channels, 3));
    for (long long i = 0; i < c->levels; i++) {
        for (long long j = 0; j < c->layers_per_block; j++) {
            const int64_t out = c->channels[i];
            const int at =
                snprintf(name, sizeof name, "encoder.down_blocks.%lld.resnets.%lld", i, j);
            const size_t left = sizeof name - (size_t)at;
            (void)snprintf(name + at, left, ".norm1");
            LT_TRY(norm(w, LT_NEED_NOT, name, in));
            (void)snprintf(name + at, left, ".conv1");
            LT_TRY(conv(w, LT_NEED_NOT, name, out, in, 3));
            (void)snprintf(name + at, left, ".norm2");
            LT_TRY(norm(w, LT_NEED_NOT, name, out));
            (void)snprintf(name + at, left, ".conv2");
            LT_TRY(conv(w, LT_NEED_NOT, name, out, out, 3));
            (void)snprintf(name + at, left, ".conv_shortcut");
            if (in != out)
                LT_TRY(conv(w, LT_NEED_NOT, name, out, in, 1));
            in = out;
        }
        (void)snprintf(name, sizeof name, "encoder.down_blocks.%lld.downsamplers.0.conv", i);
        if (c->space_factor[i] > 1)
            LT_TRY(conv(w, LT_NEED_NOT, name, in, in, 3));
    }
    LT_TRY(norm(w, LT_NEED_NOT, "encoder.norm_out", in));
    LT_TRY(conv(w, LT_NEED_NOT, "encoder.conv_out", 2 * c->latent_channels, in, 3));
    LT_TRY(conv(w, LT_NEED_NOT, "quant_conv", 2 * c->latent_channels, 2 * c->latent_channels, 1));
    return LT_OK;
}

static lt_status want_video(const char *folder, lt_want_fn fn, void *ctx)
{
    const want all = {fn, ctx}, *w = &all;
    static const char *const layers[] = {"attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"};
    static const char *const vectors[] = {"norm1.weight", "norm2.weight", "scale1", "scale2"};
    lt_h3_video_config c;
    char name[96];
    LT_TRY(lt_h3_video_config_read(folder, &c));
    const int64_t dim = c.heads * c.head_dim, ffn = c.ffn_mult * dim;
    const int64_t patch = c.pixel_channels * c.time_ratio * c.space_ratio * c.space_ratio;
    LT_TRY(video_encoder(w, &c));
    LT_TRY(conv(w, LT_NEED_RUN, "post_quant_conv", c.latent_channels, c.latent_channels, 1));
    LT_TRY(layer(w, LT_NEED_RUN, "decoder.proj_in", dim, c.latent_channels));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(1, c.registers, dim), "decoder.register_tokens"));
    for (long long i = 0; i < c.layers; i++) {
        const int at = snprintf(name, sizeof name, "decoder.transformer_blocks.%lld.", i);
        const size_t left = sizeof name - (size_t)at;
        for (int k = 0; k < 4; k++) {
            (void)snprintf(name + at, left, "%s", layers[k]);
            LT_TRY(layer(w, LT_NEED_RUN, name, dim, dim));
        }
        (void)snprintf(name + at, left, "ff.net.0.proj");
        LT_TRY(layer(w, LT_NEED_RUN, name, 2 * ffn, dim));
        (void)snprintf(name + at, left, "ff.net.2");
        LT_TRY(layer(w, LT_NEED_RUN, name, dim, ffn));
        for (int k = 0; k < 4; k++)
            LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(dim), "decoder.transformer_blocks.%lld.%s", i,
                          vectors[k]));
    }
    LT_TRY(norm(w, LT_NEED_RUN, "decoder.norm_out", dim));
    LT_TRY(layer(w, LT_NEED_RUN, "decoder.proj_out", patch, dim));
    return LT_OK;
}

/* ---- audio VAE, its decoder ---- */

/* A convolution with its norm apart: weight_v, weight_g. */
static lt_status normed_conv(const want *w, const char *name, lt_dims v, int64_t bias)
{
    LT_TRY(tensor(w, LT_NEED_RUN, v, "%s.weight_v", name));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(v.dim[0], 1, 1), "%s.weight_g", name));
    if (bias > 0)
        LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(bias), "%s.bias", name));
    return LT_OK;
}

static lt_status snake(const want *w, const char *name, int64_t channels)
{
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(channels), "%s.act.alpha", name));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(channels), "%s.act.beta", name));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(1, 1, 12), "%s.upsample.filter", name));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(1, 1, 12), "%s.downsample.lowpass.filter", name));
    return LT_OK;
}

static lt_status audio_block(const want *w, const lt_h3_audio_config *c, int64_t stage,
                             int64_t block)
{
    char name[96];
    const int64_t width = lt_h3_audio_stage_channels(c, stage);
    const long long number = (long long)(stage * c->blocks + block);
    for (long long p = 0; p < c->dilations[block]; p++)
        for (int half = 1; half <= 2; half++) {
            (void)snprintf(name, sizeof name, "decoder.resblocks.%lld.convs%d.%lld", number, half,
                           p);
            LT_TRY(normed_conv(w, name, LT_DIMS(width, width, c->block_kernel[block]), width));
            (void)snprintf(name, sizeof name, "decoder.resblocks.%lld.activations.%lld", number,
                           2 * p + half - 1);
            LT_TRY(snake(w, name, width));
        }
    return LT_OK;
}

static lt_status want_audio(const char *folder, lt_want_fn fn, void *ctx)
{
    const want all = {fn, ctx}, *w = &all;
    lt_h3_audio_config c;
    char name[96];
    LT_TRY(lt_h3_audio_config_read(folder, &c));
    LT_TRY(
        tensor(w, LT_NEED_RUN, LT_DIMS(c.latent_dim, c.latent_channels, 1), "dec_in_proj.weight"));
    LT_TRY(tensor(w, LT_NEED_RUN, LT_DIMS(c.latent_dim), "dec_in_proj.bias"));
    LT_TRY(
        normed_conv(w, "decoder.conv_pre", LT_DIMS(c.decoder_dim, c.latent_dim, 7), c.decoder_dim));
    int64_t width = c.decoder_dim;
    for (int64_t i = 0; i < c.stages; i++) {
        const int64_t next = lt_h3_audio_stage_channels(&c, i);
        (void)snprintf(name, sizeof name, "decoder.ups.%lld.0", (long long)i);
        LT_TRY(normed_conv(w, name, LT_DIMS(width, next, c.kernel[i]), next));
        for (int64_t block = 0; block < c.blocks; block++)
            LT_TRY(audio_block(w, &c, i, block));
        width = next;
    }
    LT_TRY(snake(w, "decoder.activation_post", width));
    LT_TRY(normed_conv(w, "decoder.conv_post", LT_DIMS(1, width, 7), 0));
    return LT_OK;
}

/* The encoder's: what render needs is all that is held against the config. */
static const char *const audio_unlisted[] = {"encoder.", "pre_block.", "mean_proj.", "logs_proj.",
                                             NULL};

const lt_part_kind lt_h3_part_dit = {&lt_h3_dit_names, want_dit, NULL};
const lt_part_kind lt_h3_part_text = {NULL, want_text, NULL};
const lt_part_kind lt_h3_part_video = {&lt_h3_video_names, want_video, NULL};
const lt_part_kind lt_h3_part_audio = {NULL, want_audio, audio_unlisted};
