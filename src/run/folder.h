/* folder.h - the run folder: what was asked, decided, used, and made.             Level 4: run
 * Layout: DESIGN section 7. Rank 0 only, Blocking. */
#ifndef LT_FOLDER_H
#define LT_FOLDER_H

#include "base/file.h"
#include "run/plan.h"

/* Can OUT be made, and is RUN free? Touches nothing that stays. overwrite: an older run there is
 * fine. Errors: LT_ECREATE naming the path, wanted, found. */
lt_status lt_folder_check(const lt_plan *plan, int overwrite);
/* The part of it that concerns OUT: all that a decode needs. */
lt_status lt_folder_check_output(const lt_plan *plan);
/* Make RUN with job.yaml (its text) and plan.json. With overwrite the older run's files go first.
 */
lt_status lt_folder_make(const lt_plan *plan, const char *job_yaml, int overwrite);
/* RUN/name. Errors: LT_EUSAGE when it is too long. */
lt_status lt_folder_path(const lt_plan *plan, const char *name, char *out, size_t bytes);

/* manifest.json: software, machine, model files with sizes, times of change and hashes, mesh, seed,
 * and more, fields that the caller adds (borrowed; may be NULL). Errors: LT_ECREATE, LT_EIO. */
lt_status lt_folder_manifest(const lt_plan *plan, const lt_group *world, json_t *more);

/* Make the finished file appear as plan->output: a link, or a copy where the file system is
 * another. A film that has grown as OUT.part is renamed. */
lt_status lt_folder_publish(const lt_plan *plan, const char *film);

#endif
