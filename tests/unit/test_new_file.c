/* test_new_file.c - files are made new, never through what others planted, and appear whole.
 * Goal: links, pipes, folders and files at the wanted name are never written through; nothing of a
 * failed or dropped file stays; two makers of one name never both win; leftovers of ended processes
 * go, those of living ones stay. Method: folders of its own; children that are killed; threads that
 * race. Ranks: 1. Needs: /tmp, /proc. */
#include "tests/support/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/new_file.h"
#include "base/owner.h"

/* All entries but "." and "..", hidden ones too. */
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

static void assert_holds(const char *path, const char *wanted)
{
    char *text = NULL;
    size_t bytes = 0;
    assert_int_equal(lt_file_read(path, 1000, &text, &bytes), LT_OK);
    assert_string_equal(text, wanted);
    free(text);
}

static void whole_or_not_at_all(void **state)
{
    (void)state;
    scratch s;
    lt_new_file f;
    scratch_new(&s);
    const char *path = scratch_path(&s, "out");
    assert_int_equal(lt_new_file_write(path, "old", 3, LT_KEEP), LT_OK);
    assert_int_equal(lt_new_file_write(path, "newer", 5, LT_KEEP), LT_ECREATE);
    assert_non_null(strstr(lt_error_text(), "a file of that name is there"));
    assert_non_null(strstr(lt_hint_text(), "--overwrite"));
    assert_holds(path, "old");
    assert_int_equal(lt_new_file_write(path, "newer", 5, LT_REPLACE), LT_OK);
    assert_holds(path, "newer");
    assert_int_equal(lt_new_file_open(path, &f), LT_OK);
    assert_int_equal(entries(s.folder), 2); /* under its own name, beside the older one */
    lt_new_file_drop(&f);
    lt_new_file_drop(&f);
    assert_int_equal(entries(s.folder), 1);
    assert_holds(path, "newer");
    /* One that grows under its wanted name goes too when it is dropped. */
    assert_int_equal(lt_new_file_open(scratch_path(&s, "film"), &f), LT_OK);
    assert_int_equal(lt_new_file_show(&f, LT_KEEP), LT_OK);
    assert_true(lt_file_exists(scratch_path(&s, "film")));
    lt_new_file_drop(&f);
    assert_int_equal(entries(s.folder), 1);
    /* But not what somebody else put there meanwhile. */
    assert_int_equal(lt_new_file_open(scratch_path(&s, "film"), &f), LT_OK);
    assert_int_equal(lt_new_file_show(&f, LT_KEEP), LT_OK);
    assert_int_equal(unlink(scratch_path(&s, "film")), 0);
    scratch_text(&s, "film", "theirs");
    lt_new_file_drop(&f);
    assert_holds(scratch_path(&s, "film"), "theirs");
    scratch_free(&s);
}

static void bad_places_are_told(void **state)
{
    (void)state;
    scratch s;
    scratch_new(&s);
    scratch_folder(&s, "folder");
    char longest[300], shown[512];
    memset(longest, 'x', sizeof longest);
    longest[256] = '\0';
    static const struct {
        const char *name, *wanted; /* in the line; NULL: it works */
    } cases[] = {
        {"no/out", "No such file"},
        {"folder", "found a folder of that name"},
        {"folder/", "want a file's name"},
        {"folder/..", "want a file's name"},
        {"a name with blanks, \xff and \xc3\xa4", NULL}, /* a name is bytes */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lt_status st = lt_new_file_write(scratch_path(&s, cases[i].name), "x", 1, LT_REPLACE);
        if (st != (cases[i].wanted != NULL ? LT_ECREATE : LT_OK) ||
            (cases[i].wanted != NULL && strstr(lt_error_text(), cases[i].wanted) == NULL))
            fail_msg("%s: %s: %s", cases[i].name, lt_status_name(st), lt_error_text());
    }
    assert_int_equal(lt_new_file_write(scratch_path(&s, longest), "x", 1, LT_KEEP), LT_ECREATE);
    assert_non_null(strstr(lt_error_text(), "has 256 bytes, want at most 255"));
    longest[255] = '\0'; /* the longest that a file system takes: our own name is shorter */
    assert_int_equal(lt_new_file_write(scratch_path(&s, longest), "x", 1, LT_KEEP), LT_OK);
    char *endless = malloc(5000);
    assert_non_null(endless);
    memset(endless, 'x', 4999);
    endless[4999] = '\0';
    assert_int_equal(lt_new_file_write(endless, "x", 1, LT_KEEP), LT_ECREATE);
    free(endless);
    assert_int_equal(lt_new_file_try("-o", "", LT_KEEP), LT_EUSAGE);
    assert_int_equal(lt_new_file_try("--sheet", "/proc/x.png", LT_KEEP), LT_ECREATE);
    assert_non_null(strstr(lt_error_text(), "--sheet /proc/x.png: cannot be made"));
    (void)snprintf(shown, sizeof shown, "%s", scratch_path(&s, "new"));
    assert_int_equal(lt_new_file_try("-o", shown, LT_KEEP), LT_OK);
    assert_false(lt_file_exists(shown));
    assert_int_equal(entries(s.folder), 3);
    scratch_free(&s);
}

