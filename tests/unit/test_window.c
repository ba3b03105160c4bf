/* test_window.c - layouts: what spec/long-video.md 3.3 promises of them.
 * Goal: every clip is covered, windows ascend, neighbours share enough, few windows hold one frame,
 * ownership is a partition, a dithered layout brings near frames together, no window crosses a cut;
 * on a plain latent axis and on H3's grid. Method: by exhaustion over lengths, windows, overlaps
 * and steps; a few layouts and texts by hand. Ranks: 1. Needs: nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/text_at.h"
#include "scheduler/window.h"

static const lt_grid oracle = {
    .unit = 1, .step = 1, .least = 1, .latent_frames = 1, .tick_frames = 1};
static const lt_grid wan = {.unit = 1, .step = 1, .least = 1, .latent_frames = 4, .tick_frames = 1};
static const lt_grid h3 = {.unit = 15,
                           .tail = 12,
                           .step = 5,
                           .rest = 2,
                           .least = 7,
                           .period = 5,
                           .latent_frames = 4,
                           .ticks = 5,
                           .tick_frames = 3};

enum { WINDOW = 21, SHORTEST = 22, LONGEST = 399, DITHERS = 16, H3_UNITS = 6, H3_CLIPS = 150 };
static const int64_t overlaps[] = {0, 2, 4, 5, 8, 10};
enum { OVERLAPS = sizeof overlaps / sizeof *overlaps };

static int64_t end_of(lt_range r) { return r.first + r.count; }

static lt_layout layout(const lt_grid *grid, lt_layout_kind kind, int64_t latents, int64_t window,
                        int64_t overlap, int64_t step)
{
    const lt_layout_spec spec = {kind, latents, window, overlap};
    lt_layout l;
    assert_int_equal(lt_layout_new(grid, &spec, step, &l), LT_OK);
    assert_int_equal(l.total, latents);
    return l;
}

/* Coverage, order, overlaps, sizes, how many windows hold a position, ownership: of any layout that
 * does not loop. least: of an overlap; less: by how much the last window may be shorter. */
static void check(const char *name, const lt_layout *l, int64_t window, int64_t least, int64_t less,
                  int64_t most_held)
{
    int64_t owned = 0, held = 0;
    assert_int_equal(l->window[0].first, 0);
    assert_int_equal(end_of(l->window[l->count - 1]), l->total);
    for (int64_t k = 0; k < l->count; k++) {
        const lt_range w = l->window[k], own = l->own[k];
        const int last = k + 1 == l->count;
        if (!(w.count <= window && w.count >= (last ? window - less : window)))
            fail_msg("%s: T %lld: window %lld has %lld positions, want %lld", name,
                     (long long)l->total, (long long)k, (long long)w.count, (long long)window);
        if (k > 0) {
            const lt_range p = l->window[k - 1];
            if (!(w.first > p.first && end_of(w) > end_of(p) && end_of(p) - w.first >= least))
                fail_msg("%s: T %lld: window %lld at %lld after one at %lld", name,
                         (long long)l->total, (long long)k, (long long)w.first, (long long)p.first);
        }
        if (!(own.first == owned && own.count > 0 && own.first >= w.first &&
              end_of(own) <= end_of(w)))
            fail_msg("%s: T %lld: window %lld owns %lld + %lld", name, (long long)l->total,
                     (long long)k, (long long)own.first, (long long)own.count);
        owned = end_of(own);
        /* windows that hold this one's first position: those before it that end behind it */
        int64_t here = 1;
        for (int64_t j = k - 1; j >= 0 && end_of(l->window[j]) > w.first; j--)
            here++;
        held = here > held ? here : held;
    }
    assert_int_equal(owned, l->total);
    if (held > most_held)
        fail_msg("%s: T %lld: %lld windows hold one position", name, (long long)l->total,
                 (long long)held);
}

/* Sizes and overlaps of a balanced layout: as even as whole units allow. */
static void check_even(const lt_layout *l, int64_t unit)
{
    int64_t near = INT64_MAX, far = 0;
    for (int64_t k = 1; k < l->count; k++) {
        const int64_t apart = l->window[k].first - l->window[k - 1].first;
        assert_int_equal(apart % unit, 0);
        near = apart < near ? apart : near;
        far = apart > far ? apart : far;
    }
    if (l->count > 1)
        assert_true(far - near <= unit);
}

