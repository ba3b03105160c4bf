/* watch.c - the thread that watches the other ranks.                              Level 2: parallel
 *
 * Open MPI 4 tells nobody that a rank is gone, and mpirun, which knows, says neither where it was
 * nor what the others waited for before it ends them. So each rank beats:
 *
 *     every 0.25 s    and as a step begins, to every peer: step, collective, calls, does it wait
 *     every 10 ms     read what came (1/10 ms while posts of the decoding pool are under way:
 *                     the same call makes the library move them while the main thread decodes)
 *
 * and a peer counts as lost by the first of
 *
 *     its process     is gone (a pidfd tells; ranks of one host and one process namespace)
 *     its silence     of 5 s: it was stopped, its host died, the link was cut; of 60 s where its
 *                     watch on this host is runnable and only gets no processor
 *     our SIGTERM     a launcher noticed before us. All are asked; who does not answer within half
 *                     a second, or was silent for long already, is the reason. Launchers kill a
 *                     second after the TERM, so the line must be out by then. Did all answer, the
 *                     signal is the user's own.
 *     a peer's word   that it is lost
 *
 * Whoever knows tells the others (LT_BEAT_LOST); the lowest survivor prints the one line; all leave
 * at once (base/leave.h), since the main thread may be stuck where nothing reaches it, the speaker
 * first: the launcher ends the rest when it does. A rank that fails alone prints for itself and
 * sends poison: the others say nothing.
 *
 * What goes wrong otherwise: a rank that was itself stopped wakes to find all others silent; time
 * in which this thread did not run is therefore no one's silence; and if it was long, the rank is
 * the one that the others lost, and says nothing about their end. A rank that has closed the world
 * is silent for good, so it says LT_BEAT_BYE and is watched no more. A peer that computes for
 * minutes is no loss: its thread beats. No progress is judged by calls: if one waits while nobody's
 * calls or steps change for ten steps (60 s at least), all end and the line says who waits where.
 *
 * Peers are all other ranks up to 64 ranks; beyond, the ranks at distances 1, 2, 4, ... in both
 * directions, over which LT_BEAT_LOST is passed on once by everybody. */
#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/leave.h"
#include "base/log.h"
#include "base/stop.h"
#include "parallel/transport/detected.h"
#include "parallel/watch_impl.h"

const lt_watch_limits lt_watch_defaults = {
    .beat_s = 0.25, .silence_s = 5, .progress_s = 60, .progress_steps = 10, .signal_s = 0.5};
static const double busy_nap_s = 1e-4, idle_nap_s = 2e-3, read_every_s = 1e-2;
/* Whom a rank that was stopped for longer than the silence misses when it wakes has given it up. */
static const double given_up_s = 3;

typedef struct {
    lt_watch_peer who;
    lt_beat last;
    double heard, answered;               /* when; answered: to the last question */
    int watched, said_bye, lost, process; /* process: a pidfd or -1 */
} peer_state;

static struct {
    lt_watch_wire wire;
    lt_watch_limits limits;
    int rank, size;
    peer_state *peer; /* [size] */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_int running, closing, closed, poisoned, poison_sent, dropped;
    /* the thread's own */
    double beat_at, read_at, ran_at, changed_at, asked_at, stopped_until, late_at;
    int said_bye, stuck, by_poison, beat_step, stop, stopped; /* stop: a signal's number */
    char reason[96];
} w;

static void nap(double seconds)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(seconds * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_mutex_lock(&w.lock);
    (void)pthread_cond_timedwait(&w.wake, &w.lock, &until);
    (void)pthread_mutex_unlock(&w.lock);
}

static void sleep_s(double seconds)
{
    const time_t whole = (time_t)seconds;
    (void)nanosleep(&(struct timespec){whole, (long)((seconds - (double)whole) * 1e9)}, NULL);
}

/* ---- what is said ---- */

static lt_beat beat_now(lt_beat_kind kind)
{
    lt_beat b;
    memset(&b, 0, sizeof b);
    b.kind = (int32_t)kind;
    b.rank = w.rank;
    b.about = -1;
    b.step = atomic_load(&lt_note.step);
    b.item = atomic_load(&lt_note.item);
    const char *stage = atomic_load(&lt_note.stage);
    lt_watch_copy(b.stage, sizeof b.stage, stage != NULL ? stage : "");
    b.calls = atomic_load(&lt_note.calls);
    const char *name, *axis;
    int waits;
    lt_note_read(&name, &axis, &waits);
    b.waits = waits;
    lt_watch_copy(b.name, sizeof b.name, name);
    lt_watch_copy(b.axis, sizeof b.axis, axis);
    return b;
}

