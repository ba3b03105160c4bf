/* test_resume_refused.c - a run goes on as what it began, or not at all.
 * Goal: whatever settles the latents and differs, in a flag, a job file or the model, is refused
 * with a line that names key, wanted and found; what changes no latent may differ; what is not
 * there is 66, what is finished 0. Method: one small run, then a table of starts beside it; a row
 * that is refused leaves every byte of RUN as it was. Ranks: 1 and 2. Needs: tests/parity/nano. */
#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

#define NANO  "--model", LT_SOURCE_DIR "/tests/parity/nano"
#define SMALL "--size", "64x64", "--frames", "5", "--steps", "3"
#define JOB   NANO, SMALL, "--seed", "4", "-p", "A ball."

static char run[600], film[600];

static int setup(void **state)
{
    (void)scratch_setup(state);
    (void)snprintf(run, sizeof run, "%s/a.run", s.folder);
    (void)snprintf(film, sizeof film, "%s/a.mp4", s.folder);
    return 0;
}

/* Everything in RUN but its leases and events, by name, size and content. */
static char *state_of_run(void)
{
    char command[1400];
    (void)snprintf(command, sizeof command,
                   "cd '%s' && find . -type f ! -path './lease/*' ! -name events.ndjson -print0 | "
                   "sort -z | xargs -0 cksum",
                   run);
    run_result r = run_argv(&s, (const char *const[]){"sh", "-c", command, NULL}, 60);
    assert_int_equal(r.code, 0);
    char *text = strdup(r.out);
    run_free(&r);
    return text;
}

/* words: what stands behind `render -q --resume RUN`. */
typedef struct row {
    const char *name;
    const char *words[12];
    int code;
    const char *says;
} row;

static const row refused[] = {
    {"another prompt", {"-p", "A cube."}, 64, "--prompt: --resume "},
    {"another seed", {"--seed", "5"}, 64, "want seed 4, as the run has, found 5"},
    {"another length", {"--frames", "22"}, 64, "want frames 5, as the run has, found 22"},
    {"another length, in seconds", {"--seconds", "1"}, 64, "--seconds: --resume "},
    {"another size", {"--size", "96x64"}, 64, "want width 64, as the run has, found 96"},
    {"more steps", {"--steps", "4"}, 64, "want steps 3, as the run has, found 4"},
    {"another mode", {"--mode", "windows"}, 64, "--mode"},
    {"other sums", {"--deterministic"}, 64, "want deterministic false"},
    {"another element type", {"--dtype", "bf16"}, 64, "want dtype \"f32\""},
    {"two run folders", {"--run", "x.run"}, 64, "want no --run beside --resume"},
};

static const row taken[] = {
    {"nothing", {NULL}, 0, ""},
    {"the same, said again", {"--steps", "3", "--seed", "4"}, 0, ""},
    {"the same length in seconds", {"--seconds", "0.2083"}, 0, ""},
    {"another codec and film", {"--codec", "ffv1", "-o", "@b.mkv"}, 0, ""},
    {"another device's threads", {"--threads", "1", "-o", "@c.mp4"}, 0, ""},
};

static run_result start(const row *r, int ranks)
{
    static char path[700];
    const char *words[RUN_WORDS_MAX] = {"render", "-q", "--resume", run};
    int n = 4;
    for (int i = 0; r->words[i] != NULL; i++) {
        words[n] = r->words[i];
        if (words[n][0] == '@') {
            (void)snprintf(path, sizeof path, "%s/%s", s.folder, words[n] + 1);
            words[n] = path;
        }
        n++;
    }
    words[n] = NULL;
    return run_longtake(&s, ranks, words);
}

