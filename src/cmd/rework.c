/* rework.c - --rework: a film whose joins are over budget is rendered again with a wider overlap.
 *
 *     rank 0   measure RUN -> again? at which overlap     (the others wait)
 *     all      render into NAME.rework.*
 *     rank 0   measure that -> keep the better, tell RUN */
#include "cmd/rework.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/new_file.h"
#include "base/record.h"
#include "cmd/metrics_measure.h"
#include "cmd/metrics_subject.h"
#include "model/family.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/op_record.h"
#include "run/lease.h"

/* What is compared of a film. */
typedef struct figures {
    double step_ratio, level_jump_db;
    int64_t places, outstanding;
    int is_over;
} figures;

/* What rank 0 decides. */
typedef struct decision {
    int again;
    int64_t overlap; /* frames */
} decision;

/* The second film's names. */
typedef struct names {
    char run[LT_PATH_BYTES], output[LT_PATH_BYTES], sheet[LT_PATH_BYTES], wav[LT_PATH_BYTES];
} names;

/* "dir/a.mp4" -> "dir/a.rework.mp4", "a.run" -> "a.rework.run", "a" -> "a.rework". */
static lt_status rework_name(const char *path, char *out)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    const size_t stem = dot != NULL && dot > path && (slash == NULL || dot > slash + 1)
                            ? (size_t)(dot - path)
                            : strlen(path);
    const int n = snprintf(out, LT_PATH_BYTES, "%.*s.rework%s", (int)stem, path, path + stem);
    if (n < 0 || n >= LT_PATH_BYTES)
        LT_FAIL(LT_EUSAGE, "--rework: %.100s...: the name is too long", path);
    return LT_OK;
}

static lt_status names_of(const lt_job *job, const lt_outcome *out, names *n)
{
    *n = (names){.run = ""};
    LT_TRY(rework_name(out->run, n->run));
    LT_TRY(rework_name(out->output, n->output));
    if (job->sheet != NULL)
        LT_TRY(rework_name(job->sheet, n->sheet));
    if (job->wav != NULL)
        LT_TRY(rework_name(job->wav, n->wav));
    return LT_OK;
}

/* ---- measuring ---- */

/* So that the failure detector sees rank 0 at work in a long film. */
static void tell_frame(int64_t frame) { lt_operation_chunk((int)(frame / 24) + 1); }

static lt_status measure(const char *run, figures *out)
{
    lt_metrics_subject s = {.run = NULL};
    lt_metrics m = {0};
    lt_status st = lt_metrics_subject_run(run, &s);
    if (st == LT_OK) {
        lt_metrics_ask ask = lt_metrics_subject_ask(&s);
        ask.frame = tell_frame;
        st = lt_metrics_measure(&ask, &m);
    }
    lt_operation_chunk(0);
    *out = (figures){.step_ratio = m.step_ratio,
                     .level_jump_db = m.level_jump_db,
                     .places = (int64_t)m.join_count,
                     .outstanding = (int64_t)m.outstanding_count};
    out->is_over = st == LT_OK && m.join_count > 0 &&
                   (lt_metrics_step_over(&m) || lt_metrics_level_over(&m) || out->outstanding > 0);
    lt_metrics_free(&m);
    lt_metrics_subject_free(&s);
    LT_TRY(st);
    return LT_OK;
}

static double share_of(const figures *f)
{
    return f->places > 0 ? (double)f->outstanding / (double)f->places : 0;
}

/* Is b better than a? */
static int is_better(const figures *a, const figures *b)
{
    if (fabs(share_of(a) - share_of(b)) > 1e-9)
        return share_of(b) < share_of(a);
    return b->step_ratio < a->step_ratio;
}

/* ---- telling ---- */

static json_t *figures_json(const figures *f)
{
    return json_pack(
        "{s:o, s:o, s:I, s:I}", "step_ratio",
        isfinite(f->step_ratio) ? json_real(f->step_ratio) : json_null(), "level_jump_db",
        isfinite(f->level_jump_db) ? json_real(f->level_jump_db) : json_null(), "outstanding_joins",
        (json_int_t)f->outstanding, "places", (json_int_t)f->places);
}

