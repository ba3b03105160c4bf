/* cudnn.c - see cudnn.h.
 *
 * cuDNN's backend API knows descriptors: made, given attributes, finalized, then of use to others.
 *
 *     tensors q, k, v, y, lse, scale -> operation -> graph -> heuristics
 *     heuristics -> engine configs, best first -> engine (notes, knobs) -> plan
 *     plan + variant pack (numbers of tensors, their addresses, workspace) -> execution
 *
 * An engine's knobs can be read, but a config that is final cannot be changed: to pin STREAM_K a
 * config of the same engine is made, with the same choices but that one. */
#include "kernels/cuda/cudnn.h"

#include <assert.h>
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY "libcudnn.so.9"

enum {
    MADE_MAX = 512, /* descriptors of one plan */
    CANDIDATES = 8,
    KNOBS_MAX = 24,
    NOTES_MAX = 32,
    ALIGNMENT = 16,
    WHY_BYTES = 200
};

/* Numbers of the tensors: a graph's own. */
enum { ID_Q = 1, ID_K, ID_V, ID_O, ID_STATS, ID_SCALE };

/* ---- the library ---- */

static const struct {
    const char *name;
    size_t at;
} functions[] = {
    {"cudnnGetVersion", offsetof(lt_dnn_api, version)},
    {"cudnnGetCudartVersion", offsetof(lt_dnn_api, cudart_version)},
    {"cudnnGetErrorString", offsetof(lt_dnn_api, error_string)},
    {"cudnnGetLastErrorString", offsetof(lt_dnn_api, last_error)},
    {"cudnnCreate", offsetof(lt_dnn_api, create)},
    {"cudnnDestroy", offsetof(lt_dnn_api, destroy)},
    {"cudnnSetStream", offsetof(lt_dnn_api, set_stream)},
    {"cudnnBackendCreateDescriptor", offsetof(lt_dnn_api, descriptor_new)},
    {"cudnnBackendDestroyDescriptor", offsetof(lt_dnn_api, descriptor_free)},
    {"cudnnBackendSetAttribute", offsetof(lt_dnn_api, set)},
    {"cudnnBackendGetAttribute", offsetof(lt_dnn_api, get)},
    {"cudnnBackendFinalize", offsetof(lt_dnn_api, finalize)},
    {"cudnnBackendExecute", offsetof(lt_dnn_api, execute)},
};

/* NULL: all are there, else the one that is not. */
static const char *find_functions(void *library, lt_dnn_api *api)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *symbol = dlsym(library, functions[i].name);
        if (symbol == NULL)
            return functions[i].name;
        memcpy((char *)api + functions[i].at, &symbol, sizeof symbol);
    }
    return NULL;
}

/* 91301 -> "9.13.1" */
static const char *version_text(size_t version, char *text, size_t bytes)
{
    (void)snprintf(text, bytes, "%zu.%zu.%zu", version / 10000, version / 100 % 100, version % 100);
    return text;
}

static const lt_dnn_api *load(int cuda_major, char *text, size_t bytes)
{
    enum { VERSION_BYTES = 64, CUDA_MAJOR = 1000 };
    static lt_dnn_api api;
    char found[VERSION_BYTES], least[VERSION_BYTES];
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        (void)snprintf(text, bytes, "no cuDNN (%s)", LIBRARY);
        return NULL;
    }
    const char *missing = find_functions(library, &api);
    if (api.version == NULL || (missing != NULL && api.version() >= LT_DNN_VERSION_LEAST)) {
        (void)snprintf(text, bytes, "cuDNN (%s) has no %s", LIBRARY, missing);
        return NULL;
    }
    (void)version_text(api.version(), found, sizeof found);
    if (api.version() < LT_DNN_VERSION_LEAST) {
        (void)snprintf(text, bytes, "cuDNN %s is too old, want %s", found,
                       version_text(LT_DNN_VERSION_LEAST, least, sizeof least));
        return NULL;
    }
    if ((int)(api.cudart_version() / CUDA_MAJOR) != cuda_major) {
        (void)snprintf(text, bytes, "cuDNN %s is for CUDA %zu, want CUDA %d", found,
                       api.cudart_version() / CUDA_MAJOR, cuda_major);
        return NULL;
    }
    (void)snprintf(text, bytes, "cuDNN %s", found);
    return &api;
}

const lt_dnn_api *lt_dnn_open(int cuda_major, char *text, size_t bytes)
{
    static const lt_dnn_api *api;
    static char said[160];
    if (said[0] == '\0')
        api = load(cuda_major, said, sizeof said);
    (void)snprintf(text, bytes, "%s", said);
    return api;
}

