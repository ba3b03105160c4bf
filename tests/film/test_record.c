/* test_record.c - what a film and its run folder tell of how they were made.
 * Goal: the same job gives the same bytes of the film on any number of threads; tags, events and
 * manifest tell how it was made and how it ended; an encoder that cannot take a size is asked
 * before work and answered in words. Method: runs the program, reads its files. Ranks: 1, once 2.
 * Needs: tests/parity/nano, models/demo, an FFmpeg with the encoders. */
#include <jansson.h>
#include <xxhash.h>

#include "media/mux.h"
#include "run/film_tags.h"
#include "tests/support/film.h"
#include "tests/support/spoil.h"
#include "tests/support/the_scratch.h"

#define NANO   LT_SOURCE_DIR "/tests/parity/nano"
#define SHARD  "transformer/diffusion_pytorch_model-00001-of-00003.safetensors"
#define TENSOR "proj_in.weight"
#define PROMPT "A red ball bounces on a wooden floor."

static int has_codec(const char *name)
{
    lt_mux_codec rows[16];
    const size_t count = lt_mux_codecs(rows, 16);
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].available;
    return 0;
}

static void same_bytes(const char *what, const char *a, const char *b)
{
    const char *const cmp[] = {"cmp", a, b, NULL};
    run_result r = run_argv(&s, cmp, RUN_LIMIT_S);
    if (r.code != 0)
        fail_msg("%s: want the same bytes: %s%s", what, r.out, r.err);
    run_free(&r);
}

/* ---- the build ---- */

static void version_tells_the_build(void **state)
{
    (void)state;
    run_result r = run_longtake(&s, 1, RUN_WORDS("--version"));
    assert_int_equal(r.code, 0);
    if (strncmp(r.out, "longtake " LT_VERSION, strlen("longtake " LT_VERSION)) != 0 ||
        strchr(r.out, '\n') != r.out + strlen(r.out) - 1)
        fail_msg("--version: want one line with name and version, found %s", r.out);
    run_free(&r);
    r = run_longtake(&s, 1, RUN_WORDS("--version", "-v"));
    static const char *const told[] = {"compiler", "FFmpeg", "HDF5", "zstd", "MPI", "oneDNN"};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (strstr(r.out, told[i]) == NULL)
            fail_msg("--version -v: want %s, found %s", told[i], r.out);
    run_free(&r);
    r = run_longtake(&s, 1, RUN_WORDS("--version", "--json"));
    json_t *facts = json_loads(r.out, 0, NULL);
    assert_true(json_is_string(json_object_get(facts, "compiler")));
    assert_true(json_object_size(json_object_get(facts, "libraries")) >= 5);
    assert_non_null(json_object_get(facts, "commit")); /* null where there is no git to ask */
    json_decref(facts);
    run_free(&r);
    r = run_longtake(&s, 1, RUN_WORDS("--version", "--jsno"));
    assert_int_equal(r.code, 64);
    run_free(&r);
}

/* ---- bytes of the film ---- */

static const struct {
    const char *codec, *suffix, *why;
} encoders[] = {
    {"h264", "mp4", "x264's stream names its threads"},
    {"hevc", "mp4", "x265's stream names its pools"},
    {"av1", "mp4", "SVT-AV1 has threads of its own"},
    {"h264", "mkv", "FFmpeg's MKV has a random identifier"},
    {"ffv1", "mkv", "the same, and slices"},
    {"prores", "mov", "slices over threads"},
};

