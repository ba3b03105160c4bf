/* test_preview.c - --preview-every: what the clip becomes, before it is there.
 * Goal: the preview of the last step looks like the film, an early one less so; each is written
 * after its step and told of in the events; all modes have them, and the same bytes on two groups
 * of ranks; a model without a map is told how to get one; old ones go with --overwrite. Method:
 * films of the demo model; previews read by libpng and held against the film's frames. Ranks: 1
 * and 2. Needs: models/demo, libx264. */
#include <png.h>
#include <sys/stat.h>

#include "media/film_read.h"
#include "model/family.h"
#include "tests/support/check.h"
#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

#define DEMO   LT_SOURCE_DIR "/models/demo"
#define PROMPT "A large red rubber ball drops and bounces on a wooden floor under a sunny sky."

enum { SIDE = 128, GAP = 4, COLUMNS = 4, SHOWN = 12, FRAMES = 90 };

/* What the map leaves of the demo's colours is 18 % of their variance (tools/preview_map), so the
 * correlation with a film that it was not fitted to is about 0.9. */
static const double LIKE_THE_FILM = 0.8;

static uint8_t *read_png(const char *name, int *width, int *height)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    if (png_image_begin_read_from_file(&image, scratch_path(&s, name)) != 1)
        fail_msg("%s: %s", name, image.message);
    image.format = PNG_FORMAT_RGB;
    uint8_t *pixels = malloc(PNG_IMAGE_SIZE(image));
    assert_non_null(pixels);
    assert_int_equal(png_image_finish_read(&image, NULL, pixels, 0, NULL), 1);
    *width = (int)image.width;
    *height = (int)image.height;
    return pixels;
}

/* The film's frames, [FRAMES, 3, SIDE, SIDE]; the caller frees. */
static uint8_t *read_film(const char *name)
{
    lt_film *film = NULL;
    lt_film_event event;
    uint8_t *all = malloc((size_t)FRAMES * 3 * SIDE * SIDE);
    int t = 0;
    assert_non_null(all);
    OK(lt_film_open(scratch_path(&s, name), &film));
    for (;;) {
        OK(lt_film_next(film, &event));
        if (event.kind == LT_FILM_END)
            break;
        if (event.kind == LT_FILM_VIDEO)
            OK(lt_film_rgb(film, SIDE, SIDE, all + (size_t)t++ * 3 * SIDE * SIDE));
    }
    assert_int_equal(t, FRAMES);
    lt_film_close(&film);
    return all;
}

/* Correlation of a preview's cells with the frames in the middle of the latents that they show. */
static double likeness(const char *preview, const uint8_t *film)
{
    lt_model *model = NULL;
    int width = 0, height = 0;
    uint8_t *pixels = read_png(preview, &width, &height);
    double n = 0, a = 0, b = 0, aa = 0, bb = 0, ab = 0;
    OK(lt_model_open(DEMO, &model));
    const lt_grid *grid = model->family->grid;
    const int64_t latents = lt_grid_latents(grid, FRAMES);
    assert_int_equal(width, GAP + COLUMNS * (SIDE + GAP));
    assert_int_equal(height, GAP + SHOWN / COLUMNS * (SIDE + GAP));
    for (int k = 0; k < SHOWN; k++) {
        const int64_t latent = k * (latents - 1) / (SHOWN - 1);
        const lt_range frames = lt_grid_frame_range(grid, (lt_range){latent, 1});
        const uint8_t *frame = film + (frames.first + frames.count / 2) * 3 * SIDE * SIDE;
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                for (int colour = 0; colour < 3; colour++) {
                    const int at_x = GAP + k % COLUMNS * (SIDE + GAP) + x;
                    const int at_y = GAP + k / COLUMNS * (SIDE + GAP) + y;
                    const double p = pixels[(at_y * width + at_x) * 3 + colour];
                    const double q = frame[(colour * SIDE + y) * SIDE + x];
                    n++;
                    a += p;
                    b += q;
                    aa += p * p;
                    bb += q * q;
                    ab += p * q;
                }
    }
    lt_model_close(&model);
    free(pixels);
    return (ab - a * b / n) / sqrt((aa - a * a / n) * (bb - b * b / n));
}

static void it_looks_like_the_film(void **state)
{
    (void)state;
    run_well(&s, 1,
             RUN_WORDS("render", "-p", PROMPT, "--frames", "90", "--preview-every", "2", "-q",
                       "--codec", "h264", "--crf", "8", "-o", scratch_path(&s, "a.mp4")));
    uint8_t *film = read_film("a.mp4");
    const double last = likeness("a.run/preview/step-000020.png", film),
                 early = likeness("a.run/preview/step-000002.png", film);
    free(film);
    if (!(last >= LIKE_THE_FILM && early < last))
        fail_msg("want at least %.2f at the end and less before, found %.3f and %.3f",
                 LIKE_THE_FILM, last, early);
    char *events = run_text(scratch_path(&s, "a.run/events.ndjson"));
    const char *told = strstr(events, "preview/step-000018.png\",\"done\":18}");
    const char *step = strstr(events, "\"stage\":\"denoise\",\"done\":18,");
    assert_true(told != NULL && step != NULL && told > step);
    free(events);
    /* Job and folder are begun anew: what another number of steps has written goes. */
    run_well(&s, 1,
             RUN_WORDS("render", scratch_path(&s, "a.run/job.yaml"), "--frames", "5", "--steps",
                       "4", "--size", "64x64", "--overwrite", "-q", "-o",
                       scratch_path(&s, "a.mp4")));
    struct stat info;
    assert_int_equal(stat(scratch_path(&s, "a.run/preview/step-000002.png"), &info), 0);
    assert_int_not_equal(stat(scratch_path(&s, "a.run/preview/step-000020.png"), &info), 0);
}

