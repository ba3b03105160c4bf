/* metrics.c - longtake metrics: seams, drift and delay of a finished film. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/new_file.h"
#include "base/text.h"
#include "cmd/answer.h"
#include "cmd/metrics_answer.h"
#include "cmd/metrics_measure.h"
#include "cmd/metrics_report.h"
#include "cmd/metrics_subject.h"
#include "cmd/verbs.h"

/* ---- lists of the command line ---- */

static int ascending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* "5,90,141" -> ascending, each once. */
static lt_status read_list(const char *option, const char *text, size_t max, int64_t **out,
                           size_t *count)
{
    size_t n = 1;
    *out = NULL;
    *count = 0;
    for (const char *c = text; *c != '\0'; c++)
        n += *c == ',';
    if (n > max)
        LT_FAIL(LT_EUSAGE, "%s: want at most %zu numbers, found %zu", option, max, n);
    *out = malloc(n * sizeof **out);
    if (*out == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu numbers", option, n);
    n = 0;
    for (const char *at = text;; at++) {
        int64_t value = 0;
        const size_t digits = strspn(at, "0123456789");
        for (size_t i = 0; i < digits && i < 10; i++)
            value = 10 * value + (at[i] - '0');
        if (digits < 1 || digits > 9 || value < 1 || (at[digits] != ',' && at[digits] != '\0'))
            LT_FAIL(LT_EUSAGE, "%s: want numbers from 1 on, separated by commas, found '%.100s'",
                    option, text);
        (*out)[n++] = value;
        at += digits;
        if (*at == '\0')
            break;
    }
    qsort(*out, n, sizeof **out, ascending);
    for (size_t i = 0; i < n; i++)
        if (*count == 0 || (*out)[i] != (*out)[*count - 1])
            (*out)[(*count)++] = (*out)[i];
    return LT_OK;
}

static lt_status read_subject(const lt_job *job, const char *word, lt_metrics_subject *s)
{
    if (lt_file_is_dir(word))
        LT_TRY(lt_metrics_subject_run(word, s));
    else
        LT_TRY(lt_metrics_subject_film(word, s));
    if (job->joins != NULL) {
        free(s->joins);
        LT_TRY(read_list("--joins", job->joins, LT_METRICS_JOINS_MAX, &s->joins, &s->join_count));
        free(s->kinds);
        s->kinds = calloc(s->join_count, sizeof *s->kinds);
        if (s->kinds == NULL)
            LT_FAIL(LT_ENOMEM, "--joins: no memory for %zu numbers", s->join_count);
    }
    if (job->tile_columns != NULL) {
        free(s->columns);
        LT_TRY(read_list("--tile-columns", job->tile_columns, LT_METRICS_BORDERS_MAX, &s->columns,
                         &s->column_count));
    }
    if (job->tile_rows != NULL) {
        free(s->rows);
        LT_TRY(read_list("--tile-rows", job->tile_rows, LT_METRICS_BORDERS_MAX, &s->rows,
                         &s->row_count));
    }
    if (job->period > 0)
        s->period = job->period;
    return LT_OK;
}

/* ---- the verb ---- */

static lt_status check_report(const lt_job *job)
{
    const size_t n = job->report != NULL ? strlen(job->report) : 0;
    if (job->report == NULL)
        return LT_OK;
    if (n < 5 || strcmp(job->report + n - 5, ".html") != 0) /* never the film's own name */
        LT_FAIL(LT_EUSAGE, "--report: want a name that ends in .html, found '%.200s'", job->report);
    return lt_new_file_try("--report", job->report, job->overwrite ? LT_REPLACE : LT_KEEP);
}

static lt_status answer(const lt_job *job, const lt_metrics_subject *s, const lt_metrics *m)
{
    if (job->report != NULL)
        LT_TRY(lt_metrics_report(m, s->film, s->run, s->plan, job->report,
                                 job->overwrite ? LT_REPLACE : LT_KEEP));
    if (job->json)
        return lt_answer_json(lt_metrics_json(m, s->film, s->run),
                              JSON_COMPACT | JSON_REAL_PRECISION(6));
    char shown[LT_PATH_BYTES];
    lt_answer text;
    (void)snprintf(shown, sizeof shown, "%s", s->film);
    LT_TRY(lt_answer_open(&text));
    lt_metrics_text(m, lt_text_printable(shown), text.to);
    return lt_answer_send(&text, LT_OK);
}

static lt_status run(const lt_job *job, const lt_options *options, const char *const *words,
                     size_t word_count, lt_group *world)
{
    (void)options;
    (void)world;
    if (word_count != 1)
        LT_FAIL(LT_EUSAGE, "metrics: want one film or run folder, found %zu words", word_count);
    lt_metrics_subject s = {.run = NULL};
    lt_metrics metrics = {0};
    lt_status st = check_report(job);
    if (st == LT_OK)
        st = read_subject(job, words[0], &s);
    if (st == LT_OK) {
        lt_metrics_ask ask = lt_metrics_subject_ask(&s);
        ask.picks = job->report != NULL;
        st = lt_metrics_measure(&ask, &metrics);
    }
    if (st == LT_OK)
        st = answer(job, &s, &metrics);
    lt_metrics_free(&metrics);
    lt_metrics_subject_free(&s);
    return st;
}

const lt_verb lt_verb_metrics = {
    .name = "metrics",
    .bit = LT_VERB_METRICS,
    .run = run,
    .summary = "seams, drift and delay of a finished film",
    .usage = "longtake metrics FILE|RUN [options]",
    .intro =
        "Measures a film: whether it jumps where two windows meet (the step from frame to frame\n"
        "against its neighbourhood and against frames that are no joins; acceleration, flow, the\n"
        "audio's level and spectrum), whether it drifts, stands still or comes back, and whether\n"
        "audio and video begin things together. Of a run folder it knows joins, cuts and tiles. A\n"
        "film without joins has step and acceleration 1.00 and all else 0. A join over budget\n"
        "(step 1.15, level 1 dB) has a star, and a bang where hardly a place elsewhere in the\n"
        "film is as bad. No network, no model: numbers of frames and samples alone.",
    .examples = "  longtake render -p \"A red ball bounces on wood.\" --seconds 2 -o two.mp4\n"
                "  longtake metrics two.run\n"
                "  longtake metrics two.mp4 --joins 17,34 --period 17 --json\n"
                "  longtake metrics two.run --report two.html\n"};