lt_status lt_dnn_try(const lt_dnn_api *api, const char *what, int status)
{
    char detail[WHY_BYTES] = "";
    if (status == 0)
        return LT_OK;
    api->last_error(detail, sizeof detail);
    detail[sizeof detail - 1] = '\0';
    detail[strcspn(detail, "\n")] = '\0';
    LT_FAIL(LT_EDEVICE, "cuDNN: %s: %s%s%s", what, api->error_string(status),
            detail[0] != '\0' ? ": " : "", detail);
}

/* ---- shapes ---- */

int lt_dnn_shape_equal(const lt_dnn_shape *a, const lt_dnn_shape *b)
{
    return a->queries == b->queries && a->keys == b->keys && a->heads == b->heads &&
           a->kv_heads == b->kv_heads && a->width == b->width && a->q_stride == b->q_stride &&
           a->k_stride == b->k_stride && a->v_stride == b->v_stride && a->y_stride == b->y_stride &&
           a->dtype == b->dtype && a->has_lse == b->has_lse;
}

const char *lt_dnn_shape_text(const lt_dnn_shape *s, char *text, size_t bytes)
{
    (void)snprintf(text, bytes, "%lld queries, %lld keys, %lld heads of %lld, %s",
                   (long long)s->queries, (long long)s->keys, (long long)s->heads,
                   (long long)s->width, lt_dtype_name(s->dtype));
    return text;
}

/* ---- descriptors ---- */

/* A plan while it is made. */
typedef struct making {
    const lt_dnn_target *target;
    lt_dnn_plan *out;
    char why[WHY_BYTES]; /* the last candidate was no good */
} making;

static lt_status make(making *m, int type, void **out)
{
    assert(m->out->made_count < MADE_MAX);
    *out = NULL;
    const lt_dnn_api *api = m->target->api;
    LT_TRY(lt_dnn_try(api, "descriptor", api->descriptor_new(type, out)));
    m->out->made[m->out->made_count++] = *out;
    return LT_OK;
}

static lt_status put(making *m, void *descriptor, int name, int type, int64_t count,
                     const void *values)
{
    const lt_dnn_api *api = m->target->api;
    return lt_dnn_try(api, "attribute", api->set(descriptor, name, type, count, values));
}

static lt_status finish(making *m, const char *what, void *descriptor)
{
    return lt_dnn_try(m->target->api, what, m->target->api->finalize(descriptor));
}

/* One value of a descriptor. */
static lt_status take(making *m, const void *descriptor, int name, int type, void *value)
{
    int64_t count = 0;
    const lt_dnn_api *api = m->target->api;
    LT_TRY(lt_dnn_try(api, "attribute", api->get(descriptor, name, type, 1, &count, value)));
    if (count != 1)
        LT_FAIL(LT_EDEVICE, "cuDNN: attribute %d: want 1 value, found %lld", name,
                (long long)count);
    return LT_OK;
}

/* Up to `most` descriptors that another one holds. */
static lt_status take_list(making *m, const void *descriptor, int name, int of, int most,
                           void **list, int *count)
{
    int64_t found = 0;
    const lt_dnn_api *api = m->target->api;
    for (int i = 0; i < most; i++)
        LT_TRY(make(m, of, &list[i]));
    LT_TRY(
        lt_dnn_try(api, "attribute",
                   api->get(descriptor, name, LT_DNN_TYPE_DESCRIPTOR, most, &found, (void *)list)));
    *count = (int)(found < most ? found : most);
    return LT_OK;
}

/* dims [1, heads, rows, width]; stride: elements from head to head, from row to row. */
typedef struct tensor_spec {
    int64_t id, heads, rows, width, head_stride, row_stride;
    int type;
    bool by_value;
} tensor_spec;

