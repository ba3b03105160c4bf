/* window.c - how a clip is cut into windows.
 *
 * Everything is counted in units first (starts), then turned into latents. Starts are strictly
 * ascending and at most d units apart, so neighbours share at least j units and the tail:
 * - balanced: the exact starts k (U - b) / (W - 1) are at most d apart, for W - 1 >= (U - b) / d;
 *   rounding cannot push two integers' distance beyond the integer d. They ascend because
 *   W - 1 <= U - b.
 * - dithered: off < d; then d apart; the last step is what is left.
 * - looped: as balanced, on the circle.
 * Upstream's layouts (uniform_standard and others) leave frames uncovered for some lengths: they
 * are not ported (spec/long-video.md 3.1). */
#include "scheduler/window.h"

#include <assert.h>
#include <stdlib.h>

enum { LATENTS_MAX = 1 << 30 }; /* so that no product of two counts wraps */

static void check_grid(const lt_grid *grid)
{
    assert(grid->unit >= 1 && grid->tail >= 0 && grid->step >= 1 && grid->rest >= 0);
    assert(grid->unit % grid->step == 0 && (grid->tail - grid->rest) % grid->step == 0);
    assert(grid->latent_frames >= 1 && grid->period >= 0);
    assert(grid->period == 0 || grid->unit % grid->period == 0);
    assert(grid->ticks >= 0 && grid->tick_frames >= 1);
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    assert(a >= 0 && b >= 1);
    return a / b + (a % b != 0);
}

int64_t lt_grid_frames(const lt_grid *grid, int64_t latent)
{
    check_grid(grid);
    assert(latent >= 0);
    const int64_t n = grid->period, q = grid->latent_frames;
    const int64_t periods = n > 0 ? latent / n : 0, rest = latent - periods * n;
    return periods * (1 + (n - 1) * q) + (rest > 0 ? 1 + (rest - 1) * q : 0);
}

/* The first latent that has no frame before `frames`: the inverse of lt_grid_frames, rounded up. */
static int64_t latents_for(const lt_grid *grid, int64_t frames)
{
    const int64_t n = grid->period, q = grid->latent_frames;
    const int64_t length = 1 + (n - 1) * q, periods = n > 0 ? frames / length : 0;
    const int64_t rest = frames - periods * length;
    return periods * n + (rest > 0 ? 1 + ceil_div(rest - 1, q) : 0);
}

int64_t lt_grid_latents(const lt_grid *grid, int64_t frames)
{
    check_grid(grid);
    assert(frames >= 1 && frames < (INT64_C(1) << 40));
    int64_t least = latents_for(grid, frames);
    least = least > grid->least ? least : grid->least;
    least = least > grid->rest ? least : grid->rest;
    return grid->rest + ceil_div(least - grid->rest, grid->step) * grid->step;
}

int64_t lt_grid_ticks(const lt_grid *grid, int64_t frames)
{
    assert(frames >= 0 && grid->tick_frames >= 1);
    return (2 * frames * grid->ticks + grid->tick_frames) / (2 * grid->tick_frames);
}

lt_range lt_grid_frame_range(const lt_grid *grid, lt_range latents)
{
    const int64_t first = lt_grid_frames(grid, latents.first);
    return (lt_range){first, lt_grid_frames(grid, latents.first + latents.count) - first};
}

int64_t lt_grid_period_frames(const lt_grid *grid)
{
    const lt_range inner = {grid->unit, grid->period > 0 ? grid->period : 1};
    return lt_grid_frame_range(grid, inner).count;
}

lt_range lt_grid_tick_range(const lt_grid *grid, lt_range latents)
{
    const lt_range frames = lt_grid_frame_range(grid, latents);
    const int64_t first = lt_grid_ticks(grid, frames.first);
    return (lt_range){first, lt_grid_ticks(grid, frames.first + frames.count) - first};
}

