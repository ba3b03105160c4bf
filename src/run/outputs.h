/* outputs.h - the files that a job names, and the room that they need.
 * All of it is tried before work, by making files where they will be made. Rank 0 only, Blocking.
 * Tested: tests/faults/test_outputs.c. */
#ifndef LT_OUTPUTS_H
#define LT_OUTPUTS_H

#include "base/new_file.h"
#include "run/lease.h"
#include "run/plan.h"

enum { LT_OUTPUTS_MAX = 6 };

typedef struct lt_output {
    const char *option; /* "-o", for messages */
    const char *path;   /* the caller's */
    lt_lease lease;
} lt_output;

/* Zero-initialise. It must not move while leases are held. */
typedef struct lt_outputs {
    lt_output at[LT_OUTPUTS_MAX];
    int count;
    lt_replace replace;
} lt_outputs;

/* One more; path NULL: none. suffix, if not NULL, must end it, in letters of any case.
 * Errors: LT_EUSAGE (another suffix, an empty name). */
lt_status lt_outputs_add(lt_outputs *all, const char *option, const char *path, const char *suffix);

/* Each can be made, none is another or the folder run (NULL: none), none is there (unless they may
 * be replaced) or in use. Errors: LT_EUSAGE (two names of one place), LT_ECREATE. */
lt_status lt_outputs_check(const lt_outputs *all, const char *run);

/* Own them until lt_outputs_end. Errors: LT_ECREATE (in use; there by now); nothing is held then.
 */
lt_status lt_outputs_take(lt_outputs *all);
void lt_outputs_end(lt_outputs *all);

/* Is there room on each file system for what the job writes there, may a file be as long (ulimit
 * -f), and as many be open (ulimit -n)? What is certain (audio, latents before compression) and
 * does not fit is refused, what is estimated (the film) gets a warning. run: the folder, for a
 * render; NULL: a decode. The film is at[0]. Errors: LT_ECREATE naming folder, wanted and free
 * bytes; LT_EUNAVAIL (ulimit -n). */
lt_status lt_outputs_room(const lt_outputs *all, const lt_plan *plan, const char *run);

/* --log is made before the rest is known: is it none of the job's other files? Errors: LT_EUSAGE.
 */
lt_status lt_outputs_check_log(const lt_job *job);

#endif
