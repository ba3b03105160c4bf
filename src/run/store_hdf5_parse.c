/* store_hdf5_parse.c - what lies where in a latents.h5, by HDF5, as plain facts.
 *
 * HDF5 crashes, hangs and takes memory on some altered files, and a seal can be forged. So this
 * runs in a child with limits (store_hdf5_child.c), and takes nothing but facts out of the file:
 *
 *     {"attributes": {...}, "streams": [{"name", "dims", "time_axis", "dims_text", "description",
 *      "unit", "xxh64", "zstd": 0|1, "chunk": frames, "spans": [first, bytes, as_it_is, ...]}]}
 *
 * A span is where a chunk's bytes lie in the file; a dataset that is not chunked has one span and
 * chunk 0. The values themselves are read by the caller, without HDF5.
 *
 * Only what has a name that we know is opened: attributes of the table below, datasets that the
 * attribute `streams` names, by hard links. Nothing in the file is listed. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "run/store_hdf5_internal.h"

typedef struct parse {
    hid_t file;
    int variable;      /* texts of variable length are read too: older files of ours have them */
    size_t text_left;  /* for all texts together */
    int64_t span_left; /* for all datasets together */
} parse;

/* Attributes of the file that are read, where they are there. */
static const char *const known[] = {"format",      "version",          "streams",    "model",
                                    "prompt",      "frames",           "fps",        "width",
                                    "height",      "samples",          "seed",       "plan",
                                    "sample_rate", "model_head_xxh64", "model_xxh64"};

/* HDF5 failed: what it says, or that it had no memory for what the file asks for. */
static lt_status failed(const char *of, const char *what)
{
    if (lt_h5_wanted_memory())
        LT_FAIL(LT_ENOMEM, "%s: %s: HDF5 wanted more memory than it may have", of, what);
    return lt_h5_fail(LT_EDATA, of, what);
}

/* ---- attributes ---- */

typedef struct attribute {
    hid_t id, type, space;
} attribute;

static void attribute_close(attribute *a)
{
    if (a->type >= 0)
        (void)H5Tclose(a->type);
    if (a->space >= 0)
        (void)H5Sclose(a->space);
    if (a->id >= 0)
        (void)H5Aclose(a->id);
}

static json_t *text_fixed(parse *p, const attribute *a)
{
    const size_t bytes = H5Tget_size(a->type);
    if (bytes < 1 || bytes > p->text_left)
        return NULL;
    char *text = calloc(1, bytes + 1);
    json_t *out = NULL;
    if (text != NULL && H5Aread(a->id, a->type, text) >= 0)
        out = json_string(text); /* NULL where it is not UTF-8 */
    free(text);
    p->text_left -= bytes;
    return out;
}

static json_t *text_variable(parse *p, const attribute *a)
{
    char *text = NULL;
    json_t *out = NULL;
    if (!p->variable || H5Aread(a->id, a->type, &text) < 0)
        return NULL;
    const size_t bytes = text != NULL ? strlen(text) : 0;
    if (bytes <= p->text_left)
        out = json_string(text != NULL ? text : "");
    p->text_left -= bytes <= p->text_left ? bytes : 0;
    (void)H5Dvlen_reclaim(a->type, a->space, H5P_DEFAULT, &text);
    return out;
}

static json_t *attribute_value(parse *p, const attribute *a)
{
    const H5T_class_t class = H5Tget_class(a->type);
    const size_t bytes = H5Tget_size(a->type);
    int64_t whole = 0;
    double real = 0;
    if (class == H5T_STRING && H5Tis_variable_str(a->type) > 0)
        return text_variable(p, a);
    if (class == H5T_STRING)
        return text_fixed(p, a);
    if (class == H5T_INTEGER && bytes <= sizeof whole &&
        H5Aread(a->id, H5T_NATIVE_INT64, &whole) >= 0)
        return json_integer(whole);
    if (class == H5T_FLOAT && bytes <= sizeof real && H5Aread(a->id, H5T_NATIVE_DOUBLE, &real) >= 0)
        return json_real(real); /* NULL where it is not finite */
    return NULL;
}

/* One attribute, if it is there, as to[key]. */
static lt_status attribute_read(parse *p, hid_t where, const char *of, const char *name, json_t *to,
                                const char *key)
{
    const htri_t there = H5Aexists(where, name);
    if (there == 0)
        return LT_OK;
    attribute a = {
        .id = there > 0 ? H5Aopen(where, name, H5P_DEFAULT) : -1, .type = -1, .space = -1};
    if (a.id >= 0) {
        a.type = H5Aget_type(a.id);
        a.space = H5Aget_space(a.id);
    }
    json_t *value = NULL;
    const int opened = a.type >= 0 && a.space >= 0;
    if (opened && H5Sget_simple_extent_npoints(a.space) == 1)
        value = attribute_value(p, &a);
    attribute_close(&a);
    if (value == NULL && (!opened || lt_h5_wanted_memory()))
        return failed(of, name);
    if (value == NULL)
        LT_FAIL(LT_EDATA,
                "%s: attribute %s: want a number, or a text of fixed length in UTF-8 (all texts "
                "together at most %d MiB), found something else",
                of, name, LT_H5_TEXTS_BYTES_MAX >> 20);
    if (json_object_set_new(to, key, value) != 0)
        LT_FAIL(LT_ENOMEM, "%s: no memory", of);
    return LT_OK;
}

