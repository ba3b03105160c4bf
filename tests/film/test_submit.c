/* test_submit.c - longtake submit, with Slurm's programs played by scripts.
 * Goal: the script starts render with exactly the words that the user gave, whatever bytes they
 * are made of; it requeues what was stopped or lost a rank, and nothing else; sbatch gets the
 * script by a path and no shell, an array and the job that waits for it; what cannot be is refused
 * by flag, wanted and found, before anything is written. Method: runs the program in folders of
 * hostile names; srun, scontrol and sbatch in PATH write down their words. A real Slurm:
 * tools/slurm-sandbox. Ranks: 1. Needs: bash. */
#include <jansson.h>

#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

static char here[4096]; /* the folder that the tests began in */

static void fake(const char *name, const char *script)
{
    char path[64];
    (void)snprintf(path, sizeof path, "bin/%s", name);
    scratch_text(&s, path, script);
    assert_int_equal(chmod(scratch_path(&s, path), 0755), 0);
}

/* Each writes its words, a NUL behind each, to $LOG.NAME. */
static int setup(void **state)
{
    char path[4096];
    if (scratch_setup(state) != 0)
        return 1;
    scratch_folder(&s, "bin");
    fake("srun", "#!/bin/sh\nprintf '%s\\0' \"$@\" > \"$LOG.srun\"\nexit ${SRUN_CODE:-0}\n");
    fake("scontrol",
         "#!/bin/sh\n[ \"$1\" = requeue ] && printf '%s\\0' \"$@\" > \"$LOG.scontrol\" && exit\n"
         "[ \"$1 $2 $3\" = '-o show job' ] || exit 1\necho \"$4\" > \"$LOG.show\"\n"
         "echo \"JobId=42 JobName=f JobState=${STATE:-RUNNING} Reason=None Requeue=1 "
         "Restarts=${RESTARTS:-${SLURM_RESTART_COUNT:-0}} BatchFlag=1\"\n");
    fake("sbatch",
         "#!/bin/sh\n[ -z \"$SBATCH_FAILS\" ] || { echo 'sbatch: error: Batch job submission "
         "failed: Invalid account' >&2; exit 1; }\n"
         "n=$(ls \"$LOG\".sbatch.* 2>/dev/null | wc -l)\n"
         "printf '%s\\0' \"$@\" > \"$LOG.sbatch.$n\"\n"
         "echo 'sbatch: a warning' >&2\necho $((70 + n))';cluster'\n");
    (void)snprintf(path, sizeof path, "%s/bin:%s", s.folder, getenv("PATH"));
    assert_int_equal(setenv("PATH", path, 1), 0);
    assert_int_equal(setenv("LOG", scratch_path(&s, "log"), 1), 0);
    assert_int_equal(setenv("SLURM_JOB_ID", "42", 1), 0);
    assert_non_null(getcwd(here, sizeof here));
    return 0;
}

static void forget(void)
{
    static const char *const logs[] = {"log.srun", "log.scontrol", "log.sbatch.0", "log.sbatch.1"};
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++)
        (void)unlink(scratch_path(&s, logs[i]));
}

/* The words that a played program got; the caller frees *text. */
static int words_of(const char *log, char **text, const char *word[32])
{
    FILE *f = fopen(scratch_path(&s, log), "rb");
    int count = 0;
    if (f == NULL)
        fail_msg("%s: the program was not started", log);
    *text = calloc(1, 65536);
    assert_non_null(*text);
    const size_t bytes = fread(*text, 1, 65535, f);
    (void)fclose(f);
    for (size_t at = 0; at < bytes && count < 32; at += strlen(*text + at) + 1)
        word[count++] = *text + at;
    return count;
}

static void want_words(const char *log, const char *const *want)
{
    char *text = NULL;
    const char *word[32];
    const int count = words_of(log, &text, word);
    int n = 0;
    while (want[n] != NULL)
        n++;
    for (int i = 0; i < n && i < count; i++)
        if (strcmp(word[i], want[i]) != 0)
            fail_msg("%s: word %d: want '%s', found '%s'", log, i, want[i], word[i]);
    assert_int_equal(count, n);
    free(text);
}

/* ---- the script, run ---- */

