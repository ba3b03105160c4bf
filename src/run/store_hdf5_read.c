/* store_hdf5_read.c - latents.h5 read back, whole or by ranges of time.           Level 4: run
 *
 * Nothing in the file is believed before it is checked: type and shape of each dataset, its chunks
 * (whole frames, at most 1 GiB), each chunk's length before memory is taken for it. Chunks with the
 * zstd filter are read as they are and unpacked here, since HDF5 may lack the filter; any other
 * layout (a file that was rewritten by other tools) goes through HDF5. zstd checks each chunk,
 * xxh64 the whole. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/file.h"
#include "run/store_hdf5_internal.h"

typedef struct store_stream {
    lt_latents_stream seen; /* what lt_latents_stream_at shows; its strings are below */
    char *texts[4];         /* name, dims, description, unit */
    hid_t dataset;
    int raw;       /* chunked with zstd: chunks are read as they are; else through HDF5 */
    int64_t chunk; /* frames a chunk */
    int has_hash;
    uint64_t hash;
} store_stream;

struct lt_latents {
    char *path;
    hid_t file;
    store_stream *streams;
    size_t count;
};

/* A text attribute of a dataset or file, a new string; "" if it is not there. NULL: no memory. */
static char *text_read(hid_t where, const char *name)
{
    char *out = NULL, *text = NULL;
    const hid_t a = H5Aexists(where, name) > 0 ? H5Aopen(where, name, H5P_DEFAULT) : -1;
    const hid_t type = a >= 0 ? H5Aget_type(a) : -1, space = a >= 0 ? H5Aget_space(a) : -1;
    if (type >= 0 && space >= 0 && H5Tget_class(type) == H5T_STRING &&
        H5Sget_simple_extent_npoints(space) == 1) {
        const size_t bytes = H5Tget_size(type);
        if (H5Tis_variable_str(type) > 0) {
            const hid_t memory = H5Tcopy(type);
            if (H5Aread(a, memory, &text) >= 0 && text) {
                out = strdup(text);
                (void)H5Dvlen_reclaim(memory, space, H5P_DEFAULT, &text);
            }
            (void)H5Tclose(memory);
        } else if (bytes < LT_H5_TEXT_BYTES_MAX && (out = calloc(1, bytes + 1)) != NULL &&
                   H5Aread(a, type, out) < 0) {
            out[0] = '\0';
        }
    }
    if (type >= 0)
        (void)H5Tclose(type);
    if (space >= 0)
        (void)H5Sclose(space);
    if (a >= 0)
        (void)H5Aclose(a);
    return out ? out : strdup("");
}

/* 1 if a whole number of that name is there. */
static int int_read(hid_t where, const char *name, int64_t *out)
{
    const hid_t a = H5Aexists(where, name) > 0 ? H5Aopen(where, name, H5P_DEFAULT) : -1;
    const hid_t type = a >= 0 ? H5Aget_type(a) : -1, space = a >= 0 ? H5Aget_space(a) : -1;
    const int ok = type >= 0 && space >= 0 && H5Tget_class(type) == H5T_INTEGER &&
                   H5Sget_simple_extent_npoints(space) == 1 &&
                   H5Aread(a, H5T_NATIVE_INT64, out) >= 0;
    if (type >= 0)
        (void)H5Tclose(type);
    if (space >= 0)
        (void)H5Sclose(space);
    if (a >= 0)
        (void)H5Aclose(a);
    return ok;
}