static int lowest_survivor(void)
{
    int rank = 0;
    while (rank < w.size && (w.peer[rank].lost || w.peer[rank].said_bye))
        rank++;
    return rank;
}

static void say_lost(int lost)
{
    char line[LT_LEAVE_LINE_BYTES - 64], theirs[160], mine[160], more[48] = "";
    const lt_beat now = beat_now(LT_BEAT_ALIVE);
    const peer_state *p = &w.peer[lost];
    int others = -1;
    for (int i = 0; i < w.size; i++)
        others += w.peer[i].lost;
    lt_watch_where(&p->last, theirs, sizeof theirs);
    lt_watch_where(&now, mine, sizeof mine);
    if (others > 0)
        (void)snprintf(more, sizeof more, ", and %d more with it", others);
    (void)snprintf(line, sizeof line,
                   "rank %d on %s is lost (%s)%s: rank %d on %s %s %s; rank %d was last heard of "
                   "%.1f s ago, %s",
                   lost, p->who.host.name, w.reason, more, w.rank, w.peer[w.rank].who.host.name,
                   now.waits ? "waits" : "is", mine, lost, lt_seconds() - p->heard, theirs);
    lt_leave_say(line, "", lt_stop_hint());
}

static void say_stuck(double seconds)
{
    enum { LISTED_MAX = 8 };
    char line[LT_LEAVE_LINE_BYTES - 64], place[160];
    int n = snprintf(line, sizeof line, "no progress anywhere for %.0f s:", seconds);
    for (int i = 0; i < w.size && i < LISTED_MAX; i++) {
        const lt_beat b = i == w.rank ? beat_now(LT_BEAT_ALIVE) : w.peer[i].last;
        lt_watch_where(&b, place, sizeof place);
        if (n > 0 && (size_t)n < sizeof line)
            n += snprintf(line + n, sizeof line - (size_t)n, "%s rank %d on %s %s %s",
                          i == 0 ? "" : ";", i, w.peer[i].who.host.name, b.waits ? "waits" : "is",
                          place);
    }
    lt_leave_say(line, "", lt_stop_hint());
}

/* ---- the end ---- */

static void tell(const lt_beat *b, int must)
{
    if (!w.wire.take(must ? 0.5 : 0.05))
        return;
    for (int i = 0; i < w.size; i++)
        if (w.peer[i].watched && !w.peer[i].lost && !w.peer[i].said_bye)
            w.wire.send(i, b, must);
    w.wire.give();
}

static _Noreturn void leave(int speaks)
{
    lt_leave(speaks ? LT_LEAVE_SPEAKER_MS : LT_LEAVE_SILENT_MS, LT_EXIT_RESUMABLE);
}

/* The user's signal, where nobody stops in order: in one line, and no rank is called lost. */
static void end_stopped(int signal_number)
{
    char line[256];
    lt_detected_ending();
    const int speaks = lowest_survivor() == w.rank;
    if (speaks)
        lt_leave_say(lt_stop_words(signal_number, line, sizeof line), "", lt_stop_hint());
    const lt_beat b = beat_now(speaks ? LT_BEAT_POISON : LT_BEAT_ALIVE);
    tell(&b, 1);
    leave(speaks);
}

static void end_lost(int lost, const char *reason)
{
    w.peer[lost].lost = 1;
    if (lt_stop_asked() || w.stopped) /* it left for the signal before this rank could */
        end_stopped(lt_stop_signal());
    lt_watch_copy(w.reason, sizeof w.reason, reason);
    lt_detected_ending();
    lt_beat b = beat_now(LT_BEAT_LOST);
    b.about = lost;
    lt_watch_copy(b.text, sizeof b.text, reason);
    const int speaks = lowest_survivor() == w.rank && lt_seconds() > w.stopped_until;
    if (speaks)
        say_lost(lost);
    tell(&b, 1);
    leave(speaks);
}

