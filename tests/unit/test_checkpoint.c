/* test_checkpoint.c - folders, indexes, slices, and what a reader must be told.
 * Goal: every slice holds the values that its rows and columns name, whatever the dtype; each way
 * in which a folder can be wrong ends in one line that names file and tensor. Method: small files
 * made here; slices against plain indexing. Ranks: 1. Needs: nothing. */
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <math.h>

#include "model/files/checkpoint.h"

#define F32(name, n, begin, end)                                                                   \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":[" #n "],\"data_offsets\":[" #begin "," #end "]}"
#define INDEX(map) "{\"metadata\":{\"total_size\":1},\"weight_map\":{" map "}}"

/* ---- folders ---- */

enum { NO_INDEX = 1, NO_SECOND = 2, ALONE = 4 };

static const struct {
    const char *name;   /* why */
    const char *index;  /* text of the index */
    const char *second; /* header of shard 2: 8 bytes of data */
    int leave_out;
    lt_status want;
    const char *words;
} folders[] = {
    {"two shards", INDEX("\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\""),
     "{" F32("b", 2, 0, 8) "}", 0, LT_OK, ""},
    {"a shard is missing", INDEX("\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\""), "{}",
     NO_SECOND, LT_ENOINPUT, "s2.safetensors: no such file: 1 of 2 shards"},
    {"no index beside two shards", "", "{" F32("b", 2, 0, 8) "}", NO_INDEX, LT_ENOINPUT, "index"},
    {"one file, no index", "", "", NO_INDEX | NO_SECOND, LT_OK, ""},
    {"nothing", "", "", NO_INDEX | NO_SECOND | ALONE, LT_ENOINPUT, "neither"},
    {"index names what the shard lacks",
     INDEX("\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\",\"c\":\"s2.safetensors\""),
     "{" F32("b", 2, 0, 8) "}", 0, LT_EDATA, "s2.safetensors: tensor c is missing"},
    {"shard holds what the index lacks", INDEX("\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\""),
     "{" F32("b", 1, 0, 4) "," F32("c", 1, 4, 8) "}", 0, LT_EDATA, "tensor c is not in"},
    {"a tensor in another shard than the index says",
     INDEX("\"a\":\"s1.safetensors\",\"b\":\"s1.safetensors\",\"c\":\"s2.safetensors\""),
     "{" F32("b", 1, 0, 4) "," F32("c", 1, 4, 8) "}", 0, LT_EDATA,
     "tensor b: want it in s1.safetensors"},
    {"a tensor in both shards", INDEX("\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\""),
     "{" F32("a", 1, 0, 4) "," F32("b", 1, 4, 8) "}", 0, LT_EDATA,
     "tensor a: want it in s1.safetensors"},
    {"a shard's name that leaves the folder", INDEX("\"a\":\"../s1.safetensors\""), "{}", 0,
     LT_EDATA, "weight_map.a"},
    {"a shard's name that is absolute", INDEX("\"a\":\"/etc/s1.safetensors\""), "{}", 0, LT_EDATA,
     "weight_map.a"},
    {"a shard's name that is no safetensors", INDEX("\"a\":\"passwd\""), "{}", 0, LT_EDATA,
     "passwd"},
    {"a shard's name that is a number", INDEX("\"a\":7"), "{}", 0, LT_EDATA, "weight_map.a"},
    {"an empty map", INDEX(""), "{}", 0, LT_EDATA, "found 0"},
    {"no map", "{}", "{}", 0, LT_EDATA, "weight_map"},
    {"a map that is a list", "{\"weight_map\":[]}", "{}", 0, LT_EDATA, "weight_map"},
    {"an index that is no JSON", "{\"weight_map\":", "{}", 0, LT_EDATA, "index.json:1"},
};

