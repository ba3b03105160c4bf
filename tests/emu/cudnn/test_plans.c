/* test_plans.c - the real cuDNN, where it is installed, plans H3's attention for cards that are not
 * here. Goal: kernels/cuda/cudnn.c's calls are ones that the library accepts, and what it answers
 * is what we count on: an engine that is meant for the card, deterministic, STREAM_K 0 where it has
 * that knob, a workspace of a few bytes; no plan for what it must not be given. Method: cuDNN's own
 * description of a device, by hand for each card, and a driver in which loading code succeeds
 * (driver.c). Ranks: 1. Needs: libcudnn.so.9 of 9.13.1 or later for CUDA 13 (else skipped, with a
 * line).
 *
 * The table was made with 9.19.0 and holds for 9.28.1. Another version may choose other engines:
 * which is what this is to tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "kernels/cuda/cudnn.h"

#define OK(expr)                                                                                   \
    do {                                                                                           \
        if ((expr) != LT_OK)                                                                       \
            fail_msg("%s: %s", #expr, lt_error_text());                                            \
    } while (0)

/* A card, as cudaGetDeviceProperties would have it: NVIDIA's tables (CUDA C Programming Guide,
 * compute capabilities) and data sheets. */
typedef struct {
    const char *name;
    int version, processors, shared, per_block, threads, blocks;
    int64_t engine; /* of large shapes */
} card;

static const card cards[] = {
    {"H100", 900, 132, 233472, 232448, 2048, 32, 9},
    {"B200", 1000, 148, 233472, 232448, 2048, 32, 10},
    {"B300", 1030, 148, 233472, 232448, 2048, 32, 10},
    {"RTX PRO 6000", 1200, 188, 102400, 101376, 1536, 24, 11},
};

typedef struct {
    const char *reason;
    int64_t queries, keys, heads, width, qkv_stride;
    int has_lse;
    int most_cards; /* the first ones: a plan takes up to a second */
} planned;

static const planned shapes[] = {
    {"5 s of 720p alone, packed q, k, v", 38000, 38000, 56, 128, 21504, 0, 4},
    {"the longest clip, alone", 109574, 109574, 56, 128, 21504, 0, 2},
    {"a chunk of its queries", 8192, 109574, 56, 128, 7168, 1, 1},
    {"the last chunk of them", 3078, 109574, 56, 128, 7168, 1, 1},
    {"ring 2: a hop", 54787, 54787, 56, 128, 7168, 1, 2},
    {"uly 8: seven heads", 38000, 38000, 7, 128, 896, 0, 4},
    {"few thread blocks, where 9.26 divided keys", 2048, 2048, 7, 128, 896, 0, 2},
    {"uly 8, ring 2: seven heads, odd keys", 9899, 9901, 7, 128, 896, 1, 1},
    {"short and odd", 1797, 1797, 56, 128, 21504, 0, 1},
    {"more than 2^31 elements", 300000, 300000, 56, 128, 21504, 1, 1},
    {"a tiny model's head", 333, 333, 4, 64, 768, 1, 1},
};

/* The card as cuDNN takes it: its keys were found by leaving them out (9.19, 9.28). */
static void *describe(const lt_dnn_api *api, const card *c)
{
    char text[1200];
    void *d = NULL;
    const int n = snprintf(
        text, sizeof text,
        "{\"deviceVer\":%d,\"driverVer\":13000,\"cudaDeviceId\":0,\"deviceName\":\"NVIDIA %s\","
        "\"multiProcessorCount\":%d,\"smCountOrigin\":0,\"maxGridSize\":[2147483647,65535,65535],"
        "\"maxBlockSize\":[1024,1024,64],\"regsPerBlock\":65536,\"maxRegistersPerSM\":65536,"
        "\"smClockRateKHz\":1980000,\"memClockRateKHz\":2619000,\"memoryBusWidth\":5120,"
        "\"l2CacheSize\":52428800,\"warpSize\":32,\"maxSharedMemoryPerBlock\":49152,"
        "\"maxSharedMemoryPerBlockOptin\":%d,\"oversizedSharedMemoryPerBlock\":%d,"
        "\"reservedSharedMemoryPerBlock\":1024,\"sharedMemPerMultiprocessor\":%d,"
        "\"pciDeviceId\":0,\"maxCtasPerSM\":%d,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":%d,"
        "\"isTccDriver\":0,\"supportCoopLaunch\":1,\"totalGlobalMem\":85000000000}",
        c->version, c->name, c->processors, c->per_block, c->per_block, c->shared, c->blocks,
        c->threads);
    assert_true(n > 0 && (size_t)n < sizeof text);
    OK(lt_dnn_try(api, "device", api->descriptor_new(LT_DNN_DEVICEPROP, &d)));
    OK(lt_dnn_try(api, "device",
                  api->set(d, LT_DNN_DEVICEPROP_JSON, LT_DNN_TYPE_CHAR, n + 1, text)));
    OK(lt_dnn_try(api, "device", api->finalize(d)));
    return d;
}

