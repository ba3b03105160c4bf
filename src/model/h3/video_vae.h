/* video_vae.h - H3's video decoder: latents to frames, chunk by chunk, tile by tile.
 * Source: spec/minimax-h3.md 6; diffusers, AutoencoderKLMiniMaxH3.
 *
 * A decode chunk is 7 latent frames -> 28 raw frames, of which finishing makes 17 (the last chunk:
 * 22) after a cross-fade with the overlap frames of the chunk before. A chunk's raw frames, and so
 * its overlap frames, depend on no other chunk: ranks decode chunks at the same time and pass on
 * overlap frames only. Tiles of 256 pixels are at work one at a time; memory depends on the canvas,
 * never on the number of chunks.
 *
 * Tensor parallelism: the ranks of the tp axis of engine->mesh (NULL: this rank alone) share the
 * network's weights (vit.h). They open their decoders together, decode the same chunks in the
 * same order and all get the same frames. Before the first chunk they must know that each of them
 * has opened its decoder (lt_agree).
 *
 * All arrays here are host memory, f32, dense. Frames are frame-major: [n, 3, H, W] with H =
 * space_ratio * h. Values are in VAE space, (RGB - mean) / std of ImageNet, until lt_h3_video_to_u8
 * or _to_u16. On the backend `dry` data may be NULL and nothing is written; shapes, counts and
 * peaks are right. Local unless said otherwise, Blocking. Tested: tests/unit/test_h3_tiles.c,
 * tests/parity/test_h3_video_vae.c, tests/ranks/test_vae_ranks.c. */
#ifndef LT_H3_VIDEO_VAE_H
#define LT_H3_VIDEO_VAE_H

#include "model/files/checkpoint.h"
#include "model/h3/video_config.h"
#include "parallel/context.h"

typedef struct lt_h3_video_decoder lt_h3_video_decoder;

/* Loads post_quant_conv and my share of decoder.* into engine->phase; encoder tensors may be there
 * and are left alone, any other unknown tensor is LT_EDATA. checkpoint and engine are borrowed and
 * outlive it, config is copied. Collective on tp (on dry Local). Errors: also LT_EPEER
 * (another rank of tp failed). */
lt_status lt_h3_video_decoder_open(lt_checkpoint *checkpoint, lt_engine *engine,
                                   const lt_h3_video_config *config, lt_h3_video_decoder **out);
void lt_h3_video_decoder_close(lt_h3_video_decoder **decoder);

/* z [C, count] = latents [C, count] * std + mean, count values a channel; in place allowed. Local.
 */
void lt_h3_video_denormalise(const lt_h3_video_config *config, const float *latents, int64_t count,
                             float *z);

/* The latent frames of chunk c: z [C, T, h, w] -> out [C, 7, h, w], the last frame repeated past
 * the end. Local. */
void lt_h3_video_chunk_take(const lt_h3_video_config *config, const float *z, int64_t latent_frames,
                            int64_t h, int64_t w, int64_t chunk, float *out);

/* z [C, t, h, w], denormalised -> frames [time_ratio*t, 3, H, W], raw. Any t >= 1: the network sees
 * that chunk alone. frames NULL: this rank helps the others of tp and gets none. Collective on tp.
 * Errors: LT_ENOMEM, LT_EDEVICE, LT_ESHAPE, the transport's. */
lt_status lt_h3_video_decode_chunk(lt_h3_video_decoder *decoder, const float *z, int64_t t,
                                   int64_t h, int64_t w, float *frames);

/* A chunk's overlap frames, for the next chunk: [overlap_frames, 3, H, W] inside its raw frames.
 * Take them before finishing. Local. */
const float *lt_h3_video_overlap(const lt_h3_video_config *config, const float *raw, int64_t h,
                                 int64_t w);
/* In place: cross-fades the raw frames' body with overlap_before (NULL for the first chunk).
 * Returns the first finished frame; *count of them follow: clip_length, and overlap_frames when
 * `last`. Local. */
float *lt_h3_video_finish_chunk(const lt_h3_video_config *config, float *raw, int64_t h, int64_t w,
                                const float *overlap_before, int last, int64_t *count);

/* frames [count, 3, H, W] starting at first_frame, valid during the call. */
typedef lt_status (*lt_h3_frames_sink)(void *ctx, int64_t first_frame, int64_t count,
                                       const float *frames);
/* The whole, on each rank of tp: z [C, T, h, w] -> frames in film order. T that is not 5n+2 is
 * filled up with the last latent frame and the surplus cut, as the reference does. Collective on
 * tp. Errors: also LT_EDATA for too few latent frames. */
lt_status lt_h3_video_decode(lt_h3_video_decoder *decoder, const float *z, int64_t latent_frames,
                             int64_t h, int64_t w, lt_h3_frames_sink sink, void *ctx);

/* n frames [n, 3, H, W] of `pixels` = H*W values a plane: x * std + mean, clamped to [0, 1],
 * scaled, rounded half to even. threads as the engine's. Local. */
void lt_h3_video_to_u8(const float *frames, int64_t n, int64_t pixels, int threads, uint8_t *out);
void lt_h3_video_to_u16(const float *frames, int64_t n, int64_t pixels, int threads, uint16_t *out);

#endif
