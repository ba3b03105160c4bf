/* chunks.h - what there is to decode of a film, in film order: chunks of video and of audio.
 *
 * The list is one for both, so that sound is decoded beside the picture: before each video chunk
 * stand the audio chunks that its frames need.
 *
 *     audio 0 | video 0 | video 1 | audio 1 | video 2 ...  | next shot: audio 4 | video 9 ...
 *
 * Of a film whose loudness is set all audio chunks come first, and nothing is final before the last
 * part: its sound is measured whole.
 *
 * A film becomes final in parts (denoise/parts.h), those of all shots numbered through. A chunk is
 * final with the part that has the last latents that its frames or samples depend on, what stands
 * before it in the list included. A function of the plan, the same on all ranks. Local. Tested:
 * tests/unit/test_film_chunks.c. */
#ifndef LT_FILM_CHUNKS_H
#define LT_FILM_CHUNKS_H

#include "run/plan_shots.h"

enum { LT_AUDIO_CHUNK_TICKS = 80 }; /* audio is decoded in chunks of so many */

typedef struct lt_film_chunk {
    int is_audio, shot;
    int64_t index;  /* among its shot's of its kind */
    int64_t number; /* of the film's chunks of its kind */
    int64_t part;   /* with which it is final */
    int is_early;   /* its shot goes on being denoised behind that part */
} lt_film_chunk;

typedef struct lt_film_chunks {
    lt_film_chunk *list; /* [count] owned; parts ascend */
    int64_t count, video, audio, parts;
} lt_film_chunks;

/* The caller owns *out: lt_film_chunks_free, which takes a zeroed one too. Errors: LT_ENOMEM. */
lt_status lt_film_chunks_new(const lt_model *model, const lt_film_shot *shot, int shots,
                             lt_film_chunks *out);
void lt_film_chunks_free(lt_film_chunks *chunks);

/* The stream that is sound, or -1. */
int lt_audio_stream(const lt_plan *plan);
/* Ticks of an audio chunk of a shot; the last is shorter. */
lt_range lt_audio_chunk(const lt_film_shot *shot, int64_t chunk);
/* Samples that belong to a film's first frames. */
int64_t lt_samples_until(const lt_plan *film, int64_t frames);

#endif
