/* resume.c - which job goes on in a run folder. */
#include "run/resume/resume.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "media/mux.h"
#include "parallel/mesh.h"
#include "run/plan_json.h"
#include "run/resume/model_files.h"
#include "run/state/film_state.h"

/* ---- what RUN says ---- */

lt_status lt_resume_job_text(const char *run, char **text, size_t *bytes)
{
    char file[LT_PATH_BYTES];
    *text = NULL;
    *bytes = 0;
    LT_TRY(lt_path_join(file, sizeof file, run, "job.yaml"));
    if (!lt_file_is_dir(run) || !lt_file_exists(file))
        return LT_OK;
    return lt_file_read_regular(file, LT_JOB_BYTES_MAX, text, bytes);
}

static int is_in(const char *run, const char *name)
{
    char file[LT_PATH_BYTES];
    return lt_path_join(file, sizeof file, run, name) == LT_OK && lt_file_exists(file);
}

/* NULL, with a warning if it is there: what is no longer whole decides nothing. */
static json_t *read_json(const char *run, const char *name)
{
    char file[LT_PATH_BYTES];
    json_t *value = NULL;
    if (lt_path_join(file, sizeof file, run, name) == LT_OK && lt_file_exists(file) &&
        lt_json_read(file, &value) != LT_OK)
        lt_warn("%s: not used: %s", file, lt_error_text());
    lt_error_clear();
    return value;
}

static lt_status read_plan(const char *run, lt_plan *out)
{
    char file[LT_PATH_BYTES];
    char *text = NULL;
    size_t bytes = 0;
    LT_TRY(lt_path_join(file, sizeof file, run, "plan.json"));
    if (!lt_file_exists(file))
        LT_FAIL(LT_ENOINPUT, "%s: no plan.json", run);
    lt_status st = lt_file_read_regular(file, 64 << 20, &text, &bytes);
    if (st == LT_OK)
        st = lt_plan_from_json(text, bytes, out);
    free(text);
    if (st != LT_OK)
        LT_FAIL(st, "%s: not used: %s", file, lt_error_text());
    return LT_OK;
}

/* Without a plan.json the heads of what was kept say what was chosen. */
static void read_settled(lt_resume *r)
{
    char from[LT_PATH_BYTES];
    r->has_settled = read_plan(r->job.run, &r->settled) == LT_OK;
    if (!r->has_settled) {
        char why[600];
        (void)snprintf(why, sizeof why, "%s", lt_error_text());
        lt_plan_free(&r->settled);
        r->chosen = lt_film_chosen(r->job.run, from, sizeof from);
        if (r->chosen != NULL)
            lt_warn("%s: what --mode, --dtype and the like chose is taken from %s", why, from);
        else
            lt_warn("%s: what --mode, --dtype and the like choose is chosen anew", why);
    }
    lt_error_clear();
}