/* The window with the nearest centre, ties to the lower index: what the spec says of owners. */
static void check_nearest(const lt_layout *l)
{
    for (int64_t k = 0; k < l->count; k++)
        for (int64_t f = l->own[k].first; f < end_of(l->own[k]); f++)
            for (int64_t j = 0; j < l->count; j++) {
                const int64_t mine = 2 * f + 1 - l->window[k].first - end_of(l->window[k]);
                const int64_t other = 2 * f + 1 - l->window[j].first - end_of(l->window[j]);
                const int64_t a = mine < 0 ? -mine : mine, b = other < 0 ? -other : other;
                assert_true(j < k ? a < b : a <= b);
            }
}

static void balanced_by_exhaustion(void **state)
{
    (void)state;
    for (int64_t T = SHORTEST; T <= LONGEST; T++)
        for (int i = 0; i < OVERLAPS; i++) {
            const int64_t O = overlaps[i], D = WINDOW - O;
            lt_layout l = layout(&oracle, LT_LAYOUT_BALANCED, T, WINDOW, O, 0);
            check("balanced", &l, WINDOW, O, 0, 3);
            check_even(&l, 1);
            check_nearest(&l);
            assert_int_equal(l.count, (T - WINDOW + D - 1) / D + 1);
            lt_layout later = layout(&oracle, LT_LAYOUT_BALANCED, T, WINDOW, O, 7);
            assert_memory_equal(l.window, later.window, (size_t)l.count * sizeof *l.window);
            lt_layout_free(&l);
            lt_layout_free(&later);
        }
}

/* How far after each position (in units) the last one lies that shares a window with it. */
static void reach_of(const lt_layout *l, int64_t unit, int64_t tail, int64_t *reach)
{
    for (int64_t k = 0; k < l->count; k++) {
        const int64_t first = l->window[k].first / unit;
        const int64_t end = (end_of(l->window[k]) - tail + unit - 1) / unit;
        for (int64_t f = first; f < end; f++)
            reach[f] = end - 1 - f > reach[f] ? end - 1 - f : reach[f];
    }
}

/* All pairs at a distance below D share a window in one of the first 16 steps, if neighbours always
 * share a unit or D <= 16: else 16 places of a window do not reach all residues of D. */
static int dithered_at(const lt_grid *grid, int64_t T, int64_t window, int64_t overlap)
{
    int64_t reach[LONGEST + 1] = {0};
    const int64_t U = (T - grid->tail + grid->unit - 1) / grid->unit;
    const int64_t D = (window - overlap) / grid->unit;
    lt_layout even = layout(grid, LT_LAYOUT_BALANCED, T, window, overlap, 0);
    for (int step = 0; step < DITHERS; step++) {
        lt_layout l = layout(grid, LT_LAYOUT_DITHERED, T, window, overlap, step);
        check("dithered", &l, window, overlap, grid->unit - 1, INT64_MAX);
        assert_true(l.count >= even.count && l.count <= even.count + 1);
        reach_of(&l, grid->unit, grid->tail, reach);
        lt_layout_free(&l);
    }
    lt_layout_free(&even);
    for (int64_t f = 0; f < U; f++)
        if (reach[f] < (D - 1 < U - 1 - f ? D - 1 : U - 1 - f))
            return 0;
    return 1;
}

static void dithered_by_exhaustion(void **state)
{
    (void)state;
    int missed = 0;
    for (int64_t T = SHORTEST; T <= LONGEST; T++)
        for (int i = 0; i < OVERLAPS; i++) {
            const int all = dithered_at(&oracle, T, WINDOW, overlaps[i]);
            if (overlaps[i] > 0 && !all)
                fail_msg("T %lld, O %lld: two near frames never meet", (long long)T,
                         (long long)overlaps[i]);
            missed += !all;
            for (int step = 0; step < DITHERS; step++) {
                lt_layout l = layout(&oracle, LT_LAYOUT_DITHERED, T, WINDOW, overlaps[i], step);
                check("dithered", &l, WINDOW, overlaps[i], 0, 4);
                lt_layout_free(&l);
            }
        }
    assert_true(missed > 0); /* without an overlap some never do: the check can see it */
}

