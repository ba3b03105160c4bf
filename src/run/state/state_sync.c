/* state_sync.c - the sync thread. One lock, never held while it works.
 *
 * Order of a round: the files, then their folders. No order is owed to what a power failure cuts
 * off: a record whose files are not whole does not count (state_folder.h), and older steps are
 * removed only once a newer one is known to be on the disk. */
#include "run/state/state_sync.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/new_file.h"

/* So many records may stand unpruned while a round lasts, or until so long after the last pruning:
 * a look at the folder costs as much for one as for several. */
enum { UNPRUNED_MAX = 8 };
#define PRUNE_EVERY_S 0.25

typedef struct entry {
    char *path; /* owned */
    int64_t step;
    int stays;
} entry;

typedef struct entries {
    entry *at;
    int count, room;
} entries;

struct lt_state_sync {
    char folder[LT_PATH_BYTES];
    lt_state_marks marks;
    pthread_t thread;
    pthread_mutex_t lock, pruning;
    pthread_cond_t more;
    entries waiting; /* named, and not yet on the disk */
    entries round;   /* of the round that begins */
    int begins, works, ends, unpruned;
    double pruned; /* when (lt_seconds) */
    lt_state_outcome outcome;
};

void lt_state_outcome_keep(lt_state_outcome *outcome, lt_status st)
{
    if (st != LT_OK && outcome->status == LT_OK) {
        outcome->status = st;
        (void)snprintf(outcome->text, sizeof outcome->text, "%s", lt_error_text());
    }
    lt_error_clear();
}

/* ---- the list ---- */

static void entries_free(entries *e)
{
    for (int i = 0; i < e->count; i++)
        free(e->at[i].path);
    free(e->at);
    *e = (entries){0};
}

static int by_step(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* The step that the newest `keep` up to `last` begin with. */
static int64_t first_kept(const entries *e, int64_t last, int keep)
{
    int64_t *step = malloc((size_t)e->count * sizeof *step + 1), first = 0;
    int count = 0, seen = 0;
    if (step == NULL)
        return 0; /* all, then: a sync too many harms nobody */
    for (int i = 0; i < e->count; i++)
        if (e->at[i].step <= last)
            step[count++] = e->at[i].step;
    if (count > 1)
        qsort(step, (size_t)count, sizeof *step, by_step);
    for (int i = 0; i < count && seen < keep; i++)
        if (i == 0 || step[i] != step[i - 1]) {
            first = step[i];
            seen++;
        }
    free(step);
    return first;
}

/* What no step that stays needs leaves the list. */
static void forget_old(entries *e, int64_t last, int keep)
{
    const int64_t first = first_kept(e, last, keep);
    int kept = 0;
    for (int i = 0; i < e->count; i++)
        if (e->at[i].stays || e->at[i].step >= first)
            e->at[kept++] = e->at[i];
        else
            free(e->at[i].path);
    e->count = kept;
}

/* Under the lock. 0: no memory. */
static int push(entries *e, int keep, entry one)
{
    if (e->count == e->room)
        forget_old(e, INT64_MAX, keep + 1); /* the newest may not be whole */
    if (e->count == e->room) {
        const int room = e->room > 0 ? 2 * e->room : 16;
        entry *more = realloc(e->at, (size_t)room * sizeof *more);
        if (more == NULL)
            return 0;
        e->at = more;
        e->room = room;
    }
    e->at[e->count++] = one;
    return 1;
}

lt_status lt_state_sync_add(lt_state_sync *s, const char *path, int64_t step, int stays)
{
    char *copy = strdup(path);
    (void)pthread_mutex_lock(&s->lock);
    const int added = copy != NULL && push(&s->waiting, s->marks.keep, (entry){copy, step, stays});
    (void)pthread_mutex_unlock(&s->lock);
    if (added)
        return LT_OK;
    free(copy);
    LT_FAIL(LT_ENOMEM, "%s: no memory to sync it", path);
}

/* ---- the thread ---- */

/* What is gone meanwhile was needed by no step any more. */
static lt_status sync_one(const entry *e)
{
    const lt_status st = lt_new_file_sync(e->path);
    if (st == LT_ENOINPUT && !e->stays) {
        lt_error_clear();
        return LT_OK;
    }
    return st;
}

static lt_status sync_all(const entries *e)
{
    char folder[LT_PATH_BYTES], before[LT_PATH_BYTES] = "";
    for (int i = 0; i < e->count; i++)
        LT_TRY(sync_one(&e->at[i]));
    for (int i = 0; i < e->count; i++) {
        LT_TRY(lt_path_folder(folder, sizeof folder, e->at[i].path));
        if (strcmp(folder, before) != 0)
            LT_TRY(lt_new_file_sync(folder));
        (void)snprintf(before, sizeof before, "%s", folder);
    }
    return LT_OK;
}

static void one_round(lt_state_sync *s)
{
    entries round = s->round;
    lt_state_outcome outcome = s->outcome;
    s->round = (entries){0};
    (void)pthread_mutex_unlock(&s->lock);
    lt_state_outcome_keep(&outcome, sync_all(&round));
    (void)pthread_mutex_lock(&s->lock);
    for (int i = 0; i < round.count && outcome.status != LT_OK; i++)
        if (round.at[i].stays && push(&s->waiting, s->marks.keep, round.at[i]))
            round.at[i].path = NULL; /* the next round's too */
    entries_free(&round);
    s->outcome = outcome;
}

/* A copy that a newer one has overtaken removes nothing. */
static void prune(lt_state_sync *s)
{
    (void)pthread_mutex_lock(&s->lock);
    const lt_state_marks marks = s->marks;
    s->unpruned = 0;
    s->pruned = lt_seconds();
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_mutex_lock(&s->pruning);
    if (lt_new_file_ask() == LT_OK)
        lt_state_prune(s->folder, &marks);
    lt_error_clear();
    (void)pthread_mutex_unlock(&s->pruning);
}

/* Under the lock: until so many seconds have passed, or an order comes. */
static void wait_for(lt_state_sync *s, double seconds)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    const int64_t ns = until.tv_nsec + (int64_t)(seconds * 1e9);
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    (void)pthread_cond_timedwait(&s->more, &s->lock, &until);
}

