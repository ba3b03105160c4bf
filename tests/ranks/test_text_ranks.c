/* test_text_ranks.c - H3's text encoder on meshes of 1 to 4 ranks against one rank.
 * Goal: every tp mesh gives the rows of one rank, the same bits on all ranks, also where ranks have
 * no heads (2 key-value groups on 3 and 4 ranks) and where rows come in several blocks; a rank
 * reads its slices only; a wrong id fails on all ranks and none waits. Method: the first P ranks of
 * the world form a mesh; each rank also encodes alone. Ranks: as launched; meshes with more are
 * left out. Needs: tests/parity/nano*. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/qwen3vl.h"

#define DATA LT_SOURCE_DIR "/tests/parity/"

enum { WIDTH = 12, VOCAB = 392 }; /* nano's */

static lt_group *world;
static FILE *voice; /* stderr; cmocka's own is silenced on ranks above 0, so that one reports */

/* A rank that fails alone would leave the others waiting: it ends the job. */
static void want(int good, const char *mesh, const char *what, double found, double allowed)
{
    if (good)
        return;
    fprintf(voice, "rank %d: mesh %s: %s: found %.3g, allowed %.3g\n", lt_group_rank(world), mesh,
            what, found, allowed);
    lt_error_print(voice, 1);
    fflush(voice);
    lt_world_abort(1);
    fail();
}
#define OK(expr) want((expr) == LT_OK, "any", #expr, 1, 0)

typedef struct request {
    const char *model;
    lt_dtype compute;
    const lt_backend *backend;
    int count;
} request;

/* rows [count, WIDTH]; the bytes of weights that loading read. */
static uint64_t encode(const request *q, const lt_mesh *mesh, float *rows)
{
    char path[512];
    lt_engine engine;
    lt_checkpoint *files;
    lt_qwen3vl_config config;
    lt_qwen3vl *text;
    int32_t *ids = malloc((size_t)q->count * sizeof *ids);
    assert_non_null(ids);
    for (int i = 0; i < q->count; i++)
        ids[i] = (i * 53 + 7) % VOCAB;
    (void)snprintf(path, sizeof path, DATA "%s/text_encoder/config.json", q->model);
    OK(lt_qwen3vl_config_read(path, &config));
    assert_true(config.hidden == WIDTH && config.vocab == VOCAB);
    OK(lt_engine_open(q->backend, 1, mesh, (size_t)1 << 26, (size_t)1 << 26, &engine));
    (void)snprintf(path, sizeof path, DATA "%s/text_encoder", q->model);
    OK(lt_checkpoint_open(path, LT_PART_TEXT, &files));
    const uint64_t before = lt_checkpoint_bytes_read();
    OK(lt_qwen3vl_open(files, &engine, &config, q->compute, &text));
    const uint64_t read = lt_checkpoint_bytes_read() - before;
    for (int twice = 0; twice < 2; twice++) /* a second text must find nothing of the first */
        OK(lt_qwen3vl_encode(text, ids, q->count, rows));
    ids[q->count / 2] = VOCAB;
    want(lt_qwen3vl_encode(text, ids, q->count, rows) == LT_EDATA, "any", "a wrong id", 0, 1);
    lt_error_clear();
    assert_int_equal(lt_arena_used(engine.step), 0);
    lt_qwen3vl_close(&text);
    lt_checkpoint_close(&files);
    lt_engine_close(&engine);
    free(ids);
    return read;
}

/* Largest |a - b| over the largest |b|; a NaN counts. */
static double distance(const float *a, const float *b, int64_t count)
{
    double worst = 0, largest = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= worst))
            worst = d;
        largest = fmax(largest, fabs((double)b[i]));
    }
    return worst / largest;
}

static const struct {
    const char *mesh;
    double read_share;
} meshes[] = {
    {"tp=1", 1.0},
    {"tp=2", 0.7},  /* half of everything but norms, and the look for layers of zeros */
    {"tp=3", 0.75}, /* 2 groups: the last rank has FFN columns alone */
    {"tp=4", 0.75},
    {"uly=2,tp=2", 0.7}, /* the other axes do the same again */
};

