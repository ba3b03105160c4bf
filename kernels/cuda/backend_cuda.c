/* backend_cuda.c - the backend's table: memory, queues, events, copies.
 *
 * A queue is a stream; comm's has the highest priority, so that an exchange that is queued before
 * the attention that hides it gets its processors. No call here blocks the host but sync, prepare,
 * open and close. A stream may hold an exchange that waits for another rank, which may be dead: so
 * sync polls, and asks lt_cuda.waiting between two polls. Marks are a ring of events: one that has
 * come round stands for a later mark, which was queued before the wait, so waiting for it is right
 * and cannot deadlock. */
#include <assert.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "kernels/cuda/cuda.h"

/* CODE_BYTES: room for kernels, ours and cuBLASLt's, and for what the driver rounds pieces up to;
 * DNN_BYTES: what cuDNN takes, where it is found. Guesses until a card has told. */
enum { WORKSPACE_BYTES = 64 << 20, CODE_BYTES = 64 << 20, DNN_BYTES = 384 << 20 };

lt_cuda_state lt_cuda;
lt_cuda_kernel_name *lt_cuda_known;

lt_status lt_cuda_try(const char *what, cudaError_t error)
{
    if (error == cudaSuccess)
        return LT_OK;
    if (error == cudaErrorMemoryAllocation)
        LT_FAIL(LT_ENOMEM, "cuda: %s: device %d: %s", what, lt_cuda.device,
                cudaGetErrorString(error));
    LT_FAIL(LT_EDEVICE, "cuda: %s: device %d: %s", what, lt_cuda.device, cudaGetErrorString(error));
}

const lt_cuda_kernel lt_cuda_kernels[LT_OP_COUNT] = {
    [LT_OP_LINEAR] = lt_cuda_linear,
    [LT_OP_CONV] = lt_cuda_conv,
    [LT_OP_COPY] = lt_cuda_copy,
    [LT_OP_FILL] = lt_cuda_fill,
    [LT_OP_AXPBY] = lt_cuda_axpby,
    [LT_OP_MUL] = lt_cuda_mul,
    [LT_OP_SCALE_ADD] = lt_cuda_scale_add,
    [LT_OP_ACTIVATION] = lt_cuda_activation,
    [LT_OP_CLAMP] = lt_cuda_clamp,
    [LT_OP_RMS_NORM] = lt_cuda_rms_norm,
    [LT_OP_LAYER_NORM] = lt_cuda_layer_norm,
    [LT_OP_GROUP_NORM] = lt_cuda_group_norm,
    [LT_OP_NORM_MODULATE] = lt_cuda_norm_modulate,
    [LT_OP_GATE_ADD] = lt_cuda_gate_add,
    [LT_OP_SWIGLU] = lt_cuda_swiglu,
    [LT_OP_HEAD_NORM_ROPE] = lt_cuda_head_norm_rope,
    [LT_OP_ATTENTION] = lt_cuda_attention,
    [LT_OP_ATTENTION_MERGE] = lt_cuda_attention_merge,
    [LT_OP_GATHER_ROWS] = lt_cuda_gather_rows,
    [LT_OP_SCATTER_ROWS] = lt_cuda_scatter_rows,
    [LT_OP_SUM_PARTS] = lt_cuda_sum_parts,
    [LT_OP_PAD_REFLECT] = lt_cuda_pad_reflect,
    [LT_OP_SNAKE] = lt_cuda_snake,
    [LT_OP_SNAKE_AA] = lt_cuda_snake_aa,
};

/* ---- queues ---- */

static lt_status cuda_mark(lt_queue *queue, lt_event *event)
{
    lt_cuda_queue *q = (lt_cuda_queue *)queue;
    const uint64_t number = q->marked + 1;
    LT_TRY(lt_cuda_try("mark", cudaEventRecord(q->event[number % LT_CUDA_EVENTS], q->stream)));
    __atomic_store_n(&q->marked, number, __ATOMIC_RELEASE);
    *event = (lt_event){queue, number};
    return LT_OK;
}

