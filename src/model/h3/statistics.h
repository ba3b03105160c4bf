/* statistics.h - latents_mean and latents_std of a VAE's config. */
#ifndef LT_H3_STATISTICS_H
#define LT_H3_STATISTICS_H

#include "base/json.h"

/* mean, std [channels]: what the config says; absent means 0 and 1, as in the reference
 * (diffusers, AutoencoderKL's latents_mean and latents_std). Local. Errors: LT_EDATA naming file
 * and key: another count than channels, a mean that no f32 holds, a std that is not above 0. */
lt_status lt_h3_statistics_read(const lt_json_at *at, int64_t channels, float *mean, float *std);

#endif
