/* text_at.c - which prompt a window follows.
 * Everything is counted in half frames, so that centres and middles are whole numbers. */
#include "scheduler/text_at.h"

#include <assert.h>

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

lt_text_at lt_text_of(const int64_t *start, int count, int64_t fade, lt_range window)
{
    assert(count >= 1 && start[0] == 0 && fade >= 0 && window.count >= 1);
    const int64_t centre = 2 * window.first + window.count;
    int at = 0; /* the prompt that the centre lies in */
    while (at + 1 < count && 2 * start[at + 1] <= centre) {
        assert(start[at + 1] > start[at]);
        at++;
    }
    /* The border that is nearer: at the prompt's start, or at its end. */
    const int has_before = at > 0, has_after = at + 1 < count;
    const int64_t before = has_before ? centre - 2 * start[at] : 0;
    const int64_t after = has_after ? 2 * start[at + 1] - centre : 0;
    if (!has_before && !has_after)
        return (lt_text_at){at, 0.0};
    const int border = !has_after || (has_before && before <= after) ? at : at + 1;
    /* Half the fade, which reaches no further than half way to the next border. */
    int64_t half = fade;
    if (border > 1)
        half = least(half, start[border] - start[border - 1]);
    if (border + 1 < count)
        half = least(half, start[border + 1] - start[border]);
    const int64_t from = centre - (2 * start[border] - half); /* into the fade, of 2 half */
    if (from >= 2 * half)
        return (lt_text_at){border, 0.0};
    if (from <= 0)
        return (lt_text_at){border - 1, 0.0};
    const double x = (double)from / (double)(2 * half);
    return (lt_text_at){border - 1, x * x * (3.0 - 2.0 * x)};
}
