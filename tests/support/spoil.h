/* spoil.h - a copy of a small model, and ways to break one thing in it.
 * Every helper fails the test when it finds nothing to break: a row that breaks nothing proves
 * nothing. */
#ifndef LT_TEST_SPOIL_H
#define LT_TEST_SPOIL_H

#include <dirent.h>
#include <jansson.h>

#include "tests/support/run.h"

enum { SPOIL_PATH = 600 };

typedef struct bytes {
    char *data;
    size_t count;
} bytes;

static inline const char *spoil_join(char out[SPOIL_PATH], const char *folder, const char *name)
{
    const int n = snprintf(out, SPOIL_PATH, "%s/%s", folder, name);
    assert_true(n > 0 && n < SPOIL_PATH);
    return out;
}

static inline bytes spoil_read(const char *path)
{
    struct stat info;
    FILE *f = fopen(path, "rb");
    if (f == NULL || stat(path, &info) != 0)
        fail_msg("%s: not there", path);
    bytes b = {malloc((size_t)info.st_size + 1), (size_t)info.st_size};
    assert_non_null(b.data);
    assert_int_equal(fread(b.data, 1, b.count, f), b.count);
    b.data[b.count] = '\0';
    (void)fclose(f);
    return b;
}

static inline void spoil_write(const char *path, const void *data, size_t count)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL)
        fail_msg("%s: cannot be written", path);
    assert_int_equal(fwrite(data, 1, count, f), count);
    assert_int_equal(fclose(f), 0);
}

/* Folders of plain files, as a nano checkpoint is. */
static inline void spoil_copy(const char *from, const char *to)
{
    char a[SPOIL_PATH], b[SPOIL_PATH];
    struct stat info;
    assert_int_equal(mkdir(to, 0777), 0);
    DIR *dir = opendir(from);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (e->d_name[0] == '.')
            continue;
        (void)spoil_join(a, from, e->d_name);
        (void)spoil_join(b, to, e->d_name);
        assert_int_equal(stat(a, &info), 0);
        if (S_ISDIR(info.st_mode)) {
            spoil_copy(a, b);
            continue;
        }
        bytes file = spoil_read(a);
        spoil_write(b, file.data, file.count);
        free(file.data);
    }
    (void)closedir(dir);
}

/* The first of a text in a file becomes another. */
static inline void spoil_replace(const char *path, const char *from, const char *to)
{
    bytes b = spoil_read(path);
    char *at = memmem(b.data, b.count, from, strlen(from));
    if (at == NULL)
        fail_msg("%s: holds no %s", path, from);
    const size_t before = (size_t)(at - b.data), after = b.count - before - strlen(from);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b.data, 1, before, f), before);
    assert_int_equal(fwrite(to, 1, strlen(to), f), strlen(to));
    assert_int_equal(fwrite(at + strlen(from), 1, after, f), after);
    assert_int_equal(fclose(f), 0);
    free(b.data);
}

static inline void spoil_cut(const char *path, size_t drop)
{
    bytes b = spoil_read(path);
    assert_true(b.count > drop);
    assert_int_equal(truncate(path, (off_t)(b.count - drop)), 0);
    free(b.data);
}

/* ---- safetensors ---- */

typedef struct shard {
    bytes file;
    json_t *header;
    size_t data; /* where the data begin */
} shard;

static inline shard shard_read(const char *path)
{
    shard s = {.file = spoil_read(path)};
    uint64_t n = 0;
    memcpy(&n, s.file.data, sizeof n); /* little endian, as the machines of these tests are */
    assert_true(n + 8 <= s.file.count);
    s.header = json_loadb(s.file.data + 8, (size_t)n, 0, NULL);
    assert_non_null(s.header);
    s.data = 8 + (size_t)n;
    return s;
}

/* The header as it is now before the old data, bytes_more of zeros behind them. */
static inline void shard_write(const char *path, shard *s, size_t bytes_more)
{
    char *text = json_dumps(s->header, JSON_COMPACT);
    assert_non_null(text);
    const uint64_t n = strlen(text);
    const size_t data = s->file.count - s->data;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(&n, 1, sizeof n, f), sizeof n);
    assert_int_equal(fwrite(text, 1, (size_t)n, f), (size_t)n);
    assert_int_equal(fwrite(s->file.data + s->data, 1, data, f), data);
    for (size_t i = 0; i < bytes_more; i++)
        (void)fputc(0, f);
    assert_int_equal(fclose(f), 0);
    free(text);
    json_decref(s->header);
    free(s->file.data);
}

static inline json_t *shard_tensor(const shard *s, const char *name)
{
    json_t *t = json_object_get(s->header, name);
    if (t == NULL)
        fail_msg("no tensor %s", name);
    return t;
}

/* One member of a tensor's entry becomes the given JSON. */
static inline void shard_set(const char *path, const char *tensor, const char *member,
                             const char *json)
{
    shard s = shard_read(path);
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    assert_non_null(json_object_get(shard_tensor(&s, tensor), member));
    assert_int_equal(json_object_set_new(shard_tensor(&s, tensor), member, value), 0);
    shard_write(path, &s, 0);
}

/* One f32 value of a tensor. */
static inline void shard_poke(const char *path, const char *tensor, size_t index, float value)
{
    shard s = shard_read(path);
    json_t *offsets = json_object_get(shard_tensor(&s, tensor), "data_offsets");
    const size_t at = s.data + (size_t)json_integer_value(json_array_get(offsets, 0)) + 4 * index;
    assert_true(at + 4 <= s.data + (size_t)json_integer_value(json_array_get(offsets, 1)));
    memcpy(s.file.data + at, &value, sizeof value);
    spoil_write(path, s.file.data, s.file.count);
    json_decref(s.header);
    free(s.file.data);
}

#endif
