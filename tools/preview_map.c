/* preview_map.c - fits a model's map from latents to colours (src/model/preview_map.h) by least
 * squares: the latents of finished runs against the films that its decoder made of them. Writes
 * the key `preview` of MODEL/longtake.json, which stays else as it is, and says how much of the
 * colours' variance the map explains: of the runs that it was fitted to, and of the last quarter of
 * them, which it was not fitted to. These choose its degree, and how much its weights are held
 * small (a ridge): what one film alone has is else learned by heart. tools/preview_map builds and
 * calls it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/new_file.h"
#include "media/film_read.h"
#include "model/family.h"
#include "run/store_hdf5.h"

enum { SIDE = 16 }; /* points that the map draws of a side, at least */

/* One run: its latents, and what its film shows of each. */
typedef struct pair {
    int64_t dim[4]; /* C, T, h, w */
    int64_t known;  /* latents that the film shows whole, at most T */
    float *latent;  /* [C, T, h, w] */
    double *colour; /* [T, 3, scale h, scale w] */
} pair;

typedef struct sums {
    int64_t values, targets; /* terms, 3 scale^2 */
    double *square, *both;   /* [values, values], [values, targets] */
} sums;

typedef struct fit {
    const lt_grid *grid;
    int scale, degree;
    int64_t channels;
    sums sums;
    double *map;                      /* [values, targets] */
    double wrong, sum, square, cells; /* squares that the map leaves; of the colours */
} fit;

static lt_status read_latents(const char *run, pair *out)
{
    char path[LT_PATH_BYTES];
    lt_latents *file = NULL;
    size_t index = 0;
    LT_TRY(lt_path_join(path, sizeof path, run, "latents.h5"));
    LT_TRY(lt_latents_open(path, 0, &file));
    lt_status st = lt_latents_find(file, "latents", &index);
    if (st == LT_OK) {
        const lt_latents_stream *s = lt_latents_stream_at(file, index);
        size_t count = 1;
        for (int i = 0; i < s->ndim; i++)
            count *= (size_t)(out->dim[i] = s->dims[i]);
        out->latent = malloc(count * sizeof *out->latent);
        if (s->ndim != 4 || out->latent == NULL)
            st =
                lt_fail(LT_EDATA, __FILE__, __LINE__, "%s: want latents of 4 dims in memory", path);
        else
            st = lt_latents_read(file, index, out->latent, count);
    }
    lt_latents_close(&file);
    LT_TRY(st);
    return LT_OK;
}

static lt_status open_film(const char *run, lt_film **out)
{
    static const char *const names[] = {"out.mp4", "out.mkv", "out.mov"};
    char path[LT_PATH_BYTES];
    for (size_t i = 0; i < 3; i++) {
        LT_TRY(lt_path_join(path, sizeof path, run, names[i]));
        if (lt_file_exists(path))
            return lt_film_open(path, out);
    }
    LT_FAIL(LT_ENOINPUT, "%s: no out.mp4, .mkv or .mov", run);
}

