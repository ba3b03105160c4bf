/* store_latents.c - a film's latents and its plan in RUN/latents.h5, and back.
 * The file alone must be enough to make the film: the whole plan goes in as one attribute, and the
 * facts that a person with h5py looks for stand beside it. */
#include "run/store_latents.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "media/mux.h"
#include "run/folder.h"
#include "run/plan_json.h"
#include "run/resume/model_files.h"
#include "run/resume/model_hash.h"

static void dataset_of(const lt_film_shot *shot, int s, char name[LT_DATASET_BYTES],
                       lt_latents_stream *out)
{
    const lt_stream *from = &shot->plan.stream[s];
    *out = (lt_latents_stream){.name = lt_film_dataset(shot, s, name),
                               .ndim = from->ndim,
                               .time_axis = from->time_axis,
                               .dims_text = from->dims_text,
                               .description = from->description,
                               .unit = from->unit};
    memcpy(out->dims, from->dim, sizeof out->dims);
}

static lt_status create_datasets(const char *file, const lt_film_shot *shot, int count,
                                 const json_t *attributes, lt_latents_writer **out)
{
    const int each = shot[0].plan.stream_count;
    const size_t all = (size_t)count * (size_t)each;
    lt_latents_stream *streams = calloc(all, sizeof *streams);
    char(*names)[LT_DATASET_BYTES] = calloc(all, sizeof *names);
    lt_status st = LT_OK;
    if (streams == NULL || names == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "%s: no memory for %zu datasets", file, all);
    for (int i = 0; i < count; i++)
        for (int s = 0; s < each; s++)
            dataset_of(&shot[i], s, names[i * each + s], &streams[i * each + s]);
    LT_TRY_GOTO(lt_latents_create(file, streams, all, attributes, out), st, done);
done:
    free(streams);
    free(names);
    return st;
}

lt_status lt_store_create(const lt_plan *plan, const lt_film_shot *shot, int count,
                          lt_latents_writer **out)
{
    char file[LT_PATH_BYTES];
    LT_TRY(lt_folder_path(plan, "latents.h5", file, sizeof file));
    return lt_store_create_at(file, plan, shot, count, out);
}

/* Which model it was, wherever its folder is by then. */
static void tell_head(const char *model, json_t *attributes)
{
    char head[LT_MODEL_HASH_BYTES];
    json_t *files = lt_model_files(model);
    if (attributes != NULL && lt_model_head_text(files, head)[0] != '\0')
        (void)json_object_set_new(attributes, "model_head_xxh64", json_string(head));
    json_decref(files);
}

lt_status lt_store_tell_hash(lt_latents_writer *writer)
{
    char whole[LT_MODEL_HASH_BYTES];
    if (lt_model_hash_text(whole)[0] == '\0')
        return LT_OK;
    return lt_latents_attribute(writer, "model_xxh64", whole);
}

