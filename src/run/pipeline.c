/* pipeline.c - from a job to a film: plan, text, noise, denoise, store; make_film.c decodes.
 *
 *   rank 0            all ranks
 *                     compare copies of the model, serve it where it is missing (source.h)
 *   job -> model -> draft --broadcast-> model, threads, mesh, dry run, agree: it fits; engine
 *   plan -----------broadcast---------> the same bytes on every rank, const from here on
 *   run folder
 *   tokens ---------> text rows (tp over few ranks), broadcast
 *                     noise, denoise (agreement each step)
 *   latents.h5 <----- parts of the film as they become final (streaming.h)
 *   muxer <---------- chunks, decoded beside the denoising or once latents.h5 is whole
 *   publish
 *
 * Everything that can be wrong with the job, the model's headers, the output's place or the memory
 * is found before the run folder is made. */
#include "run/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/host.h"
#include "base/json.h"
#include "base/log.h"
#include "base/stop.h"
#include "model/files/same_reads.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "run/denoise/denoise.h"
#include "run/folder.h"
#include "run/make_film.h"
#include "run/records.h"
#include "run/resume/fence.h"
#include "run/resume/model_hash.h"
#include "run/resume/resume.h"
#include "run/session.h"
#include "run/state/caches.h"
#include "run/state/film_state.h"
#include "run/store_latents.h"
#include "run/streaming.h"
#include "run/trace.h"

/* What the last step may take on its way to the disk, once latents.h5 is there. */
enum { STATES_SECONDS = 10 };
/* What text rows and tables may take that are on their way when the run is stopped (base/stop.h: 8
 * s for all). */
enum { CACHES_SECONDS = 5 };

/* What a render makes, beside the session. */
typedef struct render {
    lt_film_latents latents;
    lt_latent_source *source;
    lt_film_making film;
    char *denoises; /* [ranks] */
} render;

/* tp ranks encode, rank 0 broadcasts. */
static lt_status encode_text(lt_session *s, const lt_plan *plan, float *rows)
{
    const lt_family *family = s->model->family;
    const int64_t width = family->text_width(s->model);
    lt_status st = LT_OK;
    int64_t at = 0;
    LT_TRY(lt_residency_need(&s->residency, LT_PHASE_TEXT, plan, NULL));
    for (int i = 0; i < s->tokens.prompts; i++) {
        const int64_t count = s->tokens.count[i];
        if (s->text_group != NULL)
            st = family->text_encode(s->model, s->tokens.ids + at, count, rows + at * width);
        if (st == LT_OK && i + 1 < s->tokens.prompts)
            st = lt_stop_check();
        LT_TRY(lt_agree(s->world, st));
        at += count;
        if (i + 1 < s->tokens.prompts)
            lt_progress_step(s->progress, i + 1);
    }
    LT_TRY(lt_same_reads_check(s->world)); /* of the rows of the embedding */
    LT_TRY(lt_broadcast(s->world, 0, rows, (size_t)(s->tokens.all * width) * sizeof *rows));
    if (lt_group_rank(s->world) == 0)
        lt_cache_keep_text(s->state, &s->tokens, width, rows);
    return LT_OK;
}

/* Text rows of all prompts on every rank: as an earlier start of the run had them, or encoded. */
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
    if (st == LT_OK)
        st = lt_stop_check();
    LT_TRY(lt_agree(s->world, st));
    int hit = 0;
    LT_TRY(lt_cache_text(s->state, &s->tokens, width, *rows, &hit));
    if (!hit)
        LT_TRY(encode_text(s, plan, *rows));
    lt_progress_step(s->progress, s->tokens.prompts);
    return LT_OK;
}

/* The DiT, with the tables that an earlier start of the run has made, if there are some. */
static lt_status open_dit(lt_session *s, const lt_plan *plan, const lt_levels *levels)
{
    const lt_family *family = s->model->family;
    void *tables = NULL;
    size_t bytes = 0;
    LT_TRY(lt_cache_tables(s->state, s->model, plan->dtype, levels, &tables, &bytes));
    if (tables != NULL)
        family->tables_give(s->model, tables, bytes);
    const lt_status st = lt_residency_need(&s->residency, LT_PHASE_DIT, plan, levels);
    if (tables != NULL)
        family->tables_give(s->model, NULL, 0);
    else if (st == LT_OK && lt_group_rank(s->world) == 0)
        lt_cache_keep_tables(s->state, s->model, plan->dtype, levels);
    free(tables);
    return st;
}

