/* test_sampler.c - the solver's step against the published scheduler.
 * Goal: same bits, since a sampler amplifies what it is given. Method: whole loops of the published
 * MiniMaxH3Scheduler (diffusers 0.42.1, torch CPU) with one fixed velocity; inputs and the values
 * after named steps are kept here. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/sampler.h"
#include "scheduler/sigmas.h"

enum { VALUES = 6, STEPS_MAX = 9 };
static const float start[VALUES] = {1.2345678f, -0.3333333f, 5.0e-3f, -7.75f, 0.0f, 123.456f};
static const float velocity[VALUES] = {-0.7654321f, 2.7182818f, -1.0e-4f,
                                       3.1415927f,  -0.5f,      -99.5f};

static const struct {
    const char *name;
    int steps, after;
    double shift;
    float x[VALUES];
} cases[] = {
    {"picture, from noise",
     5,
     1,
     12.0,
     {0x1.36c0dep+0f, -0x1.0a1a64p-2f, 0x1.4780bcp-8f, -0x1.ea90dep+2f, -0x1.bacf8p-7f,
      0x1.e31138p+6f}},
    {"picture, last but one",
     5,
     3,
     12.0,
     {0x1.14dbf6p+0f, 0x1.aebddp-3f, 0x1.465e8ap-8f, -0x1.c7c9ap+2f, -0x1.999996p-4f,
      0x1.9e395cp+6f}},
    {"picture, to clean",
     5,
     4,
     12.0, /* r = 0: x is x0 */
     {0x1.e06518p-2f, 0x1.3145fcp+1f, 0x1.41205cp-8f, -0x1.26f024p+2f, -0x1p-1f, 0x1.7f4bd8p+4f}},
    {"sound, from noise",
     9,
     1,
     3.0,
     {0x1.33247cp+0f, -0x1.ad9e84p-3f, 0x1.4761dp-8f, -0x1.e6dc5ep+2f, -0x1.745d2p-6f,
      0x1.dbbbacp+6f}},
    {"sound, below one half",
     9,
     8,
     3.0, /* where 1 - (1 - sigma) is not sigma */
     {0x1.e06520p-2f, 0x1.3145fcp+1f, 0x1.412056p-8f, -0x1.26f022p+2f, -0x1.fffffep-2f,
      0x1.7f4bcap+4f}},
};

static void same_bits_as_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float sigmas[STEPS_MAX], timesteps[STEPS_MAX - 1], x[VALUES];
        lt_sampler *sampler = NULL;
        assert_int_equal(lt_sigmas_shifted(cases[i].steps, cases[i].shift, sigmas, timesteps),
                         LT_OK);
        memcpy(x, start, sizeof x);
        assert_int_equal(
            lt_sampler_open(LT_SAMPLER_EULER, sigmas, timesteps, cases[i].steps, VALUES, &sampler),
            LT_OK);
        for (int step = 0; step < cases[i].after; step++)
            lt_sampler_step(sampler, x, velocity);
        lt_sampler_close(&sampler);
        for (int k = 0; k < VALUES; k++)
            if (!(x[k] == cases[i].x[k]))
                fail_msg("%s: value %d: found %a, wanted %a", cases[i].name, k, (double)x[k],
                         (double)cases[i].x[k]);
    }
}

/* Each is where its own steps have brought it, whatever others do between; and it keeps its levels,
 * whatever becomes of the caller's. */
static void samplers_keep_apart(void **state)
{
    (void)state;
    float sigmas[2][STEPS_MAX], timesteps[2][STEPS_MAX - 1], x[2][VALUES];
    lt_sampler *sampler[2] = {NULL, NULL};
    static const int of[2] = {2, 4}; /* cases that go to the end, or nearly */
    for (int s = 0; s < 2; s++) {
        const int steps = cases[of[s]].steps;
        assert_int_equal(lt_sigmas_shifted(steps, cases[of[s]].shift, sigmas[s], timesteps[s]),
                         LT_OK);
        assert_int_equal(
            lt_sampler_open(LT_SAMPLER_EULER, sigmas[s], timesteps[s], steps, VALUES, &sampler[s]),
            LT_OK);
        memset(sigmas[s], 0, sizeof sigmas[s]);
        memset(timesteps[s], 0, sizeof timesteps[s]);
        memcpy(x[s], start, sizeof start);
    }
    for (int step = 0; step < STEPS_MAX; step++)
        for (int s = 0; s < 2; s++)
            if (step < cases[of[s]].after)
                lt_sampler_step(sampler[s], x[s], velocity);
    for (int s = 0; s < 2; s++) {
        assert_memory_equal(x[s], cases[of[s]].x, sizeof x[s]);
        lt_sampler_close(&sampler[s]);
        assert_null(sampler[s]);
    }
}

static void nothing_to_do(void **state)
{
    (void)state;
    float x = 3.0f;
    const float v = 1.0f, sigmas[2] = {1.0f, 0.5f}, timestep = 0.0f;
    lt_sampler *sampler = NULL;
    assert_int_equal(lt_sampler_open(LT_SAMPLER_EULER, sigmas, &timestep, 2, 0, &sampler), LT_OK);
    lt_sampler_step(sampler, &x, &v);
    assert_true(x == 3.0f);
    lt_sampler_close(&sampler);
    lt_sampler_close(&sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits_as_published),
                                       cmocka_unit_test(samplers_keep_apart),
                                       cmocka_unit_test(nothing_to_do)};
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
