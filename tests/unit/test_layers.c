/* test_layers.c - layers that take turns in memory.
 * Goal: what a row of layers computes has the same bits however many of them stay, over several
 * rounds, beside a device and beside a CPU; memory is what dry counts, and less than all; a file
 * that has no room, no folder, or loses its bytes is told and ends nothing else. Method: linear
 * layers of this test's own weights, one after the other; `far` runs its queues late, by several
 * seeds, so that a copy that comes too early or too late shows. Ranks: 1. Needs: /tmp. */
#include "tests/support/check.h"
#include "tests/support/scratch.h"

#include <signal.h>
#include <sys/resource.h>

#include "model/weights/layer_file.h"
#include "model/weights/layers.h"

enum { WIDTH = 96, ROWS = 5, COUNT_MAX = 9, ROUNDS = 3 };

typedef struct net {
    lt_engine engine;
    lt_weights *weights;
    lt_layers *layers;
    int64_t count;
    lt_linear *linear[COUNT_MAX];
    lt_tensor scale[COUNT_MAX];
} net;

static float value(int64_t layer, int64_t i)
{
    const uint32_t h = (uint32_t)(layer * 7919 + i) * 2654435761u;
    return ((float)(h >> 8) / 8388608.0f - 1.0f) * 0.15f;
}

static lt_status load_layer(net *n, int64_t i)
{
    static float weights[WIDTH * WIDTH], bias[WIDTH];
    for (int64_t k = 0; k < WIDTH * WIDTH; k++)
        weights[k] = value(i, k);
    for (int64_t k = 0; k < WIDTH; k++)
        bias[k] = value(i, -k);
    const int dry = n->engine.backend->is_dry;
    const lt_linear_spec spec = {.in = WIDTH,
                                 .out = WIDTH,
                                 .weights = dry ? NULL : weights,
                                 .weights_dtype = LT_F32,
                                 .bias = dry ? NULL : bias,
                                 .has_bias = 1,
                                 .compute = LT_F32};
    LT_TRY(lt_layers_begin(n->layers, i));
    LT_TRY(lt_weights_linear_from(n->weights, "layer", &spec, &n->linear[i]));
    return lt_layers_end(n->layers, i);
}

static lt_status open_net(net *n, const lt_backend *backend, int64_t count, int resident)
{
    *n = (net){.count = count};
    OK(lt_engine_open(backend, 0, 2, NULL, 1 << 22, 1 << 20, &n->engine));
    n->engine.resident_layers = resident;
    OK(lt_weights_open(NULL, &n->engine, LT_F32, &n->weights));
    OK(lt_layers_new(n->weights, "layers", count, &n->layers));
    for (int64_t i = 0; i < count; i++)
        LT_TRY(load_layer(n, i));
    return LT_OK;
}

static void close_net(net *n)
{
    lt_layers_close(&n->layers);
    lt_weights_close(&n->weights);
    lt_engine_close(&n->engine);
}

/* y of ROUNDS rounds over all layers, each round's in the next. */
static lt_status run(net *n, float *out)
{
    lt_queue *q = n->engine.compute;
    float rows[ROWS * WIDTH];
    lt_tensor x, y;
    const lt_mark mark = lt_arena_mark(n->engine.step);
    for (int64_t i = 0; i < ROWS * WIDTH; i++)
        rows[i] = value(99, i);
    OK(lt_tensor_new(n->engine.step, "x", LT_F32, &x, LT_DIMS(ROWS, WIDTH)));
    OK(lt_tensor_new(n->engine.step, "y", LT_F32, &y, LT_DIMS(ROWS, WIDTH)));
    OK(lt_upload(q, &x, rows));
    for (int round = 0; round < ROUNDS; round++)
        for (int64_t i = 0; i < n->count; i++) {
            LT_TRY(lt_layers_use(n->layers, i));
            OK(lt_linear_apply(q, n->linear[i], &x, LT_ACT_GELU_TANH, &y));
            OK(lt_axpby(q, 1.0f, &y, 0.5f, &x));
            OK(lt_layers_done(n->layers, i));
        }
    OK(lt_download(q, out, &x));
    OK(lt_sync(q));
    lt_arena_release(n->engine.step, mark);
    return LT_OK;
}

static void same_bits(const lt_backend *backend, int64_t count)
{
    static float all[ROWS * WIDTH], turns[ROWS * WIDTH];
    net n;
    OK(open_net(&n, backend, count, 0));
    assert_int_equal(lt_layers_resident(n.layers), count);
    OK(run(&n, all));
    const size_t whole = lt_arena_used(n.engine.phase);
    close_net(&n);
    assert_true(all[0] == all[0] && (all[0] > 0 || all[0] < 0));
    for (int resident = 1; resident < count; resident++) {
        memset(turns, 0xff, sizeof turns);
        OK(open_net(&n, backend, count, resident));
        const int64_t stay = lt_layers_resident(n.layers);
        assert_int_equal(stay, resident <= count - 3 ? resident : count);
        const size_t used = lt_arena_used(n.engine.phase);
        assert_int_equal(used, whole / (size_t)count * (size_t)(stay < count ? stay + 2 : count));
        OK(run(&n, turns));
        assert_memory_equal(turns, all, sizeof all);
        close_net(&n);
    }
}

static void bits_do_not_depend_on_what_stays(void **state)
{
    (void)state;
    for (int64_t count = 1; count <= COUNT_MAX; count++) {
        same_bits(&lt_backend_cpu, count);
        same_bits(&lt_backend_ref, count);
    }
    for (uint64_t seed = 1; seed <= 6; seed++) {
        lt_far_seed(seed);
        same_bits(&lt_backend_far, COUNT_MAX - (int64_t)seed % 2);
    }
}

