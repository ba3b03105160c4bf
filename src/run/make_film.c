/* make_film.c - from whole latents to a published film. */
#include "run/make_film.h"

#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "parallel/transport/agree.h"
#include "run/folder.h"
#include "run/records.h"
#include "run/resume/fence.h"
#include "run/versions.h"

/* Of a sheet or WAV that was asked for, and made. */
static json_t *extra_of(const char *path, const lt_decode_extra *extra)
{
    return path != NULL && extra->status == LT_OK ? lt_records_film(path) : NULL;
}

static lt_status tell_manifest(const lt_film_making *m, json_t *film, const lt_outcome *out)
{
    const lt_session *s = m->session;
    const lt_epoch epoch = lt_session_epoch(s, "whole");
    const lt_made made = {.film = film,
                          .sheet = extra_of(m->outputs.sheet, &out->beside),
                          .wav = extra_of(m->outputs.wav, &out->beside),
                          .stage_seconds = out->stages,
                          .memory = s->memory};
    const lt_status st = lt_records_manifest(m->plan, s->world, &s->nodes, &epoch, &made);
    json_decref(made.sheet);
    json_decref(made.wav);
    return st;
}

static lt_status finish(const lt_film_making *m, lt_outcome *out)
{
    lt_session *s = m->session;
    const lt_plan *plan = m->plan;
    if (lt_group_rank(s->world) != 0)
        return LT_OK;
    lt_status st = LT_OK;
    json_t *film = lt_records_film(plan->output);
    out->stages = lt_progress_stages(s->progress);
    if (m->is_render)
        st = tell_manifest(m, film, out);
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

lt_status lt_film_progress(const lt_job *job, lt_session *s, const lt_plan *plan, int is_render)
{
    int events = -1;
    LT_TRY(lt_records_events(plan, is_render, &events));
    const lt_status st = lt_progress_open(events, job->quiet, &s->progress);
    if (st != LT_OK && events >= 0)
        (void)close(events);
    LT_TRY(st);
    for (int i = 0; i < LT_TIMES; i++)
        lt_progress_work(s->progress, lt_time_names[i], s->footprint.flops[i]);
    lt_progress_event(s->progress, "start",
                      json_pack("{s:s, s:s, s:o, s:s, s:o, s:i, s:i, s:o*}", "verb",
                                is_render ? "render" : "decode", "software", lt_version_software(),
                                "model", lt_json_of_path(plan->model), "prompt", plan->prompt,
                                "output", lt_json_of_path(plan->output), "ranks",
                                lt_group_size(s->world), "evaluations",
                                is_render ? plan->evaluations : 0, "slurm", lt_records_slurm()));
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

/* Before sheet and wav: what goes wrong there never takes the film with it. */
static lt_status publish(void *ctx)
{
    const lt_film_making *m = ctx;
    return lt_folder_publish(m->plan, m->film, m->outputs.replace);
}

lt_status lt_film_begin(lt_session *s, const lt_plan *plan, const lt_job *job,
                        const lt_film_shot *shot, int shots, lt_latent_source *source,
                        const char *denoises, int is_render, lt_outcome *outcome, lt_film_making *m)
{
    *m = (lt_film_making){.session = s, .plan = plan, .is_render = is_render};
    LT_TRY(film_paths(plan, is_render, m->film, m->audio));
    m->outputs = (lt_decode_outputs){.film = m->film,
                                     .hidden = !is_render,
                                     .audio = m->audio,
                                     .sheet = job->sheet,
                                     .wav = job->wav,
                                     .tags = job->tags,
                                     .replace = s->outputs.replace,
                                     .whole = is_render ? publish : NULL,
                                     .whole_ctx = m,
                                     .extra = &outcome->beside};
    if (is_render && lt_group_rank(s->world) == 0 && lt_fence_ask() == LT_OK)
        (void)unlink(m->film); /* what an earlier start of the run had muxed */
    LT_TRY(lt_residency_need(&s->residency, LT_PHASE_DECODE, plan, NULL));
    const lt_decode_in in = {.model = s->model,
                             .engine = &s->residency.engine[LT_PHASE_DECODE],
                             .plan = plan,
                             .shot = shot,
                             .shots = shots,
                             .source = source,
                             .outputs = &m->outputs,
                             .progress = s->progress,
                             .denoises = denoises};
    return lt_decoding_open(&in, &m->decoding);
}

lt_status lt_film_finish(lt_film_making *m, lt_outcome *outcome)
{
    lt_session *s = m->session;
    const lt_plan *plan = m->plan;
    LT_TRY(lt_decoding_finish(m->decoding));
    const lt_status measured = lt_session_measure(s);
    if (measured != LT_OK)
        LT_FAIL(measured, "%s is whole, but %s", plan->output, lt_error_text());
    const lt_status mine = finish(m, outcome);
    const lt_status all = lt_agree(s->world, mine);
    if (all != LT_OK && mine == LT_OK && lt_group_rank(s->world) == 0)
        LT_FAIL(all, "%s is whole, but %s", plan->output, lt_error_text());
    LT_TRY(all);
    return LT_OK;
}

void lt_film_end(lt_film_making *m, lt_status st)
{
    if (m->session != NULL && st != LT_OK)
        lt_engine_cancel(&m->session->residency.engine[LT_PHASE_DECODE]);
    lt_decoding_close(&m->decoding);
}

void lt_outcome_end(lt_status st, lt_outcome *out)
{
    if (st != LT_OK) {
        json_decref(out->stages);
        out->stages = NULL;
    }
}
