/* detector.c - the failure detector: the thread that watches the other ranks.
 *
 * Open MPI 4 does not report that a rank is gone, and mpirun, which knows, prints neither where it
 * was nor what the others waited for before it ends them. So each rank sends heartbeats:
 *
 *     every 0.25 s    and as a step begins, to every peer: step, collective, calls, does it wait
 *     every 10 ms     read what came (1/10 ms while requests of the decoding pool are under way:
 *                     the same call makes the library move them while the main thread decodes)
 *
 * verdict.c decides which peer is dead; this thread gathers the evidence and acts.
 *
 * A rank that knows of a death passes it on (LT_HEARTBEAT_DEAD); the lowest survivor prints the one
 * line; all leave at once (base/leave.h), since the main thread may be stuck where nothing reaches
 * it. The rank that prints leaves first, since the launcher then ends the rest. A rank that fails
 * alone prints its own line and sends an abort message: the others print nothing.
 *
 * A rank that has closed the world is silent for good, so it sends a leave message
 * (LT_HEARTBEAT_LEAVE) and is watched no more.
 *
 * Peers are all other ranks up to 64 ranks; beyond, the ranks at distances 1, 2, 4, ... in both
 * directions, over which every rank passes LT_HEARTBEAT_DEAD on once. */
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
#include "parallel/liveness/detector_impl.h"
#include "parallel/transport/detected.h"
#include "parallel/transport/op_record.h"

static const double busy_nap_s = 1e-4, idle_nap_s = 2e-3, read_every_s = 1e-2;
/* A rank that was stopped for longer than the silence wakes: the peers that it misses count it as
 * dead. */
static const double given_up_s = 3;

typedef struct {
    lt_detector_peer who;
    lt_heartbeat last;
    int process; /* a pidfd or -1 */
} peer_state;

