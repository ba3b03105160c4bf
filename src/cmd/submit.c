/* submit.c - longtake submit: a job file becomes a job of Slurm's.
 * The script is written beside the film, for people to read and to submit again, and handed to
 * sbatch, which is started without a shell. What the user named stands in it quoted
 * (run/slurm_script.h). A job that render's own table of options refuses is refused here. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/new_file.h"
#include "base/text.h"
#include "cmd/answer.h"
#include "cmd/sbatch.h"
#include "cmd/verbs.h"
#include "parallel/transport/launcher.h"
#include "run/shots.h"
#include "run/slurm_script.h"

/* What is to be submitted; job's texts are here, or the user's. */
typedef struct request {
    lt_slurm_job job;
    char program[LT_PATH_BYTES], folder[LT_PATH_BYTES], job_file[LT_PATH_BYTES], run[LT_PATH_BYTES],
        output[LT_PATH_BYTES], script[LT_PATH_BYTES];
    char *text; /* the script, owned */
    size_t bytes;
    char job_id[2][LT_SBATCH_ID_BYTES]; /* "": not submitted; the second: what waits for an array */
} request;

/* ---- what is asked ---- */

static lt_status make_absolute(const char *option, const char *folder, const char *path, char *out)
{
    if (path[0] != '/') {
        LT_TRY(lt_path_join(out, LT_PATH_BYTES, folder, path));
        return LT_OK;
    }
    const int n = snprintf(out, LT_PATH_BYTES, "%s", path);
    if (n < 0 || n >= LT_PATH_BYTES)
        LT_FAIL(LT_EUSAGE, "%s %.200s...: the name is too long", option, path);
    return LT_OK;
}

/* The program by the path that it was started from, and where names count from. */
static lt_status find_places(request *q)
{
    const ssize_t n = readlink("/proc/self/exe", q->program, sizeof q->program - 1);
    if (n <= 0)
        LT_FAIL(LT_EIO, "/proc/self/exe: %s", strerror(errno));
    q->program[n] = '\0';
    if (getcwd(q->folder, sizeof q->folder) == NULL)
        LT_FAIL(LT_EIO, "the working folder: %s", strerror(errno));
    q->job.program = q->program;
    q->job.folder = q->folder;
    return LT_OK;
}

/* OUT without its suffix. Errors: LT_EUSAGE if it has none. */
static lt_status stem_of(const char *output, int *bytes)
{
    const char *slash = strrchr(output, '/'), *name = slash != NULL ? slash + 1 : output;
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name || dot[1] == '\0')
        LT_FAIL(LT_EUSAGE, "-o %s: want a name that ends in .mp4, .mkv or .mov", output);
    *bytes = (int)(dot - output);
    return LT_OK;
}

static lt_status name_files(request *q, const char *output, const char *run)
{
    int stem = 0;
    if (output == NULL || output[0] == '\0') {
        lt_hint("`output: FILE` of the job file names it, too");
        LT_FAIL(LT_EUSAGE, "-o: want the film's name, e.g. -o film.mp4, found none");
    }
    LT_TRY(stem_of(output, &stem));
    LT_TRY(make_absolute("-o", q->folder, output, q->output));
    stem = (int)strlen(q->output) - ((int)strlen(output) - stem);
    if (run != NULL && run[0] == '\0')
        LT_FAIL(LT_EUSAGE, "--run: want a folder's name, found an empty one");
    if (run != NULL)
        LT_TRY(make_absolute("--run", q->folder, run, q->run));
    else if (snprintf(q->run, sizeof q->run, "%.*s.run", stem, q->output) >= (int)sizeof q->run)
        LT_FAIL(LT_EUSAGE, "-o %.200s...: the name is too long", output);
    if (snprintf(q->script, sizeof q->script, "%.*s.sbatch", stem, q->output) >=
        (int)sizeof q->script)
        LT_FAIL(LT_EUSAGE, "-o %.200s...: the name is too long", output);
    q->job.output = q->output;
    q->job.run = q->run;
    return LT_OK;
}

/* Slurm's own words, checked. */
static lt_status take_slurm(const lt_job *job, lt_slurm_job *out)
{
    const struct {
        const char *option, *text;
    } names[] = {{"--partition", job->partition}, {"--account", job->account}, {"--qos", job->qos}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].text != NULL)
            LT_TRY(lt_slurm_check_name(names[i].option, names[i].text));
    if (job->time != NULL)
        LT_TRY(lt_slurm_seconds("--time", job->time, &out->seconds));
    out->partition = job->partition;
    out->account = job->account;
    out->qos = job->qos;
    out->nodes = job->nodes;
    out->ranks_per_node = job->ranks_per_node;
    out->cpus_per_rank = job->cpus_per_rank;
    out->requeues = job->requeues;
    out->overwrite = job->overwrite;
    return LT_OK;
}

