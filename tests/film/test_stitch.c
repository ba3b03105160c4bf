/* test_stitch.c - single shots of a storyboard, and films put together of them.
 * Goal: `render --shot N` makes of a shot what the whole film has of it, also where windows,
 * anchors and blends are the film's; `stitch` makes of these runs the run of the whole film, bit
 * for bit, of which `decode` makes the same film; runs without a storyboard are shots too; what
 * does not fit together is refused by run, key, wanted and found, and leaves nothing. Method: runs
 * the program, lossless codecs, --deterministic. Ranks: 1 and 2. Needs: models/demo, mpirun. */
#include <jansson.h>

#include "tests/support/film.h"
#include "tests/support/the_scratch.h"

#define BALL  "A red ball drops and bounces on a wooden floor."
#define GLASS "A blue glass ball drops on a stone floor under a sunny sky."
#define ROLL  "A green ball rolls."
#define TINY                                                                                       \
    "--size", "64x64", "--steps", "2", "--codec", "ffv1", "--deterministic", "-q", "--anchors",    \
        "0,100"

enum { SHOTS = 3 };

/* The second is cut into windows and blended, so the film's mode is windows; the anchor at 100 is
 * behind the end of the others. */
static const char board[] = "seed: 5\n"
                            "window: 90\n"
                            "overlap: 39\n"
                            "shots:\n"
                            "  - {prompt: " BALL ", frames: 31}\n"
                            "  - {prompt: " GLASS ", frames: 70, seed: 77}\n"
                            "  - {prompt: " ROLL ", frames: 71, transition: blend}\n"
                            "  - {prompt: " ROLL ", seconds: 1}\n";

static int setup(void **state)
{
    if (scratch_setup(state) != 0)
        return 1;
    scratch_text(&s, "board.yaml", board);
    run_well(&s, 1,
             RUN_WORDS("render", scratch_path(&s, "board.yaml"), TINY, "-o",
                       scratch_path(&s, "film.mkv")));
    for (int i = 1; i <= SHOTS; i++) { /* the second on 2 ranks */
        char number[16], name[32];
        (void)snprintf(number, sizeof number, "%d", i);
        (void)snprintf(name, sizeof name, "s%d.mkv", i);
        run_well(&s, i == 2 ? 2 : 1,
                 RUN_WORDS("render", scratch_path(&s, "board.yaml"), "--shot", number, TINY, "-o",
                           scratch_path(&s, name)));
    }
    return 0;
}

static void same_shot(const char *run_a, const char *group_a, const char *run_b,
                      const char *group_b)
{
    latents a, b;
    latents_read_shot(run_a, group_a, &a);
    latents_read_shot(run_b, group_b, &b);
    for (int i = 0; i < 2; i++)
        if (a.count[i] != b.count[i] || a.count[i] == 0 ||
            memcmp(a.data[i], b.data[i], (size_t)a.count[i] * sizeof(float)) != 0)
            fail_msg("%s %s and %s %s: want the same bits in stream %d, worst difference %.3g",
                     run_a, group_a, run_b, group_b, i, latents_differ(&a, &b));
    latents_free(&a);
    latents_free(&b);
}

static json_t *plan_of(const char *run)
{
    json_t *plan = json_load_file(scratch_path(&s, run), 0, NULL);
    assert_non_null(plan);
    return plan;
}

static void a_shot_has_the_films_bits(void **state)
{
    (void)state;
    static const json_int_t frames[SHOTS] = {31, 141, 24};
    for (int i = 1; i <= SHOTS; i++) {
        char run[32], group[32];
        (void)snprintf(run, sizeof run, "s%d.run", i);
        (void)snprintf(group, sizeof group, "shot-%02d/", i);
        same_shot(scratch_path(&s, "film.run"), group, scratch_path(&s, run), "shot-01/");
        (void)snprintf(run, sizeof run, "s%d.run/plan.json", i);
        json_t *plan = plan_of(run);
        assert_int_equal(json_integer_value(json_object_get(plan, "frames")), frames[i - 1]);
        assert_int_equal(json_array_size(json_object_get(plan, "shots")), 1);
        json_decref(plan);
    }
}

/* Seeds, lengths, modes and prompts of the shots, and what else says how they were made. */
static void the_plan_is_the_films(void)
{
    static const char *const keys[] = {"shots",   "frames", "samples", "grid_frames",
                                       "seed",    "mode",   "joins",   "windows",
                                       "anchors", "steps",  "prompt"};
    json_t *whole = plan_of("film.run/plan.json"), *put = plan_of("put.run/plan.json");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!json_equal(json_object_get(whole, keys[i]), json_object_get(put, keys[i])))
            fail_msg("plan.json: %s: another than the whole film's", keys[i]);
    json_decref(whole);
    json_decref(put);
}

