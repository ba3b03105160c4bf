/* store_hdf5_read.c - latents.h5 read back, whole or by ranges of time.
 *
 *     our seal at its end         is demanded, and right, unless the caller takes a file without
 *     its structure, by HDF5      in a child (store_hdf5_child.c): facts, each checked here
 *     values                      by offset and length, out of the file that was opened first
 *
 * Nothing is believed before it is checked against what else is there: spans lie in the file and
 * share no byte; a chunk's zstd frame says just the chunk's bytes, or it is not unpacked; a range
 * fits where it is put. So no value of the file gives a size that the file, or the caller's memory,
 * does not have. A stream keeps its last chunk unpacked: ranges that follow each other share it.
 *
 * The file stays open, and is looked at before each read: one that is written again meanwhile is an
 * error. A data hash that a rewritten file still carries from before is an error too: whoever
 * rewrites values by other tools removes or renews the attribute xxh64. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "run/store_hdf5_internal.h"

/* Where a chunk's bytes lie. */
typedef struct store_span {
    int64_t first, bytes;
    int as_it_is; /* not packed */
} store_span;

typedef struct store_stream {
    lt_latents_stream seen; /* what lt_latents_stream_at shows; its strings are the facts' */
    int64_t chunk;          /* frames a chunk; 0: values lie together, span[0] */
    store_span *span;
    size_t span_count;
    float *plain; /* the chunk unpacked last */
    int64_t plain_at;
    int has_hash;
    uint64_t hash;
} store_stream;

struct lt_latents {
    char *path;
    int fd;
    struct stat info; /* as it was when it was opened */
    int64_t body;     /* bytes without the seal */
    uint64_t hash;    /* of all of them */
    json_t *facts;
    store_stream *streams;
    size_t count;
};

/* ---- opening ---- */

static lt_status file_open(lt_latents *f)
{
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0)
        LT_FAIL(LT_ENOINPUT, "%s: %s", f->path, strerror(errno));
    if (fstat(f->fd, &f->info) != 0 || !S_ISREG(f->info.st_mode))
        LT_FAIL(LT_ENOINPUT, "%s: want a regular file", f->path);
    char head[8] = "";
    if (f->info.st_size >= (off_t)sizeof head)
        LT_TRY(lt_file_pread_full(f->fd, f->path, head, sizeof head, 0));
    if (memcmp(head, "\x89HDF\r\n\x1a\n", sizeof head) != 0)
        LT_FAIL(LT_EDATA, "%s: want an HDF5 file, found something else", f->path);
    return LT_OK;
}

/* A file may say any size, and have nothing on the disk: hashing it would take for ever. Ours have
 * no holes; a file system that makes some of zeros finds none in noise. */
static lt_status holes_check(const lt_latents *f)
{
    const off_t end = f->info.st_size;
    int64_t holes = 0;
    for (off_t at = 0; at < end && holes <= LT_H5_HOLES_BYTES_MAX;) {
        const off_t hole = lseek(f->fd, at, SEEK_HOLE);
        if (hole < 0 || hole >= end)
            break;
        at = lseek(f->fd, hole, SEEK_DATA);
        at = at < 0 ? end : at; /* a hole to its end */
        holes += at - hole;
    }
    if (holes > LT_H5_HOLES_BYTES_MAX)
        LT_FAIL(LT_EDATA, "%s: want values, found holes of more than %d MiB: never written whole",
                f->path, LT_H5_HOLES_BYTES_MAX >> 20);
    return LT_OK;
}

/* Nothing in the file may have changed since it was written, or been left out of its end. Without a
 * right seal the file is taken only if the caller says so; *sealed tells. */
