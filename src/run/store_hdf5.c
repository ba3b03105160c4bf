/* store_hdf5.c - latents.h5 written through HDF5 and zstd.
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
 * HDF5 prints its error stack unless told otherwise; instead the innermost entry is taken into our
 * own message (it holds errno's text when the disk is full). */
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

lt_h5_axes lt_h5_cut(const lt_latents_stream *s)
{
    lt_h5_axes c = {1, s->dims[s->time_axis], 1};
    for (int i = 0; i < s->ndim; i++) {
        if (i < s->time_axis)
            c.outer *= s->dims[i];
        else if (i > s->time_axis)
            c.inner *= s->dims[i];
    }
    return c;
}

/* The innermost words of HDF5's last failure: taken when it happens, for the next call forgets
 * them. */
static _Thread_local char h5_words[256];
static _Thread_local int h5_no_memory;

/* HDF5 ends its longest sentences in the system's words and heap addresses; the words are what
 * counts, and a text is never cut inside a word. */
static void words_shorten(const char *desc)
{
    static const char key[] = "error message = '";
    const char *said = strstr(desc, key);
    if (said != NULL) {
        said += sizeof key - 1;
        snprintf(h5_words, sizeof h5_words, "%.*s: %.*s", (int)strcspn(desc, ":"), desc,
                 (int)strcspn(said, "'"), said);
        return;
    }
    size_t n = strlen(desc);
    if (n >= sizeof h5_words)
        for (n = sizeof h5_words - 1; n > 0 && desc[n] != ' ';)
            n--;
    snprintf(h5_words, sizeof h5_words, "%.*s", (int)n, desc);
}

static herr_t words_take(unsigned n, const H5E_error2_t *entry, void *data)
{
    (void)data;
    h5_no_memory |= entry->maj_num == H5E_RESOURCE && entry->min_num == H5E_NOSPACE;
    if (n == 0 && entry->desc)
        words_shorten(entry->desc);
    return 0;
}

static herr_t words_keep(hid_t stack, void *data)
{
    return H5Ewalk2(stack, H5E_WALK_UPWARD, words_take, data);
}

void lt_h5_begin(void)
{
    /* Lustre and NFS without locks: HDF5 would refuse to open. Read by HDF5 at each opening. */
    (void)setenv("HDF5_USE_FILE_LOCKING", "BEST_EFFORT", 0);
    /* After a full disk HDF5's own clean-up at exit writes again and crashes; we close all files.
     */
    (void)H5dont_atexit();
    (void)H5Eset_auto2(H5E_DEFAULT, words_keep, NULL);
    h5_words[0] = '\0';
    h5_no_memory = 0;
}

int lt_h5_wanted_memory(void) { return h5_no_memory; }

lt_status lt_h5_fail(lt_status status, const char *path, const char *what)
{
    LT_FAIL(status, "%s: %s: HDF5: %s", path, what, h5_words[0] ? h5_words : "no reason given");
}

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
    assert(s->name && s->data && s->time_axis >= 0 && s->time_axis < s->ndim);
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

/* Chunk by chunk: gather, compress, hand over. plain and packed are the two buffers. */
static lt_status chunks_write(const char *path, hid_t dataset, const lt_latents_stream *s,
                              int64_t chunk, float *plain, void *packed, size_t packed_bytes,
                              ZSTD_CCtx *zstd)
{
    const lt_h5_axes c = lt_h5_cut(s);
    const size_t plain_bytes = (size_t)(c.outer * chunk * c.inner) * sizeof *plain;
    for (int64_t first = 0; first < c.time; first += chunk) {
        const int64_t count = c.time - first < chunk ? c.time - first : chunk;
        memset(plain, 0, plain_bytes);
        for (int64_t o = 0; o < c.outer; o++)
            memcpy(plain + o * chunk * c.inner, s->data + (o * c.time + first) * c.inner,
                   (size_t)(count * c.inner) * sizeof *plain);
        const size_t bytes = ZSTD_compress2(zstd, packed, packed_bytes, plain, plain_bytes);
        if (ZSTD_isError(bytes))
            LT_FAIL(ZSTD_getErrorCode(bytes) == ZSTD_error_memory_allocation ? LT_ENOMEM
                                                                             : LT_EINTERNAL,
                    "%s: %s: zstd: %s", path, s->name, ZSTD_getErrorName(bytes));
        hsize_t at[LT_LATENTS_DIMS_MAX] = {0};
        at[s->time_axis] = (hsize_t)first;
        if (H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, at, bytes, packed) < 0)
            return lt_h5_fail(LT_EIO, path, s->name);
    }
    return LT_OK;
}

