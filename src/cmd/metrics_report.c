/* metrics_report.c - a film's figures as one page for people.
 * From the top: what it is and its verdict, small frames, plots over time with the joins marked,
 * the joins one by one, the drift, the run. */
#include "cmd/metrics_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cmd/answer.h"
#include "cmd/metrics_answer.h"
#include "cmd/svg_plot.h"
#include "media/contact_sheet.h"

enum { SHEET_COLUMNS = 6, SHEET_ROWS = 2, MARKS_MAX = 2000, TABLE_ROWS_MAX = 2000 };

/* No script, nothing from outside: the page's own policy, held by every browser. */
static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";

static const char style[] =
    "<style>\n"
    ":root{--back:#f6f5f2;--card:#fff;--ink:#1d1f23;--soft:#6b6f76;--rule:#e3e1dc;--a:#2563a8;"
    "--b:#c2621b;--c:#3f8f4f;--good:#2f7d46;--bad:#c0312b;--mark:#8a8f98}\n"
    "@media(prefers-color-scheme:dark){:root{--back:#15171b;--card:#1e2126;--ink:#e8e6e1;"
    "--soft:#9a9ea6;--rule:#30343b;--a:#79b3f0;--b:#f0a060;--c:#7fce8f;--good:#7fce8f;"
    "--bad:#ff7a70;--mark:#6f7580}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);"
    "font:16px/1.5 system-ui,sans-serif}main{max-width:1080px;margin:0 auto;padding:32px 20px "
    "64px}\n"
    "h1{font-size:30px;line-height:1.2;margin:0;overflow-wrap:anywhere}h2{font-size:19px;"
    "margin:36px 0 10px}.soft,figure p,.unit{color:var(--soft)}blockquote{margin:14px 0;"
    "padding:2px 0 2px 16px;border-left:3px solid var(--a);font-size:19px;font-style:italic;"
    "overflow-wrap:anywhere}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:12px;"
    "margin:22px 0}.card,figure,.box{background:var(--card);border:1px solid var(--rule);"
    "border-radius:10px}.card{padding:12px 14px}.card b{display:block;font-size:25px;"
    "line-height:1.25}.card span{color:var(--soft);font-size:14px}.good b{color:var(--good)}"
    ".bad b,td.bad{color:var(--bad)}td.bad{font-weight:600}\n"
    "figure{margin:12px 0;padding:12px 14px}figure p{margin:4px 0 0;font-size:14px}"
    "figcaption{font-size:15px}svg{display:block;width:100%;height:auto}"
    "img{display:block;width:100%;height:auto;border-radius:10px}\n"
    ".grid{stroke:var(--rule);fill:none}.tick{fill:var(--soft);font-size:12px}"
    ".line{fill:none;stroke-width:1.5;stroke-linejoin:round}.line0{stroke:var(--a);color:var(--a)}"
    ".line1{stroke:var(--b);color:var(--b)}.line2{stroke:var(--c);color:var(--c)}"
    ".key{margin-left:10px;font-size:14px}.key::before{content:'\\25cf  '}"
    ".bar{fill:var(--a);fill-opacity:.35;stroke:var(--a)}.verdict{font-size:19px;margin:22px 0 0}\n"
    ".wave{stroke:var(--a);fill:none;stroke-width:1}"
    ".mark{stroke:var(--mark);stroke-width:1.5;fill:none}.mark.bad{stroke:var(--bad);"
    "stroke-width:2}.mark.dashed{stroke-dasharray:4 4}\n"
    ".box{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:"
    "tabular-nums}th,td{padding:6px 12px;text-align:right;border-bottom:1px solid var(--rule);"
    "white-space:nowrap}th:first-child,td:first-child{text-align:left}th{color:var(--soft);"
    "font-weight:500}tr:last-child td{border-bottom:0}td.text{white-space:normal;text-align:left;"
    "overflow-wrap:anywhere}\n"
    "</style></head><body><main>\n";

/* ---- the top ---- */

static const char *text_of(const json_t *plan, const char *key)
{
    return json_string_value(json_object_get(plan, key));
}

