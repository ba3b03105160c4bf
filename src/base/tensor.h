/* tensor.h - a shape, a dtype and an address.
 *
 * The alphabet of shapes, here and nowhere else: B batch, F latent frames, H rows, W columns,
 * C channels, S tokens (packed rows), L text tokens, N heads, D head width, E = N*D, K sigmas,
 * P ranks of the axis. Outermost first. A split dimension is written divided: [S/P, N, D].
 *
 * A tensor is a value: copying it copies the description, never the data. It has at most 5 dims;
 * the last is dense; all leading dims together count "rows", which lie row_stride elements apart.
 * So a [S, N, D] tensor has S*N rows of D. A view of columns is a tensor whose row_stride is wider
 * than its last dim. Above kernels/ data is a device address: no code there follows it.
 *
 * All functions are Local; those that return nothing assert on misuse. */
#ifndef LT_TENSOR_H
#define LT_TENSOR_H

#include <stdint.h>

#include "arena.h"
#include "dtype.h"
#include "status.h"

enum { LT_DIMS_MAX = 5 };

typedef struct lt_tensor {
    void *data;
    lt_dtype dtype;
    int ndim;
    int64_t dim[LT_DIMS_MAX];
    int64_t row_stride; /* elements from one row to the next; >= dim[ndim - 1] */
    const char *name;
} lt_tensor;

/* [first, first + count) */
typedef struct lt_range {
    int64_t first, count;
} lt_range;

typedef struct lt_dims {
    int ndim;
    int64_t dim[LT_DIMS_MAX];
} lt_dims;

/* LT_DIMS(S, N, D): a compound literal. */
#define LT_DIMS(...)                                                                               \
    ((lt_dims){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})

/* Take a dense tensor from an arena. name must outlive it.
 * Errors: LT_ENOMEM; LT_ESHAPE for a negative dim or a product past 2^62 bytes. */
lt_status lt_tensor_new(lt_arena *arena, const char *name, lt_dtype dtype, lt_tensor *out,
                        lt_dims dims);

/* Describe memory that the caller owns. */
lt_tensor lt_tensor_wrap(void *data, const char *name, lt_dtype dtype, lt_dims dims);

int64_t lt_elements(const lt_tensor *x);  /* product of the dims */
int64_t lt_row_count(const lt_tensor *x); /* product of all dims but the last; 1 for 1-D */
int64_t lt_row_width(const lt_tensor *x); /* the last dim */
int lt_is_dense(const lt_tensor *x);
size_t lt_tensor_bytes(const lt_tensor *x); /* dense size */

/* x[first : first+count] along dim 0 (asserts the range). */
lt_tensor lt_view_outer(const lt_tensor *x, lt_range range);
/* x[..., first : first+count]: same rows, fewer columns. */
lt_tensor lt_view_columns(const lt_tensor *x, lt_range range);
/* Same elements, other dims. x must be dense, or keep the last dim and the row count. */
lt_tensor lt_view_as(const lt_tensor *x, lt_dims dims);

/* "[2, 24, 7] F32" into a buffer of the caller. */
const char *lt_shape_text(const lt_tensor *x, char *buffer, size_t bytes);

/* Fail with LT_ESHAPE, the argument's name, both shapes and the letters, unless x has these dims:
 *     LT_WANT(x, S, N, D);      x is a const lt_tensor * */
#define LT_WANT(x, ...) LT_TRY(lt_tensor_want((x), LT_DIMS(__VA_ARGS__), #x, "[" #__VA_ARGS__ "]"))
lt_status lt_tensor_want(const lt_tensor *x, lt_dims dims, const char *argument,
                         const char *letters);

#endif
