/* test_state_days.c - bad days of a run's states: each is named, and survived.
 * Goal: a render that was killed goes on from its newest step that is whole, or from noise, with
 * the undisturbed latents to the bit, whatever happened to RUN/state meanwhile: files cut, altered,
 * gone, another job's, junk, caches too; a folder that is none, read-only, or full at any write. So
 * do a storyboard and chunks of `extend`. Method: one run, killed after each of three steps; a copy
 * of it for each day. Ranks: 1, once 2. Needs: tests/parity/nano; root for disks (skipped else). */
#include <errno.h>
#include <sys/mount.h>

#include "run/state/state_file.h"
#include "tests/support/film.h"
#include "tests/support/run.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"
#define JOB                                                                                        \
    "render", "--model", NANO, "-p", "A ball.", "--size", "64x64", "--frames", "5", "--steps",     \
        "7", "-q"

static scratch s;
static latents wanted;

static void shell(const char *script)
{
    run_result r = run_argv(&s, (const char *const[]){"sh", "-ec", script, NULL}, RUN_LIMIT_S);
    if (r.code != 0)
        fail_msg("%s: %s", script, r.err);
    run_free(&r);
}

/* Until it kills itself at the begin of a step (base/fault.h). */
static void killed_at(const char *fault, int ranks, const char *const *words)
{
    assert_int_equal(setenv("LONGTAKE_FAULT", fault, 1), 0);
    run_result r = run_longtake(&s, ranks, words);
    assert_int_equal(unsetenv("LONGTAKE_FAULT"), 0);
    assert_true(r.code != 0);
    run_free(&r);
}

static int setup(void **state)
{
    (void)state;
    scratch_new(&s);
    run_tell_sanitizers(1);
    assert_int_equal(chdir(s.folder), 0);
    run_well(&s, 1, RUN_WORDS(JOB, "-o", "whole.mp4"));
    latents_read("whole.run", &wanted);
    killed_at("0:2:kill", 1, RUN_WORDS(JOB, "-o", "base.mp4"));
    killed_at("0:3:kill", 1, RUN_WORDS("render", "--resume", "base.run", "-q"));
    killed_at("0:4:kill", 1, RUN_WORDS("render", "--resume", "base.run", "-q"));
    shell("rm base.run/state/step-000001.*"); /* it stays while 3 is not durable */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)umount2("day.run/state", MNT_DETACH); /* where a test failed half-way */
    latents_free(&wanted);
    assert_int_equal(chdir("/"), 0);
    scratch_free(&s);
    return 0;
}

/* The step that the last start went on from; -1: it says nothing. */
static int64_t from_step(const char *run)
{
    char path[64];
    int64_t step = -1;
    (void)snprintf(path, sizeof path, "%s/events.ndjson", run);
    char *text = run_text(path);
    assert_non_null(text);
    for (const char *at = strstr(text, "\"event\":\"resume\""); at != NULL;
         at = strstr(at + 1, "\"event\":\"resume\"")) {
        const char *said = strstr(at, "\"step\":");
        step = said != NULL ? strtoll(said + strlen("\"step\":"), NULL, 10) : -1;
    }
    free(text);
    return step;
}

static void want_latents(const char *why, const char *run, const latents *whole)
{
    latents found;
    latents_read(run, &found);
    if (!(latents_differ(&found, whole) <= 0.0)) /* a NaN differs */
        fail_msg("%s: other latents than the undisturbed run's", why);
    latents_free(&found);
}

/* day.run goes on: from this step (or, from > 9, any), saying this, to the same latents. */
static void want_day(const char *why, int64_t from, const char *const says[3])
{
    run_result r = run_longtake(&s, 1, RUN_WORDS("render", "--resume", "day.run", "-o", "day.mp4"));
    if (r.code != 0)
        fail_msg("%s: exit code %d: %s", why, r.code, r.err);
    for (int i = 0; i < 3 && says[i] != NULL; i++)
        if (strstr(r.err, says[i]) == NULL)
            fail_msg("%s: want '%s' in %s", why, says[i], r.err);
    const int64_t found = from_step("day.run");
    if (from <= 9 && found != from)
        fail_msg("%s: want it to go on from step %lld, found %lld: %s", why, (long long)from,
                 (long long)found, r.err);
    want_latents(why, "day.run", &wanted);
    run_free(&r);
}

