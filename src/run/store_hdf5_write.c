/* store_hdf5_write.c - latents.h5 put together range by range, through HDF5 and zstd.
 *
 * Debian packs no zstd filter for HDF5, so chunks are compressed here and handed over as they are
 * (H5Dwrite_chunk); the filter's id stands in the dataset, marked optional, for readers that have
 * it. A dataset [outer..., T, inner...] is cut along T alone, n frames a chunk, n such that a chunk
 * is near LT_H5_CHUNK_BYTES; so a range of time touches just the chunks that it overlaps:
 *
 *      outer 0   |  t0 .. n-1  |  n .. 2n-1  |  2n .. T-1, zeros |
 *      outer 1   |             |             |                   |
 *                   chunk 0       chunk 1        chunk 2            (HDF5 wants the last one whole)
 *
 * Ranges come in any order and need not end where chunks do, and xxh64 goes over the values in the
 * order of the dataset, in which a range of time is in many pieces. So what is put lies in a
 * scratch file without a name, dense, beside latents.h5, until it is closed; a chunk is packed once
 * all of it is there, the hash is taken at the end. Memory is that of one chunk. A dataset that is
 * put whole needs none of this. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/file.h"
#include "base/json.h"
#include "base/new_file.h"
#include "run/store_hdf5_internal.h"

enum { ZSTD_LEVEL = 3 /* spec/platform.md 3: higher levels gain little on noise-like data */ };

/* One dataset while it is written. */
typedef struct writing {
    char *name; /* owned */
    lt_h5_axes axes;
    int ndim, time_axis;
    hid_t dataset;
    int64_t chunk, written; /* positions of a chunk; packed so far, from 0 on */
    int64_t put;            /* positions */
    char *has;              /* [time] 1: was put; owned */
    int64_t at;             /* byte in the scratch file */
    int is_whole;           /* put at once: it has its hash */
} writing;

struct lt_latents_writer {
    lt_new_file made;
    hid_t file;
    int scratch; /* -1: none yet */
    writing *set;
    size_t count;
    float *plain; /* of the largest chunk, as packed is */
    void *packed;
    size_t packed_bytes;
    ZSTD_CCtx *zstd;
};

/* Of fixed length: to read one of variable length, HDF5 follows addresses that the file gives. */
static int attribute_text(hid_t where, const char *name, const char *text)
{
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    int ok = type >= 0 && space >= 0 && H5Tset_size(type, strlen(text) + 1) >= 0 &&
             H5Tset_cset(type, H5T_CSET_UTF8) >= 0;
    const hid_t a = ok ? H5Acreate2(where, name, type, space, H5P_DEFAULT, H5P_DEFAULT) : -1;
    ok = a >= 0 && H5Awrite(a, type, text) >= 0;
    if (a >= 0)
        ok = H5Aclose(a) >= 0 && ok;
    if (type >= 0)
        (void)H5Tclose(type);
    if (space >= 0)
        (void)H5Sclose(space);
    return ok;
}

