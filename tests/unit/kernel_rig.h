/* kernel_rig.h - the rig of kernel_test.h: tensors in guarded blocks, on one backend, compared with
 * another rig's. */
#ifndef LT_KERNEL_RIG_H
#define LT_KERNEL_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/philox.h"
#include "kernels/kernels.h"
#if defined(KT_PART) || defined(KT_DEVICE) || defined(KT_CARD)
#define KT_NOTED 1
#include "tests/support/table.h"
#endif
#if defined(KT_PART)
#include "tests/emu/part.h"
#elif defined(KT_CARD)
#include "tests/support/gpu_part_open.h"
#elif defined(KT_DEVICE)
#include "tests/shim/cuda_runtime_api.h"
extern const lt_backend KT_DEVICE;
#else
#include "tests/support/each_isa.h"
#endif

enum { KT_OPERANDS_MAX = 16, KT_GUARD_BYTES = 64, KT_GUARD = 0xa5, KT_PARTS_MAX = 4 };

typedef enum { KT_IN, KT_OUT, KT_INOUT } kt_role;

typedef struct kt_operand {
    const char *name;
    kt_role role;
    lt_tensor x, raw; /* as the op sees it; the whole block as bytes */
    size_t offset;    /* of x in the block */
    uint8_t *before, *after;
} kt_operand;

typedef struct kt_rig {
    const lt_backend *backend;
    lt_arena *arena;
    lt_queue *q;
    uint32_t seed;
    int parts; /* 1: whole; 2 or more: rows in parts */
    int count;
    kt_operand operand[KT_OPERANDS_MAX];
} kt_rig;

/* |a - b| <= largest * max|b| + ulps * 2^-7 |b|; share: of a bf16 output's elements, how many may
 * differ at all (only a value near a tie can, so few; 1 where an op may round inside). */
typedef struct kt_tol {
    double largest, ulps, share;
} kt_tol;

