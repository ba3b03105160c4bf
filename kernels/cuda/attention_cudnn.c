/* attention_cudnn.c - attention by cuDNN (cudnn.h), for shapes that were listed at open.
 *
 * On sm_90 and later cuDNN's kernels are a few times as fast as attention_mma.cu's; they take bf16
 * with all keys seen, heads of 64, 96 or 128 channels, and y in q's dtype. A plan serves one shape,
 * takes up to a second to make and loads code; so all are made, launched and compared at open, from
 * a dry run's list (lt_backend.expect). Until a list came, as under --deterministic, in which none
 * is given, attention is our own kernels', whose rows have the same bits in all row counts; whether
 * cuDNN's have is to be seen on a card. Once it came, a shape that cuDNN would take and that is not
 * in it is a bug of the list, and said to be one.
 *
 * The comparison. A wrong kernel of a closed library would make wrong films without a word (there
 * are reports: docs/spec/gpu-options.md 1.2). So each plan runs once on the whole shape, strides
 * included, over numbers that make a few keys of many count (logits spread by LOGITS), into memory
 * that was filled with NaN. The first, middle and last EDGE queries of each head are compared with
 * our own kernel's. Tolerance: y as kernels.h says, 2^-7 of the largest |v|; lse 2^-9: who merges
 * partial results weighs them by e^lse, and 2^-9 is half of what rounding to bf16 may do. What
 * differs more, or is NaN, ends the open. Scratch comes from the step arena, which has room for the
 * tensors of the largest attention: that is what they are laid out like. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/log.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/kernels.h"

enum {
    EDGE = 128,
    PERIOD = 65537, /* elements until the numbers come again: prime, so rows differ */
    LOGITS = 4,     /* standard deviation of logits in the comparison */
    CC_MAJOR = 9    /* compute capability from which on cuDNN is asked */
};

static const double y_tol = 0x1p-7, lse_tol = 0x1p-9;

static struct {
    lt_dnn_target target; /* handle NULL: not open */
    char name[64];        /* "cuDNN 9.19.0" */
    cudaStream_t stream;  /* the handle's */
    lt_dnn_plan *plans;   /* plan NULL: cuDNN has none for this shape */
    int count;
} dnn;

/* ---- which ---- */

static int cuda_major(void)
{
    int version = 0;
    return cudaRuntimeGetVersion(&version) == cudaSuccess ? version / 1000 : 0;
}

int lt_cuda_dnn_found(int major, char *text, size_t bytes)
{
    char found[160];
    if (major < CC_MAJOR) {
        (void)snprintf(text, bytes, "our own attention (cuDNN's from sm_%d0 on)", (int)CC_MAJOR);
        return 0;
    }
    const int ok = lt_dnn_open(cuda_major(), found, sizeof found) != NULL;
    (void)snprintf(text, bytes, ok ? "%s" : "our own attention: %s", found);
    return ok;
}

static int is_aligned(const lt_tensor *x)
{
    return (uintptr_t)x->data % LT_CUDA_ALIGN == 0 &&
           (lt_row_count(x) <= 1 ||
            (size_t)x->row_stride * lt_dtype_bytes(x->dtype) % LT_CUDA_ALIGN == 0);
}

/* Would cuDNN take it? */
static int takes(const lt_op *op)
{
    const lt_tensor *q = &op->in[0], *k = &op->in[1], *v = &op->in[2], *y = &op->out[0];
    if (op->kind != LT_OP_ATTENTION || op->causal || op->heads < 1 || q->dtype != LT_BF16 ||
        y->dtype != q->dtype || lt_row_count(q) < 1 || lt_row_count(k) < 1)
        return 0;
    const int64_t width = lt_row_width(q) / op->heads;
    if (width != 64 && width != 96 && width != 128)
        return 0;
    return is_aligned(q) && is_aligned(k) && is_aligned(v) && is_aligned(y) &&
           (op->out[1].ndim == 0 || (uintptr_t)op->out[1].data % LT_CUDA_ALIGN == 0);
}

