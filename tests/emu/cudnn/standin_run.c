/* standin_run.c - a plan runs: attention in the stream's order, by the strides that the plan has.
 *
 * Sums are f32 in the order of keys, except with STREAM_K 1 (from a key on that the number of
 * queries chooses) and of the engine that claims nondeterminism (from another one in each run). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emu/cudnn/standin_impl.h"

#ifdef LT_DNN_ON_EMU
#include "tests/emu/emu.h"
#else
#include <dlfcn.h>
#include <link.h>
#endif

enum { ENGINE_LOOSE = 7 };

typedef struct placed {
    char *at;
    int64_t heads, rows, width, head_stride, row_stride;
} placed;

typedef struct attention {
    placed q, k, v, y, lse;
    int type, has_lse;
    float scale;
    int64_t first_key; /* of the sums */
    void *workspace;
    int64_t workspace_bytes;
} attention;

/* `bytes` at an address of the device, or NULL. */
static void *reach(const void *address, int64_t bytes, int is_write)
{
#ifdef LT_DNN_ON_EMU
    return lt_emu_at("cudnn's attention", address, (size_t)bytes, is_write);
#else
    (void)bytes, (void)is_write;
    return (void *)(uintptr_t)address;
#endif
}

static float half_to_float(uint16_t h)
{
    const int e = h >> 10 & 31, f = h & 1023;
    const float v = e == 0    ? ldexpf((float)f, -24)
                    : e == 31 ? (f != 0 ? NAN : INFINITY)
                              : ldexpf((float)(f + 1024), e - 25);
    return h & 0x8000 ? -v : v;
}

