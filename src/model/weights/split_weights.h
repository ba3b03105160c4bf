/* split_weights.h - the layers of parallel/linear/split_linear.h out of a checkpoint.
 * Each rank reads what it computes with: rows of W where outputs are split, columns where inputs
 * are. Names and shapes are checked also for a layer that this rank has nothing of. Layers live as
 * long as the weights. Blocking. Errors: as weights.h. Tested: tests/ranks/test_loading.c,
 * test_deterministic.c. */
#ifndef LT_SPLIT_WEIGHTS_H
#define LT_SPLIT_WEIGHTS_H

#include "model/weights/weights.h"
#include "parallel/linear/split_linear.h"

/* Outputs [first_row, first_row + all columns of the split) of layer `name`, whose outputs are
 * `out`: the second half of a SwiGLU's begins in the middle. */
typedef struct lt_column_part {
    const char *name;
    int64_t out, first_row;
    const lt_split *split;
} lt_column_part;

/* bias: each part's name.bias exists and is added; only where the parts are not ordered. Local. */
lt_status lt_column_linear_load(lt_weights *weights, const lt_column_part *parts, int count,
                                int64_t in, int bias, lt_column_linear *layer);
/* bias: name.bias exists and is added once, by rank 0 of the split, which always has columns; not
 * where ordered. All ranks of the weights' loading come here, also those without columns.
 * Collective on its group. */
lt_status lt_row_linear_load(lt_weights *weights, const char *name, int64_t out,
                             const lt_split *split, int bias, lt_row_linear *layer);

#endif
