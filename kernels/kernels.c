/* kernels.c - the checked ops: memory, prepared layers, attention.
 *
 * A checked op does three things: it checks its arguments by the contract of kernels.h, writes
 * the call down as an lt_op, and hands that to the queue's backend. Backends rely on the checks and
 * repeat none. Rows are in kernels_rows.c, video and audio in kernels_media.c. */
#include "kernels/kernels.h"

#include <assert.h>

#include "kernels/check.h"

lt_status lt_upload(lt_queue *q, const lt_tensor *to, const void *from)
{
    LT_TRY(lt_check_rows("upload", "to", to, ~0u, LT_ANY, LT_ANY));
    if (lt_elements(to) == 0)
        return LT_OK;
    assert(from != NULL || q->backend->is_dry);
    return q->backend->upload(q, to, from);
}

lt_status lt_download(lt_queue *q, void *to, const lt_tensor *from)
{
    LT_TRY(lt_check_rows("download", "from", from, ~0u, LT_ANY, LT_ANY));
    if (lt_elements(from) == 0)
        return LT_OK;
    assert(to != NULL || q->backend->is_dry);
    return q->backend->download(q, to, from);
}

lt_status lt_mark_event(lt_queue *q, lt_event *event) { return q->backend->mark(q, event); }

lt_status lt_wait(lt_queue *q, const lt_event *event)
{
    if (event->queue == NULL)
        return LT_OK;
    assert(event->queue->backend == q->backend);
    return q->backend->wait(q, event);
}

lt_status lt_sync(lt_queue *q) { return q->backend->sync(q); }

lt_status lt_host(lt_queue *q, lt_host_fn fn, const void *work, size_t bytes)
{
    assert(fn != NULL && (work != NULL || bytes == 0));
    return q->backend->host(q, fn, work, bytes);
}

uint64_t lt_queue_done(const lt_queue *q) { return q->backend->done(q); }

void lt_cancel(lt_queue *q) { q->backend->cancel(q); }

/* ---- prepared layers ---- */

enum { ELEMENTS_BITS_MAX = 60 }; /* of a layer's weights: their bytes still fit an int64_t */

static lt_status check_arena(const char *op, const char *name, const lt_backend *backend,
                             const lt_arena *arena)
{
    assert(backend != NULL && arena != NULL);
    if (backend->memory->host != lt_arena_is_host(arena))
        LT_FAIL(LT_EINTERNAL, "%s: %s: the arena is not of the backend %s", op, name,
                backend->name);
    return LT_OK;
}

/* The product of count dims stays within ELEMENTS_BITS_MAX; dims are at least `least`. */
static lt_status check_product(const char *op, const char *name, const int64_t *dim, int count,
                               int64_t least)
{
    int64_t product = 1;
    for (int i = 0; i < count; i++) {
        if (dim[i] < least)
            LT_FAIL(LT_ESHAPE, "%s: %s: size %d: want %lld or more, found %lld", op, name, i,
                    (long long)least, (long long)dim[i]);
        if (dim[i] > 0 && product > ((int64_t)1 << ELEMENTS_BITS_MAX) / dim[i])
            LT_FAIL(LT_ESHAPE, "%s: %s: want at most 2^%d weights, found more", op, name,
                    ELEMENTS_BITS_MAX);
        product *= dim[i] > 0 ? dim[i] : 1;
    }
    return LT_OK;
}

