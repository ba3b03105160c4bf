/* video_config.h - the sizes of H3's video VAE, read from its config.json.
 * Source: spec/minimax-h3.md 1.2, 1.4, 6; diffusers, AutoencoderKLMiniMaxH3.
 *
 * Time runs in chunks of `clip_length` frames (17; the config calls a chunk a clip). One becomes
 * `stride_latents` latent frames (5); the last `token_drop` (3) latent frames of a whole encode are
 * dropped. A decode chunk is these and the `overlap_latents` (2) after them. It gives time_ratio
 * frames a latent (28), of which the first `pre_frames` (3) mean nothing, the next clip_length are
 * the chunk's body, and `overlap_frames` (5) further on fade into the next chunk:
 *
 *     decoded   0 1 2 | 3 ............ 19 | 20 21 22 | 23 .. 27
 *                 pre         body             pre      overlap
 * Local, Blocking. Tested: tests/unit/test_h3_tiles.c, tests/parity/test_h3_video_vae.c. */
#ifndef LT_H3_VIDEO_CONFIG_H
#define LT_H3_VIDEO_CONFIG_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

enum { LT_H3_VAE_LEVELS_MAX = 12, LT_H3_VAE_LATENTS_MAX = 512 };

typedef struct lt_h3_video_config {
    int64_t pixel_channels, latent_channels; /* 3; C */
    /* encoder, level by level */
    int64_t levels, layers_per_block, norm_groups;
    int64_t channels[LT_H3_VAE_LEVELS_MAX];
    int64_t space_factor[LT_H3_VAE_LEVELS_MAX], time_factor[LT_H3_VAE_LEVELS_MAX]; /* 1 or 2 */
    float norm_eps;
    /* decoder */
    int64_t layers, heads, head_dim, registers, ffn_mult;
    int64_t rope_dim; /* channels of a head that turn: a multiple of 6 */
    float rope_theta, decoder_norm_eps;
    /* time and space */
    int64_t clip_length, token_drop;
    int64_t tile, tile_overlap_min; /* pixels */
    float latents_mean[LT_H3_VAE_LATENTS_MAX], latents_std[LT_H3_VAE_LATENTS_MAX];
    /* derived */
    int64_t space_ratio, time_ratio; /* pixels a latent cell, frames a latent frame */
    int64_t stride_latents, overlap_latents, pre_frames, overlap_frames;
} lt_h3_video_config;

/* path: diffusers' vae/config.json, or one of the original layout's two (video_vae/config.json with
 * the statistics, video_vae/source/config.json with the structure: the other one is found from it),
 * or the folder that holds it. Every value is checked. Errors: LT_ENOINPUT, LT_EDATA: file, field,
 * wanted, found. */
lt_status lt_h3_video_config_read(const char *path, lt_h3_video_config *out);

/* Latent frames of a decode chunk: its stride and its overlap (7). Local. */
int64_t lt_h3_video_chunk_latents(const lt_h3_video_config *config);
/* Frames that the decoder makes of them, raw (28). Local. */
int64_t lt_h3_video_chunk_frames(const lt_h3_video_config *config);
/* Chunks that latent_frames fill; a last one may be filled up with copies of the last latent frame.
 * 0: too few (fewer than 3). For 5n+2 it is n. Local. */
int64_t lt_h3_video_chunk_count(const lt_h3_video_config *config, int64_t latent_frames);
/* Frames that latent_frames decode to (5n+2 -> 17n+5). Local. */
int64_t lt_h3_video_frame_count(const lt_h3_video_config *config, int64_t latent_frames);

#endif