static void title(const lt_metrics *m, const char *film, const json_t *plan, FILE *to)
{
    const char *prompt = text_of(plan, "prompt");
    const double seconds = (double)m->frames / m->facts.fps;
    (void)fputs(head, to);
    (void)fputs("<title>", to);
    lt_html_text(film, to);
    (void)fputs(" - longtake metrics</title>\n", to);
    (void)fputs(style, to);
    (void)fputs("<p class=\"soft\">longtake metrics</p><h1>", to);
    lt_html_text(film, to);
    (void)fputs("</h1>\n", to);
    if (prompt != NULL && prompt[0] != '\0') {
        (void)fputs("<blockquote>", to);
        lt_html_text(prompt, to);
        (void)fputs("</blockquote>\n", to);
    }
    (void)fprintf(to,
                  "<p class=\"soft\">%d &times; %d &middot; %lld frames at %.6g &middot; %.2f s",
                  m->facts.width, m->facts.height, (long long)m->frames, m->facts.fps, seconds);
    (void)fputs(" &middot; ", to);
    lt_html_text(m->facts.video_codec, to);
    if (m->facts.channels > 0) {
        (void)fputs(" with ", to);
        lt_html_text(m->facts.audio_codec, to);
        (void)fprintf(to, ", %d Hz %s", m->facts.sample_rate,
                      m->facts.channels == 1 ? "mono" : "stereo");
    }
    (void)fputs("</p>\n", to);
}

/* verdict: 1 good, -1 bad, 0 neither. */
static void card(FILE *to, int verdict, const char *name, const char *format, double value)
{
    (void)fprintf(to, "<div class=\"card%s\"><b>",
                  verdict > 0   ? " good"
                  : verdict < 0 ? " bad"
                                : "");
    if (isnan(value))
        (void)fputs("&ndash;", to);
    else if (strcmp(format, "sign") == 0)
        (void)fprintf(to, "%+.2f", value);
    else if (strcmp(format, "percent") == 0)
        (void)fprintf(to, "%.0f %%", 100 * value);
    else if (strcmp(format, "dB") == 0)
        (void)fprintf(to, "%+.1f dB", value);
    else
        (void)fprintf(to, "%.2f", value);
    (void)fprintf(to, "</b><span>%s</span></div>\n", name);
}

static int verdict_of(double x, int is_over) { return isnan(x) ? 0 : is_over ? -1 : 1; }

static size_t joins_of(const lt_metrics *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->join_count; i++)
        n += m->joins[i].kind == LT_JOIN;
    return n;
}

/* What the figures come to, in a sentence or two. */
static void verdict(const lt_metrics *m, FILE *to)
{
    const size_t joins = joins_of(m);
    (void)fputs("<p class=\"verdict\">", to);
    if (m->join_count == 0)
        (void)fputs("One piece: no joins, so no seams in time. ", to);
    else if (!lt_metrics_step_over(m) && !lt_metrics_level_over(m) && m->outstanding_count == 0)
        (void)fprintf(to, "No seam to be seen or heard at %zu join%s. ", joins,
                      joins == 1 ? "" : "s");
    else if (m->outstanding_count == 0)
        (void)fprintf(
            to,
            "%zu join%s, none of which stands out, though in the median the %s jumps more "
            "there than elsewhere. ",
            joins, joins == 1 ? "" : "s", lt_metrics_step_over(m) ? "video" : "audio");
    else
        (void)fprintf(
            to,
            "%zu of %zu places where windows meet stand%s out: somebody may notice a jump "
            "there. ",
            m->outstanding_count, m->join_count, m->outstanding_count == 1 ? "s" : "");
    if (lt_metrics_tiles_over(m))
        (void)fputs("A border of tiles is to be seen. ", to);
    if (m->freeze_share > 0.5)
        (void)fputs("More than half of the film stands still. ", to);
    if (m->cut_count > 0)
        (void)fprintf(to, "%zu cut%s, which count as none of this.", m->cut_count,
                      m->cut_count == 1 ? "" : "s");
    (void)fputs("</p>\n", to);
}

