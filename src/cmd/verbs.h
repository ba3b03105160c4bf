/* verbs.h - the command line's verbs, one file each.
 * A verb gets the words from its own name on and answers on stdout. It returns a status; main
 * prints the error and turns it into the exit code. */
#ifndef LT_VERBS_H
#define LT_VERBS_H

#include "parallel/transport/transport.h"
#include "run/job.h"

typedef struct lt_verb {
    const char *name;
    unsigned bit;
    int collective;    /* runs on all ranks of the launcher; else alone, and run's world is NULL */
    int reads_latents; /* opens a latents.h5: its reader begins before MPI (run/store_hdf5.h) */
    const char *summary, *usage, *intro, *examples;
    const char *words; /* those that its first word is one of, for completion; NULL: files */
    /* Before run, where the verb has it: completes the options (render's job file), so that run
     * gets all of them const. words: what is no option. */
    lt_status (*complete)(lt_options *options, const lt_job *job, const char *const *words,
                          size_t word_count, lt_group *world);
    lt_status (*run)(const lt_job *job, const lt_options *options, const char *const *words,
                     size_t word_count, lt_group *world);
} lt_verb;

extern const lt_verb lt_verb_render, lt_verb_probe, lt_verb_inspect, lt_verb_decode, lt_verb_doctor,
    lt_verb_bench, lt_verb_metrics, lt_verb_stitch, lt_verb_submit, lt_verb_status;

#endif
