/* test_state_thread.c - a step counts at once, and is on the disk later.
 * Goal: while the disk takes its time steps go on counting; what is known to be on it stays until
 * something newer is, so that a power failure at any moment costs no step that was durable; what no
 * step needs goes meanwhile; a sync that fails is told; a copy that a newer one has overtaken
 * removes nothing. Method: this program's own fsync, slow or failing, which notes what it was
 * asked; a power failure is what empties each file that was not. Ranks: 1. Needs: /tmp. */
#include "tests/support/check.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/new_file.h"
#include "run/state/state_thread.h"

#include "tests/support/the_scratch.h"

enum { JOB = 0x5eed, KEEP = 2, SYNCED_MAX = 4096 };

static char folder[128];

/* ---- the disk ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char synced[SYNCED_MAX][LT_STATE_NAME_BYTES];
static int synced_count, slow_ms, fails;

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* In libc's place: this program's objects come first. */
int fsync(int fd)
{
    char link[64], path[LT_PATH_BYTES];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    (void)nanosleep(&(struct timespec){slow_ms / 1000, slow_ms % 1000 * 1000000L}, NULL);
    (void)pthread_mutex_lock(&lock);
    const int failed = fails;
    if (n > 0 && !failed && synced_count < SYNCED_MAX) {
        path[n] = '\0';
        (void)snprintf(synced[synced_count++], sizeof *synced, "%.60s", last_part(path));
    }
    (void)pthread_mutex_unlock(&lock);
    errno = EIO;
    return failed ? -1 : 0;
}

static int is_synced(const char *name)
{
    int found = 0;
    (void)pthread_mutex_lock(&lock);
    for (int i = 0; i < synced_count; i++)
        found |= strcmp(synced[i], name) == 0;
    (void)pthread_mutex_unlock(&lock);
    return found;
}

static void disk_new(int ms)
{
    scratch_free(&s);
    scratch_new(&s);
    (void)snprintf(folder, sizeof folder, "%s/state", s.folder);
    assert_int_equal(mkdir(folder, 0777), 0);
    synced_count = 0;
    slow_ms = ms;
    fails = 0;
}

static int count_files(const char *ending)
{
    int n = 0;
    DIR *all = opendir(folder);
    assert_non_null(all);
    for (const struct dirent *e = readdir(all); e != NULL; e = readdir(all))
        n += e->d_name[0] != '.' && strstr(e->d_name, ending) != NULL;
    (void)closedir(all);
    return n;
}

static void power_failure(void)
{
    DIR *all = opendir(folder);
    assert_non_null(all);
    for (const struct dirent *e = readdir(all); e != NULL; e = readdir(all)) {
        char path[LT_PATH_BYTES];
        OK(lt_path_join(path, sizeof path, folder, e->d_name));
        if (e->d_name[0] != '.' && !is_synced(e->d_name))
            assert_int_equal(truncate(path, 0), 0);
    }
    (void)closedir(all);
}

static int64_t found_step(void)
{
    lt_commit c;
    OK(lt_state_find(s.folder, JOB, &c));
    const int64_t step = c.place.step;
    lt_commit_free(&c);
    return step;
}

/* ---- a run ---- */

static float values[64];

static lt_state_thread *thread_new(void)
{
    lt_state_thread *t = NULL;
    const lt_state_thread_args args = {.folder = folder, .epoch = 1, .keep = KEEP};
    OK(lt_state_thread_open(&args, &t));
    return t;
}

/* A step of one file that is written and counts. */
static void keep_step(lt_state_thread *t, int64_t step)
{
    lt_state_write w = {
        .name = {step, 1, 0},
        .head = {.job = JOB, .epoch = 1, .place = {step, 1000000, 0, 0, 0}, .mode = "single"},
        .array = {{"x", LT_F32, 1, {64}, 0, 0, 64, values}},
        .count = 1};
    lt_commit c = {.job = JOB, .epoch = 1, .place = w.head.place, .count = 1};
    c.file = calloc(1, sizeof *c.file);
    assert_non_null(c.file);
    (void)lt_state_name_text(&w.name, c.file->name);
    lt_state_thread_files_begin(t);
    OK(lt_state_thread_write(t, &w));
    OK(lt_state_thread_commit(t, &c));
    assert_true(lt_state_thread_wait(t, 60));
    assert_int_equal(lt_state_thread_done(t).last, step);
}

static void await_round(lt_state_thread *t)
{
    for (int i = 0; i < 60000 && lt_state_thread_is_syncing(t); i++)
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
    assert_false(lt_state_thread_is_syncing(t));
}