static lt_status tensor(making *m, const tensor_spec *t, void **out)
{
    const int64_t dims[4] = {1, t->heads, t->rows, t->width}, align = ALIGNMENT;
    const int64_t rows_first = t->rows * t->row_stride, heads_first = t->heads * t->head_stride;
    const int64_t strides[4] = {rows_first > heads_first ? rows_first : heads_first, t->head_stride,
                                t->row_stride, 1};
    LT_TRY(make(m, LT_DNN_TENSOR, out));
    LT_TRY(put(m, *out, LT_DNN_TENSOR_UNIQUE_ID, LT_DNN_TYPE_INT64, 1, &t->id));
    LT_TRY(put(m, *out, LT_DNN_TENSOR_DATA_TYPE, LT_DNN_TYPE_DATA_TYPE, 1, &t->type));
    LT_TRY(put(m, *out, LT_DNN_TENSOR_DIMENSIONS, LT_DNN_TYPE_INT64, 4, dims));
    LT_TRY(put(m, *out, LT_DNN_TENSOR_STRIDES, LT_DNN_TYPE_INT64, 4, strides));
    LT_TRY(put(m, *out, LT_DNN_TENSOR_ALIGNMENT, LT_DNN_TYPE_INT64, 1, &align));
    if (t->by_value)
        LT_TRY(put(m, *out, LT_DNN_TENSOR_IS_BY_VALUE, LT_DNN_TYPE_BOOLEAN, 1, &t->by_value));
    return finish(m, "tensor", *out);
}

static lt_status operation(making *m, void **out)
{
    enum { TENSORS = 6 };
    const lt_dnn_shape *s = &m->out->shape;
    const int type = s->dtype == LT_BF16 ? LT_DNN_BFLOAT16 : LT_DNN_HALF;
    const int64_t w = s->width;
    const tensor_spec specs[TENSORS] = {
        {ID_Q, s->heads, s->queries, w, w, s->q_stride, type, false},
        {ID_K, s->kv_heads, s->keys, w, w, s->k_stride, type, false},
        {ID_V, s->kv_heads, s->keys, w, w, s->v_stride, type, false},
        {ID_O, s->heads, s->queries, w, w, s->y_stride, type, false},
        {ID_STATS, s->heads, s->queries, 1, s->queries, 1, LT_DNN_FLOAT, false},
        {ID_SCALE, 1, 1, 1, 1, 1, LT_DNN_FLOAT, true}};
    static const int names[TENSORS] = {LT_DNN_SDPA_Q, LT_DNN_SDPA_K,     LT_DNN_SDPA_V,
                                       LT_DNN_SDPA_O, LT_DNN_SDPA_STATS, LT_DNN_SDPA_SCALE};
    LT_TRY(make(m, LT_DNN_SDPA_FWD, out));
    for (int i = 0; i < TENSORS; i++) {
        void *t = NULL;
        if (specs[i].id == ID_STATS && !s->has_lse)
            continue;
        LT_TRY(tensor(m, &specs[i], &t));
        LT_TRY(put(m, *out, names[i], LT_DNN_TYPE_DESCRIPTOR, 1, &t));
    }
    return finish(m, "attention", *out);
}

static lt_status graph(making *m, void **out)
{
    void *op = NULL;
    void *handle = m->target->handle;
    LT_TRY(operation(m, &op));
    LT_TRY(make(m, LT_DNN_GRAPH, out));
    if (handle != NULL)
        LT_TRY(put(m, *out, LT_DNN_GRAPH_HANDLE, LT_DNN_TYPE_HANDLE, 1, &handle));
    LT_TRY(put(m, *out, LT_DNN_GRAPH_OPS, LT_DNN_TYPE_DESCRIPTOR, 1, &op));
    return finish(m, "graph", *out);
}

/* Engine configs, best first. */
static lt_status candidates(making *m, void **list, int *count)
{
    const int mode = LT_DNN_HEUR_A;
    void *g = NULL, *heuristics = NULL;
    LT_TRY(graph(m, &g));
    LT_TRY(make(m, LT_DNN_ENGINEHEUR, &heuristics));
    LT_TRY(put(m, heuristics, LT_DNN_ENGINEHEUR_GRAPH, LT_DNN_TYPE_DESCRIPTOR, 1, &g));
    LT_TRY(put(m, heuristics, LT_DNN_ENGINEHEUR_MODE, LT_DNN_TYPE_HEUR_MODE, 1, &mode));
    if (m->target->handle == NULL)
        LT_TRY(put(m, heuristics, LT_DNN_ENGINEHEUR_DEVICEPROP, LT_DNN_TYPE_DESCRIPTOR, 1,
                   &m->target->device));
    LT_TRY(finish(m, "heuristics", heuristics));
    return take_list(m, heuristics, LT_DNN_ENGINEHEUR_RESULTS, LT_DNN_ENGINECFG, CANDIDATES, list,
                     count);
}

