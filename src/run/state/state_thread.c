/* state_thread.c - the I/O thread. One queue under one lock, which it never holds while it works:
 * the main thread's calls take as long as a few copies of small structs. */
#include "run/state/state_thread.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/record.h"

/* A file, or (write NULL) a record, or (that empty too) a round of syncs. */
typedef struct task {
    struct task *next;
    lt_state_write *write;
    lt_commit commit;
    int64_t sync;
} task;

struct lt_state_thread {
    char folder[LT_PATH_BYTES];
    lt_state_thread_args args;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more, idle;
    lt_state_sync *sync;
    lt_state_packer *packer;
    task *first, *last; /* what is queued */
    int works, ends;
    int syncs_queued;
    lt_commit_file *written; /* [written_count], since lt_state_thread_files_begin */
    int written_count;
    lt_state_outcome files, records, caches;
    lt_state_done done;
};

static void task_free(task *t)
{
    for (int i = 0; t->write != NULL && t->write->owns && i < t->write->count; i++)
        free((void *)(uintptr_t)t->write->array[i].data);
    free(t->write);
    lt_commit_free(&t->commit);
    free(t);
}

/* ---- the thread ---- */

static lt_status write_file(const lt_state_thread *t, const lt_state_write *w, lt_commit_file *out)
{
    char path[LT_PATH_BYTES];
    (void)lt_state_name_text(&w->name, out->name);
    LT_TRY(lt_path_join(path, sizeof path, t->folder, out->name));
    LT_TRY(lt_state_file_pack(t->packer, path, &w->head, w->array, w->count, &out->sum));
    LT_TRY(lt_state_sync_add(t->sync, path, w->name.step, w->stays));
    return LT_OK;
}

static void do_cache(lt_state_thread *t, const lt_state_write *w)
{
    lt_status st = lt_state_file_pack(t->packer, w->cache, &w->head, w->array, w->count, NULL);
    if (st == LT_OK)
        st = lt_state_sync_add(t->sync, w->cache, 0, 1);
    (void)pthread_mutex_lock(&t->lock);
    lt_state_outcome_keep(&t->caches, st);
    (void)pthread_mutex_unlock(&t->lock);
}

static void do_file(lt_state_thread *t, const lt_state_write *w)
{
    lt_commit_file file = {.name = ""};
    const lt_status st = write_file(t, w, &file);
    (void)pthread_mutex_lock(&t->lock);
    lt_state_outcome_keep(&t->files, st);
    if (st == LT_OK) {
        t->written[t->written_count++] = file; /* room was made when it was queued */
        t->done.files++;
        t->done.bytes += file.sum.bytes;
    }
    (void)pthread_mutex_unlock(&t->lock);
}

/* Sums of the files that this thread has written. 0: one of them is not there. */
static int complete(lt_state_thread *t, lt_commit *c)
{
    int whole = 1;
    (void)pthread_mutex_lock(&t->lock);
    for (int i = 0; i < c->count; i++)
        for (int k = 0; k < t->written_count && c->file[i].sum.bytes == 0; k++)
            if (strcmp(c->file[i].name, t->written[k].name) == 0)
                c->file[i].sum = t->written[k].sum;
    for (int i = 0; i < c->count; i++)
        whole &= c->file[i].sum.bytes > 0;
    (void)pthread_mutex_unlock(&t->lock);
    return whole;
}

static void tell(const lt_commit *c)
{
    int64_t bytes = 0;
    for (int i = 0; i < c->count; i++)
        bytes += c->file[i].sum.bytes;
    lt_record_event("commit",
                    json_pack("{s:I, s:I, s:i, s:I}", "step", (json_int_t)c->place.step, "epoch",
                              (json_int_t)c->epoch, "files", c->count, "bytes", (json_int_t)bytes));
}

static lt_status write_record(const lt_state_thread *t, const lt_commit *c)
{
    char name[LT_STATE_NAME_BYTES], path[LT_PATH_BYTES];
    const lt_state_name of = {c->place.step, c->epoch, -1};
    LT_TRY(lt_commit_write(t->folder, c));
    LT_TRY(lt_path_join(path, sizeof path, t->folder, lt_state_name_text(&of, name)));
    LT_TRY(lt_state_sync_add(t->sync, path, c->place.step, 0));
    return LT_OK;
}

