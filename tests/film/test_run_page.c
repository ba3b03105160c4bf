/* test_run_page.c - docs/run-folder.md names every field that we write, and no other.
 * Goal: a key of any file of a run or of any answer stands in the page's section of it, in
 * backquotes; what stands in the first column of a table there is such a key. Method: runs that
 * have all extras (two ranks, trace, a decode, a failure, a stop), every verb's answer; their JSON
 * is walked, the attributes of latents.h5 are listed. Keys that a model gives (names of files,
 * tensors and dtypes, a config's own) are left out. Ranks: 1, once 2. Needs: models/demo. */
#include <dirent.h>
#include <jansson.h>

#include "run/film_tags.h"
#include "run/store_hdf5_internal.h"
#include "tests/support/run.h"

#define DEMO   LT_SOURCE_DIR "/models/demo"
#define PROMPT "A red ball drops."
#define TINY   "--size", "64x64", "--steps", "2", "-q"

static scratch s;
static json_t *seen; /* heading -> {key: true} */

/* ---- what is there ---- */

static void note(const char *heading, const char *key)
{
    json_t *keys = json_object_get(seen, heading);
    if (keys == NULL) {
        keys = json_object();
        assert_int_equal(json_object_set_new(seen, heading, keys), 0);
    }
    assert_int_equal(json_object_set_new(keys, key, json_true()), 0);
}

/* Members of these have names that the model, the machine or another section gives. */
static int has_free_names(const char *key)
{
    static const char *const keys[] = {"model_files", "dtypes", "config",   "stage_seconds",
                                       "libraries",   "gpu",    "exchanges"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0)
            return 1;
    return 0;
}

/* Whole in a section of its own: what inspect quotes. */
static int is_quoted(const char *heading, const char *key)
{
    return strcmp(heading, "Answers: `inspect`") == 0 &&
           (strcmp(key, "plan") == 0 || strcmp(key, "attributes") == 0);
}

static void note_keys(const char *heading, const json_t *value, int is_free)
{
    const char *key;
    json_t *member;
    size_t i;
    json_array_foreach (value, i, member)
        note_keys(heading, member, 0);
    json_object_foreach ((json_t *)(uintptr_t)value, key, member) {
        if (!is_free)
            note(heading, key);
        if (!is_quoted(heading, key))
            note_keys(heading, member, has_free_names(key));
    }
}

/* One JSON value a line; lines that are none (lists of ids) have no keys either. */
static void take_lines(const char *heading, const char *text)
{
    int lines = 0;
    for (const char *at = text; *at != '\0'; lines++) {
        const size_t n = strcspn(at, "\n");
        json_t *value = json_loadb(at, n, 0, NULL);
        const char *event = json_string_value(json_object_get(value, "event"));
        if (value == NULL)
            fail_msg("%s: want JSON, found %.*s", heading, (int)n, at);
        if (event != NULL)
            note(heading, event);
        note_keys(heading, value, 0);
        json_decref(value);
        at += n + (at[n] == '\n');
    }
    assert_true(lines > 0);
}

static char *text_of(const char *name)
{
    char *text = run_text(scratch_path(&s, name));
    if (text == NULL)
        fail_msg("%s: not there", name);
    return text;
}

static void take_file(const char *heading, const char *name)
{
    char *text = text_of(name);
    json_t *value = json_loads(text, 0, NULL);
    if (value == NULL)
        fail_msg("%s: want JSON, found %s", name, text);
    note_keys(heading, value, 0);
    json_decref(value);
    free(text);
}

static void take_events(const char *name)
{
    char *text = text_of(name);
    take_lines("`events.ndjson`", text);
    free(text);
}

static void take_job(const char *name)
{
    char *text = text_of(name);
    for (char *at = text, *end; *at != '\0'; at = end + 1) {
        end = strchr(at, '\n');
        assert_non_null(end);
        *end = '\0';
        at[strcspn(at, ":")] = '\0';
        if (at[0] != ' ') /* an entry of shots */
            note("`job.yaml`", at);
    }
    free(text);
}

static void take_answer(const char *heading, int ranks, int code, const char *const *words)
{
    run_result r = run_longtake(&s, ranks, words);
    if (r.code != code)
        fail_msg("longtake %s: want exit code %d, found %d: %s", words[0], code, r.code, r.err);
    take_lines(heading, r.out);
    run_free(&r);
}

