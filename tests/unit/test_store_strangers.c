/* test_store_strangers.c - latents.h5 as a stranger makes it.
 * Goal: every file that is not as ours are is refused in one line, LT_EDATA, before memory is taken
 * for it, whatever HDF5 does with it; a reader that crashes, hangs or takes too much hurts nobody.
 * Method: files made through HDF5 with one thing wrong each, sealed again, since anybody can; and
 * seals left out. Ranks: 1. Needs: nothing. */
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include <cmocka.h>

#include "base/file.h"
#include "run/store_hdf5_internal.h"

static char folder[64], path[128], other[128];

enum { C = 2, T = 6, W = 4, ALL = C * T * W };

/* What a file is made of; a case changes one thing. */
typedef struct recipe {
    hsize_t dims[5], chunks[5];
    int ndim;
    int64_t axis;
    int is_int, is_big, contiguous, compact, outside, virtual_, no_filter, gzip, two_filters,
        unwritten, as_it_is;
    size_t frame_bytes;  /* what the zstd frames unpack to; 0: a chunk */
    int frame_says;      /* 0: its size is not in the frame */
    const char *link;    /* "soft", "external": what "latents" is */
    const char *streams; /* NULL: as it is; "": left out */
    const char *format;
    int64_t version, texts, text_bytes;
    int variable; /* texts are of variable length */
    int more;     /* another dataset lies beside */
    int userblock;
    int no_hash, stale_hash;
} recipe;

static const recipe good = {.dims = {C, T, W},
                            .chunks = {C, 2, W},
                            .ndim = 3,
                            .axis = 1,
                            .frame_says = 1,
                            .format = LT_LATENTS_FORMAT,
                            .version = 1};

static float value(size_t i) { return (float)i + 0.5f; }

static void text_put(hid_t where, const char *name, const char *text, int variable)
{
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, variable ? H5T_VARIABLE : strlen(text) + 1);
    const hid_t a = H5Acreate2(where, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(a >= 0 && H5Awrite(a, type, variable ? (const void *)&text : text) >= 0);
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
}

static void number_put(hid_t where, const char *name, int64_t number)
{
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t a = H5Acreate2(where, name, H5T_NATIVE_INT64, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(a >= 0 && H5Awrite(a, H5T_NATIVE_INT64, &number) >= 0);
    H5Aclose(a);
    H5Sclose(space);
}

static hid_t made_as(const recipe *r)
{
    const hid_t made = H5Pcreate(H5P_DATASET_CREATE);
    const unsigned level = 3;
    if (r->compact)
        H5Pset_layout(made, H5D_COMPACT);
    if (r->outside)
        H5Pset_external(made, "/etc/passwd", 0, ALL * sizeof(float));
    if (r->virtual_) {
        const hid_t space = H5Screate_simple(r->ndim, r->dims, NULL);
        H5Pset_virtual(made, space, "/etc/passwd", "latents", space);
        H5Sclose(space);
    }
    if (r->contiguous || r->compact || r->outside || r->virtual_)
        return made;
    H5Pset_chunk(made, r->ndim, r->chunks);
    if (r->gzip)
        H5Pset_deflate(made, 9);
    else if (!r->no_filter)
        H5Pset_filter(made, LT_H5_FILTER_ZSTD, H5Z_FLAG_OPTIONAL, 1, &level);
    if (r->two_filters)
        H5Pset_filter(made, LT_H5_FILTER_ZSTD, H5Z_FLAG_OPTIONAL, 1, &level);
    return made;
}

/* A zstd frame of that many bytes that begins with values. */
static size_t frame(const recipe *r, const float *values, size_t bytes, size_t unpacked, char **out)
{
    char *plain = calloc(1, unpacked);
    assert_non_null(plain);
    memcpy(plain, values, bytes < unpacked ? bytes : unpacked);
    const size_t room = ZSTD_compressBound(unpacked);
    *out = malloc(room);
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, r->frame_says);
    const size_t n = ZSTD_compress2(zstd, *out, room, plain, unpacked);
    ZSTD_freeCCtx(zstd);
    free(plain);
    return n;
}

