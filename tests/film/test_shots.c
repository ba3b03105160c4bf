/* test_shots.c - storyboards: films of several shots and prompts.
 * Goal: cuts stand at their frames and samples, where the sound fades as far as is asked and no
 * further, and what lies between them is the shot as it is alone: the same latents, frames and
 * samples, bit for bit; other numbers of ranks change nothing; the run is decoded to the same film;
 * a blend is one shot whose text moves; what cannot be is refused by file, entry, field, wanted and
 * found. Method: runs the program, lossless codecs (FFV1 and FLAC), --deterministic.
 * Ranks: 1 to 3. Needs: models/demo, mpirun. */
#include <jansson.h>

#include "tests/support/film.h"
#include "tests/support/the_scratch.h"

#define BALL  "A red ball drops and bounces on a wooden floor."
#define GLASS "A blue glass ball drops on a stone floor under a sunny sky."
#define ROLL  "A green ball rolls."
#define TINY  "--size", "64x64", "--steps", "2", "--codec", "ffv1", "--deterministic", "-q"

enum { RATE = 32000, FPS = 24, SHOTS = 3 };

/* 31 and 77 frames are no whole numbers of samples: the second shot has one more than it has alone.
 */
static const struct {
    const char *prompt, *frames, *seed, *group;
    int64_t first, count;
} shots[SHOTS] = {{BALL, "31", "7134611160154358618", "shot-01/", 0, 31}, /* lt_shot_seed(5, 0) */
                  {GLASS, "46", "77", "shot-02/", 31, 46},
                  {ROLL, "24", "4292726422858613063", "shot-03/", 77, 24}}; /* lt_shot_seed(5, 2) */

static const char board[] = "seed: 5\n"
                            "shots:\n"
                            "  - {prompt: " BALL ", frames: 31}\n"
                            "  - prompt: " GLASS "\n"
                            "    frames: 46\n"
                            "    seed: 77\n"
                            "    transition: cut\n"
                            "  - {prompt: " ROLL ", seconds: 1}\n";

static int64_t samples_of(int64_t frames) { return (frames * RATE * 2 + FPS) / (2 * FPS); }

/* A hash of each frame's planes. */
typedef struct hashes {
    uint64_t frame[512];
} hashes;

static void hash_frame(void *user, int64_t index, const AVFrame *f)
{
    hashes *h = user;
    uint64_t hash = 14695981039346656037u;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
    assert_true(index < 512);
    for (int plane = 0; plane < 3; plane++) {
        const int rows = f->height >> (plane > 0 ? d->log2_chroma_h : 0);
        const int bytes =
            (f->width >> (plane > 0 ? d->log2_chroma_w : 0)) * (d->comp[0].depth > 8 ? 2 : 1);
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < bytes; x++)
                hash = (hash ^ f->data[plane][y * f->linesize[plane] + x]) * 1099511628211u;
    }
    h->frame[index] = hash;
}

static void read_film(const char *name, film *f, hashes *h)
{
    *f = (film){.look = hash_frame, .user = h};
    film_read(scratch_path(&s, name), f);
}

static void same_latents(const char *what, const char *run_a, const char *group_a,
                         const char *run_b, const char *group_b)
{
    latents a, b;
    latents_read_shot(run_a, group_a, &a);
    latents_read_shot(run_b, group_b, &b);
    for (int i = 0; i < 2; i++)
        if (a.count[i] != b.count[i] || a.count[i] == 0 ||
            memcmp(a.data[i], b.data[i], (size_t)a.count[i] * sizeof(float)) != 0)
            fail_msg("%s: want the same bits in stream %d, worst difference %.3g", what, i,
                     latents_differ(&a, &b));
    latents_free(&a);
    latents_free(&b);
}

static int setup(void **state)
{
    if (scratch_setup(state) != 0)
        return 1;
    scratch_text(&s, "board.yaml", board);
    run_well(&s, 1,
             RUN_WORDS("render", scratch_path(&s, "board.yaml"), TINY, "--cut-fade", "0", "--sheet",
                       scratch_path(&s, "film.png"), "--wav", scratch_path(&s, "film.wav"), "-o",
                       scratch_path(&s, "film.mkv")));
    return 0;
}

