/* latent_source.h - a film's latents, whoever holds them.
 *
 *     render    each rank holds a range of each shot's clip (denoise/held.h)
 *     decode    rank 0 alone has RUN, and reads latents.h5
 *
 * Who needs a range asks the rank that answers for it, by request, and waits for the values; a
 * thread of that rank sends them while its main thread computes. So no rank needs a whole clip, no
 * host but rank 0's needs RUN, and nobody has to know when another rank asks. Memory: a buffer of a
 * MiB on both ends.
 *
 * A range may be asked for once it is final: by whoever was told so by a message from a rank that
 * knew it. Tested: tests/ranks/test_latent_source.c. */
#ifndef LT_LATENT_SOURCE_H
#define LT_LATENT_SOURCE_H

#include "run/denoise/held.h"
#include "run/plan_shots.h"
#include "run/store_hdf5.h"

typedef struct lt_latent_source lt_latent_source;

/* What it is made of, all borrowed. clip and holding [shots] of a render, else NULL; store: rank
 * 0's of a decode, else NULL. */
typedef struct lt_latent_parts {
    const lt_film_shot *shot; /* [shots] */
    int shots;
    const lt_clip *clip;
    const lt_holding *holding;
    lt_latents *store;
} lt_latent_parts;

/* Begin to serve. Collective on world, Blocking. Errors: LT_ENOMEM, LT_EUNAVAIL (no thread), on all
 * ranks. */
lt_status lt_latent_source_open(lt_group *world, const lt_latent_parts *parts,
                                lt_latent_source **out);
/* Stop serving. Every rank's last lt_latent_take lies before an agreement before this, unless the
 * job ends. NULL inside is allowed. Collective on world, Blocking. */
void lt_latent_source_close(lt_latent_source **source);

/* Positions `range` of a stream's time axis, dense [outer, range, inner], into out. Main thread.
 * Blocking; the rank that answers need not do anything. Errors: LT_EDATA, LT_EIO (latents.h5),
 * LT_EPEER. */
lt_status lt_latent_take(lt_latent_source *source, int shot, int stream, lt_range range,
                         float *out);

#endif
