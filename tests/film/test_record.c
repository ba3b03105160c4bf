/* test_record.c - what a film and its run folder tell of how they were made.
 * Goal: the same job gives the same bytes of the film on any number of threads; an encoder that
 * cannot take a size is asked before work and answered in words. Method: runs the program, compares
 * files. Ranks: 1. Needs: tests/parity/nano, an FFmpeg with the encoders. */
#include <jansson.h>

#include "media/mux.h"
#include "run/film_tags.h"
#include "tests/film/film.h"

#define NANO   LT_SOURCE_DIR "/tests/parity/nano"
#define PROMPT "A red ball bounces on a wooden floor."

static scratch s;

static int setup(void **state)
{
    (void)state;
    scratch_new(&s);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_free(&s);
    return 0;
}

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
        cmocka_unit_test(sizes_are_asked_of_the_encoder),
    };
    return cmocka_run_group_tests_name("record", tests, setup, teardown);
}