/* A task of the array each; what is in the list, render itself checks by the model. */
static lt_status count_shots(const json_t *list, const char *job_file, int64_t *out)
{
    size_t i;
    json_t *entry;
    *out = 0;
    json_array_foreach (list, i, entry) {
        const char *transition = json_string_value(json_object_get(entry, "transition"));
        *out += i == 0 || transition == NULL || strcmp(transition, "blend") != 0;
    }
    if (*out < 1 || *out > LT_SHOTS_MAX)
        LT_FAIL(LT_EUSAGE,
                "--array: want a storyboard of 1 to %d shots (`shots:`), found %lld in %s",
                LT_SHOTS_MAX, (long long)*out, job_file);
    return LT_OK;
}

/* Words that the script itself gives. */
static lt_status refuse_own(const lt_options *options)
{
    static const char *const own[] = {"output", "run"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (lt_options_was_set(options, own[i]) == LT_OPT_BY_FLAG)
            LT_FAIL(LT_EUSAGE, "--%s: want it before --, where submit reads it, found it behind",
                    own[i]);
    return LT_OK;
}

/* Read the job file and the words behind -- as render will. words[0] is the file. */
static lt_status take_render(const lt_job *job, const char *const *words, size_t count, request *q)
{
    lt_job render;
    lt_options *options = NULL;
    const char *none[1];
    char *argv[LT_SUBMIT_WORDS_MAX + 1];
    size_t rest = 0;
    lt_status st = LT_OK;
    memset(&render, 0, sizeof render);
    argv[0] = (char[]){"render"};
    for (size_t i = 1; i < count; i++)
        argv[i] = (char *)(uintptr_t)words[i];
    LT_TRY_GOTO(lt_options_new(lt_job_options, (size_t)lt_job_option_count, LT_VERB_RENDER, &render,
                               &options),
                st, done);
    lt_options_others(options, lt_job_others, lt_job_other_count);
    LT_TRY_GOTO(lt_options_parse_args(options, (int)count, argv, none, 0, &rest), st, done);
    LT_TRY_GOTO(refuse_own(options), st, done);
    LT_TRY_GOTO(lt_options_parse_yaml(options, words[0]), st, done);
    if (job->array)
        LT_TRY_GOTO(count_shots(render.shots, words[0], &q->job.shots), st, done);
    LT_TRY_GOTO(name_files(q, job->output != NULL ? job->output : render.output,
                           job->run != NULL ? job->run : render.run),
                st, done);
done:
    lt_options_free(&options);
    return st;
}

static lt_status take(const lt_job *job, const char *const *words, size_t count, request *q)
{
    if (count == 0 || words[0][0] == '-') {
        lt_hint("longtake submit JOB.yaml -o FILM --nodes N [-- OPTIONS OF RENDER]");
        LT_FAIL(LT_EUSAGE, "submit: want a job file%s, found %s",
                count > 0 && strcmp(words[0], "-") == 0 ? " that stays until the job has run" : "",
                count > 0 ? words[0] : "none");
    }
    if (count > LT_SUBMIT_WORDS_MAX)
        LT_FAIL(LT_EUSAGE, "submit: want at most %d words, found %zu", LT_SUBMIT_WORDS_MAX, count);
    LT_TRY(find_places(q));
    LT_TRY(take_slurm(job, &q->job));
    LT_TRY(make_absolute("submit", q->folder, words[0], q->job_file));
    q->job.job_file = q->job_file;
    q->job.more = words + 1;
    q->job.more_count = count - 1;
    LT_TRY(take_render(job, words, count, q));
    return LT_OK;
}

/* ---- the script ---- */

static lt_status write_text(const lt_job *job, request *q)
{
    FILE *to = open_memstream(&q->text, &q->bytes);
    if (to == NULL)
        LT_FAIL(LT_ENOMEM, "submit: no memory for the script");
    lt_slurm_script(&q->job, job->array ? LT_SLURM_ARRAY : LT_SLURM_RENDER, to);
    const int failed = ferror(to) != 0;
    if (fclose(to) != 0 || failed)
        LT_FAIL(LT_ENOMEM, "submit: no memory for the script");
    return LT_OK;
}

static lt_status send_jobs(const lt_job *job, request *q)
{
    char array[32] = "", after[LT_SBATCH_ID_BYTES + 32];
    (void)snprintf(array, sizeof array, "--array=1-%lld", (long long)q->job.shots);
    LT_TRY(lt_sbatch(q->script, job->array ? (const char *[]){array, NULL} : NULL, q->job_id[0]));
    if (!job->array)
        return LT_OK;
    (void)snprintf(after, sizeof after, "--dependency=afterok:%s", q->job_id[0]);
    const lt_status st = lt_sbatch(
        q->script, (const char *[]){after, "--kill-on-invalid-dep=yes", NULL}, q->job_id[1]);
    if (st != LT_OK)
        lt_hint("the shots are submitted: `scancel %s` takes them back", q->job_id[0]);
    LT_TRY(st);
    return LT_OK;
}

/* A script of which no job came is in the way of the next try. */
static lt_status send(const lt_job *job, request *q)
{
    const lt_replace replace = job->overwrite ? LT_REPLACE : LT_KEEP;
    LT_TRY(lt_sbatch_find());
    LT_TRY(lt_new_file_try("submit", q->script, replace));
    LT_TRY(lt_new_file_write(q->script, q->text, q->bytes, replace));
    const lt_status st = send_jobs(job, q);
    if (st != LT_OK && q->job_id[0][0] == '\0')
        (void)unlink(q->script);
    LT_TRY(st);
    return LT_OK;
}

/* ---- the answer ---- */

static lt_status say_json(const lt_job *job, const request *q)
{
    static const char *const roles[2][2] = {{"render", ""}, {"shots", "film"}};
    json_t *jobs = json_array();
    for (int i = 0; i < 2 && q->job_id[i][0] != '\0'; i++)
        (void)json_array_append_new(jobs, json_pack("{s:s, s:s}", "role", roles[job->array != 0][i],
                                                    "job_id", q->job_id[i]));
    return lt_answer_json(
        json_pack("{s:s, s:i, s:o, s:o, s:o, s:s?, s:o}", "format", "longtake-submit", "version", 1,
                  "output", lt_json_of_path(q->output), "run", lt_json_of_path(q->run), "script",
                  lt_json_of_path(q->script), "text", job->dry_run ? q->text : NULL, "jobs", jobs),
        JSON_COMPACT);
}

static lt_status say(const lt_job *job, const request *q)
{
    if (job->json)
        return say_json(job, q);
    if (job->dry_run)
        return lt_answer_bytes(q->text, q->bytes);
    for (int i = 0; i < 2 && q->job_id[i][0] != '\0'; i++)
        LT_TRY(lt_answer_line(q->job_id[i]));
    char shown[LT_PATH_BYTES];
    if (!job->quiet)
        lt_say("longtake: %s is submitted; `squeue` and `longtake status %s` tell how it goes",
               q->script, lt_text_quoted(q->run, shown, sizeof shown));
    return LT_OK;
}

static lt_status run(const lt_job *job, const lt_options *options, const char *const *words,
                     size_t word_count, lt_group *world)
{
    (void)options;
    (void)world;
    if (!lt_launcher_prints()) /* one of a launch does it */
        return LT_OK;
    request *q = calloc(1, sizeof *q);
    if (q == NULL)
        LT_FAIL(LT_ENOMEM, "submit: no memory");
    lt_status st = take(job, words, word_count, q);
    if (st == LT_OK)
        st = write_text(job, q);
    if (st == LT_OK && !job->dry_run)
        st = send(job, q);
    if (st == LT_OK)
        st = say(job, q);
    free(q->text);
    free(q);
    LT_TRY(st);
    return LT_OK;
}

const lt_verb lt_verb_submit = {
    .name = "submit",
    .bit = LT_VERB_SUBMIT,
    .run = run,
    .summary = "a job file becomes a job of Slurm's",
    .usage = "longtake submit JOB.yaml -o FILM --nodes N [options] [-- OPTIONS OF RENDER]",
    .intro =
        "Writes FILM.sbatch and gives it to sbatch: all ranks of the job render one film by\n"
        "`render JOB.yaml --resume RUN`, at its first start and whenever it is requeued, because "
        "a\n"
        "partition of more weight wanted its nodes, a node was lost or the time was over. With\n"
        "--array each shot of a storyboard is a task of its own, and a second job, which waits "
        "for\n"
        "all of them, makes the film of their latents. What stands behind -- goes to render as it "
        "is. All\n"
        "nodes must see the program, the job file and the film's folder under the same names.",
    .examples = "  echo 'prompt: A red ball drops on a wooden floor.' > ball.yaml\n"
                "  longtake submit ball.yaml -o ball.mp4 --nodes 4 --time 4:00:00 --dry-run\n"
                "  longtake submit ball.yaml -o ball.mp4 --nodes 2 --ranks-per-node 2 \\\n"
                "    --partition main --dry-run -- --steps 20 --codec hevc\n"
                "  printf '%s\\n' 'shots:' '- {prompt: A red ball drops., seconds: 1}' \\\n"
                "    '- {prompt: A blue ball drops., seconds: 1}' > two.yaml\n"
                "  longtake submit two.yaml --array -o two.mp4 --dry-run\n"};