lt_status lt_grid_window(const lt_grid *grid, int64_t frames, int64_t *latents)
{
    check_grid(grid);
    const int64_t most = lt_grid_frames(grid, LATENTS_MAX);
    const int64_t asked = frames < 1 ? 1 : frames > most ? most : frames;
    const int64_t units = (latents_for(grid, asked) - grid->tail) / grid->unit;
    const int64_t window = grid->tail + (units < 1 ? 1 : units) * grid->unit;
    const int64_t found = lt_grid_frames(grid, window);
    const int64_t shortest = lt_grid_frames(grid, grid->tail + grid->unit);
    const int64_t next = lt_grid_frames(grid, window + grid->unit);
    if (found != frames) {
        lt_hint("try --window %lld", (long long)found);
        LT_FAIL(LT_EUSAGE, "--window %lld: want %lld + %lld n frames", (long long)frames,
                (long long)shortest, (long long)(next - found));
    }
    *latents = window;
    return LT_OK;
}

lt_status lt_grid_overlap(const lt_grid *grid, int64_t window, int64_t frames, int64_t *latents)
{
    check_grid(grid);
    assert(window <= LATENTS_MAX && window >= grid->tail + grid->unit);
    const int64_t border = grid->unit; /* one inside the clip: there every latent is whole */
    const int64_t from = lt_grid_frames(grid, border), longest = window - grid->unit;
    const int64_t most = lt_grid_frames(grid, border + longest) - from;
    const int64_t asked = frames < 0 ? 0 : frames > most ? most : frames;
    const int64_t units = (latents_for(grid, from + asked) - border - grid->tail) / grid->unit;
    const int64_t overlap = grid->tail + (units < 0 ? 0 : units) * grid->unit;
    const int64_t found = lt_grid_frames(grid, border + overlap) - from;
    if (found != frames) {
        lt_hint("try --overlap %lld", (long long)found);
        LT_FAIL(LT_EUSAGE, "--overlap %lld: want %lld + %lld n frames, at most %lld",
                (long long)frames, (long long)(lt_grid_frames(grid, border + grid->tail) - from),
                (long long)(lt_grid_frames(grid, 2 * border) - from), (long long)most);
    }
    *latents = overlap;
    return LT_OK;
}

static int64_t last_frames(const lt_grid *grid, int64_t overlap, int64_t latents)
{
    return lt_grid_frame_range(grid, (lt_range){grid->unit + overlap - latents, latents}).count;
}

lt_status lt_grid_fade(const lt_grid *grid, int64_t overlap, int64_t frames, int64_t *latents)
{
    const int64_t all = last_frames(grid, overlap, overlap);
    *latents = 0;
    if (frames < 0 || (frames > 0 && frames >= all))
        LT_FAIL(LT_EUSAGE, "--fade %lld: want fewer frames than the overlap's %lld",
                (long long)frames, (long long)all);
    while (*latents + 1 < overlap && last_frames(grid, overlap, *latents + 1) <= frames)
        ++*latents;
    return LT_OK;
}

static lt_status layout_alloc(lt_layout_kind kind, int64_t total, int64_t count, lt_layout *out)
{
    assert(total >= 1 && count >= 1 && count <= total);
    *out = (lt_layout){.kind = kind, .total = total, .count = count};
    out->window = calloc((size_t)count, sizeof *out->window);
    out->own = calloc((size_t)count, sizeof *out->own);
    if (out->window == NULL || out->own == NULL) {
        lt_layout_free(out);
        LT_FAIL(LT_ENOMEM, "layout: no memory for %lld windows", (long long)count);
    }
    return LT_OK;
}

void lt_layout_free(lt_layout *layout)
{
    free(layout->window);
    free(layout->own);
    *layout = (lt_layout){0};
}

/* The bits of the step in reverse order: 0, 1/2, 1/4, 3/4, 1/8 ... of 2^16 (van der Corput). */
static int64_t reversed16(int64_t step)
{
    int64_t r = 0;
    for (int bit = 0; bit < 16; bit++)
        r |= (step >> bit & 1) << (15 - bit);
    return r;
}

/* U, b and d of the head: all in units. */
typedef struct {
    int64_t total, window, apart;
} units;

static int64_t count_windows(lt_layout_kind kind, units u, int64_t step)
{
    if (kind == LT_LAYOUT_LOOPED)
        return ceil_div(u.total, u.apart);
    if (kind == LT_LAYOUT_DITHERED) {
        const int64_t off = u.apart * reversed16(step) >> 16, last = u.total - u.window;
        const int64_t first = off > 0 ? off : u.apart;
        return 2 + (first < last ? ceil_div(last - first, u.apart) : 0);
    }
    return ceil_div(u.total - u.window, u.apart) + 1;
}

