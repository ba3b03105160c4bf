/* state_write.c - a state file is written from front to end, hashed on its way: memory of two
 * blocks, whatever the arrays' size. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_c_literalCompressionMode */
#include <zstd.h>

#include "base/json.h"
#include "base/new_file.h"
#include "run/state/state_internal.h"

/* Latents are noise but for their exponents, which the shuffle lays side by side: what is to be had
 * is had by coding those bytes by how frequent they are. So hardly a search for what repeats (a
 * level far below 0, which finds runs), and Huffman codes, which such levels leave out unless
 * asked, for the plane of signs and exponents alone: the one below would take as long to save a
 * tenth, and the others are noise (bench/LOG.md). */
enum { ZSTD_LEVEL = -100 };

const char *const lt_state_kind_names[LT_STATE_KINDS] = {"latents", "text", "tables"};

void lt_state_put_u32(unsigned char to[4], uint32_t x)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(x >> (8 * i));
}

static void planes(const unsigned char *restrict from, size_t count, size_t width,
                   unsigned char *restrict to)
{
    for (size_t k = 0; k < width; k++)
        for (size_t i = 0; i < count; i++)
            to[k * count + i] = from[i * width + k];
}

/* Written out, so that a compiler makes a few shuffles of vectors of it. */
static void planes_of_4(const unsigned char *restrict from, size_t count,
                        unsigned char *restrict to)
{
    unsigned char *a = to, *b = to + count, *c = to + 2 * count, *d = to + 3 * count;
    for (size_t i = 0; i < count; i++) {
        a[i] = from[4 * i];
        b[i] = from[4 * i + 1];
        c[i] = from[4 * i + 2];
        d[i] = from[4 * i + 3];
    }
}

void lt_state_shuffle(const unsigned char *from, size_t bytes, size_t width, unsigned char *to)
{
    assert(width > 0 && bytes % width == 0);
    if (width == 4)
        planes_of_4(from, bytes / 4, to);
    else
        planes(from, bytes / width, width, to);
}

size_t lt_state_packed_bytes_max(void)
{
    return LT_STATE_WIDTH_MAX * ZSTD_compressBound(LT_STATE_BLOCK_BYTES / LT_STATE_WIDTH_MAX);
}

int64_t lt_state_elements(const lt_state_array *array)
{
    int64_t n = 1;
    for (int i = 0; i < array->ndim; i++)
        n *= array->dim[i];
    return n;
}

/* Its memory is touched anew for each file otherwise, which is half of a small one's time. */
struct lt_state_packer {
    XXH64_state_t *hash;
    ZSTD_CCtx *zstd;
    unsigned char *shuffled, *packed; /* [block], [4 + packed_bytes] */
    size_t packed_bytes;
};

typedef struct writer {
    lt_new_file file;
    const char *path;
    lt_state_packer *p;
    int64_t bytes;
} writer;

lt_status lt_state_packer_new(lt_state_packer **out)
{
    lt_state_packer *p = calloc(1, sizeof *p);
    *out = p;
    if (p != NULL) {
        p->packed_bytes = lt_state_packed_bytes_max();
        p->hash = XXH64_createState();
        p->zstd = ZSTD_createCCtx();
        p->shuffled = malloc(LT_STATE_BLOCK_BYTES);
        p->packed = malloc(p->packed_bytes + 4);
    }
    if (p == NULL || p->hash == NULL || p->zstd == NULL || p->shuffled == NULL ||
        p->packed == NULL) {
        lt_state_packer_free(out);
        LT_FAIL(LT_ENOMEM, "states: no memory to pack them");
    }
    (void)ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    return LT_OK;
}

void lt_state_packer_free(lt_state_packer **packer)
{
    lt_state_packer *p = *packer;
    *packer = NULL;
    if (p == NULL)
        return;
    (void)XXH64_freeState(p->hash);
    (void)ZSTD_freeCCtx(p->zstd);
    free(p->shuffled);
    free(p->packed);
    free(p);
}

static lt_status put(writer *w, const void *data, size_t bytes)
{
    LT_TRY(lt_file_write_full(w->file.fd, w->path, data, bytes));
    (void)XXH64_update(w->p->hash, data, bytes);
    w->bytes += (int64_t)bytes;
    return LT_OK;
}

/* ---- the head ---- */

static json_t *array_json(const lt_state_array *a)
{
    json_t *dims = json_array();
    for (int i = 0; i < a->ndim; i++)
        (void)json_array_append_new(dims, json_integer((json_int_t)a->dim[i]));
    return json_pack("{s:s, s:s, s:o, s:i, s:I, s:I}", "name", a->name, "dtype",
                     lt_dtype_name(a->dtype), "dims", dims, "axis", a->axis, "first",
                     (json_int_t)a->first, "units", (json_int_t)a->units);
}

