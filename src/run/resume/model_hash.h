/* model_hash.h - the hash of a whole model, made in the background and remembered.
 *
 * A model is told by the header, size and time of its files (model_files.h), which takes no time.
 * What all of its bytes are takes reading 130 GB, so a thread of the lowest priority reads them
 * while the run denoises, and each file's hash is kept, so that no start reads it again:
 *
 *     $XDG_CACHE_HOME/longtake, or ~/.cache/longtake
 *         0123456789abcdef.json    {"format": "longtake-file-hash", "version": 1, "file",
 *                                   "bytes", "inode", "seconds", "nanoseconds", "xxh64"}
 *
 * named by the path's own hash. It holds for a file of this path, size, time of change and inode;
 * of another it is made anew. What is no such file is named in a warning and not used; a folder
 * that cannot be written is no error. A file that changed in the last two seconds is hashed and not
 * kept: another change in the same tick of its clock would not be seen. Files that another rank
 * serves are not read: their model's hash stays unknown.
 *
 * One model at a time, rank 0's. All for the main thread, Local, never fail. Tested:
 * tests/unit/test_model_hash.c. */
#ifndef LT_MODEL_HASH_H
#define LT_MODEL_HASH_H

#include <jansson.h>
#include <stdint.h>

enum { LT_MODEL_HASH_BYTES = 17 };

/* files: lt_model_files' of this folder. Looks up what is known; reads no file of the model. */
void lt_model_hash_begin(const char *model, const json_t *files);
/* Read the files that are not known, in a thread; nothing where all are. */
void lt_model_hash_run(void);
/* So long at most until it is done; 1: it is. */
int lt_model_hash_wait(double seconds);
/* The thread stops after the MiB at hand; what it found is forgotten here. */
void lt_model_hash_end(void);

/* The hash of all files that are known, as "whole_xxh64" into their objects. */
void lt_model_hash_tell(json_t *files);
/* The model's: xxh64 of a line "NAME HASH" a file, in the order of names; "": not known yet. */
const char *lt_model_hash_text(char out[LT_MODEL_HASH_BYTES]);
/* Bytes of models' files that were read for it, since start. */
uint64_t lt_model_hash_bytes_read(void);

/* What a model is by names, sizes and heads of its files, times left out: as that. */
const char *lt_model_head_text(const json_t *files, char out[LT_MODEL_HASH_BYTES]);

#endif
