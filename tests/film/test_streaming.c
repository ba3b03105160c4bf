/* test_streaming.c - films that are decoded while they are denoised.
 * Goal: frames and samples are those of decoding the same latents afterwards, bit for bit, on any
 * number of ranks, whether all ranks decode in turn or those that have no part in the denoising do;
 * most of the film is in its file before the last step, and plays; a storyboard's shots come out
 * one by one; the plan says what and why; a rank that fails on either side ends the job soon;
 * `decode` needs RUN on rank 0 alone. Method: renders with lossless codecs and decodes the run
 * again; kills a render near its end and plays what it left; starts ranks in folders of their own.
 * Ranks: 1 to 3, oversubscribed. Needs: mpirun, models/demo. */
#include <jansson.h>
#include <sys/stat.h>

#include "tests/support/film.h"
#include "tests/support/the_scratch.h"

#define DEMO LT_SOURCE_DIR "/models/demo"
#define FILM                                                                                       \
    "--model", DEMO, "-p", "A ball bounces.", "--size", "64x64", "--frames", "243", "--steps",     \
        "3", "--mode", "extend", "--threads", "1", "-q"
#define LONG FILM, "--codec", "ffv1"
enum { FRAMES = 243, EARLY = 119 /* frames that a film of four chunks has before its last one */ };

static json_t *plan_of(const char *run)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s/plan.json", s.folder, run);
    json_t *plan = json_load_file(path, 0, NULL);
    assert_non_null(plan);
    return plan;
}

static void plan_says(const char *run, const char *decoding, const char *why)
{
    json_t *plan = plan_of(run);
    assert_string_equal(json_string_value(json_object_get(plan, "decoding")), decoding);
    const char *found = json_string_value(json_object_get(plan, "decoding_why"));
    if (found == NULL || strstr(found, why) == NULL)
        fail_msg("decoding_why: want '%s', found '%s'", why, found);
    json_decref(plan);
}

/* FNV-1a over all planes of all frames, which FFV1 keeps in 16 bit. */
static void hash_frame(void *user, int64_t index, const AVFrame *f)
{
    (void)index;
    uint64_t *hash = user;
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < f->height; y++)
            for (int x = 0; x < 2 * f->width; x++)
                *hash = (*hash ^ f->data[plane][y * f->linesize[plane] + x]) * 1099511628211u;
}

static film read_film(const char *name, uint64_t *hash)
{
    *hash = 14695981039346656037u;
    film f = {.look = hash_frame, .user = hash};
    film_read(scratch_path(&s, name), &f);
    return f;
}

/* The film, and the film of its run's latents. */
static void same_as_afterwards(const char *what, const char *name, const char *run, int64_t frames)
{
    uint64_t beside = 0, after = 0;
    run_well(&s, 1,
             RUN_WORDS("decode", scratch_path(&s, run), "--codec", "ffv1", "--threads", "1", "-q",
                       "--overwrite", "-o", scratch_path(&s, "again.mkv")));
    film a = read_film(name, &beside), b = read_film("again.mkv", &after);
    assert_int_equal(a.frames, frames);
    assert_int_equal(b.frames, frames);
    assert_int_equal(a.samples, b.samples);
    assert_true(a.samples > 0);
    if (beside != after)
        fail_msg("%s: want the pixels of decoding afterwards", what);
    if (memcmp(a.pcm, b.pcm, (size_t)a.samples * sizeof *a.pcm) != 0)
        fail_msg("%s: want the sound of decoding afterwards", what);
    film_free(&a);
    film_free(&b);
}

/* Frames that were in the file when the denoising ended. */
static int64_t frames_early(const char *run)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s/events.ndjson", s.folder, run);
    FILE *f = fopen(path, "r");
    char line[4096];
    int64_t frames = 0;
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        json_t *event = json_loads(line, 0, NULL);
        const char *kind = json_string_value(json_object_get(event, "event"));
        const char *stage = json_string_value(json_object_get(event, "stage"));
        const int is_end = strcmp(kind, "stage-end") == 0 && strcmp(stage, "denoise") == 0;
        if (strcmp(kind, "decoded") == 0)
            frames = json_integer_value(json_object_get(event, "frames"));
        json_decref(event);
        if (is_end)
            break;
    }
    (void)fclose(f);
    return frames;
}

static const struct {
    int ranks;
    const char *mesh, *how;
} cases[] = {
    {1, "auto", "one rank, in turn"},
    {2, "win=2", "the other rank decodes"},
    {2, "uly=2", "both in turn"},
    {3, "win=3", "two others decode"},
};

static void decoded_beside_is_decoded_after(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_well(&s, cases[i].ranks,
                 RUN_WORDS("render", LONG, "--mesh", cases[i].mesh, "--overwrite", "-o",
                           scratch_path(&s, "film.mkv")));
        plan_says("film.run", "beside", "fit together");
        same_as_afterwards(cases[i].how, "film.mkv", "film.run", FRAMES);
        if (frames_early("film.run") < EARLY)
            fail_msg("%s: want %d frames before the last step, found %lld", cases[i].how, EARLY,
                     (long long)frames_early("film.run"));
    }
}

/* What is left by a render that is killed in its last chunk, of four of two steps. An encoder holds
 * frames back: h264 the most. */