static void looped_by_exhaustion(void **state)
{
    (void)state;
    for (int64_t T = SHORTEST; T <= LONGEST; T++)
        for (int i = 0; i < OVERLAPS; i++) {
            const int64_t O = overlaps[i], D = WINDOW - O;
            unsigned char owned[LONGEST] = {0};
            lt_layout l = layout(&oracle, LT_LAYOUT_LOOPED, T, WINDOW, O, 0);
            assert_int_equal(l.count, (T + D - 1) / D);
            for (int64_t k = 0; k < l.count; k++) {
                const int64_t next =
                    k + 1 < l.count ? l.window[k + 1].first : l.window[0].first + T;
                assert_int_equal(l.window[k].count, WINDOW);
                assert_true(next > l.window[k].first);
                assert_true(end_of(l.window[k]) - next >= O);
                if (T % D == 0)
                    assert_int_equal(next - l.window[k].first, D);
                assert_true(l.own[k].first >= l.window[k].first);
                assert_true(end_of(l.own[k]) <= end_of(l.window[k]));
                for (int64_t f = l.own[k].first; f < end_of(l.own[k]); f++)
                    assert_int_equal(owned[f % T]++, 0);
            }
            for (int64_t f = 0; f < T; f++)
                assert_int_equal(owned[f], 1);
            lt_layout_free(&l);
        }
}

/* Count n = 1 + ceil((T - L) / (L - O)); chunks L - O apart; the last one shortened, its context
 * (what it shares with the chunk before) O like the others'. */
static void extend_by_exhaustion(void **state)
{
    (void)state;
    for (int64_t T = SHORTEST; T <= LONGEST; T++)
        for (int i = 0; i < OVERLAPS; i++) {
            const int64_t O = overlaps[i], D = WINDOW - O;
            lt_layout l = layout(&oracle, LT_LAYOUT_EXTEND, T, WINDOW, O, 0);
            check("extend", &l, WINDOW, O, D - 1, 2);
            assert_int_equal(l.count, 1 + (T - WINDOW + D - 1) / D);
            for (int64_t k = 0; k < l.count; k++) {
                assert_int_equal(l.window[k].first, k * D);
                assert_int_equal(l.own[k].first - l.window[k].first, k > 0 ? O : 0);
                assert_int_equal(end_of(l.own[k]), end_of(l.window[k]));
            }
            lt_layout_free(&l);
        }
}

/* H3: windows of 39 + 51 b frames begin at multiples of 51 frames, 15 latents, 85 ticks; the last
 * is on 17 n + 5 and never longer. */
static void check_h3(const lt_layout *l, int64_t frames, int64_t b, int64_t j)
{
    lt_layout video, audio;
    assert_int_equal(lt_layout_in_frames(&h3, l, &video), LT_OK);
    assert_int_equal(lt_layout_in_ticks(&h3, l, &audio), LT_OK);
    assert_int_equal(video.total, frames);
    assert_int_equal(audio.total, (10 * frames + 3) / 6); /* round(5/3 frames) */
    const int64_t less = l->kind == LT_LAYOUT_EXTEND ? 51 * (b - j) - 17 : 34;
    const int64_t held = l->kind == LT_LAYOUT_BALANCED && 2 * j <= b ? 3 : INT64_MAX;
    check("h3 frames", &video, 39 + 51 * b, 39 + 51 * j, less, held);
    /* where the clip ends off 39 + 51 n, its last tick is a rounded one */
    check("h3 ticks", &audio, 65 + 85 * b, 65 + 85 * j, (less * 5 + 2) / 3, held);
    for (int64_t k = 0; k < l->count; k++) {
        assert_int_equal(l->window[k].first % 15, 0);
        assert_int_equal(video.window[k].first, l->window[k].first / 15 * 51);
        assert_int_equal(audio.window[k].first, l->window[k].first / 15 * 85);
        assert_int_equal(video.window[k].count % 17, 5);
        assert_int_equal(l->window[k].count, video.window[k].count / 17 * 5 + 2);
        if (k + 1 < l->count) {
            assert_int_equal((video.window[k].count - 39) % 51, 0);
            assert_int_equal(3 * audio.window[k].count, 5 * video.window[k].count);
        }
        assert_int_equal(audio.own[k].first, (10 * video.own[k].first + 3) / 6);
    }
    lt_layout_free(&video);
    lt_layout_free(&audio);
}