/* {"run", "overlap", "before", "after", "kept"}. */
static json_t *story(const names *n, int64_t overlap, const figures *before, const figures *after,
                     int is_kept)
{
    return json_pack("{s:o, s:I, s:o, s:o, s:s}", "run", lt_json_of_path(n->run), "overlap",
                     (json_int_t)overlap, "before", figures_json(before), "after",
                     figures_json(after), "kept", is_kept ? "after" : "before");
}

static lt_status tell_manifest(const char *run, json_t *told)
{
    char path[LT_PATH_BYTES];
    json_t *manifest = NULL;
    LT_TRY(lt_path_join(path, sizeof path, run, "manifest.json"));
    LT_TRY(lt_json_read(path, &manifest));
    (void)json_object_set(manifest, "rework", told);
    const lt_status st = lt_json_write(path, manifest);
    json_decref(manifest);
    LT_TRY(st);
    return LT_OK;
}

static lt_status tell_events(const char *run, const json_t *told)
{
    char path[LT_PATH_BYTES];
    int fd = -1;
    LT_TRY(lt_path_join(path, sizeof path, run, "events.ndjson"));
    LT_TRY(lt_own_file_append(path, &fd));
    lt_record_open(fd);
    lt_record_event("rework", json_deep_copy(told));
    lt_record_close();
    (void)close(fd);
    return LT_OK;
}

/* RUN is ours once more for as long as that takes. Takes told. */
static lt_status tell_run(const char *run, json_t *told)
{
    lt_lease lease;
    lt_status st = lt_lease_run(run, &lease);
    if (st == LT_OK) {
        st = tell_manifest(run, told);
        if (st == LT_OK)
            st = tell_events(run, told);
        lt_lease_end(&lease);
    }
    json_decref(told);
    LT_TRY(st);
    return LT_OK;
}

/* ---- deciding ---- */

/* The next wider overlap of the plan's window, in frames; 0: the window has no room for one. */
static lt_status wider_overlap(const lt_job *job, const char *run, int64_t *window, int64_t *out)
{
    char path[LT_PATH_BYTES], name[LT_PATH_BYTES];
    int64_t overlap = 0, window_latents = 0, latents = 0;
    json_t *plan = NULL;
    lt_model *model = NULL;
    *out = 0;
    LT_TRY(lt_path_join(path, sizeof path, run, "plan.json"));
    LT_TRY(lt_json_read(path, &plan));
    const lt_json_at root = lt_json_root(plan, path);
    lt_status st = lt_json_int(&root, "window", 1, INT32_MAX, window);
    if (st == LT_OK)
        st = lt_json_int(&root, "overlap", 0, INT32_MAX, &overlap);
    json_decref(plan);
    LT_TRY(st);
    LT_TRY(lt_job_model(job, name, sizeof name));
    LT_TRY(lt_model_open(name, &model));
    const lt_grid *grid = model->family->grid;
    st = lt_grid_window(grid, *window, &window_latents);
    if (st == LT_OK)
        st = lt_grid_overlap(grid, window_latents, overlap, &latents);
    if (st == LT_OK && latents + 2 * grid->unit <= window_latents) /* a unit must stay its own */
        *out = lt_grid_frame_range(grid, (lt_range){grid->unit, latents + grid->unit}).count;
    lt_model_close(&model);
    LT_TRY(st);
    return LT_OK;
}

static lt_status decide(const lt_job *job, const lt_outcome *out, names *n, figures *before,
                        decision *d)
{
    int64_t window = 0;
    *d = (decision){0, 0};
    LT_TRY(names_of(job, out, n));
    LT_TRY(measure(out->run, before));
    if (!before->is_over)
        return LT_OK;
    LT_TRY(wider_overlap(job, out->run, &window, &d->overlap));
    d->again = d->overlap > 0;
    if (d->again && !job->quiet)
        lt_say("longtake: %" PRId64 " of %" PRId64
               " places stand out, step %.2f in the median: again, with %" PRId64 " frames shared",
               before->outstanding, before->places, before->step_ratio, d->overlap);
    else if (!d->again)
        lt_warn("--rework: %" PRId64 " of %" PRId64 " places stand out, step %.2f in the median, "
                "but a window of %" PRId64 " frames has no room for a wider overlap: a longer "
                "--window has",
                before->outstanding, before->places, before->step_ratio, window);
    return LT_OK;
}

