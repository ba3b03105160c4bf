/* far.c - a device for tests: memory that cannot be followed, queues that run late.
 *
 * A GPU punishes three mistakes that the CPU forgives: following a device pointer on the host,
 * using a result before it was waited for, and giving memory back while queued work still needs it.
 * far punishes them too, on any machine, and computes with the cpu backend, so that a whole film
 * must come out bit for bit as on cpu.
 *
 * Memory. Each allocation is one memfd mapped twice:
 *
 *     public  [................]  PROT_NONE; the address that arenas and tensors carry
 *     alias   [................]  readable; only work that runs sees it, at the same offset
 *
 * It starts as NaN (the first FRESH_BYTES_MAX of it; the rest is zero, so that a generous capacity
 * stays untouched), and what an arena gives back becomes NaN again in queue order.
 *
 * Queues. Everything that is submitted is copied and kept; it runs when another needs it:
 *   - sync(q) runs q to its end, and of other queues just what q's waits ask for;
 *   - before each step of that, and at each submit, a seeded generator may run any work whose waits
 *     are met, of any queue. Seeds 1, 4, 7, ... never do (the laziest order), 0, 3, ... sometimes,
 *     2, 5, ... mostly.
 * So an order that no event asks for comes out differently under some seed. An upload reads its
 * host memory when it runs, a download writes then. A host function runs in the queue's order
 * on the caller's thread, so the call that ran it may wait for other ranks.
 *
 * Discards and releases of prepared layers take their place on the compute queue, which first waits
 * for what all other queues hold by then (DESIGN section 4, Arenas). Preparing a layer and
 * releasing an allocation first run all that is queued: both are Blocking in the contract.
 *
 * The call that ran late work returns its failure, or, where that call cannot fail, the next sync
 * does. Used from one host thread at a time. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/far/far_map.h"

enum { FRESH_BYTES_MAX = 64 << 20, NAN_BYTE = 0xff };

typedef enum {
    WORK_OP,
    WORK_UPLOAD,
    WORK_DOWNLOAD,
    WORK_WAIT,
    WORK_HOST,
    WORK_DISCARD,
    WORK_FREE_LINEAR,
    WORK_FREE_CONV
} work_kind;

typedef struct work {
    struct work *next;
    work_kind kind;
    uint64_t seq;
    lt_op op;           /* OP; UPLOAD and DOWNLOAD: the device tensor is out[0] */
    const void *source; /* UPLOAD */
    void *memory;       /* DOWNLOAD: host; HOST: fn's, behind this; DISCARD: alias */
    lt_host_fn fn;      /* HOST */
    size_t bytes;       /* DISCARD */
    lt_event event;     /* WAIT */
    lt_linear *linear;  /* FREE_LINEAR: cpu's */
    lt_conv *conv;      /* FREE_CONV: cpu's */
} work;

typedef struct far_queue {
    lt_queue base;
    work *first, *last;
    uint64_t submitted, done; /* sequence numbers; equal: nothing left */
    lt_status failed;         /* of work for the host: nothing behind it runs */
    int cancelled;
    struct far_queue *next; /* of all that are open */
} far_queue;

typedef struct region {
    char *shown, *alias;
    size_t bytes;
    struct region *next;
} region;

typedef struct {
    lt_linear base;
    lt_linear *inner;
} far_linear;

typedef struct {
    lt_conv base;
    lt_conv *inner;
} far_conv;

static struct {
    region *regions;
    far_queue *queues;
    lt_queue *cpu; /* where work runs at last */
    uint64_t random;
    unsigned eager; /* chance of 256 that more runs than is needed */
    lt_status failed;
    char failed_text[512];
    char host_text[512]; /* of the last queue whose host function failed */
} far = {.eager = 64};