static void folder_cases(void **state)
{
    (void)state;
    const char data[16] = {0};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        scratch s;
        lt_checkpoint *c = NULL;
        scratch_new(&s);
        if (!(folders[i].leave_out & ALONE))
            scratch_safetensors(&s, "s1.safetensors", -1, "{" F32("a", 2, 0, 8) "}", data, 8);
        if (!(folders[i].leave_out & NO_SECOND))
            scratch_safetensors(&s, "s2.safetensors", -1, folders[i].second, data,
                                strcmp(folders[i].second, "{}") == 0 ? 0 : 8);
        if (!(folders[i].leave_out & NO_INDEX))
            scratch_text(&s, "x.safetensors.index.json", folders[i].index);
        lt_error_clear();
        const lt_status st = lt_checkpoint_open(s.folder, NULL, &c);
        if (st != folders[i].want || strstr(lt_error_text(), folders[i].words) == NULL)
            fail_msg("%s: want %s \"%s\", found %s: %s", folders[i].name,
                     lt_status_name(folders[i].want), folders[i].words, lt_status_name(st),
                     lt_error_text());
        assert_true((c != NULL) == (st == LT_OK));
        lt_checkpoint_close(&c);
        scratch_free(&s);
    }
}

static void names_of_files(void **state)
{
    (void)state;
    scratch s;
    lt_checkpoint *c = NULL;
    lt_tensor_info info;
    const char data[8] = {0};
    scratch_new(&s);
    assert_int_equal(lt_checkpoint_open(scratch_path(&s, "absent"), NULL, &c), LT_ENOINPUT);
    /* One of several without its index isn't taken for the whole. */
    scratch_safetensors(&s, "m-00002-of-00003.safetensors", -1, "{" F32("a", 2, 0, 8) "}", data, 8);
    assert_int_equal(lt_checkpoint_open(s.folder, NULL, &c), LT_ENOINPUT);
    /* The usual name wins over others beside it. */
    scratch_safetensors(&s, "model.safetensors", -1, "{" F32("usual", 2, 0, 8) "}", data, 8);
    assert_int_equal(lt_checkpoint_open(s.folder, NULL, &c), LT_OK);
    assert_true(lt_checkpoint_find(c, "usual", &info));
    assert_false(lt_checkpoint_find(c, "a", &info));
    lt_checkpoint_close(&c);
    scratch_free(&s);
}

/* ---- slices ---- */

enum { ROWS = 5, COLUMNS = 24 };

/* Values that each dtype holds exactly. */
static float value_at(int64_t row, int64_t column) { return (float)(row * 32 + column - 60); }

static const struct {
    const char *name;
    lt_dtype stored, want;
    lt_range rows, columns;
    int shift;         /* bytes of a tensor before, so that the data isn't aligned */
    size_t bytes_most; /* what may be copied out of the file */
} slices[] = {
    {"whole, straight", LT_F32, LT_F32, {0, 5}, {0, 24}, 0, 480},
    {"whole, widened", LT_BF16, LT_F32, {0, 5}, {0, 24}, 0, 240},
    {"whole, narrowed", LT_F32, LT_BF16, {0, 5}, {0, 24}, 0, 480},
    {"halves", LT_F16, LT_F32, {0, 5}, {0, 24}, 0, 240},
    {"doubles", LT_F64, LT_F32, {0, 5}, {0, 24}, 0, 960},
    {"rows inside", LT_BF16, LT_F32, {1, 3}, {0, 24}, 0, 144},
    {"last row", LT_F32, LT_F32, {4, 1}, {0, 24}, 0, 96},
    {"half of the columns: not a byte between", LT_F32, LT_F32, {0, 5}, {12, 12}, 0, 240},
    {"one column", LT_BF16, LT_F32, {0, 5}, {23, 1}, 0, 10},
    {"nearly all columns: the span, but not past it",
     LT_F32,
     LT_F32,
     {0, 5},
     {1, 22},
     0,
     4 * 96 + 88},
    {"nearly all columns of two rows, widened", LT_BF16, LT_F32, {3, 2}, {0, 23}, 0, 48 + 46},
    {"no rows", LT_F32, LT_F32, {2, 0}, {0, 24}, 0, 0},
    {"no columns", LT_F32, LT_F32, {0, 5}, {24, 0}, 0, 0},
    {"odd place in the file", LT_F32, LT_F32, {0, 5}, {0, 24}, 1, 480},
    {"odd place, widened, some columns", LT_BF16, LT_F32, {1, 4}, {3, 7}, 3, 56},
};

