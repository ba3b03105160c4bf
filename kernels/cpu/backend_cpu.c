/* backend_cpu.c - the table of the fast backend: host memory, ops done at once.
 *
 * Compute and copy queues have finished an op when submit returns. The comm queue is the same until
 * its first host function; from then on it has a thread (comm_thread.h), which runs host functions
 * and all ops of the queue while the main thread computes. An op waits there until the next mark or
 * host function lets the thread begin. These ops are those of the row kernels, done by one thread;
 * they use no scratch. The comm queue may still read or write memory that an arena gives back, so
 * it must run to its end first. */
#include <assert.h>
#include <omp.h>
#include <stdlib.h>

#include "kernels/cpu/comm_thread.h"
#include "kernels/cpu/cpu.h"

typedef struct cpu_queue {
    lt_queue base;
    lt_comm_thread *host;   /* NULL: no work for the host came yet */
    struct cpu_queue *next; /* of those with a thread */
} cpu_queue;

static cpu_queue *with_thread;

static void cpu_discard(void *ctx, void *p, size_t bytes)
{
    (void)ctx, (void)p, (void)bytes;
    for (cpu_queue *q = with_thread; q != NULL; q = q->next)
        lt_comm_thread_drain(q->host);
}

static lt_status cpu_alloc(void *ctx, size_t bytes, void **out)
{
    return lt_memory_host.alloc(ctx, bytes, out);
}

static void cpu_release(void *ctx, void *p, size_t bytes)
{
    cpu_discard(ctx, p, bytes);
    lt_memory_host.release(ctx, p, bytes);
}

static const lt_memory cpu_memory = {
    .name = "host", .alloc = cpu_alloc, .release = cpu_release, .discard = cpu_discard, .host = 1};

static const lt_kernel kernels[LT_OP_COUNT];

/* An instruction set's table has a kernel for each op that goes by rows. */
static lt_status check_rows(const lt_cpu_isa *isa)
{
    for (int i = 0; i < LT_OP_COUNT; i++)
        if (kernels[i] == lt_cpu_rows && isa->rows[i] == NULL)
            LT_FAIL(LT_EINTERNAL, "cpu: %s has no kernel for %s (kernels/cpu/simd_table.inc)",
                    isa->name, lt_op_name((lt_op_kind)i));
    return LT_OK;
}

static lt_status cpu_open(int device, int threads)
{
    (void)device;
    if (threads < 1 || threads > 1024)
        LT_FAIL(LT_EUNAVAIL, "cpu: threads = %d: want 1 to 1024", threads);
    omp_set_dynamic(0); /* a team is as large as asked for */
    lt_cpu_threads_set(threads);
    return check_rows(lt_cpu_isa_now()); /* chosen before there is a second thread */
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
    cpu_queue *q = (cpu_queue *)*queue;
    if (q->host != NULL) {
        cpu_queue **at = &with_thread;
        while (*at != q)
            at = &(*at)->next;
        *at = q->next;
        lt_comm_thread_close(&q->host);
    }
    free(q);
    *queue = NULL;
}

/* Until all that q holds has run. */
static lt_status drain(const lt_queue *q)
{
    lt_comm_thread *host = ((const cpu_queue *)q)->host;
    return host != NULL ? lt_comm_thread_wait(host, lt_comm_thread_last(host)) : LT_OK;
}

/* Both directions: the device tensor's rows may lie apart, the host's are dense. */
static lt_status cpu_upload(lt_queue *q, const lt_tensor *to, const void *from)
{
    LT_TRY(drain(q));
    const size_t width = (size_t)lt_row_width(to) * lt_dtype_bytes(to->dtype);
    const size_t stride = (size_t)to->row_stride * lt_dtype_bytes(to->dtype);
    for (int64_t r = 0; width > 0 && r < lt_row_count(to); r++)
        memcpy((char *)to->data + (size_t)r * stride, (const char *)from + (size_t)r * width,
               width);
    return LT_OK;
}

static lt_status cpu_download(lt_queue *q, void *to, const lt_tensor *from)
{
    LT_TRY(drain(q));
    const size_t width = (size_t)lt_row_width(from) * lt_dtype_bytes(from->dtype);
    const size_t stride = (size_t)from->row_stride * lt_dtype_bytes(from->dtype);
    for (int64_t r = 0; width > 0 && r < lt_row_count(from); r++)
        memcpy((char *)to + (size_t)r * width, (const char *)from->data + (size_t)r * stride,
               width);
    return LT_OK;
}

