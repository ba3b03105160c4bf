/* decode.h - from latents to a file, over all ranks, in film order.               Level 4: run */
#ifndef LT_DECODE_H
#define LT_DECODE_H

#include "run/denoise.h"
#include "run/plan.h"
#include "run/progress.h"
#include "run/store_hdf5.h"

/* Where latents come from: a clip in memory (render) or an open latents.h5 (decode). One of them.
 */
typedef struct lt_latent_source {
    const lt_clip *clip;
    lt_latents *store;
} lt_latent_source;

/* What is made. Paths of rank 0; NULL where nothing is asked. */
typedef struct lt_decode_outputs {
    const char
        *film; /* a path in the run folder, written as it grows; its container is plan->suffix */
    const char *sound; /* scratch file for the PCM timeline, removed at the end */
    const char *sheet, *wav;
    int tags; /* 1: the film's file tells how it was made (film_tags.h) */
} lt_decode_outputs;

/* Load the decoders, decode, mux, release. The groups of engine->mesh's tp axis share out the
 * film's pieces; the ranks of a group decode a piece together, its weights split. plan gives shape,
 * lengths, codec, suffix. A failed film is left for the caller to remove. Collective on world,
 * Blocking. Errors: LT_EIO (disk full), LT_EDATA (weights), LT_ETEMP (a signal), LT_EPEER. */
lt_status lt_decode(lt_model *model, lt_engine *engine, const lt_plan *plan,
                    const lt_latent_source *source, const lt_decode_outputs *outputs,
                    lt_progress *progress);

#endif
