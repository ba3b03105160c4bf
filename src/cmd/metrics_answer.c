/* metrics_answer.c - figures of a film as JSON and as text for people. */
#include "cmd/metrics_answer.h"

#include <math.h>

#include "base/json.h"

const lt_drift_name lt_drift_names[LT_METRICS_DRIFTS] = {
    {"luma_mean", "brightness", "codes"},  {"luma_std", "contrast", "codes"},
    {"cb_mean", "blue", "codes"},          {"cr_mean", "red", "codes"},
    {"saturation", "saturation", "codes"}, {"sharpness", "sharpness", "codes^2"},
};

const char *lt_join_kind_name(lt_join_kind kind) { return kind == LT_JOIN ? "join" : "overlap"; }

/* ---- JSON ---- */

static void put(json_t *to, const char *key, json_t *value)
{
    (void)json_object_set_new(to, key, value);
}

/* Null where there is none. */
static void put_real(json_t *to, const char *key, double x)
{
    put(to, key, isfinite(x) ? json_real(x) : json_null());
}

static json_t *over_budget(const lt_join_figures *j)
{
    json_t *list = json_array();
    if (j->step_over)
        (void)json_array_append_new(list, json_string("step_ratio"));
    if (j->level_over)
        (void)json_array_append_new(list, json_string("level_jump_db"));
    return list;
}

/* Of the whole film. */
static json_t *clip_over_budget(const lt_metrics *m)
{
    json_t *list = json_array();
    if (lt_metrics_step_over(m))
        (void)json_array_append_new(list, json_string("step_ratio"));
    if (lt_metrics_level_over(m))
        (void)json_array_append_new(list, json_string("level_jump_db"));
    if (lt_metrics_tiles_over(m))
        (void)json_array_append_new(list, json_string("tiles"));
    return list;
}

static json_t *join_json(const lt_metrics *m, const lt_join_figures *j)
{
    json_t *o = json_object();
    put(o, "frame", json_integer((json_int_t)j->frame));
    put_real(o, "seconds", (double)j->frame / m->facts.fps);
    put(o, "kind", json_string(lt_join_kind_name(j->kind)));
    put_real(o, "step_ratio", j->step_ratio);
    put_real(o, "step_share", j->step_share);
    put_real(o, "acceleration_ratio", j->acceleration_ratio);
    put_real(o, "psnr_db", j->psnr_db);
    put_real(o, "flow_jump", j->flow_jump);
    put_real(o, "level_jump_db", j->audio.level_db);
    put_real(o, "level_share", j->audio.level_share);
    put_real(o, "spectrum_jump", j->audio.spectrum_db);
    put(o, "compared", json_integer((json_int_t)j->compared));
    put(o, "same_phase", json_boolean(j->same_phase));
    put(o, "over_budget", over_budget(j));
    put(o, "stands_out", json_boolean(j->stands_out));
    return o;
}

static json_t *loop_json(const lt_loop *loop)
{
    json_t *o = json_object();
    put_real(o, "correlation", loop->correlation);
    put(o, "lag", json_integer((json_int_t)loop->lag));
    return o;
}

static json_t *drift_json(const lt_metrics *m)
{
    json_t *all = json_object();
    for (int i = 0; i < LT_METRICS_DRIFTS; i++) {
        json_t *o = json_object();
        put_real(o, "per_second", m->drift[i].per_second);
        put_real(o, "first", m->drift[i].first);
        put_real(o, "last", m->drift[i].last);
        put(all, lt_drift_names[i].key, o);
    }
    return all;
}

