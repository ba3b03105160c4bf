/* shot_fade.h - at a cut the sound of one shot fades into the next one's.
 *
 *     shot i       ________________________        falls by a quarter of a cosine ...
 *     made of it   _____________________   \___
 *     shot i + 1                        |  /‾‾‾    ... as the next one rises by one of a sine
 *                                     the cut
 *
 * The next shot rises over `samples` from the cut on, which stays at its sample. A shot is often
 * made longer than it is asked for, to the model's grid: what is left of its sound behind the cut
 * falls beneath the next one, and the sum of both powers stays. Where nothing is left, or less, it
 * falls as much earlier and ends with its last sample. Nothing else changes a bit, latents never.
 *
 * A shot's samples come in ascending order, shot by shot. All functions are Local and Blocking; one
 * object belongs to one thread. Tested: tests/unit/test_shot_fade.c, tests/film/test_shots.c. */
#ifndef LT_SHOT_FADE_H
#define LT_SHOT_FADE_H

#include <stdint.h>

#include "base/status.h"

/* A shot's sound, samples: as long as it is in the film, and as long as it is made. */
typedef struct lt_shot_audio {
    int64_t asked, made;
} lt_shot_audio;

typedef struct lt_shot_fade lt_shot_fade;

/* audio [shots] is copied. samples: of a fade, 0 or more; shorter where a shot is. Errors:
 * LT_ENOMEM. */
lt_status lt_shot_fade_new(const lt_shot_audio *audio, int shots, int64_t samples,
                           lt_shot_fade **out);
void lt_shot_fade_free(lt_shot_fade **fade); /* NULL inside is allowed */

/* The next samples of a shot, from `first` of it on, two channels, changed in place. Of them those
 * before the shot's end belong into the film. */
void lt_shot_fade_samples(lt_shot_fade *fade, int shot, int64_t first, float *const channel[2],
                          int64_t count);

#endif
