/* test_watch.c - heartbeats that nobody should believe.
 * Goal: a sender that is not who it says, a kind that nobody knows and a message that is no beat
 * are dropped and counted; texts without an end and with control bytes are shown cut and tamed.
 * Method: a wire of the test's own gives rank 0 of 2 a list of beats; the last one says that rank 1
 * is lost, which ends the process, a child, with its one line. Ranks: 1 (another is claimed).
 * Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "parallel/watch.h"

typedef struct {
    lt_beat beat;
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

static void send_beat(int peer, const lt_beat *beat, int must)
{
    (void)peer, (void)beat, (void)must;
}

/* All but the last at once, the last when the child has looked. */
static int receive(lt_beat *beat, int *from)
{
    const int i = atomic_load(&next);
    if (i >= count || (i == count - 1 && !atomic_load(&go)))
        return 0;
    *beat = list[i].beat;
    *from = list[i].from;
    atomic_store(&next, i + 1);
    return 1;
}

static void add(int kind, int rank, int from)
{
    message *m = &list[count++];
    memset(m, 0, sizeof *m);
    m->beat.kind = kind;
    m->beat.rank = rank;
    m->beat.about = -1;
    m->from = from;
}

/* In the child: 5 of the beats are dropped, or it leaves with another code. */
static void watch(void)
{
    static const lt_watch_wire wire = {take, give, send_beat, receive, busy};
    lt_watch_peer peers[2];
    memset(peers, 0, sizeof peers);
    (void)snprintf(peers[0].host, sizeof peers[0].host, "here");
    memset(peers[1].host, '\a', sizeof peers[1].host); /* no end either */
    if (lt_watch_start(&wire, 0, 2, peers, &lt_watch_defaults) != LT_OK)
        _exit(1);
    while (atomic_load(&next) < count - 1)
        (void)usleep(1000);
    (void)usleep(50000); /* the last one taken is heard, too */
    if (lt_watch_dropped() != 5)
        _exit(2);
    atomic_store(&go, 1);
    for (;;)
        (void)pause();
}

static void strange_beats(void **state)
{
    (void)state;
    char said[4096] = "";
    int ends[2], status = 0;
    size_t used = 0;
    add(LT_BEAT_ALIVE, 1, 1);
    add(LT_BEAT_BYE, 0, 1); /* speaks for rank 0 */
    add(LT_BEAT_BYE, 7, 1); /* for one that is not there */
    add(LT_BEAT_POISON, 0, 0);
    add(1000, 1, 1);
    add(LT_BEAT_OTHER, 0, 1);
    add(LT_BEAT_LOST, 1, 1);
    message *last = &list[count - 1];
    last->beat.about = 1;
    memset(last->beat.text, '\033', sizeof last->beat.text);
    memset(last->beat.name, 'n', sizeof last->beat.name);
    memset(last->beat.axis, '\n', sizeof last->beat.axis);
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        watch();
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(strange_beats)};
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
