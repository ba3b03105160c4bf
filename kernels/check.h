/* check.h - what the checked ops of kernels.h ask of their arguments.
 *
 * Each function names op and argument in its message, with what was wanted and what was found:
 *     rms_norm: w: want 64 of F32 or BF16, found [63] F32
 * dtypes is a set of LT_SET(dtype). rows or width LT_ANY: not asked. All are Local.
 * Errors: LT_ESHAPE. Private to kernels/. */
#ifndef LT_KERNELS_CHECK_H
#define LT_KERNELS_CHECK_H

#include "kernels/backend.h"

#define LT_SET(dtype) (1u << (unsigned)(dtype))

enum { LT_ANY = -1 };

enum {
    LT_SET_F32 = 1u << LT_F32,
    LT_SET_I32 = 1u << LT_I32,
    LT_SET_ACT = 1u << LT_F32 | 1u << LT_BF16,                 /* activations */
    LT_SET_FLOAT = 1u << LT_F32 | 1u << LT_BF16 | 1u << LT_F16 /* what copies cast between */
};

/* A valid description (1 to 5 dims, none negative, rows not overlapping), dtype, rows, width. */
lt_status lt_check_rows(const char *op, const char *argument, const lt_tensor *x, unsigned dtypes,
                        int64_t rows, int64_t width);
/* The same, and rows follow each other without gaps. */
lt_status lt_check_dense(const char *op, const char *argument, const lt_tensor *x, unsigned dtypes,
                         int64_t rows, int64_t width);
/* A dense vector of count elements, whatever dims say so. */
lt_status lt_check_vector(const char *op, const char *argument, const lt_tensor *x, unsigned dtypes,
                          int64_t count);
/* Dense, and exactly these dims. */
lt_status lt_check_dims(const char *op, const char *argument, const lt_tensor *x, unsigned dtypes,
                        lt_dims dims);
/* from and to may be copied: equal dtypes, or both floats of at most 32 bits. */
lt_status lt_check_cast(const char *op, const lt_tensor *from, const lt_tensor *to);

/* Hand op to q's backend, unless its output y has no elements: then there is nothing to do. */
lt_status lt_check_submit(lt_queue *q, const lt_op *op);

#endif
