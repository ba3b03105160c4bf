/* standin.c - a libcudnn.so.9 that knows one operation, and is stricter than the library.
 *
 * All of the backend API that kernels/cuda/cudnn.h declares. What each kind of descriptor may be
 * given is a table: another attribute, type or count, a value set twice or after the end, a
 * descriptor that is not final, freed, or of another kind is refused with a line on stderr. It
 * proposes three engines: one that claims nondeterminism and is; one whose STREAM_K is 1 until that
 * is pinned, with results that then depend on the number of queries; and a plain one.
 *
 * Environment:
 *     LT_EMU_CUDNN_VERSION=91900, LT_EMU_CUDNN_CUDA=13000    what it says that it is
 *     LT_EMU_CUDNN=MODE    what is wrong: create (no handle), no_engine, large (workspaces), lse (a
 *                          hundredth too large), log2 (in units of log 2), nan, tail (the last
 *                          queries are 0), unwritten (lse), head (the last one reads another)
 *     LT_EMU_CUDNN_LOG=FILE  at the end a line of counts, appended */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emu/cudnn/standin_impl.h"

#define API __attribute__((visibility("default")))

standin_counts standin;
static descriptor *all;
static char last_error[300];

static const attribute_row rows[] = {
    {LT_DNN_TENSOR, LT_DNN_TENSOR_UNIQUE_ID, LT_DNN_TYPE_INT64, 1, 1, 1, -1},
    {LT_DNN_TENSOR, LT_DNN_TENSOR_DATA_TYPE, LT_DNN_TYPE_DATA_TYPE, 1, 1, 1, -1},
    {LT_DNN_TENSOR, LT_DNN_TENSOR_DIMENSIONS, LT_DNN_TYPE_INT64, 4, 4, 1, -1},
    {LT_DNN_TENSOR, LT_DNN_TENSOR_STRIDES, LT_DNN_TYPE_INT64, 4, 4, 1, -1},
    {LT_DNN_TENSOR, LT_DNN_TENSOR_ALIGNMENT, LT_DNN_TYPE_INT64, 1, 1, 1, -1},
    {LT_DNN_TENSOR, LT_DNN_TENSOR_IS_BY_VALUE, LT_DNN_TYPE_BOOLEAN, 1, 1, 0, -1},
    {LT_DNN_SDPA_FWD, LT_DNN_SDPA_Q, LT_DNN_TYPE_DESCRIPTOR, 1, 1, 1, LT_DNN_TENSOR},
    {LT_DNN_SDPA_FWD, LT_DNN_SDPA_K, LT_DNN_TYPE_DESCRIPTOR, 1, 1, 1, LT_DNN_TENSOR},
    {LT_DNN_SDPA_FWD, LT_DNN_SDPA_V, LT_DNN_TYPE_DESCRIPTOR, 1, 1, 1, LT_DNN_TENSOR},
    {LT_DNN_SDPA_FWD, LT_DNN_SDPA_O, LT_DNN_TYPE_DESCRIPTOR, 1, 1, 1, LT_DNN_TENSOR},
    {LT_DNN_SDPA_FWD, LT_DNN_SDPA_STATS, LT_DNN_TYPE_DESCRIPTOR, 1, 1, 0, LT_DNN_TENSOR},
    {LT_DNN_SDPA_FWD, LT_DNN_SDPA_SCALE, LT_DNN_TYPE_DESCRIPTOR, 1, 1, 1, LT_DNN_TENSOR},
    {LT_DNN_GRAPH, LT_DNN_GRAPH_HANDLE, LT_DNN_TYPE_HANDLE, 1, 1, 1, -1},
    {LT_DNN_GRAPH, LT_DNN_GRAPH_OPS, LT_DNN_TYPE_DESCRIPTOR, 1, 1, 1, LT_DNN_SDPA_FWD},
    {LT_DNN_ENGINEHEUR, LT_DNN_ENGINEHEUR_GRAPH, LT_DNN_TYPE_DESCRIPTOR, 1, 1, 1, LT_DNN_GRAPH},
    {LT_DNN_ENGINEHEUR, LT_DNN_ENGINEHEUR_MODE, LT_DNN_TYPE_HEUR_MODE, 1, 1, 1, -1},
    {LT_DNN_ENGINECFG, LT_DNN_ENGINECFG_ENGINE, LT_DNN_TYPE_DESCRIPTOR, 1, 1, 1, LT_DNN_ENGINE},
    {LT_DNN_ENGINECFG, LT_DNN_ENGINECFG_KNOB_CHOICES, LT_DNN_TYPE_DESCRIPTOR, 1, VALUES_MAX, 0,
     LT_DNN_KNOB_CHOICE},
    {LT_DNN_KNOB_CHOICE, LT_DNN_KNOB_CHOICE_TYPE, LT_DNN_TYPE_KNOB_TYPE, 1, 1, 1, -1},
    {LT_DNN_KNOB_CHOICE, LT_DNN_KNOB_CHOICE_VALUE, LT_DNN_TYPE_INT64, 1, 1, 1, -1},
    {LT_DNN_PLAN, LT_DNN_PLAN_HANDLE, LT_DNN_TYPE_HANDLE, 1, 1, 1, -1},
    {LT_DNN_PLAN, LT_DNN_PLAN_ENGINECFG, LT_DNN_TYPE_DESCRIPTOR, 1, 1, 1, LT_DNN_ENGINECFG},
    {LT_DNN_VARIANT_PACK, LT_DNN_PACK_UNIQUE_IDS, LT_DNN_TYPE_INT64, 1, VALUES_MAX, 1, -1},
    {LT_DNN_VARIANT_PACK, LT_DNN_PACK_DATA_POINTERS, LT_DNN_TYPE_VOID_PTR, 1, VALUES_MAX, 1, -1},
    {LT_DNN_VARIANT_PACK, LT_DNN_PACK_WORKSPACE, LT_DNN_TYPE_VOID_PTR, 1, 1, 1, -1},
};
enum { ROWS = sizeof rows / sizeof *rows };

