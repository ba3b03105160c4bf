/* folders.h - what a family's models look like on disk.
 * Tables that inspect goes by: which folders a layout has, which class a part's config names.
 * Local, Blocking. Tested: tests/unit/test_inspect.c. */
#ifndef LT_FOLDERS_H
#define LT_FOLDERS_H

#include <jansson.h>

#include "model/files/wanted.h"

/* A folder of a model. */
typedef struct lt_part_folder {
    const char *name;
    const lt_part_kind *weights; /* or NULL: none are there */
    int is_tokenizer;
    int optional; /* text to video runs without it */
} lt_part_folder;

typedef struct lt_folder_layout {
    const char *name;
    const lt_part_folder *parts; /* up to one without a name */
} lt_folder_layout;

typedef struct lt_part_class {
    const char *name; /* as lt_config_class gives it */
    const lt_part_kind *weights;
} lt_part_class;

typedef struct lt_folders {
    const char *title; /* of the model, for people */
    /* Which layout a folder's model has; NULL: no model of this family is there. */
    const lt_folder_layout *(*layout_of)(const char *folder);
    const lt_part_class *classes; /* up to one without a name */
    const char *const *inner;     /* folders in which whole models lie; NULL at the end */
} lt_folders;

/* The class that a config names, or NULL. It lives as long as the config. */
const char *lt_config_class(const json_t *config);

#endif
