/* stitch.c - the latents of several runs as one run, cut after cut.
 *
 * Each file is read as decode reads one: as a stranger's, its plan checked against the model and
 * its datasets against the plan. The film's plan is the first run's with the shots of all; so a key
 * that says how latents were made must be the same in all of them. */
#include "run/stitch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "run/folder.h"
#include "run/plan_json.h"
#include "run/progress.h"
#include "run/records.h"
#include "run/store_latents.h"
#include "run/versions.h"

/* One run that is read. */
typedef struct part {
    lt_latents *store;
    lt_plan plan;
    lt_film_shot *shot; /* [shots] owned */
    int shots;
} part;

/* All of them, and what becomes of them. */
typedef struct work {
    part *part; /* [parts] owned */
    size_t parts;
    lt_model *model;
    lt_plan plan;
    lt_film_shot *shot; /* [shots] owned */
    lt_clip *clip;      /* [shots] owned */
    int shots;
} work;

static void work_free(work *f)
{
    for (size_t i = 0; f->part != NULL && i < f->parts; i++) {
        lt_latents_close(&f->part[i].store);
        lt_plan_free(&f->part[i].plan);
        free(f->part[i].shot);
    }
    for (int i = 0; f->clip != NULL && i < f->shots; i++)
        lt_clip_free(&f->clip[i]);
    free(f->part);
    free(f->clip);
    free(f->shot);
    lt_plan_free(&f->plan);
    lt_model_close(&f->model);
}

/* ---- reading ---- */

/* Keys of plan.json that say how latents are made, but for text, length and seed. */
static const char *const alike[] = {
    "width",         "height",        "fps",         "sample_rate",     "steps",
    "dtype",         "deterministic", "window",      "overlap",         "fade",
    "fuse",          "dither",        "positions",   "owner_cut_steps", "coarse_width",
    "coarse_height", "tile_width",    "tile_height", "refine_from"};

/* A model is what its files are, wherever they lie: their heads, and all of them where both files
 * say it. Files of older versions name its folder only. */
static lt_status check_model(const char *first_run, const char *run, const part *first,
                             const part *p)
{
    static const char *const keys[] = {"model_xxh64", "model_head_xxh64", "model"};
    const json_t *a = lt_latents_attributes(first->store), *b = lt_latents_attributes(p->store);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *wanted = json_string_value(json_object_get(a, keys[i]));
        const char *found = json_string_value(json_object_get(b, keys[i]));
        if (wanted == NULL || found == NULL)
            continue;
        if (strcmp(wanted, found) == 0)
            return LT_OK;
        lt_hint("runs are put together that one model made");
        LT_FAIL(LT_EUSAGE, "%s: %s: want %.200s as %s has, found %.200s", run, keys[i], wanted,
                first_run, found);
    }
    return LT_OK;
}

/* A key that files of before have not. */
static int is_nothing(const json_t *value)
{
    return value == NULL || (json_is_integer(value) && json_integer_value(value) == 0);
}

