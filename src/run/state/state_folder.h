/* state_folder.h - RUN/state: which steps a run can go on from.
 *
 *     step-000012.e003.w003.lt    after step 12, by epoch 3: what the ranks of place 3 on the axis
 *                                 `win` own of the clip (state_file.h). In `extend` the last step
 *                                 of a chunk, in a storyboard that of a shot, holds what later
 *                                 steps do not repeat: it stays
 *     step-000012.e003.commit     JSON: the files that make step 12 whole, with size and xxh64,
 *                                 those of finished chunks and shots among them. It is made once
 *                                 all of them have their names: then the step counts
 *     .longtake-new-...           unfinished (base/new_file); gone with the next owner's sweep
 *
 *     {"format": "longtake-commit", "version": 1, "job": "0123456789abcdef", "epoch": 3,
 *      "step": 12, "steps": 20, "shot": 0, "pass": 0, "chunk": 0,
 *      "files": [{"file": "step-000012.e003.w000.lt", "bytes": 5120, "xxh64": "...",
 *                 "stays": false}, ...]}
 *
 * Units of the clip are in one file of a commit each. Functions are Local and Blocking; none calls
 * MPI or HDF5. Messages name file, field, wanted and found. Tested: tests/unit/test_state_folder.c.
 */
#ifndef LT_STATE_FOLDER_H
#define LT_STATE_FOLDER_H

#include "run/state/state_file.h"

enum { LT_STATE_NAME_BYTES = 64, LT_COMMIT_FILES_MAX = 1 << 16 };

typedef struct lt_state_name {
    int64_t step, epoch;
    int part; /* place on `win`; -1: a commit record */
} lt_state_name;

/* The file's name, into out, which is returned. */
const char *lt_state_name_text(const lt_state_name *name, char out[LT_STATE_NAME_BYTES]);
/* And back: 1 if it is just such a name, else 0. */
int lt_state_name_parse(const char *text, lt_state_name *out);

typedef struct lt_commit_file {
    char name[LT_STATE_NAME_BYTES];
    lt_state_sum sum;
    int stays; /* later steps need it too: a finished chunk, or shot */
} lt_commit_file;

/* A zeroed one: the run's start. */
typedef struct lt_commit {
    uint64_t job;
    int64_t epoch;
    lt_state_place place;
    lt_commit_file *file; /* [count] owned */
    int count;
} lt_commit;

void lt_commit_free(lt_commit *commit);
/* Make FOLDER/step-...commit, whole; the disk is not waited for (state_sync.h). Errors:
 * LT_ECREATE, LT_EIO, LT_ENOMEM. */
lt_status lt_commit_write(const char *folder, const lt_commit *commit);
/* The caller owns *out, also after an error. Errors: LT_ENOINPUT, LT_EDATA (its name says another
 * step or epoch, too), LT_ENOMEM. */
lt_status lt_commit_read(const char *path, lt_commit *out);

/* The newest step of this job in RUN/state whose files are all there and whole (each is read):
 * highest step, then highest epoch. One that is not (a power failure came before it was on the
 * disk, say) is named in a warning, and an older one taken;
 * *out is zeroed where none is left, or no folder that can be listed: the run starts from noise.
 * The caller owns *out. Rank 0 only. Errors: LT_ENOMEM. */
lt_status lt_state_find(const char *run, uint64_t job, lt_commit *out);

/* What is known of the steps of a run of this epoch, which went on from step `from`. */
typedef struct lt_state_marks {
    int64_t epoch, from;
    int keep;        /* 1 or more */
    int64_t durable; /* the newest step of this epoch that is on the disk; 0: none is known to be */
    int64_t syncing; /* the one that is on its way there; 0: none */
} lt_state_marks;

/* Of steps that the run may go on from again the last `keep` stay, the last `keep` up to the
 * durable one and as many up to the one that is being synced; until a step of its own is durable,
 * all of earlier epochs. Commit records of other steps go, then files that no record names and
 * that this epoch does not still write, those behind its newest record. What newer epochs made is
 * left alone, and so is everything of another name. Never fails: what cannot be removed stays. */
void lt_state_prune(const char *folder, const lt_state_marks *marks);

/* The token of a start (run_state.h): ".here.e003". Returns out. */
const char *lt_state_token(int64_t epoch, char out[LT_STATE_NAME_BYTES]);
/* Remove what starts that have ended left in the folder: unfinished files, tokens. Never fails. */
void lt_state_sweep(const char *run);
/* Does RUN/state hold a commit record, of whatever job? Never fails. */
int lt_state_any(const char *run);
/* Remove all that lies in RUN/state and RUN/cache under names of ours, and the folders if nothing
 * else is in them: --overwrite. Never fails. */
void lt_state_clear(const char *run);

#endif
