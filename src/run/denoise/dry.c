/* dry.c - the denoising loop's dry run. */
#include "run/denoise/dry.h"

#include <stdlib.h>

#include "run/denoise/loop.h"
#include "run/plan_windowing.h"

/* A step's counts, `times` of them. */
static void add(lt_dry_counts *to, const lt_dry_counts *counts, double times)
{
    for (int i = 0; i < LT_OP_COUNT; i++) {
        to->flops[i] += times * counts->flops[i];
        to->bytes[i] += times * counts->bytes[i];
    }
}

/* The anchors that a window sees, by their distance. */
static int seen_anchors(const lt_window_set *set, int64_t tile, int64_t *distance)
{
    const lt_windowing *w = &set->plan->windowing;
    const int64_t window = lt_window_set_at(set, tile).window;
    const int n = lt_layout_anchors(&set->time[0], window, w->anchor, w->anchors, distance);
    for (int i = 0; i < n; i++)
        distance[i] -= set->time[0].window[window].first;
    return n;
}

/* What tells a tile's attention from another's, larger for more rows: its latents, those of them
 * that are anchors, rows of text. */
typedef struct tile_size {
    int64_t latents, anchors, text;
} tile_size;

/* distance [LT_ANCHORS_MAX]: what *window borrows. */
static tile_size size_of(const lt_window_set *set, const lt_texts *texts, int64_t tile,
                         int64_t *distance, lt_window *window)
{
    const int anchors = seen_anchors(set, tile, distance);
    const lt_box box = lt_window_set_box(set, 0, tile);
    lt_loop_window(set, tile, distance, anchors, window);
    return (tile_size){(box.time.count + anchors) * box.rows.count * box.columns.count, anchors,
                       lt_texts_count(texts, lt_loop_text(texts, set, tile))};
}

static int is_larger(tile_size a, tile_size b)
{
    return a.latents != b.latents ? a.latents > b.latents : a.text > b.text;
}

static int is_equal(tile_size a, tile_size b)
{
    return a.latents == b.latents && a.anchors == b.anchors && a.text == b.text;
}

/* The timesteps of a forward of a tile: a level of each stream and, where there is some, clean
 * context's in all units but the last. units[s]: [units of the tile], the caller frees. */
static lt_status forward_of(const lt_model *model, const lt_window_set *set, int64_t tile,
                            const lt_levels *levels, float **units, lt_forward *out)
{
    const float *clean = model->family->context_timestep;
    *out = (lt_forward){.anchor_timestep = clean[0]};
    for (int s = 0; s < set->streams; s++) {
        const int64_t count = lt_window_set_box(set, s, tile).time.count;
        out->timestep[s] = levels->timestep[s][levels->evaluations / 2];
        if (set->plan->windowing.mode != LT_MODE_EXTEND)
            continue;
        units[s] = malloc((size_t)count * sizeof *units[s]);
        if (units[s] == NULL)
            LT_FAIL(LT_ENOMEM, "plan: no memory for %lld timesteps", (long long)count);
        for (int64_t i = 0; i < count; i++)
            units[s][i] = i + 1 < count ? clean[s] : out->timestep[s];
        out->unit_timestep[s] = units[s];
    }
    return LT_OK;
}

/* A forward of a tile. */
static lt_status forward_tile(lt_model *model, const lt_window_set *set, const lt_levels *levels,
                              const lt_texts *texts, int64_t tile, lt_states *states)
{
    float *units[LT_STREAMS_MAX] = {NULL};
    int64_t distance[LT_ANCHORS_MAX];
    lt_window window;
    lt_dit_state *state = NULL;
    lt_forward f;
    lt_status st = LT_OK;
    (void)size_of(set, texts, tile, distance, &window);
    LT_TRY(lt_states_get(states, &window, lt_loop_text(texts, set, tile), &state));
    LT_TRY_GOTO(forward_of(model, set, tile, levels, units, &f), st, done);
    LT_TRY_GOTO(model->family->dit_forward(model, state, &f), st, done);
done:
    for (int s = 0; s < LT_STREAMS_MAX; s++)
        free(units[s]);
    return st;
}

