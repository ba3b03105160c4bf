/* cuda.h - what the files of this folder share: the queue, the table of ops, views, products.
 *
 * Design of the folder.
 * An op reaches the device in three steps. backend_cuda.c, plain C, has the queue: a CUDA stream,
 * its events, its workspace. It picks the op's function in lt_cuda_kernels. That function, host
 * code of a `.cu` file or of linear.c and conv.c, turns the op's tensors into views, chooses grid
 * and block by the shape alone, and launches. Nothing is allocated there: what an op needs beside
 * its tensors is the queue's workspace, which the stream's own order protects.
 *
 * One source, two compilers. Each `.cu` file is CUDA for nvcc and plain C++ for g++ or clang++:
 * prims.cuh holds all that differs (launches, shared memory, warp operations, inline PTX), and
 * tests/shim has the same names for the host. So a kernel's indexing, tails, order of sums and
 * barriers are tested against kernels/ref on any machine, under AddressSanitizer, in several orders
 * of threads. What the shim cannot see: wrong PTX text, what ptxas makes of it, and the hardware.
 *
 * Bits. A row's result depends on the row alone: who computes it, and in which order its sums run,
 * goes by widths, never by row counts, addresses or alignment. So a load of eight elements is one
 * access where the address allows it and eight where not, and what follows is the same. Nothing is
 * contracted (nvcc -fmad=false); a kernel writes fmaf where it means it.
 *
 * Offsets are 64 bits: an activation of the released model's FFN has 3.1e9 elements.
 *
 * All functions are Local and Queued on q unless they say Blocking. Tested: tests/shim. */
#ifndef LT_CUDA_H
#define LT_CUDA_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "kernels/backend.h"

enum {
    LT_CUDA_EVENTS = 1024, /* marks that a queue tells apart; an older one waits for a newer */
    LT_CUDA_ALIGN = 16     /* of addresses and rows that cuBLASLt is given, in bytes */
};

typedef struct lt_cuda_host lt_cuda_host;

typedef struct lt_cuda_queue {
    lt_queue base;
    cudaStream_t stream;
    cudaEvent_t event[LT_CUDA_EVENTS];
    uint64_t marked;            /* the last mark's number */
    uint64_t seen;              /* marks known to have happened; atomic */
    void *workspace;            /* compute queue only: one op's scratch, in the stream's order */
    size_t workspace_bytes;     /* behind it LT_CUDA_LT_BYTES for cuBLASLt */
    lt_cuda_host *host;         /* NULL: no host function came yet */
    struct lt_cuda_queue *next; /* of all that are open */
} lt_cuda_queue;

/* Asked again and again while the main thread waits for a stream; a failure ends the wait. over:
 * the last call of a wait, whose answer does not count. What carries tensors between devices sets
 * it (parallel/collective/exchange_nccl.c): a stream may hold work that waits for another rank. */
typedef lt_status (*lt_cuda_waiting_fn)(int over);

/* An attention by a plan that was made at open; *is_done 0: it is not one for plans. */
typedef lt_status (*lt_cuda_planned_fn)(lt_cuda_queue *q, const lt_op *op, int *is_done);

/* What backend_cuda.c knows of the device that is open. */
typedef struct lt_cuda_state {
    int device, processors, cc_major;
    int is_claimed;  /* device is this process's */
    size_t lt_bytes; /* cuBLASLt's workspace */
    void *lt;        /* cublasLtHandle_t */
    lt_cuda_queue *queues;
    lt_cuda_waiting_fn waiting; /* NULL: nothing but the device itself is waited for */
    lt_cuda_planned_fn planned; /* NULL: no list came, attention is our own kernels' */
    int stuck; /* 1: a cancelled stream did not end. What it uses stays; the process ends soon */
} lt_cuda_state;
extern lt_cuda_state lt_cuda;

/* Kernels of this library, as launches name them. A driver loads a kernel when it is first used,
 * and may wait for the device then, on which an exchange waits for another rank: so all are loaded
 * as the device is opened. */
