/* vit.h - the decoder network of H3's video VAE: one tile of one clip.
 * Source: spec/minimax-h3.md 6.2; diffusers, MiniMaxH3VideoViTDecoder3d and post_quant_conv.
 *
 * A latent cell is a token. Registers and one zero token are appended at position 0, 36 blocks of
 * full self-attention follow, and each token becomes a block of pixels. All f32. The ranks of the
 * tp axis of engine->mesh (NULL: this rank alone) share heads and FFN columns of the blocks; some
 * may have none. Internal to video_vae.c. */
#ifndef LT_H3_VIT_H
#define LT_H3_VIT_H

#include "model/h3/video_config.h"
#include "model/weights/weights.h"

typedef struct lt_h3_vit lt_h3_vit;

/* Loads this rank's share. weights and config are borrowed and must outlive it. Collective on tp
 * (on dry Local), Blocking. Errors: LT_EDATA, LT_ENOMEM, LT_EPEER (another rank of tp failed), the
 * transport's. */
lt_status lt_h3_vit_open(lt_weights *weights, const lt_h3_video_config *config, lt_h3_vit **out);
void lt_h3_vit_close(lt_h3_vit **vit);

/* tokens [t*h*w, C] host -> pixels [t*h*w, 3*pt*p*p] host, (channel, frame, row, column) innermost
 * last. The same tokens on all ranks of tp give the same bits of pixels; a rank with pixels NULL
 * takes part and gets none. Takes scratch from engine->step and gives it back. On dry both may be
 * NULL. Collective on tp, Blocking. Errors: LT_EDEVICE, LT_ENOMEM, the transport's. */
lt_status lt_h3_vit_tile(lt_h3_vit *vit, const float *tokens, int64_t t, int64_t h, int64_t w,
                         float *pixels);

#endif
