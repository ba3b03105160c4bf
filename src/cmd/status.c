/* status.c - longtake status: where a run stands, from its folder alone. */
#include "cmd/answer.h"
#include "cmd/verbs.h"
#include "run/resume/run_status.h"

static lt_status run(const lt_job *job, const lt_options *options, const char *const *words,
                     size_t word_count, lt_group *world)
{
    (void)options;
    (void)world;
    json_t *status = NULL;
    lt_answer answer;
    if (word_count != 1)
        LT_FAIL(LT_EUSAGE, "status: want one run folder, found %zu words", word_count);
    if (job->json) {
        LT_TRY(lt_run_status(words[0], NULL, &status));
        return lt_answer_json(status, JSON_COMPACT);
    }
    LT_TRY(lt_answer_open(&answer));
    const lt_status st = lt_run_status(words[0], answer.to, &status);
    json_decref(status);
    return lt_answer_send(&answer, st);
}

const lt_verb lt_verb_status = {
    .name = "status",
    .bit = LT_VERB_STATUS,
    .run = run,
    .summary = "where a run stands, and how to go on with it",
    .usage = "longtake status RUN [--json]",
    .intro = "Says from a run folder alone, also of a run at work on another host: who holds it,\n"
             "which stage and step it is at, the newest step that counts and its age, what is\n"
             "whole, how it ended.",
    .examples = "  longtake render -p \"A wooden ball rolls.\" --seconds 1 -o wood.mp4\n"
                "  longtake status wood.run\n"
                "  longtake status wood.run --json\n"};