static void cards(const lt_metrics *m, FILE *to)
{
    (void)fputs("<div class=\"cards\">\n", to);
    if (m->join_count > 0) {
        (void)fprintf(
            to,
            "<div class=\"card %s\"><b>%zu of %zu</b><span>places stand out: %zu joins and the "
            "ends of their overlaps</span></div>\n",
            m->outstanding_count == 0 ? "good" : "bad", m->outstanding_count, m->join_count,
            joins_of(m));
        card(to, verdict_of(m->step_ratio, lt_metrics_step_over(m)),
             "step at joins, median (budget 1.15)", "", m->step_ratio);
        card(to, verdict_of(m->level_jump_db, lt_metrics_level_over(m)),
             "level jump at joins, median (budget 1 dB)", "dB", m->level_jump_db);
        card(to, 0, "step at the worst join", "", m->step_ratio_max);
    }
    const double tiles = fmax(m->column_ratio_max, m->row_ratio_max);
    if (!isnan(tiles))
        card(to, verdict_of(tiles, lt_metrics_tiles_over(m)),
             "difference across the worst tile border (budget 1.15)", "", tiles);
    card(to, 0, "frames by which audio is late", "sign",
         lt_metrics_onset_says(m) ? m->onset.frames : NAN);
    card(to, 0, "pixels of movement a frame", "", m->motion);
    card(to, 0, "of the steps stand still", "percent", m->freeze_share);
    card(to, 0, "likeness to itself, over half a second later", "", m->frame_loop.correlation);
    (void)fputs("</div>\n", to);
}

/* Small frames, evenly spaced, as one PNG. */
static lt_status contact_sheet(const lt_metrics *m, FILE *to)
{
    lt_contact_sheet *sheet = NULL;
    void *png = NULL;
    size_t bytes = 0;
    const int shown =
        m->pick_count < SHEET_COLUMNS * SHEET_ROWS ? m->pick_count : SHEET_COLUMNS * SHEET_ROWS;
    const int columns = shown < SHEET_COLUMNS ? shown : SHEET_COLUMNS;
    if (shown == 0)
        return LT_OK;
    LT_TRY(lt_contact_sheet_new(m->pick_count, m->pick_width, m->pick_height, columns,
                                (shown + columns - 1) / columns, &sheet));
    lt_status st = LT_OK;
    for (int i = 0; i < m->pick_count && st == LT_OK; i++)
        st = lt_contact_sheet_frame(sheet, i, m->pick[i], LT_U8);
    if (st == LT_OK)
        st = lt_contact_sheet_png(sheet, &png, &bytes);
    lt_contact_sheet_free(&sheet);
    LT_TRY(st);
    (void)fputs("<img alt=\"frames of the film, evenly spaced\" src=\"data:image/png;base64,", to);
    lt_base64(png, bytes, to);
    const double last = (double)((m->pick_count - 1) * m->pick_stride) / m->facts.fps;
    (void)fprintf(to, "\">\n<p class=\"soft\">%d frames from 0 to %.1f s, evenly spaced.</p>\n",
                  shown, last);
    free(png);
    return LT_OK;
}

/* ---- plots ---- */

/* The joins as marks, with their texts; free both. */
typedef struct mark_list {
    lt_plot_mark *at;
    char (*text)[96];
    size_t count;
} mark_list;

static lt_status marks_of(const lt_metrics *m, mark_list *out)
{
    const size_t n = m->join_count < MARKS_MAX ? m->join_count : MARKS_MAX;
    *out = (mark_list){calloc(n + 1, sizeof *out->at), calloc(n + 1, sizeof *out->text), n};
    if (out->at == NULL || out->text == NULL)
        LT_FAIL(LT_ENOMEM, "report: no memory for %zu joins", n);
    for (size_t i = 0; i < n; i++) {
        const lt_join_figures *j = &m->joins[i];
        (void)snprintf(out->text[i], sizeof *out->text,
                       "%s at frame %lld: step %.2f, level %+.1f dB", lt_join_kind_name(j->kind),
                       (long long)j->frame, j->step_ratio, j->audio.level_db);
        out->at[i] = (lt_plot_mark){.seconds = (double)j->frame / m->facts.fps,
                                    .is_dashed = j->kind == LT_JOIN_OVERLAP,
                                    .is_bad = j->stands_out,
                                    .text = out->text[i]};
    }
    return LT_OK;
}

