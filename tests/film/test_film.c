/* test_film.c - from one command to a film, and from its latents to a film again.
 * Goal: the file holds exactly the asked frames and samples, in every codec and container; the run
 * folder is complete; the same job gives the same latents, from flags, from the run's own job.yaml,
 * and on the backend `far`; decode makes the film again. Method: runs the program, reads the files
 * with FFmpeg and HDF5. Ranks: 1. Needs: tests/parity/nano, an FFmpeg with the encoders. */
#include <jansson.h>

#include "media/mux.h"
#include "tests/support/film.h"
#include "tests/support/the_scratch.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"
enum { RATE = 8000 }; /* of nano's audio; the released model and the demo have 32000 */
#define PROMPT "A red ball bounces on a wooden floor."

/* scratch_path turns over after four calls; these stay until the end. */
static const char *kept(const char *name)
{
    static char path[32][160];
    static int count;
    for (int i = 0; i < count; i++)
        if (strcmp(strrchr(path[i], '/') + 1, name) == 0)
            return path[i];
    assert_true(count < 32);
    (void)snprintf(path[count], sizeof path[count], "%s/%s", s.folder, name);
    return path[count++];
}

static void want_film(const char *name, const char *path, int64_t frames, int64_t samples,
                      int width, int height)
{
    film f = {0};
    film_read(path, &f);
    if (f.frames != frames || f.samples != samples || f.width != width || f.height != height)
        fail_msg("%s: want %lld frames of %dx%d and %lld samples, found %lld of %dx%d and %lld",
                 name, (long long)frames, width, height, (long long)samples, (long long)f.frames,
                 f.width, f.height, (long long)f.samples);
    if (!f.tagged)
        fail_msg("%s: want BT.709 in limited range, said in the stream and in each frame", name);
    if (!(fabs(f.fps - 24) < 1e-6) || f.rate != RATE || f.channels != 2)
        fail_msg("%s: want 24 frames/s and 2 x %d samples/s, found %g and %d x %d", name, RATE,
                 f.fps, f.channels, f.rate);
    if (!(fabs(f.video_start) < 1e-3 && fabs(f.audio_start) < 1e-3))
        fail_msg("%s: want picture and sound to begin at 0, found %g and %g", name, f.video_start,
                 f.audio_start);
    film_free(&f);
}

/* ---- lengths ---- */

static const struct {
    const char *name, *option, *value;
    int64_t frames;
} lengths[] = {
    {"on the grid", "--frames", "22", 22},
    {"off the grid: 39 are rendered, 9 cut", "--frames", "30", 30},
    {"two pictures, less than one latent clip", "--frames", "2", 2},
    {"0.9 s: 21.6 frames are 22", "--seconds", "0.9", 22},
    {"picture and sound both whole", "--frames", "39", 39},
};

static void has_the_asked_length(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const char *out = kept("length.mp4");
        run_well(&s, 1,
                 RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--size", "64x64", "--steps",
                           "2", lengths[i].option, lengths[i].value, "--overwrite", "-q", "-o",
                           out));
        const int64_t samples = (lengths[i].frames * RATE * 2 + 24) / 48;
        want_film(lengths[i].name, out, lengths[i].frames, samples, 64, 64);
    }
}

/* ---- codecs ---- */

static const struct {
    const char *codec, *suffix;
    enum AVCodecID video;
    int bits;
} codecs[] = {
    {"h264", ".mp4", AV_CODEC_ID_H264, 8},      {"h264", ".mkv", AV_CODEC_ID_H264, 8},
    {"h264", ".mov", AV_CODEC_ID_H264, 8},      {"hevc", ".mp4", AV_CODEC_ID_HEVC, 10},
    {"hevc", ".mkv", AV_CODEC_ID_HEVC, 10},     {"av1", ".mp4", AV_CODEC_ID_AV1, 10},
    {"av1", ".mkv", AV_CODEC_ID_AV1, 10},       {"ffv1", ".mkv", AV_CODEC_ID_FFV1, 10},
    {"prores", ".mov", AV_CODEC_ID_PRORES, 10},
};

static int has_codec(const char *name)
{
    lt_mux_codec rows[16];
    const size_t count = lt_mux_codecs(rows, 16);
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].available;
    fail_msg("%s is not in the table of codecs", name);
    return 0;
}

