/* state_read.c - a state file, read from front to end; nothing in it is believed before it is
 * checked against what else is there.
 *
 * Sizes: the head's against its limit and the file; dims against a limit for their product, so that
 * no multiplication wraps; a block's packed size against what one can take at most, and what its
 * frames say to unpack to against the block. So a reader's memory is one block, packed and
 * plain. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_findDecompressedSize */
#include <zstd.h>

#include "base/json.h"
#include "run/state/state_internal.h"

struct lt_state_reader {
    char *path;
    int fd;
    int64_t at, body; /* where the next byte is; where the seal begins */
    lt_state_head head;
    lt_state_array array[LT_STATE_ARRAYS_MAX];
    int count;
    int next;          /* array */
    int64_t next_from; /* element of it */
    XXH64_state_t *hash;
    ZSTD_DCtx *zstd;
    unsigned char *packed, *shuffled, *plain;
    size_t packed_bytes;
    lt_state_sum sum;
};

uint32_t lt_state_get_u32(const unsigned char from[4])
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

void lt_state_unshuffle(const unsigned char *from, size_t bytes, size_t width, unsigned char *to)
{
    assert(width > 0 && bytes % width == 0);
    const size_t count = bytes / width;
    for (size_t k = 0; k < width; k++)
        for (size_t i = 0; i < count; i++)
            to[i * width + k] = from[k * count + i];
}

/* The next bytes of the body. what: for messages. */
static lt_status take(lt_state_reader *r, const char *what, void *to, size_t bytes)
{
    if ((int64_t)bytes > r->body - r->at)
        LT_FAIL(LT_EDATA, "%s: %s: want %zu bytes at offset %lld, found %lld: cut short", r->path,
                what, bytes, (long long)r->at, (long long)(r->body - r->at));
    LT_TRY(lt_file_pread_full(r->fd, r->path, to, bytes, r->at));
    (void)XXH64_update(r->hash, to, bytes);
    r->at += (int64_t)bytes;
    return LT_OK;
}

/* ---- the head ---- */

static lt_status read_hash(const lt_json_at *at, const char *key, uint64_t *out)
{
    const char *text = NULL;
    LT_TRY(lt_json_string(at, key, &text));
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        LT_FAIL(LT_EDATA, "%s: %s: want 16 hexadecimal digits, found '%.20s'", at->source, key,
                text);
    *out = strtoull(text, NULL, 16);
    return LT_OK;
}

static lt_status read_word(const lt_json_at *at, const char *key, char out[LT_STATE_WORD_BYTES])
{
    const char *text = NULL;
    LT_TRY(lt_json_string(at, key, &text));
    if (strlen(text) >= LT_STATE_WORD_BYTES)
        LT_FAIL(LT_EDATA, "%s: %s%s%s: want fewer than %d bytes, found %zu", at->source, at->path,
                at->path[0] != '\0' ? "." : "", key, LT_STATE_WORD_BYTES, strlen(text));
    (void)snprintf(out, LT_STATE_WORD_BYTES, "%s", text);
    return LT_OK;
}

static lt_status read_kind(const lt_json_at *at, lt_state_kind *out)
{
    char word[LT_STATE_WORD_BYTES];
    LT_TRY(read_word(at, "kind", word));
    for (int i = 0; i < LT_STATE_KINDS; i++)
        if (strcmp(word, lt_state_kind_names[i]) == 0) {
            *out = (lt_state_kind)i;
            return LT_OK;
        }
    LT_FAIL(LT_EDATA, "%s: kind: want latents, text or tables, found '%s'", at->source, word);
}

static lt_status read_place(const lt_json_at *at, lt_state_place *out)
{
    int64_t shot = 0, pass = 0;
    LT_TRY(lt_json_int(at, "steps", 0, INT32_MAX, &out->steps));
    LT_TRY(lt_json_int(at, "step", 0, out->steps, &out->step));
    LT_TRY(lt_json_int(at, "shot", 0, INT32_MAX, &shot));
    LT_TRY(lt_json_int(at, "pass", 0, 1, &pass));
    LT_TRY(lt_json_int(at, "chunk", 0, INT32_MAX, &out->chunk));
    out->shot = (int)shot;
    out->pass = (int)pass;
    return LT_OK;
}