int is_mode(const char *mode)
{
    const char *now = getenv("LT_EMU_CUDNN");
    return now != NULL && strcmp(now, mode) == 0;
}

int refuse(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(last_error, sizeof last_error, format, args);
    va_end(args);
    (void)fprintf(stderr, "cudnn: %s\n", last_error);
    standin.refused++;
    return code;
}

descriptor *alive(const void *address)
{
    descriptor *d = all;
    while (d != NULL && d != address)
        d = d->next;
    return d;
}

attribute *of(descriptor *d, int name)
{
    for (int i = 0; i < d->count; i++)
        if (d->set[i].name == name)
            return &d->set[i];
    return NULL;
}

int64_t number(descriptor *d, int name, int64_t otherwise)
{
    const attribute *a = of(d, name);
    return a != NULL ? a->v.i[0] : otherwise;
}

descriptor *part(descriptor *d, int name)
{
    const attribute *a = of(d, name);
    descriptor *found = a != NULL ? alive(a->v.p[0]) : NULL;
    return found != NULL && found->is_final ? found : NULL;
}

static size_t size_of(int type)
{
    switch (type) {
    case LT_DNN_TYPE_BOOLEAN:
    case LT_DNN_TYPE_CHAR:
        return 1;
    case LT_DNN_TYPE_DATA_TYPE:
    case LT_DNN_TYPE_HEUR_MODE:
    case LT_DNN_TYPE_KNOB_TYPE:
    case LT_DNN_TYPE_NUMERICAL_NOTE:
        return sizeof(int);
    default:
        return sizeof(int64_t);
    }
}

/* ---- the library's functions ---- */

API size_t cudnnGetVersion(void);
API size_t cudnnGetVersion(void)
{
    const char *version = getenv("LT_EMU_CUDNN_VERSION");
    return version != NULL ? strtoul(version, NULL, 10) : 91900;
}

