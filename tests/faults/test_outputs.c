/* test_outputs.c - files that a job names or makes: places, owners, what others planted.
 * Goal: nothing of anybody's is replaced without --overwrite in any verb; planted links and pipes
 * are never written through; a run folder of another user, or open to others, is refused; names
 * that collide are refused before work; a sheet or wav that fails leaves the film. Method: the
 * program on a tiny model; what must stay is compared afterwards. Ranks: 1. Needs:
 * tests/parity/nano; root for other users' folders. */
#include "tests/support/film.h"
#include "tests/support/spoil.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"

static scratch s;

static int setup(void **state)
{
    (void)state;
    scratch_new(&s);
    run_tell_sanitizers(1);
    assert_int_equal(chdir(s.folder), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(chdir("/"), 0);
    scratch_free(&s);
    return 0;
}

/* render into names of the test's folder, with up to eight more words. */
static run_result render(const char *out, const char *const *more)
{
    const char *words[40] = {"render",   "--model", NANO,      "-p", "A ball.", "--size", "64x64",
                             "--frames", "5",       "--steps", "2",  "-q",      "-o",     out};
    int n = 14;
    for (int i = 0; more != NULL && more[i] != NULL; i++)
        words[n++] = more[i];
    return run_longtake(&s, 1, words);
}

static void want_code(const char *name, run_result *r, int code, const char *says)
{
    if (r->code != code || (says != NULL && strstr(r->err, says) == NULL))
        fail_msg("%s: want exit code %d and \"%s\", found %d: %s", name, code,
                 says != NULL ? says : "", r->code, r->err);
    run_free(r);
}

static void want_text(const char *path, const char *wanted)
{
    char *text = run_text(path);
    if (text == NULL || strcmp(text, wanted) != 0)
        fail_msg("%s: want \"%s\", found \"%.40s\"", path, wanted, text != NULL ? text : "nothing");
    free(text);
}

/* ---- nothing is replaced unasked ---- */

static void nothing_is_replaced_unasked(void **state)
{
    (void)state;
    static const struct {
        const char *option, *name;
    } files[] = {{"-o", "kept.mp4"}, {"--sheet", "kept.png"}, {"--wav", "kept.wav"}};
    run_result r = render("first.mp4", NULL);
    want_code("first", &r, 0, NULL);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        scratch_text(&s, files[i].name, "mine");
        for (int decode = 0; decode < 2; decode++) {
            const char *out = i == 0 ? "kept.mp4" : "new.mp4";
            const char *const extra[] = {i == 0 ? NULL : files[i].option, files[i].name, NULL};
            r = decode ? run_longtake(&s, 1,
                                      RUN_WORDS("decode", "first.run", "-q", "-o", out, extra[0],
                                                extra[0] ? extra[1] : NULL))
                       : render(out, extra);
            want_code(files[i].name, &r, 73, "--overwrite");
            want_text(files[i].name, "mine");
            assert_false(run_exists("new.mp4"));
            assert_false(run_exists("new.run") || run_exists("kept.run"));
        }
    }
    scratch_text(&s, "kept.safetensors", "mine");
    r = run_longtake(&s, 1,
                     RUN_WORDS("probe", "layout", "--model", NANO, "--frames", "5", "--in",
                               "nothing.safetensors", "--out", "kept.safetensors"));
    want_code("probe", &r, 73, "--out kept.safetensors"); /* before its input is looked at */
    want_text("kept.safetensors", "mine");
    scratch_text(&s, "bench-comm.trace.json", "mine");
    r = run_longtake(&s, 1, RUN_WORDS("bench", "comm", "--trace", "--budget", "0.1"));
    want_code("bench", &r, 73, "--trace bench-comm.trace.json");
    want_text("bench-comm.trace.json", "mine");
    r = run_longtake(&s, 1,
                     RUN_WORDS("decode", "first.run", "-q", "--overwrite", "-o", "kept.mp4",
                               "--sheet", "kept.png", "--wav", "kept.wav"));
    want_code("asked for", &r, 0, NULL);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct stat info;
        assert_true(stat(files[i].name, &info) == 0 && info.st_size > 4);
    }
    /* An edit in place of one leaves the other alone. */
    struct stat out, inside;
    assert_true(stat("first.mp4", &out) == 0 && stat("first.run/out.mp4", &inside) == 0);
    assert_true(out.st_ino != inside.st_ino && out.st_size == inside.st_size);
}

static void files_of_others_in_a_given_folder_stay(void **state)
{
    (void)state;
    static const char *const names[] = {"out.mp4", "plan.json", "latents.h5", "job.yaml",
                                        "events.ndjson"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int overwrite = 0; overwrite < 2; overwrite++) {
            char folder[32], file[64];
            (void)snprintf(folder, sizeof folder, "own%zu.%d", i, overwrite);
            (void)snprintf(file, sizeof file, "%s/%s", folder, names[i]);
            scratch_folder(&s, folder);
            scratch_text(&s, file, "{\"mine\": 1}");
            run_result r =
                render("given.mp4", (const char *const[]){"--run", folder,
                                                          overwrite ? "--overwrite" : NULL, NULL});
            want_code(file, &r, 73, folder);
            want_text(file, "{\"mine\": 1}");
            assert_false(run_exists("given.mp4"));
        }
}

