/* video_config.c - the sizes of H3's video VAE, read from its config.json.
 *
 * Two spellings of the same facts. diffusers has one file. The original layout has the structure in
 * video_vae/source/config.json (widths as ch x ch_mult) and clip geometry and statistics in
 * video_vae/config.json; what it leaves out has the class's defaults (norm groups 32, 4 register
 * tokens, FFN x 4, eps), spec/minimax-h3.md 1.2. Whatever the spelling, `derive` holds the rules
 * that the network relies on, so that no later code has to doubt a size. */
#include "model/h3/video_config.h"

#include "base/file.h"
#include "base/json.h"
#include "model/files/remote/source.h"
#include "model/h3/statistics.h"

#include <assert.h>
#include <string.h>

/* Bounds that keep every product of sizes far inside 64 bits; the released model is far below them.
 */
enum {
    CHANNELS_MAX = 65536,
    LAYERS_MAX = 1024,
    HEADS_MAX = 1024,
    HEAD_DIM_MAX = 1024,
    REGISTERS_MAX = 4096,
    FFN_MULT_MAX = 64,
    CLIP_MAX = 4096,
};

/* The class's defaults, which are the release (diffusers, tile_sample_min_*; not in the config). */
enum { TILE_PIXELS = 256, TILE_OVERLAP_PIXELS = 64 };

static lt_status int_or(const lt_json_at *at, const char *key, int64_t lo, int64_t hi,
                        int64_t otherwise, int64_t *out)
{
    *out = otherwise;
    return lt_json_has(at, key) ? lt_json_int(at, key, lo, hi, out) : LT_OK;
}

static lt_status real_or(const lt_json_at *at, const char *key, double lo, double hi,
                         double otherwise, double *out)
{
    *out = otherwise;
    return lt_json_has(at, key) ? lt_json_real(at, key, lo, hi, out) : LT_OK;
}

static lt_status read_statistics(const lt_json_at *at, lt_h3_video_config *c)
{
    return lt_h3_statistics_read(at, c->latent_channels, c->latents_mean, c->latents_std);
}

/* rope_dim_ratio x head_dim, as int() cuts it. */
static lt_status set_rope(const lt_json_at *at, double ratio, lt_h3_video_config *c)
{
    c->rope_dim = (int64_t)((double)c->head_dim * ratio);
    if (c->rope_dim < 6 || c->rope_dim % 6 != 0 || c->rope_dim > c->head_dim)
        LT_FAIL(LT_EDATA,
                "%s: rope_dim_ratio: want a multiple of 6 of %d head channels turned, found %d",
                at->source, (int)c->head_dim, (int)c->rope_dim);
    return LT_OK;
}

/* Rules between the values, and what follows from them. */
static lt_status derive(const char *source, lt_h3_video_config *c)
{
    c->tile = TILE_PIXELS;
    c->tile_overlap_min = TILE_OVERLAP_PIXELS;
    c->space_ratio = c->time_ratio = 1;
    for (int64_t l = 0; l < c->levels; l++) {
        c->space_ratio *= c->space_factor[l];
        c->time_ratio *= c->time_factor[l];
        if (c->channels[l] % c->norm_groups != 0)
            LT_FAIL(LT_EDATA,
                    "%s: channels of level %d: want a multiple of the %d norm groups, found %d",
                    source, (int)l, (int)c->norm_groups, (int)c->channels[l]);
        if (c->time_factor[l] == 2 && c->space_factor[l] == 1)
            LT_FAIL(LT_EDATA,
                    "%s: level %d: want a space factor of 2 where the time factor is 2, found 1",
                    source, (int)l);
    }
    if (c->tile_overlap_min % c->space_ratio != 0)
        LT_FAIL(LT_EDATA, "%s: space factors: want a product that divides %d, found %d", source,
                (int)c->tile_overlap_min, (int)c->space_ratio);
    c->stride_latents = (c->clip_length + c->time_ratio - 1) / c->time_ratio;
    c->pre_frames = c->stride_latents * c->time_ratio - c->clip_length;
    if (c->token_drop >= c->stride_latents)
        LT_FAIL(LT_EDATA, "%s: token_drop: want less than the %d latent frames of a clip, found %d",
                source, (int)c->stride_latents, (int)c->token_drop);
    c->overlap_latents = c->token_drop > 0 ? c->stride_latents - c->token_drop : 0;
    c->overlap_frames = c->token_drop > 0 ? c->overlap_latents * c->time_ratio - c->pre_frames : 0;
    if (c->overlap_frames > c->clip_length)
        LT_FAIL(LT_EDATA, "%s: token_drop: want a tail of at most the clip's %d frames, found %d",
                source, (int)c->clip_length, (int)c->overlap_frames);
    return LT_OK;
}