static int attribute_number(hid_t where, const char *name, hid_t type, const void *value)
{
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t a = H5Acreate2(where, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    int ok = a >= 0 && H5Awrite(a, type, value) >= 0;
    if (a >= 0)
        ok = H5Aclose(a) >= 0 && ok;
    if (space >= 0)
        (void)H5Sclose(space);
    return ok;
}

static int attribute_int(hid_t where, const char *name, int64_t value)
{
    return attribute_number(where, name, H5T_NATIVE_INT64, &value);
}

static int attribute_json(hid_t where, const char *name, const json_t *value)
{
    if (json_is_null(value))
        return 1;
    if (json_is_string(value))
        return attribute_text(where, name, json_string_value(value));
    if (json_is_real(value)) {
        const double real = json_real_value(value);
        return attribute_number(where, name, H5T_NATIVE_DOUBLE, &real);
    }
    if (json_is_integer(value) || json_is_boolean(value))
        return attribute_int(
            where, name, json_is_integer(value) ? json_integer_value(value) : json_is_true(value));
    char *text = json_dumps(value, JSON_COMPACT);
    const int ok = text && attribute_text(where, name, text);
    free(text);
    return ok;
}

static lt_status stream_check(const char *path, const lt_latents_stream *s)
{
    assert(s->name && s->time_axis >= 0 && s->time_axis < s->ndim);
    int64_t elements = 1;
    if (s->ndim < 1 || s->ndim > LT_LATENTS_DIMS_MAX)
        LT_FAIL(LT_ESHAPE, "%s: %s: want 1 to 4 dims, found %d", path, s->name, s->ndim);
    for (int i = 0; i < s->ndim; i++) {
        if (s->dims[i] < 1 || s->dims[i] > LT_H5_ELEMENTS_MAX / elements)
            LT_FAIL(LT_ESHAPE,
                    "%s: %s: dim %d: want 1 or more, fewer than 2^50 elements in all, found %lld",
                    path, s->name, i, (long long)s->dims[i]);
        elements *= s->dims[i];
    }
    return LT_OK;
}

/* Near LT_H5_CHUNK_BYTES, and so few chunks that finding them all takes HDF5 well under a second:
 * it walks through all of them for each. */
static int64_t chunk_frames(lt_h5_axes c)
{
    enum { CHUNKS_MAX = 4096 };
    const int64_t frame_bytes = c.outer * c.inner * (int64_t)sizeof(float);
    const int64_t n = frame_bytes < LT_H5_CHUNK_BYTES ? LT_H5_CHUNK_BYTES / frame_bytes : 1;
    const int64_t least = (c.time - 1) / CHUNKS_MAX + 1;
    const int64_t most = n > least ? n : least;
    return most < c.time ? most : c.time;
}

static hid_t dataset_create(hid_t file, const lt_latents_stream *s, int64_t chunk)
{
    hsize_t dims[LT_LATENTS_DIMS_MAX], chunks[LT_LATENTS_DIMS_MAX];
    for (int i = 0; i < s->ndim; i++) {
        dims[i] = (hsize_t)s->dims[i];
        chunks[i] = i == s->time_axis ? (hsize_t)chunk : dims[i];
    }
    const unsigned level = ZSTD_LEVEL;
    const hid_t space = H5Screate_simple(s->ndim, dims, NULL);
    const hid_t made = H5Pcreate(H5P_DATASET_CREATE), link = H5Pcreate(H5P_LINK_CREATE);
    hid_t dataset = -1;
    if (space >= 0 && made >= 0 && link >= 0 && H5Pset_chunk(made, s->ndim, chunks) >= 0 &&
        H5Pset_filter(made, LT_H5_FILTER_ZSTD, H5Z_FLAG_OPTIONAL, 1, &level) >= 0 &&
        H5Pset_create_intermediate_group(link, 1) >= 0)
        dataset = H5Dcreate2(file, s->name, H5T_IEEE_F32LE, space, link, made, H5P_DEFAULT);
    (void)H5Pclose(link);
    (void)H5Pclose(made);
    (void)H5Sclose(space);
    return dataset;
}

/* ---- a dataset ---- */

static int attributes_of(hid_t dataset, const lt_latents_stream *s)
{
    return attribute_text(dataset, "dims", s->dims_text ? s->dims_text : "") &&
           attribute_text(dataset, "description", s->description ? s->description : "") &&
           attribute_text(dataset, "unit", s->unit ? s->unit : "") &&
           attribute_text(dataset, "software", "longtake") &&
           attribute_int(dataset, "time_axis", s->time_axis);
}

static lt_status writing_new(lt_latents_writer *w, const lt_latents_stream *s, int64_t at,
                             writing *out)
{
    const char *path = w->made.path;
    *out = (writing){
        .axes = lt_h5_cut(s), .ndim = s->ndim, .time_axis = s->time_axis, .dataset = -1, .at = at};
    const lt_h5_axes c = out->axes;
    out->chunk = chunk_frames(c);
    const size_t bytes = (size_t)(c.outer * out->chunk * c.inner) * sizeof(float);
    if (bytes > LT_H5_CHUNK_BYTES_MAX)
        LT_FAIL(LT_ESHAPE, "%s: %s: a frame of %zu bytes", path, s->name, bytes);
    out->name = strdup(s->name);
    out->has = calloc((size_t)c.time, 1);
    if (out->name == NULL || out->has == NULL)
        LT_FAIL(LT_ENOMEM, "%s: %s: no memory for %lld positions", path, s->name,
                (long long)c.time);
    out->dataset = dataset_create(w->file, s, out->chunk);
    if (out->dataset < 0 || !attributes_of(out->dataset, s))
        return lt_h5_fail(LT_EIO, path, s->name);
    return LT_OK;
}

static lt_status buffers_new(lt_latents_writer *w)
{
    size_t most = 0;
    for (size_t i = 0; i < w->count; i++) {
        const lt_h5_axes c = w->set[i].axes;
        const size_t bytes = (size_t)(c.outer * w->set[i].chunk * c.inner) * sizeof(float);
        most = bytes > most ? bytes : most;
    }
    w->packed_bytes = ZSTD_compressBound(most);
    w->plain = malloc(most + 1);
    w->packed = malloc(w->packed_bytes);
    w->zstd = ZSTD_createCCtx();
    if (w->plain == NULL || w->packed == NULL || w->zstd == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for a chunk of %zu bytes", w->made.path, most);
    (void)ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    (void)ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
    return LT_OK;
}

/* The chunk that begins at `first`, now in w->plain, to the file. */
static lt_status chunk_pack(lt_latents_writer *w, const writing *d, int64_t first)
{
    const char *path = w->made.path;
    const size_t plain_bytes = (size_t)(d->axes.outer * d->chunk * d->axes.inner) * sizeof(float);
    const size_t bytes = ZSTD_compress2(w->zstd, w->packed, w->packed_bytes, w->plain, plain_bytes);
    if (ZSTD_isError(bytes))
        LT_FAIL(ZSTD_getErrorCode(bytes) == ZSTD_error_memory_allocation ? LT_ENOMEM : LT_EINTERNAL,
                "%s: %s: zstd: %s", path, d->name, ZSTD_getErrorName(bytes));
    hsize_t at[LT_LATENTS_DIMS_MAX] = {0};
    at[d->time_axis] = (hsize_t)first;
    if (H5Dwrite_chunk(d->dataset, H5P_DEFAULT, 0, at, bytes, w->packed) < 0)
        return lt_h5_fail(LT_EIO, path, d->name);
    return LT_OK;
}

/* A dataset that was put whole: chunk by chunk, out of the caller's memory. */
static lt_status whole_write(lt_latents_writer *w, writing *d, const float *data)
{
    const lt_h5_axes c = d->axes;
    for (int64_t first = 0; first < c.time; first += d->chunk) {
        const int64_t count = c.time - first < d->chunk ? c.time - first : d->chunk;
        memset(w->plain, 0, (size_t)(c.outer * d->chunk * c.inner) * sizeof(float));
        for (int64_t o = 0; o < c.outer; o++)
            memcpy(w->plain + o * d->chunk * c.inner, data + (o * c.time + first) * c.inner,
                   (size_t)(count * c.inner) * sizeof(float));
        LT_TRY(chunk_pack(w, d, first));
    }
    d->written = c.time;
    return LT_OK;
}

/* ---- the scratch file ---- */

/* Where a position of a dataset lies in it. */
static int64_t scratch_at(const writing *d, int64_t outer, int64_t position)
{
    return d->at + (outer * d->axes.time + position) * d->axes.inner * (int64_t)sizeof(float);
}

static lt_status scratch_write(lt_latents_writer *w, const writing *d, int64_t first, int64_t count,
                               const float *data)
{
    const char *path = w->made.path;
    const size_t bytes = (size_t)(count * d->axes.inner) * sizeof(float);
    if (w->scratch < 0)
        LT_TRY(lt_new_file_scratch(path, &w->scratch));
    for (int64_t o = 0; o < d->axes.outer; o++) {
        if (lseek(w->scratch, (off_t)scratch_at(d, o, first), SEEK_SET) < 0)
            LT_FAIL(LT_EIO, "%s: the values beside it: %s", path, strerror(errno));
        LT_TRY(lt_file_write_full(w->scratch, path, data + o * count * d->axes.inner, bytes));
    }
    return LT_OK;
}

/* Pack the chunks, in their order, of which all has come. */
static lt_status ready_write(lt_latents_writer *w, writing *d)
{
    const lt_h5_axes c = d->axes;
    while (d->written < c.time) {
        const int64_t first = d->written;
        const int64_t count = c.time - first < d->chunk ? c.time - first : d->chunk;
        if (memchr(d->has + first, 0, (size_t)count) != NULL)
            return LT_OK;
        memset(w->plain, 0, (size_t)(c.outer * d->chunk * c.inner) * sizeof(float));
        for (int64_t o = 0; o < c.outer; o++)
            LT_TRY(lt_file_pread_full(w->scratch, w->made.path, w->plain + o * d->chunk * c.inner,
                                      (size_t)(count * c.inner) * sizeof(float),
                                      scratch_at(d, o, first)));
        LT_TRY(chunk_pack(w, d, first));
        d->written += count;
    }
    return LT_OK;
}

static int hash_put(const writing *d, uint64_t hash)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%016" PRIx64, hash);
    return attribute_text(d->dataset, "xxh64", text);
}

/* The hash of what was put in ranges. */
static lt_status hash_write(lt_latents_writer *w, const writing *d)
{
    const char *path = w->made.path;
    const lt_h5_axes c = d->axes;
    const int64_t bytes = c.outer * c.time * c.inner * (int64_t)sizeof(float);
    const int64_t block = c.outer * d->chunk * c.inner * (int64_t)sizeof(float);
    XXH64_state_t *state = XXH64_createState();
    lt_status st = LT_OK;
    if (state == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for a hash", path);
    (void)XXH64_reset(state, 0);
    for (int64_t at = 0; at < bytes; at += block) {
        const size_t n = (size_t)(bytes - at < block ? bytes - at : block);
        LT_TRY_GOTO(lt_file_pread_full(w->scratch, path, w->plain, n, d->at + at), st, done);
        (void)XXH64_update(state, w->plain, n);
    }
    if (!hash_put(d, XXH64_digest(state)))
        LT_TRY_GOTO(lt_h5_fail(LT_EIO, path, d->name), st, done);
done:
    XXH64_freeState(state);
    return st;
}

/* ---- the file ---- */

/* The names of the datasets, so that a reader need not list what lies in the file. */
static int attribute_streams(hid_t file, const lt_latents_stream *streams, size_t count)
{
    json_t *names = json_array();
    int ok = names != NULL;
    for (size_t i = 0; i < count && ok; i++)
        ok = json_array_append_new(names, json_string(streams[i].name)) == 0;
    ok = ok && attribute_json(file, "streams", names);
    json_decref(names);
    return ok;
}

/* HDF5 1.8's format and newer: its headers carry checksums, and an attribute may be longer than 64
 * KiB. */
static hid_t file_create(const char *name)
{
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    hid_t file = -1;
    if (access >= 0 && H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_LATEST) >= 0)
        file = H5Fcreate(name, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    if (access >= 0)
        (void)H5Pclose(access);
    return file;
}

static lt_status seal(int fd, const char *path)
{
    char text[LT_H5_SEAL_BYTES + 1];
    uint64_t hash = 0;
    const off_t bytes = lseek(fd, 0, SEEK_END);
    if (bytes < 0)
        LT_FAIL(LT_EIO, "%s: %s", path, strerror(errno));
    LT_TRY(lt_h5_hash(fd, path, bytes, &hash));
    snprintf(text, sizeof text, LT_H5_SEAL "%016" PRIx64, hash);
    LT_TRY(lt_file_write_full(fd, path, text, LT_H5_SEAL_BYTES));
    return LT_OK;
}

static lt_status file_attributes(lt_latents_writer *w, const lt_latents_stream *streams,
                                 const json_t *attributes)
{
    int ok = attribute_text(w->file, "format", LT_LATENTS_FORMAT) &&
             attribute_int(w->file, "version", LT_LATENTS_VERSION) &&
             attribute_streams(w->file, streams, w->count);
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)attributes, key,
                         value) /* jansson's macro is not const */
        if (ok && strcmp(key, "format") && strcmp(key, "version") && strcmp(key, "streams"))
            ok = attribute_json(w->file, key, value);
    if (!ok && lt_json_starved())
        LT_FAIL(LT_ENOMEM, "%s: no memory for its attributes", w->made.path);
    if (!ok)
        return lt_h5_fail(LT_EIO, w->made.path, "attributes");
    return LT_OK;
}

