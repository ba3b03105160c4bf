/* film_read.h - a finished film, frame by frame and sample by sample.
 *
 *     LT_TRY(lt_film_open(path, &film));
 *     do {
 *         LT_TRY(lt_film_next(film, &event));
 *         ...
 *     } while (event.kind != LT_FILM_END);
 *     lt_film_close(&film);
 *
 * Any file that this FFmpeg opens: its best video stream and, if there is one, its best audio
 * stream, in the file's own order. Memory is a few frames, whatever the length.
 *
 * **The file is a stranger's.** It is opened here, once, as a regular file; FFmpeg reads that
 * descriptor and opens nothing: no protocol, no second file (playlists and references are refused).
 * At most LT_FILM_STREAMS_MAX streams, LT_FILM_PIXELS_MAX pixels a frame, LT_FILM_BLOCK_MAX samples
 * a packet; sizes are checked before a decoder opens. A frame that is damaged, changes its size or
 * format, and a sample that is no number, end the reading.
 *
 * Frames are counted as they come: a film of uneven frame times is measured as if they were even.
 * All functions are Local and Blocking; one film belongs to one thread. FFmpeg's messages go to
 * lt_log as mux.h says. Tested: tests/unit/test_film_read.c, tests/fuzz/fuzz_film.c. */
#ifndef LT_FILM_READ_H
#define LT_FILM_READ_H

#include <stdint.h>

#include "base/status.h"

enum {
    LT_FILM_STREAMS_MAX = 64,
    LT_FILM_SIDE_MAX = 16384,
    LT_FILM_PIXELS_MAX = 1 << 26,
    LT_FILM_BLOCK_MAX = 1 << 20,
    LT_FILM_RATE_MIN = 2000,
    LT_FILM_RATE_MAX = 768000
};

typedef struct lt_film lt_film;

typedef struct lt_film_facts {
    int width, height;
    double fps;                /* 0.1 to 1000 */
    int sample_rate, channels; /* 1 or 2: more are mixed down; 0: no audio */
    int64_t frames;            /* as the container says; 0: it does not */
    const char *container, *video_codec, *audio_codec; /* FFmpeg's names; NULL: no audio */
    /* When the first sample is heard, seconds after the first frame is shown; known when both have
     * come, 0 until then. */
    double audio_start_s;
} lt_film_facts;

typedef enum lt_film_kind { LT_FILM_END, LT_FILM_VIDEO, LT_FILM_AUDIO } lt_film_kind;

/* What came next; pointers stay until the next call. */
typedef struct lt_film_event {
    lt_film_kind kind;
    /* A frame: 8-bit BT.709 Y'CbCr in limited range as the film has it, or made so; dense rows,
     * chroma halved (rounded up) each way. */
    const uint8_t *luma, *cb, *cr;
    int width, height, chroma_width, chroma_height;
    /* Audio: f32, one pointer a channel. */
    const float *pcm[2];
    int64_t samples;
} lt_film_event;

/* Errors, naming the file, what was wanted and found: LT_ENOINPUT (not there, no regular file),
 * LT_EDATA (no film, no video, sizes and rates outside), LT_EUNAVAIL (this FFmpeg lacks the
 * decoder), LT_EIO, LT_ENOMEM. */
lt_status lt_film_open(const char *path, lt_film **out);
void lt_film_close(lt_film **film); /* NULL inside is allowed */

const lt_film_facts *lt_film_look(const lt_film *film);

/* The next frame or samples, or LT_FILM_END. Errors: LT_EDATA naming frame or sample (damage, a
 * change of size, a film without a frame), LT_EIO, LT_ENOMEM; then only lt_film_close is left. */
lt_status lt_film_next(lt_film *film, lt_film_event *event);

/* The frame that lt_film_next gave last, scaled: rgb planar [3, height, width] u8, full range.
 * Errors: LT_ESHAPE (no frame yet, a size outside 1 to 4096), LT_EDATA, LT_ENOMEM. */
lt_status lt_film_rgb(lt_film *film, int width, int height, uint8_t *rgb);

#endif