static lt_plot plot_of(const lt_metrics *m, const mark_list *marks, const char *name,
                       const char *unit, const char *note)
{
    return (lt_plot){.title = name,
                     .note = note,
                     .unit = unit,
                     .count = m->frames,
                     .points_per_second = m->facts.fps,
                     .seconds = (double)m->frames / m->facts.fps,
                     .marks = marks->at,
                     .mark_count = marks->count};
}

static void plot_series(const lt_metrics *m, lt_plot plot, lt_series series, FILE *to)
{
    plot.lines = 1;
    plot.line[0] = lt_video_series_values(m->video, series);
    lt_plot_svg(&plot, to);
}

/* Several series, each less its mean over the first second, so that their drift can be seen. */
static lt_status plot_changes(const lt_metrics *m, lt_plot plot, const lt_series *series,
                              const char *const *names, int count, FILE *to)
{
    double *change = malloc((size_t)m->frames * (size_t)count * sizeof *change);
    if (change == NULL)
        LT_FAIL(LT_ENOMEM, "report: no memory for %lld frames", (long long)m->frames);
    plot.lines = count;
    for (int i = 0; i < count; i++) {
        const double *values = lt_video_series_values(m->video, series[i]);
        double *to_line = change + i * m->frames;
        for (int64_t t = 0; t < m->frames; t++)
            to_line[t] = values[t] - m->drift[series[i] - LT_SERIES_LUMA_MEAN].first;
        plot.line[i] = to_line;
        plot.name[i] = names[i];
    }
    lt_plot_svg(&plot, to);
    free(change);
    return LT_OK;
}

/* The plan's windows, where there are several. */
static lt_status windows_strip(const lt_metrics *m, const mark_list *joins, const json_t *plan,
                               FILE *to)
{
    const json_t *windows = json_object_get(plan, "windows");
    const size_t count = json_array_size(windows);
    if (count < 2 || count > MARKS_MAX)
        return LT_OK;
    double *from = calloc(2 * count, sizeof *from), *until = from + count;
    if (from == NULL)
        LT_FAIL(LT_ENOMEM, "report: no memory for %zu windows", count);
    for (size_t i = 0; i < count; i++) {
        const json_t *window = json_array_get(windows, i);
        from[i] = json_number_value(json_object_get(window, "first_frame")) / m->facts.fps;
        until[i] = from[i] + json_number_value(json_object_get(window, "frames")) / m->facts.fps;
    }
    lt_plot_bars(&(lt_plot){.title = "Windows",
                            .unit = "what the model saw at once",
                            .note = "Neighbours overlap; a line is where the later one takes over.",
                            .seconds = (double)m->frames / m->facts.fps,
                            .marks = joins->at,
                            .mark_count = joins->count},
                 from, until, count, to);
    free(from);
    return LT_OK;
}

static lt_status video_plots(const lt_metrics *m, const mark_list *marks, FILE *to)
{
    /* A step from t to t + 1 stands where frame t + 1 appears. */
    const double one = 1 / m->facts.fps;
    lt_plot step = plot_of(m, marks, "Step from frame to frame", "mean squared codes, logarithmic",
                           "How much each frame differs from the one before it. Lines mark joins "
                           "(dashed: ends of overlaps; red: stands out).");
    step.is_log = 1;
    step.first_second = one;
    plot_series(m, step, LT_SERIES_STEP, to);
    lt_plot near = plot_of(m, marks, "Step against its neighbourhood", "times the median around it",
                           "1 is a step like those around it. A seam is a peak that stands on a "
                           "line; other peaks are what happens in the film, and the decoder.");
    near.first_second = one;
    near.lines = 1;
    near.line[0] = m->e;
    lt_plot_svg(&near, to);
    LT_TRY(plot_changes(
        m,
        plot_of(m, marks, "Brightness and contrast", "codes, change since the first second",
                "A slope over the whole film is drift; a step at a join is a seam."),
        (lt_series[]){LT_SERIES_LUMA_MEAN, LT_SERIES_LUMA_STD},
        (const char *[]){"mean of luma", "its standard deviation"}, 2, to));
    LT_TRY(plot_changes(m,
                        plot_of(m, marks, "Colour", "codes, change since the first second",
                                "Means of chroma: towards blue, towards red, away from grey."),
                        (lt_series[]){LT_SERIES_CB_MEAN, LT_SERIES_CR_MEAN, LT_SERIES_SATURATION},
                        (const char *[]){"blue", "red", "saturation"}, 3, to));
    plot_series(m,
                plot_of(m, marks, "Sharpness", "variance of the Laplacian",
                        "Falls where the film gets soft; grain and noise raise it."),
                LT_SERIES_SHARPNESS, to);
    return LT_OK;
}

