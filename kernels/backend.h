/* backend.h - the table that a device fills in, and the one form in which work reaches it.
 * Design. Every numeric operation is a value, lt_op: its kind, its tensors, its numbers. The
 * functions of kernels.h check shapes and dtypes once, build an lt_op and hand it to the queue's
 * backend. So a backend is small: `ref` and `cpu` are tables of plain functions over lt_op; `far`
 * stores ops and runs them late through another backend after translating addresses; `dry` counts
 * them. A kernel added to kernels.h is one enum value, one checked op, and one function
 * per backend; lt_backend_open refuses a backend whose table has holes and lists them.
 *
 * Queues. A rank has a compute, a comm and a copy queue (docs/design.md 4). Ops of one queue run in
 * order. On ref, and
 * on cpu's compute and copy queues, an op has finished when submit returns; on far, cuda and cpu's
 * comm queue it has not: results may be read only after sync, or on another queue that waits for an
 * event. Where an op has to have finished anyway, such a wait blocks the host. */
#ifndef LT_BACKEND_H
#define LT_BACKEND_H

#include "base/tensor.h"
#include "kernels/host_call.h"

enum { LT_BACKEND_API = 6 }; /* bump when a member is added, moved or changes meaning */

typedef struct lt_backend lt_backend;
typedef struct lt_queue lt_queue;
typedef enum { LT_QUEUE_COMPUTE, LT_QUEUE_COMM, LT_QUEUE_COPY } lt_queue_kind;

/* Begin of each backend's queue struct. */
struct lt_queue {
    const lt_backend *backend;
    lt_queue_kind kind;
};

/* "All that was submitted to queue so far"; seq 0 with queue NULL is an event that has happened. */
typedef struct lt_event {
    lt_queue *queue;
    uint64_t seq;
} lt_event;

/* What each op finds in in[], out[] and among the numbers of lt_op; '?' may be absent. */
/* clang-format off */
typedef enum lt_op_kind {
                           /* in                        out     numbers */
    LT_OP_LINEAR,          /* x                         y       weights linear, activation */
    LT_OP_CONV,            /* x                         y       weights conv */
    LT_OP_COPY,            /* x                         y       (casts) */
    LT_OP_FILL,            /*                           y       a */
    LT_OP_AXPBY,           /* x                         y       a, b */
    LT_OP_MUL,             /* x                         y */
    LT_OP_SCALE_ADD,       /* x, scale                  y */
    LT_OP_ACTIVATION,      /* x                         y       activation */
    LT_OP_CLAMP,           /* x                         y       a, b */
    LT_OP_RMS_NORM,        /* x, w?                     y       eps, rounding */
    LT_OP_LAYER_NORM,      /* x, w, b                   y       eps */
    LT_OP_GROUP_NORM,      /* x, w, b                   y       eps, groups, activation */
    LT_OP_NORM_MODULATE,   /* x, w, table, index        y       eps, columns a shift, b scale */
    LT_OP_GATE_ADD,        /* x, table, index           y       column_a gate */
    LT_OP_SWIGLU,          /* x                         y */
    LT_OP_HEAD_NORM_ROPE,  /* w?, cos?, sin?            y       heads, eps, rounding */
    LT_OP_ATTENTION,       /* q, k, v                   y, lse? (kv_)heads, a, causal, q_first */
    LT_OP_ATTENTION_MERGE, /* y2, lse2                  y, lse  heads */
    LT_OP_GATHER_ROWS,     /* x, index                  y */
    LT_OP_SCATTER_ROWS,    /* x, index                  y */
    LT_OP_SUM_PARTS,       /* x                         y */
    LT_OP_PAD_REFLECT,     /* x                         y       pad top, bottom, left, right */
    LT_OP_SNAKE,           /* x, alpha                  y */
    LT_OP_SNAKE_AA,        /* x, alpha, beta, up, down  y */
    LT_OP_COUNT
} lt_op_kind;
/* clang-format on */

typedef enum { LT_ACT_NONE, LT_ACT_SILU, LT_ACT_GELU_TANH, LT_ACT_GELU_ERF } lt_activation;

/* Where a bf16 norm with a weight rounds: torch.nn.RMSNorm multiplies by the weight in f32 and
 * rounds once (spec/minimax-h3.md 4.5); Qwen rounds the normed value, then the product (3.1). */
typedef enum { LT_ROUND_ONCE, LT_ROUND_TWICE } lt_rounding;

/* A linear layer as a backend keeps it (packed, cast). Backends put their own members behind. */
typedef struct lt_linear {
    const lt_backend *backend; /* set by lt_linear_prepare, so that kernels name no table */
    int64_t in, out;
    int has_bias;
    lt_dtype compute; /* dtype that x must have: LT_F32 or LT_BF16 */
} lt_linear;

