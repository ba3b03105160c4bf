/* test_window_ranks.c - a window with clean context and anchors, on meshes of 1 to 4 ranks.
 * Goal: ring, uly and tp give the velocities of one rank, whole and equal on all ranks, although
 * video rows lie in two runs and rows of one kind have different timesteps; an evaluation of
 * another state between two of the window's changes no bit. Method: the nano model by its row of
 * the table of families; each rank also computes the whole alone. Ranks: as launched; meshes with
 * more are left out. Needs: tests/parity/nano. */
#include "tests/support/ranks.h"
#include "tests/support/window_case.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"

static lt_model *model;

/* The window, and between two evaluations of it one of another state: local, without either. */
static void evaluate(const lt_mesh *mesh, int deterministic, window_case *c)
{
    const lt_family *family = model->family;
    lt_mesh with = *mesh;
    lt_engine engine;
    lt_dit_state *state, *other;
    window_case_new(model, c);
    with.deterministic = deterministic;
    OK(lt_engine_open(&lt_backend_cpu, 0, 1, &with, (size_t)1 << 26, (size_t)1 << 28, &engine));
    OK(family->dit_open(model, &engine, LT_F32, window_timesteps, WINDOW_TIMESTEPS));
    OK(family->dit_begin(model, &c->window, c->text, WINDOW_TEXT, &state));
    OK(family->dit_begin(model, &(lt_window){.shape = c->window.shape}, c->text, WINDOW_TEXT,
                         &other));
    OK(family->dit_forward(model, state, &c->forward));
    float *first[2];
    for (int s = 0; s < 2; s++) {
        first[s] = c->velocity[s];
        c->velocity[s] = calloc((size_t)c->values[s], sizeof *c->velocity[s]);
        WANT(c->velocity[s] != NULL);
        c->forward.velocity[s] = c->velocity[s];
    }
    lt_forward plain = c->forward;
    plain.unit_timestep[0] = plain.unit_timestep[1] = NULL;
    plain.anchor_latent = NULL;
    OK(family->dit_forward(model, other, &plain));
    OK(family->dit_forward(model, state, &c->forward));
    for (int s = 0; s < 2; s++) {
        WANT(memcmp(first[s], c->velocity[s], (size_t)c->values[s] * sizeof(float)) == 0);
        free(first[s]);
    }
    family->dit_end(&state);
    family->dit_end(&other);
    family->dit_close(model);
    lt_engine_close(&engine);
}

typedef struct comparison {
    const char *mesh;
    const window_case *alone;
    int deterministic;
    double tolerance;
} comparison;

static void compare(const lt_mesh *mesh, void *ctx)
{
    static const char *const names[] = {"video velocities", "audio velocities"};
    const comparison *q = ctx;
    window_case c;
    evaluate(mesh, q->deterministic, &c);
    for (int s = 0; s < 2; s++) {
        const double off = distance(c.velocity[s], q->alone->velocity[s], c.values[s]);
        want(off <= q->tolerance, q->mesh, names[s], off, q->tolerance);
        same_on_all(mesh->world, q->mesh, names[s], c.velocity[s], c.values[s]);
        print_message("    %-14s %s  %.1e, allowed %.0e\n", q->mesh, names[s], off, q->tolerance);
    }
    window_case_free(&c);
}

/* Sums in another order under ring and tp, none under uly; dit_ranks' limit. */
static const double tolerance = 1e-5;
static const char *const meshes[] = {"ring=2", "uly=2",        "tp=2",        "ring=3",
                                     "uly=4",  "ring=2,uly=2", "ring=2,tp=2", "uly=2,tp=2"};

static void on_meshes(int deterministic, double allowed)
{
    lt_group *self = group_of_one();
    lt_mesh one;
    window_case alone;
    OK(lt_mesh_open(self, &(lt_mesh_spec){{1, 1, 1, 1, 1}}, &one));
    evaluate(&one, deterministic, &alone);
    lt_mesh_close(&one);
    lt_group_free(&self);
    OK(lt_barrier(world));
    for (size_t i = 0; i < sizeof meshes / sizeof *meshes; i++)
        on_mesh(meshes[i], compare, &(comparison){meshes[i], &alone, deterministic, allowed});
    window_case_free(&alone);
}

static void as_alone(void **state)
{
    (void)state;
    on_meshes(0, tolerance);
}

static void deterministic_gives_the_bits_of_one(void **state)
{
    (void)state;
    on_meshes(1, 0);
}

int main(void)
{
    const int failed_open = ranks_open();
    if (failed_open != 0)
        return failed_open;
    OK(lt_model_open(NANO, &model));
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_alone),
                                       cmocka_unit_test(deterministic_gives_the_bits_of_one)};
    const int failed = cmocka_run_group_tests_name("window_ranks", tests, NULL, NULL);
    lt_model_close(&model);
    ranks_close();
    return failed;
}
