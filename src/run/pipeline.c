/* pipeline.c - from a job to a film: plan, text, noise, denoise, store, decode.
 *
 *   rank 0            all ranks
 *                     compare copies of the model, serve it where it is missing (source.h)
 *   job -> model -> draft --broadcast-> model, threads, mesh, dry run, agree: it fits; engine
 *   plan -----------broadcast---------> the same bytes on every rank, const from here on
 *   run folder
 *   tokens ---------> text rows (tp over few ranks), broadcast
 *                     noise, denoise (agreement each step)
 *   latents.h5        (before anything is decoded: what was denoised is safe)
 *   muxer <---------- clips
 *   publish
 *
 * Everything that can be wrong with the job, the model's headers, the output's place or the memory
 * is found before the run folder is made. */
#include "run/pipeline.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/stop.h"
#include "model/files/same_reads.h"
#include "model/weights/collective_read.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "run/decode.h"
#include "run/denoise/denoise.h"
#include "run/folder.h"
#include "run/place.h"
#include "run/records.h"
#include "run/session.h"
#include "run/store_latents.h"
#include "run/trace.h"
#include "run/versions.h"

/* Text rows of all prompts on every rank: tp ranks encode, rank 0 broadcasts. */
static lt_status make_text(lt_session *s, const lt_plan *plan, float **rows)
{
    const lt_family *family = s->model->family;
    const int64_t width = family->text_width(s->model);
    const size_t bytes = (size_t)(s->tokens.all * width) * sizeof(float);
    lt_progress_stage(s->progress, "text", "prompt", s->tokens.prompts);
    lt_status st = lt_fault_step(lt_group_rank(s->world), 0);
    *rows = calloc(1, bytes > 0 ? bytes : 1);
    if (*rows == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "text: no memory for %lld rows",
                     (long long)s->tokens.all);
    LT_TRY(lt_agree(s->world, st));
    LT_TRY(lt_residency_need(&s->residency, LT_PHASE_TEXT, plan, NULL));
    int64_t at = 0;
    for (int i = 0; i < s->tokens.prompts; i++) {
        const int64_t count = s->tokens.count[i];
        if (s->text_group != NULL)
            st = family->text_encode(s->model, s->tokens.ids + at, count, *rows + at * width);
        LT_TRY(lt_agree(s->world, st));
        at += count;
        if (i + 1 < s->tokens.prompts)
            lt_progress_step(s->progress, i + 1);
    }
    LT_TRY(lt_same_reads_check(s->world)); /* of the rows of the embedding */
    LT_TRY(lt_broadcast(s->world, 0, *rows, bytes));
    lt_progress_step(s->progress, s->tokens.prompts);
    return LT_OK;
}

/* The film's shots, and their latents once they are denoised. */
typedef struct shots {
    lt_film_shot *shot; /* [count] owned */
    lt_clip *clip;      /* [count] owned */
    int count;
} shots;

static void shots_free(shots *f)
{
    for (int i = 0; f->clip != NULL && i < f->count; i++)
        lt_clip_free(&f->clip[i]);
    free(f->clip);
    free(f->shot);
    *f = (shots){0};
}

static lt_status shots_new(const lt_plan *plan, const lt_model *model, shots *out)
{
    LT_TRY(lt_film_shots(plan, model, &out->shot, &out->count));
    out->clip = calloc((size_t)out->count, sizeof *out->clip);
    if (out->clip == NULL)
        LT_FAIL(LT_ENOMEM, "latents: no memory for %d shots", out->count);
    for (int i = 0; i < out->count; i++)
        LT_TRY(lt_clip_new(&out->shot[i].plan, &out->clip[i]));
    return LT_OK;
}

