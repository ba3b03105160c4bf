/* safetensors.c - one .safetensors file, read and written.
 *
 *     0          8                 8 + n                                    file's end
 *     | n: u64le | JSON, n bytes   | tensor | tensor | ...               |
 *                                  ^ data_offsets count from here
 *
 * The header is not to be trusted: every number in it is checked before it is used, and the ranges
 * of the tensors, sorted, must tile the data exactly, as the library of the format demands. So a
 * file that was cut, or whose download went on into another, is seen here and not as a strange
 * picture. The JSON reader refuses names that stand twice, NUL bytes and deep nesting. */
#include "model/files/safetensors.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/new_file.h"
#include "model/files/checkpoint.h"
#include "model/files/lfs_pointer.h"

/* The format's own limit on a header. */
static const uint64_t header_bytes_max = 100000000;

static const int64_t elements_max = (int64_t)1 << 60;

const char *lt_dims_text(const int64_t *dim, int ndim, char *buffer, size_t bytes)
{
    assert(bytes > 0);
    size_t n = 0;
    for (int i = 0; i < ndim && n < bytes; i++) {
        const int more =
            snprintf(buffer + n, bytes - n, "%s%lld", i == 0 ? "[" : ", ", (long long)dim[i]);
        n += more > 0 ? (size_t)more : 0;
    }
    if (n < bytes)
        (void)snprintf(buffer + n, bytes - n, ndim == 0 ? "[]" : "]");
    return buffer;
}

/* ---- the header ---- */

/* Product of the dims times the element size, or a failure where it passes all bounds. A zero among
 * the dims doesn't excuse the others: their product is bounded too, because others multiply them in
 * other orders. */
static lt_status bytes_of(const lt_stored *tensor, const char *path, uint64_t *out)
{
    char text[192];
    int64_t product = 1;
    int empty = 0;
    for (int i = 0; i < tensor->ndim; i++) {
        if (tensor->dim[i] == 0) {
            empty = 1;
            continue;
        }
        if (product > elements_max / tensor->dim[i])
            LT_FAIL(LT_EDATA, "%s: tensor %s: shape %s has more than 2^60 elements", path,
                    tensor->name, lt_dims_text(tensor->dim, tensor->ndim, text, sizeof text));
        product *= tensor->dim[i];
    }
    *out = empty ? 0 : (uint64_t)product * lt_dtype_bytes(tensor->dtype);
    return LT_OK;
}

