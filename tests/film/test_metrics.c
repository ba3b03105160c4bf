/* test_metrics.c - longtake metrics on films whose seams are known, and on a run of the demo model.
 * Goal: a join that was put in is over budget and no other place is; a run's joins and overlaps
 * come from its plan; the page stands alone, escapes what comes from outside, and nothing is
 * replaced unasked; what cannot be measured is refused in one line. Method: films written by
 * lt_mux, a rendered run whose plan.json is then edited. Ranks: 1. Needs: models/demo, libx264. */
#include <jansson.h>
#include <math.h>

#include "cmd/svg_plot.h"
#include "media/mux.h"
#include "tests/support/check.h"
#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

enum { W = 128, H = 96, FRAMES = 153, RATE = 32000, SAMPLES = FRAMES * RATE / 24, JOIN = 85 };

/* Waves that move; from JOIN on they are 8 pixels further, and the tone is twice as loud. */
static void write_film(const char *name, int has_seam)
{
    static uint8_t rgb[3 * W * H];
    static float pcm[SAMPLES];
    const lt_mux_spec spec = {.path = scratch_path(&s, name),
                              .codec = "h264",
                              .width = W,
                              .height = H,
                              .frames = FRAMES,
                              .sample_rate = RATE,
                              .samples = SAMPLES,
                              .crf = 12};
    lt_mux *mux = NULL;
    OK(lt_mux_open(&spec, &mux));
    for (int i = 0; i < SAMPLES; i++) {
        const int is_late = has_seam && i >= JOIN * (RATE / 24.0);
        pcm[i] = (is_late ? 0.2f : 0.1f) * (float)sin(2 * acos(-1) * 400 * i / RATE);
    }
    for (int t = 0, at = 0; t < FRAMES; t++) {
        const double moved = t + (has_seam && t >= JOIN ? 8 : 0);
        for (int i = 0; i < W * H; i++) {
            const double x = i % W - moved, y = i / W + 0.5 * moved;
            for (int c = 0; c < 3; c++)
                rgb[c * W * H + i] =
                    (uint8_t)lrint(120 + 50 * sin(x / (6 + c)) + 40 * sin(y / 5 + c));
        }
        const int until = SAMPLES * (t + 1) / FRAMES;
        OK(lt_mux_video(mux, rgb, LT_U8));
        OK(lt_mux_audio(mux, (const float *const[]){pcm + at, pcm + at}, until - at));
        at = until;
    }
    OK(lt_mux_close(&mux));
}

static json_t *answer_of(const char *const *words)
{
    run_result r = run_longtake(&s, 1, words);
    if (r.code != 0)
        fail_msg("%s %s: exit code %d: %s", words[0], words[1], r.code, r.err);
    json_t *answer = json_loads(r.out, 0, NULL);
    if (answer == NULL)
        fail_msg("want JSON, found %s", r.out);
    assert_string_equal(json_string_value(json_object_get(answer, "format")), "longtake-metrics");
    run_free(&r);
    return answer;
}

static const json_t *join_of(const json_t *answer, size_t i)
{
    return json_array_get(json_object_get(answer, "joins"), i);
}

static double real(const json_t *of, const char *key)
{
    const json_t *value = json_object_get(of, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void a_seam_is_over_budget(void **state)
{
    (void)state;
    for (int has_seam = 0; has_seam < 2; has_seam++) {
        const char *name = has_seam ? "seam.mp4" : "smooth.mp4";
        write_film(name, has_seam);
        json_t *answer = answer_of(RUN_WORDS("metrics", scratch_path(&s, name), "--joins",
                                             "119,51,85,85", "--period", "17", "--json"));
        assert_int_equal(json_array_size(json_object_get(answer, "joins")), 3);
        for (size_t i = 0; i < 3; i++) {
            const json_t *j = join_of(answer, i);
            const int is_bad = has_seam && i == 1;
            const size_t over = json_array_size(json_object_get(j, "over_budget"));
            const int stands_out = json_is_true(json_object_get(j, "stands_out"));
            assert_int_equal(json_integer_value(json_object_get(j, "frame")), 51 + 34 * (int)i);
            assert_int_equal(json_integer_value(json_object_get(j, "compared")), 5);
            if (stands_out != is_bad || (is_bad && over != 2))
                fail_msg("%s, join %zu: %s", name, i, json_dumps(j, 0));
            if (is_bad) /* 6.02 dB, AAC within 0.2 of it */
                assert_true(real(j, "step_ratio") > 3 && real(j, "acceleration_ratio") > 3 &&
                            real(j, "psnr_db") < -3 && real(j, "flow_jump") > 1 &&
                            fabs(real(j, "level_jump_db") - 6.02) < 0.2);
            else
                assert_true(fabs(real(j, "step_ratio") - 1) < 0.3 &&
                            fabs(real(j, "level_jump_db")) < 0.2);
        }
        const json_t *clip = json_object_get(answer, "clip");
        assert_int_equal(json_integer_value(json_object_get(clip, "outstanding_joins")), has_seam);
        /* One bad join of three is not the film's median. */
        assert_int_equal(json_array_size(json_object_get(clip, "over_budget")), 0);
        assert_true(real(clip, "freeze_share") == 0 && real(clip, "motion") > 0.3);
        json_decref(answer);
    }
    run_result r = run_longtake(&s, 1,
                                RUN_WORDS("metrics", scratch_path(&s, "seam.mp4"), "--joins", "85",
                                          "--tile-columns", "64", "--tile-rows", "32,64"));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "\n!       85 "));
    assert_non_null(strstr(r.out, "1 of 1; as many"));
    assert_non_null(strstr(r.out, "  tiles       columns "));
    assert_non_null(strstr(r.out, "dB level in the median: over budget\n"));
    run_free(&r);
}

