/* streaming.h - what becomes final goes out while the rest is denoised.
 *
 *     denoise (lt_denoise_beside) --part is final--> latents.h5's writer (rank 0)
 *                                               \--> decoding, where it goes on beside
 *
 * A film becomes final in parts: in `extend` chunk by chunk, otherwise shot by shot
 * (denoise/parts.h). Rank 0 takes each part from the ranks that hold it and puts it into
 * latents.h5. Where DiT and decoders are in memory together (plan->decoding), what the part makes
 * final is decoded and muxed too:
 *
 *     in turn   all ranks decode it, then go on denoising
 *     apart     `extend` works on the first group of `win`: the others decode, told by rank 0 what
 *               is final, while the first denoises; rank 0 muxes between two steps
 *
 * The film's file grows and plays as it does. Frames and samples are those of decoding afterwards.
 * Tested: tests/film/test_streaming.c. */
#ifndef LT_STREAMING_H
#define LT_STREAMING_H

#include "run/decode/decode.h"
#include "run/denoise/denoise.h"

/* A film's shots, and what this rank holds of their latents. */
typedef struct lt_film_latents {
    lt_film_shot *shot; /* [count] owned, as are the others */
    lt_clip *clip;
    lt_holding *holding;
    int count;
} lt_film_latents;

/* Clips are zeros. The caller owns *out, also after an error: lt_film_latents_free, which takes a
 * zeroed one too. Local. Errors: LT_ENOMEM, LT_EUSAGE (a shape that the model refuses). */
lt_status lt_film_latents_new(const lt_plan *plan, const lt_model *model, const lt_mesh *mesh,
                              lt_film_latents *out);
void lt_film_latents_free(lt_film_latents *latents);
/* Which ranks denoise a film that is decoded beside it: [ranks] into out, as lt_decode_in has it.
 * Local. */
void lt_streaming_denoises(const lt_mesh *mesh, char *out);

typedef struct lt_streaming lt_streaming;

/* Begin RUN/latents.h5. decoding NULL: it comes after. All is borrowed. Collective on the mesh,
 * Blocking. Errors: LT_ECREATE, LT_ENOMEM. */
lt_status lt_streaming_open(const lt_plan *plan, const lt_mesh *mesh,
                            const lt_film_latents *latents, lt_latent_source *source,
                            lt_decoding *decoding, lt_streaming **out);
/* What lt_denoise of this shot calls. Local. */
lt_denoise_beside lt_streaming_beside(lt_streaming *streaming, int shot);
/* The shot is denoised: its last part goes out. Collective on the mesh, Blocking. Errors: LT_EIO,
 * decoding's. */
lt_status lt_streaming_shot(lt_streaming *streaming, int shot);
/* All shots are denoised: latents.h5 gets its name. Collective on the mesh, Blocking. Errors:
 * LT_EIO, LT_ECREATE. */
lt_status lt_streaming_store(lt_streaming *streaming);
/* What is not whole is removed. NULL inside is allowed. Collective on the mesh. */
void lt_streaming_close(lt_streaming **streaming);

#endif