static const struct {
    const char *why, *folder, *job, *film;
} names[] = {
    {"plain", "plain", "job.yaml", "film.mp4"},
    {"spaces and quotes", "it's \"a\" folder", "my job.yaml", "a 'film'.mp4"},
    {"what a shell obeys", "$(touch pwned) `touch pwned`; touch pwned", "$HOME*?.yaml",
     "&|<>(){}[]!~#\\.mp4"},
    {"a newline and Slurm's own lines", "x\n#SBATCH --uid=0", "j\nob.yaml", "f\nilm.mp4"},
    {"tabs and what a terminal obeys", "\t\x1b[31m", "\x1b]0;x\x07.yaml", "\x7f.mp4"},
    {"bytes that are no UTF-8", "\xff\xfe", "\x80.yaml", "\xc3.mp4"},
    {"UTF-8, a mark that turns writing",
     "Gr\xc3\xbc\xc3\x9f"
     "e",
     "\xe2\x80\xae.yaml", "\xe6\xbc\xa2.mp4"},
    {"dashes in front", "--folder", "job.yaml", "--film.mp4"},
};

#define PROMPT "it's\n$(touch pwned) \"\xc3\xa9\" \x1b[0m"

/* Runs the dry run's script by bash from another folder, and looks at what srun was told. */
static void names_survive(void **state)
{
    (void)state;
    char cwd[4096], job[8192], run[8192], film[8192], o[1024];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        forget();
        scratch_folder(&s, names[i].folder);
        assert_int_equal(chdir(scratch_path(&s, names[i].folder)), 0);
        assert_non_null(getcwd(cwd, sizeof cwd));
        FILE *f = fopen(names[i].job, "w");
        assert_non_null(f);
        assert_true(fputs("prompt: A ball drops.\n", f) >= 0 && fclose(f) == 0);
        (void)snprintf(o, sizeof o, "-o%s", names[i].film);
        run_result r =
            run_longtake(&s, 1,
                         RUN_WORDS("submit", o, "--nodes", "2", "--time", "1:00:00", "--dry-run",
                                   names[i].job, "--", "-p", PROMPT, "--steps=7"));
        if (r.code != 0)
            fail_msg("%s: exit code %d: %s", names[i].why, r.code, r.err);
        for (const unsigned char *c = (const unsigned char *)r.out; *c != '\0'; c++)
            if ((*c < 0x20 && *c != '\n') || *c == 0x7f || *c == 0x80 || *c == 0xff)
                fail_msg("%s: byte %02x in the script", names[i].why, *c);
        assert_int_equal(chdir("/"), 0);
        run_result b = run_argv(&s, RUN_WORDS("bash", "-c", r.out, "script"), RUN_LIMIT_S);
        if (b.code != 0)
            fail_msg("%s: the script: exit code %d: %s", names[i].why, b.code, b.err);
        (void)snprintf(job, sizeof job, "%s/%s", cwd, names[i].job);
        (void)snprintf(film, sizeof film, "%s/%s", cwd, names[i].film);
        (void)snprintf(run, sizeof run, "%.*s.run", (int)strlen(film) - 4, film);
        want_words("log.srun", RUN_WORDS("--mpi=pmix", "--kill-on-bad-exit=0", LT_PROGRAM, "render",
                                         job, "--resume", run, "-o", film, "--time-limit", "3450",
                                         "-p", PROMPT, "--steps=7"));
        assert_false(run_exists(scratch_path(&s, "log.scontrol")));
        run_free(&b);
        run_free(&r);
        for (const char *const *at = RUN_WORDS("pwned", "/pwned"); *at != NULL; at++)
            assert_false(run_exists(**at == '/' ? *at : scratch_path(&s, *at)));
    }
    assert_int_equal(chdir(here), 0);
}

static char *dry_run(const char *job, const char *flag)
{
    run_result r =
        run_longtake(&s, 1,
                     RUN_WORDS("submit", scratch_path(&s, job), "-o", scratch_path(&s, "f.mkv"),
                               "--requeues", "3", "--dry-run", flag));
    if (r.code != 0)
        fail_msg("submit: exit code %d: %s", r.code, r.err);
    char *text = strdup(r.out);
    run_free(&r);
    return text;
}