static void store(void *to, lt_dtype dtype, int64_t i, float v)
{
    lt_convert(&v, LT_F32, (char *)to + (size_t)i * lt_dtype_bytes(dtype), dtype, 1);
}

static void slices_hold_their_values(void **state)
{
    (void)state;
    scratch s;
    scratch_new(&s);
    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++) {
        char header[256], data[1024] = {0}, got[ROWS * COLUMNS * 8 + 8];
        const size_t es = lt_dtype_bytes(slices[i].stored), bytes = ROWS * COLUMNS * es;
        const size_t shift = (size_t)slices[i].shift;
        for (int64_t k = 0; k < ROWS * COLUMNS; k++)
            store(data + shift, slices[i].stored, k, value_at(k / COLUMNS, k % COLUMNS));
        (void)snprintf(header, sizeof header,
                       "{\"p\":{\"dtype\":\"U8\",\"shape\":[%zu],\"data_offsets\":[0,%zu]},"
                       "\"w\":{\"dtype\":\"%s\",\"shape\":[5,2,12],\"data_offsets\":[%zu,%zu]}}",
                       shift, shift, lt_dtype_name(slices[i].stored), shift, shift + bytes);
        scratch_safetensors(&s, "w.safetensors", -1, header, data, shift + bytes);
        lt_checkpoint *c = NULL;
        assert_int_equal(lt_checkpoint_open(scratch_path(&s, "w.safetensors"), NULL, &c), LT_OK);
        const uint64_t before = lt_checkpoint_bytes_read();
        memset(got, 0xA5, sizeof got);
        if (lt_checkpoint_read(c, "w", LT_DIMS(5, 2, 12),
                               (lt_slice){slices[i].rows, slices[i].columns}, slices[i].want,
                               got) != LT_OK)
            fail_msg("%s: %s", slices[i].name, lt_error_text());
        const uint64_t copied = lt_checkpoint_bytes_read() - before;
        const int64_t n = slices[i].rows.count * slices[i].columns.count;
        for (int64_t k = 0; k < n; k++) {
            float v;
            const float want = value_at(slices[i].rows.first + k / slices[i].columns.count,
                                        slices[i].columns.first + k % slices[i].columns.count);
            const size_t ws = lt_dtype_bytes(slices[i].want);
            lt_convert(got + (size_t)k * ws, slices[i].want, &v, LT_F32, 1);
            if (!(v == want))
                fail_msg("%s: element %lld: want %g, found %g", slices[i].name, (long long)k,
                         (double)want, (double)v);
        }
        assert_int_equal((unsigned char)got[(size_t)n * lt_dtype_bytes(slices[i].want)], 0xA5);
        if (copied > slices[i].bytes_most)
            fail_msg("%s: %llu bytes copied, want at most %zu", slices[i].name,
                     (unsigned long long)copied, slices[i].bytes_most);
        lt_checkpoint_close(&c);
    }
    scratch_free(&s);
}

/* More than one buffer of 4 MiB, at an odd place, so that an element lies across every cut. */
static void long_tensors_take_several_reads(void **state)
{
    (void)state;
    enum { N = 2300000, SHIFT = 3 };
    scratch s;
    char header[256];
    lt_checkpoint *c = NULL;
    scratch_new(&s);
    char *data = malloc(SHIFT + (size_t)N * 4);
    float *got = malloc((size_t)N * sizeof *got);
    uint16_t *narrow = malloc((size_t)N * sizeof *narrow);
    assert_true(data != NULL && got != NULL && narrow != NULL);
    for (int64_t k = 0; k < N; k++)
        store(data + SHIFT, LT_F32, k, (float)k);
    (void)snprintf(header, sizeof header,
                   "{\"p\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
                   "\"w\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[3,%d]}}",
                   N, SHIFT + 4 * N);
    scratch_safetensors(&s, "w.safetensors", -1, header, data, SHIFT + (size_t)N * 4);
    assert_int_equal(lt_checkpoint_open(s.folder, NULL, &c), LT_OK);
    const lt_dims dims = LT_DIMS(N);
    assert_int_equal(lt_checkpoint_read(c, "w", dims, lt_slice_whole(dims), LT_F32, got), LT_OK);
    assert_int_equal(lt_checkpoint_read(c, "w", dims, lt_slice_whole(dims), LT_BF16, narrow),
                     LT_OK);
    for (int64_t k = 0; k < N; k++)
        if (!(got[k] == (float)k) || narrow[k] != lt_f32_to_bf16((float)k))
            fail_msg("element %lld: found %g and %g", (long long)k, (double)got[k],
                     (double)lt_bf16_to_f32(narrow[k]));
    free(data);
    free(got);
    free(narrow);
    lt_checkpoint_close(&c);
    scratch_free(&s);
}