static lt_status parse_tensor(const lt_json_at *at, const char *name, const char *path,
                              lt_stored *out)
{
    char text[192];
    const char *dtype = NULL;
    size_t ndim = 0, two = 2;
    int64_t offsets[2];
    out->name = strdup(name);
    if (out->name == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for its header", path);
    LT_TRY(lt_json_string(at, "dtype", &dtype));
    if (!lt_dtype_parse(dtype, &out->dtype))
        LT_FAIL(
            LT_EDATA,
            "%s: tensor %s: dtype: want F32, BF16, F16, F64, I32, I64, U8 or U16, found \"%.40s\"",
            path, name, dtype);
    LT_TRY(lt_json_ints(at, "shape", 0, elements_max, out->dim, LT_STORED_DIMS_MAX, &ndim));
    out->ndim = (int)ndim;
    LT_TRY(lt_json_ints(at, "data_offsets", 0, INT64_MAX, offsets, 2, &two));
    out->begin = (uint64_t)offsets[0];
    out->end = (uint64_t)offsets[1];
    uint64_t bytes = 0;
    LT_TRY(bytes_of(out, path, &bytes));
    if (out->end < out->begin || out->end - out->begin != bytes)
        LT_FAIL(LT_EDATA,
                "%s: tensor %s: %s %s is %" PRIu64 " bytes, found data_offsets [%" PRIu64
                ", %" PRIu64 ")",
                path, name, lt_dims_text(out->dim, out->ndim, text, sizeof text), dtype, bytes,
                out->begin, out->end);
    return LT_OK;
}

static lt_status parse_metadata(const json_t *value, const char *path)
{
    const char *key;
    json_t *member;
    if (!json_is_object(value))
        LT_FAIL(LT_EDATA, "%s: __metadata__: want an object of strings", path);
    json_object_foreach ((json_t *)(uintptr_t)value, key, member)
        if (!json_is_string(member))
            LT_FAIL(LT_EDATA, "%s: __metadata__.%s: want a string", path, key);
    return LT_OK;
}

static int by_begin(const void *a, const void *b)
{
    const lt_stored *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The sorted ranges must follow each other from 0 to the end of the data. */
static lt_status tile(const lt_safetensors *file)
{
    uint64_t at = 0;
    /* First, so that it is the tensor with the wild offsets that is named, not its neighbour. */
    for (int64_t i = 0; i < file->count; i++)
        if (file->tensor[i].end > file->data_bytes)
            LT_FAIL(LT_EDATA,
                    "%s: tensor %s: want %" PRIu64 " bytes of data, found %" PRIu64
                    ": the file is cut short or the offsets are wrong",
                    file->path, file->tensor[i].name, file->tensor[i].end, file->data_bytes);
    for (int64_t i = 0; i < file->count; i++) {
        const lt_stored *t = &file->tensor[i];
        if (t->begin != at)
            LT_FAIL(LT_EDATA,
                    "%s: tensor %s: want its data to begin at byte %" PRIu64 ", found %" PRIu64
                    " (%s)",
                    file->path, t->name, at, t->begin,
                    t->begin < at ? "it overlaps the tensor before" : "a hole");
        at = t->end;
    }
    if (at != file->data_bytes)
        LT_FAIL(LT_EDATA,
                "%s: the tensors end at byte %" PRIu64 " of the data, found %" PRIu64 " bytes",
                file->path, at, file->data_bytes);
    return LT_OK;
}

static lt_status parse_all(const json_t *header, lt_safetensors *file)
{
    if (!json_is_object(header))
        LT_FAIL(LT_EDATA, "%s: header: want an object", file->path);
    const lt_json_at root = lt_json_root(header, file->path);
    file->tensor = calloc(json_object_size(header) + 1, sizeof *file->tensor);
    if (file->tensor == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for its header", file->path);
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)header, name, value) {
        if (strcmp(name, "__metadata__") == 0) {
            LT_TRY(parse_metadata(value, file->path));
            continue;
        }
        lt_json_at at;
        LT_TRY(lt_json_member(&root, name, &at));
        LT_TRY(parse_tensor(&at, name, file->path, &file->tensor[file->count++]));
    }
    qsort(file->tensor, (size_t)file->count, sizeof *file->tensor, by_begin);
    LT_TRY(tile(file));
    return LT_OK;
}

/* The checks on a header without its leading length; data_bytes follow it. */
static lt_status parse_header(const char *text, size_t bytes, uint64_t data_bytes, const char *path,
                              lt_safetensors **out)
{
    json_t *header = NULL;
    lt_status st = LT_OK;
    *out = NULL;
    if (bytes == 0 || text[0] != '{')
        LT_FAIL(LT_EDATA, "%s: header: want JSON that begins with '{': is this a safetensors file?",
                path);
    LT_TRY(lt_json_parse(text, bytes, path, &header));
    lt_safetensors *file = calloc(1, sizeof *file);
    if (file != NULL)
        file->data.fd = -1;
    if (file == NULL || (file->path = strdup(path)) == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, failed, "%s: no memory for its header", path);
    file->data_bytes = data_bytes;
    LT_TRY_GOTO(parse_all(header, file), st, failed);
    json_decref(header);
    *out = file;
    return LT_OK;
failed:
    json_decref(header);
    lt_safetensors_close(&file);
    return st;
}

static lt_status open_data(const char *path, const lt_source_file *data, lt_safetensors **out)
{
    unsigned char length[8];
    uint64_t n = 0;
    const uint64_t file_bytes = (uint64_t)data->bytes;
    if (file_bytes < 8)
        LT_FAIL(LT_EDATA, "%s: want a safetensors file, found %" PRIu64 " bytes", path, file_bytes);
    LT_TRY(lt_source_pread(data, path, length, sizeof length, 0));
    for (int i = 7; i >= 0; i--)
        n = n << 8 | length[i];
    if (n > header_bytes_max || n > file_bytes - 8)
        LT_FAIL(LT_EDATA,
                "%s: header length: want at most %" PRIu64 " bytes (the file has %" PRIu64
                "), found %" PRIu64,
                path, header_bytes_max, file_bytes, n);
    char *text = malloc((size_t)n + 1);
    if (text == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for a header of %" PRIu64 " bytes", path, n);
    lt_status st = LT_OK;
    LT_TRY_GOTO(lt_source_pread(data, path, text, (size_t)n, 8), st, done);
    LT_TRY_GOTO(parse_header(text, (size_t)n, file_bytes - 8 - n, path, out), st, done);
    (*out)->data_first = 8 + n;
done:
    free(text);
    return st;
}

lt_status lt_safetensors_open(const char *path, lt_safetensors **out)
{
    lt_source_file data;
    *out = NULL;
    LT_TRY(lt_source_open(path, &data));
    const lt_status st = open_data(path, &data, out);
    if (st != LT_OK) {
        lt_source_close(&data);
        if (lt_is_lfs_pointer(path)) {
            lt_error_clear();
            return lt_lfs_pointer_fail(path);
        }
        return lt_error_trace(st, "open_data", __FILE__, __LINE__);
    }
    (*out)->data = data;
    return LT_OK;
}

void lt_safetensors_close(lt_safetensors **file)
{
    lt_safetensors *f = *file;
    if (f == NULL)
        return;
    lt_source_close(&f->data);
    for (int64_t i = 0; i < f->count; i++)
        free(f->tensor[i].name);
    free(f->tensor);
    free(f->path);
    free(f);
    *file = NULL;
}

/* ---- writing ---- */

/* Wide elements first, so that every tensor lies at a multiple of its element: readers that map the
 * file want that. Among equal widths the caller's order stays. */
static void write_order(const lt_tensor *tensors, int count, int *order)
{
    int n = 0;
    for (size_t width = 8; width >= 1; width /= 2)
        for (int i = 0; i < count; i++)
            if (lt_dtype_bytes(tensors[i].dtype) == width)
                order[n++] = i;
    assert(n == count);
}

static json_t *header_of(const lt_tensor *tensors, int count, const int *order)
{
    json_t *header = json_object();
    uint64_t at = 0;
    for (int i = 0; header != NULL && i < count; i++) {
        const lt_tensor *t = &tensors[order[i]];
        assert(t->name != NULL && lt_is_dense(t));
        json_t *shape = json_array();
        for (int k = 0; k < t->ndim; k++)
            (void)json_array_append_new(shape, json_integer(t->dim[k]));
        const uint64_t end = at + lt_tensor_bytes(t);
        json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", lt_dtype_name(t->dtype), "shape",
                                  shape, "data_offsets", (json_int_t)at, (json_int_t)end);
        if (json_object_get(header, t->name) != NULL ||
            json_object_set(header, t->name, entry) != 0) {
            json_decref(header);
            header = NULL;
        }
        json_decref(entry);
        at = end;
    }
    return header;
}

static lt_status write_to(int fd, const char *path, const char *text, const lt_tensor *tensors,
                          int count, const int *order)
{
    static const char spaces[8] = "        ";
    unsigned char length[8];
    const size_t n = strlen(text), pad = (8 - n % 8) % 8;
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)(n + pad) >> (8 * i));
    LT_TRY(lt_file_write_full(fd, path, length, sizeof length));
    LT_TRY(lt_file_write_full(fd, path, text, n));
    LT_TRY(lt_file_write_full(fd, path, spaces, pad));
    for (int i = 0; i < count; i++) {
        const lt_tensor *t = &tensors[order[i]];
        LT_TRY(lt_file_write_full(fd, path, t->data, lt_tensor_bytes(t)));
    }
    return LT_OK;
}

lt_status lt_safetensors_write(const char *path, const lt_tensor *tensors, int count,
                               lt_replace replace)
{
    assert(count >= 0);
    lt_status st = LT_OK;
    char *text = NULL;
    json_t *header = NULL;
    lt_new_file file = {0};
    int *order = malloc(((size_t)count + 1) * sizeof *order);
    if (order == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "%s: no memory for its header", path);
    write_order(tensors, count, order);
    header = header_of(tensors, count, order);
    text = header != NULL ? json_dumps(header, JSON_COMPACT) : NULL;
    if (lt_json_starved())
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "%s: no memory for its header", path);
    if (text == NULL)
        LT_FAIL_GOTO(LT_EINTERNAL, st, done, "%s: tensor names: one stands twice or is not UTF-8",
                     path);
    LT_TRY_GOTO(lt_new_file_open(path, &file), st, done);
    LT_TRY_GOTO(write_to(file.fd, path, text, tensors, count, order), st, done);
    LT_TRY_GOTO(lt_new_file_done(&file, replace), st, done);
done:
    lt_new_file_drop(&file);
    free(text);
    json_decref(header);
    free(order);
    return st;
}
