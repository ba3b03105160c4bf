/* options_table.h - what options*.c share, no other file. */
#ifndef LT_OPTIONS_TABLE_H
#define LT_OPTIONS_TABLE_H

#include <jansson.h>

#include "base/options.h"

struct lt_options {
    const lt_option *table;
    size_t count;
    unsigned verb;
    char *values;
    lt_option_state *states;       /* [count] */
    char **where;                  /* [count], owned: "job.yaml:3: steps" or "--steps" */
    void **owned;                  /* [count], the string or json_t that the value points to */
    const lt_option_other *others; /* [other_count], names that are not ours */
    size_t other_count;
};

/* Local: 1 if the row is one of this object's verb. */
static inline int lt_option_is_here(const lt_options *o, const lt_option *row)
{
    return (row->verbs & o->verb) != 0;
}

/* Local: check text by row i and write its value; on failure the old value stays. where begins the
 * message. Errors: LT_EUSAGE. */
lt_status lt_option_take_text(lt_options *o, size_t i, const char *where, const char *text);
/* Local: the same of a job file's value. */
lt_status lt_option_take_json(lt_options *o, size_t i, const char *where, json_t *value);

/* Local: the value of row i as the job file has it. The caller owns *out: free. */
lt_status lt_option_value_text(const lt_options *o, size_t i, char **out);

/* Local: what a row wants, in words: "an integer from 2 to 1000". Returns buffer. */
const char *lt_option_want_text(const lt_option *row, char *buffer, size_t bytes);

#endif