static void h3_by_exhaustion(void **state)
{
    (void)state;
    static const lt_layout_kind kinds[] = {LT_LAYOUT_BALANCED, LT_LAYOUT_DITHERED,
                                           LT_LAYOUT_EXTEND};
    for (int64_t n = 1; n <= H3_CLIPS; n++)
        for (int64_t b = 1; b <= H3_UNITS; b++)
            for (int64_t j = 0; j < b; j++) {
                const int64_t frames = 17 * n + 5, T = 5 * n + 2;
                const int64_t window = 12 + 15 * b, overlap = 12 + 15 * j;
                for (size_t i = 0; T > window && i < sizeof kinds / sizeof *kinds; i++)
                    for (int step = 0; step < (kinds[i] == LT_LAYOUT_DITHERED ? 4 : 1); step++) {
                        lt_layout l = layout(&h3, kinds[i], T, window, overlap, step);
                        check_h3(&l, frames, b, j);
                        if (kinds[i] == LT_LAYOUT_BALANCED)
                            check_even(&l, 15);
                        lt_layout_free(&l);
                    }
                if (T > window && T <= LONGEST)
                    assert_true(dithered_at(&h3, T, window, overlap));
            }
}

static void short_films_are_one_window(void **state)
{
    (void)state;
    for (int64_t T = 1; T <= WINDOW; T++)
        for (int kind = LT_LAYOUT_BALANCED; kind <= LT_LAYOUT_EXTEND; kind++) {
            lt_layout l = layout(&oracle, (lt_layout_kind)kind, T, WINDOW, 4, 3);
            assert_int_equal(l.count, 1);
            assert_int_equal(l.window[0].count, T);
            check("short", &l, T, 0, 0, 1);
            lt_layout_free(&l);
        }
    lt_layout l = layout(&h3, LT_LAYOUT_BALANCED, 22, 27, 12, 0); /* 73 frames, below 90 */
    assert_int_equal(l.count, 1);
    lt_layout_free(&l);
}

static const struct {
    const char *name;
    lt_layout_kind kind;
    int64_t T, overlap, step;
    int64_t count, first[8];
} known[] = {
    {"spec 11: O=0", LT_LAYOUT_BALANCED, 81, 0, 0, 4, {0, 20, 40, 60}},
    {"spec 11: O=4", LT_LAYOUT_BALANCED, 81, 4, 0, 5, {0, 15, 30, 45, 60}},
    {"spec 11: O=8", LT_LAYOUT_BALANCED, 81, 8, 0, 6, {0, 12, 24, 36, 48, 60}},
    {"spec 3.3: 14 windows", LT_LAYOUT_BALANCED, 241, 4, 0, 14, {0, 17, 34, 51, 68, 85, 102, 118}},
    {"step 0: no offset", LT_LAYOUT_DITHERED, 81, 4, 0, 5, {0, 17, 34, 51, 60}},
    {"step 1: half of 17", LT_LAYOUT_DITHERED, 81, 4, 1, 6, {0, 8, 25, 42, 59, 60}},
    {"step 3: three quarters", LT_LAYOUT_DITHERED, 81, 4, 3, 5, {0, 12, 29, 46, 60}},
    {"a circle of 4", LT_LAYOUT_LOOPED, 68, 4, 0, 4, {0, 17, 34, 51}},
    {"a circle of 81", LT_LAYOUT_LOOPED, 81, 4, 0, 5, {0, 16, 32, 49, 65}},
    {"chunks", LT_LAYOUT_EXTEND, 81, 4, 0, 5, {0, 17, 34, 51, 68}},
};

static void known_layouts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        lt_layout l =
            layout(&oracle, known[i].kind, known[i].T, WINDOW, known[i].overlap, known[i].step);
        if (l.count != known[i].count)
            fail_msg("%s: %lld windows", known[i].name, (long long)l.count);
        for (int64_t k = 0; k < l.count && k < 8; k++)
            if (l.window[k].first != known[i].first[k])
                fail_msg("%s: window %lld at %lld", known[i].name, (long long)k,
                         (long long)l.window[k].first);
        lt_layout_free(&l);
    }
}

