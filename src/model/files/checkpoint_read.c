/* checkpoint_read.c - slices of tensors out of files.
 *
 * A slice is rows x columns of a tensor seen as [dim0, the rest]. Its rows become runs that lie
 * together in the stored tensor (all of them, but for the original layout's interleaved qkv and
 * swapped halves), and a run becomes reads:
 *
 *     whole rows     one span, in reads that end at multiples of BUFFER_BYTES of the file
 *     some columns   a read a row; only where less than an eighth of the span is gap, the span is
 *                    read and closed up: a rank that takes half of the columns must not read all
 *
 * What has the wanted dtype is read straight to its place, the rest by way of one buffer. Each read
 * is looked through for NaN and Inf while it is in the cache. No mmap: a file that shrinks or a
 * disk that fails must be an error here, not a SIGBUS in a kernel. */
#include "model/files/checkpoint_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/stop.h"
#include "model/files/hash_list.h"
#include "model/files/same_reads.h"

enum { BUFFER_BYTES = LT_CHECKPOINT_BUFFER_BYTES, GAP_SHARE = 8 };

static _Atomic uint64_t bytes_read, reads, bytes_planned;

uint64_t lt_checkpoint_bytes_read(void) { return atomic_load(&bytes_read); }
uint64_t lt_checkpoint_reads(void) { return atomic_load(&reads); }
uint64_t lt_checkpoint_bytes_planned(void) { return atomic_load(&bytes_planned); }

lt_slice lt_slice_whole(lt_dims dims)
{
    assert(dims.ndim >= 1 && dims.ndim <= LT_DIMS_MAX);
    lt_slice slice = {{0, dims.dim[0]}, {0, 1}};
    for (int i = 1; i < dims.ndim; i++)
        slice.columns.count *= dims.dim[i];
    return slice;
}

static int is_float(lt_dtype dtype)
{
    return dtype == LT_F32 || dtype == LT_BF16 || dtype == LT_F16 || dtype == LT_F64;
}

static lt_status find_checked(lt_checkpoint *c, const char *name, lt_dims dims, lt_entry **out)
{
    char want[192], found[192];
    int64_t dim[LT_STORED_DIMS_MAX];
    assert(dims.ndim >= 1 && dims.ndim <= LT_DIMS_MAX);
    lt_entry *e = lt_entry_find(c, name);
    if (e == NULL)
        LT_FAIL(LT_EDATA, "%s: tensor %s is missing: want %s", c->path, name,
                lt_dims_text(dims.dim, dims.ndim, want, sizeof want));
    const int ndim = lt_entry_dims(e, dim);
    int same = ndim == dims.ndim;
    for (int i = 0; same && i < ndim; i++)
        same = dim[i] == dims.dim[i];
    if (!same)
        LT_FAIL(LT_EDATA, "%s: tensor %s: want %s, found %s", e->file->path, name,
                lt_dims_text(dims.dim, dims.ndim, want, sizeof want),
                lt_dims_text(dim, ndim, found, sizeof found));
    const int per_head = e->rows == LT_ROWS_Q || e->rows == LT_ROWS_K || e->rows == LT_ROWS_V;
    if (per_head && (c->map.width <= 0 || dim[0] % c->map.width != 0))
        LT_FAIL(LT_EDATA,
                "%s: tensor %s: want a multiple of %lld rows (the head width) for each of q, k, v, "
                "found %lld",
                e->file->path, name, (long long)c->map.width, (long long)dim[0]);
    *out = e;
    return LT_OK;
}

static lt_status kind_checked(const lt_entry *e, const char *name, lt_dtype want)
{
    const lt_dtype found = e->stored->dtype;
    if (found == want || (is_float(found) && is_float(want)))
        return LT_OK;
    LT_FAIL(LT_EDATA, "%s: tensor %s: dtype: want %s, found %s", e->file->path, name,
            is_float(want) ? "F32, BF16, F16 or F64" : lt_dtype_name(want), lt_dtype_name(found));
}

