/* state_sync.h - the sync thread: brings to the disk what the I/O thread has written, and removes
 * what no step that stays needs.
 *
 * A sync of a small file takes as long as many small steps, and while a file system writes its
 * journal so does a removal: neither may hold up the next step's file. So the I/O thread writes and
 * names (state_thread.h), and this one follows:
 *
 *     I/O     11 12 13 14 15 16 17 18 19      a step counts: a kill loses no byte of it
 *     sync       [---- 12 ----]  [---- 17     it is durable: a power failure loses none either
 *
 * One round of syncs at a time, of the newest `keep` steps that are there when it begins, and of
 * what stays; the steps between two rounds go as newer ones count. It calls neither MPI nor HDF5
 * and takes no signals. Functions are thread-safe, Local; only lt_state_sync_close waits. For this
 * room. Tested: tests/unit/test_state_thread.c. */
#ifndef LT_STATE_SYNC_H
#define LT_STATE_SYNC_H

#include <pthread.h>

#include "run/state/state_folder.h"

enum { LT_STATE_TEXT_BYTES = 256 };

/* What became of a status, in words; LT_OK: no words. */
typedef struct lt_state_outcome {
    lt_status status;
    char text[LT_STATE_TEXT_BYTES];
} lt_state_outcome;

/* The first failure stays; the thread's error is cleared. */
void lt_state_outcome_keep(lt_state_outcome *outcome, lt_status st);

typedef struct lt_state_sync lt_state_sync;

/* folder: RUN/state. epoch, from, keep: as lt_state_prune's. Errors: LT_ENOMEM, LT_EUNAVAIL. */
lt_status lt_state_sync_open(const char *folder, int64_t epoch, int64_t from, int keep,
                             lt_state_sync **out);
/* After the sync it is at, and what is still to be removed. NULL is allowed. */
void lt_state_sync_close(lt_state_sync **sync);

/* A file has its name: the next rounds are to sync it. stays: whatever comes after step `step`.
 * Errors: LT_ENOMEM. */
lt_status lt_state_sync_add(lt_state_sync *sync, const char *path, int64_t step, int stays);
/* Begin a round, for a step and those before it. The last one is behind. */
void lt_state_sync_begin(lt_state_sync *sync, int64_t step);
int lt_state_sync_is_busy(lt_state_sync *sync);
/* How the last round went. */
lt_state_outcome lt_state_sync_outcome(lt_state_sync *sync);

/* A step is durable on all ranks; 0: none has become so. Rank 0's. */
void lt_state_sync_durable(lt_state_sync *sync, int64_t step);
/* A step counts: what it makes needless goes soon. Rank 0's, by the I/O thread: which removes
 * itself where a round lasts so long that much has come together. */
void lt_state_sync_prune(lt_state_sync *sync);

/* All threads of this room: run `work`, signals blocked. Returns errno's number. */
int lt_state_thread_start(pthread_t *thread, void *(*work)(void *), void *argument);

#endif
