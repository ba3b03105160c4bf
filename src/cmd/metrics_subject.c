/* metrics_subject.c - what is measured: a film's file, and where its joins, cuts and tiles are. */
#include "cmd/metrics_subject.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

enum { SHOTS_MAX = 4096, FRAMES_MAX = LT_METRICS_JOINS_MAX };

void lt_metrics_subject_free(lt_metrics_subject *s)
{
    json_decref(s->plan);
    free(s->joins);
    free(s->kinds);
    free(s->cuts);
    free(s->columns);
    free(s->rows);
    *s = (lt_metrics_subject){.run = NULL};
}

lt_metrics_ask lt_metrics_subject_ask(const lt_metrics_subject *s)
{
    return (lt_metrics_ask){.film = s->film,
                            .joins = s->joins,
                            .kinds = s->kinds,
                            .join_count = s->join_count,
                            .period = s->period,
                            .cuts = s->cuts,
                            .cut_count = s->cut_count,
                            .columns = s->columns,
                            .rows = s->rows,
                            .column_count = s->column_count,
                            .row_count = s->row_count,
                            .cell = s->cell};
}

lt_status lt_metrics_subject_film(const char *path, lt_metrics_subject *out)
{
    *out = (lt_metrics_subject){.period = 1, .cell = LT_SEAM_CODEC_BLOCK};
    if (strlen(path) >= sizeof out->film)
        LT_FAIL(LT_ENOINPUT, "%.200s...: a path of %zu bytes is too long", path, strlen(path));
    (void)snprintf(out->film, sizeof out->film, "%s", path);
    return LT_OK;
}

/* ---- what plan.json says ---- */

static lt_status list_of(const lt_json_at *root, const char *key, size_t most, lt_json_at *out,
                         size_t *count)
{
    LT_TRY(lt_json_member(root, key, out));
    *count = json_array_size(out->value);
    if (!json_is_array(out->value) || *count > most)
        LT_FAIL(LT_EDATA, "%s: %s: want a list of at most %zu", root->source, key, most);
    return LT_OK;
}

static lt_status range_of(const lt_json_at *list, size_t i, const char *first, const char *count,
                          int64_t most, lt_json_at *at, int64_t range[2])
{
    LT_TRY(lt_json_element(list, i, at));
    LT_TRY(lt_json_int(at, first, 0, most, &range[0]));
    LT_TRY(lt_json_int(at, count, 1, most, &range[1]));
    return LT_OK;
}

static void *room_for(size_t count, size_t bytes) { return calloc(count + 1, bytes); }

/* Add a place unless it is there or lies outside the film; joins come first. */
static void add_place(lt_metrics_subject *s, int64_t frame, int64_t frames, lt_join_kind kind)
{
    if (frame < 1 || frame >= frames)
        return;
    size_t at = 0;
    while (at < s->join_count && s->joins[at] < frame)
        at++;
    if (at < s->join_count && s->joins[at] == frame)
        return;
    memmove(s->joins + at + 1, s->joins + at, (s->join_count - at) * sizeof *s->joins);
    memmove(s->kinds + at + 1, s->kinds + at, (s->join_count - at) * sizeof *s->kinds);
    s->joins[at] = frame;
    s->kinds[at] = kind;
    s->join_count++;
}

/* Joins, and where overlaps of windows begin and end, and where `extend` begins to go over. */
static lt_status read_joins(const lt_json_at *root, int64_t frames, lt_metrics_subject *s)
{
    size_t window_count = 0, count = 0;
    int64_t end = 0, fade = 0, range[2];
    lt_json_at windows, window;
    if (lt_json_has(root, "fade"))
        LT_TRY(lt_json_int(root, "fade", 0, INT32_MAX, &fade));
    LT_TRY(list_of(root, "windows", LT_METRICS_JOINS_MAX / 4, &windows, &window_count));
    int64_t *joins = room_for(LT_METRICS_JOINS_MAX, sizeof *joins);
    s->joins = room_for(LT_METRICS_JOINS_MAX + 3 * window_count, sizeof *s->joins);
    s->kinds = room_for(LT_METRICS_JOINS_MAX + 3 * window_count, sizeof *s->kinds);
    lt_status st =
        joins != NULL && s->joins != NULL && s->kinds != NULL
            ? lt_json_ints(root, "joins", 0, INT32_MAX, joins, LT_METRICS_JOINS_MAX / 4, &count)
            : lt_fail(LT_ENOMEM, __FILE__, __LINE__, "%s: no memory", root->source);
    for (size_t i = 0; i < count && st == LT_OK; i++)
        add_place(s, joins[i], frames, LT_JOIN);
    free(joins);
    LT_TRY(st);
    for (size_t i = 0; i < window_count; i++) {
        LT_TRY(range_of(&windows, i, "first_frame", "frames", INT32_MAX, &window, range));
        if (i > 0 && range[0] < end) {
            add_place(s, range[0], frames, LT_JOIN_OVERLAP);
            add_place(s, end, frames, LT_JOIN_OVERLAP);
            if (fade > 0 && fade < end - range[0])
                add_place(s, end - fade, frames, LT_JOIN_OVERLAP);
        }
        end = range[0] + range[1];
    }
    return LT_OK;
}