/* Once for each shard: when it is planned for, so before work, or else when it is first read. */
static lt_status compare_once(const lt_checkpoint *c, const lt_safetensors *file)
{
    for (int i = 0; i < c->shard_count; i++)
        if (c->shard[i] == file && !file->is_compared) {
            LT_TRY(lt_hash_list_check(&file->data, file->path));
            c->shard[i]->is_compared = 1;
        }
    return LT_OK;
}

lt_status lt_checkpoint_check(lt_checkpoint *checkpoint, const char *name, lt_dims dims)
{
    lt_entry *e = NULL;
    LT_TRY(find_checked(checkpoint, name, dims, &e));
    LT_TRY(kind_checked(e, name, LT_F32));
    LT_TRY(compare_once(checkpoint, e->file));
    e->used = 1;
    return LT_OK;
}

lt_status lt_checkpoint_list(lt_checkpoint *checkpoint, const char *name, lt_dims dims,
                             int is_loaded)
{
    LT_TRY(lt_checkpoint_check(checkpoint, name, dims));
    lt_entry *e = lt_entry_find(checkpoint, name);
    checkpoint->has_list = 1;
    e->is_listed = 1;
    e->is_loaded |= is_loaded;
    return LT_OK;
}

lt_status lt_checkpoint_load(lt_checkpoint *checkpoint, const char *name, lt_dims dims)
{
    LT_TRY(lt_checkpoint_check(checkpoint, name, dims));
    lt_entry *e = lt_entry_find(checkpoint, name);
    if (checkpoint->has_list && !e->is_listed)
        LT_FAIL(LT_EINTERNAL, "%s: tensor '%s': it is loaded, but not in its network's list",
                checkpoint->path, name);
    e->is_loaded = 1;
    return LT_OK;
}

const char *lt_checkpoint_unloaded(const lt_checkpoint *checkpoint)
{
    for (int64_t i = 0; i < checkpoint->entry_count; i++)
        if (checkpoint->entry[i].is_listed && !checkpoint->entry[i].is_loaded)
            return checkpoint->entry[i].name;
    return NULL;
}

lt_status lt_checkpoint_plan(lt_checkpoint *checkpoint, const char *name, lt_dims dims,
                             lt_slice slice, lt_dtype want)
{
    lt_entry *e = NULL;
    LT_TRY(find_checked(checkpoint, name, dims, &e));
    LT_TRY(kind_checked(e, name, want));
    LT_TRY(compare_once(checkpoint, e->file));
    e->used = e->is_loaded = 1;
    (void)atomic_fetch_add(&bytes_planned, (uint64_t)(slice.rows.count * slice.columns.count) *
                                               lt_dtype_bytes(e->stored->dtype));
    return LT_OK;
}

/* ---- reading ---- */

typedef struct reader {
    const lt_entry *entry;
    const char *name;
    lt_slice slice;
    int64_t row_elements;        /* of the stored tensor */
    size_t from_bytes, to_bytes; /* of an element */
    lt_dtype want;
    char *to;     /* where the next element goes */
    int64_t done; /* elements delivered, in the slice's order */
    char *buffer;
    XXH3_state_t *hash; /* of the stored bytes; NULL: not wanted */
} reader;

/* Index of the first NaN or Inf, or -1. Two-byte floats, nearly all of what is read, go by blocks
 * that vectorise; the exact place is looked for only where a block has one. */
static int64_t first_not_finite(const void *x, lt_dtype dtype, size_t count)
{
    enum { BLOCK = 2048 };
    if (dtype != LT_BF16 && dtype != LT_F16)
        return lt_first_not_finite(x, dtype, count);
    const uint16_t exponent = dtype == LT_BF16 ? 0x7f80u : 0x7c00u;
    for (size_t first = 0; first < count; first += BLOCK) {
        const size_t n = count - first < BLOCK ? count - first : BLOCK;
        const char *block = (const char *)x + 2 * first;
        uint16_t bad = 0;
        for (size_t i = 0; i < n; i++) {
            uint16_t u;
            memcpy(&u, block + 2 * i, sizeof u);
            bad |= (uint16_t)((u & exponent) == exponent);
        }
        const int64_t at = bad ? lt_first_not_finite(block, dtype, n) : -1;
        if (at >= 0)
            return (int64_t)first + at;
    }
    return -1;
}

