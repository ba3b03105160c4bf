/* inspect_weights.c - a part's weights against its config.
 * Names of tensors come from the shards' headers, or, while shards are missing, from the index;
 * either way the config's list is held against them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "cmd/inspect_internal.h"
#include "model/files/checkpoint_internal.h"

void lt_inspect_problem(json_t *part, lt_inspect_fault *fault, lt_status status)
{
    json_t *problems = json_object_get(part, "problems");
    (void)json_array_append_new(problems, json_string(lt_error_text()));
    if (fault->status == LT_OK && status != LT_ENOINPUT) {
        fault->status = status;
        (void)snprintf(fault->text, sizeof fault->text, "%s", lt_error_text());
    }
    lt_error_clear();
}

static void append_name(json_t *list, const char *name)
{
    if (json_array_size(list) < LT_INSPECT_NAMES_MAX)
        (void)json_array_append_new(list, json_string(name));
}

static void set_int(json_t *object, const char *key, uint64_t value)
{
    (void)json_object_set_new(object, key, json_integer((json_int_t)value));
}

lt_status lt_inspect_stored(const lt_checkpoint *checkpoint, json_t *out)
{
    uint64_t parameters[LT_DTYPE_COUNT] = {0}, tensors[LT_DTYPE_COUNT] = {0}, all = 0, bytes = 0;
    const int64_t count = lt_checkpoint_count(checkpoint);
    for (int64_t i = 0; i < count; i++) {
        const lt_tensor_info info = lt_checkpoint_at(checkpoint, i);
        const uint64_t n = info.bytes / lt_dtype_bytes(info.dtype);
        parameters[info.dtype] += n;
        tensors[info.dtype]++;
        all += n;
        bytes += info.bytes;
    }
    json_t *dtypes = json_object();
    for (int i = 0; i < LT_DTYPE_COUNT; i++)
        if (tensors[i] > 0) {
            json_t *one = json_object();
            set_int(one, "tensors", tensors[i]);
            set_int(one, "parameters", parameters[i]);
            (void)json_object_set_new(dtypes, lt_dtype_name((lt_dtype)i), one);
        }
    set_int(out, "tensors", (uint64_t)count);
    set_int(out, "parameters", all);
    set_int(out, "bytes", bytes);
    if (json_object_set_new(out, "dtypes", dtypes) != 0)
        LT_FAIL(LT_ENOMEM, "inspect: no memory");
    return LT_OK;
}

/* ---- the names that are there ---- */

/* have: name -> its shape, or null where only the index is known. */
static void have_of_checkpoint(const lt_checkpoint *c, json_t *have)
{
    for (int64_t i = 0; i < c->entry_count; i++) {
        int64_t dim[LT_STORED_DIMS_MAX];
        const int ndim = lt_entry_dims(&c->entry[i], dim);
        json_t *shape = json_array();
        for (int k = 0; k < ndim; k++)
            (void)json_array_append_new(shape, json_integer(dim[k]));
        (void)json_object_set_new(have, c->entry[i].name, shape);
    }
}

static int have_of_index(const json_t *map, const lt_name_map *names_of, json_t *have)
{
    int original = 0;
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)map, name, value)
        original |= names_of != NULL && names_of->is_mapped(name);
    json_object_foreach ((json_t *)(uintptr_t)map, name, value) {
        lt_mapped_name names[3];
        if (!original || strlen(name) >= LT_MAPPED_NAME_BYTES) {
            (void)json_object_set_new(have, name, json_null());
            continue;
        }
        const int n = names_of->names(name, names);
        for (int i = 0; i < n; i++)
            (void)json_object_set_new(have, names[i].name, json_null());
    }
    return original;
}