static lt_status audio_plots(const lt_metrics *m, const mark_list *marks, FILE *to)
{
    const lt_audio_series a = lt_metrics_audio(m);
    if (a.blocks == 0)
        return LT_OK;
    const size_t n = (size_t)a.blocks;
    double *low = malloc(3 * n * sizeof *low), *high = low + n, *level = low + 2 * n;
    if (low == NULL)
        LT_FAIL(LT_ENOMEM, "report: no memory for %zu blocks", n);
    for (size_t i = 0; i < n; i++) {
        low[i] = a.low[i];
        high[i] = a.high[i];
        level[i] = 10 * log10(a.power[i] + 1e-9);
    }
    lt_plot wave = plot_of(m, marks, "Waveform", "full scale is 1", "Both channels together.");
    wave.low = low;
    wave.high = high;
    lt_plot loud = plot_of(m, marks, "Level", "dB below full scale",
                           "Blocks of 10 ms. A step that stays is a seam of the audio.");
    loud.lines = 1;
    loud.line[0] = level;
    wave.count = loud.count = a.blocks;
    wave.points_per_second = loud.points_per_second = (double)a.rate / (double)a.hop;
    wave.first_second = loud.first_second = m->facts.audio_start_s;
    lt_plot_svg(&wave, to);
    lt_plot_svg(&loud, to);
    free(low);
    return LT_OK;
}

/* ---- tables ---- */

static void number(FILE *to, const char *format_digits, int is_bad, double x, const char *unit)
{
    (void)fprintf(to, "<td%s>", is_bad ? " class=\"bad\"" : "");
    if (isnan(x))
        (void)fputs("&ndash;", to);
    else if (format_digits[0] == '+')
        (void)fprintf(to, "%+.*f%s", format_digits[1] - '0', x, unit);
    else
        (void)fprintf(to, "%.*f%s", format_digits[0] - '0', x, unit);
    (void)fputs("</td>", to);
}

static void joins_table(const lt_metrics *m, FILE *to)
{
    if (m->join_count == 0) {
        (void)fputs("<p class=\"soft\">No joins: one window made it, or nobody said where they "
                    "are.</p>\n",
                    to);
        return;
    }
    (void)fputs(
        "<div class=\"box\"><table><tr><th>frame</th><th>time</th><th>kind</th><th>step</th>"
        "<th>as large elsewhere</th><th>acceleration</th><th>PSNR</th><th>flow</th>"
        "<th>level</th><th>spectrum</th></tr>\n",
        to);
    for (size_t i = 0; i < m->join_count && i < TABLE_ROWS_MAX; i++) {
        const lt_join_figures *j = &m->joins[i];
        (void)fprintf(to, "<tr><td>%lld</td><td>%.2f s</td><td>%s</td>", (long long)j->frame,
                      (double)j->frame / m->facts.fps, lt_join_kind_name(j->kind));
        number(to, "2", j->step_over, j->step_ratio, "");
        number(to, "0", 0, 100 * j->step_share, " %");
        number(to, "2", 0, j->acceleration_ratio, "");
        number(to, "+1", 0, j->psnr_db, " dB");
        number(to, "+1", 0, j->flow_jump, " px");
        number(to, "+1", j->level_over, j->audio.level_db, " dB");
        number(to, "+1", 0, j->audio.spectrum_db, " dB");
        (void)fputs("</tr>\n", to);
    }
    (void)fputs("</table></div>\n", to);
    if (m->join_count > TABLE_ROWS_MAX)
        (void)fprintf(to, "<p class=\"soft\">The first %d of %zu.</p>\n", TABLE_ROWS_MAX,
                      m->join_count);
    (void)fprintf(to,
                  "<p class=\"soft\">Each join is held against %lld other frames%s. A seam that "
                  "nobody sees has step and acceleration 1.00 and all else 0. Of audio, each jump "
                  "stands above the second around it.</p>\n",
                  (long long)m->joins[0].compared,
                  m->period > 1 && m->joins[0].same_phase
                      ? ", which stand at its own place in the decoder's period"
                      : "");
}

