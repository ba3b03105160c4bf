/* gemm_lt.c - products by cuBLASLt: D[m, n] = A[m, k] W[n, k]^T (+ bias[n]).
 *
 * cuBLASLt counts columns first: what is [rows, width] to us, with rows ld apart, is a matrix of
 * width x rows. So W, transposed, comes first and A second, and D is n x m (the form "TN").
 *
 * A row's bits must not depend on how many rows come with it, and cuBLASLt's heuristics look at the
 * whole shape. So an algorithm is chosen once a layer, at ROWS_CHOSEN rows, and used for every row
 * count; one that may split k, or add partial sums, is not asked for (docs/spec/gpu-options.md 2:
 * a matter of correctness too). f32 is CUBLAS_COMPUTE_32F_PEDANTIC by FMA: no TF32, no emulation.
 * That cuBLASLt keeps a row's bits with one algorithm is to be seen on a card; nothing here relies
 * on it but --deterministic.
 *
 * tests/shim has a stand-in that checks every attribute, alignment and workspace. */
#include <cublasLt.h>
#include <stdlib.h>

#include "kernels/cuda/cuda.h"

enum { ROWS_CHOSEN = 8192, CANDIDATES = 16 };

struct lt_cuda_gemm {
    lt_cuda_gemm_spec spec;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w; /* shared by all products */
    cublasLtMatmulAlgo_t algo;
};

enum { SHAPES_MAX = 256 };

/* Shapes whose kernels are loaded; more than a model has are only loaded more than once. */
static lt_cuda_gemm_spec loaded[SHAPES_MAX];
static int loaded_count;

static lt_status lt_try(const char *what, cublasStatus_t status)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return LT_OK;
    LT_FAIL(LT_EDEVICE, "cuBLASLt: %s: device %d: %s", what, lt_cuda.device,
            cublasLtGetStatusString(status));
}

lt_status lt_cuda_lt_open(void)
{
    cublasLtHandle_t handle = NULL;
    LT_TRY(lt_try("open", cublasLtCreate(&handle)));
    lt_cuda.lt = handle;
    return LT_OK;
}

void lt_cuda_lt_close(void)
{
    if (lt_cuda.lt != NULL)
        (void)cublasLtDestroy(lt_cuda.lt);
    lt_cuda.lt = NULL;
    loaded_count = 0;
}

