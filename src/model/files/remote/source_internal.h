/* source_internal.h - what source.c, source_table.c and source_serve.c share. */
#ifndef LT_SOURCE_INTERNAL_H
#define LT_SOURCE_INTERNAL_H

#include "model/files/remote/source.h"

/* ---- source_table.c: the files of a folder ---- */

/* One file: its path below the root, and what tells two copies apart without reading the values. */
typedef struct lt_source_entry {
    char *path;
    int64_t bytes, changed;
    uint64_t hash; /* XXH3 of a config (of its first 16 MiB), of a shard's first MiB */
    /* Of my own copy only: which file it was, and the part of its time of change below a second. */
    uint64_t device, inode;
    int64_t nanoseconds;
} lt_source_entry;

typedef struct lt_source_table {
    char *root;
    lt_source_entry *entry; /* by path */
    int count, room;
} lt_source_table;

/* The files below root; none where there is no folder. Errors: LT_EDATA (more files than a model
 * has), LT_ENOMEM. After an error free it all the same. */
lt_status lt_source_table_scan(const char *root, lt_source_table *out);
/* As JSON (malloc'ed), and from it: text comes from another rank and is checked. */
lt_status lt_source_table_text(const lt_source_table *table, char **text, size_t *bytes);
lt_status lt_source_table_parse(const char *text, size_t bytes, const char *root,
                                lt_source_table *out);
/* Where they differ first: 1 and a line about it; 0: nowhere. */
int lt_source_table_differ(const lt_source_table *mine, const lt_source_table *theirs, char *line,
                           size_t bytes);
void lt_source_table_free(lt_source_table *table);
/* The part of path below the root, "." and ".." resolved, "" for the root itself, into out; 0 where
 * path is not below it. */
int lt_source_below(const lt_source_table *table, const char *path, char *out, size_t bytes);
/* Index of the file, or -1. */
int lt_source_find(const lt_source_table *table, const char *below);

/* ---- source_serve.c: who serves which files ---- */

/* Ask the file server (a rank of group) for bytes of its file. Blocking. Errors: the file server's,
 * LT_ENOMEM, the transport's. */
lt_status lt_source_ask(lt_group *group, int server, int index, void *to, size_t bytes,
                        int64_t offset);
/* Serve these files to the ranks of group whose server_of[rank] is this one, until stop. table and
 * server_of are borrowed. The thread ends the job, with a line, where a message fails. Errors:
 * LT_ENOMEM, LT_EUNAVAIL. */
lt_status lt_source_serve(lt_group *group, const lt_source_table *table, const int *server_of);
void lt_source_serve_stop(void);

#endif
