/* svg_plot.c - lines over a film's time as SVG inside a page, and text made safe for it.
 * A plot is 1000 x 170 units that the page scales. Of more points than columns, each column gets
 * the least and the largest of its points, so that one frame that jumps is seen in an hour of film.
 */
#include "cmd/svg_plot.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/text.h"

enum {
    WIDTH = 1000,
    HEIGHT = 170,
    LEFT = 56,
    RIGHT = 8,
    TOP = 8,
    BOTTOM = 22,
    COLUMNS = 936,
    BAR = 14,
    BARS_HEIGHT = TOP + 2 * BAR + 4 + 4 + BOTTOM
};
static_assert((int)COLUMNS == WIDTH - LEFT - RIGHT, "a column a unit");

/* ---- text ---- */

void lt_html_text(const char *text, FILE *to)
{
    const size_t bytes = strlen(text);
    for (size_t at = 0; at < bytes;) {
        uint32_t code = 0;
        const size_t n = lt_utf8_next(text + at, bytes - at, &code);
        const char c = text[at];
        if (n == 0 || (c != '\n' && c != '\t' && c != '\r' && !lt_text_is_safe(code)))
            (void)fputs("&#xfffd;", to);
        else if (strchr("&<>\"'", c) != NULL)
            (void)fprintf(to, "&#%d;", c);
        else if (c == '\n' || c == '\t' || c == '\r')
            (void)fputc(' ', to);
        else
            (void)fwrite(text + at, 1, n, to);
        at += n > 0 ? n : 1;
    }
}

void lt_base64(const void *data, size_t bytes, FILE *to)
{
    static const char sign[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i += 3) {
        const size_t n = bytes - i < 3 ? bytes - i : 3;
        const uint32_t word = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                              (n > 2 ? (uint32_t)p[i + 2] : 0);
        for (size_t k = 0; k < 4; k++)
            (void)fputc(k <= n ? sign[word >> (18 - 6 * k) & 63] : '=', to);
    }
}

/* ---- axes ---- */

typedef struct scale {
    double low, high;
    int is_log;
} scale;

static double scaled(const scale *s, double value) { return s->is_log ? log10(value) : value; }

static double y_of(const scale *s, double value)
{
    const double part = (scaled(s, value) - s->low) / (s->high - s->low);
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - fmin(1, fmax(0, part)));
}

static double x_of(const lt_plot *p, double seconds)
{
    return LEFT + COLUMNS * fmin(1, fmax(0, seconds / p->seconds));
}

static void stretch(scale *s, const double *values, int64_t count)
{
    for (int64_t i = 0; i < count && values != NULL; i++) {
        const double v = scaled(s, values[i]);
        if (!isfinite(v))
            continue;
        s->low = fmin(s->low, v); /* a NaN gives way */
        s->high = fmax(s->high, v);
    }
}

static scale scale_of(const lt_plot *p)
{
    scale s = {NAN, NAN, p->is_log};
    for (int i = 0; i < p->lines; i++)
        stretch(&s, p->line[i], p->count);
    stretch(&s, p->low, p->count);
    stretch(&s, p->high, p->count);
    if (isnan(s.low))
        s.low = s.high = 0;
    const double room = fmax(0.05 * (s.high - s.low), 1e-3 * fmax(1, fabs(s.high)));
    s.low -= room;
    s.high += room;
    return s;
}

/* 1, 2 or 5 times a power of ten: the first from which on at most `most` fit. */
static double nice_step(double range, int most)
{
    const double rough = range / most, ten = pow(10, floor(log10(rough)));
    const double times = rough / ten;
    return ten * (times <= 1 ? 1 : times <= 2 ? 2 : times <= 5 ? 5 : 10);
}

static void time_axis(const lt_plot *p, int height, FILE *to)
{
    const double second = nice_step(p->seconds, 10);
    for (int i = 0; i * second <= p->seconds * 1.0001 && i < 40; i++)
        (void)fprintf(to,
                      "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%.4g%s</text>",
                      x_of(p, i * second), height - 6, i == 0 ? "start" : "middle", i * second,
                      i == 0 ? " s" : "");
}

static void axes(const lt_plot *p, const scale *s, FILE *to)
{
    const double step =
        s->is_log ? fmax(1, nice_step(s->high - s->low, 4)) : nice_step(s->high - s->low, 4);
    const double first = ceil(s->low / step) * step;
    for (int i = 0; first + i * step <= s->high && i < 12; i++) {
        const double at = first + i * step, value = s->is_log ? pow(10, at) : at;
        const double y = y_of(s, value);
        (void)fprintf(
            to,
            "<path class=\"grid\" stroke=\"#ddd\" d=\"M%d %.1fH%d\"/><text class=\"tick\" x=\"%d\" "
            "y=\"%.1f\" text-anchor=\"end\">%.4g</text>",
            LEFT, y, WIDTH - RIGHT, LEFT - 6, y + 4, fabs(value) < 1e-9 ? 0 : value);
    }
    time_axis(p, HEIGHT, to);
}

/* ---- lines ---- */

static double seconds_of(const lt_plot *p, int64_t i)
{
    return p->first_second + (double)i / p->points_per_second;
}