/* Shape and element type. */
static lt_status shape_read(const char *path, store_stream *s, const char *name)
{
    hsize_t dims[LT_LATENTS_DIMS_MAX] = {0};
    const hid_t space = H5Dget_space(s->dataset), type = H5Dget_type(s->dataset);
    const int ndim = space >= 0 ? H5Sget_simple_extent_ndims(space) : -1;
    const int shaped = ndim >= 1 && ndim <= LT_LATENTS_DIMS_MAX &&
                       H5Sget_simple_extent_dims(space, dims, NULL) == ndim;
    const int f32 = type >= 0 && H5Tequal(type, H5T_IEEE_F32LE) > 0;
    if (space >= 0)
        (void)H5Sclose(space);
    if (type >= 0)
        (void)H5Tclose(type);
    if (!shaped)
        LT_FAIL(LT_EDATA, "%s: %s: want 1 to 4 dims, found %d", path, name, ndim);
    if (!f32)
        LT_FAIL(LT_EDATA, "%s: %s: want little-endian f32, found another type", path, name);
    int64_t elements = 1;
    s->seen.ndim = ndim;
    for (int i = 0; i < ndim; i++) {
        if (dims[i] < 1 || dims[i] > (hsize_t)(LT_H5_ELEMENTS_MAX / elements))
            LT_FAIL(LT_EDATA,
                    "%s: %s: dim %d: want 1 or more, fewer than 2^50 elements in all, found %llu",
                    path, name, i, (unsigned long long)dims[i]);
        s->seen.dims[i] = (int64_t)dims[i];
        elements *= s->seen.dims[i];
    }
    int64_t axis = ndim >= 2 ? 1 : 0;
    if (int_read(s->dataset, "time_axis", &axis) && (axis < 0 || axis >= ndim))
        LT_FAIL(LT_EDATA, "%s: %s: time_axis: want 0 to %d, found %lld", path, name, ndim - 1,
                (long long)axis);
    s->seen.time_axis = (int)axis;
    return LT_OK;
}

/* Whether chunks can be read as they are: one filter, zstd, whole in all axes but time. */
static lt_status layout_read(const char *path, store_stream *s, const char *name)
{
    hsize_t chunks[LT_LATENTS_DIMS_MAX] = {0};
    const hid_t made = H5Dget_create_plist(s->dataset);
    const int filters = made >= 0 ? H5Pget_nfilters(made) : -1;
    const int chunked = made >= 0 && H5Pget_layout(made) == H5D_CHUNKED &&
                        H5Pget_chunk(made, s->seen.ndim, chunks) == s->seen.ndim;
    unsigned flags = 0;
    size_t values = 0;
    const H5Z_filter_t filter =
        filters == 1 ? H5Pget_filter2(made, 0, &flags, &values, NULL, 0, NULL, NULL) : 0;
    if (made >= 0)
        (void)H5Pclose(made);
    s->raw = chunked && filter == LT_H5_FILTER_ZSTD;
    if (!s->raw)
        return LT_OK;
    uint64_t bytes = sizeof(float);
    for (int i = 0; i < s->seen.ndim; i++) {
        if (chunks[i] < 1 || chunks[i] > LT_H5_CHUNK_BYTES_MAX / bytes ||
            (i != s->seen.time_axis && chunks[i] != (hsize_t)s->seen.dims[i]))
            LT_FAIL(LT_EDATA,
                    "%s: %s: chunks: want whole frames of at most 1 GiB, found %llu along dim %d",
                    path, name, (unsigned long long)chunks[i], i);
        bytes *= chunks[i];
    }
    s->chunk = (int64_t)chunks[s->seen.time_axis];
    return LT_OK;
}

static lt_status stream_open(lt_latents *f, const char *name)
{
    if (f->count == LT_H5_DATASETS_MAX)
        LT_FAIL(LT_EDATA, "%s: want at most %d datasets", f->path, LT_H5_DATASETS_MAX);
    store_stream *grown = realloc(f->streams, (f->count + 1) * sizeof *grown);
    if (!grown)
        LT_FAIL(LT_ENOMEM, "%s: no memory", f->path);
    f->streams = grown;
    store_stream *s = &grown[f->count];
    memset(s, 0, sizeof *s);
    s->dataset = H5Dopen2(f->file, name, H5P_DEFAULT);
    if (s->dataset < 0)
        return lt_h5_fail(LT_EDATA, f->path, name);
    f->count++; /* closed with the file from here on */
    static const char *const keys[4] = {NULL, "dims", "description", "unit"};
    for (int i = 0; i < 4; i++) {
        s->texts[i] = keys[i] ? text_read(s->dataset, keys[i]) : strdup(name);
        if (!s->texts[i])
            LT_FAIL(LT_ENOMEM, "%s: no memory", f->path);
    }
    s->seen.name = s->texts[0];
    s->seen.dims_text = s->texts[1];
    s->seen.description = s->texts[2];
    s->seen.unit = s->texts[3];
    char *hash = text_read(s->dataset, "xxh64"), *end = hash;
    if (hash && strlen(hash) == 16) {
        s->hash = strtoull(hash, &end, 16);
        s->has_hash = *end == '\0';
    }
    free(hash);
    LT_TRY(shape_read(f->path, s, s->texts[0]));
    return layout_read(f->path, s, s->texts[0]);
}

