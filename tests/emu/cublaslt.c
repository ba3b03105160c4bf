/* cublaslt.c - a stand-in for libcublasLt.so.13 over the interpreter's device.
 *
 * It has the functions that longtake_cuda.so imports, with the library's own header. It takes
 * products as gemm_lt.c makes them (TN, f32 pedantic by FMA, bf16 with f32 sums, a bias only in
 * f32, 16-byte alignment, one algorithm that keeps k whole) and refuses the rest in words, at the
 * call that is wrong; its heuristics offer one that splits k first. Operands must have values,
 * results and the whole workspace must lie in the device's memory; what is first in the workspace
 * has no value afterwards. Sums are f32 in order of k by fma, rounded once to D's dtype. */
#include <cublasLt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emu/emu.h"

enum { ALIGN = 16, KINDS = 32 };

struct cublasLtContext {
    int open;
};

typedef struct desc {
    cublasComputeType_t compute;
    cublasOperation_t transposed[2];
    cublasLtEpilogue_t epilogue;
    const float *bias;
} desc;

typedef struct layout {
    cudaDataType_t type;
    int64_t rows, columns, ld;
} layout;

typedef struct preference {
    uint64_t value[KINDS];
} preference;

typedef struct algorithm {
    int32_t split;
    uint32_t reduction;
    uint64_t workspace;
    int64_t n, k; /* of the product that it was chosen for */
    int32_t operands, result;
} algorithm;

_Static_assert(sizeof(algorithm) <= sizeof(cublasLtMatmulAlgo_t), "an algorithm fits its place");

static cublasStatus_t refuse(const char *why)
{
    char text[200];
    (void)snprintf(text, sizeof text, "cuBLASLt: %s", why);
    lt_emu_refuse(text);
    return CUBLAS_STATUS_INVALID_VALUE;
}

static desc *desc_of(cublasLtMatmulDesc_t d) { return (desc *)(void *)d; }
static layout *layout_of(cublasLtMatrixLayout_t l) { return (layout *)(void *)l; }

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS         ? "CUBLAS_STATUS_SUCCESS"
           : status == CUBLAS_STATUS_ALLOC_FAILED  ? "CUBLAS_STATUS_ALLOC_FAILED"
           : status == CUBLAS_STATUS_INVALID_VALUE ? "CUBLAS_STATUS_INVALID_VALUE"
                                                   : "another status of cuBLASLt";
}