/* The members that a list of levels has; all lists are equally long. */
static lt_status read_factors(const lt_json_at *at, const char *space, const char *time,
                              lt_h3_video_config *c)
{
    size_t count = (size_t)c->levels;
    LT_TRY(lt_json_ints(at, space, 1, 2, c->space_factor, LT_H3_VAE_LEVELS_MAX, &count));
    count = (size_t)c->levels;
    return lt_json_ints(at, time, 1, 2, c->time_factor, LT_H3_VAE_LEVELS_MAX, &count);
}

static lt_status want_reflect(const lt_json_at *at, const char *key)
{
    const char *mode = "reflect";
    if (lt_json_has(at, key))
        LT_TRY(lt_json_string(at, key, &mode));
    if (strcmp(mode, "reflect") != 0)
        LT_FAIL(LT_EDATA, "%s: %s: want \"reflect\", found \"%.40s\"", at->source, key, mode);
    return LT_OK;
}

static lt_status read_diffusers(const lt_json_at *at, lt_h3_video_config *c)
{
    double norm_eps, theta, ratio, decoder_eps;
    int64_t pixels_out;
    LT_TRY(lt_json_int(at, "in_channels", 3, 3, &c->pixel_channels));
    LT_TRY(int_or(at, "out_channels", 3, 3, 3, &pixels_out));
    LT_TRY(lt_json_int(at, "latent_channels", 1, LT_H3_VAE_LATENTS_MAX, &c->latent_channels));
    size_t count = 0;
    LT_TRY(lt_json_ints(at, "block_out_channels", 1, CHANNELS_MAX, c->channels,
                        LT_H3_VAE_LEVELS_MAX, &count));
    c->levels = (int64_t)count;
    if (c->levels < 1)
        LT_FAIL(LT_EDATA, "%s: block_out_channels: want 1 to %d levels, found none", at->source,
                LT_H3_VAE_LEVELS_MAX);
    LT_TRY(read_factors(at, "spatial_downsample_factors", "temporal_downsample_factors", c));
    LT_TRY(lt_json_int(at, "layers_per_block", 1, LAYERS_MAX, &c->layers_per_block));
    LT_TRY(lt_json_int(at, "norm_num_groups", 1, CHANNELS_MAX, &c->norm_groups));
    LT_TRY(real_or(at, "norm_eps", 0, 1, 1e-6, &norm_eps));
    LT_TRY(want_reflect(at, "spatial_padding_mode"));
    LT_TRY(lt_json_int(at, "decoder_num_layers", 1, LAYERS_MAX, &c->layers));
    LT_TRY(lt_json_int(at, "decoder_num_attention_heads", 1, HEADS_MAX, &c->heads));
    LT_TRY(lt_json_int(at, "decoder_attention_head_dim", 1, HEAD_DIM_MAX, &c->head_dim));
    LT_TRY(int_or(at, "decoder_num_register_tokens", 0, REGISTERS_MAX, 4, &c->registers));
    LT_TRY(int_or(at, "decoder_ffn_mult", 1, FFN_MULT_MAX, 4, &c->ffn_mult));
    LT_TRY(real_or(at, "decoder_rope_theta", 1, 1e12, 100, &theta));
    LT_TRY(real_or(at, "decoder_rope_dim_ratio", 0, 1, 0.75, &ratio));
    LT_TRY(real_or(at, "decoder_norm_eps", 0, 1, 1e-5, &decoder_eps));
    LT_TRY(int_or(at, "clip_length", 1, CLIP_MAX, 17, &c->clip_length));
    LT_TRY(int_or(at, "token_drop", 0, CLIP_MAX, 3, &c->token_drop));
    c->norm_eps = (float)norm_eps;
    c->rope_theta = (float)theta;
    c->decoder_norm_eps = (float)decoder_eps;
    LT_TRY(set_rope(at, ratio, c));
    return read_statistics(at, c);
}