#define NEWEST "day.run/state/step-000003.e003"
#define OLDER  "day.run/state/step-000002.e002"

static const struct {
    const char *why, *spoil;
    int64_t from;
    const char *says[3];
} days[] = {
    {"nothing happened", ":", 3, {NULL}},
    {"the newest file is cut short",
     "truncate -s -1 " NEWEST ".w000.lt",
     2,
     {"step 3 is not taken", "step-000003.e003.w000.lt", "an older step is looked at"}},
    {"the newest file is empty", ": > " NEWEST ".w000.lt", 2, {"cut short"}},
    {"a byte of it was altered",
     "printf X | dd of=" NEWEST ".w000.lt bs=1 seek=900 conv=notrunc 2> dd",
     2,
     {"step 3 is not taken", "step-000003.e003.w000.lt"}},
    {"it is gone", "rm " NEWEST ".w000.lt", 2, {"step-000003.e003.w000.lt", "No such file"}},
    {"it is a link",
     "mv " NEWEST ".w000.lt x.lt; ln -s ../../x.lt " NEWEST ".w000.lt",
     2,
     {"step-000003.e003.w000.lt"}},
    {"it is another step's",
     "cp " OLDER ".w000.lt " NEWEST ".w000.lt",
     2,
     {"as its commit record says"}},
    {"the newest record is cut short",
     "truncate -s 80 " NEWEST ".commit",
     2,
     {"step-000003.e003.commit", "not JSON"}},
    {"it is gone, its file is not", "rm " NEWEST ".commit", 2, {NULL}},
    {"both are damaged",
     "truncate -s 80 " NEWEST ".commit; truncate -s 300 " OLDER ".w000.lt",
     0,
     {"step 3 is not taken", "step 2 is not taken", "the run starts from noise"}},
    {"all are gone", "rm -r day.run/state", 0, {NULL}},
    {"another job's lie there",
     "rm -r day.run/state; cp -r other.run/state day.run/state",
     0,
     {"job: want", "another's", "the run starts from noise"}},
    {"junk lies there",
     "echo x > day.run/state/notes.txt; echo junk > day.run/state/step-000009.e001.commit; "
     "echo x > day.run/state/step-000009.e001.w000.lt; mkdir "
     "day.run/state/step-000008.e001.w000.lt;"
     "echo x > day.run/state/step-12.e1.commit",
     3,
     {"step 9 is not taken", "step-000009.e001.commit", "not JSON"}},
    {"the text's cache is cut short",
     "truncate -s -3 day.run/cache/text.lt",
     3,
     {"not used, made again", "cache/text.lt"}},
    {"a byte of the tables' is altered",
     "printf X | dd of=day.run/cache/tables.lt bs=1 seek=9000 conv=notrunc 2> dd",
     3,
     {"not used, made again", "cache/tables.lt"}},
    {"the caches are another job's",
     "cp other.run/cache/* day.run/cache",
     3,
     {"cache/text.lt: job: want", "cache/tables.lt: job: want", "another's"}},
    {"the caches are gone", "rm -r day.run/cache", 3, {NULL}},
    {"the plan is gone, and the job does not say how many steps",
     "rm day.run/plan.json; sed -i /^steps/d day.run/job.yaml",
     3,
     {"no plan.json", "is taken from day.run/cache/text.lt"}},
    {"the plan is damaged, and the text's cache",
     "truncate -s 500 day.run/plan.json; sed -i /^steps/d day.run/job.yaml; "
     "truncate -s -3 day.run/cache/text.lt",
     3,
     {"plan.json: not used", "is taken from day.run/state/step-000003.e003.w000.lt"}},
    {"the plan is damaged, and the newest file too",
     "truncate -s 500 day.run/plan.json; sed -i /^steps/d day.run/job.yaml; "
     "rm -r day.run/cache; truncate -s -1 " NEWEST ".w000.lt",
     2,
     {"plan.json: not used", "is taken from day.run/state/step-000002.e002.w000.lt",
      "step 3 is not taken"}},
    {"there is a file in the folder's place",
     "rm -r day.run/state; echo x > day.run/state",
     0,
     {"no step is taken", "day.run/state", "no step of this run will count"}},
};