static cublasStatus_t make(void **out, size_t bytes)
{
    *out = calloc(1, bytes);
    return *out != NULL ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

/* So that what is used afterwards shows. */
static cublasStatus_t drop(void *p, size_t bytes)
{
    if (p == NULL)
        return refuse("gives back what was not made");
    memset(p, 0xff, bytes);
    free(p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
    void *made = NULL;
    const cublasStatus_t status = make(&made, sizeof **out);
    *out = made;
    if (made != NULL)
        (*out)->open = 1;
    return status;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return drop(handle, sizeof *handle); }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    void *made = NULL;
    if (scale != CUDA_R_32F)
        return refuse("want scales in f32");
    const cublasStatus_t status = make(&made, sizeof(desc));
    if (status == CUBLAS_STATUS_SUCCESS)
        *(desc *)made = (desc){.compute = compute, .epilogue = CUBLASLT_EPILOGUE_DEFAULT};
    *out = made;
    return status;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) { return drop(d, sizeof(desc)); }

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes)
{
    desc *to = desc_of(d);
    void *at = attribute == CUBLASLT_MATMUL_DESC_TRANSA         ? (void *)&to->transposed[0]
               : attribute == CUBLASLT_MATMUL_DESC_TRANSB       ? (void *)&to->transposed[1]
               : attribute == CUBLASLT_MATMUL_DESC_EPILOGUE     ? (void *)&to->epilogue
               : attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? (void *)&to->bias
                                                                : NULL;
    const size_t size =
        attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? sizeof to->bias : sizeof(int32_t);
    if (at == NULL)
        return refuse("an attribute of a product that we do not set");
    if (bytes != size)
        return refuse("an attribute of another size");
    memcpy(at, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType_t type,
                                          uint64_t rows, uint64_t columns, int64_t ld)
{
    void *made = NULL;
    if (rows < 1 || columns < 1 || ld < (int64_t)rows)
        return refuse("an empty matrix, or rows wider than their stride");
    if (type != CUDA_R_32F && type != CUDA_R_16BF)
        return refuse("a matrix that is neither f32 nor bf16");
    const cublasStatus_t status = make(&made, sizeof(layout));
    if (status == CUBLAS_STATUS_SUCCESS)
        *(layout *)made = (layout){type, (int64_t)rows, (int64_t)columns, ld};
    *out = made;
    return status;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    return drop(l, sizeof(layout));
}

/* ---- preferences ---- */

static int is_wide(cublasLtMatmulPreferenceAttributes_t attribute)
{
    return attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ||
           attribute == CUBLASLT_MATMUL_PREF_IMPL_MASK;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    void *made = NULL;
    enum { DEFAULT_ALIGN = 256 };
    const cublasStatus_t status = make(&made, sizeof(preference));
    *out = made;
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    preference *p = made;
    p->value[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES] = DEFAULT_ALIGN;
    p->value[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES] = DEFAULT_ALIGN;
    p->value[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES] = DEFAULT_ALIGN;
    p->value[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES] = DEFAULT_ALIGN;
    p->value[CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK] = CUBLASLT_REDUCTION_SCHEME_MASK;
    return status;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    return drop(p, sizeof(preference));
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes)
{
    preference *to = (preference *)(void *)p;
    uint32_t narrow = 0;
    if ((unsigned)attribute >= KINDS)
        return refuse("a preference that we do not set");
    if (bytes != (is_wide(attribute) ? sizeof(uint64_t) : sizeof(uint32_t)))
        return refuse("a preference of another size");
    if (is_wide(attribute)) {
        memcpy(&to->value[attribute], value, bytes);
    } else {
        memcpy(&narrow, value, bytes);
        to->value[attribute] = narrow;
    }
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- products ---- */

static size_t size_of(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }

static int is_aligned(const layout *l) { return (size_t)l->ld * size_of(l->type) % ALIGN == 0; }

/* w is [k, n], x is [k, m], y is [n, m], columns first. */
static cublasStatus_t check(const desc *d, const layout *w, const layout *x, const layout *y)
{
    const int is_f32 = w->type == CUDA_R_32F;
    if (d->transposed[0] != CUBLAS_OP_T || d->transposed[1] != CUBLAS_OP_N)
        return refuse("want the form TN");
    if (w->rows != x->rows || w->columns != y->rows || x->columns != y->columns)
        return refuse("matrices that don't fit each other");
    if (w->type != x->type || (is_f32 && y->type != CUDA_R_32F))
        return refuse("dtypes that don't go together");
    if (d->compute != (is_f32 ? CUBLAS_COMPUTE_32F_PEDANTIC : CUBLAS_COMPUTE_32F))
        return refuse("want f32 pedantic, bf16 with f32 sums");
    if (d->epilogue != CUBLASLT_EPILOGUE_DEFAULT && d->epilogue != CUBLASLT_EPILOGUE_BIAS)
        return refuse("an epilogue that rounds otherwise than the contract");
    if (d->epilogue == CUBLASLT_EPILOGUE_BIAS && y->type != CUDA_R_32F)
        return refuse("a bias that would be rounded to bf16");
    if (!is_aligned(w) || !is_aligned(x) || !is_aligned(y))
        return refuse("rows that don't begin at 16 bytes");
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t check_preferences(const preference *p, int is_f32)
{
    if (p->value[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES] != ALIGN ||
        p->value[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES] != ALIGN ||
        p->value[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES] != ALIGN ||
        p->value[CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES] != ALIGN)
        return refuse("want alignments of 16");
    if (is_f32 && p->value[CUBLASLT_MATMUL_PREF_IMPL_MASK] != CUBLASLT_NUMERICAL_IMPL_FLAGS_FMA)
        return refuse("want f32 by FMA alone");
    if (p->value[CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK] != CUBLASLT_REDUCTION_SCHEME_NONE)
        return refuse("want no reduction scheme");
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t d,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t e,
                                              cublasLtMatmulPreference_t p, int asked,
                                              cublasLtMatmulHeuristicResult_t out[], int *found)
{
    const layout *w = layout_of(a), *x = layout_of(b), *y = layout_of(e);
    const preference *wish = (const preference *)(const void *)p;
    if (handle == NULL || !handle->open || c != e || asked < 2)
        return refuse("heuristics without a handle, not in place, or of less than two");
    cublasStatus_t status = check(desc_of(d), w, x, y);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = check_preferences(wish, w->type == CUDA_R_32F);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    const uint64_t workspace = wish->value[CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES];
    const algorithm offered[2] = {{.split = 4,
                                   .reduction = CUBLASLT_REDUCTION_SCHEME_INPLACE,
                                   .workspace = workspace,
                                   .n = w->columns,
                                   .k = w->rows,
                                   .operands = (int32_t)w->type,
                                   .result = (int32_t)y->type},
                                  {.split = 1,
                                   .reduction = CUBLASLT_REDUCTION_SCHEME_NONE,
                                   .workspace = workspace,
                                   .n = w->columns,
                                   .k = w->rows,
                                   .operands = (int32_t)w->type,
                                   .result = (int32_t)y->type}};
    for (int i = 0; i < 2; i++) {
        memset(&out[i], 0, sizeof out[i]);
        memcpy(&out[i].algo, &offered[i], sizeof offered[i]);
        out[i].workspaceSize = (size_t)workspace;
        out[i].state = CUBLAS_STATUS_SUCCESS;
    }
    *found = 2;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    void *out, size_t bytes, size_t *written)
{
    algorithm a;
    memcpy(&a, algo, sizeof a);
    if (bytes != sizeof(int32_t) || (attribute != CUBLASLT_ALGO_CONFIG_SPLITK_NUM &&
                                     attribute != CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME))
        return refuse("an algorithm's attribute that we do not read, or of another size");
    if (attribute == CUBLASLT_ALGO_CONFIG_SPLITK_NUM)
        memcpy(out, &a.split, bytes);
    else
        memcpy(out, &a.reduction, bytes);
    *written = bytes;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t d,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t e,
                                       const cublasLtMatmulAlgo_t *algo,
                                       cublasLtMatmulHeuristicResult_t *out)
{
    const layout *w = layout_of(a), *y = layout_of(e);
    algorithm chosen;
    memcpy(&chosen, algo, sizeof chosen);
    if (handle == NULL || !handle->open || c != e)
        return refuse("a check without a handle, or not in place");
    if (chosen.n != w->columns || chosen.k != w->rows || chosen.operands != (int32_t)w->type ||
        chosen.result != (int32_t)y->type)
        return refuse("an algorithm of another product");
    if (chosen.split != 1 || chosen.reduction != CUBLASLT_REDUCTION_SCHEME_NONE)
        return refuse("an algorithm that splits k");
    out->workspaceSize = (size_t)chosen.workspace;
    out->state = CUBLAS_STATUS_SUCCESS;
    return check(desc_of(d), w, layout_of(b), y);
}

typedef struct product {
    layout w, x, y;
    const void *w_at, *x_at;
    const float *bias; /* or NULL */
    void *y_at, *workspace;
    size_t workspace_bytes;
} product;

static float value(const void *p, cudaDataType_t type, int64_t i)
{
    uint32_t bits = 0;
    float f;
    if (type == CUDA_R_32F) {
        memcpy(&f, (const float *)p + i, sizeof f);
        return f;
    }
    bits = (uint32_t)((const uint16_t *)p)[i] << 16;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* To the nearest bf16, ties to even; NaN is 0x7fff. */
static uint16_t rounded(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if (isnan(f))
        return 0x7fff;
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

/* One row of x, widened, against all of w. */
static void run_row(const product *p, const float *x, const void *w, const float *bias, void *y)
{
    for (int64_t n = 0; n < p->y.rows; n++) {
        const void *row = (const char *)w + (size_t)(n * p->w.ld) * size_of(p->w.type);
        float sum = 0;
        for (int64_t k = 0; k < p->w.rows; k++)
            sum = fmaf(x[k], value(row, p->w.type, k), sum);
        if (bias != NULL)
            sum += bias[n];
        if (p->y.type == CUDA_R_32F)
            ((float *)y)[n] = sum;
        else
            ((uint16_t *)y)[n] = rounded(sum);
    }
}

/* Rows lie apart, and what is between them is nobody's: each is looked up alone. */
static void run_product(void *work)
{
    const product *p = work;
    const size_t w_row = (size_t)p->w.ld * size_of(p->w.type);
    const size_t x_row = (size_t)p->x.ld * size_of(p->x.type);
    const size_t y_row = (size_t)p->y.ld * size_of(p->y.type);
    const size_t k_bytes = (size_t)p->w.rows * size_of(p->w.type);
    float *x = malloc((size_t)p->w.rows * sizeof *x);
    const float *bias = NULL;
    void *w = NULL;
    int good = x != NULL;
    if (p->bias != NULL)
        good &= (bias = lt_emu_at("a product's bias", p->bias, (size_t)p->w.columns * sizeof *bias,
                                  0)) != NULL;
    if (p->workspace_bytes > 0)
        good &= lt_emu_at("a product's workspace", p->workspace, p->workspace_bytes, 2) != NULL;
    for (int64_t n = p->w.columns - 1; good && n >= 0; n--) {
        const char *row = (const char *)p->w_at + (size_t)n * w_row;
        good &= (w = lt_emu_at("a product's weights", row, k_bytes, 0)) != NULL;
    }
    for (int64_t m = 0; good && m < p->x.columns; m++) {
        const void *from =
            lt_emu_at("a product's rows", (const char *)p->x_at + (size_t)m * x_row, k_bytes, 0);
        void *to = lt_emu_at("a product's results", (char *)p->y_at + (size_t)m * y_row,
                             (size_t)p->y.rows * size_of(p->y.type), 1);
        if (from == NULL || to == NULL)
            break;
        for (int64_t k = 0; k < p->w.rows; k++)
            x[k] = value(from, p->x.type, k);
        run_row(p, x, w, bias, to);
    }
    free(x);
}

/* The library's kernels are loaded as they are first used, too: one a shape of W, its dtype, y's
 * and the bias. */
static void load(const product *p)
{
    enum { SHAPES_MAX = 1024 };
    static char seen[SHAPES_MAX][64];
    static int count;
    char name[64];
    (void)snprintf(name, sizeof name, "cublasLtMatmul_%lld_%lld_%d_%d_%d", (long long)p->w.columns,
                   (long long)p->w.rows, (int)p->w.type, (int)p->y.type, p->bias != NULL);
    for (int i = 0; i < count; i++)
        if (strcmp(seen[i], name) == 0)
            return;
    if (count < SHAPES_MAX)
        memcpy(seen[count++], name, sizeof name);
    lt_emu_load(name);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t d, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t la, const void *b,
                              cublasLtMatrixLayout_t lb, const void *beta, const void *c,
                              cublasLtMatrixLayout_t lc, void *e, cublasLtMatrixLayout_t le,
                              const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream)
{
    const desc *how = desc_of(d);
    cublasLtMatmulHeuristicResult_t fits;
    float one = 0, zero = 1;
    memset(&fits, 0, sizeof fits);
    memcpy(&one, alpha, sizeof one);
    memcpy(&zero, beta, sizeof zero);
    const cublasStatus_t status = cublasLtMatmulAlgoCheck(handle, d, la, lb, lc, le, algo, &fits);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    if (one != 1 || zero != 0 || c != e)
        return refuse("want alpha 1, beta 0, in place");
    if (((uintptr_t)a | (uintptr_t)b | (uintptr_t)e | (uintptr_t)workspace) % ALIGN != 0)
        return refuse("an address that is not aligned");
    if (workspace_bytes < fits.workspaceSize || workspace == NULL)
        return refuse("a workspace that is too small");
    if (how->epilogue == CUBLASLT_EPILOGUE_BIAS && how->bias == NULL)
        return refuse("no bias");
    const product p = {.w = *layout_of(la),
                       .x = *layout_of(lb),
                       .y = *layout_of(le),
                       .w_at = a,
                       .x_at = b,
                       .bias = how->epilogue == CUBLASLT_EPILOGUE_BIAS ? how->bias : NULL,
                       .y_at = e,
                       .workspace = workspace,
                       .workspace_bytes = fits.workspaceSize};
    load(&p);
    return lt_emu_enqueue(stream, run_product, &p, sizeof p) ? CUBLAS_STATUS_SUCCESS
                                                             : CUBLAS_STATUS_EXECUTION_FAILED;
}