/* Rendered with one thread, decoded again with one, two and three. */
static void bytes_do_not_follow_threads(void **state)
{
    (void)state;
    static const char *const threads[] = {"1", "2", "3"};
    char run[160], out[3][160];
    (void)snprintf(run, sizeof run, "%s/threads.run", s.folder);
    run_well(&s, 1,
             RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--size", "96x96", "--frames", "22",
                       "--steps", "2", "--deterministic", "--threads", "1", "-q", "--run", run,
                       "-o", scratch_path(&s, "threads.mp4")));
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++) {
        if (!has_codec(encoders[i].codec))
            continue;
        for (int t = 0; t < 3; t++) {
            (void)snprintf(out[t], sizeof out[t], "%s/%s.%d.%s", s.folder, encoders[i].codec, t,
                           encoders[i].suffix);
            run_well(&s, 1,
                     RUN_WORDS("decode", run, "--codec", encoders[i].codec, "--threads", threads[t],
                               "-q", "-o", out[t]));
        }
        same_bytes(encoders[i].why, out[0], out[1]);
        same_bytes(encoders[i].why, out[0], out[2]);
        if (i == 0)
            same_bytes("render and decode", out[0], scratch_path(&s, "threads.mp4"));
    }
}

/* ---- tags ---- */

/* What a player reads; the caller frees. */
static char *tag_of(const char *path, const char *key)
{
    AVFormatContext *file = NULL;
    assert_true(avformat_open_input(&file, path, NULL, NULL) >= 0);
    const AVDictionaryEntry *e = av_dict_get(file->metadata, key, NULL, 0); /* MKV: COMMENT */
    char *text = e != NULL ? strdup(e->value) : NULL;
    avformat_close_input(&file);
    return text;
}

static void want_comment(const char *what, const char *text, const char *prompt)
{
    json_t *facts = text != NULL ? json_loads(text, 0, NULL) : NULL;
    const char *found = json_string_value(json_object_get(facts, "prompt"));
    if (found == NULL || strcmp(found, prompt) != 0 ||
        json_integer_value(json_object_get(facts, "seed")) != 7 ||
        strcmp(json_string_value(json_object_get(facts, "model")), "nano") != 0 ||
        json_integer_value(json_object_get(facts, "steps")) != 2 ||
        !json_is_string(json_object_get(facts, "software")))
        fail_msg("%s: want a comment with prompt, seed 7, nano, 2 steps, found %s", what,
                 text != NULL ? text : "none");
    json_decref(facts);
}

static void films_tell_how_they_were_made(void **state)
{
    (void)state;
    static const char *const files[] = {"tags.mp4", "tags.mkv", "tags.mov"};
    static const char prompt[] = "A red\tball\033[31m, \302\205 ein Ball, der \303\274ber den Boden"
                                 " h\303\274pft.";
    char run[160], plain[160];
    (void)snprintf(run, sizeof run, "%s/tags.run", s.folder);
    (void)snprintf(plain, sizeof plain, "%s/plain.mp4", s.folder);
    run_well(&s, 1,
             RUN_WORDS("render", "--model", NANO "/", "-p", prompt, "--frames", "5", "--size",
                       "64x64", "--steps", "2", "--seed", "7", "-q", "-o",
                       scratch_path(&s, files[0])));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = scratch_path(&s, files[i]);
        if (i > 0)
            run_well(&s, 1, RUN_WORDS("decode", run, "-q", "-o", path));
        char *title = tag_of(path, "title"), *comment = tag_of(path, "comment");
        if (title == NULL ||
            strcmp(title, "A red ball [31m, ein Ball, der \303\274ber den Boden h\303\274pft."))
            fail_msg("%s: want the prompt as title, found %s", files[i],
                     title != NULL ? title : "none");
        want_comment(files[i], comment, prompt);
        for (const char *c = comment; *c != '\0'; c++)
            assert_true((unsigned char)*c >= 0x20 && *c != 0x7f && strncmp(c, "\302\205", 2) != 0);
        assert_null(tag_of(path, "creation_time"));
        free(title);
        free(comment);
    }
    run_well(&s, 1, RUN_WORDS("decode", run, "--no-tags", "-q", "-o", plain));
    assert_null(tag_of(plain, "title"));
    assert_null(tag_of(plain, "comment"));
}

