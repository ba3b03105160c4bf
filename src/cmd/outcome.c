/* outcome.c - what render and decode say of a finished film.                     Level 5: cmd */
#include "cmd/outcome.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "cmd/answer.h"

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
    lt_hint("the film is whole, and its latents are kept");
    LT_FAIL(out->beside.status, "%s", out->beside.text);
}

lt_status lt_outcome_say(const lt_job *job, const char *format, lt_group *world, lt_outcome *out)
{
    const lt_status st = lt_group_rank(world) == 0 ? say(job, format, out) : LT_OK;
    json_decref(out->stages);
    out->stages = NULL;
    LT_TRY(lt_agree(world, st));
    return LT_OK;
}
