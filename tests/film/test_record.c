/* test_record.c - what a film and its run folder tell of how they were made.
 * Goal: the same job gives the same bytes of the film on any number of threads; an encoder that
 * cannot take a size is asked before work and answered in words. Method: runs the program, compares
 * files. Ranks: 1. Needs: tests/parity/nano, an FFmpeg with the encoders. */
#include <jansson.h>

#include "media/mux.h"
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
    if (run_exists(LT_SOURCE_DIR "/.git")) /* else there is no commit to tell */
        assert_true(json_is_string(json_object_get(facts, "commit")));
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
        cmocka_unit_test(sizes_are_asked_of_the_encoder),
    };
    return cmocka_run_group_tests_name("record", tests, setup, teardown);
}