/* Shot after shot, each as if it were rendered alone, by the one DiT that is open. */
static lt_status denoise_shots(lt_session *s, const lt_plan *plan, const float *rows,
                               const lt_levels *levels, const lt_film_latents *f,
                               lt_streaming *streaming)
{
    const int64_t width = s->model->family->text_width(s->model);
    lt_text text[LT_TEXTS_MAX];
    int before = 0, all = 0;
    double weight = 0;
    for (int i = 0; i < f->count; i++) {
        all += lt_denoise_steps(s->model, &f->shot[i].plan, 0);
        weight += lt_denoise_weight(s->model, &f->shot[i].plan, 0);
    }
    for (int i = 0; i < f->count; i++) {
        const lt_film_shot *shot = &f->shot[i];
        const lt_texts texts = lt_tokens_texts(&s->tokens, plan, shot, rows, width, text);
        const lt_denoise_beside beside = lt_streaming_beside(streaming, i);
        const lt_denoise_in in = {.model = s->model,
                                  .mesh = &s->bound.mesh,
                                  .plan = &shot->plan,
                                  .holding = &f->holding[i],
                                  .levels = levels,
                                  .texts = &texts,
                                  .steps_before = before,
                                  .steps_all = all,
                                  .weight_all = weight,
                                  .beside = &beside,
                                  .progress = s->progress,
                                  .preview = s->preview,
                                  .shot = i,
                                  .state = s->state};
        if (f->count > 1)
            lt_progress_shot(s->progress, i + 1, f->count);
        lt_clip_noise(&shot->plan, &f->clip[i]);
        LT_TRY(lt_denoise(&in, &s->residency.engine[LT_PHASE_DIT], &f->clip[i]));
        LT_TRY(lt_streaming_shot(streaming, i));
        before += lt_denoise_steps(s->model, &shot->plan, 0);
    }
    lt_progress_shot(s->progress, 0, 0);
    return LT_OK;
}

/* The film's file begins before the denoising where it grows beside it. */
static lt_status film_beside(lt_session *s, const lt_plan *plan, const lt_job *job, render *r,
                             lt_outcome *out)
{
    lt_status st = LT_OK;
    if (plan->decoding != LT_DECODING_BESIDE)
        return LT_OK;
    r->denoises = malloc((size_t)lt_group_size(s->world));
    if (r->denoises == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "decode: no memory for a list of ranks");
    LT_TRY(lt_agree(s->world, st));
    lt_streaming_denoises(&s->bound.mesh, r->denoises);
    return lt_film_begin(s, plan, job, r->latents.shot, r->latents.count, r->source, r->denoises, 1,
                         out, &r->film);
}

/* A stop that was asked for meanwhile waits until the latents are whole. */
static lt_status store(lt_session *s, lt_streaming *streaming)
{
    lt_progress_stage(s->progress, "store", "file", 1);
    LT_TRY(lt_agree(s->world, lt_fault_at(lt_group_rank(s->world), "store")));
    LT_TRY(lt_streaming_store(streaming));
    LT_TRY(lt_run_state_finish(s->state, STATES_SECONDS));
    lt_progress_event(s->progress, "states", lt_film_state_json(s->state));
    lt_progress_step(s->progress, 1);
    return lt_agree(s->world, lt_stop_check());
}

static lt_status denoise(lt_session *s, const lt_plan *plan, const lt_job *job, const float *rows,
                         render *r, lt_outcome *out)
{
    lt_levels levels = {0};
    lt_streaming *streaming = NULL;
    lt_status st = LT_OK;
    lt_progress_stage(s->progress, "load", "part", 1);
    LT_TRY_GOTO(lt_agree(s->world, lt_levels_make(s->model, plan, &levels)), st, done);
    LT_TRY_GOTO(open_dit(s, plan, &levels), st, done);
    LT_TRY_GOTO(film_beside(s, plan, job, r, out), st, done);
    if (lt_group_rank(s->world) == 0)
        lt_model_hash_run(); /* now that all is loaded */
    lt_progress_step(s->progress, 1);
    LT_TRY_GOTO(lt_streaming_open(plan, &s->bound.mesh, &r->latents, r->source, r->film.decoding,
                                  &streaming),
                st, done);
    LT_TRY_GOTO(denoise_shots(s, plan, rows, &levels, &r->latents, streaming), st, done);
    LT_TRY_GOTO(store(s, streaming), st, done);
done:
    lt_streaming_close(&streaming);
    lt_levels_free(&levels);
    return st;
}