/* ---- datasets ---- */

/* Our names: letters, digits, "_", "-", "." between slashes. */
static int name_is_ours(const char *name)
{
    const size_t n = strlen(name);
    if (n < 1 || n > 128 ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                     "0123456789_-./") != n)
        return 0;
    for (const char *at = name;; at++) { /* no part that is empty or begins with a point */
        if (*at == '/' || *at == '.' || *at == '\0')
            return 0;
        at += strcspn(at, "/");
        if (*at == '\0')
            return 1;
    }
}

/* Every part of the name is a hard link: a soft or external one may lead to any file. */
static lt_status links_check(hid_t file, const char *name)
{
    char part[160];
    for (size_t n = strcspn(name, "/");; n += 1 + strcspn(name + n + 1, "/")) {
        H5L_info_t info;
        (void)snprintf(part, sizeof part, "%.*s", (int)n, name);
        if (H5Lget_info(file, part, &info, H5P_DEFAULT) < 0)
            return failed(name, "want a dataset");
        if (info.type != H5L_TYPE_HARD)
            LT_FAIL(LT_EDATA, "%s: want a dataset in the file, found a link to somewhere", name);
        if (name[n] == '\0')
            return LT_OK;
    }
}

static lt_status shape_read(hid_t dataset, const char *name, json_t *to, int *ndim, hsize_t *dims)
{
    const hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
    *ndim = space >= 0 ? H5Sget_simple_extent_ndims(space) : -1;
    const int shaped = *ndim >= 1 && *ndim <= LT_LATENTS_DIMS_MAX &&
                       H5Sget_simple_extent_dims(space, dims, NULL) == *ndim;
    const int f32 = type >= 0 && H5Tequal(type, H5T_IEEE_F32LE) > 0;
    if (space >= 0)
        (void)H5Sclose(space);
    if (type >= 0)
        (void)H5Tclose(type);
    if (!shaped)
        LT_FAIL(LT_EDATA, "%s: want 1 to 4 dims, found %d", name, *ndim);
    if (!f32)
        LT_FAIL(LT_EDATA, "%s: want little-endian f32, found another type", name);
    json_t *list = json_array();
    int64_t elements = 1;
    (void)json_object_set_new(to, "dims", list);
    for (int i = 0; i < *ndim; i++) {
        if (dims[i] < 1 || dims[i] > (hsize_t)(LT_H5_ELEMENTS_MAX / elements))
            LT_FAIL(LT_EDATA,
                    "%s: dim %d: want 1 or more, fewer than 2^50 elements in all, found %llu", name,
                    i, (unsigned long long)dims[i]);
        elements *= (int64_t)dims[i];
        (void)json_array_append_new(list, json_integer((json_int_t)dims[i]));
    }
    return LT_OK;
}

/* How it is laid out: chunks[] (0: contiguous), and whether zstd packs them. */
static lt_status layout_read(hid_t dataset, const char *name, int ndim, hsize_t *chunks, int *zstd)
{
    unsigned flags = 0;
    size_t values = 0;
    const hid_t made = H5Dget_create_plist(dataset);
    if (made < 0)
        return failed(name, "layout");
    const H5D_layout_t layout = H5Pget_layout(made);
    const int outside = H5Pget_external_count(made), filters = H5Pget_nfilters(made);
    const H5Z_filter_t filter =
        filters == 1 ? H5Pget_filter2(made, 0, &flags, &values, NULL, 0, NULL, NULL) : 0;
    const int chunked =
        layout == H5D_CHUNKED && H5Pget_chunk(made, LT_LATENTS_DIMS_MAX, chunks) == ndim;
    (void)H5Pclose(made);
    if (outside != 0 || !(chunked || layout == H5D_CONTIGUOUS))
        LT_FAIL(LT_EDATA,
                "%s: want values in the file, in chunks or in one piece, found another layout "
                "(external, virtual or compact)",
                name);
    if (filters != 0 && filter != LT_H5_FILTER_ZSTD)
        LT_FAIL(LT_EDATA, "%s: want the filter zstd (%d) alone or none, found %d, the first is %d",
                name, LT_H5_FILTER_ZSTD, filters, (int)filter);
    *zstd = filters == 1;
    if (!chunked)
        memset(chunks, 0, LT_LATENTS_DIMS_MAX * sizeof *chunks);
    return LT_OK;
}

