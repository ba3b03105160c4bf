/* decode.h - from latents to a film, over all ranks, in film order; after the denoising, or beside
 * it.
 *
 *     LT_TRY(lt_decoding_open(&in, &d));           all ranks
 *     LT_TRY(lt_decoding_until(d, parts));         as parts of the film become final, or not at all
 *     LT_TRY(lt_decoding_finish(d));               the rest, all ranks
 *     lt_decoding_close(&d);
 *
 * Which chunk is whose, and in which order, follows from the plan and the meshes, so the same
 * frames and samples come out whenever they are decoded. */
#ifndef LT_DECODE_H
#define LT_DECODE_H

#include "run/decode/chunks.h"
#include "run/decode/film_file.h"
#include "run/latent_source.h"
#include "run/progress.h"

typedef struct lt_decoding lt_decoding;

/* All of it is borrowed. */
typedef struct lt_decode_in {
    lt_model *model;          /* its decoders are open on engine */
    lt_engine *engine;        /* the groups of its mesh's tp axis share out the chunks */
    const lt_plan *plan;      /* shape, lengths, codec, suffix */
    const lt_film_shot *shot; /* [shots] */
    int shots;
    lt_latent_source *source;
    const lt_decode_outputs *outputs; /* rank 0's counts */
    lt_progress *progress;
    /* [ranks of the world] 1: it denoises `extend`, the others decode meanwhile what is early
     * (chunks.h); NULL, or all of them 1: all ranks decode all chunks */
    const char *denoises;
} lt_decode_in;

/* Take memory, open the film's file. Collective on world, Blocking. Errors: LT_ENOMEM, the
 * muxer's. After one the caller cancels the engine. */
lt_status lt_decoding_open(const lt_decode_in *in, lt_decoding **out);
/* Decode all chunks that are final with the film's first `parts` parts, and mux them. Called by all
 * ranks with the same numbers; ranks that denoise may come later, but for rank 0, which must look
 * (lt_decoding_poll) or come. Blocking. Errors: LT_EIO (disk full), LT_EPEER. */
lt_status lt_decoding_until(lt_decoding *decoding, int64_t parts);
/* Are there ranks that decode what is early by themselves? Local. */
int lt_decoding_is_apart(const lt_decoding *decoding);
/* Rank 0, while others decode what is early of the first `parts` parts: take and mux what has come.
 * Never waits for a rank. Errors: as lt_decoding_until. */
lt_status lt_decoding_poll(lt_decoding *decoding, int64_t parts);
/* All of the latents are stored: decode what is left, and finish the film. Between two chunks a
 * signal ends it. Collective on world, Blocking. Errors: also LT_ETEMP (a signal). */
lt_status lt_decoding_finish(lt_decoding *decoding);
/* Nothing is left of a film that is not whole. NULL inside is allowed. Local. */
void lt_decoding_close(lt_decoding **decoding);

/* How large the buffers of one rank are: the estimate counts what decoding takes. */
typedef struct lt_decode_buffers {
    size_t latents;                                /* f32 values of a chunk, of video or audio */
    size_t raw_bytes, overlap_bytes, frames_bytes; /* a video chunk's: raw, overlap, finished */
    size_t pcm_bytes;                              /* an audio chunk's samples */
} lt_decode_buffers;

lt_decode_buffers lt_decode_buffers_of(const lt_model *model, const lt_plan *plan);

#endif
