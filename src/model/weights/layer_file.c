/* layer_file.c - prepared layers in a file, read back by a thread.
 * A place is idle, asked or done; the thread takes what was asked first. The lock is never held
 * while it reads. */
#include "model/weights/layer_file.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"
#include "base/file.h"
#include "base/new_file.h"

typedef enum state { IDLE, ASKED, DONE } state;

typedef struct place {
    state state;
    uint64_t asked_at; /* the how manieth asking */
    int64_t index;
    void *to;
    lt_status status;
    char why[512];
} place;

struct lt_layer_file {
    char folder[LT_PATH_BYTES];
    int fd;
    size_t bytes;
    int64_t count, added;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t asked, done;
    uint64_t askings;
    int ends;
    place place[LT_LAYER_PLACES];
};

/* ---- the thread ---- */

static place *first_asked(lt_layer_file *f)
{
    place *first = NULL;
    for (int i = 0; i < LT_LAYER_PLACES; i++)
        if (f->place[i].state == ASKED && (first == NULL || f->place[i].asked_at < first->asked_at))
            first = &f->place[i];
    return first;
}

static void *thread_main(void *of)
{
    lt_layer_file *f = of;
    (void)pthread_mutex_lock(&f->lock);
    while (!f->ends) {
        place *p = first_asked(f);
        if (p == NULL) {
            (void)pthread_cond_wait(&f->asked, &f->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&f->lock);
        const lt_status st =
            lt_file_pread_full(f->fd, f->folder, p->to, f->bytes, (int64_t)f->bytes * p->index);
        (void)pthread_mutex_lock(&f->lock);
        p->status = st;
        (void)snprintf(p->why, sizeof p->why, "%s", st != LT_OK ? lt_error_text() : "");
        lt_error_clear();
        p->state = DONE;
        (void)pthread_cond_signal(&f->done);
    }
    (void)pthread_mutex_unlock(&f->lock);
    return NULL;
}

static int start(lt_layer_file *f)
{
    sigset_t all, before;
    (void)pthread_mutex_init(&f->lock, NULL);
    (void)pthread_cond_init(&f->asked, NULL);
    (void)pthread_cond_init(&f->done, NULL);
    (void)sigfillset(&all); /* signals are for the main thread */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&f->thread, NULL, thread_main, f);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* ---- its callers ---- */

static const char *const name = "longtake-layers";

lt_status lt_layer_file_room(char *folder, size_t bytes, int64_t *room)
{
    const char *asked = lt_env("TMPDIR");
    char path[LT_PATH_BYTES];
    const int n = snprintf(folder, bytes, "%s", asked != NULL ? asked : "/tmp");
    if (n < 0 || (size_t)n >= bytes)
        LT_FAIL(LT_ECREATE, "TMPDIR: the path is too long");
    LT_TRY(lt_path_join(path, sizeof path, folder, name));
    return lt_disk_free_bytes(path, room);
}

static lt_status make_file(lt_layer_file *f)
{
    const double gib = 1024.0 * 1024.0 * 1024.0, want = (double)f->bytes * (double)f->count;
    char path[LT_PATH_BYTES];
    int64_t room = 0;
    LT_TRY(lt_layer_file_room(f->folder, sizeof f->folder, &room));
    LT_TRY(lt_path_join(path, sizeof path, f->folder, name));
    if (want > (double)room) {
        lt_hint("TMPDIR names a folder with more room, best on a disk of this host");
        LT_FAIL(LT_ENOMEM,
                "%s: layers that take turns in memory want %.3f GiB of disk, found %.3f GiB",
                f->folder, want / gib, (double)room / gib);
    }
    return lt_new_file_scratch(path, &f->fd);
}

lt_status lt_layer_file_new(size_t bytes, int64_t count, lt_layer_file **out)
{
    lt_layer_file *f = calloc(1, sizeof *f);
    lt_status st = LT_OK;
    *out = NULL;
    if (f == NULL)
        LT_FAIL(LT_ENOMEM, "layers: no memory for their file's description");
    f->fd = -1;
    f->bytes = bytes;
    f->count = count;
    LT_TRY_GOTO(make_file(f), st, failed);
    const int error = start(f);
    if (error != 0) {
        (void)close(f->fd);
        st = lt_fail(LT_EUNAVAIL, __FILE__, __LINE__, "layers: no thread: %s", strerror(error));
        goto failed;
    }
    *out = f;
    return LT_OK;
failed:
    free(f);
    return st;
}

lt_status lt_layer_file_add(lt_layer_file *f, const void *bytes)
{
    assert(f->added < f->count);
    LT_TRY(lt_file_write_full(f->fd, f->folder, bytes, f->bytes));
    f->added++;
    return LT_OK;
}

void lt_layer_file_ask(lt_layer_file *f, int at, int64_t index, void *to)
{
    assert(at >= 0 && at < LT_LAYER_PLACES && index >= 0 && index < f->added);
    place *p = &f->place[at];
    (void)pthread_mutex_lock(&f->lock);
    assert(p->state == IDLE);
    p->state = ASKED;
    p->asked_at = f->askings++;
    p->index = index;
    p->to = to;
    (void)pthread_cond_signal(&f->asked);
    (void)pthread_mutex_unlock(&f->lock);
}

lt_status lt_layer_file_wait(lt_layer_file *f, int at)
{
    place *p = &f->place[at];
    (void)pthread_mutex_lock(&f->lock);
    while (p->state == ASKED)
        (void)pthread_cond_wait(&f->done, &f->lock);
    const int has_read = p->state == DONE;
    p->state = IDLE;
    (void)pthread_mutex_unlock(&f->lock);
    if (has_read && p->status != LT_OK)
        LT_FAIL(p->status, "layer: %s", p->why);
    return LT_OK;
}

void lt_layer_file_close(lt_layer_file **file)
{
    lt_layer_file *f = *file;
    if (f == NULL)
        return;
    (void)pthread_mutex_lock(&f->lock);
    f->ends = 1;
    (void)pthread_cond_signal(&f->asked);
    (void)pthread_mutex_unlock(&f->lock);
    (void)pthread_join(f->thread, NULL);
    (void)pthread_mutex_destroy(&f->lock);
    (void)pthread_cond_destroy(&f->asked);
    (void)pthread_cond_destroy(&f->done);
    (void)close(f->fd);
    free(f);
    *file = NULL;
}