static lt_status cuda_wait(lt_queue *queue, const lt_event *event)
{
    lt_cuda_queue *q = (lt_cuda_queue *)queue;
    const lt_cuda_queue *other = (const lt_cuda_queue *)event->queue;
    if (other == NULL || other == q)
        return LT_OK;
    assert(event->seq <= other->marked);
    LT_TRY(lt_cuda_host_failure(other));
    if (event->seq == 0)
        return LT_OK;
    return lt_cuda_try(
        "wait", cudaStreamWaitEvent(q->stream, other->event[event->seq % LT_CUDA_EVENTS], 0));
}

/* The events in their order: what has happened is seen once. Any thread. */
static uint64_t cuda_done(const lt_queue *queue)
{
    lt_cuda_queue *q = (lt_cuda_queue *)(uintptr_t)queue;
    const uint64_t marked = __atomic_load_n(&q->marked, __ATOMIC_ACQUIRE);
    uint64_t seen = __atomic_load_n(&q->seen, __ATOMIC_ACQUIRE);
    while (seen < marked && cudaEventQuery(q->event[(seen + 1) % LT_CUDA_EVENTS]) == cudaSuccess)
        seen++;
    __atomic_store_n(&q->seen, seen, __ATOMIC_RELEASE);
    return seen;
}

/* Ask the stream, and what else may say that it never ends. A short wait yields, a long one sleeps.
 */
static lt_status poll_stream(const char *what, cudaStream_t stream)
{
    static const double yield_s = 2e-4;
    const double begin = lt_seconds();
    lt_status status = LT_OK;
    while (status == LT_OK) {
        const cudaError_t error = cudaStreamQuery(stream);
        if (error != cudaErrorNotReady) {
            status = lt_cuda_try(what, error);
            break;
        }
        status = lt_cuda.waiting(0);
        if (lt_seconds() - begin < yield_s)
            (void)sched_yield();
        else
            (void)nanosleep(&(struct timespec){0, 50000}, NULL);
    }
    (void)lt_cuda.waiting(1);
    return status;
}

lt_status lt_cuda_stream_wait(const char *what, cudaStream_t stream)
{
    if (lt_cuda.stuck)
        return LT_EPEER; /* the error text is the failure's own */
    if (lt_cuda.waiting == NULL)
        return lt_cuda_try(what, cudaStreamSynchronize(stream));
    return poll_stream(what, stream);
}

static lt_status cuda_sync(lt_queue *queue)
{
    lt_cuda_queue *q = (lt_cuda_queue *)queue;
    LT_TRY(lt_cuda_host_wait(q));
    LT_TRY(lt_cuda_stream_wait("sync", q->stream));
    return lt_cuda_host_failure(q);
}

static void free_queue(lt_cuda_queue *q)
{
    if (q->stream != NULL) {
        (void)lt_cuda_stream_wait("close", q->stream);
        (void)cudaStreamDestroy(q->stream);
    }
    for (int i = 0; i < LT_CUDA_EVENTS; i++)
        if (q->event[i] != NULL)
            (void)cudaEventDestroy(q->event[i]);
    if (q->workspace != NULL)
        (void)cudaFree(q->workspace);
}

static void cuda_queue_close(lt_queue **queue)
{
    lt_cuda_queue *q = (lt_cuda_queue *)*queue;
    if (q == NULL)
        return;
    lt_cuda_host_close(q);
    if (!lt_cuda.stuck)
        free_queue(q);
    lt_cuda_queue **at = &lt_cuda.queues;
    while (*at != NULL && *at != q)
        at = &(*at)->next;
    if (*at == q)
        *at = q->next;
    free(q);
    *queue = NULL;
}

static lt_status open_queue(lt_cuda_queue *q)
{
    int least = 0, greatest = 0;
    LT_TRY(lt_cuda_try("queue", cudaDeviceGetStreamPriorityRange(&least, &greatest)));
    const int priority = q->base.kind == LT_QUEUE_COMM ? greatest : least;
    LT_TRY(lt_cuda_try("queue",
                       cudaStreamCreateWithPriority(&q->stream, cudaStreamNonBlocking, priority)));
    for (int i = 0; i < LT_CUDA_EVENTS; i++)
        LT_TRY(
            lt_cuda_try("queue", cudaEventCreateWithFlags(&q->event[i], cudaEventDisableTiming)));
    if (q->base.kind != LT_QUEUE_COMPUTE)
        return LT_OK;
    q->workspace_bytes = WORKSPACE_BYTES;
    return lt_cuda_try("workspace", cudaMalloc(&q->workspace, WORKSPACE_BYTES + lt_cuda.lt_bytes));
}