static const struct {
    const char *why, *code, *state, *restarts, *of_job; /* this copy's count, and Slurm's */
    int again;
} ends[] = {
    {"done", "0", "RUNNING", NULL, NULL, 0},
    {"stopped, or a rank was lost", "75", "RUNNING", NULL, NULL, 1},
    {"again, a second time", "75", "RUNNING", "2", NULL, 1},
    {"often enough", "75", "RUNNING", "3", NULL, 0},
    {"somebody cancelled the job", "75", "CANCELLED", NULL, NULL, 0},
    {"Slurm has requeued it", "75", "COMPLETING", NULL, NULL, 0},
    {"a rank was killed", "137", "RUNNING", NULL, NULL, 1},
    {"a newer copy has the run", "69", "RUNNING", NULL, NULL, 0},
    {"a bad job", "65", "RUNNING", NULL, NULL, 0},
    {"our bug", "70", "RUNNING", NULL, NULL, 0},
    {"a crash", "139", "RUNNING", NULL, NULL, 0},
    {"an old copy, of a node that was lost", "75", "RUNNING", NULL, "1", 0},
    {"the same, later", "137", "RUNNING", "2", "12", 0},
};

static void what_was_stopped_is_requeued(void **state)
{
    (void)state;
    scratch_text(&s, "job.yaml", "prompt: A ball drops.\n");
    char *text = dry_run("job.yaml", NULL);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        forget();
        (void)setenv("SRUN_CODE", ends[i].code, 1);
        (void)setenv("STATE", ends[i].state, 1);
        if (ends[i].restarts != NULL)
            (void)setenv("SLURM_RESTART_COUNT", ends[i].restarts, 1);
        if (ends[i].of_job != NULL)
            (void)setenv("RESTARTS", ends[i].of_job, 1);
        run_result r = run_argv(&s, RUN_WORDS("bash", "-c", text, "script"), RUN_LIMIT_S);
        (void)unsetenv("SLURM_RESTART_COUNT");
        (void)unsetenv("RESTARTS");
        if (r.code != (int)strtol(ends[i].code, NULL, 10))
            fail_msg("%s: want exit code %s, found %d", ends[i].why, ends[i].code, r.code);
        if (run_exists(scratch_path(&s, "log.scontrol")) != ends[i].again)
            fail_msg("%s: want%s requeue", ends[i].why, ends[i].again ? "" : " no");
        if (ends[i].again)
            want_words("log.scontrol", RUN_WORDS("requeue", "42"));
        run_free(&r);
    }
    (void)unsetenv("SRUN_CODE");
    (void)unsetenv("STATE");
    free(text);
}

/* ---- an array ---- */

#define BOARD                                                                                      \
    "shots:\n- {prompt: a, seconds: 1}\n- {prompt: b, seconds: 1}\n"                               \
    "- {prompt: c, seconds: 9, transition: blend}\n- {prompt: d, seconds: 1}\n"

/* As a task it renders its shot; without a task's number it stitches: here by a program that
 * writes down its words, in longtake's place. */