API size_t cudnnGetCudartVersion(void);
API size_t cudnnGetCudartVersion(void)
{
    const char *version = getenv("LT_EMU_CUDNN_CUDA");
    return version != NULL ? strtoul(version, NULL, 10) : 13010;
}

API const char *cudnnGetErrorString(int status);
API const char *cudnnGetErrorString(int status)
{
    return status == 0               ? "CUDNN_STATUS_SUCCESS"
           : status == BAD_PARAM     ? "CUDNN_STATUS_BAD_PARAM"
           : status == NOT_SUPPORTED ? "CUDNN_STATUS_NOT_SUPPORTED"
                                     : "CUDNN_STATUS_NOT_INITIALIZED";
}

API void cudnnGetLastErrorString(char *message, size_t bytes);
API void cudnnGetLastErrorString(char *message, size_t bytes)
{
    if (bytes > 0)
        (void)snprintf(message, bytes, "%s", last_error);
}

API int cudnnCreate(void **out);
API int cudnnCreate(void **out)
{
    enum { NOT_INITIALIZED = 1001 };
    handle *h = calloc(1, sizeof *h);
    if (h == NULL || is_mode("create")) {
        free(h);
        return NOT_INITIALIZED;
    }
    h->is_handle = 1;
    standin.handles++;
    *out = h;
    return 0;
}

API int cudnnDestroy(void *of_handle);
API int cudnnDestroy(void *of_handle)
{
    standin.handles--;
    free(of_handle);
    return 0;
}

API int cudnnSetStream(void *of_handle, void *stream);
API int cudnnSetStream(void *of_handle, void *stream)
{
    handle *h = of_handle;
    if (h == NULL || !h->is_handle)
        return refuse(BAD_PARAM, "a stream for no handle");
    h->stream = stream;
    h->has_stream = 1;
    return 0;
}

API int cudnnBackendCreateDescriptor(int type, void **out);
API int cudnnBackendCreateDescriptor(int type, void **out)
{
    static const int known[] = {
        LT_DNN_ENGINE, LT_DNN_ENGINECFG,    LT_DNN_ENGINEHEUR, LT_DNN_PLAN,     LT_DNN_KNOB_CHOICE,
        LT_DNN_GRAPH,  LT_DNN_VARIANT_PACK, LT_DNN_TENSOR,     LT_DNN_SDPA_FWD, LT_DNN_KNOB_INFO};
    size_t i = 0;
    while (i < sizeof known / sizeof *known && known[i] != type)
        i++;
    if (i == sizeof known / sizeof *known)
        return refuse(NOT_SUPPORTED, "no descriptor of kind %d here", type);
    descriptor *d = calloc(1, sizeof *d);
    if (d == NULL)
        abort();
    d->type = type;
    d->next = all;
    all = d;
    standin.descriptors++;
    *out = d;
    return 0;
}

API int cudnnBackendDestroyDescriptor(void *address);
API int cudnnBackendDestroyDescriptor(void *address)
{
    descriptor **at = &all;
    while (*at != NULL && *at != address)
        at = &(*at)->next;
    if (*at == NULL)
        return refuse(BAD_PARAM, "what is freed is no descriptor, or was freed before");
    descriptor *d = *at;
    *at = d->next;
    free(d);
    standin.descriptors--;
    return 0;
}

static int keep_values(descriptor *d, const attribute_row *row, int64_t count, const void *values)
{
    attribute *a = &d->set[d->count];
    const size_t size = size_of(row->type);
    *a = (attribute){.name = row->name, .count = count};
    for (int64_t i = 0; i < count; i++) {
        const char *value = (const char *)values + (size_t)i * size;
        int n;
        if (size == 1) {
            a->v.i[i] = *(const unsigned char *)value;
        } else if (size == sizeof n) {
            memcpy(&n, value, sizeof n);
            a->v.i[i] = n;
        } else {
            memcpy(&a->v.i[i], value, sizeof a->v.i[i]);
        }
        if (row->of < 0)
            continue;
        const descriptor *held = alive(a->v.p[i]);
        if (held == NULL || held->type != row->of || !held->is_final)
            return refuse(BAD_PARAM, "attribute %d of descriptor %d: want a final descriptor %d",
                          row->name, d->type, row->of);
    }
    d->count++;
    return 0;
}

