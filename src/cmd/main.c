/* main.c - finds the verb, reads its options, prints the one error line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/leave.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/text.h"
#include "cmd/answer.h"
#include "cmd/shells.h"
#include "cmd/verbs.h"
#include "parallel/liveness/detector.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/launcher.h"
#include "parallel/transport/transport.h"
#include "parallel/world.h"
#include "run/outputs.h"
#include "run/same.h"
#include "run/store_hdf5.h"
#include "run/versions.h"

static const lt_verb *const verbs[] = {
    &lt_verb_render,  &lt_verb_decode,  &lt_verb_stitch, &lt_verb_submit, &lt_verb_probe,
    &lt_verb_inspect, &lt_verb_metrics, &lt_verb_doctor, &lt_verb_bench,  &lt_verb_status};
enum { VERB_COUNT = sizeof verbs / sizeof *verbs, WORDS_MAX = 320 /* stitch: a run each shot */ };

static void print_help(FILE *to)
{
    (void)fputs("Usage: longtake VERB [options]\n\n"
                "Renders long video with synchronised sound from open diffusion\n"
                "transformers, alone, under mpirun or in a Slurm job.\n\nVerbs:\n",
                to);
    for (size_t i = 0; i < VERB_COUNT; i++)
        (void)fprintf(to, "  %-9s %s\n", verbs[i]->name, verbs[i]->summary);
    (void)fputs(
        "\nA first film, with the model that comes along:\n"
        "  longtake render -p \"A red rubber ball bounces on a wooden floor.\" -o film.mp4\n\n"
        "`longtake VERB --help` tells more, `longtake --version -v` which build this is,\n"
        "`longtake help --man` is for man, `help --completion bash|zsh|fish` for shells.\n"
        "Exit codes are those of sysexits.h: 64 usage, 65 bad data, 66 no input,\n"
        "69 unavailable, 70 a bug of ours, 73 and 74 output; 75 stopped or a rank lost:\n"
        "`longtake render --resume RUN` goes on, `longtake status RUN` says how far it\n"
        "is.\n",
        to);
}

