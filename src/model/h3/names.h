/* names.h - names and rows of MiniMax-H3's original layout.
 * Source: spec/minimax-h3.md 1.2. Inside of src/model: checkpoint.c alone uses it. Pure functions.
 * Local. */
#ifndef LT_H3_ORIGINAL_H
#define LT_H3_ORIGINAL_H

#include "model/files/checkpoint.h"

/* How the rows of a tensor named as in diffusers lie in the stored one. */
typedef enum lt_row_order {
    LT_ROWS_SAME,
    LT_ROWS_Q, /* stored per head: [q; k; v], each head_dim rows */
    LT_ROWS_K,
    LT_ROWS_V,
    LT_ROWS_SWAPPED /* two halves, the second first */
} lt_row_order;

enum { LT_ORIGINAL_NAME_BYTES = 256 };

typedef struct lt_original_name {
    char name[LT_ORIGINAL_NAME_BYTES];
    lt_row_order rows;
} lt_original_name;

/* 1 if only the original layout of this part has a tensor of this name. */
int lt_is_original(lt_part part, const char *stored);

/* The diffusers names that a stored tensor answers: 1, or 3 for a fused qkv, or 0 for one that is
 * dropped because it is recomputed (rope.inv_freq, decoder.mask_token). An unknown name answers as
 * itself. */
int lt_original_names(lt_part part, const char *stored, lt_original_name out[3]);

/* Rows [first, first + n) of a diffusers tensor of `rows` rows that lie together in the stored one:
 * returns n (1 or more, at most limit) and where they begin. head_dim is needed by LT_ROWS_Q, K, V
 * only; rows must be a multiple of it (of 2 for LT_ROWS_SWAPPED). */
int64_t lt_original_run(lt_row_order order, int64_t rows, int64_t head_dim, int64_t first,
                        int64_t limit, int64_t *stored);

#endif
