/* test_store_hdf5.c - latents.h5 there and back, by ranges, and damaged.
 * Goal: the same bits back, whole and by any range of time, however they were put; attributes kept;
 * a missing, foreign, truncated or altered file is an error in one line, never a crash and never
 * other numbers. Method: values from a counter; every damage on a copy in memory. Ranks: 1. Needs:
 * nothing. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "run/store_hdf5.h"

static char folder[64];
static char path[128];

static float value(int64_t i) { return (float)(i * 2654435761u % 1000003u) / 1000003.0f - 0.5f; }

static float *values(int64_t count)
{
    float *x = malloc((size_t)count * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++)
        x[i] = value(i);
    return x;
}

static int64_t product(const lt_latents_stream *s)
{
    int64_t n = 1;
    for (int i = 0; i < s->ndim; i++)
        n *= s->dims[i];
    return n;
}

static const lt_latents_stream shapes[] = {
    /* several chunks: 3 * 40 * 50 floats a frame, 43 frames a chunk */
    {.name = "latents",
     .ndim = 4,
     .dims = {3, 100, 40, 50},
     .time_axis = 1,
     .dims_text = "C T h w",
     .description = "picture",
     .unit = "1"},
    {.name = "audio_latents",
     .ndim = 3,
     .dims = {2, 5, 977},
     .time_axis = 2,
     .dims_text = "2 Ca A"},
    {.name = "one", .ndim = 1, .dims = {1}, .time_axis = 0},                /* the smallest */
    {.name = "shot-01/latents", .ndim = 2, .dims = {7, 3}, .time_axis = 0}, /* in a group */
    /* a frame that is more than a chunk */
    {.name = "wide", .ndim = 3, .dims = {2, 3, 200000}, .time_axis = 1},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void write_all(const json_t *attributes)
{
    lt_latents_stream streams[SHAPES];
    for (size_t i = 0; i < SHAPES; i++) {
        streams[i] = shapes[i];
        streams[i].data = values(product(&shapes[i]));
    }
    if (lt_latents_write(path, streams, SHAPES, attributes) != LT_OK)
        fail_msg("%s", lt_error_text());
    for (size_t i = 0; i < SHAPES; i++)
        free((void *)(uintptr_t)streams[i].data);
}

static void check_range(lt_latents *file, size_t index, const lt_latents_stream *s, int64_t first,
                        int64_t count)
{
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < s->ndim; i++) {
        outer *= i < s->time_axis ? s->dims[i] : 1;
        inner *= i > s->time_axis ? s->dims[i] : 1;
    }
    float *x = malloc((size_t)(outer * count * inner) * sizeof *x);
    assert_non_null(x);
    if (lt_latents_read_range(file, index, first, count, x, (size_t)(outer * count * inner)) !=
        LT_OK)
        fail_msg("%s", lt_error_text());
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < count * inner; i++)
            if (!(x[o * count * inner + i] ==
                  value((o * s->dims[s->time_axis] + first) * inner + i)))
                fail_msg("%s: [%lld, +%lld): element %lld", s->name, (long long)first,
                         (long long)count, (long long)i);
    free(x);
}