static lt_status stream_write(const char *path, hid_t file, const lt_latents_stream *s)
{
    const lt_h5_axes c = lt_h5_cut(s);
    const int64_t chunk = chunk_frames(c);
    const size_t plain_bytes = (size_t)(c.outer * chunk * c.inner) * sizeof(float);
    const size_t packed_bytes = ZSTD_compressBound(plain_bytes);
    float *plain = malloc(plain_bytes);
    void *packed = malloc(packed_bytes);
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    hid_t dataset = -1;
    lt_status status = LT_OK;
    if (plain_bytes > LT_H5_CHUNK_BYTES_MAX)
        LT_FAIL_GOTO(LT_ESHAPE, status, done, "%s: %s: a frame of %zu bytes", path, s->name,
                     plain_bytes);
    if (!plain || !packed || !zstd)
        LT_FAIL_GOTO(LT_ENOMEM, status, done, "%s: %s: no memory for a chunk of %zu bytes", path,
                     s->name, plain_bytes);
    (void)ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    (void)ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    dataset = dataset_create(file, s, chunk);
    if (dataset < 0)
        LT_TRY_GOTO(lt_h5_fail(LT_EIO, path, s->name), status, done);
    char hash[24];
    snprintf(hash, sizeof hash, "%016" PRIx64,
             (uint64_t)XXH64(s->data, (size_t)(c.outer * c.time * c.inner) * sizeof(float), 0));
    if (!attribute_text(dataset, "dims", s->dims_text ? s->dims_text : "") ||
        !attribute_text(dataset, "description", s->description ? s->description : "") ||
        !attribute_text(dataset, "unit", s->unit ? s->unit : "") ||
        !attribute_text(dataset, "software", "longtake") ||
        !attribute_text(dataset, "xxh64", hash) ||
        !attribute_int(dataset, "time_axis", s->time_axis))
        LT_TRY_GOTO(lt_h5_fail(LT_EIO, path, s->name), status, done);
    LT_TRY_GOTO(chunks_write(path, dataset, s, chunk, plain, packed, packed_bytes, zstd), status,
                done);
done:
    if (dataset >= 0 && H5Dclose(dataset) < 0 && status == LT_OK)
        status = lt_h5_fail(LT_EIO, path, s->name);
    free(plain);
    free(packed);
    ZSTD_freeCCtx(zstd);
    return status;
}

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

/* via: HDF5's own way to the file that path will name. */
static lt_status file_write(const char *path, const char *via, const lt_latents_stream *streams,
                            size_t count, const json_t *attributes)
{
    const hid_t file = file_create(via);
    if (file < 0)
        return lt_h5_fail(LT_ECREATE, path, "creating");
    lt_status status = LT_OK;
    int ok = attribute_text(file, "format", LT_LATENTS_FORMAT) &&
             attribute_int(file, "version", LT_LATENTS_VERSION) &&
             attribute_streams(file, streams, count);
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)attributes, key,
                         value) /* jansson's macro is not const */
        if (ok && strcmp(key, "format") && strcmp(key, "version") && strcmp(key, "streams"))
            ok = attribute_json(file, key, value);
    if (!ok)
        status = lt_json_starved() ? lt_fail(LT_ENOMEM, __FILE__, __LINE__,
                                             "%s: no memory for its attributes", path)
                                   : lt_h5_fail(LT_EIO, path, "attributes");
    for (size_t i = 0; i < count && status == LT_OK; i++)
        status = stream_write(path, file, &streams[i]);
    if (H5Fclose(file) < 0 && status == LT_OK)
        status = lt_h5_fail(LT_EIO, path, "closing");
    return status;
}

lt_status lt_h5_hash(int fd, const char *path, int64_t bytes, uint64_t *out)
{
    enum { BLOCK_BYTES = 1 << 20 };
    void *block = malloc(BLOCK_BYTES);
    XXH64_state_t *state = XXH64_createState();
    lt_status status = LT_OK;
    if (!block || !state)
        LT_FAIL_GOTO(LT_ENOMEM, status, done, "%s: no memory", path);
    (void)XXH64_reset(state, 0);
    for (int64_t at = 0; at < bytes; at += BLOCK_BYTES) {
        const size_t n = (size_t)(bytes - at < BLOCK_BYTES ? bytes - at : BLOCK_BYTES);
        LT_TRY_GOTO(lt_file_pread_full(fd, path, block, n, at), status, done);
        (void)XXH64_update(state, block, n);
    }
    *out = XXH64_digest(state);
done:
    free(block);
    XXH64_freeState(state);
    return status;
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

lt_status lt_latents_write(const char *path, const lt_latents_stream *streams, size_t count,
                           const json_t *attributes)
{
    assert(path && (streams || count == 0));
    lt_h5_begin();
    for (size_t i = 0; i < count; i++)
        LT_TRY(stream_check(path, &streams[i]));
    lt_new_file made;
    char via[LT_PATH_BYTES];
    LT_TRY(lt_new_file_open(path, &made));
    lt_status status = lt_new_file_via(&made, via, sizeof via);
    if (status == LT_OK)
        status = file_write(path, via, streams, count, attributes);
    if (status == LT_OK)
        status = seal(made.fd, path);
    if (status == LT_OK)
        status = lt_new_file_done(&made, LT_REPLACE);
    lt_new_file_drop(&made);
    return status;
}

const char *lt_latents_library(void)
{
    static char text[64]; /* the same bytes whoever writes them */
    unsigned major = 0, minor = 0, release = 0;
    lt_h5_begin(); /* HDF5's first call settles what it does at exit */
    (void)H5get_libversion(&major, &minor, &release);
    snprintf(text, sizeof text, "HDF5 %u.%u.%u, zstd %s", major, minor, release,
             ZSTD_versionString());
    return text;
}
