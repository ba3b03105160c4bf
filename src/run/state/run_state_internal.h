/* run_state_internal.h - what run_state.c, state_copies.c, state_durable.c and state_restore.c
 * share. */
#ifndef LT_RUN_STATE_INTERNAL_H
#define LT_RUN_STATE_INTERNAL_H

#include "run/state/run_state.h"
#include "run/state/state_thread.h"

/* One step's part that is to become a file: this rank's copy of what its group owns. All ranks have
 * the same copies in the same order, a copy only where something is to be written. */
typedef struct lt_step_copy {
    struct lt_step_copy *next;
    lt_state_place place;
    int stays;
    int *part; /* [ranks of the world]: a rank's place on `win` if it owns some of it, else -1 */
    lt_state_array array[LT_STREAMS_MAX]; /* data owned */
    int count;                            /* arrays; 0: nothing is owned here */
    int failed;                           /* there was no memory for the copy */
} lt_step_copy;

/* A part on its way from a rank that does not see RUN to rank 0. */
typedef struct lt_remote {
    int rank, part;    /* part -1: it is with the thread */
    lt_step_copy copy; /* rank 0: what is received */
    lt_request *request[LT_STREAMS_MAX];
} lt_remote;

/* What ranks tell each other at a step's end. */
typedef struct lt_state_report {
    int64_t durable, sync_step; /* rank 0's count: others may have met no one for a while */
    int32_t part;               /* of the step at hand, as a copy's */
    int32_t busy, stop, late;
    int32_t gave_up;      /* a copy has failed since drain began */
    int32_t out, waiting; /* there are copies: rank 0's word counts, which has all of them */
    int32_t error;        /* messages failed: the run ends */
    int32_t status;       /* how the copy that is out fared here; LT_OK while it is busy */
    int32_t sync_busy;    /* this rank's syncs of the round are not behind it */
    int32_t sync_due;     /* rank 0: the next round may begin */
    int32_t sync_status;  /* how this rank's went */
    int64_t last;         /* rank 0: the step that counts */
    lt_state_sum sum;     /* of its file, where this rank's thread writes it */
    char text[LT_STATE_TEXT_BYTES], sync_text[LT_STATE_TEXT_BYTES];
} lt_state_report;

struct lt_run_state {
    const lt_mesh *mesh;
    lt_group *world, *meet;     /* meet: the ranks that make steps */
    char folder[LT_PATH_BYTES]; /* RUN/state */
    char cache[LT_PATH_BYTES];  /* rank 0: RUN/cache */
    char token[LT_PATH_BYTES];  /* rank 0's file there, "" elsewhere */
    uint64_t job;
    int64_t epoch;
    int every, keep;
    char mode[LT_STATE_WORD_BYTES];
    json_t *chosen; /* owned */
    lt_state_place from;
    lt_commit start;         /* rank 0: a copy of settings->from */
    lt_state_thread *thread; /* NULL: this rank writes no file */
    int is_on;               /* steps are kept: --checkpoint-every is not 0, RUN/state is there */
    int writes;              /* this rank is its group's first on cfg, tokens and tp */
    int *sees;               /* [ranks]: does it find RUN? */
    lt_state_report *report; /* [ranks of meet] */
    lt_step_copy *out;       /* the copy that is being written, NULL: none */
    lt_step_copy *waiting;   /* those that stay and wait for their turn, oldest first */
    int record_queued;       /* rank 0: the copy's record is in the thread's queue */
    lt_request *sending[LT_STREAMS_MAX]; /* of out, to rank 0 */
    lt_remote *remote;                   /* rank 0: [remotes] of out */
    int remotes;
    lt_commit_file *stays; /* rank 0: [stays_count] durable files that every record names */
    int stays_count;
    lt_state_counts counts;
    int gave_up, sync_gave_up; /* a copy, a round of syncs has failed since drain began */
    int64_t sync_step;         /* all ranks alike: what the round of syncs is for; 0: none is */
    int64_t durable;           /* and which of our steps is on the disk; 0: none */
    int sync_void;             /* the copy that the round was for has failed */
    int sync_waits;            /* rank 0: its part of the round follows the record */
    double sync_began;         /* rank 0: the last round */
};

/* ---- state_copies.c: a copy's way to the disk ---- */

/* Does this rank write something of a part? Then its place on `win`, else -1. Local. */
int lt_step_copy_part(const lt_run_state *state, const lt_state_part *part);
/* A copy of a part; on a rank that writes nothing an empty one. reports are of this step. Local.
 * Errors: LT_ENOMEM, but for the copy itself: then the copy says that it failed. */
lt_status lt_step_copy_new(const lt_run_state *state, const lt_state_part *part,
                           lt_step_copy **out);
void lt_step_copy_free(lt_step_copy **copy);

/* state->out begins its way: to the thread, or to rank 0. Collective on the world where a rank does
 * not see RUN, else Local. Errors: LT_ENOMEM, the transport's. */
lt_status lt_step_copy_send(lt_run_state *state);
/* Messages are looked after; what has come whole goes to the thread. Local, never waits. */
lt_status lt_step_copy_move(lt_run_state *state);
/* Is anything of it under way here, or in the thread? Local. */
int lt_step_copy_is_busy(const lt_run_state *state);
/* Rank 0: the record of state->out, with the files that stay. with_sums: all parts are durable, and
 * the reports tell those of other ranks; else the thread, which writes them all, fills them in. The
 * caller owns it; count 0: nobody owns anything. Errors: LT_ENOMEM. */
lt_status lt_step_copy_commit(const lt_run_state *state, int with_sums, lt_commit *out);
/* Its messages are done with; state->out itself stays. Local. */
void lt_step_copy_end(lt_run_state *state);

/* Which stream of the plan an array of a file is, and does it fit? Local. Errors: LT_EDATA. */
lt_status lt_state_stream(const char *path, const lt_state_array *array, const lt_plan *plan,
                          int *stream);

/* ---- state_durable.c: rounds of syncs ---- */

/* The first round, once the threads are there: what the run goes on from. Local. Errors: LT_ENOMEM.
 */
lt_status lt_durable_open(lt_run_state *state);
/* This rank's word of the round, and of the next. Local. */
void lt_durable_report(const lt_run_state *state, lt_state_report *mine);
/* A round begins, for a step whose copy has just gone out (follows: rank 0's part waits for the
 * record), or that counts already. All ranks alike; Local. Errors: LT_ENOMEM. */
lt_status lt_durable_begin(lt_run_state *state, int64_t step, int follows);
/* Rank 0: the record of state->out is with the thread. Local. Errors: LT_ENOMEM. */
lt_status lt_durable_follow(lt_run_state *state);
/* Nobody is busy with the round, by the reports: what came of it? All ranks alike; Local. */
void lt_durable_settle(lt_run_state *state);

#endif
