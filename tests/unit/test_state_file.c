/* test_state_file.c - arrays in a state file, and every way in which a file is not one of ours.
 * Goal: values come back to the bit, of every width and length around a block's; whatever byte of a
 * file is altered, cut or added is an error that names the file, LT_EDATA, and sizes that a head
 * claims are refused before memory is taken. Method: a file each; heads written by hand and sealed,
 * since anybody can. Ranks: 1. Needs: /tmp. */
#include "tests/support/check.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "run/state/state_internal.h"

#include "tests/support/the_scratch.h"

static const lt_state_head a_head = {.kind = LT_STATE_LATENTS,
                                     .job = 0x0123456789abcdefu,
                                     .epoch = 3,
                                     .place = {12, 20, 1, 1, 2},
                                     .mode = "windows"};

static lt_state_array array_of(const char *name, lt_dtype dtype, int64_t count, const void *data)
{
    lt_state_array a = {.dtype = dtype, .ndim = 1, .dim = {count}, .units = count, .data = data};
    (void)snprintf(a.name, sizeof a.name, "%s", name);
    return a;
}

/* Noise, as latents are. */
static void fill(unsigned char *to, size_t bytes)
{
    uint32_t x = 1;
    for (size_t i = 0; i < bytes; i++) {
        x = x * 1664525u + 1013904223u;
        to[i] = (unsigned char)(x >> 24);
    }
}

/* ---- there and back ---- */

static void same_bytes(const char *path, const lt_state_array *array, int count)
{
    lt_state_reader *r = NULL;
    lt_state_block b;
    OK(lt_state_reader_open(path, &r));
    assert_int_equal(lt_state_reader_count(r), count);
    int64_t seen[LT_STATE_ARRAYS_MAX] = {0};
    for (;;) {
        OK(lt_state_reader_next(r, &b));
        if (b.count == 0)
            break;
        const size_t width = lt_dtype_bytes(array[b.array].dtype);
        assert_int_equal(b.first, seen[b.array]);
        assert_memory_equal(b.values,
                            (const unsigned char *)array[b.array].data + (size_t)b.first * width,
                            (size_t)b.count * width);
        seen[b.array] += b.count;
    }
    for (int i = 0; i < count; i++)
        assert_int_equal(seen[i], lt_state_elements(&array[i]));
    lt_state_reader_close(&r);
}

static void values_come_back(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        lt_dtype dtype;
        int64_t count;
    } cases[] = {{"nothing", LT_F32, 0},
                 {"one value", LT_F32, 1},
                 {"one short of a block", LT_F32, LT_STATE_BLOCK_BYTES / 4 - 1},
                 {"a block", LT_F32, LT_STATE_BLOCK_BYTES / 4},
                 {"one more", LT_F32, LT_STATE_BLOCK_BYTES / 4 + 1},
                 {"three blocks of two bytes each", LT_BF16, 3 * LT_STATE_BLOCK_BYTES / 2 - 5},
                 {"bytes", LT_U8, 1000},
                 {"of eight bytes", LT_I64, LT_STATE_BLOCK_BYTES / 8 + 3}};
    enum { COUNT = sizeof cases / sizeof *cases };
    unsigned char *noise = malloc(4 * LT_STATE_BLOCK_BYTES);
    assert_non_null(noise);
    fill(noise, 4 * LT_STATE_BLOCK_BYTES);
    lt_state_array all[COUNT];
    const char *path = scratch_path(&s, "a.lt");
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "a%d", i);
        all[i] = array_of(name, cases[i].dtype, cases[i].count, noise);
        OK(lt_state_file_write(path, &a_head, &all[i], 1, NULL));
        same_bytes(path, &all[i], 1);
    }
    OK(lt_state_file_write(path, &a_head, all, COUNT, NULL)); /* all in one */
    same_bytes(path, all, COUNT);
    free(noise);
}

/* Zeros and constants pack; the file of noise is smaller than noise. */
static void exponents_pack(void **state)
{
    (void)state;
    enum { N = 100000 };
    float *x = malloc(N * sizeof *x);
    lt_state_sum sum;
    assert_non_null(x);
    uint32_t r = 7;
    for (int i = 0; i < N; i++) {
        r = r * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)r * 0x1p-31f;
    }
    const lt_state_array a = array_of("x", LT_F32, N, x);
    OK(lt_state_file_write(scratch_path(&s, "noise.lt"), &a_head, &a, 1, &sum));
    if (!(sum.bytes < (int64_t)(N * sizeof *x * 92 / 100)))
        fail_msg("%lld bytes of %zu: want under 92 %%", (long long)sum.bytes, N * sizeof *x);
    memset(x, 0, N * sizeof *x);
    OK(lt_state_file_write(scratch_path(&s, "zeros.lt"), &a_head, &a, 1, &sum));
    assert_true(sum.bytes < 2000); /* a hundred a plane */
    free(x);
}

