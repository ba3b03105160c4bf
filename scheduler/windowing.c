/* windowing.c - how a clip is denoised. */
#include "scheduler/windowing.h"

#include <assert.h>

const char *const lt_mode_names[LT_MODES] = {"single", "windows", "extend", "refine"};
const char *const lt_fuse_names[] = {"flat", "trapezoid", "hann", "owner-cut"};

lt_status lt_windowing_layout(const lt_windowing *w, const lt_grid *grid, int step, lt_layout *out)
{
    lt_layout_spec spec = {.kind = LT_LAYOUT_BALANCED,
                           .latents = w->latents,
                           .window = w->window,
                           .overlap = w->overlap};
    if (w->mode == LT_MODE_EXTEND)
        spec.kind = LT_LAYOUT_EXTEND;
    else if (w->dither)
        spec.kind = LT_LAYOUT_DITHERED;
    return lt_layout_new(grid, &spec, step, out);
}

lt_range lt_windowing_run(int64_t tiles, int groups, int group)
{
    assert(tiles >= 1 && groups >= 1 && group >= 0 && group < groups);
    const int64_t first = (group * tiles + groups - 1) / groups;
    const int64_t end = ((group + 1) * tiles + groups - 1) / groups;
    return (lt_range){first, end - first};
}

lt_status lt_windowing_space(const lt_windowing *w, int64_t length, int64_t tile, lt_layout *out)
{
    const int whole = tile == 0 || tile >= length;
    return lt_layout_space(length, whole ? length : tile, whole ? 0 : w->tile_overlap,
                           whole ? 1 : w->tile_unit, out);
}
