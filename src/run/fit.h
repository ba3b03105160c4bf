/* fit.h - a draft that fits the memory of all ranks.
 *
 * What was asked for is taken where it fits. Where it does not, what no film's bits depend on gives
 * way first: layers of the text encoder and the DiT take turns (model/weights/layers.h), as few as
 * need be, the DiT's gathered from the ranks of ring and uly where those have room for their
 * shares. Then, where `auto` took one window since the model knows the length, windows. What fits
 * in no such way is refused as it was asked. */
#ifndef LT_FIT_H
#define LT_FIT_H

#include "run/estimate.h"

/* of: the draft on this rank. first: the first phase that runs. Fills *out with the footprint that
 * fits; rank 0 says what gave way. draft: resident layers and windows change, the same way on every
 * rank. Collective on world, Blocking. Errors: LT_ENOMEM with numbers, the networks'. */
lt_status lt_fit(lt_group *world, lt_plan *draft, const lt_estimate_of *of, const lt_job *job,
                 lt_phase first, lt_footprint *out);

#endif
