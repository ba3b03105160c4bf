/* resume.h - which job goes on in a run folder, and what earlier starts of it settled.
 *
 *     RUN/job.yaml     what was asked: enough to go on
 *     RUN/plan.json    where it is whole: what `auto` chose (mode, windows, dtype, steps), the
 *                      film's name and codec; else the heads of caches and states say the first
 *     RUN/manifest.json   which files the model had
 *
 * What differs in a flag, a job file or the model is refused, but for what changes no latent: mesh,
 * placement, attention, decode-tp, threads, device, codec and its quality, outputs, how often a
 * step is kept, the time limit. Compared are plans, not words: 3.75 seconds are 90 frames.
 *
 * Rank 0 only, Blocking. Tested: tests/faults/test_resume.c, test_resume_refused.c. */
#ifndef LT_RESUME_H
#define LT_RESUME_H

#include "parallel/nodes.h"
#include "run/pipeline.h"

enum { LT_JOB_BYTES_MAX = 1 << 20 };

/* RUN/job.yaml's text, the caller's; *text NULL: RUN, or the file in it, is not there. Errors:
 * LT_ENOINPUT (it cannot be read), LT_EDATA (longer than LT_JOB_BYTES_MAX). */
lt_status lt_resume_job_text(const char *run, char **text, size_t *bytes);

/* Zero-initialise; lt_resume_end is always allowed. */
typedef struct lt_resume {
    lt_job job;      /* what holds: the caller's, with what was settled */
    int goes_on;     /* RUN holds a run, which this start goes on with */
    int is_done;     /* its film is there: nothing to do */
    int has_latents; /* RUN/latents.h5 is there */
    int has_settled; /* plan.json was whole */
    lt_plan settled; /* of plan.json, with its text */
    json_t *chosen;  /* where it was not, of a head; NULL: nothing is known */
    char output[LT_PATH_BYTES];
} lt_resume;

/* Read RUN (job->resume, which is job->run by now); without --resume only job is copied. Errors:
 * LT_ENOMEM. */
lt_status lt_resume_begin(const lt_job *job, const lt_options *options, int ranks, lt_resume *out);
void lt_resume_end(lt_resume *resume);

/* Is it the job, and the model, that RUN began with? Warns where RUN does not say. Errors:
 * LT_EUSAGE (a flag), LT_EDATA (a job file, the model), naming key, wanted, found. */
lt_status lt_resume_check(const lt_resume *resume, const lt_options *options, const lt_model *model,
                          const lt_nodes *nodes, const lt_plan *draft);

/* What is said of a run that was finished: film, frames, seconds by stage, of RUN's own files.
 * Errors: LT_EDATA. */
lt_status lt_resume_done(const lt_resume *resume, lt_outcome *out);

#endif