static int same_bytes(const char *one, const char *other)
{
    static char a[1 << 16], b[1 << 16];
    struct stat x, y;
    const int first = open(one, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    const int second = open(other, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int same = first >= 0 && second >= 0 && fstat(first, &x) == 0 && fstat(second, &y) == 0 &&
               x.st_size == y.st_size && x.st_size > 0;
    for (off_t at = 0; same && at < x.st_size; at += (off_t)sizeof a) {
        const size_t n = x.st_size - at < (off_t)sizeof a ? (size_t)(x.st_size - at) : sizeof a;
        same = pread(first, a, n, at) == (ssize_t)n && pread(second, b, n, at) == (ssize_t)n &&
               memcmp(a, b, n) == 0;
    }
    if (first >= 0)
        (void)close(first);
    if (second >= 0)
        (void)close(second);
    return same;
}

/* The manifest's last words are of a film, and that film is there. */
static int is_done(const lt_resume *r)
{
    struct stat info;
    json_t *manifest = read_json(r->job.run, "manifest.json");
    const json_t *film = json_object_get(manifest, "output");
    json_t *wanted = lt_json_of_path(r->job.output);
    const int done = json_is_string(json_object_get(manifest, "finished")) && film != NULL &&
                     json_equal(json_object_get(film, "file"), wanted) &&
                     stat(r->job.output, &info) == 0 &&
                     info.st_size == json_integer_value(json_object_get(film, "bytes"));
    json_decref(wanted);
    json_decref(manifest);
    return done;
}

/* A start that was killed behind its film's publishing left OUT, with RUN's bytes. */
static int made_output(const lt_resume *r)
{
    char film[LT_PATH_BYTES], name[32];
    const char *suffix = lt_mux_suffix(r->job.output);
    if (suffix == NULL)
        return 0;
    (void)snprintf(name, sizeof name, "out%s", suffix);
    return lt_path_join(film, sizeof film, r->job.run, name) == LT_OK &&
           same_bytes(film, r->job.output) &&
           (r->job.sheet == NULL || !lt_file_exists(r->job.sheet)) &&
           (r->job.wav == NULL || !lt_file_exists(r->job.wav));
}

/* ---- what holds ---- */

/* A film that lay beside its run folder does so still, wherever both are now. */
static void settle_output(lt_resume *r)
{
    char then_run[LT_PATH_BYTES], then_film[LT_PATH_BYTES], now[LT_PATH_BYTES];
    const char *slash = strrchr(r->settled.output, '/');
    const char *last = slash != NULL ? slash + 1 : r->settled.output;
    if (lt_path_folder(then_run, sizeof then_run, r->settled.run) == LT_OK &&
        lt_path_folder(then_film, sizeof then_film, r->settled.output) == LT_OK &&
        strcmp(then_run, then_film) == 0 && lt_path_folder(now, sizeof now, r->job.run) == LT_OK) {
        const int here = strcmp(now, ".") == 0 && r->job.run[0] != '.';
        const int n = here ? snprintf(r->output, sizeof r->output, "%s", last)
                           : snprintf(r->output, sizeof r->output, "%s/%s", now, last);
        if (n > 0 && (size_t)n < sizeof r->output)
            r->job.output = r->output;
    }
    if (r->job.output == NULL)
        r->job.output = r->settled.output;
    lt_error_clear();
}

/* Where the job leaves it open, what an earlier start chose. */
static void settle(lt_resume *r)
{
    const lt_plan *was = &r->settled;
    lt_job *job = &r->job;
    if (job->output == NULL)
        settle_output(r);
    if (job->dtype == NULL || strcmp(job->dtype, "auto") == 0)
        job->dtype = was->dtype == LT_BF16 ? "bf16" : "f32";
    if (job->mode == NULL || strcmp(job->mode, "auto") == 0)
        job->mode = was->board.shots > 0 ? job->mode : lt_mode_names[was->asked.mode];
    if (job->window == 0 && was->asked.mode != LT_MODE_SINGLE)
        job->window = was->asked.window;
    if (job->fade < 0 && was->asked.mode == LT_MODE_EXTEND)
        job->fade = was->asked.fade;
    if (job->steps == 0)
        job->steps = was->steps;
    if (job->seed.drawn)
        job->seed = (lt_seed){was->seed, 0};
}

/* The same, as heads of state files have it (state/film_state.h). */
static void settle_chosen(const json_t *chosen, lt_job *job)
{
    const char *dtype = json_string_value(json_object_get(chosen, "dtype"));
    const char *mode = json_string_value(json_object_get(chosen, "mode"));
    if (dtype != NULL && (job->dtype == NULL || strcmp(job->dtype, "auto") == 0))
        job->dtype = dtype;
    if (mode != NULL && job->shots == NULL && (job->mode == NULL || strcmp(job->mode, "auto") == 0))
        job->mode = mode;
    if (job->window == 0 && mode != NULL && strcmp(mode, lt_mode_names[LT_MODE_SINGLE]) != 0)
        job->window = json_integer_value(json_object_get(chosen, "window"));
    if (job->fade < 0 && mode != NULL && strcmp(mode, lt_mode_names[LT_MODE_EXTEND]) == 0)
        job->fade = json_integer_value(json_object_get(chosen, "fade"));
    if (job->steps == 0)
        job->steps = json_integer_value(json_object_get(chosen, "steps"));
}

/* What RUN's job.yaml said of a mesh is for the ranks of then. */
static void settle_ranks(lt_resume *r, const lt_options *options, int ranks)
{
    lt_job *job = &r->job;
    lt_mesh_spec mesh;
    if (lt_options_was_set(options, "mesh") != LT_OPT_BY_FLAG && job->mesh != NULL &&
        strcmp(job->mesh, "auto") != 0 &&
        (lt_mesh_parse(job->mesh, &mesh) != LT_OK || lt_mesh_ranks(&mesh) != ranks)) {
        lt_warn("mesh %s is not for %d ranks: planned anew", job->mesh, ranks);
        job->mesh = "auto";
        lt_error_clear();
    }
    if (lt_options_was_set(options, "decode-tp") != LT_OPT_BY_FLAG && job->decode_tp > 1 &&
        ranks % job->decode_tp != 0)
        job->decode_tp = 1;
}

lt_status lt_resume_begin(const lt_job *job, const lt_options *options, int ranks, lt_resume *out)
{
    memset(out, 0, sizeof *out);
    out->job = *job;
    if (job->resume == NULL || !is_in(job->run, "job.yaml"))
        return LT_OK;
    out->goes_on = 1;
    read_settled(out);
    if (out->has_settled)
        settle(out);
    else
        settle_chosen(out->chosen, &out->job);
    settle_ranks(out, options, ranks);
    out->has_latents = is_in(job->run, "latents.h5");
    if (out->job.output == NULL)
        return LT_OK;
    out->is_done = is_done(out);
    if (!out->is_done && made_output(out))
        out->job.overwrite = 1;
    return LT_OK;
}

void lt_resume_end(lt_resume *resume)
{
    lt_plan_free(&resume->settled);
    json_decref(resume->chosen);
    resume->chosen = NULL;
}

/* ---- is it the same? ---- */

/* Keys of a plan that settle the latents, with the option by which each is asked for. */
static const struct {
    const char *key, *option, *other;
} same[] = {{"prompt", "prompt", "shots"},
            {"shots", "shots", NULL},
            {"seed", "seed", NULL},
            {"frames", "frames", "seconds"},
            {"width", "size", NULL},
            {"height", "size", NULL},
            {"steps", "steps", NULL},
            {"mode", "mode", NULL},
            {"window", "window", NULL},
            {"overlap", "overlap", NULL},
            {"fade", "fade", NULL},
            {"fuse", "fuse", NULL},
            {"dither", "dither", NULL},
            {"owner_cut_steps", "owner-cut-steps", NULL},
            {"anchors", "anchors", NULL},
            {"positions", "positions", NULL},
            {"refine_from", "refine-from", NULL},
            {"coarse_width", "size", NULL},
            {"coarse_height", "size", NULL},
            {"tile_width", "tile", NULL},
            {"tile_height", "tile", NULL},
            {"deterministic", "deterministic", NULL},
            {"dtype", "dtype", NULL},
            {"grid_frames", "model", NULL},
            {"samples", "model", NULL},
            {"fps", "model", NULL},
            {"sample_rate", "model", NULL}};

static void show(const json_t *value, char out[160])
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    (void)snprintf(out, 160, "%.120s%s", text != NULL ? text : "none",
                   text != NULL && strlen(text) > 120 ? " ..." : "");
    free(text);
}

static lt_status compare_plans(const char *run, const lt_options *options, const json_t *was,
                               const json_t *is)
{
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const json_t *wanted = json_object_get(was, same[i].key);
        const json_t *found = json_object_get(is, same[i].key);
        if (wanted == found || (wanted != NULL && found != NULL && json_equal(wanted, found)))
            continue;
        char want[160], have[160];
        const char *option = same[i].option;
        if (same[i].other != NULL && lt_options_was_set(options, option) == LT_OPT_UNSET &&
            lt_options_was_set(options, same[i].other) != LT_OPT_UNSET)
            option = same[i].other;
        show(wanted, want);
        show(found, have);
        lt_hint("what a run began with stays; another run folder begins another film");
        LT_FAIL(lt_options_was_set(options, option) == LT_OPT_BY_FLAG ? LT_EUSAGE : LT_EDATA,
                "%s: --resume %s: want %s %s, as the run has, found %s",
                lt_options_where(options, option), run, same[i].key, want, have);
    }
    return LT_OK;
}

