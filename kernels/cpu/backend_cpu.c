/* backend_cpu.c - the table of the fast backend: host memory, ops done at once.
 *                                                                      Level 1: kernels */
#include <assert.h>
#include <omp.h>
#include <stdlib.h>

#include "kernels/cpu/cpu.h"

typedef struct cpu_queue {
    lt_queue base;
    uint64_t seq;
} cpu_queue;

static lt_status cpu_open(int device, int threads)
{
    (void)device;
    if (threads < 1 || threads > 1024)
        LT_FAIL(LT_EUNAVAIL, "cpu: threads = %d: want 1 to 1024", threads);
    omp_set_dynamic(0); /* a team is as large as asked for */
    lt_cpu_threads_set(threads);
    return LT_OK;
}

static void cpu_close(void) { lt_cpu_scratch_free(); }

static lt_status cpu_queue_open(lt_queue_kind kind, lt_queue **out)
{
    cpu_queue *q = calloc(1, sizeof *q);
    if (q == NULL)
        LT_FAIL(LT_ENOMEM, "cpu: no memory for a queue");
    q->base = (lt_queue){&lt_backend_cpu, kind};
    *out = &q->base;
    return LT_OK;
}

static void cpu_queue_close(lt_queue **queue)
{
    free(*queue);
    *queue = NULL;
}

/* Both directions: the device tensor's rows may lie apart, the host's are dense. */
static lt_status cpu_upload(lt_queue *q, const lt_tensor *to, const void *from)
{
    (void)q;
    const size_t width = (size_t)lt_row_width(to) * lt_dtype_bytes(to->dtype);
    const size_t stride = (size_t)to->row_stride * lt_dtype_bytes(to->dtype);
    for (int64_t r = 0; width > 0 && r < lt_row_count(to); r++)
        memcpy((char *)to->data + (size_t)r * stride, (const char *)from + (size_t)r * width,
               width);
    return LT_OK;
}

static lt_status cpu_download(lt_queue *q, void *to, const lt_tensor *from)
{
    (void)q;
    const size_t width = (size_t)lt_row_width(from) * lt_dtype_bytes(from->dtype);
    const size_t stride = (size_t)from->row_stride * lt_dtype_bytes(from->dtype);
    for (int64_t r = 0; width > 0 && r < lt_row_count(from); r++)
        memcpy((char *)to + (size_t)r * width, (const char *)from->data + (size_t)r * stride,
               width);
    return LT_OK;
}

static lt_status cpu_mark(lt_queue *q, lt_event *event)
{
    *event = (lt_event){q, ++((cpu_queue *)q)->seq};
    return LT_OK;
}

static lt_status cpu_wait(lt_queue *q, const lt_event *event)
{
    (void)q, (void)event; /* what was submitted before it has happened */
    return LT_OK;
}

static lt_status cpu_sync(lt_queue *q)
{
    (void)q;
    return LT_OK;
}

static const lt_kernel kernels[LT_OP_COUNT] = {
    [LT_OP_LINEAR] = lt_cpu_linear,       [LT_OP_CONV] = lt_cpu_conv,
    [LT_OP_COPY] = lt_cpu_rows,           [LT_OP_FILL] = lt_cpu_rows,
    [LT_OP_AXPBY] = lt_cpu_rows,          [LT_OP_MUL] = lt_cpu_rows,
    [LT_OP_SCALE_ADD] = lt_cpu_rows,      [LT_OP_ACTIVATION] = lt_cpu_rows,
    [LT_OP_CLAMP] = lt_cpu_rows,          [LT_OP_RMS_NORM] = lt_cpu_rows,
    [LT_OP_LAYER_NORM] = lt_cpu_rows,     [LT_OP_GROUP_NORM] = lt_cpu_group_norm,
    [LT_OP_NORM_MODULATE] = lt_cpu_rows,  [LT_OP_GATE_ADD] = lt_cpu_rows,
    [LT_OP_SWIGLU] = lt_cpu_rows,         [LT_OP_HEAD_NORM_ROPE] = lt_cpu_rows,
    [LT_OP_ATTENTION] = lt_cpu_attention, [LT_OP_ATTENTION_MERGE] = lt_cpu_rows,
    [LT_OP_GATHER_ROWS] = lt_cpu_rows,    [LT_OP_SCATTER_ROWS] = lt_cpu_rows,
    [LT_OP_SUM_PARTS] = lt_cpu_rows,      [LT_OP_PAD_REFLECT] = lt_cpu_pad_reflect,
    [LT_OP_SNAKE] = lt_cpu_rows,          [LT_OP_SNAKE_AA] = lt_cpu_snake_aa,
};

static lt_status cpu_submit(lt_queue *q, const lt_op *op)
{
    (void)q;
    assert(op->kind >= 0 && op->kind < LT_OP_COUNT);
    return kernels[op->kind](op);
}

const lt_backend lt_backend_cpu = {
    .api = LT_BACKEND_API,
    .name = "cpu",
    .memory = &lt_memory_host,
    .host_access = 1,
    .open = cpu_open,
    .close = cpu_close,
    .queue_open = cpu_queue_open,
    .queue_close = cpu_queue_close,
    .upload = cpu_upload,
    .download = cpu_download,
    .mark = cpu_mark,
    .wait = cpu_wait,
    .sync = cpu_sync,
    .linear_bytes = lt_cpu_linear_bytes,
    .linear_prepare = lt_cpu_linear_prepare,
    .linear_release = lt_cpu_linear_release,
    .conv_bytes = lt_cpu_conv_bytes,
    .conv_prepare = lt_cpu_conv_prepare,
    .conv_release = lt_cpu_conv_release,
    .submit = cpu_submit,
    .kernels = kernels,
};
