/* test_detector.c - heartbeats that nobody should believe.
 * Goal: a sender that is not who it says, a kind that nobody knows and a message that is no
 * heartbeat are dropped and counted; texts without an end and with control bytes are shown cut and
 * tamed. Method: a wire of the test's own gives rank 0 of 2 a list of heartbeats; the last one says
 * that rank 1 is dead, which ends the process, a child, with its one line. Ranks: 1 (another is
 * claimed). Needs: nothing. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "parallel/liveness/detector_impl.h"

typedef struct {
    lt_heartbeat heartbeat;
    int from;
} message;

static message list[8];
static int count;
static atomic_int next, go;

static int take(double seconds_max)
{
    (void)seconds_max;
    return 1;
}
static void give(void) {}
static int busy(void) { return 0; }

static void send_heartbeat(int peer, const lt_heartbeat *heartbeat, int must)
{
    (void)peer, (void)heartbeat, (void)must;
}

/* All but the last at once, the last when the child has looked. */
static int receive(lt_heartbeat *heartbeat, int *from)
{
    const int i = atomic_load(&next);
    if (i >= count || (i == count - 1 && !atomic_load(&go)))
        return 0;
    *heartbeat = list[i].heartbeat;
    *from = list[i].from;
    atomic_store(&next, i + 1);
    return 1;
}

static void add(int kind, int rank, int from)
{
    message *m = &list[count++];
    memset(m, 0, sizeof *m);
    m->heartbeat.kind = kind;
    m->heartbeat.rank = rank;
    m->heartbeat.about = -1;
    m->from = from;
}

/* In the child: 5 of the heartbeats are dropped, or it leaves with another code. */
static void run_detector(void)
{
    static const lt_detector_wire wire = {take, give, send_heartbeat, receive, busy};
    lt_detector_peer peers[2];
    memset(peers, 0, sizeof peers);
    (void)snprintf(peers[0].host.name, sizeof peers[0].host.name, "here");
    memset(peers[1].host.name, '\a', sizeof peers[1].host.name); /* no end either */
    if (lt_detector_start(&wire, 0, 2, peers, &lt_detector_defaults) != LT_OK)
        _exit(1);
    while (atomic_load(&next) < count - 1)
        (void)usleep(1000);
    (void)usleep(50000); /* the last one taken is heard, too */
    if (lt_detector_dropped() != 5)
        _exit(2);
    atomic_store(&go, 1);
    for (;;)
        (void)pause();
}

static void strange_heartbeats(void **state)
{
    (void)state;
    char said[4096] = "";
    int ends[2], status = 0;
    size_t used = 0;
    add(LT_HEARTBEAT_ALIVE, 1, 1);
    add(LT_HEARTBEAT_LEAVE, 0, 1); /* speaks for rank 0 */
    add(LT_HEARTBEAT_LEAVE, 7, 1); /* for one that is not there */
    add(LT_HEARTBEAT_ABORT, 0, 0);
    add(1000, 1, 1);
    add(LT_HEARTBEAT_OTHER, 0, 1);
    add(LT_HEARTBEAT_DEAD, 1, 1);
    message *last = &list[count - 1];
    last->heartbeat.about = 1;
    memset(last->heartbeat.text, '\033', sizeof last->heartbeat.text);
    memset(last->heartbeat.name, 'n', sizeof last->heartbeat.name);
    memset(last->heartbeat.axis, '\n', sizeof last->heartbeat.axis);
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        run_detector();
    }
    (void)close(ends[1]);
    for (ssize_t n = 1; n > 0 && used<sizeof said - 1; used += n> 0 ? (size_t)n : 0)
        n = read(ends[0], said + used, sizeof said - 1 - used);
    (void)close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 75)
        fail_msg("want exit code 75, found status %#x: %s", (unsigned)status, said);
    assert_non_null(strstr(said, "longtake: error: rank 1 on ???"));
    assert_non_null(strstr(said, "is lost (???"));
    assert_non_null(strstr(said, "nnn (???"));
    for (const char *p = said; *p != '\0'; p++)
        assert_true(*p >= ' ' || (*p == '\n' && p[1] == '\0'));
}

static atomic_int spins, lives;

static void *a_detector(void *unused)
{
    (void)pthread_setname_np(pthread_self(), LT_DETECTOR_THREAD);
    while (atomic_load(&lives))
        if (!atomic_load(&spins))
            (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
    return unused;
}

static int starved_within(int wanted)
{
    for (int i = 0; i < 2000; i++) { /* 2 s: a thread changes its state when it gets a processor */
        if (lt_detector_is_starved((int)getpid()) == wanted)
            return 1;
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    return 0;
}

/* Runnable is not silent; asleep, as in a lock that nobody gives back, is; so is a process without
 * a detector, and none. */
static void a_starved_detector_is_known(void **state)
{
    pthread_t thread;
    (void)state;
    assert_int_equal(lt_detector_is_starved((int)getpid()), 0);
    assert_int_equal(lt_detector_is_starved(0x7fffffff), 0);
    atomic_store(&lives, 1);
    atomic_store(&spins, 1);
    assert_int_equal(pthread_create(&thread, NULL, a_detector, NULL), 0);
    const int runnable = starved_within(1);
    atomic_store(&spins, 0);
    const int asleep = starved_within(0);
    atomic_store(&lives, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(runnable);
    assert_true(asleep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(strange_heartbeats),
                                       cmocka_unit_test(a_starved_detector_is_known)};
    return cmocka_run_group_tests_name("detector", tests, NULL, NULL);
}
