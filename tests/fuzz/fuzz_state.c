/* fuzz_state.c - any bytes as a state file, or (beginning with '{') as a commit record.
 * What opens must give blocks that tile its arrays, in order, and no more memory than a block; as
 * it is, and once more with its seal forged, since anybody can. A record that is read must come
 * back as it was when it is written, and lt_state_find must end well whatever lies in the folder.
 * Else it is LT_EDATA, with the file's name. Seeds are files that our writer makes. */
#include "fuzz_main.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/log.h"
#include "run/state/state_folder.h"
#include "run/state/state_internal.h"

#define RECORD "step-000012.e003.commit"
#define FILE_0 "step-000012.e003.w000.lt"

static char run[64], folder[96];

static void require(int truth)
{
    if (!truth)
        abort();
}

static const char *path_of(const char *name)
{
    static char path[192];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *path, const void *data, size_t bytes)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    require(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes);
    (void)close(fd);
}

static void must_name_the_file(lt_status st, const char *path)
{
    require(st == LT_OK || (st == LT_EDATA && strstr(lt_error_text(), path) != NULL));
    lt_error_clear();
}

static lt_status read_all(lt_state_reader *r)
{
    int64_t seen[LT_STATE_ARRAYS_MAX] = {0};
    lt_state_block b;
    int last = 0;
    for (;;) {
        const lt_status st = lt_state_reader_next(r, &b);
        if (st != LT_OK)
            return st;
        if (b.count == 0)
            break;
        const lt_state_array *a = lt_state_reader_array(r, b.array);
        const size_t bytes = (size_t)b.count * lt_dtype_bytes(a->dtype);
        require(bytes <= LT_STATE_BLOCK_BYTES && b.array >= last && b.first == seen[b.array]);
        require(XXH64(b.values, bytes, 0) != 1); /* reads all of it */
        last = b.array;
        seen[b.array] += b.count;
    }
    for (int i = 0; i < lt_state_reader_count(r); i++)
        require(seen[i] == lt_state_elements(lt_state_reader_array(r, i)));
    return LT_OK;
}

static void as_file(const uint8_t *data, size_t size)
{
    lt_state_reader *r = NULL;
    const char *path = path_of("any.lt");
    put(path, data, size);
    lt_status st = lt_state_reader_open(path, &r);
    require((st == LT_OK) == (r != NULL));
    if (st == LT_OK)
        st = read_all(r);
    must_name_the_file(st, path);
    lt_state_reader_close(&r);
}

/* The seal of what comes before its place. */
static void forge(uint8_t *data, size_t size)
{
    char seal[LT_STATE_SEAL_BYTES + 1];
    const size_t body = size - LT_STATE_SEAL_BYTES;
    (void)snprintf(seal, sizeof seal, LT_STATE_SEAL "%016" PRIx64, (uint64_t)XXH64(data, body, 0));
    memcpy(data + body, seal, LT_STATE_SEAL_BYTES);
}

static void as_record(const uint8_t *data, size_t size)
{
    lt_commit c, again;
    put(path_of(RECORD), data, size);
    const lt_status st = lt_commit_read(path_of(RECORD), &c);
    must_name_the_file(st, path_of(RECORD));
    if (st == LT_OK) {
        require(lt_commit_write(folder, &c) == LT_OK);
        require(lt_commit_read(path_of(RECORD), &again) == LT_OK);
        require(again.job == c.job && again.count == c.count);
        require(memcmp(again.file, c.file, (size_t)c.count * sizeof *c.file) == 0);
        lt_commit_free(&again);
    }
    lt_commit_free(&c);
    require(lt_state_find(run, 0x5eed, &c) == LT_OK);
    lt_commit_free(&c);
    lt_state_prune(folder, &(lt_state_marks){.epoch = 3, .keep = 1});
    (void)unlink(path_of(RECORD));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == '{') {
        as_record(data, size);
        return 0;
    }
    as_file(data, size);
    if (size > LT_STATE_SEAL_BYTES) {
        uint8_t *forged = malloc(size);
        require(forged != NULL);
        memcpy(forged, data, size);
        forge(forged, size);
        as_file(forged, size);
        free(forged);
    }
    return 0;
}

static fuzz_seed seeds[5];

static fuzz_seed read_seed(const char *name)
{
    char *text = NULL;
    size_t bytes = 0;
    require(lt_file_read(path_of(name), 1 << 20, &text, &bytes) == LT_OK);
    return (fuzz_seed){text, bytes};
}

static fuzz_seed file_seed(int arrays, lt_dtype dtype, int64_t count)
{
    static float values[4096];
    lt_state_array a[2] = {{"latents", dtype, 3, {2, count, 3}, 1, 5, count + 9, values},
                           {"audio_latents", dtype, 1, {count}, 0, 0, count, values}};
    lt_state_head head = {.job = 0x5eed, .epoch = 3, .place = {12, 20, 0, 0, 1}, .mode = "extend"};
    for (int i = 0; i < 4096; i++)
        values[i] = (float)((unsigned)i * 2654435761u % 1000) / 1000.0f;
    head.chosen = json_pack("{s:s, s:i}", "mode", "extend", "steps", 20);
    require(lt_state_file_write(path_of(FILE_0), &head, a, arrays, NULL) == LT_OK);
    json_decref(head.chosen);
    return read_seed(FILE_0);
}

static void remove_folder(void)
{
    static const char *const names[] = {FILE_0, RECORD, "any.lt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)unlink(path_of(names[i]));
    (void)rmdir(folder);
    (void)rmdir(run);
}

__attribute__((constructor)) static void seeds_make(void)
{
    lt_commit_file file = {.name = FILE_0};
    lt_commit c = {0x5eed, 3, {12, 20, 0, 0, 1}, &file, 1};
    (void)snprintf(run, sizeof run, "/tmp/longtake-fuzz-XXXXXX");
    require(mkdtemp(run) != NULL && atexit(remove_folder) == 0);
    (void)snprintf(folder, sizeof folder, "%s/state", run);
    require(mkdir(folder, 0777) == 0);
    lt_log_open(1, 2, 0); /* a rank that prints no warnings */
    seeds[0] = file_seed(0, LT_F32, 1);
    seeds[1] = file_seed(1, LT_F32, 20);
    seeds[2] = file_seed(2, LT_BF16, 100);
    seeds[3] = file_seed(2, LT_F32, 3);
    require(lt_state_file_check(path_of(FILE_0), &file.sum) == LT_OK);
    require(lt_commit_write(folder, &c) == LT_OK);
    seeds[4] = read_seed(RECORD);
}

FUZZ_MAIN("state", seeds, 1 << 14)