static void shots_become_the_film(void **state)
{
    (void)state;
    run_result r = run_longtake(
        &s, 1,
        RUN_WORDS("stitch", scratch_path(&s, "s1.run"), scratch_path(&s, "s2.run/latents.h5"),
                  scratch_path(&s, "s3.run"), "--run", scratch_path(&s, "put.run"), "--json"));
    if (r.code != 0)
        fail_msg("stitch: %d: %s", r.code, r.err);
    json_t *answer = json_loads(r.out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(answer, "shots")), SHOTS);
    assert_int_equal(json_integer_value(json_object_get(answer, "frames")), 196);
    json_decref(answer);
    run_free(&r);
    the_plan_is_the_films();
    static const char *const groups[] = {"shot-01/", "shot-02/", "shot-03/"};
    for (int i = 0; i < SHOTS; i++)
        same_shot(scratch_path(&s, "film.run"), groups[i], scratch_path(&s, "put.run"), groups[i]);
    run_well(&s, 1, RUN_WORDS("inspect", scratch_path(&s, "put.run")));
    char *events = run_text(scratch_path(&s, "put.run/events.ndjson"));
    assert_non_null(strstr(events, "\"event\":\"stitch\""));
    free(events);
}

typedef struct pixels {
    uint64_t hash;
} pixels;

static void look(void *user, int64_t index, const AVFrame *f)
{
    pixels *p = user;
    (void)index;
    for (int y = 0; y < f->height; y++)
        for (int x = 0; x < f->width; x++)
            p->hash = (p->hash ^ f->data[0][y * f->linesize[0] + x]) * 1099511628211u;
}

static void decode_makes_the_same_film(void **state)
{
    (void)state;
    pixels of_whole = {1}, of_put = {1};
    film whole = {.look = look, .user = &of_whole}, put = {.look = look, .user = &of_put};
    run_well(&s, 1,
             RUN_WORDS("decode", scratch_path(&s, "put.run"), "--codec", "ffv1", "-q", "-o",
                       scratch_path(&s, "put.mkv")));
    film_read(scratch_path(&s, "film.mkv"), &whole);
    film_read(scratch_path(&s, "put.mkv"), &put);
    assert_int_equal(put.frames, 196);
    assert_int_equal(put.frames, whole.frames);
    assert_int_equal(put.samples, whole.samples);
    assert_true(of_put.hash == of_whole.hash);
    assert_memory_equal(put.pcm, whole.pcm, (size_t)whole.samples * sizeof *whole.pcm);
    film_free(&whole);
    film_free(&put);
}

static void its_job_renders_it_again(void **state)
{
    (void)state;
    run_well(&s, 1,
             RUN_WORDS("render", scratch_path(&s, "put.run/job.yaml"), "-q", "-o",
                       scratch_path(&s, "again.mkv")));
    same_shot(scratch_path(&s, "film.run"), "shot-02/", scratch_path(&s, "again.run"), "shot-02/");
    same_shot(scratch_path(&s, "film.run"), "shot-03/", scratch_path(&s, "again.run"), "shot-03/");
}

/* Films without a storyboard, in another order than they were made. */
static void any_runs_of_one_kind_will_do(void **state)
{
    (void)state;
    static const char *const prompts[] = {BALL, ROLL};
    for (int i = 0; i < 2; i++)
        run_well(&s, 1,
                 RUN_WORDS("render", "-p", prompts[i], "--frames", i == 0 ? "5" : "22", "--size",
                           "64x64", "--steps", "2", "-q", "-o",
                           scratch_path(&s, i == 0 ? "x.mkv" : "y.mkv")));
    run_well(&s, 1,
             RUN_WORDS("stitch", scratch_path(&s, "y.run"), scratch_path(&s, "x.run"), "--run",
                       scratch_path(&s, "yx.run"), "-q"));
    same_shot(scratch_path(&s, "yx.run"), "shot-01/", scratch_path(&s, "y.run"), "");
    same_shot(scratch_path(&s, "yx.run"), "shot-02/", scratch_path(&s, "x.run"), "");
    run_well(&s, 1,
             RUN_WORDS("stitch", scratch_path(&s, "yx.run"), scratch_path(&s, "x.run"), "--run",
                       scratch_path(&s, "yx.run"), "--overwrite", "-q")); /* onto one of them */
    same_shot(scratch_path(&s, "yx.run"), "shot-03/", scratch_path(&s, "x.run"), "");
    run_well(
        &s, 1,
        RUN_WORDS("decode", scratch_path(&s, "yx.run"), "-q", "-o", scratch_path(&s, "yx.mkv")));
}

/* A run that has other anchors, though its clip is long enough for them, was made otherwise. */
static void other_anchors_are_refused(void **state)
{
    (void)state;
    static const char *const anchors[] = {"0,10", "none", "0"};
    static const char *const names[] = {"a0.mkv", "a1.mkv", "a2.mkv"};
    for (int i = 0; i < 3; i++)
        run_well(&s, 1,
                 RUN_WORDS("render", "-p", ROLL, "--frames", "22", "--size", "64x64", "--steps",
                           "2", "-q", "--mode", "extend", "--anchors", anchors[i], "-o",
                           scratch_path(&s, names[i])));
    static const char *const others[] = {"a1.run", "a2.run"};
    for (int i = 0; i < 2; i++) {
        run_result r = run_longtake(&s, 1,
                                    RUN_WORDS("stitch", scratch_path(&s, "a0.run"),
                                              scratch_path(&s, others[i]), "--run",
                                              scratch_path(&s, "an.run"), "-q"));
        if (r.code != 64 || strstr(r.err, "anchors: want those of the runs before it") == NULL)
            fail_msg("%s: found %d and %s", others[i], r.code, r.err);
        run_free(&r);
    }
}