/* video_vae/source/config.json. */
static lt_status read_structure(const lt_json_at *at, lt_h3_video_config *c)
{
    int64_t width, embed;
    double theta, ratio;
    LT_TRY(lt_json_int(at, "in_channels", 3, 3, &c->pixel_channels));
    LT_TRY(lt_json_int(at, "z_channels", 1, LT_H3_VAE_LATENTS_MAX, &c->latent_channels));
    LT_TRY(int_or(at, "embed_dim", c->latent_channels, c->latent_channels, c->latent_channels,
                  &embed));
    LT_TRY(lt_json_int(at, "ch", 1, CHANNELS_MAX, &width));
    size_t count = 0;
    LT_TRY(lt_json_ints(at, "ch_mult", 1, CHANNELS_MAX / width, c->channels, LT_H3_VAE_LEVELS_MAX,
                        &count));
    c->levels = (int64_t)count;
    if (c->levels < 1)
        LT_FAIL(LT_EDATA, "%s: ch_mult: want 1 to %d levels, found none", at->source,
                LT_H3_VAE_LEVELS_MAX);
    for (int64_t l = 0; l < c->levels; l++)
        c->channels[l] *= width;
    LT_TRY(read_factors(at, "space_down", "time_down", c));
    LT_TRY(lt_json_int(at, "num_res_blocks", 1, LAYERS_MAX, &c->layers_per_block));
    LT_TRY(int_or(at, "norm_num_groups", 1, CHANNELS_MAX, 32, &c->norm_groups));
    LT_TRY(want_reflect(at, "padding_mode"));
    c->norm_eps = 1e-6f;
    c->decoder_norm_eps = 1e-5f;
    lt_json_at vit;
    LT_TRY(lt_json_member(at, "vit_decoder_kwargs", &vit));
    LT_TRY(lt_json_int(&vit, "num_layers", 1, LAYERS_MAX, &c->layers));
    LT_TRY(lt_json_int(&vit, "heads", 1, HEADS_MAX, &c->heads));
    LT_TRY(lt_json_int(&vit, "dim_head", 1, HEAD_DIM_MAX, &c->head_dim));
    LT_TRY(int_or(&vit, "num_register_tokens", 0, REGISTERS_MAX, 4, &c->registers));
    LT_TRY(int_or(&vit, "ffn_mult", 1, FFN_MULT_MAX, 4, &c->ffn_mult));
    LT_TRY(real_or(&vit, "rope_theta", 1, 1e12, 100, &theta));
    LT_TRY(real_or(&vit, "rope_dim_ratio", 0, 1, 0.75, &ratio));
    c->rope_theta = (float)theta;
    return set_rope(&vit, ratio, c);
}

/* video_vae/config.json, after the structure. */
static lt_status read_geometry(const lt_json_at *at, lt_h3_video_config *c)
{
    int64_t same;
    LT_TRY(int_or(at, "latent_channels", c->latent_channels, c->latent_channels, c->latent_channels,
                  &same));
    LT_TRY(int_or(at, "vae_clip_length", 1, CLIP_MAX, 17, &c->clip_length));
    LT_TRY(int_or(at, "vae_token_drop", 0, CLIP_MAX, 3, &c->token_drop));
    LT_TRY(int_or(at, "vae_tile_size", TILE_PIXELS, TILE_PIXELS, TILE_PIXELS, &same));
    LT_TRY(int_or(at, "vae_tile_overlap_min", TILE_OVERLAP_PIXELS, TILE_OVERLAP_PIXELS,
                  TILE_OVERLAP_PIXELS, &same));
    return read_statistics(at, c);
}