/* y = x W^T + b. What a backend packs from. */
typedef struct lt_linear_spec {
    int64_t in, out;
    const void *weights;    /* host, [out, in] dense, weights_dtype; NULL on dry */
    lt_dtype weights_dtype; /* LT_F32 or LT_BF16 */
    const float *bias;      /* host, [out] or NULL */
    int has_bias;           /* also on dry, where bias is NULL */
    /* LT_F32: f32 arithmetic. LT_BF16: x is bf16, f32 weights are rounded to bf16, sums are f32. */
    lt_dtype compute;
} lt_linear_spec;

/* A convolution over [B, T, H, W, C] (audio: T = H = 1, W is time), zero padding, channels last. */
typedef struct lt_conv_spec {
    int64_t in, out;                           /* channels */
    int64_t kernel[3], stride[3], dilation[3]; /* T, H, W */
    int64_t pad_before[3], pad_after[3]; /* zeros; transposed: what is cut from the full output */
    int transposed;                      /* 1: stride is the upsampling rate */
    /* Host f32, [out, in, kT, kH, kW]; transposed [in, out, kT, kH, kW]; NULL on dry. */
    const float *weights;
    const float *bias; /* host f32, [out] or NULL */
    int has_bias;
} lt_conv_spec;

typedef struct lt_conv {
    const lt_backend *backend; /* as a linear layer's */
    lt_conv_spec spec;         /* weights and bias are NULL here: the packed copy counts */
} lt_conv;

/* Output length along axis i for an input length; 0 or less: too short. Source: torch Conv3d. */
int64_t lt_conv_length(const lt_conv_spec *spec, int axis, int64_t length);

typedef struct lt_op {
    lt_op_kind kind;
    lt_tensor in[5], out[2]; /* absent ones have ndim 0 */
    const lt_linear *linear;
    const lt_conv *conv;
    lt_activation activation;
    lt_rounding rounding;
    float a, b, eps;
    int64_t heads, kv_heads, groups, q_first, column_a, column_b, pad[4];
    int causal;
} lt_op;

/* Host memory that a backend takes for an op beside its tensors: one block that its threads share,
 * and one for each thread. It grows and is kept until the backend is closed. */
typedef struct lt_scratch {
    size_t shared_bytes, thread_bytes;
} lt_scratch;

/* "linear", "conv", ... Local. */
const char *lt_op_name(lt_op_kind kind);
/* Multiplications and additions of an op (dry.c says how they are counted). Local. */
double lt_op_flops(const lt_op *op);

typedef lt_status (*lt_kernel)(const lt_op *op);

/* What only a backend knows of its device. */
typedef struct lt_device {
    char name[96];      /* the processor's or the card's */
    char isa[24];       /* what kernels are built for: "avx512", "sm_90" */
    char libraries[64]; /* "oneDNN 2.6.3"; "": none */
    char id[16];        /* a card's own, unique in the world; zeros: it is the host's processor */
    int has_own_memory; /* 1: tensors lie in memory of its own, beside the host's */
    int64_t memory_bytes, left_bytes; /* all of the memory that arenas come from, and what is free;
                                         -1: not known, as of a card that is not claimed */
    int64_t taken_bytes; /* of its own memory, what an open backend takes beside arenas */
    int has_bf16;        /* multiplies bf16 itself: what --dtype auto asks */
    int64_t row_block, query_chunk; /* rows that a network takes at a time; queries of attention */
    int act_partials; /* partial results of attention come in q's dtype (then they may be faster) */
} lt_device;

struct lt_backend {
    uint32_t api;
    const char *name;        /* "ref", "cpu", "far", "dry", "cuda" */
    const lt_memory *memory; /* device memory for arenas */
    const lt_memory *pinned; /* host memory that copies reach without a detour; NULL: any will do */
    int host_access; /* 1: the CPU may read tensors when the queue is idle (transports do) */
    int is_dry;      /* 1: counts and computes nothing; the host side of copies may be NULL */

    /* What device `device` is, also before open. Local. */
    void (*describe)(int device, lt_device *out);

    /* This process computes on that device and no other: from here on describe knows what it has
     * left. On a card that makes a context, which takes some of it. NULL: nothing to claim.
     * Blocking. Errors: LT_EUNAVAIL. */
    lt_status (*claim)(int device);
    /* device: which of the host's, from 0; a host has one processor, so ref and cpu take any.
     * threads: how many the kernels may use, from the plan. Blocking. Errors: LT_EUNAVAIL. */
    lt_status (*open)(int device, int threads);
    void (*close)(void);

    lt_status (*queue_open)(lt_queue_kind kind, lt_queue **out);
    void (*queue_close)(lt_queue **queue);