static void shot_by(const char *model, const char *output)
{
    run_well(&s, 1,
             RUN_WORDS("render", "--model", scratch_path(&s, model), "-p", "A ball.", "--frames",
                       "5", "--size", "64x64", "--steps", "2", "-q", "-o",
                       scratch_path(&s, output)));
}

/* A copy is the same model wherever it lies; one whose config has a blank more is another, even in
 * the same place. */
static void a_model_is_told_by_its_files(void **state)
{
    (void)state;
    static const char script[] =
        "cd \"$0\" && cp -r '" LT_SOURCE_DIR "/tests/parity/nano' m1 && cp -r m1 m2";
    run_result r =
        run_argv(&s, (const char *const[]){"sh", "-c", script, s.folder, NULL}, RUN_LIMIT_S);
    assert_int_equal(r.code, 0);
    run_free(&r);
    shot_by("m1", "m1.mp4");
    shot_by("m2", "m2.mp4");
    run_well(&s, 1,
             RUN_WORDS("stitch", scratch_path(&s, "m1.run"), scratch_path(&s, "m2.run"), "--run",
                       scratch_path(&s, "m12.run"), "-q"));
    r = run_argv(&s,
                 (const char *const[]){"sh", "-c", "echo >> \"$0/m1/transformer/config.json\"",
                                       s.folder, NULL},
                 RUN_LIMIT_S);
    assert_int_equal(r.code, 0);
    run_free(&r);
    shot_by("m1", "m3.mp4");
    r = run_longtake(&s, 1,
                     RUN_WORDS("stitch", scratch_path(&s, "m1.run"), scratch_path(&s, "m3.run"),
                               "--run", scratch_path(&s, "m13.run")));
    if (r.code != 64 || strstr(r.err, "m3.run") == NULL || strstr(r.err, "model_") == NULL)
        fail_msg("want exit code 64 and the model named, found %d: %s", r.code, r.err);
    run_free(&r);
}

static const struct {
    const char *why, *a, *b, *run;
    int code;
    const char *says;
} refused[] = {
    {"no run", NULL, NULL, "new.run", 64, "stitch: want run folders, found none"},
    {"no folder named", "s1.run", NULL, NULL, 64, "--run: want the name of the run folder to make"},
    {"a folder that is not there", "s1.run", "none.run", "new.run", 66, "none.run: want a run"},
    {"other steps, size and windows", "s1.run", "x.run", "new.run", 64,
     "x.run: deterministic: want true as"},
    {"a run that is there", "s1.run", "s2.run", "film.run", 73, "holds a run already"},
};

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const char *words[8] = {"stitch"};
        int n = 1;
        if (refused[i].a != NULL)
            words[n++] = scratch_path(&s, refused[i].a);
        if (refused[i].b != NULL)
            words[n++] = scratch_path(&s, refused[i].b);
        if (refused[i].run != NULL) {
            words[n++] = "--run";
            words[n++] = scratch_path(&s, refused[i].run);
        }
        run_result r = run_longtake(&s, 1, words);
        if (r.code != refused[i].code || strstr(r.err, refused[i].says) == NULL)
            fail_msg("%s: want exit code %d and \"%s\", found %d and %s", refused[i].why,
                     refused[i].code, refused[i].says, r.code, r.err);
        run_free(&r);
        assert_false(run_exists(scratch_path(&s, "new.run")));
    }
    static const struct {
        const char *file, *shot, *says;
    } shots[] = {{"board.yaml", "4", "--shot 4: want 1 to 3, the shots of"},
                 {"board.yaml", "0", "--shot: want an integer from 1 to 256, found \"0\""},
                 {"plain.yaml", "1", "--shot 1: want a job file with `shots:`, found none"}};
    scratch_text(&s, "plain.yaml", "prompt: x\n");
    for (size_t i = 0; i < sizeof shots / sizeof *shots; i++) {
        run_result r = run_longtake(&s, 1,
                                    RUN_WORDS("render", scratch_path(&s, shots[i].file), "--shot",
                                              shots[i].shot, "-o", scratch_path(&s, "new.mkv")));
        if (r.code != 64 || strstr(r.err, shots[i].says) == NULL)
            fail_msg("want \"%s\", found %d and %s", shots[i].says, r.code, r.err);
        run_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shot_has_the_films_bits),
        cmocka_unit_test(shots_become_the_film),
        cmocka_unit_test(decode_makes_the_same_film),
        cmocka_unit_test(its_job_renders_it_again),
        cmocka_unit_test(any_runs_of_one_kind_will_do),
        cmocka_unit_test(other_anchors_are_refused),
        cmocka_unit_test(a_model_is_told_by_its_files),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests_name("stitch", tests, setup, scratch_teardown);
}
