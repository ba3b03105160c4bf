/* test_lease.c - of many takers of one place one wins, at any moment, and nothing stays behind.
 * Goal: a free place, an ended owner's and a killed owner's go to exactly one of twenty that come
 * at once; a running owner's to nobody; what cannot be looked up is refused with its remedy.
 * Method: child processes that begin on one signal and hold what they took until all have answered;
 * leases written by hand for other hosts. Ranks: 1. Needs: /tmp, /proc. */
#include "tests/support/check.h"
#include "tests/support/the_scratch.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/new_file.h"
#include "base/owner.h"
#include "run/lease.h"

enum { TAKERS = 20, ROUNDS = 5 };

static int entries(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    (void)closedir(d);
    return n;
}

static lt_status take(const char *path, int output, lt_lease *lease)
{
    return output ? lt_lease_output("-o", path, lease) : lt_lease_run(path, lease);
}

typedef enum { END_IN_ORDER, END_KILLED, END_IN_HASTE } ending;

/* Twenty children take one place; the winner holds it until all have answered. Returns how many
 * won. */
static int race(const char *path, int output, ending how)
{
    int go[2], answers[2], end[2], won = 0;
    pid_t children[TAKERS];
    assert_int_equal(pipe(go) | pipe(answers) | pipe(end), 0);
    for (int i = 0; i < TAKERS; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] != 0)
            continue;
        static lt_lease lease;
        char byte = 0;
        (void)close(go[1]);
        (void)close(end[1]);
        (void)!read(go[0], &byte, 1); /* ends for all at once when the parent closes it */
        const char answer = take(path, output, &lease) == LT_OK ? '1'
                            : lt_error_status() == LT_ECREATE   ? '0'
                                                                : 'x';
        (void)!write(answers[1], &answer, 1);
        (void)!read(end[0], &byte, 1);
        if (how == END_KILLED)
            (void)raise(SIGKILL);
        if (how == END_IN_HASTE)
            lt_new_file_abandon();
        lt_lease_end(&lease);
        _exit(0);
    }
    (void)close(go[0]);
    (void)close(go[1]);
    (void)close(end[0]);
    for (int i = 0; i < TAKERS; i++) {
        char answer = 0;
        assert_int_equal(read(answers[0], &answer, 1), 1);
        assert_true(answer == '0' || answer == '1');
        won += answer == '1';
    }
    (void)close(end[1]);
    for (int i = 0; i < TAKERS; i++)
        assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
    (void)close(answers[0]);
    (void)close(answers[1]);
    return won;
}

static void one_of_twenty_wins(void **state)
{
    (void)state;
    scratch_folder(&s, "many");
    scratch_folder(&s, "many/run");
    for (int output = 0; output < 2; output++)
        for (int round = 0; round < ROUNDS; round++) {
            char path[512];
            (void)snprintf(path, sizeof path, "%s",
                           scratch_path(&s, output ? "many/film.mp4" : "many/run"));
            /* free at first; then after an end in order, a kill, an end in haste, and on */
            const int won = race(path, output, (ending)(round % 3));
            if (won != 1)
                fail_msg("%s, round %d: %d won", path, round, won);
        }
    /* The last round of the output ended in a kill: one more taker, and nothing is left. */
    lt_lease lease;
    assert_int_equal(take(scratch_path(&s, "many/film.mp4"), 1, &lease), LT_OK);
    lt_lease_end(&lease);
    assert_int_equal(entries(scratch_path(&s, "many")), 1); /* the run */
    assert_int_equal(take(scratch_path(&s, "many/run"), 0, &lease), LT_OK);
    assert_int_equal(lease.epoch, ROUNDS + 1); /* one more with each owner, whatever its end */
    /* all owners stay, since a resume must know them; three of them let go, two were killed */
    assert_int_equal(entries(scratch_path(&s, "many/run/lease")), ROUNDS + 1 + 3);
    lt_lease_end(&lease);
    lt_lease_end(&lease);
    assert_true(lt_lease_marks(scratch_path(&s, "many/run")));
}

static void a_running_owner_is_named(void **state)
{
    (void)state;
    lt_lease mine, other;
    lt_owner me;
    char want[200];
    scratch_folder(&s, "held");
    lt_owner_me(&me);
    (void)snprintf(want, sizeof want, "in use by process %lld on %s", (long long)me.pid, me.host);
    for (int output = 0; output < 2; output++) {
        const char *path = scratch_path(&s, output ? "held/film.mp4" : "held");
        assert_int_equal(take(path, output, &mine), LT_OK);
        assert_int_equal(take(path, output, &other), LT_ECREATE);
        if (strstr(lt_error_text(), want) == NULL || lt_hint_text()[0] == '\0')
            fail_msg("want \"%s\", found \"%s\"", want, lt_error_text());
        assert_int_equal(output ? lt_lease_output_free("-o", path) : lt_lease_run_free(path),
                         LT_ECREATE);
        lt_lease_end(&mine);
        assert_int_equal(output ? lt_lease_output_free("-o", path) : lt_lease_run_free(path),
                         LT_OK);
        lt_error_clear();
    }
}

/* Who resumes takes the next number from an owner that runs, and what that one holds; the older one
 * learns of it when it asks, and its end leaves the newer one's alone. */
