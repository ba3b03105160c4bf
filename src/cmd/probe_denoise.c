/* probe_denoise.c - the stage `denoise` of any family, and the oracle's stages. */
#include "cmd/probe_denoise.h"

#include <string.h>

#include "base/log.h"
#include "model/oracle_family.h"
#include "parallel/transport/agree.h"
#include "run/denoise/denoise.h"
#include "run/plan_windowing.h"
#include "run/residency.h"

/* clip: whole, in and out. */
static lt_status load_and_denoise(lt_probe *p, lt_denoise_in *in, lt_clip *clip)
{
    const lt_mesh *const mesh[LT_PHASES] = {[LT_PHASE_DIT] = &p->bound.mesh};
    lt_levels levels = {0};
    lt_residency r;
    lt_holding holding = {0};
    lt_clip part = {0};
    lt_status st = LT_OK;
    in->mesh = &p->bound.mesh;
    in->levels = &levels;
    in->holding = &holding;
    lt_residency_open(&r, p->world, p->model, &p->engine, mesh);
    st = lt_levels_make(p->model, in->plan, &levels);
    if (st == LT_OK)
        st = lt_denoise_holding(p->model, in->plan, in->mesh, &holding);
    if (st == LT_OK)
        st = lt_holding_clip(&holding, in->plan, &part);
    LT_TRY_GOTO(lt_agree(p->world, st), st, done);
    lt_clip_copy(in->plan, clip, &part);
    LT_TRY_GOTO(lt_residency_need(&r, LT_PHASE_DIT, in->plan, &levels), st, done);
    LT_TRY_GOTO(lt_denoise(in, &r.engine[LT_PHASE_DIT], &part), st, done);
    st = lt_holding_gather(&holding, in->plan, in->mesh, &part, clip);
done:
    lt_clip_free(&part);
    lt_holding_free(&holding);
    lt_residency_close(&r);
    lt_levels_free(&levels);
    return st;
}

static lt_status same_dims(const lt_probe *p, const char *name, const lt_dims *found,
                           const lt_stream *wanted)
{
    for (int i = 0; i < wanted->ndim; i++)
        if (found->dim[i] != wanted->dim[i])
            LT_FAIL(LT_EDATA, "%s: tensor '%s': want dimension %d = %lld (%s), found %lld",
                    p->job->in, name, i, (long long)wanted->dim[i], wanted->dims_text,
                    (long long)found->dim[i]);
    return LT_OK;
}

/* The shape that latents [C, T, h, w] are of; refused where no clip has so many. */
static lt_status shape_of(const lt_probe *p, const char *name, const lt_dims *dims,
                          int64_t cell_pixels, lt_shape *out)
{
    const lt_grid *grid = p->model->family->grid;
    const int64_t T = dims->dim[1], least = grid->least > grid->rest ? grid->least : grid->rest;
    if (T < least || (T - grid->rest) % grid->step != 0)
        LT_FAIL(LT_EDATA,
                "%s: tensor '%s': want %lldn + %lld latent frames, %lld or more, found "
                "%lld",
                p->job->in, name, (long long)grid->step, (long long)grid->rest, (long long)least,
                (long long)T);
    *out =
        (lt_shape){lt_grid_frames(grid, T), dims->dim[3] * cell_pixels, dims->dim[2] * cell_pixels};
    return LT_OK;
}

static lt_status make_plan(lt_probe *p, const lt_probe_denoise *of, const lt_dims *video,
                           lt_plan *plan)
{
    const lt_model *model = p->model;
    *plan = (lt_plan){.mesh = p->spec,
                      .dtype = of->dtype,
                      .steps = p->job->steps > 0 ? (int)p->job->steps : model->facts.steps,
                      .seed = p->job->seed.number};
    LT_TRY(shape_of(p, "latents", video, of->cell_pixels, &plan->shape));
    plan->frames = plan->shape.frames;
    plan->evaluations = model->family->evaluations(plan->steps);
    LT_TRY(lt_plan_windows_asked(p->job, model, plan));
    if (lt_probe_has(p, "coarse")) {
        lt_dims d;
        lt_shape shape;
        void *unused = NULL;
        if (plan->asked.mode != LT_MODE_REFINE)
            LT_FAIL(LT_EUSAGE, "%s: tensor 'coarse': want --mode refine", p->job->in);
        LT_TRY(lt_probe_read(p, "coarse", 4, LT_F32, &d, &unused));
        LT_TRY(shape_of(p, "coarse", &d, of->cell_pixels, &shape));
        plan->asked.coarse_width = shape.width;
        plan->asked.coarse_height = shape.height;
        if (p->job->tile[0] == 0) {
            plan->asked.tile_width = shape.width;
            plan->asked.tile_height = shape.height;
        }
    }
    LT_TRY(lt_plan_streams(plan, model));
    return LT_OK;
}