static void long_prompts_are_cut_in_tags(void **state)
{
    (void)state;
    enum { REPEATS = 3000 };
    char *prompt = calloc(REPEATS, 8), model[] = "/somewhere/nano//";
    lt_film_tags tags;
    assert_non_null(prompt);
    for (int i = 0; i < REPEATS; i++)
        memcpy(prompt + strlen(prompt), "\303\274b\033er ", 7); /* 7 bytes, one in two characters */
    const lt_plan plan = {.model = model, .prompt = prompt, .seed = 7, .steps = 2, .frames = 5};
    assert_int_equal(lt_film_tags_make(&plan, &tags), LT_OK);
    assert_true(strlen(tags.title) < 4 * 80 && strstr(tags.title, "…") != NULL);
    assert_true(strlen(tags.comment) < 32768);
    json_t *facts = json_loads(tags.comment, 0, NULL);
    const char *kept = json_string_value(json_object_get(facts, "prompt"));
    assert_true(kept != NULL && strlen(kept) <= LT_TAG_PROMPT_BYTES &&
                strlen(kept) > LT_TAG_PROMPT_BYTES - 4);
    assert_memory_equal(kept, prompt, strlen(kept));
    assert_int_equal(json_integer_value(json_object_get(facts, "prompt_bytes")),
                     (int64_t)strlen(prompt));
    assert_string_equal(json_string_value(json_object_get(facts, "model")), "nano");
    json_decref(facts);
    lt_film_tags_free(&tags);
    free(prompt);
}

/* ---- events ---- */

/* Events of a run as an array; each line must have its time and seconds. */
static json_t *events_of(const char *run)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/events.ndjson", run);
    char *text = run_text(path);
    if (text == NULL)
        fail_msg("%s: not there", path);
    json_t *all = json_array();
    for (char *at = text, *end; *at != '\0'; at = end + 1) {
        end = strchr(at, '\n');
        assert_non_null(end);
        json_t *line = json_loadb(at, (size_t)(end - at), 0, NULL);
        const char *when = json_string_value(json_object_get(line, "time"));
        if (when == NULL || strlen(when) != 24 || when[10] != 'T' || when[23] != 'Z' ||
            !json_is_number(json_object_get(line, "seconds")))
            fail_msg("%s: want time and seconds in each line, found %.*s", path, (int)(end - at),
                     at);
        assert_int_equal(json_array_append_new(all, line), 0);
    }
    free(text);
    return all;
}

static const char *event_text(const json_t *events, size_t i, const char *key)
{
    const char *text = json_string_value(json_object_get(json_array_get(events, i), key));
    return text != NULL ? text : "";
}

/* The last event is of this name, has the line that people were told, and its code. */
static void want_last(const char *run, const char *event, const run_result *r)
{
    json_t *events = events_of(run);
    const size_t last = json_array_size(events) - 1;
    const char *text = event_text(events, last, "text");
    const json_t *code = json_object_get(json_array_get(events, last), "exit_code");
    assert_string_equal(event_text(events, 0, "event"), "start");
    if (strcmp(event_text(events, last, "event"), event) != 0 || text[0] == '\0' ||
        strstr(r->err, text) == NULL || json_integer_value(code) != r->code)
        fail_msg("%s: want a last event %s with code %d and the line of: %s\nfound %s, \"%s\", %d",
                 run, event, r->code, r->err, event_text(events, last, "event"), text,
                 (int)json_integer_value(code));
    json_decref(events);
}

static void failures_are_events(void **state)
{
    (void)state;
    char model[160], weights[300], run[160];
    (void)snprintf(model, sizeof model, "%s/model", s.folder);
    (void)snprintf(run, sizeof run, "%s/failed.run", s.folder);
    (void)snprintf(weights, sizeof weights, "%s/" SHARD, model);
    spoil_copy(NANO, model);
    shard_poke(weights, TENSOR, 5, NAN); /* seen when the part is loaded, so after RUN was made */
    run_result r = run_longtake(&s, 1,
                                RUN_WORDS("render", "--model", model, "-p", PROMPT, "--frames", "5",
                                          "--size", "64x64", "--steps", "2", "-q", "-o",
                                          scratch_path(&s, "failed.mp4")));
    assert_int_equal(r.code, 65);
    want_last(run, "error", &r);
    run_free(&r);
}

