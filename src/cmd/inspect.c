/* inspect.c - longtake inspect: what a folder or file is, and what it lacks. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "cmd/answer.h"
#include "cmd/inspect_report.h"
#include "cmd/verbs.h"
#include "model/family.h"
#include "run/describe.h"

static int ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* {steps, evaluations, frames, fps, size [w, h], known_frames [...]}: what render takes where no
 * option says otherwise. NULL: no memory. The caller owns it. */
static json_t *defaults_of(const lt_model *model)
{
    const lt_model_facts *facts = &model->facts;
    json_t *known = json_array();
    for (int i = 0; i < facts->trained_count; i++)
        (void)json_array_append_new(known, json_integer(facts->trained_frames[i]));
    return json_pack("{s:i, s:i, s:I, s:i, s:[I, I], s:o}", "steps", facts->steps, "evaluations",
                     model->family->evaluations(facts->steps), "frames",
                     (json_int_t)facts->window_frames, "fps", facts->fps, "size",
                     (json_int_t)facts->default_width, (json_int_t)facts->default_height,
                     "known_frames", known);
}

/* Of a whole model; of another all that is wrong has been reported by now. */
static lt_status add_defaults(const char *path, json_t *report, FILE *to)
{
    lt_model *model = NULL;
    const char *kind = json_string_value(json_object_get(report, "kind"));
    if (kind == NULL || strcmp(kind, "model") != 0 ||
        !json_is_true(json_object_get(report, "complete")))
        return LT_OK;
    LT_TRY(lt_model_open(path, &model));
    const lt_model_facts *facts = &model->facts;
    json_t *defaults = defaults_of(model);
    if (to != NULL && defaults != NULL) {
        char *known = json_dumps(json_object_get(defaults, "known_frames"), 0);
        (void)fprintf(to,
                      "  without options: --frames %lld (%.2f s) --size %lldx%lld --steps %d (%d "
                      "evaluations)\n  frames that it knows: %s\n",
                      (long long)facts->window_frames, (double)facts->window_frames / facts->fps,
                      (long long)facts->default_width, (long long)facts->default_height,
                      facts->steps, model->family->evaluations(facts->steps),
                      known != NULL ? known : "?");
        free(known);
    }
    (void)json_object_set_new(report, "defaults", defaults);
    lt_model_close(&model);
    if (lt_json_starved())
        LT_FAIL(LT_ENOMEM, "%s: no memory for what it holds", path);
    return LT_OK;
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
    (void)lt_file_unseen();
    /* Content that is wrong is in the answer, and is the verb's status too. */
    FILE *const to = job->json ? NULL : answer.to;
    lt_status st = lt_describe_knows(words[0])
                       ? lt_describe_run(words[0], job->unsealed, to, &report)
                       : lt_inspect(words[0], to, &report);
    const int unseen = lt_file_unseen();
    if (st == LT_OK && unseen != 0)
        st = lt_fail(LT_EIO, __FILE__, __LINE__, "%s: something there cannot be looked at: %s",
                     words[0], strerror(unseen));
    if (st == LT_OK)
        st = add_defaults(words[0], report, to);
    char *text = job->json && report != NULL ? lt_json_text(report, JSON_COMPACT) : NULL;
    if (text != NULL)
        (void)fprintf(answer.to, "%s\n", text);
    else if (job->json && report != NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "%s: no memory for what it holds", words[0]);
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
    .examples = "  longtake render -p \"A small ball drops.\" --seconds 1 -o small.mp4\n"
                "  longtake inspect small.run\n"
                "  longtake inspect small.run/latents.h5 --json\n"};