static lt_status is_nondeterministic(making *m, const void *engine, int *yes)
{
    int notes[NOTES_MAX];
    int64_t count = 0;
    const lt_dnn_api *api = m->target->api;
    LT_TRY(lt_dnn_try(api, "notes",
                      api->get(engine, LT_DNN_ENGINE_NUMERICAL_NOTE, LT_DNN_TYPE_NUMERICAL_NOTE,
                               NOTES_MAX, &count, notes)));
    *yes = 0;
    for (int64_t i = 0; i < count && i < NOTES_MAX; i++)
        *yes |= notes[i] == LT_DNN_NOTE_NONDETERMINISTIC;
    return LT_OK;
}

static lt_status has_stream_k(making *m, const void *engine, int *yes)
{
    void *info[KNOBS_MAX];
    int count = 0;
    *yes = 0;
    LT_TRY(
        take_list(m, engine, LT_DNN_ENGINE_KNOB_INFO, LT_DNN_KNOB_INFO, KNOBS_MAX, info, &count));
    for (int i = 0; i < count; i++) {
        int type = -1;
        LT_TRY(take(m, info[i], LT_DNN_KNOB_INFO_TYPE, LT_DNN_TYPE_KNOB_TYPE, &type));
        *yes |= type == LT_DNN_KNOB_STREAM_K;
    }
    return LT_OK;
}

/* *config becomes one of the same engine and choices, but STREAM_K 0. */
static lt_status pin_stream_k(making *m, void *engine, void **config)
{
    void *choice[KNOBS_MAX + 1], *pinned = NULL;
    const int knob = LT_DNN_KNOB_STREAM_K;
    const int64_t off = 0;
    int count = 0, kept = 0;
    LT_TRY(take_list(m, *config, LT_DNN_ENGINECFG_KNOB_CHOICES, LT_DNN_KNOB_CHOICE, KNOBS_MAX,
                     choice, &count));
    for (int i = 0; i < count; i++) {
        int type = -1;
        LT_TRY(take(m, choice[i], LT_DNN_KNOB_CHOICE_TYPE, LT_DNN_TYPE_KNOB_TYPE, &type));
        if (type != LT_DNN_KNOB_STREAM_K)
            choice[kept++] = choice[i];
    }
    LT_TRY(make(m, LT_DNN_KNOB_CHOICE, &choice[kept]));
    LT_TRY(put(m, choice[kept], LT_DNN_KNOB_CHOICE_TYPE, LT_DNN_TYPE_KNOB_TYPE, 1, &knob));
    LT_TRY(put(m, choice[kept], LT_DNN_KNOB_CHOICE_VALUE, LT_DNN_TYPE_INT64, 1, &off));
    LT_TRY(finish(m, "knob", choice[kept]));
    LT_TRY(make(m, LT_DNN_ENGINECFG, &pinned));
    LT_TRY(put(m, pinned, LT_DNN_ENGINECFG_ENGINE, LT_DNN_TYPE_DESCRIPTOR, 1, &engine));
    LT_TRY(put(m, pinned, LT_DNN_ENGINECFG_KNOB_CHOICES, LT_DNN_TYPE_DESCRIPTOR, kept + 1,
               (const void *)choice));
    LT_TRY(finish(m, "engine config", pinned));
    *config = pinned;
    return LT_OK;
}

/* The plan of a config; m->why: it is no good. */
static lt_status plan_of(making *m, void *config)
{
    void *plan = NULL;
    int64_t bytes = -1;
    void *handle = m->target->handle;
    LT_TRY(make(m, LT_DNN_PLAN, &plan));
    LT_TRY(put(m, plan, LT_DNN_PLAN_ENGINECFG, LT_DNN_TYPE_DESCRIPTOR, 1, &config));
    if (handle != NULL)
        LT_TRY(put(m, plan, LT_DNN_PLAN_HANDLE, LT_DNN_TYPE_HANDLE, 1, &handle));
    else
        LT_TRY(put(m, plan, LT_DNN_PLAN_DEVICEPROP, LT_DNN_TYPE_DESCRIPTOR, 1, &m->target->device));
    LT_TRY(finish(m, "plan", plan));
    LT_TRY(take(m, plan, LT_DNN_PLAN_WORKSPACE_SIZE, LT_DNN_TYPE_INT64, &bytes));
    if (bytes < 0 || bytes > LT_DNN_WORKSPACE) {
        (void)snprintf(m->why, sizeof m->why, "engine %lld wants a workspace of %lld bytes",
                       (long long)m->out->engine, (long long)bytes);
        return LT_OK;
    }
    m->out->plan = plan;
    m->out->workspace_bytes = (size_t)bytes;
    return LT_OK;
}

