/* name_map.c - where rows of a tensor lie in the stored one. */
#include "model/files/name_map.h"

#include <assert.h>

int64_t lt_mapped_run(lt_row_order order, int64_t rows, int64_t width, int64_t first, int64_t limit,
                      int64_t *stored)
{
    assert(first >= 0 && limit > 0 && first < rows);
    int64_t left;
    if (order == LT_ROWS_SAME) {
        *stored = first;
        left = rows - first;
    } else if (order == LT_ROWS_SWAPPED) {
        const int64_t half = rows / 2;
        assert(half * 2 == rows);
        *stored = first < half ? first + half : first - half;
        left = first < half ? half - first : rows - first;
    } else {
        assert(width > 0 && rows % width == 0);
        const int64_t head = first / width, in_head = first % width;
        *stored = (head * 3 + ((int)order - (int)LT_ROWS_Q)) * width + in_head;
        left = width - in_head;
    }
    return left < limit ? left : limit;
}
