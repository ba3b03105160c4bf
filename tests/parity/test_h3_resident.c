/* test_h3_resident.c - the DiT and the decoders in one engine at the same time.
 * Goal: what a run may keep resident together makes the bits that each makes alone, and gives all
 * memory back. Method: the nano model by its row of the table of families; a velocity, a clip and a
 * chunk of audio with one part open at a time, then with all of them open and a DiT state alive
 * between them. Ranks: 1. Needs: tests/parity/nano. */
#include "tests/support/alone.h"

#include <stdlib.h>
#include <string.h>

#include "model/family.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"

enum { TEXT_ROWS = 5, TICKS = 6 };
static const lt_shape shape = {.frames = 22, .width = 64, .height = 32};
static const float timesteps[] = {250, 750};

typedef struct fixture {
    lt_model *model;
    lt_engine engine;
    lt_stream stream[LT_STREAMS_MAX];
    int64_t values[2]; /* of a stream */
    float *text, *latent[2];
} fixture;

/* What the parts give. */
typedef struct results {
    float *velocity[2], *audio;
    void *raw;
} results;

static int64_t values_of(const lt_stream *s)
{
    int64_t n = 1;
    for (int i = 0; i < s->ndim; i++)
        n *= s->dim[i];
    return n;
}

/* Values between -1 and 1 that differ from one another. */
static float *filled(int64_t count, uint32_t seed)
{
    float *x = malloc((size_t)count * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / (float)(1 << 23) - 1;
    }
    return x;
}

static void fixture_open(fixture *f, const lt_backend *backend)
{
    int count = 0;
    memset(f, 0, sizeof *f);
    OK(lt_model_open(NANO, &f->model));
    OK(lt_engine_open(backend, 0, 2, &mesh, (size_t)1 << 28, (size_t)1 << 28, &f->engine));
    OK(f->model->family->streams(f->model, &shape, f->stream, &count));
    assert_int_equal(count, 2);
    f->text = filled(TEXT_ROWS * f->model->family->text_width(f->model), 1);
    for (int i = 0; i < 2; i++) {
        f->values[i] = values_of(&f->stream[i]);
        f->latent[i] = filled(f->values[i], 2 + (uint32_t)i);
    }
}

static void fixture_close(fixture *f)
{
    assert_int_equal(lt_arena_used(f->engine.phase), 0);
    assert_int_equal(lt_arena_used(f->engine.step), 0);
    free(f->text);
    free(f->latent[0]);
    free(f->latent[1]);
    lt_engine_close(&f->engine);
    lt_model_close(&f->model);
}

static void results_new(const fixture *f, results *r)
{
    const lt_family *family = f->model->family;
    for (int i = 0; i < 2; i++)
        r->velocity[i] = calloc((size_t)f->values[i], sizeof(float));
    r->raw = calloc(1, family->decode_raw_bytes(f->model, &shape));
    r->audio = calloc((size_t)(2 * family->audio_samples(f->model, TICKS)), sizeof(float));
    assert_true(r->velocity[0] != NULL && r->velocity[1] != NULL && r->raw != NULL &&
                r->audio != NULL);
}

static void results_free(results *r)
{
    free(r->velocity[0]);
    free(r->velocity[1]);
    free(r->raw);
    free(r->audio);
}

static void dit_open(fixture *f, lt_dit_state **state)
{
    const lt_family *family = f->model->family;
    OK(family->dit_open(f->model, &f->engine, LT_F32, timesteps, 2));
    OK(family->dit_begin(f->model, &(lt_window){.shape = shape}, f->text, TEXT_ROWS, state));
}

static void dit_close(fixture *f, lt_dit_state **state)
{
    f->model->family->dit_end(state);
    f->model->family->dit_close(f->model);
}

static void forward(fixture *f, lt_dit_state *state, results *r)
{
    const lt_forward one = {.latent = {f->latent[0], f->latent[1]},
                            .timestep = {timesteps[1], timesteps[0]},
                            .velocity = {r->velocity[0], r->velocity[1]}};
    OK(f->model->family->dit_forward(f->model, state, &one));
}

/* The first decode chunk, the first ticks of the audio. */
static void decode(fixture *f, results *r)
{
    const lt_family *family = f->model->family;
    OK(family->chunk_raw(f->model, &shape, 0, f->latent[0], r->raw));
    const lt_range ticks = {0, TICKS};
    const int64_t n = family->audio_context(f->model, f->stream[1].dim[2], ticks).count;
    OK(family->audio_decode(f->model, f->latent[1], n, ticks, r->audio));
}

static void assert_same(const fixture *f, const results *a, const results *b)
{
    const lt_family *family = f->model->family;
    for (int i = 0; i < 2; i++)
        assert_memory_equal(a->velocity[i], b->velocity[i], (size_t)f->values[i] * sizeof(float));
    assert_memory_equal(a->raw, b->raw, family->decode_raw_bytes(f->model, &shape));
    assert_memory_equal(a->audio, b->audio,
                        (size_t)(2 * family->audio_samples(f->model, TICKS)) * sizeof(float));
}

/* Zeros or NaNs would be the same whatever happened. */
static void assert_alive(const float *x, int64_t count)
{
    int64_t changes = 0;
    for (int64_t i = 0; i < count; i++) {
        assert_true(isfinite(x[i]));
        changes += i > 0 && x[i] != x[i - 1];
    }
    assert_true(changes > count / 2);
}

static void open_together_as_apart(const lt_backend *backend)
{
    fixture f;
    results apart, first, again;
    lt_dit_state *state = NULL;
    fixture_open(&f, backend);
    results_new(&f, &apart);
    results_new(&f, &first);
    results_new(&f, &again);
    dit_open(&f, &state);
    forward(&f, state, &apart);
    dit_close(&f, &state);
    OK(f.model->family->decode_open(f.model, &f.engine));
    decode(&f, &apart);
    f.model->family->decode_close(f.model);
    assert_int_equal(lt_arena_used(f.engine.phase), 0);
    assert_alive(apart.velocity[0], f.values[0]);
    assert_alive(apart.velocity[1], f.values[1]);
    assert_alive(apart.audio, 2 * f.model->family->audio_samples(f.model, TICKS));
    assert_alive(apart.raw, (int64_t)(f.model->family->decode_raw_bytes(f.model, &shape) / 4));

    dit_open(&f, &state);
    const size_t dit_bytes = lt_arena_used(f.engine.phase);
    forward(&f, state, &first);
    OK(f.model->family->decode_open(f.model, &f.engine));
    assert_true(lt_arena_used(f.engine.phase) > dit_bytes);
    decode(&f, &first);
    assert_same(&f, &first, &apart);
    forward(&f, state, &again);
    decode(&f, &again);
    assert_same(&f, &again, &apart);
    f.model->family->decode_close(f.model);
    assert_int_equal(lt_arena_used(f.engine.phase), dit_bytes);
    memset(again.velocity[0], 0, (size_t)f.values[0] * sizeof(float));
    forward(&f, state, &again); /* closing the decoders took nothing of the DiT's */
    assert_same(&f, &again, &apart);
    dit_close(&f, &state);
    results_free(&apart);
    results_free(&first);
    results_free(&again);
    fixture_close(&f);
}

static void on_cpu(void **state)
{
    (void)state;
    open_together_as_apart(&lt_backend_cpu);
}

static void on_far(void **state)
{
    (void)state;
    open_together_as_apart(&lt_backend_far);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_cpu), cmocka_unit_test(on_far)};
    return cmocka_run_group_tests_name("h3_resident", tests, alone_setup, alone_teardown);
}