/* Devices are not ours to replace, whoever asks and however they are named. */
static void devices_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"/dev/null", "/dev/full", "/dev/stdout", "/dev/fd/1"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct stat before, after;
        const int was = lstat(names[i], &before);
        assert_int_equal(lt_new_file_try("--wav", names[i], LT_REPLACE), LT_ECREATE);
        assert_int_equal(lstat(names[i], &after), was);
        assert_true(was != 0 || before.st_ino == after.st_ino);
    }
}

static void planted_things_stay_untouched(void **state)
{
    (void)state;
    scratch s;
    char target[512], name[512];
    scratch_new(&s);
    scratch_text(&s, "target", "precious");
    (void)snprintf(target, sizeof target, "%s", scratch_path(&s, "target"));
    (void)snprintf(name, sizeof name, "%s", scratch_path(&s, "out"));
    /* a link to a file, one to nothing, a second name of a file, a pipe */
    for (int kind = 0; kind < 4; kind++)
        for (int replace = 0; replace < 2; replace++) {
            if (kind == 0)
                assert_int_equal(symlink(target, name), 0);
            else if (kind == 1)
                assert_int_equal(symlink(scratch_path(&s, "nowhere"), name), 0);
            else if (kind == 2)
                assert_int_equal(link(target, name), 0);
            else
                assert_int_equal(mkfifo(name, 0666), 0);
            const lt_status wanted = replace && kind != 3 ? LT_OK : LT_ECREATE;
            assert_int_equal(lt_new_file_write(name, "ours", 4, replace ? LT_REPLACE : LT_KEEP),
                             wanted);
            if (wanted == LT_OK)
                assert_holds(name, "ours");
            assert_holds(target, "precious");
            assert_false(lt_file_exists(scratch_path(&s, "nowhere")));
            assert_int_equal(unlink(name), 0);
            assert_int_equal(entries(s.folder), 1);
        }
    scratch_free(&s);
}

/* Once it is open, another thing in the folder's place is not where it goes. */
static void the_folder_is_held(void **state)
{
    (void)state;
    scratch s;
    lt_new_file f;
    scratch_new(&s);
    scratch_folder(&s, "dir");
    scratch_folder(&s, "trap");
    char dir[512], moved[512], trap[512];
    (void)snprintf(dir, sizeof dir, "%s", scratch_path(&s, "dir"));
    (void)snprintf(moved, sizeof moved, "%s", scratch_path(&s, "moved"));
    (void)snprintf(trap, sizeof trap, "%s", scratch_path(&s, "trap"));
    assert_int_equal(lt_new_file_open(scratch_path(&s, "dir/out"), &f), LT_OK);
    assert_int_equal(rename(dir, moved), 0);
    assert_int_equal(symlink(trap, dir), 0);
    assert_int_equal(lt_new_file_done(&f, LT_KEEP), LT_OK);
    assert_int_equal(entries(trap), 0);
    assert_int_equal(entries(moved), 1);
    scratch_free(&s);
}

/* A library that opens the file by a path gets this file, under whatever name it has. */
static void libraries_open_the_same_file(void **state)
{
    (void)state;
    scratch s;
    lt_new_file f;
    char via[LT_PATH_BYTES];
    scratch_new(&s);
    assert_int_equal(lt_new_file_open(scratch_path(&s, "out"), &f), LT_OK);
    assert_int_equal(lt_new_file_via(&f, via, sizeof via), LT_OK);
    const int fd = open(via, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "text", 4), 4);
    (void)close(fd);
    assert_int_equal(lt_new_file_done(&f, LT_KEEP), LT_OK);
    assert_holds(scratch_path(&s, "out"), "text");
    scratch_free(&s);
}

