/* file.h - whole small files, exact reads, paths, and what room there is.
 * Files are made by base/new_file.h.
 * Every message names the path and what the system said. Local, Blocking. Thread-safe. */
#ifndef LT_FILE_H
#define LT_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

enum { LT_PATH_BYTES = 4096 }; /* a path's buffer, with its final NUL (Linux' PATH_MAX) */

/* Read a whole file of at most bytes_max bytes; one NUL follows the content. The caller owns *out:
 * free. Errors: LT_ENOINPUT (not there, no permission, a folder), LT_EDATA (longer than bytes_max),
 * LT_EIO, LT_ENOMEM. */
lt_status lt_file_read(const char *path, size_t bytes_max, char **out, size_t *bytes);

/* The same of a file that lies in a folder of someone's: a pipe or a device is refused
 * (LT_ENOINPUT) and never waited for. */
lt_status lt_file_read_regular(const char *path, size_t bytes_max, char **out, size_t *bytes);

/* The same of what is open (stdin), to its end; name is for messages. */
lt_status lt_file_read_fd(int fd, const char *name, size_t bytes_max, char **out, size_t *bytes);

/* Read exactly bytes bytes at offset, whatever the system gives at a time. path is for messages.
 * Errors: LT_EIO naming file, offset, wanted and found (the file ends, or the system fails). */
lt_status lt_file_pread_full(int fd, const char *path, void *to, size_t bytes, int64_t offset);

/* Write exactly bytes bytes at the descriptor's position. Errors: LT_EIO. */
lt_status lt_file_write_full(int fd, const char *path, const void *data, size_t bytes);

/* out = folder/name; name is not checked for "..". Errors: LT_EUSAGE if it does not fit. */
lt_status lt_path_join(char *out, size_t bytes, const char *folder, const char *name);

/* The folder part of a path ("." if it has none, "/" for the root's files). Errors: as
 * lt_path_join. */
lt_status lt_path_folder(char *out, size_t bytes, const char *path);

/* Make a folder; one that is there already is fine. Its parents must be there.
 * Errors: LT_ECREATE (also when a file of that name is there). */
lt_status lt_dir_make(const char *path);

/* What is said of a file or folder that could not be opened for reading, error being its errno:
 * LT_ENOINPUT, or LT_EIO, LT_ENOMEM where the fault lies elsewhere. */
lt_status lt_file_unopened(const char *path, int error);

/* Anything of that name, links followed. What cannot be looked at counts as there (a broken disk, a
 * folder that others keep to themselves): a program that opens it then learns why, and none takes
 * it for absent. */
int lt_file_exists(const char *path);
int lt_file_is_dir(const char *path);
/* errno's number of the first of these looks in this thread that failed since this was last asked,
 * 0: none. What was found out by them may be wrong then. */
int lt_file_unseen(void);

/* Size of a regular file. Errors: LT_ENOINPUT. */
lt_status lt_file_bytes(const char *path, int64_t *out);

/* Room for this user on the file system that holds path (or, if it is not there, its folder).
 * Errors: LT_ENOINPUT. */
lt_status lt_disk_free_bytes(const char *path, int64_t *out);

/* Memory that this process may still take without swapping: the smaller of the machine's
 * MemAvailable and what the control groups (v1 and v2, every level up to the root) leave. -1 if
 * nothing says. */
int64_t lt_memory_available_bytes(void);
/* The same with every file looked up under root ("" is the machine's own): for tests. */
int64_t lt_memory_available_under(const char *root);

#endif