lt_status lt_store_create_at(const char *file, const lt_plan *plan, const lt_film_shot *shot,
                             int count, lt_latents_writer **out)
{
    json_t *whole = NULL;
    assert(plan->text != NULL);
    LT_TRY(lt_json_parse(plan->text, strlen(plan->text), "plan", &whole));
    json_t *attributes = json_pack(
        "{s:o, s:s, s:I, s:i, s:I, s:I, s:I, s:i, s:o, s:O}", "model", lt_json_of_path(plan->model),
        "prompt", plan->prompt, "frames", (json_int_t)plan->frames, "fps", plan->fps, "width",
        (json_int_t)plan->shape.width, "height", (json_int_t)plan->shape.height, "samples",
        (json_int_t)plan->samples, "sample_rate", plan->sample_rate, "seed",
        lt_json_of_u64(plan->seed), "plan", whole);
    json_decref(whole);
    tell_head(plan->model, attributes);
    if (attributes == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for its attributes", file);
    const lt_status st = create_datasets(file, shot, count, attributes, out);
    json_decref(attributes);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_store_latents(const lt_plan *plan, const lt_film_shot *shot, const lt_clip *clip,
                           int count)
{
    lt_latents_writer *w = NULL;
    lt_status st = LT_OK;
    LT_TRY(lt_store_create(plan, shot, count, &w));
    for (int i = 0; i < count && st == LT_OK; i++)
        for (int s = 0; s < plan->stream_count && st == LT_OK; s++)
            st = lt_latents_put(w, (size_t)(i * plan->stream_count + s), 0, clip[i].range[s].count,
                                clip[i].data[s]);
    if (st != LT_OK)
        lt_latents_abort(&w);
    LT_TRY(st);
    return lt_latents_finish(&w);
}

lt_status lt_store_file(const char *run, char *out, size_t bytes)
{
    if (!lt_file_exists(run))
        LT_FAIL(LT_ENOINPUT, "%s: want a run folder or a latents.h5, found nothing", run);
    if (!lt_file_is_dir(run)) {
        const int n = snprintf(out, bytes, "%s", run);
        if (n < 0 || (size_t)n >= bytes)
            LT_FAIL(LT_EUSAGE, "%s: the name is too long", run);
        return LT_OK;
    }
    LT_TRY(lt_path_join(out, bytes, run, "latents.h5"));
    if (!lt_file_exists(out)) {
        char word[LT_PATH_BYTES];
        lt_hint("latents are there once a run has denoised: `longtake render --resume %s` goes on",
                lt_text_quoted(run, word, sizeof word));
        LT_FAIL(LT_ENOINPUT, "%s: no latents.h5 in this run folder", run);
    }
    return LT_OK;
}

static lt_status replace(char **field, const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        LT_FAIL(LT_ENOMEM, "plan: no memory");
    free(*field);
    *field = copy;
    return LT_OK;
}

/* What the job says in place of what the plan said; RUN is where the latents are. */
static lt_status apply_job(const char *file, const lt_job *job, lt_plan *plan)
{
    char folder[LT_PATH_BYTES];
    LT_TRY(replace(&plan->output, job->output));
    LT_TRY(lt_path_folder(folder, sizeof folder, file));
    LT_TRY(replace(&plan->run, folder));
    if (job->model != NULL)
        LT_TRY(replace(&plan->model, job->model));
    if (job->codec != NULL)
        (void)snprintf(plan->codec, sizeof plan->codec, "%s", job->codec);
    lt_plan_quality(job, plan); /* the plan's are of its own codec */
    LT_TRY(lt_plan_device(job, plan));
    return LT_OK;
}

/* Lengths and rates against each other and the model's: whatever is made of them later is bounded
 * by the streams' shapes. */
static lt_status check_lengths(const char *file, const lt_plan *plan, const lt_model *model)
{
    const lt_model_facts *facts = &model->facts;
    const int has_shots = plan->board.shots > 0;
    const int64_t grid =
        has_shots ? lt_storyboard_longest(&plan->board) : model->family->frames_grid(plan->frames);
    const int64_t samples = lt_samples_of(plan->frames, plan->sample_rate, plan->fps);
    if (plan->fps != facts->fps || plan->sample_rate != facts->sample_rate)
        LT_FAIL(LT_EDATA,
                "%s: plan: want fps %d and sample_rate %d as the model has, found %d and %d", file,
                facts->fps, facts->sample_rate, plan->fps, plan->sample_rate);
    LT_TRY(lt_storyboard_check(&plan->board, model->family->grid, plan->fps, plan->sample_rate,
                               plan->asked.mode, file));
    if (plan->shape.frames != grid)
        LT_FAIL(LT_EDATA, "%s: plan: grid_frames: want %lld for %lld frames, found %lld", file,
                (long long)grid, (long long)plan->frames, (long long)plan->shape.frames);
    if (plan->samples != samples)
        LT_FAIL(LT_EDATA, "%s: plan: samples: want %lld for %lld frames, found %lld", file,
                (long long)samples, (long long)plan->frames, (long long)plan->samples);
    return LT_OK;
}

static lt_status check_shot(const char *file, const lt_latents *store, const lt_film_shot *shot)
{
    const lt_plan *plan = &shot->plan;
    for (int s = 0; s < plan->stream_count; s++) {
        char name[LT_DATASET_BYTES];
        size_t index = 0;
        LT_TRY(lt_latents_find(store, lt_film_dataset(shot, s, name), &index));
        const lt_latents_stream *found = lt_latents_stream_at(store, index);
        int same = found->ndim == plan->stream[s].ndim;
        for (int i = 0; same && i < found->ndim; i++)
            same = found->dims[i] == plan->stream[s].dim[i];
        if (!same)
            LT_FAIL(LT_EDATA,
                    "%s: dataset %s: its shape does not fit %lld frames of %lldx%lld by %s", file,
                    name, (long long)plan->shape.frames, (long long)plan->shape.width,
                    (long long)plan->shape.height, plan->model);
        if (found->time_axis != plan->stream[s].time_axis)
            LT_FAIL(LT_EDATA, "%s: dataset %s: time_axis: want %d, found %d", file, name,
                    plan->stream[s].time_axis, found->time_axis);
    }
    return LT_OK;
}

/* The file's datasets must be just the ones that this model decodes. */
static lt_status check_streams(const char *file, const lt_latents *store, const lt_plan *plan,
                               const lt_model *model)
{
    lt_film_shot *shot = NULL;
    int count = 0;
    LT_TRY(lt_film_shots(plan, model, &shot, &count));
    const size_t wanted = (size_t)count * (size_t)plan->stream_count;
    lt_status st = LT_OK;
    if (lt_latents_count(store) != wanted)
        st = lt_fail(LT_EDATA, __FILE__, __LINE__, "%s: want %zu datasets, found %zu", file, wanted,
                     lt_latents_count(store));
    for (int i = 0; i < count && st == LT_OK; i++)
        st = check_shot(file, store, &shot[i]);
    free(shot);
    return st;
}

/* The facts that stand beside the plan must be its own. */
static lt_status check_beside(const char *file, const json_t *attributes, const json_t *plan)
{
    static const char *const keys[] = {"model",  "prompt",  "frames",      "fps", "width",
                                       "height", "samples", "sample_rate", "seed"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *said = json_object_get(attributes, keys[i]);
        if (said != NULL && !json_equal(said, json_object_get(plan, keys[i])))
            LT_FAIL(LT_EDATA, "%s: attribute %s: want what the plan beside it says, found another",
                    file, keys[i]);
    }
    return LT_OK;
}

static lt_status read_plan(const char *file, const lt_latents *store, const lt_job *job,
                           lt_plan *out)
{
    const json_t *attributes = lt_latents_attributes(store);
    const lt_json_at at = lt_json_root(attributes, file);
    const char *text = NULL;
    json_t *plan = NULL;
    LT_TRY(lt_json_string(&at, "plan", &text));
    LT_TRY(lt_json_parse(text, strlen(text), file, &plan));
    const lt_status st = check_beside(file, attributes, plan);
    json_decref(plan);
    LT_TRY(st);
    LT_TRY(lt_plan_from_json(text, strlen(text), out));
    LT_TRY(apply_job(file, job, out));
    return LT_OK;
}

lt_status lt_store_open(const char *run, int unsealed, lt_latents **store)
{
    char file[LT_PATH_BYTES];
    *store = NULL;
    LT_TRY(lt_store_file(run, file, sizeof file));
    return lt_latents_open(file, unsealed, store);
}

lt_status lt_store_plan(const char *run, const lt_job *job, lt_latents **store, lt_plan *out)
{
    char file[LT_PATH_BYTES];
    *store = NULL;
    LT_TRY(lt_store_file(run, file, sizeof file));
    LT_TRY(lt_latents_open(file, job->unsealed, store));
    LT_TRY(read_plan(file, *store, job, out));
    return LT_OK;
}

lt_status lt_store_plan_json(const char *run, const lt_job *job, lt_plan *out)
{
    enum { BYTES_MAX = 64 << 20 };
    char file[LT_PATH_BYTES];
    char *text = NULL;
    size_t bytes = 0;
    LT_TRY(lt_path_join(file, sizeof file, run, "plan.json"));
    LT_TRY(lt_file_read_regular(file, BYTES_MAX, &text, &bytes));
    lt_status st = lt_plan_from_json(text, bytes, out);
    if (st == LT_OK)
        st = apply_job(file, job, out);
    else
        st = lt_fail(st, __FILE__, __LINE__, "%s: %s", file, lt_error_text());
    free(text);
    return st;
}

lt_status lt_store_check(const char *run, const lt_latents *store, const lt_model *model,
                         lt_plan *plan)
{
    char file[LT_PATH_BYTES];
    LT_TRY(lt_store_file(run, file, sizeof file));
    LT_TRY(check_lengths(file, plan, model));
    LT_TRY(lt_plan_streams(plan, model));
    LT_TRY(check_streams(file, store, plan, model));
    return LT_OK;
}
