/* checkpoint_internal.h - what checkpoint.c and checkpoint_read.c share. */
#ifndef LT_CHECKPOINT_INTERNAL_H
#define LT_CHECKPOINT_INTERNAL_H

#include "model/files/checkpoint.h"
#include "model/files/safetensors.h"

/* A name that a network may ask for. Three of them may stand on one stored tensor (original qkv).
 */
typedef struct lt_entry {
    const char *name; /* owned where rows isn't LT_ROWS_SAME or the name was rewritten */
    char *owned;
    const lt_safetensors *file;
    const lt_stored *stored;
    lt_row_order rows;
    int used;
    int is_listed, is_loaded; /* wanted.h: in a network's list; it has been asked for */
} lt_entry;

struct lt_checkpoint {
    char *path;
    lt_name_map map; /* names NULL: as stored */
    int is_mapped;
    int shard_count;
    lt_safetensors **shard;
    int64_t entry_count;
    lt_entry *entry; /* by name */
    int has_list;
    void *buffer; /* what is read before it is converted; taken at the first read */
};

/* The index or the only file that opening path would read. Errors: LT_ENOINPUT, LT_EDATA,
 * LT_EUSAGE. */
lt_status lt_checkpoint_file(const char *path, const lt_name_map *map, char *out, size_t bytes,
                             int *is_index);

lt_entry *lt_entry_find(const lt_checkpoint *checkpoint, const char *name);

/* The shape under the entry's name; returns the number of dims. */
int lt_entry_dims(const lt_entry *entry, int64_t dim[LT_STORED_DIMS_MAX]);

#endif