/* ---- again ---- */

static lt_status set(lt_options *options, const char *name, const char *text)
{
    return text[0] != '\0' ? lt_options_set(options, name, text) : LT_OK;
}

/* The same job with this overlap and these names, all else as job.yaml would keep it. */
static lt_status render_again(const lt_job *job, const lt_options *options, const names *n,
                              int64_t overlap, lt_group *world, lt_outcome *out)
{
    lt_job again;
    lt_options *own = NULL;
    char *text = NULL, number[32];
    LT_TRY(
        lt_options_new(lt_job_options, (size_t)lt_job_option_count, LT_VERB_RENDER, &again, &own));
    lt_status st = lt_options_dump_yaml(options, &text);
    if (st == LT_OK)
        st = lt_options_parse_yaml_text(own, text, strlen(text), "job.yaml");
    free(text);
    (void)snprintf(number, sizeof number, "%" PRId64, overlap);
    const char *const words[][2] = {{"overlap", number},   {"rework", "false"}, {"run", n->run},
                                    {"output", n->output}, {"sheet", n->sheet}, {"wav", n->wav}};
    for (size_t i = 0; i < sizeof words / sizeof *words && st == LT_OK; i++)
        st = set(own, words[i][0], words[i][1]);
    again.quiet = job->quiet;
    again.verbose = job->verbose;
    again.overwrite = job->overwrite;
    st = lt_agree(world, st);
    if (st == LT_OK)
        st = lt_render(&again, own, world, out);
    lt_options_free(&own);
    return st;
}

/* The second film and what belongs to it take the first one's names, or go. */
static lt_status settle_names(const lt_job *job, const lt_outcome *first, const names *n,
                              int is_kept)
{
    const char *const pairs[][2] = {
        {n->output, first->output}, {n->sheet, job->sheet}, {n->wav, job->wav}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (pairs[i][0][0] == '\0')
            continue;
        if (is_kept)
            LT_TRY(lt_new_file_move(pairs[i][0], pairs[i][1], LT_REPLACE));
        else
            (void)unlink(pairs[i][0]);
    }
    return LT_OK;
}

static lt_status settle(const lt_job *job, const names *n, int64_t overlap, const figures *before,
                        lt_outcome *out)
{
    figures after;
    LT_TRY(measure(n->run, &after));
    const int is_kept = is_better(before, &after);
    LT_TRY(settle_names(job, out, n, is_kept));
    LT_TRY(tell_run(out->run, story(n, overlap, before, &after, is_kept)));
    if (!job->quiet)
        lt_say("longtake: %" PRId64 " of %" PRId64
               " places stand out, step %.2f in the median: the %s film is kept",
               after.outstanding, after.places, after.step_ratio, is_kept ? "second" : "first");
    if (is_kept)
        (void)snprintf(out->run, sizeof out->run, "%s", n->run);
    return LT_OK;
}

/* The first film is whole, whatever went wrong with the second. */
static lt_status forgive(lt_status st, lt_group *world)
{
    if (st == LT_OK || st == LT_ETEMP)
        return st;
    if (lt_group_rank(world) == 0)
        lt_warn("--rework: the first film is kept: %s", lt_error_text());
    lt_error_clear();
    return LT_OK;
}

lt_status lt_rework(const lt_job *job, const lt_options *options, lt_group *world, lt_outcome *out)
{
    names n = {.run = ""};
    figures before = {0};
    decision d = {0, 0};
    lt_outcome second;
    const int root = lt_group_rank(world) == 0;
    if (!job->rework)
        return LT_OK;
    lt_status st = root ? decide(job, out, &n, &before, &d) : LT_OK;
    st = lt_agree(world, st);
    if (st != LT_OK)
        return forgive(st, world);
    LT_TRY(lt_broadcast(world, 0, &d, sizeof d));
    LT_TRY(lt_broadcast(world, 0, &n, sizeof n));
    if (!d.again)
        return LT_OK;
    st = render_again(job, options, &n, d.overlap, world, &second);
    if (st == LT_OK) {
        json_decref(second.stages);
        st = lt_agree(world, root ? settle(job, &n, d.overlap, &before, out) : LT_OK);
    }
    return forgive(st, world);
}
