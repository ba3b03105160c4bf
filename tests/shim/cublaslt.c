/* cublaslt.c - a stand-in for cuBLASLt on the host: plain products, a strict look at each call.
 *
 * It refuses what the library refuses, and what our rules forbid (docs/spec/gpu-options.md 2): a
 * form other than TN, an f32 product that is not pedantic, an address or a row that is not aligned
 * as the preference said, an algorithm that may split k (its heuristics offer such a one first), a
 * workspace that is too small or misaligned, a bias in bf16. Products run in the stream's order;
 * the workspace is overwritten, as an algorithm may. */
#include "cublasLt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"

struct lt_shim_lt {
    int unused;
};

struct lt_shim_desc {
    cublasComputeType_t compute;
    cublasOperation_t transposed[2];
    cublasLtEpilogue_t epilogue;
    const float *bias;
};

struct lt_shim_layout {
    cudaDataType_t type;
    int64_t rows, columns, ld;
};

struct lt_shim_preference {
    uint64_t value[LT_SHIM_PREFERENCES];
};

static cublasStatus_t refuse(const char *why)
{
    (void)fprintf(stderr, "cuBLASLt's stand-in: %s\n", why);
    return CUBLAS_STATUS_INVALID_VALUE;
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    static const char *const names[] = {"CUBLAS_STATUS_SUCCESS", "CUBLAS_STATUS_ALLOC_FAILED",
                                        "CUBLAS_STATUS_INVALID_VALUE",
                                        "CUBLAS_STATUS_NOT_SUPPORTED"};
    return names[status];
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    if (scale != CUDA_R_32F)
        return refuse("want scales in f32");
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return CUBLAS_STATUS_ALLOC_FAILED;
    (*out)->compute = compute;
    (*out)->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    memset(desc, 0xff, sizeof *desc);
    free(desc);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes)
{
    void *to = attribute == CUBLASLT_MATMUL_DESC_TRANSA     ? (void *)&desc->transposed[0]
               : attribute == CUBLASLT_MATMUL_DESC_TRANSB   ? (void *)&desc->transposed[1]
               : attribute == CUBLASLT_MATMUL_DESC_EPILOGUE ? (void *)&desc->epilogue
                                                            : (void *)&desc->bias;
    const size_t size =
        attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? sizeof desc->bias : sizeof desc->epilogue;
    if (bytes != size)
        return refuse("an attribute of another size");
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType_t type,
                                          uint64_t rows, uint64_t columns, int64_t ld)
{
    if (rows < 1 || columns < 1 || ld < (int64_t)rows)
        return refuse("an empty matrix, or rows wider than their stride");
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return CUBLAS_STATUS_ALLOC_FAILED;
    **out = (struct lt_shim_layout){type, (int64_t)rows, (int64_t)columns, ld};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    memset(layout, 0xff, sizeof *layout);
    free(layout);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return CUBLAS_STATUS_ALLOC_FAILED;
    for (int i = CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
         i <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES; i++)
        (*out)->value[i] = 256; /* the library's own default */
    (*out)->value[CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK] = CUBLASLT_REDUCTION_SCHEME_MASK;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    free(preference);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes)
{
    const int is_64 = attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ||
                      attribute == CUBLASLT_MATMUL_PREF_IMPL_MASK;
    uint32_t narrow = 0;
    if (bytes != (is_64 ? sizeof(uint64_t) : sizeof(uint32_t)))
        return refuse("a preference of another size");
    if (is_64) {
        memcpy(&preference->value[attribute], value, bytes);
    } else {
        memcpy(&narrow, value, bytes);
        preference->value[attribute] = narrow;
    }
    return CUBLAS_STATUS_SUCCESS;
}

static size_t size_of(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }

