/* hash_list.h - a shard against the list of hashes that lies beside it.
 * A folder may hold hashes.json: {"transformer/x.safetensors": "<sha256>", ...}, paths from the
 * list's own folder. It is looked for in a shard's folder and the two above. Shards of at most 64
 * MiB are compared, before work where the job is planned, else when the first value is read;
 * larger ones would take longer to hash than to load. Local, Blocking.
 * Tested: tests/faults/test_folders.c. */
#ifndef LT_HASH_LIST_H
#define LT_HASH_LIST_H

#include "model/files/remote/source.h"

/* LT_OK where no list names the file, or another rank reads it for this one. Errors: LT_EDATA (the
 * file is not the one of the list), LT_EIO. */
lt_status lt_hash_list_check(const lt_source_file *file, const char *path);

#endif