static lt_status cuda_queue_open(lt_queue_kind kind, lt_queue **out)
{
    lt_cuda_queue *q = calloc(1, sizeof *q);
    if (q == NULL)
        LT_FAIL(LT_ENOMEM, "cuda: no memory for a queue");
    q->base = (lt_queue){&lt_backend_cuda, kind};
    lt_queue *opened = &q->base;
    const lt_status status = open_queue(q);
    if (status != LT_OK) {
        cuda_queue_close(&opened);
        return status;
    }
    q->next = lt_cuda.queues;
    lt_cuda.queues = q;
    *out = opened;
    return LT_OK;
}

/* What a device has begun can't be dropped, and where it waits for another rank it may never end:
 * then the stream and all that it uses stay as they are, for the process ends after a failure. */
static void cuda_cancel(lt_queue *queue)
{
    static const double patience_s = 1;
    lt_cuda_queue *q = (lt_cuda_queue *)queue;
    lt_cuda_host_cancel(q);
    if (lt_cuda.waiting == NULL) {
        (void)cudaStreamSynchronize(q->stream);
        return;
    }
    const double begin = lt_seconds();
    while (!lt_cuda.stuck && cudaStreamQuery(q->stream) == cudaErrorNotReady) {
        lt_cuda.stuck = lt_seconds() - begin > patience_s;
        (void)nanosleep(&(struct timespec){0, 50000}, NULL);
    }
}

/* ---- memory ---- */

static lt_status cuda_alloc(void *ctx, size_t bytes, void **out)
{
    size_t left = 0, all = 0;
    (void)ctx;
    if (cudaMalloc(out, bytes > 0 ? bytes : 1) == cudaSuccess)
        return LT_OK;
    (void)cudaGetLastError();
    (void)cudaMemGetInfo(&left, &all);
    LT_FAIL(LT_ENOMEM, "cuda: device %d: want %.2f GiB, found %.2f of %.2f GiB free",
            lt_cuda.device, (double)bytes / 1073741824.0, (double)left / 1073741824.0,
            (double)all / 1073741824.0);
}

/* What is given back, compute will take next: it waits for what comm and copy hold. */
static void cuda_discard(void *ctx, void *p, size_t bytes)
{
    (void)ctx, (void)p, (void)bytes;
    for (lt_cuda_queue *to = lt_cuda.queues; to != NULL; to = to->next)
        for (lt_cuda_queue *from = lt_cuda.queues; from != NULL; from = from->next) {
            lt_event event;
            if (to->base.kind == LT_QUEUE_COMPUTE && from != to &&
                cuda_mark(&from->base, &event) == LT_OK)
                (void)cuda_wait(&to->base, &event);
        }
}

static lt_status idle(void)
{
    for (lt_cuda_queue *q = lt_cuda.queues; q != NULL; q = q->next)
        LT_TRY(lt_cuda_stream_wait("memory", q->stream));
    return LT_OK;
}

static void cuda_release(void *ctx, void *p, size_t bytes)
{
    (void)ctx, (void)bytes;
    if (lt_cuda.stuck)
        return;
    (void)idle();
    (void)cudaFree(p);
}

static lt_status pinned_alloc(void *ctx, size_t bytes, void **out)
{
    (void)ctx;
    return lt_cuda_try("pinned memory",
                       cudaHostAlloc(out, bytes > 0 ? bytes : 1, cudaHostAllocDefault));
}

static void pinned_release(void *ctx, void *p, size_t bytes)
{
    (void)ctx, (void)bytes;
    if (lt_cuda.stuck)
        return;
    (void)idle();
    (void)cudaFreeHost(p);
}

