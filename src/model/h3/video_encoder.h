/* video_encoder.h - H3's video encoder: frames to the moments of latents.
 * Source: spec/minimax-h3.md 6.1, 6.3; diffusers, MiniMaxH3VideoEncoder3d and
 * AutoencoderKLMiniMaxH3._encode. For images that condition a film. A causal 3-D convolutional
 * network, chunk by chunk of 17 frames and tile by tile of 256 pixels; a single frame is a chunk of
 * its own. All f32, host arrays. On `dry` data may be NULL. Local, Blocking. Tested:
 * tests/parity/test_h3_video_vae.c. */
#ifndef LT_H3_VIDEO_ENCODER_H
#define LT_H3_VIDEO_ENCODER_H

#include "model/files/checkpoint.h"
#include "model/h3/video_config.h"
#include "parallel/context.h"

typedef struct lt_h3_video_encoder lt_h3_video_encoder;

/* Loads encoder.* and quant_conv into engine->phase; decoder tensors may be there, any other
 * unknown tensor is LT_EDATA. checkpoint and engine are borrowed and outlive it, config is copied.
 */
lt_status lt_h3_video_encoder_open(lt_checkpoint *checkpoint, lt_engine *engine,
                                   const lt_h3_video_config *config, lt_h3_video_encoder **out);
void lt_h3_video_encoder_close(lt_h3_video_encoder **encoder);

/* Shape of the moments of `frames` frames of height x width: [2C, T, h, w]. Sides that are no
 * multiple of space_ratio are rounded down, as the reference does. Errors: LT_EDATA for no frame,
 * or for sides too short to reflect (less than two latent cells). Local. */
lt_status lt_h3_video_moments_shape(const lt_h3_video_config *config, int64_t frames,
                                    int64_t height, int64_t width, int64_t shape[4]);

/* sample [3, F, H, W], (RGB - mean) / std of ImageNet -> moments [2C, T, h, w]: the mean, then the
 * logarithm of the variance as quant_conv gives it (unclamped). Errors: as above, LT_ENOMEM,
 * LT_EDEVICE. */
lt_status lt_h3_video_encode(lt_h3_video_encoder *encoder, const float *sample, int64_t frames,
                             int64_t height, int64_t width, float *moments);

#endif
