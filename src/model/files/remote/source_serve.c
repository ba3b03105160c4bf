/* source_serve.c - bytes of files for clients: the asking, and the file server's thread.
 *
 *     client                                  its file server
 *     ask {file, offset, bytes}  ---------->  thread: checks, preads
 *     answer {status, words}     <----------
 *     the bytes                  <----------  unless status is a failure
 *
 * A file server answers from a thread of its own, so that no rank needs to know when another reads:
 * the main thread of a file server may compute, wait in a collective for the very client that asks,
 * or have loaded all it needs. Serving between its own reads, without a thread, was thought of:
 * then each loading needs an end that all ranks come to before the first collective behind it, and
 * each exchange while loading must poll. The thread never waits for anything but the messages of
 * one answer. It polls: often while it is asked, every 5 ms when it was not asked for 2 s.
 *
 * A message that fails on the file server leaves a client waiting that cannot be told: the thread
 * then says so and ends the job. So it does when there is no memory for a message. An ask of
 * another size is answered.
 *
 * An ask is not to be trusted: file and range are checked against the table, and before each read
 * the file's size, time of change and inode are, so that a file that is changed, cut or replaced
 * meanwhile is an error with its name, at the rank that asked. Ranks that read the same slices
 * (ring, uly) are each sent them: the second time they come from the file server's page cache. */
#include "model/files/remote/source_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/leave.h"
#include "base/log.h"
#include "parallel/liveness/detector.h"
#include "parallel/transport/op_record.h"
#include "parallel/world.h"

enum { TAG_ASK = 1, TAG_ANSWER = 2, TAG_BYTES = 3, ASK_BYTES_MAX = 4 << 20, LEAVE_SECONDS = 2 };
static const uint32_t ask_magic = 0x6c742d3fu; /* "lt-?": a word of this protocol, version 1 */

typedef struct ask {
    uint32_t magic;
    int32_t index;
    int64_t offset, bytes;
} ask;

typedef struct answer {
    int32_t status;
    char text[508];
} answer;

/* ---- the client ---- */

/* Static: were a message to fail, MPI might still write here. */
static ask asked;
static answer answered;

enum { ASKED, ANSWERED, BYTES, REQUESTS };

static lt_status converse(lt_group *group, int server, char *to, size_t bytes,
                          lt_request *request[REQUESTS])
{
    LT_TRY(
        lt_request_recv(group, server, TAG_ANSWER, &answered, sizeof answered, &request[ANSWERED]));
    LT_TRY(lt_request_recv(group, server, TAG_BYTES, to, bytes, &request[BYTES]));
    LT_TRY(lt_request_send(group, server, TAG_ASK, &asked, sizeof asked, &request[ASKED]));
    LT_TRY(lt_request_wait(&request[ASKED]));
    LT_TRY(lt_request_wait(&request[ANSWERED]));
    if (answered.status == LT_OK)
        return lt_request_wait(&request[BYTES]);
    const int known = answered.status > LT_OK && answered.status < LT_STATUS_COUNT;
    answered.text[sizeof answered.text - 1] = '\0';
    LT_FAIL(known ? (lt_status)answered.status : LT_EINTERNAL, "%s", answered.text);
}