/* Lengths: any number of frames renders, on the next grid length. */
static void grid_lengths(void **state)
{
    (void)state;
    for (int64_t frames = 1; frames <= 5000; frames++) {
        const int64_t T = lt_grid_latents(&h3, frames), n = (T - 2) / 5;
        assert_int_equal(T % 5, 2);
        assert_int_equal(lt_grid_frames(&h3, T), 17 * n + 5);
        assert_true(17 * n + 5 >= frames && (n == 1 || 17 * (n - 1) + 5 < frames));
        assert_int_equal(lt_grid_latents(&wan, frames), (frames + 2) / 4 + 1); /* 4 (T - 1) + 1 */
        assert_int_equal(lt_grid_latents(&oracle, frames), frames);
        assert_int_equal(lt_grid_ticks(&h3, frames), (10 * frames + 3) / 6);
    }
    /* 51 frames = 15 latents = 85 ticks, and the latent in which each frame lies */
    static const int64_t frames_before[] = {0, 1, 5, 9, 13, 17, 18, 22, 26, 30, 34};
    for (size_t i = 0; i < sizeof frames_before / sizeof *frames_before; i++)
        assert_int_equal(lt_grid_frames(&h3, (int64_t)i), frames_before[i]);
    assert_int_equal(lt_grid_frames(&h3, 15), 51);
    assert_int_equal(lt_grid_ticks(&h3, 51), 85);
    assert_int_equal(lt_grid_frames(&wan, 21), 81);
}

static const struct {
    const lt_grid *grid;
    int64_t window, overlap; /* frames; overlap -1: the window is refused */
    int64_t latents, shared; /* shared -1: the overlap is refused */
    const char *hint;
} options[] = {
    {&h3, 90, 39, 27, 12, NULL},
    {&h3, 345, 90, 102, 27, NULL},
    {&h3, 345, 294, 102, 87, NULL}, /* one unit apart */
    {&h3, 345, 345, 102, -1, "try --overlap 294"},
    {&h3, 90, 38, 27, -1, "try --overlap 39"},
    {&h3, 141, 100, 42, -1, "try --overlap 90"},
    {&h3, 39, -1, -1, -1, "try --window 90"}, /* could not overlap */
    {&h3, 0, -1, -1, -1, "try --window 90"},
    {&h3, -7, -1, -1, -1, "try --window 90"},
    {&h3, 124, -1, -1, -1, "try --window 90"},
    {&h3, 362, -1, -1, -1, "try --window 345"},
    {&wan, 81, 16, 21, 4, NULL},
    {&wan, 81, 18, 21, -1, "try --overlap 20"},
    {&wan, 81, 84, 21, -1, "try --overlap 80"},
    {&wan, 83, -1, -1, -1, "try --window 85"},
    {&oracle, 21, 0, 21, 0, NULL},
    {&oracle, 21, 20, 21, 20, NULL},
    {&oracle, 21, -1, 21, -1, "try --overlap 0"},
};

static void options_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        int64_t window = -1, shared = -1;
        lt_error_clear();
        lt_status st = lt_grid_window(options[i].grid, options[i].window, &window);
        if (st == LT_OK)
            st = lt_grid_overlap(options[i].grid, window, options[i].overlap, &shared);
        if (window != options[i].latents || shared != options[i].shared)
            fail_msg("row %zu: %lld and %lld latents", i, (long long)window, (long long)shared);
        assert_int_equal(st, options[i].hint == NULL ? LT_OK : LT_EUSAGE);
        assert_string_equal(lt_hint_text(), options[i].hint == NULL ? "" : options[i].hint);
    }
    lt_error_clear();
}

