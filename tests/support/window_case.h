/* window_case.h - one evaluation of a window in the middle of a clip, for a nano H3: 27 latents
 * from latent 15 on, of which the first 12 (and 65 of 150 ticks) are clean context, and two
 * anchors. A test may change window and forward before it begins. */
#ifndef LT_TEST_WINDOW_CASE_H
#define LT_TEST_WINDOW_CASE_H

#include <stdlib.h>

#include "model/family.h"

enum {
    WINDOW_TEXT = 13,
    WINDOW_LATENTS = 27,
    WINDOW_TICKS = 150,
    WINDOW_CONTEXT = 12,
    WINDOW_CONTEXT_TICKS = 65,
    WINDOW_ANCHORS = 2
};

/* What dit_open is told: levels of a step, and H3's context. */
static const float window_timesteps[] = {0.0f, 0.25f, 0.5f, 0.999f, 1.0f};
enum { WINDOW_TIMESTEPS = sizeof window_timesteps / sizeof *window_timesteps };

/* The clip's first latent, and the one before the window. */
static const int64_t window_anchors[WINDOW_ANCHORS] = {-15, -1};

typedef struct window_case {
    lt_window window;
    lt_forward forward;
    int64_t values[2]; /* of each stream */
    float *text, *latent[2], *unit[2], *velocity[2], *anchor_latent;
} window_case;

/* count values in [-1, 1) that differ by seed: Numerical Recipes' generator. */
static inline float *window_values(int64_t count, uint32_t seed)
{
    float *x = calloc((size_t)count + 1, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    return x;
}

/* Units of a stream: context first, then all at the evaluation's level. */
static inline float *window_units(int count, int context, float context_timestep, float timestep)
{
    float *unit = calloc((size_t)count, sizeof *unit);
    assert_non_null(unit);
    for (int i = 0; i < count; i++)
        unit[i] = i < context ? context_timestep : timestep;
    return unit;
}

static inline void window_case_new(const lt_model *model, window_case *c)
{
    const lt_family *family = model->family;
    lt_stream stream[LT_STREAMS_MAX];
    int count = 0;
    *c = (window_case){.window = {.shape = {90, 96, 64},
                                  .latent = 15,
                                  .anchor = window_anchors,
                                  .anchors = WINDOW_ANCHORS}};
    assert_int_equal(family->streams(model, &c->window.shape, stream, &count), LT_OK);
    assert_true(count == 2 && stream[0].dim[1] == WINDOW_LATENTS &&
                stream[1].dim[2] == WINDOW_TICKS);
    for (int s = 0; s < 2; s++) {
        c->values[s] = 1;
        for (int i = 0; i < stream[s].ndim; i++)
            c->values[s] *= stream[s].dim[i];
        c->latent[s] = window_values(c->values[s], 2 + (uint32_t)s);
        c->velocity[s] = calloc((size_t)c->values[s], sizeof *c->velocity[s]);
        assert_non_null(c->velocity[s]);
        c->forward.latent[s] = c->latent[s];
        c->forward.velocity[s] = c->velocity[s];
    }
    c->text = window_values(WINDOW_TEXT * family->text_width(model), 1);
    c->anchor_latent = window_values(c->values[0] / WINDOW_LATENTS * WINDOW_ANCHORS, 4);
    c->unit[0] = window_units(WINDOW_LATENTS, WINDOW_CONTEXT, family->context_timestep[0], 0.5f);
    c->unit[1] =
        window_units(WINDOW_TICKS, WINDOW_CONTEXT_TICKS, family->context_timestep[1], 0.25f);
    c->forward.timestep[0] = 0.5f;
    c->forward.timestep[1] = 0.25f;
    c->forward.unit_timestep[0] = c->unit[0];
    c->forward.unit_timestep[1] = c->unit[1];
    c->forward.anchor_latent = c->anchor_latent;
    c->forward.anchor_timestep = family->context_timestep[0];
}

static inline void window_case_free(window_case *c)
{
    for (int s = 0; s < 2; s++) {
        free(c->latent[s]);
        free(c->unit[s]);
        free(c->velocity[s]);
    }
    free(c->text);
    free(c->anchor_latent);
}

/* The same on dry: timesteps alone. */
static inline lt_forward window_dry(const window_case *c)
{
    lt_forward dry = c->forward;
    for (int s = 0; s < 2; s++)
        dry.latent[s] = dry.velocity[s] = NULL;
    dry.anchor_latent = NULL;
    return dry;
}

#endif