/* ---- cuts ---- */

static json_t *plan_of(const char *run)
{
    char path[8192];
    (void)snprintf(path, sizeof path, "%s/plan.json", run);
    json_t *plan = json_load_file(path, 0, NULL);
    assert_non_null(plan);
    return plan;
}

static void plan_has_the_shots(void **state)
{
    (void)state;
    json_t *plan = plan_of(scratch_path(&s, "film.run"));
    const json_t *list = json_object_get(plan, "shots");
    assert_int_equal(json_array_size(list), SHOTS);
    assert_int_equal(json_array_size(json_object_get(plan, "joins")), 0); /* cuts are none */
    assert_int_equal(json_array_size(json_object_get(plan, "windows")), SHOTS);
    assert_int_equal(json_integer_value(json_object_get(plan, "frames")), 101);
    for (size_t i = 0; i < SHOTS; i++) {
        const json_t *one = json_array_get(list, i);
        char *seed = json_dumps(json_object_get(one, "seed"), JSON_ENCODE_ANY);
        assert_int_equal(json_integer_value(json_object_get(one, "first_frame")), shots[i].first);
        assert_int_equal(json_integer_value(json_object_get(one, "frames")), shots[i].count);
        assert_int_equal(json_integer_value(json_object_get(one, "first_sample")),
                         samples_of(shots[i].first));
        assert_string_equal(seed, shots[i].seed);
        free(seed);
    }
    json_decref(plan);
}

static void a_shot_is_what_it_is_alone(void **state)
{
    (void)state;
    film whole, one;
    hashes of_film, of_one;
    char what[32], name[32];
    read_film("film.mkv", &whole, &of_film);
    assert_int_equal(whole.frames, 101);
    assert_int_equal(whole.samples, samples_of(101));
    for (int i = 0; i < SHOTS; i++) {
        (void)snprintf(what, sizeof what, "shot %d", i + 1);
        (void)snprintf(name, sizeof name, "alone%d.mkv", i);
        run_well(&s, 1,
                 RUN_WORDS("render", "-p", shots[i].prompt, "--frames", shots[i].frames, "--seed",
                           shots[i].seed, TINY, "-o", scratch_path(&s, name)));
        read_film(name, &one, &of_one);
        assert_int_equal(one.frames, shots[i].count);
        for (int64_t t = 0; t < one.frames; t++)
            if (of_one.frame[t] != of_film.frame[shots[i].first + t])
                fail_msg("%s: frame %lld of the film is not its frame %lld", what,
                         (long long)(shots[i].first + t), (long long)t);
        const int64_t first = samples_of(shots[i].first);
        const int64_t end = samples_of(shots[i].first + shots[i].count);
        const int64_t shared = end - first < one.samples ? end - first : one.samples;
        assert_true(shared > one.samples - 2);
        assert_memory_equal(whole.pcm + first, one.pcm, (size_t)shared * sizeof *one.pcm);
        film_free(&one);
        (void)snprintf(name, sizeof name, "alone%d.run", i);
        same_latents(what, scratch_path(&s, "film.run"), shots[i].group, scratch_path(&s, name),
                     "");
    }
    film_free(&whole);
}

/* The same latents with a fade of 20 ms: other samples there alone, and from the cut on the next
 * shot no louder than it is. */
