/* folder.h - the run folder: what was asked, decided, used, and made.
 * Layout: DESIGN section 7. Rank 0 only, Blocking. */
#ifndef LT_FOLDER_H
#define LT_FOLDER_H

#include "base/new_file.h"
#include "run/lease.h"
#include "run/plan.h"

/* Is RUN free? It is not there and can be made; or it is a folder of this user, which no other
 * may write in, and holds no run, or with overwrite an older one, or one without latents that the
 * same job (its text, job_yaml) began; and no process is at work in it. A folder that holds files
 * of the names that a run makes is a run only if plan.json or a lease says so; else it is left
 * alone. Touches nothing that stays. Errors: LT_ECREATE naming the path, wanted, found; LT_EUSAGE
 * (an empty name).
 */
lt_status lt_folder_check(const lt_plan *plan, const char *job_yaml, int overwrite);
/* Make RUN, own it by a lease, look again, remove an older run's files, write job.yaml and
 * plan.json. On failure nothing stays of a folder that was made. Errors: as above; LT_EIO. */
lt_status lt_folder_make(const lt_plan *plan, const char *job_yaml, int overwrite, lt_lease *lease);
/* Own RUN, which holds a run, to go on with it, whoever has it (lease.h), and write plan.json anew.
 * Errors: LT_ECREATE, LT_EIO; LT_EUNAVAIL (a newer copy came at the same time). */
lt_status lt_folder_go_on(const lt_plan *plan, lt_lease *lease);
/* RUN/name. Errors: LT_EUSAGE when it is too long. */
lt_status lt_folder_path(const lt_plan *plan, const char *name, char *out, size_t bytes);

/* Nobody but this user may put anything into RUN. Errors: LT_ECREATE with the remedy. */
lt_status lt_folder_check_owner(const lt_plan *plan);

/* Make the finished film, RUN/out.SUFFIX, appear as plan->output too: a copy (its blocks shared
 * where the file system can), so that editing one of them in place leaves the other alone. Where
 * there is no room for two, it is moved, with a warning. Errors: LT_ECREATE, LT_EIO; film stays
 * then. */
lt_status lt_folder_publish(const lt_plan *plan, const char *film, lt_replace replace);

#endif