/* Tensors of a clip of this plan: names[s] of stream s. */
static lt_status read_clip(lt_probe *p, const lt_plan *plan, const char *const *names, lt_clip *out)
{
    *out = (lt_clip){.count = plan->stream_count};
    for (int s = 0; s < plan->stream_count; s++) {
        lt_dims d;
        void *data = NULL;
        LT_TRY(lt_probe_read(p, names[s], plan->stream[s].ndim, LT_F32, &d, &data));
        LT_TRY(same_dims(p, names[s], &d, &plan->stream[s]));
        out->data[s] = data;
        out->range[s] = (lt_range){0, lt_stream_units(&plan->stream[s])};
        out->elements[s] = lt_stream_outer(&plan->stream[s]) * out->range[s].count *
                           lt_stream_inner(&plan->stream[s]);
    }
    return LT_OK;
}

static lt_status read_coarse(lt_probe *p, const lt_plan *plan, lt_clip *out)
{
    static const char *const names[LT_STREAMS_MAX] = {"coarse", "coarse_audio"};
    lt_plan coarse;
    LT_TRY(lt_plan_coarse(plan, p->model, &coarse));
    return read_clip(p, &coarse, names, out);
}

lt_status lt_probe_denoise_run(lt_probe *p, const lt_probe_denoise *of)
{
    lt_dims video;
    void *unused = NULL;
    lt_plan plan;
    lt_clip noise, coarse = {0}, out;
    const char *names[LT_STREAMS_MAX] = {NULL};
    LT_TRY(lt_probe_read(p, "latents", 4, LT_F32, &video, &unused));
    LT_TRY(make_plan(p, of, &video, &plan));
    for (int s = 0; s < plan.stream_count; s++)
        names[s] = plan.stream[s].name;
    LT_TRY(read_clip(p, &plan, names, &noise));
    if (lt_probe_has(p, "coarse"))
        LT_TRY(read_coarse(p, &plan, &coarse));
    out = noise;
    for (int s = 0; s < plan.stream_count; s++) {
        void *made = NULL;
        lt_dims dims = {.ndim = plan.stream[s].ndim};
        memcpy(dims.dim, plan.stream[s].dim, (size_t)dims.ndim * sizeof *dims.dim);
        LT_TRY(lt_probe_make(p, names[s], LT_F32, dims, &made));
        out.data[s] = made;
    }
    const lt_text text = {0, of->text_rows, of->text_count};
    const lt_texts texts = {&text, of->text_rows != NULL, 0};
    lt_denoise_in in = {.model = p->model,
                        .plan = &plan,
                        .texts = &texts,
                        .coarse = coarse.count > 0 ? &coarse : NULL};
    for (int64_t i = 0; i < p->job->repeat; i++) {
        for (int s = 0; s < out.count; s++)
            memcpy(out.data[s], noise.data[s], (size_t)out.elements[s] * sizeof(float));
        const double began = lt_seconds();
        LT_TRY(load_and_denoise(p, &in, &out));
        lt_probe_time(p, lt_seconds() - began);
    }
    return LT_OK;
}

/* ---- the oracle ---- */

static lt_status oracle_denoise(lt_probe *p)
{
    lt_dims d;
    void *unused = NULL;
    LT_TRY(lt_probe_read(p, "latents", 4, LT_F32, &d, &unused));
    lt_oracle_channels(p->model, d.dim[0]);
    return lt_probe_denoise_run(p, &(lt_probe_denoise){.dtype = LT_F32, .cell_pixels = 1});
}

static lt_status oracle_open(const char *path, lt_model **out)
{
    return lt_family_oracle.open(path, out);
}

const lt_probe_family lt_probe_oracle = {.recognise = lt_oracle_recognise,
                                         .open = oracle_open,
                                         .run = {[LT_PROBE_DENOISE] = oracle_denoise}};
