/* layout.h - how H3's text, audio and video lie in one packed sequence.
 * Source: spec/minimax-h3.md 4.2, 4.3, 4.4, 8.2; the published pipeline's layout step.
 *
 * The sequence of a text-to-film window is [text | anchors, if any | audio, left then right |
 * video, frame by frame]. Each row has a place in time, height and width (f64, rounded to f32 only
 * when the rotary rows are made) and a tag that picks its modulation: 0 video, 1 text, 2 audio. The
 * DiT takes any layout, also one whose rows lie elsewhere (lt_h3_layout_from): it goes by the
 * indices alone.
 *
 * All functions are Local and Blocking; they touch host memory only.
 * Tested: tests/unit/test_h3_layout.c, against numbers of the published pipeline. */
#ifndef LT_H3_LAYOUT_H
#define LT_H3_LAYOUT_H

#include <stdint.h>

#include "model/family.h"

enum { LT_H3_TAG_VIDEO = 0, LT_H3_TAG_TEXT = 1, LT_H3_TAG_AUDIO = 2, LT_H3_TAGS = 3 };
/* A video row is 2 x 2 latent cells of 16 x 16 pixels. */
enum { LT_H3_PATCH = 2, LT_H3_CELL_PIXELS = 16, LT_H3_AUDIO_CHANNELS = 2 };

/* Frames to latent frames: 17n + 5 -> 5n + 2. Asserts that frames is on the grid. */
int64_t lt_h3_latent_frames(int64_t frames);
/* The next length on the grid, >= frames and at least 22 (the decoder needs 7 latent frames).
 * Asserts 0 <= frames <= 2^40. */
int64_t lt_h3_frames_next(int64_t frames);
int lt_h3_frames_on_grid(int64_t frames); /* 17n + 5 with n >= 1 */
enum { LT_H3_SIZE_MULTIPLE = LT_H3_PATCH * LT_H3_CELL_PIXELS, LT_H3_SIZE_MAX = 16384 };
/* Pixels. Local. Errors: LT_EUSAGE naming --size, with the nearest sizes as the hint. */
lt_status lt_h3_size_check(int64_t width, int64_t height);
/* Audio latents of one channel: 40/s at 24 frames/s, round(frames * 5/3), never a tie. */
int64_t lt_h3_audio_ticks(int64_t frames);

typedef struct lt_h3_layout {
    int64_t rows;                              /* S */
    int64_t video_rows, audio_rows, text_rows; /* Nv, Na, L */
    double *position_ids;                      /* [S, 3]: time, height, width */
    int64_t *token_tags;                       /* [S] */
    int64_t *video_indices, *audio_indices,
        *text_indices; /* [Nv], [Na], [L]: places in the sequence */
    /* All 0 when made from arrays. Anchors are no latent frames: their rows are the first of the
     * video rows. */
    int64_t latent_frames, latent_height, latent_width, audio_ticks, anchors;
} lt_h3_layout;

/* Text to film. frames = 17n + 5 (5 too has a layout, though no decoder takes it), width and height
 * multiples of 32 (pixels), text_rows >= 0. The caller owns *out: lt_h3_layout_free. Errors:
 * LT_EUSAGE naming --frames or --size; LT_ENOMEM. */
lt_status lt_h3_layout_new(int64_t frames, int64_t width, int64_t height, int64_t text_rows,
                           lt_h3_layout **out);
/* A window's, or a tile's. Asserts that it begins at a multiple of 15 latents (of 2 in height and
 * width), where video and audio are both whole, and that a tile lies inside the whole.
 *
 * Its rows have the positions that these latents and ticks have in the layout of the whole clip, to
 * the last bit. So too text: row i stands at time i, wherever the window is, and the clip's time
 * runs from text_rows on (spec 4.3). That is what a shifted window is for: attention sees only
 * differences of positions, so a window whose text moved along would be the local one again.
 *
 * Anchors are video rows at the window's own places of the frame, at the time that a latent has at
 * this distance from the window's first; before the clip's first latent spans go on backwards. They
 * lie behind the text, where the published layout has keyframes, of which the first is an anchor at
 * distance 0. */
lt_status lt_h3_layout_window(const lt_window *window, int64_t text_rows, lt_h3_layout **out);
/* The same counts without the arrays, which stay NULL: what a dry run takes, where the kinds
 * lie behind each other as lt_h3_layout_window lays them. Errors as its. */
lt_status lt_h3_layout_dry(const lt_window *window, int64_t text_rows, lt_h3_layout **out);
/* Video rows that are anchors'. */
int64_t lt_h3_layout_anchor_rows(const lt_h3_layout *layout);
/* What the arrays take, whether they are there or not. */
size_t lt_h3_layout_bytes(const lt_h3_layout *layout);

/* Copy a layout from arrays (probe). Rows that no index names are zero rows, as in the reference; a
 * row that is named twice is refused. source is the file that errors show. Errors: LT_EDATA:
 * source, tensor, wanted, found; LT_ENOMEM. */
lt_status lt_h3_layout_from(const char *source, const lt_h3_layout *arrays, lt_h3_layout **out);
void lt_h3_layout_free(lt_h3_layout **layout);

/* Which entry of the timestep list each row uses: text and video rows video_index, audio rows
 * audio_index (spec 4.4). out [S]. */
void lt_h3_layout_timesteps(const lt_h3_layout *layout, int32_t video_index, int32_t audio_index,
                            int32_t *out);

/* Video latents [C, T, h, w] <-> rows [T * h/2 * w/2, 4C], columns in order (channel, dy, dx). h,
 * w even. */
void lt_h3_patchify(const float *latents, int64_t C, int64_t T, int64_t h, int64_t w, float *rows);
void lt_h3_unpatchify(const float *rows, int64_t C, int64_t T, int64_t h, int64_t w,
                      float *latents);
/* Audio latents [2, C, A] <-> rows [2A, C], row = channel * A + tick. */
void lt_h3_audio_to_rows(const float *latents, int64_t C, int64_t A, float *rows);
void lt_h3_rows_to_audio(const float *rows, int64_t C, int64_t A, float *latents);

#endif
