/* denoise.c - from noise to clean latents: which loop, how many steps.
 *
 * The clip lives on the host in f32 between evaluations. Every step ends in an agreement: a rank
 * that failed is known to all before the next one begins. */
#include "run/denoise/denoise.h"

#include "base/fault.h"
#include "base/stop.h"
#include "parallel/context.h"
#include "parallel/transport/agree.h"
#include "run/denoise/loop.h"
#include "run/plan_windowing.h"

int lt_denoise_steps(const lt_model *model, const lt_plan *plan, int has_coarse)
{
    const lt_windowing *w = &plan->windowing;
    const int evaluations = model->family->evaluations(plan->steps);
    lt_levels levels = {0};
    lt_layout layout = {0};
    int steps = evaluations;
    if (w->mode == LT_MODE_EXTEND) {
        if (lt_windowing_layout(w, model->family->grid, 0, &layout) != LT_OK)
            return 0;
        steps *= (int)layout.count;
        lt_layout_free(&layout);
    } else if (w->mode == LT_MODE_REFINE) {
        if (lt_levels_make(model, plan, &levels) != LT_OK)
            return 0;
        steps = levels.refine_evaluations + (has_coarse ? 0 : evaluations);
        lt_levels_free(&levels);
    }
    return steps;
}

/* Latents that the windows of this plan's first step have. */
static double cells_of(const lt_plan *plan)
{
    lt_window_set set = {0};
    const double cells =
        lt_window_set_new(plan, 0, 1, &set) == LT_OK ? (double)lt_window_set_cells(&set) : 0;
    lt_window_set_free(&set);
    return cells;
}

double lt_denoise_weight(const lt_model *model, const lt_plan *plan, int has_coarse)
{
    const int evaluations = model->family->evaluations(plan->steps);
    const double cells = cells_of(plan);
    lt_plan coarse;
    if (plan->windowing.mode != LT_MODE_REFINE)
        return evaluations * cells;
    const double own = lt_denoise_steps(model, plan, 1) * cells;
    if (has_coarse)
        return own;
    return lt_plan_coarse(plan, model, &coarse) == LT_OK ? own + evaluations * cells_of(&coarse)
                                                         : 0;
}

lt_status lt_denoise_holding(const lt_model *model, const lt_plan *plan, const lt_mesh *mesh,
                             lt_holding *out)
{
    const int evaluations = lt_denoise_steps(model, plan, 1);
    if (evaluations == 0)
        LT_FAIL(LT_ENOMEM, "latents: no memory to count steps");
    return lt_holding_new(plan, evaluations, mesh, out);
}

/* Steps of this shot, of so many, that the run which is gone on from has made. */
static int steps_behind(const lt_denoise_in *in, int steps)
{
    const int64_t step = in->state != NULL ? lt_run_state_from(in->state).step : 0;
    const int64_t behind = step - in->steps_before;
    return behind <= 0 ? 0 : behind < steps ? (int)behind : steps;
}

static lt_status run(lt_loop *loop, const lt_denoise_in *in, int steps, lt_clip *clip)
{
    lt_pass pass = {.evaluations = in->levels->evaluations};
    for (int s = 0; s < in->levels->count; s++) {
        pass.sigma[s] = in->levels->sigma[s];
        pass.timestep[s] = in->levels->timestep[s];
    }
    const lt_mode mode = in->plan->windowing.mode;
    if (loop->first == steps && mode != LT_MODE_EXTEND) /* nothing is left to do */
        return lt_loop_restore(loop, mode == LT_MODE_REFINE, clip);
    switch (mode) {
    case LT_MODE_EXTEND:
        return lt_denoise_extend(loop, &pass, clip);
    case LT_MODE_REFINE:
        return lt_denoise_refine(loop, in->levels, &pass, in->coarse, clip);
    default:
        if (loop->first > 0)
            LT_TRY(lt_loop_restore(loop, 0, clip));
        return lt_denoise_joint(loop, &pass, clip);
    }
}

static void begin_stage(const lt_denoise_in *in, int steps)
{
    lt_progress_stage(in->progress, "denoise", "evaluation", steps);
    lt_progress_weigh(in->progress, in->weight_all > 0 ? in->weight_all
                                                       : lt_denoise_weight(in->model, in->plan,
                                                                           in->coarse != NULL));
}

lt_status lt_denoise(const lt_denoise_in *in, lt_engine *engine, lt_clip *clip)
{
    lt_group *world = in->mesh->world;
    lt_loop loop = {.model = in->model,
                    .mesh = in->mesh,
                    .plan = in->plan,
                    .holding = in->holding,
                    .beside = in->beside,
                    .meet = world,
                    .progress = in->progress,
                    .preview = in->preview,
                    .seconds = in->seconds,
                    .done = in->steps_before,
                    .of = in->steps_all,
                    .state = in->state,
                    .part = {.plan = in->plan, .place = {.shot = in->shot}}};
    const int steps = lt_denoise_steps(in->model, in->plan, in->coarse != NULL);
    if (loop.of == 0)
        loop.of = steps;
    const int is_last = in->steps_before + steps >= loop.of;
    loop.first = steps_behind(in, steps);
    loop.done += loop.first;
    lt_states_open(in->model, in->texts, &loop.states);
    lt_status st = lt_fault_step(lt_group_rank(world), -1);
    if (st == LT_OK && in->steps_before == 0)
        st = lt_stop_check(); /* while all was loaded */
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    if (in->steps_before == 0)
        begin_stage(in, loop.of);
    if (loop.first > 0)
        lt_progress_from(in->progress, loop.done);
    lt_stop_arm(lt_group_rank(world) == 0);
    LT_TRY_GOTO(run(&loop, in, steps, clip), st, done);
done:
    if (st != LT_OK)
        lt_engine_cancel(engine);
    lt_states_close(&loop.states);
    if (is_last || st != LT_OK)
        lt_progress_done(in->progress);
    return st;
}
