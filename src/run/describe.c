/* describe.c - what a run folder or a latents.h5 holds. */
#include "run/describe.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "media/playable.h"
#include "run/store_hdf5.h"

static int ends_in_h5(const char *path)
{
    const size_t n = strlen(path);
    return n > 3 && strcmp(path + n - 3, ".h5") == 0;
}

static int has(const char *folder, const char *name)
{
    char file[LT_PATH_BYTES];
    return lt_path_join(file, sizeof file, folder, name) == LT_OK && lt_file_exists(file);
}

int lt_describe_knows(const char *path)
{
    if (!lt_file_is_dir(path))
        return ends_in_h5(path);
    return has(path, "plan.json") || has(path, "job.yaml");
}

/* Of a dataset's values. */
typedef struct summary {
    double least, most, sum;
    int finite;
} summary;

static lt_status summarise(lt_latents *store, size_t index, summary *out)
{
    enum { AT_ONCE = 1 << 20 };
    const lt_latents_stream *s = lt_latents_stream_at(store, index);
    const int64_t positions = s->dims[s->time_axis];
    int64_t width = 1; /* values of one position */
    for (int i = 0; i < s->ndim; i++)
        width *= i == s->time_axis ? 1 : s->dims[i];
    const int64_t step = width < AT_ONCE ? AT_ONCE / width : 1;
    float *values = malloc((size_t)(step * width) * sizeof *values + 1);
    lt_status st = LT_OK;
    *out = (summary){.least = HUGE_VAL, .most = -HUGE_VAL, .finite = 1};
    if (values == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %lld values", s->name, (long long)(step * width));
    for (int64_t at = 0; at < positions && st == LT_OK; at += step) {
        const int64_t n = positions - at < step ? positions - at : step;
        st = lt_latents_read_range(store, index, at, n, values, (size_t)(step * width));
        for (int64_t i = 0; i < n * width && st == LT_OK; i++) {
            const double x = (double)values[i];
            out->finite &= isfinite(x) != 0;
            out->least = x < out->least ? x : out->least;
            out->most = x > out->most ? x : out->most;
            out->sum += x;
        }
    }
    free(values);
    LT_TRY(st);
    return LT_OK;
}

static json_t *number(const summary *of, double x)
{
    return of->finite ? json_real(x) : json_null();
}

static lt_status stream_json(lt_latents *store, size_t index, json_t **out)
{
    const lt_latents_stream *s = lt_latents_stream_at(store, index);
    char hash[24];
    uint64_t xxh64 = 0;
    int64_t count = 1;
    summary of;
    LT_TRY(summarise(store, index, &of));
    LT_TRY(lt_latents_values_hash(store, index, &xxh64));
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, xxh64);
    json_t *dims = json_array();
    for (int i = 0; i < s->ndim; i++) {
        (void)json_array_append_new(dims, json_integer((json_int_t)s->dims[i]));
        count *= s->dims[i];
    }
    *out = json_pack("{s:s, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:s}", "name", s->name, "shape",
                     dims, "dims", s->dims_text, "unit", s->unit, "description", s->description,
                     "min", number(&of, of.least), "max", number(&of, of.most), "mean",
                     number(&of, of.sum / (double)count), "xxh64", hash);
    return LT_OK;
}

static lt_status latents_json(const char *file, int unsealed, json_t **out)
{
    lt_latents *store = NULL;
    LT_TRY(lt_latents_open(file, unsealed, &store));
    json_t *streams = json_array();
    lt_status st = LT_OK;
    for (size_t i = 0; i < lt_latents_count(store) && st == LT_OK; i++) {
        json_t *one = NULL;
        st = stream_json(store, i, &one);
        (void)json_array_append_new(streams, one);
    }
    *out = json_pack("{s:o, s:O}", "streams", streams, "attributes", lt_latents_attributes(store));
    lt_latents_close(&store);
    if (st == LT_OK && *out == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "%s: no memory for an answer", file);
    if (st != LT_OK) {
        json_decref(*out);
        *out = NULL;
    }
    LT_TRY(st);
    return LT_OK;
}

static lt_status folder_json(const char *path, int unsealed, json_t *answer)
{
    char file[LT_PATH_BYTES];
    json_t *value = NULL;
    LT_TRY(lt_path_join(file, sizeof file, path, "plan.json"));
    if (lt_file_exists(file)) {
        LT_TRY(lt_json_read(file, &value));
        (void)json_object_set_new(answer, "plan", value);
    }
    LT_TRY(lt_path_join(file, sizeof file, path, "latents.h5"));
    if (lt_file_exists(file)) {
        LT_TRY(latents_json(file, unsealed, &value));
        (void)json_object_set_new(answer, "latents", value);
    }
    static const char *const films[] = {"out.mp4", "out.mkv", "out.mov"};
    lt_status st = LT_OK;
    for (size_t i = 0; i < sizeof films / sizeof *films; i++) {
        if (!has(path, films[i]))
            continue;
        LT_TRY(lt_path_join(file, sizeof file, path, films[i]));
        const lt_status plays = lt_film_plays(file); /* others' may be anything, and empty */
        if (plays == LT_OK)
            (void)json_array_append_new(json_object_get(answer, "films"), json_string(films[i]));
        else if (st == LT_OK)
            st = plays;
    }
    return st;
}