static cudaDataType_t type_of(lt_dtype dtype)
{
    return dtype == LT_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static lt_status set_desc(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                          const void *value, size_t bytes)
{
    return lt_try("describe", cublasLtMatmulDescSetAttribute(desc, attribute, value, bytes));
}

static lt_status describe(lt_cuda_gemm *g)
{
    const int f32 = g->spec.operands == LT_F32;
    const cublasOperation_t transposed = CUBLAS_OP_T, plain = CUBLAS_OP_N;
    const cublasLtEpilogue_t epilogue =
        g->spec.has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    LT_TRY(lt_try("describe", cublasLtMatmulDescCreate(
                                  &g->desc, f32 ? CUBLAS_COMPUTE_32F_PEDANTIC : CUBLAS_COMPUTE_32F,
                                  CUDA_R_32F)));
    LT_TRY(set_desc(g->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed));
    LT_TRY(set_desc(g->desc, CUBLASLT_MATMUL_DESC_TRANSB, &plain, sizeof plain));
    LT_TRY(set_desc(g->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
    return lt_try("describe",
                  cublasLtMatrixLayoutCreate(&g->w, type_of(g->spec.operands), (uint64_t)g->spec.k,
                                             (uint64_t)g->spec.n, g->spec.ldw));
}

/* A's and D's layouts for m rows. */
typedef struct rows_layout {
    cublasLtMatrixLayout_t a, d;
} rows_layout;

static void drop_rows(rows_layout *l)
{
    if (l->a != NULL)
        (void)cublasLtMatrixLayoutDestroy(l->a);
    if (l->d != NULL)
        (void)cublasLtMatrixLayoutDestroy(l->d);
}

static lt_status take_rows(const lt_cuda_gemm *g, int64_t m, int64_t lda, int64_t ldd,
                           rows_layout *out)
{
    *out = (rows_layout){NULL, NULL};
    LT_TRY(lt_try("describe", cublasLtMatrixLayoutCreate(&out->a, type_of(g->spec.operands),
                                                         (uint64_t)g->spec.k, (uint64_t)m, lda)));
    return lt_try("describe", cublasLtMatrixLayoutCreate(&out->d, type_of(g->spec.result),
                                                         (uint64_t)g->spec.n, (uint64_t)m, ldd));
}

static lt_status set_preference(cublasLtMatmulPreference_t p,
                                cublasLtMatmulPreferenceAttributes_t attribute, const void *value,
                                size_t bytes)
{
    return lt_try("choose", cublasLtMatmulPreferenceSetAttribute(p, attribute, value, bytes));
}

static lt_status set_preferences(const lt_cuda_gemm *g, cublasLtMatmulPreference_t p)
{
    const uint32_t align = LT_CUDA_ALIGN, reduction = CUBLASLT_REDUCTION_SCHEME_NONE;
    const uint64_t fma = CUBLASLT_NUMERICAL_IMPL_FLAGS_FMA, workspace = lt_cuda.lt_bytes;
    LT_TRY(
        set_preference(p, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace));
    LT_TRY(set_preference(p, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction,
                          sizeof reduction));
    LT_TRY(set_preference(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &align, sizeof align));
    LT_TRY(set_preference(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &align, sizeof align));
    LT_TRY(set_preference(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &align, sizeof align));
    LT_TRY(set_preference(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &align, sizeof align));
    return g->spec.operands == LT_F32
               ? set_preference(p, CUBLASLT_MATMUL_PREF_IMPL_MASK, &fma, sizeof fma)
               : LT_OK;
}

/* Does the algorithm keep k whole? */
static int is_whole(const cublasLtMatmulAlgo_t *algo)
{
    int32_t split = 0;
    uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_MASK;
    size_t written = 0;
    return cublasLtMatmulAlgoConfigGetAttribute(algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &split,
                                                sizeof split, &written) == CUBLAS_STATUS_SUCCESS &&
           cublasLtMatmulAlgoConfigGetAttribute(algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                                &reduction, sizeof reduction,
                                                &written) == CUBLAS_STATUS_SUCCESS &&
           split <= 1 && reduction == CUBLASLT_REDUCTION_SCHEME_NONE;
}

static lt_status ask(lt_cuda_gemm *g, cublasLtMatmulPreference_t p, const rows_layout *l)
{
    cublasLtMatmulHeuristicResult_t result[CANDIDATES];
    int found = 0;
    memset(result, 0, sizeof result);
    LT_TRY(set_preferences(g, p));
    LT_TRY(lt_try("choose", cublasLtMatmulAlgoGetHeuristic(lt_cuda.lt, g->desc, g->w, l->a, l->d,
                                                           l->d, p, CANDIDATES, result, &found)));
    for (int i = 0; i < found; i++)
        if (result[i].state == CUBLAS_STATUS_SUCCESS && is_whole(&result[i].algo)) {
            g->algo = result[i].algo;
            return LT_OK;
        }
    LT_FAIL(LT_EDEVICE,
            "cuBLASLt: device %d: want an algorithm for [%d, %lld] x [%lld, %lld] %s that keeps k "
            "whole, found none of %d",
            lt_cuda.device, (int)ROWS_CHOSEN, (long long)g->spec.k, (long long)g->spec.n,
            (long long)g->spec.k, lt_dtype_name(g->spec.operands), found);
}

static int64_t aligned_ld(int64_t width, lt_dtype dtype)
{
    const int64_t unit = LT_CUDA_ALIGN / (int64_t)lt_dtype_bytes(dtype);
    return (width + unit - 1) / unit * unit;
}

static lt_status choose(lt_cuda_gemm *g)
{
    cublasLtMatmulPreference_t p = NULL;
    rows_layout l = {NULL, NULL};
    lt_status status = take_rows(g, ROWS_CHOSEN, aligned_ld(g->spec.k, g->spec.operands),
                                 aligned_ld(g->spec.n, g->spec.result), &l);
    if (status == LT_OK)
        status = lt_try("choose", cublasLtMatmulPreferenceCreate(&p));
    if (status == LT_OK)
        status = ask(g, p, &l);
    if (p != NULL)
        (void)cublasLtMatmulPreferenceDestroy(p);
    drop_rows(&l);
    return status;
}

/* ---- the first product of each shape ---- */

static int is_loaded(const lt_cuda_gemm_spec *s)
{
    for (int i = 0; i < loaded_count; i++) {
        const lt_cuda_gemm_spec *l = &loaded[i];
        if (l->n == s->n && l->k == s->k && l->ldw == s->ldw && l->operands == s->operands &&
            l->result == s->result && l->has_bias == s->has_bias)
            return 1;
    }
    return 0;
}

static lt_cuda_queue *compute_queue(void)
{
    lt_cuda_queue *q = lt_cuda.queues;
    while (q != NULL && q->base.kind != LT_QUEUE_COMPUTE)
        q = q->next;
    return q;
}

/* One row of zeros in the workspace times W, behind it. */
static lt_status load(const lt_cuda_gemm *g, const void *w)
{
    lt_cuda_queue *q = compute_queue();
    const lt_cuda_gemm_spec *s = &g->spec;
    const size_t size = lt_dtype_bytes(s->operands);
    const int64_t ldx = aligned_ld(s->k, s->operands), ldy = aligned_ld(s->n, LT_F32);
    const size_t x_bytes = ((size_t)ldx * size + 255) / 256 * 256,
                 y_bytes = (size_t)ldy * sizeof(float);
    if (q == NULL || x_bytes + 2 * y_bytes > q->workspace_bytes || is_loaded(s))
        return LT_OK;
    const int64_t floats = (int64_t)((x_bytes + 2 * y_bytes) / sizeof(float));
    const lt_op fill = {.kind = LT_OP_FILL,
                        .out = {lt_tensor_wrap(q->workspace, "x, bias", LT_F32, LT_DIMS(floats))}};
    char *bias = (char *)q->workspace + x_bytes;
    LT_TRY(lt_cuda_fill(q, &fill));
    LT_TRY(lt_cuda_gemm_run(q, g, 1, q->workspace, ldx, w,
                            s->has_bias ? (const float *)(const void *)bias : NULL, bias + y_bytes,
                            ldy));
    if (loaded_count < SHAPES_MAX)
        loaded[loaded_count++] = *s;
    return LT_OK;
}

lt_status lt_cuda_gemm_new(const lt_cuda_gemm_spec *spec, const void *w, lt_cuda_gemm **out)
{
    lt_cuda_gemm *g = calloc(1, sizeof *g);
    if (g == NULL)
        LT_FAIL(LT_ENOMEM, "cuBLASLt: no memory for a product's description");
    g->spec = *spec;
    lt_status status;
    LT_TRY_GOTO(describe(g), status, failed);
    LT_TRY_GOTO(choose(g), status, failed);
    LT_TRY_GOTO(load(g, w), status, failed);
    *out = g;
    return LT_OK;
failed:
    lt_cuda_gemm_free(&g);
    return status;
}

void lt_cuda_gemm_free(lt_cuda_gemm **gemm)
{
    lt_cuda_gemm *g = *gemm;
    *gemm = NULL;
    if (g == NULL)
        return;
    if (g->w != NULL)
        (void)cublasLtMatrixLayoutDestroy(g->w);
    if (g->desc != NULL)
        (void)cublasLtMatmulDescDestroy(g->desc);
    free(g);
}

static lt_status run_rows(lt_cuda_queue *q, const lt_cuda_gemm *g, const rows_layout *l,
                          const void *a, const void *w, void *d)
{
    const float one = 1, zero = 0;
    cublasLtMatmulHeuristicResult_t fits;
    memset(&fits, 0, sizeof fits);
    LT_TRY(lt_try("product", cublasLtMatmulAlgoCheck(lt_cuda.lt, g->desc, g->w, l->a, l->d, l->d,
                                                     &g->algo, &fits)));
    return lt_try("product",
                  cublasLtMatmul(lt_cuda.lt, g->desc, &one, w, g->w, a, l->a, &zero, d, l->d, d,
                                 l->d, &g->algo, (char *)q->workspace + q->workspace_bytes,
                                 lt_cuda.lt_bytes, q->stream));
}

lt_status lt_cuda_gemm_run(lt_cuda_queue *q, const lt_cuda_gemm *g, int64_t m, const void *a,
                           int64_t lda, const void *w, const float *bias, void *d, int64_t ldd)
{
    rows_layout l;
    if (m == 1) { /* nothing follows the one row: any stride */
        lda = aligned_ld(g->spec.k, g->spec.operands);
        ldd = aligned_ld(g->spec.n, g->spec.result);
    }
    if (bias != NULL)
        LT_TRY(set_desc(g->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
    lt_status status = take_rows(g, m, lda, ldd, &l);
    if (status == LT_OK)
        status = run_rows(q, g, &l, a, w, d);
    drop_rows(&l);
    return status;
}