static lt_status make_latents(lt_session *s, const lt_plan *plan, const lt_job *job, render *r,
                              lt_outcome *out)
{
    float *rows = NULL;
    lt_status st = make_text(s, plan, &rows);
    if (st == LT_OK)
        st = denoise(s, plan, job, rows, r, out);
    free(rows);
    return st;
}

/* The film begins here, unless it has grown beside the denoising. */
static lt_status make_film(lt_session *s, const lt_plan *plan, const lt_job *job, render *r,
                           lt_outcome *out)
{
    if (r->film.decoding == NULL)
        LT_TRY(lt_film_begin(s, plan, job, r->latents.shot, r->latents.count, r->source, NULL, 1,
                             out, &r->film));
    return lt_film_finish(&r->film, out);
}

static lt_status render_open(lt_session *s, const lt_plan *plan, render *r)
{
    LT_TRY(lt_agree(s->world, lt_film_latents_new(plan, s->model, &s->bound.mesh, &r->latents)));
    const lt_latent_parts parts = {.shot = r->latents.shot,
                                   .shots = r->latents.count,
                                   .clip = r->latents.clip,
                                   .holding = r->latents.holding};
    return lt_latent_source_open(s->world, &parts, &r->source);
}

static void render_close(render *r, lt_status st)
{
    lt_film_end(&r->film, st);
    lt_latent_source_close(&r->source);
    lt_film_latents_free(&r->latents);
    free(r->denoises);
}

/* ---- the verb ---- */

/* A render from its words on. */
typedef struct rendering {
    const lt_job *job; /* rank 0: resume.job */
    const lt_options *options;
    lt_session s;
    lt_resume resume; /* rank 0 fills it; goes_on, is_done, has_latents are on all ranks */
    lt_plan draft, plan;
    render made;
    lt_latents *store; /* of a run whose latents are whole */
} rendering;

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

static lt_status check_run(const rendering *r)
{
    char *yaml = NULL;
    if (r->resume.goes_on)
        return lt_folder_check_owner(&r->draft);
    LT_TRY(lt_options_dump_yaml(r->options, &yaml));
    const lt_status st = lt_folder_check(&r->draft, yaml, r->job->overwrite);
    free(yaml);
    return st;
}

/* Latents that are not what they should be are made again. */
static void open_latents(rendering *r)
{
    if (!r->resume.has_latents)
        return;
    lt_status st = lt_store_open(r->draft.run, 0, &r->store);
    if (st == LT_OK)
        st = lt_store_check(r->draft.run, r->store, r->s.model, &r->draft);
    if (st == LT_OK)
        return;
    lt_warn("not used, denoised again: %s", lt_error_text());
    lt_error_clear();
    lt_latents_close(&r->store);
    r->resume.has_latents = 0;
}

static lt_status render_draft(rendering *r, const char *model)
{
    LT_TRY(lt_model_open(model, &r->s.model));
    const char *where = lt_options_where(r->options, "shots");
    LT_TRY(lt_plan_make(r->job, where, r->s.model, &r->s.nodes, &r->draft));
    LT_TRY(lt_resume_check(&r->resume, r->options, r->s.model, &r->s.nodes, &r->draft));
    if (r->job->resume != NULL)
        lt_lease_give_way(r->draft.run);
    LT_TRY(lt_session_check(&r->s, r->job, &r->draft, r->draft.run));
    LT_TRY(check_run(r));
    LT_TRY(lt_tokens_make(r->s.model, &r->draft, where, &r->s.tokens));
    open_latents(r);
    if (r->job->preview_every > 0)
        LT_TRY(lt_preview_check(r->s.model, &r->draft));
    return LT_OK;
}

/* A new run owns its outputs first, so that a refused one leaves no folder. One that goes on takes
 * its folder first: then an older copy of it ends. */
static lt_status take_folder(rendering *r)
{
    char *yaml = NULL;
    if (r->resume.goes_on) {
        LT_TRY(lt_folder_go_on(&r->plan, &r->s.run_lease));
        return lt_outputs_take(&r->s.outputs);
    }
    LT_TRY(lt_outputs_take(&r->s.outputs));
    LT_TRY(lt_options_dump_yaml(r->options, &yaml));
    const lt_status st = lt_folder_make(&r->plan, yaml, r->job->overwrite, &r->s.run_lease);
    free(yaml);
    return st;
}