lt_status lt_linear_prepare(const lt_backend *backend, lt_arena *arena, const char *name,
                            const lt_linear_spec *spec, lt_linear **out)
{
    const char *op = "linear_prepare";
    LT_TRY(check_arena(op, name, backend, arena));
    LT_TRY(check_product(op, name, (const int64_t[2]){spec->in, spec->out}, 2, 0));
    if (spec->weights_dtype != LT_F32 && spec->weights_dtype != LT_BF16)
        LT_FAIL(LT_ESHAPE, "%s: %s: weights: want F32 or BF16, found %s", op, name,
                lt_dtype_name(spec->weights_dtype));
    if (spec->compute != LT_F32 && spec->compute != LT_BF16)
        LT_FAIL(LT_ESHAPE, "%s: %s: compute: want F32 or BF16, found %s", op, name,
                lt_dtype_name(spec->compute));
    if (spec->weights != NULL && (spec->bias != NULL) != (spec->has_bias != 0))
        LT_FAIL(LT_ESHAPE, "%s: %s: bias: has_bias says %d, found %s", op, name, spec->has_bias,
                spec->bias != NULL ? "one" : "none");
    void *memory = NULL;
    LT_TRY(lt_arena_alloc(arena, name, backend->linear_bytes(spec), &memory));
    LT_TRY(backend->linear_prepare(spec, memory, out));
    (*out)->backend = backend;
    return LT_OK;
}

void lt_linear_free(lt_linear **linear)
{
    if (*linear != NULL)
        (*linear)->backend->linear_release(linear);
    *linear = NULL;
}

lt_status lt_conv_prepare(const lt_backend *backend, lt_arena *arena, const char *name,
                          const lt_conv_spec *spec, lt_conv **out)
{
    const char *op = "conv_prepare";
    const int64_t sizes[5] = {spec->in, spec->out, spec->kernel[0], spec->kernel[1],
                              spec->kernel[2]};
    LT_TRY(check_arena(op, name, backend, arena));
    LT_TRY(check_product(op, name, sizes, 5, 1));
    for (int i = 0; i < 3; i++)
        if (spec->stride[i] < 1 || spec->dilation[i] < 1 || spec->pad_before[i] < 0 ||
            spec->pad_after[i] < 0)
            LT_FAIL(LT_ESHAPE,
                    "%s: %s: axis %d: want stride and dilation 1 or more, pads 0 or more, found "
                    "%lld, %lld, %lld, %lld",
                    op, name, i, (long long)spec->stride[i], (long long)spec->dilation[i],
                    (long long)spec->pad_before[i], (long long)spec->pad_after[i]);
    if (spec->weights != NULL && (spec->bias != NULL) != (spec->has_bias != 0))
        LT_FAIL(LT_ESHAPE, "%s: %s: bias: has_bias says %d, found %s", op, name, spec->has_bias,
                spec->bias != NULL ? "one" : "none");
    void *memory = NULL;
    LT_TRY(lt_arena_alloc(arena, name, backend->conv_bytes(spec), &memory));
    LT_TRY(backend->conv_prepare(spec, memory, out));
    (*out)->backend = backend;
    return LT_OK;
}

void lt_conv_free(lt_conv **conv)
{
    if (*conv != NULL)
        (*conv)->backend->conv_release(conv);
    *conv = NULL;
}

lt_status lt_linear_apply(lt_queue *q, const lt_linear *w, const lt_tensor *x,
                          lt_activation activation, lt_tensor *y)
{
    assert(w != NULL && w->backend == q->backend);
    LT_TRY(lt_check_rows("linear", "x", x, LT_SET(w->compute), LT_ANY, w->in));
    LT_TRY(lt_check_rows("linear", "y", y, LT_SET_ACT, lt_row_count(x), w->out));
    const lt_op op = {
        .kind = LT_OP_LINEAR, .in = {*x}, .out = {*y}, .linear = w, .activation = activation};
    return lt_check_submit(q, &op);
}