/* Mean colours of each latent's frames. */
static lt_status read_colours(const char *run, const lt_grid *grid, int scale, pair *p)
{
    const int width = scale * (int)p->dim[3], height = scale * (int)p->dim[2];
    const size_t points = 3 * (size_t)width * (size_t)height;
    lt_film *film = NULL;
    lt_film_event event;
    int64_t frame = 0, latent = 0;
    uint8_t *rgb = malloc(points);
    p->colour = calloc((size_t)p->dim[1] * points, sizeof *p->colour);
    if (rgb == NULL || p->colour == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory", run);
    lt_status st = open_film(run, &film);
    while (st == LT_OK && (st = lt_film_next(film, &event)) == LT_OK && event.kind != LT_FILM_END) {
        if (event.kind != LT_FILM_VIDEO)
            continue;
        while (latent + 1 < p->dim[1] && lt_grid_frames(grid, latent + 1) <= frame)
            latent++;
        st = lt_film_rgb(film, width, height, rgb);
        const int64_t frames = lt_grid_frame_range(grid, (lt_range){latent, 1}).count;
        for (size_t i = 0; i < points; i++)
            p->colour[(size_t)latent * points + i] += rgb[i] / (double)frames;
        frame++;
    }
    p->known = frame < lt_grid_frames(grid, p->dim[1]) ? latent : p->dim[1];
    lt_film_close(&film);
    free(rgb);
    LT_TRY(st);
    return LT_OK;
}

/* The terms of a cell of a latent, and its points' colours, [3 scale^2], as the map has them. */
static void cell_of(const pair *p, const fit *f, int64_t t, int64_t y, int64_t x, double *values,
                    double *targets)
{
    const int scale = f->scale;
    float terms[LT_PREVIEW_TERMS_MAX];
    const int64_t h = p->dim[2], w = p->dim[3], plane = scale * h * scale * w;
    lt_preview_terms_of(p->latent + (t * h + y) * w + x, p->dim[1] * h * w, p->dim[0], f->degree,
                        terms);
    for (int64_t i = 0; i < lt_preview_terms(p->dim[0], f->degree); i++)
        values[i] = terms[i];
    for (int64_t i = 0; i < scale * scale; i++)
        for (int64_t colour = 0; colour < 3; colour++)
            targets[3 * i + colour] =
                p->colour[(t * 3 + colour) * plane + (scale * y + i / scale) * scale * w +
                          scale * x + i % scale];
}

static void add(sums *s, const double *values, const double *targets)
{
    for (int64_t i = 0; i < s->values; i++) {
        for (int64_t k = 0; k < s->values; k++)
            s->square[i * s->values + k] += values[i] * values[k];
        for (int64_t k = 0; k < s->targets; k++)
            s->both[i * s->targets + k] += values[i] * targets[k];
    }
}

/* The map: square x = both, by Cholesky. ridge: a share of each term's own square is added to it,
 * but for the constant's. map [values, targets]. */
static lt_status solve(const sums *s, double ridge, double *map)
{
    const int64_t n = s->values;
    double *l = malloc((size_t)(n * n) * sizeof *l);
    lt_status st = LT_OK;
    if (l == NULL)
        LT_FAIL(LT_ENOMEM, "fit: no memory");
    memcpy(map, s->both, (size_t)(n * s->targets) * sizeof *map);
    for (int64_t i = 0; i < n && st == LT_OK; i++)
        for (int64_t k = 0; k <= i && st == LT_OK; k++) {
            double sum = s->square[i * n + k];
            sum += k == i ? (i + 1 < n ? ridge * sum : 0) + 1e-9 : 0;
            for (int64_t j = 0; j < k; j++)
                sum -= l[i * n + j] * l[k * n + j];
            if (k == i && !(sum > 0))
                st = lt_fail(LT_EDATA, __FILE__, __LINE__, "fit: the latents do not differ");
            l[i * n + k] = k == i ? sqrt(sum) : sum / l[k * n + k];
        }
    for (int64_t t = 0; t < s->targets && st == LT_OK; t++) {
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < i; j++)
                map[i * s->targets + t] -= l[i * n + j] * map[j * s->targets + t];
            map[i * s->targets + t] /= l[i * n + i];
        }
        for (int64_t i = n - 1; i >= 0; i--) {
            for (int64_t j = i + 1; j < n; j++)
                map[i * s->targets + t] -= l[j * n + i] * map[j * s->targets + t];
            map[i * s->targets + t] /= l[i * n + i];
        }
    }
    free(l);
    LT_TRY(st);
    return LT_OK;
}

/* Calls visit for each cell of these runs whose colours are known. */
static lt_status each_cell(const pair *pairs, int count, const fit *f,
                           void (*visit)(fit *f, const double *values, const double *targets),
                           fit *to)
{
    double *values = malloc((size_t)(f->sums.values + f->sums.targets) * sizeof *values);
    if (values == NULL)
        LT_FAIL(LT_ENOMEM, "fit: no memory");
    for (int r = 0; r < count; r++) {
        const pair *p = &pairs[r];
        const int64_t w = p->dim[3], area = p->dim[2] * w;
        for (int64_t i = 0; i < p->known * area; i++) {
            cell_of(p, f, i / area, i % area / w, i % w, values, values + f->sums.values);
            visit(to, values, values + f->sums.values);
        }
    }
    free(values);
    return LT_OK;
}