static lt_status writer_open(lt_latents_writer *w, const char *path,
                             const lt_latents_stream *streams, const json_t *attributes)
{
    char via[LT_PATH_BYTES];
    int64_t at = 0;
    LT_TRY(lt_new_file_open(path, &w->made));
    LT_TRY(lt_new_file_via(&w->made, via, sizeof via)); /* HDF5's own way to it */
    w->file = file_create(via);
    if (w->file < 0)
        return lt_h5_fail(LT_ECREATE, path, "creating");
    LT_TRY(file_attributes(w, streams, attributes));
    for (size_t i = 0; i < w->count; i++) {
        LT_TRY(writing_new(w, &streams[i], at, &w->set[i]));
        const lt_h5_axes c = w->set[i].axes;
        at += c.outer * c.time * c.inner * (int64_t)sizeof(float);
    }
    LT_TRY(buffers_new(w));
    return LT_OK;
}

/* HDF5's handles. st: how it went so far; LT_EIO where what they held could not be written. */
static lt_status handles_close(lt_latents_writer *w, lt_status st)
{
    for (size_t i = 0; i < w->count; i++) {
        if (w->set[i].dataset >= 0 && H5Dclose(w->set[i].dataset) < 0 && st == LT_OK)
            st = lt_h5_fail(LT_EIO, w->made.path, w->set[i].name);
        w->set[i].dataset = -1;
    }
    if (w->file >= 0 && H5Fclose(w->file) < 0 && st == LT_OK)
        st = lt_h5_fail(LT_EIO, w->made.path, "closing");
    w->file = -1;
    return st;
}