/* ---- places ---- */

static const struct {
    const char *name, *out, *more[5];
    int code;
    const char *says;
} places[] = {
    {"run folder and output are one name", "p.mp4", {"--run", "p.mp4"}, 64, "the same place"},
    {"the same by another path", "p.mp4", {"--run", "./p.mp4/"}, 64, "the same place"},
    {"sheet and run folder", "p.mp4", {"--sheet", "p.png", "--run", "p.png"}, 64, "same place"},
    {"no name for the run folder", "p.mp4", {"--run", ""}, 64, "--run: want a folder's name"},
    {"no name for the output", "", {"--run", "p.run"}, 64, "-o: want the film's name"},
    {"no name for the sheet", "p.mp4", {"--sheet", ""}, 64, "--sheet: want a file's name"},
    {"a sheet where none can be made", "p.mp4", {"--sheet", "/proc/x.png"}, 73, "/proc/x.png"},
    {"a wav in no folder", "p.mp4", {"--wav", "no/p.wav"}, 73, "the folder no is not there"},
    {"a run folder in no folder", "p.mp4", {"--run", "no/p.run"}, 73, "the folder no is not there"},
    {"suffixes in capitals are suffixes", "P.MOV", {"--sheet", "P.PNG", "--wav", "P.WAV"}, 0, NULL},
};

static void places_are_tried_before_work(void **state)
{
    (void)state;
    char longest[300];
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        run_result r = render(places[i].out, places[i].more);
        want_code(places[i].name, &r, places[i].code, places[i].says);
        assert_false(run_exists("p.mp4") || run_exists("p.run") || run_exists("p.png"));
    }
    (void)memset(longest, 'x', sizeof longest);
    (void)snprintf(longest + 252, 8, ".mp4"); /* one byte more than a name may have */
    run_result r = render(longest, NULL);
    want_code("a name too long", &r, 73, "256 bytes");
}

/* ---- planted ---- */

static const char *const made_names[] = {"events.ndjson", "latents.h5",       "latents.h5.tmp",
                                         "sound.part",    "out.mp4",          "out.mp4.whole",
                                         "manifest.json", "manifest.json.tmp"};

/* Links and pipes at every name that a run makes or once made: with --overwrite they give way or
 * are passed by, and what they point to keeps its bytes. No pipe is waited for. */
static void planted_links_and_pipes_are_not_followed(void **state)
{
    (void)state;
    run_result r = render("planted.mp4", NULL);
    want_code("first", &r, 0, NULL);
    scratch_text(&s, "victim", "precious");
    for (int pipes = 0; pipes < 2; pipes++) {
        for (size_t i = 0; i < sizeof made_names / sizeof *made_names; i++) {
            char path[600];
            (void)snprintf(path, sizeof path, "planted.run/%s", made_names[i]);
            (void)unlink(path);
            assert_int_equal(pipes ? mkfifo(path, 0666) : symlink(scratch_path(&s, "victim"), path),
                             0);
        }
        (void)unlink("planted.mp4.part");
        assert_int_equal(symlink(scratch_path(&s, "victim"), "planted.mp4.part"), 0);
        r = render("planted.mp4", (const char *const[]){"--overwrite", NULL});
        want_code(pipes ? "pipes" : "links", &r, 0, NULL);
        want_text("victim", "precious");
        film f = {0};
        film_read("planted.mp4", &f);
        assert_int_equal(f.frames, 5);
        film_free(&f);
    }
    /* A link at the output itself: refused, and with --overwrite replaced, not followed. */
    (void)unlink("planted.mp4");
    assert_int_equal(symlink(scratch_path(&s, "victim"), "planted.mp4"), 0);
    r = run_longtake(&s, 1, RUN_WORDS("decode", "planted.run", "-q", "-o", "planted.mp4"));
    want_code("a link", &r, 73, "a link of that name");
    r = run_longtake(&s, 1,
                     RUN_WORDS("decode", "planted.run", "-q", "--overwrite", "-o", "planted.mp4"));
    want_code("a link, asked for", &r, 0, NULL);
    want_text("victim", "precious");
    struct stat info;
    assert_true(lstat("planted.mp4", &info) == 0 && S_ISREG(info.st_mode));
}

static void folders_that_others_write_in_are_refused(void **state)
{
    (void)state;
    scratch_folder(&s, "open.run");
    assert_int_equal(chmod("open.run", 0777), 0);
    run_result r = render("open.mp4", NULL);
    want_code("mode 0777", &r, 73, "found mode 0777");
    assert_int_equal(chmod("open.run", 0755), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown("open.run", 12345, 0), 0);
        r = render("open.mp4", NULL);
        want_code("another user's", &r, 73, "want a folder of user 0, found one of user 12345");
        assert_int_equal(chown("open.run", 0, 0), 0);
    }
    assert_false(run_exists("open.mp4"));
    r = render("open.mp4", NULL);
    want_code("one's own", &r, 0, NULL);
}