static void drift_table(const lt_metrics *m, FILE *to)
{
    (void)fputs("<div class=\"box\"><table><tr><th></th><th>first second</th><th>last second</th>"
                "<th>a second</th></tr>\n",
                to);
    for (int i = 0; i < LT_METRICS_DRIFTS; i++) {
        (void)fprintf(to, "<tr><td>%s, %s</td>", lt_drift_names[i].name, lt_drift_names[i].unit);
        number(to, "2", 0, m->drift[i].first, "");
        number(to, "2", 0, m->drift[i].last, "");
        number(to, "+3", 0, m->drift[i].per_second, "");
        (void)fputs("</tr>\n", to);
    }
    (void)fprintf(
        to,
        "</table></div>\n<p class=\"soft\">Histograms of the first and the last second are "
        "%.3f apart (0 the same, 2 nothing in common).</p>\n",
        m->histogram_chi2);
}

/* What the plan says of the run: texts and numbers of these keys. */
static lt_status run_table(const char *run, const json_t *plan, FILE *to)
{
    static const char *const keys[] = {"model",         "seed",   "steps",  "evaluations",
                                       "mesh",          "dtype",  "device", "codec",
                                       "deterministic", "frames", "output"};
    (void)fputs("<h2>The run</h2><div class=\"box\"><table><tr><td>folder</td><td class=\"text\">",
                to);
    lt_html_text(run, to);
    (void)fputs("</td></tr>\n", to);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *value = json_object_get(plan, keys[i]);
        if (value == NULL || json_is_null(value) || json_is_object(value) || json_is_array(value))
            continue;
        char *text = json_is_string(value) ? strdup(json_string_value(value))
                                           : json_dumps(value, JSON_ENCODE_ANY);
        if (text == NULL)
            LT_FAIL(LT_ENOMEM, "report: no memory for the plan's facts");
        (void)fprintf(to, "<tr><td>%s</td><td class=\"text\">", keys[i]);
        lt_html_text(text, to);
        (void)fputs("</td></tr>\n", to);
        free(text);
    }
    (void)fputs("</table></div>\n", to);
    return LT_OK;
}

/* ---- the page ---- */

static lt_status page(const lt_metrics *m, const char *film, const char *run, const json_t *plan,
                      FILE *to)
{
    mark_list marks = {NULL, NULL, 0};
    title(m, film, plan, to);
    verdict(m, to);
    cards(m, to);
    LT_TRY(contact_sheet(m, to));
    lt_status st = marks_of(m, &marks);
    if (st == LT_OK) {
        (void)fputs("<h2>Over time</h2>\n", to);
        st = windows_strip(m, &marks, plan, to);
        if (st == LT_OK)
            st = video_plots(m, &marks, to);
        if (st == LT_OK)
            st = audio_plots(m, &marks, to);
    }
    free(marks.at);
    free(marks.text);
    LT_TRY(st);
    (void)fputs("<h2>Joins</h2>\n", to);
    joins_table(m, to);
    (void)fputs("<h2>Drift</h2>\n", to);
    drift_table(m, to);
    if (run != NULL)
        LT_TRY(run_table(run, plan, to));
    (void)fputs("</main></body></html>\n", to);
    return LT_OK;
}

lt_status lt_metrics_report(const lt_metrics *m, const char *film, const char *run,
                            const json_t *plan, const char *path, lt_replace replace)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    if (to == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for the report", path);
    lt_status st = page(m, film, run, plan, to);
    const int is_whole = !ferror(to);
    if ((fclose(to) != 0 || !is_whole) && st == LT_OK)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "%s: no memory for the report", path);
    if (st == LT_OK)
        st = lt_new_file_write(path, text, bytes, replace);
    free(text);
    LT_TRY(st);
    return LT_OK;
}
