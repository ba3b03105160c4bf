/* pipeline_decode.c - the latents of a run become a film again. Rank 0 reads them.
 * Where RUN has no latents.h5 and its last step counts, the state's files are put together as one
 * beside the film, which has lost its name when it is read. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/stop.h"
#include "parallel/transport/agree.h"
#include "run/make_film.h"
#include "run/pipeline.h"
#include "run/session.h"
#include "run/state/state_latents.h"
#include "run/store_latents.h"

/* RUN has no latents.h5, and steps that count. */
static int has_state_alone(const char *run)
{
    char file[LT_PATH_BYTES];
    return lt_file_is_dir(run) && lt_path_join(file, sizeof file, run, "latents.h5") == LT_OK &&
           !lt_file_exists(file) && lt_state_any(run);
}

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
    *store = NULL;
    if (has_state_alone(run))
        LT_TRY(lt_store_plan_json(run, job, draft));
    else
        LT_TRY(lt_store_plan(run, job, store, draft));
    const int n = snprintf(model, bytes, "%s", draft->model);
    if (n > 0 && (size_t)n < bytes)
        return LT_OK;
    if (*store != NULL)
        LT_TRY(lt_store_file(run, file, sizeof file));
    else
        LT_TRY(lt_path_join(file, sizeof file, run, "plan.json"));
    lt_hint("--model DIR names another folder");
    LT_FAIL(LT_EDATA, "%s: plan: key 'model': want a folder's path of 1 to %zu bytes, found %d",
            file, bytes - 1, n);
}

/* All of a complete state in this file. */
static lt_status fill(const char *run, const char *file, const lt_model *model, const lt_plan *plan)
{
    lt_latents_writer *to = NULL;
    lt_film_shot *shot = NULL;
    lt_commit commit = {0};
    int shots = 0;
    lt_status st = LT_OK;
    LT_TRY_GOTO(lt_state_complete(run, plan, &commit), st, done);
    LT_TRY_GOTO(lt_film_shots(plan, model, &shot, &shots), st, done);
    LT_TRY_GOTO(lt_store_create_at(file, plan, shot, shots, &to), st, done);
    LT_TRY_GOTO(lt_state_latents(run, &commit, shot, shots, to), st, done);
    LT_TRY_GOTO(lt_latents_finish(&to), st, done);
done:
    lt_latents_abort(&to);
    lt_commit_free(&commit);
    free(shot);
    return st;
}

/* The store of a run without latents.h5: a file beside OUT, in whose folder there is room and may
 * be written, that has a name only until it is open. */
static lt_status open_state(const lt_job *job, const char *run, const lt_model *model,
                            lt_latents **store, lt_plan *draft)
{
    char folder[LT_PATH_BYTES], file[LT_PATH_BYTES], name[64];
    LT_TRY(lt_path_folder(folder, sizeof folder, draft->output));
    (void)snprintf(name, sizeof name, ".longtake-latents-%ld.h5", (long)getpid());
    LT_TRY(lt_path_join(file, sizeof file, folder, name));
    LT_TRY(fill(run, file, model, draft));
    lt_status st = lt_latents_open(file, 0, store);
    if (st == LT_OK)
        st = lt_store_check(file, *store, model, draft);
    (void)unlink(file);
    if (st == LT_OK && !job->quiet)
        lt_say("longtake: %s: no latents.h5: decoding the state of its last step", run);
    return st;
}

static lt_status decode_draft(const lt_job *job, const lt_options *options, const char *run,
                              lt_latents **store, lt_session *s, lt_plan *draft)
{
    LT_TRY(lt_model_open(draft->model, &s->model));
    if (*store != NULL)
        LT_TRY(lt_store_check(run, *store, s->model, draft));
    else
        LT_TRY(lt_plan_streams(draft, s->model));
    draft->decoding = LT_DECODING_AFTER;
    draft->mesh = (lt_mesh_spec){{1, 1, 1, lt_group_size(s->world), 1}};
    if (lt_options_was_set(options, "placement") != LT_OPT_UNSET)
        draft->placement = lt_plan_placement(job->placement);
    LT_TRY(lt_plan_decode_tp(job, lt_group_size(s->world), draft));
    LT_TRY(lt_session_check(s, job, draft, NULL));
    if (*store == NULL)
        LT_TRY(open_state(job, run, s->model, store, draft));
    return LT_OK;
}

lt_status lt_decode_run(const lt_job *job, const lt_options *options, const char *run,
                        lt_group *world, lt_outcome *out)
{
    lt_session s = {.world = world};
    lt_plan draft = {0}, plan = {0};
    lt_latents *store = NULL;
    lt_latent_source *source = NULL;
    lt_film_shot *shot = NULL;
    lt_film_making film = {0};
    int shots = 0;
    char model[LT_PATH_BYTES] = "";
    lt_status st = LT_OK;
    memset(out, 0, sizeof *out);
    const int root = lt_group_rank(world) == 0;
    if (root)
        lt_stop_limit(job->time_limit_s);
    if (root) /* which alone needs RUN: the others get their latents from it */
        st = decode_read(job, run, &store, &draft, model, sizeof model);
    else
        lt_latents_reader_end();
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    LT_TRY_GOTO(lt_session_source(world, model, sizeof model), st, done);
    if (root)
        st = decode_draft(job, options, run, &store, &s, &draft);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    LT_TRY_GOTO(lt_session_share(&s, &draft), st, done);
    LT_TRY_GOTO(lt_session_open(&s, &draft, job, LT_PHASE_DECODE), st, done);
    LT_TRY_GOTO(lt_session_plan(&s, &draft, &plan), st, done);
    LT_TRY_GOTO(lt_agree(world, lt_film_shots(&plan, s.model, &shot, &shots)), st, done);
    const lt_latent_parts parts = {.shot = shot, .shots = shots, .store = store};
    LT_TRY_GOTO(lt_latent_source_open(world, &parts, &source), st, done);
    if (root)
        st = lt_outputs_take(&s.outputs);
    if (st == LT_OK && root)
        st = lt_film_progress(job, &s, &plan, 0);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    lt_stop_keeps(plan.run);
    LT_TRY_GOTO(lt_film_begin(&s, &plan, job, shot, shots, source, NULL, 0, out, &film), st, done);
    LT_TRY_GOTO(lt_film_finish(&film, out), st, done);
done:
    lt_film_end(&film, st);
    lt_latent_source_close(&source);
    lt_progress_failed(s.progress, st);
    lt_outcome_end(st, out);
    lt_latents_close(&store);
    free(shot);
    lt_session_close(&s);
    lt_plan_free(&draft);
    lt_plan_free(&plan);
    return st;
}
