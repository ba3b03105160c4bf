/* scratch.h - a folder of a test's own, and raw .safetensors files in it.
 * All of it is removed by scratch_free; a test that fails leaves it for a look. */
#ifndef LT_TEST_SCRATCH_H
#define LT_TEST_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct scratch {
    char folder[64];
} scratch;

static inline void scratch_new(scratch *s)
{
    (void)snprintf(s->folder, sizeof s->folder, "/tmp/longtake-test-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
}

/* A path inside, good until the fourth next call. */
static inline const char *scratch_path(const scratch *s, const char *name)
{
    static char path[4][512];
    static int turn;
    turn = (turn + 1) % 4;
    (void)snprintf(path[turn], sizeof path[turn], "%s/%s", s->folder, name);
    return path[turn];
}

static inline void scratch_folder(const scratch *s, const char *name)
{
    assert_int_equal(mkdir(scratch_path(s, name), 0777), 0);
}

static inline void scratch_write(const scratch *s, const char *name, const void *data, size_t bytes)
{
    FILE *f = fopen(scratch_path(s, name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

static inline void scratch_text(const scratch *s, const char *name, const char *text)
{
    scratch_write(s, name, text, strlen(text));
}

/* length (-1: the header's own), header, data. */
static inline void scratch_safetensors(const scratch *s, const char *name, int64_t length,
                                       const char *header, const void *data, size_t bytes)
{
    const uint64_t n = length < 0 ? strlen(header) : (uint64_t)length;
    unsigned char le[8];
    for (int i = 0; i < 8; i++)
        le[i] = (unsigned char)(n >> (8 * i));
    FILE *f = fopen(scratch_path(s, name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(le, 1, 8, f), 8);
    assert_int_equal(fwrite(header, 1, strlen(header), f), strlen(header));
    if (bytes > 0)
        assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

/* How often a word stands in a text. */
static inline int count_of(const char *text, const char *word)
{
    int n = 0;
    while ((text = strstr(text, word)) != NULL) {
        n++;
        text++;
    }
    return n;
}

static inline int scratch_remove_one(const char *path, const struct stat *info, int kind,
                                     struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void scratch_free(scratch *s)
{
    assert_int_equal(nftw(s->folder, scratch_remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

#endif
