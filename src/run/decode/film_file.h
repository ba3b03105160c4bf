/* film_file.h - where finished frames and samples go: the film's file, the timeline of its sound, a
 * contact sheet.
 *
 * Frames come in film order, and with each go the samples that belong to it, which must be there by
 * then: no sample of the file waits for the end. Rank 0 only, Blocking; one thread at a time. */
#ifndef LT_FILM_FILE_H
#define LT_FILM_FILE_H

#include "base/new_file.h"
#include "run/plan_shots.h"

enum { LT_CONTACT_SHEET_COLUMNS = 6, LT_CONTACT_SHEET_ROWS = 2 };

/* What went wrong with a file beside the film; the film is whole then. */
typedef struct lt_decode_extra {
    lt_status status; /* LT_OK: nothing */
    char text[1024];
} lt_decode_extra;

/* What is made. Paths of rank 0; NULL where nothing is asked. */
typedef struct lt_decode_outputs {
    const char *film;  /* its container is plan->suffix */
    int hidden;        /* 1: film has its name once it is whole, 0: as soon as it plays */
    const char *audio; /* in its folder lies the PCM timeline, without a name */
    const char *sheet, *wav;
    int tags;                   /* 1: the film's file says how it was made (film_tags.h) */
    lt_replace replace;         /* of film, sheet and wav */
    lt_status (*whole)(void *); /* called when the film is whole, before the extras */
    void *whole_ctx;
    lt_decode_extra *extra; /* of sheet and wav */
} lt_decode_outputs;

typedef struct lt_film_file lt_film_file;

/* plan: the film's; it and outputs are borrowed. After an error nothing is left. Errors: the
 * muxer's, LT_ENOMEM, LT_ECREATE. */
lt_status lt_film_file_open(const lt_plan *plan, const lt_decode_outputs *outputs, int threads,
                            lt_film_file **out);
/* Samples [first, first + count) of the film, of both channels. Errors: LT_EIO. */
lt_status lt_film_file_audio(lt_film_file *file, int64_t first, const float *const *channel,
                             int64_t count);
/* Silence there. Errors: also LT_ENOMEM. */
lt_status lt_film_file_silence(lt_film_file *file, int64_t first, int64_t count);
/* The next frame, planar RGB of dtype pixels, and the samples up to its end. Errors: LT_EIO (disk
 * full), LT_ESHAPE (samples that did not come). */
lt_status lt_film_file_frame(lt_film_file *file, const void *rgb, lt_dtype pixels);
int64_t lt_film_file_frames(const lt_film_file *file); /* so far */
/* All frames are there: whole, outputs->whole, then the extras. Errors: LT_EIO; of extras none. */
lt_status lt_film_file_finish(lt_film_file *file);
/* Frees; what is not whole is removed. NULL inside is allowed. */
void lt_film_file_close(lt_film_file **file);

/* Of one frame, as the codec's pixels. Local. */
size_t lt_frame_bytes(const lt_plan *plan);

#endif
