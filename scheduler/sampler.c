/* sampler.c - how a velocity moves the latents from level to level.
 * Formulas: spec/minimax-h3.md 5. Built without contraction: a fused multiply-add would change
 * bits. */
#include "scheduler/sampler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct lt_sampler {
    lt_sampler_kind kind;
    int points, at; /* levels; the one that the latents have */
    int64_t elements;
    float *sigma, *timestep; /* [points], [points - 1], one allocation */
};

lt_status lt_sampler_open(lt_sampler_kind kind, const float *sigmas, const float *timesteps,
                          int points, int64_t elements, lt_sampler **out)
{
    assert(kind == LT_SAMPLER_EULER && points >= 2 && elements >= 0);
    lt_sampler *s = calloc(1, sizeof *s);
    float *levels = calloc(2 * (size_t)points, sizeof *levels);
    *out = NULL;
    if (s == NULL || levels == NULL) {
        free(s);
        free(levels);
        LT_FAIL(LT_ENOMEM, "sigmas: no memory for %d steps", points);
    }
    *s = (lt_sampler){kind, points, 0, elements, levels, levels + points};
    memcpy(s->sigma, sigmas, (size_t)points * sizeof *sigmas);
    memcpy(s->timestep, timesteps, (size_t)(points - 1) * sizeof *timesteps);
    *out = s;
    return LT_OK;
}

static void euler_step(float *x, const float *v, int64_t count, float sigma, float sigma_next,
                       float timestep)
{
    assert(sigma > 0.0f);
    const float level = 1.0f - timestep, r = sigma_next / sigma, rest = 1.0f - r;
    for (int64_t i = 0; i < count; i++) {
        const float clean = x[i] + level * v[i];
        x[i] = r * x[i] + rest * clean;
    }
}

void lt_sampler_step(lt_sampler *s, float *x, const float *v)
{
    assert(s->at + 1 < s->points);
    euler_step(x, v, s->elements, s->sigma[s->at], s->sigma[s->at + 1], s->timestep[s->at]);
    s->at++;
}

void lt_sampler_go(lt_sampler *s, int at)
{
    assert(at >= 0 && at < s->points);
    s->at = at;
}

void lt_sampler_close(lt_sampler **sampler)
{
    if (*sampler != NULL)
        free((*sampler)->sigma);
    free(*sampler);
    *sampler = NULL;
}
