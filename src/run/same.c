/* same.c - do all ranks run the same program, with the same words?
 * Each rank hashes what it has (xxHash, XXH3), all hashes meet, and every rank compares them with
 * rank 0's, so that all come to the same verdict. */
#include "run/same.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/fault.h"
#include "base/file.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"

enum { HEAD_BYTES = 1 << 20, LIST_BYTES = 128 };

static uint64_t mix(uint64_t h, const void *data, size_t bytes)
{
    return XXH3_64bits_withSeed(data, bytes, h);
}

static void add_rank(char *list, int rank)
{
    const size_t at = strlen(list);
    if (at + 16 < LIST_BYTES)
        (void)snprintf(list + at, LIST_BYTES - at, "%s%d", at > 0 ? ", " : "", rank);
    else if (at + 4 < LIST_BYTES && list[at - 1] != '.')
        (void)snprintf(list + at, LIST_BYTES - at, "...");
}

static lt_status compare(lt_group *world, lt_status status, const char *what, uint64_t mine)
{
    const int size = lt_group_size(world);
    char list[LIST_BYTES] = "";
    int others = 0;
    uint64_t *all = calloc((size_t)size, sizeof *all);
    lt_status st = LT_OK;
    if (all == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "no memory for %d hashes", size);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    assert(all != NULL);
    LT_TRY_GOTO(lt_all_gather_host(world, &mine, sizeof mine, all), st, done);
    for (int i = 1; i < size; i++)
        if (all[i] != all[0]) {
            others++;
            add_rank(list, i);
        }
    if (others > 0)
        st = lt_fail(status, __FILE__, __LINE__,
                     "%s: want the same on all ranks, found another on rank%s %s (rank 0 has hash "
                     "%016llx)",
                     what, others == 1 ? "" : "s", list, (unsigned long long)all[0]);
    st = lt_agree(world, st);
done:
    free(all);
    return st;
}

/* The size of a file and its first bytes; a file that is not there counts as empty. */
static lt_status mix_file(uint64_t *h, const char *path)
{
    static char head[HEAD_BYTES];
    struct stat s;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return LT_OK;
    if (fd < 0)
        return lt_file_unopened(path, errno);
    lt_status st = LT_OK;
    if (fstat(fd, &s) != 0) {
        st = lt_fail(LT_EIO, __FILE__, __LINE__, "%s: %s", path, strerror(errno));
    } else {
        const int64_t size = (int64_t)s.st_size;
        const size_t bytes = size < HEAD_BYTES ? (size_t)size : HEAD_BYTES;
        st = lt_file_pread_full(fd, path, head, bytes, 0);
        *h = mix(mix(*h, &size, sizeof size), head, bytes);
    }
    (void)close(fd);
    return st;
}

lt_status lt_same_program(lt_group *world, int argc, char *const argv[])
{
    if (lt_group_size(world) == 1)
        return LT_OK;
    uint64_t h = mix(0, LT_VERSION, sizeof LT_VERSION);
    LT_TRY(lt_agree(world, mix_file(&h, "/proc/self/exe")));
    h += (uint64_t)lt_fault_is(lt_group_rank(world), "program");
    LT_TRY(compare(world, LT_EUSAGE, "the program (version " LT_VERSION ")", h));
    h = 0;
    for (int i = 0; i < argc; i++)
        h = mix(h, argv[i], strlen(argv[i]) + 1);
    LT_TRY(compare(world, LT_EUSAGE, "the program's arguments", h));
    return LT_OK;
}