#define KT_OK(expr)                                                                                \
    do {                                                                                           \
        const lt_status kt_st_ = (expr);                                                           \
        if (kt_st_ != LT_OK)                                                                       \
            fail_msg("%s: %s: %s", #expr, lt_status_name(kt_st_), lt_error_text());                \
    } while (0)

#ifdef KT_NOTED
static uint32_t kt_kinds; /* of all ops that went to the device since it was last set to 0 */
static const lt_backend *kt_inner;

static inline lt_status kt_note(lt_queue *q, const lt_op *op)
{
    _Static_assert(LT_OP_COUNT <= 32, "a bit a kind");
    kt_kinds |= 1u << op->kind;
    return kt_inner->submit(q, op);
}

/* The device's backend, but that it notes what comes; ref as it is. */
static inline const lt_backend *kt_noted(const lt_backend *backend)
{
    static lt_backend noted;
    if (backend == &lt_backend_ref)
        return backend;
    kt_inner = backend;
    noted = *backend;
    noted.submit = kt_note;
    return &noted;
}
#else
static inline const lt_backend *kt_noted(const lt_backend *backend) { return backend; }
#endif

static inline void kt_open(kt_rig *r, const lt_backend *backend, int threads, int parts,
                           uint32_t seed)
{
    *r = (kt_rig){.backend = kt_noted(backend), .seed = seed, .parts = parts};
    KT_OK(lt_backend_open(backend, 0, threads));
    KT_OK(lt_arena_new("test", backend->memory, (size_t)6 << 20, &r->arena));
    KT_OK(backend->queue_open(LT_QUEUE_COMPUTE, &r->q));
    r->q->backend = r->backend;
}

static inline void kt_close(kt_rig *r)
{
    r->backend->queue_close(&r->q);
    lt_arena_free(&r->arena);
    r->backend->close();
}

static inline void kt_forget(kt_rig *r)
{
    for (int i = 0; i < r->count; i++) {
        free(r->operand[i].before);
        free(r->operand[i].after);
    }
    r->count = 0;
}

/* count normal numbers times scale, the caller's to free; which: apart from the rig's tensors. */
static inline float *kt_normals(const kt_rig *r, uint32_t which, int64_t count, float scale)
{
    float *v = malloc((size_t)(count + 4) * sizeof *v);
    assert_non_null(v);
    for (int64_t i = 0; i < count; i += 4) {
        const uint32_t key[2] = {r->seed, 77}, counter[4] = {(uint32_t)(i / 4), which, 0, 0};
        uint32_t word[4];
        lt_philox4x32(counter, key, word);
        for (int j = 0; j < 4; j++)
            v[i + j] = scale * lt_normal_from_u32(word[j]);
    }
    return v;
}

static inline double kt_value(const kt_operand *p, const uint8_t *block, int64_t i)
{
    const int64_t width = lt_row_width(&p->x);
    const int64_t at = i / width * p->x.row_stride + i % width;
    const uint8_t *e = block + p->offset + (size_t)at * lt_dtype_bytes(p->x.dtype);
    uint16_t half;
    float f;
    memcpy(&half, e, sizeof half);
    if (p->x.dtype == LT_BF16)
        return lt_bf16_to_f32(half);
    if (p->x.dtype == LT_F16)
        return lt_f16_to_f32(half);
    memcpy(&f, e, sizeof f);
    return f;
}

/* Put an element into block; of NULL, NaN. */
static inline void kt_put(const kt_operand *p, uint8_t *block, int64_t i, const void *dense)
{
    const int64_t width = lt_row_width(&p->x);
    const size_t size = lt_dtype_bytes(p->x.dtype);
    const int64_t at = i / width * p->x.row_stride + i % width;
    if (dense == NULL)
        memset(block + p->offset + (size_t)at * size, 0xff, size);
    else
        memcpy(block + p->offset + (size_t)at * size, (const char *)dense + (size_t)i * size, size);
}

/* A tensor with these elements (dense, of dtype; NULL: NaN), rows gap elements further apart than
 * they are wide. With a gap it is misaligned too, as a view of columns is. */
static inline lt_tensor *kt_place(kt_rig *r, const char *name, kt_role role, lt_dtype dtype,
                                  lt_dims dims, int64_t gap, const void *elements)
{
    assert_true(r->count < KT_OPERANDS_MAX);
    kt_operand *p = &r->operand[r->count++];
    const size_t size = lt_dtype_bytes(dtype);
    p->name = name;
    p->role = role;
    p->x = lt_tensor_wrap(NULL, name, dtype, dims);
    p->x.row_stride = lt_row_width(&p->x) + gap;
    p->offset = KT_GUARD_BYTES + (gap > 0 ? size : 0);
    const size_t bytes =
        p->offset + KT_GUARD_BYTES + (size_t)(lt_row_count(&p->x) * p->x.row_stride) * size;
    p->before = malloc(bytes);
    p->after = malloc(bytes);
    assert_true(p->before != NULL && p->after != NULL);
    memset(p->before, KT_GUARD, bytes);
    for (int64_t i = 0; i < lt_elements(&p->x); i++)
        kt_put(p, p->before, i, elements);
    KT_OK(lt_tensor_new(r->arena, name, LT_U8, &p->raw, LT_DIMS((int64_t)bytes)));
    KT_OK(lt_upload(r->q, &p->raw, p->before));
    p->x.data = (char *)p->raw.data + p->offset;
    return &p->x;
}

static inline lt_tensor *kt_take(kt_rig *r, const char *name, kt_role role, lt_dtype dtype,
                                 lt_dims dims, int64_t gap, float scale)
{
    const lt_tensor shape = lt_tensor_wrap(NULL, name, dtype, dims);
    const int64_t count = lt_elements(&shape);
    if (role == KT_OUT)
        return kt_place(r, name, role, dtype, dims, gap, NULL);
    float *v = kt_normals(r, (uint32_t)r->count, count, scale);
    void *cast = malloc((size_t)(count + 1) * sizeof(float));
    assert_non_null(cast);
    lt_convert(v, LT_F32, cast, dtype, (size_t)count);
    lt_tensor *x = kt_place(r, name, role, dtype, dims, gap, cast);
    free(cast);
    free(v);
    return x;
}

/* Indices in [0, limit), all different when distinct. */
static inline lt_tensor *kt_take_index(kt_rig *r, int64_t count, int64_t limit, int distinct)
{
    int32_t *v = malloc((size_t)(count + 1) * sizeof *v);
    assert_non_null(v);
    for (int64_t i = 0; i < count; i++) /* 7 is prime to the limits that distinct cases use */
        v[i] = (int32_t)(distinct ? (7 * i + 2) % limit : (i * i + 3 * i) % limit);
    lt_tensor *x = kt_place(r, "index", KT_IN, LT_I32, LT_DIMS(count), 0, v);
    free(v);
    return x;
}

/* Cut [0, rows): how many ranges. */
static inline int kt_parts(const kt_rig *r, int64_t rows, lt_range range[KT_PARTS_MAX])
{
    if (r->parts == 1 || rows < 3) {
        range[0] = (lt_range){0, rows};
        return 1;
    }
    const int64_t second = 1 + (rows - 1) / 3;
    range[0] = (lt_range){0, 1};
    range[1] = (lt_range){1, second - 1};
    range[2] = (lt_range){second, 0};
    range[3] = (lt_range){second, rows - second};
    return 4;
}

/* Fetch all tensors; guards, gaps and inputs must be as they were. */
static inline void kt_finish(kt_rig *r, const char *what)
{
    for (int i = 0; i < r->count; i++)
        KT_OK(lt_download(r->q, r->operand[i].after, &r->operand[i].raw));
    KT_OK(lt_sync(r->q));
    for (int i = 0; i < r->count; i++) {
        kt_operand *p = &r->operand[i];
        const size_t bytes = lt_tensor_bytes(&p->raw);
        uint8_t *expected = malloc(bytes);
        assert_non_null(expected);
        memcpy(expected, p->before, bytes);
        const size_t size = lt_dtype_bytes(p->x.dtype), stride = (size_t)p->x.row_stride * size;
        for (int64_t s = 0; p->role != KT_IN && s < lt_row_count(&p->x); s++)
            memcpy(expected + p->offset + (size_t)s * stride,
                   p->after + p->offset + (size_t)s * stride, (size_t)lt_row_width(&p->x) * size);
        for (size_t b = 0; b < bytes; b++)
            if (expected[b] != p->after[b])
                fail_msg("%s: %s: %s: byte %ld of the tensor was written", r->backend->name, what,
                         p->name, (long)b - (long)p->offset);
        free(expected);
    }
}

static inline void kt_run_on(kt_rig *r, const lt_backend *backend, int threads, int parts,
                             const char *what, void (*run)(kt_rig *, const void *), const void *c)
{
    kt_open(r, backend, threads, parts, 7);
    run(r, c);
    kt_finish(r, what);
    kt_close(r);
}

/* How far apart they are: of the largest value, and of what is allowed. */
typedef struct kt_error {
    double worst, share;
} kt_error;

static inline kt_error kt_agree(const kt_rig *ref, const kt_rig *got, kt_tol tol, const char *what)
{
    kt_error e = {0, 0};
    for (int k = 0; k < ref->count; k++) {
        const kt_operand *p = &ref->operand[k], *g = &got->operand[k];
        const int64_t count = lt_elements(&p->x);
        if (p->role == KT_IN)
            continue;
        double largest = 0;
        int64_t differ = 0;
        for (int64_t i = 0; i < count; i++)
            if (isfinite(kt_value(p, p->after, i)))
                largest = fmax(largest, fabs(kt_value(p, p->after, i)));
        for (int64_t i = 0; i < count; i++) {
            const double a = kt_value(g, g->after, i), b = kt_value(p, p->after, i);
            const double allowed = tol.largest * largest + tol.ulps * ldexp(fabs(b), -7);
            differ += a != b;
            if (a != b && largest > 0)
                e.worst = fmax(e.worst, fabs(a - b) / largest);
            if (a != b && allowed > 0)
                e.share = fmax(e.share, fabs(a - b) / allowed);
            if (a != b && !(fabs(a - b) <= allowed))
                fail_msg("%s: %s: %s[%lld]: %.9g, ref %.9g, allowed %.3g apart", got->backend->name,
                         what, p->name, (long long)i, a, b, allowed);
        }
        if (p->x.dtype == LT_BF16 && !((double)differ <= tol.share * (double)count + 2))
            fail_msg("%s: %s: %s: %lld of %lld bf16 values differ, allowed a share of %g",
                     got->backend->name, what, p->name, (long long)differ, (long long)count,
                     tol.share);
    }
    return e;
}

static inline void kt_same_bits(const kt_rig *a, const kt_rig *b, const char *what, const char *how)
{
    for (int k = 0; k < a->count; k++)
        if (memcmp(a->operand[k].after, b->operand[k].after, lt_tensor_bytes(&a->operand[k].raw)) !=
            0)
            fail_msg("%s: %s: %s: other bits %s", b->backend->name, what, a->operand[k].name, how);
}

#endif