static void the_head_comes_back(void **state)
{
    (void)state;
    const float x[24] = {0};
    lt_state_head head = a_head;
    lt_state_array a = {.name = "latents",
                        .dtype = LT_F32,
                        .ndim = 4,
                        .dim = {2, 3, 2, 2},
                        .axis = 1,
                        .first = 5,
                        .units = 9,
                        .data = x};
    lt_state_reader *r = NULL;
    lt_state_sum sum, again;
    head.chosen = json_pack("{s:s, s:i}", "mode", "windows", "steps", 20);
    const char *path = scratch_path(&s, "head.lt");
    OK(lt_state_file_write(path, &head, &a, 1, &sum));
    OK(lt_state_reader_open(path, &r));
    const lt_state_head *h = lt_state_reader_head(r);
    assert_true(h->kind == head.kind && h->job == head.job && h->epoch == 3);
    assert_memory_equal(&h->place, &head.place, sizeof h->place);
    assert_string_equal(h->mode, "windows");
    assert_true(json_equal(h->chosen, head.chosen));
    const lt_state_array *b = lt_state_reader_array(r, 0);
    assert_string_equal(b->name, "latents");
    assert_true(b->ndim == 4 && b->axis == 1 && b->first == 5 && b->units == 9 && b->dim[1] == 3);
    lt_state_reader_close(&r);
    OK(lt_state_file_check(path, &again));
    assert_true(again.bytes == sum.bytes && again.hash == sum.hash);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, sum.bytes);
    json_decref(head.chosen);
}

/* ---- what is not a file of ours ---- */

static void want_error(const char *why, const char *path, lt_status wanted, const char *says)
{
    const lt_status st = lt_state_file_check(path, NULL);
    if (st != wanted)
        fail_msg("%s: want %s, found %s: %s", why, lt_status_name(wanted), lt_status_name(st),
                 lt_error_text());
    if (strstr(lt_error_text(), path) == NULL || strstr(lt_error_text(), says) == NULL)
        fail_msg("%s: want '%s' and the file's name in '%s'", why, says, lt_error_text());
    lt_error_clear();
}

static size_t whole(unsigned char *to, size_t room)
{
    float x[300];
    fill((unsigned char *)x, sizeof x);
    const lt_state_array a = array_of("latents", LT_F32, 300, x);
    const char *path = scratch_path(&s, "whole.lt");
    OK(lt_state_file_write(path, &a_head, &a, 1, NULL));
    const int fd = open(path, O_RDONLY);
    const ssize_t n = read(fd, to, room);
    assert_true(n > 0 && (size_t)n < room && close(fd) == 0);
    return (size_t)n;
}

static void every_byte_counts(void **state)
{
    (void)state;
    unsigned char file[4096];
    const size_t bytes = whole(file, sizeof file);
    const char *path = scratch_path(&s, "altered.lt");
    for (size_t i = 0; i < bytes; i++) {
        file[i] ^= 0x20;
        scratch_write(&s, "altered.lt", file, bytes);
        want_error("an altered byte", path, LT_EDATA, ":");
        file[i] ^= 0x20;
    }
    for (size_t n = 0; n < bytes; n++) {
        scratch_write(&s, "altered.lt", file, n);
        want_error("cut short", path, LT_EDATA, ":");
    }
    file[bytes] = 0;
    scratch_write(&s, "altered.lt", file, bytes + 1);
    want_error("a byte more", path, LT_EDATA, ":");
}

/* A file of this head and these bytes behind it, sealed. */
static void forge(const char *name, const char *head, uint32_t says, const void *blocks,
                  size_t bytes)
{
    unsigned char file[8192];
    char seal[LT_STATE_SEAL_BYTES + 1];
    const size_t n = strlen(head);
    memcpy(file, LT_STATE_MAGIC, 8);
    lt_state_put_u32(file + 8, LT_STATE_VERSION);
    lt_state_put_u32(file + 12, says > 0 ? says : (uint32_t)n);
    memcpy(file + 16, head, n);
    if (bytes > 0)
        memcpy(file + 16 + n, blocks, bytes);
    (void)snprintf(seal, sizeof seal, LT_STATE_SEAL "%016" PRIx64,
                   (uint64_t)XXH64(file, 16 + n + bytes, 0));
    memcpy(file + 16 + n + bytes, seal, LT_STATE_SEAL_BYTES);
    scratch_write(&s, name, file, 16 + n + bytes + LT_STATE_SEAL_BYTES);
}

#define HEAD(array)                                                                                \
    "{\"kind\":\"latents\",\"job\":\"0123456789abcdef\",\"epoch\":1,\"step\":1,\"steps\":2,"       \
    "\"shot\":0,\"pass\":0,\"chunk\":0,\"mode\":\"single\",\"arrays\":[" array "]}"
#define ARRAY(dims, rest) "{\"name\":\"x\",\"dtype\":\"F32\",\"dims\":" dims "," rest "}"

