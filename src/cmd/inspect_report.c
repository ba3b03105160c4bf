/* inspect_report.c - what a path is, what it holds, what it lacks.
 * A path is told by its content: a model folder by what a family's table says, a part by the class
 * in its config.json, a file by its first bytes. The report is made once, as JSON, and printed from
 * that (inspect_text.c), so that both forms say the same. */
#include "cmd/inspect_report.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "cmd/inspect_internal.h"
#include "model/family.h"
#include "model/files/folder_check.h"

static int has(const char *folder, const char *name)
{
    char path[LT_PATH_BYTES];
    return lt_path_join(path, sizeof path, folder, name) == LT_OK && lt_file_exists(path);
}

static void set_text(json_t *object, const char *key, const char *text)
{
    (void)json_object_set_new(object, key, json_string(text));
}

/* ---- one part ---- */

/* Scalars and short lists, flat: "text_config.hidden_size". Latent statistics and the like are left
 * out. */
static void copy_config(const json_t *from, const char *prefix, json_t *to)
{
    enum { LIST_MAX = 16 };
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)from, key, value) {
        char name[256];
        const int n = snprintf(name, sizeof name, "%s%s", prefix, key);
        if (n < 0 || n >= (int)sizeof name - 1 || key[0] == '_')
            continue;
        if (json_is_object(value) && strlen(prefix) == 0) {
            memcpy(name + n, ".", 2);
            copy_config(value, name, to);
        } else if (!json_is_object(value) && !json_is_null(value) &&
                   json_array_size(value) <= LIST_MAX) {
            (void)json_object_set(to, name, value);
        }
    }
}

/* The first of these configs that is there gives the class; all of them give values. */
static void read_configs(const char *folder, json_t *out, lt_inspect_fault *fault)
{
    static const char *const files[] = {"config.json", "source/config.json", "metadata.json",
                                        "scheduler_config.json", "preprocessor_config.json"};
    json_t *values = json_object();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[LT_PATH_BYTES];
        json_t *config = NULL;
        if (!has(folder, files[i]) || lt_path_join(path, sizeof path, folder, files[i]) != LT_OK)
            continue;
        const lt_status st = lt_json_read(path, &config);
        if (st != LT_OK) {
            lt_inspect_problem(out, fault, st);
            continue;
        }
        if (json_object_get(out, "class") == NULL && lt_config_class(config) != NULL)
            set_text(out, "class", lt_config_class(config));
        const json_t *kwargs = json_object_get(json_object_get(config, "metadata"), "kwargs");
        copy_config(kwargs != NULL ? kwargs : config, "", values);
        json_decref(config);
    }
    (void)json_object_set_new(out, "config", values);
}

static void look_at_tokenizer(const char *folder, json_t *out)
{
    static const char *const files[] = {"vocab.json", "merges.txt", "tokenizer_config.json"};
    json_t *missing = json_array();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!has(folder, files[i])) {
            char line[LT_PATH_BYTES + 64];
            (void)snprintf(line, sizeof line, "%s: %s is missing", folder, files[i]);
            (void)json_array_append_new(json_object_get(out, "problems"),
                                        json_string(lt_text_printable(line)));
            (void)json_array_append_new(missing, json_string(files[i]));
        }
    set_text(out, "class", "tokenizer");
    (void)json_object_set_new(out, "missing_files", missing);
}

static lt_status look_at_part(const char *folder, const lt_part_folder *known, json_t **out,
                              lt_inspect_fault *fault)
{
    json_t *part = json_object();
    *out = part;
    if (part == NULL)
        LT_FAIL(LT_ENOMEM, "inspect: no memory");
    set_text(part, "name", known->name);
    (void)json_object_set_new(part, "path", lt_json_of_path(folder));
    (void)json_object_set_new(part, "problems", json_array());
    read_configs(folder, part, fault);
    if (known->is_tokenizer)
        look_at_tokenizer(folder, part);
    if (known->weights != NULL)
        LT_TRY(lt_inspect_weights(folder, known->weights, part, fault));
    return LT_OK;
}