static void say_streams(FILE *to, const json_t *latents)
{
    size_t i;
    json_t *s;
    json_array_foreach (json_object_get(latents, "streams"), i, s) {
        char *shape = json_dumps(json_object_get(s, "shape"), JSON_COMPACT);
        (void)fprintf(to, "  %-14s %s %s (%s)\n", json_string_value(json_object_get(s, "name")),
                      json_string_value(json_object_get(s, "dims")), shape != NULL ? shape : "",
                      json_string_value(json_object_get(s, "description")));
        free(shape);
        if (json_is_real(json_object_get(s, "min")))
            (void)fprintf(to, "                 %.4g to %.4g, mean %.4g, xxh64 %s\n",
                          json_real_value(json_object_get(s, "min")),
                          json_real_value(json_object_get(s, "max")),
                          json_real_value(json_object_get(s, "mean")),
                          json_string_value(json_object_get(s, "xxh64")));
    }
}

/* Where each begins. */
static void say_shots(FILE *to, const json_t *shots)
{
    enum { SHOWN = 12 };
    const size_t count = json_array_size(shots);
    size_t i;
    json_t *s;
    if (count == 0)
        return;
    (void)fprintf(to, "  shots          %zu, at frames ", count);
    json_array_foreach (shots, i, s)
        if (i < SHOWN)
            (void)fprintf(to, "%s%lld", i > 0 ? ", " : "",
                          (long long)json_integer_value(json_object_get(s, "first_frame")));
    (void)fprintf(to, "%s\n", count > SHOWN ? " ..." : "");
}

static void say(FILE *to, const json_t *answer)
{
    const json_t *plan = json_object_get(answer, "plan"),
                 *latents = json_object_get(answer, "latents");
    const json_t *facts = json_is_object(plan) ? plan : json_object_get(latents, "attributes");
    (void)fprintf(to, "%s: %s\n", json_string_value(json_object_get(answer, "path")),
                  strcmp(json_string_value(json_object_get(answer, "kind")), "run") == 0
                      ? "run folder"
                      : "latents of a run");
    if (json_is_object(facts)) {
        char *seed = json_dumps(json_object_get(facts, "seed"), JSON_ENCODE_ANY);
        (void)fprintf(to, "  prompt         %s\n",
                      json_string_value(json_object_get(facts, "prompt")));
        (void)fprintf(to, "  model          %s\n",
                      json_string_value(json_object_get(facts, "model")));
        (void)fprintf(to, "  film           %lld frames, %lldx%lld, %lld samples, seed %s\n",
                      (long long)json_integer_value(json_object_get(facts, "frames")),
                      (long long)json_integer_value(json_object_get(facts, "width")),
                      (long long)json_integer_value(json_object_get(facts, "height")),
                      (long long)json_integer_value(json_object_get(facts, "samples")),
                      seed != NULL ? seed : "?");
        free(seed);
        say_shots(to, json_object_get(facts, "shots"));
    }
    if (json_is_object(latents))
        say_streams(to, latents);
    else
        (void)fputs("  no latents yet: the run has not denoised\n", to);
    size_t i;
    json_t *film;
    json_array_foreach (json_object_get(answer, "films"), i, film)
        (void)fprintf(to, "  %s\n", json_string_value(film));
}

lt_status lt_describe_run(const char *path, int unsealed, FILE *to, json_t **out)
{
    const int folder = lt_file_is_dir(path);
    if (!folder && !lt_file_exists(path))
        LT_FAIL(LT_ENOINPUT, "%s: no such file", path);
    json_t *answer = json_pack("{s:s, s:i, s:o, s:s, s:n, s:n, s:[]}", "format", "longtake-inspect",
                               "version", 1, "path", lt_json_of_path(path), "kind",
                               folder ? "run" : "latents", "plan", "latents", "films");
    if (answer == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for an answer (or the path is not UTF-8)", path);
    lt_status st = LT_OK;
    if (folder) {
        st = folder_json(path, unsealed, answer);
    } else {
        json_t *latents = NULL;
        st = latents_json(path, unsealed, &latents);
        if (st == LT_OK)
            (void)json_object_set_new(answer, "latents", latents);
    }
    if (st == LT_OK && lt_json_starved())
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "%s: no memory for what it holds", path);
    json_t *shown = st == LT_OK && to != NULL ? lt_json_printable(answer) : NULL;
    if (shown != NULL)
        say(to, shown);
    else if (st == LT_OK && to != NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "%s: no memory for what it holds", path);
    json_decref(shown);
    if (st == LT_OK)
        *out = answer;
    else
        json_decref(answer);
    return st;
}