static const lt_memory device_memory = {
    .name = "cuda", .alloc = cuda_alloc, .release = cuda_release, .discard = cuda_discard};
static const lt_memory pinned_memory = {
    .name = "pinned", .alloc = pinned_alloc, .release = pinned_release, .host = 1};

/* rows of `width` bytes between a device tensor and dense host memory. */
static lt_status copy(lt_queue *queue, const char *what, const lt_tensor *x, void *to,
                      const void *from, enum cudaMemcpyKind kind)
{
    const lt_cuda_queue *q = (const lt_cuda_queue *)queue;
    const size_t size = lt_dtype_bytes(x->dtype), width = (size_t)lt_row_width(x) * size;
    const size_t rows = (size_t)lt_row_count(x);
    if (rows <= 1 || lt_is_dense(x))
        return lt_cuda_try(what, cudaMemcpyAsync(to, from, rows * width, kind, q->stream));
    const size_t stride = (size_t)x->row_stride * size;
    const int is_upload = kind == cudaMemcpyHostToDevice;
    return lt_cuda_try(what,
                       cudaMemcpy2DAsync(to, is_upload ? stride : width, from,
                                         is_upload ? width : stride, width, rows, kind, q->stream));
}

static lt_status cuda_upload(lt_queue *q, const lt_tensor *to, const void *from)
{
    return copy(q, "upload", to, to->data, from, cudaMemcpyHostToDevice);
}

static lt_status cuda_download(lt_queue *q, void *to, const lt_tensor *from)
{
    return copy(q, "download", from, to, from->data, cudaMemcpyDeviceToHost);
}

lt_status lt_cuda_fill_device(const char *what, void *to, size_t to_pitch, const void *from,
                              size_t from_pitch, size_t width, size_t rows)
{
    if (width == 0 || rows == 0)
        return LT_OK;
    return lt_cuda_try(
        what, cudaMemcpy2D(to, to_pitch, from, from_pitch, width, rows, cudaMemcpyHostToDevice));
}

lt_status lt_cuda_idle(void) { return idle(); }

/* ---- the device ---- */

/* cuBLASLt's workspace (docs/spec/gpu-options.md 2). */
static size_t lt_bytes(const struct cudaDeviceProp *p)
{
    enum { MIB = 1 << 20, CC_WIDE = 9 };
    return (size_t)(p->major >= CC_WIDE ? 32 : 4) * MIB;
}

static void cuda_describe(int device, lt_device *out)
{
    struct cudaDeviceProp p;
    size_t left = 0, all = 0;
    int version = 0, count = 0;
    *out =
        (lt_device){.memory_bytes = -1, .left_bytes = -1, .row_block = 8192, .query_chunk = 8192};
    if (cudaGetDeviceCount(&count) == cudaSuccess && count > 0)
        device %= count;
    if (cudaGetDeviceProperties(&p, device) != cudaSuccess) {
        (void)cudaGetLastError();
        (void)snprintf(out->name, sizeof out->name, "no CUDA device %d", device);
        return;
    }
    (void)snprintf(out->name, sizeof out->name, "%.90s", p.name);
    (void)snprintf(out->isa, sizeof out->isa, "sm_%d%d", p.major, p.minor);
    if (cudaRuntimeGetVersion(&version) == cudaSuccess) {
        char dnn[160];
        const int has_dnn = lt_cuda_dnn_found(p.major, dnn, sizeof dnn);
        out->act_partials = has_dnn; /* cuDNN writes no f32 */
        (void)snprintf(out->libraries, sizeof out->libraries, "CUDA %d.%d, %.30s", version / 1000,
                       version % 1000 / 10, has_dnn ? dnn : "own attention");
    }
    out->has_bf16 = p.major >= 8;
    out->has_own_memory = 1;
    memcpy(out->id, &p.uuid, sizeof out->id);
    out->memory_bytes = (int64_t)p.totalGlobalMem;
    out->taken_bytes = (int64_t)(WORKSPACE_BYTES + lt_bytes(&p) + CODE_BYTES) +
                       (out->act_partials ? DNN_BYTES : 0);
    if (lt_cuda.is_claimed && device == lt_cuda.device &&
        cudaMemGetInfo(&left, &all) == cudaSuccess)
        out->left_bytes = (int64_t)left;
}

