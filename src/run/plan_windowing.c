/* plan_windowing.c - how a plan's clip is cut: from options to windows. */
#include "run/plan_windowing.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* Above this a tile may leave what the coarse pass made: spec/long-video.md 11, 12 (M9). */
static const double refine_sure = 0.6, refine_default = 0.6;

static int64_t longest_trained(const lt_model_facts *facts)
{
    int64_t most = facts->window_frames;
    for (int i = 0; i < facts->trained_count; i++)
        most = facts->trained_frames[i] > most ? facts->trained_frames[i] : most;
    return most;
}

/* Frames inside a clip of so many latents that begin at a whole unit. */
static int64_t inner_frames(const lt_grid *grid, int64_t latents)
{
    return lt_grid_frame_range(grid, (lt_range){grid->unit, latents}).count;
}

/* The longest window of the grid that is no longer than the model's own, but can overlap. */
static int64_t default_window(const lt_grid *grid, int64_t frames)
{
    const int64_t most = lt_grid_latents(grid, frames);
    const int64_t units = most > grid->tail ? (most - grid->tail) / grid->unit : 0;
    int64_t window = grid->tail + (units < 1 ? 1 : units) * grid->unit;
    while (window > grid->tail + grid->unit && lt_grid_frames(grid, window) > frames)
        window -= grid->unit;
    return lt_grid_frames(grid, window);
}

/* The shortest overlap; where windows may move by single latents, a fifth of the window. */
static int64_t default_overlap(const lt_grid *grid, int64_t window)
{
    int64_t latents = grid->tail;
    if (latents == 0)
        latents = window / 5 > 0 ? window / 5 : 0;
    return inner_frames(grid, latents);
}

static lt_mode mode_of(const char *word)
{
    for (int i = 0; word != NULL && i < LT_MODES; i++)
        if (strcmp(word, lt_mode_names[i]) == 0)
            return (lt_mode)i;
    return LT_MODE_SINGLE;
}

/* The model's own, as far as the clip has them; not where prompts blend, for what follows is to
 * leave what it began with. */
static void own_anchors(const lt_model_facts *facts, const lt_plan *plan, lt_windows_asked *asked)
{
    int blends = 0;
    for (int i = 0; i < plan->board.shots; i++)
        blends |= plan->board.shot[i].entries > 1;
    for (int i = 0; i < facts->anchor_count && asked->mode == LT_MODE_EXTEND && !blends; i++)
        if (facts->anchor_frames[i] < plan->shape.frames)
            asked->anchor[asked->anchors++] = facts->anchor_frames[i];
}

static lt_status asked_fade(const lt_job *job, const lt_model *model, lt_windows_asked *asked)
{
    const int64_t own = model->facts.fade_frames;
    int64_t latents = 0;
    if (asked->mode != LT_MODE_EXTEND) {
        if (job->fade > 0)
            LT_FAIL(LT_EUSAGE, "--fade: want --mode extend, found %s", lt_mode_names[asked->mode]);
        return LT_OK;
    }
    LT_TRY(lt_grid_window(model->family->grid, asked->window, &latents));
    LT_TRY(lt_grid_overlap(model->family->grid, latents, asked->overlap, &latents));
    asked->fade = job->fade >= 0 ? job->fade : own < asked->overlap ? own : 0;
    const int64_t overlap = latents;
    LT_TRY(lt_grid_fade(model->family->grid, overlap, asked->fade, &latents));
    const lt_range faded = {model->family->grid->unit + overlap - latents, latents};
    asked->fade = lt_grid_frame_range(model->family->grid, faded).count; /* of whole latents */
    return LT_OK;
}

static lt_status asked_anchors(const lt_job *job, const lt_model_facts *facts, const lt_plan *plan,
                               lt_windows_asked *asked)
{
    const char *p = job->anchors;
    if (p == NULL)
        own_anchors(facts, plan, asked);
    if (p == NULL || strcmp(p, "none") == 0)
        return LT_OK;
    while (p != NULL && *p != '\0') {
        char *end = NULL;
        const long long frame = strtoll(p, &end, 10);
        if (end == p || (*end != ',' && *end != '\0') || frame < 0 || frame >= plan->shape.frames ||
            (asked->anchors > 0 && frame <= asked->anchor[asked->anchors - 1]))
            LT_FAIL(LT_EUSAGE,
                    "--anchors %s: want frames of the clip, ascending, 0 to %lld, with commas "
                    "between them, or none",
                    job->anchors, (long long)plan->shape.frames - 1);
        if (asked->anchors == LT_ANCHORS_MAX)
            LT_FAIL(LT_EUSAGE, "--anchors %s: want at most %d", job->anchors, LT_ANCHORS_MAX);
        asked->anchor[asked->anchors++] = frame;
        p = *end == ',' ? end + 1 : end;
    }
    return LT_OK;
}