static json_t *clip_json(const lt_metrics *m)
{
    json_t *o = json_object();
    put_real(o, "step_ratio", m->step_ratio);
    put_real(o, "step_ratio_max", m->step_ratio_max);
    put_real(o, "acceleration_ratio", m->acceleration_ratio);
    put_real(o, "acceleration_ratio_max", m->acceleration_ratio_max);
    put_real(o, "psnr_db", m->psnr_db);
    put_real(o, "flow_jump", m->flow_jump);
    put_real(o, "level_jump_db", m->level_jump_db);
    put_real(o, "level_jump_db_max", m->level_jump_db_max);
    put_real(o, "spectrum_jump_max", m->spectrum_jump_max);
    put(o, "over_budget", clip_over_budget(m));
    put(o, "over_budget_joins", json_integer((json_int_t)m->over_count));
    put(o, "outstanding_joins", json_integer((json_int_t)m->outstanding_count));
    put_real(o, "tile_column_ratio", m->column_ratio);
    put_real(o, "tile_column_ratio_max", m->column_ratio_max);
    put_real(o, "tile_row_ratio", m->row_ratio);
    put_real(o, "tile_row_ratio_max", m->row_ratio_max);
    put_real(o, "motion", m->motion);
    put_real(o, "freeze_share", m->freeze_share);
    put(o, "step_loop", loop_json(&m->step_loop));
    put(o, "frame_loop", loop_json(&m->frame_loop));
    put(o, "drift", drift_json(m));
    put_real(o, "histogram_chi2", m->histogram_chi2);
    put_real(o, "onset_offset", isnan(m->onset.correlation) ? NAN : m->onset.frames);
    put_real(o, "onset_correlation", m->onset.correlation);
    put_real(o, "onset_deviations", m->onset.deviations);
    put(o, "onset_says", json_boolean(lt_metrics_onset_says(m)));
    return o;
}

json_t *lt_metrics_json(const lt_metrics *m, const char *film, const char *run)
{
    json_t *o = json_object(), *joins = json_array(), *budget = json_object();
    put(o, "format", json_string("longtake-metrics"));
    put(o, "version", json_integer(1));
    put(o, "film", lt_json_of_path(film));
    put(o, "run", run != NULL ? lt_json_of_path(run) : json_null());
    put(o, "width", json_integer(m->facts.width));
    put(o, "height", json_integer(m->facts.height));
    put(o, "frames", json_integer((json_int_t)m->frames));
    put_real(o, "fps", m->facts.fps);
    put(o, "samples", json_integer((json_int_t)m->samples));
    put(o, "sample_rate", json_integer(m->facts.sample_rate));
    put(o, "period", json_integer((json_int_t)m->period));
    put_real(budget, "step_ratio", LT_SEAM_RATIO_MAX);
    put_real(budget, "level_jump_db", LT_AUDIO_LEVEL_MAX_DB);
    put_real(budget, "share", LT_SEAM_SHARE_MAX);
    put(o, "budget", budget);
    for (size_t i = 0; i < m->join_count; i++)
        (void)json_array_append_new(joins, join_json(m, &m->joins[i]));
    put(o, "joins", joins);
    put(o, "clip", clip_json(m));
    return o;
}

/* ---- text ---- */

/* A number with its unit, "-" where there is none. */
static void number(FILE *to, int digits, int sign, double x, const char *unit)
{
    if (isnan(x))
        (void)fprintf(to, "-%s", unit);
    else
        (void)fprintf(to, sign ? "%+.*f%s" : "%.*f%s", digits, x, unit);
}

/* The same in a column of so many characters. */
static void cell(FILE *to, int width, int digits, int sign, double x, const char *unit)
{
    char text[64] = "-";
    if (!isnan(x))
        (void)snprintf(text, sizeof text, sign ? "%+.*f%.8s" : "%.*f%.8s", digits, x, unit);
    (void)fprintf(to, "%*s", width, text);
}

static void line(FILE *to, const char *name) { (void)fprintf(to, "  %-12s", name); }