static void chunks_put(const recipe *r, hid_t dataset)
{
    size_t chunk = 1;
    for (int i = 0; i < r->ndim; i++)
        chunk *= (size_t)r->chunks[i];
    float *values = calloc(chunk, sizeof *values);
    assert_non_null(values);
    for (hsize_t t = 0; t < r->dims[1]; t += r->chunks[1]) {
        const hsize_t at[5] = {0, t};
        for (size_t i = 0; chunk == C * 2 * W && i < chunk; i++)
            values[i] = value((i / (2 * W) * T + (size_t)t) * W + i % (2 * W));
        char *packed = NULL;
        const size_t bytes = chunk * sizeof *values;
        size_t n = frame(r, values, bytes, r->frame_bytes ? r->frame_bytes : bytes, &packed);
        const int plain = r->as_it_is || r->no_filter;
        if (plain)
            n = bytes;
        assert_true(H5Dwrite_chunk(dataset, H5P_DEFAULT, r->as_it_is ? 1 : 0, at, n,
                                   plain ? (void *)values : packed) >= 0);
        free(packed);
    }
    free(values);
}

static void dataset_put(const recipe *r, hid_t file, const char *name)
{
    const hid_t space = H5Screate_simple(r->ndim, r->dims, NULL), made = made_as(r);
    const hid_t type = r->is_int ? H5T_STD_I32LE : r->is_big ? H5T_IEEE_F32BE : H5T_IEEE_F32LE;
    const hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, made, H5P_DEFAULT);
    float values[ALL];
    char hash[24];
    assert_true(dataset >= 0);
    for (size_t i = 0; i < ALL; i++)
        values[i] = value(i);
    snprintf(hash, sizeof hash, "%016" PRIx64,
             (uint64_t)XXH64(values, sizeof values, (unsigned)r->stale_hash));
    text_put(dataset, "dims", "C T W", r->variable);
    if (!r->no_hash)
        text_put(dataset, "xxh64", hash, r->variable);
    if (r->axis != -2)
        number_put(dataset, "time_axis", r->axis);
    if (!r->unwritten && !r->outside && !r->virtual_) {
        if (r->contiguous || r->compact)
            H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
        else if (r->gzip)
            H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
        else
            chunks_put(r, dataset);
    }
    H5Dclose(dataset);
    H5Pclose(made);
    H5Sclose(space);
}

/* HDF5's file; then our seal, unless bare. */
static void seal_put(void)
{
    char *whole = NULL, seal[LT_H5_SEAL_BYTES + 1];
    size_t bytes = 0;
    assert_int_equal(lt_file_read(path, 1 << 28, &whole, &bytes), LT_OK);
    snprintf(seal, sizeof seal, LT_H5_SEAL "%016" PRIx64, (uint64_t)XXH64(whole, bytes, 0));
    FILE *f = fopen(path, "ab");
    assert_non_null(f);
    assert_int_equal(fwrite(seal, 1, LT_H5_SEAL_BYTES, f), LT_H5_SEAL_BYTES);
    fclose(f);
    free(whole);
}

static void file_put(const recipe *r, int bare)
{
    const hid_t make = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
    if (r->userblock)
        H5Pset_userblock(make, 512);
    H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_LATEST);
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, make, access);
    assert_true(file >= 0);
    text_put(file, "format", r->format, r->variable);
    number_put(file, "version", r->version);
    if (r->streams == NULL || r->streams[0] != '\0')
        text_put(file, "streams", r->streams != NULL ? r->streams : "[\"latents\"]", r->variable);
    char *text = calloc(1, (size_t)r->text_bytes + 1);
    assert_non_null(text);
    memset(text, 'x', (size_t)r->text_bytes);
    static const char *const long_ones[] = {"model", "prompt", "plan"};
    for (int64_t i = 0; i < r->texts; i++)
        text_put(file, long_ones[i], text, r->variable);
    free(text);
    if (r->link && !strcmp(r->link, "soft")) {
        dataset_put(r, file, "there");
        H5Lcreate_soft("/there", file, "latents", H5P_DEFAULT, H5P_DEFAULT);
    } else if (r->link) {
        H5Lcreate_external(other, "latents", file, "latents", H5P_DEFAULT, H5P_DEFAULT);
    } else {
        dataset_put(r, file, "latents");
    }
    if (r->more)
        dataset_put(r, file, "more");
    H5Fclose(file);
    H5Pclose(make);
    H5Pclose(access);
    if (!bare)
        seal_put();
}

