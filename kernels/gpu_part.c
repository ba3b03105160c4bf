/* gpu_part.c - finding and opening longtake_cuda.so, see gpu_part.h. */
#include "kernels/gpu_part.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* Where the plug-in is, or "". */
static void find_part(char *path, size_t bytes)
{
    static const char *const places[] = {"/" LT_GPU_PART_FILE,
                                         "/../lib/longtake/" LT_GPU_PART_FILE};
    char program[PATH_BYTES];
    path[0] = '\0';
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0)
        return;
    program[n] = '\0';
    char *slash = strrchr(program, '/');
    if (slash == NULL)
        return;
    *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const int length = snprintf(path, bytes, "%s%s", program, places[i]);
        if (length > 0 && (size_t)length < bytes && access(path, F_OK) == 0)
            return;
    }
    path[0] = '\0';
}

/* Is there a driver? The library stays open: the plug-in's runtime takes it next. */
static int has_driver(void) { return dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL) != NULL; }

static void refuse(lt_gpu *gpu, const char *format, const char *what, const char *detail)
{
    gpu->found = LT_GPU_UNUSABLE;
    gpu->part = NULL;
    (void)snprintf(gpu->text, sizeof gpu->text, format, what, detail);
    for (char *c = gpu->text; *c != '\0'; c++)
        if (*c == '\n')
            *c = ' ';
}

/* "version 0.1.0, interfaces 1 and 4, ops of 904 bytes" */
static void describe(const lt_gpu_part *part, char *out, size_t bytes)
{
    (void)snprintf(out, bytes, "version %.40s, interfaces %u and %u, ops of %u bytes",
                   part->version != NULL ? part->version : "unknown", part->api, part->backend_api,
                   part->op_bytes);
}

static void check_part(lt_gpu *gpu, const lt_gpu_part *part, const char *path)
{
    const lt_gpu_part mine = {.api = LT_GPU_PART_API,
                              .backend_api = LT_BACKEND_API,
                              .op_bytes = sizeof(lt_op),
                              .version = LT_VERSION};
    char wanted[128], found[128], both[300], devices[300] = "";
    if (part == NULL || part->api != mine.api || part->backend_api != mine.backend_api ||
        part->op_bytes != mine.op_bytes || part->version == NULL ||
        strcmp(part->version, mine.version) != 0) {
        describe(&mine, wanted, sizeof wanted);
        if (part != NULL)
            describe(part, found, sizeof found);
        else
            (void)snprintf(found, sizeof found, "nothing");
        (void)snprintf(both, sizeof both, "want %s, found %s", wanted, found);
        refuse(gpu, "%s: %s", path, both);
        return;
    }
    if (lt_backend_check(part->backend) != LT_OK) {
        refuse(gpu, "%s: %s", path, lt_error_text());
        lt_error_clear();
        return;
    }
    gpu->has_exchange = part->exchange_found(gpu->exchange, sizeof gpu->exchange);
    gpu->has_attention = part->attention_found(gpu->attention, sizeof gpu->attention);
    part->driver(gpu->driver, sizeof gpu->driver);
    if (part->devices(devices, sizeof devices) < 1) {
        refuse(gpu, "no CUDA device: %s%s", devices, "");
        return;
    }
    part->links(gpu->links, sizeof gpu->links);
    if (part->missing[0] != '\0') {
        refuse(gpu, "%s; the GPU part is not used yet, it lacks %s", devices, part->missing);
        return;
    }
    gpu->found = LT_GPU_READY;
    gpu->part = part;
    (void)snprintf(gpu->text, sizeof gpu->text, "%s", devices);
}

static void look(lt_gpu *gpu)
{
    char path[PATH_BYTES];
    gpu->found = LT_GPU_NO_PART;
    (void)snprintf(gpu->text, sizeof gpu->text, "this build has no GPU part (%s)",
                   LT_GPU_PART_FILE);
    find_part(path, sizeof path);
    if (path[0] == '\0')
        return;
    if (!has_driver()) {
        refuse(gpu, "no driver (libcuda.so.1) for %s%s", path, "");
        return;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        refuse(gpu, "%s cannot be loaded: %s", path, dlerror());
        return;
    }
    lt_gpu_part_fn entry = NULL;
    void *symbol = dlsym(library, LT_GPU_PART_ENTRY);
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from an object's address */
    if (entry == NULL) {
        refuse(gpu, "%s: want a function %s, found none", path, LT_GPU_PART_ENTRY);
        return;
    }
    check_part(gpu, entry(), path);
}

const lt_gpu *lt_gpu_look(void)
{
    static lt_gpu gpu;
    static int looked;
    if (!looked)
        look(&gpu);
    looked = 1;
    return &gpu;
}
