/* tensors.h - the tensors that an H3 config asks for, without opening a weight.
 * Source: spec/minimax-h3.md 1, 3, 4, 6, 7. One list a network, in the order of use: it opens by
 * it, and inspect holds checkpoints against it. Names are diffusers'. Local, Blocking. */
#ifndef LT_H3_TENSORS_H
#define LT_H3_TENSORS_H

#include "model/files/wanted.h"
#include "model/h3/audio_config.h"
#include "model/h3/dit.h"
#include "model/h3/video_config.h"

/* Of a config that was read. Errors: those of to->fn. */
lt_status lt_h3_dit_tensors(const lt_h3_dit_config *config, const lt_wanter *to);
lt_status lt_h3_video_encoder_tensors(const lt_h3_video_config *config, const lt_wanter *to);
lt_status lt_h3_video_decoder_tensors(const lt_h3_video_config *config, const lt_wanter *to);
lt_status lt_h3_audio_encoder_tensors(const lt_h3_audio_config *config, const lt_wanter *to);
lt_status lt_h3_audio_decoder_tensors(const lt_h3_audio_config *config, const lt_wanter *to);

extern const lt_part_kind lt_h3_part_dit, lt_h3_part_text, lt_h3_part_video, lt_h3_part_audio;

#endif
