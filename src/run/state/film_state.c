/* film_state.c - a render's states: whose they are, and where it goes on. */
#include "run/state/film_state.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/json.h"
#include "base/record.h"
#include "parallel/transport/agree.h"
#include "run/plan_json.h"
#include "run/resume/model_files.h"

static const char *const settles[] = {
    "prompt",      "shots",           "seed",          "frames",
    "width",       "height",          "steps",         "evaluations",
    "mode",        "window",          "overlap",       "fuse",
    "dither",      "owner_cut_steps", "anchors",       "positions",
    "refine_from", "coarse_width",    "coarse_height", "tile_width",
    "tile_height", "deterministic",   "dtype",         "grid_frames"};
static const char *const chosen_keys[] = {"mode",   "window", "overlap",    "fade",
                                          "fuse",   "dtype",  "steps",      "width",
                                          "height", "seed",   "grid_frames"};

/* The members of from that have these names. */
static json_t *members(const json_t *from, const char *const *keys, size_t count)
{
    json_t *out = json_object();
    for (size_t i = 0; i < count; i++)
        if (json_object_get(from, keys[i]) != NULL)
            (void)json_object_set(out, keys[i], json_object_get(from, keys[i]));
    return out;
}

/* A copy of the model's files made later is the same model: times are left out. */
static json_t *model_of(const char *path)
{
    const char *name;
    json_t *file, *files = lt_model_files(path);
    json_object_foreach (files, name, file)
        (void)json_object_del(file, "changed");
    return files;
}

lt_status lt_film_job(const lt_plan *plan, uint64_t *hash, json_t **chosen)
{
    char *text = NULL;
    json_t *whole = NULL, *job = NULL;
    lt_status st = LT_OK;
    *chosen = NULL;
    LT_TRY(lt_plan_to_text(plan, NULL, &text));
    LT_TRY_GOTO(lt_json_parse(text, strlen(text), "plan", &whole), st, done);
    job = members(whole, settles, sizeof settles / sizeof *settles);
    json_t *fade = json_object_get(whole, "fade"); /* of other modes 0 or, of before, absent */
    if (json_integer_value(fade) > 0)
        (void)json_object_set(job, "fade", fade);
    (void)json_object_set_new(job, "model_files", model_of(plan->model));
    *chosen = members(whole, chosen_keys, sizeof chosen_keys / sizeof *chosen_keys);
    free(text);
    text = json_dumps(job, JSON_COMPACT | JSON_SORT_KEYS);
    if (lt_json_starved() || text == NULL || *chosen == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "states: no memory for the job's hash");
    *hash = XXH64(text, strlen(text), 0);
done:
    if (st != LT_OK) {
        json_decref(*chosen);
        *chosen = NULL;
    }
    json_decref(job);
    json_decref(whole);
    free(text);
    return st;
}

/* The newest state file that is older than *at (step 0: of all); 0: there is none. */
static int older_file(const char *folder, lt_state_name *at)
{
    lt_state_name best = {0}, name;
    DIR *dir = opendir(folder);
    for (const struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL; e = readdir(dir)) {
        if (!lt_state_name_parse(e->d_name, &name) || name.part < 0)
            continue;
        const int is_older =
            at->step == 0 || name.step < at->step ||
            (name.step == at->step &&
             (name.epoch < at->epoch || (name.epoch == at->epoch && name.part < at->part)));
        const int is_newer =
            name.step > best.step ||
            (name.step == best.step &&
             (name.epoch > best.epoch || (name.epoch == best.epoch && name.part >= best.part)));
        if (is_older && is_newer)
            best = name;
    }
    if (dir != NULL)
        (void)closedir(dir);
    *at = best;
    return best.step > 0;
}

/* Of a file that is whole. */
static json_t *chosen_of(const char *path)
{
    lt_state_reader *reader = NULL;
    json_t *chosen = NULL;
    if (lt_file_exists(path) && lt_state_file_check(path, NULL) == LT_OK &&
        lt_state_reader_open(path, &reader) == LT_OK)
        chosen = json_deep_copy(lt_state_reader_head(reader)->chosen);
    lt_state_reader_close(&reader);
    lt_error_clear();
    return chosen;
}

json_t *lt_film_chosen(const char *run, char *from, size_t bytes)
{
    char folder[LT_PATH_BYTES], text[LT_STATE_NAME_BYTES];
    lt_state_name at = {0};
    json_t *chosen = NULL;
    if (lt_path_join(folder, sizeof folder, run, "cache") == LT_OK &&
        lt_path_join(from, bytes, folder, "text.lt") == LT_OK)
        chosen = chosen_of(from);
    if (chosen == NULL && lt_path_join(folder, sizeof folder, run, "state") == LT_OK)
        while (chosen == NULL && older_file(folder, &at))
            if (lt_path_join(from, bytes, folder, lt_state_name_text(&at, text)) == LT_OK)
                chosen = chosen_of(from);
    lt_error_clear();
    return chosen;
}

static void tell(const lt_commit *from, int64_t epoch)
{
    lt_record_event("resume",
                    json_pack("{s:I, s:I, s:I, s:I}", "epoch", (json_int_t)epoch, "step",
                              (json_int_t)from->place.step, "from_epoch", (json_int_t)from->epoch,
                              "evaluations", (json_int_t)from->place.steps));
}

lt_status lt_film_state_open(const lt_film_state_args *args, const lt_mesh *mesh,
                             lt_run_state **out)
{
    lt_commit from = {0};
    lt_state_settings s = {.keep = 1};
    lt_status st = LT_OK;
    *out = NULL;
    if (lt_group_rank(mesh->world) == 0) {
        s.run = args->plan->run;
        s.epoch = args->epoch;
        s.every = (int)args->every;
        s.keep = (int)args->keep;
        s.mode = lt_mode_names[args->plan->asked.mode];
        s.from = &from;
        st = lt_film_job(args->plan, &s.job, &s.chosen);
        if (st == LT_OK && args->goes_on)
            st = lt_state_find(args->plan->run, s.job, &from);
        if (st == LT_OK && args->goes_on)
            tell(&from, args->epoch);
    }
    st = lt_agree(mesh->world, st);
    if (st == LT_OK)
        st = lt_run_state_open(mesh, &s, out);
    json_decref(s.chosen);
    lt_commit_free(&from);
    LT_TRY(st);
    return LT_OK;
}

json_t *lt_film_state_json(lt_run_state *state)
{
    if (state == NULL)
        return NULL;
    const lt_state_counts c = lt_run_state_counts(state);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "committed", (json_int_t)c.committed,
                     "last_step", (json_int_t)c.last, "durable", (json_int_t)c.durable, "skipped",
                     (json_int_t)c.skipped, "failed", (json_int_t)c.failed, "bytes",
                     (json_int_t)c.bytes);
}