/* Where a storyboard's shots begin, but the first. */
static lt_status read_cuts(const lt_json_at *root, int64_t frames, lt_metrics_subject *s)
{
    lt_json_at shots, shot;
    size_t count = 0;
    int64_t range[2];
    if (!lt_json_has(root, "shots"))
        return LT_OK;
    LT_TRY(list_of(root, "shots", SHOTS_MAX, &shots, &count));
    s->cuts = room_for(count, sizeof *s->cuts);
    if (s->cuts == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory", root->source);
    for (size_t i = 1; i < count; i++) {
        LT_TRY(range_of(&shots, i, "first_frame", "frames", FRAMES_MAX, &shot, range));
        const int64_t before = s->cut_count > 0 ? s->cuts[s->cut_count - 1] : 0;
        if (range[0] <= before || range[0] >= frames)
            LT_FAIL(LT_EDATA, "%s: shots[%zu].first_frame: want %lld to %lld, found %lld",
                    root->source, i, (long long)before + 1, (long long)frames - 1,
                    (long long)range[0]);
        s->cuts[s->cut_count++] = range[0];
    }
    return LT_OK;
}

static int ascending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Of tiles along an axis of `pixels`: where one begins to own, and where two begin and cease to
 * overlap, for the weight of each bends there. */
static lt_status read_borders(const lt_json_at *root, const char *key, int64_t pixels,
                              int64_t **out, size_t *out_count)
{
    lt_json_at tiles, tile;
    size_t count = 0, n = 0;
    int64_t end = 0, range[2], own = 0;
    if (!lt_json_has(root, key))
        return LT_OK;
    LT_TRY(list_of(root, key, LT_METRICS_BORDERS_MAX / 3, &tiles, &count));
    int64_t *borders = *out = room_for(3 * count, sizeof *borders);
    if (borders == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory", root->source);
    for (size_t i = 0; i < count; i++) {
        LT_TRY(range_of(&tiles, i, "first", "pixels", LT_SERIES_SIDE_MAX, &tile, range));
        LT_TRY(lt_json_int(&tile, "own", 0, LT_SERIES_SIDE_MAX, &own));
        if (i > 0) {
            borders[n++] = own;
            borders[n++] = range[0];
            borders[n++] = end;
        }
        end = range[0] + range[1];
    }
    qsort(borders, n, sizeof *borders, ascending);
    for (size_t i = 0; i < n; i++)
        if (borders[i] > 0 && borders[i] < pixels &&
            (*out_count == 0 || borders[i] != borders[*out_count - 1]))
            borders[(*out_count)++] = borders[i];
    return LT_OK;
}

/* Plans of before say neither period nor cell. */
static lt_status read_plan(const lt_json_at *root, lt_metrics_subject *s)
{
    int64_t frames = 0, width = 0, height = 0;
    LT_TRY(lt_json_int(root, "frames", 1, FRAMES_MAX, &frames));
    LT_TRY(lt_json_int(root, "width", 1, LT_SERIES_SIDE_MAX, &width));
    LT_TRY(lt_json_int(root, "height", 1, LT_SERIES_SIDE_MAX, &height));
    if (lt_json_has(root, "period"))
        LT_TRY(lt_json_int(root, "period", 1, FRAMES_MAX, &s->period));
    if (lt_json_has(root, "cell"))
        LT_TRY(lt_json_int(root, "cell", 1, LT_SERIES_SIDE_MAX, &s->cell));
    LT_TRY(read_joins(root, frames, s));
    LT_TRY(read_cuts(root, frames, s));
    LT_TRY(read_borders(root, "tile_columns", width, &s->columns, &s->column_count));
    return read_borders(root, "tile_rows", height, &s->rows, &s->row_count);
}

/* RUN/out.SUFFIX; where there was no room for two, the output that the run was for. */
static lt_status film_of_run(const lt_json_at *root, lt_metrics_subject *s)
{
    static const char *const suffixes[] = {"mp4", "mkv", "mov"};
    const char *suffix = NULL;
    char name[16], *output = NULL;
    LT_TRY(lt_json_string(root, "suffix", &suffix));
    size_t i = 0;
    while (i < 3 && strcmp(suffixes[i], suffix) != 0)
        i++;
    if (i == 3)
        LT_FAIL(LT_EDATA, "%s: suffix: want mp4, mkv or mov, found '%.20s'", root->source, suffix);
    (void)snprintf(name, sizeof name, "out.%s", suffixes[i]);
    LT_TRY(lt_path_join(s->film, sizeof s->film, s->run, name));
    if (lt_file_exists(s->film))
        return LT_OK;
    LT_TRY(lt_json_path(root, "output", &output));
    const int fits = strlen(output) < sizeof s->film;
    const int is_there = fits && lt_file_exists(output);
    if (is_there)
        (void)snprintf(s->film, sizeof s->film, "%s", output);
    free(output);
    if (is_there)
        return LT_OK;
    lt_hint("`longtake decode %s -o FILE` makes the film again where latents.h5 is there", s->run);
    LT_FAIL(LT_ENOINPUT, "%s: the film is not there", s->film);
}

lt_status lt_metrics_subject_run(const char *run, lt_metrics_subject *s)
{
    char path[LT_PATH_BYTES];
    const char *format = NULL;
    int64_t version = 0;
    *s = (lt_metrics_subject){.run = run, .period = 1, .cell = LT_SEAM_CODEC_BLOCK};
    LT_TRY(lt_path_join(path, sizeof path, run, "plan.json"));
    if (!lt_file_exists(path))
        LT_FAIL(LT_ENOINPUT, "%s: want a film or a run folder, found a folder without plan.json",
                run);
    LT_TRY(lt_json_read(path, &s->plan));
    const lt_json_at root = lt_json_root(s->plan, path);
    LT_TRY(lt_json_string(&root, "format", &format));
    if (strcmp(format, "longtake-plan") != 0)
        LT_FAIL(LT_EDATA, "%s: format: want longtake-plan, found '%.40s'", path, format);
    LT_TRY(lt_json_int(&root, "version", 1, 1, &version));
    LT_TRY(film_of_run(&root, s));
    return read_plan(&root, s);
}