static void an_array_is_shots_then_a_film(void **state)
{
    (void)state;
    char runs[3][600], want[600];
    scratch_text(&s, "board.yaml", BOARD);
    char *text = dry_run("board.yaml", "--array");
    assert_non_null(strstr(text, " shots=3 "));
    fake("longtake", "#!/bin/sh\nprintf '%s\\0' \"$@\" > \"$LOG.longtake\"\n");
    for (int i = 0; i < 3; i++)
        (void)snprintf(runs[i], sizeof runs[i], "%s/f.shots/shot-%03d.run", s.folder, i + 1);
    (void)snprintf(want, sizeof want, "%s/f.shots/shot-002.mkv", s.folder);
    forget();
    (void)setenv("SLURM_ARRAY_TASK_ID", "2", 1);
    run_result r = run_argv(&s, RUN_WORDS("bash", "-c", text, "script"), RUN_LIMIT_S);
    assert_int_equal(r.code, 0);
    run_free(&r);
    want_words("log.srun", RUN_WORDS("--mpi=pmix", "--kill-on-bad-exit=0", LT_PROGRAM, "render",
                                     scratch_path(&s, "board.yaml"), "--shot", "2", "--resume",
                                     runs[1], "-o", want));
    forget(); /* one that is stopped: that task, not the whole array */
    (void)setenv("SLURM_ARRAY_JOB_ID", "42", 1);
    (void)setenv("SRUN_CODE", "75", 1);
    r = run_argv(&s, RUN_WORDS("bash", "-c", text, "script"), RUN_LIMIT_S);
    assert_int_equal(r.code, 75);
    run_free(&r);
    want_words("log.scontrol", RUN_WORDS("requeue", "42_2"));
    char *shown = run_text(scratch_path(&s, "log.show"));
    assert_string_equal(shown, "42_2\n");
    free(shown);
    (void)unsetenv("SRUN_CODE");
    (void)unsetenv("SLURM_ARRAY_JOB_ID");
    (void)unsetenv("SLURM_ARRAY_TASK_ID");
    char *line = strstr(text, "\nlongtake="), *end = strchr(line + 1, '\n');
    char *film = malloc(strlen(text) + 600);
    assert_non_null(film);
    (void)snprintf(film, strlen(text) + 600, "%.*s\nlongtake='%s/bin/longtake'%s",
                   (int)(line - text), text, s.folder, end);
    for (int again = 0; again < 2; again++) {
        forget();
        if (again)
            (void)setenv("SLURM_RESTART_COUNT", "1", 1);
        r = run_argv(&s, RUN_WORDS("bash", "-c", film, "script"), RUN_LIMIT_S);
        assert_int_equal(r.code, 0);
        run_free(&r);
        want_words("log.longtake",
                   RUN_WORDS("stitch", runs[0], runs[1], runs[2], "--run",
                             scratch_path(&s, "f.run"), again ? "--overwrite" : NULL));
    }
    (void)unsetenv("SLURM_RESTART_COUNT");
    (void)snprintf(want, sizeof want, "%s/bin/longtake", s.folder);
    want_words("log.srun", RUN_WORDS("--mpi=pmix", "--kill-on-bad-exit=0", want, "decode",
                                     scratch_path(&s, "f.run"), "-o", scratch_path(&s, "f.mkv")));
    free(film);
    free(text);
}

/* ---- sbatch ---- */

static void sbatch_gets_the_script(void **state)
{
    (void)state;
    forget();
    scratch_text(&s, "job.yaml", "prompt: A ball drops.\noutput: ignored.mp4\n");
    run_result r = run_longtake(
        &s, 1,
        RUN_WORDS("submit", scratch_path(&s, "job.yaml"), "-o", scratch_path(&s, "one.mp4")));
    if (r.code != 0)
        fail_msg("submit: exit code %d: %s", r.code, r.err);
    assert_string_equal(r.out, "70\n");
    run_free(&r);
    want_words("log.sbatch.0", RUN_WORDS("--parsable", scratch_path(&s, "one.sbatch")));
    char *file = run_text(scratch_path(&s, "one.sbatch")), *text = dry_run("job.yaml", NULL);
    assert_non_null(file);
    assert_non_null(strstr(file, strstr(text, "\n# ---- from")));
    free(file);
    free(text);
    r = run_longtake(
        &s, 1, /* once more: the script is there */
        RUN_WORDS("submit", scratch_path(&s, "job.yaml"), "-o", scratch_path(&s, "one.mp4")));
    assert_int_equal(r.code, 73);
    assert_non_null(strstr(r.err, "one.sbatch"));
    run_free(&r);
}

static void an_array_and_what_waits_for_it(void **state)
{
    (void)state;
    forget();
    scratch_text(&s, "board.yaml", BOARD);
    run_result r = run_longtake(&s, 1,
                                RUN_WORDS("submit", scratch_path(&s, "board.yaml"), "--array",
                                          "--json", "-o", scratch_path(&s, "two.mp4")));
    if (r.code != 0)
        fail_msg("submit: exit code %d: %s", r.code, r.err);
    json_t *answer = json_loads(r.out, 0, NULL);
    const json_t *jobs = json_object_get(answer, "jobs");
    assert_int_equal(json_array_size(jobs), 2);
    const char *const ids[] = {"70", "71"}, *const roles[] = {"shots", "film"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *one = json_array_get(jobs, i);
        assert_string_equal(json_string_value(json_object_get(one, "job_id")), ids[i]);
        assert_string_equal(json_string_value(json_object_get(one, "role")), roles[i]);
    }
    json_decref(answer);
    run_free(&r);
    want_words("log.sbatch.0",
               RUN_WORDS("--parsable", "--array=1-3", scratch_path(&s, "two.sbatch")));
    want_words("log.sbatch.1",
               RUN_WORDS("--parsable", "--dependency=afterok:70", "--kill-on-invalid-dep=yes",
                         scratch_path(&s, "two.sbatch")));
}