/* Shot after shot, each as if it were rendered alone, by the one DiT that is open. */
static lt_status denoise_shots(lt_session *s, const lt_plan *plan, const float *rows,
                               const lt_levels *levels, const shots *f)
{
    const int64_t width = s->model->family->text_width(s->model);
    lt_text text[LT_TEXTS_MAX];
    int before = 0, all = 0;
    for (int i = 0; i < f->count; i++)
        all += lt_denoise_steps(s->model, &f->shot[i].plan, 0);
    for (int i = 0; i < f->count; i++) {
        const lt_film_shot *shot = &f->shot[i];
        const lt_texts texts = lt_tokens_texts(&s->tokens, plan, shot, rows, width, text);
        const lt_denoise_in in = {.model = s->model,
                                  .mesh = &s->bound.mesh,
                                  .plan = &shot->plan,
                                  .levels = levels,
                                  .texts = &texts,
                                  .steps_before = before,
                                  .steps_all = all,
                                  .progress = s->progress};
        if (f->count > 1)
            lt_progress_shot(s->progress, i + 1, f->count);
        lt_clip_noise(&shot->plan, &f->clip[i]);
        LT_TRY(lt_denoise(&in, &s->residency.engine[LT_PHASE_DIT], &f->clip[i]));
        before += lt_denoise_steps(s->model, &shot->plan, 0);
    }
    lt_progress_shot(s->progress, 0, 0);
    return LT_OK;
}

static lt_status denoise(lt_session *s, const lt_plan *plan, const float *rows, const shots *f)
{
    lt_levels levels = {0};
    lt_status st = LT_OK;
    lt_progress_stage(s->progress, "load", "part", 1);
    LT_TRY_GOTO(lt_agree(s->world, lt_levels_make(s->model, plan, &levels)), st, done);
    LT_TRY_GOTO(lt_residency_need(&s->residency, LT_PHASE_DIT, plan, &levels), st, done);
    lt_progress_step(s->progress, 1);
    LT_TRY_GOTO(denoise_shots(s, plan, rows, &levels, f), st, done);
done:
    lt_levels_free(&levels);
    return st;
}

static lt_status make_latents(lt_session *s, const lt_plan *plan, const shots *f)
{
    float *rows = NULL;
    lt_status st = make_text(s, plan, &rows);
    if (st == LT_OK)
        st = denoise(s, plan, rows, f);
    free(rows);
    LT_TRY(st);
    lt_progress_stage(s->progress, "store", "file", 1);
    if (lt_group_rank(s->world) == 0) {
        lt_stop_shield(1);
        st = lt_store_latents(plan, f->shot, f->clip, f->count);
        lt_stop_shield(0);
    }
    lt_progress_step(s->progress, 1);
    LT_TRY(lt_agree(s->world, st));
    lt_stop_keeps(plan->run);
    return LT_OK;
}

static lt_status finish(lt_session *s, const lt_plan *plan, int manifest, lt_outcome *out)
{
    if (lt_group_rank(s->world) != 0)
        return LT_OK;
    lt_status st = LT_OK;
    json_t *film = lt_records_film(plan->output);
    out->stages = lt_progress_stages(s->progress);
    if (manifest)
        st = lt_records_manifest(plan, s->world, &s->nodes, film, out->stages, s->memory);
    if (st != LT_OK)
        (void)lt_fail(st, __FILE__, __LINE__, "%s is whole, but %s", plan->output, lt_error_text());
    lt_progress_event(s->progress, "end",
                      json_pack("{s:o, s:I, s:O?, s:O?}", "output", lt_json_of_path(plan->output),
                                "frames", (json_int_t)plan->frames, "film", film, "memory",
                                s->memory));
    json_decref(film);
    LT_TRY(st);
    (void)snprintf(out->output, sizeof out->output, "%s", plan->output);
    (void)snprintf(out->run, sizeof out->run, "%s", plan->run);
    out->frames = plan->frames;
    out->samples = plan->samples;
    return LT_OK;
}

/* Progress for people, events for RUN; then the first event. */
static lt_status open_progress(const lt_job *job, lt_session *s, const lt_plan *plan, int is_render)
{
    int events = -1;
    LT_TRY(lt_records_events(plan, is_render, &events));
    const lt_status st = lt_progress_open(events, job->quiet, &s->progress);
    if (st != LT_OK && events >= 0)
        (void)close(events);
    LT_TRY(st);
    for (int i = 0; i < LT_TIMES; i++)
        lt_progress_work(s->progress, lt_time_names[i], s->footprint.flops[i]);
    lt_progress_event(
        s->progress, "start",
        json_pack("{s:s, s:s, s:o, s:s, s:o, s:i, s:i}", "verb", is_render ? "render" : "decode",
                  "software", lt_version_software(), "model", lt_json_of_path(plan->model),
                  "prompt", plan->prompt, "output", lt_json_of_path(plan->output), "ranks",
                  lt_group_size(s->world), "evaluations", is_render ? plan->evaluations : 0));
    return LT_OK;
}