static void plays_while_it_grows(void **state)
{
    (void)state;
    static const struct {
        const char *suffix, *codec;
        int64_t frames;
    } kinds[] = {{"mkv", "ffv1", 51}, {"mov", "prores", 51}, {"mp4", "h264", 24}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char name[32], path[64];
        film f = {0};
        (void)snprintf(name, sizeof name, "killed-%zu.%s", i, kinds[i].suffix);
        (void)snprintf(path, sizeof path, "killed-%zu.run/out.%s", i, kinds[i].suffix);
        (void)setenv("LONGTAKE_FAULT", "0:8:kill", 1);
        run_result r = run_longtake(
            &s, 1,
            RUN_WORDS("render", FILM, "--codec", kinds[i].codec, "-o", scratch_path(&s, name)));
        (void)unsetenv("LONGTAKE_FAULT");
        assert_int_equal(r.code, 128 + SIGKILL);
        run_free(&r);
        film_read(scratch_path(&s, path), &f);
        if (f.frames < kinds[i].frames)
            fail_msg("%s: want a film of %lld frames or more, found %lld", kinds[i].suffix,
                     (long long)kinds[i].frames, (long long)f.frames);
        assert_true(f.samples > 0);
        film_free(&f);
    }
}

static void shots_come_out_one_by_one(void **state)
{
    (void)state;
    scratch_text(&s, "board.yaml",
                 "shots:\n"
                 "  - {frames: 141, prompt: A red ball.}\n"
                 "  - {frames: 39, prompt: A blue ball.}\n"
                 "  - {frames: 130, prompt: A glass ball.}\n");
    run_well(&s, 2,
             RUN_WORDS("render", scratch_path(&s, "board.yaml"), "--model", DEMO, "--size", "64x64",
                       "--steps", "3", "--mode", "extend", "--codec", "ffv1", "--mesh", "win=2",
                       "-q", "-o", scratch_path(&s, "board.mkv")));
    plan_says("board.run", "beside", "fit together");
    same_as_afterwards("a storyboard", "board.mkv", "board.run", 310);
    if (frames_early("board.run") < 180) /* the first two shots */
        fail_msg("want 180 frames before the last step, found %lld",
                 (long long)frames_early("board.run"));
}

static void after_where_nothing_is_early(void **state)
{
    (void)state;
    run_well(&s, 1,
             RUN_WORDS("render", LONG, "--decoding", "after", "-o", scratch_path(&s, "after.mkv")));
    plan_says("after.run", "after", "as asked");
    assert_int_equal(frames_early("after.run"), 0);
    run_well(&s, 1,
             RUN_WORDS("render", LONG, "--mode", "single", "--frames", "22", "-o",
                       scratch_path(&s, "whole.mkv")));
    plan_says("whole.run", "after", "all at once");
}

/* Faults in a rank that denoises, and in one that decodes meanwhile. */
static void a_failed_rank_ends_the_job(void **state)
{
    (void)state;
    static const char *const faults[] = {"0:6:error", "1:-4:error"};
    for (size_t i = 0; i < 2; i++) {
        (void)setenv("LONGTAKE_FAULT", faults[i], 1);
        run_result r = run_longtake(&s, 2,
                                    RUN_WORDS("render", LONG, "--mesh", "win=2", "--overwrite",
                                              "-o", scratch_path(&s, "failed.mkv")));
        (void)unsetenv("LONGTAKE_FAULT");
        if (r.code != 75 || strstr(r.err, "a fault that LONGTAKE_FAULT asked for") == NULL)
            fail_msg("%s: want exit code 75, found %d: %s", faults[i], r.code, r.err);
        if (r.seconds > 60)
            fail_msg("%s: took %.0f s", faults[i], r.seconds);
        run_free(&r);
        assert_int_equal(access(scratch_path(&s, "failed.mkv"), F_OK), -1);
    }
}

/* RUN by a relative name, which only rank 0's folder has. */
static void only_rank_0_needs_run(void **state)
{
    (void)state;
    uint64_t one = 0, two = 0;
    char elsewhere[512];
    (void)snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", s.folder);
    assert_int_equal(mkdir(elsewhere, 0700), 0);
    run_well(&s, 1,
             RUN_WORDS("render", LONG, "--frames", "90", "--mode", "single", "-o",
                       scratch_path(&s, "here.mkv")));
    run_tell_sanitizers(2);
    run_tell_mpirun();
    const char *const argv[] = {"mpirun",    "--oversubscribe",
                                "--bind-to", "none",
                                "-n",        "1",
                                "-wdir",     s.folder,
                                LT_PROGRAM,  "decode",
                                "here.run",  "--codec",
                                "ffv1",      "-q",
                                "-o",        "two.mkv",
                                ":",         "-n",
                                "1",         "-wdir",
                                elsewhere,   LT_PROGRAM,
                                "decode",    "here.run",
                                "--codec",   "ffv1",
                                "-q",        "-o",
                                "two.mkv",   NULL};
    run_result r = run_argv(&s, argv, RUN_LIMIT_S);
    if (r.code != 0)
        fail_msg("exit code %d: %s", r.code, r.err);
    run_free(&r);
    film a = read_film("here.mkv", &one), b = read_film("two.mkv", &two);
    assert_int_equal(b.frames, 90);
    assert_true(one == two);
    assert_int_equal(a.samples, b.samples);
    assert_memory_equal(a.pcm, b.pcm, (size_t)a.samples * sizeof *a.pcm);
    film_free(&a);
    film_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(decoded_beside_is_decoded_after),
                                       cmocka_unit_test(plays_while_it_grows),
                                       cmocka_unit_test(shots_come_out_one_by_one),
                                       cmocka_unit_test(after_where_nothing_is_early),
                                       cmocka_unit_test(a_failed_rank_ends_the_job),
                                       cmocka_unit_test(only_rank_0_needs_run)};
    return cmocka_run_group_tests_name("streaming", tests, scratch_setup, scratch_teardown);
}
