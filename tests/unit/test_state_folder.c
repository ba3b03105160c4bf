/* test_state_folder.c - RUN/state: names, which step counts, what goes.
 * Goal: the newest step whose files are all whole is found; each thing that is wrong with one is
 * named in a warning and the older step taken, or none; what goes is just what no step that stays
 * needs. Method: a folder of small states, spoilt in one way each. Ranks: 1. Needs: /tmp. */
#include "tests/support/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/new_file.h"
#include "base/record.h"
#include "run/state/state_folder.h"

#include "tests/support/the_scratch.h"

enum { JOB = 0x5eed };
static char folder[128];

static void names_there_and_back(void **state)
{
    (void)state;
    static const char *const good[] = {"step-000012.e003.w003.lt", "step-000012.e003.commit",
                                       "step-1234567.e1000.w1000.lt"};
    static const char *const bad[] = {"",
                                      "step-12.e003.w003.lt",
                                      "step-000012.e003.w003.lt~",
                                      "step-000012.e003.w-03.lt",
                                      "step-000012.e003.w003.commit",
                                      "step--00012.e003.commit",
                                      "step-+00012.e003.commit",
                                      "step- 00012.e003.commit",
                                      "step-9999999999.e003.commit",
                                      ".longtake-new-step-000012.e003.w003.lt",
                                      "text.lt",
                                      "step-000012.e003"};
    char text[LT_STATE_NAME_BYTES];
    lt_state_name name;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(lt_state_name_parse(good[i], &name));
        assert_string_equal(lt_state_name_text(&name, text), good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (lt_state_name_parse(bad[i], &name))
            fail_msg("'%s' passes for a name of ours", bad[i]);
}

/* ---- a folder ---- */

static const char *path_of(const char *name)
{
    static char path[4][512];
    static int turn;
    turn = (turn + 1) % 4;
    (void)snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void put_file(int64_t step, int64_t epoch, int part, lt_commit_file *out)
{
    const float x[4] = {(float)step, (float)epoch, (float)part, 1};
    const lt_state_array a = {"x", LT_F32, 1, {4}, 0, 0, 4, x};
    const lt_state_head head = {
        .job = JOB, .epoch = epoch, .place = {step, 20, 0, 0, 0}, .mode = "single"};
    const lt_state_name name = {step, epoch, part};
    (void)lt_state_name_text(&name, out->name);
    OK(lt_state_file_write(path_of(out->name), &head, &a, 1, &out->sum));
}

/* A step of two files; and, if given, a file of before. */
static void put_step(int64_t step, int64_t epoch, const char *also)
{
    lt_commit_file files[3];
    put_file(step, epoch, 0, &files[0]);
    put_file(step, epoch, 1, &files[1]);
    lt_commit c = {
        .job = JOB, .epoch = epoch, .place = {step, 20, 0, 0, 0}, .file = files, .count = 2};
    if (also != NULL) {
        (void)snprintf(files[2].name, sizeof files[2].name, "%s", also);
        OK(lt_state_file_check(path_of(also), &files[2].sum));
        c.count = 3;
    }
    OK(lt_commit_write(folder, &c));
}

static void folder_new(void)
{
    scratch_free(&s);
    scratch_new(&s);
    (void)snprintf(folder, sizeof folder, "%s/state", s.folder);
    assert_int_equal(mkdir(folder, 0777), 0);
}

static int there(const char *name) { return access(path_of(name), F_OK) == 0; }

static void the_newest_step_is_found(void **state)
{
    (void)state;
    lt_commit c;
    scratch_new(&s);
    OK(lt_state_find(s.folder, JOB, &c)); /* no folder */
    assert_int_equal(c.count, 0);
    folder_new();
    OK(lt_state_find(s.folder, JOB, &c)); /* nothing in it */
    assert_int_equal(c.count, 0);
    put_step(3, 1, NULL);
    put_step(11, 1, NULL);
    put_step(11, 2, NULL);
    put_step(4, 2, "step-000003.e001.w000.lt");
    OK(lt_state_find(s.folder, JOB, &c));
    assert_true(c.place.step == 11 && c.epoch == 2 && c.count == 2 && c.place.steps == 20);
    assert_string_equal(c.file[1].name, "step-000011.e002.w001.lt");
    lt_commit_free(&c);
}

/* ---- one thing wrong with step 12 ---- */

static void spoil_cut(void)
{
    struct stat info;
    assert_int_equal(stat(path_of("step-000012.e001.w001.lt"), &info), 0);
    assert_int_equal(truncate(path_of("step-000012.e001.w001.lt"), info.st_size - 1), 0);
}
static void spoil_empty(void)
{
    assert_int_equal(truncate(path_of("step-000012.e001.w001.lt"), 0), 0);
}
static void spoil_flip(void)
{
    unsigned char b = 0;
    const int fd = open(path_of("step-000012.e001.w000.lt"), O_RDWR);
    assert_true(pread(fd, &b, 1, 60) == 1);
    b ^= 1;
    assert_true(pwrite(fd, &b, 1, 60) == 1 && close(fd) == 0);
}
static void spoil_missing(void)
{
    assert_int_equal(unlink(path_of("step-000012.e001.w001.lt")), 0);
}
static void spoil_other_whole(void) /* whole in itself, of another step */
{
    lt_commit_file f;
    put_file(11, 1, 1, &f);
    assert_int_equal(rename(path_of(f.name), path_of("step-000012.e001.w001.lt")), 0);
}
static void spoil_folder(void)
{
    spoil_missing();
    assert_int_equal(mkdir(path_of("step-000012.e001.w001.lt"), 0777), 0);
}
static void spoil_commit_junk(void) { scratch_text(&s, "state/step-000012.e001.commit", "junk"); }
static void spoil_commit_empty(void) { scratch_text(&s, "state/step-000012.e001.commit", ""); }
static void spoil_commit_cut(void)
{
    assert_int_equal(truncate(path_of("step-000012.e001.commit"), 100), 0);
}
static void spoil_commit_renamed(void) /* of another step */
{
    assert_int_equal(rename(path_of("step-000012.e001.commit"), path_of("step-000013.e001.commit")),
                     0);
}
static void spoil_commit_outside(void)
{
    scratch_text(&s, "state/step-000012.e001.commit",
                 "{\"format\":\"longtake-commit\",\"version\":1,\"job\":\"0000000000005eed\","
                 "\"epoch\":1,\"step\":12,\"steps\":20,\"shot\":0,\"pass\":0,\"chunk\":0,"
                 "\"files\":[{\"file\":\"../../etc/passwd\",\"bytes\":5,"
                 "\"xxh64\":\"0000000000005eed\"}]}");
}
static void spoil_commit_later(void) /* what a later version writes */
{
    scratch_text(&s, "state/step-000012.e001.commit",
                 "{\"format\":\"longtake-commit\",\"version\":2}");
}
static void spoil_job(void)
{
    lt_commit c;
    OK(lt_commit_read(path_of("step-000012.e001.commit"), &c));
    c.job = 0xbad;
    OK(lt_commit_write(folder, &c));
    lt_commit_free(&c);
}

static char *said(const char *name)
{
    char *text = NULL;
    size_t bytes = 0;
    OK(lt_file_read(scratch_path(&s, name), 1 << 20, &text, &bytes));
    return text;
}

static void a_bad_step_gives_way_to_an_older_one(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        void (*spoil)(void);
        const char *says[2];
    } cases[] = {
        {"a file cut short", spoil_cut, {"step-000012.e001.w001.lt", "found"}},
        {"an empty file", spoil_empty, {"step-000012.e001.w001.lt", "cut short"}},
        {"a flipped bit", spoil_flip, {"step-000012.e001.w000.lt", ":"}},
        {"a file that is not there", spoil_missing, {"step-000012.e001.w001.lt", "opened"}},
        {"another whole file", spoil_other_whole, {"step-000012.e001.w001.lt", "xxh64: want"}},
        {"a folder in its place", spoil_folder, {"step-000012.e001.w001.lt", "regular file"}},
        {"a record of junk", spoil_commit_junk, {"step-000012.e001.commit", "not JSON"}},
        {"an empty record", spoil_commit_empty, {"step-000012.e001.commit", "not JSON"}},
        {"a record cut short", spoil_commit_cut, {"step-000012.e001.commit", "not JSON"}},
        {"a record under another name", spoil_commit_renamed, {"step-000013.e001.commit", "step"}},
        {"a record that points outside", spoil_commit_outside, {"files[0].file", "etc"}},
        {"a record of a later version", spoil_commit_later, {"step-000012.e001.commit", "version"}},
        {"another job's", spoil_job, {"step-000012.e001.commit", "another's"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int older = 0; older <= 1; older++) {
            lt_commit c;
            folder_new();
            if (older)
                put_step(10, 1, NULL);
            put_step(12, 1, NULL);
            cases[i].spoil();
            const int fd = open(scratch_path(&s, "said"), O_RDWR | O_CREAT | O_APPEND, 0666);
            lt_record_open(fd);
            lt_record_event("test", NULL);
            OK(lt_state_find(s.folder, JOB, &c));
            lt_record_close();
            (void)close(fd);
            char *text = said("said");
            if (c.place.step != (older ? 10 : 0) || c.count != (older ? 2 : 0))
                fail_msg("%s: found step %lld", cases[i].why, (long long)c.place.step);
            for (int k = 0; k < 2; k++)
                if (strstr(text, cases[i].says[k]) == NULL)
                    fail_msg("%s: want '%s' in %s", cases[i].why, cases[i].says[k], text);
            if (strstr(text, older ? "an older step is looked at" : "starts from noise") == NULL)
                fail_msg("%s: what comes of it is not in %s", cases[i].why, text);
            free(text);
            lt_commit_free(&c);
        }
}

/* ---- what goes ---- */

static void what_no_step_needs_goes(void **state)
{
    (void)state;
    folder_new();
    lt_commit_file f;
    put_step(8, 1, NULL);                       /* epoch 2 went on from here */
    put_step(12, 1, NULL);                      /* was damaged: 2 did not see it */
    put_step(9, 2, "step-000008.e001.w000.lt"); /* a finished chunk */
    put_step(10, 2, "step-000008.e001.w000.lt");
    put_step(11, 2, "step-000008.e001.w000.lt");
    put_file(12, 2, 0, &f); /* is being written */
    put_file(7, 2, 0, &f);  /* was never committed */
    put_file(3, 1, 5, &f);
    put_step(9, 3, NULL); /* somebody newer's */
    scratch_text(&s, "state/notes.txt", "mine");
    lt_state_prune(folder, &(lt_state_marks){.epoch = 2, .from = 8, .keep = 2, .durable = 11});
    static const struct {
        const char *name;
        int stays;
    } after[] = {{"step-000011.e002.commit", 1},
                 {"step-000011.e002.w001.lt", 1},
                 {"step-000010.e002.commit", 1},
                 {"step-000010.e002.w000.lt", 1},
                 {"step-000009.e002.commit", 0},
                 {"step-000009.e002.w000.lt", 0},
                 {"step-000008.e001.commit", 0},
                 {"step-000008.e001.w000.lt", 1},
                 {"step-000008.e001.w001.lt", 0},
                 {"step-000012.e001.commit", 0},
                 {"step-000012.e001.w000.lt", 0},
                 {"step-000012.e002.w000.lt", 1},
                 {"step-000007.e002.w000.lt", 0},
                 {"step-000003.e001.w005.lt", 0},
                 {"step-000009.e003.commit", 1},
                 {"step-000009.e003.w000.lt", 1},
                 {"notes.txt", 1}};
    for (size_t i = 0; i < sizeof after / sizeof *after; i++)
        if (there(after[i].name) != after[i].stays)
            fail_msg("%s: want it %s", after[i].name, after[i].stays ? "there" : "gone");
    lt_commit c;
    OK(lt_state_find(s.folder, JOB, &c));
    assert_int_equal(c.place.step, 11);
    lt_commit_free(&c);
    scratch_folder(&s, "cache");
    scratch_text(&s, "cache/text.lt", "x");
    lt_state_clear(s.folder);
    assert_true(there("notes.txt") && !there("step-000011.e002.commit") &&
                !there("step-000009.e003.w000.lt"));
    assert_int_equal(access(scratch_path(&s, "cache"), F_OK), -1);
    assert_int_equal(unlink(path_of("notes.txt")), 0);
    lt_state_clear(s.folder);
    assert_int_equal(access(folder, F_OK), -1);
}

/* Steps 1 to 4 of epoch 1, gone on from behind 4 by epoch 2, whose steps 5 to 12 count. */
static void what_is_not_on_the_disk_keeps_what_is(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        int keep;
        int64_t durable, syncing;
        const char *stay; /* a letter a step: x */
    } cases[] = {
        {"no step is known to be on the disk", 2, 0, 0, "xxxx......xx"},
        {"the first round is under way", 2, 0, 6, "xxxxxx....xx"},
        {"what was gone on from is", 2, 4, 0, "..xx......xx"},
        {"one is, another is on its way", 2, 6, 9, "....xx.xx.xx"},
        {"the newest is", 2, 12, 0, "..........xx"},
        {"one step is kept", 1, 6, 9, ".....x..x..x"},
        {"what is kept reaches over the marks", 3, 10, 11, ".......xxxxx"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char found[13] = "";
        folder_new();
        for (int64_t step = 1; step <= 12; step++)
            put_step(step, step <= 4 ? 1 : 2, NULL);
        lt_state_prune(folder,
                       &(lt_state_marks){2, 4, cases[i].keep, cases[i].durable, cases[i].syncing});
        for (int64_t step = 1; step <= 12; step++) {
            const lt_state_name record = {step, step <= 4 ? 1 : 2, -1},
                                file = {step, record.epoch, 1};
            char text[LT_STATE_NAME_BYTES];
            const int has = there(lt_state_name_text(&record, text));
            assert_int_equal(has, there(lt_state_name_text(&file, text)));
            found[step - 1] = has ? 'x' : '.';
        }
        if (strcmp(found, cases[i].stay) != 0)
            fail_msg("%s: want %s to stay, found %s", cases[i].why, cases[i].stay, found);
    }
}

/* A process that was killed while it wrote a cache leaves an unfinished file. */
static void what_a_killed_writer_left_goes(void **state)
{
    (void)state;
    int status = 0;
    folder_new();
    scratch_folder(&s, "cache");
    const pid_t child = fork();
    if (child == 0) {
        lt_new_file f;
        _exit(lt_new_file_open(scratch_path(&s, "cache/tables.lt"), &f) == LT_OK ? 7 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(rmdir(scratch_path(&s, "cache")), -1);
    lt_state_sweep(s.folder);
    assert_int_equal(rmdir(scratch_path(&s, "cache")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_there_and_back),
                                       cmocka_unit_test(the_newest_step_is_found),
                                       cmocka_unit_test(a_bad_step_gives_way_to_an_older_one),
                                       cmocka_unit_test(what_no_step_needs_goes),
                                       cmocka_unit_test(what_is_not_on_the_disk_keeps_what_is),
                                       cmocka_unit_test(what_a_killed_writer_left_goes)};
    return cmocka_run_group_tests_name("state_folder", tests, NULL, scratch_teardown);
}