static lt_status read_dims(const lt_json_at *at, lt_state_array *out)
{
    size_t count = 0;
    int64_t elements = 1, axis = 0;
    LT_TRY(lt_json_ints(at, "dims", 0, LT_STATE_ELEMENTS_MAX, out->dim, LT_STATE_DIMS_MAX, &count));
    if (count == 0)
        LT_FAIL(LT_EDATA, "%s: %s.dims: want 1 to %d numbers, found none", at->source, at->path,
                LT_STATE_DIMS_MAX);
    out->ndim = (int)count;
    for (int i = 0; i < out->ndim; i++) {
        if (out->dim[i] > 0 && elements > LT_STATE_ELEMENTS_MAX / out->dim[i])
            LT_FAIL(LT_EDATA, "%s: %s.dims: want a product of at most %lld, found more", at->source,
                    at->path, (long long)LT_STATE_ELEMENTS_MAX);
        elements *= out->dim[i];
    }
    LT_TRY(lt_json_int(at, "axis", 0, out->ndim - 1, &axis));
    out->axis = (int)axis;
    LT_TRY(lt_json_int(at, "units", out->dim[axis], LT_STATE_ELEMENTS_MAX, &out->units));
    LT_TRY(lt_json_int(at, "first", 0, out->units - out->dim[axis], &out->first));
    return LT_OK;
}

static lt_status read_array(const lt_json_at *at, lt_state_array *out)
{
    char dtype[LT_STATE_WORD_BYTES];
    LT_TRY(read_word(at, "name", out->name));
    LT_TRY(read_word(at, "dtype", dtype));
    if (!lt_dtype_parse(dtype, &out->dtype))
        LT_FAIL(LT_EDATA, "%s: %s.dtype: want a type of safetensors, found '%s'", at->source,
                at->path, dtype);
    LT_TRY(read_dims(at, out));
    return LT_OK;
}

static lt_status read_arrays(const lt_json_at *at, lt_state_reader *r)
{
    lt_json_at list, one;
    LT_TRY(lt_json_member(at, "arrays", &list));
    if (!json_is_array(list.value) || json_array_size(list.value) > LT_STATE_ARRAYS_MAX)
        LT_FAIL(LT_EDATA, "%s: arrays: want a list of at most %d, found %s", at->source,
                LT_STATE_ARRAYS_MAX, json_is_array(list.value) ? "more" : "something else");
    r->count = (int)json_array_size(list.value);
    for (int i = 0; i < r->count; i++) {
        LT_TRY(lt_json_element(&list, (size_t)i, &one));
        LT_TRY(read_array(&one, &r->array[i]));
    }
    return LT_OK;
}

static lt_status read_fields(const lt_json_at *at, lt_state_reader *r)
{
    lt_json_at chosen;
    LT_TRY(read_kind(at, &r->head.kind));
    LT_TRY(read_hash(at, "job", &r->head.job));
    LT_TRY(lt_json_int(at, "epoch", 0, INT32_MAX, &r->head.epoch));
    LT_TRY(read_place(at, &r->head.place));
    LT_TRY(read_word(at, "mode", r->head.mode));
    LT_TRY(read_arrays(at, r));
    if (!lt_json_has(at, "chosen"))
        return LT_OK;
    LT_TRY(lt_json_member(at, "chosen", &chosen));
    if (!json_is_object(chosen.value))
        LT_FAIL(LT_EDATA, "%s: chosen: want an object, found something else", at->source);
    r->head.chosen = json_incref((json_t *)(uintptr_t)chosen.value);
    return LT_OK;
}

