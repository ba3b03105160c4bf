/* name_map.h - a checkpoint's stored names under those that networks ask for.
 * A model may be published in several layouts that differ in names and in orders of rows. A family
 * gives one table a layout when a checkpoint is opened, and nothing above knows of two. Pure
 * functions. Local. Tested: tests/unit/test_h3_original.c. */
#ifndef LT_NAME_MAP_H
#define LT_NAME_MAP_H

#include <stdint.h>

/* How the rows of a tensor under its own name lie in the stored one. */
typedef enum lt_row_order {
    LT_ROWS_SAME,
    LT_ROWS_Q, /* stored per head: [q; k; v], each `width` rows */
    LT_ROWS_K,
    LT_ROWS_V,
    LT_ROWS_SWAPPED /* two halves, the second first */
} lt_row_order;

enum { LT_MAPPED_NAME_BYTES = 256 };

typedef struct lt_mapped_name {
    char name[LT_MAPPED_NAME_BYTES];
    lt_row_order rows;
} lt_mapped_name;

typedef struct lt_name_map {
    /* 1 if only the layout that is mapped has a tensor of this name. */
    int (*is_mapped)(const char *stored);
    /* The names that a stored tensor answers: 1, or 3 for a fused q, k, v, or 0 for one that is
     * dropped because it is recomputed. An unknown name answers as itself. */
    int (*names)(const char *stored, lt_mapped_name out[3]);
    const char *folder; /* below a part's folder: weights are there where it is; or NULL */
    int64_t width;      /* rows of a head; 0 where no values of LT_ROWS_Q, K, V are read */
} lt_name_map;

/* Rows [first, first + n) of a tensor of `rows` rows that lie together in the stored one: returns n
 * (1 or more, at most limit) and where they begin. width is needed by LT_ROWS_Q, K, V only; rows
 * must be a multiple of it (of 2 for LT_ROWS_SWAPPED). */
int64_t lt_mapped_run(lt_row_order order, int64_t rows, int64_t width, int64_t first, int64_t limit,
                      int64_t *stored);

#endif
