/* inspect_text.c - the report of inspect, for people. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cmd/inspect_internal.h"
#include "model/family.h"

enum { TENSORS_SHOWN = 40 };

typedef struct shown {
    char text[32];
} shown;

/* 66280430080, "B" -> "66.3 GB". Decimal, as disks and models are counted. */
static shown scaled(double x, const char *const prefixes[5], const char *unit)
{
    shown s;
    int i = 0;
    for (; x >= 999.5 && i < 4; i++)
        x /= 1000;
    (void)snprintf(s.text, sizeof s.text, i == 0 || x >= 99.95 ? "%.0f %s%s" : "%.1f %s%s", x,
                   prefixes[i], unit);
    return s;
}

static shown bytes_text(double x)
{
    static const char *const prefixes[5] = {"", "k", "M", "G", "T"};
    return scaled(x, prefixes, "B");
}

static shown parameters_text(double x)
{
    static const char *const prefixes[5] = {"", "thousand ", "million ", "billion ", "trillion "};
    return scaled(x, prefixes, "parameters");
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s != NULL ? s : "";
}

static void print_dtypes(const json_t *weights, FILE *to)
{
    const char *name;
    json_t *value;
    const char *between = " ";
    json_object_foreach (json_object_get(weights, "dtypes"), name, value) {
        (void)fprintf(to, "%s%s (%.0f)", between, name, number(value, "tensors"));
        between = ", ";
    }
}

static void print_weights(const json_t *weights, FILE *to)
{
    const json_t *shards = json_object_get(weights, "shards");
    if (json_object_get(weights, "parameters") != NULL) {
        (void)fprintf(to, "    %.0f tensors, %s, %s in %.0f file%s:", number(weights, "tensors"),
                      parameters_text(number(weights, "parameters")).text,
                      bytes_text(number(weights, "bytes")).text, number(shards, "wanted"),
                      number(shards, "wanted") == 1 ? "" : "s");
        print_dtypes(weights, to);
        (void)fprintf(to, "\n");
    } else if (json_object_get(weights, "tensors") != NULL) {
        (void)fprintf(to, "    %.0f tensors, %s by the index; %.0f of %.0f shards are there\n",
                      number(weights, "tensors"), bytes_text(number(weights, "bytes")).text,
                      number(shards, "present"), number(shards, "wanted"));
    }
}

/* The numbers that tell one model's size from another's, in whatever layout's words. */
static int matters(const char *key)
{
    static const char *const ends[] = {"hidden_size",
                                       "num_layers",
                                       "num_hidden_layers",
                                       "num_attention_heads",
                                       "attention_head_dim",
                                       "head_dim",
                                       "num_key_value_heads",
                                       "ffn_dim",
                                       "ffn_hidden_size",
                                       "intermediate_size",
                                       "vocab_size",
                                       "in_channels",
                                       "latents_dim",
                                       "audio_in_channels",
                                       "audio_latents_dim",
                                       "latent_channels",
                                       "text_dim",
                                       "decoder_dim",
                                       "sampling_rate",
                                       "sample_rate",
                                       "shift",
                                       "heads",
                                       "dim_head",
                                       "clip_length"};
    if (strncmp(key, "vision_config.", 14) == 0)
        return 0;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const size_t n = strlen(key), m = strlen(ends[i]);
        if (n >= m && strcmp(key + n - m, ends[i]) == 0 &&
            (n == m || key[n - m - 1] == '.' || key[n - m - 1] == '_'))
            return 1;
    }
    return 0;
}

static void print_config(const json_t *config, FILE *to)
{
    const char *key;
    json_t *value;
    int column = 0;
    json_object_foreach ((json_t *)(uintptr_t)config, key, value) {
        char item[128];
        if (!matters(key) || !json_is_number(value))
            continue;
        const char *dot = strrchr(key, '.');
        const int n = snprintf(item, sizeof item, "%s %.10g", dot != NULL ? dot + 1 : key,
                               json_number_value(value));
        if (column > 0 && column + n > 92) {
            (void)fprintf(to, ",\n    ");
            column = 0;
        } else {
            (void)fprintf(to, "%s", column > 0 ? ", " : "    ");
        }
        (void)fprintf(to, "%s", item);
        column += n + 2;
    }
    if (column > 0)
        (void)fprintf(to, "\n");
}