API int cudnnBackendSetAttribute(void *address, int name, int type, int64_t count,
                                 const void *values);
API int cudnnBackendSetAttribute(void *address, int name, int type, int64_t count,
                                 const void *values)
{
    descriptor *d = alive(address);
    const attribute_row *row = NULL;
    if (d == NULL)
        return refuse(BAD_PARAM, "an attribute for no descriptor");
    for (int i = 0; i < ROWS; i++)
        if (rows[i].descriptor == d->type && rows[i].name == name)
            row = &rows[i];
    if (row == NULL)
        return refuse(NOT_SUPPORTED, "descriptor %d has no attribute %d", d->type, name);
    if (d->is_final || of(d, name) != NULL)
        return refuse(BAD_PARAM, "attribute %d of descriptor %d is set twice, or after its end",
                      name, d->type);
    if (row->type != type || count < row->least || count > row->most || values == NULL)
        return refuse(BAD_PARAM,
                      "attribute %d of descriptor %d: type %d, %lld values: want type %d, %lld to "
                      "%lld",
                      name, d->type, type, (long long)count, row->type, (long long)row->least,
                      (long long)row->most);
    return keep_values(d, row, count, values);
}

API int cudnnBackendFinalize(void *address);
API int cudnnBackendFinalize(void *address)
{
    descriptor *d = alive(address);
    if (d == NULL || d->is_final)
        return refuse(BAD_PARAM, "what ends is no descriptor, or has ended");
    for (int i = 0; i < ROWS; i++)
        if (rows[i].descriptor == d->type && rows[i].required && of(d, rows[i].name) == NULL)
            return refuse(BAD_PARAM, "descriptor %d ends without attribute %d", d->type,
                          rows[i].name);
    const int status = check_final(d);
    d->is_final = status == 0;
    standin.plans += status == 0 && d->type == LT_DNN_PLAN;
    return status;
}

/* ---- what can be asked ---- */

static void say(descriptor *d, int name, int64_t value)
{
    attribute *a = &d->set[d->count++];
    *a = (attribute){.name = name, .count = 1};
    a->v.i[0] = value;
}

/* values[i] is an empty descriptor of `kind`, which the answer fills. */
static descriptor *to_fill(void *const *values, int64_t i, int kind)
{
    descriptor *d = alive(values[i]);
    if (d == NULL || d->is_final || d->count > 0 || d->type != kind)
        return NULL;
    d->is_final = 1;
    return d;
}

/* A config as the heuristics propose it; its engine and choices are descriptors of our own. */
static void *made(int type)
{
    void *d = NULL;
    (void)cudnnBackendCreateDescriptor(type, &d);
    standin.descriptors--; /* the caller frees none of it */
    ((descriptor *)d)->is_final = 1;
    return d;
}

static void propose(descriptor *config, descriptor *graph, int64_t engine, int64_t kernel,
                    int64_t stream_k)
{
    descriptor *e = made(LT_DNN_ENGINE);
    say(e, LT_DNN_ENGINE_GLOBAL_INDEX, engine);
    say(e, LT_DNN_ENGINEHEUR_GRAPH, 0);
    e->set[1].v.p[0] = graph;
    say(config, LT_DNN_ENGINECFG_ENGINE, 0);
    config->set[0].v.p[0] = e;
    enum { KERNEL_CFG = 24 };
    const int64_t knob[] = {KERNEL_CFG, LT_DNN_KNOB_STREAM_K}, value[] = {kernel, stream_k};
    say(config, LT_DNN_ENGINECFG_KNOB_CHOICES, 0);
    config->set[1].count = stream_k >= 0 ? 2 : 1;
    for (int i = 0; i < config->set[1].count; i++) {
        descriptor *choice = made(LT_DNN_KNOB_CHOICE);
        say(choice, LT_DNN_KNOB_CHOICE_TYPE, knob[i]);
        say(choice, LT_DNN_KNOB_CHOICE_VALUE, value[i]);
        config->set[1].v.p[i] = choice;
    }
}