/* Where window k of `count` begins, in units. */
static int64_t window_start(lt_layout_kind kind, units u, int64_t step, int64_t count, int64_t k)
{
    const int64_t last = u.total - u.window;
    switch (kind) {
    case LT_LAYOUT_BALANCED:
        return (2 * k * last + count - 1) / (2 * (count - 1));
    case LT_LAYOUT_LOOPED:
        return (2 * k * u.total + count) / (2 * count);
    case LT_LAYOUT_EXTEND:
        return k * u.apart;
    case LT_LAYOUT_DITHERED:
        break;
    }
    const int64_t off = u.apart * reversed16(step) >> 16;
    const int64_t first = off > 0 ? off : u.apart;
    return k == 0 ? 0 : k == count - 1 ? last : first + (k - 1) * u.apart;
}

/* Each border lies in the middle of what two neighbours share; the middle position itself goes to
 * the earlier one. Starts and ends both ascend by one or more, so borders do. */
static void own_middles(lt_layout *l)
{
    const int loops = l->kind == LT_LAYOUT_LOOPED && l->count > 1;
    for (int64_t k = 0; k < l->count; k++) {
        const lt_range *w = l->window;
        const int64_t end = w[k].first + w[k].count, next = k + 1;
        int64_t cut = end;
        if (next < l->count)
            cut = (w[next].first + end + 1) / 2;
        else if (loops)
            cut = (w[0].first + l->total + end + 1) / 2;
        if (l->kind == LT_LAYOUT_EXTEND)
            cut = end;
        l->own[k].count = cut; /* the end; the loop below makes it a count */
        if (next < l->count)
            l->own[next].first = cut;
        else if (loops)
            l->own[0].first = cut - l->total;
    }
    for (int64_t k = 0; k < l->count; k++) {
        l->own[k].count -= l->own[k].first;
        assert(l->own[k].count > 0);
    }
}

lt_status lt_layout_new(const lt_grid *grid, const lt_layout_spec *spec, int64_t step,
                        lt_layout *out)
{
    check_grid(grid);
    const int64_t T = spec->latents;
    assert(T >= 1 && T <= LATENTS_MAX && step >= 0 && step < 65536);
    if (T <= spec->window) {
        LT_TRY(layout_alloc(spec->kind, T, 1, out));
        out->window[0] = out->own[0] = (lt_range){0, T};
        return LT_OK;
    }
    assert(spec->overlap >= grid->tail && spec->overlap <= spec->window - grid->unit);
    assert((spec->window - grid->tail) % grid->unit == 0);
    assert((spec->overlap - grid->tail) % grid->unit == 0);
    assert(spec->kind != LT_LAYOUT_LOOPED || (grid->tail == 0 && T % grid->unit == 0));
    const units u = {ceil_div(T - grid->tail, grid->unit), (spec->window - grid->tail) / grid->unit,
                     (spec->window - spec->overlap) / grid->unit};
    const int64_t count = count_windows(spec->kind, u, step);
    LT_TRY(layout_alloc(spec->kind, T, count, out));
    for (int64_t k = 0; k < count; k++) {
        const int64_t first = window_start(spec->kind, u, step, count, k) * grid->unit;
        const int64_t left = spec->kind == LT_LAYOUT_LOOPED ? spec->window : T - first;
        out->window[k] = (lt_range){first, left < spec->window ? left : spec->window};
    }
    own_middles(out);
    return LT_OK;
}

lt_status lt_layout_space(int64_t length, int64_t tile, int64_t overlap, int64_t unit,
                          lt_layout *out)
{
    const lt_grid cells = {
        .unit = unit, .step = 1, .least = 1, .latent_frames = 1, .tick_frames = 1};
    const lt_layout_spec spec = {LT_LAYOUT_BALANCED, length, tile, overlap};
    LT_TRY(lt_layout_new(&cells, &spec, 0, out));
    return LT_OK;
}

