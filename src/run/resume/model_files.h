/* model_files.h - which model it is: header, size and time of each file.
 * Tens of gigabytes of values are not read for it; their hash is model_hash.h's.
 * Rank 0 only, Blocking, never fail. Tested: tests/faults/test_resume_refused.c. */
#ifndef LT_MODEL_FILES_H
#define LT_MODEL_FILES_H

#include <jansson.h>

/* {"transformer/config.json": {"bytes", "changed", "xxh64", "hashed_bytes"}, ...}: files of the
 * folder, one level of folders deep; xxh64 is of the first hashed_bytes, at most 1 MiB: configs
 * whole, a shard's header. What cannot be told is left out. The caller's. */
json_t *lt_model_files(const char *model);

#endif