static void a_cut_fades(void **state)
{
    (void)state;
    enum { FADE = RATE / 50 };
    film hard, soft;
    hashes of_hard, of_soft;
    run_well(&s, 1,
             RUN_WORDS("decode", scratch_path(&s, "film.run"), "--codec", "ffv1", "-q",
                       "--cut-fade", "20", "-o", scratch_path(&s, "soft.mkv")));
    read_film("film.mkv", &hard, &of_hard);
    read_film("soft.mkv", &soft, &of_soft);
    assert_true(hard.frames == soft.frames && hard.samples == soft.samples);
    assert_memory_equal(of_hard.frame, of_soft.frame, (size_t)hard.frames * sizeof *of_hard.frame);
    int64_t differ[SHOTS] = {0};
    for (int64_t t = 0; t < hard.samples; t++) {
        int near = 0;
        for (int i = 1; i < SHOTS; i++)
            if (llabs(t - samples_of(shots[i].first)) <= FADE) {
                near = i;
                differ[i] += fabs(hard.pcm[t] - soft.pcm[t]) > 0;
            }
        if (near == 0 && fabs(hard.pcm[t] - soft.pcm[t]) > 0)
            fail_msg("sample %lld is far from any cut, and differs", (long long)t);
    }
    for (int i = 1; i < SHOTS; i++)
        if (differ[i] < FADE / 2)
            fail_msg("cut %d: want at least %d other samples, found %lld", i, FADE / 2,
                     (long long)differ[i]);
    film_free(&hard);
    film_free(&soft);
}

static void extras_are_of_the_whole_film(void **state)
{
    (void)state;
    AVFormatContext *file = NULL;
    assert_true(avformat_open_input(&file, scratch_path(&s, "film.wav"), NULL, NULL) >= 0);
    assert_int_equal(file->streams[0]->duration, samples_of(101));
    avformat_close_input(&file);
    assert_true(run_exists(scratch_path(&s, "film.png")));
    run_result r =
        run_longtake(&s, 1, RUN_WORDS("metrics", scratch_path(&s, "film.run"), "--json"));
    json_t *answer = json_loads(r.out, 0, NULL);
    assert_int_equal(r.code, 0);
    assert_int_equal(json_array_size(json_object_get(answer, "joins")), 0);
    json_decref(answer);
    run_free(&r);
    run_well(&s, 1, RUN_WORDS("inspect", scratch_path(&s, "film.run")));
}

/* Steps are counted over the film, and say which shot they are of. */
static void events_say_which_shot(void **state)
{
    (void)state;
    char *text = run_text(scratch_path(&s, "film.run/events.ndjson"));
    int seen[SHOTS + 1] = {0};
    assert_non_null(text);
    for (char *at = text, *end; *at != '\0'; at = end + 1) {
        end = strchr(at, '\n');
        *end = '\0';
        json_t *line = json_loads(at, 0, NULL);
        const char *stage = json_string_value(json_object_get(line, "stage"));
        const json_int_t shot = json_integer_value(json_object_get(line, "shot"));
        assert_in_range(shot, 0, SHOTS);
        if (stage != NULL && strcmp(stage, "denoise") == 0 && json_object_get(line, "done") &&
            json_object_get(line, "total"))
            seen[shot]++;
        json_decref(line);
    }
    for (int i = 0; i <= SHOTS; i++) /* one evaluation each */
        assert_int_equal(seen[i], i == 0 ? 0 : 1);
    free(text);
}

/* ---- ranks ---- */

static void other_ranks_give_the_same_bits(void **state)
{
    (void)state;
    static const char *const mesh[] = {"uly=2", "uly=3"};
    for (int i = 0; i < 2; i++) {
        run_well(&s, i + 2,
                 RUN_WORDS("render", scratch_path(&s, "board.yaml"), TINY, "--mesh", mesh[i],
                           "--overwrite", "-o", scratch_path(&s, "many.mkv")));
        for (int k = 0; k < SHOTS; k++)
            same_latents(mesh[i], scratch_path(&s, "film.run"), shots[k].group,
                         scratch_path(&s, "many.run"), shots[k].group);
    }
}

static void decode_makes_the_same_film(void **state)
{
    (void)state;
    film whole, again;
    hashes of_whole, of_again;
    read_film("soft.mkv", &whole, &of_whole);
    for (int ranks = 2; ranks <= 4; ranks++) { /* the last: 2 in groups */
        const int is_grouped = ranks == 4;
        run_well(&s, is_grouped ? 2 : ranks,
                 RUN_WORDS("decode", scratch_path(&s, "film.run"), "--codec", "ffv1", "-q",
                           "--decode-tp", is_grouped ? "2" : "1", "--cut-fade", "20", "--overwrite",
                           "-o", scratch_path(&s, "again.mkv")));
        read_film("again.mkv", &again, &of_again);
        assert_int_equal(again.frames, whole.frames);
        assert_int_equal(again.samples, whole.samples);
        if (!is_grouped) /* sums in another order */
            assert_memory_equal(of_again.frame, of_whole.frame,
                                (size_t)whole.frames * sizeof *of_whole.frame);
        assert_memory_equal(again.pcm, whole.pcm, (size_t)whole.samples * sizeof *whole.pcm);
        film_free(&again);
    }
    film_free(&whole);
}