static void each_day_is_named_and_survived(void **state)
{
    (void)state;
    run_well(&s, 1, RUN_WORDS(JOB, "--seed", "9", "-o", "other.mp4"));
    for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
        shell("rm -rf day.run day.mp4 x.lt; cp -r base.run day.run");
        shell(days[i].spoil);
        want_day(days[i].why, days[i].from, days[i].says);
        if (strstr(days[i].spoil, "notes") != NULL)
            assert_true(run_exists("day.run/state/notes.txt")); /* what is not ours stays */
    }
}

/* day.run/cache/NAME with other values, whole and of this job. */
static void doctor(const char *name)
{
    char path[64];
    float zeros[20000] = {0}, key[512];
    lt_state_reader *r = NULL;
    lt_state_block b;
    (void)snprintf(path, sizeof path, "day.run/cache/%s", name);
    assert_int_equal(lt_state_reader_open(path, &r), LT_OK);
    const lt_state_head head = *lt_state_reader_head(r);
    lt_state_array a[2] = {*lt_state_reader_array(r, 0), *lt_state_reader_array(r, 1)};
    assert_int_equal(lt_state_reader_next(r, &b), LT_OK);
    assert_true(b.array == 0 && (size_t)b.count * 4 <= sizeof key &&
                (size_t)lt_state_elements(&a[1]) <= sizeof zeros);
    memcpy(key, b.values, (size_t)b.count * 4);
    a[0].data = key;
    a[1].data = zeros;
    assert_int_equal(lt_state_file_write(path, &head, a, 2, NULL), LT_OK);
    lt_state_reader_close(&r);
}

/* What is there is what the film is made of: neither text encoder nor modulation weights say it. */
static void caches_are_used(void **state)
{
    (void)state;
    static const char *const names[] = {"text.lt", "tables.lt"};
    for (int i = 0; i < 2; i++) {
        latents found;
        shell("rm -rf day.run day.mp4; cp -r base.run day.run");
        doctor(names[i]);
        run_result r =
            run_longtake(&s, 1, RUN_WORDS("render", "--resume", "day.run", "-o", "day.mp4"));
        if (r.code != 0 || strstr(r.err, "made again") != NULL)
            fail_msg("%s: %s", names[i], r.err);
        run_free(&r);
        latents_read("day.run", &found);
        if (!(latents_differ(&found, &wanted) > 0.0))
            fail_msg("%s: not used: the latents are the undisturbed run's", names[i]);
        latents_free(&found);
    }
}

/* What a killed start was still writing goes; the film is that of the latents. */
static void unfinished_files_go(void **state)
{
    (void)state;
    shell("rm -rf day.run day.mp4; cp -r base.run day.run; "
          "touch day.run/state/.longtake-new-00000000-00000000-0-1-1-0000000000000000");
    want_day("unfinished", 3, (const char *const[3]){NULL});
    run_result r = run_argv(
        &s, (const char *const[]){"sh", "-c", "ls -A day.run/state | grep -c here", NULL}, 10);
    assert_string_equal(r.out, "0\n"); /* no token is left */
    run_free(&r);
}

static int can_mount(void)
{
    shell("rm -rf day.run; mkdir -p day.run/state");
    if (mount("tmpfs", "day.run/state", "tmpfs", 0, "size=64k") != 0) {
        print_message("no small disk can be mounted here (%s)\n", strerror(errno));
        return 0;
    }
    assert_int_equal(umount2("day.run/state", 0), 0);
    return 1;
}

/* From no room for the token to room for all: full at each of the writes between. */
static void a_disk_full_at_any_write(void **state)
{
    (void)state;
    int failed = 0;
    if (!can_mount())
        return;
    for (int pages = 6; pages <= 14; pages += 2) {
        char size[32];
        (void)snprintf(size, sizeof size, "size=%dk", 4 * pages);
        shell("rm -rf day.run day.mp4; cp -r base.run day.run; mv day.run/state kept; "
              "mkdir day.run/state");
        assert_int_equal(mount("tmpfs", "day.run/state", "tmpfs", 0, size), 0);
        shell("cp kept/step-* day.run/state; rm -r kept");
        run_result r =
            run_longtake(&s, 1, RUN_WORDS("render", "--resume", "day.run", "-o", "day.mp4"));
        const int told = strstr(r.err, "No space left") != NULL;
        if (r.code != 0)
            fail_msg("%s: exit code %d: %s", size, r.code, r.err);
        failed += told;
        want_latents(size, "day.run", &wanted);
        assert_int_equal(from_step("day.run"), 3);
        run_free(&r);
        /* whatever did not fit, a step can still be gone on from */
        shell("ls day.run/state/*.commit > n; test -s n");
        assert_int_equal(umount2("day.run/state", 0), 0);
    }
    assert_true(failed >= 2); /* else no disk was full */
}