static void writer_free(lt_latents_writer **writer)
{
    lt_latents_writer *w = *writer;
    for (size_t i = 0; i < w->count; i++) {
        free(w->set[i].name);
        free(w->set[i].has);
    }
    if (w->scratch >= 0)
        (void)close(w->scratch);
    lt_new_file_drop(&w->made);
    ZSTD_freeCCtx(w->zstd);
    free(w->plain);
    free(w->packed);
    free(w->set);
    free(w);
    *writer = NULL;
}

lt_status lt_latents_create(const char *path, const lt_latents_stream *streams, size_t count,
                            const json_t *attributes, lt_latents_writer **out)
{
    assert(path && (streams || count == 0));
    *out = NULL;
    lt_h5_begin();
    for (size_t i = 0; i < count; i++)
        LT_TRY(stream_check(path, &streams[i]));
    lt_latents_writer *w = calloc(1, sizeof *w);
    if (w != NULL)
        w->set = calloc(count + 1, sizeof *w->set);
    if (w == NULL || w->set == NULL) {
        free(w);
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu datasets", path, count);
    }
    w->file = -1;
    w->scratch = -1;
    w->count = count;
    for (size_t i = 0; i < count; i++)
        w->set[i].dataset = -1;
    const lt_status st = writer_open(w, path, streams, attributes);
    if (st != LT_OK)
        lt_latents_abort(&w);
    *out = w;
    return st;
}