/* The manifest says that this start is at work, and behind which step. */
static lt_status record_start(const rendering *r)
{
    const lt_epoch epoch = lt_session_epoch(&r->s, NULL);
    if (lt_group_rank(r->s.world) != 0)
        return LT_OK;
    return lt_records_manifest(&r->plan, r->s.world, &r->s.nodes, &epoch, NULL);
}

static lt_status render_folder(rendering *r)
{
    LT_TRY(take_folder(r));
    LT_TRY(lt_fence_begin(&r->s.run_lease));
    LT_TRY(record_start(r));
    if (r->job->seed.drawn && !r->job->quiet)
        lt_say("longtake: seed %llu was drawn", (unsigned long long)r->plan.seed);
    return lt_film_progress(r->job, &r->s, &r->plan, 1);
}

/* What ended for a reason that may be another one next time. */
static void hint_of_resume(lt_status st)
{
    const char *hint = lt_stop_hint();
    const int may_go_on = st == LT_ETEMP || st == LT_EPEER || st == LT_EDEVICE || st == LT_EIO ||
                          st == LT_ENOMEM || st == LT_ECREATE;
    if (may_go_on && hint[0] != '\0' && lt_hint_text()[0] == '\0')
        lt_hint("%s", hint);
}

static lt_status share_resume(rendering *r)
{
    int said[] = {r->resume.goes_on, r->resume.is_done, r->resume.has_latents};
    LT_TRY(lt_broadcast(r->s.world, 0, said, sizeof said));
    r->resume.goes_on = said[0];
    r->resume.is_done = said[1];
    r->resume.has_latents = said[2];
    return LT_OK;
}

/* From the job to a plan that all ranks have. */
static lt_status render_plan(rendering *r)
{
    lt_session *s = &r->s;
    lt_status st = LT_OK;
    const int root = lt_group_rank(s->world) == 0;
    char model[LT_PATH_BYTES] = "";
    if (root)
        st = render_model(r->job, model, sizeof model);
    LT_TRY(lt_agree(s->world, st));
    LT_TRY(lt_session_source(s->world, model, sizeof model));
    if (root)
        st = render_draft(r, model);
    LT_TRY(lt_agree(s->world, st));
    LT_TRY(share_resume(r));
    LT_TRY(lt_session_share(s, &r->draft));
    LT_TRY(lt_session_open(s, &r->draft, r->job,
                           r->resume.has_latents ? LT_PHASE_DECODE : LT_PHASE_TEXT));
    LT_TRY(lt_session_plan(s, &r->draft, &r->plan));
    return LT_OK;
}

/* RUN's latents: nothing is denoised. */
static lt_status film_of_store(rendering *r, lt_outcome *out)
{
    lt_session *s = &r->s;
    render *made = &r->made;
    LT_TRY(lt_agree(s->world,
                    lt_film_shots(&r->plan, s->model, &made->latents.shot, &made->latents.count)));
    const lt_latent_parts parts = {
        .shot = made->latents.shot, .shots = made->latents.count, .store = r->store};
    LT_TRY(lt_latent_source_open(s->world, &parts, &made->source));
    lt_stop_keeps(r->plan.run);
    return make_film(s, &r->plan, r->job, made, out);
}

static lt_status film_of_noise(rendering *r, lt_outcome *out)
{
    LT_TRY(render_open(&r->s, &r->plan, &r->made));
    const lt_film_state_args args = {.plan = &r->plan,
                                     .epoch = r->s.run_lease.epoch,
                                     .every = r->job->checkpoint_every,
                                     .keep = r->job->keep_steps,
                                     .goes_on = r->resume.goes_on};
    LT_TRY(lt_film_state_open(&args, &r->s.bound.mesh, &r->s.state));
    LT_TRY(lt_agree(r->s.world, r->resume.goes_on ? record_start(r) : LT_OK));
    LT_TRY(lt_preview_open(r->s.model, r->s.world, r->plan.run, r->job->preview_every,
                           r->s.progress, &r->s.preview));
    if (r->job->trace)
        LT_TRY(lt_trace_begin(r->s.world));
    LT_TRY(make_latents(&r->s, &r->plan, r->job, &r->made, out));
    return make_film(&r->s, &r->plan, r->job, &r->made, out);
}