static lt_status seal_check(lt_latents *f, int unsealed, int *sealed)
{
    char text[LT_H5_SEAL_BYTES + 1] = "", *end = text;
    const size_t magic = strlen(LT_H5_SEAL);
    const int64_t bytes = (int64_t)f->info.st_size;
    f->body = bytes;
    if (bytes >= LT_H5_SEAL_BYTES) {
        f->body = bytes - LT_H5_SEAL_BYTES;
        LT_TRY(lt_file_pread_full(f->fd, f->path, text, LT_H5_SEAL_BYTES, f->body));
    }
    const int there = !memcmp(text, LT_H5_SEAL, magic) && strlen(text) == LT_H5_SEAL_BYTES;
    if (!there && !unsealed) {
        lt_hint("--unsealed reads a file that other tools have written, without knowing whether it "
                "is whole");
        LT_FAIL(LT_EDATA,
                "%s: want our checksum as its last %d bytes, found none: cut short, or written by "
                "other tools",
                f->path, LT_H5_SEAL_BYTES);
    }
    if (!there)
        f->body = bytes;
    LT_TRY(lt_h5_hash(f->fd, f->path, f->body, &f->hash));
    const uint64_t wanted = there ? strtoull(text + magic, &end, 16) : 0;
    *sealed = there && !*end && wanted == f->hash;
    if (*sealed)
        return LT_OK;
    if (!unsealed)
        LT_FAIL(LT_EDATA, "%s: altered since it was written: xxh64: want %s, found %016" PRIx64,
                f->path, text + magic, f->hash);
    lt_warn("%s: %s: nothing tells whether it is what was denoised", f->path,
            there ? "altered since it was written" : "not sealed");
    return LT_OK;
}

static const char *text_of(const json_t *from, const char *key)
{
    const char *text = json_string_value(json_object_get(from, key));
    return text != NULL ? text : "";
}

/* Bytes of a chunk, unpacked; of all, where there are none. */
static size_t plain_bytes(const store_stream *s)
{
    const lt_h5_axes c = lt_h5_cut(&s->seen);
    return (size_t)(c.outer * (s->chunk > 0 ? s->chunk : c.time) * c.inner) * sizeof(float);
}

