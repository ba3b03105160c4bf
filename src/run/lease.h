/* lease.h - a run folder and an output belong to one process until it ends.
 *
 * A lease is a file that names its owner (host, boot, process, start time), whole from the moment
 * that it is there, in a folder of leases under its number, the epoch:
 *
 *   RUN/lease/000003          a run's. All stay: the next owner's epoch is the highest +
 *                             1, so it goes up for ever; state and commits of the run bear it
 *   RUN/lease/000003.ended    its second name, which says that its owner let go
 *   DIR/.longtake-use-HASH/000001    an output's, beside DIR/OUT (HASH is of OUT's name). Gone when
 *                             its owner ends
 *
 * To resume a run, its next number is taken whoever holds it and wherever that is; the older copy,
 * if it still runs, asks for that number (lt_lease_ask, run/resume/fence.h) before anything of it
 * counts, and ends. An output that an owner of this run holds gives way to the newer copy, too.
 *
 * To take a place otherwise: look at the highest epoch; unless its owner has ended, fail; make
 * highest + 1 by a call that fails if it is there (link(2), base/new_file.h); look again, and let
 * go if a higher one has come. Two that come at the same moment, also for a dead owner's place,
 * make the same name, so one of them wins. No file locks: Lustre, NFS and containers have them or
 * not.
 *
 * Let go of an output: its folder of leases is renamed first and emptied then, so that no process
 * finds it half empty and begins again at 1 beside one that still counts on from the old one.
 *
 * base/owner.h finds whether an owner has ended, never by a clock. On another host, or in
 * another container, it cannot: then the place is refused, and the hint says what to remove.
 * Rank 0 only, Blocking. Tested: tests/unit/test_lease.c, tests/faults/test_two_at_once.c,
 * tests/faults/test_fence.c. */
#ifndef LT_LEASE_H
#define LT_LEASE_H

#include <stdint.h>

#include "base/file.h"
#include "base/owner.h"

enum { LT_LEASE_NAME_BYTES = 48 };

typedef struct lt_lease {
    int held;    /* 0: zero-initialised, or let go */
    int passing; /* 1: an output's */
    int folder;  /* descriptor of the folder of leases */
    int home;    /* of the folder that holds it */
    int64_t epoch;
    char mine[LT_LEASE_NAME_BYTES];  /* "000003" */
    char next[LT_LEASE_NAME_BYTES];  /* "000004" */
    char name[LT_LEASE_NAME_BYTES];  /* of the folder of leases */
    char ended[LT_LEASE_NAME_BYTES]; /* "000003.ended", or the folder's last name */
} lt_lease;

/* Take RUN, which must be there, or the output at path. option is for messages ("-o").
 * Errors: LT_ECREATE naming host and process of an owner that still runs, or of one that cannot be
 * looked up from here, with the remedy. */
lt_status lt_lease_run(const char *run, lt_lease *out);
lt_status lt_lease_output(const char *option, const char *path, lt_lease *out);

/* Take RUN to resume it, by its number alone. When two come at once the higher number has it.
 * Errors: LT_ECREATE (it cannot be made); LT_EUNAVAIL (a newer copy came at the same time). */
lt_status lt_lease_run_over(const char *run, lt_lease *out);
/* From here on outputs and runs that an owner of RUN, of whatever number, holds are free. */
void lt_lease_give_way(const char *run);
/* Is it still the highest? A call that the file system's server answers, not a cache. Thread-safe.
 * Errors: LT_EUNAVAIL naming number, process and host of the newer owner; LT_EIO. */
lt_status lt_lease_ask(const lt_lease *lease);

/* Who holds a run, or held it last. */
typedef struct lt_lease_holder {
    int64_t epoch; /* 0: nobody ever did */
    int ended;     /* it let go */
    lt_owner owner;
    lt_owner_state state;
} lt_lease_holder;
/* Errors: LT_ENOINPUT (the leases cannot be read). */
lt_status lt_lease_look(const char *run, lt_lease_holder *out);

/* Could it be taken now? Makes nothing. Errors: as above. */
lt_status lt_lease_run_free(const char *run);
lt_status lt_lease_output_free(const char *option, const char *path);
/* Is there a lease of ours in this folder, of any owner: is it a run's? */
int lt_lease_marks(const char *run);

/* Let go. Also on every way that the process ends in order, by lt_new_file_abandon; after a kill
 * the next taker sees that the owner has ended. */
void lt_lease_end(lt_lease *lease);

#endif