/* Its text, malloc'ed; NULL: no memory. */
static char *head_text(const lt_state_head *head, const lt_state_array *array, int count)
{
    char job[24];
    const lt_state_place *at = &head->place;
    json_t *arrays = json_array();
    for (int i = 0; i < count; i++)
        (void)json_array_append_new(arrays, array_json(&array[i]));
    (void)snprintf(job, sizeof job, "%016" PRIx64, head->job);
    json_t *json =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:i, s:i, s:I, s:s, s:O?, s:o}", "kind",
                  lt_state_kind_names[head->kind], "job", job, "epoch", (json_int_t)head->epoch,
                  "step", (json_int_t)at->step, "steps", (json_int_t)at->steps, "shot", at->shot,
                  "pass", at->pass, "chunk", (json_int_t)at->chunk, "mode", head->mode, "chosen",
                  head->chosen, "arrays", arrays);
    char *text = json != NULL ? lt_json_text(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}

static lt_status put_head(writer *w, const lt_state_head *head, const lt_state_array *array,
                          int count)
{
    unsigned char start[LT_STATE_START_BYTES];
    char *text = head_text(head, array, count);
    if (text == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for its head", w->path);
    const size_t bytes = strlen(text);
    lt_status st = LT_OK;
    if (bytes > LT_STATE_HEAD_BYTES_MAX)
        LT_FAIL_GOTO(LT_EINTERNAL, st, done, "%s: head: want at most %d bytes, found %zu", w->path,
                     LT_STATE_HEAD_BYTES_MAX, bytes);
    memcpy(start, LT_STATE_MAGIC, LT_STATE_MAGIC_BYTES);
    lt_state_put_u32(start + 8, LT_STATE_VERSION);
    lt_state_put_u32(start + 12, (uint32_t)bytes);
    LT_TRY_GOTO(put(w, start, sizeof start), st, done);
    LT_TRY_GOTO(put(w, text, bytes), st, done);
done:
    free(text);
    return st;
}

/* ---- the arrays ---- */

/* A block: a frame for each plane of its bytes. */
static lt_status pack_block(const writer *w, const char *array, size_t bytes, size_t width,
                            size_t *packed)
{
    const lt_state_packer *p = w->p;
    const size_t count = bytes / width;
    *packed = 0;
    for (size_t k = 0; k < width; k++) {
        const ZSTD_paramSwitch_e codes = k + 1 == width ? ZSTD_ps_enable : ZSTD_ps_disable;
        (void)ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_literalCompressionMode, (int)codes);
        const size_t n = ZSTD_compress2(p->zstd, p->packed + 4 + *packed, p->packed_bytes - *packed,
                                        p->shuffled + k * count, count);
        if (ZSTD_isError(n))
            LT_FAIL(LT_ENOMEM, "%s: array %s: zstd: %s", w->path, array, ZSTD_getErrorName(n));
        *packed += n;
    }
    return LT_OK;
}

static lt_status put_array(writer *w, const lt_state_array *a)
{
    const size_t width = lt_dtype_bytes(a->dtype);
    const size_t all = (size_t)lt_state_elements(a) * width;
    const unsigned char *from = a->data;
    const lt_state_packer *p = w->p;
    for (size_t at = 0; at < all; at += LT_STATE_BLOCK_BYTES) {
        const size_t left = all - at;
        const size_t n = left < LT_STATE_BLOCK_BYTES ? left : LT_STATE_BLOCK_BYTES;
        lt_state_shuffle(from + at, n, width, p->shuffled);
        size_t packed = 0;
        LT_TRY(pack_block(w, a->name, n, width, &packed));
        lt_state_put_u32(p->packed, (uint32_t)packed);
        LT_TRY(put(w, p->packed, packed + 4));
    }
    return LT_OK;
}

static lt_status put_seal(writer *w, lt_state_sum *sum)
{
    char text[LT_STATE_SEAL_BYTES + 1];
    const uint64_t hash = XXH64_digest(w->p->hash);
    (void)snprintf(text, sizeof text, LT_STATE_SEAL "%016" PRIx64, hash);
    LT_TRY(lt_file_write_full(w->file.fd, w->path, text, LT_STATE_SEAL_BYTES));
    if (sum != NULL)
        *sum = (lt_state_sum){w->bytes + LT_STATE_SEAL_BYTES, hash};
    return LT_OK;
}

lt_status lt_state_file_pack(lt_state_packer *packer, const char *path, const lt_state_head *head,
                             const lt_state_array *array, int count, lt_state_sum *sum)
{
    assert(count >= 0 && count <= LT_STATE_ARRAYS_MAX);
    writer w = {.path = path, .p = packer};
    lt_status st = LT_OK;
    (void)XXH64_reset(packer->hash, 0);
    LT_TRY_GOTO(lt_new_file_open(path, &w.file), st, done);
    LT_TRY_GOTO(put_head(&w, head, array, count), st, done);
    for (int i = 0; i < count; i++)
        LT_TRY_GOTO(put_array(&w, &array[i]), st, done);
    LT_TRY_GOTO(put_seal(&w, sum), st, done);
    LT_TRY_GOTO(lt_new_file_place(&w.file, LT_REPLACE), st, done);
done:
    lt_new_file_drop(&w.file);
    return st;
}

lt_status lt_state_file_write(const char *path, const lt_state_head *head,
                              const lt_state_array *array, int count, lt_state_sum *sum)
{
    lt_state_packer *packer = NULL;
    LT_TRY(lt_state_packer_new(&packer));
    const lt_status st = lt_state_file_pack(packer, path, head, array, count, sum);
    lt_state_packer_free(&packer);
    LT_TRY(st);
    return LT_OK;
}