static void dry_counts_the_same(void **state)
{
    (void)state;
    static const lt_backend *const targets[] = {&lt_backend_cpu, &lt_backend_far};
    for (int t = 0; t < 2; t++)
        for (int resident = 0; resident < COUNT_MAX; resident++) {
            net n, dry;
            lt_dry_target(targets[t]);
            OK(open_net(&n, targets[t], COUNT_MAX, resident));
            lt_dry_memory_reset();
            OK(open_net(&dry, &lt_backend_dry, COUNT_MAX, resident));
            assert_int_equal(lt_arena_peak(dry.engine.phase), lt_arena_peak(n.engine.phase));
            const int64_t turn = COUNT_MAX - lt_layers_resident(n.layers);
            const int64_t each = (int64_t)lt_arena_used(n.engine.phase) /
                                 (turn > 0 ? COUNT_MAX - turn + 2 : COUNT_MAX);
            assert_int_equal(lt_dry_memory_read().peak_bytes, t == 1 ? turn * each : 0);
            assert_int_equal(lt_dry_memory_read().disk_peak_bytes, t == 0 ? turn * each : 0);
            close_net(&n);
            close_net(&dry);
            assert_int_equal(lt_dry_memory_read().now_bytes, 0);
        }
    lt_dry_target(NULL);
}

/* ---- a file that fails ---- */

static void no_folder_is_told(void **state)
{
    (void)state;
    net n;
    assert_int_equal(setenv("TMPDIR", "/there/is/nothing", 1), 0);
    assert_true(open_net(&n, &lt_backend_cpu, COUNT_MAX, 1) != LT_OK);
    assert_non_null(strstr(lt_error_text(), "/there/is/nothing"));
    close_net(&n);
    assert_int_equal(unsetenv("TMPDIR"), 0);
    lt_error_clear();
}

static void no_room_is_told(void **state)
{
    (void)state;
    lt_layer_file *f = NULL;
    assert_int_equal(lt_layer_file_new((size_t)1 << 50, 1000, &f), LT_ENOMEM);
    assert_null(f);
    assert_non_null(strstr(lt_error_text(), "GiB of disk, found"));
    lt_error_clear();
    struct rlimit before; /* a disk that fills up while layers are written */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    static char bytes[1 << 16];
    OK(lt_layer_file_new(sizeof bytes, 4, &f));
    OK(lt_layer_file_add(f, bytes));
    const struct rlimit small = {sizeof bytes + 100, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(lt_layer_file_add(f, bytes), LT_EIO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    lt_error_clear();
    lt_layer_file_close(&f);
}

/* Readings at both places, in any order, and one that nobody waits for. */
static void a_file_gives_back_what_was_added(void **state)
{
    (void)state;
    enum { BYTES = 4096, LAYERS = 7 };
    static char layer[LAYERS][BYTES], got[2][BYTES];
    lt_layer_file *f = NULL;
    OK(lt_layer_file_new(BYTES, LAYERS, &f));
    for (int i = 0; i < LAYERS; i++) {
        for (int k = 0; k < BYTES; k++)
            layer[i][k] = (char)(i * 31 + k * 7);
        OK(lt_layer_file_add(f, layer[i]));
    }
    OK(lt_layer_file_wait(f, 0)); /* nothing was asked */
    for (int i = 0; i < 200; i++) {
        const int a = i * 5 % LAYERS, b = i * 3 % LAYERS;
        lt_layer_file_ask(f, i % 2, a, got[i % 2]);
        lt_layer_file_ask(f, 1 - i % 2, b, got[1 - i % 2]);
        OK(lt_layer_file_wait(f, 1 - i % 2));
        assert_memory_equal(got[1 - i % 2], layer[b], BYTES);
        OK(lt_layer_file_wait(f, i % 2));
        assert_memory_equal(got[i % 2], layer[a], BYTES);
    }
    lt_layer_file_ask(f, 0, 1, got[0]);
    lt_layer_file_close(&f);
}

/* The descriptor of this process that is a file without a name in /tmp. */
static int nameless(void)
{
    char path[64], to[256];
    for (int fd = 3; fd < 256; fd++) {
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        const ssize_t n = readlink(path, to, sizeof to - 1);
        to[n > 0 ? n : 0] = '\0';
        if (strncmp(to, "/tmp/", 5) == 0 && strstr(to, "(deleted)") != NULL)
            return fd;
    }
    return -1;
}

static void bytes_that_are_lost_are_told(void **state)
{
    (void)state;
    static float y[ROWS * WIDTH];
    net n;
    OK(open_net(&n, &lt_backend_cpu, COUNT_MAX, 1));
    const int fd = nameless();
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1000), 0);
    assert_int_equal(run(&n, y), LT_EIO);
    assert_non_null(strstr(lt_error_text(), "/tmp"));
    lt_error_clear();
    close_net(&n);
}

int main(void)
{
    (void)unsetenv("TMPDIR");
    const struct CMUnitTest tests[] = {cmocka_unit_test(bits_do_not_depend_on_what_stays),
                                       cmocka_unit_test(dry_counts_the_same),
                                       cmocka_unit_test(no_folder_is_told),
                                       cmocka_unit_test(no_room_is_told),
                                       cmocka_unit_test(a_file_gives_back_what_was_added),
                                       cmocka_unit_test(bytes_that_are_lost_are_told)};
    return cmocka_run_group_tests_name("layers", tests, NULL, NULL);
}