/* ---- a stranger's file ---- */

/* What is wrong with it: a dataset that is left out, one that has another's shape (data and all),
 * or a value of a shot in the plan. Each file has our seal, as a stranger's may. */
static const struct {
    const char *why;
    const char *left_out, *reshaped, *as;
    int shot;
    const char *key;
    int64_t value;
    const char *says;
} strange[] = {
    {"a shot without sound", "shot-03/audio_latents", NULL, NULL, 0, NULL, 0,
     "want 6 datasets, found 5"},
    {"a shot as long as another", NULL, "shot-02/latents", "shot-01/latents", 0, NULL, 0,
     "shot-02/latents: its shape does not fit 56 frames"},
    {"a grid that is none", NULL, NULL, NULL, 1, "grid_frames", 39,
     "shots[1].grid_frames: want 56"},
    {"a huge grid", NULL, NULL, NULL, 1, "grid_frames", INT64_MAX, "shots[1].grid_frames"},
    {"a gap", NULL, NULL, NULL, 2, "first_frame", 78, "shots[2].first_frame"},
    {"frames of another shot", NULL, NULL, NULL, 2, "frames", 25, "shots[2]"},
    {"samples elsewhere", NULL, NULL, NULL, 2, "first_sample", 0, "shots[2].samples: want 32000"},
};
enum { STRANGE = sizeof strange / sizeof *strange, DATASETS = 2 * SHOTS };

/* The file's attributes, with one value of the plan's changed; the caller owns them. */
static json_t *spoilt_attributes(const lt_latents *file, size_t row)
{
    json_t *all = json_deep_copy(lt_latents_attributes(file));
    json_t *plan = json_loads(json_string_value(json_object_get(all, "plan")), 0, NULL);
    assert_non_null(plan);
    if (strange[row].key != NULL)
        assert_int_equal(json_object_set_new(json_array_get(json_object_get(plan, "shots"),
                                                            (size_t)strange[row].shot),
                                             strange[row].key, json_integer(strange[row].value)),
                         0);
    assert_int_equal(json_object_set_new(all, "plan", plan), 0);
    return all;
}

static void write_stranger(size_t row, const char *to)
{
    lt_latents *file = NULL;
    lt_latents_stream stream[DATASETS];
    float *data[DATASETS];
    size_t count = 0;
    if (lt_latents_open(scratch_path(&s, "film.run/latents.h5"), 0, &file) != LT_OK)
        fail_msg("%s", lt_error_text());
    for (size_t i = 0; i < DATASETS; i++) {
        const lt_latents_stream *from = lt_latents_stream_at(file, i);
        size_t index = i, values = 1;
        if (strange[row].left_out != NULL && strcmp(strange[row].left_out, from->name) == 0)
            continue;
        if (strange[row].reshaped != NULL && strcmp(strange[row].reshaped, from->name) == 0)
            assert_int_equal(lt_latents_find(file, strange[row].as, &index), LT_OK);
        stream[count] = *lt_latents_stream_at(file, index);
        stream[count].name = from->name;
        for (int k = 0; k < stream[count].ndim; k++)
            values *= (size_t)stream[count].dims[k];
        data[count] = malloc(values * sizeof(float));
        assert_non_null(data[count]);
        assert_int_equal(lt_latents_read(file, index, data[count], values), LT_OK);
        stream[count].data = data[count];
        count++;
    }
    json_t *attributes = spoilt_attributes(file, row);
    if (lt_latents_write(to, stream, count, attributes) != LT_OK)
        fail_msg("%s", lt_error_text());
    json_decref(attributes);
    for (size_t i = 0; i < count; i++)
        free(data[i]);
    lt_latents_close(&file);
}