static lt_status ask_one(lt_group *group, int server, int index, char *to, size_t bytes,
                         int64_t offset)
{
    lt_request *request[REQUESTS] = {NULL, NULL, NULL};
    asked = (ask){ask_magic, index, offset, (int64_t)bytes};
    const lt_status st = converse(group, server, to, bytes, request);
    for (int i = 0; i < REQUESTS; i++) /* what was not received must not be written any more */
        lt_request_drop(&request[i]);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_source_ask(lt_group *group, int server, int index, void *to, size_t bytes,
                        int64_t offset)
{
    lt_status st = LT_OK;
    lt_operation_begin("read_model", NULL, NULL);
    for (size_t at = 0; at < bytes && st == LT_OK; at += ASK_BYTES_MAX) {
        const size_t n = bytes - at < ASK_BYTES_MAX ? bytes - at : ASK_BYTES_MAX;
        st = ask_one(group, server, index, (char *)to + at, n, offset + (int64_t)at);
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
    ask ask;
    answer answer;
    pthread_t thread;
    int runs;
} service;
static atomic_int stop_asked;
static _Atomic uint64_t bytes_served;

uint64_t lt_source_bytes_served(void) { return atomic_load(&bytes_served); }

/* 1 in *done when done; 0 when no rank takes it and the thread shall end. It may be told to when
 * the rank that asked has the bytes, but MPI not yet said so here: then it soon will. */
static lt_status finish(lt_request **request, int *done)
{
    double told = 0;
    for (int poll = 0;; poll++) {
        LT_TRY(lt_request_test(request, done));
        if (*done)
            return LT_OK;
        if (told > 0 && lt_seconds() - told > LEAVE_SECONDS) {
            lt_request_drop(request);
            return LT_OK;
        }
        if (told <= 0 && atomic_load(&stop_asked))
            told = lt_seconds();
        if (poll < 256)
            (void)sched_yield();
        else
            (void)nanosleep(&(struct timespec){0, 50000}, NULL);
    }
}

static lt_status send_one(int peer, int tag, const void *data, size_t bytes, int *sent)
{
    lt_request *request = NULL;
    LT_TRY(lt_request_send(service.group, peer, tag, data, bytes, &request));
    LT_TRY(finish(&request, sent));
    return LT_OK;
}

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

static void fill_answer(lt_status st)
{
    memset(&service.answer, 0, sizeof service.answer);
    if (st == LT_OK)
        return;
    service.answer.status = (int32_t)st;
    (void)snprintf(service.answer.text, sizeof service.answer.text, "rank %d: %s",
                   lt_group_rank(service.group), lt_error_text());
}

/* Answer one client if one asks: 1 in *served. */
static lt_status serve_one(int *served)
{
    int peer = -1, done = 0;
    lt_request *request = NULL;
    *served = 0;
    LT_TRY(lt_request_probe(service.group, TAG_ASK, &peer));
    if (peer < 0)
        return LT_OK;
    LT_TRY(
        lt_request_recv(service.group, peer, TAG_ASK, &service.ask, sizeof service.ask, &request));
    lt_status st = finish(&request, &done);
    if (st != LT_OK && st != LT_EINTERNAL) /* that: it came, with another size */
        return st;
    if (st == LT_OK && !done)
        return LT_OK;
    *served = 1;
    if (st == LT_OK)
        st = read_for(peer, &service.ask);
    fill_answer(st);
    LT_TRY(send_one(peer, TAG_ANSWER, &service.answer, sizeof service.answer, &done));
    if (done && st == LT_OK && service.ask.bytes > 0)
        LT_TRY(send_one(peer, TAG_BYTES, service.buffer, (size_t)service.ask.bytes, &done));
    return LT_OK;
}

/* A client waits for what this thread cannot send. */
static void end_job(lt_status st)
{
    const char *me = lt_detector_me(); /* does not return where a dead rank was the reason */
    char text[1024];
    (void)snprintf(text, sizeof text, "%s: %s, the reader of ranks that lack it: %s",
                   service.table->root, me, lt_error_text());
    (void)lt_fail(st, __FILE__, __LINE__, "%s", text);
    lt_leave_say_error(0);
    lt_world_abort(lt_exit_code(st));
}

static void *serve(void *unused)
{
    double last = lt_seconds();
    (void)unused;
    while (!atomic_load(&stop_asked)) {
        int served = 0;
        const lt_status st = serve_one(&served);
        if (st != LT_OK && atomic_load(&stop_asked))
            break; /* no rank reads any more */
        if (st != LT_OK) {
            end_job(st);
            break;
        }
        const double now = lt_seconds();
        if (served)
            last = now;
        else
            (void)nanosleep(&(struct timespec){0, now - last < 2 ? 50000 : 5000000}, NULL);
    }
    return NULL;
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
    assert(!service.runs && table->count > 0);
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
    atomic_store(&stop_asked, 0);
    if (pthread_create(&service.thread, NULL, serve, NULL) != 0) {
        free_server();
        LT_FAIL(LT_EUNAVAIL, "%s: no thread to serve it to other ranks", table->root);
    }
    service.runs = 1;
    return LT_OK;
}

void lt_source_serve_stop(void)
{
    if (!service.runs)
        return;
    atomic_store(&stop_asked, 1);
    (void)pthread_join(service.thread, NULL);
    service.runs = 0;
    free_server();
}
