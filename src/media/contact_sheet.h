/* contact_sheet.h - a contact sheet: the film at a glance, as one PNG.
 *
 *   +----+----+----+     columns x rows frames, evenly spaced over the film (the first frame
 * first, the |    |    |    |     last one last), made smaller by area averaging; below them the
 * audio's waveform,
 *   +----+----+----+     one strip a channel, as wide as the sheet: time runs from left to right.
 *   |    |    |    |
 *   +----+----+----+
 *   |~~^~~~~v~~~~~~|
 *   +--------------+
 *
 * Frames are looked at as they pass by; memory is the sheet's alone. All functions are Local and
 * Blocking, rank 0 only; one sheet belongs to one thread. Tested:
 * tests/unit/test_contact_sheet.c. */
#ifndef LT_CONTACT_SHEET_H
#define LT_CONTACT_SHEET_H

#include <stdint.h>

#include "base/dtype.h"
#include "base/new_file.h"
#include "base/status.h"
#include "media/timeline.h"

typedef struct lt_contact_sheet lt_contact_sheet;

/* A sheet for `frames` frames of width x height. At most columns * rows frames; a film of fewer
 * frames leaves cells empty. The sheet is about 1440 pixels wide. Errors: LT_ENOMEM, LT_ESHAPE (a
 * number below 1, more than 64 columns or rows). */
lt_status lt_contact_sheet_new(int64_t frames, int64_t width, int64_t height, int columns, int rows,
                               lt_contact_sheet **out);
/* Memory that it takes, its file included. Local. */
size_t lt_contact_sheet_memory_bytes(int64_t width, int64_t height, int columns, int rows);
void lt_contact_sheet_free(lt_contact_sheet **sheet); /* NULL inside is allowed */

/* Show frame `index`: rgb planar [3, height, width], LT_U8 or LT_U16, full range. Any order; frames
 * that the sheet does not show cost nothing. Errors: LT_ESHAPE (index, dtype). */
lt_status lt_contact_sheet_frame(lt_contact_sheet *sheet, int64_t index, const void *rgb,
                                 lt_dtype dtype);

/* Draw the audio: for each column of pixels the lowest and highest sample of its stretch of time.
 * Errors: those of lt_timeline_read. */
lt_status lt_contact_sheet_audio(lt_contact_sheet *sheet, const lt_timeline *timeline);

/* Write an 8-bit RGB PNG, whole or not at all (base/new_file.h). Errors: LT_ECREATE, LT_EIO,
 * LT_ENOMEM. */
lt_status lt_contact_sheet_write(const lt_contact_sheet *sheet, const char *path,
                                 lt_replace replace);

/* The same PNG in memory. The caller owns *png: free. Errors: LT_ENOMEM. */
lt_status lt_contact_sheet_png(const lt_contact_sheet *sheet, void **png, size_t *bytes);

/* The sheet's pixels, [height, width, 3] u8, for tests. */
const uint8_t *lt_contact_sheet_pixels(const lt_contact_sheet *sheet, int64_t *width,
                                       int64_t *height);

#endif