static void a_strangers_shots_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < STRANGE; i++) {
        write_stranger(i, scratch_path(&s, "strange.h5"));
        run_result r = run_longtake(&s, 1,
                                    RUN_WORDS("decode", scratch_path(&s, "strange.h5"), "-q", "-o",
                                              scratch_path(&s, "strange.mkv")));
        if (r.code != 65 || strstr(r.err, strange[i].says) == NULL)
            fail_msg("%s: want exit code 65 and \"%s\", found %d and %s", strange[i].why,
                     strange[i].says, r.code, r.err);
        run_free(&r);
        assert_false(run_exists(scratch_path(&s, "strange.mkv")));
    }
}

/* ---- blends ---- */

static const char blended[] = "window: 90\n"
                              "overlap: 39\n"
                              "shots:\n"
                              "  - {prompt: " BALL ", frames: 70}\n"
                              "  - {prompt: " GLASS ", frames: 71, transition: blend}\n"
                              "  - {prompt: " ROLL ", frames: 22}\n";

static int differs(const char *run_a, const char *run_b)
{
    latents a, b;
    latents_read_shot(run_a, "shot-01/", &a);
    latents_read_shot(run_b, "shot-01/", &b);
    const double worst = latents_differ(&a, &b);
    latents_free(&a);
    latents_free(&b);
    return worst > 0;
}

static void a_blend_is_one_shot(void **state)
{
    (void)state;
    static const struct {
        const char *mode;
        size_t joins;
        const char *mesh; /* of two ranks; NULL: they are tried by ranks/test_windows */
    } modes[] = {{"extend", 1, NULL}, {"windows", 1, "win=2"}};
    scratch_text(&s, "blend.yaml", blended);
    for (size_t i = 0; i < 2; i++) {
        run_well(&s, 1,
                 RUN_WORDS("render", scratch_path(&s, "blend.yaml"), TINY, "--mode", modes[i].mode,
                           "--overwrite", "-o", scratch_path(&s, "blend.mkv")));
        json_t *plan = plan_of(scratch_path(&s, "blend.run"));
        const json_t *first = json_array_get(json_object_get(plan, "shots"), 0);
        assert_int_equal(json_array_size(json_object_get(plan, "shots")), 2);
        assert_int_equal(json_array_size(json_object_get(first, "prompts")), 2);
        const json_t *joins = json_object_get(plan, "joins");
        assert_int_equal(json_array_size(joins), modes[i].joins);
        assert_true(json_integer_value(json_array_get(joins, 0)) < 141); /* not the cut */
        json_decref(plan);
        if (modes[i].mesh == NULL)
            continue;
        run_well(&s, 2,
                 RUN_WORDS("render", scratch_path(&s, "blend.yaml"), TINY, "--mode", modes[i].mode,
                           "--mesh", modes[i].mesh, "-o", scratch_path(&s, "two.mkv")));
        same_latents(modes[i].mode, scratch_path(&s, "blend.run"), "shot-01/",
                     scratch_path(&s, "two.run"), "shot-01/");
        same_latents(modes[i].mode, scratch_path(&s, "blend.run"), "shot-02/",
                     scratch_path(&s, "two.run"), "shot-02/");
    }
}