/* What RUN/job.yaml alone would be planned as: without a plan.json it tells what was asked. */
static lt_status plan_of_yaml(const lt_resume *r, const lt_model *model, const lt_nodes *nodes,
                              lt_plan *out)
{
    lt_job was;
    lt_options *options = NULL;
    char *text = NULL;
    size_t bytes = 0;
    memset(&was, 0, sizeof was);
    lt_status st =
        lt_options_new(lt_job_options, (size_t)lt_job_option_count, LT_VERB_RENDER, &was, &options);
    if (st == LT_OK)
        st = lt_resume_job_text(r->job.run, &text, &bytes);
    if (st == LT_OK && text == NULL)
        st = lt_fail(LT_ENOINPUT, __FILE__, __LINE__, "%s: no job.yaml", r->job.run);
    if (st == LT_OK)
        st = lt_options_parse_yaml_text(options, text, bytes, "job.yaml");
    settle_chosen(r->chosen, &was);
    was.output = r->job.output;
    was.run = r->job.run;
    was.mesh = "auto";
    was.decode_tp = 1;
    if (st == LT_OK)
        st = lt_plan_make(&was, "shots", model, nodes, out);
    free(text);
    lt_options_free(&options);
    return st;
}

static lt_status plan_json(const lt_plan *plan, json_t **out)
{
    char *text = NULL;
    LT_TRY(lt_plan_to_text(plan, NULL, &text));
    const lt_status st = lt_json_parse(text, strlen(text), "plan", out);
    free(text);
    return st;
}

