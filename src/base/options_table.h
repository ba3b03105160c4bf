/* options_table.h - what options.c and options_text.c share, nobody else.         Level 0: base */
#ifndef LT_OPTIONS_TABLE_H
#define LT_OPTIONS_TABLE_H

#include "base/options.h"

struct lt_options {
    const lt_option *table;
    size_t count;
    unsigned verb;
    char *values;
    lt_option_state *states; /* [count] */
    char **where;            /* [count], owned: "job.yaml:3: steps" or "--steps" */
    void **owned;            /* [count], the string or json_t that the value points to */
};

/* Local: 1 if the row is one of this object's verb. */
static inline int lt_option_is_here(const lt_options *o, const lt_option *row)
{
    return (row->verbs & o->verb) != 0;
}

/* Local: what a row wants, in words: "an integer from 2 to 1000". Returns buffer. */
const char *lt_option_want_text(const lt_option *row, char *buffer, size_t bytes);

#endif
