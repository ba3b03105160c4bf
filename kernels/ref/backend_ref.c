/* backend_ref.c - the reference as a backend.
 * Host memory, one thread, every op done when submit returns. */
#include <stdlib.h>

#include "kernels/ref/ref.h"
#include "kernels/ref/values.h"

typedef struct {
    lt_queue base;
    uint64_t seq;
} ref_queue;

static lt_status ref_open(int device, int threads)
{
    (void)device, (void)threads;
    return LT_OK;
}

static void ref_close(void) {}

static lt_status ref_queue_open(lt_queue_kind kind, lt_queue **out)
{
    ref_queue *q = calloc(1, sizeof *q);
    if (q == NULL)
        LT_FAIL(LT_ENOMEM, "ref: no memory for a queue");
    q->base.backend = &lt_backend_ref;
    q->base.kind = kind;
    *out = &q->base;
    return LT_OK;
}

static void ref_queue_close(lt_queue **queue)
{
    free(*queue);
    *queue = NULL;
}

static lt_status ref_upload(lt_queue *q, const lt_tensor *to, const void *from)
{
    const size_t bytes = (size_t)lt_row_width(to) * lt_dtype_bytes(to->dtype);
    (void)q;
    for (int64_t s = 0; s < lt_row_count(to); s++)
        memcpy(lt_ref_row(to, s), (const char *)from + (size_t)s * bytes, bytes);
    return LT_OK;
}

static lt_status ref_download(lt_queue *q, void *to, const lt_tensor *from)
{
    const size_t bytes = (size_t)lt_row_width(from) * lt_dtype_bytes(from->dtype);
    (void)q;
    for (int64_t s = 0; s < lt_row_count(from); s++)
        memcpy((char *)to + (size_t)s * bytes, lt_ref_row(from, s), bytes);
    return LT_OK;
}

static lt_status ref_mark(lt_queue *q, lt_event *event)
{
    *event = (lt_event){q, ++((ref_queue *)q)->seq};
    return LT_OK;
}

static lt_status ref_wait(lt_queue *q, const lt_event *event)
{
    (void)q, (void)event; /* whatever was marked has happened */
    return LT_OK;
}

static lt_status ref_sync(lt_queue *q)
{
    (void)q;
    return LT_OK;
}

static lt_status ref_host(lt_queue *q, lt_host_fn fn, const void *work, size_t bytes)
{
    (void)q, (void)bytes;
    return fn((void *)(uintptr_t)work, NULL); /* at once: its copy is the caller's own */
}

static uint64_t ref_done(const lt_queue *q) { return ((const ref_queue *)q)->seq; }

static void ref_describe(int device, lt_device *out)
{
    lt_backend_cpu.describe(device, out);
    (void)snprintf(out->isa, sizeof out->isa, "plain");
    out->libraries[0] = '\0';
    out->has_bf16 = 0;
}

static void ref_cancel(lt_queue *q) { (void)q; }

static lt_status ref_submit(lt_queue *q, const lt_op *op)
{
    (void)q;
    assert(op->kind >= 0 && op->kind < LT_OP_COUNT);
    return lt_ref_kernels[op->kind](op);
}

const lt_kernel lt_ref_kernels[LT_OP_COUNT] = {
    [LT_OP_LINEAR] = lt_ref_linear,
    [LT_OP_CONV] = lt_ref_conv,
    [LT_OP_COPY] = lt_ref_copy,
    [LT_OP_FILL] = lt_ref_fill,
    [LT_OP_AXPBY] = lt_ref_axpby,
    [LT_OP_MUL] = lt_ref_mul,
    [LT_OP_SCALE_ADD] = lt_ref_scale_add,
    [LT_OP_ACTIVATION] = lt_ref_activation,
    [LT_OP_CLAMP] = lt_ref_clamp,
    [LT_OP_RMS_NORM] = lt_ref_rms_norm,
    [LT_OP_LAYER_NORM] = lt_ref_layer_norm,
    [LT_OP_GROUP_NORM] = lt_ref_group_norm,
    [LT_OP_NORM_MODULATE] = lt_ref_norm_modulate,
    [LT_OP_GATE_ADD] = lt_ref_gate_add,
    [LT_OP_SWIGLU] = lt_ref_swiglu,
    [LT_OP_HEAD_NORM_ROPE] = lt_ref_head_norm_rope,
    [LT_OP_ATTENTION] = lt_ref_attention,
    [LT_OP_ATTENTION_MERGE] = lt_ref_attention_merge,
    [LT_OP_GATHER_ROWS] = lt_ref_gather_rows,
    [LT_OP_SCATTER_ROWS] = lt_ref_scatter_rows,
    [LT_OP_SUM_PARTS] = lt_ref_sum_parts,
    [LT_OP_PAD_REFLECT] = lt_ref_pad_reflect,
    [LT_OP_SNAKE] = lt_ref_snake,
    [LT_OP_SNAKE_AA] = lt_ref_snake_aa,
};

/* A few rows that come and go with the call. */
static lt_scratch ref_op_scratch(const lt_op *op)
{
    (void)op;
    return (lt_scratch){0, 0};
}

const lt_backend lt_backend_ref = {
    .api = LT_BACKEND_API,
    .name = "ref",
    .memory = &lt_memory_host,
    .host_access = 1,
    .describe = ref_describe,
    .open = ref_open,
    .close = ref_close,
    .queue_open = ref_queue_open,
    .queue_close = ref_queue_close,
    .upload = ref_upload,
    .download = ref_download,
    .mark = ref_mark,
    .wait = ref_wait,
    .sync = ref_sync,
    .host = ref_host,
    .done = ref_done,
    .cancel = ref_cancel,
    .linear_bytes = lt_ref_linear_bytes,
    .linear_prepare = lt_ref_linear_prepare,
    .linear_release = lt_ref_linear_release,
    .conv_bytes = lt_ref_conv_bytes,
    .conv_prepare = lt_ref_conv_prepare,
    .conv_release = lt_ref_conv_release,
    .op_scratch = ref_op_scratch,
    .submit = ref_submit,
    .kernels = lt_ref_kernels,
};