static void same_bits_back(void **state)
{
    (void)state;
    write_all(NULL);
    lt_latents *file = NULL;
    assert_int_equal(lt_latents_open(path, 0, &file), LT_OK);
    assert_int_equal(lt_latents_count(file), SHAPES);
    for (size_t i = 0; i < SHAPES; i++) {
        size_t index = 99;
        assert_int_equal(lt_latents_find(file, shapes[i].name, &index), LT_OK);
        const lt_latents_stream *s = lt_latents_stream_at(file, index);
        assert_int_equal(s->ndim, shapes[i].ndim);
        assert_int_equal(s->time_axis, shapes[i].time_axis);
        assert_memory_equal(s->dims, shapes[i].dims, (size_t)s->ndim * sizeof *s->dims);
        assert_string_equal(s->dims_text, shapes[i].dims_text ? shapes[i].dims_text : "");
        assert_string_equal(s->description, shapes[i].description ? shapes[i].description : "");
        float *x = malloc((size_t)product(s) * sizeof *x), *y = values(product(s));
        assert_int_equal(lt_latents_read(file, index, x, (size_t)product(s)), LT_OK);
        assert_memory_equal(x, y, (size_t)product(s) * sizeof *x);
        const int64_t time = s->dims[s->time_axis];
        for (int64_t first = 0; first < time; first += 1 + time / 7)
            for (int64_t count = 0; first + count <= time; count += 1 + time / 3)
                check_range(file, index, s, first, count);
        assert_int_equal(lt_latents_read_range(file, index, 1, time, x, SIZE_MAX), LT_ESHAPE);
        assert_int_equal(lt_latents_read_range(file, index, -1, 1, x, SIZE_MAX), LT_ESHAPE);
        /* a caller's buffer is never written past its end */
        assert_int_equal(lt_latents_read(file, index, x, (size_t)product(s) - 1), LT_ESHAPE);
        free(x);
        free(y);
    }
    size_t index = 0;
    assert_int_equal(lt_latents_find(file, "depth", &index), LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "audio_latents"));
    lt_latents_close(&file);
    lt_latents_close(&file); /* of NULL */
    unlink(path);
}

/* Positions [first, first + count) of a shape whose values count, dense. */
static void put_range(lt_latents_writer *w, size_t index, int64_t first, int64_t count)
{
    const lt_latents_stream *s = &shapes[index];
    const int64_t time = s->dims[s->time_axis];
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < s->ndim; i++) {
        outer *= i < s->time_axis ? s->dims[i] : 1;
        inner *= i > s->time_axis ? s->dims[i] : 1;
    }
    float *x = malloc((size_t)(outer * count * inner) * sizeof *x);
    assert_non_null(x);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < count * inner; i++)
            x[o * count * inner + i] = value((o * time + first) * inner + i);
    if (lt_latents_put(w, index, first, count, x) != LT_OK)
        fail_msg("%s: %s", s->name, lt_error_text());
    free(x);
}

/* Ranges that end inside chunks, from the end to the begin, the datasets in turn. */
static void ranges_in_any_order(void **state)
{
    (void)state;
    static const int64_t pieces = 7;
    lt_latents_writer *w = NULL;
    assert_int_equal(lt_latents_create(path, shapes, SHAPES, NULL, &w), LT_OK);
    for (int64_t k = pieces - 1; k >= 0; k--)
        for (size_t i = 0; i < SHAPES; i++) {
            const int64_t time = shapes[i].dims[shapes[i].time_axis];
            const int64_t first = k * time / pieces, end = (k + 1) * time / pieces;
            put_range(w, i, first, end - first);
        }
    assert_int_equal(access(path, F_OK), -1); /* not there before it is whole */
    if (lt_latents_finish(&w) != LT_OK)
        fail_msg("%s", lt_error_text());
    lt_latents *file = NULL;
    assert_int_equal(lt_latents_open(path, 0, &file), LT_OK);
    for (size_t i = 0; i < SHAPES; i++) {
        const int64_t n = product(&shapes[i]);
        float *x = malloc((size_t)n * sizeof *x);
        assert_non_null(x);
        if (lt_latents_read(file, i, x, (size_t)n) != LT_OK) /* and the hash is that of all */
            fail_msg("%s", lt_error_text());
        for (int64_t k = 0; k < n; k++)
            if (!(x[k] == value(k)))
                fail_msg("%s: element %lld", shapes[i].name, (long long)k);
        free(x);
    }
    lt_latents_close(&file);
    unlink(path);
}