static void steps_count_while_the_disk_is_at_work(void **state)
{
    (void)state;
    int64_t step = 0, round = 0;
    disk_new(150);
    lt_state_thread *t = thread_new();
    for (int rounds = 0; rounds < 3; rounds++) {
        int64_t durable = round;
        keep_step(t, ++step);
        round = step;
        OK(lt_state_thread_sync(t, round));
        for (; lt_state_thread_is_syncing(t); keep_step(t, ++step)) {
            lt_state_name old = {durable, 1, -1};
            char text[LT_STATE_NAME_BYTES], path[LT_PATH_BYTES];
            OK(lt_path_join(path, sizeof path, folder, lt_state_name_text(&old, text)));
            if (durable > 0 && (access(path, F_OK) != 0 || !is_synced(text)))
                fail_msg("step %lld: %s is not there any more", (long long)step, text);
            /* kept: newest, durable, on their way; what stands unpruned; the one just made */
            const int most = 3 * KEEP + 8 + 1;
            if (count_files(".commit") > most)
                fail_msg("step %lld: want at most %d records, found %d", (long long)step, most,
                         count_files(".commit"));
        }
        if (step < round + 5) /* three syncs of 150 ms: a step of its own takes one */
            fail_msg("round for %lld: %lld steps counted meanwhile, want 5 or more",
                     (long long)round, (long long)(step - round));
        assert_int_equal(lt_state_sync_outcome(lt_state_thread_syncs(t)).status, LT_OK);
        lt_state_sync_durable(lt_state_thread_syncs(t), round);
    }
    assert_int_equal(found_step(), step); /* as a kill leaves it */
    lt_state_thread_close(&t);
    power_failure();
    assert_int_equal(found_step(), round);
}

static void the_end_leaves_what_is_kept(void **state)
{
    (void)state;
    disk_new(0);
    lt_state_thread *t = thread_new();
    for (int64_t step = 1; step <= 20; step++)
        keep_step(t, step);
    OK(lt_state_thread_sync(t, 20));
    await_round(t);
    lt_state_sync_durable(lt_state_thread_syncs(t), 20);
    lt_state_thread_close(&t);
    assert_int_equal(count_files(".commit"), KEEP);
    assert_int_equal(count_files(".lt"), KEEP);
    assert_true(is_synced("state") && is_synced("step-000019.e001.commit") &&
                is_synced("step-000019.e001.w000.lt") && !is_synced("step-000018.e001.commit"));
    power_failure();
    assert_int_equal(found_step(), 20);
}

static void a_sync_that_fails_is_told(void **state)
{
    (void)state;
    disk_new(0);
    fails = 1;
    lt_state_thread *t = thread_new();
    keep_step(t, 1);
    OK(lt_state_thread_sync(t, 1));
    await_round(t);
    const lt_state_outcome outcome = lt_state_sync_outcome(lt_state_thread_syncs(t));
    assert_int_equal(outcome.status, LT_EIO);
    if (strstr(outcome.text, "step-000001.e001.w000.lt: fsync: ") == NULL)
        fail_msg("found '%s'", outcome.text);
    lt_state_thread_close(&t);
    assert_int_equal(found_step(), 1); /* it counts all the same */
}

/* A file that is gone was needed no more, unless it stays. */
static void what_is_gone(void **state)
{
    (void)state;
    for (int stays = 0; stays < 2; stays++) {
        lt_state_sync *sync = NULL;
        char path[LT_PATH_BYTES];
        disk_new(0);
        OK(lt_state_sync_open(folder, 1, 0, KEEP, &sync));
        OK(lt_path_join(path, sizeof path, folder, "step-000001.e001.w000.lt"));
        OK(lt_state_sync_add(sync, path, 1, stays));
        lt_state_sync_begin(sync, 1);
        for (int i = 0; i < 60000 && lt_state_sync_is_busy(sync); i++)
            (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
        assert_int_equal(lt_state_sync_outcome(sync).status, stays ? LT_ENOINPUT : LT_OK);
        if (stays) { /* a round that failed leaves it to the next */
            scratch_text(&s, "state/step-000001.e001.w000.lt", "x");
            lt_state_sync_begin(sync, 2);
            for (int i = 0; i < 60000 && lt_state_sync_is_busy(sync); i++)
                (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
            assert_true(is_synced("step-000001.e001.w000.lt"));
        }
        lt_state_sync_close(&sync);
    }
}

static int refuses;
static lt_status may(void)
{
    if (refuses)
        LT_FAIL(LT_EUNAVAIL, "a newer copy has it");
    return LT_OK;
}

static void an_overtaken_copy_removes_nothing(void **state)
{
    (void)state;
    for (refuses = 1; refuses >= 0; refuses--) {
        lt_state_sync *sync = NULL;
        disk_new(0);
        lt_state_thread *t = thread_new();
        for (int64_t step = 1; step <= KEEP + 1; step++)
            keep_step(t, step);
        lt_state_thread_close(&t);
        lt_new_file_guard(may);
        /* an older copy, to which only the last of these would be of use */
        OK(lt_state_sync_open(folder, 1, 0, 1, &sync));
        lt_state_sync_durable(sync, KEEP + 1);
        lt_state_sync_close(&sync);
        lt_new_file_guard(NULL);
        assert_int_equal(count_files(".commit"), refuses ? KEEP : 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_count_while_the_disk_is_at_work),
        cmocka_unit_test(the_end_leaves_what_is_kept), cmocka_unit_test(a_sync_that_fails_is_told),
        cmocka_unit_test(what_is_gone), cmocka_unit_test(an_overtaken_copy_removes_nothing)};
    return cmocka_run_group_tests_name("state_thread", tests, scratch_setup, scratch_teardown);
}
