/* verdict.c - which rank is dead, and why.
 *
 * What goes wrong otherwise: a rank that was itself stopped wakes to find all others silent. So the
 * time in which its detector did not run counts as no peer's silence (the detector moves
 * `received`), and if it was long, the others count this rank as dead, and it prints nothing of
 * their end (woke_until). A host dies with all its ranks within a few heartbeats: a rank that is
 * nearly silent when another is silent counts as dead with it, and the line names the lowest. A
 * rank that left for a signal before this one could is not dead. */
#include "parallel/liveness/verdict.h"

#include <stdio.h>
#include <string.h>

#include "base/leave.h"

const lt_detector_limits lt_detector_defaults = {
    .heartbeat_s = 0.25, .silence_s = 5, .progress_s = 60, .progress_steps = 10, .signal_s = 0.5};

int lt_peer_counts(const lt_peer *p) { return p->watched && !p->has_left && !p->dead; }

static int prints(const lt_evidence *e, const unsigned char *dead)
{
    int rank = 0;
    while (rank < e->size && (dead[rank] || e->peer[rank].has_left))
        rank++;
    return rank == e->rank;
}

static lt_verdict none(void)
{
    lt_verdict v;
    memset(&v, 0, sizeof v);
    v.rank = -1;
    return v;
}

static lt_verdict stopped(const lt_evidence *e, const unsigned char *dead)
{
    lt_verdict v = none();
    v.kind = LT_VERDICT_STOPPED;
    v.signal = e->signal;
    v.prints = prints(e, dead);
    return v;
}

static lt_verdict stop(const lt_evidence *e, const unsigned char *dead, int signal)
{
    lt_verdict v = none();
    v.kind = LT_VERDICT_STOP;
    v.signal = signal;
    v.prints = prints(e, dead);
    return v;
}

static lt_verdict stuck(const lt_evidence *e, const unsigned char *dead)
{
    lt_verdict v = none();
    v.kind = LT_VERDICT_STUCK;
    v.seconds = e->now - e->changed_at;
    v.prints = prints(e, dead);
    return v;
}

static lt_verdict lose(const lt_evidence *e, unsigned char *dead, int rank, const char *reason)
{
    dead[rank] = 1;
    if (e->stops || e->sent_stop) /* it left for the signal before this rank could */
        return stopped(e, dead);
    lt_verdict v = none();
    v.kind = LT_VERDICT_DEAD;
    v.rank = rank;
    v.prints = prints(e, dead) && e->now > e->woke_until;
    (void)snprintf(v.reason, sizeof v.reason, "%s", reason);
    return v;
}

static void begin(const lt_evidence *e, unsigned char *dead)
{
    for (int i = 0; i < e->size; i++)
        dead[i] = e->peer[i].dead != 0;
}

lt_verdict lt_verdict_by_peers(const lt_evidence *e, unsigned char *dead)
{
    begin(e, dead);
    for (int i = 0; i < e->size; i++)
        if (e->peer[i].dead)
            return lose(e, dead, i, e->dead_reason);
    lt_verdict v = none();
    if (e->aborted)
        v.kind = LT_VERDICT_LEAVE;
    else if (e->stuck)
        v = stuck(e, dead);
    return v;
}

/* A signal came to this rank: was a rank that died its reason? */
static lt_verdict by_signal(const lt_evidence *e, unsigned char *dead)
{
    char reason[sizeof((lt_verdict *)0)->reason];
    lt_verdict v = none();
    int silent = -1;
    if (e->asked_at < 0)
        v.kind = LT_VERDICT_ASK;
    if (e->asked_at < 0 || e->now - e->asked_at < e->limits->signal_s)
        return v;
    for (int i = e->size - 1; i >= 0; i--)
        if (lt_peer_counts(&e->peer[i]) && e->peer[i].answered < 0) {
            dead[i] = 1;
            silent = i;
        }
    if (silent < 0)
        return stop(e, dead, e->signal);
    (void)snprintf(reason, sizeof reason, "silent for %.1f s when %s came",
                   e->now - e->peer[silent].received, e->signal_name);
    return lose(e, dead, silent, reason);
}

static int is_silent(const lt_evidence *e, const lt_peer *p)
{
    const double silence = e->now - p->received;
    return lt_peer_counts(p) && silence > e->limits->silence_s &&
           (!p->starved || silence > LT_STARVED_S_MAX);
}

static lt_verdict by_silence(const lt_evidence *e, unsigned char *dead)
{
    char reason[sizeof((lt_verdict *)0)->reason];
    const double nearly = e->limits->silence_s - 4 * e->limits->heartbeat_s;
    int first = -1;
    for (int i = 0; i < e->size; i++)
        if (is_silent(e, &e->peer[i]) &&
            (first < 0 || e->peer[i].received < e->peer[first].received))
            first = i;
    if (first < 0)
        return none();
    for (int i = 0; i < e->size; i++)
        if (lt_peer_counts(&e->peer[i]) && e->now - e->peer[i].received > nearly) {
            dead[i] = 1;
            first = i < first ? i : first;
        }
    (void)snprintf(reason, sizeof reason, "silent for %.1f s", e->now - e->peer[first].received);
    return lose(e, dead, first, reason);
}

/* Only while a rank waits: that all compute for long is no standstill. */
static int is_stuck(const lt_evidence *e)
{
    const double steps = e->limits->progress_steps * e->longest_step_s;
    const double limit = steps > e->limits->progress_s ? steps : e->limits->progress_s;
    return e->waits && e->longest_step_s > 0 && e->now - e->changed_at > limit;
}

lt_verdict lt_verdict_seen(const lt_evidence *e, unsigned char *dead)
{
    begin(e, dead);
    if (e->peer_signal != 0 && !e->sent_stop)
        return stop(e, dead, e->peer_signal);
    /* A rank above the one that prints gives it time to do so. */
    if (e->late_since >= 0 &&
        (prints(e, dead) || e->now - e->late_since > 1e-3 * LT_LEAVE_SIGNAL_LATER_MS))
        return stopped(e, dead);
    if (e->signal != 0 && !e->stops) {
        const lt_verdict v = by_signal(e, dead);
        if (v.kind != LT_VERDICT_NONE)
            return v;
    }
    for (int i = 0; i < e->size; i++)
        if (e->peer[i].ended && !e->peer[i].has_left && !e->aborted && !e->failed_alone)
            return lose(e, dead, i, "its process is gone");
    const lt_verdict v = by_silence(e, dead);
    if (v.kind != LT_VERDICT_NONE)
        return v;
    return is_stuck(e) ? stuck(e, dead) : none();
}