/* Where a file has the seal, nothing in it may have changed. */
static lt_status seal_check(const char *path, int64_t bytes)
{
    char text[LT_H5_SEAL_BYTES + 1] = "", *end = NULL;
    const size_t magic = strlen(LT_H5_SEAL);
    if (bytes < LT_H5_SEAL_BYTES)
        return LT_OK;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        LT_FAIL(LT_ENOINPUT, "%s: %s", path, strerror(errno));
    uint64_t found = 0;
    const int64_t body = bytes - LT_H5_SEAL_BYTES;
    lt_status status = lt_file_pread_full(fd, path, text, LT_H5_SEAL_BYTES, body);
    const int sealed = status == LT_OK && !memcmp(text, LT_H5_SEAL, magic);
    if (sealed)
        status = lt_h5_hash(fd, path, body, &found);
    (void)close(fd);
    LT_TRY(status);
    const uint64_t wanted = sealed ? strtoull(text + magic, &end, 16) : 0;
    if (sealed && (*end || wanted != found))
        LT_FAIL(LT_EDATA, "%s: altered since it was written: xxh64: want %s, found %016" PRIx64,
                path, text + magic, found);
    return LT_OK;
}

typedef struct visit {
    lt_latents *file;
    lt_status status;
} visit;

static herr_t visit_object(hid_t where, const char *name, const H5O_info_t *info, void *data)
{
    (void)where;
    visit *v = data;
    if (info->type == H5O_TYPE_DATASET)
        v->status = stream_open(v->file, name);
    return v->status != LT_OK; /* 1 stops without HDF5 calling it an error */
}

lt_status lt_latents_open(const char *path, lt_latents **out)
{
    assert(path && out);
    *out = NULL;
    lt_h5_begin();
    int64_t bytes = 0, version = 0;
    LT_TRY(lt_file_bytes(path, &bytes));
    LT_TRY(seal_check(path, bytes));
    lt_latents *f = calloc(1, sizeof *f);
    char *format = NULL;
    visit v = {f, LT_OK};
    lt_status status = LT_OK;
    if (!f || !(f->path = strdup(path))) {
        free(f);
        LT_FAIL(LT_ENOMEM, "%s: no memory", path);
    }
    f->file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (f->file < 0)
        LT_TRY_GOTO(lt_h5_fail(LT_EDATA, path, "want a whole HDF5 file"), status, fail);
    format = text_read(f->file, "format");
    if (!format || strcmp(format, LT_LATENTS_FORMAT) != 0)
        LT_FAIL_GOTO(LT_EDATA, status, fail, "%s: attribute format: want %s, found \"%s\"", path,
                     LT_LATENTS_FORMAT, format ? format : "");
    if (!int_read(f->file, "version", &version) || version != LT_LATENTS_VERSION)
        LT_FAIL_GOTO(LT_EDATA, status, fail, "%s: attribute version: want %d, found %lld", path,
                     LT_LATENTS_VERSION, (long long)version);
    if (H5Ovisit2(f->file, H5_INDEX_NAME, H5_ITER_INC, visit_object, &v, H5O_INFO_BASIC) < 0)
        LT_TRY_GOTO(lt_h5_fail(LT_EDATA, path, "listing"), status, fail);
    LT_TRY_GOTO(v.status, status, fail);
    free(format);
    *out = f;
    return LT_OK;
fail:
    free(format);
    lt_latents_close(&f);
    return status;
}

void lt_latents_close(lt_latents **file)
{
    lt_latents *f = *file;
    *file = NULL;
    if (!f)
        return;
    for (size_t i = 0; i < f->count; i++) {
        (void)H5Dclose(f->streams[i].dataset);
        for (int t = 0; t < 4; t++)
            free(f->streams[i].texts[t]);
    }
    if (f->file >= 0)
        (void)H5Fclose(f->file);
    free(f->streams);
    free(f->path);
    free(f);
}

