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
#include "cmd/verbs.h"

/* MiniMax-H3's video decoder works on chunks of 17 frames (docs/spec/minimax-h3.md 4); the one
 * family that renders. */
enum { RUN_PERIOD = 17 };

/* What is measured, with all that the ask borrows. */
typedef struct subject {
    char film[LT_PATH_BYTES];
    const char *run; /* a word of the caller; NULL: a file */
    json_t *plan;    /* of a run */
    int64_t *joins, *columns, *rows;
    lt_join_kind *kinds;
    size_t join_count, column_count, row_count;
} subject;

static void subject_free(subject *s)
{
    json_decref(s->plan);
    free(s->joins);
    free(s->kinds);
    free(s->columns);
    free(s->rows);
}

/* ---- lists of the command line ---- */

static int ascending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* "5,90,141" -> ascending, each once. text NULL: none. */
static lt_status read_list(const char *option, const char *text, size_t max, int64_t **out,
                           size_t *count)
{
    size_t n = 1;
    *out = NULL;
    *count = 0;
    if (text == NULL)
        return LT_OK;
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

/* ---- a run ---- */

/* Add a place unless it is there or lies outside the film; joins come first. */
static void add_place(subject *s, int64_t frame, int64_t frames, lt_join_kind kind)
{
    if (frame < 1 || frame >= frames)
        return;
    size_t at = 0;
    while (at < s->join_count && s->joins[at] < frame)
        at++;
    if (at < s->join_count && s->joins[at] == frame)
        return;
    memmove(s->joins + at + 1, s->joins + at, (s->join_count - at) * sizeof *s->joins);
    memmove(s->kinds + at + 1, s->kinds + at, (s->join_count - at) * sizeof *s->kinds);
    s->joins[at] = frame;
    s->kinds[at] = kind;
    s->join_count++;
}

/* plan.json's joins, and where overlaps of its windows begin and end. */
static lt_status places_of_plan(const lt_json_at *root, subject *s)
{
    int64_t frames = 0, *joins = NULL, end = 0;
    size_t count = 0;
    lt_json_at windows, window;
    LT_TRY(lt_json_int(root, "frames", 1, LT_METRICS_JOINS_MAX, &frames));
    LT_TRY(lt_json_member(root, "windows", &windows));
    const size_t window_count = json_array_size(windows.value);
    if (!json_is_array(windows.value) || window_count > LT_METRICS_JOINS_MAX / 3)
        LT_FAIL(LT_EDATA, "%s: windows: want a list of at most %d", root->source,
                LT_METRICS_JOINS_MAX / 3);
    joins = malloc(LT_METRICS_JOINS_MAX * sizeof *joins);
    s->joins = malloc((LT_METRICS_JOINS_MAX + 2 * window_count) * sizeof *s->joins);
    s->kinds = malloc((LT_METRICS_JOINS_MAX + 2 * window_count) * sizeof *s->kinds);
    lt_status st =
        joins != NULL && s->joins != NULL && s->kinds != NULL
            ? lt_json_ints(root, "joins", 0, INT32_MAX, joins, LT_METRICS_JOINS_MAX / 3, &count)
            : lt_fail(LT_ENOMEM, __FILE__, __LINE__, "%s: no memory", root->source);
    for (size_t i = 0; i < count && st == LT_OK; i++)
        add_place(s, joins[i], frames, LT_JOIN);
    free(joins);
    LT_TRY(st);
    for (size_t i = 0; i < window_count; i++) {
        int64_t first = 0, length = 0;
        LT_TRY(lt_json_element(&windows, i, &window));
        LT_TRY(lt_json_int(&window, "first_frame", 0, INT32_MAX, &first));
        LT_TRY(lt_json_int(&window, "frames", 1, INT32_MAX, &length));
        if (i > 0 && first < end) {
            add_place(s, first, frames, LT_JOIN_OVERLAP);
            add_place(s, end, frames, LT_JOIN_OVERLAP);
        }
        end = first + length;
    }
    return LT_OK;
}

/* RUN/out.SUFFIX; where there was no room for two, the output that the run was for. */
static lt_status film_of_run(const lt_json_at *root, subject *s)
{
    static const char *const suffixes[] = {"mp4", "mkv", "mov"};
    const char *suffix = NULL;
    char name[16], *output = NULL;
    LT_TRY(lt_json_string(root, "suffix", &suffix));
    size_t i = 0;
    while (i < 3 && strcmp(suffixes[i], suffix) != 0)
        i++;
    if (i == 3)
        LT_FAIL(LT_EDATA, "%s: suffix: want mp4, mkv or mov, found '%.20s'", root->source, suffix);
    (void)snprintf(name, sizeof name, "out.%s", suffixes[i]);
    LT_TRY(lt_path_join(s->film, sizeof s->film, s->run, name));
    if (lt_file_exists(s->film))
        return LT_OK;
    LT_TRY(lt_json_path(root, "output", &output));
    const int fits = strlen(output) < sizeof s->film;
    const int is_there = fits && lt_file_exists(output);
    if (is_there)
        (void)snprintf(s->film, sizeof s->film, "%s", output);
    free(output);
    if (is_there)
        return LT_OK;
    lt_hint("`longtake decode %s -o FILE` makes the film again where latents.h5 is there", s->run);
    LT_FAIL(LT_ENOINPUT, "%s: the film is not there", s->film);
}

static lt_status read_run(subject *s, int wants_joins)
{
    char path[LT_PATH_BYTES];
    const char *format = NULL;
    int64_t version = 0;
    LT_TRY(lt_path_join(path, sizeof path, s->run, "plan.json"));
    if (!lt_file_exists(path))
        LT_FAIL(LT_ENOINPUT, "%s: want a film or a run folder, found a folder without plan.json",
                s->run);
    LT_TRY(lt_json_read(path, &s->plan));
    const lt_json_at root = lt_json_root(s->plan, path);
    LT_TRY(lt_json_string(&root, "format", &format));
    if (strcmp(format, "longtake-plan") != 0)
        LT_FAIL(LT_EDATA, "%s: format: want longtake-plan, found '%.40s'", path, format);
    LT_TRY(lt_json_int(&root, "version", 1, 1, &version));
    LT_TRY(film_of_run(&root, s));
    if (wants_joins)
        LT_TRY(places_of_plan(&root, s));
    return LT_OK;
}

static lt_status read_subject(const lt_job *job, const char *word, subject *s)
{
    if (lt_file_is_dir(word)) {
        s->run = word;
        LT_TRY(read_run(s, job->joins == NULL));
    } else {
        if (strlen(word) >= sizeof s->film)
            LT_FAIL(LT_ENOINPUT, "%.200s...: a path of %zu bytes is too long", word, strlen(word));
        (void)snprintf(s->film, sizeof s->film, "%s", word);
    }
    if (job->joins != NULL) {
        LT_TRY(read_list("--joins", job->joins, LT_METRICS_JOINS_MAX, &s->joins, &s->join_count));
        s->kinds = calloc(s->join_count, sizeof *s->kinds);
        if (s->kinds == NULL)
            LT_FAIL(LT_ENOMEM, "--joins: no memory for %zu numbers", s->join_count);
    }
    LT_TRY(read_list("--tile-columns", job->tile_columns, LT_METRICS_BORDERS_MAX, &s->columns,
                     &s->column_count));
    LT_TRY(
        read_list("--tile-rows", job->tile_rows, LT_METRICS_BORDERS_MAX, &s->rows, &s->row_count));
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

static lt_status answer(const lt_job *job, const subject *s, const lt_metrics *m)
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
    subject s = {{0}, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0};
    lt_metrics metrics = {0};
    lt_status st = check_report(job);
    if (st == LT_OK)
        st = read_subject(job, words[0], &s);
    if (st == LT_OK) {
        const lt_metrics_ask ask = {.film = s.film,
                                    .joins = s.joins,
                                    .kinds = s.kinds,
                                    .join_count = s.join_count,
                                    .period = job->period > 0 ? job->period
                                              : s.run != NULL ? RUN_PERIOD
                                                              : 1,
                                    .columns = s.columns,
                                    .rows = s.rows,
                                    .column_count = s.column_count,
                                    .row_count = s.row_count,
                                    .picks = job->report != NULL};
        st = lt_metrics_measure(&ask, &metrics);
    }
    if (st == LT_OK)
        st = answer(job, &s, &metrics);
    lt_metrics_free(&metrics);
    subject_free(&s);
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
        "audio and video begin things together. Of a run folder it knows the joins. A film "
        "without\n"
        "joins has step and acceleration 1.00 and all else 0. A join over budget (step 1.15, "
        "level\n"
        "1 dB, and hardly a frame elsewhere is as bad) has a star. No network, no model: numbers "
        "of\n"
        "frames and samples alone.",
    .examples = "  longtake render -p \"A red ball bounces on wood.\" --seconds 2 -o two.mp4\n"
                "  longtake metrics two.run\n"
                "  longtake metrics two.mp4 --joins 17,34 --period 17 --json\n"
                "  longtake metrics two.run --report two.html\n"};