static void end_stuck(double seconds)
{
    lt_detected_ending();
    const lt_beat b = beat_now(LT_BEAT_STUCK);
    const int speaks = lowest_survivor() == w.rank;
    if (speaks)
        say_stuck(seconds);
    tell(&b, 1);
    leave(speaks);
}

/* ---- what is heard ---- */

static void hear(lt_beat *b, int from, double now)
{
    if (from < 0 || from >= w.size || from == w.rank || b->rank != from || b->kind < 0 ||
        b->kind >= LT_BEAT_OTHER) {
        atomic_fetch_add(&w.dropped, 1);
        return;
    }
    lt_watch_tame(b->stage, sizeof b->stage);
    lt_watch_tame(b->name, sizeof b->name);
    lt_watch_tame(b->axis, sizeof b->axis);
    lt_watch_tame(b->text, sizeof b->text);
    peer_state *p = &w.peer[from];
    if (b->calls != p->last.calls || b->step != p->last.step) {
        w.changed_at = now;
        lt_detected_moved(now);
    }
    p->last = *b;
    p->heard = p->answered = now;
    if (b->kind == LT_BEAT_BYE)
        p->said_bye = 1;
    if (b->kind == LT_BEAT_ASK) {
        const lt_beat answer = beat_now(LT_BEAT_ALIVE);
        w.wire.send(from, &answer, 0);
    }
    if (b->kind == LT_BEAT_POISON)
        w.by_poison = 1;
    if (b->kind == LT_BEAT_STUCK)
        w.stuck = 1;
    if (b->kind == LT_BEAT_STOP)
        w.stop = b->about;
    if (b->kind == LT_BEAT_LOST && b->about == w.rank)
        w.by_poison = 1; /* stopped for so long that the others gave this rank up */
    else if (b->kind == LT_BEAT_LOST && b->about >= 0 && b->about < w.size) {
        w.peer[b->about].lost = 1;
        lt_watch_copy(w.reason, sizeof w.reason, b->text);
    }
}

static void read_all(double now)
{
    lt_beat b;
    int from = -1;
    if (!w.wire.take(0.02))
        return;
    while (w.wire.receive(&b, &from))
        hear(&b, from, now);
    w.wire.give();
    for (int i = 0; i < w.size; i++)
        if (w.peer[i].lost) {
            char reason[sizeof w.reason];
            lt_watch_copy(reason, sizeof reason, w.reason);
            end_lost(i, reason);
        }
    if (w.by_poison) {
        lt_detected_ending();
        leave(0);
    }
    if (w.stuck)
        end_stuck(now - w.changed_at);
}

/* ---- what is noticed ---- */

static int is_watched(const peer_state *p) { return p->watched && !p->said_bye && !p->lost; }

static void look_at_processes(void)
{
    for (int i = 0; i < w.size; i++) {
        struct pollfd fd = {.fd = w.peer[i].process, .events = POLLIN};
        if (fd.fd < 0 || w.peer[i].said_bye || poll(&fd, 1, 0) != 1)
            continue;
        if (!w.wire.take(0.2)) /* its last words may lie unread: a farewell, or poison */
            continue;
        lt_beat b;
        int from = -1;
        while (w.wire.receive(&b, &from))
            hear(&b, from, lt_seconds());
        w.wire.give();
        if (!w.peer[i].said_bye && !w.by_poison && !atomic_load(&w.poisoned))
            end_lost(i, "its process is gone");
    }
}

static int is_silent(const peer_state *p, double silence)
{
    return is_watched(p) && silence > w.limits.silence_s &&
           (p->process < 0 || silence > LT_WATCH_STARVED_S || !lt_watch_is_starved(p->who.pid));
}

static void look_at_silence(double now)
{
    int first = -1;
    for (int i = 0; i < w.size; i++)
        if (is_silent(&w.peer[i], now - w.peer[i].heard) &&
            (first < 0 || w.peer[i].heard < w.peer[first].heard))
            first = i;
    if (first < 0)
        return;
    for (int i = 0; i < w.size; i++) /* a host dies with all its ranks, within a few beats */
        if (is_watched(&w.peer[i]) &&
            now - w.peer[i].heard > w.limits.silence_s - 4 * w.limits.beat_s) {
            w.peer[i].lost = 1;
            first = i < first ? i : first;
        }
    char reason[64];
    (void)snprintf(reason, sizeof reason, "silent for %.1f s", now - w.peer[first].heard);
    end_lost(first, reason);
}

