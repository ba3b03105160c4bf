/* fail_calls.c - the calls that can be made to fail, and how each says so. See fail_nth.h.
 *
 * ld sends NAME to __wrap_NAME and __real_NAME to NAME, for each name that stands behind WRAP or
 * WRAP_OWN at the beginning of a line here. Libraries' types are written as what they are passed
 * as, so that no version of a header matters; MPI's alone differ between its makers. */
#include "tests/faults/fail_nth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#ifdef LT_HAVE_MPI
#include <mpi.h>
#endif

#define WRAP(name, kind, fails, type, params, args)                                                \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params                                                                      \
    {                                                                                              \
        if (fail_here(kind, #name)) {                                                              \
            fails;                                                                                 \
        }                                                                                          \
        return __real_##name args;                                                                 \
    }
/* Declares __real_NAME; the wrapper itself follows. */
#define WRAP_OWN(name, type, params)                                                               \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params

/* ---- memory ---- */

static void *held(void *p)
{
    if (p != NULL && fail_now != NULL)
        (void)atomic_fetch_add(&fail_held, 1);
    return p;
}

#define NO_MEMORY(answer) return (errno = ENOMEM, (answer))

/* jansson 2.14's lexer goes on when its buffer does not grow, and then reads and writes past it:
 * base/json.c asks for the memory first, and nothing fails inside. */
enum { JSON_OUT_OF_MEMORY = 1, JSON_ERROR_BYTES = 252 };
static _Thread_local int parses;

WRAP_OWN(json_loadb, void *, (const char *text, size_t bytes, size_t flags, void *error))
{
    if (fail_here(FAIL_MEMORY, "json_loadb")) {
        if (error != NULL) {
            memset(error, 0, JSON_ERROR_BYTES);
            ((char *)error)[JSON_ERROR_BYTES - 1] = JSON_OUT_OF_MEMORY;
        }
        return NULL;
    }
    parses = 1;
    void *value = __real_json_loadb(text, bytes, flags, error);
    parses = 0;
    return value;
}

WRAP_OWN(malloc, void *, (size_t bytes))
{
    if (!parses && fail_here(FAIL_MEMORY, "malloc"))
        NO_MEMORY(NULL);
    return held(__real_malloc(bytes));
}
WRAP_OWN(calloc, void *, (size_t n, size_t bytes))
{
    if (fail_here(FAIL_MEMORY, "calloc"))
        NO_MEMORY(NULL);
    return held(__real_calloc(n, bytes));
}
WRAP_OWN(realloc, void *, (void *p, size_t bytes))
{
    if (fail_here(FAIL_MEMORY, "realloc"))
        NO_MEMORY(NULL);
    return p == NULL ? held(__real_realloc(p, bytes)) : __real_realloc(p, bytes);
}
WRAP_OWN(aligned_alloc, void *, (size_t unit, size_t bytes))
{
    if (fail_here(FAIL_MEMORY, "aligned_alloc"))
        NO_MEMORY(NULL);
    return held(__real_aligned_alloc(unit, bytes));
}
WRAP_OWN(posix_memalign, int, (void **out, size_t unit, size_t bytes))
{
    if (fail_here(FAIL_MEMORY, "posix_memalign"))
        return ENOMEM;
    const int code = __real_posix_memalign(out, unit, bytes);
    if (code == 0)
        (void)held(*out);
    return code;
}
WRAP_OWN(strdup, char *, (const char *text))
{
    if (fail_here(FAIL_MEMORY, "strdup"))
        NO_MEMORY(NULL);
    return held(__real_strdup(text));
}
WRAP_OWN(strndup, char *, (const char *text, size_t n))
{
    if (fail_here(FAIL_MEMORY, "strndup"))
        NO_MEMORY(NULL);
    return held(__real_strndup(text, n));
}
WRAP_OWN(free, void, (void *p))
{
    if (p != NULL && fail_now != NULL)
        (void)atomic_fetch_sub(&fail_held, 1);
    __real_free(p);
}

WRAP(mmap, FAIL_MEMORY, NO_MEMORY((void *)-1), void *,
     (void *at, size_t bytes, int prot, int flags, int file, off_t offset),
     (at, bytes, prot, flags, file, offset))
WRAP(memfd_create, FAIL_MEMORY, NO_MEMORY(-1), int, (const char *name, unsigned flags),
     (name, flags))
WRAP(open_memstream, FAIL_MEMORY, NO_MEMORY(NULL), FILE *, (char **text, size_t *bytes),
     (text, bytes))
WRAP(pthread_create, FAIL_MEMORY, return EAGAIN, int,
     (void *thread, const void *attr, void *(*run)(void *), void *user), (thread, attr, run, user))
WRAP(ZSTD_createCCtx, FAIL_MEMORY, return NULL, void *, (void), ())
WRAP(ZSTD_createDCtx, FAIL_MEMORY, return NULL, void *, (void), ())
WRAP(XXH64_createState, FAIL_MEMORY, return NULL, void *, (void), ())
WRAP(yaml_parser_initialize, FAIL_MEMORY, return 0, int, (void *parser), (parser))
WRAP(yaml_parser_parse, FAIL_MEMORY, return 0, int, (void *parser, void *event), (parser, event))
WRAP(av_malloc, FAIL_MEMORY, return NULL, void *, (size_t bytes), (bytes))
WRAP(av_frame_alloc, FAIL_MEMORY, return NULL, void *, (void), ())
WRAP(av_packet_alloc, FAIL_MEMORY, return NULL, void *, (void), ())
WRAP(av_frame_get_buffer, FAIL_MEMORY, return -ENOMEM, int, (void *frame, int align),
     (frame, align))
WRAP(av_frame_make_writable, FAIL_MEMORY, return -ENOMEM, int, (void *frame), (frame))
WRAP(av_dict_set, FAIL_MEMORY, return -ENOMEM, int,
     (void *dict, const char *key, const char *value, int flags), (dict, key, value, flags))
WRAP(av_dict_set_int, FAIL_MEMORY, return -ENOMEM, int,
     (void *dict, const char *key, int64_t value, int flags), (dict, key, value, flags))
WRAP(av_dict_copy, FAIL_MEMORY, return -ENOMEM, int, (void *to, const void *from, int flags),
     (to, from, flags))
WRAP(av_channel_layout_copy, FAIL_MEMORY, return -ENOMEM, int, (void *to, const void *from),
     (to, from))
WRAP(avcodec_alloc_context3, FAIL_MEMORY, return NULL, void *, (const void *codec), (codec))
WRAP(avcodec_open2, FAIL_MEMORY, return -ENOMEM, int,
     (void *context, const void *codec, void *options), (context, codec, options))
WRAP(avcodec_parameters_from_context, FAIL_MEMORY, return -ENOMEM, int,
     (void *to, const void *from), (to, from))
WRAP(avcodec_parameters_copy, FAIL_MEMORY, return -ENOMEM, int, (void *to, const void *from),
     (to, from))
WRAP(avcodec_send_frame, FAIL_MEMORY, return -ENOMEM, int, (void *context, const void *frame),
     (context, frame))
WRAP(avcodec_receive_packet, FAIL_MEMORY, return -ENOMEM, int, (void *context, void *packet),
     (context, packet))
WRAP(avformat_alloc_output_context2, FAIL_MEMORY, *out = NULL;
     return -ENOMEM, int, (void **out, const void *format, const char *name, const char *file),
            (out, format, name, file))
WRAP(avformat_new_stream, FAIL_MEMORY, return NULL, void *, (void *file, const void *codec),
     (file, codec))
WRAP(avio_alloc_context, FAIL_MEMORY, return NULL, void *,
     (void *buffer, int bytes, int writes, void *user, void *read, void *write, void *seek),
     (buffer, bytes, writes, user, read, write, seek))
WRAP(sws_alloc_context, FAIL_MEMORY, return NULL, void *, (void), ())
WRAP(sws_init_context, FAIL_MEMORY, return -ENOMEM, int, (void *sws, void *from, void *to),
     (sws, from, to))
WRAP(sws_scale, FAIL_MEMORY, return -ENOMEM, int,
     (void *sws, const void *from, const int *step, int y, int rows, const void *to,
      const int *to_step),
     (sws, from, step, y, rows, to, to_step))
WRAP(dnnl_engine_create, FAIL_MEMORY, return 1, int, (void *out, int kind, size_t index),
     (out, kind, index))
WRAP(dnnl_stream_create, FAIL_MEMORY, return 1, int, (void *out, void *engine, unsigned flags),
     (out, engine, flags))
WRAP(dnnl_memory_create, FAIL_MEMORY, return 1, int,
     (void *out, const void *of, void *engine, void *data), (out, of, engine, data))
WRAP(dnnl_primitive_create, FAIL_MEMORY, return 1, int, (void *out, const void *of), (out, of))
WRAP(dnnl_primitive_attr_create, FAIL_MEMORY, return 1, int, (void *out), (out))
WRAP(dnnl_primitive_execute, FAIL_MEMORY, return 1, int,
     (const void *primitive, void *stream, int n, const void *args), (primitive, stream, n, args))

/* ---- reading ---- */

#define NOT_READ(answer) return (errno = EIO, (answer))

WRAP(read, FAIL_READ, NOT_READ(-1), ssize_t, (int file, void *to, size_t bytes), (file, to, bytes))
WRAP(pread, FAIL_READ, NOT_READ(-1), ssize_t, (int file, void *to, size_t bytes, off_t at),
     (file, to, bytes, at))
WRAP(lseek, FAIL_READ, NOT_READ(-1), off_t, (int file, off_t at, int from), (file, at, from))
WRAP(stat, FAIL_READ, NOT_READ(-1), int, (const char *path, struct stat *out), (path, out))
WRAP(lstat, FAIL_READ, NOT_READ(-1), int, (const char *path, struct stat *out), (path, out))
WRAP(fstat, FAIL_READ, NOT_READ(-1), int, (int file, struct stat *out), (file, out))
WRAP(fstatat, FAIL_READ, NOT_READ(-1), int, (int at, const char *path, struct stat *out, int flags),
     (at, path, out, flags))
WRAP(opendir, FAIL_READ, NOT_READ(NULL), void *, (const char *path), (path))
WRAP(fdopendir, FAIL_READ, NOT_READ(NULL), void *, (int file), (file))
WRAP(readdir, FAIL_READ, NOT_READ(NULL), void *, (void *folder), (folder))
WRAP(readlink, FAIL_READ, NOT_READ(-1), ssize_t, (const char *path, char *to, size_t bytes),
     (path, to, bytes))
WRAP(realpath, FAIL_READ, NOT_READ(NULL), char *, (const char *path, char *to), (path, to))
WRAP(statvfs, FAIL_READ, NOT_READ(-1), int, (const char *path, void *out), (path, out))
WRAP(H5Fopen, FAIL_READ, return -1, int64_t, (const char *path, unsigned flags, int64_t list),
     (path, flags, list))
WRAP(H5Dopen2, FAIL_READ, return -1, int64_t, (int64_t at, const char *name, int64_t list),
     (at, name, list))
WRAP(H5Dread, FAIL_READ, return -1, int,
     (int64_t data, int64_t type, int64_t to_space, int64_t from_space, int64_t list, void *to),
     (data, type, to_space, from_space, list, to))
WRAP(H5Dread_chunk, FAIL_READ, return -1, int,
     (int64_t data, int64_t list, const void *at, void *filters, void *to),
     (data, list, at, filters, to))
WRAP(H5Aopen, FAIL_READ, return -1, int64_t, (int64_t at, const char *name, int64_t list),
     (at, name, list))
WRAP(H5Aread, FAIL_READ, return -1, int, (int64_t attribute, int64_t type, void *to),
     (attribute, type, to))
WRAP(H5Dget_space, FAIL_READ, return -1, int64_t, (int64_t data), (data))
WRAP(H5Dget_type, FAIL_READ, return -1, int64_t, (int64_t data), (data))
WRAP(H5Aget_type, FAIL_READ, return -1, int64_t, (int64_t attribute), (attribute))
WRAP(H5Aget_space, FAIL_READ, return -1, int64_t, (int64_t attribute), (attribute))
WRAP(H5Dget_create_plist, FAIL_READ, return -1, int64_t, (int64_t data), (data))
WRAP(avformat_open_input, FAIL_READ, return -EIO, int,
     (void *out, const char *path, const void *format, void *options), (out, path, format, options))
WRAP(avformat_find_stream_info, FAIL_READ, return -EIO, int, (void *file, void *options),
     (file, options))
WRAP(av_read_frame, FAIL_READ, return -EIO, int, (void *file, void *packet), (file, packet))
WRAP(fread, FAIL_READ, NOT_READ(0), size_t, (void *to, size_t bytes, size_t n, FILE *f),
     (to, bytes, n, f))
WRAP(fgets, FAIL_READ, NOT_READ(NULL), char *, (char *to, int bytes, FILE *f), (to, bytes, f))

/* ---- writing ---- */

#define NOT_WRITTEN(answer) return (errno = ENOSPC, (answer))

static fail_kind writes(int file) { return file == STDERR_FILENO ? FAIL_SAY : FAIL_WRITE; }

WRAP(write, writes(file), NOT_WRITTEN(-1), ssize_t, (int file, const void *from, size_t bytes),
     (file, from, bytes))
WRAP(pwrite, FAIL_WRITE, NOT_WRITTEN(-1), ssize_t,
     (int file, const void *from, size_t bytes, off_t at), (file, from, bytes, at))
WRAP(writev, writes(file), NOT_WRITTEN(-1), ssize_t, (int file, const void *parts, int n),
     (file, parts, n))
WRAP(fsync, FAIL_WRITE, NOT_WRITTEN(-1), int, (int file), (file))
WRAP(fdatasync, FAIL_WRITE, NOT_WRITTEN(-1), int, (int file), (file))
WRAP(ftruncate, FAIL_WRITE, NOT_WRITTEN(-1), int, (int file, off_t bytes), (file, bytes))
WRAP(rename, FAIL_WRITE, NOT_WRITTEN(-1), int, (const char *from, const char *to), (from, to))
WRAP(renameat, FAIL_WRITE, NOT_WRITTEN(-1), int,
     (int from_at, const char *from, int to_at, const char *to), (from_at, from, to_at, to))
WRAP(renameat2, FAIL_WRITE, NOT_WRITTEN(-1), int,
     (int from_at, const char *from, int to_at, const char *to, unsigned flags),
     (from_at, from, to_at, to, flags))
WRAP(link, FAIL_WRITE, NOT_WRITTEN(-1), int, (const char *from, const char *to), (from, to))
WRAP(linkat, FAIL_WRITE, NOT_WRITTEN(-1), int,
     (int from_at, const char *from, int to_at, const char *to, int flags),
     (from_at, from, to_at, to, flags))
WRAP(mkdir, FAIL_WRITE, NOT_WRITTEN(-1), int, (const char *path, mode_t mode), (path, mode))
WRAP(mkdirat, FAIL_WRITE, NOT_WRITTEN(-1), int, (int at, const char *path, mode_t mode),
     (at, path, mode))
WRAP(mkstemp, FAIL_WRITE, NOT_WRITTEN(-1), int, (char *path), (path))
WRAP(mkostemp, FAIL_WRITE, NOT_WRITTEN(-1), int, (char *path, int flags), (path, flags))
WRAP(fchmod, FAIL_WRITE, NOT_WRITTEN(-1), int, (int file, mode_t mode), (file, mode))
WRAP(flock, FAIL_WRITE, return (errno = ENOLCK, -1), int, (int file, int how), (file, how))
WRAP(avio_open, FAIL_WRITE, return -ENOSPC, int, (void *out, const char *path, int flags),
     (out, path, flags))
WRAP(avio_open2, FAIL_WRITE, return -ENOSPC, int,
     (void *out, const char *path, int flags, const void *stop, void *options),
     (out, path, flags, stop, options))
WRAP(avformat_write_header, FAIL_WRITE, return -ENOSPC, int, (void *file, void *options),
     (file, options))
WRAP(av_write_trailer, FAIL_WRITE, return -ENOSPC, int, (void *file), (file))
WRAP(ZSTD_compress2, FAIL_MEMORY, return (size_t)-64, size_t,
     (void *context, void *to, size_t room, const void *from, size_t bytes),
     (context, to, room, from, bytes))
WRAP(H5Fcreate, FAIL_WRITE, return -1, int64_t,
     (const char *path, unsigned flags, int64_t list, int64_t access), (path, flags, list, access))
WRAP(H5Dcreate2, FAIL_WRITE, return -1, int64_t,
     (int64_t at, const char *name, int64_t type, int64_t space, int64_t l, int64_t c, int64_t a),
     (at, name, type, space, l, c, a))
WRAP(H5Dwrite_chunk, FAIL_WRITE, return -1, int,
     (int64_t data, int64_t list, uint32_t filters, const void *at, size_t bytes, const void *from),
     (data, list, filters, at, bytes, from))
WRAP(H5Acreate2, FAIL_WRITE, return -1, int64_t,
     (int64_t at, const char *name, int64_t type, int64_t space, int64_t c, int64_t a),
     (at, name, type, space, c, a))
WRAP(H5Awrite, FAIL_WRITE, return -1, int, (int64_t attribute, int64_t type, const void *from),
     (attribute, type, from))
WRAP(H5Screate, FAIL_WRITE, return -1, int64_t, (int kind), (kind))
WRAP(H5Screate_simple, FAIL_WRITE, return -1, int64_t, (int n, const void *dims, const void *max),
     (n, dims, max))
WRAP(H5Pcreate, FAIL_WRITE, return -1, int64_t, (int64_t kind), (kind))
WRAP(H5Tcopy, FAIL_WRITE, return -1, int64_t, (int64_t type), (type))
WRAP(H5Pset_chunk, FAIL_WRITE, return -1, int, (int64_t list, int n, const void *dims),
     (list, n, dims))

/* A packet goes to the file with it: it is taken in any case. */
void av_packet_unref(void *packet);
WRAP_OWN(av_interleaved_write_frame, int, (void *file, void *packet))
{
    if (fail_here(FAIL_WRITE, "av_interleaved_write_frame")) {
        av_packet_unref(packet);
        return -ENOSPC;
    }
    return __real_av_interleaved_write_frame(file, packet);
}

/* What closes says afterwards that it failed. */
WRAP_OWN(close, int, (int file))
{
    const int read_only = (fcntl(file, F_GETFL) & O_ACCMODE) == O_RDONLY;
    const int fails = !read_only && fail_here(FAIL_WRITE, "close"), code = __real_close(file);
    return fails ? (errno = EIO, -1) : code;
}
WRAP_OWN(avio_closep, int, (void *file))
{
    const int fails = fail_here(FAIL_WRITE, "avio_closep"), code = __real_avio_closep(file);
    return fails ? -EIO : code;
}
WRAP_OWN(H5Fclose, int, (int64_t file))
{
    const int fails = fail_here(FAIL_WRITE, "H5Fclose"), code = __real_H5Fclose(file);
    return fails ? -1 : code;
}

/* open's third word is read as its callee does: where there is none, nobody uses it. */
WRAP_OWN(open, int, (const char *path, int flags, ...))
{
    const fail_kind kind = (flags & (O_WRONLY | O_RDWR | O_CREAT)) != 0 ? FAIL_WRITE : FAIL_READ;
    va_list more;
    va_start(more, flags);
    const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (fail_here(kind, "open"))
        return (errno = kind == FAIL_WRITE ? EACCES : EIO, -1);
    return __real_open(path, flags, mode);
}
WRAP_OWN(openat, int, (int at, const char *path, int flags, ...))
{
    const fail_kind kind = (flags & (O_WRONLY | O_RDWR | O_CREAT)) != 0 ? FAIL_WRITE : FAIL_READ;
    va_list more;
    va_start(more, flags);
    const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (fail_here(kind, "openat"))
        return (errno = kind == FAIL_WRITE ? EACCES : EIO, -1);
    return __real_openat(at, path, flags, mode);
}

/* ---- streams: what fails stays in the stream, as ferror says it ---- */

static fail_kind kind_of(FILE *f)
{
    return f == stderr ? FAIL_SAY : fileno(f) < 0 ? FAIL_MEMORY : FAIL_WRITE;
}

enum { GLIBC_ERROR_SEEN = 0x20 };

static int stream_fails(FILE *f, const char *call)
{
    const int kept = errno;
    const fail_kind kind = kind_of(f); /* fileno says EBADF of a stream in memory */
    errno = kept;
    if (!fail_here(kind, call))
        return 0;
    f->_flags |= GLIBC_ERROR_SEEN;
    errno = kind == FAIL_MEMORY ? ENOMEM : ENOSPC;
    return 1;
}

WRAP_OWN(fopen, FILE *, (const char *path, const char *mode))
{
    const fail_kind kind = mode[0] == 'r' && strchr(mode, '+') == NULL ? FAIL_READ : FAIL_WRITE;
    if (fail_here(kind, "fopen"))
        return (errno = kind == FAIL_WRITE ? EACCES : EIO, NULL);
    return __real_fopen(path, mode);
}
WRAP_OWN(fdopen, FILE *, (int file, const char *mode))
{
    if (fail_here(FAIL_MEMORY, "fdopen"))
        NO_MEMORY(NULL);
    return __real_fdopen(file, mode);
}
WRAP_OWN(fclose, int, (FILE * f))
{
    const int file = fileno(f);
    const int read_only = file >= 0 && (fcntl(file, F_GETFL) & O_ACCMODE) == O_RDONLY;
    const int fails = !read_only && fail_here(kind_of(f), "fclose"), code = __real_fclose(f);
    return fails ? (errno = ENOSPC, EOF) : code;
}
WRAP_OWN(fflush, int, (FILE * f))
{
    return f != NULL && stream_fails(f, "fflush") ? EOF : __real_fflush(f);
}
WRAP_OWN(fwrite, size_t, (const void *from, size_t bytes, size_t n, FILE *f))
{
    return stream_fails(f, "fwrite") ? 0 : __real_fwrite(from, bytes, n, f);
}
WRAP_OWN(fputs, int, (const char *text, FILE *f))
{
    return stream_fails(f, "fputs") ? EOF : __real_fputs(text, f);
}
WRAP_OWN(fputc, int, (int c, FILE *f))
{
    return stream_fails(f, "fputc") ? EOF : __real_fputc(c, f);
}
WRAP_OWN(putc, int, (int c, FILE *f)) { return stream_fails(f, "putc") ? EOF : __real_putc(c, f); }
WRAP_OWN(putchar, int, (int c))
{
    return stream_fails(stdout, "putchar") ? EOF : __real_putchar(c);
}
WRAP_OWN(puts, int, (const char *text))
{
    return stream_fails(stdout, "puts") ? EOF : __real_puts(text);
}
int __wrap_fprintf(FILE *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
WRAP_OWN(fprintf, int, (FILE * f, const char *format, ...))
{
    va_list more;
    if (stream_fails(f, "fprintf"))
        return -1;
    va_start(more, format);
    const int n = vfprintf(f, format, more);
    va_end(more);
    return n;
}
int __wrap_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
WRAP_OWN(printf, int, (const char *format, ...))
{
    va_list more;
    if (stream_fails(stdout, "printf"))
        return -1;
    va_start(more, format);
    const int n = vprintf(format, more);
    va_end(more);
    return n;
}

/* ---- the end, as seen from a program that leaves by _exit ---- */

void __real__exit(int code) __attribute__((noreturn));
void __wrap__exit(int code) __attribute__((noreturn));
WRAP_OWN(_exit, void, (int code))
{
    fail_at_exit();
    __real__exit(code);
}

/* ---- between ranks ---- */

#ifdef LT_HAVE_MPI
#define CUT return MPI_ERR_OTHER
WRAP(MPI_Init_thread, FAIL_EXCHANGE, CUT, int, (int *argc, char ***argv, int want, int *got),
     (argc, argv, want, got))
WRAP(MPI_Comm_dup, FAIL_EXCHANGE, CUT, int, (MPI_Comm from, MPI_Comm *out), (from, out))
WRAP(MPI_Comm_split, FAIL_EXCHANGE, CUT, int, (MPI_Comm from, int color, int key, MPI_Comm *out),
     (from, color, key, out))
WRAP(MPI_Comm_split_type, FAIL_EXCHANGE, CUT, int,
     (MPI_Comm from, int kind, int key, MPI_Info info, MPI_Comm *out), (from, kind, key, info, out))
WRAP(MPI_Comm_set_errhandler, FAIL_EXCHANGE, CUT, int, (MPI_Comm comm, MPI_Errhandler handler),
     (comm, handler))
WRAP(MPI_Allgather, FAIL_EXCHANGE, CUT, int,
     (const void *from, int n, MPI_Datatype type, void *to, int m, MPI_Datatype to_type,
      MPI_Comm c),
     (from, n, type, to, m, to_type, c))
WRAP(MPI_Isend, FAIL_EXCHANGE, CUT, int,
     (const void *from, int n, MPI_Datatype type, int peer, int tag, MPI_Comm comm, MPI_Request *r),
     (from, n, type, peer, tag, comm, r))
WRAP(MPI_Irecv, FAIL_EXCHANGE, CUT, int,
     (void *to, int n, MPI_Datatype type, int peer, int tag, MPI_Comm comm, MPI_Request *r),
     (to, n, type, peer, tag, comm, r))
WRAP(MPI_Iprobe, FAIL_EXCHANGE, CUT, int,
     (int peer, int tag, MPI_Comm comm, int *flag, MPI_Status *status),
     (peer, tag, comm, flag, status))
WRAP(MPI_Improbe, FAIL_EXCHANGE, CUT, int,
     (int peer, int tag, MPI_Comm comm, int *flag, MPI_Message *message, MPI_Status *status),
     (peer, tag, comm, flag, message, status))
WRAP(MPI_Imrecv, FAIL_EXCHANGE, CUT, int,
     (void *to, int n, MPI_Datatype type, MPI_Message *message, MPI_Request *r),
     (to, n, type, message, r))
WRAP(MPI_Mrecv, FAIL_EXCHANGE, CUT, int,
     (void *to, int n, MPI_Datatype type, MPI_Message *message, MPI_Status *status),
     (to, n, type, message, status))
WRAP(MPI_Test, FAIL_EXCHANGE, CUT, int, (MPI_Request * r, int *flag, MPI_Status *status),
     (r, flag, status))
WRAP(MPI_Testall, FAIL_EXCHANGE, CUT, int, (int n, MPI_Request r[], int *flag, MPI_Status s[]),
     (n, r, flag, s))
WRAP(MPI_Wait, FAIL_EXCHANGE, CUT, int, (MPI_Request * r, MPI_Status *status), (r, status))
WRAP(MPI_Get_count, FAIL_EXCHANGE, CUT, int, (const MPI_Status *status, MPI_Datatype type, int *n),
     (status, type, n))
#endif
