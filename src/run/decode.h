/* decode.h - from latents to a file, over all ranks, in film order. */
#ifndef LT_DECODE_H
#define LT_DECODE_H

#include "base/new_file.h"
#include "run/denoise/clip.h"
#include "run/plan_shots.h"
#include "run/progress.h"
#include "run/store_hdf5.h"

/* Where latents come from: clips in memory (render) or an open latents.h5 (decode). One of them. */
typedef struct lt_latent_source {
    const lt_clip *clip; /* [shots] */
    lt_latents *store;
} lt_latent_source;

/* What went wrong with a file beside the film; the film is whole then. */
typedef struct lt_decode_extra {
    lt_status status; /* LT_OK: nothing */
    char text[1024];
} lt_decode_extra;

/* What is made. Paths of rank 0; NULL where nothing is asked. */
enum { LT_AUDIO_CHUNK_TICKS = 80 }; /* audio is decoded in chunks of so many */
enum { LT_CONTACT_SHEET_COLUMNS = 6, LT_CONTACT_SHEET_ROWS = 2 }; /* of the contact sheet */

typedef struct lt_decode_outputs {
    const char *film;  /* its container is plan->suffix */
    int hidden;        /* 1: film has its name once it is whole, 0: as soon as it plays */
    const char *audio; /* in its folder lies the PCM timeline, without a name */
    const char *sheet, *wav;
    int tags;                   /* 1: the film's file says how it was made (film_tags.h) */
    lt_replace replace;         /* of film, sheet and wav */
    lt_status (*whole)(void *); /* called on rank 0 when the film is whole, before the extras */
    void *whole_ctx;
    lt_decode_extra *extra; /* of sheet and wav */
} lt_decode_outputs;

/* How large the buffers of one rank are: the estimate counts what lt_decode takes. */
typedef struct lt_decode_buffers {
    size_t latents;                                /* f32 values of a chunk, of video or audio */
    size_t raw_bytes, overlap_bytes, frames_bytes; /* a video chunk's: raw, overlap, finished */
} lt_decode_buffers;

lt_decode_buffers lt_decode_buffers_of(const lt_model *model, const lt_plan *plan);

/* Decode and mux, by the decoders that are open on engine. The groups of engine->mesh's tp axis
 * share out the film's chunks; the ranks of a group decode a chunk together, its weights split.
 * plan gives shots, shape, lengths, codec, suffix. Nothing is left of a failed film; after an error
 * the engine is cancelled. Collective on world, Blocking. Errors: LT_EIO (disk full), LT_ETEMP (a
 * signal), LT_EPEER. */
lt_status lt_decode(lt_model *model, lt_engine *engine, const lt_plan *plan,
                    const lt_latent_source *source, const lt_decode_outputs *outputs,
                    lt_progress *progress);

#endif
