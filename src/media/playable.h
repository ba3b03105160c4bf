/* playable.h - does a film file hold anything that plays?
 * A look at the outline of a file that may come from anybody: lengths and names of its boxes or
 * elements, and no decoder. Local, Blocking. Tested: tests/faults/test_outputs.c. */
#ifndef LT_PLAYABLE_H
#define LT_PLAYABLE_H

#include "base/status.h"

/* An MP4 or MOV with its index and data, an MKV with a cluster.
 * Errors: LT_ENOINPUT (not there, no file), LT_EDATA naming what it lacks, LT_EIO. */
lt_status lt_film_plays(const char *path);

#endif