static int get_results(descriptor *d, int64_t room, int64_t *count, void **values)
{
    static const struct {
        int64_t engine, kernel, stream_k;
    } engines[] = {{7, 1, -1}, {9, 7, 1}, {8, 3, -1}};
    descriptor *graph = part(d, LT_DNN_ENGINEHEUR_GRAPH);
    *count = is_mode("no_engine") ? 1 : 3;
    for (int64_t i = 0; i < *count && i < room; i++) {
        descriptor *config = to_fill(values, i, LT_DNN_ENGINECFG);
        if (config == NULL || graph == NULL)
            return refuse(BAD_PARAM, "results: want empty engine configs, and the graph");
        propose(config, graph, engines[i].engine, engines[i].kernel, engines[i].stream_k);
    }
    return 0;
}

/* Values that are descriptors become copies in the caller's. */
static int get_copies(const attribute *a, int kind, int64_t room, int64_t *count, void **values)
{
    *count = a->count;
    for (int64_t i = 0; i < *count && i < room; i++) {
        const descriptor *from = alive(a->v.p[i]);
        descriptor *to = to_fill(values, i, kind);
        if (from == NULL || to == NULL)
            return refuse(BAD_PARAM, "want empty descriptors of kind %d", kind);
        memcpy(to->set, from->set, sizeof to->set);
        to->count = from->count;
    }
    return 0;
}

static int get_knob_infos(descriptor *engine, int64_t room, int64_t *count, void **values)
{
    static const int64_t knobs[] = {24, LT_DNN_KNOB_STREAM_K};
    *count = number(engine, LT_DNN_ENGINE_GLOBAL_INDEX, 0) == 9 ? 2 : 1;
    for (int64_t i = 0; i < *count && i < room; i++) {
        descriptor *info = to_fill(values, i, LT_DNN_KNOB_INFO);
        if (info == NULL)
            return refuse(BAD_PARAM, "want empty descriptors of knobs");
        say(info, LT_DNN_KNOB_INFO_TYPE, knobs[i]);
    }
    return 0;
}

static int get_number(descriptor *d, int name, int type, int64_t *count, void *value)
{
    const attribute *a = of(d, name);
    int64_t found = a != NULL ? a->v.i[0] : 0;
    if (d->type == LT_DNN_PLAN && name == LT_DNN_PLAN_WORKSPACE_SIZE)
        found = workspace_of(part(d, LT_DNN_PLAN_ENGINECFG));
    else if (a == NULL)
        return refuse(NOT_SUPPORTED, "descriptor %d has no attribute %d to get", d->type, name);
    *count = 1;
    const int small = (int)found;
    if (size_of(type) == sizeof small)
        memcpy(value, &small, sizeof small);
    else
        memcpy(value, &found, sizeof found);
    return 0;
}

API int cudnnBackendGetAttribute(const void *address, int name, int type, int64_t room,
                                 int64_t *count, void *values);