/* Shards that the index names, and those of them that aren't there. */
static void shards_of_index(const char *index, const json_t *map, json_t *shards)
{
    char folder[LT_PATH_BYTES], path[LT_PATH_BYTES];
    const char *name;
    json_t *value, *seen = json_object(), *missing = json_array();
    json_object_foreach ((json_t *)(uintptr_t)map, name, value)
        if (json_is_string(value))
            (void)json_object_set_new(seen, json_string_value(value), json_null());
    uint64_t absent = 0;
    const int known = lt_path_folder(folder, sizeof folder, index) == LT_OK;
    json_object_foreach (seen, name, value)
        if (!known || lt_path_join(path, sizeof path, folder, name) != LT_OK ||
            !lt_file_exists(path)) {
            append_name(missing, name);
            absent++;
        }
    set_int(shards, "wanted", json_object_size(seen));
    set_int(shards, "present", json_object_size(seen) - absent);
    (void)json_object_set_new(shards, "missing", missing);
    json_decref(seen);
}

static lt_status read_index(const char *file, const lt_name_map *map_of, json_t *weights,
                            json_t *have)
{
    json_t *index = NULL;
    LT_TRY(lt_json_read(file, &index));
    const json_t *map = json_object_get(index, "weight_map");
    const json_t *total = json_object_get(json_object_get(index, "metadata"), "total_size");
    lt_status st = LT_OK;
    if (!json_is_object(map))
        LT_FAIL_GOTO(LT_EDATA, st, done, "%s: weight_map: want an object", file);
    set_int(weights, "tensors", json_object_size(map));
    if (json_is_number(total))
        set_int(weights, "bytes", (uint64_t)json_number_value(total));
    shards_of_index(file, map, json_object_get(weights, "shards"));
    const int original = have_of_index(map, map_of, have);
    (void)json_object_set_new(weights, "layout", json_string(original ? "original" : "diffusers"));
done:
    json_decref(index);
    return st;
}

static lt_status read_checkpoint(lt_checkpoint *c, json_t *weights, json_t *have)
{
    json_t *shards = json_object_get(weights, "shards");
    LT_TRY(lt_inspect_stored(c, weights));
    set_int(shards, "wanted", (uint64_t)c->shard_count);
    set_int(shards, "present", (uint64_t)c->shard_count);
    (void)json_object_set_new(shards, "missing", json_array());
    (void)json_object_set_new(weights, "layout",
                              json_string(lt_checkpoint_is_mapped(c) ? "original" : "diffusers"));
    have_of_checkpoint(c, have);
    return LT_OK;
}

/* ---- the names that the config wants ---- */

typedef struct comparison {
    json_t *have, *missing, *misshapen;
    uint64_t wanted, missing_count, misshapen_count;
    double run, tables; /* parameters */
} comparison;

static int same_shape(const json_t *shape, lt_dims dims)
{
    int same = json_array_size(shape) == (size_t)dims.ndim;
    for (int i = 0; same && i < dims.ndim; i++)
        same = json_integer_value(json_array_get(shape, (size_t)i)) == dims.dim[i];
    return same;
}

static lt_status compare(void *ctx, const lt_wanted *wanted)
{
    comparison *c = ctx;
    double n = 1; /* a hostile config's product may pass 2^63 */
    for (int i = 0; i < wanted->dims.ndim; i++)
        n *= (double)wanted->dims.dim[i];
    c->run += wanted->need == LT_NEED_RUN ? n : 0;
    c->tables += wanted->need == LT_NEED_TABLES ? n : 0;
    c->wanted++;
    const json_t *shape = json_object_get(c->have, wanted->name);
    if (shape == NULL && wanted->need != LT_NEED_NOT) {
        c->missing_count++;
        append_name(c->missing, wanted->name);
    } else if (json_is_array(shape) && !same_shape(shape, wanted->dims)) {
        char text[160], line[400];
        char *found = json_dumps(shape, JSON_COMPACT);
        (void)snprintf(line, sizeof line, "%s: want %s, found %s", wanted->name,
                       lt_dims_text(wanted->dims.dim, wanted->dims.ndim, text, sizeof text),
                       found != NULL ? found : "?");
        free(found);
        c->misshapen_count++;
        append_name(c->misshapen, line);
    }
    (void)json_object_del(c->have, wanted->name);
    return LT_OK;
}