/* Elements from row to row; nothing follows a single one. */
static int64_t stride_of(const lt_tensor *x)
{
    return lt_row_count(x) > 1 ? x->row_stride : lt_row_width(x);
}

static lt_dnn_shape shape_of(const lt_op *op)
{
    const lt_tensor *q = &op->in[0], *k = &op->in[1];
    return (lt_dnn_shape){.queries = lt_row_count(q),
                          .keys = lt_row_count(k),
                          .heads = op->heads,
                          .kv_heads = op->kv_heads,
                          .width = lt_row_width(q) / op->heads,
                          .q_stride = stride_of(q),
                          .k_stride = stride_of(k),
                          .v_stride = stride_of(&op->in[2]),
                          .y_stride = stride_of(&op->out[0]),
                          .dtype = q->dtype,
                          .has_lse = op->out[1].ndim != 0};
}

static const lt_dnn_plan *find(const lt_dnn_shape *shape)
{
    for (int i = 0; i < dnn.count; i++)
        if (lt_dnn_shape_equal(&dnn.plans[i].shape, shape))
            return &dnn.plans[i];
    return NULL;
}

/* ---- running ---- */

static lt_status run(lt_cuda_queue *q, const lt_dnn_plan *plan, const lt_op *op)
{
    const lt_tensor *lse = &op->out[1];
    assert(plan->workspace_bytes <= q->workspace_bytes);
    if (dnn.stream != q->stream)
        LT_TRY(lt_dnn_try(dnn.target.api, "stream",
                          dnn.target.api->set_stream(dnn.target.handle, q->stream)));
    dnn.stream = q->stream;
    return lt_dnn_plan_run(&dnn.target, plan, op->in[0].data, op->in[1].data, op->in[2].data,
                           op->out[0].data, lse->ndim != 0 ? lse->data : NULL, op->a, q->workspace);
}

/* lt_cuda.planned */
static lt_status run_planned(lt_cuda_queue *q, const lt_op *op, int *is_done)
{
    char text[96];
    *is_done = 0;
    if (!takes(op))
        return LT_OK;
    const lt_dnn_shape shape = shape_of(op);
    const lt_dnn_plan *plan = find(&shape);
    if (plan == NULL)
        LT_FAIL(LT_EINTERNAL, "attention of %s was not listed when the device was opened",
                lt_dnn_shape_text(&shape, text, sizeof text));
    *is_done = plan->plan != NULL;
    return *is_done ? run(q, plan, op) : LT_OK;
}

/* ---- the comparison ---- */

/* An attention like the listed one, in scratch. */
typedef struct trial {
    lt_queue *queue;
    const lt_dnn_plan *plan;
    lt_op op;
    float most;      /* no number is larger */
    uint32_t filled; /* blocks so far: no two have the same numbers */
} trial;

/* Numbers in [-most, most), the same in each run. */
static lt_status fill_numbers(trial *t, const lt_tensor *x)
{
    const int64_t all = lt_elements(x), first = all < PERIOD ? all : PERIOD;
    lt_tensor flat = lt_view_as(x, LT_DIMS(all));
    uint16_t *numbers = malloc((size_t)first * sizeof *numbers);
    uint32_t state = ++t->filled;
    if (numbers == NULL)
        LT_FAIL(LT_ENOMEM, "attention: no memory for %lld numbers", (long long)first);
    for (int64_t i = 0; i < first; i++) {
        state = state * 1664525u + 1013904223u; /* Knuth, TAOCP 2, 3.3.4 */
        numbers[i] = lt_f32_to_bf16(t->most * ((float)(state >> 8) * 0x1p-23f - 1));
    }
    const lt_tensor front = lt_view_outer(&flat, (lt_range){0, first});
    lt_status status = lt_upload(t->queue, &front, numbers);
    for (int64_t done = first, count; done < all && status == LT_OK; done += count) {
        count = all - done < done ? all - done : done;
        const lt_tensor from = lt_view_outer(&flat, (lt_range){0, count});
        lt_tensor to = lt_view_outer(&flat, (lt_range){done, count});
        status = lt_copy(t->queue, &from, &to);
    }
    if (status == LT_OK)
        status = lt_sync(t->queue);
    free(numbers);
    return status;
}