static void span_add(json_t *spans, haddr_t first, hsize_t bytes, int as_it_is)
{
    (void)json_array_append_new(spans, json_integer((json_int_t)first));
    (void)json_array_append_new(spans, json_integer((json_int_t)bytes));
    (void)json_array_append_new(spans, json_integer(as_it_is));
}

/* Where the bytes lie. Chunks are whole in all axes but time. */
static lt_status spans_read(parse *p, hid_t dataset, const char *name, const hsize_t *dims,
                            const hsize_t *chunks, int ndim, int axis, json_t *spans)
{
    hsize_t at[LT_LATENTS_DIMS_MAX] = {0};
    if (chunks[0] == 0) {
        const haddr_t first = H5Dget_offset(dataset);
        if (first == HADDR_UNDEF)
            LT_FAIL(LT_EDATA, "%s: its values were never written", name);
        span_add(spans, first, H5Dget_storage_size(dataset), 1);
        return LT_OK;
    }
    for (int i = 0; i < ndim; i++)
        if (chunks[i] < 1 || chunks[i] > dims[i] || (i != axis && chunks[i] != dims[i]))
            LT_FAIL(LT_EDATA, "%s: chunks: want whole frames, found %llu of %llu along dim %d",
                    name, (unsigned long long)chunks[i], (unsigned long long)dims[i], i);
    uint64_t plain = sizeof(float);
    for (int i = 0; i < ndim; i++) {
        if (chunks[i] > LT_H5_CHUNK_BYTES_MAX / plain)
            LT_FAIL(LT_EDATA, "%s: chunks: want at most %d MiB, found more", name,
                    LT_H5_CHUNK_BYTES_MAX >> 20);
        plain *= chunks[i];
    }
    p->span_left -= (int64_t)((dims[axis] - 1) / chunks[axis]) + 1;
    if (p->span_left < 0)
        LT_FAIL(LT_EDATA, "%s: want at most %d chunks in the file, found more", name,
                LT_H5_SPANS_MAX);
    for (; at[axis] < dims[axis]; at[axis] += chunks[axis]) {
        unsigned mask = 0;
        haddr_t first = HADDR_UNDEF;
        hsize_t bytes = 0;
        if (H5Dget_chunk_info_by_coord(dataset, at, &mask, &first, &bytes) < 0)
            return failed(name, "chunks");
        if (first == HADDR_UNDEF)
            LT_FAIL(LT_EDATA, "%s: chunk at %llu was never written", name,
                    (unsigned long long)at[axis]);
        span_add(spans, first, bytes, mask & 1);
    }
    return LT_OK;
}

static lt_status stream_facts(parse *p, hid_t dataset, const char *name, json_t *to)
{
    static const char *const texts[][2] = {{"dims", "dims_text"},
                                           {"description", "description"},
                                           {"unit", "unit"},
                                           {"xxh64", "xxh64"},
                                           {"time_axis", "time_axis"}};
    hsize_t dims[LT_LATENTS_DIMS_MAX] = {0}, chunks[LT_LATENTS_DIMS_MAX] = {0};
    int ndim = 0, zstd = 0;
    (void)json_object_set_new(to, "name", json_string(name));
    LT_TRY(shape_read(dataset, name, to, &ndim, dims));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        LT_TRY(attribute_read(p, dataset, name, texts[i][0], to, texts[i][1]));
    const json_t *said = json_object_get(to, "time_axis");
    const json_int_t axis = json_integer_value(said);
    if (!json_is_integer(said) || axis < 0 || axis >= ndim)
        LT_FAIL(LT_EDATA, "%s: time_axis: want 0 to %d, found %lld", name, ndim - 1,
                said != NULL ? (long long)axis : -1LL);
    LT_TRY(layout_read(dataset, name, ndim, chunks, &zstd));
    json_t *spans = json_array();
    (void)json_object_set_new(to, "zstd", json_integer(zstd));
    (void)json_object_set_new(to, "chunk", json_integer((json_int_t)chunks[axis]));
    (void)json_object_set_new(to, "spans", spans);
    return spans_read(p, dataset, name, dims, chunks, ndim, (int)axis, spans);
}

static lt_status stream_read(parse *p, const char *name, json_t *streams)
{
    if (!name_is_ours(name))
        LT_FAIL(LT_EDATA, "attribute streams: want names of datasets, found %.40s", name);
    LT_TRY(links_check(p->file, name));
    const hid_t dataset = H5Dopen2(p->file, name, H5P_DEFAULT);
    if (dataset < 0)
        return failed(name, "opening");
    json_t *one = json_object();
    (void)json_array_append_new(streams, one);
    const lt_status st = stream_facts(p, dataset, name, one);
    (void)H5Dclose(dataset);
    LT_TRY(st);
    return LT_OK;
}