static void add_cell(fit *f, const double *values, const double *targets)
{
    add(&f->sums, values, targets);
}

static void measure_cell(fit *f, const double *values, const double *targets)
{
    const int64_t count = f->sums.targets;
    for (int64_t t = 0; t < count; t++) {
        double found = 0;
        for (int64_t k = 0; k < f->sums.values; k++)
            found += values[k] * f->map[k * count + t];
        found = found < 0 ? 0 : found > 255 ? 255 : found; /* as a preview shows it */
        f->wrong += (found - targets[t]) * (found - targets[t]);
        f->sum += targets[t];
        f->square += targets[t] * targets[t];
        f->cells++;
    }
}

/* Share of the colours' variance that the map explains. */
static lt_status measure(const pair *pairs, int count, fit *f, double *explained)
{
    f->wrong = f->sum = f->square = f->cells = 0;
    LT_TRY(each_cell(pairs, count, f, measure_cell, f));
    *explained = 1 - f->wrong / (f->square - f->sum * f->sum / f->cells);
    return LT_OK;
}

/* longtake.json with this map: all else as it was, the rows a line each. */
static lt_status write_map(const char *model, const fit *f)
{
    char path[LT_PATH_BYTES], *text = NULL, *whole = NULL;
    json_t *json = NULL;
    size_t bytes = 0;
    LT_TRY(lt_path_join(path, sizeof path, model, "longtake.json"));
    if (lt_file_exists(path))
        LT_TRY(lt_json_read(path, &json));
    else
        json = json_pack("{s:s, s:i}", "format", "longtake-model", "version", 1);
    (void)json_object_del(json, "preview");
    text = lt_json_text(json, JSON_INDENT(2));
    json_decref(json);
    FILE *to = text != NULL ? open_memstream(&whole, &bytes) : NULL;
    if (to == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory", path);
    (void)fprintf(
        to,
        "%.*s,\n  \"preview\": {\"scale\": %d, \"channels\": %lld, \"degree\": %d, \"rows\": [\n",
        (int)(strrchr(text, '}') - text - 1), text, f->scale, (long long)f->channels, f->degree);
    for (int64_t t = 0; t < f->sums.targets; t++)
        for (int64_t i = 0; i < f->sums.values; i++)
            (void)fprintf(to, "%s%.5g%s", i == 0 ? "    [" : ", ", f->map[i * f->sums.targets + t],
                          i + 1 < f->sums.values    ? ""
                          : t + 1 < f->sums.targets ? "],\n"
                                                    : "]\n");
    (void)fputs("  ]}\n}\n", to);
    const int is_whole = !ferror(to) && fclose(to) == 0;
    free(text);
    const lt_status st = is_whole ? lt_new_file_write(path, whole, bytes, LT_REPLACE) : LT_ENOMEM;
    free(whole);
    LT_TRY(st);
    return LT_OK;
}

static void fit_free(fit *f)
{
    free(f->sums.square);
    free(f->sums.both);
    free(f->map);
    f->sums = (sums){0};
    f->map = NULL;
}

static lt_status fit_begin(fit *f, int degree)
{
    fit_free(f);
    f->degree = degree;
    f->sums.values = lt_preview_terms(f->channels, degree);
    f->sums.targets = 3 * f->scale * f->scale;
    const size_t n = (size_t)f->sums.values, all = n * (size_t)f->sums.targets;
    f->sums.square = calloc(n * n, sizeof *f->sums.square);
    f->sums.both = calloc(all, sizeof *f->sums.both);
    f->map = calloc(all, sizeof *f->map);
    if (f->sums.square == NULL || f->sums.both == NULL || f->map == NULL)
        LT_FAIL(LT_ENOMEM, "fit: no memory for %zu terms", n);
    return LT_OK;
}

/* The best of some ridges, by the runs that are not fitted. */
static lt_status fit_degree(const pair *pairs, int count, int fitted, int degree, fit *f,
                            double explained[2])
{
    const double least = 1e-7, most = 0.2;
    double best = -INFINITY, best_ridge = least;
    LT_TRY(fit_begin(f, degree));
    LT_TRY(each_cell(pairs, fitted, f, add_cell, f));
    for (double ridge = least; ridge < most; ridge *= 10) {
        LT_TRY(solve(&f->sums, ridge, f->map));
        LT_TRY(measure(pairs + (fitted < count ? fitted : 0),
                       fitted < count ? count - fitted : count, f, &explained[1]));
        if (explained[1] > best) {
            best = explained[1];
            best_ridge = ridge;
        }
    }
    LT_TRY(solve(&f->sums, best_ridge, f->map));
    LT_TRY(measure(pairs, fitted, f, &explained[0]));
    explained[1] = best;
    return LT_OK;
}

static lt_status read_all(char *const *runs, int count, fit *f, pair *pairs)
{
    for (int i = 0; i < count; i++) {
        LT_TRY(read_latents(runs[i], &pairs[i]));
        if (i == 0) {
            f->channels = pairs[0].dim[0];
            f->scale = (int)((SIDE + pairs[0].dim[3] - 1) / pairs[0].dim[3]);
            if (f->channels > LT_PREVIEW_CHANNELS_MAX)
                LT_FAIL(LT_EDATA, "%s: want at most %d channels, found %lld", runs[0],
                        LT_PREVIEW_CHANNELS_MAX, (long long)f->channels);
        }
        if (pairs[i].dim[0] != f->channels)
            LT_FAIL(LT_EDATA, "%s: want latents of %lld channels, found %lld", runs[i],
                    (long long)f->channels, (long long)pairs[i].dim[0]);
        LT_TRY(read_colours(runs[i], f->grid, f->scale, &pairs[i]));
    }
    return LT_OK;
}

static lt_status run(const char *path, char *const *runs, int count)
{
    const double good = 0.8; /* a plain map that explains so much will do */
    const int fitted = count - count / 4 - (count > 1 && count < 4);
    double explained[2] = {0, 0};
    lt_model *model = NULL;
    fit f = {0};
    LT_TRY(lt_model_open(path, &model));
    f.grid = model->family->grid;
    pair *pairs = calloc((size_t)count, sizeof *pairs);
    lt_status st = pairs == NULL ? LT_ENOMEM : read_all(runs, count, &f, pairs);
    if (st == LT_OK)
        st = fit_degree(pairs, count, fitted, 1, &f, explained);
    if (st == LT_OK && explained[1] < good &&
        lt_preview_terms(f.channels, 2) <= LT_PREVIEW_TERMS_MAX)
        st = fit_degree(pairs, count, fitted, 2, &f, explained);
    if (st == LT_OK)
        st = write_map(path, &f);
    if (st == LT_OK)
        (void)printf(
            "%s/longtake.json: preview of %d points a latent's side, degree %d, explains "
            "%.1f %% of the colours of %d run%s, %.1f %% of %d that it was not fitted to\n",
            path, f.scale, f.degree, 100 * explained[0], fitted, fitted == 1 ? "" : "s",
            fitted < count ? 100 * explained[1] : 0, count - fitted);
    for (int i = 0; pairs != NULL && i < count; i++) {
        free(pairs[i].latent);
        free(pairs[i].colour);
    }
    free(pairs);
    fit_free(&f);
    lt_model_close(&model);
    LT_TRY(st);
    return LT_OK;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fputs("usage: preview_map MODEL RUN...\n", stderr);
        return 64;
    }
    const lt_status st = run(argv[1], argv + 2, argc - 2);
    if (st != LT_OK)
        (void)fprintf(stderr, "preview_map: error: %s\n", lt_error_text());
    return st == LT_OK ? 0 : lt_exit_code(st);
}