/* rows x width at a column of a block whose rows lie `stride` apart; the block is taken where
 * *block has none. */
static lt_status take(trial *t, lt_arena *step, const char *name, int64_t rows, int64_t width,
                      int64_t stride, int64_t column, lt_tensor *block, lt_tensor *out)
{
    if (block->ndim == 0) {
        LT_TRY(lt_tensor_new(step, name, t->plan->shape.dtype, block, LT_DIMS(rows, stride)));
        LT_TRY(fill_numbers(t, block));
    }
    const lt_tensor of = lt_view_outer(block, (lt_range){0, rows});
    *out = lt_view_columns(&of, (lt_range){column, width});
    return LT_OK;
}

/* q, k and v side by side where their strides allow it, else one after the other. */
static lt_status take_inputs(trial *t, lt_arena *step)
{
    const lt_dnn_shape *s = &t->plan->shape;
    const int64_t q_width = s->heads * s->width, kv_width = s->kv_heads * s->width;
    const int64_t most = s->queries > s->keys ? s->queries : s->keys;
    const int together = s->q_stride == s->k_stride && s->k_stride == s->v_stride &&
                         s->q_stride >= q_width + 2 * kv_width;
    lt_tensor block[3] = {{.ndim = 0}};
    if (together) {
        LT_TRY(lt_tensor_new(step, "attention.check", s->dtype, &block[0],
                             LT_DIMS(most, s->q_stride)));
        LT_TRY(fill_numbers(t, &block[0]));
        block[1] = block[2] = block[0];
    }
    LT_TRY(take(t, step, "attention.check.q", s->queries, q_width, s->q_stride, 0, &block[0],
                &t->op.in[0]));
    LT_TRY(take(t, step, "attention.check.k", s->keys, kv_width, s->k_stride,
                together ? q_width : 0, &block[1], &t->op.in[1]));
    return take(t, step, "attention.check.v", s->keys, kv_width, s->v_stride,
                together ? q_width + kv_width : 0, &block[2], &t->op.in[2]);
}

static lt_status take_outputs(trial *t, lt_arena *step)
{
    const lt_dnn_shape *s = &t->plan->shape;
    lt_tensor block;
    LT_TRY(lt_tensor_new(step, "attention.check.y", s->dtype, &block,
                         LT_DIMS(s->queries, s->y_stride)));
    LT_TRY(lt_fill(t->queue, &block, NAN));
    t->op.out[0] = lt_view_columns(&block, (lt_range){0, s->heads * s->width});
    if (!s->has_lse)
        return LT_OK;
    LT_TRY(lt_tensor_new(step, "attention.check.lse", LT_F32, &t->op.out[1],
                         LT_DIMS(s->heads, s->queries)));
    return lt_fill(t->queue, &t->op.out[1], NAN);
}

static lt_status wrong(const trial *t, const char *what, int64_t query, int64_t head, double found,
                       double want, double allowed)
{
    char text[96];
    lt_hint("--deterministic computes with our own kernels alone");
    LT_FAIL(
        LT_EDEVICE,
        "%s: attention of %s: %s of query %lld, head %lld: want %.6g, as our own kernel has it, "
        "within %.2g, found %.6g",
        dnn.name, lt_dnn_shape_text(&t->plan->shape, text, sizeof text), what, (long long)query,
        (long long)head, want, allowed, found);
}

