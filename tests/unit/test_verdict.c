/* test_verdict.c - who is dead, by a table of what is known.
 * Goal: each way to lose a rank, each that looks like one and is none, and who prints. Method: four
 * ranks, of which this is one, that all send heartbeats at second 100; each case changes that. No
 * clock, no thread, no MPI. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "parallel/liveness/verdict.h"

enum { SIZE = 4, SIGNAL = 15 };

typedef struct {
    lt_peer peer[SIZE];
    lt_evidence e;
} known;

typedef struct {
    const char *name;
    void (*change)(known *k);
    int rank; /* this one */
    lt_verdict_kind kind;
    int dead, prints; /* whom the line names; -1: nobody */
    const char *reason;
    int all; /* bits of all that count as dead */
} row;

static void nothing(known *k) { (void)k; }

static void told_2(known *k)
{
    k->peer[2].dead = 1;
    k->e.dead_reason = "silent for 5.2 s";
}
static void told_2_while_stopping(known *k)
{
    told_2(k);
    k->e.stops = 1;
    k->e.signal = SIGNAL;
}
static void told_0_and_abort(known *k)
{
    k->peer[0].dead = 1;
    k->e.dead_reason = "its process is gone";
    k->e.aborted = 1;
}
static void aborted(known *k) { k->e.aborted = 1; }
static void told_stuck(known *k) { k->e.stuck = 1; }

static void ended_1(known *k) { k->peer[1].ended = 1; }
static void ended_0(known *k) { k->peer[0].ended = 1; }
static void ended_after_leave(known *k) { k->peer[1].ended = k->peer[1].has_left = 1; }
static void ended_after_abort(known *k) { k->peer[1].ended = k->e.aborted = 1; }
static void ended_by_me(known *k) { k->peer[1].ended = k->e.failed_alone = 1; }
static void woke_and_0_is_gone(known *k)
{
    ended_0(k);
    k->e.woke_until = k->e.now + 1;
}

static void silent_3(known *k) { k->peer[3].received = k->e.now - 5.1; }
static void nearly_silent(known *k) { k->peer[3].received = k->e.now - 4.9; }
static void silent_not_watched(known *k)
{
    silent_3(k);
    k->peer[3].watched = 0;
}
static void silent_after_leave(known *k)
{
    silent_3(k);
    k->peer[3].has_left = 1;
}
static void starved(known *k)
{
    k->peer[3].received = k->e.now - 59;
    k->peer[3].starved = 1;
}
static void starved_too_long(known *k)
{
    k->peer[3].received = k->e.now - 61;
    k->peer[3].starved = 1;
}
static void a_host(known *k)
{
    k->peer[2].received = k->e.now - 4.2; /* within four heartbeats */
    k->peer[3].received = k->e.now - 5.1;
}

static void a_signal(known *k)
{
    k->e.signal = SIGNAL;
    k->e.signal_name = "SIGTERM";
}
static void asked(known *k)
{
    a_signal(k);
    k->e.asked_at = k->e.now - 0.4;
}
static void all_answered(known *k)
{
    a_signal(k);
    k->e.asked_at = k->e.now - 0.6;
}
static void two_did_not(known *k)
{
    all_answered(k);
    k->peer[2].answered = k->peer[3].answered = -1;
    k->peer[2].received = k->e.now - 2.5;
}
static void who_left_did_not(known *k)
{
    all_answered(k);
    k->peer[3].answered = -1;
    k->peer[3].has_left = 1;
}
static void stops_already(known *k)
{
    all_answered(k);
    k->e.stops = 1;
}
static void signal_elsewhere(known *k) { k->e.peer_signal = SIGNAL; }
static void signal_elsewhere_told(known *k)
{
    k->e.peer_signal = SIGNAL;
    k->e.stops = k->e.sent_stop = 1;
}
static void gone_while_stopping(known *k)
{
    signal_elsewhere_told(k);
    ended_1(k);
}
static void late(known *k)
{
    signal_elsewhere_told(k);
    k->e.late_since = k->e.now - 1;
}
static void late_for_long(known *k)
{
    late(k);
    k->e.late_since = k->e.now - 2.1;
}

static void waits(known *k)
{
    k->e.waits = 1;
    k->e.longest_step_s = 7;
    k->e.changed_at = k->e.now - 69;
}
static void waits_for_ten_steps(known *k)
{
    waits(k);
    k->e.changed_at = k->e.now - 71;
}
static void short_steps(known *k)
{
    waits(k);
    k->e.longest_step_s = 0.1;
    k->e.changed_at = k->e.now - 61;
}
static void all_compute(known *k)
{
    waits_for_ten_steps(k);
    k->e.waits = 0;
}
static void outside_of_steps(known *k)
{
    waits_for_ten_steps(k);
    k->e.longest_step_s = 0;
}

#define NOTHING LT_VERDICT_NONE, -1, 0, "", 0

static const row by_peers[] = {
    {"all send heartbeats", nothing, 1, NOTHING},
    {"a peer's word", told_2, 1, LT_VERDICT_DEAD, 2, 0, "silent for 5.2 s", 1 << 2},
    {"a peer's word, to the lowest", told_2, 0, LT_VERDICT_DEAD, 2, 1, "silent for 5.2 s", 1 << 2},
    {"it left for a signal", told_2_while_stopping, 0, LT_VERDICT_STOPPED, -1, 1, "", 1 << 2},
    {"who is dead comes before an abort", told_0_and_abort, 1, LT_VERDICT_DEAD, 0, 1,
     "its process is gone", 1 << 0},
    {"it said why itself", aborted, 0, LT_VERDICT_LEAVE, -1, 0, "", 0},
    {"nothing moves", told_stuck, 0, LT_VERDICT_STUCK, -1, 1, "", 0},
    {"nothing moves, not the lowest", told_stuck, 3, LT_VERDICT_STUCK, -1, 0, "", 0},
};