static void a_folder_that_is_read_only(void **state)
{
    (void)state;
    if (!can_mount())
        return;
    shell("rm -rf day.run day.mp4; cp -r base.run day.run");
    assert_int_equal(mount("day.run/state", "day.run/state", NULL, MS_BIND, NULL), 0);
    assert_int_equal(mount(NULL, "day.run/state", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
    want_day("read-only", 3,
             (const char *const[3]){"no step of this run will count", "Read-only file system"});
    assert_int_equal(umount2("day.run/state", 0), 0);
}

/* ---- films in parts ---- */

static void a_storyboard_goes_on_in_its_second_shot(void **state)
{
    (void)state;
    static const char *const groups[] = {"shot-01/", "shot-02/"};
    scratch_text(&s, "two.yaml",
                 "shots: [{prompt: A ball., frames: 5}, {prompt: A cube., frames: 5}]\n"
                 "model: " NANO "\nsize: 64x64\nsteps: 4\n");
    run_well(&s, 1, RUN_WORDS("render", "two.yaml", "-q", "-o", "two.mp4"));
    killed_at("0:6:kill", 1, RUN_WORDS("render", "two.yaml", "-q", "-o", "board.mp4"));
    shell("cp -r board.run day; rm -rf day.run day.mp4; mv day day.run");
    run_well(&s, 1, RUN_WORDS("render", "--resume", "board.run", "-q"));
    assert_true(from_step("board.run") >= 3); /* the first shot's last step is never skipped */
    /* without the first shot's file no step of the second counts */
    shell("rm day.run/state/step-000003.e001.w000.lt");
    run_well(&s, 1, RUN_WORDS("render", "--resume", "day.run", "-q", "-o", "day.mp4"));
    assert_true(from_step("day.run") < 3);
    for (int i = 0; i < 2; i++) {
        latents whole, found, again;
        latents_read_shot("two.run", groups[i], &whole);
        latents_read_shot("board.run", groups[i], &found);
        latents_read_shot("day.run", groups[i], &again);
        assert_true(latents_differ(&found, &whole) <= 0.0 && latents_differ(&again, &whole) <= 0.0);
        latents_free(&whole);
        latents_free(&found);
        latents_free(&again);
    }
}

/* One rank is killed in the last chunk; one rank goes on. --deterministic: the same bits. */
static void chunks_go_on_on_fewer_ranks(void **state)
{
    (void)state;
    latents whole;
#define EXTEND                                                                                     \
    "render", "--model", NANO, "-p", "A ball.", "--size", "64x64", "--frames", "141", "--mode",    \
        "extend", "--window", "90", "--overlap", "39", "--steps", "3", "--deterministic", "-q"
    run_well(&s, 1, RUN_WORDS(EXTEND, "-o", "chunks.mp4"));
    latents_read("chunks.run", &whole);
    killed_at("1:4:kill", 2, RUN_WORDS(EXTEND, "--mesh", "uly=2", "-o", "fewer.mp4"));
    run_well(&s, 1, RUN_WORDS("render", "--resume", "fewer.run", "-q"));
    assert_true(from_step("fewer.run") >= 2); /* the first chunk's last step */
    want_latents("extend", "fewer.run", &whole);
    latents_free(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_day_is_named_and_survived),
        cmocka_unit_test(caches_are_used),
        cmocka_unit_test(unfinished_files_go),
        cmocka_unit_test(a_disk_full_at_any_write),
        cmocka_unit_test(a_folder_that_is_read_only),
        cmocka_unit_test(a_storyboard_goes_on_in_its_second_shot),
        cmocka_unit_test(chunks_go_on_on_fewer_ranks),
    };
    return cmocka_run_group_tests_name("state_days", tests, setup, teardown);
}