/* ---- what is left ---- */

static void a_failed_extra_leaves_the_film(void **state)
{
    (void)state;
    scratch_folder(&s, "later");
    /* The sheet's folder passes the checks, and goes while the job runs. */
    const char *const argv[] = {
        "sh",
        "-c",
        "\"$0\" render --model \"$1\" -p 'A ball.' --size 64x64 --frames 22 "
        "--steps 300 -q --sheet later/x.png -o extra.mp4 & "
        "until [ -s extra.run/events.ndjson ]; do sleep 0.01; done; "
        "rm -rf later; wait $!",
        LT_PROGRAM,
        NANO,
        NULL};
    run_result r = run_argv(&s, argv, 60);
    want_code("its folder went", &r, 73, "extra.mp4 is whole, but --sheet later/x.png: ");
    film f = {0};
    film_read("extra.mp4", &f);
    assert_int_equal(f.frames, 22);
    film_free(&f);
    assert_true(run_exists("extra.run/latents.h5"));
}

/* As a run that was stopped before it had latents: the same words begin it again, others don't. */
static void a_stopped_run_begins_again_by_the_same_words(void **state)
{
    (void)state;
    static const char *const no_steps[] = {"--checkpoint-every", "0", NULL};
    run_result r = render("again.mp4", no_steps);
    want_code("first", &r, 0, NULL);
    for (int stopped = 0; stopped < 2; stopped++) {
        assert_int_equal(unlink("again.mp4") | unlink("again.run/out.mp4"), 0);
        if (stopped)
            assert_int_equal(unlink("again.run/latents.h5"), 0);
        r = render("again.mp4", (const char *const[]){"--seed", "9", NULL});
        want_code("another job", &r, 73, "holds a run already");
        r = render("again.mp4", no_steps);
        want_code("the same words", &r, stopped ? 0 : 73, NULL); /* latents are never lost so */
        if (!stopped) {
            assert_true(run_exists("again.run/latents.h5"));
            r = render("again.mp4",
                       (const char *const[]){"--overwrite", "--checkpoint-every", "0", NULL});
            want_code("asked for", &r, 0, NULL);
        }
    }
    assert_true(run_exists("again.mp4") && run_exists("again.run/latents.h5"));
}

/* But a run that has kept a step: it goes on, or it is asked for anew. */
static void a_kept_step_is_not_lost_by_the_same_words(void **state)
{
    (void)state;
    run_result r = render("keeps.mp4", NULL);
    want_code("first", &r, 0, NULL);
    assert_int_equal(
        unlink("keeps.mp4") | unlink("keeps.run/out.mp4") | unlink("keeps.run/latents.h5"), 0);
    r = render("keeps.mp4", NULL);
    want_code("the same words", &r, 73, "render --resume 'keeps.run'` goes on from the last step");
    assert_true(run_exists("keeps.run/state/step-000001.e001.commit"));
    r = run_longtake(&s, 1, RUN_WORDS("render", "--resume", "keeps.run", "-q"));
    want_code("resumed", &r, 0, NULL);
    assert_true(run_exists("keeps.mp4") && run_exists("keeps.run/latents.h5"));
    r = render("keeps.mp4", (const char *const[]){"--overwrite", "--checkpoint-every", "0", NULL});
    want_code("anew", &r, 0, NULL);
    assert_false(run_exists("keeps.run/state"));
}

static void inspect_tells_a_film_that_does_not_play(void **state)
{
    (void)state;
    run_result r = render("seen.mp4", NULL);
    want_code("first", &r, 0, NULL);
    r = run_longtake(&s, 1, RUN_WORDS("inspect", "seen.run"));
    assert_non_null(strstr(r.out, "out.mp4"));
    want_code("whole", &r, 0, NULL);
    bytes b = spoil_read("seen.run/out.mp4");
    const size_t cuts[] = {0, 7, 40, 500};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        spoil_write("seen.run/out.mp4", b.data, cuts[i]);
        r = run_longtake(&s, 1, RUN_WORDS("inspect", "seen.run", "--json"));
        assert_null(strstr(r.out, "\"out.mp4\""));
        want_code("cut", &r, 65, "out.mp4: want a film");
    }
    free(b.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_replaced_unasked),
        cmocka_unit_test(files_of_others_in_a_given_folder_stay),
        cmocka_unit_test(places_are_tried_before_work),
        cmocka_unit_test(planted_links_and_pipes_are_not_followed),
        cmocka_unit_test(folders_that_others_write_in_are_refused),
        cmocka_unit_test(a_failed_extra_leaves_the_film),
        cmocka_unit_test(a_stopped_run_begins_again_by_the_same_words),
        cmocka_unit_test(a_kept_step_is_not_lost_by_the_same_words),
        cmocka_unit_test(inspect_tells_a_film_that_does_not_play),
    };
    return cmocka_run_group_tests_name("outputs", tests, setup, teardown);
}