/* ---- what must be refused ---- */

static void wrong_requests(void **state)
{
    (void)state;
    scratch s;
    lt_checkpoint *c = NULL;
    float out[64];
    char data[48] = {0};
    scratch_new(&s);
    scratch_safetensors(
        &s, "w.safetensors", -1,
        "{" F32("w", 8, 0, 32) ",\"i\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[32,48]}}",
        data, 48);
    assert_int_equal(lt_checkpoint_open(s.folder, NULL, &c), LT_OK);
    const struct {
        const char *name;
        lt_dims dims;
        lt_dtype want;
        const char *words;
    } wrong[] = {
        {"absent", LT_DIMS(8), LT_F32, "tensor absent is missing: want [8]"},
        {"w", LT_DIMS(9), LT_F32, "tensor w: want [9], found [8]"},
        {"w", LT_DIMS(2, 4), LT_F32, "tensor w: want [2, 4], found [8]"},
        {"w", LT_DIMS(8), LT_I64, "dtype: want I64, found F32"},
        {"i", LT_DIMS(2), LT_F32, "found I64"},
        {"i", LT_DIMS(2), LT_I32, "dtype: want I32, found I64"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(lt_checkpoint_read(c, wrong[i].name, wrong[i].dims,
                                            lt_slice_whole(wrong[i].dims), wrong[i].want, out),
                         LT_EDATA);
        if (strstr(lt_error_text(), wrong[i].words) == NULL)
            fail_msg("want \"%s\" in: %s", wrong[i].words, lt_error_text());
    }
    assert_int_equal(lt_checkpoint_check(c, "i", LT_DIMS(2)), LT_EDATA);
    assert_int_equal(lt_checkpoint_all_used(c, NULL), LT_EDATA); /* none of these marked a tensor */
    assert_int_equal(lt_checkpoint_all_used(c, (const char *const[]){"w", "i", NULL}), LT_OK);
    assert_int_equal(lt_checkpoint_check(c, "w", LT_DIMS(8)), LT_OK);
    assert_int_equal(lt_checkpoint_all_used(c, NULL), LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "unexpected tensor i [2]"));
    assert_int_equal(lt_checkpoint_all_used(c, (const char *const[]){"i", NULL}), LT_OK);
    lt_checkpoint_close(&c);
    scratch_free(&s);
}

static const struct {
    lt_dtype dtype;
    uint64_t bits; /* of the bad element, the third row's fourth */
} not_finite[] = {
    {LT_F32, 0x7fc00000u}, {LT_F32, 0xff800000u}, {LT_BF16, 0x7f80u},
    {LT_BF16, 0xffffu},    {LT_F16, 0x7c00u},     {LT_F64, 0x7ff0000000000001u},
};

