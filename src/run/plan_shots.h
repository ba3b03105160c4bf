/* plan_shots.h - a film as a row of shots, each with a plan of its own.
 *
 * Whoever works on a film walks over its shots: a film without a storyboard is one shot, its plan
 * the film's. A shot's plan says what that shot alone is, as `longtake render` of it would; where
 * it stands in the film is beside it. Local. Tested: tests/film/test_shots.c. */
#ifndef LT_PLAN_SHOTS_H
#define LT_PLAN_SHOTS_H

#include "run/plan.h"

typedef struct lt_film_shot {
    lt_plan plan; /* its texts are the film's, and it has no board; not to be freed */
    int64_t first_frame, first_sample; /* in the film */
    int first_prompt, prompts;         /* of the film's */
    char group[24];                    /* in latents.h5: "shot-01/"; "": no storyboard */
} lt_film_shot;

/* The film's shots, [*count], malloc'ed; its streams are known (lt_plan_streams). Errors:
 * LT_ENOMEM, LT_EUSAGE (a shape that the model refuses). */
lt_status lt_film_shots(const lt_plan *film, const lt_model *model, lt_film_shot **out, int *count);
/* The dataset of a stream of a shot. Returns out, of LT_DATASET_BYTES. */
enum { LT_DATASET_BYTES = 64 };
const char *lt_film_dataset(const lt_film_shot *shot, int stream, char out[LT_DATASET_BYTES]);

int lt_film_prompts(const lt_plan *film); /* 1 or more */
const char *lt_film_prompt(const lt_plan *film, int prompt);

/* Latents of all shots, f32, and of the longest one. */
int64_t lt_film_clip_bytes(const lt_plan *film);
int64_t lt_film_longest_bytes(const lt_plan *film);
/* Decode chunks of all shots. */
int64_t lt_film_decode_chunks(const lt_plan *film, const lt_model *model);
/* Chunks of so many ticks, each of one shot. */
int64_t lt_film_audio_chunks(const lt_plan *film, int64_t ticks);

/* The layout of shot i (0 without a storyboard) at the first step, in frames of the film. A shot's
 * windows end where the shot does; without a storyboard they are the grid's. Errors: LT_ENOMEM,
 * LT_EUSAGE. */
lt_status lt_film_layout(const lt_plan *film, int shot, lt_layout *out);
/* Prompts that blend need several windows: refuses a shot that has but one. where: of the job's
 * list. Errors: LT_EUSAGE naming the entry; LT_ENOMEM. */
lt_status lt_plan_check_blends(const lt_plan *film, const char *where);
/* Of a draft with a storyboard: what `render --shot N` makes of it, a film of its Nth shot alone,
 * from 1; its streams are to be found again. where: of the job's list. Errors: LT_EUSAGE: there is
 * no such shot. LT_ENOMEM. */
lt_status lt_plan_keep_shot(lt_plan *film, int64_t shot, const char *where);

#endif