/* Its spans: so many as chunks, of lengths that chunks can have. */
static lt_status spans_check(const lt_latents *f, store_stream *s, const json_t *one)
{
    const json_t *list = json_object_get(one, "spans");
    const int zstd = json_integer_value(json_object_get(one, "zstd")) != 0;
    const lt_h5_axes c = lt_h5_cut(&s->seen);
    const size_t wanted = s->chunk > 0 ? (size_t)((c.time - 1) / s->chunk + 1) : 1;
    if (json_array_size(list) != 3 * wanted || wanted > LT_H5_SPANS_MAX)
        LT_FAIL(LT_EDATA, "%s: %s: want %zu chunks of at most %d, found %zu", f->path, s->seen.name,
                wanted, LT_H5_SPANS_MAX, json_array_size(list) / 3);
    const size_t plain = plain_bytes(s);
    if (s->chunk > 0 && plain > LT_H5_CHUNK_BYTES_MAX)
        LT_FAIL(LT_EDATA, "%s: %s: chunks: want at most %d bytes, found %zu", f->path, s->seen.name,
                LT_H5_CHUNK_BYTES_MAX, plain);
    s->span = calloc(wanted, sizeof *s->span);
    if (s->span == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu chunks", f->path, wanted);
    s->span_count = wanted;
    for (size_t i = 0; i < wanted; i++) {
        store_span *at = &s->span[i];
        at->first = json_integer_value(json_array_get(list, 3 * i));
        at->bytes = json_integer_value(json_array_get(list, 3 * i + 1));
        at->as_it_is = !zstd || json_integer_value(json_array_get(list, 3 * i + 2)) != 0;
        const int64_t most = (int64_t)(at->as_it_is ? plain : ZSTD_compressBound(plain));
        if (at->bytes < (at->as_it_is ? most : 1) || at->bytes > most)
            LT_FAIL(LT_EDATA, "%s: %s: chunk %zu: want %s%lld bytes, found %lld", f->path,
                    s->seen.name, i, at->as_it_is ? "" : "1 to ", (long long)most,
                    (long long)at->bytes);
        if (at->first < 0 || at->bytes > f->body || at->first > f->body - at->bytes)
            LT_FAIL(LT_EDATA,
                    "%s: %s: chunk %zu: want bytes of the file's %lld, found [%lld, +%lld)",
                    f->path, s->seen.name, i, (long long)f->body, (long long)at->first,
                    (long long)at->bytes);
    }
    return LT_OK;
}

static lt_status stream_check(const lt_latents *f, store_stream *s, const json_t *one)
{
    lt_latents_stream *seen = &s->seen;
    const json_t *dims = json_object_get(one, "dims");
    const json_int_t axis = json_integer_value(json_object_get(one, "time_axis"));
    const json_int_t chunk = json_integer_value(json_object_get(one, "chunk"));
    int64_t elements = 1;
    s->plain_at = -1;
    seen->name = text_of(one, "name");
    seen->dims_text = text_of(one, "dims_text");
    seen->description = text_of(one, "description");
    seen->unit = text_of(one, "unit");
    seen->ndim = json_array_size(dims) <= LT_LATENTS_DIMS_MAX ? (int)json_array_size(dims) : 0;
    for (int i = 0; i < seen->ndim; i++) {
        seen->dims[i] = json_integer_value(json_array_get(dims, (size_t)i));
        if (seen->dims[i] < 1 || seen->dims[i] > LT_H5_ELEMENTS_MAX / elements)
            LT_FAIL(LT_EDATA, "%s: %s: dim %d: found %lld", f->path, seen->name, i,
                    (long long)seen->dims[i]);
        elements *= seen->dims[i];
    }
    if (seen->ndim < 1 || axis < 0 || axis >= seen->ndim)
        LT_FAIL(LT_EDATA, "%s: %s: %d dims, time_axis %lld", f->path, seen->name, seen->ndim,
                (long long)axis);
    seen->time_axis = (int)axis;
    if (chunk < 0 || chunk > seen->dims[axis])
        LT_FAIL(LT_EDATA, "%s: %s: chunks: want at most %lld frames, found %lld", f->path,
                seen->name, (long long)seen->dims[axis], (long long)chunk);
    s->chunk = chunk;
    const char *hash = text_of(one, "xxh64");
    char *end = NULL;
    if (hash[0] != '\0') {
        s->hash = strtoull(hash, &end, 16);
        s->has_hash = 1;
        if (strlen(hash) != 16 || strspn(hash, "0123456789abcdef") != 16)
            LT_FAIL(LT_EDATA, "%s: %s: xxh64: want 16 hexadecimal digits, found \"%.40s\"", f->path,
                    seen->name, hash);
    }
    return spans_check(f, s, one);
}

static int by_first(const void *a, const void *b)
{
    const int64_t x = ((const store_span *)a)->first, y = ((const store_span *)b)->first;
    return (x > y) - (x < y);
}

/* No byte belongs to two chunks: what is unpacked is bounded by what the file holds. */
static lt_status spans_apart(const lt_latents *f)
{
    size_t all = 0, n = 0;
    for (size_t i = 0; i < f->count; i++)
        all += f->streams[i].span_count;
    store_span *list = calloc(all + 1, sizeof *list);
    if (list == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu chunks", f->path, all);
    for (size_t i = 0; i < f->count; i++)
        for (size_t k = 0; k < f->streams[i].span_count; k++)
            list[n++] = f->streams[i].span[k];
    qsort(list, all, sizeof *list, by_first);
    int64_t shared = -1;
    for (size_t i = 1; i < all && shared < 0; i++)
        if (list[i].first < list[i - 1].first + list[i - 1].bytes)
            shared = list[i].first;
    free(list);
    if (shared >= 0)
        LT_FAIL(LT_EDATA, "%s: chunks: want bytes of their own, found two with the byte at %lld",
                f->path, (long long)shared);
    return LT_OK;
}

/* Noise does not pack; what unpacks to many times the file is made to take memory and time. */
static lt_status values_check(const lt_latents *f)
{
    int64_t values = 0;
    for (size_t i = 0; i < f->count; i++)
        if (f->streams[i].chunk > 0)
            values += (int64_t)(f->streams[i].span_count * plain_bytes(&f->streams[i]));
    const int64_t most = LT_H5_VALUES_BYTES_FREE + LT_H5_VALUES_RATIO_MAX * f->body;
    if (values > most)
        LT_FAIL(LT_EDATA, "%s: want at most %lld bytes of values in a file of %lld, found %lld",
                f->path, (long long)most, (long long)f->body, (long long)values);
    return LT_OK;
}

static lt_status facts_check(lt_latents *f)
{
    const json_t *list = json_object_get(f->facts, "streams");
    const size_t count = json_array_size(list);
    if (!json_is_object(json_object_get(f->facts, "attributes")) || count > LT_H5_DATASETS_MAX)
        LT_FAIL(LT_EDATA, "%s: want attributes and at most %d datasets", f->path,
                LT_H5_DATASETS_MAX);
    f->streams = calloc(count + 1, sizeof *f->streams);
    if (f->streams == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu datasets", f->path, count);
    for (size_t i = 0; i < count; i++) {
        f->count = i + 1;
        LT_TRY(stream_check(f, &f->streams[i], json_array_get(list, i)));
    }
    LT_TRY(values_check(f));
    return spans_apart(f);
}

static lt_status hash_check(lt_latents *f, size_t index);

lt_status lt_latents_open(const char *path, int unsealed, lt_latents **out)
{
    assert(path && out);
    *out = NULL;
    int sealed = 0;
    lt_status status = LT_OK;
    lt_latents *f = calloc(1, sizeof *f);
    if (f == NULL || (f->path = strdup(path)) == NULL) {
        free(f);
        LT_FAIL(LT_ENOMEM, "%s: no memory", path);
    }
    f->fd = -1;
    LT_TRY_GOTO(file_open(f), status, fail);
    LT_TRY_GOTO(holes_check(f), status, fail);
    LT_TRY_GOTO(seal_check(f, unsealed, &sealed), status, fail);
    LT_TRY_GOTO(lt_h5_ask(f->fd, path, sealed, &f->facts), status, fail);
    LT_TRY_GOTO(facts_check(f), status, fail);
    for (size_t i = 0; i < f->count && !sealed; i++)
        LT_TRY_GOTO(hash_check(f, i), status, fail);
    *out = f;
    return LT_OK;
fail:
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
        free(f->streams[i].span);
        free(f->streams[i].plain);
    }
    if (f->fd >= 0)
        (void)close(f->fd);
    free(f->streams);
    json_decref(f->facts);
    free(f->path);
    free(f);
}

size_t lt_latents_count(const lt_latents *file) { return file->count; }

uint64_t lt_latents_hash(const lt_latents *file) { return file->hash; }

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
        (void)snprintf(there + used, sizeof there - used, "%s%s", i ? ", " : "",
                       file->streams[i].seen.name);
    }
    LT_FAIL(LT_EDATA, "%s: want dataset %s, found %s", file->path, name, there[0] ? there : "none");
}