/* Tensors that are known but not listed. */
static int is_ignored(const lt_part_kind *kind, const char *name)
{
    for (const char *const *at = kind->unlisted; at != NULL && *at != NULL; at++)
        if (strncmp(name, *at, strlen(*at)) == 0)
            return 1;
    return 0;
}

static void say_differences(comparison *c, const lt_part_kind *kind, json_t *out,
                            lt_inspect_fault *fault, const char *folder)
{
    json_t *unexpected = json_array(), *tensors = json_object();
    uint64_t unexpected_count = 0;
    const char *name;
    json_t *value;
    json_object_foreach (c->have, name, value)
        if (!is_ignored(kind, name)) {
            append_name(unexpected, name);
            unexpected_count++;
        }
    const struct {
        const char *what;
        uint64_t count;
        json_t *list;
    } lists[] = {
        {"missing", c->missing_count, c->missing},
        {"misshapen", c->misshapen_count, c->misshapen},
        {"unexpected", unexpected_count, unexpected},
    };
    set_int(tensors, "wanted", c->wanted);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "%s_count", lists[i].what);
        set_int(tensors, key, lists[i].count);
        (void)json_object_set(tensors, lists[i].what, lists[i].list);
        if (lists[i].count > 0)
            lt_inspect_problem(out, fault,
                               lt_fail(LT_EDATA, __FILE__, __LINE__,
                                       "%s: %s tensor %s (%llu in all)", folder, lists[i].what,
                                       json_string_value(json_array_get(lists[i].list, 0)),
                                       (unsigned long long)lists[i].count));
    }
    json_decref(unexpected);
    (void)json_object_set_new(out, "tensors", tensors);
}

static void hold_against_config(const char *folder, const lt_part_kind *kind, json_t *have,
                                int known, json_t *out, lt_inspect_fault *fault)
{
    comparison c = {.have = have, .missing = json_array(), .misshapen = json_array()};
    const lt_status st = kind->tensors(folder, compare, &c);
    if (st != LT_OK) {
        lt_inspect_problem(out, fault, st);
    } else {
        json_t *memory = json_object();
        (void)json_object_set_new(memory, "run_parameters", json_integer((json_int_t)c.run));
        (void)json_object_set_new(memory, "table_parameters", json_integer((json_int_t)c.tables));
        (void)json_object_set_new(out, "memory", memory);
        if (known)
            say_differences(&c, kind, out, fault, folder);
    }
    json_decref(c.missing);
    json_decref(c.misshapen);
}

lt_status lt_inspect_weights(const char *folder, const lt_part_kind *kind, json_t *out,
                             lt_inspect_fault *fault)
{
    char file[LT_PATH_BYTES];
    int is_index = 0, known = 0;
    lt_checkpoint *c = NULL;
    json_t *weights = json_object(), *have = json_object();
    if (json_object_set_new(out, "weights", weights) != 0 || have == NULL) {
        json_decref(have);
        LT_FAIL(LT_ENOMEM, "inspect: no memory");
    }
    (void)json_object_set_new(weights, "shards", json_object());
    lt_status st = lt_checkpoint_open(folder, kind->names, &c);
    if (st == LT_OK) {
        st = read_checkpoint(c, weights, have);
        known = st == LT_OK;
    } else {
        lt_inspect_problem(out, fault, st);
        /* While shards are missing the index says what they should hold. */
        if (st == LT_ENOINPUT &&
            lt_checkpoint_file(folder, kind->names, file, sizeof file, &is_index) == LT_OK &&
            is_index) {
            const lt_status read = read_index(file, kind->names, weights, have);
            known = read == LT_OK;
            if (read != LT_OK)
                lt_inspect_problem(out, fault, read);
        }
        st = LT_OK;
        lt_error_clear();
    }
    if (st == LT_OK)
        hold_against_config(folder, kind, have, known, out, fault);
    lt_checkpoint_close(&c);
    json_decref(have);
    return st;
}