/* The signal is the user's own: all ranks stop, in order where somebody looks at it. */
static void stop_all(int signal_number)
{
    lt_beat b = beat_now(LT_BEAT_STOP);
    b.about = signal_number;
    if (!w.stopped)
        tell(&b, 1);
    w.stopped = 1;
    if (lt_stop_is_armed())
        lt_stop_ask(signal_number);
    else
        end_stopped(signal_number);
}

static void look_at_signal(double now)
{
    if (w.stop != 0 && !w.stopped)
        stop_all(w.stop);
    /* A rank above the one that speaks gives it time to do so. */
    if (lt_stop_is_late() &&
        (w.rank == lowest_survivor() || now - w.late_at > 1e-3 * LT_LEAVE_SIGNAL_LATER_MS))
        end_stopped(lt_stop_signal());
    if (!lt_stop_is_late())
        w.late_at = now;
    if (lt_stop_signal() == 0 || lt_stop_asked())
        return;
    if (w.asked_at < 0) {
        for (int i = 0; i < w.size; i++)
            w.peer[i].answered = -1;
        w.asked_at = now;
        const lt_beat b = beat_now(LT_BEAT_ASK);
        tell(&b, 0);
        return;
    }
    if (now - w.asked_at < w.limits.signal_s)
        return;
    int silent = -1;
    for (int i = w.size - 1; i >= 0; i--)
        if (is_watched(&w.peer[i]) && w.peer[i].answered < 0)
            silent = i;
    if (silent >= 0) {
        char reason[64];
        (void)snprintf(reason, sizeof reason, "silent for %.1f s when %s came",
                       now - w.peer[silent].heard, lt_stop_name(lt_stop_signal()));
        for (int i = 0; i < w.size; i++)
            w.peer[i].lost |= is_watched(&w.peer[i]) && w.peer[i].answered < 0;
        end_lost(silent, reason);
    }
    stop_all(lt_stop_signal());
}

/* Only while somebody waits: that all compute for long is no standstill. */
static void look_at_progress(double now)
{
    static unsigned calls;
    static int step;
    const int64_t longest_ms = atomic_load(&lt_note.longest_ms);
    const char *name, *axis;
    int waits;
    lt_note_read(&name, &axis, &waits);
    if (calls != atomic_load(&lt_note.calls) || step != atomic_load(&lt_note.step))
        lt_detected_moved(now);
    if (calls != atomic_load(&lt_note.calls) || step != atomic_load(&lt_note.step) || !waits ||
        longest_ms == 0) {
        calls = atomic_load(&lt_note.calls);
        step = atomic_load(&lt_note.step);
        w.changed_at = now;
        return;
    }
    const double steps = w.limits.progress_steps * 1e-3 * (double)longest_ms;
    const double limit = steps > w.limits.progress_s ? steps : w.limits.progress_s;
    if (now - w.changed_at > limit)
        end_stuck(now - w.changed_at);
}

/* ---- the thread ---- */

static int all_said_bye(void)
{
    for (int i = 0; i < w.size; i++)
        if (is_watched(&w.peer[i]))
            return 0;
    return 1;
}

static void beat(double now)
{
    if (atomic_load(&w.poisoned) && !atomic_load(&w.poison_sent)) {
        const lt_beat b = beat_now(LT_BEAT_POISON);
        tell(&b, 1);
        atomic_store(&w.poison_sent, 1);
    }
    if (atomic_load(&w.closing) && !w.said_bye) {
        const lt_beat b = beat_now(LT_BEAT_BYE);
        if (!w.wire.take(0.5))
            return;
        for (int i = 0; i < w.size; i++)
            if (w.peer[i].watched)
                w.wire.send(i, &b, 1);
        w.wire.give();
        w.said_bye = 1;
    }
    const lt_beat b = beat_now(LT_BEAT_ALIVE);
    if ((now - w.beat_at < w.limits.beat_s && b.step == w.beat_step) || w.said_bye)
        return;
    w.beat_at = now;
    w.beat_step = b.step;
    tell(&b, 0);
}