/* Tiles: rows and columns in patches of 2 cells; each tile number once, in the order of fusion. */
static void tiles_cover_the_frame(void **state)
{
    (void)state;
    for (int64_t length = 2; length <= 96; length += 2)
        for (int64_t tile = 4; tile <= 32; tile += 2)
            for (int64_t overlap = 0; overlap <= tile - 2; overlap += 2) {
                lt_layout l;
                assert_int_equal(lt_layout_space(length, tile, overlap, 2, &l), LT_OK);
                check("tiles", &l, tile < length ? tile : length, overlap, 0, INT64_MAX);
                check_even(&l, 2);
                lt_layout_free(&l);
            }
    lt_tiling t = {.time = layout(&oracle, LT_LAYOUT_BALANCED, 81, WINDOW, 4, 0)};
    assert_int_equal(lt_layout_space(16, 8, 2, 2, &t.rows), LT_OK);
    assert_int_equal(lt_layout_space(20, 8, 2, 2, &t.columns), LT_OK);
    const int64_t rows = t.rows.count, columns = t.columns.count;
    assert_int_equal(lt_tiling_count(&t), 5 * rows * columns);
    for (int64_t i = 0; i < lt_tiling_count(&t); i++) {
        const lt_tile at = lt_tiling_at(&t, i);
        assert_int_equal((at.window * rows + at.row) * columns + at.column, i);
        assert_true(at.row >= 0 && at.row < rows && at.column >= 0 && at.column < columns);
    }
    lt_layout_free(&t.time);
    lt_layout_free(&t.rows);
    lt_layout_free(&t.columns);
}

static void periods_are_the_decoder_s(void **state)
{
    (void)state;
    assert_int_equal(lt_grid_period_frames(&h3), 17);
    assert_int_equal(lt_grid_period_frames(&wan), 4);
    assert_int_equal(lt_grid_period_frames(&oracle), 1);
}

/* Every storyboard of up to four entries: cuts at the exact frames, and all windows of a shot, as
 * far as they are kept, lie between its cuts. */
static void no_window_crosses_a_cut(void **state)
{
    (void)state;
    static const int64_t lengths[] = {1, 48, 90, 211};
    for (int choice = 0; choice < 4 * 4 * 4 * 4 * 16; choice++) {
        lt_shot_entry entry[4];
        lt_shot shot[4];
        for (int i = 0; i < 4; i++)
            entry[i] = (lt_shot_entry){lengths[choice >> (2 * i) & 3], choice >> (8 + i) & 1};
        const int shots = lt_shots_place(&h3, entry, 4, shot);
        int64_t at = 0;
        int next = 0;
        for (int s = 0; s < shots; s++) {
            assert_int_equal(shot[s].first_frame, at);
            assert_int_equal(shot[s].first_entry, next);
            int64_t frames = 0;
            for (int i = next; i < next + shot[s].entries; i++) {
                assert_true(i == next ? s == 0 || !entry[i].blends : entry[i].blends);
                frames += entry[i].frames;
            }
            assert_int_equal(shot[s].frames, frames);
            assert_int_equal(shot[s].latents, lt_grid_latents(&h3, frames));
            lt_layout l = layout(&h3, LT_LAYOUT_BALANCED, shot[s].latents, 27, 12, 0);
            assert_int_equal(l.window[0].first, 0); /* of the shot: nothing of the one before */
            assert_true(lt_grid_frames(&h3, end_of(l.window[l.count - 1])) >= frames);
            lt_layout_free(&l);
            at += frames;
            next += shot[s].entries;
        }
        assert_int_equal(next, 4);
    }
}

/* What a rank holds: its windows and nothing else; all ranks' together are the clip. */
static void runs_of_windows(void **state)
{
    (void)state;
    lt_layout l = layout(&h3, LT_LAYOUT_BALANCED, 427, 27, 12, 0); /* a minute */
    assert_int_equal(l.count, 28);
    for (int64_t first = 0; first < l.count; first++)
        for (int64_t count = 0; first + count <= l.count; count++) {
            const lt_range held = lt_layout_held(&l, (lt_range){first, count});
            if (count == 0)
                assert_int_equal(held.count, 0);
            else {
                assert_int_equal(held.first, l.window[first].first);
                assert_int_equal(end_of(held), end_of(l.window[first + count - 1]));
            }
        }
    lt_layout_free(&l);
}