/* a is W [k, n], b is A [k, m], d is [n, m]. */
static cublasStatus_t check(const struct lt_shim_desc *desc, const struct lt_shim_layout *a,
                            const struct lt_shim_layout *b, const struct lt_shim_layout *d)
{
    if (desc->transposed[0] != CUBLAS_OP_T || desc->transposed[1] != CUBLAS_OP_N)
        return refuse("want the form TN");
    if (a->rows != b->rows || a->columns != d->rows || b->columns != d->columns)
        return refuse("matrices that don't fit each other");
    if (a->type != b->type || (a->type == CUDA_R_32F && d->type != CUDA_R_32F))
        return refuse("dtypes that don't go together");
    if ((a->type == CUDA_R_32F) != (desc->compute == CUBLAS_COMPUTE_32F_PEDANTIC))
        return refuse("want f32 pedantic, bf16 not");
    if (desc->epilogue == CUBLASLT_EPILOGUE_BIAS && d->type != CUDA_R_32F)
        return refuse("a bias that would be rounded to bf16");
    if ((size_t)a->ld * size_of(a->type) % 16 != 0 || (size_t)b->ld * size_of(b->type) % 16 != 0 ||
        (size_t)d->ld * size_of(d->type) % 16 != 0)
        return refuse("rows that don't begin at 16 bytes");
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int asked,
                                              cublasLtMatmulHeuristicResult_t *out, int *found)
{
    const uint64_t *v = preference->value;
    (void)handle;
    const cublasStatus_t status = check(desc, a, b, d);
    if (status != CUBLAS_STATUS_SUCCESS || c != d || asked < 2)
        return refuse("heuristics for a product that cannot run");
    for (int i = CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
         i <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES; i++)
        if (v[i] != 16)
            return refuse("want alignments of 16");
    if (a->type == CUDA_R_32F &&
        v[CUBLASLT_MATMUL_PREF_IMPL_MASK] != CUBLASLT_NUMERICAL_IMPL_FLAGS_FMA)
        return refuse("want f32 by FMA alone");
    if (v[CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK] != CUBLASLT_REDUCTION_SCHEME_NONE)
        return refuse("want no reduction scheme");
    const size_t workspace = (size_t)v[CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES];
    out[0] = (cublasLtMatmulHeuristicResult_t){
        {4, 1, workspace, (int)a->type}, workspace, CUBLAS_STATUS_SUCCESS};
    out[1] = (cublasLtMatmulHeuristicResult_t){
        {1, CUBLASLT_REDUCTION_SCHEME_NONE, workspace, (int)a->type},
        workspace,
        CUBLAS_STATUS_SUCCESS};
    *found = 2;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    void *out, size_t bytes, size_t *written)
{
    if (bytes != sizeof(int32_t))
        return refuse("an attribute of another size");
    memcpy(out,
           attribute == CUBLASLT_ALGO_CONFIG_SPLITK_NUM ? (const void *)&algo->split
                                                        : (const void *)&algo->reduction,
           bytes);
    *written = bytes;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algo,
                                       cublasLtMatmulHeuristicResult_t *out)
{
    (void)handle, (void)c;
    if (algo->operands != (int)a->type || algo->split != 1 || algo->reduction != 0)
        return refuse("an algorithm of another product, or one that splits k");
    out->workspaceSize = algo->workspace;
    return check(desc, a, b, d);
}

typedef struct product {
    struct lt_shim_layout a, b, d;
    const void *w, *x;
    const float *bias; /* or NULL */
    void *y, *workspace;
    size_t workspace_bytes;
} product;

static float at(const void *p, cudaDataType_t type, int64_t i)
{
    return type == CUDA_R_32F ? ((const float *)p)[i] : lt_bf16_to_f32(((const uint16_t *)p)[i]);
}

static void run_product(void *work)
{
    const product *p = work;
    enum { SOILED = 4096 };
    memset(p->workspace, 0xff, p->workspace_bytes < SOILED ? p->workspace_bytes : SOILED);
    for (int64_t m = 0; m < p->d.columns; m++)
        for (int64_t n = 0; n < p->d.rows; n++) {
            float sum = 0;
            for (int64_t k = 0; k < p->a.rows; k++)
                sum = fmaf(at(p->x, p->b.type, m * p->b.ld + k),
                           at(p->w, p->a.type, n * p->a.ld + k), sum);
            if (p->bias != NULL)
                sum += p->bias[n];
            if (p->d.type == CUDA_R_32F)
                ((float *)p->y)[m * p->d.ld + n] = sum;
            else
                ((uint16_t *)p->y)[m * p->d.ld + n] = lt_f32_to_bf16(sum);
        }
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t la, const void *b,
                              cublasLtMatrixLayout_t lb, const void *beta, const void *c,
                              cublasLtMatrixLayout_t lc, void *d, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream)
{
    cublasLtMatmulHeuristicResult_t fits;
    float one = 0, zero = 1;
    memcpy(&one, alpha, sizeof one);
    memcpy(&zero, beta, sizeof zero);
    if (cublasLtMatmulAlgoCheck(handle, desc, la, lb, lc, ld, algo, &fits) != CUBLAS_STATUS_SUCCESS)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (one != 1 || zero != 0 || c != d)
        return refuse("want alpha 1, beta 0, in place");
    if (((uintptr_t)a | (uintptr_t)b | (uintptr_t)d | (uintptr_t)workspace) % 16 != 0)
        return refuse("an address that is not aligned");
    if (workspace_bytes < algo->workspace)
        return refuse("a workspace that is too small");
    if (desc->epilogue == CUBLASLT_EPILOGUE_BIAS && desc->bias == NULL)
        return refuse("no bias");
    const product p = {*la, *lb,       *ld,
                       a,   b,         desc->epilogue == CUBLASLT_EPILOGUE_BIAS ? desc->bias : NULL,
                       d,   workspace, algo->workspace};
    return lt_shim_enqueue(stream, run_product, &p, sizeof p) == cudaSuccess
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_ALLOC_FAILED;
}