static void mesh_agrees(const request *q, size_t which, const float *alone, uint64_t alone_read)
{
    const char *text = meshes[which].mesh;
    const size_t values = (size_t)q->count * WIDTH;
    lt_mesh_spec spec;
    lt_mesh mesh;
    lt_group *group = NULL;
    int list[16];
    OK(lt_mesh_parse(text, &spec));
    const int size = lt_mesh_ranks(&spec);
    if (size > lt_group_size(world))
        return;
    for (int i = 0; i < size; i++)
        list[i] = i;
    OK(lt_group_split(world, list, size, &group));
    if (group != NULL) {
        float *rows = malloc(values * sizeof *rows), *first = malloc(values * sizeof *first);
        assert_true(rows != NULL && first != NULL);
        OK(lt_mesh_open(group, &spec, &mesh));
        const uint64_t read = encode(q, &mesh, rows);
        want(memcmp(rows, alone, values * sizeof *rows) == 0, text, "rows: bits of one rank",
             distance(rows, alone, (int64_t)values), 0);
        const double share = (double)read / (double)alone_read;
        want(share <= meshes[which].read_share, text, "share of the weights read", share,
             meshes[which].read_share);
        memcpy(first, rows, values * sizeof *rows);
        OK(lt_broadcast(group, 0, first, values * sizeof *first));
        want(memcmp(first, rows, values * sizeof *rows) == 0, text, "bits on all ranks", 1, 0);
        free(rows);
        free(first);
        lt_mesh_close(&mesh);
        lt_group_free(&group);
    }
    OK(lt_barrier(world));
}

static void all_meshes(const request *q)
{
    float *alone = malloc((size_t)q->count * WIDTH * sizeof *alone);
    int self = lt_group_rank(world);
    lt_group *group = NULL, *none = NULL;
    lt_mesh_spec spec;
    lt_mesh mesh;
    assert_non_null(alone);
    for (int i = 0; i < lt_group_size(world); i++) /* a group of one for each rank */
        OK(lt_group_split(world, &i, 1, i == self ? &group : &none));
    OK(lt_mesh_parse("tp=1", &spec));
    OK(lt_mesh_open(group, &spec, &mesh));
    const uint64_t read = encode(q, &mesh, alone);
    lt_mesh_close(&mesh);
    lt_group_free(&group);
    for (size_t i = 0; i < sizeof meshes / sizeof *meshes; i++)
        mesh_agrees(q, i, alone, read);
    free(alone);
}

/* Sums of two to four f32 parts in another order, over 50 layers; measured 2e-6. */
static void agrees_in_f32(void **state)
{
    (void)state;
    all_meshes(&(request){"nano", LT_F32, &lt_backend_cpu, 37});
}

static void agrees_on_far(void **state)
{
    (void)state;
    all_meshes(&(request){"nano", LT_F32, &lt_backend_far, 5});
}

static void agrees_in_several_row_blocks(void **state)
{
    (void)state;
    all_meshes(&(request){"nano", LT_F32, &lt_backend_cpu, 520});
}

static void agrees_in_bf16(void **state)
{
    (void)state;
    all_meshes(&(request){"nano-bf16", LT_BF16, &lt_backend_cpu, 37});
}

int main(void)
{
    if (lt_world_open(&world) != LT_OK) {
        lt_error_print(stderr, 1);
        return 1;
    }
    voice = fdopen(dup(STDERR_FILENO), "w");
    if (voice == NULL || (lt_group_rank(world) > 0 && (freopen("/dev/null", "w", stdout) == NULL ||
                                                       freopen("/dev/null", "w", stderr) == NULL)))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_in_f32),
        cmocka_unit_test(agrees_on_far),
        cmocka_unit_test(agrees_in_several_row_blocks),
        cmocka_unit_test(agrees_in_bf16),
    };
    const int failed = cmocka_run_group_tests_name("text_ranks", tests, NULL, NULL);
    lt_world_close(&world);
    fclose(voice);
    return failed;
}
