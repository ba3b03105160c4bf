/* run_state.h - all ranks keep what they hold of the clip, step by step, and go on from it.
 *
 *     step 11     step 12     step 13      the main threads denoise
 *           |copy       |           |
 *           '--> pack, write, rename, commit               I/O threads of rank 0 and the writers
 *                       '--> sync                          sync threads beside them
 *
 * Denoising never waits for the disk: at a step's end each group of `win` hands a copy of what it
 * owns to the I/O thread of its first rank. All ranks learn of each other, in a gather of a few
 * hundred bytes a step, whether their last file is whole; while one is not, the steps that end
 * are skipped. Once all are, rank 0 makes the commit record (state_folder.h), and from then on the
 * step counts: no kill loses it. Where rank 0's thread writes all files of a step, the record
 * follows at once. On the disk it is later (state_durable.c): then it is durable, and a power
 * failure does not lose it either. Older durable steps stay until there is a newer one.
 *
 * What later steps do not repeat (a chunk of `extend`, a shot of a storyboard) is never skipped:
 * it waits, a copy in memory, until it is written, and no later step counts before. What
 * cannot be written (a full disk) is told in a warning; the run goes on, and the older steps stand.
 * A copy that a newer one has overtaken makes no file any more (run/resume/fence.h).
 *
 * RUN need be seen by rank 0 only: a rank that does not find rank 0's token file in RUN/state sends
 * its part to rank 0 by request, whose thread writes it. Going on, rank 0 reads and hands out, to
 * ranks and meshes of any number: parts are ranges of the clip's time axes.
 *
 * An I/O thread calls neither MPI nor HDF5 and takes no signals. The rest is for the main thread.
 * Tested: tests/ranks/test_state_ranks.c, tests/faults/test_state_days.c. */
#ifndef LT_RUN_STATE_H
#define LT_RUN_STATE_H

#include "parallel/mesh.h"
#include "run/denoise/clip.h"
#include "run/state/state_folder.h"

typedef struct lt_run_state lt_run_state;

/* Rank 0's count on all ranks. All is copied. */
typedef struct lt_state_settings {
    const char *run; /* RUN, owned by this process (run/lease.h) */
    uint64_t job;    /* state_job.h */
    int64_t epoch;
    int every, keep;       /* --checkpoint-every, 0: no step is kept; --keep-steps, 1 or more */
    const char *mode;      /* of the film, for heads */
    json_t *chosen;        /* what `auto` chose, for heads; NULL: nothing */
    const lt_commit *from; /* the step that the run goes on from; NULL or zeroed: from noise */
} lt_state_settings;

/* Make RUN/state, sweep what was left unfinished there, find which ranks see it, start the I/O
 * threads. Where the folder cannot be made a warning says so, and no step will count. settings:
 * rank 0's; NULL elsewhere. Collective on mesh->world, Blocking. Errors: LT_ENOMEM, LT_EUNAVAIL (no
 * thread), LT_EPEER. */
lt_status lt_run_state_open(const lt_mesh *mesh, const lt_state_settings *settings,
                            lt_run_state **out);
/* Where the run goes on from; step 0: from noise. Local. */
lt_state_place lt_run_state_from(const lt_run_state *state);

/* Files of a step: those of a shot, of a pass of it, and of some chunks of `extend` (other modes
 * have chunk 0 alone). */
typedef struct lt_state_pick {
    int shot, pass;
    lt_range chunks;
} lt_state_pick;

/* Fill clip with what the step that the run goes on from holds of them: as many positions of the
 * clip's time axes as lie in its files; the others stay. A chunk may begin in what the one before
 * has made, and then its positions count (--fade). found [stream]: from the first position in those
 * files to the first gap. plan: the shot's (or its coarse pass's). Collective on the world,
 * Blocking. Errors: LT_EDATA (other dims than the plan's, positions twice), LT_EIO, on all
 * ranks. */
lt_status lt_run_state_restore(lt_run_state *state, const lt_plan *plan, const lt_state_pick *pick,
                               lt_clip *clip, lt_range found[LT_STREAMS_MAX]);

/* From here on the ranks of this group alone make steps (`extend` beside decoding); rank 0 is its
 * first. NULL: all do, as at the begin. state may be NULL. Local, by the group's ranks. */
void lt_run_state_meet(lt_run_state *state, lt_group *group);

/* What this rank's group of `win` has after a step. */
typedef struct lt_state_part {
    const lt_plan *plan; /* whose streams these are */
    lt_state_place place;
    const lt_clip *clip;          /* holds at least own */
    lt_range own[LT_STREAMS_MAX]; /* no unit is owned by two groups; all ranks of one say alike */
    int stays;                    /* no later step repeats it */
} lt_state_part;

/* A step has ended well on all ranks: keep it, if it is its turn. stop: this rank was asked to
 * stop; *stops: some rank was, then all stop, and the step at hand was waited for, so that it
 * counts and is durable (8 s at most). Collective on the group that makes steps, Blocking, but for
 * the disk only where it stops.
 * Errors: LT_EPEER, LT_ENOMEM. What the disk does not take is no error. */
lt_status lt_run_state_step(lt_run_state *state, const lt_state_part *part, int stop, int *stops);
/* The last step is behind: wait until all that was handed over is on the disk, `seconds` at most,
 * and commit it. Collective on the world, Blocking. Errors: as step's. */
lt_status lt_run_state_finish(lt_run_state *state, double seconds);

/* What became of the steps so far; committed and bytes on rank 0. */
typedef struct lt_state_counts {
    int64_t written, committed, skipped, failed; /* steps */
    int64_t last;                                /* the newest step of ours that counts; 0: none */
    int64_t durable;                             /* and that is on the disk */
    int64_t bytes;                               /* of files by this epoch */
} lt_state_counts;
lt_state_counts lt_run_state_counts(lt_run_state *state); /* Local */

/* Ends the thread, after the file at hand; removes the token. A NULL is allowed, also on some
 * ranks only. Local, Blocking. */
void lt_run_state_close(lt_run_state **state);

#endif