/* The commit records of a run, and the heads of its state files. */
static void take_states(const char *run)
{
    char name[300];
    int records = 0, files = 0;
    DIR *folder = opendir(scratch_path(&s, run));
    assert_non_null(folder);
    for (const struct dirent *e = readdir(folder); e != NULL; e = readdir(folder)) {
        (void)snprintf(name, sizeof name, "%.40s/%.250s", run, e->d_name);
        if (strstr(e->d_name, ".commit") != NULL) {
            take_file("`state`", name);
            records++;
        } else if (strstr(e->d_name, ".lt") != NULL) {
            FILE *f = fopen(scratch_path(&s, name), "rb");
            unsigned char start[16];
            assert_true(f != NULL && fread(start, 1, 16, f) == 16);
            const size_t bytes = (size_t)start[12] | (size_t)start[13] << 8;
            char *text = calloc(1, bytes + 1);
            assert_true(text != NULL && fread(text, 1, bytes, f) == bytes);
            take_lines("`state`", text);
            free(text);
            (void)fclose(f);
            files++;
        }
    }
    (void)closedir(folder);
    assert_true(records > 0 && files > 0);
}

static herr_t note_attribute(hid_t where, const char *name, const H5A_info_t *info, void *ctx)
{
    (void)where;
    (void)info;
    (void)ctx;
    note("`latents.h5`", name);
    return 0;
}

static herr_t note_dataset(hid_t file, const char *name, const H5L_info_t *info, void *ctx)
{
    H5O_info_t object;
    (void)info;
    (void)ctx;
    assert_true(H5Oget_info_by_name(file, name, &object, H5P_DEFAULT) >= 0);
    if (object.type == H5O_TYPE_GROUP) /* its datasets have its name in theirs */
        return 0;
    note("`latents.h5`", name);
    const hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    assert_true(set >= 0);
    assert_true(H5Aiterate2(set, H5_INDEX_NAME, H5_ITER_INC, NULL, note_attribute, NULL) >= 0);
    return H5Dclose(set);
}

