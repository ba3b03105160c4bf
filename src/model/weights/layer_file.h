/* layer_file.h - prepared layers in a file, read back by a thread.
 *
 * The file has no name: it is in $TMPDIR (else /tmp) and gone when it is closed, however the
 * process ends. Layers are all of one size and are added in order. A reading is asked for at a
 * place, one at a time for each of them, and runs beside its caller until that waits for it.
 * Local. Errors name the folder; LT_EIO is a reading's, told where it is waited for. */
#ifndef LT_LAYER_FILE_H
#define LT_LAYER_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { LT_LAYER_PLACES = 2 };

typedef struct lt_layer_file lt_layer_file;

/* Where such files are made, and the room that there is. Local. Errors: LT_ECREATE (a path that is
 * too long), LT_ENOINPUT (it is not there). */
lt_status lt_layer_file_room(char *folder, size_t bytes, int64_t *room);

/* For `count` layers of `bytes` each. Errors: LT_ENOMEM (also where the folder has no room for
 * them: wanted, found), LT_ECREATE. */
lt_status lt_layer_file_new(size_t bytes, int64_t count, lt_layer_file **out);
/* The next layer's bytes. Blocking. Errors: LT_EIO. */
lt_status lt_layer_file_add(lt_layer_file *file, const void *bytes);
/* Read layer `index`, which was added, to `to`, which stays until it is waited for. The place's
 * earlier reading has been waited for. */
void lt_layer_file_ask(lt_layer_file *file, int place, int64_t index, void *to);
/* Until the place's reading has ended, if there is one. Blocking. */
lt_status lt_layer_file_wait(lt_layer_file *file, int place);
/* Waits for what is read at the moment. NULL is fine. Blocking. */
void lt_layer_file_close(lt_layer_file **file);

#endif
