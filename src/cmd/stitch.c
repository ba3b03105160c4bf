/* stitch.c - longtake stitch: runs of single shots become the run of one film. */
#include "run/stitch.h"

#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "cmd/answer.h"
#include "cmd/verbs.h"
#include "parallel/transport/launcher.h"

static lt_status say(const lt_job *job, json_t *plan)
{
    const size_t shots = json_array_size(json_object_get(plan, "shots"));
    if (job->json)
        return lt_answer_json(
            json_pack("{s:s, s:i, s:o, s:I, s:O, s:O}", "format", "longtake-stitch", "version", 1,
                      "run", lt_json_of_path(job->run), "shots", (json_int_t)shots, "frames",
                      json_object_get(plan, "frames"), "samples", json_object_get(plan, "samples")),
            JSON_COMPACT);
    LT_TRY(lt_answer_line(job->run));
    if (!job->quiet)
        lt_say("longtake: %zu shots, %lld frames; `longtake decode` makes the film", shots,
               (long long)json_integer_value(json_object_get(plan, "frames")));
    return LT_OK;
}

static lt_status run(const lt_job *job, const lt_options *options, const char *const *words,
                     size_t word_count, lt_group *world)
{
    (void)options;
    (void)world;
    json_t *plan = NULL;
    if (!lt_launcher_prints()) /* one of a launch does it */
        return LT_OK;
    if (word_count == 0)
        LT_FAIL(LT_EUSAGE, "stitch: want run folders, found none");
    if (job->run == NULL || job->run[0] == '\0') {
        lt_hint("`longtake stitch a.run b.run --run film.run`, then `longtake decode film.run`");
        LT_FAIL(LT_EUSAGE, "--run: want the name of the run folder to make, found none");
    }
    LT_TRY(lt_stitch(job, words, word_count, &plan));
    const lt_status st = say(job, plan);
    json_decref(plan);
    LT_TRY(st);
    return LT_OK;
}

const lt_verb lt_verb_stitch = {
    .name = "stitch",
    .bit = LT_VERB_STITCH,
    .run = run,
    .summary = "runs of single shots become the run of one film",
    .usage = "longtake stitch RUN... --run FILM.run",
    .intro =
        "Puts the latents of several runs together, cut after cut, into a run folder of their "
        "own.\n"
        "Of shots that `render --shot N` made it is what `render` makes of the whole storyboard,\n"
        "bit for bit; any runs of the same model, size and steps will do. `decode` makes the film.",
    .examples = "  printf '%s\\n' 'shots:' '- {prompt: A red ball drops., seconds: 1}' \\\n"
                "    '- {prompt: A blue ball drops., seconds: 1, seed: 3}' > two.yaml\n"
                "  longtake render two.yaml --shot 1 -o one.mp4\n"
                "  longtake render two.yaml --shot 2 -o other.mp4\n"
                "  longtake stitch one.run other.run --run both.run\n"
                "  longtake decode both.run -o both.mp4\n"};