static char *bytes_of(const char *name, size_t *bytes)
{
    FILE *f = fopen(scratch_path(&s, name), "rb");
    if (f == NULL)
        fail_msg("%s: not there", name);
    char *data = malloc(1 << 22);
    assert_non_null(data);
    *bytes = fread(data, 1, 1 << 22, f);
    (void)fclose(f);
    return data;
}

/* Latents lie on other ranks, and have the same bits. */
static void all_modes_have_them(void **state)
{
    (void)state;
    static const struct {
        const char *mode, *size, *last; /* of evaluations of 3 steps; refine: 2 and some */
    } cases[] = {{"windows", "64x64", "step-000002.png"},
                 {"extend", "64x64", "step-000003.png"},
                 {"refine", "128x64", "step-000003.png"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *data[2], name[2][128], out[64];
        size_t bytes[2];
        for (int ranks = 1; ranks <= 2; ranks++) {
            (void)snprintf(out, sizeof out, "%s%d.mp4", cases[i].mode, ranks);
            run_well(&s, ranks,
                     RUN_WORDS("render", "-p", PROMPT, "--frames", "141", "--mode", cases[i].mode,
                               "--window", "90", "--size", cases[i].size, "--steps", "3", "--mesh",
                               ranks == 2 ? "win=2" : "win=1", "--preview-every", "1", "-q", "-o",
                               scratch_path(&s, out)));
            (void)snprintf(name[ranks - 1], sizeof name[0], "%s%d.run/preview/%s", cases[i].mode,
                           ranks, cases[i].last);
            data[ranks - 1] = bytes_of(name[ranks - 1], &bytes[ranks - 1]);
        }
        if (bytes[0] != bytes[1] || memcmp(data[0], data[1], bytes[0]) != 0)
            fail_msg("%s and %s differ", name[0], name[1]);
        free(data[0]);
        free(data[1]);
    }
    /* `extend`: in the first chunk the second one's end is grey yet. */
    int width = 0, height = 0;
    uint8_t *pixels = read_png("extend1.run/preview/step-000001.png", &width, &height);
    const uint8_t *end = pixels + ((height - 8) * width + width - 8) * 3;
    assert_true(end[0] == 24 && end[1] == 24 && end[2] == 24);
    assert_true(pixels[(10 * width + 10) * 3] != 24);
    free(pixels);
    pixels = read_png("extend1.run/preview/step-000004.png", &width, &height);
    end = pixels + ((height - 8) * width + width - 8) * 3;
    assert_false(end[0] == 24 && end[1] == 24 && end[2] == 24);
    free(pixels);
}

static void without_a_map_it_is_said(void **state)
{
    (void)state;
    static const char *const parts[] = {"transformer",      "vae",
                                        "audio_vae",        "text_encoder",
                                        "tokenizer",        "scheduler",
                                        "processor",        "audio_scheduler",
                                        "model_index.json", "modular_model_index.json"};
    char from[512], to[512];
    scratch_folder(&s, "model");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        (void)snprintf(from, sizeof from, DEMO "/%s", parts[i]);
        (void)snprintf(to, sizeof to, "%s/%s", scratch_path(&s, "model"), parts[i]);
        assert_int_equal(symlink(from, to), 0);
    }
    run_result r =
        run_longtake(&s, 1,
                     RUN_WORDS("render", "--model", scratch_path(&s, "model"), "-p", PROMPT,
                               "--frames", "5", "--size", "64x64", "--steps", "2",
                               "--preview-every", "1", "-o", scratch_path(&s, "n.mp4")));
    struct stat info;
    assert_int_equal(r.code, 0);
    if (strstr(r.err, "has no map from latents to colours; `tools/preview_map ") == NULL)
        fail_msg("want to be told, found %s", r.err);
    assert_int_not_equal(stat(scratch_path(&s, "n.run/preview"), &info), 0);
    run_free(&r);
    scratch_text(&s, "model/longtake.json",
                 "{\"format\": \"longtake-model\", \"version\": 1, \"preview\": {\"scale\": 1, "
                 "\"channels\": 2, \"rows\": [[0,0,0],[0,0,0],[0,0,0]]}}");
    r = run_longtake(&s, 1,
                     RUN_WORDS("render", "--model", scratch_path(&s, "model"), "-p", PROMPT,
                               "--preview-every", "1", "-q", "-o", scratch_path(&s, "m.mp4")));
    assert_int_equal(r.code, 65);
    assert_non_null(strstr(r.err, "preview.channels: want 24, as the latents have, found 2"));
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_looks_like_the_film),
        cmocka_unit_test(all_modes_have_them),
        cmocka_unit_test(without_a_map_it_is_said),
    };
    return cmocka_run_group_tests_name("preview", tests, scratch_setup, scratch_teardown);
}