static const lt_verb *find_verb(const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

static lt_status unknown_verb(const char *name)
{
    static const char *const later[] = {"plan", "verify", "serve"};
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        if (strcmp(later[i], name) == 0)
            LT_FAIL(LT_EUNAVAIL, "%s: this version does not have it; it comes later", name);
    const lt_verb *near = NULL;
    for (size_t i = 0; i < VERB_COUNT && near == NULL; i++)
        if (lt_edit_distance(verbs[i]->name, name) <= 2)
            near = verbs[i];
    if (near != NULL)
        lt_hint("did you mean `longtake %s`?", near->name);
    else
        lt_hint("`longtake --help` lists the verbs");
    LT_FAIL(LT_EUSAGE, "unknown verb '%.200s'", name);
}

/* What a program gets that asked for JSON: the failure, after whatever rows there were. stdout may
 * be what failed, so nothing more is said of it. */
static void answer_error(lt_status st)
{
    const char *hint = lt_hint_text();
    (void)lt_answer_json(json_pack("{s:s, s:i, s:s, s:s?, s:i}", "format", "longtake-error",
                                   "version", 1, "error", lt_error_text(), "hint",
                                   hint[0] != '\0' ? hint : NULL, "exit_code", lt_exit_code(st)),
                         JSON_COMPACT);
}

/* Help, --version, a wrong verb and the verbs of one process open no world: there the launcher's
 * number says which one prints, so that mpirun -n 8 gives one answer. */
static int silent;

static void speak_once(void)
{
    silent = !lt_launcher_prints();
    if (silent)
        lt_answer_mute();
}

/* A launcher ends all as soon as the first has left with an error (Open MPI 5's at once): who says
 * nothing must not be the first. */
static void let_speak(long ms)
{
    (void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* One rank prints: rank 0 when all agreed on the failure, else the rank that failed, which then
 * ends the job, since its peers may wait for it. */
static int report(lt_status st, lt_group *world, int verbose, int json)
{
    lt_status first = st;
    const int agreed = world == NULL || lt_group_size(world) == 1 || lt_agreed_failure(&first);
    if (st == LT_OK)
        return 0;
    if (world == NULL || lt_group_size(world) == 1)
        first = st;
    if (world == NULL && silent)
        let_speak(LT_LEAVE_SILENT_MS);
    const int alike = world == NULL && st == LT_EUNAVAIL; /* all ranks failed, for want of one */
    const int rank = world != NULL ? lt_group_rank(world)
                     : alike       ? lt_launcher_find().rank
                                   : silent;
    if (!agreed) { /* alone with it: the line says where that was, unless all know better by now */
        const char *me = lt_detector_me();
        char text[1024], hint[1024];
        if (st == LT_ETEMP) /* the user's wish, and no failure of this rank */
            me = "";
        (void)snprintf(text, sizeof text, "%s%s%s", me, me[0] != '\0' ? ": " : "", lt_error_text());
        (void)snprintf(hint, sizeof hint, "%s", lt_hint_text());
        if (hint[0] != '\0')
            lt_hint("%s", hint);
        (void)lt_fail(st, __FILE__, __LINE__, "%s", text);
    }
    if (!agreed || rank == 0)
        lt_leave_say_error(verbose);
    if (json && (!agreed || rank == 0))
        answer_error(first);
    if (!agreed) {
        (void)fflush(stderr);
        lt_world_abort(lt_exit_code(st));
    }
    return lt_exit_code(first);
}

/* help, help --man, help --completion SHELL; words after it. */
static lt_status answer_help(int argc, char **argv)
{
    lt_status st = LT_OK;
    lt_answer answer;
    LT_TRY(lt_answer_open(&answer));
    if (argc == 0)
        print_help(answer.to);
    else if (argc == 1 && strcmp(argv[0], "--man") == 0)
        lt_shell_man(answer.to, verbs, VERB_COUNT);
    else if (argc != 2 || strcmp(argv[0], "--completion") != 0 ||
             !lt_shell_completion(answer.to, argv[1], verbs, VERB_COUNT))
        st = lt_fail(LT_EUSAGE, __FILE__, __LINE__,
                     "help: want a verb, --man or --completion bash|zsh|fish, found '%.100s'",
                     argv[argc - 1]);
    return lt_answer_send(&answer, st);
}

static lt_status answer_verb_help(const lt_verb *verb, const lt_options *options)
{
    lt_answer answer;
    LT_TRY(lt_answer_open(&answer));
    lt_options_help(options, answer.to, verb->usage, verb->intro, verb->examples);
    return lt_answer_send(&answer, LT_OK);
}

/* --version [-v] [--json]: the first line is "longtake VERSION (COMMIT)". */
static lt_status answer_version(int argc, char **argv)
{
    int json = 0, verbose = 0;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = 1;
        else if (strcmp(argv[i], "-v") == 0 || strcmp(argv[i], "--verbose") == 0)
            verbose = 1;
        else
            LT_FAIL(LT_EUSAGE, "--version: want -v, --json or nothing, found '%.200s'", argv[i]);
    }
    if (!json && !verbose)
        return lt_answer_line(lt_version_software());
    json_t *facts = lt_versions();
    if (json) {
        json_t *all = json_pack("{s:s, s:i, s:s}", "format", "longtake-version", "version", 1,
                                "software", "longtake " LT_VERSION);
        if (all != NULL && json_object_update(all, facts) != 0) {
            json_decref(all);
            all = NULL;
        }
        json_decref(facts);
        return lt_answer_json(all, JSON_COMPACT);
    }
    lt_answer answer;
    const lt_status st = lt_answer_open(&answer);
    if (st != LT_OK) {
        json_decref(facts);
        return st;
    }
    const char *name;
    json_t *value;
    (void)fprintf(answer.to, "%s\n%-9s %s\n", lt_version_software(), "compiler",
                  json_string_value(json_object_get(facts, "compiler")));
    json_object_foreach (json_object_get(facts, "libraries"), name, value)
        (void)fprintf(answer.to, "%-9s %s\n", name, json_string_value(value));
    json_decref(facts);
    return lt_answer_send(&answer, LT_OK);
}

/* After a bad flag the ones behind it were not read. */
static int has_word(int argc, char *const *argv, const char *word)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], word) == 0)
            return 1;
    return 0;
}