/* The canvas of the coarse pass, and of a tile: the model's own size where it is smaller, else half
 * of the film's, on the family's multiple. */
static void asked_canvas(const lt_job *job, const lt_model_facts *facts, const lt_plan *plan,
                         lt_windows_asked *asked)
{
    const int64_t unit = facts->size_multiple > 0 ? facts->size_multiple : 1;
    const int64_t w = plan->shape.width, h = plan->shape.height;
    double scale = 0.5;
    if (facts->default_width < w || facts->default_height < h) {
        const double x = (double)facts->default_width / (double)w;
        const double y = (double)facts->default_height / (double)h;
        scale = x < y ? x : y;
    }
    asked->coarse_width = llround((double)w * scale / (double)unit) * unit;
    asked->coarse_height = llround((double)h * scale / (double)unit) * unit;
    asked->coarse_width = asked->coarse_width < unit ? unit : asked->coarse_width;
    asked->coarse_height = asked->coarse_height < unit ? unit : asked->coarse_height;
    asked->tile_width = job->tile[0] > 0 ? job->tile[0] : asked->coarse_width;
    asked->tile_height = job->tile[0] > 0 ? job->tile[1] : asked->coarse_height;
}

static int is_auto_mode(const lt_job *job)
{
    return job->mode == NULL || strcmp(job->mode, "auto") == 0;
}

/* What --mode says, or `auto` chooses for so many frames of the grid. */
static lt_mode mode_for(const lt_job *job, const lt_model_facts *facts, int64_t frames)
{
    if (!is_auto_mode(job))
        return mode_of(job->mode);
    if (job->refine_from > 0)
        return LT_MODE_REFINE;
    return job->window > 0 || frames > longest_trained(facts) ? LT_MODE_WINDOWS : LT_MODE_SINGLE;
}

int lt_plan_may_cut(const lt_job *job, const lt_plan *draft)
{
    return is_auto_mode(job) && job->resume == NULL && draft->board.shots == 0 &&
           draft->asked.mode == LT_MODE_SINGLE && draft->shape.frames > draft->asked.window;
}

/* Each shot has the mode that it would have alone; one whose prompts blend needs windows. The
 * film's is that of its longest shots, or windows where any has them. */
static void asked_shot_modes(const lt_job *job, const lt_model_facts *facts, lt_plan *plan)
{
    for (int i = 0; i < plan->board.shots; i++) {
        lt_board_shot *s = &plan->board.shot[i];
        s->mode = mode_for(job, facts, s->grid_frames);
        if (s->entries > 1 && is_auto_mode(job) && s->mode == LT_MODE_SINGLE)
            s->mode = LT_MODE_WINDOWS;
        if (s->mode == LT_MODE_WINDOWS)
            plan->asked.mode = LT_MODE_WINDOWS;
    }
}

static lt_status asked_mode(const lt_job *job, const lt_model *model, lt_plan *plan,
                            lt_windows_asked *asked)
{
    const lt_model_facts *facts = &model->facts;
    const int64_t most = longest_trained(facts);
    asked->mode = mode_for(job, facts, plan->shape.frames);
    asked_shot_modes(job, facts, plan);
    if (!is_auto_mode(job))
        return LT_OK;
    if (asked->mode == LT_MODE_WINDOWS && job->window == 0 && plan->shape.frames > most &&
        !job->quiet)
        lt_say("longtake: %lld frames are longer than the %lld that the model knows: --mode "
               "windows, %lld frames each, %lld shared (--mode extend is the other way)",
               (long long)plan->shape.frames, (long long)most, (long long)asked->window,
               (long long)asked->overlap);
    return LT_OK;
}