API int cudnnBackendGetAttribute(const void *address, int name, int type, int64_t room,
                                 int64_t *count, void *values)
{
    static const struct {
        int descriptor, name, type;
    } can[] = {{LT_DNN_ENGINEHEUR, LT_DNN_ENGINEHEUR_RESULTS, LT_DNN_TYPE_DESCRIPTOR},
               {LT_DNN_ENGINECFG, LT_DNN_ENGINECFG_ENGINE, LT_DNN_TYPE_DESCRIPTOR},
               {LT_DNN_ENGINECFG, LT_DNN_ENGINECFG_KNOB_CHOICES, LT_DNN_TYPE_DESCRIPTOR},
               {LT_DNN_ENGINE, LT_DNN_ENGINE_KNOB_INFO, LT_DNN_TYPE_DESCRIPTOR},
               {LT_DNN_ENGINE, LT_DNN_ENGINE_NUMERICAL_NOTE, LT_DNN_TYPE_NUMERICAL_NOTE},
               {LT_DNN_ENGINE, LT_DNN_ENGINE_GLOBAL_INDEX, LT_DNN_TYPE_INT64},
               {LT_DNN_KNOB_INFO, LT_DNN_KNOB_INFO_TYPE, LT_DNN_TYPE_KNOB_TYPE},
               {LT_DNN_KNOB_CHOICE, LT_DNN_KNOB_CHOICE_TYPE, LT_DNN_TYPE_KNOB_TYPE},
               {LT_DNN_KNOB_CHOICE, LT_DNN_KNOB_CHOICE_VALUE, LT_DNN_TYPE_INT64},
               {LT_DNN_PLAN, LT_DNN_PLAN_WORKSPACE_SIZE, LT_DNN_TYPE_INT64}};
    descriptor *d = alive(address);
    size_t i = 0;
    if (d == NULL || !d->is_final || room < 1 || count == NULL || values == NULL)
        return refuse(BAD_PARAM, "attribute %d is asked of no final descriptor", name);
    while (i < sizeof can / sizeof *can &&
           (can[i].descriptor != d->type || can[i].name != name || can[i].type != type))
        i++;
    if (i == sizeof can / sizeof *can)
        return refuse(NOT_SUPPORTED, "descriptor %d: attribute %d of type %d cannot be asked",
                      d->type, name, type);
    if (name == LT_DNN_ENGINEHEUR_RESULTS)
        return get_results(d, room, count, values);
    if (name == LT_DNN_ENGINE_KNOB_INFO)
        return get_knob_infos(d, room, count, values);
    if (name == LT_DNN_ENGINECFG_ENGINE)
        return get_copies(of(d, name), LT_DNN_ENGINE, room, count, values);
    if (name == LT_DNN_ENGINECFG_KNOB_CHOICES)
        return get_copies(of(d, name), LT_DNN_KNOB_CHOICE, room, count, values);
    if (name == LT_DNN_ENGINE_NUMERICAL_NOTE) {
        const int notes[] = {0, LT_DNN_NOTE_NONDETERMINISTIC};
        *count = number(d, LT_DNN_ENGINE_GLOBAL_INDEX, 0) == 7 ? 2 : 1;
        memcpy(values, notes, sizeof *notes * (size_t)(*count < room ? *count : room));
        return 0;
    }
    return get_number(d, name, type, count, values);
}

API int cudnnBackendExecute(void *of_handle, void *of_plan, void *of_pack);
API int cudnnBackendExecute(void *of_handle, void *of_plan, void *of_pack)
{
    handle *h = of_handle;
    descriptor *plan = alive(of_plan), *pack = alive(of_pack);
    if (h == NULL || !h->is_handle || plan == NULL || plan->type != LT_DNN_PLAN ||
        !plan->is_final || pack == NULL || pack->type != LT_DNN_VARIANT_PACK || !pack->is_final)
        return refuse(BAD_PARAM, "a run wants a handle, a plan and a variant pack, both final");
    if (!h->has_stream)
        return refuse(BAD_PARAM, "a run on a handle that has no stream");
    if (of(plan, LT_DNN_PLAN_HANDLE)->v.p[0] != h)
        return refuse(BAD_PARAM, "a run on another handle than the plan's");
    standin.executions++;
    return run_attention(h, plan, pack);
}

__attribute__((destructor)) static void write_log(void)
{
    const char *path = getenv("LT_EMU_CUDNN_LOG");
    FILE *f = path != NULL ? fopen(path, "a") : NULL;
    if (f == NULL)
        return;
    (void)fprintf(f,
                  "plans %ld, runs %ld, left: descriptors %ld, handles %ld; engine %lld, stream_k "
                  "%lld, refused %ld\n",
                  standin.plans, standin.executions, standin.descriptors, standin.handles,
                  (long long)standin.engine, (long long)standin.stream_k, standin.refused);
    (void)fclose(f);
}