static lt_status deliver(reader *r, const void *from, int64_t count)
{
    const lt_dtype stored = r->entry->stored->dtype;
    const int64_t bad = is_float(stored) ? first_not_finite(from, stored, (size_t)count) : -1;
    if (bad >= 0) {
        assert(r->slice.columns.count > 0);
        const int64_t at = r->done + bad;
        LT_FAIL(LT_EDATA,
                "%s: tensor %s: element [%lld, %lld]: want a finite number, found NaN or Inf",
                r->entry->file->path, r->name,
                (long long)(r->slice.rows.first + at / r->slice.columns.count),
                (long long)(r->slice.columns.first + at % r->slice.columns.count));
    }
    if (r->hash != NULL)
        (void)XXH3_64bits_update(r->hash, from, (size_t)count * r->from_bytes);
    if (from != (const void *)r->to)
        lt_convert(from, stored, r->to, r->want, (size_t)count);
    r->to += (size_t)count * r->to_bytes;
    r->done += count;
    return LT_OK;
}

static lt_status fetch(const reader *r, void *to, uint64_t element, size_t bytes)
{
    const lt_safetensors *file = r->entry->file;
    const uint64_t offset = file->data_first + r->entry->stored->begin + element * r->from_bytes;
    LT_TRY(lt_source_pread(&file->data, file->path, to, bytes, (int64_t)offset));
    (void)atomic_fetch_add(&bytes_read, bytes);
    (void)atomic_fetch_add(&reads, 1);
    return LT_OK;
}

/* count elements that lie together, from this one of the stored tensor on. */
static lt_status read_span(reader *r, uint64_t element, int64_t count)
{
    const uint64_t base = r->entry->file->data_first + r->entry->stored->begin;
    while (count > 0) {
        const uint64_t offset = base + element * r->from_bytes;
        const uint64_t to_cut = BUFFER_BYTES - offset % BUFFER_BYTES;
        int64_t n = (int64_t)(to_cut / r->from_bytes);
        if (n == 0) /* an element lies across the cut: data need not be aligned */
            n = 1;
        if (n > count)
            n = count;
        void *to = r->want == r->entry->stored->dtype ? r->to : r->buffer;
        LT_TRY(fetch(r, to, element, (size_t)n * r->from_bytes));
        LT_TRY(deliver(r, to, n));
        element += (uint64_t)n;
        count -= n;
    }
    return LT_OK;
}

/* Some columns of rows whose gaps are small: as many rows at a time as a buffer holds. */
static lt_status read_closing_up(reader *r, int64_t row, int64_t rows)
{
    const size_t row_bytes = (size_t)r->row_elements * r->from_bytes;
    const size_t taken_bytes = (size_t)r->slice.columns.count * r->from_bytes;
    const int64_t at_a_time = (int64_t)(BUFFER_BYTES / row_bytes);
    assert(at_a_time > 0);
    for (int64_t i = 0; i < rows; i += at_a_time) {
        const int64_t n = rows - i < at_a_time ? rows - i : at_a_time;
        const uint64_t element = (uint64_t)((row + i) * r->row_elements + r->slice.columns.first);
        LT_TRY(fetch(r, r->buffer, element, (size_t)(n - 1) * row_bytes + taken_bytes));
        for (int64_t k = 1; k < n; k++)
            memmove(r->buffer + (size_t)k * taken_bytes, r->buffer + (size_t)k * row_bytes,
                    taken_bytes);
        LT_TRY(deliver(r, r->buffer, n * r->slice.columns.count));
    }
    return LT_OK;
}