static void decodes_into_every_codec(void **state)
{
    (void)state;
    const char *run = kept("codec.run");
    run_well(&s, 1,
             RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--size", "96x96", "--frames", "22",
                       "--steps", "2", "-q", "-o", kept("codec.mp4")));
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "%s%s", codecs[i].codec, codecs[i].suffix);
        if (!has_codec(codecs[i].codec)) {
            print_message("%s: this FFmpeg has no encoder: skipped\n", codecs[i].codec);
            continue;
        }
        run_well(&s, 1,
                 RUN_WORDS("decode", run, "--codec", codecs[i].codec, "-q", "-o", kept(name)));
        want_film(name, kept(name), 22, 7333, 96, 96);
        film f = {0};
        film_read(kept(name), &f);
        if (f.video != codecs[i].video || f.bits < codecs[i].bits)
            fail_msg("%s: want %s of %d bits, found %s of %d", name, codecs[i].codec,
                     codecs[i].bits, avcodec_get_name(f.video), f.bits);
        film_free(&f);
    }
    char path[8192];
    (void)snprintf(path, sizeof path, "%s.part", kept("prores.mov"));
    if (run_exists(path))
        fail_msg("decode left %s", path);
}

/* ---- the run folder ---- */

static json_t *want_json(const char *path, const char *format)
{
    json_error_t error;
    json_t *json = json_load_file(path, 0, &error);
    if (json == NULL)
        fail_msg("%s:%d: %s", path, error.line, error.text);
    const char *found = json_string_value(json_object_get(json, "format"));
    if (found == NULL || strcmp(found, format) != 0)
        fail_msg("%s: format: want %s, found %s", path, format, found != NULL ? found : "none");
    if (!json_is_integer(json_object_get(json, "version")))
        fail_msg("%s: version: want an integer", path);
    return json;
}

/* Each line one object; the first event is start, the last end. */
static void want_events(const char *path)
{
    char *text = run_text(path), first[32] = "", last[32] = "";
    int lines = 0;
    if (text == NULL || text[0] == '\0' || text[strlen(text) - 1] != '\n')
        fail_msg("%s: want lines", path);
    for (char *at = text, *end; *at != '\0'; at = end + 1, lines++) {
        end = strchr(at, '\n');
        *end = '\0';
        json_error_t error;
        json_t *line = json_loads(at, 0, &error);
        const char *event = json_string_value(json_object_get(line, "event"));
        if (event == NULL || !json_is_number(json_object_get(line, "seconds")))
            fail_msg("%s:%d: want an event and its seconds, found %s", path, lines + 1, at);
        (void)snprintf(lines == 0 ? first : last, sizeof first, "%s", event);
        json_decref(line);
    }
    if (strcmp(first, "start") != 0 || strcmp(last, "end") != 0)
        fail_msg("%s: want start ... end, found %s ... %s", path, first, last);
    free(text);
}

static void run_folder_is_complete(void **state)
{
    (void)state;
    const char *run = kept("folder.of.run");
    run_result r = run_longtake(&s, 1,
                                RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--size",
                                          "64x64", "--frames", "30", "--steps", "3", "--seed", "9",
                                          "--json", "--run", run, "--sheet", kept("sheet.png"),
                                          "--wav", kept("sound.wav"), "-o", kept("folder.mkv")));
    if (r.code != 0)
        fail_msg("render: %s", r.err);
    json_t *answer = json_loads(r.out, 0, NULL); /* one object, nothing else on stdout */
    if (answer == NULL || json_integer_value(json_object_get(answer, "frames")) != 30)
        fail_msg("--json: want one object with 30 frames, found %s", r.out);
    json_decref(answer);
    run_free(&r);
    char path[8192];
    (void)snprintf(path, sizeof path, "%s/plan.json", run);
    json_t *plan = want_json(path, "longtake-plan");
    assert_int_equal(json_integer_value(json_object_get(plan, "grid_frames")), 39);
    assert_int_equal(json_integer_value(json_object_get(plan, "evaluations")), 2);
    assert_int_equal(json_array_size(json_object_get(plan, "windows")), 1);
    assert_int_equal(json_array_size(json_object_get(plan, "joins")), 0);
    json_decref(plan);
    (void)snprintf(path, sizeof path, "%s/manifest.json", run);
    json_t *manifest = want_json(path, "longtake-manifest");
    assert_int_equal(json_integer_value(json_object_get(manifest, "seed")), 9);
    assert_true(json_object_size(json_object_get(manifest, "model_files")) > 8);
    json_decref(manifest);
    (void)snprintf(path, sizeof path, "%s/events.ndjson", run);
    want_events(path);
    (void)snprintf(path, sizeof path, "%s/sound.part", run);
    assert_false(run_exists(path)); /* scratch */
    (void)snprintf(path, sizeof path, "%s.part", kept("folder.mkv"));
    assert_false(run_exists(path));
}

