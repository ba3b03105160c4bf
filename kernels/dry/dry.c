/* dry.c - the backend that computes nothing and counts.
 *
 * A dry run is how a plan learns what a phase needs: its arenas record their peaks, the checked ops
 * check every shape, and each op adds to its kind's row of counts. Memory is numbers that no
 * process may have as addresses, so that a 33-billion-parameter model runs
 * under any `ulimit -v` and code that follows a device pointer falls at once.
 *
 * Uploads, waits and events do nothing; a download leaves the host memory as it is, so whoever
 * decides by a value that came from the device must not do so in a dry run.
 *
 * flops: multiply and add count as two. Linear, convolution and attention are counted by their
 * formulas (causal attention by the pairs that see each other); the other ops by a few operations
 * an element, enough for a cost model that knows them to be bound by memory. bytes: every input
 * read once, every output written once (read too where the op adds to it), prepared weights once a
 * call. Local to one thread, as the dry run is. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"

typedef struct {
    lt_queue base;
    uint64_t seq;
} dry_queue;

typedef struct {
    lt_linear base;
    size_t bytes;
} dry_linear;

typedef struct {
    lt_conv base;
    size_t bytes;
} dry_conv;

static const lt_backend *target = &lt_backend_cpu;
static lt_dry_counts counts;
static lt_dry_memory host;
static struct {
    lt_op *ops;
    int64_t count, room;
} attention;

void lt_dry_reset(void) { counts = (lt_dry_counts){0}; }

lt_dry_counts lt_dry_read(void) { return counts; }

void lt_dry_host(int64_t bytes)
{
    host.now_bytes += bytes;
    host.peak_bytes = host.now_bytes > host.peak_bytes ? host.now_bytes : host.peak_bytes;
}

void lt_dry_disk(int64_t bytes)
{
    host.disk_now_bytes += bytes;
    assert(host.disk_now_bytes >= 0);
    if (host.disk_now_bytes > host.disk_peak_bytes)
        host.disk_peak_bytes = host.disk_now_bytes;
}

void lt_dry_memory_reset(void) { host = (lt_dry_memory){0}; }

lt_dry_memory lt_dry_memory_read(void) { return host; }

/* ---- which attention will come ---- */

void lt_dry_attention_reset(void) { attention.count = 0; }

const lt_op *lt_dry_attention(int64_t *count)
{
    *count = attention.count;
    return attention.ops;
}

int lt_dry_lists_attention(void) { return target->expect != NULL; }

/* To who plans for it: sizes, how far rows lie apart, and whether addresses are as round. */
static int is_like(const lt_tensor *a, const lt_tensor *b)
{
    enum { ROUND = 16 };
    return a->ndim == b->ndim && a->dtype == b->dtype && a->row_stride == b->row_stride &&
           memcmp(a->dim, b->dim, sizeof a->dim) == 0 &&
           (uintptr_t)a->data % ROUND == (uintptr_t)b->data % ROUND;
}

static int is_listed(const lt_op *op)
{
    for (int64_t i = attention.count - 1; i >= 0; i--) {
        const lt_op *a = &attention.ops[i];
        int same = a->heads == op->heads && a->kv_heads == op->kv_heads && a->causal == op->causal;
        for (int k = 0; k < 3; k++)
            same = same && is_like(&a->in[k], &op->in[k]);
        if (same && is_like(&a->out[0], &op->out[0]) && is_like(&a->out[1], &op->out[1]))
            return 1;
    }
    return 0;
}