/* ---- a model folder ---- */

/* The family whose model a folder holds, and in which layout; NULL: no model is there. */
static const lt_family *family_of(const char *folder, const lt_folder_layout **layout)
{
    for (int i = 0; lt_family_at(i) != NULL; i++) {
        *layout = lt_family_at(i)->folders->layout_of(folder);
        if (*layout != NULL)
            return lt_family_at(i);
    }
    return NULL;
}

static lt_status look_at_parts(const char *path, const lt_part_folder *parts, json_t *report,
                               lt_inspect_fault *fault)
{
    json_t *list = json_object_get(report, "parts"), *missing = json_object_get(report, "missing");
    int complete = 1;
    for (; parts->name != NULL; parts++) {
        char folder[LT_PATH_BYTES];
        json_t *part = NULL;
        LT_TRY(lt_path_join(folder, sizeof folder, path, parts->name));
        if (!lt_file_is_dir(folder)) {
            if (!parts->optional) {
                (void)json_array_append_new(missing, json_string(parts->name));
                complete = 0;
            }
            continue;
        }
        const lt_status st = look_at_part(folder, parts, &part, fault);
        if (!parts->optional && json_array_size(json_object_get(part, "problems")) > 0)
            complete = 0;
        (void)json_array_append_new(list, part);
        LT_TRY(st);
    }
    (void)json_object_set_new(report, "complete", json_boolean(complete));
    return LT_OK;
}

static lt_status look_at_model(const char *path, const lt_family *family,
                               const lt_folder_layout *layout, json_t *report,
                               lt_inspect_fault *fault)
{
    set_text(report, "kind", "model");
    set_text(report, "family", family->name);
    set_text(report, "layout", layout->name);
    (void)json_object_set_new(report, "parts", json_array());
    (void)json_object_set_new(report, "missing", json_array());
    LT_TRY(look_at_parts(path, layout->parts, report, fault));
    json_t *also = json_array();
    for (const char *const *inner = family->folders->inner; *inner != NULL; inner++)
        if (has(path, *inner))
            (void)json_array_append_new(also, json_string(*inner));
    (void)json_object_set_new(report, "also_holds", also);
    (void)json_object_set_new(report, "memory_available_bytes",
                              json_integer(lt_memory_available_bytes()));
    return LT_OK;
}

/* ---- the other kinds ---- */

/* What the config of a class that some family knows is of; or NULL. */
static const lt_part_kind *kind_of(const json_t *config)
{
    const char *name = lt_config_class(config);
    for (int i = 0; name != NULL && lt_family_at(i) != NULL; i++)
        for (const lt_part_class *c = lt_family_at(i)->folders->classes; c->name != NULL; c++)
            if (strcmp(name, c->name) == 0)
                return c->weights;
    return NULL;
}

/* 1 and *out filled if the folder is a part of a model. */
static int part_of_config(const char *folder, lt_part_folder *out)
{
    char path[LT_PATH_BYTES];
    json_t *config = NULL;
    *out = (lt_part_folder){.name = "part"};
    if (lt_path_join(path, sizeof path, folder, "config.json") == LT_OK &&
        lt_json_read(path, &config) == LT_OK)
        out->weights = kind_of(config);
    lt_error_clear();
    json_decref(config);
    if (out->weights == NULL && has(folder, "vocab.json") && has(folder, "merges.txt"))
        *out = (lt_part_folder){.name = "tokenizer", .is_tokenizer = 1};
    return out->weights != NULL || out->is_tokenizer;
}

