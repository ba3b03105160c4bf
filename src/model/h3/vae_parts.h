/* vae_parts.h - layers that H3's VAEs share.
 * Convolutions read from named tensors, with or without weight norm, and 1x1 convolutions as
 * linears. On the backend `dry` nothing is read, shapes are checked. Internal to the h3_*vae /
 * *encoder files. Local, Blocking. Errors: LT_EDATA naming file and tensor, LT_ENOMEM. */
#ifndef LT_H3_VAE_PARTS_H
#define LT_H3_VAE_PARTS_H

#include "model/weights/weights.h"

enum { LT_H3_NAME_BYTES = 192 };

/* Write a tensor's or layer's name; asserts that it fits. */
void lt_h3_name(char name[LT_H3_NAME_BYTES], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A whole tensor as f32, malloc'ed: the caller frees. NULL on dry (the shape is checked). */
lt_status lt_h3_read(lt_weights *weights, const char *name, lt_dims dims, float **out);

/* NAME.weight [out, in, kT, kH, kW] and NAME.bias [out]. spec gives sizes and padding. */
lt_status lt_h3_conv3d(lt_weights *weights, const char *name, const lt_conv_spec *spec,
                       lt_conv **out);

/* Sizes of a layer of audio, [B, T, C] seen as [B, 1, 1, T, C]. */
typedef struct lt_h3_conv1d_spec {
    int64_t in, out, kernel, stride, dilation, pad;
    int transposed, bias;
} lt_h3_conv1d_spec;
/* NAME.weight_g, NAME.weight_v folded to g * v / |v|, the norm over all dims but the first: of out
 * channels, transposed of in channels (spec/minimax-h3.md 7.1). */
lt_status lt_h3_conv1d_normed(lt_weights *weights, const char *name, const lt_h3_conv1d_spec *spec,
                              lt_conv **out);

/* NAME.weight [out, in] + spatial_dims ones, NAME.bias [out]: a pointwise convolution on rows. */
lt_status lt_h3_pointwise(lt_weights *weights, const char *name, int64_t out, int64_t in,
                          int spatial_dims, lt_linear **linear);

#endif