static lt_status cpu_mark(lt_queue *q, lt_event *event)
{
    lt_comm_thread *host = ((cpu_queue *)q)->host;
    *event = (lt_event){q, host != NULL ? lt_comm_thread_last(host) : 0};
    if (host != NULL)
        lt_comm_thread_begin(host);
    return LT_OK;
}

/* What was submitted before it has happened, but for work that a thread runs. */
static lt_status cpu_wait(lt_queue *q, const lt_event *event)
{
    lt_comm_thread *host = ((cpu_queue *)event->queue)->host;
    return host != NULL && event->queue != q ? lt_comm_thread_wait(host, event->seq) : LT_OK;
}

static lt_status cpu_sync(lt_queue *q) { return drain(q); }

static lt_status cpu_host(lt_queue *queue, lt_host_fn fn, const void *work, size_t bytes)
{
    cpu_queue *q = (cpu_queue *)queue;
    if (queue->kind != LT_QUEUE_COMM)
        return fn((void *)(uintptr_t)work, NULL); /* at once: its copy is the caller's own */
    if (q->host == NULL) {
        LT_TRY(lt_comm_thread_open(lt_cpu_run_alone, &q->host));
        q->next = with_thread;
        with_thread = q;
    }
    LT_TRY(lt_comm_thread_push(q->host, fn, work, bytes));
    lt_comm_thread_begin(q->host);
    return LT_OK;
}

static uint64_t cpu_done(const lt_queue *q)
{
    const lt_comm_thread *host = ((const cpu_queue *)q)->host;
    return host != NULL ? lt_comm_thread_done(host) : 0;
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

static void cpu_cancel(lt_queue *q)
{
    if (((cpu_queue *)q)->host != NULL)
        lt_comm_thread_cancel(((cpu_queue *)q)->host);
}

lt_scratch lt_cpu_op_scratch(const lt_op *op)
{
    switch (op->kind) {
    case LT_OP_LINEAR:
        return lt_cpu_linear_scratch(op);
    case LT_OP_CONV:
        return (lt_scratch){0, LT_CPU_GEMM_SCRATCH * sizeof(float)};
    case LT_OP_ATTENTION:
        return lt_cpu_attention_scratch(op);
    case LT_OP_SNAKE_AA:
        return lt_cpu_snake_aa_scratch(op);
    case LT_OP_GROUP_NORM:
        return lt_cpu_group_norm_scratch(op);
    default:
        return (lt_scratch){0, 0};
    }
}

static lt_status run_op(void *op, const lt_host_call *call)
{
    (void)call; /* waits for nothing */
    return kernels[((const lt_op *)op)->kind](op);
}

static lt_status cpu_submit(lt_queue *queue, const lt_op *op)
{
    lt_comm_thread *host = ((cpu_queue *)queue)->host;
    assert(op->kind >= 0 && op->kind < LT_OP_COUNT);
    if (host == NULL)
        return kernels[op->kind](op);
    assert(kernels[op->kind] == lt_cpu_rows);
    return lt_comm_thread_push(host, run_op, op, sizeof *op);
}

const lt_backend lt_backend_cpu = {
    .api = LT_BACKEND_API,
    .name = "cpu",
    .memory = &cpu_memory,
    .host_access = 1,
    .describe = lt_cpu_describe,
    .open = cpu_open,
    .close = cpu_close,
    .queue_open = cpu_queue_open,
    .queue_close = cpu_queue_close,
    .upload = cpu_upload,
    .download = cpu_download,
    .mark = cpu_mark,
    .wait = cpu_wait,
    .sync = cpu_sync,
    .host = cpu_host,
    .done = cpu_done,
    .cancel = cpu_cancel,
    .linear_bytes = lt_cpu_linear_bytes,
    .linear_prepare = lt_cpu_linear_prepare,
    .linear_release = lt_cpu_linear_release,
    .conv_bytes = lt_cpu_conv_bytes,
    .conv_prepare = lt_cpu_conv_prepare,
    .conv_release = lt_cpu_conv_release,
    .op_scratch = lt_cpu_op_scratch,
    .submit = cpu_submit,
    .kernels = kernels,
};
