/* outcome.c - what render and decode say of a finished film. */
#include "cmd/outcome.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "cmd/answer.h"
#include "parallel/transport/agree.h"
#include "run/progress.h"

static lt_status say_json(const char *format, const lt_outcome *out)
{
    return lt_answer_json(json_pack("{s:s, s:i, s:o, s:o, s:I, s:I, s:O}", "format", format,
                                    "version", 1, "output", lt_json_of_path(out->output), "run",
                                    lt_json_of_path(out->run), "frames", (json_int_t)out->frames,
                                    "samples", (json_int_t)out->samples, "stage_seconds",
                                    out->stages),
                          JSON_COMPACT);
}

/* One line, written at once. */
static void say_summary(const lt_outcome *out)
{
    char line[1024];
    const char *name;
    json_t *seconds;
    double total = 0;
    (void)snprintf(line, sizeof line, "longtake: %lld frames, %lld samples;",
                   (long long)out->frames, (long long)out->samples);
    json_object_foreach (out->stages, name, seconds) {
        const size_t n = strlen(line);
        (void)snprintf(line + n, sizeof line - n, " %s %.2f s,", name, json_real_value(seconds));
        total += json_real_value(seconds);
    }
    lt_say("%s in all %.2f s; run folder %s", line, total, out->run);
}

/* Exact for a program, which opens the file; fit to be seen on a terminal. */
static lt_status say_name(const lt_outcome *out)
{
    char shown[sizeof out->output];
    (void)snprintf(shown, sizeof shown, "%s", out->output);
    return lt_answer_line(isatty(STDOUT_FILENO) ? lt_text_printable(shown) : shown);
}

static lt_status say(const lt_job *job, const char *format, const lt_outcome *out)
{
    lt_status st = job->json ? say_json(format, out) : say_name(out);
    if (st != LT_OK)
        st = lt_fail(st, __FILE__, __LINE__, "%s is whole, but %s", out->output, lt_error_text());
    else if (!job->json && !job->quiet)
        say_summary(out);
    if (st != LT_OK || out->beside.status == LT_OK)
        return st;
    lt_hint("its latents are kept: '%s'", out->run);
    LT_FAIL(out->beside.status, "%s is whole, but %s", out->output, out->beside.text);
}

static double gib(json_t *of, const char *key)
{
    return (double)json_integer_value(json_object_get(of, key)) / (1024.0 * 1024.0 * 1024.0);
}

static int64_t number(json_t *of, const char *key)
{
    return json_integer_value(json_object_get(of, key));
}

/* A plan for people: what would be made, on whom, in how much memory and time. */
static lt_status print_plan(json_t *plan, int ranks)
{
    lt_answer answer;
    char took[48], name[1024];
    json_t *memory = json_object_get(plan, "memory"), *time = json_object_get(plan, "estimate");
    json_t *seconds;
    const char *stage;
    LT_TRY(lt_answer_open(&answer));
    FILE *to = answer.to;
    (void)snprintf(name, sizeof name, "%s", json_string_value(json_object_get(plan, "output")));
    (void)fprintf(to, "film    %s: %lld frames of %lldx%lld, %lld samples, %s\n",
                  lt_text_printable(name), (long long)number(plan, "frames"),
                  (long long)number(plan, "width"), (long long)number(plan, "height"),
                  (long long)number(plan, "samples"),
                  json_string_value(json_object_get(plan, "codec")));
    (void)snprintf(name, sizeof name, "%s", json_string_value(json_object_get(plan, "run")));
    (void)fprintf(to, "run     %s\n", lt_text_printable(name));
    (void)fprintf(to, "ranks   %d: %s, %lld threads each\n", ranks,
                  json_string_value(json_object_get(plan, "mesh")),
                  (long long)number(plan, "threads"));
    (void)fprintf(to, "steps   %lld: %lld evaluations, %s\n", (long long)number(plan, "steps"),
                  (long long)number(plan, "evaluations"),
                  json_string_value(json_object_get(plan, "dtype")));
    (void)fprintf(to, "memory  %.2f GiB a rank at most\n", gib(memory, "peak_bytes"));
    (void)fprintf(
        to, "time    about %s",
        lt_duration(json_real_value(json_object_get(time, "seconds")), took, sizeof took));
    json_object_foreach (time, stage, seconds)
        if (strcmp(stage, "seconds") != 0)
            (void)fprintf(to, ", %s %s", stage,
                          lt_duration(json_real_value(seconds), took, sizeof took));
    (void)fputs("\nnothing was made: leave out --dry-run to render\n", to);
    return lt_answer_send(&answer, LT_OK);
}

lt_status lt_outcome_plan(const lt_job *job, lt_group *world, lt_outcome *out)
{
    lt_status st = LT_OK;
    if (lt_group_rank(world) == 0 && job->json)
        st = lt_answer_json(json_incref(out->plan), JSON_COMPACT);
    else if (lt_group_rank(world) == 0)
        st = print_plan(out->plan, lt_group_size(world));
    json_decref(out->plan);
    out->plan = NULL;
    LT_TRY(lt_agree(world, st));
    return LT_OK;
}

lt_status lt_outcome_say(const lt_job *job, const char *format, lt_group *world, lt_outcome *out)
{
    const lt_status mine = lt_group_rank(world) == 0 ? say(job, format, out) : LT_OK;
    json_decref(out->stages);
    out->stages = NULL;
    const lt_status st = lt_agree(world, mine);
    if (st != LT_OK && mine == LT_OK && lt_group_rank(world) == 0)
        LT_FAIL(st, "%s is whole, but %s", out->output, lt_error_text());
    LT_TRY(st);
    return LT_OK;
}