static lt_status consider(making *m, void *config)
{
    void *engine = NULL;
    int nondeterministic = 0;
    LT_TRY(make(m, LT_DNN_ENGINE, &engine));
    LT_TRY(take(m, config, LT_DNN_ENGINECFG_ENGINE, LT_DNN_TYPE_DESCRIPTOR, (void *)&engine));
    LT_TRY(take(m, engine, LT_DNN_ENGINE_GLOBAL_INDEX, LT_DNN_TYPE_INT64, &m->out->engine));
    LT_TRY(is_nondeterministic(m, engine, &nondeterministic));
    if (nondeterministic) {
        (void)snprintf(m->why, sizeof m->why, "engine %lld is not deterministic",
                       (long long)m->out->engine);
        return LT_OK;
    }
    LT_TRY(has_stream_k(m, engine, &m->out->has_stream_k));
    if (m->out->has_stream_k)
        LT_TRY(pin_stream_k(m, engine, &config));
    return plan_of(m, config);
}

lt_status lt_dnn_plan_new(const lt_dnn_target *target, const lt_dnn_shape *shape, lt_dnn_plan *out)
{
    assert(shape->queries > 0 && shape->keys > 0 && shape->heads > 0 && shape->kv_heads > 0);
    assert(shape->dtype == LT_BF16 || shape->dtype == LT_F16);
    making m = {.target = target, .out = out, .why = "it proposes no engine"};
    void *list[CANDIDATES];
    char text[96];
    int count = 0;
    *out = (lt_dnn_plan){.shape = *shape, .made = calloc(MADE_MAX, sizeof *out->made)};
    if (out->made == NULL)
        LT_FAIL(LT_ENOMEM, "cuDNN: no memory for a plan's description");
    lt_status status = candidates(&m, list, &count);
    for (int i = 0; i < count && out->plan == NULL && status == LT_OK; i++)
        if (consider(&m, list[i]) != LT_OK) { /* the next may do */
            (void)snprintf(m.why, sizeof m.why, "%s", lt_error_text());
            lt_error_clear();
        }
    if (status == LT_OK && out->plan == NULL)
        status = lt_fail(LT_EDEVICE, __FILE__, __LINE__, "cuDNN: no plan for %s: %s",
                         lt_dnn_shape_text(shape, text, sizeof text), m.why);
    if (status != LT_OK)
        lt_dnn_plan_free(target->api, out);
    return status;
}

void lt_dnn_plan_free(const lt_dnn_api *api, lt_dnn_plan *plan)
{
    for (int i = plan->made_count - 1; i >= 0; i--)
        (void)api->descriptor_free(plan->made[i]);
    free(plan->made);
    *plan = (lt_dnn_plan){.shape = plan->shape};
}

/* ---- running ---- */

static lt_status fill_pack(const lt_dnn_target *target, const lt_dnn_plan *plan,
                           const void *const *address, void *workspace, void *pack)
{
    static const int64_t all[] = {ID_Q, ID_K, ID_V, ID_O, ID_SCALE, ID_STATS};
    const lt_dnn_api *api = target->api;
    const int64_t count = plan->shape.has_lse ? 6 : 5; /* the last one is lse's */
    LT_TRY(lt_dnn_try(api, "attribute",
                      api->set(pack, LT_DNN_PACK_UNIQUE_IDS, LT_DNN_TYPE_INT64, count, all)));
    LT_TRY(lt_dnn_try(api, "attribute",
                      api->set(pack, LT_DNN_PACK_DATA_POINTERS, LT_DNN_TYPE_VOID_PTR, count,
                               (const void *)address)));
    LT_TRY(lt_dnn_try(
        api, "attribute",
        api->set(pack, LT_DNN_PACK_WORKSPACE, LT_DNN_TYPE_VOID_PTR, 1, (const void *)&workspace)));
    LT_TRY(lt_dnn_try(api, "tensors", api->finalize(pack)));
    return lt_dnn_try(api, "run", api->execute(target->handle, plan->plan, pack));
}

lt_status lt_dnn_plan_run(const lt_dnn_target *target, const lt_dnn_plan *plan, const void *q,
                          const void *k, const void *v, void *y, void *lse, float scale,
                          void *workspace)
{
    assert(plan->plan != NULL && target->handle != NULL && (lse != NULL) == plan->shape.has_lse);
    const void *const address[] = {q, k, v, y, &scale, lse};
    void *pack = NULL;
    LT_TRY(lt_dnn_try(target->api, "descriptor",
                      target->api->descriptor_new(LT_DNN_VARIANT_PACK, &pack)));
    const lt_status status = fill_pack(target, plan, address, workspace, pack);
    (void)target->api->descriptor_free(pack);
    return status;
}