static void do_commit(lt_state_thread *t, lt_commit *c)
{
    if (!complete(t, c))
        return; /* why is known of the file */
    const lt_status st = write_record(t, c);
    if (st == LT_OK) {
        tell(c);
        lt_state_sync_prune(t->sync);
    }
    (void)pthread_mutex_lock(&t->lock);
    lt_state_outcome_keep(&t->records, st);
    if (st == LT_OK) {
        t->done.committed++;
        t->done.last = c->place.step;
    }
    (void)pthread_mutex_unlock(&t->lock);
}

static void do_sync(lt_state_thread *t, int64_t step)
{
    lt_state_sync_begin(t->sync, step);
    (void)pthread_mutex_lock(&t->lock);
    t->syncs_queued--;
    (void)pthread_mutex_unlock(&t->lock);
}

static void *thread_main(void *argument)
{
    lt_state_thread *t = argument;
    (void)pthread_setname_np(pthread_self(), "lt-states");
    (void)pthread_mutex_lock(&t->lock);
    while (!t->ends) {
        task *next = t->first;
        if (next == NULL) {
            (void)pthread_cond_wait(&t->more, &t->lock);
            continue;
        }
        t->first = next->next;
        t->works = 1;
        (void)pthread_mutex_unlock(&t->lock);
        if (next->write != NULL && next->write->cache[0] != '\0')
            do_cache(t, next->write);
        else if (next->write != NULL)
            do_file(t, next->write);
        else if (next->commit.count > 0)
            do_commit(t, &next->commit);
        else
            do_sync(t, next->sync);
        task_free(next);
        (void)pthread_mutex_lock(&t->lock);
        t->works = 0;
        if (t->first == NULL)
            (void)pthread_cond_broadcast(&t->idle);
    }
    (void)pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* ---- begin, end ---- */

static void locks_new(lt_state_thread *t)
{
    pthread_condattr_t monotonic;
    (void)pthread_mutex_init(&t->lock, NULL);
    (void)pthread_cond_init(&t->more, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&t->idle, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

static void destroy(lt_state_thread *t)
{
    lt_state_sync_close(&t->sync);
    lt_state_packer_free(&t->packer);
    (void)pthread_mutex_destroy(&t->lock);
    (void)pthread_cond_destroy(&t->more);
    (void)pthread_cond_destroy(&t->idle);
    while (t->first != NULL) {
        task *next = t->first->next;
        task_free(t->first);
        t->first = next;
    }
    free(t->written);
    free(t);
}

lt_status lt_state_thread_open(const lt_state_thread_args *args, lt_state_thread **out)
{
    *out = NULL;
    lt_state_thread *t = calloc(1, sizeof *t);
    if (t == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory to write states", args->folder);
    (void)snprintf(t->folder, sizeof t->folder, "%s", args->folder);
    t->args = *args;
    t->args.folder = t->folder;
    locks_new(t);
    lt_status st = lt_state_packer_new(&t->packer);
    if (st == LT_OK)
        st = lt_state_sync_open(t->folder, args->epoch, args->from, args->keep, &t->sync);
    if (st != LT_OK)
        destroy(t);
    LT_TRY(st);
    const int error = lt_state_thread_start(&t->thread, thread_main, t);
    if (error != 0) {
        destroy(t);
        LT_FAIL(LT_EUNAVAIL, "%s: no thread to write states: %s", args->folder, strerror(error));
    }
    *out = t;
    return LT_OK;
}

void lt_state_thread_close(lt_state_thread **thread)
{
    lt_state_thread *t = *thread;
    *thread = NULL;
    if (t == NULL)
        return;
    (void)pthread_mutex_lock(&t->lock);
    t->ends = 1;
    (void)pthread_cond_signal(&t->more);
    (void)pthread_mutex_unlock(&t->lock);
    (void)pthread_join(t->thread, NULL);
    destroy(t);
}

/* ---- the queue ---- */

static void append(lt_state_thread *t, task *one)
{
    (void)pthread_mutex_lock(&t->lock);
    if (t->first == NULL)
        t->first = one;
    else
        t->last->next = one;
    t->last = one;
    (void)pthread_cond_signal(&t->more);
    (void)pthread_mutex_unlock(&t->lock);
}

/* Room for the results of one more file than are queued and written. */
static int make_room(lt_state_thread *t)
{
    (void)pthread_mutex_lock(&t->lock);
    int wanted = t->written_count + 2; /* one may be at work */
    for (const task *i = t->first; i != NULL; i = i->next)
        wanted++;
    lt_commit_file *more = realloc(t->written, (size_t)wanted * sizeof *more);
    if (more != NULL)
        t->written = more;
    (void)pthread_mutex_unlock(&t->lock);
    return more != NULL;
}

lt_status lt_state_thread_write(lt_state_thread *t, const lt_state_write *write)
{
    task *one = calloc(1, sizeof *one);
    lt_state_write *copy = malloc(sizeof *copy);
    if (one == NULL || copy == NULL || !make_room(t)) {
        free(one);
        free(copy);
        LT_FAIL(LT_ENOMEM, "%s: no memory to write a state", t->folder);
    }
    *copy = *write;
    one->write = copy;
    append(t, one);
    return LT_OK;
}

lt_status lt_state_thread_commit(lt_state_thread *t, lt_commit *commit)
{
    task *one = calloc(1, sizeof *one);
    if (one == NULL) {
        lt_commit_free(commit);
        LT_FAIL(LT_ENOMEM, "%s: no memory for a commit record", t->folder);
    }
    one->commit = *commit;
    *commit = (lt_commit){0};
    append(t, one);
    return LT_OK;
}

lt_status lt_state_thread_sync(lt_state_thread *t, int64_t step)
{
    task *one = calloc(1, sizeof *one);
    if (one == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory to sync step %lld", t->folder, (long long)step);
    one->sync = step;
    (void)pthread_mutex_lock(&t->lock);
    t->syncs_queued++;
    (void)pthread_mutex_unlock(&t->lock);
    append(t, one);
    return LT_OK;
}

/* Whoever asks while the order moves from one thread to the other finds it with one of them. */
int lt_state_thread_is_syncing(lt_state_thread *t)
{
    (void)pthread_mutex_lock(&t->lock);
    const int queued = t->syncs_queued > 0;
    (void)pthread_mutex_unlock(&t->lock);
    return queued || lt_state_sync_is_busy(t->sync);
}

lt_state_sync *lt_state_thread_syncs(lt_state_thread *t) { return t->sync; }

int lt_state_thread_is_busy(lt_state_thread *t)
{
    (void)pthread_mutex_lock(&t->lock);
    const int busy = t->works || t->first != NULL;
    (void)pthread_mutex_unlock(&t->lock);
    return busy;
}

int lt_state_thread_wait(lt_state_thread *t, double seconds)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    const int64_t ns = until.tv_nsec + (int64_t)(seconds * 1e9);
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    int timed_out = 0;
    (void)pthread_mutex_lock(&t->lock);
    while ((t->works || t->first != NULL) && !timed_out)
        timed_out = pthread_cond_timedwait(&t->idle, &t->lock, &until) != 0;
    const int idle = !t->works && t->first == NULL;
    (void)pthread_mutex_unlock(&t->lock);
    return idle;
}

/* ---- results ---- */

void lt_state_thread_files_begin(lt_state_thread *t)
{
    (void)pthread_mutex_lock(&t->lock);
    t->written_count = 0;
    t->files = (lt_state_outcome){LT_OK, ""};
    (void)pthread_mutex_unlock(&t->lock);
}

lt_state_outcome lt_state_thread_files(lt_state_thread *t)
{
    (void)pthread_mutex_lock(&t->lock);
    const lt_state_outcome out = t->files;
    (void)pthread_mutex_unlock(&t->lock);
    return out;
}

lt_state_sum lt_state_thread_sum(lt_state_thread *t, const char *name)
{
    lt_state_sum sum = {0, 0};
    (void)pthread_mutex_lock(&t->lock);
    for (int i = 0; i < t->written_count; i++)
        if (strcmp(t->written[i].name, name) == 0)
            sum = t->written[i].sum;
    (void)pthread_mutex_unlock(&t->lock);
    return sum;
}

lt_state_outcome lt_state_thread_records(lt_state_thread *t)
{
    (void)pthread_mutex_lock(&t->lock);
    const lt_state_outcome out = t->records;
    t->records = (lt_state_outcome){LT_OK, ""};
    (void)pthread_mutex_unlock(&t->lock);
    return out;
}

lt_state_outcome lt_state_thread_caches(lt_state_thread *t)
{
    (void)pthread_mutex_lock(&t->lock);
    const lt_state_outcome out = t->caches;
    t->caches = (lt_state_outcome){LT_OK, ""};
    (void)pthread_mutex_unlock(&t->lock);
    return out;
}

lt_state_done lt_state_thread_done(lt_state_thread *t)
{
    (void)pthread_mutex_lock(&t->lock);
    const lt_state_done out = t->done;
    (void)pthread_mutex_unlock(&t->lock);
    return out;
}
