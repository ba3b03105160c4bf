/* folder_check.h - what a folder lacks to be a model, said at once.
 * A download that is not finished, a clone without its large files, a cache's root and a hub's name
 * are what people give as a model; each has a line or a hint of its own. Local, Blocking; they read
 * names, sizes, indexes and heads alone. Tested: tests/faults/test_folders.c. */
#ifndef LT_FOLDER_CHECK_H
#define LT_FOLDER_CHECK_H

#include <stddef.h>

#include "model/files/checkpoint.h"

/* What was looked for, part by part, and what was not found. */
typedef struct lt_folder_lack {
    int shards, missing, pointers;
    char first[4096];   /* the first missing shard */
    char pointer[4096]; /* the first pointer */
    char parts[512];    /* "no weights in vae, no tokenizer (...)" */
} lt_folder_lack;
/* Count a part's shards, as its index or its only file has them. */
void lt_folder_look(const char *folder, const lt_name_map *map, const char *name,
                    lt_folder_lack *lack);
/* A file that must be there; what: what is said where it is not. */
void lt_folder_look_file(const char *path, const char *what, lt_folder_lack *lack);
/* One line for all of it. Errors: LT_ENOINPUT (something is missing), LT_EDATA (pointers). */
lt_status lt_folder_say(const char *root, const lt_folder_lack *lack);

/* For a path that is no model: a hint (lt_hint) where it is a hub's cache or a hub's name. */
void lt_folder_hint(const char *path);

#endif
