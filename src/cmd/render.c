/* render.c - longtake render: a prompt becomes a film. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "cmd/outcome.h"
#include "cmd/rework.h"
#include "cmd/verbs.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/transport.h"
#include "run/resume/resume.h"

/* A word that is no file may be something else in a wrong place. */
static void hint_of_word(const char *word)
{
    static const char *const values[] = {"true", "false", "yes", "no", "on", "off"};
    if (strchr(word, ' ') != NULL)
        lt_hint("-p TEXT gives the prompt; a word alone is a job file");
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (strcasecmp(word, values[i]) == 0)
            lt_hint("a flag's value stands behind =, as in --tags=false");
}

/* Rank 0 reads the job file; the others get its text, so that all parse the same bytes. */
static lt_status read_job(lt_options *options, const char *path, lt_group *world)
{
    char *text = NULL;
    size_t bytes = 0;
    lt_status st = LT_OK;
    const int from_stdin = strcmp(path, "-") == 0;
    if (lt_group_rank(world) == 0)
        st = from_stdin ? lt_file_read_fd(STDIN_FILENO, "stdin", LT_JOB_BYTES_MAX, &text, &bytes)
                        : lt_file_read(path, LT_JOB_BYTES_MAX, &text, &bytes);
    if (st == LT_ENOINPUT)
        hint_of_word(path);
    LT_TRY(lt_agree(world, st));
    st = lt_broadcast_text(world, 0, &text, &bytes);
    if (st == LT_OK)
        st = lt_options_parse_yaml_text(options, text, bytes, from_stdin ? "stdin" : path);
    free(text);
    LT_TRY(lt_agree(world, st));
    return LT_OK;
}

/* RUN's job file, on all ranks; it ranks as any job file: flags win (and are compared later). NULL:
 * the run is not there, and begins with the job that was given. */
static lt_status read_run(const lt_job *job, int has_job, lt_group *world, char **text,
                          size_t *bytes)
{
    lt_status st = LT_OK;
    *text = NULL;
    if (lt_group_rank(world) == 0) {
        st = lt_resume_job_text(job->resume, text, bytes);
        if (st == LT_OK && *text == NULL && !has_job) {
            lt_hint("a job given too starts it: `longtake render JOB.yaml --resume RUN -o OUT`");
            st = lt_fail(LT_ENOINPUT, __FILE__, __LINE__,
                         "--resume %s: want a run folder with its job.yaml, found none",
                         job->resume);
        }
        if (st == LT_OK && *text == NULL && !job->quiet)
            lt_say("longtake: no run at %s: starting", job->resume);
    }
    LT_TRY(lt_agree(world, st));
    LT_TRY(lt_broadcast_text(world, 0, text, bytes));
    return LT_OK;
}

/* RUN is --run, too. What is not in RUN yet is made there by the job. */
static lt_status complete_resume(lt_options *options, const lt_job *job, int has_file,
                                 lt_group *world)
{
    char *text = NULL;
    size_t bytes = 0;
    const int has_job = has_file || job->prompt != NULL;
    if (job->resume == NULL)
        return LT_OK;
    if (job->resume[0] == '\0')
        LT_FAIL(LT_EUSAGE, "--resume: want a run folder's name, found an empty one");
    if (job->run != NULL)
        LT_FAIL(LT_EUSAGE, "--run %s: want no --run beside --resume %s, which names the folder",
                job->run, job->resume);
    LT_TRY(lt_options_set(options, "run", job->resume));
    LT_TRY(read_run(job, has_job, world, &text, &bytes));
    lt_status st = LT_OK;
    if (bytes > 0 && !has_file)
        st = lt_options_parse_yaml_text(options, text, bytes, "job.yaml");
    free(text);
    LT_TRY(lt_agree(world, st));
    return LT_OK;
}

/* So that a run is found from any folder later. What is not there is left for the one line that
 * says so, in the user's own words. */
static lt_status make_model_absolute(lt_options *options, const lt_job *job)
{
    if (job->model == NULL || job->model[0] == '/')
        return LT_OK;
    char *path = realpath(job->model, NULL);
    const lt_status st = path != NULL && lt_utf8_valid(path, strlen(path))
                             ? lt_options_set(options, "model", path)
                             : LT_OK;
    free(path);
    return st;
}

/* The prompt as it was read, on one line: YAML cuts and folds. */
static void show_prompt(const char *prompt, const char *of)
{
    char text[512];
    (void)snprintf(text, sizeof text, "%.400s%s", prompt, strlen(prompt) > 400 ? " ..." : "");
    for (char *c = text; *c != '\0'; c++)
        *c = *c == '\n' || *c == '\t' ? ' ' : *c;
    lt_say("longtake: %sprompt: %s", of, text);
}

static void show_shots(const json_t *shots)
{
    size_t i;
    json_t *entry;
    json_array_foreach (shots, i, entry) {
        char of[48];
        const char *prompt = json_string_value(json_object_get(entry, "prompt"));
        (void)snprintf(of, sizeof of, "shots: entry %zu: ", i + 1);
        if (prompt != NULL)
            show_prompt(prompt, of);
    }
}

static lt_status complete(lt_options *options, const lt_job *job, const char *const *words,
                          size_t word_count, lt_group *world)
{
    if (word_count > 1)
        LT_FAIL(LT_EUSAGE, "render: want at most one job file, found also '%s'", words[1]);
    if (word_count == 1)
        LT_TRY(read_job(options, words[0], world));
    LT_TRY(complete_resume(options, job, word_count == 1, world));
    LT_TRY(make_model_absolute(options, job));
    return LT_OK;
}

static lt_status run(const lt_job *job, const lt_options *options, const char *const *words,
                     size_t word_count, lt_group *world)
{
    (void)words;
    (void)word_count;
    if (!job->quiet && lt_group_rank(world) == 0 && job->prompt != NULL &&
        lt_options_was_set(options, "prompt") == LT_OPT_BY_FILE)
        show_prompt(job->prompt, "");
    if (!job->quiet && lt_group_rank(world) == 0)
        show_shots(job->shots);
    lt_outcome out;
    LT_TRY(lt_render(job, options, world, &out));
    if (job->dry_run)
        return lt_outcome_plan(job, world, &out);
    const lt_status st = lt_rework(job, options, world, &out);
    if (st != LT_OK)
        json_decref(out.stages);
    LT_TRY(st);
    return lt_outcome_say(job, "longtake-render", world, &out);
}

const lt_verb lt_verb_render = {
    .name = "render",
    .bit = LT_VERB_RENDER,
    .collective = 1,
    .complete = complete,
    .run = run,
    .summary = "a prompt becomes a film with sound",
    .usage = "longtake render [JOB.yaml] [-p TEXT] [--resume RUN] -o FILE [options]",
    .intro = "Renders picture and sound of a prompt and writes them as one film. A job file is "
             "YAML with the same\n"
             "names as the long options; flags win; its `shots:` are a storyboard. Under mpirun or "
             "srun all ranks work on the "
             "same film.",
    .examples = "  longtake render -p \"A green glass ball drops on a stone floor.\" -o glass.mp4\n"
                "  longtake render glass.run/job.yaml --seed 2 --codec hevc \\\n"
                "    --sheet two.png --wav two.wav -o two.mkv\n"
                "  mpirun --oversubscribe -n 4 longtake render glass.run/job.yaml \\\n"
                "    --mesh uly=2,tp=2 -o three.mp4\n"
                "  longtake render --resume three.run\n"};