static void stops_are_events(void **state)
{
    (void)state;
    static const char script[] =
        "cd \"$1\"; \"$0\" render --model \"$2\" -p x --frames 39 --size 64x64 --steps 3000 -q "
        "-o stop.mp4 & while ! grep -qs '\"stage\":\"denoise\",\"done\"' stop.run/events.ndjson; "
        "do "
        "sleep 0.05; done; kill -TERM $!; wait $!";
    const char *const argv[] = {"sh", "-c", script, LT_PROGRAM, s.folder, NANO, NULL};
    char run[160];
    (void)snprintf(run, sizeof run, "%s/stop.run", s.folder);
    run_tell_sanitizers(1);
    run_result r = run_argv(&s, argv, RUN_LIMIT_S);
    assert_int_equal(r.code, 75);
    want_last(run, "stop", &r);
    run_free(&r);
}

static void warnings_are_events_and_decode_has_its_own(void **state)
{
    (void)state;
    char run[160];
    (void)snprintf(run, sizeof run, "%s/told.run", s.folder);
    run_well(&s, 1,
             RUN_WORDS("render", "-p", "A zebra.", "--frames", "5", "--size", "64x64", "--steps",
                       "2", "-q", "-o", scratch_path(&s, "told.mp4")));
    json_t *events = events_of(run);
    const size_t count = json_array_size(events);
    size_t warned = 0; /* of the size, and of the word; --quiet hides them from people alone */
    for (size_t i = 0; i < count; i++)
        warned += strcmp(event_text(events, i, "event"), "warning") == 0;
    assert_true(warned >= 2);
    assert_string_equal(event_text(events, count - 1, "event"), "end");
    json_decref(events);
    run_well(&s, 1, RUN_WORDS("decode", run, "-q", "-o", scratch_path(&s, "told.mov")));
    events = events_of(run);
    assert_true(json_array_size(events) > count);
    assert_string_equal(event_text(events, count, "event"), "start");
    assert_string_equal(event_text(events, count, "verb"), "decode");
    assert_string_equal(event_text(events, json_array_size(events) - 1, "event"), "end");
    json_decref(events);
}

/* A decode writes nothing into what may be a stranger's. */
/* And only there: a run's own epochs say how often it was begun. */
static void slurms_job_is_in_the_first_event(void **state)
{
    (void)state;
    static const struct {
        const char *restarts;
        json_int_t told; /* -1: outside of Slurm */
    } rows[] = {{"3", 3}, {NULL, 0}, {NULL, -1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].restarts != NULL)
            (void)setenv("SLURM_RESTART_COUNT", rows[i].restarts, 1);
        if (rows[i].told >= 0) {
            (void)setenv("SLURM_JOB_ID", "42", 1);
            (void)setenv("SLURM_JOB_NODELIST", "n[1-2]", 1);
        }
        run_well(&s, 1,
                 RUN_WORDS("render", "-p", PROMPT, "--frames", "5", "--size", "64x64", "--steps",
                           "2", "-q", "--overwrite", "-o", scratch_path(&s, "job.mp4")));
        (void)unsetenv("SLURM_RESTART_COUNT");
        (void)unsetenv("SLURM_JOB_ID");
        (void)unsetenv("SLURM_JOB_NODELIST");
        json_t *events = events_of(scratch_path(&s, "job.run"));
        const json_t *job = json_object_get(json_array_get(events, 0), "slurm");
        if (rows[i].told < 0) {
            assert_null(job);
        } else {
            assert_string_equal(json_string_value(json_object_get(job, "job_id")), "42");
            assert_string_equal(json_string_value(json_object_get(job, "nodes")), "n[1-2]");
            assert_int_equal(json_integer_value(json_object_get(job, "restarts")), rows[i].told);
        }
        json_decref(events);
    }
}