/* Open, and read the dataset by ranges, as decode does. */
static lt_status read_all(int unsealed)
{
    lt_latents *file = NULL;
    float x[ALL];
    LT_TRY(lt_latents_open(path, unsealed, &file));
    lt_status st = LT_OK;
    const lt_latents_stream *s = lt_latents_stream_at(file, 0);
    const int fits = s->ndim == 3 && s->dims[0] == C && s->dims[1] == T && s->dims[2] == W;
    for (int64_t t = 0; st == LT_OK && t < s->dims[s->time_axis] && t < 6; t++)
        st = lt_latents_read_range(file, 0, t, 1, x, ALL);
    if (st == LT_OK && fits && s->time_axis == 1) {
        st = lt_latents_read(file, 0, x, ALL);
        for (size_t i = 0; st == LT_OK && i < ALL; i++)
            assert_true(x[i] == value(i));
    }
    lt_latents_close(&file);
    return st;
}

#define CASE(...)                                                                                  \
    {                                                                                              \
        .format = LT_LATENTS_FORMAT, .version = 1, .frame_says = 1, __VA_ARGS__                    \
    }
#define SHAPE .dims = {C, T, W}, .chunks = {C, 2, W}, .ndim = 3, .axis = 1

static const struct {
    const char *name, *says; /* NULL: it is read */
    recipe r;
    int bare, unsealed;
} strange[] = {
    {"ours", NULL, CASE(SHAPE), 0, 0},
    {"no seal", "want our checksum", CASE(SHAPE), 1, 0},
    {"no seal, and taken so", NULL, CASE(SHAPE), 1, 1},
    {"values stored as they are", NULL, CASE(SHAPE, .as_it_is = 1), 0, 0},
    {"no filter", NULL, CASE(SHAPE, .no_filter = 1), 0, 0},
    {"in one piece, as h5py writes", NULL, CASE(SHAPE, .contiguous = 1), 1, 1},
    {"in one piece, sealed", NULL, CASE(SHAPE, .contiguous = 1), 0, 0},
    {"no hash", NULL, CASE(SHAPE, .no_hash = 1), 1, 1},
    {"older ones of ours: no names, texts of variable length", NULL,
     CASE(SHAPE, .streams = "", .variable = 1), 0, 0},
    {"texts of variable length, no seal", "fixed length", CASE(SHAPE, .variable = 1), 1, 1},
    {"a hash from before", "xxh64", CASE(SHAPE, .stale_hash = 1), 1, 1},
    {"a hash from before, in one piece", "xxh64", CASE(SHAPE, .stale_hash = 1, .contiguous = 1), 1,
     1},
    {"another axis of time", "whole frames",
     CASE(.dims = {C, T, W}, .chunks = {C, 2, W}, .ndim = 3, .axis = 2), 0, 0},
    {"an axis that is not there", "time_axis",
     CASE(.dims = {C, T, W}, .chunks = {C, 2, W}, .ndim = 3, .axis = 3), 0, 0},
    {"an axis below 0", "time_axis",
     CASE(.dims = {C, T, W}, .chunks = {C, 2, W}, .ndim = 3, .axis = -1), 0, 0},
    {"no axis", "time_axis", CASE(.dims = {C, T, W}, .chunks = {C, 2, W}, .ndim = 3, .axis = -2), 0,
     0},
    {"five dims", "1 to 4 dims",
     CASE(.dims = {C, T, W, 1, 1}, .chunks = {C, 2, W, 1, 1}, .ndim = 5, .axis = 1), 0, 0},
    {"parts of frames", "whole frames",
     CASE(.dims = {C, T, W}, .chunks = {1, 2, W}, .ndim = 3, .axis = 1, .unwritten = 1), 0, 0},
    {"more elements than any clip", "2^50",
     CASE(.dims = {1u << 20, 1u << 20, 1u << 20}, .chunks = {1, 1, 1}, .ndim = 3, .axis = 1,
          .unwritten = 1),
     0, 0},
    {"more chunks than any clip", "chunks in the file",
     CASE(.dims = {1, 1u << 20, 1}, .chunks = {1, 1, 1}, .ndim = 3, .axis = 1, .unwritten = 1), 0,
     0},
    {"chunks of more than 128 MiB", "at most 128 MiB",
     CASE(.dims = {2, 4, 1u << 23}, .chunks = {2, 4, 1u << 23}, .ndim = 3, .axis = 1,
          .unwritten = 1),
     0, 0},
    {"chunks of more than 1 GiB", "chunks",
     CASE(.dims = {C, 1u << 20, 512}, .chunks = {C, 1u << 19, 512}, .ndim = 3, .axis = 1,
          .unwritten = 1),
     0, 0},
    {"96 MiB of values in a few KiB", "of values in a file",
     CASE(.dims = {1, 24, 1u << 20}, .chunks = {1, 1, 1u << 20}, .ndim = 3, .axis = 1), 0, 0},
    {"integers", "another type", CASE(SHAPE, .is_int = 1, .contiguous = 1, .unwritten = 1), 0, 0},
    {"big-endian", "another type", CASE(SHAPE, .is_big = 1, .contiguous = 1, .unwritten = 1), 0, 0},
    {"nothing written", "never written", CASE(SHAPE, .unwritten = 1), 0, 0},
    {"nothing written, in one piece", "never written", CASE(SHAPE, .unwritten = 1, .contiguous = 1),
     0, 0},
    {"compact", "another layout", CASE(SHAPE, .compact = 1), 0, 0},
    {"values in another file", "another layout", CASE(SHAPE, .outside = 1), 0, 0},
    {"virtual", "another layout", CASE(SHAPE, .virtual_ = 1), 0, 0},
    {"gzip", "filter", CASE(SHAPE, .gzip = 1), 0, 0},
    {"zstd twice", "filter", CASE(SHAPE, .two_filters = 1, .unwritten = 1), 0, 0},
    {"a frame of 64 KiB for a chunk of 64 bytes", "zstd frame", CASE(SHAPE, .frame_bytes = 1 << 16),
     0, 0},
    {"a frame of 256 MiB for a chunk of 64 bytes", "want 1 to", CASE(SHAPE, .frame_bytes = 1 << 28),
     0, 0},
    {"a frame that is too short", "zstd frame", CASE(SHAPE, .frame_bytes = 32), 0, 0},
    {"a frame that does not say its size",
     "zstd frame",
     {.dims = {C, T, W},
      .chunks = {C, 2, W},
      .ndim = 3,
      .axis = 1,
      .format = LT_LATENTS_FORMAT,
      .version = 1},
     0,
     0},
    {"a soft link", "link", CASE(SHAPE, .link = "soft", .streams = "[\"latents\",\"there\"]"), 0,
     0},
    {"a link to another file", "link", CASE(SHAPE, .link = "external"), 0, 0},
    {"a dataset that nobody names", "entries at its root", CASE(SHAPE, .more = 1), 0, 0},
    {"a name that leads out", "names of datasets", CASE(SHAPE, .streams = "[\"../latents\"]"), 0,
     0},
    {"a name of a group's", "latents/x", CASE(SHAPE, .streams = "[\"latents/x\"]"), 0, 0},
    {"names that are no list", "a list", CASE(SHAPE, .streams = "{\"a\":1}"), 0, 0},
    {"names that are not text", "a list", CASE(SHAPE, .streams = "[1]"), 0, 0},
    {"another format",
     "format",
     {.dims = {C, T, W},
      .chunks = {C, 2, W},
      .ndim = 3,
      .axis = 1,
      .format = "longtake-latent\x01",
      .version = 1},
     0,
     0},
    {"a newer version",
     "version",
     {.dims = {C, T, W},
      .chunks = {C, 2, W},
      .ndim = 3,
      .axis = 1,
      .format = LT_LATENTS_FORMAT,
      .version = 2},
     0,
     0},
    {"9 MiB of text", "8 MiB", CASE(SHAPE, .texts = 3, .text_bytes = 3 << 20), 0, 0},
#ifdef __SANITIZE_ADDRESS__ /* its allocator keeps more, and ends the reader */
    {"64 MiB of text of variable length", "could not read it safely (",
     CASE(SHAPE, .texts = 1, .text_bytes = 64 << 20, .variable = 1), 0, 0},
#else
    {"64 MiB of text of variable length", "MiB",
     CASE(SHAPE, .texts = 1, .text_bytes = 64 << 20, .variable = 1), 0, 0},
#endif
    {"160 MiB of text of variable length", "could not read it safely (",
     CASE(SHAPE, .texts = 1, .text_bytes = 160 << 20, .variable = 1), 0, 0},
    {"a user block", "want an HDF5 file", CASE(SHAPE, .userblock = 1), 0, 0},
};