/* ---- a run ---- */

/* plan.json as it would be of two windows of 90 frames that overlap by 39: joins in its middle; a
 * cut; tiles of 32 pixels, 16 of them shared. */
static void edit_plan(void)
{
    char *text = run_text(scratch_path(&s, "a.run/plan.json"));
    json_t *plan = json_loads(text, 0, NULL);
    assert_non_null(plan);
    json_t *edit = json_pack("{s:[{s:i,s:i},{s:i,s:i}], s:[i], s:s, s:[{s:i,s:i},{s:i,s:i}],"
                             "s:[{s:i,s:i,s:i},{s:i,s:i,s:i},{s:i,s:i,s:i}]}",
                             "windows", "first_frame", 0, "frames", 39, "first_frame", 17, "frames",
                             39, "joins", 28, "prompt", "A <b>red</b> & \"bold\" ball.\n\x1b[2J",
                             "shots", "first_frame", 0, "frames", 45, "first_frame", 45, "frames",
                             11, "tile_columns", "first", 0, "pixels", 32, "own", 0, "first", 16,
                             "pixels", 32, "own", 24, "first", 32, "pixels", 32, "own", 40);
    assert_non_null(edit);
    assert_int_equal(json_object_update(plan, edit), 0);
    assert_int_equal(json_dump_file(plan, scratch_path(&s, "a.run/plan.json"), 0), 0);
    json_decref(edit);
    json_decref(plan);
    free(text);
}

static void a_run_knows_its_joins(void **state)
{
    (void)state;
    static const struct {
        int frame;
        const char *kind;
    } want[] = {{17, "overlap"}, {28, "join"}, {39, "overlap"}};
    run_well(&s, 1,
             RUN_WORDS("render", "-p", "A red ball drops.", "--size", "64x64", "--steps", "2",
                       "--frames", "56", "-q", "-o", scratch_path(&s, "a.mp4")));
    json_t *answer = answer_of(RUN_WORDS("metrics", scratch_path(&s, "a.run"), "--json"));
    assert_int_equal(json_array_size(json_object_get(answer, "joins")), 0); /* one window */
    assert_int_equal(json_integer_value(json_object_get(answer, "frames")), 56);
    assert_int_equal(json_integer_value(json_object_get(answer, "period")), 17);
    json_decref(answer);
    edit_plan();
    answer = answer_of(RUN_WORDS("metrics", scratch_path(&s, "a.run"), "--json", "--report",
                                 scratch_path(&s, "a.html")));
    assert_int_equal(json_array_size(json_object_get(answer, "joins")), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *j = join_of(answer, i);
        assert_int_equal(json_integer_value(json_object_get(j, "frame")), want[i].frame);
        assert_string_equal(json_string_value(json_object_get(j, "kind")), want[i].kind);
    }
    /* 64 columns have three borders of cells of 16, two of them ends of overlaps. */
    const json_t *clip = json_object_get(answer, "clip");
    assert_true(real(clip, "tile_column_ratio") > 0 && isnan(real(clip, "tile_row_ratio")));
    json_decref(answer);
}

static void the_page_stands_alone(void **state)
{
    (void)state;
    char *page = run_text(scratch_path(&s, "a.html"));
    assert_non_null(page);
    static const char *const wanted[] = {
        "<!doctype html>",
        "default-src 'none'",
        "data:image/png;base64,iVBORw0KGgo",
        "<svg ",
        "A &#60;b&#62;red&#60;/b&#62; &#38; &#34;bold&#34; ball. &#xfffd;[2J",
        "join at frame 28",
        "class=\"mark dashed",
        "Waveform",
        "<b>Windows</b>",
        "<title>window 2: 0.71 s to 2.33 s</title>",
        "class=\"verdict\"",
        "1 cut, which count as none of this.",
        "</html>"};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (strstr(page, wanted[i]) == NULL)
            fail_msg("want %s in the page", wanted[i]);
    static const char *const unwanted[] = {"<script", "http:", "https:", "src=\"/", "url(",
                                           "<b>red",  "\x1b",  "nan",    "inf\""};
    for (size_t i = 0; i < sizeof unwanted / sizeof *unwanted; i++)
        if (strstr(page, unwanted[i]) != NULL)
            fail_msg("want no %s in the page, found %.60s", unwanted[i], strstr(page, unwanted[i]));
    free(page);
}