/* Least and largest of the points of column c that are there; NaN of none. */
static void column_of(const lt_plot *p, const double *low, const double *high, int c, double *least,
                      double *largest)
{
    const double from = p->seconds * c / COLUMNS, until = p->seconds * (c + 1) / COLUMNS;
    int64_t i = (int64_t)ceil((from - p->first_second) * p->points_per_second - 1e-9);
    *least = *largest = NAN;
    for (i = i > 0 ? i : 0; i < p->count && seconds_of(p, i) < until - 1e-9; i++) {
        *least = fmin(*least, low[i]);
        *largest = fmax(*largest, high[i]);
    }
}

static void draw_points(const lt_plot *p, const scale *s, const double *values, FILE *to)
{
    int pen = 0;
    for (int64_t i = 0; i < p->count; i++) {
        if (!isfinite(scaled(s, values[i]))) {
            pen = 0;
            continue;
        }
        (void)fprintf(to, "%c%.1f %.1f", pen ? 'L' : 'M', x_of(p, seconds_of(p, i)),
                      y_of(s, values[i]));
        pen = 1;
    }
}

static void draw_columns(const lt_plot *p, const scale *s, const double *low, const double *high,
                         int joined, FILE *to)
{
    int pen = 0;
    for (int c = 0; c < COLUMNS; c++) {
        double least, largest;
        column_of(p, low, high, c, &least, &largest);
        if (isnan(least) || !isfinite(scaled(s, least)))
            continue;
        (void)fprintf(to, "%c%d %.1fV%.1f", pen && joined ? 'L' : 'M', LEFT + c, y_of(s, least),
                      y_of(s, largest) - (joined ? 0 : 0.5));
        pen = 1;
    }
}

static void marks(const lt_plot *p, int height, FILE *to)
{
    for (size_t i = 0; i < p->mark_count; i++) {
        const lt_plot_mark *m = &p->marks[i];
        (void)fprintf(to, "<path class=\"mark%s%s\" stroke=\"#888\" d=\"M%.1f %dV%d\"><title>",
                      m->is_dashed ? " dashed" : "", m->is_bad ? " bad" : "", x_of(p, m->seconds),
                      TOP, height - BOTTOM);
        lt_html_text(m->text, to);
        (void)fputs("</title></path>", to);
    }
}

static void begin_figure(const lt_plot *p, FILE *to)
{
    (void)fputs("<figure><figcaption><b>", to);
    lt_html_text(p->title, to);
    (void)fputs("</b>", to);
}

static void end_figure(const lt_plot *p, FILE *to)
{
    (void)fputs("</svg><p>", to);
    lt_html_text(p->note, to);
    (void)fputs("</p></figure>\n", to);
}

static void begin_svg(const lt_plot *p, int height, FILE *to)
{
    (void)fputs(" <span class=\"unit\">", to);
    lt_html_text(p->unit, to);
    (void)fprintf(to, "</span></figcaption><svg viewBox=\"0 0 %d %d\" role=\"img\">", WIDTH,
                  height);
}

void lt_plot_bars(const lt_plot *p, const double *from, const double *until, size_t count, FILE *to)
{
    assert(p->seconds > 0);
    begin_figure(p, to);
    begin_svg(p, BARS_HEIGHT, to);
    for (size_t i = 0; i < count; i++) {
        const double x = x_of(p, from[i]), width = x_of(p, until[i]) - x;
        (void)fprintf(to,
                      "<rect class=\"bar\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" "
                      "rx=\"3\"><title>window %zu: %.2f s to %.2f s</title></rect>",
                      x + 0.5, TOP + (int)(i % 2) * (BAR + 4), width > 2 ? width - 1 : 1, BAR,
                      i + 1, from[i], until[i]);
    }
    marks(p, BARS_HEIGHT, to);
    time_axis(p, BARS_HEIGHT, to);
    end_figure(p, to);
}

void lt_plot_svg(const lt_plot *p, FILE *to)
{
    assert(p->lines <= LT_PLOT_LINES_MAX && p->seconds > 0);
    const scale s = scale_of(p);
    begin_figure(p, to);
    for (int i = 0; i < p->lines; i++)
        if (p->name[i] != NULL) {
            (void)fprintf(to, " <span class=\"key line%d\">", i);
            lt_html_text(p->name[i], to);
            (void)fputs("</span>", to);
        }
    begin_svg(p, HEIGHT, to);
    axes(p, &s, to);
    if (p->low != NULL) {
        (void)fputs("<path class=\"wave\" stroke=\"#26a\" d=\"", to);
        draw_columns(p, &s, p->low, p->high, 0, to);
        (void)fputs("\"/>", to);
    }
    for (int i = 0; i < p->lines; i++) {
        (void)fprintf(to, "<path class=\"line line%d\" fill=\"none\" stroke=\"#26a\" d=\"", i);
        if (p->count <= COLUMNS)
            draw_points(p, &s, p->line[i], to);
        else
            draw_columns(p, &s, p->line[i], p->line[i], 1, to);
        (void)fputs("\"/>", to);
    }
    marks(p, HEIGHT, to);
    end_figure(p, to);
}