void lt_far_seed(uint64_t seed)
{
    static const unsigned eager[3] = {64, 0, 192};
    far.random = seed;
    far.eager = eager[seed % 3];
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t draw(void)
{
    uint64_t z = (far.random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- addresses ---- */

/* [p, p + bytes) must lie in one allocation. */
static void *alias_of(const void *p, size_t bytes)
{
    const region *found = NULL;
    size_t offset = 0;
    for (const region *r = far.regions; r != NULL && found == NULL; r = r->next) {
        offset = (uintptr_t)p - (uintptr_t)r->shown; /* wraps to something large below shown */
        if (offset <= r->bytes && bytes <= r->bytes - offset)
            found = r;
    }
    assert(found != NULL); /* else the address is no device memory, or runs past its end */
    return found->alias + offset;
}

static void translate(lt_tensor *x)
{
    if (x->ndim == 0 || lt_elements(x) == 0)
        return;
    const int64_t last = (lt_row_count(x) - 1) * x->row_stride + lt_row_width(x);
    x->data = alias_of(x->data, (size_t)last * lt_dtype_bytes(x->dtype));
}

/* ---- running ---- */

static int ready(const far_queue *q)
{
    if (q->first == NULL)
        return 0;
    if (q->first->kind != WORK_WAIT || q->first->event.queue == NULL)
        return 1;
    return ((const far_queue *)q->first->event.queue)->done >= q->first->event.seq;
}

static lt_status perform(work *w)
{
    switch (w->kind) {
    case WORK_OP:
        return lt_backend_cpu.submit(far.cpu, &w->op);
    case WORK_UPLOAD:
        return lt_backend_cpu.upload(far.cpu, &w->op.out[0], w->source);
    case WORK_DOWNLOAD:
        return lt_backend_cpu.download(far.cpu, w->memory, &w->op.out[0]);
    case WORK_HOST:
        return w->fn(w->memory, NULL);
    case WORK_DISCARD:
        memset(w->memory, NAN_BYTE, w->bytes);
        break;
    case WORK_FREE_LINEAR:
        lt_backend_cpu.linear_release(&w->linear);
        break;
    case WORK_FREE_CONV:
        lt_backend_cpu.conv_release(&w->conv);
        break;
    case WORK_WAIT:
        break;
    }
    return LT_OK;
}

/* After a failure only what gives memory back still runs. */
static int is_dropped(const far_queue *q, const work *w)
{
    return q->failed != LT_OK && w->kind != WORK_DISCARD && w->kind != WORK_FREE_LINEAR &&
           w->kind != WORK_FREE_CONV;
}

/* Who waited for a queue that failed has failed with it. */
static void take_over_failure(far_queue *q, const work *w)
{
    const far_queue *other = (const far_queue *)w->event.queue;
    if (w->kind == WORK_WAIT && other != NULL && q->failed == LT_OK)
        q->failed = other->failed;
}

static lt_status run_first(far_queue *q)
{
    work *w = q->first;
    assert(ready(q) && w->seq == q->done + 1);
    q->first = w->next;
    if (q->first == NULL)
        q->last = NULL;
    take_over_failure(q, w);
    const lt_status status = is_dropped(q, w) ? LT_OK : perform(w);
    if (status != LT_OK && w->kind == WORK_HOST) {
        q->failed = status;
        (void)snprintf(far.host_text, sizeof far.host_text, "%s", lt_error_text());
    }
    q->done = w->seq;
    free(w);
    return status;
}

/* Perhaps run a work item that no wait asked for. */
static lt_status run_something(void)
{
    if (draw() % 256 >= far.eager)
        return LT_OK;
    far_queue *can[16];
    size_t count = 0;
    for (far_queue *q = far.queues; q != NULL && count < sizeof can / sizeof *can; q = q->next)
        if (ready(q))
            can[count++] = q;
    if (count == 0)
        return LT_OK;
    LT_TRY(run_first(can[draw() % count]));
    return LT_OK;
}

/* Run q until seq is done, and whatever its waits need. Ends: a wait names earlier work. */
static lt_status run_until(far_queue *q, uint64_t seq)
{
    assert(seq <= q->submitted);
    while (q->done < seq) {
        LT_TRY(run_something());
        if (q->done >= seq)
            break;
        if (!ready(q))
            LT_TRY(run_until((far_queue *)q->first->event.queue, q->first->event.seq));
        if (q->done < seq && ready(q))
            LT_TRY(run_first(q));
    }
    return LT_OK;
}

static lt_status run_all(void)
{
    for (far_queue *q = far.queues; q != NULL; q = q->next)
        LT_TRY(run_until(q, q->submitted));
    return LT_OK;
}

/* For calls that cannot fail: the next sync will say it. */
static void keep_failure(lt_status status)
{
    if (status == LT_OK || far.failed != LT_OK)
        return;
    far.failed = status;
    snprintf(far.failed_text, sizeof far.failed_text, "%s", lt_error_text());
}

static work *push_with(far_queue *q, work_kind kind, size_t bytes)
{
    work *w = calloc(1, sizeof *w + bytes);
    if (w == NULL)
        return NULL;
    w->kind = kind;
    w->seq = ++q->submitted;
    if (q->last != NULL)
        q->last->next = w;
    else
        q->first = w;
    q->last = w;
    return w;
}

static work *push(far_queue *q, work_kind kind) { return push_with(q, kind, 0); }

/* A place on the compute queue after all that any queue holds by now; NULL without queues. */
static far_queue *barrier(void)
{
    far_queue *on = far.queues;
    for (far_queue *q = far.queues; q != NULL; q = q->next)
        if (q->base.kind == LT_QUEUE_COMPUTE)
            on = q;
    for (far_queue *q = far.queues; q != NULL; q = q->next) {
        if (q == on || q->done == q->submitted)
            continue;
        work *w = push(on, WORK_WAIT);
        if (w == NULL)
            return NULL;
        w->event = (lt_event){&q->base, q->submitted};
    }
    return on;
}

/* ---- memory ---- */

static lt_status far_alloc(void *ctx, size_t bytes, void **out)
{
    (void)ctx;
    if (bytes > (size_t)1 << 47) /* more than any address space here; off_t is signed */
        LT_FAIL(LT_ENOMEM, "far: want %zu bytes: more than can be mapped", bytes);
    region *r = calloc(1, sizeof *r);
    if (r == NULL)
        LT_FAIL(LT_ENOMEM, "far: no memory for a description");
    r->bytes = bytes > 0 ? bytes : 1;
    const lt_status status = lt_far_map(r->bytes, &r->shown, &r->alias);
    if (status != LT_OK) {
        free(r);
        return status;
    }
    memset(r->alias, NAN_BYTE, bytes < FRESH_BYTES_MAX ? bytes : FRESH_BYTES_MAX);
    r->next = far.regions;
    far.regions = r;
    *out = r->shown;
    return LT_OK;
}

static void far_release(void *ctx, void *p, size_t bytes)
{
    (void)ctx, (void)bytes;
    keep_failure(run_all());
    region **at = &far.regions;
    while (*at != NULL && (*at)->shown != p)
        at = &(*at)->next;
    assert(*at != NULL);
    region *r = *at;
    *at = r->next;
    lt_far_unmap(r->bytes, r->shown, r->alias);
    free(r);
}

static void far_discard(void *ctx, void *p, size_t bytes)
{
    (void)ctx;
    if (bytes == 0)
        return;
    void *alias = alias_of(p, bytes);
    far_queue *on = barrier();
    work *w = on != NULL ? push(on, WORK_DISCARD) : NULL;
    if (w == NULL) { /* nothing is queued, or no memory to queue it: at once */
        keep_failure(run_all());
        memset(alias, NAN_BYTE, bytes);
        return;
    }
    w->memory = alias;
    w->bytes = bytes;
}

static const lt_memory far_memory = {
    .name = "far", .alloc = far_alloc, .release = far_release, .discard = far_discard, .host = 0};

/* ---- the table ---- */

static lt_status far_open(int device, int threads)
{
    LT_TRY(lt_backend_check(&lt_backend_cpu));
    LT_TRY(lt_backend_cpu.open(device, threads));
    if (far.cpu == NULL)
        LT_TRY(lt_backend_cpu.queue_open(LT_QUEUE_COMPUTE, &far.cpu));
    return LT_OK;
}

static void far_close(void)
{
    keep_failure(run_all());
    if (far.cpu != NULL)
        lt_backend_cpu.queue_close(&far.cpu);
    lt_backend_cpu.close();
}

static lt_status far_queue_open(lt_queue_kind kind, lt_queue **out)
{
    far_queue *q = calloc(1, sizeof *q);
    if (q == NULL)
        LT_FAIL(LT_ENOMEM, "far: no memory for a queue");
    q->base.backend = &lt_backend_far;
    q->base.kind = kind;
    q->next = far.queues;
    far.queues = q;
    *out = &q->base;
    return LT_OK;
}

static void far_queue_close(lt_queue **queue)
{
    far_queue *q = (far_queue *)*queue;
    keep_failure(run_until(q, q->submitted));
    for (far_queue *other = far.queues; other != NULL; other = other->next)
        for (work *w = other->first; w != NULL; w = w->next)
            if (w->kind == WORK_WAIT && w->event.queue == &q->base)
                w->event.queue = NULL; /* met: q has run to its end */
    far_queue **at = &far.queues;
    while (*at != q) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = q->next;
    free(q);
    *queue = NULL;
}

static lt_status no_memory(void) { LT_FAIL(LT_ENOMEM, "far: no memory for queued work"); }

static lt_status far_upload(lt_queue *q, const lt_tensor *to, const void *from)
{
    work *w = push((far_queue *)q, WORK_UPLOAD);
    if (w == NULL)
        return no_memory();
    w->op.out[0] = *to;
    translate(&w->op.out[0]);
    w->source = from;
    return run_something();
}

static lt_status far_download(lt_queue *q, void *to, const lt_tensor *from)
{
    work *w = push((far_queue *)q, WORK_DOWNLOAD);
    if (w == NULL)
        return no_memory();
    w->op.out[0] = *from;
    translate(&w->op.out[0]);
    w->memory = to;
    return run_something();
}

static lt_status far_mark(lt_queue *q, lt_event *event)
{
    *event = (lt_event){q, ((far_queue *)q)->submitted};
    return LT_OK;
}

static lt_status far_wait(lt_queue *q, const lt_event *event)
{
    if (event->queue == q || event->queue == NULL) /* a queue is in order with itself */
        return LT_OK;
    assert(event->seq <= ((far_queue *)event->queue)->submitted);
    work *w = push((far_queue *)q, WORK_WAIT);
    if (w == NULL)
        return no_memory();
    w->event = *event;
    return LT_OK;
}

static lt_status far_sync(lt_queue *queue)
{
    far_queue *q = (far_queue *)queue;
    LT_TRY(run_until(q, q->submitted));
    if (q->failed != LT_OK && q->cancelled) /* the caller has an error of its own */
        return q->failed;
    if (q->failed != LT_OK)
        LT_FAIL(q->failed, "%s", far.host_text);
    const lt_status failed = far.failed;
    far.failed = LT_OK;
    if (failed != LT_OK)
        LT_FAIL(failed, "far: %s", far.failed_text);
    return LT_OK;
}

static lt_status far_host(lt_queue *q, lt_host_fn fn, const void *host_work, size_t bytes)
{
    work *w = push_with((far_queue *)q, WORK_HOST, bytes);
    if (w == NULL)
        return no_memory();
    w->fn = fn;
    w->memory = w + 1;
    if (bytes > 0)
        memcpy(w->memory, host_work, bytes);
    return run_something();
}

static uint64_t far_done(const lt_queue *q) { return ((const far_queue *)q)->done; }

static void far_cancel(lt_queue *queue)
{
    far_queue *q = (far_queue *)queue;
    q->cancelled = 1;
    if (q->failed == LT_OK)
        q->failed = LT_EPEER;
}

static lt_status far_submit(lt_queue *q, const lt_op *op)
{
    work *w = push((far_queue *)q, WORK_OP);
    if (w == NULL)
        return no_memory();
    w->op = *op;
    for (int i = 0; i < 5; i++)
        translate(&w->op.in[i]);
    for (int i = 0; i < 2; i++)
        translate(&w->op.out[i]);
    if (op->linear != NULL)
        w->op.linear = ((const far_linear *)op->linear)->inner;
    if (op->conv != NULL)
        w->op.conv = ((const far_conv *)op->conv)->inner;
    return run_something();
}

/* ---- prepared layers: cpu's, packed through the alias ---- */

static size_t far_linear_bytes(const lt_linear_spec *spec)
{
    return lt_backend_cpu.linear_bytes(spec);
}

static lt_status far_linear_prepare(const lt_linear_spec *spec, void *memory, lt_linear **out)
{
    LT_TRY(run_all()); /* a discard of this memory may still be queued */
    far_linear *l = calloc(1, sizeof *l);
    if (l == NULL)
        return no_memory();
    void *alias = alias_of(memory, far_linear_bytes(spec));
    const lt_status status = lt_backend_cpu.linear_prepare(spec, alias, &l->inner);
    if (status != LT_OK) {
        free(l);
        return status;
    }
    l->base = *l->inner;
    l->base.backend = &lt_backend_far;
    *out = &l->base;
    return LT_OK;
}

static void far_linear_release(lt_linear **linear)
{
    far_linear *l = (far_linear *)*linear;
    far_queue *on = barrier();
    work *w = on != NULL ? push(on, WORK_FREE_LINEAR) : NULL;
    if (w != NULL) {
        w->linear = l->inner;
    } else {
        keep_failure(run_all());
        lt_backend_cpu.linear_release(&l->inner);
    }
    free(l);
    *linear = NULL;
}

static size_t far_conv_bytes(const lt_conv_spec *spec) { return lt_backend_cpu.conv_bytes(spec); }

static lt_status far_conv_prepare(const lt_conv_spec *spec, void *memory, lt_conv **out)
{
    LT_TRY(run_all());
    far_conv *l = calloc(1, sizeof *l);
    if (l == NULL)
        return no_memory();
    void *alias = alias_of(memory, far_conv_bytes(spec));
    const lt_status status = lt_backend_cpu.conv_prepare(spec, alias, &l->inner);
    if (status != LT_OK) {
        free(l);
        return status;
    }
    l->base = *l->inner;
    l->base.backend = &lt_backend_far;
    *out = &l->base;
    return LT_OK;
}

static void far_conv_release(lt_conv **conv)
{
    far_conv *l = (far_conv *)*conv;
    far_queue *on = barrier();
    work *w = on != NULL ? push(on, WORK_FREE_CONV) : NULL;
    if (w != NULL) {
        w->conv = l->inner;
    } else {
        keep_failure(run_all());
        lt_backend_cpu.conv_release(&l->inner);
    }
    free(l);
    *conv = NULL;
}

const lt_backend lt_backend_far = {
    .api = LT_BACKEND_API,
    .name = "far",
    .memory = &far_memory,
    .host_access = 0,
    .describe = lt_cpu_describe,
    .open = far_open,
    .close = far_close,
    .queue_open = far_queue_open,
    .queue_close = far_queue_close,
    .upload = far_upload,
    .download = far_download,
    .mark = far_mark,
    .wait = far_wait,
    .sync = far_sync,
    .host = far_host,
    .done = far_done,
    .cancel = far_cancel,
    .op_scratch = lt_cpu_op_scratch,
    .linear_bytes = far_linear_bytes,
    .linear_prepare = far_linear_prepare,
    .linear_release = far_linear_release,
    .conv_bytes = far_conv_bytes,
    .conv_prepare = far_conv_prepare,
    .conv_release = far_conv_release,
    .submit = far_submit,
};
