/* source.h - a model's files, whether this rank has them or not.
 *
 * Everything in src/model that opens a model's file does it by these functions. Alone, or where the
 * folder is here, they are the file system's. lt_source_share compares the ranks' copies of one
 * model folder. A rank without it becomes the client of a file server, a rank that has it, and from
 * then on sees that rank's files under the same path: it gets their names and sizes once and asks
 * for bytes as it needs them. So a cluster needs no file system that all hosts share; what crosses
 * the network is what a rank would have read from its disk.
 *
 * A model's files are *.json, *.txt and *.safetensors, at most two folders down. Tested:
 * tests/ranks/test_source.c, tests/film/test_loading_film.c. */
#ifndef LT_SOURCE_H
#define LT_SOURCE_H

#include <jansson.h>

#include "parallel/transport/transport.h"

/* Compare the ranks' copies of the model folder `root` (each rank's own, where the path is
 * relative) and begin to serve the ranks without it. A folder without a model's file counts as
 * missing. Where no rank has one, nothing changes: opening the model will say so. One folder at a
 * time: lt_source_end comes before the next. Collective on world, Blocking.
 * Errors: LT_EDATA where two copies differ in names, sizes, heads of configs or of weights, naming
 * both ranks and a file; LT_ENOMEM; LT_EUNAVAIL (no thread). After an error nothing is shared. */
lt_status lt_source_share(lt_group *world, const char *root);
/* Stop serving and forget the file server's files; nothing if nothing is shared. The last read of
 * any rank must lie before an agreement on the world that lies before this. Collective on world,
 * Blocking. */
void lt_source_end(void);

/* All others are Local and Blocking, for the main thread only; on a client they wait for its file
 * server. */
typedef struct lt_source_stamp {
    int64_t modified_s, modified_ns, changed_s, changed_ns;
} lt_source_stamp;
typedef struct lt_source_file {
    int fd;    /* -1: at the file server */
    int index; /* of its table */
    int64_t bytes;
    lt_source_stamp stamp; /* of its last change, when it was opened */
} lt_source_file;

/* Errors: LT_ENOINPUT (not there, or no regular file). */
lt_status lt_source_open(const char *path, lt_source_file *out);
void lt_source_close(lt_source_file *file);
/* Exactly these bytes; path is for messages. Errors: LT_EIO; LT_EDATA (the file server's
 * file is no longer the one that was compared), naming the file server and its file. */
lt_status lt_source_pread(const lt_source_file *file, const char *path, void *to, size_t bytes,
                          int64_t offset);
/* Behind the last read of what belongs together: is the file as it was when it was opened? Errors:
 * LT_EDATA (it was written again meanwhile). */
lt_status lt_source_unchanged(const lt_source_file *file, const char *path);

int lt_source_exists(const char *path);
int lt_source_is_dir(const char *path);
/* As lt_file_read, lt_json_read; pipes and devices are LT_ENOINPUT. */
lt_status lt_source_read(const char *path, size_t bytes_max, char **out, size_t *bytes);
lt_status lt_source_json(const char *path, json_t **out);
/* Each name in a folder once, in any order, hidden ones left out (at the file server: what leads to
 * a model's file). Errors: LT_ENOINPUT, and the first of each. */
lt_status lt_source_list(const char *folder, lt_status (*each)(void *ctx, const char *name),
                         void *ctx);
/* Seconds of its last change (Unix time), 0 where it cannot be told. */
int64_t lt_source_changed(const char *path);

/* Bytes that this process has sent to ranks without the files, since start. */
uint64_t lt_source_bytes_served(void);

#endif