/* The names: what the file says, or, in older ones of ours, the two that there were. */
static lt_status names_read(const parse *p, const json_t *attributes, json_t **out)
{
    static const char *const before[] = {"audio_latents", "latents"};
    const char *text = json_string_value(json_object_get(attributes, "streams"));
    if (text != NULL) {
        LT_TRY(lt_json_parse(text, strlen(text), "attribute streams", out));
    } else {
        *out = json_array();
        for (size_t i = 0; i < 2; i++)
            if (H5Lexists(p->file, before[i], H5P_DEFAULT) > 0)
                (void)json_array_append_new(*out, json_string(before[i]));
    }
    size_t i;
    json_t *name;
    int names = json_is_array(*out) && json_array_size(*out) <= LT_H5_DATASETS_MAX;
    json_array_foreach (*out, i, name)
        names = names && json_is_string(name);
    if (names)
        return LT_OK;
    json_decref(*out);
    *out = NULL;
    LT_FAIL(LT_EDATA, "attribute streams: want a list of at most %d names", LT_H5_DATASETS_MAX);
}

/* Nothing lies beside the datasets: so many names, so many entries at the root. */
static lt_status entries_check(const parse *p, const json_t *names)
{
    H5G_info_t info;
    json_t *first = json_object();
    size_t i;
    json_t *name;
    char part[160];
    json_array_foreach ((json_t *)(uintptr_t)names, i, name) {
        const char *text = json_string_value(name);
        (void)snprintf(part, sizeof part, "%.*s", (int)strcspn(text, "/"), text);
        (void)json_object_set_new(first, part, json_null());
    }
    const size_t wanted = json_object_size(first);
    json_decref(first);
    if (H5Gget_info(p->file, &info) < 0)
        return failed("the file", "its root");
    if (info.nlinks != wanted)
        LT_FAIL(LT_EDATA, "want %zu entries at its root, as it names datasets, found %llu", wanted,
                (unsigned long long)info.nlinks);
    return LT_OK;
}

static lt_status whole_read(parse *p, json_t *to)
{
    json_t *attributes = json_object(), *streams = json_array(), *names = NULL, *name;
    lt_status st = LT_OK;
    size_t i;
    (void)json_object_set_new(to, "attributes", attributes);
    (void)json_object_set_new(to, "streams", streams);
    for (i = 0; i < sizeof known / sizeof *known; i++)
        LT_TRY(attribute_read(p, p->file, "the file", known[i], attributes, known[i]));
    const char *format = json_string_value(json_object_get(attributes, "format"));
    const json_t *version = json_object_get(attributes, "version");
    if (format == NULL || strcmp(format, LT_LATENTS_FORMAT) != 0)
        LT_FAIL(LT_EDATA, "attribute format: want %s, found \"%.80s\"", LT_LATENTS_FORMAT,
                format != NULL ? format : "");
    if (!json_is_integer(version) || json_integer_value(version) != LT_LATENTS_VERSION)
        LT_FAIL(LT_EDATA, "attribute version: want %d, found %lld", LT_LATENTS_VERSION,
                (long long)json_integer_value(version));
    LT_TRY(names_read(p, attributes, &names));
    LT_TRY_GOTO(entries_check(p, names), st, done);
    json_array_foreach (names, i, name)
        LT_TRY_GOTO(stream_read(p, json_string_value(name), streams), st, done);
done:
    json_decref(names);
    return st;
}

lt_status lt_h5_facts(int fd, int variable, json_t **out)
{
    char path[64];
    hsize_t before = 0;
    parse p = {
        .variable = variable, .text_left = LT_H5_TEXTS_BYTES_MAX, .span_left = LT_H5_SPANS_MAX};
    *out = NULL;
    assert(fd >= 0);
    lt_h5_begin();
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    p.file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (p.file < 0)
        return failed("the file", "want a whole HDF5 file");
    const hid_t made = H5Fget_create_plist(p.file);
    if (made >= 0)
        (void)H5Pget_userblock(made, &before);
    if (made >= 0)
        (void)H5Pclose(made);
    json_t *facts = json_object();
    lt_status st = LT_OK;
    if (facts == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "no memory");
    if (before != 0) /* addresses would count from somewhere else */
        LT_FAIL_GOTO(LT_EDATA, st, done, "want no user block, found %llu bytes",
                     (unsigned long long)before);
    LT_TRY_GOTO(whole_read(&p, facts), st, done);
    if (lt_json_starved()) /* no fact is left out */
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "no memory");
    *out = facts;
    facts = NULL;
done:
    json_decref(facts);
    (void)H5Fclose(p.file);
    return st;
}
