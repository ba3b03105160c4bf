/* state_thread.h - the I/O thread: writes what it is handed, in order, while others denoise.
 *
 * It packs, writes and names state files and makes commit records; the sync thread follows it
 * (state_sync.h), which it has at its side. It calls neither MPI nor HDF5 and takes no signals. All
 * functions are for the main thread, Local; only lt_state_thread_wait and _close wait. For this
 * room. Tested: tests/unit/test_state_thread.c. */
#ifndef LT_STATE_THREAD_H
#define LT_STATE_THREAD_H

#include "run/state/state_sync.h"

typedef struct lt_state_thread lt_state_thread;

typedef struct lt_state_thread_args {
    const char *folder; /* RUN/state; copied */
    int64_t epoch, from;
    int keep;
} lt_state_thread_args;

/* A file to write. Arrays' data stays the caller's and must live until the thread is idle; the
 * head's chosen as long as the thread. */
typedef struct lt_state_write {
    lt_state_name name;
    lt_state_head head;
    lt_state_array array[LT_STATE_ARRAYS_MAX];
    int count;
    int stays;                 /* as a commit's file */
    char cache[LT_PATH_BYTES]; /* not "": a cache of this path, which is no part of any step */
    int owns;                  /* the thread frees what the arrays hold, whatever becomes of it */
} lt_state_write;

/* Errors: LT_ENOMEM, LT_EUNAVAIL. */
lt_status lt_state_thread_open(const lt_state_thread_args *args, lt_state_thread **out);
/* After what it is at; what it has not begun is dropped. NULL is allowed. */
void lt_state_thread_close(lt_state_thread **thread);

/* Queue a file. Errors: LT_ENOMEM, and then it is not queued. */
lt_status lt_state_thread_write(lt_state_thread *thread, const lt_state_write *write);
/* Queue the record of files that are whole once what was queued before is. Files whose sum has 0
 * bytes are those that this thread wrote since the last lt_state_thread_files: if one of them
 * failed, the record is not made. Takes what commit holds, also after an error. Errors: LT_ENOMEM.
 */
lt_status lt_state_thread_commit(lt_state_thread *thread, lt_commit *commit);
/* Queue a round of syncs (lt_state_sync_begin) of what was queued before. None is under way.
 * Errors: LT_ENOMEM. */
lt_status lt_state_thread_sync(lt_state_thread *thread, int64_t step);
int lt_state_thread_is_syncing(lt_state_thread *thread);
/* Of what is at its side: orders that need no turn. */
lt_state_sync *lt_state_thread_syncs(lt_state_thread *thread);

int lt_state_thread_is_busy(lt_state_thread *thread);
/* Wait for it, so long at most. 1: it is idle. */
int lt_state_thread_wait(lt_state_thread *thread, double seconds);

/* How the files fared that were queued since the last call of lt_state_thread_files_begin: the
 * first failure. The thread is idle, or busy with records alone. */
lt_state_outcome lt_state_thread_files(lt_state_thread *thread);
void lt_state_thread_files_begin(lt_state_thread *thread);
/* The sum of one of them; 0 bytes if it was not written. */
lt_state_sum lt_state_thread_sum(lt_state_thread *thread, const char *name);

/* Of caches, and of records: the first failure since this was last asked. */
lt_state_outcome lt_state_thread_caches(lt_state_thread *thread);
lt_state_outcome lt_state_thread_records(lt_state_thread *thread);

typedef struct lt_state_done {
    int64_t committed, last; /* records; step of the newest, 0: none */
    int64_t files, bytes;
} lt_state_done;
lt_state_done lt_state_thread_done(lt_state_thread *thread);

#endif
