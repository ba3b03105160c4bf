/* oracle_family.c - the oracle as a row of the table of families.
 * Its velocity points to the data, as the sampler wants it; oracle.h's points to the noise. */
#include "model/oracle_family.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "model/oracle.h"
#include "scheduler/sigmas.h"

typedef struct oracle_model {
    lt_model base;
    int64_t channels;
} oracle_model;

static const lt_grid grid = {
    .unit = 1, .step = 1, .rest = 0, .least = 1, .latent_frames = 1, .tick_frames = 1};
static const float shift = 5.0f;

int lt_oracle_recognise(const char *path) { return path != NULL && strcmp(path, "oracle:") == 0; }

void lt_oracle_channels(lt_model *model, int64_t channels)
{
    assert(model->family == &lt_family_oracle);
    ((oracle_model *)model)->channels = channels;
}

static void oracle_close(lt_model **model)
{
    free((*model)->path);
    free(*model);
    *model = NULL;
}

static lt_status oracle_open(const char *path, lt_model **out)
{
    oracle_model *m = calloc(1, sizeof *m);
    if (m == NULL || (m->base.path = strdup(path)) == NULL) {
        free(m);
        LT_FAIL(LT_ENOMEM, "oracle: no memory to open it");
    }
    m->base.family = &lt_family_oracle;
    m->base.facts = (lt_model_facts){.steps = 50,
                                     .window_frames = 21,
                                     .fps = 1,
                                     .sample_rate = 1,
                                     .default_width = 1,
                                     .default_height = 1,
                                     .size_multiple = 1};
    m->channels = 1;
    *out = &m->base;
    return LT_OK;
}

static int64_t frames_grid(int64_t frames) { return frames; }

static lt_status streams(const lt_model *model, const lt_shape *shape, lt_stream *out, int *count)
{
    const oracle_model *m = (const oracle_model *)model;
    out[0] = (lt_stream){.name = "latents",
                         .ndim = 4,
                         .time_axis = 1,
                         .dims_text = "C T h w",
                         .unit = "normalised",
                         .dim = {m->channels, shape->frames, shape->height, shape->width},
                         .description = "cells of independent Gaussian processes"};
    *count = 1;
    return LT_OK;
}

static int evaluations(int steps) { return steps; }

static float timestep_of(float sigma) { return 1.0f - sigma; }

static lt_status sigmas(const lt_model *model, int stream, int steps, float *out, float *timesteps)
{
    (void)model;
    (void)stream;
    return lt_sigmas_shifted(steps + 1, shift, out, timesteps);
}

/* ---- the denoiser ---- */

static lt_status dit_open(lt_model *model, lt_engine *engine, lt_dtype dtype,
                          const float *timesteps, int count)
{
    (void)model;
    (void)engine;
    (void)dtype;
    (void)timesteps;
    (void)count;
    return LT_OK;
}

struct lt_dit_state {
    int64_t units, anchors, cells, channels; /* cells: of a frame of one channel */
    int64_t *frame;                          /* [units + anchors], by their distance */
    double *sigma;
    float *x, *v; /* [units + anchors, channels cells] */
};

static void dit_end(lt_dit_state **state)
{
    if (*state == NULL)
        return;
    free((*state)->frame);
    free((*state)->sigma);
    free((*state)->x);
    free((*state)->v);
    free(*state);
    *state = NULL;
}

static lt_status dit_begin(lt_model *model, const lt_window *window, const float *text_rows,
                           int64_t text_count, lt_dit_state **out)
{
    const oracle_model *m = (const oracle_model *)model;
    lt_dit_state *s = calloc(1, sizeof *s);
    (void)text_rows;
    (void)text_count;
    *out = NULL;
    if (s == NULL)
        LT_FAIL(LT_ENOMEM, "oracle: no memory for a state");
    s->units = window->shape.frames;
    s->anchors = window->anchors;
    s->cells = window->shape.width * window->shape.height;
    s->channels = m->channels;
    const size_t n = (size_t)(s->units + s->anchors), row = (size_t)(s->channels * s->cells);
    s->frame = calloc(n, sizeof *s->frame);
    s->sigma = calloc(n, sizeof *s->sigma);
    s->x = calloc(n * row, sizeof *s->x);
    s->v = calloc(n * row, sizeof *s->v);
    if (s->frame == NULL || s->sigma == NULL || s->x == NULL || s->v == NULL) {
        dit_end(&s);
        LT_FAIL(LT_ENOMEM, "oracle: no memory for %zu frames", n);
    }
    for (int64_t i = 0; i < s->units; i++)
        s->frame[i] = i;
    for (int64_t i = 0; i < s->anchors; i++)
        s->frame[s->units + i] = window->anchor[i];
    *out = s;
    return LT_OK;
}

/* [C, count, cells] -> rows [count, C cells], and back. */
static void to_rows(const lt_dit_state *s, const float *from, int64_t count, float *rows)
{
    for (int64_t c = 0; c < s->channels; c++)
        for (int64_t t = 0; t < count; t++)
            memcpy(rows + (t * s->channels + c) * s->cells, from + (c * count + t) * s->cells,
                   (size_t)s->cells * sizeof *rows);
}

static void from_rows(const lt_dit_state *s, const float *rows, int64_t count, float *to)
{
    for (int64_t c = 0; c < s->channels; c++)
        for (int64_t t = 0; t < count; t++)
            for (int64_t i = 0; i < s->cells; i++)
                to[(c * count + t) * s->cells + i] = -rows[(t * s->channels + c) * s->cells + i];
}

static lt_status dit_forward(lt_model *model, lt_dit_state *s, const lt_forward *f)
{
    lt_oracle oracle;
    (void)model;
    if (f->latent[0] == NULL) /* a dry run: nothing is counted */
        return LT_OK;
    for (int64_t i = 0; i < s->units; i++)
        s->sigma[i] =
            1.0 - (double)(f->unit_timestep[0] != NULL ? f->unit_timestep[0][i] : f->timestep[0]);
    for (int64_t i = 0; i < s->anchors; i++)
        s->sigma[s->units + i] = 1.0 - (double)f->anchor_timestep;
    to_rows(s, f->latent[0], s->units, s->x);
    if (s->anchors > 0)
        to_rows(s, f->anchor_latent, s->anchors, s->x + s->units * s->channels * s->cells);
    LT_TRY(lt_oracle_new(s->frame, s->sigma, s->units + s->anchors, &oracle));
    lt_oracle_velocity(&oracle, s->channels * s->cells, s->x, s->v);
    lt_oracle_free(&oracle);
    from_rows(s, s->v, s->units, f->velocity[0]);
    return LT_OK;
}

static void nothing(lt_model *model) { (void)model; }

const lt_family lt_family_oracle = {.name = "oracle",
                                    .recognise = lt_oracle_recognise,
                                    .open = oracle_open,
                                    .close = oracle_close,
                                    .grid = &grid,
                                    .frames_grid = frames_grid,
                                    .streams = streams,
                                    .evaluations = evaluations,
                                    .sigmas = sigmas,
                                    .timestep_of = timestep_of,
                                    .sampler = LT_SAMPLER_EULER,
                                    .context_timestep = {1.0f},
                                    .dit_open = dit_open,
                                    .dit_begin = dit_begin,
                                    .dit_forward = dit_forward,
                                    .dit_end = dit_end,
                                    .dit_close = nothing};
