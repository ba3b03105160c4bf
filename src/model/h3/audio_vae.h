/* audio_vae.h - H3's audio decoder: latents to samples, in chunks.
 * Source: spec/minimax-h3.md 7; diffusers, AutoencoderKLMiniMaxH3Audio (a BigVGAN).
 *
 * One latent frame (a tick, 1/40 s) becomes `hop` samples (800). The network is local: a sample
 * depends on some 30 ticks on each side of its own. So any range of ticks can be decoded alone,
 * with the context that lt_h3_audio_context gives, and equals the same range of the whole; only at
 * the true ends of the audio do the network's paddings act. The stereo channels are two items of a
 * batch, with nothing in common.
 *
 * All arrays are host memory, f32, dense. On `dry` data may be NULL.
 * Local, Blocking. Tested: tests/parity/test_h3_audio_vae.c. */
#ifndef LT_H3_AUDIO_VAE_H
#define LT_H3_AUDIO_VAE_H

#include "model/h3/audio_config.h"
#include "model/weights/weights.h"

typedef struct lt_h3_audio_decoder lt_h3_audio_decoder;

/* Loads dec_in_proj and decoder.* into engine->phase; encoder tensors may be there, any other
 * unknown tensor is LT_EDATA. checkpoint and engine are borrowed and outlive it, config is copied.
 */
lt_status lt_h3_audio_decoder_open(lt_checkpoint *checkpoint, lt_engine *engine,
                                   const lt_h3_audio_config *config, lt_h3_audio_decoder **out);
void lt_h3_audio_decoder_close(lt_h3_audio_decoder **decoder);

/* latents [C, count] * std + mean, count values a channel; in place allowed. One item of a batch.
 * Local. */
void lt_h3_audio_denormalise(const lt_h3_audio_config *config, const float *latents, int64_t count,
                             float *out);

/* latents [B, C, T], denormalised: ticks [first, first + count) -> samples [B, count * hop], in
 * [-1, 1]. Errors: LT_ESHAPE for a range outside of [0, T), LT_ENOMEM, LT_EDEVICE. */
lt_status lt_h3_audio_decode_range(lt_h3_audio_decoder *decoder, const float *latents,
                                   int64_t batch, int64_t ticks, int64_t first, int64_t count,
                                   float *samples);
/* The whole, chunk by chunk: samples [B, T * hop]. Memory does not grow with T beside the arrays.
 */
lt_status lt_h3_audio_decode(lt_h3_audio_decoder *decoder, const float *latents, int64_t batch,
                             int64_t ticks, float *samples);

#endif
