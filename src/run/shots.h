/* shots.h - a storyboard: the entries of the job's `shots:`, and the shots that they make.
 *
 *     entries   | 0: cut | 1: cut | 2: blend | 3: cut |
 *     shots     |   0    |        1          |   2    |
 *
 * A cut begins a shot, a film of its own: own grid length, own windows, own noise; what its grid
 * has too many is trimmed, of video to its frames, of audio to the samples between round(rate / fps
 * x first frame) and the same of the frame behind it. So the film has exactly its frames and
 * samples, and a shot has the latents of `longtake render` of its prompt, frames and seed. A blend
 * is a further prompt of the same shot (denoise/texts.h).
 *
 * Functions are Local; host memory. Tested: tests/unit/test_storyboard.c. */
#ifndef LT_SHOTS_H
#define LT_SHOTS_H

#include <jansson.h>

#include "base/json.h"
#include "scheduler/windowing.h"

enum {
    LT_SHOTS_MAX = 256,                /* entries; each prompt is encoded, each shot a group */
    LT_SHOTS_PROMPT_BYTES_MAX = 262144 /* of all prompts together, as of a film's one */
};

typedef struct lt_board_entry {
    char *prompt; /* owned */
    int64_t frames;
    int blends; /* into this one from the one before */
    int has_seed;
    uint64_t seed;
} lt_board_entry;

typedef struct lt_board_shot {
    lt_range frames, samples; /* of the film */
    int64_t grid_frames;      /* that are denoised */
    uint64_t seed;
    lt_mode mode;
    int first_entry, entries;
} lt_board_shot;

/* A zeroed one: the film is one shot, and has no storyboard. */
typedef struct lt_storyboard {
    int entries, shots;
    lt_board_entry *entry; /* [entries] owned */
    lt_board_shot *shot;   /* [shots] owned */
} lt_storyboard;

void lt_storyboard_free(lt_storyboard *board);

/* The job's list, checked. where: "job.yaml:3: shots", for messages, which name entry (from 1),
 * field, wanted and found. Fills entries only. The caller owns *out also after an error. Errors:
 * LT_EUSAGE, LT_ENOMEM. */
lt_status lt_storyboard_read(const json_t *list, const char *where, int fps, lt_storyboard *out);
/* Make the shots of the entries: all but their modes. A shot without a seed of its own gets
 * lt_shot_seed(seed, its index). Errors: LT_ENOMEM. */
lt_status lt_storyboard_place(lt_storyboard *board, const lt_grid *grid, int fps, int sample_rate,
                              uint64_t seed);
/* Leave shot i alone: a storyboard of one shot, with the seed, the mode and the grid that it has in
 * the film, and the samples of a film that begins with it. */
void lt_storyboard_keep(lt_storyboard *board, int i, int fps, int sample_rate);
/* Put a copy of other's shots behind board's, as a cut does: they keep seed, mode and grid.
 * Errors: LT_EUSAGE naming what there is too much of (entries, frames, bytes of prompts);
 * LT_ENOMEM; board is whole then, too. */
lt_status lt_storyboard_append(lt_storyboard *board, const lt_storyboard *other, int fps,
                               int sample_rate);

int64_t lt_storyboard_frames(const lt_storyboard *board); /* of the film */
/* Grid frames of the longest shot. */
int64_t lt_storyboard_longest(const lt_storyboard *board);
/* Samples of a film's first frames: round(frames x rate / fps). */
int64_t lt_samples_of(int64_t frames, int sample_rate, int fps);
/* All prompts, " | " between them, malloc'ed. NULL: no memory. */
char *lt_storyboard_prompts(const lt_storyboard *board);

/* The list `shots` of plan.json; NULL: no storyboard, or no memory (lt_json_starved). */
json_t *lt_storyboard_json(const lt_storyboard *board);
/* And back, of a plan's root: lengths are checked against each other, and bounded. No key: none.
 * The caller owns *out also after an error. Errors: LT_EDATA, LT_ENOMEM. */
lt_status lt_storyboard_parse(const lt_json_at *root, lt_storyboard *out);
/* What was parsed, against what this family's grid and rates make of its frames, and the film's
 * mode. Errors: LT_EDATA naming source, shot, wanted and found. */
lt_status lt_storyboard_check(const lt_storyboard *board, const lt_grid *grid, int fps,
                              int sample_rate, lt_mode film, const char *source);

#endif