/* Each file that it had, as it was. */
static lt_status compare_model(const char *run, const char *model)
{
    json_t *manifest = read_json(run, "manifest.json");
    json_t *was = json_object_get(manifest, "model_files"), *facts = NULL;
    if (was == NULL) {
        lt_warn("%s: no manifest.json says which model it was: %s is taken for it", run, model);
        json_decref(manifest);
        return LT_OK;
    }
    static const char *const keys[] = {"bytes", "xxh64", "changed"};
    const char *name = NULL;
    json_t *is = lt_model_files(model);
    lt_status st = LT_OK;
    json_object_foreach (was, name, facts)
        for (size_t i = 0; st == LT_OK && i < sizeof keys / sizeof *keys; i++) {
            const json_t *wanted = json_object_get(facts, keys[i]);
            const json_t *found = json_object_get(json_object_get(is, name), keys[i]);
            char want[160], have[160];
            if (wanted != NULL && found != NULL && json_equal(wanted, found))
                continue;
            show(wanted, want);
            show(found, have);
            lt_hint("the model must be the one that the run began with; another run folder begins "
                    "another film");
            st = lt_fail(LT_EDATA, __FILE__, __LINE__,
                         "%s/%s: --resume %s: want %s %s, as the run began with, found %s", model,
                         name, run, keys[i], want, have);
        }
    json_decref(is);
    json_decref(manifest);
    return st;
}

lt_status lt_resume_check(const lt_resume *r, const lt_options *options, const lt_model *model,
                          const lt_nodes *nodes, const lt_plan *draft)
{
    json_t *was = NULL, *is = NULL;
    lt_plan plan = {0};
    if (!r->goes_on)
        return LT_OK;
    lt_status st = LT_OK;
    if (!r->has_settled)
        LT_TRY_GOTO(plan_of_yaml(r, model, nodes, &plan), st, done);
    LT_TRY_GOTO(plan_json(r->has_settled ? &r->settled : &plan, &was), st, done);
    LT_TRY_GOTO(plan_json(draft, &is), st, done);
    LT_TRY_GOTO(compare_plans(r->job.run, options, was, is), st, done);
    LT_TRY_GOTO(compare_model(r->job.run, draft->model), st, done);
done:
    json_decref(was);
    json_decref(is);
    lt_plan_free(&plan);
    return st;
}

lt_status lt_resume_done(const lt_resume *r, lt_outcome *out)
{
    json_t *manifest = read_json(r->job.run, "manifest.json");
    json_t *seconds = json_object_get(manifest, "stage_seconds");
    out->stages = json_is_object(seconds) ? json_deep_copy(seconds) : json_object();
    json_decref(manifest);
    (void)snprintf(out->output, sizeof out->output, "%s", r->job.output);
    (void)snprintf(out->run, sizeof out->run, "%s", r->job.run);
    out->frames = r->settled.frames;
    out->samples = r->settled.samples;
    if (!r->job.quiet)
        lt_say("longtake: the run at %s is finished", r->job.run);
    return LT_OK;
}