static void what_is_not_put_is_no_file(void **state)
{
    (void)state;
    lt_latents_writer *w = NULL;
    assert_int_equal(lt_latents_create(path, shapes, 2, NULL, &w), LT_OK);
    put_range(w, 0, 0, 100);
    put_range(w, 1, 0, 976);
    assert_int_equal(lt_latents_finish(&w), LT_EINTERNAL);
    assert_null(w);
    assert_non_null(strstr(lt_error_text(), "audio_latents: want 977 positions"));
    assert_int_equal(lt_latents_create(path, shapes, 2, NULL, &w), LT_OK);
    put_range(w, 0, 3, 50);
    lt_latents_abort(&w);
    assert_int_equal(access(path, F_OK), -1);
}

static void attributes_come_back(void **state)
{
    (void)state;
    json_t *given =
        json_pack("{s:s, s:I, s:f, s:b, s:n, s:[i,i], s:s, s:s, s:s}", "prompt",
                  "na\xc3\xafve \xe2\x80\x94 \xf0\x9f\x8e\x88", "seed", (json_int_t)INT64_MAX,
                  "fps", 23.976, "frames", 1, "samples", "width", 320, 192, "model", "", "format",
                  "not yours to set", "mine", "not read");
    char *longest = malloc(200001);
    assert_true(given && longest);
    memset(longest, 'p', 200000); /* more than HDF5's 64 KiB for an attribute in place */
    longest[200000] = '\0';
    json_object_set_new(given, "plan", json_string(longest));
    write_all(given);
    lt_latents *file = NULL;
    assert_int_equal(lt_latents_open(path, 0, &file), LT_OK);
    const json_t *found = lt_latents_attributes(file);
    static const char *const same[] = {"prompt", "seed", "fps", "model", "plan"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (!json_equal(json_object_get(found, same[i]), json_object_get(given, same[i])))
            fail_msg("%s differs", same[i]);
    assert_int_equal(json_integer_value(json_object_get(found, "frames")), 1);
    assert_string_equal(json_string_value(json_object_get(found, "width")), "[320,192]");
    assert_string_equal(json_string_value(json_object_get(found, "format")), LT_LATENTS_FORMAT);
    assert_int_equal(json_integer_value(json_object_get(found, "version")), LT_LATENTS_VERSION);
    assert_null(json_object_get(found, "samples")); /* null: none */
    assert_null(json_object_get(found, "mine"));    /* in the file, but nobody asks for it */
    json_decref(given);
    free(longest);
    lt_latents_close(&file);
    unlink(path);
}

static void put_file(const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    fclose(f);
}

/* Open and read all; a file that passes must give the right numbers. Returns the first error. */
static lt_status read_all(void)
{
    lt_latents *file = NULL;
    LT_TRY(lt_latents_open(path, 0, &file));
    lt_status status = LT_OK;
    for (size_t i = 0; i < lt_latents_count(file) && status == LT_OK; i++) {
        const lt_latents_stream *s = lt_latents_stream_at(file, i);
        const int64_t n = product(s);
        float *x = n <= 1 << 20 ? malloc((size_t)n * sizeof *x) : NULL;
        if (!x) { /* an altered shape: a caller compares it with its job before it takes memory */
            status = LT_EDATA;
            break;
        }
        status = lt_latents_read(file, i, x, (size_t)n);
        for (int64_t k = 0; k < n && status == LT_OK; k++)
            if (!(x[k] == value(k)))
                fail_msg("an altered file gave other numbers");
        free(x);
    }
    lt_latents_close(&file);
    return status;
}

static void small_write(void)
{
    float *x = values(2 * 5 * 6);
    const lt_latents_stream s = {
        .name = "latents", .ndim = 3, .dims = {2, 5, 6}, .time_axis = 1, .data = x};
    assert_int_equal(lt_latents_write(path, &s, 1, NULL), LT_OK);
    free(x);
}

static void damage_is_noticed(void **state)
{
    (void)state;
    small_write();
    char *whole = NULL;
    size_t bytes = 0;
    assert_int_equal(lt_file_read(path, 1 << 24, &whole, &bytes), LT_OK);
    assert_int_equal(read_all(), LT_OK);
    for (size_t cut = 0; cut < bytes; cut += 1 + bytes / 97) { /* truncated */
        put_file(whole, cut);
        if (read_all() != LT_EDATA)
            fail_msg("cut at %zu of %zu: %s", cut, bytes, lt_error_text());
        assert_non_null(strstr(lt_error_text(), path));
    }
    int noticed = 0, tried = 0;
    for (size_t at = 0; at < bytes;
         at += 1 + bytes / 701) { /* one byte altered, the seal's too: an error */
        whole[at] = (char)(whole[at] ^ 0x55);
        put_file(whole, bytes);
        whole[at] = (char)(whole[at] ^ 0x55);
        noticed += read_all() != LT_OK;
        tried++;
    }
    assert_int_equal(noticed, tried);
    put_file("# a text file, not HDF5\n", 24);
    assert_int_equal(read_all(), LT_EDATA);
    unlink(path);
    assert_int_equal(read_all(), LT_ENOINPUT);
    assert_non_null(strstr(lt_error_text(), path));
    free(whole);
}

static void write_errors(void **state)
{
    (void)state;
    float *x = values(1 << 20);
    lt_latents_stream s = {
        .name = "latents", .ndim = 2, .dims = {1 << 10, 1 << 10}, .time_axis = 0, .data = x};
    assert_int_equal(lt_latents_write("/nowhere/latents.h5", &s, 1, NULL), LT_ECREATE);
    assert_non_null(strstr(lt_error_text(), "/nowhere/latents.h5"));
    small_write(); /* an older file of that name stays when the new one fails */
    struct rlimit old, small = {1 << 16, 1 << 16};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN); /* writes past the limit fail, as on a full disk */
    setrlimit(RLIMIT_FSIZE, &small);
    const lt_status status = lt_latents_write(path, &s, 1, NULL);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(status, LT_EIO);
    /* The system's words, and neither half a word nor an address. */
    assert_non_null(strstr(lt_error_text(), "HDF5: file write failed: File too large"));
    assert_null(strstr(lt_error_text(), "0x"));
    assert_int_equal(read_all(), LT_OK);
    s.dims[1] = 0;
    assert_int_equal(lt_latents_write(path, &s, 1, NULL), LT_ESHAPE);
    s.dims[1] = INT64_MAX / 2;
    assert_int_equal(lt_latents_write(path, &s, 1, NULL), LT_ESHAPE);
    free(x);
    unlink(path);
}

