/* checkpoint.c - a folder of safetensors as one set of named tensors.
 *
 * Opening finds the files, reads their headers and makes one table of names, sorted. With an index,
 * index and shards must say the same: each tensor of a shard stands in the index under that shard,
 * and none is missing. A folder in the original layout gets its table under diffusers' names here,
 * so nothing above knows of two layouts. Which files: the usual names of an index first, then those
 * of a single file, then whatever one index or one file there is; never a guess among several. */
#include "model/files/checkpoint_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/json.h"

enum { SHARDS_MAX = 4096 };

/* ---- which files ---- */

typedef struct source {
    char folder[LT_PATH_BYTES];
    char file[LT_PATH_BYTES]; /* the index or the only file */
    int is_index;
} source;

static int ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static lt_status set_file(source *s, const char *name)
{
    s->is_index = ends_with(name, ".safetensors.index.json");
    LT_TRY(lt_path_join(s->file, sizeof s->file, s->folder, name));
    return LT_OK;
}

/* "model-00002-of-00014.safetensors": one of several, which an index must name. */
static int is_one_of_several(const char *name)
{
    const char *of = strstr(name, "-of-");
    return of != NULL && strtol(of + 4, NULL, 10) > 1;
}

typedef struct listing {
    char index[256], file[256];
    int index_count, file_count;
} listing;

static lt_status list_one(void *ctx, const char *name)
{
    listing *out = ctx;
    if (ends_with(name, ".safetensors.index.json") && ++out->index_count == 1)
        (void)snprintf(out->index, sizeof out->index, "%s", name);
    if (ends_with(name, ".safetensors") && ++out->file_count == 1)
        (void)snprintf(out->file, sizeof out->file, "%s", name);
    return LT_OK;
}

static lt_status find_in_folder(source *s)
{
    static const char *const usual[] = {"diffusion_pytorch_model.safetensors.index.json",
                                        "model.safetensors.index.json",
                                        "diffusion_pytorch_model.safetensors", "model.safetensors"};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        LT_TRY(set_file(s, usual[i]));
        if (lt_source_exists(s->file))
            return LT_OK;
    }
    listing found;
    memset(&found, 0, sizeof found);
    LT_TRY(lt_source_list(s->folder, list_one, &found));
    if (found.index_count == 1 || (found.index_count == 0 && found.file_count == 1)) {
        LT_TRY(set_file(s, found.index_count == 1 ? found.index : found.file));
        if (s->is_index || !is_one_of_several(found.file))
            return LT_OK;
    }
    if (found.index_count > 1)
        LT_FAIL(LT_EDATA, "%s: want one *.safetensors.index.json, found %d", s->folder,
                found.index_count);
    if (found.file_count > 0)
        LT_FAIL(LT_ENOINPUT,
                "%s: found %d of several .safetensors files, but no *.safetensors.index.json",
                s->folder, found.file_count);
    LT_FAIL(LT_ENOINPUT, "%s: want a .safetensors file or *.safetensors.index.json, found neither",
            s->folder);
}

static lt_status find_source(const char *path, const lt_name_map *map, source *s)
{
    if (!lt_source_exists(path))
        LT_FAIL(LT_ENOINPUT, "%s: no such file or folder", path);
    if (!lt_source_is_dir(path)) {
        LT_TRY(lt_path_folder(s->folder, sizeof s->folder, path));
        s->is_index = ends_with(path, ".json");
        if (snprintf(s->file, sizeof s->file, "%s", path) >= (int)sizeof s->file)
            LT_FAIL(LT_EUSAGE, "%.200s...: the path is too long", path);
        return LT_OK;
    }
    char source_folder[LT_PATH_BYTES];
    const char *below = map != NULL && map->folder != NULL ? map->folder : "";
    LT_TRY(lt_path_join(source_folder, sizeof source_folder, path, below));
    const int down = below[0] != '\0' && lt_source_is_dir(source_folder);
    if (snprintf(s->folder, sizeof s->folder, "%s", down ? source_folder : path) >=
        (int)sizeof s->folder)
        LT_FAIL(LT_EUSAGE, "%.200s...: the path is too long", path);
    LT_TRY(find_in_folder(s));
    return LT_OK;
}