static float value(int type, const uint16_t *row, int64_t i)
{
    float f;
    const uint32_t bits = (uint32_t)row[i] << 16;
    if (type == LT_DNN_HALF)
        return half_to_float(row[i]);
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint16_t rounded(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (f != f)
        return 0x7fff;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static const uint16_t *row_of(const placed *x, int64_t head, int64_t row)
{
    return reach(x->at + 2 * (head * x->head_stride + row * x->row_stride), 2 * x->width, 0);
}

/* One query of one head; logits: a float a key. 0: an address is none of the device's. */
static int run_row(const attention *a, int64_t head, int64_t row, float *logits, float *sum)
{
    const int64_t kv = (is_mode("head") && head > 0 && head == a->q.heads - 1 ? head - 1 : head) /
                       (a->q.heads / a->k.heads);
    const uint16_t *q = row_of(&a->q, head, row);
    float most = -INFINITY, all = 0;
    memset(sum, 0, (size_t)a->q.width * sizeof *sum);
    for (int64_t j = 0; j < a->k.rows && q != NULL; j++) {
        const uint16_t *k = row_of(&a->k, kv, j);
        float dot = 0;
        if (k == NULL)
            return 0;
        for (int64_t c = 0; c < a->q.width; c++)
            dot += value(a->type, q, c) * value(a->type, k, c);
        logits[j] = dot * a->scale;
        most = logits[j] > most ? logits[j] : most;
    }
    for (int64_t n = 0; n < a->k.rows; n++) {
        const int64_t j = (n + a->first_key) % a->k.rows;
        const float weight = expf(logits[j] - most);
        const uint16_t *v = row_of(&a->v, kv, j);
        if (v == NULL)
            return 0;
        all += weight;
        for (int64_t c = 0; c < a->q.width; c++)
            sum[c] += weight * value(a->type, v, c);
    }
    uint16_t *y =
        reach(a->y.at + 2 * (head * a->y.head_stride + row * a->y.row_stride), 2 * a->y.width, 1);
    float *lse = a->has_lse ? reach(a->lse.at + 4 * (head * a->lse.head_stride + row), 4, 1) : NULL;
    if (q == NULL || y == NULL || (a->has_lse && lse == NULL))
        return 0;
    const int cut = is_mode("tail") && row >= a->q.rows / 8 * 8 && a->q.rows > 8;
    for (int64_t c = 0; c < a->q.width; c++)
        y[c] = cut ? 0 : rounded(sum[c] / all);
    if (is_mode("nan") && row == a->q.rows - 1)
        y[0] = 0x7fff;
    if (lse != NULL && !is_mode("unwritten"))
        *lse =
            (most + logf(all)) * (is_mode("log2") ? 1.442695f : 1) + (is_mode("lse") ? 0.01f : 0);
    return 1;
}

static void run(void *work)
{
    const attention *a = work;
    float *logits = malloc((size_t)a->k.rows * sizeof *logits);
    float *sum = malloc((size_t)a->q.width * sizeof *sum);
    if (logits == NULL || sum == NULL)
        abort();
    int good = a->workspace_bytes == 0 || reach(a->workspace, a->workspace_bytes, 2) != NULL;
    for (int64_t head = 0; head < a->q.heads; head++)
        for (int64_t row = 0; row < a->q.rows && good; row++)
            good = run_row(a, head, row, logits, sum);
    if (!good)
        (void)refuse(BAD_PARAM, "attention: an address is none of the device's");
    free(logits);
    free(sum);
}

/* The pack's address of the tensor; NULL: it has none. */
static void *address_of(descriptor *pack, descriptor *tensor)
{
    const attribute *ids = of(pack, LT_DNN_PACK_UNIQUE_IDS);
    for (int64_t i = 0; i < ids->count; i++)
        if (ids->v.i[i] == number(tensor, LT_DNN_TENSOR_UNIQUE_ID, 0))
            return of(pack, LT_DNN_PACK_DATA_POINTERS)->v.p[i];
    return NULL;
}

static placed place(descriptor *pack, descriptor *tensor)
{
    const int64_t *dim = of(tensor, LT_DNN_TENSOR_DIMENSIONS)->v.i;
    const int64_t *stride = of(tensor, LT_DNN_TENSOR_STRIDES)->v.i;
    return (placed){address_of(pack, tensor), dim[1], dim[2], dim[3], stride[1], stride[2]};
}

#ifndef LT_DNN_ON_EMU
/* The plug-in that has the streams is opened for itself alone. */
static int find_plug_in(struct dl_phdr_info *info, size_t bytes, void *path)
{
    (void)bytes;
    if (strstr(info->dlpi_name, "longtake_cuda.so") == NULL)
        return 0;
    *(const char **)path = info->dlpi_name;
    return 1;
}

typedef int (*enqueue_fn)(void *, void (*)(void *), const void *, size_t);

/* tests/shim's lt_shim_enqueue: the program's or the plug-in's. */
static enqueue_fn shim_enqueue(void)
{
    const char *path = NULL;
    enqueue_fn fn = NULL;
    void *symbol = dlsym(RTLD_DEFAULT, "lt_shim_enqueue");
    if (symbol == NULL && dl_iterate_phdr(find_plug_in, &path) != 0)
        symbol = dlsym(dlopen(path, RTLD_NOW | RTLD_NOLOAD), "lt_shim_enqueue");
    memcpy(&fn, &symbol, sizeof fn);
    return fn;
}
#endif

static int enqueue(void *stream, const attention *a)
{
#ifdef LT_DNN_ON_EMU
    return lt_emu_enqueue(stream, run, a, sizeof *a);
#else
    const enqueue_fn fn = shim_enqueue();
    return fn != NULL && fn(stream, run, a, sizeof *a) == 0;
#endif
}

int run_attention(handle *h, descriptor *plan, descriptor *pack)
{
    static int64_t runs;
    descriptor *config = part(plan, LT_DNN_PLAN_ENGINECFG);
    descriptor *engine = config != NULL ? part(config, LT_DNN_ENGINECFG_ENGINE) : NULL;
    descriptor *graph = engine != NULL ? part(engine, LT_DNN_ENGINEHEUR_GRAPH) : NULL;
    descriptor *op = graph != NULL ? part(graph, LT_DNN_GRAPH_OPS) : NULL;
    static const int names[] = {LT_DNN_SDPA_Q, LT_DNN_SDPA_K,     LT_DNN_SDPA_V,
                                LT_DNN_SDPA_O, LT_DNN_SDPA_SCALE, LT_DNN_SDPA_STATS};
    descriptor *t[6] = {NULL};
    int64_t tensors = 0;
    if (op == NULL)
        return refuse(BAD_PARAM, "a run: what the plan stands on was freed");
    for (int i = 0; i < 6; i++) {
        t[i] = part(op, names[i]);
        tensors += t[i] != NULL;
        const uintptr_t at = t[i] != NULL ? (uintptr_t)address_of(pack, t[i]) : 16;
        if (at == 0 || (at % 16 != 0 && names[i] != LT_DNN_SDPA_SCALE))
            return refuse(BAD_PARAM, "a run: tensor %d is at %p", names[i], (void *)at);
    }
    if (of(pack, LT_DNN_PACK_UNIQUE_IDS)->count != tensors)
        return refuse(BAD_PARAM, "a run: %lld tensors, the graph has %lld",
                      (long long)of(pack, LT_DNN_PACK_UNIQUE_IDS)->count, (long long)tensors);
    attention a = {.q = place(pack, t[0]),
                   .k = place(pack, t[1]),
                   .v = place(pack, t[2]),
                   .y = place(pack, t[3]),
                   .type = (int)number(t[0], LT_DNN_TENSOR_DATA_TYPE, 0),
                   .has_lse = t[5] != NULL,
                   .workspace = of(pack, LT_DNN_PACK_WORKSPACE)->v.p[0],
                   .workspace_bytes = workspace_of(config)};
    memcpy(&a.scale, address_of(pack, t[4]), sizeof a.scale);
    if (t[5] != NULL)
        a.lse = place(pack, t[5]);
    if (a.workspace_bytes > 0 && (a.workspace == NULL || (uintptr_t)a.workspace % 16 != 0))
        return refuse(BAD_PARAM, "a run: the workspace is at %p", a.workspace);
    standin.engine = number(engine, LT_DNN_ENGINE_GLOBAL_INDEX, 0);
    standin.stream_k = knob_of(config, LT_DNN_KNOB_STREAM_K, -1);
    a.first_key = standin.engine == ENGINE_LOOSE ? 7 * ++runs : standin.stream_k > 0 ? a.q.rows : 0;
    return enqueue(h->stream, &a) ? 0 : refuse(BAD_PARAM, "a run: no such stream");
}