static lt_status layout_map(const lt_grid *grid, const lt_layout *latents,
                            lt_range (*map)(const lt_grid *, lt_range), lt_layout *out)
{
    assert(latents->kind != LT_LAYOUT_LOOPED || latents->count == 1);
    const int64_t total = map(grid, (lt_range){0, latents->total}).count;
    LT_TRY(layout_alloc(latents->kind, total, latents->count, out));
    for (int64_t k = 0; k < latents->count; k++) {
        out->window[k] = map(grid, latents->window[k]);
        out->own[k] = map(grid, latents->own[k]);
    }
    return LT_OK;
}

lt_status lt_layout_in_frames(const lt_grid *grid, const lt_layout *latents, lt_layout *out)
{
    return layout_map(grid, latents, lt_grid_frame_range, out);
}

lt_status lt_layout_in_ticks(const lt_grid *grid, const lt_layout *latents, lt_layout *out)
{
    assert(grid->ticks > 0);
    return layout_map(grid, latents, lt_grid_tick_range, out);
}

lt_range lt_layout_stepped(const lt_layout *layout, int64_t k, int64_t fade)
{
    assert(layout->kind == LT_LAYOUT_EXTEND && k >= 0 && k < layout->count);
    const lt_range own = layout->own[k];
    const int64_t again = k > 0 ? fade : 0;
    assert(again >= 0 && own.first - again >= layout->window[k].first);
    return (lt_range){own.first - again, own.count + again};
}

lt_range lt_layout_final(const lt_layout *layout, int64_t k, int64_t fade)
{
    const int64_t first = lt_layout_stepped(layout, k, fade).first;
    const int64_t next =
        k + 1 < layout->count ? lt_layout_stepped(layout, k + 1, fade).first : layout->total;
    return (lt_range){first, next - first};
}

lt_range lt_layout_held(const lt_layout *layout, lt_range windows)
{
    assert(windows.first >= 0 && windows.count >= 0);
    assert(windows.first + windows.count <= layout->count);
    if (windows.count == 0)
        return (lt_range){0, 0};
    const lt_range *last = &layout->window[windows.first + windows.count - 1];
    const int64_t first = layout->window[windows.first].first;
    const int64_t held = last->first + last->count - first;
    return (lt_range){first, held < layout->total ? held : layout->total};
}

int lt_layout_anchors(const lt_layout *layout, int64_t k, const int64_t *anchor, int count,
                      int64_t *out)
{
    assert(k >= 0 && k < layout->count && count >= 0);
    const lt_range w = layout->window[k];
    int kept = 0;
    for (int i = 0; i < count; i++) {
        assert(anchor[i] >= 0 && anchor[i] < layout->total);
        const int64_t end = w.first + w.count;
        /* the second run of a window that goes around the circle begins at 0 */
        const int inside =
            (anchor[i] >= w.first && anchor[i] < end) || anchor[i] + layout->total < end;
        if (!inside && (layout->kind != LT_LAYOUT_EXTEND || anchor[i] < w.first))
            out[kept++] = anchor[i];
    }
    return kept;
}

int64_t lt_tiling_count(const lt_tiling *tiling)
{
    return tiling->time.count * tiling->rows.count * tiling->columns.count;
}

lt_tile lt_tiling_at(const lt_tiling *tiling, int64_t tile)
{
    assert(tile >= 0 && tile < lt_tiling_count(tiling));
    const int64_t columns = tiling->columns.count, rows = tiling->rows.count;
    return (lt_tile){tile / columns / rows, tile / columns % rows, tile % columns};
}

int lt_shots_place(const lt_grid *grid, const lt_shot_entry *entry, int count, lt_shot *out)
{
    assert(count >= 1);
    int shots = 0;
    int64_t at = 0;
    for (int i = 0; i < count; i++) {
        assert(entry[i].frames >= 1);
        if (i == 0 || !entry[i].blends)
            out[shots++] = (lt_shot){.first_frame = at, .first_entry = i};
        out[shots - 1].frames += entry[i].frames;
        out[shots - 1].entries++;
        at += entry[i].frames;
    }
    for (int s = 0; s < shots; s++)
        out[s].latents = lt_grid_latents(grid, out[s].frames);
    return shots;
}