static const lt_dnn_api *library(void)
{
    enum { CUDA_MAJOR = 13 };
    char text[160];
    const lt_dnn_api *api = lt_dnn_open(CUDA_MAJOR, text, sizeof text);
    if (api == NULL)
        print_message("plans: skipped: %s\n", text);
    return api;
}

static lt_dnn_shape shape_of(const planned *p, lt_dtype dtype)
{
    return (lt_dnn_shape){.queries = p->queries,
                          .keys = p->keys,
                          .heads = p->heads,
                          .kv_heads = p->heads,
                          .width = p->width,
                          .q_stride = p->qkv_stride,
                          .k_stride = p->qkv_stride,
                          .v_stride = p->qkv_stride,
                          .y_stride = p->heads * p->width,
                          .dtype = dtype,
                          .has_lse = p->has_lse};
}

static void check_plan(const lt_dnn_target *target, const card *c, const planned *p, lt_dtype dtype)
{
    enum { WORKSPACE_MOST = 256 };
    const lt_dnn_shape shape = shape_of(p, dtype);
    lt_dnn_plan plan;
    char text[96];
    const double begin = lt_seconds();
    OK(lt_dnn_plan_new(target, &shape, &plan));
    print_message("%-13s %-38s %-55s engine %2lld, workspace %3zu, %s, %.2f s\n", c->name,
                  p->reason, lt_dnn_shape_text(&shape, text, sizeof text), (long long)plan.engine,
                  plan.workspace_bytes, plan.has_stream_k ? "STREAM_K 0" : "no STREAM_K",
                  lt_seconds() - begin);
    if (plan.engine != c->engine || plan.workspace_bytes > WORKSPACE_MOST)
        fail_msg("%s: %s: engine %lld, workspace %zu: want %lld and at most %d", c->name, p->reason,
                 (long long)plan.engine, plan.workspace_bytes, (long long)c->engine,
                 (int)WORKSPACE_MOST);
    lt_dnn_plan_free(target->api, &plan);
}

static void plans_each_shape(void **state)
{
    (void)state;
    const lt_dnn_api *api = library();
    if (api == NULL)
        skip();
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++) {
        const lt_dnn_target target = {.api = api, .device = describe(api, &cards[i])};
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
            if ((int)i < shapes[k].most_cards)
                check_plan(&target, &cards[i], &shapes[k], LT_BF16);
        if (i == 0)
            check_plan(&target, &cards[i], &shapes[0], LT_F16);
        assert_int_equal(api->descriptor_free(target.device), 0);
    }
}

/* What it cannot plan is an error in its own words, and nothing is left of it. */
static void says_what_it_cannot_plan(void **state)
{
    (void)state;
    const lt_dnn_api *api = library();
    if (api == NULL)
        skip();
    static const planned odd = {"", 100, 100, 2, 300, 600, 1, 1};
    const lt_dnn_target target = {.api = api, .device = describe(api, &cards[0])};
    const lt_dnn_shape shape = shape_of(&odd, LT_BF16);
    lt_dnn_plan plan;
    assert_int_equal(lt_dnn_plan_new(&target, &shape, &plan), LT_EDEVICE);
    print_message("%s\n", lt_error_text());
    assert_non_null(strstr(lt_error_text(), "cuDNN: "));
    assert_null(plan.plan);
    assert_null(plan.made);
    lt_error_clear();
    assert_int_equal(api->descriptor_free(target.device), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plans_each_shape),
                                       cmocka_unit_test(says_what_it_cannot_plan)};
    return cmocka_run_group_tests_name("plans", tests, NULL, NULL);
}