static void strange_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        file_put(&strange[i].r, strange[i].bare);
        lt_error_clear();
        const lt_status st = read_all(strange[i].unsealed);
        if (strange[i].says == NULL && st != LT_OK)
            fail_msg("%s: %s", strange[i].name, lt_error_text());
        if (strange[i].says != NULL &&
            (st != LT_EDATA || !strstr(lt_error_text(), strange[i].says) ||
             !strstr(lt_error_text(), path)))
            fail_msg("%s: want LT_EDATA with \"%s\", found %d: %s", strange[i].name,
                     strange[i].says, (int)st, lt_error_text());
        unlink(path);
    }
}

/* Asleep, as it is once it waits for a file. */
static int waits_in_it(pid_t pid)
{
    char name[64], state = 'R';
    snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(name, "r");
    if (f == NULL)
        return 1;
    if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = 'R';
    fclose(f);
    return state == 'S';
}

static pid_t child(void)
{
    char name[64];
    int pid = 0;
    snprintf(name, sizeof name, "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    fclose(f);
    return pid;
}

/* What HDF5 does to the reader, a signal does here: the process that asked says so, and goes on. */
static void reader_may_die(void **state)
{
    (void)state;
    static const struct {
        int signal;
        const char *says;
    } cases[] = {{SIGSEGV, "(crashed by SIGSEGV)"},
                 {SIGABRT, "(crashed by SIGABRT)"},
                 {SIGSTOP, "(took more than 4 s)"}};
    file_put(&good, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(lt_latents_reader_begin(), LT_OK);
        const pid_t reader = child();
        while (kill(reader, 0) == 0 && !waits_in_it(reader)) /* its handlers are its own by then */
            usleep(1000);
        kill(reader, cases[i].signal);
        lt_error_clear();
        assert_int_equal(read_all(0), LT_EDATA);
        if (!strstr(lt_error_text(), cases[i].says))
            fail_msg("want %s, found %s", cases[i].says, lt_error_text());
        assert_int_equal(kill(reader, 0), -1); /* nothing is left of it */
        assert_int_equal(read_all(0), LT_OK);
    }
    assert_int_equal(lt_latents_reader_begin(), LT_OK);
    lt_latents_reader_end();
    lt_latents_reader_end();
    unlink(path);
}

/* Rewritten while it is open. */
static void rewritten_meanwhile(void **state)
{
    (void)state;
    lt_latents *file = NULL;
    float x[ALL];
    file_put(&good, 0);
    assert_int_equal(lt_latents_open(path, 0, &file), LT_OK);
    assert_int_equal(lt_latents_read_range(file, 0, 0, 1, x, ALL), LT_OK);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fputs("other", f);
    fclose(f);
    struct timespec later[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, path, later, 0), 0);
    assert_int_equal(lt_latents_read_range(file, 0, 1, 1, x, ALL), LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "written again"));
    lt_latents_close(&file);
    unlink(path);
}

/* A size that is not on the disk: hashing 256 GiB of nothing would take minutes. */
static void holes(void **state)
{
    static const char seal[] = LT_H5_SEAL "0000000000000000";
    lt_latents *file = NULL;
    (void)state;
    file_put(&good, 1);
    const int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)1 << 38), 0);
    assert_int_equal(pwrite(fd, seal, LT_H5_SEAL_BYTES, (off_t)1 << 38), LT_H5_SEAL_BYTES);
    assert_int_equal(close(fd), 0);
    for (int unsealed = 0; unsealed < 2; unsealed++) {
        assert_int_equal(lt_latents_open(path, unsealed, &file), LT_EDATA);
        assert_non_null(strstr(lt_error_text(), "holes of more than 64 MiB"));
    }
    unlink(path);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lt_test_strangers.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/latents.h5", folder);
    snprintf(other, sizeof other, "%s/other.h5", folder);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strange_files),
        cmocka_unit_test(reader_may_die),
        cmocka_unit_test(rewritten_meanwhile),
        cmocka_unit_test(holes),
    };
    return cmocka_run_group_tests_name("store_strangers", tests, make_folder, remove_folder);
}
