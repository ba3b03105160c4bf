/* new_file.h - the one way to make a file.
 *
 * A file is made new, in the folder that shall hold it, under a name of its own that nobody can
 * foresee (O_CREAT, O_EXCL, O_NOFOLLOW), through a descriptor of that folder: whatever others plant
 * at the wanted name, or in the folder's place, is never opened, never written through. It gets the
 * wanted name when its bytes are on disk, so it appears whole or not at all:
 *
 *     lt_new_file f;
 *     LT_TRY(lt_new_file_open(path, &f));
 *     lt_status st = lt_file_write_full(f.fd, path, data, bytes);
 *     if (st == LT_OK)
 *         st = lt_new_file_done(&f, LT_KEEP);
 *     lt_new_file_drop(&f);                    does nothing after done
 *
 * LT_KEEP: what has the wanted name already stays, and the file fails with LT_ECREATE. LT_REPLACE:
 * a regular file or a link of that name (the link itself, never what it points to) gives way. A
 * folder, FIFO, socket or device never does.
 *
 * Own names begin with LT_NEW_FILE_PREFIX and say whose they are: lt_new_file_sweep removes those
 * of processes that have ended. All functions are Local, Blocking and thread-safe on files of their
 * own. Nothing in the program opens a file for writing in any other way (tests/tidy).
 * Tested: tests/unit/test_new_file.c. */
#ifndef LT_NEW_FILE_H
#define LT_NEW_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/status.h"

#define LT_NEW_FILE_PREFIX ".longtake-new-"
enum { LT_NAME_BYTES = 256, LT_NEW_FILE_OWN_BYTES = 112 };

typedef enum { LT_KEEP, LT_REPLACE } lt_replace;

/* Zero-initialise or open it; then lt_new_file_drop is always allowed. */
typedef struct lt_new_file {
    int fd;     /* for reading and writing, at offset 0; the caller may write through it */
    int folder; /* the wanted folder's descriptor */
    int slot;   /* 1 + its place in the table of unfinished files; 0: none */
    int is_open, shown;
    uint64_t device, inode; /* what was made, to know it again */
    char own[LT_NEW_FILE_OWN_BYTES];
    char name[LT_NAME_BYTES];
    char path[LT_PATH_BYTES]; /* as the caller named it, for messages */
} lt_new_file;

/* Make it, empty, with mode 0666 less the umask. Errors: LT_ECREATE naming path and why (no such
 * folder, no room, read-only, a name that is empty or too long, a folder or a device of that name).
 */
lt_status lt_new_file_open(const char *path, lt_new_file *out);

/* Give the file its wanted name now, while it goes on growing. Errors: LT_ECREATE. */
lt_status lt_new_file_show(lt_new_file *file, lt_replace replace);

/* Bytes on disk, the name (unless it was shown), the folder's entry on disk; closes. On failure
 * nothing is left. Errors: LT_EIO (a full disk may show only here), LT_ECREATE. */
lt_status lt_new_file_done(lt_new_file *file, lt_replace replace);

/* The same without waiting for the disk: from now on the file is whole for every process, also if
 * this one is killed. A power failure may leave it empty, cut short or not at all, until
 * lt_new_file_sync has come back for the file and for its folder: for files whose readers ask a
 * checksum. Errors: as done. */
lt_status lt_new_file_place(lt_new_file *file, lt_replace replace);
/* What a file or a folder holds by now is on the disk when this comes back. Errors: LT_ENOINPUT (it
 * is not there), LT_EIO. */
lt_status lt_new_file_sync(const char *path);

/* Close and remove what is unfinished, also one that was shown. Does nothing after done. */
void lt_new_file_drop(lt_new_file *file);

/* A path by which a library opens the same file, even if it is renamed meanwhile: of /proc, or,
 * where that is not mounted, the folder's and own name. Errors: LT_EUSAGE (too long). */
lt_status lt_new_file_via(const lt_new_file *file, char *out, size_t bytes);

/* A file that never has a name of the caller's: scratch space in path's folder, gone when the
 * descriptor is closed, however the process ends. The caller closes *fd. Errors: LT_ECREATE. */
lt_status lt_new_file_scratch(const char *path, int *fd);

/* A whole file from memory. Errors: as open and done. */
lt_status lt_new_file_write(const char *path, const void *data, size_t bytes, lt_replace replace);
/* The same, placed: the disk is not waited for. Errors: as open and place. */
lt_status lt_new_file_put(const char *path, const void *data, size_t bytes, lt_replace replace);

/* Give a file that is whole another name, on the same file system. Errors: LT_ECREATE. */
lt_status lt_new_file_move(const char *from, const char *path, lt_replace replace);

/* Open a file of ours that is there, to read it and append to it: a regular file of this user or
 * its folder's owner with no second name, never through a link. The caller knows whether the
 * folder is this user's. The caller closes *fd. Errors: LT_ECREATE. */
lt_status lt_own_file_append(const char *path, int *fd);

/* Could it be made? Makes and removes a file of its own there, and looks at what has the name.
 * option names the flag in messages ("-o"). Errors: LT_ECREATE naming option, path and why; with
 * LT_KEEP also if something has that name, with the hint --overwrite. */
lt_status lt_new_file_try(const char *option, const char *path, lt_replace replace);

/* Remove what ended processes left unfinished in a folder. Never fails: what cannot be removed
 * stays. */
void lt_new_file_sweep(const char *folder);

/* Asked before any file of this process gets the name that its caller wants, by whatever thread;
 * NULL: nobody is asked. What is no LT_OK fails the file, and no name changes. */
void lt_new_file_guard(lt_status (*may)(void));
/* What it says now: for who removes files that another process may need. */
lt_status lt_new_file_ask(void);

/* Before the process leaves without unwinding (_exit, MPI_Abort): remove what is unfinished. Safe
 * in a signal handler. */
void lt_new_file_abandon(void);
/* A function that gives something back then (a lease); safe in a signal handler. */
void lt_new_file_at_abandon(void (*also)(void));

#endif