static void joins_text(const lt_metrics *m, FILE *to)
{
    (void)fprintf(to, "  %8s %9s  %-8s %8s %8s %9s %9s %9s %9s\n", "frame", "time", "kind", "step",
                  "accel", "PSNR", "flow", "level", "spectrum");
    for (size_t i = 0; i < m->join_count; i++) {
        const lt_join_figures *j = &m->joins[i];
        (void)fprintf(to, "%s %8lld %8.2fs  %-8s",
                      j->stands_out                   ? "!"
                      : j->step_over || j->level_over ? "*"
                                                      : " ",
                      (long long)j->frame, (double)j->frame / m->facts.fps,
                      lt_join_kind_name(j->kind));
        cell(to, 9, 2, 0, j->step_ratio, "");
        cell(to, 9, 2, 0, j->acceleration_ratio, "");
        cell(to, 10, 1, 1, j->psnr_db, "dB");
        cell(to, 10, 1, 1, j->flow_jump, "px");
        cell(to, 10, 1, 1, j->audio.level_db, "dB");
        cell(to, 10, 1, 1, j->audio.spectrum_db, "dB");
        (void)fputc('\n', to);
    }
    (void)fprintf(
        to,
        "  Each against %lld frames %s; audio against the second around it. A seam that\n"
        "  nobody sees has step 1.00 and PSNR, flow, level and spectrum 0. Over budget (*): step\n"
        "  above %.2f or level above %.0f dB, %zu of %zu; as many places elsewhere may be. Of them "
        "%zu\n  stand out (!): %.0f %% of the rest at most are as large.\n",
        (long long)m->joins[0].compared,
        m->period > 1 && m->joins[0].same_phase ? "of its place in the decoder's period"
                                                : "that are no joins",
        LT_SEAM_RATIO_MAX, LT_AUDIO_LEVEL_MAX_DB, m->over_count, m->join_count,
        m->outstanding_count, 100 * LT_SEAM_SHARE_MAX);
    line(to, "joins");
    number(to, 2, 0, m->step_ratio, " step, ");
    number(to, 1, 1, m->level_jump_db, " dB level in the median: ");
    (void)fputs(lt_metrics_step_over(m) || lt_metrics_level_over(m) ? "over budget\n"
                                                                    : "within budget\n",
                to);
}

static void clip_text(const lt_metrics *m, FILE *to)
{
    line(to, "movement");
    number(to, 2, 0, m->motion, " pixels a frame, ");
    number(to, 0, 0, 100 * m->freeze_share, "% of the steps still\n");
    line(to, "comes back");
    number(to, 2, 0, m->frame_loop.correlation, "");
    (void)fprintf(to, " like itself %lld frames later; steps ", (long long)m->frame_loop.lag);
    number(to, 2, 1, m->step_loop.correlation, "");
    (void)fprintf(to, " at %lld\n", (long long)m->step_loop.lag);
    for (int i = 0; i < LT_METRICS_DRIFTS; i++) {
        line(to, lt_drift_names[i].name);
        number(to, 2, 0, m->drift[i].first, "");
        (void)fputs(" -> ", to);
        number(to, 2, 0, m->drift[i].last, "");
        (void)fprintf(to, " %s from the first to the last second, ", lt_drift_names[i].unit);
        number(to, 3, 1, m->drift[i].per_second, " a second\n");
    }
    line(to, "histogram");
    number(to, 3, 0, m->histogram_chi2, " apart, first second to last (0 to 2)\n");
    if (!isnan(m->column_ratio) || !isnan(m->row_ratio)) {
        line(to, "tiles");
        (void)fputs("columns ", to);
        number(to, 2, 0, m->column_ratio, "");
        (void)fputs(", rows ", to);
        number(to, 2, 0, m->row_ratio, "");
        (void)fputs(" (1.00: not to be seen); the worst ", to);
        number(to, 2, 0, fmax(m->column_ratio_max, m->row_ratio_max), "");
        (void)fputs(lt_metrics_tiles_over(m) ? ", over budget\n" : "\n", to);
    }
    line(to, "onsets");
    if (isnan(m->onset.correlation))
        (void)fputs("none to compare\n", to);
    else
        (void)fprintf(to, "audio %+.2f frames from video (correlation %.2f%s)\n", m->onset.frames,
                      m->onset.correlation, lt_metrics_onset_says(m) ? "" : ": says nothing");
}

void lt_metrics_text(const lt_metrics *m, const char *film, FILE *to)
{
    (void)fprintf(to, "%s: %dx%d, %lld frames at %.6g, %.2f s", film, m->facts.width,
                  m->facts.height, (long long)m->frames, m->facts.fps,
                  (double)m->frames / m->facts.fps);
    if (m->facts.channels > 0)
        (void)fprintf(to, "; audio of %d Hz, %s\n", m->facts.sample_rate,
                      m->facts.channels == 1 ? "mono" : "stereo");
    else
        (void)fputs("; no audio\n", to);
    if (m->join_count > 0)
        joins_text(m, to);
    else
        (void)fputs("  no joins: one window made it, or --joins says where they are\n", to);
    clip_text(m, to);
}