typedef struct lt_cuda_kernel_name {
    const void *kernel;
    struct lt_cuda_kernel_name *next;
} lt_cuda_kernel_name;
extern lt_cuda_kernel_name *lt_cuda_known;

typedef lt_status (*lt_cuda_kernel)(lt_cuda_queue *q, const lt_op *op);
extern const lt_cuda_kernel lt_cuda_kernels[LT_OP_COUNT];
extern const lt_backend lt_backend_cuda;

/* what: "copy", "linear". Errors: LT_EDEVICE with CUDA's words; LT_ENOMEM for its own. */
lt_status lt_cuda_try(const char *what, cudaError_t error);
/* Until the stream is empty; main thread. Blocking. Errors: LT_EDEVICE, lt_cuda.waiting's. */
lt_status lt_cuda_stream_wait(const char *what, cudaStream_t stream);
/* Until all queues are empty. Blocking. */
lt_status lt_cuda_idle(void);
/* rows of `width` bytes from host memory. Blocking. */
lt_status lt_cuda_fill_device(const char *what, void *to, size_t to_pitch, const void *from,
                              size_t from_pitch, size_t width, size_t rows);

/* rows.cu */
lt_status lt_cuda_copy(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_fill(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_axpby(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_mul(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_scale_add(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_activation(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_clamp(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_swiglu(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_gate_add(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_gather_rows(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_scatter_rows(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_sum_parts(lt_cuda_queue *q, const lt_op *op);
/* y = act(sums + bias) of a product: sums and y may be the same rows; sums NULL: zeros. */
lt_status lt_cuda_finish_linear(lt_cuda_queue *q, const lt_tensor *sums, const float *bias,
                                lt_activation activation, const lt_tensor *y);

/* norm.cu */
lt_status lt_cuda_rms_norm(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_layer_norm(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_norm_modulate(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_head_norm_rope(lt_cuda_queue *q, const lt_op *op);
/* group_norm.cu */
lt_status lt_cuda_group_norm(lt_cuda_queue *q, const lt_op *op);

/* attention.cu, which asks lt_cuda.planned first, and gives what it can to attention_mma.cu; own:
 * without plans */
lt_status lt_cuda_attention(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_attention_own(lt_cuda_queue *q, const lt_op *op);
int lt_cuda_attention_is_mma(const lt_op *op); /* by dtype, width, alignment */
lt_status lt_cuda_attention_mma(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_attention_merge(lt_cuda_queue *q, const lt_op *op);

/* ---- attention_cudnn.c ---- */
/* lt_backend.expect. */
lt_status lt_cuda_expect(lt_queue *q, lt_arena *step, const lt_op *ops, int64_t count);
/* Drops all plans. Blocking. */
void lt_cuda_dnn_close(void);
/* 1: a card of this major compute capability has its attention from cuDNN, where shapes are listed.
 * text: "cuDNN 9.19.0", or "our own attention" and why. Local. */
int lt_cuda_dnn_found(int major, char *text, size_t bytes);

/* media.cu */
lt_status lt_cuda_pad_reflect(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_snake(lt_cuda_queue *q, const lt_op *op);
lt_status lt_cuda_snake_aa(lt_cuda_queue *q, const lt_op *op);

/* ---- products: gemm_lt.c ---- */

/* D[m, n] = A[m, k] W[n, k]^T: A and W of one dtype (f32 or bf16), sums f32, D f32 or bf16. One
 * algorithm, chosen when the plan is made, whatever m. */
typedef struct lt_cuda_gemm lt_cuda_gemm;
typedef struct lt_cuda_gemm_spec {
    int64_t n, k;
    int64_t ldw; /* elements from row to row of W; its bytes a multiple of LT_CUDA_ALIGN */
    lt_dtype operands, result;
    int has_bias; /* result is f32: added to the sums, exactly */
} lt_cuda_gemm_spec;

/* w: W's memory, which has values; a product of each shape runs once here, so that its kernel is
 * loaded. Blocking. Errors: LT_EDEVICE (no algorithm), LT_ENOMEM. */
lt_status lt_cuda_gemm_new(const lt_cuda_gemm_spec *spec, const void *w, lt_cuda_gemm **out);
void lt_cuda_gemm_free(lt_cuda_gemm **gemm);
/* Addresses and rows of a, w, d are multiples of LT_CUDA_ALIGN bytes; bias is f32 [n] or NULL. */
lt_status lt_cuda_gemm_run(lt_cuda_queue *q, const lt_cuda_gemm *gemm, int64_t m, const void *a,
                           int64_t lda, const void *w, const float *bias, void *d, int64_t ldd);
/* Blocking. */
lt_status lt_cuda_lt_open(void);
void lt_cuda_lt_close(void);

/* ---- linear.c, conv.c ---- */
lt_status lt_cuda_linear(lt_cuda_queue *q, const lt_op *op);
size_t lt_cuda_linear_bytes(const lt_linear_spec *spec);
lt_status lt_cuda_linear_prepare(const lt_linear_spec *spec, void *memory, lt_linear **out);
void lt_cuda_linear_release(lt_linear **linear);
lt_status lt_cuda_conv(lt_cuda_queue *q, const lt_op *op);
size_t lt_cuda_conv_bytes(const lt_conv_spec *spec);
lt_status lt_cuda_conv_prepare(const lt_conv_spec *spec, void *memory, lt_conv **out);
void lt_cuda_conv_release(lt_conv **conv);

/* How a convolution's part meets its input along T, H, W: output cell m reads at m * step + first +
 * tap * stride_of_taps, for each tap. im2col.cu; conv.c says what a part is. */
typedef struct lt_cuda_cells {
    int64_t length[3]; /* of the input */
    int64_t count[3];  /* output cells of the part */
    int64_t step[3], first[3];
    int64_t taps[3], tap_step[3];
    int64_t channels;
} lt_cuda_cells;

/* Rows [begin, begin + rows) of the part's output cells, over all clips: each tap's channels side
 * by side, zero outside; rows of `to` lie ld elements apart. */
lt_status lt_cuda_im2col(lt_cuda_queue *q, const lt_cuda_cells *cells, const float *x,
                         int64_t begin, int64_t rows, float *to, int64_t ld);

/* Where a part's output cells lie in y [B, length...]. */
typedef struct lt_cuda_places {
    int64_t count[3];  /* cells of the part */
    int64_t length[3]; /* of y */
    int64_t step[3], first[3];
    int64_t channels;
} lt_cuda_places;

/* y at the places of rows [begin, begin + rows) = from + bias (either may be NULL: zero). */
lt_status lt_cuda_place(lt_cuda_queue *q, const lt_cuda_places *places, const float *from,
                        int64_t ld, int64_t begin, int64_t rows, const float *bias, float *y);

/* driver.c: the stream goes on once the word at `at` has reached value, cyclically. */
cudaError_t lt_cuda_wait_value(cudaStream_t stream, const uint32_t *at, uint32_t value);

/* ---- parallel/collective/exchange_nccl.c, where this build has NCCL (LT_HAVE_NCCL) ---- */
extern const struct lt_device_exchange lt_exchange_nccl;
/* text: "NCCL 2.28.9", or why it is of no use. 1: it is of use. Local. */
int lt_nccl_found(char *text, size_t bytes);

/* ---- host.c: work of the host in a stream's order ---- */
lt_status lt_cuda_host_push(lt_cuda_queue *q, lt_host_fn fn, const void *work, size_t bytes);
lt_status lt_cuda_host_failure(const lt_cuda_queue *q); /* LT_OK: none so far */
/* Until what was pushed has run. Blocking. Errors: the kept failure. */
lt_status lt_cuda_host_wait(lt_cuda_queue *q);
void lt_cuda_host_cancel(lt_cuda_queue *q);
void lt_cuda_host_close(lt_cuda_queue *q); /* Blocking */

#ifdef __cplusplus
}
#endif
#endif