    /* from / to are host memory, dense; they must stay as they are until the queue has passed. */
    lt_status (*upload)(lt_queue *q, const lt_tensor *to, const void *from);
    lt_status (*download)(lt_queue *q, void *to, const lt_tensor *from);
    lt_status (*mark)(lt_queue *q, lt_event *event);
    lt_status (*wait)(lt_queue *q, const lt_event *event); /* the host only where ops run at once */
    lt_status (*sync)(lt_queue *q);                        /* Blocking */
    /* fn(work, call) in the queue's order, on any thread of the host; work [bytes] is copied. A
     * failure of fn is kept: what lies behind it on q does not run, and waits and syncs return it.
     * */
    lt_status (*host)(lt_queue *q, lt_host_fn fn, const void *work, size_t bytes);
    /* How many of what marks count have run. Any thread. */
    uint64_t (*done)(const lt_queue *q);
    /* This rank has failed: drop what q holds and has not begun, and wait for what runs, whose
     * back-off says that it must end. q is of no use afterwards: waits and syncs return a failure.
     * This and they keep the error text. */
    void (*cancel)(lt_queue *q);

    /* Device bytes that a prepared layer needs; prepare packs into memory of that size (64-aligned,
     * the caller's, released after *_release). Blocking. A release may come while ops of the layer
     * are still queued: they keep what they need. The two *_bytes read no weights and answer before
     * open too: dry asks them. */
    size_t (*linear_bytes)(const lt_linear_spec *spec);
    lt_status (*linear_prepare)(const lt_linear_spec *spec, void *memory, lt_linear **out);
    void (*linear_release)(lt_linear **linear);
    size_t (*conv_bytes)(const lt_conv_spec *spec);
    lt_status (*conv_prepare)(const lt_conv_spec *spec, void *memory, lt_conv **out);
    void (*conv_release)(lt_conv **conv);

    /* The attention that will come, as a dry run listed it (lt_dry_attention): what has to be
     * planned, loaded, launched and compared for it is, now, since later nothing may be allocated.
     * ops' tensors have no data; scratch is step's, which has room for theirs. q: the compute
     * queue. It may choose faster kernels by that; once it has, an attention that is for them and
     * was not listed is LT_EINTERNAL. Without a list a row's bits do not depend on how many rows
     * there are. NULL: it has no use for a list. Blocking. Errors: LT_EDEVICE where results are
     * wrong. */
    lt_status (*expect)(lt_queue *q, lt_arena *step, const lt_op *ops, int64_t count);

    /* Asks by the op's shapes alone: its tensors may be dry's, its layers another backend's. */
    lt_scratch (*op_scratch)(const lt_op *op);
    lt_status (*submit)(lt_queue *q, const lt_op *op);
    const lt_kernel *kernels; /* [LT_OP_COUNT] of ref and cpu; NULL where submit needs no table */
};

extern const lt_backend lt_backend_ref; /* plain C, the reference of all */
extern const lt_backend lt_backend_cpu; /* oneDNN and own kernels */
extern const lt_backend lt_backend_far; /* tests: unreadable memory, late queues, over cpu */
extern const lt_backend lt_backend_dry; /* counts; touches no memory */

/* "cpu", "ref", "far", "dry" -> table; "auto" and NULL: the best that there is. Errors: LT_EUNAVAIL
 * with the list of known names ("cuda" says what is missing). Local. */
lt_status lt_backend_find(const char *name, const lt_backend **out);
/* Complete? Errors: LT_EINTERNAL listing all that is missing. Local. */
lt_status lt_backend_check(const lt_backend *backend);
/* Check completeness, then open; threads >= 1. Errors: as the check's and the backend's. Local,
 * Blocking. */
lt_status lt_backend_open(const lt_backend *backend, int device, int threads);

/* ---- far only (kernels/far) ----
 * Begin the sequence that chooses when queued work runs. Local. */
void lt_far_seed(uint64_t seed);

/* ---- dry only: what was counted since the last reset (kernels/dry). Local. ---- */
typedef struct lt_dry_counts {
    double flops[LT_OP_COUNT], bytes[LT_OP_COUNT];
    int64_t calls[LT_OP_COUNT];
} lt_dry_counts;
void lt_dry_reset(void);
lt_dry_counts lt_dry_read(void);
/* Host memory of a dry run, beside the arenas. The code that runs dry says what it would take
 * (bytes > 0) and give back (< 0); the backend's own scratch is asked of the target. */
typedef struct lt_dry_memory {
    int64_t now_bytes, peak_bytes; /* as said */
    lt_scratch scratch;            /* the largest of all ops */
    int64_t disk_now_bytes, disk_peak_bytes;
} lt_dry_memory;
/* All attentions of dry runs since the reset, where the target has a use for them (expect): a shape
 * once, strides and alignment included. They stay until the next reset or dry run. */
void lt_dry_attention_reset(void);
const lt_op *lt_dry_attention(int64_t *count);
/* Has it? Then a dry run has to meet every shape, not only the largest. */
int lt_dry_lists_attention(void);
void lt_dry_host(int64_t bytes);
/* The same of a file of the run's own. */
void lt_dry_disk(int64_t bytes);
void lt_dry_memory_reset(void);
lt_dry_memory lt_dry_memory_read(void);
/* Whose *_bytes, scratch and device dry answers with (default cpu). */
void lt_dry_target(const lt_backend *target);
/* The target's host_access: what the CPU cannot read is staged beside it. */
int lt_dry_host_access(void);

#endif