static void a_newer_copy_takes_over(void **state)
{
    (void)state;
    lt_lease old, old_output, newer, output;
    lt_lease_holder holder;
    scratch_folder(&s, "over");
    const char *run = "over/run";
    char path[512], film[512];
    scratch_folder(&s, run);
    (void)snprintf(path, sizeof path, "%s", scratch_path(&s, run));
    (void)snprintf(film, sizeof film, "%s", scratch_path(&s, "over/film.mp4"));
    OK(lt_lease_look(path, &holder));
    assert_int_equal(holder.epoch, 0);
    OK(lt_lease_run(path, &old));
    OK(lt_lease_output("-o", film, &old_output));
    OK(lt_lease_ask(&old));
    assert_int_equal(lt_lease_output_free("-o", film), LT_ECREATE);
    lt_lease_give_way(path);
    OK(lt_lease_run_over(path, &newer));
    assert_int_equal(newer.epoch, old.epoch + 1);
    assert_int_equal(lt_lease_ask(&old), LT_EUNAVAIL);
    assert_non_null(strstr(lt_error_text(), "has resumed it"));
    OK(lt_lease_ask(&newer));
    OK(lt_lease_output_free("-o", film));
    OK(lt_lease_output("-o", film, &output));
    assert_int_equal(output.epoch, old_output.epoch + 1);
    lt_lease_end(&old_output); /* must not take the folder of leases with it */
    lt_lease_end(&old);
    assert_int_equal(entries(scratch_path(&s, "over")), 2); /* run, the film's folder of leases */
    OK(lt_lease_look(path, &holder));
    assert_int_equal(holder.epoch, newer.epoch);
    assert_int_equal(holder.state, LT_OWNER_RUNS);
    lt_lease_end(&newer);
    lt_lease_end(&output);
    OK(lt_lease_look(path, &holder));
    assert_true(holder.ended && holder.state == LT_OWNER_GONE);
    assert_int_equal(entries(scratch_path(&s, "over")), 1);
}

/* What others may have left in RUN/lease/000007, and what is made of it. */
static void owners_that_nobody_can_look_up(void **state)
{
    (void)state;
    lt_owner me;
    lt_owner_me(&me);
    const struct {
        const char *name, *host, *boot;
        int64_t pid;
        uint64_t space, start;
        const char *text; /* NULL: made of the above */
        const char *says; /* NULL: it is taken over */
    } cases[] = {
        {"another host", "node17", "b", 4711, me.space, 1, NULL,
         "in use by process 4711 on node17, as far as can be told from here"},
        {"another container", me.host, me.boot, 4712, me.space + 1, 1, NULL, "process 4712 on"},
        {"this host before it started anew", me.host, "b", 4713, me.space, 1, NULL, NULL},
        {"a number that was given again", me.host, me.boot, me.pid, me.space, me.start + 1, NULL,
         NULL},
        {"an empty file", "", "", 0, 0, 0, "", "its lease cannot be read"},
        {"a text of others", "", "", 0, 0, 0, "{\"pid\": \"x\"}", "its lease cannot be read"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char run[64], file[96], text[512];
        lt_lease lease;
        (void)snprintf(run, sizeof run, "other%zu", i);
        scratch_folder(&s, run);
        (void)snprintf(file, sizeof file, "%s/lease", run);
        scratch_folder(&s, file);
        (void)snprintf(file, sizeof file, "%s/lease/000007", run);
        (void)snprintf(
            text, sizeof text,
            "{\"host\":\"%s\",\"boot\":\"%s\",\"space\":%llu,\"pid\":%lld,\"start\":%llu}",
            cases[i].host, cases[i].boot, (unsigned long long)cases[i].space,
            (long long)cases[i].pid, (unsigned long long)cases[i].start);
        scratch_text(&s, file, cases[i].text != NULL ? cases[i].text : text);
        lt_error_clear();
        const lt_status st = lt_lease_run(scratch_path(&s, run), &lease);
        if (st != (cases[i].says != NULL ? LT_ECREATE : LT_OK))
            fail_msg("%s: %s: %s", cases[i].name, lt_status_name(st), lt_error_text());
        if (cases[i].says == NULL) {
            assert_int_equal(lease.epoch, 8);
            lt_lease_end(&lease);
            continue;
        }
        if (strstr(lt_error_text(), cases[i].says) == NULL ||
            strstr(lt_hint_text(), "/lease/000007'") == NULL)
            fail_msg("%s: %s; %s", cases[i].name, lt_error_text(), lt_hint_text());
        /* The remedy is one: */
        assert_int_equal(unlink(scratch_path(&s, file)), 0);
        assert_int_equal(lt_lease_run(scratch_path(&s, run), &lease), LT_OK);
        lt_lease_end(&lease);
    }
}

static void planted_leases_are_refused(void **state)
{
    (void)state;
    lt_lease lease;
    scratch_folder(&s, "planted");
    scratch_folder(&s, "trap");
    assert_int_equal(symlink(scratch_path(&s, "trap"), scratch_path(&s, "planted/lease")), 0);
    assert_int_equal(lt_lease_run(scratch_path(&s, "planted"), &lease), LT_ECREATE);
    assert_int_equal(entries(scratch_path(&s, "trap")), 0);
    assert_int_equal(unlink(scratch_path(&s, "planted/lease")), 0);
    scratch_folder(&s, "planted/lease");
    assert_int_equal(mkfifo(scratch_path(&s, "planted/lease/000001"), 0666), 0);
    assert_int_equal(lt_lease_run(scratch_path(&s, "planted"), &lease), LT_ECREATE); /* no wait */
    assert_int_equal(lt_lease_output("-o", scratch_path(&s, "nowhere/film.mp4"), &lease),
                     LT_ECREATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_of_twenty_wins),
        cmocka_unit_test(a_running_owner_is_named),
        cmocka_unit_test(a_newer_copy_takes_over),
        cmocka_unit_test(owners_that_nobody_can_look_up),
        cmocka_unit_test(planted_leases_are_refused),
    };
    return cmocka_run_group_tests_name("lease", tests, scratch_setup, scratch_teardown);
}
