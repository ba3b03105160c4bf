/* inspect.c - longtake inspect: what a folder or file is, and what it lacks.      Level 5: cmd */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "cmd/answer.h"
#include "cmd/verbs.h"
#include "model/inspect.h"
#include "run/describe.h"

static int ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static lt_status run(const lt_job *job, const lt_options *options, const char *const *words,
                     size_t word_count, lt_group *world)
{
    (void)options;
    (void)world;
    if (word_count != 1)
        LT_FAIL(LT_EUSAGE, "inspect: want one path, found %zu words", word_count);
    if (lt_file_exists(words[0]) && !lt_file_is_dir(words[0]) && !ends_in(words[0], ".h5") &&
        !ends_in(words[0], ".safetensors") && !ends_in(words[0], ".json"))
        LT_FAIL(LT_EDATA,
                "%s: want a model folder, one part of it, a .safetensors file, a run folder or a "
                "latents.h5, found another kind of file",
                words[0]);
    json_t *report = NULL;
    lt_answer answer;
    LT_TRY(lt_answer_open(&answer));
    /* Content that is wrong is in the answer, and is the verb's status too. */
    FILE *const to = job->json ? NULL : answer.to;
    const lt_status st = lt_describe_knows(words[0])
                             ? lt_describe_run(words[0], job->unsealed, to, &report)
                             : lt_inspect(words[0], to, &report);
    char *text = job->json && report != NULL ? lt_json_text(report, JSON_COMPACT) : NULL;
    if (text != NULL)
        (void)fprintf(answer.to, "%s\n", text);
    free(text);
    json_decref(report);
    return lt_answer_send(&answer, st);
}

const lt_verb lt_verb_inspect = {
    .name = "inspect",
    .bit = LT_VERB_INSPECT,
    .run = run,
    .summary = "what a model folder or file is, and what it lacks",
    .usage = "longtake inspect PATH [--json] [--unsealed]",
    .intro =
        "PATH: a model folder, one part of it, a .safetensors file, a run folder or a latents.h5.",
    .examples =
        "  longtake render -p \"A small ball drops.\" --seconds 1 -o small.mp4\n"
        "  longtake inspect small.run\n"
        "  longtake inspect small.run/latents.h5 --json\n"};