static lt_status list_attention(const lt_op *op)
{
    if (is_listed(op))
        return LT_OK;
    if (attention.count == attention.room) {
        const int64_t room = 2 * attention.room + 16;
        lt_op *more = realloc(attention.ops, (size_t)room * sizeof *more);
        if (more == NULL)
            LT_FAIL(LT_ENOMEM, "dry: no memory to list %lld attentions", (long long)room);
        attention.ops = more;
        attention.room = room;
    }
    attention.ops[attention.count++] = *op;
    return LT_OK;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static lt_scratch dry_op_scratch(const lt_op *op) { return target->op_scratch(op); }

void lt_dry_target(const lt_backend *backend)
{
    assert(backend != &lt_backend_dry);
    target = backend != NULL ? backend : &lt_backend_cpu;
}

/* ---- memory: addresses that do not exist ----
 * Bit 55 set and bits 56 to 63 clear: on x86-64 no address, or, where pages have five levels, one
 * that Linux gives only on request; on aarch64 the kernel's half, with or without tags in the top
 * byte. Each allocation has numbers of its own as long as fewer than 2^55 bytes are asked for; then
 * they begin again, which a dry run does not mind. Source: Documentation/arch/x86/x86_64/mm.rst and
 * Documentation/arch/arm64/memory.rst of Linux. */

static const uintptr_t nowhere = (uintptr_t)1 << 55;

static lt_status dry_alloc(void *ctx, size_t bytes, void **out)
{
    static uintptr_t taken;
    const uintptr_t page = 4096, wanted = ((uintptr_t)bytes / page + 1) * page;
    (void)ctx;
    if (bytes >= nowhere / 2)
        LT_FAIL(LT_ENOMEM, "dry: want %zu bytes, fewer than %zu can be counted", bytes,
                (size_t)nowhere / 2);
    if (taken + wanted > nowhere)
        taken = 0;
    *out = (void *)(nowhere + taken);
    taken += wanted;
    return LT_OK;
}

static void dry_release(void *ctx, void *p, size_t bytes) { (void)ctx, (void)p, (void)bytes; }

static const lt_memory dry_memory = {
    .name = "dry", .alloc = dry_alloc, .release = dry_release, .host = 0};

/* ---- queues ---- */

static lt_status dry_open(int device, int threads)
{
    (void)device, (void)threads;
    return LT_OK;
}

static void dry_close(void) {}

static lt_status dry_queue_open(lt_queue_kind kind, lt_queue **out)
{
    dry_queue *q = calloc(1, sizeof *q);
    if (q == NULL)
        LT_FAIL(LT_ENOMEM, "dry: no memory for a queue");
    q->base.backend = &lt_backend_dry;
    q->base.kind = kind;
    *out = &q->base;
    return LT_OK;
}

static void dry_queue_close(lt_queue **queue)
{
    free(*queue);
    *queue = NULL;
}

static lt_status dry_upload(lt_queue *q, const lt_tensor *to, const void *from)
{
    (void)q, (void)to, (void)from;
    return LT_OK;
}

static lt_status dry_download(lt_queue *q, void *to, const lt_tensor *from)
{
    (void)q, (void)to, (void)from;
    return LT_OK;
}

static lt_status dry_mark(lt_queue *q, lt_event *event)
{
    *event = (lt_event){q, ++((dry_queue *)q)->seq};
    return LT_OK;
}

static lt_status dry_wait(lt_queue *q, const lt_event *event)
{
    (void)q, (void)event;
    return LT_OK;
}

static lt_status dry_sync(lt_queue *q)
{
    (void)q;
    return LT_OK;
}

/* Nothing runs in a dry run. */
static lt_status dry_host(lt_queue *q, lt_host_fn fn, const void *work, size_t bytes)
{
    (void)q, (void)fn, (void)work, (void)bytes;
    return LT_OK;
}

static uint64_t dry_done(const lt_queue *q) { return ((const dry_queue *)q)->seq; }

int lt_dry_host_access(void) { return target->host_access; }

static void dry_describe(int device, lt_device *out) { target->describe(device, out); }

static void dry_cancel(lt_queue *q) { (void)q; }

/* ---- prepared layers: the target says how large they are ---- */

static size_t dry_linear_bytes(const lt_linear_spec *spec) { return target->linear_bytes(spec); }

static lt_status dry_linear_prepare(const lt_linear_spec *spec, void *memory, lt_linear **out)
{
    (void)memory;
    dry_linear *l = calloc(1, sizeof *l);
    if (l == NULL)
        LT_FAIL(LT_ENOMEM, "linear: no memory for a layer's description");
    l->base = (lt_linear){&lt_backend_dry, spec->in, spec->out, spec->has_bias, spec->compute};
    l->bytes = dry_linear_bytes(spec);
    *out = &l->base;
    return LT_OK;
}

static void dry_linear_release(lt_linear **linear)
{
    free(*linear);
    *linear = NULL;
}

static size_t dry_conv_bytes(const lt_conv_spec *spec) { return target->conv_bytes(spec); }

static lt_status dry_conv_prepare(const lt_conv_spec *spec, void *memory, lt_conv **out)
{
    (void)memory;
    dry_conv *l = calloc(1, sizeof *l);
    if (l == NULL)
        LT_FAIL(LT_ENOMEM, "conv: no memory for a layer's description");
    l->base.backend = &lt_backend_dry;
    l->base.spec = *spec;
    l->base.spec.weights = NULL;
    l->base.spec.bias = NULL;
    l->bytes = dry_conv_bytes(spec);
    /* As read, and laid out before it is packed; both come and go. */
    lt_dry_host(2 * (int64_t)l->bytes);
    lt_dry_host(-2 * (int64_t)l->bytes);
    *out = &l->base;
    return LT_OK;
}

static void dry_conv_release(lt_conv **conv)
{
    free(*conv);
    *conv = NULL;
}

/* ---- counting ---- */

static int adds_to_output(lt_op_kind kind)
{
    return kind == LT_OP_AXPBY || kind == LT_OP_MUL || kind == LT_OP_SCALE_ADD ||
           kind == LT_OP_GATE_ADD || kind == LT_OP_HEAD_NORM_ROPE || kind == LT_OP_ATTENTION_MERGE;
}

static double bytes_of(const lt_op *op)
{
    double bytes = 0;
    for (int i = 0; i < 5; i++)
        if (op->in[i].ndim != 0)
            bytes += (double)lt_tensor_bytes(&op->in[i]);
    for (int i = 0; i < 2; i++)
        if (op->out[i].ndim != 0)
            bytes += (double)lt_tensor_bytes(&op->out[i]) * (adds_to_output(op->kind) ? 2 : 1);
    if (op->kind == LT_OP_GATHER_ROWS) /* reads the rows that it takes, not the whole table */
        bytes += (double)lt_elements(&op->out[0]) * (double)lt_dtype_bytes(op->in[0].dtype) -
                 (double)lt_tensor_bytes(&op->in[0]);
    if (op->kind == LT_OP_SCATTER_ROWS)
        bytes += (double)lt_elements(&op->in[0]) * (double)lt_dtype_bytes(op->out[0].dtype) -
                 (double)lt_tensor_bytes(&op->out[0]);
    if (op->kind == LT_OP_LINEAR)
        bytes += (double)((const dry_linear *)op->linear)->bytes;
    if (op->kind == LT_OP_CONV)
        bytes += (double)((const dry_conv *)op->conv)->bytes;
    return bytes;
}

static lt_status dry_submit(lt_queue *q, const lt_op *op)
{
    (void)q;
    assert((int)op->kind >= 0 && op->kind < LT_OP_COUNT);
    counts.calls[op->kind]++;
    counts.flops[op->kind] += lt_op_flops(op);
    counts.bytes[op->kind] += bytes_of(op);
    if (op->kind == LT_OP_ATTENTION && lt_dry_lists_attention())
        LT_TRY(list_attention(op));
    const lt_scratch taken = dry_op_scratch(op);
    host.scratch.shared_bytes = larger(host.scratch.shared_bytes, taken.shared_bytes);
    host.scratch.thread_bytes = larger(host.scratch.thread_bytes, taken.thread_bytes);
    return LT_OK;
}

const lt_backend lt_backend_dry = {
    .api = LT_BACKEND_API,
    .name = "dry",
    .memory = &dry_memory,
    .host_access = 0,
    .is_dry = 1,
    .describe = dry_describe,
    .open = dry_open,
    .close = dry_close,
    .queue_open = dry_queue_open,
    .queue_close = dry_queue_close,
    .upload = dry_upload,
    .download = dry_download,
    .mark = dry_mark,
    .wait = dry_wait,
    .sync = dry_sync,
    .host = dry_host,
    .done = dry_done,
    .cancel = dry_cancel,
    .linear_bytes = dry_linear_bytes,
    .linear_prepare = dry_linear_prepare,
    .linear_release = dry_linear_release,
    .conv_bytes = dry_conv_bytes,
    .conv_prepare = dry_conv_prepare,
    .conv_release = dry_conv_release,
    .op_scratch = dry_op_scratch,
    .submit = dry_submit,
};