static lt_status read_run(reader *r, int64_t row, int64_t rows)
{
    const int64_t taken = r->slice.columns.count, gap = r->row_elements - taken;
    if (gap == 0) {
        LT_TRY(read_span(r, (uint64_t)(row * r->row_elements), rows * taken));
        return LT_OK;
    }
    if (gap <= taken / GAP_SHARE && (uint64_t)r->row_elements * r->from_bytes <= BUFFER_BYTES) {
        LT_TRY(read_closing_up(r, row, rows));
        return LT_OK;
    }
    for (int64_t i = 0; i < rows; i++)
        LT_TRY(
            read_span(r, (uint64_t)((row + i) * r->row_elements + r->slice.columns.first), taken));
    return LT_OK;
}

void lt_checkpoint_rest(lt_checkpoint *checkpoint)
{
    free(checkpoint->buffer);
    checkpoint->buffer = NULL;
}

static lt_status read_rows(reader *r, int64_t width, int64_t out_rows)
{
    const int64_t end = r->slice.rows.first + r->slice.rows.count;
    for (int64_t row = r->slice.rows.first; row < end;) {
        int64_t stored_row = 0;
        const int64_t n =
            lt_mapped_run(r->entry->rows, out_rows, width, row, end - row, &stored_row);
        LT_TRY(read_run(r, stored_row, n));
        row += n;
    }
    return LT_OK;
}

/* The same slice has the same key on every rank. */
static lt_status note(const lt_checkpoint *c, const reader *r)
{
    const int64_t place[4] = {r->slice.rows.first, r->slice.rows.count, r->slice.columns.first,
                              r->slice.columns.count};
    uint64_t key = XXH3_64bits(c->path, strlen(c->path));
    key = XXH3_64bits_withSeed(r->name, strlen(r->name), key);
    key = XXH3_64bits_withSeed(place, sizeof place, key);
    return lt_same_reads_add(key, XXH3_64bits_digest(r->hash), r->entry->file->path, r->name);
}

lt_status lt_checkpoint_read(lt_checkpoint *checkpoint, const char *name, lt_dims dims,
                             lt_slice slice, lt_dtype want, void *to)
{
    lt_entry *e = NULL;
    LT_TRY(find_checked(checkpoint, name, dims, &e));
    LT_TRY(kind_checked(e, name, want));
    const lt_slice whole = lt_slice_whole(dims);
    assert(slice.rows.first >= 0 && slice.rows.count >= 0 && slice.columns.first >= 0 &&
           slice.columns.count >= 0);
    assert(slice.rows.first <= whole.rows.count - slice.rows.count);
    assert(slice.columns.first <= whole.columns.count - slice.columns.count);
    e->used = e->is_loaded = 1;
    if (slice.rows.count == 0 || slice.columns.count == 0)
        return LT_OK;
    LT_TRY(lt_stop_check()); /* loading ends here like for a damaged file: all ranks learn it */
    if (checkpoint->buffer == NULL &&
        (checkpoint->buffer = aligned_alloc(4096, BUFFER_BYTES)) == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %d bytes to read into", checkpoint->path,
                (int)BUFFER_BYTES);
    reader r = {.entry = e,
                .name = name,
                .slice = slice,
                .row_elements = whole.columns.count,
                .want = want};
    r.from_bytes = lt_dtype_bytes(e->stored->dtype);
    r.to_bytes = lt_dtype_bytes(want);
    r.to = to;
    r.buffer = checkpoint->buffer;
    LT_TRY(compare_once(checkpoint, e->file));
    lt_status st = LT_OK;
    if (lt_same_reads_is_on()) {
        r.hash = XXH3_createState();
        if (r.hash == NULL)
            LT_FAIL(LT_ENOMEM, "%s: no memory for a hash", checkpoint->path);
        (void)XXH3_64bits_reset(r.hash);
    }
    LT_TRY_GOTO(read_rows(&r, checkpoint->map.width, dims.dim[0]), st, done);
    LT_TRY_GOTO(lt_source_unchanged(&e->file->data, e->file->path), st, done);
    if (r.hash != NULL)
        LT_TRY_GOTO(note(checkpoint, &r), st, done);
done:
    (void)XXH3_freeState(r.hash);
    return st;
}