/* The first prompt alone over the same shot gives something else: the second one counts. */
static void a_blend_moves_the_text(void **state)
{
    (void)state;
    scratch_text(&s, "plain.yaml",
                 "window: 90\noverlap: 39\nshots: [{prompt: " BALL ", frames: 141}]\n");
    scratch_text(&s, "equal.yaml",
                 "window: 90\noverlap: 39\nshots: [{prompt: " BALL ", frames: 70}, {prompt: " BALL
                 ", frames: 71, transition: blend}]\n");
    static const char *const names[] = {"plain", "equal"}; /* "blend" is there */
    for (int i = 0; i < 2; i++) {
        char yaml[32], out[32];
        (void)snprintf(yaml, sizeof yaml, "%s.yaml", names[i]);
        (void)snprintf(out, sizeof out, "%s.mkv", names[i]);
        run_well(&s, 1,
                 RUN_WORDS("render", scratch_path(&s, yaml), TINY, "--mode", "windows",
                           "--overwrite", "-o", scratch_path(&s, out)));
    }
    assert_true(differs(scratch_path(&s, "plain.run"), scratch_path(&s, "blend.run")));
    latents a, b; /* (1 - w) x + w x is x but for rounding */
    latents_read_shot(scratch_path(&s, "plain.run"), "shot-01/", &a);
    latents_read_shot(scratch_path(&s, "equal.run"), "shot-01/", &b);
    const double worst = latents_differ(&a, &b);
    if (!(worst <= 1e-4))
        fail_msg("equal prompts: want the same shot within 1e-4, found %.3g", worst);
    latents_free(&a);
    latents_free(&b);
}

/* ---- refusals ---- */

static const struct {
    const char *why, *yaml, *flag, *value, *says;
} refused[] = {
    {"a prompt beside", "prompt: x\nshots: [{prompt: a, frames: 5}]\n", NULL, NULL,
     "bad.yaml:2: shots: want no prompt beside shots"},
    {"a flag beside", "shots: [{prompt: a, frames: 5}]\n", "--frames", "22",
     "bad.yaml:1: shots: want no frames beside shots"},
    {"no list", "shots: a\n", NULL, NULL, "bad.yaml:1: shots: want a list"},
    {"no entries", "shots: []\n", NULL, NULL, "want 1 to 256 entries, found 0"},
    {"no text", "shots:\n- {prompt: a, frames: 5}\n- {frames: 5}\n", NULL, NULL,
     "bad.yaml:1: shots: entry 2: prompt: want some text, found none"},
    {"two lengths", "shots: [{prompt: a, frames: 5, seconds: 1}]\n", NULL, NULL,
     "entry 1: frames: want no frames beside seconds, found 5"},
    {"a word for a length", "shots: [{prompt: a, seconds: long}]\n", NULL, NULL,
     "entry 1: seconds: want a number above 0, up to 3600, found \"long\""},
    {"an unknown transition", "shots: [{prompt: a, frames: 5, transition: wipe}]\n", NULL, NULL,
     "entry 1: transition: want cut or blend, found \"wipe\""},
    {"a blend in one window",
     "shots: [{prompt: a, frames: 22}, {prompt: b, frames: 22, transition: blend}]\n", NULL, NULL,
     "entry 2: transition: blend: want a shot longer than a window"},
    {"a blend in mode single",
     "shots: [{prompt: a, frames: 99}, {prompt: b, frames: 99, transition: blend}]\n", "--mode",
     "single", "entry 2: transition: blend: want --mode windows or extend, found single"},
};

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    char folder[8192];
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        scratch_text(&s, "bad.yaml", refused[i].yaml);
        run_result r =
            run_longtake(&s, 1,
                         RUN_WORDS("render", scratch_path(&s, "bad.yaml"), TINY, "-o",
                                   scratch_path(&s, "bad.mkv"), refused[i].flag, refused[i].value));
        if (r.code != 64 || strstr(r.err, refused[i].says) == NULL)
            fail_msg("%s: want exit code 64 and \"%s\", found %d and %s", refused[i].why,
                     refused[i].says, r.code, r.err);
        run_free(&r);
        (void)snprintf(folder, sizeof folder, "%s", scratch_path(&s, "bad.run"));
        assert_false(run_exists(folder));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_has_the_shots),
        cmocka_unit_test(a_shot_is_what_it_is_alone),
        cmocka_unit_test(a_cut_fades),
        cmocka_unit_test(extras_are_of_the_whole_film),
        cmocka_unit_test(events_say_which_shot),
        cmocka_unit_test(other_ranks_give_the_same_bits),
        cmocka_unit_test(decode_makes_the_same_film),
        cmocka_unit_test(a_strangers_shots_are_refused),
        cmocka_unit_test(a_blend_is_one_shot),
        cmocka_unit_test(a_blend_moves_the_text),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests_name("shots", tests, setup, scratch_teardown);
}