static void *sync_main(void *argument)
{
    lt_state_sync *s = argument;
    (void)pthread_setname_np(pthread_self(), "lt-sync");
    (void)pthread_mutex_lock(&s->lock);
    for (;;) {
        const double rest = s->pruned + PRUNE_EVERY_S - lt_seconds();
        if (s->begins) {
            s->begins = 0;
            s->works = 1;
            one_round(s);
            s->works = 0;
        } else if (s->unpruned > 0 && (s->ends || rest <= 0)) {
            (void)pthread_mutex_unlock(&s->lock);
            prune(s);
            (void)pthread_mutex_lock(&s->lock);
        } else if (s->unpruned > 0) {
            wait_for(s, rest);
        } else if (s->ends) {
            break;
        } else {
            (void)pthread_cond_wait(&s->more, &s->lock);
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- begin, end ---- */

int lt_state_thread_start(pthread_t *thread, void *(*work)(void *), void *argument)
{
    sigset_t all, before;
    (void)sigfillset(&all); /* signals are for the main thread */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(thread, NULL, work, argument);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static void destroy(lt_state_sync *s)
{
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_mutex_destroy(&s->pruning);
    (void)pthread_cond_destroy(&s->more);
    entries_free(&s->waiting);
    entries_free(&s->round);
    free(s);
}

lt_status lt_state_sync_open(const char *folder, int64_t epoch, int64_t from, int keep,
                             lt_state_sync **out)
{
    assert(keep >= 1);
    *out = NULL;
    lt_state_sync *s = calloc(1, sizeof *s);
    if (s == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory to sync states", folder);
    (void)snprintf(s->folder, sizeof s->folder, "%s", folder);
    s->marks = (lt_state_marks){.epoch = epoch, .from = from, .keep = keep};
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_mutex_init(&s->pruning, NULL);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->more, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    const int error = lt_state_thread_start(&s->thread, sync_main, s);
    if (error != 0) {
        destroy(s);
        LT_FAIL(LT_EUNAVAIL, "%s: no thread to sync states: %s", folder, strerror(error));
    }
    *out = s;
    return LT_OK;
}

void lt_state_sync_close(lt_state_sync **sync)
{
    lt_state_sync *s = *sync;
    *sync = NULL;
    if (s == NULL)
        return;
    (void)pthread_mutex_lock(&s->lock);
    s->ends = 1;
    s->begins = 0;
    (void)pthread_cond_signal(&s->more);
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_join(s->thread, NULL);
    destroy(s);
}

/* ---- orders and answers ---- */

/* What a round for a step is about leaves the list at once: it may be trimmed before the thread
 * looks. */
static void take_round(lt_state_sync *s, int64_t step)
{
    entry *at = s->waiting.count > 0 ? malloc((size_t)s->waiting.count * sizeof *at) : NULL;
    int left = 0;
    assert(s->round.count == 0);
    forget_old(&s->waiting, step, s->marks.keep);
    s->outcome = (lt_state_outcome){LT_OK, ""};
    if (at == NULL && s->waiting.count > 0)
        s->outcome = (lt_state_outcome){LT_ENOMEM, "no memory to sync a step"};
    s->round = (entries){.at = at};
    for (int i = 0; i < s->waiting.count; i++)
        if (at != NULL && s->waiting.at[i].step <= step)
            at[s->round.count++] = s->waiting.at[i];
        else
            s->waiting.at[left++] = s->waiting.at[i];
    s->waiting.count = left;
}

void lt_state_sync_begin(lt_state_sync *s, int64_t step)
{
    (void)pthread_mutex_lock(&s->lock);
    assert(!s->begins && !s->works);
    take_round(s, step);
    s->marks.syncing = step;
    s->begins = 1;
    (void)pthread_cond_signal(&s->more);
    (void)pthread_mutex_unlock(&s->lock);
}

int lt_state_sync_is_busy(lt_state_sync *s)
{
    (void)pthread_mutex_lock(&s->lock);
    const int busy = s->begins || s->works;
    (void)pthread_mutex_unlock(&s->lock);
    return busy;
}

lt_state_outcome lt_state_sync_outcome(lt_state_sync *s)
{
    (void)pthread_mutex_lock(&s->lock);
    const lt_state_outcome out = s->outcome;
    (void)pthread_mutex_unlock(&s->lock);
    return out;
}

void lt_state_sync_durable(lt_state_sync *s, int64_t step)
{
    (void)pthread_mutex_lock(&s->lock);
    s->marks.durable = step;
    s->marks.syncing = 0;
    s->unpruned++;
    (void)pthread_cond_signal(&s->more);
    (void)pthread_mutex_unlock(&s->lock);
}

void lt_state_sync_prune(lt_state_sync *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->unpruned++;
    const int myself = s->unpruned >= UNPRUNED_MAX;
    if (s->unpruned == 1) /* else it looks at its hour */
        (void)pthread_cond_signal(&s->more);
    (void)pthread_mutex_unlock(&s->lock);
    if (myself)
        prune(s);
}