/* cuDNN's rows against ours, on the host: y [rows, heads * width], lse [heads, rows]. */
static lt_status compare(const trial *t, lt_range rows, const uint16_t *y, const uint16_t *own_y,
                         const float *lse, const float *own_lse)
{
    const lt_dnn_shape *s = &t->plan->shape;
    const int64_t wide = s->heads * s->width;
    for (int64_t i = 0; i < rows.count * wide; i++) {
        const double found = lt_bf16_to_f32(y[i]), want = lt_bf16_to_f32(own_y[i]);
        if (!(fabs(found - want) <= y_tol * t->most)) /* so written, NaN fails */
            return wrong(t, "y", rows.first + i / wide, i % wide / s->width, found, want,
                         y_tol * t->most);
    }
    for (int64_t i = 0; s->has_lse && i < s->heads * rows.count; i++)
        if (!(fabs((double)lse[i] - (double)own_lse[i]) <= lse_tol))
            return wrong(t, "lse", rows.first + i % rows.count, i / rows.count, lse[i], own_lse[i],
                         lse_tol);
    return LT_OK;
}

/* Our own kernel on some rows, and both results on the host: memory for twice y and lse. */
static lt_status own_rows(const trial *t, lt_arena *step, lt_range rows, uint16_t *y, float *lse)
{
    const lt_dnn_shape *s = &t->plan->shape;
    const int64_t wide = s->heads * s->width;
    lt_op own = t->op;
    lt_tensor part;
    own.in[0] = lt_view_outer(&t->op.in[0], rows);
    LT_TRY(lt_tensor_new(step, "attention.check.own", s->dtype, &own.out[0],
                         LT_DIMS(rows.count, wide)));
    if (s->has_lse)
        LT_TRY(lt_tensor_new(step, "attention.check.own.lse", LT_F32, &own.out[1],
                             LT_DIMS(s->heads, rows.count)));
    LT_TRY(lt_cuda_attention_own((lt_cuda_queue *)t->queue, &own));
    part = lt_view_outer(&t->op.out[0], rows);
    LT_TRY(lt_download(t->queue, y, &part));
    LT_TRY(lt_download(t->queue, y + rows.count * wide, &own.out[0]));
    if (s->has_lse) {
        part = lt_view_columns(&t->op.out[1], rows);
        LT_TRY(lt_download(t->queue, lse, &part));
        LT_TRY(lt_download(t->queue, lse + s->heads * rows.count, &own.out[1]));
    }
    return lt_sync(t->queue);
}

static lt_status check_rows(const trial *t, lt_arena *step, lt_range rows)
{
    const lt_dnn_shape *s = &t->plan->shape;
    const int64_t values = rows.count * s->heads * s->width, sums = rows.count * s->heads;
    const lt_mark mark = lt_arena_mark(step);
    uint16_t *y = calloc((size_t)(2 * values), sizeof *y);
    float *lse = calloc((size_t)(2 * sums), sizeof *lse);
    lt_status status = LT_OK;
    if (y == NULL || lse == NULL)
        status = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "attention: no memory to compare %lld rows",
                         (long long)rows.count);
    if (status == LT_OK)
        status = own_rows(t, step, rows, y, lse);
    if (status == LT_OK)
        status = compare(t, rows, y, y + values, lse, lse + sums);
    free(y);
    free(lse);
    lt_arena_release(step, mark);
    return status;
}

