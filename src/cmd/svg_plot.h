/* svg_plot.h - lines over a film's time as SVG inside a page, and text made safe for it.
 * Local, never fail: what cannot be written the stream remembers.
 * Tested: tests/film/test_metrics.c. */
#ifndef LT_SVG_PLOT_H
#define LT_SVG_PLOT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { LT_PLOT_LINES_MAX = 3 };

/* A place that is marked. */
typedef struct lt_plot_mark {
    double seconds;
    int is_dashed, is_bad;
    const char *text; /* shown when it is pointed at; escaped here */
} lt_plot_mark;

typedef struct lt_plot {
    const char *title, *note;              /* a heading, and what is to be seen; escaped here */
    const double *line[LT_PLOT_LINES_MAX]; /* [count] each; NaN: a gap */
    const char *name[LT_PLOT_LINES_MAX];   /* for the legend; NULL where one line needs none */
    int lines;
    const double *low, *high; /* instead of lines: what lies between is filled; [count] */
    int64_t count;
    double points_per_second, first_second; /* point i is at first_second + i / points_per_second */
    double seconds;                         /* the film's length: the axis */
    int is_log;                             /* the values are positive, the axis is logarithmic */
    const char *unit;
    const lt_plot_mark *marks;
    size_t mark_count;
} lt_plot;

void lt_plot_svg(const lt_plot *plot, FILE *to);

/* Windows as bars over the same time axis, neighbours on two rows in turn, so that what they share
 * is seen; the plot's title, note, unit, seconds and marks alone count. from, until [count]:
 * seconds. */
void lt_plot_bars(const lt_plot *plot, const double *from, const double *until, size_t count,
                  FILE *to);

/* Text from outside as HTML's: its five signs escaped, a line break as a space, and what is no
 * UTF-8 or what no reader shows (base/text.h) as U+FFFD. */
void lt_html_text(const char *text, FILE *to);

/* Bytes in base 64 (RFC 4648), for a data URI. */
void lt_base64(const void *data, size_t bytes, FILE *to);

#endif