lt_status lt_latents_put(lt_latents_writer *w, size_t index, int64_t first, int64_t count,
                         const float *data)
{
    assert(index < w->count && first >= 0 && count >= 0);
    writing *d = &w->set[index];
    const lt_h5_axes c = d->axes;
    assert(first + count <= c.time && memchr(d->has + first, 1, (size_t)count) == NULL);
    lt_h5_begin();
    memset(d->has + first, 1, (size_t)count);
    d->put += count;
    if (count < c.time) {
        LT_TRY(scratch_write(w, d, first, count, data));
        return ready_write(w, d);
    }
    d->is_whole = 1;
    if (!hash_put(d, XXH64(data, (size_t)(c.outer * c.time * c.inner) * sizeof *data, 0)))
        return lt_h5_fail(LT_EIO, w->made.path, d->name);
    return whole_write(w, d, data);
}

lt_status lt_latents_attribute(lt_latents_writer *w, const char *name, const char *text)
{
    lt_h5_begin();
    if (!attribute_text(w->file, name, text))
        return lt_h5_fail(LT_EIO, w->made.path, name);
    return LT_OK;
}

lt_status lt_latents_finish(lt_latents_writer **writer)
{
    lt_latents_writer *w = *writer;
    lt_status st = LT_OK;
    lt_h5_begin();
    for (size_t i = 0; i < w->count && st == LT_OK; i++) {
        const writing *d = &w->set[i];
        if (d->put < d->axes.time)
            st = lt_fail(LT_EINTERNAL, __FILE__, __LINE__,
                         "%s: %s: want %lld positions before it is closed, found %lld",
                         w->made.path, d->name, (long long)d->axes.time, (long long)d->put);
        else if (!d->is_whole)
            st = hash_write(w, d);
    }
    st = handles_close(w, st);
    if (st == LT_OK)
        st = seal(w->made.fd, w->made.path);
    if (st == LT_OK)
        st = lt_new_file_done(&w->made, LT_REPLACE);
    writer_free(writer);
    return st;
}

void lt_latents_abort(lt_latents_writer **writer)
{
    if (*writer == NULL)
        return;
    (void)handles_close(*writer, LT_EIO); /* the error that led here stays */
    writer_free(writer);
}

lt_status lt_latents_write(const char *path, const lt_latents_stream *streams, size_t count,
                           const json_t *attributes)
{
    lt_latents_writer *w = NULL;
    LT_TRY(lt_latents_create(path, streams, count, attributes, &w));
    for (size_t i = 0; i < count; i++) {
        assert(streams[i].data != NULL);
        const lt_status st =
            lt_latents_put(w, i, 0, streams[i].dims[streams[i].time_axis], streams[i].data);
        if (st != LT_OK)
            lt_latents_abort(&w);
        LT_TRY(st);
    }
    return lt_latents_finish(&w);
}