static void sheet_and_wav_are_written(void **state)
{
    (void)state; /* by run_folder_is_complete */
    char *sheet = run_text(kept("sheet.png"));
    assert_non_null(sheet);
    assert_memory_equal(sheet, "\x89PNG\r\n\x1a\n", 8);
    free(sheet);
    AVFormatContext *file = NULL;
    assert_true(avformat_open_input(&file, kept("sound.wav"), NULL, NULL) >= 0);
    assert_int_equal(file->nb_streams, 1);
    assert_int_equal(file->streams[0]->codecpar->sample_rate, RATE);
    assert_int_equal(file->streams[0]->codecpar->ch_layout.nb_channels, 2);
    assert_int_equal(file->streams[0]->duration, 10000);
    avformat_close_input(&file);
}

/* ---- the same job, the same bits ---- */

static void same_latents(const char *what, const char *run_a, const char *run_b)
{
    latents a, b;
    latents_read(run_a, &a);
    latents_read(run_b, &b);
    for (int i = 0; i < 2; i++)
        if (a.count[i] != b.count[i] ||
            memcmp(a.data[i], b.data[i], (size_t)a.count[i] * sizeof(float)) != 0)
            fail_msg("%s: want the same bits in stream %d, worst difference %.3g of the largest",
                     what, i, latents_differ(&a, &b));
    latents_free(&a);
    latents_free(&b);
}

static const struct {
    const char *name, *option, *value;
} again[] = {
    {"once more", "--seed", "7"},         {"one thread", "--threads", "1"},
    {"three threads", "--threads", "3"},  {"the device far", "--device", "far"},
    {"another codec", "--codec", "hevc"},
};

static void same_job_gives_the_same_latents(void **state)
{
    (void)state;
    const char *first = kept("first.run"), *run = kept("again.run"), *out = kept("again.mp4");
    run_well(&s, 1,
             RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--size", "64x96", "--frames", "39",
                       "--steps", "4", "--seed", "7", "--threads", "2", "-q", "-o",
                       kept("first.mp4")));
    for (size_t i = 0; i < sizeof again / sizeof *again; i++) {
        run_well(&s, 1,
                 RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--size", "64x96", "--frames",
                           "39", "--steps", "4", "--seed", "7", again[i].option, again[i].value,
                           "--overwrite", "-q", "-o", out));
        same_latents(again[i].name, first, run);
    }
    /* The run's own job file says all of it. */
    char job[8192];
    (void)snprintf(job, sizeof job, "%s/job.yaml", first);
    run_well(&s, 1, RUN_WORDS("render", job, "-q", "-o", kept("job.mp4")));
    same_latents("job.yaml of the run", first, kept("job.run"));
    /* And another seed is another film: the comparison can fail. */
    run_well(&s, 1, RUN_WORDS("render", job, "--seed", "8", "--overwrite", "-q", "-o", out));
    latents a, b;
    latents_read(first, &a);
    latents_read(run, &b);
    if (!(latents_differ(&a, &b) > 0.01))
        fail_msg("another seed: want other latents");
    latents_free(&a);
    latents_free(&b);
}

/* Two ways of storing the same weights, on one loop: the original layout of the same checkpoint. */
static void original_layout_renders(void **state)
{
    (void)state;
    const char *out = kept("original.mp4");
    run_well(&s, 1,
             RUN_WORDS("render", "--model", LT_SOURCE_DIR "/tests/parity/nano-original", "-p",
                       PROMPT, "--size", "64x96", "--frames", "39", "--steps", "4", "--seed", "7",
                       "-q", "-o", out));
    want_film("original layout", out, 39, 13000, 64, 96);
}

static void bf16_weights_render(void **state)
{
    (void)state;
    const char *out = kept("bf16.mp4");
    run_well(&s, 1,
             RUN_WORDS("render", "--model", LT_SOURCE_DIR "/tests/parity/nano-bf16", "--dtype",
                       "bf16", "-p", PROMPT, "--size", "64x64", "--frames", "22", "--steps", "3",
                       "-q", "-o", out));
    want_film("bf16", out, 22, 7333, 64, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_asked_length),
        cmocka_unit_test(decodes_into_every_codec),
        cmocka_unit_test(run_folder_is_complete),
        cmocka_unit_test(sheet_and_wav_are_written),
        cmocka_unit_test(same_job_gives_the_same_latents),
        cmocka_unit_test(original_layout_renders),
        cmocka_unit_test(bf16_weights_render),
    };
    return cmocka_run_group_tests_name("film", tests, scratch_setup, scratch_teardown);
}