static void what_sbatch_refuses_is_said(void **state)
{
    (void)state;
    forget();
    (void)setenv("SBATCH_FAILS", "1", 1);
    run_result r = run_longtake(
        &s, 1,
        RUN_WORDS("submit", scratch_path(&s, "job.yaml"), "-o", scratch_path(&s, "none.mp4")));
    (void)unsetenv("SBATCH_FAILS");
    assert_int_equal(r.code, 69);
    assert_non_null(strstr(r.err, "sbatch: Batch job submission failed: Invalid account"));
    run_free(&r);
    assert_false(run_exists(scratch_path(&s, "none.sbatch")));
    char path[4096];
    (void)snprintf(path, sizeof path, "%s", getenv("PATH"));
    (void)setenv("PATH", "/nowhere", 1);
    r = run_longtake(
        &s, 1,
        RUN_WORDS("submit", scratch_path(&s, "job.yaml"), "-o", scratch_path(&s, "none.mp4")));
    (void)setenv("PATH", path, 1);
    assert_int_equal(r.code, 69);
    assert_non_null(strstr(r.err, "want Slurm's sbatch in PATH, found none"));
    run_free(&r);
    assert_false(run_exists(scratch_path(&s, "none.sbatch")));
}

/* ---- refusals ---- */

static const struct {
    const char *why, *words[6];
    int code;
    const char *says;
} refused[] = {
    {"no job", {NULL}, 64, "submit: want a job file, found none"},
    {"a job that is gone when it runs", {"-"}, 64, "want a job file that stays"},
    {"a job that is not there", {"none.yaml", "-o", "x.mp4"}, 66, "none.yaml"},
    {"no film", {"job"}, 64, "-o: want the film's name"},
    {"a film without a suffix",
     {"job", "-o", "film"},
     64,
     "-o film: want a name that ends in .mp4"},
    {"a wrong time", {"job", "-ox.mp4", "--time", "4h"}, 64, "--time: want minutes, H:MM:SS"},
    {"a wrong name", {"job", "-ox.mp4", "--account", "a b"}, 64, "--account: want letters"},
    {"no nodes", {"job", "-ox.mp4", "--nodes", "0"}, 64, "--nodes: want an integer from 1"},
    {"an array of no storyboard", {"job", "-ox.mp4", "--array"}, 64, "--array: want a storyboard"},
    {"render's option in front", {"job", "-ox.mp4", "--steps", "9"}, 64, "--steps: not an option"},
    {"a wrong one behind",
     {"job", "-ox.mp4", "--", "--steps", "x"},
     64,
     "--steps: want an integer"},
    {"an unknown one behind", {"job", "-ox.mp4", "--", "--stepz", "9"}, 64, "--stepz: unknown"},
    {"a word behind", {"job", "-ox.mp4", "--", "word"}, 64, "\"word\""},
    {"the film behind", {"job", "--", "-ox.mp4"}, 64, "--output: want it before --"},
    {"a job with a wrong key", {"bad", "-ox.mp4"}, 64, "stepz: unknown job key"},
};

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    scratch_text(&s, "job", "prompt: x\n");
    scratch_text(&s, "bad", "stepz: 9\n");
    assert_int_equal(chdir(s.folder), 0);
    forget();
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const char *words[8] = {"submit"};
        for (int k = 0; k < 6; k++)
            words[k + 1] = refused[i].words[k];
        run_result r = run_longtake(&s, 1, words);
        if (r.code != refused[i].code || strstr(r.err, refused[i].says) == NULL)
            fail_msg("%s: want exit code %d and \"%s\", found %d and %s", refused[i].why,
                     refused[i].code, refused[i].says, r.code, r.err);
        run_free(&r);
        assert_false(run_exists("x.sbatch"));
        assert_false(run_exists(scratch_path(&s, "log.sbatch.0")));
    }
    assert_int_equal(chdir(here), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_survive),
        cmocka_unit_test(what_was_stopped_is_requeued),
        cmocka_unit_test(an_array_is_shots_then_a_film),
        cmocka_unit_test(sbatch_gets_the_script),
        cmocka_unit_test(an_array_and_what_waits_for_it),
        cmocka_unit_test(what_sbatch_refuses_is_said),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests_name("submit", tests, setup, scratch_teardown);
}