static void values_that_are_no_numbers(void **state)
{
    (void)state;
    scratch s;
    scratch_new(&s);
    for (size_t i = 0; i < sizeof not_finite / sizeof *not_finite; i++) {
        const size_t es = lt_dtype_bytes(not_finite[i].dtype);
        char header[128], data[40 * 8] = {0};
        float out[40];
        memcpy(data + 23 * es, &not_finite[i].bits, es);
        (void)snprintf(header, sizeof header,
                       "{\"w\":{\"dtype\":\"%s\",\"shape\":[4,10],\"data_offsets\":[0,%zu]}}",
                       lt_dtype_name(not_finite[i].dtype), 40 * es);
        scratch_safetensors(&s, "w.safetensors", -1, header, data, 40 * es);
        lt_checkpoint *c = NULL;
        assert_int_equal(lt_checkpoint_open(s.folder, NULL, &c), LT_OK);
        assert_int_equal(
            lt_checkpoint_read(c, "w", LT_DIMS(4, 10), (lt_slice){{1, 3}, {2, 5}}, LT_F32, out),
            LT_EDATA);
        if (strstr(lt_error_text(), "w.safetensors: tensor w: element [2, 3]") == NULL)
            fail_msg("%s: %s", lt_dtype_name(not_finite[i].dtype), lt_error_text());
        /* A slice that leaves it out is fine. */
        assert_int_equal(
            lt_checkpoint_read(c, "w", LT_DIMS(4, 10), (lt_slice){{0, 4}, {4, 6}}, LT_F32, out),
            LT_OK);
        lt_checkpoint_close(&c);
    }
    scratch_free(&s);
}

/* The file shrinks between opening and reading. */
static void a_file_that_shrinks(void **state)
{
    (void)state;
    scratch s;
    lt_checkpoint *c = NULL;
    float out[8];
    const char data[32] = {0};
    scratch_new(&s);
    scratch_safetensors(&s, "w.safetensors", -1, "{" F32("w", 8, 0, 32) "}", data, 32);
    assert_int_equal(lt_checkpoint_open(s.folder, NULL, &c), LT_OK);
    assert_int_equal(truncate(scratch_path(&s, "w.safetensors"), 60), 0);
    assert_int_equal(
        lt_checkpoint_read(c, "w", LT_DIMS(8), lt_slice_whole(LT_DIMS(8)), LT_F32, out), LT_EIO);
    lt_checkpoint_close(&c);
    scratch_free(&s);
}

/* Other values in the same place, the same size, and even the old time of change put back. */
static void a_file_that_is_written_again(void **state)
{
    (void)state;
    static const float old[2] = {1, 2}, other[2] = {3, 4};
    scratch s;
    lt_checkpoint *c = NULL;
    float x[2];
    struct stat info;
    scratch_new(&s);
    scratch_safetensors(&s, "m.safetensors", -1, "{" F32("a", 2, 0, 8) "}", old, 8);
    const char *path = scratch_path(&s, "m.safetensors");
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(lt_checkpoint_open(path, NULL, &c), LT_OK);
    const lt_dims dims = LT_DIMS(2);
    assert_int_equal(lt_checkpoint_read(c, "a", dims, lt_slice_whole(dims), LT_F32, x), LT_OK);
    struct stat now;
    do { /* a clock of the file system's steps by milliseconds */
        FILE *f = fopen(path, "r+b");
        assert_non_null(f);
        assert_int_equal(fseek(f, -8, SEEK_END), 0);
        assert_int_equal(fwrite(other, 1, 8, f), 8);
        assert_int_equal(fclose(f), 0);
        const struct timespec before[2] = {info.st_atim, info.st_mtim};
        assert_int_equal(utimensat(AT_FDCWD, path, before, 0), 0);
        assert_int_equal(stat(path, &now), 0);
    } while (now.st_ctim.tv_nsec == info.st_ctim.tv_nsec);
    assert_int_equal(lt_checkpoint_read(c, "a", dims, lt_slice_whole(dims), LT_F32, x), LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "m.safetensors: it was written again"));
    lt_checkpoint_close(&c);
    scratch_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folder_cases),
        cmocka_unit_test(names_of_files),
        cmocka_unit_test(slices_hold_their_values),
        cmocka_unit_test(long_tensors_take_several_reads),
        cmocka_unit_test(wrong_requests),
        cmocka_unit_test(values_that_are_no_numbers),
        cmocka_unit_test(a_file_that_shrinks),
        cmocka_unit_test(a_file_that_is_written_again),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
