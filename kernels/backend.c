/* backend.c - opening backends, and the arithmetic they share. */
#include "kernels/backend.h"

#include <assert.h>

#include "kernels/check.h"

static const char *const op_names[LT_OP_COUNT] = {
    [LT_OP_LINEAR] = "linear",
    [LT_OP_CONV] = "conv",
    [LT_OP_COPY] = "copy",
    [LT_OP_FILL] = "fill",
    [LT_OP_AXPBY] = "axpby",
    [LT_OP_MUL] = "mul",
    [LT_OP_SCALE_ADD] = "scale_add",
    [LT_OP_ACTIVATION] = "activation",
    [LT_OP_CLAMP] = "clamp",
    [LT_OP_RMS_NORM] = "rms_norm",
    [LT_OP_LAYER_NORM] = "layer_norm",
    [LT_OP_GROUP_NORM] = "group_norm",
    [LT_OP_NORM_MODULATE] = "norm_modulate",
    [LT_OP_GATE_ADD] = "gate_add",
    [LT_OP_SWIGLU] = "swiglu",
    [LT_OP_HEAD_NORM_ROPE] = "head_norm_rope",
    [LT_OP_ATTENTION] = "attention",
    [LT_OP_ATTENTION_MERGE] = "attention_merge",
    [LT_OP_GATHER_ROWS] = "gather_rows",
    [LT_OP_SCATTER_ROWS] = "scatter_rows",
    [LT_OP_SUM_PARTS] = "sum_parts",
    [LT_OP_PAD_REFLECT] = "pad_reflect",
    [LT_OP_SNAKE] = "snake",
    [LT_OP_SNAKE_AA] = "snake_aa",
};

const char *lt_op_name(lt_op_kind kind)
{
    assert((int)kind >= 0 && kind < LT_OP_COUNT);
    return op_names[kind] != NULL ? op_names[kind] : "an op without a name in kernels/backend.c";
}

/* One list of what is missing, so that the author of an op sees all of it at once. */
typedef struct {
    char text[600];
    size_t used;
} missing_list;

static void missing(missing_list *list, int present, const char *name)
{
    if (present)
        return;
    const size_t left = sizeof list->text - list->used;
    const int n = snprintf(list->text + list->used, left, " %s", name);
    if (n > 0 && (size_t)n < left)
        list->used += (size_t)n;
}

lt_status lt_backend_check(const lt_backend *b)
{
    assert(b != NULL && b->name != NULL);
    missing_list list = {.used = 0};
    if (b->api != LT_BACKEND_API)
        LT_FAIL(LT_EINTERNAL, "backend %s: api: want %d, found %u", b->name, LT_BACKEND_API,
                b->api);
    missing(&list, b->memory != NULL && b->memory->alloc != NULL && b->memory->release != NULL,
            "memory");
    missing(&list, b->describe != NULL, "describe");
    missing(&list, b->open != NULL, "open");
    missing(&list, b->close != NULL, "close");
    missing(&list, b->queue_open != NULL, "queue_open");
    missing(&list, b->queue_close != NULL, "queue_close");
    missing(&list, b->upload != NULL, "upload");
    missing(&list, b->download != NULL, "download");
    missing(&list, b->mark != NULL, "mark");
    missing(&list, b->wait != NULL, "wait");
    missing(&list, b->sync != NULL, "sync");
    missing(&list, b->host != NULL, "host");
    missing(&list, b->done != NULL, "done");
    missing(&list, b->cancel != NULL, "cancel");
    missing(&list, b->linear_bytes != NULL, "linear_bytes");
    missing(&list, b->linear_prepare != NULL, "linear_prepare");
    missing(&list, b->linear_release != NULL, "linear_release");
    missing(&list, b->conv_bytes != NULL, "conv_bytes");
    missing(&list, b->conv_prepare != NULL, "conv_prepare");
    missing(&list, b->conv_release != NULL, "conv_release");
    missing(&list, b->op_scratch != NULL, "op_scratch");
    missing(&list, b->submit != NULL, "submit");
    for (int i = 0; b->kernels != NULL && i < LT_OP_COUNT; i++)
        missing(&list, b->kernels[i] != NULL, lt_op_name((lt_op_kind)i));
    if (list.used > 0)
        LT_FAIL(LT_EINTERNAL, "backend %s lacks:%s", b->name, list.text);
    return LT_OK;
}

lt_status lt_backend_open(const lt_backend *backend, int device, int threads)
{
    LT_TRY(lt_backend_check(backend));
    assert(threads >= 1);
    LT_TRY(backend->open(device, threads));
    return LT_OK;
}

int64_t lt_conv_length(const lt_conv_spec *spec, int axis, int64_t length)
{
    assert(axis >= 0 && axis < 3 && spec->stride[axis] >= 1);
    const int64_t reach = spec->dilation[axis] * (spec->kernel[axis] - 1) + 1;
    const int64_t pads = spec->pad_before[axis] + spec->pad_after[axis];
    if (length < 1)
        return 0;
    if (spec->transposed)
        return (length - 1) * spec->stride[axis] + reach - pads;
    if (length + pads < reach)
        return 0;
    return (length + pads - reach) / spec->stride[axis] + 1;
}