static void heads_are_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *why, *head, *says;
        uint32_t bytes;
    } cases[] = {
        {"no JSON", "{", "not JSON", 0},
        {"no object", "[]", "kind", 0},
        {"a head of 4 GiB", "{}", "head: want at most", 0xffffffffu},
        {"a head longer than the file", "{}", "cut short", 1000},
        {"a kind that is none", "{\"kind\":\"film\"}", "kind: want latents, text or tables", 0},
        {"a job that is no hash", "{\"kind\":\"text\",\"job\":\"12\"}",
         "job: want 16 hexadecimal digits", 0},
        {"dims that wrap", HEAD(ARRAY("[281474976710656,281474976710656]", "\"axis\":0")),
         "dims: want a product of at most", 0},
        {"dims below 0", HEAD(ARRAY("[-4]", "\"axis\":0")), "dims", 0},
        {"no dims", HEAD(ARRAY("[]", "\"axis\":0")), "dims: want 1 to 4", 0},
        {"five dims", HEAD(ARRAY("[1,1,1,1,1]", "\"axis\":0")), "dims", 0},
        {"an axis that is none", HEAD(ARRAY("[4]", "\"axis\":1")), "axis", 0},
        {"fewer units than positions", HEAD(ARRAY("[4]", "\"axis\":0,\"units\":3,\"first\":0")),
         "units", 0},
        {"positions behind the end", HEAD(ARRAY("[4]", "\"axis\":0,\"units\":6,\"first\":3")),
         "first", 0},
        {"a type that is none", HEAD("{\"name\":\"x\",\"dtype\":\"F31\",\"dims\":[1],\"axis\":0}"),
         "dtype", 0},
        {"a name without end",
         HEAD("{\"name\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\",\"dtype\":\"F32\"}"), "name",
         0},
        {"a step behind the last",
         "{\"kind\":\"latents\",\"job\":\"0123456789abcdef\",\"epoch\":1,\"step\":3,\"steps\":2}",
         "step", 0},
        {"values that are not there",
         HEAD(ARRAY("[281474976710656]", "\"axis\":0,\"units\":281474976710656,\"first\":0")),
         "x: want 4 bytes", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        forge("forged.lt", cases[i].head, cases[i].bytes, NULL, 0);
        want_error(cases[i].why, scratch_path(&s, "forged.lt"), LT_EDATA, cases[i].says);
    }
}

/* Frames that are whole in themselves, and not what the head says. */
static void frames_are_bounded(void **state)
{
    (void)state;
    const char *head = HEAD(ARRAY("[4]", "\"axis\":0,\"units\":4,\"first\":0"));
    static const unsigned char zeros[LT_STATE_BLOCK_BYTES];
    unsigned char blocks[2048];
    static const struct {
        const char *why, *says;
        size_t plain; /* what the frame unpacks to */
        uint32_t packed;
    } cases[] = {{"a frame of too many bytes", "want zstd frames of 16 bytes", sizeof zeros, 0},
                 {"a frame of too few", "want zstd frames of 16 bytes", 8, 0},
                 {"a length of 4 GiB", "a block: want at most", 16, 0xffffffffu},
                 {"a length past the end", "cut short", 16, 2000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t n = ZSTD_compress(blocks + 4, sizeof blocks - 4, zeros, cases[i].plain, 1);
        assert_false(ZSTD_isError(n));
        lt_state_put_u32(blocks, cases[i].packed > 0 ? cases[i].packed : (uint32_t)n);
        forge("forged.lt", head, 0, blocks, n + 4);
        want_error(cases[i].why, scratch_path(&s, "forged.lt"), LT_EDATA, cases[i].says);
    }
}

static void not_a_file(void **state)
{
    (void)state;
    scratch_folder(&s, "folder.lt");
    assert_int_equal(mkfifo(scratch_path(&s, "pipe.lt"), 0666), 0);
    assert_int_equal(symlink("whole.lt", scratch_path(&s, "link.lt")), 0);
    static const char *const names[] = {"none.lt", "folder.lt", "pipe.lt", "link.lt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        want_error(names[i], scratch_path(&s, names[i]), LT_ENOINPUT, ":");
}

/* No room at any byte: the error says so, nothing new stays, and what was there is as it was. */
static void a_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    struct rlimit all;
    float x[3000];
    fill((unsigned char *)x, sizeof x);
    const lt_state_array a = array_of("latents", LT_F32, 3000, x);
    lt_state_sum sum, after;
    const char *path = scratch_path(&s, "kept.lt");
    OK(lt_state_file_write(path, &a_head, &a, 1, &sum));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    for (int64_t room = 0; room < sum.bytes; room += 401) {
        const struct rlimit little = {(rlim_t)room, all.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
        const lt_status st = lt_state_file_write(path, &a_head, &a, 1, NULL);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
        if (st != LT_EIO || strstr(lt_error_text(), path) == NULL)
            fail_msg("room of %lld bytes: %s: %s", (long long)room, lt_status_name(st),
                     lt_error_text());
        lt_error_clear();
    }
    OK(lt_state_file_check(path, &after));
    assert_true(after.hash == sum.hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back),    cmocka_unit_test(exponents_pack),
        cmocka_unit_test(the_head_comes_back), cmocka_unit_test(every_byte_counts),
        cmocka_unit_test(heads_are_bounded),   cmocka_unit_test(frames_are_bounded),
        cmocka_unit_test(not_a_file),          cmocka_unit_test(a_full_disk_leaves_the_old_file)};
    return cmocka_run_group_tests_name("state_file", tests, scratch_setup, scratch_teardown);
}