static lt_status open_log(const lt_job *job)
{
    LT_TRY(lt_outputs_check_log(job));
    return lt_log_file_open(job->log, job->overwrite);
}

static int run_verb(const lt_verb *verb, int argc, char **argv)
{
    lt_job job;
    memset(&job, 0, sizeof job);
    lt_options *options = NULL;
    lt_group *world = NULL;
    const char *words[WORDS_MAX];
    size_t word_count = 0;
    lt_status st =
        lt_options_new(lt_job_options, (size_t)lt_job_option_count, verb->bit, &job, &options);
    if (st == LT_OK) {
        lt_options_others(options, lt_job_others, lt_job_other_count);
        st = lt_options_parse_args(options, argc, argv, words, WORDS_MAX, &word_count);
    }
    if (job.help || !verb->collective)
        speak_once();
    if (st == LT_OK && job.help) {
        st = answer_verb_help(verb, options);
        lt_options_free(&options);
        return report(st, NULL, job.verbose, job.json);
    }
    lt_log_open(0, 1, job.quiet ? 0 : job.verbose > 1 ? 5 : job.verbose ? 3 : 1);
    lt_status opened = LT_OK;
    if (st == LT_OK && (verb->reads_latents || job.resume != NULL))
        st = lt_latents_reader_begin();
    if (verb->collective) {
        /* Also after a bad flag: under a launcher all ranks saw the same flags, and one of them
         * speaks. */
        opened = lt_world_open(&world);
        if (opened == LT_OK) {
            lt_log_open(lt_group_rank(world), lt_group_size(world), lt_log_level());
            st = lt_agree(world, st);
            if (st == LT_OK)
                st = lt_same_program(world, argc, argv);
        } else {
            st = opened;
        }
    }
    if (st == LT_OK && job.log != NULL && world == NULL)
        st = open_log(&job);
    else if (st == LT_OK && job.log != NULL)
        st = lt_agree(world, lt_group_rank(world) == 0 ? open_log(&job) : LT_OK);
    if (st == LT_OK && verb->complete != NULL)
        st = verb->complete(options, &job, words, word_count, world);
    if (st == LT_OK)
        st = verb->run(&job, options, words, word_count, world);
    const int code =
        report(st, world, job.verbose, job.json || (st != LT_OK && has_word(argc, argv, "--json")));
    lt_stop_finish(code);
    lt_latents_reader_end();
    lt_options_free(&options);
    const int is_heard = world == NULL || lt_group_rank(world) == 0;
    lt_world_close(&world);
    lt_log_file_close();
    if (code != 0 && !is_heard) /* rank 0 has spoken: its line is to be through */
        let_speak(LT_LEAVE_PRINTER_MS);
    return code;
}

int main(int argc, char **argv)
{
    lt_answer_init();
    lt_stop_catch(lt_launcher_find().rank == 0 || !lt_launcher_find().has_mpi);
    const lt_verb *verb = argc > 1 ? find_verb(argv[1]) : NULL;
    if (verb == NULL)
        speak_once();
    if (argc < 2) {
        if (silent)
            let_speak(LT_LEAVE_SILENT_MS);
        else
            print_help(stderr);
        return lt_exit_code(LT_EUSAGE);
    }
    if (strcmp(argv[1], "--version") == 0)
        return report(answer_version(argc, argv), NULL, 0, 0);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        verb = argc > 2 ? find_verb(argv[2]) : NULL;
        if (verb != NULL)
            return run_verb(verb, 2, (char *[]){argv[2], (char[]){"--help"}, NULL});
        return report(answer_help(argc - 2, argv + 2), NULL, 0, 0);
    }
    if (verb == NULL)
        return report(unknown_verb(argv[1]), NULL, 0, 0);
    return run_verb(verb, argc - 1, argv + 1);
}