const json_t *lt_latents_attributes(const lt_latents *file)
{
    return json_object_get(file->facts, "attributes");
}

/* ---- values ---- */

static lt_status unchanged(const lt_latents *f)
{
    struct stat now;
    if (fstat(f->fd, &now) != 0)
        LT_FAIL(LT_EIO, "%s: %s", f->path, strerror(errno));
    if (now.st_size != f->info.st_size || now.st_mtim.tv_sec != f->info.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != f->info.st_mtim.tv_nsec)
        LT_FAIL(LT_EDATA, "%s: it was written again while it was read", f->path);
    return LT_OK;
}

/* A zstd frame of just the chunk's bytes? */
static lt_status frame_check(const lt_latents *f, const store_stream *s, int64_t first,
                             const void *packed, size_t bytes, size_t plain)
{
    const unsigned long long says = ZSTD_getFrameContentSize(packed, bytes);
    const size_t whole = ZSTD_findFrameCompressedSize(packed, bytes);
    if (says == plain && whole == bytes)
        return LT_OK;
    char found[64] = "no frame that says its size";
    if (says != ZSTD_CONTENTSIZE_ERROR && says != ZSTD_CONTENTSIZE_UNKNOWN)
        (void)snprintf(found, sizeof found, "one of %llu in %zu packed ones", says,
                       ZSTD_isError(whole) ? 0 : whole);
    LT_FAIL(LT_EDATA,
            "%s: %s: chunk at %lld: want one zstd frame of %zu bytes, %zu packed, found %s",
            f->path, s->seen.name, (long long)first, plain, bytes, found);
}