static const row seen[] = {
    {"all send heartbeats", nothing, 1, NOTHING},
    {"its process", ended_1, 0, LT_VERDICT_DEAD, 1, 1, "its process is gone", 1 << 1},
    {"rank 0's process", ended_0, 1, LT_VERDICT_DEAD, 0, 1, "its process is gone", 1 << 0},
    {"rank 0's, but another is lower", ended_0, 2, LT_VERDICT_DEAD, 0, 0, "its process is gone",
     1 << 0},
    {"a leave message was its last word", ended_after_leave, 0, NOTHING},
    {"an abort message was", ended_after_abort, 0, NOTHING},
    {"this rank ends the job", ended_by_me, 0, NOTHING},
    {"this rank was stopped itself", woke_and_0_is_gone, 1, LT_VERDICT_DEAD, 0, 0,
     "its process is gone", 1 << 0},
    {"silent", silent_3, 0, LT_VERDICT_DEAD, 3, 1, "silent for 5.1 s", 1 << 3},
    {"nearly silent", nearly_silent, 0, NOTHING},
    {"not heard at any time", silent_not_watched, 0, NOTHING},
    {"silent since it left", silent_after_leave, 0, NOTHING},
    {"gets no processor", starved, 0, NOTHING},
    {"gets none for a minute", starved_too_long, 0, LT_VERDICT_DEAD, 3, 1, "silent for 61.0 s",
     1 << 3},
    {"a host with two ranks", a_host, 0, LT_VERDICT_DEAD, 2, 1, "silent for 4.2 s", 3 << 2},
    {"a signal", a_signal, 0, LT_VERDICT_ASK, -1, 0, "", 0},
    {"all were asked just now", asked, 0, NOTHING},
    {"all answered: the user's own", all_answered, 0, LT_VERDICT_STOP, -1, 1, "", 0},
    {"two did not", two_did_not, 0, LT_VERDICT_DEAD, 2, 1, "silent for 2.5 s when SIGTERM came",
     3 << 2},
    {"who has left need not", who_left_did_not, 0, LT_VERDICT_STOP, -1, 1, "", 0},
    {"it stops already", stops_already, 0, NOTHING},
    {"the signal came to a peer", signal_elsewhere, 0, LT_VERDICT_STOP, -1, 1, "", 0},
    {"and is passed on", signal_elsewhere_told, 0, NOTHING},
    {"a rank left for it", gone_while_stopping, 0, LT_VERDICT_STOPPED, -1, 1, "", 1 << 1},
    {"the step takes too long", late, 0, LT_VERDICT_STOPPED, -1, 1, "", 0},
    {"it does, and rank 0 may speak", late, 1, NOTHING},
    {"it does, and rank 0 did not", late_for_long, 1, LT_VERDICT_STOPPED, -1, 0, "", 0},
    {"waits for less than ten steps", waits, 0, NOTHING},
    {"waits for ten steps", waits_for_ten_steps, 0, LT_VERDICT_STUCK, -1, 1, "", 0},
    {"waits for a minute", short_steps, 2, LT_VERDICT_STUCK, -1, 0, "", 0},
    {"computes for long", all_compute, 0, NOTHING},
    {"outside of steps", outside_of_steps, 0, NOTHING},
};

static void check(const row *r, lt_verdict (*verdict_of)(const lt_evidence *, unsigned char *))
{
    known k;
    unsigned char dead[SIZE];
    int all = 0;
    memset(&k, 0, sizeof k);
    k.e = (lt_evidence){.rank = r->rank,
                        .size = SIZE,
                        .peer = k.peer,
                        .limits = &lt_detector_defaults,
                        .now = 100,
                        .dead_reason = "",
                        .signal_name = "",
                        .asked_at = -1,
                        .late_since = -1,
                        .changed_at = 100};
    for (int i = 0; i < SIZE; i++)
        k.peer[i] = (lt_peer){.watched = i != r->rank, .received = 99.9, .answered = 99.9};
    r->change(&k);
    const lt_verdict v = verdict_of(&k.e, dead);
    for (int i = 0; i < SIZE; i++)
        all |= dead[i] << i;
    if (v.kind != r->kind || v.rank != r->dead || v.prints != r->prints || all != r->all ||
        strcmp(v.reason, r->reason) != 0)
        fail_msg("%s: want kind %d, rank %d, speaks %d, lost %#x, '%s', found %d, %d, %d, %#x, "
                 "'%s'",
                 r->name, r->kind, r->dead, r->prints, (unsigned)r->all, r->reason, v.kind, v.rank,
                 v.prints, (unsigned)all, v.reason);
    if (v.kind == LT_VERDICT_STUCK)
        assert_true(v.seconds == k.e.now - k.e.changed_at);
    if (v.kind == LT_VERDICT_STOP || v.kind == LT_VERDICT_STOPPED)
        assert_int_equal(v.signal, k.e.signal != 0 || v.kind == LT_VERDICT_STOPPED
                                       ? k.e.signal
                                       : k.e.peer_signal);
}

static void what_peers_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof by_peers / sizeof *by_peers; i++)
        check(&by_peers[i], lt_verdict_by_peers);
}

static void what_this_rank_sees(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++)
        check(&seen[i], lt_verdict_seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_peers_said),
                                       cmocka_unit_test(what_this_rank_sees)};
    return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