/* Where the film grows, and in whose folder the audio lies meanwhile: a render's in RUN, a decode's
 * beside OUT, since RUN may be full or read-only. */
static lt_status film_paths(const lt_plan *plan, int is_render, char *film, char *audio)
{
    char file[64];
    if (is_render) {
        (void)snprintf(file, sizeof file, "out%s", lt_mux_suffix(plan->output));
        LT_TRY(lt_folder_path(plan, file, film, LT_PATH_BYTES));
        LT_TRY(lt_folder_path(plan, "sound.part", audio, LT_PATH_BYTES));
        return LT_OK;
    }
    (void)snprintf(film, LT_PATH_BYTES, "%s", plan->output);
    (void)snprintf(audio, LT_PATH_BYTES, "%s", plan->output);
    return LT_OK;
}

typedef struct {
    const lt_plan *plan;
    const char *film;
    lt_replace replace;
} publishing;

/* Before sheet and wav: what goes wrong there never takes the film with it. */
static lt_status publish(void *ctx)
{
    const publishing *p = ctx;
    return lt_folder_publish(p->plan, p->film, p->replace);
}

static lt_status make_film(lt_session *s, const lt_plan *plan, const lt_job *job,
                           const lt_latent_source *source, int is_render, lt_outcome *out)
{
    char film[LT_PATH_BYTES], audio[LT_PATH_BYTES];
    LT_TRY(film_paths(plan, is_render, film, audio));
    publishing p = {plan, film, s->outputs.replace};
    const lt_decode_outputs outputs = {.film = film,
                                       .hidden = !is_render,
                                       .audio = audio,
                                       .sheet = job->sheet,
                                       .wav = job->wav,
                                       .tags = job->tags,
                                       .replace = s->outputs.replace,
                                       .whole = is_render ? publish : NULL,
                                       .whole_ctx = &p,
                                       .extra = &out->beside};
    lt_stop_arm(lt_group_rank(s->world) == 0);
    LT_TRY(lt_residency_need(&s->residency, LT_PHASE_DECODE, plan, NULL));
    LT_TRY(lt_decode(s->model, &s->residency.engine[LT_PHASE_DECODE], plan, source, &outputs,
                     s->progress));
    const lt_status measured = lt_session_measure(s);
    if (measured != LT_OK)
        LT_FAIL(measured, "%s is whole, but %s", plan->output, lt_error_text());
    const lt_status mine = finish(s, plan, is_render, out);
    const lt_status all = lt_agree(s->world, mine);
    if (all != LT_OK && mine == LT_OK && lt_group_rank(s->world) == 0)
        LT_FAIL(all, "%s is whole, but %s", plan->output, lt_error_text());
    LT_TRY(all);
    return LT_OK;
}

/* What is told of a film is the caller's only where there is one. */
static void outcome_end(lt_status st, lt_outcome *out)
{
    if (st != LT_OK) {
        json_decref(out->stages);
        out->stages = NULL;
    }
}

/* ---- render ---- */

static lt_status render_model(const lt_job *job, char *path, size_t bytes)
{
    if (job->output == NULL) {
        lt_hint("`longtake render --help` has examples");
        LT_FAIL(LT_EUSAGE, "-o: want the film's name, e.g. -o film.mp4");
    }
    if (job->output[0] == '\0')
        LT_FAIL(LT_EUSAGE, "-o: want the film's name, found an empty one");
    LT_TRY(lt_job_model(job, path, bytes));
    return LT_OK;
}

static lt_status check_run(const lt_job *job, const lt_options *options, const lt_plan *plan)
{
    char *yaml = NULL;
    LT_TRY(lt_options_dump_yaml(options, &yaml));
    const lt_status st = lt_folder_check(plan, yaml, job->overwrite);
    free(yaml);
    return st;
}

static lt_status render_draft(const lt_job *job, const lt_options *options, const char *model,
                              lt_session *s, lt_plan *draft)
{
    LT_TRY(lt_model_open(model, &s->model));
    const char *where = lt_options_where(options, "shots");
    LT_TRY(lt_plan_make(job, where, s->model, &s->nodes, draft));
    LT_TRY(lt_session_check(s, job, draft, draft->run));
    LT_TRY(check_run(job, options, draft));
    LT_TRY(lt_tokens_make(s->model, draft, where, &s->tokens));
    return LT_OK;
}