size_t lt_latents_count(const lt_latents *file) { return file->count; }

const lt_latents_stream *lt_latents_stream_at(const lt_latents *file, size_t index)
{
    assert(index < file->count);
    return &file->streams[index].seen;
}

lt_status lt_latents_find(const lt_latents *file, const char *name, size_t *index)
{
    char there[256] = "";
    for (size_t i = 0; i < file->count; i++) {
        if (!strcmp(file->streams[i].seen.name, name)) {
            *index = i;
            return LT_OK;
        }
        const size_t used = strlen(there);
        snprintf(there + used, sizeof there - used, "%s%s", i ? ", " : "",
                 file->streams[i].seen.name);
    }
    LT_FAIL(LT_EDATA, "%s: want dataset %s, found %s", file->path, name, there[0] ? there : "none");
}

lt_status lt_latents_attributes(const lt_latents *file, json_t **out)
{
    lt_h5_begin();
    json_t *all = json_object();
    H5O_info_t info;
    int ok = all && H5Oget_info2(file->file, &info, H5O_INFO_NUM_ATTRS) >= 0;
    for (hsize_t i = 0; ok && i < info.num_attrs; i++) {
        char name[256] = "";
        const hid_t a = H5Aopen_by_idx(file->file, ".", H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT,
                                       H5P_DEFAULT);
        const hid_t type = a >= 0 ? H5Aget_type(a) : -1, space = a >= 0 ? H5Aget_space(a) : -1;
        ok = type >= 0 && space >= 0 && H5Aget_name(a, sizeof name, name) > 0;
        const H5T_class_t class = ok ? H5Tget_class(type) : H5T_NO_CLASS;
        const int one = ok && H5Sget_simple_extent_npoints(space) == 1;
        json_t *value = NULL;
        int64_t whole = 0;
        double real = 0;
        if (one && class == H5T_STRING) {
            char *text = text_read(file->file, name);
            value = text ? json_string(text) : NULL; /* NULL also where it is not UTF-8 */
            free(text);
        } else if (one && class == H5T_INTEGER && int_read(file->file, name, &whole)) {
            value = json_integer(whole);
        } else if (one && class == H5T_FLOAT && H5Aread(a, H5T_NATIVE_DOUBLE, &real) >= 0) {
            value = json_real(real);
        }
        if (value && json_object_set_new(all, name, value) != 0)
            ok = 0;
        if (type >= 0)
            (void)H5Tclose(type);
        if (space >= 0)
            (void)H5Sclose(space);
        if (a >= 0)
            (void)H5Aclose(a);
    }
    if (!ok) {
        json_decref(all);
        return lt_h5_fail(LT_EDATA, file->path, "attributes");
    }
    *out = all;
    return LT_OK;
}

/* One chunk, unpacked into plain (plain_bytes, exactly). */
static lt_status chunk_read(const lt_latents *f, const store_stream *s, int64_t first, float *plain,
                            size_t plain_bytes)
{
    hsize_t at[LT_LATENTS_DIMS_MAX] = {0}, bytes = 0;
    uint32_t mask = 0;
    at[s->seen.time_axis] = (hsize_t)first;
    if (H5Dget_chunk_storage_size(s->dataset, at, &bytes) < 0)
        return lt_h5_fail(LT_EDATA, f->path, s->seen.name);
    if (bytes < 1 || bytes > ZSTD_compressBound(plain_bytes))
        LT_FAIL(LT_EDATA, "%s: %s: chunk at %lld: want 1 to %zu bytes, found %llu", f->path,
                s->seen.name, (long long)first, ZSTD_compressBound(plain_bytes),
                (unsigned long long)bytes);
    void *packed = malloc((size_t)bytes);
    if (!packed)
        LT_FAIL(LT_ENOMEM, "%s: %s: no memory for a chunk of %llu bytes", f->path, s->seen.name,
                (unsigned long long)bytes);
    if (H5Dread_chunk(s->dataset, H5P_DEFAULT, at, &mask, packed) < 0) {
        free(packed);
        return lt_h5_fail(LT_EDATA, f->path, s->seen.name);
    }
    size_t found = (size_t)bytes;
    if (mask & 1) /* stored as it is */
        memcpy(plain, packed, found < plain_bytes ? found : plain_bytes);
    else
        found = ZSTD_decompress(plain, plain_bytes, packed, (size_t)bytes);
    free(packed);
    if (!(mask & 1) && ZSTD_isError(found))
        LT_FAIL(LT_EDATA, "%s: %s: chunk at %lld is damaged: zstd: %s", f->path, s->seen.name,
                (long long)first, ZSTD_getErrorName(found));
    if (found != plain_bytes)
        LT_FAIL(LT_EDATA, "%s: %s: chunk at %lld: want %zu bytes unpacked, found %zu", f->path,
                s->seen.name, (long long)first, plain_bytes, found);
    return LT_OK;
}

