/* slurm_script.h - the batch scripts that `longtake submit` writes, and what is checked for them.
 *
 *     #!/bin/bash                 #SBATCH lines: numbers and names that were checked
 *     cd -- '...'                 words of the user, each quoted for bash by slurm_quote's rules
 *     job='...' run='...' ...
 *     set -- '--steps' '20'
 *     # ---- ...                  from here on the same in every script, and in slurm/NAME.sbatch
 *
 * One script serves first start and requeue alike: `render JOB --resume RUN` starts the run if RUN
 * isn't there. Slurm's count of restarts decides nothing about a run; who owns it is known by its
 * leases alone.
 *
 * Functions are Local; host memory. Tested: tests/unit/test_slurm_script.c, film/test_submit.c. */
#ifndef LT_SLURM_SCRIPT_H
#define LT_SLURM_SCRIPT_H

#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

typedef enum lt_slurm_role {
    LT_SLURM_RENDER, /* one film, all ranks of one job */
    LT_SLURM_ARRAY   /* as a task of an array: a shot; else: the film of all shots */
} lt_slurm_role;

/* What a script is made of; all is borrowed. Numbers that are 0 and texts that are NULL are left
 * out. */
typedef struct lt_slurm_job {
    const char *program,
        *folder; /* absolute: longtake, and where the job file's names count from */
    const char *job_file, *run, *output; /* absolute */
    const char *partition, *account, *qos;
    int64_t nodes, ranks_per_node, cpus_per_rank, requeues;
    int64_t seconds;         /* of the time limit */
    int64_t shots;           /* of the storyboard: tasks of the array */
    int overwrite;           /* the user's --overwrite */
    const char *const *more; /* [more_count], words for render */
    size_t more_count;
} lt_slurm_job;

/* "90" (minutes), "90:30", "4:00:00", "2-12", "2-12:30", "2-12:30:00", as sbatch's --time; to whole
 * seconds, from a minute to a year. option names the flag in messages. Errors: LT_EUSAGE. */
lt_status lt_slurm_seconds(const char *option, const char *text, int64_t *out);
/* A name that Slurm may be told: letters, digits and . _ , + - @, and no - in front. Errors:
 * LT_EUSAGE. */
lt_status lt_slurm_check_name(const char *option, const char *text);

/* One word for bash, whatever its bytes: in single quotes, or, where a terminal would obey
 * something in it or it is no UTF-8, as $'...' with \xHH, so that a script is clean text. */
void lt_slurm_quote(FILE *to, const char *word);

/* The script. Writing errors are to's. */
void lt_slurm_script(const lt_slurm_job *job, lt_slurm_role role, FILE *to);

/* The line behind which scripts of one role are the same. */
#define LT_SLURM_SAME "# ---- from here on the same in every script ----\n"

/* When a run with this time limit stops itself, in seconds from its start, and how long before the
 * limit Slurm's own signal is asked for. That may be a minute early or late; where there is room
 * for it, the run's clock is first all the same. */
void lt_slurm_margins(int64_t seconds, int64_t *time_limit, int64_t *signal_before);

#endif