static lt_status render_folder(const lt_job *job, const lt_options *options, lt_session *s,
                               const lt_plan *plan)
{
    char *yaml = NULL;
    LT_TRY(lt_outputs_take(&s->outputs));
    LT_TRY(lt_options_dump_yaml(options, &yaml));
    const lt_status st = lt_folder_make(plan, yaml, job->overwrite, &s->run_lease);
    free(yaml);
    LT_TRY(st);
    LT_TRY(lt_records_manifest(plan, s->world, &s->nodes, NULL, NULL, NULL));
    if (job->seed.drawn && !job->quiet)
        lt_say("longtake: seed %llu was drawn", (unsigned long long)plan->seed);
    return open_progress(job, s, plan, 1);
}

/* Whatever goes wrong once they are kept. */
static void hint_of_latents(lt_status st)
{
    const char *hint = lt_stop_hint();
    if (st != LT_OK && hint[0] != '\0' && lt_hint_text()[0] == '\0')
        lt_hint("%s", hint);
}

lt_status lt_render(const lt_job *job, const lt_options *options, lt_group *world, lt_outcome *out)
{
    lt_session s = {.world = world};
    lt_plan draft = {0}, plan = {0};
    shots f = {0};
    lt_status st = LT_OK;
    memset(out, 0, sizeof *out);
    const int root = lt_group_rank(world) == 0;
    char model[LT_PATH_BYTES] = "";
    if (root)
        st = render_model(job, model, sizeof model);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    LT_TRY_GOTO(lt_session_source(world, model, sizeof model), st, done);
    LT_TRY_GOTO(lt_group_nodes(world, &s.nodes), st, done);
    if (root)
        st = render_draft(job, options, model, &s, &draft);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    LT_TRY_GOTO(lt_session_share(&s, &draft), st, done);
    LT_TRY_GOTO(lt_session_open(&s, &draft, job, LT_PHASE_TEXT), st, done);
    LT_TRY_GOTO(lt_session_plan(&s, &draft, &plan), st, done);
    if (job->dry_run) {
        if (root)
            st = lt_json_parse(plan.text, strlen(plan.text), "plan", &out->plan);
        LT_TRY_GOTO(lt_agree(world, st), st, done);
        goto done;
    }
    if (root)
        st = render_folder(job, options, &s, &plan);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    LT_TRY_GOTO(lt_agree(world, shots_new(&plan, s.model, &f)), st, done);
    if (job->trace)
        LT_TRY_GOTO(lt_trace_begin(world), st, done);
    LT_TRY_GOTO(make_latents(&s, &plan, &f), st, done);
    const lt_latent_source source = {.clip = f.clip};
    LT_TRY_GOTO(make_film(&s, &plan, job, &source, 1, out), st, done);
    if (job->trace) {
        char path[LT_PATH_BYTES];
        LT_TRY_GOTO(lt_folder_path(&plan, "trace.json", path, sizeof path), st, done);
        LT_TRY_GOTO(lt_trace_write(world, path, LT_REPLACE), st, done);
    }
done:
    hint_of_latents(st);
    lt_progress_failed(s.progress, st);
    outcome_end(st, out);
    shots_free(&f);
    lt_session_close(&s);
    lt_plan_free(&draft);
    lt_plan_free(&plan);
    return st;
}

/* ---- decode ---- */

/* The model's folder comes from the flag, else from the file. */
static lt_status decode_read(const lt_job *job, const char *run, lt_latents **store, lt_plan *draft,
                             char *model, size_t bytes)
{
    char file[LT_PATH_BYTES];
    if (job->output == NULL)
        LT_FAIL(LT_EUSAGE, "-o: want the film's name, e.g. -o film.mov");
    if (job->output[0] == '\0')
        LT_FAIL(LT_EUSAGE, "-o: want the film's name, found an empty one");
    if (job->model != NULL) /* before any file is opened */
        LT_TRY(lt_job_model(job, model, bytes));
    LT_TRY(lt_store_plan(run, job, store, draft));
    const int n = snprintf(model, bytes, "%s", draft->model);
    if (n > 0 && (size_t)n < bytes)
        return LT_OK;
    LT_TRY(lt_store_file(run, file, sizeof file));
    lt_hint("--model DIR names another folder");
    LT_FAIL(LT_EDATA, "%s: plan: key 'model': want a folder's path of 1 to %zu bytes, found %d",
            file, bytes - 1, n);
}