static void take_latents(const char *name)
{
    const hid_t file = H5Fopen(scratch_path(&s, name), H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(file >= 0);
    assert_true(H5Lvisit(file, H5_INDEX_NAME, H5_ITER_INC, note_dataset, NULL) >= 0);
    assert_true(H5Aiterate2(file, H5_INDEX_NAME, H5_ITER_INC, NULL, note_attribute, NULL) >= 0);
    assert_true(H5Fclose(file) >= 0);
}

/* The names in RUN, which the drawing of the page must have. */
static void take_names(const char *run)
{
    DIR *folder = opendir(scratch_path(&s, run));
    assert_non_null(folder);
    for (const struct dirent *e = readdir(folder); e != NULL; e = readdir(folder))
        if (e->d_name[0] != '.')
            note("What lies where", e->d_name);
    (void)closedir(folder);
}

static void take_tags(void)
{
    enum { BYTES = LT_TAG_PROMPT_BYTES + 100 };
    char *prompt = calloc(1, BYTES + 1), model[] = "/somewhere/demo";
    lt_film_tags tags;
    assert_non_null(prompt);
    memset(prompt, 'x', BYTES); /* so long that it is cut */
    const lt_plan plan = {.model = model, .prompt = prompt, .steps = 2, .frames = 5};
    assert_int_equal(lt_film_tags_make(&plan, &tags), LT_OK);
    take_lines("`out`, OUT, `--sheet`, `--wav`", tags.comment);
    lt_film_tags_free(&tags);
    free(prompt);
}

/* ---- the runs ---- */

/* What was kept of the model's files, by any render so far. */
static void take_hashes(void)
{
    char command[1400];
    (void)snprintf(command, sizeof command,
                   "cd '%s' && cp \"$(ls -d caches/longtake/*.json | head -n 1)\" hash.json",
                   s.folder);
    assert_int_equal(system(command), 0);
    take_file("File hashes", "hash.json");
}

static void render_with_all_extras(void)
{
    assert_int_equal(setenv("XDG_CACHE_HOME", scratch_path(&s, "caches"), 1), 0);
    take_answer("Answers: `render`, `decode`", 2, 0,
                RUN_WORDS("render", "--model", DEMO, "-p", PROMPT, TINY, "--frames", "39", "--crf",
                          "20", "--preset", "fast", "--deterministic", "--threads", "1", "--trace",
                          "--json", "--preview-every", "1", "--loudness", "-23", "--sheet",
                          scratch_path(&s, "a.png"), "--wav", scratch_path(&s, "a.wav"), "-o",
                          scratch_path(&s, "a.mp4")));
    take_job("a.run/job.yaml");
    take_file("`plan.json`", "a.run/plan.json");
    take_file("`manifest.json`", "a.run/manifest.json");
    take_file("`lease`", "a.run/lease/000001");
    take_file("`trace.json`", "a.run/trace.json");
    take_latents("a.run/latents.h5");
    take_names("a.run");
    take_states("a.run/state");
    take_answer("Answers: `render`, `decode`", 1, 0,
                RUN_WORDS("decode", scratch_path(&s, "a.run"), "-q", "--json", "-o",
                          scratch_path(&s, "b.mkv")));
    take_events("a.run/events.ndjson");
    take_answer("`plan.json`", 1, 0,
                RUN_WORDS("render", "-p", PROMPT, "-q", "--dry-run", "--json", "-o",
                          scratch_path(&s, "d.mp4")));
}

/* What only a clip of several windows has in its job. */
static void render_long_clips(void)
{
    take_answer("Answers: `render`, `decode`", 1, 0,
                RUN_WORDS("render", "-p", PROMPT, TINY, "--frames", "141", "--mode", "windows",
                          "--window", "90", "--overlap", "39", "--fuse", "hann", "--dither",
                          "--owner-cut-steps", "1", "--anchors", "0", "--positions", "global",
                          "--json", "-o", scratch_path(&s, "w.mp4")));
    take_job("w.run/job.yaml");
    take_answer("Answers: `render`, `decode`", 1, 0,
                RUN_WORDS("render", "-p", PROMPT, TINY, "--frames", "243", "--mode", "windows",
                          "--window", "141", "--fuse", "flat", "--rework", "--json", "-o",
                          scratch_path(&s, "again.mp4")));
    take_job("again.run/job.yaml");
    take_file("`manifest.json`", "again.run/manifest.json");
    take_events("again.run/events.ndjson");
    take_file("`plan.json`", "w.run/plan.json");
    take_answer("Answers: `render`, `decode`", 1, 0,
                RUN_WORDS("render", "-p", PROMPT, TINY, "--frames", "39", "--refine-from", "0.5",
                          "--tile", "32x32", "--json", "-o", scratch_path(&s, "r.mp4")));
    take_job("r.run/job.yaml");
    take_file("`plan.json`", "r.run/plan.json");
}

/* To a stand-in for sbatch. */
static void submit_the_storyboard(void)
{
    char path[4096];
    scratch_folder(&s, "bin");
    scratch_text(&s, "bin/sbatch", "#!/bin/sh\necho 7\n");
    assert_int_equal(chmod(scratch_path(&s, "bin/sbatch"), 0755), 0);
    (void)snprintf(path, sizeof path, "%s/bin:%s", s.folder, getenv("PATH"));
    assert_int_equal(setenv("PATH", path, 1), 0);
    for (int dry = 0; dry < 2; dry++)
        take_answer("Answers: `stitch`, `submit`", 1, 0,
                    RUN_WORDS("submit", scratch_path(&s, "two.yaml"), "--array", "-o",
                              scratch_path(&s, "s5.mp4"), "--json", dry ? "--dry-run" : NULL));
}

/* One shot: what further ones have has the same names. */
static void render_a_storyboard(void)
{
    scratch_text(&s, "board.yaml", "shots: [{prompt: " PROMPT ", frames: 22}]\n");
    take_answer("Answers: `render`, `decode`", 1, 0,
                RUN_WORDS("render", scratch_path(&s, "board.yaml"), TINY, "--json", "-o",
                          scratch_path(&s, "s.mp4")));
    take_job("s.run/job.yaml");
    take_file("`plan.json`", "s.run/plan.json");
    take_latents("s.run/latents.h5");
    scratch_text(&s, "two.yaml",
                 "shots: [{prompt: " PROMPT ", frames: 5}, {prompt: " PROMPT ", frames: 5}]\n");
    take_answer("Answers: `render`, `decode`", 1, 0,
                RUN_WORDS("render", scratch_path(&s, "two.yaml"), TINY, "--json", "-o",
                          scratch_path(&s, "s2.mp4")));
    take_events("s2.run/events.ndjson");
    take_answer("Answers: `stitch`, `submit`", 1, 0,
                RUN_WORDS("stitch", scratch_path(&s, "s.run"), scratch_path(&s, "s2.run"), "--run",
                          scratch_path(&s, "s3.run"), "--json"));
    take_job("s3.run/job.yaml");
    take_file("`plan.json`", "s3.run/plan.json");
    take_events("s3.run/events.ndjson");
    take_answer("Answers: `render`, `decode`", 1, 0,
                RUN_WORDS("render", scratch_path(&s, "two.yaml"), "--shot", "2", TINY, "--json",
                          "-o", scratch_path(&s, "s4.mp4")));
    take_job("s4.run/job.yaml");
    submit_the_storyboard();
}

/* One that fails once its latents are there, one that a signal stops. */
static void render_without_a_film(void)
{
    static const char script[] =
        "cd \"$1\"; \"$0\" render -p x --frames 39 --size 64x64 --steps 3000 -q -o stop.mp4 & "
        "while ! ls stop.run/state/*.commit > ls 2>&1; do sleep 0.05; done; kill -TERM $!; wait "
        "$!; "
        "\"$0\" render --resume stop.run -q & "
        "while ! grep -qs '\"event\":\"resume\"' stop.run/events.ndjson; do sleep 0.05; done; "
        "kill -TERM $!; wait $!";
    (void)setenv("LONGTAKE_FAULT", "0:-2:error", 1);
    take_answer("Answers: failures and `--version`", 1, 75,
                RUN_WORDS("render", "-p", PROMPT, TINY, "--seconds", "0.2", "--json", "-o",
                          scratch_path(&s, "c.mp4")));
    (void)unsetenv("LONGTAKE_FAULT");
    take_job("c.run/job.yaml");
    take_events("c.run/events.ndjson");
    const char *const argv[] = {"sh", "-c", script, LT_PROGRAM, s.folder, NULL};
    run_result r = run_argv(&s, argv, RUN_LIMIT_S);
    assert_int_equal(r.code, 75);
    run_free(&r);
    take_events("stop.run/events.ndjson");
    take_answer("Answers: `status`", 1, 0,
                RUN_WORDS("status", "--json", scratch_path(&s, "stop.run")));
}

static void ask_all_verbs(void)
{
    static const char inspect[] = "Answers: `inspect`", bench[] = "Answers: `bench`",
                      probe[] = "Answers: `probe`";
    const char *const paths[] = {scratch_path(&s, "a.run"), scratch_path(&s, "a.run/latents.h5"),
                                 DEMO, DEMO "/vae",
                                 DEMO "/vae/diffusion_pytorch_model.safetensors"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        take_answer(inspect, 1, 0, RUN_WORDS("inspect", paths[i], "--json"));
    take_answer("Answers: `metrics`", 1, 0,
                RUN_WORDS("metrics", scratch_path(&s, "a.run"), "--joins", "17", "--json"));
    take_answer("Answers: `doctor`", 1, 0, RUN_WORDS("doctor", "--json"));
    scratch_text(&s, "t.txt", PROMPT "\n");
    take_answer(probe, 1, 0,
                RUN_WORDS("probe", "tokenize", "--model", DEMO, "--json", "--text-file",
                          scratch_path(&s, "t.txt")));
    take_answer(probe, 1, 0, RUN_WORDS("probe", "sigmas", "--model", DEMO, "--steps", "3"));
    take_answer(bench, 1, 0,
                RUN_WORDS("bench", "comm", "--op", "broadcast", "--bytes", "64", "--json"));
    take_answer(bench, 1, 0, RUN_WORDS("bench", "attention", "--budget", "0.1", "--json"));
    take_answer(bench, 1, 0, RUN_WORDS("bench", "mesh", "--budget", "0.1", "--json"));
    take_answer(bench, 1, 0, RUN_WORDS("bench", "long", "--budget", "0.1", "--json"));
    take_answer("Answers: failures and `--version`", 1, 0, RUN_WORDS("--version", "--json"));
}

static int setup(void **state)
{
    (void)state;
    scratch_new(&s);
    seen = json_object();
    render_with_all_extras();
    render_long_clips();
    render_a_storyboard();
    take_hashes();
    render_without_a_film();
    ask_all_verbs();
    take_tags();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    json_decref(seen);
    scratch_free(&s);
    return 0;
}

/* ---- the page ---- */

/* A section's text without its heading; the caller owns it. NULL: there is none. */
static char *section_of(const char *page, const char *heading)
{
    char line[128];
    (void)snprintf(line, sizeof line, "\n## %s\n", heading);
    const char *begin = strstr(page, line);
    if (begin == NULL)
        return NULL;
    begin += strlen(line);
    const char *end = strstr(begin, "\n## ");
    return end != NULL ? strndup(begin, (size_t)(end - begin)) : strdup(begin);
}

/* In backquotes, or, in the drawing of the folder, as a word of a line. */
static int names(const char *section, const char *heading, const char *key)
{
    char quoted[128];
    if (strcmp(heading, "What lies where") == 0) {
        const char *dot = strncmp(key, "out.", 4) == 0 ? strchr(key, '.') : NULL;
        return strstr(section, dot != NULL ? dot : key) != NULL;
    }
    (void)snprintf(quoted, sizeof quoted, "`%s`", key);
    return strstr(section, quoted) != NULL;
}

static void each_key_is_on_the_page(void **state)
{
    (void)state;
    char *page = run_text(LT_SOURCE_DIR "/docs/run-folder.md");
    const char *heading, *key;
    json_t *keys, *yes;
    int missing = 0;
    assert_non_null(page);
    json_object_foreach (seen, heading, keys) {
        char *section = section_of(page, heading);
        if (section == NULL)
            fail_msg("docs/run-folder.md: no section \"## %s\"", heading);
        json_object_foreach (keys, key, yes)
            if (!names(section, heading, key)) {
                (void)fprintf(stderr, "docs/run-folder.md: \"%s\" does not name `%s`\n", heading,
                              key);
                missing++;
            }
        free(section);
    }
    assert_true(json_object_size(seen) >= 15); /* a run that made nothing must not pass */
    assert_int_equal(missing, 0);
    free(page);
}

/* Of one row of a table: the words in backquotes of its first column. Returns how many are no key.
 */
static int stale_in_row(const char *heading, const char *row, const json_t *keys)
{
    const char *end = row + 1 + strcspn(row + 1, "|\n");
    int stale = 0;
    for (const char *at = strchr(row, '`'); at != NULL && at < end; at = strchr(at + 1, '`')) {
        char key[64];
        const size_t n = strcspn(at + 1, "`");
        (void)snprintf(key, sizeof key, "%.*s", (int)n, at + 1);
        if (json_object_get(keys, key) == NULL) {
            (void)fprintf(stderr, "docs/run-folder.md: \"%s\" names `%s`, which no file has\n",
                          heading, key);
            stale++;
        }
        at += n + 1;
    }
    return stale;
}

static void each_row_of_the_page_is_real(void **state)
{
    (void)state;
    char *page = run_text(LT_SOURCE_DIR "/docs/run-folder.md"), heading[128] = "";
    int stale = 0, rows = 0;
    assert_non_null(page);
    for (const char *at = page; *at != '\0'; at += strcspn(at, "\n"), at += *at == '\n') {
        if (strncmp(at, "## ", 3) == 0)
            (void)snprintf(heading, sizeof heading, "%.*s", (int)strcspn(at + 3, "\n"), at + 3);
        if (at[0] != '|' || strncmp(at, "|---", 4) == 0)
            continue;
        stale += stale_in_row(heading, at, json_object_get(seen, heading));
        rows++;
    }
    assert_true(rows > 100);
    assert_int_equal(stale, 0);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_is_on_the_page),
        cmocka_unit_test(each_row_of_the_page_is_real),
    };
    return cmocka_run_group_tests_name("run_page", tests, setup, teardown);
}