static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    scratch s;
    scratch_new(&s);
    const pid_t child = fork();
    if (child == 0) {
        const struct rlimit small = {4096, 4096};
        (void)signal(SIGXFSZ, SIG_IGN);
        (void)setrlimit(RLIMIT_FSIZE, &small);
        static char block[8192];
        _exit(lt_new_file_write(scratch_path(&s, "out"), block, sizeof block, LT_KEEP) == LT_EIO
                  ? 0
                  : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(entries(s.folder), 0);
    scratch_free(&s);
}

typedef struct {
    const char *path;
    lt_status st;
} racer;

static void *race(void *ctx)
{
    racer *r = ctx;
    r->st = lt_new_file_write(r->path, "x", 1, LT_KEEP);
    return NULL;
}

static void one_of_many_makers_wins(void **state)
{
    (void)state;
    enum { MAKERS = 8, ROUNDS = 20 };
    scratch s;
    scratch_new(&s);
    for (int round = 0; round < ROUNDS; round++) {
        char path[512];
        pthread_t threads[MAKERS];
        racer racers[MAKERS];
        int won = 0;
        (void)snprintf(path, sizeof path, "%s.%d", scratch_path(&s, "out"), round);
        for (int i = 0; i < MAKERS; i++) {
            racers[i] = (racer){path, LT_OK};
            assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
        }
        for (int i = 0; i < MAKERS; i++) {
            (void)pthread_join(threads[i], NULL);
            won += racers[i].st == LT_OK;
            assert_true(racers[i].st == LT_OK || racers[i].st == LT_ECREATE);
        }
        assert_int_equal(won, 1);
    }
    assert_int_equal(entries(s.folder), ROUNDS);
    scratch_free(&s);
}

/* A child makes a file and waits; then it is killed. */
static void leftovers_go_when_their_owner_has(void **state)
{
    (void)state;
    scratch s;
    int ready[2];
    char byte = 0;
    scratch_new(&s);
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        lt_new_file f;
        if (lt_new_file_open(scratch_path(&s, "out"), &f) != LT_OK || write(ready[1], "x", 1) != 1)
            _exit(1);
        (void)alarm(60); /* should the parent fail first */
        for (;;)
            (void)pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    scratch_text(&s, ".longtake-new-not-one-of-ours", "x");
    lt_new_file_sweep(s.folder);
    assert_int_equal(entries(s.folder), 2); /* it lives */
    (void)kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    lt_new_file_sweep(s.folder);
    assert_int_equal(entries(s.folder), 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    scratch_free(&s);
}

static void leaving_in_haste_leaves_nothing(void **state)
{
    (void)state;
    scratch s;
    scratch_new(&s);
    const pid_t child = fork();
    if (child == 0) {
        lt_new_file f;
        const lt_status st = lt_new_file_open(scratch_path(&s, "out"), &f);
        lt_new_file_abandon();
        _exit(st != LT_OK);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(entries(s.folder), 0);
    scratch_free(&s);
}

static void owners_are_told_apart(void **state)
{
    (void)state;
    lt_owner me, other;
    lt_owner_me(&me);
    assert_true(me.pid == getpid() && me.start > 0 && me.space > 0 && me.boot[0] != '\0');
    assert_int_equal(lt_owner_look(&me), LT_OWNER_RUNS);
    other = me;
    other.start++; /* the number was given again */
    assert_int_equal(lt_owner_look(&other), LT_OWNER_GONE);
    other = me;
    other.space++; /* another container: its numbers say nothing here */
    assert_int_equal(lt_owner_look(&other), LT_OWNER_UNKNOWN);
    other = me;
    (void)snprintf(other.host, sizeof other.host, "elsewhere");
    (void)snprintf(other.boot, sizeof other.boot, "another");
    assert_int_equal(lt_owner_look(&other), LT_OWNER_UNKNOWN);
    assert_int_equal(lt_owner_look_hashed(lt_owner_hash(me.host), lt_owner_hash(me.boot), &me),
                     LT_OWNER_RUNS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_or_not_at_all),
        cmocka_unit_test(bad_places_are_told),
        cmocka_unit_test(devices_are_refused),
        cmocka_unit_test(planted_things_stay_untouched),
        cmocka_unit_test(the_folder_is_held),
        cmocka_unit_test(libraries_open_the_same_file),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(one_of_many_makers_wins),
        cmocka_unit_test(leftovers_go_when_their_owner_has),
        cmocka_unit_test(leaving_in_haste_leaves_nothing),
        cmocka_unit_test(owners_are_told_apart),
    };
    return cmocka_run_group_tests_name("new_file", tests, NULL, NULL);
}
