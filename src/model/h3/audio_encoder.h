/* audio_encoder.h - H3's audio encoder: samples to the mean of latents.
 * Source: spec/minimax-h3.md 7.2; diffusers, MiniMaxH3AudioEncoder and
 * MiniMaxH3AudioAttnProjection. For audio that conditions a film. Its last block attends causally
 * over the whole, so audio is encoded whole and its memory grows with the length. Only the
 * posterior's mean is made. All f32, host arrays. On `dry` data may be NULL. Local, Blocking.
 * Tested: tests/parity/test_h3_audio_vae.c. */
#ifndef LT_H3_AUDIO_ENCODER_H
#define LT_H3_AUDIO_ENCODER_H

#include "model/h3/audio_config.h"
#include "model/weights/weights.h"

typedef struct lt_h3_audio_encoder lt_h3_audio_encoder;

/* Loads encoder.*, pre_block.* and mean_proj into engine->phase; decoder tensors and logs_proj may
 * be there, any other unknown tensor is LT_EDATA. checkpoint and engine are borrowed and outlive
 * it, config is copied. */
lt_status lt_h3_audio_encoder_open(lt_checkpoint *checkpoint, lt_engine *engine,
                                   const lt_h3_audio_config *config, lt_h3_audio_encoder **out);
void lt_h3_audio_encoder_close(lt_h3_audio_encoder **encoder);

/* Ticks of audio of n samples: n / hop, rounded up. Local. */
int64_t lt_h3_audio_tick_count(const lt_h3_audio_config *config, int64_t samples);

/* samples [B, n] -> means [B, C, ticks]; the end is filled up with silence to a whole tick.
 * Errors: LT_EDATA for no samples, LT_ENOMEM, LT_EDEVICE. */
lt_status lt_h3_audio_encode(lt_h3_audio_encoder *encoder, const float *samples, int64_t batch,
                             int64_t n, float *means);

#endif
