/* playable.c - does a film file hold anything that plays?
 * MP4 and MOV are boxes one after the other, [4 bytes size][4 bytes name], size 1: 8 bytes of size
 * follow, size 0: to the end. MKV is elements [name][size][content], both of 1 to 8 bytes, the
 * length told by the first byte's leading zeros; all ones: size unknown. Sources: ISO/IEC 14496-12;
 * RFC 8794, RFC 9559. */
#include "media/playable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ELEMENTS_MAX = 4096 }; /* of an outline; a cluster or the data come among the first */

typedef struct {
    int fd;
    int64_t bytes;
} film_file;

/* n bytes at an offset, 0 if they are not there. */
static int bytes_at(const film_file *f, int64_t at, uint8_t *to, int64_t n)
{
    return at >= 0 && at <= f->bytes - n && pread(f->fd, to, (size_t)n, (off_t)at) == (ssize_t)n;
}

static uint64_t big_endian(const uint8_t *p, int n)
{
    uint64_t value = 0;
    for (int i = 0; i < n; i++)
        value = value << 8 | p[i];
    return value;
}

static int mp4_plays(const film_file *f)
{
    int index = 0, data = 0;
    int64_t at = 0;
    uint8_t head[16];
    for (int i = 0; i < ELEMENTS_MAX && !(index && data) && bytes_at(f, at, head, 8); i++) {
        uint64_t size = big_endian(head, 4);
        if (size == 1 && bytes_at(f, at, head, 16))
            size = big_endian(head + 8, 8);
        const uint64_t left = (uint64_t)(f->bytes - at);
        if (size == 0)
            size = left;
        if (size < 8)
            return 0;
        index |= memcmp(head + 4, "moov", 4) == 0 && size <= left;
        data |= memcmp(head + 4, "mdat", 4) == 0 && size > 8 && left > 8;
        if (size >= left)
            break;
        at += (int64_t)size;
    }
    return index && data;
}

/* A number of 1 to 8 bytes; *all_ones: none given. Returns its length, 0 if it is not there. */
static int ebml_number(const film_file *f, int64_t at, int keep_marker, uint64_t *value,
                       int *all_ones)
{
    uint8_t p[8];
    if (!bytes_at(f, at, p, 1) || p[0] == 0)
        return 0;
    int n = 1;
    while (!(p[0] & (0x80 >> (n - 1))))
        n++;
    if (!bytes_at(f, at, p, n))
        return 0;
    if (!keep_marker)
        p[0] = (uint8_t)(p[0] & ((0x80 >> (n - 1)) - 1));
    *value = big_endian(p, n);
    *all_ones = *value == (UINT64_MAX >> (64 - 7 * n));
    return n;
}

static int mkv_plays(const film_file *f)
{
    enum { HEAD = 0x1a45dfa3, SEGMENT = 0x18538067, CLUSTER = 0x1f43b675 };
    int64_t at = 0;
    for (int i = 0; i < ELEMENTS_MAX; i++) {
        uint64_t name = 0, size = 0;
        int unknown = 0;
        const int n = ebml_number(f, at, 1, &name, &unknown);
        const int m = n > 0 ? ebml_number(f, at + n, 0, &size, &unknown) : 0;
        if (m == 0 || (i == 0 && name != HEAD))
            return 0;
        at += n + m;
        if (name == CLUSTER)
            return at < f->bytes;
        if (name == SEGMENT) /* what follows lies inside */
            continue;
        if (unknown || size > (uint64_t)(f->bytes - at))
            return 0;
        at += (int64_t)size;
    }
    return 0;
}

lt_status lt_film_plays(const char *path)
{
    struct stat info;
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        LT_FAIL(LT_ENOINPUT, "%s: cannot be opened: %s", path, strerror(errno));
    const int regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    const film_file f = {fd, regular ? (int64_t)info.st_size : 0};
    uint8_t head[4];
    const int is_mkv = bytes_at(&f, 0, head, 4) && big_endian(head, 4) == 0x1a45dfa3;
    const int plays = is_mkv ? mkv_plays(&f) : mp4_plays(&f);
    (void)close(fd);
    if (!regular)
        LT_FAIL(LT_ENOINPUT, "%s: want a regular file", path);
    if (!plays)
        LT_FAIL(LT_EDATA, "%s: want a film, found %lld bytes that do not play", path,
                (long long)f.bytes);
    return LT_OK;
}
