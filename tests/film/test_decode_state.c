/* test_decode_state.c - a film of a run that has no latents.h5, but a last step that counts.
 * Goal: `decode` gives, from RUN/state, byte for byte the film that it gives from latents.h5, on
 * other ranks and in another codec than the render's, where only rank 0 finds RUN, in all modes; a
 * state that is not complete, or no longer whole, is refused in words. Nothing of it is left.
 * Method: the program; latents.h5 is removed. Ranks: 1 to 3. Needs: mpirun, tests/parity/nano. */
#include "tests/support/film.h"
#include "tests/support/run.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"
#define JOB                                                                                        \
    "render", "--model", NANO, "-p", "A ball.", "--steps", "3", "-q", "--overwrite", "-o", "a.mp4"

static scratch s;

static int setup(void **state)
{
    (void)state;
    scratch_new(&s);
    run_tell_sanitizers(2);
    run_tell_mpirun();
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

static void shell(const char *script)
{
    run_result r = run_argv(&s, (const char *const[]){"sh", "-ec", script, NULL}, RUN_LIMIT_S);
    if (r.code != 0)
        fail_msg("%s: exit code %d: %s", script, r.code, r.err);
    run_free(&r);
}

/* Ranks above 0 stand in a folder where there is no a.run. */
static run_result decode_on_two(const char *output)
{
    const char *argv[RUN_WORDS_MAX];
    int n = run_launcher(2, argv);
    const char *const words[] = {
        "sh",       "-c",     "test $OMPI_COMM_WORLD_RANK = 0 || cd /; exec \"$0\" \"$@\"",
        LT_PROGRAM, "decode", "a.run",
        "--codec",  "ffv1",   "--threads",
        "1",        "-o",     output};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        argv[n++] = words[i];
    argv[n] = NULL;
    return run_argv(&s, argv, RUN_LIMIT_S);
}

static void decode_alone(const char *output)
{
    run_well(&s, 1,
             RUN_WORDS("decode", "a.run", "--codec", "ffv1", "--threads", "1", "-q", "-o", output));
}

static const struct {
    const char *name, *words[12];
    int ranks;
} rows[] = {
    {"one window", {"--size", "64x64", "--frames", "5"}, 1},
    {"windows on two groups",
     {"--size", "64x64", "--frames", "141", "--mode", "windows", "--window", "90", "--mesh",
      "win=2"},
     2},
    {"chunks",
     {"--size", "64x64", "--frames", "141", "--mode", "extend", "--window", "90", "--overlap",
      "39"},
     1},
    {"two passes",
     {"--size", "128x64", "--frames", "5", "--refine-from", "0.5", "--mode", "refine"},
     1},
    {"a storyboard", {"board.yaml", "--size", "64x64"}, 3},
};

static void the_film_of_the_latents(void **state)
{
    (void)state;
    scratch_text(&s, "board.yaml",
                 "shots: [{prompt: A ball., frames: 5}, {prompt: A cube., frames: 22, seed: 3}]\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *words[RUN_WORDS_MAX];
        int n = 0, from = 0;
        const char *const job[] = {JOB};
        const int has_board = strchr(rows[i].words[0], '.') != NULL;
        for (size_t k = 0; k < sizeof job / sizeof *job; k++) {
            if (has_board && strcmp(job[k], "-p") == 0)
                k += 2; /* the prompts are the board's */
            words[n++] = job[k];
        }
        for (; from < 12 && rows[i].words[from] != NULL; from++)
            words[n++] = rows[i].words[from];
        words[n] = NULL;
        shell("rm -f *.mkv");
        run_well(&s, rows[i].ranks, words);
        decode_alone("whole.mkv");
        shell("rm a.run/latents.h5");
        decode_alone("alone.mkv");
        run_result r = decode_on_two("two.mkv");
        if (r.code != 0 || strstr(r.err, "no latents.h5: decoding the state") == NULL)
            fail_msg("%s: exit code %d: %s", rows[i].name, r.code, r.err);
        run_free(&r);
        r = run_argv(&s,
                     (const char *const[]){"sh", "-c",
                                           "cmp whole.mkv alone.mkv && cmp whole.mkv two.mkv && "
                                           "! ls -A | grep longtake-",
                                           NULL},
                     30);
        if (r.code != 0)
            fail_msg("%s: another film, or something is left: %s%s", rows[i].name, r.out, r.err);
        run_free(&r);
        film f = {0};
        film_read("two.mkv", &f);
        assert_true(f.frames > 0 && f.samples > 0);
        film_free(&f);
    }
}

static const struct {
    const char *why, *spoil;
    int code;
    const char *says;
} bad[] = {
    {"its last step does not count",
     "rm -r a.run; cp -r every.run a.run; rm a.run/state/step-000003.*", 66,
     "step 2 of 3 is the newest that counts"},
    {"no step counts", "for f in a.run/state/*.lt; do truncate -s -1 $f; done", 66,
     "no step that counts"},
    {"its plan is gone", "rm a.run/plan.json", 66, "plan.json"},
    {"its plan is damaged", "truncate -s 200 a.run/plan.json", 65, "plan.json"},
    {"another model's", "sed -i 's/\"seed\": 0/\"seed\": 1/' a.run/plan.json", 66,
     "no step that counts"},
    {"there is no state at all", "rm -r a.run/state", 66, "no latents.h5 in this run folder"},
};

static void what_is_not_complete_is_refused(void **state)
{
    (void)state;
    run_well(&s, 1,
             RUN_WORDS(JOB, "--size", "64x64", "--frames", "5", "--steps", "4",
                       "--checkpoint-every", "2", "--run", "every.run"));
    shell("rm every.run/latents.h5");
    run_well(&s, 1, RUN_WORDS(JOB, "--size", "64x64", "--frames", "5"));
    shell("rm -f *.mkv; rm a.run/latents.h5; mv a.run base.run");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        shell("rm -rf a.run; cp -r base.run a.run");
        shell(bad[i].spoil);
        run_result r = run_longtake(&s, 1, RUN_WORDS("decode", "a.run", "-o", "bad.mkv"));
        if (r.code != bad[i].code || strstr(r.err, bad[i].says) == NULL ||
            count_of(r.err, "longtake: error: ") != 1)
            fail_msg("%s: want exit code %d and '%s', found %d: %s", bad[i].why, bad[i].code,
                     bad[i].says, r.code, r.err);
        run_free(&r);
        assert_false(run_exists("bad.mkv"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_film_of_the_latents),
                                       cmocka_unit_test(what_is_not_complete_is_refused)};
    return cmocka_run_group_tests_name("decode_state", tests, setup, teardown);
}