/* The chunk that begins at frame `first`, unpacked into s->plain. */
static lt_status chunk_unpack(const lt_latents *f, store_stream *s, int64_t first)
{
    const size_t plain = plain_bytes(s);
    const store_span *at = &s->span[first / s->chunk];
    lt_status st = LT_OK;
    if (s->plain != NULL && s->plain_at == first)
        return LT_OK;
    s->plain_at = -1;
    void *packed = malloc((size_t)at->bytes);
    if (packed == NULL)
        LT_FAIL(LT_ENOMEM, "%s: %s: no memory for a chunk of %lld bytes", f->path, s->seen.name,
                (long long)at->bytes);
    LT_TRY_GOTO(lt_file_pread_full(f->fd, f->path, packed, (size_t)at->bytes, at->first), st, done);
    if (!at->as_it_is)
        LT_TRY_GOTO(frame_check(f, s, first, packed, (size_t)at->bytes, plain), st, done);
    if (s->plain == NULL && (s->plain = malloc(plain)) == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "%s: %s: no memory for a chunk of %zu bytes", f->path,
                     s->seen.name, plain);
    if (at->as_it_is) {
        memcpy(s->plain, packed, plain);
    } else {
        const size_t found = ZSTD_decompress(s->plain, plain, packed, (size_t)at->bytes);
        if (found != plain)
            LT_FAIL_GOTO(LT_EDATA, st, done, "%s: %s: chunk at %lld is damaged: zstd: %s", f->path,
                         s->seen.name, (long long)first,
                         ZSTD_isError(found) ? ZSTD_getErrorName(found) : "too short");
    }
    s->plain_at = first;
done:
    free(packed);
    return st;
}

/* Contiguous values. */
static lt_status contiguous_read(const lt_latents *f, const store_stream *s, lt_h5_axes c,
                                 int64_t first, int64_t count, float *out)
{
    for (int64_t o = 0; o < c.outer; o++)
        LT_TRY(lt_file_pread_full(
            f->fd, f->path, out + o * count * c.inner, (size_t)(count * c.inner) * sizeof *out,
            s->span[0].first + (o * c.time + first) * c.inner * (int64_t)sizeof *out));
    return LT_OK;
}

lt_status lt_latents_read_range(lt_latents *file, size_t index, int64_t first, int64_t count,
                                float *out, size_t room)
{
    assert(index < file->count);
    store_stream *s = &file->streams[index];
    const lt_h5_axes c = lt_h5_cut(&s->seen);
    if (first < 0 || count < 0 || count > c.time || first > c.time - count)
        LT_FAIL(LT_ESHAPE, "%s: %s: want frames in [0, %lld), asked [%lld, +%lld)", file->path,
                s->seen.name, (long long)c.time, (long long)first, (long long)count);
    if (room < (size_t)(c.outer * count * c.inner))
        LT_FAIL(LT_ESHAPE, "%s: %s: %lld frames are %lld values, there is room for %zu", file->path,
                s->seen.name, (long long)count, (long long)(c.outer * count * c.inner), room);
    LT_TRY(unchanged(file));
    if (count == 0)
        return LT_OK;
    if (s->chunk == 0)
        return contiguous_read(file, s, c, first, count, out);
    for (int64_t at = first / s->chunk * s->chunk; at < first + count; at += s->chunk) {
        LT_TRY(chunk_unpack(file, s, at));
        const int64_t from = at > first ? at : first;
        const int64_t to = at + s->chunk < first + count ? at + s->chunk : first + count;
        for (int64_t o = 0; o < c.outer; o++)
            memcpy(out + (o * count + from - first) * c.inner,
                   s->plain + (o * s->chunk + from - at) * c.inner,
                   (size_t)((to - from) * c.inner) * sizeof *out);
    }
    return LT_OK;
}

static lt_status hash_differs(const lt_latents *f, const store_stream *s, uint64_t found)
{
    lt_hint("whoever rewrites values removes or renews the dataset's attribute xxh64");
    LT_FAIL(LT_EDATA, "%s: %s: xxh64: want %016" PRIx64 " as its attribute says, found %016" PRIx64,
            f->path, s->seen.name, s->hash, found);
}