lt_status lt_conv_apply(lt_queue *q, const lt_conv *w, const lt_tensor *x, lt_tensor *y)
{
    assert(w != NULL && w->backend == q->backend);
    const lt_conv_spec *spec = &w->spec;
    LT_TRY(lt_check_dense("conv", "x", x, LT_SET_F32, LT_ANY, spec->in));
    if (x->ndim != 5)
        LT_FAIL(LT_ESHAPE, "conv: x: want [B, T, H, W, %lld], found %d dims", (long long)spec->in,
                x->ndim);
    int64_t length[3];
    for (int i = 0; i < 3; i++) {
        length[i] = lt_conv_length(spec, i, x->dim[1 + i]);
        if (length[i] < 1 && x->dim[0] > 0)
            LT_FAIL(LT_ESHAPE, "conv: x: axis %d: want enough for one output cell, found %lld", i,
                    (long long)x->dim[1 + i]);
        if (length[i] < 0)
            length[i] = 0;
    }
    LT_TRY(lt_check_dims("conv", "y", y, LT_SET_F32,
                         LT_DIMS(x->dim[0], length[0], length[1], length[2], spec->out)));
    const lt_op op = {.kind = LT_OP_CONV, .in = {*x}, .out = {*y}, .conv = w};
    return lt_check_submit(q, &op);
}

/* ---- attention ---- */

lt_status lt_attention(lt_queue *q, const lt_tensor *qx, const lt_tensor *k, const lt_tensor *v,
                       int64_t heads, int64_t kv_heads, float scale, int causal, int64_t q_first,
                       lt_tensor *y, lt_tensor *lse)
{
    LT_TRY(lt_check_rows("attention", "q", qx, LT_SET_ACT, LT_ANY, LT_ANY));
    const unsigned same = LT_SET(qx->dtype);
    const int64_t queries = lt_row_count(qx), width = lt_row_width(qx);
    LT_TRY(lt_check_rows("attention", "y", y, same | LT_SET_F32, queries, width));
    if (heads < 0 || kv_heads < 0 || (heads > 0 && (kv_heads == 0 || heads % kv_heads != 0)))
        LT_FAIL(LT_ESHAPE, "attention: heads: want a multiple of kv_heads, found %lld and %lld",
                (long long)heads, (long long)kv_heads);
    if (heads == 0 ? width != 0 : width % heads != 0)
        LT_FAIL(LT_ESHAPE, "attention: q: want a width of whole heads, found %lld for %lld heads",
                (long long)width, (long long)heads);
    const int64_t kv_width = heads == 0 ? LT_ANY : width / heads * kv_heads;
    LT_TRY(lt_check_rows("attention", "k", k, same, LT_ANY, kv_width));
    LT_TRY(lt_check_rows("attention", "v", v, same, lt_row_count(k), kv_width));
    if (lse != NULL)
        LT_TRY(lt_check_dims("attention", "lse", lse, LT_SET_F32, LT_DIMS(heads, queries)));
    lt_op op = {.kind = LT_OP_ATTENTION,
                .in = {*qx, *k, *v},
                .out = {*y},
                .heads = heads,
                .kv_heads = kv_heads,
                .a = scale,
                .causal = causal != 0,
                .q_first = q_first};
    if (lse != NULL)
        op.out[1] = *lse;
    return lt_check_submit(q, &op);
}

lt_status lt_attention_merge(lt_queue *q, const lt_tensor *y2, const lt_tensor *lse2, int64_t heads,
                             lt_tensor *y, lt_tensor *lse)
{
    const char *name = "attention_merge";
    LT_TRY(lt_check_rows(name, "y", y, LT_SET_F32, LT_ANY, LT_ANY));
    const int64_t queries = lt_row_count(y), width = lt_row_width(y);
    if (heads < 0 || (heads == 0 ? width != 0 : width % heads != 0))
        LT_FAIL(LT_ESHAPE, "%s: y: want a width of whole heads, found %lld for %lld heads", name,
                (long long)width, (long long)heads);
    LT_TRY(lt_check_rows(name, "y2", y2, LT_SET_ACT, queries, width));
    LT_TRY(lt_check_dims(name, "lse2", lse2, LT_SET_F32, LT_DIMS(heads, queries)));
    LT_TRY(lt_check_dims(name, "lse", lse, LT_SET_F32, LT_DIMS(heads, queries)));
    const lt_op op = {
        .kind = LT_OP_ATTENTION_MERGE, .in = {*y2, *lse2}, .out = {*y, *lse}, .heads = heads};
    return lt_check_submit(q, &op);
}