typedef lt_status (*reader)(const lt_json_at *at, lt_h3_video_config *c);

static lt_status read_with(const char *path, reader read, lt_h3_video_config *c)
{
    json_t *document = NULL;
    LT_TRY(lt_source_json(path, &document));
    const lt_json_at at = lt_json_root(document, path);
    const lt_status st = read(&at, c);
    json_decref(document);
    return st;
}

/* The original layout, from either of its files. */
static lt_status read_original(const char *path, int is_structure, lt_h3_video_config *c)
{
    char folder[LT_PATH_BYTES], other[LT_PATH_BYTES];
    LT_TRY(lt_path_folder(folder, sizeof folder, path));
    LT_TRY(lt_path_join(other, sizeof other, folder,
                        is_structure ? "../config.json" : "source/config.json"));
    LT_TRY(read_with(is_structure ? path : other, read_structure, c));
    return read_with(is_structure ? other : path, read_geometry, c);
}

lt_status lt_h3_video_config_read(const char *path, lt_h3_video_config *out)
{
    assert(path != NULL && out != NULL);
    memset(out, 0, sizeof *out);
    char inside[LT_PATH_BYTES];
    if (lt_source_is_dir(path)) {
        LT_TRY(lt_path_join(inside, sizeof inside, path, "config.json"));
        path = inside;
    }
    json_t *document = NULL;
    LT_TRY(lt_source_json(path, &document));
    const lt_json_at at = lt_json_root(document, path);
    const int is_diffusers = lt_json_has(&at, "block_out_channels");
    const int is_structure = lt_json_has(&at, "ch_mult");
    const int is_geometry = lt_json_has(&at, "vae_clip_length");
    const lt_status st = is_diffusers ? read_diffusers(&at, out) : LT_OK;
    json_decref(document);
    LT_TRY(st);
    if (!is_diffusers && !is_structure && !is_geometry)
        LT_FAIL(
            LT_EDATA,
            "%s: want the config of a video VAE (block_out_channels, ch_mult or vae_clip_length), "
            "found none of them",
            path);
    if (!is_diffusers)
        LT_TRY(read_original(path, is_structure, out));
    return derive(path, out);
}

int64_t lt_h3_video_chunk_latents(const lt_h3_video_config *config)
{
    return config->stride_latents + config->overlap_latents;
}

int64_t lt_h3_video_chunk_frames(const lt_h3_video_config *config)
{
    return lt_h3_video_chunk_latents(config) * config->time_ratio;
}

/* Latent frames that are missing to whole chunks. */
static int64_t padding(const lt_h3_video_config *config, int64_t latent_frames)
{
    const int64_t rest = (latent_frames + config->token_drop) % config->stride_latents;
    return rest == 0 ? 0 : config->stride_latents - rest;
}

int64_t lt_h3_video_chunk_count(const lt_h3_video_config *config, int64_t latent_frames)
{
    if (latent_frames < 1)
        return 0;
    const int64_t tokens = latent_frames + config->token_drop + padding(config, latent_frames);
    return tokens / config->stride_latents - (config->token_drop > 0);
}

int64_t lt_h3_video_frame_count(const lt_h3_video_config *config, int64_t latent_frames)
{
    const int64_t chunks = lt_h3_video_chunk_count(config, latent_frames);
    if (chunks < 1)
        return 0;
    /* A chunk's last latent frame stands for what clip_length leaves over (1 of 17), the
     * others for time_ratio frames each. The reference tells them apart by the index counted from
     * the chunk's start. */
    const int64_t rest = config->clip_length % config->time_ratio;
    int64_t frames = chunks * config->clip_length + config->overlap_frames;
    for (int64_t k = 0; k < padding(config, latent_frames); k++)
        frames -= rest > 0 && (latent_frames + k) % config->stride_latents == 0
                      ? rest
                      : config->time_ratio;
    return frames;
}
