/* wrong_part.c - a longtake_cuda.so that is wrong in the way that LT_TEST_PART names. */
#include <stdlib.h>
#include <string.h>

#include "kernels/gpu_part.h"

static int devices(char *text, size_t bytes)
{
    (void)snprintf(text, bytes, "1: a card of a test (sm_80)");
    return 1;
}

static int no_devices(char *text, size_t bytes)
{
    (void)snprintf(text, bytes, "a reason of a test");
    return 0;
}

static int no_exchange(char *text, size_t bytes)
{
    (void)snprintf(text, bytes, "a library of a test");
    return 0;
}

static int no_attention(char *text, size_t bytes)
{
    (void)snprintf(text, bytes, "our own attention: a reason of a test");
    return 0;
}

static void no_driver(char *text, size_t bytes)
{
    (void)snprintf(text, bytes, "a driver of a test");
}

static void no_links(char *text, size_t bytes) { (void)snprintf(text, bytes, "%s", ""); }

const lt_gpu_part *lt_gpu_part_entry(void)
{
    static lt_backend holes;
    static lt_gpu_part part;
    const char *wrong = getenv("LT_TEST_PART");
    holes = (lt_backend){.api = LT_BACKEND_API, .name = "cuda"};
    part = (lt_gpu_part){.api = LT_GPU_PART_API,
                         .backend_api = LT_BACKEND_API,
                         .op_bytes = sizeof(lt_op),
                         .version = LT_VERSION,
                         .backend = &lt_backend_cpu,
                         .missing = "",
                         .devices = devices,
                         .exchange_found = no_exchange,
                         .attention_found = no_attention,
                         .driver = no_driver,
                         .links = no_links};
    if (wrong == NULL || strcmp(wrong, "nothing") == 0)
        return NULL;
    part.api += strcmp(wrong, "api") == 0;
    part.backend_api += strcmp(wrong, "backend_api") == 0;
    part.op_bytes += strcmp(wrong, "op") == 0;
    if (strcmp(wrong, "version") == 0)
        part.version = "0.0.1";
    if (strcmp(wrong, "holes") == 0)
        part.backend = &holes;
    if (strcmp(wrong, "lacks") == 0)
        part.missing = "a thing of a test";
    if (strcmp(wrong, "devices") == 0)
        part.devices = no_devices;
    return &part;
}
