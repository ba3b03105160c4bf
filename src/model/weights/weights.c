/* weights.c - from named tensors to prepared layers of an engine.
 *
 * One layer at a time: its rows and columns are read into one host buffer that is used again for
 * the next, already in the dtype that the backend packs from, and packed. So loading needs the
 * part's packed size and the largest layer, never two copies of a part. What was prepared is kept
 * in one list and undone backwards. The buffer may be used again only when the device has taken
 * what lay in it: a copy is waited for at once, which on the CPU costs nothing. */
#include "model/weights/weights.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/shard.h"

enum { NAME_BYTES = 512 };

typedef enum kept_kind { KEPT_LINEAR, KEPT_CONV, KEPT_MEMORY } kept_kind;
typedef struct kept {
    kept_kind kind;
    void *p;
} kept;

struct lt_weights {
    lt_checkpoint *checkpoint;
    lt_engine *engine;
    lt_dtype compute;
    int dry;
    lt_loading *loading; /* NULL: alone */
    lt_mark mark;        /* of the arena phase at open */
    lt_arena *arena;     /* that layers and tensors come from */
    char *staging;
    size_t staging_bytes, staging_bytes_max;
    int converts; /* dry: the checkpoint's buffer is counted */
    kept *kept;
    size_t kept_count, kept_room;
};

lt_status lt_weights_open(lt_checkpoint *checkpoint, lt_engine *engine, lt_dtype compute,
                          lt_weights **out)
{
    assert(engine != NULL && (compute == LT_F32 || compute == LT_BF16));
    lt_weights *w = calloc(1, sizeof *w);
    *out = NULL;
    if (w == NULL)
        LT_FAIL(LT_ENOMEM, "weights: no memory");
    w->checkpoint = checkpoint;
    w->engine = engine;
    w->compute = compute;
    w->dry = engine->backend->is_dry;
    w->mark = lt_arena_mark(engine->phase);
    w->arena = engine->phase;
    *out = w;
    return LT_OK;
}

void lt_weights_rest(lt_weights *w)
{
    if (w->dry)
        lt_dry_host(-(int64_t)w->staging_bytes - (w->converts ? LT_CHECKPOINT_BUFFER_BYTES : 0));
    w->converts = 0;
    free(w->staging);
    w->staging = NULL;
    w->staging_bytes = 0;
    if (w->checkpoint != NULL)
        lt_checkpoint_rest(w->checkpoint);
}

void lt_weights_close(lt_weights **weights)
{
    lt_weights *w = *weights;
    if (w == NULL)
        return;
    lt_queue *const queues[] = {w->engine->compute, w->engine->comm, w->engine->copy};
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++)
        if (queues[i] != NULL)
            (void)lt_sync(queues[i]); /* queued work may still read a layer; its error was reported
                                         where it arose */
    while (w->kept_count > 0) {
        kept *k = &w->kept[--w->kept_count];
        if (k->kind == KEPT_LINEAR)
            lt_linear_free((lt_linear **)&k->p);
        else if (k->kind == KEPT_CONV)
            lt_conv_free((lt_conv **)&k->p);
        else
            free(k->p);
    }
    if (lt_arena_used(w->engine->phase) > w->mark.used)
        lt_arena_release(w->engine->phase, w->mark);
    lt_weights_rest(w);
    free(w->kept);
    free(w);
    *weights = NULL;
}

lt_engine *lt_weights_engine(const lt_weights *weights) { return weights->engine; }
lt_checkpoint *lt_weights_checkpoint(const lt_weights *weights) { return weights->checkpoint; }
void lt_weights_into(lt_weights *weights, lt_arena *arena)
{
    weights->arena = arena != NULL ? arena : weights->engine->phase;
}

int lt_weights_is_dry(const lt_weights *weights) { return weights->dry; }
void lt_weights_load_with(lt_weights *weights, lt_loading *loading) { weights->loading = loading; }
size_t lt_weights_staging_bytes(const lt_weights *weights) { return weights->staging_bytes_max; }

/* ---- what is kept until close ---- */

/* Room for one more is made before the thing itself, so that keeping it cannot fail. */
static lt_status keep_room(lt_weights *w)
{
    if (w->kept_count < w->kept_room)
        return LT_OK;
    const size_t room = w->kept_room > 0 ? 2 * w->kept_room : 256;
    kept *more = realloc(w->kept, room * sizeof *more);
    if (more == NULL)
        LT_FAIL(LT_ENOMEM, "weights: no memory for a list of %zu", room);
    w->kept = more;
    w->kept_room = room;
    return LT_OK;
}