static lt_status list_tensors(const char *path, json_t *report)
{
    lt_checkpoint *c = NULL;
    lt_status st = LT_OK;
    json_t *list = json_array(), *weights = json_object();
    set_text(report, "kind", "safetensors");
    (void)json_object_set_new(report, "tensors", list);
    (void)json_object_set_new(report, "weights", weights);
    LT_TRY_GOTO(lt_checkpoint_open(path, NULL, &c), st, done);
    LT_TRY_GOTO(lt_inspect_stored(c, weights), st, done);
    for (int64_t i = 0; i < lt_checkpoint_count(c); i++) {
        const lt_tensor_info info = lt_checkpoint_at(c, i);
        json_t *shape = json_array();
        for (int k = 0; k < info.ndim; k++)
            (void)json_array_append_new(shape, json_integer(info.dim[k]));
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:I}", "name", info.name,
                                                    "dtype", lt_dtype_name(info.dtype), "shape",
                                                    shape, "bytes", (json_int_t)info.bytes));
    }
done:
    lt_checkpoint_close(&c);
    return st;
}

static lt_status look_at_folder(const char *path, json_t *report, lt_inspect_fault *fault)
{
    const lt_folder_layout *layout = NULL;
    const lt_family *family = family_of(path, &layout);
    lt_part_folder known;
    if (family != NULL) {
        LT_TRY(look_at_model(path, family, layout, report, fault));
        return LT_OK;
    }
    if (has(path, "job.yaml") || has(path, "latents.h5")) {
        static const char *const files[] = {"job.yaml", "plan.json", "manifest.json",
                                            "events.ndjson", "latents.h5"};
        json_t *list = json_array();
        set_text(report, "kind", "run");
        for (size_t i = 0; i < sizeof files / sizeof *files; i++)
            if (has(path, files[i]))
                (void)json_array_append_new(list, json_string(files[i]));
        (void)json_object_set_new(report, "files", list);
        return LT_OK;
    }
    if (part_of_config(path, &known)) {
        json_t *part = NULL, *list = json_array();
        set_text(report, "kind", "part");
        (void)json_object_set_new(report, "parts", list);
        const lt_status st = look_at_part(path, &known, &part, fault);
        const int complete = json_array_size(json_object_get(part, "problems")) == 0;
        (void)json_object_set_new(report, "complete", json_boolean(complete));
        (void)json_array_append_new(list, part);
        return st;
    }
    LT_FAIL(
        LT_EDATA,
        "%s: want a model folder, a part of one, or a RUN folder; found none of model_index.json, "
        "transformer/, job.yaml, latents.h5, a config.json of a known class",
        path);
}

static int ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static lt_status look(const char *path, json_t *report, lt_inspect_fault *fault)
{
    (void)json_object_set_new(report, "format", json_string("longtake-inspect"));
    (void)json_object_set_new(report, "version", json_integer(1));
    (void)json_object_set_new(report, "path", lt_json_of_path(path));
    if (!lt_file_exists(path)) {
        lt_folder_hint(path);
        LT_FAIL(LT_ENOINPUT, "%s: no such file or folder", path);
    }
    if (lt_file_is_dir(path)) {
        LT_TRY(look_at_folder(path, report, fault));
    } else if (ends_with(path, ".h5")) {
        set_text(report, "kind", "latents");
    } else {
        LT_TRY(list_tensors(path, report));
    }
    return LT_OK;
}

lt_status lt_inspect(const char *path, FILE *to, json_t **out)
{
    lt_inspect_fault fault = {.status = LT_OK};
    json_t *report = json_object();
    if (out != NULL)
        *out = NULL;
    lt_status st = report != NULL ? look(path, report, &fault) : LT_OK;
    if (lt_json_starved()) /* what is told is whole */
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "%s: no memory for what it holds", path);
    if (st != LT_OK) {
        json_decref(report);
        return lt_error_trace(st, "look", __FILE__, __LINE__);
    }
    if (to != NULL)
        lt_inspect_print(report, to);
    if (out != NULL)
        *out = report;
    else
        json_decref(report);
    if (fault.status != LT_OK)
        LT_FAIL(fault.status, "%s", fault.text);
    return LT_OK;
}