static lt_status read_start(lt_state_reader *r, uint32_t *head_bytes)
{
    unsigned char start[LT_STATE_START_BYTES];
    if (r->body < LT_STATE_START_BYTES)
        LT_FAIL(LT_EDATA, "%s: want a state file, found %lld bytes: cut short", r->path,
                (long long)r->body + LT_STATE_SEAL_BYTES);
    LT_TRY(take(r, "start", start, sizeof start));
    if (memcmp(start, LT_STATE_MAGIC, LT_STATE_MAGIC_BYTES) != 0)
        LT_FAIL(LT_EDATA, "%s: magic: want a state file of ours, found something else", r->path);
    const uint32_t version = lt_state_get_u32(start + 8);
    if (version != LT_STATE_VERSION)
        LT_FAIL(LT_EDATA, "%s: version: want %d, found %" PRIu32, r->path, LT_STATE_VERSION,
                version);
    *head_bytes = lt_state_get_u32(start + 12);
    if (*head_bytes > LT_STATE_HEAD_BYTES_MAX)
        LT_FAIL(LT_EDATA, "%s: head: want at most %d bytes, found %" PRIu32, r->path,
                LT_STATE_HEAD_BYTES_MAX, *head_bytes);
    if ((int64_t)*head_bytes > r->body - r->at)
        LT_FAIL(LT_EDATA, "%s: head: want %" PRIu32 " bytes, found %lld: cut short", r->path,
                *head_bytes, (long long)(r->body - r->at));
    return LT_OK;
}