static lt_status check(lt_queue *queue, lt_arena *step, const lt_dnn_plan *plan, const lt_op *like)
{
    const lt_dnn_shape *s = &plan->shape;
    /* Uniform numbers of variance most^2 / 3, `width` products of two to a logit. */
    const float spread = like->a * sqrtf((float)s->width);
    const float most = spread > 0 ? sqrtf(3 * (float)LOGITS / spread) : 1;
    const int64_t n = s->queries < EDGE ? s->queries : EDGE;
    const int64_t first[] = {s->queries - n, 0, (s->queries - n) / 2};
    trial t = {.queue = queue,
               .plan = plan,
               .op = {.kind = LT_OP_ATTENTION,
                      .heads = like->heads,
                      .kv_heads = like->kv_heads,
                      .a = like->a},
               .most = most};
    LT_TRY(take_inputs(&t, step));
    LT_TRY(take_outputs(&t, step));
    LT_TRY(run((lt_cuda_queue *)queue, plan, &t.op));
    LT_TRY(lt_sync(queue));
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        if (i == 0 || s->queries > n)
            LT_TRY(check_rows(&t, step, (lt_range){first[i], n}));
    return LT_OK;
}

/* ---- the list ---- */

/* One line and our own kernels, for what is no failure of ours. */
static lt_status without(const char *why)
{
    lt_warn("%s: attention by our own kernel", why);
    return LT_OK;
}

/* Shapes that cuDNN has no plan for, and what it said of the first. */
typedef struct planless {
    int count;
    char why[320];
} planless;

static lt_status add(lt_queue *queue, lt_arena *step, const lt_op *op, planless *none)
{
    const lt_dnn_shape shape = shape_of(op);
    if (find(&shape) != NULL)
        return LT_OK;
    lt_dnn_plan *more = realloc(dnn.plans, (size_t)(dnn.count + 1) * sizeof *more);
    if (more == NULL)
        LT_FAIL(LT_ENOMEM, "attention: no memory for %d plans", dnn.count + 1);
    dnn.plans = more;
    lt_dnn_plan *plan = &dnn.plans[dnn.count];
    const lt_status made = lt_dnn_plan_new(&dnn.target, &shape, plan);
    if (made == LT_ENOMEM)
        return made;
    dnn.count++;
    if (made != LT_OK) {
        if (none->count++ == 0)
            (void)snprintf(none->why, sizeof none->why, "%s", lt_error_text());
        lt_error_clear();
        return LT_OK;
    }
    const lt_mark mark = lt_arena_mark(step);
    const lt_status status = check(queue, step, plan, op);
    lt_arena_release(step, mark);
    return status;
}

lt_status lt_cuda_expect(lt_queue *queue, lt_arena *step, const lt_op *ops, int64_t count)
{
    int64_t wanted = 0;
    char text[400];
    planless none = {.count = 0};
    for (int64_t i = 0; i < count; i++)
        wanted += takes(&ops[i]);
    if (lt_cuda.cc_major < CC_MAJOR || wanted == 0)
        return LT_OK;
    if (dnn.target.handle == NULL) {
        const lt_dnn_api *api = lt_dnn_open(cuda_major(), text, sizeof text);
        if (api == NULL)
            return without(text);
        (void)snprintf(dnn.name, sizeof dnn.name, "%.60s", text);
        const int status = api->create(&dnn.target.handle);
        if (status != 0) {
            dnn.target.handle = NULL;
            (void)snprintf(text, sizeof text, "%.60s cannot be used (%.80s)", dnn.name,
                           api->error_string(status));
            return without(text);
        }
        dnn.target.api = api;
    }
    for (int64_t i = 0; i < count; i++)
        if (takes(&ops[i]))
            LT_TRY(add(queue, step, &ops[i], &none));
    lt_cuda.planned = run_planned;
    (void)snprintf(text, sizeof text, "%s (%d of %d shapes)", none.why, none.count, dnn.count);
    return none.count > 0 ? without(text) : LT_OK;
}

void lt_cuda_dnn_close(void)
{
    lt_cuda.planned = NULL;
    for (int i = 0; i < dnn.count; i++)
        lt_dnn_plan_free(dnn.target.api, &dnn.plans[i]);
    free(dnn.plans);
    if (dnn.target.handle != NULL)
        (void)dnn.target.api->destroy(dnn.target.handle);
    memset(&dnn, 0, sizeof dnn);
}