static void anchors_that_a_window_lacks(void **state)
{
    (void)state;
    static const int64_t anchor[] = {0, 10, 20, 80};
    int64_t out[4];
    lt_layout l = layout(&oracle, LT_LAYOUT_BALANCED, 81, WINDOW, 4, 0);
    assert_int_equal(lt_layout_anchors(&l, 0, anchor, 4, out), 1); /* 0, 10, 20 are its own */
    assert_int_equal(out[0], 80);
    assert_int_equal(lt_layout_anchors(&l, 1, anchor, 4, out), 3); /* 15..35 */
    assert_int_equal(out[1], 10);
    assert_int_equal(lt_layout_anchors(&l, 1, anchor, 0, out), 0);
    lt_layout_free(&l);
    l = layout(&oracle, LT_LAYOUT_EXTEND, 81, WINDOW, 4, 0);
    assert_int_equal(lt_layout_anchors(&l, 0, anchor, 4, out), 0); /* 80 is not made yet */
    assert_int_equal(lt_layout_anchors(&l, 1, anchor, 4, out), 2); /* 17..37 */
    assert_int_equal(lt_layout_anchors(&l, 4, anchor, 4, out), 3);
    lt_layout_free(&l);
    l = layout(&oracle, LT_LAYOUT_LOOPED, 81, WINDOW, 4, 0);
    assert_int_equal(lt_layout_anchors(&l, 4, anchor, 4, out), 2); /* 65..80, 0..4 */
    assert_int_equal(out[0], 10);
    lt_layout_free(&l);
}

static const struct {
    const char *name;
    int64_t fade, first, count; /* the window */
    int at;
    double weight;
} texts[] = {
    {"well inside the first", 40, 0, 60, 0, 0.0},
    {"centre where the fade begins", 40, 70, 20, 0, 0.0},
    {"a quarter in: 5/32", 40, 80, 20, 0, 0.15625},
    {"at the border: half", 40, 90, 20, 0, 0.5},
    {"three quarters in", 40, 100, 20, 0, 0.84375},
    {"where it ends", 40, 110, 20, 1, 0.0},
    {"a cut in the text: before", 0, 89, 20, 0, 0.0},
    {"a cut in the text: at", 0, 90, 20, 1, 0.0},
    {"odd windows have a centre too", 40, 90, 19, 0, 0.48125390625},
    {"a fade that the next border cuts to 30", 400, 205, 20, 1, 0.5},
    {"the next border cuts the fade's other half", 400, 197, 20, 0, 0.99674074074074071},
    {"half way to that border", 400, 212, 21, 2, 0.0},
    {"the last prompt goes on", 40, 900, 90, 2, 0.0},
};

static void text_follows_the_centre(void **state)
{
    (void)state;
    static const int64_t start[] = {0, 100, 215};
    static const int64_t close[] = {0, 200, 215, 230};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const int cut = texts[i].fade > 100;
        const lt_text_at t = lt_text_of(cut ? close : start, cut ? 4 : 3, texts[i].fade,
                                        (lt_range){texts[i].first, texts[i].count});
        if (t.first != texts[i].at || !(fabs(t.weight - texts[i].weight) <= 1e-15))
            fail_msg("%s: prompt %d, weight %.17g", texts[i].name, t.first, t.weight);
    }
    /* Smooth: no step of one frame moves the text by more than x^2 (3 - 2 x) can: 1.5 / fade. */
    for (int64_t fade = 1; fade <= 90; fade++) {
        double before = 0.0;
        for (int64_t first = 0; first < 400; first++) {
            const lt_text_at t = lt_text_of(start, 3, fade, (lt_range){first, 1});
            const double at = t.first + t.weight;
            assert_true(t.weight >= 0.0 && t.weight < 1.0);
            assert_true(at >= before && at - before <= 1.5 / (double)fade);
            before = at;
        }
        assert_true(before == 2.0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(balanced_by_exhaustion),
        cmocka_unit_test(dithered_by_exhaustion),
        cmocka_unit_test(looped_by_exhaustion),
        cmocka_unit_test(extend_by_exhaustion),
        cmocka_unit_test(h3_by_exhaustion),
        cmocka_unit_test(short_films_are_one_window),
        cmocka_unit_test(known_layouts),
        cmocka_unit_test(grid_lengths),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(tiles_cover_the_frame),
        cmocka_unit_test(periods_are_the_decoder_s),
        cmocka_unit_test(no_window_crosses_a_cut),
        cmocka_unit_test(runs_of_windows),
        cmocka_unit_test(anchors_that_a_window_lacks),
        cmocka_unit_test(text_follows_the_centre),
    };
    return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
