/* source_serve.c - bytes of files for ranks that lack them.
 *
 * Asking and answering are parallel/serve.h's; the ask is {file, offset, bytes}. Serving between
 * the file server's own reads, without a thread, was thought of: then each loading needs an end
 * that all ranks come to before the first collective behind it, and each exchange while loading
 * must poll.
 *
 * An ask is not to be trusted: file and range are checked against the table, and before each read
 * the file's size, time of change and inode are, so that a file that is changed, cut or replaced
 * meanwhile is an error with its name, at the rank that asked. Ranks that read the same slices
 * (ring, uly) are each sent them: the second time they come from the file server's page cache. */
#include "model/files/remote/source_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "parallel/serve.h"
#include "parallel/transport/op_record.h"

enum { ASK_BYTES_MAX = 4 << 20 };
static const uint32_t ask_magic = 0x6c742d3fu; /* "lt-?": a word of this protocol, version 1 */

typedef struct ask {
    uint32_t magic;
    int32_t index;
    int64_t offset, bytes;
} ask;

/* ---- the client ---- */

/* Static: were a message to fail, MPI might still write here. */
static ask asked;
static lt_answer answered;

lt_status lt_source_ask(lt_group *group, int server, int index, void *to, size_t bytes,
                        int64_t offset)
{
    lt_status st = LT_OK;
    lt_operation_begin("read_model", NULL, NULL);
    for (size_t at = 0; at < bytes && st == LT_OK; at += ASK_BYTES_MAX) {
        const size_t n = bytes - at < ASK_BYTES_MAX ? bytes - at : ASK_BYTES_MAX;
        asked = (ask){ask_magic, index, offset + (int64_t)at, (int64_t)n};
        st = lt_ask(group, server, &asked, sizeof asked, &answered, (char *)to + at, n);
    }
    lt_operation_end(NULL);
    LT_TRY(st);
    return LT_OK;
}

/* ---- the file server ---- */

static struct {
    lt_group *group;
    const lt_source_table *table;
    const int *server_of; /* [ranks] */
    int *fd;              /* [table->count], -1: not opened */
    char *buffer;
    lt_server *server; /* NULL: not serving */
} service;
static _Atomic uint64_t bytes_served;

uint64_t lt_source_bytes_served(void) { return atomic_load(&bytes_served); }

static lt_status open_file(int index, const char *path)
{
    if (service.fd[index] >= 0)
        return LT_OK;
    service.fd[index] = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (service.fd[index] < 0)
        LT_FAIL(LT_ENOINPUT, "%s: cannot be opened any more: %s", path, strerror(errno));
    return LT_OK;
}

static lt_status check_unchanged(int index, const char *path)
{
    struct stat now;
    const lt_source_entry *then = &service.table->entry[index];
    if (fstat(service.fd[index], &now) != 0)
        LT_FAIL(LT_EIO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(now.st_mode))
        LT_FAIL(LT_EDATA, "%s: want a regular file, as when the ranks compared their copies", path);
    if ((int64_t)now.st_size != then->bytes)
        LT_FAIL(LT_EDATA,
                "%s: want %lld bytes, as when the ranks compared their copies, found %lld", path,
                (long long)then->bytes, (long long)now.st_size);
    if ((uint64_t)now.st_dev != then->device || (uint64_t)now.st_ino != then->inode)
        LT_FAIL(LT_EDATA, "%s: want the file that the ranks compared, found another of that name",
                path);
    if ((int64_t)now.st_mtime != then->changed || (int64_t)now.st_mtim.tv_nsec != then->nanoseconds)
        LT_FAIL(LT_EDATA,
                "%s: want it as when the ranks compared their copies (changed at %lld.%09lld), "
                "found it changed at %lld.%09lld",
                path, (long long)then->changed, (long long)then->nanoseconds,
                (long long)now.st_mtime, (long long)now.st_mtim.tv_nsec);
    return LT_OK;
}

static lt_status read_for(int peer, const ask *q)
{
    char path[LT_PATH_BYTES];
    const lt_source_table *t = service.table;
    if (q->magic != ask_magic || q->index < 0 || q->index >= t->count || q->bytes < 0 ||
        q->bytes > ASK_BYTES_MAX || service.server_of[peer] != lt_group_rank(service.group))
        LT_FAIL(LT_EDATA, "%s: rank %d asked for file %d, %lld bytes: no such thing is served",
                t->root, peer, (int)q->index, (long long)q->bytes);
    const lt_source_entry *e = &t->entry[q->index];
    if (q->offset < 0 || q->offset > e->bytes - q->bytes)
        LT_FAIL(LT_EDATA, "%s: %s: rank %d asked for %lld bytes at %lld of %lld", t->root, e->path,
                peer, (long long)q->bytes, (long long)q->offset, (long long)e->bytes);
    LT_TRY(lt_path_join(path, sizeof path, t->root, e->path));
    LT_TRY(open_file(q->index, path));
    LT_TRY(check_unchanged(q->index, path));
    LT_TRY(lt_file_pread_full(service.fd[q->index], path, service.buffer, (size_t)q->bytes,
                              q->offset));
    (void)atomic_fetch_add(&bytes_served, (uint64_t)q->bytes);
    return LT_OK;
}

/* On the server's thread. */
static lt_status find(void *ctx, int peer, const void *asked_for, const void **bytes, size_t *count)
{
    const ask *q = asked_for;
    (void)ctx;
    LT_TRY(read_for(peer, q));
    *bytes = service.buffer;
    *count = (size_t)q->bytes;
    return LT_OK;
}

static void free_server(void)
{
    for (int i = 0; service.fd != NULL && i < service.table->count; i++)
        if (service.fd[i] >= 0)
            (void)close(service.fd[i]);
    free(service.fd);
    free(service.buffer);
    service.fd = NULL;
    service.buffer = NULL;
}

lt_status lt_source_serve(lt_group *group, const lt_source_table *table, const int *server_of)
{
    assert(service.server == NULL && table->count > 0);
    service.group = group;
    service.table = table;
    service.server_of = server_of;
    service.fd = malloc((size_t)table->count * sizeof *service.fd);
    service.buffer = aligned_alloc(4096, ASK_BYTES_MAX);
    for (int i = 0; service.fd != NULL && i < table->count; i++)
        service.fd[i] = -1;
    if (service.fd == NULL || service.buffer == NULL) {
        free_server();
        LT_FAIL(LT_ENOMEM, "%s: no memory to serve it to other ranks", table->root);
    }
    const lt_service how = {.group = group,
                            .ask_bytes = sizeof(ask),
                            .find = find,
                            .what = table->root,
                            .who = "the reader of ranks that lack it"};
    const lt_status st = lt_server_start(&how, &service.server);
    if (st != LT_OK)
        free_server();
    LT_TRY(st);
    return LT_OK;
}

void lt_source_serve_stop(void)
{
    if (service.server == NULL)
        return;
    if (lt_server_stop(&service.server))
        service.buffer = NULL; /* MPI may still read it */
    free_server();
}
