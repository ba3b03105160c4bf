/* film_read_io.c - the one file that FFmpeg reads, and whose fault a failure is.
 * The demuxer gets an AVIOContext of ours and an io_open that refuses: whatever a playlist, an
 * ffconcat script or a MOV's data reference names, FFmpeg cannot open it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "media/film_read_internal.h"
#include "media/mux_log.h"

enum { IO_BYTES = 1 << 16 };

static int read_bytes(void *opaque, uint8_t *to, int bytes)
{
    lt_film *f = opaque;
    if (bytes <= 0 || f->at >= f->bytes)
        return AVERROR_EOF;
    ssize_t n;
    do
        n = pread(f->fd, to, (size_t)bytes, (off_t)f->at);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        f->io_errno = errno;
        return AVERROR(errno);
    }
    f->at += n;
    return n > 0 ? (int)n : AVERROR_EOF;
}

static int64_t seek_bytes(void *opaque, int64_t offset, int whence)
{
    lt_film *f = opaque;
    if ((whence & ~AVSEEK_FORCE) == AVSEEK_SIZE)
        return f->bytes;
    const int64_t from = (whence & ~AVSEEK_FORCE) == SEEK_CUR   ? f->at
                         : (whence & ~AVSEEK_FORCE) == SEEK_END ? f->bytes
                                                                : 0;
    int64_t to;
    if (__builtin_add_overflow(from, offset, &to) || to < 0)
        return AVERROR(EINVAL);
    f->at = to;
    return to;
}

static int refuse_open(AVFormatContext *format, AVIOContext **io, const char *url, int flags,
                       AVDictionary **options)
{
    (void)url;
    (void)flags;
    (void)options;
    if (format->opaque != NULL) /* a nested demuxer's is not ours */
        ((lt_film *)format->opaque)->refused = 1;
    *io = NULL;
    return AVERROR(EACCES);
}

/* A call of FFmpeg's failed: whose fault is it? */
lt_status lt_film_fail(lt_film *f, int code, const char *what)
{
    char words[256];
    lt_mux_log_last(words, sizeof words);
    if (f->io_errno != 0)
        LT_FAIL(LT_EIO, "%s: reading failed: %s", f->path, strerror(f->io_errno));
    if (f->refused)
        LT_FAIL(LT_EDATA, "%s: want a film, found a list of other files, which are not opened",
                f->path);
    if (code == AVERROR(ENOMEM))
        LT_FAIL(LT_ENOMEM, "%s: %s: no memory", f->path, what);
    LT_FAIL(LT_EDATA, "%s: %s: %s%s%s", f->path, what, av_err2str(code),
            words[0] != '\0' ? ": " : "", words);
}

static lt_status open_file(lt_film *f)
{
    struct stat info;
    f->fd = open(f->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (f->fd < 0)
        return lt_file_unopened(f->path, errno);
    if (fstat(f->fd, &info) != 0 || !S_ISREG(info.st_mode))
        LT_FAIL(LT_ENOINPUT, "%s: want a regular file", f->path);
    f->bytes = (int64_t)info.st_size;
    if (f->bytes == 0)
        LT_FAIL(LT_EDATA, "%s: want a film, found an empty file", f->path);
    return LT_OK;
}

static lt_status open_io(lt_film *f)
{
    uint8_t *buffer = av_malloc(IO_BYTES);
    f->io = buffer != NULL
                ? avio_alloc_context(buffer, IO_BYTES, 0, f, read_bytes, NULL, seek_bytes)
                : NULL;
    f->format = f->io != NULL ? avformat_alloc_context() : NULL;
    if (f->format == NULL) {
        if (f->io == NULL)
            av_free(buffer);
        LT_FAIL(LT_ENOMEM, "%s: no memory", f->path);
    }
    f->format->pb = f->io;
    f->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    f->format->io_open = refuse_open;
    f->format->opaque = f;
    f->format->max_streams = LT_FILM_STREAMS_MAX;
    return LT_OK;
}

lt_status lt_film_io_open(lt_film *f)
{
    LT_TRY(open_file(f));
    return open_io(f);
}