static void decode_appends_to_its_own_alone(void **state)
{
    (void)state; /* the run is the last test's */
    char run[160], events[200], other[200], script[900];
    (void)snprintf(run, sizeof run, "%s/told.run", s.folder);
    (void)snprintf(events, sizeof events, "%s/events.ndjson", run);
    (void)snprintf(other, sizeof other, "%s/other", s.folder);
    static const char *const plants[] = {"ln -s \"$2\" \"$1\"", "ln \"$2\" \"$1\"", "mkfifo \"$1\"",
                                         "mkdir \"$1\"", "touch \"$1\"; chmod o+w \"${1%/*}\""};
    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++) {
        (void)snprintf(script, sizeof script,
                       "echo kept > \"$2\"; rm -rf \"$1\"; %s; \"$0\" decode \"${1%%/*}\" -q "
                       "--overwrite -o \"$2.mp4\" || exit 1; [ \"$(cat \"$2\")\" = kept ] && "
                       "[ ! -s \"$1\" -o ! -f \"$1\" -o \"$1\" -ef \"$2\" ]",
                       plants[i]);
        const char *const argv[] = {"sh", "-c", script, LT_PROGRAM, events, other, NULL};
        run_result r = run_argv(&s, argv, RUN_LIMIT_S);
        if (r.code != 0)
            fail_msg("%s: want a decode that leaves it alone: %s", plants[i], r.err);
        run_free(&r);
    }
}

/* ---- the manifest ---- */

static void want_file(const json_t *facts, const char *path)
{
    struct stat info;
    char hash[24];
    char *text = run_text(path);
    assert_non_null(text);
    assert_int_equal(stat(path, &info), 0);
    (void)snprintf(hash, sizeof hash, "%016llx",
                   (unsigned long long)XXH64(text, (size_t)info.st_size, 0));
    if (facts == NULL || json_integer_value(json_object_get(facts, "bytes")) != info.st_size ||
        strcmp(json_string_value(json_object_get(facts, "xxh64")), hash) != 0)
        fail_msg("%s: the manifest has other facts of it, or none", path);
    free(text);
}

static void manifest_names_what_was_used(void **state)
{
    (void)state;
    char path[200];
    run_well(&s, 2,
             RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--frames", "5", "--size", "64x64",
                       "--steps", "2", "--threads", "1", "-q", "--sheet",
                       scratch_path(&s, "used.png"), "--wav", scratch_path(&s, "used.wav"), "-o",
                       scratch_path(&s, "used.mp4")));
    (void)snprintf(path, sizeof path, "%s/used.run/manifest.json", s.folder);
    json_t *m = json_load_file(path, 0, NULL);
    static const char *const texts[] = {"date",  "finished",  "compiler",
                                        "dtype", "transport", "isa"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!json_is_string(json_object_get(m, texts[i])))
            fail_msg("manifest: want a text for %s", texts[i]);
    static const char *const libraries[] = {"FFmpeg", "HDF5", "zstd", "MPI", "oneDNN"};
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++)
        if (!json_is_string(json_object_get(json_object_get(m, "libraries"), libraries[i])))
            fail_msg("manifest: want the version of %s", libraries[i]);
    assert_int_equal(json_array_size(json_object_get(m, "hosts")), 2);
    assert_int_equal(json_integer_value(json_object_get(m, "threads")), 1);
    assert_non_null(json_object_get(m, "commit"));
    want_file(json_object_get(m, "output"), scratch_path(&s, "used.mp4"));
    want_file(json_object_get(m, "sheet"), scratch_path(&s, "used.png"));
    want_file(json_object_get(m, "wav"), scratch_path(&s, "used.wav"));
    json_decref(m);
}