/* The library of HDF5 is asked first, as the manifest does: its own clean-up at exit would write to
 * the file again, and crash. */
static void a_failed_write_lets_the_process_end(void **state)
{
    (void)state;
    float *x = values(1 << 14);
    const lt_latents_stream s = {
        .name = "latents", .ndim = 2, .dims = {1 << 7, 1 << 7}, .time_axis = 0, .data = x};
    const struct rlimit small = {1 << 12, 1 << 12};
    int status = 0;
    (void)fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGXFSZ, SIG_IGN);
        if (strlen(lt_latents_library()) == 0 || setrlimit(RLIMIT_FSIZE, &small) != 0)
            exit(1);
        exit(lt_latents_write(path, &s, 1, NULL) == LT_EIO ? 0 : 2);
    }
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    free(x);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lt_test_store.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/latents.h5", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails if a test left something behind, a temporary file too */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_write_lets_the_process_end), /* first: HDF5 was not used yet */
        cmocka_unit_test(same_bits_back),
        cmocka_unit_test(ranges_in_any_order),
        cmocka_unit_test(what_is_not_put_is_no_file),
        cmocka_unit_test(attributes_come_back),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(write_errors),
    };
    return cmocka_run_group_tests_name("store_hdf5", tests, make_folder, remove_folder);
}
