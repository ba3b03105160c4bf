/* job.h - what the user wants: flags and a YAML file, merged.
 * Keys of the file are the long options' names, flat; flags win. The table of options is
 * src/run/job_options.c: one place for flags, YAML, --help, checks and RUN/job.yaml. */
#ifndef LT_JOB_H
#define LT_JOB_H

#include <jansson.h>

#include "base/options.h"

/* Verbs as bits of the option table. */
enum {
    LT_VERB_RENDER = 1u << 0,
    LT_VERB_PROBE = 1u << 1,
    LT_VERB_INSPECT = 1u << 2,
    LT_VERB_DECODE = 1u << 3,
    LT_VERB_DOCTOR = 1u << 4,
    LT_VERB_BENCH = 1u << 5,
    LT_VERB_METRICS = 1u << 6,
    LT_VERB_STITCH = 1u << 7,
    LT_VERB_SUBMIT = 1u << 8,
    LT_VERB_STATUS = 1u << 9,
    LT_VERB_ALL = 0x3ff
};

enum { LT_JOB_LAYERS_MAX = 100000 };

/* Strings belong to the options object. 0, 0.0 or NULL: not given. */
typedef struct lt_job {
    const char *model, *prompt, *output, *run, *codec, *mesh, *placement, *attention, *mode, *dtype,
        *vae_dtype, *device, *sheet, *wav, *preset, *log, *resume;
    const char *fuse, *anchors, *positions, *decoding;
    json_t *shots;
    double seconds, refine_from, time_limit_s;
    lt_seed seed;
    int64_t resident_layers;
    int64_t frames, shot, size[2], steps, threads, decode_tp, crf, window, overlap, fade,
        owner_cut_steps, tile[2];
    int64_t preview_every, checkpoint_every, keep_steps;
    double loudness, cut_fade_ms;
    int rework;
    int dither, overwrite, deterministic, trace, unsealed, tags, dry_run;
    /* diagnostics, every verb */
    int quiet, verbose, json, help;
    /* probe */
    const char *in, *out, *text_file;
    int64_t repeat;
    /* bench */
    const char *op, *bytes;
    double budget_s;
    /* metrics */
    const char *joins, *tile_columns, *tile_rows, *report;
    int64_t period;
    /* submit */
    const char *partition, *account, *qos, *time;
    int64_t nodes, ranks_per_node, cpus_per_rank, requeues;
    int array;
} lt_job;

extern const lt_option lt_job_options[];
extern const int lt_job_option_count;
/* job_names.c: names that are not ours, for lt_options_others. */
extern const lt_option_other lt_job_others[];
extern const size_t lt_job_other_count;

#endif