/* Time in which this thread did not run is nobody's silence. */
static void forgive(double now)
{
    const double gap = now - w.ran_at;
    if (gap > 1)
        for (int i = 0; i < w.size; i++)
            w.peer[i].heard += gap;
    if (gap > w.limits.silence_s)
        w.stopped_until = now + given_up_s;
    w.ran_at = now;
}

static void *watch_main(void *unused)
{
    (void)unused;
    (void)pthread_setname_np(pthread_self(), LT_WATCH_THREAD);
    while (!(w.said_bye && all_said_bye())) {
        const int busy = w.wire.busy();
        const double now = lt_seconds();
        forgive(now);
        const int due = now - w.read_at >= read_every_s;
        if (busy || due)
            read_all(now);
        if (due) {
            w.read_at = now;
            look_at_signal(now);
            look_at_processes();
            look_at_silence(now);
            look_at_progress(now);
        }
        beat(now);
        nap(busy ? busy_nap_s : idle_nap_s);
    }
    return NULL;
}

static void free_peers(void)
{
    for (int i = 0; i < w.size; i++)
        if (w.peer[i].process >= 0)
            (void)close(w.peer[i].process);
    free(w.peer);
    w.peer = NULL;
}

lt_status lt_watch_start(const lt_watch_wire *wire, int rank, int size, const lt_watch_peer *peers,
                         const lt_watch_limits *limits)
{
    assert(size > 1 && rank >= 0 && rank < size && !atomic_load(&w.running));
    memset(&w, 0, sizeof w);
    w.wire = *wire;
    w.limits = *limits;
    w.rank = rank;
    w.size = size;
    w.asked_at = -1;
    w.peer = calloc((size_t)size, sizeof *w.peer);
    if (w.peer == NULL)
        LT_FAIL(LT_ENOMEM, "watch: no memory for %d ranks", size);
    const double now = lt_seconds();
    for (int i = 0; i < size; i++) {
        w.peer[i].who = peers[i];
        lt_watch_tame(w.peer[i].who.host.name, sizeof w.peer[i].who.host.name);
        w.peer[i].heard = now;
        w.peer[i].watched = i != rank && lt_watch_is_near(rank, i, size);
        w.peer[i].process = i != rank ? lt_watch_process(&peers[i], &peers[rank]) : -1;
        lt_watch_copy(w.peer[i].last.name, sizeof w.peer[i].last.name, "start");
    }
    w.ran_at = w.changed_at = now;
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&w.lock, NULL);
    (void)pthread_cond_init(&w.wake, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    lt_stop_hold(1);
    lt_detected_begin(w.limits.silence_s);
    const int error = pthread_create(&w.thread, NULL, watch_main, NULL);
    if (error != 0) {
        lt_detected_end();
        free_peers();
        LT_FAIL(LT_EUNAVAIL, "watch: no thread: %s", strerror(error));
    }
    atomic_store(&w.running, 1);
    return LT_OK;
}

void lt_watch_stop(void)
{
    if (!atomic_load(&w.running))
        return;
    atomic_store(&w.closing, 1);
    lt_watch_wake();
    (void)pthread_join(w.thread, NULL);
    atomic_store(&w.running, 0);
    lt_detected_end();
    lt_stop_hold(0);
    (void)pthread_mutex_destroy(&w.lock);
    (void)pthread_cond_destroy(&w.wake);
    free_peers();
}

void lt_watch_wake(void)
{
    if (!atomic_load(&w.running))
        return;
    (void)pthread_mutex_lock(&w.lock);
    (void)pthread_cond_signal(&w.wake);
    (void)pthread_mutex_unlock(&w.lock);
}

void lt_watch_poison(void)
{
    if (!atomic_load(&w.running))
        return;
    atomic_store(&w.poisoned, 1);
    lt_watch_wake();
    const double began = lt_seconds();
    while (!atomic_load(&w.poison_sent) && lt_seconds() - began < 0.5)
        sleep_s(1e-3);
}

int lt_watch_dropped(void) { return atomic_load(&w.dropped); }

const char *lt_watch_me(void)
{
    static char text[256];
    char place[160];
    if (!atomic_load(&w.running))
        return "";
    lt_detected_stay();
    const lt_beat now = beat_now(LT_BEAT_ALIVE);
    lt_watch_where(&now, place, sizeof place);
    (void)snprintf(text, sizeof text, "rank %d on %s %s", w.rank, w.peer[w.rank].who.host.name,
                   place);
    return text;
}