static void what_differs_is_refused(void **state)
{
    (void)state;
    run_well(&s, 1, RUN_WORDS("render", "-q", JOB, "-o", film));
    for (int finished = 1; finished >= 0; finished--) {
        if (!finished) /* its latents stand: it would go straight to decoding */
            assert_int_equal(unlink(film), 0);
        char *before = state_of_run();
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
            run_result r = start(&refused[i], i == 5 ? 2 : 1);
            if (r.code != refused[i].code || strstr(r.err, refused[i].says) == NULL ||
                count_of(r.err, "longtake: error: ") != 1)
                fail_msg("%s: want exit code %d and '%s', found %d: %s", refused[i].name,
                         refused[i].code, refused[i].says, r.code, r.err);
            run_free(&r);
        }
        char *after = state_of_run();
        assert_string_equal(before, after);
        free(before);
        free(after);
        assert_int_equal(run_exists(film), finished);
    }
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        run_result r = start(&taken[i], i == 3 ? 2 : 1);
        if (r.code != 0)
            fail_msg("%s: want exit code 0, found %d: %s", taken[i].name, r.code, r.err);
        run_free(&r);
    }
}

static void a_job_file_must_be_the_runs(void **state)
{
    (void)state;
    const char *same = scratch_path(&s, "a.run/job.yaml");
    char job[700], other[700];
    (void)snprintf(job, sizeof job, "%s", same);
    (void)snprintf(other, sizeof other, "%s", scratch_path(&s, "other.yaml"));
    char *text = run_text(job);
    assert_non_null(text);
    char *seed = strstr(text, "seed: 4");
    assert_non_null(seed);
    seed[6] = '9';
    FILE *f = fopen(other, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    free(text);
    assert_int_equal(unlink(film), 0);
    run_well(&s, 1, RUN_WORDS("render", "-q", job, "--resume", run, "-o", film));
    run_result r = run_longtake(&s, 1, RUN_WORDS("render", "-q", other, "--resume", run));
    if (r.code != 65 || strstr(r.err, "other.yaml:") == NULL ||
        strstr(r.err, "want seed 4, as the run has, found 9") == NULL)
        fail_msg("want exit code 65 and key, wanted, found; got %d: %s", r.code, r.err);
    run_free(&r);
}

static void a_run_that_is_not_there(void **state)
{
    (void)state;
    char none[700], empty[700], made[700];
    (void)snprintf(none, sizeof none, "%s", scratch_path(&s, "none.run"));
    (void)snprintf(empty, sizeof empty, "%s", scratch_path(&s, "empty.run"));
    (void)snprintf(made, sizeof made, "%s", scratch_path(&s, "made.mp4"));
    scratch_folder(&s, "empty.run");
    const char *const runs[] = {none, empty};
    for (size_t i = 0; i < 2; i++) {
        run_result r = run_longtake(&s, 1, RUN_WORDS("render", "--resume", runs[i], "-o", made));
        assert_int_equal(r.code, 66);
        assert_int_equal(count_of(r.err, "longtake: error: "), 1);
        run_free(&r);
        assert_int_equal(run_exists(none), 0);
    }
    run_result r = run_longtake(&s, 2, RUN_WORDS("render", JOB, "--resume", none, "-o", made));
    if (r.code != 0 || strstr(r.err, "no run at ") == NULL || strstr(r.err, ": starting") == NULL)
        fail_msg("want exit code 0 and 'no run at RUN: starting', found %d: %s", r.code, r.err);
    run_free(&r);
    assert_true(run_exists(made) && run_exists(none));
    r = run_longtake(&s, 1, RUN_WORDS("render", JOB, "--resume", none, "-o", made));
    if (r.code != 0 || strstr(r.err, "is finished") == NULL)
        fail_msg("the same line again: want exit code 0, found %d: %s", r.code, r.err);
    run_free(&r);
}

/* A model of the same name with one byte more, one byte different, another time. */
static void another_model_is_refused(void **state)
{
    (void)state;
    char model[700], film2[700], run2[700], command[3000];
    (void)snprintf(model, sizeof model, "%s", scratch_path(&s, "model"));
    (void)snprintf(film2, sizeof film2, "%s", scratch_path(&s, "m.mp4"));
    (void)snprintf(run2, sizeof run2, "%s", scratch_path(&s, "m.run"));
    static const struct {
        const char *change, *says;
    } rows[] = {{"printf ' ' >>transformer/config.json", "transformer/config.json: --resume "},
                {"touch -d '2001-02-03' vae/config.json", "want changed "}};
    (void)snprintf(command, sizeof command, "cp -a '%s/tests/parity/nano' '%s'", LT_SOURCE_DIR,
                   model);
    run_result r = run_argv(&s, (const char *const[]){"sh", "-c", command, NULL}, 60);
    assert_int_equal(r.code, 0);
    run_free(&r);
    run_well(&s, 1,
             RUN_WORDS("render", "-q", "--model", model, "--size", "64x64", "--frames", "5",
                       "--steps", "3", "-p", "A ball.", "-o", film2));
    assert_int_equal(unlink(film2), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        (void)snprintf(command, sizeof command, "cp -a '%s' '%s.kept' && cd '%s' && %s", model,
                       model, model, rows[i].change);
        r = run_argv(&s, (const char *const[]){"sh", "-c", command, NULL}, 60);
        if (r.code != 0)
            fail_msg("%s: %s", command, r.err);
        run_free(&r);
        r = run_longtake(&s, 1, RUN_WORDS("render", "-q", "--resume", run2));
        if (r.code != 65 || strstr(r.err, rows[i].says) == NULL)
            fail_msg("%s: want exit code 65 and '%s', found %d: %s", rows[i].change, rows[i].says,
                     r.code, r.err);
        run_free(&r);
        (void)snprintf(command, sizeof command, "rm -r '%s' && mv '%s.kept' '%s'", model, model,
                       model);
        r = run_argv(&s, (const char *const[]){"sh", "-c", command, NULL}, 60);
        assert_int_equal(r.code, 0);
        run_free(&r);
    }
    run_well(&s, 1, RUN_WORDS("render", "-q", "--resume", run2));
    assert_true(run_exists(film2));
}

/* job.yaml alone is enough; what is damaged is named and decides nothing. */
static void job_yaml_suffices(void **state)
{
    (void)state;
    static const struct {
        const char *name, *command, *says;
    } rows[] = {
        {"a plan that was cut", "truncate -s 100 plan.json", "plan.json: not used"},
        {"no plan", "rm plan.json", "no plan.json"},
        {"no manifest", "rm manifest.json", "no manifest.json"},
        {"a manifest that was cut", "truncate -s 50 manifest.json", "manifest.json: not used"},
        {"latents that were flipped", "printf x | dd of=latents.h5 bs=1 seek=3000 conv=notrunc",
         "not used, denoised again"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char command[1400];
        (void)snprintf(command, sizeof command, "cd '%s' && %s", run, rows[i].command);
        run_result r = run_argv(&s, (const char *const[]){"sh", "-c", command, NULL}, 60);
        assert_int_equal(r.code, 0);
        run_free(&r);
        (void)unlink(film);
        r = run_longtake(&s, 1, RUN_WORDS("render", "--resume", run, "--seed", "5", "-o", film));
        if (r.code != 64)
            fail_msg("%s, another seed: want 64, found %d: %s", rows[i].name, r.code, r.err);
        run_free(&r);
        r = run_longtake(&s, 1, RUN_WORDS("render", "--resume", run, "-o", film));
        if (r.code != 0 || strstr(r.err, rows[i].says) == NULL)
            fail_msg("%s: want exit code 0 and '%s', found %d: %s", rows[i].name, rows[i].says,
                     r.code, r.err);
        run_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_differs_is_refused), cmocka_unit_test(a_job_file_must_be_the_runs),
        cmocka_unit_test(a_run_that_is_not_there), cmocka_unit_test(another_model_is_refused),
        cmocka_unit_test(job_yaml_suffices)};
    return cmocka_run_group_tests_name("resume_refused", tests, setup, scratch_teardown);
}