static void keep(lt_weights *w, kept_kind kind, void *p)
{
    assert(w->kept_count < w->kept_room);
    w->kept[w->kept_count++] = (kept){kind, p};
}

/* Arenas remember names by address: a caller's buffer would not live long enough. */
static lt_status keep_name(lt_weights *w, const char *name, const char **out)
{
    LT_TRY(keep_room(w));
    char *copy = strdup(name);
    if (copy == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for its name", name);
    keep(w, KEPT_MEMORY, copy);
    *out = copy;
    return LT_OK;
}

/* At least bytes of host memory, of which only the size is noted on dry. */
static lt_status stage(lt_weights *w, const char *what, size_t bytes)
{
    if (bytes > w->staging_bytes_max)
        w->staging_bytes_max = bytes;
    if (bytes <= w->staging_bytes)
        return LT_OK;
    if (w->dry) {
        lt_dry_host((int64_t)bytes - (int64_t)w->staging_bytes);
        w->staging_bytes = bytes;
        return LT_OK;
    }
    free(w->staging);
    w->staging_bytes = 0;
    const size_t rounded = (bytes + 4095) / 4096 * 4096;
    w->staging = aligned_alloc(4096, rounded);
    if (w->staging == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu bytes to read it into", what, bytes);
    w->staging_bytes = rounded;
    return LT_OK;
}

/* ---- layers ---- */

lt_layer_spec lt_layer_whole(const lt_weights *weights, int64_t out, int64_t in, int bias)
{
    lt_layer_spec spec = {.out = out, .in = in, .bias = bias, .compute = weights->compute};
    spec.rows[0].count = out;
    spec.columns.count = in;
    return spec;
}

static int64_t rows_of(const lt_layer_spec *spec)
{
    return spec->rows[0].count + spec->rows[1].count;
}

static lt_status full_name(char out[NAME_BYTES], const char *name, const char *end)
{
    const int n = snprintf(out, NAME_BYTES, "%s%s", name, end);
    if (n < 0 || n >= NAME_BYTES)
        LT_FAIL(LT_EINTERNAL, "layer name %.80s... is too long", name);
    return LT_OK;
}

/* Presence, dims and kind of one layer's tensors. */
static lt_status check_layer(lt_weights *w, const char *name, const lt_layer_spec *spec)
{
    char full[NAME_BYTES];
    LT_TRY(full_name(full, name, ".weight"));
    LT_TRY(lt_checkpoint_load(w->checkpoint, full, LT_DIMS(spec->out, spec->in)));
    if (spec->bias || spec->bias_none) {
        LT_TRY(full_name(full, name, ".bias"));
        LT_TRY(lt_checkpoint_load(w->checkpoint, full, LT_DIMS(spec->out)));
    }
    return LT_OK;
}

/* A slice to host memory; on dry it is only counted. */
static lt_status fetch(lt_weights *w, const char *full, lt_dims dims, lt_slice slice, lt_dtype want,
                       void *to)
{
    lt_tensor_info info;
    if (w->dry && !w->converts && lt_checkpoint_find(w->checkpoint, full, &info) &&
        info.dtype != want) {
        lt_dry_host(LT_CHECKPOINT_BUFFER_BYTES);
        w->converts = 1;
    }
    if (w->dry)
        return lt_checkpoint_plan(w->checkpoint, full, dims, slice, want);
    return lt_checkpoint_read(w->checkpoint, full, dims, slice, want, to);
}

/* Some rows of a layer's bias; a bf16 model's is bf16 whatever the file holds. */
static lt_status read_bias(lt_weights *w, const char *name, const lt_layer_spec *spec,
                           lt_range rows, float *to)
{
    char full[NAME_BYTES];
    LT_TRY(full_name(full, name, ".bias"));
    LT_TRY(fetch(w, full, LT_DIMS(spec->out), (lt_slice){rows, {0, 1}}, LT_F32, to));
    for (int64_t i = 0; !w->dry && spec->compute == LT_BF16 && i < rows.count; i++)
        to[i] = lt_round_bf16(to[i]);
    return LT_OK;
}

/* One layer's rows into the staging buffer: weights at *at, bias at *bias_at; both move on. On dry
 * there is no buffer. */
static lt_status read_layer(lt_weights *w, const char *name, const lt_layer_spec *spec, char **at,
                            float **bias_at)
{
    char weight[NAME_BYTES];
    const size_t element_bytes = lt_dtype_bytes(spec->compute);
    LT_TRY(full_name(weight, name, ".weight"));
    for (int i = 0; i < 2; i++) {
        const int64_t rows = spec->rows[i].count;
        const lt_slice slice = {spec->rows[i], spec->columns};
        if (rows == 0)
            continue;
        LT_TRY(fetch(w, weight, LT_DIMS(spec->out, spec->in), slice, spec->compute, *at));
        if (spec->bias)
            LT_TRY(read_bias(w, name, spec, spec->rows[i], *bias_at));
        if (w->dry)
            continue;
        *at += (size_t)(rows * spec->columns.count) * element_bytes;
        if (!spec->bias)
            memset(*bias_at, 0, (size_t)rows * sizeof **bias_at);
        *bias_at += rows;
    }
    return LT_OK;
}

static lt_status prepare(lt_weights *w, const char *name, const lt_linear_spec *spec,
                         lt_linear **out)
{
    const char *kept_name = NULL;
    LT_TRY(keep_name(w, name, &kept_name));
    LT_TRY(keep_room(w));
    LT_TRY(lt_linear_prepare(w->engine->backend, w->arena, kept_name, spec, out));
    keep(w, KEPT_LINEAR, *out);
    return LT_OK;
}

lt_status lt_weights_linear_joined(lt_weights *weights, const char *const *names,
                                   const lt_layer_spec *specs, int count, lt_linear **out)
{
    assert(count > 0);
    lt_linear_spec whole = {.in = specs[0].columns.count, .compute = specs[0].compute};
    whole.weights_dtype = whole.compute;
    assert(whole.compute == LT_F32 || whole.compute == LT_BF16);
    *out = NULL;
    for (int i = 0; i < count; i++) {
        const lt_layer_spec *s = &specs[i];
        assert(s->columns.count == whole.in && s->compute == whole.compute);
        assert(s->columns.first >= 0 && s->columns.first <= s->in - s->columns.count);
        assert(!(s->bias && s->bias_none));
        LT_TRY(check_layer(weights, names[i], s));
        whole.out += rows_of(s);
        whole.has_bias |= s->bias;
    }
    /* The bias lies behind the weights, at a multiple of 64. */
    const size_t weight_bytes =
        ((size_t)(whole.out * whole.in) * lt_dtype_bytes(whole.compute) + 63) / 64 * 64;
    LT_TRY(stage(weights, names[0], weight_bytes + (size_t)whole.out * sizeof(float) + 64));
    char *at = weights->dry ? NULL : weights->staging;
    float *bias = weights->dry ? NULL : (float *)(void *)(weights->staging + weight_bytes);
    whole.weights = at;
    whole.bias = whole.has_bias ? bias : NULL;
    for (int i = 0; i < count; i++)
        LT_TRY(read_layer(weights, names[i], &specs[i], &at, &bias));
    LT_TRY(prepare(weights, names[0], &whole, out));
    return LT_OK;
}

lt_status lt_weights_linear(lt_weights *weights, const char *name, const lt_layer_spec *spec,
                            lt_linear **out)
{
    LT_TRY(lt_weights_linear_joined(weights, &name, spec, 1, out));
    return LT_OK;
}

/* ---- columns ---- */

/* Columns of a dense matrix, dense. */
static void take_columns(const char *from, int64_t rows, size_t pitch, size_t at, size_t bytes,
                         char *to)
{
    for (int64_t i = 0; i < rows; i++)
        memcpy(to + (size_t)i * bytes, from + (size_t)i * pitch + at, bytes);
}

/* Columns of all rows into the staging buffer. */
static lt_status read_columns(lt_weights *w, const char *name, const lt_layer_spec *spec)
{
    char full[NAME_BYTES];
    const lt_dims dims = LT_DIMS(spec->out, spec->in);
    const lt_range rows = {0, spec->out}, all = {0, spec->in};
    LT_TRY(full_name(full, name, ".weight"));
    if (w->loading != NULL && lt_group_size(w->loading->group) > 1) {
        if (!w->dry)
            return lt_columns_read(w->loading, w->checkpoint, full, dims, spec->columns,
                                   spec->compute, w->staging);
        const lt_slice mine = {lt_columns_rows(w->loading, dims), all};
        const int64_t blocks = lt_columns_bytes(dims, spec->compute);
        lt_dry_host(blocks); /* they come and go */
        lt_dry_host(-blocks);
        return lt_checkpoint_plan(w->checkpoint, full, dims, mine, spec->compute);
    }
    return fetch(w, full, dims, (lt_slice){rows, spec->columns}, spec->compute, w->staging);
}

lt_status lt_weights_linear_columns(lt_weights *weights, const char *name,
                                    const lt_layer_spec *spec, const lt_range *cut, int count,
                                    lt_linear **out)
{
    const lt_range columns = spec->columns, rows = {0, spec->out};
    const size_t element_bytes = lt_dtype_bytes(spec->compute);
    const size_t pitch = (size_t)columns.count * element_bytes;
    const size_t part_at = ((size_t)spec->out * pitch + 63) / 64 * 64;
    int64_t widest = 0;
    assert(columns.first >= 0 && columns.count >= 0 && columns.first <= spec->in - columns.count);
    assert(spec->rows[0].count == spec->out && spec->rows[1].count == 0);
    assert(!spec->bias || (count > 0 && cut[0].count > 0 && !spec->bias_none));
    for (int i = 0; i < count; i++) {
        out[i] = NULL;
        assert(cut[i].count == 0 || lt_overlap(cut[i], columns).count == cut[i].count);
        if (cut[i].count < columns.count) /* all of them need no place of their own */
            widest = cut[i].count > widest ? cut[i].count : widest;
    }
    const size_t bias_at = part_at + ((size_t)(spec->out * widest) * element_bytes + 63) / 64 * 64;
    LT_TRY(check_layer(weights, name, spec));
    LT_TRY(stage(weights, name, bias_at + (size_t)spec->out * sizeof(float) + 64));
    LT_TRY(read_columns(weights, name, spec));
    char *part = weights->dry ? NULL : weights->staging + part_at;
    float *bias = weights->dry ? NULL : (float *)(void *)(weights->staging + bias_at);
    if (spec->bias)
        LT_TRY(read_bias(weights, name, spec, rows, bias));
    for (int i = 0; i < count; i++) {
        const int whole = cut[i].count == columns.count, has_bias = spec->bias && i == 0;
        const lt_linear_spec one = {.in = cut[i].count,
                                    .out = spec->out,
                                    .weights = whole ? weights->staging : part,
                                    .weights_dtype = spec->compute,
                                    .bias = has_bias ? bias : NULL,
                                    .has_bias = has_bias,
                                    .compute = spec->compute};
        if (cut[i].count == 0)
            continue;
        if (!weights->dry && !whole)
            take_columns(weights->staging, spec->out, pitch,
                         (size_t)(cut[i].first - columns.first) * element_bytes,
                         (size_t)cut[i].count * element_bytes, part);
        LT_TRY(prepare(weights, name, &one, &out[i]));
    }
    return LT_OK;
}

lt_status lt_weights_linear_from(lt_weights *weights, const char *name, const lt_linear_spec *spec,
                                 lt_linear **out)
{
    LT_TRY(prepare(weights, name, spec, out));
    return LT_OK;
}

lt_status lt_weights_conv_from(lt_weights *weights, const char *name, const lt_conv_spec *spec,
                               lt_conv **out)
{
    const char *kept_name = NULL;
    LT_TRY(keep_name(weights, name, &kept_name));
    LT_TRY(keep_room(weights));
    LT_TRY(lt_conv_prepare(weights->engine->backend, weights->arena, kept_name, spec, out));
    keep(weights, KEPT_CONV, *out);
    return LT_OK;
}

/* ---- tensors ---- */

/* Copy from the host and wait until it is taken. */
static lt_status copy_up(lt_weights *w, const lt_tensor *to, const void *from)
{
    lt_queue *q = w->engine->copy != NULL ? w->engine->copy : w->engine->compute;
    LT_TRY(lt_upload(q, to, from));
    LT_TRY(lt_sync(q));
    return LT_OK;
}

lt_status lt_weights_tensor(lt_weights *weights, const char *name, lt_dims dims, lt_dtype dtype,
                            lt_tensor *out)
{
    const char *kept_name = NULL;
    LT_TRY(lt_checkpoint_load(weights->checkpoint, name, dims));
    LT_TRY(keep_name(weights, name, &kept_name));
    LT_TRY(lt_tensor_new(weights->arena, kept_name, dtype, out, dims));
    LT_TRY(stage(weights, name, lt_tensor_bytes(out)));
    if (lt_tensor_bytes(out) == 0)
        return LT_OK;
    LT_TRY(fetch(weights, name, dims, lt_slice_whole(dims), dtype, weights->staging));
    return weights->dry ? LT_OK : copy_up(weights, out, weights->staging);
}