static void plots_hold_what_is_there(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    char *text = NULL;
    size_t bytes = 0;
    double *values = calloc(MANY, sizeof *values);
    assert_non_null(values);
    values[77777] = 5; /* one frame of an hour */
    values[5] = NAN;
    lt_plot plot = {.title = "<t>",
                    .note = "",
                    .unit = "",
                    .line = {values},
                    .lines = 1,
                    .count = MANY,
                    .points_per_second = 24,
                    .seconds = MANY / 24.0};
    FILE *to = open_memstream(&text, &bytes);
    lt_plot_svg(&plot, to);
    assert_int_equal(fclose(to), 0);
    assert_non_null(strstr(text, "&#60;t&#62;"));
    assert_true(bytes < 64 * 1024);
    /* Its column: 56 + 77777 / 100000 * 936 = 783.99 */
    assert_non_null(strstr(text, "L783 "));
    const char *column = strstr(text, "L783 ");
    assert_true(atof(strchr(column, 'V') + 1) < 20);
    free(text);
    free(values);
    to = open_memstream(&text, &bytes);
    lt_base64("Man", 3, to);
    lt_base64("Ma", 2, to);
    lt_base64("M", 1, to);
    lt_html_text("\xff<\xe2\x80\xae>\xc3\xa4", to);
    assert_int_equal(fclose(to), 0);
    assert_string_equal(text, "TWFuTWE=TQ==&#xfffd;&#60;&#xfffd;&#62;\xc3\xa4");
    free(text);
}

/* ---- refusals ---- */

static void others_are_refused(void **state)
{
    (void)state;
    scratch_text(&s, "text.mp4", "no film\n");
    scratch_text(&s, "there.html", "mine\n");
    scratch_folder(&s, "empty.run");
    scratch_folder(&s, "odd.run");
    scratch_text(&s, "odd.run/plan.json",
                 "{\"format\": \"longtake-plan\", \"version\": 1, \"suffix\": \"../../x\"}");
    scratch_folder(&s, "gone.run");
    scratch_text(&s, "gone.run/plan.json",
                 "{\"format\": \"longtake-plan\", \"version\": 1, \"suffix\": \"mp4\", "
                 "\"output\": \"/nowhere/a.mp4\"}");
    char film[200], text[200], there[200], empty[200], odd[200], gone[200];
    (void)snprintf(film, sizeof film, "%s", scratch_path(&s, "seam.mp4"));
    (void)snprintf(text, sizeof text, "%s", scratch_path(&s, "text.mp4"));
    (void)snprintf(there, sizeof there, "%s", scratch_path(&s, "there.html"));
    (void)snprintf(empty, sizeof empty, "%s", scratch_path(&s, "empty.run"));
    (void)snprintf(odd, sizeof odd, "%s", scratch_path(&s, "odd.run"));
    (void)snprintf(gone, sizeof gone, "%s", scratch_path(&s, "gone.run"));
    const struct {
        int code;
        const char *says;
        const char *words[6];
    } cases[] = {
        {64, "found 0 words", {"metrics"}},
        {66, "none.mp4", {"metrics", "none.mp4"}},
        {65, "text.mp4: want a film", {"metrics", text}},
        {66, "without plan.json", {"metrics", empty}},
        {65, "suffix: want mp4", {"metrics", odd}},
        {66, "the film is not there", {"metrics", gone}},
        {64, "from frame 1 to 152, found 153", {"metrics", film, "--joins", "153"}},
        {64, "--joins: want numbers from 1 on", {"metrics", film, "--joins", "0,5"}},
        {64, "--joins: want numbers", {"metrics", film, "--joins", "5,,6"}},
        {64, "--joins: want numbers", {"metrics", film, "--joins", "5,"}},
        {64, "--joins: want numbers", {"metrics", film, "--joins", "9999999999"}},
        {64, "--tile-columns: want 1 to 127", {"metrics", film, "--tile-columns", "128"}},
        {64, "--tile-rows: want 1 to 95", {"metrics", film, "--tile-rows", "96"}},
        {64, "--period", {"metrics", film, "--period", "0"}},
        {64, "ends in .html", {"metrics", film, "--report", film, "--overwrite"}},
        {73, "there.html", {"metrics", film, "--report", there}},
        {73, "/nowhere", {"metrics", film, "--report", "/nowhere/a.html"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_result r = run_longtake(&s, 1, cases[i].words);
        if (r.code != cases[i].code || strstr(r.err, cases[i].says) == NULL || r.out[0] != '\0')
            fail_msg("want %d, \"%s\"; found %d: %s%s", cases[i].code, cases[i].says, r.code, r.err,
                     r.out);
        run_free(&r);
    }
    char *mine = run_text(there);
    assert_string_equal(mine, "mine\n");
    free(mine);
    run_well(&s, 1, RUN_WORDS("metrics", film, "--report", there, "--overwrite"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seam_is_over_budget), cmocka_unit_test(a_run_knows_its_joins),
        cmocka_unit_test(the_page_stands_alone), cmocka_unit_test(plots_hold_what_is_there),
        cmocka_unit_test(others_are_refused),
    };
    return cmocka_run_group_tests_name("metrics", tests, scratch_setup, scratch_teardown);
}
