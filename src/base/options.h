/* options.h - one table makes flags, job keys, --help, checks and the dump.
 *
 * A row of the table names an option, its type and its place in a struct of the caller. The same
 * row answers `--steps 30`, `--steps=30`, `-n 30` (if it has a short key), the job file's `steps:
 * 30`, its paragraph of --help, and its line of the job.yaml that a run keeps. Flags win over the
 * job file, whatever the order of the calls; the file's value is checked all the same.
 *
 *     typedef struct knobs { int64_t steps; int64_t size[2]; const char *prompt; } knobs;
 *     static const lt_option table[] = {
 *         {.name = "steps", .type = LT_OPT_INT, .value_name = "N", .default_text = "50", .min = 2,
 *          .max = 1000, .offset = offsetof(knobs, steps), .help = "noise levels", .verbs = 1},
 *         ...
 *     };
 *     LT_TRY(lt_options_new(table, sizeof table / sizeof *table, 1, &knobs, &opts));
 *     LT_TRY(lt_options_parse_args(opts, argc, argv, words, 1, &word_count));
 *     if (word_count == 1)
 *         LT_TRY(lt_options_parse_yaml(opts, words[0]));
 *
 * Errors of a value are LT_EUSAGE with "--steps: want an integer from 2 to 1000, found "x"" or
 * "job.yaml:3: steps: want ...". An unknown name is LT_EUSAGE with the nearest known one as the
 * hint.
 *
 * All functions are Local and Blocking; the object belongs to one thread at a time. */
#ifndef LT_OPTIONS_H
#define LT_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "status.h"

typedef enum lt_option_type {
    LT_OPT_STRING, /* const char *: valid UTF-8, at most max bytes if max > 0; NULL if never set */
    LT_OPT_INT,    /* int64_t, min..max */
    LT_OPT_REAL,   /* double, finite, min..max */
    LT_OPT_FLAG,   /* int: --name, --no-name, --name=true|false */
    LT_OPT_SIZE,   /* int64_t[2]: "WxH" as width, height, each min..max */
    LT_OPT_CHOICE, /* const char *: one of choices */
    LT_OPT_PATH,   /* const char *, as a string, but any bytes: a name need not be UTF-8 */
    LT_OPT_SEED,   /* lt_seed: 0 to 2^64 - 1, or the word "random" */
    LT_OPT_LIST    /* json_t * (borrowed): a list of the job file; no flag */
} lt_option_type;

enum {
    LT_OPT_NOT_IN_JOB = 1, /* trait: a flag only, no job key, not dumped (--help, --run, -o) */
    LT_OPT_NOT_DUMPED = 2, /* trait: a job key that job.yaml does not keep */
    LT_OPT_COUNTED = 4,    /* trait of a flag: its value is how often it was given (-vv: 2) */
    LT_OPT_STOPS = 8,      /* trait of a flag: nothing after it is read or checked (--help) */
    LT_OPT_HIDDEN = 16     /* trait: works, but --help leaves it out */
};

/* A seed; drawn: 1 if the system drew it, so that the user learns of the number. */
typedef struct lt_seed {
    uint64_t number, drawn;
} lt_seed;

typedef struct lt_option {
    const char *name; /* without "--"; also the job key */
    int short_key;    /* a character, or 0 */
    lt_option_type type;
    const char *value_name;   /* what --help shows after the name: "N", "DIR" */
    const char *default_text; /* as a user would write it; NULL: zero, or a NULL string */
    const char *choices;      /* "a|b|c" of LT_OPT_CHOICE */
    double min, max;          /* both 0: no limits */
    size_t offset;            /* of the value in the caller's struct */
    const char *help;         /* one paragraph; it is wrapped */
    unsigned verbs;           /* bit mask: which have this option */
    unsigned traits;
    const char *group; /* --help's heading; rows of a group stand together */
    const char *same;  /* rows of the same word here say one thing in two ways: a flag wins
                               * over the job file's other one, one source may give only one */
} lt_option;

typedef struct lt_options lt_options;

/* Write each default into values, a struct of the caller that outlives the object, as does table.
 * Only rows with verb_bit among their verbs count from here on.
 * Errors: LT_ENOMEM; LT_EINTERNAL for a default that its own row refuses. */
lt_status lt_options_new(const lt_option *table, size_t count, unsigned verb_bit, void *values,
                         lt_options **out);
void lt_options_free(lt_options **opts); /* frees the strings that values points to */

/* Names that are not ours: what other programs call an option of ours, and what comes later. */
typedef struct lt_option_other {
    const char *name; /* "num-frames" ('_' counts as '-'), or "-m" for a short one */
    const char *hint; /* what to type here; NULL: nothing to say */
    int later;        /* 1: refused as what this version cannot do yet, LT_EUNAVAIL */
} lt_option_other;
/* Tell opts about them; table must outlive it. */
void lt_options_others(lt_options *opts, const lt_option_other *table, size_t count);

/* argv[0] is the verb and is skipped. What is no option goes to positional, in order ("--" ends the
 * options); *count of them, at most positional_max. The last one of a repeated flag counts. The
 * words stay argv's. Errors: LT_EUSAGE, LT_EUNAVAIL (an option that comes later). */
lt_status lt_options_parse_args(lt_options *opts, int argc, char *const argv[],
                                const char *positional[], size_t positional_max, size_t *count);

/* A job file, or its text (source is the name that errors show).
 * Errors: LT_ENOINPUT, LT_EDATA (not YAML), LT_EUSAGE (a key or a value). */
lt_status lt_options_parse_yaml(lt_options *opts, const char *path);
lt_status lt_options_parse_yaml_text(lt_options *opts, const char *text, size_t bytes,
                                     const char *source);

/* Set one value as a flag would. Errors: LT_EUSAGE. */
lt_status lt_options_set(lt_options *opts, const char *name, const char *text);

typedef enum lt_option_state { LT_OPT_UNSET = 0, LT_OPT_BY_FILE, LT_OPT_BY_FLAG } lt_option_state;

/* What gave the value: LT_OPT_UNSET (0) means the default stands. name must be in the table. */
lt_option_state lt_options_was_set(const lt_options *opts, const char *name);

/* Where the value was given, for messages: "--steps" (also for a default) or "job.yaml:3: steps".
 * Lives as long as opts and the value. */
const char *lt_options_where(const lt_options *opts, const char *name);

/* usage, intro and examples are printed as they are (NULL: left out), options by group in the
 * table's order with ranges and defaults. */
void lt_options_help(const lt_options *opts, FILE *to, const char *usage, const char *intro,
                     const char *examples);

/* The present values as a job file that gives them again when read: every job key that was set, has
 * a default, or holds something else than zero by now. The caller owns *out: free. Errors:
 * LT_ENOMEM. */
lt_status lt_options_dump_yaml(const lt_options *opts, char **out);

#endif