/* Any other layout, by HDF5 itself. */
static lt_status hyperslab_read(const lt_latents *f, const store_stream *s, int64_t first,
                                int64_t count, float *out)
{
    hsize_t start[LT_LATENTS_DIMS_MAX] = {0}, dims[LT_LATENTS_DIMS_MAX];
    for (int i = 0; i < s->seen.ndim; i++)
        dims[i] = (hsize_t)(i == s->seen.time_axis ? count : s->seen.dims[i]);
    start[s->seen.time_axis] = (hsize_t)first;
    const hid_t memory = H5Screate_simple(s->seen.ndim, dims, NULL),
                space = H5Dget_space(s->dataset);
    const int ok = memory >= 0 && space >= 0 &&
                   H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, dims, NULL) >= 0 &&
                   H5Dread(s->dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, out) >= 0;
    (void)H5Sclose(memory);
    (void)H5Sclose(space);
    return ok ? LT_OK : lt_h5_fail(LT_EDATA, f->path, s->seen.name);
}

lt_status lt_latents_read_range(lt_latents *file, size_t index, int64_t first, int64_t count,
                                float *out)
{
    assert(index < file->count);
    const store_stream *s = &file->streams[index];
    const lt_h5_axes c = lt_h5_cut(&s->seen);
    lt_h5_begin();
    if (first < 0 || count < 0 || first > c.time - count)
        LT_FAIL(LT_ESHAPE, "%s: %s: want frames in [0, %lld), asked [%lld, %lld)", file->path,
                s->seen.name, (long long)c.time, (long long)first, (long long)(first + count));
    if (count == 0)
        return LT_OK;
    if (!s->raw)
        return hyperslab_read(file, s, first, count, out);
    const size_t plain_bytes = (size_t)(c.outer * s->chunk * c.inner) * sizeof(float);
    float *plain = malloc(plain_bytes);
    if (!plain)
        LT_FAIL(LT_ENOMEM, "%s: %s: no memory for a chunk of %zu bytes", file->path, s->seen.name,
                plain_bytes);
    lt_status status = LT_OK;
    for (int64_t at = first / s->chunk * s->chunk; at < first + count && status == LT_OK;
         at += s->chunk) {
        status = chunk_read(file, s, at, plain, plain_bytes);
        const int64_t from = at > first ? at : first;
        const int64_t to = at + s->chunk < first + count ? at + s->chunk : first + count;
        for (int64_t o = 0; o < c.outer && status == LT_OK; o++)
            memcpy(out + (o * count + from - first) * c.inner,
                   plain + (o * s->chunk + from - at) * c.inner,
                   (size_t)((to - from) * c.inner) * sizeof *out);
    }
    free(plain);
    return status;
}

lt_status lt_latents_read(lt_latents *file, size_t index, float *out)
{
    assert(index < file->count);
    const store_stream *s = &file->streams[index];
    const lt_h5_axes c = lt_h5_cut(&s->seen);
    LT_TRY(lt_latents_read_range(file, index, 0, c.time, out));
    const uint64_t hash = XXH64(out, (size_t)(c.outer * c.time * c.inner) * sizeof *out, 0);
    if (s->has_hash && hash != s->hash)
        LT_FAIL(LT_EDATA, "%s: %s: xxh64: want %016" PRIx64 ", found %016" PRIx64, file->path,
                s->seen.name, s->hash, hash);
    return LT_OK;
}
