/* estimate_parts.h - what the files of the estimate give each other (estimate.h). All functions are
 * Local. */
#ifndef LT_ESTIMATE_PARTS_H
#define LT_ESTIMATE_PARTS_H

#include "run/estimate.h"

/* What this rank holds of the latents of all shots; nothing where it does not denoise. Errors: the
 * networks', LT_ENOMEM. */
lt_status lt_estimate_clips(const lt_estimate_of *of, size_t *out);
/* DiT and decoders in memory together, beside what the process holds when it plans: the process;
 * their arenas. */
size_t lt_estimate_both_resident(const lt_estimate_of *of, const lt_footprint *footprint);
size_t lt_estimate_both_arenas(const lt_footprint *footprint);
/* Of a device's own memory: all that an open run takes. */
size_t lt_estimate_on_device(const lt_footprint *footprint);

#endif