static lt_status render_film(rendering *r, lt_outcome *out)
{
    if (r->resume.has_latents) {
        if (r->job->trace)
            LT_TRY(lt_trace_begin(r->s.world));
        LT_TRY(film_of_store(r, out));
    } else {
        LT_TRY(film_of_noise(r, out));
    }
    if (r->job->trace) {
        char path[LT_PATH_BYTES];
        LT_TRY(lt_folder_path(&r->plan, "trace.json", path, sizeof path));
        LT_TRY(lt_trace_write(r->s.world, path, LT_REPLACE));
    }
    return LT_OK;
}

/* A finished run is nobody else's film: what was asked is compared, where the model is there. */
static lt_status say_done(rendering *r, lt_outcome *out)
{
    char model[LT_PATH_BYTES];
    if (lt_job_model(r->job, model, sizeof model) == LT_OK &&
        lt_model_open(model, &r->s.model) == LT_OK) {
        const char *where = lt_options_where(r->options, "shots");
        LT_TRY(lt_plan_make(r->job, where, r->s.model, &r->s.nodes, &r->draft));
        LT_TRY(lt_resume_check(&r->resume, r->options, r->s.model, &r->s.nodes, &r->draft));
    }
    lt_error_clear();
    return lt_resume_done(&r->resume, out);
}

/* Which device failed, and where. */
static lt_status name_device(const rendering *r, lt_status st)
{
    char text[1024];
    lt_host_id here;
    if (st != LT_EDEVICE)
        return st;
    lt_host_me(&here);
    (void)snprintf(text, sizeof text, "%s", lt_error_text());
    LT_FAIL(st, "device %s on %s: %s", r->plan.device, here.name, text);
}

static lt_status render_run(rendering *r, lt_outcome *out)
{
    lt_status st = LT_OK;
    const int root = lt_group_rank(r->s.world) == 0;
    if (root) {
        st = lt_resume_begin(r->job, r->options, lt_group_size(r->s.world), &r->resume);
        r->job = &r->resume.job;
        lt_stop_limit(r->job->time_limit_s);
    }
    LT_TRY(lt_agree(r->s.world, st));
    LT_TRY(share_resume(r));
    LT_TRY(lt_group_nodes(r->s.world, &r->s.nodes));
    if (r->resume.is_done)
        return lt_agree(r->s.world, root ? say_done(r, out) : LT_OK);
    LT_TRY(render_plan(r));
    if (r->job->dry_run) {
        if (root)
            st = lt_json_parse(r->plan.text, strlen(r->plan.text), "plan", &out->plan);
        return lt_agree(r->s.world, st);
    }
    lt_stop_arm(root); /* RUN is made: what is whole by then stays */
    if (root)
        st = render_folder(r);
    LT_TRY(lt_agree(r->s.world, st));
    lt_stop_resumes(r->plan.run);
    lt_status_work_begins();
    return name_device(r, render_film(r, out));
}

/* The manifest says why this start ended, where it may still be written. */
static void record_end(rendering *r, lt_status st)
{
    char text[512];
    if (st == LT_OK || !r->s.run_lease.held || r->resume.is_done)
        return;
    (void)snprintf(text, sizeof text, "%s", lt_error_text());
    const lt_epoch epoch = lt_session_epoch(&r->s, text);
    if (lt_fence_check() == LT_OK)
        lt_records_ended(&r->plan, r->s.world, &r->s.nodes, &epoch);
}

lt_status lt_render(const lt_job *job, const lt_options *options, lt_group *world, lt_outcome *out)
{
    rendering r = {.job = job, .options = options, .s = {.world = world}};
    memset(out, 0, sizeof *out);
    const lt_status st = render_run(&r, out);
    lt_stop_ends();
    if (st != LT_OK && lt_stop_asked())
        lt_cache_finish(r.s.state, CACHES_SECONDS);
    hint_of_resume(st);
    record_end(&r, st);
    lt_progress_failed(r.s.progress, st);
    lt_outcome_end(st, out);
    lt_model_hash_end();
    render_close(&r.made, st);
    lt_latents_close(&r.store);
    lt_session_close(&r.s);
    lt_plan_free(&r.draft);
    lt_plan_free(&r.plan);
    lt_resume_end(&r.resume);
    return st;
}