lt_status lt_plan_windows_asked(const lt_job *job, const lt_model *model, lt_plan *out)
{
    const lt_grid *grid = model->family->grid;
    lt_windows_asked *asked = &out->asked;
    *asked =
        (lt_windows_asked){.dither = job->dither,
                           .owner_cut_steps = (int)job->owner_cut_steps,
                           .fuse = LT_FUSE_TRAPEZOID,
                           .refine_from = job->refine_from > 0 ? job->refine_from : refine_default};
    for (int i = 0; job->fuse != NULL && i <= LT_FUSE_OWNER_CUT; i++)
        if (strcmp(job->fuse, lt_fuse_names[i]) == 0)
            asked->fuse = (lt_fuse_kind)i;
    asked->global_positions = job->positions != NULL && strcmp(job->positions, "global") == 0;
    int64_t window = 0, overlap = 0;
    asked->window =
        job->window > 0 ? job->window : default_window(grid, model->facts.window_frames);
    LT_TRY(lt_grid_window(grid, asked->window, &window));
    asked->overlap = job->overlap >= 0 ? job->overlap : default_overlap(grid, window);
    LT_TRY(lt_grid_overlap(grid, window, asked->overlap, &overlap));
    LT_TRY(asked_mode(job, model, out, asked));
    LT_TRY(asked_fade(job, model, asked));
    LT_TRY(asked_anchors(job, &model->facts, out, asked));
    if (asked->mode == LT_MODE_SINGLE || asked->mode == LT_MODE_REFINE) {
        if (asked->anchors > 0)
            LT_FAIL(LT_EUSAGE, "--anchors: want --mode windows or extend, found %s",
                    lt_mode_names[asked->mode]);
    }
    if (asked->mode == LT_MODE_REFINE) {
        asked_canvas(job, &model->facts, out, asked);
        if (asked->refine_from > refine_sure)
            lt_warn("--refine-from %g: above %g a tile may leave what the coarse pass made",
                    asked->refine_from, refine_sure);
    } else if (job->refine_from > 0) {
        LT_FAIL(LT_EUSAGE, "--refine-from: want --mode refine, found %s",
                lt_mode_names[asked->mode]);
    }
    return LT_OK;
}

/* Pixels of a canvas to cells of its latents. */
static int64_t cells(int64_t pixels, int64_t of_pixels, int64_t of_cells)
{
    return of_pixels > 0 ? pixels * of_cells / of_pixels : 0;
}

lt_status lt_plan_time_windows(const lt_windows_asked *asked, const lt_grid *grid, lt_mode mode,
                               int64_t latents, lt_windowing *w)
{
    *w = (lt_windowing){.mode = mode,
                        .latents = latents,
                        .fuse = asked->fuse,
                        .dither = asked->dither,
                        .owner_cut_steps = asked->owner_cut_steps,
                        .global_positions = asked->global_positions,
                        .refine_from = (float)asked->refine_from};
    if (mode == LT_MODE_SINGLE) {
        w->window = w->latents;
        return LT_OK;
    }
    LT_TRY(lt_grid_window(grid, asked->window, &w->window));
    LT_TRY(lt_grid_overlap(grid, w->window, asked->overlap, &w->overlap));
    if (mode == LT_MODE_EXTEND)
        LT_TRY(lt_grid_fade(grid, w->overlap, asked->fade, &w->fade));
    for (int i = 0; i < asked->anchors; i++) { /* the latent that holds the frame */
        int64_t latent = 0;
        while (latent + 1 < w->latents && lt_grid_frames(grid, latent + 1) <= asked->anchor[i])
            latent++;
        if (w->anchors == 0 || w->anchor[w->anchors - 1] != latent)
            w->anchor[w->anchors++] = latent;
    }
    return LT_OK;
}