static lt_status read_head(lt_state_reader *r)
{
    uint32_t bytes = 0;
    json_t *json = NULL;
    LT_TRY(read_start(r, &bytes));
    char *text = malloc((size_t)bytes + 1);
    if (text == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for a head of %" PRIu32 " bytes", r->path, bytes);
    lt_status st = take(r, "head", text, bytes);
    if (st == LT_OK)
        st = lt_json_parse(text, bytes, r->path, &json);
    free(text);
    LT_TRY(st);
    const lt_json_at at = lt_json_root(json, r->path);
    st = read_fields(&at, r);
    json_decref(json);
    LT_TRY(st);
    return LT_OK;
}

/* ---- open, close ---- */

static lt_status reader_open(lt_state_reader *r)
{
    struct stat info;
    r->fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (r->fd < 0)
        return lt_file_unopened(r->path, errno);
    if (fstat(r->fd, &info) != 0 || !S_ISREG(info.st_mode))
        LT_FAIL(LT_ENOINPUT, "%s: want a regular file", r->path);
    r->body = (int64_t)info.st_size - LT_STATE_SEAL_BYTES;
    r->packed_bytes = lt_state_packed_bytes_max();
    r->hash = XXH64_createState();
    if (r->hash == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory to read it", r->path);
    (void)XXH64_reset(r->hash, 0);
    LT_TRY(read_head(r));
    return LT_OK;
}

lt_status lt_state_reader_open(const char *path, lt_state_reader **out)
{
    *out = NULL;
    lt_state_reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory to read it", path);
    r->fd = -1;
    r->path = strdup(path);
    lt_status st = LT_OK;
    if (r->path == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "%s: no memory to read it", path);
    if (st == LT_OK)
        st = reader_open(r);
    if (st != LT_OK)
        lt_state_reader_close(&r);
    *out = r;
    return st;
}

void lt_state_reader_close(lt_state_reader **reader)
{
    lt_state_reader *r = *reader;
    *reader = NULL;
    if (r == NULL)
        return;
    if (r->fd >= 0)
        (void)close(r->fd);
    json_decref(r->head.chosen);
    (void)XXH64_freeState(r->hash);
    (void)ZSTD_freeDCtx(r->zstd);
    free(r->packed);
    free(r->shuffled);
    free(r->plain);
    free(r->path);
    free(r);
}

const lt_state_head *lt_state_reader_head(const lt_state_reader *r) { return &r->head; }
int lt_state_reader_count(const lt_state_reader *r) { return r->count; }

const lt_state_array *lt_state_reader_array(const lt_state_reader *r, int index)
{
    assert(index >= 0 && index < r->count);
    return &r->array[index];
}

/* ---- blocks ---- */

/* Memory for blocks comes with the first of them: a look at the head takes none. */
static lt_status blocks_begin(lt_state_reader *r)
{
    if (r->zstd != NULL)
        return LT_OK;
    r->packed = malloc(r->packed_bytes);
    r->shuffled = malloc(LT_STATE_BLOCK_BYTES);
    r->plain = malloc(LT_STATE_BLOCK_BYTES);
    if (r->packed != NULL && r->shuffled != NULL && r->plain != NULL)
        r->zstd = ZSTD_createDCtx();
    if (r->zstd == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for a block", r->path);
    return LT_OK;
}

static lt_status read_block(lt_state_reader *r, const lt_state_array *a, size_t bytes)
{
    unsigned char said[4];
    LT_TRY(blocks_begin(r));
    LT_TRY(take(r, a->name, said, sizeof said));
    const uint32_t packed = lt_state_get_u32(said);
    if (packed > r->packed_bytes)
        LT_FAIL(LT_EDATA, "%s: %s: a block: want at most %zu bytes, found %" PRIu32, r->path,
                a->name, r->packed_bytes, packed);
    LT_TRY(take(r, a->name, r->packed, packed));
    const unsigned long long says = ZSTD_findDecompressedSize(r->packed, packed);
    if (says != bytes)
        LT_FAIL(LT_EDATA, "%s: %s: a block: want zstd frames of %zu bytes, found others", r->path,
                a->name, bytes);
    const size_t n = ZSTD_decompressDCtx(r->zstd, r->shuffled, bytes, r->packed, packed);
    if (n != bytes)
        LT_FAIL(LT_EDATA, "%s: %s: a block at offset %lld is damaged: zstd: %s", r->path, a->name,
                (long long)(r->at - (int64_t)packed),
                ZSTD_isError(n) ? ZSTD_getErrorName(n) : "too few bytes");
    lt_state_unshuffle(r->shuffled, bytes, lt_dtype_bytes(a->dtype), r->plain);
    return LT_OK;
}

static lt_status check_seal(lt_state_reader *r)
{
    char text[LT_STATE_SEAL_BYTES + 1] = "", wanted[LT_STATE_SEAL_BYTES + 1];
    if (r->at != r->body)
        LT_FAIL(LT_EDATA, "%s: want the seal at offset %lld, found %lld bytes more", r->path,
                (long long)r->at, (long long)(r->body - r->at));
    LT_TRY(lt_file_pread_full(r->fd, r->path, text, LT_STATE_SEAL_BYTES, r->body));
    r->sum = (lt_state_sum){r->body + LT_STATE_SEAL_BYTES, XXH64_digest(r->hash)};
    (void)snprintf(wanted, sizeof wanted, LT_STATE_SEAL "%016" PRIx64, r->sum.hash);
    if (memcmp(text, wanted, LT_STATE_SEAL_BYTES) != 0)
        LT_FAIL(LT_EDATA,
                "%s: altered since it was written: seal: want xxh64 %016" PRIx64 ", found '%.16s'",
                r->path, r->sum.hash, text + strlen(LT_STATE_SEAL));
    return LT_OK;
}

lt_status lt_state_reader_next(lt_state_reader *r, lt_state_block *out)
{
    *out = (lt_state_block){0};
    while (r->next < r->count && r->next_from == lt_state_elements(&r->array[r->next])) {
        r->next++;
        r->next_from = 0;
    }
    if (r->next == r->count)
        return check_seal(r);
    const lt_state_array *a = &r->array[r->next];
    const int64_t most = LT_STATE_BLOCK_BYTES / (int64_t)lt_dtype_bytes(a->dtype);
    const int64_t left = lt_state_elements(a) - r->next_from;
    const int64_t n = left < most ? left : most;
    LT_TRY(read_block(r, a, (size_t)n * lt_dtype_bytes(a->dtype)));
    *out = (lt_state_block){r->next, r->next_from, n, r->plain};
    r->next_from += n;
    return LT_OK;
}

lt_state_sum lt_state_reader_sum(const lt_state_reader *r)
{
    assert(r->sum.bytes > 0);
    return r->sum;
}

lt_status lt_state_file_check(const char *path, lt_state_sum *sum)
{
    lt_state_reader *r = NULL;
    lt_state_block block;
    LT_TRY(lt_state_reader_open(path, &r));
    lt_status st = LT_OK;
    do
        st = lt_state_reader_next(r, &block);
    while (st == LT_OK && block.count > 0);
    if (st == LT_OK && sum != NULL)
        *sum = r->sum;
    lt_state_reader_close(&r);
    return st;
}