/* The model's hash is made while a run denoises; once it is known manifest and latents.h5 have it,
 * and no start makes it again. A film that takes no time may end before. */
static void the_model_has_a_hash(void **state)
{
    (void)state;
    enum { STARTS = 8 };
    char path[200], hash[24] = "";
    assert_int_equal(setenv("XDG_CACHE_HOME", scratch_path(&s, "caches"), 1), 0);
    for (int i = 0; i < STARTS && hash[0] == '\0'; i++) {
        run_well(&s, 1,
                 RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--frames", "5", "--size",
                           "64x64", "--steps", "40", "--overwrite", "-q", "-o",
                           scratch_path(&s, "hashed.mp4")));
        lt_latents *store = NULL;
        (void)snprintf(path, sizeof path, "%s/hashed.run/latents.h5", s.folder);
        assert_int_equal(lt_latents_open(path, 0, &store), LT_OK);
        const json_t *all = lt_latents_attributes(store);
        assert_int_equal(strlen(json_string_value(json_object_get(all, "model_head_xxh64"))), 16);
        const char *found = json_string_value(json_object_get(all, "model_xxh64"));
        (void)snprintf(hash, sizeof hash, "%s", found != NULL ? found : "");
        lt_latents_close(&store);
    }
    assert_int_equal(strlen(hash), 16);
    (void)snprintf(path, sizeof path, "%s/hashed.run/manifest.json", s.folder);
    json_t *m = json_load_file(path, 0, NULL), *facts = NULL;
    const char *name = NULL;
    assert_string_equal(json_string_value(json_object_get(m, "model_xxh64")), hash);
    json_object_foreach (json_object_get(m, "model_files"), name, facts)
        assert_int_equal(strlen(json_string_value(json_object_get(facts, "whole_xxh64"))), 16);
    json_decref(m);
    assert_int_equal(unsetenv("XDG_CACHE_HOME"), 0);
}

/* ---- sizes that an encoder refuses ---- */

static const struct {
    const char *codec, *size, *says;
} refused[] = {
    {"av1", "32x32", "libsvtav1 wants 64x64 or more, found --size 32x32"},
    {"av1", "96x32", "libsvtav1 wants 96x64 or more, found --size 96x32"},
    {"h264", "16384x16384", "libx264 wants a smaller picture, such as 8192x8192, found --size"},
};

static void sizes_are_asked_of_the_encoder(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (!has_codec(refused[i].codec))
            continue;
        run_result r =
            run_longtake(&s, 1,
                         RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--frames", "1",
                                   "--steps", "2", "--size", refused[i].size, "--codec",
                                   refused[i].codec, "-q", "-o", scratch_path(&s, "refused.mp4")));
        if (r.code != 64 || strstr(r.err, refused[i].says) == NULL ||
            strstr(r.err, "hint: another --codec, or --size") == NULL)
            fail_msg("%s %s: want 64, \"%s\" and a hint, found %d: %s", refused[i].codec,
                     refused[i].size, refused[i].says, r.code, r.err);
        run_free(&r);
        assert_false(run_exists(scratch_path(&s, "refused.run")));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_tells_the_build),
        cmocka_unit_test(bytes_do_not_follow_threads),
        cmocka_unit_test(films_tell_how_they_were_made),
        cmocka_unit_test(long_prompts_are_cut_in_tags),
        cmocka_unit_test(failures_are_events),
        cmocka_unit_test(stops_are_events),
        cmocka_unit_test(warnings_are_events_and_decode_has_its_own),
        cmocka_unit_test(slurms_job_is_in_the_first_event),
        cmocka_unit_test(decode_appends_to_its_own_alone),
        cmocka_unit_test(manifest_names_what_was_used),
        cmocka_unit_test(the_model_has_a_hash),
        cmocka_unit_test(sizes_are_asked_of_the_encoder),
    };
    return cmocka_run_group_tests_name("record", tests, scratch_setup, scratch_teardown);
}