lt_status lt_latents_read(lt_latents *file, size_t index, float *out, size_t room)
{
    assert(index < file->count);
    const store_stream *s = &file->streams[index];
    const lt_h5_axes c = lt_h5_cut(&s->seen);
    LT_TRY(lt_latents_read_range(file, index, 0, c.time, out, room));
    const uint64_t hash = XXH64(out, (size_t)(c.outer * c.time * c.inner) * sizeof *out, 0);
    if (s->has_hash && hash != s->hash)
        return hash_differs(file, s, hash);
    return LT_OK;
}

static lt_status contiguous_hash(const lt_latents *f, const store_stream *s, XXH64_state_t *state)
{
    enum { AT_ONCE = 1 << 20 };
    const int64_t end = s->span[0].first + s->span[0].bytes;
    lt_status st = LT_OK;
    void *buffer = malloc(AT_ONCE);
    if (buffer == NULL)
        LT_FAIL(LT_ENOMEM, "%s: %s: no memory", f->path, s->seen.name);
    for (int64_t at = s->span[0].first; at < end; at += AT_ONCE) {
        const size_t n = (size_t)(end - at < AT_ONCE ? end - at : AT_ONCE);
        LT_TRY_GOTO(lt_file_pread_full(f->fd, f->path, buffer, n, at), st, done);
        (void)XXH64_update(state, buffer, n);
    }
done:
    free(buffer);
    return st;
}

/* A frame's row of values after the other, and the like for each outer index: the order in memory.
 * All chunks are unpacked once for as many outer indices as `rows` has room for; one alone needs
 * none, its values come in their order. So memory stays bounded, and so does the work. */
static lt_status chunks_hash(const lt_latents *f, store_stream *s, XXH64_state_t *state)
{
    const lt_h5_axes c = lt_h5_cut(&s->seen);
    const int64_t row = c.time * c.inner, fit = LT_H5_HASH_BYTES / (int64_t)sizeof(float) / row;
    const int64_t group = fit < 1 ? 1 : fit < c.outer ? fit : c.outer;
    float *rows = group > 1 ? malloc((size_t)(group * row) * sizeof *rows) : NULL;
    lt_status st = LT_OK;
    if (group > 1 && rows == NULL)
        LT_FAIL(LT_ENOMEM, "%s: %s: no memory", f->path, s->seen.name);
    for (int64_t first = 0; first < c.outer; first += group) {
        const int64_t many = c.outer - first < group ? c.outer - first : group;
        for (int64_t t = 0; t < c.time; t += s->chunk) {
            const size_t n = (size_t)((c.time - t < s->chunk ? c.time - t : s->chunk) * c.inner);
            LT_TRY_GOTO(chunk_unpack(f, s, t), st, done);
            for (int64_t o = 0; o < many; o++) {
                const float *from = s->plain + (first + o) * s->chunk * c.inner;
                if (rows == NULL)
                    (void)XXH64_update(state, from, n * sizeof *from);
                else
                    memcpy(rows + o * row + t * c.inner, from, n * sizeof *from);
            }
        }
        if (rows != NULL)
            (void)XXH64_update(state, rows, (size_t)(many * row) * sizeof *rows);
    }
done:
    free(rows);
    return st;
}

lt_status lt_latents_values_hash(lt_latents *file, size_t index, uint64_t *out)
{
    assert(index < file->count);
    store_stream *s = &file->streams[index];
    XXH64_state_t *state = XXH64_createState();
    if (state == NULL)
        LT_FAIL(LT_ENOMEM, "%s: %s: no memory", file->path, s->seen.name);
    (void)XXH64_reset(state, 0);
    const lt_status st =
        s->chunk > 0 ? chunks_hash(file, s, state) : contiguous_hash(file, s, state);
    *out = XXH64_digest(state);
    XXH64_freeState(state);
    LT_TRY(st);
    return LT_OK;
}

static lt_status hash_check(lt_latents *f, size_t index)
{
    const store_stream *s = &f->streams[index];
    uint64_t found = 0;
    if (!s->has_hash)
        return LT_OK;
    LT_TRY(lt_latents_values_hash(f, index, &found));
    return found == s->hash ? LT_OK : hash_differs(f, s, found);
}