static struct {
    lt_detector_wire wire;
    lt_detector_limits limits;
    int rank, size;
    peer_state *peer;    /* [size] */
    lt_peer *known;      /* [size]: what the verdict goes by */
    unsigned char *dead; /* [size] */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_int running, closing, closed, aborts, abort_sent, dropped;
    /* the thread's own */
    double heartbeat_at, read_at, ran_at, changed_at, asked_at, stopped_until, late_since;
    int has_left, stuck, by_abort, heartbeat_step, peer_signal, sent_stop, own_step;
    unsigned own_calls;
    char reason[96]; /* of those that a peer called dead */
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

static lt_heartbeat heartbeat_now(lt_heartbeat_kind kind)
{
    lt_heartbeat b;
    memset(&b, 0, sizeof b);
    b.kind = (int32_t)kind;
    b.rank = w.rank;
    b.about = -1;
    b.step = atomic_load(&lt_operation.step);
    b.chunk = atomic_load(&lt_operation.chunk);
    const char *stage = atomic_load(&lt_operation.stage);
    lt_detector_copy(b.stage, sizeof b.stage, stage != NULL ? stage : "");
    b.calls = atomic_load(&lt_operation.calls);
    const char *name, *axis;
    int waits;
    lt_operation_read(&name, &axis, &waits);
    b.waits = waits;
    lt_detector_copy(b.name, sizeof b.name, name);
    lt_detector_copy(b.axis, sizeof b.axis, axis);
    return b;
}

static void say_dead(int dead, const char *reason)
{
    char line[LT_LEAVE_LINE_BYTES - 64], theirs[160], mine[160], more[48] = "";
    const lt_heartbeat now = heartbeat_now(LT_HEARTBEAT_ALIVE);
    const peer_state *p = &w.peer[dead];
    int others = -1;
    for (int i = 0; i < w.size; i++)
        others += w.dead[i];
    lt_detector_where(&p->last, theirs, sizeof theirs);
    lt_detector_where(&now, mine, sizeof mine);
    if (others > 0)
        (void)snprintf(more, sizeof more, ", and %d more with it", others);
    (void)snprintf(line, sizeof line,
                   "rank %d on %s is lost (%s)%s: rank %d on %s %s %s; rank %d was last heard of "
                   "%.1f s ago, %s",
                   dead, p->who.host.name, reason, more, w.rank, w.peer[w.rank].who.host.name,
                   now.waits ? "waits" : "is", mine, dead, lt_seconds() - w.known[dead].received,
                   theirs);
    lt_leave_say(line, "", lt_stop_hint());
}

static void say_stuck(double seconds)
{
    enum { LISTED_MAX = 8 };
    char line[LT_LEAVE_LINE_BYTES - 64], place[160];
    int n = snprintf(line, sizeof line, "no progress anywhere for %.0f s:", seconds);
    for (int i = 0; i < w.size && i < LISTED_MAX; i++) {
        const lt_heartbeat b = i == w.rank ? heartbeat_now(LT_HEARTBEAT_ALIVE) : w.peer[i].last;
        lt_detector_where(&b, place, sizeof place);
        if (n > 0 && (size_t)n < sizeof line)
            n += snprintf(line + n, sizeof line - (size_t)n, "%s rank %d on %s %s %s",
                          i == 0 ? "" : ";", i, w.peer[i].who.host.name, b.waits ? "waits" : "is",
                          place);
    }
    lt_leave_say(line, "", lt_stop_hint());
}

/* ---- the end ---- */

static void send_all(const lt_heartbeat *b, int must)
{
    if (!w.wire.take(must ? 0.5 : 0.05))
        return;
    for (int i = 0; i < w.size; i++)
        if (w.known[i].watched && !w.dead[i] && !w.known[i].has_left)
            w.wire.send(i, b, must);
    w.wire.give();
}

static _Noreturn void leave(int prints)
{
    lt_leave(prints ? LT_LEAVE_PRINTER_MS : LT_LEAVE_SILENT_MS, LT_EXIT_RESUMABLE);
}

/* The user's signal, where no thread stops in order: in one line, and no rank is called dead. */
static void end_stopped(int signal_number, int prints)
{
    char line[256];
    lt_detected_ending();
    if (prints)
        lt_leave_say(lt_stop_words(signal_number, line, sizeof line), "", lt_stop_hint());
    const lt_heartbeat b = heartbeat_now(prints ? LT_HEARTBEAT_ABORT : LT_HEARTBEAT_ALIVE);
    send_all(&b, 1);
    leave(prints);
}

static void end_dead(const lt_verdict *v)
{
    lt_detected_ending();
    lt_heartbeat b = heartbeat_now(LT_HEARTBEAT_DEAD);
    b.about = v->rank;
    lt_detector_copy(b.text, sizeof b.text, v->reason);
    if (v->prints)
        say_dead(v->rank, v->reason);
    send_all(&b, 1);
    leave(v->prints);
}

static void end_stuck(const lt_verdict *v)
{
    lt_detected_ending();
    const lt_heartbeat b = heartbeat_now(LT_HEARTBEAT_STUCK);
    if (v->prints)
        say_stuck(v->seconds);
    send_all(&b, 1);
    leave(v->prints);
}

static void ask_all(double now)
{
    for (int i = 0; i < w.size; i++)
        w.known[i].answered = -1;
    w.asked_at = now;
    const lt_heartbeat b = heartbeat_now(LT_HEARTBEAT_ASK);
    send_all(&b, 0);
}

/* The signal is the user's own: all ranks stop, in order where a thread looks at it. */
static void stop_all(const lt_verdict *v)
{
    lt_heartbeat b = heartbeat_now(LT_HEARTBEAT_STOP);
    b.about = v->signal;
    if (!w.sent_stop)
        send_all(&b, 1);
    w.sent_stop = 1;
    if (lt_stop_is_armed())
        lt_stop_ask(v->signal);
    else
        end_stopped(v->signal, v->prints);
}

static void act(const lt_verdict *v, double now)
{
    switch (v->kind) {
    case LT_VERDICT_NONE:
        return;
    case LT_VERDICT_LEAVE:
        lt_detected_ending();
        leave(0);
    case LT_VERDICT_DEAD:
        end_dead(v);
        return;
    case LT_VERDICT_STUCK:
        end_stuck(v);
        return;
    case LT_VERDICT_ASK:
        ask_all(now);
        return;
    case LT_VERDICT_STOP:
        stop_all(v);
        return;
    case LT_VERDICT_STOPPED:
        end_stopped(v->signal, v->prints);
        return;
    }
}

/* ---- what is received ---- */

static void hear(lt_heartbeat *b, int from, double now)
{
    if (from < 0 || from >= w.size || from == w.rank || b->rank != from || b->kind < 0 ||
        b->kind >= LT_HEARTBEAT_OTHER) {
        atomic_fetch_add(&w.dropped, 1);
        return;
    }
    lt_detector_tame(b->stage, sizeof b->stage);
    lt_detector_tame(b->name, sizeof b->name);
    lt_detector_tame(b->axis, sizeof b->axis);
    lt_detector_tame(b->text, sizeof b->text);
    peer_state *p = &w.peer[from];
    if (b->calls != p->last.calls || b->step != p->last.step) {
        w.changed_at = now;
        lt_detected_moved(now);
    }
    p->last = *b;
    w.known[from].received = w.known[from].answered = now;
    if (b->kind == LT_HEARTBEAT_LEAVE)
        w.known[from].has_left = 1;
    if (b->kind == LT_HEARTBEAT_ASK) {
        const lt_heartbeat answer = heartbeat_now(LT_HEARTBEAT_ALIVE);
        w.wire.send(from, &answer, 0);
    }
    if (b->kind == LT_HEARTBEAT_ABORT)
        w.by_abort = 1;
    if (b->kind == LT_HEARTBEAT_STUCK)
        w.stuck = 1;
    if (b->kind == LT_HEARTBEAT_STOP)
        w.peer_signal = b->about;
    if (b->kind == LT_HEARTBEAT_DEAD && b->about == w.rank)
        w.by_abort = 1; /* stopped for so long that the others gave this rank up */
    else if (b->kind == LT_HEARTBEAT_DEAD && b->about >= 0 && b->about < w.size) {
        w.known[b->about].dead = 1;
        lt_detector_copy(w.reason, sizeof w.reason, b->text);
    }
}

static void read_all(double now)
{
    lt_heartbeat b;
    int from = -1;
    if (!w.wire.take(0.02))
        return;
    while (w.wire.receive(&b, &from))
        hear(&b, from, now);
    w.wire.give();
}

/* ---- what is noticed ---- */

static void look_at_processes(void)
{
    for (int i = 0; i < w.size; i++) {
        struct pollfd fd = {.fd = w.peer[i].process, .events = POLLIN};
        if (fd.fd < 0 || w.known[i].has_left || poll(&fd, 1, 0) != 1)
            continue;
        if (!w.wire.take(0.2)) /* its last words may lie unread: a leave or an abort message */
            continue;
        lt_heartbeat b;
        int from = -1;
        while (w.wire.receive(&b, &from))
            hear(&b, from, lt_seconds());
        w.wire.give();
        w.known[i].ended = 1;
    }
}

/* Looked up in /proc only where it matters. */
static void look_who_starves(double now)
{
    for (int i = 0; i < w.size; i++)
        w.known[i].starved = w.peer[i].process >= 0 && lt_peer_counts(&w.known[i]) &&
                             now - w.known[i].received > w.limits.silence_s &&
                             lt_detector_is_starved(w.peer[i].who.pid);
}

/* Time in which no thread of this rank waits, or it makes progress, is no standstill. */
static int look_at_own_progress(double now, int64_t longest_ms)
{
    const unsigned calls = atomic_load(&lt_operation.calls);
    const int step = atomic_load(&lt_operation.step);
    const char *name, *axis;
    int waits;
    lt_operation_read(&name, &axis, &waits);
    const int moved = calls != w.own_calls || step != w.own_step;
    if (moved)
        lt_detected_moved(now);
    if (moved || !waits || longest_ms == 0)
        w.changed_at = now;
    w.own_calls = calls;
    w.own_step = step;
    return waits;
}

static lt_evidence evidence(double now)
{
    return (lt_evidence){.rank = w.rank,
                         .size = w.size,
                         .peer = w.known,
                         .limits = &w.limits,
                         .now = now,
                         .aborted = w.by_abort,
                         .stuck = w.stuck,
                         .peer_signal = w.peer_signal,
                         .dead_reason = w.reason,
                         .failed_alone = atomic_load(&w.aborts),
                         .signal = lt_stop_signal(),
                         .signal_name = lt_stop_name(lt_stop_signal()),
                         .stops = lt_stop_asked(),
                         .sent_stop = w.sent_stop,
                         .asked_at = w.asked_at,
                         .woke_until = w.stopped_until,
                         .late_since = w.late_since,
                         .changed_at = w.changed_at};
}

static void check_what_was_said(double now)
{
    const lt_evidence e = evidence(now);
    const lt_verdict v = lt_verdict_by_peers(&e, w.dead);
    act(&v, now);
}

static void check_what_is_seen(double now)
{
    const int64_t longest_ms = atomic_load(&lt_operation.longest_ms);
    look_at_processes();
    look_who_starves(now);
    if (!lt_stop_is_late())
        w.late_since = -1;
    else if (w.late_since < 0)
        w.late_since = now;
    const int waits = look_at_own_progress(now, longest_ms);
    lt_evidence e = evidence(now);
    e.waits = waits;
    e.longest_step_s = 1e-3 * (double)longest_ms;
    const lt_verdict v = lt_verdict_seen(&e, w.dead);
    act(&v, now);
}

/* ---- the thread ---- */

static int all_have_left(void)
{
    for (int i = 0; i < w.size; i++)
        if (lt_peer_counts(&w.known[i]))
            return 0;
    return 1;
}

static void heartbeat_if_due(double now)
{
    if (atomic_load(&w.aborts) && !atomic_load(&w.abort_sent)) {
        const lt_heartbeat b = heartbeat_now(LT_HEARTBEAT_ABORT);
        send_all(&b, 1);
        atomic_store(&w.abort_sent, 1);
    }
    if (atomic_load(&w.closing) && !w.has_left) {
        const lt_heartbeat b = heartbeat_now(LT_HEARTBEAT_LEAVE);
        if (!w.wire.take(0.5))
            return;
        for (int i = 0; i < w.size; i++)
            if (w.known[i].watched)
                w.wire.send(i, &b, 1);
        w.wire.give();
        w.has_left = 1;
    }
    const lt_heartbeat b = heartbeat_now(LT_HEARTBEAT_ALIVE);
    if ((now - w.heartbeat_at < w.limits.heartbeat_s && b.step == w.heartbeat_step) || w.has_left)
        return;
    w.heartbeat_at = now;
    w.heartbeat_step = b.step;
    send_all(&b, 0);
}

/* Time in which this thread did not run counts as no peer's silence. */
static void forgive(double now)
{
    const double gap = now - w.ran_at;
    if (gap > 1)
        for (int i = 0; i < w.size; i++)
            w.known[i].received += gap;
    if (gap > w.limits.silence_s)
        w.stopped_until = now + given_up_s;
    w.ran_at = now;
}

static void *detector_main(void *unused)
{
    (void)unused;
    (void)pthread_setname_np(pthread_self(), LT_DETECTOR_THREAD);
    while (!(w.has_left && all_have_left())) {
        const int busy = w.wire.busy();
        const double now = lt_seconds();
        forgive(now);
        const int due = now - w.read_at >= read_every_s;
        if (busy || due) {
            read_all(now);
            check_what_was_said(now);
        }
        if (due) {
            w.read_at = now;
            check_what_is_seen(now);
        }
        heartbeat_if_due(now);
        nap(busy ? busy_nap_s : idle_nap_s);
    }
    return NULL;
}

static void free_peers(void)
{
    for (int i = 0; w.peer != NULL && i < w.size; i++)
        if (w.peer[i].process >= 0)
            (void)close(w.peer[i].process);
    free(w.peer);
    free(w.known);
    free(w.dead);
    w.peer = NULL;
    w.known = NULL;
    w.dead = NULL;
}

/* From its nap: it polls now. */
static void wake_up(void)
{
    (void)pthread_mutex_lock(&w.lock);
    (void)pthread_cond_signal(&w.wake);
    (void)pthread_mutex_unlock(&w.lock);
}

lt_status lt_detector_start(const lt_detector_wire *wire, int rank, int size,
                            const lt_detector_peer *peers, const lt_detector_limits *limits)
{
    assert(size > 1 && rank >= 0 && rank < size && !atomic_load(&w.running));
    memset(&w, 0, sizeof w);
    w.wire = *wire;
    w.limits = *limits;
    w.rank = rank;
    w.size = size;
    w.asked_at = w.late_since = -1;
    w.peer = calloc((size_t)size, sizeof *w.peer);
    w.known = calloc((size_t)size, sizeof *w.known);
    w.dead = calloc((size_t)size, sizeof *w.dead);
    if (w.peer == NULL || w.known == NULL || w.dead == NULL) {
        free(w.peer);
        free(w.known);
        free(w.dead);
        LT_FAIL(LT_ENOMEM, "watch: no memory for %d ranks", size);
    }
    const double now = lt_seconds();
    for (int i = 0; i < size; i++) {
        w.peer[i].who = peers[i];
        lt_detector_tame(w.peer[i].who.host.name, sizeof w.peer[i].who.host.name);
        w.known[i].received = now;
        w.known[i].watched = i != rank && lt_detector_is_near(rank, i, size);
        w.peer[i].process = i != rank ? lt_detector_process(&peers[i], &peers[rank]) : -1;
        lt_detector_copy(w.peer[i].last.name, sizeof w.peer[i].last.name, "start");
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
    const int error = pthread_create(&w.thread, NULL, detector_main, NULL);
    if (error != 0) {
        lt_detected_end();
        free_peers();
        LT_FAIL(LT_EUNAVAIL, "watch: no thread: %s", strerror(error));
    }
    atomic_store(&w.running, 1);
    return LT_OK;
}

void lt_detector_stop(void)
{
    if (!atomic_load(&w.running))
        return;
    atomic_store(&w.closing, 1);
    wake_up();
    (void)pthread_join(w.thread, NULL);
    atomic_store(&w.running, 0);
    lt_detected_end();
    lt_stop_hold(0);
    (void)pthread_mutex_destroy(&w.lock);
    (void)pthread_cond_destroy(&w.wake);
    free_peers();
}

void lt_detector_send_abort(void)
{
    if (!atomic_load(&w.running))
        return;
    atomic_store(&w.aborts, 1);
    wake_up();
    const double began = lt_seconds();
    while (!atomic_load(&w.abort_sent) && lt_seconds() - began < 0.5)
        sleep_s(1e-3);
}

int lt_detector_dropped(void) { return atomic_load(&w.dropped); }

const char *lt_detector_me(void)
{
    static char text[256];
    char place[160];
    if (!atomic_load(&w.running))
        return "";
    lt_detected_stay();
    const lt_heartbeat now = heartbeat_now(LT_HEARTBEAT_ALIVE);
    lt_detector_where(&now, place, sizeof place);
    (void)snprintf(text, sizeof text, "rank %d on %s %s", w.rank, w.peer[w.rank].who.host.name,
                   place);
    return text;
}
