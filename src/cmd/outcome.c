/* outcome.c - what render and decode say of a finished film.                     Level 5: cmd */
#include "cmd/outcome.h"

#include <stdio.h>
#include <stdlib.h>

static void say_json(const char *format, const lt_outcome *out)
{
    json_t *answer =
        json_pack("{s:s, s:i, s:s, s:s, s:I, s:I, s:O}", "format", format, "version", 1, "output",
                  out->output, "run", out->run, "frames", (json_int_t)out->frames, "samples",
                  (json_int_t)out->samples, "stage_seconds", out->stages);
    char *text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;
    if (text != NULL)
        (void)puts(text);
    free(text);
    json_decref(answer);
}

void lt_outcome_say(const lt_job *job, const char *format, const lt_outcome *out)
{
    if (job->json) {
        say_json(format, out);
        return;
    }
    (void)puts(out->output);
    if (job->quiet)
        return;
    const char *name;
    json_t *seconds;
    double total = 0;
    (void)fflush(stdout); /* the name stays before the line that explains it */
    (void)fprintf(stderr, "longtake: %lld frames, %lld samples;", (long long)out->frames,
                  (long long)out->samples);
    json_object_foreach (out->stages, name, seconds) {
        (void)fprintf(stderr, " %s %.2f s,", name, json_real_value(seconds));
        total += json_real_value(seconds);
    }
    (void)fprintf(stderr, " in all %.2f s; run folder %s\n", total, out->run);
}
