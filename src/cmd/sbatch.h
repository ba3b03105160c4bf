/* sbatch.h - starts Slurm's sbatch, without a shell.
 * Local, Blocking. Tested: tests/film/test_submit.c. */
#ifndef LT_SBATCH_H
#define LT_SBATCH_H

#include "base/status.h"

enum { LT_SBATCH_ID_BYTES = 32, LT_SUBMIT_WORDS_MAX = 256 };

/* Is it in PATH? Errors: LT_EUNAVAIL. */
lt_status lt_sbatch_find(void);
/* Submit a script, its path absolute, with these options beside its own, at most 4, NULL behind
 * them (NULL: none). job_id: the number that Slurm gave. Errors: LT_EUNAVAIL, in sbatch's own
 * words. */
lt_status lt_sbatch(const char *script, const char *const *options,
                    char job_id[LT_SBATCH_ID_BYTES]);

#endif