/* Tiles of refine's second pass, in cells; neighbours share a quarter of the smaller side. */
static lt_status tiles_fill(const lt_plan *plan, const lt_model *model, lt_windowing *w)
{
    const lt_windows_asked *asked = &plan->asked;
    const lt_stream *video = &plan->stream[0];
    const int64_t unit = model->facts.size_multiple > 0 ? model->facts.size_multiple : 1;
    if (asked->tile_width % unit != 0 || asked->tile_height % unit != 0 || asked->tile_width < 1 ||
        asked->tile_height < 1)
        LT_FAIL(LT_EUSAGE, "--tile %lldx%lld: want multiples of %lld", (long long)asked->tile_width,
                (long long)asked->tile_height, (long long)unit);
    w->tile_unit = cells(unit, plan->shape.width, video->dim[3]);
    w->tile_unit = w->tile_unit < 1 ? 1 : w->tile_unit;
    w->tile_rows = cells(asked->tile_height, plan->shape.height, video->dim[2]);
    w->tile_columns = cells(asked->tile_width, plan->shape.width, video->dim[3]);
    const int64_t side = w->tile_rows < w->tile_columns ? w->tile_rows : w->tile_columns;
    const int64_t units = side / 4 / w->tile_unit;
    w->tile_overlap = (units < 1 ? 1 : units) * w->tile_unit;
    if (w->tile_overlap >= side)
        w->tile_overlap = side - w->tile_unit;
    return LT_OK;
}

static lt_status windowing_fill(lt_plan *plan, const lt_model *model)
{
    const lt_grid *grid = model->family->grid;
    const lt_windows_asked *asked = &plan->asked;
    lt_windowing *w = &plan->windowing;
    const lt_stream *video = &plan->stream[0];
    plan->grid = grid;
    LT_TRY(lt_plan_time_windows(asked, grid, asked->mode, video->dim[video->time_axis], w));
    if (asked->mode == LT_MODE_REFINE)
        LT_TRY(tiles_fill(plan, model, w));
    return LT_OK;
}

lt_status lt_plan_streams(lt_plan *plan, const lt_model *model)
{
    LT_TRY(model->family->streams(model, &plan->shape, plan->stream, &plan->stream_count));
    LT_TRY(windowing_fill(plan, model));
    return LT_OK;
}

lt_status lt_plan_coarse(const lt_plan *plan, const lt_model *model, lt_plan *out)
{
    *out = *plan;
    out->asked = (lt_windows_asked){.mode = LT_MODE_SINGLE};
    out->shape.width = plan->asked.coarse_width;
    out->shape.height = plan->asked.coarse_height;
    LT_TRY(lt_plan_streams(out, model));
    return LT_OK;
}

static lt_status windows_of(const lt_plan *plan, const lt_windowing *w, int64_t *count)
{
    const lt_stream *video = &plan->stream[0];
    lt_layout time = {0}, rows = {0}, columns = {0};
    lt_status st = LT_OK;
    *count = 1;
    if (w->mode == LT_MODE_SINGLE || w->mode == LT_MODE_EXTEND)
        return LT_OK;
    LT_TRY(lt_windowing_layout(w, plan->grid, 0, &time));
    if (w->tile_rows > 0)
        LT_TRY_GOTO(lt_windowing_space(w, video->dim[2], w->tile_rows, &rows), st, done);
    if (w->tile_columns > 0)
        LT_TRY_GOTO(lt_windowing_space(w, video->dim[3], w->tile_columns, &columns), st, done);
    *count =
        time.count * (rows.count > 0 ? rows.count : 1) * (columns.count > 0 ? columns.count : 1);
done:
    lt_layout_free(&time);
    lt_layout_free(&rows);
    lt_layout_free(&columns);
    return st;
}

lt_status lt_plan_windows(const lt_plan *plan, int64_t *count)
{
    *count = 1;
    if (plan->board.shots == 0)
        return windows_of(plan, &plan->windowing, count);
    for (int i = 0; i < plan->board.shots; i++) { /* of the shot that has the most */
        const lt_board_shot *s = &plan->board.shot[i];
        lt_windowing w;
        int64_t windows = 1;
        LT_TRY(lt_plan_time_windows(&plan->asked, plan->grid, s->mode,
                                    lt_grid_latents(plan->grid, s->grid_frames), &w));
        w.tile_rows = plan->windowing.tile_rows;
        w.tile_columns = plan->windowing.tile_columns;
        w.tile_overlap = plan->windowing.tile_overlap;
        w.tile_unit = plan->windowing.tile_unit;
        LT_TRY(windows_of(plan, &w, &windows));
        *count = windows > *count ? windows : *count;
    }
    return LT_OK;
}