/* A forward of each size that tiles have, but of `most`: what attention there will be. */
static lt_status other_sizes(lt_model *model, const lt_window_set *set, const lt_levels *levels,
                             const lt_texts *texts, lt_range run, tile_size most, lt_states *states)
{
    lt_window window;
    int64_t distance[LT_ANCHORS_MAX], count = 0;
    tile_size *seen = malloc((size_t)(run.count + 1) * sizeof *seen);
    lt_status st = LT_OK;
    if (seen == NULL)
        LT_FAIL(LT_ENOMEM, "plan: no memory for the sizes of %lld windows", (long long)run.count);
    seen[count++] = most;
    for (int64_t t = run.first; t < run.first + run.count && st == LT_OK; t++) {
        const tile_size size = size_of(set, texts, t, distance, &window);
        int64_t i = 0;
        while (i < count && !is_equal(seen[i], size))
            i++;
        if (i < count)
            continue;
        seen[count++] = size;
        st = forward_tile(model, set, levels, texts, t, states);
    }
    free(seen);
    return st;
}

/* One pass: the states of the run's tiles as the loop takes them, then the largest's forward. */
static lt_status one_pass(lt_model *model, const lt_engine *engine, const lt_window_set *set,
                          const lt_levels *levels, lt_range run, const lt_texts *texts,
                          lt_dry_counts *forward, size_t *states_bytes)
{
    lt_states states;
    lt_status st = LT_OK;
    int64_t largest = run.first, distance[LT_ANCHORS_MAX];
    tile_size most = {-1, 0, 0};
    lt_window window;
    lt_dit_state *state = NULL;
    lt_states_open(model, texts, &states);
    for (int64_t t = run.first; t < run.first + run.count; t++) {
        const tile_size size = size_of(set, texts, t, distance, &window);
        LT_TRY_GOTO(lt_states_get(&states, &window, lt_loop_text(texts, set, t), &state), st, done);
        if (is_larger(size, most)) {
            most = size;
            largest = t;
        }
    }
    (void)size_of(set, texts, largest, distance, &window);
    LT_TRY_GOTO(lt_states_get(&states, &window, lt_loop_text(texts, set, largest), &state), st,
                done);
    const size_t used = lt_arena_used(engine->step);
    *states_bytes = used > *states_bytes ? used : *states_bytes;
    lt_dry_reset();
    LT_TRY_GOTO(forward_tile(model, set, levels, texts, largest, &states), st, done);
    *forward = lt_dry_read();
    if (lt_dry_lists_attention())
        st = other_sizes(model, set, levels, texts, run, most, &states);
done:
    lt_states_close(&states);
    return st;
}