static void print_part(const json_t *part, FILE *to)
{
    size_t i;
    json_t *problem;
    const char *class = text(part, "class");
    (void)fprintf(to, "  %s%s%s\n", text(part, "name"), class[0] != '\0' ? ": " : "", class);
    print_config(json_object_get(part, "config"), to);
    print_weights(json_object_get(part, "weights"), to);
    const json_t *memory = json_object_get(part, "memory");
    if (memory != NULL && number(memory, "run_parameters") > 0) {
        const double run = number(memory, "run_parameters"),
                     tables = number(memory, "table_parameters");
        (void)fprintf(to, "    memory for weights: %s as f32, %s as bf16", bytes_text(4 * run).text,
                      bytes_text(2 * run).text);
        if (tables > 0)
            (void)fprintf(to, " (another %s are read once, layer by layer)",
                          parameters_text(tables).text);
        (void)fprintf(to, "\n");
    }
    json_array_foreach (json_object_get(part, "problems"), i, problem)
        (void)fprintf(to, "    ! %s\n", json_string_value(problem));
}

static void print_tensors(const json_t *report, FILE *to)
{
    size_t i;
    json_t *tensor;
    const json_t *weights = json_object_get(report, "weights"),
                 *list = json_object_get(report, "tensors");
    (void)fprintf(to, "  %.0f tensors, %s, %s:", number(weights, "tensors"),
                  parameters_text(number(weights, "parameters")).text,
                  bytes_text(number(weights, "bytes")).text);
    print_dtypes(weights, to);
    (void)fprintf(to, "\n");
    json_array_foreach (list, i, tensor) {
        char *shape = json_dumps(json_object_get(tensor, "shape"), 0);
        if (i < TENSORS_SHOWN)
            (void)fprintf(to, "  %-5s %-24s %s\n", text(tensor, "dtype"),
                          shape != NULL ? shape : "", text(tensor, "name"));
        free(shape);
    }
    if (json_array_size(list) > TENSORS_SHOWN)
        (void)fprintf(to, "  ... and %zu more (--json lists all)\n",
                      json_array_size(list) - TENSORS_SHOWN);
}

static void print_names(const char *before, const json_t *list, FILE *to)
{
    size_t i;
    json_t *name;
    if (json_array_size(list) == 0)
        return;
    (void)fprintf(to, "  %s:", before);
    json_array_foreach (list, i, name)
        (void)fprintf(to, "%s %s", i > 0 ? "," : "", json_string_value(name));
    (void)fprintf(to, "\n");
}

/* Parts work one after the other, so the largest one decides. */
static void print_largest(const json_t *report, FILE *to)
{
    size_t i;
    json_t *part;
    double most = 0;
    const char *name = "";
    json_array_foreach (json_object_get(report, "parts"), i, part) {
        const double run = number(json_object_get(part, "memory"), "run_parameters");
        if (run > most) {
            most = run;
            name = text(part, "name");
        }
    }
    if (most > 0 && json_array_size(json_object_get(report, "parts")) > 1)
        (void)fprintf(
            to, "  largest at one time: %s, %s of weights as f32, %s as bf16; here %s are free\n",
            name, bytes_text(4 * most).text, bytes_text(2 * most).text,
            bytes_text(number(report, "memory_available_bytes")).text);
}

static void print_report(const json_t *report, FILE *to)
{
    static const struct {
        const char *kind, *words;
    } kinds[] = {{"part", "one part of a model"},
                 {"safetensors", "a .safetensors file"},
                 {"run", "a RUN folder"},
                 {"latents", "latents (HDF5)"}};
    size_t i;
    json_t *part;
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(text(report, "kind"), kinds[i].kind) == 0)
            (void)fprintf(to, "%s: %s", text(report, "path"), kinds[i].words);
    for (int k = 0; lt_family_at(k) != NULL; k++)
        if (strcmp(text(report, "family"), lt_family_at(k)->name) == 0)
            (void)fprintf(to, "%s: %s model folder", text(report, "path"),
                          lt_family_at(k)->folders->title);
    if (json_object_get(report, "layout") != NULL)
        (void)fprintf(to, ", %s layout", text(report, "layout"));
    (void)fprintf(to, "\n");
    json_array_foreach (json_object_get(report, "parts"), i, part)
        print_part(part, to);
    if (json_object_get(report, "tensors") != NULL)
        print_tensors(report, to);
    print_names("files", json_object_get(report, "files"), to);
    print_names("also holds, in the original layout", json_object_get(report, "also_holds"), to);
    print_names("parts missing", json_object_get(report, "missing"), to);
    print_largest(report, to);
    if (json_object_get(report, "complete") != NULL)
        (void)fprintf(to, "  %s\n",
                      json_is_true(json_object_get(report, "complete")) ? "complete"
                                                                        : "not complete");
}

void lt_inspect_print(const json_t *report, FILE *to)
{
    json_t *safe = lt_json_printable(report); /* names and classes are the files' own words */
    if (safe != NULL)
        print_report(safe, to);
    json_decref(safe);
}
