/* statistics.c - latents_mean and latents_std of a VAE's config. */
#include "model/h3/statistics.h"

#include <math.h>

lt_status lt_h3_statistics_read(const lt_json_at *at, int64_t channels, float *mean, float *std)
{
    for (int64_t i = 0; i < channels; i++) {
        mean[i] = 0;
        std[i] = 1;
    }
    size_t count = (size_t)channels;
    if (lt_json_has(at, "latents_mean"))
        LT_TRY(lt_json_reals(at, "latents_mean", mean, (size_t)channels, &count));
    count = (size_t)channels;
    if (lt_json_has(at, "latents_std"))
        LT_TRY(lt_json_reals(at, "latents_std", std, (size_t)channels, &count));
    for (int64_t i = 0; i < channels; i++) {
        if (!isfinite(mean[i]))
            LT_FAIL(LT_EDATA, "%s: latents_mean[%d]: want a number that an f32 holds", at->source,
                    (int)i);
        if (!isfinite(std[i]) || !(std[i] > 0))
            LT_FAIL(LT_EDATA, "%s: latents_std[%d]: want a number above 0, found %g", at->source,
                    (int)i, (double)std[i]);
    }
    return LT_OK;
}