static lt_status cuda_claim(int device)
{
    size_t left = 0, all = 0;
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess)
        LT_FAIL(LT_EUNAVAIL, "cuda: no device: %s", cudaGetErrorString(error));
    if (count < 1 || device < 0)
        LT_FAIL(LT_EUNAVAIL, "cuda: device %d: found %d of them", device, count);
    device %= count; /* more ranks than cards share them */
    LT_TRY(lt_cuda_try("open", cudaSetDevice(device)));
    LT_TRY(lt_cuda_try("open", cudaMemGetInfo(&left, &all)));
    lt_cuda.device = device;
    lt_cuda.is_claimed = 1;
    return LT_OK;
}

/* Source: CUDA's programming guide, "Lazy Loading": to ask for a kernel's attributes loads it. */
static lt_status load_kernels(void)
{
    for (const lt_cuda_kernel_name *k = lt_cuda_known; k != NULL; k = k->next) {
        struct cudaFuncAttributes attributes;
        LT_TRY(lt_cuda_try("load", cudaFuncGetAttributes(&attributes, k->kernel)));
    }
    return LT_OK;
}

static lt_status cuda_open(int device, int threads)
{
    enum { CC_LEAST = 8 };
    struct cudaDeviceProp p;
    (void)threads;
    LT_TRY(cuda_claim(device));
    LT_TRY(lt_cuda_try("open", cudaGetDeviceProperties(&p, lt_cuda.device)));
    if (p.major < CC_LEAST)
        LT_FAIL(LT_EUNAVAIL, "cuda: device %d: want compute capability %d.0 or more, found %d.%d",
                lt_cuda.device, (int)CC_LEAST, p.major, p.minor);
    lt_cuda.processors = p.multiProcessorCount;
    lt_cuda.cc_major = p.major;
    lt_cuda.lt_bytes = lt_bytes(&p);
    LT_TRY(load_kernels());
    return lt_cuda_lt_open();
}

static void cuda_close(void)
{
    if (lt_cuda.stuck)
        return;
    lt_cuda_dnn_close();
    lt_cuda_lt_close();
}

static lt_scratch cuda_op_scratch(const lt_op *op)
{
    (void)op;
    return (lt_scratch){0, 0}; /* host memory: none */
}

static lt_status cuda_submit(lt_queue *queue, const lt_op *op)
{
    assert(op->kind >= 0 && op->kind < LT_OP_COUNT && lt_cuda_kernels[op->kind] != NULL);
    return lt_cuda_kernels[op->kind]((lt_cuda_queue *)queue, op);
}

static lt_status cuda_host(lt_queue *q, lt_host_fn fn, const void *work, size_t bytes)
{
    return lt_cuda_host_push((lt_cuda_queue *)q, fn, work, bytes);
}

const lt_backend lt_backend_cuda = {
    .api = LT_BACKEND_API,
    .name = "cuda",
    .memory = &device_memory,
    .pinned = &pinned_memory,
    .host_access = 0,
    .describe = cuda_describe,
    .claim = cuda_claim,
    .open = cuda_open,
    .close = cuda_close,
    .queue_open = cuda_queue_open,
    .queue_close = cuda_queue_close,
    .upload = cuda_upload,
    .download = cuda_download,
    .mark = cuda_mark,
    .wait = cuda_wait,
    .sync = cuda_sync,
    .host = cuda_host,
    .done = cuda_done,
    .cancel = cuda_cancel,
    .linear_bytes = lt_cuda_linear_bytes,
    .linear_prepare = lt_cuda_linear_prepare,
    .linear_release = lt_cuda_linear_release,
    .conv_bytes = lt_cuda_conv_bytes,
    .conv_prepare = lt_cuda_conv_prepare,
    .conv_release = lt_cuda_conv_release,
    .expect = lt_cuda_expect,
    .op_scratch = cuda_op_scratch,
    .submit = cuda_submit,
};