static lt_status check_alike(const char *first_run, const char *run, const lt_plan *first,
                             const lt_plan *plan)
{
    json_t *a = NULL, *b = NULL;
    lt_status st = lt_json_parse(first->text, strlen(first->text), first_run, &a);
    if (st == LT_OK)
        st = lt_json_parse(plan->text, strlen(plan->text), run, &b);
    for (size_t i = 0; i < sizeof alike / sizeof *alike && st == LT_OK; i++) {
        json_t *wanted = json_object_get(a, alike[i]), *found = json_object_get(b, alike[i]);
        if ((is_nothing(wanted) && is_nothing(found)) ||
            (wanted != NULL && found != NULL && json_equal(wanted, found)))
            continue;
        char *w = wanted != NULL ? lt_json_text(wanted, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        char *f = found != NULL ? lt_json_text(found, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        lt_hint("runs are put together that were rendered alike, but for prompt, length and seed");
        st = lt_fail(LT_EUSAGE, __FILE__, __LINE__, "%s: %s: want %.200s as %s has, found %.200s",
                     run, alike[i], w != NULL ? w : "none", first_run, f != NULL ? f : "none");
        free(w);
        free(f);
    }
    json_decref(a);
    json_decref(b);
    return st;
}

/* A film without a storyboard is one shot. */
static lt_status shots_of(lt_plan *plan, const lt_model *model)
{
    if (plan->board.shots > 0)
        return LT_OK;
    lt_storyboard *board = &plan->board;
    board->entry = calloc(1, sizeof *board->entry);
    char *prompt = strdup(plan->prompt);
    if (board->entry == NULL || prompt == NULL) {
        free(prompt);
        LT_FAIL(LT_ENOMEM, "stitch: no memory for a shot");
    }
    board->entry[0] = (lt_board_entry){
        .prompt = prompt, .frames = plan->frames, .has_seed = 1, .seed = plan->seed};
    board->entries = 1;
    LT_TRY(lt_storyboard_place(board, model->family->grid, plan->fps, plan->sample_rate, 0));
    board->shot[0].mode = plan->asked.mode;
    return LT_OK;
}

static lt_status read_part(const lt_job *job, const char *const *runs, size_t i, work *f)
{
    part *p = &f->part[i];
    lt_job asked = {
        .output = job->run, .model = job->model, .device = "auto", .unsealed = job->unsealed};
    LT_TRY(lt_store_plan(runs[i], &asked, &p->store, &p->plan));
    if (i == 0)
        LT_TRY(lt_model_open(p->plan.model, &f->model));
    else
        LT_TRY(check_alike(runs[0], runs[i], &f->part[0].plan, &p->plan));
    if (i > 0)
        LT_TRY(check_model(runs[0], runs[i], &f->part[0], p));
    LT_TRY(lt_store_check(runs[i], p->store, f->model, &p->plan));
    LT_TRY(lt_film_shots(&p->plan, f->model, &p->shot, &p->shots)); /* as the file names them */
    LT_TRY(shots_of(&p->plan, f->model));
    return LT_OK;
}

/* ---- the film's plan ---- */

/* A run may lack the later anchors only where its shots were too short for them. */
static int anchors_agree(const lt_plan *fewer, const lt_plan *more)
{
    const lt_windows_asked *a = &fewer->asked, *b = &more->asked;
    if (a->mode == LT_MODE_SINGLE || b->mode == LT_MODE_SINGLE)
        return 1;
    return memcmp(a->anchor, b->anchor, (size_t)a->anchors * sizeof *a->anchor) == 0 &&
           (a->anchors == b->anchors || b->anchor[a->anchors] >= fewer->shape.frames);
}

/* The mode of the longest shots, or windows where any has them (plan_windowing.c). */
static lt_status join_modes(const char *run, lt_plan *film, const lt_plan *more)
{
    const lt_mode a = film->asked.mode, b = more->asked.mode;
    const int cut = (a == LT_MODE_SINGLE || a == LT_MODE_WINDOWS) &&
                    (b == LT_MODE_SINGLE || b == LT_MODE_WINDOWS);
    if (a != b && !cut)
        LT_FAIL(LT_EUSAGE, "%s: mode: want %s as the runs before it have, found %s", run,
                lt_mode_names[a], lt_mode_names[b]);
    const int is_fewer = film->asked.anchors <= more->asked.anchors;
    if (!anchors_agree(is_fewer ? film : more, is_fewer ? more : film))
        LT_FAIL(LT_EUSAGE, "%s: anchors: want those of the runs before it, found others", run);
    if (b == LT_MODE_WINDOWS)
        film->asked.mode = b;
    if (more->asked.anchors > film->asked.anchors) { /* a short shot lacks late ones */
        memcpy(film->asked.anchor, more->asked.anchor, sizeof film->asked.anchor);
        film->asked.anchors = more->asked.anchors;
    }
    return LT_OK;
}

static lt_status replace(char **field, char *text)
{
    if (text == NULL)
        LT_FAIL(LT_ENOMEM, "stitch: no memory for the plan");
    free(*field);
    *field = text;
    return LT_OK;
}

/* What the film is called in plan.json: RUN's name with the first run's suffix; decode's -o is
 * another. */
static lt_status name_output(const char *run, lt_plan *film)
{
    size_t stem = strlen(run);
    while (stem > 1 && run[stem - 1] == '/')
        stem--;
    if (stem > 4 && strncmp(run + stem - 4, ".run", 4) == 0)
        stem -= 4;
    char *name = malloc(stem + sizeof film->suffix + 2);
    if (name != NULL)
        (void)snprintf(name, stem + sizeof film->suffix + 2, "%.*s.%s", (int)stem, run,
                       film->suffix);
    return replace(&film->output, name);
}

static lt_status make_plan(const lt_job *job, const char *const *runs, work *f)
{
    const lt_plan *first = &f->part[0].plan;
    lt_plan *film = &f->plan;
    LT_TRY(lt_plan_from_json(first->text, strlen(first->text), film));
    lt_storyboard_free(&film->board);
    for (size_t i = 0; i < f->parts; i++) {
        LT_TRY(join_modes(runs[i], film, &f->part[i].plan));
        LT_TRY(lt_storyboard_append(&film->board, &f->part[i].plan.board, film->fps,
                                    film->sample_rate));
    }
    film->frames = lt_storyboard_frames(&film->board);
    film->samples = lt_samples_of(film->frames, film->sample_rate, film->fps);
    film->shape.frames = lt_storyboard_longest(&film->board);
    LT_TRY(replace(&film->prompt, lt_storyboard_prompts(&film->board)));
    LT_TRY(replace(&film->model, strdup(first->model)));
    LT_TRY(replace(&film->run, strdup(job->run)));
    LT_TRY(name_output(job->run, film));
    LT_TRY(lt_plan_streams(film, f->model));
    free(film->text);
    film->text = NULL;
    LT_TRY(lt_plan_to_text(film, NULL, &film->text));
    return LT_OK;
}

/* ---- job.yaml ---- */

static json_t *board_json(const lt_storyboard *board)
{
    json_t *list = json_array();
    for (int i = 0; i < board->entries; i++) {
        const lt_board_entry *e = &board->entry[i];
        json_t *one = json_pack("{s:s, s:I}", "prompt", e->prompt, "frames", (json_int_t)e->frames);
        if (e->blends)
            (void)json_object_set_new(one, "transition", json_string("blend"));
        else
            (void)json_object_set_new(one, "seed", lt_json_of_u64(e->seed));
        (void)json_array_append_new(list, one);
    }
    return list;
}

/* What cuts the shots into windows, where they all have one mode. */
static void add_windowing(json_t *json, const lt_plan *plan)
{
    const lt_windows_asked *w = &plan->asked;
    char text[48];
    (void)json_object_set_new(json, "mode", json_string(lt_mode_names[w->mode]));
    if (w->mode == LT_MODE_SINGLE)
        return;
    (void)json_object_set_new(json, "window", json_integer((json_int_t)w->window));
    (void)json_object_set_new(json, "overlap", json_integer((json_int_t)w->overlap));
    (void)json_object_set_new(json, "fade", json_integer((json_int_t)w->fade));
    (void)json_object_set_new(json, "fuse", json_string(lt_fuse_names[w->fuse]));
    (void)json_object_set_new(json, "dither", json_boolean(w->dither));
    (void)json_object_set_new(json, "owner-cut-steps", json_integer(w->owner_cut_steps));
    (void)json_object_set_new(json, "positions",
                              json_string(w->global_positions ? "global" : "local"));
    if (w->mode == LT_MODE_REFINE) {
        (void)snprintf(text, sizeof text, "%lldx%lld", (long long)w->tile_width,
                       (long long)w->tile_height);
        (void)json_object_set_new(json, "refine-from", json_real(w->refine_from));
        (void)json_object_set_new(json, "tile", json_string(text));
    }
    char anchors[24 * LT_ANCHORS_MAX];
    size_t used = 0;
    for (int i = 0; i < w->anchors; i++)
        used += (size_t)snprintf(anchors + used, sizeof anchors - used, "%s%lld", i > 0 ? "," : "",
                                 (long long)w->anchor[i]);
    if (w->anchors == 0 && w->mode == LT_MODE_EXTEND)
        (void)snprintf(anchors, sizeof anchors, "none");
    if (w->anchors > 0 || w->mode == LT_MODE_EXTEND)
        (void)json_object_set_new(json, "anchors", json_string(anchors));
}

/* Shots of several modes come from `auto`, which gives each the same again. */
static json_t *job_json(const lt_plan *plan)
{
    char size[48];
    int one_mode = 1;
    (void)snprintf(size, sizeof size, "%lldx%lld", (long long)plan->shape.width,
                   (long long)plan->shape.height);
    json_t *json =
        json_pack("{s:o, s:o, s:s, s:i, s:s, s:b}", "model", lt_json_of_path(plan->model), "shots",
                  board_json(&plan->board), "size", size, "steps", plan->steps, "dtype",
                  plan->dtype == LT_BF16 ? "bf16" : "f32", "deterministic", plan->deterministic);
    for (int i = 1; i < plan->board.shots; i++)
        one_mode &= plan->board.shot[i].mode == plan->board.shot[0].mode;
    if (json != NULL && one_mode)
        add_windowing(json, plan);
    return json;
}

/* By the table of options, so that it reads as any run's. JSON is YAML. */
static lt_status job_yaml(const lt_plan *plan, char **out)
{
    lt_job job;
    lt_options *options = NULL;
    memset(&job, 0, sizeof job);
    json_t *json = job_json(plan);
    char *text = json != NULL ? lt_json_text(json, JSON_INDENT(1)) : NULL;
    lt_status st = LT_OK;
    if (text == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "stitch: no memory for job.yaml");
    if (st == LT_OK)
        st = lt_options_new(lt_job_options, (size_t)lt_job_option_count, LT_VERB_RENDER, &job,
                            &options);
    if (st == LT_OK)
        st = lt_options_parse_yaml_text(options, text, strlen(text), "job.yaml");
    if (st == LT_OK)
        st = lt_options_dump_yaml(options, out);
    lt_options_free(&options);
    free(text);
    json_decref(json);
    return st;
}

/* ---- writing ---- */

/* The datasets of all runs, in order, under their names in the film. */
static lt_status read_clips(work *f)
{
    int at = 0;
    LT_TRY(lt_film_shots(&f->plan, f->model, &f->shot, &f->shots));
    f->clip = calloc((size_t)f->shots, sizeof *f->clip);
    if (f->clip == NULL)
        LT_FAIL(LT_ENOMEM, "stitch: no memory for %d shots", f->shots);
    for (size_t i = 0; i < f->parts; i++)
        for (int k = 0; k < f->part[i].shots; k++, at++) {
            const part *p = &f->part[i];
            assert(at < f->shots);
            LT_TRY(lt_clip_new(&f->shot[at].plan, &f->clip[at]));
            for (int s = 0; s < f->plan.stream_count; s++) {
                char name[LT_DATASET_BYTES];
                size_t index = 0;
                LT_TRY(lt_latents_find(p->store, lt_film_dataset(&p->shot[k], s, name), &index));
                LT_TRY(lt_latents_read(p->store, index, f->clip[at].data[s],
                                       (size_t)f->clip[at].elements[s]));
            }
        }
    return LT_OK;
}

/* The first line of events.ndjson: which runs they were. */
static lt_status record(const lt_plan *plan, const char *const *runs, size_t count)
{
    int events = -1;
    lt_progress *progress = NULL;
    json_t *from = json_array();
    LT_TRY(lt_records_events(plan, 1, &events));
    const lt_status st = lt_progress_open(events, 1, &progress);
    if (st != LT_OK) {
        (void)close(events);
        json_decref(from);
        return st;
    }
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(from, lt_json_of_path(runs[i]));
    lt_progress_event(progress, "stitch",
                      json_pack("{s:s, s:o}", "software", lt_version_software(), "runs", from));
    lt_progress_close(&progress);
    return LT_OK;
}

static lt_status write_run(const lt_job *job, const char *const *runs, work *f)
{
    lt_lease lease = {0};
    char *yaml = NULL;
    LT_TRY(job_yaml(&f->plan, &yaml));
    lt_status st = lt_folder_check(&f->plan, yaml, job->overwrite);
    if (st == LT_OK)
        st = read_clips(f); /* before the folder is made */
    if (st == LT_OK)
        st = lt_folder_make(&f->plan, yaml, job->overwrite, &lease);
    free(yaml);
    LT_TRY(st);
    st = record(&f->plan, runs, f->parts);
    if (st == LT_OK)
        st = lt_store_latents(&f->plan, f->shot, f->clip, f->shots);
    lt_lease_end(&lease);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_stitch(const lt_job *job, const char *const *runs, size_t count, json_t **plan)
{
    work f = {.parts = count};
    lt_status st = LT_OK;
    assert(count > 0 && job->run != NULL);
    *plan = NULL;
    f.part = calloc(count, sizeof *f.part);
    if (f.part == NULL)
        LT_FAIL(LT_ENOMEM, "stitch: no memory for %zu runs", count);
    for (size_t i = 0; i < count; i++)
        LT_TRY_GOTO(read_part(job, runs, i, &f), st, done);
    LT_TRY_GOTO(make_plan(job, runs, &f), st, done);
    LT_TRY_GOTO(write_run(job, runs, &f), st, done);
    LT_TRY_GOTO(lt_json_parse(f.plan.text, strlen(f.plan.text), "plan", plan), st, done);
done:
    work_free(&f);
    return st;
}