lt_status lt_checkpoint_file(const char *path, const lt_name_map *map, char *out, size_t bytes,
                             int *is_index)
{
    source *s = calloc(1, sizeof *s);
    if (s == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory", path);
    lt_status st = find_source(path, map, s);
    *is_index = s->is_index;
    if (st == LT_OK && snprintf(out, bytes, "%s", s->file) >= (int)bytes)
        st = lt_fail(LT_EUSAGE, __FILE__, __LINE__, "%.200s...: the path is too long", path);
    free(s);
    return st;
}

/* ---- shards ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A shard's name comes from a file that anyone can write: it must stay inside the folder. */
static lt_status check_shard_name(const char *index, const char *tensor, const json_t *value)
{
    const char *name = json_string_value(value);
    if (name == NULL || strchr(name, '/') != NULL || name[0] == '.' || strlen(name) > 250 ||
        !ends_with(name, ".safetensors"))
        LT_FAIL(LT_EDATA, "%s: weight_map.%s: want the plain name of a .safetensors file, found %s",
                index, tensor, name != NULL ? name : "no string");
    return LT_OK;
}

/* The distinct values of the weight map, sorted. They live as long as the map. */
static lt_status shard_names(const char *index, const json_t *map, const char ***out, int *count)
{
    size_t n = 0, distinct = 0;
    const char *tensor;
    json_t *value;
    const char **names = calloc(json_object_size(map) + 1, sizeof *names);
    if (names == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for its names", index);
    *out = names;
    json_object_foreach ((json_t *)(uintptr_t)map, tensor, value) {
        LT_TRY(check_shard_name(index, tensor, value));
        names[n++] = json_string_value(value);
    }
    qsort(names, n, sizeof *names, by_text);
    for (size_t i = 0; i < n; i++)
        if (distinct == 0 || strcmp(names[i], names[distinct - 1]) != 0)
            names[distinct++] = names[i];
    if (distinct == 0 || distinct > SHARDS_MAX)
        LT_FAIL(LT_EDATA, "%s: weight_map: want 1 to %d shards, found %zu", index, (int)SHARDS_MAX,
                distinct);
    *count = (int)distinct;
    return LT_OK;
}

/* All of them, before any is read: a download that is not finished should say so at once. */
static lt_status all_there(const char *folder, const char *const *names, int count)
{
    char path[LT_PATH_BYTES], first[LT_PATH_BYTES] = "";
    int missing = 0;
    for (int i = 0; i < count; i++) {
        LT_TRY(lt_path_join(path, sizeof path, folder, names[i]));
        if (!lt_source_exists(path) && missing++ == 0)
            memcpy(first, path, sizeof first);
    }
    if (missing > 0)
        LT_FAIL(LT_ENOINPUT, "%s: no such file: %d of %d shards are missing", first, missing,
                count);
    return LT_OK;
}

static lt_status open_shard(lt_checkpoint *c, const char *path)
{
    LT_TRY(lt_safetensors_open(path, &c->shard[c->shard_count]));
    c->shard_count++;
    return LT_OK;
}

/* Each tensor of a shard is in the index under this shard. */
static lt_status shard_fits_index(const lt_safetensors *shard, const char *name, const char *index,
                                  const json_t *map)
{
    for (int64_t i = 0; i < shard->count; i++) {
        const char *tensor = shard->tensor[i].name;
        const char *says = json_string_value(json_object_get(map, tensor));
        if (says == NULL)
            LT_FAIL(LT_EDATA, "%s: tensor %s is not in %s", shard->path, tensor, index);
        if (strcmp(says, name) != 0)
            LT_FAIL(LT_EDATA, "%s: tensor %s: want it in %s, as %s says", shard->path, tensor, says,
                    index);
    }
    return LT_OK;
}

static int shard_has(const lt_safetensors *shard, const char *name)
{
    for (int64_t i = 0; i < shard->count; i++)
        if (strcmp(shard->tensor[i].name, name) == 0)
            return 1;
    return 0;
}

/* Called when every stored tensor fits the index: a smaller sum means that one is missing. */
static lt_status index_is_met(const lt_checkpoint *c, const source *s, const json_t *map,
                              const char *const *names)
{
    int64_t stored = 0;
    const char *tensor;
    json_t *value;
    for (int i = 0; i < c->shard_count; i++)
        stored += c->shard[i]->count;
    if (stored == (int64_t)json_object_size(map))
        return LT_OK;
    json_object_foreach ((json_t *)(uintptr_t)map, tensor, value)
        for (int i = 0; i < c->shard_count; i++)
            if (strcmp(names[i], json_string_value(value)) == 0 && !shard_has(c->shard[i], tensor))
                LT_FAIL(LT_EDATA, "%s: tensor %s is missing, though %s names it", c->shard[i]->path,
                        tensor, s->file);
    LT_FAIL(LT_EINTERNAL, "%s: %zu names, %lld tensors", s->file, json_object_size(map),
            (long long)stored);
}

static lt_status open_indexed(lt_checkpoint *c, const source *s, const json_t *index,
                              const char ***names)
{
    lt_json_at root = lt_json_root(index, s->file), map;
    char path[LT_PATH_BYTES];
    int count = 0;
    LT_TRY(lt_json_member(&root, "weight_map", &map));
    if (!json_is_object(map.value))
        LT_FAIL(LT_EDATA, "%s: weight_map: want an object", s->file);
    LT_TRY(shard_names(s->file, map.value, names, &count));
    LT_TRY(all_there(s->folder, *names, count));
    c->shard = calloc((size_t)count, sizeof(lt_safetensors *));
    if (c->shard == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %d shards", s->file, count);
    for (int i = 0; i < count; i++) {
        LT_TRY(lt_path_join(path, sizeof path, s->folder, (*names)[i]));
        LT_TRY(open_shard(c, path));
        LT_TRY(shard_fits_index(c->shard[i], (*names)[i], s->file, map.value));
    }
    LT_TRY(index_is_met(c, s, map.value, *names));
    return LT_OK;
}

static lt_status open_files(lt_checkpoint *c, const source *s)
{
    lt_status st = LT_OK;
    json_t *index = NULL;
    const char **names = NULL;
    if (!s->is_index) {
        c->shard = calloc(1, sizeof(lt_safetensors *));
        if (c->shard == NULL)
            LT_FAIL(LT_ENOMEM, "%s: no memory", s->file);
        LT_TRY(open_shard(c, s->file));
        return LT_OK;
    }
    LT_TRY(lt_source_json(s->file, &index));
    LT_TRY_GOTO(open_indexed(c, s, index, &names), st, done);
done:
    free(names);
    json_decref(index);
    return st;
}

/* ---- the table of names ---- */

static int by_name(const void *a, const void *b)
{
    const lt_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static lt_status add_mapped(lt_checkpoint *c, const lt_entry *plain)
{
    lt_mapped_name names[3];
    char text[192];
    const lt_stored *t = plain->stored;
    const int n = c->map.names(t->name, names);
    const int parts = n == 3 ? 3 : names[0].rows == LT_ROWS_SWAPPED ? 2 : 1;
    if (n > 0 && parts > 1 && (t->ndim == 0 || t->dim[0] % parts != 0))
        LT_FAIL(LT_EDATA, "%s: tensor %s: want a multiple of %d rows, found %s", plain->file->path,
                t->name, parts, lt_dims_text(t->dim, t->ndim, text, sizeof text));
    for (int i = 0; i < n; i++) {
        lt_entry *e = &c->entry[c->entry_count];
        *e = *plain;
        e->rows = names[i].rows;
        e->name = e->owned = strdup(names[i].name);
        if (e->name == NULL)
            LT_FAIL(LT_ENOMEM, "%s: no memory for its names", c->path);
        c->entry_count++;
    }
    return LT_OK;
}

static lt_status make_table(lt_checkpoint *c)
{
    const int64_t stored = lt_checkpoint_count(c);
    for (int i = 0; i < c->shard_count; i++)
        for (int64_t k = 0; k < c->shard[i]->count && !c->is_mapped; k++)
            c->is_mapped =
                c->map.is_mapped != NULL && c->map.is_mapped(c->shard[i]->tensor[k].name);
    c->entry = calloc((size_t)stored * (c->is_mapped ? 3 : 1) + 1, sizeof *c->entry);
    if (c->entry == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %lld names", c->path, (long long)stored);
    for (int i = 0; i < c->shard_count; i++)
        for (int64_t k = 0; k < c->shard[i]->count; k++) {
            const lt_stored *t = &c->shard[i]->tensor[k];
            const lt_entry plain = {.name = t->name, .file = c->shard[i], .stored = t};
            if (c->is_mapped && strlen(t->name) < LT_MAPPED_NAME_BYTES)
                LT_TRY(add_mapped(c, &plain));
            else
                c->entry[c->entry_count++] = plain;
        }
    qsort(c->entry, (size_t)c->entry_count, sizeof *c->entry, by_name);
    for (int64_t i = 1; i < c->entry_count; i++)
        if (strcmp(c->entry[i - 1].name, c->entry[i].name) == 0)
            LT_FAIL(LT_EDATA, "%s: tensors %s and %s are both %s", c->entry[i].file->path,
                    c->entry[i - 1].stored->name, c->entry[i].stored->name, c->entry[i].name);
    return LT_OK;
}

lt_status lt_checkpoint_open(const char *path, const lt_name_map *map, lt_checkpoint **out)
{
    *out = NULL;
    lt_status st = LT_OK;
    source *s = calloc(1, sizeof *s);
    lt_checkpoint *c = calloc(1, sizeof *c);
    if (s == NULL || c == NULL || (c->path = strdup(path)) == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, failed, "%s: no memory", path);
    if (map != NULL)
        c->map = *map;
    LT_TRY_GOTO(find_source(path, map, s), st, failed);
    LT_TRY_GOTO(open_files(c, s), st, failed);
    LT_TRY_GOTO(make_table(c), st, failed);
    free(s);
    *out = c;
    return LT_OK;
failed:
    free(s);
    lt_checkpoint_close(&c);
    return st;
}

void lt_checkpoint_close(lt_checkpoint **checkpoint)
{
    lt_checkpoint *c = *checkpoint;
    if (c == NULL)
        return;
    for (int64_t i = 0; i < c->entry_count; i++)
        free(c->entry[i].owned);
    for (int i = 0; i < c->shard_count; i++)
        lt_safetensors_close(&c->shard[i]);
    free(c->entry);
    free(c->shard);
    free(c->buffer);
    free(c->path);
    free(c);
    *checkpoint = NULL;
}

/* ---- questions ---- */

int lt_checkpoint_is_mapped(const lt_checkpoint *checkpoint) { return checkpoint->is_mapped; }

lt_entry *lt_entry_find(const lt_checkpoint *checkpoint, const char *name)
{
    const lt_entry key = {.name = name};
    return bsearch(&key, checkpoint->entry, (size_t)checkpoint->entry_count, sizeof key, by_name);
}

int lt_entry_dims(const lt_entry *entry, int64_t dim[LT_STORED_DIMS_MAX])
{
    memcpy(dim, entry->stored->dim, sizeof entry->stored->dim);
    if (entry->rows == LT_ROWS_Q || entry->rows == LT_ROWS_K || entry->rows == LT_ROWS_V)
        dim[0] /= 3;
    return entry->stored->ndim;
}

static lt_tensor_info info_of(const lt_entry *entry, const char *name)
{
    lt_tensor_info info = {.name = name, .file = entry->file->path, .dtype = entry->stored->dtype};
    info.ndim = lt_entry_dims(entry, info.dim);
    info.bytes = lt_dtype_bytes(info.dtype);
    for (int i = 0; i < info.ndim; i++)
        info.bytes *= (uint64_t)info.dim[i];
    return info;
}

int lt_checkpoint_find(const lt_checkpoint *checkpoint, const char *name, lt_tensor_info *out)
{
    const lt_entry *e = lt_entry_find(checkpoint, name);
    if (e == NULL)
        return 0;
    *out = info_of(e, name);
    return 1;
}

int64_t lt_checkpoint_count(const lt_checkpoint *checkpoint)
{
    int64_t n = 0;
    for (int i = 0; i < checkpoint->shard_count; i++)
        n += checkpoint->shard[i]->count;
    return n;
}

lt_tensor_info lt_checkpoint_at(const lt_checkpoint *checkpoint, int64_t index)
{
    int i = 0;
    assert(index >= 0);
    while (i < checkpoint->shard_count && index >= checkpoint->shard[i]->count)
        index -= checkpoint->shard[i++]->count;
    assert(i < checkpoint->shard_count);
    const lt_stored *t = &checkpoint->shard[i]->tensor[index];
    const lt_entry plain = {.name = t->name, .file = checkpoint->shard[i], .stored = t};
    return info_of(&plain, t->name);
}

lt_status lt_checkpoint_all_used(const lt_checkpoint *checkpoint,
                                 const char *const *prefixes_allowed)
{
    char text[192];
    const lt_entry *first = NULL;
    int64_t more = -1;
    for (int64_t i = 0; i < checkpoint->entry_count; i++) {
        const lt_entry *e = &checkpoint->entry[i];
        int allowed = e->used;
        for (const char *const *p = prefixes_allowed; p != NULL && *p != NULL && !allowed; p++)
            allowed = strncmp(e->name, *p, strlen(*p)) == 0;
        if (!allowed && more++ < 0)
            first = e;
    }
    if (first == NULL)
        return LT_OK;
    int64_t dim[LT_STORED_DIMS_MAX];
    const int ndim = lt_entry_dims(first, dim);
    LT_FAIL(LT_EDATA,
            "%s: unexpected tensor %s %s (and %lld more): the config doesn't account for it",
            first->file->path, first->name, lt_dims_text(dim, ndim, text, sizeof text),
            (long long)more);
}
