/* test_text_ranks.c - H3's text encoder on meshes of 1 to 4 ranks against one rank.
 * Goal: every tp mesh gives the rows of one rank, the same bits on all ranks, also where ranks have
 * no heads (2 key-value groups on 3 and 4 ranks) and where rows come in several blocks; a rank
 * reads its slices only; a wrong id fails on all ranks and none waits, and so does a stop that one
 * was asked for while weights are loaded. Method: the first P ranks of
 * the world form a mesh; each rank also encodes alone. Ranks: as launched; meshes with more are
 * left out. Needs: tests/parity/nano*. */
#include "tests/support/ranks.h"

#include <signal.h>

#include "base/stop.h"
#include "model/text/qwen3vl.h"
#include "parallel/transport/host_collectives.h"

#define DATA LT_SOURCE_DIR "/tests/parity/"

enum { WIDTH = 12, VOCAB = 392 }; /* nano's */

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
    OK(lt_engine_open(q->backend, 0, 1, mesh, (size_t)1 << 26, (size_t)1 << 26, &engine));
    (void)snprintf(path, sizeof path, DATA "%s/text_encoder", q->model);
    OK(lt_checkpoint_open(path, NULL, &files));
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

typedef struct comparison {
    const request *q;
    size_t mesh;
    const float *alone;
    uint64_t alone_read;
} comparison;

static void compare(const lt_mesh *mesh, void *ctx)
{
    const comparison *c = ctx;
    const char *text = meshes[c->mesh].mesh;
    const int64_t values = (int64_t)c->q->count * WIDTH;
    float *rows = malloc((size_t)values * sizeof *rows);
    WANT(rows != NULL);
    const uint64_t read = encode(c->q, mesh, rows);
    want(memcmp(rows, c->alone, (size_t)values * sizeof *rows) == 0, text, "rows: bits of one rank",
         distance(rows, c->alone, values), 0);
    const double share = (double)read / (double)c->alone_read;
    want(share <= meshes[c->mesh].read_share, text, "share of the weights read", share,
         meshes[c->mesh].read_share);
    same_on_all(mesh->world, text, "bits on all ranks", rows, values);
    free(rows);
}

static void all_meshes(const request *q)
{
    float *alone = malloc((size_t)q->count * WIDTH * sizeof *alone);
    lt_group *group = group_of_one();
    lt_mesh mesh;
    WANT(alone != NULL);
    OK(lt_mesh_open(group, &(lt_mesh_spec){{1, 1, 1, 1, 1}}, &mesh));
    const uint64_t read = encode(q, &mesh, alone);
    lt_mesh_close(&mesh);
    lt_group_free(&group);
    for (size_t i = 0; i < sizeof meshes / sizeof *meshes; i++)
        on_mesh(meshes[i].mesh, compare, &(comparison){q, i, alone, read});
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

/* A stop that one rank was asked for ends the loading of all, at their next slice of weights. */
static void stop_loading(const lt_mesh *mesh, void *ctx)
{
    (void)ctx;
    lt_engine engine;
    lt_checkpoint *files;
    lt_qwen3vl_config config;
    lt_qwen3vl *text = NULL;
    const int rank = lt_group_rank(mesh->world), last = lt_group_size(mesh->world) - 1;
    OK(lt_qwen3vl_config_read(DATA "nano/text_encoder/config.json", &config));
    OK(lt_engine_open(&lt_backend_cpu, 0, 1, mesh, (size_t)1 << 26, (size_t)1 << 26, &engine));
    OK(lt_checkpoint_open(DATA "nano/text_encoder", NULL, &files));
    lt_stop_arm(0);
    lt_stop_ends(); /* this test may take longer than a stop */
    if (rank == last)
        lt_stop_ask(SIGTERM);
    const lt_status st = lt_qwen3vl_open(files, &engine, &config, LT_F32, &text);
    want(st == (rank == last ? LT_ETEMP : LT_EPEER), "tp=2", "a stop while loading", (double)st, 0);
    want(strstr(lt_error_text(), "stopped by SIGTERM") != NULL, "tp=2", "its words on all ranks", 0,
         1);
    lt_error_clear();
    lt_qwen3vl_close(&text);
    lt_checkpoint_close(&files);
    lt_engine_close(&engine);
}

static void a_stop_ends_a_loading(void **state) /* the last: it cannot be taken back */
{
    (void)state;
    on_mesh("tp=2", stop_loading, NULL);
}

int main(void)
{
    if (ranks_open() != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_in_f32),
        cmocka_unit_test(agrees_on_far),
        cmocka_unit_test(agrees_in_several_row_blocks),
        cmocka_unit_test(agrees_in_bf16),
        cmocka_unit_test(a_stop_ends_a_loading),
    };
    const int failed = cmocka_run_group_tests_name("text_ranks", tests, NULL, NULL);
    ranks_close();
    return failed;
}