static lt_status decode_draft(const lt_job *job, const lt_options *options, const char *run,
                              const lt_latents *store, lt_session *s, lt_plan *draft)
{
    LT_TRY(lt_model_open(draft->model, &s->model));
    LT_TRY(lt_store_check(run, store, s->model, draft));
    draft->mesh = (lt_mesh_spec){{1, 1, 1, lt_group_size(s->world), 1}};
    if (lt_options_was_set(options, "placement") != LT_OPT_UNSET)
        draft->placement = lt_plan_placement(job->placement);
    LT_TRY(lt_plan_decode_tp(job, lt_group_size(s->world), draft));
    LT_TRY(lt_session_check(s, job, draft, NULL));
    return LT_OK;
}

lt_status lt_decode_run(const lt_job *job, const lt_options *options, const char *run,
                        lt_group *world, lt_outcome *out)
{
    lt_session s = {.world = world};
    lt_plan draft = {0}, plan = {0};
    lt_latents *store = NULL;
    char model[LT_PATH_BYTES] = "";
    lt_status st = LT_OK;
    memset(out, 0, sizeof *out);
    const int root = lt_group_rank(world) == 0;
    if (root)
        st = decode_read(job, run, &store, &draft, model, sizeof model);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    LT_TRY_GOTO(lt_session_source(world, model, sizeof model), st, done);
    if (root)
        st = decode_draft(job, options, run, store, &s, &draft);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    LT_TRY_GOTO(lt_session_share(&s, &draft), st, done);
    LT_TRY_GOTO(lt_session_open(&s, &draft, job, LT_PHASE_DECODE), st, done);
    LT_TRY_GOTO(lt_session_plan(&s, &draft, &plan), st, done);
    LT_TRY_GOTO(lt_store_agree(world, run, job->unsealed, &store), st, done);
    if (root)
        st = lt_outputs_take(&s.outputs);
    if (st == LT_OK && root)
        st = open_progress(job, &s, &plan, 0);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    lt_stop_keeps(plan.run);
    const lt_latent_source source = {.store = store};
    LT_TRY_GOTO(make_film(&s, &plan, job, &source, 0, out), st, done);
done:
    lt_progress_failed(s.progress, st);
    outcome_end(st, out);
    lt_latents_close(&store);
    lt_session_close(&s);
    lt_plan_free(&draft);
    lt_plan_free(&plan);
    return st;
}

/* ---- the model ---- */

lt_status lt_job_model(const lt_job *job, char *out, size_t bytes)
{
    if (job->model == NULL)
        return lt_default_model(out, bytes);
    const int n = snprintf(out, bytes, "%s", job->model);
    if (n < 0 || (size_t)n >= bytes)
        LT_FAIL(LT_EUSAGE, "--model %.200s...: the path is too long", job->model);
    if (n == 0)
        LT_FAIL(LT_EUSAGE, "--model: want a folder, found an empty path");
    return LT_OK;
}

lt_status lt_default_model(char *out, size_t bytes)
{
    static const char *const places[] = {"models/demo", "../share/longtake/models/demo",
                                         "../models/demo", "../../models/demo",
                                         "../../../models/demo"};
    char exe[LT_PATH_BYTES], folder[LT_PATH_BYTES], place[LT_PATH_BYTES], file[LT_PATH_BYTES];
    const ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n > 0) {
        exe[n] = '\0';
        LT_TRY(lt_path_folder(folder, sizeof folder, exe));
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            LT_TRY(lt_path_join(place, sizeof place, folder, places[i]));
            LT_TRY(lt_path_join(file, sizeof file, place, "transformer/config.json"));
            if (lt_file_exists(file) && realpath(place, exe) != NULL) {
                const int length = snprintf(out, bytes, "%s", exe);
                if (length < 0 || (size_t)length >= bytes)
                    LT_FAIL(LT_EUSAGE, "%s: the name is too long", exe);
                return LT_OK;
            }
        }
    }
    lt_hint("--model DIR names a checkpoint");
    LT_FAIL(LT_ENOINPUT,
            "the demo model is neither beside the program nor in a source tree above it");
}