static lt_status pass_of(lt_model *model, const lt_engine *engine, const lt_plan *plan,
                         const lt_levels *levels, const lt_texts *texts, double steps,
                         lt_dry_counts *sum, size_t *states_bytes)
{
    const lt_mesh *mesh = engine->mesh;
    lt_window_set set;
    lt_dry_counts forward;
    LT_TRY(lt_window_set_new(plan, 0, 1, &set));
    const int groups = lt_group_size(mesh->axis[LT_AXIS_WIN]);
    const int64_t tiles = lt_window_set_count(&set);
    const int in_turn = plan->windowing.mode == LT_MODE_EXTEND;
    lt_range run = lt_windowing_run(tiles, groups, lt_group_rank(mesh->axis[LT_AXIS_WIN]));
    const lt_range most = lt_windowing_run(tiles, groups, 0);
    if (in_turn || run.count == 0)
        run = in_turn ? (lt_range){0, tiles} : most;
    const lt_status st = one_pass(model, engine, &set, levels, run, texts, &forward, states_bytes);
    if (st == LT_OK)
        add(sum, &forward, steps * (in_turn ? 1 : (double)(tiles + groups - 1) / groups));
    lt_window_set_free(&set);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_denoise_dry(lt_model *model, const lt_engine *engine, const lt_plan *plan,
                         const lt_levels *levels, const lt_texts *texts, lt_dry_counts *step,
                         size_t *states_bytes)
{
    const int all = lt_denoise_steps(model, plan, 0);
    int coarse_steps = 0;
    *step = (lt_dry_counts){0};
    *states_bytes = 0;
    if (all == 0)
        LT_FAIL(LT_ENOMEM, "plan: no memory to count steps");
    if (plan->windowing.mode == LT_MODE_REFINE) {
        lt_plan coarse;
        coarse_steps = levels->evaluations;
        LT_TRY(lt_plan_coarse(plan, model, &coarse));
        LT_TRY(pass_of(model, engine, &coarse, levels, texts, coarse_steps, step, states_bytes));
    }
    LT_TRY(pass_of(model, engine, plan, levels, texts, all - coarse_steps, step, states_bytes));
    for (int i = 0; i < LT_OP_COUNT; i++) {
        step->flops[i] /= all;
        step->bytes[i] /= all;
    }
    return LT_OK;
}

static size_t stream_bytes(const lt_plan *plan, int s, int64_t units)
{
    return (size_t)(lt_stream_outer(&plan->stream[s]) * units * lt_stream_inner(&plan->stream[s])) *
           sizeof(float);
}

/* The windows of this rank's run: how many, and the bytes of one. */
static lt_status windows_of(const lt_mesh *mesh, const lt_plan *plan, int64_t *mine, size_t *bytes)
{
    lt_window_set set;
    LT_TRY(lt_window_set_new(plan, 0, 1, &set));
    const int64_t tiles = lt_window_set_count(&set);
    const lt_range run = lt_windowing_run(tiles, lt_group_size(mesh->axis[LT_AXIS_WIN]),
                                          lt_group_rank(mesh->axis[LT_AXIS_WIN]));
    *mine = tiles > 1 ? run.count : 0; /* one window needs no copy */
    *bytes = 0;
    for (int s = 0; tiles > 1 && run.count > 0 && s < plan->stream_count; s++) {
        const lt_box box = lt_window_set_box(&set, s, run.first);
        *bytes += (size_t)lt_box_elements(&plan->stream[s], &box) * sizeof(float);
    }
    lt_window_set_free(&set);
    return LT_OK;
}

lt_status lt_denoise_host_bytes(const lt_model *model, const lt_mesh *mesh, const lt_plan *plan,
                                size_t *clip_bytes, size_t *loop_bytes)
{
    lt_holding h;
    int64_t mine = 0;
    size_t window = 0, held = 0, coarse = 0;
    LT_TRY(lt_denoise_holding(model, plan, mesh, &h));
    for (int s = 0; s < plan->stream_count; s++)
        held += stream_bytes(plan, s, h.held[h.group][s].count);
    const int is_first = h.group == 0;
    lt_holding_free(&h);
    LT_TRY(windows_of(mesh, plan, &mine, &window));
    *clip_bytes = held;
    if (plan->windowing.mode ==
        LT_MODE_EXTEND) { /* a chunk: latents and velocities, of all and new */
        *loop_bytes = held + (is_first ? 4 * window : 0);
        return LT_OK;
    }
    *loop_bytes = 2 * held + (size_t)(mine > 0 ? mine + 1 : 0) * window;
    if (plan->windowing.mode == LT_MODE_REFINE) {
        lt_plan low;
        LT_TRY(lt_plan_coarse(plan, model, &low));
        for (int s = 0; s < low.stream_count; s++)
            coarse += stream_bytes(&low, s, lt_stream_units(&low.stream[s]));
        /* the coarse clip with its velocity or beside what is made of it */
        *loop_bytes += coarse + (2 * coarse > held ? 2 * coarse : held);
    }
    return LT_OK;
}
