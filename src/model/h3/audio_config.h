/* audio_config.h - the sizes of H3's audio VAE, read from its config.json.
 * Source: spec/minimax-h3.md 1.2, 1.4, 7; diffusers, AutoencoderKLMiniMaxH3Audio.
 * Local, Blocking. Tested: tests/parity/test_h3_audio_vae.c. */
#ifndef LT_H3_AUDIO_CONFIG_H
#define LT_H3_AUDIO_CONFIG_H

#include "base/status.h"
#include "base/tensor.h"

enum { LT_H3_AUDIO_STAGES_MAX = 16, LT_H3_AUDIO_BLOCKS_MAX = 8, LT_H3_AUDIO_DILATIONS_MAX = 8 };
enum { LT_H3_AUDIO_LATENTS_MAX = 512 };

typedef struct lt_h3_audio_config {
    int64_t latent_channels; /* C */
    int64_t latent_dim;      /* width of the encoder's end and of the decoder's input */
    int64_t hop;             /* samples a tick: product of the rates */
    int64_t sampling_rate;
    /* encoder */
    int64_t encoder_dim, encoder_stages, encoder_rate[LT_H3_AUDIO_STAGES_MAX], heads;
    /* decoder: stage i halves the channels; its blocks run side by side and are averaged */
    int64_t decoder_dim, stages, rate[LT_H3_AUDIO_STAGES_MAX], kernel[LT_H3_AUDIO_STAGES_MAX];
    int64_t blocks, block_kernel[LT_H3_AUDIO_BLOCKS_MAX];
    int64_t dilations[LT_H3_AUDIO_BLOCKS_MAX]; /* how many pairs a block has */
    int64_t dilation[LT_H3_AUDIO_BLOCKS_MAX][LT_H3_AUDIO_DILATIONS_MAX];
    float latents_mean[LT_H3_AUDIO_LATENTS_MAX], latents_std[LT_H3_AUDIO_LATENTS_MAX];
} lt_h3_audio_config;

/* path: diffusers' audio_vae/config.json, or one of the original layout's two
 * (audio_vae/config.json with the statistics, audio_vae/metadata.json with the structure: the other
 * is found beside it), or their folder. Every value is checked. Errors: LT_ENOINPUT, LT_EDATA:
 * file, field, wanted, found. */
lt_status lt_h3_audio_config_read(const char *path, lt_h3_audio_config *out);

/* Channels that decoder stage i gives: decoder_dim / 2^(i + 1). Local. */
int64_t lt_h3_audio_stage_channels(const lt_h3_audio_config *config, int64_t stage);

/* Ticks of audio of `ticks` that must be known to decode [first, first + count). Local. */
lt_range lt_h3_audio_context(const lt_h3_audio_config *config, int64_t ticks, int64_t first,
                             int64_t count);

#endif
